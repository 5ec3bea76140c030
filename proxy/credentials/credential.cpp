#include "proxy/credentials/credential.hpp"

namespace sluice {

std::string SecretSource::text() const {
    switch (kind) {
    case Kind::none: return "(none)";
    case Kind::file: return "{file: " + name + "}";
    case Kind::environment: return "{env: " + name + "}";
    }
    return {};
}

std::string_view CredentialSpec::type() const {
    struct Name {
        std::string_view operator()(const BearerSpec&) const { return "bearer"; }
        std::string_view operator()(const ApiKeySpec&) const { return "api_key"; }
        std::string_view operator()(const BasicSpec&) const { return "basic"; }
    };
    return std::visit(Name{}, kind);
}

}  // namespace sluice
