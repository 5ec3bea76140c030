#include "config/credential_types.hpp"

#include <algorithm>
#include <array>

#include "config/forms.hpp"
#include "config/json_value.hpp"
#include "config/reach.hpp"
#include "config/secret_rule.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

using W = WrittenCredential;

constexpr std::string_view type_names[] = {"bearer",
                                           "api_key",
                                           "basic",
                                           "oauth2_client_credentials",
                                           "oauth2_refresh_token",
                                           "oauth2_token_exchange",
                                           "oauth2_jwt_bearer",
                                           "aws_sigv4",
                                           "gcp",
                                           "azure_workload_identity",
                                           "github_app",
                                           "vault",
                                           "exec",
                                           "hmac",
                                           "mtls"};

// ---- forms of text

bool fits_all(std::string_view text, std::string_view more) {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return (lower(c) >= 'a' && lower(c) <= 'z') || is_digit(c) || more.find(c) != more.npos;
    });
}

std::optional<std::string> parse_query_name(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 128 && fits_all(text, "-._~")) return text;
    why = "a parameter's name is letters, digits, '-', '.', '_' and '~'";
    return {};
}

/// It is searched for in whole requests: a short one would be found where nobody meant it.
std::optional<std::string> parse_placeholder(const std::string& text, std::string& why) {
    constexpr std::size_t least = 8, most = 128;
    if (text.size() < least)
        why = "it is shorter than 8 characters, and would be found where nobody meant it";
    else if (text.size() > most || !all_printable(text) || text.find_first_of(" \"\\") != text.npos)
        why = "it is 8 to 128 printable ASCII characters without a space, '\"' and '\\'";
    else
        return text;
    return {};
}

/// RFC 6749 3.3
std::optional<std::string> parse_scope(const std::string& text, std::string& why) {
    const bool token = all_printable(text) && text.find_first_of(" \"\\") == text.npos;
    if (!text.empty() && text.size() <= 512 && token) return text;
    why = text.find(' ') != text.npos ? "one scope an entry" : "it is 1 to 512 printable ASCII characters";
    return {};
}

std::optional<std::string> parse_id(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 128 && fits_all(text, "-._")) return text;
    why = "it is letters, digits, '-', '.' and '_'";
    return {};
}

std::optional<std::string> parse_digits(const std::string& text, std::string& why) {
    if (text.size() <= 20 && parse_decimal(text)) return text;
    why = "it is a number, as GitHub shows it in the URL of the installation's settings";
    return {};
}

std::optional<std::string> parse_long_line(const std::string& text, std::string& why) {
    const bool control =
        std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (!text.empty() && text.size() <= 2048 && !control) return text;
    why = text.empty() ? "it is empty" : "it holds a control character, or is longer than 2048 bytes";
    return {};
}

std::optional<std::string> parse_template(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 4096) return text;
    why = text.empty() ? "it is empty" : "it is longer than 4096 bytes";
    return {};
}

std::optional<std::string> parse_argument(const std::string& text, std::string& why) {
    if (text.size() <= 4096 && text.find('\0') == text.npos) return text;
    why = "it is longer than 4096 bytes, or holds a NUL";
    return {};
}

/// RFC 8693 3, by its last word too.
std::optional<std::string> parse_token_type(const std::string& text, std::string& why) {
    static constexpr std::string_view words[] = {"access_token", "refresh_token", "id_token", "jwt", "saml1", "saml2"};
    if (std::find(std::begin(words), std::end(words), text) != std::end(words))
        return "urn:ietf:params:oauth:token-type:" + text;
    if (text.find(':') != text.npos && text.size() <= 256 && all_printable(text) && text.find(' ') == text.npos)
        return text;
    why = "write access_token, refresh_token, id_token, jwt, saml1 or saml2 (RFC 8693 3), or a URI" +
          suggestion(text, words);
    return {};
}

std::optional<std::string> parse_arn(const std::string& text, std::string& why) {
    if (text.starts_with("arn:") && text.find(":role/") != text.npos && text.size() <= 2048 && all_printable(text))
        return text;
    why = "write the ARN of a role, as arn:aws:iam::123456789012:role/name";
    return {};
}

std::optional<std::string> parse_session_name(const std::string& text, std::string& why) {
    if (text.size() >= 2 && text.size() <= 64 && fits_all(text, "_=,.@-")) return text;
    why = "AWS takes 2 to 64 letters, digits and _=,.@-";
    return {};
}

std::optional<std::string> parse_email(const std::string& text, std::string& why) {
    const auto at = text.find('@');
    if (at != text.npos && at > 0 && at + 1 < text.size() && text.size() <= 256 && fits_all(text, "@.-_")) return text;
    why = "write its e-mail address, as name@project.iam.gserviceaccount.com";
    return {};
}

std::optional<std::string> parse_authority_host(const std::string& text, std::string& why) {
    const auto url = parse_base_url(text, why);
    if (url && url->scheme == Scheme::https) return "https://" + url->authority.text(url->scheme) + url->prefix;
    if (url) why = "write https://";
    return {};
}

std::optional<std::string> parse_repository(const std::string& text, std::string& why) {
    if (text.find('/') != text.npos)
        why = "GitHub wants the repository's name without its owner";
    else if (text.empty() || text.size() > 100 || !fits_all(text, "-._"))
        why = "it is letters, digits, '-', '.' and '_'";
    else
        return text;
    return {};
}

std::optional<std::string> parse_mount(const std::string& text, std::string& why) {
    return parse_vault_path(text, why);
}

std::string judge_variable_name(std::string_view name) {
    std::string why;
    return parse_variable_name(std::string(name), why) ? "" : why;
}
std::string judge_permission(std::string_view name) {
    return !name.empty() && name.size() <= 64 && fits_all(name, "_") ? "" : "it is letters and '_', as in contents";
}

constexpr NameForm credential_names{"a credential's name", "^[a-z0-9][a-z0-9_-]{0,62}$", judge_name};
constexpr NameForm variable_names{"a variable's name", "^[A-Za-z_][A-Za-z0-9_]*$", judge_variable_name};
constexpr NameForm permission_names{"a permission", "^[A-Za-z0-9_]+$", judge_permission};

constexpr ScalarRule<std::string> query_name{"a query parameter's name", "key", "[A-Za-z0-9._~-]+", parse_query_name};
constexpr ScalarRule<std::string> placeholder_rule{"a placeholder", "SLUICE_PAY_KEY", "[!-~]{8,128}",
                                                   parse_placeholder};
