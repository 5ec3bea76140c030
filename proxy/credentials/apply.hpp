// A credential onto a request head. Pure.
#pragma once

#include "proxy/base/result.hpp"
#include "proxy/credentials/credential.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

/// The values of a spec's secrets, in words of the spec: `value` for bearer and api_key, `password` (and `username`) for basic.
struct SecretValues {
    Secret value;
    Secret username;
};

/// Makes the attachment. Fails (origin sluice, credential_unavailable) when a value cannot stand in its place: empty, CR, LF, NUL or other controls in a
/// header value, ':' in a basic username. The detail names the credential, never the value.
Result<Attachment> make_attachment(const CredentialSpec& spec, const SecretValues& values);

/// Drops whatever the application put in the same header (or query parameter) and puts the credential there; also what a vendor might read as the same:
/// headers that differ by '_' and '-' only, parameters between ';', in other case, encoded, or as frameworks bend names. A value that holds ";key=" loses that part.
/// `head.target` is in origin-form. Under 1 us for a header.
void apply(const Attachment& attachment, RequestHead& head);

/// Drops what the application put where a credential of `spec` goes, as `apply` does, and attaches nothing: the request is for somebody else now.
void withhold(const CredentialSpec& spec, RequestHead& head);

}  // namespace sluice
