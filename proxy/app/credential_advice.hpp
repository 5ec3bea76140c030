// What to do about a credential that could not be fetched, in a person's words. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "proxy/issuers/errand.hpp"

namespace sluice {

/// A sentence; "" where `detail`, the failure's own words, says already what to do. `calls`: those that were made for
/// it, in their order; only the last one can have failed.
std::string advise(const CredentialSpec& spec, std::string_view detail, std::span<const IssuerCall> calls);

}  // namespace sluice
