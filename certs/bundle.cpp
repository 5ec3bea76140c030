#include "certs/bundle.hpp"

#include <openssl/pkcs12.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "certs/files.hpp"
#include "certs/pem.hpp"

namespace sluice {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest fingerprint_of(const X509* certificate) {
    Digest digest{};
    X509_digest(certificate, EVP_sha256(), digest.data(), nullptr);
    return digest;
}

// ---- what goes in

bool same_file(const std::string& a, const std::string& b) {
    struct stat first {
    }, second{};
    return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

std::string first_existing_roots() {
    for (const char* path : {"/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Alpine
                             "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Red Hat, Fedora
                             "/etc/pki/tls/certs/ca-bundle.crt",                   // the same, older
                             "/etc/ssl/ca-bundle.pem",                             // SUSE
                             "/etc/ssl/cert.pem"})                                 // Alpine without the package
        if (struct stat status{}; ::stat(path, &status) == 0) return path;
    return {};
}

/// What the system trusts. An environment made by `sluice env` names our own bundle there: that one is not read back
/// in.
std::string roots_beside(const std::string& bundle) {
    auto roots = system_roots_file();
    return same_file(roots, bundle) ? first_existing_roots() : roots;
}

/// The system's and then ours, each once.
CertResult<std::vector<X509Ptr>> collect(const CertAuthority& authority, const std::string& roots) {
    auto ours = parse_certificates(authority.pem(), "our CA");
    if (!ours) return ours.error();
    std::vector<X509Ptr> all;
    std::set<Digest> seen;
    for (const auto& certificate : *ours) seen.insert(fingerprint_of(certificate.get()));
    if (!roots.empty()) {
        auto system = read_certificates(roots);
        if (!system) return system.error();
        for (auto& certificate : *system)
            if (seen.insert(fingerprint_of(certificate.get())).second) all.push_back(std::move(certificate));
    }
    for (auto& certificate : *ours) all.push_back(std::move(certificate));
    return all;
}

/// Written anew from the parsed certificates: whatever else the system's file holds is never published.
std::string bundle_of(const std::vector<X509Ptr>& certificates) {
    std::string text;
    for (const auto& certificate : certificates) text += pem_of(certificate.get());
    return text;
}

// ---- truststore.p12 (RFC 7292). The certificates are public, so they are not encrypted: it costs nothing, and Java
// finds them even where no trustStorePassword is given. The MAC (HMAC-SHA-256; Java 8u301, 11.0.12, 17 and later) is
// there for `keytool -storepass changeit` to check; its salt is made from the content, so that the same certificates
// give the same bytes.

constexpr std::string_view store_password = "changeit";
constexpr int mac_iterations = 2048;
constexpr const char* trusted_key_usage = "2.16.840.1.113894.746875.1.1";  // JDK: ORACLE_TrustedKeyUsage

/// Java finds entries by it, so no two may be alike: "ISRG Root X1 [96bcec06]".
std::string friendly_name(X509* certificate) {
    const auto* subject = X509_get_subject_name(certificate);
    std::string name;
    for (const int nid : {NID_commonName, NID_organizationalUnitName, NID_organizationName}) {
        const int at = X509_NAME_get_index_by_NID(subject, nid, -1);
        if (at < 0) continue;
        unsigned char* text = nullptr;
        const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (size > 0) name.assign(reinterpret_cast<const char*>(text), std::min(size, 64));
        OPENSSL_free(text);
        break;
    }
    for (char& c : name)
        if (c < 0x20 || c > 0x7e) c = '?';
    const auto digest = fingerprint_of(certificate);
    char suffix[16];
    std::snprintf(suffix, sizeof suffix, " [%02x%02x%02x%02x]", digest[0], digest[1], digest[2], digest[3]);
    return name + suffix;
}

using Bag = Owned<PKCS12_SAFEBAG, PKCS12_SAFEBAG_free>;
void free_bags(STACK_OF(PKCS12_SAFEBAG) * bags) {
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}
using Bags = Owned<STACK_OF(PKCS12_SAFEBAG), free_bags>;
void free_safes(STACK_OF(PKCS7) * safes) {
    sk_PKCS7_pop_free(safes, PKCS7_free);
}
using Safes = Owned<STACK_OF(PKCS7), free_safes>;
using Store = Owned<PKCS12, PKCS12_free>;

/// Without the JDK's attribute, whose value keytool sets to anyExtendedKeyUsage, Java would pass over the certificate.
Bag bag_of(X509* certificate) {
    const auto name = friendly_name(certificate);
    Bag bag(PKCS12_SAFEBAG_create_cert(certificate));
    const auto* any_usage = reinterpret_cast<const unsigned char*>(OBJ_nid2obj(NID_anyExtendedKeyUsage));
    if (!bag || PKCS12_add_friendlyname_utf8(bag.get(), name.data(), static_cast<int>(name.size())) != 1 ||
        PKCS12_add1_attr_by_txt(bag.get(), trusted_key_usage, V_ASN1_OBJECT, any_usage, -1) != 1)
        return nullptr;
    return bag;
}

Store store_of(const std::vector<X509Ptr>& certificates) {
    Bags bags(sk_PKCS12_SAFEBAG_new_null());
    for (const auto& certificate : certificates) {
        auto bag = bag_of(certificate.get());
        if (!bag || !bags || sk_PKCS12_SAFEBAG_push(bags.get(), bag.get()) <= 0) return nullptr;
        (void)bag.release();  // the list's now
    }
    Safes safes(sk_PKCS7_new_null());
    Owned<PKCS7, PKCS7_free> safe(PKCS12_pack_p7data(bags.get()));
    if (!safes || !safe || sk_PKCS7_push(safes.get(), safe.get()) <= 0) return nullptr;
    (void)safe.release();
    return Store(PKCS12_add_safes(safes.get(), 0));
}

std::string der_of(const PKCS12* store) {
    unsigned char* der = nullptr;
    const int size = i2d_PKCS12(store, &der);
    std::string bytes(reinterpret_cast<const char*>(der), size > 0 ? static_cast<std::size_t>(size) : 0);
    OPENSSL_free(der);
    return bytes;
}

/// DER; empty where OpenSSL refused.
std::string truststore_of(const std::vector<X509Ptr>& certificates) {
    auto store = store_of(certificates);
    if (!store) return {};
    const auto content = der_of(store.get());
    Digest salt{};
    SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), salt.data());
    if (PKCS12_set_mac(store.get(), store_password.data(), static_cast<int>(store_password.size()), salt.data(),
                       static_cast<int>(salt.size()), mac_iterations, EVP_sha256()) != 1)
        return {};
    return der_of(store.get());
}

