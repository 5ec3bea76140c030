#include <unistd.h>

#include <iostream>

#include "proxy/app/commands.hpp"
#include "proxy/app/openssl_memory.hpp"

int main(int argc, char** argv) {
    sluice::wipe_what_openssl_frees();  // before anything uses it
    sluice::Streams streams{sluice::Console::of(std::cout, STDOUT_FILENO),
                            sluice::Console::of(std::cerr, STDERR_FILENO)};
    return sluice::run_command_line(argc, argv, streams);
}
