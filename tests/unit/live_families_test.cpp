// What Prometheus reads of breakers, limits and chaos, from the machines themselves at given times.
#include "proxy/telemetry/live_families.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "proxy/telemetry/metrics.hpp"

using namespace sluice;

namespace {

constexpr TimePoint start{100h};

/// A vendor of two endpoints, a limit of all kinds and one that learns.
Vendor make_vendor() {
    Vendor vendor;
    vendor.name = "pay";
    std::string fault;
    vendor.endpoints.push_back(*parse_base_url("https://eu1.pay.example", fault));
    vendor.endpoints.push_back(*parse_base_url("https://eu2.pay.example/base", fault));
    vendor.breaker.consecutive = 1;
    LimitSpec all;
    all.name = "limit";
    all.rate = RateSpec{{10, 1s}, 5};
    all.tokens = TokenSpec{{{1000, 60s}, 1000}};
    all.seats = SeatSpec{8};
    LimitSpec learns;
    learns.name = "asked";
    learns.rate = RateSpec{{1000, 1s}, 1000};
    learns.learn = true;
    vendor.limits = {all, learns};
    return vendor;
}

struct Fixture {
    Vendor vendor = make_vendor();
    bool used = true;

    void enliven(const Vendor* before = nullptr) { make_live(vendor, before, {1, 2}); }

