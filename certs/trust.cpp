#include "certs/trust.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "certs/bundle.hpp"
#include "certs/files.hpp"
#include "certs/pem.hpp"
#include "proxy/policy/address_guard.hpp"

namespace sluice {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest_of(std::string_view bytes) {
    Digest digest;
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
    return digest;
}

// ---- what OpenSSL's objects remember for us

/// A context: its rules.
struct ContextRules {
    std::vector<std::string> pins;
    std::string id;         // all of them, and what their files held
    bool no_roots = false;  // the machine has none: said where a handshake fails for it
};

/// A connection: what went wrong, where something did.
struct Mishap {
    X509Ptr certificate;  // the one at fault
    int depth = 0;
    int offered_version = 0;  // by a vendor that is too old
};

template <class T>
void release_data(void*, void* data, CRYPTO_EX_DATA*, int, long, void*) {
    delete static_cast<T*>(data);
}

int rules_slot() {
    static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, release_data<ContextRules>);
    return slot;
}

int mishap_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, release_data<Mishap>);
    return slot;
}

const ContextRules* rules_of(const SSL* ssl) {
    return static_cast<const ContextRules*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), rules_slot()));
}

const Mishap* mishap_of(const SSL* ssl) {
    return static_cast<const Mishap*>(SSL_get_ex_data(ssl, mishap_slot()));
}

void remember(SSL* ssl, Mishap mishap) {
    delete mishap_of(ssl);
    SSL_set_ex_data(ssl, mishap_slot(), new Mishap(std::move(mishap)));
}

// ---- verification

/// SHA-256 over the SubjectPublicKeyInfo, as RFC 7469 2.4 has it.
bool matches_a_pin(const X509* certificate, const std::vector<std::string>& pins) {
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    if (size <= 0) return false;
    const auto digest = digest_of({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    const std::string_view found(reinterpret_cast<const char*>(digest.data()), digest.size());
    return std::find(pins.begin(), pins.end(), found) != pins.end();
}

bool any_matches(const STACK_OF(X509) * chain, const std::vector<std::string>& pins) {
    for (int i = 0; i < sk_X509_num(chain); ++i)
        if (matches_a_pin(sk_X509_value(chain, i), pins)) return true;
    return false;
}

/// OpenSSL's verification, then the pins. Keeps the certificate at fault: after a failed handshake the SSL has none.
int verify_chain(X509_STORE_CTX* store, void*) {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* rules = rules_of(ssl);
    bool good = X509_verify_cert(store) == 1;
    if (good && rules && !rules->pins.empty() && !any_matches(X509_STORE_CTX_get0_chain(store), rules->pins)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        good = false;
    }
    if (good) return 1;
    Mishap mishap;
    if (auto* at_fault = X509_STORE_CTX_get_current_cert(store)) {
        X509_up_ref(at_fault);
        mishap.certificate.reset(at_fault);
    }
    mishap.depth = X509_STORE_CTX_get_error_depth(store);
    remember(ssl, std::move(mishap));
    return 0;
}

/// OpenSSL forgets which version a server chose once it has refused it, so the ServerHello is looked at here. Only
/// until then: the callback takes itself off.
void note_version(int, int, int content_type, const void* message, size_t size, SSL* ssl, void*) {
    const auto* bytes = static_cast<const unsigned char*>(message);
    if (content_type != SSL3_RT_HANDSHAKE || size < 6 || bytes[0] != SSL3_MT_SERVER_HELLO) return;
    SSL_set_msg_callback(ssl, nullptr);
    const int version = bytes[4] << 8 | bytes[5];
    if (version >= TLS1_2_VERSION) return;
    Mishap mishap;
    mishap.offered_version = version;
    remember(ssl, std::move(mishap));
}

// ---- building a context

CertFault openssl_fault(const std::string& what) {
    return {what + ": " + take_openssl_reason()};
}

/// A file whose content becomes part of what the rules are known by, so that a session made under last month's CA does
/// not resume under this month's.
CertResult<std::string> read_noted_text(const std::string& file, std::string& id) {
    auto pem = read_public_file(file);
    if (!pem) return pem;
    const auto digest = digest_of(*pem);
    id.append(digest.begin(), digest.end());
    return pem;
}

CertResult<std::vector<X509Ptr>> read_noted(const std::string& file, ContextRules& remembered) {
    const auto pem = read_noted_text(file, remembered.id);
    if (!pem) return pem.error();
    return parse_certificates(*pem, file);
}

/// A directory of certificates, of which OpenSSL reads one when it needs it: known by its entries and when they changed.
void note_directory(const std::string& directory, std::string& id) {
    namespace fs = std::filesystem;
    std::vector<std::string> entries;
    std::error_code error;
    for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        const auto changed = fs::last_write_time(at->path(), ignored).time_since_epoch().count();
        entries.push_back(at->path().filename().string() + '\0' + std::to_string(changed));
    }
    std::sort(entries.begin(), entries.end());
    std::string all;
    for (const std::string& entry : entries) all += entry + '\0';
    const auto digest = digest_of(all);
    id.append(digest.begin(), digest.end());
}

CertResult<void> trust_certificates(SSL_CTX* context, const std::string& file, ContextRules& remembered) {
    const auto certificates = read_noted(file, remembered);
    if (!certificates) return certificates.error();
    for (const auto& certificate : *certificates) {
        // OpenSSL reads a certificate's extensions at its first use, into the certificate. All workers will share it:
        // here nobody does yet.
        X509_check_purpose(certificate.get(), -1, 0);
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get()) != 1)
            return openssl_fault(file + " cannot be trusted");
    }
    return {};
}

