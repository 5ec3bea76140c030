// Vault, by a server of our own that is written from its API documents and takes nothing that is not as they say. Through the program's own client, over TLS.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "proxy/credentials/apply.hpp"
#include "proxy/serve/issuing.hpp"
#include "tests/support/proxy.hpp"
#include "tests/support/wire.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace json = boost::json;

namespace {

constexpr const char* service_account_jwt = "eyJ.service-account.sig";
constexpr const char* app_secret = "7d9e-secret-id";

class FakeVault {
  public:
    FakeVault() : server_([this](Wire& wire) { serve(wire); }, vendor_ca()) {}

    Url url() const {
        std::string fault;
        return *parse_base_url("https://" + server_.authority(), fault);
    }

    // What the test says of it, before or between fetches.
    std::string name_space;
    int token_ttl = 3600, lease_ttl = 3600, lease_max = 1 << 30;
    bool token_renewable = true, sealed = false;
    std::map<std::string, json::object> kv1, kv2;   // by path below the mount
    std::set<std::string> deleted;

    void revoke_tokens() {
        const std::lock_guard lock(mutex_);
        tokens_.clear();
    }
    void accept_token(const std::string& token) {
        const std::lock_guard lock(mutex_);
        tokens_.insert(token);
    }
    /// "GET /v1/kv/data/llm": how often.
    int count(const std::string& call) const {
        const std::lock_guard lock(mutex_);
        const auto found = calls_.find(call);
        return found == calls_.end() ? 0 : found->second;
    }
    /// Whatever was not as the documents have it.
    std::vector<std::string> complaints() const {
        const std::lock_guard lock(mutex_);
        return complaints_;
    }

  private:
    struct Answer {
        unsigned status = 200;
        json::object body;
    };

