// Refresh tokens that are rotated, in virtual time: an issuer that takes each once, and takes a second use for theft.
#include "proxy/issuers/refresh_flight.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "proxy/exchange/response_body.hpp"
#include "proxy/issuers/keeper.hpp"
#include "proxy/issuers/refresh_store.hpp"
#include "tests/support/virtual_time.hpp"

using namespace sluice;

namespace {

// What it does with a token it does when the request comes; the answer takes its time.
class RotatingIssuer final : public Transport {
  public:
    explicit RotatingIssuer(test::VirtualTime& time) : time_(time) {}

    Task<Result<void>> round_trip(RoundTrip& trip) override {
        const std::string form((*trip.request_body->next_ready())->data);
        const std::size_t at = form.find("refresh_token=refresh-");
        const std::string shown = at == form.npos ? "" : form.substr(at + 14, form.find('&', at + 14) - at - 14);
        asked.push_back(shown);
        const std::size_t call = asked.size();
        std::string answer = "{\"access_token\":\"access-token-" + std::to_string(call) + "\",\"expires_in\":100";
        const bool good = shown.empty() || shown == good_one;
        if (!shown.empty()) good_one = good ? "refresh-" + std::to_string(call) : "none: stolen";
        if (call == 1 && !instead.empty()) answer = instead;
        answer += shown.empty() ? "}" : ",\"refresh_token\":\"" + good_one + "\"}";
        most_at_once = std::max(most_at_once, ++under_way_);
        Wakeup wakeup;
        under_way = &wakeup;
        const TimePoint end = later(time_.now(), takes);
        const Wait how = co_await time_.wait(wakeup, std::min(end, trip.limits.total));
        under_way = nullptr;
        --under_way_;
        if (how == Wait::interrupted || time_.now() < end)
            co_return Failure{Origin::vendor, Reason::timeout_total, Replay::unsafe, "broken off"};
        trip.response->status = good ? 200 : 400;
        bodies_.emplace_back().hold(good ? answer : R"({"error":"invalid_grant"})");
        trip.response_body = &bodies_.back();
        co_return Result<void>{};
    }
    Task<Result<void>> open_stream(RoundTrip&) override { co_return Failure{}; }
    Task<void> finish(RoundTrip&) override { co_return; }
    void abort(RoundTrip&) override {
        if (under_way) under_way->notify(Wait::interrupted);
    }

    Duration takes = 100ms;
    std::string good_one = "refresh-first";
    std::string instead;   // begins the first answer
    std::vector<std::string> asked;   // with which token; "": of another grant
    unsigned most_at_once = 0;
    Wakeup* under_way = nullptr;

  private:
    test::VirtualTime& time_;
    unsigned under_way_ = 0;
    std::deque<WholeBody> bodies_;
};

class Directory {
  public:
    Directory() {
        std::string pattern = std::filesystem::temp_directory_path() / "sluice-XXXXXX";
        path = ::mkdtemp(pattern.data());
    }
    Directory(const Directory&) = delete;
    ~Directory() { std::filesystem::remove_all(path); }
    std::string path;
};

constexpr const char* first_token = "SLUICE_TEST_REFRESH_TOKEN";

CredentialSpec crm(std::vector<std::string> scope = {"a"}, OAuthSpec::Grant grant = OAuthSpec::Grant::refresh_token) {
    CredentialSpec spec;
    spec.name = "crm";
    OAuthSpec oauth;
    oauth.grant = grant;
    oauth.token_url = {Scheme::https, {"auth.example", 443, false}, "/token"};
    oauth.client.client_id = "us";
    oauth.scope = std::move(scope);
    if (grant == OAuthSpec::Grant::refresh_token)
        oauth.refresh_token = {SecretSource::Kind::environment, first_token, {}, {}};
    spec.kind = oauth;
    spec.issuer = 0;
    return spec;
}

struct World {
    test::VirtualTime time;
    RotatingIssuer issuer{time};
    Directory state_directory;
    CredentialBoard board;
    RefreshFlights flights;
    IssuerTools tools{time, issuer, flights, state_directory.path};
    CredentialKeeper keeper{tools, board, [](Task<void> task) { spawn(std::move(task)); },
                            [](const KeeperNotice&) {}};
    CredentialSlots slots;

    World() { ::setenv(first_token, "refresh-first", 1); }
    ~World() {
        time.at_once([&] { keeper.stop([] {}); });
        time.run_for(1h);   // what is under way ends
    }

