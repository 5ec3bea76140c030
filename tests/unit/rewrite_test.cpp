#include "proxy/policy/rewrite.hpp"

#include <catch2/catch.hpp>

#include "tests/support/json_edits.hpp"

using namespace sluice;

namespace {

JsonPath path(std::string_view text) {
    std::string fault;
    return parse_json_path(text, fault).value();
}

/// The edited body, or why not.
std::string edited_text(std::string_view body, std::string_view edits) {
    const auto edited = edited_body(body, json_edits_of(edits).value(), Origin::application);
    return edited ? *edited : "!" + edited.error().detail;
}

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

std::string text_of(const Fields& fields) {
    std::string text;
    fields.append_to(text);
    return text;
}

Fields fields_of(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
    Fields fields;
    for (const auto& [name, value] : list) fields.add(name, value);
    return fields;
}

}  // namespace

TEST_CASE("members are renamed, set, dropped and wrapped, in this order") {
    struct Case {
        std::string body, edits, result;
    };
    const Case cases[] = {
        {R"({"a":1,"b":2})", "rename $.a $.c", R"({"b":2,"c":1})"},
        {R"({"a":1,"b":2})", "rename $.a $.b", R"({"b":1})"},
        {R"({"a":1})", "rename $.none $.b", R"({"a":1})"},
        {R"({"a":{"x":1,"y":2}})", "rename $.a.x $.b.c.d", R"({"a":{"y":2},"b":{"c":{"d":1}}})"},
        {R"({"a":{"x":{"y":2}}})", "rename $.a.x $.a", R"({"a":{"y":2}})"},
        {R"({"a":1})", "rename $.a $.a.b", R"({"a":{"b":1}})"},
        {R"({"a":1})", "rename $.a $.a", R"({"a":1})"},
        {R"({"a":1,"b":2})", "rename $.a $.t; rename $.b $.a; rename $.t $.b", R"({"a":2,"b":1})"},
        {R"({"a":1})", "set $.b {\"x\": [1, 2]}", R"({"a":1,"b":{"x": [1, 2]}})"},
        {R"({"a":1,"b":2})", "set $.a  null ", R"({"a":null,"b":2})"},
        {R"({})", "set $.a.b true", R"({"a":{"b":true}})"},
        {R"({})", "set $.a {\"b\":1}; set $.a.c 2", R"({"a":{"b":1,"c":2}})"},
        {R"({"a":1,"b":{"c":2,"d":3}})", "drop $.a; drop $.b.c; drop $.b.c.e; drop $.x.y", R"({"b":{"d":3}})"},
        {R"({"a":1})", "wrap data", R"({"data":{"a":1}})"},
        {R"({"a":1})", "rename $.a $.b; set $.c 2; drop $.b; wrap d", R"({"d":{"c":2}})"},
        {R"({"a":1})", "drop $.a; set $.a 2", R"({})"},
        {R"({"data":{"a":1},"more":2})", "rename $.data $", R"({"a":1})"},
        {R"({"a":1})", "rename $ $.data", R"({"data":{"a":1}})"},
        {R"({"a":1})", "set $ {\"b\":2}; set $.c 3", R"({"b":2,"c":3})"},
        {R"({"a":1})", "drop $", R"({})"},
        {R"({"":{"a":1}})", "set $.b 1", R"({"":{"a":1},"b":1})"},
        {"{}", "set $.a\\b 1", "{\"a\\\\b\":1}"},
        {"{}", "wrap \"", R"({"\"":{}})"},
        {" [1, 2] ", "wrap data", R"({"data":[1, 2]})"},
        {"\t\"text\"\n", "wrap data", R"({"data":"text"})"},
        {"not JSON, and nobody asks", "", "not JSON, and nobody asks"},
        // What has no members has nothing to edit.
        {"", "drop $.a; set $.b 1; wrap data", ""},
        {" \r\n", "wrap data", " \r\n"},
        {" [{\"a\":1}]\n", "drop $.a; set $.b 1", " [{\"a\":1}]\n"},
        {"[{\"a\":1}]", "set $ {\"b\":2}; drop $", "[{\"a\":1}]"},
        {"\"{\"", "set $.a 1", "\"{\""},
        {" null", "rename $.a $.b; wrap c", R"({"c":null})"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body, one.edits);
        CHECK(edited_text(one.body, one.edits) == one.result);
    }
}

