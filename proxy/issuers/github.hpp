// Installation tokens of GitHub Apps: the app's key signs who it is, GitHub answers with a token of an hour. On the issuers' thread.
#pragma once

#include "proxy/issuers/errand.hpp"

namespace sluice {

Task<Result<Minted>> fetch_github(Errand& errand, const GithubAppSpec& spec);

}  // namespace sluice