constexpr ScalarRule<std::string> scope_rule{"a scope", "payments.write", "[!-~]+", parse_scope};
constexpr ScalarRule<std::string> long_line{"a line of text", "", "", parse_long_line};
constexpr ScalarRule<std::string> id_rule{"an identifier", "", "[A-Za-z0-9._-]+", parse_id, true};
constexpr ScalarRule<std::string> number_rule{"an installation's number", "", "[0-9]+", parse_digits, true};
constexpr ScalarRule<std::string> template_rule{"a template", "", "", parse_template};
constexpr ScalarRule<std::string> argument_rule{"an argument", "", "", parse_argument, true};
constexpr ScalarRule<std::string> token_type{"a type of token", "jwt", "", parse_token_type};
constexpr ScalarRule<std::string> vault_path{"a path in Vault", "kv/data/llm", "[^/#?][^#?]*", parse_vault_path};
constexpr ScalarRule<std::string> vault_field{"the name of a value", "key", "", parse_vault_field};
constexpr ScalarRule<std::string> mount_rule{"a mount in Vault", "kubernetes", "[^/#?][^#?]*", parse_mount};
constexpr ScalarRule<Duration> refresh_before_rule{"a duration", "60s", duration_pattern,
                                                   parse_between<in_ms::second, 12 * in_ms::hour>, true};
constexpr IntegerRule status_rule{400, 599};
constexpr ListRule<status_rule> statuses_rule{"a list of statuses", 0, 32, "32 are the most"};
constexpr ListRule<scope_rule> scopes_rule{"a list of scopes", 1, 64, "64 are the most"};

/// Shown by `/config` and the like: what comes from the environment may be a secret and has no place in it.
struct PrefixRule {
    using Value = std::string;
    static constexpr ScalarRule<std::string> rule{"a prefix", "Bearer ", "[ -~]{0,64}", parse_prefix};

    std::optional<std::string> read(Reader& reader, const Place& at) const {
        if (at.node.text.find("${") == std::string::npos) return rule.read(reader, at);
        reader.fault(at, "a variable",
                     "a prefix is no secret and is shown; what comes from the environment goes into `value`");
        return {};
    }
    boost::json::object describe(Schema& schema) const { return rule.describe(schema); }
};
constexpr PrefixRule prefix_rule;

// ---- keys that several types have

template <class T, std::size_t... n>
constexpr auto joined(const Key<T> (&... lists)[n]) {
    std::array<Key<T>, (n + ...)> all{};
    auto next = all.begin();
    ((next = std::copy(std::begin(lists), std::end(lists), next)), ...);
    return all;
}

template <CredentialType type>
constexpr WordsRule<CredentialType, 1> type_word{{{type_names[static_cast<std::size_t>(type)], type}}};
template <CredentialType type>
constexpr Key<W> type_key(std::string_view doc) {
    return key<&W::type, type_word<type>>("type", doc, Presence::required);
}

constexpr Key<W> eager_keys[] = {
    key<&W::eager, boolean_rule>("eager", "Readiness waits for it, at most 10 s; default true."),
};
constexpr Key<W> renewal_keys[] = {
    key<&W::refresh_before, refresh_before_rule>(
        "refresh_before",
        "So long before its end it is fetched again; default 20 % of its lifetime, at least 30s; never more than half "
        "of it."),
    key<&W::eager, boolean_rule>("eager", "Fetched before readiness, which waits at most 10 s for it; default true."),
};
constexpr Key<W> refused_keys[] = {
    key<&W::refresh_on, statuses_rule>("refresh_on",
                                       "Statuses of the vendor that mean: this one is not taken; default [401]."),
};
constexpr Key<W> header_keys[] = {
    key<&W::header, header_name>("header", "The header that carries it; default Authorization."),
    key<&W::prefix, prefix_rule>("prefix", "What stands before it; default 'Bearer '."),
};
constexpr Key<W> placeholder_keys[] = {
    key<&W::placeholder, placeholder_rule>(
        "placeholder",
        "What the application sends in its stead: replaced wherever it is found in headers, path and query; 8 "
        "characters at least."),
    key<&W::require, boolean_rule>("require", "A request without the placeholder is refused; default false."),
};
constexpr Key<W> issuer_keys[] = {
    key<&W::tls, tls_rule>("tls", "How the issuer's TLS is verified."),
    key<&W::addresses, ranges_rule>("addresses", "Private address ranges where the issuer may be."),
    key<&W::timeout, issuer_timeouts_rule>("timeout", "When a call of the issuer is given up."),
};

constexpr Key<WrittenOverlap> overlap_map_keys[] = {
    key<&WrittenOverlap::secret, secret_rule>("secret", "The secret before the last rotation.", Presence::required),
};
constexpr MapRule<WrittenOverlap> overlap_rule{
    .name = "overlap",
    .doc = "While a secret is rotated: the one before is tried when the new one is refused, by the vendor, or a "
           "client_secret by its issuer.",
    .keys = overlap_map_keys,
    .private_values = true,
};
constexpr Key<W> overlap_keys[] = {
    key<&W::overlap, overlap_rule>("overlap", "The secret before: {secret: {file: /run/secrets/old}}."),
};

/// `require` promises something only together with `placeholder`.
void check_placeholder(Reader& reader, const Place& at, W& written) {
    if (written.require && written.require->value && at.node.find("placeholder") == Node::npos)
        reader.fault_of_key(at, "require", "nothing to require",
                            "write `placeholder`, what requests have to hold, or leave this out");
}

bool has(const Place& at, std::string_view name) {
    return at.node.find(name) != Node::npos;
}

/// `name` makes no sense here.
void refuse(Reader& reader, const Place& at, std::string_view name, const std::string& what, const std::string& why) {
    if (has(at, name)) reader.fault_of_key(at, name, what, why);
}

void miss(Reader& reader, const Place& at, const std::string& what, const std::string& why) {
    reader.key_fault(at, what + " is missing" + at.in_path() + ": " + why);
}

// ---- bearer, api_key, basic

constexpr std::string_view reading_keys[] = {"refresh_before", "tls", "addresses", "timeout"};
constexpr RefusedKeys only_read{
    reading_keys, "its value is read, not fetched (of a {vault: ...} the credential of type vault says it)"};

constexpr Key<W> bearer_own[] = {
    type_key<CredentialType::bearer>("A token in a header (RFC 6750)."),
    key<&W::value, secret_rule>("value", "The token.", Presence::required),
};
constexpr auto bearer_keys = joined(bearer_own, header_keys, placeholder_keys, refused_keys, overlap_keys, eager_keys);

constexpr Key<W> api_key_own[] = {
    type_key<CredentialType::api_key>("A key in a header or a query parameter."),
    key<&W::value, secret_rule>("value", "The key.", Presence::required),
    key<&W::header, header_name>("header", "The header that carries it; this or `query`."),
    key<&W::query, query_name>("query", "The query parameter that carries it; this or `header`."),
    key<&W::prefix, prefix_rule>("prefix", "What stands before it; default nothing."),
};
constexpr auto api_key_keys = joined(api_key_own, placeholder_keys, refused_keys, overlap_keys, eager_keys);

