// What operators see of breakers, limits and chaos while applications are served, and breakers that they force.
#include <atomic>
#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>
#include <semaphore>
#include <thread>

#include "tests/support/cut_off.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

std::string answer_with(const std::string& status, const std::string& fields = "", const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" +
           body;
}

Message ask_admin(const TestProxy& proxy, const std::string& request) {
    Wire wire = Wire::to(proxy.admin_port());
    wire.write(request);
    return wire.read_response().value_or(Message{});
}

Message get(const TestProxy& proxy, const std::string& path) {
    return ask_admin(proxy, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

Message post(const TestProxy& proxy, const std::string& path, const std::string& body = "",
             const std::string& fields = "Content-Type: application/json\r\n") {
    return ask_admin(proxy, "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body);
}

Message force(const TestProxy& proxy, const std::string& state, const std::string& vendor = "v") {
    return post(proxy, "/vendors/" + vendor + "/breaker", R"({"state": ")" + state + "\"}");
}

boost::json::object json_of(const Message& message) {
    INFO(message.body);
    REQUIRE(message.status() == 200);
    return boost::json::parse(message.body).as_object();
}

/// The breaker of the first endpoint, as admin answered.
boost::json::object breaker_in(const Message& message) {
    return json_of(message).at("breakers").at(0).as_object();
}

/// `live` of the first vendor.
boost::json::object live_of(const TestProxy& proxy) {
    return json_of(get(proxy, "/vendors")).at("vendors").at(0).at("live").as_object();
}

std::string endpoint_of(const FakeVendor& vendor) {
    return vendor.authority();
}

/// Breaks off in the middle of a body.
void cut_off(Wire& wire) {
    if (wire.read_request()) wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
}

std::string state_series(const FakeVendor& vendor, const std::string& state) {
    return "sluice_breaker_state{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) + "\",state=\"" + state + "\"}";
}

std::string one(const FakeVendor& vendor, const std::string& more = "", bool tls = true) {
    return "vendors:\n" + vendor_yaml("v", "v.example", vendor, tls, more);
}

}  // namespace

TEST_CASE("a breaker that is forced open refuses until it is taken back, and everybody can see so") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy(one(vendor));
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.metric(state_series(vendor, "closed")) == 1);

    const auto open = breaker_in(force(proxy, "open"));
    CHECK(open.at("state") == "open");
    CHECK(open.at("forced") == "open");
    const std::size_t asked = vendor.connections();
    const Message refused = proxy.get("v.example");
    CHECK(refused.status() == 503);
    CHECK(refused.reason() == "breaker_open");
    CHECK(vendor.connections() == asked);
    CHECK(proxy.metric(state_series(vendor, "open")) == 1);
    CHECK(proxy.metric(state_series(vendor, "closed")) == 0);
    const std::string labels = "{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) + "\"";
    CHECK(proxy.metric("sluice_breaker_forced" + labels + "}") == 1);
    CHECK(proxy.metric("sluice_breaker_transitions_total" + labels + ",state=\"open\"}") == 1);
    CHECK(proxy.metric("sluice_attempts_total" + labels + ",result=\"ok\"}") == 1);  // the same label
    CHECK(proxy.logs(R"("event":"breaker_forced","vendor":"v","endpoint":")" + endpoint_of(vendor) +
                     R"(","forced":"open","before":"auto")"));

    CHECK(breaker_in(force(proxy, "auto")).at("state") == "closed");
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.metric("sluice_breaker_forced" + labels + "}") == 0);
}

TEST_CASE("a breaker that is forced closed lets everything through, however the vendor fails") {
    FakeVendor vendor(always(answer_with("503 Service Unavailable")), vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 1, open_for: 1m..1m}\n"));
    CHECK(breaker_in(force(proxy, "closed")).at("forced") == "closed");
    for (int i = 0; i < 4; ++i) CHECK(proxy.get("v.example").reason().empty());
    force(proxy, "auto");
    CHECK(proxy.get("v.example").reason().empty());
    CHECK(proxy.get("v.example").reason() == "breaker_open");
}

