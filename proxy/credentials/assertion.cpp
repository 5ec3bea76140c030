#include "proxy/credentials/assertion.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/base/wiped_frees.hpp"
#include "proxy/credentials/stamp.hpp"

namespace sluice {

namespace {

constexpr int least_rsa_bits = 2048;  // RFC 7518 3.3
constexpr std::size_t most_pem_bytes = 1 << 20;

template <auto free>
struct Freed {
    template <class T>
    void operator()(T* object) const {
        free(object);
    }
};

/// What OpenSSL says of a failure of ours stays here: the thread's queue belongs to its connections.
class OwnErrors {
  public:
    OwnErrors() { ERR_set_mark(); }
    OwnErrors(const OwnErrors&) = delete;
    OwnErrors& operator=(const OwnErrors&) = delete;
    ~OwnErrors() { ERR_pop_to_mark(); }
};

int no_password(char*, int, int, void*) {
    return -1;  // the default would ask at the terminal
}

bool holds(std::string_view text, std::string_view words) {
    return text.find(words) != text.npos;
}

/// Why `pem` holds no private key that can be read, from how it looks.
std::string fault_of(std::string_view pem) {
    const std::size_t first = pem.find_first_not_of(" \t\r\n");
    if (first == pem.npos) return "is empty, where a private key in PEM is due";
    if (holds(pem, "ENCRYPTED")) {
        return "is encrypted: give it without its password (openssl pkey -in KEY -out PLAIN)";
    }
    if (holds(pem, "\\n") && (pem[first] == '{' || !holds(pem, "\n"))) {
        return pem[first] == '{' ? "is JSON: only the text of its private_key is meant, with real line ends"
                                 : "has its line ends written as \\n: they have to be real ones";
    }
    if (!holds(pem, "-----BEGIN ")) return "is no PEM: nothing in it begins with -----BEGIN";
    if (holds(pem, "BEGIN OPENSSH PRIVATE KEY")) {
        return "is in OpenSSH's own format: ssh-keygen -p -m PKCS8 -f KEY converts it";
    }
    if (!holds(pem, "PRIVATE KEY-----")) {
        if (holds(pem, "CERTIFICATE-----")) return "is a certificate, where the private key of it is due";
        if (holds(pem, "PUBLIC KEY-----")) return "is a public key, where the private one is due";
        return "holds no private key";
    }
    return "is damaged: it looks like a private key in PEM and cannot be read as one";
}

std::shared_ptr<EVP_PKEY> read_key(std::string_view pem) {
    if (pem.size() > most_pem_bytes) return nullptr;
    const std::unique_ptr<BIO, Freed<BIO_free>> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!in) return nullptr;
    const WipedFrees wiped;
    return {PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr), EVP_PKEY_free};
}

/// "RSA", or of an elliptic curve its name.
std::string kind_of(EVP_PKEY* key) {
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return "RSA";
    case EVP_PKEY_RSA_PSS: return "RSA-PSS";
    case EVP_PKEY_ED25519: return "Ed25519";
    case EVP_PKEY_ED448: return "Ed448";
    default: break;
    }
    char curve[80] = {};
    std::size_t size = 0;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, curve, sizeof curve, &size) == 1) {
        return std::string(curve, size);
    }
    const char* name = EVP_PKEY_get0_type_name(key);
    return name ? name : "(unknown)";
}

std::string name_for_people(const std::string& kind) {
    if (kind == "prime256v1") return "P-256";
    if (kind == "secp384r1") return "P-384";
    if (kind == "secp521r1") return "P-521";
    return kind;
}

/// OpenSSL's DER as r and s, each as long as the curve's order (RFC 7518 3.4).
std::string raw_signature(std::string_view der, std::size_t half) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>> parsed(
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    if (!parsed) return "";
    std::string out(2 * half, '\0');
    auto* to = reinterpret_cast<unsigned char*>(out.data());
    const int size = static_cast<int>(half);
    const bool fits = BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), to, size) == size &&
                      BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), to + half, size) == size;
    return fits ? out : "";
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    append_json_escaped(out, text);
    return out += '"';
}

}  // namespace

struct JwtKey::Algorithm {
    std::string_view name;
    std::array<std::string_view, 2> kinds;  // of keys, as kind_of names them; the first algorithm of a kind is its own
    const char* hash;
    bool pss = false;
    std::size_t half = 0;  // of an ECDSA signature
};

const JwtKey::Algorithm JwtKey::algorithms[] = {
    {"RS256", {"RSA"}, "SHA256"},
    {"RS384", {"RSA"}, "SHA384"},
    {"RS512", {"RSA"}, "SHA512"},
    {"PS256", {"RSA", "RSA-PSS"}, "SHA256", true},
    {"PS384", {"RSA", "RSA-PSS"}, "SHA384", true},
    {"PS512", {"RSA", "RSA-PSS"}, "SHA512", true},
    {"ES256", {"prime256v1"}, "SHA256", false, 32},
    {"ES384", {"secp384r1"}, "SHA384", false, 48},
    {"ES512", {"secp521r1"}, "SHA512", false, 66},
    {"EdDSA", {"Ed25519", "Ed448"}, nullptr},
};

