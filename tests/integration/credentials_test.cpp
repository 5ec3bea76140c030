// Credentials that are fetched, in the real proxy: a token endpoint and a vendor that knows its tokens.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <semaphore>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/issuer.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

// Grants tok-1-SECRETSECRET, tok-2-... for client credentials, and rotates refresh tokens.
class TokenEndpoint {
  public:
    enum class Mood { good, waits, refuses, garbage, hangs };   // `waits` until the gate lets it

    TokenEndpoint() : vendor_([this](Wire& wire) { serve(wire); }, vendor_ca()) {}
    ~TokenEndpoint() {
        mood = Mood::refuses;
        gate.release(1000);
    }

    std::string yaml(const std::string& name, const std::string& more = "", const std::string& type = "oauth2_client_credentials") const {
        std::string yaml = "  " + name + ":\n    type: " + type + "\n    token_url: https://" + vendor_.authority() + "/token\n    client_id: us\n    client_secret: {file: @dir/client-secret}\n    addresses: [127.0.0.0/8, \"::1\"]\n    tls: {ca: {file: @dir/vendor-ca.crt}}\n";
        std::istringstream lines(more);
        for (std::string line; std::getline(lines, line);) yaml += "    " + line + "\n";
        return yaml;
    }
    bool knows(const std::string& token) const {
        const std::lock_guard lock(mutex_);
        return granted_.count(token) > 0;
    }
    void revoke_all() {
        const std::lock_guard lock(mutex_);
        granted_.clear();
    }
    std::vector<std::string> forms() const {
        const std::lock_guard lock(mutex_);
        return forms_;
    }
    std::string authority() const { return vendor_.authority(); }

    std::atomic<Mood> mood = Mood::good;
    std::counting_semaphore<> gate{0};
    std::atomic<int> lifetime = 3600, calls = 0;
    std::atomic<bool> rotates = false, worthless = false;   // `worthless`: the vendor does not take what is granted

