// The policy as it was written: every key that this version knows, with its place, before defaults, inheritance and
// anything that takes more than one map to judge. The tables of keys in written.cpp, credential_types.cpp,
// reach.cpp, client_rule.cpp and resilience.cpp are the language; decode.cpp makes a Config of it, schema.cpp describes it. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "config/rules.hpp"

namespace sluice {

struct WrittenListen {
    Maybe<ListenAddress> proxy, admin, metrics;
    Maybe<std::string> unix_path;
    Maybe<bool> exposed;
};

struct WrittenFile {
    Maybe<std::string> file;
};

struct WrittenAuthority {
    Maybe<AuthoritySpec> ca;  // its other members are not set
    Maybe<std::string> publish;
    Maybe<bool> name_constraints;
};

/// `{cert: {file: ...}, key: {file: ...}}`
struct WrittenPair {
    Maybe<std::string> cert, key;
};

struct WrittenTimeouts {
    Maybe<Duration> connect, tls, first_byte, idle, total;
};

/// "100ms..2s"
struct DurationRange {
    Duration least{}, most{};
};

struct WrittenRetry {
    Maybe<unsigned> max;
    Maybe<std::vector<Written<std::string>>> on;  // each a word that `edited` knows
    Maybe<DurationRange> backoff;
    Maybe<double> budget;
    Maybe<std::uint64_t> buffer;
};

/// `p95` or `500ms`; the other one is 0.
struct HedgeAfter {
    Duration after{};
    double quantile = 0;
};
struct WrittenHedge {
    Maybe<HedgeAfter> after;
    Maybe<unsigned> max;
};

struct WrittenIdempotency {
    Maybe<std::string> header;
    Maybe<std::vector<Written<std::string>>> generate;
};

struct WrittenBreaker {
    Maybe<bool> enabled;
    Maybe<double> failure_rate, slow_rate;
    Maybe<unsigned> consecutive, min_requests, probes;
    Maybe<Duration> slow_after, window;
    Maybe<DurationRange> open_for;
};

struct WrittenTokens {
    Maybe<Rate> rate;
    Maybe<std::uint64_t> burst;
    Maybe<bool> estimate, settle;  // one word each, so far
};
struct WrittenWhenFull {
    Maybe<Duration> wait;
    Maybe<std::string> priority;
};
struct WrittenLimit {
    Maybe<std::string> name;
    Maybe<Rate> rate;
    Maybe<std::uint64_t> burst;
    Maybe<SeatSpec> concurrency;
    Maybe<WrittenTokens> tokens;
    Maybe<bool> learn;
    Maybe<std::string> per;
    Maybe<WrittenWhenFull> when_full;
};
/// One map, or a list of them.
struct WrittenLimits {
    bool list = false;
    std::vector<Written<WrittenLimit>> entries;
};

struct WrittenHeaderEdits {
    Maybe<std::vector<Named<std::string>>> rename, set;
    Maybe<std::vector<Written<std::string>>> drop;
};
struct WrittenJsonEdits {
    Maybe<std::vector<Named<JsonPath>>> rename;
    Maybe<std::vector<Named<std::string>>> set;  // JSON texts
    Maybe<std::vector<Written<JsonPath>>> drop;
    Maybe<std::string> wrap;
};
struct WrittenEdits {
    Maybe<WrittenHeaderEdits> headers;
    Maybe<WrittenJsonEdits> body;
};
struct WrittenRewrite {
    Maybe<std::vector<Named<std::string>>> path;
    Maybe<WrittenEdits> request, response;
};
struct WrittenFallback {
    Maybe<std::string> vendor;
    Maybe<WrittenRewrite> rewrite;
};

/// "X-Test: 1", or "X-Test".
struct HeaderMatch {
    std::string name, value;
};
struct WrittenFault {
    Maybe<ChaosFault> fault;  // its kind, and what belongs to it
    Maybe<double> rate;
    Maybe<unsigned> first;
    Maybe<std::string> route;
    Maybe<HeaderMatch> header;
};
struct WrittenChaos {
    Maybe<bool> enabled;
    Maybe<std::vector<Written<WrittenFault>>> inject;
    Maybe<unsigned> seed;
    Maybe<double> abort_above;
};

struct WrittenDefaults {
    Maybe<WrittenTimeouts> timeout;
    Maybe<WrittenRetry> retry;
    Maybe<WrittenBreaker> breaker;
    Maybe<WrittenLimit> limit;
};

/// "kv/data/llm#key"
struct VaultReference {
    std::string path, field;
};
struct WrittenSecret {
    Maybe<std::string> file, env, login;
    Maybe<VaultReference> vault;
};

/// A plain text, or a reference to one that is a secret.
struct WrittenUser {
    std::string plain;
    SecretSource source;
};

struct WrittenSla {
    Maybe<std::string> availability, window, recovery_time;
    Maybe<std::vector<Named<std::string>>> latency;
};

/// The same where each may be in Vault or the environment too.
struct WrittenClientPair {
    Maybe<SecretSource> cert, key;
};

struct WrittenTls {
    Maybe<TlsRules::Version> min;
    Maybe<std::string> ca;
    Maybe<std::vector<Written<std::string>>> pin;  // 32 raw bytes each
    Maybe<WrittenClientPair> client;
};

/// In the order of the tables of credential_types.cpp.
enum class CredentialType : unsigned char {
    bearer,
    api_key,
    basic,
    oauth2_client_credentials,
    oauth2_refresh_token,
    oauth2_token_exchange,
    oauth2_jwt_bearer,
    aws_sigv4,
    gcp,
    azure_workload_identity,
    github_app,
    vault,
    exec,
    hmac,
    mtls
};

struct WrittenOverlap {
    Maybe<SecretSource> secret;
};
struct WrittenAssumeRole {
    Maybe<std::string> arn, session_name, external_id;
    Maybe<Duration> duration;
};
/// Of kubernetes and jwt: role and a JWT; of approle: role_id and secret_id.
struct WrittenVaultLogin {
    Maybe<std::string> role, mount;
    Maybe<SecretSource> secret;
};
/// One of them.
struct WrittenVaultAuth {
    Maybe<SecretSource> token;
    Maybe<WrittenVaultLogin> kubernetes, jwt, approle;
};

/// Every key that any type has; which ones a type has is in its table.
struct WrittenCredential {
    using Texts = std::vector<Written<std::string>>;
    using Pairs = std::vector<Named<std::string>>;

