// What the audit trail says of each event: every credential that was minted or changed, and every word of an operator. The names
// are those of the log's lines. Pure, but for the process's own number.
#pragma once

#include <string_view>

#include "certs/authority.hpp"
#include "config/config.hpp"
#include "proxy/app/breakers.hpp"
#include "proxy/app/reload.hpp"
#include "proxy/issuers/files.hpp"
#include "proxy/issuers/keeper.hpp"
#include "proxy/telemetry/audit_record.hpp"

namespace sluice {

/// `policy`: its file. The policy that is in force from the start, and the CA that signs under it.
AuditRecord audit_of_start(const Config& config, std::string_view policy, const CertAuthority& authority, WallTime now);
AuditRecord audit_of_stop(WallTime now);
/// One that was made, or renewed.
AuditRecord audit_of_authority(const CertAuthority& authority, AuthoritySpec::Kind kind, WallTime now);
/// `why`: "eager", "wanted", "renewal", "refused"; "command" by hand.
AuditRecord audit_of_mint(const KeeperNotice& minted, std::string_view why, WallTime now);
/// A secret that is read, not fetched: another one is at hand ("changed"), or one again ("available").
AuditRecord audit_of_secret(const SecretNotice& read, WallTime now);
AuditRecord audit_of_forced(const Vendor& vendor, const ForcedBreaker& forced, WallTime now);
/// Of one that is in force now. `vendors`, `credentials`: what changed of them, in words.
AuditRecord audit_of_reload(const Reloaded& reloaded, std::string_view why, std::string_view digest_before,
                            std::string_view vendors, std::string_view credentials, WallTime now);
AuditRecord audit_of_refusal(const Reloaded& reloaded, std::string_view why, WallTime now);

}  // namespace sluice
