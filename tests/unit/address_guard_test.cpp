#include "proxy/policy/address_guard.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

IpAddress address(std::string_view text) {
    const auto parsed = parse_address(text);
    INFO(text);
    REQUIRE(parsed);
    return *parsed;
}

std::vector<AddressRange> ranges(const std::vector<std::string>& texts) {
    std::vector<AddressRange> out;
    for (const std::string& text : texts) {
        std::string fault;
        const auto range = parse_range(text, fault);
        INFO(fault);
        REQUIRE(range);
        out.push_back(*range);
    }
    return out;
}

}  // namespace

TEST_CASE("public addresses may be dialled, special ones may not") {
    const std::string_view ok = "", here = "an address of 'this network'", own = "a private address",
                           nat = "a carrier-grade NAT address", loop = "a loopback address",
                           link = "a link-local address (cloud metadata)", doc = "a documentation address",
                           ietf = "a reserved address (IETF protocols)", bench = "a benchmarking address",
                           multi = "a multicast address", reserved = "a reserved address",
                           link6 = "a link-local address", relay = "a reserved address (6to4 relays)",
                           site = "a site-local address";
    struct Case {
        std::string text;
        std::string_view why;
    };
    // For every block its first and last address, and the neighbours where those are public.
    const Case cases[] = {
        {"0.0.0.0", here},
        {"0.255.255.255", here},
        {"1.0.0.0", ok},
        {"9.255.255.255", ok},
        {"10.0.0.0", own},
        {"10.255.255.255", own},
        {"11.0.0.0", ok},
        {"100.63.255.255", ok},
        {"100.64.0.0", nat},
        {"100.100.100.200", nat},
        {"100.127.255.255", nat},
        {"100.128.0.0", ok},
        {"126.255.255.255", ok},
        {"127.0.0.1", loop},
        {"127.255.255.255", loop},
        {"128.0.0.0", ok},
        {"169.253.255.255", ok},
        {"169.254.0.0", link},
        {"169.254.169.254", link},
        {"169.254.255.255", link},
        {"169.255.0.0", ok},
        {"172.15.255.255", ok},
        {"172.16.0.0", own},
        {"172.31.255.255", own},
        {"172.32.0.0", ok},
        {"191.255.255.255", ok},
        {"192.0.0.0", ietf},
        {"192.0.0.255", ietf},
        {"192.0.1.0", ok},
        {"192.0.2.0", doc},
        {"192.0.2.255", doc},
        {"192.0.3.0", ok},
        {"192.88.98.255", ok},
        {"192.88.99.1", relay},
        {"192.88.100.0", ok},
        {"192.167.255.255", ok},
        {"192.168.0.0", own},
        {"192.168.255.255", own},
        {"192.169.0.0", ok},
        {"198.17.255.255", ok},
        {"198.18.0.0", bench},
        {"198.19.255.255", bench},
        {"198.20.0.0", ok},
        {"198.51.99.255", ok},
        {"198.51.100.1", doc},
        {"198.51.101.0", ok},
        {"203.0.112.255", ok},
        {"203.0.113.255", doc},
        {"203.0.114.0", ok},
        {"223.255.255.255", ok},
        {"224.0.0.0", multi},
        {"239.255.255.255", multi},
        {"240.0.0.0", reserved},
        {"255.255.255.254", reserved},
        {"255.255.255.255", "the broadcast address"},
        {"8.8.8.8", ok},

        {"::", "the unspecified address"},
        {"::1", loop},
        {"100::", "a discard-only address"},
        {"100::ffff:ffff:ffff:ffff", "a discard-only address"},
        {"100:0:0:1::", reserved},
        {"1fff:ffff::", reserved},
        {"2000::1", ok},
        {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ok},
        {"2001:1::1", ietf},
        {"2001:2::1", bench},
        {"2001:2:0:ffff::1", bench},
        {"2001:2:1::1", ietf},
        {"2001:10::1", ietf},
        {"2001:20::1", ietf},
        {"2001:1ff:ffff::1", ietf},
        {"2001:200::1", ok},
        {"2001:db7:ffff::1", ok},
        {"2001:db8::1", doc},
        {"2001:db8:ffff::1", doc},
        {"2001:db9::1", ok},
        {"2001:4860:4860::8888", ok},
        {"2606:4700::1111", ok},
        {"3ffe:ffff::1", ok},
        {"3fff::1", doc},
        {"3fff:fff:ffff::1", doc},
        {"3fff:1000::1", ok},
        {"4000::1", reserved},
        {"5f00::1", "a segment routing address"},
        {"5f01::1", reserved},
        {"fbff::1", reserved},
        {"fc00::1", own},
        {"fd00:ec2::254", own},
        {"fdff:ffff::1", own},
        {"fe00::1", reserved},
        {"fe80::1", link6},
        {"febf::1", link6},
        {"fec0::1", site},
        {"feff::1", site},
        {"ff00::1", multi},
        {"ff02::1", multi},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", multi},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(judge_address(address(one.text), {}) == one.why);
    }
}

