#include "proxy/net/sockaddr.hpp"

#include <netinet/in.h>

#include <cstring>

namespace sluice {

socklen_t to_sockaddr(const IpAddress& address, std::uint16_t port, sockaddr_storage& out) {
    std::memset(&out, 0, sizeof out);
    if (address.v6) {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes.data(), 16);
        return sizeof v6;
    }
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes.data(), 4);
    return sizeof v4;
}

std::optional<IpAddress> from_sockaddr(const sockaddr_storage& name) {
    IpAddress address;
    if (name.ss_family == AF_INET) {
        std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in&>(name).sin_addr, 4);
        return address;
    }
    if (name.ss_family != AF_INET6) return {};
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(name).sin6_addr;
    address.v6 = !IN6_IS_ADDR_V4MAPPED(&v6);
    const std::size_t from = address.v6 ? 0 : 12;
    std::memcpy(address.bytes.data(), v6.s6_addr + from, 16 - from);
    return address;
}

}  // namespace sluice
