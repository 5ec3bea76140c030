#include "config/written.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "config/forms.hpp"
#include "config/resilience.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {
namespace {

// ---- forms of text

std::optional<std::string> parse_any_duration(const std::string& text, std::string& why) {
    if (parse_duration(text)) return text;
    why = "write it as 800ms, 15m or 30d";
    return {};
}

std::optional<std::string> parse_ratio(const std::string& text, std::string& why) {
    if (parse_percent(text)) return text;
    why = core_type(text) == CoreType::text ? "write it as 99.95%" : "it has no unit (did you mean '" + text + "%'?)";
    return {};
}

std::optional<std::string> parse_own_path(const std::string& text, std::string& why) {
    if (text.empty())
        why = "it is empty";
    else if (text.starts_with('~'))
        why = "only a shell knows what '~' is: write ${HOME} instead";
    else if (text.size() > 4095 || text.find('\0') != text.npos)
        why = "it is too long, or holds a NUL";
    else
        return text;
    return {};
}

std::optional<std::string> parse_file_name(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 4095 && text.find('\0') == text.npos) return text;
    why = text.empty() ? "it is empty" : "it is too long, or holds a NUL";
    return {};
}

std::optional<std::string> parse_variable_name(const std::string& text, std::string& why) {
    const auto fits = [](char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || is_digit(c); };
    if (!text.empty() && text.size() <= 256 && !is_digit(text.front()) && std::all_of(text.begin(), text.end(), fits))
        return text;
    why = "it takes the name alone, of letters, digits and '_'";
    return {};
}

std::optional<ListenAddress> parse_listen_address(const std::string& text, std::string& why) {
    const auto colon = text.rfind(':');
    const std::string_view digits =
        colon == text.npos ? std::string_view{text} : std::string_view{text}.substr(colon + 1);
    const auto port = digits.size() <= 5 ? parse_decimal(digits) : std::nullopt;
    if (colon == text.npos || colon == 0) {
        why = port ? "it has no address (did you mean '127.0.0.1:" + std::string(digits) + "'?)" : "it has no port";
        return {};
    }
    if (!port || *port > 65535) {
        why = "its port is not a number from 0 to 65535";
        return {};
    }
    std::string_view host = std::string_view{text}.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = parse_address(host);
    if (address && address->v6 == bracketed) return ListenAddress{*address, static_cast<std::uint16_t>(*port)};
    if (address && address->v6)
        why = "an IPv6 address goes in brackets (did you mean '[" + std::string(host) + "]:" + std::string(digits) +
              "'?)";
    else if (same_text(host, "localhost"))
        why = "a listener takes an address, not a name (did you mean '127.0.0.1:" + std::string(digits) + "'?)";
    else
        why = "what stands before its port is not an IP address";
    return {};
}

std::optional<std::string> parse_no_proxy(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 256 && all_printable(text) && text.find_first_of(" ,;\"'$`\\") == text.npos)
        return text;
    why = "one host, .suffix, address or range an entry";
    return {};
}

std::optional<HostPattern> parse_host(const std::string& text, std::string& why) {
    if (auto pattern = parse_host_pattern(text)) return pattern;
    if (const auto scheme = text.find("://"); scheme != text.npos) {
        std::string_view host = std::string_view{text}.substr(scheme + 3);
        host = host.substr(0, host.find('/'));
        why = "a host is not a URL" +
              (parse_host_pattern(host) ? " (did you mean '" + std::string(host) + "'?)" : std::string());
    } else if (text.find('/') != text.npos) {
        why = "a host has no path: say with `allow` and `deny` which paths are meant";
    } else if (text.find('*') != text.npos) {
        why = "a '*' can only stand for leading labels, as in *.pay.example";
    } else {
        why = "write a name or an address, with a port where it is not 443 or 80";
    }
    return {};
}

std::optional<RequestPattern> parse_request(const std::string& text, std::string& why) {
    auto pattern = parse_request_pattern(text, why);
    if (!pattern) why = about_it(text, why);
    return pattern;
}
std::optional<AddressRange> parse_address_range(const std::string& text, std::string& why) {
    auto range = parse_range(text, why);
    if (!range) why = about_it(text, why);
    return range;
}

std::optional<std::string> parse_pin(const std::string& text, std::string& why) {
    // SHA-256 is 32 bytes: 43 characters of base64 and one '='.
    constexpr std::string_view lead = "sha256/";
    std::array<unsigned char, 33> bytes{};
    why = "write sha256/ and the base64 of the 32 bytes of the SHA-256 of a certificate's SubjectPublicKeyInfo";
    if (!text.starts_with(lead) || text.size() != lead.size() + 44) return {};
    const std::string_view body = std::string_view{text}.substr(lead.size());
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (body.find_first_not_of(alphabet) != 43 || body.back() != '=') return {};
    if (EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(body.data()), 44) != 33) return {};
    return std::string(reinterpret_cast<const char*>(bytes.data()), 32);
}

std::optional<std::string> parse_query_name(const std::string& text, std::string& why) {
    const auto fits = [](char c) {
        return (lower(c) >= 'a' && lower(c) <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
    };
    if (!text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), fits)) return text;
    why = "a parameter's name is letters, digits, '-', '.', '_' and '~'";
    return {};
}

std::optional<std::string> parse_prefix(const std::string& text, std::string& why) {
    if (text.size() <= 64 && all_printable(text)) return text;
    why = "it is at most 64 printable ASCII characters";
    return {};
}

