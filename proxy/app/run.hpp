// `sluice run`: the sidecar, until it is told to end.
#pragma once

#include <string>

#include "proxy/app/console.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

/// SIGTERM and SIGINT drain for at most `drain`, a second one stops at once. Exit 0 then; 1 when it could not start, or
/// a worker failed.
int run_proxy(const std::string& config, Duration drain, Streams& streams);

}  // namespace sluice
