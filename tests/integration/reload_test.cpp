// Live reload: another policy comes into force while applications are served, or is refused, and nobody notices.
#include <catch2/catch.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proxy/app/commands.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace fs = std::filesystem;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int many = 100;
#else
constexpr int many = 1000;
#endif

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

boost::json::object json_of(const Message& message) {
    return boost::json::parse(message.body).as_object();
}

std::string messages(const boost::json::object& answer) {
    std::string all;
    for (const auto& fault : answer.at("faults").as_array()) all += std::string(fault.at("message").as_string()) + "\n";
    return all;
}

/// A reload that is asked for, and is good.
void reload(const TestProxy& proxy) {
    const Message answer = proxy.reload();
    INFO(answer.body);
    REQUIRE(answer.status() == 200);
    REQUIRE(json_of(answer).at("ok") == true);
}

/// Looks at files as a running Sluice does, only sooner.
constexpr ReloadTimes watching{20ms, 200ms, 1h};

/// A gate that one side opens and the other waits for, bounded.
class Gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    bool wait() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 10s, [this] { return open_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
};

std::string ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

const std::string requests_of_pay = R"(sluice_requests_total{vendor="pay",route="_none",method="GET",code="200",outcome="vendor"})";

}  // namespace

TEST_CASE("a reload puts another policy in force: rules change, vendors come and go") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "allow: [\"GET /v1/**\"]") +
                    vendor_yaml("old", "old.example", vendor, true));
    CHECK(proxy.get("pay.example", "/v1/x").status() == 200);
    CHECK(proxy.get("pay.example", "/v2/x").reason() == "not_allowed");
    CHECK(proxy.get("old.example").status() == 200);

    proxy.rewrite("vendors:\n" + vendor_yaml("fresh", "fresh.example", vendor, true) +
                  vendor_yaml("pay", "pay.example", vendor, true, "allow: [\"GET /v2/**\"]"));
    const Message answer = proxy.reload();
    CHECK(answer.status() == 200);
    CHECK(answer.field("content-type") == "application/json");
    const auto said = json_of(answer);
    CHECK(said.at("ok") == true);
    CHECK(said.at("changed") == true);
    CHECK(said.at("faults").as_array().empty());
    CHECK(proxy.get("pay.example", "/v2/x").status() == 200);
    CHECK(proxy.get("pay.example", "/v1/x").reason() == "not_allowed");
    CHECK(proxy.get("fresh.example").status() == 200);
    CHECK(proxy.raw("GET http://old.example/ HTTP/1.1\r\nHost: old.example\r\n\r\n").reason() == "unknown_vendor");
    CHECK(proxy.logs(R"("event":"reloaded","why":"admin")"));
    CHECK(holds(proxy.log(), "1 added, 1 removed, 1 changed"));
}

TEST_CASE("a bad policy is refused with all its faults, and the one from before runs on") {
    FakeVendor vendor(echo(), vendor_ca());
    const std::string good = "vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true);
    TestProxy proxy(good);
    CHECK(proxy.metric("sluice_config_last_reload_successful") == 1);
    const double loaded_at = proxy.metric("sluice_config_last_reload_success_timestamp_seconds");
    CHECK(loaded_at > 0);

    proxy.rewrite("vendors:\n  pay: {hosts: [pay.example], timeot: {}}\n  other: {hosts: [\"pay .example\"]}\n");
    const Message answer = proxy.reload();
    CHECK(answer.status() == 422);
    const auto said = json_of(answer);
    CHECK(said.at("ok") == false);
    CHECK(said.at("faults").as_array().size() == 2);
    CHECK(said.at("faults").at(0).at("line").as_int64() > 0);
    CHECK(holds(messages(said), "did you mean 'timeout'?"));
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(proxy.metric("sluice_config_last_reload_successful") == 0);
    CHECK(proxy.metric("sluice_config_last_reload_success_timestamp_seconds") == loaded_at);
    CHECK(proxy.logs(R"("event":"reload_refused","why":"admin")"));
    CHECK(holds(proxy.log(), "unknown key 'timeot'"));
    CHECK(holds(proxy.log(), "policy.yaml:6:"));

    proxy.rewrite(good);
    const auto again = json_of(proxy.reload());
    CHECK(again.at("ok") == true);
    CHECK(again.at("changed") == false);
    CHECK(proxy.metric("sluice_config_last_reload_successful") == 1);
    CHECK(proxy.metric("sluice_config_last_reload_success_timestamp_seconds") >= loaded_at);
}

