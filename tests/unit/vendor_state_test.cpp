// What of a vendor is alive, and what of it outlives a policy.
#include "proxy/policy/vendor_state.hpp"

#include <catch2/catch.hpp>

#include "proxy/policy/vendor.hpp"

using namespace sluice;

namespace {

using Forced = Breaker::Forced;

Vendor vendor_at(const std::vector<std::string>& urls) {
    Vendor vendor;
    std::string fault;
    for (const std::string& url : urls) vendor.endpoints.push_back(*parse_base_url(url, fault));
    return vendor;
}

Vendor vendor_of(const std::vector<std::string>& hosts) {
    Vendor vendor;
    for (const std::string& host : hosts) vendor.hosts.push_back(*parse_host_pattern(host));
    return vendor;
}

Vendor alive(Vendor vendor, const Vendor* before = nullptr) {
    make_live(vendor, before, {1, 2});
    if (before) keep_forced(*before->live, *vendor.live);
    return vendor;
}

std::vector<std::string> names(const Vendor& vendor) {
    std::vector<std::string> all;
    for (const auto& breaker : vendor.live->breakers) all.push_back(breaker.of);
    return all;
}

Forced forced(const Vendor& vendor, std::size_t i) {
    return vendor.live->breakers[i].breaker->forced();
}

}  // namespace

TEST_CASE("breakers are named as the policy writes endpoints or hosts, no two of a vendor alike") {
    using Names = std::vector<std::string>;
    CHECK(
        names(alive(vendor_at({"https://eu1.pay.example", "https://eu1.pay.example/base", "http://10.0.0.8:8080"}))) ==
        Names{"eu1.pay.example", "eu1.pay.example/base", "10.0.0.8:8080"});
    CHECK(names(alive(vendor_at({"https://pay.example", "http://pay.example"}))) ==
          Names{"pay.example", "http://pay.example"});
    CHECK(names(alive(vendor_of({"api.pay.example", "*.pay.example", "odd.example:8443"}))) ==
          Names{"api.pay.example", "*.pay.example", "odd.example:8443"});
}

TEST_CASE("words for what is forced are read as they are written") {
    for (const Forced forced : {Forced::automatic, Forced::open, Forced::closed})
        CHECK(forced_named(name_of(forced)) == forced);
    for (const char* word : {"", "Open", "half_open", "automatic", "open "}) CHECK_FALSE(forced_named(word));
}

TEST_CASE("what an operator forced outlives the breaker that it was said to") {
    const Vendor before = alive(vendor_at({"https://eu1.pay.example", "https://eu2.pay.example"}));
    before.live->breakers[1].breaker->force(Forced::open);

    Vendor changed = before;
    changed.breaker.consecutive = 7;
    std::swap(changed.endpoints[0], changed.endpoints[1]);
    const Vendor after = alive(changed, &before);
    REQUIRE(after.live->breakers[0].breaker != before.live->breakers[1].breaker);
    CHECK(forced(after, 0) == Forced::open);
    CHECK(forced(after, 1) == Forced::automatic);
    CHECK(after.live->breakers[0].breaker->refuses(changed.breaker, TimePoint{1h}));

    after.live->breakers[0].breaker->force(Forced::automatic);
    CHECK(forced(alive(before, &after), 1) == Forced::automatic);  // taken back is taken back
}

TEST_CASE("an endpoint that comes to a vendor that is forced as a whole is forced too, and else is not") {
    const Vendor before = alive(vendor_at({"https://eu1.pay.example", "https://eu2.pay.example"}));
    const Vendor grown = vendor_at({"https://eu1.pay.example", "https://us1.pay.example", "https://eu2.pay.example"});
    before.live->breakers[0].breaker->force(Forced::open);
    CHECK(forced(alive(grown, &before), 1) == Forced::automatic);
    before.live->breakers[1].breaker->force(Forced::open);
    CHECK(forced(alive(grown, &before), 1) == Forced::open);
    CHECK(forced(alive(vendor_at({"https://other.example"}), &before), 0) == Forced::open);
    before.live->breakers[1].breaker->force(Forced::closed);
    CHECK(forced(alive(grown, &before), 1) == Forced::automatic);
}

