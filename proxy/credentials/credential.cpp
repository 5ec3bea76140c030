#include "proxy/credentials/credential.hpp"

namespace sluice {

namespace {

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

std::string SecretSource::text() const {
    switch (kind) {
    case Kind::none: return "(none)";
    case Kind::file: return "{file: " + name + "}";
    case Kind::environment: return "{env: " + name + "}";
    case Kind::vault: return "{vault: " + name + "#" + field + (login.empty() ? "" : ", login: " + login) + "}";
    }
    return {};
}

std::string_view CredentialSpec::type() const {
    struct Name {
        std::string_view operator()(const BearerSpec&) const { return "bearer"; }
        std::string_view operator()(const ApiKeySpec&) const { return "api_key"; }
        std::string_view operator()(const BasicSpec&) const { return "basic"; }
        std::string_view operator()(const OAuthSpec& oauth) const {
            switch (oauth.grant) {
            case OAuthSpec::Grant::client_credentials: return "oauth2_client_credentials";
            case OAuthSpec::Grant::refresh_token: return "oauth2_refresh_token";
            case OAuthSpec::Grant::token_exchange: return "oauth2_token_exchange";
            case OAuthSpec::Grant::jwt_bearer: return "oauth2_jwt_bearer";
            }
            return {};
        }
        std::string_view operator()(const AwsSpec&) const { return "aws_sigv4"; }
        std::string_view operator()(const GcpSpec&) const { return "gcp"; }
        std::string_view operator()(const AzureSpec&) const { return "azure_workload_identity"; }
        std::string_view operator()(const GithubAppSpec&) const { return "github_app"; }
        std::string_view operator()(const VaultSpec&) const { return "vault"; }
        std::string_view operator()(const ExecSpec&) const { return "exec"; }
        std::string_view operator()(const HmacSpec&) const { return "hmac"; }
        std::string_view operator()(const MtlsSpec&) const { return "mtls"; }
    };
    return std::visit(Name{}, kind);
}

std::vector<const SecretSource*> CredentialSpec::secrets() const {
    std::vector<const SecretSource*> all;
    const auto add = [&all](const SecretSource& source) {
        if (source.written()) all.push_back(&source);
    };
    const auto visitor = Overloaded{
        [&](const BearerSpec& bearer) { add(bearer.value); },
        [&](const ApiKeySpec& key) { add(key.value); },
        [&](const BasicSpec& basic) {
            add(basic.username_source);
            add(basic.password);
        },
        [&](const OAuthSpec& oauth) {
            for (const SecretSource* source : {&oauth.client.secret, &oauth.client.key.pem, &oauth.refresh_token, &oauth.subject_token, &oauth.actor_token, &oauth.key.pem}) add(*source);
        },
        [&](const GcpSpec& gcp) { add(gcp.key); },
        [&](const GithubAppSpec& github) { add(github.key); },
        [&](const VaultSpec& vault) { add(vault.secret); },
        [&](const HmacSpec& hmac) { add(hmac.key); },
        [](const AwsSpec&) {},
        [](const AzureSpec&) {},
        [&](const ExecSpec& exec) {
            for (const auto& [_, source] : exec.secret_environment) add(source);
        },
        [&](const MtlsSpec& mtls) {
            add(mtls.cert);
            add(mtls.key);
        },
    };
    std::visit(visitor, kind);
    if (shown) {
        add(shown->cert);
        add(shown->key);
    }
    add(rules.overlap);
    return all;
}

bool CredentialSpec::is_static() const {
    const bool kept = std::holds_alternative<BearerSpec>(kind) || std::holds_alternative<ApiKeySpec>(kind) || std::holds_alternative<BasicSpec>(kind) || std::holds_alternative<HmacSpec>(kind) ||
                      std::holds_alternative<MtlsSpec>(kind);
    if (!kept) return false;
    if (const auto* mtls = std::get_if<MtlsSpec>(&kind)) return mtls->in_files();
    for (const SecretSource* source : secrets())
        if (source->kind == SecretSource::Kind::vault) return false;
    return true;
}

bool CredentialSpec::is_login() const {
    const auto* vault = std::get_if<VaultSpec>(&kind);
    return vault && vault->path.empty();
}

bool Attachment::same_as(const Attachment& other) const {
    if (how.index() != other.how.index()) return false;
    const auto visitor = Overloaded{
        [&](const OnConnection& shown) {
            const auto& its = std::get<OnConnection>(other.how);
            return shown.ends == its.ends && shown.identity == its.identity;
        },
        [&](const FixedValue& value) {
            const auto& its = std::get<FixedValue>(other.how);
            return value.place == its.place && value.name == its.name && value.value.same_as(its.value.reveal());
        },
        [&](const AwsSigner& signer) {
            const auto& its = std::get<AwsSigner>(other.how);
            return signer.region == its.region && signer.service == its.service && signer.keys.access_key_id == its.keys.access_key_id &&
                   signer.keys.secret_access_key.same_as(its.keys.secret_access_key.reveal()) && signer.keys.session_token.same_as(its.keys.session_token.reveal());
        },
        [&](const HmacSigner& signer) {
            const auto& its = std::get<HmacSigner>(other.how);
            return signer.scheme == its.scheme && signer.key.same_as(its.key.reveal());
        },
    };
    return std::visit(visitor, how);
}

}  // namespace sluice