    std::map<std::string, double> scrape(TimePoint now) const {
        const LiveVendor live{vendor.name, vendor.live.get(), used};
        Exposition out;
        add_live_families(out, {&live, 1}, now);
        std::map<std::string, double> series;
        std::istringstream text(std::move(out).text());
        for (std::string line; std::getline(text, line);) {
            if (line.starts_with('#')) continue;
            const std::size_t space = line.rfind(' ');
            REQUIRE(series.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second);
        }
        return series;
    }
    double value(const std::string& name, TimePoint now = start) const {
        const auto series = scrape(now);
        INFO(name);
        REQUIRE(series.contains(name));
        return series.at(name);
    }
    std::string breaker(std::string_view endpoint, std::string_view state) const {
        return "sluice_breaker_state{vendor=\"pay\",endpoint=\"" + std::string(endpoint) + "\",state=\"" +
               std::string(state) + "\"}";
    }
    LiveLimit& limit(std::size_t i) { return *vendor.live->limits[i]; }
    VendorState::LiveBreaker& first() { return vendor.live->breakers[0]; }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "the state of each breaker is one of three series") {
    enliven();
    Breaker::Pass pass = first().breaker->enter(first().spec, start);
    first().breaker->leave(first().spec, pass, Breaker::Seen::failure, false, true, start);

    CHECK(value(breaker("eu1.pay.example", "open")) == 1);
    CHECK(value(breaker("eu1.pay.example", "closed")) == 0);
    CHECK(value(breaker("eu1.pay.example", "half_open")) == 0);
    CHECK(value(breaker("eu2.pay.example/base", "closed")) == 1);
    CHECK(value(breaker("eu2.pay.example/base", "open")) == 0);

    first().breaker->enter(first().spec, start + first().spec.open_min);
    CHECK(value(breaker("eu1.pay.example", "half_open"), start + first().spec.open_min) == 1);
    CHECK(value(breaker("eu1.pay.example", "open"), start + first().spec.open_min) == 0);
}

TEST_CASE_METHOD(Fixture, "at how many calls a second a vendor that has just recovered is let back in shows while it lasts") {
    enliven();
    const auto& [of, spec, live] = first();
    const std::string series = R"(sluice_breaker_readmission{vendor="pay",endpoint="eu1.pay.example"})";
    TimePoint now = start;
    const auto answer = [&](Breaker::Seen seen) {
        Breaker::Pass pass = live->enter(spec, now);
        live->leave(spec, pass, seen, false, true, now);
    };
    for (; now < start + 40s; now += 10ms) answer(Breaker::Seen::success);
    while (live->view(spec, now).state == Breaker::State::closed) answer(Breaker::Seen::failure);
    CHECK_FALSE(scrape(now).contains(series));
    now += spec.open_min;
    while (live->view(spec, now).state != Breaker::State::closed) answer(Breaker::Seen::success);
    CHECK(value(series, now) == Approx(122).epsilon(0.02));
    CHECK(value(breaker("eu1.pay.example", "closed"), now) == 1);
    CHECK_FALSE(scrape(now + 60s).contains(series));
}

TEST_CASE_METHOD(Fixture, "what an operator forced shows, also of a vendor that nobody used") {
    enliven();
    CHECK(value(R"(sluice_breaker_forced{vendor="pay",endpoint="eu1.pay.example"})") == 0);
    used = false;
    CHECK(scrape(start).empty());
    first().breaker->force(Breaker::Forced::closed);
    CHECK(value(R"(sluice_breaker_forced{vendor="pay",endpoint="eu1.pay.example"})") == 1);
    CHECK(value(breaker("eu1.pay.example", "closed")) == 1);
    CHECK(scrape(start).size() == 4);
}

TEST_CASE_METHOD(
    Fixture, "what is left of a limit is told in calls, tokens and seats, beside what it is when nothing is taken") {
    enliven();
    Place place = limit(0).state->place({}, start);
    Spent spent;
    REQUIRE_FALSE(place.spend(spent, 300, start, start));
    REQUIRE(spent.admitted);
    const auto seat = place.enter(limit(0).seats());
    REQUIRE(seat);

    CHECK(value(R"(sluice_limit_remaining{vendor="pay",limit="limit.rate"})") == 4);
    CHECK(value(R"(sluice_limit_capacity{vendor="pay",limit="limit.rate"})") == 5);
    CHECK(value(R"(sluice_limit_remaining{vendor="pay",limit="limit.tokens"})") == 700);
    CHECK(value(R"(sluice_limit_capacity{vendor="pay",limit="limit.tokens"})") == 1000);
    CHECK(value(R"(sluice_limit_remaining{vendor="pay",limit="limit.seats"})") == 7);
    CHECK(value(R"(sluice_limit_capacity{vendor="pay",limit="limit.seats"})") == 8);
    CHECK(value(R"(sluice_limit_remaining{vendor="pay",limit="limit.rate"})", start + 1s) == 5);
    CHECK_FALSE(scrape(start).contains(R"(sluice_limit_remaining{vendor="pay",limit="asked.seats"})"));
}

TEST_CASE_METHOD(Fixture, "an adaptive limit tells how many seats it has found") {
    vendor.limits[0].seats = SeatSpec{.most = 200, .least = 4};
    enliven();
    const unsigned begun = limit(0).seats();
    CHECK(value(R"(sluice_limit_capacity{vendor="pay",limit="limit.seats"})") == begun);
    TimePoint now = start;
    for (int i = 0; i < 2000; ++i) limit(0).adaptive->sample(10ms, begun, true, now += 10ms);
    REQUIRE(limit(0).seats() < begun);
    CHECK(value(R"(sluice_limit_capacity{vendor="pay",limit="limit.seats"})") == limit(0).seats());
}

TEST_CASE_METHOD(Fixture, "of a limit with keys the key with least left is told, in one series whatever the keys") {
    vendor.limits[0].per_header = "X-Tenant";
    enliven();
    std::vector<Place> places;
    std::vector<Lease> seats;
    for (int i = 0; i < 100; ++i) {
        places.push_back(limit(0).state->place("tenant-" + std::to_string(i), start));
        Spent spent;
        REQUIRE_FALSE(places.back().spend(spent, i == 7 ? 900 : 1, start, start));
        seats.push_back(*places.back().enter(8));
    }
    seats.push_back(*places[7].enter(8));
    const auto series = scrape(start);
    CHECK(series.at(R"(sluice_limit_remaining{vendor="pay",limit="limit.tokens"})") == 100);
    CHECK(series.at(R"(sluice_limit_remaining{vendor="pay",limit="limit.rate"})") == 4);
    CHECK(series.at(R"(sluice_limit_remaining{vendor="pay",limit="limit.seats"})") == 6);
    for (const auto& [name, value] : series) CHECK(name.find("tenant") == name.npos);
}

TEST_CASE_METHOD(Fixture, "those who wait are told of, under whatever part of the limit") {
    enliven();
    CHECK(value(R"(sluice_limit_waiting{vendor="pay",limit="limit"})") == 0);
    Place place = limit(0).state->place({}, start);
    Waiter spender, sitter;
    place.spenders().join(spender);
    place.sitters().join(sitter);
    CHECK(value(R"(sluice_limit_waiting{vendor="pay",limit="limit"})") == 2);
    place.spenders().leave(spender);
    place.sitters().leave(sitter);
}

TEST_CASE_METHOD(Fixture, "the pace that a vendor asked for is told until it ends, of limits that learn") {
    enliven();
    const std::string closed = R"(sluice_limit_learnt_seconds{vendor="pay",limit="asked",part="closed"})";
    const std::string holds = R"(sluice_limit_learnt_seconds{vendor="pay",limit="asked",part="holds"})";
    CHECK(value(closed) == 0);
    VendorSignal signal;
    signal.limited = true;
    signal.retry_after = 30s;
    limit(1).state->place({}, start).learn(signal, start);
    CHECK(value(closed) == 30);
    CHECK(value(holds, start + 10s) == 20);
    CHECK(value(holds, start + 31s) == 0);
    CHECK_FALSE(scrape(start).contains(R"(sluice_limit_learnt_seconds{vendor="pay",limit="limit",part="closed"})"));
}

TEST_CASE_METHOD(Fixture, "chaos is active while faults are injected, and not once it has stopped by itself") {
    enliven();
    CHECK_FALSE(scrape(start).contains(R"(sluice_chaos_active{vendor="pay"})"));
    std::string fault;
    vendor.chaos.inject.push_back(*parse_fault("status 429", fault));
    enliven();
    used = false;
    CHECK(value(R"(sluice_chaos_active{vendor="pay"})") == 0);
    vendor.chaos.enabled = true;
    enliven();
    CHECK(value(R"(sluice_chaos_active{vendor="pay"})") == 1);
    int stops = 0;
    for (int i = 0; i < 10; ++i) stops += vendor.live->chaos->seen(vendor.chaos, ChaosState::Seen::failed, start);
    CHECK(stops == 1);  // told of once
    CHECK(value(R"(sluice_chaos_active{vendor="pay"})") == 0);
}

namespace {

/// Of a whole scrape, policies and all.
struct Policies {
    Metrics metrics{1};
    WorkerMeters& worker = metrics.add_worker();

