#include "proxy/app/credential_command.hpp"

#include <fcntl.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "certs/trust.hpp"
#include "proxy/app/admin_client.hpp"
#include "proxy/app/audit_words.hpp"
#include "proxy/app/credential_advice.hpp"
#include "proxy/app/environment.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/app/supervisor.hpp"
#include "proxy/app/table.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/apply.hpp"
#include "proxy/credentials/renewal_plan.hpp"
#include "proxy/issuers/files.hpp"
#include "proxy/ports/signals_blocked.hpp"
#include "proxy/serve/issuing.hpp"
#include "proxy/telemetry/audit_file.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr Duration short_life = 1min;                          // less is worth a word
constexpr Duration end_is_near = std::chrono::hours(24 * 14);  // of a certificate, which people renew

/// What came of it.
struct Trial {
    std::string fault;  // "": it came
    std::string advice;
    std::string what;   // "a token of 812 bytes"
    std::string place;  // where it goes in a request
    std::string subject;
    std::vector<std::string> scope;
    bool fetched = false;  // else it was read
    std::optional<Duration> lifetime;
    std::optional<std::pair<Duration, Duration>> renewed_after;  // the earliest and the latest
    Duration took{};
    std::vector<IssuerCall> calls;
    std::vector<std::string> warnings;
};

struct Binding {
    std::string vendor, route;  // route "": all of the vendor's others
    std::vector<std::string> hosts;
};

/// To the millisecond where it is short, to the second where it is not.
std::string rounded(Duration time) {
    if (time >= 10s) return format_duration(std::chrono::round<std::chrono::seconds>(time));
    return format_duration(std::chrono::round<std::chrono::milliseconds>(time));
}

std::string bytes_text(std::size_t size) {
    return std::to_string(size) + (size == 1 ? " byte" : " bytes");
}

// ---- what the policy says of it

/// Where it comes from.
struct Origins {
    std::string operator()(const BearerSpec& bearer) const { return bearer.value.text(); }
    std::string operator()(const ApiKeySpec& key) const { return key.value.text(); }
    std::string operator()(const BasicSpec& basic) const { return basic.password.text(); }
    std::string operator()(const HmacSpec& hmac) const { return hmac.key.text(); }
    std::string operator()(const MtlsSpec& mtls) const { return mtls.in_files() ? mtls.cert.name : mtls.cert.text() + " and " + mtls.key.text(); }
    std::string operator()(const OAuthSpec& oauth) const { return text_of(oauth.token_url); }
    std::string operator()(const AwsSpec&) const { return "AWS"; }
    std::string operator()(const GcpSpec& gcp) const {
        return gcp.key.written() ? "Google Cloud, with the key in " + gcp.key.text() : "Google Cloud's metadata server";
    }
    std::string operator()(const AzureSpec&) const { return "Entra ID"; }
    std::string operator()(const GithubAppSpec& github) const { return text_of(github.api_url); }
    std::string operator()(const VaultSpec& vault) const {
        return text_of(vault.address) + (vault.path.empty() ? "" : ", " + vault.path);
    }
    std::string operator()(const ExecSpec& exec) const { return "the program " + exec.command.front(); }
};

std::vector<Binding> bindings_of(const Config& config, const CredentialSpec& spec) {
    std::vector<Binding> all;
    for (const Vendor& vendor : config.vendors) {
        std::vector<std::string> hosts;
        for (const HostPattern& host : vendor.hosts) hosts.push_back(host.text());
        // A certificate is the vendor's `tls.client` by now.
        const auto* mtls = std::get_if<MtlsSpec>(&spec.kind);
        const bool shown = mtls && mtls->in_files() && vendor.tls.client_cert_file == mtls->cert.name;
        if (vendor.credential == spec.index || shown) all.push_back({vendor.name, {}, hosts});
        for (const Route& route : vendor.routes)
            if (route.credential == spec.index && vendor.credential != spec.index)
                all.push_back({vendor.name, route.name, hosts});
    }
    return all;
}

