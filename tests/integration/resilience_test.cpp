// What an application sees of a vendor that fails, hangs, throttles or is away: retries, endpoints, breakers, limits, fallback, chaos.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <semaphore>
#include <set>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

using SteadyClock = std::chrono::steady_clock;

std::string answer_with(const std::string& status, const std::string& fields = "", const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

// Gives the n-th request (from 0) the n-th answer, the last one from then on; "" closes the connection without one.
struct Script {
    std::vector<std::string> answers;
    Seen seen;
    std::atomic<std::size_t> next{0};

    FakeVendor::Serve serve() {
        return [this](Wire& wire) {
            while (auto request = wire.read_request()) {
                seen.add(std::move(*request));
                const std::size_t at = std::min(next.fetch_add(1), answers.size() - 1);
                if (answers[at].empty()) return;
                wire.write(answers[at]);
            }
        };
    }
};

// Answers nobody before it is let.
struct BusyVendor {
    std::atomic<bool> hold{true};
    std::atomic<int> inside{0};
    FakeVendor vendor{[this](Wire& wire) {
                          while (wire.read_request()) {
                              ++inside;
                              while (hold) std::this_thread::sleep_for(1ms);
                              wire.write(answer_with("200 OK"));
                          }
                      },
                      vendor_ca()};
};

// A port where nobody listens.
std::uint16_t closed_port() {
    FakeVendor gone([](Wire&) {});
    return gone.port();
}

std::string post(const std::string& host, const std::string& path, const std::string& body, const std::string& more = "") {
    return "POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
}

Message send(const TestProxy& proxy, const std::string& host, const std::string& request) {
    Wire app = proxy.connected(host);
    app.write(request);
    return app.read_response().value_or(Message{});
}

constexpr const char* quick = "retry: {backoff: 1ms..2ms}\n";

}  // namespace

// ---- retries

TEST_CASE("a GET that the vendor cannot serve is tried again, and the application sees the good answer alone") {
    Script script{{answer_with("503 Service Unavailable"), "", answer_with("200 OK", "", "good")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, quick));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 200);
    CHECK(answer.body == "good");
    CHECK(answer.field("sluice-attempts") == "2");   // the connection that died under the second was replaced, which is no attempt of its own
    CHECK(answer.field("sluice-outcome") == "vendor");
    CHECK(script.seen.size() == 3);
}

TEST_CASE("when our retries are spent the last answer is delivered, and SDKs are told not to multiply them") {
    Script script{{answer_with("503 Service Unavailable", "X-Mark: theirs\r\n", "sorry")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, quick));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 503);
    CHECK(answer.body == "sorry");
    CHECK(answer.field("x-mark") == "theirs");
    CHECK(answer.field("x-should-retry") == "false");
    CHECK(answer.field("sluice-attempts") == "3");
    CHECK(answer.reason().empty());   // it is the vendor's answer
}

TEST_CASE("a POST is tried again only if nothing was sent, or it has an idempotency key") {
    Script script{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, quick));
    SECTION("without a key the 503 is the answer") {
        const Message answer = send(proxy, "v.example", post("v.example", "/", "pay"));
        CHECK(answer.status() == 503);
        CHECK(answer.field("sluice-attempts") == "1");
        CHECK(script.seen.size() == 1);
    }
    SECTION("with the application's key it is sent twice, whole and with the same key") {
        const Message answer = send(proxy, "v.example", post("v.example", "/", "pay", "Idempotency-Key: k-1\r\n"));
        CHECK(answer.status() == 200);
        REQUIRE(script.seen.size() == 2);
        for (const Message& request : script.seen.all()) {
            CHECK(request.field("idempotency-key") == "k-1");
            CHECK(request.body == "pay");
        }
    }
}

TEST_CASE("a key of ours is made once an exchange, and is the same on every attempt") {
    Script script{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, std::string(quick) + "idempotency: {header: X-Once, generate: [POST]}\n"));
    CHECK(send(proxy, "v.example", post("v.example", "/", "a")).status() == 200);
    CHECK(send(proxy, "v.example", post("v.example", "/", "b")).status() == 200);
    const auto seen = script.seen.all();
    REQUIRE(seen.size() == 3);
    CHECK_FALSE(seen[0].field("x-once").empty());
    CHECK(seen[0].field("x-once") == seen[1].field("x-once"));
    CHECK(seen[1].field("x-once") != seen[2].field("x-once"));
}

TEST_CASE("a body beyond the buffer is passed on whole, and not sent twice") {
    Script script{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {backoff: 1ms..2ms, buffer: 64KiB}\n"));
    const std::string large(200'000, 'x'), small(60'000, 'y');
    CHECK(send(proxy, "v.example", post("v.example", "/", large, "Idempotency-Key: k\r\n")).status() == 503);
    REQUIRE(script.seen.size() == 1);
    CHECK(script.seen.all()[0].body == large);
    script.next = 0;
    CHECK(send(proxy, "v.example", post("v.example", "/", small, "Idempotency-Key: k\r\n")).status() == 200);
    REQUIRE(script.seen.size() == 3);
    CHECK(script.seen.all()[2].body == small);
}

TEST_CASE("a chunked body with trailers is sent again as it was") {
    Script script{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, quick));
    CHECK(send(proxy, "v.example", "PUT / HTTP/1.1\r\nHost: v.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-End: yes\r\n\r\n").status() == 200);
    REQUIRE(script.seen.size() == 2);
    for (const Message& request : script.seen.all()) {
        CHECK(request.body == "abcdefg");
        CHECK(request.trailers.find("X-End: yes") != std::string::npos);
    }
}

TEST_CASE("Retry-After is waited for where it is short, and handed on where it is long") {
    const std::string soon = answer_with("503 Service Unavailable", "retry-after-ms: 300\r\n"), late = answer_with("503 Service Unavailable", "Retry-After: 60\r\n");
    Script script{{soon, answer_with("200 OK"), late}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, quick));
    const auto start = SteadyClock::now();
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(SteadyClock::now() - start >= 300ms);
    const Message handed = proxy.get("v.example");
    CHECK(handed.status() == 503);
    CHECK(handed.field("retry-after") == "60");
    CHECK(handed.field("sluice-attempts") == "1");
}

TEST_CASE("retries end with `total`") {
    FakeVendor vendor(always(answer_with("503 Service Unavailable")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "timeout: {total: 500ms}\nretry: {max: 10, backoff: 400ms..400ms}\n"));
    const auto start = SteadyClock::now();
    const Message answer = proxy.get("v.example");
    CHECK((answer.status() == 503 || answer.status() == 504));
    CHECK(SteadyClock::now() - start < 5s);
}

TEST_CASE("retries are a bounded share of the requests") {
    Script script{{answer_with("503 Service Unavailable")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 2, backoff: 1ms..1ms, budget: 20%}\nbreaker: {enabled: false}\n"));
    Wire app = proxy.connected("v.example");
    for (int i = 0; i < 40; ++i) {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(app.read_response()->status() == 503);
    }
    CHECK(script.seen.size() <= 40 + 8);
    CHECK(script.seen.size() >= 40 + 3);
}

TEST_CASE("requests that are never retried themselves count to those of which retries are a share") {
    FakeVendor vendor([](Wire& wire) {
        while (auto request = wire.read_request()) wire.write(answer_with(request->start_line.starts_with("GET /fails") ? "503 Service Unavailable" : "200 OK"));
    });
    const bool of_the_route = GENERATE(true, false);
    const std::string none = "retry: {max: 0, budget: 20%}\n", some = "max: 1, backoff: 1ms..1ms";
    CAPTURE(of_the_route);   // that says it is never retried; or that alone says it is
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false,
                                               "breaker: {enabled: false}\n" + (of_the_route ? "retry: {budget: 20%, " + some + "}\nroutes: [{match: \"GET /sound\", retry: {max: 0}}]\n"
                                                                                             : none + "routes: [{match: \"GET /fails\", retry: {" + some + "}}]\n")));
    Wire app = proxy.connected("v.example");
    const auto get = [&](const std::string& path) {
        app.write("GET " + path + " HTTP/1.1\r\nHost: v.example\r\n\r\n");
        return app.read_response()->field("sluice-attempts");
    };
    for (int i = 0; i < 50; ++i) CHECK(get("/sound") == "1");
    for (int i = 0; i < 10; ++i) CHECK(get("/fails") == "2");   // a fifth of 50: all of them
}