TEST_CASE("what no edit touches keeps its bytes") {
    struct Case {
        std::string body, edits, result;
    };
    const std::string numbers = "[1.10, 1E+2, -0, 12345678901234567890123, 0.1000000000000000055, 1e400]";
    const Case cases[] = {
        {"{\"n\": " + numbers + ", \"a\":1}", "drop $.a", "{\"n\":" + numbers + "}"},
        {"{\"a\":{\"n\":1.0e0}}", "rename $.a.n $.m", "{\"a\":{},\"m\":1.0e0}"},
        {R"({"\u0061b":"\u0041\/\n\ud83d\ude00", "x":1})", "drop $.x", R"({"\u0061b":"\u0041\/\n\ud83d\ude00"})"},
        {"{\"a\" :\t{ \"b\" : [ 1 , { } ] } ,\r\n\"x\":1}", "drop $.x", "{\"a\":{ \"b\" : [ 1 , { } ] }}"},
        {R"({"z":1,"a":2,"m":3,"z":4})", "set $.b 5", R"({"z":1,"a":2,"m":3,"z":4,"b":5})"},
        {R"({"a":"}],\"{[","b":"\\","c":"\\\""})", "drop $.b", R"({"a":"}],\"{[","c":"\\\""})"},
        {R"({"a":[{"b":1},{"b":2}],"c":3})", "drop $.a.b; drop $.c", R"({"a":[{"b":1},{"b":2}]})"},
        {"{\"\xC3\xA9\":\"\xF0\x9F\x98\x80\",\"b\":1}", "drop $.b", "{\"\xC3\xA9\":\"\xF0\x9F\x98\x80\"}"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body, one.edits);
        CHECK(edited_text(one.body, one.edits) == one.result);
    }
}

TEST_CASE("nothing hides from an edit behind escapes or duplicates") {
    struct Case {
        std::string body, edits, result;
    };
    const Case cases[] = {
        {R"({"c\u0061rd":1,"b":2})", "drop $.card", R"({"b":2})"},
        {R"({"\u0063\u0061\u0072\u0064":{"n\u0075mber":1}})", "drop $.card.number",
         R"({"\u0063\u0061\u0072\u0064":{}})"},
        {R"({"a":1,"b":2,"a":3})", "drop $.a", R"({"b":2})"},
        {R"({"a":{"x":1},"a":{"x":2,"y":3}})", "drop $.a.x", R"({"a":{},"a":{"y":3}})"},
        {R"({"a":{"x":1},"a":{"x":2,"y":3}})", "rename $.a.x $.b", R"({"a":{},"a":{"y":3},"b":2})"},
        {R"({"a":1,"b":2,"a":3})", "rename $.a $.c", R"({"b":2,"c":3})"},
        {R"({"a":1,"b":2,"\u0061":3,"c":4})", "set $.a 5", "{\"b\":2,\"\\u0061\":5,\"c\":4}"},
        {R"({"a":1,"a":{"x":1},"b":2})", "set $.a.y 2", R"({"a":{"x":1,"y":2},"b":2})"},
        {"{\"card\\u0000\":1,\"card\":2}", "drop $.card", "{\"card\\u0000\":1}"},
        {"{\"\xC3\xA9\":1,\"\\u00e9\":2}", "drop $.\xC3\xA9", "{}"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body, one.edits);
        CHECK(edited_text(one.body, one.edits) == one.result);
    }
}