bool is_rotated(const CredentialSpec& spec) {
    const auto* oauth = std::get_if<OAuthSpec>(&spec.kind);
    return oauth && oauth->grant == OAuthSpec::Grant::refresh_token;
}

// ---- getting it

std::string placed(const CredentialSpec& spec, const Attachment& attachment) {
    std::string out;
    if (const auto* value = std::get_if<FixedValue>(&attachment.how)) {
        out = (value->place == FixedValue::Place::header ? "header " : "query parameter ") + value->name;
    } else if (const auto* aws = std::get_if<AwsSigner>(&attachment.how)) {
        out = "a signature of AWS (SigV4) for " + aws->service + (aws->region.empty() ? "" : " in " + aws->region);
    } else if (const auto* hmac = std::get_if<HmacSigner>(&attachment.how)) {
        std::vector<std::string> names;
        for (const HmacHeader& header : hmac->scheme.headers) names.push_back(header.name);
        out = "a signature, in header " + joined(names, ", ");
    } else {
        out = "the connection's client certificate";
    }
    if (!spec.rules.placeholder.empty())
        out += ", or in place of " + spec.rules.placeholder + (spec.rules.require ? " only" : "");
    return out;
}

std::string described(const Minted& minted) {
    if (const auto* token = std::get_if<Secret>(&minted.what)) return "a token of " + bytes_text(token->size());
    if (const auto* pair = std::get_if<UserPassword>(&minted.what))
        return "a user's name of " + bytes_text(pair->username.size()) + " and a password of " +
               bytes_text(pair->password.size());
    if (std::holds_alternative<OnConnection>(minted.what)) return "a certificate, and the key that belongs to it";
    const auto& keys = std::get<AwsSecretKeys>(minted.what);
    return std::string("an access key with its secret") +
           (keys.session_token.empty() ? "" : ", and a session token of " + bytes_text(keys.session_token.size()));
}

/// The earliest and the latest of what a running Sluice would draw.
std::optional<std::pair<Duration, Duration>> renewal_of(const CredentialSpec& spec, const Minted& minted) {
    const auto due = [&](double draw) -> std::optional<Duration> {
        RenewalTimes times;
        times.before = spec.rules.refresh_before;
        RenewalPlan plan(times, true);
        const TimePoint asked = std::chrono::steady_clock::now();
        plan.began(asked);
        if (!plan.fetched(asked, minted.lifetime, draw, minted.renew_after)) return {};
        return plan.due() - asked;
    };
    const auto one = due(0), other = due(0.999);
    if (!one || !other) return {};
    return std::minmax(*one, *other);
}

void warn_of_secrets(Trial& trial, const Attachment& attachment) {
    const auto shortest = [](const Secret& a, const Secret& b) { return a.size() < b.size(); };
    const auto& secrets = attachment.secrets;
    const auto found = std::min_element(secrets.begin(), secrets.end(), shortest);
    if (found != secrets.end() && found->size() < Needles::shortest)
        trial.warnings.push_back("a secret of " + bytes_text(found->size()) +
                                 " is too short to be scrubbed from answers (8 at least)");
    const Needles needles(secrets);
    if (needles.too_much() > 0) trial.warnings.push_back("it is longer than 16 KiB, and so not scrubbed from answers");
}

/// Sluice without anything but what fetches.
class Workshop {
  public:
    explicit Workshop(const Config& config)
        : log_(::open("/dev/null", O_WRONLY | O_CLOEXEC)), telemetry_(1, log_, LogFormat::json) {
        auto own = std::make_shared<Config>(config);
        telemetry_.enrol(*own);
        policy_.contexts = std::make_shared<const ClientContexts>(*own);
        policy_.config = std::move(own);
        world_.telemetry = &telemetry_;
        world_.board = &board_;
        for (const ListenAddress& ours : {config.listen.proxy, config.listen.admin})  // as a running one refuses them
            if (ours.port != 0) world_.own.push_back(ours);
    }
    ~Workshop() { ::close(log_); }
    Workshop(const Workshop&) = delete;