TEST_CASE("an IPv6 address that carries an IPv4 address is judged by it") {
    struct Case {
        std::string text, inside;  // "": none
    };
    const Case cases[] = {
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"::ffff:8.8.8.8", "8.8.8.8"},
        {"::10.0.0.1", "10.0.0.1"},
        {"::8.8.8.8", "8.8.8.8"},
        {"::2", "0.0.0.2"},
        {"2002:a00:1::", "10.0.0.1"},
        {"2002:a9fe:a9fe:1:2:3:4:5", "169.254.169.254"},
        {"2002:808:808::1", "8.8.8.8"},
        {"64:ff9b::169.254.169.254", "169.254.169.254"},
        {"64:ff9b::8.8.8.8", "8.8.8.8"},
        {"64:ff9b:1::10.0.0.1", "10.0.0.1"},            // /96
        {"64:ff9b:1:fffe::8.8.8.8", "8.8.8.8"},         // /96 in a part of the block
        {"64:ff9b:1:a00:0:100::", "10.0.0.1"},          // /48: 16 bits on each side of the zero byte
        {"64:ff9b:1:808:8:800::", "8.8.8.8"},           // /48
        {"2001:0:53aa:64c:0:0:f5ff:fffe", "10.0.0.1"},  // Teredo: inverted
        {"2001:0:53aa:64c:0:0:f7f7:f7f7", "8.8.8.8"},
        {"::", ""},
        {"::1", ""},
        {"64:ff9b:1::a:0:0:1", ""},  // neither layout
        {"64:ff9b:1:ff:ff:ff:ff:ff", ""},
        {"64:ff9b:2::8.8.8.8", ""},
        {"64:ff9b:0:1::8.8.8.8", ""},
        {"::ffff:0:8.8.8.8", ""},  // SIIT: another block
        {"2003::1", ""},
        {"2001:1::1", ""},
        {"fe80::10.0.0.1", ""},
        {"10.0.0.1", ""},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        const auto inside = embedded_v4(address(one.text));
        CHECK((inside ? inside->text() : "") == one.inside);
        if (inside) CHECK(judge_address(address(one.text), {}) == judge_address(address(one.inside), {}));
    }
}

TEST_CASE("an address whose NAT64 layout is not plain is refused, as is IPv4 wrapped in any other block") {
    for (std::string_view text :
         {"64:ff9b:1::a:0:0:1", "64:ff9b:1:ff:ff:ff:ff:ff", "64:ff9b:2::8.8.8.8", "::ffff:0:8.8.8.8"}) {
        CAPTURE(text);
        CHECK(judge_address(address(text), {}) == "a reserved address");
    }
}

TEST_CASE("a vendor's own ranges add to the public addresses, and never narrow") {
    struct Case {
        std::vector<std::string> extra;
        std::string text;
        bool dialled;
    };
    const Case cases[] = {
        {{"10.0.0.0/8"}, "10.1.2.3", true},
        {{"10.0.0.0/8"}, "8.8.8.8", true},
        {{"10.0.0.0/8"}, "192.168.0.1", false},
        {{"10.0.0.0/8", "192.168.0.1"}, "192.168.0.1", true},
        {{"10.0.0.0/8", "192.168.0.1"}, "192.168.0.2", false},
        {{"127.0.0.1"}, "127.0.0.1", true},
        {{"127.0.0.1"}, "127.0.0.2", false},
        {{"127.0.0.0/8"}, "::1", false},
        {{"::1"}, "::1", true},
        {{"::1"}, "127.0.0.1", false},
        {{"0.0.0.0/0"}, "169.254.169.254", true},
        {{"0.0.0.0/0"}, "fd00::1", false},
        {{"0.0.0.0/0"}, "::1", false},
        {{"0.0.0.0/0"}, "::", false},
        {{"fd00::/8"}, "fd12::1", true},
        {{"fd00::/8"}, "fc12::1", false},
        // a range written in IPv4 covers the IPv6 forms of its addresses
        {{"10.0.0.0/8"}, "::ffff:10.1.2.3", true},
        {{"10.0.0.0/8"}, "64:ff9b::10.1.2.3", true},
        {{"10.0.0.0/8"}, "2002:a01:203::1", true},
        {{"10.0.0.0/8"}, "::ffff:192.168.0.1", false},
        // a range written in IPv6 covers just what it says
        {{"64:ff9b::/96"}, "64:ff9b::10.1.2.3", true},
        {{"64:ff9b::/96"}, "10.1.2.3", false},
        {{"64:ff9b:1::/48"}, "64:ff9b:1::a:0:0:1", true},
        {{"::ffff:10.0.0.0/104"}, "::ffff:10.1.2.3", true},
        {{"::ffff:10.0.0.0/104"}, "10.1.2.3", false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.extra, one.text);
        CHECK(judge_address(address(one.text), ranges(one.extra)).empty() == one.dialled);
    }
}

