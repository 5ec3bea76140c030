// What the application may not see of an answer: the secret that its request was given (`scrub` of the policy).
#pragma once

#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Asks the vendor for what can be searched. Before the first attempt at a vendor; part of the request from then on.
void ask_for_searchable(Exchange& ex);

/// What is masked in answers to the request as it stands; null: nothing.
const Needles* needles_for(const Exchange& ex);

/// Takes away the codings of the answer at hand, where its body is searched inside them: before anything else looks at it. `body` may be null. Returns what is left of it, and its framing.
BodySource* decode_answer(Exchange& ex, BodySource* body, Framing& framing);

/// Masks finds in the head of the answer at hand, and in `body` (may be null) as it is pulled. Returns what to deliver.
BodySource* scrub_answer(Exchange& ex, BodySource* body);

}  // namespace sluice
