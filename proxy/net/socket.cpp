#include "proxy/net/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sluice {

namespace {

// libc's recv and send are cancellation points: two atomic operations a call in a process of several threads, and nobody cancels one here. The
// sanitizers know libc's only.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(SYS_recvfrom) || !defined(SYS_sendto)
ssize_t receive(int fd, void* into, std::size_t size, int flags) { return ::recv(fd, into, size, flags); }
ssize_t transmit(int fd, const void* from, std::size_t size, int flags) { return ::send(fd, from, size, flags); }
#else
ssize_t receive(int fd, void* into, std::size_t size, int flags) { return ::syscall(SYS_recvfrom, fd, into, size, flags, nullptr, nullptr); }
ssize_t transmit(int fd, const void* from, std::size_t size, int flags) { return ::syscall(SYS_sendto, fd, from, size, flags, nullptr, 0); }
#endif

}  // namespace

// Lives as long as the Socket, or as a coroutine that waits in it: whoever closes the socket must not take the slot away that somebody else waits in.
struct Socket::State : Polled {
    State(Loop& l, int f) : Polled(told), loop(l), fd(f) { loop.poller.add(fd, *this); }

    Loop& loop;
    int fd;   // -1 once closed
    unsigned references = 0;
    bool readable = true;   // until a read says otherwise
    bool writable = true;
    TimePoint ended_at = never;   // the peer has said its last: that edge may have told of bytes too, and comes only once
    bool stirred = false;
    Wakeup reader, writer;
    Deadline read_deadline{[](void* state) { static_cast<State*>(state)->reader.notify(Wait::timed_out); }, this};
    Deadline write_deadline{[](void* state) { static_cast<State*>(state)->writer.notify(Wait::timed_out); }, this};

    class Ref {
      public:
        explicit Ref(State* state) : state_(state) { ++state_->references; }
        Ref(const Ref&) = delete;
        ~Ref() {
            if (--state_->references == 0) delete state_;
        }
        State* operator->() const { return state_; }

      private:
        State* state_;
    };

    static void told(Polled* polled, std::uint32_t events) {
        const Ref state(static_cast<State*>(polled));   // the first to be woken may destroy the socket
        const bool over = (events & (EPOLLERR | EPOLLHUP)) != 0;
        if ((over || (events & EPOLLRDHUP) != 0) && state->ended_at == never) state->ended_at = Loop::now();
        if (over || (events & (EPOLLIN | EPOLLRDHUP)) != 0) {
            state->readable = true;
            state->stirred = true;
            state->reader.notify(Wait::ready);
        }
        if (over || (events & EPOLLOUT) != 0) {
            state->writable = true;
            state->writer.notify(Wait::ready);
        }
    }
};

Socket::Socket(Loop& loop, int fd, Begin begin) {
    state_ = new State(loop, fd);
    state_->writable = begin == Begin::connected;
    ++state_->references;
}

Socket& Socket::operator=(Socket&& other) noexcept {
    if (this != &other) {
        close();
        state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
}

int Socket::fd() const { return state_->fd; }
Loop& Socket::loop() const { return state_->loop; }
// Where the last read filled its buffer, more may be there already and no edge would tell.
void Socket::watch() { state_->stirred = state_->readable; }
bool Socket::stirred() const { return state_->stirred; }

TimePoint Socket::ended_at() const { return state_ ? state_->ended_at : never; }

bool Socket::drained() const { return state_ && !state_->readable; }

Io Socket::read(std::span<char> into) {
    if (!state_) return {Io::Kind::failed, 0, std::make_error_code(std::errc::not_connected)};
    if (!state_->readable) return {};
    for (;;) {
        const ssize_t got = receive(fd(), into.data(), into.size(), MSG_DONTWAIT);
        if (got > 0) {
            // A short read drained it: what comes later is a new edge, and asking again would only cost an EAGAIN. But
            // the end itself has still to be read where its edge has already come.
            if (static_cast<std::size_t>(got) < into.size() && state_->ended_at == never) state_->readable = false;
            return {Io::Kind::some, static_cast<std::size_t>(got), {}};
        }
        if (got == 0) return {Io::Kind::eof, 0, {}};
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            state_->readable = false;
            return {};
        }
        return {Io::Kind::failed, 0, std::error_code(errno, std::generic_category())};
    }
}

Io Socket::write(std::span<const iovec> pieces) {
    if (!state_) return {Io::Kind::failed, 0, std::make_error_code(std::errc::not_connected)};
    if (!state_->writable) return {};
    std::size_t wanted = 0;
    for (const iovec& piece : pieces) wanted += piece.iov_len;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    for (;;) {
        const ssize_t sent =
            pieces.size() == 1 ? transmit(fd(), pieces[0].iov_base, wanted, flags) : ::sendmsg(fd(), &message, flags);
        if (sent >= 0) {
            if (static_cast<std::size_t>(sent) < wanted) state_->writable = false;
            return {Io::Kind::some, static_cast<std::size_t>(sent), {}};
        }
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            state_->writable = false;
            return {};
        }
        return {Io::Kind::failed, 0, std::error_code(errno, std::generic_category())};
    }
}

Socket::Readiness Socket::readable(TimePoint deadline) {
    if (!state_) return Readiness(Wait::interrupted);
    if (state_->readable) return Readiness(Wait::ready);
    return {*state_, state_->reader, state_->read_deadline, deadline};
}

Socket::Readiness Socket::writable(TimePoint deadline) {
    if (!state_) return Readiness(Wait::interrupted);
    if (state_->writable) return Readiness(Wait::ready);
    return {*state_, state_->writer, state_->write_deadline, deadline};
}

void Socket::Readiness::begin() {
    ++state_->references;
    if (at_ != never) state_->loop.wheel.arm(*bound_, at_);
}

void Socket::Readiness::end() {
    bound_->disarm();
    if (--state_->references == 0) delete state_;
}

void Socket::interrupt_reader() {
    if (!state_) return;
    const State::Ref state(state_);
    state->reader.notify(Wait::interrupted);
}

void Socket::interrupt_writer() {
    if (!state_) return;
    const State::Ref state(state_);
    state->writer.notify(Wait::interrupted);
}

void Socket::acknowledge() {
    const int once = 2;   // and delayed again from then on, which an odd number would end
    if (state_) ::setsockopt(fd(), IPPROTO_TCP, TCP_QUICKACK, &once, sizeof once);
}

void Socket::shutdown_send() {
    if (state_) ::shutdown(fd(), SHUT_WR);
}

void Socket::close(bool reset) {
    if (!state_) return;
    State* state = std::exchange(state_, nullptr);
    const State::Ref keep(state);
    --state->references;
    if (reset) {
        const linger hard{1, 0};
        ::setsockopt(state->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    state->loop.poller.remove(state->fd, *state);
    ::close(std::exchange(state->fd, -1));
    state->read_deadline.disarm();
    state->write_deadline.disarm();
    state->reader.notify(Wait::interrupted);
    state->writer.notify(Wait::interrupted);
}

}  // namespace sluice
