#include "proxy/telemetry/metrics.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <sstream>

using namespace sluice;

namespace {

constexpr TimePoint now{100h};

Vendor make_vendor(std::string name, std::size_t index, std::vector<std::string> routes = {}) {
    Vendor vendor;
    vendor.name = std::move(name);
    vendor.index = index;
    for (std::string& route : routes) {
        const std::size_t at = vendor.routes.size();
        vendor.routes.push_back({.name = std::move(route), .index = at});
    }
    return vendor;
}

// pay (routes charges, rates, and a second one named rates), llm, and one that nobody uses.
std::shared_ptr<Config> make_config() {
    auto config = std::make_shared<Config>();
    config->vendors.push_back(make_vendor("pay", 0, {"charges", "rates", "rates"}));
    config->vendors.push_back(make_vendor("llm", 1));
    config->vendors.push_back(make_vendor("unused", 2));
    config->unmatched_vendor = make_vendor("_other", 3);
    return config;
}

struct Fixture {
    std::shared_ptr<Config> config = make_config();
    const Vendor& pay = config->vendors[0];
    const Vendor& llm = config->vendors[1];
    Metrics metrics{2};
    WorkerMeters& worker = metrics.add_worker();

    Fixture() {
        metrics.enrol(*config);
        metrics.loaded(true, WallTime(1'700'000'000s));
    }

    ExchangeRecord exchange(unsigned status = 200) const {
        ExchangeRecord record;
        record.vendor = record.serving = &pay;
        record.route = &pay.routes[0];
        record.method = "GET";
        record.status = status;
        return record;
    }

    // Every series with its value, as Prometheus would read them. A series that comes twice fails the test.
    std::map<std::string, double> scrape() const {
        std::map<std::string, double> series;
        std::istringstream text(metrics.scrape(0, now));
        for (std::string line; std::getline(text, line);) {
            if (line.starts_with('#')) continue;
            const std::size_t space = line.rfind(' ');
            REQUIRE(space != line.npos);
            REQUIRE(series.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second);
        }
        return series;
    }
    double value(const std::string& name) const {
        const auto series = scrape();
        INFO(name);
        REQUIRE(series.contains(name));
        return series.at(name);
    }
    // How many series a family has, and what they sum up to.
    std::pair<std::size_t, double> family(const std::string& name) const {
        std::pair<std::size_t, double> found;
        for (const auto& [series, value] : scrape()) {
            if (!series.starts_with(name + '{')) continue;
            ++found.first;
            found.second += value;
        }
        return found;
    }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "an exchange is counted by vendor, route, method, status and outcome") {
    worker.record(exchange());
    worker.record(exchange());
    ExchangeRecord failed = exchange(504);
    failed.route = nullptr;
    failed.method = "POST";
    failed.outcome = Outcome::failed;
    failed.reason = Reason::timeout_first_byte;
    worker.record(failed);

    CHECK(value(R"(sluice_requests_total{vendor="pay",route="charges",method="GET",code="200",outcome="vendor"})") ==
          2);
    CHECK(value(R"(sluice_requests_total{vendor="pay",route="_none",method="POST",code="504",outcome="failed"})") == 1);
    CHECK(value(R"(sluice_rejected_total{vendor="pay",reason="timeout_first_byte"})") == 1);
    CHECK(family("sluice_requests_total").first == 2);
}

TEST_CASE_METHOD(Fixture, "an exchange that another vendor served is counted as the one's that was named, and what was done as the other's") {
    worker.attempted(pay, "one.example", "failed", 20ms);
    worker.carried(pay, {10, 3});
    worker.attempted(llm, "two.example", "connect_failed", {});
    worker.attempted(llm, "two.example", "ok", 300ms);
    ExchangeRecord record = exchange();
    record.outcome = Outcome::fallback;
    record.serving = &llm;
    record.traffic = {12, 500};
    record.scrubbed = 2;
    worker.record(record);

    CHECK(value(R"(sluice_requests_total{vendor="pay",route="charges",method="GET",code="200",outcome="fallback"})") ==
          1);
    CHECK(family("sluice_requests_total").first == 1);
    CHECK(family("sluice_request_duration_seconds_count").first == 1);
    CHECK(value(R"(sluice_bytes_total{vendor="pay",direction="to_vendor"})") == 10);
    CHECK(value(R"(sluice_bytes_total{vendor="pay",direction="from_vendor"})") == 3);
    CHECK(value(R"(sluice_bytes_total{vendor="llm",direction="to_vendor"})") == 12);
    CHECK(value(R"(sluice_bytes_total{vendor="llm",direction="from_vendor"})") == 500);
    CHECK(value(R"(sluice_time_to_first_byte_seconds_sum{vendor="pay"})") == 0.02);
    CHECK(value(R"(sluice_time_to_first_byte_seconds_count{vendor="llm"})") == 1);
    CHECK(value(R"(sluice_time_to_first_byte_seconds_sum{vendor="llm"})") == 0.3);
    CHECK(value(R"(sluice_scrubbed_secrets_total{vendor="llm"})") == 2);
    CHECK(value(R"(sluice_scrubbed_secrets_total{vendor="pay"})") == 0);
    CHECK(value(R"(sluice_attempts_total{vendor="pay",endpoint="one.example",result="failed"})") == 1);
}

TEST_CASE_METHOD(Fixture, "an exchange of no vendor is counted as _other, without its host or path") {
    ExchangeRecord record;
    record.authority = "evil.example";
    record.path = "/secret-path";
    record.method = "GET";
    record.status = 403;
    record.outcome = Outcome::refused;
    record.reason = Reason::unknown_vendor;
    worker.record(record);
    record.vendor = &config->unmatched_vendor;  // one and the same
    worker.record(record);

    CHECK(value(R"(sluice_requests_total{vendor="_other",route="_none",method="GET",code="403",outcome="refused"})") ==
          2);
    CHECK(value(R"(sluice_rejected_total{vendor="_other",reason="unknown_vendor"})") == 2);
    const std::string text = metrics.scrape(0, now);
    CHECK(text.find("evil") == text.npos);
    CHECK(text.find("secret-path") == text.npos);
}

TEST_CASE_METHOD(Fixture, "methods and statuses that are none are folded into one") {
    const auto [method, status, method_label, code_label] =
        GENERATE(table<std::string, unsigned, std::string, std::string>({
            {"GET", 100, "GET", "100"},
            {"UPDATEREDIRECTREF", 599, "UPDATEREDIRECTREF", "599"},
            {"PROPFIND", 207, "PROPFIND", "207"},
            {"get", 200, "_other", "200"},
            {"BREW", 418, "_other", "418"},
            {"", 200, "_other", "200"},
            {"GET", 99, "GET", "_other"},
            {"GET", 600, "GET", "_other"},
            {"GET", 999, "GET", "_other"},
            {"GET", 4294967295u, "GET", "_other"},
            {"GET", 0, "GET", "_none"},
        }));
    ExchangeRecord record = exchange(status);
    record.method = method;
    worker.record(record);
    CHECK(value("sluice_requests_total{vendor=\"pay\",route=\"charges\",method=\"" + method_label + "\",code=\"" +
                code_label + "\",outcome=\"vendor\"}") == 1);
}

TEST_CASE_METHOD(Fixture, "no mix of methods and statuses makes series without end, and none goes uncounted") {
    const std::vector<std::string> methods{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"};
    std::size_t sent = 0;
    for (const std::string& method : methods) {
        for (unsigned status = 0; status < 1000; ++status, ++sent) {
            ExchangeRecord record = exchange(status);
            record.method = method;
            worker.record(record);
        }
    }
    const auto [series, sum] = family("sluice_requests_total");
    CHECK(series <= WorkerMeters::max_request_series + 1);
    CHECK(sum == sent);
}

TEST_CASE_METHOD(Fixture, "a scrape sums over workers") {
    WorkerMeters& second = metrics.add_worker();
    worker.record(exchange());
    second.record(exchange());
    second.record(exchange(404));
    worker.began(pay);
    second.began(pay);
    second.ended(pay);

    CHECK(value(R"(sluice_requests_total{vendor="pay",route="charges",method="GET",code="200",outcome="vendor"})") ==
          2);
    CHECK(value(R"(sluice_requests_total{vendor="pay",route="charges",method="GET",code="404",outcome="vendor"})") ==
          1);
    CHECK(value(R"(sluice_request_duration_seconds_count{vendor="pay",route="charges"})") == 3);
    CHECK(value(R"(sluice_inflight{vendor="pay"})") == 1);
}

TEST_CASE_METHOD(Fixture, "two routes of one name are one series") {
    ExchangeRecord record = exchange();
    for (const std::size_t route : {1u, 2u}) {
        record.route = &pay.routes[route];
        worker.record(record);
    }
    CHECK(value(R"(sluice_requests_total{vendor="pay",route="rates",method="GET",code="200",outcome="vendor"})") == 2);
    CHECK(value(R"(sluice_request_duration_seconds_count{vendor="pay",route="rates"})") == 2);
}

TEST_CASE_METHOD(Fixture, "durations fall into the first bucket that is not below them") {
    struct Case {
        Duration duration;
        std::string first;  // the lowest bucket that counts it
        std::string below;  // the one before
    };
    const auto [duration, first, below] = GENERATE(values<Case>({
        {0ns, "0.001", ""},
        {-5s, "0.001", ""},
        {1ms, "0.001", ""},
        {1ms + 1ns, "0.0025", "0.001"},
        {250ms, "0.25", "0.1"},
        {59s, "60", "30"},
        {300s, "300", "120"},
        {301s, "+Inf", "300"},
        {24h, "+Inf", "300"},
    }));
    ExchangeRecord record = exchange();
    record.duration = duration;
    worker.record(record);
    worker.attempted(pay, "", "ok", duration);

    const auto check = [&](const std::string& name, const std::string& labels) {
        CHECK(value(name + "_bucket{" + labels + ",le=\"" + first + "\"}") == 1);
        if (!below.empty()) CHECK(value(name + "_bucket{" + labels + ",le=\"" + below + "\"}") == 0);
        CHECK(value(name + "_bucket{" + labels + ",le=\"+Inf\"}") == 1);
        CHECK(value(name + "_count{" + labels + "}") == 1);
        const double seconds = std::max(std::chrono::duration<double>(duration).count(), 0.0);
        CHECK(value(name + "_sum{" + labels + "}") == Approx(seconds));
    };
    check("sluice_request_duration_seconds", R"(vendor="pay",route="charges")");
    check("sluice_time_to_first_byte_seconds", R"(vendor="pay")");
}

TEST_CASE_METHOD(Fixture, "an attempt that was not answered has no time to its first byte") {
    ExchangeRecord record = exchange(503);
    record.phases.first_byte = 1ms;  // of waiting in vain
    worker.record(record);
    worker.attempted(pay, "", "timeout_first_byte", {});
    CHECK(family("sluice_time_to_first_byte_seconds_count").first == 0);
}

TEST_CASE_METHOD(Fixture, "every reason has its own series of rejections") {
    for (std::size_t i = 0; i < reason_count; ++i) {
        ExchangeRecord record = exchange(502);
        record.reason = static_cast<Reason>(i);
        worker.record(record);
    }
    for (std::size_t i = 0; i < reason_count; ++i) {
        const std::string reason(name_of(static_cast<Reason>(i)));
        CHECK(value("sluice_rejected_total{vendor=\"pay\",reason=\"" + reason + "\"}") == 1);
    }
}

TEST_CASE_METHOD(Fixture, "bytes, connections and handshakes are counted by vendor") {
    ExchangeRecord record = exchange();
    record.traffic = {1000, 5'000'000'000};
    worker.record(record);
    worker.record(record);
    worker.connections_moved(pay.series.get(), +1, 0);
    worker.connections_moved(pay.series.get(), -1, +1);
    worker.connections_moved(llm.series.get(), +1, 0);
    worker.handshaken(llm, false);
    worker.handshaken(llm, true);
    worker.handshaken(llm, true);

    CHECK(value(R"(sluice_bytes_total{vendor="pay",direction="to_vendor"})") == 2000);
    CHECK(value(R"(sluice_bytes_total{vendor="pay",direction="from_vendor"})") == 1e10);
    CHECK(value(R"(sluice_upstream_connections{vendor="pay",state="active"})") == 0);
    CHECK(value(R"(sluice_upstream_connections{vendor="pay",state="idle"})") == 1);
    CHECK(value(R"(sluice_upstream_connections{vendor="llm",state="active"})") == 1);
    CHECK(value(R"(sluice_upstream_handshakes_total{vendor="llm",resumed="false"})") == 1);
    CHECK(value(R"(sluice_upstream_handshakes_total{vendor="llm",resumed="true"})") == 2);
}

TEST_CASE_METHOD(Fixture, "attempts are counted by endpoint and result, and one at nobody's endpoint as _other") {
    worker.attempted(pay, "api.eu1.pay.example", "ok", {});
    worker.attempted(pay, "api.eu1.pay.example", "ok", {});
    worker.attempted(pay, "api.eu1.pay.example", "connect_failed", {});
    worker.attempted(pay, "api.eu1.pay.example", "no word of ours", {});
    worker.attempted(pay, "api.eu1.pay.example", "abandoned", {});
    worker.attempted(config->unmatched_vendor, "", "ok", {});

    CHECK(value(R"(sluice_attempts_total{vendor="pay",endpoint="api.eu1.pay.example",result="ok"})") == 2);
    CHECK(value(R"(sluice_attempts_total{vendor="pay",endpoint="api.eu1.pay.example",result="connect_failed"})") == 1);
    CHECK(value(R"(sluice_attempts_total{vendor="pay",endpoint="api.eu1.pay.example",result="_other"})") == 1);
    CHECK(value(R"(sluice_attempts_total{vendor="pay",endpoint="api.eu1.pay.example",result="abandoned"})") == 1);
    CHECK(value(R"(sluice_attempts_total{vendor="_other",endpoint="_other",result="ok"})") == 1);
}

TEST_CASE_METHOD(Fixture, "endpoints and faults that come and go with policies make no series without end, and none goes uncounted") {
    const int many = 3 * static_cast<int>(WorkerMeters::max_names);
    for (int i = 0; i < many; ++i) {
        worker.attempted(pay, "api-" + std::to_string(i) + ".pay.example", "ok", {});
        worker.injected(pay, "delay " + std::to_string(i) + "ms");
    }
    for (const std::string name : {"sluice_attempts_total", "sluice_chaos_injected_total"}) {
        const auto [series, sum] = family(name);
        CHECK(series == WorkerMeters::max_names + 1);
        CHECK(sum == many);
    }
}

TEST_CASE_METHOD(Fixture, "a vendor that nobody used has no series") {
    worker.record(exchange());
    const std::string text = metrics.scrape(0, now);
    CHECK(text.find("unused") == text.npos);
    CHECK(text.find("llm") == text.npos);
}

TEST_CASE_METHOD(Fixture,
                 "the process tells its version, when its policy was loaded and how many log lines were lost") {
    const std::string text = metrics.scrape(7, now);
    CHECK(text.find("sluice_build_info{version=\"" SLUICE_VERSION "\"} 1\n") != text.npos);
    CHECK(text.find("sluice_config_last_reload_successful 1\n") != text.npos);
    CHECK(text.find("sluice_config_last_reload_success_timestamp_seconds 1700000000\n") != text.npos);
    CHECK(text.find("sluice_log_dropped_total 7\n") != text.npos);
}

TEST_CASE_METHOD(Fixture, "each family is told of once, with a help and a type that fits its name") {
    worker.began(pay);
    ExchangeRecord record = exchange();
    record.reason = Reason::bad_request;
    worker.record(record);
    worker.attempted(pay, "", "ok", 1ms);
    worker.moved(pay, "api.pay.example", Breaker::State::open);
    worker.injected(pay, "reset");
    worker.used_tokens(pay, 1, 1);

    std::set<std::string> helped;
    std::map<std::string, std::string> types;
    std::istringstream text(metrics.scrape(0, now));
    for (std::string line; std::getline(text, line);) {
        std::istringstream words(line);
        std::string hash, kind, name, rest;
        words >> hash >> kind >> name;
        std::getline(words, rest);
        if (kind == "HELP") CHECK((helped.insert(name).second && rest.size() > 10));
        if (kind == "TYPE") CHECK(types.emplace(name, rest.substr(1)).second);
    }
    CHECK(types.size() == 17);
    for (const auto& [name, type] : types) {
        INFO(name);
        CHECK(name.starts_with("sluice_"));
        CHECK(helped.contains(name));
        CHECK(name.ends_with("_total") == (type == "counter"));
        if (type == "histogram") CHECK(name.ends_with("_seconds"));
    }
}

namespace {

// The next policy: llm and pay have changed places, `unused` is gone, pay's routes are others in another order.
std::shared_ptr<Config> next_policy() {
    auto config = std::make_shared<Config>();
    config->vendors.push_back(make_vendor("llm", 0));
    config->vendors.push_back(make_vendor("new", 1));
    config->vendors.push_back(make_vendor("pay", 2, {"rates", "refunds", "charges"}));
    config->unmatched_vendor = make_vendor("_other", 3);
    return config;
}

const std::string charges = R"(sluice_requests_total{vendor="pay",route="charges",method="GET",code="200",outcome="vendor"})";

}  // namespace

TEST_CASE_METHOD(Fixture, "vendors and routes that stay go on counting under the next policy, whatever their place in it") {
    worker.record(exchange());
    worker.connections_moved(pay.series.get(), 0, +1);
    const auto next = next_policy();
    metrics.enrol(*next);
    CHECK(value(charges) == 1);

    ExchangeRecord record = exchange();
    record.vendor = &next->vendors[2];
    record.route = &next->vendors[2].routes[2];
    worker.record(record);
    record.route = &next->vendors[2].routes[1];
    worker.record(record);
    worker.record(exchange());  // one that began before, and is only over now
    CHECK(value(charges) == 3);
    CHECK(value(R"(sluice_requests_total{vendor="pay",route="refunds",method="GET",code="200",outcome="vendor"})") == 1);
    CHECK(value(R"(sluice_request_duration_seconds_count{vendor="pay",route="charges"})") == 3);
    CHECK(value(R"(sluice_upstream_connections{vendor="pay",state="idle"})") == 1);
}

TEST_CASE_METHOD(Fixture, "a vendor that left is told of until nothing of it is under way") {
    worker.began(pay);
    worker.record(exchange());
    auto next = std::make_shared<Config>();
    next->vendors.push_back(make_vendor("llm", 0));
    next->unmatched_vendor = make_vendor("_other", 1);
    metrics.enrol(*next);
    CHECK(value(R"(sluice_inflight{vendor="pay"})") == 1);
    CHECK(value(charges) == 1);
    worker.ended(pay);
    CHECK(metrics.scrape(0, now).find("pay") == std::string::npos);

    const auto back = make_config();  // while the first policy is still held
    metrics.enrol(*back);
    CHECK(value(charges) == 1);
    CHECK(back->vendors[0].series == pay.series);
}

TEST_CASE_METHOD(Fixture, "what was counted of a vendor goes with the last policy and connection that had it") {
    worker.record(exchange());
    const std::weak_ptr<VendorSeries> series = pay.series;
    auto connection = series.lock();
    auto next = std::make_shared<Config>();
    metrics.enrol(*next);
    config.reset();
    CHECK(!series.expired());
    connection.reset();
    CHECK(series.expired());
    metrics.enrol(*next);
    CHECK(metrics.scrape(0, now).find("pay") == std::string::npos);
}

TEST_CASE_METHOD(Fixture, "route names without end are folded into one, and none goes uncounted") {
    std::size_t sent = 0;
    for (int generation = 0; generation < 6; ++generation) {
        std::vector<std::string> names;
        for (int i = 0; i < 1000; ++i) names.push_back("route-" + std::to_string(generation) + "-" + std::to_string(i));
        Config policy;
        policy.vendors.push_back(make_vendor("pay", 0, names));
        metrics.enrol(policy);
        ExchangeRecord record = exchange();
        record.vendor = &policy.vendors[0];
        for (const Route& route : policy.vendors[0].routes) {
            record.route = &route;
            worker.record(record);
            ++sent;
        }
    }
    CHECK(family("sluice_requests_total").second == sent);
    CHECK(pay.series->routes.size() == VendorSeries::max_routes);
}

TEST_CASE_METHOD(Fixture, "a load that failed shows, and leaves the time of the last good one") {
    metrics.loaded(false, WallTime(1'800'000'000s));
    CHECK(value("sluice_config_last_reload_successful") == 0);
    CHECK(value("sluice_config_last_reload_success_timestamp_seconds") == 1'700'000'000);
    metrics.loaded(true, WallTime(1'900'000'000s));
    CHECK(value("sluice_config_last_reload_successful") == 1);
    CHECK(value("sluice_config_last_reload_success_timestamp_seconds") == 1'900'000'000);
}
