#include "config/credential_specs.hpp"

#include <algorithm>

#include "config/inherit.hpp"
#include "proxy/credentials/sigv4.hpp"

namespace sluice {
namespace {

constexpr const char* service_account_token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
constexpr const char* access_token = "urn:ietf:params:oauth:token-type:access_token";

/// The values of a list, of a map.
void take_list(std::vector<std::string>& into, Maybe<WrittenCredential::Texts>& written) {
    if (!written) return;
    for (auto& item : written->value) into.push_back(std::move(item.value));
}
void take_pairs(std::vector<std::pair<std::string, std::string>>& into, Maybe<WrittenCredential::Pairs>& written) {
    if (!written) return;
    for (auto& named : written->value) into.emplace_back(std::move(named.name), std::move(named.value));
}

// ---- one function a type

BearerSpec bearer(WrittenCredential& written) {
    BearerSpec spec;
    take(spec.value, written.value);
    return spec;
}

ApiKeySpec api_key(WrittenCredential& written) {
    ApiKeySpec spec;
    take(spec.value, written.value);
    take(spec.query, written.query);
    return spec;
}

BasicSpec basic(WrittenCredential& written) {
    BasicSpec spec;
    take(spec.password, written.password);
    if (written.username) {
        spec.username = std::move(written.username->value.plain);
        spec.username_source = std::move(written.username->value.source);
    }
    return spec;
}

SigningKeySpec signing_key(WrittenCredential& written) {
    SigningKeySpec key;
    take(key.pem, written.key);
    take(key.kid, written.kid);
    take(key.algorithm, written.alg);
    return key;
}

ClientAuthSpec client(WrittenCredential& written) {
    using Kind = ClientAuthSpec::Kind;
    ClientAuthSpec spec;
    const bool certificate = written.tls && written.tls->value.client;
    spec.kind = written.client_secret ? Kind::secret_basic
                : written.key         ? Kind::private_key_jwt
                : certificate         ? Kind::tls
                                      : Kind::none;
    take(spec.kind, written.client_auth);
    take(spec.client_id, written.client_id);
    take(spec.secret, written.client_secret);
    spec.key = signing_key(written);
    return spec;
}

OAuthSpec oauth(OAuthSpec::Grant grant, WrittenCredential& written) {
    OAuthSpec spec;
    spec.grant = grant;
    take(spec.token_url, written.token_url);
    if (grant == OAuthSpec::Grant::jwt_bearer)
        spec.key = signing_key(written);
    else
        spec.client = client(written);
    take_list(spec.scope, written.scope);
    take(spec.audience, written.audience);
    take_list(spec.resource, written.resource);
    take_pairs(spec.params, written.params);
    take(spec.refresh_token, written.refresh_token);
    if (written.subject_token) spec.subject_token_type = access_token;
    if (written.actor_token) spec.actor_token_type = access_token;
    take(spec.subject_token, written.subject_token);
    take(spec.subject_token_type, written.subject_token_type);
    take(spec.actor_token, written.actor_token);
    take(spec.actor_token_type, written.actor_token_type);
    take(spec.requested_token_type, written.requested_token_type);
    take(spec.issuer, written.issuer);
    spec.subject = spec.issuer;  // RFC 7523 3: there has to be one
    take(spec.subject, written.subject);
    take(spec.lifetime, written.lifetime);
    take(spec.claims, written.claims);
    return spec;
}

AwsSpec aws(WrittenCredential& written) {
    AwsSpec spec;
    take(spec.region, written.region);
    take(spec.service, written.service);
    take(spec.source, written.aws_source);
    take(spec.profile, written.profile);
    take(spec.sts, written.sts_url);
    take(spec.max_body, written.max_body);
    if (written.assume_role)
        for (auto& item : written.assume_role->value) {
            AssumeRoleSpec role;
            take(role.arn, item.value.arn);
            take(role.session_name, item.value.session_name);
            take(role.external_id, item.value.external_id);
            take(role.duration, item.value.duration);
            spec.assume_role.push_back(std::move(role));
        }
    return spec;
}

GcpSpec gcp(WrittenCredential& written) {
    GcpSpec spec;
    take(spec.source, written.gcp_source);
    take(spec.key, written.key);
    take_list(spec.scope, written.scope);
    take(spec.audience, written.audience);
    take(spec.impersonate, written.impersonate);
    take(spec.lifetime, written.lifetime);
    return spec;
}

AzureSpec azure(WrittenCredential& written) {
    AzureSpec spec;
    take(spec.tenant, written.tenant);
    take(spec.client_id, written.client_id);
    if (written.token_file) spec.token_file = beside(written.token_file->node->file->path, written.token_file->value);
    take(spec.authority_host, written.authority_host);
    take(spec.scope, written.azure_scope);
    return spec;
}

GithubAppSpec github(WrittenCredential& written) {
    GithubAppSpec spec;
    take(spec.app_id, written.app_id);
    take(spec.installation_id, written.installation_id);
    take(spec.key, written.key);
    take(spec.api_url, written.api_url);
    take_list(spec.repositories, written.repositories);
    take_pairs(spec.permissions, written.permissions);
    return spec;
}

void take_auth(VaultSpec& spec, WrittenVaultAuth& auth) {
    using Auth = VaultSpec::Auth;
    if (auth.token) {
        spec.auth = Auth::token;
        take(spec.secret, auth.token);
        return;
    }
    const std::pair<Auth, Maybe<WrittenVaultLogin>*> ways[] = {
        {Auth::kubernetes, &auth.kubernetes}, {Auth::jwt, &auth.jwt}, {Auth::approle, &auth.approle}};
    for (const auto& [way, login] : ways) {
        if (!*login) continue;
        spec.auth = way;
        if (way == Auth::kubernetes) spec.secret = {SecretSource::Kind::file, service_account_token, {}, {}};
        take(spec.role, (*login)->value.role);
        take(spec.mount, (*login)->value.mount);
        take(spec.secret, (*login)->value.secret);
    }
}

VaultSpec vault(WrittenCredential& written) {
    VaultSpec spec;
    take(spec.address, written.address);
    if (written.auth) take_auth(spec, written.auth->value);
    take(spec.name_space, written.name_space);
    take(spec.path, written.path);
    take(spec.field, written.field);
    take(spec.username_field, written.username_field);
    take(spec.password_field, written.password_field);
    return spec;
}

ExecSpec exec(WrittenCredential& written) {
    ExecSpec spec;
    take_list(spec.command, written.command);
    if (written.environment)
        for (auto& variable : written.environment->value) {
            if (variable.value.source.written())
                spec.secret_environment.emplace_back(std::move(variable.name), std::move(variable.value.source));
            else
                spec.environment.emplace_back(std::move(variable.name), std::move(variable.value.plain));
        }
    take(spec.timeout, written.run_time);
    take(spec.format, written.format);
    take(spec.server, written.server);
    take(spec.region, written.region);
    take(spec.service, written.service);
    return spec;
}

HmacSpec hmac(WrittenCredential& written) {
    HmacSpec spec;
    take(spec.algorithm, written.algorithm);
    take(spec.key, written.key);
    take(spec.encoding, written.encoding);
    take(spec.string_to_sign, written.string_to_sign);
    take_pairs(spec.headers, written.headers);
    take(spec.max_body, written.max_body);
    return spec;
}

MtlsSpec mtls(WrittenCredential& written) {
    MtlsSpec spec;
    take(spec.cert, written.cert);
    take(spec.key, written.key);
    return spec;
}

/// Of templates that were judged when they were read.
HmacScheme compiled(const HmacSpec& spec, const Placement& place) {
    const auto compile = [](const std::string& text, HmacTemplate::Use use) {
        std::string why;
        return HmacTemplate::compile(text, use, why).value_or(HmacTemplate{});
    };
    HmacScheme scheme{
        spec.algorithm, spec.encoding, compile(spec.string_to_sign, HmacTemplate::Use::string_to_sign), {}};
    for (const auto& [name, text] : spec.headers)
        scheme.headers.push_back({name, compile(text, HmacTemplate::Use::header_value)});
    // A brace of the prefix is a brace.
    std::string prefix;
    for (const char c : place.prefix) prefix.append(c == '{' || c == '}' ? 2 : 1, c);
    if (!place.header.empty())
        scheme.headers.push_back({place.header, compile(prefix + "{signature}", HmacTemplate::Use::header_value)});
    return scheme;
}

/// Of a request's body, before it can be signed.
std::uint64_t body_to_sign(const CredentialSpec& spec) {
    if (const auto* aws = std::get_if<AwsSpec>(&spec.kind)) return is_s3(aws->service) ? 0 : aws->max_body;
    if (const auto* hmac = std::get_if<HmacSpec>(&spec.kind)) return hmac->scheme.needs_body() ? hmac->max_body : 0;
    const auto* exec = std::get_if<ExecSpec>(&spec.kind);
    const bool signs = exec && exec->format == ExecSpec::Format::credential_process;
    return signs && !is_s3(exec->service) ? AwsSpec{}.max_body : 0;
}

CredentialSpec::Kind kind_of(CredentialType type, WrittenCredential& written) {
    switch (type) {
    case CredentialType::bearer: return bearer(written);
    case CredentialType::api_key: return api_key(written);
    case CredentialType::basic: return basic(written);
    case CredentialType::oauth2_client_credentials: return oauth(OAuthSpec::Grant::client_credentials, written);
    case CredentialType::oauth2_refresh_token: return oauth(OAuthSpec::Grant::refresh_token, written);
    case CredentialType::oauth2_token_exchange: return oauth(OAuthSpec::Grant::token_exchange, written);
    case CredentialType::oauth2_jwt_bearer: return oauth(OAuthSpec::Grant::jwt_bearer, written);
    case CredentialType::aws_sigv4: return aws(written);
    case CredentialType::gcp: return gcp(written);
    case CredentialType::azure_workload_identity: return azure(written);
    case CredentialType::github_app: return github(written);
    case CredentialType::vault: return vault(written);
    case CredentialType::exec: return exec(written);
    case CredentialType::hmac: return hmac(written);
    case CredentialType::mtls: return mtls(written);
    }
    return {};
}

/// Where it goes when nothing is written.
Placement usual_place(const CredentialSpec::Kind& kind) {
    if (std::holds_alternative<BasicSpec>(kind) || std::holds_alternative<AwsSpec>(kind)) return {"Authorization", ""};
    if (std::holds_alternative<ApiKeySpec>(kind) || std::holds_alternative<HmacSpec>(kind) ||
        std::holds_alternative<MtlsSpec>(kind))
        return {"", ""};
    if (const auto* vault = std::get_if<VaultSpec>(&kind)) {
        if (vault->path.empty()) return {"", ""};
        if (vault->field.empty()) return {"Authorization", ""};
    }
    if (const auto* exec = std::get_if<ExecSpec>(&kind); exec && exec->format != ExecSpec::Format::exec_credential)
        return {"Authorization", ""};
    return {};
}

CredentialRules rules_of(WrittenCredential& written) {
    CredentialRules rules;
    if (written.refresh_before) rules.refresh_before = written.refresh_before->value;
    if (written.refresh_on) {
        rules.refresh_on.clear();
        for (const auto& status : written.refresh_on->value)
            rules.refresh_on.push_back(static_cast<std::uint16_t>(status.value));
    }
    if (written.overlap) take(rules.overlap, written.overlap->value.secret);
    take(rules.placeholder, written.placeholder);
    take(rules.require, written.require);
    take(rules.eager, written.eager);
    return rules;
}

// ---- issuers

/// Ranges that are there already are not said twice.
void add_addresses(std::vector<AddressRange>& into, std::initializer_list<std::string_view> ranges) {
    for (const std::string_view text : ranges) {
        std::string ignored;
        const auto range = parse_range(text, ignored);
        const bool known = std::any_of(into.begin(), into.end(), [&](const AddressRange& other) {
            return range && other.base == range->base && other.bits == range->bits;
        });
        if (range && !known) into.push_back(*range);
    }
}

/// The documented addresses of the sources that are a machine's own, and no others.
void add_source_addresses(std::vector<AddressRange>& into, const CredentialSpec& spec) {
    if (const auto* aws = std::get_if<AwsSpec>(&spec.kind)) {
        const bool all = aws->source == AwsSpec::Source::automatic;
        if (all || aws->source == AwsSpec::Source::container)
            add_addresses(into, {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "127.0.0.0/8", "::1"});
        if (all || aws->source == AwsSpec::Source::imds) add_addresses(into, {"169.254.169.254", "fd00:ec2::254"});
    }
    const auto* gcp = std::get_if<GcpSpec>(&spec.kind);
    if (gcp && gcp->source == GcpSpec::Source::metadata) add_addresses(into, {"169.254.169.254"});
}

/// The keeper paces and retries on its own: see renewal_plan.hpp.
Vendor plain_issuer(std::string name) {
    Vendor vendor;
    vendor.name = std::move(name);
    vendor.timeout = {.connect = 2s, .tls = 3s, .first_byte = 5s, .idle = 5s, .total = 5s};
    vendor.retry.max = 0;
    vendor.breaker.enabled = false;
    return vendor;
}

}  // namespace

std::vector<std::pair<SecretSource*, const Node*>> secrets_of(WrittenCredential& written) {
    std::vector<std::pair<SecretSource*, const Node*>> all;
    const auto add = [&](SecretSource& source, const Node* node) {
        if (source.written()) all.emplace_back(&source, node);
    };
    const auto add_maybe = [&](Maybe<SecretSource>& source) {
        if (source) add(source->value, source->node);
    };
    for (auto* source : {&written.value, &written.password, &written.client_secret, &written.cert, &written.key,
                         &written.refresh_token, &written.subject_token, &written.actor_token})
        add_maybe(*source);
    if (written.tls && written.tls->value.client)
        for (auto* source : {&written.tls->value.client->value.cert, &written.tls->value.client->value.key})
            add_maybe(*source);
    if (written.username) add(written.username->value.source, written.username->node);
    if (written.overlap) add_maybe(written.overlap->value.secret);
    if (written.environment)
        for (auto& variable : written.environment->value) add(variable.value.source, variable.key);
    if (!written.auth) return all;
    WrittenVaultAuth& auth = written.auth->value;
    add_maybe(auth.token);
    for (auto* login : {&auth.kubernetes, &auth.jwt, &auth.approle})
        if (*login) add_maybe((*login)->value.secret);
    return all;
}

CredentialSpec spec_of(WrittenCredential& written) {
    CredentialSpec spec;
    spec.kind = kind_of(written.type ? written.type->value : CredentialType::bearer, written);
    spec.place = usual_place(spec.kind);
    take(spec.place.header, written.header);
    take(spec.place.prefix, written.prefix);
    spec.rules = rules_of(written);
    if (auto* hmac = std::get_if<HmacSpec>(&spec.kind)) hmac->scheme = compiled(*hmac, spec.place);
    spec.body_to_sign = body_to_sign(spec);
    return spec;
}

bool calls_an_issuer(const CredentialSpec& spec) {
    return !std::holds_alternative<BearerSpec>(spec.kind) && !std::holds_alternative<ApiKeySpec>(spec.kind) &&
           !std::holds_alternative<BasicSpec>(spec.kind) && !std::holds_alternative<ExecSpec>(spec.kind) &&
           !std::holds_alternative<HmacSpec>(spec.kind) && !std::holds_alternative<MtlsSpec>(spec.kind);
}

Vendor issuer_of(CredentialSpec& spec, WrittenCredential& written) {
    Vendor vendor = plain_issuer("credential " + spec.name);
    spec.shown = take_tls(vendor.tls, written.tls);
    if (written.addresses)
        for (const auto& range : written.addresses->value) vendor.addresses.push_back(range.value);
    add_source_addresses(vendor.addresses, spec);
    vendor.timeout = inherit(vendor.timeout, {&written.timeout});
    return vendor;
}

Vendor issuer_of_environment() {
    Vendor vendor = plain_issuer("vault of the environment");
    add_addresses(vendor.addresses,
                  {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1"});
    return vendor;
}

std::vector<std::string> headers_of(const CredentialSpec& spec) {
    std::vector<std::string> headers;
    if (!spec.place.header.empty()) headers.push_back(spec.place.header);
    const auto* exec = std::get_if<ExecSpec>(&spec.kind);
    const bool signs_for_aws = exec && exec->format == ExecSpec::Format::credential_process;
    if (signs_for_aws || std::holds_alternative<AwsSpec>(spec.kind))
        headers.insert(headers.end(), {"X-Amz-Date", "X-Amz-Security-Token"});
    if (const auto* hmac = std::get_if<HmacSpec>(&spec.kind))
        for (const auto& [name, _] : hmac->headers) headers.push_back(name);
    return headers;
}

}  // namespace sluice
