#include "proxy/net/poller.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "proxy/ports/clock.hpp"

namespace sluice {

namespace {

int make_set() {
    const int fd = ::epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    return fd;
}

/// Rounded up: who is woken too early looks, finds nothing due, and sleeps again.
int in_milliseconds(Duration at_most) {
    constexpr Duration longest = 1h;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(std::clamp(at_most, Duration::zero(), longest)).count());
}

}  // namespace

Poller::Poller() : set_(make_set()) {}
Poller::~Poller() { ::close(set_); }

void Poller::add(int fd, Polled& polled, std::uint32_t edges) {
    epoll_event event{};
    event.events = edges | EPOLLET;
    event.data.ptr = &polled;
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) != 0) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

bool Poller::add_level(int fd, Polled& polled, bool read, bool write) {
    epoll_event event{};
    event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
    event.data.ptr = &polled;
    return ::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) == 0 || (errno == EEXIST && ::epoll_ctl(set_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void Poller::remove(int fd, Polled& polled) {
    epoll_event ignored{};
    ::epoll_ctl(set_, EPOLL_CTL_DEL, fd, &ignored);
    for (std::size_t i = next_; i < count_; ++i)
        if (batch_[i].data.ptr == &polled) batch_[i].data.ptr = nullptr;
}

void Poller::wait(Duration at_most) {
    const int got = ::epoll_wait(set_, batch_.data(), static_cast<int>(batch_.size()), in_milliseconds(at_most));
    count_ = got > 0 ? static_cast<std::size_t>(got) : 0;
    for (next_ = 0; next_ < count_;) {
        const epoll_event event = batch_[next_++];
        auto* polled = static_cast<Polled*>(event.data.ptr);
        if (!polled) continue;
        const Clock::Hold time;
        polled->tell(polled, event.events);
    }
    next_ = count_ = 0;
    resume_waiting();
}

// None comes in meanwhile: there is no batch that it could wait for. All at one time, which is when the batch was told: they do little but send.
void Poller::resume_waiting() {
    if (after_.empty()) return;
    const Clock::Hold time;
    for (AfterBatch*& waiting : after_) {
        if (!waiting) continue;
        coroutine::Frame* const frame = std::exchange(waiting, nullptr)->frame_;
        frame->self.resume();
    }
    after_.clear();
}

Poller::AfterBatch::~AfterBatch() {
    if (frame_) std::replace(poller_.after_.begin(), poller_.after_.end(), this, static_cast<AfterBatch*>(nullptr));
}

}  // namespace sluice
