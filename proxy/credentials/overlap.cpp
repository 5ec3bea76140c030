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
    if (!repeatable) return std::exchange(trial_, false) ? !previous_first_ : previous_first_;
    if (!previous_first_ || now < new_again_) return previous_first_;
    new_again_ = now + times_.trust;   // one is enough
    return false;
}

void OverlapPlan::refused(std::uint64_t serial, bool previous, bool repeatable, TimePoint now) {
    if (!follow(serial)) return;
    if (!previous) doubted_ = true;
    if (repeatable || previous != previous_first_ || trial_ || now - tried_ < rest_) return;
    const bool again = rest_ != Duration{} && now - tried_ < 2 * times_.longest_rest;
    rest_ = again ? std::min(rest_ * 2, times_.longest_rest) : times_.first_rest;
    tried_ = now;
    trial_ = true;
}

bool OverlapPlan::taken(std::uint64_t serial, bool previous, TimePoint now) {
    if (!follow(serial)) return false;
    if (previous == previous_first_) trial_ = false;   // it was that request alone which was refused
    if (!previous) {
        previous_first_ = doubted_ = false;
        return false;
    }
    if (previous_first_ || !doubted_) return false;   // a late answer: meanwhile the new one is taken
    previous_first_ = true;
    new_again_ = now + times_.trust;
    return true;
}

}  // namespace sluice