TEST_CASE("a body that cannot be edited is a failure in words") {
    struct Case {
        std::string body, edits, words;
    };
    const Case cases[] = {
        {"{\"a\":1", "drop $.a", "is no JSON"},
        {"{\"a\":1}}", "drop $.a", "is no JSON"},
        {"{\"a\":1} {}", "drop $.a", "is no JSON"},
        {"{'a':1}", "drop $.a", "is no JSON"},
        {"{\"a\":1,}", "drop $.a", "is no JSON"},
        {"{\"a\":01}", "drop $.a", "is no JSON"},
        {"{\"a\":NaN}", "drop $.a", "is no JSON"},
        {"{\"a\":1 /* c */}", "drop $.a", "is no JSON"},
        {"{\"a\":\"\x01\"}", "drop $.a", "is no JSON"},
        {"{\"a\":\"\xFF\"}", "drop $.a", "is no JSON"},
        {"{\"a\":\"\\ud800\"}", "drop $.a", "is no JSON"},
        {"\xEF\xBB\xBF{}", "drop $.a", "is no JSON: syntax error at byte 0"},
        {"{\"a\":[]}", "set $.a.b 1", "has no object at $.a, where $.a.b is to be put"},
        {"{\"a\":{\"b\":\"{\"}}", "set $.a.b.c.d 1", "has no object at $.a.b, where $.a.b.c.d is to be put"},
        {"{\"a\":1,\"b\":2}", "rename $.b $.a.b", "has no object at $.a"},
        {nested(65), "wrap a", "nests deeper than 64"},
        {"{\"a\":" + nested(64) + "}", "drop $.a", "nests deeper than 64"},
        {"\"" + std::string(max_rewritten, 'a') + "\"", "wrap a", "is larger than 4194304 bytes, so"},
        {"\"" + std::string(max_rewritten - 2, 'a') + "\"", "wrap a", "is larger than 4194304 bytes once edited"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.body.substr(0, 80), one.edits);
        const std::string result = edited_text(one.body, one.edits);
        CHECK(result[0] == '!');
        CHECK_THAT(result, Catch::Contains(one.words));
    }
    CHECK(edited_text(nested(64), "wrap a") == "{\"a\":" + nested(64) + "}");
}

TEST_CASE("an object of too many members is not looked into, but may pass") {
    std::string members;
    for (std::size_t i = 0; i < max_json_members; ++i) members += "\"m\":1,";
    const std::string most = "{" + members.substr(0, members.size() - 1) + "}", more = "{" + members + "\"n\":1}";
    CHECK(edited_text(most, "drop $.m") == "{}");
    CHECK_THAT(edited_text(more, "drop $.m"),
               Catch::Contains("has an object of more than 16384 members where it is edited"));
    CHECK(edited_text("{\"a\":" + more + "}", "drop $.b") == "{\"a\":" + more + "}");
    CHECK_THAT(edited_text("{\"a\":" + more + "}", "drop $.a.n"), Catch::Contains("more than 16384"));
    CHECK_THAT(edited_text("{\"a\":" + more + "}", "set $.a.n 1"), Catch::Contains("more than 16384"));
}

TEST_CASE("who sent the body is blamed, and nothing of it is quoted") {
    const auto blamed = [](Origin whose) {
        return edited_body("{\"secret\": hunter2}", *json_edits_of("drop $.a"), whose).error();
    };
    CHECK(blamed(Origin::application).origin == Origin::application);
    CHECK(blamed(Origin::application).reason == Reason::bad_request);
    CHECK_THAT(blamed(Origin::application).detail, Catch::StartsWith("the request's body is no JSON"));
    CHECK(blamed(Origin::vendor).origin == Origin::vendor);
    CHECK(blamed(Origin::vendor).reason == Reason::upstream_protocol);
    CHECK_THAT(blamed(Origin::vendor).detail, Catch::StartsWith("the vendor's answer is no JSON"));
    for (const auto whose : {Origin::application, Origin::vendor}) {
        CHECK_THAT(blamed(whose).detail, !Catch::Contains("secret") && !Catch::Contains("hunter"));
    }
}

