// What a token endpoint answers (RFC 6749 5.1, 5.2; RFC 8693 2.2.1). Pure.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "proxy/credentials/credential.hpp"

namespace sluice {

struct TokenGranted {
    Minted minted;          // a token
    Secret refresh_token;   // empty: the one that was used goes on
};
struct TokenDenied {
    std::string what;       // for people: "401 invalid_client: the client is unknown"; may quote the issuer, so mask what was sent to it
    std::string error;      // the code (RFC 6749 5.2), "" where the answer is none of OAuth's
    bool final = false;     // asking again in the same way will not help: invalid_grant and its like
    /// Came all the same, in an answer of success: the one that was used may be spent. Empty: none, or over 64 KiB.
    Secret refresh_token;
};

/// `body` is JSON. A refusal (`error`) is one with status 200 too, where there is no token beside it. Denied as well: a 200 that is no JSON, has no `access_token`, a `token_type` that is not Bearer (N_A of RFC 8693 passes), or a lifetime that has no sense.
std::variant<TokenGranted, TokenDenied> read_token_reply(unsigned status, std::string_view body);

/// `expires_in` and its like as issuers write it: a number or digits. Nothing: missing. Failure words in `wrong` where it is no positive number.
std::optional<Duration> read_lifetime(std::optional<double> seconds, bool written, std::string& wrong);

}  // namespace sluice