TEST_CASE("a policy that is gone is refused, and the one from before runs on") {
    TestProxy proxy("");
    fs::remove(proxy.directory().path() + "/policy.yaml");
    const Message answer = proxy.reload();
    CHECK(answer.status() == 422);
    CHECK(holds(messages(json_of(answer)), "cannot be read"));
    proxy.rewrite("");
    CHECK(json_of(proxy.reload()).at("ok") == true);
}

TEST_CASE("what only a restart can change is refused, naming each key, and nothing else is taken from that policy") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("");
    const std::string more = "vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true);
    proxy.rewrite("authority: {ca: ephemeral}\n" + more, 3, "metrics: \"127.0.0.1:0\"");
    const Message answer = proxy.reload();
    CHECK(answer.status() == 422);
    const std::string said = messages(json_of(answer));
    CHECK(holds(said, "listen.metrics cannot change"));
    CHECK(holds(said, "workers cannot change while Sluice runs: it is 1 now and 3 here"));
    CHECK(holds(said, "authority.ca cannot change"));
    CHECK(json_of(answer).at("faults").as_array().size() == 3);
    CHECK(proxy.raw("GET http://pay.example/ HTTP/1.1\r\nHost: pay.example\r\n\r\n").reason() == "unknown_vendor");
    CHECK(proxy.metric("sluice_config_last_reload_successful") == 0);

    const std::string file = proxy.directory().path() + "/policy.yaml";
    std::ofstream(file) << "version: 1\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nworkers: 1\nstate: /elsewhere\n";
    CHECK(holds(messages(json_of(proxy.reload())), "state cannot change"));
}

TEST_CASE("a reload is asked for by POST, by nobody's web page, and on admin's own door") {
    TestProxy proxy("", 1, 10s, "metrics: \"127.0.0.1:0\"");
    const auto ask = [](std::uint16_t port, const std::string& method, const std::string& fields = "") {
        Wire wire = Wire::to(port);
        wire.write(method + " /reload HTTP/1.1\r\nHost: localhost:" + std::to_string(port) + "\r\n" + fields + "\r\n");
        return wire.read_response(method == "HEAD").value_or(Message{});
    };
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
        const Message answer = ask(proxy.admin_port(), method);
        CHECK(answer.status() == 405);
        CHECK(answer.field("allow") == "POST");
    }
    CHECK(ask(proxy.admin_port(), "POST", "Origin: https://evil.example\r\n").status() == 403);
    CHECK(ask(proxy.admin_port(), "POST", "Sec-Fetch-Site: cross-site\r\n").status() == 403);
    CHECK(ask(proxy.supervisor().addresses().metrics->port, "POST").status() >= 400);
    CHECK(!holds(proxy.log(), "reload"));
    CHECK(ask(proxy.admin_port(), "POST", "Content-Length: 0\r\n").status() == 200);
}

