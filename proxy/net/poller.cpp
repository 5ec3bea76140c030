#include "proxy/net/poller.hpp"

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

}  // namespace

Poller::Poller(asio::io_context& io) : set_(io.get_executor(), make_set()) { await(); }

void Poller::await() {
    set_.async_wait(set_.wait_read, [this](const boost::system::error_code& error) {
        if (error) return;
        dispatch();
        await();
    });
}

void Poller::add(int fd, Polled& polled) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &polled;
    if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

void Poller::remove(int fd, Polled& polled) {
    epoll_event ignored{};
    ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, fd, &ignored);
    for (std::size_t i = next_; i < count_; ++i)
        if (batch_[i].data.ptr == &polled) batch_[i].data.ptr = nullptr;
}

// One batch a turn, so that timers and what other threads post get theirs; what is left makes the set readable again.
void Poller::dispatch() {
    const int got = ::epoll_wait(set_.native_handle(), batch_.data(), static_cast<int>(batch_.size()), 0);
    count_ = got > 0 ? static_cast<std::size_t>(got) : 0;
    for (next_ = 0; next_ < count_;) {
        const epoll_event event = batch_[next_++];
        auto* polled = static_cast<Polled*>(event.data.ptr);
        if (!polled) continue;
        const Clock::Hold time;
        polled->tell(polled, event.events);
    }
    next_ = count_ = 0;
}

}  // namespace sluice
