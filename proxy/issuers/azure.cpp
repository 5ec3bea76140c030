#include "proxy/issuers/azure.hpp"

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/issuers/oauth.hpp"

namespace sluice {

namespace {

constexpr std::string_view client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

// What the policy does not say, the workload identity webhook has put into the environment.
bool fill(const Errand& errand, std::string& value, const char* name, std::string_view key, std::string& missing) {
    if (value.empty()) value = errand.variable(name).value_or("");
    if (value.empty()) missing += (missing.empty() ? "" : ", ") + std::string(key) + " (" + name + ')';
    return !value.empty();
}

Result<AzureSpec> filled(const Errand& errand, AzureSpec spec) {
    std::string missing;
    fill(errand, spec.tenant, "AZURE_TENANT_ID", "tenant", missing);
    fill(errand, spec.client_id, "AZURE_CLIENT_ID", "client_id", missing);
    fill(errand, spec.token_file, "AZURE_FEDERATED_TOKEN_FILE", "token_file", missing);
    if (spec.scope.empty()) missing += (missing.empty() ? "" : ", ") + std::string("scope");
    if (!missing.empty()) return errand.failure("neither the policy nor Sluice's environment says its " + missing + "; does the pod have the label azure.workload.identity/use: \"true\"?");
    std::string ignored;
    if (!fill(errand, spec.authority_host, "AZURE_AUTHORITY_HOST", "authority_host", ignored)) spec.authority_host = "https://login.microsoftonline.com";
    // A tenant is a number or a domain: one segment of a path.
    if (!std::all_of(spec.tenant.begin(), spec.tenant.end(), is_unreserved) || spec.tenant.find_first_not_of('.') == spec.tenant.npos)
        return errand.failure("its tenant is neither an id nor a domain");
    return spec;
}

Result<Url> token_url(const Errand& errand, const AzureSpec& spec) {
    std::string fault;
    auto url = parse_base_url(spec.authority_host, fault);
    if (!url) return errand.failure("its authority_host cannot be used: " + fault);
    if (url->scheme != Scheme::https && !is_loopback(url->authority)) return errand.failure("its authority_host is not https");
    url->prefix += '/' + spec.tenant + "/oauth2/v2.0/token";
    return std::move(*url);
}

}  // namespace

Task<Result<Minted>> fetch_azure(Errand& errand, const AzureSpec& written) {
    const Result<AzureSpec> spec = filled(errand, written);
    if (!spec) co_return spec.error();
    const Result<Url> url = token_url(errand, *spec);
    if (!url) co_return url.error();
    const Result<Secret> federated = errand.file(spec->token_file);
    if (!federated) co_return federated.error();
    if (!is_token_text(federated->reveal())) co_return errand.failure(spec->token_file + " holds no token");
    Form form;
    form.add("grant_type", "client_credentials").add("client_id", spec->client_id).add("scope", spec->scope);
    form.add("client_assertion_type", client_assertion_type).add("client_assertion", *federated, errand);
    IssuerRequest request = std::move(form).post_to(*url);
    Result<TokenGranted> granted = co_await ask_token_endpoint(errand, std::move(request));
    if (!granted) co_return std::move(granted.error());
    Minted minted = std::move(granted->minted);
    minted.subject = "client " + spec->client_id + " of tenant " + spec->tenant;
    if (minted.scope.empty()) minted.scope.push_back(spec->scope);
    co_return minted;
}

}  // namespace sluice