const char* named_by_environment(const char* variable) {
    const char* value = std::getenv(variable);
    return value && *value ? value : nullptr;
}

/// A directory alone, as OpenSSL's own default would have it, is asked instead of the bundle; both together are both
/// asked.
CertResult<void> trust_system(SSL_CTX* context, ContextRules& remembered) {
    const char* directory = named_by_environment("SSL_CERT_DIR");
    if (directory && SSL_CTX_load_verify_dir(context, directory) != 1)
        return openssl_fault(std::string("SSL_CERT_DIR, ") + directory + ", cannot be used");
    if (directory) note_directory(directory, remembered.id);
    if (directory && !named_by_environment("SSL_CERT_FILE")) return {};
    const auto file = system_roots_file();
    remembered.no_roots = file.empty();
    if (file.empty()) return {};
    return trust_certificates(context, file, remembered);
}

CertResult<void> set_trust(SSL_CTX* context, const TlsRules& rules, ContextRules& remembered) {
    if (rules.ca_file.empty()) return trust_system(context, remembered);
    // Whatever the operator names is an anchor, a root or not: so an intermediate or a single server can be the one
    // trusted.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
    return trust_certificates(context, rules.ca_file, remembered);
}

CertResult<void> set_client_certificate(SSL_CTX* context, const TlsRules& rules, ContextRules& remembered) {
    const auto& cert_file = rules.client_cert_file;
    if (cert_file.empty()) return {};
    const auto certificates = read_noted(cert_file, remembered);
    if (!certificates) return certificates.error();
    const auto key = read_key_of(certificates->front().get(), cert_file, rules.client_key_file);
    if (!key) return key.error();
    if (SSL_CTX_use_certificate(context, certificates->front().get()) != 1 ||
        SSL_CTX_use_PrivateKey(context, key->get()) != 1)
        return openssl_fault(cert_file + " cannot be used as a client certificate");
    for (std::size_t i = 1; i < certificates->size(); ++i)
        if (SSL_CTX_add1_chain_cert(context, (*certificates)[i].get()) != 1)
            return openssl_fault(cert_file + ": certificate " + std::to_string(i + 1) + " cannot be used");
    return {};
}

/// All that decides whom a session was made with. Lengths keep one field from running into the next.
std::string identity_of(const TlsRules& rules) {
    std::string text = rules.min == TlsRules::Version::tls13 ? "1.3" : "1.2";
    const auto add = [&text](const std::string& field) { text += ' ' + std::to_string(field.size()) + ':' + field; };
    for (const auto* field : {&rules.ca_file, &rules.client_cert_file, &rules.client_key_file}) add(*field);
    for (const auto& pin : rules.pins) add(pin);
    return text;
}

/// What OpenSSL calls the session id context: it resumes no session under another.
Digest session_context(const ContextRules& rules, const std::string& host) {
    return digest_of(rules.id + host);
}

bool set_protocol(SSL_CTX* context, const TlsRules& rules) {
    const int least = rules.min == TlsRules::Version::tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(context, verify_chain, nullptr);
    return SSL_CTX_set_min_proto_version(context, least) == 1 &&
           SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER) == 1;
}

// ---- words

std::string version_text(long version) {
    switch (version) {
        case SSL3_VERSION:
            return "SSL 3.0";
        case TLS1_VERSION:
            return "TLS 1.0";
        case TLS1_1_VERSION:
            return "TLS 1.1";
        case TLS1_2_VERSION:
            return "TLS 1.2";
        case TLS1_3_VERSION:
            return "TLS 1.3";
        default:
            return "an unknown version of TLS";
    }
}

