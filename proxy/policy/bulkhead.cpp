#include "proxy/policy/bulkhead.hpp"

namespace sluice {

std::optional<Lease> Bulkhead::enter(unsigned limit) {
    unsigned taken = taken_.load();
    do {
        if (taken >= limit) return {};
    } while (!taken_.compare_exchange_weak(taken, taken + 1));
    return Lease(*this);
}

void Bulkhead::give_back() {
    taken_.fetch_sub(1);  // before the look at the queue: see wait_queue.hpp
    queue_.wake_head();
}

void Lease::give_back() {
    if (Bulkhead* bulkhead = std::exchange(bulkhead_, nullptr)) bulkhead->give_back();
}

}  // namespace sluice
