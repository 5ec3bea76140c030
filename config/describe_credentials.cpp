#include <boost/json/parse.hpp>

#include "config/credential_specs.hpp"
#include "config/describe.hpp"
#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

std::string_view word_of(TlsRules::Version version) {
    switch (version) {
    case TlsRules::Version::tls12: return "1.2";
    case TlsRules::Version::tls13: return "1.3";
    }
    return {};
}

std::string base64(const std::string& bytes) {
    std::string out;
    append_base64(out, bytes);
    return out;
}

// ---- what is written only where there is something

void put(json::object& out, std::string_view name, const std::string& text) {
    if (!text.empty()) out[name] = text;
}
void put(json::object& out, std::string_view name, const SecretSource& source) {
    if (source.written()) out[name] = describe(source);
}
void put(json::object& out, std::string_view name, const std::vector<std::string>& texts) {
    json::array list;
    for (const auto& text : texts) list.push_back(json::value(text));
    if (!list.empty()) out[name] = std::move(list);
}
void put(json::object& out, std::string_view name, const std::vector<std::pair<std::string, std::string>>& pairs) {
    json::object map;
    for (const auto& [key, text] : pairs) map[key] = text;
    if (!map.empty()) out[name] = std::move(map);
}

// ---- words

std::string_view word_of(ClientAuthSpec::Kind kind) {
    switch (kind) {
    case ClientAuthSpec::Kind::secret_basic: return "client_secret_basic";
    case ClientAuthSpec::Kind::secret_post: return "client_secret_post";
    case ClientAuthSpec::Kind::private_key_jwt: return "private_key_jwt";
    case ClientAuthSpec::Kind::tls: return "tls_client_auth";
    case ClientAuthSpec::Kind::none: return "none";
    }
    return {};
}

std::string_view word_of(AwsSpec::Source source) {
    switch (source) {
    case AwsSpec::Source::automatic: return "auto";
    case AwsSpec::Source::environment: return "environment";
    case AwsSpec::Source::file: return "file";
    case AwsSpec::Source::web_identity: return "web_identity";
    case AwsSpec::Source::container: return "container";
    case AwsSpec::Source::imds: return "imds";
    }
    return {};
}

std::string_view word_of(GcpSpec::Source source) {
    switch (source) {
    case GcpSpec::Source::service_account: return "service_account";
    case GcpSpec::Source::external_account: return "external_account";
    case GcpSpec::Source::metadata: return "metadata";
    }
    return {};
}

std::string_view word_of(ExecSpec::Format format) {
    switch (format) {
    case ExecSpec::Format::exec_credential: return "exec_credential";
    case ExecSpec::Format::credential_process: return "credential_process";
    case ExecSpec::Format::docker: return "docker";
    }
    return {};
}

std::string_view word_of(HmacSpec::Algorithm algorithm) {
    switch (algorithm) {
    case HmacSpec::Algorithm::sha1: return "sha1";
    case HmacSpec::Algorithm::sha256: return "sha256";
    case HmacSpec::Algorithm::sha384: return "sha384";
    case HmacSpec::Algorithm::sha512: return "sha512";
    }
    return {};
}

std::string_view word_of(HmacSpec::Encoding encoding) {
    switch (encoding) {
    case HmacSpec::Encoding::hex: return "hex";
    case HmacSpec::Encoding::base64: return "base64";
    case HmacSpec::Encoding::base64url: return "base64url";
    }
    return {};
}

// ---- one function a type

void describe_kind(json::object& out, const BearerSpec& spec) {
    put(out, "value", spec.value);
}
void describe_kind(json::object& out, const ApiKeySpec& spec) {
    put(out, "value", spec.value);
    put(out, "query", spec.query);
}
void describe_kind(json::object& out, const BasicSpec& spec) {
    out["username"] = spec.username_source.written() ? describe(spec.username_source) : json::value(spec.username);
    put(out, "password", spec.password);
}

void describe_key(json::object& out, const SigningKeySpec& key) {
    put(out, "key", key.pem);
    put(out, "kid", key.kid);
    put(out, "alg", key.algorithm);
}

