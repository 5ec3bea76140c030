// What two parsers could read differently is refused, from applications and from vendors alike; what is cut short never
// looks whole; and what belongs to one connection stays there.
#include <catch2/catch.hpp>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <atomic>
#include <semaphore>

#include "proxy/net/stream.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string host = "api.pay.example";

std::string replaced(std::string text, std::string_view mark, std::string_view with) {
    for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + with.size())) {
        text.replace(at, mark.size(), with);
    }
    return text;
}

/// How the application reaches the proxy.
enum class Way { plain, intercepted };

std::string_view name_of(Way way) {
    return way == Way::plain ? "absolute-form" : "inside a CONNECT";
}

Wire opened(const TestProxy& proxy, Way way) {
    return way == Way::plain ? Wire::to(proxy.port()) : proxy.connected(host);
}

/// A request of the tables below: "@" stands where absolute-form has scheme and host.
std::string written(std::string request, Way way) {
    return replaced(std::move(request), "@", way == Way::plain ? "http://" + host : "");
}

std::string get(const std::string& path, const std::string& fields = "", const std::string& version = "1.1") {
    return "GET @" + path + " HTTP/" + version + "\r\nHost: " + host + "\r\n" + fields + "\r\n";
}

std::string post(const std::string& fields, const std::string& body) {
    return "POST @/v1 HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n" + body;
}

std::string chunked(const std::string& body) {
    return post("Transfer-Encoding: chunked\r\n", body);
}

std::string only(const FakeVendor& vendor) {
    return "vendors:\n" + vendor_yaml("pay", host, vendor, false);
}

/// A vendor that answers everything with what it saw.
struct Echoing {
    Seen seen;
    FakeVendor vendor{echo_into(seen)};
    TestProxy proxy{only(vendor)};
};

/// `check` for each way in which the application may reach the proxy, on a connection of its own.
void each_way(const TestProxy& proxy, const std::function<void(Way, Wire&)>& check) {
    for (const Way way : {Way::plain, Way::intercepted}) {
        INFO(name_of(way));
        Wire wire = opened(proxy, way);
        check(way, wire);
    }
}

void check_signed(const Message& answer, const std::string& outcome) {
    CHECK(answer.field("sluice-outcome") == outcome);
    CHECK(answer.count("sluice-outcome") == 1);
    CHECK(answer.count("sluice-attempts") == 1);
    CHECK(answer.count("sluice-request-id") == 1);
    CHECK(answer.field("sluice-request-id").size() == 32);
}

struct Malformed {
    std::string what;
    std::string request;
    unsigned status = 400;
    std::string reason = "bad_request";
};

std::vector<Malformed> malformed_lengths() {
    const std::string zero = "0\r\n\r\n";
    std::vector<Malformed> table = {
        {"Content-Length before Transfer-Encoding", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", zero)},
        {"Transfer-Encoding before Content-Length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", zero)},
        {"an empty Content-Length beside", post("Content-Length:\r\nTransfer-Encoding: chunked\r\n", zero)},
        {"lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")},
        {"lengths that agree", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")},
        {"two Transfer-Encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", zero)},
        {"Transfer-Encoding in HTTP/1.0", replaced(chunked(zero), "HTTP/1.1", "HTTP/1.0")},
        {"a CONNECT with a length",
         "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\n"
         "Content-Length: 5\r\n\r\nhello"},
        {"a CONNECT with chunks",
         "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    };
    for (const char* length :
         {"+5", "-5", "5, 5", "5,5", "5 5", "0x5", "5.0", "5;", "", "five", "18446744073709551616"}) {
        table.push_back({"the length '" + std::string(length) + "'",
                         post("Content-Length: " + std::string(length) + "\r\n", "hello")});
    }
    for (const char* coding : {"xchunked", "chunked, gzip", "gzip, chunked", "chunked, chunked", "identity",
                               "chunked;q=1", "\"chunked\"", "chunked,",
                               "\x0b"
                               "chunked",
                               ""}) {
        table.push_back({"the coding '" + std::string(coding) + "'",
                         post("Transfer-Encoding: " + std::string(coding) + "\r\n", zero)});
    }
    return table;
}

std::vector<Malformed> malformed_heads() {
    using namespace std::string_literals;
    std::vector<Malformed> table = {
        {"white space before a colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")},
        {"a tab before a colon", post("Content-Length\t: 5\r\n", "hello")},
        {"a folded field", get("/", "X-Folded: one\r\n two\r\n")},
        {"a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")},
        {"white space before the first field", "GET @/ HTTP/1.1\r\n Host: api.pay.example\r\n\r\n"},
        {"a bare CR in a value", get("/", "X-Bare: one\rtwo\r\n")},
        {"a bare CR that hides a field", get("/", "X-Bare: one\rTransfer-Encoding: chunked\r\n")},
        {"a bare LF after a field", get("/", "X-Bare: one\nX-Other: two\r\n")},
        {"bare LFs throughout", "GET @/ HTTP/1.1\nHost: api.pay.example\n\n"},
        {"a bare LF as the empty line", "GET @/ HTTP/1.1\r\nHost: api.pay.example\r\n\n"},
        {"a NUL in a value", get("/", "X-Nul: one\0two\r\n"s)},
        {"a NUL in a name", get("/", "X-\0Nul: one\r\n"s)},
        {"a NUL in the target", get("/\0"s)},
        {"an escape character in a value", get("/", "X-Escape: \x1b[2J\r\n")},
        {"a line without a colon", get("/", "no colon here\r\n")},
        {"an empty field name", get("/", ": value\r\n")},
        {"a name that is no token", get("/", "X(Y): value\r\n")},
        {"a byte outside ASCII in a name", get("/", "X-\xC3\xA9: value\r\n")},
        {"two Hosts", get("/", "Host: api.pay.example\r\n")},
        {"no Host", "GET @/ HTTP/1.1\r\nAccept: */*\r\n\r\n"},
        {"two Hosts in HTTP/1.0", get("/", "Host: other.example\r\n", "1.0")},
        {"a method that is no token", "GE(T @/ HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"},
        {"no method", " @/ HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"},
        {"a target with a space", get("/one two")},
        {"a target outside ASCII", get("/\xC3\xA9")},
        {"HTTP/2.0", get("/", "", "2.0")},
        {"HTTP/1.2", get("/", "", "1.2")},
        {"HTTP/0.9", get("/", "", "0.9")},
        {"HTTP/1.10", get("/", "", "1.10")},
        {"HTTP/01.1", get("/", "", "01.1")},
        {"a lower case version", "GET @/ http/1.1\r\nHost: api.pay.example\r\n\r\n"},
        {"no version", "GET @/\r\nHost: api.pay.example\r\n\r\n"},
        {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {"two empty lines before the request", "\r\n\r\n" + get("/")},
        {"the beginning of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s},
        {"a CONNECT without a port", "CONNECT api.pay.example HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"},
        {"a CONNECT to a URL", "CONNECT http://api.pay.example/ HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"},
    };
    for (const Malformed& large :
         {Malformed{"a field of 64 KiB", get("/", "X-Large: " + std::string(65536, 'a') + "\r\n")},
          Malformed{"a target of 64 KiB", get("/" + std::string(65536, 'a'))},
          Malformed{"a method of 64 KiB", std::string(65537, 'A')}}) {
        table.push_back({large.what, large.request, 431, "head_too_large"});
    }
    std::string fields;
    for (int i = 0; i < 100; ++i) fields += "X-" + std::to_string(i) + ": a\r\n";
    table.push_back({"101 fields", get("/", fields), 431, "head_too_large"});
    return table;
}

/// What follows a good chunk and spoils the body.
struct BadChunk {
    const char* what;
    std::string bytes;
};

std::vector<BadChunk> bad_chunks() {
    using namespace std::string_literals;
    return {
        {"a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"},
        {"a size with a minus", "-5\r\nhello\r\n0\r\n\r\n"},
        {"a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"},
        {"a size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"},
        {"no size", "\r\nhello\r\n0\r\n\r\n"},
        {"white space before a size", " 5\r\nhello\r\n0\r\n\r\n"},
        {"white space after a size", "5 \r\nhello\r\n0\r\n\r\n"},
        {"a bare LF after a size", "5\nhello\r\n0\r\n\r\n"},
        {"a bare CR after a size", "5\rhello\r\n0\r\n\r\n"},
        {"no CRLF after the data", "5\r\nhello0\r\n\r\n"},
        {"a bare LF after the data", "5\r\nhello\n0\r\n\r\n"},
        {"more data than the size says", "5\r\nhello, world\r\n0\r\n\r\n"},
        {"a NUL in an extension", "5;a=\0\r\nhello\r\n0\r\n\r\n"s},
        {"a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n"},
        {"an extension of 2 KiB", "5;" + std::string(2048, 'a') + "\r\nhello\r\n0\r\n\r\n"},
        {"a trailer without a colon", "0\r\ntrailer\r\n\r\n"},
        {"a folded trailer", "0\r\nX-Sum: 1\r\n 2\r\n\r\n"},
        {"a bare LF in the trailers", "0\r\nX-Sum: 1\n\r\n"},
        {"white space before the colon of a trailer", "0\r\nX-Sum : 1\r\n\r\n"},
        {"trailers without an end in sight", "0\r\nX-Sum: " + std::string(70000, 'a')},
    };
}

}  // namespace

