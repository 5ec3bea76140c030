#include "proxy/policy/acquisition.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

constexpr TimePoint start{1000h};
constexpr std::array<std::uint64_t, 2> seed{1, 2};

TimePoint at(Duration since) {
    return start + since;
}

struct Parts {
    std::optional<RateSpec> rate{};
    std::optional<unsigned> seats{};
    Duration wait{};
    std::optional<RateSpec> tokens{};
    bool learn = false;
};
LimitSpec spec_of(const Parts& parts) {
    LimitSpec spec;
    spec.rate = parts.rate;
    if (parts.seats) spec.seats = SeatSpec{*parts.seats, 0};
    if (parts.tokens) spec.tokens = TokenSpec{*parts.tokens};
    spec.wait = parts.wait;
    spec.learn = parts.learn;
    return spec;
}
RateSpec per_second(std::uint64_t count, std::uint64_t burst = 1) {
    return {{count, 1s}, burst};
}

/// One exchange, as exchange/admission.cpp goes about it.
struct Caller {
    Caller() = default;
    explicit Caller(std::vector<LiveLimit*> limits, int priority = 0) { hold(limits, priority); }
    void hold(const std::vector<LiveLimit*>& limits, int priority = 0, std::uint64_t cost = 0) {
        held.clear();
        for (LiveLimit* limit : limits) held.push_back({limit, limit->state->place("", start), {}, {}, priority, cost});
    }
    bool at_once(TimePoint now) { return take_at_once(held, terms, now); }
    Acquisition::Next begin(TimePoint now) {
        since = now;
        acquisition.emplace(held, terms, Sleeper{[](void* whom) { static_cast<Caller*>(whom)->woken(); }, this, now});
        return acquisition->go(now);
    }
    Acquisition::Next go(TimePoint now) {
        posted = 0;
        return acquisition->go(now);
    }
    void woken() {
        ++posted;
        if (on_wake) on_wake();
    }
    void end(TimePoint now, bool sent = true) {
        acquisition.reset();
        if (sent) note_sent(held);
        terms.may_have_cost = sent;
        give_back(held, terms, now);
    }
    bool waits_in(const WaitQueue& queue) const { return acquisition && acquisition->waits_in(queue); }
    bool waits_for(const LiveLimit& limit) const {
        Place place = const_cast<LiveLimit&>(limit).state->place("", start);
        return waits_in(place.sitters()) || waits_in(place.spenders());
    }
    bool holds_anything() const {
        return std::any_of(held.begin(), held.end(), [](const HeldLimit& one) {
            return one.seat || one.spent.rate.cost > 0 || one.spent.tokens.cost > 0;
        });
    }

    std::vector<HeldLimit> held;
    Terms terms;
    TimePoint since{};
    std::atomic<int> posted{0};
    std::function<void()> on_wake;
    std::optional<Acquisition> acquisition;
};

bool is_taken(const Acquisition::Next& next) {
    return !next.until && !next.refused_by;
}

std::uint64_t left_of(const LiveLimit& limit, TimePoint now) {
    return limit.state->view(now).rate->remaining;
}

}  // namespace

TEST_CASE("who waits for one limit holds nothing of any, and takes all of it when its turn comes") {
    LiveLimit rates(spec_of({.rate = per_second(1, 3), .wait = 10s}), seed);
    LiveLimit seats(spec_of({.seats = 1, .wait = 10s}), seed);
    Caller first({&rates, &seats}), second({&rates, &seats});
    REQUIRE(first.at_once(start));
    CHECK(left_of(rates, start) == 2);

    CHECK_FALSE(second.at_once(start));
    CHECK_FALSE(second.holds_anything());
    CHECK(left_of(rates, start) == 2);
    CHECK(second.begin(start).until == at(10s));
    CHECK(second.waits_for(seats));
    CHECK(left_of(rates, start) == 2);
    first.end(start);
    CHECK(second.posted == 1);
    CHECK(is_taken(second.go(start)));
    CHECK(left_of(rates, start) == 1);
    CHECK(seats.state->view(start).seats_in_use == 1);
    CHECK(seats.state->view(start).waiting == 0);
    second.end(start, false);  // nothing was sent
    CHECK(left_of(rates, start) == 2);
    CHECK(seats.state->view(start).seats_in_use == 0);
}

