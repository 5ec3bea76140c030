// A second attempt beside one that takes long: who wins, who is cut off, and what it may cost.

#include <atomic>
#include <catch2/catch.hpp>
#include <semaphore>

#include "tests/support/cut_off.hpp"
#include "tests/support/full_backlog.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

using SteadyClock = std::chrono::steady_clock;

std::string answer_with(const std::string& status, const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// The first request of all is never answered, later ones are: at once.
struct SlowFirst {
    std::atomic<int> requests{0}, cut_off{0};

    FakeVendor::Serve serve() {
        return [this](Wire& wire) {
            while (wire.read_request()) {
                if (requests++ == 0) {
                    wire.read_all();
                    ++cut_off;
                    return;
                }
                wire.write(answer_with("200 OK", "fast"));
            }
        };
    }
};

constexpr const char* eager = "hedge: {after: 100ms}\nretry: {backoff: 1ms..1ms}\n";

}  // namespace

TEST_CASE("where the first attempt takes long the second one's answer is taken, and the first is cut off") {
    SlowFirst script;
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, eager));
    const auto start = SteadyClock::now();
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 200);
    CHECK(answer.body == "fast");
    CHECK(answer.field("sluice-attempts") == "2");
    CHECK(SteadyClock::now() - start >= 100ms);
    CHECK(eventually([&] { return script.cut_off == 1; }));
    // The one that was cut off says nothing of the vendor.
    CHECK(proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + vendor.authority() + "\",result=\"ok\"}") == 1);
}

TEST_CASE("a first attempt that is quick enough has no second beside it") {
    SlowFirst script;
    script.requests = 1;
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 10s}\n"));
    for (int i = 0; i < 3; ++i) CHECK(proxy.get("v.example").field("sluice-attempts") == "1");
    CHECK(script.requests == 4);
}

TEST_CASE("what may not be done twice is not hedged, and neither is what the budget does not cover") {
    SlowFirst script;
    FakeVendor vendor(script.serve(), vendor_ca());
    SECTION("a POST") {
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, std::string(eager) + "timeout: {first_byte: 400ms}\n"));
        Wire app = proxy.connected("v.example");
        app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Length: 1\r\n\r\nx");
        CHECK(app.read_response()->reason() == "timeout_first_byte");
        CHECK(script.requests == 1);
    }
    SECTION("p95 of a vendor that nobody knows yet") {
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: p95}\nretry: {max: 0}\ntimeout: {first_byte: 400ms}\n"));
        CHECK(proxy.get("v.example").reason() == "timeout_first_byte");
        CHECK(script.requests == 1);
    }
}

TEST_CASE("hedges are paid for by the retry budget") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                ++requests;
                std::this_thread::sleep_for(60ms);   // each is slow: each would be hedged
                if (!wire.try_write(answer_with("200 OK"))) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 20ms}\nretry: {budget: 0%}\n"));
    for (int i = 0; i < 10; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(requests <= 13);   // the least of a budget are three
}

TEST_CASE("hedges are a share of the requests where there are no retries too, and each attempt is counted, the ones that lose as abandoned") {
    const int requests = 24;
    std::atomic<int> seen{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                const int pair = seen++ / 2;
                if (!eventually([&] { return seen >= 2 * (pair + 1); })) return;   // slow until the second attempt is here
                if (!wire.try_write(answer_with("200 OK"))) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 30ms}\nretry: {max: 0, budget: 100%}\n"));
    for (int i = 0; i < requests; ++i) CHECK(proxy.get("v.example").field("sluice-attempts") == "2");
    CHECK(seen == 2 * requests);
    const auto counted = [&](const std::string& result) { return std::max(0.0, proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + vendor.authority() + "\",result=\"" + result + "\"}")); };
    CHECK(eventually([&] { return counted("ok") + counted("abandoned") == 2 * requests; }));
    CHECK(counted("ok") >= requests);   // both may have answered at the same moment
}

TEST_CASE("an attempt that its application went away from is counted as abandoned") {
    std::atomic<int> requests{0};
    FakeVendor vendor([&](Wire& wire) { if (wire.read_request()) ++requests; wire.read_all(); }, vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    {
        Wire app = proxy.connected("v.example");
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        REQUIRE(eventually([&] { return requests == 1; }));
    }
    CHECK(eventually([&] { return proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"" + vendor.authority() + "\",result=\"abandoned\"}") == 1; }));
}

