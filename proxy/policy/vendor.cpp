#include "proxy/policy/vendor.hpp"

#include "proxy/policy/lenient_path.hpp"

namespace sluice {

const Route* Vendor::route_for(std::string_view method, std::string_view path) const {
    if (routes.empty()) return nullptr;
    const std::optional<std::string> lenient = lenient_reading(path);
    for (const Route& route : routes) {
        if (route.match.matches(method, path) || (lenient && route.match.matches(method, *lenient))) return &route;
    }
    return nullptr;
}

std::size_t Vendor::breaker_of(const Authority& authority, std::size_t endpoint) const {
    if (!endpoints.empty()) return endpoint;
    for (std::size_t i = 1; i < hosts.size(); ++i)
        if (hosts[i].matches(authority)) return i;
    return 0;
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

Destination destination_of(const Vendor& vendor, Scheme named_scheme, const Authority& named, std::size_t endpoint) {
    if (vendor.endpoints.empty()) return {named_scheme, named, {}};
    const Url& url = vendor.endpoints[endpoint];
    return {url.scheme, url.authority, url.prefix};
}

}  // namespace sluice
