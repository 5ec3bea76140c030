// CONNECT as real clients use it, interception in which all names must agree, and blind tunnels.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <fstream>
#include <future>
#include <map>

#include "config/decode.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string pay = "api.pay.example", open_vendor = "open.example", pinned = "pinned.example";

/// Sends each byte back, and says goodbye after the application has.
void echo_bytes(Wire& wire) {
    for (std::string bytes = wire.read_some(); !bytes.empty(); bytes = wire.read_some()) wire.write(bytes);
    wire.write("goodbye");
}

/// `pay` has a credential and TLS; `open` is reached in clear text; `pinned` is a tunnel.
struct Bench {
    Seen seen, open_seen;
    FakeVendor vendor{echo_into(seen), vendor_ca()};
    FakeVendor open{echo_into(open_seen)};
    FakeVendor bytes{echo_bytes};
    TemporaryDirectory secrets;
    TestProxy proxy{"credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken") +
                    "}}}\nvendors:\n" + vendor_yaml("pay", pay, vendor, true, "credential: key") +
                    vendor_yaml("open", open_vendor, open, false) +
                    vendor_yaml("pinned", pinned, bytes, false, "mode: tunnel") +
                    "  address: {hosts: [10.1.2.3, \"[2001:db8::1]\"], endpoints: [{url: \"http://" + open.authority() +
                    "\"}], addresses: [127.0.0.0/8]}\n"};

    /// After a 200 to CONNECT; throws otherwise.
    Wire tunnel(const std::string& authority) const {
        Wire wire = Wire::to(proxy.port());
        wire.write("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n");
        const auto answer = wire.read_head();
        if (!answer || answer->status() != 200)
            throw std::runtime_error("CONNECT: " + (answer ? answer->start_line : "no answer"));
        return wire;
    }
};

Message ask(Wire& wire, const std::string& request) {
    wire.write(request);
    return wire.read_response().value_or(Message{});
}

std::string get(const std::string& host_field, const std::string& target = "/v1") {
    return "GET " + target + " HTTP/1.1\r\nHost: " + host_field + "\r\n\r\n";
}

}  // namespace

// ---- how clients say CONNECT
// -------------------------------------------------------------------------------------------

TEST_CASE("a CONNECT is answered as each client writes it, and our TLS begins") {
    Bench bench;
    struct Case {
        std::string what, head;
    };
    for (const Case& each :
         {Case{"curl",
               "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\nUser-Agent: "
               "curl/7.88.1\r\nProxy-Connection: Keep-Alive\r\n\r\n"},
          Case{"urllib, requests and boto3: HTTP/1.0", "CONNECT api.pay.example:443 HTTP/1.0\r\n\r\n"},
          Case{"HTTP/1.0 with a Host", "CONNECT api.pay.example:443 HTTP/1.0\r\nHost: api.pay.example:443\r\n\r\n"},
          Case{"a Host without a port", "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"},
          Case{"capitals", "CONNECT API.Pay.Example:443 HTTP/1.1\r\nHost: api.PAY.example:443\r\n\r\n"},
          Case{"the root's dot", "CONNECT api.pay.example.:443 HTTP/1.1\r\nHost: api.pay.example.:443\r\n\r\n"},
          Case{"an empty body",
               "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\nContent-Length: 0\r\n\r\n"},
          Case{"credentials for a proxy",
               "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\nProxy-Authorization: Basic "
               "YTpi\r\n\r\n"}}) {
        INFO(each.what);
        Wire wire = Wire::to(bench.proxy.port());
        wire.write(each.head);
        const auto established = wire.read_head();
        REQUIRE(established);
        CHECK(established->status() == 200);
        CHECK(established->count("content-length") == 0);
        CHECK(established->count("transfer-encoding") == 0);  // RFC 9110 9.3.6
        wire.tls_client(bench.proxy.ca(), pay, pay);
        const Message answer = ask(wire, get(pay));
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-outcome") == "vendor");
        REQUIRE(bench.seen.size() > 0);
        CHECK(bench.seen.all().back().field("authorization") == "Bearer s3cr3t-t0ken");
        CHECK(bench.seen.all().back().field("host") == bench.vendor.authority());
    }
}

