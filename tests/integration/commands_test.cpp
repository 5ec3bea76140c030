// The commands as a person calls them, in this process: what they print, and what they end with.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cstdlib>
#include <fstream>
#include <list>
#include <optional>
#include <sstream>

#include "proxy/app/policy_file.hpp"
#include "proxy/ports/signals_blocked.hpp"
#include "tests/support/command.hpp"
#include "tests/support/fake_vault.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::string contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Unset again, or as it was.
class Variable {
  public:
    Variable(std::string name, const std::string& value) : name_(std::move(name)) {
        if (const char* before = ::getenv(name_.c_str())) before_ = before;
        ::setenv(name_.c_str(), value.c_str(), 1);
    }
    ~Variable() {
        if (before_) {
            ::setenv(name_.c_str(), before_->c_str(), 1);
        } else {
            ::unsetenv(name_.c_str());
        }
    }

  private:
    std::string name_;
    std::optional<std::string> before_;
};

constexpr const char* good = R"(version: 1
state: /nonexistent/state
listen: {proxy: 127.0.0.1:15601, admin: 127.0.0.1:15600}
no_proxy: [internal.example]
credentials:
  key: {type: bearer, value: {file: /nonexistent/secret}}
vendors:
  pay:
    hosts: [api.pay.example, "*.pay.example"]
    allow: ["GET /v1/**", "POST /v1/charges"]
    deny: ["GET /v1/internal/**"]
    credential: key
    timeout: {first_byte: 10s}
    routes:
      - {name: rates, match: "GET /v1/rates", timeout: {total: 3s}}
  plain:
    hosts: [plain.example]
    endpoints: [{url: "http://10.1.2.3:8080/base"}]
    credential: key
  inside:
    hosts: [inside.example]
    endpoints: [{url: "https://10.1.2.3"}]
    addresses: [10.0.0.0/8]
  pinned:
    hosts: [pinned.example]
    mode: tunnel
  wide:
    hosts: ["*.wide.example"]
)";

/// `sluice explain -o json METHOD URL` of the policy above (or another).
boost::json::object explained(const std::string& method, const std::string& url, const std::string& policy = good) {
    const TemporaryDirectory directory;
    const Ran ran = sluice_command({"explain", "-o", "json", "-c", directory.file("p.yaml", policy), method, url});
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    return boost::json::parse(ran.out).as_object();
}

std::string text_at(const boost::json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value ? std::string(value->as_string()) : std::string();
}

std::int64_t line_of(const boost::json::object& object, std::string_view key) {
    return object.at(key).at("place").at("line").to_number<std::int64_t>();
}

}  // namespace

TEST_CASE("a good policy passes without a look at its secrets") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("sluice.yaml", good);
    const Ran ran = sluice_command({"check", "--config", policy});
    CHECK(ran.code == 0);
    CHECK(ran.out == policy + ": the policy is fine: 5 vendors, 1 credential\n");
    CHECK(ran.err.empty());
}

TEST_CASE("every fault of a bad policy is told with its line and a caret, and ends in 78") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("sluice.yaml", "version: 1\nvendros: {}\nworkers: -3\n");
    const Ran ran = sluice_command({"check", "--config", policy});
    CHECK(ran.code == 78);
    CHECK(ran.out.empty());
    CHECK(holds(ran.err, policy + ":2:1: "));
    CHECK(holds(ran.err, "did you mean 'vendors'?"));
    CHECK(holds(ran.err, policy + ":3:"));
    CHECK(holds(ran.err, "^\n"));
    CHECK(holds(ran.err, policy + ": 2 errors\n"));
    for (const char* command : {"run", "env", "ca", "healthcheck", "status", "doctor"}) {
        INFO(command);
        const Ran other = sluice_command({command, "--config", policy});
        CHECK(other.code == 78);
        CHECK(holds(other.err, policy + ":2:1: "));
    }
    CHECK(sluice_command({"exec", "--config", policy, "--", "true"}).code == 78);
}

TEST_CASE("machines read faults and the effective policy as JSON") {
    const TemporaryDirectory directory;
    const auto bad = boost::json::parse(
        sluice_command({"check", "-o", "json", "-c", directory.file("bad.yaml", "version: 1\nx: 1\n")}).out);
    CHECK(bad.at("ok") == false);
    CHECK(bad.at("faults").as_array().size() == 1);
    CHECK(bad.at("faults").at(0).at("line") == 2);
    CHECK(bad.at("faults").at(0).at("severity") == "error");
    const auto fine =
        boost::json::parse(sluice_command({"check", "-o", "json", "-c", directory.file("good.yaml", good)}).out);
    CHECK(fine.at("ok") == true);
    CHECK(fine.at("policy").is_object());
}

TEST_CASE("faults are coloured for people only") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("sluice.yaml", "version: 1\nx: 1\n");
    CHECK(holds(sluice_command({"check", "-c", policy}, true).err, "\x1b[1;31m"));
    CHECK(!holds(sluice_command({"check", "-c", policy}, false).err, "\x1b"));
}

TEST_CASE("a terminal gets colours unless NO_COLOR or TERM say otherwise") {
    const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE(terminal >= 0);
    std::ostringstream stream;
    const auto painted = [&](int fd) { return Console::of(stream, fd).paint(Colour::red, "x") != "x"; };
    const Variable term("TERM", "xterm"), none("NO_COLOR", "");
    CHECK(painted(terminal));
    {
        const Variable set("NO_COLOR", "1");
        CHECK(!painted(terminal));
    }
    {
        const Variable dumb("TERM", "dumb");
        CHECK(!painted(terminal));
    }
    const TemporaryDirectory directory;
    const int file = ::open(directory.file("f", "").c_str(), O_WRONLY);
    CHECK(!painted(file));
    ::close(file);
    ::close(terminal);
}

TEST_CASE("the policy is the one given, else $SLUICE_CONFIG") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("named.yaml", good);
    const Variable named("SLUICE_CONFIG", policy);
    CHECK(holds(sluice_command({"check"}).out, policy));
    const std::string other = directory.file("other.yaml", good);
    CHECK(holds(sluice_command({"check", "-c", other}).out, other));
    const Ran missing = sluice_command({"check", "-c", directory.path() + "/none.yaml"});
    CHECK(missing.code == 78);
    CHECK(holds(missing.err, "none.yaml"));
}

TEST_CASE("what is not understood ends in 2 and says what would be") {
    const auto [words, said] = GENERATE(table<std::vector<std::string>, std::string>({
        {std::vector<std::string>{}, "run"},
        {{"chekc"}, "did you mean 'check'?"},
        {{"check", "--confg", "x"}, "--confg"},
        {{"check", "-o", "xml"}, "xml"},
        {{"run", "--drain", "30"}, "not a duration: '30'"},
        {{"env", "--format", "powershell"}, "powershell"},
        {{"explain", "GET"}, "URL"},
        {{"explain", "GE T", "https://x/"}, "not a method"},
        {{"exec"}, "no command"},
        {{"exec", "ls"}, "ls"},
        {{"check", "--", "ls"}, "ls"},
        {{"healthcheck", "--admin", "admin.example:1"}, "--admin"},
        {{"breaker"}, "VENDOR"},
        {{"breaker", "pay", "shut"}, "shut"},
        {{"breaker", "pay/../x", "open"}, "cannot be a vendor's name"},
        {{"breaker", "pay", "--endpoint", "api.pay.example"}, "give a state too"},
        {{"credential"}, "test"},
        {{"credential", "test"}, "NAME is required; sluice credential --help says what there is"},
        {{"check", "extra"}, "not expected: extra; sluice check --help says what there is"},
        {{"--nonsense"}, "there is no \"--nonsense\" here; sluice --help says what there is"},
        {{"credential", "get"}, "there is no \"get\" here; sluice credential --help says what there is"},
    }));
    const Ran ran = sluice_command(words);
    INFO(ran.err);
    CHECK(ran.code == 2);
    CHECK(holds(ran.err, said));
    CHECK(ran.out.empty());
}

