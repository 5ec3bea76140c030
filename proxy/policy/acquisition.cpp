#include "proxy/policy/acquisition.hpp"

#include <algorithm>

namespace sluice {

namespace {

bool needs_seat(const HeldLimit& held, const Terms& terms) {
    return terms.seated && held.limit->state.spec().seats;
}

WaitQueue& queue_for(HeldLimit& held, bool seat) {
    return seat ? held.place.sitters() : held.place.spenders();
}

// Of an attempt that sent nothing all but the seat is there still.
bool lacks(const HeldLimit& held, bool seat) {
    const bool rate = held.limit->state.spec().rate && held.spent.rate.cost == 0;
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
            if (held.limit->state.spec().learn == learns && part(held)) return &held;
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

Acquisition::Acquisition(std::span<HeldLimit> limits, const Terms& terms, Waiter& waiter)
    : limits_(limits), terms_(terms), waiter_(waiter), keeps_from_(never) {
    if (limits.size() < 2) return;
    for (const HeldLimit& held : limits)
        if (const Duration wait = held.limit->state.spec().wait; wait > Duration{})
            keeps_from_ = std::min(keeps_from_, later(waiter.since, wait / 2));
}

void Acquisition::give_kept_back() {
    if (std::exchange(kept_, 0) != 0)
        for (HeldLimit& held : limits_) held.seat.give_back();
}

bool Acquisition::is_kept(const HeldLimit& held) const {
    return (kept_ >> (&held - limits_.data()) & 1) != 0;
}

// One after the other. The first that is not to be had now; null: it has them all.
HeldLimit* Acquisition::keep_seats() {
    for (std::size_t i = 0; i < std::min<std::size_t>(limits_.size(), 64); ++i) {
        HeldLimit& held = limits_[i];
        if (!needs_seat(held, terms_) || held.seat) continue;
        const bool here = is_here(held);
        if (!(here ? turn_->may_try() : queue_of(held).lets_pass(held.priority, waiter_.since))) return &held;
        auto seat = held.place.enter(held.limit->seats());
        if (!seat) return &held;
        held.seat = std::move(*seat);
        kept_ |= std::uint64_t{1} << i;
        if (here)
            turn_->took(), turn_.reset();
        else
            queue_of(held).passed(waiter_.since);
    }
    return nullptr;
}

WaitQueue& Acquisition::queue_of(HeldLimit& held) const {
    return queue_for(held, needs_seat(held, terms_));
}

TimePoint Acquisition::deadline_of(const HeldLimit& held) const {
    return std::min(later(waiter_.since, held.limit->state.spec().wait), terms_.end);
}

bool Acquisition::in_vain(const Blocked& blocked, TimePoint now) const {
    const TimePoint deadline = deadline_of(*blocked.by);
    return now >= deadline || (blocked.full.only_time_helps() && blocked.full.retry_at > deadline);
}

// All of it, or which limit refuses. Of several it is one that can only refuse for good, else the one in whose queue it
// is. It is looked at everything first: what is taken and given back at once might be missed by another in between.
std::optional<Acquisition::Blocked> Acquisition::take(TimePoint now) {
    if (now >= keeps_from_)
        if (HeldLimit* const by = keep_seats()) return Blocked{by, {Part::seats, never}};
    const bool first_here = turn_ && turn_->may_try();
    const TimePoint since = turn_ ? turn_->since(now) : now;
    TimePoint at = since;
    std::optional<Blocked> blocked;
    for (HeldLimit& held : limits_) {
        const bool seat = needs_seat(held, terms_), here = is_here(held);
        Full full = held.place.full(held.spent, held.cost_tokens, since);
        const bool spent = full.retry_at > now;
        const bool taken = !spent && seat && !held.seat && held.place.seats_full(held.limit->seats());
        const LimitSpec& spec = held.limit->state.spec();
        const bool has_all = held.seat && !spec.rate && !spec.tokens && !spec.learn;
        const bool passes = has_all || (here ? first_here : queue_of(held).lets_pass(held.priority, waiter_.since));
        if (!spent && !taken && passes) {
            at = std::max(at, full.retry_at);
            continue;
        }
        if (taken || (!spent && seat && !spec.rate && !spec.tokens)) full = {Part::seats, never};
        const Blocked one{&held, full};
        if (!blocked || here || in_vain(one, now)) blocked = one;
        if (in_vain(one, now)) break;
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
                if (is_kept(held)) continue;  // that place has been counted
                if (is_here(held))
                    turn_->took();
                else
                    queue_of(held).passed(waiter_.since);
            }
            turn_.reset();
            kept_ = 0;
            return {};
        }
        HeldLimit& by = *blocked->by;
        if (!is_here(by)) {
            turn_.reset();
            waiter_.priority = by.priority;
            turn_.emplace(queue_of(by), waiter_, deadline_of(by));
        }
        const auto until = turn_->wait_until(blocked->full, now);
        if (!until) turn_.reset();
        if (!until) return {{}, blocked->by, blocked->full};
        if (*until > now) return {until, nullptr, {}};
    }
}

}  // namespace sluice