TEST_CASE("what follows a CONNECT in the same segment is not lost") {
    Bench bench;
    Wire wire = Wire::to(bench.proxy.port());
    wire.write("CONNECT open.example:80 HTTP/1.1\r\nHost: open.example:80\r\n\r\n" + get(open_vendor) +
               get(open_vendor, "/v2"));
    const auto established = wire.read_head();
    REQUIRE(established);
    CHECK(established->status() == 200);
    for (const char* line : {"GET /v1 HTTP/1.1\n", "GET /v2 HTTP/1.1\n"}) {
        const auto answer = wire.read_response();
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->body.starts_with(line));
    }
}

TEST_CASE("after CONNECT the first byte decides, whatever the port: plain HTTP or TLS") {
    Bench bench;
    {
        INFO("gaxios and undici: plain HTTP through CONNECT host:80");
        Wire wire = bench.tunnel(open_vendor + ":80");
        for (const std::string& host : {open_vendor, open_vendor + ":80"}) CHECK(ask(wire, get(host)).status() == 200);
        CHECK(ask(wire, get(open_vendor, "http://" + open_vendor + "/absolute"))
                  .body.starts_with("GET /absolute HTTP/1.1\n"));
    }
    {
        INFO("plain HTTP through CONNECT host:443");
        Wire wire = bench.tunnel(open_vendor + ":443");
        CHECK(ask(wire, get(open_vendor + ":443")).status() == 200);
        CHECK(ask(wire, get(open_vendor)).status() == 421);  // for plain HTTP that names port 80
    }
    {
        INFO("TLS through CONNECT host:80");
        Wire wire = bench.tunnel(open_vendor + ":80");
        wire.tls_client(bench.proxy.ca(), open_vendor, open_vendor);
        CHECK(ask(wire, get(open_vendor + ":80")).status() == 200);
        CHECK(ask(wire, get(open_vendor)).status() == 421);  // for TLS that names port 443
    }
    {
        INFO("plain HTTP through CONNECT to a vendor with a credential and an https endpoint goes over TLS");
        Wire wire = bench.tunnel(pay + ":80");
        CHECK(ask(wire, get(pay)).status() == 200);
        CHECK(bench.seen.all().back().field("authorization") == "Bearer s3cr3t-t0ken");
    }
    {
        INFO("neither");
        Wire wire = bench.tunnel(open_vendor + ":80");
        CHECK(ask(wire, std::string("\x05\x01\x00", 3)).status() == 400);
        CHECK(wire.read_all().empty());
    }
}

TEST_CASE("addresses are intercepted as names are") {
    Bench bench;
    for (const auto& [authority, name] : {std::pair<std::string, std::string>{"10.1.2.3:443", "10.1.2.3"},
                                          {"[2001:db8::1]:443", "2001:db8::1"},
                                          {"[2001:DB8:0:0::1]:443", "2001:db8::1"}}) {
        INFO(authority);
        Wire wire = bench.tunnel(authority);
        wire.tls_client(bench.proxy.ca(), "", name);  // RFC 6066: an address is no SNI
        CHECK(ask(wire, get(authority)).status() == 200);
        CHECK(ask(wire, get(authority.substr(0, authority.size() - 4))).status() == 200);
    }
}

TEST_CASE("a CONNECT that cannot be served is itself answered with the reason") {
    Bench bench;
    struct Case {
        std::string target, host;
        unsigned status;
        std::string reason;
    };
    for (const Case& each :
         {Case{"evil.example:443", "evil.example:443", 403, "unknown_vendor"},
          Case{"pay.example:443", "pay.example:443", 403, "unknown_vendor"},
          Case{"x.api.pay.example:443", "x.api.pay.example:443", 403, "unknown_vendor"},
          Case{pay + ":8443", pay + ":8443", 403, "unknown_vendor"},
          Case{pay + ":443", "evil.example:443", 421, "authority_mismatch"},
          Case{pay + ":443", pay + ":8443", 421, "authority_mismatch"},
          Case{pay + ":443", "", 421, "authority_mismatch"},
          Case{"evil.example:443", pay + ":443", 421, "authority_mismatch"}, Case{pay, pay, 400, "bad_request"},
          Case{pay + ":0", pay, 400, "bad_request"}, Case{pay + ":65536", pay, 400, "bad_request"},
          Case{"user@" + pay + ":443", pay, 400, "bad_request"}, Case{"https://" + pay, pay, 400, "bad_request"},
          Case{"/", pay, 400, "bad_request"}, Case{"2001:db8::1:443", "x", 400, "bad_request"},
          Case{"0x7f.1:443", "x", 400, "bad_request"}}) {
        INFO(each.target << ", Host: " << each.host);
        Wire wire = Wire::to(bench.proxy.port());
        const Message answer = ask(wire, "CONNECT " + each.target + " HTTP/1.1\r\nHost: " + each.host + "\r\n\r\n");
        CHECK(answer.status() == each.status);
        CHECK(answer.reason() == each.reason);
        CHECK(answer.field("content-type") == "application/problem+json");
        CHECK(answer.field("sluice-outcome") == "refused");
        CHECK(wire.read_all().empty());
    }
    CHECK(bench.vendor.connections() + bench.open.connections() + bench.bytes.connections() == 0);
}

