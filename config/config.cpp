#include "config/config.hpp"

namespace sluice {

std::string ListenAddress::text() const {
    std::string host = address.text();
    if (address.v6) host = "[" + host + "]";
    return host + ":" + std::to_string(port);
}

const Vendor* Config::match_in(const ByText<std::vector<HostEntry>>& table, std::string_view host,
                               const Authority& authority) const {
    const auto found = table.find(host);
    if (found == table.end()) return nullptr;
    for (const HostEntry& entry : found->second) {
        const Vendor& vendor = vendors[entry.vendor];
        if (vendor.hosts[entry.pattern].matches(authority)) return &vendor;
    }
    return nullptr;
}

const Vendor* Config::match(const Authority& authority) const {
    if (const Vendor* vendor = match_in(exact_, authority.host, authority)) return vendor;
    if (wildcard_.empty() || authority.is_address) return nullptr;
    // Label by label from the left: the longest suffix is tried first, so the most specific wildcard wins.
    std::string_view suffix = authority.host;
    for (auto dot = suffix.find('.'); dot != std::string_view::npos; dot = suffix.find('.')) {
        suffix.remove_prefix(dot + 1);
        if (const Vendor* vendor = match_in(wildcard_, suffix, authority)) return vendor;
    }
    return nullptr;
}

const Vendor* Config::find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &vendors[found->second];
}

std::vector<HostPattern> Config::intercepted_hosts() const {
    std::vector<HostPattern> hosts;
    for (const Vendor& vendor : vendors)
        if (vendor.mode == Mode::intercept) hosts.insert(hosts.end(), vendor.hosts.begin(), vendor.hosts.end());
    return hosts;
}

void Config::index_hosts() {
    exact_.clear();
    wildcard_.clear();
    by_name_.clear();
    for (std::size_t v = 0; v < vendors.size(); ++v) {
        by_name_.emplace(vendors[v].name, v);
        for (std::size_t p = 0; p < vendors[v].hosts.size(); ++p) {
            const HostPattern& pattern = vendors[v].hosts[p];
            (pattern.wildcard ? wildcard_ : exact_)[pattern.host].push_back({v, p});
        }
    }
}

}  // namespace sluice
