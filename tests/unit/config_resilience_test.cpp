#include <boost/json.hpp>

#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;

namespace {

std::shared_ptr<const Config> sound(const std::string& text, const PolicyWorld& world = {}) {
    const Decoded decoded = world.decode("version: 1\n" + text);
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    return decoded.config;
}

/// Of a policy with one vendor, what stands in its map.
Vendor vendor(const std::string& text, const std::string& top = "") {
    return sound(top + "vendors: {a: {hosts: [a.example], " + text + "}}\n")->vendors.at(0);
}

std::vector<std::string> names(const std::vector<LimitSpec>& limits) {
    std::vector<std::string> list;
    for (const LimitSpec& limit : limits) list.push_back(limit.name);
    return list;
}

}  // namespace

TEST_CASE("what the policy does not say of resilience is built in") {
    const Vendor plain = vendor("owner: x");
    CHECK(plain.retry == RetrySpec{});
    CHECK(plain.retry.max == 2);
    CHECK(plain.breaker == BreakerSpec{});
    CHECK(plain.idempotency == IdempotencySpec{});
    CHECK(plain.limits == std::vector<LimitSpec>{{.name = "limit", .seats = SeatSpec{1024, 0}}});
    CHECK_FALSE(plain.fallback);
    CHECK_FALSE(plain.chaos.enabled);
}

TEST_CASE("retries are inherited key by key, from the defaults to the vendor to the route") {
    const Vendor a = vendor(
        "retry: {max: 4, backoff: 1s..3s}, hedge: {after: 500ms}, idempotency: {header: X-Once, generate: [POST, "
        "PATCH]}, "
        "routes: [{match: GET /, retry: {max: 0, buffer: 1MiB}, hedge: {max: 2}, idempotency: {generate: []}}, "
        "{match: POST /, hedge: {max: 0}}]",
        "defaults: {retry: {max: 1, budget: 10%, on: [tls, 5xx]}}\n");
    CHECK(a.retry.max == 4);
    CHECK(a.retry.budget == Approx(0.1));
    CHECK(a.retry.backoff_min == 1s);
    CHECK(a.retry.backoff_max == 3s);
    CHECK(a.retry.on == RetryOn{false, true, false, false, true, {}});
    REQUIRE(a.retry.hedge);
    CHECK(*a.retry.hedge == HedgeSpec{500ms, 0, 1});
    const Route& route = a.routes.at(0);
    CHECK(route.retry.max == 0);
    CHECK(route.retry.buffer == 1024 * 1024);
    CHECK(route.retry.budget == Approx(0.1));
    CHECK(*route.retry.hedge == HedgeSpec{500ms, 0, 2});
    CHECK(route.idempotency == IdempotencySpec{"X-Once", {}});
    CHECK_FALSE(a.routes.at(1).retry.hedge);
    CHECK(a.routes.at(1).idempotency.generate == std::vector<std::string>{"POST", "PATCH"});
}

TEST_CASE("words with a sign change what is inherited, words without stand in its place") {
    const std::pair<const char*, RetryOn> table[] = {
        {"[+429, +529]", {true, false, true, false, false, {429, 502, 503, 504, 529}}},
        {"['+429', \"-502\"]", {true, false, true, false, false, {429, 503, 504}}},
        {"[-connect, +timeout, -504]", {false, false, true, true, false, {502, 503}}},
        {"[502]", {false, false, false, false, false, {502}}},
        {"[504, '502', 502, connect]", {true, false, false, false, false, {502, 504}}},
        {"[-5xx, +502]", {true, false, true, false, false, {502}}},
        {"[+503, -5xx]", {true, false, true, false, false, {503}}},
        {"[]", {false, false, false, false, false, {}}},
    };
    for (const auto& [on, expected] : table) {
        INFO(on);
        CHECK(vendor(std::string("retry: {on: ") + on + "}").retry.on == expected);
    }
    const RetryOn most = vendor("retry: {on: [-503]}", "defaults: {retry: {on: [5xx]}}\n").retry.on;
    CHECK_FALSE(most.server_errors);
    CHECK(most.statuses.size() == 99);
    const Vendor a = vendor("retry: {on: [+429]}, routes: [{match: GET /, retry: {on: [-429, +tls]}}]",
                            "defaults: {retry: {on: [reset, 503]}}\n");
    CHECK(a.retry.on == RetryOn{false, false, true, false, false, {429, 503}});
    CHECK(a.routes.at(0).retry.on == RetryOn{false, true, true, false, false, {503}});
}

