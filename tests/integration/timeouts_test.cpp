// The five timeouts, the pool, and the ways in which an exchange ends early.

#include <atomic>
#include <catch2/catch.hpp>

#include "tests/support/full_backlog.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

using SteadyClock = std::chrono::steady_clock;

std::chrono::milliseconds since(SteadyClock::time_point start) { return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - start); }

}  // namespace

TEST_CASE("each phase that hangs ends in its own 504, in time") {
    FullBacklog full;
    FakeVendor silent([](Wire& wire) { wire.read_all(); });   // plain: the TLS handshake gets no answer
    FakeVendor slow([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    FakeVendor halting(
        [](Wire& wire) {
            wire.read_request();
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
            wire.read_all();
        },
        vendor_ca());
    // The defaults, were they taken instead, would not run out within the ten seconds of a Wire.
    TestProxy proxy("defaults: {timeout: {connect: 1m, tls: 1m}}\nvendors:\n" + vendor_yaml("tls", "tls.example", silent, true, "timeout: {tls: 200ms}") + vendor_yaml("first", "first.example", slow, true, "timeout: {first_byte: 200ms}") +
                    vendor_yaml("total", "total.example", slow, true, "timeout: {total: 200ms}") + vendor_yaml("idle", "idle.example", halting, true, "timeout: {idle: 200ms}") +
                    "  connect: {hosts: [connect.example], addresses: [127.0.0.1], endpoints: [{url: \"http://127.0.0.1:" + std::to_string(full.port()) + "\"}], timeout: {connect: 200ms}}\n");
    struct Row {
        std::string host, reason;
    };
    for (const Row& row : {Row{"connect.example", "timeout_connect"}, Row{"tls.example", "timeout_tls"}, Row{"first.example", "timeout_first_byte"}, Row{"total.example", "timeout_total"}}) {
        INFO(row.host);
        Wire app = proxy.connected(row.host);
        const auto start = SteadyClock::now();
        app.write("GET / HTTP/1.1\r\nHost: " + row.host + "\r\n\r\n");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 504);
        CHECK(answer->reason() == row.reason);
        CHECK(since(start) >= 200ms);
        CHECK(since(start) < 9s);   // 25 ms late on a machine that has time; the wheel's own test is exact
    }
    // Idle is met in the middle of the body: too late for a status, so the body must not look whole.
    Wire app = proxy.connected("idle.example");
    app.write("GET / HTTP/1.1\r\nHost: idle.example\r\n\r\n");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK_FALSE(answer->whole);
    CHECK(proxy.logs("timeout_idle"));
}

TEST_CASE("an upload in which no byte moves ends in a 504 of its own") {
    FakeVendor vendor([](Wire& wire) { wire.read_all(); }, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "timeout: {idle: 300ms}"));
    Wire app = proxy.connected("v.example");
    const auto start = SteadyClock::now();
    app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Length: 10\r\n\r\nhe");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 504);
    CHECK(answer->reason() == "timeout_idle");
    CHECK(answer->field("sluice-outcome") == "failed");
    CHECK(answer->field("sluice-attempts") == "1");
    CHECK(answer->field("connection") == "close");
    CHECK(since(start) >= 300ms);
    CHECK(since(start) < 9s);
    CHECK(proxy.logs("\"reason\":\"timeout_idle\""));
}

TEST_CASE("an application that takes too long over its head is told so, and the log says it too") {
    TestProxy proxy("", 1, 10s, "", TestProxy::only_asked(), {.handshake = 1h, .head = 200ms, .keep_alive = 1h});
    Wire app = Wire::to(proxy.port());
    const auto start = SteadyClock::now();
    app.write("GET http://v.example/ HTTP/1.1\r\nHost: v.exa");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(since(start) >= 200ms);
    CHECK(answer->status() == 408);
    CHECK(answer->reason() == "timeout_request");
    CHECK(answer->field("sluice-outcome") == "refused");
    CHECK(answer->field("sluice-attempts") == "0");
    CHECK(answer->field("connection") == "close");
    CHECK(answer->body.find("not complete after 200ms") != std::string::npos);
    CHECK(app.read_some().empty());
    CHECK(proxy.logs("\"request_id\":\"" + answer->field("sluice-request-id") + "\""));
    CHECK(proxy.logs("\"reason\":\"timeout_request\""));
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="_other",reason="timeout_request"})") == 1);
}

