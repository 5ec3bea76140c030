// An address and port as the kernel takes them. Pure; any thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>

#include "proxy/policy/address_guard.hpp"

namespace sluice {

/// Fills `out`, and returns how much of it counts.
socklen_t to_sockaddr(const IpAddress& address, std::uint16_t port, sockaddr_storage& out);
/// The address in what the kernel told, ::ffff:192.0.2.1 as the IPv4 address that it is; nothing: it is of another family.
std::optional<IpAddress> from_sockaddr(const sockaddr_storage& name);

}  // namespace sluice
