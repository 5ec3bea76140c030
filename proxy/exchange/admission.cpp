#include "proxy/exchange/admission.hpp"

#include <algorithm>
#include <span>

#include "proxy/base/text.hpp"
#include "proxy/exchange/pause.hpp"
#include "proxy/policy/vendor_state.hpp"

namespace sluice {

namespace {

int priority_of(const Exchange& ex, const LimitSpec& spec) {
    if (spec.priority_header.empty()) return 0;
    return read_priority(ex.request.fields.find(spec.priority_header).value_or(std::string_view{}));
}

void enter_limits(Exchange& ex, const std::vector<LimitSpec>& specs, std::size_t first, TimePoint now) {
    for (std::size_t i = 0; i < specs.size(); ++i) {
        const LimitSpec& spec = specs[i];
        LiveLimit& live = *ex.serving->live->limits[first + i];
        const auto key = spec.per_header.empty() ? std::nullopt : ex.request.fields.find(spec.per_header);
        ex.held.push_back({&live, live.state.place(key.value_or(std::string_view{}), now), {}, {}, {}, priority_of(ex, spec), ex.tokens.cost(live.state.usual_answer().tokens())});
    }
}

Failure full_failure(Exchange& ex, const HeldLimit& held, const Full& full, TimePoint now) {
    const LimitSpec& spec = held.limit->state.spec();
    const QuotaViews quotas = quota_views(spec, held.place.view(now), held.limit->seats());
    std::string policy, standing;
    for (std::size_t i = 0; i < quotas.size; ++i) {
        if (i > 0) policy += ", ", standing += ", ";
        append_ratelimit_policy(policy, quotas.views[i]);
        append_ratelimit(standing, quotas.views[i]);
    }
    Refusal refusal = refusal_of(spec, full, now);
    if (full.part == Part::learnt) {   // the vendor's own quota, of which we know no more
        QuotaView learnt;
        learnt.name = spec.name;
        learnt.part = "-learnt";
        learnt.reset_after = refusal.retry_after;
        if (!standing.empty()) standing += ", ";
        append_ratelimit(standing, learnt);
    }
    ex.refusal_fields.clear();
    if (!policy.empty()) ex.refusal_fields.add("RateLimit-Policy", policy);
    if (!standing.empty()) ex.refusal_fields.add("RateLimit", standing);
    Failure failure{Origin::sluice, refusal.reason, Replay::safe, std::move(refusal.detail), {}};
    failure.retry_after = refusal.retry_after;
    return failure;
}

// Rings on another worker's thread: posts to this one. What was posted may come when nobody sleeps here any more.
struct Bell {
    Timer& timer;
    std::shared_ptr<Wakeup> wakeup = std::make_shared<Wakeup>();

