#include "proxy/credentials/renewal_plan.hpp"

#include <algorithm>

namespace sluice {

namespace {

Duration scaled(Duration time, double by) { return Duration(static_cast<Duration::rep>(static_cast<double>(time.count()) * by)); }

}  // namespace

bool RenewalPlan::fetched(TimePoint now, std::optional<Duration> lifetime, double draw, std::optional<Duration> renew_after) {
    const Duration life = std::min(lifetime.value_or(times_.unknown), times_.longest);
    const TimePoint usable = lifetime ? began_ + life - times_.spare : never;
    if (usable <= now) return false;
    const Duration before = times_.before.value_or(std::max<Duration>(life / 5, 30s));
    const Duration early = std::min(scaled(before, 1 + draw / 4), life / 2);
    due_ = began_ + life - early;
    if (renew_after) due_ = std::min(due_, std::max(began_ + scaled(*renew_after, 1 - draw / 5), now));
    usable_until_ = usable;
    fetched_at_ = now;
    failures_ = 0;
    pause_ = {};
    return true;
}

void RenewalPlan::failed(TimePoint now, double draw) {
    ++failures_;
    pause_ = pause_ == Duration{} ? times_.first_pause : std::min(pause_ * 2, times_.longest_pause);
    due_ = now + scaled(pause_, 0.5 + draw / 2);
    if (!has_one(now)) usable_until_ = {};
}

bool RenewalPlan::refused(TimePoint now) {
    if (failures_ > 0 || now - fetched_at_ < rest_) return false;
    const bool again = rest_ != Duration{} && now - fetched_at_ < 2 * times_.longest_rest;
    rest_ = again ? std::min(rest_ * 2, times_.longest_rest) : times_.first_rest;
    due_ = now;
    return true;
}

}  // namespace sluice
