#include "proxy/app/admin_client.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "proxy/base/text.hpp"
#include "proxy/http/authority.hpp"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

std::string in_words(int error) {
    return std::generic_category().message(error);
}

/// As its Content-Length says; an answer without one ends with the connection.
bool is_whole(std::string_view answer) {
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string_view::npos) return false;
    const std::string fields = to_lower(answer.substr(0, head + 2));
    constexpr std::string_view name = "\r\ncontent-length:";
    const std::size_t at = fields.find(name);
    if (at == std::string::npos) return false;
    const std::size_t value = at + name.size();
    const auto length =
        parse_decimal(trimmed(std::string_view(fields).substr(value, fields.find('\r', value) - value)));
    return length && answer.size() - head - 4 >= *length;
}

/// A plain socket that never waits past one deadline.
class Connection {
  public:
    explicit Connection(TimePoint deadline) : deadline_(deadline) {}
    ~Connection() {
        if (fd_ >= 0) ::close(fd_);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// 0, or an errno; ETIMEDOUT at the deadline.
    int connect(const ListenAddress& to) {
        sockaddr_storage peer{};
        const socklen_t size = fill(peer, to);
        fd_ = ::socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd_ < 0) return errno;
        if (::connect(fd_, reinterpret_cast<sockaddr*>(&peer), size) == 0) return 0;
        if (errno != EINPROGRESS) return errno;
        if (const int error = wait(POLLOUT)) return error;
        int error = 0;
        socklen_t length = sizeof error;
        return ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
    }

    int send(std::string_view text) {
        while (!text.empty()) {
            const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent > 0) {
                text.remove_prefix(static_cast<std::size_t>(sent));
            } else if (const int error = errno; error != EAGAIN && error != EINTR) {
                return error;
            } else if (const int late = wait(POLLOUT)) {
                return late;
            }
        }
        return 0;
    }

    /// One answer, bounded.
    int receive(std::string& into, std::size_t most) {
        char piece[16 * 1024];
        while (!is_whole(into) && into.size() < most) {
            const ssize_t got = ::recv(fd_, piece, sizeof piece, 0);
            if (got == 0) return 0;
            if (got > 0) {
                into.append(piece, static_cast<std::size_t>(got));
            } else if (const int error = errno; error != EAGAIN && error != EINTR) {
                return error;
            } else if (const int late = wait(POLLIN)) {
                return late;
            }
        }
        return 0;
    }

  private:
    static socklen_t fill(sockaddr_storage& peer, const ListenAddress& to) {
        if (to.address.v6) {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(peer);
            v6.sin6_family = AF_INET6;
            v6.sin6_port = htons(to.port);
            std::memcpy(&v6.sin6_addr, to.address.bytes.data(), 16);
            return sizeof v6;
        }
        auto& v4 = reinterpret_cast<sockaddr_in&>(peer);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(to.port);
        std::memcpy(&v4.sin_addr, to.address.bytes.data(), 4);
        return sizeof v4;
    }

    int wait(short events) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
        if (left <= 0) return ETIMEDOUT;
        pollfd one{fd_, events, 0};
        const int ready = ::poll(&one, 1, static_cast<int>(left));
        if (ready > 0) return 0;
        return ready == 0 ? ETIMEDOUT : errno == EINTR ? 0 : errno;
    }

    TimePoint deadline_;
    int fd_ = -1;
};

/// "HTTP/1.1 503 Service Unavailable ..."
AdminSaid understood(const std::string& answer, std::size_t most) {
    AdminSaid said;
    constexpr std::string_view version = "HTTP/1.1 ";
    const auto status = answer.starts_with(version) ? parse_decimal(answer.substr(version.size(), 3)) : std::nullopt;
    if (!status) {
        said.fault = "what answers is not Sluice's admin";
    } else if (!is_whole(answer)) {
        said.fault = answer.size() >= most ? "the answer is too long" : "the answer was cut short";
    } else {
        said.status = static_cast<unsigned>(*status);
        said.body = answer.substr(answer.find("\r\n\r\n") + 4);
    }
    return said;
}

}  // namespace

AdminSaid ask_admin(const ListenAddress& admin, const std::string& path, Duration patience, std::size_t most) {
    Connection connection(Clock::now() + patience);
    std::string answer;
    int error = connection.connect(admin);
    if (!error)
        error = connection.send("GET " + path + " HTTP/1.1\r\nHost: " + admin.text() + "\r\nConnection: close\r\n\r\n");
    if (!error) error = connection.receive(answer, most);
    return error ? AdminSaid{in_words(error), 0, {}} : understood(answer, most);
}

std::optional<ListenAddress> admin_address(std::string_view text) {
    constexpr std::string_view scheme = "http://";
    if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
    if (text.ends_with('/')) text.remove_suffix(1);
    const Result<Authority> named = parse_authority(text, 15000);
    if (!named) return std::nullopt;
    const auto address = parse_address(named->host == "localhost" ? "127.0.0.1" : named->host);
    if (!address) return std::nullopt;
    return ListenAddress{*address, named->port};
}

}  // namespace sluice
