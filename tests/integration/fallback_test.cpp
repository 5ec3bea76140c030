// When another vendor stands in, and when it cannot: limits of whom it stands in for, bodies that come late or cannot be rewritten.
#include <atomic>
#include <catch2/catch.hpp>
#include <semaphore>
#include <thread>

#include "tests/support/command.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

std::string answer_with(const std::string& status, const std::string& fields = "", const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

const std::string json = "Content-Type: application/json\r\n";

}  // namespace

// ---- limits of the vendor that is stood in for

TEST_CASE("while every breaker of a vendor is open another one stands in, whatever the first one's limits are at") {
    FakeVendor one(always(answer_with("503 Service Unavailable", "Retry-After: 60\r\n"))), two(always(answer_with("200 OK", "", "two")));
    const std::string more = GENERATE(as<std::string>{}, "limit: {rate: 1/h, burst: 1}\n", "limit: {learn: true}\n", "limit: {rate: 1/h, burst: 1, when_full: {wait: 1m}}\n");
    CAPTURE(more);
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", one, false, "retry: {max: 0}\nbreaker: {consecutive: 1, open_for: 1m..1m}\nfallback: {vendor: two}\n" + more) +
                    vendor_yaml("two", "two.example", two, false));
    for (int i = 0; i < 3; ++i) {
        const Message answer = proxy.get("one.example");
        CHECK(answer.body == "two");
        CHECK(answer.field("sluice-outcome") == "fallback");
    }
    CHECK(one.connections() == 1);
}

TEST_CASE("a vendor whose every breaker is open spends nothing of its rate on those it refuses") {
    FakeVendor vendor(always(answer_with("200 OK")));
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "limit: {rate: 1/h, burst: 1, when_full: {wait: 1m}}\n"));
    REQUIRE(proxy.get("v.example").status() == 200);
    const std::string admin = "http://127.0.0.1:" + std::to_string(proxy.admin_port());
    REQUIRE(sluice_command({"breaker", "v", "open", "--admin", admin}).code == 0);
    CHECK(proxy.get("v.example").reason() == "breaker_open");   // at once
}

TEST_CASE("a vendor that says when it will be back is stood in for, though its limit learns") {
    FakeVendor one(always(answer_with("503 Service Unavailable", "Retry-After: 60\r\n"))), two(always(answer_with("200 OK", "", "two")));
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", one, false, "retry: {max: 0}\nlimit: {learn: true}\nfallback: {vendor: two}\n") + vendor_yaml("two", "two.example", two, false));
    for (int i = 0; i < 8; ++i) CHECK(proxy.get("one.example").body == "two");   // before its breaker opens, and after
}

TEST_CASE("a vendor that says it is called too fast is not stood in for: that is no outage") {
    FakeVendor one(always(answer_with("429 Too Many Requests", "Retry-After: 60\r\n"))), two(always(answer_with("200 OK", "", "two")));
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", one, false, "limit: {learn: true}\nfallback: {vendor: two}\n") + vendor_yaml("two", "two.example", two, false));
    CHECK(proxy.get("one.example").status() == 429);
    const Message refused = proxy.get("one.example");
    CHECK(refused.status() == 429);
    CHECK(refused.reason() == "rate_limited");
    CHECK(two.connections() == 0);
}

// ---- a body that is rewritten

