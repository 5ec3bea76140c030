// One client connection of the load generator: opens (through CONNECT and a TLS handshake where the plan says so),
// sends the plan's one request as often as it is asked to, and checks each answer's status and length. Used by
// load.cpp; one thread.
#pragma once

#include <fcntl.h>

#include "tests/bench/stream.hpp"

namespace sluice::bench {

using Clock = std::chrono::steady_clock;

/// What every connection of one run does.
struct Script {
    std::uint16_t port = 0;          // on 127.0.0.1
    std::string connect;             // a CONNECT head to send first, or empty
    std::string request;             // head, and the body or its beginning
    std::uint64_t request_rest = 0;  // body bytes beyond `request`, taken from `filler` again and again
    std::string filler;
    std::uint64_t answer = 0;  // body bytes that make an answer right
    bool any_answer = false;   // whatever its status and its length
    std::string tls_name;      // SNI and verified name
    SSL_CTX* tls = nullptr;    // null: plain
    bool resume = false;       // each handshake must resume the session before it, or else must not
};

enum class Mishap { connect, tunnel, handshake, resumption, status, framing, length, closed, stalled };
inline constexpr std::size_t mishaps = 9;
inline constexpr std::string_view mishap_names[mishaps] = {"connect", "tunnel", "handshake", "resumption", "status",
                                                           "framing", "length", "closed",    "stalled"};

class Connection {
  public:
    /// What `proceed` came to. After `broken` see `mishap()`; the connection is to be opened again or left closed.
    enum class Event { waiting, ready, answered, broken };

    void open(const Script& script, Clock::time_point now) {
        script_ = &script;
        int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0) fail_errno("socket");
        int one = 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        sockaddr_in address = loopback(script.port);
        // A refusal shows up as an error event; only running out of ports or descriptors is ours.
        if (::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 && errno != EINPROGRESS &&
            errno != ECONNREFUSED)
            fail_errno("connect");
        stream_ = Stream(descriptor);
        phase_ = Phase::connecting;
        started_ = now;
        head_.clear();
        wants_write_ = true;
        watched_for_write = true;
    }
    void close() {
        stream_.close();
        phase_ = Phase::closed;
    }

    /// Only when ready or answered. A socket that takes no more is waited for in `proceed`.
    void send(Clock::time_point now) {
        started_ = now;
        phase_ = Phase::sending;
        out_ = script_->request;
        rest_ = script_->request_rest;
    }

    Event proceed(std::span<char> scratch) {
        for (;;) {
            Step step = take_step(scratch);
            if (step.event != Event::waiting || step.blocked) {
                wants_write_ = step.for_write;
                return step.event;
            }
        }
    }

    /// Sessions arrive with the first bytes after a handshake; the next handshake offers the newest.
    void keep_session(SSL_SESSION* session) { session_.reset(session); }

    /// Body bytes read since the last call.
    std::uint64_t take_bytes() { return std::exchange(bytes_, 0); }

    Mishap mishap() const { return mishap_; }
    const std::string& detail() const { return detail_; }
    int descriptor() const { return stream_.descriptor(); }
    bool is_closed() const { return phase_ == Phase::closed; }
    bool in_flight() const { return phase_ != Phase::closed && phase_ != Phase::idle; }
    bool wants_write() const { return wants_write_; }
    Clock::time_point started() const { return started_; }

    bool watched_for_write = false;  // what epoll was last told

  private:
    enum class Phase { closed, connecting, asking_tunnel, awaiting_tunnel, handshake, idle, sending, head, body };

    struct Step {
        Event event = Event::waiting;
        bool blocked = false;
        bool for_write = false;
    };
    static Step onward() { return {}; }
    static Step wait_for(Moved moved) { return {.blocked = true, .for_write = moved.kind == Moved::Kind::want_write}; }
    static bool would_block(Moved moved) {
        return moved.kind == Moved::Kind::want_read || moved.kind == Moved::Kind::want_write;
    }
    Step broken(Mishap mishap, std::string detail) {
        mishap_ = mishap;
        detail_ = std::move(detail);
        return {.event = Event::broken};
    }
    Step happened(Event event) {
        phase_ = Phase::idle;
        return {.event = event};
    }

    Step take_step(std::span<char> scratch) {
        switch (phase_) {
        case Phase::closed: return broken(Mishap::closed, "not open");
        case Phase::connecting: return finish_connect();
        case Phase::asking_tunnel: return write_out(Phase::awaiting_tunnel, Mishap::tunnel);
        case Phase::awaiting_tunnel: return read_tunnel_reply(scratch);
        case Phase::handshake: return shake_hands();
        case Phase::idle: return watch_idle(scratch);
        case Phase::sending: return write_out(Phase::head, Mishap::closed);
        case Phase::head: return read_head(scratch);
        case Phase::body: return read_body(scratch);
        }
        return broken(Mishap::closed, "not a phase");
    }

