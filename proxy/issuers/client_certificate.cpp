#include "proxy/issuers/client_certificate.hpp"

#include <chrono>

#include "certs/client_certificate.hpp"
#include "certs/pem.hpp"
#include "proxy/issuers/errand.hpp"

namespace sluice {

Result<Attachment> read_client_certificate(const MtlsSpec& spec) {
    const auto unavailable = [](std::string what) { return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(what)}; };
    const auto certificates = read_certificates(spec.cert.name);
    if (!certificates) return unavailable(certificates.error().what);
    const X509* const own = certificates->front().get();
    const auto key = read_key_of(own, spec.cert.name, spec.key.name);
    if (!key) return unavailable(key.error().what);
    const WallTime ends = wall_time(X509_get0_notAfter(own));
    if (ends <= std::chrono::system_clock::now())
        return unavailable("the certificate in " + spec.cert.name + " ended on " + date_text(X509_get0_notAfter(own)) + "; whoever writes that file has to renew it");
    return Attachment{OnConnection{ends, nullptr, {}}, {}};
}

Task<Result<OnConnection>> fetch_client_certificate(Errand& errand, const MtlsSpec& spec) {
    Result<Secret> cert = co_await errand.secret(spec.cert);
    if (!cert) co_return std::move(cert.error());
    Result<Secret> key = co_await errand.secret(spec.key);
    if (!key) co_return std::move(key.error());
    auto parsed = parse_client_certificate(cert->reveal(), key->reveal(), spec.cert.text(), spec.key.text());
    if (!parsed) co_return errand.failure(parsed.error().what);
    const std::shared_ptr<const ClientCertificate> made = std::move(*parsed);
    if (made->ends <= Errand::wall_now())
        co_return errand.failure("the certificate in " + spec.cert.text() + " ended on " + date_text(X509_get0_notAfter(made->chain.front().get())) + "; whoever keeps it there has to renew it");
    co_return OnConnection{made->ends, made, made->identity};
}

}  // namespace sluice