TEST_CASE("a kill switch holds through reloads, of a vendor that changes too, and is taken back as before") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca()), other(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy(one(vendor));
    force(proxy, "open");
    proxy.rewrite(one(vendor) + "  new: {hosts: [new.example]}\n");
    REQUIRE(proxy.reload().status() == 200);
    CHECK(proxy.get("v.example").reason() == "breaker_open");
    proxy.rewrite(one(vendor, "breaker: {consecutive: 9}\n"));
    REQUIRE(proxy.reload().status() == 200);
    CHECK(proxy.get("v.example").reason() == "breaker_open");
    proxy.rewrite(one(other, "breaker: {consecutive: 9}\n"));  // another endpoint in the only one's place
    REQUIRE(proxy.reload().status() == 200);
    CHECK(proxy.get("v.example").reason() == "breaker_open");
    CHECK(other.connections() == 0);
    force(proxy, "auto");
    CHECK(proxy.get("v.example").status() == 200);
}

TEST_CASE("one endpoint of several is forced by its name, and the others serve") {
    FakeVendor first(always(answer_with("200 OK", "", "first")), vendor_ca());
    FakeVendor second(always(answer_with("200 OK", "", "second")), vendor_ca());
    std::string policy = one(first);
    const std::string url = "{url: \"https://" + first.authority() + "\"}";
    REQUIRE(policy.find(url) != policy.npos);
    policy.insert(policy.find(url) + url.size(), ", {url: \"https://" + second.authority() + "\"}");
    TestProxy proxy(policy);
    CHECK(proxy.get("v.example").body == "first");
    for (const std::string& name : {endpoint_of(first), "https://" + endpoint_of(first)}) {
        INFO(name);
        const Message answer = post(proxy, "/vendors/v/breaker", R"({"state": "open", "endpoint": ")" + name + "\"}");
        CHECK(json_of(answer).at("breakers").at(0).at("forced") == "open");
        CHECK(json_of(answer).at("breakers").at(1).at("forced") == "auto");
        CHECK(proxy.get("v.example").body == "second");
        CHECK(post(proxy, "/vendors/v/breaker?state=auto&endpoint=localhost%3A" + std::to_string(first.port()))
                  .status() == 200);
        CHECK(proxy.get("v.example").body == "first");
    }
}

TEST_CASE("an order that is not understood is refused with what is wrong, and nothing is forced") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy(one(vendor), 1, 10s, "metrics: \"127.0.0.1:0\"");
    const std::string path = "/vendors/v/breaker", json = "Content-Type: application/json\r\n";
    struct Case {
        std::string path, body, fields;
        unsigned status;
        std::string said;
    };
    const auto [asked, body, fields, status, said] = GENERATE_COPY(values<Case>({
        {path, "", "", 400, "it names no state"},
        {path, R"({"state": "shut"})", json, 400, "there is no state 'shut'"},
        {path, R"({"state": "half_open"})", json, 400, "there is no state 'half_open'"},
        {path, R"({"state": 1})", json, 400, "the value of 'state' is no text"},
        {path, R"({"state": "open", "for": "1h"})", json, 400, "there is no key 'for'"},
        {path, R"({"endpoint": "127.0.0.1"})", json, 400, "it names no state"},
        {path, R"({"state": "open", "endpoint": ""})", json, 400, "the value of 'endpoint' is no text"},
        {path, R"(["open"])", json, 400, "no JSON object"},
        {path, R"({"state": "open")", json, 400, "no JSON object"},
        {path, R"({"state": "open"})", "Content-Type: text/plain\r\n", 415, "application/json"},
        {path, R"({"state": "open"})", "", 415, "application/json"},
        {path + "?state=open", R"({"state": "open"})", json, 400, "in the query and in a body"},
        {path + "?state=open&state=open", "", "", 400, "'state' is there twice"},
        {path + "?state=ope%", "", "", 400, "is no text"},
        {path + "?stat=open", "", "", 400, "there is no key 'stat'"},
        {"/vendors/w/breaker?state=open", "", "", 404, "no vendor 'w'"},
        {"/vendors/_other/breaker?state=open", "", "", 404, "no vendor '_other'"},
        {path + "?state=open&endpoint=evil.example", "", "", 404, "no endpoint 'evil.example'; there is: localhost:"},
        {path, std::string(5000, ' ') + R"({"state": "open"})", json, 413, "4 KiB"},
        {path + "?state=open", "", "Origin: https://evil.example\r\n", 403, "origin"},
        {path + "?state=open", "", "Sec-Fetch-Site: cross-site\r\n", 403, "another site"},
    }));
    INFO(asked << " " << body.substr(0, 100) << " " << fields);
    const Message answer = post(proxy, asked, body, fields);
    CHECK(answer.status() == status);
    CHECK(answer.field("content-type") == "application/problem+json");
    CHECK(answer.body.find(said) != std::string::npos);
    CHECK(breaker_in(get(proxy, path)).at("forced") == "auto");
}

