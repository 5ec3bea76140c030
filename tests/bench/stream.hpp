// One non-blocking byte stream over loopback, plain or TLS, and the little both bench programs need around it: errors
// that end the program, `--name value` options, an epoll loop's interest. Used by load.cpp and upstream.cpp only; each
// is one thread. Nothing here is part of Sluice.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::bench {

/// Ends the program: a harness that goes on after a fault would print a figure nobody should believe.
[[noreturn]] inline void fail(const std::string& what) {
    char reason[256] = "";
    if (unsigned long code = ERR_get_error()) ERR_error_string_n(code, reason, sizeof reason);
    std::fprintf(stderr, "%s%s%s\n", what.c_str(), *reason ? ": " : "", reason);
    std::exit(2);
}
[[noreturn]] inline void fail_errno(const std::string& what) {
    fail(what + ": " + std::strerror(errno));
}

/// A whole decimal number, or nothing.
inline std::optional<std::uint64_t> to_number(std::string_view text) {
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
}

/// The Content-Length of a head; nothing where there is none.
inline std::optional<std::uint64_t> content_length(std::string_view head) {
    constexpr std::string_view name = "\r\ncontent-length:";
    auto found = std::search(head.begin(), head.end(), name.begin(), name.end(),
                             [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
    if (found == head.end()) return std::nullopt;
    std::string_view value = head.substr(static_cast<std::size_t>(found - head.begin()) + name.size());
    value = value.substr(0, value.find("\r\n"));
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    return to_number(value);
}

/// `--name value ...`; a name that nobody asks for is an error, so that a misspelt option cannot bend a measurement.
class Options {
  public:
    Options(int argc, char** argv) {
        for (int at = 1; at < argc; at += 2) {
            std::string_view name = argv[at];
            if (!name.starts_with("--") || at + 1 == argc) fail("expected --name value, found " + std::string(name));
            values_[std::string(name.substr(2))] = argv[at + 1];
        }
    }
    std::string text(const std::string& name, std::string otherwise) {
        auto found = values_.extract(name);
        return found ? found.mapped() : otherwise;
    }
    std::uint64_t number(const std::string& name, std::uint64_t otherwise) {
        auto found = values_.extract(name);
        if (!found) return otherwise;
        auto value = to_number(found.mapped());
        if (!value) fail("--" + name + " takes a number");
        return *value;
    }
    void none_left() const {
        if (!values_.empty()) fail("unknown option --" + values_.begin()->first);
    }

  private:
    std::map<std::string, std::string> values_;
};

struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SslHandle = std::unique_ptr<SSL, FreeSsl>;
using SslContext = std::unique_ptr<SSL_CTX, FreeSsl>;
using SslSession = std::unique_ptr<SSL_SESSION, FreeSsl>;

/// TLS 1.3 only, so that every proxy is measured with the same handshake and the same cipher.
inline SslContext make_tls_context(const SSL_METHOD* method) {
    SslContext context{SSL_CTX_new(method)};
    if (!context) fail("SSL_CTX_new");
    SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // One recv fetches many records: without this OpenSSL asks the kernel twice a record.
    SSL_CTX_set_read_ahead(context.get(), 1);
    SSL_CTX_set_default_read_buffer_len(context.get(), 64 * 1024);
    return context;
}

/// What came of one try. `bytes` counts only with `some`.
struct Moved {
    enum class Kind { some, want_read, want_write, ended, broken } kind;
    std::size_t bytes = 0;
};

class Stream {
  public:
    Stream() = default;
    explicit Stream(int descriptor) : descriptor_(descriptor) {}
    Stream(Stream&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), ssl_(std::move(other.ssl_)) {}
    Stream& operator=(Stream&& other) noexcept {
        close();
        descriptor_ = std::exchange(other.descriptor_, -1);
        ssl_ = std::move(other.ssl_);
        return *this;
    }
    ~Stream() { close(); }

    int descriptor() const { return descriptor_; }
    SSL* ssl() const { return ssl_.get(); }

    /// From here on the bytes are TLS; the handshake is `handshake()` until it says `some`.
    void start_tls(SSL_CTX* context) {
        ssl_.reset(SSL_new(context));
        if (!ssl_ || SSL_set_fd(ssl_.get(), descriptor_) != 1) fail("SSL_new");
    }
    Moved handshake() {
        ERR_clear_error();
        return from_ssl(SSL_do_handshake(ssl_.get()));
    }

    Moved read(std::span<char> into) {
        if (!ssl_) return from_socket(::recv(descriptor_, into.data(), into.size(), 0));
        ERR_clear_error();
        return from_ssl(SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size())));
    }
    Moved write(std::string_view bytes) {
        if (!ssl_) {
            Moved moved = from_socket(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
            if (moved.kind == Moved::Kind::want_read) moved.kind = Moved::Kind::want_write;
            return moved;
        }
        ERR_clear_error();
        return from_ssl(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())));
    }
    /// Takes up to `limit` bytes off a plain socket without copying them out of the kernel; decrypts into `scratch`
    /// otherwise.
    Moved discard(std::size_t limit, std::span<char> scratch) {
        if (ssl_) return read(scratch);
        return from_socket(::recv(descriptor_, nullptr, limit, MSG_TRUNC));
    }

    void close() {
        if (ssl_) {
            // A peer that sees the socket end without close_notify may drop the session that we mean to resume.
            if (SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
            ERR_clear_error();
            ssl_.reset();
        }
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    }

  private:
    Moved from_socket(ssize_t count) const {
        if (count > 0) return {Moved::Kind::some, static_cast<std::size_t>(count)};
        if (count == 0) return {Moved::Kind::ended};
        return {errno == EAGAIN || errno == EINTR ? Moved::Kind::want_read : Moved::Kind::broken};
    }
    Moved from_ssl(int count) const {
        if (count > 0) return {Moved::Kind::some, static_cast<std::size_t>(count)};
        switch (SSL_get_error(ssl_.get(), count)) {
        case SSL_ERROR_WANT_READ: return {Moved::Kind::want_read};
        case SSL_ERROR_WANT_WRITE: return {Moved::Kind::want_write};
        case SSL_ERROR_ZERO_RETURN: return {Moved::Kind::ended};
        default: return {Moved::Kind::broken};
        }
    }

    int descriptor_ = -1;
    SslHandle ssl_;
};

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Level-triggered interest in one descriptor; the index comes back with its events.
class Poll {
  public:
    Poll() : descriptor_(epoll_create1(EPOLL_CLOEXEC)) {
        if (descriptor_ < 0) fail_errno("epoll_create1");
    }
    ~Poll() { ::close(descriptor_); }
    Poll(const Poll&) = delete;
    Poll& operator=(const Poll&) = delete;

    void add(int descriptor, std::uint32_t events, std::uint64_t index) {
        change(EPOLL_CTL_ADD, descriptor, events, index);
    }
    void modify(int descriptor, std::uint32_t events, std::uint64_t index) {
        change(EPOLL_CTL_MOD, descriptor, events, index);
    }
    /// The events that happened, at most 128 of them. An interrupted wait is an empty one.
    std::span<epoll_event> wait(std::chrono::nanoseconds patience) {
        timespec limit{.tv_sec = patience.count() / 1'000'000'000, .tv_nsec = patience.count() % 1'000'000'000};
        int count = epoll_pwait2(descriptor_, events_, std::size(events_), &limit, nullptr);
        if (count < 0 && errno != EINTR) fail_errno("epoll_pwait2");
        return {events_, static_cast<std::size_t>(count < 0 ? 0 : count)};
    }

  private:
    void change(int operation, int descriptor, std::uint32_t events, std::uint64_t index) {
        epoll_event event{.events = events, .data = {.u64 = index}};
        if (epoll_ctl(descriptor_, operation, descriptor, &event) < 0) fail_errno("epoll_ctl");
    }

    int descriptor_;
    epoll_event events_[128];
};

}  // namespace sluice::bench
