// Vault, by a server of our own (tests/support/fake_vault.hpp), through the program's own client.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "proxy/credentials/apply.hpp"
#include "proxy/serve/issuing.hpp"
#include "tests/support/fake_vault.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace json = boost::json;

namespace {

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
