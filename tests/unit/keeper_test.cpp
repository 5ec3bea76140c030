// The keeper in virtual time: a clock that jumps, and an issuer that does what the test says.
#include "proxy/issuers/keeper.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "proxy/base/codec.hpp"
#include "proxy/exchange/response_body.hpp"
#include "proxy/issuers/desk.hpp"
#include "proxy/issuers/refresh_flight.hpp"
#include "tests/support/virtual_time.hpp"

using namespace sluice;

namespace {

// A token endpoint: each answer takes its time.
class Issuer final : public Transport {
  public:
    explicit Issuer(test::VirtualTime& time) : time_(time) {}

    Task<Result<void>> round_trip(RoundTrip& trip) override {
        ++calls;
        ++under_way;
        if (trip.request_body) asked = (*trip.request_body->next_ready())->data;
        most_at_once = std::max(most_at_once, under_way);
        Wakeup wakeup;
        co_await time_.wait(wakeup, later(time_.now(), takes));
        --under_way;
        if (down) co_return Failure{Origin::vendor, Reason::connect_failed, Replay::safe, "connection refused"};
        trip.response->status = status;
        if (!retry_after.empty()) trip.response->fields.add("Retry-After", retry_after);
        body_.hold(answer.empty() ? "{\"access_token\":\"access-token-" + std::to_string(calls) + "\",\"expires_in\":" + expires_in + "}" : answer);
        trip.response_body = &body_;
        co_return Result<void>{};
    }
    Task<Result<void>> open_stream(RoundTrip&) override { co_return Failure{}; }
    Task<void> finish(RoundTrip&) override { co_return; }
    void abort(RoundTrip&) override {}

    Duration takes = 100ms;
    bool down = false;
    unsigned status = 200;
    std::string answer, expires_in = "100";
    std::string asked;   // the last body that came
    std::string retry_after;
    unsigned calls = 0, under_way = 0, most_at_once = 0;

  private:
    test::VirtualTime& time_;
    WholeBody body_;
};

CredentialSpec client(std::string name, bool eager = true) {
    CredentialSpec spec;
    spec.name = std::move(name);
    OAuthSpec oauth;
    oauth.token_url = {Scheme::https, {"auth.example", 443, false}, "/token"};
    oauth.client.kind = ClientAuthSpec::Kind::none;
    oauth.client.client_id = "us";
    spec.kind = oauth;
    spec.rules.eager = eager;
    spec.issuer = 0;
    return spec;
}

struct World {
    test::VirtualTime time;
    Issuer issuer{time};
    CredentialBoard board;
    std::vector<std::string> told;
    RefreshFlights flights;
    IssuerTools tools{time, issuer, flights, ""};
    CredentialKeeper keeper{tools, board, [](Task<void> task) { spawn(std::move(task)); },
                            [this](const KeeperNotice& notice) { 
                                told.push_back(std::string(name_of(notice.kind)) + ' ' + std::string(notice.detail));
                                if (notice.kind != KeeperNotice::Kind::minted) return;
                                whys.push_back(name_of(notice.why));
                                minted.push_back(notice);
                            }};
    std::vector<std::string_view> whys;   // of each that was minted
    std::vector<KeeperNotice> minted;     // without what only views
    CredentialSlots slots;
    DeskTable table;
    std::shared_ptr<Desk> desk;

    explicit World(std::vector<CredentialSpec> specs) {
        board.subscribe([this](const CredentialSlots& changed) { time.post([this, changed] { table.refresh(changed); }); });
        follow(std::move(specs));
    }
    ~World() {
        time.at_once([&] { keeper.stop([] {}); });
        time.run_for(1h);   // what is under way ends
    }

    void follow(std::vector<CredentialSpec> specs) {
        auto config = std::make_shared<Config>();
        for (std::size_t i = 0; i < specs.size(); ++i) specs[i].index = i;
        config->credentials = std::move(specs);
        config->issuers.emplace_back();
        slots = carry_over(*config, slots);
        desk = std::make_shared<Desk>(table, slots, &keeper);
        time.at_once([&] { keeper.follow(config, nullptr, slots); });
    }
    std::shared_ptr<const CredentialState> state(std::size_t index = 0) const { return slots.at(index)->state(); }
    // As a request would find it: "" for nothing at hand.
    std::string value(std::size_t index = 0) const {
        const auto now = state(index);
        if (!now->attachment || time.now() >= now->usable_until) return {};
        return std::string(std::get<FixedValue>(now->attachment->how).value.reveal());
    }
};

}  // namespace

