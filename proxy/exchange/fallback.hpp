// Another vendor in the place of one that is out: the request made anew as the policy's `rewrite` says, the answer made one of
// the first vendor's again.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// The request as the fallback of `ex.serving` gets it. A Failure of ours: it cannot have it, as far as that can be said without its body.
Result<RequestHead> request_for_fallback(const Exchange& ex);
/// From here on `ex` is that `request` to the fallback of `ex.serving`. A Failure: of ours, where it cannot have the request's body; of the application, where that did not come. `ex` is as it was then. An attempt before must have been left.
Task<Result<void>> begin_fallback(Exchange& ex, RequestHead request);

/// The answer at hand (its head in `ex.response`, its `body` or null) as the application expects it, through every `rewrite` on the way. Where the body was made anew, it is in `ex.rewritten` and `framing` is of that.
Task<Result<BodySource*>> rewrite_answer(Exchange& ex, BodySource* body, Framing& framing);

}  // namespace sluice
