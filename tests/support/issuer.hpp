// One fetch of one credential by the real issuers and the real client, without a proxy around them: the policy is made by hand.
#pragma once

#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>

#include "proxy/serve/issuing.hpp"
#include "tests/support/proxy.hpp"

namespace sluice::testing {

/// A variable of this process as a test wants it, put back at the end. Without a value: not set. No other thread may look at the environment meanwhile.
class Variable {
  public:
    explicit Variable(const char* name, const std::optional<std::string>& value = {}) : name_(name) {
        if (const char* was = std::getenv(name)) was_ = was;
        put(value);
    }
    Variable(const Variable&) = delete;
    ~Variable() { put(was_); }

  private:
    void put(const std::optional<std::string>& value) const {
        if (value)
            ::setenv(name_, value->c_str(), 1);
        else
            ::unsetenv(name_);
    }
    const char* const name_;
    std::optional<std::string> was_;
};

/// What a decoder would make of a policy with this one credential, whose issuer trusts `vendor_ca` and may be on loopback.
class IssuerRig {
  public:
    explicit IssuerRig(CredentialSpec::Kind kind, bool loopback = true) : log_(::open("/dev/null", O_WRONLY | O_CLOEXEC)), telemetry_(64, log_, LogFormat::json) {
        directory_.file("vendor-ca.crt", vendor_ca().pem());
        auto config = std::make_shared<Config>();
        CredentialSpec spec;
        spec.name = "x";
        spec.kind = std::move(kind);
        spec.issuer = 0;
        config->credentials.push_back(std::move(spec));
        config->unmatched_vendor.name = "_other";
        Vendor issuer;
        issuer.name = "credential x";
        issuer.index = config->vendors.size() + 1;
        issuer.tls.ca_file = directory_.path() + "/vendor-ca.crt";
        if (loopback) issuer.addresses.push_back({*parse_address("127.0.0.0"), 8});
        issuer.timeout.total = 5s;
        config->issuers.push_back(std::move(issuer));
        config->index_hosts();
        telemetry_.enrol(*config);
        policy_.config = config;
        policy_.contexts = std::make_shared<const ClientContexts>(*config);
        world_.telemetry = &telemetry_;
        world_.board = &board_;
    }
    ~IssuerRig() { ::close(log_); }

    Result<Minted> fetch() {
        Issuing issuing(world_, state(), [](const KeeperNotice&) {});
        return issuing.fetch_once(policy_, policy_.config->credentials.front(), 10s);
    }
    /// `during`, while a keeper has the credential, which is then stopped as at the end of the process.
    template <class Call>
    void while_kept(Call during) {
        Issuing issuing(world_, state(), [](const KeeperNotice&) {});
        auto policy = std::make_shared<PolicySnapshot>(policy_);
        policy->credentials = carry_over(*policy->config, {});
        issuing.follow(std::move(policy));
        during();
    }
    const std::string& state() const { return directory_.path(); }
    /// The words of a fetch that fails; "" of one that does not.
    std::string fault() {
        const Result<Minted> minted = fetch();
        return minted ? "" : minted.error().detail;
    }

  private:
    TemporaryDirectory directory_;
    int log_;
    Telemetry telemetry_;
    CredentialBoard board_;
    World world_;
    PolicySnapshot policy_;
};

}  // namespace sluice::testing
