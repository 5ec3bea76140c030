// What an attempt needs of every limit that holds for it (a call of each rate, tokens, seats), taken all at once or not
// at all. Who waits holds nothing of any limit: what it held would be sent late, beside what time has given back. Pure:
// time is an argument. One exchange's, on its own thread; the limits are shared by all workers.
//
// How one waits: in the queue of one limit that refused it. When its turn there comes, it looks at all of them; if
// another one refuses it now, it moves over to that one's queue at once, and whoever is next in the queue that it left
// is woken, so that nobody who could go is held up by one who cannot. In each queue the order is that of
// policy/wait_queue.hpp: by priority and then by when it began to wait at all, so moving loses no place.
//
//     if (take_at_once(limits, terms, now)) go;
//     Acquisition acquisition(limits, terms, {wake, this, now});
//     for (;;) {
//         const auto next = acquisition.go(now);
//         if (next.refused_by) refuse with 429; else if (!next.until) go;
//         sleep until *next.until or woken (either may be early);
//     }                                                 // ~Acquisition leaves the queues, on every path
//
// Where limits cross (each has others who need it alone) one who needs them all might never find them free at one
// moment. So whoever has waited for half of its shortest `wait`, or has moved often, does not leave the queues that it
// stands in for the next one, as long as nobody there is sooner or has waited longer: it stays first, what comes free
// meanwhile waits for it, and it goes as soon as the last of its limits has a place. Even then it holds nothing of any.
// No two keep each other from theirs: of two that wait in one queue only one has waited longer. But what is idle for it
// is nobody's: so it stays for a moment only, a quarter of a second or the time of one call of that rate, and not at
// all where the place that it waits for is known to come later. Of two crossing rates it goes so, as it stays with the
// slower one; where seats cross that are all taken for long it may be refused.
//
// A limit refuses once its own `when_full.wait` has passed since the waiting began, whichever queues that was spent in;
// but who comes to it later than that, from where it had to wait for longer, may wait for a moment there. Nobody waits
// longer than the longest wait of its limits.
//
// Of one limit an exchange that needs a seat waits in one queue for all of it, its rate and tokens too: everybody there
// needs those as well, so that its first may stay whichever of them it is that is missing. Those that take no seat
// (tunnels) wait in the other one, and are held up by nobody who waits for a seat.
//
// Why no wake-up is lost: who sleeps as the first of a queue has looked at that limit since it became the first, and
// after it could be seen there; whatever comes free of it after that wakes the first (see wait_queue.hpp). Who sleeps
// behind another is woken when it becomes the first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "proxy/policy/limiter.hpp"
#include "proxy/policy/vendor_state.hpp"
#include "proxy/policy/wait_queue.hpp"

namespace sluice {

/// One limit that holds for an exchange, and what it has of it.
struct HeldLimit {
    LiveLimit* limit = nullptr;
    Place place;
    Spent spent;  // its rate until something was sent for it, its tokens until they are settled
    Lease seat;   // of the attempt under way
    int priority = 0;
    std::uint64_t cost_tokens = 0;  // estimated
};

/// Of an attempt, beside its limits.
struct Terms {
    bool seated = true;          // it takes seats
    bool may_have_cost = false;  // an attempt before may have cost its tokens: they are not given back
    TimePoint end = never;       // of all waiting
};

/// What of the rates, tokens and learnt paces is not held yet, for one that has not waited. False: nothing of them is
/// held; seats stay as they are.
bool spend_at_once(std::span<HeldLimit> limits, const Terms& terms, TimePoint now);
/// Likewise with the seats. False: nothing at all is held.
bool take_at_once(std::span<HeldLimit> limits, const Terms& terms, TimePoint now);

/// Might an attempt that comes to them at `at` have all of it within their waiting? An estimate, nothing is taken: those
/// who wait already go before it at each limit's rate, and of seats nobody can tell.
bool may_be_had(std::span<const HeldLimit> limits, const Terms& terms, TimePoint at);

/// Everything of it that nothing was sent for.
void give_back(std::span<HeldLimit> limits, const Terms& terms, TimePoint now);
/// It is spent; a further attempt takes another call of each rate.
void note_sent(std::span<HeldLimit> limits);

/// Who waits, as each queue's Waiter has it.
struct Sleeper {
    void (*wake)(void* whom) = nullptr;
    void* whom = nullptr;
    TimePoint since{};  // when it began to wait
};

class Acquisition {
  public:
    /// `limits`, of which nothing is held, must outlive this.
    Acquisition(std::span<HeldLimit> limits, const Terms& terms, const Sleeper& sleeper);
    Acquisition(const Acquisition&) = delete;

    struct Next {
        std::optional<TimePoint> until;  // sleep; neither this nor a refusal: everything is taken
        const HeldLimit* refused_by = nullptr;
        Full full;  // refused: why
    };
    /// At first, and whenever it was woken or `until` has come.
    Next go(TimePoint now);

    bool waits_in(const WaitQueue& queue) const;

  private:
    /// At one of the limits.
    struct Stand {
        Waiter waiter;
        std::optional<TimePoint> moment;  // that it has there, though that limit's time is over
        std::optional<Turn> turn;  // it waits in that limit's queue
    };
    struct Blocked {
        HeldLimit* by = nullptr;
        Full full;
    };
    Stand& stand_at(const HeldLimit& held) { return stands_[static_cast<std::size_t>(&held - limits_.data())]; }
    std::optional<Blocked> take(TimePoint now);
    void leave_all_but(const Stand* stays);
    WaitQueue& queue_of(HeldLimit& held) const;
    TimePoint deadline_of(const HeldLimit& held, TimePoint now);
    bool in_vain(const Blocked& blocked, TimePoint now);
    bool waits() const { return joined_ > 0; }
    bool stays_first(Stand& stand, TimePoint now) const;
    TimePoint stay_or_leave(Stand& at, const Full& full, TimePoint until, TimePoint now);

    static constexpr unsigned often = 8;  // moves

    const std::span<HeldLimit> limits_;
    const Terms terms_;
    const TimePoint since_;
    TimePoint stays_from_;            // in the queues that it leads
    Duration longest_wait_{};
    const Stand* awaited_ = nullptr;  // where it waits while it stays elsewhere ...
    TimePoint awaited_since_{};       // ... since then
    unsigned joined_ = 0;             // queues, ever
    std::vector<Stand> stands_;       // one for each limit
};

}  // namespace sluice
