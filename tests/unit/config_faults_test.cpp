#include <catch2/catch.hpp>

#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::check;
using test::not_implemented;
using test::PolicyWorld;
using test::printed;
using test::told;
using test::tunnel_advice;

namespace {

const std::string secret_advice =
    "secrets are never written into a policy, write {file: /run/secrets/x}, {env: NAME} or {vault: path#key}";
const std::string types =
    "bearer, api_key, basic, oauth2_client_credentials, oauth2_refresh_token, oauth2_token_exchange, "
    "oauth2_jwt_bearer, aws_sigv4, gcp, azure_workload_identity, github_app, vault, exec, hmac or mtls";

}  // namespace

TEST_CASE("a fault prints its place, its sentence, the line and a caret") {
    const Decoded decoded =
        PolicyWorld{}.decode("version: 1\nvendors:\n  pay:\n    hosts: [a.example]\n    timeot: 5s\n");
    REQUIRE(decoded.faults.size() == 1);
    CHECK(decoded.faults[0].text() ==
          "policy.yaml:5:5: unknown key 'timeot' in vendors.pay (did you mean 'timeout'?)\n"
          "      timeot: 5s\n"
          "      ^");
}

TEST_CASE("columns count characters, and a tab before the caret stays a tab") {
    const Decoded decoded =
        PolicyWorld{}.decode("version: 1\nvendors: {'ä': {hosts: [ä.example]},\t'pay': {hosts: [b], ownr: x}}\n");
    REQUIRE(decoded.faults.size() == 3);
    CHECK(decoded.faults[2].column == 58);
    CHECK(decoded.faults[2].text().ends_with("\n  " + std::string(36, ' ') + "\t" + std::string(20, ' ') + "^"));
}

TEST_CASE("of a long line a fault shows what stands around it") {
    std::string policy = "{\"version\": 1, \"vendors\": {";
    for (int i = 0; i < 1000; ++i)
        policy += "\"v" + std::to_string(i) + "\": {\"hosts\": [\"v" + std::to_string(i) + ".example\"]}, ";
    const std::string at_fault = "\"bad\": {\"hosts\": [\"*bad\"]}";
    const Decoded decoded = PolicyWorld{}.decode(policy + at_fault + "}}");
    REQUIRE(decoded.faults.size() == 1);
    const Fault& fault = decoded.faults[0];
    CHECK(fault.column == static_cast<int>(policy.size() + at_fault.find("\"*bad")) + 1);
    CHECK(fault.source.size() < 200);
    CHECK(fault.source.substr(static_cast<std::size_t>(fault.caret) - 1).starts_with("\"*bad\"]}"));
}

TEST_CASE("what is unknown is refused, with the key that may have been meant") {
    check({
        {"vendorz: {}", {"2:1: unknown key 'vendorz' at the top level (did you mean 'vendors'?)"}},
        {"zebra: {}", {"2:1: unknown key 'zebra' at the top level"}},
        {"listen: {prxy: 127.0.0.1:1}", {"2:10: unknown key 'prxy' in listen (did you mean 'proxy'?)"}},
        {"vendors: {a: {hosts: [a.example], routes: [{match: GET /, nmae: x}]}}",
         {"2:59: unknown key 'nmae' in vendors.a.routes[0] (did you mean 'name'?)"}},
        {"vendors: {a: {hosts: [a.example], timeout: {fist_byte: 1s}}}",
         {"2:45: unknown key 'fist_byte' in vendors.a.timeout (did you mean 'first_byte'?)"}},
        {"vendors: {a: {hosts: [a.example], sla: {latency: {q99: 1s}}}}",
         {"2:51: 'q99' is not a percentile in vendors.a.sla.latency: write p50, p99 or p99.9"}},
        {"credentials: {k: {type: bearer, value: {fil: x}}}",
         {"2:41: unknown key 'fil' in credentials.k.value (did you mean 'file'?)"}},
    });
}

TEST_CASE("what the language has and this version has not is named so") {
    check({
        {"listen: {transparent: 127.0.0.1:15006}", {"2:10: unknown key 'transparent' in listen: " + not_implemented}},
        {"vendors: {pay: {hosts: [a.example], queue: {}, audit: {}}}",
         {"2:37: unknown key 'queue' in vendors.pay: " + not_implemented,
          "2:48: unknown key 'audit' in vendors.pay: " + not_implemented}},
        {"vendors: {a: {hosts: [a.example], routes: [{match: GET /, cache: {}}]}}",
         {"2:59: unknown key 'cache' in vendors.a.routes[0]: " + not_implemented}},
        {"vendors: {a: {endpoints: [{url: \"https://a.example\", region: eu}]}}",
         {"2:54: unknown key 'region' in vendors.a.endpoints[0]: " + not_implemented}},
    });
}