// ---- all names agree
// ---------------------------------------------------------------------------------------------------

TEST_CASE("a request inside a CONNECT that names another authority is 421, and no vendor hears of it") {
    Bench bench;
    const auto in = [](const std::string& target, const std::string& host) { return get(host, target); };
    struct Case {
        std::string what, request;
    };
    Wire wire = bench.proxy.connected(pay);
    for (const Case& each :
         {Case{"another host", in("/", "evil.example")}, Case{"another vendor's host", in("/", open_vendor)},
          Case{"another port", in("/", pay + ":8443")}, Case{"the port of http", in("/", pay + ":80")},
          Case{"a subdomain", in("/", "x." + pay)}, Case{"a longer name", in("/", pay + ".evil.example")},
          Case{"absolute-form to another host", in("https://evil.example/", pay)},
          Case{"absolute-form and Host to another host", in("https://evil.example/", "evil.example")},
          Case{"absolute-form to another port", in("https://" + pay + ":8443/", pay)},
          Case{"absolute-form with another scheme", in("http://" + pay + "/", pay)},
          Case{"absolute-form with another scheme and this port", in("http://" + pay + ":443/", pay)},
          Case{"absolute-form that agrees, Host that does not", in("https://" + pay + "/", "evil.example")}}) {
        INFO(each.what);
        const Message answer = ask(wire, each.request);
        CHECK(answer.status() == 421);
        CHECK(answer.reason() == "authority_mismatch");
        CHECK(answer.field("sluice-outcome") == "refused");
    }
    CHECK(bench.seen.size() == 0);
    CHECK(bench.vendor.connections() + bench.open.connections() == 0);

    // The same connection, when they agree.
    for (const std::string& good :
         {get(pay), get(pay + ":443"), get(pay + ":"), get("API.PAY.EXAMPLE"), get(pay + "."), get(pay, "https://" + pay + "/v1"),
          get(pay, "HTTPS://" + pay + ":443/v1"), std::string("GET /v1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")}) {
        INFO(good);
        CHECK(ask(wire, good).status() == 200);
        CHECK(bench.seen.all().back().start_line == "GET /v1 HTTP/1.1");
    }
}

TEST_CASE(
    "TLS for another name than the CONNECT's is completed with the CONNECT's leaf, and each request in it is 421") {
    Bench bench;
    for (const std::string& name : {std::string("evil.example"), open_vendor, "x." + pay, std::string("pay.example")}) {
        INFO(name);
        Wire wire = bench.tunnel(pay + ":443");
        wire.tls_client(bench.proxy.ca(), name, pay);  // the leaf is verified for the CONNECT's host
        for (const std::string& host : {pay, name, pay}) {
            const Message answer = ask(wire, get(host));
            CHECK(answer.status() == 421);
            CHECK(answer.reason() == "authority_mismatch");
        }
    }
    CHECK(bench.vendor.connections() + bench.open.connections() == 0);
    CHECK(bench.seen.size() == 0);

    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        INFO("without SNI the CONNECT's host counts, and capitals are the same name");
        Wire without = bench.tunnel(pay + ":443");
        without.tls_client(bench.proxy.ca(), "", pay, version);
        CHECK(ask(without, get(pay)).status() == 200);
        Wire capitals = bench.tunnel(pay + ":443");
        capitals.tls_client(bench.proxy.ca(), "API.Pay.Example", pay, version);
        CHECK(ask(capitals, get(pay)).status() == 200);
    }
}

