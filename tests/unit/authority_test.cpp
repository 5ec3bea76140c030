#include "proxy/http/authority.hpp"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace std::string_literals;

TEST_CASE("an authority is made canonical once") {
    const std::string label63(63, 'a');
    const std::string name253 = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b');
    struct Case {
        std::string text;
        std::string host;
        std::uint16_t port;
        bool is_address;
    };
    const Case cases[] = {
        {"api.pay.example", "api.pay.example", 443, false},
        {"API.Pay.Example:8443", "api.pay.example", 8443, false},
        {"api.pay.example.", "api.pay.example", 443, false},
        {"api.pay.example.:80", "api.pay.example", 80, false},
        {"localhost", "localhost", 443, false},
        {"a_b-c.example", "a_b-c.example", 443, false},
        {"1password.com", "1password.com", 443, false},
        {"1.2.3.com", "1.2.3.com", 443, false},
        {"x.0xfg", "x.0xfg", 443, false},
        {"h:", "h", 443, false},
        {"h.:", "h", 443, false},
        {"127.0.0.1:", "127.0.0.1", 443, true},
        {"[::1]:", "::1", 443, true},
        {"h:1", "h", 1, false},
        {"h:65535", "h", 65535, false},
        {"h:0080", "h", 80, false},
        {name253, name253, 443, false},
        {name253 + ".", name253, 443, false},
        {"127.0.0.1", "127.0.0.1", 443, true},
        {"127.0.0.1:80", "127.0.0.1", 80, true},
        {"127.0.0.1.", "127.0.0.1", 443, true},
        {"[::1]", "::1", 443, true},
        {"[::1]:8443", "::1", 8443, true},
        {"[0:0:0:0:0:0:0:1]", "::1", 443, true},
        {"[2001:DB8::0:1]", "2001:db8::1", 443, true},
        {"[::ffff:7f00:1]", "::ffff:127.0.0.1", 443, true},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        const auto authority = parse_authority(one.text, 443);
        REQUIRE(authority.has_value());
        CHECK(authority->host == one.host);
        CHECK(authority->port == one.port);
        CHECK(authority->is_address == one.is_address);
        // Canonical: it reads back as itself.
        CHECK(*parse_authority(authority->text(), 1) == *authority);
        CHECK(*parse_authority(authority->text(Scheme::https), 443) == *authority);
    }
}

