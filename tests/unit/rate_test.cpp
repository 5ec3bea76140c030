#include "proxy/policy/rate.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

constexpr TimePoint start{1000h};

TimePoint at(Duration since) {
    return start + since;
}

/// The plain model: a bucket of time. What is kept of each charge must have been in it when it was taken.
struct Bucket {
    Duration unit, most;
    Duration level = most;
    TimePoint last = start;

    void move_to(TimePoint now) {
        if (now <= last) return;
        level = std::min(most, level + Duration(now - last));
        last = now;
    }
};

}  // namespace

TEST_CASE("a burst goes at once, then the rate holds") {
    Gcra gcra({{100, 1s}, 5});
    for (int i = 0; i < 5; ++i) CHECK(gcra.take(1, start).admitted);
    const auto sixth = gcra.take(1, start);
    CHECK_FALSE(sixth.admitted);
    CHECK(sixth.retry_at == at(10ms));
    CHECK(gcra.ready_at(1, start) == at(10ms));
    CHECK(gcra.remaining(start) == 0);
    CHECK(gcra.full_in(start) == 50ms);
    CHECK_FALSE(gcra.take(1, at(10ms - 1ns)).admitted);
    CHECK(gcra.take(1, at(10ms)).admitted);
    CHECK(gcra.remaining(at(35ms)) == 2);
    CHECK(gcra.remaining(at(60s)) == 5);
    CHECK(gcra.full_in(at(60s)) == 0s);
}

