#include "proxy/issuers/github.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"
#include "proxy/credentials/assertion.hpp"
#include "proxy/credentials/github_reply.hpp"

namespace sluice {

namespace {

// GitHub: "60 seconds in the past" for clocks that drift, at most ten minutes ahead; half of the first leaves room for the second.
constexpr auto drift = 30s;
constexpr auto lifetime = 600s;

Result<Secret> sign_as_app(Errand& errand, const GithubAppSpec& spec, const Secret& pem) {
    std::string why;
    const auto key = JwtKey::read(pem.reveal(), "RS256", why);
    if (!key) return errand.failure("the key in " + spec.key.text() + ' ' + why);
    const WallTime issued = Errand::wall_now() - drift;
    JwtMembers claims;
    claims.time("iat", issued).time("exp", issued + lifetime).text("iss", spec.app_id);
    auto token = sign_jwt(*key, {}, claims);
    if (!token) return errand.failure(token.error().detail);
    Secret assertion(std::move(*token));
    errand.hide(assertion);
    return assertion;
}

IssuerRequest request_of(const GithubAppSpec& spec, const Secret& assertion) {
    IssuerRequest request;
    request.method = "POST";
    request.url = spec.api_url;
    request.url.prefix += "/app/installations/" + spec.installation_id + "/access_tokens";
    request.bear(assertion);
    request.fields.add("Accept", "application/vnd.github+json");
    request.fields.add("X-GitHub-Api-Version", "2022-11-28");
    request.has_body = true;   // even an empty one: it is a POST
    std::string body = installation_request(spec);
    if (body.empty()) return request;
    request.fields.add("Content-Type", "application/json");
    request.body = Secret(std::move(body));
    return request;
}

}  // namespace

Task<Result<Minted>> fetch_github(Errand& errand, const GithubAppSpec& spec) {
    const auto digits = [](const std::string& text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); };
    if (!digits(spec.installation_id)) co_return errand.failure("its installation_id is no number");
    Result<Secret> pem = co_await errand.secret(spec.key);
    if (!pem) co_return std::move(pem.error());
    Result<Secret> assertion = sign_as_app(errand, spec, *pem);
    if (!assertion) co_return std::move(assertion.error());
    const WallTime asked = Errand::wall_now();
    IssuerRequest request = request_of(spec, *assertion);
    const std::string where = text_of(request.url);
    Result<IssuerReply> reply = co_await errand.call(std::move(request));
    if (!reply) co_return std::move(reply.error());
    std::string why;
    auto minted = read_installation_token(reply->status, reply->body.reveal(), asked, why);
    if (!minted) co_return errand.failure(where + ' ' + why);
    errand.hide(std::get<Secret>(minted->what));
    minted->subject = "app " + spec.app_id + " installation " + spec.installation_id;
    co_return std::move(*minted);
}

}  // namespace sluice
