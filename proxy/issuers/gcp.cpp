#include "proxy/issuers/gcp.hpp"

#include "proxy/base/text.hpp"
#include "proxy/credentials/assertion.hpp"
#include "proxy/credentials/google_json.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/issuers/nearby.hpp"
#include "proxy/issuers/oauth.hpp"

namespace sluice {

namespace {

constexpr std::string_view grant_jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr std::string_view grant_token_exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
constexpr std::string_view type_access_token = "urn:ietf:params:oauth:token-type:access_token";
constexpr std::string_view cloud_platform = "https://www.googleapis.com/auth/cloud-platform";   // what impersonation itself needs
constexpr std::string_view metadata_name = "metadata.google.internal", metadata_address = "169.254.169.254";
constexpr auto assertion_lifetime = 1h;   // Google takes no more

// What is asked of one step: a token for these scopes, or an ID token for this audience.
struct Wanted {
    std::vector<std::string> scope;
    std::string audience;
};

Failure refused(const Errand& errand, const Url& url, const std::string& why) { return errand.failure(text_of(url) + ' ' + why); }

// ---- a key of its own

Result<Secret> sign(Errand& errand, const GcpSpec& spec, const GoogleServiceAccount& account, const Wanted& wanted) {
    std::string why;
    const auto key = JwtKey::read(account.private_key.reveal(), "RS256", why);
    if (!key) return errand.failure("the private_key in " + spec.key.text() + ' ' + why);
    const WallTime now = Errand::wall_now();
    JwtMembers header, claims;
    if (!account.key_id.empty()) header.text("kid", account.key_id);
    claims.text("iss", account.email).text("aud", text_of(account.token_uri)).time("iat", now).time("exp", now + assertion_lifetime);
    if (wanted.audience.empty())
        claims.text("scope", joined(wanted.scope, " "));
    else
        claims.text("sub", account.email).text("target_audience", wanted.audience);
    auto token = sign_jwt(*key, header, claims);
    if (!token) return errand.failure(token.error().detail);
    Secret assertion(std::move(*token));
    errand.hide(assertion);
    return assertion;
}

Task<Result<Minted>> ask_with_key(Errand& errand, const GcpSpec& spec, Wanted wanted) {
    Result<Secret> text = co_await errand.secret(spec.key);
    if (!text) co_return std::move(text.error());
    std::string why;
    const auto account = read_service_account(text->reveal(), why);
    if (!account) co_return errand.failure("the key in " + spec.key.text() + ' ' + why);
    errand.hide(account->private_key);
    Result<Secret> assertion = sign(errand, spec, *account, wanted);
    if (!assertion) co_return std::move(assertion.error());
    Form form;
    form.add("grant_type", grant_jwt_bearer).add("assertion", *assertion, errand);
    IssuerRequest request = std::move(form).post_to(account->token_uri);
    std::optional<Minted> minted;
    if (wanted.audience.empty()) {
        Result<TokenGranted> granted = co_await ask_token_endpoint(errand, std::move(request));
        if (!granted) co_return std::move(granted.error());
        minted = std::move(granted->minted);
    } else {
        const WallTime asked = Errand::wall_now();
        Result<IssuerReply> reply = co_await errand.call(std::move(request));
        if (!reply) co_return std::move(reply.error());
        minted = read_id_token("id_token", reply->status, reply->body.reveal(), asked, why);
        if (!minted) co_return refused(errand, account->token_uri, why);
    }
    minted->subject = account->email;
    co_return std::move(*minted);
}

// ---- impersonation

// `url` ends with ":generateAccessToken"; an ID token is asked for beside it.
Task<Result<Minted>> impersonate(Errand& errand, Url url, Minted by, Wanted wanted, Duration lifetime) {
    constexpr std::string_view generate_access = ":generateAccessToken";
    const bool id_token = !wanted.audience.empty();
    JwtMembers body;
    if (id_token) {
        url.prefix.replace(url.prefix.size() - generate_access.size(), generate_access.size(), ":generateIdToken");
        body.text("audience", wanted.audience).flag("includeEmail", true);
    } else {
        body.list("scope", wanted.scope).text("lifetime", std::to_string(std::chrono::duration_cast<std::chrono::seconds>(lifetime).count()) + 's');
    }
    IssuerRequest request;
    request.method = "POST";
    request.url = url;
    request.bear(std::get<Secret>(by.what));
    errand.hide(std::get<Secret>(by.what));
    request.fields.add("Content-Type", "application/json");
    request.body = Secret(body.object());
    request.has_body = true;
    const WallTime asked = Errand::wall_now();
    Result<IssuerReply> reply = co_await errand.call(std::move(request));
    if (!reply) co_return std::move(reply.error());
    std::string why;
    auto minted = id_token ? read_id_token("token", reply->status, reply->body.reveal(), asked, why) : read_impersonated(reply->status, reply->body.reveal(), asked, why);
    if (!minted) co_return refused(errand, url, why);
    const std::size_t name = url.prefix.rfind('/') + 1;
    minted->subject = url.prefix.substr(name, url.prefix.rfind(':') - name);
    co_return std::move(*minted);
}

// ---- workload identity federation

Task<Result<Secret>> subject_token(Errand& errand, const GcpSpec& spec, const GoogleExternalAccount& account) {
    std::string why;
    if (!account.file.empty()) {   // at every fetch: whoever projects it there replaces it
        const Result<Secret> text = errand.file(account.file);
        if (!text) co_return text.error();
        auto token = read_subject_token(account.field, text->reveal(), why);
        if (!token) co_return errand.failure(account.file + ", which " + spec.key.text() + " names, " + why);
        co_return std::move(*token);
    }
    IssuerRequest request;
    request.url = account.url;
    for (const auto& [name, value] : account.headers) request.fields.set(name, value);
    Result<IssuerReply> reply = co_await call_nearby(errand, std::move(request));
    if (!reply) co_return std::move(reply.error());
    if (reply->status != 200) co_return refused(errand, account.url, google_refusal(reply->status, reply->body.reveal()));
    auto token = read_subject_token(account.field, reply->body.reveal(), why);
    if (!token) co_return refused(errand, account.url, "answered 200, but that " + why);
    co_return std::move(*token);
}

Task<Result<Minted>> exchange(Errand& errand, const GoogleExternalAccount& account, Secret subject, Wanted wanted) {
    Form form;
    form.add("grant_type", grant_token_exchange).add("audience", account.audience).add_if("scope", joined(wanted.scope, " "));
    form.add("requested_token_type", type_access_token).add("subject_token", subject, errand).add("subject_token_type", account.subject_token_type);
    if (!account.workforce_project.empty()) {
        JwtMembers options;
        options.text("userProject", account.workforce_project);
        form.add("options", options.object());
    }
    IssuerRequest request = std::move(form).post_to(account.token_url);
    Result<TokenGranted> granted = co_await ask_token_endpoint(errand, std::move(request));
    if (!granted) co_return std::move(granted.error());
    granted->minted.subject = account.audience;
    co_return std::move(granted->minted);
}

Task<Result<Minted>> ask_federation(Errand& errand, const GcpSpec& spec, Wanted wanted) {
    Result<Secret> text = co_await errand.secret(spec.key);
    if (!text) co_return std::move(text.error());
    std::string why;
    const auto account = read_external_account(text->reveal(), why);
    if (!account) co_return errand.failure("the configuration in " + spec.key.text() + ' ' + why);
    if (!account->impersonation_url && !wanted.audience.empty())
        co_return errand.failure("a federated identity has no ID tokens of its own (audience): say which service account to `impersonate`");
    Result<Secret> subject = co_await subject_token(errand, spec, *account);
    if (!subject) co_return std::move(subject.error());
    errand.hide(*subject);
    Wanted first = wanted;
    if (account->impersonation_url) first = {{std::string(cloud_platform)}, {}};
    Result<Minted> minted = co_await exchange(errand, *account, std::move(*subject), std::move(first));
    if (!minted || !account->impersonation_url) co_return minted;
    Result<Minted> other = co_await impersonate(errand, *account->impersonation_url, std::move(*minted), std::move(wanted), account->impersonation_lifetime);
    co_return other;
}

// ---- the metadata server

Result<Url> metadata_server(const Errand& errand) {
    const auto moved = errand.variable("GCE_METADATA_HOST");
    if (!moved || *moved == metadata_name) return Url{Scheme::http, {std::string(metadata_name), 80, false}, {}};
    return nearby_url(errand, "GCE_METADATA_HOST", *moved);
}

Task<Result<Minted>> ask_metadata(Errand& errand, Wanted wanted) {
    Result<Url> url = metadata_server(errand);
    if (!url) co_return std::move(url.error());
    url->prefix += "/computeMetadata/v1/instance/service-accounts/default/";
    if (!wanted.audience.empty())
        url->prefix += "identity?audience=" + form_encoded(wanted.audience) + "&format=full";
    else
        url->prefix += wanted.scope.empty() ? "token" : "token?scopes=" + form_encoded(joined(wanted.scope, ","));
    IssuerRequest request;
    request.url = *url;
    request.fields.add("Metadata-Flavor", "Google");
    const std::string_view at = url->authority.host == metadata_name ? metadata_address : std::string_view();
    const WallTime asked = Errand::wall_now();
    Result<IssuerReply> reply = co_await call_nearby(errand, std::move(request), at);
    if (!reply) co_return std::move(reply.error());
    // Of a server that is none of Google's nothing is believed: the name may lead anywhere outside of Google's cloud.
    if (!same_text(reply->fields.find("Metadata-Flavor").value_or(""), "Google")) co_return refused(errand, *url, "is no metadata server of Google's: its answer has no Metadata-Flavor");
    std::optional<Minted> minted;
    if (!wanted.audience.empty()) {
        std::string why;
        minted = read_id_token("", reply->status, reply->body.reveal(), asked, why);
        if (!minted) co_return refused(errand, *url, why);
    } else {
        auto read = read_token_reply(reply->status, reply->body.reveal());
        if (const auto* denied = std::get_if<TokenDenied>(&read)) co_return refused(errand, *url, denied->what);
        minted = std::move(std::get<TokenGranted>(read).minted);
    }
    minted->subject = "the machine's service account";
    co_return std::move(*minted);
}

Task<Result<Minted>> ask_source(Errand& errand, const GcpSpec& spec, Wanted wanted) {
    Result<Minted> minted = Minted{};
    switch (spec.source) {
    case GcpSpec::Source::service_account: minted = co_await ask_with_key(errand, spec, std::move(wanted)); break;
    case GcpSpec::Source::external_account: minted = co_await ask_federation(errand, spec, std::move(wanted)); break;
    case GcpSpec::Source::metadata: minted = co_await ask_metadata(errand, std::move(wanted)); break;
    }
    co_return minted;
}

}  // namespace

Task<Result<Minted>> fetch_gcp(Errand& errand, const GcpSpec& spec) {
    if (!spec.impersonate.empty() && !is_google_account(spec.impersonate)) co_return errand.failure("`impersonate` is no service account's e-mail address");
    Wanted wanted{spec.scope, spec.audience};
    if (wanted.audience.empty() && wanted.scope.empty() && spec.source != GcpSpec::Source::metadata) wanted.scope.emplace_back(cloud_platform);
    Wanted first = wanted;
    if (!spec.impersonate.empty()) first = {{std::string(cloud_platform)}, {}};
    Result<Minted> minted = co_await ask_source(errand, spec, std::move(first));
    if (minted && !spec.impersonate.empty()) {
        Url url = spec.iam;
        url.prefix += "/v1/projects/-/serviceAccounts/" + spec.impersonate + ":generateAccessToken";
        if (wanted.audience.empty() && wanted.scope.empty()) wanted.scope.emplace_back(cloud_platform);
        Minted by = std::move(*minted);
        minted = co_await impersonate(errand, std::move(url), std::move(by), wanted, spec.lifetime);
    }
    if (!minted) co_return minted;
    errand.hide(std::get<Secret>(minted->what));
    if (minted->scope.empty() && wanted.audience.empty()) minted->scope = wanted.scope;
    co_return minted;
}

}  // namespace sluice