// ---- requests
// --------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Echoing, "a request that two parsers could read differently is refused, and nothing of it reaches the vendor") {

    std::vector<Malformed> table = malformed_lengths();
    for (Malformed& each : malformed_heads()) table.push_back(std::move(each));
    for (const BadChunk& bad : bad_chunks()) {
        table.push_back({bad.what, chunked(bad.bytes)});
        if (bad.bytes.size() > 10'000) continue;  // not all there at once
        table.push_back({std::string(bad.what) + " after two chunks", chunked("5\r\nfirst\r\n6\r\nsecond\r\n" + bad.bytes)});
    }

    for (const Way way : {Way::plain, Way::intercepted}) {
        for (const Malformed& each : table) {
            INFO(each.what << ", " << name_of(way));
            Wire wire = opened(proxy, way);
            // What a smuggler would have the vendor take for a request of its own.
            wire.try_write(written(each.request + get("/smuggled"), way));
            const auto answer = wire.read_response();
            REQUIRE(answer);
            CHECK(answer->status() == each.status);
            CHECK(answer->reason() == each.reason);
            CHECK(answer->whole);
            CHECK(answer->field("content-type") == "application/problem+json");
            CHECK(answer->field("connection") == "close");
            check_signed(*answer, "refused");
            CHECK(answer->field("sluice-attempts") == "0");
            CHECK(wire.read_all().empty());
        }
    }
    // A body that is found bad once its head has been read is known before anything is sent, if it came with the head.
    CHECK(vendor.connections() == 0);
    CHECK(seen.size() == 0);

    CHECK(proxy.raw(written(get("/fine"), Way::plain)).status() == 200);  // the vendor would have answered
    CHECK(seen.size() == 1);
}

