// `sluice breaker`: shows the breakers of a vendor of a running Sluice, or forces them.
#pragma once

#include <string>

#include "proxy/app/console.hpp"

namespace sluice {

struct BreakerQuestion {
    std::string vendor;
    std::string state;     // "open", "closed", "auto"; "": only shown
    std::string endpoint;  // "": all of the vendor's
};

/// Of the Sluice whose admin `admin` names ("" for the policy's). Exit 0 when it did what was asked, 1 when it did not,
/// 2 for what cannot be meant.
int ask_breakers(const std::string& config, const std::string& admin, const BreakerQuestion& question, Output output,
                 Streams& streams);

}  // namespace sluice
