#include "proxy/exchange/pause.hpp"

namespace sluice {

Task<bool> pause(Core& core, Exchange& ex, Wakeup& wakeup, TimePoint until) {
    if (ex.application->stopped()) co_return false;
    ex.pausing = &wakeup;
    co_await core.timer.wait(wakeup, until);
    ex.pausing = nullptr;
    co_return !ex.application->stopped();
}

Task<bool> pause(Core& core, Exchange& ex, TimePoint until) {
    Wakeup wakeup;
    const bool here = co_await pause(core, ex, wakeup, until);
    co_return here;
}

}  // namespace sluice