TEST_CASE("a value of the wrong shape is refused") {
    check({
        {"vendors: []", {"2:10: expected a map of vendors by name, found a list in vendors"}},
        {"vendors:", {"2:1: expected a map of vendors by name, found nothing in vendors"}},
        {"vendors: {a: x}", {"2:14: expected a map, found a single value in vendors.a"}},
        {"vendors: {a: {hosts: a.example}}",
         {"2:22: expected a list of hosts, found a single value in vendors.a.hosts: put it in [ ]"}},
        {"vendors: {a: {hosts: [a.example], timeout: 5s}}",
         {"2:44: expected a map, found a single value in vendors.a.timeout (did you mean '{total: 5s}'?)"}},
        {"vendors: {a: {endpoints: [https://a.example]}}",
         {"2:27: expected a map, found a single value in vendors.a.endpoints[0] (did you mean '{url: "
          "https://a.example}'?)"}},
        {"vendors: {a: {endpoints: [https://user:pass@a.example]}}",
         {"2:27: expected a map, found a single value in vendors.a.endpoints[0]"}},
        {"vendors: {a: {hosts: []}}", {"2:22: a list of hosts without any in vendors.a.hosts"}},
        {"vendors: {a: {hosts: [a.example, ]}, b: {hosts: [b.example, , c.example]}}",
         {"2:49: expected a host, found nothing in vendors.b.hosts[1]"}},
        {"vendors: {a: {hosts: [a.example], owner: {}}}",
         {"2:42: expected a line of text, found a map in vendors.a.owner"}},
        {"workers: [1]", {"2:10: expected auto or a whole number from 1 to 256, found a list in workers"}},
    });
}

TEST_CASE("types are those of YAML 1.2: what other readers would take differently is refused") {
    const std::string quotes = "; put it in quotes if text is meant";
    check({
        {"vendors: {a: {hosts: [a.example], owner: 12}}",
         {"2:42: '12' is not a line of text in vendors.a.owner: it is a number" + quotes}},
        {"vendors: {a: {hosts: [a.example], owner: 1.5e3}}",
         {"2:42: '1.5e3' is not a line of text in vendors.a.owner: it is a number" + quotes}},
        {"vendors: {a: {hosts: [a.example], owner: True}}",
         {"2:42: 'True' is not a line of text in vendors.a.owner: it is true or false" + quotes}},
        {"vendors: {a: {hosts: [a.example], owner: no}}",
         {"2:42: 'no' is not a line of text in vendors.a.owner: some readers of YAML take it for true or false" +
          quotes}},
        {"vendors: {a: {hosts: [a.example], owner: 017}}",
         {"2:42: '017' is not a line of text in vendors.a.owner: some readers of YAML take it for an octal number" +
          quotes}},
        {"vendors: {a: {hosts: [a.example], data: [0o17, y]}}",
         {"2:42: '0o17' is not a line of text in vendors.a.data[0]: some readers of YAML take it for an octal number" +
              quotes,
          "2:48: 'y' is not a line of text in vendors.a.data[1]: some readers of YAML take it for true or false" +
              quotes}},
        {"listen: {exposed: yes}",
         {"2:19: 'yes' is not true or false in listen.exposed: a YAML 1.2 boolean is true or false (did you mean "
          "'true'?)"}},
        {"listen: {exposed: Off}",
         {"2:19: 'Off' is not true or false in listen.exposed: a YAML 1.2 boolean is true or false (did you mean "
          "'false'?)"}},
        {"listen: {exposed: n}",
         {"2:19: 'n' is not true or false in listen.exposed: a YAML 1.2 boolean is true or false (did you mean "
          "'false'?)"}},
        {"listen: {exposed: 1}", {"2:19: '1' is not true or false in listen.exposed"}},
        {"listen: {exposed: \"true\"}",
         {"2:19: 'true' is not true or false in listen.exposed: in quotes it is text: take the quotes away"}},
        {"workers: \"4\"",
         {"2:10: '4' is not auto or a whole number from 1 to 256 in workers: in quotes it is text: take the quotes "
          "away"}},
        {"workers: 010",
         {"2:10: '010' is not auto or a whole number from 1 to 256 in workers: it looks like an octal number: write it "
          "in "
          "decimal, without a leading zero"}},
        {"workers: 1_0", {"2:10: '1_0' is not auto or a whole number from 1 to 256 in workers"}},
        {"workers: 4.0", {"2:10: '4.0' is not auto or a whole number from 1 to 256 in workers"}},
        {"vendors: {a: {hosts: [a.example], tls: {min: 1.2}}}",
         {"2:46: expected text, found the number 1.2 in vendors.a.tls.min: write \"1.2\" in quotes"}},
        {"workers: !!str 4",
         {"2:10: '4' is not auto or a whole number from 1 to 256 in workers: in quotes it is text: take the quotes "
          "away"}},
        {"workers: !!int x", {"2:10: the value is not what its tag !!int says"}},
        {"workers: !mine 4", {"2:10: unknown tag '!mine'"}},
        {"vendors: !!omap {}", {"2:10: unknown tag 'tag:yaml.org,2002:omap'"}},
    });
}

