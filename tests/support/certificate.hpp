// A client certificate for tests: one of our own, and a vendor that asks for it.
#pragma once

#include <openssl/x509.h>

#include <boost/json.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/support/pem.hpp"
#include "tests/support/proxy.hpp"
#include "tests/support/wire.hpp"

namespace sluice::testing {

template <class T>
std::string der(const T* of, int (*write)(const T*, unsigned char**)) {
    unsigned char* bytes = nullptr;
    const int size = write(of, &bytes);
    std::string out(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    OPENSSL_free(bytes);
    return out;
}

/// What Sluice shows a vendor that asks: a certificate and its key, in files.
struct OurCertificate {
    TemporaryDirectory directory;
    KeyPtr key = std::move(make_key().value());
    X509Ptr certificate = std::move(vendor_ca().mint("sluice.example", key.get(), std::chrono::system_clock::now()).value());
    std::string cert_pem = pem([this](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); });
    std::string key_pem = pem_of_key(key.get());
    std::string cert_file = directory.file("client.pem", cert_pem);
    std::string key_file = directory.file("client.key", key_pem);

    OurCertificate() { std::filesystem::permissions(key_file, std::filesystem::perms::owner_read); }
    std::string yaml() const { return ", client: {cert: {file: " + cert_file + "}, key: {file: " + key_file + "}}"; }
    std::string shown() const { return der<X509>(certificate.get(), i2d_X509); }
    boost::json::object in_vault() const { return {{"cert", cert_pem}, {"key", key_pem}}; }
};

/// Who shows none is refused; any one is good.
inline void insist_on_certificates(const FakeVendor& vendor) {
    SSL_CTX_set_verify(vendor.context(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, [](int, X509_STORE_CTX*) { return 1; });
    SSL_CTX_set_session_id_context(vendor.context(), reinterpret_cast<const unsigned char*>("t"), 1);   // else none can be resumed
}

/// What the other side has shown, in DER; "" for nothing.
inline std::string shown_on(const Wire& wire) {
    const std::unique_ptr<X509, decltype(&X509_free)> peer(SSL_get1_peer_certificate(wire.ssl()), X509_free);
    return peer ? der<X509>(peer.get(), i2d_X509) : std::string();
}

}  // namespace sluice::testing