TEST_CASE("who is refused by another limit when its turn comes moves over to that one, and the next is woken") {
    LiveLimit rates(spec_of({.rate = per_second(1), .wait = 10s}), seed);
    LiveLimit seats(spec_of({.seats = 1, .wait = 10s}), seed);
    Caller sits({&seats}), spends({&rates}), both({&rates, &seats}), next({&rates});
    REQUIRE(sits.at_once(start));
    REQUIRE(spends.at_once(start));
    CHECK(both.begin(start).until == at(1s));
    CHECK(both.waits_for(rates));
    CHECK(next.begin(start).until == at(10s));  // behind it

    CHECK(both.go(at(1s)).until == at(10s));
    CHECK(both.waits_for(seats));
    CHECK_FALSE(both.holds_anything());
    CHECK(next.posted == 1);
    CHECK(is_taken(next.go(at(1s))));  // held up by nobody who cannot go

    sits.end(at(1500ms));
    CHECK(both.posted == 1);
    CHECK(both.go(at(1500ms)).until == at(2s));  // and back again
    CHECK(both.waits_for(rates));
    CHECK_FALSE(both.holds_anything());
    CHECK(is_taken(both.go(at(2s))));
}

TEST_CASE("moving to another limit's queue loses no place: who began to wait before goes before") {
    LiveLimit rates(spec_of({.rate = per_second(1), .wait = 10s}), seed);
    LiveLimit seats(spec_of({.seats = 1, .wait = 10s}), seed);
    Caller sits({&seats}), spends({&rates}), old({&rates, &seats}), young({&seats}), urgent({&seats}, 1);
    REQUIRE(sits.at_once(start));
    REQUIRE(spends.at_once(start));
    old.begin(start);
    REQUIRE(old.waits_for(rates));
    young.begin(at(500ms));
    urgent.begin(at(600ms));
    old.go(at(1s));
    REQUIRE(old.waits_for(seats));
    sits.end(at(1s));
    CHECK(urgent.posted == 1);
    CHECK(is_taken(urgent.go(at(1s))));
    urgent.end(at(1s));
    CHECK(old.posted == 1);
    CHECK(young.posted == 0);
    CHECK(is_taken(old.go(at(1s))));
    old.end(at(1s));
    CHECK(young.posted == 1);
    CHECK(is_taken(young.go(at(1s))));

    SECTION("who comes from another queue passes those that began later, too") {
        young.end(at(1s));
        Caller before({&rates, &seats}), after({&seats}), holds({&seats});
        REQUIRE(holds.at_once(at(1s)));
        before.begin(at(1100ms));
        REQUIRE(before.waits_for(rates));
        after.begin(at(1200ms));
        REQUIRE(after.waits_for(seats));
        holds.end(at(2s));
        CHECK(after.posted == 1);  // is under way, and `before` is quicker
        CHECK(is_taken(before.go(at(2s))));
        CHECK(after.go(at(2s)).until == at(11200ms));
        before.end(at(2s));
        CHECK(is_taken(after.go(at(2s))));
    }
}

TEST_CASE("where limits cross, who has waited for half of its time stays first for one until it has its place of the other") {
    const bool rates = GENERATE(false, true);
    const Parts parts = rates ? Parts{.rate = per_second(10), .wait = 2s} : Parts{.seats = 1, .wait = 2s};
    LiveLimit one(spec_of(parts), seed), two(spec_of(parts), seed);
    Caller ones({&one}), twos({&two}), both({&one, &two}), young({&one}), last({&one}, 1);
    REQUIRE(ones.at_once(start));
    REQUIRE(twos.at_once(start));
    both.begin(start);
    CHECK(both.waits_for(one));
    CHECK_FALSE(both.waits_for(two));
    for (const Duration when : {500ms, 1100ms}) {  // `one` has a place, `two` has none
        young.begin(at(when));
        CHECK(young.waits_for(one));
        ones.end(at(when)), twos.end(at(when), rates), twos.begin(at(when));
        both.go(at(when));
        CHECK(both.waits_for(two));
        CHECK_FALSE(both.holds_anything());
        CHECK(both.waits_for(one) == (when > 1s));
        if (when > 1s) break;
        CHECK(young.posted == 1);  // and goes
        CHECK(is_taken(young.go(at(when))));
        ones.hold({&one}), young.end(at(when));
        REQUIRE((ones.at_once(at(when)) || is_taken(ones.begin(at(when + 100ms)))));
        twos.end(at(when + 100ms));
        both.go(at(when + 100ms));
        CHECK(both.waits_for(one));
        CHECK_FALSE(both.waits_for(two));
        REQUIRE(twos.at_once(at(when + 100ms)));
    }
    CHECK(young.posted == 0);
    CHECK(young.go(at(1150ms)).until == at(3100ms));
    SECTION("a higher priority goes before it still") {
        CHECK(is_taken(last.begin(at(1150ms))));
        both.go(at(1160ms));
        last.end(at(1170ms), rates);
    }
    twos.end(at(1200ms), rates);
    both.go(at(1200ms));
    CHECK(is_taken(both.go(at(1300ms))));
    CHECK_FALSE(both.waits_for(one));
    CHECK_FALSE(both.waits_for(two));
    CHECK(young.posted == 1);
}

