#include "proxy/app/commands.hpp"

#include <unistd.h>

#include <iostream>

int main(int argc, char** argv) {
    sluice::Streams streams{sluice::Console::of(std::cout, STDOUT_FILENO),
                            sluice::Console::of(std::cerr, STDERR_FILENO)};
    return sluice::run_command_line(argc, argv, streams);
}
