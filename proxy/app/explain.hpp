// `sluice explain METHOD URL`: what would become of a request, and which line of which policy file decides it. Judged
// by the very functions of the data plane; nothing is resolved, dialled or read. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/app/console.hpp"
#include "proxy/policy/verdict.hpp"

namespace sluice {

/// Points into the Config that it was made from.
struct Explanation {
    enum class Way : unsigned char { forward, intercept, tunnel, base_url };

    const Config* config = nullptr;
    std::string method;
    std::string url;  // as asked, without its query
    Way way = Way::forward;
    std::optional<Refusal> refusal;        // none: it would be forwarded
    const Vendor* vendor = nullptr;        // none: no policy has this host
    bool unmatched = false;                // no vendor has this host: `unmatched` decides; `vendor` is its own, if it lets it through
    std::optional<HostPattern> host;       // of the vendor, that matched
    const RequestPattern* rule = nullptr;  // the `allow` or `deny` entry that decided
    bool denied = false;                   // `rule` is a `deny`
    const Route* route = nullptr;
    std::optional<Destination> destination;
    std::string path;  // at the destination, its prefix included
    const CredentialSpec* credential = nullptr;
    Timeouts timeout;
};

/// `url` is http(s)://, ws(s)://, or "/<vendor>/<path>" (base-URL mode); for CONNECT it is host:port.
Explanation explain(const Config& config, std::string_view method, std::string_view url);

void print_explanation(Console& console, const Explanation& explanation);
boost::json::object explanation_as_json(const Explanation& explanation);

}  // namespace sluice
