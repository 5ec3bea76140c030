// Another vendor in the place of one that is out: the request made anew as the policy's `rewrite` says, the answer made one of
// the first vendor's again.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// The request as the fallback of `ex.serving` gets it. A Failure of ours: it cannot have it, as far as that can be said without its body.
Result<RequestHead> request_for_fallback(const Exchange& ex);
/// Has the body of `request` to be edited for it?
bool edits_body(const Exchange& ex, const RequestHead& request);
/// That body; what is not at hand of it is read, once the attempt before has let go of it. A Failure: of ours, where the fallback cannot have it; of the application, where it did not come.
Task<Result<std::string>> body_for_fallback(Exchange& ex);
/// Puts it in the place of the one that came. An attempt before must have been left.
void put_body(Exchange& ex, RequestHead& request, std::string body);
/// From here on `ex` is that `request` to the fallback of `ex.serving`. An attempt before must have been left.
void begin_fallback(Exchange& ex, RequestHead request);

/// The answer at hand (its head in `ex.response`, its `body` or null) as the application expects it, through every `rewrite` on the way. Where the body was made anew, it is in `ex.rewritten` and `framing` is of that.
Task<Result<BodySource*>> rewrite_answer(Exchange& ex, BodySource* body, Framing& framing);

}  // namespace sluice
