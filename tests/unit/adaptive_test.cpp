// Adaptive limits in a simulated world: vendors with so many servers and a queue, in virtual time.
#include "proxy/policy/adaptive.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <limits>
#include <queue>
#include <random>

#include "tests/support/steps.hpp"
#include "tests/support/threads.hpp"

using namespace sluice;

namespace {

enum class Answers { steady, exponential, heavy_tailed };

/// A vendor that works on `servers` requests at once and queues the rest, or refuses them; and an application.
struct World {
    AdaptiveLimit limit;
    unsigned servers;
    Answers answers = Answers::exponential;
    Duration mean = 100ms;
    bool refuses = false;  // quickly, what its servers have no place for
    double arrivals = 0;   // a second; 0: as much as the limit lets through
    unsigned long sent = 0, shed = 0, done = 0;
    TimePoint now{1000h};

    World(unsigned least, unsigned most, unsigned at_once) : limit(least, most), servers(at_once) {}

    /// The mean limit while so much time passes.
    double run(Duration time) {
        double sum = 0;
        const int parts = 20;
        for (int i = 0; i < parts; ++i) {
            run_until(now + time / parts);
            sum += limit.limit();
        }
        return sum / parts;
    }

  private:
    struct Request {
        TimePoint sent;
        unsigned in_flight;
    };
    struct Ending {
        TimePoint at;
        Request request;
        bool dropped;
        bool operator<(const Ending& other) const { return at > other.at; }
    };
    std::mt19937_64 random_{7};
    std::priority_queue<Ending> endings_;
    std::deque<Request> queue_;
    TimePoint next_arrival_ = now;
    unsigned busy_ = 0, in_flight_ = 0;

    Duration drawn(double mean_s, Answers how) {
        double seconds = mean_s;
        if (how == Answers::exponential) seconds = std::exponential_distribution<>(1 / mean_s)(random_);
        if (how == Answers::heavy_tailed) seconds = std::lognormal_distribution<>(std::log(mean_s) - 0.5, 1)(random_);
        return Duration{static_cast<std::int64_t>(seconds * 1e9)};
    }
    void serve(const Request& request) {
        ++busy_;
        endings_.push({now + drawn(static_cast<double>(mean.count()) / 1e9, answers), request, false});
    }
    void send() {
        ++sent;
        const Request request{now, ++in_flight_};
        if (busy_ < servers) return serve(request);
        if (refuses) return endings_.push({now + mean / 5, request, true});
        queue_.push_back(request);
    }
    void end() {
        const Ending ending = endings_.top();
        endings_.pop();
        --in_flight_;
        if (!ending.dropped) {
            --busy_, ++done;
            while (busy_ < servers && !queue_.empty()) {
                serve(queue_.front());
                queue_.pop_front();
            }
        }
        limit.sample(now - ending.request.sent, ending.request.in_flight, ending.dropped, now);
    }
    void run_until(TimePoint until) {
        while (true) {
            while (arrivals == 0 && in_flight_ < limit.limit()) send();
            const TimePoint arrives = arrivals > 0 ? next_arrival_ : never;
            const TimePoint ends = endings_.empty() ? never : endings_.top().at;
            if (std::min(arrives, ends) > until) break;
            now = std::min(arrives, ends);
            if (ends <= arrives) {
                end();
                continue;
            }
            next_arrival_ = now + drawn(1 / arrivals, Answers::exponential);
            if (in_flight_ < limit.limit())
                send();
            else
                ++shed;
        }
        now = until;
    }
};

}  // namespace

TEST_CASE("an adaptive limit settles a little above what the vendor works on at once, and wastes little of it") {
    const auto answers = GENERATE(Answers::steady, Answers::exponential, Answers::heavy_tailed);
    for (const unsigned servers : {10u, 20u, 50u, 100u, 300u}) {
        World world{2, 1000, servers};
        world.answers = answers;
        world.run(2min);
        world.done = 0;
        const double settled = world.run(3min);
        CAPTURE(static_cast<int>(answers), servers, settled);
        CHECK(settled > 0.8 * servers);
        CHECK(settled < 1.3 * servers + 3);
        CHECK(static_cast<double>(world.done) > 0.85 * servers * 10 * 180);  // ten a second each
    }
}

