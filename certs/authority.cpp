#include "certs/authority.hpp"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include "certs/constraints.hpp"
#include "certs/files.hpp"
#include "certs/pem.hpp"

namespace sluice {
namespace {

constexpr auto backdate = 1h;  // an application's clock may be behind ours
constexpr auto authority_life = 24h * 3650;
constexpr auto authority_renewal = 24h * 30;
constexpr auto leaf_life = 24h * 30;

// ---- certificates, piece by piece; each says whether OpenSSL agreed

bool add_extension(X509* certificate, int nid, void* value, bool critical) {
    return value && X509_add1_ext_i2d(certificate, nid, value, critical, X509V3_ADD_APPEND) == 1;
}

/// RFC 5280 4.2.1.2, method (1): SHA-1 of the public key; a name, not a protection.
std::string key_id_of(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    if (X509_pubkey_digest(certificate, EVP_sha1(), digest.data(), &size) != 1) return {};
    return {reinterpret_cast<const char*>(digest.data()), size};
}

Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> octets_of(std::string_view bytes) {
    Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> octets(ASN1_OCTET_STRING_new());
    if (octets)
        ASN1_OCTET_STRING_set(octets.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                              static_cast<int>(bytes.size()));
    return octets;
}

bool add_subject_key_id(X509* certificate) {
    return add_extension(certificate, NID_subject_key_identifier, octets_of(key_id_of(certificate)).get(), false);
}

bool add_authority_key_id(X509* certificate, std::string_view issuer_key_id) {
    Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free> id(AUTHORITY_KEYID_new());
    if (!id) return false;
    id->keyid = octets_of(issuer_key_id).release();
    return add_extension(certificate, NID_authority_key_identifier, id.get(), false);
}

bool add_basic_constraints(X509* certificate, bool is_authority) {
    Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> constraints(BASIC_CONSTRAINTS_new());
    if (!constraints) return false;
    if (is_authority) {
        constraints->ca = 0xff;
        constraints->pathlen = ASN1_INTEGER_new();
        if (!constraints->pathlen || ASN1_INTEGER_set(constraints->pathlen, 0) != 1) return false;
    }
    return add_extension(certificate, NID_basic_constraints, constraints.get(), true);
}

/// The bits of RFC 5280 4.2.1.3, counted from the left.
enum KeyUsageBit { digital_signature = 0, key_cert_sign = 5, crl_sign = 6 };

bool add_key_usage(X509* certificate, std::initializer_list<KeyUsageBit> bits) {
    Owned<ASN1_BIT_STRING, ASN1_BIT_STRING_free> usage(ASN1_BIT_STRING_new());
    for (const auto bit : bits)
        if (!usage || ASN1_BIT_STRING_set_bit(usage.get(), bit, 1) != 1) return false;
    return add_extension(certificate, NID_key_usage, usage.get(), true);
}

bool add_server_auth(X509* certificate) {
    Owned<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> usage(EXTENDED_KEY_USAGE_new());
    return usage && sk_ASN1_OBJECT_push(usage.get(), OBJ_nid2obj(NID_server_auth)) > 0 &&
           add_extension(certificate, NID_ext_key_usage, usage.get(), false);
}

/// The bytes of an address, 4 or 16 of them; none where `host` is a name.
std::string address_bytes(const std::string& host) {
    char bytes[16];
    if (::inet_pton(AF_INET, host.c_str(), bytes) == 1) return {bytes, 4};
    if (::inet_pton(AF_INET6, host.c_str(), bytes) == 1) return {bytes, 16};
    return {};
}

/// Put together from bytes, never from OpenSSL's configuration language, in which a comma in a host would be a second
/// name.
bool add_subject_name(X509* certificate, const std::string& host) {
    const auto address = address_bytes(host);
    const auto type = address.empty() ? GEN_DNS : GEN_IPADD;
    Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
    Owned<GENERAL_NAME, GENERAL_NAME_free> name(GENERAL_NAME_new());
    Owned<ASN1_STRING, ASN1_STRING_free> value(
        ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING));
    const std::string& bytes = type == GEN_DNS ? host : address;
    if (!names || !name || !value || ASN1_STRING_set(value.get(), bytes.data(), static_cast<int>(bytes.size())) != 1)
        return false;
    GENERAL_NAME_set0_value(name.get(), type, value.release());
    if (sk_GENERAL_NAME_push(names.get(), name.get()) <= 0) return false;
    (void)name.release();  // the list's now
    // Critical only where the subject is empty (RFC 5280 4.2.1.6), and ours never is.
    return add_extension(certificate, NID_subject_alt_name, names.get(), false);
}

bool set_common_name(X509_NAME* name, const std::string& text) {
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()), -1, 0) == 1;
}