    Result<Minted> fetch(std::size_t credential, Issuing::Told& told) {
        Issuing issuing(world_, policy_.config->state, [](const KeeperNotice&) {});
        // A refresh token that is on its way is worth nothing without its answer: whoever ends us then waits for that.
        const auto* oauth = std::get_if<OAuthSpec>(&policy_.config->credentials[credential].kind);
        std::optional<SignalsBlocked> held;
        if (oauth && oauth->grant == OAuthSpec::Grant::refresh_token) held.emplace();
        return issuing.fetch_once(policy_, policy_.config->credentials[credential], errand_time, nullptr, &told);
    }

  private:
    int log_;
    Telemetry telemetry_;
    CredentialBoard board_;
    World world_;
    PolicySnapshot policy_;
};

/// Like every other one that is minted. What a root's hand would leave in `state`, Sluice could not write any more.
std::string fault_of_audit(const Config& config, const CredentialSpec& spec, const Trial& trial, WallTime asked) {
    struct stat status {};
    if (::stat(config.state.c_str(), &status) == 0 && status.st_uid != ::geteuid())
        return config.state + " belongs to uid " + std::to_string(status.st_uid);
    KeeperNotice notice;
    notice.spec = &spec;
    notice.subject = trial.subject;
    notice.scope = joined(trial.scope, " ");
    if (!trial.calls.empty()) notice.issuer = trial.calls.back().where;
    notice.lifetime = trial.lifetime;
    if (trial.lifetime) notice.expires = asked + std::chrono::duration_cast<WallTime::duration>(*trial.lifetime);
    return AuditFile(config.state).append({audit_of_mint(notice, "command", std::chrono::system_clock::now())});
}

void fetch(const Config& config, const CredentialSpec& spec, Trial& trial) {
    trial.fetched = true;
    Workshop workshop(config);
    Issuing::Told told;
    const WallTime asked = std::chrono::system_clock::now();
    const Result<Minted> minted = workshop.fetch(spec.index, told);
    trial.calls = std::move(told.calls);
    trial.warnings = std::move(told.notes);
    Result<Attachment> made = minted ? make_attachment(spec, *minted) : Result<Attachment>(minted.error());
    if (made && !renewal_of(spec, *minted))
        made = Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe,
                       "credential '" + spec.name + "': what its issuer gave has ended already"};
    if (!made) {
        trial.fault = made.error().detail;
        trial.advice = advise(spec, trial.fault, trial.calls);
        return;
    }
    trial.what = described(*minted);
    trial.subject = minted->subject;
    trial.scope = minted->scope;
    const Needles needles(made->secrets);  // an issuer may repeat the token anywhere
    needles.mask(trial.subject);
    for (std::string& scope : trial.scope) needles.mask(scope);
    trial.lifetime = minted->lifetime;
    trial.renewed_after = renewal_of(spec, *minted);
    trial.place = placed(spec, *made);
    warn_of_secrets(trial, *made);
    if (const std::string why = fault_of_audit(config, spec, trial, asked); !why.empty())
        trial.warnings.push_back("this is not in the audit trail: " + why);
    if (!minted->lifetime && !minted->renew_after)
        trial.warnings.push_back(
            "its issuer does not say how long it lives: it is renewed by the hour, and when the vendor refuses it");
    if (minted->lifetime && *minted->lifetime < short_life)
        trial.warnings.push_back("it lives for " + rounded(*minted->lifetime) +
                                 " only, so an issuer that is down is felt within that time");
}

