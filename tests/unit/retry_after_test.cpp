#include "proxy/http/retry_after.hpp"

#include <catch2/catch.hpp>

#include "proxy/http/date.hpp"

using namespace sluice;

namespace {

const WallTime now{std::chrono::seconds(1'784'188'800)};  // 2026-07-16T08:00:00Z

Fields fields_of(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
    Fields fields;
    for (const auto& [name, value] : list) fields.add(name, value);
    return fields;
}

std::int64_t epoch(std::optional<WallTime> time) {
    return time ? std::chrono::floor<std::chrono::seconds>(*time).time_since_epoch().count() : -1;
}

}  // namespace

TEST_CASE("the three forms of an HTTP date are one time") {
    for (const char* text :
         {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"}) {
        CAPTURE(text);
        CHECK(epoch(parse_http_date(text, now)) == 784111777);
    }
    CHECK(epoch(parse_http_date("Wed Nov 16 08:49:37 1994", now)) == 784111777 + 10 * 86400);
    CHECK(epoch(parse_http_date("Friday, 01-Jan-76 00:00:00 GMT", now)) ==
          3345062400);  // 2076: not more than 50 years ahead
    CHECK(epoch(parse_http_date("Friday, 01-Jan-77 00:00:00 GMT", now)) == 220924800);  // 1977
}

TEST_CASE("what is no HTTP date is none") {
    for (const char* text :
         {"", "Sun", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT",
          "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
          "Sun, 06 Nov 9999 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun Nov 06 08:49:37 94",
          "Sunday, 06-Nov-1994 08:49:37 GMT", "1994-11-06T08:49:37Z"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_http_date(text, now));
    }
}

TEST_CASE("RFC 3339 knows offsets and fractions") {
    CHECK(epoch(parse_rfc3339("2026-07-16T08:00:00Z")) == 1'784'188'800);
    CHECK(epoch(parse_rfc3339("2026-07-16t10:00:00.5+02:00")) == 1'784'188'800);
    CHECK(epoch(parse_rfc3339("2026-07-16 06:30:00-01:30")) == 1'784'188'800);
    CHECK(*parse_rfc3339("2026-07-16T08:00:00.25Z") - now == 250ms);
    CHECK(*parse_rfc3339("2026-07-16T08:00:00.1234567891234Z") - now == 123456789ns);
    for (const char* text :
         {"", "2026-07-16", "2026-07-16T08:00:00", "2026-13-16T08:00:00Z", "2026-07-16T08:00:00.Z",
          "2026-07-16T08:00:00+0200", "2026-07-16T08:00:00+24:00", "2026-07-16T08:00:00Zx", "26-07-16T08:00:00Z"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_rfc3339(text));
    }
}

TEST_CASE("Retry-After is seconds or a date, and milliseconds go before it") {
    struct Case {
        const char* value;
        std::optional<Duration> wait;
    };
    for (const Case& c : {Case{"120", 120s},
                          {" 0 ", 0s},
                          {"1.5", 1500ms},
                          {"Thu, 16 Jul 2026 08:00:30 GMT", 30s},
                          {"Thu, 16 Jul 2026 07:00:00 GMT", 0s},
                          {"1784188810", 10s},
                          {"99999999", 24h},
                          {"-5", {}},
                          {"soon", {}},
                          {"", {}},
                          {"1e3", {}},
                          {"12 s", {}},
                          {"1.", {}},
                          {".5", {}},
                          {"999999999999999999999999999999999999", {}}}) {
        CAPTURE(c.value);
        CHECK(parse_retry_after(c.value, now) == c.wait);
    }
    CHECK(read_retry_after(fields_of({{"Retry-After", "2"}, {"retry-after-ms", "1250"}}), now) == Duration(1250ms));
    CHECK(read_retry_after(fields_of({{"Retry-After", "2"}, {"retry-after-ms", "x"}}), now) == Duration(2s));
    CHECK_FALSE(read_retry_after(fields_of({{"Retry", "2"}}), now));
}

TEST_CASE("resets come in every form there is") {
    struct Case {
        const char* value;
        std::optional<Duration> wait;
    };
    for (const Case& c : {Case{"6m0s", 6min},
                          {"12ms", 12ms},
                          {"1.5s", 1500ms},
                          {"1h2m3s", 3723s},
                          {"1m26.4s", 86400ms},
                          {"500us", 500us},
                          {"\xC2\xB5s", {}},
                          {"20\xC2\xB5s", 20us},
                          {"34s", 34s},
                          {"60", 60s},
                          {"0", 0s},
                          {"1784188860", 1min},
                          {"1784188860000", 1min},
                          {"1784188860.5", 60500ms},
                          {"1784188000", 0s},
                          {"2026-07-16T08:01:00Z", 1min},
                          {"2026-07-16T07:01:00Z", 0s},
                          {"Thu, 16 Jul 2026 08:00:30 GMT", 30s},
                          {"48h", 24h},
                          {"1s1m", {}},
                          {"5 s", {}},
                          {"s", {}},
                          {"5x", {}},
                          {"", {}},
                          {"5s5", {}}}) {
        CAPTURE(c.value);
        const auto wait = parse_reset(c.value, now);
        REQUIRE(wait.has_value() == c.wait.has_value());
        if (wait) CHECK(std::chrono::abs(*wait - *c.wait) < 1us);  // of binary fractions
    }
}

TEST_CASE("vendors say whether to try again") {
    CHECK(read_should_retry(fields_of({{"x-should-retry", "true"}})) == true);
    CHECK(read_should_retry(fields_of({{"Stripe-Should-Retry", "False"}})) == false);
    CHECK(read_should_retry(fields_of({{"x-should-retry", "perhaps"}, {"stripe-should-retry", "true"}})) == true);
    CHECK_FALSE(read_should_retry(fields_of({{"x-should-retry", "1"}})));
}

TEST_CASE("our own Retry-After is whole seconds, never too early") {
    CHECK(format_retry_after(0s) == "1");
    CHECK(format_retry_after(-5s) == "1");
    CHECK(format_retry_after(1s) == "1");
    CHECK(format_retry_after(1001ms) == "2");
    CHECK(format_retry_after(1h) == "3600");
}

TEST_CASE("a RetryInfo is found among the details of a gRPC status") {
    struct Case {
        std::string_view what, base64;
        std::optional<Duration> delay;
    };
    const Case cases[] = {
        {"2.5 s behind an ErrorInfo",
         "CAgSCXNsb3cgZG93bhpRCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEiUKE1JBVEVfTElNSVRfRVhDRUVERUQSDm"
         "dvb2dsZWFwaXMuY29tGjYKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCgoICAIQgMq17gE=",
         2500ms},
        {"without padding, in white space",
         " CAgSCXNsb3cgZG93bhpRCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEiUKE1JBVEVfTElNSVRfRVhDRUVERUQSD"
         "mdvb2dsZWFwaXMuY29tGjYKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCgoICAIQgMq17gE ",
         2500ms},
        {"40 ms behind fields of fixed size", "DTEyMzQJMSAyMzQ1NjcaMwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIHCgUQgLSJEw==",
         40ms},
        {"a delay of nothing", "CAgSCXNsb3cgZG93bhouCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgIKAA==", 0ms},
        {"2^62 s", "CAgSCXNsb3cgZG93bho4Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgwKCgiAgICAgICAgEA=",
         most_retry_after},
        {"below 0", "CAgSCXNsb3cgZG93bho5Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEg0KCwj///////////8B", {}},
        {"no delay", "CAgSCXNsb3cgZG93bhosCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgA=", {}},
        {"no RetryInfo",
         "CAgSCXNsb3cgZG93bhpRCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEiUKE1JBVEVfTElNSVRfRVhDRUVERUQSDm"
         "dvb2dsZWFwaXMuY29t",
         {}},
        {"cut", "DTEyMzQJMSAyMzQ1NjcaMwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIHCgUQ", {}},
        {"a length beyond the end", "Gv//////////fw", {}},
        {"no base64", "CAgS*", {}},
        {"", "", {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.what);
        CHECK(parse_retry_info(one.base64) == one.delay);
    }
}