TEST_CASE("a body that comes after its head is rewritten for the vendor that stands in, however the first one failed") {
    enum Fault { out, refused, answered };
    const Fault fault = GENERATE(out, refused, answered);
    const bool chunked = GENERATE(false, true), waits = GENERATE(false, true);
    CAPTURE(fault, chunked, waits);
    Seen theirs;
    FakeVendor two([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            theirs.add(std::move(*request));
            wire.write(answer_with("200 OK", "", "two"));
        }
    });
    std::atomic<int> asked{0};
    FakeVendor failing([&](Wire& wire) {   // answers at the head, and does not look at the body
        while (wire.read_head()) {
            ++asked;
            wire.write(answer_with("503 Service Unavailable"));
        }
    });
    const std::string one = fault == refused ? std::to_string([] { return FakeVendor([](Wire&) {}).port(); }()) : std::to_string(failing.port());
    TestProxy proxy("vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + one + "\"}]\n    retry: {max: 0}\n    breaker: {consecutive: 1, open_for: 1m..1m" +
                    (fault == out ? "" : ", enabled: false") + "}\n    fallback: {vendor: two, rewrite: {request: {body: {rename: {$.amount: $.sum}}}}}\n" + vendor_yaml("two", "two.example", two, false));
    if (fault == out) REQUIRE(proxy.get("one.example").body == "two");

    Wire app = proxy.connected("one.example");
    app.write("PUT / HTTP/1.1\r\nHost: one.example\r\n" + json + (waits ? "Expect: 100-continue\r\n" : "") + (chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Content-Length: 12\r\n\r\n"));
    if (waits) {
        const auto go_on = app.read_head();
        REQUIRE(go_on);
        CHECK(go_on->status() == 100);
    }
    if (!waits) REQUIRE(eventually([&] { return proxy.metric(R"(sluice_inflight{vendor="one"})") == 1 && (fault != answered || asked == 1); }));
    app.write(chunked ? "c\r\n{\"amount\":5}\r\n0\r\n\r\n" : "{\"amount\":5}");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->body == "two");
    REQUIRE(theirs.size() > 0);
    CHECK(theirs.all().back().body == R"({"sum":5})");
    CHECK(theirs.all().back().field("expect").empty());
}

// ---- retries

