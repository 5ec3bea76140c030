// Connections to vendors that wait for their next request: for how long, and how many.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "proxy/wire/pool.hpp"
#include "tests/support/wire.hpp"

using namespace sluice;
using sluice::testing::Wire;

namespace {

/// As many descriptors as the machine allows, while it lives.
class ManyDescriptors {
  public:
    ManyDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit raised{before_.rlim_max, before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &raised);
    }
    ManyDescriptors(const ManyDescriptors&) = delete;
    ~ManyDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

/// A pool whose time is what the test says.
struct Bench {
    ManyDescriptors many;
    Loop loop;
    int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    Telemetry telemetry{1, null, LogFormat::json};
    std::unique_ptr<WorkerJournal> journal = telemetry.journal();
    Pool pool{*journal};
    TimePoint start = Loop::now();

    ~Bench() { ::close(null); }

    static PoolKey key(const std::string& host) { return {{}, Scheme::http, {host, 80, false}}; }

    /// Its other end, if anybody wants to look at it.
    std::unique_ptr<UpstreamConnection> connected(const std::string& host, std::optional<Wire>* vendor = nullptr) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        auto connection = std::make_unique<UpstreamConnection>(key(host));
        connection->channel.attach(std::make_unique<Stream>(Socket(loop, ends[0])));
        if (vendor)
            vendor->emplace(ends[1]);
        else
            vendors_.emplace_back(ends[1]);
        return connection;
    }

    std::size_t told_idle() const {
        const std::string text = telemetry.scrape();
        constexpr std::string_view series = R"(sluice_upstream_connections{vendor="_other",state="idle"} )";
        const auto at = text.find(series);
        return at == std::string::npos ? 0 : std::stoul(text.substr(at + series.size()));
    }

  private:
    std::vector<Wire> vendors_;
};

}  // namespace

TEST_CASE("a connection that was idle for a minute is not used again, and is closed when somebody looks") {
    Bench bench;
    std::optional<Wire> vendor;
    bench.pool.give(bench.connected("a.example", &vendor), bench.start);

    auto again = bench.pool.take(Bench::key("a.example"), true, bench.start + 60s - 1ms);
    REQUIRE(again);
    CHECK(again->reused);
    CHECK(bench.pool.idle() == 0);

    bench.pool.give(std::move(again), bench.start);
    bench.pool.sweep(bench.start + 60s - 1ms);
    CHECK(bench.pool.idle() == 1);
    const bool swept = GENERATE(true, false);
    if (swept)
        bench.pool.sweep(bench.start + 60s);
    else
        CHECK_FALSE(bench.pool.take(Bench::key("a.example"), true, bench.start + 60s));
    CHECK(bench.pool.idle() == 0);
    CHECK(bench.told_idle() == 0);
    CHECK(vendor->read_some().empty());
}

TEST_CASE("a vendor that promises less than a minute is believed, and what may not be sent twice trusts a connection for two seconds only") {
    Bench bench;
    bench.pool.give(bench.connected("a.example"), bench.start);
    CHECK_FALSE(bench.pool.take(Bench::key("a.example"), false, bench.start + 2s));
    bench.pool.give(bench.connected("a.example"), bench.start);
    CHECK(bench.pool.take(Bench::key("a.example"), false, bench.start + 2s - 1ms));

    const auto promised = [&] {
        auto connection = bench.connected("a.example");
        connection->keep_alive_for = 5s;
        bench.pool.give(std::move(connection), bench.start);
    };
    promised();
    CHECK(bench.pool.take(Bench::key("a.example"), false, bench.start + 4s - 1ms));  // a second less than its word
    promised();
    CHECK_FALSE(bench.pool.take(Bench::key("a.example"), false, bench.start + 4s));
    promised();
    bench.pool.sweep(bench.start + 5s - 1ms);
    CHECK(bench.pool.idle() == 1);
    bench.pool.sweep(bench.start + 5s);
    CHECK(bench.pool.idle() == 0);
}

TEST_CASE("at most 256 connections wait for one destination, and 2,048 in all: one more is closed") {
    Bench bench;
    constexpr std::size_t destinations = 8;
    const auto closes_one_more = [&](const std::string& host) {
        const std::size_t before = bench.pool.idle();
        std::optional<Wire> vendor;
        bench.pool.give(bench.connected(host, &vendor), bench.start);
        CHECK(bench.pool.idle() == before);
        CHECK(bench.told_idle() == before);
        CHECK(vendor->read_some().empty());
    };
    for (std::size_t i = 0; i < destinations; ++i) {
        const std::string host = std::to_string(i) + ".example";
        for (std::size_t j = 0; j < 256; ++j) bench.pool.give(bench.connected(host), bench.start);
        CHECK(bench.pool.idle() == (i + 1) * 256);
        closes_one_more(host);
    }
    REQUIRE(bench.pool.idle() == 2048);
    closes_one_more("another.example");

    REQUIRE(bench.pool.take(Bench::key("0.example"), true, bench.start));  // there is room again
    bench.pool.give(bench.connected("another.example"), bench.start);
    CHECK(bench.pool.idle() == 2048);
    closes_one_more("0.example");
    bench.pool.clear();
    CHECK(bench.pool.idle() == 0);
    CHECK(bench.told_idle() == 0);
}
