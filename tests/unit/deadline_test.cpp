// The wheel with times as arguments: nothing sleeps.
#include "proxy/net/deadline.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <vector>

using namespace sluice;

namespace {

const TimePoint start{1000h};
constexpr Duration tick = 8ms;

struct Recorder {
    std::vector<int> fired;
    struct Entry {
        Recorder& recorder;
        int id;
        Deadline deadline{[](void* context) {
                              auto& entry = *static_cast<Entry*>(context);
                              entry.recorder.fired.push_back(entry.id);
                          },
                          this};
    };
    std::list<Entry> entries;

    Deadline& add(int id) { return entries.emplace_back(*this, id).deadline; }
};

struct Bench {
    Wheel wheel{start};
    Recorder recorder;
};

/// What a random walk beside a model needs.
struct Walk {
    Walk(unsigned seed, int deadlines) : random{seed} {
        for (int id = 0; id < deadlines; ++id) bench.recorder.add(id);
    }
    Duration below(Duration limit) { return Duration{static_cast<std::int64_t>(random() % limit.count())}; }

    std::mt19937_64 random;
    Bench bench;
    TimePoint now = start;
    std::map<int, TimePoint> model;
};

/// A deadline that does something of the test's own.
struct Action {
    std::function<void()> act;
    Deadline deadline{[](void* context) { static_cast<Action*>(context)->act(); }, this};
};

}  // namespace

TEST_CASE("a deadline fires once its time has come, and never before") {
    for (const Duration after : {Duration{1ns}, Duration{1ms}, Duration{7999999ns}, Duration{8ms}, Duration{8000001ns},
                                 Duration{4096ms}, Duration{4097ms}, Duration{2s}, Duration{60s}, Duration{5min},
                                 Duration{34min}, Duration{35min}, Duration{36min}, Duration{2h}, Duration{50h}}) {
        CAPTURE(after.count());
        Bench bench;
        Deadline& deadline = bench.recorder.add(1);
        bench.wheel.arm(deadline, start + after);
        CHECK(deadline.at() == start + after);
        bench.wheel.advance(start + after - 1ns);
        CHECK(deadline.armed());
        CHECK(bench.recorder.fired.empty());
        bench.wheel.advance(start + after + tick);
        CHECK_FALSE(deadline.armed());
        CHECK(bench.recorder.fired == std::vector<int>{1});
        bench.wheel.advance(start + 2 * after + 1h);
        CHECK(bench.recorder.fired == std::vector<int>{1});
    }
}

TEST_CASE("a deadline that was past already fires within a tick") {
    Bench bench;
    bench.wheel.advance(start + 1h);
    bench.wheel.arm(bench.recorder.add(1), start);
    CHECK(bench.recorder.fired.empty());
    bench.wheel.advance(start + 1h + tick);
    CHECK(bench.recorder.fired == std::vector<int>{1});
}

TEST_CASE("a deadline that was disarmed, re-armed or destroyed does not fire at its old time") {
    Bench bench;
    Deadline& disarmed = bench.recorder.add(1);
    Deadline& later_on = bench.recorder.add(2);
    Deadline& earlier = bench.recorder.add(3);
    Deadline& never_any_more = bench.recorder.add(4);
    auto destroyed = std::make_unique<Recorder::Entry>(bench.recorder, 5);
    for (Deadline* each : {&disarmed, &later_on, &earlier, &never_any_more, &destroyed->deadline}) {
        bench.wheel.arm(*each, start + 10s);
    }
    disarmed.disarm();
    disarmed.disarm();
    bench.wheel.arm(later_on, start + 20s);
    bench.wheel.arm(earlier, start + 1s);
    bench.wheel.arm(never_any_more, never);
    destroyed.reset();
    bench.wheel.advance(start + 2s);
    CHECK(bench.recorder.fired == std::vector<int>{3});
    bench.wheel.advance(start + 15s);
    CHECK(bench.recorder.fired == std::vector<int>{3});
    bench.wheel.advance(start + 21s);
    CHECK(bench.recorder.fired == std::vector<int>{3, 2});
    CHECK(bench.wheel.next_due() == never);
}

TEST_CASE("after a stall everything that was missed fires in the order of its time, in one call") {
    Bench bench;
    const std::vector<Duration> after{10h, 3ms, 40min, 5s, 90s, 4090ms, 71min, 20ms};
    for (std::size_t i = 0; i < after.size(); ++i) {
        bench.wheel.arm(bench.recorder.add(static_cast<int>(i)), start + after[i]);
    }
    bench.wheel.advance(start + 11h);
    CHECK(bench.recorder.fired == std::vector<int>{1, 7, 5, 3, 4, 2, 6, 0});
    CHECK(bench.wheel.next_due() == never);
}

TEST_CASE("what a firing deadline destroys, disarms or postpones does not fire") {
    Bench bench;
    auto destroyed = std::make_unique<Recorder::Entry>(bench.recorder, 1);
    Deadline& disarmed = bench.recorder.add(2);
    Deadline& postponed = bench.recorder.add(3);
    Action action{[&] {
        destroyed.reset();
        disarmed.disarm();
        bench.wheel.arm(postponed, start + 10s);
    }};
    for (Deadline* each : {&action.deadline, &destroyed->deadline, &disarmed, &postponed}) {
        bench.wheel.arm(*each, start + 1s);
    }
    bench.wheel.advance(start + 2s);
    CHECK(bench.recorder.fired.empty());
    bench.wheel.advance(start + 11s);
    CHECK(bench.recorder.fired == std::vector<int>{3});
}

