// Runs a program of the operator's that prints a credential: with nothing of ours but what it is given, bounded in time and output, and gone with all its children when it is over. Blocking: for a thread of
// its own (`Errand::aside`).
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/secret.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct Program {
    std::vector<std::string> command;   // the program, looked for in PATH unless there is a '/' in it, and its arguments
    std::vector<std::pair<std::string, Secret>> environment;   // all of it, beside our PATH and HOME where it has none of its own
    std::string input;                  // on its standard input, at most 4 KiB; "": there is nothing (/dev/null)
    TimePoint deadline = never;
    Duration grace = 500ms;             // after SIGTERM; then comes SIGKILL
};

struct ProgramEnd {
    enum class How : unsigned char { exited, signalled, not_started, late, too_much, stopped };
    How how = How::not_started;
    int code = 0;            // exited: its status; signalled: the signal
    Secret output;           // of its standard output, at most 1 MiB
    std::string complaint;   // the first 4 KiB of its standard error; of not_started why. As it came: mask it before it is shown
};

/// Whatever happens, the program has been waited for when it returns, and whoever is left of its process group is killed. Looks at `stopping` ten times a second.
ProgramEnd run_program(const Program& program, const std::atomic<bool>& stopping);

}  // namespace sluice
