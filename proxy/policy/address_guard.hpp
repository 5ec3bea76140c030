// Which addresses may be dialled: public ones, and those that a vendor names. Pure: addresses are plain bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// An IPv4 or IPv6 address, network byte order; IPv4 in the first four bytes.
struct IpAddress {
    std::array<unsigned char, 16> bytes{};
    bool v6 = false;

    bool operator==(const IpAddress&) const = default;
    std::string text() const;
};
/// Dotted quad or RFC 4291 text, no zone, no brackets, no leading zeros.
std::optional<IpAddress> parse_address(std::string_view text);

/// "10.0.0.0/8", "fd00::/8", or one address.
struct AddressRange {
    IpAddress base;
    unsigned bits = 0;

    bool holds(const IpAddress& address) const;
    std::string text() const;
};
/// Nothing: not a range (bits beyond the prefix must be zero); `fault` then says why.
std::optional<AddressRange> parse_range(std::string_view text, std::string& fault);

/// The IPv4 address inside a mapped (::ffff:0:0/96), compatible, 6to4 (2002::/16), NAT64 (64:ff9b::/96; 64:ff9b:1::/48 where its
/// layout is plain) or Teredo address.
std::optional<IpAddress> embedded_v4(const IpAddress& address);

/// Why an address may not be dialled ("a private address", "a link-local address (cloud metadata)"), or empty. IPv6 forms that
/// carry an IPv4 address are judged by it. `extra` are the vendor's own `addresses`: they add to the public ones, and a range
/// written in IPv4 also covers the IPv6 forms that carry its addresses. Source: IANA special-purpose registries (RFC 6890). The
/// view is to static storage.
std::string_view judge_address(const IpAddress& address, const std::vector<AddressRange>& extra);

}  // namespace sluice
