// `sluice exec -- CMD`: a Sluice for one command, which runs inside its environment.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/app/console.hpp"
#include "proxy/app/environment.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

struct ExecOptions {
    std::string config;
    std::string log;  // a file; "": standard error
    Duration drain = 30s;
    std::string client;                // of the policy's: whose name and password the command's proxy URL has; "": none
    std::vector<std::string> command;  // never empty
};

/// The command's own exit code, 128 + its signal, 127 or 126 when it could not be run; 1 or 78 when Sluice could not
/// start.
int execute(const ExecOptions& options, Streams& streams);

/// The command's environment: ours, with `added`, without the variables that hold the policy's secrets and without
/// SSL_CERT_DIR (which would hide our bundle). JAVA_TOOL_OPTIONS keeps what it had. Pure.
std::vector<std::string> child_environment(const char* const* inherited, const Config& config, const Variables& added);

/// The policy with free ports on the same address in place of the built-in ones of `listen.proxy` and `listen.admin`,
/// so that `exec` runs beside a `sluice run` and beside itself. Ports that the policy chose stay. Pure.
Config with_free_ports(const Config& config);

}  // namespace sluice
