// Readiness of one worker's sockets: an edge-triggered epoll set of our own inside Asio's. Each socket is registered once, when it is made, and never again, where Asio's own wait for readiness
// costs an `epoll_ctl` and an operation each time: 5 % of a 1 KiB request. Asio waits for the set as a whole. One thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>

#include "proxy/ports/task.hpp"

namespace sluice {

/// What is told of a descriptor's events. Outlives its registration.
struct Polled {
    using Tell = void (*)(Polled* polled, std::uint32_t epoll_events);
    explicit Polled(Tell tell_) : tell(tell_) {}
    const Tell tell;
};

class Poller {
  public:
    explicit Poller(asio::io_context& io);
    Poller(const Poller&) = delete;

    /// From now on `polled` is told of every edge of `fd`: input, room for output, the end.
    void add(int fd, Polled& polled);
    /// Never told again, not even of what has been fetched already. Before `fd` is closed.
    void remove(int fd, Polled& polled);

  private:
    void await();
    void dispatch();

    static constexpr std::size_t batch_size = 128;
    asio::posix::basic_stream_descriptor<Executor> set_;
    std::array<epoll_event, batch_size> batch_;
    std::size_t next_ = 0, count_ = 0;   // of the batch that is being told
};

}  // namespace sluice
