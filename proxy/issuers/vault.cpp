#include "proxy/issuers/vault.hpp"

#include <algorithm>
#include <utility>

#include "proxy/base/text.hpp"
#include "proxy/credentials/vault_reply.hpp"

namespace sluice {

namespace {

constexpr Duration spare = 2s;                // before its end a session is not used for anything new
constexpr unsigned deepest = 4;               // a login whose secret another login gives, and so on
constexpr double fresh_share = 2.0 / 3;       // of its lifetime; after that a session is renewed
constexpr double young_share = 0.45;          // of a lease: nobody renews it so early (RenewalPlan: at half at the earliest), so somebody refuses what it gave
const char* const service_account_token = "/var/run/secrets/kubernetes.io/serviceaccount/token";

Duration share_of(Duration time, double share) { return Duration(static_cast<Duration::rep>(static_cast<double>(time.count()) * share)); }
TimePoint after(TimePoint at, std::optional<Duration> lifetime, double share = 1) { return lifetime ? later(at, share_of(*lifetime, share)) : never; }
void shorten(std::optional<Duration>& time, std::optional<Duration> by) {
    if (by) time = time ? std::min(*time, *by) : *by;
}

// A Vault, and how it is logged in to.
struct Access {
    VaultSpec spec;
    std::string login;               // whose session it is, in the memory of an errand; "" of the credential's own
    const Vendor* rules = nullptr;   // null: the errand's
};

// In JSON, as an answer may repeat it: there it can be another text than the secret.
void append_json_secret(std::string& body, const Secret& secret, Errand& errand) {
    const std::size_t begin = body.size();
    append_json_escaped(body, secret.reveal());
    errand.hide(Secret(body.substr(begin)));
}

// One Vault during one errand. What it keeps for the next ones is in the errand's memory, under names that begin with the login's.
class VaultClient {
  public:
    VaultClient(Errand& errand, Access access) : errand_(errand), access_(std::move(access)) {}

    /// Reads a path; a session that was kept and is refused is made anew once.
    Task<Result<Secret>> read(const std::string& path);
    /// Renews a lease. Nothing, without a failure: there is no more of it, read anew.
    Task<Result<std::optional<VaultLease>>> renew_lease(const Secret& id, Duration increment);
    /// Makes sure that there is a session.
    Task<Result<void>> enter();

    /// Was it begun in this errand? Leases end with the session they were made in.
    bool session_is_new() const { return begun_; }
    /// Of the session; nothing: it does not end.
    std::optional<Duration> time_left() const;

  private:
    Task<Result<void>> enter_by_token();
    Task<Result<void>> log_in();
    Task<Result<void>> renew_session();
    Task<Result<IssuerReply>> send(const char* method, const std::string& path, Secret body, bool with_token);
    Task<Result<Secret>> login_body();
    void begin(Secret token, const VaultLogin& login);
    void extend(const VaultLogin& login);
    void leave();

    std::string key(std::string_view what) const { return "vault " + access_.login + ' ' + std::string(what); }
    const Secret* kept(std::string_view what) const { return errand_.memory().find(key(what), Errand::now()); }
    std::string where(const std::string& path) const { return text_of(access_.spec.address) + path; }
    std::string method() const;
    std::string login_path() const;

