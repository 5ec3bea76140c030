// The vendor of the benchmark: an HTTP/1.1 keep-alive server on loopback, plain and TLS, that costs as little as it
// can, so that the proxy in front of it is the bottleneck. GET or POST /bytes/N answers N bytes; a request body is read
// to its end first. Below /hang nothing is ever answered, below /reset the connection is closed instead, below /503 that
// is the answer. Prints `tls <port> plain <port>` and serves until its standard input ends, its parent dies, or
// SIGTERM.
//
//   bench_upstream --cert FILE --key FILE [--tls-port 0] [--plain-port 0]
#include <sys/prctl.h>

#include <csignal>
#include <vector>

#include "tests/bench/stream.hpp"

namespace sluice::bench {
namespace {

constexpr std::size_t max_head = 16 * 1024;
constexpr std::size_t slice = 256 * 1024;          // bytes of a body that one answer holds ready
constexpr std::uint64_t max_answer = 64ULL << 30;  // a 10 GiB body must fit
constexpr std::size_t max_prepared = 64;           // distinct sizes whose answer is kept

/// Head and the first slice of the body side by side: a small answer is one write.
struct Answer {
    std::string start;
    std::uint64_t rest = 0;  // body bytes beyond `start`, sent from `filler`
};

class Answers {
  public:
    const Answer& of_size(std::uint64_t size) {
        if (prepared_.size() >= max_prepared) prepared_.clear();
        auto [found, fresh] = prepared_.try_emplace(size);
        if (fresh) {
            std::uint64_t first = std::min<std::uint64_t>(size, slice);
            found->second.start =
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " + std::to_string(size) +
                "\r\n\r\n" + filler_.substr(0, first);
            found->second.rest = size - first;
        }
        return found->second;
    }
    std::string_view filler() const { return filler_; }

  private:
    std::map<std::uint64_t, Answer> prepared_;
    std::string filler_ = std::string(slice, 'x');
};

enum class Manner { answers, hangs, refuses };

/// What a request head asks for. Nothing: it is not one that this server understands, or it asks for a reset.
struct Asked {
    std::uint64_t answer_bytes;
    std::uint64_t body_bytes;
    Manner manner;
};

bool take(std::string_view& text, std::string_view lead) {
    if (!text.starts_with(lead)) return false;
    text.remove_prefix(lead.size());
    return true;
}

std::optional<Asked> understand(std::string_view head) {
    std::string_view rest = head;
    if (!take(rest, "POST ") && !take(rest, "GET ")) return std::nullopt;
    const Manner manner = take(rest, "/hang") ? Manner::hangs : take(rest, "/503") ? Manner::refuses : Manner::answers;
    if (!take(rest, "/bytes/")) return std::nullopt;
    auto bytes = to_number(rest.substr(0, rest.find(' ')));
    if (!bytes || *bytes > max_answer) return std::nullopt;
    return Asked{*bytes, content_length(head).value_or(0), manner};
}

constexpr std::string_view refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// One connection: shake hands, then read a head, read its body, send the answer, again. `proceed` runs until the
/// socket would block and says whether the connection lives; `wants_write` says for what it waits.
class Peer {
  public:
    Peer(Stream stream, bool tls, Answers& answers)
        : stream_(std::move(stream)), answers_(answers), phase_(tls ? Phase::handshake : Phase::head) {}

    bool proceed(std::span<char> scratch) {
        for (;;) {
            Moved moved = step(scratch);
            switch (moved.kind) {
            case Moved::Kind::some: continue;
            case Moved::Kind::want_read: wants_write_ = false; return true;
            case Moved::Kind::want_write: wants_write_ = true; return true;
            case Moved::Kind::ended:
            case Moved::Kind::broken: return false;
            }
        }
    }
    bool wants_write() const { return wants_write_; }
    int descriptor() const { return stream_.descriptor(); }

    bool watched_for_write = false;  // what epoll was last told

  private:
    enum class Phase { handshake, head, body, answer, silence };

    Moved step(std::span<char> scratch) {
        switch (phase_) {
        case Phase::handshake: {
            Moved moved = stream_.handshake();
            if (moved.kind == Moved::Kind::some) phase_ = Phase::head;
            return moved;
        }
        case Phase::head: return read_head(scratch);
        case Phase::body: return read_body(scratch);
        case Phase::answer: return send_answer();
        case Phase::silence: return stream_.read(scratch);  // until the other side has had enough
        }
        return {Moved::Kind::broken};
    }

    Moved read_head(std::span<char> scratch) {
        if (auto done = take_head()) return *done;
        if (drained_) {  // the last read was short: another would only cost a call that says EAGAIN
            drained_ = false;
            return {Moved::Kind::want_read};
        }
        Moved moved = stream_.read(scratch);
        if (moved.kind != Moved::Kind::some) return moved;
        drained_ = moved.bytes < scratch.size() && !has_pending();
        input_.append(scratch.data(), moved.bytes);
        if (auto done = take_head()) return *done;
        return input_.size() > max_head ? Moved{Moved::Kind::broken} : moved;
    }

