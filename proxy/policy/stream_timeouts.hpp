// Which of a vendor's timeouts hold for what may be quiet for long: tunnels and upgraded connections. Pure.
#pragma once

#include <algorithm>

#include "proxy/policy/vendor.hpp"

namespace sluice {

/// No byte may move for that long, whatever shorter `idle` is written.
inline constexpr Duration least_idle_of_streams = 1h;

/// Of what is written, what holds once such a stream stands; its `total` bounds it only with `total_written`.
inline Timeouts timeouts_of_stream(Timeouts timeouts) {
    timeouts.idle = std::max(timeouts.idle, least_idle_of_streams);
    return timeouts;
}

}  // namespace sluice
