#include "proxy/policy/wait_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/policy/bulkhead.hpp"
#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

constexpr TimePoint start{1000h};

/// A worker of its own thread: woken by whoever, it looks again.
struct Sleeper {
    std::mutex mutex;
    std::condition_variable changed;
    bool woken = false;

    static void wake(void* whom) {
        auto& self = *static_cast<Sleeper*>(whom);
        const std::lock_guard lock(self.mutex);
        self.woken = true;
        self.changed.notify_one();
    }
    /// False: nobody has woken it for so long that nobody ever will.
    bool sleep() {
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, 30s, [&] { return woken; })) return false;
        woken = false;
        return true;
    }
};

/// A request as a coroutine would do it; nothing: a wake-up was lost.
std::optional<Lease> sit_down(Bulkhead& seats, WaitQueue& queue, unsigned limit, int priority) {
    Sleeper sleeper;
    Waiter waiter{priority, Sleeper::wake, &sleeper};
    Turn turn(queue, waiter, never);
    for (;;) {
        if (turn.may_try()) {
            if (auto lease = seats.enter(limit)) {
                turn.took();
                return lease;
            }
        }
        const auto until = turn.wait_until({Part::seats, never}, start);
        if (!until) return {};
        if (*until > start && !sleeper.sleep()) return {};
    }
}

/// Counts how often it was woken.
struct Count {
    int wakes = 0;
    static void wake(void* whom) { ++static_cast<Count*>(whom)->wakes; }
};

}  // namespace

TEST_CASE("seats are never more than the limit, and come back with their lease") {
    WaitQueue queue;
    Bulkhead seats(queue);
    auto one = seats.enter(2);
    auto two = seats.enter(2);
    REQUIRE((one && two));
    CHECK_FALSE(seats.enter(2));
    CHECK(seats.in_use() == 2);
    auto three = seats.enter(3);  // the limit may grow,
    CHECK(three);
    one.reset();
    CHECK_FALSE(seats.enter(2));  // and shrink below what is taken
    Lease moved = std::move(*two);
    two.reset();
    CHECK(seats.in_use() == 2);
    moved = std::move(*three);
    CHECK(seats.in_use() == 1);
    moved.give_back();
    moved.give_back();
    CHECK(seats.in_use() == 0);
    CHECK_FALSE(seats.enter(0));
}

TEST_CASE("higher priority first, then in the order they came") {
    WaitQueue queue;
    Count counts[5];
    const int priorities[5] = {0, 5, 0, 5, -3};
    std::list<Waiter> waiters;
    for (int i = 0; i < 5; ++i) {
        waiters.push_back({priorities[i], Count::wake, &counts[i]});
        CHECK(queue.join(waiters.back()));
    }
    CHECK(queue.size() == 5);
    std::string order;
    while (!queue.empty()) {
        for (int i = 0; Waiter & waiter : waiters) {
            if (queue.is_head(waiter)) {
                order += std::to_string(i);
                queue.leave(waiter);
                break;
            }
            ++i;
        }
    }
    CHECK(order == "13024");
    CHECK(queue.size() == 0);
}

TEST_CASE("whoever becomes first is woken, and once only until it looks") {
    WaitQueue queue;
    Count a, b;
    Waiter first{0, Count::wake, &a}, second{0, Count::wake, &b};
    queue.wake_head();  // nobody there
    queue.join(first);
    queue.join(second);
    CHECK(a.wakes == 0);
    queue.wake_head();
    queue.wake_head();
    CHECK(a.wakes == 1);
    CHECK(queue.is_head(first));
    queue.wake_head();
    CHECK(a.wakes == 2);
    CHECK(b.wakes == 0);
    queue.leave(first);
    CHECK(b.wakes == 1);
    queue.leave(first);  // not there any more
    CHECK(queue.is_head(second));
    queue.join(first);
    queue.leave(first);  // from behind: it is the same one's turn as before
    CHECK(a.wakes == 2);
    CHECK(b.wakes == 1);
    queue.leave(second);
    CHECK(queue.empty());
    CHECK(b.wakes == 1);
}

TEST_CASE("a seat is free before the one who waits for it is woken") {
    WaitQueue queue;
    Bulkhead seats(queue);
    struct Look {
        Bulkhead& seats;
        unsigned in_use = 99;
    } look{seats};
    Waiter waiter{0, [](void* whom) { static_cast<Look*>(whom)->in_use = static_cast<Look*>(whom)->seats.in_use(); },
                  &look};
    auto lease = seats.enter(1);
    queue.join(waiter);
    lease.reset();
    CHECK(look.in_use == 0);
    queue.leave(waiter);
}

