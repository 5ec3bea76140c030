// Breakers with times as arguments: tables, a seeded walk beside a plain model, and threads that share one.
#include "proxy/policy/breaker.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <vector>

#include "tests/support/steps.hpp"
#include "tests/support/threads.hpp"

using namespace sluice;
using State = Breaker::State;
using Forced = Breaker::Forced;
using Seen = Breaker::Seen;
using Pass = Breaker::Pass;

namespace {

const TimePoint start{1000h};

BreakerSpec spec_of_three() {
    BreakerSpec spec;
    spec.consecutive = 3;
    spec.min_requests = 10;
    spec.window = 8s;
    spec.open_min = 10s;
    spec.open_max = 35s;
    return spec;
}

/// One breaker, its rules and its time.
struct Bench {
    BreakerSpec spec = spec_of_three();
    Breaker breaker;
    TimePoint now = start;

    Pass enter() { return breaker.enter(spec, now); }
    std::optional<State> leave(Pass pass, Seen seen, bool slow = false, bool consecutive = true) {
        return breaker.leave(spec, pass, seen, slow, consecutive, now);
    }
    /// Its head was good; what `fail_late` takes.
    Pass head(Pass pass) {
        breaker.leave(spec, pass, Seen::success, false, true, now);
        return pass;
    }
    std::optional<State> fail_late(Pass pass, bool consecutive = true) {
        return breaker.fail_late(spec, pass, consecutive, now);
    }
    /// Requests that are admitted and seen, one after the other; what the last one moved.
    std::optional<State> run(int times, Seen seen, bool slow = false, bool consecutive = true) {
        std::optional<State> moved;
        for (int i = 0; i < times; ++i) {
            const Pass pass = enter();
            REQUIRE(pass.admitted);
            moved = leave(pass, seen, slow, consecutive);
        }
        return moved;
    }
    void open() { REQUIRE(run(3, Seen::failure) == State::open); }
    Breaker::View view() { return breaker.view(spec, now); }
};

}  // namespace

TEST_CASE("a breaker opens on so many failures in a row") {
    Bench bench;
    CHECK_FALSE(bench.run(2, Seen::failure));
    CHECK(bench.view().consecutive == 2);
    CHECK(bench.run(1, Seen::failure) == State::open);
    CHECK(bench.view().state == State::open);
    const Pass refused = bench.enter();
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_after == 10s);
    CHECK(bench.breaker.refuses(bench.spec, bench.now));
}

TEST_CASE(
    "a success ends a row of failures; a plain 500, a second one of the same exchange and what says nothing do not") {
    Bench bench;
    bench.run(2, Seen::failure);
    bench.run(1, Seen::success);
    CHECK(bench.view().consecutive == 0);
    bench.run(2, Seen::failure);
    bench.run(2, Seen::failure_of_rate);
    bench.run(1, Seen::failure, false, false);
    bench.run(2, Seen::neither);
    CHECK(bench.view().consecutive == 2);
    CHECK(bench.view().state == State::closed);
    CHECK(bench.run(1, Seen::failure) == State::open);
}

TEST_CASE("a breaker opens on the share of failures, plain 500s included, once enough was seen") {
    Bench bench;
    CHECK_FALSE(bench.run(5, Seen::success));
    CHECK_FALSE(bench.run(4, Seen::failure_of_rate));
    CHECK(bench.run(1, Seen::failure_of_rate) == State::open);  // 5 of 10

    Bench too_few;
    CHECK_FALSE(too_few.run(9, Seen::failure_of_rate));
    CHECK(too_few.run(1, Seen::success) == State::open);  // 9 of 10: that much had to be seen

    Bench below;
    below.run(60, Seen::success);
    CHECK_FALSE(below.run(59, Seen::failure_of_rate));
    CHECK(below.run(1, Seen::failure_of_rate) == State::open);
}

TEST_CASE("a share that no double can hold is reached all the same") {
    for (const unsigned percent : {7u, 14u, 29u, 57u, 58u}) {
        CAPTURE(percent);
        Bench bench;
        bench.spec.min_requests = 100;
        bench.spec.failure_rate = percent / 100.0;
        bench.run(static_cast<int>(100 - percent), Seen::success);
        CHECK_FALSE(bench.run(static_cast<int>(percent - 1), Seen::failure_of_rate));
        CHECK(bench.run(1, Seen::failure_of_rate) == State::open);
    }
}

TEST_CASE("a breaker opens on the share of slow answers") {
    Bench bench;
    bench.spec.slow_rate = 0.8;
    bench.run(2, Seen::success);
    CHECK_FALSE(bench.run(7, Seen::success, true));
    CHECK(bench.run(1, Seen::success, true) == State::open);
    CHECK(bench.view().transitions == std::array<std::uint64_t, 3>{0, 1, 0});
}

TEST_CASE("an application that went away counts as slow if it had waited for so long, else not at all") {
    Bench bench;
    CHECK_FALSE(bench.run(100, Seen::neither));
    CHECK(bench.view().seen == 0);
    CHECK_FALSE(bench.run(9, Seen::neither, true));
    CHECK(bench.view().seen == 9);
    CHECK(bench.view().failed == 0);
    CHECK(bench.run(1, Seen::neither, true) == State::open);
}

TEST_CASE("what is older than the window is forgotten, an eighth of it at a time") {
    Bench bench;
    bench.run(4, Seen::failure_of_rate);
    bench.now += 4s;
    bench.run(5, Seen::success);
    CHECK(bench.view().seen == 9);
    bench.now = start + 7999ms;
    CHECK(bench.view().failed == 4);
    bench.now = start + 8s;
    CHECK(bench.view().failed == 0);
    CHECK(bench.view().seen == 5);
    CHECK_FALSE(bench.run(4, Seen::failure_of_rate));
    bench.now = start + 1000h;
    CHECK(bench.view().seen == 0);
}

