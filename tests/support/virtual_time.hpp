// Coroutines in virtual time: waits end in the order of their deadlines, and the clock jumps from one to the next.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "proxy/ports/clock.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice::test {

class VirtualTime final : public Timer {
  public:
    Task<Wait> wait(Wakeup& wakeup, TimePoint until) override {
        const auto entry = waits_.emplace(until, &wakeup);
        const Wait how = co_await wakeup.wait();
        if (how != Wait::timed_out) waits_.erase(entry);
        co_return how;
    }
    void post(std::function<void()> closure) override { posted_.push_back(std::move(closure)); }

    TimePoint now() const { return now_; }
    /// Everything that is due until then, in its order; the clock stands at `end` afterwards.
    void run_until(TimePoint end) {
        for (;;) {
            run_posted();
            if (waits_.empty() || waits_.begin()->first > end) break;
            const auto [at, wakeup] = *waits_.begin();
            waits_.erase(waits_.begin());
            now_ = std::max(now_, at);
            const Clock::Hold hold(now_);
            wakeup->notify(Wait::timed_out);
        }
        now_ = end;
    }
    void run_for(Duration time) { run_until(now_ + time); }
    /// `call` as if it happened now.
    template <class Call>
    void at_once(Call call) {
        {
            const Clock::Hold hold(now_);
            call();
        }
        run_posted();
    }

  private:
    void run_posted() {
        while (!posted_.empty()) {
            const auto closure = std::move(posted_.front());
            posted_.pop_front();
            const Clock::Hold hold(now_);
            closure();
        }
    }

    TimePoint now_{std::chrono::hours(1000)};
    std::multimap<TimePoint, Wakeup*> waits_;
    std::deque<std::function<void()>> posted_;
};

}  // namespace sluice::test
