// From one policy to the next, without files or threads: what changes, what may not, what lives on.
#include "config/reload.hpp"

#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>

#include "proxy/policy/vendor_state.hpp"
#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using sluice::test::PolicyWorld;

namespace {

const std::string base = R"(version: 1
credentials:
  key: {type: bearer, value: {file: /run/key}}
vendors:
  pay:
    hosts: [api.pay.example]
    credential: key
    timeout: {total: 10s}
    routes:
      - {name: rates, match: "GET /v1/rates", timeout: {total: 3s}}
      - {name: other, match: "GET /v1/other"}
  llm:
    hosts: [api.llm.example]
)";

std::string edited(const std::string& what, const std::string& by) {
    std::string text = base;
    const auto at = text.find(what);
    REQUIRE(at != text.npos);
    return text.replace(at, what.size(), by);
}

std::shared_ptr<const Config> decoded(const std::string& policy) {
    const Decoded decoded = PolicyWorld{}.decode(policy);
    INFO(test::printed(decoded));
    REQUIRE(decoded.config);
    return decoded.config;
}

PolicyChanges changes(const std::string& from, const std::string& to) {
    const auto described = [](const std::string& policy) {
        return boost::json::parse(describe_config(*decoded(policy))).as_object();
    };
    return compare_policies(described(from), described(to));
}

}  // namespace

TEST_CASE("the same policy changes nothing, in whatever order and with whatever comments it is written") {
    CHECK(changes(base, base).empty());
    CHECK(changes(base, "# a word\n" + base).empty());
}

TEST_CASE("vendors and credentials that come, go and change are named, with the keys that differ") {
    const auto added = changes(base, base + "  new:\n    hosts: [new.example]\n");
    CHECK(added.vendors.added == std::vector<std::string>{"new"});
    CHECK((added.vendors.removed.empty() && added.vendors.changed.empty() && added.settings.empty()));

    const auto removed = changes(base, edited("  llm:\n    hosts: [api.llm.example]\n", ""));
    CHECK(removed.vendors.removed == std::vector<std::string>{"llm"});

    const auto changed = changes(base, edited("timeout: {total: 10s}", "timeout: {total: 20s}"));
    REQUIRE(changed.vendors.changed.size() == 1);
    CHECK(changed.vendors.changed[0].name == "pay");
    REQUIRE(changed.vendors.changed[0].keys.size() >= 1);
    bool total = false;
    for (const KeyChange& key : changed.vendors.changed[0].keys)
        total = total || (key.key == "timeout.total" && key.from == "\"10s\"" && key.to == "\"20s\"");
    CHECK(total);

    const auto credential = changes(base, edited("/run/key", "/run/other"));
    CHECK(credential.vendors.empty());
    REQUIRE(credential.credentials.changed.size() == 1);
    CHECK(credential.credentials.changed[0].keys[0].key == "value.file");
}

TEST_CASE("a route that changes is named by its place, a list of another length as a whole") {
    const auto changed = changes(base, edited("timeout: {total: 3s}", "timeout: {total: 4s}"));
    REQUIRE(changed.vendors.changed.size() == 1);
    REQUIRE(changed.vendors.changed[0].keys.size() >= 1);
    CHECK(changed.vendors.changed[0].keys[0].key.starts_with("routes[0].timeout."));

    const auto fewer = changes(base, edited("      - {name: other, match: \"GET /v1/other\"}\n", ""));
    REQUIRE(fewer.vendors.changed.size() == 1);
    CHECK(fewer.vendors.changed[0].keys[0].key == "routes");
}

TEST_CASE("a key that is only there in one of two policies is shown as not set in the other") {
    const auto changed = changes(base, edited("    credential: key\n", "    credential: key\n    owner: team\n"));
    REQUIRE(changed.vendors.changed.size() == 1);
    const KeyChange& key = changed.vendors.changed[0].keys[0];
    CHECK(key.key == "owner");
    CHECK(key.from.empty());
    CHECK(key.to == "\"team\"");
}

TEST_CASE("what belongs to the process is refused by a reload, naming the key") {
    struct Case {
        std::string written, key;
    };
    const auto [written, key] = GENERATE(values<Case>({
        {"listen: {proxy: 127.0.0.1:16001}", "listen.proxy"},
        {"listen: {admin: 127.0.0.1:16000}", "listen.admin"},
        {"listen: {metrics: 127.0.0.1:16090}", "listen.metrics"},
        {"listen: {unix: /run/x.sock}", "listen.unix"},
        {"listen: {exposed: true}", "listen.exposed"},
        {"workers: 3", "workers"},
        {"state: /elsewhere", "state"},
        {"authority: {ca: ephemeral}", "authority.ca"},
        {"authority: {publish: /elsewhere}", "authority.publish"},
    }));
    const auto found = changes(base, base + written + "\n");
    bool named = false;
    for (const Fault& fault : faults_of_reload(found, "sluice.yaml")) {
        CHECK(fault.file == "sluice.yaml");
        CHECK(!fault.warning);
        named = named || fault.message.starts_with(key + " cannot change while Sluice runs");
    }
    INFO(key);
    CHECK(named);
}

TEST_CASE("every other setting may change") {
    const auto found =
        changes(base, base + "unmatched: tunnel\nno_proxy: [internal.example]\ndefaults: {timeout: {idle: 1m}}\n");
    CHECK(faults_of_reload(found, "sluice.yaml").empty());
    CHECK(found.settings.size() == 3);
}

TEST_CASE("a policy of another version of Sluice, or none at all, is compared without a fault") {
    const auto next = boost::json::parse(describe_config(*decoded(base))).as_object();
    const auto odd =
        boost::json::parse(R"({"vendors": 3, "credentials": [], "listen": null, "more": {"x": 1}})").as_object();
    const auto found = compare_policies(odd, next);
    CHECK(found.vendors.added.size() == 2);
    CHECK(compare_policies({}, {}).empty());
}

TEST_CASE("what is alive of a vendor goes on under its name, wherever it stands in the policy") {
    Config first = *decoded(base);
    carry_over(nullptr, first, {1, 2});
    for (const Vendor& vendor : first.vendors) REQUIRE(vendor.live);
    REQUIRE(first.unmatched_vendor.live);

    Config second =
        *decoded("version: 1\nvendors:\n  new: {hosts: [new.example]}\n  llm: {hosts: [api.llm.example]}\n");
    carry_over(&first, second, {1, 2});
    CHECK(second.find("llm")->live == first.find("llm")->live);
    CHECK(second.find("new")->live);
    CHECK(second.find("new")->live != first.find("pay")->live);
    CHECK(second.unmatched_vendor.live == first.unmatched_vendor.live);
}