constexpr Key<W> basic_own[] = {
    type_key<CredentialType::basic>("A user's name and password (RFC 7617)."),
    key<&W::username, user_rule>("username", "The user's name, or a reference to it.", Presence::required),
    key<&W::password, secret_rule>("password", "The password.", Presence::required),
};
constexpr auto basic_keys = joined(basic_own, placeholder_keys, refused_keys, overlap_keys, eager_keys);
constexpr std::string_view basic_elsewhere[] = {"header", "prefix"};

void check_api_key(Reader& reader, const Place& at, W& written) {
    check_placeholder(reader, at, written);
    const bool header = has(at, "header"), query = has(at, "query");
    if (header && query)
        reader.fault_of_key(at, "query", "a second place for the key", "it goes into `header` or into `query`");
    if (!header && !query) reader.key_fault(at, "'header' or 'query' is missing" + at.in_path());
}
void amend_api_key(boost::json::object& shape) {
    shape["oneOf"] = boost::json::array{boost::json::object{{"required", boost::json::array{"header"}}},
                                        boost::json::object{{"required", boost::json::array{"query"}}}};
}

// ---- what is fetched

constexpr std::string_view overlap_key[] = {"overlap"};
constexpr RefusedKeys no_overlap{
    overlap_key, "what is fetched has no secret before it; only a client_secret has one"};

// ---- OAuth 2

/// Parameters that Sluice writes itself, and what is written instead.
constexpr std::string_view own_params[] = {"grant_type",
                                           "client_id",
                                           "client_secret",
                                           "client_assertion",
                                           "client_assertion_type",
                                           "assertion",
                                           "scope",
                                           "audience",
                                           "resource",
                                           "refresh_token",
                                           "subject_token",
                                           "subject_token_type",
                                           "actor_token",
                                           "actor_token_type",
                                           "requested_token_type"};

std::string judge_param(std::string_view name) {
    const std::string word = to_lower(name);
    if (std::find(std::begin(own_params), std::end(own_params), word) != std::end(own_params))
        return "Sluice writes it itself, from the keys of the credential";
    for (const char* secret : {"secret", "password", "assertion"})
        if (word.find(secret) != word.npos) return "params are shown, and hold no secrets";
    if (!name.empty() && name.size() <= 128 && all_printable(name)) return {};
    return "it is 1 to 128 printable ASCII characters";
}
constexpr NameForm param_names{"a parameter's name", "^[ -~]+$", judge_param};
constexpr NamedRule<long_line, param_names> params_map{"a map of parameters"};

struct ParamsRule {
    using Value = W::Pairs;
    std::optional<Value> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::map)
            for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2)
                if (!judge_param(at.node.items[i]->text).empty()) reader.mask(*at.node.items[i + 1]);
        return params_map.read(reader, at);
    }
    boost::json::object describe(Schema& schema) const { return params_map.describe(schema); }
};
constexpr ParamsRule params_rule;

using Auth = ClientAuthSpec::Kind;
constexpr WordsRule<Auth, 5> client_auth_words{{{"client_secret_basic", Auth::secret_basic},
                                                {"client_secret_post", Auth::secret_post},
                                                {"private_key_jwt", Auth::private_key_jwt},
                                                {"tls_client_auth", Auth::tls},
                                                {"none", Auth::none}}};
/// A text each, as it stands in a token's head.
constexpr WordsRule<std::string_view, 8> alg_words{{{"RS256", "RS256"},
                                                    {"RS384", "RS384"},
                                                    {"RS512", "RS512"},
                                                    {"PS256", "PS256"},
                                                    {"ES256", "ES256"},
                                                    {"ES384", "ES384"},
                                                    {"ES512", "ES512"},
                                                    {"EdDSA", "EdDSA"}}};
struct AlgRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const {
        const auto word = alg_words.read(reader, at);
        if (!word) return {};
        return std::string(*word);
    }
    boost::json::object describe(Schema& schema) const { return alg_words.describe(schema); }
};
constexpr AlgRule alg_rule;
constexpr ListRule<long_line> resources_rule{"a list of resources", 1, 16, "16 are the most"};

constexpr Key<W> client_keys[] = {
    key<&W::token_url, issuer_resource_url>("token_url", "The token endpoint: https://auth.pay.example/oauth/token.",
                                            Presence::required),
    key<&W::client_auth, client_auth_words>(
        "client_auth",
        "How the client shows who it is: client_secret_basic (default with `client_secret`), client_secret_post, "
        "private_key_jwt (default with `key`), tls_client_auth (default with `tls.client`) or none."),
    key<&W::client_id, long_line>("client_id", "The client's name at the token endpoint."),
    key<&W::client_secret, secret_rule>("client_secret", "Its secret."),
    key<&W::key, secret_rule>("key", "Or the private key that signs its assertions, PEM (RFC 7523)."),
    key<&W::kid, long_line>("kid", "The key's name in the head of what it signs."),
    key<&W::alg, alg_rule>("alg", "The signature; default by the key: RS256, ES256 ..."),
    key<&W::scope, scopes_rule>("scope", "What the token is to be good for."),
    key<&W::audience, long_line>("audience", "Whom the token is meant for."),
    key<&W::resource, resources_rule>("resource", "Where the token is to be used (RFC 8707)."),
    key<&W::params, params_rule>("params", "More parameters of the token request, by name."),
};
constexpr Key<W> client_credentials_own[] = {
    type_key<CredentialType::oauth2_client_credentials>("A token for the client itself (RFC 6749 4.4)."),
};
constexpr auto client_credentials_keys =
    joined(client_credentials_own, client_keys, header_keys, placeholder_keys, renewal_keys, refused_keys, overlap_keys,
           issuer_keys);
constexpr Key<W> refresh_token_own[] = {
    type_key<CredentialType::oauth2_refresh_token>("A token by a refresh token (RFC 6749 6)."),
    key<&W::refresh_token, secret_rule>("refresh_token",
                                        "The first one; the one that the issuer gives in its place is kept in `state`.",
                                        Presence::required),
};
constexpr auto refresh_token_keys =
    joined(refresh_token_own, client_keys, header_keys, placeholder_keys, renewal_keys, refused_keys, overlap_keys,
           issuer_keys);
constexpr Key<W> token_exchange_own[] = {
    type_key<CredentialType::oauth2_token_exchange>("One token for another (RFC 8693)."),
    key<&W::subject_token, secret_rule>("subject_token", "The token of whom it is about.", Presence::required),
    key<&W::subject_token_type, token_type>("subject_token_type",
                                            "access_token (default), jwt, id_token ... or a URI."),
    key<&W::actor_token, secret_rule>("actor_token", "The token of who acts for them."),
    key<&W::actor_token_type, token_type>("actor_token_type", "access_token (default), jwt, id_token ... or a URI."),
    key<&W::requested_token_type, token_type>("requested_token_type", "What is wanted; default the issuer's choice."),
};
constexpr auto token_exchange_keys =
    joined(token_exchange_own, client_keys, header_keys, placeholder_keys, renewal_keys, refused_keys, overlap_keys,
           issuer_keys);

