#include "proxy/issuers/client_certificate.hpp"

#include <chrono>

#include "certs/pem.hpp"

namespace sluice {

Result<Attachment> read_client_certificate(const MtlsSpec& spec) {
    const auto unavailable = [](std::string what) { return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(what)}; };
    const auto certificates = read_certificates(spec.cert_file);
    if (!certificates) return unavailable(certificates.error().what);
    const X509* const own = certificates->front().get();
    const auto key = read_key_of(own, spec.cert_file, spec.key_file);
    if (!key) return unavailable(key.error().what);
    const WallTime ends = wall_time(X509_get0_notAfter(own));
    if (ends <= std::chrono::system_clock::now())
        return unavailable("the certificate in " + spec.cert_file + " ended on " + date_text(X509_get0_notAfter(own)) + "; whoever writes that file has to renew it");
    return Attachment{OnConnection{ends}, {}};
}

}  // namespace sluice