TEST_CASE("an application that goes away while its request waits for another attempt ends it") {
    Script script{{answer_with("503 Service Unavailable", "Retry-After: 9\r\n")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    {
        Wire app = proxy.connected("v.example");
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(eventually([&] { return script.seen.size() == 1; }));
    }
    CHECK(proxy.logs("the application went away"));
    CHECK(script.seen.size() == 1);
}

// ---- endpoints and fallback

TEST_CASE("the second endpoint is used where the first cannot be reached") {
    FakeVendor second(always(answer_with("200 OK", "", "second")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints:\n      - {url: \"http://127.0.0.1:" + std::to_string(closed_port()) + "\"}\n      - {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}\n    retry: {backoff: 1ms..2ms}\n    breaker: {consecutive: 2, open_for: 1m..1m}\n");
    for (int i = 0; i < 3; ++i) {
        const Message answer = send(proxy, "v.example", post("v.example", "/", "once"));   // nothing was sent: safe even for a POST
        CHECK(answer.status() == 200);
        CHECK(answer.body == "second");
    }
    // By now the first one's breaker is open, and costs nobody an attempt.
    const Message answer = proxy.get("v.example");
    CHECK(answer.field("sluice-attempts") == "1");
}

TEST_CASE("a request that could not be sent to the first endpoint is served by the second, whatever `retry` says") {
    FakeVendor second(always(answer_with("200 OK", "", "second")));
    FakeVendor no_tls([](Wire& wire) { wire.read_some(); });
    const std::string second_url = "http://127.0.0.1:" + std::to_string(second.port());
    struct Row {
        const char* what;
        std::string first, reason, retry;
    };
    const Row rows[] = {
        {"refused, no retries", "http://127.0.0.1:" + std::to_string(closed_port()), "connect_failed", "{max: 0}"},
        {"refused, nothing to retry on, no budget", "http://127.0.0.1:" + std::to_string(closed_port()), "connect_failed", "{on: [], budget: 0%}"},
        {"no TLS, which `on` does not name", "https://" + no_tls.authority(), "tls_failed", "{}"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8, \"::1\"]\n    endpoints: [{url: \"" + row.first + "\"}, {url: \"" + second_url + "\"}]\n    retry: " + row.retry +
                        "\n    breaker: {consecutive: 6}\n    limit: {rate: 1/h, burst: 5}\n");
        for (int i = 0; i < 5; ++i) {
            const Message answer = send(proxy, "v.example", post("v.example", "/", "once"));
            CHECK(answer.status() == 200);
            CHECK(answer.body == "second");
            CHECK(answer.field("sluice-attempts") == "2");
        }
        const std::string named = row.first.substr(row.first.find("//") + 2);
        CHECK(proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + named + "\",result=\"" + row.reason + "\"}") == 5);
        CHECK(proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + second_url.substr(7) + "\",result=\"ok\"}") == 5);
        CHECK(send(proxy, "v.example", post("v.example", "/", "once")).reason() == "rate_limited");   // which was spent once a request
    }
}

TEST_CASE("a request that could be sent to no endpoint is the fallback's, whatever `retry.on` says") {
    FakeVendor no_tls([](Wire& wire) { wire.read_some(); });
    FakeVendor two(always(answer_with("200 OK", "", "two")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", no_tls, true, "fallback: {vendor: two}\n") + vendor_yaml("two", "two.example", two, true));
    const Message answer = send(proxy, "one.example", post("one.example", "/", "once"));
    CHECK(answer.status() == 200);
    CHECK(answer.body == "two");
    CHECK(answer.field("sluice-outcome") == "fallback");
    CHECK(answer.field("sluice-attempts") == "2");
}

TEST_CASE("when the first endpoint recovers one request tries it, the others keep to the second until it has succeeded, and then all come back") {
    enum Mode { down, held, up };
    std::atomic<Mode> mode{down};
    std::atomic<int> tried{0};
    FakeVendor first([&](Wire& wire) {
        while (wire.read_request()) {
            if (mode != down) ++tried;
            if (mode == held && !eventually([&] { return mode == up; })) return;
            wire.write(answer_with(mode == down ? "503 Service Unavailable" : "200 OK", "", "first"));
        }
    });
    FakeVendor second(always(answer_with("200 OK", "", "second")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8, \"::1\"]\n    endpoints: [{url: \"http://" + first.authority() + "\"}, {url: \"http://" + second.authority() +
                    "\"}]\n    retry: {backoff: 1ms..1ms}\n    breaker: {consecutive: 1, open_for: 2s..1m, probes: 1}\n");
    CHECK(proxy.get("v.example").body == "second");
    mode = held;
    std::string probed;
    std::thread prober([&] {
        while (tried == 0) probed = proxy.get("v.example").body;   // until it is the one that is let through
    });
    REQUIRE(eventually([&] { return tried == 1; }));
    Wire app = proxy.connected("v.example");
    for (int i = 0; i < 20; ++i) {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        CHECK(app.read_response()->body == "second");
    }
    CHECK(tried == 1);
    mode = up;
    prober.join();
    CHECK(probed == "first");
    CHECK(eventually([&] { return proxy.get("v.example").body == "first"; }));
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").body == "first");
}

TEST_CASE("another vendor stands in, with its own credential and the request rewritten") {
    Script theirs{{answer_with("200 OK", "Content-Type: application/json\r\nX-Vendor: two\r\n", R"({"sum":5,"id":"x"})")}, {}, {}};
    FakeVendor two(theirs.serve(), vendor_ca());
    TemporaryDirectory keys;
    const std::string one_key = keys.file("one", "secret-of-one"), two_key = keys.file("two", "secret-of-two");
    const std::string policy =
        "credentials:\n  one-key: {type: bearer, value: {file: " + one_key + "}}\n  two-key: {type: api_key, header: X-Api-Key, value: {file: " + two_key + "}}\n"
        "vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" +
        std::to_string(closed_port()) +
        "\"}]\n    credential: one-key\n    retry: {backoff: 1ms..2ms}\n"
        "    fallback:\n      vendor: two\n      rewrite:\n        path: {\"/v1/**\": \"/api/**\"}\n"
        "        request: {headers: {rename: {X-One: X-Two}, set: {X-Set: \"1\"}, drop: [X-Gone]}, body: {rename: {$.amount: $.sum}}}\n"
        "        response: {headers: {drop: [X-Vendor]}, body: {rename: {$.sum: $.amount}}}\n" +
        vendor_yaml("two", "two.example", two, true, "credential: two-key\n");
    TestProxy proxy(policy);
    const Message answer = send(proxy, "one.example",
                                post("one.example", "/v1/charges?a=b", R"({"amount":5})", "Content-Type: application/json\r\nX-One: 1\r\nX-Gone: 1\r\nAuthorization: Bearer of-the-application\r\n"));
    CHECK(answer.status() == 200);
    CHECK(answer.field("sluice-outcome") == "fallback");
    CHECK(answer.body == R"({"id":"x","amount":5})");
    CHECK(answer.field("x-vendor").empty());
    REQUIRE(theirs.seen.size() == 1);
    const Message request = theirs.seen.all()[0];
    CHECK(request.start_line == "POST /api/charges?a=b HTTP/1.1");
    CHECK(request.body == R"({"sum":5})");
    CHECK(request.field("x-api-key") == "secret-of-two");
    CHECK(request.field("x-two") == "1");
    CHECK(request.field("x-set") == "1");
    CHECK(request.field("x-gone").empty());
    CHECK(request.field("authorization").empty());   // neither the first vendor's nor what the application had for it
    CHECK(proxy.logs(R"("path":"/v1/charges")"));     // what the application asked, as `vendor` is whom it asked
    CHECK(proxy.log().find("/api/charges") == std::string::npos);
}

TEST_CASE("members of JSON are set, dropped and wrapped on the way to the vendor that stands in, and back") {
    Script theirs{{answer_with("200 OK", "Content-Type: application/problem+json\r\n", R"({"internal":{"shard":7,"zone":"a"},"ok":true})"), answer_with("200 OK", "Content-Type: text/plain\r\n", R"({"ok":true})")}, {}, {}};
    FakeVendor two(theirs.serve(), vendor_ca());
    TestProxy proxy("vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    fallback:\n      vendor: two\n      rewrite:\n"
                    "        request: {body: {rename: {$.card.number: $.pan}, set: {$.mode: [live, 2], $.card.kind: null}, drop: [$.card.cvc], wrap: charge}}\n"
                    "        response: {body: {set: {$.from: two}, drop: [$.internal.shard], wrap: data}}\n" +
                    vendor_yaml("two", "two.example", two, true));
    const std::string charge = R"({"card":{"number":"4242","cvc":"123"},"amount":5.00})";
    const Message answer = send(proxy, "one.example", post("one.example", "/", charge, "Content-Type: application/json\r\n"));
    CHECK(answer.body == R"({"data":{"internal":{"zone":"a"},"ok":true,"from":"two"}})");
    CHECK(send(proxy, "one.example", post("one.example", "/", charge, "Content-Type: text/plain\r\n")).body == R"({"ok":true})");
    REQUIRE(theirs.seen.size() == 2);
    CHECK(theirs.seen.all()[0].body == R"({"charge":{"card":{"kind":null},"amount":5.00,"pan":"4242","mode":["live",2]}})");
    CHECK(theirs.seen.all()[1].body == charge);   // what is not JSON is not looked into
}

TEST_CASE("a vendor that stands in gets as much of a body kept as it asks for itself: for retries, tokens and signatures") {
    TemporaryDirectory keys;
    const std::string key = keys.file("key", "secret-of-two");
    Script theirs{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor two(theirs.serve(), vendor_ca());
    const std::string needs = GENERATE(as<std::string>{}, "retry: {backoff: 1ms..2ms, buffer: 1MiB}\n", "retry: {max: 0}\nlimit: {tokens: {rate: 1000000/d, burst: 1000000}}\n",
                                       "retry: {max: 0}\ncredential: signs\n");
    CAPTURE(needs);
    TestProxy proxy("credentials:\n  signs: {type: hmac, key: {file: " + key + "}, string_to_sign: \"{body_sha256}\", header: X-Signature}\n"
                    "vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    retry: {backoff: 1ms..2ms, buffer: 1KiB}\n    fallback: {vendor: two}\n" + vendor_yaml("two", "two.example", two, true, needs));
    const bool retries = needs.find("buffer") != std::string::npos;
    if (!retries) theirs.next = 1;
    const std::string body = R"({"prompt":")" + std::string(300'000, 'x') + "\"}";
    const Message answer = send(proxy, "one.example", "PUT / HTTP/1.1\r\nHost: one.example\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(answer.status() == 200);
    CHECK(answer.field("sluice-outcome") == "fallback");
    REQUIRE(theirs.seen.size() == (retries ? 2 : 1));
    for (const Message& request : theirs.seen.all()) CHECK(request.body == body);
    if (needs.find("signs") != std::string::npos) CHECK(theirs.seen.all()[0].field("x-signature").size() == 64);
    if (needs.find("tokens") != std::string::npos) CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="two",limit="limit.tokens"})") < 926'000);
}

TEST_CASE("where the vendor that stands in is out too, the answer says whose breaker is open, and whom it stood in for") {
    FakeVendor two(always(answer_with("503 Service Unavailable")), vendor_ca());
    TestProxy proxy("vendors:\n  pay:\n    hosts: [pay.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    retry: {max: 0}\n    fallback: {vendor: pay2, rewrite: {path: {\"/v1/**\": \"/v2/**\"}}}\n" +
                    vendor_yaml("pay2", "pay2.example", two, true, "retry: {max: 0}\nbreaker: {consecutive: 1, open_for: 1m..1m}\n"));
    CHECK(proxy.get("pay.example", "/v1/a").reason().empty());   // its own 503
    const Message answer = proxy.get("pay.example", "/v1/b");
    CHECK(answer.reason() == "breaker_open");
    CHECK(answer.body.find(R"("vendor":"pay")") != std::string::npos);
    CHECK(answer.body.find("vendor 'pay' fell back to 'pay2': ") != std::string::npos);
    CHECK(answer.body.find("pay2' is left alone for a while") != std::string::npos);
    CHECK(proxy.logs(R"("path":"/v1/b")"));
    CHECK(proxy.log().find("/v2/") == std::string::npos);
}

TEST_CASE("a POST that may have reached the first vendor goes to no other") {
    Script one{{""}, {}, {}};
    Script two{{answer_with("200 OK")}, {}, {}};
    FakeVendor first(one.serve(), vendor_ca()), second(two.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", first, true, std::string(quick) + "fallback: {vendor: two}\n") + vendor_yaml("two", "two.example", second, true));
    CHECK(send(proxy, "one.example", post("one.example", "/", "x")).reason() == "upstream_reset");
    CHECK(two.seen.size() == 0);
    const Message answer = proxy.get("one.example");
    CHECK(answer.status() == 200);
    CHECK(answer.field("sluice-outcome") == "fallback");
}

TEST_CASE("a long POST of which a part was taken before the vendor broke off is sent to nobody else") {
    FakeVendor first([](Wire& wire) {
        wire.read_some(1000);
        wire.close(true);
    });
    Script two{{answer_with("200 OK")}, {}, {}};
    FakeVendor second(two.serve());
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(first.port()) + "\"}, {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}]\n    retry: {backoff: 1ms..1ms, buffer: 4MiB}\n    breaker: {enabled: false}\n    limit: {tokens: {rate: 100M/s}}\n");
    for (int i = 0; i < 5; ++i) CHECK(send(proxy, "v.example", post("v.example", "/", std::string(900'000, 'x'))).reason() == "upstream_reset");
    CHECK(two.seen.size() == 0);
}

TEST_CASE("the answer of a vendor that stands in is rewritten however slowly it comes, hedged too") {
    FakeVendor two(
        [](Wire& wire) {
            while (wire.read_request()) {
                wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"of-other-bytes\"\r\nContent-Length: 9\r\n\r\n");
                std::this_thread::sleep_for(300ms);
                wire.write("{\"sum\":5}");
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    retry: {max: 0}\n    timeout: {idle: 10s}\n    fallback: {vendor: two, rewrite: {response: {body: {rename: {$.sum: $.amount}}}}}\n" +
                    vendor_yaml("two", "two.example", two, true, "hedge: {after: 5s}\ntimeout: {idle: 10s}\n"));
    const Message answer = proxy.get("one.example", "/", "X-Api-Key: of-the-application\r\n");
    CHECK(answer.status() == 200);
    CHECK(answer.body == "{\"amount\":5}");
    CHECK(answer.field("etag").empty());
}

TEST_CASE("what an application tells one vendor in confidence reaches no vendor that stands in") {
    Script two{{answer_with("200 OK")}, {}, {}};
    FakeVendor second(two.serve(), vendor_ca());
    TestProxy proxy("vendors:\n  one:\n    hosts: [one.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    retry: {max: 0}\n    fallback: {vendor: two}\n" + vendor_yaml("two", "two.example", second, true));
    CHECK(proxy.get("one.example", "/v1?a=1&key=mine", "X-Api-Key: mine\r\nx_goog_api_key: mine\r\nAuthorization: Bearer mine\r\nCookie: mine\r\nX-Else: kept\r\n").status() == 200);
    REQUIRE(two.seen.size() == 1);
    const Message seen = two.seen.all()[0];
    CHECK(seen.start_line == "GET /v1?a=1 HTTP/1.1");
    CHECK(seen.field("x-else") == "kept");
    for (const auto& [name, value] : seen.fields) CHECK(value.find("mine") == std::string::npos);
}

// ---- breakers

TEST_CASE("a breaker opens after failures in a row, and refuses without asking the vendor") {
    Script script{{answer_with("503 Service Unavailable")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: {consecutive: 3, open_for: 1m..1m}\n"));
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example").reason().empty());
    const Message refused = proxy.get("v.example");
    CHECK(refused.status() == 503);
    CHECK(refused.reason() == "breaker_open");
    CHECK(refused.field("sluice-attempts") == "0");
    const int retry_after = std::atoi(refused.field("retry-after").c_str());
    CHECK((retry_after >= 1 && retry_after <= 120));   // spread over as much again, so that not all come back at once
    CHECK(refused.field("x-should-retry") == "false");
    CHECK(script.seen.size() == 3);
    CHECK(proxy.logs("\"breaker\""));
}

TEST_CASE("a breaker opens on a share of failures, once there are enough requests to tell") {
    std::vector<std::string> answers;
    for (const char outcome : std::string("f.f.ff.f.f")) answers.push_back(answer_with(outcome == 'f' ? "500 Internal Server Error" : "200 OK"));
    Script script{answers, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: {failure_rate: 50%, min_requests: 10, window: 5m, open_for: 1m..1m}\n"));
    for (int i = 0; i < 10; ++i) CHECK(proxy.get("v.example").reason().empty());
    CHECK(proxy.get("v.example").reason() == "breaker_open");
    CHECK(script.seen.size() == 10);
}

TEST_CASE("a breaker opens on a share of slow answers, good ones though they are") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                ++requests;
                std::this_thread::sleep_for(30ms);
                wire.write(answer_with("200 OK"));
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "breaker: {slow_rate: 100%, slow_after: 20ms, min_requests: 5, window: 5m, open_for: 1m..1m}\n"));
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(proxy.get("v.example").reason() == "breaker_open");
    CHECK(requests == 5);
}

TEST_CASE("a breaker that opened on one worker is open on all of them", "[multi-worker]") {
    Script script{{answer_with("503 Service Unavailable")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: {consecutive: 3, open_for: 1m..1m}\n"), 4);
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example").reason().empty());   // each on a connection of its own, wherever it is taken
    for (int i = 0; i < 24; ++i) CHECK(proxy.get("v.example").reason() == "breaker_open");
    CHECK(script.seen.size() == 3);
}

TEST_CASE("a breaker lets probes through after its time, and closes when they succeed") {
    Script script{{answer_with("503 Service Unavailable"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: {consecutive: 1, open_for: 100ms..1m, probes: 1}\n"));
    CHECK(proxy.get("v.example").status() == 503);
    CHECK(eventually([&] { return proxy.get("v.example").status() == 200; }));
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").status() == 200);
}

TEST_CASE("answers of 4xx never open a breaker, and neither does an application that goes away") {
    Script script{{answer_with("404 Not Found")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    FakeVendor silent([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    TestProxy proxy("defaults: {breaker: {consecutive: 1, min_requests: 1, open_for: 1m..1m}}\nvendors:\n" + vendor_yaml("v", "v.example", vendor, true) + vendor_yaml("s", "s.example", silent, true));
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").status() == 404);
    for (int i = 0; i < 2; ++i) {
        {
            Wire app = proxy.connected("s.example");
            app.write("GET / HTTP/1.1\r\nHost: s.example\r\n\r\n");
            REQUIRE(eventually([&] { return silent.connections() == static_cast<std::size_t>(i) + 1; }));
        }
        REQUIRE(eventually([&] { return proxy.metric("sluice_inflight{vendor=\"s\"}") == 0; }));
    }
}

// ---- limits

TEST_CASE("what goes beyond the rate is refused 429, with the fields that tell how to come again") {
    Script script{{answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {rate: 2/h, burst: 2}\n"));
    for (int i = 0; i < 2; ++i) CHECK(proxy.get("v.example").status() == 200);
    const Message refused = proxy.get("v.example");
    CHECK(refused.status() == 429);
    CHECK(refused.reason() == "rate_limited");
    CHECK(std::atoi(refused.field("retry-after").c_str()) > 0);
    CHECK(refused.field("ratelimit-policy").find(";q=2;w=3600") != std::string::npos);
    CHECK(refused.field("ratelimit").find(";r=0") != std::string::npos);
    CHECK(script.seen.size() == 2);
}

TEST_CASE("who may wait for the rate waits, and goes") {
    Script script{{answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {rate: 20/s, burst: 1, when_full: {wait: 5s}}\n"));
    const auto start = SteadyClock::now();
    for (int i = 0; i < 5; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(SteadyClock::now() - start >= 200ms);   // four waits of 50 ms
    CHECK(proxy.metric("sluice_limit_wait_seconds_count{vendor=\"v\"}") >= 1);
}

TEST_CASE("who waits with the larger number goes first, and those with a smaller one do not starve", "[multi-worker]") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {rate: 50/s, burst: 1, when_full: {wait: 3s, priority: header X-Priority}}\n"), 2);
    std::atomic<int> high{0}, low{0}, refused{0};
    std::atomic<bool> done{false};
    const auto call = [&](const std::string& priority, std::atomic<int>& answered) {
        Wire app = proxy.connected("v.example");
        while (!done) {
            app.write("GET / HTTP/1.1\r\nHost: v.example\r\nX-Priority: " + priority + "\r\n\r\n");
            const auto answer = app.read_response();
            ++(answer && answer->status() == 200 ? answered : refused);
        }
    };
    std::vector<std::thread> applications;
    for (int i = 0; i < 8; ++i) applications.emplace_back(call, "9", std::ref(high));
    for (int i = 0; i < 2; ++i) applications.emplace_back(call, "0", std::ref(low));
    CHECK(eventually([&] { return low >= 10; }));
    CHECK(high > 2 * low);   // three places of four
    done = true;
    for (std::thread& thread : applications) thread.join();
    CHECK(refused == 0);
}

TEST_CASE("no more exchanges are with the vendor than it has seats, and one that waits gets the seat that comes free", "[multi-worker]") {
    std::atomic<int> inside{0}, most{0};
    std::atomic<bool> hold{true};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                most = std::max(most.load(), ++inside);
                while (hold) std::this_thread::sleep_for(1ms);
                --inside;
                wire.write(answer_with("200 OK"));
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {concurrency: 2, when_full: {wait: 30s}}\n"), 4);
    std::vector<std::thread> applications;
    std::atomic<int> served{0};
    for (int i = 0; i < 8; ++i)
        applications.emplace_back([&] {
            for (int j = 0; j < 3; ++j) served += proxy.get("v.example").status() == 200;
        });
    CHECK(eventually([&] { return inside == 2; }));
    hold = false;
    for (std::thread& thread : applications) thread.join();
    CHECK(served == 24);
    CHECK(most == 2);
}

TEST_CASE("a vendor that slows down under what it gets has fewer seats, and more again when it is quick", "[multi-worker]") {
    std::atomic<bool> slow{false}, done{false};
    std::mutex one_at_a_time;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                if (slow) {
                    const std::lock_guard lock(one_at_a_time);
                    std::this_thread::sleep_for(10ms);
                } else {
                    std::this_thread::sleep_for(30ms);   // however many there are
                }
                if (!wire.try_write(answer_with("200 OK"))) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {name: found, concurrency: {min: 4, max: 64}, when_full: {wait: 30s}}\n"), 2);
    const auto seats = [&] { return proxy.metric(R"(sluice_limit_capacity{vendor="v",limit="found.seats"})"); };
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(seats() == 20);   // where it begins
    std::atomic<int> failed{0};
    std::vector<std::thread> applications;
    for (int i = 0; i < 28; ++i)
        applications.emplace_back([&] {
            Wire app = proxy.connected("v.example");
            while (!done) {
                app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
                const auto answer = app.read_response();
                failed += !answer || answer->status() != 200;
            }
        });
    CHECK(eventually([&] { return seats() >= 22; }));
    slow = true;
    CHECK(eventually([&] { return seats() >= 4 && seats() <= 8; }));
    slow = false;
    CHECK(eventually([&] { return seats() >= 12; }));
    done = true;
    for (std::thread& thread : applications) thread.join();
    CHECK(failed == 0);   // they waited
}

TEST_CASE("a vendor that breaks off has fewer seats for it, one whose applications go away has not") {
    const bool breaks_off = GENERATE(true, false);
    CAPTURE(breaks_off);
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            wire.read_request();
            ++requests;
            if (!breaks_off) wire.read_all();
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: {enabled: false}\nlimit: {name: found, concurrency: {min: 1, max: 4}}\n"));
    const auto seats = [&] { return proxy.metric(R"(sluice_limit_capacity{vendor="v",limit="found.seats"})"); };
    for (int i = 0; i < 20; ++i) {   // as many as it takes to be believed
        Wire app = proxy.connected("v.example");
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        if (breaks_off)
            CHECK(app.read_response()->reason() == "upstream_reset");
        else
            REQUIRE(eventually([&] { return requests == i + 1; }));
        app.close();
        REQUIRE(eventually([&] { return proxy.metric("sluice_inflight{vendor=\"v\"}") == 0; }));
    }
    CHECK(seats() == (breaks_off ? 2 : 4));
}

TEST_CASE("an exchange whose total time ends while it waits for a place is over its time, and says where it waited") {
    BusyVendor busy;
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", busy.vendor, true, "limit: {name: few, concurrency: 1, when_full: {wait: 1m}}\n"));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return busy.inside == 1; }));
    const Message late = send(proxy, "v.example", "GET / HTTP/1.1\r\nHost: v.example\r\nSluice-Timeout: 50ms\r\n\r\n");
    CHECK(late.status() == 504);
    CHECK(late.reason() == "timeout_total");
    CHECK(late.body.find("the limit 'few'") != std::string::npos);
    busy.hold = false;
    CHECK(app.read_response()->status() == 200);
}

TEST_CASE("a seat that nobody may wait for is refused, and is free again after the exchange") {
    BusyVendor busy;
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", busy.vendor, true, "limit: {concurrency: 1}\n"));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return busy.inside == 1; }));
    const Message refused = proxy.get("v.example");
    CHECK(refused.status() == 429);
    CHECK(refused.reason() == "concurrency_limited");
    busy.hold = false;
    CHECK(app.read_response()->status() == 200);
    CHECK(eventually([&] { return proxy.get("v.example").status() == 200; }));
}

TEST_CASE("a limit of each tenant holds for one without touching another") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: [{name: each, rate: 1/h, burst: 1, per: header X-Tenant}]\n"));
    CHECK(proxy.get("v.example", "/", "X-Tenant: a\r\n").status() == 200);
    CHECK(proxy.get("v.example", "/", "X-Tenant: a\r\n").reason() == "rate_limited");
    CHECK(proxy.get("v.example", "/", "X-Tenant: b\r\n").status() == 200);
}

TEST_CASE("a route has limits of its own beside the vendor's") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "routes: [{match: \"GET /dear\", limit: {rate: 1/h, burst: 1}}]\n"));
    CHECK(proxy.get("v.example", "/dear").status() == 200);
    CHECK(proxy.get("v.example", "/dear").reason() == "rate_limited");
    CHECK(proxy.get("v.example", "/cheap").status() == 200);
}

TEST_CASE("tokens are reserved by what the request may cost, and settled by what the vendor says it did") {
    const std::string usage = R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}})";
    Script script{{answer_with("200 OK", "Content-Type: application/json\r\n", usage)}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {tokens: {rate: 1000/h, burst: 1000, estimate: body, settle: usage}}\n"));
    const std::string call = R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":900})";
    const std::string request = post("v.example", "/v1/chat/completions", call, "Content-Type: application/json\r\n");
    // Each reserves about 900 of 1000 and is settled at 20: without the settling the second would not go.
    for (int i = 0; i < 4; ++i) CHECK(send(proxy, "v.example", request).status() == 200);
    const std::string greedy = R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":990})";
    const Message refused = send(proxy, "v.example", post("v.example", "/v1/chat/completions", greedy, "Content-Type: application/json\r\n"));
    CHECK(refused.status() == 429);
    CHECK(refused.reason() == "token_limited");
}

TEST_CASE("a stream's usage settles what was reserved") {
    const std::string events = "data: {\"choices\":[]}\n\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":20,\"prompt_tokens\":10,\"completion_tokens\":10}}\n\ndata: [DONE]\n\n";
    FakeVendor vendor(always(answer_with("200 OK", "Content-Type: text/event-stream\r\n", events)), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {tokens: {rate: 1000/h, burst: 1000}}\n"));
    const std::string request = post("v.example", "/v1/chat/completions", R"({"stream":true,"messages":[],"max_tokens":900})", "Content-Type: application/json\r\n");
    for (int i = 0; i < 4; ++i) {
        const Message answer = send(proxy, "v.example", request);
        CHECK(answer.status() == 200);
        CHECK(answer.body == events);
    }
}

TEST_CASE("concurrent calls of a model do not overshoot the budget, streamed or not, though they do not say how long an answer may be", "[multi-worker]") {
    // A prompt of 20 tokens, answered with 480 of them: 500 a call.
    const std::string usage = R"("usage":{"prompt_tokens":20,"completion_tokens":480,"total_tokens":500}})";
    const std::string whole = answer_with("200 OK", "Content-Type: application/json\r\n", R"({"choices":[],)" + usage);
    const std::string stream = answer_with("200 OK", "Content-Type: text/event-stream\r\n", "data: {\"choices\":[]}\n\ndata: {\"choices\":[]," + usage + "\n\ndata: [DONE]\n\n");
    std::atomic<int> calls{0}, inside{0};
    std::atomic<bool> hold{false};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                ++calls, ++inside;
                while (hold) std::this_thread::sleep_for(1ms);
                --inside;
                wire.write(request->body.find("stream") != std::string::npos ? stream : whole);
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {tokens: {rate: 50000/h, burst: 20000}}\n"), 4);
    const auto call = [&](bool streamed) {
        const std::string body = R"({"messages":[{"role":"user","content":")" + std::string(76, 'x') + R"("}])" + (streamed ? R"(,"stream":true})" : "}");
        return send(proxy, "v.example", post("v.example", "/v1/chat/completions", body, "Content-Type: application/json\r\n"));
    };
    for (int i = 0; i < 20; ++i) REQUIRE(call(i % 2 == 0).status() == 200);   // half of the budget: it learns how long answers are
    hold = true;
    std::vector<std::thread> applications;
    std::atomic<int> served{0}, limited{0};
    for (int i = 0; i < 40; ++i)
        applications.emplace_back([&, i] {
            const Message answer = call(i % 2 == 0);
            served += answer.status() == 200;
            limited += answer.reason() == "token_limited";
        });
    CHECK(eventually([&] { return inside + limited == 40; }));   // all at once: nothing is settled yet
    hold = false;
    for (std::thread& thread : applications) thread.join();
    CHECK(served + limited == 40);
    CHECK(served >= 19);
    CHECK(served <= 22);   // 20 of 500 tokens are what is left, and what time gives back
}

TEST_CASE("what was not sent costs neither tokens nor rate, however often it is tried") {
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(closed_port()) +
                    "\"}]\n    retry: {backoff: 1ms..1ms}\n    breaker: {enabled: false}\n    limit: {rate: 1/h, burst: 1, tokens: {rate: 1000/h}}\n");
    const std::string call = post("v.example", "/", R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":400})", "Content-Type: application/json\r\n");
    for (int i = 0; i < 4; ++i) {
        const Message answer = send(proxy, "v.example", call);
        CHECK(answer.status() == 502);
        CHECK(answer.reason() == "connect_failed");
        if (i == 0) CHECK(answer.field("sluice-attempts") == "3");   // the place of the first serves all of them
    }
}

TEST_CASE("an attempt that may have cost tokens keeps them, and the next one pays its own") {
    const std::string usage = R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":90,"total_tokens":100}})";
    Script script{{"", answer_with("200 OK", "Connection: close\r\nContent-Type: application/json\r\n", usage)}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, std::string(quick) + "limit: {tokens: {rate: 1000/d, burst: 1000}}\n"));
    const std::string call = post("v.example", "/", R"({"max_tokens": 400})", "Content-Type: application/json\r\nIdempotency-Key: k\r\n");
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})"); };
    const Message answer = send(proxy, "v.example", call);
    CHECK(answer.status() == 200);
    CHECK(answer.field("sluice-attempts") == "2");
    CHECK(eventually([&] { return left() >= 490; }));   // 401 that nobody knows of, and 100
    CHECK(left() <= 500);
    script.next = 0;
    const Message alone = send(proxy, "v.example", call);   // there are no 802
    CHECK(alone.status() == 502);
    CHECK(alone.field("x-should-retry").empty());
}

TEST_CASE("a vendor that refused and was left for another keeps nothing of what was reserved with it") {
    FakeVendor one(always(answer_with("503 Service Unavailable")), vendor_ca()), two(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", one, true, "retry: {max: 0}\nbreaker: {enabled: false}\nlimit: {tokens: {rate: 1000/h}}\nfallback: {vendor: two}\n") +
                    vendor_yaml("two", "two.example", two, true));
    const std::string call = "PUT / HTTP/1.1\r\nHost: one.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 900}";
    for (int i = 0; i < 3; ++i) {
        const Message answer = send(proxy, "one.example", call);
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-outcome") == "fallback");
    }
}

TEST_CASE("a vendor's own word paces the requests before it has to refuse one") {
    Script script{{answer_with("200 OK", "RateLimit: \"default\";r=0;t=600\r\n"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {learn: true, rate: 1000/s}\n"));
    CHECK(proxy.get("v.example").status() == 200);
    const Message refused = proxy.get("v.example");
    CHECK(refused.status() == 429);
    CHECK(refused.reason() == "rate_limited");
    CHECK(std::atoi(refused.field("retry-after").c_str()) > 60);
    CHECK(refused.field("ratelimit").find("-learnt\";r=0;t=" + refused.field("retry-after")) != std::string::npos);
    CHECK(script.seen.size() == 1);
}

TEST_CASE("a throttling that is not a 429 is learnt from the body as it passes") {
    const std::string slow = R"({"__type":"com.amazon.coral.service#ThrottlingException","message":"Rate exceeded"})";
    Script script{{answer_with("400 Bad Request", "Content-Type: application/x-amz-json-1.1\r\n", slow), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "limit: {learn: true, rate: 1000/s}\n"));
    const Message first = proxy.get("v.example");
    CHECK(first.status() == 400);
    CHECK(first.body == slow);
    CHECK(proxy.get("v.example").reason() == "rate_limited");
}

// ---- chaos

TEST_CASE("injected faults reach the application as a vendor's own would") {
    FakeVendor vendor(always(answer_with("200 OK", "", std::string(1000, 'x'))), vendor_ca());
    const auto chaotic = [&](const std::string& fault) {
        return "vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "timeout: {first_byte: 200ms}\nretry: {max: 0}\nchaos: {enabled: true, inject: [{fault: " + fault + ", header: X-Chaos}]}\n");
    };
    struct Row {
        std::string fault;
        unsigned status;
        std::string reason;
    };
    for (const Row& row : {Row{"status 429", 429, ""}, Row{"reset", 502, "upstream_reset"}, Row{"hang", 504, "timeout_first_byte"}, Row{"delay 300ms", 504, "timeout_first_byte"}, Row{"tls_failure", 502, "tls_failed"}, Row{"dns_failure", 502, "dns_failed"}}) {
        INFO(row.fault);
        TestProxy proxy(chaotic(row.fault));
        const Message answer = proxy.get("v.example", "/", "X-Chaos: yes\r\n");
        CHECK(answer.status() == row.status);
        CHECK(answer.reason() == row.reason);
        if (row.status == 429) CHECK(answer.start_line == "HTTP/1.1 429 Too Many Requests");
        CHECK(proxy.get("v.example").status() == 200);   // without the header nothing happens
    }
    TestProxy cut(chaotic("truncate 100B"));
    const Message answer = cut.get("v.example", "/", "X-Chaos: yes\r\n");
    CHECK(answer.status() == 200);
    CHECK(answer.body.size() <= 100);
    CHECK_FALSE(answer.whole);
    TestProxy slow(chaotic("slow_body 5000B/s"));
    const auto start = SteadyClock::now();
    CHECK(slow.get("v.example", "/", "X-Chaos: yes\r\n").body.size() == 1000);
    CHECK(SteadyClock::now() - start >= 100ms);
    TestProxy late("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "chaos: {enabled: true, inject: [{fault: delay 100ms, header: X-Chaos}]}\n"));
    const auto begun = SteadyClock::now();
    CHECK(late.get("v.example", "/", "X-Chaos: yes\r\n").status() == 200);
    CHECK(SteadyClock::now() - begun >= 100ms);
    CHECK(late.metric(R"(sluice_time_to_first_byte_seconds_sum{vendor="v"})") >= 0.1);
}

TEST_CASE("an injected delay is a part of the time that the vendor has for its answer") {
    FakeVendor vendor([](Wire& wire) { while (wire.read_request()) wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "timeout: {first_byte: 3s}\nretry: {max: 0}\nchaos: {enabled: true, inject: [{fault: delay 2900ms}]}\n"));
    const auto start = SteadyClock::now();
    CHECK(proxy.get("v.example").reason() == "timeout_first_byte");
    CHECK(SteadyClock::now() - start < 5s);   // not the sum of both
    CHECK(vendor.connections() == 1);
}

// ---- how an attempt is counted

TEST_CASE("an attempt is counted by what its answer was taken for: ok, failed or throttled") {
    struct Row {
        std::string status, fields;
        const char* result;
    };
    const Row row = GENERATE(Row{"200 OK", "", "ok"}, Row{"404 Not Found", "", "ok"}, Row{"507 Insufficient Storage", "", "ok"}, Row{"429 Too Many Requests", "", "throttled"}, Row{"529 Overloaded", "", "throttled"},
                             Row{"500 Internal Server Error", "", "failed"}, Row{"503 Service Unavailable", "", "failed"}, Row{"501 Not Implemented", "", "failed"},
                             Row{"200 OK", "Content-Type: application/grpc\r\ngrpc-status: 14\r\n", "failed"}, Row{"200 OK", "Content-Type: application/grpc\r\ngrpc-status: 8\r\n", "throttled"},
                             Row{"200 OK", "Content-Type: application/grpc\r\ngrpc-status: 0\r\n", "ok"});
    CAPTURE(row.status, row.fields);
    FakeVendor vendor(always(answer_with(row.status, row.fields)));
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "retry: {max: 1, on: [+501], backoff: 1ms..1ms}\n"));
    const Message answer = proxy.get("v.example");
    for (const std::string result : {"ok", "failed", "throttled"}) {
        const double counted = proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + vendor.authority() + "\",result=\"" + result + "\"}");
        CHECK(std::max(0.0, counted) == (result == row.result ? std::stod(answer.field("sluice-attempts")) : 0));
    }
    CHECK(proxy.metric(R"(sluice_time_to_first_byte_seconds_count{vendor="v"})") == std::stod(answer.field("sluice-attempts")));
}

TEST_CASE("injected faults open the vendor's breaker, but are none of its own failures: they do not stop themselves") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    const std::string fault = GENERATE("status 503", "reset");
    CAPTURE(fault);
    const auto chaotic = [&](const std::string& breaker) {
        return "vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "retry: {max: 0}\nbreaker: " + breaker + "\nchaos: {enabled: true, abort_above: 10%, inject: [{fault: " + fault + "}]}\n");
    };
    TestProxy unguarded(chaotic("{enabled: false}"));
    for (int i = 0; i < 20; ++i) CHECK(unguarded.get("v.example").status() == (fault == "reset" ? 502 : 503));
    CHECK(unguarded.metric("sluice_chaos_injected_total{vendor=\"v\",fault=\"" + fault + "\"}") == 20);
    CHECK(unguarded.metric(R"(sluice_chaos_active{vendor="v"})") == 1);
    CHECK(vendor.connections() == 0);
    TestProxy guarded(chaotic("{consecutive: 3, open_for: 1m..1m}"));
    for (int i = 0; i < 3; ++i) CHECK(guarded.get("v.example").reason() != "breaker_open");
    CHECK(guarded.get("v.example").reason() == "breaker_open");
}

TEST_CASE("chaos stops by itself where a vendor's bodies break off, and not where we cut them") {
    const bool truncates = GENERATE(false, true);
    CAPTURE(truncates);
    const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", broken = whole.substr(0, whole.size() - 5);
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request() && (wire.write(truncates ? whole : broken), truncates)) {
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true,
                                               "retry: {max: 0}\nbreaker: {consecutive: 100}\nchaos: {enabled: true, abort_above: 10%, inject: [{fault: truncate 3B" +
                                                   std::string(truncates ? "" : ", header: X-Never") + "}]}\n"));
    for (int i = 0; i < 6; ++i) proxy.get("v.example");
    CHECK(proxy.metric(R"(sluice_chaos_active{vendor="v"})") == (truncates ? 1 : 0));
}

TEST_CASE("the first requests alone are made to fail, and retries carry the application over them") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, std::string(quick) + "chaos: {enabled: true, inject: [{fault: reset, first: 2}]}\n"));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 200);
    CHECK(answer.field("sluice-attempts") == "3");
    CHECK(proxy.get("v.example").field("sluice-attempts") == "1");
}

TEST_CASE("chaos meets the share of one route's requests that its rate says, the same ones for the same seed") {
    FakeVendor vendor(always(answer_with("200 OK")), vendor_ca());
    const int requests = 60;
    const auto run = [&](int seed) {
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true,
                                                   "routes: [{name: charges, match: \"GET /charges\"}]\nchaos: {enabled: true, seed: " + std::to_string(seed) +
                                                       ", inject: [{fault: status 429, rate: 30%, route: charges}]}\n"));
        Wire app = proxy.connected("v.example");
        std::string statuses;
        for (int i = 0; i < requests; ++i) {
            for (const std::string path : {"/charges", "/other"}) {
                app.write("GET " + path + " HTTP/1.1\r\nHost: v.example\r\n\r\n");
                const unsigned status = app.read_response()->status();
                if (path == "/other")
                    CHECK(status == 200);
                else
                    statuses += status == 429 ? 'x' : '.';
            }
        }
        CHECK(proxy.metric("sluice_chaos_injected_total{vendor=\"v\",fault=\"status 429\"}") == static_cast<double>(std::count(statuses.begin(), statuses.end(), 'x')));
        return statuses;
    };
    const std::string once = run(7);
    CHECK(run(7) == once);
    CHECK(run(8) != once);
    const auto met = std::count(once.begin(), once.end(), 'x');   // of a fixed seed: always as many
    CHECK(met > requests / 6);
    CHECK(met < requests / 2);
}

// ---- whose failure it is that the time ran out

TEST_CASE("a vendor that hangs until the policy's `total` is out opens its breaker") {
    FakeVendor silent([](Wire& wire) { wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", silent, false, "timeout: {total: 200ms}\nbreaker: {consecutive: 2, open_for: 1m..1m}\n"));
    for (int i = 0; i < 2; ++i) CHECK(proxy.get("v.example").reason() == "timeout_total");
    CHECK(proxy.get("v.example").reason() == "breaker_open");
}

TEST_CASE("applications that give a vendor less time than the policy does not open its breaker, nor take seats from it") {
    FakeVendor silent([](Wire& wire) { wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", silent, false,
                                               "breaker: {consecutive: 1, min_requests: 1, failure_rate: 1%, open_for: 1m..1m}\nlimit: {concurrency: {min: 1, max: 8}}\n"));
    for (const char* deadline : {"Sluice-Timeout: 20ms\r\n", "grpc-timeout: 20m\r\n"}) {
        CAPTURE(deadline);
        for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example", "/", deadline).reason() == "timeout_total");
    }
    CHECK(silent.connections() == 6);
}

TEST_CASE("a deadline of the application's own that ends after `slow_after` counts as slow, as its going away would") {
    FakeVendor silent([](Wire& wire) { wire.read_all(); });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", silent, false, "breaker: {slow_rate: 100%, slow_after: 10ms, min_requests: 3, open_for: 1m..1m}\n"));
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example", "/", "Sluice-Timeout: 100ms\r\n").reason() == "timeout_total");
    CHECK(proxy.get("v.example").reason() == "breaker_open");
}

TEST_CASE("a body that an application's own deadline cuts off is no failure of the vendor's") {
    FakeVendor vendor([](Wire& wire) {
        while (wire.read_request()) {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
            wire.read_all();
        }
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "breaker: {consecutive: 1, open_for: 1m..1m}\n"));
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example", "/", "Sluice-Timeout: 100ms\r\n").status() == 200);
}

// ---- what a retry takes of a rate

TEST_CASE("a retry takes its place of the rate when its wait is over, so that no more than the rate is sent") {
    const unsigned burst = GENERATE(2u, 3u);
    CAPTURE(burst);
    Script script{{answer_with("503 Service Unavailable", "Retry-After: 1\r\n"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, std::string(quick) + "limit: {rate: 1/h, burst: " + std::to_string(burst) + "}\n"));
    Message retried;
    std::thread application([&] { retried = proxy.get("v.example"); });
    REQUIRE(eventually([&] { return proxy.metric(R"(sluice_upstream_connections{vendor="v",state="idle"})") == 1; }));   // it waits
    CHECK(proxy.get("v.example").status() == 200);   // the place that nobody has used
    application.join();
    if (burst == 3) {
        CHECK(retried.status() == 200);
        CHECK(retried.field("sluice-attempts") == "2");
    } else {
        CHECK(retried.status() == 429);
        CHECK(retried.reason() == "rate_limited");
        CHECK(retried.field("sluice-attempts") == "1");
        CHECK(retried.field("x-should-retry").empty());   // none of ours was sent
        CHECK(std::atoi(retried.field("retry-after").c_str()) > 0);
    }
    CHECK(proxy.get("v.example").reason() == "rate_limited");
    CHECK(script.seen.size() == burst);
}

TEST_CASE("a retry waits for its place of a rate as a first attempt does, behind those who wait already") {
    std::mutex mutex;
    std::set<std::string> known;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (const auto request = wire.read_request()) {
                const std::lock_guard lock(mutex);
                wire.write(known.insert(request->start_line).second ? answer_with("503 Service Unavailable") : answer_with("200 OK"));
            }
        });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "retry: {backoff: 1ms..2ms, budget: 100%}\nbreaker: {enabled: false}\nlimit: {rate: 200/s, burst: 2, when_full: {wait: 30s}}\n"));
    std::vector<std::thread> applications;
    std::atomic<int> good{0};
    for (int i = 0; i < 20; ++i)
        applications.emplace_back([&, i] { good += proxy.get("v.example", "/" + std::to_string(i)).status() == 200; });
    for (std::thread& thread : applications) thread.join();
    CHECK(good == 20);
}

TEST_CASE("a retry that a Retry-After puts off until there is room is made, though there is none now") {
    Script script{{answer_with("503 Service Unavailable", "Retry-After: 1\r\n"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve());
    const bool room = GENERATE(true, false);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, std::string(quick) + "limit: {rate: " + (room ? "1/s" : "1/h") + ", burst: 1}\n"));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == (room ? 200 : 503));
    CHECK(answer.field("x-should-retry").empty());
    CHECK(script.seen.size() == (room ? 2 : 1));
}

TEST_CASE("who waits before a retry holds no tokens meanwhile") {
    Script script{{answer_with("503 Service Unavailable", "Retry-After: 1\r\n"), answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, std::string(quick) + "limit: {tokens: {rate: 1000/d, burst: 1000}}\n"));
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})"); };
    Wire app = proxy.connected("v.example");
    app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 400}");
    REQUIRE(eventually([&] { return proxy.metric(R"(sluice_upstream_connections{vendor="v",state="idle"})") == 1; }));   // it waits
    CHECK(left() == 1000);
    CHECK(app.read_response()->status() == 200);
    CHECK(left() <= 600);
}