std::string judge_percentile(std::string_view name) {
    std::string why;
    const bool fits = name.starts_with('p') && parse_ratio(std::string(name.substr(1)) + "%", why);
    return fits ? "" : "write p50, p99 or p99.9";
}

constexpr NameForm vendor_names{"a vendor's name", "^[a-z0-9][a-z0-9_-]{0,62}$", judge_name};
constexpr NameForm credential_names{"a credential's name", "^[a-z0-9][a-z0-9_-]{0,62}$", judge_name};
constexpr NameForm percentiles{"a percentile", "^p[0-9]{1,2}(\\.[0-9]+)?$", judge_percentile};

constexpr ScalarRule<std::string> text_rule{"text", "", "", parse_text};
constexpr ScalarRule<Duration> timeout_rule{"a duration", "2s", duration_pattern, parse_between<1, 30 * in_ms::day>,
                                            true};
constexpr ScalarRule<std::string> duration_text{"a duration", "800ms", duration_pattern, parse_any_duration, true};
constexpr ScalarRule<std::string> ratio_text{"a share", "99.95%", "[0-9]{1,3}(\\.[0-9]+)?%", parse_ratio, true};
constexpr ScalarRule<std::string> file_name{"a file's name", "/run/secrets/key", "", parse_file_name};
constexpr ScalarRule<std::string> variable_name{"the name of a variable", "API_KEY", "[A-Za-z_][A-Za-z0-9_]*",
                                                parse_variable_name};
constexpr ScalarRule<ListenAddress> listen_address{"an address and a port", "127.0.0.1:15001",
                                                   "([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}", parse_listen_address,
                                                   true};
constexpr ScalarRule<std::string> no_proxy_entry{"an entry for no_proxy", ".internal", "[^ ,;]+", parse_no_proxy};
constexpr ScalarRule<HostPattern> host_rule{"a host", "api.pay.example", "(\\*\\.)?[^/* ]+", parse_host, true};
constexpr ScalarRule<RequestPattern> request_rule{"a request pattern", "GET /v1/**", "\\S+ /.*", parse_request};
constexpr ScalarRule<AddressRange> range_rule{"an address range", "10.0.0.0/8", "[0-9A-Fa-f:.]+(/[0-9]{1,3})?",
                                              parse_address_range};
constexpr ScalarRule<std::string> pin_rule{
    "a pin", "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256/[A-Za-z0-9+/]{43}=", parse_pin};
constexpr ScalarRule<std::string> query_name{"a query parameter's name", "key", "[A-Za-z0-9._~-]+", parse_query_name};

/// Where Sluice keeps or offers something itself, made whole and absolute: whoever asks from elsewhere means the same
/// place.
struct OwnPathRule {
    using Value = std::string;
    ScalarRule<std::string> rule;
    std::size_t most;
    std::string_view why;  // said of a longer one

    std::optional<std::string> read(Reader& reader, const Place& at) const {
        const auto written = rule.read(reader, at);
        if (!written) return {};
        std::string path = reader.beside(at, *written);
        if (path.size() <= most) return path;
        reader.fault(at, shown(path) + " is not " + std::string(rule.what), std::string(why));
        return {};
    }
    boost::json::object describe(Schema& schema) const { return rule.describe(schema); }
};
constexpr OwnPathRule directory_path{
    {"the path of a directory", "/var/lib/sluice", "[^~].*", parse_own_path}, 4095, "it is too long"};
constexpr OwnPathRule socket_path{{"the path of a socket", "/run/sluice/proxy.sock", "[^~].*", parse_own_path},
                                  107,  // sun_path of unix(7), without its NUL
                                  "it is longer than 107 bytes, the most that a socket's address holds"};

/// A URL may hold `user:password@`, which no fault shows.
struct UrlRule {
    using Value = Url;
    static std::optional<Url> parse(const std::string& text, std::string& why) { return parse_base_url(text, why); }
    static constexpr ScalarRule<Url> rule{"a URL", "https://api.pay.example", "https?://[^?# @]+", parse};

    std::optional<Url> read(Reader& reader, const Place& at) const {
        if (at.node.text.find('@') == std::string::npos) return rule.read(reader, at);
        reader.mask(at.node);
        reader.fault(at, "a URL without user and password is expected", "a secret goes into a credential");
        return {};
    }
    boost::json::object describe(Schema& schema) const { return rule.describe(schema); }
};
constexpr UrlRule url_rule;

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

// ---- files and secrets

constexpr Key<WrittenFile> file_keys[] = {
    key<&WrittenFile::file, file_name>("file", "A path; a relative one starts from the directory of the policy file.",
                                       Presence::required),
};
constexpr MapRule<WrittenFile> file_map{"file", "A file: {file: /etc/sluice/ca.pem}.", file_keys};

/// `{file: ...}`, its path made whole.
struct FileRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::scalar) {
            reader.fault(at, shown(at.node.text) + " is not a file", "write {file: /path/to/it}");
            return {};
        }
        auto written = file_map.read(reader, at);
        if (!written || !written->file) return {};
        return beside(at.node.file->path, written->file->value);
    }
    boost::json::object describe(Schema& schema) const { return file_map.describe(schema); }
};
constexpr FileRule file_rule;

constexpr Key<WrittenSecret> secret_keys[] = {
    key<&WrittenSecret::file, file_name>("file",
                                         "A file that holds the secret; read again when it changes. A relative path "
                                         "starts from the directory of the policy file."),
    key<&WrittenSecret::env, variable_name>("env", "A variable of Sluice's environment that holds the secret."),
};
constexpr std::string_view later_secret_keys[] = {"vault"};
constexpr std::string_view one_of_file_env = "write {file: /run/secrets/x} or {env: NAME}";

