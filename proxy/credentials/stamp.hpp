// A time as signatures write it. Pure: the time is an argument, no locale, UTC. Years 0 to 9999.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/base/time.hpp"

namespace sluice {

/// "20150830T123600Z" (ISO 8601, basic), as AWS signs it.
std::string basic_stamp(WallTime time);
/// "2015-08-30T12:36:00Z" (RFC 3339).
std::string iso_stamp(WallTime time);
/// "Sun, 30 Aug 2015 12:36:00 GMT" (IMF-fixdate, RFC 9110 5.6.7).
std::string imf_stamp(WallTime time);
/// Seconds since 1970, rounded down.
std::int64_t unix_seconds(WallTime time);
std::int64_t unix_milliseconds(WallTime time);

}  // namespace sluice