TEST_CASE("what fails says why, and what to look at") {
    const TemporaryDirectory directory;
    const auto said = [&](const std::vector<std::string>& words) { return sluice_command(words).err; };
    CHECK(holds(said({"check", "-c", directory.path()}), directory.path() + ": cannot be read: Is a directory\n"));
    CHECK(holds(said({"status", "-c", directory.path() + "/none"}), "/none: cannot be read: No such file or directory\n"));
    const std::string fine = directory.file("p.yaml", good);
    for (const std::vector<std::string>& words : {std::vector<std::string>{"status", "--admin", "127.0.0.1:1"},
                                                  {"healthcheck", "--admin", "127.0.0.1:1"},
                                                  {"breaker", "pay", "--admin", "127.0.0.1:1"},
                                                  {"check", "-c", fine, "--against", "127.0.0.1:1"}}) {
        INFO(words.front());
        CHECK(holds(said(words), "127.0.0.1:1: Connection refused; is `sluice run` up, and is this its listen.admin?\n"));
    }
    CHECK(holds(said({"explain", "-c", fine, "get", "https://api.pay.example/v1/rates"}), "GET may be what is meant"));
    const auto detail = [](const std::string& method, const std::string& url) { return text_at(explained(method, url), "detail"); };
    CHECK(holds(detail("GET", "api.pay.example/v1/rates"), "(did you mean 'https://api.pay.example/v1/rates'?)"));
    CHECK(holds(detail("CONNECT", "api.pay.example"), "host:port"));
    CHECK(holds(detail("GET", "/"), "/<vendor>/<path>"));
    CHECK(holds(detail("GET", "/pya/v1"), "(did you mean 'pay'?)"));
    CHECK(holds(detail("GET", "https://nobody.example/"), "write it under the `hosts` of one"));
}

TEST_CASE("each command has help with examples") {
    for (const char* command :
         {"run", "check", "schema", "env", "exec", "explain", "doctor", "demo", "healthcheck", "status",
          "breaker", "credential", "audit", "ca", "version"}) {
        INFO(command);
        const Ran ran = sluice_command({command, "--help"});
        CHECK(ran.code == 0);
        CHECK(holds(ran.out, "Example"));
        CHECK(holds(ran.out, std::string("sluice ") + command));
    }
    CHECK(sluice_command({"version"}).out.starts_with("sluice " SLUICE_VERSION " "));
    CHECK(sluice_command({"--version"}).out == "sluice " SLUICE_VERSION "\n");
}

TEST_CASE("a request is explained by the lines that decide it") {
    const auto allowed = explained("GET", "https://api.pay.example/v1/rates?key=hidden");
    CHECK(allowed.at("allowed") == true);
    CHECK(line_of(allowed, "vendor") == 8);
    CHECK(text_at(allowed, "host") == "api.pay.example");
    CHECK(line_of(allowed, "rule") == 10);
    CHECK(allowed.at("route").at("name") == "rates");
    CHECK(line_of(allowed, "route") == 15);
    CHECK(text_at(allowed, "upstream") == "https://api.pay.example/v1/rates");
    CHECK(allowed.at("credential").at("name") == "key");
    CHECK(line_of(allowed, "credential") == 6);
    CHECK(allowed.at("timeout").at("total") == "3s");
    CHECK(text_at(allowed, "url") == "https://api.pay.example/v1/rates");

    const auto denied = explained("GET", "https://eu.pay.example/v1/internal/x");
    CHECK(denied.at("allowed") == false);
    CHECK(text_at(denied, "reason") == "not_allowed");
    CHECK(denied.at("status") == 403);
    CHECK(text_at(denied, "host") == "*.pay.example");
    CHECK(denied.at("rule").at("kind") == "deny");
    CHECK(line_of(denied, "rule") == 11);
}

TEST_CASE("explain and the data plane refuse for the same reasons") {
    struct Row {
        const char *method, *url, *reason, *way;
    };
    const Row row = GENERATE(
        Row{"DELETE", "https://api.pay.example/v1/x", "not_allowed", "forward"},
        Row{"GET", "https://unknown.example/", "unknown_vendor", ""},
        Row{"GET", "https://pay.example/", "unknown_vendor", ""},
        Row{"GET", "https://api.pay.example:8443/v1/x", "unknown_vendor", ""},
        Row{"GET", "https://api.pay.example/v1/%2e%2e/x", "bad_request", "forward"},
        Row{"GET", "ftp://api.pay.example/", "bad_request", ""},
        Row{"POST", "http://api.pay.example/v1/charges", "credential_unavailable", "forward"},
        Row{"GET", "https://plain.example/x", "address_refused", "forward"},
        Row{"GET", "https://inside.example/x", "", "forward"}, Row{"GET", "wss://inside.example/x", "", "forward"},
        Row{"GET", "/inside/x", "", "base_url"}, Row{"GET", "http://127.0.0.1:15601/inside/x", "", "base_url"},
        Row{"GET", "http://localhost:15601/inside/x", "", "base_url"}, Row{"GET", "/wide/x", "bad_request", "base_url"},
        Row{"GET", "/nobody/x", "unknown_vendor", ""}, Row{"CONNECT", "api.pay.example:443", "", "intercept"},
        Row{"CONNECT", "pinned.example:443", "", "tunnel"}, Row{"CONNECT", "unknown.example:443", "unknown_vendor", ""},
        Row{"CONNECT", "pinned.example", "bad_request", ""});
    INFO(row.method << ' ' << row.url);
    const auto said = explained(row.method, row.url);
    CHECK(said.at("allowed").as_bool() == std::string_view(row.reason).empty());
    CHECK(text_at(said, "reason") == row.reason);
    if (*row.way) CHECK(text_at(said, "way") == row.way);
}

TEST_CASE("of a tunnel those timeouts are told that hold for it") {
    const std::string policy =
        "version: 1\nstate: /x\nunmatched: tunnel\nvendors:\n"
        "  quiet: {hosts: [quiet.example], mode: tunnel, timeout: {connect: 1s, idle: 500ms}}\n"
        "  ends: {hosts: [ends.example], mode: tunnel, timeout: {idle: 2h, total: 3h}}\n";
    struct Row {
        const char *method, *url, *json, *words;
    };
    const Row row = GENERATE(
        Row{"CONNECT", "quiet.example:443", R"({"connect":"1s","idle":"1h"})", "connect 1s, idle 1h  /"},
        Row{"CONNECT", "ends.example:443", R"({"connect":"2s","idle":"2h","total":"3h"})",
            "connect 2s, idle 2h, total 3h  /"},
        Row{"CONNECT", "any.example:443", R"({"connect":"2s","idle":"1h"})", "connect 2s, idle 1h\n"},
        // A request that is seen, though its vendor's tunnels are not.
        Row{"GET", "http://quiet.example/",
            R"({"connect":"1s","tls":"3s","first_byte":"1m","idle":"500ms","total":"10m"})",
            "connect 1s, tls 3s, first_byte 1m, idle 500ms, total 10m  /"});
    INFO(row.method << ' ' << row.url);
    auto timeout = explained(row.method, row.url, policy).at("timeout").as_object();
    timeout.erase("place");
    timeout.erase("places");
    CHECK(boost::json::serialize(timeout) == row.json);
    const TemporaryDirectory directory;
    const Ran ran = sluice_command({"explain", "-c", directory.file("p.yaml", policy), row.method, row.url});
    INFO(ran.out);
    CHECK(holds(ran.out, std::string("  timeouts    ") + row.words));
}