/// 128 random bits, positive, 17 octets at most (RFC 5280 4.1.2.2 allows 20).
bool set_serial(X509* certificate) {
    Owned<BIGNUM, BN_free> number(BN_new());
    return number && BN_rand(number.get(), 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_validity(X509* certificate, WallTime from, WallTime until) {
    using clock = std::chrono::system_clock;
    return ASN1_TIME_set(X509_getm_notBefore(certificate), clock::to_time_t(from)) &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), clock::to_time_t(until));
}

/// What every certificate of ours begins with: version 3, a serial, a key.
X509Ptr begin_certificate(EVP_PKEY* key) {
    X509Ptr certificate(X509_new());
    if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 || !set_serial(certificate.get()) ||
        X509_set_pubkey(certificate.get(), key) != 1)
        return nullptr;
    return certificate;
}

/// Edwards curves bring their own digest and take no other.
const EVP_MD* digest_for(EVP_PKEY* key) {
    return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? nullptr : EVP_sha256();
}

CertFault openssl_fault(std::string_view what) {
    return {std::string(what) + ": " + take_openssl_reason()};
}

// ---- our own authority

std::string authority_name(const X509* certificate) {
    const auto id = key_id_of(certificate);
    char digits[9] = "";
    for (std::size_t i = 0; i < 4 && i < id.size(); ++i)
        std::snprintf(digits + 2 * i, 3, "%02x", static_cast<unsigned char>(id[i]));
    return std::string("Sluice CA ") + digits;
}

CertResult<X509Ptr> self_sign(EVP_PKEY* key, WallTime now, const SigningScope& scope) {
    auto certificate = begin_certificate(key);
    auto* ca = certificate.get();
    if (!ca || !set_validity(ca, now - backdate, now - backdate + authority_life) ||
        !set_common_name(X509_get_subject_name(ca), authority_name(ca)) ||
        X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 || !add_basic_constraints(ca, true) ||
        !add_key_usage(ca, {key_cert_sign, crl_sign}) || !add_subject_key_id(ca) ||
        (scope.constrained && !add_name_constraints(ca, scope.hosts)) ||
        X509_sign(ca, key, digest_for(key)) == 0)
        return openssl_fault("cannot make a certificate authority");
    return certificate;
}

CertResult<void> judge_pair(X509* certificate, EVP_PKEY* key, const std::string& cert_file,
                            const std::string& key_file) {
    if (X509_check_private_key(certificate, key) == 1) return {};
    ERR_clear_error();
    return CertFault{key_file + " is not the key of the certificate in " + cert_file +
                     ": put the pair that belongs together there"};
}

/// May this certificate sign leaves today?
CertResult<void> judge_issuer(X509* issuer, const std::string& cert_file, WallTime now) {
    // Asked of the parsed extensions: X509_check_ca would let pass a certificate of version 1, or one without
    // constraints.
    const auto flags = X509_get_extension_flags(issuer);
    ERR_clear_error();  // parsing may have complained
    if ((flags & EXFLAG_INVALID) || !(flags & EXFLAG_BCONS) || !(flags & EXFLAG_CA))
        return CertFault{cert_file +
                         " is no certificate authority (basicConstraints lacks CA:TRUE), so it may not sign"};
    if ((flags & EXFLAG_KUSAGE) && !(X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN))
        return CertFault{cert_file + " may not sign certificates: its keyUsage lacks keyCertSign"};
    if (wall_time(X509_get0_notAfter(issuer)) <= now)
        return CertFault{cert_file + " ended on " + date_text(X509_get0_notAfter(issuer)) + ": put a newer one there"};
    if (wall_time(X509_get0_notBefore(issuer)) > now)
        return CertFault{cert_file + " is not valid before " + date_text(X509_get0_notBefore(issuer)) +
                         ": is this machine's clock right?"};
    return {};
}

/// Each certificate of the file signs the one before it, or applications would be shown a chain that leads nowhere.
CertResult<void> judge_chain(const std::vector<X509Ptr>& certificates, const std::string& file) {
    for (std::size_t i = 1; i < certificates.size(); ++i)
        if (X509_check_issued(certificates[i].get(), certificates[i - 1].get()) != X509_V_OK)
            return CertFault{file + ": certificate " + std::to_string(i + 1) +
                             " did not issue the one before it: the file holds the issuing CA first, then its chain"};
    return {};
}

// ---- the pair on disk

struct PairFiles {
    std::string cert, key, lock;
    explicit PairFiles(const std::string& directory)
        : cert(directory + "/ca.crt"), key(directory + "/ca.key"), lock(directory + "/ca.lock") {}
};

