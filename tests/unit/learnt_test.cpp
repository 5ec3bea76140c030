#include "proxy/policy/learnt.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

using Kind = QuotaHint::Kind;
constexpr TimePoint start{1000h};

TimePoint at(Duration since) {
    return start + since;
}

VendorSignal limited(std::optional<Duration> retry_after = {}) {
    VendorSignal signal;
    signal.limited = true;
    signal.retry_after = retry_after;
    return signal;
}

VendorSignal quota(const QuotaHint& hint) {
    VendorSignal signal;
    signal.quotas.add(hint);
    return signal;
}

/// How many calls go in that time, one tried each millisecond.
int calls_in(LearntPace& pace, TimePoint from, Duration time, std::uint64_t tokens = 0) {
    int calls = 0;
    for (TimePoint now = from; now < from + time; now += 1ms) calls += pace.take(tokens, now);
    return calls;
}

}  // namespace

TEST_CASE("nothing learnt holds nothing back") {
    LearntPace pace;
    CHECK(pace.ready_at(start) <= start);
    CHECK(pace.holds_until(start) <= start);
    CHECK(calls_in(pace, start, 100ms) == 100);
    pace.learn({}, start);
    pace.learn(quota({Kind::requests, false, 100, 90, 60s}), start);
    CHECK(calls_in(pace, start, 100ms) == 100);
}

TEST_CASE("a spent quota of one resource holds back nothing of another that most answers are about") {
    const auto of = [](std::uint32_t resource, VendorSignal signal) {
        signal.resource = resource;
        return signal;
    };
    constexpr std::uint32_t core = 1, search = 3;
    const VendorSignal plenty = quota({Kind::requests, false, 5000, 4000, 60s});
    VendorSignal spent = quota({Kind::requests, false, 30, 0, 60s});
    spent.limited = true;
    LearntPace pace;
    pace.learn(of(search, spent), start);   // the first that is seen; nothing else is known
    CHECK(pace.ready_at(start) == at(60s));
    for (int i = 0; i < 4; ++i) pace.learn(of(core, plenty), start);
    CHECK(pace.ready_at(start) <= start);
    pace.learn(of(search, spent), start);
    CHECK(pace.ready_at(start) <= start);
    pace.learn(of(core, spent), start);
    CHECK(pace.ready_at(start) == at(60s));
    pace.learn(of(core, plenty), at(60s));
    pace.learn(of(search, limited(5s)), at(60s));   // a secondary limit
    CHECK(pace.ready_at(at(60s)) == at(65s));
    SECTION("a route that is about nothing else soon learns from it") {
        for (int i = 0; i < 100; ++i) pace.learn(of(core, plenty), at(70s));
        for (int i = 0; i < 17; ++i) pace.learn(of(search, spent), at(70s));
        CHECK(pace.ready_at(at(70s)) == at(130s));
    }
    SECTION("where no resource is told nothing is told apart") {
        pace.learn(spent, at(70s));
        CHECK(pace.ready_at(at(70s)) == at(130s));
    }
}

TEST_CASE("Retry-After closes, may be made longer and not shorter, and ends within an hour") {
    LearntPace pace;
    pace.learn(limited(10s), start);
    pace.learn(limited(3s), start);
    CHECK(pace.ready_at(start) == at(10s));
    CHECK_FALSE(pace.take(0, at(10s - 1ms)));
    CHECK(pace.take(0, at(10s)));
    pace.learn(limited(24h), at(10s));
    CHECK(pace.ready_at(at(10s)) == at(10s + 1h));
    CHECK(pace.view(at(10s)).closed == 1h);
    CHECK(pace.holds_until(at(10s)) == at(10s + 1h));
    CHECK(pace.view(at(2h)).holds == 0s);
}

TEST_CASE("Retry-After goes before what the quotas say of their reset") {
    LearntPace pace;
    VendorSignal signal = quota({Kind::requests, false, 100, 0, 60s});
    signal.limited = true;
    signal.retry_after = 2s;
    pace.learn(signal, start);
    CHECK(pace.ready_at(start) == at(2s));
}

TEST_CASE("a spent quota closes before the vendor has to say 429") {
    LearntPace window;
    window.learn(quota({Kind::requests, false, 100, 0, 30s}), start);
    CHECK(window.ready_at(start) == at(30s));

    LearntPace refilling;  // 60 in 60 s: the next one is there in a second
    refilling.learn(quota({Kind::requests, true, 60, 0, 60s}), start);
    CHECK(refilling.ready_at(start) == at(1s));
    CHECK(calls_in(refilling, start, 10s) == 9);

    LearntPace without_reset;
    without_reset.learn(quota({Kind::requests, false, 100, 0, {}}), start);
    CHECK(without_reset.ready_at(start) <= start);
}

