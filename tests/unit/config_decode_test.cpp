#include <catch2/catch.hpp>

#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;
using test::told;

namespace {

std::shared_ptr<const Config> sound(const std::string& text, const PolicyWorld& world = {}) {
    const Decoded decoded = world.decode(text);
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    return decoded.config;
}

Authority authority(std::string_view text) {
    return parse_authority(text, 443).value();
}

/// The name of the vendor that has it, or "-".
std::string match(const Config& config, std::string_view host) {
    const Vendor* vendor = config.match(authority(host));
    return vendor ? vendor->name : "-";
}

constexpr const char* whole_policy = R"(
version: 1
listen:
  proxy: 127.0.0.1:16001
  unix: /run/sluice/proxy.sock
  admin: "[::1]:16000"
  metrics: 0.0.0.0:15090
workers: 3
unmatched: report
state: /var/lib/sluice
authority:
  ca: {cert: {file: /ca.crt}, key: {file: /ca.key}}
  publish: /run/sluice/ca
no_proxy: [.internal, 10.0.0.0/8]
defaults:
  timeout: {connect: 1s, tls: 1500ms, first_byte: 20s, idle: 2m, total: 5m}
credentials:
  pay-token: {type: bearer, value: {file: /run/secrets/pay}, eager: false}
  llm-key: {type: api_key, header: x-api-key, value: {env: LLM_KEY}}
  maps-key: {type: api_key, query: key, prefix: "v1-", value: {file: secrets/maps}}
  old: {type: basic, username: joe, password: {env: OLD_PASSWORD}}
vendors:
  pay:
    owner: team-payments
    about: Card payments
    data: [pii, cardholder]
    criticality: high
    sla: {availability: 99.95%, latency: {p99: 800ms, p99.9: 2s}, window: 30d, recovery_time: 15m}
    runbook: https://wiki.example/runbooks/pay
    hosts: [api.pay.example, "*.eu.pay.example:8443"]
    allow: ["GET|HEAD /v1/**", "POST /v1/charges"]
    deny: ["* /v1/admin/**"]
    addresses: [10.0.0.0/8]
    credential: pay-token
    endpoints: [{url: "https://gateway.pay.example:9443/base/"}]
    tls:
      min: "1.3"
      ca: {file: /etc/pay.pem}
      pin: ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
      client: {cert: {file: /c.pem}, key: {file: /k.pem}}
    timeout: {first_byte: 10s, total: 15s}
    routes:
      - name: rates
        match: "GET /v1/rates"
        timeout: {total: 5s}
      - match: "POST /v1/reports/*"
        timeout: {first_byte: 12s}
  llm: {hosts: [api.llm.example], credential: llm-key}
  maps: {hosts: [maps.example], credential: maps-key}
  old: {hosts: [old.example], credential: old}
  pinned: {hosts: [pinned.example], mode: tunnel, timeout: {idle: 2h}}
)";

}  // namespace

TEST_CASE("a policy of one line has every built-in default") {
    const auto config = sound("version: 1\n");
    CHECK(config->listen.proxy.text() == "127.0.0.1:15001");
    CHECK(config->listen.admin.text() == "127.0.0.1:15000");
    CHECK(config->listen.unix_path.empty());
    CHECK_FALSE(config->listen.metrics);
    CHECK_FALSE(config->listen.exposed);
    CHECK(config->workers == 0);
    CHECK(config->unmatched == Unmatched::deny);
    CHECK(config->state == "/home/tester/.local/state/sluice");
    CHECK(config->authority.kind == AuthoritySpec::Kind::persistent);
    CHECK(config->authority.publish.empty());
    CHECK_FALSE(config->authority.name_constraints);
    CHECK(config->defaults.timeout == Timeouts{2s, 3s, 60s, 5min, 10min, false});
    CHECK(config->vendors.empty());
    CHECK(config->unmatched_vendor.name == "_other");
    CHECK(config->unmatched_vendor.mode == Mode::tunnel);
    CHECK(config->unmatched_vendor.index == 0);
    CHECK(config->match(authority("any.example")) == nullptr);
}

