#include "proxy/policy/rate.hpp"

#include <algorithm>

namespace sluice {

namespace {

constexpr std::int64_t longest = std::int64_t{1} << 60;  // 36 years: sums of a few of them still fit

std::int64_t count_of(TimePoint at) {
    return std::chrono::duration_cast<Duration>(at.time_since_epoch()).count();
}

TimePoint point_of(std::int64_t count) {
    return TimePoint(std::chrono::duration_cast<TimePoint::duration>(Duration(count)));
}

/// Rounded up, so that the rate is never exceeded.
std::int64_t unit_of(const Rate& rate) {
    const auto count = std::max<std::uint64_t>(rate.count, 1);
    const auto per = static_cast<std::uint64_t>(std::clamp<std::int64_t>(rate.per.count(), 1, longest));
    return static_cast<std::int64_t>(per / count + (per % count != 0));
}

}  // namespace

Gcra::Gcra(const RateSpec& spec)
    : unit_(unit_of(spec.rate)),
      burst_(std::max<std::uint64_t>(spec.burst, 1)),
      most_(static_cast<std::uint64_t>(longest / unit_)),
      tolerance_(lasting(burst_)) {}

std::int64_t Gcra::lasting(std::uint64_t units) const {
    return units > most_ ? longest : static_cast<std::int64_t>(units) * unit_;
}

Gcra::Taken Gcra::take(std::uint64_t cost, TimePoint now) {
    cost = std::min(cost, burst_);
    if (cost == 0) return {true, {}, {}};
    const std::int64_t at = count_of(now), lasts = lasting(cost);
    const std::uint64_t given = given_.load();  // before the TAT: of what that holds already none may be missed later
    std::int64_t tat = tat_.load();
    for (;;) {
        const std::int64_t next = std::max(tat, at) + lasts;
        if (next - at > tolerance_) return {false, {}, point_of(next - tolerance_)};
        if (tat_.compare_exchange_weak(tat, next)) return {true, {cost, next, at + lasts, given}, {}};
    }
}

TimePoint Gcra::ready_at(std::uint64_t cost, TimePoint now) const {
    cost = std::min(cost, burst_);
    const std::int64_t at = count_of(now);
    return cost == 0 ? now : point_of(std::max(tat_.load(), at) + lasting(cost) - tolerance_);
}

// Without the charge the TAT would lie earlier by what the units last, less the time for which the bucket would have
// stood full in the meantime. That began at the earliest when the TAT of the charge without these units was reached: so
// what of that is still to come may be given back, and no more. The TAT that the charge led to was `until`, but it
// counted charges before it of which some may have come back since, and then time has gone on to give this one back
// instead. Which ones is not known; that all refunds since then were of such is the worst that can have happened. It
// cannot have led to less than if there had been nothing before it: `alone`.
//
// Refunds are put in a row by `promised_`, so that each knows of all before it, and counted in `given_` only once they
// are out of the TAT: what a charge did not see in either counts against it, what it saw in the TAT alone does so
// twice.
bool Gcra::refund(const Charge& charge, std::uint64_t units, TimePoint now) {
    const std::int64_t lasts = lasting(std::min(units, charge.cost)), at = count_of(now);
    std::uint64_t promised = promised_.load();
    std::int64_t back = 0;
    do {
        const auto since = static_cast<std::int64_t>(promised - charge.given);
        if (since < 0) return false;  // more than can be counted
        back = std::min(lasts, std::max(charge.until - since, charge.alone) - at);
        if (back <= 0) return false;
    } while (!promised_.compare_exchange_weak(promised, promised + static_cast<std::uint64_t>(back)));
    tat_.fetch_sub(back);
    given_.fetch_add(static_cast<std::uint64_t>(back));
    return true;
}

void Gcra::charge(std::uint64_t units, TimePoint now) {
    if (units == 0) return;
    const std::int64_t at = count_of(now), lasts = lasting(units), most = at + tolerance_ + most_debt.count();
    std::int64_t tat = tat_.load();
    for (;;) {
        const std::int64_t next = std::max(tat, std::min(std::max(tat, at) + lasts, most));
        if (tat_.compare_exchange_weak(tat, next)) return;
    }
}

bool Gcra::settle(const Charge& charge, std::uint64_t actual, TimePoint now) {
    if (actual < charge.cost) return refund(charge, charge.cost - actual, now);
    this->charge(actual - charge.cost, now);
    return false;
}

std::uint64_t Gcra::remaining(TimePoint now) const {
    const std::int64_t room = tolerance_ - full_in(now).count();
    return room <= 0 ? 0 : static_cast<std::uint64_t>(room / unit_);
}

Duration Gcra::full_in(TimePoint now) const {
    return Duration(std::max<std::int64_t>(tat_.load() - count_of(now), 0));
}

}  // namespace sluice
