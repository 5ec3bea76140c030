// What is written of one credential into its spec, and how what it calls is reached. Pure; used by
// assemble_credentials.cpp.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "config/written.hpp"

namespace sluice {

/// Every secret that is written in it, and where.
std::vector<std::pair<SecretSource*, const Node*>> secrets_of(WrittenCredential& written);

/// Takes the values out of `written`. Name, indexes and place in the files are the caller's.
CredentialSpec spec_of(WrittenCredential& written);

/// Is an issuer called for it, by HTTP?
bool calls_an_issuer(const CredentialSpec& spec);
/// The rules of those calls, as a vendor without hosts, and what `spec` shows there. Takes the values out of `written`.
/// Index, file and line are the caller's.
Vendor issuer_of(CredentialSpec& spec, WrittenCredential& written);
/// The same of the Vault that Sluice's environment names.
Vendor issuer_of_environment();

/// The headers that are the credential's alone.
std::vector<std::string> headers_of(const CredentialSpec& spec);

}  // namespace sluice
