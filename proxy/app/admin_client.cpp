#include "proxy/app/admin_client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "proxy/app/environment.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/authority.hpp"
#include "proxy/net/sockaddr.hpp"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_answer = 256u << 20;  // what 64 MiB of policy may come to once it is written out

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
        const socklen_t size = to_sockaddr(to.address, to.port, peer);
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

/// Splits what was received; anything but an answer in HTTP/1.1 is a fault.
HttpReply parsed(const std::string& answer) {
    HttpReply reply;
    const std::size_t end = answer.find("\r\n\r\n");
    const auto status =
        answer.starts_with("HTTP/1.1 ") ? parse_decimal(std::string_view(answer).substr(9, 3)) : std::nullopt;
    if (!status || end == std::string::npos) {
        reply.fault = answer.empty() ? "it closed the connection without an answer" : std::string(answers_otherwise);
        return reply;
    }
    reply.status = static_cast<unsigned>(*status);
    reply.head = to_lower(answer.substr(0, end + 2));
    reply.body = answer.substr(end + 4);
    return reply;
}

/// `fields`: each with its CRLF.
HttpReply ask(const ListenAddress& listener, std::string_view method, std::string_view path, const std::string& fields,
              std::string_view body, Duration patience) {
    Connection connection(Clock::now() + patience);
    std::string request(method), answer;
    request.append(" ").append(path).append(" HTTP/1.1\r\nHost: ").append(listener.text());
    request.append("\r\nConnection: close\r\n").append(fields).append("\r\n").append(body);
    int error = connection.connect(listener);
    if (!error) error = connection.send(request);
    if (!error) error = connection.receive(answer);
    if (!error) return parsed(answer);
    HttpReply reply;
    reply.fault = in_words(error);
    return reply;
}

}  // namespace

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

HttpReply http_get(const ListenAddress& listener, std::string_view path, Duration patience) {
    return ask(listener, "GET", path, {}, {}, patience);
}

HttpReply http_post(const ListenAddress& listener, std::string_view path, std::string_view json, Duration patience) {
    const std::string fields =
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) + "\r\n";
    return ask(listener, "POST", path, fields, json, patience);
}

std::string ask_ready(const ListenAddress& admin, Duration patience) {
    const HttpReply reply = http_get(admin, "/ready", patience);
    if (!reply.fault.empty()) return reply.fault;
    if (reply.status == 200) return {};
    std::string said = reply.body;
    std::replace_if(
        said.begin(), said.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, ' ');
    return "it says " + std::to_string(reply.status) + (said.empty() ? "" : ": " + said);
}

std::string unanswered(const ListenAddress& admin, const std::string& fault) {
    const bool heard = fault.starts_with("it says ");
    return admin.text() + ": " + fault + (heard ? "" : "; is `sluice run` up, and is this its listen.admin?");
}

std::optional<ListenAddress> find_admin(const std::string& given, const std::string& text, Streams& streams,
                                        Exit& exit) {
    if (!text.empty()) {
        if (const auto address = admin_address(text)) return address;
        streams.err << "--admin takes an address such as 127.0.0.1:15000\n";
        exit = Exit::usage;
        return {};
    }
    const auto config = load_or_explain(given, streams.err);
    if (!config) {
        exit = Exit::bad_policy;
        return {};
    }
    if (config->listen.admin.port != 0) return as_dialled(config->listen.admin);
    streams.err << "listen.admin has port 0, so nobody knows which was picked: give it a port, or use --admin\n";
    exit = Exit::failure;
    return {};
}

}  // namespace sluice