TEST_CASE("an idle time of as many slices as a slot's name can tell apart revives nothing but that very slice") {
    Bench bench;
    bench.run(4, Seen::failure_of_rate);
    for (const Duration idle : {Duration{8s}, Duration{64s}, Duration{2048s}, Duration{65535s}, Duration{8 * 65535s}}) {
        bench.now = start + idle;
        CAPTURE(idle.count());
        CHECK(bench.view().seen == 0);
    }
}

TEST_CASE("a request that was seen at an earlier time than the slot's own does not wipe it") {
    Bench bench;
    const Pass pass = bench.enter();
    bench.now += 8s;
    bench.run(4, Seen::success);
    bench.now -= 8s;
    CHECK_FALSE(bench.leave(pass, Seen::failure));
    bench.now += 8s;
    CHECK(bench.view().seen == 4);
}

TEST_CASE("half-open lets so many probes through, and closes with an empty window once all have succeeded") {
    Bench bench;
    bench.run(5, Seen::success);
    bench.open();
    bench.now += 10s - 1ns;
    CHECK_FALSE(bench.enter().admitted);
    bench.now += 1ns;
    CHECK_FALSE(bench.breaker.refuses(bench.spec, bench.now));
    CHECK(bench.view().state == State::open);  // asking moves nothing
    const Pass first = bench.enter();
    CHECK(first.probe);
    CHECK(first.moved);
    CHECK(bench.view().state == State::half_open);
    const Pass second = bench.enter();
    CHECK(second.probe);
    CHECK_FALSE(second.moved);
    const Pass third = bench.enter();
    CHECK_FALSE(third.admitted);
    CHECK(third.retry_after == 1s);
    CHECK_FALSE(bench.leave(first, Seen::success));
    CHECK_FALSE(bench.enter().admitted);  // a success keeps its seat
    CHECK(bench.leave(second, Seen::success) == State::closed);
    CHECK(bench.view().seen == 0);
    CHECK(bench.view().consecutive == 0);
    CHECK(bench.view().transitions == std::array<std::uint64_t, 3>{1, 1, 1});
    CHECK(bench.enter().admitted);
}

TEST_CASE("each failed probe doubles the open time up to its upper end; closing begins anew") {
    Bench bench;
    bench.open();
    for (const Duration wait : {10s, 20s, 35s, 35s, 35s}) {
        CAPTURE(wait.count());
        CHECK(bench.view().retry_after == wait);
        bench.now += wait;
        const Pass probe = bench.enter();
        REQUIRE(probe.probe);
        CHECK(bench.leave(probe, Seen::failure, false, false) == State::open);
    }
    for (int i = 0; i < 60; ++i) {  // nothing overflows
        bench.now += 35s;
        bench.leave(bench.enter(), Seen::failure);
        CHECK(bench.view().retry_after == 35s);
    }
    bench.now += 35s;
    const Pass first = bench.enter(), second = bench.enter();
    bench.leave(first, Seen::success);
    CHECK(bench.leave(second, Seen::success) == State::closed);
    bench.open();
    CHECK(bench.view().retry_after == 10s);
}

TEST_CASE("one failed probe is enough, a plain 500 too; the other's outcome comes too late then") {
    for (const Seen seen : {Seen::failure, Seen::failure_of_rate}) {
        Bench bench;
        bench.open();
        bench.now += 10s;
        const Pass first = bench.enter(), second = bench.enter();
        CHECK(bench.leave(first, seen) == State::open);
        CHECK_FALSE(bench.leave(second, Seen::failure));
        CHECK(bench.view().retry_after == 20s);
    }
}

TEST_CASE("a probe of which nothing was learnt gives its seat to the next request") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    for (int i = 0; i < 1000; ++i) {
        const Pass first = bench.enter(), second = bench.enter();
        REQUIRE((first.probe && second.probe));
        REQUIRE_FALSE(bench.enter().admitted);
        REQUIRE_FALSE(bench.leave(first, Seen::neither));
        REQUIRE_FALSE(bench.leave(second, Seen::neither));
    }
    CHECK(bench.view().state == State::half_open);
}

TEST_CASE("probes that succeed too slowly open again, if as many are slow as would have opened it") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    Pass first = bench.enter(), second = bench.enter();
    bench.leave(first, Seen::success, true);
    CHECK(bench.leave(second, Seen::success, true) == State::open);
    CHECK(bench.view().retry_after == 20s);
    bench.now += 20s;
    first = bench.enter(), second = bench.enter();
    bench.leave(first, Seen::success, true);
    CHECK(bench.leave(second, Seen::success, false) == State::closed);  // half of them, where all had to be
}

TEST_CASE("applications that give up waiting for probes open again, and do not close") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    CHECK_FALSE(bench.leave(bench.enter(), Seen::neither, true));
    CHECK(bench.leave(bench.enter(), Seen::neither, true) == State::open);
    bench.now += 20s;
    CHECK_FALSE(bench.leave(bench.enter(), Seen::neither, true));
    CHECK_FALSE(bench.leave(bench.enter(), Seen::success));
    CHECK(bench.leave(bench.enter(), Seen::success) == State::closed);
}