TEST_CASE("breakers are forced by POST alone, on admin's own door, and shown by GET") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy(one(vendor), 1, 10s, "metrics: \"127.0.0.1:0\"");
    for (const char* method : {"PUT", "DELETE", "PATCH"}) {
        const Message answer = ask_admin(
            proxy, std::string(method) + " /vendors/v/breaker?state=open HTTP/1.1\r\nHost: localhost\r\n\r\n");
        CHECK(answer.status() == 405);
        CHECK(answer.field("allow") == "GET, HEAD, POST");
    }
    CHECK(get(proxy, "/vendors/v/breaker?state=open").status() == 200);
    CHECK(get(proxy, "/vendors/w/breaker").status() == 404);
    for (const char* path : {"/vendors//breaker", "/vendors/v/breaker/", "/vendors/v", "/vendors/breaker"})
        CHECK(get(proxy, path).status() == 404);
    const Message chunked = ask_admin(proxy,
                                      "POST /vendors/v/breaker HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                      "application/json\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"state\": "
                                      "\"open\"}\r\n0\r\n\r\n");
    CHECK(chunked.status() == 411);
    Wire metrics = Wire::to(proxy.supervisor().addresses().metrics->port);
    metrics.write("POST /vendors/v/breaker?state=open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    CHECK(metrics.read_response()->status() == 405);
    CHECK(breaker_in(get(proxy, "/vendors/v/breaker")).at("forced") == "auto");

    // One connection goes on after a body.
    Wire wire = Wire::to(proxy.admin_port());
    const std::string order = R"({"state": "open"})";
    wire.write(
        "POST /vendors/v/breaker HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\n"
        "Content-Length: " +
        std::to_string(order.size()) + "\r\n\r\n" + order + "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(breaker_in(wire.read_response().value_or(Message{})).at("forced") == "open");
    CHECK(wire.read_response()->body == "{\"live\":true}\n");
}

TEST_CASE("a breaker that opens by itself is counted, and shown with what it has seen") {
    FakeVendor vendor(always(answer_with("503 Service Unavailable")), vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 2, open_for: 1m..1m}\n"));
    proxy.get("v.example");
    auto breaker = breaker_in(get(proxy, "/vendors/v/breaker"));
    CHECK(breaker.at("consecutive") == 1);
    CHECK(breaker.at("seen") == 1);
    CHECK(breaker.at("failed") == 1);
    proxy.get("v.example");
    breaker = live_of(proxy).at("breakers").at(0).as_object();
    CHECK(breaker.at("state") == "open");
    CHECK(breaker.at("forced") == "auto");
    CHECK(breaker.at("retry_after_ms").to_number<int>() > 30'000);
    CHECK(breaker.at("opened") == 1);
    CHECK(proxy.metric(state_series(vendor, "open")) == 1);
    CHECK(proxy.metric("sluice_breaker_transitions_total{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) +
                       "\",state=\"open\"}") == 1);
    proxy.rewrite(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 3, open_for: 1m..1m}\n"));
    REQUIRE(proxy.reload().status() == 200);
    CHECK(proxy.metric(state_series(vendor, "closed")) == 1);  // it was made anew
    CHECK(proxy.metric("sluice_breaker_transitions_total{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) +
                       "\",state=\"open\"}") == 1);
}

TEST_CASE("a body that breaks off counts as a failure, and the breaker that it opens is told of") {
    std::binary_semaphore head_arrived{0};
    FakeVendor vendor(cut_off_after(head_arrived), vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 1, open_for: 1m..1m}\n"));
    Wire app = proxy.connected("v.example");
    const auto answer = ask_cut_off(app, "v.example", head_arrived);
    REQUIRE(answer);
    CHECK_FALSE(answer->whole);
    CHECK(eventually([&] { return proxy.metric(state_series(vendor, "open")) == 1; }));
    CHECK(proxy.logs(R"("state":"open")"));
    CHECK(proxy.metric("sluice_breaker_transitions_total{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) +
                       "\",state=\"open\"}") == 1);
}

TEST_CASE("bodies that all break off open a breaker as failures at once would, in a row and by their share") {
    FakeVendor vendor(cut_off, vendor_ca());
    const auto [rules, needed] = GENERATE(values<std::pair<std::string, int>>({
        {"{consecutive: 3, open_for: 1m..1m}", 3},
        {"{consecutive: 100, failure_rate: 60%, min_requests: 5, open_for: 1m..1m}", 5},
    }));
    INFO(rules);
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: " + rules + "\n"));
    for (int i = 1; i <= needed; ++i) {
        proxy.get("v.example");
        REQUIRE(eventually([&] {
            const auto breaker = breaker_in(get(proxy, "/vendors/v/breaker"));
            return breaker.at("state") == "open" || breaker.at("failed") == i;
        }));
        CHECK(breaker_in(get(proxy, "/vendors/v/breaker")).at("state") == (i < needed ? "closed" : "open"));
    }
    CHECK(proxy.get("v.example").reason() == "breaker_open");
}

TEST_CASE("a probe whose body breaks off opens the breaker again, though its head was good") {
    std::atomic<bool> down{true};
    std::binary_semaphore head_arrived{0};
    FakeVendor vendor(
        [&, break_off = cut_off_after(head_arrived)](Wire& wire) {
            if (!down) return break_off(wire);
            if (wire.read_request()) wire.write(answer_with("503 Service Unavailable", "Connection: close\r\n"));
        },
        vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 1, probes: 1, open_for: 100ms..5m}\n"));
    CHECK(proxy.get("v.example").reason().empty());
    down = false;
    Wire app = proxy.connected("v.example");
    REQUIRE(eventually([&] {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        auto answer = app.read_head();
        if (answer && answer->status() == 503) app.read_body(*answer, false);
        return answer && answer->status() == 200;
    }));
    head_arrived.release();
    CHECK(eventually([&] { return breaker_in(get(proxy, "/vendors/v/breaker")).at("opened").to_number<int>() >= 2; }));
}

TEST_CASE("an application that gave up before an answer was late does not make its vendor slow, though that is noticed later") {
    FakeVendor vendor([](Wire& wire) {
        wire.read_request();
        wire.read_all();
    });
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 100, slow_after: 450ms, min_requests: 1000}\n", false));
    const auto abandoned = [&] {
        return proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) + "\",result=\"abandoned\"}");
    };
    // Where the machine stood still meanwhile, it was late: then once more.
    int tries = 0;
    CHECK(eventually([&] {
        {
            Wire app = Wire::to(proxy.port());
            app.write("GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
            if (!eventually([&] { return proxy.metric(R"(sluice_inflight{vendor="v"})") == 1; })) return false;
            app.close(true);
        }
        if (!eventually([&, wanted = ++tries] { return abandoned() == wanted; })) return false;
        return breaker_in(get(proxy, "/vendors/v/breaker")).at("slow").to_number<int>() < tries;
    }));
}

