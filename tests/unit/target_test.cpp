#include "proxy/http/path_to_tell.hpp"
#include "proxy/http/target.hpp"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace std::string_literals;
using Form = Target::Form;

TEST_CASE("a request target is read in the form that its method allows") {
    struct Case {
        std::string method, target;
        Form form;
        Scheme scheme;
        std::string authority, rest;
    };
    const Case cases[] = {
        {"GET", "/", Form::origin, Scheme::http, "", "/"},
        {"GET", "/a/b?c=d&e", Form::origin, Scheme::http, "", "/a/b?c=d&e"},
        {"GET", "//h/a", Form::origin, Scheme::http, "", "//h/a"},
        {"GET", "/http://h/", Form::origin, Scheme::http, "", "/http://h/"},
        {"GET", "http://h/a?b", Form::absolute, Scheme::http, "h:80", "/a?b"},
        {"GET", "https://h/a", Form::absolute, Scheme::https, "h:443", "/a"},
        {"GET", "HTTPS://H:8443/A", Form::absolute, Scheme::https, "h:8443", "/A"},
        {"GET", "http://h", Form::absolute, Scheme::http, "h:80", ""},
        {"GET", "http://h:/a", Form::absolute, Scheme::http, "h:80", "/a"},
        {"GET", "https://[::1]:?a", Form::absolute, Scheme::https, "[::1]:443", "?a"},
        {"GET", "http://h?b=/c", Form::absolute, Scheme::http, "h:80", "?b=/c"},
        {"GET", "http://[::1]:8080/", Form::absolute, Scheme::http, "[::1]:8080", "/"},
        {"GET", "http://h/a@b:c", Form::absolute, Scheme::http, "h:80", "/a@b:c"},
        {"OPTIONS", "*", Form::asterisk, Scheme::http, "", ""},
        {"OPTIONS", "/x", Form::origin, Scheme::http, "", "/x"},
        {"OPTIONS", "http://h", Form::absolute, Scheme::http, "h:80", ""},
        {"CONNECT", "h:443", Form::authority, Scheme::http, "h:443", ""},
        {"CONNECT", "[::1]:443", Form::authority, Scheme::http, "[::1]:443", ""},
        {"CONNECT", "H.:80", Form::authority, Scheme::http, "h:80", ""},
    };
    for (const Case& one : cases) {
        CAPTURE(one.method, one.target);
        const auto target = parse_target(one.method, one.target);
        REQUIRE(target.has_value());
        CHECK(target->form == one.form);
        CHECK(target->scheme == one.scheme);
        CHECK(target->rest == one.rest);
        if (!one.authority.empty()) CHECK(target->authority.text() == one.authority);
    }
}

TEST_CASE("a request target of another form is refused with what is wrong") {
    const std::string neither = "a request target that is neither a path nor an http:// or https:// URL";
    const std::string character = "a space, a control or a byte outside ASCII in the request target";
    struct Case {
        std::string method, target, detail;
    };
    const Case cases[] = {
        {"GET", "", neither},
        {"GET", "*", neither},
        {"GET", "a", neither},
        {"GET", "h:443", neither},
        {"GET", "ftp://h/", neither},
        {"GET", "http:/h/", neither},
        {"GET", "http:h", neither},
        {"GET", "?a", neither},
        {"options", "*", neither},
        {"OPTIONS", "**", neither},
        {"GET", "http://", "an empty host"},
        {"GET", "http:///a", "an empty host"},
        {"GET", "http://user@h/", "userinfo before a host"},
        {"GET", "http://u:p@h/", "userinfo before a host"},
        {"GET", "http://h:0/", "a port that is not a number from 1 to 65535"},
        {"GET", "http://h\\@evil/", "a character in a host name that is no letter, digit, '-', '_' or '.'"},
        {"GET", "/a#b", "a fragment in the request target"},
        {"GET", "http://h#b", "a fragment in the request target"},
        {"GET", "/a b", character},
        {"GET", "/a\tb", character},
        {"GET", "/a\rb", character},
        {"GET", "/a\x7F", character},
        {"GET", "/caf\xC3\xA9", character},
        {"GET", "/a\0b"s, character},
        {"CONNECT", "h", "a CONNECT target without a port"},
        {"CONNECT", "h:", "a CONNECT target without a port"},
        {"CONNECT", "https://h:443", "an IPv6 address without brackets, or more than one port"},
        {"CONNECT", "*", "a character in a host name that is no letter, digit, '-', '_' or '.'"},
        {"CONNECT", "", "an empty host"},
        {"CONNECT", "u@h:443", "userinfo before a host"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.method, one.target);
        const auto target = parse_target(one.method, one.target);
        REQUIRE_FALSE(target.has_value());
        CHECK(target.error().detail == one.detail);
        CHECK(target.error().reason == Reason::bad_request);
        CHECK(target.error().origin == Origin::application);
    }
    for (std::string_view target : {"/", "/h:443", "h:443/", "h:443?a"}) {
        CAPTURE(target);
        CHECK_FALSE(parse_target("CONNECT", target).has_value());
    }
}

