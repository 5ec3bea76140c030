// One try of an exchange at one destination.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Gets the credential, puts it on the request, sends it, and receives the head of the answer into `ex.response`. `trip` must be finished by the caller, whatever came out.
Task<Result<void>> attempt(Core& core, Exchange& ex, RoundTrip& trip);

}  // namespace sluice
