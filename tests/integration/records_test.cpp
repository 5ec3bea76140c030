// What the one record of an exchange says, read from the log of the real proxy: why it ended, how long its phases took, how much went through, and nothing that is secret.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>
#include <sstream>
#include <thread>

#include "proxy/wire/h1_reply.hpp"
#include "proxy/wire/transport.hpp"
#include "tests/support/full_backlog.hpp"
#include "tests/support/proxy.hpp"
#include "tests/support/run_task.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

/// The line of the exchange that has `mark` in it, once it is logged.
boost::json::object record_with(const TestProxy& proxy, const std::string& mark) {
    std::string found;
    eventually([&] {
        std::istringstream lines(proxy.log());
        for (std::string line; std::getline(lines, line);)
            if (line.find("\"event\":\"exchange\"") != line.npos && line.find(mark) != line.npos) found = line;
        return !found.empty();
    });
    INFO(mark);
    REQUIRE_FALSE(found.empty());
    return boost::json::parse(found).as_object();
}

std::string text_in(const boost::json::object& record, std::string_view key) {
    const auto* value = record.if_contains(key);
    return value ? std::string(value->as_string()) : std::string();
}

/// -1: it is not there.
double number_in(const boost::json::object& record, std::string_view key) {
    const auto* value = record.if_contains(key);
    return value ? value->to_number<double>() : -1;
}

// Says nothing but what a handshake takes, and listens until the end.
void listen_only(Wire& wire) { wire.read_all(); }
void switch_and_listen(Wire& wire) {
    if (!wire.read_request()) return;
    wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    wire.read_all();
}

const std::string switch_fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";

}  // namespace

// ---- why it ended

TEST_CASE("a tunnel or an upgrade that ends because its own time is over is recorded as that, not as the vendor's fault") {
    FakeVendor silent(listen_only), switching(switch_and_listen);
    const bool upgrade = GENERATE(false, true), asked = GENERATE(false, true);
    const bool at_once = GENERATE(false, true);   // which of the two directions is the first to notice
    CAPTURE(upgrade, asked, at_once);
    const std::string total = asked ? "" : "timeout: {total: 200ms}\n";
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", upgrade ? switching : silent, false, total + (upgrade ? "" : "mode: tunnel\n")));
    const std::string lowered = asked ? "Sluice-Timeout: 200ms\r\n" : "";
    Wire app = Wire::to(proxy.port());
    if (upgrade)
        app.write("GET http://v.example/ws HTTP/1.1\r\nHost: v.example\r\n" + switch_fields + lowered + "\r\n" + (at_once ? "hello" : ""));
    else
        app.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n" + lowered + "\r\n" + (at_once ? "hello" : ""));
    const auto head = app.read_head();
    REQUIRE(head);
    REQUIRE(head->status() == (upgrade ? 101 : 200));
    if (!at_once) app.write("hello");
    CHECK(app.read_all().empty());

    const auto record = record_with(proxy, "\"vendor\":\"v\"");
    CHECK(text_in(record, "reason") == "timeout_total");
    CHECK(text_in(record, "outcome") == "failed");
    CHECK(text_in(record, "detail").find("total time") != std::string::npos);
    CHECK(text_in(record, "detail").find("the vendor closed") == std::string::npos);
    CHECK_FALSE(record.contains("gone"));
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="v",reason="timeout_total"})") == 1);
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="v",reason="upstream_reset"})") < 1);
}

