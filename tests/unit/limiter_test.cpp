#include "proxy/policy/limiter.hpp"

#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proxy/net/deadline.hpp"
#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

constexpr TimePoint start{1000h};
constexpr std::array<std::uint64_t, 2> seed{7, 11};

TimePoint at(Duration since) {
    return start + since;
}

/// One call, with why there is none.
struct Tried : Spent {
    Full full;
};
Tried spend(Place& place, std::uint64_t cost_tokens, TimePoint since, TimePoint now) {
    Tried tried;
    if (const auto why = place.spend(tried, cost_tokens, since, now)) tried.full = *why;
    return tried;
}
Tried spend(Place& place, std::uint64_t cost_tokens, TimePoint now) {
    return spend(place, cost_tokens, now, now);
}
Tried spend(Place&& place, std::uint64_t cost_tokens, TimePoint now) {
    return spend(place, cost_tokens, now);
}
/// Nothing was sent for it.
void refund(Place& place, Spent& spent, TimePoint now) {
    place.refund_rate(spent, now);
    place.settle(spent, 0, now);
    spent.admitted = false;
}

LimitSpec spec_of(std::optional<RateSpec> rate, std::optional<RateSpec> tokens = {},
                  std::optional<SeatSpec> seats = {}) {
    LimitSpec spec;
    spec.name = "calls";
    spec.rate = rate;
    if (tokens) spec.tokens = TokenSpec{*tokens};
    spec.seats = seats;
    return spec;
}

LimitSpec per_tenant(LimitSpec spec) {
    spec.per_header = "X-Tenant";
    return spec;
}

std::string policy_of(const QuotaViews& quotas) {
    std::string out;
    for (std::size_t i = 0; i < quotas.size; ++i) {
        if (i > 0) out += ", ";
        append_ratelimit_policy(out, quotas.views[i]);
    }
    return out;
}

#ifdef __x86_64__
/// Lets `act` happen in the middle of `run`, after so many of its instructions (the processor traps after each). False:
/// it has no more than that.
bool interrupted(int after, const std::function<void()>& run, const std::function<void()>& act) {
    static int left;
    static const std::function<void()>* now;
    constexpr unsigned long long trap_flag = 0x100;
    left = after;
    now = &act;
    struct sigaction action {};
    struct sigaction before {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
        if (--left > 0) return;
        static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~static_cast<greg_t>(trap_flag);
        (*now)();
    };
    ::sigaction(SIGTRAP, &action, &before);
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | trap_flag);
    run();
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~trap_flag);
    ::sigaction(SIGTRAP, &before, nullptr);
    return left <= 0;
}
#endif

}  // namespace

