#include "proxy/policy/attempt_plan.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <random>
#include <utility>

using namespace sluice;

namespace {

using Kind = Step::Kind;
using Why = Step::Why;

const TimePoint start{1000h};

std::string text_of(const Step& step) {
    switch (step.kind) {
    case Kind::attempt: return "attempt " + std::to_string(step.endpoint);
    case Kind::wait: return "wait " + std::to_string(step.delay / 1ms) + "ms";
    case Kind::deliver: return "deliver";
    case Kind::fallback: return "fallback";
    case Kind::give_up:
        return step.why == Why::last ? "give up" : step.why == Why::out ? "give up: out" : "give up: late";
    }
    return {};
}

/// A plan that is told stories: how each attempt came out, one after the other. Its draws are all the same, its budget
/// is `affordable` more retries, and every wait is done as it is asked for.
struct Story {
    RetrySpec retry;
    PlanFacts facts;
    EndpointMask out = 0;
    double draw = 0.5;
    int affordable = 1000;
    Spend refusal = Spend::over_budget;  // of those beyond
    int asked = 0;
    Duration told_delay{};  // when it was asked last
    TimePoint now = start;
    std::optional<AttemptPlan> plan;

    Story() {
        facts.idempotent_method = true;
        facts.deadline = start + 1min;
    }
    std::string begin() {
        facts.retry = &retry;
        plan.emplace(facts);
        return text_of(plan->start(out, now));
    }
    std::string then(const Tried& tried) {
        const auto may_spend = [this](Duration in) { return told_delay = in, ++asked, affordable-- > 0 ? Spend::yes : refusal; };
        const Step step = plan->next(tried, out, may_spend, draw, now);
        if (step.kind == Kind::wait) now += step.delay;
        return text_of(step);
    }
    std::string resume() { return text_of(plan->resume(out, now)); }
};

Tried unsafe(Reason reason = Reason::upstream_reset) {
    return Tried::failure(reason, Replay::unsafe);
}
Tried not_sent() {
    return Tried::failure(Reason::connect_failed, Replay::safe);
}

}  // namespace

TEST_CASE("a retry for which our own limits have no place is not made, and says nothing of retries that are spent") {
    Story story;
    story.affordable = GENERATE(0, 1);
    story.refusal = Spend::no_place;
    const bool retried = story.affordable > 0;
    story.begin();
    if (retried) {
        CHECK(story.then(Tried::answer(503)).starts_with("wait"));
        story.resume();
    }
    CHECK(story.then(Tried::answer(503)) == "deliver");
    CHECK(story.plan->retries() == retried);
    CHECK(story.plan->spent() == retried);
}

TEST_CASE("an answer that is not worth a retry is delivered at once") {
    Story story;
    CHECK(story.begin() == "attempt 0");
    CHECK(story.then(Tried::answer(200)) == "deliver");
    CHECK(story.plan->attempts() == 1);
    CHECK_FALSE(story.plan->spent());
    CHECK(story.asked == 0);
}

TEST_CASE("one endpoint is retried after full jitter whose upper end doubles") {
    Story story;
    story.retry.max = 8;
    story.begin();
    std::string waits;
    for (int i = 0; i < 8; ++i) {
        waits += story.then(Tried::answer(503)) + ", ";
        CHECK(story.resume() == "attempt 0");
    }
    CHECK(waits ==
          "wait 50ms, wait 100ms, wait 200ms, wait 400ms, wait 800ms, wait 1000ms, wait 1000ms, wait 1000ms, ");
    CHECK(story.then(Tried::answer(503)) == "deliver");
    CHECK(story.plan->attempts() == 9);
    CHECK(story.plan->retries() == 8);
    CHECK(story.plan->spent());
    CHECK(story.asked == 8);
}

TEST_CASE("what pays for a retry is told how long it waits before") {
    Story story;
    story.facts.endpoints = 2;
    story.begin();
    story.told_delay = 1h;
    CHECK(story.then(Tried::answer(503)) == "attempt 1");
    CHECK(story.told_delay == Duration{});
    CHECK(story.then(Tried::answer(503)) == "wait 100ms");
    CHECK(story.told_delay == 100ms);
}

TEST_CASE("a draw of nothing is no wait") {
    Story story;
    story.draw = 0;
    story.begin();
    CHECK(story.then(unsafe()) == "attempt 0");
    CHECK(story.then(unsafe()) == "attempt 0");
    CHECK(story.then(unsafe()) == "give up");
    CHECK(story.plan->attempts() == 3);
    CHECK(story.plan->spent());
}

