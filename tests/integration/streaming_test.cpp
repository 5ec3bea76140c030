// Bodies stream in both directions, as they come, in bounded memory; streams that nobody ends have no total.
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <fstream>
#include <optional>
#include <semaphore>

#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

// A gate that one thread opens for another.
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

std::size_t resident_kib() {
    std::ifstream statm("/proc/self/statm");
    std::size_t pages = 0, resident = 0;
    statm >> pages >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

std::string pattern(std::size_t size) {
    std::string out(size, ' ');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return out;
}

}  // namespace

TEST_CASE("server-sent events reach the application one by one, as they come") {
    Gate second, third;
    FakeVendor vendor(
        [&](Wire& wire) {
            wire.read_request();
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
            second.wait();
            wire.write("9\r\ndata: 2\n\n\r\n");
            third.wait();
            wire.write("9\r\ndata: 3\n\n\r\n0\r\n\r\n");
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("llm", "llm.example", vendor, true));
    Wire app = proxy.connected("llm.example");
    app.write("GET /stream HTTP/1.1\r\nHost: llm.example\r\n\r\n");
    const auto head = app.read_head();
    REQUIRE(head);
    CHECK(head->status() == 200);
    CHECK(app.read_exactly(14) == "9\r\ndata: 1\n\n\r\n");   // while the vendor still waits
    second.open();
    CHECK(app.read_exactly(14) == "9\r\ndata: 2\n\n\r\n");
    third.open();
    CHECK(app.read_exactly(19) == "9\r\ndata: 3\n\n\r\n0\r\n\r\n");
}

TEST_CASE("the head of a response leaves at once, before its body has a byte") {
    Gate body;
    FakeVendor vendor([&](Wire& wire) {
        wire.read_request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        body.wait();
        wire.write("done");
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    CHECK(app.read_head()->status() == 200);
    body.open();
    CHECK(app.read_exactly(4) == "done");
}

TEST_CASE("a request body streams to the vendor before the application has sent it all") {
    Gate rest;
    std::atomic<bool> first_came{false};
    FakeVendor vendor([&](Wire& wire) {
        auto head = wire.read_head();
        first_came = wire.read_exactly(8) == "5\r\nhello";
        rest.open();
        wire.read_exactly(2);
        Message body;
        body.fields = {{"transfer-encoding", "chunked"}};
        wire.read_body(body, true);
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.body.size()) + "\r\n\r\n" + body.body);
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = proxy.connected("v.example");
    app.write("POST / HTTP/1.1\r\nHost: v.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    REQUIRE(rest.wait());
    CHECK(first_came);
    app.write("6\r\n world\r\n0\r\n\r\n");
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->body == " world");
}

TEST_CASE("bodies of every framing arrive as they were sent, whatever their size") {
    const bool tls = GENERATE(true, false);
    const auto serve = [](Wire& wire) {
            while (auto request = wire.read_request()) {
                const std::string& body = request->body;
                if (request->start_line.find("/chunked") != std::string::npos) {
                    wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for (std::size_t at = 0; at < body.size(); at += 10'000) {
                        const std::string piece = body.substr(at, 10'000);
                        char size[16];
                        std::snprintf(size, sizeof size, "%zX\r\n", piece.size());
                        wire.write(size + piece + "\r\n");
                    }
                    wire.write("0\r\nX-Checked: yes\r\n\r\n");
                } else if (request->start_line.find("/close") != std::string::npos) {
                    wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body);
                    return;
                } else {
                    wire.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
                }
            }
        };
    std::optional<FakeVendor> vendor;
    if (tls)
        vendor.emplace(serve, vendor_ca());
    else
        vendor.emplace(serve);
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", *vendor, tls));
    Wire app = proxy.connected("v.example");
    for (const std::size_t size : {0, 1, 1000, 16384, 16385, 17 * 1024, 17 * 1024 + 1, 81 * 1024, 81 * 1024 + 1, 100'000, 3'000'000}) {
        const std::string body = pattern(size);
        for (const std::string path : {"/length", "/chunked", "/close"}) {
            INFO((tls ? "TLS " : "plain ") << path << " " << size);
            // Written beside the reading: the echo begins only when all has come, but the sockets' buffers are smaller than the body.
            app.write("PUT " + path + " HTTP/1.1\r\nHost: v.example\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" + body);
            const auto answer = app.read_response();
            REQUIRE(answer);
            CHECK(answer->status() == 200);
            CHECK(answer->whole);
            CHECK(answer->body == body);
            if (path == "/chunked") CHECK(answer->trailers == "X-Checked: yes\n");
        }
    }
}

TEST_CASE("an application that reads slowly slows the vendor down instead of filling memory") {
    constexpr std::size_t size = 256 * 1024 * 1024;
    std::atomic<std::size_t> sent{0};
    FakeVendor vendor(
        [&](Wire& wire) {
            wire.read_request();
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
            const std::string piece(1 << 20, 'x');
            for (std::size_t i = 0; i < size / piece.size(); ++i) {
                if (!wire.try_write(piece)) return;
                sent += piece.size();
            }
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(app.read_head());
    const std::size_t before = resident_kib();
    // The vendor comes to a stop somewhere, with the kernel's buffers full.
    std::size_t last = 0;
    REQUIRE(eventually([&] {
        const std::size_t now = sent;
        const bool still = now > 0 && now == last;
        last = now;
        std::this_thread::sleep_for(50ms);
        return still;
    }));
    CHECK(sent < size / 2);
#ifndef __SANITIZE_ADDRESS__  // it keeps what is freed for a while: OpenSSL's buffers of every record, and what this test reads
    CHECK(resident_kib() < before + 8 * 1024);
#endif
    std::size_t got = 0;
    while (got < size) {
        const std::string more = app.read_some();
        if (more.empty()) break;
        got += more.size();
    }
    CHECK(got == size);
#ifndef __SANITIZE_ADDRESS__
    CHECK(resident_kib() < before + 16 * 1024);
#endif
}

TEST_CASE("a websocket is upgraded and carries bytes both ways; other upgrades are not asked of the vendor") {
    Seen seen;
    FakeVendor vendor([&](Wire& wire) {
        auto request = wire.read_head();
        if (!request) return;
        const bool upgrade = request->field("upgrade") == "websocket";
        seen.add(*request);
        if (!upgrade) {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
            return;
        }
        wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: abc\r\n\r\nhello");
        const std::string got = wire.read_exactly(4);
        wire.write("you said " + got);
        CHECK(wire.read_all().empty());   // the application's half-close comes through
        wire.write("bye");
        wire.half_close();
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    {
        Wire app = proxy.connected("v.example");
        app.write("GET /ws HTTP/1.1\r\nHost: v.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nping");
        const auto head = app.read_head();
        REQUIRE(head);
        CHECK(head->status() == 101);
        CHECK(head->field("upgrade") == "websocket");
        CHECK(head->field("sec-websocket-accept") == "abc");
        CHECK(app.read_exactly(18) == "helloyou said ping");
        app.half_close();
        CHECK(app.read_all() == "bye");
    }
    {
        Wire app = proxy.connected("v.example");
        app.write("GET /ws HTTP/1.1\r\nHost: v.example\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nping");
        const auto head = app.read_head();   // a length of nothing is no body
        REQUIRE(head);
        CHECK(head->status() == 101);
        CHECK(app.read_exactly(18) == "helloyou said ping");
        CHECK(seen.all().back().count("content-length") == 0);
        app.half_close();
        CHECK(app.read_all() == "bye");
    }
    {
        Wire app = proxy.connected("v.example");
        app.write("GET / HTTP/1.1\r\nHost: v.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n");
        CHECK(app.read_response()->body == "no");
        const Message last = seen.all().back();
        CHECK(last.count("upgrade") == 0);
        CHECK(last.count("http2-settings") == 0);
    }
}

// The data of the chunks, as far as they came.
std::string without_frames(std::string_view raw) {
    std::string data;
    while (!raw.empty()) {
        const std::size_t line = raw.find("\r\n");
        const std::size_t size = std::stoul(std::string(raw.substr(0, line)), nullptr, 16);
        data += raw.substr(line + 2, size);
        raw.remove_prefix(std::min(raw.size(), line + 2 + size + 2));
    }
    return data;
}

// The bytes and the end of the connection leave in one segment, so that they are seen at once.
void say_and_end(Wire& wire, std::string_view last) {
    const int on = 1;
    ::setsockopt(wire.fd(), IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    wire.write(last);
    wire.fin();   // no close_notify
}

TEST_CASE("what a vendor said just before its connection broke off reaches the application, and does not look whole") {
    struct Broken {
        std::string what, begins, ends, seen;
        bool websocket = false;
    };
    const std::string head = "HTTP/1.1 200 OK\r\n";
    const std::vector<Broken> table = {
        {"events", head + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n9\r\ndata: 3\n\n\r\n", "data: 1\n\ndata: 2\n\ndata: 3\n\n"},
        {"an event that is not whole", head + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n", "20\r\ndata: 2\n\n", "data: 1\n\ndata: 2\n\n"},
        {"a length", head + "Content-Length: 100\r\n\r\nsome\n", "more\n", "some\nmore\n"},
        {"a body that the close ends", head + "\r\nsome\n", "more\n", "some\nmore\n"},
        {"a websocket", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nsome\n", "close frame\n", "some\nclose frame\n", true},
    };
    std::binary_semaphore go(0);
    FakeVendor vendor(
        [&](Wire& wire) {
            const auto request = wire.read_request();
            if (!request) return;
            const Broken& broken = table[std::stoul(request->start_line.substr(request->start_line.find('/') + 1))];
            wire.write(broken.begins);
            static_cast<void>(go.try_acquire_for(10s));
            say_and_end(wire, broken.ends);
            wire.read_all();
        },
        vendor_ca());
    TestProxy proxy("defaults: {retry: {max: 0}, breaker: {enabled: false}}\nvendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    for (const bool intercepted : {false, true}) {
        for (std::size_t i = 0; i < table.size(); ++i) {
            const Broken& broken = table[i];
            INFO(broken.what << (intercepted ? ", intercepted" : ", plain"));
            Wire app = intercepted ? proxy.connected("v.example") : Wire::to(proxy.port());
            app.write("GET " + std::string(intercepted ? "" : "http://v.example") + "/" + std::to_string(i) + " HTTP/1.1\r\nHost: v.example\r\n" + (broken.websocket ? "Connection: Upgrade\r\nUpgrade: websocket\r\n" : "") + "\r\n");
            auto answer = app.read_head();
            REQUIRE(answer);
            if (broken.websocket) {
                CHECK(answer->status() == 101);
                CHECK(app.read_exactly(5) == "some\n");
                go.release();
                CHECK("some\n" + app.read_all() == broken.seen);
                CHECK(app.reset());
                continue;
            }
            CHECK(answer->status() == 200);
            const bool chunked = answer->field("transfer-encoding") == "chunked";
            std::string raw = app.read_some();   // of the first piece: it is out
            go.release();
            raw += app.read_all();
            CHECK(app.reset());
            CHECK(raw.find("\r\n0\r\n") == std::string::npos);
            if (chunked) raw = without_frames(raw);
            CHECK(raw == broken.seen);
        }
    }
}

TEST_CASE("a tunnel that its vendor resets passes on what came before that") {
    std::binary_semaphore go(0);
    FakeVendor vendor([&](Wire& wire) {
        wire.write("first");
        static_cast<void>(go.try_acquire_for(10s));
        wire.write("last");
        wire.close(true);
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "mode: tunnel"));
    Wire app = Wire::to(proxy.port());
    app.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    REQUIRE(app.read_head());
    CHECK(app.read_exactly(5) == "first");
    go.release();
    CHECK(app.read_all() == "last");
    CHECK(app.reset());
}

TEST_CASE("what an application said just before its connection broke off reaches the vendor, and does not look whole") {
    std::binary_semaphore here(0), ended(0);
    std::string heard;
    bool in_order = false;
    FakeVendor vendor(
        [&](Wire& wire) {
            const auto request = wire.read_head();
            if (!request) return;
            if (request->field("upgrade") == "websocket") wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            heard = wire.read_some();
            here.release();
            heard += wire.read_all();
            in_order = !wire.reset();
            ended.release();
        },
        vendor_ca());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, true));
    const std::string fields = GENERATE("Connection: Upgrade\r\nUpgrade: websocket\r\n", "Content-Length: 100\r\n");
    CAPTURE(fields);
    Wire app = proxy.connected("v.example");
    const bool websocket = fields.starts_with("Connection");
    app.write((websocket ? "GET" : "POST") + std::string(" / HTTP/1.1\r\nHost: v.example\r\n") + fields + "\r\n");
    if (websocket) REQUIRE(app.read_head());
    app.write("one");
    REQUIRE(here.try_acquire_for(10s));
    say_and_end(app, "LAST");
    REQUIRE(ended.try_acquire_for(10s));
    CHECK(heard == "oneLAST");
    CHECK_FALSE(in_order);
}

TEST_CASE("of what is held back because it may begin a secret nothing is passed on when the answer breaks off") {
    std::binary_semaphore go(0);
    TemporaryDirectory secrets;
    FakeVendor vendor(
        [&](Wire& wire) {
            if (!wire.read_request()) return;
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
            static_cast<void>(go.try_acquire_for(10s));
            say_and_end(wire, "9\r\ndata: 2\n\n\r\nf\r\ndata: s3cr3t-t0\r\n");
            wire.read_all();
        },
        vendor_ca());
    TestProxy proxy("credentials: {key: {type: bearer, value: {file: " + secrets.file("token", "s3cr3t-t0ken-of-some-length") + "}}}\nvendors:\n" + vendor_yaml("v", "v.example", vendor, true, "credential: key"));
    Wire app = proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(app.read_head());
    std::string raw = app.read_some();
    go.release();
    raw += app.read_all();
    CHECK(app.reset());
    CHECK(raw.find("data: 2\n\n") != std::string::npos);
    CHECK(raw.find("s3cr3t") == std::string::npos);
}

TEST_CASE("Expect: 100-continue is the vendor's to answer") {
    FakeVendor vendor([](Wire& wire) {
        auto head = wire.read_head();
        if (head->field("expect") != "100-continue") return;
        if (head->start_line.starts_with("POST /no")) {
            wire.write("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        CHECK(wire.silent_for(50ms));
        wire.write("HTTP/1.1 100 Continue\r\n\r\n");
        wire.read_body(*head, true);
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + head->body);
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = proxy.connected("v.example");
    app.write("POST /yes HTTP/1.1\r\nHost: v.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    CHECK(app.read_response()->status() == 100);
    app.write("hello");
    CHECK(app.read_response()->body == "hello");

    Wire other = proxy.connected("v.example");
    other.write("POST /no HTTP/1.1\r\nHost: v.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    const auto answer = other.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 417);
    CHECK(answer->field("connection") == "close");   // the body may come or not: no request can follow
}

TEST_CASE("an answer that comes before the request was sent whole reaches the application") {
    FakeVendor vendor([](Wire& wire) {
        wire.read_head();
        wire.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        wire.half_close();
        wire.read_all();
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = proxy.connected("v.example");
    app.write("POST / HTTP/1.1\r\nHost: v.example\r\nContent-Length: 50000000\r\n\r\n" + std::string(100'000, 'x'));
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 413);
    CHECK(answer->body == "big");
}

TEST_CASE("a plain connection that the application has half-closed still gets its answer") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    Wire app = Wire::to(proxy.port());
    app.write("GET http://v.example/x HTTP/1.1\r\nHost: v.example\r\n\r\n");
    app.fin();
    const auto answer = app.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
}

TEST_CASE("the application's half-close goes through a tunnel, and what the vendor says after it comes back") {
    FakeVendor vendor([](Wire& wire) {
        const std::string all = wire.read_all();
        wire.write("after all of " + all);
        wire.half_close();
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "mode: tunnel"));
    Wire app = Wire::to(proxy.port());
    app.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    REQUIRE(app.read_head());
    app.write("these words");
    app.fin();
    CHECK(app.read_all() == "after all of these words");
    CHECK_FALSE(app.reset());
    CHECK(proxy.logs("\"outcome\":\"vendor\""));
    CHECK(proxy.log().find("\"reason\"") == std::string::npos);
}

TEST_CASE("the vendor's half-close goes through a tunnel, and what the application says after it still goes there") {
    Gate ended;
    std::string heard;
    FakeVendor vendor([&](Wire& wire) {
        wire.write("my last word");
        wire.fin();
        heard = wire.read_all();
        ended.open();
    });
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false, "mode: tunnel"));
    Wire app = Wire::to(proxy.port());
    app.write("CONNECT v.example:443 HTTP/1.1\r\nHost: v.example:443\r\n\r\n");
    REQUIRE(app.read_head());
    CHECK(app.read_all() == "my last word");
    app.write("and mine");
    app.fin();
    REQUIRE(ended.wait());
    CHECK(heard == "and mine");
}

TEST_CASE("a TLS connection that the application has half-closed still gets its answer, when it comes at once") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("v", "v.example", vendor, false));
    // Half a second without an answer, and it counts as gone: a machine under load may need more than one try.
    CHECK(eventually([&] {
        Wire app = proxy.connected("v.example");
        const int together = 1;  // request, close_notify and FIN: who reads the first could know of the others
        REQUIRE(::setsockopt(app.fd(), IPPROTO_TCP, TCP_CORK, &together, sizeof together) == 0);
        app.write("GET /x HTTP/1.1\r\nHost: v.example\r\n\r\n");
        app.half_close();
        const auto answer = app.read_response();
        return answer && answer->status() == 200 && answer->whole;
    }));
}