TEST_CASE("an eager credential is fetched at once, and renewed before its end for as long as it is wanted") {
    World world({client("pay")});
    CHECK(world.state()->coming);
    world.time.run_for(100ms);
    CHECK(world.value() == "Bearer access-token-1");
    CHECK(world.state()->expires);
    std::set<std::string> seen;
    for (int i = 0; i < 10'000; ++i) {
        world.time.run_for(100ms);
        REQUIRE_FALSE(world.value().empty());
        seen.insert(world.value());
    }
    CHECK(seen.size() >= 1000 / 70);
    CHECK(seen.size() <= 1000 / 55);   // each lives from 62.5 s (spread) to 70 s
    CHECK(world.issuer.most_at_once == 1);
}

TEST_CASE("one that is fetched on demand waits for the first who wants it") {
    World world({client("pay", false)});
    world.time.run_for(1h);
    CHECK(world.issuer.calls == 0);
    CHECK(world.state()->idle);
    CredentialWait wait;
    world.time.at_once([&] { world.desk->wait_for(0, wait); });
    world.time.run_for(100ms);
    CHECK(world.value() == "Bearer access-token-1");
}

TEST_CASE("each mint says why: before anybody needed it, because somebody waited, ahead of its end, or since a vendor refused it") {
    const bool eager = GENERATE(false, true);
    World world({client("pay", eager)});
    CredentialWait wait;
    world.time.at_once([&] { world.desk->wait_for(0, wait); });
    world.time.run_for(1s);
    world.time.run_for(75s);
    world.time.at_once([&] { world.desk->refused(0, world.state()->serial); });
    world.time.run_for(5s);
    CHECK(world.whys == std::vector<std::string_view>{eager ? "eager" : "wanted", "renewal", "refused"});
}

