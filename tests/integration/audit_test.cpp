// The audit trail of the real proxy: what is in it, what never is, and `sluice audit verify` on it.
#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/doctor.hpp"
#include "tests/support/command.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* token = "token-that-nobody-must-see";
constexpr const char* client_secret = "client-secret-that-nobody-must-see";

std::string answer(const std::string& status, const std::string& body) {
    return "HTTP/1.1 " + status +
           "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// Says the token where it has no business, and what a terminal would obey.
std::string granted() {
    return answer("200 OK", R"({"access_token":")" + std::string(token) +
                                R"(","token_type":"Bearer","expires_in":3600,"scope":"a \u001b[2J )" + token + "\"}");
}

std::string credential_yaml(std::uint16_t port) {
    return "credentials:\n  pay-oauth:\n    type: oauth2_client_credentials\n    token_url: https://localhost:" +
           std::to_string(port) +
           "/token\n    client_id: us\n    client_secret: {file: @dir/client-secret}\n    audience: "
           "https://pay.example\n"
           "    addresses: [127.0.0.0/8, \"::1\"]\n    tls: {ca: {file: @dir/vendor-ca.crt}}\n";
}

std::string path_of(const TestProxy& proxy) {
    return proxy.directory().path() + "/state/audit.jsonl";
}

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The records of one event.
std::vector<json::object> records(const TestProxy& proxy, std::string_view event) {
    std::vector<json::object> found;
    std::istringstream lines(read(path_of(proxy)));
    for (std::string line; std::getline(lines, line);) {
        boost::system::error_code error;
        const json::value record = json::parse(line, error);
        if (!error && record.at("event").as_string() == json::string_view(event.data(), event.size()))
            found.push_back(record.as_object());
    }
    return found;
}

/// Waits for so many of them: they are written by a thread of their own.
std::vector<json::object> awaited(const TestProxy& proxy, std::string_view event, std::size_t count) {
    REQUIRE(eventually([&] { return records(proxy, event).size() >= count; }));
    return records(proxy, event);
}

std::string text_at(const json::object& record, const char* key) {
    const json::value* value = record.if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

Ran force(const TestProxy& proxy, const std::string& state) {
    return sluice_command({"breaker", "pay", state, "--admin", "127.0.0.1:" + std::to_string(proxy.admin_port())});
}

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("every mint is in the audit trail: whose, by whom, what for, how long and why; the token never is") {
    FakeVendor issuer(always(granted()), vendor_ca());
    FakeVendor vendor(always(answer("401 Unauthorized", "{}")), vendor_ca());
    TestProxy proxy(credential_yaml(issuer.port()) + "vendors:\n" +
                    vendor_yaml("pay", "pay.example", vendor, true, "credential: pay-oauth\n"));
    proxy.directory().file("client-secret", client_secret);
    const json::object first = awaited(proxy, "credential_minted", 1).front();
    CHECK(text_at(first, "credential") == "pay-oauth");
    CHECK(text_at(first, "type") == "oauth2_client_credentials");
    CHECK(text_at(first, "why") == "eager");
    CHECK(text_at(first, "issuer") == "https://localhost:" + std::to_string(issuer.port()) + "/token");
    CHECK(text_at(first, "subject") == "us");
    CHECK(holds(text_at(first, "scope"), "a "));
    CHECK(holds(text_at(first, "scope"), "****"));
    CHECK(text_at(first, "audience") == "https://pay.example");
    CHECK(first.at("lifetime_seconds") == 3600);
    CHECK(text_at(first, "expires").size() == std::string("2026-11-27T04:42:20.123Z").size());

    CHECK(proxy.get("pay.example").status() == 401);
    CHECK(text_at(awaited(proxy, "credential_minted", 2).back(), "why") == "refused");

    const std::string text = read(path_of(proxy));
    CHECK_FALSE(holds(text, token));
    CHECK_FALSE(holds(text, client_secret));
    CHECK_FALSE(holds(text, "\x1b"));
    CHECK(eventually([&] { return proxy.metric("sluice_audit_records_total{result=\"written\"}") >= 4; }));
    CHECK(proxy.metric("sluice_audit_records_total{result=\"lost\"}") == 0);
    CHECK(proxy.metric("sluice_audit_failed_total") == 0);
}

TEST_CASE("the operator's words are in the audit trail: start, CA, forced breaker, reload taken and refused, end") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, false));
    const std::string file = proxy.directory().path() + "/policy.yaml";
    const json::object made = awaited(proxy, "ca_made", 1).front(), started = awaited(proxy, "started", 1).front();
    CHECK(text_at(made, "authority") == "persistent");
    CHECK(text_at(made, "subject").starts_with("CN=Sluice CA "));
    CHECK(text_at(made, "sha256") == text_at(started, "ca_sha256"));
    CHECK(text_at(started, "policy") == file);

    REQUIRE(force(proxy, "open").code == 0);
    REQUIRE(force(proxy, "auto").code == 0);
    const auto forced = awaited(proxy, "breaker_forced", 2);
    CHECK(text_at(forced[0], "vendor") == "pay");
    CHECK(text_at(forced[0], "forced") == "open");
    CHECK(text_at(forced[0], "before") == "auto");
    CHECK(text_at(forced[1], "forced") == "auto");

    proxy.rewrite("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, false) +
                  vendor_yaml("mail", "mail.example", vendor, false));
    REQUIRE(proxy.reload().status() == 200);
    const json::object taken = awaited(proxy, "reloaded", 1).front();
    CHECK(text_at(taken, "why") == "admin");
    CHECK(text_at(taken, "digest_before") == text_at(started, "digest"));
    CHECK(text_at(taken, "digest") != text_at(started, "digest"));
    CHECK(text_at(taken, "vendors") == "1 added");

    proxy.rewrite("vendors: {pay: {hots: [a.example]}}\n");
    REQUIRE(proxy.reload().status() == 422);
    const json::object refused = awaited(proxy, "reload_refused", 1).front();
    CHECK(refused.at("faults").to_number<int>() >= 1);
    CHECK(text_at(refused, "detail").starts_with(file + ":"));

    proxy.drain();
    proxy.join();
    CHECK(awaited(proxy, "stopped", 1).size() == 1);
    const Ran verified = sluice_command({"audit", "verify", path_of(proxy)});
    INFO(verified.out << verified.err);
    CHECK(verified.code == 0);
}

