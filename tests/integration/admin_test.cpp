// Admin as probes, scrapers, operators and hostile web pages meet it.
#include <catch2/catch.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/json/parse.hpp>

#include "proxy/app/admin.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace asio = boost::asio;

namespace {

Message ask(std::uint16_t port, const std::string& request, bool head_only = false) {
    Wire wire = Wire::to(port);
    wire.write(request);
    auto answer = wire.read_response(head_only);
    REQUIRE(answer);
    return *answer;
}

std::string get_text(const std::string& path, const std::string& host, const std::string& fields = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
}

Message get(std::uint16_t port, const std::string& path, const std::string& fields = "") {
    return ask(port, get_text(path, "localhost:" + std::to_string(port), fields));
}

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::uint16_t metrics_port(TestProxy& proxy) {
    return proxy.supervisor().addresses().metrics->port;
}

const std::string policy = R"(credentials:
  there: {type: bearer, value: {file: @dir/token}}
  missing: {type: basic, username: u, password: {file: /nonexistent/password}}
vendors:
  pay:
    owner: team-payments
    data: [pii]
    sla: {availability: 99.95%}
    hosts: [api.pay.example]
    allow: ["GET /v1/**"]
    credential: there
    routes: [{name: rates, match: "GET /v1/rates", timeout: {total: 3s}}]
  old:
    hosts: [old.example]
    credential: missing
    tls: {ca: {file: /nonexistent/ca.crt}}
)";

/// With the secret of `there` in place.
struct Fixture {
    TemporaryDirectory secrets;
    TestProxy proxy{with_secret(), 1, 10s, "metrics: \"127.0.0.1:0\""};

    std::string with_secret() const {
        std::string text = policy;
        const std::string mark = "@dir/token";
        return text.replace(text.find(mark), mark.size(), secrets.file("token", "s3cr3t-t0ken"));
    }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "probes learn that it lives and is ready") {
    const Message live = get(proxy.admin_port(), "/live");
    CHECK(live.status() == 200);
    const Message ready = get(proxy.admin_port(), "/ready");
    CHECK(ready.status() == 200);
    CHECK(ready.body == "{\"ready\":true}\n");
    CHECK(ready.field("content-type") == "application/json");
    CHECK(ready.field("cache-control") == "no-store");
}

TEST_CASE_METHOD(Fixture, "Prometheus reads the metrics on both doors") {
    for (const std::uint16_t port : {proxy.admin_port(), metrics_port(proxy)}) {
        const Message metrics = get(port, "/metrics");
        CHECK(metrics.status() == 200);
        CHECK(metrics.field("content-type") == "text/plain; version=0.0.4; charset=utf-8");
        CHECK(holds(metrics.body, "# TYPE sluice_build_info gauge"));
        CHECK(metrics.whole);
    }
}

TEST_CASE_METHOD(Fixture, "the metrics door shows metrics and health, by whatever name it is called") {
    const std::uint16_t port = metrics_port(proxy);
    for (const char* path : {"/metrics", "/live", "/ready"}) {
        CHECK(ask(port, get_text(path, "sluice.pods.svc:15090")).status() == 200);
    }
    for (const char* path : {"/config", "/vendors"}) CHECK(ask(port, get_text(path, "localhost")).status() == 404);
    CHECK(get(port, "/metrics", "Origin: https://evil.example\r\n").status() == 403);
}

TEST_CASE_METHOD(Fixture, "the catalogue tells what is at hand and why the rest is not, never a secret") {
    const Message answer = get(proxy.admin_port(), "/vendors");
    REQUIRE(answer.status() == 200);
    CHECK(!holds(answer.body, "s3cr3t"));
    const auto vendors = boost::json::parse(answer.body).at("vendors").as_array();
    REQUIRE(vendors.size() == 2);
    const bool pay_first = vendors[0].at("name") == "pay";
    const auto& pay = vendors[pay_first ? 0 : 1].as_object();
    const auto& old = vendors[pay_first ? 1 : 0].as_object();
    CHECK(pay.at("owner") == "team-payments");
    CHECK(pay.at("sla").at("availability") == "99.95%");
    CHECK(pay.at("hosts").at(0) == "api.pay.example");
    CHECK(pay.at("allow").at(0) == "GET /v1/**");
    CHECK(pay.at("credential").at("name") == "there");
    CHECK(pay.at("credential").at("available") == true);
    CHECK(pay.at("timeout").at("first_byte") == "1m");
    CHECK(pay.at("routes").at(0).at("timeout").at("total") == "3s");
    CHECK(!pay.contains("tls_fault"));
    CHECK(old.at("credential").at("available") == false);
    CHECK(holds(std::string(old.at("credential").at("fault").as_string()), "/nonexistent/password"));
    CHECK(holds(std::string(old.at("tls_fault").as_string()), "/nonexistent/ca.crt"));
}

