#include "proxy/policy/throttle.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace sluice;

namespace {

const WallTime now{std::chrono::seconds(1'784'188'800)};  // 2026-07-16T08:00:00Z

struct Answer {
    unsigned status;
    std::string fields;
    const char* body;
    bool limited = false;
    std::optional<Duration> retry_after = {};
};

Fields fields_of(std::string_view lines) {
    Fields fields;
    while (!lines.empty()) {
        const std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
        fields.add(line.substr(0, line.find(':')), line.substr(line.find(": ") + 2));
    }
    return fields;
}

VendorSignal read(const Answer& answer, std::size_t piece = 100'000) {
    ThrottleReader reader;
    reader.start(answer.status, fields_of(answer.fields), now);
    const std::string_view body = answer.body;
    for (std::size_t at = 0; at < body.size() && reader.wants_body(); at += piece) reader.read(body.substr(at, piece));
    return reader.signal();
}

/// Of 40 ms.
const std::string retry_info =
    "DTEyMzQJMSAyMzQ1NjcaMwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIHCgUQgLSJEw";
constexpr const char* json = "Content-Type: application/json; charset=utf-8";

}  // namespace

TEST_CASE("an answer says too fast in many ways") {
    const Answer answers[] = {
        {200, json, R"({"id":1})", false},
        {200, "", "", false},
        {429, "", "", true},
        {429, "Retry-After: 7", "", true, 7s},
        {429, "Retry-After: Thu, 16 Jul 2026 08:00:30 GMT", "", true, 30s},
        {503, "Retry-After: 20", "", false, 20s},
        {529, "retry-after-ms: 1500", "", false, 1500ms},
        {529, json, R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})", false},
        {301, "Retry-After: 20", "", false},
        {200, "Retry-After: 20", "", false},
        // GitHub
        {403, "", "", false},
        {403, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1784188860", "", true},
        {403, "X-RateLimit-Remaining: 9\nX-RateLimit-Reset: 1784188860", "", false},
        {403, "Retry-After: 60", "", true, 60s},
        // AWS
        {400, "x-amzn-ErrorType: ThrottlingException:http://internal.amazon.com/coral/", "", true},
        {400, "x-amzn-ErrorType: ValidationException", "", false},
        {200, "x-amzn-ErrorType: ThrottlingException", "", false},
        {400, "Content-Type: application/x-amz-json-1.0",
         R"({"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"m"})", true},
        {400, "Content-Type: application/x-amz-json-1.1", R"({"message":"m","__type":"TooManyRequestsException"})",
         true},
        {400, json, R"({"code":"RequestLimitExceeded"})", true},
        {400, json, R"({"Error":{"Code":"Throttling"}})", true},
        {400, json, R"({"Error":{"Code":"AccessDenied"},"code":"x"})", false},
        {503, "Content-Type: application/xml",
         "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request "
         "rate.</Message></Error>",
         true},
        {503, "Content-Type: text/xml", "<Error><<Code><Code>InternalError</Code><Code>SlowDown</Code></Error>", false},
        {200, "Content-Type: application/xml", "<Error><Code>SlowDown</Code></Error>", false},
        {503, "Content-Type: application/xml\nContent-Encoding: gzip", "<Code>SlowDown</Code>", false},
        // Google
        {429, json,
         R"({"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}})",
         true, 34s},
        {400, json, R"([{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"1.5s"}]}}])", true, 1500ms},
        {429, "Content-Type: application/json\nRetry-After: 3", R"({"error":{"details":[{"retryDelay":"34s"}]}})", true,
         3s},
        {403, json, R"({"error":{"status":"PERMISSION_DENIED"}})", false},
        {429, json, R"({"error":{"details":[{"retryDelay":"forever"},{"retryDelay":"-4s"},{"retryDelay":"s"}]}})",
         true},
        // Shopify
        {200, json, R"({"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}]})", true},
        {200, json,
         R"({"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":500,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":300,"restoreRate":50.0}}}})",
         true, 4s},
        {200, json, R"({"errors":[{"message":"THROTTLED","extensions":{"code":"OTHER"}}]})", false},
        {200, json, R"({"data":{"errors":[{"extensions":{"code":"THROTTLED"}}]}})", false},
        // gRPC
        {200, "Content-Type: application/grpc\ngrpc-status: 8\ngrpc-retry-pushback-ms: 250", "", true, 250ms},
        {200, "grpc-status: 14\ngrpc-retry-pushback-ms: -1", "", false},
        {200, "grpc-status: 14\ngrpc-retry-pushback-ms: 99999999999999", "", false, 24h},
        {200, "grpc-status: 0\ngrpc-retry-pushback-ms: 250", "", false},
        {200, "grpc-status: 8\ngrpc-status-details-bin: " + retry_info, "", true, 40ms},
        {200, "grpc-status: 14\ngrpc-status-details-bin: " + retry_info, "", false, 40ms},
        {200, "grpc-status: 8\ngrpc-retry-pushback-ms: 250\ngrpc-status-details-bin: " + retry_info, "", true, 250ms},
        {200, "grpc-status: 8\ngrpc-status-details-bin: AAAA", "", true},
        {200, "grpc-status: 0\ngrpc-status-details-bin: " + retry_info, "", false},
    };
    for (const Answer& answer : answers) {
        for (const std::size_t piece : {1, 3, 16, 100'000}) {
            CAPTURE(answer.status, answer.fields, answer.body, piece);
            const VendorSignal signal = read(answer, piece);
            CHECK(signal.limited == answer.limited);
            CHECK(signal.retry_after == answer.retry_after);
            CHECK(signal.overloaded == (answer.status == 529));
        }
    }
}