TEST_CASE("a trail that cannot be written stops no traffic: it is told once, counted, and goes on when it can") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, false));
    awaited(proxy, "started", 1);
    fs::rename(path_of(proxy), path_of(proxy) + ".1");
    fs::create_directory(path_of(proxy));
    REQUIRE(force(proxy, "closed").code == 0);
    REQUIRE(proxy.logs(R"("event":"audit","state":"failing")"));
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(eventually([&] { return proxy.metric("sluice_audit_failed_total") >= 2; }));
    fs::remove(path_of(proxy));
    CHECK(awaited(proxy, "breaker_forced", 1).size() == 1);
    CHECK(proxy.logs(R"("event":"audit","state":"written again")"));
    const std::string log = proxy.log();
    CHECK(log.find("\"failing\"") == log.rfind("\"failing\""));
    const Ran verified = sluice_command({"audit", "verify", path_of(proxy), path_of(proxy) + ".1"});
    INFO(verified.out << verified.err);
    CHECK(verified.code == 0);
}

TEST_CASE("a static secret that is rotated is in the audit trail, and the secret never is") {
    TestProxy proxy("credentials:\n  key: {type: bearer, value: {file: @dir/key}}\n"
                    "vendors:\n  pay: {hosts: [pay.example], credential: key}\n");
    const auto put = [&](const std::string& secret) {
        fs::rename(proxy.directory().file("next", secret), proxy.directory().path() + "/key");
    };
    put("first-secret-nobody-may-see");
    const json::object first = awaited(proxy, "credential", 1).front();
    CHECK(text_at(first, "credential") == "key");
    CHECK(text_at(first, "state") == "available");
    put("second-secret-nobody-may-see");
    CHECK(text_at(awaited(proxy, "credential", 2).back(), "state") == "changed");
    CHECK_FALSE(holds(read(path_of(proxy)), "nobody-may-see"));
}

TEST_CASE("status and doctor say how the audit trail fares") {
    TestProxy proxy("vendors:\n  pay: {hosts: [pay.example]}\n");
    const std::string admin = "127.0.0.1:" + std::to_string(proxy.admin_port()), trail = path_of(proxy);
    const auto status = [&] { return sluice_command({"status", "--admin", admin}); };
    const auto health = [&] {
        const auto found = examine_audit(json::parse(http_get({{{127, 0, 0, 1}, false}, proxy.admin_port()}, "/vendors", 10s).body));
        REQUIRE(found.size() == 1);
        return found.front().health;
    };
    awaited(proxy, "started", 1);
    CHECK(health() == Health::fine);

    // A folder in its place takes no lines.
    fs::rename(trail, trail + ".away");
    fs::create_directory(trail);
    CHECK(force(proxy, "open").code == 0);
    CHECK(eventually([&] { return holds(status().out, trail + ": NOT WRITTEN, cannot open "); }));
    CHECK(status().code == 0);
    CHECK(health() == Health::note);
    fs::remove(trail);
    fs::rename(trail + ".away", trail);
    CHECK(eventually([&] { return holds(status().out, "; it could not be written for a while: cannot open "); }));

    std::string text = read(trail);
    text.replace(text.rfind("breaker_forced"), 14, "nothing");
    std::ofstream(trail, std::ios::binary | std::ios::trunc) << text;
    CHECK(force(proxy, "auto").code == 0);
    CHECK(eventually([&] { return holds(status().out, "CHANGED BY SOMEBODY, see sluice audit verify: "); }));
    CHECK(health() == Health::wrong);
}

