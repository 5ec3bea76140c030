// `/vendors`: the catalogue as it runs. Pure.
#pragma once

#include <string>

#include "config/config.hpp"
#include "proxy/issuers/files.hpp"
#include "proxy/telemetry/audit_trail.hpp"
#include "proxy/wire/contexts.hpp"

namespace sluice {

/// JSON: for each vendor what the operator says of it, where it is reached and what may be asked, its timeouts and
/// routes, whether its credential and its TLS files are at hand (and why not), and under `live` what standing.hpp says.
/// Beside them, how the audit trail fares. Never a secret.
std::string describe_vendors(const Config& config, const CredentialSlots& slots, const ClientContexts& contexts,
                             const AuditStanding& audit, TimePoint now);

}  // namespace sluice
