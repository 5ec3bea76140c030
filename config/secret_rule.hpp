// A secret as the language has it: where it is, never what it is. Pure.
#pragma once

#include "config/written.hpp"

namespace sluice {

std::optional<SecretSource> read_secret(Reader& reader, const Place& at);
boost::json::object describe_secret(Schema& schema);
inline constexpr FarRule<SecretSource> secret_rule{read_secret, describe_secret};

/// A user's name is no secret by itself, but may be kept like one.
std::optional<WrittenUser> read_user(Reader& reader, const Place& at);
boost::json::object describe_user(Schema& schema);
inline constexpr FarRule<WrittenUser> user_rule{read_user, describe_user};

std::optional<std::string> parse_variable_name(const std::string& text, std::string& why);
/// A path as Vault's API has it, behind "/v1/": kv/data/llm.
std::optional<std::string> parse_vault_path(const std::string& text, std::string& why);
/// One of the values that are there.
std::optional<std::string> parse_vault_field(const std::string& text, std::string& why);

}  // namespace sluice
