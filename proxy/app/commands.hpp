// The command line: what can be asked of the program, and what each question is answered with.
#pragma once

#include "proxy/app/console.hpp"

namespace sluice {

/// Parses and carries out one command; the process's exit code: 0, 1 failure, 2 usage, 78 bad policy (`exec`: the
/// command's own).
int run_command_line(int argc, const char* const* argv, Streams& streams);

}  // namespace sluice
