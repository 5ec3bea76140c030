#include "proxy/credentials/digest.hpp"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>  // explicit_bzero

#include <new>
#include <string>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t algorithms = 4;

/// Whatever fails below fails for want of memory: keys have any length, and the algorithms are always there.
template <class Got>
Got need(Got got) {
    if (!got) throw std::bad_alloc();
    return got;
}

const char* name_of(HashAlgorithm algorithm) {
    switch (algorithm) {
    case HashAlgorithm::sha1: return "SHA1";
    case HashAlgorithm::sha256: return "SHA2-256";
    case HashAlgorithm::sha384: return "SHA2-384";
    case HashAlgorithm::sha512: return "SHA2-512";
    }
    return nullptr;
}

/// Looked up once: OpenSSL 3 takes longer to find an algorithm by name than to hash a kilobyte.
struct Prepared {
    std::array<const EVP_MD*, algorithms> hashes{};
    std::array<EVP_MAC_CTX*, algorithms> macs{};

    Prepared() {
        EVP_MAC* mac = need(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
        for (std::size_t i = 0; i < algorithms; ++i) {
            const char* name = name_of(static_cast<HashAlgorithm>(i));
            hashes[i] = need(EVP_MD_fetch(nullptr, name, nullptr));
            macs[i] = need(EVP_MAC_CTX_new(mac));
            const OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(name), 0),
                OSSL_PARAM_construct_end()};
            need(EVP_MAC_CTX_set_params(macs[i], params));
        }
        EVP_MAC_free(mac);
    }
};

const Prepared& prepared() {
    static const Prepared* const all = new Prepared;  // for as long as the program: others' destructors may still hash
    return *all;
}

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::optional<HashAlgorithm> hash_named(std::string_view name) {
    std::string word = to_lower(name);
    if (word.starts_with("sha-")) word.erase(3, 1);
    if (word == "sha1") return HashAlgorithm::sha1;
    if (word == "sha256") return HashAlgorithm::sha256;
    if (word == "sha384") return HashAlgorithm::sha384;
    if (word == "sha512") return HashAlgorithm::sha512;
    return {};
}

HashValue::~HashValue() {
    explicit_bzero(bytes_.data(), bytes_.size());
}

void Hash::Free::operator()(evp_md_ctx_st* context) const {
    EVP_MD_CTX_free(context);
}

Hash::Hash(HashAlgorithm algorithm) : context_(need(EVP_MD_CTX_new())), algorithm_(algorithm) {
    begin();
}

void Hash::begin() {
    need(EVP_DigestInit_ex2(context_.get(), prepared().hashes[static_cast<std::size_t>(algorithm_)], nullptr));
}

void Hash::add(std::string_view bytes) {
    need(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

HashValue Hash::finish() {
    HashValue out;
    unsigned size = 0;
    need(EVP_DigestFinal_ex(context_.get(), out.bytes_.data(), &size));
    out.size_ = size;
    begin();
    return out;
}

HashValue hash_of(HashAlgorithm algorithm, std::string_view text) {
    Hash hash(algorithm);
    hash.add(text);
    return hash.finish();
}

HashValue hmac(HashAlgorithm algorithm, std::string_view key, std::string_view text) {
    struct Free {
        void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
    };
    const std::unique_ptr<EVP_MAC_CTX, Free> context(
        need(EVP_MAC_CTX_dup(prepared().macs[static_cast<std::size_t>(algorithm)])));
    static constexpr unsigned char nothing = 0;  // a null key would mean "the one from before"
    need(EVP_MAC_init(context.get(), key.empty() ? &nothing : bytes_of(key), key.size(), nullptr));
    need(EVP_MAC_update(context.get(), bytes_of(text), text.size()));
    HashValue out;
    need(EVP_MAC_final(context.get(), out.bytes_.data(), &out.size_, out.bytes_.size()));
    return out;
}

}  // namespace sluice