/// What `client_auth` needs, and what it has no use for.
void check_client_auth(Reader& reader, const Place& at, Auth auth) {
    const bool secret = auth == Auth::secret_basic || auth == Auth::secret_post;
    const std::string word(at.node.items[at.node.find("client_auth") + 1]->text);
    if (secret && !has(at, "client_secret"))
        miss(reader, at, "'client_secret'", word + " shows the token endpoint a secret");
    if (auth == Auth::private_key_jwt && !has(at, "key"))
        miss(reader, at, "'key'", word + " signs an assertion with a private key");
    const bool certificate = has(at, "tls") && at.at_key("tls").node.find("client") != Node::npos;
    if (auth == Auth::tls && !certificate)
        miss(reader, at, "'tls.client'", word + " shows the token endpoint a certificate");
    if (!secret) refuse(reader, at, "client_secret", "a secret that is not used", "client_auth is " + word);
    if (auth != Auth::private_key_jwt) refuse(reader, at, "key", "a key that is not used", "client_auth is " + word);
}

void check_client(Reader& reader, const Place& at, W& written, bool may_be_nobody) {
    check_placeholder(reader, at, written);
    const bool secret = has(at, "client_secret"), key = has(at, "key");
    const bool certificate = has(at, "tls") && at.at_key("tls").node.find("client") != Node::npos;
    if (written.client_auth) {
        check_client_auth(reader, at, written.client_auth->value);
    } else if (has(at, "client_auth")) {
        return;  // reported
    } else if (secret && key) {
        reader.fault_of_key(at, "key", "beside `client_secret` it is not clear which is meant",
                            "write client_auth: client_secret_basic or private_key_jwt, and leave the other out");
    } else if (!secret && !key && !certificate && !may_be_nobody) {
        miss(reader, at, "'client_secret'",
             "a token endpoint wants to know who asks: write it, `key`, `tls.client`, or client_auth: none");
    }
    if (!secret) refuse(reader, at, "overlap", "a secret before it", "only a client_secret has one");
    const bool nobody = may_be_nobody && !secret && !key && !certificate;
    if (!has(at, "client_id") && !nobody) reader.key_fault(at, "'client_id' is missing" + at.in_path());
    if (!key)
        for (const char* name : {"kid", "alg"})
            refuse(reader, at, name, "no `key` that it could be about", "write `key`");
}
void check_client_credentials(Reader& reader, const Place& at, W& written) {
    check_client(reader, at, written, false);
}
void check_refresh_token(Reader& reader, const Place& at, W& written) {
    check_client(reader, at, written, true);
    if (!has(at, "client_id") && !has(at, "client_secret") && !has(at, "key"))
        reader.key_fault(at, "'client_id' is missing" + at.in_path());
}
void check_token_exchange(Reader& reader, const Place& at, W& written) {
    check_client(reader, at, written, true);
    if (!has(at, "actor_token"))
        refuse(reader, at, "actor_token_type", "a type without its token", "write `actor_token` too");
}

constexpr std::string_view own_claims[] = {"iss", "sub", "aud", "exp", "iat", "nbf", "jti"};
struct ClaimsRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const {
        if (!reader.expect(Node::Kind::map, at, "a map of claims")) return {};
        bool sound = true;
        for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2) {
            const Node& name = *at.node.items[i];
            if (std::find(std::begin(own_claims), std::end(own_claims), name.text) == std::end(own_claims)) continue;
            sound = false;
            reader.key_fault({*at.node.items[i + 1], &at, name.text, 0, &name},
                             "claim " + shown(name.text) + at.in_path() +
                                 " is Sluice's own: it comes from `issuer`, `subject`, `audience`, `lifetime` and the "
                                 "time");
        }
        return sound ? read_json(reader, at) : std::nullopt;
    }
    boost::json::object describe(Schema&) const {
        boost::json::array names;
        for (const auto name : own_claims) names.push_back(boost::json::value(name));
        return {{"type", "object"},
                {"propertyNames", boost::json::object{{"not", boost::json::object{{"enum", std::move(names)}}}}}};
    }
};
constexpr ClaimsRule claims_rule;

constexpr ScalarRule<Duration> assertion_lifetime{"a duration", "5m", duration_pattern,
                                                  parse_between<10 * in_ms::second, 12 * in_ms::hour>, true};
constexpr Key<W> jwt_bearer_own[] = {
    type_key<CredentialType::oauth2_jwt_bearer>("A token for an assertion that Sluice signs (RFC 7523 2.1)."),
    key<&W::token_url, issuer_resource_url>("token_url", "The token endpoint: https://auth.pay.example/oauth/token.",
                                            Presence::required),
    key<&W::key, secret_rule>("key", "The private key that signs the assertion, PEM.", Presence::required),
    key<&W::kid, long_line>("kid", "The key's name in the assertion's head."),
    key<&W::alg, alg_rule>("alg", "The signature; default by the key: RS256, ES256 ..."),
    key<&W::issuer, long_line>("issuer", "Who signs: the claim iss.", Presence::required),
    key<&W::subject, long_line>("subject", "For whom: the claim sub; default the issuer."),
    key<&W::audience, long_line>("audience", "The claim aud; default the token endpoint."),
    key<&W::lifetime, assertion_lifetime>("lifetime", "Of the assertion; default 5m."),
    key<&W::claims, claims_rule>("claims", "More claims, by name: any values."),
    key<&W::scope, scopes_rule>("scope", "What the token is to be good for."),
    key<&W::params, params_rule>("params", "More parameters of the token request, by name."),
};
constexpr auto jwt_bearer_keys =
    joined(jwt_bearer_own, header_keys, placeholder_keys, renewal_keys, refused_keys, issuer_keys);

// ---- clouds

using AwsSource = AwsSpec::Source;
constexpr WordsRule<AwsSource, 6> aws_sources{{{"auto", AwsSource::automatic},
                                               {"environment", AwsSource::environment},
                                               {"file", AwsSource::file},
                                               {"web_identity", AwsSource::web_identity},
                                               {"container", AwsSource::container},
                                               {"imds", AwsSource::imds}}};
constexpr ScalarRule<std::string> arn_rule{"the ARN of a role", "arn:aws:iam::123456789012:role/reports", "arn:.+",
                                           parse_arn};
constexpr ScalarRule<std::string> session_name{"a session's name", "sluice", "[A-Za-z0-9_=,.@-]{2,64}",
                                               parse_session_name};
constexpr ScalarRule<Duration> session_time{"a duration", "1h", duration_pattern,
                                            parse_between<15 * in_ms::minute, 12 * in_ms::hour>, true};
