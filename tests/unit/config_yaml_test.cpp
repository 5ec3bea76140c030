#include <catch2/catch.hpp>

#include "config/yaml.hpp"
#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::PolicyWorld;
using test::printed;
using test::told;

TEST_CASE("a plain scalar has the type that YAML 1.2's core schema gives it") {
    const std::pair<const char*, CoreType> table[] = {
        {"", CoreType::null},
        {"~", CoreType::null},
        {"null", CoreType::null},
        {"nULL", CoreType::text},
        {"true", CoreType::boolean},
        {"FALSE", CoreType::boolean},
        {"tRUE", CoreType::text},
        {"yes", CoreType::yes_or_no},
        {"Y", CoreType::yes_or_no},
        {"off", CoreType::yes_or_no},
        {"oN", CoreType::text},
        {"0", CoreType::integer},
        {"-12", CoreType::integer},
        {"+12", CoreType::integer},
        {"0x1F", CoreType::integer},
        {"0x", CoreType::text},
        {"00", CoreType::octal_looking},
        {"017", CoreType::octal_looking},
        {"-017", CoreType::octal_looking},
        {"0o17", CoreType::octal_looking},
        {"0o8", CoreType::text},
        {"1_000", CoreType::text},
        {"1:30", CoreType::text},
        {"1.5", CoreType::floating},
        {".5", CoreType::floating},
        {"5.", CoreType::floating},
        {".", CoreType::text},
        {"-", CoreType::text},
        {"1e3", CoreType::floating},
        {"1e", CoreType::text},
        {"1.5e-3", CoreType::floating},
        {"e3", CoreType::text},
        {"-.inf", CoreType::floating},
        {".NaN", CoreType::floating},
        {"1.2.3", CoreType::text},
        {"5s", CoreType::text},
        {"2001-12-14", CoreType::text},
    };
    for (const auto& [text, type] : table) {
        INFO(text);
        CHECK(core_type(text) == type);
    }
}