    Maybe<CredentialType> type;
    // where it goes, and when another one is needed
    Maybe<std::string> header, query, prefix, placeholder;
    Maybe<bool> require, eager;
    Maybe<Duration> refresh_before;
    Maybe<std::vector<Written<unsigned>>> refresh_on;
    Maybe<WrittenOverlap> overlap;
    // how its issuer is reached
    Maybe<WrittenTls> tls;
    Maybe<std::vector<Written<AddressRange>>> addresses;
    Maybe<WrittenTimeouts> timeout;
    // bearer, api_key, basic
    Maybe<SecretSource> value, password;
    Maybe<WrittenUser> username;
    // OAuth 2
    Maybe<Url> token_url;
    Maybe<ClientAuthSpec::Kind> client_auth;
    Maybe<std::string> client_id, kid, alg, audience, issuer, subject, claims;
    Maybe<SecretSource> client_secret, key, refresh_token, subject_token, actor_token;  // `key` of gcp and hmac too
    Maybe<std::string> subject_token_type, actor_token_type, requested_token_type;
    Maybe<Texts> scope, resource;
    Maybe<Pairs> params;
    Maybe<Duration> lifetime;
    // aws_sigv4
    Maybe<std::string> region, service, profile;  // the first two of exec too
    Maybe<AwsSpec::Source> aws_source;
    Maybe<std::vector<Written<WrittenAssumeRole>>> assume_role;
    Maybe<Url> sts_url;
    Maybe<std::uint64_t> max_body;
    // gcp
    Maybe<GcpSpec::Source> gcp_source;
    Maybe<std::string> impersonate;
    // azure_workload_identity
    Maybe<std::string> tenant, token_file, authority_host, azure_scope;
    // github_app
    Maybe<std::string> app_id, installation_id;
    Maybe<Url> api_url;
    Maybe<Texts> repositories;
    Maybe<Pairs> permissions;
    // vault
    Maybe<Url> address;
    Maybe<WrittenVaultAuth> auth;
    Maybe<std::string> name_space, path, field, username_field, password_field;
    // exec
    Maybe<Texts> command;
    Maybe<std::vector<Named<WrittenUser>>> environment;
    Maybe<Duration> run_time;
    Maybe<ExecSpec::Format> format;
    Maybe<std::string> server;
    // hmac
    Maybe<HmacSpec::Algorithm> algorithm;
    Maybe<HmacSpec::Encoding> encoding;
    Maybe<std::string> string_to_sign;
    Maybe<Pairs> headers;
    // mtls
    Maybe<SecretSource> cert;  // its key is `key`
};

struct WrittenEndpoint {
    Maybe<Url> url;
};

struct WrittenRoute {
    Maybe<std::string> name;
    Maybe<RequestPattern> match;
    Maybe<WrittenTimeouts> timeout;
    Maybe<WrittenRetry> retry;
    Maybe<WrittenHedge> hedge;
    Maybe<WrittenIdempotency> idempotency;
    Maybe<WrittenLimits> limit;
    Maybe<std::string> credential;
};

struct WrittenVendor {
    Maybe<std::string> owner, about, criticality, runbook;
    Maybe<std::vector<Written<std::string>>> data;
    Maybe<WrittenSla> sla;
    Maybe<std::vector<Written<HostPattern>>> hosts;
    Maybe<Mode> mode;
    Maybe<std::vector<Written<RequestPattern>>> allow, deny;
    Maybe<std::vector<Written<AddressRange>>> addresses;
    Maybe<std::string> credential;
    Maybe<Scrub> scrub;
    Maybe<std::vector<Written<WrittenEndpoint>>> endpoints;
    Maybe<WrittenTls> tls;
    Maybe<WrittenTimeouts> timeout;
    Maybe<WrittenRetry> retry;
    Maybe<WrittenHedge> hedge;
    Maybe<WrittenIdempotency> idempotency;
    Maybe<WrittenBreaker> breaker;
    Maybe<WrittenLimits> limit;
    Maybe<WrittenFallback> fallback;
    Maybe<WrittenChaos> chaos;
    Maybe<std::vector<Written<WrittenRoute>>> routes;
};

/// `all`, or a list of names.
struct WrittenClientVendors {
    bool all = false;
    std::vector<Written<std::string>> names;
};
struct WrittenClient {
    Maybe<unsigned> uid;
    Maybe<SecretSource> password;
    Maybe<WrittenClientVendors> vendors;
};

struct WrittenPolicy {
    Maybe<unsigned> version;
    Maybe<std::vector<Written<std::string>>> include;
    Maybe<WrittenListen> listen;
    Maybe<unsigned> workers;
    Maybe<Unmatched> unmatched;
    Maybe<std::string> state;
    Maybe<WrittenAuthority> authority;
    Maybe<std::vector<Written<std::string>>> no_proxy;
    Maybe<WrittenDefaults> defaults;
    Maybe<std::vector<Named<WrittenCredential>>> credentials;
    Maybe<std::vector<Named<WrittenVendor>>> vendors;
    Maybe<std::vector<Named<WrittenClient>>> clients;
};

/// Reads a file's root. `included`: it may hold only vendors and credentials.
std::optional<WrittenPolicy> read_policy(Reader& reader, const Node& root, bool included);

/// The schema of a whole policy, its definitions left in `schema.defs`.
boost::json::object describe_policy(Schema& schema);

/// A path beside the file that names it: relative ones start from that file's directory.
std::string beside(const std::string& file, const std::string& path);

bool is_loopback(const IpAddress& address);

}  // namespace sluice
