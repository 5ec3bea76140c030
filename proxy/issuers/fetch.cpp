#include "proxy/issuers/fetch.hpp"


namespace sluice {

Task<Result<Minted>> fetch_credential(Errand& errand) {
    const CredentialSpec& spec = errand.spec();
    co_return errand.failure("its type, " + std::string(spec.type()) + ", cannot be fetched by this version");
}

}  // namespace sluice