TEST_CASE("10,000 that wait for one token cause one fetch, and are all told") {
    const bool expired = GENERATE(false, true);
    CAPTURE(expired);
    World world({client("pay", expired)});
    if (expired) {   // its renewal is under way for so long that its end comes first
        world.time.run_for(1s);
        world.issuer.takes = 40s;
        world.time.run_until(world.time.now() + 99s);
        REQUIRE(world.value().empty());
        REQUIRE(world.issuer.under_way == 1);
    }
    std::size_t ready = 0;
    const auto waiter = [&world, &ready](CredentialWait& wait) -> Task<void> {
        co_await wait.wakeup.wait();
        // The first news may be that it is being fetched.
        while (world.value().empty()) {
            world.desk->wait_for(0, wait);
            co_await wait.wakeup.wait();
        }
        ++ready;
    };
    std::vector<std::unique_ptr<CredentialWait>> waits;
    for (int i = 0; i < 10'000; ++i) {
        waits.push_back(std::make_unique<CredentialWait>());
        spawn(waiter(*waits.back()));
        world.time.at_once([&] { world.desk->wait_for(0, *waits.back()); });
    }
    for (int i = 0; i < 40 && ready == 0; ++i) world.time.run_for(1s);
    CHECK(ready == 10'000);
    CHECK(world.issuer.calls == (expired ? 2 : 1));
}

TEST_CASE("whatever is wrong with an issuer, under load requests are served to the token's end, then refused within their deadline, and served again") {
    struct Fault {
        const char* name;
        void (*set)(Issuer&);
    };
    const Fault fault = GENERATE(Fault{"down", [](Issuer& issuer) { issuer.down = true; }}, Fault{"slow", [](Issuer& issuer) { issuer.takes = 150s; }},
                                 Fault{"huge", [](Issuer& issuer) { issuer.answer = std::string(1024 * 1024 + 1, ' '); }}, Fault{"not JSON", [](Issuer& issuer) { issuer.answer = "<html>"; }},
                                 Fault{"over already", [](Issuer& issuer) { issuer.answer = R"({"access_token":"access-token-x","expires_in":-1})"; }},
                                 Fault{"over soon", [](Issuer& issuer) { issuer.answer = R"({"access_token":"access-token-x","expires_in":0.2})"; }});
    CAPTURE(fault.name);
    constexpr auto patience = 1500ms;
    World world({client("pay")});
    world.time.run_for(1s);
    fault.set(world.issuer);

    unsigned served = 0, refused = 0, asked = 0;
    Duration longest{};
    const auto request = [&]() -> Task<void> {
        const TimePoint began = world.time.now(), deadline = later(began, patience);
        bool good = true;
        while (good && world.value().empty()) {
            const auto state = world.desk->current(0);
            CredentialWait wait;
            good = (state->coming || state->attachment) && world.time.now() < deadline;
            if (!good) break;
            world.desk->wait_for(0, wait);
            co_await world.time.wait(wait.wakeup, deadline);
        }
        ++(good ? served : refused);
        longest = std::max<Duration>(longest, world.time.now() - began);
    };
    const auto load_for = [&](Duration time) {
        served = refused = asked = 0;
        for (const TimePoint end = world.time.now() + time; world.time.now() < end; world.time.run_for(100ms)) {
            for (int i = 0; i < 10; ++i, ++asked) world.time.at_once([&] { spawn(request()); });
        }
        world.time.run_for(patience);
        CHECK(served + refused == asked);
    };
    load_for(90s);
    CHECK(served == asked);
    world.time.run_for(10s);   // its end
    load_for(60s);
    CHECK(refused == asked);
    CHECK(longest <= patience);
    CHECK(world.issuer.most_at_once == 1);
    world.issuer.down = false;
    world.issuer.answer.clear();
    world.issuer.takes = 100ms;
    world.time.run_for(160s);   // what is slow has still to end
    load_for(20s);
    CHECK(served == asked);
}

TEST_CASE("answers are searched for a token's predecessor too, until it is replaced itself") {
    World world({client("pay")});
    world.issuer.expires_in = "3600";
    const auto masked = [&](std::string text) {
        world.state()->needles->mask(text);
        return text;
    };
    const auto renew = [&] {
        world.time.at_once([&] { CHECK(world.desk->refused(0, world.state()->serial)); });
        world.time.run_for(10min);   // who is refused again and again has to wait
    };
    world.time.run_for(1s);
    CHECK(masked("access-token-1 access-token-2") == "************** access-token-2");
    renew();
    REQUIRE(world.value() == "Bearer access-token-2");
    CHECK(masked("access-token-1 access-token-2") == "************** **************");
    renew();
    REQUIRE(world.value() == "Bearer access-token-3");
    CHECK(masked("access-token-1 access-token-2 access-token-3") == "access-token-1 ************** **************");
}

TEST_CASE("a token that is too short to be searched for is told of, once") {
    World world({client("pay")});
    world.issuer.answer = R"({"access_token":"short","expires_in":60})";
    world.time.run_for(10min);
    CHECK(world.issuer.calls > 5);
    const std::string told = "note a secret of it is shorter than 8 bytes: answers are not searched for it, because it would be found by chance";
    CHECK(std::count(world.told.begin(), world.told.end(), told) == 1);
}

TEST_CASE("while the issuer is down the token at hand is used to its end, then requests fail closed, and recovery needs nobody") {
    World world({client("pay")});
    world.time.run_for(100ms);
    world.issuer.down = true;
    world.time.run_until(world.time.now() + 99s);   // asked for at 0: usable until 99.75 s
    CHECK(world.value() == "Bearer access-token-1");
    CHECK(world.issuer.calls > 5);
    world.time.run_for(1s);
    CHECK(world.value().empty());
    CHECK_FALSE(world.state()->attachment);
    CHECK(world.state()->fault.find("https://auth.example/token cannot be asked: connection refused") != std::string::npos);
    const unsigned before = world.issuer.calls;
    world.time.run_for(100s);
    CHECK(world.issuer.calls - before >= 18);   // one in 2.6 to 5.1 s
    CHECK(world.issuer.calls - before <= 40);
    world.issuer.down = false;
    world.time.run_for(6s);
    CHECK(world.value().starts_with("Bearer access-token-"));
    CHECK(world.told.back() == "minted ");
}

TEST_CASE("whatever an issuer says instead of a token, what is at hand stays and nothing else is believed") {
    const auto [status, answer] = GENERATE(table<unsigned, std::string>({
        {500, "down"},
        {200, "<html>welcome</html>"},
        {200, "{}"},
        {200, R"({"access_token":"late","expires_in":0})"},
        {200, R"({"access_token":"late","expires_in":-5})"},
        {200, R"({"access_token":"bad\r\nX-Evil: 1","expires_in":60})"},
        {302, ""},
        {401, R"({"error":"invalid_client"})"},
        {200, std::string(1024 * 1024 + 1, ' ')},
    }));
    World world({client("pay")});
    world.time.run_for(100ms);
    world.issuer.status = status;
    world.issuer.answer = answer;
    world.time.run_for(90s);
    CHECK(world.value() == "Bearer access-token-1");
    CHECK(world.told.size() > 2);
    for (std::size_t i = 1; i < world.told.size(); ++i) CHECK(world.told[i].starts_with("failed credential 'pay'"));
    world.time.run_for(20s);
    CHECK(world.value().empty());
    world.issuer.status = 200;
    world.issuer.answer.clear();
    world.time.run_for(6s);
    CHECK(world.value().starts_with("Bearer access-token-"));
}

TEST_CASE("an issuer that is slow is asked by one at a time, and a token that came too late is no token") {
    World world({client("pay")});
    world.issuer.takes = 30s;
    world.issuer.expires_in = "20";
    world.time.run_for(10min);
    CHECK(world.value().empty());
    CHECK(world.issuer.most_at_once == 1);
    CHECK(world.state()->fault.find("has ended already") != std::string::npos);
}

TEST_CASE("a token that a vendor refuses is renewed once, however many say so") {
    World world({client("pay")});
    world.issuer.expires_in = "3600";
    world.time.run_for(10s);
    const std::uint64_t serial = world.state()->serial;
    world.time.at_once([&] {
        for (int i = 0; i < 1000; ++i) CHECK(world.desk->refused(0, serial));
    });
    world.time.run_for(1s);
    CHECK(world.issuer.calls == 2);
    CHECK(world.value() == "Bearer access-token-2");
    // Late news of the old one is no news.
    const std::uint64_t flights = world.state()->flights;
    world.time.at_once([&] { CHECK(world.desk->refused(0, serial)); });
    world.time.run_for(1s);
    CHECK(world.issuer.calls == 2);
    CHECK(world.state()->flights > flights);   // but whoever waits is told
}

TEST_CASE("a credential that a reload leaves alone is not fetched again, and one that is gone is fetched no more") {
    World world({client("pay"), client("gone")});
    world.time.run_for(1s);
    CHECK(world.issuer.calls == 2);
    const std::string value = world.value(0);
    world.follow({client("new"), client("pay")});
    world.time.run_for(1s);
    CHECK(world.issuer.calls == 3);
    CHECK(world.value(1) == value);
    world.time.run_for(600s);
    CHECK(world.issuer.calls <= 3 + 2 * 600 / 60);
}

TEST_CASE("what an issuer repeats of a secret is not told") {
    World world({client("pay")});
    setenv("SLUICE_TEST_CLIENT_SECRET", "s3cr3t-of-the-client", 1);
    CredentialSpec spec = client("other");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    oauth.client.kind = ClientAuthSpec::Kind::secret_post;
    oauth.client.secret = {SecretSource::Kind::environment, "SLUICE_TEST_CLIENT_SECRET"};
    world.issuer.status = 400;
    world.issuer.answer = R"({"error":"invalid_request","error_description":"what is s3cr3t-of-the-client?"})";
    world.follow({spec});
    world.time.run_for(1s);
    CHECK(world.state()->fault.find("400 invalid_request: what is ********************?") != std::string::npos);
}

TEST_CASE("in whatever encoding an issuer repeats a secret, and where it repeats a token, it is not told") {
    setenv("SLUICE_TEST_CLIENT_SECRET", "s3cr3t/of+the client", 1);
    CredentialSpec spec = client("other");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    oauth.client.kind = ClientAuthSpec::Kind::secret_basic;
    oauth.client.client_id = "id";
    oauth.client.secret = {SecretSource::Kind::environment, "SLUICE_TEST_CLIENT_SECRET"};
    const std::pair<const char*, const char*> repeats[] = {
        {"aWQ6czNjcjN0JTJGb2YlMkJ0aGUrY2xpZW50", "I0JTJGb2YlMkJ0aGU"},   // id:secret, both form-encoded, in base64
        {"s3cr3t%2Fof%2Bthe+client", "of%2Bthe"},
        {"7333637233742f6f662b74686520636c69656e74", "2f6f662b7468652063"},
    };
    for (const auto& [said, part] : repeats) {
        CAPTURE(said);
        World world({spec});
        world.issuer.status = 400;
        world.issuer.answer = std::string(R"({"error":"invalid_request","error_description":"what is )") + said + "?\"}";
        world.time.run_for(1s);
        CHECK(world.state()->fault.find("what is ") != std::string::npos);
        CHECK(world.state()->fault.find(part) == std::string::npos);
    }
    World world({spec});
    world.issuer.answer = R"({"access_token":"a-access-token-of-somebody","token_type":"a-access-token-of-somebody"})";
    world.time.run_for(1s);
    CHECK(world.state()->fault.find("not Bearer") != std::string::npos);
    CHECK(world.state()->fault.find("somebody") == std::string::npos);
}

TEST_CASE("a secret is not told as it stood in the form either, whatever encodes it again") {
    setenv("SLUICE_TEST_CLIENT_SECRET", "s3cr3t+of/the=client", 1);
    CredentialSpec spec = client("other");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    const bool exchanged = GENERATE(false, true);
    if (exchanged) {
        oauth.grant = OAuthSpec::Grant::token_exchange;
        oauth.subject_token = {SecretSource::Kind::environment, "SLUICE_TEST_CLIENT_SECRET"};
    } else {
        oauth.client.kind = ClientAuthSpec::Kind::secret_post;
        oauth.client.secret = {SecretSource::Kind::environment, "SLUICE_TEST_CLIENT_SECRET"};
    }
    World world({spec});
    world.issuer.status = 401;
    const std::string pair = "client_secret=s3cr3t%2Bof%2Fthe%3Dclient", part = "s3cr3t%2Bof%2Fthe%3D";
    std::string said;
    append_base64(said, pair);
    world.issuer.answer = R"({"error":"invalid_client","error_description":"bad )" + said + "\"}";
    world.time.run_for(1s);
    REQUIRE(world.issuer.asked.find(part) != std::string::npos);
    CHECK(world.state()->fault.find("bad ") != std::string::npos);
    CHECK(world.state()->fault.find(said.substr(24, 24)) == std::string::npos);
}

