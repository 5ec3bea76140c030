// What an application sees of an answer that is searched for the secret its request was given: when, in which pieces.
#include <catch2/catch.hpp>
#include <semaphore>

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