TEST_CASE("paths of members are read, or refused in words") {
    CHECK(path("$").empty());
    CHECK(path("$.card.number") == JsonPath{"card", "number"});
    CHECK(path("$.a b.\xC3\xA9-1") == JsonPath{"a b", "\xC3\xA9-1"});
    CHECK(to_text(path("$.a.b")) == "$.a.b");
    CHECK(to_text({}) == "$");
    std::string deep = "$";
    for (int i = 0; i < 16; ++i) deep += ".a";
    CHECK(path(deep).size() == 16);
    const std::pair<std::string, std::string> cases[] = {
        {"", "does not begin with '$'"},
        {"card", "does not begin with '$'"},
        {".card", "does not begin with '$'"},
        {"$card", "a name begins with '.'"},
        {"$.", "a name is empty"},
        {"$.a..b", "a name is empty"},
        {"$.a.", "a name is empty"},
        {"$.a[0]", "no arrays"},
        {"$[0]", "no arrays"},
        {"$.a.*", "no wildcards"},
        {"$.a]", "a bracket, a quote"},
        {"$.'a'", "a bracket, a quote"},
        {"$.\"a\"", "a bracket, a quote"},
        {"$.a\n", "a control character"},
        {deep + ".a", "more than 16"},
        {"$.a\x7F", "a control character"},
        {"$.\xC3", "not UTF-8"},
        {"$.\xED\xA0\x80", "not UTF-8"},
    };
    for (const auto& [text, words] : cases) {
        CAPTURE(text);
        std::string fault;
        CHECK_FALSE(parse_json_path(text, fault));
        CHECK_THAT(fault, Catch::Contains(words) && Catch::Contains("write `$.card.number`"));
    }
}

TEST_CASE("a path is edited by the first edit that matches, and the query stays") {
    struct Case {
        std::vector<PathEdit> edits;
        std::string target, result;
    };
    const std::vector<PathEdit> both{{"/v1/charges", "/api/charges"}, {"/v1/**", "/api/v2/**"}};
    const Case cases[] = {
        {both, "/v1/charges", "/api/charges"},
        {both, "/v1/charges?a=/v1/x?b", "/api/charges?a=/v1/x?b"},
        {both, "/v1/charges/", "/api/v2/charges/"},
        {both, "/v1/a/b?x", "/api/v2/a/b?x"},
        {both, "/v1", "/api/v2"},
        {both, "/v1/", "/api/v2/"},
        {both, "/v1?x", "/api/v2?x"},
        {both, "/v10", "/v10"},
        {both, "/V1/charges", "/V1/charges"},
        {both, "/v1/%2E?", "/api/v2/%2E?"},
        {both, "*", "*"},
        {{{"/v1/**", "/**"}}, "/v1/a", "/a"},
        {{{"/v1/**", "/**"}}, "/v1", "/"},
        {{{"/v1/**", "/**"}}, "/v1?q", "/?q"},
        {{{"/**", "/v1/**"}}, "/a?q", "/v1/a?q"},
        {{{"/**", "/v1/**"}}, "/", "/v1/"},
        {{{"/v1/**", "/one"}}, "/v1/a/b?q", "/one?q"},
        {{}, "/v1?q", "/v1?q"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.target);
        CHECK(edited_target(one.target, one.edits) == one.result);
    }
}

