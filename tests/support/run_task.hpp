// Runs coroutines of one loop to their end, in a test's own thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "proxy/net/loop.hpp"
#include "proxy/ports/asio.hpp"

namespace sluice::test {

/// What else lives on this thread while a loop is turned: servers of the test's own.
inline thread_local std::vector<asio::io_context*> beside;

/// Turns the loop until `done`; a test that hangs fails instead.
inline void run_until(Loop& loop, const std::function<bool()>& done, Duration patience = 20s) {
    const TimePoint limit = Loop::now() + patience;
    while (!done()) {
        if (Loop::now() >= limit) throw std::runtime_error("nothing came of it in time");
        loop.turn(Loop::now() + (beside.empty() ? 100ms : 1ms));
        for (asio::io_context* io : beside) {
            io->restart();
            io->poll();
        }
    }
}

/// A coroutine under way, and what it came to.
template <class T>
class Running {
  public:
    Running(Loop& loop, Task<T> task) : loop_(loop), end_(std::make_shared<End>()) {
        spawn(std::move(task), [end = end_](std::exception_ptr failed, std::optional<T> value) {
            *end = {std::move(failed), std::move(value)};
        });
    }
    bool done() const { return end_->failed || end_->value; }
    T& get() {
        run_until(loop_, [this] { return done(); });
        if (end_->failed) std::rethrow_exception(end_->failed);
        return *end_->value;
    }

  private:
    struct End {
        std::exception_ptr failed;
        std::optional<T> value;
    };
    Loop& loop_;
    std::shared_ptr<End> end_;
};

template <class T>
T run(Loop& loop, Task<T> task) {
    Running<T> running(loop, std::move(task));
    return std::move(running.get());
}

}  // namespace sluice::test
