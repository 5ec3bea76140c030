// `sluice status`: what a running Sluice says of itself and its vendors, as a table for people or JSON for machines.
#pragma once

#include <string>

#include "proxy/app/console.hpp"

namespace sluice {

/// Says of each vendor what is not at hand, and what of its breakers, limits and chaos is not as on a good day. Reads
/// /ready and /vendors of the admin that `admin` names ("" for the policy's). Exit 0 when it is ready and every
/// vendor's credential and TLS are at hand, else 1.
int print_status(const std::string& config, const std::string& admin, Output output, Streams& streams);

}  // namespace sluice
