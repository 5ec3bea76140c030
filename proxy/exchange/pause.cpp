#include "proxy/exchange/pause.hpp"

namespace sluice {

Task<bool> pause(Core& core, Exchange& ex, Wakeup& wakeup, TimePoint until) {
    if (ex.application->stopped() || core.stopping) co_return false;
    ex.pausing = &wakeup;
    co_await core.timer.wait(wakeup, until);
    ex.pausing = nullptr;
    co_return !ex.application->stopped() && !core.stopping;
}

Task<bool> pause(Core& core, Exchange& ex, TimePoint until) {
    Wakeup wakeup;
    const bool here = co_await pause(core, ex, wakeup, until);
    co_return here;
}

Failure cut_short(const Exchange& ex) {
    if (ex.application->stopped()) return Failure::application_gone();
    Failure failure{Origin::sluice, Reason::draining, Replay::safe, "the request still waited for its turn when the time to drain was over", {}};
    failure.retry_after = 1s;
    return failure;
}

}  // namespace sluice
