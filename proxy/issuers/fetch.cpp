#include "proxy/issuers/fetch.hpp"

#include "certs/client_certificate.hpp"
#include "proxy/issuers/aws.hpp"
#include "proxy/issuers/azure.hpp"
#include "proxy/issuers/client_certificate.hpp"
#include "proxy/issuers/exec.hpp"
#include "proxy/issuers/gcp.hpp"
#include "proxy/issuers/github.hpp"
#include "proxy/issuers/oauth.hpp"
#include "proxy/issuers/vault.hpp"

namespace sluice {

namespace {

constexpr Duration look_again = 5min;   // where nobody tells of a change

// One whose secret is in Vault (any other is read by `files`).
Task<Result<Minted>> read_credential(Errand& errand, const SecretSource& source, const BasicSpec* basic = nullptr) {
    Minted minted;
    Result<Secret> secret = co_await errand.secret(source);
    if (!secret) co_return std::move(secret.error());
    if (basic) {
        Result<Secret> username = co_await errand.secret(basic->username_source);
        if (!username) co_return std::move(username.error());
        if (!basic->username_source.written()) *username = Secret(std::string(basic->username));
        minted.what = UserPassword{std::move(*username), std::move(*secret)};
    } else {
        minted.what = std::move(*secret);
    }
    minted.subject = source.name;
    minted.lifetime = errand.vault_readings().lifetime;
    minted.renew_after = errand.vault_readings().renew_after;
    if (!minted.lifetime && !minted.renew_after) minted.renew_after = look_again;
    co_return minted;
}

// One that is not in files.
Task<Result<Minted>> read_certificate(Errand& errand, const MtlsSpec& mtls) {
    Result<OnConnection> shown = co_await fetch_client_certificate(errand, mtls);
    if (!shown) co_return std::move(shown.error());
    Minted minted;
    minted.subject = subject_of(*shown->certificate);
    minted.lifetime = std::chrono::duration_cast<Duration>(shown->ends - Errand::wall_now());
    if (const auto lease = errand.vault_readings().lifetime) minted.lifetime = std::min(*minted.lifetime, *lease);
    minted.renew_after = errand.vault_readings().renew_after.value_or(look_again);
    minted.what = std::move(*shown);
    co_return minted;
}

struct Fetch {
    Errand& errand;

    Task<Result<Minted>> operator()(const BearerSpec& bearer) const { return read_credential(errand, bearer.value); }
    Task<Result<Minted>> operator()(const ApiKeySpec& key) const { return read_credential(errand, key.value); }
    Task<Result<Minted>> operator()(const BasicSpec& basic) const { return read_credential(errand, basic.password, &basic); }
    Task<Result<Minted>> operator()(const HmacSpec& hmac) const { return read_credential(errand, hmac.key); }
    Task<Result<Minted>> operator()(const OAuthSpec& oauth) const { return fetch_oauth(errand, oauth); }
    Task<Result<Minted>> operator()(const AwsSpec& aws) const { return fetch_aws(errand, aws); }
    Task<Result<Minted>> operator()(const GcpSpec& gcp) const { return fetch_gcp(errand, gcp); }
    Task<Result<Minted>> operator()(const AzureSpec& azure) const { return fetch_azure(errand, azure); }
    Task<Result<Minted>> operator()(const GithubAppSpec& github) const { return fetch_github(errand, github); }
    Task<Result<Minted>> operator()(const VaultSpec& vault) const { return fetch_vault(errand, vault); }
    Task<Result<Minted>> operator()(const ExecSpec& exec) const { return fetch_exec(errand, exec); }
    Task<Result<Minted>> operator()(const MtlsSpec& mtls) const { return read_certificate(errand, mtls); }
};

}  // namespace

Task<Result<Minted>> fetch_credential(Errand& errand) {
    Result<Minted> got = co_await std::visit(Fetch{errand}, errand.spec().kind);
    if (got) errand.mask(*got);
    co_return got;
}

}  // namespace sluice
