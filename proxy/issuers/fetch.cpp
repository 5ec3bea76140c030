#include "proxy/issuers/fetch.hpp"

#include "proxy/issuers/oauth.hpp"


namespace sluice {

Task<Result<Minted>> fetch_credential(Errand& errand) {
    const CredentialSpec& spec = errand.spec();
    if (const auto* oauth = std::get_if<OAuthSpec>(&spec.kind)) {
        Result<Minted> minted = co_await fetch_oauth(errand, *oauth);
        co_return minted;
    }
    co_return errand.failure("its type, " + std::string(spec.type()) + ", cannot be fetched by this version");
}

}  // namespace sluice
