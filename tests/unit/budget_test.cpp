// Retry budgets with times as arguments: tables, a seeded walk beside a list of everything, and threads that share one.
#include "proxy/policy/budget.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <random>

#include "tests/support/steps.hpp"
#include "tests/support/threads.hpp"

using namespace sluice;

namespace {

const TimePoint start{1000h};

void request(RetryBudget& budget, int times, TimePoint now) {
    for (int i = 0; i < times; ++i) budget.note_request(now);
}

/// As many as it gives, at most a million.
int take_all(RetryBudget& budget, double share, TimePoint now) {
    int taken = 0;
    while (taken < 1'000'000 && budget.take(share, now)) ++taken;
    return taken;
}

}  // namespace

TEST_CASE("three retries are had without any request, and no more") {
    RetryBudget budget;
    CHECK(budget.view(0.2, start).left == 3);
    CHECK(take_all(budget, 0.2, start) == 3);
    CHECK(take_all(budget, 0.2, start + 9s) == 0);
    CHECK(budget.view(0.2, start).left == 0);
    CHECK(budget.view(0.2, start).retries == 3);
}

TEST_CASE("retries are at most their share of the requests") {
    for (const unsigned percent : {3u, 7u, 20u, 29u, 57u, 100u}) {
        CAPTURE(percent);
        RetryBudget budget;
        request(budget, 100, start);
        CHECK(budget.view(percent / 100.0, start).requests == 100);
        CHECK(take_all(budget, percent / 100.0, start) == static_cast<int>(percent));
    }
    RetryBudget budget;
    request(budget, 19, start);
    CHECK(take_all(budget, 0.2, start) == 3);
    request(budget, 1, start);
    CHECK(take_all(budget, 0.2, start) == 1);
    CHECK(take_all(budget, -1, start) == 0);
}

TEST_CASE("what was asked for 10 s ago counts no more") {
    RetryBudget budget;
    request(budget, 100, start);
    CHECK(budget.view(0.2, start + 9999ms).left == 20);
    CHECK(budget.view(0.2, start + 10s).left == 3);
}

TEST_CASE("a retry is had again once 10 s have passed over it, at the latest half a second later") {
    RetryBudget budget;
    REQUIRE(take_all(budget, 0.2, start + 499ms) == 3);
    CHECK(take_all(budget, 0.2, start + 10s + 498ms) == 0);
    CHECK(take_all(budget, 0.2, start + 10s + 500ms) == 3);
}

TEST_CASE("a worker whose time is behind neither forgets nor wipes what is newer") {
    RetryBudget budget;
    REQUIRE(take_all(budget, 0.2, start + 5s) == 3);
    CHECK(take_all(budget, 0.2, start) == 0);
    REQUIRE(take_all(budget, 0.2, start + 20s) == 3);
    request(budget, 100, start + 20s);
    budget.note_request(start + 4s);  // the same slot, 16 s ago
    CHECK(budget.view(0.2, start + 20s).requests == 100);
}

TEST_CASE("after any idle time nothing is left of before") {
    for (const Duration idle : {Duration{16s}, Duration{32s}, Duration{160s}, Duration{24h}, Duration{10000h}}) {
        RetryBudget budget;
        request(budget, 100, start);
        take_all(budget, 0.2, start);
        const RetryBudget::View view = budget.view(0.2, start + idle);
        CHECK(view.requests == 0);
        CHECK(view.retries == 0);
        CHECK(view.left == 3);
    }
}

TEST_CASE(
    "whatever comes when, retries of the last 10 s never exceed their share of its requests, and little is wasted") {
    std::uint64_t granted = 0, refused_early = 0;
    for (unsigned seed = 0; seed < 16; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        const double share = std::array{0.1, 0.2, 0.5, 1.0}[seed % 4];
        RetryBudget budget;
        std::deque<TimePoint> requests, retries;
        TimePoint now = start;
        std::uint64_t calm = 1;
        const auto recent = [&](std::deque<TimePoint>& all, Duration within) {
            while (!all.empty() && all.front() <= now - 11s) all.pop_front();
            return static_cast<double>(all.end() - std::upper_bound(all.begin(), all.end(), now - within));
        };
        for (int i = 0; i < steps(100'000); ++i) {
            if (random() % 1000 == 0) calm = 1 + random() % 200;
            if (random() % 5000 == 0) now += Duration{1s} * static_cast<int>(random() % 60);
            now += Duration{static_cast<std::int64_t>(random() % (calm * 1'000'000))};
            if (random() % 2) {
                budget.note_request(now);
                requests.push_back(now);
                continue;
            }
            const bool taken = budget.take(share, now);
            const double most = std::max(3.0, std::floor(share * recent(requests, 10s) + 1e-6));
            if (taken) {
                retries.push_back(now);
                ++granted;
                if (recent(retries, 10s) > most) FAIL("more than " << most << " in step " << i);
            } else {
                // By the safe side of its own counting, and no more, may it refuse what could be had.
                const double sure = std::max(3.0, std::floor(share * recent(requests, 9500ms) + 1e-6));
                if (recent(retries, 10500ms) < sure) FAIL("refused without need in step " << i);
                refused_early += recent(retries, 10s) < most;
            }
        }
    }
    CHECK(granted > static_cast<std::uint64_t>(steps(100'000)));
    CHECK(refused_early < granted);
}

TEST_CASE("threads that take at once never get more than there is, and nothing is lost between them",
          "[multi-worker]") {
    RetryBudget budget;
    std::atomic<int> granted{0};
    int wrong = 0, noted = 0;
    in_rounds(
        steps(4000),
        [&](int, int) {
            for (int i = 0; i < 4; ++i) granted += budget.take(1, start);
        },
        [&](int) {
            // Those who met at the edge went without, but what is left is there.
            while (budget.take(1, start)) ++granted;
            wrong += granted != std::max(3, noted);
            budget.note_request(start);  // one more is had in the next round, and four threads are after it
            ++noted;
        });
    CHECK(wrong == 0);
}

TEST_CASE("threads whose times differ by some slices never get more than there is", "[multi-worker]") {
    RetryBudget budget;
    std::atomic<int> taken{0};
    int over = 0;
    TimePoint now = start + 20s;
    in_rounds(
        steps(2000),
        [&](int thread, int) {
            // The same four requests and retries of all, within 10 s; each thread has its own time.
            for (int i = 0; i < 5; ++i) taken += budget.take(0.2, now + Duration{600ms} * thread);
        },
        [&](int) {
            over += taken > 3;
            taken = 0;
            now += 15s;
        });
    CHECK(over == 0);
}

TEST_CASE("no request of a thread is lost", "[multi-worker]") {
    RetryBudget budget;
    std::atomic<std::int64_t> clock{0};
    const int each = steps(200'000);
    on_threads([&](int) {
        for (int i = 0; i < each; ++i) budget.note_request(start + Duration{clock.fetch_add(8000)});
    });
    const RetryBudget::View view = budget.view(0.2, start + Duration{clock.load()});
    CHECK(view.requests == static_cast<std::uint64_t>(each) * thread_count);
}
