#include "proxy/policy/chaos.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <thread>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

using Kind = ChaosFault::Kind;
using Seen = ChaosState::Seen;

ChaosFault fault_of(std::string_view text, double rate = 1, std::uint64_t first = 0) {
    std::string fault;
    ChaosFault made = parse_fault(text, fault).value();
    made.rate = rate;
    made.first = first;
    return made;
}

ChaosSpec spec_of(std::vector<ChaosFault> inject, std::uint64_t seed = 1) {
    ChaosSpec spec;
    spec.enabled = true;
    spec.inject = std::move(inject);
    spec.seed = seed;
    return spec;
}

Fields fields_of(std::string_view name, std::string_view value) {
    Fields fields;
    fields.add(name, value);
    return fields;
}

/// Which of `n` requests were given which fault: a letter each, '.' for none.
std::string run_of(const ChaosSpec& spec, int n) {
    ChaosState state(spec);
    std::string run;
    for (int i = 0; i < n; ++i) {
        const ChaosFault* fault = draw_fault(spec, state, "", {});
        run.push_back(fault ? static_cast<char>('a' + (fault - spec.inject.data())) : '.');
    }
    return run;
}

const TimePoint start{1000h};

}  // namespace

TEST_CASE("a fault is read from its words") {
    struct Case {
        std::string text;
        Kind kind;
        std::uint64_t argument;
    };
    const Case cases[] = {
        {"status 429", Kind::status, 429},
        {"status 400", Kind::status, 400},
        {"status  599", Kind::status, 599},
        {"delay 500ms", Kind::delay, 500},
        {"delay 1m30s", Kind::delay, 90'000},
        {"reset", Kind::reset, 0},
        {"hang", Kind::hang, 0},
        {"slow_body 1KiB/s", Kind::slow_body, 1024},
        {"slow_body 1B/s", Kind::slow_body, 1},
        {"truncate 100B", Kind::truncate, 100},
        {"truncate 0B", Kind::truncate, 0},
        {"tls_failure", Kind::tls_failure, 0},
        {"dns_failure", Kind::dns_failure, 0},
    };
    for (const Case& one : cases) {
        CAPTURE(one.text);
        std::string fault;
        const auto read = parse_fault(one.text, fault);
        REQUIRE(read);
        CHECK(fault.empty());
        CHECK(read->kind == one.kind);
        CHECK(read->text == one.text);
        if (one.kind == Kind::status) CHECK(read->status == one.argument);
        if (one.kind == Kind::delay) CHECK(read->delay == std::chrono::milliseconds(one.argument));
        if (one.kind == Kind::slow_body || one.kind == Kind::truncate) CHECK(read->bytes == one.argument);
    }
}

TEST_CASE("a fault that cannot be read says how it is written") {
    const std::pair<std::string, std::string> cases[] = {
        {"", "'' is no fault; write one of `status 429`, `delay 500ms`, `reset`"},
        {"statos 429", "(did you mean 'status'?)"},
        {"Reset", "'Reset' is no fault"},
        {" reset", "'' is no fault"},
        {"status", "'status' says nothing after it; write `status 429`"},
        {"status 99", "'99' is no status from 400 to 599; write `status 429`"},
        {"status 0429", "'0429' is no status"},
        {"status 399", "'399' is no status"},
        {"status 600", "'600' is no status"},
        {"status 4xx", "'4xx' is no status"},
        {"delay 500", "'500' is no duration above zero; write `delay 500ms`"},
        {"delay 0s", "'0s' is no duration above zero"},
        {"slow_body 1KiB", "'1KiB' is no size above zero a second; write `slow_body 1KiB/s`"},
        {"slow_body 0B/s", "'0B/s' is no size above zero a second"},
        {"truncate 100", "'100' is no size; write `truncate 100B`"},
        {"hang 5s", "'hang' takes nothing after it; write `hang`"},
    };
    for (const auto& [text, words] : cases) {
        CAPTURE(text);
        std::string fault;
        CHECK_FALSE(parse_fault(text, fault));
        CHECK_THAT(fault, Catch::Contains(words));
    }
}

TEST_CASE("the header of a fault is a name with or without a value") {
    ChaosFault fault;
    std::string wrong;
    REQUIRE(parse_fault_header("X-Test:  a b ", fault, wrong));
    CHECK((fault.header == "X-Test" && fault.value == "a b"));
    REQUIRE(parse_fault_header("X-Test", fault, wrong));
    CHECK((fault.header == "X-Test" && fault.value.empty()));
    const std::pair<std::string, std::string> cases[] = {
        {"", "'' is no header name"},
        {": 1", "'' is no header name"},
        {"X Test: 1", "'X Test' is no header name"},
        {"X-Test:", "no value after the colon; write `X-Test: 1`, or `X-Test` for any"},
        {"X-Test: a\nb", "control character"},
        {"Sluice-Test: 1", "'Sluice-Test' is a header of Sluice's own"},
    };
    for (const auto& [text, words] : cases) {
        CAPTURE(text);
        CHECK_FALSE(parse_fault_header(text, fault, wrong));
        CHECK_THAT(wrong, Catch::Contains(words));
    }
    CHECK(fault.header == "X-Test");
}

TEST_CASE("nothing is injected unless chaos is enabled") {
    ChaosSpec spec = spec_of({fault_of("reset")});
    spec.enabled = false;
    ChaosState state(spec);
    CHECK(draw_fault(spec, state, "", {}) == nullptr);
    for (int i = 0; i < 100; ++i) state.seen(spec, Seen::failed, start);
    CHECK_FALSE(state.stopped());
    spec.enabled = true;
    CHECK(draw_fault(spec, state, "", {}) == &spec.inject[0]);
}

TEST_CASE("the first fault that matches and is drawn is the one") {
    ChaosFault on_route = fault_of("reset");
    on_route.route = "charges";
    ChaosFault on_header = fault_of("hang");
    on_header.header = "X-Test";
    on_header.value = "1";
    ChaosFault on_name = fault_of("status 429");
    on_name.header = "X-Any";
    const ChaosSpec spec = spec_of({on_route, on_header, on_name});
    ChaosState state(spec);
    const auto drawn = [&](std::string_view route, const Fields& fields) {
        const ChaosFault* fault = draw_fault(spec, state, route, fields);
        return fault ? fault->text : std::string("none");
    };
    CHECK(drawn("charges", fields_of("X-Test", "1")) == "reset");
    CHECK(drawn("charge", fields_of("x-test", "1")) == "hang");
    CHECK(drawn("", fields_of("X-Test", " 1 ")) == "hang");
    CHECK(drawn("", fields_of("X-Test", "2")) == "none");
    CHECK(drawn("", fields_of("X-Any", "")) == "status 429");
    CHECK(drawn("", {}) == "none");
    Fields twice = fields_of("X-Test", "2");
    twice.add("X-Test", "1");
    CHECK(drawn("", twice) == "hang");
    CHECK((state.injected(0) == 1 && state.injected(1) == 3 && state.injected(2) == 1));
}

TEST_CASE("the same seed gives the same run of draws, another seed another") {
    const auto run = [](std::uint64_t seed) {
        return run_of(spec_of({fault_of("reset", 0.3), fault_of("hang", 0.5)}, seed), 400);
    };
    CHECK(run(7) == run(7));
    CHECK(run(7) != run(8));
    CHECK(run(0) != run(~0ULL));
    CHECK(run(7).find('b') != std::string::npos);
}

TEST_CASE("a rate is met, and faults are drawn independently of each other") {
    const int n = 200'000;
    for (const double rate : {0.001, 0.02, 0.5, 0.999, 1.0}) {
        const std::string run = run_of(spec_of({fault_of("reset", rate), fault_of("hang", 0.5)}, 3), n);
        const auto resets = static_cast<double>(std::count(run.begin(), run.end(), 'a'));
        const auto hangs = static_cast<double>(std::count(run.begin(), run.end(), 'b'));
        CAPTURE(rate, resets, hangs);
        CHECK(std::abs(resets - rate * n) <= 5 * std::sqrt(rate * (1 - rate) * n));  // five sigmas
        CHECK(std::abs(hangs - 0.5 * (n - resets)) <= 5 * std::sqrt(0.25 * n));
    }
}

TEST_CASE("two faults at the same rate are not drawn for the same requests") {
    const ChaosSpec spec = spec_of({fault_of("reset", 0.5), fault_of("hang", 0.5)});
    ChaosSpec second = spec;
    second.inject[0].route = "other";  // never matches
    std::string alone = run_of(second, 200);
    std::replace(alone.begin(), alone.end(), 'b', 'a');
    CHECK(alone != run_of(spec_of({fault_of("reset", 0.5)}), 200));
}

TEST_CASE("first: N is about the first so many requests that match") {
    CHECK(run_of(spec_of({fault_of("reset", 1, 3)}), 6) == "aaa...");
    CHECK(run_of(spec_of({fault_of("reset", 1, 2), fault_of("hang", 1, 2)}), 6) == "aabb..");
    const std::string half = run_of(spec_of({fault_of("reset", 0.5, 100)}), 1000);
    CHECK(half.find_last_of('a') < 100);
    CHECK(std::count(half.begin(), half.end(), 'a') < 70);
    ChaosFault fault = fault_of("reset", 1, 1);
    fault.header = "X-Test";
    const ChaosSpec spec = spec_of({fault});
    ChaosState state(spec);
    CHECK(draw_fault(spec, state, "", {}) == nullptr);
    CHECK(draw_fault(spec, state, "", fields_of("X-Test", "1")) != nullptr);
    CHECK(draw_fault(spec, state, "", fields_of("X-Test", "1")) == nullptr);
}

TEST_CASE("chaos stops by itself once the vendor's own failures pass its share, and stays so") {
    ChaosSpec spec = spec_of({fault_of("reset")});
    ChaosState state(spec);
    // Half of them, not more.
    for (int i = 0; i < 20; ++i) state.seen(spec, i % 2 == 1 ? Seen::failed : Seen::good, start + i * 1s);
    CHECK_FALSE(state.stopped());
    CHECK(state.failure_share(start + 19s) == Approx(0.5));
    CHECK(draw_fault(spec, state, "", {}) != nullptr);
    state.seen(spec, Seen::failed, start + 20s);
    CHECK(state.stopped());
    CHECK(draw_fault(spec, state, "", {}) == nullptr);
    CHECK(state.injected(0) == 1);
    for (int i = 0; i < 1000; ++i) state.seen(spec, Seen::good, start + 1min);
    CHECK(state.stopped());
    CHECK(state.failure_share(start + 1min) == 0);
    CHECK_FALSE(ChaosState(spec).stopped());  // a reload makes it anew
}

TEST_CASE("an answer that fails after its head is one failure, and no success beside it") {
    const ChaosSpec spec = spec_of({fault_of("reset")});
    ChaosState state(spec);
    for (int i = 0; i < 6; ++i) state.seen(spec, Seen::good, start);
    for (int i = 0; i < 3; ++i) state.seen(spec, Seen::turned, start + 1s);
    CHECK(state.failure_share(start + 1s) == Approx(0.5));
    CHECK_FALSE(state.stopped());
    CHECK(state.seen(spec, Seen::turned, start + 2s));
    CHECK(state.stopped());
    CHECK(state.failure_share(start + 30s) == 1);  // what it was good for is longer ago
}

TEST_CASE("a few outcomes say nothing of a vendor yet, and old ones nothing any more") {
    const ChaosSpec spec = spec_of({fault_of("reset")});
    ChaosState few(spec);
    for (int i = 0; i < 4; ++i) few.seen(spec, Seen::failed, start);
    CHECK_FALSE(few.stopped());
    few.seen(spec, Seen::failed, start);
    CHECK(few.stopped());

    ChaosState old(spec);
    for (int i = 0; i < 4; ++i) old.seen(spec, Seen::failed, start);
    CHECK(old.failure_share(start + 29s) == 1);
    CHECK(old.failure_share(start + 30s) == 0);
    for (int i = 0; i < 4; ++i) old.seen(spec, Seen::failed, start + 30s);
    CHECK_FALSE(old.stopped());
    // The same bucket, many times round.
    for (int i = 0; i < 4; ++i) old.seen(spec, Seen::failed, start + 64s * 1000);
    CHECK_FALSE(old.stopped());
    CHECK(old.failure_share(start + 64s * 1000) == 1);
}

TEST_CASE("a vendor that fails millions of times a second is still counted right") {
    ChaosSpec spec = spec_of({fault_of("reset")});
    spec.abort_above = 1;
    ChaosState state(spec);
    for (int i = 0; i < 3'000'000; ++i) state.seen(spec, i % 4 == 0 ? Seen::failed : Seen::good, start);
    CHECK(state.failure_share(start) == Approx(0.25).epsilon(0.001));
    CHECK(state.failure_share(start + 30s) == 0);
}

TEST_CASE("workers share the draws: as many as one alone would have", "[multi-worker]") {
    const int n = 20'000, workers = 4;
    const ChaosSpec spec = spec_of({fault_of("reset", 0.3), fault_of("hang", 1, 500)}, 11);
    const std::string alone = run_of(spec, n * workers);
    ChaosState state(spec);
    std::vector<std::thread> threads;
    for (int w = 0; w < workers; ++w) {
        threads.emplace_back([&, w] {
            for (int i = 0; i < n; ++i) {
                draw_fault(spec, state, "", {});
                state.seen(spec, w == 0 && i % 4 == 3 ? Seen::failed : Seen::good, start + i * 1ms);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(state.injected(0) == static_cast<std::uint64_t>(std::count(alone.begin(), alone.end(), 'a')));
    CHECK(state.injected(1) == 500);
    CHECK_FALSE(state.stopped());
    CHECK(state.failure_share(start + 20s) == Approx(0.0625).epsilon(0.01));
}

// HOLDS is REQUIRE without its price: it is asked millions of times.
#define HOLDS(...)                                         \
    do {                                                   \
        if (!(__VA_ARGS__)) FAIL("broken: " #__VA_ARGS__); \
    } while (false)

namespace {

/// The plainest reading of one fault, of what stops them all, and of what the draws come to.
struct ChaosWalk {
    struct Counts {
        std::uint64_t failed = 0, all = 0;
    };

    walk::Dice dice;
    ChaosSpec spec;
    std::unique_ptr<ChaosState> state, twin;  // the same seed, the same run
    std::vector<std::uint64_t> matched, injected;
    std::map<std::int64_t, Counts> seconds;
    bool stopped = false;
    TimePoint now = start;
    long steps = 0, stops = 0;
    double expected = 0, variance = 0, drawn = 0;  // of all faults whose rate is below 1

    explicit ChaosWalk(std::uint64_t seed) : dice(seed) {}

    void begin() {
        static const char* const kinds[] = {"reset", "hang", "status 503", "delay 1s"};
        static const double rates[] = {0.01, 0.1, 0.5, 0.9, 1};
        std::vector<ChaosFault> faults;
        for (std::uint64_t i = 1 + dice.below(4); i > 0; --i) {
            faults.push_back(fault_of(kinds[dice.below(4)], rates[dice.below(5)], dice.one_in(2) ? dice.below(40) : 0));
            if (dice.one_in(3)) faults.back().route = "charges";
            if (dice.one_in(3)) faults.back().header = "X-Test";
            if (!faults.back().header.empty() && dice.one_in(2)) faults.back().value = "1";
        }
        spec = spec_of(std::move(faults), dice.next());
        spec.enabled = !dice.one_in(20);
        spec.abort_above = static_cast<double>(dice.below(11)) / 10;
        state = std::make_unique<ChaosState>(spec);
        twin = std::make_unique<ChaosState>(spec);
        matched.assign(spec.inject.size(), 0);
        injected.assign(spec.inject.size(), 0);
        seconds.clear();
        stopped = false;
    }

    static bool is_for(const ChaosFault& fault, std::string_view route, std::string_view value) {
        if (!fault.route.empty() && fault.route != route) return false;
        return fault.header.empty() || (!value.empty() && (fault.value.empty() || fault.value == value));
    }

    void request() {
        const std::string_view route = dice.one_in(2) ? "charges" : "";
        const std::string_view values[] = {"", "1", "2"};
        const std::string_view value = values[dice.below(3)];
        const Fields fields = value.empty() ? Fields{} : fields_of("x-test", value);
        const ChaosFault* fault = draw_fault(spec, *state, route, fields);
        HOLDS(draw_fault(spec, *twin, route, fields) == fault);
        if (!spec.enabled || stopped) {
            HOLDS(fault == nullptr);
            return;
        }
        for (std::size_t i = 0; i < spec.inject.size(); ++i) {
            const ChaosFault& one = spec.inject[i];
            const bool due = is_for(one, route, value) && (one.first == 0 || matched[i] < one.first);
            if (is_for(one, route, value)) ++matched[i];
            if (&one == fault) HOLDS(due);
            if (due && one.rate == 1) HOLDS(&one == fault);  // none before it was drawn, or we were not here
            if (due && one.rate < 1) {
                expected += one.rate;
                variance += one.rate * (1 - one.rate);
                drawn += &one == fault ? 1 : 0;
            }
            if (&one != fault) continue;
            ++injected[i];
            break;
        }
        for (std::size_t i = 0; i < injected.size(); ++i) HOLDS(state->injected(i) == injected[i]);
    }

    void outcome() {
        now += dice.one_in(50) ? dice.below(40) * 1s : dice.below(500) * 1ms;
        const TimePoint here = now - (dice.one_in(5) ? 1s : 0s);  // another worker's time
        const bool failed = dice.below(100) < 40;
        const bool now_stopped = state->seen(spec, failed ? Seen::failed : Seen::good, here);
        twin->seen(spec, failed ? Seen::failed : Seen::good, here);
        if (!spec.enabled) {
            HOLDS(!now_stopped);
            return;
        }
        const auto second = std::chrono::floor<std::chrono::seconds>(here).time_since_epoch().count();
        Counts& counts = seconds[second];
        ++counts.all;
        counts.failed += failed ? 1 : 0;
        seconds.erase(seconds.begin(), seconds.lower_bound(second - 60));
        Counts recent;
        for (auto at = seconds.upper_bound(second - 30); at != seconds.end() && at->first <= second; ++at) {
            recent.all += at->second.all;
            recent.failed += at->second.failed;
        }
        const double share = static_cast<double>(recent.failed) / static_cast<double>(recent.all);
        HOLDS(state->failure_share(here) == share);
        const bool stops_now = !stopped && failed && recent.all >= ChaosState::least_seen && share > spec.abort_above;
        HOLDS(now_stopped == stops_now);
        stopped |= stops_now;
        stops += stops_now ? 1 : 0;
        HOLDS(state->stopped() == stopped);
    }

    void step() {
        if (steps++ % 500 == 0) begin();
        dice.one_in(4) ? outcome() : request();
    }
};

}  // namespace

TEST_CASE(
    "a random walk injects what matches, within its `first`, at its rate, and nothing once the vendor fails by "
    "itself") {
    ChaosWalk walk(20261127);
    while (walk.steps < 2'000'000 / walk::slower) walk.step();
    CHECK(walk.stops > 1000 / walk::slower);
    CHECK(walk.drawn > 10'000 / walk::slower);
    CHECK(std::abs(walk.drawn - walk.expected) <= 5 * std::sqrt(walk.variance));  // five sigmas
}
