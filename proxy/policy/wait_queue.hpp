// Those who wait for a place under a limit, whichever worker they run on: higher priority first, then who has waited
// longer, be it here or in another queue before; but of every four places that are taken while somebody waits one is
// for who has waited longest, whatever its priority. The queue gives nothing away itself: it says whose turn it is to
// try, and wakes that one when trying is worth it. Pure but for a brief lock, which is taken only where somebody waits
// or begins to; time is an argument. Any thread.
//
// How one waits in one queue (who needs places under several limits: policy/acquisition.hpp):
//
//     Waiter waiter{priority, wake, this, now};        // wake: posts "try again" to this coroutine's own worker
//     Turn turn{queue, waiter, later(now, spec.wait)};
//     for (;;) {
//         Full full;                                   // why there is no place, and when there may be one
//         if (turn.may_try()) { if (try it, as of turn.since(now)) { turn.took(); go; } full = ...; }
//         const auto until = turn.wait_until(full, now);
//         if (!until) refuse with 429;                 // the time is up, or the queue is full
//         sleep until *until or woken (either may be early; `*until <= now`: try again at once);
//     }                                                // ~Turn leaves the queue, on every path
//
// Why no wake-up is lost: whoever gives a place back first frees it and then looks at the queue; whoever waits first
// joins and then tries once more before it sleeps (both sequentially consistent). So one of the two sees the other.
// Only the first in the queue may try; when it leaves, admitted or not, it wakes the next, which tries in its turn: two
// places that come free while one is being woken are both found. A wake that is under way is not posted twice; asking
// `is_head` is what makes the next wake post again, and that is before the try.
//
// Why nobody is passed: a newcomer tries only if `lets_pass` its priority: nobody waits, or only lower ones, and it is
// not the turn of who has waited longest. So a place that was freed for the first in the queue is still there when it
// has woken up. A place must be asked for by everybody so, or the promise is void. Who has waited in another queue is a
// newcomer here, too, but passes whoever has waited less.
//
// Why nobody starves: higher ones without end take three places of four, newcomers that pass included (`passed`); the
// fourth goes by age alone. So whoever finds k waiting goes before 4 (k + 1) places were taken, if it can wait so long.
//
// Why a rate is not missed by who sleeps: one wakes up to a tick later than there was room, and at a small burst the
// time in between would be lost to everybody behind it. So a try counts from when the waiter could have gone, a tick
// ago at most (`since`): a rate holds on those times, and what goes in any interval exceeds it by a tick's worth at
// most.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/base/brief_lock.hpp"
#include "proxy/base/tick.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// One who waits; lives where it waits (a coroutine's frame), and stays where it is while it is in a queue.
struct Waiter {
    int priority = 0;                    // more is sooner
    void (*wake)(void* whom) = nullptr;  // called under the queue's lock by any thread: must only post to whom's own
    void* whom = nullptr;                // never called after `leave` has returned, but what was posted may still come
    TimePoint since{};                   // when it began to wait at all
    std::uintptr_t tie = 0;              // of two that began at once: the lower one is older, in every queue

    // the queue's own
    boost::intrusive::set_member_hook<> hook{};
    boost::intrusive::set_member_hook<> age_hook{};
    bool woken = false;
    bool keeps_lead = false;  // is told when it leads no more
};

/// What a caller says of its priority: a whole number; what is beyond an int's range is at its end. What is none is
/// nobody's priority: 0.
int read_priority(std::string_view text);

class WaitQueue {
  public:
    /// `most`: how many may wait; a further one is refused at once.
    explicit WaitQueue(unsigned most = 4096) : most_(most) {}
    WaitQueue(const WaitQueue&) = delete;
    WaitQueue& operator=(const WaitQueue&) = delete;

    /// One load.
    bool empty() const { return front_.load() == nobody; }
    unsigned size() const { return size_.load(std::memory_order_relaxed); }
    /// May a newcomer of that priority try before those who wait? One load.
    bool lets_pass(int priority) const { return front_.load() < priority; }
    /// Likewise one that has waited elsewhere since then.
    bool lets_pass(int priority, TimePoint since);
    /// It has, and took a place. One load where nobody waits.
    void passed(TimePoint since = never);

