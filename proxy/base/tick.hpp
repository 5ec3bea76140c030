// How finely time is told to those who sleep.
#pragma once

#include "proxy/base/time.hpp"

namespace sluice {

/// Of a worker's wheel (net/deadline): who sleeps until a time wakes up to this much later.
inline constexpr Duration wheel_tick = 8ms;

}  // namespace sluice
