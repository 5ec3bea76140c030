// AWS keys from where the SDKs find them (AWS SDKs and Tools Reference Guide, "Standardized credential providers"), and roles assumed with them, one after the other. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

Task<Result<Minted>> fetch_aws(Errand& errand, const AwsSpec& spec);

}  // namespace sluice