TEST_CASE("what a limit has counted outlives a change of its name, its number of seats and its wait, and of nothing else") {
    constexpr TimePoint now{1h};
    LimitSpec spec;
    spec.name = "limit2";
    spec.rate = RateSpec{{1, 1h}, 2};
    spec.seats = SeatSpec{4, 0};
    LimitSpec other = spec;
    other.name = "limit";
    other.rate->burst = 3;
    Vendor vendor = vendor_at({"https://pay.example"});
    vendor.limits = {other, spec};
    const Vendor before = alive(vendor);
    Place place = before.live->limits[1]->state->place("", now);
    Spent spent;
    REQUIRE_FALSE(place.spend(spent, 0, now, now));
    const auto seat = place.enter(4);
    REQUIRE(seat);

    LimitSpec changed = spec;
    SECTION("it is the same") {
        CHECK(alive(vendor, &before).live->limits[1] == before.live->limits[1]);
        return;
    }
    SECTION("nothing that counts") {
        changed.name = "limit";
        changed.seats->most = 1;
        changed.wait = 5s;
        changed.priority_header = "X-Priority";
    }
    SECTION("the rate") { changed.rate->rate.count = 2; }
    SECTION("whose it is") { changed.per_header = "X-Tenant"; }
    SECTION("whether it learns") { changed.learn = true; }
    const bool goes_on = changed.name == "limit";
    vendor.limits = {changed};
    const Vendor after = alive(vendor, &before);
    const LiveLimit& limit = *after.live->limits[0];
    CHECK(limit.spec == changed);
    CHECK(limit.seats() == changed.seats->most);
    CHECK((limit.state == before.live->limits[1]->state) == goes_on);
    CHECK(limit.state->view(now).seats_in_use == (goes_on ? 1 : 0));
    CHECK(limit.state->place("", now).seats_full(limit.seats()) == goes_on);
}

TEST_CASE("two limits that count alike keep what each has counted") {
    constexpr TimePoint now{1h};
    LimitSpec one, two;
    one.rate = two.rate = RateSpec{{1, 1h}, 2};
    one.name = "one", two.name = "two";
    Vendor vendor = vendor_at({"https://pay.example"});
    vendor.limits = {one, two};
    const Vendor before = alive(vendor);
    std::swap(vendor.limits[0], vendor.limits[1]);
    vendor.limits[0].wait = vendor.limits[1].wait = 1s;
    const Vendor after = alive(vendor, &before);
    CHECK(after.live->limits[0]->state == before.live->limits[1]->state);
    CHECK(after.live->limits[1]->state == before.live->limits[0]->state);
}

TEST_CASE("seats that a new policy adds are for whoever waits already, once it is in force") {
    LimitSpec spec;
    spec.name = "limit";
    spec.seats = SeatSpec{1, 0};
    Vendor vendor = vendor_at({"https://pay.example"});
    vendor.limits = {spec};
    const Vendor before = alive(vendor);
    const LiveLimit& old = *before.live->limits[0];
    Place place = old.state->place("", TimePoint{1h});
    const auto seat = place.enter(old.seats());
    int woken = 0;
    Waiter waiter;
    waiter.wake = [](void* whom) { ++*static_cast<int*>(whom); };
    waiter.whom = &woken;
    REQUIRE(place.sitters().join(waiter));
    REQUIRE(place.sitters().is_head(waiter));

    vendor.limits[0].seats->most = 4;
    const Vendor after = alive(vendor, &before);
    CHECK(woken == 0);
    CHECK(old.seats() == 1);
    put_in_force(*after.live);
    CHECK(woken == 1);
    CHECK(old.seats() == 4);
    CHECK(after.live->limits[0]->seats() == 4);
    place.sitters().leave(waiter);
}

TEST_CASE("what a route's limit has counted stays with the route, wherever in the policy it comes to stand") {
    constexpr TimePoint now{1h};
    LimitSpec spec;
    spec.rate = RateSpec{{1, 1h}, 2};
    Vendor vendor = vendor_at({"https://pay.example"});
    vendor.routes.resize(2);
    for (std::size_t i = 0; i < 2; ++i) {
        vendor.routes[i].name = i == 0 ? "GET /a" : "GET /b";
        vendor.routes[i].limits = {spec};
        vendor.routes[i].limits[0].name = i == 0 ? "limit" : "limit2";
    }
    const Vendor before = alive(vendor);
    std::swap(vendor.routes[0], vendor.routes[1]);
    vendor.routes[0].limits[0].name = "limit", vendor.routes[1].limits[0].name = "limit2";
    Spent spent;
    REQUIRE_FALSE(before.live->limits[1]->state->place("", now).spend(spent, 0, now, now));
    const Vendor after = alive(vendor, &before);
    CHECK(after.live->limits[0]->state == before.live->limits[1]->state);
    CHECK(after.live->limits[1]->state == before.live->limits[0]->state);
}
