// The application of the benchmark: drives one proxy (or the upstream itself) over loopback, checks every answer, and
// prints one JSON line of what it saw and of what the watched processes used meanwhile. One thread; bounded in time and
// in count.
//
//   bench_load --port N [--via direct|connect|absolute] [--tls-ca FILE] [--host NAME] [--authority NAME:PORT]
//              [--mode closed|paced|fresh|idle] [--bytes 1024] [--post 0] [--connections 32] [--rate 3000]
//              [--window-ms 3000] [--warmup-ms 700] [--requests N] [--resume 0|1] [--watch PID,PID] [--hold 0|1]
//              [--any-answer 0|1]
//
// closed   each connection asks again as soon as it is answered
// paced    a request every 1/rate seconds whatever has become of the ones before; latency counts from when it was due
// fresh    a connection and a handshake for each request; --resume 1 resumes the session before
// idle     opens the connections, asks once on each, and measures what they hold; --hold 1 keeps them until stdin ends
//
// Exit code 0: everything was right. 1: something was not (see `mishaps` and stderr). 2: could not be run.
#include <sys/prctl.h>

#include <csignal>
#include <deque>
#include <vector>

#include "tests/bench/connection.hpp"
#include "tests/bench/histogram.hpp"
#include "tests/bench/watched.hpp"