TEST_CASE("a hedge for which there is no seat does not hide what became of the first attempt") {
    FakeVendor vendor(
        [](Wire& wire) {
            wire.read_request();
            std::this_thread::sleep_for(300ms);   // time for the hedge to be turned away; where it is not, nothing is tested
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 20ms}\nretry: {max: 0}\nlimit: {concurrency: 1}\n"));
    CHECK(proxy.get("v.example").reason() == "upstream_reset");
}

TEST_CASE("an attempt that is still dialling when another has won holds up neither the answer nor the next request") {
    FullBacklog full;
    FakeVendor second(always(answer_with("200 OK", "second")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    timeout: {connect: 3s}\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(full.port()) + "\"}, {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}]\n    hedge: {after: 50ms}\n");
    Wire app = proxy.connected("v.example");
    const auto start = SteadyClock::now();
    for (int i = 0; i < 2; ++i) {
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        const auto answer = app.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->body == "second");
    }
    CHECK(SteadyClock::now() - start < 2500ms);
    proxy.drain();   // waits for what still dials
    proxy.join();
}

TEST_CASE("an attempt that was cut off while it dialled takes no seats from its vendor") {
    FullBacklog full;
    FakeVendor second(always(answer_with("200 OK")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    timeout: {connect: 1s}\n    retry: {budget: 100%}\n    hedge: {after: 1ms}\n    endpoints: [{url: \"http://127.0.0.1:" +
                    std::to_string(full.port()) + "\"}, {url: \"http://127.0.0.1:" + std::to_string(second.port()) + "\"}]\n    limit: {name: found, concurrency: {min: 1, max: 8}, when_full: {wait: 10s}}\n");
    constexpr int requests = 24;   // with as many that were cut off as it takes to be believed
    for (int i = 0; i < requests; ++i) CHECK(proxy.get("v.example").status() == 200);
    CHECK(eventually([&] { return proxy.metric("sluice_attempts_total{vendor=\"v\",endpoint=\"127.0.0.1:" + std::to_string(full.port()) + "\",result=\"abandoned\"}") == requests; }));
    CHECK(proxy.metric(R"(sluice_limit_capacity{vendor="v",limit="found.seats"})") == 8);
}

TEST_CASE("where both attempts fail the application sees one failure, and retries go on as without hedging") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                ++requests;
                std::this_thread::sleep_for(60ms);
                if (!wire.try_write(answer_with("503 Service Unavailable", "down"))) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 20ms}\nretry: {max: 0}\nbreaker: {enabled: false}\n"));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 503);
    CHECK(answer.body == "down");
    CHECK(requests == 2);
}

// Connections run out of time within the second that a worker gives what still dials at its end: what stays longer is left as it is then.
TEST_CASE("of places of a rate that attempts beside each other took those of the ones that sent nothing come back") {
    const auto left = [](const TestProxy& proxy) { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.rate"})"); };
    const auto policy = [](const std::vector<std::uint16_t>& ports, const std::string& more) {
        std::string endpoints;
        for (const std::uint16_t port : ports) endpoints += (endpoints.empty() ? "" : ", ") + std::string("{url: \"http://127.0.0.1:") + std::to_string(port) + "\"}";
        return "vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [" + endpoints + "]\n    breaker: {enabled: false}\n    limit: {rate: 100/d, burst: 100}\n" + more;
    };
    // Some hedge is begun before the connection of the one beside it has run out of time; how many, a busy machine decides.
    const auto until_hedged = [](const std::function<bool()>& hedged) {
        for (int i = 0; i < 20; ++i)
            if (hedged()) return true;
        return false;
    };
    SECTION("neither, after one that was sent") {
        FakeVendor down(always(answer_with("503 Service Unavailable")));
        FullBacklog second, third;
        TestProxy proxy(policy({down.port(), second.port(), third.port()}, "    timeout: {connect: 300ms}\n    retry: {max: 1, budget: 100%, backoff: 1ms..1ms}\n    hedge: {after: 50ms}\n"));
        int calls = 0;
        CHECK(until_hedged([&] {
            const Message answer = proxy.get("v.example");
            CHECK(answer.reason() == "timeout_connect");
            CHECK(left(proxy) == 100 - ++calls);
            return answer.field("sluice-attempts") == "3";
        }));
    }
    SECTION("the one that found no connection, of two") {
        FullBacklog first;
        TestProxy* observed = nullptr;
        int calls = 0;
        FakeVendor second([&](Wire& wire) {
            while (wire.read_request()) {   // it answers once nothing can come of the other one any more
                eventually([&] { return observed->metric("sluice_attempts_total{vendor=\"v\",endpoint=\"127.0.0.1:" + std::to_string(first.port()) + "\",result=\"timeout_connect\"}") > calls; });
                wire.write(answer_with("200 OK"));
            }
        });
        TestProxy proxy(policy({first.port(), second.port()}, "    timeout: {connect: 300ms}\n    retry: {max: 0, budget: 100%}\n    hedge: {after: 50ms}\n"));
        observed = &proxy;
        CHECK(until_hedged([&] {
            const Message answer = proxy.get("v.example");
            CHECK(answer.status() == 200);
            CHECK(left(proxy) == 100 - ++calls);
            return true;
        }));
    }
    SECTION("the first one, cut off while it still dials") {
        FullBacklog first;
        FakeVendor second(always(answer_with("200 OK")));
        TestProxy proxy(policy({first.port(), second.port()}, "    timeout: {connect: 900ms}\n    retry: {max: 0, budget: 100%}\n    hedge: {after: 50ms}\n"));
        CHECK(proxy.get("v.example").status() == 200);
        CHECK(left(proxy) == 99);
    }
    SECTION("the second one, cut off while it still dials") {
        FullBacklog second;
        TestProxy* observed = nullptr;
        FakeVendor first([&](Wire& wire) {
            while (wire.read_request()) {
                eventually([&] { return left(*observed) == 98; });   // until the hedge has its place
                wire.write(answer_with("200 OK"));
            }
        });
        TestProxy proxy(policy({first.port(), second.port()}, "    timeout: {connect: 900ms}\n    retry: {max: 0, budget: 100%}\n    hedge: {after: 50ms}\n"));
        observed = &proxy;
        const Message answer = proxy.get("v.example");
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-attempts") == "2");
        CHECK(left(proxy) == 99);
    }
    SECTION("both, where the application goes away while they still dial") {
        FullBacklog first, second;
        TestProxy proxy(policy({first.port(), second.port()}, "    timeout: {connect: 900ms}\n    retry: {max: 0, budget: 100%}\n    hedge: {after: 50ms}\n"));
        {
            Wire app = proxy.connected("v.example");
            app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
            REQUIRE(eventually([&] { return left(proxy) == 98; }));
        }
        CHECK(eventually([&] { return left(proxy) == 100; }));
    }
    SECTION("none of two that were sent, though one was cut off") {
        SlowFirst script;
        FakeVendor vendor(script.serve());
        TestProxy proxy(policy({vendor.port()}, "    retry: {max: 0, budget: 100%}\n    hedge: {after: 50ms}\n"));
        CHECK(proxy.get("v.example").body == "fast");
        CHECK(left(proxy) == 98);
    }
}

TEST_CASE("the tokens of an exchange whose attempts were cut off while they still dialled come back") {
    FullBacklog full;
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(full.port()) +
                    "\"}]\n    timeout: {connect: 900ms}\n    hedge: {after: 50ms}\n    limit: {tokens: {rate: 1000/d, burst: 1000}}\n");
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})"); };
    {
        Wire app = proxy.connected("v.example");
        app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 400}");
        REQUIRE(eventually([&] { return left() <= 600; }));
    }
    CHECK(eventually([&] { return left() == 1000; }));
}

