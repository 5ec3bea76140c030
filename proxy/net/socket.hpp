// A connected (or connecting) stream socket of one worker: plain non-blocking reads and writes, and waits for readiness that end at a deadline or when interrupted. One coroutine may wait for
// reading and another for writing at the same time. After a short read the socket is known to be drained, so that nobody pays for an EAGAIN.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <system_error>

#include "proxy/net/loop.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

/// What a read or a write without waiting came to.
struct Io {
    enum class Kind : unsigned char { some, blocked, eof, failed };
    Kind kind = Kind::blocked;
    std::size_t size = 0;
    std::error_code error{};
};

class Socket {
    struct State;

  public:
    enum class Begin : unsigned char { connected, connecting };

    Socket() = default;
    /// Takes over `fd`, blocking or not: no call of ours waits. A `connecting` one is not writable until it is connected, or failed. Throws std::system_error where the kernel has no room to watch it; `fd` is the caller's then.
    Socket(Loop& loop, int fd, Begin begin = Begin::connected);
    Socket(Socket&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    Socket& operator=(Socket&& other) noexcept;
    ~Socket() { close(); }

    bool open() const { return state_ != nullptr; }
    int fd() const;
    Loop& loop() const;

    /// recv / sendmsg, once. `blocked` without a system call where the socket is known to be drained (or full).
    Io read(std::span<char> into);
    Io write(std::span<const iovec> pieces);

    /// What `readable` and `writable` return, to be awaited at once: no coroutine of its own.
    class [[nodiscard]] Readiness {
      public:
        explicit Readiness(Wait how) : how_(how) {}
        Readiness(State& state, Wakeup& wakeup, Deadline& bound, TimePoint at) : waiting_(&wakeup), state_(&state), bound_(&bound), at_(at) {}

        bool await_ready() const noexcept { return !state_; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> waiter) {
            waiting_.await_suspend(waiter);
            begin();
        }
        Wait await_resume() {
            if (!state_) return how_;
            end();
            return waiting_.await_resume();
        }

      private:
        void begin();
        void end();

        Wakeup::Waiting waiting_{nullptr};
        State* state_ = nullptr;
        Deadline* bound_ = nullptr;
        TimePoint at_{};
        Wait how_ = Wait::ready;
    };
    /// Until readable (or at its end, or broken); `never` for no deadline. At once, where no read has found it drained since.
    Readiness readable(TimePoint deadline);
    Readiness writable(TimePoint deadline);
    /// Ends the waits of other coroutines with Wait::interrupted.
    void interrupt_reader();
    void interrupt_writer();

    /// Does it take an event before a read gives anything?
    bool drained() const;

    /// From here on `stirred` tells.
    void watch();
    /// Since `watch`: has something (bytes, end, error) come in?
    bool stirred() const;

    /// When the peer was seen to end (FIN or worse), whatever was read since; `never`: it has not.
    TimePoint ended_at() const;

    /// Acknowledges now what has been read, instead of with what is sent next or after 40 ms (TCP_QUICKACK).
    void acknowledge();

    void shutdown_send();
    /// Closes at once; waits end with Wait::interrupted. With `reset` the peer sees RST, so that a body cut short never looks whole.
    void close(bool reset = false);

  private:
    State* state_ = nullptr;
};

}  // namespace sluice
