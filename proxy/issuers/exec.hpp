// Credentials that a program of the operator's prints: Kubernetes' exec plugins, AWS's credential_process, Docker's credential helpers. On the issuers' thread; the program is waited for on another.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

/// A token of exec_credential and of a docker helper's "<token>", a user's name and password of another docker helper, keys of AWS of credential_process. Of aws_sigv4 too, where a profile names a program.
Task<Result<Minted>> fetch_exec(Errand& errand, const ExecSpec& spec);

}  // namespace sluice
