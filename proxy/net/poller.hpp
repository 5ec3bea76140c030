// Readiness of one worker's descriptors: the epoll set that its thread sleeps in. A socket is registered once, edge-triggered, when it is made, and never again, where Asio's own wait for readiness costs
// an `epoll_ctl` and an operation each time: 5 % of a 1 KiB request. One thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>

#include "proxy/base/time.hpp"

namespace sluice {

/// What is told of a descriptor's events. Outlives its registration.
struct Polled {
    using Tell = void (*)(Polled* polled, std::uint32_t epoll_events);
    explicit Polled(Tell tell_) : tell(tell_) {}
    const Tell tell;
};

class Poller {
  public:
    Poller();
    Poller(const Poller&) = delete;
    ~Poller();

    /// From now on `polled` is told of every edge of `fd`: as a rule input, room for output, the end. Throws std::system_error where the kernel has no room to watch it.
    void add(int fd, Polled& polled, std::uint32_t edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    /// For who does not take all that is there at once: told as long as there is input, or room for output. Again: something else is wanted of it now. False: there is no room.
    bool add_level(int fd, Polled& polled, bool read, bool write);
    /// Never told again, not even of what has been fetched already. Before `fd` is closed.
    void remove(int fd, Polled& polled);

    /// Sleeps until something happens, for `at_most`, and tells it: one batch, so that deadlines and what other threads post get their turn.
    void wait(Duration at_most);

  private:
    static constexpr std::size_t batch_size = 128;
    const int set_;
    std::array<epoll_event, batch_size> batch_;
    std::size_t next_ = 0, count_ = 0;   // of the batch that is being told
};

}  // namespace sluice