/// Not synced: every start writes what is not as it should be.
CertResult<void> write_if_changed(const std::string& path, std::string_view bytes) {
    if (const auto present = read_public_file(path); present && *present == bytes) return {};
    return replace_file(path, bytes, 0644, Durability::lazy);
}

}  // namespace

std::string system_roots_file() {
    const char* named = std::getenv("SSL_CERT_FILE");
    return named && *named ? named : first_existing_roots();
}

CertResult<Published> publish(const CertAuthority& authority, const std::string& directory) {
    if (auto there = ensure_directory(directory, 0755); !there) return there.error();
    const Published files{directory + "/ca.crt", directory + "/bundle.pem", directory + "/truststore.p12"};
    const auto certificates = collect(authority, roots_beside(files.bundle_pem));
    if (!certificates) return certificates.error();
    const auto truststore = truststore_of(*certificates);
    if (truststore.empty()) return CertFault{"cannot make " + files.truststore_p12 + ": " + take_openssl_reason()};
    if (auto written = write_if_changed(files.ca_crt, authority.pem()); !written) return written.error();
    if (auto written = write_if_changed(files.bundle_pem, bundle_of(*certificates)); !written) return written.error();
    if (auto written = write_if_changed(files.truststore_p12, truststore); !written) return written.error();
    return files;
}

}  // namespace sluice