TEST_CASE("an address is read strictly and written canonically") {
    struct Case {
        std::string text, canonical;
    };
    const Case cases[] = {
        {"1.2.3.4", "1.2.3.4"},     {"255.255.255.255", "255.255.255.255"},        {"::", "::"},
        {"0:0:0:0:0:0:0:1", "::1"}, {"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(address(one.text).text() == one.canonical);
        CHECK(address(one.canonical) == address(one.text));
    }
    for (std::string_view text :
         {"",         "1",        "1.2.3",     "1.2.3.4.5",  "1.2.3.256",     "01.2.3.4",     "0x1.2.3.4",
          " 1.2.3.4", "1.2.3.4 ", "1.2.3.4/8", "1.2.3.4:80", "[::1]",         "fe80::1%eth0", "::1::",
          ":::",      "12345::",  "::1.2.3",   "::01.2.3.4", "1:2:3:4:5:6:7", "localhost"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_address(text));
    }
    CHECK_FALSE(parse_address(std::string_view("1.2.3.4\0", 8)));
    CHECK_FALSE(parse_address(std::string(1000, '1')));
}

TEST_CASE("a range holds exactly the addresses that share its prefix") {
    struct Case {
        std::string range, text;
        bool holds;
    };
    const Case cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.16.0.0/12", "10.31.0.1", true},
        {"10.16.0.0/12", "10.32.0.0", false},
        {"10.0.0.4/31", "10.0.0.5", true},
        {"10.0.0.4/31", "10.0.0.6", false},
        {"10.0.0.4/32", "10.0.0.4", true},
        {"10.0.0.4/32", "10.0.0.5", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "ffff::1", true},
        {"::/0", "1.2.3.4", false},
        {"fd00::/8", "fdff::1", true},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1/128", "::1", true},
        {"::1/128", "::2", false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.range, one.text);
        CHECK(ranges({one.range})[0].holds(address(one.text)) == one.holds);
    }
}

TEST_CASE("a range is written back as it is read; a single address needs no prefix") {
    for (const auto& [text, written] : {std::pair{"10.0.0.0/8", "10.0.0.0/8"},
                                        {"10.0.0.1", "10.0.0.1"},
                                        {"10.0.0.1/32", "10.0.0.1"},
                                        {"fd00::/8", "fd00::/8"},
                                        {"::1", "::1"}}) {
        CHECK(ranges({text})[0].text() == written);
    }
}

TEST_CASE("what is no range says why") {
    const std::string shape = " is not a range of addresses such as '10.0.0.0/8' or 'fd00::/8'";
    const std::string bits4 = " needs a prefix length from 0 to 32 after its '/'";
    struct Case {
        std::string text, why;
    };
    const Case cases[] = {
        {"", shape},
        {"/8", shape},
        {"10/8", shape},
        {"10.0.0/8", shape},
        {"internal.example", shape},
        {"10.0.0.0-10.0.0.9", shape},
        {"10.0.0.0/", bits4},
        {"10.0.0.0/33", bits4},
        {"10.0.0.0/-1", bits4},
        {"10.0.0.0/ 8", bits4},
        {"10.0.0.0/8/8", bits4},
        {"10.0.0.0/255.0.0.0", bits4},
        {"fd00::/129", " needs a prefix length from 0 to 128 after its '/'"},
        {"10.1.0.0/8", " has bits beyond its prefix: '10.0.0.0/8' holds it"},
        {"10.0.0.5/31", " has bits beyond its prefix: '10.0.0.4/31' holds it"},
        {"fd00::1/64", " has bits beyond its prefix: 'fd00::/64' holds it"},
        {"1.2.3.4/0", " has bits beyond its prefix: '0.0.0.0/0' holds it"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        std::string fault;
        CHECK_FALSE(parse_range(one.text, fault));
        CHECK(fault == "'" + one.text + "'" + one.why);
    }
}