TEST_CASE("every key of the top level reaches the Config") {
    const auto config = sound(whole_policy);
    CHECK(config->listen.proxy.text() == "127.0.0.1:16001");
    CHECK(config->listen.unix_path == "/run/sluice/proxy.sock");
    CHECK(config->listen.admin.text() == "[::1]:16000");
    REQUIRE(config->listen.metrics);
    CHECK(config->listen.metrics->text() == "0.0.0.0:15090");
    CHECK(config->workers == 3);
    CHECK(config->unmatched == Unmatched::report);
    CHECK(config->state == "/var/lib/sluice");
    CHECK(config->authority.kind == AuthoritySpec::Kind::given);
    CHECK(config->authority.cert_file == "/ca.crt");
    CHECK(config->authority.key_file == "/ca.key");
    CHECK(config->authority.publish == "/run/sluice/ca");
    CHECK(config->no_proxy == std::vector<std::string>{".internal", "10.0.0.0/8"});
    CHECK(config->defaults.timeout == Timeouts{1s, 1500ms, 20s, 2min, 5min, false});
    CHECK(config->unmatched_vendor.timeout == config->defaults.timeout);
    CHECK(config->unmatched_vendor.index == config->vendors.size());
}

TEST_CASE("every key of a vendor reaches the Config") {
    const auto config = sound(whole_policy);
    const Vendor& pay = config->vendors.at(0);
    CHECK(pay.name == "pay");
    CHECK(pay.index == 0);
    CHECK(pay.file == "policy.yaml");
    CHECK(pay.line == 23);
    CHECK(pay.catalogue.owner == "team-payments");
    CHECK(pay.catalogue.about == "Card payments");
    CHECK(pay.catalogue.data == std::vector<std::string>{"pii", "cardholder"});
    CHECK(pay.catalogue.criticality == "high");
    CHECK(pay.catalogue.runbook == "https://wiki.example/runbooks/pay");
    CHECK(pay.catalogue.sla == std::vector<std::pair<std::string, std::string>>{{"availability", "99.95%"},
                                                                                {"latency.p99", "800ms"},
                                                                                {"latency.p99.9", "2s"},
                                                                                {"window", "30d"},
                                                                                {"recovery_time", "15m"}});
    REQUIRE(pay.hosts.size() == 2);
    CHECK(pay.hosts[0].text() == "api.pay.example");
    CHECK(pay.hosts[1].text() == "*.eu.pay.example:8443");
    CHECK(pay.mode == Mode::intercept);
    REQUIRE(pay.access.allow.size() == 2);
    CHECK(pay.access.allow[0].methods == std::vector<std::string>{"GET", "HEAD"});
    CHECK(pay.access.allow[1].text == "POST /v1/charges");
    CHECK(pay.access.allow[1].line == 31);
    REQUIRE(pay.access.deny.size() == 1);
    CHECK(pay.access.deny[0].line == 32);
    REQUIRE(pay.addresses.size() == 1);
    CHECK(pay.addresses[0].text() == "10.0.0.0/8");
    REQUIRE(pay.credential);
    CHECK(config->credentials[*pay.credential].name == "pay-token");
    REQUIRE(pay.endpoints.size() == 1);
    CHECK(pay.endpoints[0].authority.text() == "gateway.pay.example:9443");
    CHECK(pay.endpoints[0].prefix == "/base");
    CHECK(pay.tls.min == TlsRules::Version::tls13);
    CHECK(pay.tls.ca_file == "/etc/pay.pem");
    REQUIRE(pay.tls.pins.size() == 1);
    CHECK(pay.tls.pins[0].size() == 32);
    CHECK(static_cast<unsigned char>(pay.tls.pins[0][0]) == 0xE3);
    CHECK(static_cast<unsigned char>(pay.tls.pins[0][31]) == 0x55);
    CHECK(pay.tls.client_cert_file == "/c.pem");
    CHECK(pay.tls.client_key_file == "/k.pem");
    CHECK(config->vendors.at(1).credential == 1u);
    CHECK(config->vendors.at(4).mode == Mode::tunnel);
}

