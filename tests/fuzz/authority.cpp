// Hosts and ports from anybody: whatever is accepted is canonical, means the same wherever it is written again, and is
// no address to another reader unless it is one to us. Two lines: the second is compared with the first.
#include "proxy/http/authority.hpp"

#include <arpa/inet.h>

#include "proxy/base/text.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

bool is_address(const std::string& host) {
    in6_addr bytes;
    return inet_pton(AF_INET, host.c_str(), &bytes) == 1 || inet_pton(AF_INET6, host.c_str(), &bytes) == 1;
}

void judge_canonical(const Authority& authority) {
    const std::string& host = authority.host;
    REQUIRE(!host.empty() && host.size() <= 253 && host == to_lower(host) && !host.ends_with('.'));
    REQUIRE(host.find_first_of("[]@/?#% \t\r\n\\\"'<>") == host.npos && host.find('\0') == host.npos);
    REQUIRE(authority.is_address == is_address(host));
    in_addr bytes;
    if (!authority.is_address) REQUIRE(inet_aton(host.c_str(), &bytes) == 0);
}

void judge_round_trip(const Authority& authority) {
    if (authority.port == 0) return;  // a pattern's: any
    const auto again = parse_authority(authority.text(), 1);
    REQUIRE(again && *again == authority);
    REQUIRE(names(authority.text(), authority, 1));
    for (const Scheme scheme : {Scheme::http, Scheme::https}) {
        const auto shown = parse_authority(authority.text(scheme), default_port(scheme));
        REQUIRE(shown && *shown == authority);
        REQUIRE(names(authority.text(scheme), authority, default_port(scheme)));
    }
}

void judge_pattern(std::string_view text) {
    const auto pattern = parse_host_pattern(text);
    if (!pattern) return;
    const auto again = parse_host_pattern(pattern->text());
    REQUIRE(again && again->text() == pattern->text());
    REQUIRE(again->host == pattern->host && again->wildcard == pattern->wildcard && again->port == pattern->port);

    const std::uint16_t port = pattern->port == 0 ? 443 : pattern->port;
    const Authority apex{pattern->host, port, is_address(pattern->host)};
    REQUIRE(pattern->matches(apex) != pattern->wildcard);
    if (pattern->wildcard) {
        REQUIRE(!apex.is_address);
        REQUIRE(pattern->matches({"a.b." + apex.host, port, false}));
        REQUIRE(!pattern->matches({"a" + apex.host, port, false}));
    }
    if (pattern->port != 0)
        REQUIRE(!pattern->matches({apex.host, static_cast<std::uint16_t>(port ^ 1), apex.is_address}));
}

/// `names` is parsing and comparing, only cheaper.
void judge_comparison(std::string_view field, const Authority& authority) {
    for (const std::uint16_t port : {80, 443, 8443}) {
        const auto parsed = parse_authority(field, port);
        REQUIRE(names(field, authority, port) == (parsed && *parsed == authority));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view field = as_text(data, size);
    const std::string_view text = take_line(field);
    judge_pattern(text);
    for (const std::uint16_t port : {0, 80, 443}) {
        const auto authority = parse_authority(text, port);
        if (!authority) {
            REQUIRE(authority.error().origin == Origin::application);
            REQUIRE(authority.error().reason == Reason::bad_request && !authority.error().detail.empty());
            continue;
        }
        judge_canonical(*authority);
        judge_round_trip(*authority);
        judge_comparison(text, *authority);
        judge_comparison(field, *authority);
    }
    return 0;
}