TEST_CASE("an application that breaks a tunnel or an upgrade off is recorded as having gone away, not as the vendor's fault") {
    FakeVendor silent(listen_only), switching(switch_and_listen);
    const bool upgrade = GENERATE(false, true);
    CAPTURE(upgrade);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", upgrade ? switching : silent, false, upgrade ? "" : "mode: tunnel\n"));
    Wire app = Wire::to(proxy.port());
    app.write(upgrade ? "GET http://v.example/ws HTTP/1.1\r\nHost: v.example\r\n" + switch_fields + "\r\n" : "CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    REQUIRE(app.read_head());
    app.close(true);

    const auto record = record_with(proxy, "\"vendor\":\"v\"");
    CHECK(text_in(record, "reason") == "");
    CHECK(text_in(record, "detail") == "the application went away");
    CHECK(record.contains("gone"));
    CHECK(proxy.metric(R"(sluice_rejected_total{vendor="v",reason="upstream_reset"})") < 1);
}

namespace {

/// The transport alone, on a loop whose time is moved by hand: an hour is not waited for.
struct StreamBench {
    FakeVendor vendor;
    std::shared_ptr<Config> config = std::make_shared<Config>();
    Loop loop;
    int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    Telemetry telemetry{1, null, LogFormat::json};
    std::unique_ptr<WorkerJournal> journal = telemetry.journal();
    Resolver resolver{loop, {}};
    Dialler dialler{loop, resolver, {}};
    HttpTransport transport{loop, dialler, *journal};
    std::shared_ptr<ClientContexts> contexts;

    bool stopped = false, draining = false;
    H1Channel application{Origin::application};
    H1Reply reply{application, draining, stopped};
    std::optional<Wire> far_end;
    RequestHead request;
    ResponseHead response;
    Activity activity;
    Phases phases;
    Traffic traffic;
    RoundTrip trip;

    StreamBench(FakeVendor::Serve serve, bool upgrade) : vendor(std::move(serve)) {
        Vendor& made = config->vendors.emplace_back();
        made.name = "v";
        std::string fault;
        made.addresses.push_back(parse_range("127.0.0.0/8", fault).value());
        contexts = std::make_shared<ClientContexts>(*config);
        transport.adopt(contexts);

        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        application.attach(std::make_unique<Stream>(Socket(loop, ends[0])));
        far_end.emplace(ends[1]);
        application.start_raw(&traffic.to_vendor, &activity);
        reply.begin(upgrade ? "GET" : "CONNECT", 1, false);

        request.method = "GET";
        request.target = "/ws";
        trip.vendor = &made;
        trip.contexts = contexts.get();
        trip.destination = {Scheme::http, {"127.0.0.1", vendor.port(), true}, ""};
        trip.request = &request;
        trip.request_body = &application;
        trip.upgrade = upgrade;
        trip.limits.timeout = {};
        trip.limits.timeout.idle = 100ms;   // which an hour takes the place of
        trip.limits.total = later(Loop::now(), trip.limits.timeout.total);
        trip.activity = &activity;
        trip.application = &reply;
        trip.phases = &phases;
        trip.traffic = &traffic;
        trip.response = &response;
    }
    ~StreamBench() { ::close(null); }

    /// What is due until then, as if it were then.
    void come_to(TimePoint at) {
        const Clock::Hold hold(at);
        loop.wheel.advance(at);
    }
};

}  // namespace

TEST_CASE("a tunnel or an upgrade in which no byte moves for an hour ends as idle, whichever direction notices first") {
    const bool upgrade = GENERATE(false, true);
    CAPTURE(upgrade);
    StreamBench bench(upgrade ? switch_and_listen : listen_only, upgrade);
    const Result<void> opened = test::run(bench.loop, upgrade ? bench.transport.round_trip(bench.trip) : bench.transport.open_stream(bench.trip));
    REQUIRE(opened.has_value());
    ResponseHead head;
    head.status = upgrade ? 101 : 200;
    test::Running<Result<void>> delivering(bench.loop, bench.reply.deliver_stream(head, *bench.trip.response_body, bench.trip.limits, bench.activity));
    REQUIRE(bench.far_end->read_head());
    test::run_until(bench.loop, [&] { return bench.application.stream().staged() == 0; });

    const TimePoint last = bench.activity.last;
    bench.come_to(last + 59min);
    CHECK_FALSE(delivering.done());
    bench.come_to(last + 1h + 20ms);
    const Result<void> done = std::move(delivering.get());
    REQUIRE_FALSE(done.has_value());
    CHECK(name_of(done.error().reason) == "timeout_idle");
    CHECK(done.error().detail.find("no byte moved") != std::string::npos);
    test::Running<bool> finished(bench.loop, [](StreamBench& b) -> Task<bool> {
        co_await b.transport.finish(b.trip);
        co_return true;
    }(bench));
    CHECK(finished.get());
}

// ---- nothing that is secret

TEST_CASE("a password or a fragment in a target that is refused reaches neither the log nor the answer") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    const std::string own = "127.0.0.1:" + std::to_string(proxy.port());
    struct Row {
        std::string request, path;
    };
    const std::vector<Row> rows = {
        {"GET http://u:SECRET@v.example/a/b?q=SECRET HTTP/1.1\r\nHost: v.example\r\n\r\n", "/a/b"},
        {"GET http://u:SEC/RET@v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n", ""},
        {"GET https://u:SECRET@v.example HTTP/1.1\r\nHost: v.example\r\n\r\n", ""},
        {"GET ftp://u:SECRET@v.example/x HTTP/1.1\r\nHost: v.example\r\n\r\n", "/x"},
        {"GET http://v.example/a#access_token=SECRET HTTP/1.1\r\nHost: v.example\r\n\r\n", "/a"},
        {"GET u:SECRET@v.example/ HTTP/1.1\r\nHost: v.example\r\n\r\n", "/"},
        {"GET /v/a#access_token=SECRET HTTP/1.1\r\nHost: " + own + "\r\n\r\n", "/v/a"},
        {"CONNECT u:SECRET@v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n", ""},
        // Its framing is wrong before anybody looks at its target.
        {"POST http://u:SECRET@v.example/p HTTP/1.1\r\nHost: v.example\r\nContent-Length: -1\r\n\r\n", "/p"},
    };
    for (const Row& row : rows) {
        INFO(row.request);
        const Message answer = proxy.raw(row.request);
        CHECK(answer.status() == 400);
        CHECK(answer.body.find("SEC") == std::string::npos);
        const auto record = record_with(proxy, answer.field("sluice-request-id"));
        CHECK(text_in(record, "reason") == "bad_request");
        if (row.path.empty())
            CHECK(text_in(record, "path").find("SEC") == std::string::npos);
        else
            CHECK(text_in(record, "path") == row.path);
    }
    CHECK(proxy.log().find("SEC") == std::string::npos);
    CHECK(proxy.log().find("RET") == std::string::npos);
    CHECK(proxy.metrics().find("SEC") == std::string::npos);
}

