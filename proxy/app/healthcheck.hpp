// `sluice healthcheck`: is the Sluice of this policy ready? For startup probes and compose health checks, where nothing
// else is in the image.
#pragma once

#include <string>

#include "proxy/app/console.hpp"

namespace sluice {

/// `admin`: "127.0.0.1:15000", in place of the policy's; "" for the policy's. Exit 0 when ready, else 1 with the reason
/// on stderr.
int check_health(const std::string& config, const std::string& admin, Streams& streams);

}  // namespace sluice