TEST_CASE("what an issuer repeats of a secret in what it grants is not told") {
    setenv("SLUICE_TEST_CLIENT_SECRET", "client-secret+of/oauth=1", 1);
    CredentialSpec spec = client("pay");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    oauth.client.kind = ClientAuthSpec::Kind::secret_post;
    oauth.client.secret = {SecretSource::Kind::environment, "SLUICE_TEST_CLIENT_SECRET"};
    World world({spec});
    std::string encoded;
    append_base64(encoded, "client-secret+of/oauth=1");
    world.issuer.answer = R"({"access_token":"the-access-token","expires_in":100,"scope":"read client-secret+of/oauth=1 )" + encoded +
                          R"( client-secret%2Bof%2Foauth%3D1 the-access-token )" + std::string(180, 'x') + R"(client-secret+of/oauth=1"})";
    world.time.run_for(1s);
    REQUIRE(world.minted.size() == 1);
    const KeeperNotice& told = world.minted.front();
    CHECK(told.scope.starts_with("read ************************ "));
    CHECK(told.scope.find("client-sec") == std::string::npos);
    CHECK(told.scope.find(encoded.substr(0, 12)) == std::string::npos);
    CHECK(told.scope.find("access-token") == std::string::npos);
    CHECK(told.subject == "us");
    CHECK(told.issuer == "https://auth.example/token");

    World endless({spec});
    std::string words;
    while (words.size() < 900'000) words += "client-secret+of/oau x ";
    endless.issuer.answer = R"({"access_token":"the-access-token","expires_in":100,"scope":")" + words + "\"}";
    endless.time.run_for(1s);
    REQUIRE(endless.minted.size() == 1);
    CHECK(endless.minted.front().scope.starts_with("*** x *** x "));
    CHECK(endless.minted.front().scope.size() <= 16 * 1024);
}