void amend_secret(boost::json::object& shape) {
    shape["minProperties"] = shape["maxProperties"] = 1;
}

constexpr MapRule<WrittenSecret> secret_map{
    .name = "secret",
    .doc = "Where a secret is; never the secret itself: {file: /run/secrets/x} or {env: NAME}.",
    .keys = secret_keys,
    .refused = {later_secret_keys, not_yet},
    .private_values = true,
    .check = nullptr,
    .amend = amend_secret,
};

struct SecretRule {
    using Value = SecretSource;

    std::optional<SecretSource> read(Reader& reader, const Place& at) const {
        if (at.node.kind != Node::Kind::map) {
            if (at.node.kind == Node::Kind::broken) return {};
            reader.mask(at.node);
            reader.fault(at, at.node.kind == Node::Kind::scalar ? "a secret in plain text" : "a secret is expected",
                         advice(at.node.text));
            return {};
        }
        const auto written = secret_map.read(reader, at);
        if (!written) return {};
        if (written->file && written->env) {
            reader.fault(at, "a secret from two places", std::string(one_of_file_env));
            return {};
        }
        if (written->file)
            return SecretSource{SecretSource::Kind::file, beside(at.node.file->path, written->file->value)};
        if (written->env) return SecretSource{SecretSource::Kind::environment, written->env->value};
        if (at.node.items.empty()) reader.fault(at, "a secret is expected", std::string(one_of_file_env));
        return {};
    }
    boost::json::object describe(Schema& schema) const { return secret_map.describe(schema); }

  private:
    /// "${API_KEY}" tells which variable was meant.
    static std::string advice(const std::string& text) {
        std::string why;
        if (text.starts_with("${") && text.ends_with('}') && parse_variable_name(text.substr(2, text.size() - 3), why))
            return "write {env: " + text.substr(2, text.size() - 3) + "}, so that it is never a part of the policy";
        return "secrets are never written into a policy, " + std::string(one_of_file_env);
    }
};
constexpr SecretRule secret_rule;

/// A user's name is no secret by itself, but may be kept like one.
struct UserRule {
    using Value = WrittenUser;
    static std::optional<std::string> parse(const std::string& text, std::string& why) {
        if (text.find(':') != text.npos) {
            why = "RFC 7617 has no ':' in a user's name";
            return {};
        }
        return parse_line(text, why);
    }
    static constexpr ScalarRule<std::string> plain{"a user's name", "", "[^:]+", parse};

    std::optional<WrittenUser> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::map) {
            auto source = secret_rule.read(reader, at);
            if (!source) return {};
            return WrittenUser{{}, std::move(*source)};
        }
        auto name = plain.read(reader, at);
        if (!name) return {};
        return WrittenUser{std::move(*name), {}};
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{plain.describe(schema), secret_rule.describe(schema)}}};
    }
};
constexpr UserRule user_rule;

// ---- credentials