void describe_kind(json::object& out, const OAuthSpec& spec) {
    out["token_url"] = text_of_url(spec.token_url);
    if (spec.grant == OAuthSpec::Grant::jwt_bearer) {
        describe_key(out, spec.key);
        put(out, "issuer", spec.issuer);
        put(out, "subject", spec.subject);
        out["lifetime"] = format_duration(spec.lifetime);
        if (!spec.claims.empty()) out["claims"] = json::parse(spec.claims);
    } else {
        out["client_auth"] = word_of(spec.client.kind);
        put(out, "client_id", spec.client.client_id);
        put(out, "client_secret", spec.client.secret);
        describe_key(out, spec.client.key);
    }
    put(out, "refresh_token", spec.refresh_token);
    put(out, "subject_token", spec.subject_token);
    put(out, "subject_token_type", spec.subject_token_type);
    put(out, "actor_token", spec.actor_token);
    put(out, "actor_token_type", spec.actor_token_type);
    put(out, "requested_token_type", spec.requested_token_type);
    put(out, "scope", spec.scope);
    put(out, "audience", spec.audience);
    put(out, "resource", spec.resource);
    put(out, "params", spec.params);
}

void describe_kind(json::object& out, const AwsSpec& spec) {
    out["region"] = spec.region;
    out["service"] = spec.service;
    out["source"] = word_of(spec.source);
    put(out, "profile", spec.profile);
    json::array roles;
    for (const AssumeRoleSpec& role : spec.assume_role) {
        json::object one{{"arn", role.arn}, {"session_name", role.session_name}};
        put(one, "external_id", role.external_id);
        one["duration"] = format_duration(role.duration);
        roles.push_back(std::move(one));
    }
    if (!roles.empty()) out["assume_role"] = std::move(roles);
    if (!spec.sts.authority.host.empty()) out["sts_url"] = text_of_url(spec.sts);
    out["max_body"] = format_size(spec.max_body);
}

void describe_kind(json::object& out, const GcpSpec& spec) {
    out["source"] = word_of(spec.source);
    put(out, "key", spec.key);
    put(out, "scope", spec.scope);
    put(out, "audience", spec.audience);
    put(out, "impersonate", spec.impersonate);
    if (!spec.impersonate.empty()) out["lifetime"] = format_duration(spec.lifetime);
}

void describe_kind(json::object& out, const AzureSpec& spec) {
    put(out, "tenant", spec.tenant);
    put(out, "client_id", spec.client_id);
    put(out, "token_file", spec.token_file);
    put(out, "authority_host", spec.authority_host);
    put(out, "scope", spec.scope);
}

void describe_kind(json::object& out, const GithubAppSpec& spec) {
    out["app_id"] = spec.app_id;
    out["installation_id"] = spec.installation_id;
    put(out, "key", spec.key);
    out["api_url"] = text_of_url(spec.api_url);
    put(out, "repositories", spec.repositories);
    put(out, "permissions", spec.permissions);
}

json::object describe_auth(const VaultSpec& spec) {
    json::object login;
    put(login, spec.auth == VaultSpec::Auth::approle ? "role_id" : "role", spec.role);
    put(login, spec.auth == VaultSpec::Auth::approle ? "secret_id" : "token", spec.secret);
    put(login, "mount", spec.mount);
    switch (spec.auth) {
    case VaultSpec::Auth::token: return {{"token", describe(spec.secret)}};
    case VaultSpec::Auth::kubernetes: return {{"kubernetes", std::move(login)}};
    case VaultSpec::Auth::jwt: return {{"jwt", std::move(login)}};
    case VaultSpec::Auth::approle: return {{"approle", std::move(login)}};
    }
    return {};
}

void describe_kind(json::object& out, const VaultSpec& spec) {
    out["address"] = text_of_url(spec.address);
    out["auth"] = describe_auth(spec);
    put(out, "namespace", spec.name_space);
    put(out, "path", spec.path);
    put(out, "field", spec.field);
    put(out, "username_field", spec.username_field);
    put(out, "password_field", spec.password_field);
}

void describe_kind(json::object& out, const ExecSpec& spec) {
    put(out, "command", spec.command);
    json::object variables;
    for (const auto& [name, text] : spec.environment) variables[name] = text;
    for (const auto& [name, source] : spec.secret_environment) variables[name] = describe(source);
    if (!variables.empty()) out["env"] = std::move(variables);
    out["timeout"] = format_duration(spec.timeout);
    out["format"] = word_of(spec.format);
    put(out, "server", spec.server);
    put(out, "region", spec.region);
    put(out, "service", spec.service);
}

void describe_kind(json::object& out, const HmacSpec& spec) {
    out["algorithm"] = word_of(spec.algorithm);
    put(out, "key", spec.key);
    out["encoding"] = word_of(spec.encoding);
    out["string_to_sign"] = spec.string_to_sign;
    put(out, "headers", spec.headers);
    out["max_body"] = format_size(spec.max_body);
}