  private:
    void serve(Wire& wire) {
        while (auto request = wire.read_request()) {
            const int call = ++calls;
            std::string status = "200 OK", body;
            switch (mood) {
            case Mood::waits: gate.acquire(); [[fallthrough]];
            case Mood::good: {
                const std::string token = "tok-" + std::to_string(call) + "-SECRETSECRET";
                const std::lock_guard lock(mutex_);
                forms_.push_back(request->field("authorization") + " " + request->body);
                if (!worthless) granted_.insert(token);
                body = "{\"access_token\":\"" + token + "\",\"token_type\":\"Bearer\",\"expires_in\":" + std::to_string(lifetime);
                if (rotates) body += ",\"refresh_token\":\"refresh-" + std::to_string(call) + "\"";
                body += "}";
                break;
            }
            case Mood::refuses:
                status = "401 Unauthorized";
                body = R"({"error":"invalid_client","error_description":"not s3cr3t-of-ours"})";
                break;
            case Mood::garbage: body = "<html>log in here</html>"; break;
            case Mood::hangs: wire.read_all(); return;
            }
            wire.write("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        }
    }

    mutable std::mutex mutex_;
    std::set<std::string> granted_;
    std::vector<std::string> forms_;
    FakeVendor vendor_;
};

// 200 to who shows a token that was granted, else `refusal`; says what it was shown.
FakeVendor::Serve guarded(const TokenEndpoint& endpoint, Seen* seen = nullptr, const std::string& refusal = "401 Unauthorized") {
    return [&endpoint, seen, refusal](Wire& wire) {
        while (auto request = wire.read_request()) {
            if (seen) seen->add(*request);
            const std::string shown = request->field("authorization");
            const bool good = shown.starts_with("Bearer ") && endpoint.knows(shown.substr(7));
            const std::string body = "you showed " + shown + " and said " + request->body;
            wire.write(std::string("HTTP/1.1 ") + (good ? "200 OK" : refusal) + "\r\nX-Shown: " + shown + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        }
    };
}

struct Setting {
    explicit Setting(const std::string& refusal = "401 Unauthorized") : vendor(guarded(endpoint, &seen, refusal), vendor_ca()) {}

    TokenEndpoint endpoint;
    Seen seen;
    FakeVendor vendor;

    std::string policy(const std::string& more_of_credential = "", const std::string& more_of_vendor = "", const std::string& type = "oauth2_client_credentials") const {
        return "credentials:\n" + endpoint.yaml("pay-oauth", more_of_credential, type) + "vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: pay-oauth\n" + more_of_vendor);
    }
};

// The secret must be there before the proxy is: its directory comes with it, so it is written by a reload.
void give_secret(const TestProxy& proxy) { proxy.directory().file("client-secret", "s3cr3t-of-ours\n"); }

bool answers(const TestProxy& proxy, unsigned status) {
    return eventually([&] { return proxy.get("pay.example").status() == status; });
}

}  // namespace

TEST_CASE("a token is fetched and attached; the application sees neither it nor the client's secret") {
    Setting setting;
    TestProxy proxy(setting.policy("scope: [a, b]\naudience: https://pay.example"));
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    const Message answer = proxy.get("pay.example", "/", "Authorization: Bearer of-the-application\r\n");
    CHECK(answer.status() == 200);
    CHECK(setting.seen.all().back().field("authorization").starts_with("Bearer tok-"));
    CHECK(answer.body.find("SECRET") == std::string::npos);
    CHECK(answer.body.starts_with("you showed Bearer ****"));
    CHECK(answer.field("x-shown").starts_with("Bearer ****"));
    CHECK(setting.endpoint.forms().at(0) == "Basic dXM6czNjcjN0LW9mLW91cnM= grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fpay.example");
    CHECK(proxy.logs(R"("event":"credential_minted","credential":"pay-oauth","type":"oauth2_client_credentials","subject":"us","scope":"a b","lifetime":"1h")"));
    CHECK(proxy.log().find("SECRET") == std::string::npos);
    CHECK(proxy.log().find("s3cr3t") == std::string::npos);
    CHECK(proxy.metric("sluice_credential_available{credential=\"pay-oauth\"}") == 1);
    CHECK(proxy.metric("sluice_credential_expiry_timestamp_seconds{credential=\"pay-oauth\"}") > 1.7e9);
    const double minted = proxy.metric("sluice_credential_minted_timestamp_seconds{credential=\"pay-oauth\"}");
    const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    CHECK(minted > now - 60);
    CHECK(minted <= now);
    CHECK(proxy.metric("sluice_credential_expiry_timestamp_seconds{credential=\"pay-oauth\"}") == Approx(minted + 3600).margin(0.01));
    CHECK(proxy.metric("sluice_credential_refresh_total{credential=\"pay-oauth\",result=\"ok\"}") == 1);
    const double failed = proxy.metric("sluice_credential_refresh_total{credential=\"pay-oauth\",result=\"failed\"}");   // until its secret was there
    CHECK(proxy.metric("sluice_credential_refresh_seconds_count{credential=\"pay-oauth\"}") == failed + 1);
    CHECK(proxy.metric("sluice_credential_refresh_seconds_sum{credential=\"pay-oauth\"}") > 0);
    CHECK(proxy.metric("sluice_scrubbed_secrets_total{vendor=\"pay\"}") >= 2);
}

TEST_CASE("a request waits for a token that is being fetched, and one that is fetched on demand is fetched by the first") {
    Setting setting;
    TestProxy proxy(setting.policy("eager: false"));
    give_secret(proxy);
    CHECK(setting.endpoint.calls == 0);
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(setting.endpoint.calls == 1);
}

TEST_CASE("many that wait on several workers cause one fetch", "[multi-worker]") {
    Setting setting;
    TestProxy proxy(setting.policy("eager: false"), 3);
    give_secret(proxy);
    std::vector<std::thread> applications;
    std::atomic<int> good = 0;
    for (int i = 0; i < 30; ++i) applications.emplace_back([&] { good += proxy.get("pay.example").status() == 200; });
    for (std::thread& application : applications) application.join();
    CHECK(good == 30);
    CHECK(setting.endpoint.calls == 1);
}

TEST_CASE("many that wait on several workers for a token that has ended cause one fetch, and are all served", "[multi-worker]") {
    Setting setting;
    setting.endpoint.lifetime = 2;
    TestProxy proxy(setting.policy(), 3);
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    setting.endpoint.mood = TokenEndpoint::Mood::waits;
    REQUIRE(eventually([&] { return proxy.metric("sluice_credential_available{credential=\"pay-oauth\"}") == 0; }));
    const std::size_t seen = setting.seen.size();
    const int calls = setting.endpoint.calls;   // with the one that waits
    setting.endpoint.lifetime = 3600;
    std::vector<std::thread> applications;
    std::atomic<int> begun = 0, good = 0;
    for (int i = 0; i < 60; ++i)
        applications.emplace_back([&] {
            ++begun;
            good += proxy.get("pay.example").status() == 200;
        });
    CHECK(eventually([&] { return begun == 60; }));
    CHECK(setting.seen.size() == seen);   // nobody with the one that has ended
    setting.endpoint.gate.release();
    for (std::thread& application : applications) application.join();
    CHECK(good == 60);
    CHECK(setting.endpoint.calls == calls);
}

TEST_CASE("tokens that end are renewed under load, and not one request fails", "[multi-worker]") {
    Setting setting;
    setting.endpoint.lifetime = 2;
    TestProxy proxy(setting.policy("", "retry: {max: 0}"), 2);
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    const int before = setting.endpoint.calls;
    std::atomic<int> good = 0, bad = 0;
    std::vector<std::thread> applications;
    for (int i = 0; i < 4; ++i)
        applications.emplace_back([&] {
            Wire wire = proxy.connected("pay.example");
            while (setting.endpoint.calls < before + 4) {
                wire.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
                const auto answer = wire.read_response();
                ++(answer && answer->status() == 200 ? good : bad);
            }
        });
    for (std::thread& application : applications) application.join();
    CHECK(bad == 0);
    CHECK(good > 100);
}

TEST_CASE("an issuer that fails leaves requests refused, closed and with the reason; it recovers by itself") {
    const auto [mood, words] = GENERATE(table<TokenEndpoint::Mood, std::string>({
        {TokenEndpoint::Mood::refuses, "answered 401 invalid_client: not **************"},
        {TokenEndpoint::Mood::garbage, "answered 200 but its body is not a JSON object"},
        {TokenEndpoint::Mood::hangs, "cannot be asked: "},
    }));
    Setting setting;
    setting.endpoint.mood = mood;
    TestProxy proxy(setting.policy("timeout: {first_byte: 200ms}"));
    give_secret(proxy);
    REQUIRE(eventually([&] { return proxy.get("pay.example").body.find(words) != std::string::npos; }));
    const Message refused = proxy.get("pay.example");
    CHECK(refused.status() == 503);
    CHECK(refused.reason() == "credential_unavailable");
    CHECK(refused.body.find("credential 'pay-oauth'") != std::string::npos);
    CHECK(refused.body.find("s3cr3t") == std::string::npos);
    CHECK(setting.seen.size() == 0);
    CHECK(proxy.logs("\"event\":\"credential_fetch_failed\""));
    CHECK(proxy.metric("sluice_credential_refresh_total{credential=\"pay-oauth\",result=\"failed\"}") >= 1);
    CHECK(proxy.metric("sluice_credential_refresh_total{credential=\"pay-oauth\",result=\"ok\"}") == 0);
    CHECK(proxy.metric("sluice_credential_available{credential=\"pay-oauth\"}") == 0);
    CHECK(proxy.metric("sluice_credential_minted_timestamp_seconds{credential=\"pay-oauth\"}") == -1);   // there is none
    setting.endpoint.mood = TokenEndpoint::Mood::good;
    CHECK(answers(proxy, 200));
    CHECK(proxy.log().find("s3cr3t") == std::string::npos);
}

TEST_CASE("a token that the vendor refuses is renewed once, and the request sent again with its body") {
    const std::string method = GENERATE("POST", "PUT");   // that may be done twice, and so might have had another one beside it
    Setting setting;
    TestProxy proxy(setting.policy("", "hedge: {after: 10s}\n"));
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    setting.endpoint.revoke_all();
    Wire wire = proxy.connected("pay.example");
    wire.write(method + " /charges HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 5\r\n\r\nmoney");
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 200);
    CHECK(answer->body.ends_with("and said money"));
    CHECK(answer->field("sluice-attempts") == "2");
    CHECK(setting.endpoint.calls == 2);
}

