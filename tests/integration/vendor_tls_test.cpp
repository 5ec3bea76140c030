// What a policy says of a vendor's TLS, from its text to the handshake.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>

#include "proxy/base/codec.hpp"
#include "tests/support/gzip.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

std::string digest(std::string_view bytes) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_Digest(bytes.data(), bytes.size(), hash, &size, EVP_sha256(), nullptr);
    return {reinterpret_cast<const char*>(hash), size};
}

template <class T>
std::string der(const T* of, int (*write)(const T*, unsigned char**)) {
    unsigned char* bytes = nullptr;
    const int size = write(of, &bytes);
    std::string out(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    OPENSSL_free(bytes);
    return out;
}

/// As `tls.pin` has it: the key of the vendor's certificate.
std::string pin_of(const FakeVendor& vendor) {
    std::string pin = "sha256/";
    append_base64(pin, digest(der(X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(vendor.context())), i2d_X509_PUBKEY)));
    return pin;
}

/// PEM of whatever `write` writes.
template <class Write>
std::string pem(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
    REQUIRE(write(memory.get()) == 1);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

/// What Sluice shows a vendor that asks: a certificate and its key, in files.
struct ClientCertificate {
    TemporaryDirectory directory;
    KeyPtr key = std::move(make_key().value());
    X509Ptr certificate = std::move(vendor_ca().mint("sluice.example", key.get(), std::chrono::system_clock::now()).value());
    std::string cert_file = directory.file("client.pem", pem([this](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); }));
    std::string key_file = directory.file("client.key", pem([this](BIO* out) {
        return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    }));

    ClientCertificate() { std::filesystem::permissions(key_file, std::filesystem::perms::owner_read); }
    std::string yaml() const { return ", client: {cert: {file: " + cert_file + "}, key: {file: " + key_file + "}}"; }
};

/// Asks for a certificate, any one, and remembers what it was shown.
struct AskingVendor {
    Seen seen;
    std::string shown;   // DER; written before the vendor answers
    FakeVendor vendor;

    explicit AskingVendor(int max_version, bool insists)
        : vendor(
              [this](Wire& wire) {
                  while (auto request = wire.read_request()) {
                      if (X509* peer = SSL_get1_peer_certificate(wire.ssl())) {
                          shown = der<X509>(peer, i2d_X509);
                          X509_free(peer);
                      }
                      seen.add(std::move(*request));
                      wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                  }
              },
              vendor_ca(), "localhost", max_version) {
        if (insists)
            SSL_CTX_set_verify(vendor.context(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, [](int, X509_STORE_CTX*) { return 1; });
        SSL_CTX_set_session_id_context(vendor.context(), reinterpret_cast<const unsigned char*>("t"), 1);
    }
};

}  // namespace

TEST_CASE("a coded answer is learnt from where the credential is a certificate, which nobody searches it for") {
    const std::string throttled = R"({"errors":[{"extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":500,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":0,"restoreRate":10.0}}}})";
    const std::string coded = gzipped(throttled);
    FakeVendor vendor(always("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: " + std::to_string(coded.size()) + "\r\n\r\n" + coded), vendor_ca());
    const ClientCertificate ours;
    TestProxy proxy("credentials:\n  ours: {type: mtls, cert: {file: " + ours.cert_file + "}, key: {file: " + ours.key_file + "}}\nvendors:\n" +
                    vendor_yaml("v", "v.example", vendor, true, "credential: ours\nscrub: deep\nlimit: {learn: true}\n"));
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").body == throttled);
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").reason() == "rate_limited");
}

TEST_CASE("a vendor's pin, its least version of TLS and our certificate hold as the policy says them") {
    const std::string wrong_pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    enum class Says { right_pin, one_right_pin, wrong_pin, min_12, min_13, certificate, nothing };
    struct Row {
        const char* what;
        Says says;
        int version;
        bool insists;
        const char* fault;   // "": served
    };
    const Row row = GENERATE(
        Row{"the right pin", Says::right_pin, TLS1_3_VERSION, false, ""},
        Row{"the right pin, TLS 1.2", Says::right_pin, TLS1_2_VERSION, false, ""},
        Row{"two pins, one of them right", Says::one_right_pin, TLS1_3_VERSION, false, ""},
        Row{"a wrong pin", Says::wrong_pin, TLS1_3_VERSION, false, "no certificate of the vendor's chain matches tls.pin"},
        Row{"a wrong pin, TLS 1.2", Says::wrong_pin, TLS1_2_VERSION, false, "no certificate of the vendor's chain matches tls.pin"},
        Row{"min 1.2, a vendor of 1.2", Says::min_12, TLS1_2_VERSION, false, ""},
        Row{"min 1.3, a vendor of 1.3", Says::min_13, TLS1_3_VERSION, false, ""},
        Row{"min 1.3, a vendor of 1.2", Says::min_13, TLS1_2_VERSION, false, "the policy asks for 1.3 at least"},
        Row{"a certificate that is asked for", Says::certificate, TLS1_3_VERSION, true, ""},
        Row{"a certificate that is asked for, TLS 1.2", Says::certificate, TLS1_2_VERSION, true, ""},
        Row{"a certificate that nobody asks for", Says::certificate, TLS1_3_VERSION, false, ""},
        Row{"no certificate where one is asked for", Says::nothing, TLS1_2_VERSION, true, "wants a client certificate"});
    INFO(row.what);
    AskingVendor asking(row.version, row.insists);
    const ClientCertificate ours;
    const auto rules = [&]() -> std::string {
        const std::string right = pin_of(asking.vendor);
        switch (row.says) {
        case Says::right_pin: return ", pin: [\"" + right + "\"]";
        case Says::one_right_pin: return ", pin: [\"" + wrong_pin + "\", \"" + right + "\"]";
        case Says::wrong_pin: return ", pin: [\"" + wrong_pin + "\"]";
        case Says::min_12: return ", min: \"1.2\"";
        case Says::min_13: return ", min: \"1.3\"";
        case Says::certificate: return ours.yaml();
        case Says::nothing: return "";
        }
        return "";
    }();
    TestProxy proxy("vendors:\n  v: {hosts: [v.example], addresses: [127.0.0.0/8, \"::1\"], retry: {max: 0}, endpoints: [{url: \"https://" +
                    asking.vendor.authority() + "\"}], tls: {ca: {file: @dir/vendor-ca.crt}" + rules + "}}\n");
    const Message answer = proxy.get("v.example");
    INFO(answer.body);
    if (*row.fault == '\0') {
        CHECK(answer.status() == 200);
        CHECK(asking.seen.size() == 1);
        CHECK(asking.shown == (row.insists ? der<X509>(ours.certificate.get(), i2d_X509) : std::string()));
    } else {
        CHECK(answer.status() == 502);
        CHECK(answer.reason() == "tls_failed");
        CHECK(answer.body.find(row.fault) != std::string::npos);
        CHECK(asking.seen.size() == 0);
    }
}
