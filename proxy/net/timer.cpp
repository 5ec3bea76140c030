#include "proxy/net/timer.hpp"

namespace sluice {

Task<Wait> LoopTimer::wait(Wakeup& wakeup, TimePoint until) {
    Deadline deadline([](void* waiting) { static_cast<Wakeup*>(waiting)->notify(Wait::timed_out); }, &wakeup);
    loop_.wheel.arm(deadline, until);
    const Wait how = co_await wakeup.wait();
    co_return how;
}

void LoopTimer::post(std::function<void()> closure) { loop_.post(std::move(closure)); }

}  // namespace sluice
