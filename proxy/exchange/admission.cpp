#include "proxy/exchange/admission.hpp"

#include <algorithm>

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
        ex.held.push_back({&live, live.state->place(key.value_or(std::string_view{}), now), {}, {}, priority_of(ex, spec), ex.tokens.cost(live.state->usual_answer().tokens())});
    }
}

Failure full_failure(Exchange& ex, const HeldLimit& held, const Full& full, TimePoint now) {
    const LimitSpec& spec = held.limit->spec;
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

Failure out_of_time(const Exchange& ex, const HeldLimit& held) {
    return {Origin::sluice, Reason::timeout_total, Replay::safe,
            "the exchange was not over within its total time of " + format_duration(ex.limits.timeout.total) + ": it waited for a place under the limit '" + held.limit->spec.name + "'", {}};
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

Terms terms_of(const Exchange& ex) { return {!ex.tunnel && !ex.upgrade, ex.may_have_cost, ex.limits.total}; }

}  // namespace

bool any_limit(const Exchange& ex, bool (*is)(const LimitSpec&)) {
    const auto any = [is](const std::vector<LimitSpec>& limits) { return std::any_of(limits.begin(), limits.end(), is); };
    return any(ex.serving->limits) || (ex.serving_route && any(ex.serving_route->limits));
}

void hold_limits(Exchange& ex, TimePoint now) {
    enter_limits(ex, ex.serving->limits, 0, now);
    if (ex.serving_route) enter_limits(ex, ex.serving_route->limits, ex.serving_route->first_limit, now);
}

bool acquire_at_once(Exchange& ex) { return take_at_once(ex.held, terms_of(ex), Core::now()); }

Task<Result<void>> acquire(Core& core, Exchange& ex, TimePoint began) {
    Bell bell{core.timer};
    Acquisition acquisition(ex.held, terms_of(ex), {&Bell::ring, &bell, began});
    for (bool waited = false;; waited = true) {
        const TimePoint now = Core::now();
        const Acquisition::Next next = acquisition.go(now);
        if (!next.until) {
            if (waited) core.journal.waited(*ex.serving, now - began);
            if (next.refused_by && now >= ex.limits.total) co_return out_of_time(ex, *next.refused_by);
            if (next.refused_by) co_return full_failure(ex, *next.refused_by, next.full, now);
            co_return Result<void>{};
        }
        const bool here = co_await pause(core, ex, *bell.wakeup, *next.until);
        if (!here) co_return cut_short(ex);
    }
}

bool spend_again(Exchange& ex, TimePoint now) { return spend_at_once(ex.held, terms_of(ex), now); }

bool may_be_had(const Exchange& ex, TimePoint at) { return may_be_had(ex.held, terms_of(ex), at); }

void put_back(Exchange& ex, TimePoint now) {
    for (HeldLimit& held : ex.held) {
        held.place.refund_rate(held.spent, now);
        held.place.settle(held.spent, 0, now);
    }
}

void give_back(Exchange& ex, TimePoint now) { give_back(ex.held, terms_of(ex), now); }

void leave_costs(Exchange& ex) {
    if (!std::exchange(ex.may_have_cost, false)) return;
    for (HeldLimit& held : ex.held) held.spent.tokens = {};
}

void give_seats_back(Exchange& ex) {
    for (HeldLimit& held : ex.held) held.seat.give_back();
}

void hand_over(Exchange& from, Exchange& to) {
    for (std::size_t i = 0; i < from.held.size(); ++i) {
        to.held[i].spent = std::exchange(from.held[i].spent, {});
        to.held[i].seat = std::move(from.held[i].seat);
    }
}

}  // namespace sluice