TEST_CASE("after an application has closed its half of a plain connection nothing more is tried for it, and no timeout is the vendor's fault") {
    FakeVendor vendor([](Wire& wire) {
        wire.read_request();
        wire.read_all();
    });
    // Sluice looks once a second who has ended; a connection's end may also be no more than that of what it has to ask.
    const std::string more = GENERATE("retry: {max: 2, on: [+timeout], backoff: 1ms..1ms}\n", "retry: {max: 0}\nhedge: {after: 3s}\n");
    CAPTURE(more);
    TestProxy proxy(one(vendor, more + "breaker: {consecutive: 5, slow_after: 1h}\ntimeout: {first_byte: 4s}\n", false));
    Wire app = Wire::to(proxy.port());
    app.write("GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
    app.fin();
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->reason() == "timeout_first_byte");
    CHECK(answer->field("sluice-attempts") == "1");
    CHECK(vendor.connections() == 1);
    const auto breaker = breaker_in(get(proxy, "/vendors/v/breaker"));
    CHECK(breaker.at("seen") == 0);
    CHECK(breaker.at("failed") == 0);
}

TEST_CASE("a vendor that has just recovered gets its calls back at their normal rate, and the rest is told when to come") {
    std::atomic<bool> down{false};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request())
                wire.write(down ? answer_with("503 Service Unavailable") : answer_with("200 OK"));
        },
        vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 1, probes: 1, open_for: 100ms..5m}\n"));
    Wire app = proxy.connected("v.example");
    const auto ask = [&] {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        return app.read_response().value_or(Message{});
    };
    const std::string series = "sluice_breaker_readmission{vendor=\"v\",endpoint=\"" + endpoint_of(vendor) + "\"}";
    // What is normal is a rate, and takes its time: some whole seconds, and the last before the breaker opens do not count.
    for (const auto end = std::chrono::steady_clock::now() + 13s; std::chrono::steady_clock::now() < end;) {
        REQUIRE(ask().status() == 200);
        std::this_thread::sleep_for(100ms);
    }
    CHECK(proxy.metric(series) == -1);
    down = true;
    CHECK(ask().status() == 503);
    down = false;
    REQUIRE(eventually([&] { return ask().status() == 200; }));
    CHECK(proxy.metric(series) > 1);
    CHECK(proxy.metric(series) < 20);
    const auto breaker = breaker_in(get(proxy, "/vendors/v/breaker"));
    CHECK(breaker.at("state") == "closed");
    CHECK(breaker.at("readmits").at("per_second").to_number<int>() < 20);
    Message refused;
    REQUIRE(eventually([&] { return (refused = ask()).reason() == "breaker_open"; }));
    INFO(refused.body);
    CHECK(refused.body.find("has just recovered") != std::string::npos);
    CHECK(std::stoi(refused.field("retry-after")) <= 61);
    CHECK(force(proxy, "closed").status() == 200);
    for (int i = 0; i < 50; ++i) REQUIRE(ask().status() == 200);  // an operator knows better
}

