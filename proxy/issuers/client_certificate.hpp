// The certificate that a connection shows, and its key: are they there, do they belong together, and until when. The connections themselves read them again
// (certs/trust). Blocking, as read_secret.
#pragma once

#include "proxy/base/result.hpp"
#include "proxy/credentials/credential.hpp"

namespace sluice {

/// A Failure names the file and what to do.
Result<Attachment> read_client_certificate(const MtlsSpec& spec);

}  // namespace sluice