TEST_CASE("that our retries are spent is said of the answer of a vendor that stands in too, where that one has failed") {
    FakeVendor one(always(answer_with("503 Service Unavailable")));
    std::atomic<bool> fails{true};
    FakeVendor two([&](Wire& wire) {
        while (wire.read_request()) wire.write(answer_with(fails ? "503 Service Unavailable" : "200 OK"));
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", one, false, "retry: {max: 1, backoff: 1ms..1ms}\nfallback: {vendor: two}\n") +
                    vendor_yaml("two", "two.example", two, false, "retry: {max: 0}\n"));
    const Message failed = proxy.get("one.example");
    CHECK(failed.status() == 503);
    CHECK(failed.field("sluice-outcome") == "fallback");
    CHECK(failed.field("sluice-attempts") == "3");
    CHECK(failed.field("x-should-retry") == "false");
    fails = false;
    const Message served = proxy.get("one.example");
    CHECK(served.status() == 200);
    CHECK(served.field("x-should-retry").empty());
}

// ---- what a vendor that stands in cannot take

namespace {

// `first` in front of a `two` whose part of the policy is `theirs`.
std::string with_fallback(const std::string& first, const std::string& rewrite, const FakeVendor& two, const std::string& theirs = "", const std::string& more = "") {
    return "vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + first + "\"}]\n    retry: {max: 0, buffer: 1KiB}\n" + more +
           "    fallback: {vendor: two, rewrite: {" + rewrite + "}}\n" + vendor_yaml("two", "two.example", two, false, "retry: {buffer: 1KiB}\n" + theirs);
}

std::string closed_port() { return std::to_string(FakeVendor([](Wire&) {}).port()); }

const std::string sets_a_member = "request: {body: {set: {$.x: 1}}}";

Message put(const TestProxy& proxy, const std::string& body, bool chunked = false) {
    Wire app = proxy.connected("one.example");
    const std::string size = std::to_string(body.size());
    char hex[20];
    std::snprintf(hex, sizeof hex, "%zx\r\n", body.size());
    app.write("PUT /v1/x HTTP/1.1\r\nHost: one.example\r\n" + json + (chunked ? "Transfer-Encoding: chunked\r\n\r\n" + (hex + body) + "\r\n0\r\n\r\n" : "Content-Length: " + size + "\r\n\r\n" + body));
    return app.read_response().value_or(Message{});
}

}  // namespace

TEST_CASE("where a vendor cannot stand in the application hears what became of the first one, and why nobody did") {
    FakeVendor two(always(answer_with("200 OK")));
    const std::string large = "{\"q\":\"" + std::string(2000, 'x') + "\"}";
    struct Row {
        std::string rewrite, theirs, body;
        const char* why;
    };
    const Row rows[] = {
        {sets_a_member, "", large, "the request's body is larger than the 1024 bytes that are kept of one (`retry.buffer`)"},
        {sets_a_member, "", "{\"q\":", "the request's body is no JSON"},
        {sets_a_member, "allow: [\"GET /**\"]\n", "{}", "no allow rule of vendor 'two' matches PUT /v1/x"},
        {"path: {\"/v1/**\": \"/v2/**\"}", "allow: [\"* /v1/**\"]\n", "{}", "/v2/x"},
    };
    for (const Row& row : rows) {
        for (const bool chunked : {false, true}) {
            CAPTURE(row.rewrite, row.theirs, row.body.substr(0, 20), chunked);
            {   // no connection
                TestProxy proxy(with_fallback(closed_port(), row.rewrite, two, row.theirs));
                const Message answer = put(proxy, row.body, chunked);
                CHECK(answer.status() == 502);
                CHECK(answer.reason() == "connect_failed");
                CHECK(answer.field("sluice-outcome") == "failed");
                if (row.body.size() < 1000)   // of a larger one a part is lost by then, and nobody else is thought of
                    CHECK_THAT(answer.body, Catch::Contains("vendor 'two' cannot stand in: ") && Catch::Contains(row.why));
            }
            {   // its breaker is open
                FakeVendor one(always(answer_with("503 Service Unavailable")));
                TestProxy proxy(with_fallback(std::to_string(one.port()), row.rewrite, two, row.theirs));
                REQUIRE(sluice_command({"breaker", "one", "open", "--admin", "http://127.0.0.1:" + std::to_string(proxy.admin_port())}).code == 0);
                const Message answer = put(proxy, row.body, chunked);
                CHECK(answer.status() == 503);
                CHECK(answer.reason() == "breaker_open");
                CHECK(!answer.field("retry-after").empty());
                CHECK(answer.field("x-should-retry") == "false");
                CHECK_THAT(answer.body, Catch::Contains("vendor 'two' cannot stand in: ") && Catch::Contains(row.why));
            }
        }
    }
    CHECK(two.connections() == 0);
}

TEST_CASE("an answer is delivered as it is where a vendor cannot stand in for it") {
    FakeVendor two(always(answer_with("200 OK")));
    FakeVendor one(always(answer_with("503 Service Unavailable", "X-From: one\r\n", "sorry")));
    TestProxy proxy(with_fallback(std::to_string(one.port()), sets_a_member, two, "allow: [\"GET /**\"]\n"));
    const Message answer = put(proxy, "{}");
    CHECK(answer.status() == 503);
    CHECK(answer.body == "sorry");
    CHECK(answer.field("x-from") == "one");
    CHECK(answer.field("sluice-outcome") == "vendor");
    CHECK(proxy.logs("vendor 'two' cannot stand in: "));
    CHECK(proxy.get("one.example", "/v1/x").field("sluice-outcome") == "fallback");
    CHECK(two.connections() == 1);
}

TEST_CASE("an answer whose body is still to come is delivered where a request that is at hand turns out to be none that another vendor can have") {
    std::counting_semaphore<4> go{0};
    FakeVendor two(always(answer_with("200 OK")));
    FakeVendor one([&](Wire& wire) {
        while (wire.read_request()) {
            wire.write("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\n");
            if (!go.try_acquire_for(10s)) return;
            wire.write("sorry");
        }
    });
    TestProxy proxy(with_fallback(std::to_string(one.port()), sets_a_member, two));
    Wire app = proxy.connected("one.example");
    app.write("PUT / HTTP/1.1\r\nHost: one.example\r\n" + json + "Content-Length: 5\r\n\r\n{\"a\":");
    auto answer = app.read_head();
    REQUIRE(answer);
    go.release();
    app.read_body(*answer, false);
    CHECK(answer->status() == 503);
    CHECK(answer->field("retry-after") == "7");
    CHECK(answer->body == "sorry");
    CHECK(proxy.logs("vendor 'two' cannot stand in: the request's body is no JSON"));
    CHECK(two.connections() == 0);
}

TEST_CASE("where a retry finds no place under the limit another vendor stands in, as where every endpoint has failed") {
    const bool seat = GENERATE(false, true);
    CAPTURE(seat);
    std::counting_semaphore<4> go{0};
    Seen seen;
    FakeVendor two(always(answer_with("200 OK", "", "two")));
    FakeVendor one([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            const bool held = request->start_line.find("/held") != std::string::npos;
            seen.add(std::move(*request));
            if (held && !go.try_acquire_for(10s)) return;
            wire.write(held ? answer_with("200 OK", "", "one") : answer_with("503 Service Unavailable", "Retry-After: 1\r\n"));
        }
    });
    TestProxy proxy("vendors:\n" +
                    vendor_yaml("one", "one.example", one, false,
                                std::string("retry: {max: 1, backoff: 1ms..2ms}\nfallback: {vendor: two}\nlimit: ") + (seat ? "{concurrency: 1}" : "{rate: 1/h, burst: 2}")) +
                    vendor_yaml("two", "two.example", two, false, ""));
    Message retried;
    std::thread application([&] { retried = proxy.get("one.example"); });
    const bool waits = eventually([&] { return proxy.metric(R"(sluice_upstream_connections{vendor="one",state="idle"})") == 1; });
    Wire other = proxy.connected("one.example");
    other.write("GET /held HTTP/1.1\r\nHost: one.example\r\n\r\n");
    const bool taken = eventually([&] { return seen.size() == 2; });
    application.join();
    go.release();
    CHECK(waits);
    CHECK(taken);
    CHECK(retried.status() == 200);
    CHECK(retried.body == "two");
    CHECK(retried.field("sluice-outcome") == "fallback");
    CHECK(seen.size() == 2);
    const auto held = other.read_response();
    REQUIRE(held);
    CHECK(held->body == "one");
}