    void serve(Wire& wire) {
        while (const auto request = wire.read_request()) {
            Answer answer;
            {
                const std::lock_guard lock(mutex_);
                answer = judge(*request);
            }
            const std::string body = json::serialize(answer.body);
            wire.write("HTTP/1.1 " + std::to_string(answer.status) + " Whatever\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        }
    }

    static Answer refuse(unsigned status, const char* why) { return {status, {{"errors", json::array{why}}}}; }
    Answer malformed(const std::string& what) {
        complaints_.push_back(what);
        return refuse(400, "malformed");
    }
    static Answer with_auth(const std::string& token, int ttl, bool renewable) {
        return {200, {{"request_id", "r"}, {"lease_id", ""}, {"renewable", false}, {"lease_duration", 0}, {"data", nullptr},
                      {"auth", json::object{{"client_token", token}, {"policies", json::array{"default"}}, {"lease_duration", ttl}, {"renewable", renewable}}}}};
    }
    static Answer with_data(json::object data, const std::string& lease = "", int duration = 0, bool renewable = false) {
        return {200, {{"request_id", "r"}, {"lease_id", lease}, {"renewable", renewable}, {"lease_duration", duration}, {"data", std::move(data)}, {"warnings", nullptr}, {"auth", nullptr}}};
    }

    Answer judge(const Message& request) {
        const auto space = request.start_line.find(' ');
        const std::string method = request.start_line.substr(0, space);
        const std::string path = request.start_line.substr(space + 1, request.start_line.find(' ', space + 1) - space - 1);
        ++calls_[method + ' ' + path];
        if (request.field("x-vault-request") != "true") return malformed("X-Vault-Request is missing");
        if (request.field("x-vault-namespace") != name_space) return malformed("the namespace is '" + request.field("x-vault-namespace") + "'");
        if (!request.body.empty() && request.field("content-type") != "application/json") return malformed("a body that is not application/json");
        if (sealed) return refuse(503, "Vault is sealed");
        if (method == "POST" && path.ends_with("/login")) return login(request, path);
        if (request.count("x-vault-token") != 1) return malformed("X-Vault-Token is missing: " + path);
        if (!tokens_.contains(request.field("x-vault-token"))) return refuse(403, "permission denied");
        if (method == "GET" && path == "/v1/auth/token/lookup-self") return with_data({{"ttl", token_ttl}, {"renewable", token_renewable}, {"id", request.field("x-vault-token")}});
        if (method == "POST" && path == "/v1/auth/token/renew-self") return with_auth(request.field("x-vault-token"), token_ttl, token_renewable);
        if (method == "PUT" && path == "/v1/sys/leases/renew") return renew(request);
        if (method == "GET") return read(path);
        return malformed(request.start_line);
    }

    Answer login(const Message& request, const std::string& path) {
        if (request.count("x-vault-token") != 0) return malformed("a login with a token");
        json::error_code error;
        const json::value body = json::parse(request.body, error);
        if (error || !body.is_object() || body.get_object().size() != 2) return malformed("a login with " + request.body);
        const auto is = [&](const char* name, const char* value) { return body.get_object().contains(name) && body.get_object().at(name) == value; };
        if (path == "/v1/auth/kubernetes/login" || path == "/v1/auth/corp%2Djwt/login" || path == "/v1/auth/corp-jwt/login") {
            if (!is("jwt", service_account_jwt)) return refuse(403, "service account name not authorized");
            if (!is("role", "sluice")) return refuse(400, "invalid role name \"other\"");
        } else if (path == "/v1/auth/approle/login") {
            if (!is("role_id", "role-17") || !is("secret_id", app_secret)) return refuse(400, "invalid role or secret ID");
        } else {
            return malformed("a login at " + path);
        }
        const std::string token = "hvs.CAESI" + std::to_string(++issued_);
        tokens_.insert(token);
        return with_auth(token, token_ttl, token_renewable);
    }

    Answer renew(const Message& request) {
        json::error_code error;
        const json::value body = json::parse(request.body, error);
        if (error || !body.is_object() || !body.get_object().contains("lease_id") || !body.get_object().contains("increment")) return malformed("a renewal with " + request.body);
        const std::string id(body.at("lease_id").as_string());
        if (!leases_.contains(id)) return refuse(400, "lease not found");
        const int increment = static_cast<int>(body.at("increment").as_int64());
        return {200, {{"lease_id", id}, {"renewable", true}, {"lease_duration", std::min(increment, lease_max)}}};
    }

    Answer read(const std::string& path) {
        if (path == "/v1/database/creds/reader") {
            const std::string number = std::to_string(++issued_);
            leases_.insert("database/creds/reader/lease" + number);
            return with_data({{"username", "v-reader-" + number}, {"password", "pw-of-" + number}}, "database/creds/reader/lease" + number, lease_ttl, true);
        }
        if (path.starts_with("/v1/kv/data/")) {
            const std::string name = path.substr(12);
            if (deleted.contains(name)) return {404, {{"data", json::object{{"data", nullptr}, {"metadata", json::object{{"deletion_time", "2026-01-02T03:04:05Z"}, {"version", 2}}}}}}};
            if (kv2.contains(name)) return with_data({{"data", kv2[name]}, {"metadata", json::object{{"version", 1}, {"destroyed", false}}}});
        }
        if (path.starts_with("/v1/secret/") && kv1.contains(path.substr(11))) return with_data(kv1[path.substr(11)], "", 2764800);
        return {404, {{"errors", json::array{}}}};
    }

    mutable std::mutex mutex_;
    std::map<std::string, int> calls_;
    std::vector<std::string> complaints_;
    std::set<std::string> tokens_, leases_;
    int issued_ = 0;
    FakeVendor server_;   // last: it calls what is above
};

/// One credential, fetched as `sluice` would, again and again with what is kept of the time before.
class Fetching {
  public:
    explicit Fetching(CredentialSpec spec) : spec_(std::move(spec)) {
        spec_.name = "llm";
        spec_.issuer = 0;
    }

    /// Another credential of the same policy, with how it is reached.
    void beside(CredentialSpec spec) { beside_.push_back(std::move(spec)); }

    Result<Minted> fetch() {
        auto config = std::make_shared<Config>();
        config->unmatched_vendor.index = 0;
        for (std::size_t i = 0; i <= beside_.size(); ++i) {
            CredentialSpec spec = i == 0 ? spec_ : beside_[i - 1];
            spec.index = spec.issuer.emplace(i);
            Vendor issuer;
            issuer.name = "credential " + spec.name;
            issuer.tls.ca_file = ca_;
            std::string fault;
            issuer.addresses.push_back(*parse_range("127.0.0.0/8", fault));
            issuer.timeout.total = 5s;
            issuer.index = 1 + i;
            config->issuers.push_back(std::move(issuer));
            config->credentials.push_back(std::move(spec));
        }
        const PolicySnapshot policy{config, std::make_shared<const ClientContexts>(*config), {}};
        const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        Telemetry telemetry(1, null, LogFormat::json);
        CredentialBoard board;
        World world;
        world.telemetry = &telemetry;
        world.board = &board;
        Result<Minted> got = Issuing(world, "", [](const KeeperNotice&) {}).fetch_once(policy, config->credentials[0], 8s, &memory_);
        ::close(null);
        return got;
    }
    /// As if that had gone by since.
    void pass(Duration time) {
        for (auto& [_, kept] : memory_.kept)
            if (kept.until != never) kept.until -= time;
    }

  private:
    TemporaryDirectory directory_;
    const std::string ca_ = directory_.file("ca.crt", vendor_ca().pem());
    CredentialSpec spec_;
    std::vector<CredentialSpec> beside_;
    IssuerMemory memory_;
};

std::string token_of(const Result<Minted>& got) {
    INFO((got ? std::string("(given)") : got.error().detail));
    REQUIRE(got.has_value());
    return std::string(std::get<Secret>(got->what).reveal());
}
std::string user_of(const Result<Minted>& got) {
    INFO((got ? std::string("(given)") : got.error().detail));
    REQUIRE(got.has_value());
    return std::string(std::get<UserPassword>(got->what).username.reveal());
}
std::string fault_of(const Result<Minted>& got) { return got ? "(given)" : got.error().detail; }
bool says(const Result<Minted>& got, const std::string& words) {
    UNSCOPED_INFO(fault_of(got));
    return fault_of(got).find(words) != std::string::npos;
}

struct Files {
    TemporaryDirectory directory;
    SecretSource file(const std::string& name, const std::string& content) const { return {SecretSource::Kind::file, directory.file(name, content), {}, {}}; }
};

CredentialSpec by_kubernetes(const FakeVault& vault, const Files& files, const std::string& path) {
    VaultSpec spec;
    spec.address = vault.url();
    spec.auth = VaultSpec::Auth::kubernetes;
    spec.role = "sluice";
    spec.secret = files.file("jwt", service_account_jwt);
    spec.path = path;
    spec.field = "key";
    CredentialSpec out;
    out.kind = spec;
    return out;
}
VaultSpec& vault_of(CredentialSpec& spec) { return std::get<VaultSpec>(spec.kind); }
CredentialSpec for_database(const FakeVault& vault, const Files& files) {
    CredentialSpec spec = by_kubernetes(vault, files, "database/creds/reader");
    vault_of(spec).field.clear();
    vault_of(spec).username_field = "username";
    vault_of(spec).password_field = "password";
    return spec;
}

}  // namespace

TEST_CASE("a value of a KV store of version 2 is read after a login by service account, and is to be read again in minutes") {
    FakeVault vault;
    Files files;
    vault.name_space = "team/pay";
    vault.kv2["llm"] = {{"key", "sk-of-the-store"}, {"number", 1234}};
    CredentialSpec spec = by_kubernetes(vault, files, "kv/data/llm");
    vault_of(spec).name_space = "team/pay";
    Fetching fetching(spec);
    const auto got = fetching.fetch();
    CHECK(token_of(got) == "sk-of-the-store");
    CHECK_FALSE(got->lifetime.has_value());
    CHECK(got->renew_after == Duration(5min));
    CHECK(got->subject == "kv/data/llm");
    CHECK(vault.complaints() == std::vector<std::string>{});

    SECTION("the session is kept for the next one") {
        vault.kv2["llm"] = {{"key", "sk-another"}};
        CHECK(token_of(fetching.fetch()) == "sk-another");
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 1);
        CHECK(vault.count("POST /v1/auth/token/renew-self") == 0);
    }
    SECTION("late in its life it is renewed") {
        fetching.pass(50min);
        token_of(fetching.fetch());
        CHECK(vault.count("POST /v1/auth/token/renew-self") == 1);
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 1);
        fetching.pass(30min);   // of the new hour
        token_of(fetching.fetch());
        CHECK(vault.count("POST /v1/auth/token/renew-self") == 1);
    }
    SECTION("when its max_ttl comes near it is left for a new one") {
        vault.token_ttl = 600;   // all that is given of the hour
        fetching.pass(50min);
        token_of(fetching.fetch());
        CHECK(vault.count("POST /v1/auth/token/renew-self") == 1);
        fetching.pass(7min);
        token_of(fetching.fetch());
        CHECK(vault.count("POST /v1/auth/token/renew-self") == 1);
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 2);
    }
    SECTION("after its end there is a login") {
        fetching.pass(61min);
        vault.revoke_tokens();
        token_of(fetching.fetch());
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 2);
        CHECK(vault.count("GET /v1/kv/data/llm") == 2);   // the old token was not tried
    }
    SECTION("one that Vault has lost is made anew, once") {
        vault.revoke_tokens();
        CHECK(token_of(fetching.fetch()) == "sk-of-the-store");
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 2);
        CHECK(vault.count("GET /v1/kv/data/llm") == 3);
    }
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("a value of a KV store of version 1 is told from one of version 2 by its shape") {
    FakeVault vault;
    Files files;
    vault.kv1["old"] = {{"key", "of version 1"}, {"data", json::object{{"key", "of nobody"}}}};
    const auto got = Fetching(by_kubernetes(vault, files, "secret/old")).fetch();
    CHECK(token_of(got) == "of version 1");
    CHECK_FALSE(got->lifetime.has_value());   // what it calls lease_duration is no lease
    CHECK(got->renew_after == Duration(5min));
}

