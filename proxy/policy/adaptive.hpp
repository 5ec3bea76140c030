// How many requests a vendor takes at once, found from its latency. Pure: time is an argument; the state is words
// shared by all workers, and nobody waits for another thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/base/apart.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// A limit that follows the gradient of latency. As long as answers take about as long as they do when the vendor is at
/// ease, it grows by half its root a window; when they take longer it shrinks in proportion, so that it settles a
/// little above what the vendor can work on at once. Timeouts and refusals shrink it by their share. It never leaves
/// `least`..`most`, and does not grow while requests do not use it.
///
/// What "at ease" takes is learnt while little is in flight, and while the limit is at `least`. When the limit has held
/// requests back for long it is lowered for a moment, to see the vendor without a queue: so a queue of our own making
/// is not taken for the vendor's nature, and a vendor that became slower for good is not throttled for good.
///
/// Every function may be called from any thread at any time.
class AdaptiveLimit {
  public:
    struct View {
        unsigned limit = 0;
        Duration at_ease{};  // latency without a queue; 0: not known yet
        Duration latency{};  // of the last window
    };

    /// 1 <= least <= most.
    AdaptiveLimit(unsigned least, unsigned most);
    AdaptiveLimit(const AdaptiveLimit&) = delete;
    AdaptiveLimit& operator=(const AdaptiveLimit&) = delete;

    /// How many may be in flight now. One load.
    unsigned limit() const { return limit_.load(std::memory_order_relaxed); }

    /// An attempt ended. `latency`: request sent -> response head. `in_flight`: how many were when it was sent, itself
    /// included. `dropped`: it timed out or the vendor said that it is too much (429, 503); `latency` is then not used.
    void sample(Duration latency, unsigned in_flight, bool dropped, TimePoint now);

    View view() const;

  private:
    enum class Phase : unsigned char {
        begin,  // the first window: only the quick ones of those sent first are back
        follow,
        settle,   // lowered; the answers of this window had waited in the queue
        measure,  // lowered; those of this one did not
    };
    struct Window {
        double latency;    // ns, the mean
        double dropped;    // share
        unsigned answers;  // that the mean is of
        unsigned peak;     // in flight
    };

    bool complete(std::uint64_t answers, std::uint64_t dropped, TimePoint now) const;
    void close(TimePoint now);
    void learn(const Window& window);
    void measured(double latency);
    void compare(const Window& window);
    double follow(const Window& window) const;
    double at_ease() const;
    void set(double limit);

    const double least_, most_;
    std::atomic<unsigned> limit_;

    // The window that is being filled, by all.
    Apart apart_;
    std::atomic<std::uint64_t> answers_{0};  // how many, and their latencies' sum
    std::atomic<std::uint64_t> dropped_{0};
    std::atomic<unsigned> peak_{0};
    std::atomic<std::int64_t> began_{0};
    std::atomic<std::int64_t> at_ease_{0}, latency_{0};

    // Whoever closes a window has these alone; who comes meanwhile goes on without.
    std::atomic_flag closing_;
    Phase phase_ = Phase::begin;
    double exact_;             // the limit before it was rounded, or lowered
    double strain_ = 1;        // latency / at ease, of the last windows
    double before_look_ = 0;   // ns
    unsigned since_look_ = 0;  // windows since it was lowered last
};

}  // namespace sluice