TEST_CASE("a priority is a whole number, and one that is too large is the largest") {
    constexpr int most = std::numeric_limits<int>::max(), least = std::numeric_limits<int>::min();
    const std::pair<const char*, int> rows[] = {
        {"0", 0},
        {"5", 5},
        {"-7", -7},
        {"2147483647", most},
        {"2147483648", most},
        {"1795768826497", most},                   // a time in milliseconds
        {"99999999999999999999999999999", most},   // beyond 64 bits
        {"-2147483648", least},
        {"-2147483649", least},
        {"-99999999999999999999999999999", least},
        {"", 0},
        {"high", 0},
        {"7x", 0},
        {"99999999999999999999x", 0},
        {"1.5", 0},
        {"+9", 0},
        {" 9", 0},
    };
    for (const auto& [text, priority] : rows) {
        CAPTURE(text);
        CHECK(read_priority(text) == priority);
    }
}

TEST_CASE("a newcomer passes only those of lower priority") {
    WaitQueue queue;
    Count count;
    CHECK(queue.lets_pass(std::numeric_limits<int>::min()));
    Waiter waiter{3, Count::wake, &count};
    queue.join(waiter);
    CHECK_FALSE(queue.lets_pass(3));
    CHECK_FALSE(queue.lets_pass(-1));
    CHECK(queue.lets_pass(4));
    queue.leave(waiter);
    CHECK(queue.lets_pass(3));
}

TEST_CASE("of four places that are taken while somebody waits one goes by age, whoever comes") {
    WaitQueue queue;
    Count count;
    std::list<Waiter> waiters;
    const auto come = [&](int priority) {
        waiters.push_back({priority, Count::wake, &count});
        CHECK(queue.join(waiters.back()));
    };
    const auto next = [&] {
        const auto who = std::find_if(waiters.begin(), waiters.end(), [&](Waiter& w) { return queue.is_head(w); });
        const int priority = who->priority;
        queue.leave(*who, true);
        waiters.erase(who);
        return priority;
    };
    for (const int priority : {0, -7, 9, 9, 9}) come(priority);
    std::vector<int> order;
    for (int i = 0; i < 12; ++i, come(9)) order.push_back(next());
    CHECK(order == std::vector{9, 9, 9, 0, 9, 9, 9, -7, 9, 9, 9, 9});  // in the end all are alike

    SECTION("those that pass without waiting are counted") {
        while (!queue.empty()) next();
        Count low;
        Waiter waiter{0, Count::wake, &low};
        queue.join(waiter);
        queue.leave(waiter, true);  // it was the oldest: three may go before the next
        queue.join(waiter);
        for (int i = 0; i < 3; ++i) {
            CHECK(queue.lets_pass(9));
            queue.passed();
        }
        CHECK_FALSE(queue.lets_pass(std::numeric_limits<int>::max()));
        Waiter high{9, Count::wake, &count};
        queue.join(high);
        CHECK(queue.is_head(waiter));
        CHECK_FALSE(queue.is_head(high));
        queue.leave(waiter, true);
        CHECK(queue.is_head(high));
        CHECK(queue.lets_pass(10));
        queue.leave(high);
    }
    SECTION("whoever's turn it becomes is woken") {
        while (!queue.empty()) next();
        Count low, counts[4];
        Waiter waiter{0, Count::wake, &low};
        queue.join(waiter);
        queue.leave(waiter, true);
        Waiter high[4] = {{9, Count::wake, &counts[0]},
                          {9, Count::wake, &counts[1]},
                          {9, Count::wake, &counts[2]},
                          {9, Count::wake, &counts[3]}};
        queue.join(waiter);
        for (Waiter& one : high) queue.join(one);
        queue.leave(high[0], true);
        queue.leave(high[1], true);
        CHECK(low.wakes == 0);
        queue.leave(high[2], true);
        CHECK(low.wakes == 1);
        CHECK(counts[3].wakes == 0);
        queue.leave(waiter);  // its time was up
        CHECK(counts[3].wakes == 1);
        queue.leave(high[3]);
    }
    while (!queue.empty()) next();
}

TEST_CASE("who finds the queue full is refused at once") {
    WaitQueue queue(2);
    Count count;
    Waiter waiters[3] = {{0, Count::wake, &count}, {0, Count::wake, &count}, {9, Count::wake, &count}};
    CHECK(queue.join(waiters[0]));
    CHECK(queue.join(waiters[1]));
    CHECK_FALSE(queue.join(waiters[2]));
    {
        Turn turn(queue, waiters[2], start + 1s);
        CHECK_FALSE(turn.wait_until({Part::seats, never}, start));
    }
    queue.leave(waiters[0]);
    CHECK(queue.join(waiters[2]));
    for (Waiter& waiter : waiters) queue.leave(waiter);
}

