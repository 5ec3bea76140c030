// Dates as they stand in heads: HTTP-date in its three forms (RFC 9110 5.6.7) and RFC 3339. Pure: no clock, no locale.
#pragma once

#include <optional>
#include <string_view>

#include "proxy/base/time.hpp"

namespace sluice {

/// "Sun, 06 Nov 1994 08:49:37 GMT", and the obsolete "Sunday, 06-Nov-94 08:49:37 GMT" (a year that would be more than
/// 50 years after `now` is of the century before) and "Sun Nov  6 08:49:37 1994". The name of the day is not judged.
std::optional<WallTime> parse_http_date(std::string_view text, WallTime now);

/// "2026-07-16T08:00:00Z", "2026-07-16T10:00:00.25+02:00"; fractions beyond a nanosecond are dropped.
std::optional<WallTime> parse_rfc3339(std::string_view text);

}  // namespace sluice