TEST_CASE("what is left of a quota is spread over the time to its reset") {
    LearntPace pace;
    pace.learn(quota({Kind::requests, false, 100, 20, 10s}), start);
    CHECK(pace.view(start).spacing == 500ms);
    CHECK(calls_in(pace, start, 10s) == 20);
    CHECK(calls_in(pace, at(10s), 100ms) == 100);  // and after it is forgotten

    pace.learn(quota({Kind::requests, false, {}, 10, 10s}), at(20s));
    CHECK(pace.view(at(20s)).spacing == 1s);
    CHECK(pace.take(0, at(20s)));
    pace.learn(quota({Kind::requests, false, {}, 11, 10s}), at(20s));
    CHECK(pace.view(at(20s)).spacing == 0s);
    CHECK(pace.take(0, at(20s)));
}

TEST_CASE("of several quotas the slowest counts, and kinds do not undo each other") {
    LearntPace pace;
    VendorSignal signal;
    signal.quotas.add({Kind::requests, false, 100, 90, 1s});
    signal.quotas.add({Kind::requests, false, 100, 10, 10s});
    signal.quotas.add({Kind::requests, false, 100, 10, 5s});
    pace.learn(signal, start);
    CHECK(pace.view(start).spacing == 1s);
    pace.learn(quota({Kind::tokens, false, 1000, 900, 60s}), start);
    CHECK(pace.view(start).spacing == 1s);
    CHECK(pace.view(start).token_spacing == 0s);
}

TEST_CASE("of tokens each call takes what it costs") {
    LearntPace pace;
    pace.learn(quota({Kind::tokens, false, 10'000, 1000, 10s}), start);
    CHECK(pace.view(start).token_spacing == 10ms);
    CHECK(pace.take(100, start));
    CHECK(pace.ready_at(start) == at(1s));
    CHECK(pace.take(100'000, at(1s)));
    CHECK(pace.ready_at(at(1s)) == at(10s));  // not beyond the reset
    CHECK(pace.take(0, at(10s)));

    LearntPace refilling;
    refilling.learn(quota({Kind::tokens, true, 60'000, 0, 60s}), start);
    CHECK(refilling.ready_at(start) == at(3s));
    CHECK(refilling.view(start).token_spacing == 1ms);
}

TEST_CASE("a 429 that says nothing more closes for longer each time, until an answer is good") {
    LearntPace pace;
    TimePoint now = start;
    for (const Duration closed : {1s, 2s, 4s, 8s, 16s, 32s, 32s}) {
        pace.learn(limited(), now);
        pace.learn(limited(), now);  // of calls that were on their way: counted once
        CHECK(pace.ready_at(now) == now + closed);
        now += closed;
    }
    pace.learn({}, now);
    pace.learn(limited(), now);
    CHECK(pace.ready_at(now) == now + 1s);
}

TEST_CASE("everything can be forgotten") {
    LearntPace pace;
    pace.learn(limited(10s), start);
    pace.learn(quota({Kind::requests, false, 100, 1, 10s}), start);
    pace.reset();
    CHECK(pace.holds_until(start) <= start);
    CHECK(calls_in(pace, start, 10ms) == 10);
}

TEST_CASE("random walk: a spacing is never undercut, and nothing holds for more than an hour") {
    for (int round = 0; round < 100 / walk::slower + 1; ++round) {
        walk::Dice dice(round);
        LearntPace pace;
        TimePoint now = start, last = start - 1h, closed = start;
        Duration apart{};
        TimePoint apart_until = start;
        for (int step = 0; step < 20'000; ++step) {
            now += Duration(dice.below(50'000'000));
            if (dice.one_in(40)) {
                VendorSignal signal;
                if (dice.one_in(20)) signal = limited(Duration(dice.below(300'000'000'000)));
                const QuotaHint hint{Kind::requests, false, 100, dice.below(40),
                                     Duration(1 + dice.below(20'000'000'000))};
                if (dice.one_in(2)) signal.quotas.add(hint);
                pace.learn(signal, now);
                if (signal.retry_after) closed = std::max(closed, now + *signal.retry_after);
                if (!signal.quotas.empty()) {
                    const bool near = *hint.remaining <= 20 && *hint.remaining > 0;
                    if (*hint.remaining == 0 && !signal.retry_after) closed = std::max(closed, now + *hint.reset_after);
                    apart = near ? *hint.reset_after / static_cast<std::int64_t>(*hint.remaining) : Duration{};
                    apart_until = now + *hint.reset_after;
                    last = start - 1h;  // a new spacing may begin at once
                }
            }
            if (pace.holds_until(now) > now + 1h) FAIL("holds too long, round " << round);
            if (!pace.take(0, now)) continue;
            if (now < closed) FAIL("closed, round " << round << " step " << step);
            if (now < apart_until && now - last < apart) FAIL("too soon, round " << round << " step " << step);
            last = now;
        }
    }
}

TEST_CASE("threads share a learnt spacing", "[multi-worker]") {
    LearntPace pace;
    pace.learn(quota({Kind::requests, false, 100, 20, 10s}), start);
    std::atomic<std::int64_t> clock{0};
    std::atomic<int> calls{0};
    const auto work = [&] {
        for (;;) {
            const Duration since{clock.fetch_add(100'000)};
            if (since >= 10s) return;
            calls += pace.take(1, at(since));
        }
    };
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; ++i) workers.emplace_back(work);
    for (std::thread& worker : workers) worker.join();
    CHECK(calls <= 21);
    CHECK(calls >= 19);
}
