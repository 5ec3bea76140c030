// What applications read: public parts only, by atomic rename.
#pragma once

#include <string>

#include "certs/authority.hpp"

namespace sluice {

struct Published {
    std::string ca_crt, bundle_pem, truststore_p12;
};  // paths

/// Writes `ca.crt` (our CA), `bundle.pem` (system roots + our CA) and `truststore.p12` (the same, password "changeit",
/// each certificate in a bag with a friendlyName and the JDK's trusted-key-usage
/// attribute 2.16.840.1.113894.746875.1.1, so that `keytool -list` shows them) into `directory` (created 0755 where
/// missing), files 0644, each by rename of a temporary beside it. A file whose bytes would not change is left alone.
/// The trust store's certificates are not encrypted and its MAC is HMAC-SHA-256: Java 8u301, 11.0.12, 17 and later read
/// it, with the password or without any. The fault names file and cause.
CertResult<Published> publish(const CertAuthority& authority, const std::string& directory);

/// The file of the system's roots: $SSL_CERT_FILE, else the first that exists of Debian's, Red Hat's, Alpine's places;
/// "" for none.
std::string system_roots_file();

}  // namespace sluice
