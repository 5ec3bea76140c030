#include "proxy/base/json_scan.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

std::string told(const JsonScan& scan, const JsonScan::Value& value) {
    std::string out;
    for (std::size_t i = 0; i < scan.depth(); ++i) {
        out += i > 0 ? "." : "";
        out += scan.in_array(i) ? "[]" : scan.key(i).empty() ? "?" : std::string(scan.key(i));
    }
    const char* kinds[] = {"s:", "n:", "w:"};
    out += std::string("=") + kinds[static_cast<int>(value.kind)] + std::string(value.text);
    if (value.size > value.text.size()) out += "+" + std::to_string(value.size - value.text.size());
    return out + " ";
}

/// Every scalar with its path, then "done", "failed" or "more".
std::string scanned(std::string_view json, std::size_t piece) {
    JsonScan scan;
    std::string out;
    for (std::size_t at = 0; at < json.size(); at += piece) {
        std::string_view part = json.substr(at, piece);
        while (const JsonScan::Value* value = scan.next(part)) out += told(scan, *value);
    }
    return out + (scan.failed() ? "failed" : scan.done() ? "done" : "more");
}

}  // namespace

TEST_CASE("JSON is told scalar by scalar, however it arrives") {
    const std::string long_key(40, 'k'), long_text(1000, 't');
    struct Case {
        std::string in, out;
    };
    const Case cases[] = {
        {R"({})", "done"},
        {R"( [ ] )", "done"},
        {R"({"a":1,"b":"x","c":[true,null,-2.5e3]})", "a=n:1 b=s:x c.[]=w:true c.[]=w:null c.[]=n:-2.5e3 done"},
        {R"({"a":{"b":{"c":"d"}},"e":{}})", "a.b.c=s:d done"},
        {R"([[1],[2,[3]]])", "[].[]=n:1 [].[]=n:2 [].[].[]=n:3 done"},
        {R"({"\u0061\n":"\"\\\/\u00e9\u20ac\ud83d\ude00"})", "a\n=s:\"\\/\xC3\xA9\xE2\x82\xAC???? done"},
        {"{\"" + long_key + "\":1}", "?=n:1 done"},
        {"\"" + long_text + "\"", "=s:" + long_text.substr(0, 127) + "+873 done"},
        {R"("x")", "=s:x done"},
        {R"({"a":1)", "more"},
        {R"({"a")", "more"},
        {R"({"a":tru})", "failed"},
        {R"({"a":1,})", "a=n:1 failed"},
        {R"({"a":1]})", "a=n:1 failed"},
        {R"({a:1})", "failed"},
        {R"(["\x"])", "failed"},
        {R"(["\u12g4"])", "failed"},
        {R"([1 2])", "[]=n:1 failed"},
        {R"(])", "failed"},
        {R"(hello)", "failed"},
        {"", "more"},
    };
    for (const Case& c : cases) {
        for (const std::size_t piece : {1, 2, 3, 7, 100000}) {
            CAPTURE(c.in, piece);
            CHECK(scanned(c.in, piece) == c.out);
        }
    }
}

TEST_CASE("a path is matched from the root or from below it") {
    JsonScan scan;
    std::string_view json = R"([{"a":{"bb":[5]}}])";
    const JsonScan::Value* value = scan.next(json);
    REQUIRE(value);
    CHECK(scan.at({"", "a", "bb", ""}));
    CHECK(scan.at({"a", "bb", ""}, 1));
    CHECK(scan.under({"", "a"}));
    CHECK_FALSE(scan.at({"", "a", "bb"}));
    CHECK_FALSE(scan.at({"", "a", "b", ""}));
    CHECK_FALSE(scan.under({"a"}));
    CHECK_FALSE(scan.at({"", "a", "bb", "x"}));
}

TEST_CASE("a lone number ends with its document, and the next document begins anew") {
    JsonScan scan;
    std::string_view json = "42";
    CHECK(scan.blank());
    CHECK_FALSE(scan.next(json));
    const JsonScan::Value* value = scan.finish();
    REQUIRE(value);
    CHECK(value->text == "42");
    scan.start();
    json = "{\"a\":1} tail";
    REQUIRE(scan.next(json));
    CHECK_FALSE(scan.next(json));
    CHECK(scan.done());
    CHECK(json == " tail");
}

TEST_CASE("of a string that was cut its beginning is known") {
    JsonScan scan;
    std::string_view json = R"({"a":"b","c":"de)";
    REQUIRE(scan.next(json));
    CHECK_FALSE(scan.next(json));
    const JsonScan::Value* value = scan.cut();
    REQUIRE(value);
    CHECK(scan.at({"c"}));
    CHECK(value->text == "de");
    scan.start();
    json = R"({"a)";
    CHECK_FALSE(scan.next(json));
    CHECK_FALSE(scan.cut());
}

TEST_CASE("depth is bounded") {
    CHECK(scanned(std::string(1024, '[') + "1" + std::string(1024, ']'), 4096).ends_with("=n:1 done"));
    CHECK(scanned(std::string(1025, '['), 4096) == "failed");
    CHECK(scanned(std::string(100'000, '['), 4096) == "failed");
}

TEST_CASE("random walk: whatever comes, pieces make no difference") {
    const std::string_view words[] = {"{",  "}", "[",    "]",   ":", ",",  "\"a\"", "\"\\u00",
                                      "12", "-", "true", "nul", " ", "\\", "\"",    "x"};
    walk::Dice dice(3);
    for (int i = 0; i < 100'000 / walk::slower; ++i) {
        std::string json;
        for (auto n = dice.below(20); n > 0; --n) json += words[dice.below(std::size(words))];
        const std::string whole = scanned(json, 1000);
        if (scanned(json, 1) != whole || scanned(json, 3) != whole) FAIL(json);
    }
}