    Errand& errand_;
    const Access access_;
    Secret token_;
    TimePoint asked_{};   // the latest; whatever an answer says lasts from then at least
    bool begun_ = false;
};

std::string VaultClient::method() const {
    switch (access_.spec.auth) {
    case VaultSpec::Auth::token: return "token";
    case VaultSpec::Auth::kubernetes: return "kubernetes";
    case VaultSpec::Auth::jwt: return "jwt";
    case VaultSpec::Auth::approle: return "approle";
    }
    return {};
}

std::string VaultClient::login_path() const { return "auth/" + (access_.spec.mount.empty() ? method() : access_.spec.mount) + "/login"; }

std::optional<Duration> VaultClient::time_left() const {
    const auto found = errand_.memory().kept.find(key("token"));
    if (found == errand_.memory().kept.end() || found->second.until == never) return {};
    return std::max<Duration>(found->second.until - Errand::now(), Duration{});
}

Task<Result<IssuerReply>> VaultClient::send(const char* method, const std::string& path, Secret body, bool with_token) {
    std::string why;
    const auto encoded = vault_api_path(path, why);
    if (!encoded) co_return errand_.failure("'" + path + "' is no path of Vault: " + why);
    IssuerRequest request;
    request.method = method;
    request.url = access_.spec.address;
    request.url.prefix += *encoded;
    request.fields.add("X-Vault-Request", "true");   // which other sites' pages cannot send
    if (!access_.spec.name_space.empty()) request.fields.add("X-Vault-Namespace", access_.spec.name_space);
    if (with_token) request.fields.add("X-Vault-Token", token_.reveal());
    request.has_body = !body.empty();
    if (request.has_body) request.fields.add("Content-Type", "application/json");
    request.body = std::move(body);
    asked_ = Errand::now();
    Result<IssuerReply> reply = co_await errand_.call(std::move(request), access_.rules);
    co_return reply;
}

void VaultClient::begin(Secret token, const VaultLogin& login) {
    token_ = std::move(token);
    begun_ = true;
    extend(login);
}

void VaultClient::extend(const VaultLogin& login) {
    IssuerMemory& memory = errand_.memory();
    const TimePoint end = login.lifetime ? later(asked_, std::max<Duration>(*login.lifetime - spare, *login.lifetime / 2)) : never;
    memory.keep(key("token"), token_, end);
    memory.keep(key("fresh"), {}, after(asked_, login.lifetime, fresh_share));
    if (login.renewable) memory.keep(key("renewable"), {}, end);
    else memory.forget(key("renewable"));
    if (begun_) memory.keep(key("lifetime"), Secret(std::to_string(login.lifetime.value_or(Duration{}) / 1s)), end);
}

void VaultClient::leave() {
    for (const std::string_view what : {"token", "fresh", "renewable", "lifetime"}) errand_.memory().forget(key(what));
}

Task<Result<void>> VaultClient::enter() {
    if (!token_.empty()) co_return Result<void>{};
    if (access_.spec.auth == VaultSpec::Auth::token) {
        Result<void> entered = co_await enter_by_token();
        if (!entered) co_return entered;
    } else if (const Secret* token = kept("token")) {
        token_ = *token;
        errand_.hide(token_);
    }
    if (!token_.empty() && kept("fresh")) co_return Result<void>{};
    if (!token_.empty() && kept("renewable")) {
        Result<void> renewed = co_await renew_session();
        if (renewed) co_return renewed;
        if (kept("token")) co_return Result<void>{};   // it is good for a while yet; whether Vault is there the reading will tell
    }
    if (access_.spec.auth == VaultSpec::Auth::token) co_return Result<void>{};   // there is no other
    Result<void> entered = co_await log_in();
    if (entered || token_.empty() || !kept("token")) co_return entered;
    errand_.note("Vault gives no new session, and the one at hand is used until its end: " + entered.error().detail);
    co_return Result<void>{};
}

// The operator's own token, as it stands now. How long it lasts only Vault knows; where it does not say (a policy may forbid it), the token is used for as long as it is taken.
Task<Result<void>> VaultClient::enter_by_token() {
    Result<Secret> token = co_await errand_.secret(access_.spec.secret);
    if (!token) co_return std::move(token.error());
    if (!is_vault_token(token->reveal())) co_return errand_.failure("the token of Vault in " + access_.spec.secret.text() + " is empty, or holds what cannot stand in a head");
    const Secret* before = kept("token");
    const bool same = before && before->same_as(token->reveal());
    token_ = std::move(*token);
    if (same) co_return Result<void>{};
    leave();
    Result<IssuerReply> reply = co_await send("GET", "auth/token/lookup-self", {}, true);
    if (!reply) {
        token_ = {};
        co_return std::move(reply.error());
    }
    const auto read = read_vault_lookup(reply->status, reply->body.reveal());
    const auto* found = std::get_if<VaultLogin>(&read);
    begin(std::move(token_), found ? *found : VaultLogin{});
    co_return Result<void>{};
}

// {"role": "...", "jwt": "..."}
Task<Result<Secret>> VaultClient::login_body() {
    const VaultSpec& spec = access_.spec;
    SecretSource source = spec.secret;
    if (!source.written() && spec.auth == VaultSpec::Auth::kubernetes) source = {SecretSource::Kind::file, service_account_token, {}, {}};
    Result<Secret> secret = co_await errand_.secret(source);
    if (!secret) co_return secret;
    const bool approle = spec.auth == VaultSpec::Auth::approle;
    std::string body;
    body.reserve(64 + 6 * (spec.role.size() + secret->size()));   // grown, it would leave copies behind
    body += approle ? "{\"role_id\":\"" : "{\"role\":\"";
    append_json_escaped(body, spec.role);
    if (!secret->empty()) {   // an AppRole may be without (bind_secret_id=false)
        body += approle ? "\",\"secret_id\":\"" : "\",\"jwt\":\"";
        append_json_secret(body, *secret, errand_);
    }
    body += "\"}";
    co_return Secret(std::move(body));
}

// The session before it stays until there is another one.
Task<Result<void>> VaultClient::log_in() {
    VaultReadings& readings = errand_.vault_readings();
    if (readings.depth >= deepest) co_return errand_.failure("its login to Vault needs a secret that needs a login to Vault, and so on without an end");
    ++readings.depth;
    Result<Secret> body = co_await login_body();
    --readings.depth;
    if (!body) co_return std::move(body.error());
    const std::string path = login_path();
    Result<IssuerReply> reply = co_await send("POST", path, std::move(*body), false);
    if (!reply) co_return std::move(reply.error());
    auto read = read_vault_login(reply->status, reply->body.reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) {
        const std::string role = access_.spec.auth == VaultSpec::Auth::approle ? "" : " as role '" + access_.spec.role + "'";
        co_return errand_.failure(where("/v1/" + path) + ' ' + denied->what + " (the login by " + method() + role + ")");
    }
    auto& login = std::get<VaultLogin>(read);
    errand_.hide(login.token);
    Secret token = std::move(login.token);
    begin(std::move(token), login);
    co_return Result<void>{};
}

Task<Result<void>> VaultClient::renew_session() {
    Result<IssuerReply> reply = co_await send("POST", "auth/token/renew-self", Secret(std::string("{}")), true);
    if (!reply) co_return std::move(reply.error());
    auto read = read_vault_login(reply->status, reply->body.reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) {
        if (denied->status == 403 || denied->status == 400) leave();   // it is over, or its policies do not let it
        co_return errand_.failure(where("/v1/auth/token/renew-self") + ' ' + denied->what);
    }
    auto& login = std::get<VaultLogin>(read);
    errand_.hide(login.token);
    const Secret* first = kept("lifetime");
    const auto whole = first ? parse_decimal(first->reveal()).value_or(0) : 0;
    if (login.lifetime && *login.lifetime < std::chrono::seconds(whole) / 2) login.renewable = false;   // its max_ttl comes near: the next is a login
    extend(login);
    co_return Result<void>{};
}

Task<Result<Secret>> VaultClient::read(const std::string& path) {
    Result<void> entered = co_await enter();
    if (!entered) co_return std::move(entered.error());
    Result<IssuerReply> reply = co_await send("GET", path, {}, true);
    if (!reply) co_return std::move(reply.error());
    if (reply->status == 403 && !begun_ && access_.spec.auth != VaultSpec::Auth::token) {   // revoked, or Vault has lost it
        entered = co_await log_in();
        if (!entered) co_return std::move(entered.error());
        reply = co_await send("GET", path, {}, true);
        if (!reply) co_return std::move(reply.error());
    }
    const auto read = VaultSecret::read(reply->status, reply->body.reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) {
        const bool forbidden = denied->status == 403;
        if (forbidden) leave();   // what it may do can have changed: the next one looks again
        co_return errand_.failure(where("/v1/" + path) + ' ' + denied->what + (forbidden ? " (its policies do not let it read this, or nothing is mounted there)" : ""));
    }
    co_return std::move(reply->body);
}

Task<Result<std::optional<VaultLease>>> VaultClient::renew_lease(const Secret& id, Duration increment) {
    std::string body;
    body.reserve(64 + 6 * id.size());
    body += "{\"lease_id\":\"";
    append_json_escaped(body, id.reveal());
    body += "\",\"increment\":" + std::to_string(increment / 1s) + "}";
    Result<IssuerReply> reply = co_await send("PUT", "sys/leases/renew", Secret(std::move(body)), true);
    if (!reply) co_return std::move(reply.error());
    auto read = read_vault_lease(reply->status, reply->body.reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) {
        if (denied->status < 500 && denied->status != 429) co_return std::optional<VaultLease>{};   // over, revoked, or not ours to renew
        co_return errand_.failure(where("/v1/sys/leases/renew") + ' ' + denied->what);
    }
    auto& lease = std::get<VaultLease>(read);
    if (*lease.lifetime < increment / 2) co_return std::optional<VaultLease>{};   // its max_ttl comes near
    co_return std::optional<VaultLease>(std::move(lease));
}

// What is attached, of one answer.
Result<Minted> mint(Errand& errand, const VaultSpec& spec, const VaultSecret& secret) {
    std::string why;
    const auto take = [&](const std::string& field) {
        auto value = secret.value(field, why);
        if (value) errand.hide(*value);
        return value;
    };
    Minted minted;
    minted.subject = spec.path;
    if (spec.username_field.empty() && spec.password_field.empty()) {
        auto token = take(spec.field);
        if (!token) return errand.failure(spec.path + " in Vault: " + why);
        minted.what = std::move(*token);
        return minted;
    }
    auto username = take(spec.username_field);
    auto password = username ? take(spec.password_field) : std::nullopt;
    if (!password) return errand.failure(spec.path + " in Vault: " + why);
    minted.what = UserPassword{std::move(*username), std::move(*password)};
    return minted;
}

// What is kept of a lease, beside `IssuerMemory::minted`.
constexpr std::string_view lease_key = "lease", lease_young = "lease young", lease_whole = "lease whole";

void forget_lease(IssuerMemory& memory) {
    for (const std::string_view what : {lease_key, lease_young, lease_whole}) memory.forget(what);
    memory.minted.reset();
}

void keep_lease(IssuerMemory& memory, const VaultLease& lease, Duration whole, const Minted& minted) {
    const TimePoint now = Errand::now();
    memory.minted = minted;
    memory.keep(lease_key, lease.id, after(now, lease.lifetime));
    memory.keep(lease_young, {}, after(now, minted.lifetime, young_share));
    memory.keep(lease_whole, Secret(std::to_string(whole / 1s)));
}

// The same user or token for longer. Nothing, without a failure: read anew.
Task<Result<std::optional<Minted>>> renew(Errand& errand, VaultClient& vault) {
    IssuerMemory& memory = errand.memory();
    const Secret* id = memory.find(lease_key, Errand::now());
    const Secret* whole = memory.find(lease_whole, Errand::now());
    if (!id || !whole || !memory.minted || vault.session_is_new() || memory.find(lease_young, Errand::now())) co_return std::optional<Minted>{};
    const auto seconds = std::chrono::seconds(parse_decimal(whole->reveal()).value_or(0));
    const Secret lease_id = *id;
    Result<std::optional<VaultLease>> lease = co_await vault.renew_lease(lease_id, seconds);
    if (!lease) co_return std::move(lease.error());
    if (!*lease) co_return std::optional<Minted>{};
    Minted minted = *memory.minted;
    minted.lifetime = (**lease).lifetime;
    shorten(minted.lifetime, vault.time_left());
    if (!(**lease).renewable) forget_lease(memory);
    else keep_lease(memory, **lease, seconds, minted);
    co_return std::optional<Minted>(std::move(minted));
}

// "http://" would show the token to whoever listens; an agent on this machine is often reached so.
bool is_safe(const Url& url) {
    if (url.scheme == Scheme::https) return true;
    const std::string& host = url.authority.host;
    return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<Access> access_of_environment(Errand& errand) {
    const auto address = errand.variable("VAULT_ADDR");
    if (!address) return errand.failure("VAULT_ADDR is not set; set it where Sluice is started, or say with `login` which credential of type vault is meant");
    std::string fault;
    const auto url = parse_base_url(*address, fault);
    if (!url) return errand.failure("VAULT_ADDR is no URL: " + fault);
    if (!is_safe(*url)) return errand.failure("VAULT_ADDR is http://, which shows the token on the way; write https://");
    Access access;
    access.spec.address = *url;
    access.spec.secret = {SecretSource::Kind::environment, "VAULT_TOKEN", {}, {}};
    access.spec.name_space = errand.variable("VAULT_NAMESPACE").value_or("");
    if (const auto rules = errand.config().vault_of_environment) access.rules = &errand.config().issuers[*rules];
    return access;
}

Result<Access> access_of(Errand& errand, const std::string& login) {
    if (login.empty()) return access_of_environment(errand);
    for (const CredentialSpec& spec : errand.config().credentials) {
        if (spec.name != login) continue;
        const auto* vault = std::get_if<VaultSpec>(&spec.kind);
        if (!vault) return errand.failure("credential '" + login + "', which it names as its login, is not of type vault");
        Access access{*vault, login, nullptr};
        if (spec.issuer) access.rules = &errand.config().issuers[*spec.issuer];
        return access;
    }
    return errand.failure("no credential is called '" + login + "', which it names as its login");
}

// One answer of Vault a path, whatever the number of values that are taken from it.
Task<Result<Secret>> read_once(Errand& errand, const SecretSource& source) {
    VaultReadings& readings = errand.vault_readings();
    const std::string key = source.login + ' ' + source.name;
    if (const auto found = readings.answers.find(key); found != readings.answers.end()) co_return found->second;
    Result<Access> access = access_of(errand, source.login);
    if (!access) co_return std::move(access.error());
    VaultClient vault(errand, std::move(*access));
    Result<Secret> answer = co_await vault.read(source.name);
    if (!answer) co_return answer;
    const auto read = VaultSecret::read(200, answer->reveal());
    if (const auto* secret = std::get_if<VaultSecret>(&read)) {
        shorten(readings.lifetime, secret->lease().lifetime);
        if (!secret->lease().id.empty()) shorten(readings.lifetime, vault.time_left());
        shorten(readings.renew_after, secret->lease().read_again);
    }
    readings.answers.emplace(key, *answer);
    co_return answer;
}

}  // namespace

Task<Result<Secret>> read_vault_secret(Errand& errand, const SecretSource& source) {
    Result<Secret> answer = co_await read_once(errand, source);
    if (!answer) co_return answer;
    const auto read = VaultSecret::read(200, answer->reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) co_return errand.failure(source.text() + ' ' + denied->what);
    std::string why;
    auto value = std::get<VaultSecret>(read).value(source.field, why);
    if (!value) co_return errand.failure(source.text() + ": " + why);
    errand.hide(*value);
    co_return std::move(*value);
}

Task<Result<Minted>> fetch_vault(Errand& errand, const VaultSpec& spec) {
    if (spec.path.empty()) co_return errand.failure("it is a login for {vault: ...} elsewhere: without a path there is nothing to fetch");
    if (!is_safe(spec.address)) co_return errand.failure(text_of(spec.address) + " would show the token on the way; write https://");
    VaultClient vault(errand, Access{spec, {}, nullptr});
    Result<void> entered = co_await vault.enter();
    if (!entered) co_return std::move(entered.error());
    Result<std::optional<Minted>> renewed = co_await renew(errand, vault);
    if (!renewed) co_return std::move(renewed.error());
    if (*renewed) co_return std::move(**renewed);

    Result<Secret> answer = co_await vault.read(spec.path);
    if (!answer) co_return std::move(answer.error());
    forget_lease(errand.memory());
    auto read = VaultSecret::read(200, answer->reveal());
    if (const auto* denied = std::get_if<VaultDenied>(&read)) co_return errand.failure(spec.path + " in Vault " + denied->what);
    const auto& secret = std::get<VaultSecret>(read);
    const VaultLease& lease = secret.lease();
    Result<Minted> minted = mint(errand, spec, secret);
    if (!minted) co_return minted;
    minted->lifetime = lease.lifetime;
    minted->renew_after = lease.read_again;
    if (!lease.id.empty()) shorten(minted->lifetime, vault.time_left());   // Vault takes back what a session has got when that ends
    if (lease.renewable && lease.lifetime) keep_lease(errand.memory(), lease, *lease.lifetime, *minted);
    co_return minted;
}

}  // namespace sluice