/// The certificate, its key, and when it ends.
void read_certificate(const MtlsSpec& mtls, const CredentialSpec& spec, Trial& trial) {
    TlsRules rules;
    rules.client_cert_file = mtls.cert.name;
    rules.client_key_file = mtls.key.name;
    const auto context = make_client_context(rules);
    if (!context) {
        trial.fault = "credential '" + spec.name + "': " + context.error().what;
        return;
    }
    const X509* certificate = SSL_CTX_get0_certificate(context->get());
    char name[256] = "";
    X509_NAME_oneline(X509_get_subject_name(certificate), name, sizeof name);
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate));
    const Duration left = std::chrono::hours(24 * days) + std::chrono::seconds(seconds);
    if (left <= Duration{}) {
        trial.fault = "credential '" + spec.name + "': the certificate in " + mtls.cert.name + " has ended";
        trial.advice = "Whoever writes that file has to renew it; Sluice takes the new one without a restart.";
        return;
    }
    trial.what = "a certificate, and the key that belongs to it";
    trial.subject = printable(name);
    trial.lifetime = left;
    if (left < end_is_near)
        trial.warnings.push_back("the certificate ends in " + rounded(left) + "; who renews the file?");
    trial.place = placed(spec, Attachment{});
}

void read(const Config& config, const CredentialSpec& spec, Trial& trial) {
    if (const auto* mtls = std::get_if<MtlsSpec>(&spec.kind)) return read_certificate(*mtls, spec, trial);
    CredentialBoard board;
    const auto slot = std::make_shared<CredentialSlot>(config.credentials[spec.index]);
    const SecretFiles files(board, {slot}, [](const SecretNotice&) {});
    const auto state = slot->state();
    if (!state->attachment) {
        trial.fault = state->fault;
        return;
    }
    const auto& secrets = state->attachment->secrets;
    const auto* basic = std::get_if<BasicSpec>(&spec.kind);
    const std::size_t own = basic && basic->username_source.written() ? 2 : 1;  // behind them: what is sent of them
    std::vector<std::string> sizes;
    for (std::size_t i = 0; i < std::min(own, secrets.size()); ++i) sizes.push_back(bytes_text(secrets[i].size()));
    trial.what = "a secret of " + joined(sizes, " and ");
    trial.place = placed(spec, *state->attachment);
    warn_of_secrets(trial, *state->attachment);
    if (spec.rules.overlap.written() && !state->previous)
        trial.warnings.push_back("the secret before it (overlap) is not at hand in " + spec.rules.overlap.text());
}

// ---- a chain of refresh tokens: each is taken once

bool is_used_by_a_running_one(const Config& config, const CredentialSpec& spec) {
    if (config.listen.admin.port == 0) return false;
    const HttpReply reply = http_get(as_dialled(config.listen.admin), "/config", 2s);
    boost::system::error_code error;
    const json::value told = reply.status == 200 ? json::parse(reply.body, error) : json::value();
    if (error || !told.is_object()) return false;
    const json::value* state = told.get_object().if_contains("state");
    const json::value* credentials = told.get_object().if_contains("credentials");
    return state && state->is_string() && state->get_string() == config.state && credentials &&
           credentials->is_object() && credentials->get_object().contains(spec.name);
}

/// Why its chain had better be left alone; "" where it may be used.
std::string objection_to(const Config& config, const CredentialSpec& spec, bool force) {
    if (config.state.empty())
        return "its rotated refresh token has no place: write `state: /var/lib/sluice` (or another directory)";
    struct stat status {};
    if (::stat(config.state.c_str(), &status) != 0) {
        std::error_code error;
        std::filesystem::create_directories(config.state, error);
        if (!error) std::filesystem::permissions(config.state, std::filesystem::perms::owner_all, error);
        return error ? "its rotated refresh token cannot be kept in " + config.state + ": " + error.message() : "";
    }
    if (::access(config.state.c_str(), W_OK | X_OK) != 0)
        return "its rotated refresh token cannot be kept in " + config.state + ": " + std::strerror(errno) +
               "; run this as uid " + std::to_string(status.st_uid);
    if (force) return {};
    if (status.st_uid != ::geteuid())
        return config.state + " belongs to uid " + std::to_string(status.st_uid) +
               ", which could not read the refresh token that this would leave there: run this as that user (or with "
               "--force)";
    if (is_used_by_a_running_one(config, spec))
        return "the Sluice at " + as_dialled(config.listen.admin).text() +
               " uses its chain of refresh tokens, and two at once may look like theft to the issuer; `sluice status` "
               "says how it fares there (--force tests it all the same)";
    return {};
}

