// One secret, from where the policy says it is. Blocking, so never on a worker: SecretFiles' thread and constructor
// call it.
#pragma once

#include <string>

#include "proxy/base/result.hpp"
#include "proxy/base/secret.hpp"

namespace sluice {

/// The whole file, without one trailing "\n" or "\r\n". It must lead to a regular file (a FIFO would make us wait, a
/// device never ends) of at most 1 MiB that holds something. The Failure's detail names the file and what to do, never
/// the content.
Result<Secret> read_secret_file(const std::string& path);

/// The variable's value as it is; unset and empty are Failures.
Result<Secret> read_secret_variable(const std::string& name);

}  // namespace sluice