TEST_CASE("who stays first for one limit while it waits for another does so for a moment, and not for a place known to come later") {
    const bool seats = GENERATE(true, false);
    LiveLimit common(spec_of({.rate = per_second(10), .wait = 2s}), seed);
    LiveLimit slow(spec_of(seats ? Parts{.seats = 1, .wait = 30s} : Parts{.rate = RateSpec{{1, 10s}, 1}, .wait = 30s}), seed);
    Caller first({&common}), holds({&slow}), both({&common, &slow}), young({&common});
    REQUIRE(first.at_once(start));
    REQUIRE(holds.at_once(start));
    both.begin(start);
    REQUIRE(both.waits_for(common));
    const auto until = both.go(at(1100ms)).until;  // there is a place of the one, and none of the other
    CHECK(both.waits_for(slow));
    CHECK(both.waits_for(common) == seats);
    const auto begun = young.begin(at(1100ms));
    if (seats) {
        CHECK(until == at(1350ms));
        CHECK(young.waits_for(common));
        CHECK(both.go(at(1350ms)).until == at(30s));
        CHECK_FALSE(both.waits_for(common));
        CHECK(both.waits_for(slow));
        CHECK(young.posted == 1);
        CHECK(is_taken(young.go(at(1350ms))));
    } else {
        CHECK(is_taken(begun));
    }
}

TEST_CASE("all waiting of one exchange has one beginning, and each limit refuses by its own wait") {
    LiveLimit rates(spec_of({.rate = per_second(1), .wait = 3s}), seed);
    LiveLimit seats(spec_of({.seats = 1, .wait = 1500ms}), seed);
    Caller sits({&seats}), spends({&rates}), both({&rates, &seats});
    REQUIRE(sits.at_once(start));
    REQUIRE(spends.at_once(start));
    CHECK(both.begin(start).until == at(1s));
    SECTION("the second limit's wait ends while it waits there") {
        CHECK(both.go(at(1s)).until == at(1500ms));
        const auto next = both.go(at(1500ms));
        REQUIRE(next.refused_by);
        CHECK(next.refused_by->limit == &seats);
        CHECK(next.full.part == Part::seats);
    }
    SECTION("the second limit's wait is over when it comes there") {
        Caller other({&rates}, 1);
        other.begin(at(100ms));
        CHECK(is_taken(other.go(at(1s))));
        CHECK(both.go(at(2s)).until == at(2250ms));  // but for a moment
        const auto next = both.go(at(2250ms));
        REQUIRE(next.refused_by);
        CHECK(next.refused_by->limit == &seats);
        CHECK(left_of(rates, at(2250ms)) == 1);
    }
    SECTION("and none is longer than the exchange has") {
        both.acquisition.reset();
        both.terms.end = at(500ms);
        const auto next = both.begin(at(100ms));
        REQUIRE(next.refused_by);
        CHECK(next.refused_by->limit == &rates);
    }
    CHECK_FALSE((both.waits_for(rates) || both.waits_for(seats)));
}

TEST_CASE("who comes late from a limit with a longer wait has a moment for one whose own wait is over") {
    LiveLimit slow(spec_of({.rate = RateSpec{{1, 3s}, 1}, .wait = 10s}), seed), quick(spec_of({.rate = per_second(10), .wait = 1s}), seed);
    Caller first({&slow}), other({&quick}), both({&quick, &slow});
    REQUIRE(first.at_once(start));
    CHECK(both.begin(start).until == at(3s));
    REQUIRE(other.at_once(at(3s)));
    CHECK(both.go(at(3s)).until == at(3100ms));
    CHECK(both.waits_for(quick));
    CHECK(both.waits_for(slow));
    if (GENERATE(false, true)) {
        CHECK(is_taken(both.go(at(3100ms))));
        return;
    }
    Caller urgent({&quick}, 1);  // takes it away, and another time
    urgent.begin(at(3050ms));
    CHECK(is_taken(urgent.go(at(3100ms))));
    CHECK(both.go(at(3100ms)).until == at(3200ms));
    urgent.hold({&quick}, 1), urgent.begin(at(3150ms));
    CHECK(is_taken(urgent.go(at(3200ms))));
    const auto next = both.go(at(3260ms));
    REQUIRE(next.refused_by);
    CHECK(next.refused_by->limit == &quick);
}

TEST_CASE("a limit that can only refuse for good does so at once, whatever else there is to wait for") {
    LiveLimit seats(spec_of({.seats = 1, .wait = 1min}), seed);
    LiveLimit rates(spec_of({.rate = RateSpec{{1, 1h}, 1}, .wait = 1min}), seed);
    Caller first({&seats, &rates}), second({&seats, &rates});
    REQUIRE(first.at_once(start));
    const auto next = second.begin(start);
    REQUIRE(next.refused_by);
    CHECK(next.refused_by->limit == &rates);
    CHECK(next.full.part == Part::rate);
    CHECK(seats.state->view(start).waiting == 0);
}

