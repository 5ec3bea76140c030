// HashiCorp Vault and OpenBao: logs in (token, kubernetes, jwt, approle), keeps the session in the errand's memory and renews it, reads KV stores and what is made to order, renews leases. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

/// One that ends with its lease or with the session it was made in, whichever is first; of a KV store one that is to be read again.
Task<Result<Minted>> fetch_vault(Errand& errand, const VaultSpec& spec);

/// One value of `{vault: path#key}`. How long it holds is added to `errand.vault_readings()`.
Task<Result<Secret>> read_vault_secret(Errand& errand, const SecretSource& source);

}  // namespace sluice