/// What a directory holds: a whole pair, or only a key (a start that was cut off between its two writes), or nothing.
struct StoredPair {
    std::vector<X509Ptr> certificates;
    KeyPtr key;
    bool fresh = false;  // signed just now
    bool complete() const { return key && !certificates.empty(); }
    const ASN1_TIME* end() const { return X509_get0_notAfter(certificates.front().get()); }
    /// Only what Sluice made: a CA that somebody else signed is theirs to renew.
    bool to_be_renewed(WallTime now) const {
        return X509_self_signed(certificates.front().get(), 0) == 1 && wall_time(end()) < now + authority_renewal;
    }
};

CertResult<StoredPair> read_pair(const PairFiles& files) {
    StoredPair pair;
    const bool no_cert =
        is_absent(files.cert);  // asked before the key, which is written first: a pair is never seen in half
    if (is_absent(files.key)) {
        if (no_cert) return pair;
        return CertFault{files.key + " is missing, but its certificate " + files.cert +
                         " is there: put the key back, or remove the certificate to have a new pair made"};
    }
    auto key = read_key(files.key, Privacy::owner_only);
    if (!key) return key.error();
    pair.key = std::move(*key);
    if (no_cert) return pair;
    auto certificates = read_certificates(files.cert);
    if (!certificates) return certificates.error();
    pair.certificates = std::move(*certificates);
    if (auto fit = judge_pair(pair.certificates.front().get(), pair.key.get(), files.cert, files.key); !fit)
        return fit.error();
    return pair;
}

/// The key first: a crash in between leaves a key without a certificate, which the next start completes.
/// A key that is there stays, so that a renewed CA vouches for what the one before it signed, and the pair is never
/// mixed.
CertResult<StoredPair> complete_pair(const PairFiles& files, StoredPair pair, WallTime now, const SigningScope& scope) {
    if (!pair.key) {
        auto key = make_key();
        if (!key) return key.error();
        pair.key = std::move(*key);
        if (auto kept = replace_file(files.key, pem_of(pair.key.get()).reveal(), 0600, Durability::synced); !kept)
            return kept.error();
    }
    auto certificate = self_sign(pair.key.get(), now, scope);
    if (!certificate) return certificate.error();
    if (auto kept = replace_file(files.cert, pem_of(certificate->get()), 0644, Durability::synced); !kept)
        return kept.error();
    pair.certificates.clear();
    pair.certificates.push_back(std::move(*certificate));
    pair.fresh = true;
    return pair;
}

CertResult<StoredPair> make_or_renew(const PairFiles& files, WallTime now, const SigningScope& scope) {
    const auto lock = FileLock::take(files.lock);
    if (!lock) return lock.error();
    auto pair = read_pair(files);  // again: another process may have been here first
    if (!pair || (pair->complete() && !pair->to_be_renewed(now))) return pair;
    return complete_pair(files, std::move(*pair), now, scope);
}

/// Is the CA that is there one for this policy? Its key stays what it is, so narrowing its certificate would narrow
/// nothing for whoever has the old one, and widening it reaches nobody who has not read it anew: people decide that.
CertResult<void> judge_scope(const X509* ca, const PairFiles& files, const SigningScope& scope) {
    const std::string fix = "; remove " + files.cert + " and " + files.key +
                            " to have a CA made for the hosts of this policy (applications must then read the published CA anew)";
    if (scope.constrained && !has_name_constraints(ca))
        return CertFault{files.cert + " may sign for any host, but the policy says `authority.name_constraints: true`" +
                         fix + ", or say false"};
    if (auto fit = constraints_cover(ca, scope.hosts); !fit)
        return CertFault{files.cert + " was made under another policy: " + fit.error().what + fix};
    return {};
}

/// The usual start changes nothing and takes no lock: it may stand on a read-only disk. There a CA that could not be
/// renewed still serves until its end.
CertResult<StoredPair> keep_pair(const PairFiles& files, WallTime now, std::string& note, const SigningScope& scope) {
    auto pair = read_pair(files);
    if (!pair) return pair;
    if (!pair->complete()) return make_or_renew(files, now, scope);
    if (auto fit = judge_scope(pair->certificates.front().get(), files, scope); !fit) return fit.error();
    if (!pair->to_be_renewed(now)) return pair;
    note = files.cert + " ends on " + date_text(pair->end());
    auto renewed = make_or_renew(files, now, scope);
    if (!renewed) {
        note += " and could not be renewed: " + renewed.error().what;
        return pair;
    }
    note += " and was renewed over the same key: applications must read it anew by then";
    return renewed;
}

/// A host as `parse_authority` makes it. Said again here because what passes becomes an identity: one name, no
/// wildcard.
bool is_plain_host(const std::string& host) {
    return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
        return c > 0x20 && c < 0x7f && c != '*' && c != ',' && c != '/';
    });
}

}  // namespace

CertResult<KeyPtr> make_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    if (!key) return openssl_fault("cannot make a P-256 key");
    return key;
}