    static void ring(void* bell) {
        auto& own = *static_cast<Bell*>(bell);
        own.timer.post([wakeup = own.wakeup] { wakeup->notify(Wait::ready); });
    }
};

// One wait in one queue, as policy/wait_queue.hpp tells it. `attempt` takes the place, of one that is ready since then: nothing, or why there is none. `standing` says so without trying.
template <class Attempt, class Standing>
Task<Result<void>> wait_in(Core& core, Exchange& ex, HeldLimit& held, WaitQueue& queue, Attempt attempt, Standing standing) {
    Bell bell{core.timer};
    Waiter waiter;
    waiter.priority = held.priority;
    waiter.wake = &Bell::ring;
    waiter.whom = &bell;
    const TimePoint began = Core::now();
    Turn turn(queue, waiter, std::min(later(began, held.limit->state.spec().wait), ex.limits.total));
    for (bool waited = false;; waited = true) {
        const TimePoint now = Core::now();
        std::optional<Full> full = turn.may_try() ? attempt(turn.since(now), now) : std::optional<Full>(standing(now));
        const auto until = full ? turn.wait_until(*full, now) : std::nullopt;
        if (!until) {
            if (waited) core.journal.waited(*ex.serving, now - began);
            if (!full) {
                turn.took();
                co_return Result<void>{};
            }
            co_return full_failure(ex, held, *full, now);
        }
        const bool here = co_await pause(core, ex, *bell.wakeup, *until);
        if (!here) co_return cut_short(ex);
    }
}

// What the next attempt is made with: its own, or what one before it that sent nothing has left.
Spent& latest(HeldLimit& held) { return held.again.admitted ? held.again : held.spent; }

// Nothing was sent: rate and tokens come back.
void give_back(Exchange& ex, TimePoint now) {
    for (HeldLimit& held : ex.held)
        if (held.spent.admitted) held.place.refund(held.spent, now);
}

}  // namespace

bool any_limit(const Exchange& ex, bool (*is)(const LimitSpec&)) {
    const auto any = [is](const std::vector<LimitSpec>& limits) { return std::any_of(limits.begin(), limits.end(), is); };
    return any(ex.serving->limits) || (ex.serving_route && any(ex.serving_route->limits));
}

void hold_limits(Exchange& ex, TimePoint now) {
    enter_limits(ex, ex.serving->limits, 0, now);
    if (ex.serving_route) enter_limits(ex, ex.serving_route->limits, ex.serving_route->first_limit, now);
}

bool admit_at_once(Exchange& ex) {
    const TimePoint now = Core::now();
    hold_limits(ex, now);
    for (HeldLimit& held : ex.held) {
        if (held.place.spenders().lets_pass(held.priority)) held.spent = held.place.spend(held.cost_tokens, now);
        if (held.spent.admitted) {
            held.place.spenders().passed();
            continue;
        }
        give_back(ex, now);
        return false;
    }
    return true;
}

namespace {

bool put_rates_back(std::span<HeldLimit> limits, TimePoint now) {
    bool any = false;
    for (HeldLimit& held : limits) {
        any |= latest(held).rate.cost > 0;
        held.place.refund_rate(latest(held), now);
    }
    return any;
}

bool retake_rates_at_once(std::span<HeldLimit> limits, TimePoint now) {
    for (HeldLimit& held : limits) {
        if (!held.limit->state.spec().rate) continue;
        if (!held.place.spenders().lets_pass(held.priority) || held.place.retake_rate(latest(held), now, now)) {
            put_rates_back(limits, now);
            return false;
        }
        held.place.spenders().passed();
    }
    return true;
}

Task<Result<void>> retake_rates(Core& core, Exchange& ex, std::span<HeldLimit> limits) {
    for (HeldLimit& held : limits) {
        if (!held.limit->state.spec().rate) continue;
        const auto attempt = [&](TimePoint since, TimePoint now) { return held.place.retake_rate(latest(held), since, now); };
        const auto standing = [&](TimePoint now) { return held.place.full(0, now); };
        Result<void> got = co_await wait_in(core, ex, held, held.place.spenders(), attempt, standing);
        if (got) continue;
        put_rates_back(limits, Core::now());
        co_return got;
    }
    co_return Result<void>{};
}

}  // namespace

Task<Result<void>> admit(Core& core, Exchange& ex) {
    for (std::size_t i = 0; i < ex.held.size(); ++i) {
        HeldLimit& held = ex.held[i];
        const std::span<HeldLimit> before(ex.held.data(), i);
        if (held.place.spenders().lets_pass(held.priority)) held.spent = held.place.spend(held.cost_tokens, Core::now());
        if (held.spent.admitted) {
            held.place.spenders().passed();
            continue;
        }
        put_rates_back(before, Core::now());   // who waits here sends nothing there
        const auto attempt = [&](TimePoint since, TimePoint now) -> std::optional<Full> {
            held.spent = held.place.spend(held.cost_tokens, since, now);
            if (held.spent.admitted) return {};
            return held.spent.full;
        };
        const auto standing = [&](TimePoint now) { return held.place.full(held.cost_tokens, now); };
        Result<void> got = co_await wait_in(core, ex, held, held.place.spenders(), attempt, standing);
        if (got && !retake_rates_at_once(before, Core::now())) got = co_await retake_rates(core, ex, before);
        if (got) continue;
        give_back(ex, Core::now());
        co_return got;
    }
    co_return Result<void>{};
}

bool admit_again(Exchange& ex, TimePoint now) {
    if (ex.unused) return true;
    for (HeldLimit& held : ex.held) held.again = {};
    bool all = true;
    for (HeldLimit& held : ex.held) {
        if (!all) break;
        if (held.place.spenders().lets_pass(held.priority)) held.again = held.place.spend(0, now);
        all = held.again.admitted;
        if (all) held.place.spenders().passed();
    }
    if (!all) give_again_back(ex, now);
    ex.unused = all;
    return all;
}

bool put_rate_back(Exchange& ex, TimePoint now) { return put_rates_back(ex.held, now); }
bool retake_rate_at_once(Exchange& ex, TimePoint now) { return retake_rates_at_once(ex.held, now); }
Task<Result<void>> retake_rate(Core& core, Exchange& ex) { return retake_rates(core, ex, ex.held); }

void give_again_back(Exchange& ex, TimePoint now) {
    ex.unused = false;
    for (HeldLimit& held : ex.held)
        if (std::exchange(held.again.admitted, false)) held.place.refund(held.again, now);
}

bool take_seats_at_once(Exchange& ex) {
    if (ex.tunnel || ex.upgrade) return true;
    for (HeldLimit& held : ex.held) {
        if (!held.limit->state.spec().seats) continue;
        if (held.place.sitters().lets_pass(held.priority)) {
            if (auto seat = held.place.enter(held.limit->seats())) {
                held.seat = std::move(*seat);
                held.place.sitters().passed();
                continue;
            }
        }
        give_seats_back(ex);
        return false;
    }
    return true;
}

namespace {

Task<Result<void>> wait_for_seats(Core& core, Exchange& ex) {
    for (HeldLimit& held : ex.held) {
        if (!held.limit->state.spec().seats) continue;
        const auto attempt = [&](TimePoint, TimePoint) -> std::optional<Full> {
            auto seat = held.place.enter(held.limit->seats());
            if (!seat) return Full{Part::seats, never};
            held.seat = std::move(*seat);
            return {};
        };
        const auto standing = [](TimePoint) { return Full{Part::seats, never}; };
        Result<void> got = co_await wait_in(core, ex, held, held.place.sitters(), attempt, standing);
        if (got) continue;
        give_seats_back(ex);
        co_return got;
    }
    co_return Result<void>{};
}

}  // namespace

Task<Result<void>> take_seats(Core& core, Exchange& ex) {
    const bool paid = put_rate_back(ex, Core::now());
    Result<void> got = co_await wait_for_seats(core, ex);
    if (!got || !paid || retake_rate_at_once(ex, Core::now())) co_return got;
    const bool alone = ex.held.size() == 1;   // whoever else wants the seat needs that rate, too; of other limits there may be some who do not
    if (!alone) give_seats_back(ex);
    got = co_await retake_rate(core, ex);
    if (got && !alone) got = co_await wait_for_seats(core, ex);   // with a place of the rate: one of the two has to be held, or neither may ever be had
    if (!got) give_seats_back(ex);
    co_return got;
}

void hand_rate_over(Exchange& from, Exchange& to) {
    for (std::size_t i = 0; i < from.held.size(); ++i) latest(to.held[i]).rate = std::exchange(latest(from.held[i]).rate, {});
}

void give_seats_back(Exchange& ex) {
    for (HeldLimit& held : ex.held) held.seat.give_back();
}

void give_unused_back(Exchange& ex, TimePoint now) {
    if (ex.sends == 0) give_back(ex, now);
    for (HeldLimit& held : ex.held) {
        if (ex.unused && std::exchange(held.again.admitted, false)) held.place.refund(held.again, now);
        if (!ex.may_have_cost) held.place.settle(held.spent, 0, now);
    }
}

}  // namespace sluice
