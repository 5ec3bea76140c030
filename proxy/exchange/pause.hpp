// Waits of an exchange that are not for a socket: back-off, a place in a queue. They end early when the application goes.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Until `wakeup` is notified or `until` has come. False: `cut_short` says why.
Task<bool> pause(Core& core, Exchange& ex, Wakeup& wakeup, TimePoint until);
Task<bool> pause(Core& core, Exchange& ex, TimePoint until);

/// Why a wait has no end: the application has gone, or a drain's time is over (503 `draining`).
Failure cut_short(const Exchange& ex);

}  // namespace sluice