TEST_CASE("numbers and words are held to their range") {
    check({
        {"workers: 0", {"2:10: '0' is not auto or a whole number from 1 to 256 in workers"}},
        {"workers: 257", {"2:10: '257' is not auto or a whole number from 1 to 256 in workers"}},
        {"workers: -1", {"2:10: '-1' is not auto or a whole number from 1 to 256 in workers"}},
        {"workers: 99999999999999999999",
         {"2:10: '99999999999999999999' is not auto or a whole number from 1 to 256 in workers"}},
        {"workers: Auto", {"2:10: 'Auto' is not auto or a whole number from 1 to 256 in workers"}},
        {"unmatched: denny", {"2:12: 'denny' is not deny, report or tunnel in unmatched (did you mean 'deny'?)"}},
        {"unmatched: off", {"2:12: 'off' is not deny, report or tunnel in unmatched"}},
        {"vendors: {a: {hosts: [a.example], mode: intercepted}}",
         {"2:41: 'intercepted' is not intercept or tunnel in vendors.a.mode (did you mean 'intercept'?)"}},
        {"vendors: {a: {hosts: [a.example], tls: {min: \"1.1\"}}}",
         {"2:46: '1.1' is not 1.2 or 1.3 in vendors.a.tls.min (did you mean '1.2'?)"}},
    });
    CHECK(told(PolicyWorld{}.decode("version: 2\n")) ==
          std::vector<std::string>{
              "1:10: '2' is not 1 in version: this version of Sluice reads version 1 of the language"});
    CHECK(told(PolicyWorld{}.decode("version: \"1\"\n")) ==
          std::vector<std::string>{"1:10: '1' is not 1 in version: in quotes it is text: take the quotes away"});
    CHECK(told(PolicyWorld{}.decode("vendors: {}\n")) ==
          std::vector<std::string>{"1:1: 'version' is missing at the top level"});
}

TEST_CASE("a duration has a unit, is not nothing and fits into its total") {
    const auto vendor = [](const std::string& timeout) {
        return "version: 1\nvendors: {a: {hosts: [a.example], timeout: {" + timeout + "}}}\n";
    };
    const std::pair<const char*, const char*> table[] = {
        {"connect: 5", "2:54: '5' is not a duration in vendors.a.timeout.connect: it has no unit (did you mean '5s'?)"},
        {"connect: \"5\"",
         "2:54: '5' is not a duration in vendors.a.timeout.connect: it has no unit (did you mean '5s'?)"},
        {"connect: 05",
         "2:54: '05' is not a duration in vendors.a.timeout.connect: it has no unit (did you mean '5s'?)"},
        {"connect: 5 s",
         "2:54: '5 s' is not a duration in vendors.a.timeout.connect: write it as 250ms, 2s, 1m30s or 24h"},
        {"connect: 1.5s",
         "2:54: '1.5s' is not a duration in vendors.a.timeout.connect: write it as 250ms, 2s, 1m30s or 24h"},
        {"connect: -1s",
         "2:54: '-1s' is not a duration in vendors.a.timeout.connect: write it as 250ms, 2s, 1m30s or 24h"},
        {"connect: 0s", "2:54: '0s' is not a duration in vendors.a.timeout.connect: it must be from 1ms to 30d"},
        {"connect: 31d", "2:54: '31d' is not a duration in vendors.a.timeout.connect: it must be from 1ms to 30d"},
        {"total: 5s, idle: 6s",
         "2:62: 6s is longer than the `total` of 5s in vendors.a.timeout.idle: `total`, in the same map, bounds "
         "everything"},
    };
    for (const auto& [timeout, fault] : table) {
        INFO(timeout);
        CHECK(told(PolicyWorld{}.decode(vendor(timeout))) == std::vector<std::string>{fault});
    }
    CHECK(PolicyWorld{}.decode(vendor("total: 5s, idle: 5s")).config);
    check({
        {"vendors: {a: {hosts: [a.example], sla: {availability: 99.9, window: 30}}}",
         {"2:55: '99.9' is not a share in vendors.a.sla.availability: it has no unit (did you mean '99.9%'?)",
          "2:69: '30' is not a duration in vendors.a.sla.window: write it as 800ms, 15m or 30d"}},
        {"vendors: {a: {hosts: [a.example], sla: {availability: 101%}}}",
         {"2:55: '101%' is not a share in vendors.a.sla.availability: write it as 99.95%"}},
    });
}

