#include "proxy/http/ratelimit_headers.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

const WallTime now{std::chrono::seconds(1'784'188'800)};  // 2026-07-16T08:00:00Z

std::string shown(const QuotaHints& hints) {
    std::string out;
    for (const QuotaHint& hint : hints) {
        out += hint.kind == QuotaHint::Kind::tokens ? "tokens " : "requests ";
        out += hint.remaining ? std::to_string(*hint.remaining) : "?";
        out += "/" + (hint.limit ? std::to_string(*hint.limit) : "?");
        if (hint.reset_after) out += " in " + std::to_string(hint.reset_after->count() / 1'000'000) + "ms";
        out += hint.refills ? " refills; " : "; ";
    }
    return out;
}

/// "name: value" lines.
std::string read(std::string_view lines) {
    Fields fields;
    while (!lines.empty()) {
        const std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
        fields.add(line.substr(0, line.find(':')), line.substr(line.find(": ") + 2));
    }
    return shown(read_quota_hints(fields, now));
}

}  // namespace

TEST_CASE("each family of quota fields is understood") {
    struct Case {
        const char *fields, *hints;
    };
    const Case cases[] = {
        // the draft: lists, joined by their names
        {"RateLimit-Policy: \"burst\";q=100;w=60,\"daily\";q=1000;w=86400\nRateLimit: \"burst\";r=50;t=30, "
         "\"daily\";r=7;t=3600",
         "requests 50/100 in 30000ms; requests 7/1000 in 3600000ms; "},
        {"RateLimit: \"default\";r=50;t=30", "requests 50/? in 30000ms; "},
        {"RateLimit: \"default\";r=50\nRateLimit-Policy: \"default\";q=100;w=60", "requests 50/100 in 60000ms; "},
        {"ratelimit: default;r=0;t=5", "requests 0/? in 5000ms; "},
        {"RateLimit: \"a\";r=1;t=1\nRateLimit: \"b\";r=2;t=2", "requests 1/? in 1000ms; requests 2/? in 2000ms; "},
        {"RateLimit: \"a\\\"b\";r=5;t=1\nRateLimit-Policy: \"a\\\"b\";q=9", "requests 5/9 in 1000ms; "},
        {"RateLimit: \"x\";r=5;t=1\nRateLimit-Policy: \"x\";q=9;qu=\"tokens\"", "tokens 5/9 in 1000ms; "},
        {"RateLimit: \"x\";r=5;t=1\nRateLimit-Policy: \"x\";q=9;qu=\"concurrent-requests\"", ""},
        {"RateLimit: \"x\";r=5;t=1;pk=:cHsdsRa894==:", "requests 5/? in 1000ms; "},
        // ... as it was before
        {"RateLimit: limit=100, remaining=50, reset=5\nRateLimit-Policy: 100;w=10", "requests 50/100 in 5000ms; "},
        {"RateLimit-Limit: 100, 100;w=60\nRateLimit-Remaining: 12\nRateLimit-Reset: 7", "requests 12/100 in 7000ms; "},
        // GitHub
        {"X-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1784188860\nX-RateLimit-Used: 5000\n"
         "X-RateLimit-Resource: core",
         "requests 0/5000 in 60000ms; "},
        {"x-rate-limit-limit: 15\nx-rate-limit-remaining: 14\nx-rate-limit-reset: 1784189700",
         "requests 14/15 in 900000ms; "},
        {"X-RateLimit-Remaining: 3\nX-RateLimit-Reset: 1784188801000", "requests 3/? in 1000ms; "},
        // OpenAI
        {"x-ratelimit-limit-requests: 60\nx-ratelimit-limit-tokens: 150000\nx-ratelimit-remaining-requests: 59\n"
         "x-ratelimit-remaining-tokens: 149984\nx-ratelimit-reset-requests: 1s\nx-ratelimit-reset-tokens: 6m0s",
         "requests 59/60 in 1000ms refills; tokens 149984/150000 in 360000ms refills; "},
        // Anthropic
        {"anthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 49\n"
         "anthropic-ratelimit-requests-reset: 2026-07-16T08:00:01Z\nanthropic-ratelimit-input-tokens-limit: 40000\n"
         "anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2026-07-16T08:01:00Z",
         "requests 49/50 in 1000ms refills; tokens 0/40000 in 60000ms refills; "},
        // Shopify
        {"X-Shopify-Shop-Api-Call-Limit: 32/40", "requests 8/40 in 16000ms refills; "},
        {"X-Shopify-Shop-Api-Call-Limit: 41/40", "requests 0/40 in 20000ms refills; "},
        // nothing
        {"Content-Type: text/plain\nX-Request-Id: abc\nAccept-Ranges: bytes", ""},
        {"X-RateLimit-Limit: 5000", ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.fields);
        CHECK(read(c.fields) == c.hints);
    }
}

TEST_CASE("malformed quota fields are ignored, the others hold") {
    for (const char* fields :
         {"RateLimit: ", "RateLimit: \"a", "RateLimit: \"a\";r", "RateLimit: \"a\";r=", "RateLimit: \"a\";r=-5;t=1",
          "RateLimit: \"a\";r=1;t=1,", "RateLimit: \"a\";r=1 \"b\"", "RateLimit: ;r=1", "RateLimit: \"a\\",
          "RateLimit: \"a\";r=99999999999999999999999", "X-RateLimit-Remaining: many", "X-RateLimit-Remaining: -1",
          "X-RateLimit-Remaining-Bananas: 4", "X-Shopify-Shop-Api-Call-Limit: 3", "X-Shopify-Shop-Api-Call-Limit: 3/0",
          "X-Shopify-Shop-Api-Call-Limit: a/b", "anthropic-ratelimit-: 3"}) {
        CAPTURE(fields);
        CHECK(read(fields) == "");
        CHECK(read(std::string(fields) + "\nX-Rate-Limit-Remaining: 5") == "requests 5/?; ");
    }
    CHECK(read("X-RateLimit-Remaining: 5\nX-RateLimit-Reset: whenever\nX-RateLimit-Limit: all") == "requests 5/?; ");
}

TEST_CASE("what is read of quota fields is bounded") {
    std::string many = "RateLimit: \"a\";r=1;t=1";
    for (int i = 0; i < 100; ++i) many += ", \"a" + std::to_string(i) + "\";r=1;t=1";
    Fields fields;
    fields.add("RateLimit", many.substr(many.find(' ') + 1).substr(0, 1000));
    CHECK(read_quota_hints(fields, now).size() <= QuotaHints::most);
    Fields huge;
    huge.add("RateLimit", std::string(5000, '"'));
    huge.add("X-RateLimit-Remaining", "9999999999999999999");
    CHECK(shown(read_quota_hints(huge, now)) == "requests 1000000000000000/?; ");
}

TEST_CASE("our own quota fields are what the draft says") {
    const auto policy = [](const QuotaView& quota) {
        std::string out;
        append_ratelimit_policy(out, quota);
        return out;
    };
    const auto current = [](const QuotaView& quota) {
        std::string out;
        append_ratelimit(out, quota);
        return out;
    };
    const QuotaView calls{"calls", "", 100, 60s, "", 50, 29001ms}, seats{"sea\"ts\n", "-most", 64, 0s, "concurrent-requests", 3, 0s};
    const QuotaView tokens{"calls", "-tokens", 9000, 60s, "tokens", 100, 5s};
    CHECK(policy(calls) == R"("calls";q=100;w=60)");
    CHECK(current(calls) == R"("calls";r=50;t=30)");
    CHECK(policy(seats) == R"("sea\"ts?-most";q=64;qu="concurrent-requests")");
    CHECK(current(seats) == R"("sea\"ts?-most";r=3)");
    CHECK(read("RateLimit-Policy: " + policy(calls) + "\nRateLimit: " + current(calls)) ==
          "requests 50/100 in 30000ms; ");
    CHECK(policy(tokens) == R"("calls-tokens";q=9000;qu="tokens";w=60)");
    CHECK(read("RateLimit-Policy: " + policy(calls) + ", " + policy(tokens) + ", " + policy(seats) +
               "\nRateLimit: " + current(calls) + ", " + current(tokens) + ", " + current(seats)) ==
          "requests 50/100 in 30000ms; tokens 100/9000 in 5000ms; ");
}