TEST_CASE("timeouts are inherited key by key, from the defaults to the vendor to the route") {
    const auto config = sound(whole_policy);
    const Vendor& pay = config->vendors.at(0);
    // A `total` that is written caps what is inherited.
    CHECK(pay.timeout == Timeouts{1s, 1500ms, 10s, 15s, 15s, true});
    REQUIRE(pay.routes.size() == 2);
    CHECK(pay.routes[0].name == "rates");
    CHECK(pay.routes[0].line == 43);
    CHECK(pay.routes[0].match.line == 43);
    CHECK(pay.routes[0].timeout == Timeouts{1s, 1500ms, 5s, 5s, 5s, true});
    CHECK(pay.routes[1].name == "POST /v1/reports/*");
    CHECK(pay.routes[1].index == 1);
    CHECK(pay.routes[1].timeout == Timeouts{1s, 1500ms, 12s, 15s, 15s, true});
    // A `total` of the defaults bounds no event stream, so it does not shorten an `idle` that is written either.
    CHECK(config->vendors.at(4).timeout == Timeouts{1s, 1500ms, 20s, 2h, 5min, false});
    CHECK(config->vendors.at(1).timeout == Timeouts{1s, 1500ms, 20s, 2min, 5min, false});
}

TEST_CASE("of several totals the nearest caps what is written farther out, and no other does") {
    const auto timeouts = [](const std::string& defaults, const std::string& vendor, const std::string& route) {
        const auto config = sound("version: 1\n" + (defaults.empty() ? "" : "defaults: {timeout: {" + defaults + "}}\n") +
                                  "vendors:\n  v:\n    hosts: [v.example]\n    timeout: {" + vendor + "}\n    routes: [{match: \"GET /r\", timeout: {" + route + "}}]\n");
        return config->vendors.at(0).routes.at(0).timeout;
    };
    CHECK(timeouts("total: 2s", "total: 10s", "total: 50s") == Timeouts{2s, 3s, 50s, 50s, 50s, true});
    CHECK(timeouts("total: 2s", "total: 100s", "connect: 1s") == Timeouts{1s, 3s, 60s, 100s, 100s, true});
    CHECK(timeouts("total: 1s", "connect: 3s", "idle: 2s") == Timeouts{3s, 1s, 1s, 2s, 1s, false});
    CHECK(timeouts("first_byte: 20s, total: 20s", "total: 1s", "total: 10s") == Timeouts{2s, 3s, 10s, 10s, 10s, true});
    CHECK(timeouts("", "first_byte: 30s, total: 40s", "total: 20s") == Timeouts{2s, 3s, 20s, 20s, 20s, true});
}

TEST_CASE("a relative place of our own starts from the policy's directory, as its files do, and is told absolute") {
    const std::string text =
        "version: 1\nstate: var\nlisten: {unix: ../run/proxy.sock}\nauthority: {publish: ./ca/}\n";
    const auto places = [&](const std::string& file) {
        PolicyWorld world;
        world.files[file] = text;
        const Decoded decoded = world.load(file);
        INFO(printed(decoded));
        REQUIRE(decoded.config);
        const Config& config = *decoded.config;
        return std::vector<std::string>{config.state, config.listen.unix_path, config.authority.publish};
    };
    CHECK(places("/etc/sluice/sluice.yaml") ==
          std::vector<std::string>{"/etc/sluice/var", "/etc/run/proxy.sock", "/etc/sluice/ca"});
    CHECK(places("sluice.yaml") == std::vector<std::string>{"/home/tester/policies/var", "/home/tester/run/proxy.sock",
                                                            "/home/tester/policies/ca"});
    CHECK(places("../a/sluice.yaml") ==
          std::vector<std::string>{"/home/tester/a/var", "/home/tester/run/proxy.sock", "/home/tester/a/ca"});
}

