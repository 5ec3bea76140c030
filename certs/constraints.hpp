// Which hosts a CA may sign for: X.509 name constraints (RFC 5280 4.2.1.10), made from the hosts of a policy, and
// judged against them. Called by `authority`, and by whoever takes another policy under the CA that is there. Pure.
#pragma once

#include <vector>

#include "certs/authority.hpp"
#include "proxy/http/authority.hpp"

namespace sluice {

/// Permits these hosts and nothing else, critically: an exact name permits what is below it too (a dNSName constraint
/// knows no less), a wildcard the suffix that it stands for, an address itself. Without names, or without addresses of
/// one family, none of these is permitted. False: OpenSSL would not.
bool add_name_constraints(X509* ca, const std::vector<HostPattern>& hosts);

bool has_name_constraints(const X509* ca);

/// May `ca` sign for all of these hosts? A CA without constraints may. The fault names the first that it may not sign
/// for.
CertResult<void> constraints_cover(const X509* ca, const std::vector<HostPattern>& hosts);

}  // namespace sluice
