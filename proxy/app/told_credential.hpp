// What /vendors says of a credential, as commands read it: it comes from another process. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

struct ToldCredential {
    std::string name;
    std::string fault;  // why there is none, or why it was not renewed
    bool available = false;
    bool idle = false;  // it is fetched when a request needs it, and none did
    std::optional<Duration> ends_in;
};

/// A vendor's own, and those of its routes; each once.
std::vector<ToldCredential> credentials_told(const boost::json::object& vendor, WallTime now);

/// "pay", "pay (ends in 42m)", "pay (not fetched yet)"
std::string summed_up(const ToldCredential& told);

}  // namespace sluice
