#include "proxy/wire/contexts.hpp"

#include <openssl/sha.h>

#include <cstring>
#include <map>
#include <tuple>

#include "proxy/wire/transport.hpp"

namespace sluice {

namespace {

struct Earlier {
    bool operator()(const TlsRules* a, const TlsRules* b) const {
        const auto key = [](const TlsRules& rules) { return std::tie(rules.min, rules.ca_file, rules.pins, rules.client_cert_file, rules.client_key_file); };
        return key(*a) < key(*b);
    }
};

// Lengths keep one part from running into the next.
ConnectionIdentity identity_of(const Vendor& vendor, const std::string& tls) {
    std::string text;
    const auto add = [&text](const std::string& part) { text += std::to_string(part.size()) + ':' + part; };
    add(vendor.name);
    add(tls);
    for (const AddressRange& range : vendor.addresses) add(range.text());
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    ConnectionIdentity identity;
    std::memcpy(identity.data(), digest.data(), sizeof identity);
    return identity;
}

}  // namespace

ClientContexts::ClientContexts(const Config& config, const ClientContexts* before) {
    std::map<const TlsRules*, std::shared_ptr<const Entry>, Earlier> earlier, made;
    if (before)
        for (const Reached& reached : before->by_vendor_) earlier.emplace(&reached.tls->rules, reached.tls);

    const auto entry_for = [&](const TlsRules& rules) {
        if (const auto known = made.find(&rules); known != made.end()) return known->second;
        const auto was = earlier.find(&rules);
        if (was != earlier.end() && was->second->context && trust_identity(rules) == was->second->identity) return made.emplace(&was->second->rules, was->second).first->second;
        auto entry = std::make_shared<Entry>();
        entry->rules = rules;
        if (auto context = make_client_context(rules)) {
            entry->context = std::move(*context);
            remember_sessions(entry->context.get());
            entry->identity = trust_identity(entry->context.get());
        } else {
            entry->fault = context.error().what;
            entry->identity = "no context: " + entry->fault;
        }
        return made.emplace(&entry->rules, entry).first->second;
    };
    const auto add = [&](const Vendor& vendor) {
        auto entry = entry_for(vendor.tls);
        const ConnectionIdentity identity = sluice::identity_of(vendor, entry->identity);
        identities_.insert(identity);
        by_vendor_.push_back({std::move(entry), identity});
    };
    for (const Vendor& vendor : config.vendors) add(vendor);
    add(config.unmatched_vendor);
    for (const Vendor& issuer : config.issuers) add(issuer);
}

std::vector<ConnectionIdentity> ClientContexts::identities_in_order() const {
    std::vector<ConnectionIdentity> all;
    for (const Reached& reached : by_vendor_) all.push_back(reached.identity);
    return all;
}

}  // namespace sluice