TEST_CASE("probes that are lost do not jam it: after the open time others go in their place") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    bench.enter();  // lost
    bench.now += 9s;
    bench.enter();  // lost
    bench.now += 9s;
    CHECK(bench.enter().retry_after == 1s);
    bench.now += 500ms;
    CHECK(bench.enter().retry_after == 500ms);
    bench.now += 500ms;
    const Pass first = bench.enter(), second = bench.enter();
    CHECK((first.probe && second.probe));
    CHECK_FALSE(first.moved);
    CHECK_FALSE(bench.enter().admitted);
    bench.leave(first, Seen::success);
    CHECK(bench.leave(second, Seen::success) == State::closed);
}

TEST_CASE("a probe that was taken for lost still counts, but gives back no seat") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    const Pass late = bench.enter(), later_still = bench.enter();
    bench.now += 10s;
    const Pass first = bench.enter(), second = bench.enter();
    REQUIRE((first.probe && second.probe));
    bench.leave(late, Seen::neither);
    CHECK_FALSE(bench.enter().admitted);
    SECTION("as a success") {
        CHECK_FALSE(bench.leave(later_still, Seen::success));
        CHECK_FALSE(bench.enter().admitted);
        CHECK(bench.leave(first, Seen::success) == State::closed);
        CHECK_FALSE(bench.leave(second, Seen::failure));
    }
    SECTION("as a failure") {
        CHECK(bench.leave(later_still, Seen::failure) == State::open);
        CHECK_FALSE(bench.leave(first, Seen::success));
    }
}

TEST_CASE("a vendor whose every answer takes longer than the open time is closed again by its late successes") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    const Pass first = bench.enter(), second = bench.enter();
    for (int i = 0; i < 4; ++i) {
        bench.now += 10s;
        bench.enter(), bench.enter();
    }
    bench.leave(first, Seen::success);
    CHECK(bench.leave(second, Seen::success) == State::closed);
}

TEST_CASE("outcomes of an earlier era change nothing, however late they come") {
    Bench bench;
    std::vector<Pass> early;
    for (int i = 0; i < 40; ++i) early.push_back(bench.enter());
    bench.open();
    for (int i = 0; i < 10; ++i) CHECK_FALSE(bench.leave(early[static_cast<std::size_t>(i)], Seen::failure));
    CHECK(bench.view().retry_after == 10s);
    bench.now += 10s;
    const Pass first = bench.enter(), second = bench.enter();
    for (int i = 10; i < 20; ++i) CHECK_FALSE(bench.leave(early[static_cast<std::size_t>(i)], Seen::failure));
    CHECK(bench.view().state == State::half_open);
    bench.leave(first, Seen::success);
    bench.leave(second, Seen::success);
    for (int i = 20; i < 40; ++i) CHECK_FALSE(bench.leave(early[static_cast<std::size_t>(i)], Seen::failure, true));
    CHECK(bench.view().state == State::closed);
    CHECK(bench.view().seen == 0);
    CHECK(bench.view().consecutive == 0);
}

TEST_CASE("a success that fails late leaves the row of failures as if it had been one at once") {
    Bench bench;
    for (const unsigned row : {1u, 2u}) {
        const Pass pass = bench.head(bench.enter());
        CHECK(bench.view().consecutive == 0);
        CHECK_FALSE(bench.fail_late(pass));
        CHECK(bench.view().consecutive == row);
    }
    CHECK(bench.fail_late(bench.head(bench.enter())) == State::open);
    CHECK(bench.view().retry_after == 10s);
}

TEST_CASE("successes that fail late one beside the other count each, and a sound one in between ends the row") {
    Bench bench;
    Pass first = bench.head(bench.enter()), second = bench.head(bench.enter());
    CHECK_FALSE(bench.fail_late(first));
    CHECK_FALSE(bench.fail_late(second));
    CHECK(bench.view().consecutive == 2);
    bench.run(1, Seen::success);
    first = bench.head(bench.enter());
    CHECK_FALSE(bench.fail_late(first, false));  // of an exchange that has had its failure counted
    CHECK(bench.view().consecutive == 0);
    CHECK_FALSE(bench.fail_late(bench.head(bench.enter())));
    CHECK(bench.view().consecutive == 1);
}

TEST_CASE("in the window a success that fails late is a failure in its place") {
    Bench bench;
    bench.spec.consecutive = 100;
    bench.spec.failure_rate = 0.6;
    bench.run(4, Seen::success);
    for (int i = 0; i < 5; ++i) CHECK_FALSE(bench.fail_late(bench.head(bench.enter())));
    CHECK(bench.view().seen == 9);
    CHECK(bench.view().failed == 5);
    CHECK_FALSE(bench.leave(Pass{}, Seen::failure));
    const Pass tenth = bench.head(bench.enter());
    CHECK(bench.fail_late(tenth) == State::open);  // 6 of 10
}

TEST_CASE("a success that fails later than the window remembers is a failure of its own, and twice it fails not") {
    Bench bench;
    bench.run(2, Seen::failure);
    Pass late = bench.head(bench.enter());
    bench.now += 8s;
    CHECK_FALSE(bench.breaker.fail_late(bench.spec, late, true, bench.now));
    CHECK_FALSE(bench.breaker.fail_late(bench.spec, late, true, bench.now));
    CHECK(bench.view().seen == 1);
    CHECK(bench.view().failed == 1);
    CHECK(bench.view().consecutive == 1);
}

TEST_CASE("what was no success, or is of an earlier era, cannot fail late") {
    Bench bench;
    for (const Seen seen : {Seen::failure_of_rate, Seen::neither}) {
        Pass pass = bench.enter();
        bench.breaker.leave(bench.spec, pass, seen, true, true, bench.now);
        CHECK_FALSE(bench.fail_late(pass));
    }
    CHECK(bench.view().failed == 1);
    CHECK(bench.view().consecutive == 0);
    const Pass early = bench.head(bench.enter());
    bench.open();
    CHECK_FALSE(bench.fail_late(early));
    CHECK(bench.view().retry_after == 10s);
    bench.breaker.force(Forced::closed);
    const Pass forced = bench.head(bench.enter());
    bench.spec.consecutive = 1;
    CHECK_FALSE(bench.fail_late(forced));
    CHECK(bench.view().failed == 1);
}