TEST_CASE("what is retried is safe to be sent again") {
    struct Case {
        const char* what;
        bool idempotent, keyed, kept;
        Tried tried;
        bool retried;
    };
    const Case cases[] = {
        {"GET, reset", true, false, true, unsafe(), true},
        {"POST, reset", false, false, true, unsafe(), false},
        {"POST, 503", false, false, true, Tried::answer(503), false},
        {"POST, never sent", false, false, true, not_sent(), true},
        {"POST with a key, reset", false, true, true, unsafe(), true},
        {"POST with a key, 503", false, true, true, Tried::answer(503), true},
        {"PUT too large to be kept, reset", true, false, false, unsafe(), false},
        {"POST with a key, too large to be kept", false, true, false, unsafe(), false},
        {"GET, a failure that `on` does not name", true, false, true, unsafe(Reason::timeout_first_byte), false},
        {"GET, a status that `on` does not name", true, false, true, Tried::answer(500), false},
        {"GET, our own deadline", true, false, true, unsafe(Reason::timeout_total), false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.what);
        Story story;
        story.facts.idempotent_method = one.idempotent;
        story.facts.keyed = one.keyed;
        Tried tried = one.tried;
        tried.body_kept = one.kept;
        story.begin();
        const std::string otherwise = tried.kind == Tried::Kind::answered ? "deliver" : "give up";
        CHECK(story.then(tried) == (one.retried ? "wait 50ms" : otherwise));
        CHECK(story.asked == (one.retried ? 1 : 0));
        CHECK_FALSE(story.plan->spent());
    }
}

TEST_CASE("what was sent once is never safe again, however the next attempt fails") {
    Story story;
    story.facts.idempotent_method = false;
    story.facts.endpoints = 2;
    story.facts.has_fallback = true;
    story.begin();
    CHECK(story.then(not_sent()) == "attempt 1");
    CHECK(story.then(unsafe()) == "give up");
}

TEST_CASE("nobody is retried for who went away, who is being answered, or whom the vendor told not to") {
    for (bool Tried::*what : {&Tried::application_gone, &Tried::answer_began, &Tried::retry_unwanted}) {
        Story story;
        story.facts.endpoints = 2;
        story.facts.has_fallback = true;
        story.begin();
        Tried tried = unsafe();
        tried.*what = true;
        CHECK(story.then(tried) == "give up");
        story.begin();
        tried = Tried::answer(503);
        tried.*what = true;
        CHECK(story.then(tried) == "deliver");
        CHECK(story.asked == 0);
    }
    Story story;
    story.facts.endpoints = 2;
    story.begin();
    Tried tried = Tried::breaker_open();
    tried.application_gone = true;
    CHECK(story.then(tried) == "give up");
}

TEST_CASE("a retry prefers an endpoint that has not failed: at once the first time, then after jitter") {
    Story story;
    story.retry.max = 5;
    story.facts.endpoints = 3;
    CHECK(story.begin() == "attempt 0");
    CHECK(story.then(unsafe()) == "attempt 1");
    CHECK(story.then(unsafe()) == "wait 100ms");
    CHECK(story.resume() == "attempt 2");
    CHECK(story.then(unsafe()) == "wait 200ms");
    CHECK(story.resume() == "attempt 0");  // all have failed: round again
    CHECK(story.then(unsafe()) == "wait 400ms");
    story.out = 0b010;
    CHECK(story.resume() == "attempt 2");
    CHECK(story.then(unsafe()) == "wait 800ms");
    story.out = 0b011;
    CHECK(story.resume() == "attempt 2");
    CHECK(story.then(unsafe()) == "give up");
    CHECK(story.plan->attempts() == 6);
}

TEST_CASE("the first endpoint that is not out is used, and the first again once it is not out any more") {
    Story story;
    story.facts.endpoints = 3;
    CHECK(story.begin() == "attempt 0");
    story.out = 0b001;
    CHECK(story.begin() == "attempt 1");
    story.out = 0b011;
    CHECK(story.begin() == "attempt 2");
    story.out = 0b110;
    CHECK(story.begin() == "attempt 0");
    story.out = 0b111;
    CHECK(story.begin() == "give up: out");
    CHECK(story.plan->spent());
    story.facts.has_fallback = true;
    CHECK(story.begin() == "fallback");
    CHECK_FALSE(story.plan->spent());
    CHECK(story.plan->attempts() == 0);
}

TEST_CASE("who had to wait before the first attempt goes where it can be made then") {
    Story story;
    story.facts.endpoints = 2;
    CHECK(story.begin() == "attempt 0");
    story.out = 0b01;
    CHECK(text_of(story.plan->start(story.out, story.now)) == "attempt 1");
    story.out = 0b00;
    CHECK(text_of(story.plan->start(story.out, story.now)) == "attempt 0");  // none of them was made
    CHECK(story.plan->attempts() == 1);
    CHECK(story.then(Tried::answer(200)) == "deliver");
    CHECK(story.plan->attempts() == 1);

    story.facts.has_fallback = true;
    CHECK(story.begin() == "attempt 0");
    CHECK(text_of(story.plan->start(0b11, story.now)) == "fallback");
    CHECK(story.begin() == "attempt 0");
    CHECK(text_of(story.plan->start(0, story.facts.deadline)) == "give up: late");
}

