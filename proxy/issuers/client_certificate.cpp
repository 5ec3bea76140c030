#include "proxy/issuers/client_certificate.hpp"

#include <openssl/err.h>

#include <chrono>

#include "certs/pem.hpp"

namespace sluice {

Result<Attachment> read_client_certificate(const MtlsSpec& spec) {
    const auto unavailable = [](std::string what) { return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(what)}; };
    const auto certificates = read_certificates(spec.cert_file);
    if (!certificates) return unavailable(certificates.error().what);
    const auto key = read_key(spec.key_file, Privacy::as_mounted);
    if (!key) return unavailable(key.error().what);
    const X509* const own = certificates->front().get();
    if (X509_check_private_key(own, key->get()) != 1) {
        ERR_clear_error();
        return unavailable(spec.key_file + " is not the key of the first certificate in " + spec.cert_file);
    }
    const WallTime ends = wall_time(X509_get0_notAfter(own));
    if (ends <= std::chrono::system_clock::now())
        return unavailable("the certificate in " + spec.cert_file + " ended on " + date_text(X509_get0_notAfter(own)) + "; whoever writes that file has to renew it");
    return Attachment{OnConnection{ends}, {}};
}

}  // namespace sluice
