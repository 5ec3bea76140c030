// `sluice audit verify`: is the audit trail whole, and where is it not?
#pragma once

#include <string>
#include <vector>

#include "proxy/app/console.hpp"

namespace sluice {

struct AuditQuestion {
    std::vector<std::string> files;  // none: those in the policy's `state`; "-": standard input
    std::string expected;            // the hash of a record that has to be there; "": none
};

/// Exit::fine where the chain is whole, Exit::failure where it is not, or cannot be read.
int verify_audit(const std::string& config, const AuditQuestion& question, Output output, Streams& streams);

}  // namespace sluice