TEST_CASE("listeners are addresses with a port, of loopback unless exposed, and do not collide") {
    const std::string exposed =
        "whoever reaches it would use the credentials; say `exposed: true` in `listen` if that is meant, or name the "
        "`clients` that may";
    const std::string exposed_admin =
        "whoever reaches it could force breakers and read the policy; say `exposed: true` in `listen` if that is meant";
    check({
        {"listen: {proxy: 15001}",
         {"2:17: '15001' is not an address and a port in listen.proxy: it has no address (did you mean "
          "'127.0.0.1:15001'?)"}},
        {"listen: {proxy: \":15001\"}",
         {"2:17: ':15001' is not an address and a port in listen.proxy: it has no address (did you mean "
          "'127.0.0.1:15001'?)"}},
        {"listen: {proxy: localhost:15001}",
         {"2:17: 'localhost:15001' is not an address and a port in listen.proxy: a listener takes an address, not a "
          "name (did "
          "you mean '127.0.0.1:15001'?)"}},
        {"listen: {proxy: \"::1:15001\"}",
         {"2:17: '::1:15001' is not an address and a port in listen.proxy: an IPv6 address goes in brackets (did you "
          "mean "
          "'[::1]:15001'?)"}},
        {"listen: {proxy: 127.0.0.1}",
         {"2:17: '127.0.0.1' is not an address and a port in listen.proxy: it has no port"}},
        {"listen: {proxy: 127.0.0.1:65536}",
         {"2:17: '127.0.0.1:65536' is not an address and a port in listen.proxy: its port is not a number from 0 to "
          "65535"}},
        {"listen: {proxy: 127.1:80}",
         {"2:17: '127.1:80' is not an address and a port in listen.proxy: what stands before its port is not an IP "
          "address"}},
        {"listen: {proxy: \"[127.0.0.1]:80\"}",
         {"2:17: '[127.0.0.1]:80' is not an address and a port in listen.proxy: what stands before its port is not an "
          "IP "
          "address"}},
        {"listen: {proxy: 0.0.0.0:15001}", {"2:17: 0.0.0.0:15001 is not loopback in listen.proxy: " + exposed}},
        {"listen: {admin: \"[::]:15000\"}", {"2:17: [::]:15000 is not loopback in listen.admin: " + exposed_admin}},
        {"listen: {proxy: 10.0.0.1:15001, exposed: false}",
         {"2:17: 10.0.0.1:15001 is not loopback in listen.proxy: " + exposed}},
        {"listen: {proxy: 127.0.0.1:15000}",
         {"2:17: 127.0.0.1:15000 in listen.admin is taken: listen.proxy is 127.0.0.1:15000"}},
        {"listen: {metrics: 0.0.0.0:15001}",
         {"2:19: 0.0.0.0:15001 in listen.metrics is taken: listen.proxy is 127.0.0.1:15001"}},
        {"listen: {unix: \"\"}", {"2:16: '' is not the path of a socket in listen.unix: it is empty"}},
    });
    const std::string longest = "/" + std::string(106, 's');
    CHECK(PolicyWorld{}.decode("version: 1\nlisten: {unix: " + longest + "}\n").config);
    CHECK(printed(PolicyWorld{}.decode("version: 1\nlisten: {unix: " + longest + "s}\n"))
              .find("longer than 107 bytes, the most that a socket's address holds") != std::string::npos);
    // What counts is the whole of it.
    CHECK(printed(PolicyWorld{}.decode("version: 1\nlisten: {unix: " + longest.substr(1) + "}\n"))
              .find("longer than 107 bytes") != std::string::npos);
    CHECK(PolicyWorld{}.decode("version: 1\nlisten: {proxy: 0.0.0.0:0, admin: 0.0.0.0:0, exposed: true}\n").config);
    CHECK(PolicyWorld{}.decode("version: 1\nlisten: {metrics: 0.0.0.0:15090, proxy: 127.9.9.9:1}\n").config);
}

TEST_CASE("a path of our own is one that can be, files are references") {
    check({
        {"state: \"/a\\0b\"",
         {"2:8: '/a\\x00b' is not the path of a directory in state: it is too long, or holds a NUL"}},
        {"state: ~/sluice",
         {"2:8: '~/sluice' is not the path of a directory in state: only a shell knows what '~' is: write ${HOME} "
          "instead"}},
        {"authority: {ca: {cert: {file: /a}, key: {file: /b}}, name_constraints: true}",
         {"2:54: this is for a CA of Sluice's own make in authority.name_constraints: the one in `ca` has the "
          "constraints that it was made with; leave this out"}},
        {"authority: {ca: persistant}",
         {"2:17: 'persistant' is not persistent or ephemeral in authority.ca (did you mean 'persistent'?)"}},
        {"authority: {ca: {cert: {file: /a}}}", {"2:13: 'key' is missing in authority.ca"}},
        {"authority: {ca: {cert: {file: /a}, key: {vault: \"kv/data/ca#key\"}}}",
         {"2:41: a CA's key that is in no file in authority.ca.key: it is needed before anything is started, Vault included; "
          "write {file: /run/secrets/ca.key}, and have that file written first (by an init container, or Vault's agent)"}},
        {"authority: {ca: {cert: /a, key: {file: /b}}}",
         {"2:24: '/a' is not a file in authority.ca.cert: write {file: /path/to/it}"}},
        {"vendors: {a: {hosts: [a.example], tls: {ca: {env: CA}}}}",
         {"2:41: 'file' is missing in vendors.a.tls.ca", "2:46: unknown key 'env' in vendors.a.tls.ca"}},
    });
}

TEST_CASE("a line of text is one line, and not endless") {
    const std::string longest(256, 'x');
    const auto owner = [](const std::string& text) {
        return told(PolicyWorld{}.decode("version: 1\nvendors: {a: {hosts: [a.example], owner: \"" + text + "\"}}\n"));
    };
    const std::string place = " is not a line of text in vendors.a.owner: ";
    CHECK(owner("").front() == "2:42: ''" + place + "it is empty");
    CHECK(owner("a\\nb").front() == "2:42: 'a\\nb'" + place + "it holds a line break or a control character");
    CHECK(owner(longest).empty());
    CHECK(owner(longest + "x").front() ==
          "2:42: '" + longest.substr(0, 64) + "...'" + place + "it is longer than 256 bytes");
}

TEST_CASE("a prefix goes into a header as it is, and so holds nothing that a header cannot") {
    const auto prefix = [](const std::string& text) {
        return PolicyWorld{}.decode("version: 1\ncredentials: {k: {type: bearer, value: {env: K}, prefix: \"" + text +
                                    "\"}}\nvendors: {a: {hosts: [a.example], credential: k}}\n");
    };
    const std::string longest(64, 'p');
    for (const std::string& good : {std::string(), std::string("Token "), std::string("a~ "), longest}) {
        INFO(good);
        CHECK(prefix(good).config);
    }
    for (const std::string& bad :
         {std::string("a\\r\\nHost: x"), std::string("\\t"), std::string("\\x7f"), std::string("ä"), longest + "p"}) {
        INFO(bad);
        REQUIRE(prefix(bad).faults.size() == 1);
        CHECK(prefix(bad).faults[0].message.ends_with(
            " is not a prefix in credentials.k.prefix: it is at most 64 printable ASCII characters"));
    }
}