void describe_kind(json::object& out, const MtlsSpec& spec) {
    out["cert"] = describe(spec.cert);
    out["key"] = describe(spec.key);
}

// ---- what all have

/// May it be chosen, and is there anything? An API key in the query has only what stands before it.
void describe_place(json::object& out, const CredentialSpec& spec) {
    const auto* exec = std::get_if<ExecSpec>(&spec.kind);
    const auto* vault = std::get_if<VaultSpec>(&spec.kind);
    if (std::holds_alternative<BasicSpec>(spec.kind) || std::holds_alternative<AwsSpec>(spec.kind)) return;
    if (exec && exec->format != ExecSpec::Format::exec_credential) return;
    if (vault && vault->field.empty()) return;
    put(out, "header", spec.place.header);
    if (!spec.place.header.empty() || std::holds_alternative<ApiKeySpec>(spec.kind)) out["prefix"] = spec.place.prefix;
}

void describe_rules(json::object& out, const CredentialRules& rules) {
    if (rules.refresh_before) out["refresh_before"] = format_duration(*rules.refresh_before);
    json::array statuses;
    for (const auto status : rules.refresh_on) statuses.push_back(json::value(status));
    out["refresh_on"] = std::move(statuses);
    if (rules.overlap.written()) out["overlap"] = json::object{{"secret", describe(rules.overlap)}};
    put(out, "placeholder", rules.placeholder);
    if (!rules.placeholder.empty()) out["require"] = rules.require;
    out["eager"] = rules.eager;
}

void describe_issuer(json::object& out, const Vendor& issuer, const CredentialSpec& spec) {
    json::object tls = describe(issuer.tls);
    if (spec.shown) tls["client"] = describe_pair(*spec.shown);
    out["tls"] = std::move(tls);
    json::array ranges;
    for (const AddressRange& range : issuer.addresses) ranges.push_back(json::value(range.text()));
    if (!ranges.empty()) out["addresses"] = std::move(ranges);
    out["timeout"] = describe(issuer.timeout, true);
}

}  // namespace

json::value describe(const SecretSource& source) {
    switch (source.kind) {
    case SecretSource::Kind::none: return nullptr;
    case SecretSource::Kind::file: return describe_file(source.name);
    case SecretSource::Kind::environment: return json::object{{"env", source.name}};
    case SecretSource::Kind::vault: {
        json::object out{{"vault", source.name + "#" + source.field}};
        if (!source.login.empty()) out["login"] = source.login;
        return out;
    }
    }
    return nullptr;
}

json::object describe_pair(const MtlsSpec& pair) {
    json::object out;
    describe_kind(out, pair);
    return out;
}

json::object describe_file(const std::string& path) {
    return {{"file", path}};
}

std::string text_of_url(const Url& url) {
    return std::string(name_of(url.scheme)) + "://" + url.authority.text(url.scheme) + url.prefix;
}

json::object describe(const Timeouts& timeouts, bool with_total) {
    json::object out{{"connect", format_duration(timeouts.connect)},
                     {"tls", format_duration(timeouts.tls)},
                     {"first_byte", format_duration(timeouts.first_byte)},
                     {"idle", format_duration(timeouts.idle)}};
    if (with_total) out["total"] = format_duration(timeouts.total);
    return out;
}

json::object describe(const TlsRules& tls) {
    json::object out{{"min", word_of(tls.min)}};
    if (!tls.ca_file.empty()) out["ca"] = describe_file(tls.ca_file);
    json::array pins;
    for (const auto& pin : tls.pins) pins.push_back(json::value("sha256/" + base64(pin)));
    if (!pins.empty()) out["pin"] = std::move(pins);
    if (!tls.client_cert_file.empty())
        out["client"] =
            json::object{{"cert", describe_file(tls.client_cert_file)}, {"key", describe_file(tls.client_key_file)}};
    return out;
}

json::object describe(const CredentialSpec& spec, const Config& config) {
    json::object out{{"type", spec.type()}};
    std::visit([&](const auto& kind) { describe_kind(out, kind); }, spec.kind);
    describe_place(out, spec);
    if (!std::holds_alternative<MtlsSpec>(spec.kind) && !spec.is_login()) describe_rules(out, spec.rules);
    if (spec.issuer && calls_an_issuer(spec)) describe_issuer(out, config.issuers[*spec.issuer], spec);
    return out;
}

}  // namespace sluice