/// A stranger's text: printable ASCII, bounded.
std::string sanitized(const ASN1_STRING* text) {
    constexpr int most = 100;
    std::string out(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    std::min(ASN1_STRING_length(text), most));
    for (char& c : out)
        if (c < 0x20 || c > 0x7e) c = '?';
    return out;
}

/// A name of a certificate as it is told; "" for one that no host is verified by.
std::string told_name(const GENERAL_NAME* name) {
    if (name->type == GEN_DNS) {
        std::string text = sanitized(name->d.dNSName);
        // It stands for no address, though it reads like one (RFC 9110 4.3.5).
        if (parse_address(text)) text += " (written as a DNS name)";
        return text;
    }
    if (name->type != GEN_IPADD) return {};
    const int size = ASN1_STRING_length(name->d.iPAddress);
    if (size != 4 && size != 16) return {};
    IpAddress address;
    address.v6 = size == 16;
    std::copy_n(ASN1_STRING_get0_data(name->d.iPAddress), size, address.bytes.begin());
    return address.text();
}

/// ", only for a.example, 192.0.2.1, ..."
std::string names_in(const X509* certificate) {
    const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    std::string text;
    int left = 3;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const auto* name = sk_GENERAL_NAME_value(names.get(), i);
        const std::string told = told_name(name);
        if (told.empty()) continue;
        text += text.empty() ? ", only for " : ", ";
        if (left-- == 0) return text + "...";
        text += told;
    }
    return text;
}

std::string certificate_fault(const SSL* ssl, long error, const std::string& host) {
    const auto* mishap = mishap_of(ssl);
    const auto* certificate = mishap ? mishap->certificate.get() : nullptr;
    if (!certificate) return std::string("the certificate cannot be verified: ") + X509_verify_cert_error_string(error);
    const auto subject = name_text(X509_get_subject_name(certificate));
    const auto issuer = name_text(X509_get_issuer_name(certificate));
    const std::string which = mishap->depth == 0 ? "the certificate" : "the issuer's certificate (" + subject + ")";
    const auto* rules = rules_of(ssl);
    const std::string hint =
        rules && rules->no_roots ? "; this machine has no system roots: install ca-certificates or name tls.ca" : "";
    switch (error) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return which + " is not valid for " + host + names_in(certificate);
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return which + " ended on " + date_text(X509_get0_notAfter(certificate));
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return which + " is not valid before " + date_text(X509_get0_notBefore(certificate)) +
                   ": is this machine's clock right?";
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return "the certificate is self-signed and not among the trusted ones: " + subject + hint;
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return "the issuer is not trusted: " + subject + hint;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return "the issuer is not trusted: " + issuer + hint;
        case X509_V_ERR_INVALID_PURPOSE:
            return which + " is not one for TLS servers";
        case X509_V_ERR_EE_KEY_TOO_SMALL:
        case X509_V_ERR_CA_KEY_TOO_SMALL:
            return which + " has a key that is too short";
        case X509_V_ERR_CA_MD_TOO_WEAK:
            return which + " is signed with a digest that is too weak";
        case X509_V_ERR_APPLICATION_VERIFICATION:
            return "no certificate of the vendor's chain matches tls.pin";
        default:
            return which + " cannot be verified: " + X509_verify_cert_error_string(error);
    }
}

std::string version_fault(const SSL* ssl) {
    const auto* mishap = mishap_of(ssl);
    const auto offered =
        mishap && mishap->offered_version ? version_text(mishap->offered_version) : "older versions of TLS";
    const auto least = version_text(SSL_get_min_proto_version(const_cast<SSL*>(ssl)));
    return "the vendor offers only " + offered + ", the policy asks for " + least.substr(4) + " at least";
}

std::string handshake_fault(const SSL* ssl) {
    auto error = ERR_peek_error();
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) error = ERR_peek_last_error();
    if (error == 0) return "the connection was closed during the TLS handshake";
    const int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
        if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)
            return version_fault(ssl);
        if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
            return "what answers there does not speak TLS";
        if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return "the vendor closed the connection during the TLS handshake";
        if (reason > SSL_AD_REASON_OFFSET) return alert_fault(ssl, reason - SSL_AD_REASON_OFFSET);  // RFC 8446 6.2
    }
    const char* words = ERR_reason_error_string(error);
    return std::string("the TLS handshake failed: ") + (words ? words : "OpenSSL gives no reason");
}

}  // namespace

bool harden(SSL_CTX* context) {
    // RFC 9325 4.2: the ephemeral, authenticated ones.
    static constexpr const char* ciphers =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
        "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
    SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                                       SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_TICKET | SSL_OP_NO_TLSv1_2 |
                                       SSL_OP_NO_TLSv1_3);
    // AES-128 first: no weaker against anybody who is about (RFC 8446 9.1 has it as the one that must be there), a
    // quarter cheaper on bulk, and with SHA-256, which processors do, instead of SHA-384 in every handshake. A client
    // without AES in its processor still gets ChaCha20.
    static constexpr const char* suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_security_level(context, 2);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, 0) == 1 && SSL_CTX_set_cipher_list(context, ciphers) == 1 &&
           SSL_CTX_set_ciphersuites(context, suites) == 1;
}

