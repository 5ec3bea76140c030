#include "proxy/base/text.hpp"

#include <catch2/catch.hpp>
#include <limits>

using namespace sluice;
using namespace std::string_literals;
using namespace std::string_view_literals;

TEST_CASE("ASCII case does not tell two names apart, and nothing else is folded") {
    CHECK(same_text("Content-Length", "content-LENGTH"));
    CHECK(same_text("", ""));
    CHECK_FALSE(same_text("Host", "Hos"));
    CHECK_FALSE(same_text("a@", "a`"));      // 0x40 and 0x60: a careless fold by one bit makes them equal
    CHECK_FALSE(same_text("\xC4", "\xE4"));  // Latin-1 letters are not ASCII
    CHECK(to_lower("X-\xC4Z[") == "x-\xC4z[");
}

TEST_CASE("only spaces and tabs at the ends are trimmed") {
    CHECK(trimmed(" \t a b\t ") == "a b");
    CHECK(trimmed(" \t ").empty());
    CHECK(trimmed("").empty());
    CHECK(trimmed("\na\r") == "\na\r");
}

TEST_CASE("a number is digits alone, and fits") {
    struct Case {
        std::string_view text;
        std::optional<std::uint64_t> value;
    };
    const Case cases[] = {
        {"0", 0},
        {"007", 7},
        {"18446744073709551615", std::numeric_limits<std::uint64_t>::max()},
        {"18446744073709551616", {}},
        {"99999999999999999999999", {}},
        {"", {}},
        {"+5", {}},
        {"-5", {}},
        {" 5", {}},
        {"5 ", {}},
        {"5,5", {}},
        {"0x5", {}},
        {"5\0"sv, {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(parse_decimal(one.text) == one.value);
    }
}

TEST_CASE("a duration has a unit at every number, the largest first") {
    struct Case {
        std::string_view text;
        std::optional<Duration> value;
    };
    const Case cases[] = {
        {"250ms", 250ms},
        {"2s", 2s},
        {"1m30s", 90s},
        {"24h", 24h},
        {"2d", 48h},
        {"1d2h3m4s5ms", 24h + 2h + 3min + 4s + 5ms},
        {"0s", 0s},
        {"90m", 90min},
        {"", {}},
        {"0", {}},
        {"5", {}},
        {"s", {}},
        {"1m30", {}},
        {"30s1m", {}},
        {"1s1s", {}},
        {"1.5s", {}},
        {"-1s", {}},
        {"1 s", {}},
        {"1S", {}},
        {"1us", {}},
        {"1s ", {}},
        {"106751d", 24h * 106751},
        {"106752d", {}},                // past 2^63 nanoseconds
        {"106751d23h47m16s855ms", {}},  // each fits, the sum does not
        {"99999999999999999999999s", {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(parse_duration(one.text) == one.value);
    }
}

TEST_CASE("a duration is written so that it reads back the same") {
    CHECK(format_duration(90s) == "1m30s");
    CHECK(format_duration(0s) == "0s");
    CHECK(format_duration(24h) == "1d");
    CHECK(format_duration(1h + 5ms) == "1h5ms");
    CHECK(format_duration(1500us) == "1ms");
    CHECK(format_duration(-1s) == "0s");
    for (Duration duration :
         {Duration(1ms), Duration(2s), Duration(5min), Duration(25h), Duration(26h + 61s + 999ms)}) {
        CHECK(parse_duration(format_duration(duration)) == duration);
    }
}

TEST_CASE("a size has one of the written units, and fits") {
    struct Case {
        std::string_view text;
        std::optional<std::uint64_t> value;
    };
    const Case cases[] = {
        {"512B", 512},
        {"64KiB", 65536},
        {"10MB", 10'000'000},
        {"1kB", 1000},
        {"1KB", 1000},
        {"3MiB", 3u << 20},
        {"2GB", 2'000'000'000},
        {"2GiB", 2ull << 30},
        {"0B", 0},
        {"18446744073709551615B", std::numeric_limits<std::uint64_t>::max()},
        {"17179869183GiB", 17179869183ull << 30},
        {"17179869184GiB", {}},
        {"64", {}},
        {"KiB", {}},
        {"64 KiB", {}},
        {"64kib", {}},
        {"64K", {}},
        {"1.5MB", {}},
        {"-1B", {}},
        {"1KiB2B", {}},
        {"", {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        CHECK(parse_size(one.text) == one.value);
    }
}

TEST_CASE("a size is written in the largest unit that it is whole in") {
    const std::pair<std::uint64_t, const char*> table[] = {{0, "0B"},        {1, "1B"},           {1000, "1kB"},
                                                           {1024, "1KiB"},   {65536, "64KiB"},    {1'000'000, "1MB"},
                                                           {1'024'000, "1000KiB"}, {10u << 20, "10MiB"}, {1001, "1001B"}};
    for (const auto& [bytes, text] : table) {
        CHECK(format_size(bytes) == text);
        CHECK(parse_size(text) == bytes);
    }
}

TEST_CASE("a star stays inside its segment, two stars cross segments") {
    struct Case {
        std::string pattern;
        std::string_view path;
        bool matches;
    };
    const Case cases[] = {
        {"/v1/charges", "/v1/charges", true},
        {"/v1/charges", "/v1/charges/", false},
        {"/v1/charges", "/v1/Charges", false},
        {"/v1/charges", "/v1/charge", false},
        {"/v1/charges", "/v1/charges2", false},
        {"/v1/charges", "v1/charges", false},
        {"/", "/", true},
        {"/", "", false},
        // one star
        {"/v1/*", "/v1/x", true},
        {"/v1/*", "/v1/x/y", false},
        {"/v1/*", "/v1", false},
        {"/v1/*", "/v1/", false},  // an empty segment is the list of things, not one of them
        {"/v1/*/refund", "/v1/ch_1/refund", true},
        {"/v1/*/refund", "/v1//refund", false},
        {"/v1/ch_*", "/v1/ch_", true},
        {"/v1/ch_*", "/v1/ch_12", true},
        {"/v1/ch_*", "/v1/xch_12", false},
        {"/v1/*.json", "/v1/a.json", true},
        {"/v1/*.json", "/v1/a.json.bak", false},
        {"/v1/a*b*c", "/v1/aXbYbZc", true},
        {"/v1/a*b*c", "/v1/aXbYbZ", false},
        {"/v1/*a", "/v1/a*a", true},
        // two stars
        {"/v1/**", "/v1/x", true},
        {"/v1/**", "/v1/a/b", true},
        {"/v1/**", "/v1", true},
        {"/v1/**", "/v1/", true},
        {"/v1/**", "/v1//x", true},
        {"/v1/**", "/v2/x", false},
        {"/v1/**", "/v10", false},
        {"/v1/**", "/", false},
        {"/**", "/", true},
        {"/**", "/a/b/c/", true},
        {"/**/x", "/x", true},
        {"/**/x", "/a/b/x", true},
        {"/**/x", "/a/x/b", false},
        {"/a/**/b/**/c", "/a/b/c", true},
        {"/a/**/b/**/c", "/a/x/b/y/z/c", true},
        {"/a/**/b/**/c", "/a/c/b", false},
        {"/a/**/*/c", "/a/x/c", true},
        {"/a/**/*/c", "/a/c", false},
        {"/a/**/b*/c", "/a/b1/b2/c", true},
        // nothing is decoded
        {"/v1/*", "/v1/a%2Fb", true},
        {"/v1/a/b", "/v1/a%2Fb", false},
        {"/v1/%61", "/v1/a", false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.pattern, one.path);
        CHECK(Glob(one.pattern).matches(one.path) == one.matches);
    }
    CHECK_FALSE(Glob().matches("/"));
    CHECK(Glob("/v1/*").text() == "/v1/*");
}

TEST_CASE("a hostile path cannot make a glob backtrack without end") {
    // Exponential matchers need more than the age of the universe for either.
    const std::string letters = "/" + std::string(20'000, 'a');
    CHECK_FALSE(Glob("/*a*a*a*a*a*a*a*a*a*a*a*a*a*b").matches(letters));
    std::string segments;
    for (int i = 0; i < 10'000; ++i) segments += "/a";
    CHECK_FALSE(Glob("/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b").matches(segments));
    CHECK(Glob("/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b").matches(segments + "/b"));
}

TEST_CASE("the nearest word is offered only where it is near") {
    const std::string_view keys[] = {"timeout", "hosts", "allow", "deny", "first_byte", "tls"};
    CHECK(nearest("timeot", keys) == "timeout");
    CHECK(nearest("tiemout", keys) == "timeout");  // two neighbours swapped are one slip
    CHECK(nearest("TIMEOUT", keys) == "timeout");
    CHECK(nearest("host", keys) == "hosts");
    CHECK(nearest("alow", keys) == "allow");
    CHECK(nearest("first-byte", keys) == "first_byte");
    CHECK_FALSE(nearest("ssl", keys));  // two of three letters are a guess, not a slip
    CHECK_FALSE(nearest("banana", keys));
    CHECK_FALSE(nearest("x", keys));
    CHECK_FALSE(nearest("", keys));
    CHECK_FALSE(nearest(std::string(100'000, 't'), keys));
    CHECK_FALSE(nearest("timeot", {}));
}

TEST_CASE("a swap of neighbours is nearer than two replacements") {
    const std::string_view keys[] = {"hsxxs", "hosts"};
    CHECK(nearest("hsots", keys) == "hosts");
}

TEST_CASE("text inside a JSON string is escaped, and what is not UTF-8 is replaced") {
    struct Case {
        std::string text, escaped;
    };
    const Case cases[] = {
        {"", ""},
        {"plain text, longer than one word of the machine", "plain text, longer than one word of the machine"},
        {"say \"hi\"", "say \\\"hi\\\""},
        {"a\\b", "a\\\\b"},
        {"\b\f\n\r\t", "\\b\\f\\n\\r\\t"},
        {"a\0b"s, "a\\u0000b"},
        {"\x1f\x7f", "\\u001f\x7f"},
        {"\x10", "\\u0010"},
        {"caf\xC3\xA9", "caf\xC3\xA9"},
        {"\xE2\x82\xAC", "\xE2\x82\xAC"},
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
        {"\xFF", "\xEF\xBF\xBD"},
        {"a\xC3", "a\xEF\xBF\xBD"},                                                // cut short
        {"\xC3(", "\xEF\xBF\xBD("},                                                // no continuation
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                  // overlong '/'
        {"\xE0\x80\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                  // overlong
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                  // a surrogate
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},  // past U+10FFFF
        {"\x80", "\xEF\xBF\xBD"},
    };
    for (const Case& one : cases) {
        std::string out = "kept:";
        append_json_escaped(out, one.text);
        CHECK(out == "kept:" + one.escaped);
    }
}

TEST_CASE("an escape is found at every place of a long text") {
    for (std::size_t at = 0; at < 40; ++at) {
        for (char c : {'"', '\\', '\n', '\xFF'}) {
            std::string text(40, 'a');
            text[at] = c;
            std::string out;
            append_json_escaped(out, text);
            CAPTURE(at, static_cast<int>(c));
            CHECK(out.substr(0, at) == std::string(at, 'a'));
            CHECK(out.substr(out.size() - (39 - at)) == std::string(39 - at, 'a'));
            CHECK(out.size() > 40);
        }
    }
}
