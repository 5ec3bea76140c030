// Deadlines of one worker thread in a coarse wheel: arming and disarming are a few pointer writes; one timer of Asio's
// ticks for all of them, and is set anew only when an earlier deadline than its own comes in. A deadline fires between
// 0 and 20 ms after its time, never before it. All calls stay on the worker's thread.
#pragma once

#include <array>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>

#include "proxy/base/time.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

/// One deadline, a member of whatever it bounds. Not copied, not moved; disarms itself. `fire` runs on the worker's
/// thread, after the entry was disarmed; it may arm, disarm or destroy any deadline, this one included.
class Deadline {
  public:
    using Fire = void (*)(void* context);
    Deadline(Fire fire, void* context) : fire_(fire), context_(context) {}
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    ~Deadline() { disarm(); }

    bool armed() const { return next_ != nullptr; }
    /// When it was last armed for.
    TimePoint at() const { return at_; }
    void disarm() {
        if (!armed()) return;
        previous_->next_ = next_;
        next_->previous_ = previous_;
        next_ = previous_ = nullptr;
    }

  private:
    friend class Wheel;
    Deadline() : fire_(nullptr), context_(nullptr), next_(this), previous_(this) {}  // the head of a list
    bool alone() const { return next_ == this; }
    void append(Deadline& entry);
    void append_all(Deadline& head);

    Fire fire_;
    void* context_;
    TimePoint at_{};
    Deadline* next_ = nullptr;
    Deadline* previous_ = nullptr;
};

class Wheel {
  public:
    /// `start`: before which time nothing will be due; tests give one of their own.
    explicit Wheel(asio::io_context& io, TimePoint start = std::chrono::steady_clock::now());
    /// Disarms everything. The io_context must not run any more, or the wheel's timer must have come to rest.
    ~Wheel();

    /// (Re-)arms; `never` disarms. What is due already fires within the next tick, not inside this call.
    void arm(Deadline& deadline, TimePoint at);

    /// Fires what is due, earliest first (to the tick). Called by the wheel's own timer; by tests with a time of their
    /// own. What `fire` arms waits for a later call, so that one call always ends.
    void advance(TimePoint now);
    /// When the next slot that holds something, or the next turn of the fine ring, is due; `never`: nothing is armed,
    /// and no timer keeps the io_context running.
    TimePoint next_due() const;

  private:
    static constexpr std::int64_t tick = 8'000'000;  // ns
    // The fine ring holds a turn of 4.1 s by ticks, the coarse ring 35 minutes by turns; what is later waits in the
    // coarse ring's last slot and is sorted again when that one is reached.
    static constexpr std::int64_t slots = 512;

    struct Ring {
        Deadline heads[slots];  // no std::array: a head's constructor is the Wheel's alone
        // One bit a slot. A deadline that disarms itself leaves its slot's bit behind; whoever finds that list empty
        // clears it.
        mutable std::array<std::uint64_t, slots / 64> occupied{};

        void add(std::int64_t slot, Deadline& deadline);
        std::int64_t first_from(std::int64_t slot) const;  // `slots`: none
        bool empty() const { return first_from(0) == slots; }
    };
    static std::int64_t due_tick(TimePoint at);
    static TimePoint time_of(std::int64_t at_tick);
    std::int64_t turn_end() const { return (next_tick_ / slots + 1) * slots; }
    std::int64_t place(Deadline& deadline);
    void collect(std::int64_t last);
    void sort_again(Deadline& head);
    void fire_collected();
    void set_timer(TimePoint at);

    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>
        timer_;
    TimePoint scheduled_ = never;  // what the timer is set to
    std::int64_t next_tick_;       // the first one that was not collected yet
    bool firing_ = false;
    Deadline due_;  // collected, not fired yet
    Ring fine_, coarse_;
};

}  // namespace sluice