TEST_CASE("a firing deadline may destroy itself") {
    Bench bench;
    std::unique_ptr<Action> action = std::make_unique<Action>();
    action->act = [&] { action.reset(); };
    bench.wheel.arm(action->deadline, start + 1s);
    bench.wheel.advance(start + 2s);
    CHECK(action == nullptr);
    CHECK(bench.wheel.next_due() == never);
}

TEST_CASE("a deadline that arms itself again for a time that is past does not hold up the call") {
    Bench bench;
    int runs = 0;
    Action action{[&] {
        ++runs;
        bench.wheel.arm(action.deadline, start);
    }};
    bench.wheel.arm(action.deadline, start + 1s);
    bench.wheel.advance(start + 1h);
    CHECK(runs == 1);
    bench.wheel.advance(start + 1h + tick);
    CHECK(runs == 2);
}

TEST_CASE("deadlines outlive their wheel without harm") {
    Recorder recorder;
    {
        Wheel wheel{start};
        for (const Duration after : {Duration{1s}, Duration{1s}, Duration{1min}, Duration{10h}}) {
            wheel.arm(recorder.add(1), start + after);
        }
    }
    for (const Recorder::Entry& entry : recorder.entries) CHECK_FALSE(entry.deadline.armed());
}

TEST_CASE("nothing armed, nothing due; what is left behind by a deadline that was disarmed is forgotten within a turn") {
    Bench bench;
    CHECK(bench.wheel.next_due() == never);
    CHECK(bench.wheel.wake() == never);
    Deadline& deadline = bench.recorder.add(1);
    bench.wheel.arm(deadline, start + 24h);
    CHECK(bench.wheel.next_due() <= start + 4096ms + tick);
    CHECK(bench.wheel.wake() == bench.wheel.next_due());
    deadline.disarm();
    CHECK(bench.wheel.next_due() == never);
    bench.wheel.advance(bench.wheel.wake());
    CHECK(bench.wheel.wake() == never);
}

TEST_CASE("who sleeps until the wheel says wakes in time for whatever was armed last") {
    Bench bench;
    bench.wheel.arm(bench.recorder.add(1), start + 1h);
    bench.wheel.arm(bench.recorder.add(2), start + 30ms);
    CHECK(bench.wheel.wake() >= start + 30ms);
    CHECK(bench.wheel.wake() < start + 30ms + tick);
    Action action{[&] { bench.wheel.arm(bench.recorder.add(3), start + 100ms); }};
    bench.wheel.arm(action.deadline, start + 60ms);
    bench.wheel.advance(start + 70ms);
    CHECK(bench.recorder.fired == std::vector<int>{2});
    CHECK(bench.wheel.wake() >= start + 100ms);
    CHECK(bench.wheel.wake() < start + 100ms + tick);
}

TEST_CASE("a wheel driven by its own next_due fires everything between its time and a tick later") {
    const unsigned seed = GENERATE(range(0u, 12u));
    CAPTURE(seed);
    Walk walk(seed, 400);
    auto& [random, bench, now, model] = walk;
    const auto below = [&](Duration limit) { return walk.below(limit); };

    for (int step = 0; step < 4000; ++step) {
        auto entry = bench.recorder.entries.begin();
        std::advance(entry, static_cast<long>(random() % 400));
        const Duration reach[] = {10ms, 500ms, 5s, 2min, 1h, 100h};
        if (random() % 4 == 0) {
            entry->deadline.disarm();
            model.erase(entry->id);
        } else {
            const TimePoint at = now + below(reach[random() % 6]);
            bench.wheel.arm(entry->deadline, at);
            model[entry->id] = at;
        }
        TimePoint next = bench.wheel.next_due();
        REQUIRE((next == never) == model.empty());
        if (next == never || random() % 2 == 0) continue;
        if (random() % 3 == 0) next = now + below(std::min(Duration{next - now} + tick, Duration{1s}));  // not yet due
        now = std::max(now, next);
        bench.recorder.fired.clear();
        bench.wheel.advance(now);
        for (const int id : bench.recorder.fired) {
            REQUIRE(model.count(id) == 1);
            REQUIRE(model[id] <= now);
            REQUIRE(now < model[id] + 2 * tick);  // a tick to round up, less than one that this test overshoots
            model.erase(id);
        }
        for (const auto& [id, at] : model) REQUIRE(at + tick > now);
    }
}

TEST_CASE("whatever is armed, disarmed and stalled, the wheel fires what a sorted list would") {
    const unsigned seed = GENERATE(range(100u, 112u));
    CAPTURE(seed);
    Walk walk(seed, 200);
    auto& [random, bench, now, model] = walk;
    const auto below = [&](Duration limit) { return walk.below(limit); };

    for (int step = 0; step < 3000; ++step) {
        for (auto entry = bench.recorder.entries.begin(); entry != bench.recorder.entries.end(); ++entry) {
            if (random() % 64 != 0) continue;
            const Duration reach[] = {1ms, 100ms, 10s, 10min, 3h, 400h};
            const TimePoint at = now + below(reach[random() % 6]) - 1ms;
            bench.wheel.arm(entry->deadline, at);
            model[entry->id] = std::max(at, now);
        }
        const Duration stride[] = {1ms, 9ms, 100ms, 5s, 10min, 5h};
        now += below(stride[random() % 6]);
        bench.recorder.fired.clear();
        bench.wheel.advance(now);
        TimePoint last{};
        for (const int id : bench.recorder.fired) {
            REQUIRE(model.count(id) == 1);
            REQUIRE(model[id] <= now);
            REQUIRE(model[id] > last - 2 * tick);  // in order, to the tick
            last = std::max(last, model[id]);
            model.erase(id);
        }
        for (const auto& [id, at] : model) REQUIRE(at + tick > now);
    }
}
