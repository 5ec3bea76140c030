// What the application may not see of an answer: the secret that its request was given (`scrub` of the policy).
#pragma once

#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// What is masked in answers to the request as it stands; null: nothing.
const Needles* needles_for(const Exchange& ex);

/// Masks finds in the head of the answer at hand, and in `body` (may be null) as it is pulled. Returns what to deliver.
BodySource* scrub_answer(Exchange& ex, BodySource* body);

}  // namespace sluice