TEST_CASE("an answer says more than a failure, whichever of two attempts it came to") {
    const bool first_answers = GENERATE(true, false);
    CAPTURE(first_answers);
    std::atomic<int> requests{0}, over{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            const bool answers = (requests++ == 0) == first_answers;
            if (!eventually([&] { return requests == 2; })) return;
            if (answers) wire.write(answer_with("503 Service Unavailable", "down"));
            ++over;
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 50ms}\nretry: {max: 0}\nbreaker: {enabled: false}\n"));
    const Message answer = proxy.get("v.example");
    CHECK(answer.status() == 503);
    CHECK(answer.body == "down");
}

TEST_CASE("the answer of an attempt that lost is read to its end, so that its connection is used again, and learnt from") {
    const bool learns = GENERATE(false, true);
    CAPTURE(learns);
    TestProxy* observed = nullptr;
    std::binary_semaphore hedged{0};
    std::atomic<int> requests{0};
    FakeVendor first([&](Wire& wire) {
        while (wire.read_request()) {
            if (requests++ > 0) {
                wire.write(answer_with("200 OK", "first"));
            } else {
                if (!hedged.try_acquire_for(10s)) return;
                wire.write("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nRetry-After: 3600\r\n\r\ndown");
            }
        }
    });
    FakeVendor second([&](Wire& wire) {
        while (wire.read_request()) {
            hedged.release();   // it answers once the other one's answer is there, which would be tried again
            eventually([&] { return observed->metric("sluice_attempts_total{vendor=\"v\",endpoint=\"127.0.0.1:" + std::to_string(first.port()) + "\",result=\"throttled\"}") == 1; });
            wire.write(answer_with("200 OK", "second"));
        }
    });
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(first.port()) + "\"}, {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}]\n    retry: {max: 0, on: [+429]}\n    hedge: {after: 50ms}\n" + (learns ? "    limit: {learn: true}\n" : ""));
    observed = &proxy;
    const Message answer = proxy.get("v.example");
    CHECK(answer.body == "second");
    CHECK(answer.field("sluice-attempts") == "2");
    REQUIRE(eventually([&] { return proxy.metric(R"(sluice_upstream_connections{vendor="v",state="idle"})") == 2; }));   // both have been read to their ends
    const Message next = proxy.get("v.example");
    if (learns) {
        CHECK(next.reason() == "rate_limited");
        CHECK(requests == 1);
    } else {
        CHECK(next.body == "first");
        CHECK(first.connections() == 1);
    }
}

