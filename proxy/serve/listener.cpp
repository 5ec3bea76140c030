#include "proxy/serve/listener.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "proxy/exchange/core.hpp"
#include "proxy/net/sockaddr.hpp"
#include "proxy/serve/overload.hpp"

namespace sluice {

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) {}
    Fd(const Fd&) = delete;
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

int open_spare() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

std::uint16_t bound_port(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size);
    return ntohs(storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(storage).sin6_port : reinterpret_cast<sockaddr_in&>(storage).sin_port);
}

// A socket file that nobody answers on was left behind by a process that is gone.
void clear_stale(const std::string& path, const sockaddr_un& address) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) return;
    if (!S_ISSOCK(found.st_mode)) throw std::system_error(EEXIST, std::generic_category(), "listen.unix: " + path + " exists and is not a socket; remove it or choose another path");
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
        throw std::system_error(EADDRINUSE, std::generic_category(), "listen.unix: another process answers on " + path);
    ::unlink(path.c_str());
}

}  // namespace

Listener::Listener(int fd) : fd_(fd), spare_(open_spare()) {}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), spare_(std::exchange(other.spare_, -1)), address_(std::move(other.address_)), path_(std::exchange(other.path_, {})) {}

Listener Listener::tcp(const ListenAddress& address) {
    sockaddr_storage storage;
    const socklen_t size = to_sockaddr(address.address, address.port, storage);
    Fd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd.get() < 0) fail("cannot listen on " + address.text());
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);   // what is accepted has it from here
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
        const char* advice = errno == EADDRINUSE      ? " (another process does; choose another address under `listen`, or port 0)"
                             : errno == EADDRNOTAVAIL ? " (this machine has no such address; choose another under `listen`)"
                             : errno == EACCES        ? " (not this user's to take; choose a port above 1023 under `listen`)"
                                                      : "";
        fail("cannot listen on " + address.text() + advice);
    }
    if (::listen(fd.get(), 4096) != 0) fail("cannot listen on " + address.text());
    Listener listener(fd.release());
    listener.address_ = address;
    listener.address_.port = bound_port(listener.fd_);
    return listener;
}

Listener Listener::unix_socket(const std::string& path, bool for_all) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::system_error(ENAMETOOLONG, std::generic_category(), "listen.unix: " + path);
    std::memcpy(address.sun_path, path.data(), path.size());
    clear_stale(path, address);
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd.get() < 0) fail("cannot listen on " + path);
    const mode_t before = ::umask(for_all ? 0111 : 0117);   // from the first moment on
    const int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::umask(before);
    if (bound != 0) fail("cannot listen on " + path + (errno == ENOENT || errno == EACCES ? " (its directory has to be there, and this user's to write in; or choose another `listen.unix`)" : ""));
    if (::listen(fd.get(), 4096) != 0) fail("cannot listen on " + path);
    Listener listener(fd.release());
    listener.path_ = path;
    return listener;
}

void Listener::accept_all(const Deal& deal, const TurnedAway& turned_away) {
    constexpr int most_at_once = 256;
    for (int i = 0; i < most_at_once && fd_ >= 0; ++i) {
        const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) turn_away(turned_away);
            if (errno == EINTR || errno == ECONNABORTED) continue;
            return;
        }
        deal(fd);
    }
}

// Out of descriptors: the one kept in reserve lets us accept, say so, and close. Otherwise the peer would hang in the backlog and the wait would spin.
void Listener::turn_away(const TurnedAway& turned_away) {
    if (spare_ < 0) return;
    ::close(std::exchange(spare_, -1));
    {
        const Fd fd(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (fd.get() >= 0) {
            char thrown_away[4096];
            static_cast<void>(::recv(fd.get(), thrown_away, sizeof thrown_away, MSG_DONTWAIT));
            std::string request_id;
            write_request_id(system_random(), system_random(), request_id);
            const std::string answer = overload_answer(request_id);
            static_cast<void>(::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
            ::shutdown(fd.get(), SHUT_WR);
            turned_away(request_id);
        }
    }
    spare_ = open_spare();
}

void Listener::close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (spare_ >= 0) ::close(std::exchange(spare_, -1));
    if (!path_.empty()) ::unlink(std::exchange(path_, {}).c_str());
}

void Listener::change_mode(const std::string& path, bool for_all) {
    const int changed = ::chmod(path.c_str(), for_all ? 0666 : 0660);
    static_cast<void>(changed);   // somebody has taken it away: nobody comes that way any more
}

}  // namespace sluice