    void follow(CredentialSpec spec) { follow(std::vector{std::move(spec)}); }
    void follow(std::vector<CredentialSpec> specs) {
        auto config = std::make_shared<Config>();
        for (std::size_t i = 0; i < specs.size(); ++i) specs[i].index = i;
        config->credentials = std::move(specs);
        config->issuers.emplace_back();
        config->issuers[0].timeout.total = 5s;
        slots = carry_over(*config, slots);
        time.at_once([&] { keeper.follow(config, nullptr, slots); });
    }
    std::string value() const {
        const auto now = slots.at(0)->state();
        if (!now->attachment || time.now() >= now->usable_until) return {};
        return std::string(std::get<FixedValue>(now->attachment->how).value.reveal());
    }
    const std::string& fault() const { return state_ = slots.at(0)->state()->fault; }
    // The whole file of the chain.
    std::string kept() const {
        std::ifstream file(state_directory.path + "/refresh/crm.json");
        return {std::istreambuf_iterator<char>(file), {}};
    }
    RefreshStore store() const { return {state_directory.path, "crm", Secret("refresh-first")}; }

  private:
    mutable std::string state_;
};

bool holds(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

using Tokens = std::vector<std::string>;

}  // namespace

TEST_CASE("a reload while a refresh token is under way waits for its answer, and goes on with what came in it") {
    const bool renewal = GENERATE(false, true);
    CAPTURE(renewal);
    World world;
    world.follow(crm());
    if (renewal) world.time.run_for(62s);   // it is due from 62.5 s to 70 s
    world.issuer.takes = 1500ms;
    while (!world.issuer.under_way) world.time.run_for(100ms);
    const std::size_t before = world.issuer.asked.size();
    world.follow(crm({"b"}));
    world.time.run_for(100ms);
    world.follow(crm({"c"}));
    world.time.run_for(10s);
    CHECK(world.issuer.most_at_once == 1);
    CHECK(world.issuer.asked.size() > before);
    CHECK(world.issuer.good_one == "refresh-" + std::to_string(world.issuer.asked.size()));
    CHECK(holds(world.kept(), "\"refresh_token\":\"" + world.issuer.good_one + "\""));
    CHECK(world.value() == "Bearer access-token-" + std::to_string(world.issuer.asked.size()));
}

TEST_CASE("an answer to a refresh token that comes too late is read on and kept, and serves who asks meanwhile") {
    World world;
    world.issuer.takes = 8s;
    world.follow(crm());
    const TimePoint began = world.time.now();
    world.time.run_for(5s);
    CHECK(holds(world.fault(), "https://auth.example/token has not answered in time"));
    CHECK_FALSE(world.slots[0]->state()->coming);
    world.time.run_for(4s);
    CHECK(world.issuer.asked == Tokens{"refresh-first"});
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-1\""));
    CHECK(world.value() == "Bearer access-token-1");
    CHECK(world.slots[0]->state()->usable_until == began + 100s - 250ms);   // as of when it was asked for
}

TEST_CASE("the next refresh token is kept, and used next, whatever else is wrong with the answer it came in") {
    const std::string answer =
        GENERATE(R"({"access_token":"a","expires_in":0)", R"({"access_token":"a","expires_in":-5)",
                 R"({"access_token":"a","expires_in":"soon")", R"({"access_token":"a","token_type":"mac")",
                 R"({"scope":"a")", R"({"error":"temporarily_unavailable")", R"({"error":"invalid_grant")");
    CAPTURE(answer);
    World world;
    world.issuer.instead = answer;
    world.follow(crm());
    world.time.run_for(200ms);
    CHECK(world.fault().find("https://auth.example/token answered 200") != std::string::npos);
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-1\"}"));
    world.time.run_for(10s);
    CHECK(world.issuer.asked == Tokens{"refresh-first", "refresh-1"});
    CHECK(world.value() == "Bearer access-token-2");
}

TEST_CASE("an issuer that takes half a minute for each answer is shown each refresh token once") {
    World world;
    world.issuer.takes = 33s;
    world.follow(crm());
    world.time.run_for(10min);
    CHECK(world.issuer.asked.size() >= 3);
    CHECK(world.issuer.most_at_once == 1);
    CHECK(world.issuer.good_one.starts_with("refresh-"));
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-"));
}

TEST_CASE("an issuer that never answers is given up after a minute") {
    World world;
    world.issuer.takes = 1h;
    world.follow(crm());
    world.time.run_for(59s);
    CHECK(world.issuer.asked.size() == 1);
    world.time.run_for(10s);
    CHECK(world.issuer.asked.size() == 2);
}

