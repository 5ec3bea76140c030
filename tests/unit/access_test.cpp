#include "proxy/policy/access.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

std::vector<RequestPattern> patterns(const std::vector<std::string>& texts) {
    std::vector<RequestPattern> out;
    for (const std::string& text : texts) {
        std::string fault;
        auto pattern = parse_request_pattern(text, fault);
        INFO(fault);
        REQUIRE(pattern);
        out.push_back(std::move(*pattern));
    }
    return out;
}

}  // namespace

TEST_CASE("a request pattern is methods, one space and a path") {
    struct Case {
        std::string pattern, method, path;
        bool matches;
    };
    const Case cases[] = {
        {"GET /v1/**", "GET", "/v1/x", true},   {"GET /v1/**", "GET", "/v1", true},
        {"GET /v1/**", "HEAD", "/v1/x", false}, {"GET /v1/**", "get", "/v1/x", false},
        {"GET|POST /v1", "GET", "/v1", true},   {"GET|POST /v1", "POST", "/v1", true},
        {"GET|POST /v1", "PUT", "/v1", false},  {"GET|POST /v1", "GET|POST", "/v1", false},
        {"* /v1/*", "PROPFIND", "/v1/x", true}, {"* /v1/*", "GET", "/v1/x/y", false},
        {"M-SEARCH /", "M-SEARCH", "/", true},  {"GET /a%20b", "GET", "/a%20b", true},
        {"GET /a%2Fb", "GET", "/a/b", false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.pattern, one.method, one.path);
        std::string fault;
        const auto pattern = parse_request_pattern(one.pattern, fault);
        REQUIRE(pattern);
        CHECK(fault.empty());
        CHECK(pattern->text == one.pattern);
        CHECK(pattern->matches(one.method, one.path) == one.matches);
    }
}