TEST_CASE("an assertion goes to a token endpoint in the form of RFC 7523 4") {
    const std::string pem = std::string(SLUICE_SOURCE_DIR) + "/tests/unit/data/jws/p256.pem";
    CredentialSpec spec = client("pay");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    oauth.grant = OAuthSpec::Grant::jwt_bearer;
    oauth.client.client_id.clear();
    oauth.issuer = "https://jwt-idp.example.com";
    oauth.subject = "mailto:mike@example.com";
    oauth.audience = "https://jwt-rp.example.net";
    oauth.lifetime = 60s;
    oauth.key.pem = {SecretSource::Kind::file, pem};
    oauth.key.kid = "16";
    World world({spec});
    world.time.run_for(1s);
    const std::string before = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    REQUIRE(world.issuer.asked.starts_with(before));
    const std::string token = world.issuer.asked.substr(before.size());
    const auto header = decode_base64url(token.substr(0, token.find('.')));
    REQUIRE(header);
    CHECK(header->find(R"("alg":"ES256")") != std::string::npos);
    CHECK(header->find(R"("kid":"16")") != std::string::npos);
    CHECK(token.find('&') == token.npos);
}

TEST_CASE("whoever still waits under the policy before a reload for a credential that it changed has an answer") {
    World world({client("asked"), client("late", false), client("refused")});
    world.issuer.takes = 1s;
    const CredentialSlots before = world.slots;
    world.time.run_for(100ms);
    world.follow({client("new")});
    world.time.run_for(2s);
    CHECK(before[0]->state()->attachment);   // its fetch was under way
    CHECK_FALSE(before[0]->state()->coming);

    world.keeper.want(before[1]);
    world.time.run_for(1s);
    CHECK_FALSE(before[1]->state()->coming);
    CHECK(before[1]->state()->fault.find("by a reload") != std::string::npos);

    const auto state = before[2]->state();
    world.keeper.refused(before[2], state->serial);
    world.time.run_for(1s);
    CHECK(before[2]->state()->flights > state->flights);
    CHECK(before[2]->state()->attachment);

    world.time.run_for(200s);   // its end, of which nobody else tells
    world.keeper.want(before[2]);
    world.time.run_for(1s);
    CHECK_FALSE(before[2]->state()->attachment);
}