TEST_CASE("a session resumed under another name is judged by the name it says now") {
    Bench bench;
    Wire first = bench.proxy.connected(pay);
    CHECK(ask(first, get(pay)).status() == 200);  // reading it has brought the tickets
    SSL_SESSION* session = SSL_get1_session(first.ssl());
    Wire wire = bench.tunnel(pay + ":443");
    wire.tls_client(bench.proxy.ca(), "evil.example", "", 0, session);
    CHECK(ask(wire, get(pay)).status() == 421);
    Wire other = bench.tunnel(open_vendor + ":443");
    other.tls_client(bench.proxy.ca(), open_vendor, "", 0, session);
    CHECK(ask(other, get(open_vendor)).status() == 200);
    CHECK(ask(other, get(pay)).status() == 421);
    SSL_SESSION_free(session);
    CHECK(bench.seen.size() == 1);
}

TEST_CASE("an application that says nothing after its handshake gets its session ticket all the same") {
    Bench bench;
    Wire wire = bench.proxy.connected(pay);
    REQUIRE(SSL_version(wire.ssl()) == TLS1_3_VERSION);
    SSL_clear_mode(wire.ssl(), SSL_MODE_AUTO_RETRY);  // a read that meets nothing but the ticket returns
    CHECK_FALSE(wire.silent_for(10s));
    char byte;
    CHECK(SSL_peek(wire.ssl(), &byte, 1) <= 0);
    CHECK(SSL_SESSION_is_resumable(SSL_get0_session(wire.ssl())) == 1);
    CHECK(ask(wire, get(pay)).status() == 200);
}

