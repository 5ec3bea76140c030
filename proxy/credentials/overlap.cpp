#include "proxy/credentials/overlap.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

// False: it is of a state that has been replaced.
bool OverlapPlan::follow(std::uint64_t serial) {
    if (serial < serial_) return false;
    if (serial > serial_) {
        *this = OverlapPlan(times_);
        serial_ = serial;
    }
    return true;
}

bool OverlapPlan::shows_previous(std::uint64_t serial, bool repeatable, TimePoint now) {
    if (!follow(serial)) return false;
    if (!repeatable && std::exchange(once_more_, false)) {
        again_ = true;
        return false;
    }
    if (!repeatable && std::exchange(trial_, false)) {
        on_trial_ = !previous_first_;
        return !previous_first_;
    }
    if (!previous_first_ || now < new_again_) return previous_first_;
    new_again_ = now + times_.trust;   // one is enough
    return false;
}

void OverlapPlan::refused(std::uint64_t serial, bool previous, bool repeatable, TimePoint now) {
    if (!follow(serial)) return;
    if (repeatable) {
        doubted_ = !previous;   // where both are, it is that request's own fault
        return;
    }
    if (previous) on_trial_ = false;
    if (previous != previous_first_ || trial_ || once_more_) return;
    if (std::exchange(again_, false)) {
        previous_first_ = untold_ = true;
        new_again_ = now + times_.trust;
        return;
    }
    if (now - tried_ < rest_) return;
    const bool soon = rest_ != Duration{} && now - tried_ < 2 * times_.longest_rest;
    rest_ = soon ? std::min(rest_ * 2, times_.longest_rest) : times_.first_rest;
    tried_ = now;
    trial_ = true;
}

bool OverlapPlan::taken(std::uint64_t serial, bool previous, TimePoint now) {
    if (!follow(serial)) return false;
    if (previous == previous_first_) trial_ = false;   // it was that request alone which was refused
    if (!previous) {
        previous_first_ = doubted_ = on_trial_ = once_more_ = again_ = untold_ = false;
        return false;
    }
    if (previous_first_) return std::exchange(untold_, false);
    if (std::exchange(on_trial_, false)) {
        once_more_ = true;
        return false;
    }
    if (!doubted_) return false;   // a late answer: meanwhile the new one is taken
    previous_first_ = true;
    once_more_ = again_ = false;
    new_again_ = now + times_.trust;
    return true;
}

}  // namespace sluice
