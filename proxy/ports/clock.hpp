// The clock of a worker thread. A request asks a dozen times for the time; while the events of one wake-up are told it stands still, and is read once for each of them.
#pragma once

#include "proxy/base/time.hpp"

namespace sluice {

class Clock {
  public:
    static TimePoint now() { return held_ == TimePoint{} ? std::chrono::steady_clock::now() : held_; }

    /// As long as it lives, `now` says on this thread when it was made. Nothing that waits may live inside it.
    class Hold {
      public:
        Hold() : Hold(std::chrono::steady_clock::now()) {}
        /// For tests in virtual time.
        explicit Hold(TimePoint at) { held_ = at; }
        Hold(const Hold&) = delete;
        ~Hold() { held_ = {}; }
    };

  private:
    static inline constinit thread_local TimePoint held_{};
};

}  // namespace sluice
