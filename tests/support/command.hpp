// A command as a person calls it, in this process: what it prints, and what it ends with.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/app/commands.hpp"

namespace sluice::testing {

struct Ran {
    int code = -1;
    std::string out, err;
};

inline Ran sluice_command(const std::vector<std::string>& words, bool coloured = false) {
    std::ostringstream out, err;
    Streams streams{Console(out, coloured, coloured), Console(err, coloured, coloured)};
    std::vector<const char*> argv = {"sluice"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    Ran ran;
    ran.code = run_command_line(static_cast<int>(argv.size()), argv.data(), streams);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
}

}  // namespace sluice::testing