TEST_CASE("an endpoint whose breaker turns the attempt away costs no retry") {
    Story story;
    story.facts.endpoints = 3;
    story.affordable = 0;
    story.retry.max = 0;
    CHECK(story.begin() == "attempt 0");
    CHECK(story.then(Tried::breaker_open()) == "attempt 1");
    CHECK(story.then(Tried::breaker_open()) == "attempt 2");
    CHECK(story.plan->attempts() == 1);
    CHECK(story.then(Tried::answer(200)) == "deliver");
    CHECK(story.asked == 0);

    CHECK(story.begin() == "attempt 0");
    story.out = 0b010;
    CHECK(story.then(Tried::breaker_open()) == "attempt 2");
    CHECK(story.then(Tried::breaker_open()) == "give up: out");
    CHECK(story.plan->attempts() == 0);
    CHECK(story.plan->retries() == 0);
    CHECK(story.plan->spent());  // whoever comes back after the Retry-After comes with everybody else
}

TEST_CASE("a refusal of our own ends the exchange, other endpoints or not") {
    Story story;
    story.facts.endpoints = 2;
    story.facts.has_fallback = true;
    story.begin();
    CHECK(story.then(Tried::refusal()) == "give up");
    CHECK(story.plan->attempts() == 0);
}

TEST_CASE("where our own limit refuses another attempt the fallback is asked, and not where it refuses the first") {
    const auto refused_for = [](Reason reason) {
        Tried tried = Tried::refusal();
        tried.reason = reason;
        return tried;
    };
    const Reason reason = GENERATE(Reason::rate_limited, Reason::concurrency_limited);
    Story story;
    story.facts.has_fallback = true;
    story.begin();
    CHECK(story.then(refused_for(reason)) == "give up");
    CHECK_FALSE(story.plan->spent());

    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(refused_for(reason)) == "fallback");
    CHECK_FALSE(story.plan->spent());  // none was sent

    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(refused_for(Reason::draining)) == "give up");   // nobody is asked any more

    story.facts.has_fallback = false;
    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(refused_for(reason)) == "give up");
}

TEST_CASE("Retry-After is waited for with jitter on top, up to 10 s and within total, else the answer is delivered") {
    struct Case {
        Duration asked, total;
        std::string step;
    };
    const Case cases[] = {
        {0s, 1min, "wait 50ms"},      {2s, 1min, "wait 2050ms"},      {10s, 1min, "wait 10050ms"},
        {10s + 1ms, 1min, "deliver"}, {1h, 1min, "deliver"},          {2s, 2s, "deliver"},
        {2s, 2s + 50ms, "deliver"},   {2s, 2s + 51ms, "wait 2050ms"}, {Duration::max(), 24h, "deliver"},
        {-1s, 1min, "wait 50ms"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.asked / 1ms, one.total / 1ms);
        Story story;
        story.facts.deadline = start + one.total;
        story.begin();
        CHECK(story.then(Tried::answer(503, one.asked)) == one.step);
        CHECK(story.asked == (one.step == "deliver" ? 0 : 1));
        CHECK_FALSE(story.plan->spent());  // whoever was told when to come again may do so
    }
}

TEST_CASE("a Retry-After of one endpoint keeps nobody from another, but a 429 speaks for the vendor") {
    Story story;
    story.facts.endpoints = 2;
    story.retry.on.statuses = {429, 503};
    story.begin();
    CHECK(story.then(Tried::answer(503, 1h)) == "attempt 1");
    CHECK(story.then(Tried::answer(503, 1s)) ==
          "wait 100ms");  // the first one's hour was its own word: it is asked again
    story.begin();
    CHECK(story.then(Tried::answer(429, 2s)) == "wait 2050ms");
    CHECK(story.resume() == "attempt 1");
    story.begin();
    CHECK(story.then(Tried::answer(429, 1h)) == "deliver");
    story.begin();
    CHECK(story.then(Tried::answer(429)) == "attempt 1");
}

TEST_CASE("no wait is begun that would leave no time") {
    Story story;
    story.facts.deadline = start + 50ms;
    story.begin();
    CHECK(story.then(unsafe()) == "give up");
    CHECK_FALSE(story.plan->spent());  // not a single one was made
    story.facts.deadline = start + 51ms;
    story.begin();
    CHECK(story.then(unsafe()) == "wait 50ms");
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(unsafe()) == "give up");
    CHECK(story.plan->spent());
}

TEST_CASE("whom the vendor tells when to come again may do so, retries of ours or not") {
    Story story;
    story.facts.deadline = start + 5s;
    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    story.resume();
    CHECK(story.then(Tried::answer(503, 5s)) == "deliver");
    CHECK_FALSE(story.plan->spent());
}

