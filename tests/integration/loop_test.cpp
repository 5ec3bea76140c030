// The loop that a worker's thread sleeps in: what other threads post, deadlines and sockets, each beside the others.
#include "proxy/net/loop.hpp"

#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "proxy/net/socket.hpp"
#include "tests/support/run_task.hpp"
#include "tests/support/threads.hpp"
#include "tests/support/proxy.hpp"
#include "tests/support/wire.hpp"

using namespace sluice;
using namespace sluice::test;
using sluice::testing::eventually;
using sluice::testing::Wire;

namespace {

constexpr Duration long_time = 30s;

/// A loop on a thread of its own.
class Turning {
  public:
    ~Turning() {
        loop.post([this] { loop.stop(); });
        thread_.join();
    }
    Loop loop;

  private:
    std::thread thread_{[this] { loop.run(); }};
};

struct Action {
    std::function<void()> act;
    Deadline deadline{[](void* context) { static_cast<Action*>(context)->act(); }, this};
};

/// A socket of the loop, and who is at its other end.
struct Pair {
    explicit Pair(Loop& loop) : Pair(loop, made()) {}
    Socket socket;
    Wire peer;

  private:
    Pair(Loop& loop, std::array<int, 2> ends) : socket(loop, ends[0]), peer(ends[1]) {}
    static std::array<int, 2> made() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        return ends;
    }
};

Task<void> read_for_ever(Socket& socket, std::size_t& reads) {
    char byte;
    for (;;) {
        const Wait how = co_await socket.readable(never);
        if (how != Wait::ready) co_return;
        if (socket.read({&byte, 1}).kind == Io::Kind::some) ++reads;
    }
}

}  // namespace

TEST_CASE("what is posted wakes a loop that sleeps, each time it has gone to sleep again") {
    Turning turning;
    for (int i = 0; i < 200; ++i) {
        std::atomic<bool> ran = false;
        turning.loop.post([&] { ran = true; });
        REQUIRE(eventually([&] { return ran.load(); }));
    }
}

TEST_CASE("of what many threads post nothing is lost, and each thread's comes in its order") {
    constexpr int each = 20'000;
    Turning turning;
    std::vector<int> next(thread_count, 0);
    std::atomic<int> ran = 0, disorder = 0;
    on_threads([&](int thread) {
        for (int i = 0; i < each; ++i)
            turning.loop.post([&, thread, i] {
                if (next[static_cast<std::size_t>(thread)]++ != i) ++disorder;
                ++ran;
            });
    });
    CHECK(eventually([&] { return ran == each * thread_count; }));
    CHECK(disorder == 0);
}

TEST_CASE("closures that post themselves again leave deadlines and sockets their turn") {
    Loop loop;
    Pair pair(loop);
    std::size_t reads = 0, rounds = 0;
    spawn(read_for_ever(pair.socket, reads));
    std::function<void()> again = [&] {
        ++rounds;
        loop.post(again);
    };
    loop.post(again);
    bool fired = false;
    Action action{[&] { fired = true; }};
    loop.wheel.arm(action.deadline, Loop::now() + 20ms);
    pair.peer.write("x");
    run_until(loop, [&] { return fired && reads == 1; });
    CHECK(rounds > 1);
}

TEST_CASE("a socket that is always readable leaves deadlines and closures their turn") {
    Turning turning;
    Loop& loop = turning.loop;
    std::atomic<bool> over = false, fired = false, ran = false;
    // Each answer is the next question: both are ready in every turn.
    auto bounce = [](Socket& from, Socket& to, std::atomic<bool>& until) -> Task<void> {
        char byte;
        while (!until) {
            const Wait how = co_await from.readable(never);
            if (how != Wait::ready) co_return;
            if (from.read({&byte, 1}).kind != Io::Kind::some) continue;
            const iovec piece{&byte, 1};
            to.write({&piece, 1});
        }
    };
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    std::unique_ptr<Socket> left, right;
    Action action{[&] { fired = true; }};
    loop.post([&] {
        left = std::make_unique<Socket>(loop, ends[0]);
        right = std::make_unique<Socket>(loop, ends[1]);
        spawn(bounce(*left, *left, over));
        spawn(bounce(*right, *right, over));
        const iovec piece{const_cast<char*>("x"), 1};
        left->write({&piece, 1});
        loop.wheel.arm(action.deadline, Loop::now() + 20ms);
    });
    CHECK(eventually([&] { return fired.load(); }));
    loop.post([&] { ran = true; });
    CHECK(eventually([&] { return ran.load(); }));
    std::atomic<bool> gone = false;
    loop.post([&] {
        over = true;
        left.reset();
        right.reset();
        gone = true;
    });
    CHECK(eventually([&] { return gone.load(); }));
}

