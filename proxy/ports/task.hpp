// Coroutines of one worker thread, and what they wait for. Not Asio's `awaitable`: a request is a dozen nested calls that mostly end without waiting, and there each costs 100 instructions less; its frames
// come from the thread's own lists instead of malloc. What waits here waits for a `Wakeup`; Asio's operations are for the floors that need no speed.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

namespace sluice {

/// How a wait ended.
enum class Wait : unsigned char { ready, timed_out, interrupted };

namespace coroutine {

/// The common part of every coroutine's frame: who awaits it, and what it threw.
struct Frame {
    std::coroutine_handle<> self;
    Frame* caller = nullptr;   // null: a `spawn` began it, or it was not awaited yet
    std::exception_ptr thrown;

    explicit Frame(std::coroutine_handle<> handle) : self(handle) {}

    // Recycled, by size, a few of each on each thread: frames of idle connections must not stay when they are gone.
    static void* operator new(std::size_t size);
    static void operator delete(void* frame, std::size_t size);

    std::suspend_always initial_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

/// Destroys the coroutine that waits with all that await it, without resuming any: their destructors run.
void unwind(Frame& waiting);

/// The end of a coroutine. One that never waited is still inside its caller's `await_suspend`, which goes on by itself; so the stack grows with the depth of calls, never with their number.
struct Finish {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
        if (Frame* const caller = ended.promise().caller) caller->self.resume();
    }
    void await_resume() const noexcept {}
};

template <class T>
struct Returned {
    std::optional<T> value;
    template <class U>
    void return_value(U&& result) {
        value.emplace(std::forward<U>(result));
    }
    T take() { return std::move(*value); }
};
template <>
struct Returned<void> {
    void return_void() const noexcept {}
    void take() const noexcept {}
};

/// A coroutine that nobody awaits: runs at once, and destroys itself.
struct Detached {
    struct promise_type : Frame {
        promise_type() : Frame(std::coroutine_handle<promise_type>::from_promise(*this)) {}
        Detached get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }   // of `on_end`
    };
};

}  // namespace coroutine

/// A call that may wait. Begins when it is awaited, once; one that is destroyed before its end takes its callees with it.
template <class T>
class [[nodiscard]] Task {
  public:
    struct promise_type : coroutine::Frame, coroutine::Returned<T> {
        promise_type() : Frame(std::coroutine_handle<promise_type>::from_promise(*this)) {}
        Task get_return_object() noexcept { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
        coroutine::Finish final_suspend() const noexcept { return {}; }
    };

    Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    Task& operator=(Task&&) = delete;
    ~Task() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> caller) {
        frame_.resume();
        if (frame_.done()) return false;
        frame_.promise().caller = &caller.promise();
        return true;
    }
    T await_resume() {
        if (frame_.promise().thrown) std::rethrow_exception(std::move(frame_.promise().thrown));
        return frame_.promise().take();
    }

  private:
    explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

/// Where one coroutine waits for one event. `notify` resumes it at once, inside the call; without a waiter it does nothing. Destroyed under its waiter, it unwinds it. One thread.
class Wakeup {
  public:
    class Waiting {
      public:
        explicit Waiting(Wakeup* wakeup) : wakeup_(wakeup) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> waiter) noexcept {
            frame_ = &waiter.promise();
            wakeup_->waiter_ = this;
        }
        Wait await_resume() const noexcept { return how_; }

      private:
        friend class Wakeup;
        Wakeup* wakeup_;
        coroutine::Frame* frame_ = nullptr;
        Wait how_ = Wait::ready;
    };

    Wakeup() = default;
    Wakeup(const Wakeup&) = delete;
    ~Wakeup() {
        if (waiter_) coroutine::unwind(*std::exchange(waiter_, nullptr)->frame_);
    }

    bool waiting() const { return waiter_ != nullptr; }

    /// Suspends until `notify`. One waiter at a time.
    Waiting wait() { return Waiting(this); }

    void notify(Wait how) {
        if (!waiter_) return;
        Waiting& waiter = *std::exchange(waiter_, nullptr);   // first out of the slot: the coroutine may wait here again
        waiter.how_ = how;
        waiter.frame_->self.resume();
    }

  private:
    Waiting* waiter_ = nullptr;
};

namespace coroutine {

template <class T, class End>
Detached drive(Task<T> task, End on_end) {
    std::exception_ptr thrown;
    std::optional<T> value;
    {
        Task<T> running = std::move(task);   // gone, with what it holds, before `on_end` looks around
        try {
            value.emplace(co_await running);
        } catch (...) {
            thrown = std::current_exception();
        }
    }
    on_end(std::move(thrown), std::move(value));
}

template <class End>
Detached drive(Task<void> task, End on_end) {
    std::exception_ptr thrown;
    {
        Task<void> running = std::move(task);
        try {
            co_await running;
        } catch (...) {
            thrown = std::current_exception();
        }
    }
    on_end(std::move(thrown));
}

}  // namespace coroutine

/// Runs `task` on its own, from now on. At its end `on_end(std::exception_ptr)` is called, which must not throw; of a task with a value `on_end(std::exception_ptr, std::optional<T>)`.
template <class T, class End>
void spawn(Task<T> task, End on_end) {
    coroutine::drive(std::move(task), std::move(on_end));
}
inline void spawn(Task<void> task) {
    spawn(std::move(task), [](const std::exception_ptr&) {});
}

}  // namespace sluice