TEST_CASE("what gRPC says in its trailers counts like what it says in its head") {
    const auto grpc = [](const std::string& status) {
        return "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\nTrailer: "
               "grpc-status\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: " +
               status + "\r\n\r\n";
    };
    const auto [status, fails] = GENERATE(values<std::pair<std::string, bool>>(
        {{"14", true}, {"13", true}, {"0", false}, {"5", false}, {"8", false}}));
    INFO(status);
    FakeVendor vendor(always(grpc(status)), vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nbreaker: {consecutive: 3, open_for: 1m..1m}\n"));
    for (int i = 1; i <= 3; ++i) {
        const Message answer = proxy.get("v.example");
        CHECK(answer.whole);
        CHECK(answer.body == "hello");
        CHECK(eventually([&] { return proxy.metric(state_series(vendor, "closed")) == (fails && i == 3 ? 0 : 1); }));
    }
    CHECK((proxy.get("v.example").reason() == "breaker_open") == fails);
}

TEST_CASE("where a limit stands is on /metrics and /vendors") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy(one(vendor, "limit: {name: calls, rate: 10/d, burst: 10, concurrency: 7}\n"));
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="calls.rate"})") == 7);
    CHECK(proxy.metric(R"(sluice_limit_capacity{vendor="v",limit="calls.rate"})") == 10);
    CHECK(proxy.metric(R"(sluice_limit_capacity{vendor="v",limit="calls.seats"})") == 7);
    CHECK(eventually([&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="calls.seats"})") == 7; }));
    const auto live = live_of(proxy);
    const auto& limit = live.at("limits").at(0);
    CHECK(limit.at("name") == "calls");
    CHECK(limit.at("rate").at("remaining") == 7);
    CHECK(limit.at("rate").at("limit") == 10);
    CHECK(limit.at("rate").at("window") == "1d");
    CHECK(limit.at("seats").at("limit") == 7);
    CHECK(limit.at("waiting") == 0);
    CHECK(live.at("latency").at("samples") == 3);
    CHECK(live.at("retry_budget").at("left") == 3);
}

