#include "proxy/app/healthcheck.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "proxy/app/environment.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/authority.hpp"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_answer = 16 * 1024;

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
    int receive(std::string& into) {
        char piece[2048];
        while (!is_whole(into) && into.size() < most_answer) {
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

/// "HTTP/1.1 503 Service Unavailable ... {"ready":false,...}" in words; empty for 200.
std::string judge_answer(const std::string& answer) {
    if (answer.starts_with("HTTP/1.1 200 ")) return {};
    if (!answer.starts_with("HTTP/1.1 ")) return "what answers is not Sluice's admin";
    const std::size_t body = answer.find("\r\n\r\n");
    std::string said = body == std::string::npos ? std::string() : answer.substr(body + 4);
    std::replace_if(
        said.begin(), said.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, ' ');
    return "it says " + answer.substr(9, 3) + (said.empty() ? "" : ": " + said);
}

}  // namespace

std::string ask_ready(const ListenAddress& admin, Duration patience) {
    Connection connection(Clock::now() + patience);
    std::string answer;
    int error = connection.connect(admin);
    if (!error)
        error = connection.send("GET /ready HTTP/1.1\r\nHost: " + admin.text() + "\r\nConnection: close\r\n\r\n");
    if (!error) error = connection.receive(answer);
    return error ? in_words(error) : judge_answer(answer);
}

int check_health(const std::string& given, const std::string& admin_text, Streams& streams) {
    ListenAddress admin;
    if (admin_text.empty()) {
        const auto config = load_or_explain(given, streams.err);
        if (!config) return code_of(Exit::bad_policy);
        admin = as_dialled(config->listen.admin);
    } else {
        const Result<Authority> named = parse_authority(admin_text, 15000);
        const auto address = named ? parse_address(named->host) : std::nullopt;
        if (!address) {
            streams.err << "--admin takes an address such as 127.0.0.1:15000\n";
            return code_of(Exit::usage);
        }
        admin = {*address, named->port};
    }
    if (admin.port == 0) {
        streams.err << "listen.admin has port 0, so nobody knows which was picked: give it a port, or use --admin\n";
        return code_of(Exit::failure);
    }
    const std::string fault = ask_ready(admin, 2s);
    if (fault.empty()) return code_of(Exit::fine);
    streams.err << "not ready: " << admin.text() << ": " << fault << "\n";
    return code_of(Exit::failure);
}

}  // namespace sluice
