// Base-URL mode, for clients that know no proxies: http://127.0.0.1:PORT/<vendor>/<path>; and who may not use it.
#include <catch2/catch.hpp>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

/// A vendor with a credential, another whose hosts are wildcards only, and one without an endpoint.
struct Bench {
    Seen seen;
    FakeVendor vendor{echo_into(seen), vendor_ca()};
    TemporaryDirectory secrets;
    TestProxy proxy{
        "credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken") + "}}}\nvendors:\n" +
            vendor_yaml("pay", "api.pay.example", vendor, true, "credential: key\nallow: [\"* /v1/**\", \"GET /\"]") +
            "  wild: {hosts: [\"*.wild.example\"]}\n"
            "  closed: {hosts: [127.0.0.1, \"*.closed.example\"]}\n",
        1, 10s, "unix: \"" + secrets.path() + "/proxy.sock\""};

    std::string own() const { return "127.0.0.1:" + std::to_string(proxy.port()); }
    std::string socket_path() const { return secrets.path() + "/proxy.sock"; }
    Message get(const std::string& target, const std::string& own_host, const std::string& fields = "") const {
        return proxy.raw("GET " + target + " HTTP/1.1\r\nHost: " + own_host + "\r\n" + fields + "\r\n");
    }
};

}  // namespace

TEST_CASE("the first segment of the path names the vendor, the rest goes to it with its credential") {
    Bench bench;
    const std::string port = std::to_string(bench.proxy.port());
    struct Case {
        std::string target, host, expected;
    };
    for (const Case& each :
         {Case{"/pay/v1/charges?amount=1&next=/pay/", bench.own(), "/v1/charges?amount=1&next=/pay/"},
          Case{"/pay/v1/charges", "localhost:" + port, "/v1/charges"},
          Case{"/pay/v1/charges", "LOCALHOST:" + port, "/v1/charges"},
          Case{"/pay/v1/a%2Fb//c", bench.own(), "/v1/a%2Fb//c"}, Case{"/pay/v1/pay/pay", bench.own(), "/v1/pay/pay"},
          Case{"/pay", bench.own(), "/"}, Case{"/pay/", bench.own(), "/"}, Case{"/pay?a=b", bench.own(), "/?a=b"},
          // Absolute-form that names our own listener: a client with both a proxy and a base URL.
          Case{"http://" + bench.own() + "/pay/v1/charges", bench.own(), "/v1/charges"},
          Case{"http://localhost:" + port + "/pay/v1/charges", "localhost:" + port, "/v1/charges"}}) {
        INFO(each.target << " at " << each.host);
        const std::size_t before = bench.seen.size();
        const Message answer = bench.get(each.target, each.host, "Authorization: Bearer mine\r\n");
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-outcome") == "vendor");
        REQUIRE(bench.seen.size() == before + 1);
        const Message request = bench.seen.all().back();
        CHECK(request.start_line == "GET " + each.expected + " HTTP/1.1");
        CHECK(request.field("host") == bench.vendor.authority());
        CHECK(request.field("authorization") == "Bearer s3cr3t-t0ken");
        CHECK(request.count("authorization") == 1);
    }
    CHECK(bench.proxy.logs("\"listener\":\"base_url\""));
    CHECK(bench.proxy.metric(
              R"(sluice_requests_total{vendor="pay",route="_none",method="GET",code="200",outcome="vendor"})") == 10);
}

TEST_CASE("a connection in base-URL mode serves one vendor after the other, bodies included") {
    Bench bench;
    Wire wire = Wire::to(bench.proxy.port());
    for (int i = 0; i < 3; ++i) {
        wire.write("POST /pay/v1/charges HTTP/1.1\r\nHost: " + bench.own() + "\r\nContent-Length: 5\r\n\r\nhello");
        auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->body.ends_with("\n\nhello"));
        wire.write("GET /wild/v1 HTTP/1.1\r\nHost: " + bench.own() + "\r\n\r\n");
        answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 400);
    }
}