namespace {

// AWS's shared credentials file, and where it is.
class SharedFile {
  public:
    SharedFile() {
        std::string name = (std::filesystem::temp_directory_path() / "sluice-keys-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()));
        directory_ = name;
        ::setenv("AWS_SHARED_CREDENTIALS_FILE", path().c_str(), 1);
        ::setenv("AWS_CONFIG_FILE", (directory_ / "config").c_str(), 1);
    }
    ~SharedFile() {
        ::unsetenv("AWS_SHARED_CREDENTIALS_FILE");
        ::unsetenv("AWS_CONFIG_FILE");
        std::filesystem::remove_all(directory_);
    }
    std::filesystem::path path() const { return directory_ / "credentials"; }
    void write(int n) const { write("[default]\naws_access_key_id = AKID" + std::to_string(n) + "\naws_secret_access_key = secret-of-key-" + std::to_string(n) + "\n"); }
    void write(const std::string& text) const { std::ofstream(path(), std::ios::trunc) << text; }

  private:
    std::filesystem::path directory_;
};

CredentialSpec keys_in_file(AwsSpec::Source source = AwsSpec::Source::file) {
    CredentialSpec spec;
    spec.name = "bucket";
    AwsSpec aws;
    aws.region = "eu-west-1";
    aws.service = "s3";
    aws.source = source;
    spec.kind = aws;
    spec.issuer = 0;
    return spec;
}

std::string key_of(const World& world) {
    const auto now = world.state();
    return now->attachment ? std::get<AwsSigner>(now->attachment->how).keys.access_key_id : "";
}

}  // namespace

TEST_CASE("keys in AWS's shared file that are changed are taken without waiting for a renewal") {
    const SharedFile file;
    file.write(1);
    World world({keys_in_file(GENERATE(AwsSpec::Source::file, AwsSpec::Source::automatic))});
    world.time.run_for(10s);
    REQUIRE(key_of(world) == "AKID1");
    file.write(2);
    world.time.run_for(2s);
    CHECK(key_of(world) == "AKID2");
    CHECK(world.whys == std::vector<std::string_view>{"eager", "changed"});
    world.time.run_for(10min);
    CHECK(world.whys.size() == 2);   // a file that stays as it is is no news
    std::filesystem::last_write_time(file.path(), std::filesystem::file_time_type::clock::now());
    world.time.run_for(10s);
    CHECK(world.whys.size() == 2);   // nor is one that was only touched
}

TEST_CASE("keys are taken once their file stays as it is, and one that is gone or half there takes nothing away") {
    const SharedFile file;
    file.write(1);
    World world({keys_in_file()});
    world.time.run_for(10s);
    file.write("[default]\naws_access_key_id = AKID2\n");
    world.time.run_for(1s);   // seen once
    file.write(2);
    world.time.run_for(2s);
    CHECK(key_of(world) == "AKID2");
    CHECK(world.whys.size() == 2);
    std::filesystem::remove(file.path());
    world.time.run_for(1min);
    CHECK(key_of(world) == "AKID2");
    file.write("[default]\n");
    world.time.run_for(1min);
    CHECK(key_of(world) == "AKID2");
    CHECK(world.state()->fault.find("has no keys") != std::string::npos);
    file.write(3);
    world.time.run_for(6s);
    CHECK(key_of(world) == "AKID3");
}

TEST_CASE("an issuer that gives the same again has not given another one: whoever was refused with it is told, and what is known of it stays") {
    World world({client("pay")});
    world.issuer.answer = R"({"access_token":"the-access-token","expires_in":3600})";
    world.time.run_for(10s);
    const auto before = world.state();
    world.time.at_once([&] { CHECK(world.desk->refused(0, before->serial)); });
    world.time.run_for(1s);
    CHECK(world.issuer.calls == 2);
    CHECK(world.state()->flights > before->flights);
    CHECK(world.state()->serial == before->serial);
    CHECK(world.state()->expires > before->expires);
    world.issuer.answer.clear();
    world.time.at_once([&] { CHECK(world.desk->refused(0, before->serial)); });
    world.time.run_for(10s);
    world.time.at_once([&] { CHECK(world.desk->refused(0, before->serial)); });
    world.time.run_for(1s);
    CHECK(world.state()->serial > before->serial);
}

TEST_CASE("which of a rotation's two secrets a vendor takes is known to all workers at once") {
    World world({client("pay")});
    const auto now = std::make_shared<CredentialState>();
    FixedValue value{FixedValue::Place::header, "Authorization", Secret(std::string("Bearer new"))};
    now->attachment = Attachment{value, {}};
    now->previous = now->attachment;
    now->serial = world.board.next_serial();
    world.board.post({{world.slots.at(0), now}});
    world.time.run_for(0s);
    DeskTable other_table;
    Desk other(other_table, world.slots, nullptr);
    world.time.at_once([&] {
        CHECK_FALSE(other.shows_previous(0, false));
        world.desk->secret_refused(0, now->serial, false, true);
        world.desk->secret_taken(0, now->serial, true);
        CHECK(other.shows_previous(0, false));
        other.secret_taken(0, now->serial, true);
    });
    const std::string note = "note the vendor refuses the new secret, and still takes the one before it (overlap)";
    CHECK(std::count(world.told.begin(), world.told.end(), note) == 1);
}

TEST_CASE("what was fetched outlives a reload that changes how it is renewed, where it is put, and who may lack it") {
    CredentialSpec other = client("pay");
    const std::string what = GENERATE("refresh_before", "refresh_on", "eager", "placeholder", "overlap of the client's secret", "prefix");
    CAPTURE(what);
    if (what == "refresh_before") other.rules.refresh_before = 10s;
    if (what == "refresh_on") other.rules.refresh_on = {401, 403};
    if (what == "eager") other.rules.eager = false;
    if (what == "placeholder") other.rules.placeholder = "PLACEHOLDER";
    if (what.starts_with("overlap")) other.rules.overlap = {SecretSource::Kind::environment, "SLUICE_TEST_OLD", {}, {}};
    if (what == "prefix") other.place.prefix = "Token ";
    World world({client("pay")});
    world.time.run_for(1s);
    REQUIRE(world.value() == "Bearer access-token-1");
    const auto expires = world.state()->expires;
    world.issuer.down = true;
    world.follow({other});
    CHECK(world.value() == other.place.prefix + "access-token-1");
    CHECK(world.state()->expires == expires);
    CHECK(world.state()->needles);
    world.time.run_for(60s);
    CHECK(world.issuer.calls == 1);
    world.time.run_for(20s);
    CHECK((world.issuer.calls == 1) == (what == "refresh_before"));   // due 10 s before its end, which has come nearer by 12.5 s at most
    CHECK(world.value() == other.place.prefix + "access-token-1");
    world.issuer.down = false;
    world.time.run_for(60s);
    CHECK(world.value().starts_with(other.place.prefix + "access-token-"));
}

TEST_CASE("what a reload would fetch in another way is fetched anew") {
    World world({client("pay")});
    world.time.run_for(1s);
    CredentialSpec other = client("pay");
    std::get<OAuthSpec>(other.kind).scope = {"more"};
    world.follow({other});
    CHECK(world.value().empty());
    world.time.run_for(1s);
    CHECK(world.value() == "Bearer access-token-2");
}

TEST_CASE("a fetch that is under way when a reload changes what is put where serves the policy after it, and who waits under the one before") {
    World world({});
    world.issuer.takes = 1s;
    world.follow({client("pay")});
    const CredentialSlots before = world.slots;
    world.time.run_for(100ms);
    CredentialSpec other = client("pay");
    other.place.prefix = "Token ";
    world.follow({other});
    CHECK(world.state()->coming);
    world.time.run_for(2s);
    CHECK(world.issuer.calls == 1);
    CHECK(world.value() == "Token access-token-1");
    REQUIRE(before[0]->state()->attachment);
    CHECK(std::get<FixedValue>(before[0]->state()->attachment->how).value.reveal() == "Bearer access-token-1");
}

TEST_CASE("one that is fetched on demand is fetched once a reload makes it eager") {
    World world({client("pay", false)});
    world.time.run_for(1s);
    REQUIRE(world.issuer.calls == 0);
    world.follow({client("pay")});
    world.time.run_for(1s);
    CHECK(world.value() == "Bearer access-token-1");
}

TEST_CASE("an issuer that names a time is not asked before it, and one that names a day is asked after a minute") {
    const unsigned status = GENERATE(429u, 503u);
    const auto [said, least, most] = GENERATE(table<std::string, Duration, Duration>({{"30", 30s, 38s}, {"86400", 60s, 76s}}));
    World world({client("pay")});
    world.issuer.status = status;
    world.issuer.retry_after = said;
    world.time.run_for(least);
    CHECK(world.issuer.calls == 1);
    world.issuer.status = 200;
    world.time.run_for(most - least);
    CHECK(world.value() == "Bearer access-token-2");
}

TEST_CASE("a token that ended while the machine was suspended is not used afterwards") {
    World world({client("pay")});
    world.time.run_for(1s);
    world.issuer.takes = 1s;
    world.time.at_once([&] { world.keeper.slept(1h); });
    CHECK(world.value().empty());
    CHECK(world.state()->coming);
    world.time.run_for(2s);
    CHECK(world.value() == "Bearer access-token-2");
    world.time.at_once([&] { world.keeper.slept(10s); });   // it is still good, and due so much earlier
    CHECK(world.value() == "Bearer access-token-2");
    world.time.run_for(60s);
    CHECK(world.value() == "Bearer access-token-3");
}

TEST_CASE("a client's assertion is for the whole URL of the token endpoint, with its query, which is not told") {
    CredentialSpec spec = client("pay");
    auto& oauth = std::get<OAuthSpec>(spec.kind);
    oauth.token_url.prefix = "/token?tenant=t1";
    oauth.client.kind = ClientAuthSpec::Kind::private_key_jwt;
    oauth.client.key.pem = {SecretSource::Kind::file, std::string(SLUICE_SOURCE_DIR) + "/tests/unit/data/jws/p256.pem", {}, {}};
    World world({spec});
    world.time.run_for(1s);
    const std::string before = "client_assertion=";
    const std::size_t at = world.issuer.asked.find(before);
    REQUIRE(at != std::string::npos);
    std::string claims = world.issuer.asked.substr(at + before.size());
    claims.erase(0, claims.find('.') + 1);
    const auto read = decode_base64url(claims.substr(0, claims.find('.')));
    REQUIRE(read);
    CHECK(read->find(R"("aud":"https://auth.example/token?tenant=t1")") != std::string::npos);
    REQUIRE(world.minted.size() == 1);
    CHECK(world.minted.front().issuer == "https://auth.example/token");
}
