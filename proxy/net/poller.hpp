// Readiness of one worker's descriptors: the epoll set that its thread sleeps in. A socket is registered once, edge-triggered, when it is made, and never again, where Asio's own wait for readiness costs
// an `epoll_ctl` and an operation each time: 5 % of a 1 KiB request. One thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "proxy/base/time.hpp"
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

    /// What `after_batch` returns, to be awaited at once.
    class [[nodiscard]] AfterBatch {
      public:
        explicit AfterBatch(Poller& poller) : poller_(poller) {}
        AfterBatch(const AfterBatch&) = delete;
        ~AfterBatch();

        bool await_ready() const noexcept { return poller_.next_ == poller_.count_; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> waiter) {
            frame_ = &waiter.promise();
            poller_.after_.push_back(this);
        }
        void await_resume() noexcept { frame_ = nullptr; }

      private:
        friend class Poller;
        Poller& poller_;
        coroutine::Frame* frame_ = nullptr;
    };
    /// Once the other events of the batch that is being told have been told too; at once, where there are none. For sends: a send wakes a peer that sleeps, which costs as much as the send; of those that
    /// follow each other closely the first one alone does.
    AfterBatch after_batch() { return AfterBatch(*this); }

  private:
    void resume_waiting();

    static constexpr std::size_t batch_size = 128;
    const int set_;
    std::array<epoll_event, batch_size> batch_;
    std::size_t next_ = 0, count_ = 0;   // of the batch that is being told
    std::vector<AfterBatch*> after_;     // null: destroyed while it waited
};

}  // namespace sluice