TEST_CASE("many who ask at once are all answered") {
    TestProxy proxy("");
    std::vector<Wire> wires;
    for (int i = 0; i < 30; ++i) {
        wires.push_back(Wire::to(proxy.admin_port()));
        wires.back().write("POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (Wire& wire : wires) CHECK(wire.read_response().value_or(Message{}).status() == 200);
}

TEST_CASE("a Sluice without a policy file says that it has none") {
    const TemporaryDirectory directory;
    const std::string text = "version: 1\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nworkers: 1\nstate: " + directory.path() + "\n";
    const auto config = decode_policy(text, "p", PolicyInputs::system()).config;
    REQUIRE(config);
    Supervisor::Options options;
    options.log_fd = -1;
    Supervisor supervisor(config, options);
    std::thread runner([&] { supervisor.run(); });
    Wire wire = Wire::to(supervisor.addresses().admin.port);
    wire.write("POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const auto answer = wire.read_response();
    supervisor.reload("nobody hears");
    supervisor.stop();
    runner.join();
    REQUIRE(answer);
    CHECK(answer->status() == 422);
    CHECK(holds(answer->body, "no policy file"));
}

// ---- what sets it off

TEST_CASE("a policy file that changes is read again: by rename, in place, once it is there again") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("", 1, 10s, "", watching);
    const auto known = [&](const std::string& host) {
        return eventually([&] { return proxy.raw("GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status() == 200; });
    };
    proxy.rewrite("vendors:\n" + vendor_yaml("a", "a.example", vendor, true));
    CHECK(known("a.example"));

    const std::string file = proxy.directory().path() + "/policy.yaml";
    std::ifstream in(file);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    text.replace(text.find("[a.example]"), 11, "[b.example]");
    std::ofstream(file) << text;
    CHECK(known("b.example"));

    fs::remove(file);
    CHECK(proxy.logs("reload_refused"));
    proxy.rewrite("vendors:\n" + vendor_yaml("c", "c.example", vendor, true));
    CHECK(known("c.example"));
    CHECK(holds(proxy.log(), R"("why":"files")"));
}

TEST_CASE("files that an include finds are watched: one that comes, changes, and goes") {
    FakeVendor vendor(echo(), vendor_ca());
    const TemporaryDirectory directory;
    fs::create_directory(directory.path() + "/conf.d");
    TestProxy proxy("include: [" + directory.path() + "/conf.d/*.yaml]\n", 1, 10s, "", watching);
    const auto status = [&](const std::string& host) { return proxy.raw("GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status(); };
    const auto yaml = [&](const std::string& host) {
        std::string text = "vendors:\n" + vendor_yaml("v", host, vendor, true);
        const std::string mark = "@dir";
        return text.replace(text.find(mark), mark.size(), proxy.directory().path());
    };
    CHECK(status("a.example") == 403);
    directory.file("conf.d/v.yaml", yaml("a.example"));
    CHECK(eventually([&] { return status("a.example") == 200; }));
    directory.file("conf.d/v.yaml", yaml("b.example"));
    CHECK(eventually([&] { return status("b.example") == 200; }));
    CHECK(status("a.example") == 403);
    fs::remove(directory.path() + "/conf.d/v.yaml");
    CHECK(eventually([&] { return status("b.example") == 403; }));
}

TEST_CASE("the swap of a ConfigMap's ..data is one reload") {
    FakeVendor vendor(echo(), vendor_ca());
    const TemporaryDirectory mount;
    const auto version = [&](const std::string& name, const std::string& host, const std::string& ca) {
        std::string text = "vendors:\n" + vendor_yaml("v", host, vendor, true);
        const std::string mark = "@dir";
        text.replace(text.find(mark), mark.size(), ca);
        fs::create_directory(mount.path() + "/" + name);
        mount.file(name + "/v.yaml", text);
        fs::create_symlink(name, mount.path() + "/..data_tmp");
        fs::rename(mount.path() + "/..data_tmp", mount.path() + "/..data");
    };
    const TemporaryDirectory ca;
    ca.file("vendor-ca.crt", vendor_ca().pem());
    version("..1", "a.example", ca.path());
    fs::create_symlink("..data/v.yaml", mount.path() + "/v.yaml");
    TestProxy proxy("include: [" + mount.path() + "/*.yaml]\n", 1, 10s, "", watching);
    const auto status = [&](const std::string& host) { return proxy.raw("GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status(); };
    CHECK(status("a.example") == 200);
    version("..2", "b.example", ca.path());
    CHECK(eventually([&] { return status("b.example") == 200; }));
    CHECK(status("a.example") == 403);
    version("..3", "c.example", ca.path());   // the links of the second are followed now
    CHECK(eventually([&] { return status("c.example") == 200; }));
    CHECK(!holds(proxy.log(), "reload_refused"));
}

TEST_CASE("what nobody noticed is seen when it is looked for") {
    FakeVendor vendor(echo(), vendor_ca());
    const ReloadTimes only_polls{1h, 1h, 50ms};
    // An event would make it wait for an hour of rest. There is none: a directory above those that are watched is replaced.
    const TemporaryDirectory directory;
    fs::create_directories(directory.path() + "/at/deep/conf.d");
    TestProxy proxy("include: [" + directory.path() + "/at/deep/conf.d/*.yaml]\n", 1, 10s, "", only_polls);
    fs::create_directories(directory.path() + "/next/deep/conf.d");
    std::string text = "vendors:\n" + vendor_yaml("v", "a.example", vendor, true);
    const std::string mark = "@dir";
    directory.file("next/deep/conf.d/v.yaml", text.replace(text.find(mark), mark.size(), proxy.directory().path()));
    fs::rename(directory.path() + "/at", directory.path() + "/before");
    fs::rename(directory.path() + "/next", directory.path() + "/at");
    CHECK(eventually([&] { return proxy.raw("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n").status() == 200; }));
}

TEST_CASE("SIGHUP makes `sluice run` read its policy again") {
    FakeVendor vendor(echo());
    const TemporaryDirectory directory;
    const auto policy = [&](const std::string& host) {
        return "version: 1\nstate: " + directory.path() + "/state\nworkers: 1\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", unix: " + directory.path() +
               "/proxy.sock}\nvendors:\n" + vendor_yaml("v", host, vendor, false);
    };
    const std::string file = directory.file("sluice.yaml", policy("a.example"));
    const int log = ::open("/dev/null", O_WRONLY | O_CLOEXEC), out = ::dup(STDOUT_FILENO);
    ::dup2(log, STDOUT_FILENO);   // its log goes there
    int code = -1;
    std::atomic<bool> over = false;
    std::thread running([&] {
        std::ostringstream text;
        Streams streams{Console(text, false, false), Console(text, false, false)};
        const char* argv[] = {"sluice", "run", "--config", file.c_str()};
        code = run_command_line(4, argv, streams);
        over = true;
    });
    const auto status = [&](const std::string& host) -> unsigned {
        try {
            Wire wire = Wire::to_unix(directory.path() + "/proxy.sock");
            wire.try_write("GET http://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
            return wire.read_response().value_or(Message{}).status();
        } catch (const std::runtime_error&) {
            return 0;
        }
    };
    CHECK(eventually([&] { return status("a.example") == 200 || over; }));
    CHECK(status("b.example") == 403);
    fs::rename(directory.file("new", policy("b.example")), file);
    if (!over) ::pthread_kill(running.native_handle(), SIGHUP);   // blocked there, and read by it
    CHECK(eventually([&] { return status("b.example") == 200; }));
    CHECK(status("a.example") == 403);
    if (!over) ::pthread_kill(running.native_handle(), SIGTERM);
    running.join();
    ::dup2(out, STDOUT_FILENO);
    ::close(out);
    ::close(log);
    CHECK(code == 0);
}

// ---- what goes on

TEST_CASE("an exchange that is under way ends under the policy that it began with") {
    Gate reloaded, begun;
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            begun.open();
            if (reloaded.wait()) wire.write("later");
            wire.read_request();
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true));
    Wire application = proxy.connected("pay.example");
    application.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    REQUIRE(begun.wait());
    proxy.rewrite("");
    reload(proxy);
    CHECK(proxy.metric(R"(sluice_inflight{vendor="pay"})") == 1);
    reloaded.open();
    const auto answer = application.read_response();
    REQUIRE(answer);
    CHECK(answer->body == "firstlater");
    CHECK(answer->whole);
    // The next one on the same connection is judged by what is in force now.
    application.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    const auto next = application.read_response();
    REQUIRE(next);
    CHECK(next->reason() == "unknown_vendor");
    CHECK(eventually([&] { return !holds(proxy.metrics(), "vendor=\"pay\""); }));
}

TEST_CASE("connections to a vendor that is reached as before live on, and so does what was counted of it") {
    FakeVendor vendor(echo(), vendor_ca());
    const std::string pay = vendor_yaml("pay", "pay.example", vendor, true, "timeout: {total: 30s}");
    TestProxy proxy("vendors:\n" + pay);
    // The application has its answer a moment before the connection is back in the pool.
    const auto at_rest = [&] { return proxy.metric(R"(sluice_upstream_connections{vendor="pay",state="idle"})") == 1; };
    for (int i = 0; i < 5; ++i) {
        CHECK(proxy.get("pay.example").status() == 200);
        CHECK(eventually(at_rest));
        // Another place in the policy, other rules beside how it is reached.
        const std::string other = "  a" + std::to_string(i) + ":\n    hosts: [a.example]\n";
        const std::string more = vendor_yaml("pay", "pay.example", vendor, true, "timeout: {total: " + std::to_string(i + 1) + "m}");
        proxy.rewrite("vendors:\n" + (i % 2 ? other + more : more + other));
        reload(proxy);
    }
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(eventually(at_rest));
    CHECK(vendor.connections() == 1);
    CHECK(eventually([&] { return proxy.metric(requests_of_pay) == 6; }));
}

TEST_CASE("a connection is not used again once its vendor is verified in another way") {
    FakeVendor vendor(echo(), vendor_ca());
    const auto yaml = [&](const std::string& more, const std::string& ca = "@dir/vendor-ca.crt") {
        return "vendors:\n  pay:\n    hosts: [pay.example]\n    endpoints: [{url: \"https://" + vendor.authority() + "\"}]\n" + more + "    tls: {ca: {file: " + ca + "}}\n";
    };
    const std::string addresses = "    addresses: [127.0.0.0/8, \"::1\"]\n";
    TestProxy proxy(yaml(addresses));
    REQUIRE(proxy.get("pay.example").status() == 200);
    REQUIRE(vendor.connections() == 1);
    const auto none_idle = [&] { return proxy.metric(R"(sluice_upstream_connections{vendor="pay",state="idle"})") == 0; };

    proxy.rewrite(yaml("    addresses: [127.0.0.0/8, \"::1\", 10.0.0.0/8]\n"));
    reload(proxy);
    CHECK(eventually(none_idle));   // closed at once, not when its time is up
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(vendor.connections() == 2);

    // The same policy, and other certificates in the file that it names.
    proxy.directory().file("vendor-ca.crt", vendor_ca().pem() + "\n" + proxy.ca());
    const auto said = json_of(proxy.reload());
    CHECK(said.at("ok") == true);
    CHECK(said.at("changed") == true);
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(vendor.connections() == 3);
    CHECK(json_of(proxy.reload()).at("changed") == false);

    // Without its address rules the old connection would be a way around them.
    proxy.rewrite(yaml(""));
    reload(proxy);
    CHECK(proxy.get("pay.example").reason() == "address_refused");
}

TEST_CASE("a connection that is busy during the reload is closed, not kept, when it may not serve again") {
    Gate reloaded, begun;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                begun.open();
                if (!reloaded.wait()) return;
                wire.write(ok("x"));
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true));
    Wire application = proxy.connected("pay.example");
    application.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    REQUIRE(begun.wait());
    proxy.rewrite("vendors:\n" + vendor_yaml("other", "pay.example", vendor, true));
    reload(proxy);
    reloaded.open();
    CHECK(application.read_response().value_or(Message{}).status() == 200);
    application.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    CHECK(application.read_response().value_or(Message{}).status() == 200);
    CHECK(vendor.connections() == 2);
    CHECK(eventually([&] { return !holds(proxy.metrics(), "vendor=\"pay\""); }));
}

TEST_CASE("certificates that cannot be read any more refuse the reload; what was broken before does not") {
    FakeVendor vendor(echo(), vendor_ca());
    const std::string broken = "  broken:\n    hosts: [broken.example]\n    tls: {ca: {file: /nonexistent/ca.crt}}\n";
    const std::string pay = vendor_yaml("pay", "pay.example", vendor, true);
    TestProxy proxy("vendors:\n" + broken + pay);
    CHECK(proxy.get("pay.example").status() == 200);

    proxy.rewrite("vendors:\n" + broken + pay + "  more: {hosts: [more.example]}\n");
    reload(proxy);
    const std::string ca = proxy.directory().path() + "/vendor-ca.crt";
    fs::rename(ca, ca + ".away");
    const Message refused = proxy.reload();
    CHECK(refused.status() == 422);
    CHECK(holds(messages(json_of(refused)), "vendors.pay.tls"));
    CHECK(!holds(messages(json_of(refused)), "vendors.broken.tls"));
    CHECK(proxy.get("pay.example").status() == 200);
    fs::rename(ca + ".away", ca);
    CHECK(json_of(proxy.reload()).at("ok") == true);
}

TEST_CASE("certificates are watched like the policy that names them") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true), 1, 10s, "", watching);
    CHECK(proxy.get("pay.example").status() == 200);
    proxy.directory().file("vendor-ca.crt", proxy.ca());   // no longer the vendor's
    CHECK(eventually([&] { return proxy.get("pay.example").reason() == "tls_failed"; }));
    proxy.directory().file("vendor-ca.crt", vendor_ca().pem());
    CHECK(eventually([&] { return proxy.get("pay.example").status() == 200; }));
}

TEST_CASE("a breaker that is open stays open through a reload that leaves its rules alone, and begins anew where they change") {
    FakeVendor vendor(always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), vendor_ca());
    const auto policy = [&](const std::string& breaker, const std::string& more) {
        return "vendors:\n" + more + vendor_yaml("pay", "pay.example", vendor, true, "retry: {max: 0}\nbreaker: {" + breaker + "}\n" + "owner: team" + std::to_string(more.size()));
    };
    TestProxy proxy(policy("consecutive: 2, open_for: 1m..5m", ""));
    CHECK(proxy.get("pay.example").reason().empty());
    CHECK(proxy.get("pay.example").reason().empty());
    REQUIRE(proxy.get("pay.example").reason() == "breaker_open");
    proxy.rewrite(policy("consecutive: 2, open_for: 1m..5m", "  a: {hosts: [a.example]}\n"));
    reload(proxy);
    CHECK(proxy.get("pay.example").reason() == "breaker_open");
    proxy.rewrite(policy("consecutive: 3, open_for: 1m..5m", ""));
    reload(proxy);
    CHECK(proxy.get("pay.example").reason().empty());
}

TEST_CASE("what was taken of a limit stays taken through a reload") {
    FakeVendor vendor(echo(), vendor_ca());
    const auto policy = [&](const std::string& rate, const std::string& more) { return "vendors:\n" + more + vendor_yaml("pay", "pay.example", vendor, true, "limit: {rate: " + rate + ", burst: 2}"); };
    TestProxy proxy(policy("1/h", ""));
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(proxy.get("pay.example").status() == 200);
    REQUIRE(proxy.get("pay.example").reason() == "rate_limited");
    proxy.rewrite(policy("1/h", "  a: {hosts: [a.example]}\n"));
    reload(proxy);
    CHECK(proxy.get("pay.example").reason() == "rate_limited");
    proxy.rewrite(policy("2/h", ""));
    reload(proxy);
    CHECK(proxy.get("pay.example").status() == 200);
}

// ---- credentials

TEST_CASE("an exchange that waits to try again does so with its own policy's credential, though its place and name are another's now") {
    Seen seen;
    Gate begun;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                const bool first = seen.size() == 0;
                seen.add(std::move(*request));
                // Long enough for the reload to come first; were it later still, there would only be nothing to see.
                wire.write(first ? "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n" : ok("x"));
                if (first) begun.open();
            }
        },
        vendor_ca());
    const auto policy = [&](const std::string& file, const std::string& host) {
        return "credentials:\n  key: {type: bearer, value: {file: @dir/" + file + "}}\nvendors:\n" + vendor_yaml("v", host, vendor, true, "credential: key");
    };
    TestProxy proxy("");
    proxy.directory().file("first", "one");
    proxy.directory().file("second", "two");
    proxy.rewrite(policy("first", "pay.example"));
    reload(proxy);
    Wire application = proxy.connected("pay.example");
    application.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
    REQUIRE(begun.wait());
    proxy.rewrite(policy("second", "other.example"));
    reload(proxy);
    CHECK(application.read_response().value_or(Message{}).status() == 200);
    REQUIRE(seen.size() == 2);
    for (const Message& request : seen.all()) CHECK(request.field("authorization") == "Bearer one");
    CHECK(proxy.get("other.example").status() == 200);
    CHECK(seen.all().back().field("authorization") == "Bearer two");
}

