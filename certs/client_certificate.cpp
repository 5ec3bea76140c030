#include "certs/client_certificate.hpp"

#include <openssl/sha.h>

#include <cstring>

#include "certs/pem.hpp"

namespace sluice {
namespace {

std::array<std::uint64_t, 2> identity_of(const std::vector<X509Ptr>& chain) {
    std::string text;
    for (const X509Ptr& certificate : chain) text += pem_of(certificate.get());
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::array<std::uint64_t, 2> identity;
    std::memcpy(identity.data(), digest.data(), sizeof identity);
    return identity;
}

}  // namespace

CertResult<std::shared_ptr<const ClientCertificate>> parse_client_certificate(std::string_view cert, std::string_view key,
                                                                              const std::string& cert_place,
                                                                              const std::string& key_place) {
    auto chain = parse_certificates(cert, cert_place);
    if (!chain) return chain.error();
    const X509* const own = chain->front().get();
    auto parsed = own_key(own, parse_key(key, key_place), cert_place, key_place);
    if (!parsed) return parsed.error();
    auto made = std::make_shared<ClientCertificate>();
    made->ends = wall_time(X509_get0_notAfter(own));
    made->identity = identity_of(*chain);
    made->chain = std::move(*chain);
    made->key = std::move(*parsed);
    return std::shared_ptr<const ClientCertificate>(std::move(made));
}

bool show_certificate(SSL* ssl, const ClientCertificate& certificate) {
    const auto release = [](STACK_OF(X509) * stack) { sk_X509_free(stack); };  // SSL_use_cert_and_key counts what it takes
    const std::unique_ptr<STACK_OF(X509), decltype(release)> others(sk_X509_new_null());
    for (std::size_t i = 1; others && i < certificate.chain.size(); ++i)
        if (sk_X509_push(others.get(), certificate.chain[i].get()) == 0) return false;
    return others && SSL_use_cert_and_key(ssl, certificate.chain.front().get(), certificate.key.get(), others.get(), 1) == 1;
}

std::string subject_of(const ClientCertificate& certificate) {
    return name_text(X509_get_subject_name(certificate.chain.front().get()));
}

}  // namespace sluice
