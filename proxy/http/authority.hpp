// One canonical host and port, made once and compared as bytes from then on. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/result.hpp"

namespace sluice {

enum class Scheme : unsigned char { http, https };
constexpr std::uint16_t default_port(Scheme scheme) { return scheme == Scheme::https ? 443 : 80; }
constexpr std::string_view name_of(Scheme scheme) { return scheme == Scheme::https ? "https" : "http"; }

struct Authority {
    std::string host;          // lower case, no brackets, no trailing dot; IP addresses in their canonical text
    std::uint16_t port = 0;
    bool is_address = false;   // an IPv4 or IPv6 literal

    bool operator==(const Authority&) const = default;

    /// "host", "host:8443", "[::1]:443": as a Host field has it; the port is left out when it is the scheme's.
    std::string text(Scheme scheme) const;
    /// Always with the port.
    std::string text() const;
};

/// "Host", "host:port", "[v6]", "[v6]:port" (RFC 3986 3.2.2); an empty port is as none (3.2.3). Userinfo, empty hosts, zero or too large ports, names over
/// 253 bytes, labels over 63, and characters other than letters, digits, '-', '_' and '.' are refused, as is any all-numeric last label
/// that is no dotted IPv4 ("1.2.3", "0x7f.1", "017700000001": other readers would take them for addresses).
/// The Failure is bad_request of the application; its detail says what is wrong.
Result<Authority> parse_authority(std::string_view text, std::uint16_t port_if_none);

/// Does a Host field name this authority? Cheap, without allocation, for the common case of equal bytes.
bool names(std::string_view host_field, const Authority& authority, std::uint16_t port_if_none);

/// A host of the policy: exact, or one leading "*." (any depth, never the apex), with an optional port.
struct HostPattern {
    std::string host;             // without the "*."
    bool wildcard = false;
    std::uint16_t port = 0;       // 0: the scheme's own, 443 or 80

    bool matches(const Authority& authority) const;
    std::string text() const;
};
std::optional<HostPattern> parse_host_pattern(std::string_view text);

}  // namespace sluice
