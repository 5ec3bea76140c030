// Signals as events of a loop, with who sent them.
#pragma once

#include <signal.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <initializer_list>

namespace sluice {

/// Blocks signals in the thread that makes it, and in the threads that are started while it lives: made before the
/// first.
class BlockedSignals {
  public:
    explicit BlockedSignals(std::initializer_list<int> numbers);
    ~BlockedSignals();
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;

    const sigset_t& numbers() const { return numbers_; }
    /// The mask from before: what a child is to start with.
    const sigset_t& before() const { return before_; }

  private:
    sigset_t numbers_{}, before_{};
};

struct Signal {
    int number = 0;
    bool from_terminal = false;  // the kernel sent it: the whole foreground process group has it, a child of ours too
};

/// Hands on the blocked signals, those that came in before it was made too. Not to outlive the loop.
class SignalReader {
  public:
    using Handle = std::function<void(const Signal&)>;
    /// `handle` is called on the loop's thread.
    SignalReader(const BlockedSignals& signals, boost::asio::io_context& io, Handle handle);

  private:
    void read_next();

    boost::asio::posix::stream_descriptor descriptor_;
    Handle handle_;
};

}  // namespace sluice
