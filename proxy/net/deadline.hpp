// Deadlines of one worker thread in a coarse wheel: arming and disarming are a few pointer writes; the thread's loop
// sleeps no longer than `wake` says, and then calls `advance`. A deadline fires between 0 and 20 ms after its time, never
// before it. All calls stay on the worker's thread.
#pragma once

#include <array>
#include <cstdint>

#include "proxy/base/tick.hpp"

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
    explicit Wheel(TimePoint start = std::chrono::steady_clock::now());
    /// Disarms everything.
    ~Wheel();

    /// (Re-)arms; `never` disarms. What is due already fires within the next tick, not inside this call.
    void arm(Deadline& deadline, TimePoint at);

    /// Fires what is due, earliest first (to the tick). What `fire` arms waits for a later call, so that one call
    /// always ends.
    void advance(TimePoint now);
    /// Nothing is due before; `never`: nothing is armed. Costs nothing, and may be early for a deadline that was
    /// disarmed: then `advance` fires nothing, and sets it right.
    TimePoint wake() const { return wake_; }
    /// When the next slot that holds something, or the next turn of the fine ring, is due; `never`: nothing is armed.
    TimePoint next_due() const;

  private:
    static constexpr std::int64_t tick = wheel_tick.count();
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

    TimePoint wake_ = never;
    std::int64_t next_tick_;       // the first one that was not collected yet
    bool firing_ = false;
    Deadline due_;  // collected, not fired yet
    Ring fine_, coarse_;
};

}  // namespace sluice
