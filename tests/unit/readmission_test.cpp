// How calls are let back in after a recovery: what is taken for normal, and that no more than it says gets through.
#include "proxy/policy/readmission.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "tests/support/steps.hpp"
#include "tests/support/threads.hpp"

using namespace sluice;

namespace {

const TimePoint start{1000h};

struct Bench {
    Readmission readmission;
    TimePoint now = start;

    /// So many calls in each of so many seconds, evenly.
    void calls(int per_second, int seconds) {
        for (int i = 0; i < per_second * seconds; ++i) {
            readmission.note(now + Duration{1s} * i / per_second);
        }
        now += Duration{1s} * seconds;
    }
    void recover() {
        readmission.learn(now);
        now += 5min;
        readmission.begin(2, now);
    }
    double per_second() const { return readmission.per_second(now); }
    int taken_in(Duration time, Duration step) {
        int taken = 0;
        for (const TimePoint end = now + time; now < end; now += step) taken += readmission.take(now);
        return taken;
    }
};

}  // namespace

TEST_CASE("for a minute after a recovery a fifth more than normal is let in, and no more") {
    Bench bench;
    bench.calls(1000, 40);
    bench.recover();
    CHECK(bench.per_second() == Approx(1200).epsilon(0.01));
    CHECK(bench.readmission.left(bench.now) == 1min);
    for (int i = 0; i < 30; ++i) CHECK(bench.taken_in(1s, 100us) == Approx(1205).margin(3));
    CHECK(bench.readmission.wait(bench.now) > Duration{});
    bench.now += 30s;
    CHECK(bench.readmission.left(bench.now) == Duration{});
    CHECK(bench.readmission.wait(bench.now) == Duration{});
    CHECK(bench.taken_in(1s, 100us) == 10'000);
}

TEST_CASE("a recovery lasts for as long as more wants to come than is let in, and half a minute") {
    Bench bench;
    bench.calls(1000, 40);
    bench.recover();
    const TimePoint began = bench.now;
    bench.taken_in(100s, 100us);
    CHECK(bench.readmission.left(bench.now) > 29990ms);
    CHECK(bench.readmission.left(bench.now) <= 30s);
    for (int i = 0; i < 10; ++i) {
        bench.taken_in(1s, 1ms);  // as ever
        CHECK(bench.readmission.left(bench.now) > Duration{});
    }
    bench.taken_in(21s, 1ms);
    CHECK(bench.readmission.left(bench.now) == Duration{});
    CHECK(bench.now - began == 131s);
}

TEST_CASE("what turns out to be the new normal is let in soon: after two minutes by a fifth more each half minute") {
    Bench bench;
    bench.calls(1000, 40);
    bench.recover();
    CHECK(bench.taken_in(119s, 100us) <= 121 * 1205);
    double rate = bench.per_second();
    CHECK(rate == Approx(1200).epsilon(0.01));
    bench.taken_in(1s, 100us);
    for (int i = 0; i < 16; ++i) {
        CHECK(bench.per_second() == Approx(rate * 1.2).epsilon(0.001));
        rate = bench.per_second();
        CHECK(bench.taken_in(15s, 20us) == Approx(15 * rate).epsilon(0.05));
        bench.now += 15s;
        bench.taken_in(1ms, 1us);  // somebody is always refused
        bench.now -= 1ms;
    }
    CHECK(rate > 18'000);
    CHECK(bench.readmission.left(bench.now) == Duration{});  // ten minutes at most
    CHECK(bench.taken_in(1s, 1us) == 1'000'000);
}

TEST_CASE("who calls as ever is hardly ever refused, neither with a few calls a second nor with bursts") {
    std::mt19937_64 random{1};
    struct Case {
        int least, most;  // calls of a burst
        Duration every;
    };
    const auto shape = GENERATE(values<Case>({{1, 1, 1s}, {0, 5, 1s}, {1, 20, 1s}, {20, 20, 1s}, {100, 100, 5s}, {0, 60, 3s}, {0, 1, 4ms}}));
    CAPTURE(shape.most, shape.every.count());
    Bench bench;
    const auto burst = [&] { return shape.least + static_cast<int>(random() % static_cast<unsigned>(shape.most - shape.least + 1)); };
    for (const TimePoint end = bench.now + 60s; bench.now < end; bench.now += shape.every) {
        for (int i = burst(); i > 0; --i) bench.readmission.note(bench.now);
    }
    bench.recover();
    int calls = 0, refused = 0, later = 0;
    const TimePoint began = bench.now;
    for (const TimePoint end = bench.now + 55s; bench.now < end; bench.now += shape.every) {
        for (int i = burst(); i > 0; --i) {
            const bool refuses = !bench.readmission.take(bench.now);
            ++calls, refused += refuses, later += refuses && bench.now > began + 15s;
        }
    }
    CHECK(calls > 0);
    CHECK(refused - later <= 3 + shape.most);  // at first there is no burst yet
    CHECK(later * 100 <= calls);
}

TEST_CASE("what has waited for the recovery cannot come as a burst, and the probes were the first") {
    Bench bench;
    bench.calls(20, 40);
    bench.recover();
    CHECK(bench.readmission.burst() == 20);
    CHECK(bench.taken_in(1ms, 10us) == 0);
    CHECK(bench.readmission.wait(bench.now) < 130ms);
    CHECK(bench.taken_in(1s, 1ms) <= bench.per_second() - 2);
    bench.now += 2s;
    CHECK(bench.taken_in(1ms, 10us) == 20);
}

TEST_CASE("where too little is known nobody is refused") {
    Bench bench;
    SECTION("nothing was ever seen") {}
    SECTION("hardly anything") { bench.calls(1, 15); }
    SECTION("not for long enough") { bench.calls(1000, 5); }
    SECTION("not lately") {
        bench.calls(1000, 40);
        bench.now += 40s;
    }
    bench.recover();
    CHECK(bench.per_second() == 0);
    CHECK(bench.readmission.left(bench.now) == Duration{});
    CHECK(bench.taken_in(1s, 1ms) == 1000);
}

TEST_CASE("seconds without calls do not make a vendor that was hardly used yet look slow") {
    Bench bench;
    bench.calls(100, 8);
    bench.now += 10s;  // all of them hang
    bench.recover();
    CHECK(bench.per_second() >= 120);
}

TEST_CASE("the last seconds before a breaker opens are not normal: what fails is called again") {
    Bench bench;
    bench.calls(100, 35);
    bench.calls(500, 5);
    bench.recover();
    CHECK(bench.per_second() == Approx(122).margin(1));
}

TEST_CASE("what was normal is not learnt of a recovery") {
    Bench bench;
    bench.calls(100, 40);
    bench.recover();
    const double known = bench.per_second();
    for (int i = 0; i < 5; ++i) {
        bench.calls(i == 0 ? 3 : 500, 16);
        bench.readmission.learn(bench.now);
        CHECK(bench.per_second() == known);
    }
    bench.calls(500, 40);
    bench.readmission.learn(bench.now);
    CHECK(bench.per_second() == Approx(600).epsilon(0.02));
}

TEST_CASE("it stops when it is told to, and what it knows stays") {
    Bench bench;
    bench.calls(100, 40);
    bench.recover();
    bench.taken_in(1s, 1ms);
    CHECK(bench.readmission.wait(bench.now) > Duration{});
    bench.readmission.stop();
    CHECK(bench.readmission.wait(bench.now) == Duration{});
    CHECK(bench.readmission.take(bench.now));
    CHECK(bench.readmission.left(bench.now) == Duration{});
}

TEST_CASE("whatever comes, no interval of a recovery has more than its rate and its burst") {
    for (unsigned seed = 0; seed < 20; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        Bench bench;
        bench.calls(1 + static_cast<int>(random() % 300), 35);
        bench.recover();
        double rate = bench.per_second();
        const double tolerance = bench.readmission.burst() / rate;
        if (rate == 0) continue;
        std::vector<TimePoint> taken;
        double surplus = 0;  // of what was taken, over what the rate allows since the worst moment, in its own time
        TimePoint last = bench.now;
        for (int i = 0; i < steps(50'000) && bench.readmission.left(bench.now) > Duration{}; ++i) {
            const bool would = bench.readmission.wait(bench.now) == Duration{};
            const bool took = bench.readmission.take(bench.now);
            if (took != would) FAIL("wait() and take() differ");
            if (took) {
                rate = bench.per_second();
                surplus = std::max(0.0, surplus - std::chrono::duration<double>(bench.now - last).count()) + 1 / rate;
                last = bench.now;
                if (surplus > tolerance + 1e-6) FAIL("in step " << i << ": " << surplus << " above " << tolerance);
            }
            if (random() % 4 == 0) bench.now += Duration{static_cast<std::int64_t>(random() % 20'000'000)};
        }
    }
}

TEST_CASE("threads that are let back in at once are no more than one after the other", "[multi-worker]") {
    Bench bench;
    bench.calls(1000, 40);
    bench.recover();
    bench.now += 1s;
    std::atomic<std::uint32_t> taken{0};
    on_threads([&](int) {
        for (int i = 0; i < steps(20'000); ++i) taken += bench.readmission.take(bench.now);
    });
    CHECK(taken == bench.readmission.burst());
}

TEST_CASE("threads that are counted at once are all counted", "[multi-worker]") {
    Bench bench;
    const int each = steps(20'000);
    for (int second = 0; second < 15; ++second) {
        on_threads([&](int) {
            for (int i = 0; i < each; ++i) bench.readmission.note(bench.now);
        });
        bench.now += 1s;
    }
    bench.readmission.learn(bench.now);
    CHECK(bench.per_second() == Approx(1.2 * each * thread_count).epsilon(0.02));
}
