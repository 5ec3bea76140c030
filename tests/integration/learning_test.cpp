// What a limit with `learn` takes from a vendor's answers, in the forms of the vendors that people use, and from bodies that would come coded.

#include <atomic>
#include <catch2/catch.hpp>
#include <ctime>

#include "tests/support/gzip.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

std::string answer_with(const std::string& status, const std::string& fields = "", const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

// The first request gets `first`, gzipped where it asks for that, later ones "200 OK".
struct Throttler {
    std::string status, fields, first;
    Seen seen;

    FakeVendor::Serve serve() {
        return [this](Wire& wire) {
            while (auto request = wire.read_request()) {
                const bool coded = request->field("accept-encoding").find("gzip") != std::string::npos;
                seen.add(std::move(*request));
                if (seen.size() > 1)
                    wire.write(answer_with("200 OK"));
                else if (coded)
                    wire.write(answer_with(status, fields + "Content-Encoding: gzip\r\n", gzipped(first)));
                else
                    wire.write(answer_with(status, fields, first));
            }
        };
    }
};

std::string in_seconds(int from_now, const char* format) {
    const std::time_t at = std::time(nullptr) + from_now;
    std::tm parts{};
    gmtime_r(&at, &parts);
    char text[64];
    return {text, std::strftime(text, sizeof text, format, &parts)};
}

// Of a query that costs more than is left: 50 s until it is there.
const std::string shopify_throttled =
    R"({"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":500,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":0,"restoreRate":10.0}}}})";
const std::string json = "Content-Type: application/json\r\n";
const std::string learns = "limit: {learn: true}\n";

}  // namespace

TEST_CASE("what a vendor says of its limits, in its own form, holds the next request back for as long") {
    const std::string epoch = std::to_string(std::time(nullptr) + 90);
    struct Row {
        const char* vendor;
        std::string answer;
        int least, most;   // seconds
    };
    const Row rows[] = {
        {"Shopify, 200 and THROTTLED", answer_with("200 OK", json, shopify_throttled), 45, 51},
        {"Google, RESOURCE_EXHAUSTED", answer_with("429 Too Many Requests", json, R"({"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}})"), 25, 35},
        {"gRPC, in its trailers", "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 8\r\ngrpc-retry-pushback-ms: 40000\r\n\r\n", 30, 41},
        {"gRPC, trailers only", answer_with("200 OK", "Content-Type: application/grpc\r\ngrpc-status: 8\r\ngrpc-retry-pushback-ms: 40000\r\n"), 30, 41},
        {"OpenAI, the last request of two", answer_with("200 OK", json + "x-ratelimit-limit-requests: 2\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 3m20s\r\n", "{}"), 90, 101},
        {"Anthropic, the last request of two", answer_with("200 OK", json + "anthropic-ratelimit-requests-limit: 2\r\nanthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: " + in_seconds(200, "%Y-%m-%dT%H:%M:%SZ") + "\r\n", "{}"), 80, 101},
        {"Anthropic, overloaded", answer_with("529 Overloaded", json + "retry-after: 33\r\n", "{}"), 25, 34},
        {"GitHub, 403", answer_with("403 Forbidden", "X-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Resource: core\r\nX-RateLimit-Reset: " + epoch + "\r\n"), 60, 91},
        {"GitHub, a secondary limit", answer_with("403 Forbidden", "Retry-After: 60\r\n"), 50, 61},
    };
    for (const Row& row : rows) {
        CAPTURE(row.vendor);
        std::atomic<int> requests{0};
        FakeVendor vendor(
            [&](Wire& wire) {
                while (wire.read_request()) {
                    ++requests;
                    wire.write(row.answer);
                }
            },
            vendor_ca());
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, learns));
        CHECK(proxy.get("v.example").reason().empty());
        const Message refused = proxy.get("v.example");
        CHECK(refused.status() == 429);
        CHECK(refused.reason() == "rate_limited");
        const int after = std::atoi(refused.field("retry-after").c_str());
        CHECK(after >= row.least);
        CHECK(after <= row.most);
        CHECK(requests == 1);
    }
}

TEST_CASE("a vendor that could code its answers is asked not to where limits are learnt from them") {
    Throttler script{"200 OK", json, shopify_throttled, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    SECTION("by the vendor's limit") {
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, learns));
        CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").body == shopify_throttled);
        CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").reason() == "rate_limited");
        CHECK(script.seen.all()[0].field("accept-encoding") == "identity");
    }
    SECTION("by a route's") {
        TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, "routes: [{match: \"GET /dear\", limit: {rate: 1000/s, learn: true}}]\n"));
        CHECK(proxy.get("v.example", "/dear", "Accept-Encoding: gzip\r\n").body == shopify_throttled);
        CHECK(proxy.get("v.example", "/dear", "Accept-Encoding: gzip\r\n").reason() == "rate_limited");
        CHECK(proxy.get("v.example", "/cheap", "Accept-Encoding: gzip\r\n").status() == 200);
        CHECK(script.seen.all()[1].field("accept-encoding") == "gzip");
    }
}