// ---- telling it

std::string call_text(const IssuerCall& call) {
    std::string text = call.method + ' ' + call.where + "  " +
                       (call.status ? std::to_string(call.status) : std::string(name_of(*call.reason)));
    std::string steps;
    const auto add = [&steps](const char* name, const std::optional<Duration>& took) {
        if (took) steps += std::string(steps.empty() ? "" : ", ") + name + ' ' + rounded(*took);
    };
    add("dns", call.phases.dns);
    add("connect", call.phases.connect);
    add("tls", call.phases.tls);
    add("first byte", call.phases.first_byte);
    return text + " after " + rounded(call.took) + (steps.empty() ? "" : " (" + steps + ")");
}

std::string renewal_text(const std::pair<Duration, Duration>& after) {
    const std::string early = rounded(after.first), late = rounded(after.second);
    return early == late ? early : early + " to " + late;
}

void print_text(const CredentialSpec& spec, const std::vector<Binding>& bound, const Trial& trial, Streams& streams) {
    Console& out = streams.out;
    const auto line = [&out](std::string_view label, const std::string& text) {
        out << "  " << out.paint(Colour::cyan, label) << std::string(10 - label.size(), ' ') << printable(text) << "\n";
    };
    out << out.paint(Colour::bold, spec.name) << "  " << spec.type() << "\n";
    line("from", std::visit(Origins{}, spec.kind));
    for (std::size_t i = 0; i < trial.calls.size(); ++i) line(i == 0 ? "asked" : "", call_text(trial.calls[i]));
    if (trial.fault.empty()) line(trial.fetched ? "came" : "read", trial.what + ", in " + rounded(trial.took));
    if (!trial.subject.empty()) line("subject", trial.subject);
    if (!trial.scope.empty()) line("scope", joined(trial.scope, " "));
    if (trial.lifetime) line("lifetime", rounded(*trial.lifetime));
    if (trial.renewed_after) line("renewed", "after " + renewal_text(*trial.renewed_after));
    if (!trial.place.empty()) line("goes to", trial.place);
    for (std::size_t i = 0; i < bound.size(); ++i) {
        const std::string route = bound[i].route.empty() ? "" : ", route " + bound[i].route;
        line(i == 0 ? "bound to" : "", bound[i].vendor + route + ": " + joined(bound[i].hosts, " "));
    }
    for (const std::string& warning : trial.warnings)
        out << out.paint(Colour::yellow, "warning") << ": " << printable(warning) << "\n";
    if (trial.fault.empty()) {
        out << out.paint(Colour::green, "good") << "\n";
        return;
    }
    out.flush();
    streams.err << streams.err.paint(Colour::red, "not good") << ": " << printable(trial.fault) << "\n";
    if (!trial.advice.empty()) streams.err << trial.advice << "\n";
}

json::object call_as_json(const IssuerCall& call) {
    const auto ms = [](Duration time) { return std::chrono::duration<double, std::milli>(time).count(); };
    json::object out{{"method", call.method}, {"url", call.where}, {"took_ms", ms(call.took)}};
    if (call.status) out["status"] = call.status;
    if (call.reason) out["reason"] = name_of(*call.reason);
    const auto add = [&](const char* name, const std::optional<Duration>& took) {
        if (took) out[name] = ms(*took);
    };
    add("dns_ms", call.phases.dns);
    add("connect_ms", call.phases.connect);
    add("tls_ms", call.phases.tls);
    add("first_byte_ms", call.phases.first_byte);
    return out;
}

