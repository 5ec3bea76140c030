// A credential onto a request head. Pure.
#pragma once

#include <optional>

#include "proxy/base/result.hpp"
#include "proxy/credentials/credential.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

/// Makes the attachment of what was read or fetched. Fails (origin sluice, credential_unavailable) when a value cannot stand in its place: empty, CR, LF, NUL or
/// other controls in a header value, ':' in a basic username; or when the type has no use for what was given. The detail names the credential, never the value.
/// Behind the secrets themselves stands among its `secrets` what is sent of them encoded (in `Basic`, in a path or query): whoever encodes that again shows
/// another text than the secret.
Result<Attachment> make_attachment(const CredentialSpec& spec, const Minted& minted);

/// A secret as it stands in a path or query; nothing: as it is.
std::optional<Secret> as_in_target(const Secret& secret);

/// Drops whatever the application put in the same header (or query parameter) and puts the credential there; also what a vendor might read as the same:
/// headers that differ by '_' and '-' only, parameters between ';', in other case, encoded, or as frameworks bend names. A value that holds ";key=" loses that part.
/// `head.target` is in origin-form. Under 1 us for a header.
void apply(const FixedValue& value, RequestHead& head);

/// Drops what the application put where a credential of `spec` goes, as `apply` does, and attaches nothing: the request is for somebody else now.
void withhold(const CredentialSpec& spec, RequestHead& head);

/// Where the application has its placeholder in the place that `value` would go to, or in Authorization, drops what else
/// it put there, without it, and what a vendor might read as there (see `apply`): of two values it is the vendor who
/// chooses. Before `replace_placeholder`.
void drop_beside_placeholder(const FixedValue& value, std::string_view placeholder, RequestHead& head);

/// Puts the credential where the application has its placeholder instead: in field values, in the user or password of `Authorization: Basic`, in path and query
/// (percent-encoded there, and it is found however it is). `secret` is the bare value, without a prefix. `too_many`: more than `most_placeholders`, by which a small request would become one of
/// megabytes; `head` is half done then.
inline constexpr std::size_t most_placeholders = 16;
enum class Placeholders : unsigned char { none, replaced, too_many };
Placeholders replace_placeholder(std::string_view placeholder, std::string_view secret, RequestHead& head);

}  // namespace sluice