TEST_CASE("a limit that begins far above what a small vendor can do comes down to it") {
    for (const unsigned servers : {3u, 5u}) {
        World world{1, 1000, servers};
        world.answers = Answers::steady;
        world.run(4min);
        const double settled = world.run(2min);
        CAPTURE(servers);
        CHECK(settled >= 0.8 * servers);
        CHECK(settled <= servers + 4);
    }
}

TEST_CASE("a vendor that refuses what is too much, however quickly, is not asked for much more") {
    for (const unsigned servers : {10u, 40u, 150u}) {
        World world{2, 500, servers};
        world.refuses = true;
        world.run(1min);
        world.sent = world.done = 0;
        const double settled = world.run(1min);
        CAPTURE(servers, settled);
        CHECK(settled > 0.75 * servers);
        CHECK(settled < 1.15 * servers);
        CHECK(static_cast<double>(world.done) > 0.85 * static_cast<double>(world.sent));
    }
}

TEST_CASE("where latency does not rise the limit goes to its ceiling, however much answers differ, and stays there") {
    const auto answers = GENERATE(Answers::steady, Answers::exponential, Answers::heavy_tailed);
    World world{2, 200, 100'000};
    world.answers = answers;
    world.run(1min);
    CHECK(world.run(5min) > 190);
}

TEST_CASE("a vendor that loses most of its servers is relieved, and trusted again when they are back") {
    World world{2, 500, 50};
    world.run(2min);
    world.servers = 10;
    CHECK(world.run(15s) < 50);
    CHECK(world.run(1min) < 20);
    world.servers = 50;
    world.run(30s);
    CHECK(world.run(2min) > 40);
}

TEST_CASE("a vendor that takes longer for good is not throttled for good") {
    World world{2, 500, 50};
    world.run(2min);
    world.mean = 300ms;
    world.run(1min);
    const double slower = world.run(2min);
    CHECK(slower > 40);
    CHECK(slower < 80);
    world.mean = 100ms;
    world.run(20s);
    CHECK(world.run(20s) < 120);  // known to be faster before a queue makes it as slow as it was
    world.run(20s);
    const double faster = world.run(2min);
    CHECK(faster > 40);
    CHECK(faster < 80);
}

TEST_CASE("requests that do not use the limit neither raise it nor are shed by it") {
    World world{2, 500, 50};
    world.arrivals = 50;  // five at once, fifteen at times
    world.run(10min);
    CHECK(world.limit.limit() < 40);
    CHECK(static_cast<double>(world.shed) < 0.002 * static_cast<double>(world.sent));

    AdaptiveLimit alone{2, 500};
    const unsigned before = alone.limit();
    TimePoint now{1000h};
    for (int i = 0; i < 20'000; ++i) alone.sample(100ms, 1, false, now += 100ms);
    CHECK(alone.limit() <= before);
}

TEST_CASE("while little is in flight, what at ease takes follows the vendor, and little is shed") {
    World world{2, 500, 50};
    world.arrivals = 20;
    world.run(2min);
    CHECK(world.limit.view().at_ease < 130ms);
    world.mean = 500ms;
    world.sent = world.shed = 0;
    world.run(5min);
    CHECK(world.limit.view().at_ease > 350ms);
    CHECK(static_cast<double>(world.shed) < 0.05 * static_cast<double>(world.sent));
}

TEST_CASE("a small change of what at ease takes is learnt where no queue can be, and only there") {
    struct Row {
        unsigned least, most, in_flight;
        bool learnt;
    };
    for (const Row& row : {Row{2, 500, 1, true}, Row{4, 4, 4, true}, Row{2, 20, 20, false}}) {
        CAPTURE(row.most, row.in_flight);
        AdaptiveLimit limit{row.least, row.most};
        TimePoint now{1000h};
        for (int i = 0; i < 2000; ++i) limit.sample(100ms, row.in_flight, false, now += 10ms);
        for (int i = 0; i < 5000; ++i) limit.sample(108ms, row.in_flight, false, now += 10ms);
        CHECK((limit.view().at_ease > 107ms) == row.learnt);
    }
}

TEST_CASE("a vendor that is not at its end is left all its requests, and one that is gets what it can do") {
    World world{2, 500, 50};
    world.arrivals = 400;  // forty at once
    world.run(1min);
    world.sent = world.shed = 0;
    world.run(5min);
    CHECK(static_cast<double>(world.shed) < 0.005 * static_cast<double>(world.sent));

    world.arrivals = 800;
    world.run(1min);
    world.done = 0;
    world.run(5min);
    CHECK(static_cast<double>(world.done) > 0.85 * 500 * 300);
}

TEST_CASE("timeouts alone bring the limit to its floor, and answers bring it back") {
    AdaptiveLimit limit{4, 100};
    TimePoint now{1000h};
    for (int i = 0; i < 5000; ++i) limit.sample(1s, limit.limit(), true, now += 10ms);
    CHECK(limit.limit() == 4);
    for (int i = 0; i < 20'000; ++i) limit.sample(100ms, limit.limit(), false, now += 10ms);
    CHECK(limit.limit() == 100);
}

TEST_CASE("a few failures by chance do not hold the limit down") {
    AdaptiveLimit limit{4, 100};
    TimePoint now{1000h};
    for (int i = 0; i < 20'000; ++i) limit.sample(100ms, limit.limit(), i % 100 == 0, now += 10ms);
    CHECK(limit.limit() == 100);
}

TEST_CASE("whatever is told to an adaptive limit, it stays between its floor and its ceiling") {
    for (unsigned seed = 0; seed < 20; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random{seed};
        const unsigned least = 1 + static_cast<unsigned>(random() % 50),
                       most = least + static_cast<unsigned>(random() % 2000);
        AdaptiveLimit limit{least, most};
        TimePoint now{1000h};
        const Duration odd[] = {Duration::min(), -1s, 0ns, 1ns, 1us, 24h, Duration::max()};
        for (int i = 0; i < steps(100'000); ++i) {
            const Duration drawn{static_cast<std::int64_t>(random() >> (1 + random() % 50))};
            const Duration latency = random() % 100 ? drawn : odd[random() % 7];
            const unsigned in_flight =
                random() % 100 ? static_cast<unsigned>(random() % (2 * most)) : std::numeric_limits<unsigned>::max();
            now += Duration{static_cast<std::int64_t>(random() % 20'000'000)} - (random() % 100 ? 0ms : 50ms);
            limit.sample(latency, in_flight, random() % 64 < random() % 64 * (i / 1000 % 2), now);
            if (limit.limit() < least || limit.limit() > most) FAIL(limit.limit() << " in step " << i);
            if (limit.view().at_ease < 0s || limit.view().at_ease > 10min) FAIL("at ease in step " << i);
        }
    }
}

TEST_CASE("a floor that is the ceiling is a fixed limit, and nonsense is put right") {
    AdaptiveLimit fixed{7, 7};
    TimePoint now{1000h};
    for (int i = 0; i < 2000; ++i) fixed.sample(Duration{1ms} * (i % 500), 7, i % 3 == 0, now += 10ms);
    CHECK(fixed.limit() == 7);
    CHECK(AdaptiveLimit(0, 0).limit() == 1);
    CHECK(AdaptiveLimit(50, 3).limit() == 50);
}

TEST_CASE("threads that tell one limit of their samples find the same as one would", "[multi-worker]") {
    AdaptiveLimit limit{2, 300};
    std::atomic<std::int64_t> clock{0};
    std::atomic<int> wrong{0};
    on_threads([&](int) {
        for (int i = 0; i < steps(400'000); ++i) {
            // As from forty servers that share their work: with more in flight each takes longer.
            const unsigned in_flight = limit.limit();
            const Duration latency = Duration{100ms} * std::max(in_flight, 40u) / 40;
            limit.sample(latency, in_flight, false, TimePoint{1000h} + Duration{clock.fetch_add(2'500'000)});
            wrong += limit.limit() < 2 || limit.limit() > 300;
        }
    });
    CHECK(wrong == 0);
    CHECK(limit.limit() >= 24);  // lowered for a look, perhaps
    CHECK(limit.limit() <= 60);
    CHECK(limit.view().at_ease >= 95ms);
    CHECK(limit.view().at_ease <= 130ms);
}
