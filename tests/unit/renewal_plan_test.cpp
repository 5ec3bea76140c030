#include "proxy/credentials/renewal_plan.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

const TimePoint start{1000h};

RenewalPlan fetched(std::optional<Duration> lifetime, double draw = 0, RenewalTimes times = {}) {
    RenewalPlan plan(times, true);
    plan.began(start);
    REQUIRE(plan.fetched(start, lifetime, draw));
    return plan;
}

}  // namespace

TEST_CASE("a credential is renewed a fifth of its life before its end, at least 30 s, and never in its first half") {
    CHECK(fetched(1h).due() == start + 48min);
    CHECK(fetched(100s).due() == start + 70s);
    CHECK(fetched(40s).due() == start + 24s);
    CHECK(fetched(1h, 0, {.before = 1min}).due() == start + 59min);
    CHECK(fetched(1h, 0, {.before = 3h}).due() == start + 36min);
}

TEST_CASE("renewals are spread, towards the earlier side") {
    CHECK(fetched(1h, 0.999).due() < start + 46min);
    CHECK(fetched(1h, 0.999).due() > start + 44min);
}

TEST_CASE("what lives shortly is renewed at a time that is spread as well, in time for another attempt") {
    for (const Duration life : {1s, 5s, 40s, 60s}) {
        const TimePoint late = fetched(life, 0).due(), early = fetched(life, 0.999).due();
        CHECK(early >= start + life / 2);
        CHECK(late - early >= life / 11);
        CHECK(start + life - late >= life * 2 / 5);
    }
    CHECK(fetched(1h, 0, {.before = 3h}).due() - fetched(1h, 0.999, {.before = 3h}).due() > 5min);
}

TEST_CASE("a credential is used until 250 ms before its end, counted from when it was asked for") {
    RenewalPlan plan({}, true);
    plan.began(start);
    REQUIRE(plan.fetched(start + 5s, 60s, 0));
    CHECK(plan.usable_until() == start + 59750ms);
    CHECK(plan.has_one(start + 59s));
    CHECK_FALSE(plan.has_one(start + 59750ms));
}

TEST_CASE("what was changed where it comes from is due at once, however often a vendor refused what was there before") {
    RenewalPlan plan = fetched({});
    TimePoint now = start;
    for (int i = 0; i < 10; ++i) {
        now += 1min;
        REQUIRE(plan.refused(now));
        plan.began(now);
        REQUIRE(plan.fetched(now, {}, 0));
    }
    REQUIRE_FALSE(plan.refused(now + 1s));
    plan.changed(now + 1s);
    CHECK(plan.due() == now + 1s);
    plan.began(now + 1s);
    REQUIRE(plan.fetched(now + 1s, {}, 0));
    CHECK(plan.refused(now + 2s));   // a new one
}

TEST_CASE("one that has ended when it arrives is none") {
    RenewalPlan plan({}, true);
    plan.began(start);
    CHECK_FALSE(plan.fetched(start + 5s, 5s, 0));
    CHECK_FALSE(plan.fetched(start, 200ms, 0));
    CHECK_FALSE(plan.has_one(start));
}

TEST_CASE("one without a known end is renewed each hour, and used meanwhile whatever becomes of its issuer") {
    RenewalPlan plan = fetched({});
    CHECK(plan.due() == start + 48min);
    plan.failed(start + 2h, 0);
    CHECK(plan.has_one(start + std::chrono::hours(24 * 365)));
}

TEST_CASE("an issuer that says a thousand years is believed a month") {
    const RenewalPlan plan = fetched(std::chrono::hours(24 * 365 * 200));
    CHECK(plan.usable_until() < start + std::chrono::hours(24 * 31));
}

TEST_CASE("after a failure there is a pause, which doubles up to 5 s and is forgotten after a success") {
    RenewalPlan plan({}, true);
    TimePoint now = start;
    for (const Duration pause : {250ms, 500ms, 1000ms, 2000ms, 4000ms, 5000ms, 5000ms}) {
        plan.failed(now, 0.999);
        CHECK(plan.due() - now <= pause);
        CHECK(plan.due() - now >= pause * 9 / 10);
        now = plan.due();
    }
    CHECK(plan.failures() == 7);
    plan.began(now);
    REQUIRE(plan.fetched(now, 1h, 0));
    plan.failed(now + 50min, 0);
    CHECK(plan.due() == now + 50min + 125ms);
    CHECK(plan.failures() == 1);
}

