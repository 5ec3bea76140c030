#include "proxy/policy/address_guard.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// Do the first `bits` bits agree?
bool same_prefix(const unsigned char* a, const unsigned char* b, unsigned bits) {
    const unsigned whole = bits / 8, rest = bits % 8;
    if (!std::equal(a, a + whole, b)) return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

unsigned width_of(const IpAddress& address) {
    return address.v6 ? 128 : 32;
}

IpAddress make_v4(unsigned char a, unsigned char b, unsigned char c, unsigned char d) {
    IpAddress out;
    out.bytes = {a, b, c, d};
    return out;
}

bool all_zero(const IpAddress& address, std::size_t from, std::size_t to) {
    return std::all_of(address.bytes.begin() + from, address.bytes.begin() + to, [](auto byte) { return byte == 0; });
}

}  // namespace

std::string IpAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer.data(), buffer.size());
    return buffer.data();
}

std::optional<IpAddress> parse_address(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (text.size() >= buffer.size() || text.find('\0') != text.npos) return {};
    text.copy(buffer.data(), text.size());
    IpAddress out;
    out.v6 = text.find(':') != text.npos;
    if (inet_pton(out.v6 ? AF_INET6 : AF_INET, buffer.data(), out.bytes.data()) != 1) return {};
    return out;
}

bool AddressRange::holds(const IpAddress& address) const {
    return address.v6 == base.v6 && same_prefix(address.bytes.data(), base.bytes.data(), bits);
}

std::string AddressRange::text() const {
    return bits == width_of(base) ? base.text() : base.text() + "/" + std::to_string(bits);
}

std::optional<AddressRange> parse_range(std::string_view text, std::string& fault) {
    const auto refuse = [&](const std::string& why) {
        fault = "'" + std::string(text) + "' " + why;
        return std::nullopt;
    };
    const std::size_t slash = text.find('/');
    const auto base = parse_address(text.substr(0, slash));
    if (!base) return refuse("is not a range of addresses such as '10.0.0.0/8' or 'fd00::/8'");
    AddressRange range{*base, width_of(*base)};
    if (slash == text.npos) return range;
    const auto bits = parse_decimal(text.substr(slash + 1));
    if (!bits || *bits > width_of(*base)) {
        return refuse("needs a prefix length from 0 to " + std::to_string(width_of(*base)) + " after its '/'");
    }
    range.bits = static_cast<unsigned>(*bits);
    for (unsigned bit = range.bits; bit < width_of(*base); ++bit) {
        range.base.bytes[bit / 8] &= static_cast<unsigned char>(~(0x80u >> bit % 8));
    }
    if (range.base != *base) return refuse("has bits beyond its prefix: '" + range.text() + "' holds it");
    return range;
}

// ---- what may be dialled