TEST_CASE("a probe whose success fails late opens again for twice as long, while half-open and just closed") {
    Bench bench;
    bench.open();
    bench.now += 10s;
    Pass first = bench.head(bench.enter());
    CHECK(bench.fail_late(first) == State::open);
    CHECK(bench.view().retry_after == 20s);
    bench.now += 20s;
    first = bench.head(bench.enter());
    Pass second = bench.head(bench.enter());
    CHECK(bench.view().state == State::closed);
    bench.now += 10s - 1ns;
    CHECK(bench.fail_late(first) == State::open);
    CHECK_FALSE(bench.fail_late(second));  // that is an earlier era
    CHECK(bench.view().retry_after >= 35s);
    bench.now += 40s;
    first = bench.head(bench.enter()), second = bench.head(bench.enter());
    SECTION("but not once it has been closed for as long as it was open at first") {
        bench.now += 10s;
        CHECK_FALSE(bench.fail_late(first));
    }
    SECTION("and not where an operator holds it") {
        bench.breaker.force(Forced::closed);
        CHECK_FALSE(bench.fail_late(first));
    }
    SECTION("and not where it has opened and closed since") {
        bench.open();
        bench.now += 1s;
        CHECK_FALSE(bench.fail_late(first));
    }
}

TEST_CASE("a pass that was refused has nothing to give back") {
    Bench bench;
    for (int i = 0; i < 10; ++i) CHECK_FALSE(bench.leave(Pass{}, Seen::failure));
    CHECK(bench.view().seen == 0);
}

TEST_CASE("what has waited for a recovery is let back in little by little, and refused with how long") {
    Bench bench;
    bench.spec.consecutive = 1;
    for (int i = 0; i < 4000; ++i, bench.now += 10ms) bench.run(1, Seen::success);  // 100 a second
    CHECK(bench.run(1, Seen::failure) == State::open);
    bench.now += 10s;
    CHECK(bench.leave(bench.enter(), Seen::failure) == State::open);
    CHECK(bench.breaker.readmits(bench.spec, bench.now) == 0);
    bench.now += 20s;
    const Pass first = bench.enter(), second = bench.enter();
    bench.leave(first, Seen::success);
    CHECK(bench.leave(second, Seen::success) == State::closed);

    CHECK(bench.breaker.readmits(bench.spec, bench.now) == Approx(122).epsilon(0.02));
    int admitted = 0;
    for (int i = 0; i < 1000; ++i, bench.now += 1ms) admitted += bench.enter().admitted;
    CHECK(admitted == Approx(120).margin(3));
    while (bench.enter().admitted) {
    }
    const Pass refused = bench.enter();
    CHECK(refused.retry_after > 0s);
    CHECK(refused.retry_after <= 10ms);
    CHECK(bench.breaker.refuses(bench.spec, bench.now));
    CHECK(bench.view().state == State::closed);
    CHECK(bench.breaker.come_back(bench.spec, 0, bench.now) == refused.retry_after);
    CHECK(bench.breaker.come_back(bench.spec, 1, bench.now) == refused.retry_after + 59s);
    CHECK(bench.view().readmits_for == 59s);
    CHECK(bench.view().readmits > 0);

    SECTION("for a minute") {
        bench.now += 59s;
        CHECK(bench.breaker.readmits(bench.spec, bench.now) == 0);
        CHECK(bench.view().readmits == 0);
        for (int i = 0; i < 1000; ++i) REQUIRE(bench.enter().admitted);
    }
    SECTION("but not where an operator says otherwise, nor when he has taken it back") {
        bench.breaker.force(Forced::closed);
        for (int i = 0; i < 1000; ++i) REQUIRE(bench.enter().admitted);
        CHECK(bench.view().readmits == 0);
        bench.breaker.force(Forced::automatic);
        for (int i = 0; i < 1000; ++i) REQUIRE(bench.enter().admitted);
    }
    SECTION("and not without a breaker") {
        bench.spec.enabled = false;
        for (int i = 0; i < 1000; ++i) REQUIRE(bench.enter().admitted);
    }
    SECTION("and it opens meanwhile like at any time") {
        bench.now += 1s;
        CHECK(bench.run(1, Seen::failure) == State::open);
        CHECK(bench.view().readmits == 0);
    }
}

TEST_CASE("who is refused is told to come back from the end of the open time on, spread over the shortest") {
    Bench bench;
    bench.open();
    const Duration wait = bench.view().retry_after;
    CHECK(bench.breaker.come_back(bench.spec, 0, bench.now) == wait);
    CHECK(bench.breaker.come_back(bench.spec, 0.5, bench.now) == wait + bench.spec.open_min / 2);
    CHECK(bench.breaker.come_back(bench.spec, 1, bench.now) == wait + bench.spec.open_min);
    bench.breaker.force(Forced::open);
    CHECK(bench.breaker.come_back(bench.spec, 0.5, bench.now) == bench.spec.open_min * 3 / 2);
}