TEST_CASE("where `scrub: deep` decodes the answers they may come coded, and limits are learnt from what was in them") {
    const std::string secret = GENERATE("a-secret-long-enough", "short");   // too short to be searched for: the limit alone reads
    INFO(secret);
    Throttler script{"200 OK", json, shopify_throttled, {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TemporaryDirectory keys;
    TestProxy proxy("credentials:\n  key: {type: bearer, value: {file: " + keys.file("key", secret) + "}}\nvendors:\n" +
                    vendor_yaml("v", "v.example", vendor, true, learns + "credential: key\nscrub: deep\n"));
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").body == shopify_throttled);
    CHECK(script.seen.all()[0].field("accept-encoding").find("gzip") != std::string::npos);
    CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").reason() == "rate_limited");
}

TEST_CASE("what `scrub: deep` decodes is learnt from where it is retried, counted where it tells of tokens, and rewritten where another vendor stands in") {
    TemporaryDirectory keys;
    const std::string credential = "credentials:\n  key: {type: bearer, value: {file: " + keys.file("key", "short") + "}}\nvendors:\n";
    const std::string deep = "credential: key\nscrub: deep\n";
    SECTION("retried") {
        Throttler script{"503 Service Unavailable", json, R"({"error":{"code":503,"status":"UNAVAILABLE","details":[{"retryDelay":"34s"}]}})", {}};
        FakeVendor vendor(script.serve(), vendor_ca());
        TestProxy proxy(credential + vendor_yaml("v", "v.example", vendor, true, learns + "retry: {backoff: 1ms..1ms}\n" + deep));
        CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").field("sluice-attempts") == "2");
        CHECK(proxy.get("v.example").reason() == "rate_limited");
    }
    SECTION("counted") {
        Throttler script{"200 OK", json, R"({"usage":{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17}})", {}};
        FakeVendor vendor(script.serve(), vendor_ca());
        TestProxy proxy(credential + vendor_yaml("v", "v.example", vendor, true, "limit: {tokens: {rate: 1000/h}}\n" + deep));
        CHECK(proxy.get("v.example", "/", "Accept-Encoding: gzip\r\n").body == script.first);
        CHECK(script.seen.all()[0].field("accept-encoding").find("gzip") != std::string::npos);
        CHECK(eventually([&] { return proxy.metric(R"(sluice_tokens_total{vendor="v",direction="completion"})") == 7; }));
    }
    SECTION("rewritten") {
        Throttler script{"200 OK", json, R"({"sum":5})", {}};
        FakeVendor down(always(answer_with("503 Service Unavailable")), vendor_ca()), vendor(script.serve(), vendor_ca());
        TestProxy proxy(credential + vendor_yaml("one", "one.example", down, true, "retry: {max: 0}\nfallback: {vendor: two, rewrite: {response: {body: {rename: {$.sum: $.amount}}}}}\n") +
                        vendor_yaml("two", "two.example", vendor, true, deep));
        CHECK(proxy.get("one.example", "/", "Accept-Encoding: gzip\r\n").body == R"({"amount":5})");
        CHECK(script.seen.all()[0].field("accept-encoding").find("gzip") != std::string::npos);
    }
}

TEST_CASE("a vendor that stands in is asked for no coding where its answers are rewritten") {
    Throttler script{"200 OK", json, R"({"sum":5})", {}};
    FakeVendor down(always(answer_with("503 Service Unavailable")), vendor_ca()), vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("one", "one.example", down, true, "retry: {max: 0}\nfallback: {vendor: two, rewrite: {response: {body: {rename: {$.sum: $.amount}}}}}\n") +
                    vendor_yaml("two", "two.example", down, true, "retry: {max: 0}\nfallback: {vendor: three}\n") + vendor_yaml("three", "three.example", vendor, true));
    CHECK(proxy.get("one.example", "/", "Accept-Encoding: gzip\r\n").body == R"({"amount":5})");
    CHECK(script.seen.all()[0].field("accept-encoding") == "identity");
}

TEST_CASE("an answer that is retried is learnt from as one that is delivered: its body too") {
    Throttler script{"503 Service Unavailable", json, R"({"error":{"code":503,"status":"UNAVAILABLE","details":[{"retryDelay":"34s"}]}})", {}};
    FakeVendor vendor(script.serve(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true, learns + "retry: {backoff: 1ms..1ms}\n"));
    CHECK(proxy.get("v.example").field("sluice-attempts") == "2");
    CHECK(proxy.get("v.example").reason() == "rate_limited");
}

TEST_CASE("a Retry-After of one endpoint holds nobody back from another, but a 429 speaks for the vendor") {
    struct Row {
        const char* answer;
        bool speaks_for_vendor;
    };
    const Row row = GENERATE(Row{"503 Service Unavailable", false}, Row{"529 Overloaded", false}, Row{"429 Too Many Requests", true});
    CAPTURE(row.answer);
    FakeVendor first(always(answer_with(row.answer, "Retry-After: 60\r\n"))), second(always(answer_with("200 OK", "", "second")));
    TestProxy proxy("vendors:\n  v:\n    hosts: [v.example]\n    addresses: [127.0.0.0/8]\n    endpoints: [{url: \"http://" + first.authority() + "\"}, {url: \"http://" + second.authority() +
                    "\"}]\n    retry: {on: [+529], budget: 100%}\n    limit: {learn: true}\n");
    if (row.speaks_for_vendor) {
        CHECK(proxy.get("v.example").status() == 429);
        CHECK(proxy.get("v.example").reason() == "rate_limited");
        return;
    }
    for (int i = 0; i < 8; ++i) CHECK(proxy.get("v.example").body == "second");   // before the first one's breaker opens, and after
}