TEST_CASE("who waits for a seat holds no place of the rate meanwhile") {
    const std::string hedge = GENERATE(as<std::string>{}, "", "hedge: {after: 1h}\n");
    CAPTURE(hedge);
    std::counting_semaphore<8> go{0};
    std::atomic<int> inside{0};
    FakeVendor vendor([&](Wire& wire) {
        while (wire.read_request()) {
            ++inside;
            if (!go.try_acquire_for(10s)) return;
            wire.write(answer_with("200 OK"));
        }
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, hedge + "limit: {name: calls, rate: 1/h, burst: 2, concurrency: 1, when_full: {wait: 1m}}\n"));
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="calls.rate"})"); };
    Wire first = proxy.connected("v.example"), second = proxy.connected("v.example");
    first.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return inside == 1; }));
    CHECK(left() == 1);
    second.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="calls"})") == 1; }));
    CHECK(left() == 1);
    go.release();
    REQUIRE(eventually([&] { return inside == 2; }));
    CHECK(left() == 0);
    go.release();
    for (Wire* wire : {&first, &second}) CHECK(wire->read_response()->status() == 200);
    CHECK(left() == 0);
}

TEST_CASE("a place of the rate that one who waits for a seat does not hold is another's, and nothing is sent beyond the rate") {
    std::counting_semaphore<8> go{0};
    Seen seen;
    std::atomic<int> inside{0};
    FakeVendor vendor([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            const bool held = request->start_line.find("/held") != std::string::npos;
            seen.add(std::move(*request));
            ++inside;
            if (held && !go.try_acquire_for(10s)) return;
            wire.write(answer_with("200 OK"));
        }
    });
    const unsigned burst = GENERATE(2u, 3u);
    CAPTURE(burst);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false,
                                               "limit: {name: calls, rate: 1/h, burst: " + std::to_string(burst) + "}\nroutes:\n  - {match: \"* /held\", limit: {name: seats, concurrency: 1, when_full: {wait: 1m}}}\n"));
    Wire first = proxy.connected("v.example"), second = proxy.connected("v.example");
    first.write("GET /held HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return inside == 1; }));
    second.write("GET /held HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="seats"})") == 1; }));
    CHECK(proxy.get("v.example", "/other").status() == 200);
    go.release(2);
    CHECK(first.read_response()->status() == 200);
    const auto waited = second.read_response();
    REQUIRE(waited);
    CHECK(waited->status() == (burst == 3 ? 200 : 429));
    CHECK(waited->reason() == (burst == 3 ? "" : "rate_limited"));
    CHECK(seen.size() == burst);
    CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="calls.rate"})") == 0);
    CHECK(eventually([&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="seats.seats"})") == 1; }));
}

