// Calls to what a machine has beside it: metadata services and credential agents, over plain HTTP at addresses that the guard keeps closed to everything else. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

/// As `Errand::call`, with the request's own host added to the addresses of the credential's issuer where it is an address; `at` where it is a name that stands for that one.
Task<Result<IssuerReply>> call_nearby(Errand& errand, IssuerRequest request, std::string_view at = {});

/// "http://host[:port]" or "host[:port]" of a variable that moves such a service: to this machine or this link, and nowhere else. `name`: the variable's, for words.
Result<Url> nearby_url(const Errand& errand, std::string_view name, const std::string& text);

}  // namespace sluice
