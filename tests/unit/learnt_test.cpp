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
    pace.learn(of(search, spent), start);  // the first that is seen; nothing else is known
    CHECK(pace.ready_at(start) == at(60s));
    for (int i = 0; i < 4; ++i) pace.learn(of(core, plenty), start);
    CHECK(pace.ready_at(start) <= start);
    pace.learn(of(search, spent), start);
    CHECK(pace.ready_at(start) <= start);
    pace.learn(of(core, spent), start);
    CHECK(pace.ready_at(start) == at(60s));
    pace.learn(of(core, plenty), at(60s));
    pace.learn(of(search, limited(5s)), at(60s));  // a secondary limit
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

TEST_CASE("a Retry-After holds for every resource, whichever the answers after it are about") {
    const auto of = [](std::uint32_t resource, VendorSignal signal) {
        signal.resource = resource;
        return signal;
    };
    LearntPace pace;
    pace.learn(of(3, limited(60s)), start);
    for (int i = 0; i < 40; ++i) {  // that were under way: most are about another resource now
        pace.learn(of(1, quota({Kind::requests, false, 5000, 4000, 60s})), start);
        CHECK(pace.ready_at(start) == at(60s));
    }
    CHECK(pace.holds_until(start) == at(60s));
    CHECK(pace.view(start).closed == 60s);
    pace.learn(of(1, quota({Kind::requests, false, 5000, 0, 90s})), start);
    CHECK(pace.ready_at(start) == at(90s));
    pace.reset();
    CHECK(pace.ready_at(start) <= start);
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

TEST_CASE("a vendor that is overloaded is left alone from its third such answer in a row on, and single ones hold nobody back") {
    VendorSignal overloaded;
    overloaded.overloaded = true;
    LearntPace pace;
    TimePoint now = start;
    for (int i = 0; i < 10; ++i) {
        pace.learn(overloaded, now);
        pace.learn(overloaded, now);
        pace.learn({}, now);
        CHECK(pace.ready_at(now) <= now);
    }
    for (int i = 0; i < 2; ++i) pace.learn(overloaded, now);
    for (const Duration closed : {1s, 2s, 4s, 8s, 16s, 32s, 32s}) {
        pace.learn(overloaded, now);
        pace.learn(overloaded, now);  // of calls that were on their way: counted once
        CHECK(pace.ready_at(now) == now + closed);
        now += closed;
    }
    pace.learn({}, now);
    pace.learn(overloaded, now);
    CHECK(pace.ready_at(now) <= now);
    for (int i = 0; i < 2; ++i) pace.learn(overloaded.of_vendor(), now);  // another endpoint can serve
    CHECK(pace.ready_at(now) <= now);
    for (int i = 0; i < 2; ++i) pace.learn(overloaded, now);
    pace.reset();
    pace.learn(overloaded, now);
    CHECK(pace.ready_at(now) <= now);
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

namespace {

/// What the header promises, one sentence after the other: no words that are shared, no limits of what they can hold.
struct PlainPace {
    struct Spacing {
        Duration apart{};
        TimePoint until{}, next{};
    };
    struct Lesson {
        Duration closed{}, apart{}, lasting{};
    };
    TimePoint closed{}, told_closed{};  // by the quotas of one resource; by a Retry-After, which is about all of them
    unsigned strikes = 0;
    Spacing requests, tokens;
    std::uint32_t mine = 0;
    unsigned lead = 0;

    static Lesson lesson_of(const QuotaHint& hint) {
        const Duration reset = *hint.reset_after;
        const std::uint64_t left = *hint.remaining;
        if (hint.limit ? left > *hint.limit / 5 : left > 10) return {};
        const auto part = [&](std::uint64_t of) {
            const auto parts =
                static_cast<std::int64_t>(std::min<std::uint64_t>(std::max<std::uint64_t>(of, 1), 1'000'000));
            return std::max(reset / parts, Duration(1));
        };
        const Duration lasting = std::min<Duration>(reset, 1h);
        if (hint.refills && hint.limit) {
            const Duration unit = part(*hint.limit - std::min(left, *hint.limit));
            const Duration next_call = hint.kind == Kind::requests ? unit : part(20);
            return {left == 0 ? std::min(next_call, lasting) : Duration{}, unit, lasting};
        }
        return left == 0 ? Lesson{lasting, {}, {}} : Lesson{{}, part(left), lasting};
    }
    void forget() {
        closed = {};
        strikes = 0;
        requests = tokens = {};
    }
    bool is_about_mine(std::uint32_t resource) {
        if (resource == mine) {
            lead = std::min(lead + 1, 16u);
            return true;
        }
        if (lead > 0) return --lead, false;
        if (mine != 0) forget();
        mine = resource;
        lead = 1;
        return true;
    }
    void close_for(TimePoint& which, Duration wait, TimePoint now) {
        if (wait > 0s) which = std::max(which, now + std::min<Duration>(wait, 1h));
    }
    void learn(const VendorSignal& signal, TimePoint now) {
        const bool about_mine = signal.resource == 0 || is_about_mine(signal.resource);
        if (signal.retry_after) close_for(told_closed, *signal.retry_after, now);
        if (!about_mine) return;
        if (!signal.limited) strikes = 0;
        bool quota_closed = false;
        for (const Kind kind : {Kind::requests, Kind::tokens}) {
            Lesson slowest;
            bool told = false;
            for (const QuotaHint& hint : signal.quotas) {
                if (hint.kind != kind || !hint.remaining || !hint.reset_after) continue;
                told = true;
                const Lesson lesson = lesson_of(hint);
                if (lesson.apart > slowest.apart) slowest = lesson;
                if (signal.retry_after || lesson.closed <= 0s) continue;
                quota_closed = true;
                close_for(closed, lesson.closed, now);
            }
            Spacing& spacing = kind == Kind::requests ? requests : tokens;
            if (!told) continue;
            if (slowest.apart > 0s && !holds(spacing, now)) spacing.next = now;
            if (slowest.apart > 0s) spacing.until = now + slowest.lasting;
            spacing.apart = slowest.apart;
        }
        if (!signal.limited || signal.retry_after || quota_closed || std::max(closed, told_closed) > now) return;
        close_for(closed, std::chrono::seconds(1 << std::min(strikes++, 5u)), now);
    }
    static bool holds(const Spacing& s, TimePoint now) { return s.apart > 0s && s.until > now; }
    static TimePoint ready_at(const Spacing& s, TimePoint now) {
        return holds(s, now) ? std::min(s.next, s.until) : now;
    }
    TimePoint ready_at(TimePoint now) const {
        return std::max({now, closed, told_closed, ready_at(requests, now), ready_at(tokens, now)});
    }
    bool take(std::uint64_t cost, TimePoint now) {
        if (ready_at(now) > now) return false;
        const auto space = [&](Spacing& s, std::uint64_t units) {
            if (units == 0 || !holds(s, now)) return;
            const Duration left = s.until - now;
            s.next = units > static_cast<std::uint64_t>(left / s.apart)
                         ? s.until
                         : now + static_cast<std::int64_t>(units) * s.apart;
        };
        space(requests, 1);
        space(tokens, cost);
        return true;
    }
    TimePoint holds_until(TimePoint now) const {
        TimePoint until = std::max({now, closed, told_closed});
        for (const Spacing* s : {&requests, &tokens})
            if (holds(*s, now)) until = std::max(until, s->until);
        return until;
    }
};

/// Signals of every shape, more often of those that tell something.
struct Signals {
    walk::Dice& dice;

    Duration time() {
        switch (dice.below(12)) {
        case 0: return Duration{};
        case 1: return Duration(dice.below(10));
        case 2:
            return dice.one_in(4) ? Duration(std::chrono::hours(dice.below(48))) : Duration(dice.below(100'000'000));
        default: return Duration(dice.below(20'000'000'000));
        }
    }
    QuotaHint hint() {
        QuotaHint hint{dice.one_in(3) ? Kind::tokens : Kind::requests, dice.one_in(3), {}, {}, {}};
        const std::uint64_t size = dice.one_in(10) ? ~0ull : dice.one_in(3) ? 100'000 : 100;
        if (!dice.one_in(5)) hint.limit = dice.one_in(20) ? 0 : dice.below(size) + 1;
        if (!dice.one_in(8)) hint.remaining = dice.one_in(4) ? 0 : dice.below(dice.one_in(4) ? size : size / 4 + 1);
        if (!dice.one_in(8)) hint.reset_after = time();
        return hint;
    }
    VendorSignal next(std::uint32_t resources) {
        VendorSignal signal;
        signal.limited = dice.one_in(4);
        if (dice.one_in(6)) signal.retry_after = time();
        for (std::uint64_t i = dice.below(4); i > 0; --i) signal.quotas.add(hint());
        if (resources > 0) signal.resource = static_cast<std::uint32_t>(dice.below(resources + 1));
        return signal;
    }
};

}  // namespace

TEST_CASE(
    "random walk: what is learnt is what a plain reading of every answer says, of refills, tokens and resources too") {
    std::uint64_t gone = 0, held = 0, learnt = 0, closed = 0, spaced = 0;
    for (int round = 0; round < 400 / walk::slower + 1; ++round) {
        walk::Dice dice(round);
        Signals signals{dice};
        LearntPace pace;
        PlainPace plain;
        TimePoint now = start;
        const std::uint32_t resources = static_cast<std::uint32_t>(dice.below(4));
        const std::uint64_t pause = dice.one_in(2) ? 20'000'000 : 2'000'000'000;
        const std::uint64_t calls = 1 + dice.below(40);  // between two answers that tell something
        for (int step = 0; step < 10'000; ++step) {
            now += Duration(dice.below(pause));
            if (dice.one_in(200)) now += Duration(dice.below(3'600'000'000'000));
            if (dice.one_in(calls)) {
                const VendorSignal signal = signals.next(resources);
                pace.learn(signal, now);
                plain.learn(signal, now);
                ++learnt;
            }
            if (std::max(pace.ready_at(now), now) != plain.ready_at(now))
                FAIL("ready_at, round " << round << " step " << step);
            if (std::max(pace.holds_until(now), now) != plain.holds_until(now))
                FAIL("holds, round " << round << " step " << step);
            if (pace.holds_until(now) > now + 1h) FAIL("holds too long, round " << round << " step " << step);
            const LearntPace::View view = pace.view(now);
            if (view.spacing != (PlainPace::holds(plain.requests, now) ? plain.requests.apart : Duration{}) ||
                view.token_spacing != (PlainPace::holds(plain.tokens, now) ? plain.tokens.apart : Duration{}) ||
                view.closed != std::max({plain.closed, plain.told_closed, now}) - now)
                FAIL("view, round " << round << " step " << step);
            closed += view.closed > 0s;
            spaced += view.spacing > 0s || view.token_spacing > 0s;
            const std::uint64_t cost = dice.one_in(3) ? 0 : dice.one_in(20) ? ~0ull : dice.below(2000);
            const bool goes = plain.take(cost, now);
            if (pace.take(cost, now) != goes) FAIL("take, round " << round << " step " << step);
            goes ? ++gone : ++held;
        }
    }
    CHECK(learnt > 200'000 / walk::slower);
    CHECK(gone > 200'000 / walk::slower);
    CHECK(held > 200'000 / walk::slower);
    CHECK(closed > 200'000 / walk::slower);
    CHECK(spaced > 200'000 / walk::slower);
}

TEST_CASE("random walk: the quotas of a resource that few answers are about hold nothing back") {
    for (int round = 0; round < 200 / walk::slower + 1; ++round) {
        walk::Dice dice(round);
        LearntPace pace;
        TimePoint now = start;
        const auto about = [&](std::uint32_t resource, std::uint64_t remaining) {
            VendorSignal signal = quota({Kind::requests, false, 1000, remaining, 60s});
            signal.resource = resource;
            pace.learn(signal, now);
        };
        about(2, 0);
        for (int i = 0; i < 20; ++i) about(1, 900);  // from here on nine of ten are about this one
        for (int step = 0; step < 2'000; ++step) {
            now += 10ms;
            dice.one_in(10) ? about(2, 0) : about(1, 900);
            if (!pace.take(1, now)) FAIL("held back, round " << round << " step " << step);
        }
        for (int i = 0; i < 17; ++i) about(2, 0);  // and now all of them are about the other
        CHECK(pace.ready_at(now) == now + 60s);
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
