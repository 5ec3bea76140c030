// What an answer says about trying again: Retry-After (RFC 9110 10.2.3) and the fields that some vendors put beside it.
// Pure; what is malformed counts as not said.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.hpp"
#include "proxy/http/fields.hpp"

namespace sluice {

/// Longer is taken as this.
inline constexpr Duration most_retry_after = 24h;

/// `retry-after-ms` (milliseconds; OpenAI, Azure), else `Retry-After`: seconds (a fraction is let pass), or a date, the
/// past being 0. A number that can only be an epoch is one, as `parse_reset` has it.
std::optional<Duration> read_retry_after(const Fields& fields, WallTime now);
/// The value of one Retry-After field.
std::optional<Duration> parse_retry_after(std::string_view value, WallTime now);

/// The value of `grpc-status-details-bin`: the `retry_delay` of a google.rpc.RetryInfo among the details of a
/// google.rpc.Status, in base64 with or without padding (google/rpc/status.proto, error_details.proto).
std::optional<Duration> parse_retry_info(std::string_view value);

/// `x-should-retry`, `stripe-should-retry`: "true" or "false".
std::optional<bool> read_should_retry(const Fields& fields);

/// A bare number says when a quota is reset: above 1e12 epoch milliseconds, above 1e9 epoch seconds, else seconds from
/// now. A duration ("6m0s", "12ms", "1.5s", "34s") and RFC 3339 and HTTP dates are understood too. At most
/// `most_retry_after`.
std::optional<Duration> parse_reset(std::string_view value, WallTime now);

/// Whole seconds, rounded up, at least 1: what our own `Retry-After` says.
std::string format_retry_after(Duration wait);

}  // namespace sluice