const JwtKey::Algorithm* JwtKey::find_algorithm(EVP_PKEY* key, std::string_view name, std::string& why) {
    const std::string kind = kind_of(key);
    const auto fits = [&kind](const Algorithm& one) { return one.kinds[0] == kind || one.kinds[1] == kind; };
    std::vector<std::string_view> names;
    std::string fitting;
    for (const Algorithm& one : algorithms) {
        if (fits(one) && (name.empty() || one.name == name)) return &one;
        if (fits(one)) fitting.append(fitting.empty() ? "" : ", ").append(one.name);
        names.push_back(one.name);
    }
    const std::string this_key = "is a key of type " + name_for_people(kind);
    if (std::find(names.begin(), names.end(), name) != names.end()) {
        why = this_key + ", which cannot sign " + std::string(name);
        why += fitting.empty() ? "" : ", only " + fitting;
    } else if (name.empty()) {
        why = this_key + ", for which there is no JWT algorithm here: RSA, P-256, P-384, P-521 or Ed25519 is due";
    } else {
        why = "cannot be used: there is no algorithm '" + std::string(name) + "'";
        if (const auto near = nearest(name, names)) why += " (did you mean '" + std::string(*near) + "'?)";
    }
    return nullptr;
}

std::optional<JwtKey> JwtKey::read(std::string_view pem, std::string_view algorithm, std::string& why) {
    const OwnErrors own;
    JwtKey out;
    out.key_ = read_key(pem);
    if (!out.key_) {
        why = pem.size() > most_pem_bytes ? "is larger than 1 MiB, which no key is" : fault_of(pem);
        return {};
    }
    const int bits = EVP_PKEY_get_bits(out.key_.get());
    const bool rsa = kind_of(out.key_.get()).starts_with("RSA");
    if (rsa && bits < least_rsa_bits) {
        why = "is an RSA key of " + std::to_string(bits) + " bits: at least 2048 are due (RFC 7518 3.3)";
        return {};
    }
    out.algorithm_ = find_algorithm(out.key_.get(), algorithm, why);
    if (!out.algorithm_) return {};
    if (out.signature_of("").empty()) {  // better now than when a token is due
        why = "cannot sign with " + std::string(out.algorithm_->name) + ": it is damaged, or made for something else";
        return {};
    }
    return out;
}

std::string_view JwtKey::algorithm() const {
    return algorithm_->name;
}

/// "" where OpenSSL fails.
std::string JwtKey::signature_of(std::string_view text) const {
    const OwnErrors own;
    const std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* details = nullptr;  // belongs to `context`
    const char* hash = algorithm_->hash;
    if (!context) return "";
    if (EVP_DigestSignInit_ex(context.get(), &details, hash, nullptr, nullptr, key_.get(), nullptr) != 1) return "";
    if (algorithm_->pss) {  // RFC 7518 3.5
        if (EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) != 1) return "";
        if (EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST) != 1) return "";
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    std::size_t size = 0;
    if (EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) return "";
    std::string out(size, '\0');
    if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes, text.size()) != 1) {
        return "";
    }
    out.resize(size);
    return algorithm_->half > 0 ? raw_signature(out, algorithm_->half) : out;
}

Result<std::string> JwtKey::sign(std::string_view header, std::string_view payload) const {
    std::string out;
    append_base64url(out, header);
    out += '.';
    append_base64url(out, payload);
    const std::string signature = signature_of(out);
    if (signature.empty()) {
        return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe,
                       "a token could not be signed with " + std::string(algorithm_->name)};
    }
    out += '.';
    append_base64url(out, signature);
    return out;
}

JwtMembers& JwtMembers::json(std::string_view name, std::string_view value) {
    const auto same = [name](const auto& member) { return member.first == name; };
    const auto found = std::find_if(members_.begin(), members_.end(), same);
    if (found != members_.end()) {
        found->second = value;
    } else {
        members_.emplace_back(name, value);
    }
    return *this;
}

JwtMembers& JwtMembers::text(std::string_view name, std::string_view value) {
    return json(name, quoted(value));
}

JwtMembers& JwtMembers::number(std::string_view name, std::int64_t value) {
    return json(name, std::to_string(value));
}

JwtMembers& JwtMembers::flag(std::string_view name, bool value) {
    return json(name, value ? "true" : "false");
}

JwtMembers& JwtMembers::time(std::string_view name, WallTime value) {
    return number(name, unix_seconds(value));
}

JwtMembers& JwtMembers::list(std::string_view name, std::span<const std::string> values) {
    std::string out = "[";
    for (const std::string& value : values) out.append(out.size() > 1 ? "," : "").append(quoted(value));
    return json(name, out += ']');
}

JwtMembers& JwtMembers::id(const std::array<unsigned char, 16>& bits) {
    std::string out;
    append_base64url(out, {reinterpret_cast<const char*>(bits.data()), bits.size()});
    return text("jti", out);
}

bool JwtMembers::holds(std::string_view name) const {
    return std::any_of(members_.begin(), members_.end(), [name](const auto& member) { return member.first == name; });
}

std::string JwtMembers::object() const {
    std::string out = "{";
    for (const auto& [name, value] : members_) {
        out.append(out.size() > 1 ? "," : "").append(quoted(name)).append(":").append(value);
    }
    return out += '}';
}

Result<std::string> sign_jwt(const JwtKey& key, const JwtMembers& header, const JwtMembers& claims) {
    JwtMembers whole = header;
    whole.text("alg", key.algorithm());
    if (!whole.holds("typ")) whole.text("typ", "JWT");
    return key.sign(whole.object(), claims.object());
}

}  // namespace sluice