TEST_CASE("a connection on which nothing is said is closed without a word, a new one and one that has been answered") {
    FakeVendor vendor(echo());
    const bool fresh = GENERATE(true, false);
    const ApplicationTimes times{.handshake = 1h, .head = fresh ? Duration{200ms} : Duration{1h}, .keep_alive = fresh ? Duration{1h} : Duration{200ms}};
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false), 1, 10s, "", TestProxy::only_asked(), times);
    Wire app = Wire::to(proxy.port());
    if (!fresh) {
        app.write("GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
    }
    const auto start = SteadyClock::now();
    CHECK(app.read_some().empty());
    CHECK_FALSE(app.reset());
    CHECK(since(start) < 9s);   // a Wire's own patience is ten
    CHECK(proxy.log().find("timeout_request") == std::string::npos);
}

TEST_CASE("a handshake that stalls after a CONNECT is closed, whether it was begun or not") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false), 1, 10s, "", TestProxy::only_asked(), {.handshake = 200ms, .head = 1h, .keep_alive = 1h});
    const bool begun = GENERATE(true, false);
    Wire app = Wire::to(proxy.port());
    app.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    const auto answer = app.read_head();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    const auto start = SteadyClock::now();
    if (begun) app.write(std::string_view("\x16\x03\x01\x02\x00\x01", 6));
    CHECK(app.read_some().empty());
    CHECK(since(start) < 9s);
    if (begun) CHECK(proxy.logs("\"event\":\"intercept_failed\",\"host\":\"v.example\",\"error\":\"timed out\""));
    CHECK(proxy.get("v.example").status() == 200);   // one that does not dawdle has the same time
}

TEST_CASE("the application may lower `total`, never raise it") {
    FakeVendor slow([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", slow, true, "timeout: {total: 300ms}"));
    const auto start = SteadyClock::now();
    CHECK(proxy.get("v.example", "/", "Sluice-Timeout: 100ms\r\n").reason() == "timeout_total");
    CHECK(since(start) >= 100ms);
    const auto second = SteadyClock::now();
    CHECK(proxy.get("v.example", "/", "Sluice-Timeout: 1h\r\n").reason() == "timeout_total");
    CHECK(since(second) >= 300ms);
    CHECK(proxy.get("v.example", "/", "Sluice-Timeout: soon\r\n").reason() == "bad_request");
}

TEST_CASE("an event stream outlives a total that nobody wrote, and ends at one that somebody did") {
    const auto stream = [](Wire& wire) {
        wire.read_request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 8; ++i) {
            if (!wire.try_write("9\r\ndata: x\n\n\r\n")) return;
            std::this_thread::sleep_for(200ms);
        }
        wire.try_write("0\r\n\r\n");
    };
    FakeVendor inherited(stream, vendor_ca()), written(stream, vendor_ca());
    TestProxy proxy("defaults: {timeout: {total: 1s, first_byte: 1s, idle: 1s, connect: 1s, tls: 1s}}\nvendors:\n" + vendor_yaml("a", "a.example", inherited, true) +
                    vendor_yaml("b", "b.example", written, true, "timeout: {total: 1s}"));
    CHECK(proxy.get("a.example").whole);
    CHECK_FALSE(proxy.get("b.example").whole);
}

TEST_CASE("a connection to a vendor is used again, and its handshake resumed") {
    std::atomic<bool> close_each{false};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                if (close_each) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(vendor.connections() == 1);
    close_each = true;
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.metric(R"(sluice_upstream_handshakes_total{vendor="v",resumed="true"})") >= 1);
}

