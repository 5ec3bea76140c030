// The units of time of the whole program. Floors 0 to 3 never read a clock: a time is always an argument.
#pragma once

#include <chrono>

namespace sluice {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::steady_clock::time_point;  // deadlines and measured phases
using WallTime = std::chrono::system_clock::time_point;   // certificates, log lines

using namespace std::chrono_literals;

/// A deadline that never comes.
inline constexpr TimePoint never = TimePoint::max();

/// `at + after`, or `never` where the sum would not fit.
constexpr TimePoint later(TimePoint at, Duration after) {
    return after >= never - at ? never : at + after;
}

}  // namespace sluice
