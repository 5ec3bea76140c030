// In what coding the body of an answer comes, where one of us reads it on its way: who searches it for secrets, learns limits from
// it, counts its tokens, or rewrites it. Called by the walk, on its worker's thread.
#pragma once

#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Asks the vendor for what can be read, by whoever does: without a coding, or, where codings are taken off on the way (`scrub: deep`) and all is asked for and not a range, in one that we know. Once a vendor that serves, before the first attempt there; part of the request from then on.
void ask_for_readable(Exchange& ex);

/// Why the answer at hand may not be delivered, before `decode_answer`: its body would have to be searched (`scrub: deep`), but its coding cannot be taken off.
std::optional<Failure> judge_coding(const Exchange& ex, const Framing& framing);

/// Takes away the codings of the answer at hand, where `scrub: deep` does and somebody reads it: before anything else looks at it. `body` may be null. Returns what is left of it, and its framing.
BodySource* decode_answer(Exchange& ex, BodySource* body, Framing& framing);

}  // namespace sluice
