// What HashiCorp Vault and OpenBao answer (their HTTP API: auth methods, KV versions 1 and 2, leases). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "proxy/base/secret.hpp"
#include "proxy/base/time.hpp"
#include "proxy/credentials/secret_json.hpp"

namespace sluice {

/// Not what was asked for; `what` is for people ("answered 403: permission denied") and may quote Vault, so mask what was sent to it.
struct VaultDenied {
    unsigned status = 0;
    std::string what;
};

/// A token of Vault's own.
struct VaultLogin {
    Secret token;                       // empty of `read_vault_lookup`
    std::optional<Duration> lifetime;   // nothing: it does not end
    bool renewable = false;
};
/// May it stand in a head?
bool is_vault_token(std::string_view text);
/// `auth` of a login or of a renewal.
std::variant<VaultLogin, VaultDenied> read_vault_login(unsigned status, std::string_view body);
/// `data` of auth/token/lookup-self.
std::variant<VaultLogin, VaultDenied> read_vault_lookup(unsigned status, std::string_view body);

/// How long what was read may be used, and whether that can be made longer.
struct VaultLease {
    Secret id;                           // empty: there is none
    std::optional<Duration> lifetime;    // nothing: it does not end by itself
    std::optional<Duration> read_again;  // of what does not end: when Vault may know another one
    bool renewable = false;
};
/// Of a renewal (sys/leases/renew).
std::variant<VaultLease, VaultDenied> read_vault_lease(unsigned status, std::string_view body);

/// A secret as it was read: of KV version 2 `data.data`, else `data`.
class VaultSecret {
  public:
    static std::variant<VaultSecret, VaultDenied> read(unsigned status, std::string_view body);

    const VaultLease& lease() const { return lease_; }
    /// A text, or a whole number as its digits. Nothing: `why` says what there is instead, never a value.
    std::optional<Secret> value(std::string_view field, std::string& why) const;

  private:
    VaultSecret(SecretJson json, bool versioned, VaultLease lease) : json_(std::move(json)), versioned_(versioned), lease_(std::move(lease)) {}
    const boost::json::object& values() const;

    SecretJson json_;
    bool versioned_;
    VaultLease lease_;
};

/// "/v1/kv/data/llm" of a path as a policy has it, percent-encoded. Nothing: no path of Vault (`why`): empty, with a query, with a segment that is empty or leads elsewhere.
std::optional<std::string> vault_api_path(std::string_view path, std::string& why);

}  // namespace sluice