TEST_CASE("what is no authority is refused with what is wrong") {
    const std::string label63(63, 'a');
    const std::string name254 = label63 + "." + label63 + "." + label63 + "." + std::string(62, 'b');
    const std::string_view bad_character = "a character in a host name that is no letter, digit, '-', '_' or '.'";
    const std::string_view bad_port = "a port that is not a number from 1 to 65535";
    const std::string_view bad_v4 = "a host that looks like an IPv4 address and is not a dotted one";
    const std::string_view bad_v6 = "brackets around something that is not an IPv6 address";
    const std::string_view empty_label = "an empty label in a host name";
    struct Case {
        std::string text;
        std::string_view detail;
    };
    const Case cases[] = {
        {"", "an empty host"},
        {":80", "an empty host"},
        {".", "an empty host"},
        {"..", empty_label},
        {".a", empty_label},
        {"a..b", empty_label},
        {"a..", empty_label},
        {name254, "a host name longer than 253 bytes"},
        {label63 + "a.com", "a label longer than 63 bytes in a host name"},
        {":", "an empty host"},
        {"h::", "an IPv6 address without brackets, or more than one port"},
        {"h:0", bad_port},
        {"h:65536", bad_port},
        {"h:+80", bad_port},
        {"h:80x", bad_port},
        {"h: 80", bad_port},
        {"h:99999999999999999999", bad_port},
        {"user@h", "userinfo before a host"},
        {"user:pass@h", "userinfo before a host"},
        {"user:80@h:80", "userinfo before a host"},
        {"a b", bad_character},
        {"a/b", bad_character},
        {"a\\b", bad_character},
        {"a%2eb", bad_character},
        {"a\0b"s, bad_character},
        {"h\xC3\xA4st", bad_character},
        {"a,b", bad_character},
        {"*.example", bad_character},
        {"h\t", bad_character},
        {"1.2.3", bad_v4},
        {"1.2.3.4.5", bad_v4},
        {"256.1.1.1", bad_v4},
        {"127.0.0.01", bad_v4},
        {"0x7f.1", bad_v4},
        {"017700000001", bad_v4},
        {"2130706433", bad_v4},
        {"0x7f000001", bad_v4},
        {"127.0.0.0x1", bad_v4},
        {"127.0.0.0x", bad_v4},
        {"a.0X1F", bad_v4},
        {"example.123", bad_v4},
        {"::1", "an IPv6 address without brackets, or more than one port"},
        {"h:80:80", "an IPv6 address without brackets, or more than one port"},
        {"[::1", "an opening bracket without a closing one in a host"},
        {"[]", bad_v6},
        {"[h]", bad_v6},
        {"[127.0.0.1]", bad_v6},
        {"[fe80::1%eth0]", bad_v6},
        {"[fe80::1%25eth0]", bad_v6},
        {"[v1.x]", bad_v6},
        {"[::1::]", bad_v6},
        {"[12345::]", bad_v6},
        {"[" + std::string(100, ':') + "]", bad_v6},
        {"[::1]x", "something other than a port after a bracketed host"},
        {"[::1]x:80", "something other than a port after a bracketed host"},
        {"[::1].", "something other than a port after a bracketed host"},
        {"[::1]::", bad_port},
        {"[::1]:80:80", bad_port},
        {"[user@::1]:80", "userinfo before a host"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        const auto authority = parse_authority(one.text, 443);
        REQUIRE_FALSE(authority.has_value());
        CHECK(authority.error().detail == one.detail);
        CHECK(authority.error().reason == Reason::bad_request);
        CHECK(authority.error().origin == Origin::application);
    }
}

TEST_CASE("an authority is written as a Host field has it") {
    const Authority name{"h.example", 443, false}, v6{"::1", 80, true};
    CHECK(name.text(Scheme::https) == "h.example");
    CHECK(name.text(Scheme::http) == "h.example:443");
    CHECK(name.text() == "h.example:443");
    CHECK(v6.text(Scheme::http) == "[::1]");
    CHECK(v6.text(Scheme::https) == "[::1]:80");
    CHECK(v6.text() == "[::1]:80");
}

TEST_CASE("a Host field names an authority by what it means, not by its bytes") {
    struct Case {
        std::string_view field;
        Authority authority;
        bool named;
    };
    const Authority plain{"h.example", 443, false}, other_port{"h.example", 8443, false}, v6{"::1", 443, true};
    const Case cases[] = {
        {"h.example", plain, true},
        {"h.example:443", plain, true},
        {"H.Example", plain, true},
        {"h.example.", plain, true},
        {"h.example:0443", plain, true},
        {"H.EXAMPLE.:443", plain, true},
        {"h.example:8443", other_port, true},
        {"[::1]", v6, true},
        {"[0::1]:443", v6, true},
        {"h.example:80", plain, false},
        {"h.example", other_port, false},
        {"h.example:", plain, true},
        {"H.example.:", plain, true},
        {"[::1]:", v6, true},
        {"h.example:", other_port, false},
        {"h.example::", plain, false},
        {"h.example:443x", plain, false},
        {"h.example:443:443", plain, false},
        {"h.examplex", plain, false},
        {"xh.example", plain, false},
        {"h.example.evil", plain, false},
        {"h.example@evil", plain, false},
        {"user@h.example", plain, false},
        {"h.example, h.example", plain, false},
        {"h.example:443@evil", plain, false},
        {"", plain, false},
        {"::1", v6, false},
        {"::1:443", v6, false},
        {"", Authority{}, false},
        {":443", Authority{"", 443, false}, false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.field, one.authority.host, one.authority.port);
        CHECK(names(one.field, one.authority, 443) == one.named);
    }
}

TEST_CASE("a host pattern is exact, or one leading wildcard of any depth that spares the apex") {
    struct Case {
        std::string_view pattern, host;
        bool matches;
    };
    const Case cases[] = {
        {"api.example", "api.example:443", true},
        {"api.example", "api.example:80", true},
        {"api.example", "api.example:8443", false},
        {"API.example.", "api.example:443", true},
        {"api.example", "x.api.example:443", false},
        {"api.example:8443", "api.example:8443", true},
        {"api.example:8443", "api.example:443", false},
        {"*.example", "a.example:443", true},
        {"*.example", "a.b.example:443", true},
        {"*.example", "example:443", false},
        {"*.example", "aexample:443", false},
        {"*.example", "an-example:443", false},
        {"*.example", "a.example.evil:443", false},
        {"*.example:8443", "a.example:8443", true},
        {"*.example:8443", "a.example:443", false},
        {"10.0.0.1", "10.0.0.1:80", true},
        {"[::1]:443", "[0::1]:443", true},
    };
    for (const Case& one : cases) {
        CAPTURE(one.pattern, one.host);
        const auto pattern = parse_host_pattern(one.pattern);
        REQUIRE(pattern);
        CHECK(pattern->matches(*parse_authority(one.host, 0)) == one.matches);
    }
}

TEST_CASE("a host pattern is written back as it is read") {
    for (std::string_view text :
         {"api.example", "api.example:8443", "*.example", "*.example:1", "[::1]", "[::1]:443"}) {
        CAPTURE(text);
        REQUIRE(parse_host_pattern(text));
        CHECK(parse_host_pattern(text)->text() == text);
    }
}

TEST_CASE("a star anywhere but at the front is no host pattern") {
    for (std::string_view text : {"", "*", "*.", "**.example", "*.*.example", "a.*.example", "api.*", "*example",
                                  "*.10.0.0.1", "*.[::1]", "https://h", "h/", "h:0", "h:", "*.h:"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_host_pattern(text));
    }
}