TEST_CASE("nothing is begun at or after the deadline") {
    Story story;
    story.facts.endpoints = 2;
    story.facts.has_fallback = true;
    story.now = story.facts.deadline;
    CHECK(story.begin() == "give up: late");
    story.now = start;
    story.begin();
    story.now = story.facts.deadline;
    CHECK(story.then(unsafe()) == "give up");
    story.now = start;
    story.begin();
    story.now = story.facts.deadline;
    CHECK(story.then(Tried::breaker_open()) == "give up: late");
    Story slept;
    slept.begin();
    CHECK(slept.then(unsafe()) == "wait 50ms");
    slept.now = slept.facts.deadline;  // overslept
    CHECK(slept.resume() == "give up: late");
}

TEST_CASE("a budget that is spent ends the retries, and SDKs are told so") {
    Story story;
    story.affordable = 1;
    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    story.resume();
    CHECK(story.then(Tried::answer(503)) == "deliver");
    CHECK(story.plan->retries() == 1);
    CHECK(story.plan->spent());
    CHECK(story.asked == 2);

    Story none;
    none.affordable = 0;
    none.begin();
    CHECK(none.then(unsafe()) == "give up");
    CHECK(none.plan->spent());
}

TEST_CASE("who retries nothing says nothing about what SDKs do") {
    Story story;
    story.retry.max = 0;
    story.facts.endpoints = 2;
    story.begin();
    CHECK(story.then(unsafe()) == "give up");
    CHECK_FALSE(story.plan->spent());
    CHECK(story.asked == 0);
}

TEST_CASE("an answer is delivered as it is where every endpoint has gone out under it") {
    Story story;
    story.facts.endpoints = 2;
    story.begin();
    story.out = 0b11;
    CHECK(story.then(Tried::answer(503)) == "deliver");
    story.out = 0;
    story.begin();
    story.out = 0b11;
    CHECK(story.then(unsafe()) == "give up");  // with that failure, which says more than that a breaker opened
    CHECK(story.asked == 0);
}

TEST_CASE("where every endpoint goes out during a wait, there is nothing left to deliver") {
    Story story;
    story.begin();
    CHECK(story.then(Tried::answer(503)) == "wait 50ms");
    story.out = 1;
    CHECK(story.resume() == "give up: out");
    story.facts.has_fallback = true;
    story.out = 0;
    story.begin();
    story.then(Tried::answer(503));
    story.out = 1;
    CHECK(story.resume() == "fallback");
}

TEST_CASE("an endpoint that a wait was too long for is asked again after it") {
    Story story;
    story.facts.endpoints = 2;
    story.begin();
    CHECK(story.then(Tried::breaker_open()) == "attempt 1");
    CHECK(story.then(unsafe()) == "attempt 0");  // it may have been let in since
    CHECK(story.then(Tried::breaker_open()) == "attempt 1");
    CHECK(story.plan->retries() == 1);
    CHECK(story.then(unsafe()) == "wait 100ms");
    CHECK(story.resume() == "attempt 0");
}

TEST_CASE("another vendor is asked when every endpoint is out or has failed, and only if that is safe there") {
    struct Case {
        const char* what;
        bool idempotent, keyed, kept;
        Tried tried;
        bool falls_back;
    };
    const Case cases[] = {
        {"GET, reset", true, false, true, unsafe(), true},
        {"GET, 503", true, false, true, Tried::answer(503), true},
        {"POST, never sent", false, false, true, not_sent(), true},
        {"POST, reset", false, false, true, unsafe(), false},
        {"POST with a key, reset: another vendor cannot know the key", false, true, true, unsafe(), false},
        {"POST with a key, 503", false, true, true, Tried::answer(503), false},
        {"POST with a key, never sent", false, true, true, not_sent(), true},
        {"PUT too large to be kept", true, false, false, unsafe(), false},
        {"GET, 404", true, false, true, Tried::answer(404), false},
    };
    for (const Case& one : cases) {
        for (const int why : {0, 1, 2}) {  // max is used up; the budget is; every endpoint has gone out
            CAPTURE(one.what, why);
            Story story;
            story.facts.has_fallback = true;
            story.facts.idempotent_method = one.idempotent;
            story.facts.keyed = one.keyed;
            if (why == 0) story.retry.max = 0;
            if (why == 1) story.affordable = 0;
            story.begin();
            if (why == 2) story.out = 1;
            Tried tried = one.tried;
            tried.body_kept = one.kept;
            const std::string otherwise = tried.kind == Tried::Kind::answered ? "deliver" : "give up";
            CHECK(story.then(tried) == (one.falls_back ? "fallback" : otherwise));
        }
    }
}

