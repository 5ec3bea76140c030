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
    asked_at_ = began_;
    life_ = life;
    draw_ = draw;
    renew_after_ = renew_after;
    usable_until_ = usable;
    fetched_at_ = now;
    due_ = renewal();
    failures_ = 0;
    pause_ = {};
    return true;
}

// Where the lifetime bounds how early it is, there is still room for the spread: what ends soon is what a fleet fetches most.
TimePoint RenewalPlan::renewal() const {
    constexpr double spread = 0.25;
    const Duration most = scaled(life_ / 2, 1 / (1 + spread));
    const Duration before = std::min(times_.before.value_or(std::max<Duration>(life_ / 5, 30s)), most);
    TimePoint due = asked_at_ + life_ - scaled(before, 1 + spread * draw_);
    if (renew_after_) due = std::min(due, std::max(asked_at_ + scaled(*renew_after_, 1 - draw_ / 5), fetched_at_));
    return due;
}

void RenewalPlan::renew_before(TimePoint now, std::optional<Duration> before) {
    times_.before = before;
    if (has_one(now) && failures_ == 0 && due_ > now) due_ = std::max(renewal(), now);
}

void RenewalPlan::slept(Duration time) {
    for (TimePoint* at : {&due_, &began_, &fetched_at_, &usable_until_, &asked_at_})
        if (*at != never && *at != TimePoint{}) *at -= time;
}

void RenewalPlan::failed(TimePoint now, double draw, Duration asked) {
    ++failures_;
    pause_ = pause_ == Duration{} ? times_.first_pause : std::min(pause_ * 2, times_.longest_pause);
    const Duration own = scaled(pause_, 0.5 + draw / 2), wished = scaled(std::min(asked, times_.longest_asked), 1 + draw / 4);
    due_ = now + std::max(own, wished);
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