    Step finish_connect() {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(stream_.descriptor(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) return broken(Mishap::connect, std::strerror(error));
        if (!script_->connect.empty()) {
            phase_ = Phase::asking_tunnel;
            out_ = script_->connect;
            return onward();
        }
        return begin_session();
    }

    Step read_tunnel_reply(std::span<char> scratch) {
        Moved moved = stream_.read(scratch);
        if (would_block(moved)) return wait_for(moved);
        if (moved.kind != Moved::Kind::some) return broken(Mishap::tunnel, "closed instead of a reply to CONNECT");
        head_.append(scratch.data(), moved.bytes);
        if (head_.find("\r\n\r\n") == std::string::npos) return onward();
        if (!head_.starts_with("HTTP/1.1 200")) return broken(Mishap::tunnel, first_line(head_));
        head_.clear();
        return begin_session();
    }

    Step begin_session() {
        if (!script_->tls) return happened(Event::ready);
        stream_.start_tls(script_->tls);
        SSL* ssl = stream_.ssl();
        SSL_set_connect_state(ssl);
        SSL_set_app_data(ssl, this);
        SSL_set_tlsext_host_name(ssl, script_->tls_name.c_str());
        SSL_set1_host(ssl, script_->tls_name.c_str());
        offered_ = script_->resume && session_;
        if (offered_) SSL_set_session(ssl, session_.get());
        phase_ = Phase::handshake;
        return onward();
    }

    Step shake_hands() {
        Moved moved = stream_.handshake();
        if (would_block(moved)) return wait_for(moved);
        if (moved.kind != Moved::Kind::some) {
            long verdict = SSL_get_verify_result(stream_.ssl());
            return broken(Mishap::handshake,
                          verdict == X509_V_OK ? "handshake" : X509_verify_cert_error_string(verdict));
        }
        if (offered_ != (SSL_session_reused(stream_.ssl()) == 1))
            return broken(Mishap::resumption, offered_ ? "an offered session was not resumed" : "resumed unasked");
        return happened(Event::ready);
    }

    Step watch_idle(std::span<char> scratch) {
        Moved moved = stream_.read(scratch);  // a session ticket is taken here and is no byte
        if (would_block(moved)) return {.blocked = true};
        if (moved.kind == Moved::Kind::some) return broken(Mishap::framing, "bytes nobody asked for");
        return broken(Mishap::closed, "closed while idle");
    }

    Step write_out(Phase then, Mishap mishap) {
        Moved moved = stream_.write(out_);
        if (would_block(moved)) return wait_for(moved);
        if (moved.kind != Moved::Kind::some) return broken(mishap, "closed while sending");
        out_.remove_prefix(moved.bytes);
        if (out_.empty() && phase_ == Phase::sending && rest_ > 0) {
            out_ = std::string_view(script_->filler).substr(0, rest_);
            rest_ -= out_.size();
        }
        if (!out_.empty()) return onward();
        phase_ = then;
        return {.blocked = true};  // nothing can have come back yet
    }

    Step read_head(std::span<char> scratch) {
        Moved moved = stream_.read(scratch);
        if (would_block(moved)) return wait_for(moved);
        if (moved.kind != Moved::Kind::some) return broken(Mishap::closed, "closed instead of an answer");
        std::string_view seen(scratch.data(), moved.bytes);
        if (!head_.empty()) seen = head_.append(seen);
        std::size_t end = seen.find("\r\n\r\n");
        if (end == std::string_view::npos) {
            if (head_.empty()) head_ = seen;
            return head_.size() > 64 * 1024 ? broken(Mishap::framing, "endless head") : onward();
        }
        if (!script_->any_answer && !seen.starts_with("HTTP/1.1 200 ")) return broken(Mishap::status, first_line(seen));
        auto length = content_length(seen.substr(0, end + 2));
        if (!length) return broken(Mishap::framing, "no Content-Length");
        if (!script_->any_answer && *length != script_->answer) return broken(Mishap::length, "Content-Length " + std::to_string(*length));
        left_ = *length;
        phase_ = Phase::body;
        std::size_t at_hand = seen.size() - end - 4;
        head_.clear();
        return count_body(at_hand);
    }

    Step read_body(std::span<char> scratch) {
        Moved moved = stream_.discard(left_, scratch);
        if (would_block(moved)) return wait_for(moved);
        if (moved.kind != Moved::Kind::some)
            return broken(Mishap::length, "closed " + std::to_string(left_) + " bytes early");
        return count_body(moved.bytes);
    }

    Step count_body(std::uint64_t count) {
        if (count > left_) return broken(Mishap::length, "more bytes than Content-Length says");
        left_ -= count;
        bytes_ += count;
        return left_ == 0 ? happened(Event::answered) : onward();
    }

    static std::string first_line(std::string_view head) { return std::string(head.substr(0, head.find("\r\n"))); }

    const Script* script_ = nullptr;
    Stream stream_;
    Phase phase_ = Phase::closed;
    std::string_view out_;    // what is to be sent next
    std::uint64_t rest_ = 0;  // and how much filler after it
    std::string head_;        // an incomplete one
    std::uint64_t left_ = 0;
    std::uint64_t bytes_ = 0;
    SslSession session_;
    bool offered_ = false;
    bool wants_write_ = false;
    Clock::time_point started_;
    Mishap mishap_ = Mishap::closed;
    std::string detail_;
};

}  // namespace sluice::bench