TEST_CASE("a failure before anything was sent goes on to each endpoint once, whatever `on`, `max` and the budget say") {
    for (const bool idempotent : {true, false}) {
        CAPTURE(idempotent);
        Story story;
        story.retry.max = 0;
        story.affordable = 0;
        story.facts.idempotent_method = idempotent;
        story.facts.endpoints = 3;
        const Tried no_tls = Tried::failure(Reason::tls_failed, Replay::safe);
        CHECK(story.begin() == "attempt 0");
        CHECK(story.then(not_sent()) == "attempt 1");
        CHECK(story.then(no_tls) == "attempt 2");
        CHECK(story.then(no_tls) == "give up");
        CHECK(story.plan->attempts() == 3);
        CHECK(story.plan->retries() == 0);
        CHECK(story.asked == 0);
        CHECK_FALSE(story.plan->spent());

        story.facts.has_fallback = true;
        story.begin();
        story.out = 0b010;
        CHECK(story.then(no_tls) == "attempt 2");
        CHECK(story.then(no_tls) == "fallback");
    }
}

TEST_CASE("what goes on elsewhere leaves every retry for afterwards") {
    Story story;
    story.facts.endpoints = 2;
    story.begin();
    CHECK(story.then(not_sent()) == "attempt 1");
    CHECK(story.then(not_sent()) == "wait 50ms");
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(not_sent()) == "wait 100ms");
    CHECK(story.resume() == "attempt 1");
    CHECK(story.then(not_sent()) == "give up");
    CHECK(story.plan->retries() == 2);
    CHECK(story.plan->spent());
}

TEST_CASE("where the next endpoint turns away what goes on to it, the failure before it counts") {
    Story story;
    story.facts.endpoints = 3;
    story.retry.max = 0;
    story.begin();
    CHECK(story.then(not_sent()) == "attempt 1");
    CHECK(story.then(Tried::breaker_open()) == "attempt 2");
    CHECK(story.then(Tried::breaker_open()) == "give up");  // not round again to the first, which would be for nothing
    CHECK(story.plan->attempts() == 1);
    story.facts.has_fallback = true;
    story.begin();
    story.then(not_sent());
    story.then(Tried::breaker_open());
    CHECK(story.then(Tried::breaker_open()) == "fallback");
    story.facts.has_fallback = false;
    story.retry.max = 1;
    story.begin();
    story.then(not_sent());
    story.then(Tried::breaker_open());
    CHECK(story.then(Tried::breaker_open()) == "wait 50ms");
    CHECK(story.asked == 1);
    CHECK(story.resume() == "attempt 1");  // which may let it in by now
    CHECK(story.then(Tried::breaker_open()) == "attempt 2");
    CHECK(story.then(Tried::breaker_open()) == "attempt 0");
    CHECK(story.then(not_sent()) == "give up");
}

TEST_CASE("nothing goes on elsewhere for who went away, without the body, or after the time") {
    for (const int why : {0, 1, 2, 3, 4}) {
        CAPTURE(why);
        Story story;
        story.facts.endpoints = 2;
        story.facts.has_fallback = true;
        story.begin();
        Tried tried = not_sent();
        if (why == 0) tried.application_gone = true;
        if (why == 1) tried.body_kept = false;
        if (why == 2) tried.answer_began = true;
        if (why == 3) story.now = story.facts.deadline;
        if (why == 4) tried.reason = Reason::timeout_total;
        CHECK(story.then(tried) == "give up");
    }
}

TEST_CASE("where the other vendor cannot take the request, what stood before it stands again") {
    const auto instead = [](Story& story) { return text_of(story.plan->without_fallback()); };
    Story story;
    story.facts.has_fallback = true;
    story.retry.max = 0;
    story.begin();
    CHECK(story.then(Tried::answer(503)) == "fallback");
    CHECK(instead(story) == "deliver");
    CHECK_FALSE(story.plan->spent());

    story.begin();
    CHECK(story.then(not_sent()) == "fallback");
    CHECK(instead(story) == "give up");

    story.retry.max = 1;
    story.begin();
    CHECK(story.then(Tried::answer(503)).starts_with("wait"));
    CHECK(story.resume() == "attempt 0");
    CHECK(story.then(Tried::answer(503)) == "fallback");
    CHECK(instead(story) == "deliver");
    CHECK(story.plan->spent());

    story.out = 1;
    CHECK(story.begin() == "fallback");
    CHECK_FALSE(story.plan->spent());
    CHECK(instead(story) == "give up: out");
    CHECK(story.plan->spent());
}

TEST_CASE("another vendor is not asked while an endpoint is left that neither failed nor is out") {
    Story story;
    story.facts.endpoints = 2;
    story.facts.has_fallback = true;
    story.retry.max = 0;
    story.begin();
    CHECK(story.then(unsafe()) == "give up");
    story.begin();
    story.out = 0b10;
    CHECK(story.then(unsafe()) == "fallback");
}

