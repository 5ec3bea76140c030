#include "proxy/net/loop.hpp"

#include <string.h>  // explicit_bzero
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace sluice {

void Block::wipe() { explicit_bzero(bytes.get(), size); }
void BulkPool::Spare::wipe() {
    if (used > 0) explicit_bzero(bytes.get(), std::exchange(used, 0));
}

Inbox::Inbox() : Polled([](Polled* inbox, std::uint32_t) { static_cast<Inbox*>(inbox)->told_ = true; }), fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}
Inbox::~Inbox() { ::close(fd); }

void Inbox::put(std::function<void()> closure) {
    bool first;
    {
        const std::lock_guard lock(mutex_);
        first = waiting_.empty();
        waiting_.push_back(std::move(closure));
    }
    if (first) ::eventfd_write(fd, 1);   // each write is an edge, so nobody ever has to read it
}

void Inbox::run_all() {
    if (!std::exchange(told_, false)) return;
    std::vector<std::function<void()>> taken;
    {
        const std::lock_guard lock(mutex_);
        taken.swap(waiting_);
    }
    for (std::function<void()>& closure : taken) std::exchange(closure, {})();
}

Loop::Loop() { poller.add(inbox_.fd, inbox_, EPOLLIN); }

void Loop::run() {
    while (!stopped_) turn(never);
}

void Loop::turn(TimePoint until) {
    const TimePoint now = Loop::now();
    if (wheel.wake() <= now) wheel.advance(now);
    if (stopped_) return;
    const TimePoint wake = std::min(wheel.wake(), until);
    poller.wait(wake == never ? Duration::max() : wake - now);
    inbox_.run_all();
}

}  // namespace sluice
