// The thread that writes the log. Workers hand it whole buffers and never wait for whoever reads: what is more than 8
// MiB behind is dropped and counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace sluice {

class LogWriter {
  public:
    static constexpr std::size_t max_waiting = 8 * 1024 * 1024;  // bytes

    /// Writes to a duplicate of `fd`, so the caller may close its own. Starts the thread.
    explicit LogWriter(int fd);
    /// Writes what is left, for at most a second.
    ~LogWriter();

    /// Takes over the bytes of `buffer`, whole lines, and leaves it empty. Any thread.
    void take(std::string& buffer);

    /// Lines that were dropped since the start. Any thread.
    std::uint64_t dropped() const;

  private:
    struct Shared;
    std::shared_ptr<Shared> shared_;  // with the thread: it may be stuck in a write when we must go on
    std::thread thread_;
};

}  // namespace sluice