TEST_CASE("at the end the answer to a refresh token that was sent is waited for and kept; all else is broken off") {
    const auto grant = GENERATE(OAuthSpec::Grant::refresh_token, OAuthSpec::Grant::client_credentials);
    World world;
    world.issuer.takes = 1500ms;
    world.follow(crm({"a"}, grant));
    world.time.run_for(400ms);
    REQUIRE(world.issuer.under_way);
    bool idle = false;
    Duration patience{};
    world.time.at_once([&] { patience = world.keeper.stop([&] { idle = true; }); });
    if (grant == OAuthSpec::Grant::client_credentials) {
        CHECK(idle);
        CHECK(patience == Duration{});
        return;
    }
    CHECK_FALSE(idle);
    CHECK(patience == 5s);
    world.time.run_for(2s);
    CHECK(idle);
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-1\""));
}

TEST_CASE("while another process with the same state has a refresh token under way, it is not asked with") {
    World world;
    {
        RefreshStore other = world.store();
        REQUIRE(*other.try_lock());
        world.follow(crm());
        world.time.run_for(5100ms);
        CHECK(world.issuer.asked.empty());
        CHECK(holds(world.fault(), "another process with the same `state` has its refresh token under way"));
        CHECK(other.keep(Secret("refresh-of-theirs")).has_value());
        world.issuer.good_one = "refresh-of-theirs";
    }
    world.time.run_for(6s);
    CHECK(world.issuer.asked == Tokens{"refresh-of-theirs"});
    CHECK(world.value() == "Bearer access-token-1");
}

TEST_CASE("a refresh token that could not be written when it came is written, and used, as soon as it can be") {
    const std::size_t before = GENERATE(0, 1);   // answers that were kept
    CAPTURE(before);
    World world;
    world.issuer.takes = 1500ms;
    world.follow(crm());
    while (world.issuer.asked.size() < before + 1 || !world.issuer.under_way) world.time.run_for(100ms);
    const std::string place = world.state_directory.path + "/refresh";
    std::filesystem::rename(place, place + ".aside");
    std::ofstream(place) << "no directory";
    world.time.run_for(2s);
    CHECK(holds(world.fault(), "its rotated refresh token cannot be kept in " + place));
    world.time.run_for(1min);
    CHECK(world.issuer.asked.size() == before + 1);
    std::filesystem::remove(place);
    std::filesystem::rename(place + ".aside", place);
    world.time.run_for(70s);
    REQUIRE(world.issuer.asked.size() >= before + 2);
    CHECK(world.issuer.asked[before + 1] == "refresh-" + std::to_string(before + 1));
    CHECK(world.issuer.good_one == "refresh-" + std::to_string(world.issuer.asked.size()));
    CHECK_FALSE(world.value().empty());
}

TEST_CASE("a process whose kept refresh token is removed, or put back from before, goes on with the one it had") {
    const bool removed = GENERATE(false, true);
    const bool of_its_past = GENERATE(false, true);
    CAPTURE(removed, of_its_past);
    World world;
    if (of_its_past) {
        REQUIRE(world.store().keep(Secret("refresh-0")).has_value());
        world.issuer.good_one = "refresh-0";
    }
    world.follow(crm());
    world.time.run_for(1s);
    REQUIRE(world.issuer.asked.size() == 1);
    if (removed)
        std::filesystem::remove(world.state_directory.path + "/refresh/crm.json");
    else
        REQUIRE(world.store().keep(Secret(of_its_past ? "refresh-0" : "refresh-first")).has_value());
    world.time.run_for(70s);
    REQUIRE(world.issuer.asked.size() == 2);
    CHECK(world.issuer.asked[1] == "refresh-1");
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-2\"}"));
}

TEST_CASE("a token that another process left on disk is newer than what this one had") {
    World world;
    world.follow(crm());
    world.time.run_for(1s);
    REQUIRE(world.store().keep(Secret("refresh-of-theirs")).has_value());
    world.issuer.good_one = "refresh-of-theirs";
    world.time.run_for(70s);
    CHECK(world.issuer.asked == Tokens{"refresh-first", "refresh-of-theirs"});
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-2\"}"));
}

