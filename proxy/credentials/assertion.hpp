// JSON Web Tokens that a private key signs (RFC 7515 compact serialisation, RFC 7518, RFC 8037): client assertions
// (RFC 7523), service accounts, GitHub Apps. Pure: times and random bits are arguments. A key is read once, when the
// secret that holds it is; any thread may sign with it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/base/time.hpp"

struct evp_pkey_st;  // EVP_PKEY

namespace sluice {

class JwtKey {
  public:
    /// A private key in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted); what else the file holds is passed over.
    /// `algorithm` is RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA, or "" for what the key is
    /// made for: RS256, the ES of its curve, EdDSA. Nothing: `why` says in words for a person what is wrong ("is
    /// encrypted ..."), and never holds anything of the key.
    static std::optional<JwtKey> read(std::string_view pem, std::string_view algorithm, std::string& why);

    /// "RS256".
    std::string_view algorithm() const;

    /// "<header>.<payload>.<signature>", each base64url. Fails (origin sluice, credential_unavailable) only where
    /// OpenSSL does.
    Result<std::string> sign(std::string_view header, std::string_view payload) const;

  private:
    struct Algorithm;
    static const Algorithm algorithms[];
    static const Algorithm* find_algorithm(evp_pkey_st* key, std::string_view name, std::string& why);
    std::string signature_of(std::string_view text) const;

    std::shared_ptr<evp_pkey_st> key_;
    const Algorithm* algorithm_ = nullptr;
};

/// The members of a JSON object in the order in which they were named; one that is named again gets the later value.
class JwtMembers {
  public:
    JwtMembers& text(std::string_view name, std::string_view value);
    JwtMembers& number(std::string_view name, std::int64_t value);
    JwtMembers& flag(std::string_view name, bool value);
    /// NumericDate (RFC 7519 2): whole seconds, rounded down.
    JwtMembers& time(std::string_view name, WallTime value);
    JwtMembers& list(std::string_view name, std::span<const std::string> values);
    /// `value` is JSON already.
    JwtMembers& json(std::string_view name, std::string_view value);
    /// `jti` of random bits: 22 characters.
    JwtMembers& id(const std::array<unsigned char, 16>& bits);

    bool holds(std::string_view name) const;
    /// {"iss":"joe"}
    std::string object() const;

  private:
    std::vector<std::pair<std::string, std::string>> members_;  // value: JSON
};

/// The token. `header` needs neither `alg`, which is the key's, nor `typ`, which is JWT unless it says otherwise.
Result<std::string> sign_jwt(const JwtKey& key, const JwtMembers& header, const JwtMembers& claims);

}  // namespace sluice