TEST_CASE("credentials keep references, and a relative file starts from the policy's directory") {
    PolicyWorld world;
    world.files["/etc/sluice/sluice.yaml"] = whole_policy;
    const Decoded decoded = world.load("/etc/sluice/sluice.yaml");
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    const auto& credentials = decoded.config->credentials;
    REQUIRE(credentials.size() == 4);

    const auto& bearer = std::get<BearerSpec>(credentials[0].kind);
    CHECK(bearer.value.text() == "{file: /run/secrets/pay}");
    CHECK(credentials[0].place == Placement{"Authorization", "Bearer "});
    CHECK_FALSE(credentials[0].rules.eager);
    CHECK(credentials[0].line == 18);
    const auto& header = std::get<ApiKeySpec>(credentials[1].kind);
    CHECK(credentials[1].place == Placement{"x-api-key", ""});
    CHECK(header.query.empty());
    CHECK(header.value.text() == "{env: LLM_KEY}");
    CHECK(credentials[1].rules.eager);
    CHECK(credentials[1].index == 1);
    const auto& query = std::get<ApiKeySpec>(credentials[2].kind);
    CHECK(query.query == "key");
    CHECK(credentials[2].place == Placement{"", "v1-"});
    CHECK(query.value.name == "/etc/sluice/secrets/maps");
    const auto& basic = std::get<BasicSpec>(credentials[3].kind);
    CHECK(basic.username == "joe");
    CHECK(basic.password.text() == "{env: OLD_PASSWORD}");
}

TEST_CASE("our authority signs for the hosts of the vendors that are intercepted") {
    const auto config = sound(R"(
version: 1
authority: {name_constraints: true}
vendors:
  pay: {hosts: [api.pay.example, "*.eu.pay.example"]}
  pinned: {hosts: [pinned.example], mode: tunnel}
  llm: {hosts: ["192.0.2.7"]}
)");
    CHECK(config->authority.name_constraints);
    std::vector<std::string> hosts;
    for (const HostPattern& host : config->intercepted_hosts()) hosts.push_back(host.text());
    CHECK(hosts == std::vector<std::string>{"api.pay.example", "*.eu.pay.example", "192.0.2.7"});
}

TEST_CASE("the most specific host wins, and a pattern never matches its apex") {
    const auto config = sound(R"(
version: 1
vendors:
  exact: {hosts: [a.b.example]}
  near: {hosts: ["*.b.example"]}
  far: {hosts: ["*.example"]}
  odd: {hosts: ["a.b.example:8443"]}
  address: {hosts: ["192.0.2.7", "[2001:db8::1]:9443"]}
)");
    const std::pair<const char*, const char*> table[] = {
        {"a.b.example", "exact"},    {"a.b.example:80", "exact"},
        {"a.b.example:8443", "odd"}, {"a.b.example:9999", "-"},
        {"A.B.Example.", "exact"},   {"x.b.example", "near"},
        {"x.y.b.example", "near"},   {"b.example", "far"},
        {"c.example", "far"},        {"example", "-"},
        {"example.org", "-"},        {"192.0.2.7", "address"},
        {"192.0.2.8", "-"},          {"[2001:db8::1]:9443", "address"},
        {"[2001:db8::1]", "-"},      {"x.b.example:8443", "-"},
    };
    for (const auto& [host, vendor] : table) {
        INFO(host);
        CHECK(match(*config, host) == vendor);
    }
    REQUIRE(config->find("near"));
    CHECK(config->find("near")->index == 1);
    CHECK(config->find("nea") == nullptr);
}