TEST_CASE("a body that breaks off counts against the endpoint whose attempt won") {
    std::binary_semaphore head_arrived{0};
    FakeVendor first([](Wire& wire) {
        wire.read_request();
        wire.read_all();
    });
    FakeVendor second(cut_off_after(head_arrived));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(first.port()) + "\"}, {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}]\n    retry: {max: 0}\n    hedge: {after: 50ms}\n    breaker: {consecutive: 1, open_for: 1m..1m}\n");
    Wire app = proxy.connected("v.example");
    const auto answer = ask_cut_off(app, "v.example", head_arrived);
    REQUIRE(answer);
    CHECK_FALSE(answer->whole);
    const auto is_open = [&](const FakeVendor& vendor) { return proxy.metric("sluice_breaker_state{vendor=\"v\",endpoint=\"127.0.0.1:" + std::to_string(vendor.port()) + "\",state=\"open\"}"); };
    CHECK(eventually([&] { return is_open(second) == 1; }));
    CHECK(is_open(first) == 0);
}

TEST_CASE("one exchange adds one consecutive failure to an endpoint, though each of its attempts might have had another beside it") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                ++requests;
                wire.write(answer_with("503 Service Unavailable"));
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 10s}\nretry: {max: 2, backoff: 1ms..1ms, budget: 100%}\nbreaker: {consecutive: 2, open_for: 1m..1m}\n"));
    CHECK(proxy.get("v.example").field("sluice-attempts") == "3");
    CHECK(requests == 3);
    CHECK(proxy.get("v.example").field("sluice-attempts") == "1");   // the second in a row
    CHECK(proxy.get("v.example").reason() == "breaker_open");
}

TEST_CASE("one exchange adds one consecutive failure to an endpoint, though two of its attempts fail there beside each other") {
    const std::string how = GENERATE("answered", "broken off");
    CAPTURE(how);
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                const int both = requests++ / 2 * 2 + 2;
                if (!eventually([&] { return requests >= both; }) || how == "broken off") return;
                if (!wire.try_write(answer_with("503 Service Unavailable"))) return;
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 30ms}\nretry: {max: 0, budget: 100%}\nbreaker: {consecutive: 2, open_for: 1m..1m}\n"));
    const auto is_open = [&] { return proxy.metric("sluice_breaker_state{vendor=\"v\",endpoint=\"" + vendor.authority() + "\",state=\"open\"}"); };
    CHECK(proxy.get("v.example").field("sluice-attempts") == "2");
    CHECK(requests == 2);
    CHECK(is_open() == 0);
    CHECK(proxy.get("v.example").field("sluice-attempts") == "2");
    CHECK(requests == 4);
    CHECK(is_open() == 1);   // the second in a row
}

