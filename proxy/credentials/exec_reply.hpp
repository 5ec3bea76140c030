// What programs print that give credentials: Kubernetes' ExecCredential (client.authentication.k8s.io/v1 and v1beta1), AWS's credential_process (Version 1), Docker's credential helpers (`get`). Pure.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "proxy/base/time.hpp"
#include "proxy/credentials/credential.hpp"

namespace sluice {

/// What is wrong with an answer, in words: "there is no status.token in it". Never what is in it, but for names and times.
using ExecFault = std::string;

/// A token; `asked`: when the program was started, from which its lifetime counts.
std::variant<Minted, ExecFault> read_exec_credential(std::string_view text, WallTime asked);
/// AwsSecretKeys.
std::variant<Minted, ExecFault> read_credential_process(std::string_view text, WallTime asked);
/// UserPassword, or a token where the user's name is "<token>".
std::variant<Minted, ExecFault> read_docker_helper(std::string_view text);

}  // namespace sluice
