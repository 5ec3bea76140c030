// `sluice credential test`: gets one credential as a running Sluice would, and says what came, or why nothing did.
#pragma once

#include <string>

#include "proxy/app/console.hpp"

namespace sluice {

struct CredentialQuestion {
    std::string name;
    bool force = false;  // though its chain of refresh tokens is a running Sluice's, or another user's
};

/// A real fetch (or reading) under the rules of the policy; the credential itself is never shown. Exit 0 when it came,
/// 1 when it did not, 2 when the policy has none of that name, 78 when the policy is bad.
int test_credential(const std::string& config, const CredentialQuestion& question, Output output, Streams& streams);

}  // namespace sluice