TEST_CASE("ten thousand files can be included, and the one that is too many is told once") {
    PolicyWorld world;
    world.files["/top.yaml"] = "version: 1\ninclude: ['/d/*']\n";
    for (int i = 0; i < 10'000; ++i) world.files["/d/" + std::to_string(i)] = "";
    CHECK(world.load("/top.yaml").config);
    world.files["/d/x1"] = world.files["/d/x2"] = world.files["/d/x3"] = "";
    CHECK(told(world.load("/top.yaml")) ==
          std::vector<std::string>{"/top.yaml:2:11: '/d/x1' in include: more than 10,000 files"});
}

TEST_CASE("columns are counted for each file and each line anew") {
    PolicyWorld world;
    world.files["/top.yaml"] = "version: 1\ninclude: [/a, /b]\n";
    world.files["/a"] = "{'ä': 1, 'ö': 2,\n 'ü': 3}\n";
    world.files["/b"] = "{'aa': 1, 'oo': 2,\n 'uu': 3}\n";
    std::vector<int> columns;
    for (const Fault& fault : world.load("/top.yaml").faults) columns.push_back(fault.column);
    CHECK(columns == std::vector<int>{2, 10, 2, 2, 11, 2});
}

TEST_CASE("names of vendors and credentials are path segments and metric labels") {
    const std::string form = "1 to 63 of a-z, 0-9, '-' and '_', the first a letter or a digit";
    check({
        {"vendors: {Pay: {hosts: [a.example]}}",
         {"2:11: 'Pay' is not a vendor's name in vendors: " + form + " (did you mean 'pay'?)"}},
        {"vendors: {a/b: {hosts: [a.example]}}", {"2:11: 'a/b' is not a vendor's name in vendors: " + form}},
        {"vendors: {-a: {hosts: [a.example]}}", {"2:11: '-a' is not a vendor's name in vendors: " + form}},
        {"vendors: {_other: {hosts: [a.example]}}",
         {"2:11: '_other' is not a vendor's name in vendors: it stands for all that no vendor has"}},
        {"vendors: {\"${NAME}\": {hosts: [a.example]}}",
         {"2:11: '${NAME}' is not a vendor's name in vendors: " + form}},
        {"credentials: {A: {type: bearer, value: {env: K}}}\nvendors: {a: {hosts: [a.example], credential: A}}",
         {"2:15: 'A' is not a credential's name in credentials: " + form + " (did you mean 'a'?)"}},
    });
    const std::string longest(63, 'x');
    CHECK(PolicyWorld{}.decode("version: 1\nvendors: {" + longest + ": {hosts: [a.example]}}\n").config);
    CHECK_FALSE(PolicyWorld{}.decode("version: 1\nvendors: {" + longest + "x: {hosts: [a.example]}}\n").config);
}

TEST_CASE("hosts, endpoints, addresses, patterns and pins are judged where they stand") {
    const std::string pin_form =
        "write sha256/ and the base64 of the 32 bytes of the SHA-256 of a certificate's SubjectPublicKeyInfo";
    check({
        {"vendors: {a: {owner: x}}", {"2:11: 'hosts' or 'endpoints' is missing in vendors.a"}},
        {"vendors: {a: {hosts: [\"https://a.example/v1\"]}}",
         {"2:23: 'https://a.example/v1' is not a host in vendors.a.hosts[0]: a host is not a URL (did you mean "
          "'a.example'?)"}},
        {"vendors: {a: {hosts: [a.example/v1]}}",
         {"2:23: 'a.example/v1' is not a host in vendors.a.hosts[0]: a host has no path: say with `allow` and `deny` "
          "which "
          "paths are meant"}},
        {"vendors: {a: {hosts: [a.*.example]}}",
         {"2:23: 'a.*.example' is not a host in vendors.a.hosts[0]: a '*' can only stand for leading labels, as in "
          "*.pay.example"}},
        {"vendors: {a: {hosts: [a b]}}",
         {"2:23: 'a b' is not a host in vendors.a.hosts[0]: write a name or an address, with a port where it is not "
          "443 or 80"}},
        {"vendors: {a: {endpoints: [{url: ftp://a.example}]}}",
         {"2:33: 'ftp://a.example' is not a URL in vendors.a.endpoints[0].url: not a URL such as https://host/prefix"}},
        {"vendors: {a: {endpoints: [{}]}}", {"2:27: 'url' is missing in vendors.a.endpoints[0]"}},
        {"vendors: {a: {hosts: [a.example], addresses: [10.0.0.1/8]}}",
         {"2:47: '10.0.0.1/8' is not an address range in vendors.a.addresses[0]: it has bits beyond its prefix: "
          "'10.0.0.0/8' "
          "holds it"}},
        {"vendors: {a: {hosts: [a.example], allow: [/v1]}}",
         {"2:43: '/v1' is not a request pattern in vendors.a.allow[0]: it is not a pattern such as 'GET|POST /v1/**': "
          "a method "
          "(or '*'), one space and a path are expected"}},
        {"vendors: {a: {hosts: [a.example], routes: [{name: x}]}}",
         {"2:44: 'match' is missing in vendors.a.routes[0]"}},
        {"vendors: {a: {hosts: [a.example], tls: {pin: [sha256/abc]}}}",
         {"2:47: 'sha256/abc' is not a pin in vendors.a.tls.pin[0]: " + pin_form}},
        {"vendors: {a: {hosts: [a.example], tls: {pin: [\"sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==\"]}}}",
         {"2:47: 'sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==' is not a pin in vendors.a.tls.pin[0]: " +
          pin_form}},
        {"vendors: {a: {hosts: [a.example], tls: {client: {cert: {file: /c}}}}}",
         {"2:41: 'key' is missing in vendors.a.tls.client"}},
        {"vendors: {a: {hosts: [a.example], tls: {client: {key: {vault: \"p#k\"}}}}}",
         {"2:41: 'cert' is missing in vendors.a.tls.client"}},
        {"no_proxy: [\"a,b\"]",
         {"2:12: 'a,b' is not an entry for no_proxy in no_proxy[0]: one host, .suffix, address or range an entry"}},
    });
}

TEST_CASE("two vendors cannot have one host on one port") {
    const auto claim = [](const std::string& first, const std::string& second) {
        return "version: 1\nvendors:\n  a: {hosts: ['" + first + "']}\n  b: {hosts: ['" + second + "']}\n";
    };
    const std::pair<const char*, const char*> conflicts[] = {
        {"x.example", "x.example"},    {"x.example", "X.example."},    {"x.example", "x.example:443"},
        {"x.example:80", "x.example"}, {"*.x.example", "*.x.example"}, {"x.example:8443", "x.example:8443"},
    };
    for (const auto& [first, second] : conflicts) {
        INFO(first << " and " << second);
        const Decoded decoded = PolicyWorld{}.decode(claim(first, second));
        REQUIRE(decoded.faults.size() == 1);
        CHECK(decoded.faults[0].line == 4);
        CHECK(decoded.faults[0].column == 15);
        CHECK(decoded.faults[0].message.find("belongs to vendor 'a' already, at policy.yaml:3:15") !=
              std::string::npos);
    }
    const std::pair<const char*, const char*> neighbours[] = {
        {"x.example", "x.example:8443"}, {"x.example", "*.x.example"}, {"x.example:80", "x.example:443"}};
    for (const auto& [first, second] : neighbours) {
        INFO(first << " and " << second);
        CHECK(PolicyWorld{}.decode(claim(first, second)).config);
    }
    check({{"vendors: {a: {hosts: [x.example, x.example]}}",
            {"2:34: host 'x.example' in vendors.a.hosts is there already, at policy.yaml:2:23"}}});
}

TEST_CASE("a tunnel has no rules about what nobody sees") {
    check({{R"(credentials: {k: {type: bearer, value: {env: K}}}
vendors:
  a:
    hosts: [a.example]
    mode: tunnel
    credential: k
    allow: [GET /]
    deny: [GET /]
    tls: {min: "1.3"}
    routes: [{match: GET /}])",
            {"7:5: a credential for a vendor in mode tunnel in vendors.a.credential: " + tunnel_advice,
             "8:5: rules about requests for a vendor in mode tunnel in vendors.a.allow: " + tunnel_advice,
             "9:5: rules about requests for a vendor in mode tunnel in vendors.a.deny: " + tunnel_advice,
             "10:5: rules about TLS for a vendor in mode tunnel in vendors.a.tls: " + tunnel_advice,
             "11:5: routes for a vendor in mode tunnel in vendors.a.routes: " + tunnel_advice}}});
}