TEST_CASE("forced open refuses all; back to automatic it begins anew") {
    Bench bench;
    const Pass early = bench.enter();
    CHECK(bench.breaker.force(Forced::open) == State::open);
    CHECK_FALSE(bench.breaker.force(Forced::open));
    CHECK(bench.view().forced == Forced::open);
    CHECK(bench.view().state == State::open);
    bench.now += 1000h;
    CHECK(bench.enter().retry_after == 10s);
    bench.spec.enabled = false;  // a kill switch works without a breaker
    CHECK_FALSE(bench.enter().admitted);
    CHECK(bench.view().state == State::open);
    bench.spec.enabled = true;
    CHECK_FALSE(bench.leave(early, Seen::failure));
    CHECK(bench.breaker.force(Forced::automatic) == State::closed);
    CHECK(bench.enter().admitted);
    CHECK_FALSE(bench.run(2, Seen::failure));
    CHECK(bench.run(1, Seen::failure) == State::open);
    CHECK(bench.view().transitions == std::array<std::uint64_t, 3>{1, 2, 0});
}

TEST_CASE("forced closed admits all and counts without judging") {
    Bench bench;
    bench.open();
    CHECK(bench.breaker.force(Forced::closed) == State::closed);
    CHECK_FALSE(bench.run(100, Seen::failure));
    CHECK(bench.view().failed == 100);
    CHECK(bench.view().forced == Forced::closed);
    CHECK_FALSE(bench.breaker.force(Forced::automatic));
    CHECK(bench.view().seen == 0);
    bench.open();
    CHECK_FALSE(bench.breaker.force(Forced::automatic));  // was not forced: stays open
    CHECK_FALSE(bench.enter().admitted);
    CHECK_FALSE(bench.breaker.force(Forced::open));  // open already
    CHECK(bench.breaker.force(Forced::closed) == State::closed);
}

TEST_CASE("a breaker that is not enabled admits all and learns nothing") {
    Bench bench;
    bench.open();
    bench.spec.enabled = false;
    CHECK_FALSE(bench.run(100, Seen::failure));
    CHECK(bench.view().state == State::closed);
    CHECK(bench.view().retry_after == 0s);
}

TEST_CASE("eras wrap around without harm") {
    Bench bench;
    bench.run(2, Seen::success);
    for (int i = 0; i < (1 << 15) + 3; ++i) {
        bench.breaker.force(i % 2 ? Forced::closed : Forced::open);
        bench.breaker.force(Forced::automatic);
        const Pass pass = bench.enter();
        if (!pass.admitted || bench.leave(pass, Seen::success) || bench.view().seen != 1) FAIL("in round " << i);
    }
    bench.open();
}

TEST_CASE("more answers in a slice than its counters hold leave their shares as they are") {
    Bench bench;
    bench.spec.slow_rate = 0.9;
    bench.spec.failure_rate = 0.9;
    for (int i = 0; i < steps(2'500'000); ++i)
        bench.leave(bench.enter(), i % 2 ? Seen::failure_of_rate : Seen::success, i % 2);
    const Breaker::View view = bench.view();
    CHECK(view.state == State::closed);
    CHECK(view.failed == view.seen / 2);
    CHECK(view.slow == view.seen / 2);
    bench.spec.failure_rate = 0.4;
    CHECK(bench.leave(bench.enter(), Seen::success) == State::open);
}

TEST_CASE("what an answer says of the endpoint") {
    struct Row {
        unsigned status;
        std::optional<unsigned> grpc;
        Seen seen, to_probe;
    };
    const Row rows[] = {
        {200, {}, Seen::success, Seen::success},
        {204, {}, Seen::success, Seen::success},
        {301, {}, Seen::success, Seen::success},
        {400, {}, Seen::success, Seen::success},
        {401, {}, Seen::success, Seen::success},
        {404, {}, Seen::success, Seen::success},
        {408, {}, Seen::success, Seen::success},
        {429, {}, Seen::success, Seen::neither},
        {500, {}, Seen::failure_of_rate, Seen::failure_of_rate},
        {501, {}, Seen::success, Seen::success},
        {502, {}, Seen::failure, Seen::failure},
        {503, {}, Seen::failure, Seen::failure},
        {504, {}, Seen::failure, Seen::failure},
        {505, {}, Seen::success, Seen::success},
        {529, {}, Seen::success, Seen::success},
        {200, 0, Seen::success, Seen::success},
        {200, 1, Seen::success, Seen::success},
        {200, 2, Seen::failure, Seen::failure},
        {200, 3, Seen::success, Seen::success},
        {200, 4, Seen::failure, Seen::failure},
        {200, 5, Seen::success, Seen::success},
        {200, 8, Seen::success, Seen::neither},
        {200, 13, Seen::failure, Seen::failure},
        {200, 14, Seen::failure, Seen::failure},
        {200, 15, Seen::failure, Seen::failure},
        {200, 16, Seen::success, Seen::success},
        {200, 4000000000u, Seen::success, Seen::success},
        {503, 0, Seen::failure, Seen::failure},  // a status of gRPC says something beside 200 alone
        {404, 14, Seen::success, Seen::success},
    };
    for (const Row& row : rows) {
        CAPTURE(row.status, row.grpc.value_or(999));
        CHECK(seen_of(row.status, row.grpc, false) == row.seen);
        CHECK(seen_of(row.status, row.grpc, true) == row.to_probe);
    }
}