TEST_CASE("secrets follow the policy: new ones are there at once, those that stay are watched on") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    const auto policy = [&](const std::string& credentials, const std::string& name) {
        return "credentials:\n" + credentials + "vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: " + name);
    };
    const std::string first = "  first: {type: bearer, value: {file: @dir/first}}\n", second = "  second: {type: bearer, value: {file: @dir/second}}\n";
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true));
    const auto sends = [&](const std::string& value) {
        const Message answer = proxy.get("pay.example");
        return answer.status() == 200 && seen.all().back().field("authorization") == "Bearer " + value;
    };
    proxy.directory().file("first", "one");
    proxy.directory().file("second", "two");
    proxy.rewrite(policy(first, "first"));   // none of the start's credentials was in a file: nothing was watched yet
    reload(proxy);
    CHECK(sends("one"));
    proxy.rewrite(policy(second + first, "second"));
    reload(proxy);
    CHECK(sends("two"));
    proxy.directory().file("second", "two-and-a-half");
    CHECK(eventually([&] { return sends("two-and-a-half"); }));
    proxy.rewrite(policy("  second: {type: bearer, value: {file: @dir/missing}}\n", "second"));   // the name stays, what it means does not
    reload(proxy);
    CHECK(proxy.get("pay.example").reason() == "credential_unavailable");
    proxy.directory().file("missing", "three");
    CHECK(eventually([&] { return sends("three"); }));
}

