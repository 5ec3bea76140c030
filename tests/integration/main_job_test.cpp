// The main job: an application that only knows the proxy and its CA reaches its vendor, with a credential that it never had.
#include <catch2/catch.hpp>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

TEST_CASE("the vendor sees a credential that the application never had") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TemporaryDirectory secrets;
    const std::string secret = secrets.file("token", "s3cr3t-t0ken\n");
    TestProxy proxy("credentials: {key: {type: bearer, value: {file: " + secret + "}}}\nvendors:\n" + vendor_yaml("pay", "api.pay.example", vendor, true, "credential: key"));

    const Message answer = proxy.get("api.pay.example", "/v1/charges?amount=1", "Authorization: Bearer of-the-application\r\nX-Own: yes\r\n");
    CHECK(answer.status() == 200);
    CHECK(answer.whole);
    CHECK(answer.field("sluice-outcome") == "vendor");
    CHECK(answer.field("sluice-attempts") == "1");
    CHECK(answer.field("sluice-request-id").size() == 32);
    REQUIRE(seen.size() == 1);
    const Message request = seen.all().front();
    CHECK(request.start_line == "GET /v1/charges?amount=1 HTTP/1.1");
    CHECK(request.field("authorization") == "Bearer s3cr3t-t0ken");
    CHECK(request.count("authorization") == 1);
    CHECK(request.field("host") == vendor.authority());
    CHECK(request.field("x-own") == "yes");

    CHECK(proxy.logs("\"path\":\"/v1/charges\""));
    CHECK(proxy.log().find("s3cr3t") == std::string::npos);
    CHECK(proxy.log().find("amount") == std::string::npos);
    CHECK(proxy.metric(R"(sluice_requests_total{vendor="pay",route="_none",method="GET",code="200",outcome="vendor"})") == 1);
}

TEST_CASE("TRACE, whose answer would hold the credential, is refused where there is one") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TemporaryDirectory secrets;
    const std::string secret = secrets.file("token", "s3cr3t-t0ken\n");
    TestProxy proxy("credentials: {key: {type: bearer, value: {file: " + secret + "}}}\nvendors:\n" + vendor_yaml("pay", "api.pay.example", vendor, true, "credential: key") +
                    vendor_yaml("open", "open.example", vendor, true));
    const auto trace = [&proxy](const std::string& host) {
        Wire wire = proxy.connected(host);
        wire.write("TRACE / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
        return wire.read_response().value_or(Message{});
    };
    const Message refused = trace("api.pay.example");
    CHECK(refused.status() == 403);
    CHECK(refused.reason() == "not_allowed");
    CHECK(seen.size() == 0);
    CHECK(trace("open.example").status() == 200);
}

TEST_CASE("a host that no vendor has is refused, and the CONNECT itself is answered") {
    TestProxy proxy("");
    const Message answer = proxy.raw("CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n");
    CHECK(answer.status() == 403);
    CHECK(answer.reason() == "unknown_vendor");
    CHECK(answer.field("content-type") == "application/problem+json");
    CHECK(answer.body.find("\"reason\":\"unknown_vendor\"") != std::string::npos);
    CHECK(answer.body.find("\"request_id\":\"" + answer.field("sluice-request-id") + "\"") != std::string::npos);
}

TEST_CASE("a refusal reaches an application that sends its whole upload before it reads") {
    TestProxy proxy("");
    Wire wire = Wire::to(proxy.port());
    const std::string body(16 * 1024 * 1024, 'x');
    wire.write("POST http://nobody.example/ HTTP/1.1\r\nHost: nobody.example\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
    wire.write(body);
    const Message answer = wire.read_response().value_or(Message{});
    CHECK(answer.status() == 403);
    CHECK(answer.reason() == "unknown_vendor");
}

TEST_CASE("a phase that hangs ends in a 504 that names it") {
    FakeVendor vendor([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("slow", "slow.example", vendor, true, "timeout: {first_byte: 100ms}"));
    const Message answer = proxy.get("slow.example");
    CHECK(answer.status() == 504);
    CHECK(answer.reason() == "timeout_first_byte");
    CHECK(answer.field("sluice-outcome") == "failed");
}
