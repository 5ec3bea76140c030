// What to do next with a request: try an endpoint, wait, hand out the answer, go to another vendor, or give up. A
// machine without clock, sockets or randomness: the walk does what a Step says, tells how it came out, and asks again.
// One of it an exchange, on that exchange's thread.
//
//     Step step = plan.start(out, now);
//     for (;;) switch (step.kind) {
//     case attempt:  tried = ...send to endpoint `step.endpoint`...;  step = plan.next(tried, out, may_spend, draw,
//     now); case wait:     ...sleep `step.delay`...;                        step = plan.resume(out, now); case deliver:
//     hand out the answer of the last attempt case fallback: begin again as a request to the fallback's vendor, with a
//     plan of its own case give_up:  answer with what `step.why` says
//     }
//
// An answer of the vendor may be let go of as soon as `next` says anything but `deliver`: it is never asked for later, but
// for one that a fallback is to make up for and cannot (`without_fallback`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "proxy/base/result.hpp"
#include "proxy/base/time.hpp"
#include "proxy/policy/retry.hpp"

namespace sluice {

/// A bit an endpoint, the first one lowest: those whose breaker lets nothing through now.
using EndpointMask = std::uint32_t;

struct Step {
    enum class Kind : unsigned char { attempt, wait, deliver, fallback, give_up };
    /// What a `give_up` is answered with.
    enum class Why : unsigned char {
        last,  // the failure or refusal that was told last
        out,   // every endpoint is out: breaker_open, with the soonest time at which one of them lets something through
        late,  // no time is left: timeout_total
    };
    Kind kind = Kind::give_up;
    std::size_t endpoint = 0;  // of `attempt`
    Duration delay{};          // of `wait`; above 0
    Why why = Why::last;       // of `give_up`

    bool operator==(const Step&) const = default;
};

/// What is known of a request before its first attempt.
struct PlanFacts {
    const RetrySpec* retry = nullptr;  // outlives the plan
    std::size_t endpoints = 1;         // 1 to 32; a vendor without `endpoints` has one
    bool idempotent_method = false;    // RFC 9110 9.2.2: may be done twice, at any vendor
    bool keyed = false;  // has an idempotency key, its own or ours: this vendor does it once, another one cannot know
    bool has_fallback = false;
    TimePoint deadline = never;  // of everything: `total`
};

/// May a retry be made?
enum class Spend : unsigned char {
    yes,
    over_budget,  // retries are too large a share of the requests
    no_place,     // our own limits have none for it, or not soon enough
};

/// How an attempt came out.
struct Tried {
    enum class Kind : unsigned char {
        answered,  // a response head came: `status`
        failed,    // none came: `reason`, `replay`
        out,       // the endpoint's breaker let nothing through: nothing was sent, another endpoint may do
        refused,   // our own limit or a missing credential: nothing was sent, and no other endpoint would change that
    };
    Kind kind = Kind::failed;
    unsigned status = 0;
    Reason reason = Reason::upstream_reset;
    Replay replay = Replay::unsafe;
    bool body_kept = true;  // the request's body can be sent (again) from its first byte: nothing of it is lost
    std::optional<Duration> retry_after;  // what the vendor said
    std::optional<std::size_t> endpoint;  // of several attempts beside each other the one that this is about
    bool retry_unwanted = false;          // the vendor said `x-should-retry: false` or `stripe-should-retry: false`
    bool answer_began = false;            // a byte of an answer went to the application
    bool application_gone = false;

    static Tried answer(unsigned status, std::optional<Duration> retry_after = {});
    static Tried failure(Reason reason, Replay replay);
    static Tried breaker_open();
    static Tried refusal();
};

class AttemptPlan {
  public:
    /// Longest Retry-After that is waited for; what asks for more is handed to the application, which may wait better.
    static constexpr Duration patience = 10s;

    explicit AttemptPlan(const PlanFacts& facts) : facts_(facts) {}

    /// Before anything else; again where there was a wait before the attempt that it said could be begun. The first
    /// endpoint that is not out; all are: fallback, else give_up (`out`).
    Step start(EndpointMask out, TimePoint now);