CertAuthority::CertAuthority(std::vector<X509Ptr> certificates, KeyPtr key, bool fresh)
    : key_(std::move(key)), fresh_(fresh) {
    for (auto& certificate : certificates) {
        pem_ += pem_of(certificate.get());
        if (X509_self_signed(certificate.get(), 0) == 1) continue;
        X509_up_ref(certificate.get());
        chain_.emplace_back(certificate.get());
    }
    certificate_ = std::move(certificates.front());
    const auto* id = X509_get0_subject_key_id(certificate_.get());
    key_id_ = id ? std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(id)), ASN1_STRING_length(id))
                 : key_id_of(certificate_.get());
    ERR_clear_error();
}

CertResult<CertAuthority> CertAuthority::make(WallTime now, const SigningScope& scope) {
    auto key = make_key();
    if (!key) return key.error();
    auto certificate = self_sign(key->get(), now, scope);
    if (!certificate) return certificate.error();
    std::vector<X509Ptr> certificates;
    certificates.push_back(std::move(*certificate));
    return CertAuthority(std::move(certificates), std::move(*key), true);
}

CertResult<CertAuthority> CertAuthority::persistent(const std::string& directory, WallTime now, std::string& note,
                                                    const SigningScope& scope) {
    if (auto there = ensure_directory(directory, 0700); !there) return there.error();
    const PairFiles files(directory);
    auto pair = keep_pair(files, now, note, scope);
    if (!pair) return pair.error();
    if (auto fit = judge_issuer(pair->certificates.front().get(), files.cert, now); !fit) return fit.error();
    return CertAuthority(std::move(pair->certificates), std::move(pair->key), pair->fresh);
}

CertResult<CertAuthority> CertAuthority::given(const std::string& cert_file, const std::string& key_file,
                                               WallTime now) {
    auto certificates = read_certificates(cert_file);
    if (!certificates) return certificates.error();
    auto key = read_key(key_file, Privacy::as_mounted);
    if (!key) return key.error();
    if (auto fit = judge_pair(certificates->front().get(), key->get(), cert_file, key_file); !fit) return fit.error();
    if (auto fit = judge_issuer(certificates->front().get(), cert_file, now); !fit) return fit.error();
    if (auto linked = judge_chain(*certificates, cert_file); !linked) return linked.error();
    return CertAuthority(std::move(*certificates), std::move(*key), false);
}

namespace {

/// A certificate that was built is encoded anew in each handshake; one that was read keeps the bytes that it was read
/// from.
CertResult<X509Ptr> settled(X509* built) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(built, &der);
    const unsigned char* at = der;
    X509Ptr read(size > 0 ? d2i_X509(nullptr, &at, size) : nullptr);
    OPENSSL_free(der);
    if (!read) return openssl_fault("a certificate that was just made cannot be read");
    return read;
}

}  // namespace

CertResult<X509Ptr> CertAuthority::mint(const std::string& host, EVP_PKEY* leaf_key, WallTime now) const {
    if (!is_plain_host(host)) return CertFault{"no certificate can be made for a host like this"};
    const auto authority_end = wall_time(X509_get0_notAfter(certificate_.get()));
    if (authority_end <= now)
        return CertFault{"our CA ended on " + date_text(X509_get0_notAfter(certificate_.get())) +
                         ": restart Sluice to have it renewed"};
    const HostPattern exactly{host};
    if (auto fit = constraints_cover(certificate_.get(), {exactly}); !fit)
        return CertFault{"our CA may not sign for " + host + ": " + fit.error().what};
    constexpr std::size_t longest_common_name = 64;  // RFC 5280 A.1: ub-common-name
    // An address in a CN would be taken for a name, and judged by the constraints of names.
    const bool in_common_name = host.size() <= longest_common_name && address_bytes(host).empty();
    auto certificate = begin_certificate(leaf_key);
    auto* leaf = certificate.get();
    if (!leaf || !set_validity(leaf, now - backdate, std::min(now - backdate + leaf_life, authority_end)) ||
        !set_common_name(X509_get_subject_name(leaf), in_common_name ? host : "sluice") ||
        X509_set_issuer_name(leaf, X509_get_subject_name(certificate_.get())) != 1 ||
        !add_basic_constraints(leaf, false) || !add_key_usage(leaf, {digital_signature}) || !add_server_auth(leaf) ||
        !add_subject_key_id(leaf) || !add_authority_key_id(leaf, key_id_) || !add_subject_name(leaf, host) ||
        X509_sign(leaf, key_.get(), digest_for(key_.get())) == 0)
        return openssl_fault("cannot mint a certificate for " + host);
    return settled(leaf);
}

WallTime renewal_of(const X509* leaf) {
    const auto from = wall_time(X509_get0_notBefore(leaf));
    return from + (wall_time(X509_get0_notAfter(leaf)) - from) * 2 / 3;
}

}  // namespace sluice