TEST_CASE("a credential that did not change keeps its state through a reload, even while its file is being replaced") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    const auto policy = [&](int n) {
        return "credentials:\n  unused" + std::to_string(n) + ": {type: bearer, value: {file: @dir/none}}\n  key: {type: bearer, value: {file: @dir/key}}\nvendors:\n" +
               vendor_yaml("pay", "pay.example", vendor, true, "credential: key");
    };
    TestProxy proxy("");
    proxy.directory().file("key", "value");
    proxy.rewrite(policy(0));
    reload(proxy);
    fs::remove(proxy.directory().path() + "/key");   // within its grace it is still good
    proxy.rewrite(policy(1));
    reload(proxy);
    REQUIRE(proxy.get("pay.example").status() == 200);
    CHECK(seen.all().back().field("authorization") == "Bearer value");
}

// ---- under load

namespace {

/// Applications that never stop asking, on connections that they keep, and what went wrong for them. `paced`: they ask as
/// often as `ask_more` says, so that they leave a slow machine to what is tested.
class Load {
  public:
    Load(const TestProxy& proxy, std::vector<std::string> hosts, unsigned connections, bool paced = false) : left_(paced ? 0 : unpaced) {
        for (unsigned i = 0; i < connections; ++i)
            threads_.emplace_back([this, &proxy, host = hosts[i % hosts.size()], plain = i % 3 == 0] { ask(proxy, host, plain); });
    }
    ~Load() { stop(); }