TEST_CASE("an endpoint, its prefix and base-URL mode are explained to the path that the vendor sees") {
    CHECK(text_at(explained("GET", "/inside/v1/x"), "upstream") == "https://10.1.2.3/v1/x");
    CHECK(text_at(explained("GET", "/inside"), "upstream") == "https://10.1.2.3/");
    CHECK(text_at(explained("GET", "http://plain.example/x"), "upstream") == "http://10.1.2.3:8080/base/x");
}

TEST_CASE("where no vendor has the host, the line of `unmatched` is what decided") {
    struct Row {
        const char *line, *value, *method, *url;
        bool allowed;
    };
    const Row row = GENERATE(Row{"", "deny", "GET", "https://any.example/", false},
                             Row{"unmatched: deny\n", "deny", "GET", "http://any.example/", false},
                             Row{"unmatched: deny\n", "deny", "CONNECT", "any.example:443", false},
                             Row{"unmatched: report\n", "report", "GET", "http://any.example/", true},
                             Row{"unmatched: tunnel\n", "tunnel", "CONNECT", "any.example:443", true},
                             Row{"unmatched: tunnel\n", "tunnel", "GET", "http://169.254.169.254/", false});
    INFO(row.line << row.method << ' ' << row.url);
    const std::string policy = "version: 1\nstate: /x\n" + std::string(row.line) + "vendors: {v: {hosts: [v.example]}}\n";
    const bool written = *row.line;

    const auto said = explained(row.method, row.url, policy);
    CHECK(said.at("allowed") == row.allowed);
    CHECK(said.at("unmatched").at("value") == row.value);
    CHECK(said.at("unmatched").at("built_in") == !written);
    CHECK(said.at("unmatched").as_object().contains("place") == written);
    if (written) CHECK(line_of(said, "unmatched") == 3);

    const TemporaryDirectory directory;
    const std::string file = directory.file("p.yaml", policy);
    const Ran ran = sluice_command({"explain", "-c", file, row.method, row.url});
    const std::string place = written ? file + ":3" : "the built-in default";
    CHECK(ran.out.find("  unmatched   " + std::string(row.value) + "  " + place + "\n") != std::string::npos);

    CHECK_FALSE(explained("GET", "https://v.example/", policy).contains("unmatched"));
    CHECK_FALSE(explained("GET", "/nobody/x", policy).contains("unmatched"));  // base-URL mode names a vendor, not a host
}

TEST_CASE("what no vendor has goes through where `unmatched` says so, but never to an inner address") {
    const std::string open = "version: 1\nstate: /x\nunmatched: tunnel\n";
    CHECK(explained("GET", "http://any.example/", open).at("allowed") == true);
    CHECK(holds(text_at(explained("CONNECT", "10.0.0.7:443", open), "detail"), R"(make a vendor of it: `hosts: ["10.0.0.7:443"], addresses: [10.0.0.7]`)"));
    CHECK(text_at(explained("CONNECT", "any.example:443", open), "way") == "tunnel");
    CHECK(text_at(explained("GET", "http://169.254.169.254/latest/meta-data", open), "reason") == "address_refused");
    CHECK(text_at(explained("CONNECT", "[::ffff:127.0.0.1]:443", open), "reason") == "address_refused");
}

TEST_CASE("explain knows our own listeners as a running Sluice does") {
    for (const std::string at : {"127.0.0.1", "0.0.0.0"}) {
        INFO(at);
        const std::string policy = "version: 1\nstate: /x\nunmatched: tunnel\nlisten: {exposed: true, proxy: \"" + at + ":15601\", admin: \"" + at + ":15602\"}\nvendors: {a: {hosts: [a.example]}}\n";
        CHECK(text_at(explained("GET", "http://127.0.0.1:15601/a/x", policy), "way") == "base_url");
        CHECK_FALSE(explained("GET", "http://127.0.0.1:15602/a/x", policy).contains("vendor"));
        for (const std::string target : {"127.0.0.1:15601", "127.0.0.1:15602"}) {
            const auto said = explained("CONNECT", target, policy);
            CHECK(text_at(said, "reason") == "address_refused");
            CHECK(holds(text_at(said, "detail"), "127.0.0.1 is one of Sluice's own listeners"));
            CHECK_FALSE(holds(text_at(said, "detail"), "make a vendor of it"));
        }
        CHECK(holds(text_at(explained("CONNECT", "127.0.0.1:15603", policy), "detail"), "make a vendor of it"));
    }
}

namespace {

constexpr const char* resilient = R"(version: 1
state: /x
defaults:
  retry: {max: 1}
  breaker: {consecutive: 9}
vendors:
  a:
    hosts: [a.example]
    retry: {on: [+429]}
    limit: {rate: 5/s}
    hedge: {after: 300ms}
    fallback: {vendor: b}
    chaos: {enabled: "${CHAOS:-false}", inject: [{fault: reset, rate: 2%}]}
    routes:
      - match: "GET /x"
        retry: {budget: 10%}
        limit: {concurrency: 2}
  b: {hosts: [b.example]}
)";

}  // namespace

TEST_CASE("what keeps an application standing is explained with its effective numbers, and the line that says so") {
    const auto plain = explained("POST", "https://a.example/y", resilient);
    CHECK(plain.at("retry").at("max") == 1);
    CHECK(plain.at("retry").at("on") == boost::json::parse(R"(["connect", "reset", 429, 502, 503, 504])"));
    CHECK(line_of(plain, "retry") == 9);
    CHECK(plain.at("breaker").at("consecutive") == 9);
    CHECK(line_of(plain, "breaker") == 5);
    CHECK(plain.at("limit").at(0).at("rate") == "5/s");
    CHECK(plain.at("limit").at(0).at("concurrency") == 1024);
    CHECK(plain.at("limit").at(0).at("place").at("line") == 10);
    CHECK(plain.at("hedge").at("after") == "300ms");
    CHECK(plain.at("fallback").at("vendor") == "b");
    CHECK(line_of(plain, "fallback") == 12);
    CHECK_FALSE(plain.contains("chaos"));

    const auto routed = explained("GET", "https://a.example/x", resilient);
    CHECK(routed.at("retry").at("budget") == "10%");
    CHECK(line_of(routed, "retry") == 16);
    REQUIRE(routed.at("limit").as_array().size() == 2);
    CHECK(routed.at("limit").at(1).at("concurrency") == 2);
    CHECK(routed.at("limit").at(1).at("place").at("line") == 17);

    const Variable chaos("CHAOS", "true");
    CHECK(explained("GET", "https://a.example/x", resilient).at("chaos").at("inject").at(0).at("fault") == "reset");
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", resilient);
    const Ran ran = sluice_command({"explain", "-c", policy, "GET", "https://a.example/x"});
    CHECK(holds(ran.out, "up to 1 more on connect, reset, 429, 502, 503, 504; backoff 100ms..2s, budget 10%"));
    std::string without = resilient;
    const auto words = without.find("on: [+429]");
    REQUIRE(words != without.npos);
    const std::string nothing = directory.file("n.yaml", without.replace(words, 10, "on: []"));
    CHECK(holds(sluice_command({"explain", "-c", nothing, "GET", "https://a.example/x"}).out, "1 more on nothing; "));
    CHECK(holds(ran.out, "opens on 9 failures in a row"));
    CHECK(holds(ran.out, "limit2: 2 at a time, no waiting  " + policy + ":17\n"));
    CHECK(holds(ran.out, "ON: reset in 2%; stops above 50% failures"));
    CHECK(explained("CONNECT", "none.example:443", "version: 1\nstate: /x\nunmatched: tunnel\n").at("limit").as_array().empty());
    const std::string two = directory.file("two.yaml", "version: 1\nstate: /x\nvendors: {v: {retry: {max: 0}, hosts: [v.example], endpoints: [{url: \"https://a.example\"}, {url: \"https://b.example\"}]}}\n");
    CHECK(holds(sluice_command({"explain", "-c", two, "GET", "https://v.example/"}).out, "none; what could not be sent goes on elsewhere"));
    const std::string one = directory.file("one.yaml", "version: 1\nstate: /x\nvendors: {v: {hosts: [v.example]}}\n");
    CHECK_FALSE(holds(sluice_command({"explain", "-c", one, "GET", "https://v.example/"}).out, "goes on elsewhere"));
}