TEST_CASE("an answer that came before the request's body is delivered where that body is known to be too large to be rewritten") {
    FakeVendor two(always(answer_with("200 OK", "", "two")));
    FakeVendor one([](Wire& wire) {   // answers at the head
        while (wire.read_head()) {
            wire.write(answer_with("503 Service Unavailable", "", "sorry"));
            wire.read_all();
        }
    });
    TestProxy proxy(with_fallback(std::to_string(one.port()), sets_a_member, two));
    Wire app = proxy.connected("one.example");
    app.write("PUT / HTTP/1.1\r\nHost: one.example\r\n" + json + "Content-Length: 5000\r\n\r\n{");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 503);
    CHECK(answer->body == "sorry");

}

TEST_CASE("an answer that came before the request's body is delivered where that body turns out to be none that can be rewritten, if it was at hand as a whole") {
    const bool whole = GENERATE(true, false), broken = GENERATE(true, false);
    CAPTURE(whole, broken);
    std::atomic<bool> answered{false};
    FakeVendor two(always(answer_with("200 OK", "", "two")));
    FakeVendor one([&](Wire& wire) {   // answers at the head
        while (wire.read_head()) {
            wire.write("HTTP/1.1 503 Service Unavailable\r\nX-From: one\r\nContent-Length: " + std::to_string(whole ? 5 : 50) + "\r\n\r\nsorry");
            answered = true;
            wire.read_all();
        }
    });
    TestProxy proxy(with_fallback(std::to_string(one.port()), sets_a_member, two));
    Wire other = proxy.connected("one.example");
    other.write("PUT / HTTP/1.1\r\nHost: one.example\r\n" + json + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n");
    REQUIRE(eventually([&] { return answered && proxy.metric(R"(sluice_upstream_connections{vendor="one",state="active"})") == 0; }));
    other.write(broken ? "1\r\n!\r\n0\r\n\r\n" : "7d0\r\n" + std::string(2000, 'x') + "\r\n0\r\n\r\n");
    const auto answer = other.read_response();
    REQUIRE(answer);
    CHECK(two.connections() == 0);
    const std::string why = broken ? "vendor 'two' cannot stand in: the request's body is no JSON" : "vendor 'two' cannot stand in: the request's body is larger";
    if (whole) {
        CHECK(answer->status() == 503);
        CHECK(answer->body == "sorry");
        CHECK(answer->field("x-from") == "one");
        CHECK(answer->field("sluice-outcome") == "vendor");
        CHECK(proxy.logs(why));
    } else {
        CHECK(answer->status() == 502);
        CHECK(answer->reason() == "answer_lost");
        CHECK_THAT(answer->body, Catch::Contains("the vendor has answered, and its answer was not kept"));
        CHECK_THAT(answer->body, Catch::Contains("vendor 'one' answered 503; " + why));
    }
}

TEST_CASE("an answer that says too fast is learnt from where another vendor stands in, too, whether it was at hand as a whole or not") {
    const bool whole = GENERATE(true, false);
    CAPTURE(whole);
    const std::string slow = "<Error><Code>SlowDown</Code></Error>";
    FakeVendor two(always(answer_with("200 OK", "", "two")));
    FakeVendor one(always("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: " + std::to_string(slow.size() + (whole ? 0 : 1)) + "\r\n\r\n" + slow));
    TestProxy proxy(with_fallback(std::to_string(one.port()), sets_a_member, two, "", "    limit: {learn: true}\n"));
    CHECK(put(proxy, "{}").body == "two");
    CHECK(put(proxy, "{}").reason() == "rate_limited");
}

// ---- what is counted

TEST_CASE("what a vendor that stands in has done is counted as its own, and the request as one to the vendor that it stands in for") {
    const bool reached = GENERATE(true, false);
    CAPTURE(reached);
    FakeVendor one(always(answer_with("503 Service Unavailable", "", "sorry"))), two(always(answer_with("200 OK", "", "two")));
    TestProxy proxy(with_fallback(reached ? std::to_string(one.port()) : closed_port(), sets_a_member, two));
    CHECK(put(proxy, "{}").body == "two");
    CHECK(eventually([&] { return proxy.metric(R"(sluice_bytes_total{vendor="two",direction="from_vendor"})") == 3; }));   // counted last
    CHECK(proxy.metric(R"(sluice_requests_total{vendor="one",route="_none",method="PUT",code="200",outcome="fallback"})") == 1);
    const auto metric = [&](const std::string& name, const std::string& vendor, const std::string& more = "") { return std::max(0.0, proxy.metric("sluice_" + name + "{vendor=\"" + vendor + "\"" + more + "}")); };
    CHECK(metric("request_duration_seconds_count", "one", ",route=\"_none\"") == 1);
    CHECK(metric("request_duration_seconds_count", "two", ",route=\"_none\"") == 0);
    CHECK(metric("time_to_first_byte_seconds_count", "one") == reached);
    CHECK(metric("time_to_first_byte_seconds_count", "two") == 1);
    CHECK(metric("bytes_total", "one", ",direction=\"to_vendor\"") == (reached ? 2 : 0));
    CHECK(metric("bytes_total", "one", ",direction=\"from_vendor\"") == (reached ? 5 : 0));
    CHECK(metric("bytes_total", "two", ",direction=\"to_vendor\"") == std::string(R"({"x":1})").size());
}

TEST_CASE("answers without members pass through a rewrite as they are") {
    const std::string body = GENERATE(as<std::string>{}, "", "[1, 2]", "null", "{\"id\":1}");
    CAPTURE(body);
    FakeVendor two(always(answer_with("200 OK", json, body)));
    TestProxy proxy(with_fallback(closed_port(), "response: {body: {rename: {$.id: $.name}, drop: [$.x]}}", two));
    const Message answer = proxy.get("one.example");
    CHECK(answer.status() == 200);
    CHECK(answer.body == (body.starts_with('{') ? "{\"name\":1}" : body));
    CHECK(answer.field("content-length") == std::to_string(answer.body.size()));
}