    void stop() {
        stopping_ = true;
        ask_more(unpaced);
        for (std::thread& thread : threads_)
            if (thread.joinable()) thread.join();
    }
    std::size_t answered() const { return answered_; }
    void ask_more(std::int64_t requests) {
        left_ += requests;
        left_.notify_all();
    }
    std::vector<std::string> failures() const {
        const std::lock_guard lock(mutex_);
        return failures_;
    }

  private:
    void ask(const TestProxy& proxy, const std::string& host, bool plain) {
        try {
            Wire wire = plain ? Wire::to(proxy.port()) : proxy.connected(host);
            const std::string target = plain ? "http://" + host + "/" : "/";
            const std::string body(2000, 'b');
            for (unsigned n = 0; wait_for_turn(); ++n) {
                wire.write(n % 2 ? "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
                                 : "PUT " + target + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 2000\r\n\r\n" + body);
                const auto answer = wire.read_response();
                if (!answer || answer->status() != 200 || !answer->whole) return fail(host + ": " + (answer ? answer->start_line + " " + answer->body : "no answer"));
                ++answered_;
            }
        } catch (const std::exception& error) {
            fail(host + ": " + error.what());
        }
    }
    /// False: it is over.
    bool wait_for_turn() {
        for (std::int64_t left = left_; !stopping_; left = left_)
            if (left <= 0)
                left_.wait(left);
            else if (left_.compare_exchange_weak(left, left - 1))
                return true;
        return false;
    }
    void fail(std::string what) {
        const std::lock_guard lock(mutex_);
        failures_.push_back(std::move(what));
    }

    static constexpr std::int64_t unpaced = std::int64_t{1} << 60;
    std::atomic<std::int64_t> left_;   // requests that may still be made
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> answered_ = 0;
    mutable std::mutex mutex_;
    std::vector<std::string> failures_;
    std::vector<std::thread> threads_;
};

/// Answers 200 to who brings `token` and 401 to everybody else.
FakeVendor::Serve only_with(const std::string& token, std::atomic<std::size_t>& strangers) {
    return [&strangers, token](Wire& wire) {
        while (const auto request = wire.read_request()) {
            const bool own = request->field("authorization") == "Bearer " + token;
            if (!own) ++strangers;
            wire.write(own ? ok(request->body) : "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
    };
}

}  // namespace

TEST_CASE("a thousand reloads under load: no request fails, no credential meets another vendor, nothing is lost", "[multi-worker]") {
    std::atomic<std::size_t> strangers = 0;
    FakeVendor pay(only_with("for-pay", strangers), vendor_ca()), llm(only_with("for-llm", strangers), vendor_ca());
    // The same names and places mean another secret in every second policy: whoever mixed two of them would be seen by a vendor.
    const auto policy = [&](int n) {
        const bool even = n % 2 == 0;
        const std::string one = even ? "pay" : "llm", two = even ? "llm" : "pay";
        const std::string extra = "  extra" + std::to_string(n % 7) + ":\n    hosts: [extra.example]\n    credential: spare\n";
        const std::string vendors[] = {vendor_yaml("pay", "pay.example", pay, true, std::string("credential: ") + (even ? "one" : "two") + "\nroutes: [{name: all, match: \"GET /**\"}]"),
                                       vendor_yaml("llm", "llm.example", llm, true, std::string("credential: ") + (even ? "two" : "one"))};
        return "credentials:\n" + std::string(n % 3 ? "  spare: {type: bearer, value: {env: HOME}}\n" : "") + "  one: {type: bearer, value: {file: @dir/" + one +
               "}}\n  two: {type: bearer, value: {file: @dir/" + two + "}}\n" + (n % 3 ? "" : "  spare: {type: bearer, value: {env: HOME}}\n") + "vendors:\n" +
               (n % 5 < 2 ? extra : "") + vendors[even ? 0 : 1] + (n % 5 < 2 ? "" : extra) + vendors[even ? 1 : 0];
    };
    const TemporaryDirectory secrets;
    TestProxy proxy("", 4);
    proxy.directory().file("pay", "for-pay");
    proxy.directory().file("llm", "for-llm");
    proxy.rewrite(policy(0));
    reload(proxy);
    Load load(proxy, {"pay.example", "llm.example"}, 8, true);
    load.ask_more(24);
    REQUIRE(eventually([&] { return load.answered() > 20 || !load.failures().empty(); }));

    double counted = 0;
    bool fell = false;
    const std::string series = R"(sluice_requests_total{vendor="pay",route="all",method="GET",code="200",outcome="vendor"})";
    for (int n = 1; n <= many && load.failures().empty(); ++n) {
        proxy.rewrite(policy(n));
        load.ask_more(8);
        Message answer = proxy.reload();
        for (int patience = 5; patience > 0 && answer.start_line.empty(); --patience) answer = proxy.reload();   // not within ten seconds
        if (answer.status() != 200) FAIL(answer.start_line + " " + answer.body);
        if (n % 20 == 0) {
            const double now = proxy.metric(series);
            fell = fell || now < counted;
            counted = now;
        }
    }
    CHECK(eventually([&] { return load.answered() >= 4 * many || !load.failures().empty(); }));   // of each eight that were asked for meanwhile
    load.stop();
    for (const std::string& failure : load.failures()) FAIL_CHECK(failure);
    CHECK(strangers == 0);
    CHECK(!fell);
    CHECK(counted > 0);
    // Each exchange is in the counters, whatever its policy was; the last ones once they are over for the proxy too.
    const auto all_counted = [&] {
        double sum = 0;
        std::istringstream lines(proxy.metrics());
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with("sluice_requests_total{vendor=\"pay\"") || line.starts_with("sluice_requests_total{vendor=\"llm\"")) sum += std::stod(line.substr(line.rfind(' ')));
        return sum;
    };
    CHECK(eventually([&] { return all_counted() == static_cast<double>(load.answered()); }));
    // None was needed anew because of a reload, whatever the time between two requests: each may be sent again, so any
    // connection that rested will do. Each worker may have made some of its own.
    CHECK(pay.connections() + llm.connections() <= 16);
    CHECK(eventually([&] { return proxy.metric(R"(sluice_inflight{vendor="pay"})") == 0; }));
}

TEST_CASE("files that change all the time under load are read at rest, and nobody notices", "[multi-worker]") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true), 4, 10s, "", watching);
    Load load(proxy, {"pay.example"}, 4);
    std::string last;
    for (int n = 0; n < 200; ++n) {
        last = "v" + std::to_string(n);
        proxy.rewrite("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true) + "  " + last + ": {hosts: [" + last + ".example]}\n");
    }
    CHECK(eventually([&] {
        Wire wire = Wire::to(proxy.admin_port());
        wire.write("GET /vendors HTTP/1.1\r\nHost: localhost\r\n\r\n");
        return holds(wire.read_response().value_or(Message{}).body, '"' + last + '"');
    }));
    load.stop();
    for (const std::string& failure : load.failures()) FAIL_CHECK(failure);
}

TEST_CASE("a drain in the midst of reloads ends as it should", "[multi-worker]") {
    FakeVendor vendor(echo(), vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true), 2);
    CHECK(proxy.get("pay.example").status() == 200);
    for (int n = 0; n < 20; ++n) {
        proxy.rewrite("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "timeout: {total: " + std::to_string(n + 1) + "m}"));
        proxy.supervisor().reload("test");
    }
    proxy.drain();
    proxy.join();
    CHECK(proxy.logs(R"("event":"stopped")"));
}