TEST_CASE("who takes no seat is held up by nobody who waits for one") {
    LiveLimit limit(spec_of({.rate = per_second(1, 2), .seats = 1, .wait = 10s}), seed);
    Caller sits({&limit}), waits({&limit}), tunnel({&limit});
    tunnel.terms.seated = false;
    REQUIRE(sits.at_once(start));
    CHECK(waits.begin(start).until == at(10s));
    CHECK(tunnel.at_once(start));
    CHECK(limit.state->view(start).seats_in_use == 1);
    CHECK(left_of(limit, start) == 0);
    sits.end(start);
    CHECK(waits.go(start).until == at(1s));  // in the same queue, for the rate
    tunnel.end(start, false);
    CHECK(waits.posted == 1);
    CHECK(is_taken(waits.go(start)));
}

TEST_CASE(
    "a further attempt is decided upon where there is a call of the rate for it, whoever waits for the seat that it "
    "has") {
    const bool spent = GENERATE(false, true);
    LiveLimit limit(spec_of({.rate = per_second(1, spent ? 1 : 2), .seats = 1, .wait = 10s}), seed);
    LiveLimit seats(spec_of({.seats = 1, .wait = 10s}), seed);
    Caller one({&limit, &seats}), waits({&limit, &seats});
    REQUIRE(one.at_once(start));
    note_sent(one.held);
    REQUIRE(waits.begin(start).until);
    CHECK(spend_at_once(one.held, one.terms, start) == !spent);
    CHECK(one.held[0].seat);
    CHECK(one.held[1].seat);
    CHECK(left_of(limit, start) == 0);
    for (HeldLimit& held : one.held) held.seat.give_back();
    if (spent) return;
    CHECK_FALSE(one.at_once(start));  // in its turn
    CHECK(is_taken(waits.go(start)));
}

TEST_CASE("an attempt to come may be had where its rate has room by then, or within the wait behind those who wait") {
    const Duration wait = GENERATE(0s, 2s);
    LiveLimit rates(spec_of({.rate = per_second(1), .wait = wait}), seed), seats(spec_of({.seats = 1}), seed);
    Caller sent({&rates, &seats}), first({&rates}), second({&rates});
    REQUIRE(sent.at_once(start));
    note_sent(sent.held);
    const auto may = [&](Duration in) { return may_be_had(sent.held, sent.terms, at(in)); };
    CHECK(may(0ms) == (wait > 0s));
    CHECK(may(999ms) == (wait > 0s));
    CHECK(may(1s));
    CHECK(sent.held[1].seat);
    CHECK(left_of(rates, start) == 0);
    if (wait == 0s) return;
    first.begin(start);
    CHECK(may(0ms));  // at 2 s
    second.begin(start);
    CHECK_FALSE(may(0ms));
    CHECK(may(1s));
    sent.held[0].priority = 1;
    CHECK(may(0ms));
    sent.terms.end = at(900ms);
    CHECK_FALSE(may(0ms));
}

TEST_CASE("who comes when nobody waits takes what is missing, and a place in a learnt pace only with all the rest") {
    LiveLimit learns(spec_of({.learn = true}), seed);
    LiveLimit rates(spec_of({.rate = per_second(1), .wait = 10s}), seed);
    VendorSignal nearly_spent;  // calls 10 s apart
    QuotaHint hint;
    hint.remaining = 6;
    hint.reset_after = 1min;
    nearly_spent.quotas.add(hint);
    Caller one({&learns, &rates}), two({&learns, &rates});
    one.held[0].place.learn(nearly_spent, start);
    Caller other({&rates});
    REQUIRE(other.at_once(start));
    CHECK_FALSE(one.at_once(start));
    CHECK(is_taken(two.begin(at(1s))));  // else it would have been the next one's only after 10 s

    CHECK(two.at_once(at(1s)));  // an attempt that sent nothing has it all still
    CHECK(left_of(rates, at(1s)) == 0);
}

namespace {

/// Exchanges that come, wait, go, end or go away, each under some of three limits of rates, tokens and seats, against a
/// plain model.
struct Walk {
    struct Sent {
        TimePoint when;
        std::size_t limit;
        std::uint64_t tokens;
    };
    struct One : Caller {
        TimePoint until = never;
        bool runs = false, waits = false;
        unsigned joined = 0;  // queues, ever
    };

