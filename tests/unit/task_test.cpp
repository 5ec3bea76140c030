#include <catch2/catch.hpp>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "proxy/ports/task.hpp"

using namespace sluice;

namespace {

Task<int> three() { co_return 3; }
Task<std::string> after(Wakeup& wakeup) {
    const Wait how = co_await wakeup.wait();
    co_return how == Wait::ready ? "ready" : how == Wait::timed_out ? "timed out" : "interrupted";
}
Task<std::string> twice(Wakeup& wakeup) {
    std::string first = co_await after(wakeup);
    std::string second = co_await after(wakeup);
    co_return first + ", " + second;
}
Task<int> failing() {
    throw std::runtime_error("no");
    co_return 0;
}
Task<std::string> caught() {
    try {
        co_await failing();
    } catch (const std::runtime_error& error) {
        co_return error.what();
    }
    co_return "nothing";
}
Task<std::uint64_t> many(std::uint64_t times) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < times; ++i) sum += static_cast<std::uint64_t>(co_await three());
    co_return sum;
}
Task<int> count_wakeups(Wakeup& wakeup, int times) {
    int counted = 0;
    while (counted < times) {
        co_await after(wakeup);
        ++counted;
    }
    co_return counted;
}

/// A task that was run as far as it goes, and what it came to.
template <class T>
struct Run {
    explicit Run(Task<T> task) {
        spawn(std::move(task), [this](std::exception_ptr failed, std::optional<T> result) {
            thrown = std::move(failed);
            value = std::move(result);
        });
    }
    std::exception_ptr thrown;
    std::optional<T> value;
};

struct Witness {
    int& gone;
    ~Witness() { ++gone; }
};

}  // namespace

TEST_CASE("a task that waits nowhere is over when its caller goes on") {
    CHECK(Run<std::uint64_t>(many(2)).value == 6u);
}

TEST_CASE("a million calls that end at once need no more stack than one") {
    CHECK(Run<std::uint64_t>(many(1'000'000)).value == 3'000'000u);
}

TEST_CASE("a wakeup resumes the waiter inside the call, with how the wait ended") {
    Wakeup wakeup;
    Run<std::string> run(twice(wakeup));
    CHECK_FALSE(run.value);
    CHECK(wakeup.waiting());
    wakeup.notify(Wait::timed_out);
    CHECK_FALSE(run.value);
    wakeup.notify(Wait::ready);
    CHECK(run.value == "timed out, ready");
    CHECK_FALSE(wakeup.waiting());
    wakeup.notify(Wait::ready);  // nobody: nothing
}

TEST_CASE("a hundred thousand waits one after the other need no more stack than one") {
    Wakeup wakeup;
    constexpr int times = 100'000;
    Run<int> run(count_wakeups(wakeup, times));
    for (int i = 0; i < times; ++i) wakeup.notify(Wait::ready);
    CHECK(run.value == times);
}

TEST_CASE("an exception of a task reaches whoever awaits it, at last the end of what was spawned") {
    CHECK(Run<std::string>(caught()).value == "no");
    Run<int> run(failing());
    CHECK_FALSE(run.value);
    CHECK_THROWS_AS(std::rethrow_exception(run.thrown), std::runtime_error);
}

TEST_CASE("what a spawned task holds is gone before its end is told") {
    int gone = 0, gone_at_end = -1;
    const auto holding = [](std::unique_ptr<Witness> held) -> Task<void> {
        const Witness another{held->gone};
        co_return;
    };
    spawn(holding(std::unique_ptr<Witness>(new Witness{gone})),
          [&](const std::exception_ptr&) { gone_at_end = gone; });
    CHECK(gone_at_end == 2);
}

TEST_CASE("a wakeup that is destroyed unwinds its waiter and all that await it") {
    int gone = 0;
    bool resumed = false, ended = false;
    auto wakeup = std::make_unique<Wakeup>();
    const auto inner = [&](Wakeup& on) -> Task<void> {
        const Witness witness{gone};
        co_await on.wait();
        resumed = true;
    };
    const auto outer = [&](Wakeup& on) -> Task<void> {
        const Witness witness{gone};
        co_await inner(on);
        resumed = true;
    };
    spawn(outer(*wakeup), [&](const std::exception_ptr&) { ended = true; });
    CHECK(gone == 0);
    wakeup.reset();
    CHECK(gone == 2);
    CHECK_FALSE(resumed);
    CHECK_FALSE(ended);
}

TEST_CASE("a task that nobody awaits does not begin, and takes its arguments with it") {
    int gone = 0;
    bool began = false;
    {
        const auto task = [&](std::shared_ptr<Witness>) -> Task<void> {
            began = true;
            co_return;
        };
        const Task<void> never_awaited = task(std::shared_ptr<Witness>(new Witness{gone}));
    }
    CHECK(gone == 1);
    CHECK_FALSE(began);
}
