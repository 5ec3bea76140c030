// One destination's compiled rules, immutable once the Config is built. Pure.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/time.hpp"
#include "proxy/http/authority.hpp"
#include "proxy/http/target.hpp"
#include "proxy/policy/access.hpp"
#include "proxy/policy/address_guard.hpp"
#include "proxy/policy/breaker.hpp"
#include "proxy/policy/chaos.hpp"
#include "proxy/policy/limit.hpp"
#include "proxy/policy/retry.hpp"
#include "proxy/policy/rewrite.hpp"

namespace sluice {

struct Timeouts {
    Duration connect = 2s;       // DNS and TCP, all addresses
    Duration tls = 3s;
    Duration first_byte = 60s;   // request sent -> response head
    Duration idle = 5min;        // no byte in either direction
    Duration total = 10min;      // everything
    bool total_written = false;  // on the vendor or the route: bounds tunnels, upgrades and event streams too

    bool operator==(const Timeouts&) const = default;
};

/// How the upstream's TLS is verified.
struct TlsRules {
    enum class Version : unsigned char { tls12, tls13 };
    Version min = Version::tls12;
    std::string ca_file;                 // "": the system's roots; else these only
    std::vector<std::string> pins;       // SHA-256 of the SPKI, 32 raw bytes each; any one certificate of the verified chain must match
    std::string client_cert_file;        // PEM chain, "" for none
    std::string client_key_file;

    bool operator==(const TlsRules&) const = default;
};

enum class Mode : unsigned char { intercept, tunnel };

/// What of an answer is searched for the credential that the request was given.
enum class Scrub : unsigned char {
    off,
    head,
    identity,   // the body too; the vendor is asked for one that is not compressed
    deep        // the body too, decompressed where it has to be
};

/// What the operator's catalogue says; shown by `/vendors`, never judged.
struct Catalogue {
    std::string owner, about, criticality, runbook;
    std::vector<std::string> data;
    std::vector<std::pair<std::string, std::string>> sla;   // flattened: "latency.p99" -> "800ms"
};

/// Where the policy says so, for `explain`: lines in the file of the vendor; 0 where nothing is written.
struct PolicyLines {
    int timeout = 0, retry = 0, hedge = 0, idempotency = 0, breaker = 0, limit = 0, fallback = 0, chaos = 0, scrub = 0;
};

struct Route {
    std::string name;      // the metric label: `name`, else the match text
    RequestPattern match;
    Timeouts timeout;      // after defaults and vendor
    std::optional<std::size_t> credential;   // instead of the vendor's
    RetrySpec retry;       // likewise, `hedge` included
    IdempotencySpec idempotency;      // likewise
    std::vector<LimitSpec> limits;    // its own, beside the vendor's
    std::size_t keeps = 64 * 1024;    // as Vendor::keeps
    std::size_t first_limit = 0;      // where they are in VendorState::limits
    std::size_t index = 0; // in Vendor::routes
    std::size_t series = 1; // telemetry's: which of the vendor's routes it is by name, the same from policy to policy (1: none it knows)
    int line = 0;
    PolicyLines lines;
};

inline constexpr std::size_t max_endpoints = 16;

struct VendorState;
struct VendorSeries;   // proxy/telemetry

struct Vendor {
    std::string name;
    std::size_t index = 0;     // in Config::vendors; what belongs to this Config alone (TLS contexts) is found by it
    Catalogue catalogue;
    std::vector<HostPattern> hosts;
    Mode mode = Mode::intercept;
    AccessRules access;
    std::vector<AddressRange> addresses;
    std::optional<std::size_t> credential;   // in Config::credentials
    std::optional<std::size_t> certificate;  // that connections show, where it is not in the files of `tls`: in Config::credentials, or Config::secrets behind them
    Scrub scrub = Scrub::off;                // where nothing is written: identity, where it or a route of it has a credential
    std::vector<Url> endpoints;              // none: reached at the authority that the application named; else in this order, at most `max_endpoints`
    TlsRules tls;
    Timeouts timeout;                        // after defaults
    RetrySpec retry;                         // likewise
    BreakerSpec breaker;                     // likewise
    std::vector<LimitSpec> limits;           // likewise; all of them hold
    IdempotencySpec idempotency;
    std::optional<FallbackSpec> fallback;
    std::size_t keeps = 64 * 1024;           // bytes of a request's body that are kept where no route says otherwise: for its own attempts, and for whoever may stand in
    ChaosSpec chaos;
    std::vector<Route> routes;
    std::string file;                        // where the policy says so, for `explain`
    int line = 0;
    PolicyLines lines;
    std::shared_ptr<VendorState> live;       // null until `make_live`
    std::shared_ptr<VendorSeries> series;    // what is counted of it, from policy to policy; null: counted as `_other`

    /// The first route that matches, in the order of the policy; none: nullptr.
    const Route* route_for(std::string_view method, std::string_view path) const;
    /// Which of VendorState::breakers a request for `authority` at that endpoint goes by.
    std::size_t breaker_of(const Authority& authority, std::size_t endpoint) const;
    /// Where base-URL mode goes: the endpoint, else https:// + the first host without a wildcard; neither: nothing.
    std::optional<Url> base_url() const;
};

/// What an exchange is dialled at and verified as.
struct Destination {
    Scheme scheme = Scheme::https;
    Authority authority;     // dialled, sent as Host, and verified in the certificate
    std::string prefix;      // put before the path
};

/// That endpoint's, or, where the vendor has none, what the application named. A plain `http://` request to a host whose endpoint is `https://` goes over TLS.
Destination destination_of(const Vendor& vendor, Scheme named_scheme, const Authority& named, std::size_t endpoint = 0);

}  // namespace sluice