namespace {

struct SpecialRange {
    AddressRange range;
    std::string_view why;
};

AddressRange range_of(std::string_view text) {
    std::string fault;
    return parse_range(text, fault).value();
}

SpecialRange special(std::string_view range, std::string_view why) {
    return {range_of(range), why};
}

// IANA IPv4 and IPv6 Special-Purpose Address Registries. The few addresses in them that are globally reachable (anycast
// of protocols such as PCP, TURN, AMT and AS112) are no vendor's, so their blocks are refused whole. First match wins.
const std::vector<SpecialRange>& v4_special() {
    static const std::vector<SpecialRange> table{
        special("0.0.0.0/8", "an address of 'this network'"),
        special("10.0.0.0/8", "a private address"),
        special("100.64.0.0/10", "a carrier-grade NAT address"),
        special("127.0.0.0/8", "a loopback address"),
        special("169.254.0.0/16", "a link-local address (cloud metadata)"),
        special("172.16.0.0/12", "a private address"),
        special("192.0.0.0/24", "a reserved address (IETF protocols)"),
        special("192.0.2.0/24", "a documentation address"),
        special("192.88.99.0/24", "a reserved address (6to4 relays)"),
        special("192.168.0.0/16", "a private address"),
        special("198.18.0.0/15", "a benchmarking address"),
        special("198.51.100.0/24", "a documentation address"),
        special("203.0.113.0/24", "a documentation address"),
        special("224.0.0.0/4", "a multicast address"),
        special("255.255.255.255", "the broadcast address"),
        special("240.0.0.0/4", "a reserved address"),
    };
    return table;
}

const std::vector<SpecialRange>& v6_special() {
    static const std::vector<SpecialRange> table{
        special("::", "the unspecified address"),
        special("::1", "a loopback address"),
        special("fc00::/7", "a private address"),
        special("fe80::/10", "a link-local address"),
        special("fec0::/10", "a site-local address"),
        special("ff00::/8", "a multicast address"),
        special("100::/64", "a discard-only address"),
        special("5f00::/16", "a segment routing address"),
        special("2001:2::/48", "a benchmarking address"),
        special("2001::/23", "a reserved address (IETF protocols)"),
        special("2001:db8::/32", "a documentation address"),
        special("3fff::/20", "a documentation address"),
    };
    return table;
}

/// 2000::/3, the only block that IANA gives out as global unicast.
bool is_global_unicast(const IpAddress& address) {
    return address.bytes[0] >> 5 == 1;
}

std::string_view judge_bare(const IpAddress& address) {
    for (const SpecialRange& entry : address.v6 ? v6_special() : v4_special()) {
        if (entry.range.holds(address)) return entry.why;
    }
    return address.v6 && !is_global_unicast(address) ? "a reserved address" : std::string_view{};
}

/// 64:ff9b:1::/48 (RFC 8215) does not say where in it an operator's NAT64 puts the IPv4 address (RFC 6052 2.2). Read
/// are the layouts that give themselves away by their zeros, /96 and /48; any other stays the reserved address that it
/// is.
std::optional<IpAddress> local_nat64_v4(const IpAddress& address) {
    const auto& b = address.bytes;
    if (all_zero(address, 8, 12)) return make_v4(b[12], b[13], b[14], b[15]);
    if (b[8] == 0 && all_zero(address, 11, 16)) return make_v4(b[6], b[7], b[9], b[10]);
    return {};
}

}  // namespace

std::optional<IpAddress> embedded_v4(const IpAddress& address) {
    static const AddressRange mapped = range_of("::ffff:0:0/96"), compatible = range_of("::/96");
    static const AddressRange nat64 = range_of("64:ff9b::/96"), local_nat64 = range_of("64:ff9b:1::/48");
    static const AddressRange six_to_four = range_of("2002::/16"), teredo = range_of("2001::/32");
    const auto& b = address.bytes;
    const auto flipped = [&](std::size_t i) { return static_cast<unsigned char>(~b[i]); };
    if (!address.v6) return {};
    if (all_zero(address, 0, 15) && b[15] <= 1) return {};  // :: and ::1 are themselves
    if (mapped.holds(address) || compatible.holds(address) || nat64.holds(address)) {
        return make_v4(b[12], b[13], b[14], b[15]);
    }
    if (six_to_four.holds(address)) return make_v4(b[2], b[3], b[4], b[5]);
    if (teredo.holds(address)) return make_v4(flipped(12), flipped(13), flipped(14), flipped(15));  // RFC 4380 4
    if (local_nat64.holds(address)) return local_nat64_v4(address);
    return {};
}

std::string_view judge_address(const IpAddress& address, const std::vector<AddressRange>& extra) {
    const auto named = [&](const IpAddress& one) {
        return std::any_of(extra.begin(), extra.end(), [&](const AddressRange& range) { return range.holds(one); });
    };
    if (named(address)) return {};
    const auto inside = embedded_v4(address);
    if (!inside) return judge_bare(address);
    return named(*inside) ? std::string_view{} : judge_bare(*inside);
}

}  // namespace sluice