TEST_CASE("a cost is taken whole or not at all, and counts as the burst where it is larger") {
    Gcra gcra({{60'000, 1min}, 1000});  // a token lasts 1 ms
    CHECK(gcra.take(600, start).admitted);
    const auto refused = gcra.take(600, start);
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_at == at(200ms));
    CHECK(gcra.remaining(start) == 400);
    CHECK(gcra.take(400, start).admitted);
    const auto large = gcra.take(5000, at(999ms));
    CHECK_FALSE(large.admitted);
    CHECK(large.retry_at == at(1s));
    CHECK(gcra.take(5000, at(1s)).charge.cost == 1000);
    CHECK(gcra.take(0, at(1s)).admitted);  // nothing is always there
}

TEST_CASE("what was not used comes back, what was used beyond is owed") {
    Gcra gcra({{1000, 1s}, 1000});
    const auto taken = gcra.take(800, start);
    CHECK(gcra.remaining(start) == 200);
    CHECK(gcra.settle(taken.charge, 300, start));
    CHECK(gcra.remaining(start) == 700);
    const auto more = gcra.take(700, start);
    CHECK_FALSE(gcra.settle(more.charge, 1700, start));
    CHECK(gcra.remaining(start) == 0);
    CHECK(gcra.ready_at(1, start) == at(1001ms));
    CHECK(gcra.full_in(start) == 2s);
}

TEST_CASE("what time has given back already is not given back twice") {
    Gcra gcra({{1000, 1s}, 1000});
    const auto old = gcra.take(1000, start);
    CHECK(gcra.take(1000, at(1s)).admitted);
    CHECK_FALSE(gcra.refund(old.charge, 1000, at(1s)));
    CHECK_FALSE(gcra.take(1, at(1s)).admitted);

    const auto half = gcra.take(1000, at(2s));
    CHECK(gcra.refund(half.charge, 1000, at(2500ms)));
    CHECK(gcra.remaining(at(2500ms)) == 1000);
}

TEST_CASE("what comes back out of order gives no more room than what it had taken") {
    Gcra gcra({{100, 1s}, 10});
    const auto first = gcra.take(1, start);
    const auto second = gcra.take(1, start);
    CHECK(gcra.refund(first.charge, 1, start));
    CHECK(gcra.full_in(start) == 10ms);
    CHECK(gcra.take(1, at(15ms)).admitted);
    CHECK_FALSE(gcra.refund(second.charge, 1, at(15ms)));  // time had given it back at 10 ms already
    for (int i = 0; i < 9; ++i) CHECK(gcra.take(1, at(15ms)).admitted);
    CHECK_FALSE(gcra.take(1, at(20ms)).admitted);  // ten and half a one from 15 ms on
    CHECK(gcra.take(1, at(25ms)).admitted);
}

TEST_CASE("what comes back in any order at once is all there again") {
    Gcra gcra({{100, 1s}, 10});
    std::vector<Charge> charges;
    for (int i = 0; i < 10; ++i) charges.push_back(gcra.take(1, start).charge);
    walk::Dice dice(1);
    while (!charges.empty()) {
        std::swap(charges[dice.below(charges.size())], charges.back());
        CHECK(gcra.refund(charges.back(), 1, start));
        charges.pop_back();
    }
    CHECK(gcra.remaining(start) == 10);
}

TEST_CASE("a debt closes for an hour at most") {
    Gcra gcra({{1, 1s}, 10});
    gcra.charge(~0ull, start);
    CHECK(gcra.full_in(start) == Gcra::most_debt + 10s);
    gcra.charge(1, start);
    CHECK(gcra.full_in(start) == Gcra::most_debt + 10s);
    CHECK(gcra.take(1, at(1h + 1s)).admitted);
}

TEST_CASE("rates of any size stay in bounds") {
    struct Case {
        Rate rate;
        std::uint64_t burst;
    };
    for (const Case& c : {Case{{1, 24h}, 1}, Case{{1, 24h}, ~0ull}, Case{{~0ull, 1s}, ~0ull}, Case{{3, 1s}, 2},
                          Case{{0, 1s}, 0}, Case{{7, 1ns}, 3}}) {
        Gcra gcra({c.rate, c.burst});
        CHECK(gcra.take(1, start).admitted);
        CHECK(gcra.take(~0ull, at(24h * 365)).admitted);
        gcra.charge(~0ull, at(24h * 365));
        CHECK(gcra.full_in(at(24h * 365)) > 0s);
        CHECK(gcra.remaining(at(24h * 365)) == 0);
    }
}

/// What a rate was asked for, to be held against the plain model once it is known what was kept.
struct Event {
    TimePoint when;
    std::uint64_t kept;
    bool owed;
};

void hold_against_model(const RateSpec& spec, Duration unit, const std::vector<Event>& events, int seed) {
    Bucket bucket{unit, unit * spec.burst};
    for (const Event& event : events) {
        bucket.move_to(event.when);
        bucket.level -= bucket.unit * event.kept;
        if (!event.owed && event.kept > 0 && bucket.level < 0s) FAIL("more than rate * t + burst, seed " << seed);
    }
}

TEST_CASE(
    "random walk: what is kept of all charges never exceeds rate * t + burst, in whatever order others come back") {
    struct Open {
        std::size_t event;
        Charge charge;
    };
    std::uint64_t admitted = 0, refunded = 0, refused = 0;
    for (int round = 0; round < 300 / walk::slower; ++round) {
        walk::Dice dice(round);
        const RateSpec spec{{1 + dice.below(2000), 1s}, 1 + dice.below(dice.one_in(2) ? 20 : 500)};
        const Duration unit{(1'000'000'000 + spec.rate.count - 1) / spec.rate.count};
        const std::size_t at_once = 2 + dice.below(dice.one_in(2) ? 6 : 200);  // how many are out: young or old ones
        const std::uint64_t unused = 1 + dice.below(4);                        // one of so many comes back whole
        const bool owing = dice.one_in(2);
        Gcra gcra(spec);
        std::vector<Event> events;
        std::vector<Open> open;
        TimePoint now = start;
        for (int step = 0; step < 20'000; ++step) {
            if (dice.one_in(3)) now += Duration(dice.below(static_cast<std::uint64_t>(unit.count()) * 4));
            if (dice.one_in(2000))
                now += Duration(dice.below(2 * static_cast<std::uint64_t>(unit.count()) * spec.burst));
            if (!open.empty() && (open.size() >= at_once || dice.one_in(3))) {
                std::swap(open[dice.below(open.size())], open.back());
                const auto [event, charge] = open.back();
                open.pop_back();
                const std::uint64_t most = owing ? charge.cost * 5 / 4 + 2 : charge.cost + 1;
                const std::uint64_t actual = dice.one_in(unused) ? 0 : dice.below(most);
                gcra.settle(charge, actual, now);
                events[event].kept = std::min(actual, charge.cost);
                if (actual > charge.cost) events.push_back({now, actual - charge.cost, true});
                refunded += actual < charge.cost;
            } else {
                const std::uint64_t cost = 1 + dice.below(dice.one_in(4) ? spec.burst * 2 : 3);
                const auto taken = gcra.take(cost, now);
                taken.admitted ? ++admitted : ++refused;
                if (!taken.admitted) {
                    if (taken.retry_at <= now || gcra.ready_at(cost, now) != taken.retry_at) FAIL("retry_at");
                    continue;
                }
                open.push_back({events.size(), taken.charge});
                events.push_back({now, taken.charge.cost, false});
            }
        }
        hold_against_model(spec, unit, events, round);
    }
    CHECK(admitted > 1'000'000 / walk::slower);
    CHECK(refunded > 1'000'000 / walk::slower);
    CHECK(refused > 1'000'000 / walk::slower);
}

TEST_CASE("random walk: without refunds the word admits exactly what a bucket of time would") {
    walk::Dice dice(42);
    const RateSpec spec{{300, 1s}, 20};
    Gcra gcra(spec);
    Bucket bucket{3333334ns, 3333334ns * 20};
    TimePoint now = start;
    for (int step = 0; step < 3'000'000 / walk::slower; ++step) {
        now += Duration(dice.below(8'000'000));
        if (dice.one_in(1000)) now += Duration(dice.below(100'000'000));
        const std::uint64_t cost = 1 + dice.below(4);
        bucket.move_to(now);
        const bool fits = bucket.level >= bucket.unit * cost;
        if (gcra.take(cost, now).admitted != fits) FAIL("step " << step);
        if (fits) bucket.level -= bucket.unit * cost;
        if (gcra.remaining(now) != static_cast<std::uint64_t>(bucket.level / bucket.unit)) FAIL("remaining " << step);
    }
}

TEST_CASE("four workers with clocks of their own share a rate to within 1 % over 10 s") {
    struct Case {
        std::uint64_t per_second, burst, offered;  // offered: calls of each worker for one that the rate admits
    };
    for (const Case& c : {Case{10, 1, 100}, Case{100, 1, 100}, Case{333, 1, 100}, Case{7000, 7, 8}, Case{50'000, 50, 4},
                          Case{1000, 1000, 4}}) {
        walk::Dice dice(c.per_second);
        Gcra gcra({{c.per_second, 1s}, c.burst});
        if (c.burst > 1) CHECK(gcra.take(c.burst, start).admitted);  // what comes beyond the burst is measured
        std::uint64_t admitted = 0;
        TimePoint clocks[4] = {start, start, start, start};
        while (*std::min_element(clocks, clocks + 4) < at(10s)) {
            TimePoint& clock = *std::min_element(clocks, clocks + 4);  // none is ahead by more than its last step
            clock += Duration(dice.below(2'000'000'000 / c.per_second / c.offered) + 1);
            if (clock < at(10s)) admitted += gcra.take(1, clock).admitted;
        }
        CAPTURE(c.per_second, admitted);
        CHECK(admitted <= c.per_second * 10 + 1);
        CHECK(admitted >= c.per_second * 10 * 99 / 100);
    }
}

TEST_CASE("four threads share a rate to within 1 % over 10 s, and never exceed it", "[multi-worker]") {
    constexpr std::uint64_t per_second = 20'000;
    Gcra gcra({{per_second, 1s}, 50});
    std::atomic<std::int64_t> clock{0};  // virtual: each try is a little later than the one before it
    std::atomic<std::uint64_t> kept{0};
    const auto work = [&](int seed) {
        walk::Dice dice(seed);
        std::uint64_t mine = 0;
        for (;;) {
            const Duration since{clock.fetch_add(5'000)};
            if (since >= 10s) break;
            const auto taken = gcra.take(1 + dice.below(3), at(since));
            if (!taken.admitted) continue;
            if (dice.one_in(4)) {
                gcra.refund(taken.charge, taken.charge.cost, at(since));
            } else {
                mine += taken.charge.cost;
            }
        }
        kept += mine;
    };
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; ++i) workers.emplace_back(work, i);
    for (std::thread& worker : workers) worker.join();
    CHECK(kept <= per_second * 10 + 50);
    CHECK(kept >= per_second * 10 * 99 / 100);
}
