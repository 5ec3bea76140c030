#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>

#include "config/reload.hpp"
#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::check;
using test::PolicyWorld;
using test::printed;
using test::told;

namespace {

const std::string policy = R"(version: 1
credentials: {key: {type: bearer, value: {env: KEY}}}
vendors:
  pay: {hosts: [api.pay.example], credential: key}
  llm: {hosts: [llm.example]}
clients:
  web: {password: {file: web-password}, vendors: [pay]}
  batch: {uid: 1000, password: {env: BATCH_PASSWORD}, vendors: [llm, pay, llm]}
  root: {uid: 0, vendors: all}
)";

std::string own(const std::string& clients) { return "vendors: {pay: {hosts: [a.example]}}\nclients: " + clients; }

}  // namespace

TEST_CASE("clients are read with how each is known and which vendors it may ask for") {
    const Decoded decoded = PolicyWorld{}.decode(policy);
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    CHECK(decoded.faults.empty());
    const Config& config = *decoded.config;
    REQUIRE(config.clients.size() == 3);
    const ClientSpec &web = config.clients[0], &batch = config.clients[1], &root = config.clients[2];
    CHECK(web.name == "web");
    CHECK_FALSE(web.uid);
    CHECK(web.vendors == std::vector<std::size_t>{0});
    CHECK(batch.uid == 1000u);
    CHECK(batch.vendors == std::vector<std::size_t>{0, 1});
    CHECK(root.uid == 0u);
    CHECK(root.all_vendors);
    CHECK_FALSE(root.password);

    // Their passwords are read as credentials are, and stand behind them; but are none.
    CHECK(config.credentials.size() == 1);
    REQUIRE(config.secrets.size() == 2);
    CHECK(web.password == 1u);
    CHECK(batch.password == 2u);
    CHECK(config.secrets[0].index == 1);
    CHECK(config.secrets[0].name == "clients.web");
    CHECK(config.secrets[0].is_static());
    CHECK(config.secrets[0].secrets()[0]->text() == "{file: web-password}");
}

