#include "proxy/issuers/fetch.hpp"

#include "proxy/issuers/exec.hpp"
#include "proxy/issuers/oauth.hpp"
#include "proxy/issuers/vault.hpp"

namespace sluice {

namespace {

constexpr Duration look_again = 5min;   // where nobody tells of a change

// Of a type that is only read, not given out: which of its secrets is what.
struct ToRead {
    const SecretSource* secret = nullptr;
    const BasicSpec* basic = nullptr;
};
ToRead to_read(const CredentialSpec& spec) {
    if (const auto* bearer = std::get_if<BearerSpec>(&spec.kind)) return {&bearer->value};
    if (const auto* key = std::get_if<ApiKeySpec>(&spec.kind)) return {&key->value};
    if (const auto* hmac = std::get_if<HmacSpec>(&spec.kind)) return {&hmac->key};
    if (const auto* basic = std::get_if<BasicSpec>(&spec.kind)) return {&basic->password, basic};
    return {};
}

// One whose secret is in Vault (any other is read by `files`).
Task<Result<Minted>> read_credential(Errand& errand, const ToRead& what) {
    Minted minted;
    Result<Secret> secret = co_await errand.secret(*what.secret);
    if (!secret) co_return std::move(secret.error());
    if (what.basic) {
        Result<Secret> username = co_await errand.secret(what.basic->username_source);
        if (!username) co_return std::move(username.error());
        if (!what.basic->username_source.written()) *username = Secret(std::string(what.basic->username));
        minted.what = UserPassword{std::move(*username), std::move(*secret)};
    } else {
        minted.what = std::move(*secret);
    }
    minted.subject = what.secret->name;
    minted.lifetime = errand.vault_readings().lifetime;
    minted.renew_after = errand.vault_readings().renew_after;
    if (!minted.lifetime && !minted.renew_after) minted.renew_after = look_again;
    co_return minted;
}

}  // namespace

Task<Result<Minted>> fetch_credential(Errand& errand) {
    const CredentialSpec& spec = errand.spec();
    if (const auto* oauth = std::get_if<OAuthSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_oauth(errand, *oauth);
        co_return minted;
    }
    if (const auto* vault = std::get_if<VaultSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_vault(errand, *vault);
        co_return minted;
    }
    if (const auto* exec = std::get_if<ExecSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_exec(errand, *exec);
        co_return minted;
    }
    if (const ToRead what = to_read(spec); what.secret) {
        Result<Minted> minted = co_await read_credential(errand, what);
        co_return minted;
    }
    co_return errand.failure("its type, " + std::string(spec.type()) + ", cannot be fetched by this version");
}

}  // namespace sluice