TEST_CASE_METHOD(Echoing, "a refusal is one answer with its reason, whichever way the request came") {
    each_way(proxy, [&](Way way, Wire& wire) {
        wire.write(written(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        check_signed(*answer, "refused");
        CHECK(answer->field("sluice-attempts") == "0");
        CHECK(answer->body.find("\"reason\":\"bad_request\"") != std::string::npos);
        INFO(answer->body);
        CHECK(answer->body.find("Transfer-Encoding") != std::string::npos);
    });
    CHECK(proxy.logs("\"reason\":\"bad_request\""));
}

TEST_CASE_METHOD(Echoing, "a refusal is not lost to a reset when the body of what was refused comes after it") {
    Wire wire = Wire::to(proxy.port());
    wire.write(written(post("Content-Length: 5, 5\r\n", ""), Way::plain));
    REQUIRE(proxy.logs("\"reason\":\"bad_request\""));  // answered
    wire.write("hello");
    wire.write("hello");
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 400);
    CHECK(wire.read_all().empty());
    CHECK_FALSE(wire.reset());
}

TEST_CASE_METHOD(Echoing, "paths that a vendor may resolve to another path are refused, and the connection lives on") {
    for (const Way way : {Way::plain, Way::intercepted}) {
        Wire wire = opened(proxy, way);
        for (const char* path : {"/v1/../admin",   "/v1/..",           "/..",          "/.",
                                 "/v1/./x",        "/v1/%2e%2e/admin", "/v1/%2E%2e",   "/v1/.%2e/admin",
                                 "/v1/%2e",        "/v1%2f..%2fadmin", "/v1%2F%2E%2E", "/v1%5c..%5cadmin",
                                 "/v1\\..\\admin", "/v1\\admin",       "/v1/%00",      "/v1%00.json",
                                 "/v1/%",          "/v1/%2",           "/v1/%zz",      "/v1/%2g"}) {
            INFO(path << ", " << name_of(way));
            wire.write(written(get(path), way));
            const auto answer = wire.read_response();
            REQUIRE(answer);
            CHECK(answer->status() == 400);
            CHECK(answer->reason() == "bad_request");
            check_signed(*answer, "refused");
        }
        CHECK(seen.size() == (way == Way::plain ? 0 : 1));
        wire.write(written(get("/v1/a%2Fb...%20c?next=/../x"), way));  // nothing wrong with these
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(seen.all().back().start_line == "GET /v1/a%2Fb...%20c?next=/../x HTTP/1.1");  // the bytes as they came
    }
    CHECK(seen.size() == 2);
}

TEST_CASE_METHOD(Echoing, "a head of exactly 64 KiB and 100 fields is served, one byte or field more is not") {
    const auto head_of = [](std::size_t size) {
        const std::size_t rest = written(get("/", "X-Large: \r\n"), Way::plain).size();
        return written(get("/", "X-Large: " + std::string(size - rest, 'a') + "\r\n"), Way::plain);
    };
    CHECK(proxy.raw(head_of(65536)).status() == 200);
    CHECK(proxy.raw(head_of(65537)).status() == 431);

    std::string fields;
    for (int i = 0; i < 99; ++i) fields += "X-" + std::to_string(i) + ": a\r\n";
    CHECK(proxy.raw(written(get("/", fields), Way::plain)).status() == 200);
    CHECK(proxy.raw(written(get("/", fields + "X-More: a\r\n"), Way::plain)).status() == 431);
    CHECK(seen.size() == 2);
}

TEST_CASE_METHOD(Echoing, "one empty line before a request is forgiven") {
    CHECK(proxy.raw("\r\n" + written(get("/"), Way::plain)).status() == 200);
}

TEST_CASE("a request body that goes bad or ends after its head went out never looks whole to the vendor") {
    Seen heads, bodies;
    FakeVendor vendor([&](Wire& wire) {
        auto request = wire.read_head();
        if (!request) return;
        request->body = wire.read_some(3);  // the first chunk's size line: so the body is under way
        const std::string first = request->body;
        heads.add(*request);
        const std::string rest = wire.read_all();
        request->body = first + rest;
        // What a chunked body ends in, or the length that was promised.
        const bool is_chunked = request->field("transfer-encoding") == "chunked";
        request->whole = is_chunked ? request->body.find("\r\n0\r\n") != std::string::npos : request->body.size() >= 10;
        bodies.add(std::move(*request));
    });
    TestProxy proxy(only(vendor));

    struct Case {
        std::string what, begin, end;
        bool finish = false;
    };
    std::vector<Case> table;
    for (const BadChunk& bad : bad_chunks()) table.push_back({bad.what, chunked("5\r\nfirst\r\n"), bad.bytes});
    table.push_back({"a length that is not reached", post("Content-Length: 10\r\n", "first"), "", true});
    table.push_back({"chunks without an end", chunked("5\r\nfirst\r\n"), "", true});
    table.push_back({"a chunk without its end", chunked("5\r\nfirst\r\n"), "5\r\nhe", true});
    table.push_back({"a last chunk without its end", chunked("5\r\nfirst\r\n"), "0\r\n", true});

    std::size_t number = 0;
    for (const Way way : {Way::plain, Way::intercepted}) {
        for (const Case& each : table) {
            INFO(each.what << ", " << name_of(way));
            Wire wire = opened(proxy, way);
            wire.write(written(each.begin, way));
            ++number;
            REQUIRE(eventually([&] { return heads.size() == number; }));
            wire.try_write(each.end);
            if (each.finish) wire.half_close();
            REQUIRE(eventually([&] { return bodies.size() == number; }));
            CHECK_FALSE(bodies.all().back().whole);
            const auto answer = wire.read_response();
            if (answer) {
                CHECK(answer->status() == 400);
                check_signed(*answer, "refused");
                CHECK(answer->field("sluice-attempts") == "1");  // a part of it was sent
            }
            CHECK(wire.read_all().empty());
        }
    }
}

/// Waits until what was written is where its reader finds it.
void await_delivery(const Wire& wire) {
    REQUIRE(eventually([&] {
        int on_its_way = 0;
        return ioctl(wire.fd(), SIOCOUTQ, &on_its_way) == 0 && on_its_way == 0;
    }));
}

TEST_CASE("a request body that shows itself bad after its head, and before anything was sent, is refused without an attempt") {
    const std::string rate = "limit: {rate: 10/d, burst: 10, concurrency: 1, when_full: {wait: 10s}}\n";
    const auto left = [](const TestProxy& proxy) {
        return proxy.metric(R"(sluice_limit_remaining{vendor="pay",limit="limit.rate"})");
    };
    const auto check_refused = [](Wire& wire) {
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 400);
        CHECK(answer->reason() == "bad_request");
        check_signed(*answer, "refused");
        CHECK(answer->field("sluice-attempts") == "0");
    };
    SECTION("while the handshake with the vendor was under way") {
        const FakeVendor identity([](Wire&) {}, vendor_ca());
        std::counting_semaphore<> greeted{0}, go{0};
        std::atomic<int> over{0};
        Seen seen;
        FakeVendor vendor([&](Wire& wire) {
            greeted.release();
            if (!go.try_acquire_for(10s)) return;
            wire.tls_server(identity.context());
            if (auto head = wire.read_head()) seen.add(std::move(*head));
            ++over;
        });
        TestProxy proxy("vendors:\n" + vendor_yaml("pay", host, vendor, true, rate));
        int number = 0;
        for (const Way way : {Way::plain, Way::intercepted}) {
            for (const std::string& first : {std::string(), std::string("5\r\nfirst\r\n")}) {
                INFO(name_of(way) << ", " << first);
                Wire wire = opened(proxy, way);
                wire.write(written(chunked(first), way));
                REQUIRE(greeted.try_acquire_for(10s));
                wire.write("zz\r\n");
                await_delivery(wire);
                go.release();
                check_refused(wire);
                ++number;
                CHECK(eventually([&] { return over == number; }));
                CHECK(left(proxy) == 10);
            }
        }
        CHECK(seen.size() == 0);
        CHECK(proxy.logs(R"("attempts":0)"));
        CHECK(proxy.log().find(R"("attempts":1)") == std::string::npos);
        CHECK(proxy.metrics().find("sluice_attempts_total{") == std::string::npos);
    }
    SECTION("while it waited for a place") {
        std::counting_semaphore<> entered{0}, go{0};
        FakeVendor vendor([&](Wire& wire) {
            while (wire.read_request()) {
                entered.release();
                if (!go.try_acquire_for(10s)) return;
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        TestProxy proxy("vendors:\n" + vendor_yaml("pay", host, vendor, false, rate));
        for (const Way way : {Way::plain, Way::intercepted}) {
            INFO(name_of(way));
            Wire before = opened(proxy, Way::plain), wire = opened(proxy, way);
            before.write(written(get("/"), Way::plain));
            REQUIRE(entered.try_acquire_for(10s));
            wire.write(written(chunked(""), way));
            REQUIRE(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="pay",limit="limit"})") == 1; }));
            wire.write("zz\r\n");
            await_delivery(wire);
            go.release();
            CHECK(before.read_response()->status() == 200);
            check_refused(wire);
            CHECK(left(proxy) == (way == Way::plain ? 9 : 8));
        }
        CHECK(vendor.connections() == 1);
    }
}

// ---- responses
// -------------------------------------------------------------------------------------------------------

namespace {

struct BadResponse {
    std::string what, response;
    std::string reason = "upstream_protocol";
};

std::vector<BadResponse> bad_responses() {
    using namespace std::string_literals;
    const auto with = [](const std::string& fields, const std::string& body = "hello") {
        return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body;
    };
    std::string many;
    for (int i = 0; i < 101; ++i) many += "X-" + std::to_string(i) + ": a\r\n";
    std::vector<BadResponse> table = {
        {"two lengths that differ", with("Content-Length: 5\r\nContent-Length: 4\r\n")},
        {"two lengths that agree", with("Content-Length: 5\r\nContent-Length: 5\r\n")},
        {"a length beside chunks", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")},
        {"two codings", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
        {"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"a folded field", with("X-Folded: one\r\n two\r\nContent-Length: 5\r\n")},
        {"white space before a colon", with("Content-Length : 5\r\n")},
        {"a bare CR", with("X-Bare: one\rtwo\r\nContent-Length: 5\r\n")},
        {"a bare LF", with("X-Bare: one\nContent-Length: 5\r\n")},
        {"bare LFs throughout", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"},
        {"a NUL", with("X-Nul: one\0two\r\nContent-Length: 5\r\n"s)},
        {"a line without a colon", with("no colon\r\nContent-Length: 5\r\n")},
        {"a head of more than 64 KiB", with("X-Large: " + std::string(66000, 'a') + "\r\nContent-Length: 5\r\n")},
        {"101 fields", with(many)},
        {"a status that is no number", "HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello"},
        {"a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"},
        {"a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello"},
        {"a status below 100", "HTTP/1.1 099 Odd\r\nContent-Length: 5\r\n\r\nhello"},
        {"a status of zero", "HTTP/1.1 000 Odd\r\nContent-Length: 5\r\n\r\nhello"},
        {"HTTP/2", "HTTP/2 200\r\nContent-Length: 5\r\n\r\nhello"},
        {"HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
        {"frames of HTTP/2", "\0\0\x12\x04\0\0\0\0\0"s},
        {"another protocol", "220 mail.example ESMTP\r\n\r\n"},
        {"another protocol that begins alike", "Hello, stranger\r\n\r\n"},
        {"an empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
        {"a switch that nobody asked for",
         "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
        {"nothing at all", "", "upstream_reset"},
        {"half a head", "HTTP/1.1 200 OK\r\nContent-Le", "upstream_reset"},
        {"half a head after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2", "upstream_reset"},
    };
    for (const char* length : {"+5", "-5", "5, 5", "0x5", "", "five", "18446744073709551616"}) {
        table.push_back(
            {"the length '" + std::string(length) + "'", with("Content-Length: " + std::string(length) + "\r\n")});
    }
    for (const char* coding : {"xchunked", "gzip, chunked", "chunked, gzip", "identity", "", "chunked, chunked"}) {
        table.push_back(
            {"the coding '" + std::string(coding) + "'", with("Transfer-Encoding: " + std::string(coding) + "\r\n")});
    }
    for (const BadChunk& bad : bad_chunks()) {
        if (bad.bytes.size() > 10'000) continue;  // not all there at once
        table.push_back({bad.what, with("Transfer-Encoding: chunked\r\n", bad.bytes)});
    }
    return table;
}

/// Answers "/<n>" with the n-th of `answers`, then ends the connection.
template <class Table>
FakeVendor::Serve one_of(const Table& table) {
    return [&table](Wire& wire) {
        const auto request = wire.read_request();
        if (!request) return;
        const std::size_t at = request->start_line.find('/') + 1;
        wire.try_write(table[std::stoul(request->start_line.substr(at))].response);
    };
}

/// The final answer; the interim ones before it are counted.
std::optional<Message> final_answer(Wire& wire, unsigned& interim) {
    for (;;) {
        auto answer = wire.read_response();
        if (!answer || answer->status() / 100 != 1) return answer;
        ++interim;
    }
}

}  // namespace

TEST_CASE("a vendor's answer that two parsers could read differently becomes a 502") {
    const std::vector<BadResponse> table = bad_responses();
    FakeVendor plain(one_of(table));
    FakeVendor secure(one_of(table), vendor_ca());
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("plain", host, plain, false) +
                    vendor_yaml("secure", "secure.example", secure, true));
    for (const std::string& name : {host, std::string("secure.example")}) {
        Wire wire = Wire::to(proxy.port());
        for (std::size_t i = 0; i < table.size(); ++i) {
            INFO(table[i].what << ", " << name);
            wire.write("GET http://" + name + "/" + std::to_string(i) + " HTTP/1.1\r\nHost: " + name + "\r\n\r\n");
            unsigned interim = 0;
            const auto answer = final_answer(wire, interim);
            REQUIRE(answer);
            CHECK(answer->status() == 502);
            CHECK(answer->reason() == table[i].reason);
            check_signed(*answer, "failed");
            CHECK(answer->body.find("hello") == std::string::npos);
        }
    }
}

TEST_CASE("interim answers reach the application, but not without end and not under HTTP/1.0") {
    FakeVendor vendor([](Wire& wire) {
        while (const auto request = wire.read_request()) {
            const bool endless = request->start_line.starts_with("GET /endless ");
            for (int i = 0; i < (endless ? 100'000 : 3); ++i) {
                if (!wire.try_write("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nSluice-Outcome: "
                                    "vendor\r\nConnection: X-Hop\r\nX-Hop: a\r\n\r\n"))
                    return;
            }
            wire.try_write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("pay", host, vendor, false));

    Wire wire = Wire::to(proxy.port());
    wire.write(written(get("/"), Way::plain));
    const auto hint = wire.read_response();
    REQUIRE(hint);
    CHECK(hint->status() == 103);
    CHECK(hint->field("link") == "</style.css>");
    CHECK(hint->count("sluice-outcome") == 0);
    CHECK(hint->count("connection") == 0);
    CHECK(hint->count("x-hop") == 0);
    unsigned interim = 1;
    auto answer = final_answer(wire, interim);
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK(interim == 3);

    wire.write(written(get("/endless"), Way::plain));
    interim = 0;
    answer = final_answer(wire, interim);
    REQUIRE(answer);
    CHECK(answer->status() == 502);
    CHECK(answer->reason() == "upstream_protocol");
    CHECK(interim <= 32);

    Wire old = Wire::to(proxy.port());
    old.write(written(get("/", "", "1.0"), Way::plain));
    answer = old.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
}

TEST_CASE("an answer that is cut or goes bad after its head went out never looks whole") {
    struct Cut {
        std::string what, response, more;
        bool tls_only = false;
    };
    const std::string head = "HTTP/1.1 200 OK\r\n",
                      chunked_head = head + "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    std::vector<Cut> table = {
        {"a length that is not reached", head + "Content-Length: 10\r\n\r\nfirst", ""},
        {"chunks without an end", chunked_head, ""},
        {"a chunk without its end", chunked_head, "5\r\nhe"},
        {"a last chunk without its end", chunked_head, "0\r\n"},
        {"a trailer without its end", chunked_head, "0\r\nX-Sum: 1\r\n"},
        {"a body that only the close ends, without close_notify", head + "\r\nfirst", "second", true},
    };
    for (const BadChunk& bad : bad_chunks()) table.push_back({bad.what, chunked_head, bad.bytes});

    std::binary_semaphore head_arrived(0);
    const auto serve = [&](Wire& wire) {
        const auto request = wire.read_request();
        if (!request) return;
        const Cut& cut = table[std::stoul(request->start_line.substr(request->start_line.find('/') + 1))];
        wire.write(cut.response);
        static_cast<void>(head_arrived.try_acquire_for(10s));
        wire.try_write(cut.more);
        wire.fin();  // no close_notify
        wire.read_all();
    };
    FakeVendor plain(serve);
    FakeVendor secure(serve, vendor_ca());
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("plain", "plain.example", plain, false) +
                    vendor_yaml("secure", "secure.example", secure, true));

    for (const std::string name : {"plain.example", "secure.example"}) {
        for (const std::string version : {"1.1", "1.0"}) {
            for (const Way way : {Way::plain, Way::intercepted}) {
                for (std::size_t i = 0; i < table.size(); ++i) {
                    if (table[i].tls_only && name == "plain.example") continue;
                    INFO(table[i].what << ", " << name << ", HTTP/" << version << ", " << name_of(way));
                    Wire wire = way == Way::plain ? Wire::to(proxy.port()) : proxy.connected(name);
                    wire.write("GET " + (way == Way::plain ? "http://" + name : "") + "/" + std::to_string(i) +
                               " HTTP/" + version + "\r\nHost: " + name + "\r\n\r\n");
                    auto answer = wire.read_head();
                    head_arrived.release();
                    REQUIRE(answer);
                    CHECK(answer->status() == 200);
                    wire.read_body(*answer, false);
                    CHECK_FALSE(answer->whole);
                    CHECK(answer->body.starts_with("first"));
                }
            }
        }
    }
    CHECK(proxy.logs("upstream_protocol"));
    CHECK(proxy.logs("upstream_reset"));
}

TEST_CASE("an answer that goes bad before a byte of it has gone out becomes a 502, however far in") {
    struct Bad {
        std::string what, response;
    };
    std::vector<Bad> table;
    const std::string head = "HTTP/1.1 200 OK\r\nX-Of-The-Vendor: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const BadChunk& bad : bad_chunks()) {
        if (bad.bytes.size() > 10'000) continue;  // not all there at once
        table.push_back({bad.what, head + "5\r\nfirst\r\n6\r\nsecond\r\n" + bad.bytes});
        table.push_back({bad.what, head + "1f40\r\n" + std::string(8000, 'a') + "\r\n" + bad.bytes});
    }
    FakeVendor plain(one_of(table)), secure(one_of(table), vendor_ca());
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("plain", "plain.example", plain, false) +
                    vendor_yaml("secure", "secure.example", secure, true));
    for (const std::string name : {"plain.example", "secure.example"}) {
        for (const Way way : {Way::plain, Way::intercepted}) {
            Wire wire = way == Way::plain ? Wire::to(proxy.port()) : proxy.connected(name);
            for (std::size_t i = 0; i < table.size(); ++i) {
                INFO(table[i].what << ", " << name << ", " << name_of(way));
                wire.write("GET " + (way == Way::plain ? "http://" + name : "") + "/" + std::to_string(i) +
                           " HTTP/1.1\r\nHost: " + name + "\r\n\r\n");
                const auto answer = wire.read_response();  // the connection lives on
                REQUIRE(answer);
                CHECK(answer->status() == 502);
                CHECK(answer->reason() == "upstream_protocol");
                CHECK(answer->whole);
                CHECK(answer->count("x-of-the-vendor") == 0);
                CHECK(answer->body.find("first") == std::string::npos);
                check_signed(*answer, "failed");
            }
        }
    }
}

TEST_CASE("a body that the close ends is whole when the vendor ended it in order") {
    const auto serve = [](Wire& wire) {
        wire.read_request();
        wire.write("HTTP/1.1 200 OK\r\n\r\nhello");
        wire.half_close();
        wire.read_all();
    };
    FakeVendor plain(serve);
    FakeVendor secure(serve, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("plain", "plain.example", plain, false) +
                    vendor_yaml("secure", "secure.example", secure, true));
    for (const std::string name : {"plain.example", "secure.example"}) {
        INFO(name);
        const Message answer = proxy.get(name);
        CHECK(answer.status() == 200);
        CHECK(answer.field("transfer-encoding") == "chunked");  // the application's connection outlives it
        CHECK(answer.whole);
        CHECK(answer.body == "hello");
    }
}

// ---- fields
// ----------------------------------------------------------------------------------------------------------

TEST_CASE("what is about one connection only goes no further, and Sluice's own fields neither") {
    Seen seen;
    FakeVendor vendor([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            seen.add(std::move(*request));
            wire.write(
                "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Nominated\r\nX-Nominated: a\r\nKeep-Alive: "
                "timeout=5\r\nProxy-Connection: keep-alive\r\n"
                "Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: a\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: "
                "X-Sum\r\nSluice-Reason: not_allowed\r\nSluice-Outcome: refused\r\n"
                "sluice-REQUEST-id: spoofed\r\nSluice-Attempts: 9\r\nSluice-Anything: a\r\nX-Kept: one\r\nX-Kept: "
                "two\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    TestProxy proxy(only(vendor));
    each_way(proxy, [&](Way way, Wire& wire) {
        wire.write(
            written(post("Connection: x-nominated, Keep-Alive, content-length, Cookie\r\nX-Nominated: a\r\nKeep-Alive: "
                         "timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic YTpi\r\n"
                         "TE: trailers\r\nTrailer: X-Sum\r\nUpgrade: h2c\r\nSluice-Timeout: 5s\r\nsluice-anything: "
                         "a\r\nCookie: a=b\r\nX-Kept: one\r\nX-Kept: two\r\nContent-Length: 5\r\n",
                         "hello"),
                    way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->body == "hello");
        CHECK(answer->count("x-kept") == 2);
        for (const char* name :
             {"connection", "x-nominated", "keep-alive", "proxy-connection", "proxy-authenticate",
              "proxy-authentication-info", "upgrade", "te", "trailer", "sluice-reason", "sluice-anything"}) {
            INFO(name);
            CHECK(answer->count(name) == 0);
        }
        check_signed(*answer, "vendor");
        CHECK(answer->field("sluice-attempts") == "1");
        CHECK(answer->field("sluice-request-id") != "spoofed");

        REQUIRE(seen.size() > 0);
        const Message request = seen.all().back();
        CHECK(request.whole);
        CHECK(request.body == "hello");  // its length was nominated, and holds all the same
        CHECK(request.count("x-kept") == 2);
        CHECK(request.field("cookie") == "a=b");
        for (const char* name :
             {"connection", "x-nominated", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer",
              "upgrade", "sluice-timeout", "sluice-anything", "via", "x-forwarded-for", "forwarded"}) {
            INFO(name);
            CHECK(request.count(name) == 0);
        }
    });
}

TEST_CASE("each answer carries Sluice's three fields, whoever gave it") {
    FakeVendor good(echo()), hangs_up([](Wire&wire) { wire.read_request(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", host, good, false, "allow: [\"GET /v1/**\"]") +
                    vendor_yaml("gone", "gone.example", hangs_up, false));
    check_signed(proxy.raw(written(get("/v1/x"), Way::plain)), "vendor");
    check_signed(proxy.raw(written(get("/v2/x"), Way::plain)), "refused");
    check_signed(proxy.raw("GET http://gone.example/ HTTP/1.1\r\nHost: gone.example\r\n\r\n"), "failed");
    check_signed(proxy.raw("GET http://unknown.example/ HTTP/1.1\r\nHost: unknown.example\r\n\r\n"), "refused");
    check_signed(proxy.raw("CONNECT unknown.example:443 HTTP/1.1\r\nHost: unknown.example:443\r\n\r\n"), "refused");
    check_signed(proxy.raw("nonsense\r\n\r\n"), "refused");
    const auto id_of = [&] { return proxy.raw(written(get("/v1/x"), Way::plain)).field("sluice-request-id"); };
    CHECK(id_of() != id_of());
}

// ---- one connection, many messages
// -------------------------------------------------------------------------------------

TEST_CASE_METHOD(Echoing, "requests that arrive together are answered in their order") {
    each_way(proxy, [&](Way way, Wire& wire) {
        std::string all;
        for (int i = 0; i < 30; ++i) {
            const std::string path = "/" + std::to_string(i);
            switch (i % 3) {
            case 0: all += get(path); break;
            case 1: all += "POST @" + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 5\r\n\r\nhello"; break;
            case 2:
                all += "POST @" + path + " HTTP/1.1\r\nHost: " + host +
                       "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
                break;
            }
        }
        wire.write(written(all, way));
        for (int i = 0; i < 30; ++i) {
            INFO(i);
            const auto answer = wire.read_response();
            REQUIRE(answer);
            CHECK(answer->status() == 200);
            CHECK(answer->body.starts_with((i % 3 == 0 ? "GET /" : "POST /") + std::to_string(i) + " HTTP/1.1\n"));
            CHECK(answer->body.ends_with(i % 3 == 0 ? "\n\n" : "\n\nhello"));
        }
    });
    CHECK(seen.size() == 60);
    CHECK(vendor.connections() == 1);
}

TEST_CASE("what has no body by its nature has none, and the connection goes on") {
    FakeVendor vendor([](Wire& wire) {
        while (const auto request = wire.read_request()) {
            if (request->start_line.starts_with("HEAD /chunked ")) {
                wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            } else if (request->start_line.starts_with("HEAD ")) {
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
            } else if (request->start_line.starts_with("GET /204 ")) {
                wire.write("HTTP/1.1 204 No Content\r\nX-Kept: a\r\n\r\n");
            } else if (request->start_line.starts_with("GET /304 ")) {
                wire.write("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 12345\r\n\r\n");
            } else {
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    TestProxy proxy(only(vendor));
    each_way(proxy, [&](Way way, Wire& wire) {
        const auto ask = [&](const std::string& method, const std::string& path) {
            wire.write(written(method + " @" + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n", way));
            return wire.read_response(method == "HEAD").value_or(Message{});
        };
        const Message head = ask("HEAD", "/");
        CHECK(head.status() == 200);
        CHECK(head.field("content-length") == "12345");  // as GET would have had
        CHECK(ask("HEAD", "/chunked").status() == 200);
        const Message none = ask("GET", "/204");
        CHECK(none.status() == 204);
        CHECK(none.field("x-kept") == "a");
        CHECK(none.count("content-length") == 0);  // RFC 9110 8.6
        CHECK(none.count("transfer-encoding") == 0);
        const Message same = ask("GET", "/304");
        CHECK(same.status() == 304);
        CHECK(same.field("content-length") == "12345");
        CHECK(same.field("etag") == "\"a\"");
        const Message empty = ask("GET", "/empty");
        CHECK(empty.status() == 200);
        CHECK(empty.field("content-length") == "0");
        CHECK(ask("HEAD", "/../x").status() == 400);  // a refusal has no body there either
        CHECK(ask("GET", "/empty").status() == 200);
        CHECK(wire.silent_for(20ms));
    });
    CHECK(vendor.connections() == 1);
}

TEST_CASE("a vendor that sends a body where none belongs poisons nobody's next answer") {
    FakeVendor vendor([](Wire& wire) {
        while (const auto request = wire.read_request()) {
            if (request->start_line.starts_with("GET /204 "))
                wire.write(
                    "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nX-Smuggled: a\r\nContent-Length: 3\r\n\r\nbad");
            else
                wire.write(
                    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nX-Smuggled: "
                    "a\r\nContent-Length: 3\r\n\r\nbad");
        }
    });
    TestProxy proxy(only(vendor));
    Wire wire = Wire::to(proxy.port());
    for (int i = 0; i < 10; ++i) {
        wire.write(written(get(i % 2 == 0 ? "/204" : "/"), Way::plain));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == (i % 2 == 0 ? 204u : 200u));
        CHECK(answer->body == (i % 2 == 0 ? "" : "good"));
        CHECK(answer->count("x-smuggled") == 0);
    }
}

namespace {

/// A TLS vendor that answers before it was asked: in one segment with the last that its handshake says.
FakeVendor::Serve answer_with_handshake(SSL_CTX* context, bool before_finished, std::atomic<bool>& asked) {
    return [=, &asked](Wire& wire) {
        const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context), SSL_free);
        BIO* const in = BIO_new(BIO_s_mem());
        BIO* const out = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl.get(), in, out);
        SSL_set_accept_state(ssl.get());
        const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
        bool spoken = false;
        for (;;) {
            const std::string bytes = wire.read_some();
            if (bytes.empty()) return;
            BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
            std::size_t count = 0;
            char byte;
            if (before_finished && !spoken) {  // TLS 1.3: half a round trip before the client has finished
                if (SSL_read_early_data(ssl.get(), &byte, 1, &count) != SSL_READ_EARLY_DATA_FINISH) continue;
                spoken = SSL_write_early_data(ssl.get(), answer.data(), answer.size(), &count) == 1;
            } else if (!SSL_is_init_finished(ssl.get()) && SSL_accept(ssl.get()) == 1 && !spoken) {
                spoken = SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size())) > 0;
            }
            if (SSL_is_init_finished(ssl.get()) && SSL_read(ssl.get(), &byte, 1) == 1) asked = true;
            char* pending = nullptr;
            const long size = BIO_get_mem_data(out, &pending);
            wire.try_write({pending, static_cast<std::size_t>(size)});
            BIO_reset(out);
        }
    };
}

}  // namespace

TEST_CASE("what a vendor says on a fresh connection before it was asked is nobody's answer") {
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    FakeVendor keys(echo(), vendor_ca(), "localhost", version);
    std::atomic<bool> asked = false;
    FakeVendor vendor(answer_with_handshake(keys.context(), version == TLS1_3_VERSION, asked));
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("pay", host, vendor, true));
    for (int i = 0; i < 3; ++i) {
        const Message answer = proxy.get(host);
        CHECK(answer.status() == 502);
        CHECK(answer.reason() == "upstream_protocol");
        CHECK(answer.body.find("spoke before it was asked") != std::string::npos);
    }
    CHECK(vendor.connections() == 3);
    CHECK_FALSE(asked);  // a request may hold a credential
}

TEST_CASE("a plain stream tells that its peer has spoken, and takes nothing from it") {
    Loop loop;
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Wire peer(ends[1]);
    Stream stream(Socket(loop, ends[0]));
    CHECK_FALSE(stream.has_spoken());
    peer.write("220");
    CHECK(stream.has_spoken());
    char bytes[8];
    CHECK(stream.read(bytes).size == 3);
    CHECK_FALSE(stream.has_spoken());
    peer.close();
    CHECK_FALSE(stream.has_spoken());  // an end is no word
}

TEST_CASE("what a stream has sent does not stay behind in the memory that it gives back") {
    Loop loop;
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Wire peer(ends[1]);
    Stream stream(Socket(loop, ends[0]));
    constexpr std::string_view secret = "Authorization: Bearer s3cr3t";
    const auto last_block = [&] {
        const auto block = loop.blocks.take();
        return std::string_view(block->bytes.get(), secret.size()).find_first_not_of('\0') == std::string_view::npos;
    };
    stream.stage(secret);
    CHECK(stream.try_flush().size == secret.size());
    CHECK(last_block());
    stream.stage(secret);
    stream.close();
    CHECK(last_block());
}

TEST_CASE("a vendor that ends its connection together with its answer costs nobody the next request") {
    std::atomic<int> ended = 0;
    FakeVendor vendor([&](Wire& wire) {
        wire.read_request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");  // nothing in it says that it is the last
        wire.close();
        ++ended;
    });
    TestProxy proxy(only(vendor));
    Wire wire = Wire::to(proxy.port());
    for (int i = 1; i <= 100; ++i) {
        wire.write(written(post("Content-Length: 5\r\n", "hello"), Way::plain));  // may not be sent twice
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        REQUIRE(eventually([&] { return ended == i; }));
    }
}

TEST_CASE("HTTP/1.0: closed after the answer, unless the application asks to keep it") {
    Seen seen;
    FakeVendor vendor([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            const bool in_chunks = request->start_line.starts_with("GET /chunked ");
            seen.add(std::move(*request));
            wire.write(in_chunks ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n"
                                 : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    TestProxy proxy(only(vendor));
    for (const Way way : {Way::plain, Way::intercepted}) {
        INFO(name_of(way));
        {
            Wire wire = opened(proxy, way);
            wire.write(written("GET @/ HTTP/1.0\r\n\r\n", way));  // not even a Host
            const auto answer = wire.read_response();
            REQUIRE(answer);
            CHECK(answer->status() == 200);
            CHECK(answer->body == "hello");
            CHECK(answer->field("connection") == "close");
            CHECK(wire.read_all().empty());
            CHECK_FALSE(wire.reset());
            CHECK(seen.all().back().start_line == "GET / HTTP/1.1");
            CHECK(seen.all().back().field("host") == vendor.authority());
        }
        Wire wire = opened(proxy, way);
        for (int i = 0; i < 3; ++i) {
            wire.write(written(get("/", "Connection: keep-alive\r\n", "1.0"), way));
            const auto answer = wire.read_response();
            REQUIRE(answer);
            CHECK(answer->body == "hello");
            CHECK(answer->field("connection") == "keep-alive");
        }
        // No chunks for HTTP/1.0: the end of the connection is the end of the body.
        wire.write(written(get("/chunked", "Connection: keep-alive\r\n", "1.0"), way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->count("transfer-encoding") == 0);
        CHECK(answer->count("content-length") == 0);
        CHECK(answer->field("connection") == "close");
        CHECK(answer->body == "hello");
        CHECK(answer->whole);
    }
    CHECK(vendor.connections() == 1);
}

TEST_CASE_METHOD(Echoing, "an application that says close is answered and closed, and what it sent after that is not served") {
    each_way(proxy, [&](Way way, Wire& wire) {
        wire.write(written(get("/", "Connection: Close\r\n") + get("/after"), way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->field("connection") == "close");
        CHECK(wire.read_all().empty());
        CHECK_FALSE(wire.reset());
    });
    CHECK(seen.size() == 2);
}

TEST_CASE("trailers pass both ways, except those that would act on the head") {
    Seen seen;
    FakeVendor vendor([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            seen.add(std::move(*request));
            wire.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: "
                "of-the-vendor\r\nSluice-Outcome: refused\r\nContent-Length: 9\r\nTransfer-Encoding: "
                "gzip\r\nConnection: close\r\n\r\n");
        }
    });
    TestProxy proxy(only(vendor));
    each_way(proxy, [&](Way way, Wire& wire) {
        wire.write(
            written(chunked("5;extension=\"a\"\r\nhello\r\n0\r\nX-Sum: of-the-application\r\nAuthorization: Bearer "
                            "mine\r\nHost: other.example\r\nContent-Length: 9\r\nSluice-Timeout: 1s\r\n\r\n"),
                    way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->whole);
        CHECK(answer->body == "hello");
        CHECK(answer->trailers == "X-Sum: of-the-vendor\n");
        REQUIRE(seen.size() > 0);
        const Message request = seen.all().back();
        CHECK(request.whole);
        CHECK(request.body == "hello");
        CHECK(request.trailers == "X-Sum: of-the-application\n");
    });
}

TEST_CASE("a trailer cannot stand beside the credential, whatever its header is called") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    const TemporaryDirectory secrets;
    const std::string key = secrets.file("key", "the-vendors");
    TestProxy proxy("credentials:\n  pay-key: {type: api_key, header: X-Api-Key, value: {file: " + key +
                    "}}\nvendors:\n" + vendor_yaml("pay", host, vendor, false, "credential: pay-key"));
    const std::string trailers = "0\r\nX-Sum: 1\r\nX-Api-Key: mine\r\nx-api-key: mine\r\nX_Api_Key: mine\r\n\r\n";
    for (const Way way : {Way::plain, Way::intercepted}) {
        INFO(name_of(way));
        const std::size_t before = seen.size();
        Wire wire = opened(proxy, way);
        wire.write(written(chunked("5\r\nhello\r\n" + trailers), way));  // whole: sent together with its head
        REQUIRE(wire.read_response());
        wire.write(written(chunked("5\r\nhello\r\n"), way));  // under way: sent piece by piece
        wire.write(trailers);
        REQUIRE(wire.read_response());
        REQUIRE(seen.size() == before + 2);
        for (const Message& request : seen.all()) {
            CHECK(request.field("x-api-key") == "the-vendors");
            CHECK(request.count("x-api-key") == 1);
            CHECK(request.body == "hello");
            CHECK(request.trailers == "X-Sum: 1\n");
        }
    }
}

TEST_CASE("what Connection nominates is no trailer either, in both directions") {
    Seen seen;
    FakeVendor vendor([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            seen.add(std::move(*request));
            wire.write(
                "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nConnection: x-other\r\nTransfer-Encoding: chunked\r\n\r\n"
                "0\r\nX-Sum: 1\r\nX-Hop: a\r\nX-Other: a\r\nKeep-Alive: timeout=5\r\n\r\n");
        }
    });
    TestProxy proxy(only(vendor));
    each_way(proxy, [&](Way way, Wire& wire) {
        wire.write(written(post("Connection: x-hop\r\nTransfer-Encoding: chunked\r\n",
                                "5\r\nhello\r\n0\r\nX-Hop: a\r\nX-Sum: 1\r\nTE: trailers\r\n\r\n"),
                           way));
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->whole);
        CHECK(answer->trailers == "X-Sum: 1\n");
        CHECK(seen.all().back().trailers == "X-Sum: 1\n");
    });
}