TEST_CASE_METHOD(Fixture, "the effective policy is shown with references in place of secrets") {
    const Message answer = get(proxy.admin_port(), "/config");
    REQUIRE(answer.status() == 200);
    CHECK(boost::json::parse(answer.body).is_object());
    CHECK(holds(answer.body, "/nonexistent/password"));
    CHECK(!holds(answer.body, "s3cr3t"));
}

TEST_CASE_METHOD(Fixture, "only those who name it by its own address are answered") {
    const std::string port = ':' + std::to_string(proxy.admin_port());
    const auto [host, status] = GENERATE_COPY(table<std::string, unsigned>({
        {"127.0.0.1" + port, 200},
        {"localhost" + port, 200},
        {"LocalHost" + port, 200},
        {"localhost:9000", 200},  // behind `kubectl port-forward`
        {"[::1]" + port, 200},
        {"evil.example" + port, 403},
        {"evil.example", 403},
        {"localhost.evil.example" + port, 403},
        {"127.0.0.1.nip.io" + port, 403},
        {"10.0.0.1" + port, 403},
        {"", 403},
    }));
    INFO(host);
    const Message answer = ask(proxy.admin_port(), get_text("/vendors", host));
    CHECK(answer.status() == status);
    if (status == 403) {
        CHECK(answer.field("content-type") == "application/problem+json");
        CHECK(boost::json::parse(answer.body).at("reason") == "not_allowed");
    }
}

TEST_CASE_METHOD(Fixture, "absolute-form that names it is answered as a path is, and no other is") {
    const std::string own = "127.0.0.1:" + std::to_string(proxy.admin_port());
    const auto [target, host, status] = GENERATE_COPY(table<std::string, std::string, unsigned>({
        {"http://" + own + "/live", own, 200},
        {"HTTP://LocalHost/live", "localhost", 200},
        {"http://" + own + "/live?x", own, 200},
        {"http://" + own + "/nothing", own, 404},
        {"http://" + own, own, 404},
        {"http://" + own + "?/live", own, 404},
        {"http://evil.example/live", own, 403},
        {"http:///live", own, 403},
        {"http://127.0.0.1@evil.example/live", own, 403},
        {"http://" + own + "/live", "evil.example", 403},
        {"https://" + own + "/live", own, 404},
    }));
    INFO(target << ", Host: " << host);
    CHECK(ask(proxy.admin_port(), get_text(target, host)).status() == status);
}

TEST_CASE_METHOD(Fixture, "web pages of other origins are refused") {
    const std::string own = "localhost:" + std::to_string(proxy.admin_port());
    const auto [fields, status] = GENERATE_COPY(table<std::string, unsigned>({
        {"Origin: http://" + own + "\r\n", 200},
        {"Origin: https://" + own + "\r\n", 403},
        {"Origin: http://localhost:3000\r\n", 403},
        {"Origin: https://evil.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Origin: http://" + own + "\r\nOrigin: https://evil.example\r\n", 403},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: Cross-Site\r\n", 403},
        {"Sec-Fetch-Site: same-site\r\n", 403},
        {"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: none\r\n", 200},
        {"Sec-Fetch-Site: same-origin\r\n", 200},
    }));
    INFO(fields);
    CHECK(get(proxy.admin_port(), "/config", fields).status() == status);
}

TEST_CASE_METHOD(Fixture, "admin is only read") {
    const std::string host = "Host: localhost\r\n";
    for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
        INFO(method);
        const Message answer = ask(proxy.admin_port(), std::string(method) + " /config HTTP/1.1\r\n" + host + "\r\n");
        CHECK(answer.status() == 405);
        CHECK(answer.field("allow") == "GET, HEAD");
    }
    const Message head = ask(proxy.admin_port(), "HEAD /metrics HTTP/1.1\r\n" + host + "\r\n", true);
    CHECK(head.status() == 200);
    CHECK(std::stoul(head.field("content-length")) > 0);
}

