#include "proxy/policy/vendor.hpp"

namespace sluice {

const Route* Vendor::route_for(std::string_view method, std::string_view path) const {
    for (const Route& route : routes) {
        if (route.match.matches(method, path)) return &route;
    }
    return nullptr;
}

std::optional<Url> Vendor::base_url() const {
    if (!endpoints.empty()) return endpoints.front();
    for (const HostPattern& host : hosts) {
        if (host.wildcard) continue;
        auto authority = parse_authority(host.text(), default_port(Scheme::https));
        if (authority) return Url{Scheme::https, std::move(*authority), {}};
    }
    return {};
}

Destination destination_of(const Vendor& vendor, Scheme named_scheme, const Authority& named) {
    if (vendor.endpoints.empty()) return {named_scheme, named, {}};
    const Url& endpoint = vendor.endpoints.front();
    return {endpoint.scheme, endpoint.authority, endpoint.prefix};
}

}  // namespace sluice