TEST_CASE("a call takes its rate and its tokens, or neither") {
    LimitState limit(spec_of(RateSpec{{10, 1s}, 2}, RateSpec{{60'000, 1min}, 1000}), seed);
    Place place = limit.place("", start);
    CHECK(spend(place, 700, start).admitted);

    const Tried tokens = spend(place, 700, start);
    CHECK_FALSE(tokens.admitted);
    CHECK(tokens.full.part == Part::tokens);
    CHECK(tokens.full.retry_at == at(400ms));
    CHECK(place.view(start).rate->remaining == 1);

    CHECK(spend(place, 100, start).admitted);
    const Tried rate = spend(place, 100, start);
    CHECK_FALSE(rate.admitted);
    CHECK(rate.full.part == Part::rate);
    CHECK(rate.full.retry_at == at(100ms));
    CHECK(place.view(start).tokens->remaining == 200);

    // Of several parts the one that would be last to make room.
    CHECK(spend(place, 900, start).full.part == Part::tokens);
    CHECK(spend(place, 0, at(100ms)).admitted);  // a further attempt: no tokens
}

TEST_CASE("what was not sent comes back, and the tokens are settled once") {
    LimitState limit(spec_of(RateSpec{{10, 1s}, 2}, RateSpec{{60'000, 1min}, 1000}), seed);
    Place place = limit.place("", start);
    Spent spent = spend(place, 1000, start);
    refund(place, spent, start);
    CHECK(place.view(start).rate->remaining == 2);
    CHECK(place.view(start).tokens->remaining == 1000);
    refund(place, spent, start);
    place.settle(spent, 5000, start);
    CHECK(place.view(start).tokens->remaining == 1000);

    spent = spend(place, 600, start);
    place.settle(spent, 100, start);
    CHECK(place.view(start).tokens->remaining == 900);
    place.settle(spent, 100, start);
    CHECK(place.view(start).tokens->remaining == 900);
}

TEST_CASE("a place of the rate that is put back until a wait is over is another's meanwhile, and nothing is sent beyond the rate") {
    LimitSpec spec = spec_of(RateSpec{{1, 1s}, 2}, {}, {});
    spec.learn = true;
    LimitState limit(spec, seed);
    Place place = limit.place({}, start);
    VendorSignal nearly_spent;   // calls 10 s apart
    QuotaHint hint;
    hint.remaining = 6;
    hint.reset_after = 1min;
    nearly_spent.quotas.add(hint);

    Spent waits = spend(place, 0, start);
    REQUIRE(waits.admitted);
    place.refund_rate(waits, start);
    CHECK(waits.admitted);
    CHECK(spend(place, 0, start).admitted);
    CHECK(spend(place, 0, start).admitted);
    CHECK_FALSE(spend(place, 0, start).admitted);

    // As if it had never taken one: of a burst of 2 at 1/s there is one after a second.
    const auto full = place.spend(waits, 0, start, start);
    REQUIRE(full);
    CHECK(full->part == Part::rate);
    CHECK(full->retry_at == at(1s));
    CHECK(place.spend(waits, 0, at(999ms), at(999ms)));
    place.learn(nearly_spent, start);   // by the answer that it waits after: that holds for others
    CHECK_FALSE(place.spend(waits, 0, at(1s), at(1s)));
    CHECK(place.view(at(1s)).rate->remaining == 0);
    refund(place, waits, at(1s));
    CHECK_FALSE(place.spend(waits, 0, at(1s), at(1s)));

    LimitState seats(spec_of({}, {}, SeatSpec{1, 0}), seed);
    Place no_rate = seats.place({}, start);
    Spent none = spend(no_rate, 0, start);
    no_rate.refund_rate(none, start);
    CHECK_FALSE(no_rate.spend(none, 0, start, start));
}

TEST_CASE("a refund wakes who waits for it") {
    LimitState limit(spec_of(RateSpec{{1, 1min}, 1}, RateSpec{{60, 1min}, 60}), seed);
    Place place = limit.place("", start);
    int woken = 0;
    Waiter waiter{0, [](void* whom) { ++*static_cast<int*>(whom); }, &woken};
    Spent spent = spend(place, 60, start);
    place.spenders().join(waiter);
    place.settle(spent, 60, start);
    CHECK(woken == 0);
    CHECK(limit.view(start).waiting == 1);
    refund(place, spent, start);
    CHECK(woken == 1);
    CHECK(place.spenders().is_head(waiter));
    place.learn({}, start);
    CHECK(woken == 1);  // this one does not learn
    place.spenders().leave(waiter);
}

TEST_CASE("seats of a limit wake those who wait for seats, not those who wait for the rate") {
    LimitState limit(spec_of(RateSpec{{10, 1s}, 2}, {}, SeatSpec{1, 0}), seed);
    Place place = limit.place("", start);
    int woken[2] = {};
    const auto wake = [](void* whom) { ++*static_cast<int*>(whom); };
    Waiter spender{0, wake, &woken[0]}, sitter{0, wake, &woken[1]};
    auto lease = place.enter(1);
    REQUIRE(lease);
    CHECK_FALSE(place.enter(1));
    place.spenders().join(spender);
    place.sitters().join(sitter);
    CHECK(limit.view(start).seats_in_use == 1);
    CHECK(limit.view(start).waiting == 2);
    lease.reset();
    CHECK(woken[0] == 0);
    CHECK(woken[1] == 1);
    place.spenders().leave(spender);
    place.sitters().leave(sitter);
}

TEST_CASE("what a vendor taught holds beside the limit that is written") {
    LimitSpec spec = spec_of(RateSpec{{1000, 1s}, 1000});
    spec.learn = true;
    LimitState limit(spec, seed);
    Place place = limit.place("", start);
    VendorSignal signal;
    signal.limited = true;
    signal.retry_after = 5s;
    place.learn(signal, start);
    const Tried spent = spend(place, 0, start);
    CHECK_FALSE(spent.admitted);
    CHECK(spent.full.part == Part::learnt);
    CHECK(spent.full.retry_at == at(5s));
    CHECK(limit.view(start).learnt.closed == 5s);
    CHECK(limit.view(start).rate->remaining == 1000);  // nothing was taken
    CHECK(spend(place, 0, at(5s)).admitted);
    CHECK(limit.view(at(5s)).learnt.holds == 0s);
}

TEST_CASE("each key has its own share") {
    LimitState limit(per_tenant(spec_of(RateSpec{{10, 1s}, 2}, {}, SeatSpec{1, 0})), seed);
    for (const char* key : {"a", "b", ""}) {
        CAPTURE(key);
        Place place = limit.place(key, start);
        CHECK(spend(place, 0, start).admitted);
        CHECK(spend(limit.place(key, start), 0, start).admitted);
        CHECK_FALSE(spend(limit.place(key, start), 0, start).admitted);
    }
    Place a = limit.place("a", start), b = limit.place("b", start);
    auto lease = a.enter(1);
    CHECK(lease);
    CHECK_FALSE(limit.place("a", start).enter(1));
    CHECK(b.enter(1));
    const LimitView view = limit.view(start);
    CHECK(view.keys == 3);
    CHECK(view.rate->remaining == 0);  // of the one with least
    CHECK(view.seats_in_use == 1);
    lease.reset();
    CHECK(limit.view(at(10s)).keys == 0);
    CHECK(limit.view(at(10s)).rate->remaining == 2);
}

TEST_CASE("thousands of keys have a share each at one time") {
    LimitState limit(per_tenant(spec_of(RateSpec{{1, 1h}, 1})), seed);
    std::vector<Place> places;
    std::uint64_t admitted = 0;
    for (int i = 0; i < 3'700; ++i) {
        places.push_back(limit.place("tenant-" + std::to_string(i), start));
        admitted += spend(places.back(), 0, start).admitted;
        admitted += spend(limit.place("tenant-" + std::to_string(i), start), 0, start).admitted;
    }
    CHECK(admitted == 3'700);
}

TEST_CASE("hostile keys grow no memory, win nothing and take nothing from others") {
    LimitState limit(per_tenant(spec_of(RateSpec{{1, 1min}, 1}, {}, SeatSpec{1, 0})), seed);
    Place victim = limit.place("victim", start);
    REQUIRE(spend(victim, 0, start).admitted);

    std::uint64_t admitted = 0;
    for (int i = 0; i < 200'000; ++i) {
        admitted += spend(limit.place("attacker-" + std::to_string(i), start), 0, start).admitted;
    }
    // A key each, as long as there is room, and one share for all the others.
    CHECK(admitted <= LimitState::most_keys);
    CHECK(admitted >= LimitState::most_keys - 1);
    CHECK(limit.view(start).keys == LimitState::most_keys);
    CHECK_FALSE(spend(limit.place("victim", start), 0, start).admitted);  // not forgotten: that would lift its limit
    CHECK_FALSE(spend(limit.place("attacker-0", start), 0, start).admitted);

    // What has been given back by time makes room, for what is held it does not.
    CHECK(spend(limit.place("late", at(1min)), 0, at(1min)).admitted);
    CHECK(limit.view(at(1min)).keys == 1);
    CHECK(spend(victim, 0, at(1min)).admitted);
    for (int i = 0; i < 20'000; ++i) spend(limit.place("again-" + std::to_string(i), at(61s)), 0, at(61s));
    CHECK_FALSE(spend(limit.place("victim", at(61s)), 0, at(61s)).admitted);
}

TEST_CASE("a seat keeps its key known") {
    LimitState limit(per_tenant(spec_of({}, {}, SeatSpec{1, 0})), seed);
    auto lease = limit.place("quiet", start).enter(1);
    int seated = 0;
    for (int i = 0; i < 50'000; ++i) seated += limit.place(std::to_string(i), start).enter(1).has_value();
    CHECK(seated == 50'000);  // none of them in the place of the quiet one
    CHECK_FALSE(limit.place("quiet", start).enter(1));
    lease.reset();
    CHECK(limit.place("quiet", start).enter(1));
}

TEST_CASE("what a vendor taught keeps its key known, and what came of it is not the next key's") {
    LimitSpec spec = per_tenant(spec_of({}));
    spec.learn = true;
    LimitState limit(spec, seed);
    VendorSignal closed;
    closed.limited = true;
    closed.retry_after = 10min;
    limit.place("quiet", start).learn(closed, start);
    for (int i = 0; i < 50'000; ++i) limit.place(std::to_string(i), start);
    CHECK(limit.place("quiet", start).full({}, 0, start).retry_at == at(10min));

    closed.retry_after.reset();
    for (int i = 0; i < 20'000; ++i) limit.place("first-" + std::to_string(i), at(1h)).learn(closed, at(1h));
    int as_first = 0;
    for (int i = 0; i < 100; ++i) {  // each where another was that had been limited for the first time too
        Place place = limit.place("second-" + std::to_string(i), at(2h));
        place.learn(closed, at(2h));
        as_first += place.full({}, 0, at(2h)).retry_at == at(2h + 1s);
    }
    CHECK(as_first == 100);
}

TEST_CASE("who waits keeps its key known, and is counted") {
    LimitState limit(per_tenant(spec_of(RateSpec{{10, 1s}, 2}, {}, SeatSpec{1, 0})), seed);
    Place rate = limit.place("rate", start), seat = limit.place("seat", start);
    CHECK(limit.view(start).keys == 0);
    Waiter spender, sitter;
    REQUIRE(rate.spenders().join(spender));
    CHECK(limit.view(start).keys == 1);
    CHECK(limit.view(start).waiting == 1);
    REQUIRE(seat.sitters().join(sitter));
    CHECK(limit.view(start).keys == 2);
    CHECK(limit.view(start).waiting == 2);
    rate.spenders().leave(spender);
    seat.sitters().leave(sitter);
    CHECK(limit.view(start).keys == 0);
    CHECK(limit.view(start).waiting == 0);
}

TEST_CASE("random walk: every key is limited as if it were alone") {
    struct Model {
        Gcra rate, tokens;
        Model(const RateSpec& rate, const RateSpec& tokens) : rate(rate), tokens(tokens) {}
    };
    for (int round = 0; round < 20 / walk::slower + 1; ++round) {
        walk::Dice dice(round);
        const RateSpec rate{{50, 1s}, 5}, tokens{{1000, 1s}, 300};
        LimitState limit(per_tenant(spec_of(rate, tokens)), {dice.next(), dice.next()});
        std::map<std::string, Model, std::less<>> models;
        TimePoint now = start;
        std::uint64_t admitted = 0, refused = 0;
        for (int step = 0; step < 100'000; ++step) {
            now += Duration(dice.below(200'000));
            const std::string key = std::to_string(dice.one_in(2) ? dice.below(8) : dice.below(100'000));
            auto model = models.find(key);
            if (model == models.end()) {
                model = models.try_emplace(key, rate, tokens).first;
            }
            const std::uint64_t cost = 1 + dice.below(100);
            const bool fits =
                model->second.rate.ready_at(1, now) <= now && model->second.tokens.ready_at(cost, now) <= now;
            if (fits) {
                model->second.rate.take(1, now);
                model->second.tokens.take(cost, now);
            }
            Place place = limit.place(key, now);
            if (spend(place, cost, now).admitted != fits) FAIL("round " << round << " step " << step);
            ++(fits ? admitted : refused);
        }
        CHECK(admitted > 10'000);
        CHECK(refused > 1'000);
    }
}

TEST_CASE("threads that use keys at the same time get no more than each key has", "[multi-worker]") {
    constexpr unsigned keys = 300, most = 2, threads = 4;
    LimitState limit(per_tenant(spec_of(RateSpec{{1, 24h}, 50}, {}, SeatSpec{most, 0})), seed);
    std::vector<std::atomic<unsigned>> seated(keys), spent(keys);
    std::atomic<unsigned> faults{0};
    const auto work = [&](unsigned id) {
        walk::Dice dice(id);
        for (int i = 0; i < 200'000 / walk::slower; ++i) {
            const auto key = dice.below(keys);
            if (dice.one_in(3)) {
                const std::string name = "noise-" + std::to_string(dice.next());  // no share taken: it may be forgotten
                limit.place(name, start);
            }
            Place place = limit.place("key-" + std::to_string(key), start);
            if (spend(place, 0, start).admitted) ++spent[key];
            if (auto lease = place.enter(most)) {
                if (seated[key].fetch_add(1) >= most) ++faults;
                seated[key].fetch_sub(1);
            }
        }
    };
    std::vector<std::thread> workers;
    for (unsigned id = 0; id < threads; ++id) workers.emplace_back(work, id);
    for (std::thread& worker : workers) worker.join();
    CHECK(faults == 0);
    CHECK(std::all_of(spent.begin(), spent.end(), [](const auto& n) { return n <= 50; }));
    CHECK(limit.view(start).seats_in_use == 0);
}

#ifdef __x86_64__
TEST_CASE("a key whose entry becomes another's in the very moment it is found does not share it") {
    LimitState limit(per_tenant(spec_of({}, {}, SeatSpec{1, 0})), seed);
    // The table is held full, but for one entry. Whether a key finds room is told by the seat of those that find none.
    std::deque<Place> held;
    for (int i = 0; i < 15'000; ++i) held.push_back(limit.place("held-" + std::to_string(i), start));
    auto seat_without_room = held.back().enter(1);
    REQUIRE(seat_without_room);
    const auto finds_room = [&](const std::string& key) { return limit.place(key, start).seats_in_use() == 0; };
    REQUIRE_FALSE(finds_room("one more"));
    held.pop_front();
    std::vector<std::string> keys;
    for (int i = 0; keys.size() < 2 && i < 20'000; ++i) {
        const std::string key = "key-" + std::to_string(i);
        if (finds_room(key)) keys.push_back(key);
    }
    REQUIRE(keys.size() == 2);
    seat_without_room->give_back();

    // Wherever the search for the first key's entry is interrupted, and the second key takes it.
    unsigned shared = 0, taken = 0;
    for (int after = 1;; after += walk::slower) {
        limit.place(keys[0], start);
        Place first, second;
        std::optional<Lease> seat;
        const auto find = [&] { first = limit.place(keys[0], start); };
        const auto take = [&] {
            second = limit.place(keys[1], start);
            seat = second.enter(1);
        };
        if (!interrupted(after, find, take)) break;
        shared += !first.enter(1);
        ++taken;
    }
    CHECK(taken > 50);
    CHECK(shared == 0);
}
#endif

TEST_CASE("a call that gets its rate but not its tokens gives the rate back, whoever was faster", "[multi-worker]") {
    LimitState limit(spec_of(RateSpec{{1, 24h}, 1000}, RateSpec{{1, 24h}, 100}), seed);
    std::atomic<int> begun{0};
    const auto work = [&] {
        ++begun;
        while (begun < 4) std::this_thread::yield();  // or the first would be done before the last begins
        Place place = limit.place("", start);
        for (int i = 0; i < 300'000 / walk::slower; ++i) {
            Spent spent = spend(place, 60, start);
            if (spent.admitted) refund(place, spent, start);
        }
    };
    std::vector<std::thread> workers;
    for (int i = 0; i < 4; ++i) workers.emplace_back(work);
    for (std::thread& worker : workers) worker.join();
    // Of two that come back at one moment it is less rather than more (see rate.hpp): a few of a million.
    CHECK(limit.view(start).rate->remaining >= 900);
    CHECK(limit.view(start).tokens->remaining >= 40);
}

TEST_CASE("random walk: concurrent calls do not overshoot a budget of tokens, over no time, whatever comes back of their estimates") {
    // Each reserves an estimate, and learns what it cost when others have long begun: less, nothing (it was refused), or
    // more, which is owed. The plain model is a bucket that time fills, and that is told afterwards what each call took
    // when it began, and what it owed when it ended.
    struct Event {
        TimePoint when;
        std::uint64_t tokens;
        bool owed;
    };
    std::uint64_t settled = 0, in_vain = 0, owed = 0;
    for (int round = 0; round < 300 / walk::slower + 1; ++round) {
        walk::Dice dice(round);
        const RateSpec budget{{1000 * (1 + dice.below(500)), 1min}, 1 + dice.below(dice.one_in(2) ? 50'000 : 2'000)};
        const Duration unit{(60'000'000'000 + budget.rate.count - 1) / static_cast<std::int64_t>(budget.rate.count)};
        const bool owing = dice.one_in(2);
        LimitState limit(spec_of(dice.one_in(2) ? std::optional(RateSpec{{100, 1s}, 1 + dice.below(50)}) : std::nullopt, budget), seed);
        Place place = limit.place("", start);
        struct Call {
            Spent spent;
            std::size_t event;
        };
        std::vector<Call> running;
        std::vector<Event> events;
        TimePoint now = start;
        for (int step = 0; step < 10'000; ++step) {
            now += Duration(dice.below(2 * static_cast<std::uint64_t>(unit.count()) * (1 + dice.below(500))));
            if (dice.one_in(1000)) now += unit * budget.burst;
            if (!running.empty() && (running.size() > 100 || dice.one_in(3))) {
                std::swap(running[dice.below(running.size())], running.back());
                Call call = running.back();
                running.pop_back();
                const std::uint64_t cost = call.spent.tokens.cost;
                std::uint64_t actual = dice.one_in(4) ? 0 : dice.below(owing ? 2 * cost + 1 : cost + 1);
                if (dice.one_in(10)) {
                    refund(place, call.spent, now);  // nothing was sent
                    actual = 0;
                } else {
                    place.settle(call.spent, actual, now);
                    place.settle(call.spent, 0, now);  // once only
                }
                events[call.event].tokens = std::min(actual, cost);
                if (actual > cost) events.push_back({now, actual - cost, true});
                settled += actual;
                in_vain += cost - std::min(actual, cost);
                owed += actual - std::min(actual, cost);
                continue;
            }
            const std::uint64_t estimate = 1 + dice.below(dice.one_in(5) ? budget.burst : 1 + budget.burst / 10);
            const Tried spent = spend(place, estimate, now);
            if (!spent.admitted) continue;
            running.push_back({spent, events.size()});
            events.push_back({now, spent.tokens.cost, false});
        }
        Duration level = unit * budget.burst;
        TimePoint last = start;
        for (const Event& event : events) {
            level = std::min<Duration>(level + (event.when - last), unit * budget.burst);
            last = event.when;
            level -= unit * event.tokens;
            if (!event.owed && event.tokens > 0 && level < 0s) FAIL("more than rate * t + burst, round " << round);
        }
    }
    CHECK(settled > 100'000'000 / walk::slower);
    CHECK(in_vain > 100'000'000 / walk::slower);
    CHECK(owed > 10'000'000 / walk::slower);
}

TEST_CASE("what was reserved in vain can be used: a budget of tokens is nearly all settled, however far too high the estimates are") {
    walk::Dice dice(5);
    LimitState limit(spec_of({}, RateSpec{{60'000, 1min}, 10'000}), seed);
    Place place = limit.place("", start);
    std::vector<Spent> running;
    std::uint64_t used = 0;
    for (TimePoint now = start; now < at(10min); now += 10ms) {
        if (running.size() == 4) {
            for (Spent& spent : running) {
                place.settle(spent, 50, now);
                used += 50;
            }
            running.clear();
        }
        if (const Tried spent = spend(place, 1000 + dice.below(1000), now); spent.admitted) running.push_back(spent);
    }
    CHECK(used <= 10'000 + 600'000);
    CHECK(used > 570'000);
}

namespace {

/// Four workers' threads, each with a wheel of its own, and the applications that wait there for one limit: as
/// exchange/admission.cpp does it, in virtual time.
class Workers {
  public:
    Workers(const LimitSpec& spec, unsigned applications, Duration turn, std::uint64_t dice)
        : place_(limit_of(spec).place("", start)), turn_(turn), dice_(dice) {
        for (unsigned i = 0; i < applications; ++i) applications_.emplace_back(*this, workers_[i % workers_.size()]);
    }
    /// When each call went, in order. Whoever has gone comes again at once.
    std::vector<TimePoint> run(TimePoint end) {
        for (Application& one : applications_) one.go();
        while (now_ < end) {
            TimePoint next = never;
            for (Worker& worker : workers_) next = std::min(next, worker.wakes_at());
            if (next == never) FAIL("nobody will ever wake");
            now_ = std::max(now_, next) + Duration(dice_.below(static_cast<std::uint64_t>(turn_.count()) + 1));
            for (Worker& worker : workers_) {
                worker.wheel.advance(now_);
                while (!worker.posted.empty()) {
                    Application& woken = *worker.posted.front();
                    worker.posted.pop_front();
                    woken.go();
                }
            }
        }
        return went_;
    }

  private:
    struct Application;
    struct Worker {
        Wheel wheel{start};
        std::deque<Application*> posted;
        TimePoint wakes_at() const { return posted.empty() ? wheel.wake() : start; }
    };
    struct Application {
        Application(Workers& in, Worker& at) : all(in), worker(at) {}
        static void wake(void* whom) {
            auto& self = *static_cast<Application*>(whom);
            self.worker.posted.push_back(&self);
        }
        /// Everything that its coroutine does from one sleep to the next.
        void go() {
            asleep.disarm();
            for (const TimePoint now = all.now_;;) {
                if (!turn) turn.emplace(all.place_.spenders(), waiter = {0, wake, this, now}, later(now, 10s));
                Full full = all.place_.full({}, 1, now);
                if (turn->may_try()) {
                    const Tried spent = spend(all.place_, 1, turn->since(now), now);
                    if (spent.admitted) {
                        turn->took();
                        turn.reset();
                        all.went_.push_back(now);
                        continue;
                    }
                    full = spent.full;
                }
                const auto until = turn->wait_until(full, now);
                if (!until) FAIL("refused, though there is time to wait");
                if (*until <= now) continue;
                worker.wheel.arm(asleep, *until);
                return;
            }
        }
        Workers& all;
        Worker& worker;
        Waiter waiter;
        std::optional<Turn> turn;
        Deadline asleep{[](void* self) { static_cast<Application*>(self)->go(); }, this};
    };
    LimitState& limit_of(const LimitSpec& spec) { return limit_.emplace(spec, seed); }

    std::optional<LimitState> limit_;
    Place place_;
    const Duration turn_;
    walk::Dice dice_;
    TimePoint now_ = start;
    std::array<Worker, 4> workers_;
    std::deque<Application> applications_;
    std::vector<TimePoint> went_;
};

}  // namespace

TEST_CASE(
    "those who wait on four workers get a rate to within 1 % over 10 s, and at no time more than a tick's worth") {
    struct Case {
        std::uint64_t per_second, burst;
        unsigned applications;
        Duration turn;  // how long a worker's turn may take at most
    };
    for (const Case& c : {Case{200, 1, 12, 0us}, Case{200, 2, 12, 0us}, Case{200, 1, 12, 200us}, Case{50, 1, 4, 200us},
                          Case{333, 1, 12, 100us}, Case{1000, 1, 32, 50us}, Case{3000, 5, 64, 10us}}) {
        CAPTURE(c.per_second, c.burst);
        for (const bool of_tokens : {false, true}) {
            const RateSpec rate{{c.per_second, 1s}, c.burst};
            Workers workers(of_tokens ? spec_of({}, rate) : spec_of(rate), c.applications, c.turn, c.per_second);
            const std::vector<TimePoint> went = workers.run(at(10s));
            CHECK(went.size() >= c.per_second * 10 * 99 / 100);
            const double per_ns = static_cast<double>(c.per_second) / 1e9;
            double lead = 0, least = 0;  // of what went, before the time's worth
            for (std::size_t i = 0; i < went.size(); ++i) {
                const double worth = per_ns * static_cast<double>((went[i] - start).count());
                least = std::min(least, static_cast<double>(i) - worth);
                lead = std::max(lead, static_cast<double>(i + 1) - worth - least);
            }
            CHECK(lead <= static_cast<double>(c.burst) + per_ns * static_cast<double>(wheel_tick.count()) + 0.001);
        }
    }
}

namespace {

/// A bucket of time, which a wheel's tick may be taken beyond.
struct Bucket {
    Bucket(const RateSpec& spec, TimePoint from)
        : unit(spec.rate.per / static_cast<std::int64_t>(spec.rate.count)),
          most(unit * spec.burst + wheel_tick),
          level(most),
          at(from) {}
    void move_to(TimePoint now) {
        level = std::min(most, level + (now - at));
        at = now;
    }
    Duration unit, most, level;
    TimePoint at;
};

/// Applications that come, wait, go, settle, are sent for nothing or go away, under one limit of rate, tokens and what
/// is learnt: whatever of these there is.
struct Crowd {
    struct One {
        Waiter waiter;
        std::optional<Turn> turn;
        std::optional<Spent> spent;
        std::size_t event = 0;
        TimePoint deadline, until;
        std::uint64_t cost = 0, came = 0;
        std::size_t before = 0, after = 0;  // waited when it came; places that were taken since then
        bool posted = false;
    };
    struct Event {
        TimePoint when;
        std::uint64_t tokens, calls;
        bool owed;
    };

    explicit Crowd(std::uint64_t round)
        : dice(round), limit(spec_for(dice), {dice.next(), dice.next()}), place(limit.place("", start)), crowd(24) {}

    static LimitSpec spec_for(walk::Dice& dice) {
        const bool rate = !dice.one_in(3);
        LimitSpec spec;
        if (rate) spec.rate = RateSpec{{1 + dice.below(500), 1s}, 1 + dice.below(dice.one_in(2) ? 3 : 50)};
        if (!rate || dice.one_in(2))
            spec.tokens = TokenSpec{{{1000 + dice.below(100'000), 1s}, 500 + dice.below(3000)}};
        spec.learn = dice.one_in(2);
        return spec;
    }
    bool waits(const One& one) const { return one.turn && one.turn->waits(); }
    /// Whose turn it is, of those who wait.
    One* head() {
        One* first = nullptr;
        for (One& one : crowd) {
            if (!waits(one)) continue;
            const auto sooner = [&](const One& a, const One& b) {
                return in_a_row < 3 && a.waiter.priority != b.waiter.priority ? a.waiter.priority > b.waiter.priority
                                                                              : a.came < b.came;
            };
            if (!first || sooner(one, *first)) first = &one;
        }
        return first;
    }
    void took(One& one) {
        const One* const first = head();
        const bool newcomer = !waits(one);
        if (newcomer ? first && (in_a_row == 3 || first->waiter.priority >= one.waiter.priority) : first != &one)
            FAIL("passed somebody");
        bool oldest = true, alone = true;
        for (One& other : crowd) {
            if (&other == &one || !waits(other)) continue;
            alone = false;
            oldest &= one.came < other.came;
            if (++other.after >= 4 * (other.before + 1)) FAIL("starved");
        }
        if (!newcomer || !alone) in_a_row = oldest && !newcomer ? 0 : std::min(in_a_row + 1, 3u);
        waited += !newcomer;
        one.turn->took();
        one.turn.reset();
        one.event = events.size();
        events.push_back({now, one.spent->tokens.cost, 1, false});
        if (now < closed) FAIL("sent while the vendor wants nothing");
        ++admitted;
    }
    /// Everything that a coroutine does from one sleep to the next.
    void go(One& one) {
        one.posted = false;
        for (;;) {
            Full full = place.full({}, one.cost, now);
            if (one.turn->may_try()) {
                const Tried spent = spend(place, one.cost, one.turn->since(now), now);
                if (spent.admitted) {
                    one.spent = spent;
                    return took(one);
                }
                full = spent.full;
                if (full.retry_at <= now) FAIL("refused though there is room");
            }
            const auto until = one.turn->wait_until(full, now);
            if (!until) {
                const bool in_vain = full.only_time_helps() && full.retry_at > one.deadline;
                if (now < one.deadline && !in_vain) FAIL("refused though it may wait");
                one.turn.reset();
                ++refused;
                return;
            }
            if (*until > one.deadline) FAIL("sleeps too long");
            one.until = *until;
            if (*until > now) return;
        }
    }
    void end(One& one) {
        Event& event = events[one.event];
        if (gives_back && dice.one_in(4)) {
            refund(place, *one.spent, now);
            event.tokens = event.calls = 0;
        } else if (limit.spec().tokens) {
            const std::uint64_t reserved = event.tokens, least = gives_back ? 0 : reserved;
            const std::uint64_t actual = least + dice.below(one.cost * 5 / 4 + 2 - std::min(least, one.cost));
            place.settle(*one.spent, actual, now);
            event.tokens = std::min(actual, reserved);
            if (actual > reserved) events.push_back({now, actual - reserved, 0, true});
        }
        one.spent.reset();
    }
    void step() {
        now += Duration(dice.below(2'000'000));
        for (One& one : crowd)  // the wheel: a tick late at most
            if (waits(one) &&
                (one.posted || (one.until <= now && (one.until + wheel_tick / 2 < now || dice.one_in(2)))))
                go(one);
        One& one = crowd[dice.below(crowd.size())];
        if (one.spent) {
            if (dice.one_in(2)) end(one);
        } else if (!one.turn) {
            one.waiter = {static_cast<int>(dice.below(4)), [](void* whom) { static_cast<One*>(whom)->posted = true; },
                          &one, now};
            one.deadline = now + Duration(dice.below(1'000'000'000));
            one.cost = limit.spec().tokens ? 1 + dice.below(1000) : 0;
            one.came = ++coming;
            one.before = place.spenders().size();
            one.after = 0;
            one.turn.emplace(place.spenders(), one.waiter, one.deadline);
            go(one);
        } else if (dice.one_in(40)) {
            one.turn.reset();  // it went away
        }
        if (limit.spec().learn && dice.one_in(300)) learn();
        const One* const first = head();
        if (!first != place.spenders().empty()) FAIL("the queue does not know who waits");
        if (first && !first->posted && first->until > now && place.full({}, first->cost, now).retry_at <= now)
            FAIL("a wake-up was lost");
    }
    void learn() {
        VendorSignal signal;
        if (dice.one_in(2)) {
            signal.limited = true;
            signal.retry_after = Duration(dice.below(300'000'000));
            closed = std::max(closed, now + *signal.retry_after);
        } else {
            const auto kind = dice.one_in(2) ? QuotaHint::Kind::requests : QuotaHint::Kind::tokens;
            signal.quotas.add({kind, dice.one_in(2), 1000, 1 + dice.below(400), Duration(1 + dice.below(500'000'000))});
        }
        place.learn(signal, now);
    }
    /// What is given back is rate_test's: here it wakes those who wait.
    void judge() const {
        if (gives_back) return;
        const LimitSpec& spec = limit.spec();
        std::optional<Bucket> rate, tokens;
        if (spec.rate) rate.emplace(*spec.rate, start);
        if (spec.tokens) tokens.emplace(spec.tokens->rate, start);
        const auto take = [](std::optional<Bucket>& bucket, const Event& event, std::uint64_t units) {
            if (!bucket || units == 0) return;
            bucket->move_to(event.when);
            bucket->level -= bucket->unit * units;
            if (!event.owed && bucket->level < 0s) FAIL("more than rate * t + burst and a tick's worth");
        };
        for (const Event& event : events) {
            take(rate, event, event.calls);
            take(tokens, event, event.tokens);
        }
    }

    walk::Dice dice;
    const bool gives_back = dice.one_in(2);
    LimitState limit;
    Place place;
    std::vector<One> crowd;
    std::vector<Event> events;
    TimePoint now = start, closed = start;
    unsigned in_a_row = 0;
    std::uint64_t coming = 0, admitted = 0, waited = 0, refused = 0;
};

}  // namespace

TEST_CASE(
    "random walk: under rate, tokens and what is learnt nobody is passed, starved, left asleep or let through too "
    "early") {
    std::uint64_t admitted = 0, waited = 0, refused = 0;
    for (int round = 0; round < 200 / walk::slower; ++round) {
        CAPTURE(round);
        Crowd crowd(round);
        for (int step = 0; step < 10'000; ++step) crowd.step();
        crowd.judge();
        for (Crowd::One& one : crowd.crowd) one.turn.reset();
        if (!crowd.place.spenders().empty()) FAIL("something is left");
        admitted += crowd.admitted;
        waited += crowd.waited;
        refused += crowd.refused;
    }
    CHECK(admitted > 100'000 / walk::slower);
    CHECK(waited > 50'000 / walk::slower);
    CHECK(refused > 10'000 / walk::slower);
}

TEST_CASE("a refusal says when, and what the limits are") {
    LimitSpec spec = spec_of(RateSpec{{100, 1s}, 50}, RateSpec{{200'000, 1min}, 200'000}, SeatSpec{64, 0});
    LimitState limit(spec, seed);
    Place place = limit.place("", start);
    auto lease = place.enter(64);
    const Tried spent = spend(place, 50'000, start);
    REQUIRE(spent.admitted);
    const QuotaViews quotas = quota_views(limit.spec(), place.view(start), 64);
    CHECK(policy_of(quotas) == R"("calls";q=100;w=1, "calls-tokens";q=200000;qu="tokens";w=60, "calls-concurrency";q=64;qu="concurrent-requests")");
    std::string now;
    for (std::size_t i = 0; i < quotas.size; ++i) append_ratelimit(now, quotas.views[i]);
    CHECK(now == R"("calls";r=49;t=1"calls-tokens";r=150000;t=15"calls-concurrency";r=63)");

    CHECK(retry_after_of({Part::rate, at(30s)}, start) == 30s);
    CHECK(retry_after_of({Part::rate, at(-1s)}, start) == 0s);
    CHECK(retry_after_of({Part::seats, never}, start) == 1s);

    struct Case {
        Full full;
        Reason reason;
        std::string detail;
        Duration wait;
    };
    for (const Case& c :
         {Case{{Part::rate, at(1500ms)},
               Reason::rate_limited,
               "the rate of the limit 'calls' is spent; there may be room in 2 s",
               1500ms},
          Case{{Part::tokens, at(10ms)},
               Reason::token_limited,
               "the tokens of the limit 'calls' are spent; there may be room in 1 s",
               1s},
          Case{{Part::seats, never}, Reason::concurrency_limited, "all places of the limit 'calls' are taken", 1s},
          Case{{Part::learnt, at(5s)},
               Reason::rate_limited,
               "the vendor asks for fewer calls (learnt by the limit 'calls'); there may be room in 5 s",
               5s}}) {
        const Refusal refusal = refusal_of(spec, c.full, start);
        CHECK(refusal.reason == c.reason);
        CHECK(refusal.detail == c.detail);
        CHECK(refusal.retry_after == c.wait);
    }
}