TEST_CASE("one that is fetched on demand is not fetched before, and in a pause not even then") {
    RenewalPlan plan({}, false);
    CHECK(plan.due() == never);
    plan.wanted();
    CHECK(plan.due() <= start);
    plan.failed(start, 0.5);
    plan.wanted();
    CHECK(plan.due() > start);
}

TEST_CASE("a vendor's refusal brings another one at once, but not again and again") {
    RenewalPlan plan = fetched(1h);
    TimePoint now = start + 10min;
    REQUIRE(plan.refused(now));
    CHECK(plan.due() == now);
    unsigned renewals = 0;
    for (const TimePoint end = now + 10min; now < end; now += 10ms) {   // a vendor that refuses whatever it is shown
        if (plan.due() <= now) {
            plan.began(now);
            plan.fetched(now, 1h, 0);
            ++renewals;
        }
        plan.refused(now);
    }
    CHECK(renewals >= 10);
    CHECK(renewals <= 20);
}

TEST_CASE("whatever happens, nothing is used after its end, and no fetch is due while one is young") {
    walk::Dice dice(20261126);
    for (int round = 0; round < 2000; ++round) {
        RenewalPlan plan({}, dice.one_in(2));
        TimePoint now = start;
        TimePoint end{};
        for (int step = 0; step < 200; ++step) {
            now += std::chrono::milliseconds(dice.below(20'000));
            const double draw = static_cast<double>(dice.below(1000)) / 1000;
            if (plan.due() <= now) {
                const TimePoint asked = now;
                plan.began(now);
                now += std::chrono::milliseconds(dice.below(3000));
                const Duration life = std::chrono::milliseconds(dice.below(100'000));
                if (dice.one_in(3) || !plan.fetched(now, life, draw))
                    plan.failed(now, draw);
                else
                    end = asked + life;
                if (plan.failures() == 0) CHECK(plan.due() - asked >= life / 2);
                CHECK(plan.due() >= asked);
            }
            if (dice.one_in(5)) plan.wanted();
            if (dice.one_in(7)) plan.refused(now);
            if (plan.has_one(now)) CHECK(now < end);
        }
    }
}

TEST_CASE("no pause is shorter than what the issuer asks for, up to a minute, and those are spread too") {
    RenewalPlan plan({}, true);
    plan.failed(start, 0, 20s);
    CHECK(plan.due() == start + 20s);
    plan.failed(start, 0.999, 20s);
    CHECK(plan.due() > start + 24s);
    plan.failed(start, 0, 24h);
    CHECK(plan.due() == start + 1min);
    plan.failed(start, 0, 1ms);
    CHECK(plan.due() > start + 500ms);
}

TEST_CASE("another policy's time before the end holds for the one at hand, and what is due stays due") {
    RenewalPlan plan = fetched(1h);
    plan.renew_before(start + 1min, 5min);
    CHECK(plan.due() == start + 55min);
    plan.renew_before(start + 1min, {});
    CHECK(plan.due() == start + 48min);
    plan.renew_before(start + 58min, 5min);
    CHECK(plan.due() == start + 48min);
    RenewalPlan soon = fetched(1h);
    soon.renew_before(start + 40min, 24min);
    CHECK(soon.due() == start + 40min);
    RenewalPlan none({}, false);
    none.renew_before(start, 5min);
    CHECK(none.due() == never);
}

TEST_CASE("time in which the machine was suspended counts for a token's end, and for when it is due") {
    RenewalPlan plan = fetched(1h);
    plan.slept(20min);
    CHECK(plan.due() == start + 28min);
    CHECK(plan.usable_until() == start + 40min - 250ms);
    RenewalPlan endless = fetched({});
    endless.slept(20min);
    CHECK(endless.usable_until() == never);
    RenewalPlan none({}, true);
    none.slept(20min);
    CHECK(none.due() <= start);
    CHECK_FALSE(none.has_one(start));
}