    explicit Walk(std::uint64_t round) : dice(round), crowd(20) {
        for (int i = 0; i < 3; ++i) limits.push_back(std::make_unique<LiveLimit>(draw_spec(), seed));
    }
    LimitSpec draw_spec() {
        Parts parts;
        if (!dice.one_in(3)) parts.rate = per_second(1 + dice.below(400), 1 + dice.below(dice.one_in(2) ? 2 : 30));
        if (!parts.rate || dice.one_in(2)) parts.seats = 1 + static_cast<unsigned>(dice.below(4));
        if (dice.one_in(4)) parts.tokens = RateSpec{{1000 + dice.below(50'000), 1s}, 500 + dice.below(2000)};
        parts.wait = Duration(dice.below(4) * 300'000'000);
        return spec_of(parts);
    }
    WaitQueue& queue_of(const HeldLimit& held, const One& one) const {
        return one.terms.seated && held.limit->spec.seats ? held.place.sitters() : held.place.spenders();
    }
    static bool is_before(const HeldLimit& a, const One& one, const HeldLimit& b, const One& other) {
        return a.priority != b.priority ? a.priority > b.priority : one.since < other.since;
    }
    /// Calls `see(other, its part)` for each that waits in that queue.
    template <class See>
    void each_in(const WaitQueue& queue, const One& but, const See& see) {
        for (One& other : crowd) {
            if (&other == &but || !other.waits_in(queue)) continue;
            for (const HeldLimit& part : other.held)
                if (&queue_of(part, other) == &queue) see(other, part);
        }
    }
    bool is_next(const One& one, const HeldLimit& held) {
        const WaitQueue& queue = queue_of(held, one);
        const bool by_age = in_a_row[&queue] == 3;
        bool next = true;
        each_in(queue, one, [&](const One& other, const HeldLimit& part) {
            next &= by_age ? one.since < other.since : is_before(held, one, part, other);
        });
        return next;
    }
    /// No other that waits there is older.
    bool leads(const One& one, const HeldLimit& held) {
        bool oldest = true;
        each_in(queue_of(held, one), one, [&](const One& other, const HeldLimit&) { oldest &= one.since < other.since; });
        return oldest || is_next(one, held);
    }
    using Queues = std::set<const WaitQueue*>;
    Queues queues_of(const One& one) {
        Queues queues;
        for (const HeldLimit& held : one.held)
            if (const WaitQueue* queue = &queue_of(held, one); one.waits_in(*queue)) queues.insert(queue);
        return queues;
    }
    void went(One& one, const std::vector<bool>& was_next, const Queues& from) {
        if (std::find(was_next.begin(), was_next.end(), false) != was_next.end()) FAIL("passed somebody");
        for (const HeldLimit& held : one.held) count(one, held, from);
        const TimePoint last = longest_wait(one) + wheel_tick;
        if (!from.empty() && now > last) FAIL("waited too long");
        one.runs = true, one.waits = false;
        for (const HeldLimit& held : one.held) {
            const auto limit =
                std::find_if(limits.begin(), limits.end(), [&](const auto& l) { return l.get() == held.limit; });
            sent.push_back({now, static_cast<std::size_t>(limit - limits.begin()), held.spent.tokens.cost});
        }
        if (!gives_back) note_sent(one.held);
        ++(from.empty() ? passed : waited);
    }
    TimePoint longest_wait(const One& one) const {
        Duration longest{};
        for (const HeldLimit& held : one.held) longest = std::max(longest, held.limit->spec.wait);
        return std::min(one.since + longest, one.terms.end);
    }
    std::vector<bool> who_is_next(One& one) {
        std::vector<bool> next;
        for (const HeldLimit& held : one.held) next.push_back(is_next(one, held));
        return next;
    }
    void obey(One& one, Acquisition::Next next, const std::vector<bool>& was_next, const Queues& from) {
        const Queues in = queues_of(one);
        if (is_taken(next) || next.refused_by) {
            if (!in.empty()) FAIL("does not leave");
        }
        if (is_taken(next)) return went(one, was_next, from);
        if (one.holds_anything()) FAIL("holds something while it waits");
        one.joined += static_cast<unsigned>(std::count_if(in.begin(), in.end(), [&](auto* q) { return !from.contains(q); }));
        one.waits = next.until.has_value();
        if (one.waits && in.empty()) FAIL("waits nowhere");
        if (!from.empty() && in != from) ++moved;
        if (in.size() > 1) {
            ++stayed;
            if (!stays(one)) FAIL("stays too soon");
            const auto leads_one = [&](const HeldLimit& held) { return in.contains(&queue_of(held, one)) && leads(one, held); };
            if (std::none_of(one.held.begin(), one.held.end(), leads_one)) FAIL("stays though it leads nowhere");
        }
        if (next.until) {
            if (*next.until <= now) FAIL("does not sleep");
            if (*next.until > longest_wait(one)) FAIL("sleeps too long");
            one.until = *next.until;
            return;
        }
        const TimePoint deadline =
            std::min(one.since + next.refused_by->limit->spec.wait, one.terms.end);
        if (now < deadline && !(next.full.only_time_helps() && next.full.retry_at > deadline))
            FAIL("refused though it may wait");
        one.acquisition.reset();
        ++refused;
    }
    bool stays(const One& one) const {
        Duration shortest = 24h;
        for (const HeldLimit& held : one.held)
            if (const Duration wait = held.limit->spec.wait; wait > 0s) shortest = std::min(shortest, wait);
        return now >= one.since + shortest / 2 || one.joined > 8;
    }
    void count(One& one, const HeldLimit& held, const Queues& from) {
        const WaitQueue& queue = queue_of(held, one);
        bool alone = true, oldest = true;
        each_in(queue, one, [&](const One& other, const HeldLimit&) {
            alone = false;
            oldest &= one.since < other.since;
        });
        if (alone && !from.contains(&queue)) return;
        in_a_row[&queue] = oldest ? 0 : std::min(in_a_row[&queue] + 1, 3u);
    }
    void go(One& one) {
        const auto was_next = who_is_next(one);
        const Queues from = queues_of(one);
        obey(one, one.go(now), was_next, from);
    }
    void come(One& one) {
        std::vector<LiveLimit*> some;
        while (some.empty())
            for (auto& limit : limits)
                if (!dice.one_in(3)) some.push_back(limit.get());
        one.hold(some, 0, 1 + dice.below(600));
        const bool own_priorities = dice.one_in(2);
        const int priority = static_cast<int>(dice.below(3));
        for (HeldLimit& held : one.held) held.priority = own_priorities ? static_cast<int>(dice.below(3)) : priority;
        one.terms = {!dice.one_in(5), false, dice.one_in(4) ? now + Duration(dice.below(500'000'000)) : never};
        one.since = now;
        one.posted = 0;
        one.joined = 0;
        const auto was_next = who_is_next(one);
        if (one.at_once(now)) return went(one, was_next, {});
        if (one.holds_anything()) FAIL("holds something that is not enough");
        obey(one, one.begin(now), was_next, {});
    }
    void step() {
        now += Duration(1 + dice.below(2'000'000));
        for (One& one : crowd)  // the wheel: a tick late at most
            if (one.waits &&
                (one.posted > 0 || (one.until <= now && (one.until + wheel_tick / 2 < now || dice.one_in(2)))))
                go(one);
        One& one = crowd[dice.below(crowd.size())];
        if (one.runs) {
            if (dice.one_in(2)) {
                one.end(now, !gives_back || dice.one_in(2));
                one.runs = false;
            }
        } else if (!one.waits) {
            come(one);
        } else if (dice.one_in(60)) {
            one.acquisition.reset();  // it went away
            one.waits = false;
        }
        judge_now();
    }
    /// Nobody sleeps who could go or stands in the way of who could, and nobody has more seats than there are.
    void judge_now() {
        for (const auto& limit : limits) {
            unsigned seats = 0;
            for (const One& one : crowd)
                for (const HeldLimit& held : one.held) seats += held.limit == limit.get() && held.seat;
            const auto& spec = limit->spec;
            if (spec.seats && seats > spec.seats->most) FAIL("more seats than there are");
            if (seats != limit->state->view(now).seats_in_use) FAIL("somebody else has a seat");
        }
        for (One& one : crowd) {
            if (!one.waits || one.posted > 0 || one.until <= now) continue;
            const auto could = [&](const HeldLimit& held) {
                if (held.place.full(held.spent, held.cost_tokens, now).retry_at > now) return false;
                const auto& seats = held.limit->spec.seats;
                if (one.terms.seated && seats && !held.seat && held.place.seats_full(seats->most)) return false;
                return is_next(one, held);
            };
            if (std::all_of(one.held.begin(), one.held.end(), could)) FAIL("one sleeps that could go");
            const auto in_the_way = [&](const HeldLimit& held) { return one.waits_in(queue_of(held, one)) && could(held); };
            if (!stays(one) && std::any_of(one.held.begin(), one.held.end(), in_the_way)) FAIL("one is in the way");
        }
    }
    /// Of what was sent, no interval has more than rate * t + burst and a tick's worth. What is given back is
    /// rate_test's: here it wakes those who wait.
    void judge_rates() const {
        if (gives_back) return;
        for (std::size_t i = 0; i < limits.size(); ++i) {
            const LimitSpec& spec = limits[i]->spec;
            for (const bool of_tokens : {false, true}) {
                if (of_tokens ? !spec.tokens : !spec.rate) continue;
                const RateSpec& rate = of_tokens ? spec.tokens->rate : *spec.rate;
                const Duration unit = rate.rate.per / static_cast<std::int64_t>(rate.rate.count);
                const Duration most = unit * static_cast<std::int64_t>(rate.burst) + wheel_tick;
                Duration level = most;
                TimePoint last = start;
                for (const Sent& one : sent) {
                    if (one.limit != i) continue;
                    level = std::min(most, level + (one.when - last)) -
                            unit * static_cast<std::int64_t>(of_tokens ? one.tokens : 1);
                    last = one.when;
                    if (level < Duration{}) FAIL("more than the rate");
                }
            }
        }
    }

    walk::Dice dice;
    const bool gives_back = dice.one_in(2);
    std::vector<std::unique_ptr<LiveLimit>> limits;
    std::vector<One> crowd;
    std::vector<Sent> sent;
    std::map<const WaitQueue*, unsigned> in_a_row;
    TimePoint now = start;
    std::uint64_t passed = 0, waited = 0, refused = 0, moved = 0, stayed = 0;
};

}  // namespace

TEST_CASE(
    "random walk: under several limits nobody is passed, left asleep, kept too long or let through too early, nobody "
    "holds anything while it waits, and nobody stands in the way before it has waited long") {
    std::uint64_t passed = 0, waited = 0, refused = 0, moved = 0, stayed = 0;
    for (int round = 0; round < 300 / walk::slower; ++round) {
        CAPTURE(round);
        Walk walk(round);
        for (int step = 0; step < 5'000; ++step) walk.step();
        walk.judge_rates();
        passed += walk.passed, waited += walk.waited, refused += walk.refused, moved += walk.moved;
        stayed += walk.stayed;
        for (Walk::One& one : walk.crowd) one.end(walk.now);
        for (const auto& limit : walk.limits) {
            const LimitView view = limit->state->view(walk.now);
            if (view.seats_in_use != 0 || view.waiting != 0) FAIL("something is left");
        }
    }
    CHECK(passed > 50'000 / walk::slower);
    CHECK(waited > 50'000 / walk::slower);
    CHECK(refused > 50'000 / walk::slower);
    CHECK(moved > 30'000 / walk::slower);
    CHECK(stayed > 3'000 / walk::slower);
}

namespace {

/// Callers that come again as soon as they have gone, in virtual time; who sleeps wakes at a tick of the wheel.
struct Flow {
    struct One : Caller {
        TimePoint wakes_at = never, ends_at = never;
    };

    std::vector<std::uint64_t> refused;  // of each set of limits; who was comes again as if it had gone

    /// How many went in 10 s under each set of limits.
    std::vector<std::uint64_t> run(const std::vector<std::vector<LiveLimit*>>& kinds, int callers, Duration lasts) {
        std::deque<One> crowd;
        std::vector<std::uint64_t> went(kinds.size());
        refused.assign(kinds.size(), 0);
        for (int i = 0; i < callers; ++i) crowd.emplace_back().hold(kinds[i % kinds.size()]);
        const auto obey = [&](std::size_t i, TimePoint now, Acquisition::Next next) {
            crowd[i].wakes_at = next.until ? start + ((*next.until - start) / wheel_tick + 1) * wheel_tick : never;
            if (next.until) return;
            ++(next.refused_by ? refused : went)[i % kinds.size()];
            note_sent(crowd[i].held);
            crowd[i].ends_at = now + lasts;
        };
        for (std::size_t i = 0; i < crowd.size(); ++i) obey(i, start, crowd[i].begin(start));
        for (TimePoint now = start; now < at(10s);) {
            TimePoint next = never;
            for (const One& one : crowd) next = std::min({next, one.ends_at, one.posted > 0 ? now : one.wakes_at});
            now = next;
            for (std::size_t i = 0; i < crowd.size(); ++i) {
                One& one = crowd[i];
                if (one.ends_at <= now) {
                    one.ends_at = never;
                    one.end(now);
                    obey(i, now, one.begin(now));
                } else if (one.ends_at == never && (one.posted > 0 || one.wakes_at <= now)) {
                    obey(i, now, one.go(now));
                }
                if (one.ends_at != never) one.posted = 0;
            }
        }
        for (One& one : crowd) one.end(at(10s));
        return went;
    }
};

}  // namespace

TEST_CASE("while there are always some who wait, the narrowest limit is used to within 1 %") {
    struct Case {
        Parts vendor, route;
        std::uint64_t per_second;  // that the narrowest lets through, of calls that last 10 ms
    };
    for (const Case& c :
         {Case{{per_second(100)}, {per_second(200)}, 100}, Case{{per_second(200)}, {per_second(100)}, 100},
          Case{{per_second(200)}, {per_second(200)}, 200}, Case{{per_second(210)}, {per_second(200)}, 200},
          Case{{per_second(100)}, {.seats = 8}, 100}, Case{{per_second(500)}, {.seats = 2}, 200},
          Case{{.seats = 2}, {.seats = 3}, 200}, Case{{per_second(210), 2}, {.seats = 4}, 200},
          Case{{per_second(300, 10), 2}, {per_second(220, 3), 7}, 200}}) {
        Parts vendor = c.vendor, route = c.route;
        vendor.wait = route.wait = 1min;
        CAPTURE(c.per_second, vendor.rate.has_value(), route.rate.has_value(), vendor.seats.value_or(0));
        for (const bool others : {false, true}) {
            CAPTURE(others);  // that want a place of the first limit alone
            LiveLimit one(spec_of(vendor), seed), two(spec_of(route), seed);
            std::vector<std::vector<LiveLimit*>> kinds{{&one, &two}};
            if (others) kinds.push_back({&one});
            Flow flow;
            const std::vector<std::uint64_t> went = flow.run(kinds, 40, 10ms);
            CHECK(flow.refused == std::vector<std::uint64_t>(kinds.size()));
            const std::uint64_t all = went[0] + (others ? went[1] : 0);
            CHECK(all >= c.per_second * 10 * 99 / 100);
            if (others) CHECK(went[0] > 0);
        }
    }
}

TEST_CASE("where two limits cross and both are always asked for, who needs both is not refused, nor those of one") {
    struct Case {
        Parts one, two;
        std::uint64_t first, second;  // that each lets through in 10 s, of calls that last 10 ms
        int callers = 30;
        Duration wait = 2s;
    };
    for (const Case& c : {Case{{per_second(100)}, {per_second(100)}, 1000, 1000},
                          Case{{per_second(100, 5)}, {per_second(90, 5)}, 1000, 900},
                          Case{{per_second(100, 5)}, {per_second(30, 2)}, 1000, 300},
                          Case{{per_second(100)}, {per_second(3)}, 1000, 30, 12, 8s},
                          Case{{per_second(3)}, {per_second(2)}, 30, 20, 6, 8s},
                          Case{{.seats = 1}, {.seats = 1}, 1000, 1000}, Case{{.seats = 2}, {.seats = 4}, 2000, 4000},
                          Case{{per_second(100)}, {.seats = 1}, 1000, 1000}}) {
        Parts first = c.one, second = c.two;
        first.wait = second.wait = c.wait;
        LiveLimit one(spec_of(first), seed), two(spec_of(second), seed);
        Flow flow;
        const auto went = flow.run({{&one}, {&two}, {&one, &two}}, c.callers, 10ms);
        CAPTURE(c.first, c.second, went, flow.refused);
        CHECK(flow.refused == std::vector<std::uint64_t>(3));
        CHECK((went[0] + went[2]) * 100 >= c.first * 85);
        CHECK((went[1] + went[2]) * 100 >= c.second * 85);
        CHECK(went[2] * 4 >= std::min(c.first, c.second));
    }
}

TEST_CASE("threads that need seats of several limits at once get them: never too many, and no wake-up is lost",
          "[multi-worker]") {
    constexpr unsigned threads = 8;
    constexpr int rounds = 10'000 / walk::slower;
    std::vector<std::unique_ptr<LiveLimit>> limits;
    for (const unsigned seats : {3u, 2u, 1u})
        limits.push_back(std::make_unique<LiveLimit>(spec_of({.seats = seats, .wait = 1h}), seed));
    std::array<std::atomic<unsigned>, 3> inside{};
    std::atomic<int> lost{0}, too_many{0};
    std::atomic<std::uint64_t> served{0};
    const auto work = [&](unsigned id) {
        walk::Dice dice(id);
        std::mutex mutex;
        std::condition_variable changed;
        bool woken = false;
        for (int i = 0; i < rounds && lost == 0; ++i) {
            const unsigned which = 1 + static_cast<unsigned>(dice.below(7));
            std::vector<LiveLimit*> some;
            for (unsigned k = 0; k < 3; ++k)
                if (which & 1u << k) some.push_back(limits[k].get());
            Caller caller(some);
            caller.on_wake = [&] {
                const std::lock_guard lock(mutex);
                woken = true;
                changed.notify_one();
            };
            const TimePoint now = at(Duration(i));
            if (!caller.at_once(now)) {
                for (Acquisition::Next next = caller.begin(now); !is_taken(next); next = caller.acquisition->go(now)) {
                    std::unique_lock lock(mutex);
                    if (next.refused_by || !changed.wait_for(lock, 30s, [&] { return woken; })) {
                        ++lost;
                        return;
                    }
                    woken = false;
                }
            }
            for (unsigned k = 0; k < 3; ++k)
                if (which & 1u << k) too_many += inside[k].fetch_add(1) + 1 > 3 - k;
            for (auto spin = dice.below(200); spin > 0; --spin) inside[0].load();
            for (unsigned k = 0; k < 3; ++k)
                if (which & 1u << k) inside[k].fetch_sub(1);
            caller.end(now);
            ++served;
        }
    };
    std::vector<std::thread> workers;
    for (unsigned id = 0; id < threads; ++id) workers.emplace_back(work, id);
    for (std::thread& worker : workers) worker.join();
    CHECK(lost == 0);
    CHECK(too_many == 0);
    CHECK(served == threads * rounds);
    for (const auto& limit : limits) {
        CHECK(limit->state->view(start).seats_in_use == 0);
        CHECK(limit->state->view(start).waiting == 0);
    }
}