constexpr Key<WrittenAssumeRole> assume_role_keys[] = {
    key<&WrittenAssumeRole::arn, arn_rule>("arn", "The role.", Presence::required),
    key<&WrittenAssumeRole::session_name, session_name>("session_name",
                                                        "What CloudTrail shows of who it is; default sluice."),
    key<&WrittenAssumeRole::external_id, long_line>("external_id", "What the role's owner agreed on."),
    key<&WrittenAssumeRole::duration, session_time>("duration", "Of the session; default 1h."),
};
constexpr MapRule<WrittenAssumeRole> assume_role_map{"assume_role", "A role of AWS to take on.", assume_role_keys};
constexpr ListRule<assume_role_map> assume_roles{"a list of roles", 1, 8, "8 are the most"};

struct AssumeRoleRule {
    using Value = std::vector<Written<WrittenAssumeRole>>;
    std::optional<Value> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::sequence) return assume_roles.read(reader, at);
        if (!reader.expect(Node::Kind::map, at, "a role or a list of roles")) return {};
        auto one = assume_role_map.read(reader, at);
        if (!one) return {};
        return Value{{std::move(*one), &at.node}};
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{assume_role_map.describe(schema), assume_roles.describe(schema)}}};
    }
};
constexpr AssumeRoleRule assume_role_rule;

constexpr ScalarRule<std::uint64_t> body_size{"a size", "16MiB", "[0-9]+([kKMG]i?)?B",
                                              parse_size_between<1, (64u << 20)>, true};
constexpr Key<W> aws_own[] = {
    type_key<CredentialType::aws_sigv4>("Requests are signed for AWS (Signature Version 4)."),
    key<&W::region, id_rule>("region", "The region that is signed for: eu-central-1.", Presence::required),
    key<&W::service, id_rule>("service", "The service that is signed for, as AWS calls it in signatures: s3, bedrock.",
                              Presence::required),
    key<&W::aws_source, aws_sources>("source",
                                     "Where the keys come from; default auto: the first of environment, file, "
                                     "web_identity, container and imds that has any."),
    key<&W::profile, long_line>("profile", "Of the shared files; default AWS_PROFILE, else default."),
    key<&W::assume_role, assume_role_rule>("assume_role", "A role to take on, or a list: one after the other."),
    key<&W::sts_url, issuer_base_url>("sts_url", "Where STS is; default the region's own."),
    key<&W::max_body, body_size>(
        "max_body", "Of a request whose body has to be hashed before it is sent; default 16MiB. S3's need not be."),
};
constexpr auto aws_keys = joined(aws_own, renewal_keys, refused_keys, issuer_keys);
constexpr std::string_view signed_keys[] = {"header", "prefix", "placeholder", "require", "overlap"};
constexpr RefusedKeys is_signed{
    signed_keys,
    "each request is signed: no value is put anywhere, and what the application signed with "
    "keys of its own making is replaced"};

void check_aws(Reader& reader, const Place& at, W& written) {
    if (!written.aws_source) return;
    const AwsSource source = written.aws_source->value;
    if (source != AwsSource::file && source != AwsSource::automatic)
        refuse(reader, at, "profile", "a profile that is not used", "only source: file (or auto) reads profiles");
}

using GcpSource = GcpSpec::Source;
constexpr WordsRule<GcpSource, 3> gcp_sources{{{"service_account", GcpSource::service_account},
                                               {"external_account", GcpSource::external_account},
                                               {"metadata", GcpSource::metadata}}};
constexpr ScalarRule<std::string> email_rule{"a service account", "name@project.iam.gserviceaccount.com",
                                             "[^@ ]+@[^@ ]+", parse_email};
constexpr ScalarRule<Duration> hour_rule{"a duration", "1h", duration_pattern,
                                         parse_between<in_ms::minute, in_ms::hour>, true};
constexpr Key<W> gcp_own[] = {
    type_key<CredentialType::gcp>("A token of Google Cloud."),
    key<&W::gcp_source, gcp_sources>(
        "source",
        "service_account (default): a key file; external_account: workload identity federation; metadata: the "
        "machine's own account."),
    key<&W::key, secret_rule>("key", "The JSON file that Google gave out for it."),
    key<&W::scope, scopes_rule>("scope", "Of an access token: https://www.googleapis.com/auth/cloud-platform."),
    key<&W::audience, long_line>("audience", "Instead of `scope`: an ID token for this audience."),
    key<&W::impersonate, email_rule>("impersonate", "Another service account that the token is for."),
    key<&W::lifetime, hour_rule>("lifetime", "Of an impersonated token; default 1h, the most."),
};
constexpr auto gcp_keys = joined(gcp_own, header_keys, placeholder_keys, renewal_keys, refused_keys, issuer_keys);

void check_gcp(Reader& reader, const Place& at, W& written) {
    check_placeholder(reader, at, written);
    const bool metadata = written.gcp_source && written.gcp_source->value == GcpSource::metadata;
    if (has(at, "scope"))
        refuse(reader, at, "audience", "beside `scope` it is not clear which token is meant",
               "`scope` is for an access token, `audience` for an ID token");
    else if (!has(at, "audience") && !metadata)
        miss(reader, at, "'scope' or 'audience'", "an access token has scopes, an ID token an audience");
    if (metadata)
        refuse(reader, at, "key", "a key that is not used", "the metadata server needs none");
    else if (!has(at, "key"))
        miss(reader, at, "'key'", "the JSON file that Google gave out, or source: metadata");
    if (!has(at, "impersonate"))
        refuse(reader, at, "lifetime", "a lifetime that Google does not ask for", "only with `impersonate` it does");
}

constexpr ScalarRule<std::string> authority_host_rule{"an authority's URL", "https://login.microsoftonline.com",
                                                      "https://[^?# @]+", parse_authority_host};
constexpr Key<W> azure_own[] = {
    type_key<CredentialType::azure_workload_identity>("A token of Entra ID for a federated workload."),
    key<&W::azure_scope, scope_rule>("scope", "One, with /.default: https://vault.azure.net/.default.",
                                     Presence::required),
    key<&W::tenant, id_rule>("tenant", "Default AZURE_TENANT_ID."),
    key<&W::client_id, id_rule>("client_id", "Default AZURE_CLIENT_ID."),
    key<&W::token_file, file_name>("token_file",
                                   "The path of the projected token; default AZURE_FEDERATED_TOKEN_FILE."),
    key<&W::authority_host, authority_host_rule>(
        "authority_host", "Default AZURE_AUTHORITY_HOST, else https://login.microsoftonline.com."),
};
constexpr auto azure_keys = joined(azure_own, header_keys, placeholder_keys, renewal_keys, refused_keys, issuer_keys);

// ---- github_app