TEST_CASE("where one of two attempts may have reached the vendor and neither was answered, no third is made as if nothing had been sent") {
    FullBacklog second;
    FakeVendor first([](Wire& wire) {
        wire.read_request();
        wire.read_all();
    });
    std::atomic<int> thirds{0};
    FakeVendor third([&](Wire& wire) { if (wire.read_request()) ++thirds; });
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(first.port()) + "\"}, {url: \"http://127.0.0.1:" +
                    std::to_string(second.port()) + "\"}, {url: \"http://127.0.0.1:" + std::to_string(third.port()) + "\"}]\n    timeout: {connect: 400ms, first_byte: 400ms}\n    retry: {max: 0}\n    hedge: {after: 50ms}\n    breaker: {enabled: false}\n");
    CHECK(proxy.get("v.example").status() == 504);
    CHECK(thirds == 0);
}

TEST_CASE("tokens of attempts beside each other stay spent where the vendor broke off: nobody knows what they cost") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            ++requests;
            eventually([&] { return requests == 2; });
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 50ms}\nretry: {max: 0}\nbreaker: {enabled: false}\nlimit: {tokens: {rate: 1000/d, burst: 1000}}\n"));
    Wire app = proxy.connected("v.example");
    app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 400}");
    CHECK(app.read_response()->reason() == "upstream_reset");
    CHECK(proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})") <= 600);
}

TEST_CASE("each of two attempts beside each other pays for its tokens: what the one that lost cost nobody knows, the other's answer says") {
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                if (requests++ == 0) {
                    wire.read_all();
                    return;
                }
                wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{\"usage\":{\"total_tokens\":9}}");
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 50ms}\nlimit: {tokens: {rate: 1000/d, burst: 1000}}\n"));
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="v",limit="limit.tokens"})"); };
    Wire app = proxy.connected("v.example");
    const auto ask = [&] {
        app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 400}");
        return app.read_response().value_or(Message{});
    };
    CHECK(ask().status() == 200);
    CHECK(eventually([&] { return left() >= 590 && left() <= 591; }));
    requests = 0;
    app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"max_tokens\": 400}");
    REQUIRE(eventually([&] { return left() <= 191; }));
    app.close();
    CHECK(eventually([&] { return proxy.metric("sluice_inflight{vendor=\"v\"}") == 0; }));
    CHECK(left() <= 191);   // which does not do for a second one beside it
    CHECK(requests == 1);
}

TEST_CASE("a body that is kept whole is sent by both attempts") {
    Seen seen;
    std::atomic<int> requests{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                seen.add(std::move(*request));
                if (requests++ == 0) {
                    wire.read_all();
                    return;
                }
                wire.write(answer_with("200 OK"));
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, eager));
    Wire app = proxy.connected("v.example");
    app.write("PUT / HTTP/1.1\r\nHost: v.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    CHECK(app.read_response()->status() == 200);
    REQUIRE(seen.size() == 2);
    for (const Message& request : seen.all()) CHECK(request.body == "hello");
}

TEST_CASE("an application that goes away ends every attempt, and seats are free again") {
    std::atomic<int> requests{0}, over{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            ++requests;
            wire.read_all();
            ++over;
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "hedge: {after: 50ms}\nlimit: {concurrency: 2}\n"));
    for (int i = 1; i <= 2; ++i) {
        {
            Wire app = proxy.connected("v.example");
            app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
            REQUIRE(eventually([&] { return requests == 2 * i; }));
        }
        CHECK(eventually([&] { return over == 2 * i; }));
    }
}

TEST_CASE("a drain ends while attempts that lost are still dialling") {
    FullBacklog full;
    FakeVendor second(always(answer_with("200 OK", "second")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    timeout: {connect: 900ms}\n    endpoints: [{url: \"http://127.0.0.1:" + std::to_string(full.port()) + "\"}, {url: \"http://127.0.0.1:" +
                        std::to_string(second.port()) + "\"}]\n    hedge: {after: 50ms}\n",
                    2);
    CHECK(proxy.get("v.example").status() == 200);
    proxy.drain();
    proxy.join();
}
