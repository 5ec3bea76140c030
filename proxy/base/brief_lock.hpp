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
        while (taken_.test_and_set(std::memory_order_acquire)) taken_.wait(true, std::memory_order_relaxed);
    }
    void unlock() {
        taken_.clear(std::memory_order_release);
        taken_.notify_one();
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
    std::atomic_flag taken_;
};

}  // namespace sluice