CertResult<SslCtxPtr> make_client_context(const TlsRules& rules) {
    SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
    if (!context || !harden(context.get()) || !set_protocol(context.get(), rules))
        return openssl_fault("cannot make a TLS context");
    auto remembered = std::make_unique<ContextRules>();
    remembered->pins = rules.pins;
    remembered->id = identity_of(rules);
    if (auto trusted = set_trust(context.get(), rules, *remembered); !trusted) return trusted.error();
    if (auto certified = set_client_certificate(context.get(), rules, *remembered); !certified)
        return certified.error();
    if (SSL_CTX_set_ex_data(context.get(), rules_slot(), remembered.get()) != 1)
        return openssl_fault("cannot make a TLS context");
    (void)remembered.release();  // the context's now
    return context;
}

const std::string& trust_identity(const SSL_CTX* context) {
    return static_cast<const ContextRules*>(SSL_CTX_get_ex_data(context, rules_slot()))->id;
}

std::string trust_identity(const TlsRules& rules) {
    std::string id = identity_of(rules);
    std::string anchors = rules.ca_file;
    if (anchors.empty()) {  // as trust_system has it
        const char* directory = named_by_environment("SSL_CERT_DIR");
        if (directory) note_directory(directory, id);
        if (!directory || named_by_environment("SSL_CERT_FILE")) anchors = system_roots_file();
    }
    for (const std::string& file : {anchors, rules.client_cert_file})
        if (!file.empty() && !read_noted_text(file, id)) return {};
    return id;
}

bool expect_host(SSL* ssl, const std::string& host, bool is_address) {
    // An empty name, or what comes before a NUL, would have OpenSSL verify less than was asked for.
    const auto* rules = rules_of(ssl);
    if (host.empty() || host.find('\0') != std::string::npos || !rules) return false;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    SSL_set_msg_callback(ssl, note_version);
    const auto sessions = session_context(*rules, host);
    if (SSL_set_session_id_context(ssl, sessions.data(), sessions.size()) != 1) return false;
    if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
    return SSL_set1_host(ssl, host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
}

void offer_session(SSL* ssl, SSL_SESSION* session, const std::string& host) {
    const auto* rules = rules_of(ssl);
    if (!rules || !session) return;
    unsigned size = 0;
    const auto* made_under = SSL_SESSION_get0_id_context(session, &size);
    const auto sessions = session_context(*rules, host);
    if (std::equal(sessions.begin(), sessions.end(), made_under, made_under + size)) SSL_set_session(ssl, session);
}

bool refuses_certificate(int alert) {
    switch (alert) {
        case SSL_AD_CERTIFICATE_REQUIRED:
        case SSL_AD_UNKNOWN_CA:
        case SSL_AD_BAD_CERTIFICATE:
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
        case SSL_AD_CERTIFICATE_UNKNOWN:
        case SSL_AD_ACCESS_DENIED:
        case SSL_AD_CERTIFICATE_EXPIRED:
        case SSL_AD_CERTIFICATE_REVOKED: return true;
        default: return false;
    }
}

std::string alert_fault(const SSL* ssl, int alert) {
    const std::string_view name = SSL_alert_desc_string_long(alert);
    const std::string words = " (alert " + (name == "unknown" ? std::to_string(alert) : std::string(name)) + ")";
    if (refuses_certificate(alert)) {
        if (SSL_get_certificate(ssl) == nullptr)
            return "the vendor wants a client certificate, and the policy has none for it: write tls: {client: {cert: "
                   "{file: ...}, key: {file: ...}}}" +
                   words;
        return "the vendor does not accept our client certificate (tls.client): is it one that the vendor knows, and "
               "still valid?" +
               words;
    }
    switch (alert) {
        case SSL_AD_HANDSHAKE_FAILURE:
            return "the vendor refused the handshake: no cipher in common (forward secrecy and AEAD are asked for), or "
                   "it wants a client certificate (tls.client)";
        case SSL_AD_UNRECOGNIZED_NAME: return "the vendor does not serve this name";
        default: return "the vendor broke off TLS" + words;
    }
}

std::string verification_fault(SSL* ssl, const std::string& host) {
    const long error = SSL_get_verify_result(ssl);
    return error == X509_V_OK ? handshake_fault(ssl) : certificate_fault(ssl, error, host);
}

}  // namespace sluice
