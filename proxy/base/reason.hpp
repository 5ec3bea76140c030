// Why an exchange did not get its answer from the vendor: the one list that the header `Sluice-Reason`, the problem+json
// body, the metric label and the log field share. Pure.
#pragma once

#include <optional>
#include <string_view>

namespace sluice {

enum class Reason : unsigned char {
    bad_request,             // 400
    head_too_large,          // 431
    unknown_vendor,          // 403 ...
    not_allowed,
    address_refused,
    client_unknown,          // 407
    timeout_request,         // 408
    authority_mismatch,      // 421
    rate_limited,            // 429 ...
    concurrency_limited,
    token_limited,
    dns_failed,              // 502 ...
    connect_failed,
    tls_failed,
    upstream_reset,
    upstream_protocol,
    answer_lost,
    breaker_open,            // 503 ...
    credential_unavailable,
    overloaded,
    draining,
    timeout_connect,         // 504 ...
    timeout_tls,
    timeout_first_byte,
    timeout_idle,
    timeout_total,
};

inline constexpr std::size_t reason_count = static_cast<std::size_t>(Reason::timeout_total) + 1;

/// The word, as users read it: "unknown_vendor". The view is to static storage.
std::string_view name_of(Reason reason);

/// The HTTP status of our own answer.
unsigned status_of(Reason reason);

/// A short title for people (RFC 9457 `title`): "the vendor did not answer in time".
std::string_view title_of(Reason reason);

}  // namespace sluice
