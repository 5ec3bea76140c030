// The commands that only read: check, schema, explain, env, ca, version. Each gives the process's exit code.
#pragma once

#include <string>

#include "proxy/app/console.hpp"
#include "proxy/app/environment.hpp"

namespace sluice {

/// Reads a policy as `run` would, but no secret; every fault of every file, and one line that sums up.
/// `against`: the admin of a running Sluice ("http://127.0.0.1:15000"), to say what the policy would change there; ""
/// for none.
int check_policy(const std::string& config, const std::string& against, Output output, Streams& streams);
int print_schema(Streams& streams);
int explain_request(const std::string& config, const std::string& method, const std::string& url, Output output,
                    Streams& streams);
int print_environment(const std::string& config, EnvFormat format, Streams& streams);
/// `path_only`: where it is, not what it says.
int print_authority(const std::string& config, bool path_only, Output output, Streams& streams);
int print_version(Output output, Streams& streams);

}  // namespace sluice