TEST_CASE("an AppRole and a JWT log in where they are mounted") {
    FakeVault vault;
    Files files;
    vault.kv2["llm"] = {{"key", "sk-1"}};
    CredentialSpec spec = by_kubernetes(vault, files, "kv/data/llm");
    SECTION("AppRole") {
        vault_of(spec).auth = VaultSpec::Auth::approle;
        vault_of(spec).role = "role-17";
        vault_of(spec).secret = files.file("secret-id", app_secret);
        CHECK(token_of(Fetching(spec).fetch()) == "sk-1");
        CHECK(vault.count("POST /v1/auth/approle/login") == 1);
    }
    SECTION("a wrong secret_id is told in Vault's words, without it") {
        vault_of(spec).auth = VaultSpec::Auth::approle;
        vault_of(spec).role = "role-17";
        vault_of(spec).secret = files.file("secret-id", "not-the-one");
        const auto got = Fetching(spec).fetch();
        CHECK(says(got, "/v1/auth/approle/login answered 400: invalid role or secret ID"));
        CHECK_FALSE(says(got, "not-the-one"));
    }
    SECTION("JWT") {
        vault_of(spec).auth = VaultSpec::Auth::jwt;
        vault_of(spec).mount = "corp-jwt";
        CHECK(token_of(Fetching(spec).fetch()) == "sk-1");
    }
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("a projected service account token is read again for every login") {
    FakeVault vault;
    Files files;
    vault.kv2["llm"] = {{"key", "sk-1"}};
    Fetching fetching(by_kubernetes(vault, files, "kv/data/llm"));
    files.file("jwt", "not-yet-valid");
    CHECK(says(fetching.fetch(), "service account name not authorized"));
    files.file("jwt", service_account_jwt);
    CHECK(token_of(fetching.fetch()) == "sk-1");
}

TEST_CASE("a token of the operator's is used as it stands, and another one as soon as it is there") {
    FakeVault vault;
    Files files;
    vault.kv2["llm"] = {{"key", "sk-1"}};
    vault.accept_token("hvs.first");
    CredentialSpec spec = by_kubernetes(vault, files, "kv/data/llm");
    vault_of(spec).auth = VaultSpec::Auth::token;
    vault_of(spec).secret = files.file("token", "hvs.first");
    Fetching fetching(spec);
    CHECK(token_of(fetching.fetch()) == "sk-1");
    CHECK(token_of(fetching.fetch()) == "sk-1");
    CHECK(vault.count("GET /v1/auth/token/lookup-self") == 1);
    fetching.pass(50min);
    token_of(fetching.fetch());
    CHECK(vault.count("POST /v1/auth/token/renew-self") == 1);

    vault.revoke_tokens();
    vault.accept_token("hvs.second");
    const auto refused = fetching.fetch();
    CHECK(says(refused, "answered 403: permission denied"));
    CHECK_FALSE(says(refused, "hvs.first"));
    files.file("token", "hvs.second");
    CHECK(token_of(fetching.fetch()) == "sk-1");
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("what is made to order lives as long as its lease, is renewed until max_ttl, then made anew") {
    FakeVault vault;
    Files files;
    vault.token_ttl = 48 * 3600;
    Fetching fetching(for_database(vault, files));
    const auto first = fetching.fetch();
    const std::string user = user_of(first);
    CHECK(first->lifetime == Duration(1h));
    CHECK_FALSE(first->renew_after.has_value());

    fetching.pass(48min);
    const auto second = fetching.fetch();
    CHECK(user_of(second) == user);
    CHECK(second->lifetime == Duration(1h));
    CHECK(vault.count("PUT /v1/sys/leases/renew") == 1);

    fetching.pass(48min);
    vault.lease_max = 60;
    CHECK(user_of(fetching.fetch()) != user);
    CHECK(vault.count("PUT /v1/sys/leases/renew") == 2);
    CHECK(vault.count("GET /v1/database/creds/reader") == 2);

    SECTION("so early nobody renews: a vendor refuses it, and there is another one") {
        CHECK(user_of(fetching.fetch()) != user);
        CHECK(vault.count("PUT /v1/sys/leases/renew") == 2);
        CHECK(vault.count("GET /v1/database/creds/reader") == 3);
    }
    SECTION("while Vault is sealed it is a failure, and the lease is kept for later") {
        vault.lease_max = 1 << 30;
        fetching.pass(48min);
        vault.sealed = true;
        CHECK(says(fetching.fetch(), "answered 503: Vault is sealed"));
        vault.sealed = false;
        user_of(fetching.fetch());
        CHECK(vault.count("GET /v1/database/creds/reader") == 2);
    }
    SECTION("after a new login the old lease is nobody's: another one is made") {
        vault.lease_max = 1 << 30;
        fetching.pass(48min);
        vault.revoke_tokens();
        user_of(fetching.fetch());
        CHECK(vault.count("GET /v1/database/creds/reader") == 4);   // one of them refused
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 2);
    }
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("a lease ends with the session it was made in") {
    FakeVault vault;
    Files files;
    vault.token_ttl = 600;
    const auto got = Fetching(for_database(vault, files)).fetch();
    user_of(got);
    REQUIRE(got->lifetime.has_value());
    CHECK(*got->lifetime < Duration(10min));
    CHECK(*got->lifetime > Duration(9min));
}

TEST_CASE("Vault's faults are told in words") {
    FakeVault vault;
    Files files;
    vault.kv2["llm"] = {{"token", "sk-secret-value"}, {"empty", ""}, {"list", json::array{1}}};
    const auto ask = [&](const std::string& path, const std::string& field = "key") {
        CredentialSpec spec = by_kubernetes(vault, files, path);
        vault_of(spec).field = field;
        return Fetching(spec).fetch();
    };
    CHECK(says(ask("kv/data/nobody"), "/v1/kv/data/nobody answered 404: there is nothing at this path"));
    const auto other = ask("kv/data/llm");
    CHECK(says(other, "there is no 'key' there, but token, empty, list"));
    CHECK_FALSE(says(other, "sk-secret-value"));
    CHECK(says(ask("kv/data/llm", "empty"), "'empty' is empty there"));
    CHECK(says(ask("kv/data/llm", "list"), "'list' is no text there"));
    CHECK(says(ask("kv/../sys/seal"), "is no path of Vault"));
    CHECK(says(ask("kv/data/llm?version=1"), "is no path of Vault"));
    vault.deleted.insert("gone");
    CHECK(says(ask("kv/data/gone"), "this version was deleted at 2026-01-02T03:04:05Z"));
    vault.sealed = true;
    CHECK(says(ask("kv/data/llm"), "answered 503: Vault is sealed"));
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("a server that is no Vault, and a plain connection, get no token") {
    Files files;
    FakeVendor page(always("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html></html>\n"), vendor_ca());
    FakeVault vault;
    CredentialSpec spec = by_kubernetes(vault, files, "kv/data/llm");
    std::string fault;
    vault_of(spec).address = *parse_base_url("https://" + page.authority(), fault);
    CHECK(says(Fetching(spec).fetch(), "answered 200 but its body is not JSON"));
    vault_of(spec).address = *parse_base_url("http://vault.example:8200", fault);
    CHECK(says(Fetching(spec).fetch(), "write https://"));
}

TEST_CASE("secrets of other types are read from Vault by a login of the policy's") {
    FakeVault vault;
    Files files;
    vault.kv2["llm"] = {{"key", "sk-of-the-store"}, {"user", "alice"}};
    CredentialSpec login = by_kubernetes(vault, files, "");
    login.name = "corp";
    const auto in_vault = [](const std::string& path, const std::string& field) { return SecretSource{SecretSource::Kind::vault, path, field, "corp"}; };
    CredentialSpec spec;

    SECTION("a key") {
        spec.kind = ApiKeySpec{"", in_vault("kv/data/llm", "key")};
        Fetching fetching(spec);
        fetching.beside(login);
        const auto got = fetching.fetch();
        CHECK(token_of(got) == "sk-of-the-store");
        CHECK(got->renew_after == Duration(5min));
        CHECK(token_of(fetching.fetch()) == "sk-of-the-store");
        CHECK(vault.count("POST /v1/auth/kubernetes/login") == 1);
    }
    SECTION("a user's name and password that are made to order are of one reading") {
        spec.kind = BasicSpec{"", in_vault("database/creds/reader", "username"), in_vault("database/creds/reader", "password")};
        Fetching fetching(spec);
        fetching.beside(login);
        const auto got = fetching.fetch();
        CHECK(vault.count("GET /v1/database/creds/reader") == 1);
        const std::string number = user_of(got).substr(9);
        CHECK(std::get<UserPassword>(got->what).password.reveal() == "pw-of-" + number);
        REQUIRE(got->lifetime.has_value());
        CHECK(*got->lifetime > Duration(59min));
    }
    SECTION("a plain user's name beside a password in Vault") {
        spec.kind = BasicSpec{"bob", {}, in_vault("kv/data/llm", "key")};
        Fetching fetching(spec);
        fetching.beside(login);
        CHECK(user_of(fetching.fetch()) == "bob");
    }
    SECTION("what is not there") {
        spec.kind = BearerSpec{in_vault("kv/data/llm", "other")};
        Fetching fetching(spec);
        fetching.beside(login);
        CHECK(says(fetching.fetch(), "{vault: kv/data/llm#other, login: corp}: there is no 'other' there, but key, user"));
    }
    SECTION("a login that is none") {
        spec.kind = BearerSpec{{SecretSource::Kind::vault, "kv/data/llm", "key", "nobody"}};
        CHECK(says(Fetching(spec).fetch(), "no credential is called 'nobody'"));
    }
    SECTION("a login whose secret another login gives, in a circle") {
        vault_of(login).secret = in_vault("kv/data/llm", "key");
        spec.kind = BearerSpec{in_vault("kv/data/llm", "key")};
        Fetching fetching(spec);
        fetching.beside(login);
        CHECK(says(fetching.fetch(), "without an end"));
    }
    CHECK(vault.complaints() == std::vector<std::string>{});
}

TEST_CASE("without a login Vault is where the environment says") {
    FakeVault vault;
    vault.kv2["llm"] = {{"key", "sk-1"}};
    vault.name_space = "team";
    vault.accept_token("hvs.of-the-environment");
    CredentialSpec spec;
    spec.kind = BearerSpec{{SecretSource::Kind::vault, "kv/data/llm", "key", ""}};
    ::setenv("VAULT_TOKEN", "hvs.of-the-environment", 1);
    ::setenv("VAULT_NAMESPACE", "team", 1);
    ::setenv("VAULT_ADDR", ("https://localhost:" + std::to_string(vault.url().authority.port) + "/").c_str(), 1);
    CHECK(token_of(Fetching(spec).fetch()) == "sk-1");
    ::setenv("VAULT_ADDR", "http://vault.example:8200", 1);
    CHECK(says(Fetching(spec).fetch(), "VAULT_ADDR is http://"));
    ::unsetenv("VAULT_ADDR");
    CHECK(says(Fetching(spec).fetch(), "VAULT_ADDR is not set"));
    ::unsetenv("VAULT_TOKEN");
    ::unsetenv("VAULT_NAMESPACE");
    CHECK(vault.complaints() == std::vector<std::string>{});
}