TEST_CASE("what YAML itself does not allow, or a policy does not, is told with its place") {
    const std::pair<std::string, std::vector<std::string>> table[] = {
        {"", {"1:1: the policy is empty: it needs at least 'version: 1'"}},
        {"# only\n", {"1:1: the policy is empty: it needs at least 'version: 1'"}},
        {"just words\n", {"1:1: expected a map, found a single value at the top level"}},
        {"- version: 1\n", {"1:1: expected a map, found a list at the top level"}},
        {"version: 1\nversion: 1\n",
         {"2:1: duplicate key 'version' at the top level: the first is at policy.yaml:1:1"}},
        {"version: 1\nvendors:\n  a: {hosts: [a.example]}\n  \"a\": {hosts: [b.example]}\n",
         {"4:3: duplicate key 'a' in vendors: the first is at policy.yaml:3:3"}},
        {"version: 1\nvendors:\n  a:\n    hosts: [a.example]\n    routes:\n      - {match: GET /, match: GET /}\n",
         {"6:24: duplicate key 'match' in vendors.a.routes[0]: the first is at policy.yaml:6:10"}},
        {"version: 1\nvendors:\n  a: &a {hosts: [a.example]}\n  b:\n    <<: *a\n    hosts: [b.example]\n",
         {"5:5: merge keys ('<<') are not part of YAML 1.2 in vendors.b: write the keys out, or give a whole value an "
          "anchor "
          "(&name) and repeat it (*name)"}},
        {"version: 1\nvendors:\n  a: *one\n  b: {hosts: *two, timeot: 1s}\n",
         {"3:6: '*one' has no anchor '&one' before it", "4:14: '*two' has no anchor '&two' before it",
          "4:20: unknown key 'timeot' in vendors.b (did you mean 'timeout'?)"}},
        {"version: 1\nvendors: &v {a: *v}\n", {"2:17: an alias inside the value that it stands for"}},
        {"# a policy\n%YAML 1.1\n%# no comment\n---\nversion: 1\n",
         {"2:1: a directive: a policy has none but '%YAML 1.2'",
          "3:1: a directive: a policy has none but '%YAML 1.2'"}},
        {"version: 1\n---\nversion: 1\n",
         {"2:1: a policy is one document: another one, or something that does not belong to the first, begins here"}},
        {"{version: 1} {workers: 2}\n",
         {"1:14: a policy is one document: another one, or something that does not belong to the first, begins here"}},
        {"version: 1\nvendors:\n\ta: {hosts: [a.example]}\n",
         {"3:3: a tab in the indentation: YAML allows only spaces there"}},
        {"version: 1\nvendors: {a: {hosts: [a.example]}\n",
         {"3:1: a '{' without its '}', or a ',' missing (a value that holds braces, such as ${VAR}, goes in quotes "
          "inside "
          "them)"}},
        {"version: 1\nno_proxy: [a, b\nworkers: 2\n", {"3:8: a '[' without its ']', or a ',' missing"}},
        {"version: 1\nworkers 2\nstate: /x\n",
         {"3:6: a ':' where none can stand: is the line before it missing its ':', the indentation off, or a value "
          "that holds "
          "': ' not in quotes?"}},
        {"version: 1\nlisten:\n   unix: /a\n  admin: 127.0.0.1:1\n",
         {"4:3: a line that does not belong to the map before it: is the indentation off, or a ':' missing?"}},
        {"version: 1\nstate: @x\n", {"2:8: a value cannot begin with this character: put it in quotes"}},
        {"version: 1\nstate: '/x\n", {"2:8: a quote is never closed"}},
        {"version: 1\nstate: '/x''\n", {"2:8: a quote is never closed"}},
        {"version: 1\nstate: &a !!str \"/x\\\"\n\n", {"2:8: a quote is never closed"}},
        {"version: 1\nstate: '/x", {"2:11: a quote is never closed"}},
        {"version: 1\nstate: \"\\q\"\n", {"2:9: broken YAML: unknown escape character: q"}},
        {"version: 1\n? [a]\n: 1\n", {"2:3: a key must be a word, not a list at the top level"}},
        {"version: 1\n? {a: b}\n: 1\n", {"2:3: a key must be a word, not a map at the top level"}},
        {"version: 1\n~: 1\n", {"2:1: a key must be a word, not nothing at the top level"}},
        {"version: 1\nstate: /a\x04/b\n", {"2:10: a control character: a policy is UTF-8 text"}},
        {std::string("version: 1\n\0", 12), {"2:1: a control character: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\xC3\x28\n", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\xED\xA0\x80\n", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\xC0\xAF\n", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\x80\n", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\xF4\x90\x80\x80\n", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\nstate: /\xE2\x82", {"2:9: not UTF-8: a policy is UTF-8 text"}},
        {"\xFF\xFEv\0e\0", {"1:1: not UTF-8: a policy is UTF-8 text"}},
        {"version: 1\rworkers: 2\n", {"1:11: a carriage return without a line feed: a policy is UTF-8 text"}},
    };
    for (const auto& [policy, faults] : table) {
        INFO(policy);
        const Decoded decoded = PolicyWorld{}.decode(policy);
        CHECK(told(decoded) == faults);
        CHECK_FALSE(decoded.config);
    }
}

TEST_CASE("a fault's line holds nothing that a terminal would obey, or that is not UTF-8") {
    const std::pair<std::string, std::string> table[] = {
        {"version: 1\nstate: /a\x1b[2J\n", "state: /a?[2J"},
        {"version: 1\nstate: /\xC2\x9B\x32J\n", "state: /\xC2\xB7\x32J"},
        {"version: 1\nstate: /\xC3\xA4\xFF\n", "state: /???"},
        {"version: 1\nworkers: \"\\e[2J\xC3\xA4\"\n", "workers: \"\\e[2J\xC3\xA4\""},
    };
    for (const auto& [policy, source] : table) {
        const Decoded decoded = PolicyWorld{}.decode(policy);
        REQUIRE(decoded.faults.size() == 1);
        CHECK(decoded.faults[0].source == source);
        CHECK(decoded.faults[0].text().find('\x1b') == std::string::npos);
    }
    CHECK(told(PolicyWorld{}.decode("version: 1\nworkers: \"\\e[2J\\u009b\"\n")) ==
          std::vector<std::string>{
              "2:10: '\\x1b[2J\\xc2\\x9b' is not auto or a whole number from 1 to 256 in workers"});
}

TEST_CASE("a value that is nothing has the place of its key") {
    CHECK(told(PolicyWorld{}.decode("version: 1\nlisten:\n  unix:\n\n\n# far below\nworkers: 2\n")) ==
          std::vector<std::string>{"3:3: expected the path of a socket, found nothing in listen.unix"});
}

TEST_CASE("nesting is bounded") {
    std::string policy = "version: 1\nvendors: ";
    for (int i = 0; i < 200; ++i) policy += "{a: ";
    policy += "1" + std::string(200, '}') + "\n";
    CHECK(told(PolicyWorld{}.decode(policy)) == std::vector<std::string>{"2:262: nested deeper than 64 levels"});
}

TEST_CASE("aliases that would grow without end are refused before they grow") {
    std::string policy = "version: 1\nvendors:\n  a0: &a0 {hosts: [x, x, x, x, x, x, x, x, x, x]}\n";
    for (int i = 1; i < 20; ++i) {
        const std::string last = "*a" + std::to_string(i - 1);
        policy += "  a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
        for (int k = 0; k < 9; ++k) policy += ", " + last;
        policy += "]\n";
    }
    const Decoded decoded = PolicyWorld{}.decode(policy);
    REQUIRE(decoded.faults.size() == 1);
    CHECK(decoded.faults[0].message == "aliases make this policy too large: more than four million values");
}

TEST_CASE("a file of nothing but indicators is refused before it is read") {
    for (const char indicator : {'[', '{', ',', ':'}) {
        INFO(indicator);
        const Decoded decoded = PolicyWorld{}.decode("version: 1\nvendors: [" + std::string(4'000'001, indicator));
        CHECK(told(decoded) == std::vector<std::string>{"too large: more than four million of '[', '{', ',' and ':'"});
    }
}

TEST_CASE("a hundred aliases without anchors are not a hundred passes") {
    std::string policy = "version: 1\nno_proxy: [";
    for (int i = 0; i < 100; ++i) policy += "*a, ";
    const Decoded decoded = PolicyWorld{}.decode(policy + "b]\n");
    CHECK(decoded.faults.size() == 21);
    CHECK(decoded.faults.back().message ==
          "an alias (*name) without its anchor (&name) before it; what follows was not looked at");
}
