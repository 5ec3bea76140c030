// What AWS answers who asks for keys: the Security Token Service (XML, its API reference of 2011-06-15), the instance
// metadata service and the container agents (JSON). And what the names in its requests may be. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/credentials/credential.hpp"

namespace sluice {

/// Keys and how long they live from `asked` on. `action` is "AssumeRole" or "AssumeRoleWithWebIdentity". Nothing: `why`
/// says for a person what the service answered ("answered 403 AccessDenied: ..."); it quotes the service, so mask what
/// was sent.
std::optional<Minted> read_sts_reply(std::string_view action, unsigned status, std::string_view body, WallTime asked,
                                     std::string& why);

/// The same of the metadata service and of container agents. Without an Expiration the keys last.
std::optional<Minted> read_aws_keys_reply(unsigned status, std::string_view body, WallTime asked, std::string& why);

/// The region's own endpoint. Nothing: it is no name of a region.
std::optional<Authority> sts_of(std::string_view region);
/// What a request to that endpoint is signed for: the global one is in us-east-1, a regional one where it says.
std::string_view sts_region(const Authority& sts, std::string_view region);

/// May stand in a path of the metadata service (IAM: [\w+=,.@-]{1,64}).
bool is_role_name(std::string_view text);
/// May stand in a signature's Credential= and in a header.
bool is_access_key_id(std::string_view text);

}  // namespace sluice
