#include "proxy/app/credential_advice.hpp"

#include <array>

namespace sluice {

namespace {

bool holds(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

std::string key_of(const CredentialSpec& spec, std::string_view key) {
    return "credentials." + spec.name + '.' + std::string(key);
}

/// What says who is called.
std::string address_of(const CredentialSpec& spec) {
    if (std::holds_alternative<OAuthSpec>(spec.kind)) return key_of(spec, "token_url");
    if (std::holds_alternative<GithubAppSpec>(spec.kind)) return key_of(spec, "api_url");
    if (std::holds_alternative<VaultSpec>(spec.kind)) return key_of(spec, "address");
    if (std::holds_alternative<AzureSpec>(spec.kind)) return key_of(spec, "authority_host");
    if (const auto* aws = std::get_if<AwsSpec>(&spec.kind))
        return key_of(spec,
                      aws->assume_role.empty() && aws->source != AwsSpec::Source::web_identity ? "source" : "sts_url");
    if (const auto* gcp = std::get_if<GcpSpec>(&spec.kind))
        return gcp->source == GcpSpec::Source::metadata ? key_of(spec, "source")
                                                        : "the file that " + key_of(spec, "key") + " names";
    return "the address";
}

std::string about_tls(const CredentialSpec& spec, std::string_view detail) {
    if (holds(detail, "not trusted") || holds(detail, "not among the trusted"))
        return "Where a private CA signs its certificate, write `tls: {ca: {file: /path/to/ca.pem}}` in credentials." +
               spec.name + "; otherwise somebody else answers in its place.";
    if (holds(detail, "not valid for")) return "Write the name that its certificate has in " + address_of(spec) + '.';
    if (holds(detail, "ended on"))
        return "Whoever runs the issuer has to renew its certificate; is this machine's clock right?";
    return "Does TLS answer on that port? If it wants a client certificate, write `tls: {client: {cert: ..., key: "
           "...}}` "
           "in credentials." +
           spec.name + '.';
}

std::string about_connection(const CredentialSpec& spec, std::string_view detail, Reason reason) {
    const std::string key = address_of(spec);
    switch (reason) {
    case Reason::dns_failed: return "Is the name in " + key + " right, and does DNS know it where Sluice runs?";
    case Reason::connect_failed:
        return "Is " + key + " right, is the issuer up, and may Sluice reach it from here (firewall, NetworkPolicy)?";
    case Reason::address_refused:
        if (holds(detail, "one of Sluice's own listeners"))
            return "Sluice fetches nothing through itself: write where the issuer itself answers in " + key + '.';
        return "Private and loopback addresses are closed unless the policy opens them: if this one is meant, write "
               "`addresses: [10.0.0.0/8]` (the smallest range that has it) in credentials." +
               spec.name + '.';
    case Reason::tls_failed: return about_tls(spec, detail);
    case Reason::timeout_connect:
    case Reason::timeout_tls:
        return "Nothing came back: is " + key + " right, and may Sluice reach it from here (firewall, NetworkPolicy)?";
    case Reason::timeout_first_byte:
    case Reason::timeout_idle:
    case Reason::timeout_total:
        return "It was reached and is slow: ask whoever runs it, or write a longer `timeout` in credentials." +
               spec.name + '.';
    case Reason::upstream_reset:
    case Reason::upstream_protocol:
        if (holds(detail, "larger than"))
            return "A token answer is a few kilobytes: is " + key + " the token endpoint, and not a page for people?";
        return "What answers does not speak HTTP as it should: are scheme and port in " + key + " right?";
    default: return {};  // not of a connection
    }
}

struct Known {
    std::string_view word, advice;
};

/// RFC 6749 5.2, RFC 7523 3.2, RFC 8693 2.2.2, RFC 8707 2.
constexpr std::array<Known, 8> oauth_errors{{
    {"invalid_client",
     "It does not know the client, or not by this proof: check client_id, the secret (or the key and its kid), and "
     "client_auth, which must be how the client is registered there."},
    {"unauthorized_client",
     "The client is known, but may not use this grant: whoever runs the issuer has to allow it."},
    {"invalid_scope",
     "It does not give this client the scope that was asked for: correct `scope`, or have it granted there."},
    {"unsupported_grant_type",
     "It does not have this grant at all: is the type of the credential the one that its documents name?"},
    {"invalid_target",
     "It does not know the audience or resource that was asked for: correct `audience` or `resource`."},
    {"unsupported_token_type",
     "It does not take or give tokens of that type: correct subject_token_type or requested_token_type."},
    {"invalid_request",
     "Something is missing or twice: compare `params`, `audience` and `client_auth` with the issuer's documents."},
    {"access_denied", "Whoever runs the issuer has to allow it."},
}};

std::string about_grant(const OAuthSpec& oauth) {
    switch (oauth.grant) {
    case OAuthSpec::Grant::refresh_token:
        return "The refresh token has ended, was taken back, or has been used by somebody else: get a new one and put "
               "it where " +
               oauth.refresh_token.text() + " is.";
    case OAuthSpec::Grant::token_exchange:
        return "The subject token is not accepted: is it still valid, of an issuer that is trusted there, and for that "
               "audience?";
    case OAuthSpec::Grant::jwt_bearer:
        return "The assertion is not accepted: check key, kid, issuer, subject and audience, and this machine's clock.";
    case OAuthSpec::Grant::client_credentials: break;
    }
    return "The grant is not accepted: check `scope` and `params` against the issuer's documents.";
}

// ---- what each says in its own way; "": like any other

std::string about_oauth(const OAuthSpec& oauth, std::string_view detail) {
    if (holds(detail, "invalid_grant")) return about_grant(oauth);
    for (const Known& known : oauth_errors)
        if (holds(detail, known.word)) return std::string(known.advice);
    return {};
}

std::string about_vault(const CredentialSpec& spec, std::string_view detail, unsigned status) {
    const bool login = holds(detail, "(the login by");
    const std::string auth = key_of(spec, "auth");
    if (holds(detail, "there is no '"))
        return "Write the name of a value that is there in " + key_of(spec, "field") + '.';
    if (status == 404 && login)
        return "Is that way to log in mounted there? Its `mount` belongs in " + auth + ", a namespace in " +
               key_of(spec, "namespace") + '.';
    if (status == 404)
        return "Is " + key_of(spec, "path") + " as in the API? A value of KV version 2 has `data` in it: kv/data/NAME.";
    if (status != 400 && status != 403) return {};
    if (login)
        return "It does not take the login: check what " + auth +
               " shows (role, secret or token), and whether it has ended.";
    return "Let a policy of the login read " + key_of(spec, "path") + " there; of KV version 2 that is kv/data/NAME.";
}

std::string about_github(const CredentialSpec& spec, unsigned status) {
    if (status == 401)
        return "Is " + key_of(spec, "key") + " a key of the app app_id, and not one that was deleted there?";
    if (status == 404)
        return "Compare installation_id with the app's installations there; of GitHub Enterprise, api_url is "
               "https://HOST/api/v3.";
    if (status < 300) return "What answers is not GitHub's API: of GitHub Enterprise, api_url is https://HOST/api/v3.";
    if (status == 422) return "The installation does not have what `permissions` or `repositories` ask for.";
    return {};
}

std::string about_gcp(const GcpSpec& gcp, std::string_view detail, unsigned status) {
    if (status == 403 && !gcp.impersonate.empty())
        return "Let it have the role Service Account Token Creator on " + gcp.impersonate + '.';
    if (!holds(detail, "invalid_grant") && !holds(detail, "invalid_client")) return {};
    if (gcp.source == GcpSpec::Source::service_account)
        return "Was the key deleted or disabled there, or the account? Is this machine's clock right?";
    return "The subject token is not accepted: compare its iss, sub and aud with the provider of the workload identity "
           "pool.";
}

std::string about_azure(std::string_view detail) {
    if (holds(detail, "invalid_scope"))
        return "Write a `scope` that ends in /.default, of an API that the application may call.";
    if (holds(detail, "invalid_client") || holds(detail, "unauthorized_client") || holds(detail, "invalid_grant") ||
        holds(detail, "invalid_request"))
        return "Compare client_id and tenant with the application's page in Entra, and the token's iss, sub and aud "
               "with its "
               "federated credential.";
    return {};
}

std::string about_aws(const CredentialSpec& spec, std::string_view detail, unsigned status) {
    if (holds(detail, "SignatureDoesNotMatch") || holds(detail, "InvalidClientTokenId"))
        return "Do access key and secret belong together, are they still active, and is this machine's clock right?";
    if (holds(detail, "ExpiredToken")) return "What it was shown has ended: who renews it?";
    if (status == 403 && holds(detail, "AssumeRole"))
        return "Let the role's trust policy name who assumes it, and the keys' policy allow sts:AssumeRole.";
    if (status == 200) return "What answers is not what was meant: is " + address_of(spec) + " right?";
    return {};
}

std::string about_kind(const CredentialSpec& spec, std::string_view detail, unsigned status) {
    if (const auto* oauth = std::get_if<OAuthSpec>(&spec.kind)) return about_oauth(*oauth, detail);
    if (std::holds_alternative<VaultSpec>(spec.kind)) return about_vault(spec, detail, status);
    if (std::holds_alternative<GithubAppSpec>(spec.kind)) return about_github(spec, status);
    if (const auto* gcp = std::get_if<GcpSpec>(&spec.kind)) return about_gcp(*gcp, detail, status);
    if (std::holds_alternative<AzureSpec>(spec.kind)) return about_azure(detail);
    if (std::holds_alternative<AwsSpec>(spec.kind)) return about_aws(spec, detail, status);
    return {};
}

std::string about_answer(const CredentialSpec& spec, std::string_view detail, unsigned status) {
    if (std::string advice = about_kind(spec, detail, status); !advice.empty()) return advice;
    const std::string key = address_of(spec);
    if (status >= 300 && status < 400)
        return "A redirect is never followed: write where it leads in " + key + ", if that is the issuer too.";
    if (status == 404 || status == 405) return "Is the path in " + key + " that of the issuer?";
    if (status == 401 || status == 403)
        return "It does not accept what it was shown: check the key or secret, and what it may do there.";
    if (status == 429) return "It is asked too often: wait, and look who else uses this client.";
    if (status >= 500) return "The issuer is in trouble; Sluice asks it again by itself.";
    if (holds(detail, "is not a JSON") || holds(detail, "is not JSON"))
        return "Probably a login or error page: is " + key + " the issuer's own?";
    if (holds(detail, "there is no ")) return "That is no issuer's answer: is " + key + " the issuer's own?";
    return {};
}

}  // namespace

std::string advise(const CredentialSpec& spec, std::string_view detail, std::span<const IssuerCall> calls) {
    if (calls.empty()) return {};  // it is about what was read here, and says so
    const IssuerCall& last = calls.back();
    if (last.reason) return about_connection(spec, detail, *last.reason);
    return about_answer(spec, detail, last.status);
}

}  // namespace sluice
