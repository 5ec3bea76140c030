// The policy as it was written: every key that this version knows, with its place, before defaults, inheritance and
// anything that takes more than one map to judge. The tables of keys in written.cpp and resilience.cpp are the
// language; decode.cpp makes a Config of it, schema.cpp describes it. Pure.
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

struct WrittenSecret {
    Maybe<std::string> file, env;
};

/// A plain name, or a reference to one.
struct WrittenUser {
    std::string plain;
    SecretSource source;
};

struct WrittenCredential {
    Maybe<std::size_t> type;  // which of the types: the index in CredentialSpec::kind
    Maybe<SecretSource> value, password;
    Maybe<WrittenUser> username;
    Maybe<std::string> header, query, prefix;
    Maybe<bool> eager;
};

struct WrittenSla {
    Maybe<std::string> availability, window, recovery_time;
    Maybe<std::vector<Named<std::string>>> latency;
};

struct WrittenTls {
    Maybe<TlsRules::Version> min;
    Maybe<std::string> ca;
    Maybe<std::vector<Written<std::string>>> pin;  // 32 raw bytes each
    Maybe<WrittenPair> client;
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
};

/// Reads a file's root. `included`: it may hold only vendors and credentials.
std::optional<WrittenPolicy> read_policy(Reader& reader, const Node& root, bool included);

/// The schema of a whole policy, its definitions left in `schema.defs`.
boost::json::object describe_policy(Schema& schema);

/// Of the types that this version knows, in the order of CredentialSpec::kind.
std::span<const std::string_view> credential_types();

/// A path beside the file that names it: relative ones start from that file's directory.
std::string beside(const std::string& file, const std::string& path);

bool is_loopback(const IpAddress& address);

}  // namespace sluice