TEST_CASE("gRPC says it in its trailers") {
    ThrottleReader reader;
    reader.start(200, fields_of("Content-Type: application/grpc"), now);
    CHECK_FALSE(reader.wants_body());
    reader.read_trailers(fields_of("grpc-status: 8\ngrpc-message: slow down\ngrpc-retry-pushback-ms: 1000"));
    CHECK(reader.signal().limited);
    CHECK(reader.signal().retry_after == Duration(1s));
    reader.start(200, {}, now);
    CHECK_FALSE(reader.signal().limited);
    CHECK_FALSE(reader.signal().retry_after);
}

TEST_CASE("Shopify's points are told in calls, before it throttles") {
    const VendorSignal signal = read(
        {200, json,
         R"({"data":{"shop":{"name":"x"}},"extensions":{"cost":{"requestedQueryCost":10,"actualQueryCost":8,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":100,"restoreRate":50.0}}}})"});
    CHECK_FALSE(signal.limited);
    REQUIRE(signal.quotas.size() == 1);
    CHECK(signal.quotas[0] == QuotaHint{QuotaHint::Kind::requests, true, 100, 10, 18s});
}

TEST_CASE("most bodies are let go after a few bytes, and none is read beyond 64 KiB") {
    ThrottleReader reader;
    reader.start(200, fields_of(json), now);
    CHECK(reader.wants_body());
    reader.read(R"({"id": "chatcmpl-1", )");
    CHECK_FALSE(reader.wants_body());

    reader.start(200, fields_of("Content-Type: text/event-stream"), now);
    CHECK_FALSE(reader.wants_body());
    reader.start(200, fields_of("Content-Type: application/json\nContent-Encoding: br"), now);
    CHECK_FALSE(reader.wants_body());

    reader.start(500, fields_of(json), now);
    const std::string blanks(10'000, ' ');
    std::size_t read = 0;
    while (reader.wants_body()) {
        reader.read(blanks);
        read += blanks.size();
    }
    CHECK(read <= ThrottleReader::most_body + blanks.size());
    reader.read(R"({"code":"Throttling"})");
    CHECK_FALSE(reader.signal().limited);
}

TEST_CASE("whose quotas they are is told apart, where the vendor says so") {
    const auto resource_of = [](const char* fields) { return read({200, fields, ""}).resource; };
    CHECK(resource_of("x-ratelimit-remaining: 5") == 0);
    CHECK(resource_of("x-ratelimit-resource: core") != 0);
    CHECK(resource_of("x-ratelimit-resource: core") == resource_of("X-RateLimit-Resource: core"));
    CHECK(resource_of("x-ratelimit-resource: core") != resource_of("x-ratelimit-resource: search"));
}

TEST_CASE("a Retry-After speaks for the vendor only where it refused somebody for its rate") {
    struct Row {
        Answer answer;
        std::optional<Duration> of_vendor;
    };
    const Row rows[] = {
        {{429, "Retry-After: 7", ""}, 7s},
        {{403, "Retry-After: 60", ""}, 60s},
        {{503, "Retry-After: 20", ""}, {}},
        {{529, "Retry-After: 20", ""}, {}},
        {{503, "Retry-After: 20\nContent-Type: text/xml", "<Error><Code>SlowDown</Code></Error>"}, 20s},
        {{200, "grpc-status: 14\ngrpc-retry-pushback-ms: 5000", ""}, {}},
        {{200, "grpc-status: 8\ngrpc-retry-pushback-ms: 5000", ""}, 5s},
    };
    for (const Row& row : rows) {
        CAPTURE(row.answer.status, row.answer.fields);
        const VendorSignal told = read(row.answer);
        CHECK(told.retry_after);
        CHECK(told.of_vendor().retry_after == row.of_vendor);
        CHECK(told.of_vendor().limited == told.limited);
    }
    const VendorSignal quota = read({503, "Retry-After: 20\nx-ratelimit-remaining-requests: 3\nx-ratelimit-reset-requests: 9s", ""});
    CHECK(!quota.quotas.empty());
    CHECK(quota.of_vendor().quotas.begin()->remaining == 3u);   // what it says of its quotas it says of all
}
