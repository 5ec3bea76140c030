// The certificate that a connection shows, and its key: are they there, do they belong together, and until when.
#pragma once

#include "proxy/base/result.hpp"
#include "proxy/credentials/credential.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

/// Of two files, which connections themselves read again (certs/trust). Blocking, as read_secret. A Failure names the file and what to do.
Result<Attachment> read_client_certificate(const MtlsSpec& spec);

class Errand;

/// Of Vault or the environment, or one of both; what there is of Vault is read once, so that both are of one version where they are beside each other.
Task<Result<OnConnection>> fetch_client_certificate(Errand& errand, const MtlsSpec& spec);

}  // namespace sluice