TEST_CASE("a hedge goes to another endpoint, of idempotent requests only, within max, budget and time") {
    Story story;
    story.retry.hedge = HedgeSpec{500ms, 0, 1};
    story.facts.endpoints = 2;
    const auto yes = [] { return true; };
    const auto no = [] { return false; };
    story.begin();
    CHECK(story.plan->hedge(true, 0, no, start) == std::nullopt);
    CHECK(story.plan->hedge(false, 0, yes, start) == std::nullopt);
    CHECK(story.plan->hedge(true, 0b11, yes, start) == std::nullopt);
    CHECK(story.plan->hedge(true, 0, yes, story.facts.deadline) == std::nullopt);
    CHECK(story.plan->hedge(true, 0, yes, start) == std::size_t{1});
    CHECK(story.plan->hedge(true, 0, yes, start) == std::nullopt);
    CHECK(story.plan->attempts() == 2);
    CHECK(story.plan->retries() == 0);
    // Both have failed: neither is fresh any more.
    CHECK(story.then(unsafe()) == "wait 50ms");

    story.begin();
    CHECK(story.plan->hedge(true, 0b10, yes, start) == std::size_t{0});  // better beside itself than not at all
    CHECK(story.plan->attempts() == 2);

    story.facts.idempotent_method = false;
    story.facts.keyed = true;
    story.begin();
    CHECK(story.plan->hedge(true, 0, yes, start) == std::nullopt);
    story.facts.idempotent_method = true;
    story.retry.hedge.reset();
    story.begin();
    CHECK(story.plan->hedge(true, 0, yes, start) == std::nullopt);
}

TEST_CASE("of two attempts beside each other it is the one that answered whose Retry-After is waited for") {
    struct Case {
        std::size_t answered;
        EndpointMask out;
        std::string step, next;
    };
    for (const Case& one : {Case{0, 0, "wait 50ms", "attempt 1"}, Case{1, 0, "wait 50ms", "attempt 0"},
                            Case{0, 0b10, "wait 2050ms", "attempt 0"}, Case{1, 0b01, "wait 2050ms", "attempt 1"},
                            Case{0, 0b01, "wait 50ms", "attempt 1"}, Case{1, 0b10, "wait 50ms", "attempt 0"}}) {
        CAPTURE(one.answered, one.out);
        Story story;
        story.retry.hedge = HedgeSpec{500ms, 0, 1};
        story.facts.endpoints = 2;
        story.begin();
        REQUIRE(story.plan->hedge(true, 0, [] { return true; }, start) == std::size_t{1});
        story.out = one.out;
        Tried tried = Tried::answer(503, 2s);
        tried.endpoint = one.answered;
        CHECK(story.then(tried) == one.step);
        CHECK(story.resume() == one.next);
    }
}

