// How the vendors of one Config are verified: a client SSL_CTX for each distinct set of TlsRules, found by the vendor's index, and the identity under which a vendor's connections are kept. Built with the Config, on any thread but a worker's (it reads files); shared by all workers, never changed after.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "certs/trust.hpp"
#include "config/config.hpp"

namespace sluice {

/// Equal for two vendors, of one policy or of two, exactly if they have the same name, the same address rules, the same TlsRules, and the files that these name held the same: then a connection of the one may serve the other. (Half a SHA-256 of all that.)
using ConnectionIdentity = std::array<std::uint64_t, 2>;

class ClientContexts {
  public:
    /// Every vendor of the policy, and every issuer. A vendor whose files cannot be read gets no context: its fault is kept, its requests fail with tls_failed that says it. What `before` (of the policy until now; null: there was none) has made of the same rules and the same files is taken over.
    explicit ClientContexts(const Config& config, const ClientContexts* before = nullptr);

    SSL_CTX* of(const Vendor& vendor) const { return by_vendor_[vendor.index].tls->context.get(); }   // null: see fault_of
    const std::string& fault_of(const Vendor& vendor) const { return by_vendor_[vendor.index].tls->fault; }
    const ConnectionIdentity& identity_of(const Vendor& vendor) const { return by_vendor_[vendor.index].identity; }
    /// Is any of the policy's vendors reached over connections of this identity?
    bool reach_over(const ConnectionIdentity& identity) const { return identities_.contains(identity); }
    /// Do both verify in the same way, vendor by vendor? (Of two readings of one policy: no file has changed.)
    bool same_as(const ClientContexts& other) const { return identities_in_order() == other.identities_in_order(); }

  private:
    struct Entry {
        TlsRules rules;
        SslCtxPtr context;
        std::string fault;
        std::string identity;   // of the rules and what their files held
    };
    struct Reached {
        std::shared_ptr<const Entry> tls;
        ConnectionIdentity identity;
    };
    struct First {
        std::size_t operator()(const ConnectionIdentity& identity) const { return identity[0]; }
    };
    std::vector<ConnectionIdentity> identities_in_order() const;

    std::vector<Reached> by_vendor_;
    std::unordered_set<ConnectionIdentity, First> identities_;
};

}  // namespace sluice
