// A GitHub App's installation token, as GitHub's REST API (2022-11-28, "Create an installation access token for an
// app") is asked for it and answers. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/credentials/credential.hpp"

namespace sluice {

/// {"repositories":[...],"permissions":{...}}; "": all that the installation may do.
std::string installation_request(const GithubAppSpec& spec);

/// The token, what it may do ("contents:read") and how long it lives from `asked` on. Nothing: `why` says for a person
/// what was answered.
std::optional<Minted> read_installation_token(unsigned status, std::string_view body, WallTime asked, std::string& why);

}  // namespace sluice