TEST_CASE("variables are put into values of every type, quoted or not") {
    PolicyWorld world;
    world.variables = {{"PORT", "16001"}, {"WORKERS", "7"}, {"EXPOSED", "true"}, {"EMPTY", ""}, {"NAME", "pay"}};
    const auto config = sound(R"(
version: 1
listen: {proxy: "127.0.0.1:${PORT}", exposed: "${EXPOSED}"}
workers: ${WORKERS}
state: ${STATE:-/var/lib/sluice}
no_proxy: ["${EMPTY:-fallback}", ".svc"]
vendors:
  pay:
    owner: 'team ${NAME}'
    about: "${EMPTY}$${NAME} costs $5"
    hosts: ["api.${NAME}.example"]
    timeout: {connect: "${WORKERS}s"}
)",
                              world);
    CHECK(config->listen.proxy.port == 16001);
    CHECK(config->listen.exposed);
    CHECK(config->workers == 7);
    CHECK(config->state == "/var/lib/sluice");
    CHECK(config->no_proxy.at(0) == "fallback");
    const Vendor& pay = config->vendors.at(0);
    CHECK(pay.catalogue.owner == "team pay");
    CHECK(pay.catalogue.about == "${NAME} costs $5");
    CHECK(pay.hosts[0].host == "api.pay.example");
    CHECK(pay.timeout.connect == 7s);
}

TEST_CASE("a policy may be JSON, have anchors, tags of the core schema, comments and a byte order mark") {
    CHECK(sound(R"({"version": 1, "workers": 2, "vendors": {"pay": {"hosts": ["pay.example"]}}})")->workers == 2);
    const auto config = sound(
        "\xEF\xBB\xBF# with a mark\r\nversion: !!int 1\r\nvendors: !!map\r\n"
        "  a: {hosts: [a.example], timeout: &slow {connect: 9s}}\r\n"
        "  b: {hosts: [b.example], timeout: *slow, owner: !!str 12}\r\n");
    CHECK(config->vendors.at(1).timeout.connect == 9s);
    CHECK(config->vendors.at(1).catalogue.owner == "12");
    CHECK(sound("version: 1\nstate: /\xF4\x8F\xBF\xBF\n")->state == "/\xF4\x8F\xBF\xBF");
    CHECK(sound("%YAML 1.2\n---\nversion: 1\n...\n"));
}

TEST_CASE("the authority may be kept, be made anew at each start, or be given") {
    using Kind = AuthoritySpec::Kind;
    const std::pair<const char*, Kind> table[] = {{"persistent", Kind::persistent},
                                                  {"ephemeral", Kind::ephemeral},
                                                  {"{cert: {file: a}, key: {file: b}}", Kind::given}};
    for (const auto& [ca, kind] : table)
        CHECK(sound(std::string("version: 1\nauthority: {ca: ") + ca + "}\n")->authority.kind == kind);
}

TEST_CASE("a query parameter may have any unreserved character in its name") {
    const auto config = sound(R"(
version: 1
credentials: {key: {type: api_key, query: a-b.c_d~E9, value: {env: KEY}}}
vendors: {a: {hosts: [a.example], credential: key}}
)");
    CHECK(std::get<ApiKeySpec>(config->credentials.at(0).kind).query == "a-b.c_d~E9");
}

TEST_CASE("an endpoint may be plain http even with a credential: the operator wrote it so") {
    const auto config = sound(R"(
version: 1
credentials: {key: {type: bearer, value: {env: KEY}}}
vendors: {inside: {endpoints: [{url: "http://127.0.0.1:8080"}], credential: key}}
)");
    CHECK(config->vendors.at(0).hosts.empty());
    CHECK(config->vendors.at(0).endpoints.at(0).scheme == Scheme::http);
}