TEST_CASE("who waits for a place under one limit holds no rate of another meanwhile") {
    const bool comes = GENERATE(true, false);
    CAPTURE(comes);
    Script script{{answer_with("200 OK")}, {}, {}};
    FakeVendor vendor(script.serve());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false,
                                               std::string("limit:\n  - {name: day, rate: 1/h, burst: 10}\n  - {name: moment, rate: ") + (comes ? "20/s" : "2/m") + ", burst: 1, when_full: {wait: 1m}}\n"));
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="day.rate"})"); };
    CHECK(proxy.get("v.example").status() == 200);
    CHECK(left() == 9);
    if (comes) {
        for (int i = 0; i < 4; ++i) CHECK(proxy.get("v.example").status() == 200);
        CHECK(left() == 5);
        CHECK(script.seen.size() == 5);
        return;
    }
    {
        Wire waits = proxy.connected("v.example");
        waits.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="moment"})") == 1; }));
        CHECK(left() == 9);
    }
    CHECK(eventually([&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="moment"})") == 0; }));
    CHECK(left() == 9);
    CHECK(script.seen.size() == 1);
}

TEST_CASE("who has left while it waited for a place is not sent to the vendor, though nobody has read its body") {
    const auto [tls, reset] = GENERATE(table<bool, bool>({{true, false}, {true, true}, {false, true}}));
    CAPTURE(tls, reset);
    std::counting_semaphore<> go{0};
    std::atomic<int> inside{0};
    FakeVendor vendor([&](Wire& wire) {
        while (wire.read_request()) {
            ++inside;
            if (!go.try_acquire_for(30s)) return;
            wire.write(answer_with("200 OK"));
        }
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "limit: {name: seats, concurrency: 1, when_full: {wait: 1m}}\n"));
    Wire first = proxy.connected("v.example");
    first.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(eventually([&] { return inside == 1; }));
    const auto waiting = [&] { return proxy.metric(R"(sluice_limit_waiting{vendor="v",limit="seats"})"); };
    {
        Wire leaves = tls ? proxy.connected("v.example") : Wire::to(proxy.port());
        leaves.write((tls ? "POST /" : "POST http://v.example/") + std::string(" HTTP/1.1\r\nHost: v.example\r\nContent-Length: 2\r\n\r\n{}"));
        REQUIRE(eventually([&] { return waiting() == 1; }));
        leaves.close(reset);
    }
    CHECK(eventually([&] { return waiting() == 0; }));
    go.release(2);
    CHECK(first.read_response()->status() == 200);
    CHECK(proxy.get("v.example").status() == 200);   // would come after it
    CHECK(inside == 2);
}

TEST_CASE("an answer that comes after its application has closed its side says nothing of a vendor's slowness, however soon that was") {
    const auto [slow_after, silence] = GENERATE(table<std::string, std::chrono::milliseconds>({{"1s", 2200ms}, {"400ms", 600ms}}));
    CAPTURE(slow_after);
    constexpr int applications = 3;
    std::atomic<int> asked{0};
    FakeVendor vendor([&, silence = silence](Wire& wire) {
        while (wire.read_request()) {
            if (++asked <= applications && !wire.silent_for(silence)) return;
            wire.write(answer_with("200 OK"));
        }
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "breaker: {slow_rate: 100%, slow_after: " + slow_after + ", min_requests: 3, open_for: 1m..1m}\n"));
    std::vector<Wire> wires;
    for (int i = 0; i < applications; ++i) {
        wires.push_back(Wire::to(proxy.port()));   // plain: under TLS nobody closes one side only
        wires.back().write("GET http://v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n");
        wires.back().half_close();
    }
    for (Wire& wire : wires) {
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
    }
    CHECK(proxy.get("v.example").status() == 200);
}
