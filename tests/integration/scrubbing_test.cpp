// What an application sees of an answer that is searched for the secret its request was given: when, in which pieces, and what of one that cannot be searched.
#include <catch2/catch.hpp>
#include <semaphore>

#include "tests/support/gzip.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string secret = "sk-live-0123456789abcdef";

struct Searched {
    FakeVendor vendor;
    TemporaryDirectory keys;
    TestProxy proxy;

    explicit Searched(FakeVendor::Serve serve, const std::string& more = "")
        : vendor(std::move(serve), vendor_ca()), proxy("credentials:\n  key: {type: bearer, value: {file: " + keys.file("key", secret) + "}}\nvendors:\n" +
                                                       vendor_yaml("v", "v.example", vendor, true, "credential: key\n" + more)) {}
};

std::string in_chunks(const std::vector<std::string>& chunks) {
    std::string out;
    for (const std::string& chunk : chunks) {
        char size[16];
        std::snprintf(size, sizeof size, "%zx\r\n", chunk.size());
        out += size + chunk + "\r\n";
    }
    return out;
}

const std::string chunked_head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

// Answers each request with `fields` and a body.
FakeVendor::Serve coded(std::string status, std::string fields, std::string body, Seen* seen = nullptr) {
    return [=](Wire& wire) {
        while (auto request = wire.read_request()) {
            const bool head = request->start_line.starts_with("HEAD");
            if (seen) seen->add(std::move(*request));
            wire.write("HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + (head ? "" : body));
        }
    };
}

}  // namespace

TEST_CASE("events and lines of an answer that is searched reach the application one by one, as they come") {
    const std::vector<std::string> messages = {"data: {\"word\": \"hello\"}\n\n", "data: " + secret + "\n\n", "event: done\r\n\r\n", "{\"id\": 1}\n", "{\"id\": 2}", "[3]"};
    std::counting_semaphore<16> taken(0);
    Searched searched([&](Wire& wire) {
        wire.read_request();
        wire.write(chunked_head);
        for (const std::string& message : messages) {
            wire.write(in_chunks({message}));
            if (!taken.try_acquire_for(10s)) return;   // nothing more until it is there
        }
        wire.write("0\r\n\r\n");
    });
    Wire app = searched.proxy.connected("v.example");
    app.write("GET / HTTP/1.1\r\nHost: v.example\r\n\r\n");
    REQUIRE(app.read_head());
    for (std::string message : messages) {
        if (const auto at = message.find(secret); at != message.npos) message.replace(at, secret.size(), secret.size(), '*');
        const std::string expected = in_chunks({message});
        REQUIRE(app.read_exactly(expected.size()) == expected);
        taken.release();
    }
    CHECK(app.read_exactly(5) == "0\r\n\r\n");
}

TEST_CASE("an application that has its guesses at a secret repeated gets them in the same pieces whether they are right or wrong") {
    // The guess ends a piece, and more comes only once the one before was seen: were it held back by whether it agrees, the chunks would tell.
    std::counting_semaphore<16> seen_first(0);
    Searched searched([&](Wire& wire) {
        while (auto request = wire.read_request()) {
            wire.write(chunked_head + in_chunks({"item: |" + request->field("x-guess")}));
            if (!seen_first.try_acquire_for(10s)) return;
            wire.write(in_chunks({"| is not here\n"}) + "0\r\n\r\n");
        }
    });
    Wire app = searched.proxy.connected("v.example");
    for (const std::size_t size : {1, 2, 7, 23}) {
        for (const bool right : {true, false}) {
            std::string guess = secret.substr(0, size);
            if (!right) guess.back() = guess.back() == 'x' ? 'y' : 'x';
            CAPTURE(guess);
            app.write("GET / HTTP/1.1\r\nHost: v.example\r\nX-Guess: " + guess + "\r\n\r\n");
            REQUIRE(app.read_head());
            const std::string first = in_chunks({"item: |"});
            CHECK(app.read_exactly(first.size()) == first);
            seen_first.release();
            const std::string rest = in_chunks({guess, "| is not here\n"}) + "0\r\n\r\n";
            CHECK(app.read_exactly(rest.size()) == rest);
        }
    }
}