TEST_CASE("what a failure says of the endpoint: only the vendor's count, whatever the reason") {
    const auto seen = [](Reason reason, Origin origin, bool waiting) {
        return seen_of(Failure{origin, reason, Replay::safe, {}, {}}, waiting);
    };
    const std::vector<Reason> of_the_vendor{Reason::dns_failed,     Reason::connect_failed,     Reason::tls_failed,
                                            Reason::upstream_reset, Reason::upstream_protocol,  Reason::timeout_connect,
                                            Reason::timeout_tls,    Reason::timeout_first_byte, Reason::timeout_idle};
    for (std::size_t i = 0; i < reason_count; ++i) {
        const auto reason = static_cast<Reason>(i);
        CAPTURE(name_of(reason));
        const bool fails = std::count(of_the_vendor.begin(), of_the_vendor.end(), reason) > 0;
        CHECK(seen(reason, Origin::vendor, false) == (fails ? Seen::failure : Seen::neither));
        CHECK(seen(reason, Origin::vendor, true) ==
              (fails || reason == Reason::timeout_total ? Seen::failure : Seen::neither));
        CHECK(seen(reason, Origin::sluice, true) == Seen::neither);
        CHECK(seen(reason, Origin::application, true) == Seen::neither);
    }
    CHECK(seen_of(Failure::application_gone(), true) == Seen::neither);
    Failure gone{Origin::vendor, Reason::upstream_reset, Replay::unsafe, {}, {}};
    gone.gone = true;
    CHECK(seen_of(gone, true) == Seen::neither);
}

TEST_CASE("that the time ran out counts where the vendor had the request for first_byte, or for half of `total`") {
    struct Row {
        Duration with_vendor, first_byte, total;
        bool counts;
    };
    const Row rows[] = {
        {5s, 5s, 5s, true},                // `total: 5s` alone, and a vendor that hangs
        {4990ms, 5s, 5s, true},            // what came before it took a moment
        {2500ms, 5s, 5s, true},
        {2499ms, 5s, 5s, false},           // a queue of ours took more than half of it
        {10ms, 5s, 5s, false},
        {60s, 60s, 10min, true},
        {59s, 60s, 10min, false},          // an application that gave it 59 s
        {200ms, 60s, 10min, false},
        {3s, 2s, 10min, true},             // of a body: its head was there in time
        {0s, 60s, 10min, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.with_vendor.count(), row.first_byte.count(), row.total.count());
        CHECK(had_its_time(row.with_vendor, row.first_byte, row.total) == row.counts);
    }
}

namespace {

/// What the header promises, written down as plainly as it can be: everything is remembered, nothing is packed.
struct Model {
    struct Outcome {
        std::int64_t slice;
        bool failed, slow;
        int of = -1;  // whose
    };
    struct Taken {
        Pass pass;
        unsigned era;
        int round;
        int id;
        unsigned row = 0;  // that its success has ended
        bool probe = false;
    };
    const BreakerSpec& spec;
    State state = State::closed;
    Forced forced = Forced::automatic;
    unsigned era = 0;
    std::vector<Outcome> window;
    unsigned row = 0;
    TimePoint until{}, offered{};
    int doublings = 0, round = 0;
    unsigned out = 0, ok = 0, gone = 0, slow = 0;
    Readmission readmission{};  // with tests of its own

    std::int64_t slice(TimePoint now) const { return now.time_since_epoch() / (spec.window / 8); }
    Duration open_time(int doubled) const {
        Duration time = spec.open_min;
        while (doubled-- > 0) time = std::min(spec.open_max, time * 2);
        return time;
    }
    void become(State to) {
        state = to, ++era, row = 0, out = ok = gone = slow = 0, round = 0;
        window.clear();
    }
    void open(int doubled, TimePoint now) {
        if (doubled == 0) readmission.learn(now);
        become(State::open);
        doublings = doubled;
        until = std::chrono::ceil<std::chrono::milliseconds>(now + open_time(doubled));
    }
    bool would_admit(TimePoint now) const {
        if (forced == Forced::open) return false;
        if (state == State::closed) return forced == Forced::closed || readmission.wait(now) == Duration{};
        if (state == State::open) return now >= until;
        return out + ok < spec.probes || now >= offered + spec.open_min;
    }
    bool enter(TimePoint now) {
        if (!would_admit(now)) return false;
        if (state == State::closed) {
            if (forced != Forced::closed) readmission.take(now);
            readmission.note(now);
            return true;
        }
        if (state == State::open) become(State::half_open);
        if (out + ok >= spec.probes) out = 0, ++round;
        ++out, offered = now;
        return true;
    }
    std::optional<State> leave(Taken& taken, Seen seen, bool was_slow, bool consecutive, TimePoint now) {
        if (taken.era != era) return {};
        const bool failed = seen == Seen::failure || seen == Seen::failure_of_rate;
        return state == State::closed ? leave_closed(taken, seen, failed, was_slow, consecutive, now)
                                      : leave_probe(taken, seen, failed, was_slow, now);
    }
    std::optional<State> leave_closed(Taken& taken, Seen seen, bool failed, bool was_slow, bool consecutive,
                                      TimePoint now) {
        if (seen == Seen::neither && !was_slow) return {};
        window.push_back({slice(now), failed, was_slow, taken.id});
        if (forced == Forced::closed) return {};
        if (seen == Seen::success) taken.row = std::exchange(row, 0);
        if (seen == Seen::failure && consecutive && ++row >= spec.consecutive) return open(0, now), State::open;
        return judge_window(now);
    }
    /// `taken` was given back as a success.
    std::optional<State> fail_late(const Taken& taken, bool consecutive, TimePoint now) {
        if (taken.probe) return fail_probe_late(taken, now);
        if (taken.era != era) return {};
        counts(now);
        const auto own = std::find_if(window.begin(), window.end(), [&](auto& each) { return each.of == taken.id; });
        const bool recent = own != window.end();
        if (recent) {
            own->failed = true;
        } else {
            window.push_back({slice(now), true, false});
        }
        if (forced == Forced::closed) return {};
        if (recent) row = std::max(row, taken.row);
        if (consecutive && ++row >= spec.consecutive) return open(0, now), State::open;
        return judge_window(now);
    }
    std::optional<State> fail_probe_late(const Taken& taken, TimePoint now) {
        const bool probing = taken.era == era && state == State::half_open;
        const bool just_closed = taken.era + 1 == era && state == State::closed && forced == Forced::automatic &&
                                 now < offered + spec.open_min;
        if (!probing && !just_closed) return {};
        return open(doublings + 1, now), State::open;
    }
    std::optional<State> judge_window(TimePoint now) {
        const auto [all, bad, lazy] = counts(now);
        if (all < spec.min_requests) return {};
        if ((bad > 0 && bad >= spec.failure_rate * all) || (lazy > 0 && lazy >= spec.slow_rate * all)) {
            return open(0, now), State::open;
        }
        return {};
    }
    std::optional<State> leave_probe(const Taken& taken, Seen seen, bool failed, bool was_slow, TimePoint now) {
        if (failed) return open(doublings + 1, now), State::open;
        if (taken.round == round) --out;
        if (seen == Seen::success) ++ok;
        if (seen == Seen::neither && was_slow) ++gone;
        if (was_slow) ++slow;
        const unsigned heard = ok + gone;
        if (heard >= spec.probes && slow > 0 && slow >= spec.slow_rate * heard)
            return open(doublings + 1, now), State::open;
        if (ok >= spec.probes) return readmission.begin(ok, now), become(State::closed), State::closed;
        return {};
    }
    std::array<unsigned, 3> counts(TimePoint now) {
        std::array<unsigned, 3> sum{};
        std::erase_if(window, [&](const Outcome& each) { return each.slice <= slice(now) - 8; });
        for (const Outcome& each : window) sum[0]++, sum[1] += each.failed, sum[2] += each.slow;
        return sum;
    }
    void force(Forced to) {
        if (forced == to) return;
        forced = to;
        readmission.stop();
        become(to == Forced::open ? State::open : State::closed);
    }
};

/// A breaker and its model take the same random steps; the first difference fails.
struct Walk {
    std::mt19937_64 random;
    BreakerSpec spec = random_spec();
    Breaker breaker;
    Model model{spec};
    TimePoint now = start + 123456789ns;
    std::vector<Model::Taken> taken, bodies;  // bodies: of good heads, under way
    unsigned health = 8;                      // failures in 16
    int ids = 0, refused_in_recovery = 0;