constexpr std::string_view type_names[] = {"bearer", "api_key", "basic"};
constexpr std::string_view later_types[] = {"oauth2_client_credentials",
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
constexpr std::string_view later_credential_keys[] = {"refresh_before", "tls",         "addresses",
                                                      "timeout",        "placeholder", "require"};
constexpr std::string_view public_credential_keys[] = {"type", "header", "query", "prefix", "eager"};

constexpr WordsRule<std::size_t, 1> bearer_word{{{type_names[0], 0}}};
constexpr WordsRule<std::size_t, 1> api_key_word{{{type_names[1], 1}}};
constexpr WordsRule<std::size_t, 1> basic_word{{{type_names[2], 2}}};

constexpr std::string_view eager_doc = "Readiness waits for it, at most 10 s; default true.";

constexpr Key<WrittenCredential> bearer_keys[] = {
    key<&WrittenCredential::type, bearer_word>("type", "A token in a header (RFC 6750).", Presence::required),
    key<&WrittenCredential::value, secret_rule>("value", "The token.", Presence::required),
    key<&WrittenCredential::header, header_name>("header", "The header that carries it; default Authorization."),
    key<&WrittenCredential::prefix, prefix_rule>("prefix", "What stands before it; default 'Bearer '."),
    key<&WrittenCredential::eager, boolean_rule>("eager", eager_doc),
};
constexpr Key<WrittenCredential> api_key_keys[] = {
    key<&WrittenCredential::type, api_key_word>("type", "A key in a header or a query parameter.", Presence::required),
    key<&WrittenCredential::value, secret_rule>("value", "The key.", Presence::required),
    key<&WrittenCredential::header, header_name>("header", "The header that carries it; this or `query`."),
    key<&WrittenCredential::query, query_name>("query", "The query parameter that carries it; this or `header`."),
    key<&WrittenCredential::prefix, prefix_rule>("prefix", "What stands before it; default nothing."),
    key<&WrittenCredential::eager, boolean_rule>("eager", eager_doc),
};
constexpr Key<WrittenCredential> basic_keys[] = {
    key<&WrittenCredential::type, basic_word>("type", "A user's name and password (RFC 7617).", Presence::required),
    key<&WrittenCredential::username, user_rule>("username", "The user's name, or a reference to it.",
                                                 Presence::required),
    key<&WrittenCredential::password, secret_rule>("password", "The password.", Presence::required),
    key<&WrittenCredential::eager, boolean_rule>("eager", eager_doc),
};

void check_api_key(Reader& reader, const Place& at, WrittenCredential&) {
    const bool header = at.node.find("header") != Node::npos, query = at.node.find("query") != Node::npos;
    if (header && query)
        reader.fault_of_key(at, "query", "a second place for the key", "it goes into `header` or into `query`");
    if (!header && !query) reader.key_fault(at, "'header' or 'query' is missing" + at.in_path());
}
void amend_api_key(boost::json::object& shape) {
    shape["oneOf"] = boost::json::array{boost::json::object{{"required", boost::json::array{"header"}}},
                                        boost::json::object{{"required", boost::json::array{"query"}}}};
}

constexpr MapRule<WrittenCredential> credential_maps[] = {
    {"bearer", "A bearer token.", bearer_keys, {later_credential_keys, not_yet}, true},
    {"api_key", "An API key.", api_key_keys, {later_credential_keys, not_yet}, true, check_api_key, amend_api_key},
    {"basic", "Basic authentication.", basic_keys, {later_credential_keys, not_yet}, true},
};

/// Which keys a credential has depends on its type.
struct CredentialRule {
    using Value = WrittenCredential;

    std::optional<WrittenCredential> read(Reader& reader, const Place& at) const {
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
        const auto types = credential_types();
        for (std::size_t i = 0; i + 1 < at.node.items.size(); i += 2) {
            if (at.node.items[i]->text != "type") continue;
            const Place here{*at.node.items[i + 1], &at, "type", 0, at.node.items[i]};
            if (std::find(std::begin(later_types), std::end(later_types), here.node.text) != std::end(later_types)) {
                reader.fault(here, "credential type " + shown(here.node.text), std::string(not_yet));
                return {};
            }
            if (here.node.text.find("${") != std::string::npos) {
                reader.fault(here, "a variable",
                             "which keys a credential has depends on its type: write the type itself");
                return {};
            }
            const int found = read_word(reader, here, types);
            if (found < 0) return {};
            return static_cast<std::size_t>(found);
        }
        reader.key_fault(at, "'type' is missing" + at.in_path() + ": bearer, api_key or basic");
        return {};
    }

    static void mask_private(Reader& reader, const Node& map) {
        const auto is_public = [](const std::string& key) {
            return std::find(std::begin(public_credential_keys), std::end(public_credential_keys), key) !=
                   std::end(public_credential_keys);
        };
        for (std::size_t i = 0; i + 1 < map.items.size(); i += 2)
            if (!is_public(map.items[i]->text)) reader.mask(*map.items[i + 1]);
    }
};
constexpr CredentialRule credential_rule;
constexpr NamedRule<credential_rule, credential_names> credentials_rule{"a map of credentials by name"};

// ---- timeouts

constexpr Key<WrittenTimeouts> timeout_keys[] = {
    key<&WrittenTimeouts::connect, timeout_rule>("connect", "DNS and TCP, all addresses; built-in 2s."),
    key<&WrittenTimeouts::tls, timeout_rule>("tls", "The TLS handshake; built-in 3s."),
    key<&WrittenTimeouts::first_byte, timeout_rule>("first_byte",
                                                    "From the request sent to the response's head; built-in 60s."),
    key<&WrittenTimeouts::idle, timeout_rule>("idle", "No byte in either direction, streams included; built-in 5m."),
    key<&WrittenTimeouts::total, timeout_rule>(
        "total",
        "Everything, waits and retries included; built-in 10m. Written on a vendor or a route it also bounds tunnels, "
        "upgraded connections and event streams."),
};

void check_timeouts(Reader& reader, const Place& at, WrittenTimeouts& timeouts) {
    if (!timeouts.total) return;
    const std::pair<std::string_view, const Maybe<Duration>*> phases[] = {{"connect", &timeouts.connect},
                                                                          {"tls", &timeouts.tls},
                                                                          {"first_byte", &timeouts.first_byte},
                                                                          {"idle", &timeouts.idle}};
    const Duration total = timeouts.total->value;
    for (const auto& [name, phase] : phases)
        if (*phase && (*phase)->value > total)
            reader.fault({*(*phase)->node, &at, name, 0, (*phase)->node},
                         format_duration((*phase)->value) + " is longer than the `total` of " + format_duration(total),
                         "`total`, in the same map, bounds everything");
}

constexpr MapRule<WrittenTimeouts> timeouts_rule{
    "timeout", "When to give up: 504 timeout_<which>.", timeout_keys, {}, false, check_timeouts};

// ---- vendors

constexpr NamedRule<duration_text, percentiles> latency_rule{"a map of durations by percentile"};
constexpr Key<WrittenSla> sla_keys[] = {
    key<&WrittenSla::availability, ratio_text>("availability", "The promised share of successes: 99.95%."),
    key<&WrittenSla::latency, latency_rule>("latency", "Promised latencies: {p50: 200ms, p99: 800ms}."),
    key<&WrittenSla::window, duration_text>("window", "Over which time it is promised: 30d."),
    key<&WrittenSla::recovery_time, duration_text>("recovery_time", "How soon after an outage it is back: 15m."),
};
constexpr MapRule<WrittenSla> sla_rule{"sla", "What the vendor promises; shown, never judged.", sla_keys};

constexpr Key<WrittenPair> pair_keys[] = {
    key<&WrittenPair::cert, file_rule>("cert", "The certificate and its chain, PEM.", Presence::required),
    key<&WrittenPair::key, file_rule>("key", "Its private key, PEM.", Presence::required),
};
constexpr MapRule<WrittenPair> pair_rule{"key_pair", "A certificate and its key.", pair_keys};

constexpr WordsRule<TlsRules::Version, 2> version_words{
    {{"1.2", TlsRules::Version::tls12}, {"1.3", TlsRules::Version::tls13}}};
constexpr ListRule<pin_rule> pins_rule{"a list of pins", 1};
constexpr Key<WrittenTls> tls_keys[] = {
    key<&WrittenTls::min, version_words>("min", "The oldest version of TLS to accept: \"1.2\" (default) or \"1.3\"."),
    key<&WrittenTls::ca, file_rule>("ca", "Trust the certificates in this file, and no others."),
    key<&WrittenTls::pin, pins_rule>("pin", "One certificate of the verified chain must have one of these keys."),
    key<&WrittenTls::client, pair_rule>("client", "The certificate that Sluice shows to the vendor."),
};
constexpr MapRule<WrittenTls> tls_rule{"tls", "How the vendor's TLS is verified.", tls_keys};

constexpr Key<WrittenEndpoint> endpoint_keys[] = {
    key<&WrittenEndpoint::url, url_rule>(
        "url", "https://host[:port][/prefix]; http:// is the operator's word that plain text is meant.",
        Presence::required),
};
constexpr std::string_view later_endpoint_keys[] = {"region"};
constexpr MapRule<WrittenEndpoint> endpoint_rule{
    "endpoint", "Where a vendor is reached.", endpoint_keys, {later_endpoint_keys, not_yet}};
constexpr ListRule<endpoint_rule> endpoints_rule{"a list of endpoints", 1, max_endpoints, "16 are the most"};

constexpr Key<WrittenRoute> route_keys[] = {
    key<&WrittenRoute::name, line_rule>("name", "The metric label; default the text of `match`."),
    key<&WrittenRoute::match, request_rule>("match", "METHOD[|METHOD] /glob: '*' is one segment, '**' any number.",
                                            Presence::required),
    key<&WrittenRoute::timeout, timeouts_rule>("timeout", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::retry, retry_rule>("retry", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::hedge, hedge_rule>("hedge", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::limit, limits_rule>("limit", "Holds in addition to the vendor's: one map, or a list of them."),
    key<&WrittenRoute::idempotency, idempotency_rule>("idempotency", "Instead of the vendor's, key by key."),
};
constexpr std::string_view later_route_keys[] = {"redact", "audit", "residency", "cache",      "queue",
                                                 "scrub",  "allow", "deny",      "credential", "clients"};
constexpr std::string_view vendor_only_keys[] = {"breaker", "fallback", "chaos"};
constexpr MapRule<WrittenRoute> route_rule{
    .name = "route",
    .doc = "Requests of a vendor that are treated differently.",
    .keys = route_keys,
    .refused = {later_route_keys, not_yet},
    .elsewhere = {vendor_only_keys, "it belongs to the vendor as a whole, beside `routes`"},
};

constexpr ListRule<line_rule> data_rule{"a list of data classes"};
constexpr ListRule<host_rule> hosts_rule{"a list of hosts", 1};
constexpr ListRule<request_rule> requests_rule{"a list of request patterns"};
constexpr ListRule<range_rule> ranges_rule{"a list of address ranges"};
constexpr ListRule<route_rule> routes_rule{"a list of routes"};
constexpr WordsRule<Mode, 2> mode_words{{{"intercept", Mode::intercept}, {"tunnel", Mode::tunnel}}};

constexpr Key<WrittenVendor> vendor_keys[] = {
    key<&WrittenVendor::owner, line_rule>("owner", "The team that answers for it."),
    key<&WrittenVendor::about, text_rule>("about", "What it is for."),
    key<&WrittenVendor::data, data_rule>("data", "Classes of data that may flow to it."),
    key<&WrittenVendor::criticality, line_rule>("criticality", "How much it matters."),
    key<&WrittenVendor::sla, sla_rule>("sla", "What the vendor promises; shown, never judged."),
    key<&WrittenVendor::runbook, line_rule>("runbook", "What to do when it is out."),
    key<&WrittenVendor::hosts, hosts_rule>(
        "hosts",
        "Its hosts: exact, or one leading '*.' (any depth, never the apex); with a port where it is not 443 or 80."),
    key<&WrittenVendor::mode, mode_words>(
        "mode", "intercept (default), or tunnel: TLS passes unopened, with connection-level policy only."),
    key<&WrittenVendor::allow, requests_rule>(
        "allow", "Requests to let through: METHOD[|METHOD] /glob; all others are refused."),
    key<&WrittenVendor::deny, requests_rule>("deny", "Requests to refuse: METHOD[|METHOD] /glob; beats `allow`."),
    key<&WrittenVendor::addresses, ranges_rule>("addresses",
                                                "Private address ranges where it may be; added to the public ones."),
    key<&WrittenVendor::credential, line_rule>("credential", "The credential that its requests get, by name."),
    key<&WrittenVendor::endpoints, endpoints_rule>("endpoints",
                                                   "Where it is reached, in order: the next is used while the one "
                                                   "before is out; default: at the host and with the "
                                                   "scheme that the application named."),
    key<&WrittenVendor::tls, tls_rule>("tls", "How its TLS is verified."),
    key<&WrittenVendor::timeout, timeouts_rule>("timeout", "Instead of the defaults, key by key."),
    key<&WrittenVendor::retry, retry_rule>("retry", "Instead of the defaults, key by key."),
    key<&WrittenVendor::hedge, hedge_rule>("hedge", "A second attempt beside one that takes long; default none."),
    key<&WrittenVendor::idempotency, idempotency_rule>("idempotency", "Keys that make a request safe to send again."),
    key<&WrittenVendor::breaker, breaker_rule>("breaker", "Instead of the defaults, key by key."),
    key<&WrittenVendor::limit, limits_rule>(
        "limit",
        "One map: what it does not say is inherited from the defaults. Or a list of maps, which all hold, and beside "
        "them "
        "what the defaults limit and no entry without `per` does; so does a map with `per`."),
    key<&WrittenVendor::fallback, fallback_rule>("fallback", "Another vendor, when every endpoint of this one is out."),
    key<&WrittenVendor::chaos, chaos_rule>("chaos", "Faults on purpose, as if the vendor had made them."),
    key<&WrittenVendor::routes, routes_rule>("routes", "The first that matches a request is its route."),
};
constexpr std::string_view later_vendor_keys[] = {"residency", "redact", "audit", "cache", "queue", "scrub"};

/// Rules about requests on a vendor whose requests are never seen would promise what nobody keeps.
void check_tunnel(Reader& reader, const Place& at) {
    static constexpr std::pair<std::string_view, std::string_view> senseless[] = {
        {"credential", "a credential"},
        {"allow", "rules about requests"},
        {"deny", "rules about requests"},
        {"routes", "routes"},
        {"tls", "rules about TLS"},
        {"retry", "retries"},
        {"hedge", "hedging"},
        {"fallback", "a fallback"},
        {"idempotency", "idempotency keys"},
        {"chaos", "faults"},
    };
    const auto refuse = [&](const Place& map, std::string_view name, std::string_view what) {
        if (map.node.find(name) != Node::npos)
            reader.fault_of_key(map, name, std::string(what) + " for a vendor in mode tunnel",
                                "its TLS passes unopened, so no request of it is seen or changed "
                                "(write mode: intercept, or take this key away)");
    };
    for (const auto& [name, what] : senseless) refuse(at, name, what);
    if (at.node.find("limit") == Node::npos) return;
    const Place limit = at.at_key("limit");
    const auto judge_limit = [&](const Place& map) {
        refuse(map, "concurrency", "a limit on requests under way");
        refuse(map, "tokens", "a limit on tokens");
        refuse(map, "learn", "learning from answers");
        refuse(map, "per", "a limit by header");
        if (map.node.find("when_full") != Node::npos)
            refuse(map.at_key("when_full"), "priority", "a priority by header");
    };
    if (limit.node.kind == Node::Kind::sequence)
        for (std::size_t i = 0; i < limit.node.items.size(); ++i) judge_limit({*limit.node.items[i], &limit, {}, i});
    else
        judge_limit(limit);
}

std::string_view label_of(const WrittenRoute& route) {
    if (route.name) return route.name->value;
    return route.match ? std::string_view{route.match->value.text} : std::string_view{};
}

void check_chaos(Reader& reader, const Place& at, const WrittenVendor& vendor) {
    std::vector<std::string_view> labels;
    if (vendor.routes)
        for (const auto& route : vendor.routes->value) labels.push_back(label_of(route.value));
    if (!vendor.chaos->value.inject) return;
    const Place chaos = at.at_key("chaos"), inject = chaos.at_key("inject");
    for (std::size_t i = 0; i < inject.node.items.size(); ++i) {
        const Place fault{*inject.node.items[i], &inject, {}, i};
        for (const auto& written : vendor.chaos->value.inject->value) {
            if (written.node != &fault.node || !written.value.route) continue;
            const std::string& name = written.value.route->value;
            if (std::find(labels.begin(), labels.end(), name) == labels.end())
                reader.fault(fault.at_key("route"), "no route of this vendor is called " + shown(name), {},
                             suggestion(name, labels));
        }
    }
}

/// Their names are a metric's label, and the vendor's and its routes' all hold.
void check_limit_names(Reader& reader, const Place& at, const WrittenVendor& vendor) {
    std::unordered_map<std::string_view, const Node*> seen;
    const auto judge = [&](const Place& map, const WrittenLimits& limits) {
        const Place list = map.at_key("limit");
        for (std::size_t i = 0; i < limits.entries.size(); ++i) {
            const auto& name = limits.entries[i].value.name;
            if (!name) continue;
            const auto [first, fresh] = seen.try_emplace(name->value, name->node);
            if (fresh) continue;
            const Place entry{*limits.entries[i].node, &list, {}, i};
            const Place& holder = limits.list ? entry : list;
            reader.fault(holder.at_key("name"), "a second limit " + shown(name->value),
                         "the first is at " + first->second->file->place(first->second->at));
        }
    };
    if (vendor.limit) judge(at, vendor.limit->value);
    if (!vendor.routes) return;
    const Place routes = at.at_key("routes");
    for (std::size_t i = 0; i < vendor.routes->value.size(); ++i) {
        const auto& route = vendor.routes->value[i];
        if (route.value.limit) judge({*route.node, &routes, {}, i}, route.value.limit->value);
    }
}

/// A second would never be tried, or share the first one's breaker.
void check_endpoints(Reader& reader, const Place& at, const std::vector<Written<WrittenEndpoint>>& endpoints) {
    const Place list = at.at_key("endpoints");
    for (std::size_t i = 1; i < endpoints.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            const auto &a = endpoints[j].value.url, &b = endpoints[i].value.url;
            if (!a || !b || a->value.scheme != b->value.scheme || a->value.authority != b->value.authority ||
                a->value.prefix != b->value.prefix)
                continue;
            const Place entry{*endpoints[i].node, &list, {}, i};
            return reader.fault(entry, "the same endpoint again",
                                "the first is at " + a->node->file->place(a->node->at));
        }
}

/// The first of each name and of each match is the one that counts: a second would be dead, or share the first one's
/// label.
void check_routes(Reader& reader, const Place& at, const std::vector<Written<WrittenRoute>>& routes) {
    std::unordered_map<std::string_view, const Node*> labels, matches;
    const auto refuse_second = [&](auto& seen, const Maybe<std::string>& name, std::string_view text,
                                   const Node& node) {
        const auto [first, fresh] = seen.try_emplace(text, &node);
        if (fresh) return;
        const Place list{*at.node.items[at.node.find("routes") + 1], &at, "routes", 0, &node};
        reader.key_fault(list, "a second route " + shown(text) + list.in_path() + ": the first is at " +
                                   first->second->file->place(first->second->at) +
                                   (name ? "" : ", and would always be taken"));
    };
    for (const auto& route : routes) {
        if (route.value.match) refuse_second(matches, {}, route.value.match->value.text, *route.value.match->node);
        if (route.value.name) refuse_second(labels, route.value.name, route.value.name->value, *route.value.name->node);
    }
}

void check_vendor(Reader& reader, const Place& at, WrittenVendor& vendor) {
    if (at.node.find("hosts") == Node::npos && at.node.find("endpoints") == Node::npos)
        reader.key_fault(at, "'hosts' or 'endpoints' is missing" + at.in_path());
    if (vendor.mode && vendor.mode->value == Mode::tunnel) check_tunnel(reader, at);
    if (vendor.routes) check_routes(reader, at, vendor.routes->value);
    check_limit_names(reader, at, vendor);
    if (vendor.chaos) check_chaos(reader, at, vendor);
    if (vendor.endpoints) check_endpoints(reader, at, vendor.endpoints->value);
}
void amend_vendor(boost::json::object& shape) {
    shape["anyOf"] = boost::json::array{boost::json::object{{"required", boost::json::array{"hosts"}}},
                                        boost::json::object{{"required", boost::json::array{"endpoints"}}}};
}

constexpr MapRule<WrittenVendor> vendor_rule{
    "vendor",    "One destination and its rules.", vendor_keys, {later_vendor_keys, not_yet}, false, check_vendor,
    amend_vendor};
constexpr NamedRule<vendor_rule, vendor_names> vendors_rule{"a map of vendors by name"};

// ---- the top of the policy

void check_listen(Reader& reader, const Place& at, WrittenListen& listen) {
    const bool exposed = listen.exposed && listen.exposed->value;
    const std::pair<std::string_view, const Maybe<ListenAddress>*> listeners[] = {
        {"proxy", &listen.proxy}, {"admin", &listen.admin}, {"metrics", &listen.metrics}};
    for (const auto& [name, listener] : listeners) {
        if (name == "metrics" || exposed || !*listener || is_loopback((*listener)->value.address)) continue;
        reader.fault({*(*listener)->node, &at, name, 0, (*listener)->node},
                     (*listener)->value.text() + " is not loopback",
                     "whoever reaches it would use the credentials; say `exposed: true` in `listen` if that is meant");
    }
}

constexpr BooleanRule exposed_rule;
constexpr Key<WrittenListen> listen_keys[] = {
    key<&WrittenListen::proxy, listen_address>(
        "proxy", "The target of HTTP_PROXY and HTTPS_PROXY, and of base-URL mode; default 127.0.0.1:15001."),
    key<&WrittenListen::unix_path, socket_path>(
        "unix", "The same on a Unix socket. A relative path starts from the directory of the policy file."),
    key<&WrittenListen::admin, listen_address>("admin",
                                               "Health, metrics and the effective policy; default 127.0.0.1:15000."),
    key<&WrittenListen::metrics, listen_address>(
        "metrics", "Only GET /metrics, /live and /ready, for scrapers outside the pod: 0.0.0.0:15090."),
    key<&WrittenListen::exposed, exposed_rule>("exposed", "A `proxy` or `admin` that is not loopback is meant."),
};
constexpr std::string_view later_listen_keys[] = {"transparent"};
constexpr MapRule<WrittenListen> listen_rule{"listen",    "Where Sluice listens; port 0 picks one.",
                                             listen_keys, {later_listen_keys, not_yet},
                                             false,       check_listen};

constexpr WordsRule<AuthoritySpec::Kind, 2> ca_words{
    {{"persistent", AuthoritySpec::Kind::persistent}, {"ephemeral", AuthoritySpec::Kind::ephemeral}}};

/// A word, or a pair of files.
struct CaRule {
    using Value = AuthoritySpec;
    std::optional<AuthoritySpec> read(Reader& reader, const Place& at) const {
        AuthoritySpec spec;
        if (at.node.kind != Node::Kind::map) {
            const auto kind = ca_words.read(reader, at);
            if (!kind) return {};
            spec.kind = *kind;
            return spec;
        }
        const auto pair = pair_rule.read(reader, at);
        if (!pair || !pair->cert || !pair->key) return {};
        spec.kind = AuthoritySpec::Kind::given;
        spec.cert_file = pair->cert->value;
        spec.key_file = pair->key->value;
        return spec;
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{ca_words.describe(schema), pair_rule.describe(schema)}}};
    }
};
constexpr CaRule ca_rule;

/// A CA of the operator's own carries what constraints it has.
void check_authority(Reader& reader, const Place& at, WrittenAuthority& authority) {
    const bool constrained = authority.name_constraints && authority.name_constraints->value;
    if (!constrained || !authority.ca || authority.ca->value.kind != AuthoritySpec::Kind::given) return;
    reader.fault_of_key(at, "name_constraints", "this is for a CA of Sluice's own make",
                        "the one in `ca` has the constraints that it was made with; leave this out");
}

constexpr BooleanRule name_constraints_rule;
constexpr Key<WrittenAuthority> authority_keys[] = {
    key<&WrittenAuthority::ca, ca_rule>("ca",
                                        "persistent (default): its key is kept in `state`; ephemeral: in memory only; "
                                        "or {cert: {file: ...}, key: {file: ...}}."),
    key<&WrittenAuthority::publish, directory_path>(
        "publish",
        "The directory for ca.crt, bundle.pem and truststore.p12; default <state>/public. A relative path starts from "
        "the directory of the policy file."),
    key<&WrittenAuthority::name_constraints, name_constraints_rule>(
        "name_constraints",
        "true: the CA can sign only for the hosts of the policy that it was made under; default false."),
};
constexpr MapRule<WrittenAuthority> authority_rule{
    "authority", "The authority that signs what applications see.", authority_keys, {}, false, check_authority};

constexpr Key<WrittenDefaults> defaults_keys[] = {
    key<&WrittenDefaults::timeout, timeouts_rule>("timeout", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::retry, retry_rule>("retry", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::breaker, breaker_rule>("breaker", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::limit, limit_rule>("limit", "Of every vendor that does not say otherwise; one map."),
};
constexpr std::string_view vendors_own_keys[] = {"hedge", "idempotency", "fallback", "chaos"};
constexpr MapRule<WrittenDefaults> defaults_rule{
    "defaults", "What holds for every vendor.", defaults_keys, {vendors_own_keys, "each vendor says it for itself"}};

constexpr IntegerRule version_rule{1, 1, {}, "this version of Sluice reads version 1 of the language"};
constexpr IntegerRule workers_rule{1, 256, "auto"};
constexpr WordsRule<Unmatched, 3> unmatched_words{
    {{"deny", Unmatched::deny}, {"report", Unmatched::report}, {"tunnel", Unmatched::tunnel}}};
constexpr ScalarRule<std::string> include_name{"a file's name", "conf.d/*.yaml", "", parse_file_name};
constexpr ListRule<include_name> include_rule{"a list of files"};
constexpr ListRule<no_proxy_entry> no_proxy_rule{"a list of hosts"};

constexpr std::string_view version_doc = "Of the policy language: 1.";
constexpr auto credentials_key =
    key<&WrittenPolicy::credentials, credentials_rule>("credentials", "What vendors want to see, by name.");
constexpr auto vendors_key =
    key<&WrittenPolicy::vendors, vendors_rule>("vendors", "Destinations and their rules, by name.");

constexpr Key<WrittenPolicy> policy_keys[] = {
    key<&WrittenPolicy::version, version_rule>("version", version_doc, Presence::required),
    key<&WrittenPolicy::include, include_rule>(
        "include",
        "More files, with vendors and credentials: paths or patterns such as conf.d/*.yaml, relative to this file."),
    key<&WrittenPolicy::listen, listen_rule>("listen", "Where Sluice listens."),
    key<&WrittenPolicy::workers, workers_rule>("workers", "Threads; default auto: the cgroup's CPU quota, rounded up."),
    key<&WrittenPolicy::unmatched, unmatched_words>(
        "unmatched",
        "What becomes of hosts that no vendor has: deny (default), tunnel, or report: tunnel, log and count."),
    key<&WrittenPolicy::state, directory_path>(
        "state",
        "A directory private to Sluice: the CA's key; default $XDG_STATE_HOME/sluice. A relative path starts from the "
        "directory of the policy file."),
    key<&WrittenPolicy::authority, authority_rule>("authority", "The authority that signs what applications see."),
    key<&WrittenPolicy::no_proxy, no_proxy_rule>("no_proxy", "Added to the NO_PROXY that `sluice env` prints."),
    key<&WrittenPolicy::defaults, defaults_rule>("defaults", "What holds for every vendor."),
    credentials_key,
    vendors_key,
};
constexpr std::string_view later_policy_keys[] = {"clients"};
constexpr MapRule<WrittenPolicy> policy_rule{
    "policy", "A policy of Sluice, the egress sidecar.", policy_keys, {later_policy_keys, not_yet}};

constexpr Key<WrittenPolicy> included_keys[] = {
    key<&WrittenPolicy::version, version_rule>("version", version_doc),
    credentials_key,
    vendors_key,
};
constexpr std::string_view top_only_keys[] = {"include", "listen",    "workers",  "unmatched", "state",
                                              "clients", "authority", "no_proxy", "defaults"};
constexpr MapRule<WrittenPolicy> included_rule{
    "included",
    "A file that a policy includes.",
    included_keys,
    {top_only_keys, "it belongs in the top file; an included file holds vendors and credentials only"}};

}  // namespace

std::optional<WrittenPolicy> read_policy(Reader& reader, const Node& root, bool included) {
    return (included ? included_rule : policy_rule).read(reader, Place{root});
}

boost::json::object describe_policy(Schema& schema) {
    return policy_rule.describe(schema);
}

std::span<const std::string_view> credential_types() {
    return type_names;
}

std::string beside(const std::string& file, const std::string& path) {
    const auto slash = file.rfind('/');
    return path.starts_with('/') || slash == file.npos ? path : file.substr(0, slash + 1) + path;
}

bool is_loopback(const IpAddress& address) {
    static constexpr std::array<unsigned char, 16> v6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return address.v6 ? address.bytes == v6 : address.bytes[0] == 127;
}

}  // namespace sluice