TEST_CASE("two routes cannot share a match or a name") {
    check(
        {{"vendors:\n  a:\n    hosts: [a.example]\n    routes:\n      - match: GET /\n      - {match: GET /, name: r}\n"
          "      - {match: POST /, name: r}",
          {"7:17: a second route 'GET /' in vendors.a.routes: the first is at policy.yaml:6:16, and would always be "
           "taken",
           "8:31: a second route 'r' in vendors.a.routes: the first is at policy.yaml:7:30"}}});
}

TEST_CASE("a credential has the keys of its type, and a vendor names one that exists") {
    check({
        {"credentials: {k: {value: {env: K}}}", {"2:15: 'type' is missing in credentials.k: " + types}},
        {"credentials: {k: {type: bearr}}",
         {"2:25: 'bearr' is not " + types + " in credentials.k.type (did you mean 'bearer'?)"}},
        {"credentials: {k: {type: \"${T:-bearer}\", value: {env: K}}}",
         {"2:25: a variable in credentials.k.type: which keys a credential has depends on its type: write the type "
          "itself"}},
        {"credentials: {k: {type: bearer}}", {"2:15: 'value' is missing in credentials.k"}},
        {"credentials: {k: {type: api_key, value: {env: K}}}",
         {"2:15: 'header' or 'query' is missing in credentials.k"}},
        {"credentials: {k: {type: api_key, value: {env: K}, header: x, query: q}}",
         {"2:62: a second place for the key in credentials.k.query: it goes into `header` or into `query`"}},
        {"credentials: {k: {type: basic, password: {env: K}}}", {"2:15: 'username' is missing in credentials.k"}},
        {"credentials: {k: {type: basic, username: \"a:b\", password: {env: K}}}",
         {"2:42: 'a:b' is not a user's name in credentials.k.username: RFC 7617 has no ':' in a user's name"}},
        {"credentials: {k: {type: bearer, value: {env: K, file: /k}}}",
         {"2:40: a secret from two places in credentials.k.value: write {file: /run/secrets/x}, {env: NAME} or {vault: "
          "path#key}"}},
        {"credentials: {k: {type: bearer, value: {}}}",
         {"2:40: a secret is expected in credentials.k.value: write {file: /run/secrets/x}, {env: NAME} or {vault: "
          "path#key}"}},
        {"credentials: {k: {type: bearer, value: {env: $K}}}",
         {"2:46: '$K' is not the name of a variable in credentials.k.value.env: it takes the name alone, of letters, "
          "digits "
          "and '_'"}},
        {"credentials: {k: {type: api_key, value: {env: K}, header: Host}}",
         {"2:59: 'Host' is not a header's name in credentials.k.header: that header belongs to the connection"}},
        {"credentials: {k: {type: api_key, value: {env: K}, header: Sluice-Key}}",
         {"2:59: 'Sluice-Key' is not a header's name in credentials.k.header: Sluice- headers are Sluice's own"}},
        {"credentials: {k: {type: api_key, value: {env: K}, header: \"a b\"}}",
         {"2:59: 'a b' is not a header's name in credentials.k.header: a header's name is letters, digits and '-'"}},
        {"credentials: {k: {type: api_key, value: {env: K}, query: a&b}}",
         {"2:58: 'a&b' is not a query parameter's name in credentials.k.query: a parameter's name is letters, digits, "
          "'-', "
          "'.', '_' and '~'"}},
        {"credentials: {k: {type: bearer, value: {env: K}, prefix: \"${TOKEN}\"}}",
         {"2:58: a variable in credentials.k.prefix: a prefix is no secret and is shown; what comes from the "
          "environment goes "
          "into `value`"}},
        {"credentials: {pay: {type: bearer, value: {env: K}}}\nvendors: {a: {hosts: [a.example], credential: pey}}",
         {"3:47: no credential is called 'pey' in vendors.a.credential (did you mean 'pay'?)"}},
    });
}

