// What the policy says of a credential, and what is attached to a request. Pure: reading secrets and calling issuers is `proxy/issuers`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proxy/base/secret.hpp"
#include "proxy/base/time.hpp"
#include "proxy/credentials/hmac_signer.hpp"
#include "proxy/http/target.hpp"

namespace sluice {

/// Where a secret is to be found. Never the secret itself.
struct SecretSource {
    enum class Kind : unsigned char { none, file, environment, vault };
    Kind kind = Kind::none;
    std::string name;    // a path, the name of a variable, or a path in Vault as its API has it (`kv/data/llm`)
    std::string field;   // in Vault: which of the values there
    std::string login;   // in Vault: the `vault` credential that says where it is and how to log in; "": VAULT_ADDR, VAULT_TOKEN and VAULT_NAMESPACE of Sluice's environment

    std::string text() const;   // "{file: /run/secrets/x}"
    bool written() const { return kind != Kind::none; }
    bool operator==(const SecretSource&) const = default;
};

// ---- one type each. All that is written of it, and nothing else: two that are equal are the same credential after a reload.

/// A token in a header (RFC 6750).
struct BearerSpec {
    SecretSource value;
    bool operator==(const BearerSpec&) const = default;
};

/// A key in a header (`CredentialSpec::place`), or, where `query` is not "", in that parameter.
struct ApiKeySpec {
    std::string query;
    SecretSource value;
    bool operator==(const ApiKeySpec&) const = default;
};

/// RFC 7617.
struct BasicSpec {
    std::string username;          // plain, or from username_source
    SecretSource username_source;
    SecretSource password;
    bool operator==(const BasicSpec&) const = default;
};

/// A private key that signs JSON Web Tokens (RFC 7515).
struct SigningKeySpec {
    SecretSource pem;      // PKCS#8, PKCS#1 or SEC 1
    std::string kid;       // "": none in the head
    std::string algorithm; // RS256 RS384 RS512 PS256 ES256 ES384 ES512 EdDSA; "": by the key (RS256, ES256 ...)
    bool operator==(const SigningKeySpec&) const = default;
};

/// How a client shows a token endpoint who it is (RFC 6749 2.3, RFC 7523 2.2, RFC 8705 2).
struct ClientAuthSpec {
    enum class Kind : unsigned char { secret_basic, secret_post, private_key_jwt, tls, none };
    Kind kind = Kind::none;
    std::string client_id;
    SecretSource secret;     // secret_*
    SigningKeySpec key;      // private_key_jwt
    bool operator==(const ClientAuthSpec&) const = default;
};

struct OAuthSpec {
    enum class Grant : unsigned char { client_credentials, refresh_token, token_exchange, jwt_bearer };
    Grant grant = Grant::client_credentials;
    Url token_url;
    ClientAuthSpec client;
    std::vector<std::string> scope;
    std::string audience;                                     // of jwt_bearer: in the assertion; "": the token endpoint
    std::vector<std::string> resource;                        // RFC 8707
    std::vector<std::pair<std::string, std::string>> params;  // as they are
    SecretSource refresh_token;                               // the first one; what replaced it lives in `state`
    SecretSource subject_token, actor_token;                  // RFC 8693
    std::string subject_token_type, actor_token_type, requested_token_type;
    // Of jwt_bearer (RFC 7523 2.1):
    SigningKeySpec key;
    std::string issuer, subject;
    Duration lifetime = 5min;
    std::string claims;   // further ones: a JSON object as text, "" for none
    bool operator==(const OAuthSpec&) const = default;
};

struct AssumeRoleSpec {
    std::string arn, session_name = "sluice", external_id;
    Duration duration = 1h;
    bool operator==(const AssumeRoleSpec&) const = default;
};

/// AWS Signature Version 4.
struct AwsSpec {
    enum class Source : unsigned char { automatic, environment, file, web_identity, container, imds };
    std::string region, service;
    Source source = Source::automatic;   // automatic: environment, web identity, file, container, imds: the first that has any
    std::string profile;                 // of `file`; "": AWS_PROFILE, else default
    std::vector<AssumeRoleSpec> assume_role;   // one after the other
    Url sts{Scheme::https, {}, {}};      // host "": the region's own
    std::uint64_t max_body = 16 * 1024 * 1024;   // of a request whose hash has to be signed; S3's is not
    bool operator==(const AwsSpec&) const = default;
};

struct GcpSpec {
    enum class Source : unsigned char { service_account, external_account, metadata };
    Source source = Source::service_account;
    SecretSource key;                 // service_account, external_account: the JSON file that Google gave out
    std::vector<std::string> scope;   // an access token
    std::string audience;             // instead: an ID token
    std::string impersonate;          // another service account's e-mail address
    Duration lifetime = 1h;           // of an impersonated token
    Url iam{Scheme::https, {"iamcredentials.googleapis.com", 443, false}, {}};   // the IAM Credentials API, which impersonates
    bool operator==(const GcpSpec&) const = default;
};

/// "" of the first four: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_AUTHORITY_HOST of Sluice's environment.
struct AzureSpec {
    std::string tenant, client_id, token_file, authority_host;
    std::string scope;
    bool operator==(const AzureSpec&) const = default;
};

struct GithubAppSpec {
    std::string app_id, installation_id;
    SecretSource key;
    Url api_url{Scheme::https, {"api.github.com", 443, false}, {}};
    std::vector<std::string> repositories;
    std::vector<std::pair<std::string, std::string>> permissions;
    bool operator==(const GithubAppSpec&) const = default;
};

/// HashiCorp Vault, or OpenBao. Without `path`: a login for `{vault: ...}` elsewhere, which no vendor can name.
struct VaultSpec {
    enum class Auth : unsigned char { token, kubernetes, jwt, approle };
    Url address;
    Auth auth = Auth::token;
    std::string mount;           // "": the method's own name
    std::string role;            // kubernetes, jwt; of approle its role_id
    SecretSource secret;         // token: the token; kubernetes, jwt: the JWT; approle: the secret_id
    std::string name_space;      // X-Vault-Namespace
    std::string path;            // as in the API: kv/data/llm, database/creds/reader
    std::string field;           // the value that is attached ...
    std::string username_field, password_field;   // ... or these two, as Basic
    bool operator==(const VaultSpec&) const = default;
};

struct ExecSpec {
    enum class Format : unsigned char { exec_credential, credential_process, docker };
    std::vector<std::string> command;   // the program, looked for in PATH, and its arguments
    std::vector<std::pair<std::string, std::string>> environment;   // all it has, beside PATH and HOME ...
    std::vector<std::pair<std::string, SecretSource>> secret_environment;   // ... and these, read for each run
    Duration timeout = 10s;
    Format format = Format::exec_credential;
    std::string server;   // docker: what is asked for on its standard input
    std::string region, service;   // credential_process: what its keys of AWS sign for
    bool operator==(const ExecSpec&) const = default;
};

/// A request signer for vendors that have a scheme of their own.
struct HmacSpec {
    using Algorithm = HashAlgorithm;
    using Encoding = HmacEncoding;
    Algorithm algorithm = Algorithm::sha256;
    SecretSource key;
    Encoding encoding = Encoding::hex;
    std::string string_to_sign;                                // a template, see hmac_signer.hpp
    std::vector<std::pair<std::string, std::string>> headers;  // likewise: a timestamp, the key's name
    HmacScheme scheme;                                         // all of it compiled, with CredentialSpec::place
    std::uint64_t max_body = 1024 * 1024;                      // of a request whose body the template names
    bool operator==(const HmacSpec&) const = default;
};

/// A TLS client certificate with its key. Nothing is attached: where both are files the decoder makes it the vendor's `tls.client`, else it is fetched and shown connection by connection.
struct MtlsSpec {
    SecretSource cert, key;
    bool in_files() const { return cert.kind == SecretSource::Kind::file && key.kind == SecretSource::Kind::file; }
    bool operator==(const MtlsSpec&) const = default;
};

/// Which header carries it, and what stands before it there; "" of a type that has another place of its own (basic, a query parameter, a signature).
struct Placement {
    std::string header = "Authorization";
    std::string prefix = "Bearer ";
    bool operator==(const Placement&) const = default;
};

/// What is written of a credential whatever its type is.
struct CredentialRules {
    std::optional<Duration> refresh_before;       // its end; nothing: see renewal_plan.hpp
    std::vector<std::uint16_t> refresh_on = {401};   // a vendor's statuses that mean: get another one
    SecretSource overlap;                         // the secret before the last rotation, tried when the one at hand is refused
    std::string placeholder;                      // what the application sends in its stead; "": none
    bool require = false;                         // a request without the placeholder is refused
    std::size_t least = 0;                        // bytes of its secret: a shorter one is not taken
    bool eager = true;                            // readiness waits for it, at most 10 s
    bool operator==(const CredentialRules&) const = default;
};

struct CredentialSpec {
    using Kind = std::variant<BearerSpec, ApiKeySpec, BasicSpec, OAuthSpec, AwsSpec, GcpSpec, AzureSpec, GithubAppSpec, VaultSpec, ExecSpec, HmacSpec, MtlsSpec>;

