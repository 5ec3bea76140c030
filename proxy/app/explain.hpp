// `sluice explain METHOD URL`: what would become of a request, and which line of which policy file decides it. Judged
// by the very functions of the data plane; nothing is resolved, dialled or read. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/places.hpp"
#include "proxy/app/console.hpp"
#include "proxy/policy/verdict.hpp"

namespace sluice {

/// Points into the Config and the PolicyPlaces that it was made from.
struct Explanation {
    enum class Way : unsigned char { forward, intercept, tunnel, base_url };
    struct Endpoint {
        Destination destination;
        std::string obstacle;  // why it is not dialled; "": nothing that shows here
    };
    /// The vendor that gets the request when every endpoint is out.
    struct StandIn {
        const Vendor* vendor = nullptr;
        Destination destination;
        std::string path;  // rewritten
        const CredentialSpec* credential = nullptr;
        std::string obstacle;  // why it cannot have this request
    };

    const Config* config = nullptr;
    const PolicyPlaces* places = nullptr;
    std::string method;
    std::string url;  // as asked, without its query
    Way way = Way::forward;
    std::optional<Refusal> refusal;  // none: it would be forwarded
    const Vendor* vendor = nullptr;  // none: no policy has this host
    bool unmatched = false;  // no vendor has this host: `unmatched` decides; `vendor` is its own, if it lets it through
    std::optional<HostPattern> host;       // of the vendor, that matched
    const RequestPattern* rule = nullptr;  // the `allow` or `deny` entry that decided
    bool denied = false;                   // `rule` is a `deny`
    const Route* route = nullptr;
    std::optional<Destination> destination;
    std::vector<Endpoint> next;  // where it goes when that one is out or has failed it, in this order
    std::string path;            // as asked; a destination puts its prefix before it
    const CredentialSpec* credential = nullptr;
    Timeouts timeout;
    std::optional<StandIn> stand_in;
};

/// `url` is http(s)://, ws(s)://, or "/<vendor>/<path>" (base-URL mode); for CONNECT it is host:port.
Explanation explain(const Config& config, const PolicyPlaces& places, std::string_view method, std::string_view url);

// proxy/app/explain_words.cpp
void print_explanation(Console& console, const Explanation& explanation);
boost::json::object explanation_as_json(const Explanation& explanation);

}  // namespace sluice