// A seeded walk through exchanges of every kind against the plainest reading of the rules. HOLDS is REQUIRE
// without its price: it is asked millions of times.
#define HOLDS(...)                                         \
    do {                                                   \
        if (!(__VA_ARGS__)) FAIL("broken: " #__VA_ARGS__); \
    } while (false)

namespace {

struct Walk {
    std::mt19937_64 random;
    RetrySpec retry;
    PlanFacts facts;
    EndpointMask everything = 1;
    TimePoint now = start;

    // What the model knows.
    bool sent = false;
    EndpointMask failed = 0, closed = 0, moved_to = 0, under_way = 0;
    std::optional<Tried> moved_for;  // the attempt under way goes on from a failure before anything was sent
    unsigned attempts = 0, turned_away = 0, retries = 0, hedges = 0;
    long steps = 0, hedged = 0;

    explicit Walk(std::uint64_t seed) : random(seed) {}

    std::uint64_t below(std::uint64_t n) { return random() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }

    void set_out() {
        retry.max = static_cast<unsigned>(below(5));
        retry.on.tls = chance(50);
        retry.on.connect = chance(80);
        retry.on.statuses = chance(80) ? std::vector<std::uint16_t>{429, 503} : std::vector<std::uint16_t>{};
        retry.hedge.reset();
        if (chance(50)) retry.hedge = HedgeSpec{100ms, 0, static_cast<unsigned>(1 + below(3))};
        retry.backoff_min = std::chrono::milliseconds(below(3) * 100);
        facts = {&retry,     1 + below(below(10) == 0 ? 32 : 4), chance(50), chance(30),
                 chance(50), start + below(20'000) * 1ms};
        everything = facts.endpoints == 32 ? ~EndpointMask{0} : (EndpointMask{1} << facts.endpoints) - 1;
        now = start;
        sent = false;
        failed = closed = moved_to = under_way = 0;
        moved_for.reset();
        attempts = turned_away = retries = hedges = 0;
    }

    EndpointMask draw_out() {
        return chance(60) ? 0 : chance(20) ? ~EndpointMask{0} : static_cast<EndpointMask>(random() & random());
    }

    Tried draw_outcome() {
        Tried tried;
        const auto kind = below(10);
        if (kind < 4) {
            const unsigned statuses[] = {200, 404, 429, 503, 503};
            tried = Tried::answer(statuses[below(5)]);
            if (chance(40)) tried.retry_after = std::chrono::milliseconds(below(13'000));
        } else if (kind < 8) {
            const Reason reasons[] = {Reason::connect_failed, Reason::tls_failed, Reason::upstream_reset,
                                      Reason::timeout_total};
            const Reason reason = reasons[below(4)];
            tried =
                Tried::failure(reason, reason == Reason::connect_failed || chance(20) ? Replay::safe : Replay::unsafe);
        } else {
            tried = kind == 8 || chance(70) ? Tried::breaker_open() : Tried::refusal();
        }
        tried.body_kept = chance(95);
        tried.retry_unwanted = chance(3);
        tried.answer_began = chance(3);
        tried.application_gone = chance(3);
        return tried;
    }

    bool is_named(const Tried& tried) const {
        if (tried.kind == Tried::Kind::answered) return retry.on.names(tried.status);
        return tried.kind == Tried::Kind::failed && retry.on.names(tried.reason);
    }

    void judge_endpoint(const Step& step, EndpointMask out) {
        HOLDS(step.endpoint < facts.endpoints);
        const EndpointMask able = everything & ~out & ~closed;
        HOLDS((able >> step.endpoint & 1) == 1);
        if (moved_for) return;  // which was judged by `judge_move`
        if (const EndpointMask fresh = able & ~(failed | under_way)) {
            HOLDS(step.endpoint == static_cast<std::size_t>(std::countr_zero(fresh)));
        }
    }

    void judge_wait(const Step& step, const Tried& tried, std::size_t current) {
        HOLDS(step.delay > Duration{});
        HOLDS(now + step.delay < facts.deadline);
        const bool asked = tried.retry_after && (tried.status == 429 || step.endpoint == current);
        if (asked) HOLDS(step.delay >= *tried.retry_after);
        HOLDS(step.delay <= (asked ? *tried.retry_after : Duration{}) + retry.backoff_max);
        HOLDS(step.delay <= AttemptPlan::patience + retry.backoff_max);
    }

    /// One exchange from its beginning to its end.
    void exchange() {
        set_out();
        EndpointMask out = draw_out();
        AttemptPlan plan(facts);
        Step step = plan.start(out, now);
        if (now < facts.deadline && (everything & ~out) == 0) {
            HOLDS(step.kind == (facts.has_fallback ? Kind::fallback : Kind::give_up));
        }
        for (;; ++steps) {
            if (step.kind == Kind::wait) {
                now += step.delay + std::chrono::milliseconds(chance(90) ? 0 : below(3000));
                out = draw_out();
                closed = under_way = 0;
                step = plan.resume(out, now);
                HOLDS(step.kind != Kind::wait);
                HOLDS(step.kind != Kind::deliver);
            }
            if (step.kind != Kind::attempt) break;
            HOLDS(now < facts.deadline);
            judge_endpoint(step, out);
            step = after(plan, step, out);
            if (step.kind == Kind::attempt || step.kind == Kind::wait) HOLDS(retries <= retry.max);
        }
        HOLDS(plan.attempts() == attempts - turned_away);
        HOLDS(plan.retries() == retries);
        if (plan.spent()) HOLDS(retry.max > 0 || (step.kind == Kind::give_up && step.why == Why::out));
    }

    /// More attempts beside one that takes long: never of a request that may not be done twice, key or not, and none
    /// that nobody pays for.
    void hedge(AttemptPlan& plan) {
        for (unsigned i = below(3) == 0 ? 0 : 4; i > 0; --i) {
            now += std::chrono::milliseconds(below(100));
            const EndpointMask out = draw_out();
            const EndpointMask able = everything & ~(out | closed);
            const bool kept = chance(90), affordable = chance(80);
            unsigned asked = 0;
            const auto endpoint = plan.hedge(
                kept, out, [&] { return ++asked, affordable; }, now);
            const bool may = retry.hedge && hedges < retry.hedge->max && facts.idempotent_method && kept &&
                             now < facts.deadline && able != 0;
            HOLDS(asked == (may ? 1 : 0));
            HOLDS(endpoint.has_value() == (may && affordable));
            if (!endpoint) continue;
            HOLDS((able >> *endpoint & 1) == 1);
            if (const EndpointMask fresh = able & ~(failed | under_way))
                HOLDS(*endpoint == static_cast<std::size_t>(std::countr_zero(fresh)));
            under_way |= EndpointMask{1} << *endpoint;
            ++hedges;
            ++attempts;
            ++hedged;
        }
    }

    /// An attempt, those beside it, their outcome, and what the plan makes of it.
    Step after(AttemptPlan& plan, const Step& attempt, EndpointMask& out) {
        ++attempts;
        const EndpointMask here = EndpointMask{1} << attempt.endpoint;
        under_way = here;
        hedge(plan);
        now += std::chrono::milliseconds(below(2) ? below(50) : below(4000));
        out = draw_out();
        const Tried tried = draw_outcome();
        const bool made = tried.kind == Tried::Kind::answered || tried.kind == Tried::Kind::failed;
        sent = sent || tried.kind == Tried::Kind::answered || (made && tried.replay == Replay::unsafe);
        made ? failed |= under_way : closed |= tried.kind == Tried::Kind::out ? here : 0;
        if (made) closed = 0;
        if (!made) ++turned_away;

        unsigned asked = 0;
        const bool affordable = chance(80);
        const auto may_spend = [&](Duration) { return ++asked, affordable ? Spend::yes : Spend::over_budget; };
        const Step step = plan.next(tried, out, may_spend, static_cast<double>(random() >> 11) * 0x1p-53, now);

        const bool ended = tried.application_gone || (made && (tried.answer_began || tried.retry_unwanted));
        const bool goes_on = step.kind == Kind::attempt || step.kind == Kind::wait || step.kind == Kind::fallback;
        if (ended || tried.kind == Tried::Kind::refused) HOLDS(!goes_on);
        if (goes_on) HOLDS(now < facts.deadline);
        HOLDS(asked <= 1);
        HOLDS((step.kind == Kind::deliver) <= (tried.kind == Tried::Kind::answered));
        if (step.kind == Kind::give_up) HOLDS(tried.kind != Tried::Kind::answered);
        if (step.kind == Kind::wait) judge_wait(step, tried, attempt.endpoint);
        if (step.kind == Kind::fallback) {
            HOLDS((facts.has_fallback && tried.body_kept && (!sent || facts.idempotent_method)));
            HOLDS((everything & ~(out | failed | closed)) == 0);
        }
        const auto before = std::exchange(moved_for, {});
        const bool goes_back = tried.kind == Tried::Kind::out && before && !ended && now < facts.deadline;
        if (made || goes_back) {
            Tried judged = made ? tried : *before;
            judged.body_kept = tried.body_kept;
            if (!judge_move(step, judged, out, ended, asked))
                judge_retry(plan, step, judged, out, ended, asked, affordable);
        } else if (tried.kind == Tried::Kind::out) {
            HOLDS((step.kind == Kind::attempt) ==
                  (!ended && now < facts.deadline && (everything & ~(out | closed)) != 0));
            HOLDS(asked == 0);
        }
        return step;
    }

    bool is_safe(const Tried& tried) const {
        return tried.body_kept && (!sent || facts.idempotent_method || facts.keyed);
    }

    /// Does what was not sent go on, for nothing, to the first endpoint that it was not at? False: to none.
    bool judge_move(const Step& step, const Tried& tried, EndpointMask out, bool ended, unsigned asked) {
        const bool unsent = tried.kind == Tried::Kind::failed && tried.replay == Replay::safe &&
                            tried.reason != Reason::timeout_total && is_safe(tried) && !ended && now < facts.deadline;
        const EndpointMask untried = everything & ~(out | closed | failed | moved_to);
        if (!unsent) return false;
        if (untried == 0) {
            const bool hopeless = (everything & ~(out | failed | closed)) == 0;
            const bool fallback = facts.has_fallback && hopeless && (!sent || facts.idempotent_method);
            if (fallback && asked == 0 && step.kind != Kind::attempt && step.kind != Kind::wait)
                HOLDS(step.kind == Kind::fallback);
            return false;
        }
        HOLDS((step.kind == Kind::attempt && step.endpoint == static_cast<std::size_t>(std::countr_zero(untried))));
        HOLDS(asked == 0);
        moved_to |= EndpointMask{1} << step.endpoint;
        moved_for = tried;
        return true;
    }

    /// Is there a retry where one is due, and only there?
    void judge_retry(const AttemptPlan& plan, const Step& step, const Tried& tried, EndpointMask out, bool ended,
                     unsigned asked, bool affordable) {
        const bool due = is_named(tried) && is_safe(tried) && !ended && now < facts.deadline;
        const bool room = retries < retry.max && (everything & ~(out | closed)) != 0;
        const bool retried = step.kind == Kind::attempt || step.kind == Kind::wait;
        if (retried) {
            HOLDS((due && room && affordable && asked == 1));
            ++retries;
        } else if (due && room && !tried.retry_after && now + retry.backoff_max < facts.deadline) {
            HOLDS((asked == 1 && !affordable));  // nothing else can have stood in its way
        }
        if (!due) HOLDS((asked == 0 && !plan.spent()));
        if (due && retry.max > 0 && retries == retry.max && !retried) HOLDS(plan.spent());
        if (asked == 1 && !affordable) HOLDS(plan.spent());
    }
};

}  // namespace

TEST_CASE(
    "a random walk never retries nor hedges what is unsafe, late, unpaid for or out, and always retries what is due") {
    Walk walk(20240607);
    while (walk.steps < 2'000'000) walk.exchange();
    CHECK(walk.steps >= 2'000'000);
    CHECK(walk.hedged > 300'000);
}