TEST_CASE("who waits for a seat is seen waiting") {
    std::atomic<bool> go = false;
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            eventually([&] { return go.load(); });
            wire.write(answer_with("200 OK"));
        },
        vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nlimit: {concurrency: 1, when_full: {wait: 10s}}\n"));
    Wire first = proxy.connected("v.example"), second = proxy.connected("v.example");
    for (Wire* wire : {&first, &second}) wire->write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    CHECK(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="limit"})") == 1; }));
    CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.seats"})") == 0);
    CHECK(live_of(proxy).at("limits").at(0).at("seats").at("in_use") == 1);
    CHECK(live_of(proxy).at("limits").at(0).at("waiting") == 1);
    go = true;
    CHECK(first.read_response()->status() == 200);
    CHECK(second.read_response()->status() == 200);
    CHECK(proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="limit"})") == 0);
}

TEST_CASE("a pace that a vendor asked for is seen while it holds") {
    FakeVendor vendor(always(answer_with("429 Too Many Requests", "Retry-After: 600\r\n")), vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nlimit: {rate: 1000/s, learn: true}\n"));
    CHECK(proxy.get("v.example").status() == 429);
    CHECK(proxy.get("v.example").reason() == "rate_limited");
    const double closed = proxy.metric(R"(sluice_limit_learnt_seconds{vendor="v",limit="limit",part="closed"})");
    CHECK((closed > 500 && closed <= 600));
    const auto learnt = live_of(proxy).at("limits").at(0).at("learnt").as_object();
    CHECK(learnt.at("closed_ms").to_number<int>() > 500'000);
    CHECK(learnt.at("holds_ms").to_number<int>() > 500'000);
}

TEST_CASE("tokens are counted as the vendor says that they were used") {
    const std::string usage = R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17}})";
    FakeVendor vendor(always(answer_with("200 OK", "Content-Type: application/json\r\n", usage)), vendor_ca());
    TestProxy proxy(one(vendor, "limit: {tokens: {rate: 1000/h, burst: 1000, estimate: body, settle: usage}}\n"));
    for (int i = 0; i < 2; ++i) {
        Wire app = proxy.connected("v.example");
        const std::string call = R"({"messages":[],"max_tokens":20})";
        app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: " +
                  std::to_string(call.size()) + "\r\n\r\n" + call);
        CHECK(app.read_response()->status() == 200);
    }
    CHECK(eventually([&] { return proxy.metric(R"(sluice_tokens_total{vendor="v",direction="completion"})") == 14; }));
    CHECK(proxy.metric(R"(sluice_tokens_total{vendor="v",direction="prompt"})") == 20);
    CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})") >= 966);
}