    std::shared_ptr<Config> load(Vendor vendor, const Vendor* before = nullptr) {
        auto config = std::make_shared<Config>();
        make_live(vendor, before, {1, 2});
        config->vendors.push_back(std::move(vendor));
        metrics.enrol(*config);
        return config;
    }
    bool tells(std::string_view line) const {
        return metrics.scrape(0, start).find(std::string(line) + "\n") != std::string::npos;
    }
};

}  // namespace

TEST_CASE_METHOD(Policies, "moves of breakers are counted by hand and by themselves, and no reload takes them back") {
    const auto first = load(make_vendor());
    worker.moved(first->vendors[0], "eu1.pay.example", Breaker::State::open);
    metrics.moved(first->vendors[0], "eu1.pay.example", Breaker::State::open);
    const std::string opened =
        R"(sluice_breaker_transitions_total{vendor="pay",endpoint="eu1.pay.example",state="open"} )";
    CHECK(tells(opened + "2"));
    CHECK(tells(R"(sluice_breaker_transitions_total{vendor="pay",endpoint="eu2.pay.example/base",state="closed"} 0)"));

    Vendor changed = make_vendor();
    changed.breaker.consecutive = 7;
    const auto second = load(changed, &first->vendors[0]);
    REQUIRE(second->vendors[0].live->breakers[0].breaker != first->vendors[0].live->breakers[0].breaker);
    CHECK(tells(opened + "2"));
    worker.moved(first->vendors[0], "eu1.pay.example", Breaker::State::open);  // an exchange that began before
    CHECK(tells(opened + "3"));
}

TEST_CASE_METHOD(Policies, "tokens and injected faults are counted, and are there as soon as they could be") {
    Vendor vendor = make_vendor();
    std::string fault;
    for (const char* text : {"status 429", "reset", "status 429"})
        vendor.chaos.inject.push_back(*parse_fault(text, fault));
    vendor.chaos.enabled = true;
    const auto config = load(vendor);
    const Vendor& pay = config->vendors[0];
    worker.began(pay);
    CHECK(tells(R"(sluice_tokens_total{vendor="pay",direction="completion"} 0)"));
    CHECK(tells(R"(sluice_chaos_injected_total{vendor="pay",fault="reset"} 0)"));
    worker.used_tokens(pay, 10, 20);
    worker.used_tokens(pay, 1, 2);
    worker.injected(pay, "status 429");
    CHECK(tells(R"(sluice_tokens_total{vendor="pay",direction="prompt"} 11)"));
    CHECK(tells(R"(sluice_tokens_total{vendor="pay",direction="completion"} 22)"));
    CHECK(tells(R"(sluice_chaos_injected_total{vendor="pay",fault="status 429"} 1)"));
}

TEST_CASE_METHOD(Policies, "what is alive is that of the policy in force") {
    const auto first = load(make_vendor());
    worker.began(first->vendors[0]);
    CHECK(tells(R"(sluice_limit_capacity{vendor="pay",limit="limit.rate"} 5)"));
    Vendor changed = make_vendor();
    changed.limits[0].rate->burst = 9;
    const auto second = load(changed, &first->vendors[0]);
    CHECK(tells(R"(sluice_limit_capacity{vendor="pay",limit="limit.rate"} 9)"));
    Config none;
    metrics.enrol(none);
    CHECK_FALSE(tells(R"(sluice_limit_capacity{vendor="pay",limit="limit.rate"} 9)"));
    CHECK(tells(R"(sluice_inflight{vendor="pay"} 1)"));
}