TEST_CASE("a hedge goes by a percentile where no time is written") {
    CHECK(*vendor("hedge: {}").retry.hedge == HedgeSpec{{}, 0.95, 1});
    CHECK(vendor("hedge: {after: p99.9}").retry.hedge->quantile == Approx(0.999));
    CHECK_FALSE(vendor("hedge: {max: 0}").retry.hedge);
}

TEST_CASE("a breaker is inherited key by key") {
    const Vendor a = vendor("breaker: {consecutive: 3, open_for: 1s..2s, enabled: false}",
                            "defaults: {breaker: {consecutive: 9, failure_rate: 12.5%, slow_after: 2s}}\n");
    CHECK(a.breaker.consecutive == 3);
    CHECK(a.breaker.failure_rate == Approx(0.125));
    CHECK(a.breaker.slow_after == 2s);
    CHECK(a.breaker.open_min == 1s);
    CHECK(a.breaker.open_max == 2s);
    CHECK_FALSE(a.breaker.enabled);
    CHECK(a.breaker.probes == 2);
}

TEST_CASE("rates have units, and a burst of a second unless one is written") {
    struct Row {
        const char* text;
        Rate rate;
        std::uint64_t burst;
    };
    const Row table[] = {
        {"rate: 100/s", {100, 1s}, 100},
        {"rate: 500/m", {500, 1min}, 8},
        {"rate: 10k/h", {10'000, 1h}, 2},
        {"rate: 5/d", {5, 24h}, 1},
        {"rate: 2M/d", {2'000'000, 24h}, 23},
        {"rate: 100/s, burst: 50", {100, 1s}, 50},
        {"rate: 1k/s, burst: 2k", {1000, 1s}, 2000},
    };
    for (const Row& row : table) {
        INFO(row.text);
        const Vendor a = vendor(std::string("limit: {") + row.text + "}");
        REQUIRE(a.limits.size() == 1);
        CHECK(a.limits[0].rate == RateSpec{row.rate, row.burst});
        CHECK(a.limits[0].seats == SeatSpec{1024, 0});
    }
    const Vendor tokens = vendor("limit: {tokens: {rate: 200k/m, estimate: body, settle: usage}, learn: true}");
    CHECK(tokens.limits.at(0).tokens == TokenSpec{{{200'000, 1min}, 200'000}});
    CHECK(tokens.limits.at(0).learn);
    CHECK(vendor("limit: {tokens: {rate: 1k/m, burst: 5}}").limits.at(0).tokens == TokenSpec{{{1000, 1min}, 5}});
}

TEST_CASE("concurrency is a number, or found between two bounds") {
    CHECK(vendor("limit: {concurrency: 64}").limits.at(0).seats == SeatSpec{64, 0});
    CHECK(vendor("limit: {concurrency: adaptive}").limits.at(0).seats == SeatSpec{1024, 4});
    CHECK(vendor("limit: {concurrency: {min: 8, max: 200}}").limits.at(0).seats == SeatSpec{200, 8});
    CHECK(vendor("limit: {concurrency: {max: 2}}").limits.at(0).seats == SeatSpec{2, 2});
    CHECK(vendor("limit: {concurrency: {min: 5000}}").limits.at(0).seats == SeatSpec{5000, 5000});
}

TEST_CASE("one map of a limit is written over the defaults', key by key") {
    const std::string top =
        "defaults: {limit: {rate: 10/s, burst: 3, concurrency: 7, when_full: {wait: 1s, priority: header P}}}\n";
    const Vendor a = vendor("limit: {concurrency: 9, when_full: {wait: 2s}}", top);
    REQUIRE(a.limits.size() == 1);
    CHECK(a.limits[0] == LimitSpec{.name = "limit",
                                   .rate = RateSpec{{10, 1s}, 3},
                                   .seats = SeatSpec{9, 0},
                                   .wait = 2s,
                                   .priority_header = "P"});
    CHECK(vendor("limit: {burst: 9}", top).limits.at(0).rate == RateSpec{{10, 1s}, 9});
    // A burst belongs to its rate.
    CHECK(vendor("limit: {rate: 20/s}", top).limits.at(0).rate == RateSpec{{20, 1s}, 20});
}

TEST_CASE("in a list each limit stands for itself, and what the defaults limit stays") {
    const Vendor a = vendor("limit: [{rate: 5/s}, {name: tenants, per: header X-T, concurrency: 2}]");
    REQUIRE(a.limits.size() == 3);
    CHECK(names(a.limits) == std::vector<std::string>{"limit", "tenants", "default"});
    CHECK_FALSE(a.limits[0].seats);
    CHECK(a.limits[1].per_header == "X-T");
    CHECK(a.limits[2] == LimitSpec{.name = "default", .seats = SeatSpec{1024, 0}});
    CHECK(vendor("limit: [{rate: 5/s}, {concurrency: 2}]").limits.size() == 2);
    // A map with `per` would otherwise leave the vendor as a whole without a bound.
    const Vendor per = vendor("limit: {per: header X-T, rate: 5/s}");
    REQUIRE(per.limits.size() == 2);
    CHECK_FALSE(per.limits[0].seats);
    CHECK(per.limits[1].seats == SeatSpec{1024, 0});
    const std::string top = "defaults: {limit: {rate: 9/s, concurrency: 7}}\n";
    const Vendor rest = vendor("limit: [{rate: 5/s}]", top);
    REQUIRE(rest.limits.size() == 2);
    CHECK_FALSE(rest.limits[1].rate);
    CHECK(rest.limits[1].seats == SeatSpec{7, 0});
}

TEST_CASE("a route's limits inherit nothing, and all names of a vendor differ") {
    const Vendor a = vendor(
        "limit: [{rate: 1/s}, {rate: 2/s}], routes: [{match: GET /, limit: {rate: 3/s}}, {match: POST /, limit: "
        "[{name: "
        "limit, concurrency: 3}, {rate: 4/s}]}, {match: PUT /}]");
    CHECK(names(a.limits) == std::vector<std::string>{"limit2", "limit3", "default"});
    CHECK(names(a.routes[0].limits) == std::vector<std::string>{"limit4"});
    CHECK(names(a.routes[1].limits) == std::vector<std::string>{"limit", "limit5"});
    CHECK_FALSE(a.routes[0].limits[0].seats);
    CHECK(a.routes[2].limits.empty());
    const Vendor inherited =
        vendor("routes: [{match: GET /, limit: {name: all, rate: 3/s}}]", "defaults: {limit: {name: all}}\n");
    CHECK(names(inherited.limits) == std::vector<std::string>{"all2"});
    CHECK(names(inherited.routes[0].limits) == std::vector<std::string>{"all"});
}

TEST_CASE("a fallback names a vendor of any place, and carries its edits in their order") {
    PolicyWorld world;
    world.variables = {{"REGION", "eu"}};
    const auto config = sound(R"(vendors:
  a:
    hosts: [a.example]
    fallback:
      vendor: b
      rewrite:
        path: {"/v1/charges": /api/charges, /v1/**: /api/v1/**}
        request:
          headers: {rename: {X-Old: X-New}, set: {X-Region: "${REGION}"}, drop: [X-Debug, X-Trace]}
          body:
            rename: {$.amount: $.value.cents}
            set: {$.version: +2, $.ratio: .5, $.big: 12345678901234567890, $.list: [a, true, null, {"k\n": ~}], $.text: "7"}
            drop: [$.card.cvc]
            wrap: data
        response: {headers: {set: {X-From: b}}, body: {drop: [$.debug]}}
  b: {hosts: [b.example]}
)",
                              world);
    const Vendor& a = config->vendors.at(0);
    REQUIRE(a.fallback);
    CHECK(a.fallback->vendor == 1);
    const RewriteSpec& rewrite = a.fallback->rewrite;
    CHECK(rewrite.path == std::vector<PathEdit>{{"/v1/charges", "/api/charges"}, {"/v1/**", "/api/v1/**"}});
    CHECK(rewrite.request_headers == HeaderEdits{{{"X-Old", "X-New"}}, {{"X-Region", "eu"}}, {"X-Debug", "X-Trace"}});
    CHECK(rewrite.request_body.rename == std::vector<std::pair<JsonPath, JsonPath>>{{{"amount"}, {"value", "cents"}}});
    CHECK(rewrite.request_body.set ==
          std::vector<std::pair<JsonPath, std::string>>{{{"version"}, "2"},
                                                        {{"ratio"}, "0.5"},
                                                        {{"big"}, "12345678901234567890"},
                                                        {{"list"}, R"(["a",true,null,{"k\n":null}])"},
                                                        {{"text"}, "\"7\""}});
    CHECK(rewrite.request_body.drop == std::vector<JsonPath>{{"card", "cvc"}});
    CHECK(rewrite.request_body.wrap == "data");
    CHECK(rewrite.response_headers.set.size() == 1);
    CHECK(rewrite.response_body.drop == std::vector<JsonPath>{{"debug"}});
}

TEST_CASE("chaos is off until it is switched on, and keeps each fault as it was written") {
    PolicyWorld world;
    const std::string text = R"(vendors:
  a:
    hosts: [a.example]
    routes: [{name: charges, match: POST /charges}]
    chaos:
      enabled: "${CHAOS:-false}"
      seed: 7
      abort_above: 25%
      inject:
        - {fault: status 429, rate: 2%, first: 3, route: charges, header: "X-Test: 1"}
        - {fault: delay 500ms, header: X-Slow}
        - {fault: slow_body 2KiB/s}
        - {fault: truncate 100B}
        - {fault: hang}
)";
    CHECK_FALSE(sound(text)->vendors.at(0).chaos.enabled);
    world.variables = {{"CHAOS", "true"}};
    const ChaosSpec chaos = sound(text, world)->vendors.at(0).chaos;
    CHECK(chaos.enabled);
    CHECK(chaos.seed == 7);
    CHECK(chaos.abort_above == Approx(0.25));
    REQUIRE(chaos.inject.size() == 5);
    const ChaosFault& first = chaos.inject[0];
    CHECK(first.kind == ChaosFault::Kind::status);
    CHECK(first.status == 429);
    CHECK(first.rate == Approx(0.02));
    CHECK(first.first == 3);
    CHECK(first.route == "charges");
    CHECK(first.header == "X-Test");
    CHECK(first.value == "1");
    CHECK(first.text == "status 429");
    CHECK(chaos.inject[1].delay == 500ms);
    CHECK(chaos.inject[1].value.empty());
    CHECK(chaos.inject[2].bytes == 2048);
    CHECK(chaos.inject[3].bytes == 100);
    CHECK(chaos.inject[4].kind == ChaosFault::Kind::hang);
    CHECK(chaos.inject[4].rate == 1);
}

TEST_CASE("of what is inherited a tunnel keeps what concerns its connection, and what no vendor has keeps nothing") {
    const auto config = sound(
        "unmatched: tunnel\ndefaults: {limit: {rate: 5/s, concurrency: 7, learn: true}, breaker: {consecutive: 2}}\n"
        "vendors: {a: {hosts: [a.example], mode: tunnel}, b: {hosts: [b.example], mode: tunnel, limit: [{rate: "
        "1/s}]}}\n");
    const Vendor& a = config->vendors.at(0);
    CHECK(a.retry.max == 0);
    CHECK(a.breaker.consecutive == 2);
    CHECK(a.limits == std::vector<LimitSpec>{{.name = "limit", .rate = RateSpec{{5, 1s}, 5}}});
    CHECK(config->vendors.at(1).limits.size() == 1);
    CHECK(config->unmatched_vendor.retry.max == 0);
    CHECK_FALSE(config->unmatched_vendor.breaker.enabled);
    CHECK(config->unmatched_vendor.limits.empty());
}

TEST_CASE("resilience is described in the words of the language, and loads again to the same") {
    const auto first = sound(R"(defaults:
  retry: {on: [+429, +5xx], budget: 7%, buffer: 1000B}
  breaker: {failure_rate: 33.3%, enabled: false}
  limit: {rate: 1k/m, concurrency: adaptive, per: header X-T, when_full: {wait: 1s, priority: header P}}
vendors:
  a:
    hosts: [a.example]
    endpoints: [{url: "https://a1.example"}, {url: "http://a2.example/x"}]
    hedge: {after: p99.5, max: 2}
    idempotency: {generate: [POST]}
    limit: [{tokens: {rate: 2M/d}, learn: true}, {per: header X-U, rate: 3/h}]
    fallback: {vendor: b, rewrite: {path: {/a: /b}, request: {headers: {rename: {A: B}, set: {C: "1"}, drop: [D]}, body: {rename: {$.x: $.y.z}, set: {$.a: {b: [1, 2]}}, drop: [$.q]}}, response: {headers: {drop: [E]}, body: {wrap: w}}}}
    chaos: {enabled: true, seed: 3, inject: [{fault: reset, rate: 0.5%, first: 2, route: r, header: "X: y"}]}
    routes: [{name: r, match: GET /, hedge: {max: 0}, limit: {rate: 9/s}}]
  b: {hosts: [b.example]}
  c: {hosts: [c.example], mode: tunnel, limit: {rate: 2/s}}
)");
    const std::string described = describe_config(*first);
    const Decoded second = decode_policy(described, "described.json", PolicyWorld{}.inputs());
    INFO(printed(second) << described);
    REQUIRE(second.config);
    CHECK(describe_config(*second.config) == described);
    for (std::size_t i = 0; i < first->vendors.size(); ++i) {
        const Vendor &one = first->vendors[i], &two = second.config->vendors[i];
        INFO(one.name);
        CHECK(one.retry == two.retry);
        CHECK(one.breaker == two.breaker);
        CHECK(one.limits == two.limits);
        CHECK(one.idempotency == two.idempotency);
        CHECK(one.chaos == two.chaos);
    }
    CHECK(first->vendors[0].routes[0].limits == second.config->vendors[0].routes[0].limits);
    CHECK(first->vendors[0].fallback->rewrite == second.config->vendors[0].fallback->rewrite);
}
