// Certificates and keys out of PEM files, and OpenSSL's complaints in words. A passphrase is never asked for: a file
// that needs one is a fault. Called by the rest of `certs`.
#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "certs/authority.hpp"
#include "certs/files.hpp"

namespace sluice {

/// Any of OpenSSL's objects, given back by its own function: `Owned<BIGNUM, BN_free>`.
template <class T, auto release>
struct Releaser {
    void operator()(T* object) const { release(object); }
};
template <class T, auto release>
using Owned = std::unique_ptr<T, Releaser<T, release>>;

/// Every certificate of the text, in its order; at least one. Anything else in it is passed over. `place` is for the
/// fault.
CertResult<std::vector<X509Ptr>> parse_certificates(std::string_view pem, const std::string& place);
CertResult<std::vector<X509Ptr>> read_certificates(const std::string& path);
/// The first private key of the file (PKCS#8 or the older forms).
CertResult<KeyPtr> read_key(const std::string& path, Privacy privacy);
CertResult<KeyPtr> parse_key(std::string_view pem, const std::string& place);
/// `key`, which was read at `key_place`, where it is that of the first certificate at `cert_place`; else a fault.
CertResult<KeyPtr> own_key(const X509* certificate, CertResult<KeyPtr> key, const std::string& cert_place, const std::string& key_place);
/// The same of a file, as it was mounted.
CertResult<KeyPtr> read_key_of(const X509* certificate, const std::string& cert_file, const std::string& key_file);

std::string pem_of(const X509* certificate);
Secret pem_of(EVP_PKEY* key);

/// The oldest error of this thread's OpenSSL queue in OpenSSL's words; empties the queue, which would otherwise be read
/// as the outcome of the thread's next TLS operation.
std::string take_openssl_reason();

/// "CN=Sluice CA 1a2b3c4d,O=...": one line, control characters escaped, at most 200 bytes: names come from strangers.
std::string name_text(const X509_NAME* name);

WallTime wall_time(const ASN1_TIME* time);
/// "2026-01-02", in UTC.
std::string date_text(const ASN1_TIME* time);

}  // namespace sluice
