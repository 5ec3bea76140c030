// How much may go to a vendor: rates (GCRA), seats (a bulkhead), tokens of language models. Pure: time is an argument; the
// state is words shared by all workers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proxy/base/time.hpp"

namespace sluice {

/// "100/s", "500/m", "10k/h".
struct Rate {
    std::uint64_t count = 0;   // at least 1
    Duration per = 1s;

    bool operator==(const Rate&) const = default;
};

/// A rate, and how many may come at once beyond it. In any time t at most rate * t + burst are admitted.
struct RateSpec {
    Rate rate;
    std::uint64_t burst = 1;   // not written: the rate's share of a second, at least 1; of tokens: the whole count

    bool operator==(const RateSpec&) const = default;
};

/// `tokens: {rate: 200k/m, estimate: body, settle: usage}`: the cost of a call is estimated from its body, reserved, and settled
/// with the `usage` that the vendor reports.
struct TokenSpec {
    RateSpec rate;
    bool operator==(const TokenSpec&) const = default;
};

/// `concurrency: 64`, or found from latency between a floor and a ceiling: `adaptive`, `{min: 4, max: 200}`.
struct SeatSpec {
    unsigned most = 1024;    // the ceiling of an adaptive one
    unsigned least = 0;      // 0: fixed; else the floor of an adaptive one

    bool adaptive() const { return least > 0; }
    bool operator==(const SeatSpec&) const = default;
};

/// One limit of a vendor or a route. At least one of rate, tokens, seats is set.
struct LimitSpec {
    std::string name;               // written, else "limit", "limit2" ...: metric label and detail of a refusal
    std::optional<RateSpec> rate;
    std::optional<TokenSpec> tokens;
    std::optional<SeatSpec> seats;
    bool learn = false;             // paced by what the vendor says of its quota
    std::string per_header;         // "" for one limit of all; else each value of that header has its own (bounded number of keys)
    Duration wait{};                // when full, wait so long for a place: higher priority first, then in order
    std::string priority_header;    // "" for none; its value is a whole number, more is sooner

    bool operator==(const LimitSpec&) const = default;
};

}  // namespace sluice
