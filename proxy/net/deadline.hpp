// Deadlines of one worker thread in a coarse wheel: arming and disarming are a few pointer writes; one timer of Asio's ticks for all of them, and is set anew only when an earlier deadline
// than its own comes in. A deadline fires between 0 and 20 ms after its time.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>

#include "proxy/base/time.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

/// One deadline, a member of whatever it bounds. Not copied, not moved; disarms itself. `fire` runs on the worker's thread, after the entry was disarmed; it may arm it again.
class Deadline {
  public:
    using Fire = void (*)(void* context);
    Deadline(Fire fire, void* context) : fire_(fire), context_(context) {}
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    ~Deadline() { disarm(); }

    bool armed() const { return next_ != nullptr; }
    TimePoint at() const { return at_; }
    void disarm();

  private:
    friend class Wheel;
    Deadline() : fire_(nullptr), context_(nullptr) {}
    Fire fire_;
    void* context_;
    TimePoint at_{};
    Deadline* next_ = nullptr;
    Deadline* previous_ = nullptr;
};

class Wheel {
  public:
    explicit Wheel(asio::io_context& io);
    ~Wheel();

    /// (Re-)arms; `never` disarms.
    void arm(Deadline& deadline, TimePoint at);

    /// Fires what is due. Called by the wheel's own timer; by tests with a time of their own.
    void advance(TimePoint now);
    /// When the next slot that holds something, or the next turn of the fine ring, is due.
    TimePoint next_due() const;

  private:
    static constexpr std::int64_t tick = 8'000'000;   // ns
    static constexpr std::size_t slots = 512;         // fine ring: 4.1 s; coarse ring: 35 min; what is later waits in the coarse ring's last slot and is sorted again

    struct Ring {
        std::array<Deadline, slots> heads;
        std::array<std::uint64_t, slots / 64> occupied{};
    };
    static std::int64_t tick_of(TimePoint at);
    void place(Deadline& deadline);
    void link(Ring& ring, std::size_t slot, Deadline& deadline);
    void spread(std::size_t coarse_slot);
    void schedule();

    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor> timer_;
    std::int64_t now_tick_;
    TimePoint scheduled_ = never;
    bool advancing_ = false;
    Ring fine_, coarse_;
};

}  // namespace sluice