TEST_CASE("a vendor that closes kept connections without a close_notify has its handshakes resumed all the same") {
    const int newest = GENERATE(TLS1_3_VERSION, TLS1_2_VERSION);
    CAPTURE(newest);
    FakeVendor vendor(
        [](Wire& wire) {
            if (!wire.read_request()) return;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            wire.fin();
            wire.read_all();
        },
        vendor_ca(), "localhost", newest);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    for (int i = 0; i < 4; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(vendor.connections() == 4);
    CHECK(proxy.metric(R"(sluice_upstream_handshakes_total{vendor="v",resumed="false"})") == 1);
    CHECK(proxy.metric(R"(sluice_upstream_handshakes_total{vendor="v",resumed="true"})") == 3);
}

TEST_CASE("a session whose handshake failed is not offered again") {
    std::atomic<bool> fails{false};
    std::atomic<unsigned> offered{0};
    FakeVendor vendor(always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), vendor_ca());
    struct Seen {
        std::atomic<bool>& fails;
        std::atomic<unsigned>& offered;
    } seen{fails, offered};
    SSL_CTX_set_client_hello_cb(
        vendor.context(),
        [](SSL* ssl, int* alert, void* argument) {
            auto& [fail, sessions] = *static_cast<Seen*>(argument);
            const unsigned char* bytes = nullptr;
            std::size_t size = 0;
            constexpr unsigned pre_shared_key = 41;   // RFC 8446 4.2.11
            const bool offers = SSL_client_hello_get0_ext(ssl, pre_shared_key, &bytes, &size) == 1;
            sessions += offers;
            *alert = SSL_AD_INTERNAL_ERROR;
            return fail && offers ? SSL_CLIENT_HELLO_ERROR : SSL_CLIENT_HELLO_SUCCESS;
        },
        &seen);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}"));
    for (int i = 0; i < 2; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(offered == 1);
    fails = true;
    CHECK(proxy.get("v.example").reason() == "tls_failed");
    CHECK(offered == 2);
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(offered == 2);
}

TEST_CASE("a pooled connection that has died is replaced without the application knowing") {
    // The vendor answers once, then reads the next request and closes without a word: nothing shows before the request is out.
    std::atomic<int> requests{0};
    FakeVendor vendor([&](Wire& wire) {
        if (!wire.read_request()) return;
        ++requests;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        if (wire.read_head()) ++requests;
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    CHECK(app.read_response()->status() == 200);
    SECTION("for a request that may be sent again") {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->field("sluice-attempts") == "1");
        CHECK(requests == 3);
    }
    SECTION("and for one that has a key by which the vendor knows it again") {
        app.write("POST / HTTP/1.1\r\nHost: v.example\r\nIdempotency-Key: 1\r\nContent-Length: 1\r\n\r\nx");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->field("sluice-attempts") == "1");
        CHECK(requests == 3);
    }
    SECTION("but a request that may not is not sent twice") {
        app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Length: 1\r\n\r\nx");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 502);
        CHECK(answer->reason() == "upstream_reset");
        CHECK(requests == 2);
    }
}

TEST_CASE("a vendor that closes without an answer is a 502, and a fresh connection is no retry of its own") {
    std::atomic<int> requests{0};
    FakeVendor vendor([&](Wire& wire) { if (wire.read_request()) ++requests; });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "retry: {max: 0}\n"));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 502);
    CHECK(answer.reason() == "upstream_reset");
    CHECK(requests == 1);
}

