#include "proxy/net/socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>

namespace sluice {

namespace {
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
}

// Lives as long as the Socket or a wait that Asio still knows of: a handler that comes in after the socket was closed must find something to look at.
struct Socket::State {
    State(Loop& l, int fd) : loop(l), descriptor(l.io.get_executor(), fd) {}

    Loop& loop;
    Descriptor descriptor;
    unsigned references = 0;
    bool read_armed = false;
    bool write_armed = false;
    bool readable = true;   // until a read says otherwise
    bool writable = true;
    bool stirred = false;
    Wakeup reader, writer;
    Deadline read_deadline{[](void* state) { static_cast<State*>(state)->reader.notify(Wait::timed_out); }, this};
    Deadline write_deadline{[](void* state) { static_cast<State*>(state)->writer.notify(Wait::timed_out); }, this};

    class Ref {
      public:
        explicit Ref(State* state) : state_(state) { ++state_->references; }
        Ref(const Ref& other) : state_(other.state_) {
            if (state_) ++state_->references;
        }
        Ref(Ref&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
        Ref& operator=(const Ref&) = delete;
        ~Ref() {
            if (state_ && --state_->references == 0) delete state_;
        }
        State* operator->() const { return state_; }

      private:
        State* state_;
    };

    void arm_read() {
        if (read_armed) return;
        read_armed = true;
        descriptor.async_wait(Descriptor::wait_read, [ref = Ref(this)](const boost::system::error_code& error) {
            ref->read_armed = false;
            if (error) return;   // closed: `close` has woken whoever waited
            ref->readable = true;
            ref->stirred = true;
            ref->reader.notify(Wait::ready);
        });
    }
    void arm_write() {
        if (write_armed) return;
        write_armed = true;
        descriptor.async_wait(Descriptor::wait_write, [ref = Ref(this)](const boost::system::error_code& error) {
            ref->write_armed = false;
            if (error) return;
            ref->writable = true;
            ref->writer.notify(Wait::ready);
        });
    }
};

Socket::Socket(Loop& loop, int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if ((flags & O_NONBLOCK) == 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    state_ = new State(loop, fd);
    ++state_->references;
}

Socket& Socket::operator=(Socket&& other) noexcept {
    if (this != &other) {
        close();
        state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
}

int Socket::fd() const { return state_->descriptor.native_handle(); }
Loop& Socket::loop() const { return state_->loop; }
bool Socket::stirred() const { return state_->stirred; }

void Socket::watch() {
    state_->stirred = false;
    if (state_->readable) {
        // The last read filled its buffer, so more may be there already and no edge would tell.
        state_->stirred = true;
        return;
    }
    state_->arm_read();
}

Io Socket::read(std::span<char> into) {
    if (!state_) return {Io::Kind::failed, 0, std::make_error_code(std::errc::not_connected)};
    if (!state_->readable) return {};
    for (;;) {
        const ssize_t got = ::recv(fd(), into.data(), into.size(), 0);
        if (got > 0) {
            // A short read drained it: what comes later is a new edge, and asking again would only cost an EAGAIN.
            if (static_cast<std::size_t>(got) < into.size()) state_->readable = false;
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
    for (;;) {
        const ssize_t sent =
            pieces.size() == 1 ? ::send(fd(), pieces[0].iov_base, wanted, MSG_NOSIGNAL) : ::sendmsg(fd(), &message, MSG_NOSIGNAL);
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

Task<Wait> Socket::readable(TimePoint deadline) {
    if (!state_) co_return Wait::interrupted;
    if (state_->readable) co_return Wait::ready;
    const State::Ref state(state_);   // a close meanwhile must not take the slot we wait in away
    state->arm_read();
    if (deadline != never) state->loop.wheel.arm(state->read_deadline, deadline);
    const Wait how = co_await state->reader.wait();
    state->read_deadline.disarm();
    co_return how;
}

Task<Wait> Socket::writable(TimePoint deadline) {
    if (!state_) co_return Wait::interrupted;
    const State::Ref state(state_);
    state->arm_write();
    if (deadline != never) state->loop.wheel.arm(state->write_deadline, deadline);
    const Wait how = co_await state->writer.wait();
    state->write_deadline.disarm();
    co_return how;
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
        ::setsockopt(state->descriptor.native_handle(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    boost::system::error_code ignored;
    state->descriptor.close(ignored);
    state->read_deadline.disarm();
    state->write_deadline.disarm();
    state->reader.notify(Wait::interrupted);
    state->writer.notify(Wait::interrupted);
}

}  // namespace sluice