TEST_CASE_METHOD(Fixture, "a path that is not there is answered with those that are") {
    const Message answer = get(proxy.admin_port(), "/");
    CHECK(answer.status() == 404);
    for (const char* path : {"/metrics", "/live", "/ready", "/config", "/vendors"}) CHECK(holds(answer.body, path));
    CHECK(!holds(get(metrics_port(proxy), "/").body, "/config"));
    CHECK(get(proxy.admin_port(), "/ready?verbose=1").status() == 200);
}

TEST_CASE_METHOD(Fixture, "admin reads no body and no endless head") {
    const std::string host = "Host: localhost\r\n";
    const auto [request, status] = GENERATE_COPY(table<std::string, unsigned>({
        {"GET /live HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", 413},
        {"GET /live HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
        {"GET /live HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", 413},
        {"GET /live HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", 200},
        {"GET /live HTTP/1.1\r\n" + host + "X: " + std::string(20000, 'a') + "\r\n\r\n", 431},
        {"GET /live HTTP/1.1\r\n" + host + host + "\r\n", 400},
        {"GET /live HTTP/1.1\r\n" + host + "bad header\r\n\r\n", 400},
        {"GET /live HTTP/1.1\r\n\r\n", 403},
        {"nonsense\r\n\r\n", 400},
    }));
    INFO(request.substr(0, 120));
    CHECK(ask(proxy.admin_port(), request).status() == status);
}

TEST_CASE_METHOD(Fixture, "requests on one connection are answered in order") {
    Wire wire = Wire::to(proxy.admin_port());
    wire.write(get_text("/live", "localhost") + get_text("/nothing", "localhost") +
               get_text("/ready", "localhost", "Connection: close\r\n"));
    CHECK(wire.read_response()->status() == 200);
    CHECK(wire.read_response()->status() == 404);
    CHECK(wire.read_response()->status() == 200);
    CHECK(wire.read_all().empty());
}

TEST_CASE_METHOD(Fixture, "at most 64 connections are held, and a place that was left is free again") {
    std::vector<Wire> held;
    for (int i = 0; i < 64; ++i) {
        held.push_back(Wire::to(proxy.admin_port()));
        held.back().write(get_text("/live", "localhost"));
        REQUIRE(held.back().read_response());
    }
    Wire over = Wire::to(proxy.admin_port());
    CHECK(over.read_all().empty());
    held.clear();
    CHECK(eventually([&] {
        Wire wire = Wire::to(proxy.admin_port());
        return wire.try_write(get_text("/live", "localhost")) && wire.read_response().has_value();
    }));
}

TEST_CASE("who sends no request, or takes no answer, is closed upon") {
    asio::io_context io;
    AdminViews views;
    views.metrics = [] { return std::string(64 << 20, 'm'); };  // more than the sockets' buffers hold
    Admin admin(io, views, 200ms);
    const auto [what, sent] = GENERATE(table<std::string, std::string>({
        {"nothing", ""},
        {"half a head", "GET /metrics HTTP/1.1\r\nHost: "},
        {"takes no answer", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"},
        {"idle after an answer", "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"},
    }));
    INFO(what);
    asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    Wire wire = Wire::to(acceptor.local_endpoint().port());
    wire.write(sent);
    admin.adopt(acceptor.accept().release(), Admin::Door::admin);
    io.run_for(5s);
    CHECK(admin.connections() == 0);
}

TEST_CASE("while it drains it is not ready, and still lives") {
    FakeVendor vendor(
        [](Wire& wire) {
            wire.read_request();
            wire.read_all();
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("slow", "slow.example", vendor, true), 1, 10s);
    Wire busy = proxy.connected("slow.example");
    busy.write("GET / HTTP/1.1\r\nHost: slow.example\r\n\r\n");
    REQUIRE(eventually([&] { return vendor.connections() == 1; }));
    proxy.drain();
    REQUIRE(eventually([&] { return get(proxy.admin_port(), "/ready").status() == 503; }));
    CHECK(boost::json::parse(get(proxy.admin_port(), "/ready").body).at("ready") == false);
    CHECK(get(proxy.admin_port(), "/live").status() == 200);
    CHECK(get(proxy.admin_port(), "/metrics").status() == 200);
    busy.close(true);
    proxy.join();
}