TEST_CASE("a credential that is itself at fault is not also called missing") {
    check({{"credentials: {k: {type: bearr}}\nvendors: {a: {hosts: [a.example], credential: k}}",
            {"2:25: 'bearr' is not " + types + " in credentials.k.type (did you mean 'bearer'?)"}}});
}

TEST_CASE("a secret in plain text is refused and never shown") {
    const char* policies[] = {
        "credentials: {k: {type: bearer, value: hunter2}}",
        "credentials: {k: {type: bearer, value: 'hunter2', prefx: hunter2, eager: maybe}}",
        "credentials:\n  k:\n    type: bearer\n    value: |\n      hunter2\n      hunter2\n    eager: maybe",
        "credentials:\n  k: {type: bearer, value: \"hunter2\n    hunter2\", eager: maybe}",
        "credentials: {k: {type: bearer, value: [hunter2, {file: hunter2}]}}",
        "credentials: {k: {type: basic, username: joe, pasword: hunter2}}",
        "credentials: {k: {type: basic, username: joe, password: {file: /p, value: hunter2}}}",
        "credentials: {k: {type: oauth2_refresh_token, client_id: x, client_secret: hunter2, refresh_tokn: hunter2}}",
        "credentials: {k: {type: nonsense, stuff: {deep: [hunter2]}}}",
        "credentials: {k: {secret: hunter2}}",
        "credentials: {k: hunter2}",
        "credentials: {k: {type: bearer, value: &v hunter2}, l: {type: bearer, value: *v}}",
        "credentials: {k: {type: bearer, value: {env: K}, value: hunter2}}",
        "credentials: {k: {type: bearer, value: hunter2: x}}",
        "credentials:\n  k:\n    type: bearer\n    value: hunter2: x",
        "credentials:\n  k:\n    type: basic\n    password: 'hunter2\n",
        "password: hunter2",
        "\"password\" : hunter2",
        "{'api key' : 'hunter2', x",
        "listen: {token: hunter2, proxy: 1, admin: 2}",
        "vendors: {a: {hosts: [a.example], api_key: hunter2}}",
        "vendors: {a: {endpoints: [{url: \"https://joe:hunter2@a.example\"}]}}",
    };
    for (const char* policy : policies) {
        INFO(policy);
        const Decoded decoded = PolicyWorld{}.decode(std::string("version: 1\n") + policy + "\n");
        CHECK_FALSE(decoded.config);
        CHECK(printed(decoded).find("hunter2") == std::string::npos);
        CHECK(printed(decoded).find("hunter") == std::string::npos);
    }
    check({
        {policies[0], {"2:40: a secret in plain text in credentials.k.value: " + secret_advice}},
        {policies[4], {"2:40: a secret is expected in credentials.k.value: " + secret_advice}},
        {"credentials: {k: {type: bearer, value: \"${API_KEY}\"}}",
         {"2:40: a secret in plain text in credentials.k.value: write {env: API_KEY}, so that it is never a part of "
          "the "
          "policy"}},
    });
    CHECK(PolicyWorld{}.decode(std::string("version: 1\n") + policies[1]).faults.at(0).source ==
          "credentials: {k: {type: bearer, value: ***, prefx: ***, eager: maybe}}");
}

