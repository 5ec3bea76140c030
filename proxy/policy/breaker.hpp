// Circuit breaking: when an endpoint fails too often it is left alone for a while. Pure: time is an argument; the state is
// words shared by all workers, changed by compare-exchange only.
#pragma once

#include "proxy/base/time.hpp"

namespace sluice {

/// When a breaker opens and how it closes again; after defaults and vendor.
struct BreakerSpec {
    bool enabled = true;
    double failure_rate = 0.5;       // of those seen in `window`, above 0 to 1
    unsigned consecutive = 5;        // failures in a row
    double slow_rate = 1.0;          // of those seen in `window`, above 0 to 1
    Duration slow_after = 10s;       // time to the response head above which an answer is slow
    Duration window = 30s;           // sliding
    unsigned min_requests = 20;      // seen in `window` before a rate says anything
    Duration open_min = 15s;         // the first time; doubled by each failed probe up to
    Duration open_max = 5min;
    unsigned probes = 2;             // requests that go through half-open; all succeed: closed

    bool operator==(const BreakerSpec&) const = default;
};

}  // namespace sluice