TEST_CASE("what says nothing of an audit trail is left alone, and what says nonsense obeys no terminal") {
    CHECK(examine_audit(json::parse(R"({"vendors":[]})")).empty());
    CHECK(examine_audit(json::parse(R"([1])")).empty());
    const auto odd = examine_audit(json::parse(R"({"audit":{"file":"a\u001b[2Jb","failing":7,"written":"x","lost":-1}})"));
    REQUIRE(odd.size() == 1);
    CHECK(odd.front().what == "a?[2Jb: 0 records since the start");
}

TEST_CASE("audit verify says that a chain is whole, or where it is not, to people and to machines") {
    FakeVendor vendor(echo());
    TestProxy proxy("vendors:\n" + vendor_yaml("pay", "pay.example", vendor, false));
    REQUIRE(force(proxy, "open").code == 0);
    REQUIRE(force(proxy, "auto").code == 0);
    awaited(proxy, "breaker_forced", 2);
    const std::string policy = proxy.directory().path() + "/policy.yaml", path = path_of(proxy);

    const Ran whole = sluice_command({"audit", "verify", "-c", policy});
    INFO(whole.out << whole.err);
    CHECK(whole.code == 0);
    CHECK(holds(whole.out, "4 records, numbers 1 to 4, from "));
    CHECK(holds(whole.out, "the chain is whole"));
    CHECK(holds(whole.out, "note: a last record that was changed while nobody wrote"));
    const auto told = json::parse(sluice_command({"audit", "verify", "-c", policy, "-o", "json"}).out);
    CHECK(told.at("ok") == true);
    CHECK(told.at("last").at("seq") == 4);
    const std::string hash(told.at("last").at("hash").as_string());
    CHECK(told.at("last").at("proven") == false);
    const Ran proven = sluice_command({"audit", "verify", "-c", policy, "--expect", hash});
    CHECK(proven.code == 0);
    CHECK_FALSE(holds(proven.out, "note: a last record"));

    // Its beginning is gone, and no older file is there that it could have gone with.
    const std::string kept = read(path);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << kept.substr(kept.find('\n') + 1);
    const Ran beheaded = sluice_command({"audit", "verify", "-c", policy});
    CHECK(beheaded.code == 1);
    CHECK(holds(beheaded.err, "begins with record 2, though no file has gone yet to make room: record 1 is missing"));
    CHECK(sluice_command({"audit", "verify", path}).code == 0);  // what is named may be a part
    std::ofstream(path, std::ios::binary | std::ios::trunc) << kept;

    const std::string text = read(path), cut = text.substr(0, text.rfind('\n', text.size() - 2) + 1);
    const std::string apart = proxy.directory().file("cut.jsonl", cut);
    CHECK(sluice_command({"audit", "verify", apart}).code == 0);
    const Ran missing = sluice_command({"audit", "verify", apart, "--expect", hash});
    CHECK(missing.code == 1);
    CHECK(holds(missing.err, "no record has the hash " + hash));

    std::string changed = text;
    changed.replace(changed.find("\"forced\":\"open\""), 15, "\"forced\":\"auto\"");
    const std::string other = proxy.directory().file("changed.jsonl", changed);
    const Ran broken = sluice_command({"audit", "verify", other});
    CHECK(broken.code == 1);
    CHECK(holds(broken.err, other + ":3: record 3 was changed"));
    CHECK(holds(broken.err, "the chain is broken"));
    const auto faults =
        json::parse(sluice_command({"audit", "verify", other, "-o", "json"}).out).at("faults").as_array();
    REQUIRE(faults.size() == 1);
    CHECK(faults.at(0).at("line") == 3);

    const std::size_t middle = text.find('\n', text.find('\n') + 1) + 1;
    const std::string older = proxy.directory().file("a", text.substr(0, middle)),
                      newer = proxy.directory().file("b", text.substr(middle));
    CHECK(sluice_command({"audit", "verify", newer, older}).code == 0);
    CHECK(holds(sluice_command({"audit", "verify", newer}).out, "note: " + newer + ":1: begins with record 3"));
}

TEST_CASE("audit verify says what it cannot do") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file(
        "p.yaml", "version: 1\nstate: " + directory.path() + "/none\nvendors: {pay: {hosts: [a.example]}}\n");
    const std::string bad = directory.file("bad.yaml", "version: 1\nvendors: 3\n"), empty = directory.file("empty", "");
    struct Case {
        std::vector<std::string> words;
        int code;
        const char* says;
    };
    const Case cases[] = {{{"-c", policy}, 1, "cannot look into "},
                          {{"-c", bad}, 78, "vendors"},
                          {{directory.path() + "/absent"}, 1, "cannot open "},
                          {{directory.path()}, 1, "cannot read "},
                          {{empty}, 1, "there is no record"},
                          {{empty, "--expect", "abc"}, 2, "not a hash of 64 hex digits: 'abc'"}};
    for (const Case& one : cases) {
        std::vector<std::string> words = {"audit", "verify"};
        words.insert(words.end(), one.words.begin(), one.words.end());
        const Ran ran = sluice_command(words);
        CAPTURE(one.says, ran.out, ran.err);
        CHECK(ran.code == one.code);
        CHECK(holds(ran.err, one.says));
    }
    CHECK(sluice_command({"audit"}).code == 2);
}
