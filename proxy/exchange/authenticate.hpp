// The credential of an attempt: waited for where there is none yet, put on the request, renewed once where the vendor refuses it.
#pragma once

#include "proxy/exchange/core.hpp"
#include "proxy/exchange/exchange.hpp"

namespace sluice {

/// Puts the credential of `ex.serving` (or of its route) on `ex.request`, for a request to `destination`, and gives `ex.trip` the certificate that its connection shows; where chunks of the body are signed too, `ex.resigned` is the body to send. Nothing: it is not at hand, or the body has to be read first: `attach_credential` waits for it.
/// A Failure: none is attached, and the request must not go (credential_unavailable, not_allowed).
std::optional<Result<void>> attach_at_once(Core& core, Exchange& ex, const Destination& destination);

/// Is it still being fetched?
bool awaits_credential(const Exchange& ex, const Destination& destination);
/// The same as `attach_at_once`, and waits: for a credential that is being fetched, until the exchange's `total`; for the body, where what is signed is its hash.
Task<Result<void>> attach_credential(Core& core, Exchange& ex, const Destination& destination);

/// May it be that the answer at hand says in its body whether the key that signed the request is taken, as AWS does?
bool may_tell_of_key(const Exchange& ex);
/// Reads that body ahead, at most 16 KiB, and notes what it says for `is_refused_credential`; what is delivered is the same as without. It takes a second at most.
Task<void> look_for_refused_key(Exchange& ex);

/// May this answer mean that the credential is not taken (any more)? Once an exchange.
bool is_refused_credential(const Exchange& ex);

/// Tells the desk that the credential was refused, and, where the request can be sent again, gets another one. False: it cannot, or there is none. The answer is still at hand.
Task<bool> renew_credential(Core& core, Exchange& ex);

/// After an answer: tells the desk which of a rotation's two secrets was taken (`overlap`). One of 400 and above does not say.
void note_taken_credential(Exchange& ex);

/// Reads the body of the request, as far as `ex.replay` keeps one, ahead of the first attempt; asks for it first where the application waits to be asked. False: it is larger than what is kept.
Task<Result<bool>> read_body(Exchange& ex);

}  // namespace sluice
