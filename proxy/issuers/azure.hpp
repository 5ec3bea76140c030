// Azure workload identity: the cluster's token, read anew for every fetch, against one of Microsoft Entra (RFC 7523 2.2). On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

Task<Result<Minted>> fetch_azure(Errand& errand, const AzureSpec& spec);

}  // namespace sluice