// ---- how long its phases took, and how much went through

namespace {

constexpr std::initializer_list<const char*> phases_in_order = {"dns_ms", "connect_ms", "tls_ms", "first_byte_ms"};

/// Are exactly the first `count` phases there, none longer than the whole, nor all of them together?
void check_phases(const boost::json::object& record, std::size_t count) {
    double sum = 0;
    std::size_t i = 0;
    for (const char* phase : phases_in_order) {
        INFO(phase);
        const double time = number_in(record, phase);
        if (i++ < count) {
            CHECK(time >= 0);
            sum += std::max(time, 0.0);
        } else {
            CHECK(time == -1);
        }
    }
    CHECK(sum <= number_in(record, "duration_ms") + 0.01);
    CHECK(sum > 0);
}

}  // namespace

TEST_CASE("the record of an answer tells what each phase took and what went through; one on a kept connection has made none") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    Wire app = proxy.connected("v.example");
    std::vector<std::string> ids, bodies;
    for (int i = 0; i < 2; ++i) {
        app.write("POST /x HTTP/1.1\r\nHost: v.example\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n6\r\nsixsix\r\n0\r\n\r\n");
        const auto answer = app.read_response();
        REQUIRE(answer);
        REQUIRE(answer->status() == 200);
        ids.push_back(answer->field("sluice-request-id"));
        bodies.push_back(answer->body);
    }
    const auto first = record_with(proxy, ids[0]);
    check_phases(first, 4);
    CHECK(number_in(first, "bytes_to_vendor") == 10);
    CHECK(number_in(first, "bytes_from_vendor") == static_cast<double>(bodies[0].size()));

    const auto second = record_with(proxy, ids[1]);
    for (const char* phase : {"dns_ms", "connect_ms", "tls_ms"}) CHECK_FALSE(second.contains(phase));
    CHECK(number_in(second, "first_byte_ms") > 0);
    CHECK(number_in(second, "bytes_to_vendor") == 10);
}