    std::string name;
    std::size_t index = 0;   // in Config::credentials; of one in Config::secrets, behind them
    Kind kind;
    std::optional<MtlsSpec> shown;       // to its issuer; nothing: its TLS rules say it
    Placement place;
    CredentialRules rules;
    std::uint64_t body_to_sign = 0;      // bytes of a request's body that may have to be at hand before it can be signed
    std::optional<std::size_t> issuer;   // in Config::issuers: how what is called for it is reached; nothing: nothing is called
    std::string file;        // where the policy says so, for `explain`
    int line = 0;

    std::string_view type() const;   // "bearer"
    /// The same but for where it stands.
    bool same_as(const CredentialSpec& other) const { return name == other.name && kind == other.kind && shown == other.shown && place == other.place && rules == other.rules; }
    /// Fetched in the same way, so that what came of one is good for the other: apart from when it is renewed, what is put where, and who may lack it.
    bool fetched_as(const CredentialSpec& other) const { return name == other.name && kind == other.kind && shown == other.shown; }
    /// Is it read from files and the environment alone (a certificate: from files)? Else it is fetched, and renewed.
    bool is_static() const;
    /// Is it how `{vault: ...}` elsewhere logs in, and nothing that a request could be given? Then nobody fetches it by itself.
    bool is_login() const;
    /// Every secret that is named anywhere in it.
    std::vector<const SecretSource*> secrets() const;
};

// ---- what is at hand

struct UserPassword {
    Secret username, password;
};
struct AwsSecretKeys {
    std::string access_key_id;
    Secret secret_access_key;
    Secret session_token;   // empty: none
};

struct ClientCertificate;   // certs

/// Nothing in the request: the connection's certificate says it.
struct OnConnection {
    WallTime ends{};   // the certificate
    std::shared_ptr<const ClientCertificate> certificate;   // null: the TLS rules of the vendor have it
    std::array<std::uint64_t, 2> identity{};                // of the certificate; zero: likewise
};

/// What an issuer gave.
struct Minted {
    std::variant<Secret, UserPassword, AwsSecretKeys, OnConnection> what;
    std::optional<Duration> lifetime;   // from when it was asked for; nothing: the issuer did not say
    std::string subject;                // whose it is, for the audit: never a secret
    std::vector<std::string> scope;     // as granted, where the issuer says so
    std::optional<Duration> renew_after;   // what does not end may still be another one by now: read again then, usable on
};

/// A value that is the same for every request.
struct FixedValue {
    enum class Place : unsigned char { header, query };
    Place place = Place::header;
    std::string name;    // of the header, or of the query parameter
    Secret value;        // the whole field value, prefix included; for a query parameter percent-encoded already
};

/// A signature that is made for each request.
struct AwsSigner {
    std::string region, service;
    AwsSecretKeys keys;
};
struct HmacSigner {
    HmacScheme scheme;
    Secret key;
};

/// A credential that is at hand: what to put where.
struct Attachment {
    std::variant<OnConnection, FixedValue, AwsSigner, HmacSigner> how;
    std::vector<Secret> secrets;   // that must not come back in an answer, without any encoding or prefix

    /// Equal in what they do.
    bool same_as(const Attachment& other) const;
};

}  // namespace sluice
