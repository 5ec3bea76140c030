// A lock in one word, for a few dozen instructions that touch memory only: what threads share and cannot be one
// compare-exchange. Nothing is done under it that waits. Any thread; whoever finds it taken sleeps in the kernel.
#pragma once

#include <atomic>

namespace sluice {

class BriefLock {
  public:
    BriefLock() = default;
    BriefLock(const BriefLock&) = delete;
    BriefLock& operator=(const BriefLock&) = delete;

    void lock() {
        int seen = free;
        if (word_.compare_exchange_strong(seen, taken, std::memory_order_acquire, std::memory_order_relaxed)) return;
        while (word_.exchange(awaited, std::memory_order_acquire) != free) {
            word_.wait(awaited, std::memory_order_relaxed);
        }
    }
    void unlock() {
        if (word_.exchange(free, std::memory_order_release) == awaited) word_.notify_one();
    }

    /// Holds the lock for its own lifetime.
    class Guard {
      public:
        explicit Guard(BriefLock& lock) : lock_(lock) { lock_.lock(); }
        ~Guard() { lock_.unlock(); }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;

      private:
        BriefLock& lock_;
    };

  private:
    static constexpr int free = 0, taken = 1, awaited = 2;  // awaited: taken, and somebody may sleep for it
    std::atomic<int> word_{free};
};

}  // namespace sluice