TEST_CASE("what an answer that broke off said of its tokens is not its last word: what was reserved stays spent, and what it went beyond is owed") {
    const auto [used, least, most] = GENERATE(table<int, int, int>({{17, 550, 610}, {700, 250, 310}}));
    CAPTURE(used);
    std::binary_semaphore head_arrived{0};
    const std::string usage = R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":)" + std::to_string(used - 7) + R"(,"total_tokens":)" + std::to_string(used) + "}}";
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + usage);
            static_cast<void>(head_arrived.try_acquire_for(10s));
        },
        vendor_ca());
    TestProxy proxy(one(vendor, "retry: {max: 0}\nlimit: {tokens: {rate: 1000/d, burst: 1000}}\n"));
    Wire app = proxy.connected("v.example");
    const std::string call = R"({"messages":[],"max_tokens":400})";
    app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(call.size()) + "\r\n\r\n" + call);
    REQUIRE(app.read_head());
    CHECK(app.read_exactly(usage.size()) == usage);
    head_arrived.release();
    CHECK(app.read_all().empty());
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})"); };
    CHECK(eventually([&] { return left() >= least && left() <= most; }));
}

TEST_CASE("chaos is announced at the start and by a reload that begins it, and seen while it is at work") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    const std::string on =
        "chaos: {enabled: true, inject: [{fault: status 418, rate: 50%, header: X-No}, {fault: reset, first: 1}]}\n";
    TestProxy proxy(one(vendor, "retry: {max: 0}\n" + on));
    CHECK(proxy.logs(
        R"x("event":"chaos","vendor":"v","state":"injecting","inject":"status 418 (50%, header X-No), reset (first 1)")x"));
    CHECK(proxy.get("v.example").reason() == "upstream_reset");
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.metric(R"(sluice_chaos_injected_total{vendor="v",fault="reset"})") == 1);
    CHECK(proxy.metric(R"(sluice_chaos_injected_total{vendor="v",fault="status 418"})") == 0);
    CHECK(proxy.metric(R"(sluice_chaos_active{vendor="v"})") == 1);
    const auto chaos = live_of(proxy).at("chaos").as_object();
    CHECK(chaos.at("enabled") == true);
    CHECK(chaos.at("stopped") == false);
    CHECK(chaos.at("inject").at(1).at("injected") == 1);

    const auto announced = [&] {
        const std::string log = proxy.log();
        std::size_t count = 0;
        for (std::size_t at = 0; (at = log.find("\"injecting\"", at)) != log.npos; ++at) ++count;
        return count;
    };
    const auto reload = [&](const std::string& more) {
        proxy.rewrite(one(vendor, more));
        REQUIRE(proxy.reload().status() == 200);
    };
    reload("retry: {max: 1}\n" + on);  // of something else: it goes on, and was said
    reload("");
    CHECK(proxy.metric(R"(sluice_chaos_active{vendor="v"})") == -1);
    CHECK(proxy.metric(R"(sluice_chaos_injected_total{vendor="v",fault="reset"})") == 1);
    REQUIRE(proxy.logs("\"state\":\"injecting\""));
    CHECK(announced() == 1);
    reload(on);
    CHECK(eventually([&] { return announced() == 2; }));
}

TEST_CASE("chaos that stops because the vendor itself fails says so once") {
    FakeVendor vendor(always(answer_with("503 Service Unavailable")), vendor_ca());
    TestProxy proxy(one(vendor,
                        "retry: {max: 0}\nbreaker: {enabled: false}\n"
                        "chaos: {enabled: true, abort_above: 10%, inject: [{fault: delay 1ms}]}\n"));
    for (int i = 0; i < 10; ++i) CHECK(proxy.get("v.example").status() == 503);
    CHECK(proxy.logs(R"("event":"chaos","vendor":"v","state":"stopped")"));
    CHECK(proxy.metric(R"(sluice_chaos_active{vendor="v"})") == 0);
    CHECK(live_of(proxy).at("chaos").at("stopped") == true);
    proxy.get("v.example");
    const std::string log = proxy.log();
    CHECK(log.find("\"stopped\"", log.find("\"stopped\"") + 1) == log.npos);
}