TEST_CASE("a turn: try, join, try once more, sleep until a time that helps") {
    WaitQueue queue;
    Count a, b;
    Waiter first{0, Count::wake, &a}, second{0, Count::wake, &b};
    Turn one(queue, first, start + 500ms), two(queue, second, start + 300ms);

    CHECK(one.may_try());
    CHECK(one.wait_until({Part::rate, start + 100ms}, start) == start);  // joined: look again
    CHECK(one.waits());
    CHECK(one.may_try());
    CHECK(one.wait_until({Part::rate, start + 100ms}, start) == start + 100ms);
    CHECK(one.wait_until({Part::seats, never}, start) == start + 500ms);
    CHECK(one.wait_until({Part::rate, start + 500ms}, start) == start + 500ms);  // just in time

    CHECK_FALSE(two.may_try());
    CHECK(two.wait_until({Part::rate, start + 100ms}, start) == start);
    CHECK_FALSE(two.may_try());
    CHECK(two.wait_until({Part::rate, start + 100ms}, start) == start + 300ms);  // woken when it is first

    one.leave();
    CHECK(b.wakes == 1);
    CHECK(two.may_try());
    CHECK(two.wait_until({Part::tokens, start + 400ms}, start) == start + 300ms);  // others may give some back
    CHECK_FALSE(two.wait_until({Part::rate, start + 400ms}, start));               // nobody can
    CHECK_FALSE(two.wait_until({Part::learnt, start + 400ms}, start));
    CHECK_FALSE(two.wait_until({Part::seats, never}, start + 300ms));
}

TEST_CASE("nobody waits where the policy says no wait") {
    WaitQueue queue;
    Count count;
    Waiter waiter{0, Count::wake, &count};
    Turn turn(queue, waiter, start);
    CHECK(turn.may_try());
    CHECK_FALSE(turn.wait_until({Part::seats, never}, start));
    CHECK(queue.empty());
}

