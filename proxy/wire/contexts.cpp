#include "proxy/wire/contexts.hpp"

#include "proxy/wire/transport.hpp"

namespace sluice {

ClientContexts::ClientContexts(const Config& config) {
    std::vector<std::pair<const TlsRules*, std::shared_ptr<const Entry>>> made;
    const auto entry_for = [&made](const TlsRules& rules) {
        for (const auto& [known, entry] : made)
            if (*known == rules) return entry;
        auto entry = std::make_shared<Entry>();
        if (auto context = make_client_context(rules)) {
            entry->context = std::move(*context);
            remember_sessions(entry->context.get());
        } else {
            entry->fault = context.error().what;
        }
        made.emplace_back(&rules, entry);
        return std::shared_ptr<const Entry>(entry);
    };
    for (const Vendor& vendor : config.vendors) by_vendor_.push_back(entry_for(vendor.tls));
    by_vendor_.push_back(entry_for(config.unmatched_vendor.tls));
}

}  // namespace sluice