TEST_CASE("who names another host, or speaks for a web page, spends no credential") {
    Bench bench;
    const std::string own = bench.own(), port = std::to_string(bench.proxy.port()), admin = std::to_string(bench.proxy.admin_port());
    struct Case {
        std::string what, request;
        unsigned status;
        std::string reason;
    };
    const auto get = [](const std::string& host, const std::string& fields = "") {
        return "GET /pay/v1/charges HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
    };
    const std::vector<Case> table = {
        {"a host that rebinds to loopback", get("evil.example:" + port), 421, "authority_mismatch"},
        {"a host without a port", get("evil.example"), 421, "authority_mismatch"},
        {"the vendor's own host", get("api.pay.example"), 421, "authority_mismatch"},
        {"our host with another port", get("127.0.0.1:1"), 421, "authority_mismatch"},
        {"our host with admin's port", get("127.0.0.1:" + admin), 421, "authority_mismatch"},
        {"a page that admin has served", get(own, "Origin: http://127.0.0.1:" + admin + "\r\n"), 403, "not_allowed"},
        {"absolute-form to admin", "GET http://127.0.0.1:" + admin + "/pay/v1/charges HTTP/1.1\r\nHost: 127.0.0.1:" + admin + "\r\n\r\n", 403, "unknown_vendor"},
        {"our host without a port", get("127.0.0.1"), 421, "authority_mismatch"},
        {"localhost without a port", get("localhost"), 421, "authority_mismatch"},
        {"another loopback address", get("127.0.0.2:" + port), 421, "authority_mismatch"},
        {"a name that begins like ours", get("localhost.evil.example:" + port), 421, "authority_mismatch"},
        {"userinfo that looks like ours", get("localhost@evil.example:" + port), 400, "bad_request"},
        {"an empty Host", get(""), 400, "bad_request"},
        {"no Host, HTTP/1.0", "GET /pay/v1/charges HTTP/1.0\r\n\r\n", 421, "authority_mismatch"},
        {"absolute-form to us with another Host",
         "GET http://" + own + "/pay/v1/charges HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "authority_mismatch"},
        {"a page of another origin", get(own, "Origin: https://evil.example\r\n"), 403, "not_allowed"},
        {"a page of another port", get(own, "Origin: http://127.0.0.1:1\r\n"), 403, "not_allowed"},
        {"a page without an origin", get(own, "Origin: null\r\n"), 403, "not_allowed"},
        {"an empty origin", get(own, "Origin:\r\n"), 403, "not_allowed"},
        {"our origin over https", get(own, "Origin: https://" + own + "\r\n"), 403, "not_allowed"},
        {"a foreign origin beside ours", get(own, "Origin: http://" + own + "\r\nOrigin: https://evil.example\r\n"),
         403, "not_allowed"},
        {"two origins in one", get(own, "Origin: http://" + own + ", https://evil.example\r\n"), 403, "not_allowed"},
        {"a cross-site fetch", get(own, "Sec-Fetch-Site: cross-site\r\n"), 403, "not_allowed"},
        {"a fetch by a page on another port", get(own, "Sec-Fetch-Site: same-site\r\n"), 403, "not_allowed"},
        {"a cross-site fetch in capitals", get(own, "Sec-Fetch-Site: Cross-Site\r\n"), 403, "not_allowed"},
        {"a cross-site fetch beside another", get(own, "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n"),
         403, "not_allowed"},
        {"absolute-form by a page",
         "GET http://" + own + "/pay/v1/charges HTTP/1.1\r\nHost: " + own + "\r\nOrigin: https://evil.example\r\n\r\n",
         403, "not_allowed"},
        {"a preflight",
         "OPTIONS /pay/v1/charges HTTP/1.1\r\nHost: " + own +
             "\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
         403, "not_allowed"},
    };
    for (const Case& each : table) {
        INFO(each.what);
        const Message answer = bench.proxy.raw(each.request);
        CHECK(answer.status() == each.status);
        CHECK(answer.reason() == each.reason);
        CHECK(answer.count("access-control-allow-origin") == 0);
    }
    CHECK(bench.seen.size() == 0);
    CHECK(bench.vendor.connections() == 0);

    CHECK(bench.get("/pay/v1/x", own, "Origin: http://" + own + "\r\nSec-Fetch-Site: same-origin\r\n").status() == 200);
    CHECK(bench.get("/pay/v1/x", own, "Sec-Fetch-Site: none\r\n").status() == 200);
}

TEST_CASE("what base-URL mode cannot find or may not send is refused with its reason") {
    Bench bench;
    struct Case {
        std::string target;
        unsigned status;
        std::string reason;
    };
    for (const Case& each :
         {Case{"/", 403, "unknown_vendor"}, Case{"/nobody/v1", 403, "unknown_vendor"},
          Case{"//pay/v1", 403, "unknown_vendor"}, Case{"/PAY/v1", 403, "unknown_vendor"},
          Case{"/pa%79/v1", 403, "unknown_vendor"}, Case{"/_other/v1", 403, "unknown_vendor"},
          Case{"/api.pay.example/v1", 403, "unknown_vendor"}, Case{"/?/pay/v1", 403, "unknown_vendor"},
          Case{"/wild/v1", 400, "bad_request"}, Case{"/pay/v2/x", 403, "not_allowed"},
          Case{"/pay/v1/../../wild", 400, "bad_request"}, Case{"/pay/%2e%2e/wild", 400, "bad_request"},
          Case{"/closed/v1", 403, "address_refused"}}) {
        INFO(each.target);
        const Message answer = bench.get(each.target, bench.own());
        CHECK(answer.status() == each.status);
        CHECK(answer.reason() == each.reason);
    }
    CHECK(bench.proxy.raw("OPTIONS * HTTP/1.1\r\nHost: " + bench.own() + "\r\n\r\n").status() == 400);
    CHECK(bench.seen.size() == 0);
}

TEST_CASE("a socket file serves as the port does, base-URL mode with Host: localhost included") {
    Bench bench;
    const auto ask = [&](const std::string& request) {
        Wire wire = Wire::to_unix(bench.socket_path());
        wire.write(request);
        return wire.read_response().value_or(Message{});
    };
    CHECK(ask("GET /pay/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n").status() == 200);
    CHECK(ask("GET /pay/v1/x HTTP/1.1\r\nHost: " + bench.own() + "\r\n\r\n").status() == 200);
    CHECK(ask("GET /pay/v1/x HTTP/1.1\r\nHost: evil.example\r\n\r\n").reason() == "authority_mismatch");
    CHECK(ask("GET /pay/v1/x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n").reason() ==
          "not_allowed");
    CHECK(ask("GET http://api.pay.example/v1/x HTTP/1.1\r\nHost: api.pay.example\r\n\r\n").status() == 200);

    Wire wire = Wire::to_unix(bench.socket_path());
    wire.write("CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\n\r\n");
    const auto established = wire.read_head();
    REQUIRE(established);
    CHECK(established->status() == 200);
    wire.tls_client(bench.proxy.ca(), "api.pay.example", "api.pay.example");
    wire.write("GET /v1/x HTTP/1.1\r\nHost: api.pay.example\r\n\r\n");
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);

    REQUIRE(bench.seen.size() == 4);
    for (const Message& request : bench.seen.all()) CHECK(request.field("authorization") == "Bearer s3cr3t-t0ken");
    CHECK(bench.proxy.logs("\"listener\":\"unix\""));
}
