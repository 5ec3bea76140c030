// Quantiles with times as arguments, beside sorted lists of what was observed.
#include "proxy/policy/latency.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/steps.hpp"
#include "tests/support/threads.hpp"

using namespace sluice;

namespace {

const TimePoint start{1000h};

void observe(Latency& latency, int times, Duration taken, TimePoint now = start) {
    for (int i = 0; i < times; ++i) latency.observe(taken, now);
}

bool is_near(Duration found, Duration truth) {
    return std::abs(static_cast<double>((found - truth).count())) <= 0.07 * static_cast<double>(truth.count());
}

}  // namespace

TEST_CASE("nothing is said of latency before twenty samples") {
    Latency latency;
    observe(latency, 19, 100ms);
    CHECK_FALSE(latency.quantile(0.95, start));
    observe(latency, 1, 100ms);
    REQUIRE(latency.quantile(0.95, start));
    CHECK(latency.samples(start) == 20);
}

TEST_CASE("a quantile is near what was seen, from microseconds to an hour") {
    for (Duration taken = 8us; taken < 1h; taken = taken * 21 / 20 + 1ns) {
        Latency latency;
        observe(latency, 20, taken);
        const auto found = latency.quantile(0.5, start);
        if (!found || !is_near(*found, taken)) FAIL(taken.count() << " ns: " << found.value_or(0s).count());
    }
}

TEST_CASE("what is out of range counts as the nearest that is in it") {
    Latency latency;
    observe(latency, 20, -1s);
    CHECK(*latency.quantile(1, start) < 2us);
    observe(latency, 30, Duration::max());
    CHECK(*latency.quantile(0.9, start) > 1h);
    CHECK(*latency.quantile(0.9, start) < 2h);
    CHECK(*latency.quantile(7, start) == *latency.quantile(1, start));
    CHECK(*latency.quantile(-7, start) < 2us);
}

TEST_CASE("a quantile is what its share of the samples did not exceed") {
    Latency latency;
    observe(latency, 95, 10ms);
    observe(latency, 5, 1s);
    CHECK(is_near(*latency.quantile(0.95, start), 10ms));
    CHECK(is_near(*latency.quantile(0.951, start), 1s));
    CHECK(is_near(*latency.quantile(0, start), 10ms));
    CHECK(is_near(*latency.quantile(1, start), 1s));
}

TEST_CASE("the same question is answered anew each 100 ms, another one at once") {
    Latency latency;
    observe(latency, 20, 10ms);
    CHECK(is_near(*latency.quantile(0.9, start), 10ms));
    observe(latency, 20, 1s);
    CHECK(is_near(*latency.quantile(0.9, start + 99ms), 10ms));
    CHECK(is_near(*latency.quantile(0.95, start + 99ms), 1s));
    observe(latency, 400, 50ms);
    CHECK(is_near(*latency.quantile(0.95, start + 99ms), 1s));
    CHECK(is_near(*latency.quantile(0.95, start + 100ms), 50ms));
    CHECK_FALSE(latency.quantile(0.95, start + 100s));
}

TEST_CASE("samples count for 30 to 60 s, then they are forgotten") {
    Latency latency;
    const TimePoint half{start.time_since_epoch() / Latency::span * Latency::span};
    observe(latency, 100, 10ms, half);
    CHECK(latency.samples(half + 60s - 1ns) == 100);
    CHECK(latency.samples(half + 60s) == 0);
    CHECK_FALSE(latency.quantile(0.5, half + 60s));
    observe(latency, 50, 20ms, half + 59s);
    CHECK(latency.samples(half + 59s) == 150);
    CHECK(latency.samples(half + 60s) == 50);
    observe(latency, 1, 20ms, half + 60s);  // the same bucket, the next half
    CHECK(latency.samples(half + 60s) == 51);
    CHECK(latency.samples(half + 90s) == 1);
    CHECK(latency.samples(half + 10000h) == 0);
}

TEST_CASE("a worker whose time is a little behind wipes nothing") {
    Latency latency;
    const TimePoint half{start.time_since_epoch() / Latency::span * Latency::span};
    observe(latency, 30, 10ms, half);
    observe(latency, 1, 10ms, half - 1ns);
    CHECK(latency.samples(half) == 31);
    CHECK(latency.samples(half - 1ns) == 31);
}

TEST_CASE("a bucket that is full does not run over") {
    Latency latency;
    for (int i = 0; i < (1 << 20) + 1000; ++i) latency.observe(10ms, start);
    CHECK(latency.samples(start) == (1 << 20) - 1);
}

TEST_CASE("quantiles of any distribution are within 7 % of the sorted truth, as it changes") {
    for (unsigned seed = 0; seed < 12; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        Latency latency;
        std::vector<std::pair<std::int64_t, Duration>> seen;  // the half, and what was taken
        TimePoint now = start;
        double middle = 0.1;
        for (int i = 0; i < steps(40'000); ++i) {
            if (random() % 5000 == 0) middle = std::exp(std::uniform_real_distribution<>(-9, 4)(random));
            if (random() % 5000 == 0) now += Duration{1s} * static_cast<int>(random() % 100);
            now += Duration{static_cast<std::int64_t>(random() % 20'000'000)};
            const double drawn = std::lognormal_distribution<>(std::log(middle), seed % 3)(random);
            const Duration taken{static_cast<std::int64_t>(1e9 * std::clamp(drawn, 1e-5, 3000.0))};
            latency.observe(taken, now);
            seen.emplace_back(now.time_since_epoch() / Latency::span, taken);
            if (i % 400 != 0) continue;
            const std::int64_t half = now.time_since_epoch() / Latency::span;
            std::erase_if(seen, [&](const auto& each) { return each.first < half - 1; });
            std::vector<Duration> sorted;
            for (const auto& each : seen) sorted.push_back(each.second);
            std::sort(sorted.begin(), sorted.end());
            REQUIRE(latency.samples(now) == sorted.size());
            for (const double q : {0.01, 0.5, 0.9, 0.95, 0.99, 1.0}) {
                const auto found = latency.quantile(q, now);
                REQUIRE(found.has_value() == (sorted.size() >= 20));
                if (!found) continue;
                const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size()) - 1e-6));
                const Duration truth = sorted[std::max<std::size_t>(rank, 1) - 1];
                if (!is_near(*found, truth)) FAIL("q " << q << ": " << found->count() << ", not " << truth.count());
            }
        }
    }
}

TEST_CASE("no sample of a thread is lost, while a half passes too", "[multi-worker]") {
    Latency latency;
    const TimePoint half{start.time_since_epoch() / Latency::span * Latency::span};
    const int each = steps(100'000);
    std::atomic<std::int64_t> clock{0};
    std::atomic<int> wrong{0};
    on_threads([&](int thread) {
        for (int i = 0; i < each; ++i) {
            const TimePoint now = half + 20s + Duration{clock.fetch_add(50'000)};
            latency.observe(Duration{1ms} * (1 + i % 7), now);
            const auto median = i % 1000 == 999 ? latency.quantile(0.5, now) : std::nullopt;
            wrong += median && !(*median > 2ms && *median < 6ms);
            if (thread == 0 && i % 100 == 0) latency.samples(now);
        }
    });
    CHECK(latency.samples(half + 20s + Duration{clock.load()}) == static_cast<std::uint64_t>(each) * thread_count);
    CHECK(wrong == 0);
}
