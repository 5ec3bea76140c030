#include <unistd.h>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/credential_types.hpp"
#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;
namespace fs = std::filesystem;

namespace {

std::string content(const fs::path& path) {
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<fs::path> examples() {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(fs::path(SLUICE_SOURCE_DIR) / "config/examples"))
        if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
    return paths;
}

}  // namespace

TEST_CASE("the schema in the tree is the one that this decoder prints") {
    CHECK(content(fs::path(SLUICE_SOURCE_DIR) / "config/schema/policy.schema.json") == policy_schema());
}

TEST_CASE("every reference of the schema leads somewhere, and every key says what it is for") {
    const boost::json::value schema = boost::json::parse(policy_schema());
    const auto& defs = schema.at("$defs").as_object();
    CHECK(schema.at("$schema") == "https://json-schema.org/draft/2020-12/schema");
    std::set<std::string> used;
    const std::function<void(const boost::json::value&)> walk = [&](const boost::json::value& value) {
        if (const auto* list = value.if_array())
            for (const auto& item : *list) walk(item);
        const auto* object = value.if_object();
        if (!object) return;
        for (const auto& [key, item] : *object) {
            if (key == "$ref") used.insert(std::string(item.as_string()).substr(std::string("#/$defs/").size()));
            if (key == "properties")
                for (const auto& [name, property] : item.as_object()) {
                    INFO(std::string(name));
                    CHECK_FALSE(property.at("description").as_string().empty());
                }
            walk(item);
        }
    };
    walk(schema);
    for (const auto& name : used) {
        INFO(name);
        CHECK(defs.contains(name));
    }
    CHECK(used.size() == defs.size());
}

TEST_CASE("every example loads without a fault and tells editors about the schema") {
    PolicyInputs inputs = PolicyInputs::system();
    inputs.environment = [](const std::string&) { return std::nullopt; };
    const auto paths = examples();
    std::string all;
    for (const auto& path : paths) all += content(path);
    for (const std::string_view type : credential_types()) {
        INFO(type);
        CHECK(all.find("type: " + std::string(type)) != std::string::npos);
    }
    for (const auto& path : paths) {
        INFO(path);
        const Decoded decoded = load_policy(path.string(), inputs);
        INFO(printed(decoded));
        CHECK(decoded.config);
        CHECK(decoded.faults.empty());
        CHECK(content(path).starts_with("# yaml-language-server: $schema=../schema/policy.schema.json\n"));
    }
}

TEST_CASE("every policy that the README shows is a good one") {
    PolicyInputs inputs = PolicyInputs::system();
    inputs.environment = [](const std::string&) { return std::nullopt; };
    inputs.default_state = "/var/lib/sluice";
    const std::string readme = content(fs::path(SLUICE_SOURCE_DIR) / "README.md");
    const std::string fence = "```yaml\n";
    std::size_t shown = 0;
    for (std::size_t at = readme.find(fence); at != std::string::npos; at = readme.find(fence, at)) {
        at += fence.size();
        std::string policy = readme.substr(at, readme.find("```", at) - at);
        if (policy.find("version:") == std::string::npos) policy.insert(0, "version: 1\n");  // a recipe: a part of one
        const Decoded decoded = decode_policy(policy, "README.md", inputs);
        INFO(policy << printed(decoded));
        CHECK(decoded.config);
        for (const Fault& fault : decoded.faults) CHECK(fault.message.find("no vendor uses") != std::string::npos);
        ++shown;
    }
    CHECK(shown >= 15);
}

TEST_CASE("the effective policy is described with its defaults, secrets as references only") {
    PolicyWorld world;
    world.variables = {{"API_KEY", "hunter2"}, {"OWNER", "team-pay"}};
    const Decoded decoded = world.decode(R"(
version: 1
credentials:
  k: {type: bearer, value: {env: API_KEY}}
  u: {type: basic, username: {file: /run/user}, password: {file: /run/password}}
vendors:
  pay:
    owner: ${OWNER}
    hosts: ["*.pay.example"]
    credential: k
    tls: {pin: ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]}
    endpoints: [{url: "https://pay.example/v1/"}]
    routes: [{match: GET /a, timeout: {total: 1s}}]
  old: {hosts: [old.example], credential: u}
)");
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    const std::string text = describe_config(*decoded.config);
    CHECK(text.find("hunter2") == std::string::npos);

    const boost::json::value told = boost::json::parse(text);
    CHECK(told.at("listen").at("proxy") == "127.0.0.1:15001");
    CHECK(told.at("workers") == "auto");
    CHECK(told.at("unmatched") == "deny");
    CHECK(told.at("authority").at("name_constraints") == false);
    CHECK(told.at("authority").at("publish") == "/home/tester/.local/state/sluice/public");
    CHECK(told.at("defaults").at("timeout").at("idle") == "5m");
    CHECK(told.at("credentials").at("k").at("value") == boost::json::value{{"env", "API_KEY"}});
    CHECK(told.at("credentials").at("u").at("username") == boost::json::value{{"file", "/run/user"}});
    const auto& pay = told.at("vendors").at("pay");
    CHECK(pay.at("owner") == "team-pay");
    CHECK(pay.at("hosts").at(0) == "*.pay.example");
    CHECK(pay.at("tls").at("pin").at(0) == "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    CHECK(pay.at("endpoints").at(0).at("url") == "https://pay.example/v1");
    CHECK(pay.at("routes").at(0).at("timeout").at("first_byte") == "1s");
}

TEST_CASE("what is described is in the words of the language: it loads again, to the same policy") {
    for (const auto& path : examples()) {
        PolicyInputs inputs = PolicyInputs::system();
        inputs.environment = [](const std::string&) { return std::nullopt; };
        const Decoded first = load_policy(path.string(), inputs);
        INFO(path << "\n" << printed(first));
        REQUIRE(first.config);
        const std::string described = describe_config(*first.config);
        const Decoded second = decode_policy(described, "described.json", inputs);
        INFO(printed(second));
        REQUIRE(second.config);
        CHECK(describe_config(*second.config) == described);
    }
}

TEST_CASE("the machine's own files are found, read and listed in the order of their bytes") {
    const fs::path folder = fs::temp_directory_path() / ("sluice-config-" + std::to_string(::getpid()));
    fs::create_directories(folder / "conf.d/a-directory.yaml");
    const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
    write("sluice.yaml", "version: 1\ninclude: ['conf.d/*.yml']\n");
    write("conf.d/B.yml", "vendors: {b: {hosts: [b.example]}}\n");
    write("conf.d/a.yml", "vendors: {a: {hosts: [a.example]}}\n");
    const PolicyInputs inputs = PolicyInputs::system();
    const Decoded decoded = load_policy((folder / "sluice.yaml").string(), inputs);
    CHECK_FALSE(inputs.read_file((folder / "conf.d/a-directory.yaml").string()));
    CHECK_FALSE(inputs.read_file((folder / "none").string()));
    fs::remove_all(folder);
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    REQUIRE(decoded.config->vendors.size() == 2);
    CHECK(decoded.config->vendors[0].name == "b");  // 'B' comes before 'a'
}
