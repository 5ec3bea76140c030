// `sluice credential test`, with a token endpoint of the test's own; and what status, doctor, /ready and /vendors say of
// credentials that are fetched.
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <fstream>
#include <mutex>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/credential_advice.hpp"
#include "proxy/app/doctor.hpp"
#include "tests/support/command.hpp"
#include "tests/support/issuer.hpp"
#include "tests/support/pem.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;
namespace json = boost::json;

namespace {

constexpr const char* token = "token-that-nobody-must-see";
constexpr const char* client_secret = "client-secret-that-nobody-must-see";

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::string answer(int status, const std::string& body, const std::string& fields = "Content-Type: application/json\r\n") {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string granted(const std::string& more = ",\"expires_in\":3600") {
    return answer(200, R"({"access_token":")" + std::string(token) + R"(","token_type":"Bearer")" + more + "}");
}

std::string denied(int status, const std::string& error) {
    return answer(status, R"({"error":")" + error + R"(","error_description":"so it is"})");
}

/// A client's credential at an endpoint on loopback. `but`: lines in place of those that begin alike; "-key" leaves one out.
std::string credential_yaml(const std::string& directory, std::uint16_t port, const std::vector<std::string>& but = {}) {
    std::vector<std::string> lines = {"type: oauth2_client_credentials",
                                      "token_url: https://localhost:" + std::to_string(port) + "/token",
                                      "client_id: checkout",
                                      "client_secret: {file: " + directory + "/secret}",
                                      "scope: [pay.read]",
                                      "addresses: [127.0.0.0/8, \"::1/128\"]",
                                      "tls: {ca: {file: " + directory + "/ca.pem}}"};
    for (const std::string& change : but) {
        const bool out = change.starts_with('-');
        const std::string key = out ? change.substr(1) + ":" : change.substr(0, change.find(':') + 1);
        std::erase_if(lines, [&](const std::string& line) { return line.starts_with(key); });
        if (!out) lines.push_back(change);
    }
    std::string yaml = "credentials:\n  pay:\n";
    for (const std::string& line : lines) yaml += "    " + line + "\n";
    return yaml;
}

constexpr const char* vendors_yaml = "vendors:\n  pay: {hosts: [api.pay.example], credential: pay}\n";

/// A directory with the policy and what it names.
class Trial {
  public:
    explicit Trial(std::uint16_t port, const std::vector<std::string>& but = {}, const std::string& vendors = vendors_yaml, std::uint16_t admin = 0) {
        directory_.file("ca.pem", vendor_ca().pem());
        directory_.file("secret", client_secret);
        directory_.file("refresh", "first-refresh-token");
        policy_ = directory_.file("sluice.yaml", "version: 1\nstate: " + directory_.path() + "/state\nlisten: {proxy: 127.0.0.1:0, admin: 127.0.0.1:" + std::to_string(admin) + "}\n" +
                                                     credential_yaml(directory_.path(), port, but) + vendors);
    }

    Ran run(std::vector<std::string> more = {}) const {
        std::vector<std::string> words = {"credential", "test", "pay", "-c", policy_};
        words.insert(words.end(), more.begin(), more.end());
        const Ran ran = sluice_command(words);
        for (const char* secret : {token, client_secret, "refresh-token-"}) {
            CHECK_FALSE(holds(ran.out, secret));
            CHECK_FALSE(holds(ran.err, secret));
        }
        return ran;
    }
    std::string path() const { return directory_.path(); }

  private:
    TemporaryDirectory directory_;
    std::string policy_;
};


}  // namespace

TEST_CASE("a credential that comes is told whole, but for itself") {
    const FakeVendor issuer(always(granted()), vendor_ca());
    const Ran ran = Trial(issuer.port()).run();
    INFO(ran.out << ran.err);
    CHECK(ran.code == 0);
    for (const char* part : {"pay  oauth2_client_credentials\n", "https://localhost:", "a token of 26 bytes", "subject   checkout\n", "scope     pay.read\n", "lifetime  1h\n",
                             "after 45m", "goes to   header Authorization\n", "bound to  pay: api.pay.example\n", "POST https://", "  200 after ", "first byte", "good\n"})
        CHECK(holds(ran.out, part));
    CHECK(ran.err.empty());
}

TEST_CASE("a credential that was got by hand is in the audit trail, without itself") {
    const FakeVendor issuer(always(granted(",\"expires_in\":3600,\"scope\":\"" + std::string(token) + "\"")), vendor_ca());
    const Trial trial(issuer.port());
    CHECK(trial.run().code == 0);
    std::ifstream file(trial.path() + "/state/audit.jsonl");
    std::string line, more;
    REQUIRE(std::getline(file, line));
    CHECK(holds(line, R"("event":"credential_minted","credential":"pay","type":"oauth2_client_credentials","why":"command","issuer":"https://localhost:)"));
    CHECK(holds(line, R"("subject":"checkout","scope":"****)"));
    CHECK_FALSE(holds(line, token));
    CHECK_FALSE(std::getline(file, more));
}

TEST_CASE("machines read the same as JSON") {
    const FakeVendor issuer(always(granted()), vendor_ca());
    const Ran ran = Trial(issuer.port()).run({"-o", "json"});
    INFO(ran.out << ran.err);
    CHECK(ran.code == 0);
    const auto told = json::parse(ran.out);
    CHECK(told.at("ok") == true);
    CHECK(told.at("type") == "oauth2_client_credentials");
    CHECK(told.at("lifetime_seconds").to_number<double>() == 3600);
    CHECK(told.at("renewed_after_seconds").at(0).to_number<double>() == Approx(2700).margin(2));
    CHECK(told.at("renewed_after_seconds").at(1).to_number<double>() == Approx(2880).margin(2));
    CHECK(told.at("bound_to").at(0).at("vendor") == "pay");
    CHECK(told.at("calls").at(0).at("status") == 200);
    CHECK(told.at("calls").at(0).as_object().contains("tls_ms"));
    CHECK(told.at("warnings").as_array().empty());

    const FakeVendor other(always(denied(401, "invalid_client")), vendor_ca());
    const Ran failed = Trial(other.port()).run({"-o", "json"});
    CHECK(failed.code == 1);
    const auto why = json::parse(failed.out);
    CHECK(why.at("ok") == false);
    CHECK(holds(std::string(why.at("fault").as_string()), "invalid_client"));
    CHECK(holds(std::string(why.at("advice").as_string()), "client_auth"));
}

TEST_CASE("what an issuer answers instead of a token is explained, with what to do") {
    const auto [response, what, advice] = GENERATE(table<std::string, std::string, std::string>({
        {denied(401, "invalid_client"), "answered 401 invalid_client: so it is", "check client_id"},
        {denied(400, "invalid_scope"), "invalid_scope", "correct `scope`"},
        {denied(400, "invalid_grant"), "invalid_grant", "check `scope` and `params`"},
        {denied(400, "unauthorized_client"), "unauthorized_client", "may not use this grant"},
        {answer(200, "<html>Log in</html>", "Content-Type: text/html\r\n"), "not a JSON object", "login or error page: is credentials.pay.token_url the issuer's own?"},
        {answer(302, "", "Location: https://elsewhere.example/\r\n"), "answered 302", "A redirect is never followed"},
        {answer(404, "nothing"), "answered 404", "Is the path in credentials.pay.token_url"},
        {answer(503, "later"), "answered 503", "The issuer is in trouble"},
        {answer(429, "later"), "answered 429", "asked too often"},
        {granted(",\"expires_in\":-5"), "over already", ""},
        {answer(200, "{}"), "there is no access_token", "is credentials.pay.token_url the issuer's own?"},
        {"nonsense\r\n\r\n", "cannot be asked", "does not speak HTTP"},
    }));
    const FakeVendor issuer(always(response), vendor_ca());
    const Ran ran = Trial(issuer.port()).run();
    INFO(ran.out << ran.err);
    CHECK(ran.code == 1);
    CHECK(holds(ran.err, "not good: credential 'pay': "));
    CHECK(holds(ran.err, what));
    CHECK(holds(ran.err, advice));
    CHECK_FALSE(holds(ran.out, "good"));
}

namespace {

/// Answers a login to Vault well, and everything else so.
FakeVendor::Serve after_login(const std::string& response) {
    return [response](Wire& wire) {
        while (const auto request = wire.read_request())
            wire.write(request->start_line.find("/login") == std::string::npos ? response
                                                                               : answer(200, R"({"auth":{"client_token":"hvs.of-this-test","lease_duration":3600,"renewable":false}})"));
    };
}

}  // namespace

TEST_CASE("whatever kind of issuer refuses, the words are about what its credential has") {
    const std::string github = "type: github_app, api_url: @url, app_id: 12, installation_id: 7, key: {file: @dir/key.pem}";
    const std::string gcp = "type: gcp, source: service_account, key: {file: @dir/google.json}, scope: [all]";
    const std::string azure = "type: azure_workload_identity, authority_host: @url, tenant: t, client_id: me, scope: all/.default, token_file: @dir/subject";
    const std::string vault = "type: vault, address: @url, auth: {approle: {role_id: me, secret_id: {file: @dir/subject}}}, path: kv/llm, field: key";
    const std::string aws = "type: aws_sigv4, region: eu-central-1, service: s3, source: environment, assume_role: {arn: 'arn:aws:iam::123456789012:role/r'}, sts_url: @url";
    const std::string exchange = "type: oauth2_token_exchange, token_url: @url/token, subject_token: {file: @dir/subject}";
    const std::string assertion = "type: oauth2_jwt_bearer, token_url: @url/token, key: {file: @dir/key.pem}, issuer: me";
    const std::string page = answer(200, "<html>Log in</html>", "Content-Type: text/html\r\n");
    const auto sts = [](const std::string& code) {
        return answer(403, "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>so it is</Message></Error></ErrorResponse>", "Content-Type: text/xml\r\n");
    };
    struct Row {
        std::string credential, response, what, advice;
        bool logged_in = false;
    };
    const std::vector<Row> rows = {
        {exchange, denied(400, "invalid_grant"), "invalid_grant", "The subject token is not accepted"},
        {assertion, denied(400, "invalid_grant"), "invalid_grant", "The assertion is not accepted"},
        {github, answer(401, R"({"message":"so it is"})"), "answered 401: so it is", "Is credentials.k.key a key of the app"},
        {github, answer(404, R"({"message":"Not Found"})"), "answered 404: Not Found", "Compare installation_id"},
        {github, answer(422, R"({"message":"no such permission"})"), "no such permission", "`permissions` or `repositories`"},
        {github, page, "answered 200, and not 201", "is not GitHub's API"},
        {gcp, denied(400, "invalid_grant"), "invalid_grant", "Was the key deleted or disabled there"},
        {gcp, answer(404, "nothing"), "answered 404", "Is the path in the file that credentials.k.key names"},
        {gcp, page, "not a JSON object", "is the file that credentials.k.key names the issuer's own?"},
        {azure, denied(401, "invalid_client"), "invalid_client", "the token's iss, sub and aud with its federated credential"},
        {azure, denied(400, "invalid_scope"), "invalid_scope", "ends in /.default"},
        {azure, page, "not a JSON object", "is credentials.k.authority_host the issuer's own?"},
        {vault, answer(400, R"({"errors":["invalid role or secret ID"]})"), "invalid role or secret ID (the login by approle)", "check what credentials.k.auth shows"},
        {vault, answer(404, R"({"errors":[]})"), "(the login by approle)", "Is that way to log in mounted there?"},
        {vault, page, "its body is not JSON", "is credentials.k.address the issuer's own?"},
        {vault, answer(403, R"({"errors":["permission denied"]})"), "permission denied", "Let a policy of the login read credentials.k.path", true},
        {vault, answer(404, R"({"errors":[]})"), "there is nothing at this path", "A value of KV version 2 has `data` in it", true},
        {vault, answer(200, R"({"data":{"other":"x"}})"), "there is no 'key' there, but other", "in credentials.k.field", true},
        {aws, sts("SignatureDoesNotMatch"), "SignatureDoesNotMatch", "Do access key and secret belong together"},
        {aws, sts("AccessDenied"), "AccessDenied", "Let the role's trust policy name who assumes it"},
        {aws, sts("ExpiredToken"), "ExpiredToken", "has ended"},
        {aws, page, "answered 200 but", "is credentials.k.sts_url right?"},
    };
    const Variable id("AWS_ACCESS_KEY_ID", "AKID"), key("AWS_SECRET_ACCESS_KEY", client_secret), session("AWS_SESSION_TOKEN");
    const TemporaryDirectory directory;
    const std::string pem = pem_of_key(KeyPtr(EVP_RSA_gen(2048)).get());
    directory.file("ca.pem", vendor_ca().pem());
    directory.file("key.pem", pem);
    directory.file("subject", client_secret);
    for (const Row& row : rows) {
        const FakeVendor issuer(row.logged_in ? after_login(row.response) : always(row.response), vendor_ca());
        const std::string url = "https://localhost:" + std::to_string(issuer.port());
        directory.file("google.json", R"({"type":"service_account","client_email":"me@p.test","private_key_id":"1","token_uri":")" + url + R"(/token","private_key":")" + on_one_line(pem) + "\"}");
        std::string credential = row.credential;
        for (const auto& [name, value] : {std::pair<std::string, std::string>{"@url", url}, {"@dir", directory.path()}})
            for (std::size_t at = 0; (at = credential.find(name, at)) != credential.npos;) credential.replace(at, name.size(), value);
        const Ran ran = sluice_command({"credential", "test", "k", "-c",
                                        directory.file("p.yaml", "version: 1\nstate: " + directory.path() + "/state\ncredentials:\n  k: {" + credential +
                                                                     ", addresses: [127.0.0.0/8, '::1/128'], tls: {ca: {file: " + directory.path() + "/ca.pem}}}\nvendors:\n  pay: {hosts: [pay.example], credential: k}\n")});
        INFO(row.credential << "\n" << ran.out << ran.err);
        CHECK(ran.code == 1);
        CHECK(holds(ran.err, row.what));
        CHECK(holds(ran.err, row.advice));
        CHECK_FALSE(holds(ran.out + ran.err, client_secret));
    }
}

TEST_CASE("what keeps an issuer from being asked is explained, with what to do") {
    const FakeVendor issuer(always(granted()), vendor_ca());
    const auto [but, what, advice] = GENERATE(table<std::vector<std::string>, std::string, std::string>({
        {{"token_url: https://localhost:1/token"}, "cannot be asked", "is the issuer up, and may Sluice reach it"},
        {{"token_url: https://no-such-host.invalid/token"}, "cannot be asked", "does DNS know it"},
        {{"-tls"}, "cannot be asked", "`tls: {ca: {file: /path/to/ca.pem}}`"},
        {{"client_secret: {file: /nonexistent/secret}"}, "cannot read /nonexistent/secret", ""},
    }));
    const Ran ran = Trial(issuer.port(), but).run();
    INFO(ran.out << ran.err);
    CHECK(ran.code == 1);
    CHECK(holds(ran.err, what));
    CHECK(holds(ran.err, advice));
}

TEST_CASE("an address that the policy has not opened is told with the key that opens it") {
    CredentialSpec spec;
    spec.name = "pay";
    spec.kind = OAuthSpec{};
    const IssuerCall refused{"POST", "https://auth.corp.example/token", 0, Reason::address_refused, {}, {}};
    CHECK(holds(advise(spec, "10.0.0.7 is private", {&refused, 1}), "write `addresses: [10.0.0.0/8]`"));
    CHECK(advise(spec, "cannot read /run/secrets/pay", {}).empty());
    CHECK(advise(spec, "127.0.0.1:15001 is not dialled: 127.0.0.1 is one of Sluice's own listeners", {&refused, 1}) ==
          "Sluice fetches nothing through itself: write where the issuer itself answers in credentials.pay.token_url.");
}

TEST_CASE("what a user would want to know of a credential that came is a warning") {
    const auto warned = [](const std::string& response, const std::string& vendors = vendors_yaml) {
        const FakeVendor issuer(always(response), vendor_ca());
        const Ran ran = Trial(issuer.port(), {}, vendors).run();
        CHECK(ran.code == 0);
        return ran.out;
    };
    CHECK(holds(warned(granted(",\"expires_in\":30")), "lives for 30s only"));
    CHECK(holds(warned(granted("")), "does not say how long it lives"));
    CHECK(holds(warned(granted(), ""), "no vendor uses it"));
    CHECK(holds(warned(answer(200, R"({"access_token":"short","token_type":"Bearer","expires_in":3600})")), "5 bytes is too short to be scrubbed"));
}

TEST_CASE("a credential that is read is tried too") {
    const TemporaryDirectory directory;
    const auto tried = [&](const std::string& credential) {
        return sluice_command({"credential", "test", "k", "-c", directory.file("p.yaml", "version: 1\nstate: " + directory.path() + "\ncredentials:\n  k: " + credential +
                                                                                            "\nvendors:\n  pay: {hosts: [api.pay.example], credential: k}\n")});
    };
    const Ran key = tried("{type: api_key, header: x-api-key, value: {file: " + directory.file("key", "a-key-that-nobody-must-see\n") + "}}");
    INFO(key.out << key.err);
    CHECK(key.code == 0);
    CHECK(holds(key.out, "a secret of 26 bytes"));
    CHECK(holds(key.out, "goes to   header x-api-key"));
    CHECK_FALSE(holds(key.out, "nobody-must-see"));
    CHECK(holds(tried("{type: bearer, value: {file: " + directory.file("short", "abc") + "}}").out, "3 bytes is too short to be scrubbed"));
    const Ran missing = tried("{type: bearer, value: {file: /nonexistent/key}}");
    CHECK(missing.code == 1);
    CHECK(holds(missing.err, "cannot read /nonexistent/key"));
    const Ran certificate = tried("{type: mtls, cert: {file: /nonexistent/cert.pem}, key: {file: /nonexistent/key.pem}}");
    CHECK(certificate.code == 1);
    CHECK(holds(certificate.err, "/nonexistent/cert.pem"));
}

TEST_CASE("a credential that is not there, or a bad policy, is told as other commands tell it") {
    const TemporaryDirectory directory;
    const std::string policy = directory.file("p.yaml", "version: 1\nstate: /x\ncredentials: {pay-key: {type: bearer, value: {env: X}}}\n");
    const Ran unknown = sluice_command({"credential", "test", "pay-kye", "-c", policy});
    CHECK(unknown.code == 2);
    CHECK(holds(unknown.err, "no credential \"pay-kye\" (did you mean 'pay-key'?)"));
    const Ran bad = sluice_command({"credential", "test", "k", "-c", directory.file("bad.yaml", "version: 1\ncredentails: {}\n")});
    CHECK(bad.code == 78);
    CHECK(holds(bad.err, "bad.yaml:2:1"));
}

TEST_CASE("a chain of refresh tokens goes on where a test has left it, and is left alone where a running Sluice has it") {
    Seen seen;
    std::atomic<int> number{0};
    const FakeVendor issuer(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                seen.add(*request);
                const std::string next = "refresh-token-" + std::to_string(++number);
                wire.write(granted(",\"expires_in\":3600,\"refresh_token\":\"" + next + "\""));
            }
        },
        vendor_ca());
    const std::vector<std::string> rotated = {"type: oauth2_refresh_token"};
    const auto with_refresh = [&](const std::string& directory) {
        auto lines = rotated;
        lines.push_back("refresh_token: {file: " + directory + "/refresh}");
        return lines;
    };
    TemporaryDirectory files;
    files.file("refresh", "first-refresh-token");
    const Trial trial(issuer.port(), with_refresh(files.path()));
    const Ran first = trial.run();
    INFO(first.out << first.err);
    CHECK(first.code == 0);
    CHECK(trial.run().code == 0);
    REQUIRE(seen.size() == 2);
    CHECK(holds(seen.all()[0].body, "refresh_token=first-refresh-token"));
    CHECK(holds(seen.all()[1].body, "refresh_token=refresh-token-1"));

    files.file("ca.pem", vendor_ca().pem());
    files.file("secret", client_secret);
    TestProxy proxy(credential_yaml(files.path(), issuer.port(), with_refresh(files.path())) + vendors_yaml);
    const std::string listen = "listen: {proxy: 127.0.0.1:0, admin: 127.0.0.1:" + std::to_string(proxy.admin_port()) + "}\n";
    const std::string running = proxy.directory().path() + "/policy.yaml";
    std::ifstream file(running);
    std::string policy{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = policy.find("listen:"), end = policy.find('\n', at);
    policy.replace(at, end - at + 1, listen);
    const std::string same = proxy.directory().file("same.yaml", policy);
    REQUIRE(eventually([&] { return seen.size() == 3; }));
    const Ran refused = sluice_command({"credential", "test", "pay", "-c", same});
    INFO(policy << refused.out << refused.err);
    CHECK(refused.code == 1);
    CHECK(holds(refused.err, "may look like theft"));
    CHECK(seen.size() == 3);
    CHECK(sluice_command({"credential", "test", "pay", "-c", same, "--force"}).code == 0);
    CHECK(seen.size() == 4);
}

TEST_CASE("readiness waits for a credential that is fetched before it is needed") {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    const FakeVendor issuer(
        [&](Wire& wire) {
            while (wire.read_request()) {
                std::unique_lock lock(mutex);
                changed.wait_for(lock, std::chrono::seconds(4), [&] { return open; });
                wire.write(granted());
            }
        },
        vendor_ca());
    TemporaryDirectory files;
    files.file("ca.pem", vendor_ca().pem());
    files.file("secret", client_secret);
    const bool eager = GENERATE(true, false);
    TestProxy proxy(credential_yaml(files.path(), issuer.port(), {eager ? "eager: true" : "eager: false"}) + vendors_yaml);
    const ListenAddress admin = *admin_address("127.0.0.1:" + std::to_string(proxy.admin_port()));
    const HttpReply first = http_get(admin, "/ready", 5s);
    CHECK(first.status == (eager ? 503 : 200));
    if (eager) CHECK(holds(first.body, "credential 'pay'"));
    {
        const std::lock_guard lock(mutex);
        open = true;
    }
    changed.notify_all();
    CHECK(eventually([&] { return http_get(admin, "/ready", 5s).status == 200; }));
}

TEST_CASE("a login for Vault is fetched by nobody, and nobody waits for it") {
    TestProxy proxy("credentials:\n  vault: {type: vault, address: \"https://vault.corp.example:8200\", auth: {token: {env: HOME}}}\n"
                    "  key: {type: bearer, value: {vault: \"kv/data/x#key\"}, eager: false}\n"
                    "vendors:\n  pay: {hosts: [api.pay.example], credential: key}\n");
    const std::string address = "127.0.0.1:" + std::to_string(proxy.admin_port());
    CHECK(http_get(*admin_address(address), "/ready", 5s).status == 200);
    CHECK_FALSE(holds(proxy.log(), "credential_fetch_failed"));
    const Ran status = sluice_command({"status", "--admin", address});
    CHECK(status.code == 0);
    CHECK(holds(status.out, "key (not fetched yet)"));
    const Ran tried = sluice_command({"credential", "test", "vault", "-c", proxy.directory().path() + "/policy.yaml"});
    CHECK(tried.code == 1);
    CHECK(holds(tried.err, "Test a credential that reads its secret from Vault with it"));
}

TEST_CASE("what is told of a fetched credential is when it ends, and never itself") {
    const FakeVendor issuer(always(granted()), vendor_ca());
    TemporaryDirectory files;
    files.file("ca.pem", vendor_ca().pem());
    files.file("secret", client_secret);
    TestProxy proxy(credential_yaml(files.path(), issuer.port()) +
                    "  later: {type: bearer, value: {file: /nonexistent/later}}\nvendors:\n"
                    "  pay: {hosts: [api.pay.example], credential: pay, routes: [{match: GET /later, credential: later}]}\n");
    const std::string address = "127.0.0.1:" + std::to_string(proxy.admin_port());
    const ListenAddress admin = *admin_address(address);
    REQUIRE(eventually([&] { return http_get(admin, "/ready", 5s).status == 200; }));
    const HttpReply vendors = http_get(admin, "/vendors", 5s);
    const auto told = json::parse(vendors.body).at("vendors").at(0);
    CHECK(told.at("credential").at("available") == true);
    CHECK(told.at("credential").at("expires").to_number<std::int64_t>() > told.at("credential").at("minted").to_number<std::int64_t>());
    CHECK(told.at("routes").at(0).at("credential").at("available") == false);
    for (const std::string& text : {vendors.body, http_get(admin, "/config", 5s).body, http_get(admin, "/metrics", 5s).body, proxy.log()}) {
        CHECK_FALSE(holds(text, token));
        CHECK_FALSE(holds(text, client_secret));
    }
    const Ran status = sluice_command({"status", "--admin", address});
    INFO(status.out << status.err);
    CHECK(status.code == 1);
    CHECK(holds(status.out, "pay (ends in "));
    CHECK(holds(status.out, "cannot read /nonexistent/later"));
    for (const Finding& finding : examine_catalogue(json::parse(vendors.body).at("vendors").as_array(), std::chrono::system_clock::now())) {
        CHECK(finding.health == Health::wrong);
        CHECK(holds(finding.what, "later is not available"));
        CHECK(holds(finding.fix, "sluice credential test later"));
    }
}
