// What the operator says, as one immutable typed value. Made by config/decode.hpp; shared by all threads, never
// changed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/credentials/credential.hpp"
#include "proxy/policy/clients.hpp"
#include "proxy/policy/vendor.hpp"

namespace sluice {

/// "127.0.0.1:15001", "[::1]:0"; port 0 picks one.
struct ListenAddress {
    IpAddress address;
    std::uint16_t port = 0;
    std::string text() const;
};

struct Listen {
    ListenAddress proxy;    // 127.0.0.1:15001
    bool exposed = false;   // a `proxy` (or `admin`) that is not loopback is meant; `clients` say so of a `proxy` too
    std::string unix_path;  // "" for none
    ListenAddress admin;    // 127.0.0.1:15000
    std::optional<ListenAddress> metrics;
};

enum class Unmatched : unsigned char { deny, report, tunnel };

struct AuthoritySpec {
    enum class Kind : unsigned char { persistent, ephemeral, given };
    Kind kind = Kind::persistent;
    std::string cert_file, key_file;  // for Kind::given
    std::string publish;              // "": <state>/public
    bool name_constraints = false;    // the CA signs for the hosts of its policy only; not of Kind::given
};

/// What holds for every vendor that does not say otherwise.
struct Defaults {
    Timeouts timeout;
    RetrySpec retry;  // without `hedge`
    BreakerSpec breaker;
    LimitSpec limit{.seats = SeatSpec{}};  // its name: "" where none is written
    std::string file;                      // the top file, for `explain`
    PolicyLines lines;
};

struct Config {
    Listen listen;
    unsigned workers = 0;  // 0: auto, the cgroup's CPU quota rounded up
    Unmatched unmatched = Unmatched::deny;
    std::string state;  // absolute; "" only where neither XDG_STATE_HOME nor HOME is known
    AuthoritySpec authority;
    std::vector<std::string> no_proxy;  // added to what `sluice env` prints
    Defaults defaults;
    std::vector<CredentialSpec> credentials;
    std::vector<Vendor> vendors;
    std::vector<ClientSpec> clients;        // none: whoever reaches a listener is served
    // What is kept like credentials, but never attached or listed; indexes go on after `credentials`. Clients'
    // passwords ("clients.<name>"), and what `tls.client` of vendors has from Vault ("vendors.<name>.tls.client").
    std::vector<CredentialSpec> secrets;
    std::vector<Vendor> issuers;  // how what credentials call is reached: a vendor's rules, of no hosts; indexes go on
                                  // after `unmatched_vendor`
    std::optional<std::size_t> vault_of_environment;  // in `issuers`: of `{vault: ...}` without a login
    Vendor unmatched_vendor;  // `_other`: tunnel mode, the defaults' timeouts, no retry, breaker or limit; index:
                              // vendors.size()
    std::string digest;       // SHA-256 of what was read, hex: tells two policies apart

    /// The vendor that has this host: exact before wildcard, the longest wildcard first. None: nullptr.
    const Vendor* match(const Authority& authority) const;
    const Vendor* find(std::string_view name) const;
    /// Of `credentials`, and `secrets` behind them.
    const CredentialSpec& spec_at(std::size_t index) const {
        return index < credentials.size() ? credentials[index] : secrets[index - credentials.size()];
    }
    /// Of every vendor that is intercepted: what our authority signs for.
    std::vector<HostPattern> intercepted_hosts() const;

    /// Fills the tables behind `match` and `find`; called once by the decoder (or a test) when `vendors` is final.
    void index_hosts();

  private:
    struct HostEntry {
        std::size_t vendor;
        std::size_t pattern;
    };
    struct TextHash {
        using is_transparent = void;  // a suffix of a host is looked up without a copy
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    template <class T>
    using ByText = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

    const Vendor* match_in(const ByText<std::vector<HostEntry>>& table, std::string_view host,
                           const Authority& authority) const;

    ByText<std::vector<HostEntry>> exact_, wildcard_;
    ByText<std::size_t> by_name_;
};

}  // namespace sluice
