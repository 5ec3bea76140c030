// The walk: the order of every policy, in one function. Called by a session for each request, on its worker's thread.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Answers `ex`, in one way or another, and records it exactly once. A Failure: the application's connection cannot be used again.
Task<Result<void>> run_exchange(Core& core, Exchange& ex);

/// Wakes the exchange from whatever it waits for, after its application has `stopped()`: it ends. It may have ended, and so destroyed what it belongs to, when this returns.
void interrupt(Core& core, Exchange& ex);

}  // namespace sluice
