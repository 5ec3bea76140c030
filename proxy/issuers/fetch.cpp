#include "proxy/issuers/fetch.hpp"

#include "proxy/issuers/aws.hpp"
#include "proxy/issuers/azure.hpp"
#include "proxy/issuers/gcp.hpp"
#include "proxy/issuers/github.hpp"
#include "proxy/issuers/oauth.hpp"

namespace sluice {

Task<Result<Minted>> fetch_credential(Errand& errand) {
    const CredentialSpec& spec = errand.spec();
    if (const auto* oauth = std::get_if<OAuthSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_oauth(errand, *oauth);
        co_return minted;
    }
    if (const auto* aws = std::get_if<AwsSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_aws(errand, *aws);
        co_return minted;
    }
    if (const auto* gcp = std::get_if<GcpSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_gcp(errand, *gcp);
        co_return minted;
    }
    if (const auto* azure = std::get_if<AzureSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_azure(errand, *azure);
        co_return minted;
    }
    if (const auto* github = std::get_if<GithubAppSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_github(errand, *github);
        co_return minted;
    }
    co_return errand.failure("its type, " + std::string(spec.type()) + ", cannot be fetched by this version");
}

}  // namespace sluice
