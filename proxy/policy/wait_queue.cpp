#include "proxy/policy/wait_queue.hpp"

#include <algorithm>

namespace sluice {

void WaitQueue::publish_front() {
    front_.store(order_.empty() ? nobody : order_.begin()->priority);
}

void WaitQueue::wake_first() {
    if (order_.empty()) return;
    Waiter& first = *order_.begin();
    if (std::exchange(first.woken, true)) return;
    first.wake(first.whom);
}

bool WaitQueue::join(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    if (size_.load(std::memory_order_relaxed) >= most_) return false;
    waiter.woken = false;
    order_.insert(waiter);
    size_.fetch_add(1, std::memory_order_relaxed);
    publish_front();
    return true;
}

void WaitQueue::leave(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    if (!waiter.hook.is_linked()) return;
    const bool was_first = &*order_.begin() == &waiter;
    order_.erase(order_.iterator_to(waiter));
    size_.fetch_sub(1, std::memory_order_relaxed);
    publish_front();
    if (was_first) wake_first();
}

bool WaitQueue::is_head(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    waiter.woken = false;
    return !order_.empty() && &*order_.begin() == &waiter;
}

void WaitQueue::wake_head() {
    if (empty()) return;
    BriefLock::Guard guard(lock_);
    wake_first();
}

bool Turn::may_try() {
    may_ = joined_ ? queue_.is_head(waiter_) : queue_.lets_pass(waiter_.priority);
    return may_;
}

std::optional<TimePoint> Turn::wait_until(const Full& full, TimePoint now) {
    if (now >= deadline_) return {};
    if (full.only_time_helps() && full.retry_at > deadline_) return {};
    if (!joined_) {
        if (!queue_.join(waiter_)) return {};
        joined_ = true;
        joined_at_ = now;
        return now;  // what was given back before we could be seen in the queue woke nobody: look once more
    }
    return may_ ? std::min(deadline_, full.retry_at) : deadline_;
}

void Turn::leave() {
    if (std::exchange(joined_, false)) queue_.leave(waiter_);
}

}  // namespace sluice
