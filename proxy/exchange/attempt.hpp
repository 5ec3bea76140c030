// One try of an exchange at one destination, and what it says to the machines that watch over the vendor: its breaker, its
// adaptive limits, its learnt pace.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"
#include "proxy/policy/attempt_plan.hpp"

namespace sluice {

/// Endpoints of `ex.serving` whose breaker lets nothing through now.
EndpointMask endpoints_out(const Exchange& ex, TimePoint now);
/// What is said where none of them lets anything through: of the first that will again.
Failure every_endpoint_out(Core& core, const Exchange& ex, TimePoint now);

/// Takes its places under the limits, gets the credential, asks the breaker, sends the request to that endpoint, and receives the head of the answer into `ex.response`. The attempt is over with `finish` of `ex.trip` and `leave_attempt`, whatever came out. `waited`: for its limits, before.
Task<Result<void>> attempt(Core& core, Exchange& ex, std::size_t endpoint, Duration waited = {});

/// An answer that nobody wants: what it says is learnt, and a small one read to its end, so that its connection can be used again.
void let_go(Exchange& ex);

/// Keeps an answer that is wanted later, if at all, beyond `Transport::finish` of its trip: where it is at hand as a whole, small and without trailers. False: it is not, and part of it is lost.
bool keep_answer(Exchange& ex);

/// After `Transport::finish`: gives back what else the attempt had.
void leave_attempt(Exchange& ex);

/// The body of the answer, with whoever looks at it on its way, and its framing; null: none. Masks what may not be seen in its head.
BodySource* answer_body(Core& core, Exchange& ex, Framing& framing);

/// What the answer that was heard last says of the vendor's limits; once an answer.
void learn_from_answer(Exchange& ex);

/// The answer is out, or was broken off (`done`): what it cost is settled, and a body that the vendor broke off counts against it.
void settle_answer(Core& core, Exchange& ex, std::size_t endpoint, const Result<void>& done);

}  // namespace sluice
