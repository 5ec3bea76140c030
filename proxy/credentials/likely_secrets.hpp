// What in a line that some program wrote looks like a secret, though nobody here knows it. A guess: words that say what
// they hold ("token=..."), and words as keys and tokens look. Pure.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

/// The line with "***" in place of what looks like a secret: what stands behind a name such as token, secret, password,
/// session or key (after '=', after ':' where it is no plain word, is quoted, or the name is a header's as "X-Api-Key",
/// after a blank where the name is an option as "--token"), behind "Bearer" and "Basic" (likewise; behind "Bearer" plain
/// words of 12 characters or more too), every word that begins as an issuer marks its own ("hvs.", "sk-live-"), and every
/// word of 16 characters or more in which small letters, capitals and digits change often, path and all.
std::string mask_likely_secrets(std::string_view line);

}  // namespace sluice