constexpr WordsRule<std::string_view, 3> access_words{{{"read", "read"}, {"write", "write"}, {"admin", "admin"}}};
struct AccessRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const {
        const auto word = access_words.read(reader, at);
        if (!word) return {};
        return std::string(*word);
    }
    boost::json::object describe(Schema& schema) const { return access_words.describe(schema); }
};
constexpr AccessRule access_rule;
constexpr ScalarRule<std::string> repository_rule{"a repository", "web", "[A-Za-z0-9._-]+", parse_repository, true};
constexpr ListRule<repository_rule> repositories_rule{"a list of repositories", 1, 500, "500 are the most"};
constexpr NamedRule<access_rule, permission_names> permissions_rule{"a map of permissions"};
constexpr Key<W> github_own[] = {
    type_key<CredentialType::github_app>("A token of an installation of a GitHub App."),
    key<&W::app_id, id_rule>("app_id", "The App's ID, or its client ID.", Presence::required),
    key<&W::installation_id, number_rule>("installation_id", "The installation's number.", Presence::required),
    key<&W::key, secret_rule>("key", "The App's private key, PEM.", Presence::required),
    key<&W::api_url, issuer_base_url>("api_url", "Of GitHub Enterprise: https://github.corp.example/api/v3."),
    key<&W::repositories, repositories_rule>("repositories",
                                             "Only these, by name without the owner; default all of the installation."),
    key<&W::permissions, permissions_rule>("permissions",
                                           "Only these: {contents: read}; default all of the installation."),
};
constexpr auto github_keys = joined(github_own, header_keys, placeholder_keys, renewal_keys, refused_keys, issuer_keys);

// ---- vault

constexpr Key<WrittenVaultLogin> kubernetes_keys[] = {
    key<&WrittenVaultLogin::role, long_line>("role", "The role in Vault.", Presence::required),
    key<&WrittenVaultLogin::secret, secret_rule>(
        "token", "The service account's token; default {file: /var/run/secrets/kubernetes.io/serviceaccount/token}."),
    key<&WrittenVaultLogin::mount, mount_rule>("mount", "Where the method is mounted; default kubernetes."),
};
constexpr Key<WrittenVaultLogin> jwt_keys[] = {
    key<&WrittenVaultLogin::role, long_line>("role", "The role in Vault.", Presence::required),
    key<&WrittenVaultLogin::secret, secret_rule>("token", "The JWT.", Presence::required),
    key<&WrittenVaultLogin::mount, mount_rule>("mount", "Where the method is mounted; default jwt."),
};
constexpr Key<WrittenVaultLogin> approle_keys[] = {
    key<&WrittenVaultLogin::role, long_line>("role_id", "The role's ID.", Presence::required),
    key<&WrittenVaultLogin::secret, secret_rule>("secret_id", "The secret that goes with it.", Presence::required),
    key<&WrittenVaultLogin::mount, mount_rule>("mount", "Where the method is mounted; default approle."),
};
constexpr MapRule<WrittenVaultLogin> kubernetes_rule{
    "vault_kubernetes", "By a service account of Kubernetes.", kubernetes_keys, {}, true};
constexpr MapRule<WrittenVaultLogin> jwt_rule{"vault_jwt", "By a JSON Web Token.", jwt_keys, {}, true};
constexpr MapRule<WrittenVaultLogin> approle_rule{"vault_approle", "By an AppRole.", approle_keys, {}, true};
constexpr Key<WrittenVaultAuth> vault_auth_keys[] = {
    key<&WrittenVaultAuth::token, secret_rule>("token", "A token of Vault: {file: /run/secrets/vault-token}."),
    key<&WrittenVaultAuth::kubernetes, kubernetes_rule>("kubernetes", "By a service account: {role: sluice}."),
    key<&WrittenVaultAuth::jwt, jwt_rule>("jwt", "By a JSON Web Token: {role: sluice, token: {file: ...}}."),
    key<&WrittenVaultAuth::approle, approle_rule>("approle", "By an AppRole: {role_id: ..., secret_id: {file: ...}}."),
};
void check_vault_auth(Reader& reader, const Place& at, WrittenVaultAuth&) {
    std::size_t ways = 0;
    for (const auto& known : vault_auth_keys) ways += has(at, known.name);
    if (ways != 1)
        reader.fault(at, ways == 0 ? "no way to log in" : "more than one way to log in",
                     "write one of token, kubernetes, jwt and approle");
}
void amend_vault_auth(boost::json::object& shape) {
    shape["minProperties"] = shape["maxProperties"] = 1;
}
constexpr MapRule<WrittenVaultAuth> vault_auth_rule{.name = "vault_auth",
                                                    .doc = "How to log in to Vault: one way.",
                                                    .keys = vault_auth_keys,
                                                    .private_values = true,
                                                    .check = check_vault_auth,
                                                    .amend = amend_vault_auth};

constexpr Key<W> vault_own[] = {
    type_key<CredentialType::vault>("A secret of Vault or OpenBao; without `path` a login for {vault: ...} elsewhere."),
    key<&W::address, issuer_base_url>("address", "https://vault.corp.example:8200", Presence::required),
    key<&W::auth, vault_auth_rule>("auth", "How to log in.", Presence::required),
    key<&W::name_space, vault_path>("namespace", "Of Vault Enterprise: team/pay."),
    key<&W::path, vault_path>(
        "path", "As in the API: kv/data/llm of a KV store, database/creds/reader of what is made to order."),
    key<&W::field, vault_field>("field", "Which of its values is attached; this or the two below."),
    key<&W::username_field, vault_field>("username_field", "The value that is the user's name (RFC 7617)."),
    key<&W::password_field, vault_field>("password_field", "The value that is the password."),
};
constexpr auto vault_keys =
    joined(vault_own, header_keys, placeholder_keys, renewal_keys, refused_keys, overlap_keys, issuer_keys);

/// What Vault is shown cannot come out of a Vault. One rule for whoever reads by way of it: no other errand than its own
/// knows more of it than its TLS rules.
void check_vault_tls(Reader& reader, const Place& at, const W& written) {
    if (!written.tls || !written.tls->value.client) return;
    const WrittenClientPair& pair = written.tls->value.client->value;
    for (const auto* source : {&pair.cert, &pair.key})
        if (*source && (*source)->value.kind != SecretSource::Kind::file)
            return reader.fault_of_key(at, "tls", "a client certificate for Vault that is in no file",
                                       "it is needed before Vault can be asked for anything; write {file: /run/secrets/x}");
}

