// Another vendor in the place of one that is out: the request made anew as the policy's `rewrite` says, the answer made one of
// the first vendor's again.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// From here on `ex` is for the fallback of `ex.serving`. A Failure: it cannot be made such a request.
Task<Result<void>> begin_fallback(Core& core, Exchange& ex);

/// The answer at hand (its head in `ex.response`, its `body` or null) as the application expects it, through every `rewrite` on the way. Where the body was made anew, it is in `ex.rewritten` and `framing` is of that.
Task<Result<BodySource*>> rewrite_answer(Exchange& ex, BodySource* body, Framing& framing);

}  // namespace sluice
