#include "proxy/policy/acquisition.hpp"

#include <algorithm>

namespace sluice {

namespace {

bool needs_seat(const HeldLimit& held, const Terms& terms) {
    return terms.seated && held.limit->spec.seats;
}

Duration time_of_one(const Rate& rate) {
    return rate.per / std::max<std::int64_t>(static_cast<std::int64_t>(rate.count), 1);
}

// What is worth waiting for where nobody else goes meanwhile.
Duration moment_at(const HeldLimit& held) {
    constexpr Duration least = 250ms;
    const auto& rate = held.limit->spec.rate;
    return rate ? std::max(least, time_of_one(rate->rate)) : least;
}

WaitQueue& queue_for(const HeldLimit& held, bool seat) {
    return seat ? held.place.sitters() : held.place.spenders();
}

// Of an attempt that sent nothing all but the seat is there still.
bool lacks(const HeldLimit& held, bool seat) {
    const bool rate = held.limit->spec.rate && held.spent.rate.cost == 0;
    return rate || !held.spent.admitted || (seat && !held.seat);
}

// One limit's part.
std::optional<Full> take_part(HeldLimit& held, bool seat, TimePoint since, TimePoint now) {
    if (seat && !held.seat) {
        auto taken = held.place.enter(held.limit->seats());
        if (!taken) return Full{Part::seats, never};
        held.seat = std::move(*taken);
    }
    return held.place.spend(held.spent, held.cost_tokens, since, now);
}

// A place in a learnt pace cannot be given back: those limits come last.
template <class Part>
HeldLimit* first_refusal(std::span<HeldLimit> limits, const Part& part) {
    for (const bool learns : {false, true})
        for (HeldLimit& held : limits)
            if (held.limit->spec.learn == learns && part(held)) return &held;
    return nullptr;
}

// All but the seats.
void give_spent_back(std::span<HeldLimit> limits, const Terms& terms, TimePoint now) {
    for (HeldLimit& held : limits) {
        held.place.refund_rate(held.spent, now);
        if (!terms.may_have_cost) held.place.settle(held.spent, 0, now);
        held.spent.admitted = false;
    }
}

bool take_at_once(std::span<HeldLimit> limits, const Terms& terms, bool with_seats, TimePoint now) {
    const auto queue_of = [&](HeldLimit& held) -> WaitQueue* {  // null: without the seat nobody is passed there
        const bool seat = needs_seat(held, terms);
        return seat && !with_seats ? nullptr : &queue_for(held, seat);
    };
    for (HeldLimit& held : limits) {
        WaitQueue* const queue = lacks(held, needs_seat(held, terms)) ? queue_of(held) : nullptr;
        if (queue && !queue->lets_pass(held.priority)) return false;
    }
    const auto refuses = [&](HeldLimit& held) {
        return take_part(held, with_seats && needs_seat(held, terms), now, now).has_value();
    };
    if (first_refusal(limits, refuses)) return false;
    for (HeldLimit& held : limits)
        if (WaitQueue* const queue = queue_of(held)) queue->passed();
    return true;
}

}  // namespace

bool spend_at_once(std::span<HeldLimit> limits, const Terms& terms, TimePoint now) {
    const bool all = take_at_once(limits, terms, false, now);
    if (!all) give_spent_back(limits, terms, now);
    return all;
}

bool take_at_once(std::span<HeldLimit> limits, const Terms& terms, TimePoint now) {
    const bool all = take_at_once(limits, terms, true, now);
    if (!all) give_back(limits, terms, now);
    return all;
}

bool may_be_had(std::span<const HeldLimit> limits, const Terms& terms, TimePoint at) {
    return std::all_of(limits.begin(), limits.end(), [&](const HeldLimit& held) {
        const LimitSpec& spec = held.limit->spec;
        TimePoint ready_at = held.place.full(held.spent, held.cost_tokens, at).retry_at;
        const WaitQueue& queue = queue_for(held, needs_seat(held, terms));
        if (spec.rate && held.spent.rate.cost == 0 && !queue.lets_pass(held.priority))
            ready_at = later(ready_at, time_of_one(spec.rate->rate) * queue.size());
        return ready_at <= std::min(later(at, spec.wait), terms.end);
    });
}

void give_back(std::span<HeldLimit> limits, const Terms& terms, TimePoint now) {
    for (HeldLimit& held : limits) held.seat.give_back();
    give_spent_back(limits, terms, now);
}

void note_sent(std::span<HeldLimit> limits) {
    for (HeldLimit& held : limits) {
        held.spent.rate = {};
        held.spent.admitted = false;
    }
}

Acquisition::Acquisition(std::span<HeldLimit> limits, const Terms& terms, const Sleeper& sleeper)
    : limits_(limits), terms_(terms), since_(sleeper.since), stays_from_(never), stands_(limits.size()) {
    for (const HeldLimit& held : limits) {
        Waiter& waiter = stand_at(held).waiter;
        waiter.priority = held.priority;
        waiter.wake = sleeper.wake;
        waiter.whom = sleeper.whom;
        waiter.since = sleeper.since;
        waiter.tie = reinterpret_cast<std::uintptr_t>(sleeper.whom);
        if (const Duration wait = held.limit->spec.wait; wait > Duration{})
            stays_from_ = std::min(stays_from_, later(since_, wait / 2)), longest_wait_ = std::max(longest_wait_, wait);
    }
}

bool Acquisition::waits_in(const WaitQueue& queue) const {
    return std::any_of(stands_.begin(), stands_.end(),
                       [&](const Stand& stand) { return stand.turn && &stand.turn->queue() == &queue; });
}

void Acquisition::leave_all_but(const Stand* stays) {
    for (Stand& stand : stands_)
        if (&stand != stays) stand.turn.reset();
}

WaitQueue& Acquisition::queue_of(HeldLimit& held) const {
    return queue_for(held, needs_seat(held, terms_));
}

TimePoint Acquisition::deadline_of(const HeldLimit& held, TimePoint now) {
    const LimitSpec& spec = held.limit->spec;
    TimePoint own = later(since_, spec.wait);
    Stand& stand = stand_at(held);
    if (now >= own && !stand.turn && !stand.moment && waits() && spec.wait > Duration{}) stand.moment = later(now, moment_at(held));
    if (stand.moment) own = std::max(own, std::min(*stand.moment, later(since_, longest_wait_)));
    return std::min(own, terms_.end);
}

bool Acquisition::in_vain(const Blocked& blocked, TimePoint now) {
    const TimePoint deadline = deadline_of(*blocked.by, now);
    return now >= deadline || (blocked.full.only_time_helps() && blocked.full.retry_at > deadline);
}

bool Acquisition::stays_first(Stand& stand, TimePoint now) const {
    if (limits_.size() < 2) return false;  // there is no elsewhere
    return (now >= stays_from_ || joined_ > often) && stand.turn && stand.turn->leads();
}

// Before it sleeps in that queue. Until when: at the end of its stay elsewhere it looks again.
TimePoint Acquisition::stay_or_leave(Stand& at, const Full& full, TimePoint until, TimePoint now) {
    if (!stays_first(at, now)) {
        leave_all_but(&at);
        return until;
    }
    if (std::exchange(awaited_, &at) != &at) awaited_since_ = now;
    const TimePoint comes = full.only_time_helps() ? full.retry_at : now;  // at the earliest
    for (HeldLimit& held : limits_) {
        Stand& stand = stand_at(held);
        if (&stand == &at || !stand.turn) continue;
        const TimePoint end = later(awaited_since_, moment_at(held));
        if (now >= end || comes > end)
            stand.turn.reset();
        else
            until = std::min(until, end);
    }
    return until;
}

// All of it, or which limit refuses. Of several it is one that can only refuse for good, else one in whose queue it is,
// best as the first. It is looked at everything first: what is taken and given back at once might be missed by another
// in between.
std::optional<Acquisition::Blocked> Acquisition::take(TimePoint now) {
    TimePoint since = now;
    for (const Stand& stand : stands_)
        if (stand.turn) since = std::min(since, stand.turn->since(now));
    TimePoint at = since;
    std::optional<Blocked> blocked;
    int fit = -1;
    for (HeldLimit& held : limits_) {
        Stand& stand = stand_at(held);
        const bool seat = needs_seat(held, terms_), here = stand.turn.has_value();
        const bool passes = here ? stand.turn->may_try() : queue_of(held).lets_pass(held.priority, since_);
        Full full = held.place.full(held.spent, held.cost_tokens, since);  // after that: what wakes it now is not lost
        const bool spent = full.retry_at > now;
        const bool taken = !spent && seat && !held.seat && held.place.seats_full(held.limit->seats());
        if (!spent && !taken && passes) {
            at = std::max(at, full.retry_at);
            continue;
        }
        const LimitSpec& spec = held.limit->spec;
        if (taken || (!spent && seat && !spec.rate && !spec.tokens)) full = {Part::seats, never};
        const Blocked one{&held, full};
        if (in_vain(one, now)) return one;
        const int fits = here + stays_first(stand, now);
        if (fits > fit) blocked = one, fit = fits;
    }
    if (blocked) return blocked;
    std::optional<Full> lost;  // another worker was faster
    HeldLimit* const by = first_refusal(limits_, [&](HeldLimit& held) {
        lost = take_part(held, needs_seat(held, terms_), at, now);
        return lost.has_value();
    });
    if (!by) return {};
    give_back(limits_, terms_, now);
    return Blocked{by, *lost};
}

Acquisition::Next Acquisition::go(TimePoint now) {
    for (;;) {
        const std::optional<Blocked> blocked = take(now);
        if (!blocked) {
            for (HeldLimit& held : limits_) {
                if (Stand& stand = stand_at(held); stand.turn)
                    stand.turn->took();
                else
                    queue_of(held).passed(since_);
            }
            leave_all_but(nullptr);
            return {};
        }
        Stand& stand = stand_at(*blocked->by);
        if (!stand.turn) {
            stand.turn.emplace(queue_of(*blocked->by), stand.waiter, deadline_of(*blocked->by, now));
            ++joined_;
        }
        const auto until = stand.turn->wait_until(blocked->full, now);
        if (!until) {
            leave_all_but(nullptr);
            return {{}, blocked->by, blocked->full};
        }
        if (*until <= now) continue;
        return {stay_or_leave(stand, blocked->full, *until, now), nullptr, {}};
    }
}

}  // namespace sluice
