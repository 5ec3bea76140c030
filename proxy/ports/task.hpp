// Coroutines of one worker thread. Typed end to end: `any_io_executor` costs a microsecond a request.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

namespace sluice {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;
template <class T>
using Task = asio::awaitable<T, Executor>;
inline constexpr asio::use_awaitable_t<Executor> use_task{};

/// How a wait ended.
enum class Wait : unsigned char { ready, timed_out, interrupted };

/// Where one coroutine waits for one event. `notify` resumes it at once, inside the call; without a waiter it does nothing. One thread.
class Wakeup {
  public:
    bool waiting() const { return waiter_.has_value(); }

    /// Suspends until `notify`. One waiter at a time.
    Task<Wait> wait() {
        return asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(Wait)>(
            [this](auto&& handler) { waiter_.emplace(std::forward<decltype(handler)>(handler)); }, use_task);
    }

    void notify(Wait how) {
        if (!waiter_) return;
        Handler handler = std::move(*waiter_);   // first out of the slot: the coroutine may wait here again
        waiter_.reset();
        std::move(handler)(how);
    }

  private:
    using Handler = asio::async_result<asio::use_awaitable_t<Executor>, void(Wait)>::handler_type;
    std::optional<Handler> waiter_;
};

}  // namespace sluice