void print_json(const CredentialSpec& spec, const std::vector<Binding>& bound, const Trial& trial, Console& out) {
    const auto seconds = [](Duration time) { return std::chrono::duration<double>(time).count(); };
    json::array calls, vendors;
    for (const IssuerCall& call : trial.calls) calls.push_back(call_as_json(call));
    for (const Binding& one : bound) {
        json::object entry{{"vendor", one.vendor}, {"hosts", json::array(one.hosts.begin(), one.hosts.end())}};
        if (!one.route.empty()) entry["route"] = one.route;
        vendors.push_back(std::move(entry));
    }
    json::object all{{"ok", trial.fault.empty()},
                     {"credential", spec.name},
                     {"type", spec.type()},
                     {"from", std::visit(Origins{}, spec.kind)},
                     {"took_seconds", seconds(trial.took)}};
    const auto add = [&all](const char* key, const std::string& text) {
        if (!text.empty()) all[key] = text;
    };
    add("fault", trial.fault);
    add("advice", trial.advice);
    add("came", trial.what);
    add("goes_to", trial.place);
    add("subject", trial.subject);
    if (!trial.scope.empty()) all["scope"] = json::array(trial.scope.begin(), trial.scope.end());
    if (trial.lifetime) all["lifetime_seconds"] = seconds(*trial.lifetime);
    if (trial.renewed_after)
        all["renewed_after_seconds"] =
            json::array{seconds(trial.renewed_after->first), seconds(trial.renewed_after->second)};
    all["calls"] = std::move(calls);
    all["bound_to"] = std::move(vendors);
    all["warnings"] = json::array(trial.warnings.begin(), trial.warnings.end());
    out << json::serialize(all) << "\n";
}

int tell_unknown(const Config& config, const std::string& name, Console& err) {
    std::vector<std::string_view> names;
    for (const CredentialSpec& spec : config.credentials) names.push_back(spec.name);
    err << "the policy has no credential " << quoted(name);
    if (const auto meant = nearest(name, names)) {
        err << " (did you mean '" << *meant << "'?)";
    } else if (!names.empty()) {
        err << "; it has";
        for (const std::string_view one : names) err << ' ' << one;
    }
    err << "\n";
    return code_of(Exit::usage);
}

Trial try_out(const Config& config, const CredentialSpec& spec, bool force) {
    Trial trial;
    const TimePoint began = std::chrono::steady_clock::now();
    const std::string objection = is_rotated(spec) ? objection_to(config, spec, force) : std::string();
    if (!objection.empty()) {
        trial.fault = "credential '" + spec.name + "': " + objection;
    } else if (spec.is_login()) {
        trial.fault = "credential '" + spec.name + "' is a login for {vault: ...}, and nothing by itself";
        trial.advice = "Test a credential that reads its secret from Vault with it.";
    } else if (spec.is_static()) {
        read(config, spec, trial);
    } else {
        fetch(config, spec, trial);
    }
    trial.took = std::chrono::steady_clock::now() - began;
    return trial;
}

}  // namespace

int test_credential(const std::string& given, const CredentialQuestion& question, Output output, Streams& streams) {
    const auto config = load_or_explain(given, streams.err);
    if (!config) return code_of(Exit::bad_policy);
    const auto named = [&](const CredentialSpec& spec) { return spec.name == question.name; };
    const auto spec = std::find_if(config->credentials.begin(), config->credentials.end(), named);
    if (spec == config->credentials.end()) return tell_unknown(*config, question.name, streams.err);
    harden_process();
    Trial trial = try_out(*config, *spec, question.force);
    const std::vector<Binding> bound = bindings_of(*config, *spec);
    if (bound.empty() && !spec->is_login()) trial.warnings.push_back("no vendor uses it");
    switch (output) {
    case Output::text: print_text(*spec, bound, trial, streams); break;
    case Output::json: print_json(*spec, bound, trial, streams.out); break;
    }
    return code_of(trial.fault.empty() ? Exit::fine : Exit::failure);
}

}  // namespace sluice