    /// Nothing while the head is incomplete.
    std::optional<Moved> take_head() {
        std::size_t end = input_.find("\r\n\r\n");
        if (end == std::string::npos) return std::nullopt;
        auto asked = understand(std::string_view(input_).substr(0, end + 2));
        if (!asked) return Moved{Moved::Kind::broken};
        input_.erase(0, end + 4);
        std::uint64_t at_hand = std::min<std::uint64_t>(input_.size(), asked->body_bytes);
        input_.erase(0, at_hand);
        body_left_ = asked->body_bytes - at_hand;
        if (asked->manner == Manner::hangs) {
            phase_ = Phase::silence;
            return Moved{Moved::Kind::some};
        }
        const Answer& answer = answers_.of_size(asked->answer_bytes);
        const bool refuses = asked->manner == Manner::refuses;
        reply_.assign(refuses ? refusal : answer.start);
        sent_ = 0;
        rest_ = refuses ? 0 : answer.rest;
        phase_ = body_left_ > 0 ? Phase::body : Phase::answer;
        return Moved{Moved::Kind::some};
    }

    Moved read_body(std::span<char> scratch) {
        std::size_t room = std::min<std::uint64_t>(scratch.size(), body_left_);
        Moved moved = stream_.discard(room, scratch.first(room));
        if (moved.kind != Moved::Kind::some) return moved;
        body_left_ -= moved.bytes;
        if (body_left_ == 0) {
            drained_ = !has_pending();
            phase_ = Phase::answer;
        }
        return moved;
    }

    Moved send_answer() {
        std::string_view out = std::string_view(reply_).substr(sent_);
        if (out.empty()) out = answers_.filler().substr(0, std::min<std::uint64_t>(rest_, slice));
        if (out.empty()) {
            phase_ = Phase::head;
            return {Moved::Kind::some};
        }
        Moved moved = stream_.write(out);
        if (moved.kind != Moved::Kind::some) return moved;
        if (sent_ < reply_.size())
            sent_ += moved.bytes;
        else
            rest_ -= moved.bytes;
        return moved;
    }

    bool has_pending() const { return stream_.ssl() && SSL_has_pending(stream_.ssl()); }

    Stream stream_;
    Answers& answers_;
    Phase phase_;
    std::string input_;
    std::string reply_;
    std::size_t sent_ = 0;
    std::uint64_t rest_ = 0;
    std::uint64_t body_left_ = 0;
    bool drained_ = false;
    bool wants_write_ = false;
};

class Server {
  public:
    explicit Server(SSL_CTX* tls) : tls_(tls) { poll_.add(STDIN_FILENO, EPOLLIN, STDIN_FILENO); }

    /// The port that was bound.
    std::uint16_t listen_on(std::uint16_t port, bool tls) {
        int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0) fail_errno("socket");
        int one = 1;
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        sockaddr_in address = loopback(port);
        socklen_t length = sizeof address;
        if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), length) < 0) fail_errno("bind");
        if (listen(descriptor, 4096) < 0) fail_errno("listen");
        getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
        (tls ? tls_listener_ : plain_listener_) = descriptor;
        poll_.add(descriptor, EPOLLIN, static_cast<std::uint64_t>(descriptor));
        return ntohs(address.sin_port);
    }

    void serve_until_stdin_ends() {
        for (;;) {
            for (const epoll_event& event : poll_.wait(std::chrono::seconds(60))) {
                int descriptor = static_cast<int>(event.data.u64);
                if (descriptor == STDIN_FILENO) {
                    char ignored[256];
                    if (::read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return;
                } else if (descriptor == tls_listener_ || descriptor == plain_listener_) {
                    accept_some(descriptor, descriptor == tls_listener_);
                } else {
                    proceed(descriptor);
                }
            }
        }
    }

  private:
    void accept_some(int listener, bool tls) {
        for (int left = 64; left > 0; --left) {
            int descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (descriptor < 0) return;
            int one = 1;
            setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            Stream stream(descriptor);
            if (tls) {
                stream.start_tls(tls_);
                SSL_set_accept_state(stream.ssl());
            }
            if (peers_.size() <= static_cast<std::size_t>(descriptor)) peers_.resize(descriptor + 1);
            peers_[descriptor] = std::make_unique<Peer>(std::move(stream), tls, answers_);
            poll_.add(descriptor, EPOLLIN, static_cast<std::uint64_t>(descriptor));
        }
    }

    void proceed(int descriptor) {
        Peer* peer = peers_[descriptor].get();
        if (!peer) return;
        if (!peer->proceed(scratch_)) {
            peers_[descriptor].reset();
            return;
        }
        if (peer->wants_write() == peer->watched_for_write) return;
        peer->watched_for_write = peer->wants_write();
        poll_.modify(descriptor, peer->wants_write() ? EPOLLOUT : EPOLLIN, static_cast<std::uint64_t>(descriptor));
    }

    SSL_CTX* tls_;
    Poll poll_;
    Answers answers_;
    int tls_listener_ = -1;
    int plain_listener_ = -1;
    std::vector<std::unique_ptr<Peer>> peers_;  // by descriptor
    std::vector<char> scratch_ = std::vector<char>(slice);
};

int run(Options options) {
    std::string certificate = options.text("cert", "");
    std::string key = options.text("key", "");
    auto tls_port = static_cast<std::uint16_t>(options.number("tls-port", 0));
    auto plain_port = static_cast<std::uint16_t>(options.number("plain-port", 0));
    options.none_left();

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    SslContext tls = make_tls_context(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls.get(), certificate.c_str()) != 1) fail("--cert " + certificate);
    if (SSL_CTX_use_PrivateKey_file(tls.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) fail("--key " + key);

    Server server(tls.get());
    tls_port = server.listen_on(tls_port, true);
    plain_port = server.listen_on(plain_port, false);
    std::printf("tls %u plain %u\n", tls_port, plain_port);
    std::fflush(stdout);
    server.serve_until_stdin_ends();
    return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
    return sluice::bench::run({argc, argv});
}
