// `sluice demo`: the main job, shown and checked on this machine alone: a vendor of our own (TLS, its private CA), an
// application that has no secret, and Sluice between them.
#pragma once

#include "proxy/app/console.hpp"

namespace sluice {

/// `stay`: goes on running until SIGINT or SIGTERM, and prints lines to try by hand. 1 when anything was not as it
/// should be.
int run_demo(bool stay, Streams& streams);

}  // namespace sluice
