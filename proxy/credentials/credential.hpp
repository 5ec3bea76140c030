// What the policy says of a credential, and what is attached to a request. Pure: reading secrets is `proxy/issuers`.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "proxy/base/secret.hpp"

namespace sluice {

/// Where a secret is to be found. Never the secret itself.
struct SecretSource {
    enum class Kind : unsigned char { none, file, environment };
    Kind kind = Kind::none;
    std::string name;   // a path, or the name of a variable

    std::string text() const;   // "{file: /run/secrets/x}"
    bool operator==(const SecretSource&) const = default;
};

struct BearerSpec {
    SecretSource value;
    std::string header = "Authorization";
    std::string prefix = "Bearer ";

    bool operator==(const BearerSpec&) const = default;
};
struct ApiKeySpec {
    std::string header;   // one of header and query
    std::string query;
    std::string prefix;
    SecretSource value;

    bool operator==(const ApiKeySpec&) const = default;
};
struct BasicSpec {
    std::string username;          // plain, or from username_source
    SecretSource username_source;
    SecretSource password;

    bool operator==(const BasicSpec&) const = default;
};

struct CredentialSpec {
    std::string name;
    std::size_t index = 0;   // in Config::credentials
    std::variant<BearerSpec, ApiKeySpec, BasicSpec> kind;
    bool eager = true;
    std::string file;        // where the policy says so, for `explain`
    int line = 0;

    std::string_view type() const;   // "bearer"
};

/// A credential that is at hand: what to put where.
struct Attachment {
    enum class Place : unsigned char { header, query };
    Place place = Place::header;
    std::string name;    // of the header, or of the query parameter
    Secret value;        // the whole field value, prefix included; for a query parameter percent-encoded already
};

}  // namespace sluice