    explicit Walk(unsigned seed) : random(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random() % limit; }
    BreakerSpec random_spec() {
        BreakerSpec out;
        out.consecutive = 1 + static_cast<unsigned>(below(8));
        out.failure_rate = std::array{0.25, 0.5, 0.75, 1.0}[below(4)];
        out.slow_rate = std::array{0.25, 0.5, 1.0, 1.0}[below(4)];
        out.window = Duration{800ms} * static_cast<int>(1 + below(20));
        out.min_requests = 1 + static_cast<unsigned>(below(30));
        out.open_min = Duration{100ms} * static_cast<int>(1 + below(10));
        out.open_max = out.open_min * static_cast<int>(1 + below(40));
        out.probes = 1 + static_cast<unsigned>(below(4));
        return out;
    }
    void step() {
        switch (below(4096)) {
        case 0: return force(static_cast<Forced>(below(3)));
        case 1: return force(Forced::automatic);
        case 2: now += Duration{1s} * static_cast<int>(below(100)); return;
        case 3: health = static_cast<unsigned>(below(17)); return;
        case 4: taken.clear(); return;  // all are lost
        default: break;
        }
        const std::uint64_t what = below(16);
        if (what < 7 && taken.size() < 40) return enter();
        if (what < 13 && !taken.empty()) return leave();
        if (what < 14 && !bodies.empty()) return end_body();
        now += Duration{static_cast<std::int64_t>(below(200'000'000))};
    }
    void force(Forced to) {
        breaker.force(to);
        model.force(to);
    }
    void enter() {
        if (breaker.refuses(spec, now) == model.would_admit(now)) FAIL("refuses() and the model differ");
        const Pass pass = breaker.enter(spec, now);
        if (pass.admitted != model.enter(now)) FAIL("admitted: " << pass.admitted);
        if (pass.admitted != (pass.retry_after == 0s)) FAIL("a refusal says when, and only a refusal");
        refused_in_recovery += !pass.admitted && model.state == State::closed;
        if (pass.admitted && pass.probe != (model.state == State::half_open)) FAIL("probe: " << pass.probe);
        if (pass.admitted) taken.push_back({pass, model.era, model.round, ids++, 0, pass.probe});
    }
    void leave() {
        std::swap(taken[below(taken.size())], taken.back());
        Model::Taken each = taken.back();
        taken.pop_back();
        if (below(64) == 0) return;  // never given back
        const bool bad = below(16) < health, slow = below(16) < health;
        const Seen good_or_none = below(8) ? Seen::success : Seen::neither;
        const Seen seen = !bad ? good_or_none : below(2) ? Seen::failure : Seen::failure_of_rate;
        const bool consecutive = below(4) > 0;
        const auto moved = breaker.leave(spec, each.pass, seen, slow, consecutive, now);
        if (moved != model.leave(each, seen, slow, consecutive, now)) FAIL("they moved differently");
        if (each.pass.good && bodies.size() < 20) bodies.push_back(each);
    }
    void end_body() {
        std::swap(bodies[below(bodies.size())], bodies.back());
        Model::Taken each = bodies.back();
        bodies.pop_back();
        if (below(16) >= health) return;
        const bool consecutive = below(4) > 0;
        const auto moved = breaker.fail_late(spec, each.pass, consecutive, now);
        if (moved != model.fail_late(each, consecutive, now)) FAIL("a late failure moved them differently");
    }
    void compare() {
        const Breaker::View view = breaker.view(spec, now);
        if (view.state != model.state || view.forced != model.forced) FAIL("state " << static_cast<int>(view.state));
        if (view.state == State::closed) {
            const auto [all, bad, lazy] = model.counts(now);
            if (view.consecutive != model.row) FAIL("in a row: " << view.consecutive << ", not " << model.row);
            if (view.seen != all || view.failed != bad || view.slow != lazy)
                FAIL("seen " << view.seen << " of " << all);
        }
        if (view.state == State::open && view.forced == Forced::automatic) {
            if (view.retry_after != std::max(Duration{}, model.until - now))
                FAIL("open for " << view.retry_after.count());
        }
    }
};

}  // namespace