TEST_CASE("what is no request pattern, or could never match, says why") {
    const std::string shape = "a method (or '*'), one space and a path are expected";
    const std::string bytes = "a path holds no space, control, '#' or byte outside ASCII: write it percent-encoded";
    const std::string stars = "'**' stands for whole segments: write it between slashes, as in '/v1/**'";
    struct Case {
        std::string text, why;
    };
    const Case cases[] = {
        {"", shape},
        {"GET", shape},
        {"/v1/**", shape},
        {"GET\t/v1", shape},
        {" GET /v1", "'' is not a method"},
        {"GET  /v1", "exactly one space separates the methods from the path"},
        {"GET| /v1", "'' is not a method"},
        {"|GET /v1", "'' is not a method"},
        {"GET||PUT /v1", "'' is not a method"},
        {"GET,PUT /v1", "'GET,PUT' is not a method"},
        {"get /v1", "methods are written in upper case: 'get'"},
        {"GET|Post /v1", "methods are written in upper case: 'Post'"},
        {"GET|* /v1", "'*' stands alone: it is any method already"},
        {"GET v1", "the path begins with '/'"},
        {"GET ", "the path begins with '/'"},
        {"GET **", "the path begins with '/'"},
        {"GET https://h/v1", "the path begins with '/'"},
        {"GET /v1?a=b", "a pattern is matched against the path alone, without '?' and a query"},
        {"GET /v1 ", bytes},
        {"GET /v1/a b", bytes},
        {"GET /caf\xC3\xA9", bytes},
        {"GET /v1#a", bytes},
        {"GET /v1/a**", stars},
        {"GET /v1/**b", stars},
        {"GET /v1/***", stars},
        {"GET /v1/****", stars},
        {"GET /v1/../x", "such a path is always refused: a dot segment in the path"},
        {"GET /v1/%2e/x", "such a path is always refused: a dot segment in the path"},
        {"GET /v1/%zz", "such a path is always refused: a percent escape without two hexadecimal digits in the path"},
        {"GET /v1\\x", "such a path is always refused: a backslash in the path"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        std::string fault;
        CHECK_FALSE(parse_request_pattern(one.text, fault));
        CHECK(fault == "'" + one.text + "' is not a pattern such as 'GET|POST /v1/**': " + one.why);
    }
}

TEST_CASE("deny beats allow, and any allow refuses the rest, naming what decided") {
    const std::vector<std::string> none, reads{"GET /v1/**", "POST /v1/charges"},
        no_delete{"DELETE /**", "* /v1/admin/**"};
    struct Case {
        std::vector<std::string> allow, deny;
        std::string method, path, detail;  // "": allowed
    };
    const Case cases[] = {
        {none, none, "DELETE", "/anything", ""},
        {reads, none, "GET", "/v1/x", ""},
        {reads, none, "POST", "/v1/charges", ""},
        {reads, none, "POST", "/v1/refunds", "no allow rule of vendor 'pay' matches POST /v1/refunds"},
        {reads, none, "GET", "/v2/x", "no allow rule of vendor 'pay' matches GET /v2/x"},
        {reads, none, "HEAD", "/v1/x", "no allow rule of vendor 'pay' matches HEAD /v1/x"},
        {none, no_delete, "GET", "/v1/x", ""},
        {none, no_delete, "DELETE", "/v1/x", "deny rule 'DELETE /**' of vendor 'pay'"},
        {reads, no_delete, "GET", "/v1/admin/x", "deny rule '* /v1/admin/**' of vendor 'pay'"},
        {reads, no_delete, "GET", "/v1/x", ""},
        {reads, no_delete, "DELETE", "/v2", "deny rule 'DELETE /**' of vendor 'pay'"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.allow, one.deny, one.method, one.path);
        const Verdict verdict = judge_access({patterns(one.allow), patterns(one.deny)}, "pay", one.method, one.path);
        CHECK(verdict.refused() == !one.detail.empty());
        CHECK(verdict.refusal().detail == one.detail);
        CHECK(verdict.refusal().reason == Reason::not_allowed);
    }
}

TEST_CASE("a deny rule is not got round by another spelling of the same path") {
    const AccessRules rules{{}, patterns({"* /v1/admin/**", "* /v1/a~b", "* /v1/x%20y"})};
    struct Case {
        std::string path;
        bool refused;
    };
    const Case cases[] = {
        {"/v1/admin/x", true},      {"/v1/%61dmin/x", true},  {"/v1/%61%64%6D%69%6e/x", true},
        {"/v1//admin/x", true},     {"//v1///%61dmin", true}, {"/v1/a%7Eb", true},
        {"/v1/x%20y", true},        {"/v1/x%20%79", true},    {"/v1/adminx", false},
        {"/v1/%2561dmin/x", false},  // one decoding makes "%61dmin" of it, which is another name
        {"/v1%2Fadmin/x", false},    // %2F is an ordinary character of its segment
        {"/v1/Admin/x", false},     {"/v1/other", false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.path);
        CHECK(judge_access(rules, "pay", "GET", one.path).refused() == one.refused);
    }
}

TEST_CASE("an allow rule holds for the very bytes that are sent") {
    const AccessRules rules{patterns({"GET /v1/charges"}), {}};
    for (std::string_view path : {"/v1/%63harges", "/v1//charges", "//v1/charges", "/v1/charges/"}) {
        CAPTURE(path);
        CHECK(judge_access(rules, "pay", "GET", path).refused());
    }
}

TEST_CASE("the detail of a refusal is bounded, however long the request line") {
    const AccessRules rules{patterns({"GET /v1/charges"}), {}};
    const std::string beginning = "no allow rule of vendor 'pay' matches ";
    const auto long_path = judge_access(rules, "pay", "GET", "/" + std::string(10'000, 'a'));
    CHECK(long_path.refusal().detail == beginning + "GET /" + std::string(195, 'a') + "...");
    const auto long_method = judge_access(rules, "pay", std::string(10'000, 'M'), "/v1");
    CHECK(long_method.refusal().detail == beginning + std::string(200, 'M') + "...");
}