TEST_CASE("the end of a handshake is acknowledged at once, or Nagle's algorithm would hold the first request back") {
    const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    Bench bench;
    Wire first = bench.tunnel(pay + ":443");
    first.tls_client(bench.proxy.ca(), pay, pay, version);
    REQUIRE(ask(first, get(pay)).status() == 200);
    SSL_SESSION* session = SSL_get1_session(first.ssl());
    // A delayed acknowledgement comes after 40 ms; on a busy machine one of ours may be as late, but not each of ten.
    auto quickest = std::chrono::nanoseconds::max();
    for (int i = 0; i < 10; ++i) {
        Wire wire = bench.tunnel(pay + ":443");
        wire.tls_client(bench.proxy.ca(), pay, pay, version, session);
        const auto since = std::chrono::steady_clock::now();
        tcp_info info{};
        do {
            socklen_t size = sizeof info;
            if (::getsockopt(wire.fd(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) FAIL("TCP_INFO");
        } while (info.tcpi_unacked > 0);
        quickest = std::min(quickest, std::chrono::steady_clock::now() - since);
    }
    SSL_SESSION_free(session);
    CHECK(quickest < 20ms);
}

TEST_CASE("a CONNECT inside a CONNECT is refused") {
    Bench bench;
    for (const std::string& target : {pay + ":443", open_vendor + ":443", std::string("evil.example:443")}) {
        INFO(target);
        Wire wire = bench.proxy.connected(pay);
        const Message answer = ask(wire, "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n");
        CHECK(answer.status() == 400);
        CHECK(answer.reason() == "bad_request");
    }
    CHECK(bench.vendor.connections() == 0);
}

TEST_CASE("what is refused inside a CONNECT before anybody looks for its vendor is that vendor's all the same") {
    Bench bench;
    struct Case {
        std::string what, request, reason;
    };
    std::map<std::string, double> refused;
    for (const Case& each :
         {Case{"another host", get("evil.example"), "authority_mismatch"},
          Case{"another vendor's host", get(open_vendor), "authority_mismatch"},
          Case{"absolute-form to another host", get(pay, "https://evil.example/"), "authority_mismatch"},
          Case{"a target that is none", get(pay, "ftp://" + pay + "/"), "bad_request"},
          Case{"two lengths", "POST / HTTP/1.1\r\nHost: " + pay + "\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "bad_request"},
          Case{"a head that is none", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "bad_request"},
          Case{"a bad chunk", "POST / HTTP/1.1\r\nHost: " + pay + "\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", "bad_request"},
          Case{"a head of more than 64 KiB", get(pay, "/" + std::string(65536, 'a')), "head_too_large"},
          Case{"a CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", "bad_request"}}) {
        INFO(each.what);
        Wire wire = bench.proxy.connected(pay);
        wire.try_write(each.request);
        const Message answer = wire.read_response().value_or(Message{});
        CHECK(answer.reason() == each.reason);
        CHECK(answer.body.find(R"("vendor":"pay")") != std::string::npos);
        const std::string id = answer.field("sluice-request-id");
        REQUIRE(id.size() == 32);
        CHECK(bench.proxy.logs("\"level\":\"info\",\"event\":\"exchange\",\"request_id\":\"" + id + "\",\"vendor\":\"pay\""));
        CHECK(bench.proxy.metric("sluice_rejected_total{vendor=\"pay\",reason=\"" + each.reason + "\"}") == ++refused[each.reason]);
    }
    CHECK(bench.vendor.connections() + bench.open.connections() == 0);
}

TEST_CASE("a target that names a vendor beside a Host that names another is refused as that vendor's") {
    Bench bench;
    double refused = 0;
    for (const std::string& request : {get("evil.example", "https://" + pay + "/v1"), get(open_vendor, "https://" + pay + "/v1"),
                                       "CONNECT " + pay + ":443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"}) {
        INFO(request);
        const Message answer = bench.proxy.raw(request);
        CHECK(answer.status() == 421);
        CHECK(answer.body.find(R"("vendor":"pay")") != std::string::npos);
        ++refused;
        CHECK(eventually([&] { return bench.proxy.metric("sluice_rejected_total{vendor=\"pay\",reason=\"authority_mismatch\"}") == refused; }));
    }
    CHECK(bench.proxy.raw(get(pay, "https://evil.example/v1")).body.find("\"vendor\"") == std::string::npos);
    CHECK(bench.vendor.connections() + bench.open.connections() == 0);
}

TEST_CASE("an application that does not trust our CA is named in the log") {
    Bench bench;
    Wire wire = bench.tunnel(pay + ":443");
    CHECK_THROWS(wire.tls_client(vendor_ca().pem(), pay, pay));
    CHECK(bench.proxy.logs("\"intercept_failed\""));
    CHECK(bench.proxy.logs(pay));
    CHECK(bench.vendor.connections() == 0);
}

TEST_CASE("an intercepted CONNECT is no exchange: the requests inside it are") {
    Bench bench;
    Wire wire = bench.proxy.connected(pay);
    CHECK(ask(wire, get(pay, "/one")).status() == 200);
    CHECK(ask(wire, get(pay, "/two")).status() == 200);
    REQUIRE(bench.proxy.logs("\"path\":\"/two\""));
    CHECK(bench.proxy.log().find("CONNECT") == std::string::npos);
    CHECK(bench.proxy.metrics().find("method=\"CONNECT\"") == std::string::npos);
}

// ---- blind tunnels
// -------------------------------------------------------------------------------------------------------

namespace {

/// The series that count tunnels of a vendor.
std::string tunnels_of(const std::string& vendor) {
    return "sluice_requests_total{vendor=\"" + vendor +
           "\",route=\"_none\",method=\"CONNECT\",code=\"200\",outcome=\"vendor\"}";
}

std::size_t lines_with(const std::string& log, std::string_view part) {
    std::size_t count = 0;
    for (auto at = log.find(part); at != std::string::npos; at = log.find(part, at + part.size())) ++count;
    return count;
}

/// Bytes both ways through an open tunnel, then a half-close, after which the other side still has a word.
void use_tunnel(Wire& wire) {
    wire.write("hello");
    CHECK(wire.read_exactly(5) == "hello");
    std::string large(200'000, '\0');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 + i / 251);
    auto reading = std::async(std::launch::async, [&] { return wire.read_exactly(large.size()); });
    wire.write(large);
    CHECK((reading.get() == large));
    CHECK(wire.silent_for(10ms));
    wire.fin();
    CHECK(wire.read_all() == "goodbye");
    CHECK_FALSE(wire.reset());
}

/// A proxy whose Config was changed after decoding: what the policy language cannot say, because a test has loopback
/// only.
class AdjustedProxy {
  public:
    AdjustedProxy(const std::string& policy, const std::function<void(Config&)>& adjust) {
        const std::string whole =
            "version: 1\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nworkers: 1\nstate: " +
            directory_.path() + "/state\n" + policy;
        const Decoded decoded = decode_policy(whole, "policy.yaml", PolicyInputs::system());
        REQUIRE(decoded.config);
        auto config = std::make_shared<Config>(*decoded.config);
        adjust(*config);
        log_fd_ = ::open((directory_.path() + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        Supervisor::Options options;
        options.log_fd = log_fd_;
        supervisor_ = std::make_unique<Supervisor>(std::move(config), options);
        runner_ = std::thread([this] { supervisor_->run(); });
    }
    ~AdjustedProxy() {
        supervisor_->stop();
        runner_.join();
        supervisor_.reset();
        ::close(log_fd_);
    }
    Supervisor& supervisor() { return *supervisor_; }
    std::uint16_t port() const { return supervisor_->addresses().proxy.port; }
    std::string log() const {
        std::ifstream file(directory_.path() + "/log");
        return {std::istreambuf_iterator<char>(file), {}};
    }

  private:
    TemporaryDirectory directory_;
    int log_fd_ = -1;
    std::unique_ptr<Supervisor> supervisor_;
    std::thread runner_;
};

}  // namespace

TEST_CASE("a vendor in tunnel mode gets the application's bytes as they are, and is one exchange") {
    Bench bench;
    {
        Wire wire = Wire::to(bench.proxy.port());
        // What the application says at once belongs to the vendor.
        wire.write("CONNECT pinned.example:443 HTTP/1.1\r\nHost: pinned.example:443\r\n\r\n\x16\x03\x01 first");
        const auto established = wire.read_head();
        REQUIRE(established);
        CHECK(established->status() == 200);
        CHECK(established->field("sluice-outcome") == "vendor");
        CHECK(established->field("sluice-attempts") == "1");
        CHECK(established->field("sluice-request-id").size() == 32);
        CHECK(established->count("content-length") == 0);
        CHECK(established->count("transfer-encoding") == 0);
        CHECK(wire.read_exactly(9) == "\x16\x03\x01 first");
        use_tunnel(wire);
    }
    CHECK(bench.bytes.connections() == 1);
    REQUIRE(bench.proxy.logs("\"method\":\"CONNECT\""));
    CHECK(lines_with(bench.proxy.log(), "\"method\":\"CONNECT\"") == 1);
    CHECK(bench.proxy.metric(tunnels_of("pinned")) == 1);
}

TEST_CASE("a tunnel ends when the vendor ends it, and a vendor that is not there is a 502 to the CONNECT") {
    FakeVendor says_one_thing([](Wire& wire) { wire.write("only this"); });
    std::uint16_t gone = 0;
    {
        FakeVendor closed([](Wire&) {});
        gone = closed.port();
    }
    TestProxy proxy("vendors:\n" + vendor_yaml("short", "short.example", says_one_thing, false, "mode: tunnel") +
                    "  gone: {hosts: [gone.example], mode: tunnel, addresses: [127.0.0.0/8], endpoints: [{url: "
                    "\"http://127.0.0.1:" +
                    std::to_string(gone) + "\"}]}\n");
    Wire wire = Wire::to(proxy.port());
    wire.write("CONNECT short.example:443 HTTP/1.1\r\nHost: short.example:443\r\n\r\n");
    REQUIRE(wire.read_head());
    CHECK(wire.read_all() == "only this");
    const Message answer = proxy.raw("CONNECT gone.example:443 HTTP/1.1\r\nHost: gone.example:443\r\n\r\n");
    CHECK(answer.status() == 502);
    CHECK(answer.reason() == "connect_failed");
}

TEST_CASE(
    "what no policy names goes through where unmatched says so: tunnels and plain requests, without a credential") {
    Seen seen;
    FakeVendor web(echo_into(seen)), bytes(echo_bytes);
    TemporaryDirectory secrets;
    const std::string vendors =
        "credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken") + "}}}\nvendors:\n" +
        vendor_yaml("pay", pay, web, false, "credential: key");
    for (const std::string word : {"tunnel", "report"}) {
        INFO(word);
        AdjustedProxy proxy("unmatched: " + word + "\n" + vendors, [](Config& config) {
            config.unmatched_vendor.addresses = config.vendors.front().addresses;
        });
        {
            Wire wire = Wire::to(proxy.port());
            wire.write("CONNECT " + bytes.authority() + " HTTP/1.1\r\nHost: " + bytes.authority() + "\r\n\r\n");
            const auto established = wire.read_head();
            REQUIRE(established);
            REQUIRE(established->status() == 200);
            use_tunnel(wire);
        }
        Wire wire = Wire::to(proxy.port());
        const std::size_t before = seen.size();
        const Message answer = ask(wire, "GET http://" + web.authority() + "/v1 HTTP/1.1\r\nHost: " + web.authority() +
                                             "\r\nAuthorization: Bearer mine\r\n\r\n");
        CHECK(answer.status() == 200);
        CHECK(answer.field("sluice-outcome") == "vendor");
        REQUIRE(seen.size() == before + 1);
        CHECK(seen.all().back().start_line == "GET /v1 HTTP/1.1");
        CHECK(seen.all().back().field("authorization") == "Bearer mine");  // its own, untouched
        // Neither names agree less strictly, nor is framing judged less strictly.
        CHECK(ask(wire, "GET http://" + web.authority() + "/v1 HTTP/1.1\r\nHost: other.example\r\n\r\n").reason() ==
              "authority_mismatch");
        CHECK(ask(wire, "GET http://" + web.authority() + "/../v1 HTTP/1.1\r\nHost: " + web.authority() + "\r\n\r\n")
                  .reason() == "bad_request");

        REQUIRE(eventually([&] {
            return lines_with(proxy.log(), "\"method\":\"CONNECT\"") == 1 &&
                   lines_with(proxy.log(), "\"path\":\"/v1\"") > 0;
        }));
        CHECK((proxy.log().find("\"reported\":true") != std::string::npos) == (word == "report"));
        const std::string metrics = proxy.supervisor().telemetry().scrape();
        CHECK(metrics.find(tunnels_of("_other") + " 1") != std::string::npos);
        CHECK(metrics.find(std::to_string(bytes.port())) ==
              std::string::npos);  // a host that no policy names is no label
    }
}

namespace {

/// What a refusal says to write: the vendor's keys between its back quotes.
std::string advice_in(const std::string& problem) {
    const std::string detail(boost::json::parse(problem).at("detail").as_string());
    const auto from = detail.find('`'), to = detail.rfind('`');
    REQUIRE(detail.find("make a vendor of it: `") != detail.npos);
    return detail.substr(from + 1, to - from - 1);
}

bool loads(const std::string& vendor) {
    INFO(vendor);
    const Decoded decoded = decode_policy("version: 1\nstate: /x\nvendors:\n  v: {" + vendor + "}\n", "p.yaml",
                                          PolicyInputs::system());
    for (const Fault& fault : decoded.faults) WARN(fault.text());
    return decoded.config != nullptr;
}

}  // namespace

TEST_CASE("the guard stands before what is unmatched, too") {
    FakeVendor vendor(echo());
    for (const std::string word : {"tunnel", "report"}) {
        TestProxy proxy("unmatched: " + word + "\n");
        for (const std::string& authority :
             {vendor.authority(), "127.0.0.1:" + std::to_string(vendor.port()), std::string("169.254.169.254:80"),
              std::string("[::1]:80"), std::string("[::ffff:127.0.0.1]:80"), std::string("10.0.0.1:443"),
              "127.0.0.1:" + std::to_string(proxy.admin_port())}) {
            INFO(word << " " << authority);
            const Message tunnel = proxy.raw("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n");
            CHECK(tunnel.status() == 403);
            CHECK(tunnel.reason() == "address_refused");
            if (authority.ends_with(":" + std::to_string(proxy.admin_port()))) {  // nothing that could be written would allow it
                CHECK(tunnel.body.find("own listeners") != std::string::npos);
                CHECK(tunnel.body.find("make a vendor of it") == std::string::npos);
            } else {
                CHECK(loads(advice_in(tunnel.body)));
            }
            const Message plain =
                proxy.raw("GET http://" + authority + "/ HTTP/1.1\r\nHost: " + authority + "\r\n\r\n");
            CHECK(plain.status() == 403);
            CHECK(plain.reason() == "address_refused");
        }
    }
    CHECK(vendor.connections() == 0);
}

TEST_CASE("our own listeners are never dialled, whatever a vendor's addresses allow") {
    // Held, but not listened on, until the proxy binds it: a policy that names our own port has to know it beforehand.
    const int held = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(held, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(held, reinterpret_cast<sockaddr*>(&address), size) == 0);
    ::getsockname(held, reinterpret_cast<sockaddr*>(&address), &size);
    const std::uint16_t port = ntohs(address.sin_port);
    const std::string own = "127.0.0.1:" + std::to_string(port), named = "localhost:" + std::to_string(port);

    const std::string vendors =
        "vendors:\n  self: {hosts: [\"" + own + "\", \"" + named + "\"], mode: tunnel, addresses: [127.0.0.0/8]}\n" +
        "  loop: {hosts: [loop.example], addresses: [127.0.0.0/8], endpoints: [{url: \"http://" + own + "\"}]}\n";
    AdjustedProxy proxy(vendors, [&](Config& config) { config.listen.proxy.port = port; });
    ::close(held);
    REQUIRE(proxy.port() == port);
    for (const std::string& request :
         {"CONNECT " + own + " HTTP/1.1\r\nHost: " + own + "\r\n\r\n",
          "CONNECT " + named + " HTTP/1.1\r\nHost: " + named + "\r\n\r\n",
          std::string("GET http://loop.example/ HTTP/1.1\r\nHost: loop.example\r\n\r\n")}) {
        INFO(request);
        Wire wire = Wire::to(port);
        const Message answer = ask(wire, request);
        CHECK(answer.status() == 403);
        CHECK(answer.reason() == "address_refused");
        CHECK(answer.body.find("own listeners") != std::string::npos);   // localhost has an IPv6 address as well, which is refused for being loopback
    }
}

namespace {

/// An address of this machine that is not loopback, network byte order; 0: it has none.
in_addr_t outer_address() {
    ifaddrs* all = nullptr;
    in_addr_t found = 0;
    if (::getifaddrs(&all) != 0) return 0;
    for (const ifaddrs* each = all; each && !found; each = each->ifa_next) {
        if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET || (each->ifa_flags & IFF_LOOPBACK) != 0) continue;
        found = reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr.s_addr;
    }
    ::freeifaddrs(all);
    return found;
}

Wire wire_to(in_addr_t host, std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = host;
    address.sin_port = htons(port);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return Wire(fd);
}

}  // namespace

TEST_CASE("behind a listener on every address base-URL mode is named by the address that the application has reached") {
    Seen seen;
    FakeVendor vendor(echo_into(seen));
    AdjustedProxy proxy("vendors:\n" + vendor_yaml("pay", pay, vendor, false), [](Config& config) { config.listen.proxy.address = {}; });
    const std::string port = std::to_string(proxy.port());
    const auto asked = [&](const std::string& target, const std::string& host) { return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"; };
    {
        Wire wire = Wire::to(proxy.port());
        CHECK(ask(wire, asked("/pay/v1", "127.0.0.1:" + port)).status() == 200);
        CHECK(ask(wire, asked("/pay/v1", "localhost:" + port)).status() == 200);
        const Message other = ask(wire, asked("/pay/v1", "0.0.0.0:" + port));
        CHECK(other.status() == 421);
        CHECK(other.body.find("http://127.0.0.1:" + port + "/") != std::string::npos);   // one that can be called
    }
    const in_addr_t outer = outer_address();
    if (outer == 0) {
        WARN("this machine has no address but loopback: not tried at one");
        return;
    }
    char text[INET_ADDRSTRLEN];
    const std::string ours = ::inet_ntop(AF_INET, &outer, text, sizeof text) + (":" + port);
    Wire wire = wire_to(outer, proxy.port());
    CHECK(ask(wire, asked("/pay/v1", ours)).status() == 200);
    CHECK(ask(wire, asked("http://" + ours + "/pay/v1", ours)).status() == 200);
    CHECK(ask(wire, "GET /pay/v1 HTTP/1.1\r\nHost: " + ours + "\r\nOrigin: http://" + ours + "\r\n\r\n").status() == 200);
    CHECK(ask(wire, asked("/pay/v1", "192.0.2.1:" + port)).status() == 421);
    CHECK(ask(wire, asked("/pay/v1", "rebound.example:" + port)).body.find("http://" + ours + "/") != std::string::npos);
    CHECK(seen.size() == 5);
}

TEST_CASE("a CA that is constrained to the policy's hosts works for them") {
    FakeVendor vendor(echo());
    const std::string vendors = vendor_yaml("pay", "api.pay.example", vendor, false) +
                                vendor_yaml("llm", "\"*.llm.example\"", vendor, false);
    TestProxy proxy("authority: {name_constraints: true}\nvendors:\n" + vendors);
    CHECK(proxy.get("api.pay.example").status() == 200);
    CHECK(proxy.get("eu.llm.example").status() == 200);
}