TEST_CASE("a client's password may be in Vault, by the login there is") {
    const std::string login = "{type: vault, address: \"https://v.example\", auth: {token: {env: T}}}";
    const std::string clients = own("{web: {password: {vault: \"kv/data/web#password\"}, vendors: all}}");
    const Decoded decoded = PolicyWorld{}.decode("version: 1\ncredentials: {v: " + login + "}\n" + clients);
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    CHECK(decoded.faults.empty());  // the login is used
    const CredentialSpec& password = decoded.config->secrets.at(0);
    CHECK_FALSE(password.is_static());
    CHECK(*password.secrets().at(0) == SecretSource{SecretSource::Kind::vault, "kv/data/web", "password", "v"});
    CHECK(password.issuer == decoded.config->credentials.at(0).issuer);
    CHECK(boost::json::parse(describe_config(*decoded.config)).at("clients").at("web").at("password") ==
          boost::json::parse(R"({"vault":"kv/data/web#password","login":"v"})"));

    const Decoded environment = PolicyWorld{}.decode("version: 1\n" + clients);
    INFO(printed(environment));
    REQUIRE(environment.config);
    CHECK(environment.config->secrets.at(0).issuer == environment.config->vault_of_environment);
    CHECK(environment.config->vault_of_environment == 0u);

    CHECK(told(PolicyWorld{}.decode("version: 1\ncredentials: {v: " + login + ", w: " + login + "}\n" + clients)).at(0) ==
          "4:27: several logins for a secret of Vault in clients.web.password: say which with `login`: v, w");
}

TEST_CASE("clients are described by what was written, and never with a password") {
    PolicyWorld world;
    world.variables = {{"BATCH_PASSWORD", "hunter2hunter2"}};
    const Decoded decoded = world.decode(policy);
    REQUIRE(decoded.config);
    const std::string text = describe_config(*decoded.config);
    CHECK(text.find("hunter2") == std::string::npos);
    const auto clients = boost::json::parse(text).at("clients");
    CHECK(clients.at("web") == boost::json::parse(R"({"password":{"file":"web-password"},"vendors":["pay"]})"));
    CHECK(clients.at("batch") ==
          boost::json::parse(R"({"uid":1000,"password":{"env":"BATCH_PASSWORD"},"vendors":["pay","llm"]})"));
    CHECK(clients.at("root") == boost::json::parse(R"({"uid":0,"vendors":"all"})"));

    const Decoded without = PolicyWorld{}.decode("version: 1\n");
    REQUIRE(without.config);
    CHECK_FALSE(boost::json::parse(describe_config(*without.config)).as_object().contains("clients"));
}

TEST_CASE("clients may change while Sluice runs") {
    const auto described = [](const std::string& text) {
        const Decoded decoded = PolicyWorld{}.decode(text);
        REQUIRE(decoded.config);
        return boost::json::parse(describe_config(*decoded.config)).as_object();
    };
    const std::string before = "version: 1\nvendors: {pay: {hosts: [a.example]}}\n";
    const PolicyChanges changes =
        compare_policies(described(before), described(before + "clients: {web: {uid: 1, vendors: all}}\n"));
    CHECK(changes.refused.empty());
    REQUIRE(changes.settings.size() == 1);
    CHECK(changes.settings[0].key == "clients");
}

TEST_CASE("what is wrong with clients is said, with its place") {
    const std::string secrets = "write {file: /run/secrets/x}, {env: NAME} or {vault: path#key}";
    const std::string names = "1 to 63 of a-z, 0-9, '-' and '_', the first a letter or a digit";
    const auto rows = [](const std::vector<std::pair<std::string, std::vector<std::string>>>& cases) {
        for (const auto& [clients, faults] : cases) {
            const Decoded decoded = PolicyWorld{}.decode("version: 1\n" + own(clients));
            INFO(clients);
            CHECK(told(decoded) == faults);
            CHECK_FALSE(decoded.config);
        }
    };
    rows({
        {"{}",
         {"3:10: a map of clients without any in clients: nobody could use this Sluice; name one, or leave the key out "
          "and serve everybody"}},
        {"[web]", {"3:10: expected a map of clients by name, found a list in clients"}},
        {"{web: {}}",
         {"3:11: 'vendors' is missing in clients.web",
          "3:11: 'uid' or 'password' is missing in clients.web: nothing would tell who it is"}},
        {"{Web: {uid: 1, vendors: all}}",
         {"3:11: 'Web' is not a client's name in clients: " + names + " (did you mean 'web'?)"}},
        {"{web: {uid: 1, vendors: []}}", {"3:34: a list of vendors, or all without any in clients.web.vendors"}},
        {"{web: {uid: 1, vendors: [pya]}}",
         {"3:35: no vendor is called 'pya' in clients.web.vendors (did you mean 'pay'?)"}},
        {"{web: {uid: 1, vendors: [all]}}",
         {"3:35: no vendor is called 'all' in clients.web.vendors (every vendor: write `vendors: all`)"}},
        {"{web: {uid: -1, vendors: all}}",
         {"3:22: '-1' is not a whole number from 0 to 4294967294 in clients.web.uid: a uid is from 0 to 4294967294"}},
        {"{a: {uid: 5, vendors: all}, b: {uid: 5, vendors: all}}",
         {"3:47: uid 5 in clients.b.uid belongs to another client already, at policy.yaml:3:20"}},
        {"{web: {password: {vault: kv/data/web}, vendors: all}}",
         {"3:35: 'kv/data/web' is not a value in Vault in clients.web.password.vault: write the path, '#' and which of "
          "its values, as in kv/data/llm#key"}},
        {"{web: {password: {vault: \"kv/data/web#password\", login: v}, vendors: all}}",
         {"3:66: no credential of type vault is called 'v' in clients.web.password"}},
        {"{web: {uid: 1, vendorz: all, vendors: all}}",
         {"3:25: unknown key 'vendorz' in clients.web (did you mean 'vendors'?)"}},
    });
    const Decoded plain = PolicyWorld{}.decode("version: 1\n" + own("{web: {password: hunter2hunter2, vendors: all}}"));
    CHECK(told(plain) == std::vector<std::string>{"3:27: a secret in plain text in clients.web.password: secrets are "
                                                  "never written into a policy, " + secrets});
    CHECK(printed(plain).find("hunter2") == std::string::npos);
}

TEST_CASE("clients belong in the top file") {
    PolicyWorld world;
    world.files["sluice.yaml"] = "version: 1\ninclude: [team.yaml]\n";
    world.files["team.yaml"] = "clients: {web: {uid: 1, vendors: all}}\n";
    const Decoded decoded = world.load("sluice.yaml");
    REQUIRE(decoded.faults.size() == 1);
    CHECK(decoded.faults[0].message.find("it belongs in the top file") != std::string::npos);
}

TEST_CASE("a proxy that is not loopback is meant where there are clients, an admin is not") {
    const std::string clients = "clients: {web: {uid: 1, vendors: all}}\nlisten: ";
    CHECK(PolicyWorld{}.decode("version: 1\n" + clients + "{proxy: 0.0.0.0:15001}\n").config);
    CHECK_FALSE(PolicyWorld{}.decode("version: 1\n" + clients + "{admin: 0.0.0.0:15000}\n").config);
    CHECK_FALSE(PolicyWorld{}.decode("version: 1\nlisten: {proxy: 0.0.0.0:15001}\n").config);
}
