// One fetch of a credential, by its type. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

/// What the credential's issuer gives now, within the errand's deadline; or why not, in words for a person. Of one that is not `is_static` only.
Task<Result<Minted>> fetch_credential(Errand& errand);

}  // namespace sluice