    /// After each attempt. `may_spend(delay)` is asked at most once, and only when everything else speaks for a retry:
    /// whether the retry budget and our own limits allow one in so long (Spend). The budget has then been spent.
    /// `draw` is uniform in 0 .. 1 (below 1), the jitter.
    ///
    /// A retry goes to another endpoint where one is not out: at once the first time, else after full jitter. A
    /// Retry-After is waited for before the same endpoint is tried again, and before any where the status is 429, which
    /// speaks for the vendor as a whole. An endpoint that is out costs no retry. Where a retry was due but cannot be:
    /// fallback, if every endpoint is out or has failed this request; else the answer as it is, or give_up.
    ///
    /// A failure before anything was sent is no retry where it can go on elsewhere: at once to an endpoint that this
    /// request was not at yet, and, when no retry is due any more, to the fallback, whatever `on` and `max` say. It is
    /// not paid for either: no endpoint sees more than one attempt of a request for it, so that it cannot become a storm, and a budget would refuse most
    /// of those whom the next endpoint is there for, until the breaker of the first one opens.
    template <class Ask>
    Step next(const Tried& tried, EndpointMask out, Ask&& may_spend, double draw, TimePoint now) {
        Step step = judge(tried, out, draw, now);
        if (const Spend spend = retrying_ ? may_spend(step.delay) : Spend::yes; spend != Spend::yes)
            step = unaffordable(spend, out);
        return commit(step);
    }

    /// After each wait: which endpoint it is now.
    Step resume(EndpointMask out, TimePoint now);

    /// The fallback cannot take the request: what becomes of the exchange then.
    Step without_fallback();

    /// An attempt takes long (`HedgeSpec::after`): the endpoint of a second one beside it, or nothing. Of requests with
    /// an idempotent method only (two at once under one key is what vendors answer 409 to), whose body is kept, within
    /// `hedge.max`, time and budget; another endpoint where one is not out. `next` is told of one outcome only: the
    /// first good answer, or where there is none the one that says most: an answer, a failure of the vendor's, our own
    /// refusal. A failure is then `Replay::safe` only if all of them were.
    template <class Ask>
    std::optional<std::size_t> hedge(bool body_kept, EndpointMask out, Ask&& may_spend, TimePoint now) {
        if (!may_hedge(body_kept, out, now) || !may_spend()) return {};
        return begin_hedge(out);
    }

    /// Attempts that were begun and not reported as turned away by us; for tests.
    unsigned attempts() const { return attempts_; }
    /// Additional attempts, by `max` and budget.
    unsigned retries() const { return retries_; }
    /// `x-should-retry: false`: one more was due and safe but ours are used up, and an SDK would multiply them; or
    /// every endpoint is out, and whoever waits for the Retry-After of a breaker comes back in the same second as all
    /// others.
    bool spent() const { return spent_; }

  private:
    Step judge(const Tried& tried, EndpointMask out, double draw, TimePoint now);
    Step judge_outcome(const Tried& tried, EndpointMask out, double draw, TimePoint now);
    Step judge_retry(const Tried& tried, EndpointMask out, double draw, TimePoint now);
    Step try_elsewhere(EndpointMask out, TimePoint now);
    Step unaffordable(Spend spend, EndpointMask out);
    Step commit(Step step);
    Step instead(EndpointMask out);
    Step exhausted();
    Step fall_back_or(Step otherwise);
    void note(const Tried& tried);
    bool may_go_on(const Tried& tried, TimePoint now) const;
    bool is_due(const Tried& tried) const;
    bool may_fall_back() const;
    std::optional<Duration> pause_before(const Tried& tried, std::size_t endpoint, double draw) const;
    std::optional<std::size_t> choose(EndpointMask out) const;
    std::optional<std::size_t> choose_untried(EndpointMask out) const;
    bool may_hedge(bool body_kept, EndpointMask out, TimePoint now) const;
    std::size_t begin_hedge(EndpointMask out);
    EndpointMask all() const;

    PlanFacts facts_;
    std::size_t current_ = 0;     // the endpoint of the last attempt
    EndpointMask under_way_ = 0;  // of the last attempt and its hedges
    EndpointMask failed_ = 0;     // failed this request
    EndpointMask closed_ = 0;     // turned out to be out since the last attempt that was made
    EndpointMask moved_to_ = 0;   // were gone to because nothing was sent elsewhere: each at most once
    Step otherwise_;                  // a fallback was to be asked: what comes instead
    std::optional<Tried> moved_for_;  // the failure that the attempt under way goes on from
    unsigned attempts_ = 0, retries_ = 0, hedges_ = 0;
    bool sent_ = false;      // something of the request may have reached the vendor
    bool answered_ = false;  // the last attempt ended in an answer
    bool body_kept_ = true;
    bool retrying_ = false;  // the step at hand is a retry that is not paid for yet
    bool spent_ = false;
};

}  // namespace sluice