TEST_CASE("a token that the vendor refuses is renewed though the request's body is not at hand to be sent again, and not again and again") {
    Setting setting;
    TestProxy proxy(setting.policy());
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    Wire wire = proxy.connected("pay.example");
    const auto post = [&wire] {
        wire.write("POST /charges HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'm'));
        return wire.read_response().value_or(Message{});
    };
    setting.endpoint.revoke_all();
    const Message refused = post();
    CHECK(refused.status() == 401);
    CHECK(refused.field("sluice-attempts") == "1");
    CHECK(eventually([&] { return post().status() == 200; }));
    CHECK(setting.endpoint.calls == 2);

    setting.endpoint.worthless = true;   // whatever is fetched is refused
    setting.endpoint.revoke_all();
    for (int i = 0; i < 50; ++i) CHECK(post().status() == 401);
    CHECK(setting.endpoint.calls <= 2 + 4);   // a second's rest, then two ...
}

TEST_CASE("what `refresh_on` names is a refusal, and nothing else is") {
    const auto [status, words, renewed] = GENERATE(table<std::string, std::string, bool>({
        {"403 Forbidden", "refresh_on: [403, 498]", true},
        {"498 Token expired", "refresh_on: [403, 498]", true},
        {"401 Unauthorized", "refresh_on: [403, 498]", false},
        {"403 Forbidden", "", false},
        {"401 Unauthorized", "refresh_on: []", false},
    }));
    Setting setting(status);
    TestProxy proxy(setting.policy(words));
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    setting.endpoint.revoke_all();
    const Message answer = proxy.get("pay.example");
    INFO(status << " " << words);
    CHECK(answer.status() == (renewed ? 200u : static_cast<unsigned>(std::stoi(status))));
    CHECK(answer.field("sluice-attempts") == (renewed ? "2" : "1"));
    CHECK(setting.endpoint.calls == (renewed ? 2 : 1));
}

TEST_CASE("a refused token whose issuer is down, or whose next is refused too, ends in the vendor's own 401") {
    Setting setting;
    TestProxy proxy(setting.policy());
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    SECTION("down") { setting.endpoint.mood = TokenEndpoint::Mood::garbage; }
    SECTION("refused again") { setting.endpoint.worthless = true; }
    setting.endpoint.revoke_all();
    const Message answer = proxy.get("pay.example");
    CHECK(answer.status() == 401);
    CHECK(answer.body.starts_with("you showed Bearer ***"));
}

TEST_CASE("a token that was renewed within the exchange is masked in the answer as well") {
    TokenEndpoint endpoint;
    std::string all;   // on the vendor's one connection
    FakeVendor vendor(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                const std::string shown = request->field("authorization");
                all += shown + "; ";
                const bool good = endpoint.knows(shown.substr(std::min<std::size_t>(7, shown.size())));
                wire.write(std::string("HTTP/1.1 ") + (good ? "200 OK" : "401 Unauthorized") + "\r\nContent-Length: " + std::to_string(all.size()) + "\r\n\r\n" + all);
            }
        },
        vendor_ca());
    TestProxy proxy("credentials:\n" + endpoint.yaml("pay-oauth") + "vendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: pay-oauth"));
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    endpoint.revoke_all();
    const Message answer = proxy.get("pay.example");
    CHECK(answer.status() == 200);
    CHECK(answer.body.find("SECRETSECRET") == std::string::npos);
    CHECK(answer.body.find("Bearer ******************; Bearer ******************; ") != std::string::npos);
}

