#include <catch2/catch.hpp>
#include <vector>

#include "proxy/net/loop.hpp"
#include "proxy/ports/clock.hpp"

using namespace sluice;

TEST_CASE("the clock stands still while it is held, and goes on afterwards") {
    const TimePoint before = Clock::now();
    TimePoint held;
    {
        const Clock::Hold hold;
        held = Clock::now();
        while (std::chrono::steady_clock::now() == held) {}
        CHECK(Clock::now() == held);
    }
    CHECK(before <= held);
    CHECK(Clock::now() > held);
}

TEST_CASE("large buffers are few, and come back by themselves") {
    BulkPool pool;
    std::vector<BulkPool::Buffer> taken;
    for (std::size_t i = 0; i < BulkPool::most; ++i) REQUIRE(taken.emplace_back(pool.take(nullptr)));
    CHECK_FALSE(pool.take(nullptr));
    taken.pop_back();
    CHECK(pool.take(nullptr));
    taken.clear();
    CHECK(pool.take(nullptr));
}