TEST_CASE("edits of paths that cannot be meant are refused in words") {
    struct Case {
        std::string from, to, words;  // "" for none
    };
    const Case cases[] = {
        {"/v1/charges", "/api/charges", ""},
        {"/v1/**", "/api/**", ""},
        {"/**", "/api/**", ""},
        {"/v1/**", "/one", ""},
        {"/", "/x", ""},
        {"/v1", "/api/**", "'/api/**' carries a rest over that '/v1' does not have"},
        {"v1", "/x", "the path 'v1' does not begin with '/'"},
        {"", "/x", "the path '' is empty"},
        {"/x", "", "the path '' is empty"},
        {"/x", "https://pay.example/x", "does not begin with '/'"},
        {"/v1/*", "/x", "has a '*' other than a final"},
        {"/v1/**/x", "/x", "has a '*' other than a final"},
        {"/v1/x**", "/x", "has a '*' other than a final"},
        {"/x", "/y?z=1", "holds a query"},
        {"/x", "/y#z", "holds a query or a fragment"},
        {"/x", "/y z", "must be percent-encoded"},
        {"/x", "/\xC3\xA9", "must be percent-encoded"},
        {"/x", "/a/../b", "is no sound path"},
        {"/x", "/a/%2e%2E", "is no sound path"},
        {"/x", "/a%", "is no sound path"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.from, one.to);
        std::string fault;
        const auto edit = parse_path_edit(one.from, one.to, fault);
        CHECK(edit.has_value() == one.words.empty());
        CHECK_THAT(fault, Catch::Contains(one.words));
        if (edit) CHECK((edit->from == one.from && edit->to == one.to));
    }
}

TEST_CASE("headers are renamed at their place, then set, then dropped") {
    HeaderEdits edits;
    edits.rename = {{"X-Old", "X-New"}, {"x-case", "X-CASE"}, {"X-None", "Accept"}};
    edits.set = {{"X-Version", "2"}};
    edits.drop = {"x-internal"};
    Fields fields = fields_of({{"X-New", "hidden"},
                               {"x-old", "1"},
                               {"Accept", "*/*"},
                               {"X-Old", "2"},
                               {"X-Case", "c"},
                               {"X-Internal", "i"},
                               {"x-version", "1"}});
    edit_headers(fields, edits);
    CHECK(text_of(fields) == "X-New: 1\r\nAccept: */*\r\nX-New: 2\r\nX-CASE: c\r\nX-Version: 2\r\n");
}

TEST_CASE("what frames a message, names its host or is ours is not for the policy to edit") {
    const std::pair<std::string, bool> cases[] = {
        {"X-Test", true},
        {"Authorization", true},
        {"Content-Type", true},
        {"Accept-Encoding", true},
        {"Stripe-Version", true},
        {"Host", false},
        {"content-length", false},
        {"Transfer-Encoding", false},
        {"Connection", false},
        {"TE", false},
        {"Trailer", false},
        {"Upgrade", false},
        {"Expect", false},
        {"Sluice-Timeout", false},
        {"Proxy-Authorization", false},
        {"", false},
        {"X Test", false},
        {"X-Test:", false},
    };
    for (const auto& [name, editable] : cases) {
        CAPTURE(name);
        CHECK(judge_edited_name(name).empty() == editable);
        if (editable) continue;
        HeaderEdits edits;
        edits.rename = {{name, "X-Taken"}, {"X-Given", name}};
        edits.set = {{name, "7"}};
        edits.drop = {name};
        Fields fields = fields_of({{"Host", "a"}, {"Content-Length", "3"}, {"Connection", "close"}, {"X-Given", "1"}});
        const std::string before = text_of(fields);
        edit_headers(fields, edits);
        CHECK(text_of(fields) == before);
    }
    Fields fields;
    HeaderEdits smuggling;
    smuggling.set = {{"X-Test", "1\r\nHost: b"}};
    edit_headers(fields, smuggling);
    CHECK(fields.empty());
}

TEST_CASE("a value of the policy is one whole JSON value") {
    for (const char* text : {"1", " null ", "\"a\"", "{\"a\":[1]}", "-1.5e3"}) {
        CAPTURE(text);
        CHECK(judge_json(text).empty());
    }
    for (const char* text : {"", " ", "a", "1 2", "{", "[1,]", "'a'", "1}", "tru"}) {
        CAPTURE(text);
        CHECK_THAT(judge_json(text), Catch::StartsWith("is no JSON: "));
    }
    CHECK(judge_json(nested(64)).empty());
    CHECK(judge_json(nested(65)) == "nests deeper than 64");
}