namespace sluice::bench {
namespace {

using namespace std::chrono_literals;

enum class Mode { closed, paced, fresh, idle };

struct Plan {
    Mode mode = Mode::closed;
    Script script;
    std::uint64_t connections = 0;
    std::uint64_t rate = 0;
    std::uint64_t requests = 0;  // stop after so many, even if time is left
    std::chrono::nanoseconds warmup{};
    std::chrono::nanoseconds window{};
    bool hold = false;
    std::string watch;
};

// Opened a few at a time before memory is first read, so that what a process allocates once is not counted.
constexpr std::uint64_t settled_connections = 64;
constexpr std::uint64_t settling_at_once = 16;
// Then a burst, as of an application that starts: what handshakes need for a moment may stay with the proxy.
constexpr std::uint64_t opening_at_once = 256;
constexpr std::uint64_t mishaps_borne = 10;
constexpr auto stalled_after = 5s;

struct Tally {
    std::uint64_t answered = 0;
    std::uint64_t bytes = 0;
    Histogram latency;
};

class Load {
  public:
    explicit Load(const Plan& plan) : plan_(plan), watched_(plan.watch), scratch_(256 * 1024) {
        if (plan_.script.tls) {
            SSL_CTX_set_session_cache_mode(plan_.script.tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
            SSL_CTX_sess_set_new_cb(plan_.script.tls, [](SSL* ssl, SSL_SESSION* session) {
                static_cast<Connection*>(SSL_get_app_data(ssl))->keep_session(session);
                return 1;
            });
        }
    }

    int run() {
        if (plan_.mode == Mode::idle) return run_idle();
        connections_.resize(plan_.connections);
        Clock::time_point begun = Clock::now();
        for (std::size_t at = 0; at < connections_.size(); ++at) open(at);
        spin_until(begun + plan_.warmup);
        // Without any warm-up the window holds the very first request.
        for (auto deadline = begun + 10s; plan_.warmup > 0ns && !warm() && Clock::now() < deadline;)
            spin_until(Clock::now() + 20ms);

        tally_ = {};
        due_ = begun = Clock::now();
        resident_before_ = resident_peak_ = watched_.resident_kib();
        auto cpu = watched_.cpu();
        for (auto end = begun + plan_.window; !finished() && Clock::now() < end;) {
            spin_until(std::min(end, Clock::now() + 100ms));
            resident_peak_ = std::max(resident_peak_, watched_.resident_kib());
        }
        cpu = watched_.cpu() - cpu;
        auto took = Clock::now() - begun;
        const Tally seen = tally_;
        finish_what_is_in_flight();
        print(seen, took, cpu);
        return all_well() && seen.bytes > 0 ? 0 : 1;
    }

  private:
    // ---- idle connections

    int run_idle() {
        connections_.resize(settled_connections + plan_.connections);
        open_up_to(settled_connections, settling_at_once);
        std::uint64_t before = watched_.resident_kib();
        open_up_to(connections_.size(), opening_at_once);
        std::uint64_t after = watched_.resident_kib();
        double each =
            (static_cast<double>(after) - static_cast<double>(before)) / static_cast<double>(plan_.connections);
        std::printf(
            "{\"connections\":%zu,\"resident_kib_before\":%lu,\"resident_kib_after\":%lu,"
            "\"kib_per_connection\":%.3f,%s}\n",
            connections_.size(), before, after, each, mishaps_json().c_str());
        std::fflush(stdout);
        if (plan_.hold) hold();
        return all_well() ? 0 : 1;
    }

    void open_up_to(std::size_t count, std::uint64_t at_once) {
        auto deadline = Clock::now() + 120s;
        while (tally_.answered < count && !hopeless() && Clock::now() < deadline) {
            while (opened_ < count && opened_ - tally_.answered < at_once) open(opened_++);
            turn(Clock::now() + 10ms);
        }
        if (tally_.answered < count)
            count_mishap(Mishap::stalled, "only " + std::to_string(tally_.answered) + " opened");
        spin_until(Clock::now() + 1s);  // what was opened last comes to rest
    }

    void hold() {
        char ignored[64];
        fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
        for (auto deadline = Clock::now() + 1h; Clock::now() < deadline && !hopeless();) {
            spin_until(Clock::now() + 100ms);
            if (::read(STDIN_FILENO, ignored, sizeof ignored) == 0) return;
        }
    }

    // ---- the loop

    void spin_until(Clock::time_point end) {
        while (!finished()) {
            Clock::time_point now = Clock::now();
            if (now >= end) return;
            if (plan_.mode == Mode::paced) now = send_due(now);
            turn(plan_.mode == Mode::paced ? std::min(end, due_) : end);
        }
    }

    /// Every request that was sent is owed an answer, also those that the end of the window found under way.
    void finish_what_is_in_flight() {
        finishing_ = true;
        auto under_way = [](const Connection& connection) { return connection.in_flight(); };
        for (auto last = Clock::now(); !hopeless() && std::ranges::any_of(connections_, under_way);) {
            std::uint64_t before = tally_.bytes + tally_.answered;
            turn(Clock::now() + 10ms);
            if (tally_.bytes + tally_.answered != before) last = Clock::now();
            if (Clock::now() - last > stalled_after)
                return count_mishap(Mishap::stalled, "unanswered, and no byte for five seconds");
        }
    }

    void turn(Clock::time_point until) {
        auto patience = std::max<std::chrono::nanoseconds>(until - Clock::now(), 0ns);
        for (const epoll_event& event : poll_.wait(std::min<std::chrono::nanoseconds>(patience, 100ms)))
            proceed(event.data.u64);
    }

    void open(std::size_t at) {
        connections_[at].open(plan_.script, Clock::now());
        poll_.add(connections_[at].descriptor(), EPOLLOUT, at);
    }

    void proceed(std::size_t at) {
        Connection& connection = connections_[at];
        if (connection.is_closed()) return;
        Connection::Event event = connection.proceed(scratch_);
        tally_.bytes += connection.take_bytes();
        switch (event) {
        case Connection::Event::waiting: break;
        case Connection::Event::ready: on_ready(at); break;
        case Connection::Event::answered: on_answered(at); break;
        case Connection::Event::broken: on_broken(at); break;
        }
        if (connection.is_closed() || connection.wants_write() == connection.watched_for_write) return;
        connection.watched_for_write = connection.wants_write();
        poll_.modify(connection.descriptor(), connection.wants_write() ? EPOLLOUT : EPOLLIN, at);
    }

    void on_ready(std::size_t at) {
        if (finishing_ || finished()) return;
        switch (plan_.mode) {
        case Mode::closed:
        case Mode::idle: return send(at, Clock::now());
        case Mode::fresh:  // the time of a new connection is counted from its first packet
            return send(at, connections_[at].started());
        case Mode::paced: return free_.push_back(at);
        }
    }

    void on_answered(std::size_t at) {
        Clock::time_point now = Clock::now();
        ++tally_.answered;
        tally_.latency.add(now - connections_[at].started());
        if (finishing_ || finished()) return;
        switch (plan_.mode) {
        case Mode::closed: return send(at, now);
        case Mode::fresh: connections_[at].close(); return open(at);
        case Mode::paced:
            if (overdue_.empty()) return free_.push_back(at);
            send(at, overdue_.front());
            return overdue_.pop_front();
        case Mode::idle: return;
        }
    }

    void on_broken(std::size_t at) {
        count_mishap(connections_[at].mishap(), connections_[at].detail());
        connections_[at].close();
        std::erase(free_, at);
        if (plan_.mode != Mode::idle && !finishing_ && !hopeless()) open(at);
    }

    /// The request goes out at once, as far as the socket takes it.
    void send(std::size_t at, Clock::time_point started) {
        connections_[at].send(started);
        proceed(at);
    }

    /// Sends what is due; returns the time. A request counts from when this loop could have sent it, so that a
    /// generator that woke late is not blamed on the proxy, while a request that found every connection busy is.
    Clock::time_point send_due(Clock::time_point now) {
        if (due_ == Clock::time_point{}) due_ = now;
        for (; due_ <= now; due_ += std::chrono::nanoseconds(1'000'000'000 / plan_.rate)) {
            if (free_.empty()) {
                overdue_.push_back(now);
                if (overdue_.size() > plan_.rate * 5) fail("the rate cannot be met");
                continue;
            }
            std::size_t at = free_.front();
            free_.pop_front();
            send(at, Clock::now());
        }
        return now;
    }

    // ---- the account

    bool warm() const { return hopeless() || tally_.answered >= connections_.size(); }

    void count_mishap(Mishap mishap, const std::string& detail) {
        ++mishaps_[static_cast<std::size_t>(mishap)];
        if (++mishap_count_ <= 3)
            std::fprintf(stderr, "%s: %s\n", mishap_names[static_cast<std::size_t>(mishap)].data(), detail.c_str());
    }
    bool hopeless() const { return mishap_count_ > mishaps_borne; }
    bool finished() const { return hopeless() || tally_.answered >= plan_.requests; }
    bool all_well() const { return mishap_count_ == 0; }

    std::string mishaps_json() const {
        std::string json = "\"mishaps\":{";
        for (std::size_t at = 0; at < mishaps; ++at) {
            if (mishaps_[at] == 0) continue;
            if (json.back() != '{') json += ',';
            json += '"' + std::string(mishap_names[at]) + "\":" + std::to_string(mishaps_[at]);
        }
        return json + "}";
    }

    void print(const Tally& seen, std::chrono::nanoseconds took, std::chrono::nanoseconds cpu) const {
        double seconds = std::chrono::duration<double>(took).count();
        double cpu_us = std::chrono::duration<double, std::micro>(cpu).count();
        auto requests = static_cast<double>(seen.answered);
        double gigabytes = static_cast<double>(std::max<std::uint64_t>(seen.bytes, 1)) / 1e9;
        std::printf(
            "{\"requests\":%lu,\"seconds\":%.3f,\"requests_per_second\":%.1f,\"bytes\":%lu,"
            "\"p50_us\":%.2f,\"p99_us\":%.2f,\"cpu_us_per_request\":%.3f,\"cpu_s_per_gb\":%.4f,\"cpu_share\":%.3f,"
            "\"resident_kib_before\":%lu,\"resident_kib_grown\":%lu,%s}\n",
            seen.answered, seconds, requests / seconds, seen.bytes, seen.latency.microseconds_at(0.50),
            seen.latency.microseconds_at(0.99), cpu_us / std::max(requests, 1.0), cpu_us / 1e6 / gigabytes,
            cpu_us / 1e6 / seconds, resident_before_, resident_peak_ - resident_before_, mishaps_json().c_str());
    }

    const Plan& plan_;
    Watched watched_;
    Poll poll_;
    std::vector<char> scratch_;
    std::vector<Connection> connections_;
    std::size_t opened_ = 0;
    std::deque<std::size_t> free_;           // paced: connections at rest, the longest rested first
    std::deque<Clock::time_point> overdue_;  // paced: requests that found no connection at rest
    Clock::time_point due_{};                // paced: when the next request is due
    Tally tally_;
    bool finishing_ = false;
    std::uint64_t resident_before_ = 0;
    std::uint64_t resident_peak_ = 0;
    std::uint64_t mishaps_[bench::mishaps] = {};
    std::uint64_t mishap_count_ = 0;
};

Mode to_mode(const std::string& name) {
    if (name == "closed") return Mode::closed;
    if (name == "paced") return Mode::paced;
    if (name == "fresh") return Mode::fresh;
    if (name == "idle") return Mode::idle;
    fail("--mode is closed, paced, fresh or idle");
}

/// The request of the plan, written once.
Script write_script(Options& options) {
    Script script;
    std::string via = options.text("via", "direct");
    std::string host = options.text("host", "bench.test");
    std::string authority = options.text("authority", host + ":443");
    std::uint64_t post = options.number("post", 0);
    script.port = static_cast<std::uint16_t>(options.number("port", 0));
    script.answer = options.number("bytes", 1024);
    script.tls_name = host;
    script.resume = options.number("resume", 0) == 1;
    script.any_answer = options.number("any-answer", 0) == 1;
    if (via != "direct" && via != "connect" && via != "absolute") fail("--via is direct, connect or absolute");
    if (via == "connect") script.connect = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
    script.request = std::string(post > 0 ? "POST " : "GET ") + (via == "absolute" ? "http://" + host : "") +
                     "/bytes/" + std::to_string(script.answer) + " HTTP/1.1\r\nHost: " + host +
                     "\r\nUser-Agent: bench/1\r\nAccept: */*\r\n";
    if (post > 0)
        script.request += "Content-Type: application/octet-stream\r\nContent-Length: " + std::to_string(post) + "\r\n";
    script.filler.assign(std::min<std::uint64_t>(post, 256 * 1024), 'y');
    script.request += "\r\n" + script.filler;
    script.request_rest = post - script.filler.size();
    return script;
}

int run(Options options) {
    Plan plan;
    plan.script = write_script(options);
    plan.mode = to_mode(options.text("mode", "closed"));
    plan.connections = options.number("connections", 32);
    plan.rate = options.number("rate", 3000);
    plan.requests = options.number("requests", 100'000'000);
    plan.warmup = std::chrono::milliseconds(options.number("warmup-ms", 700));
    plan.window = std::chrono::milliseconds(options.number("window-ms", 3000));
    plan.hold = options.number("hold", 0) == 1;
    plan.watch = options.text("watch", "");
    std::string trusted = options.text("tls-ca", "");
    options.none_left();
    if (plan.connections == 0 || plan.connections > 50'000) fail("--connections is 1 to 50000");
    if (plan.rate == 0 || plan.rate > 1'000'000) fail("--rate is 1 to 1000000");

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1UL);  // a paced request goes out when it is due, not 50 us later
    signal(SIGPIPE, SIG_IGN);
    SslContext tls;
    if (!trusted.empty()) {
        tls = make_tls_context(TLS_client_method());
        if (SSL_CTX_load_verify_file(tls.get(), trusted.c_str()) != 1) fail("--tls-ca " + trusted);
        SSL_CTX_set_verify(tls.get(), SSL_VERIFY_PEER, nullptr);
        plan.script.tls = tls.get();
    }
    return Load(plan).run();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
    return sluice::bench::run({argc, argv});
}
