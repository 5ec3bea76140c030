// Which attempts are worth another one. What is written, after defaults, vendor and route.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

/// The words of `retry.on`; a status is the vendor's, never ours.
struct RetryOn {
    bool connect = true;
    bool tls = false;
    bool reset = true;
    bool timeout = false;
    bool server_errors = false;                          // `5xx`
    std::vector<std::uint16_t> statuses{502, 503, 504};  // sorted

    bool operator==(const RetryOn&) const = default;
};

/// `hedge: {after: p95|500ms, max: 1}`: a second attempt beside one that takes long, of idempotent requests only, within the
/// retry budget. The first answer wins.
struct HedgeSpec {
    Duration after{};        // 0: by `quantile`
    double quantile = 0;     // of the vendor's time to the response head: 0.95
    unsigned max = 1;

    bool operator==(const HedgeSpec&) const = default;
};

struct RetrySpec {
    unsigned max = 2;                   // additional attempts
    RetryOn on;
    Duration backoff_min = 100ms;       // full jitter: the n-th wait is uniform in 0 .. min(backoff_max, backoff_min * 2^n)
    Duration backoff_max = 2s;
    double budget = 0.2;                // retries may be at most that share of the requests of the last 10 s, at least 3
    std::size_t buffer = 64 * 1024;     // bytes of request body kept for another attempt; larger: not replayable
    std::optional<HedgeSpec> hedge;     // key `hedge` beside `retry`

    bool operator==(const RetrySpec&) const = default;
};

/// `idempotency: {header: Idempotency-Key, generate: [POST]}`.
struct IdempotencySpec {
    std::string header = "Idempotency-Key";
    std::vector<std::string> generate;   // methods that get a key of ours where the application gave none

    bool operator==(const IdempotencySpec&) const = default;
};

}  // namespace sluice
