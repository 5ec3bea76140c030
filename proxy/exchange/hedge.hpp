// A second attempt beside one that takes long (`hedge`): the first answer wins, the other attempt is cancelled at once. A
// cancelled attempt that is still dialling may outlive its exchange, so each of them has an Exchange of its own.
#pragma once

#include "proxy/exchange/attempt.hpp"
#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Does `ex` want a second attempt where the first takes long? Never one that has a body which cannot be kept, a tunnel or an upgrade.
bool hedges(const Exchange& ex);

/// `attempt` at `endpoint`, and others beside it as `plan` allows; what came out is in `ex` as if there had been one, and `endpoint` is that of the attempt that won.
Task<Result<void>> attempt_hedged(Core& core, Exchange& ex, AttemptPlan& plan, std::size_t& endpoint);

/// May `ex` be tried again `in` so long? Where it may the retry budget is spent; its places of the limits too where it is made at once and they are there, else they are taken then, or waited for.
Spend may_spend_attempt(Exchange& ex, Duration in);

}  // namespace sluice