TEST_CASE("an application that goes away ends the exchange, and does not count against the vendor") {
    FakeVendor vendor([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    {
        Wire app = proxy.connected("v.example");
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(eventually([&] { return vendor.connections() == 1; }));
    }
    CHECK(proxy.logs("\"gone\":true"));
    CHECK(eventually([&] { return proxy.metric(R"(sluice_inflight{vendor="v"})") == 0; }));
}

TEST_CASE("a drain finishes what is in flight, closes what is idle, and accepts nothing new") {
    std::atomic<bool> answer_now{false};
    std::atomic<int> asked{0};
    FakeVendor vendor([&](Wire& wire) {
        while (const auto request = wire.read_request()) {
            ++asked;
            if (request->start_line.find("/slow") != std::string::npos) eventually([&] { return answer_now.load(); });
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire idle = proxy.connected("v.example");
    idle.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(idle.read_response());
    Wire busy = proxy.connected("v.example");
    busy.write("GET /slow HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return asked == 2; }));
    const std::uint16_t port = proxy.port();
    proxy.drain();
    CHECK(idle.read_some().empty());
    answer_now = true;
    const auto answer = busy.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK(answer->field("connection") == "close");
    CHECK(answer->body == "ok");
    proxy.join();
    CHECK_THROWS(Wire::to(port));
}

TEST_CASE("a drain cuts nobody off between a CONNECT and the request that it was made for") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    const int stage = GENERATE(range(0, 4));
    CAPTURE(stage);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    const std::string head = "CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n";
    Wire app = Wire::to(proxy.port());
    const auto drain = [&] {
        Wire there = Wire::to(proxy.port());   // where it is closed the drain has reached the worker
        there.write("GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(there.read_response());
        proxy.drain();
        CHECK(there.read_some().empty());
    };
    const auto read_established = [&] {
        const auto established = app.read_head();
        REQUIRE(established);
        REQUIRE(established->status() == 200);
    };
    const auto handshake = [&] { app.tls_client(proxy.ca(), "v.example", "v.example"); };
    switch (stage) {
    case 0:   // half of the CONNECT's head
        app.write(head.substr(0, 20));
        drain();
        app.write(head.substr(20));
        read_established();
        handshake();
        break;
    case 1:   // answered, and nothing said yet
        app.write(head);
        read_established();
        drain();
        handshake();
        break;
    case 2:   // the handshake is over
        app.write(head);
        read_established();
        handshake();
        drain();
        break;
    case 3:   // half of the first request's head
        app.write(head);
        read_established();
        handshake();
        app.write("GET / HT");
        drain();
        app.write("TP/1.1\r\nHost: v.example\r\n\r\n");
        break;
    }
    if (stage != 3) app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK(answer->field("connection") == "close");
    CHECK(app.read_all().empty());
    proxy.join();
}

TEST_CASE("a connection that is owed its first request holds a drain up no longer than a handshake may take") {
    FakeVendor vendor(echo());
    ApplicationTimes times;
    times.handshake = 200ms;
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false), 1, 10s, "", TestProxy::only_asked(), times);
    Wire fresh = Wire::to(proxy.port());
    Wire answered = Wire::to(proxy.port());
    answered.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    REQUIRE(answered.read_head());
    const auto began = std::chrono::steady_clock::now();
    proxy.drain();
    CHECK(fresh.read_some().empty());
    CHECK(answered.read_some().empty());
    proxy.join();
    CHECK(std::chrono::steady_clock::now() - began < 9s);   // the drain's own time is ten
}

TEST_CASE("what does not end within the drain's time is cut off") {
    FakeVendor vendor([](Wire& wire) { wire.read_request(); wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false), 1, 200ms);
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return vendor.connections() == 1; }));
    proxy.drain();
    proxy.join();
    CHECK(app.read_some().empty());
    REQUIRE(proxy.logs("\"reason\":\"draining\""));   // and not as somebody who went away by himself
    CHECK(proxy.logs("\"outcome\":\"failed\""));
    CHECK(proxy.logs("cut off"));
    CHECK(proxy.log().find("\"gone\"") == std::string::npos);
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="v",reason="draining"})") == 1);
}

