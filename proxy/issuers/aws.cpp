#include "proxy/issuers/aws.hpp"

#include <algorithm>
#include <filesystem>

#include "proxy/credentials/aws_profile.hpp"
#include "proxy/credentials/aws_replies.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/reply_words.hpp"
#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/sigv4.hpp"
#include "proxy/issuers/nearby.hpp"

namespace sluice {

namespace {

constexpr std::string_view sts_version = "2011-06-15";
constexpr std::size_t most_profiles_in_a_row = 5;
constexpr std::string_view metadata_token = "X-aws-ec2-metadata-token";

// What a source gives: keys, nothing because nothing there says anything of keys (the next one is asked), or why not.
using Found = Result<std::optional<Minted>>;

Minted hidden(Errand& errand, Minted minted) {
    const auto& keys = std::get<AwsSecretKeys>(minted.what);
    errand.hide(keys.secret_access_key);
    errand.hide(keys.session_token);
    return minted;
}

// ---- the Security Token Service

Result<Url> sts_url(const Errand& errand, const AwsSpec& spec) {
    if (!spec.sts.authority.host.empty()) return spec.sts;
    auto authority = sts_of(spec.region);
    if (!authority) return errand.failure("its region, '" + spec.region + "', has no STS of its own: say `sts`");
    return Url{Scheme::https, std::move(*authority), {}};
}

struct RoleCall {
    std::string_view action;
    Form form;
    std::string arn;
};
RoleCall role_call(std::string_view action, const AssumeRoleSpec& role) {
    RoleCall call{action, {}, role.arn};
    call.form.add("Action", action).add("Version", sts_version).add("RoleArn", role.arn).add("RoleSessionName", role.session_name);
    return call;
}

void sign(IssuerRequest& request, const AwsSpec& spec, const AwsSecretKeys& keys) {
    RequestHead head;
    head.method = request.method;
    head.target = request.url.prefix.empty() ? "/" : request.url.prefix;
    head.fields = std::move(request.fields);
    const std::string host = request.url.authority.text(request.url.scheme);
    const std::string payload = to_hex(hash_of(HashAlgorithm::sha256, request.body.reveal()).bytes());
    AwsSigning in;
    in.keys = {keys.access_key_id, keys.secret_access_key.reveal(), keys.session_token.reveal()};
    in.region = sts_region(request.url.authority, spec.region);
    in.service = "sts";
    in.now = Errand::wall_now();
    in.host = host;
    in.payload = payload;
    AwsKeyCache cache;
    AwsSigned out;
    sign_aws(in, cache, head, out);
    request.fields = std::move(head.fields);
}

// `by`: null where the call proves itself (a web identity), and is not signed.
Task<Result<Minted>> ask_sts(Errand& errand, const AwsSpec& spec, RoleCall call, const AwsSecretKeys* by) {
    const Result<Url> url = sts_url(errand, spec);
    if (!url) co_return url.error();
    IssuerRequest request = std::move(call.form).post_to(*url);
    request.fields.add("Accept", "text/xml");
    if (by) sign(request, spec, *by);
    const WallTime asked = Errand::wall_now();
    Result<IssuerReply> reply = co_await errand.call(std::move(request));
    if (!reply) co_return std::move(reply.error());
    std::string why;
    auto minted = read_sts_reply(call.action, reply->status, reply->body.reveal(), asked, why);
    if (!minted) co_return errand.failure(text_of(*url) + ' ' + why + " (" + std::string(call.action) + " of " + call.arn + ')');
    minted->subject = call.arn;
    co_return hidden(errand, std::move(*minted));
}

Task<Result<Minted>> assume(Errand& errand, const AwsSpec& spec, const AssumeRoleSpec& role, Minted by) {
    RoleCall call = role_call("AssumeRole", role);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(role.duration).count();
    call.form.add("DurationSeconds", std::to_string(seconds)).add_if("ExternalId", role.external_id);
    Result<Minted> minted = co_await ask_sts(errand, spec, std::move(call), &std::get<AwsSecretKeys>(by.what));
    co_return minted;
}

// ---- environment

Found from_environment(Errand& errand) {
    auto id = errand.variable("AWS_ACCESS_KEY_ID"), secret = errand.variable("AWS_SECRET_ACCESS_KEY"), token = errand.variable("AWS_SESSION_TOKEN");
    if (!id && !secret) return std::nullopt;
    if (!id || !secret) return errand.failure(std::string(id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID") + " is not set, though the other half of the pair is");
    Minted minted;
    minted.subject = *id;
    AwsSecretKeys keys{std::move(*id), Secret(std::move(*secret)), token ? Secret(std::move(*token)) : Secret()};
    const bool usable = is_access_key_id(keys.access_key_id) && is_token_text(keys.secret_access_key.reveal()) && (keys.session_token.empty() || is_token_text(keys.session_token.reveal()));
    minted.what = std::move(keys);
    if (!usable) return errand.failure("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN holds what no key has: a space, a line's end, a control");
    return hidden(errand, std::move(minted));
}

// ---- web identity

struct WebIdentity {
    std::string token_file;
    AssumeRoleSpec role;
};

Task<Result<Minted>> with_web_identity(Errand& errand, const AwsSpec& spec, WebIdentity identity) {
    const Result<Secret> token = errand.file(identity.token_file);   // at every fetch: the cluster replaces it
    if (!token) co_return token.error();
    if (!is_token_text(token->reveal())) co_return errand.failure(identity.token_file + " holds no token");
    RoleCall call = role_call("AssumeRoleWithWebIdentity", identity.role);
    call.form.add("WebIdentityToken", *token, errand);
    Result<Minted> minted = co_await ask_sts(errand, spec, std::move(call), nullptr);
    co_return minted;
}

Task<Found> from_web_identity(Errand& errand, const AwsSpec& spec) {
    const auto file = errand.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), arn = errand.variable("AWS_ROLE_ARN");
    if (!file) co_return std::nullopt;
    if (!arn) co_return errand.failure("AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
    WebIdentity identity{*file, {}};
    identity.role.arn = *arn;
    if (const auto name = errand.variable("AWS_ROLE_SESSION_NAME")) identity.role.session_name = *name;
    Result<Minted> minted = co_await with_web_identity(errand, spec, std::move(identity));
    if (!minted) co_return std::move(minted.error());
    co_return std::move(*minted);
}

// ---- container agents (ECS, EKS Pod Identity, Greengrass)

Result<std::optional<Url>> container_url(const Errand& errand) {
    const auto relative = errand.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), full = errand.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full) return std::nullopt;
    if (relative && !relative->starts_with('/')) return errand.failure("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with '/'");
    std::string fault;
    auto url = parse_resource_url(relative ? "http://169.254.170.2" + *relative : *full, fault);
    const std::string name = relative ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" : "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    if (!url) return errand.failure(name + " cannot be used: " + fault);
    const std::string& host = url->authority.host;
    const bool known = host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23";
    if (url->scheme == Scheme::https || known || is_loopback(url->authority)) return std::move(*url);
    return errand.failure(name + " names " + host + " over plain HTTP, which only this machine and AWS's agents (169.254.170.2, 169.254.170.23, fd00:ec2::23) may be asked by");
}

// Nothing in it: the agent wants none.
Result<Secret> container_token(Errand& errand) {
    Secret token;
    if (const auto path = errand.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
        Result<Secret> read = errand.file(*path);
        if (!read) return read;
        token = std::move(*read);
    } else if (auto value = errand.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        token = Secret(std::move(*value));
        errand.hide(token);
    }
    if (is_field_value(token.reveal())) return token;
    return errand.failure("AWS_CONTAINER_AUTHORIZATION_TOKEN or its file holds what cannot stand in a header");
}

Task<Found> from_container(Errand& errand) {
    const Result<std::optional<Url>> url = container_url(errand);
    if (!url) co_return url.error();
    if (!*url) co_return std::nullopt;
    const Result<Secret> token = container_token(errand);
    if (!token) co_return token.error();
    IssuerRequest request;
    request.url = **url;
    if (!token->empty()) request.fields.add("Authorization", token->reveal());
    const std::string where = text_of(request.url);
    const WallTime asked = Errand::wall_now();
    Result<IssuerReply> reply = co_await call_nearby(errand, std::move(request));
    if (!reply) co_return std::move(reply.error());
    std::string why;
    auto minted = read_aws_keys_reply(reply->status, reply->body.reveal(), asked, why);
    if (!minted) co_return errand.failure(where + ' ' + why);
    co_return hidden(errand, std::move(*minted));
}

// ---- the instance metadata service, version 2: version 1 answers whoever can make somebody else send a GET

Result<Url> metadata_service(const Errand& errand) {
    if (const auto moved = errand.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT")) return nearby_url(errand, "AWS_EC2_METADATA_SERVICE_ENDPOINT", *moved);
    const auto mode = errand.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    const bool v6 = mode && (*mode == "IPv6" || *mode == "ipv6");
    return Url{Scheme::http, {v6 ? "fd00:ec2::254" : "169.254.169.254", 80, true}, {}};
}

Task<Result<Secret>> ask_metadata(Errand& errand, Url url, const Secret* session) {
    IssuerRequest request;
    request.method = session ? "GET" : "PUT";
    request.url = url;
    request.fields.add("Accept", "*/*");
    if (session)
        request.fields.add(metadata_token, session->reveal());
    else
        request.fields.add(std::string(metadata_token) + "-ttl-seconds", "300");   // it is used at once
    request.has_body = session == nullptr;
    Result<IssuerReply> reply = co_await call_nearby(errand, std::move(request));
    if (!reply) co_return std::move(reply.error());
    if (reply->status == 200) co_return std::move(reply->body);
    std::string why = " answered " + std::to_string(reply->status);
    if (session && reply->status == 404) why += ": no role is attached to this instance";
    if (!session && reply->status == 403) why += ": the instance metadata service is switched off";
    co_return errand.failure(text_of(url) + why);
}

Task<Result<Minted>> from_imds(Errand& errand) {
    if (same_text(errand.variable("AWS_EC2_METADATA_DISABLED").value_or(""), "true")) co_return errand.failure("AWS_EC2_METADATA_DISABLED forbids to ask the instance metadata service");
    Result<Url> url = metadata_service(errand);
    if (!url) co_return std::move(url.error());
    const std::string base = url->prefix;
    url->prefix = base + "/latest/api/token";
    Result<Secret> session = co_await ask_metadata(errand, *url, nullptr);
    if (!session) co_return std::move(session.error());
    if (!is_token_text(session->reveal())) co_return errand.failure(text_of(*url) + " answered 200 but that is no token");
    errand.hide(*session);
    url->prefix = base + "/latest/meta-data/iam/security-credentials/";
    Result<Secret> roles = co_await ask_metadata(errand, *url, &*session);
    if (!roles) co_return std::move(roles.error());
    std::string_view role = roles->reveal();
    role = role.substr(0, role.find_first_of("\r\n"));
    if (!is_role_name(role)) co_return errand.failure(text_of(*url) + " answered 200 but that is no name of a role");
    url->prefix += role;
    const WallTime asked = Errand::wall_now();
    Result<Secret> text = co_await ask_metadata(errand, *url, &*session);
    if (!text) co_return std::move(text.error());
    std::string why;
    auto minted = read_aws_keys_reply(200, text->reveal(), asked, why);
    if (!minted) co_return errand.failure(text_of(*url) + ' ' + why);
    co_return hidden(errand, std::move(*minted));
}

// ---- shared files

// "": there is none, or nothing in it.
Result<Secret> shared_file(Errand& errand, const char* variable, std::string_view name) {
    const auto moved = errand.variable(variable), home = errand.variable("HOME");
    if (!moved && !home) return Secret();
    const std::string path = moved ? *moved : *home + "/.aws/" + std::string(name);
    errand.depends_on(path);
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory || (!error && size == 0)) return Secret();
    return errand.file(path);
}

Result<AwsProfiles> read_profiles(Errand& errand) {
    const Result<Secret> credentials = shared_file(errand, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
    if (!credentials) return credentials.error();
    const Result<Secret> config = shared_file(errand, "AWS_CONFIG_FILE", "config");
    if (!config) return config.error();
    std::string why;
    auto profiles = AwsProfiles::read(credentials->reveal(), config->reveal(), why);
    if (!profiles) return errand.failure(why);
    return std::move(*profiles);
}

Result<Minted> keys_of(Errand& errand, const std::string& name, const AwsProfile& profile) {
    const bool whole = is_access_key_id(profile.access_key_id) && is_token_text(profile.secret_access_key.reveal());
    if (!whole || (!profile.session_token.empty() && !is_token_text(profile.session_token.reveal())))
        return errand.failure("AWS profile '" + name + "' lacks a usable aws_access_key_id or aws_secret_access_key");
    Minted minted;
    minted.what = AwsSecretKeys{profile.access_key_id, profile.secret_access_key, profile.session_token};
    minted.subject = profile.access_key_id;
    return hidden(errand, std::move(minted));
}

AssumeRoleSpec role_of(const AwsProfile& profile) {
    AssumeRoleSpec role;
    role.arn = profile.role_arn;
    role.external_id = profile.external_id;
    if (!profile.session_name.empty()) role.session_name = profile.session_name;
    if (profile.duration) role.duration = *profile.duration;
    return role;
}

// From the profile that is asked for to the one that has keys of its own: the last has them, every other one a role.
struct ProfileChain {
    std::vector<const AwsProfile*> profiles;
    std::string last;   // its name
};

Result<ProfileChain> chain_of(const Errand& errand, const AwsProfiles& profiles, std::string name) {
    ProfileChain chain;
    for (std::string from;; from = std::exchange(name, chain.profiles.back()->source_profile)) {
        const AwsProfile* profile = profiles.find(name);
        if (!profile) return errand.failure("AWS's shared files have no profile '" + quoted_words(name) + "'" + (from.empty() ? "" : ", which '" + from + "' names as its source_profile"));
        const bool itself = name == from;   // a role with its own profile's keys
        const bool again = !itself && std::find(chain.profiles.begin(), chain.profiles.end(), profile) != chain.profiles.end();
        if (again || chain.profiles.size() == most_profiles_in_a_row) return errand.failure("the source_profiles of AWS profile '" + quoted_words(name) + "' go round in circles, or over more than 5 profiles");
        chain.profiles.push_back(profile);
        chain.last = name;
        if (itself || profile->role_arn.empty() || profile->source_profile.empty()) return chain;
        if (chain.profiles.size() > 1 && profile->has_keys()) return chain;
    }
}

Task<Result<Minted>> from_named_source(Errand& errand, const std::string& profile, const std::string& source) {
    Found found = std::nullopt;
    if (source == "Environment") {
        found = from_environment(errand);
    } else if (source == "EcsContainer") {
        found = co_await from_container(errand);
    } else if (source == "Ec2InstanceMetadata") {
        Result<Minted> minted = co_await from_imds(errand);
        co_return minted;
    } else {
        co_return errand.failure("the credential_source of AWS profile '" + profile + "' is none of Environment, Ec2InstanceMetadata, EcsContainer");
    }
    if (!found) co_return std::move(found.error());
    if (!*found) co_return errand.failure("the credential_source of AWS profile '" + profile + "', " + source + ", has no keys");
    co_return std::move(**found);
}

// What the last of a chain has: keys, a web identity's role, or a role with keys from elsewhere.
Task<Result<Minted>> begin_chain(Errand& errand, const AwsSpec& spec, const ProfileChain& chain) {
    const AwsProfile& profile = *chain.profiles.back();
    const std::string words = "AWS profile '" + chain.last + "' ";
    const bool has_role = !profile.role_arn.empty() && !(chain.profiles.size() > 1 && profile.has_keys());
    if (has_role && !profile.web_identity_token_file.empty()) {
        WebIdentity identity{profile.web_identity_token_file, role_of(profile)};
        Result<Minted> minted = co_await with_web_identity(errand, spec, std::move(identity));
        co_return minted;
    }
    if (has_role) {
        if (profile.credential_source.empty()) co_return errand.failure(words + "has a role_arn, but no source_profile, credential_source or web_identity_token_file");
        Result<Minted> by = co_await from_named_source(errand, chain.last, profile.credential_source);
        if (!by) co_return by;
        const AssumeRoleSpec role = role_of(profile);
        Result<Minted> minted = co_await assume(errand, spec, role, std::move(*by));
        co_return minted;
    }
    if (profile.has_keys()) co_return keys_of(errand, chain.last, profile);
    if (profile.process) co_return errand.failure(words + "has a credential_process: use a credential of type `exec` with `format: credential_process`");
    if (profile.sso) co_return errand.failure(words + "uses IAM Identity Center (sso), which needs a person who logs in: give Sluice keys or a role of its own");
    co_return errand.failure(words + "has no keys and no role");
}

Task<Found> from_file(Errand& errand, const AwsSpec& spec) {
    const auto named = errand.variable("AWS_PROFILE");
    const std::string name = !spec.profile.empty() ? spec.profile : named.value_or("default");
    const Result<AwsProfiles> profiles = read_profiles(errand);
    if (!profiles) co_return profiles.error();
    const AwsProfile* profile = profiles->find(name);
    const bool meant = !spec.profile.empty() || named;
    if (!meant && (!profile || !profile->says_anything())) co_return std::nullopt;
    const Result<ProfileChain> chain = chain_of(errand, *profiles, name);
    if (!chain) co_return chain.error();
    Result<Minted> minted = co_await begin_chain(errand, spec, *chain);
    for (std::size_t i = chain->profiles.size() - 1; minted && i-- > 0;) {
        const AssumeRoleSpec role = role_of(*chain->profiles[i]);
        Minted by = std::move(*minted);
        minted = co_await assume(errand, spec, role, std::move(by));
    }
    if (!minted) co_return std::move(minted.error());
    co_return std::move(*minted);
}

// ---- whichever there is

// The first that says anything of keys is meant, and its fault is the answer: falling through to another identity would hide it.
Task<Result<Minted>> from_any(Errand& errand, const AwsSpec& spec) {
    Found found = from_environment(errand);
    if (found && !*found) found = co_await from_web_identity(errand, spec);
    if (found && !*found) found = co_await from_file(errand, spec);
    if (found && !*found) found = co_await from_container(errand);
    if (!found) co_return std::move(found.error());
    if (*found) co_return std::move(**found);
    Result<Minted> minted = co_await from_imds(errand);
    if (minted) co_return minted;
    errand.note("no AWS keys in the environment, as a web identity, in the shared files or from a container agent; the instance metadata service was asked last");
    co_return minted;
}

Task<Result<Minted>> from_source(Errand& errand, const AwsSpec& spec) {
    Found found = std::nullopt;
    std::string_view where;
    switch (spec.source) {
    case AwsSpec::Source::automatic: {
        Result<Minted> minted = co_await from_any(errand, spec);
        co_return minted;
    }
    case AwsSpec::Source::imds: {
        Result<Minted> minted = co_await from_imds(errand);
        co_return minted;
    }
    case AwsSpec::Source::environment:
        where = "neither AWS_ACCESS_KEY_ID nor AWS_SECRET_ACCESS_KEY is set in Sluice's environment";
        found = from_environment(errand);
        break;
    case AwsSpec::Source::file:
        where = "the [default] profile of AWS's shared files has no keys; is HOME right, or AWS_SHARED_CREDENTIALS_FILE?";
        found = co_await from_file(errand, spec);
        break;
    case AwsSpec::Source::web_identity:
        where = "AWS_WEB_IDENTITY_TOKEN_FILE is not set in Sluice's environment";
        found = co_await from_web_identity(errand, spec);
        break;
    case AwsSpec::Source::container:
        where = "neither AWS_CONTAINER_CREDENTIALS_FULL_URI nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set in Sluice's environment";
        found = co_await from_container(errand);
        break;
    }
    if (!found) co_return std::move(found.error());
    if (!*found) co_return errand.failure(std::string(where));
    co_return std::move(**found);
}

}  // namespace

Task<Result<Minted>> fetch_aws(Errand& errand, const AwsSpec& spec) {
    Result<Minted> minted = co_await from_source(errand, spec);
    for (const AssumeRoleSpec& role : spec.assume_role) {
        if (!minted) break;
        Minted by = std::move(*minted);
        minted = co_await assume(errand, spec, role, std::move(by));
    }
    co_return minted;
}

}  // namespace sluice