TEST_CASE("the record of a failure tells what was spent in the phase that failed, and nothing of those that never came") {
    FullBacklog full;
    FakeVendor silent(listen_only);
    FakeVendor wrong(echo(), vendor_ca(), "other.example");
    FakeVendor slow([](Wire& wire) { wire.read_request(); wire.read_all(); }, vendor_ca());
    FakeVendor closing([](Wire& wire) { wire.read_request(); }, vendor_ca());
    std::uint16_t nobody = 0;
    {
        FakeVendor closed([](Wire&) {});
        nobody = closed.port();
    }
    const auto plain = [](const std::string& name, const std::string& authority) {
        return "  " + name + ": {hosts: [" + name + ".example], addresses: [127.0.0.0/8], retry: {max: 0}, timeout: {connect: 200ms}, endpoints: [{url: \"http://" + authority + "\"}]}\n";
    };
    TestProxy proxy("defaults: {timeout: {connect: 1m, tls: 1m}}\nvendors:\n" + plain("dns", "nobody.invalid") + plain("refusing", "127.0.0.1:" + std::to_string(nobody)) +
                    plain("hanging", "127.0.0.1:" + std::to_string(full.port())) + vendor_yaml("tls", "tls.example", silent, true, "retry: {max: 0}\ntimeout: {tls: 200ms}") +
                    vendor_yaml("wrong", "wrong.example", wrong, true, "retry: {max: 0}") + vendor_yaml("first", "first.example", slow, true, "retry: {max: 0}\ntimeout: {first_byte: 200ms}") +
                    vendor_yaml("total", "total.example", slow, true, "retry: {max: 0}\ntimeout: {total: 2s}") + vendor_yaml("closing", "closing.example", closing, true, "retry: {max: 0}"));
    struct Row {
        std::string vendor, reason, failed;
        std::size_t phases;   // the last of which is the one that failed
        double at_least;      // of it, in milliseconds
    };
    const std::vector<Row> rows = {
        {"dns", "dns_failed", "dns_ms", 1, 0},          {"refusing", "connect_failed", "connect_ms", 2, 0}, {"hanging", "timeout_connect", "connect_ms", 2, 199},
        {"tls", "timeout_tls", "tls_ms", 3, 200},       {"wrong", "tls_failed", "tls_ms", 3, 0},            {"first", "timeout_first_byte", "first_byte_ms", 4, 200},
        {"total", "timeout_total", "first_byte_ms", 4, 0}, {"closing", "upstream_reset", "first_byte_ms", 4, 0},
    };
    for (const Row& row : rows) {
        INFO(row.vendor);
        const Message answer = proxy.raw("GET http://" + row.vendor + ".example/ HTTP/1.1\r\nHost: " + row.vendor + ".example\r\n\r\n");
        if (row.vendor == "dns" && answer.reason() == "timeout_connect") continue;   // no name server that says so at once
        CHECK(answer.reason() == row.reason);
        const auto record = record_with(proxy, answer.field("sluice-request-id"));
        check_phases(record, row.phases);
        CHECK(number_in(record, row.failed) >= row.at_least);
    }
    // A time to the first byte of an answer is that of an answer.
    CHECK(proxy.metric(R"(sluice_time_to_first_byte_seconds_count{vendor="first"})") < 1);
    CHECK(proxy.metric(R"(sluice_time_to_first_byte_seconds_count{vendor="closing"})") < 1);
}

TEST_CASE("a timeout is met within 25 ms, and never before its time") {
    FakeVendor slow([](Wire& wire) {
        wire.read_request();
        wire.read_all();
    });
    const std::string rules = "retry: {max: 0}\nbreaker: {enabled: false}\n";
    TestProxy proxy("vendors:\n" + vendor_yaml("total", "total.example", slow, false, rules + "timeout: {total: 200ms}") + vendor_yaml("first", "first.example", slow, false, rules + "timeout: {first_byte: 200ms}"));
    constexpr std::size_t at_once = 6;
    // A machine under load is late by itself, now and then: of twenty rounds one has to be in time as a whole. Timers that are too coarse would be late by chance each, and so never all of them.
    double latest = 0;
    for (int round = 0; round < 20 && (round == 0 || latest > 25); ++round) {
        std::vector<Wire> apps;
        for (std::size_t i = 0; i < at_once; ++i) apps.push_back(Wire::to(proxy.port()));
        for (std::size_t i = 0; i < at_once; ++i) {
            const std::string host = i % 2 == 0 ? "total.example" : "first.example";
            apps[i].write("GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
            std::this_thread::sleep_for(7ms);   // so that they are due at different places of a tick
        }
        latest = 0;
        for (std::size_t i = 0; i < at_once; ++i) {
            const auto answer = apps[i].read_response();
            REQUIRE(answer);
            CHECK(answer->status() == 504);
            const auto record = record_with(proxy, answer->field("sluice-request-id"));
            const double late = number_in(record, i % 2 == 0 ? "duration_ms" : "first_byte_ms") - 200;
            CHECK(late >= -0.001);   // it is written in whole microseconds
            latest = std::max(latest, late);
        }
    }
    CHECK(latest <= 25);
}
