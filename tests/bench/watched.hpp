// What the measured processes have used, read from outside: CPU time to the nanosecond (user and system, all threads,
// those that ended included) from the process clock, and resident memory. Used by load.cpp.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/bench/stream.hpp"

namespace sluice::bench {

class Watched {
  public:
    /// `pids` is a list such as `812,813`; empty watches nothing.
    explicit Watched(std::string_view pids) {
        while (!pids.empty()) {
            std::string_view one = pids.substr(0, pids.find(','));
            auto pid = to_number(one);
            clockid_t clock{};
            if (!pid || clock_getcpuclockid(static_cast<pid_t>(*pid), &clock) != 0)
                fail("--watch: no process " + std::string(one));
            processes_.push_back({static_cast<pid_t>(*pid), clock});
            pids.remove_prefix(std::min(pids.size(), one.size() + 1));
        }
    }

    std::chrono::nanoseconds cpu() const {
        std::chrono::nanoseconds sum{};
        for (const Process& process : processes_) {
            timespec used{};
            if (clock_gettime(process.clock, &used) != 0) fail_errno("a watched process is gone");
            sum += std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
        }
        return sum;
    }

    std::uint64_t resident_kib() const {
        std::uint64_t sum = 0;
        for (const Process& process : processes_) {
            std::ifstream status("/proc/" + std::to_string(process.pid) + "/status");
            for (std::string line; std::getline(status, line);)
                if (line.starts_with("VmRSS:")) sum += std::strtoull(line.c_str() + 6, nullptr, 10);
        }
        return sum;
    }

  private:
    struct Process {
        pid_t pid;
        clockid_t clock;
    };
    std::vector<Process> processes_;
};

}  // namespace sluice::bench
