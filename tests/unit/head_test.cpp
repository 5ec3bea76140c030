#include "proxy/http/head.hpp"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace std::string_literals;

namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

RequestHead request(std::string method, unsigned minor, const Lines& lines) {
    RequestHead head;
    head.method = std::move(method);
    head.target = "/";
    head.minor = minor;
    for (const auto& [name, value] : lines) head.fields.add(name, value);
    return head;
}

ResponseHead response(unsigned status, unsigned minor, const Lines& lines) {
    ResponseHead head;
    head.status = status;
    head.minor = minor;
    for (const auto& [name, value] : lines) head.fields.add(name, value);
    return head;
}

constexpr Framing none{Framing::Kind::none, 0}, chunked{Framing::Kind::chunked, 0},
    until_close{Framing::Kind::until_close, 0};
constexpr Framing length(std::uint64_t bytes) {
    return {Framing::Kind::length, bytes};
}

}  // namespace

TEST_CASE("the body of a request is what exactly one plain field says") {
    struct Case {
        std::string method;
        unsigned minor;
        Lines lines;
        Framing framing;
    };
    const Case cases[] = {
        {"GET", 1, {{"Host", "h"}}, none},
        {"POST", 1, {{"Host", "h"}}, none},
        {"POST", 1, {{"Host", "h"}, {"Content-Length", "5"}}, length(5)},
        {"POST", 1, {{"Host", "h"}, {"content-length", "0"}}, length(0)},
        {"GET", 1, {{"Host", "h"}, {"Content-Length", "5"}}, length(5)},
        {"POST", 1, {{"Host", "h"}, {"Content-Length", "18446744073709551615"}}, length(18446744073709551615u)},
        {"POST", 1, {{"Host", "h"}, {"Transfer-Encoding", "chunked"}}, chunked},
        {"POST", 1, {{"Host", "h"}, {"Transfer-Encoding", "Chunked"}}, chunked},
        {"POST", 0, {{"Content-Length", "5"}}, length(5)},
        {"GET", 0, {}, none},
        {"GET", 0, {{"Host", "h"}}, none},
        {"GET", 1, {{"Host", ""}}, none},  // what the Host says is for the authority to judge
        {"CONNECT", 1, {{"Host", "h:443"}}, none},
        {"CONNECT", 1, {{"Host", "h:443"}, {"Content-Length", "0"}}, length(0)},
    };
    for (const Case& one : cases) {
        CAPTURE(one.method, one.minor, one.lines);
        const auto framing = judge_request_framing(request(one.method, one.minor, one.lines));
        REQUIRE(framing.has_value());
        CHECK(framing->kind == one.framing.kind);
        CHECK(framing->length == one.framing.length);
    }
}