    /// False: too many wait already. The waiter must try once more after this before it sleeps, if it is the head.
    bool join(Waiter& waiter);
    /// Out of the queue, if it is in it, with a place or without; the one who is first after that is woken.
    void leave(Waiter& waiter, bool took = false);
    /// Is it this one's turn? From now on it can be woken (again).
    bool is_head(Waiter& waiter);
    /// Is it this one's turn, or has nobody in the queue waited longer, so that it will be before long?
    /// Until it leaves it is woken when that is so no more.
    bool leads(Waiter& waiter);
    /// A place came free: whoever is first shall try. One load where nobody waits.
    void wake_head();

  private:
    struct Sooner {
        bool operator()(const Waiter& a, const Waiter& b) const {
            return a.priority != b.priority ? a.priority > b.priority : a.since < b.since;
        }
    };
    struct Older {  // of any two the same one in every queue
        bool operator()(const Waiter& a, const Waiter& b) const {
            return a.since != b.since ? a.since < b.since : a.tie < b.tie;
        }
    };
    using Order = boost::intrusive::multiset<  // those that are equal stay in the order they came
        Waiter, boost::intrusive::compare<Sooner>,
        boost::intrusive::member_hook<Waiter, boost::intrusive::set_member_hook<>, &Waiter::hook>,
        boost::intrusive::constant_time_size<false>>;
    using ByAge = boost::intrusive::multiset<
        Waiter, boost::intrusive::compare<Older>,
        boost::intrusive::member_hook<Waiter, boost::intrusive::set_member_hook<>, &Waiter::age_hook>,
        boost::intrusive::constant_time_size<false>>;

    static constexpr std::int64_t nobody = std::numeric_limits<std::int64_t>::min();
    static constexpr std::int64_t no_newcomer = std::numeric_limits<std::int64_t>::max();
    static constexpr unsigned by_priority = 3;  // places in a row before one goes by age

    bool oldest_turn() const { return in_a_row_ >= by_priority; }
    Waiter* first();
    Waiter* oldest() { return by_age_.empty() ? nullptr : &*by_age_.begin(); }
    struct Lead {
        Waiter* first = nullptr;
        Waiter* oldest = nullptr;
    };
    Lead lead() { return {first(), oldest()}; }
    void tell_who_lost(const Lead& before);
    void wake(Waiter* who);
    void publish_front();

    const unsigned most_;
    std::atomic<unsigned> size_{0};
    std::atomic<std::int64_t> front_{nobody};  // the priority that a newcomer has to exceed
    BriefLock lock_;                           // for all of this and each waiter's own
    Order order_;
    ByAge by_age_;
    unsigned in_a_row_ = 0;  // places that went by priority since one went by age, while somebody waited
};

/// Why there is no place.
enum class Part : unsigned char {
    rate,    // the limit's `rate`
    tokens,  // its `tokens`
    seats,   // its `concurrency`
    learnt,  // what the vendor said of its own quota
};

struct Full {
    Part part = Part::seats;
    TimePoint retry_at = never;  // when there may be a place; `never`: when somebody gives one back

    /// Can nothing but time make room? Then there is no sense in waiting past one's deadline for it.
    bool only_time_helps() const { return part == Part::rate || part == Part::learnt; }
};

/// One request's wait, from before the first try. On the request's own thread.
class Turn {
  public:
    /// `deadline`: now where nobody waits under this limit. `waiter` must outlive the Turn.
    Turn(WaitQueue& queue, Waiter& waiter, TimePoint deadline) : queue_(queue), waiter_(waiter), deadline_(deadline) {}
    ~Turn() { leave(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// Nobody is to be served before; else do not try.
    bool may_try();
    /// After a try that failed, or that was not allowed (`full` then only matters for a refusal): sleep until then, or
    /// until woken. Nothing: refuse; the deadline has come or lies before `full.retry_at`, or too many wait.
    std::optional<TimePoint> wait_until(const Full& full, TimePoint now);
    /// Of a try that `may_try` has just allowed: it has been waiting since then, or for a tick. A newcomer: now.
    TimePoint since(TimePoint now) const { return joined_ ? std::max(waiter_.since, now - wheel_tick) : now; }
    /// The try got a place: the wait is over.
    void took();
    /// Before the end of its life: a place is not wanted any more.
    void leave();
    bool leads() const { return joined_ && queue_.leads(waiter_); }
    /// In the queue now.
    bool waits() const { return joined_; }
    const WaitQueue& queue() const { return queue_; }

  private:
    WaitQueue& queue_;
    Waiter& waiter_;
    const TimePoint deadline_;
    bool joined_ = false;
    bool may_ = false;  // what `may_try` said last
};

}  // namespace sluice
