// The log's thread and the scrape, against readers that are slow, gone, or many.
#include "proxy/telemetry/telemetry.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

using namespace sluice;

namespace {

std::shared_ptr<Config> make_config() {
    auto config = std::make_shared<Config>();
    config->vendors.emplace_back().name = "pay";
    config->unmatched_vendor.name = "_other";
    config->unmatched_vendor.index = 1;
    return config;
}

// A pair of descriptors: the log is written into one end, a test reads the other.
struct Ends {
    int read = -1, write = -1;

    static Ends pipe() {
        int fds[2];
        REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
        return Ends(fds[0], fds[1]);
    }
    static Ends socket() {
        int fds[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        return Ends(fds[0], fds[1]);
    }
    Ends(int from, int to) : read(from), write(to) {}
    Ends(Ends&& other) noexcept : read(std::exchange(other.read, -1)), write(std::exchange(other.write, -1)) {}
    ~Ends() {
        close_read();
        close_write();
    }
    void close_read() { close_one(read); }
    void close_write() { close_one(write); }

    // Until the writers are gone.
    std::string rest() {
        close_write();
        std::string all;
        char buffer[65536];
        for (ssize_t got; (got = ::read(read, buffer, sizeof buffer)) > 0;) all.append(buffer, got);
        return all;
    }
    std::string line() {
        std::string text;
        for (char c; ::read(read, &c, 1) == 1 && c != '\n';) text += c;
        return text;
    }

  private:
    static void close_one(int& fd) {
        if (fd >= 0) ::close(std::exchange(fd, -1));
    }
};

ExchangeRecord exchange(const Config& config) {
    ExchangeRecord record;
    record.vendor = &config.vendors[0];
    record.request_id = "01HX";
    record.method = "GET";
    record.path = "/v1/charges";
    record.status = 200;
    return record;
}

std::size_t count_lines(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

double value_of(const Telemetry& telemetry, const std::string& series) {
    const std::string text = "\n" + telemetry.scrape();
    const std::size_t at = text.find("\n" + series + " ");
    return at == text.npos ? -1 : std::stod(text.substr(at + series.size() + 2));
}

// Records more than the writer lets wait.
std::size_t flood(WorkerJournal& journal, const Config& config) {
    const std::string path = '/' + std::string(999, 'p');
    ExchangeRecord record = exchange(config);
    record.path = path;
    const std::size_t lines = 12'000;  // 13 MB
    for (std::size_t i = 0; i < lines; ++i) journal.record(record);
    journal.flush();
    return lines;
}

}  // namespace

TEST_CASE("a line that was flushed is read while the process goes on") {
    auto config = make_config();
    Ends ends = GENERATE(0, 1) ? Ends::pipe() : Ends::socket();
    Telemetry telemetry(8, ends.write, LogFormat::json);
    telemetry.enrol(*config);
    const auto journal = telemetry.journal();
    CHECK_FALSE(journal->pending());
    journal->record(exchange(*config));
    CHECK(journal->pending());
    journal->flush();
    CHECK_FALSE(journal->pending());
    CHECK(ends.line().find(R"("request_id":"01HX")") != std::string::npos);
    telemetry.notice(Level::info, "started", {{"listen", "127.0.0.1:15001"}});
    CHECK(ends.line().find(R"("event":"started","listen":"127.0.0.1:15001"})") != std::string::npos);
}

TEST_CASE("a full buffer goes to the writer without a flush", "[multi-worker]") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    Telemetry telemetry(8, ends.write, LogFormat::json);
    telemetry.enrol(*config);
    const auto journal = telemetry.journal();
    std::size_t bytes = 0;
    for (; bytes < 65 * 1024; bytes += 150) journal->record(exchange(*config));  // a line has more than 150
    CHECK(ends.line().find("exchange") != std::string::npos);
    ends.close_read();  // or the rest would be waited for
}

TEST_CASE("what is left is written at the end") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    {
        Telemetry telemetry(8, ends.write, LogFormat::logfmt);
        telemetry.enrol(*config);
        const auto journal = telemetry.journal();
        for (int i = 0; i < 100; ++i) journal->record(exchange(*config));
    }
    CHECK(count_lines(ends.rest()) == 100);
}

TEST_CASE("nobody who reads: workers go on, lines are dropped and counted, and the end comes in time") {
    auto config = make_config();
    Ends ends = GENERATE(0, 1) ? Ends::pipe() : Ends::socket();
    auto telemetry = std::make_unique<Telemetry>(8, ends.write, LogFormat::json);
    telemetry->enrol(*config);
    auto journal = telemetry->journal();
    const std::size_t lines = flood(*journal, *config);  // a blocked worker would hang here
    const double dropped = value_of(*telemetry, "sluice_log_dropped_total");
    CHECK(dropped > 0);
    CHECK(dropped < lines);
    CHECK(value_of(*telemetry, R"(sluice_bytes_total{vendor="pay",direction="to_vendor"})") == 0);

    journal.reset();
    const auto before = std::chrono::steady_clock::now();
    telemetry.reset();
    CHECK(std::chrono::steady_clock::now() - before < 10s);  // a second, and what a loaded machine adds
}

