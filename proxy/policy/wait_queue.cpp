#include "proxy/policy/wait_queue.hpp"

#include <algorithm>
#include <charconv>

namespace sluice {

int read_priority(std::string_view text) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (end != text.data() + text.size()) return 0;
    if (error == std::errc::result_out_of_range)
        return text.starts_with('-') ? std::numeric_limits<int>::min() : std::numeric_limits<int>::max();
    return error == std::errc{} ? number : 0;
}

Waiter* WaitQueue::first() {
    if (order_.empty()) return nullptr;
    return oldest_turn() ? &*by_age_.begin() : &*order_.begin();
}

void WaitQueue::publish_front() {
    front_.store(order_.empty() ? nobody : oldest_turn() ? no_newcomer : order_.begin()->priority);
}

void WaitQueue::wake(Waiter* who) {
    if (!who || std::exchange(who->woken, true)) return;
    who->wake(who->whom);
}

// `before`: those that are in the queue still, or null.
void WaitQueue::tell_who_lost(const Lead& before) {
    for (Waiter* const one : {before.first, before.oldest})
        if (one && one->keeps_lead && one != first() && one != oldest()) wake(one);
}

bool WaitQueue::join(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    if (size_.load(std::memory_order_relaxed) >= most_) return false;
    const Lead before = lead();
    waiter.woken = waiter.keeps_lead = false;
    order_.insert(waiter);
    by_age_.insert(waiter);
    size_.fetch_add(1, std::memory_order_relaxed);
    publish_front();
    tell_who_lost(before);
    return true;
}

void WaitQueue::leave(Waiter& waiter, bool took) {
    BriefLock::Guard guard(lock_);
    if (!waiter.hook.is_linked()) return;
    const Lead before = lead();
    const bool was_first = before.first == &waiter, was_oldest = before.oldest == &waiter;
    order_.erase(order_.iterator_to(waiter));
    by_age_.erase(by_age_.iterator_to(waiter));
    size_.fetch_sub(1, std::memory_order_relaxed);
    if (took) in_a_row_ = was_oldest ? 0 : std::min(in_a_row_ + 1, by_priority);
    publish_front();
    if (first() != before.first) wake(first());
    tell_who_lost({was_first ? nullptr : before.first, was_oldest ? nullptr : before.oldest});
}

void WaitQueue::passed(TimePoint since) {
    if (empty()) return;
    BriefLock::Guard guard(lock_);
    const Lead before = lead();
    const bool was_oldest = before.oldest && since < before.oldest->since;
    in_a_row_ = was_oldest ? 0 : std::min(in_a_row_ + 1, by_priority);
    publish_front();
    if (first() != before.first) wake(first());
    tell_who_lost(before);
}

bool WaitQueue::lets_pass(int priority, TimePoint since) {
    if (lets_pass(priority)) return true;
    BriefLock::Guard guard(lock_);
    const Waiter* const before = first();
    if (!before) return true;
    const Waiter other{priority, nullptr, nullptr, since};
    return oldest_turn() ? since < before->since : Sooner{}(other, *before);
}

bool WaitQueue::is_head(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    waiter.woken = false;
    return first() == &waiter;
}

bool WaitQueue::leads(Waiter& waiter) {
    BriefLock::Guard guard(lock_);
    return waiter.keeps_lead = first() == &waiter || oldest() == &waiter;
}

void WaitQueue::wake_head() {
    if (empty()) return;
    BriefLock::Guard guard(lock_);
    wake(first());
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
        return now;  // what was given back before we could be seen in the queue woke nobody: look once more
    }
    return may_ ? std::min(deadline_, full.retry_at) : deadline_;
}

void Turn::took() {
    if (std::exchange(joined_, false))
        queue_.leave(waiter_, true);
    else
        queue_.passed();
}

void Turn::leave() {
    if (std::exchange(joined_, false)) queue_.leave(waiter_);
}

}  // namespace sluice