TEST_CASE("when the vendor sees a token, the refresh token that came beside it is on disk already") {
    TokenEndpoint endpoint;
    endpoint.rotates = true;
    std::string kept;   // where; known before the first token is
    std::vector<std::string> seen;
    const FakeVendor vendor(
        [&](Wire& wire) {
            while (auto request = wire.read_request()) {
                std::ifstream file(kept);
                const std::string text((std::istreambuf_iterator<char>(file)), {});
                const std::string token = request->field("authorization");   // Bearer tok-N-...
                const std::string number = token.substr(std::min<std::size_t>(11, token.size()), token.rfind('-') - 11);
                seen.push_back(text.find("\"refresh_token\":\"refresh-" + number + "\"") != text.npos ? "kept" : token + " came with " + text);
                const bool good = endpoint.knows(token.substr(7));
                wire.write(std::string("HTTP/1.1 ") + (good ? "200 OK" : "401 Unauthorized") + "\r\nContent-Length: 0\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy("credentials:\n" + endpoint.yaml("pay-oauth", "refresh_token: {file: @dir/first}\neager: false", "oauth2_refresh_token") + "vendors:\n" +
                    vendor_yaml("pay", "pay.example", vendor, true, "credential: pay-oauth"));
    kept = proxy.directory().path() + "/state/refresh/pay-oauth.json";
    proxy.directory().file("first", "refresh-0");
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    Wire wire = proxy.connected("pay.example");
    for (int i = 0; i < 3; ++i) {
        endpoint.revoke_all();
        wire.write("GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n");
        const auto answer = wire.read_response();
        REQUIRE(answer);
        if (answer->status() == 200) continue;
        CHECK(answer->status() == 401);   // asked for another one less than a second after the one before
    }
    REQUIRE(endpoint.calls >= 2);
    for (const std::string& what : seen) CHECK(what == "kept");
}

TEST_CASE("an issuer is not asked with a refresh token whose successor could not be kept") {
    Setting setting;
    setting.endpoint.rotates = true;
    TestProxy proxy(setting.policy("refresh_token: {file: @dir/first}\neager: false", "", "oauth2_refresh_token"));
    const std::string place = proxy.directory().path() + "/state/refresh";
    std::ofstream(place) << "no directory";   // root may write anywhere else
    proxy.directory().file("first", "refresh-0");
    give_secret(proxy);
    const Message refused = proxy.get("pay.example");
    CHECK(refused.status() == 503);
    CHECK(refused.reason() == "credential_unavailable");
    CHECK(refused.body.find("its rotated refresh token cannot be kept in " + place + "/pay-oauth.json: Not a directory; let uid ") != std::string::npos);
    CHECK(setting.endpoint.calls == 0);
    CHECK(proxy.logs("\"event\":\"credential_fetch_failed\""));
    CHECK(proxy.metric("sluice_credential_refresh_total{credential=\"pay-oauth\",result=\"failed\"}") >= 1);

    std::filesystem::remove(place);
    REQUIRE(answers(proxy, 200));
    CHECK(setting.endpoint.forms().at(0).ends_with("refresh_token=refresh-0"));   // which was not spent
    CHECK(setting.endpoint.calls == 1);
}

TEST_CASE("a rotated refresh token is on disk before its access token is used, and outlives the process") {
    Setting setting;
    setting.endpoint.rotates = true;
    const std::string policy = setting.policy("refresh_token: {file: @dir/first}\n", "", "oauth2_refresh_token");
    TestProxy proxy(policy);
    proxy.directory().file("first", "refresh-0");
    give_secret(proxy);
    REQUIRE(answers(proxy, 200));
    const auto forms = setting.endpoint.forms();
    CHECK(forms.at(0).ends_with("grant_type=refresh_token&refresh_token=refresh-0"));
    std::string kept;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(proxy.directory().path()))
        if (entry.path().filename() == "pay-oauth.json") {
            kept = entry.path();
            CHECK((entry.status().permissions() & std::filesystem::perms::all) == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
        }
    REQUIRE_FALSE(kept.empty());
    std::ifstream file(kept);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    CHECK(text.find("\"refresh_token\":\"refresh-1\"") != std::string::npos);
    CHECK(text.find("refresh-0") == std::string::npos);
    setting.endpoint.revoke_all();
    CHECK(proxy.get("pay.example").status() == 200);
    CHECK(setting.endpoint.forms().at(1).ends_with("refresh_token=refresh-1"));
}

TEST_CASE("a process that is to end waits for the answer to a refresh token, and keeps what comes in it") {
    TokenEndpoint endpoint;
    endpoint.rotates = true;
    endpoint.mood = TokenEndpoint::Mood::waits;
    const TemporaryDirectory secrets;
    OAuthSpec spec;
    spec.grant = OAuthSpec::Grant::refresh_token;
    spec.token_url = {Scheme::https, *parse_authority(endpoint.authority(), 443), "/token"};
    spec.client.client_id = "us";
    spec.refresh_token = {SecretSource::Kind::file, secrets.file("first", "refresh-0"), {}, {}};
    IssuerRig rig(spec);
    std::thread late;
    rig.while_kept([&] {
        CHECK(eventually([&] { return endpoint.calls == 1; }));
        late = std::thread([&] {
            std::this_thread::sleep_for(1300ms);   // longer than whatever else is under way is given
            endpoint.gate.release();
        });
    });
    late.join();
    std::ifstream file(rig.state() + "/refresh/x.json");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    CHECK(text.find("\"refresh_token\":\"refresh-1\"") != std::string::npos);
}

TEST_CASE("the secret before the last rotation is tried when the new one is refused, and told of") {
    Seen seen;
    FakeVendor vendor(
        [&seen](Wire& wire) {
            while (auto request = wire.read_request()) {
                seen.add(*request);
                const bool good = request->field("authorization") == "Bearer the-old-secret";
                wire.write(std::string("HTTP/1.1 ") + (good ? "200 OK" : "401 Unauthorized") + "\r\nContent-Length: 0\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy("credentials:\n  k: {type: bearer, value: {file: @dir/new}, overlap: {secret: {file: @dir/old}}}\nvendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: k"));
    proxy.directory().file("old", "the-old-secret");
    proxy.directory().file("new", "the-new-secret");
    REQUIRE(answers(proxy, 200));
    CHECK(proxy.logs("the vendor refuses the new secret, and still takes the one before it (overlap)"));
    const std::size_t before = seen.size();
    CHECK(proxy.get("pay.example").status() == 200);   // for a while the old one comes first
    CHECK(seen.size() == before + 1);
}

TEST_CASE("a placeholder is replaced where the application put it, and one that is required must be there") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy("credentials:\n  k: {type: bearer, value: {file: @dir/key}, placeholder: PLACE-HOLDER, require: true}\nvendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: k"));
    proxy.directory().file("key", "s3cr3t-key-of-ours");
    REQUIRE(eventually([&] { return proxy.get("pay.example", "/a?k=PLACE-HOLDER", "X-Key: PLACE-HOLDER\r\n").status() == 200; }));
    CHECK(seen.all().back().start_line == "GET /a?k=s3cr3t-key-of-ours HTTP/1.1");
    CHECK(seen.all().back().field("x-key") == "s3cr3t-key-of-ours");
    REQUIRE(proxy.get("pay.example", "/a", "Authorization: Bearer PLACE-HOLDER\r\nAuthorization: Bearer own\r\n").status() == 200);
    CHECK(seen.all().back().count("authorization") == 1);   // what else stands in the credential's own place is the application's own
    CHECK(seen.all().back().field("authorization") == "Bearer s3cr3t-key-of-ours");
    const std::size_t before = seen.size();
    const Message refused = proxy.get("pay.example", "/a");
    CHECK(refused.status() == 403);
    CHECK(refused.reason() == "not_allowed");
    CHECK(seen.size() == before);
}

TEST_CASE("a route's narrower credential is attached instead of its vendor's") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy("credentials:\n  wide: {type: bearer, value: {file: @dir/wide}}\n  narrow: {type: bearer, value: {file: @dir/narrow}}\nvendors:\n" +
                    vendor_yaml("pay", "pay.example", vendor, true, "credential: wide\nroutes: [{match: \"GET /refunds\", credential: narrow}]"));
    proxy.directory().file("wide", "the-wide-secret");
    proxy.directory().file("narrow", "the-narrow-secret");
    REQUIRE(answers(proxy, 200));
    REQUIRE(eventually([&] { return proxy.get("pay.example", "/refunds").status() == 200; }));
    CHECK(seen.all().back().field("authorization") == "Bearer the-narrow-secret");
    CHECK(proxy.get("pay.example", "/charges").status() == 200);
    CHECK(seen.all().back().field("authorization") == "Bearer the-wide-secret");
}

TEST_CASE("who waits for a token holds no place of a rate meanwhile, and what waited goes no faster than the rate") {
    Setting setting;
    setting.endpoint.mood = TokenEndpoint::Mood::waits;
    TestProxy proxy(setting.policy("eager: false", "limit: {name: calls, rate: 1/h, burst: 2}\ntimeout: {total: 1m}\n"));
    give_secret(proxy);
    const auto left = [&] { return proxy.metric(R"(sluice_limit_remaining{vendor="pay",limit="calls.rate"})"); };
    std::vector<std::thread> applications;
    std::atomic<int> sent = 0, refused = 0;
    for (int i = 0; i < 2; ++i) {
        applications.emplace_back([&] {
            const Message answer = proxy.get("pay.example");
            if (answer.status() == 200) ++sent;
            if (answer.status() == 429) ++refused;
        });
    }
    const bool waiting = eventually([&] { return setting.endpoint.calls == 1 && proxy.metric(R"(sluice_inflight{vendor="pay"})") == 2; });
    const bool given_back = eventually([&] { return left() == 2; });
    setting.endpoint.gate.release();
    for (std::thread& application : applications) application.join();
    CHECK(waiting);
    CHECK(given_back);
    CHECK(sent == 2);
    CHECK(refused == 0);
    CHECK(left() == 0);
    CHECK(proxy.get("pay.example").status() == 429);
}