TEST_CASE("a reader that comes late gets whole lines, as many as were not dropped", "[multi-worker]") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    std::size_t lines = 0, dropped = 0;
    std::future<std::string> text;
    {
        Telemetry telemetry(8, ends.write, LogFormat::json);
        telemetry.enrol(*config);
        const auto journal = telemetry.journal();
        lines = flood(*journal, *config);
        dropped = static_cast<std::size_t>(value_of(telemetry, "sluice_log_dropped_total"));
        REQUIRE(dropped > 0);
        text = std::async(std::launch::async, [&] { return ends.rest(); });
    }
    const std::string got = text.get();
    CHECK(count_lines(got) == lines - dropped);
    CHECK(got.ends_with("}\n"));
    CHECK(got.find("}{") == got.npos);
}

TEST_CASE("a reader that keeps up loses nothing, however much there is in all") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    Telemetry telemetry(8, ends.write, LogFormat::json);
    telemetry.enrol(*config);
    const auto journal = telemetry.journal();
    const std::string path = '/' + std::string(999, 'p');
    ExchangeRecord record = exchange(*config);
    record.path = path;
    std::string buffer(64 * 1024, '\0');
    for (int round = 0; round < 12; ++round) {  // 1 MB each, read before the next
        std::ptrdiff_t left = 1000;
        for (std::ptrdiff_t i = 0; i < left; ++i) journal->record(record);
        journal->flush();
        while (left > 0) {
            const ssize_t got = read(ends.read, buffer.data(), buffer.size());
            REQUIRE(got > 0);
            left -= std::count(buffer.begin(), buffer.begin() + got, '\n');
        }
        CHECK(left == 0);
    }
    CHECK(value_of(telemetry, "sluice_log_dropped_total") == 0);
}

TEST_CASE("a reader that went away is no signal and no crash") {
    auto config = make_config();
    Ends ends = GENERATE(0, 1) ? Ends::pipe() : Ends::socket();
    ends.close_read();
    {
        Telemetry telemetry(8, ends.write, LogFormat::json);
        telemetry.enrol(*config);
        for (int i = 0; i < 3; ++i) telemetry.notice(Level::info, "tick", {});
    }
    SUCCEED("SIGPIPE would have ended the test");
}

TEST_CASE("a descriptor that is none drops every line") {
    auto config = make_config();
    auto telemetry = std::make_unique<Telemetry>(8, -1, LogFormat::json);
    telemetry->enrol(*config);
    telemetry->notice(Level::info, "tick", {});
    const auto before = std::chrono::steady_clock::now();
    telemetry.reset();
    CHECK(std::chrono::steady_clock::now() - before < 10s);
}

TEST_CASE("the descriptor's flags, which others share, are left alone") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    const int flags = fcntl(ends.write, F_GETFL);
    Telemetry telemetry(8, ends.write, LogFormat::json);
    telemetry.enrol(*config);
    telemetry.notice(Level::info, "tick", {});
    ends.line();
    CHECK(fcntl(ends.write, F_GETFL) == flags);
}

TEST_CASE("workers count and log at once while others scrape, and nothing is lost", "[multi-worker]") {
    auto config = make_config();
    Ends ends = Ends::pipe();
    auto text = std::async(std::launch::async, [from = ends.read] {
        std::string all;
        char buffer[65536];
        for (ssize_t got; (got = ::read(from, buffer, sizeof buffer)) > 0;) all.append(buffer, got);
        return all;
    });
    constexpr int workers = 4, exchanges = 5000;
    {
        Telemetry telemetry(8, ends.write, LogFormat::json);
        telemetry.enrol(*config);
        std::atomic<int> running = workers;
        std::vector<std::thread> threads;
        for (int w = 0; w < workers; ++w) {
            threads.emplace_back([&, journal = telemetry.journal()]() mutable {
                ExchangeRecord record = exchange(*config);
                for (int i = 0; i < exchanges; ++i) {
                    record.status = 200 + i % 100;  // new series while the others scrape
                    journal->began(*record.vendor);
                    journal->attempted(*record.vendor, "api.pay.example", "ok", {});
                    journal->record(record);
                    journal->ended(*record.vendor);
                    if (i % 64 == 0) journal->flush();
                }
                journal.reset();
                --running;
            });
        }
        while (running > 0) {
            telemetry.notice(Level::info, "tick", {});
            REQUIRE(value_of(telemetry, "sluice_build_info{version=\"" SLUICE_VERSION "\"}") == 1);
        }
        for (std::thread& thread : threads) thread.join();

        CHECK(value_of(telemetry, R"(sluice_request_duration_seconds_count{vendor="pay",route="_none"})") ==
              workers * exchanges);
        CHECK(value_of(telemetry, R"(sluice_inflight{vendor="pay"})") == 0);
        CHECK(value_of(telemetry, "sluice_log_dropped_total") == 0);
    }
    ends.close_write();
    const std::string all = text.get();
    std::size_t lines = 0;
    for (std::size_t at = 0; (at = all.find("\"event\":\"exchange\"", at)) != all.npos; ++at) ++lines;
    CHECK(lines == workers * exchanges);
}