TEST_CASE("random walk: no seat is lost or passed on out of order, and none stays free while somebody waits") {
    struct Client {
        Waiter waiter;
        std::optional<Turn> turn;
        std::optional<Lease> lease;
        TimePoint deadline;
        std::uint64_t came = 0;
        std::size_t before = 0, after = 0;  // waited when it came; places that were taken since then
        bool posted = false;                // a wake-up on its way
    };
    std::uint64_t admitted = 0, given_up = 0, waited = 0;
    for (int round = 0; round < 300 / walk::slower; ++round) {
        walk::Dice dice(round);
        WaitQueue queue(1 + dice.below(30));
        Bulkhead seats(queue);
        unsigned limit = 1 + dice.below(5);
        std::vector<Client> clients(40);
        TimePoint now = start;
        std::uint64_t coming = 0;
        unsigned in_a_row = 0;  // by priority
        const auto end = [](Client& client) { client.turn.reset(); };
        const auto goes_before = [](const Client& a, const Client& b) {
            return a.waiter.priority != b.waiter.priority ? a.waiter.priority > b.waiter.priority : a.came < b.came;
        };
        const auto took = [&](Client& client) {
            const bool newcomer = !client.turn->waits(), by_age = in_a_row == 3;
            bool alone = true, oldest = true;
            for (Client& other : clients) {
                if (&other == &client || !other.turn || !other.turn->waits()) continue;
                alone = false;
                oldest &= client.came < other.came;
                const bool passed = by_age     ? newcomer || other.came < client.came
                                    : newcomer ? other.waiter.priority >= client.waiter.priority
                                               : goes_before(other, client);
                if (passed) FAIL("passed somebody, seed " << round);
                if (++other.after >= 4 * (other.before + 1)) FAIL("starved, seed " << round);
            }
            if (!newcomer || !alone) in_a_row = oldest && !newcomer ? 0 : std::min(in_a_row + 1, 3u);
            client.turn->took();
        };
        // Everything that a coroutine does from one sleep to the next.
        const auto run = [&](Client& client) {
            for (;;) {
                if (client.turn->may_try()) {
                    if ((client.lease = seats.enter(limit))) {
                        const bool has_waited = client.turn->waits();
                        took(client);
                        if (seats.in_use() > limit) FAIL("too many seats, seed " << round);
                        waited += has_waited;
                        ++admitted;
                        return end(client);
                    }
                }
                const auto until = client.turn->wait_until({Part::seats, never}, now);
                if (!until) {
                    ++given_up;
                    return end(client);
                }
                if (*until > now) return;
            }
        };
        for (int step = 0; step < 30'000; ++step) {
            now += Duration(dice.below(1000));
            Client& client = clients[dice.below(clients.size())];
            if (client.lease) {
                if (dice.one_in(2)) client.lease.reset();
            } else if (!client.turn) {
                client.waiter = {static_cast<int>(dice.below(4)),
                                 [](void* whom) { static_cast<Client*>(whom)->posted = true; }, &client, now};
                client.posted = false;
                client.deadline = now + Duration(dice.below(60'000));
                client.came = ++coming;
                client.before = queue.size();
                client.after = 0;
                client.turn.emplace(queue, client.waiter, client.deadline);
                run(client);
            } else if (client.posted || client.deadline <= now) {
                client.posted = false;
                run(client);
            } else if (dice.one_in(50)) {
                end(client);  // the application went away
            }
            if (dice.one_in(300)) {
                limit = 1 + dice.below(5);
                queue.wake_head();
            }
            const auto of = [&](auto what) { return std::any_of(clients.begin(), clients.end(), what); };
            const bool waits = of([](const Client& c) { return c.turn && c.turn->waits(); });
            const bool posted = of([](const Client& c) { return c.turn && c.turn->waits() && c.posted; });
            if (waits == queue.empty()) FAIL("the queue does not know who waits, seed " << round);
            if (waits && !posted && seats.in_use() < limit)
                FAIL("a wake-up was lost, seed " << round << " step " << step);
        }
        for (Client& client : clients) {
            end(client);
            client.lease.reset();
        }
        if (seats.in_use() != 0 || !queue.empty()) FAIL("something is left, seed " << round);
    }
    CHECK(admitted > 150'000 / walk::slower);
    CHECK(waited > 80'000 / walk::slower);
    CHECK(given_up > 10'000 / walk::slower);
}

TEST_CASE("threads share seats: never too many, no wake-up lost, each is served", "[multi-worker]") {
    constexpr unsigned limit = 3, threads = 8;
    constexpr int rounds = 20'000 / walk::slower;
    WaitQueue queue;
    Bulkhead seats(queue);
    std::atomic<unsigned> inside{0}, most_inside{0};
    std::atomic<std::uint64_t> admitted{0};
    std::atomic<int> lost{0};
    const auto work = [&](unsigned id) {
        walk::Dice dice(id);
        for (int i = 0; i < rounds && lost == 0; ++i) {
            auto lease = sit_down(seats, queue, limit, 0);
            if (!lease) {
                ++lost;
                return;
            }
            ++admitted;
            const unsigned now_inside = inside.fetch_add(1) + 1;
            unsigned seen = most_inside;
            while (seen < now_inside && !most_inside.compare_exchange_weak(seen, now_inside)) {
            }
            for (auto spin = dice.below(200); spin > 0; --spin) inside.load();
            inside.fetch_sub(1);
        }
    };
    std::vector<std::thread> workers;
    for (unsigned id = 0; id < threads; ++id) workers.emplace_back(work, id);
    for (std::thread& worker : workers) worker.join();
    CHECK(lost == 0);
    CHECK(most_inside <= limit);
    CHECK(admitted == threads * rounds);
    CHECK(seats.in_use() == 0);
    CHECK(queue.empty());
}

TEST_CASE("threads that wait are let in by priority, then in the order they came, but for each fourth",
          "[multi-worker]") {
    WaitQueue queue;
    Bulkhead seats(queue);
    const int priorities[] = {0, 2, 1, 2, 0, 1, 7, 0};
    for (int round = 0; round < 200 / walk::slower; ++round) {
        auto held = seats.enter(1);
        REQUIRE(held);
        std::string order;  // whoever has the seat writes
        std::atomic<bool> lost{false};
        std::vector<std::thread> workers;
        for (unsigned id = 0; id < std::size(priorities); ++id) {
            workers.emplace_back([&, id] {
                auto lease = sit_down(seats, queue, 1, priorities[id]);
                if (!lease) lost = true;
                if (lease) order += std::to_string(id);
            });
            while (queue.size() <= id) std::this_thread::yield();
        }
        held.reset();
        for (std::thread& worker : workers) worker.join();
        REQUIRE_FALSE(lost);
        REQUIRE(order == "61302547");  // each fourth by age
    }
}
