#include "proxy/http/authority.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t longest_name = 253, longest_label = 63;  // RFC 1035 2.3.4, without the closing dot

Failure bad_authority(std::string_view what) {
    return {Origin::application, Reason::bad_request, Replay::safe, std::string(what)};
}

bool is_v6_text(std::string_view host) {
    return host.find(':') != host.npos;
}

std::string bracketed(const std::string& host) {
    return is_v6_text(host) ? "[" + host + "]" : host;
}

/// The canonical text of an address (RFC 5952), or nothing.
std::optional<std::string> canonical_address(int family, std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (text.size() >= buffer.size() || text.find('\0') != text.npos) return {};
    text.copy(buffer.data(), text.size());
    std::array<unsigned char, 16> bytes;
    if (inet_pton(family, buffer.data(), bytes.data()) != 1) return {};
    return inet_ntop(family, bytes.data(), buffer.data(), buffer.size());
}

/// Would inet_aton, or a browser, read this label as the last number of an address?
bool reads_as_number(std::string_view label) {
    if (std::all_of(label.begin(), label.end(), is_digit)) return true;
    return label.size() >= 2 && label[0] == '0' && lower(label[1]) == 'x' &&
           std::all_of(label.begin() + 2, label.end(), [](char c) { return hex_value(c) >= 0; });
}

/// What is wrong with a name, or empty.
std::string_view judge_name(std::string_view name) {
    if (name.size() > longest_name) return "a host name longer than 253 bytes";
    std::size_t label = 0;
    for (char c : name) {
        if (c == '.') {
            if (label == 0) return "an empty label in a host name";
            label = 0;
            continue;
        }
        if (c == '@') return "userinfo before a host";
        const char l = lower(c);
        if (!is_digit(l) && (l < 'a' || l > 'z') && l != '-' && l != '_') {
            return "a character in a host name that is no letter, digit, '-', '_' or '.'";
        }
        if (++label > longest_label) return "a label longer than 63 bytes in a host name";
    }
    return label == 0 ? "an empty label in a host name" : std::string_view{};
}

Result<Authority> parse_name(std::string_view text, std::uint16_t port) {
    if (text.ends_with('.')) text.remove_suffix(1);  // the root: the same name
    if (text.empty()) return bad_authority("an empty host");
    if (const auto fault = judge_name(text); !fault.empty()) return bad_authority(fault);
    if (reads_as_number(text.substr(text.rfind('.') + 1))) {  // rfind's npos + 1 is 0: the only label
        auto address = canonical_address(AF_INET, text);
        if (!address) return bad_authority("a host that looks like an IPv4 address and is not a dotted one");
        return Authority{std::move(*address), port, true};
    }
    return Authority{to_lower(text), port, false};
}

Result<Authority> parse_v6(std::string_view text, std::uint16_t port) {
    auto address = canonical_address(AF_INET6, text);
    if (!address) return bad_authority("brackets around something that is not an IPv6 address");
    return Authority{std::move(*address), port, true};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    const auto port = parse_decimal(text);
    if (!port || *port == 0 || *port > 65535) return {};
    return static_cast<std::uint16_t>(*port);
}

}  // namespace

std::string Authority::text(Scheme scheme) const {
    return port == default_port(scheme) ? bracketed(host) : text();
}

std::string Authority::text() const {
    char digits[5];
    const auto end = std::to_chars(digits, digits + sizeof digits, port).ptr;
    std::string out;
    out.reserve(host.size() + 8);
    const bool v6 = is_v6_text(host);
    if (v6) out += '[';
    out += host;
    if (v6) out += ']';
    out += ':';
    out.append(digits, end);
    return out;
}

Result<Authority> parse_authority(std::string_view text, std::uint16_t port_if_none) {
    const bool in_brackets = text.starts_with('[');
    const std::size_t bracket = in_brackets ? text.find(']') : 0;
    if (bracket == text.npos) return bad_authority("an opening bracket without a closing one in a host");
    const std::size_t host_end = std::min(text.find(':', bracket), text.size());
    std::uint16_t port = port_if_none;
    if (host_end < text.size()) {
        if (text.find('@') != text.npos) return bad_authority("userinfo before a host");
        if (!in_brackets && text.find(':', host_end + 1) != text.npos) {
            return bad_authority("an IPv6 address without brackets, or more than one port");
        }
        if (host_end + 1 < text.size()) {
            const auto written = parse_port(text.substr(host_end + 1));
            if (!written) return bad_authority("a port that is not a number from 1 to 65535");
            port = *written;
        }
    }
    if (!in_brackets) return parse_name(text.substr(0, host_end), port);
    if (host_end != bracket + 1) return bad_authority("something other than a port after a bracketed host");
    return parse_v6(text.substr(1, bracket - 1), port);
}

bool names(std::string_view host_field, const Authority& authority, std::uint16_t port_if_none) {
    if (authority.host.empty()) return false;
    // Canonical text parses to itself, so equal bytes need no parsing; but an IPv6 host has its brackets in a field.
    if (host_field.starts_with(authority.host) && !is_v6_text(authority.host)) {
        const std::string_view rest = host_field.substr(authority.host.size());
        if (rest.empty()) return authority.port == port_if_none;
        if (rest == ":") return authority.port == port_if_none;
        if (rest[0] == ':') return parse_port(rest.substr(1)) == authority.port;
    }
    const auto named = parse_authority(host_field, port_if_none);
    return named && *named == authority;
}

bool HostPattern::matches(const Authority& authority) const {
    const bool port_fits =
        port != 0 ? authority.port == port
                  : authority.port == default_port(Scheme::https) || authority.port == default_port(Scheme::http);
    if (!port_fits) return false;
    if (!wildcard) return authority.host == host;
    const std::string_view name = authority.host;
    return !authority.is_address && name.size() > host.size() + 1 && name.ends_with(host) &&
           name[name.size() - host.size() - 1] == '.';
}

std::string HostPattern::text() const {
    std::string out = wildcard ? "*." : "";
    out += bracketed(host);
    if (port != 0) out += ":" + std::to_string(port);
    return out;
}

std::optional<HostPattern> parse_host_pattern(std::string_view text) {
    const bool wildcard = text.starts_with("*.");
    if (wildcard) text.remove_prefix(2);
    auto authority = parse_authority(text, 0);
    if (!authority || (wildcard && authority->is_address) || text.ends_with(':')) return {};
    return HostPattern{std::move(authority->host), wildcard, authority->port};
}

}  // namespace sluice
