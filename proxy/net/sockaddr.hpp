// An address and port as the kernel takes them. Pure; any thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "proxy/policy/address_guard.hpp"

namespace sluice {

/// Fills `out`, and returns how much of it counts.
socklen_t to_sockaddr(const IpAddress& address, std::uint16_t port, sockaddr_storage& out);

}  // namespace sluice