TEST_CASE("a credential that is renamed goes on with its chain, in the file that it has") {
    World world;
    REQUIRE(world.store().keep(Secret("refresh-0")).has_value());
    world.issuer.good_one = "refresh-0";
    CredentialSpec renamed = crm();
    renamed.name = "sales";
    world.follow(renamed);
    world.time.run_for(1s);
    CHECK(world.issuer.asked == Tokens{"refresh-0"});
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-1\"}"));
    CHECK_FALSE(std::filesystem::exists(world.state_directory.path + "/refresh/sales.json"));
}

TEST_CASE("two credentials that swap their names keep their chains, and so does one whose name another takes") {
    const bool swapped = GENERATE(false, true);
    Directory state;
    const auto store = [&](const char* name, const char* first) { return RefreshStore(state.path, name, Secret(first)); };
    REQUIRE(store("a", "first-a").keep(Secret("next-a")).has_value());
    if (swapped) REQUIRE(store("b", "first-b").keep(Secret("next-b")).has_value());
    CHECK(store("a", "first-b").latest()->same_as(swapped ? "next-b" : "first-b"));
    REQUIRE(store("a", "first-b").keep(Secret("last-b")).has_value());
    CHECK(store("b", "first-a").latest()->same_as("next-a"));
    REQUIRE(store("b", "first-a").keep(Secret("last-a")).has_value());
    for (const char* name : {"a", "b", "c"}) {
        CHECK(store(name, "first-a").latest()->same_as("last-a"));
        CHECK(store(name, "first-b").latest()->same_as("last-b"));
    }
}

TEST_CASE("a chain whose name another takes while its first token is under way is kept beside it") {
    Directory state;
    RefreshStore one(state.path, "a", Secret("first-a")), other(state.path, "a", Secret("first-b"));
    REQUIRE(one.latest().has_value());
    REQUIRE(other.latest().has_value());
    REQUIRE(one.keep(Secret("next-a")).has_value());
    REQUIRE(other.keep(Secret("next-b")).has_value());
    CHECK(one.latest()->same_as("next-a"));
    CHECK(other.latest()->same_as("next-b"));
}

TEST_CASE("two credentials that begin with one refresh token, written differently, ask one after the other") {
    World world;
    ::setenv("SLUICE_TEST_REFRESH_TOKEN_AGAIN", "refresh-first", 1);
    CredentialSpec again = crm();
    again.name = "sales";
    std::get<OAuthSpec>(again.kind).refresh_token.name = "SLUICE_TEST_REFRESH_TOKEN_AGAIN";
    world.follow({crm(), again});
    world.time.run_for(2s);
    CHECK(world.issuer.most_at_once == 1);
    CHECK(world.issuer.asked == Tokens{"refresh-first", "refresh-1"});
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-2\"}"));
    CHECK(world.value() == "Bearer access-token-1");
}

TEST_CASE("a lock of a refresh token's chain is one process's at a time, and goes with it") {
    World world;
    auto one = std::make_unique<RefreshStore>(world.state_directory.path, "crm", Secret("refresh-first"));
    RefreshStore other = world.store();
    CHECK(*one->try_lock());
    CHECK(*one->try_lock());
    CHECK_FALSE(*other.try_lock());
    one.reset();
    CHECK(*other.try_lock());
}

TEST_CASE("a lock that is no regular file is refused, and nobody waits for it") {
    const bool read_by_somebody = GENERATE(false, true);
    World world;
    std::filesystem::create_directory(world.state_directory.path + "/refresh");
    const std::string chain = RefreshStore::chain_of(Secret("refresh-first"));
    const std::string path = world.state_directory.path + "/refresh/" + chain + ".lock";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const int reader = read_by_somebody ? ::open(path.c_str(), O_RDONLY | O_NONBLOCK) : -1;
    const Result<bool> locked = world.store().try_lock();
    if (reader >= 0) ::close(reader);
    REQUIRE(locked.has_error());
    CHECK(locked.error().detail == path + " is not a regular file; remove it");
}

TEST_CASE("a refresh token that is refused is buried only where no other has taken its place") {
    World world;
    RefreshStore store = world.store(), other = world.store();
    const Result<Secret> used = store.latest();
    REQUIRE(other.keep(Secret("refresh-1")).has_value());
    CHECK(store.bury(*used).has_value());
    CHECK(holds(world.kept(), "\"refresh_token\":\"refresh-1\"}"));
    CHECK_FALSE(store.is_dead(*store.latest()));
    CHECK(store.bury(*store.latest()).has_value());
    CHECK(store.is_dead(*store.latest()));
}
