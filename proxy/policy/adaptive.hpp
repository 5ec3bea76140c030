// How many requests a vendor takes at once, found from its latency. Pure: time is an argument; the state is words
// shared by all workers, and nobody waits for another thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/base/time.hpp"

namespace sluice {

/// A limit that follows the gradient of latency: as long as answers take about as long as they do when the vendor is at
/// ease, it grows by a root of itself; when they take longer it shrinks in proportion; refusals and timeouts shrink it
/// by their share. It never leaves `least`..`most`, and does not grow while requests do not use it.
///
/// What "at ease" takes is measured: each so many windows the limit is lowered for as long as it takes to see the
/// vendor without a queue, so that a queue of our own making is not taken for the vendor's nature, and a vendor that
/// became slower (or faster) for good is known again.
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
    std::atomic<unsigned> limit_;
};

}  // namespace sluice
