// Google Cloud: a service account's own key (RFC 7523 2.1), workload identity federation (AIP-4117), the metadata server; and impersonation by the IAM Credentials API. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

Task<Result<Minted>> fetch_gcp(Errand& errand, const GcpSpec& spec);

}  // namespace sluice