TEST_CASE("a path that a server could climb out of is refused") {
    const std::string dots = "a dot segment in the path";
    const std::string escape = "a percent escape without two hexadecimal digits in the path";
    struct Case {
        std::string path, fault;
    };
    const Case cases[] = {
        {"/", ""},
        {"", ""},
        {"/a/b.c/..d/d../.e/...", ""},
        {"/a%20b/%C3%A9", ""},
        {"/a%2Fb", ""},
        {"/a%2e%2Eb", ""},
        {"/%2e%2e%2e", ""},
        {"//a//", ""},
        {"/%252e%252e/", ""},  // decoded once it is the text "%2e%2e", not dots
        {"/..", dots},
        {"/.", dots},
        {"/a/../b", dots},
        {"/a/./b", dots},
        {"/a/..", dots},
        {"..", dots},
        {"/%2e", dots},
        {"/%2E%2e/a", dots},
        {"/.%2e/a", dots},
        {"/a%2F..%2Fb", dots},
        {"/a%2f..", dots},
        {"/..%2Fa", dots},
        {"/..%5Ca", dots},
        {"/a%5c%2e%2e%5cb", dots},
        {"/a%2F.", dots},
        {"/a\\b", "a backslash in the path"},
        {"/..\\a", "a backslash in the path"},
        {"/a%5Cb", ""},
        {"/a\0"s, "a NUL in the path"},
        {"/a%00b", "a NUL in the path"},
        {"/a%", escape},
        {"/a%2", escape},
        {"/a%2/", escape},
        {"/a%zz", escape},
        {"/a%+1", escape},
        {"/%u0041", escape},
    };
    for (const Case& one : cases) {
        CAPTURE(one.path);
        CHECK(judge_path(one.path) == one.fault);
    }
}

TEST_CASE("what is told of a target is its path: no query, no fragment, nothing that may be a password") {
    struct Row {
        std::string_view target, told;
    };
    const Row row = GENERATE(
        // As it stands after it was understood: what looks like userinfo in it is no such thing.
        Row{"/v1/x", "/v1/x"}, Row{"/v1/x?key=s", "/v1/x"}, Row{"/v1/x#s", "/v1/x"}, Row{"/a?b#c?d", "/a"}, Row{"/@scope/pkg@1", "/@scope/pkg@1"}, Row{"/http://u@h/x", "/http://u@h/x"},
        Row{"//bucket/key", "//bucket/key"}, Row{"//bucket/me@x", "//bucket/me@x"}, Row{"/", "/"}, Row{"*", "*"}, Row{"", ""},
        // As it came.
        Row{"http://h.example/a/b?q", "/a/b"}, Row{"http://h.example", ""}, Row{"http://h.example?q=/s", ""}, Row{"http://u:s@h.example/a", "/a"}, Row{"http://u:s@h.example", ""},
        Row{"http://u:s/s@h.example/a", "/a"}, Row{"http://u:s?s@h.example/a", ""}, Row{"http://u:s#s@h.example/a", ""}, Row{"http://u:s@s@h.example/a", "/a"}, Row{"http://u:://s@h.example/a", "/a"},
        Row{"//u:s@h.example/a", "/a"}, Row{"//u:s@h.example", ""}, Row{"u:s@h.example/a", "/a"}, Row{"u:s@h.example:443", ""}, Row{"u://s@h.example/a", "/a"}, Row{"s", ""}, Row{"mailto:s@h.example", ""});
    INFO(row.target);
    CHECK(path_to_tell(row.target) == row.told);
}

TEST_CASE("a base URL is scheme, authority and prefix, nothing else") {
    struct Case {
        std::string text;
        Scheme scheme;
        std::string authority, prefix;
    };
    const Case cases[] = {
        {"https://h", Scheme::https, "h:443", ""},
        {"https://h/", Scheme::https, "h:443", ""},
        {"http://H:8080", Scheme::http, "h:8080", ""},
        {"https://h/v1", Scheme::https, "h:443", "/v1"},
        {"https://h/v1/", Scheme::https, "h:443", "/v1"},
        {"https://h/v1/x//", Scheme::https, "h:443", "/v1/x"},
        {"https://[::1]:1/v1", Scheme::https, "[::1]:1", "/v1"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        std::string fault;
        const auto url = parse_base_url(one.text, fault);
        REQUIRE(url);
        CHECK(url->scheme == one.scheme);
        CHECK(url->authority.text() == one.authority);
        CHECK(url->prefix == one.prefix);
        CHECK(fault.empty());
    }
}

TEST_CASE("what is no base URL says why") {
    struct Case {
        std::string text, fault;
    };
    const Case cases[] = {
        {"", "not a URL such as https://host/prefix"},
        {"h", "not a URL such as https://host/prefix"},
        {"/v1", "not a URL such as https://host/prefix"},
        {"ftp://h", "not a URL such as https://host/prefix"},
        {"https:/h", "not a URL such as https://host/prefix"},
        {"https://", "an empty host"},
        {"https://u:p@h", "userinfo before a host"},
        {"https://h:99999", "a port that is not a number from 1 to 65535"},
        {"https://h?a", "a query in a URL that takes none"},
        {"https://h/v1?a", "a query in a URL that takes none"},
        {"https://h/v1#a", "a fragment in a URL that takes none"},
        {"https://h/../a", "a dot segment in the path"},
        {"https://h/%zz", "a percent escape without two hexadecimal digits in the path"},
        {"https://h/a b", "a space, a control or a byte outside ASCII in a URL"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        std::string fault;
        CHECK_FALSE(parse_base_url(one.text, fault));
        CHECK(fault == one.fault);
    }
}
