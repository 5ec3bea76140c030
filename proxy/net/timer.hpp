// Waiting without a socket on one worker's loop: back-off, a place in a queue.
#pragma once

#include "proxy/net/loop.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

class LoopTimer final : public Timer {
  public:
    explicit LoopTimer(Loop& loop) : loop_(loop) {}

    Task<Wait> wait(Wakeup& wakeup, TimePoint until) override;
    void post(std::function<void()> closure) override;

  private:
    Loop& loop_;
};

}  // namespace sluice