namespace {

constexpr const char* layered = R"(version: 1
state: /x
defaults:
  breaker: {window: 1m}
  retry: {on: [connect], max: 1}
  limit: {concurrency: 64}
clients:
  shop: {uid: 1, vendors: [v]}
  mail: {uid: 2, vendors: [w]}
vendors:
  v:
    hosts: [v.example]
    endpoints:
      - url: https://one.example/a
      - url: https://two.example/b
    breaker:
      consecutive: 3
      probes: 4
    retry: {on: [+429]}
    hedge: {after: 300ms}
    timeout: {first_byte: 20s, idle: 1s}
    limit:
      - rate: 5/s
        burst: 9
      - {name: of-tenant, per: header X-Tenant, rate: 1/s}
    fallback: {vendor: w, rewrite: {path: {/x/**: /y/**}}}
    chaos:
      enabled: false
      inject: [{fault: reset, route: "GET /x/*"}, {fault: hang, first: 2}]
    routes:
      - match: "GET /x/*"
        timeout: {total: 3s}
        limit: [{concurrency: 2}, {rate: 7/s}]
  w: {hosts: [w.example], allow: ["* /y/one"], limit: {rate: 5/s}}
)";

std::string explained_in_words(const std::string& method, const std::string& url, std::string policy) {
    const TemporaryDirectory directory;
    const Ran ran = sluice_command({"explain", "-c", directory.file("p.yaml", policy), method, url});
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    std::string out = ran.out;
    const std::string before = directory.path() + '/';
    for (auto at = out.find(before); at != out.npos; at = out.find(before)) out.erase(at, before.size());
    return out;
}

std::int64_t line_of_key(const boost::json::value& map, std::string_view key) {
    return map.at("places").at(key).at("line").to_number<std::int64_t>();
}

}  // namespace

TEST_CASE("each number has the line of its own key, whichever map it is inherited from") {
    const auto said = explained("GET", "https://v.example/x/one", layered);
    CHECK(line_of_key(said.at("breaker"), "consecutive") == 17);
    CHECK(line_of_key(said.at("breaker"), "probes") == 18);
    CHECK(line_of_key(said.at("breaker"), "window") == 4);
    CHECK_FALSE(said.at("breaker").at("places").as_object().contains("open_for"));  // built in
    CHECK(line_of(said, "breaker") == 16);
    CHECK(line_of_key(said.at("retry"), "max") == 5);
    CHECK(line_of_key(said.at("timeout"), "total") == 32);
    CHECK(line_of_key(said.at("timeout"), "first_byte") == 32);  // cut to it
    CHECK(line_of_key(said.at("timeout"), "idle") == 21);
    CHECK_FALSE(said.at("timeout").at("places").as_object().contains("connect"));
    std::vector<std::int64_t> lines;
    for (const auto& limit : said.at("limit").as_array())
        lines.push_back(limit.at("place").at("line").to_number<std::int64_t>());
    CHECK(lines == std::vector<std::int64_t>{23, 25, 6, 33, 33});

    const std::string words = explained_in_words("GET", "https://v.example/x/one", layered);
    INFO(words);
    CHECK(holds(words, "p.yaml:17 (consecutive), p.yaml:4 (window), p.yaml:18 (probes)\n"));
    CHECK(holds(words, "p.yaml:5 (max, on), p.yaml:19 (on)\n"));
    CHECK(holds(words, "limit: 5/s (burst 9), no waiting  p.yaml:23\n"));
    CHECK(holds(words, "64 at a time, no waiting  p.yaml:6 (concurrency)\n"));
    const std::string other = explained_in_words("GET", "https://w.example/y/one", layered);
    CHECK(holds(other, "5/s (burst 5), 64 at a time, no waiting\n              p.yaml:34 (rate), p.yaml:6 (concurrency)\n"));
}

TEST_CASE("a number of a vendor in a file of its own has its line there") {
    const TemporaryDirectory directory;
    directory.file("own.yaml", "vendors:\n  v:\n    hosts: [v.example]\n    breaker: {probes: 4}\n");
    const std::string policy =
        directory.file("p.yaml", "version: 1\nstate: /x\ninclude: [own.yaml]\ndefaults: {breaker: {window: 1m}}\n");
    const auto said = boost::json::parse(
        sluice_command({"explain", "-o", "json", "-c", policy, "GET", "https://v.example/"}).out);
    CHECK(text_at(said.at("breaker").at("places").at("probes").as_object(), "file") == directory.path() + "/own.yaml");
    CHECK(line_of_key(said.at("breaker"), "probes") == 4);
    CHECK(text_at(said.at("breaker").at("places").at("window").as_object(), "file") == policy);
}

TEST_CASE("a tunnel's limits have the lines of those that are left") {
    const std::string words = explained_in_words("CONNECT", "t.example:443",
                                                 "version: 1\nstate: /x\nvendors:\n  t:\n    hosts: [t.example]\n    mode: tunnel\n"
                                                 "    timeout: {idle: 1s}\n    limit:\n      - rate: 5/s\n");
    INFO(words);
    CHECK(holds(words, "limit: 5/s (burst 5), no waiting  p.yaml:9\n"));
    CHECK(holds(words, "timeouts    connect 2s, idle 1h\n"));  // an hour is built in, whatever is written
}

TEST_CASE("every endpoint is explained, and the vendor that stands in") {
    const auto said = explained("GET", "https://v.example/x/one", layered);
    CHECK(text_at(said, "upstream") == "https://one.example/a/x/one");
    CHECK(said.at("then") == boost::json::array{"https://two.example/b/x/one"});
    CHECK(said.at("fallback").at("path") == "/y/one");
    const std::string words = explained_in_words("GET", "https://v.example/x/one", layered);
    INFO(words);
    CHECK(holds(words, "  then        https://two.example/b/x/one  p.yaml:15\n"));
    CHECK(holds(words, "  fallback    w: https://w.example/y/one, no credential; its own rules: sluice explain GET /w/y/one  p.yaml:26\n"));
    CHECK(holds(explained_in_words("GET", "https://v.example/x/two", layered), "w: it cannot have this request: no allow rule of vendor 'w' matches GET /y/two"));
    CHECK(holds(explained_in_words("POST", "https://v.example/y/one", layered), "; not once the POST was sent"));
}

TEST_CASE("what only some requests get is explained for those") {
    const std::string get = explained_in_words("GET", "https://v.example/y/one", layered);
    const std::string post = explained_in_words("POST", "https://v.example/y/one", layered);
    INFO(get << post);
    CHECK(holds(get, "  hedge       up to 1 more after 300ms"));
    CHECK(holds(post, "  hedge       none: a POST is not idempotent"));
    CHECK(holds(post, "; once sent, a POST only with an Idempotency-Key"));
    CHECK_FALSE(holds(get, "once sent"));
    CHECK(holds(get, "  clients     only shop  p.yaml:8 (shop)\n"));
    CHECK(explained("GET", "https://w.example/y/one", layered).at("clients") == boost::json::array{"mail"});
    CHECK(holds(get, "  chaos       off  p.yaml:28\n"));
    std::string on = layered;
    on.replace(on.find("enabled: false"), 14, "enabled: true");
    CHECK(holds(explained_in_words("GET", "https://v.example/y/one", on), "ON: hang, the first 2; stops above"));
    std::string alone = layered;
    alone.replace(alone.find("vendors: [v]"), 12, "vendors: [w]");
    CHECK(holds(explained_in_words("GET", "https://v.example/y/one", alone), "none of the policy's clients may ask for it"));
}

TEST_CASE("people read the explanation in lines with places") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", good);
    const Ran ran = sluice_command({"explain", "-c", policy, "GET", "https://api.pay.example/v1/rates"});
    CHECK(holds(ran.out, "allowed\n"));
    CHECK(holds(ran.out, "allow \"GET /v1/**\"  " + policy + ":10\n"));
    CHECK(holds(ran.out, "{file: /nonexistent/secret}"));
    CHECK(holds(ran.out, "connect 2s, tls 3s, first_byte 3s, idle 3s, total 3s"));
}

TEST_CASE("env tells the policy's listener and where it publishes") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", good);
    const Ran ran = sluice_command({"env", "-c", policy, "--format", "json"});
    REQUIRE(ran.code == 0);
    const auto variables = boost::json::parse(ran.out).as_object();
    CHECK(variables.at("HTTPS_PROXY") == "http://127.0.0.1:15601");
    CHECK(variables.at("SSL_CERT_FILE") == "/nonexistent/state/public/bundle.pem");
    CHECK(holds(text_at(variables, "NO_PROXY"), ",internal.example,.internal.example"));

    const Ran picked = sluice_command(
        {"env", "-c", directory.file("q.yaml", "version: 1\nlisten: {proxy: \"127.0.0.1:0\"}\nstate: /x\n")});
    CHECK(picked.code == 1);
    CHECK(holds(picked.err, "port 0"));
}

TEST_CASE("ca prints what a running Sluice published") {
    TestProxy proxy("");
    const std::string policy =
        proxy.directory().file("p.yaml", "version: 1\nstate: " + proxy.directory().path() + "/state\n");
    CHECK(sluice_command({"ca", "-c", policy}).out == proxy.ca());
    CHECK(sluice_command({"ca", "-c", policy, "--path"}).out == proxy.supervisor().published().ca_crt + "\n");
    const Ran none =
        sluice_command({"ca", "-c", proxy.directory().file("q.yaml", "version: 1\nstate: /nonexistent\n")});
    CHECK(none.code == 1);
    CHECK(holds(none.err, "/nonexistent/public/ca.crt"));
}

TEST_CASE("healthcheck says whether admin is ready, and if not, why") {
    TestProxy proxy("");
    const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port());
    CHECK(sluice_command({"healthcheck", "--admin", admin}).code == 0);
    const std::string policy =
        proxy.directory().file("p.yaml", "version: 1\nstate: /x\nlisten: {admin: \"" + admin + "\"}\n");
    CHECK(sluice_command({"healthcheck", "-c", policy}).code == 0);

    FakeVendor draining(
        always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"ready\":false}"));
    const Ran waiting = sluice_command({"healthcheck", "--admin", "127.0.0.1:" + std::to_string(draining.port())});
    CHECK(waiting.code == 1);
    CHECK(holds(waiting.err, "503: {\"ready\":false}"));

    FakeVendor mute([](Wire& wire) { wire.read_all(); });
    const Ran silent = sluice_command({"healthcheck", "--admin", "127.0.0.1:" + std::to_string(mute.port())});
    CHECK(silent.code == 1);
    CHECK(holds(silent.err, "timed out"));
}

TEST_CASE("status shows what is at hand and what is not, and ends accordingly") {
    const TemporaryDirectory secrets;
    const std::string key = secrets.file("key", "s3cr3t");
    const std::string credentials = "credentials:\n  k: {type: bearer, value: {file: " + key + "}}\n";
    const std::string pay = "vendors:\n  pay: {hosts: [api.pay.example], credential: k}\n"
                            "  maps: {endpoints: [{url: \"https://maps.example/v2\"}]}\n";
    {
        TestProxy proxy(credentials + pay);
        const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port());
        const Ran table = sluice_command({"status", "--admin", admin});
        CHECK(table.code == 0);
        const std::string vendors =
            "ready  " + admin +
            "\n"
            "VENDOR  MODE       WHERE TO                 CREDENTIAL\n"
            "pay     intercept  api.pay.example          k\n"
            "maps    intercept  https://maps.example/v2  -\n";
        CHECK(table.out.starts_with(vendors + "audit  " + proxy.directory().path() + "/state/audit.jsonl: "));
        CHECK(eventually([&] { return holds(sluice_command({"status", "--admin", admin}).out, ".jsonl: 2 records since the start\n"); }));
        const Ran json = sluice_command({"status", "--admin", admin, "-o", "json"});
        CHECK(json.code == 0);
        const auto told = boost::json::parse(json.out);
        CHECK(told.at("ready") == true);
        CHECK(told.at("vendors").as_array().size() == 2);
        CHECK(told.at("audit").at("failing") == false);
        CHECK_FALSE(holds(json.out, "s3cr3t"));
    }
    TestProxy without("credentials:\n  k: {type: bearer, value: {file: /nonexistent/key}}\n" + pay);
    const std::string admin = "127.0.0.1:" + std::to_string(without.admin_port());
    const Ran missing = sluice_command({"status", "--admin", admin});
    CHECK(missing.code == 1);
    CHECK(holds(missing.out, "\n  credential 'k': cannot read /nonexistent/key"));
    CHECK(sluice_command({"status", "--admin", admin, "-o", "json"}).code == 1);
}

TEST_CASE("status says why it has nothing to show, and lets no stranger write to the terminal") {
    const auto status_of = [](const FakeVendor& admin, const std::string& output = "text") {
        return sluice_command({"status", "--admin", "127.0.0.1:" + std::to_string(admin.port()), "-o", output});
    };
    const std::string head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
    for (const std::string body : {"", "[]", "{\"vendors\":7}", "{\"vendors\":[7]}", "{\"vendors\":[{\"live\":7}]}",
                                   "{\"vendors\":[{\"live\":{\"breakers\":[1]}}]}", "nonsense"}) {
        INFO(body);
        FakeVendor stranger(always(head + std::to_string(body.size()) + "\r\n\r\n" + body));
        const Ran ran = status_of(stranger);
        CHECK(ran.code == 1);
        CHECK(holds(ran.err, "is not Sluice's admin"));
        CHECK(status_of(stranger, "json").code == 1);
    }
    const std::string escape = R"({"vendors":[{"name":"a\u001b[2Jb","mode":"x","hosts":["h"]}]})";
    FakeVendor hostile(always(head + std::to_string(escape.size()) + "\r\n\r\n" + escape));
    const Ran ran = status_of(hostile);
    CHECK(holds(ran.out, "a?[2Jb"));
    CHECK_FALSE(holds(ran.out, "\x1b"));
    const Ran nobody = sluice_command({"status", "--admin", "127.0.0.1:1"});
    CHECK(nobody.code == 1);
    CHECK(holds(nobody.err, "not ready: 127.0.0.1:1: Connection refused"));
}

TEST_CASE("status remarks on what is not as on a good day, and is content all the same") {
    TestProxy proxy("vendors:\n  pay:\n    hosts: [api.pay.example]\n    addresses: [127.0.0.0/8]\n"
                    "    chaos: {enabled: true, inject: [{fault: reset}]}\n  maps: {hosts: [maps.example]}\n");
    const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port());
    CHECK(sluice_command({"breaker", "pay", "open", "--admin", admin}).code == 0);
    const Ran ran = sluice_command({"status", "--admin", admin});
    CHECK(ran.code == 0);
    CHECK(holds(ran.out, "\n  breaker of api.pay.example: open, forced by hand\n"));
    CHECK(holds(ran.out, "\n  chaos: faults are injected on purpose\n"));
    CHECK(holds(ran.out, "api.pay.example  -\n"));
    CHECK(holds(ran.out, "maps.example     -\naudit  "));
}

TEST_CASE("breakers are shown and forced from the command line") {
    TestProxy proxy("vendors:\n  pay: {endpoints: [{url: \"https://eu1.pay.example\"}, {url: \"https://eu2.pay.example\"}]}\n");
    const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port());
    const Ran shown = sluice_command({"breaker", "pay", "--admin", admin});
    CHECK(shown.code == 0);
    CHECK(shown.out ==
          "ENDPOINT         STATE   FORCED  SEEN  FAILED  SLOW  AGAIN IN\n"
          "eu1.pay.example  closed  auto    0     0       0     -\n"
          "eu2.pay.example  closed  auto    0     0       0     -\n");
    const Ran one = sluice_command({"breaker", "pay", "open", "--endpoint", "eu2.pay.example", "--admin", admin, "-o", "json"});
    CHECK(one.code == 0);
    const auto told = boost::json::parse(one.out);
    CHECK(told.at("vendor") == "pay");
    CHECK(told.at("breakers").at(0).at("forced") == "auto");
    CHECK(told.at("breakers").at(1).at("state") == "open");
    const std::string policy =
        proxy.directory().file("p.yaml", "version: 1\nstate: /x\nlisten: {admin: \"" + admin + "\"}\n");
    const Ran all = sluice_command({"breaker", "pay", "closed", "-c", policy});
    CHECK(all.code == 0);
    CHECK(holds(all.out, "eu2.pay.example  closed  closed"));
    CHECK(holds(sluice_command({"breaker", "pay", "auto", "--admin", admin}).out, "eu1.pay.example  closed  auto"));
}

TEST_CASE("breaker says why it was not done") {
    TestProxy proxy("vendors:\n  pay: {hosts: [api.pay.example]}\n");
    const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port());
    const Ran vendor = sluice_command({"breaker", "pai", "open", "--admin", admin});
    CHECK(vendor.code == 1);
    CHECK(holds(vendor.err, "no vendor 'pai' (did you mean 'pay'?)"));
    const Ran endpoint = sluice_command({"breaker", "pay", "open", "--endpoint", "evil.example", "--admin", admin});
    CHECK(endpoint.code == 1);
    CHECK(holds(endpoint.err, "no endpoint 'evil.example'; there is: api.pay.example"));
    CHECK(endpoint.out.empty());
    const Ran nobody = sluice_command({"breaker", "pay", "--admin", "127.0.0.1:1"});
    CHECK(nobody.code == 1);
    CHECK(holds(nobody.err, "not done: 127.0.0.1:1: Connection refused"));
    const std::string head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
    for (const std::string body : {"", "[]", "{}", "{\"breakers\":[{}]}", "{\"breakers\":[{\"endpoint\":1}]}"}) {
        INFO(body);
        FakeVendor stranger(always(head + std::to_string(body.size()) + "\r\n\r\n" + body));
        const Ran ran = sluice_command({"breaker", "pay", "--admin", "127.0.0.1:" + std::to_string(stranger.port())});
        CHECK(ran.code == 1);
        CHECK(holds(ran.err, "is not Sluice's admin"));
    }
    const std::string escape = R"({"detail":"a\u001b[2Jb"})";
    FakeVendor hostile(always("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: " +
                              std::to_string(escape.size()) + "\r\n\r\n" + escape));
    const Ran ran = sluice_command({"breaker", "pay", "--admin", "127.0.0.1:" + std::to_string(hostile.port())});
    CHECK(holds(ran.err, "a?[2Jb"));
}

TEST_CASE("doctor finds nothing wrong where everything is in place, and says what is where it is not") {
    TestProxy proxy("vendors:\n  pay: {hosts: [api.pay.example]}\n");
    const auto policy_with = [&](const std::string& state) {
        return proxy.directory().file("p.yaml", "version: 1\nstate: " + state + "\nlisten: {proxy: \"127.0.0.1:" +
                                                    std::to_string(proxy.port()) + "\", admin: \"127.0.0.1:" +
                                                    std::to_string(proxy.admin_port()) +
                                                    "\"}\nvendors:\n  pay: {hosts: [api.pay.example]}\n");
    };
    const std::string policy = policy_with(proxy.directory().path() + "/state");
    std::list<Variable> variables;
    const Ran env = sluice_command({"env", "-c", policy, "--format", "json"});
    const boost::json::value printed = boost::json::parse(env.out);
    for (const auto& [name, value] : printed.as_object())
        variables.emplace_back(std::string(name), std::string(value.as_string()));
    variables.emplace_back("SSL_CERT_DIR", "");

    const Ran fine = sluice_command({"doctor", "-c", policy});
    INFO(fine.out);
    CHECK(fine.code == 0);
    CHECK(holds(fine.out, "ok     proxy: answers at http://127.0.0.1:"));
    CHECK(holds(fine.out, "ok     variables: are those of `sluice env`"));
    CHECK(holds(fine.out, "note   CA: applications of another user cannot read it"));  // the state is 0700

    const Ran bypassed = [&] {
        const Variable no_proxy("NO_PROXY", ".pay.example");
        return sluice_command({"doctor", "-c", policy, "-o", "json"});
    }();
    CHECK(bypassed.code == 1);
    CHECK(boost::json::parse(bypassed.out).at("ok") == false);
    CHECK(holds(bypassed.out, "NO_PROXY holds .pay.example: applications reach api.pay.example (vendor pay) without Sluice"));

    ::chmod((proxy.directory().path() + "/state").c_str(), 0770);
    const Ran open = sluice_command({"doctor", "-c", policy, "-o", "json"});
    CHECK(open.code == 1);
    INFO(open.out);
    CHECK(holds(open.out, "state can be written to by other users"));

    const Ran no_ca = sluice_command({"doctor", "-c", policy_with("/nonexistent/state")});
    CHECK(no_ca.code == 1);
    CHECK(holds(no_ca.out, "wrong  CA: cannot read /nonexistent/state/public/ca.crt: No such file or directory"));

    FakeVendor other(always("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    const Ran stranger = sluice_command(
        {"doctor", "-c", proxy.directory().file("q.yaml", "version: 1\nstate: /x\nlisten: {proxy: \"127.0.0.1:" +
                                                              std::to_string(other.port()) + "\"}\n")});
    CHECK(holds(stranger.out, "is not Sluice"));
}

TEST_CASE("whoever runs Sluice is told when applications of another user cannot read its CA") {
    TestProxy closed("");
    CHECK(closed.logs("\"event\":\"ca_private\",\"directory\":\"" + closed.directory().path() +
                      "/state/public\",\"closed\":\""));
    const TemporaryDirectory open;
    ::chmod(open.path().c_str(), 0755);
    TestProxy readable("authority: {publish: " + open.path() + "/ca}\n");
    CHECK(readable.logs("\"event\":\"started\""));
    CHECK(readable.log().find("ca_private") == std::string::npos);
}

TEST_CASE("output that cannot be written is a failure, which is said") {
    std::ofstream full("/dev/full");
    std::ostringstream err;
    Streams streams{Console(full, false, false), Console(err, false, false)};
    const char* const argv[] = {"sluice", "schema"};
    CHECK(run_command_line(2, argv, streams) == 1);
    CHECK(holds(err.str(), "not all of the output could be written"));
}

TEST_CASE("a state that others may write to is closed to them: they could put a CA of theirs there") {
    const TemporaryDirectory directory;
    const std::string state = directory.path() + "/state";
    ::mkdir(state.c_str(), 0700);
    ::chmod(state.c_str(), 0777);
    directory.file("state/ca.crt", "without its key, this ends the start");
    const std::string policy = directory.file(
        "p.yaml", "version: 1\nstate: " + state + "\nlisten: {admin: \"127.0.0.1:0\", proxy: \"127.0.0.1:0\"}\n");
    const Ran ran = sluice_command({"run", "-c", policy});
    CHECK(ran.code == 1);
    CHECK(holds(ran.err, "ca.key is missing"));
    struct stat status {};
    REQUIRE(::stat(state.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0755);
}

TEST_CASE("an address in use is told with what to do, and nothing that was published is replaced") {
    TestProxy first("authority: {ca: ephemeral}");
    const std::string before = first.ca();
    const std::string policy = first.directory().file(
        "p.yaml", "version: 1\nauthority: {ca: ephemeral}\nstate: " + first.directory().path() +
                      "/state\nlisten: {admin: \"127.0.0.1:0\", proxy: \"127.0.0.1:" + std::to_string(first.port()) +
                      "\"}\n");
    const Ran ran = sluice_command({"run", "-c", policy});
    CHECK(ran.code == 1);
    CHECK(holds(ran.err, "127.0.0.1:" + std::to_string(first.port())));
    CHECK(first.ca() == before);
}

TEST_CASE("a command behind `exec` has the environment, loses the secrets, and gives its exit code") {
    const TemporaryDirectory directory;
    const Variable secret("SLUICE_TEST_TOKEN", "not-for-the-command");
    const std::string policy =
        directory.file("p.yaml", "version: 1\nstate: " + directory.path() +
                                     "/state\ncredentials: {key: {type: bearer, value: {env: SLUICE_TEST_TOKEN}}}\n"
                                     "vendors: {pay: {hosts: [api.pay.example], credential: key}}\n");
    const auto exec = [&](const std::string& script) {
        return sluice_command({"exec", "-c", policy, "--log", directory.path() + "/log", "--", "sh", "-c", script})
            .code;
    };
    CHECK(exec("echo \"$HTTPS_PROXY $SSL_CERT_FILE ${SLUICE_TEST_TOKEN-gone}\" > " + directory.path() +
               "/seen; exit 7") == 7);
    const std::string seen = contents(directory.path() + "/seen");
    CHECK(seen.starts_with("http://127.0.0.1:"));
    CHECK(!holds(seen, ":15001 "));
    CHECK(holds(seen, directory.path() + "/state/public/bundle.pem gone\n"));
    CHECK(exec("test -s \"$NODE_EXTRA_CA_CERTS\" -a -s \"$SSL_CERT_FILE\"") == 0);
    CHECK(exec("kill -KILL $$") == 128 + 9);
    const std::string log = contents(directory.path() + "/log");
    CHECK(holds(log, "\"event\":\"started\""));
    CHECK(!holds(log, "not-for-the-command"));
}

TEST_CASE("signals to `exec` reach its command") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", "version: 1\nstate: " + directory.path() + "/state\n");
    const std::string script =
        "trap 'exit 42' TERM; trap 'kill -TERM $PPID' USR1; kill -USR1 $PPID; while :; do sleep 0.05; done";
    CHECK(sluice_command({"exec", "-c", policy, "--log", directory.path() + "/log", "--", "sh", "-c", script}).code ==
          42);
}

TEST_CASE("a command behind `exec` inherits nothing that Sluice opened, and its own limits") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", "version: 1\nstate: " + directory.path() + "/state\n");
    const auto exec = [&](const std::string& script) {
        return sluice_command({"exec", "-c", policy, "--log", directory.path() + "/log", "--", "sh", "-c", script})
            .code;
    };
    CHECK(exec("ls -l /proc/$$/fd > " + directory.path() + "/fds") == 0);
    const std::string open = contents(directory.path() + "/fds");
    CHECK(!holds(open, "socket:"));
    CHECK(!holds(open, "eventpoll"));
    CHECK(!holds(open, directory.path() + "/log"));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit lowered{256, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    CHECK(exec("test \"$(ulimit -Sn)\" = 256") == 0);
    rlimit raised{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &raised) == 0);
    CHECK(raised.rlim_cur == before.rlim_max);  // Sluice's own, which is this process
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(exec("trap - PIPE; kill -PIPE $$; exit 0") == 128 + 13);
}

TEST_CASE("a command of exec is the client that it is said to be") {
    const TemporaryDirectory directory;
    directory.file("password", "p@ss:w/rd 1\n");
    const std::string policy = directory.file(
        "p.yaml", "version: 1\nstate: " + directory.path() + "/state\nclients:\n  shop: {password: {file: " +
                      directory.path() + "/password}, vendors: all}\n  batch: {uid: 1, vendors: all}\n");
    const auto exec = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments{"exec", "-c", policy, "--log", directory.path() + "/log"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        for (const std::string& word : {std::string("--"), std::string("sh"), std::string("-c"),
                                        "echo \"$HTTPS_PROXY\" > " + directory.path() + "/seen"})
            arguments.push_back(word);
        return sluice_command(arguments);
    };
    CHECK(exec({"--client", "shop"}).code == 0);
    CHECK(contents(directory.path() + "/seen").starts_with("http://shop:p%40ss%3Aw%2Frd%201@127.0.0.1:"));
    const Ran nobody = exec({});
    CHECK(nobody.code == 0);
    CHECK(contents(directory.path() + "/seen").starts_with("http://127.0.0.1:"));
    CHECK(holds(nobody.err, "--client NAME"));
    for (const char* name : {"shpo", "batch"}) {
        const Ran refused = exec({"--client", name});
        CHECK(refused.code == 1);
        CHECK(holds(refused.err, std::string("--client ") + name));
    }
    CHECK(!holds(contents(directory.path() + "/log"), "p@ss"));
}

TEST_CASE("a command of exec is given the password of its client out of Vault") {
    std::optional<SignalsBlocked> blocked(std::in_place);   // for the threads of Vault: SIGCHLD is the command's
    FakeVault vault;
    blocked.reset();
    vault.accept_token("hvs.exec");
    vault.put("shop", {{"password", "p@ssw0rd"}});
    const TemporaryDirectory directory;
    const std::string policy = directory.file(
        "p.yaml", "version: 1\nstate: " + directory.path() + "/state\ncredentials:\n  vault: {type: vault, address: \"https://" +
                      vault.authority() + "\", auth: {token: {file: " + directory.file("token", "hvs.exec") +
                      "}}, tls: {ca: {file: " + directory.file("ca.crt", vendor_ca().pem()) +
                      "}}, addresses: [127.0.0.0/8]}\n" + "clients: {shop: {password: {vault: \"kv/data/shop#password\"}, vendors: all}}\n");
    const Ran ran = sluice_command({"exec", "-c", policy, "--log", directory.path() + "/log", "--client", "shop", "--", "sh", "-c",
                                    "echo \"$HTTPS_PROXY\" > " + directory.path() + "/seen"});
    INFO(ran.err);
    CHECK(ran.code == 0);
    CHECK(contents(directory.path() + "/seen").starts_with("http://shop:p%40ssw0rd@127.0.0.1:"));
}

TEST_CASE("a command that cannot be run ends as a shell would end it") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", "version: 1\nstate: " + directory.path() + "/state\n");
    const std::string log = directory.path() + "/log";
    const Ran none = sluice_command({"exec", "-c", policy, "--log", log, "--", "no-such-command-anywhere"});
    CHECK(none.code == 127);
    CHECK(holds(none.err, "no-such-command-anywhere"));
    CHECK(sluice_command({"exec", "-c", policy, "--log", log, "--", directory.file("not-executable", "")}).code == 126);
}

TEST_CASE("the demo goes as it should") {
    const Ran ran = sluice_command({"demo"});
    INFO(ran.out << ran.err);
    CHECK(ran.code == 0);
    CHECK(holds(ran.out, "Authorization: Bearer demo-…"));
    CHECK(holds(ran.out, "timeout_first_byte"));
    CHECK(holds(ran.out, "unknown_vendor"));
    CHECK(holds(ran.out, "authority_mismatch"));
    CHECK(!holds(ran.out, "demo-key-that-no-application-has"));
    CHECK(holds(ran.out, "Bearer ****"));
    CHECK(holds(ran.out, "credential_unavailable"));
    CHECK(!holds(ran.out, "NOT AS EXPECTED"));
}

TEST_CASE("check --against says what a policy would change in a running Sluice, and what it would refuse") {
    TestProxy proxy("credentials:\n  key: {type: bearer, value: {file: @dir/key}}\nvendors:\n"
                    "  pay: {hosts: [pay.example], credential: key, timeout: {total: 10s}}\n  old: {hosts: [old.example]}\n");
    const std::string admin = "http://127.0.0.1:" + std::to_string(proxy.admin_port());
    const std::string running = proxy.directory().path() + "/policy.yaml";
    const std::string same = contents(running);
    const auto replaced = [&](std::string text, const std::string& what, const std::string& by) {
        REQUIRE(holds(text, what));
        return text.replace(text.find(what), what.size(), by);
    };
    const Ran nothing = sluice_command({"check", "-c", running, "--against", admin});
    CHECK(nothing.code == 0);
    CHECK(holds(nothing.out, "nothing would change"));

    std::string text = replaced(same, "total: 10s", "total: 20s");
    text = replaced(text, "  old: {hosts: [old.example]}", "  fresh: {hosts: [fresh.example]}");
    text = replaced(text, "workers: 1", "workers: 2");
    const std::string next = proxy.directory().file("next.yaml", text);
    const Ran ran = sluice_command({"check", "-c", next, "--against", admin + "/"});
    CHECK(ran.code == 1);   // a reload would be refused
    CHECK(holds(ran.out, "  + vendors.fresh\n"));
    CHECK(holds(ran.out, "  - vendors.old\n"));
    CHECK(holds(ran.out, "  ~ vendors.pay\n"));
    CHECK(holds(ran.out, "      timeout.total: \"10s\" -> \"20s\"\n"));
    CHECK(holds(ran.out, "only a restart can change\n  ! workers: 1 -> 2\n"));

    const Ran machine = sluice_command({"check", "-o", "json", "-c", next, "--against", "localhost:" + std::to_string(proxy.admin_port())});
    CHECK(machine.code == 1);
    const auto said = boost::json::parse(machine.out).as_object();
    CHECK(said.at("ok") == true);
    const auto& changes = said.at("changes").as_object();
    CHECK(changes.at("vendors").at("added").at(0) == "fresh");
    CHECK(changes.at("vendors").at("removed").at(0) == "old");
    CHECK(changes.at("vendors").at("changed").at(0).at("name") == "pay");
    CHECK(changes.at("refused").at(0).at("key") == "workers");
    CHECK(changes.at("refused").at(0).at("from") == 1);
    CHECK(changes.at("credentials").at("changed").as_array().empty());

    const std::string taken = proxy.directory().file("taken.yaml", replaced(same, "total: 10s", "total: 20s"));
    CHECK(sluice_command({"check", "-c", taken, "--against", admin}).code == 0);
}

TEST_CASE("check --against shows where long values differ, wherever that is") {
    const TemporaryDirectory secrets;
    const std::string common(60, 'b');
    const auto about = [&](const std::string& text) {
        return "no_proxy: [" + text + ".example]\nvendors: {v: {hosts: [v.example]}}\n";
    };
    // Far behind what the two have in common, and right at the beginning.
    TestProxy proxy(about("x" + common + "." + common + ".one"));
    const std::string admin = "http://127.0.0.1:" + std::to_string(proxy.admin_port());
    const std::string running = contents(proxy.directory().path() + "/policy.yaml");
    const auto told = [&](std::string from, const std::string& to) {
        std::string text = running;
        text.replace(text.find(from), from.size(), to);
        return sluice_command({"check", "-c", secrets.file("next.yaml", text), "--against", admin}).out;
    };
    const std::string late = told(".one.example", ".two.example");
    INFO(late);
    CHECK(holds(late, R"(b.one.example"] -> ...)"));
    CHECK(holds(late, R"(b.two.example"])"));
    const std::string early = told("[xbbb", "[ybbb");
    INFO(early);
    CHECK(holds(early, R"(~ no_proxy: ["xbbb)"));
    CHECK(holds(early, R"(... -> ["ybbb)"));
    const std::string longer = told(".one.example]", ".one.example, more.example]");
    INFO(longer);
    CHECK(holds(longer, R"(.one.example"] -> ...)"));
    CHECK(holds(longer, R"(.one.example","more.example"])"));
}

TEST_CASE("check --against: a bad policy is still bad, and a Sluice that nobody finds is a failure") {
    const TemporaryDirectory directory;
    const std::string fine = directory.file("fine.yaml", good), bad = directory.file("bad.yaml", "version: 1\nx: 1\n");
    std::uint16_t nobody;
    { nobody = FakeVendor(echo()).port(); }
    const std::string admin = "http://127.0.0.1:" + std::to_string(nobody);
    CHECK(sluice_command({"check", "-c", bad, "--against", admin}).code == 78);
    const Ran refused = sluice_command({"check", "-c", fine, "--against", admin});
    CHECK(refused.code == 1);
    CHECK(holds(refused.err, "cannot compare with " + admin));
    CHECK(sluice_command({"check", "-c", fine, "--against", "https://admin.example"}).code == 2);

    FakeVendor stranger(always("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n[1, 2, 3"));
    const Ran odd = sluice_command({"check", "-o", "json", "-c", fine, "--against", "127.0.0.1:" + std::to_string(stranger.port())});
    CHECK(odd.code == 1);
    CHECK(holds(odd.err, "not a policy in JSON"));
    FakeVendor cut([](Wire& wire) {
        if (wire.read_request()) wire.write("HTTP/1.1 200 OK\r\nContent-Length: 80\r\nConnection: close\r\n\r\n{");
    });
    CHECK(sluice_command({"check", "-c", fine, "--against", "127.0.0.1:" + std::to_string(cut.port())}).code == 1);
}