TEST_CASE("where `scrub: deep` decodes, a range is asked for without a coding, and all else in those that we know") {
    Seen seen;
    Searched searched(coded("200 OK", "", "ok", &seen), "scrub: deep\n");
    searched.proxy.get("v.example", "/", "Range: bytes=0-9\r\nAccept-Encoding: gzip\r\n");
    searched.proxy.get("v.example", "/", "range: bytes=0-9\r\n");
    searched.proxy.get("v.example", "/", "Accept-Encoding: gzip, x-other\r\n");
    searched.proxy.get("v.example", "/");
    const auto all = seen.all();
    REQUIRE(all.size() == 4);
    CHECK(all[0].field("accept-encoding") == "identity");
    CHECK(all[1].field("accept-encoding") == "identity");
    CHECK(all[2].field("accept-encoding") == "gzip, deflate, br, zstd");
    CHECK(all[3].count("accept-encoding") == 0);
}

TEST_CASE("what some vendors read as Accept-Encoding does not pass where it is ours to say") {
    const std::string scrub = GENERATE("identity", "deep");
    Seen seen;
    Searched searched(coded("200 OK", "", "ok", &seen), "scrub: " + scrub + "\n");
    searched.proxy.get("v.example", "/", "Accept_Encoding: x-other\r\nAccept-Encoding: gzip\r\nACCEPT_ENCODING: br\r\n");
    searched.proxy.get("v.example", "/", "Accept_Encoding: x-other\r\n");
    for (const Message& request : seen.all()) {
        CAPTURE(scrub);
        CHECK(request.count("accept_encoding") == 0);
        CHECK(request.count("accept-encoding") <= 1);
        CHECK(request.field("accept-encoding").find("x-other") == std::string::npos);
    }
}

TEST_CASE("an answer that `scrub: deep` cannot decode is refused, and says why without a word of it") {
    struct Row {
        std::string status, fields, says;
    };
    const Row rows[] = {
        {"206 Partial Content", "Content-Encoding: gzip\r\nContent-Range: bytes 0-9/99\r\n", "a part (206)"},
        {"200 OK", "Content-Encoding: gzip, gzip, gzip, gzip\r\n", "more than 3"},
        {"200 OK", "Content-Encoding: gzip\r\nContent-Encoding: x-" + secret + "\r\n", "not known here"},
        {"404 Not Found", "Content-Encoding: compress\r\n", "not known here"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.fields);
        const std::string body = gzipped("you showed " + secret);
        Searched searched(coded(row.status, row.fields, body), "scrub: deep\n");
        const Message answer = searched.proxy.get("v.example");
        CHECK(answer.status() == 502);
        CHECK(answer.reason() == "upstream_protocol");
        CHECK(answer.body.find(row.says) != std::string::npos);
        CHECK(answer.body.find("`scrub: identity`") != std::string::npos);
        CHECK(answer.body.find(secret) == std::string::npos);
        CHECK(answer.count("content-encoding") == 0);
    }
}

TEST_CASE("what `scrub: deep` cannot decode passes where there is nothing to search: no body, no secret, no such wish") {
    const std::string fields = "Content-Encoding: x-other\r\n";
    SECTION("the answer to HEAD") {
        Searched searched(coded("200 OK", fields, "body"), "scrub: deep\n");
        Wire app = searched.proxy.connected("v.example");
        app.write("HEAD / HTTP/1.1\r\nHost: v.example\r\n\r\n");
        const auto answer = app.read_response(true);
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        CHECK(answer->field("content-encoding") == "x-other");
    }
    SECTION("a 304") {
        Searched searched(always("HTTP/1.1 304 Not Modified\r\n" + fields + "\r\n"), "scrub: deep\n");
        CHECK(searched.proxy.get("v.example").status() == 304);
    }
    SECTION("an empty body") {
        Searched searched(coded("200 OK", fields, ""), "scrub: deep\n");
        CHECK(searched.proxy.get("v.example").status() == 200);
    }
    SECTION("a part without a coding") {
        Searched searched(coded("206 Partial Content", "Content-Range: bytes 0-3/9\r\n", "body"), "scrub: deep\n");
        CHECK(searched.proxy.get("v.example", "/", "Range: bytes=0-3\r\n").body == "body");
    }
    SECTION("`scrub: identity`, which searches it as it is") {
        Searched searched(coded("200 OK", fields, "body " + secret), "scrub: identity\n");
        CHECK(searched.proxy.get("v.example").body == "body " + std::string(secret.size(), '*'));
    }
    SECTION("a request that was given no secret") {
        FakeVendor vendor(coded("200 OK", fields, "body"), vendor_ca());
        TemporaryDirectory keys;
        TestProxy proxy("credentials:\n  key: {type: bearer, value: {file: " + keys.file("key", "short") + "}}\nvendors:\n" +
                        vendor_yaml("v", "v.example", vendor, true, "credential: key\nscrub: deep\n"));
        CHECK(proxy.get("v.example").body == "body");
    }
}
