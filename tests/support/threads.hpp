// Threads that work on one thing at the same time, for tests of what workers share. Assertions are for the test's own
// thread: Catch2 takes them from no other.
#pragma once

#include <barrier>
#include <thread>
#include <vector>

namespace sluice {

inline constexpr int thread_count = 4;

/// Runs `work(thread, round)` on four threads, all of which end a round before any begins the next; `between(round)` runs
/// alone after each round.
template <class Work, class Between>
void in_rounds(int rounds, Work work, Between between) {
    std::barrier begin{thread_count + 1}, end{thread_count + 1};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < thread_count; ++thread) {
        threads.emplace_back([&, thread] {
            for (int round = 0; round < rounds; ++round) {
                begin.arrive_and_wait();
                work(thread, round);
                end.arrive_and_wait();
            }
        });
    }
    for (int round = 0; round < rounds; ++round) {
        begin.arrive_and_wait();
        end.arrive_and_wait();
        between(round);
    }
    for (std::thread& thread : threads) thread.join();
}

/// The same, once.
template <class Work>
void on_threads(Work work) {
    in_rounds(1, [&](int thread, int) { work(thread); }, [](int) {});
}

}  // namespace sluice
