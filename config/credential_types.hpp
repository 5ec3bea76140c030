// What each type of credential may say, as one table of keys a type. Pure.
#pragma once

#include <span>

#include "config/written.hpp"

namespace sluice {

using WrittenCredentials = std::vector<Named<WrittenCredential>>;
std::optional<WrittenCredentials> read_credentials(Reader& reader, const Place& at);
boost::json::object describe_credentials(Schema& schema);
inline constexpr FarRule<WrittenCredentials> credentials_rule{read_credentials, describe_credentials};

/// In the order of CredentialType.
std::span<const std::string_view> credential_types();

}  // namespace sluice
