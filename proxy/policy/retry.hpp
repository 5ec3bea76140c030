// Which attempts are worth another one, and what makes a request safe to send twice. What is written, after defaults, vendor
// and route; the machine that lives by it is attempt_plan. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/reason.hpp"
#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"

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

    /// Is a response with this status worth another attempt?
    bool names(unsigned status) const;
    /// Is this failure? connect: dns_failed, connect_failed, timeout_connect; tls: tls_failed, timeout_tls; reset:
    /// upstream_reset, upstream_protocol; timeout: timeout_first_byte, timeout_idle. Nothing else ever is: timeout_total has
    /// used up the time, and the rest is our own.
    bool names(Reason reason) const;
};

/// `retry.on` over what was inherited: a plain list replaces `base`; one whose every entry begins with `+` or `-` edits it.
/// Entries are `connect tls reset timeout 5xx` and statuses 100 to 599. "-503" beside an inherited `5xx` leaves the other
/// 5xx. Nothing: a mix of both forms, an unknown word, or one that is both added and taken away; `fault` then says what is
/// wrong and what can be written.
std::optional<RetryOn> edited(const RetryOn& base, std::span<const std::string> words, std::string& fault);

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

/// What to say in a Retry-After that ends for all callers at the same moment, such as a breaker's: uniform in `retry_after` ..
/// `retry_after + over`, so that they do not all come back in the same second. `draw` is uniform in 0 .. 1; of a breaker, `over`
/// is its `open_min`.
Duration spread(Duration retry_after, Duration over, double draw);

/// `idempotency: {header: Idempotency-Key, generate: [POST]}`.
struct IdempotencySpec {
    std::string header = "Idempotency-Key";
    std::vector<std::string> generate;   // methods that get a key of ours where the application gave none

    bool operator==(const IdempotencySpec&) const = default;

    /// The request has a key: a field of that name whose value is not empty. Whatever the application says in it, bare or
    /// quoted, is taken as it is.
    bool is_keyed(const Fields& fields) const;
    /// A request of this method that has no key gets one of ours. Methods are case-sensitive (RFC 9110 9.1).
    bool generates(std::string_view method) const;
};

/// A key of ours: a UUID of version 4 (RFC 9562 5.4) made of 122 of these 128 random bits, bare, as Stripe takes it. Made once
/// an exchange: the same on every attempt.
std::string make_idempotency_key(std::uint64_t random, std::uint64_t more_random);

}  // namespace sluice
