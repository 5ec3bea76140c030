// Hashes and HMAC (RFC 2104) over OpenSSL's libcrypto, for whatever is signed on this floor. Pure; any thread, an
// object by one at a time. What can only fail for want of memory throws std::bad_alloc.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>

struct evp_md_ctx_st;  // EVP_MD_CTX

namespace sluice {

enum class HashAlgorithm : unsigned char { sha1, sha256, sha384, sha512 };

/// "sha256" ... in either case, with or without a '-'. Nothing: no such algorithm.
std::optional<HashAlgorithm> hash_named(std::string_view name);

/// A hash or a MAC: 20 to 64 bytes. Wiped at its end, since a derived key is one.
class HashValue {
  public:
    HashValue() = default;
    HashValue(const HashValue&) = default;
    HashValue& operator=(const HashValue&) = default;
    ~HashValue();

    /// Valid while this lives.
    std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), size_}; }

  private:
    friend class Hash;
    friend HashValue hmac(HashAlgorithm algorithm, std::string_view key, std::string_view text);

    std::array<unsigned char, 64> bytes_{};
    std::size_t size_ = 0;
};

/// A hash of what comes in pieces: a body as it streams.
class Hash {
  public:
    explicit Hash(HashAlgorithm algorithm = HashAlgorithm::sha256);

    void add(std::string_view bytes);
    /// Begins anew afterwards.
    HashValue finish();

  private:
    void begin();

    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
    HashAlgorithm algorithm_;
};

HashValue hash_of(HashAlgorithm algorithm, std::string_view text);
HashValue hmac(HashAlgorithm algorithm, std::string_view key, std::string_view text);

}  // namespace sluice
