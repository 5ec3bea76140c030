// Seats: how many exchanges may be with a vendor at once. One word shared by all workers; pure.
#pragma once

#include <atomic>
#include <optional>
#include <utility>

#include "proxy/policy/wait_queue.hpp"

namespace sluice {

class Bulkhead;

/// A seat. Gives itself back and wakes who waits for it. Must not outlive its Bulkhead: whoever holds one keeps the
/// state of the limit alive. May be given back on another thread.
class Lease {
  public:
    Lease() = default;
    Lease(Lease&& other) noexcept : bulkhead_(std::exchange(other.bulkhead_, nullptr)) {}
    Lease& operator=(Lease&& other) noexcept {
        if (this != &other) {
            give_back();
            bulkhead_ = std::exchange(other.bulkhead_, nullptr);
        }
        return *this;
    }
    ~Lease() { give_back(); }

    void give_back();
    explicit operator bool() const { return bulkhead_ != nullptr; }

  private:
    friend class Bulkhead;
    explicit Lease(Bulkhead& bulkhead) : bulkhead_(&bulkhead) {}

    Bulkhead* bulkhead_ = nullptr;
};

class Bulkhead {
  public:
    /// `queue`: of those who wait for its seats.
    explicit Bulkhead(WaitQueue& queue) : queue_(queue) {}
    Bulkhead(const Bulkhead&) = delete;
    Bulkhead& operator=(const Bulkhead&) = delete;

    /// A seat, unless `limit` or more are taken. The limit may change from call to call (an adaptive one); where it has
    /// grown, `wake_head` of the queue is the caller's.
    std::optional<Lease> enter(unsigned limit);
    /// Would it be in vain? Sequentially consistent: who joined the queue before it asks misses no seat.
    bool full(unsigned limit) const { return taken_.load() >= limit; }
    unsigned in_use() const { return taken_.load(std::memory_order_relaxed); }

  private:
    friend class Lease;
    void give_back();

    std::atomic<unsigned> taken_{0};
    WaitQueue& queue_;
};

}  // namespace sluice