TEST_CASE("a sleeping loop wakes for its deadline, never before it and soon after") {
    Loop loop;
    TimePoint fired_at{};
    Action action{[&] {
        fired_at = Loop::now();
        loop.stop();
    }};
    Action earlier{[] {}};
    const TimePoint at = Loop::now() + 50ms;
    loop.wheel.arm(action.deadline, at);
    loop.wheel.arm(earlier.deadline, at - 30ms);
    loop.run();
    CHECK(fired_at >= at);
    CHECK(fired_at < at + 10s);
    CHECK_FALSE(earlier.deadline.armed());
}

TEST_CASE("a turn ends at its time where nothing happens") {
    Loop loop;
    const TimePoint until = Loop::now() + 20ms;
    Action action{[] {}};
    loop.wheel.arm(action.deadline, Loop::now() + long_time);
    loop.turn(until);
    CHECK(Loop::now() >= until);
    CHECK(action.deadline.armed());
}

TEST_CASE("a loop that was stopped by a deadline does not go to sleep again") {
    Loop loop;
    Action action{[&] { loop.stop(); }};
    loop.wheel.arm(action.deadline, Loop::now());
    loop.run();
    CHECK_FALSE(action.deadline.armed());
}

TEST_CASE("what was posted and never ran goes with its loop") {
    auto held = std::make_shared<int>();
    {
        Loop loop;
        loop.post([held] { FAIL("ran"); });
        CHECK(held.use_count() == 2);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("a socket that is closed in the same turn as its event is told of nothing") {
    Loop loop;
    Pair first(loop), second(loop);
    // Whichever is told first closes the other.
    std::size_t told = 0;
    const auto close_the_other = [&told](Socket& mine, Socket& other) -> Task<void> {
        const Wait how = co_await mine.readable(never);
        if (how != Wait::ready) co_return;
        ++told;
        other.close();
    };
    char byte;
    first.socket.read({&byte, 1});  // nothing there yet
    second.socket.read({&byte, 1});
    spawn(close_the_other(first.socket, second.socket));
    spawn(close_the_other(second.socket, first.socket));
    first.peer.write("x");
    second.peer.write("x");
    loop.turn(Loop::now());
    CHECK(told == 1);
}

namespace {

struct Sender {
    explicit Sender(Loop& loop) : pair(loop) {
        char byte;
        pair.socket.read({&byte, 1});  // nothing there yet
    }
    Pair pair;
};

/// Says in `told` what it does: r when it is told of input, s when it would send.
Task<void> answer_one(Loop& loop, Socket& socket, std::string& told) {
    const Wait how = co_await socket.readable(never);
    if (how != Wait::ready) co_return;
    told += 'r';
    co_await loop.poller.after_batch();
    told += 's';
}

}  // namespace

TEST_CASE("what waits for the end of a batch goes on when the last event has been told, in its order and in the same turn") {
    Loop loop;
    Sender senders[3] = {Sender(loop), Sender(loop), Sender(loop)};
    loop.turn(Loop::now());  // new sockets are told that there is room
    std::string told;
    for (Sender& sender : senders) spawn(answer_one(loop, sender.pair.socket, told));
    for (Sender& sender : senders) sender.pair.peer.write("x");
    loop.turn(Loop::now());
    CHECK(told == "rrrsss");
}

TEST_CASE("nobody waits for the end of a batch when there is none, or none but his own event") {
    Loop loop;
    Sender alone(loop);
    loop.turn(Loop::now());
    std::string told;
    spawn(answer_one(loop, alone.pair.socket, told));
    alone.pair.peer.write("x");
    loop.turn(Loop::now());
    CHECK(told == "rs");
    const auto outside = [&]() -> Task<void> {
        co_await loop.poller.after_batch();
        told += 'o';
    };
    spawn(outside());
    CHECK(told == "rso");
}

TEST_CASE("who is destroyed while it waits for the end of a batch is not resumed") {
    Loop loop;
    Sender first(loop), second(loop);
    loop.turn(Loop::now());
    std::string told;
    // A coroutine that is never awaited to its end: whoever holds it may destroy it.
    struct Held {
        struct promise_type : coroutine::Frame {
            promise_type() : Frame(std::coroutine_handle<promise_type>::from_promise(*this)) {}
            Held get_return_object() { return {self}; }
            std::suspend_always final_suspend() const noexcept { return {}; }
            void return_void() const noexcept {}
        };
        std::coroutine_handle<> frame;
    };
    const auto wait = [&]() -> Held {
        co_await loop.poller.after_batch();
        told += 's';
    };
    Held held = wait();
    bool waits = false, gone = false;
    const auto on_input = [&](Socket& socket) -> Task<void> {
        const Wait how = co_await socket.readable(never);
        if (how != Wait::ready) co_return;
        if (!std::exchange(waits, true)) {
            held.frame.resume();
        } else {
            held.frame.destroy();
            gone = true;
        }
    };
    spawn(on_input(first.pair.socket));
    spawn(on_input(second.pair.socket));
    first.pair.peer.write("x");
    second.pair.peer.write("x");
    loop.turn(Loop::now());
    CHECK(gone);
    CHECK(told.empty());
}