void check_vault(Reader& reader, const Place& at, W& written) {
    check_placeholder(reader, at, written);
    check_vault_tls(reader, at, written);
    if (!has(at, "path")) {
        for (const char* name : {"field", "username_field", "password_field", "header", "prefix", "placeholder",
                                 "require", "refresh_before", "refresh_on", "overlap", "eager"})
            refuse(reader, at, name, "nothing that it could be about",
                   "without `path` this is a login for {vault: ...} elsewhere; write `path`, or leave this out");
        return;
    }
    const bool username = has(at, "username_field"), password = has(at, "password_field");
    if (has(at, "field")) {
        for (const char* name : {"username_field", "password_field"})
            refuse(reader, at, name, "beside `field` it is not clear what is meant",
                   "write `field` for a token, or `username_field` and `password_field` for Basic");
    } else if (!username && !password) {
        miss(reader, at, "'field'",
             "which value of " + shown(written.path ? written.path->value : std::string()) +
                 " is meant? Or write `username_field` and `password_field`");
    } else {
        if (!username || !password)
            miss(reader, at, username ? "'password_field'" : "'username_field'", "Basic takes both (RFC 7617)");
        for (const char* name : {"header", "prefix"})
            refuse(reader, at, name, "no place to choose",
                   "a user's name and password go into Authorization (RFC 7617)");
    }
}

// ---- exec

constexpr ListRule<argument_rule> command_rule{"a list of the program and its arguments", 1, 256, "256 are the most"};

/// Shown by `/config`: what comes from the environment may be a secret, and has a form of its own here.
struct VariableRule {
    using Value = WrittenUser;
    std::optional<WrittenUser> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::map) {
            auto source = read_secret(reader, at);
            if (!source) return {};
            return WrittenUser{{}, std::move(*source)};
        }
        if (at.node.text.find("${") != std::string::npos) {
            reader.fault(
                at, "a variable",
                "what is written here is shown; write {env: NAME}, which is read for each run and never shown");
            return {};
        }
        auto plain = argument_rule.read(reader, at);
        if (!plain) return {};
        return WrittenUser{std::move(*plain), {}};
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{argument_rule.describe(schema), describe_secret(schema)}}};
    }
};
constexpr VariableRule variable_rule;
constexpr NamedRule<variable_rule, variable_names> environment_rule{"a map of variables"};

using Format = ExecSpec::Format;
constexpr WordsRule<Format, 3> format_words{{{"exec_credential", Format::exec_credential},
                                             {"credential_process", Format::credential_process},
                                             {"docker", Format::docker}}};
constexpr ScalarRule<Duration> run_time_rule{"a duration", "10s", duration_pattern,
                                             parse_between<100, 20 * in_ms::second>, true};
constexpr Key<W> exec_own[] = {
    type_key<CredentialType::exec>("What a program prints."),
    key<&W::command, command_rule>("command", "The program, looked for in PATH, and its arguments; no shell.",
                                   Presence::required),
    key<&W::environment, environment_rule>(
        "env", "All variables that it has beside PATH and HOME: texts, or references to secrets."),
    key<&W::run_time, run_time_rule>("timeout", "When it is ended; default 10s."),
    key<&W::format, format_words>(
        "format",
        "exec_credential (default): Kubernetes' ExecCredential; credential_process: keys of AWS; docker: a helper of "
        "Docker."),
    key<&W::server, long_line>("server", "Of docker: the registry that is asked for, on its standard input."),
    key<&W::region, id_rule>("region", "Of credential_process: the region that is signed for."),
    key<&W::service, id_rule>("service", "Of credential_process: the service that is signed for."),
};
constexpr auto exec_keys = joined(exec_own, header_keys, placeholder_keys, renewal_keys, refused_keys);
constexpr std::string_view no_issuer_keys[] = {"tls", "addresses"};

void check_exec(Reader& reader, const Place& at, W& written) {
    check_placeholder(reader, at, written);
    if (written.command && !written.command->value.empty() && written.command->value.front().value.empty())
        reader.fault_of_key(at, "command", "no program", "its first entry is the program to run");
    const Format format = written.format ? written.format->value : Format::exec_credential;
    const bool process = format == Format::credential_process;
    if (format == Format::docker && !has(at, "server"))
        miss(reader, at, "'server'", "a helper of Docker is asked for the password of one registry");
    if (format != Format::docker)
        refuse(reader, at, "server", "a server that is not asked for", "only format: docker asks for one");
    for (const char* name : {"region", "service"}) {
        if (process && !has(at, name)) miss(reader, at, shown(name), "keys of AWS sign for a region and a service");
        if (!process)
            refuse(reader, at, name, "nothing to sign", "only format: credential_process gives keys that sign");
    }
    if (format == Format::docker)
        for (const char* name : {"header", "prefix"})
            refuse(reader, at, name, "no place to choose",
                   "a user's name and password go into Authorization (RFC 7617)");
    if (process)
        for (const char* name : {"header", "prefix", "placeholder", "require"})
            refuse(reader, at, name, "nothing to place", "with keys of AWS each request is signed");
}

// ---- hmac

using Algorithm = HmacSpec::Algorithm;
using Encoding = HmacSpec::Encoding;
constexpr WordsRule<Algorithm, 4> algorithm_words{{{"sha1", Algorithm::sha1},
                                                   {"sha256", Algorithm::sha256},
                                                   {"sha384", Algorithm::sha384},
                                                   {"sha512", Algorithm::sha512}}};
constexpr WordsRule<Encoding, 3> encoding_words{
    {{"hex", Encoding::hex}, {"base64", Encoding::base64}, {"base64url", Encoding::base64url}}};
constexpr NamedRule<template_rule, header_names> signed_headers{"a map of headers and templates"};
constexpr Key<W> hmac_own[] = {
    type_key<CredentialType::hmac>("Requests are signed with a secret that the vendor has too."),
    key<&W::key, secret_rule>("key", "The secret.", Presence::required),
    key<&W::string_to_sign, template_rule>(
        "string_to_sign", "A template of what is signed: \"{method}\\n{path}\\n{timestamp}\\n{body_sha256}\".",
        Presence::required),
    key<&W::algorithm, algorithm_words>("algorithm", "sha1, sha256 (default), sha384 or sha512."),
    key<&W::encoding, encoding_words>("encoding", "Of the signature: hex (default), base64 or base64url."),
    key<&W::header, header_name>("header",
                                 "The header that carries the signature; or {signature} stands in one of `headers`."),
    key<&W::prefix, prefix_rule>("prefix", "What stands before the signature; default nothing."),
    key<&W::headers, signed_headers>("headers", "Headers that are set, templates too: {X-Timestamp: \"{timestamp}\"}."),
    key<&W::max_body, body_size>("max_body", "Of a request whose body the template names; default 1MiB."),
};
constexpr auto hmac_keys = joined(hmac_own, refused_keys, overlap_keys, eager_keys);
constexpr std::string_view hmac_elsewhere[] = {"placeholder", "require"};