TEST_CASE("an answer and a tunnel that are under way when the drain's time is over are recorded as cut off by it, with the status that was seen") {
    FakeVendor halting([](Wire& wire) {
        wire.read_request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
        wire.read_all();
    });
    const bool tunnel = GENERATE(false, true);
    CAPTURE(tunnel);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", halting, false, tunnel ? "mode: tunnel" : ""), 1, 200ms);
    Wire app = Wire::to(proxy.port());
    app.write(tunnel ? "CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n" : "GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
    const auto answer = app.read_head();
    REQUIRE(answer);
    proxy.drain();
    proxy.join();
    CHECK(app.read_all().size() < 100);
    CHECK(proxy.logs("\"status\":200,\"outcome\":\"failed\",\"reason\":\"draining\""));
    CHECK(proxy.log().find("\"gone\"") == std::string::npos);
}

TEST_CASE("what only waits for its turn when the drain's time is over is told so: it is worth another try elsewhere") {
    std::atomic<int> asked{0};
    FakeVendor vendor([&](Wire& wire) {
        while (wire.read_request()) {
            ++asked;
            wire.write("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n");
        }
    });
    const std::string waits = GENERATE("limit: {rate: 1/m, when_full: {wait: 5m}}\nretry: {max: 0}\n", "");
    CAPTURE(waits);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, waits), 1, 200ms);
    if (waits.starts_with("limit")) CHECK(proxy.get("v.example").status() == 503);   // the minute's one
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return asked == 1 && proxy.metric("sluice_inflight{vendor=\"v\"}") == 1; }));
    proxy.drain();
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 503);
    CHECK(answer->reason() == "draining");
    CHECK(answer->field("retry-after") == "1");
    CHECK(answer->field("connection") == "close");
    CHECK(answer->field("sluice-outcome") == "refused");
    CHECK(app.read_some().empty());
    proxy.join();
    CHECK(proxy.logs("\"reason\":\"draining\""));
}

TEST_CASE("a hedged request that waits for a seat when the drain's time is over is told so too") {
    FakeVendor vendor([](Wire& wire) { wire.read_request(); wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "hedge: {after: 1h}\nlimit: {concurrency: 1, when_full: {wait: 1m}}\n"), 1, 200ms);
    Wire first = proxy.connected("v.example"), second = proxy.connected("v.example");
    first.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return vendor.connections() == 1; }));
    second.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return proxy.metric("sluice_inflight{vendor=\"v\"}") == 2; }));
    proxy.drain();
    const auto answer = second.read_response();
    REQUIRE(answer);
    CHECK(answer->reason() == "draining");
    proxy.join();
    CHECK(vendor.connections() == 1);
}

TEST_CASE("four workers serve many applications at once", "[multi-worker]") {
    FakeVendor vendor(echo(), vendor_ca());
    TemporaryDirectory secrets;
    const std::string secret = secrets.file("token", "first-token");
    TestProxy proxy("credentials: {key: {type: bearer, value: {file: " + secret + "}}}\nvendors:\n" + vendor_yaml("v", "v.example", vendor, true, "credential: key\nscrub: off"), 4);
    std::atomic<int> good{0}, second{0};
    std::vector<std::thread> applications;
    for (int i = 0; i < 8; ++i)
        applications.emplace_back([&] {
            for (int round = 0; round < 4; ++round) {
                Wire app = proxy.connected("v.example");
                for (int j = 0; j < 8; ++j) {
                    app.write("POST /x HTTP/1.1\r\nHost: v.example\r\nContent-Length: 5\r\n\r\nhello");
                    const auto answer = app.read_response();
                    if (!answer || answer->status() != 200 || !answer->body.ends_with("hello")) return;
                    if (answer->body.find("second-token") != std::string::npos) ++second;
                    ++good;
                }
                if (round == 1) secrets.file("token", "second-token");   // rotated under load
            }
        });
    for (std::thread& application : applications) application.join();
    CHECK(good == 8 * 4 * 8);
    CHECK(eventually([&] { return proxy.get("v.example").body.find("Bearer second-token") != std::string::npos; }));
    CHECK(proxy.metric(R"(sluice_requests_total{vendor="v",route="_none",method="POST",code="200",outcome="vendor"})") == 8 * 4 * 8);
}
