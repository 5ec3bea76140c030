// What the tests of `certs` share: directories that go away, certificates of every odd kind, and handshakes in memory.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "certs/authority.hpp"
#include "certs/leaf.hpp"
#include "certs/pem.hpp"
#include "certs/trust.hpp"

namespace sluice::certs_test {

class TempDir {
  public:
    TempDir() {
        std::string name = (std::filesystem::temp_directory_path() / "sluice-certs-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    TempDir(const TempDir&) = delete;
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

    std::string write(const std::string& name, std::string_view bytes, mode_t mode = 0600) const {
        const auto file = *this / name;
        std::ofstream(file, std::ios::binary) << bytes;
        REQUIRE(::chmod(file.c_str(), mode) == 0);
        return file;
    }

  private:
    std::string path_;
};

inline std::string read(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline mode_t mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
}

/// A variable of the environment, set (or unset) for one test.
class Environment {
  public:
    Environment(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        set(value);
    }
    Environment(const Environment&) = delete;
    ~Environment() { set(old_ ? old_->c_str() : nullptr); }

  private:
    void set(const char* value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
    const char* name_;
    std::optional<std::string> old_;
};

/// "" for what went well.
template <class T>
std::string fault_of(const CertResult<T>& result) {
    return result ? "" : result.error().what;
}

/// To the second, as certificates have it.
/// One time for the whole run: two calls that meant the same second would not always get it.
inline WallTime now() {
    static const WallTime at = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    return at;
}

inline KeyPtr a_key() {
    return std::move(make_key().value());
}
inline std::string pem(EVP_PKEY* key) {
    return std::string(pem_of(key).reveal());
}

/// A certificate that need not make sense. Extensions are written as in openssl.cnf.
struct Recipe {
    std::string name = "test";
    std::vector<std::pair<int, std::string>> extensions{};
    WallTime from = now() - 1h;
    WallTime until = now() + 24h;
};

inline X509Ptr certify(const Recipe& recipe, EVP_PKEY* key, const X509* issuer, EVP_PKEY* issuer_key) {
    static long serial = 1;
    X509Ptr certificate(X509_new());
    auto* out = certificate.get();
    const auto clock = [](WallTime time) { return std::chrono::system_clock::to_time_t(time); };
    X509_set_version(out, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(out), serial++);
    ASN1_TIME_set(X509_getm_notBefore(out), clock(recipe.from));
    ASN1_TIME_set(X509_getm_notAfter(out), clock(recipe.until));
    X509_NAME_add_entry_by_NID(X509_get_subject_name(out), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(recipe.name.data()),
                               static_cast<int>(recipe.name.size()), -1, 0);
    X509_set_issuer_name(out, issuer ? X509_get_subject_name(issuer) : X509_get_subject_name(out));
    X509_set_pubkey(out, key);
    for (const auto& [nid, value] : recipe.extensions) {
        std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
            X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()), X509_EXTENSION_free);
        REQUIRE(extension);
        X509_add_ext(out, extension.get(), -1);
    }
    REQUIRE(X509_sign(out, issuer_key, EVP_sha256()) > 0);
    return certificate;
}

/// A certificate with its key.
struct Identity {
    KeyPtr key;
    X509Ptr certificate;
    std::string certificate_pem() const { return pem_of(certificate.get()); }
    std::string key_pem() const { return pem(key.get()); }
};

inline Identity self_signed(const Recipe& recipe) {
    auto key = a_key();
    auto certificate = certify(recipe, key.get(), nullptr, key.get());
    return {std::move(key), std::move(certificate)};
}

inline Identity signed_by(const Identity& issuer, const Recipe& recipe) {
    auto key = a_key();
    auto certificate = certify(recipe, key.get(), issuer.certificate.get(), issuer.key.get());
    return {std::move(key), std::move(certificate)};
}

inline Identity a_root(const std::string& name = "Test Root") {
    return self_signed({name, {{NID_basic_constraints, "critical,CA:TRUE"}, {NID_key_usage, "critical,keyCertSign"}}});
}

inline Recipe for_host(const std::string& host) {
    return {host, {{NID_subject_alt_name, "DNS:" + host}}};
}

inline SslCtxPtr serving(const Identity& identity, const std::vector<const Identity*>& chain = {}) {
    SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_security_level(context.get(), 0);  // a vendor may be worse than we would be
    REQUIRE(SSL_CTX_set_cipher_list(context.get(), "ALL:@SECLEVEL=0") == 1);
    REQUIRE(SSL_CTX_set_min_proto_version(context.get(), 0) == 1);
    REQUIRE(SSL_CTX_use_certificate(context.get(), identity.certificate.get()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(context.get(), identity.key.get()) == 1);
    for (const auto* issuer : chain) SSL_CTX_add1_chain_cert(context.get(), issuer->certificate.get());
    return context;
}

inline std::shared_ptr<const CertAuthority> an_authority() {
    return std::make_shared<const CertAuthority>(std::move(CertAuthority::make(now()).value()));
}
inline std::shared_ptr<const LeafIdentity> an_identity() {
    return LeafIdentity::make(an_authority()).value();
}

/// A client's context that trusts what `pem` holds, kept in a file of `directory`.
inline SslCtxPtr trusting(const TempDir& directory, const std::string& pem, TlsRules rules = {}) {
    rules.ca_file = directory.write("trusted.pem", pem);
    auto context = make_client_context(rules);
    if (!context) FAIL(context.error().what);
    return std::move(*context);
}

struct SslDeleter {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslDeleter>;
struct SessionDeleter {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SessionPtr = std::unique_ptr<SSL_SESSION, SessionDeleter>;

/// Two ends joined in memory.
struct Joined {
    SslPtr client, server;
    std::string fault;  // the client's, in words

    Joined(SSL_CTX* client_context, SSL_CTX* server_context)
        : client(SSL_new(client_context)), server(SSL_new(server_context)) {
        BIO *near = nullptr, *far = nullptr;
        REQUIRE(BIO_new_bio_pair(&near, 1 << 16, &far, 1 << 16) == 1);
        SSL_set_bio(client.get(), near, near);
        SSL_set_bio(server.get(), far, far);
        SSL_set_connect_state(client.get());
        SSL_set_accept_state(server.get());
    }

    /// OpenSSL strikes the session of a connection that is freed before it said goodbye.
    ~Joined() { SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

    /// Both ends finished, and the server's tickets reached the client.
    bool shake(const std::string& host) {
        bool client_done = false, server_done = false;
        for (int turns = 0; turns < 20 && !(client_done && server_done); ++turns) {
            if (!step(client.get(), client_done)) {
                fault = verification_fault(client.get(), host);
                return false;
            }
            if (!step(server.get(), server_done)) continue;  // its alert is for the client to read
        }
        if (!client_done || !server_done) return false;
        char byte = 'x';
        ERR_clear_error();
        return SSL_write(server.get(), &byte, 1) == 1 && SSL_read(client.get(), &byte, 1) == 1;
    }

  private:
    static bool step(SSL* ssl, bool& done) {
        if (done) return true;
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl);
        done = result == 1;
        return done || SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ;
    }
};

/// As the data plane does it: the fault in words, or "" for a good handshake.
inline std::string connect(SSL_CTX* client_context, SSL_CTX* server_context, const std::string& host,
                           bool is_address = false) {
    Joined joined(client_context, server_context);
    REQUIRE(expect_host(joined.client.get(), host, is_address));
    return joined.shake(host) ? "" : joined.fault.empty() ? "the server refused" : joined.fault;
}

}  // namespace sluice::certs_test
