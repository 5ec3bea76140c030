// Faults injected on purpose, as if the vendor had made them. Pure: the draw is an argument.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

/// One entry of `chaos.inject`: `{fault: status 429, rate: 2%, first: 3, route: charges, header: "X-Test: 1"}`.
struct ChaosFault {
    enum class Kind : unsigned char {
        status,        // "status 429": answered in the vendor's place
        delay,         // "delay 500ms": before the request is sent
        reset,         // the connection is reset
        hang,          // no answer, until a deadline ends it
        slow_body,     // "slow_body 1KiB/s": the body comes at that rate
        truncate,      // "truncate 100B": the body ends after so many bytes
        tls_failure,
        dns_failure,
    };
    Kind kind = Kind::status;
    unsigned status = 503;
    Duration delay{};
    std::uint64_t bytes = 0;        // of truncate; a second of slow_body
    double rate = 1;                // share of the requests that match, above 0 to 1
    std::uint64_t first = 0;        // only the first so many that match; 0: no end
    std::string route;              // a route's name; "" for any
    std::string header, value;      // "X-Test: 1", or a name alone: any value; "" for any
    std::string text;               // the fault as written

    bool operator==(const ChaosFault&) const = default;
};

struct ChaosSpec {
    bool enabled = false;
    std::vector<ChaosFault> inject;   // the first that matches and is drawn
    std::uint64_t seed = 0;           // of the draws; the same seed, the same run of draws
    double abort_above = 0.5;         // share of the vendor's own failures in the last 30 s above which injection stops by itself (not written: 50 %)

    bool operator==(const ChaosSpec&) const = default;
};

}  // namespace sluice