TEST_CASE("whatever happens, a breaker does what a plain model of it does") {
    std::array<std::uint64_t, 3> moved{};
    int refused_in_recovery = 0;
    for (unsigned seed = 0; seed < 40; ++seed) {
        CAPTURE(seed);
        Walk walk{seed};
        for (int i = 0; i < steps(50'000); ++i) {
            walk.step();
            walk.compare();
        }
        for (std::size_t i = 0; i < 3; ++i) moved[i] += walk.breaker.view(walk.spec, walk.now).transitions[i];
        refused_in_recovery += walk.refused_in_recovery;
    }
    CHECK(refused_in_recovery > 0);
    for (const std::uint64_t each : moved) CHECK(each > static_cast<std::uint64_t>(steps(200)));  // it went everywhere
}

TEST_CASE("threads that meet at a breaker open it once, take its probes' seats once and close it once",
          "[multi-worker]") {
    Bench bench;
    bench.spec.consecutive = 4;
    bench.spec.failure_rate = bench.spec.slow_rate = 1;
    std::atomic<int> opened{0}, probes{0}, half_opened{0}, closed{0};
    int wrong = 0;
    const auto work = [&](int, int round) {
        Pass pass = bench.breaker.enter(bench.spec, bench.now);
        const Seen seen = round % 2 == 0 ? Seen::failure : Seen::success;
        if (round % 2 == 1) probes += pass.probe, half_opened += pass.moved;
        const auto moved = bench.breaker.leave(bench.spec, pass, seen, false, true, bench.now);
        opened += moved == State::open, closed += moved == State::closed;
    };
    in_rounds(steps(20'000), work, [&](int round) {
        if (round % 2 == 0) {  // all four failed: open
            wrong += opened != 1 || closed != 0 || bench.view().state != State::open;
            bench.now += 10s;
        } else {  // two probes, or more where one had succeeded and closed it before another came
            wrong +=
                half_opened != 1 || closed != 1 || opened != 0 || probes != 2 || bench.view().state != State::closed;
        }
        opened = probes = half_opened = closed = 0;
    });
    CHECK(wrong == 0);
}

TEST_CASE("no outcome is lost or counted twice when threads count at once", "[multi-worker]") {
    Bench bench;
    bench.spec.consecutive = bench.spec.min_requests = 4'000'000'000u;
    bench.spec.failure_rate = bench.spec.slow_rate = 1;
    const int each = steps(600'000);  // below what a slice holds
    on_threads([&](int thread) {
        for (int i = 0; i < each; ++i) {
            Pass pass = bench.breaker.enter(bench.spec, bench.now);
            const bool odd = (i + thread) % 2;
            bench.breaker.leave(bench.spec, pass, odd ? Seen::failure : Seen::neither, true, true,
                                bench.now + Duration{1s} * (i % 3));
        }
    });
    bench.now += 2s;
    const Breaker::View view = bench.view();
    const auto total = static_cast<std::uint64_t>(each) * thread_count;
    CHECK(view.state == State::closed);
    CHECK(view.seen == total);
    CHECK(view.failed == total / 2);
    CHECK(view.slow == total);
    CHECK(view.consecutive == total / 2);
}

TEST_CASE("under threads that fail, succeed and force, every move is legal and told to one of them", "[multi-worker]") {
    Bench bench;
    bench.spec.window = 1s;
    bench.spec.open_min = 2ms;
    bench.spec.open_max = 16ms;
    const bool forcing = GENERATE(false, true);
    std::atomic<std::int64_t> clock{0};
    std::array<std::atomic<std::uint64_t>, 3> told{};
    const auto tell = [&](std::optional<State> moved) {
        if (moved) ++told[static_cast<std::size_t>(*moved)];
    };
    on_threads([&](int thread) {
        std::mt19937_64 random{static_cast<std::uint64_t>(thread)};
        const auto time = [&] { return start + Duration{clock.fetch_add(1000)}; };
        for (int i = 0; i < steps(200'000); ++i) {
            Pass pass = bench.breaker.enter(bench.spec, time());
            if (pass.moved) tell(State::half_open);
            const bool bad = random() % 16 < static_cast<std::uint64_t>(i / 1000 % 2 ? 12 : 1);
            tell(bench.breaker.leave(bench.spec, pass, bad ? Seen::failure : Seen::success, bad, true, time()));
            if (forcing && random() % 1024 == 0) tell(bench.breaker.force(static_cast<Forced>(random() % 3)));
        }
    });
    bench.now += Duration{clock.load()};
    const Breaker::View view = bench.view();
    const auto [closed, opened, half_opened] = view.transitions;
    for (std::size_t i = 0; i < 3; ++i) CHECK(told[i] == view.transitions[i]);
    CHECK(half_opened > 0);
    if (!forcing) {
        CHECK(closed <= half_opened);
        CHECK(half_opened <= opened);
        CHECK(opened - half_opened == (view.state == State::open ? 1 : 0));
        CHECK(opened <= half_opened + 1);
    }
}
