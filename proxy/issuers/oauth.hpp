// OAuth 2.0 token endpoints: client credentials (RFC 6749 4.4), refresh token (6), token exchange (RFC 8693), JWT bearer (RFC 7523 2.1); clients by secret (RFC 6749 2.3.1), by private key (RFC 7523 2.2), by
// certificate (RFC 8705 2). On the issuers' thread.
#pragma once

#include "proxy/credentials/token_reply.hpp"
#include "proxy/issuers/errand.hpp"

namespace sluice {

Task<Result<Minted>> fetch_oauth(Errand& errand, const OAuthSpec& spec);

/// Posts a form to a token endpoint and reads what it grants; `denied` (may be null) is told why not, where the endpoint said so.
Task<Result<TokenGranted>> ask_token_endpoint(Errand& errand, IssuerRequest request, TokenDenied* denied = nullptr);

}  // namespace sluice