TEST_CASE("included files add vendors and credentials, in lexical order, each file once") {
    PolicyWorld world;
    world.files["/etc/s/policy.yaml"] = R"(
version: 1
include: [conf.d/20-b.yaml, "conf.d/*.yaml", "none.d/*.yaml"]
vendors: {top: {hosts: [top.example], credential: shared}}
)";
    world.files["/etc/s/conf.d/10-a.yaml"] = "version: 1\nvendors: {a: {hosts: [a.example]}}\n";
    world.files["/etc/s/conf.d/20-b.yaml"] =
        "credentials: {shared: {type: bearer, value: {file: b.key}}}\nvendors: {b: {hosts: [b.example]}}\n";
    world.files["/etc/s/conf.d/30-empty.yaml"] = "# nothing yet\n";
    const Decoded decoded = world.load("/etc/s/policy.yaml");
    INFO(printed(decoded));
    REQUIRE(decoded.config);
    std::vector<std::string> names;
    for (const Vendor& vendor : decoded.config->vendors) names.push_back(vendor.name);
    CHECK(names == std::vector<std::string>{"top", "b", "a"});
    CHECK(decoded.config->find("a")->file == "/etc/s/conf.d/10-a.yaml");
    CHECK(std::get<BearerSpec>(decoded.config->credentials[0].kind).value.name == "/etc/s/conf.d/b.key");
}

TEST_CASE("the digest tells two policies apart, and is the same for the same text") {
    PolicyWorld world;
    const auto digest = [&](const std::string& text) { return sound(text)->digest; };
    CHECK(digest("version: 1\n").size() == 64);
    CHECK(digest("version: 1\n") == digest("version: 1\n"));
    CHECK(digest("version: 1\n") != digest("version: 1\n# changed\n"));

    world.files["top.yaml"] = "version: 1\ninclude: [more.yaml]\n";
    world.files["more.yaml"] = "# one\n";
    const auto before = world.load("top.yaml").config->digest;
    world.files["more.yaml"] = "# two\n";
    CHECK(world.load("top.yaml").config->digest != before);
}

TEST_CASE("an idle time that does not hold for a vendor's tunnels is a warning where it is written for them") {
    const auto said = [](const std::string& vendor, const std::string& more = "") {
        return told(PolicyWorld{}.decode("version: 1\n" + more + "vendors:\n  t: {hosts: [t.example], " + vendor + "}\n"));
    };
    CHECK(said("mode: tunnel, timeout: {idle: 500ms}") ==
          std::vector<std::string>{"3:57: warning: an idle time below 1h in vendors.t.timeout does not hold for its tunnels: they may be quiet for 1h (`total` bounds "
                                   "them, where it is written)"});
    CHECK(said("mode: tunnel, timeout: {idle: 1h}").empty());
    CHECK(said("mode: tunnel, timeout: {total: 500ms}").empty());
    CHECK(said("timeout: {idle: 500ms}").empty());
    // What everybody has; so an effective policy, which says it again, is as quiet as the one that it was made of.
    CHECK(said("mode: tunnel", "defaults: {timeout: {idle: 30s}}\n").empty());
    CHECK(said("mode: tunnel, timeout: {idle: 30s}", "defaults: {timeout: {idle: 30s}}\n").empty());
}

TEST_CASE("a credential that no vendor uses is a warning, and the policy loads") {
    const Decoded decoded =
        PolicyWorld{}.decode("version: 1\ncredentials:\n  spare: {type: bearer, value: {env: SPARE}}\n");
    CHECK(told(decoded) == std::vector<std::string>{"3:3: warning: no vendor uses credentials.spare"});
    CHECK(decoded.faults.at(0).text().starts_with("policy.yaml:3:3: warning: no vendor"));
    CHECK(decoded.config);
}

TEST_CASE("a thousand vendors, and ten thousand, load as one policy") {
    for (const int count : {1'000, 10'000}) {
        std::string text = "version: 1\nvendors:\n";
        for (int i = 0; i < count; ++i) {
            const std::string name = "v" + std::to_string(i);
            text += "  " + name + ": {hosts: [" + name + ".example, '*." + name + ".example'], allow: [GET /**]}\n";
        }
        const auto config = sound(text);
        CHECK(config->vendors.size() == static_cast<std::size_t>(count));
        CHECK(match(*config, "x.v" + std::to_string(count - 1) + ".example") == "v" + std::to_string(count - 1));
    }
}