TEST_CASE("a request whose end two readers could see in two places is refused, and says why") {
    const std::string no_number = "a Content-Length that is not one plain decimal number of 64 bits";
    const std::string no_coding = "a Transfer-Encoding other than a single 'chunked'";
    struct Case {
        std::string method;
        unsigned minor;
        Lines lines;
        std::string detail;
    };
    const Case cases[] = {
        {"POST",
         1,
         {{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}},
         "Content-Length and Transfer-Encoding in one request"},
        {"POST",
         1,
         {{"Transfer-Encoding", "chunked, gzip"}, {"Content-Length", "5"}},
         "Content-Length and Transfer-Encoding in one request"},
        {"POST", 1, {{"Content-Length", "5"}, {"Content-Length", "6"}}, "more than one Content-Length in one request"},
        {"POST", 1, {{"Content-Length", "5"}, {"content-length", "5"}}, "more than one Content-Length in one request"},
        {"POST", 1, {{"Content-Length", "5, 5"}}, no_number},
        {"POST", 1, {{"Content-Length", "5,6"}}, no_number},
        {"POST", 1, {{"Content-Length", "+5"}}, no_number},
        {"POST", 1, {{"Content-Length", "-5"}}, no_number},
        {"POST", 1, {{"Content-Length", "0x5"}}, no_number},
        {"POST", 1, {{"Content-Length", "5 "}}, no_number},
        {"POST", 1, {{"Content-Length", "5.0"}}, no_number},
        {"POST", 1, {{"Content-Length", "1e3"}}, no_number},
        {"POST", 1, {{"Content-Length", ""}}, no_number},
        {"POST", 1, {{"Content-Length", "18446744073709551616"}}, no_number},
        {"POST", 1, {{"Transfer-Encoding", "xchunked"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "chunkedx"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "gzip"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "identity"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "gzip, chunked"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "chunked, gzip"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "chunked, chunked"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "chunked,"}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "\"chunked\""}}, no_coding},
        {"POST", 1, {{"Transfer-Encoding", "chunked;q=1"}}, no_coding},
        {"POST",
         1,
         {{"Transfer-Encoding",
           "\x0b"
           "chunked"}},
         no_coding},
        {"POST", 1, {{"Transfer-Encoding", ""}}, no_coding},
        {"POST",
         1,
         {{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
         "more than one Transfer-Encoding in one request"},
        {"POST", 0, {{"Transfer-Encoding", "chunked"}}, "Transfer-Encoding in an HTTP/1.0 request"},
        {"GET", 1, {{"Connection", "close; x"}}, "something other than a token in Connection in one request"},
        {"GET", 1, {{"Connection", "x, a b"}}, "something other than a token in Connection in one request"},
        {"GET", 1, {{"Proxy-Connection", "\xE7"}}, "something other than a token in Connection in one request"},
        {"CONNECT", 1, {{"Content-Length", "5"}}, "content in a CONNECT request"},
        {"CONNECT", 1, {{"Transfer-Encoding", "chunked"}}, "content in a CONNECT request"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.method, one.minor, one.lines);
        Lines lines = one.lines;
        lines.emplace_back("Host", "h");
        const auto framing = judge_request_framing(request(one.method, one.minor, lines));
        REQUIRE_FALSE(framing.has_value());
        CHECK(framing.error().reason == Reason::bad_request);
        CHECK(framing.error().origin == Origin::application);
        CHECK(framing.error().detail == one.detail);
    }
}

TEST_CASE("a request has one Host; only HTTP/1.0 may have none") {
    CHECK(judge_request_framing(request("GET", 1, {})).error().detail == "no Host in an HTTP/1.1 request");
    for (unsigned minor : {0u, 1u}) {
        const auto two = judge_request_framing(request("GET", minor, {{"Host", "h"}, {"host", "h"}}));
        REQUIRE_FALSE(two.has_value());
        CHECK(two.error().detail == "more than one Host in one request");
    }
    CHECK(judge_request_framing(request("GET", 0, {})).has_value());
}

TEST_CASE("the body of a response follows from its status, its request and one plain field") {
    struct Case {
        std::string method;
        unsigned status, minor;
        Lines lines;
        Framing framing;
    };
    const Case cases[] = {
        {"GET", 200, 1, {{"Content-Length", "5"}}, length(5)},
        {"GET", 200, 1, {{"Content-Length", "0"}}, length(0)},
        {"GET", 200, 1, {{"Transfer-Encoding", "CHUNKED"}}, chunked},
        {"GET", 200, 1, {}, until_close},
        {"GET", 200, 0, {}, until_close},
        {"GET", 200, 0, {{"Content-Length", "5"}}, length(5)},
        {"GET", 500, 1, {}, until_close},
        {"GET", 205, 1, {{"Content-Length", "0"}}, length(0)},
        // none by nature, whatever the fields say
        {"HEAD", 200, 1, {{"Content-Length", "5"}}, none},
        {"HEAD", 200, 1, {{"Transfer-Encoding", "chunked"}}, none},
        {"HEAD", 404, 1, {}, none},
        {"GET", 100, 1, {{"Content-Length", "5"}}, none},
        {"GET", 103, 1, {{"Transfer-Encoding", "chunked"}}, none},
        {"GET", 204, 1, {{"Content-Length", "0"}}, none},
        {"GET", 204, 1, {{"Content-Length", "5"}}, none},
        {"GET", 204, 1, {{"Transfer-Encoding", "chunked"}}, none},
        {"GET", 304, 1, {{"Content-Length", "500"}}, none},
        {"GET", 304, 1, {}, none},
        {"CONNECT", 200, 1, {{"Content-Length", "5"}}, none},
        {"CONNECT", 299, 1, {{"Transfer-Encoding", "chunked"}}, none},
        {"CONNECT", 407, 1, {{"Content-Length", "5"}}, length(5)},
        {"head", 200, 1, {{"Content-Length", "5"}}, length(5)},  // methods are case-sensitive
    };
    for (const Case& one : cases) {
        CAPTURE(one.method, one.status, one.minor, one.lines);
        const auto framing = judge_response_framing(response(one.status, one.minor, one.lines), one.method);
        REQUIRE(framing.has_value());
        CHECK(framing->kind == one.framing.kind);
        CHECK(framing->length == one.framing.length);
    }
}

TEST_CASE("a response whose end two readers could see in two places is the vendor's failure") {
    const std::string no_number = "a Content-Length that is not one plain decimal number of 64 bits";
    const std::string no_coding = "a Transfer-Encoding other than a single 'chunked'";
    struct Case {
        unsigned minor;
        Lines lines;
        std::string detail;
    };
    const Case cases[] = {
        {1,
         {{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}},
         "Content-Length and Transfer-Encoding in one response"},
        {1, {{"Content-Length", "5"}, {"Content-Length", "5"}}, "more than one Content-Length in one response"},
        {1, {{"Content-Length", "5, 5"}}, no_number},
        {1, {{"Content-Length", "-1"}}, no_number},
        {1, {{"Content-Length", "18446744073709551616"}}, no_number},
        {1, {{"Transfer-Encoding", "gzip"}}, no_coding},
        {1, {{"Transfer-Encoding", "chunked, chunked"}}, no_coding},
        {1, {{"Transfer-Encoding", "gzip, chunked"}}, no_coding},
        {1,
         {{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
         "more than one Transfer-Encoding in one response"},
        {0, {{"Transfer-Encoding", "chunked"}}, "Transfer-Encoding in an HTTP/1.0 response"},
        {1, {{"Connection", "close;"}}, "something other than a token in Connection in one response"},
    };
    // Without a body by its nature or not: what it says is passed on.
    for (const auto& [method, status] : {std::pair{"GET", 200u}, {"HEAD", 200u}, {"GET", 304u}, {"GET", 204u}}) {
        for (const Case& one : cases) {
            CAPTURE(method, status, one.minor, one.lines);
            const auto framing = judge_response_framing(response(status, one.minor, one.lines), method);
            REQUIRE_FALSE(framing.has_value());
            CHECK(framing.error().reason == Reason::upstream_protocol);
            CHECK(framing.error().origin == Origin::vendor);
            CHECK(framing.error().replay == Replay::unsafe);
            CHECK(framing.error().detail == one.detail);
        }
    }
}

TEST_CASE("HTTP/1.1 lives on unless it says close, HTTP/1.0 only if it says keep-alive") {
    struct Case {
        unsigned minor;
        Lines lines;
        bool lives;
    };
    const Case cases[] = {
        {1, {}, true},
        {1, {{"Connection", "close"}}, false},
        {1, {{"Connection", "Close"}}, false},
        {1, {{"Connection", "x, close"}}, false},
        {1, {{"Connection", "x"}, {"Connection", "close"}}, false},
        {1, {{"Connection", "closed"}}, true},
        {1, {{"Connection", "keep-alive"}}, true},
        {0, {}, false},
        {0, {{"Connection", "keep-alive"}}, true},
        {0, {{"Connection", "Keep-Alive"}}, true},
        {0, {{"Connection", "keep-alive, close"}}, false},
        {0, {{"Proxy-Connection", "keep-alive"}}, false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.minor, one.lines);
        CHECK(keeps_alive(one.minor, request("GET", one.minor, one.lines).fields) == one.lives);
    }
}

namespace {

std::string_view fault_of(std::string_view raw) {
    std::string_view start_line;
    Fields fields;
    return split_head(raw, 100, start_line, fields);
}

}  // namespace

TEST_CASE("a raw head with anything that two readers could split in two ways is named") {
    struct Case {
        std::string raw;
        std::string_view fault;
    };
    const std::string start = "GET / HTTP/1.1\r\n";
    const Case cases[] = {
        {start + "Host: h\r\n\r\n", ""},
        {start + "\r\n", ""},
        {start + "Host:h\r\nEmpty:\r\nTab:\ta\tb\t\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", ""},
        {start + "X: caf\xC3\xA9 \xFF\x80\r\n\r\n", ""},
        {start + "X: a:b: c\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", ""},
        // line ends
        {"GET / HTTP/1.1\nHost: h\r\n\r\n", "a bare LF in the head"},
        {start + "Host: h\n\r\n", "a bare LF in the head"},
        {start + "Host: h\r\n\n", "a bare LF in the head"},
        {"\nGET / HTTP/1.1\r\n\r\n", "a bare LF in the head"},
        {start + "X: a\rb\r\n\r\n", "a bare CR in the head"},
        {start + "X: a\r\r\n\r\n", "a bare CR in the head"},
        {start + "X\r: a\r\n\r\n", "a bare CR in the head"},
        {"GET /\r HTTP/1.1\r\n\r\n", "a bare CR in the head"},
        // controls
        {start + "X: a\0b\r\n\r\n"s, "a NUL in the head"},
        {start + "X\0: a\r\n\r\n"s, "a NUL in the head"},
        {"GET /\0 HTTP/1.1\r\n\r\n"s, "a NUL in the head"},
        {start + "X: a\x01\r\n\r\n", "a control character in the head"},
        {start + "X: a\x7F\r\n\r\n", "a control character in the head"},
        {start + "X: a\x0B\r\n\r\n", "a control character in the head"},
        {start + "X\x1F: a\r\n\r\n", "a control character in the head"},
        {"HTTP/1.1 200 O\0K\r\n\r\n"s, "a NUL in the head"},
        {"HTTP/1.1 200 O\rK\r\n\r\n", "a bare CR in the head"},
        {"HTTP/1.1 200 O\x1BK\r\n\r\n", "a control character in the head"},
        {"HTTP/1.1 200 O\x7FK\r\n\r\n", "a control character in the head"},
        {"HTTP/1.1 404 N\xC3\xA3o\tencontrado\r\n\r\n", ""},
        // field lines
        {start + " Host: h\r\n\r\n", "white space before the first field"},
        {start + "\tHost: h\r\n\r\n", "white space before the first field"},
        {start + " \r\n\r\n", "white space before the first field"},
        {start + "X: a\r\n b\r\n\r\n", "a folded field line (obs-fold)"},
        {start + "X: a\r\n\tb\r\n\r\n", "a folded field line (obs-fold)"},
        {start + "X: a\r\n \r\n\r\n", "a folded field line (obs-fold)"},
        {start + "Host : h\r\n\r\n", "white space before the colon of a field"},
        {start + "Host\t: h\r\n\r\n", "white space before the colon of a field"},
        {start + "Ho st: h\r\n\r\n", "white space before the colon of a field"},
        {start + ": h\r\n\r\n", "an empty field name"},
        {start + "Host\r\n\r\n", "a field line without a colon"},
        {start + "H\xC3\xB6st: h\r\n\r\n", "a field name that is not a token"},
        {start + "Ho(st: h\r\n\r\n", "a field name that is not a token"},
        {start + "\"Host\": h\r\n\r\n", "a field name that is not a token"},
        // the whole
        {"", "a head without its closing empty line"},
        {start, "a head without its closing empty line"},
        {start + "Host: h\r\n", "a head without its closing empty line"},
        {start + "Host: h", "a line without its end in the head"},
        {"\r\n" + start + "\r\n", "an empty start line"},
        {start + "\r\nHost: h\r\n\r\n", "bytes after the end of the head"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.raw);
        CHECK(fault_of(one.raw) == one.fault);
    }
}

TEST_CASE("a head is its start line and its fields, in their order and without the white space around values") {
    std::string_view start_line;
    Fields fields;
    const std::string raw = "GET / HTTP/1.1\r\nHost: h\r\nX:\t a\tb:c \t\r\nEmpty:\r\nx: again\r\n\r\n";
    REQUIRE(split_head(raw, 4, start_line, fields).empty());
    CHECK(start_line == "GET / HTTP/1.1");
    std::string written;
    fields.append_to(written);
    CHECK(written == "Host: h\r\nX: a\tb:c\r\nEmpty: \r\nx: again\r\n");
    fields.clear();
    CHECK(split_head(raw, 3, start_line, fields) == too_many_fields);
}

TEST_CASE("a request line is a method, a target and a version with one space between") {
    RequestHead head;
    CHECK(parse_request_line("GET /a?b HTTP/1.1", head).empty());
    CHECK(head.method == "GET");
    CHECK(head.target == "/a?b");
    CHECK(head.minor == 1);
    CHECK(parse_request_line("M-SEARCH * HTTP/1.0", head).empty());
    CHECK(head.minor == 0);
    for (const char* line : {"GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET /", "GET",
                             "GET / ", "GE(T / HTTP/1.1", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / http/1.1",
                             "GET / HTTP/1.10", "GET / HTTP/01.1", "GET / HTTP/1", "GET /a b HTTP/1.1", "/ HTTP/1.1"}) {
        CAPTURE(line);
        CHECK_FALSE(parse_request_line(line, head).empty());
    }
    CHECK(parse_request_line("GET\t/ HTTP/1.1", head) == "a control character in the head");
    CHECK(parse_request_line("GET /\t HTTP/1.1", head) == "a control character in the head");
    CHECK(parse_request_line("GET /\xE9 HTTP/1.1", head) == "a byte outside ASCII in the start line");
}

TEST_CASE("a status line is a version, three digits and a phrase that may be empty") {
    ResponseHead head;
    CHECK(parse_status_line("HTTP/1.1 404 Not Found", head).empty());
    CHECK(head.status == 404);
    CHECK(head.phrase == "Not Found");
    CHECK(head.minor == 1);
    CHECK(parse_status_line("HTTP/1.0 200 ", head).empty());
    CHECK(head.phrase.empty());
    CHECK(head.minor == 0);
    CHECK(parse_status_line("HTTP/1.1 204", head).empty());
    CHECK(head.status == 204);
    CHECK(head.phrase.empty());
    CHECK(parse_status_line("HTTP/1.1 404 N\xC3\xA3o\tencontrado", head).empty());
    CHECK(head.phrase == "N\xC3\xA3o\tencontrado");
    for (const char* line : {"HTTP/1.1 20", "HTTP/1.1 20 ", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "HTTP/1.1 +20 OK",
                             "HTTP/1.1 2x0 OK", "HTTP/1.2 200 OK", "HTTP/2.0 200 OK", "HTTP/2 200", "http/1.1 200 OK",
                             "ICY 200 OK", "HTTP/1.1200 OK", "HTTP/1.1", "HTTP/1.1 200\tOK"}) {
        CAPTURE(line);
        CHECK_FALSE(parse_status_line(line, head).empty());
    }
}

TEST_CASE("a control is found at every place of a long value") {
    for (std::size_t at = 0; at < 40; ++at) {
        for (char c : {'\0', '\x01', '\x1F', '\x7F', '\r'}) {
            std::string value(40, 'v');
            value[at] = c;
            CAPTURE(at, static_cast<int>(c));
            CHECK_FALSE(is_field_value(value));
            CHECK_FALSE(fault_of("GET / HTTP/1.1\r\nX: " + value + "\r\n\r\n").empty());
        }
        for (char c : {'\t', ' ', '~', '\x80', '\x9F', '\xFF'}) {
            std::string value(40, '\xFF');  // neighbours whose high bits a careless test of whole words trips over
            value[at] = c;
            CAPTURE(at, static_cast<int>(c));
            CHECK(is_field_value(value));
        }
    }
    CHECK(is_field_value(""));
}

TEST_CASE("a token is letters, digits and fifteen signs, never empty") {
    CHECK(is_token("GET"));
    CHECK(is_token("!#$%&'*+-.^_`|~"));
    for (std::string_view text : {"",   "a b", "a:", "(", ")", "<", ">", "@", ",",    ";",   "\\",
                                  "\"", "/",   "[",  "]", "?", "=", "{", "}", "\x7F", "\xC3"}) {
        CAPTURE(text);
        CHECK_FALSE(is_token(text));
    }
}

TEST_CASE("idempotent methods are those of RFC 9110, in upper case") {
    for (std::string_view method : {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}) CHECK(is_idempotent(method));
    for (std::string_view method : {"POST", "PATCH", "CONNECT", "get", "PROPFIND", ""})
        CHECK_FALSE(is_idempotent(method));
}

TEST_CASE("the path of a request ends where its query begins") {
    RequestHead head;
    for (const auto& [target, path] : {std::pair{"/a/b?c=/d?e", "/a/b"}, {"/a", "/a"}, {"?x", ""}, {"", ""}}) {
        head.target = target;
        CHECK(head.path() == path);
    }
}

TEST_CASE("a cleared head is as new, and its target is wiped") {
    RequestHead head = request("POST", 0, {{"Authorization", "Bearer x"}});
    head.target = "/a?key=" + std::string(100, 's');
    const char* bytes = head.target.data();
    head.clear();
    CHECK(head.method.empty());
    CHECK(head.minor == 1);
    CHECK(head.fields.empty());
    CHECK(std::string_view(bytes, 100).find('s') == std::string_view::npos);  // the capacity is kept

    ResponseHead answer = response(500, 0, {{"A", "1"}});
    answer.phrase = "No";
    answer.clear();
    CHECK(answer.status == 0);
    CHECK(answer.phrase.empty());
    CHECK(answer.minor == 1);
    CHECK(answer.fields.empty());
}