TEST_CASE("what a variable held is not shown") {
    PolicyWorld world;
    world.variables = {{"TOKEN", "hunter2"}, {"BROKEN", "a\x1b[2J"}, {"LATIN", "\xE9"}};
    check(
        {
            {"workers: ${TOKEN}",
             {"2:10: '${TOKEN}', its variables put in, is not auto or a whole number from 1 to 256 in workers"}},
            {"unmatched: ${TOKEN}",
             {"2:12: '${TOKEN}', its variables put in, is not deny, report or tunnel in unmatched"}},
            {"vendors: {a: {hosts: [\"/${TOKEN}\"]}}",
             {"2:23: '/${TOKEN}', its variables put in, is not a host in vendors.a.hosts[0]"}},
            {"state: ${MISSING}",
             {"2:8: the variable MISSING is not set in state: set it, or write ${MISSING:-default}"}},
            {"state: /x/${}",
             {"2:8: broken variable '${}' in state: write ${NAME}, ${NAME:-default}, or $$ for a dollar sign"}},
            {"state: /x/${A",
             {"2:8: broken variable '${A' in state: write ${NAME}, ${NAME:-default}, or $$ for a dollar sign"}},
            {"state: \"/x/${A:-${B}}\"",
             {"2:8: broken variable '${A:-${B}' in state: write ${NAME}, ${NAME:-default}, or $$ for a dollar sign"}},
            {"state: ${A-x}",
             {"2:8: broken variable '${A-x}' in state: write ${NAME}, ${NAME:-default}, or $$ for a dollar sign"}},
            {"state: /${BROKEN}", {"2:8: the variable BROKEN holds what no policy may in state: a control character"}},
            {"state: /${LATIN}", {"2:8: the variable LATIN holds what no policy may in state: not UTF-8"}},
        },
        world);
}

TEST_CASE("every fault of every file is reported in one go, in the order of files, lines and columns") {
    PolicyWorld world;
    world.files["/p/top.yaml"] = R"(version: 1
include: [a.yaml, b.yaml, missing.yaml, "*.yaml"]
workers: none
vendors: {one: {hosts: [one.example], credential: elsewhere}}
)";
    world.files["/p/a.yaml"] =
        "include: [c.yaml]\nlisten: {}\nvendors: {one: {hosts: [two.example]}, three: {hosts: [x/y]}}\n";
    world.files["/p/b.yaml"] = "vendors: {\n";
    CHECK(told(world.load("/p/top.yaml")) ==
          std::vector<std::string>{"/p/top.yaml:2:27: '/p/missing.yaml' in include cannot be read",
                                   "/p/top.yaml:2:41: '/p/top.yaml' in include is this file itself",
                                   "/p/top.yaml:3:10: 'none' is not auto or a whole number from 1 to 256 in workers",
                                   "/p/a.yaml:1:1: unknown key 'include' at the top level: it belongs in the top file; "
                                   "an included file holds vendors "
                                   "and credentials only",
                                   "/p/a.yaml:2:1: unknown key 'listen' at the top level: it belongs in the top file; "
                                   "an included file holds vendors "
                                   "and credentials only",
                                   "/p/a.yaml:3:11: a second vendor 'one' in vendors: the first is at /p/top.yaml:4:11",
                                   "/p/a.yaml:3:56: 'x/y' is not a host in vendors.three.hosts[0]: a host has no path: "
                                   "say with `allow` and `deny` "
                                   "which paths are meant",
                                   "/p/b.yaml:2:1: a '{' without its '}', or a ',' missing (a value that holds braces, "
                                   "such as ${VAR}, goes in "
                                   "quotes inside them)"});
}

TEST_CASE("a thousand faults are told, and how many more there are") {
    std::string policy = "version: 1\nvendors:\n";
    for (int i = 0; i < 1200; ++i) policy += "  v" + std::to_string(i) + ": {}\n";
    const Decoded decoded = PolicyWorld{}.decode(policy);
    REQUIRE(decoded.faults.size() == 1001);
    CHECK(decoded.faults.back().message == "and 200 more faults, not shown");
}

TEST_CASE("a policy that cannot be read, or is too large, is a fault of the file") {
    PolicyWorld world;
    CHECK(world.load("/none.yaml").faults.at(0).text() == "/none.yaml: cannot be read");
    world.files["/big.yaml"] = "version: 1\n#" + std::string(max_policy_file, 'x');
    CHECK(world.load("/big.yaml").faults.at(0).text() == "/big.yaml: larger than 16 MiB");

    world.files["/top.yaml"] = "version: 1\ninclude: ['/part*']\n";
    for (char part = 'a'; part < 'f'; ++part)
        world.files[std::string("/part") + part] = "#" + std::string(max_policy_file - 1, 'x');
    const Decoded decoded = world.load("/top.yaml");
    REQUIRE(decoded.faults.size() == 2);
    CHECK(decoded.faults[0].text() == "/partd: with it the policy is larger than 64 MiB");
}

TEST_CASE("a secret's file that is taken for a policy is not quoted") {
    const Decoded result = PolicyWorld{}.decode("s3cr3t-t0ken\n");
    REQUIRE(result.faults.size() == 1);
    CHECK(result.faults.front().text().find("expected a map") != std::string::npos);
    CHECK(result.faults.front().text().find("s3cr3t") == std::string::npos);
}