void check_hmac(Reader& reader, const Place& at, W& written) {
    const auto signs = [](const std::string& text) { return text.find("{signature}") != text.npos; };
    bool in_headers = false;
    std::vector<std::string> names;
    if (written.header) names.push_back(to_lower(written.header->value));
    if (written.headers)
        for (const auto& named : written.headers->value) {
            in_headers = in_headers || signs(named.value);
            const Place headers = at.at_key("headers");
            if (std::find(names.begin(), names.end(), to_lower(named.name)) != names.end())
                reader.key_fault({*named.key, &headers, named.name, 0, named.key},
                                 "header " + shown(named.name) + headers.in_path() + " is there already");
            names.push_back(to_lower(named.name));
        }
    const auto wrong = [](const std::string& text, HmacTemplate::Use use) {
        std::string why;
        return HmacTemplate::compile(text, use, why) ? std::string() : why;
    };
    if (written.headers)
        for (const auto& named : written.headers->value)
            if (const std::string why = wrong(named.value, HmacTemplate::Use::header_value); !why.empty()) {
                const Place headers = at.at_key("headers");
                reader.key_fault({*named.key, &headers, named.name, 0, named.key},
                                 "the template of header " + shown(named.name) + headers.in_path() + ": " + why);
            }
    const bool signs_itself = written.string_to_sign && signs(written.string_to_sign->value);
    if (written.string_to_sign && !signs_itself)
        if (const std::string why = wrong(written.string_to_sign->value, HmacTemplate::Use::string_to_sign); !why.empty())
            reader.fault_of_key(at, "string_to_sign", "a template that cannot be read", why);
    if (signs_itself)
        reader.fault_of_key(at, "string_to_sign", "{signature} has no value yet", "it is made of this very string");
    if (!has(at, "header") && !in_headers)
        miss(reader, at, "'header'", "something has to carry the signature (or write {signature} in one of `headers`)");
    if (has(at, "header") && in_headers)
        reader.fault_of_key(at, "header", "a second place for the signature",
                            "one of `headers` has {signature} already");
    if (!has(at, "header"))
        refuse(reader, at, "prefix", "nothing that it could stand before",
               "it belongs to `header`; write it into `headers`");
}

// ---- mtls

constexpr Key<W> mtls_own[] = {
    type_key<CredentialType::mtls>("The vendor's TLS client certificate."),
    key<&W::cert, secret_rule>("cert", "The certificate and its chain, PEM; read again when it changes.",
                               Presence::required),
    key<&W::key, secret_rule>("key", "Its private key, PEM.", Presence::required),
};
constexpr std::string_view mtls_elsewhere[] = {"header",     "prefix",         "placeholder", "require", "overlap",
                                               "refresh_on", "refresh_before", "eager",       "tls"};

// ---- all of them

constexpr RefusedKeys basic_place{basic_elsewhere, "it goes into Authorization (RFC 7617)"};
constexpr RefusedKeys no_issuer{no_issuer_keys, "nothing is called: a program is run"};
constexpr RefusedKeys hmac_signs{hmac_elsewhere,
                                 "each request is signed: there is no value that could stand in its place"};
constexpr RefusedKeys on_connection{
    mtls_elsewhere, "nothing is put into a request: the certificate is shown when the connection is made"};

constexpr MapRule<W> credential_maps[] = {
    {"bearer", "A bearer token.", bearer_keys, only_read, true, check_placeholder},
    {"api_key", "An API key.", api_key_keys, only_read, true, check_api_key, amend_api_key},
    {"basic", "Basic authentication.", basic_keys, only_read, true, check_placeholder, nullptr, basic_place},
    {"oauth2_client_credentials", "OAuth 2: a client by itself.", client_credentials_keys, {}, true,
     check_client_credentials},
    {"oauth2_refresh_token", "OAuth 2: a refresh token.", refresh_token_keys, {}, true, check_refresh_token},
    {"oauth2_token_exchange", "OAuth 2: a token for a token.", token_exchange_keys, {}, true,
     check_token_exchange},
    {"oauth2_jwt_bearer", "OAuth 2: an assertion.", jwt_bearer_keys, no_overlap, true, check_placeholder},
    {"aws_sigv4", "AWS.", aws_keys, is_signed, true, check_aws},
    {"gcp", "Google Cloud.", gcp_keys, no_overlap, true, check_gcp},
    {"azure_workload_identity", "Azure.", azure_keys, no_overlap, true, check_placeholder},
    {"github_app", "A GitHub App.", github_keys, no_overlap, true, check_placeholder},
    {"vault", "Vault or OpenBao.", vault_keys, {}, true, check_vault},
    {"exec", "A program.", exec_keys, no_issuer, true, check_exec, nullptr, no_overlap},
    {"hmac", "A signature of one's own making.", hmac_keys, only_read, true, check_hmac, nullptr, hmac_signs},
    {"mtls", "A client certificate.", mtls_own, on_connection, true},
};
static_assert(std::size(credential_maps) == std::size(type_names));

/// Which keys a credential has depends on its type.
struct CredentialRule {
    using Value = W;

    std::optional<W> read(Reader& reader, const Place& at) const {
        if (!reader.expect(Node::Kind::map, at, "a map")) {
            reader.mask(at.node);
            return {};
        }
        if (const auto type = read_type(reader, at)) return credential_maps[*type].read(reader, at);
        mask_private(reader, at.node);
        return {};
    }

    boost::json::object describe(Schema& schema) const {
        return schema.refer("credential", [&] {
            boost::json::array types;
            for (const auto& map : credential_maps) types.push_back(map.describe(schema));
            return boost::json::object{{"oneOf", std::move(types)}};
        });
    }

  private:
    static std::optional<std::size_t> read_type(Reader& reader, const Place& at) {
        if (!has(at, "type")) {
            std::string names;
            for (const auto name : type_names)
                names += (names.empty() ? "" : name == std::end(type_names)[-1] ? " or " : ", ") + std::string(name);
            reader.key_fault(at, "'type' is missing" + at.in_path() + ": " + names);
            return {};
        }
        const Place here = at.at_key("type");
        if (here.node.text.find("${") != std::string::npos) {
            reader.fault(here, "a variable", "which keys a credential has depends on its type: write the type itself");
            return {};
        }
        const int found = read_word(reader, here, type_names);
        if (found < 0) return {};
        return static_cast<std::size_t>(found);
    }

    /// Of a credential whose type is not known only what is never a secret is shown.
    static void mask_private(Reader& reader, const Node& map) {
        static constexpr std::string_view public_keys[] = {"type", "header", "query", "prefix", "eager"};
        for (std::size_t i = 0; i + 1 < map.items.size(); i += 2)
            if (std::find(std::begin(public_keys), std::end(public_keys), map.items[i]->text) == std::end(public_keys))
                reader.mask(*map.items[i + 1]);
    }
};
constexpr CredentialRule credential_rule;
constexpr NamedRule<credential_rule, credential_names> credentials_map{"a map of credentials by name"};

}  // namespace

std::optional<WrittenCredentials> read_credentials(Reader& reader, const Place& at) {
    return credentials_map.read(reader, at);
}
boost::json::object describe_credentials(Schema& schema) {
    return credentials_map.describe(schema);
}

std::span<const std::string_view> credential_types() {
    return type_names;
}

}  // namespace sluice
