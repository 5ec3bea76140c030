// Static secrets and their rotation: the machine that decides, then the thread that watches real files.
#include "proxy/issuers/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "certs/authority.hpp"
#include "proxy/issuers/desk.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view sentinel = "s3cr3t";  // part of every secret here: nothing people read may hold it

std::string secret(std::string_view name) {
    return std::string(sentinel) + "-" + std::string(name);
}

struct Directory {
    fs::path path;

    Directory() {
        std::string name = (fs::temp_directory_path() / "sluice-secrets-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Directory() { fs::remove_all(path); }
    fs::path operator/(const char* name) const { return path / name; }
};

// In place: what is there is emptied first.
void write(const fs::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

// As careful writers do it.
void replace(const fs::path& path, std::string_view text) {
    const fs::path fresh = path.string() + ".new";
    write(fresh, text);
    fs::rename(fresh, path);
}

// As Kubernetes does it: `..data` is a link that is turned from one directory to the next.
void swap_data(const fs::path& mount, const char* version, std::string_view text) {
    fs::create_directories(mount / version);
    write(mount / version / "token", text);
    fs::create_symlink(version, mount / "..data_tmp");
    fs::rename(mount / "..data_tmp", mount / "..data");
}

CredentialSpec bearer(std::string name, SecretSource source) {
    CredentialSpec spec;
    spec.name = std::move(name);
    spec.kind = BearerSpec{std::move(source)};
    return spec;
}
SecretSource file(const fs::path& path) {
    return {SecretSource::Kind::file, path.string()};
}
SecretSource variable(std::string name) {
    return {SecretSource::Kind::environment, std::move(name)};
}

CredentialSlots slots_of(std::vector<CredentialSpec> specs, const CredentialSlots& before = {}) {
    Config config;
    for (std::size_t i = 0; i < specs.size(); ++i) specs[i].index = i;
    config.credentials = std::move(specs);
    return carry_over(config, before);
}

// What is watched with a poll that never comes, so that only a noticed change can be seen.
const SecretTimes noticed_only{{20ms, 1h}, 1h};

// The value of a credential, without "Bearer "; of a fault its text after a '!'.
std::string describe(const CredentialState& state) {
    if (!state.attachment) return "!" + state.fault;
    std::string_view value = std::get<FixedValue>(state.attachment->how).value.reveal();
    if (value.starts_with("Bearer ")) value.remove_prefix(7);
    return std::string(value);
}

// SecretFiles with somebody who waits for what goes up on the board.
class Watched {
  public:
    explicit Watched(std::vector<CredentialSpec> specs, SecretTimes times = noticed_only)
        : slots_(slots_of(std::move(specs))),
          files_(
              board_, slots_, [this](const SecretNotice& notice) { note(notice); }, times) {
        see(slots_);
        board_.subscribe([this](const CredentialSlots& changed) {
            const std::lock_guard lock(mutex_);
            see(changed);
            changed_.notify_all();
        });
    }

    const CredentialSlots& slots() const { return slots_; }
    std::shared_ptr<const CredentialState> state(std::size_t index = 0) const { return slots_.at(index)->state(); }
    std::string now(std::size_t index = 0) const { return describe(*state(index)); }
    // Another policy.
    void follow(std::vector<CredentialSpec> specs) {
        CredentialSlots next = slots_of(std::move(specs), slots_);
        {
            const std::lock_guard lock(mutex_);
            slots_ = next;
            see(next);
        }
        files_.follow(std::move(next));
    }

    // Waits until this was put up; a bound that is only met when it never will be.
    bool becomes(std::string_view expected, std::size_t index = 0) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 20s, [&] { return describe(*seen_[slots_.at(index)].back()).starts_with(expected); });
    }
    // Everything that was put up of a credential, without repetitions.
    std::vector<std::string> history(std::size_t index = 0) {
        const std::lock_guard lock(mutex_);
        std::vector<std::string> history;
        for (const auto& state : seen_[slots_.at(index)]) {
            if (std::string text = describe(*state); history.empty() || history.back() != text)
                history.push_back(std::move(text));
        }
        return history;
    }
    CredentialBoard& board() { return board_; }
    std::vector<std::string> notices() {
        const std::lock_guard lock(mutex_);
        return notices_;
    }

  private:
    void see(const CredentialSlots& changed) {
        for (const auto& slot : changed) seen_[slot].push_back(slot->state());
    }
    void note(const SecretNotice& notice) {
        const std::lock_guard lock(mutex_);
        notices_.push_back(std::string(notice.credential) + " " + std::string(name_of(notice.state)));
        if (!notice.detail.empty()) notices_.back() += ": " + std::string(notice.detail);
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::shared_ptr<CredentialSlot>, std::vector<std::shared_ptr<const CredentialState>>> seen_;
    std::vector<std::string> notices_;
    CredentialBoard board_;
    CredentialSlots slots_;
    SecretFiles files_;  // last: its thread uses the others
};

Result<Attachment> value(std::string text) {
    return Attachment{FixedValue{FixedValue::Place::header, "Authorization", Secret(std::move(text))}, {}};
}
Result<Attachment> fault(std::string text) {
    return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(text)};
}
std::string text_of(const Result<Attachment>& state) {
    return state.has_value() ? std::string(std::get<FixedValue>(state->how).value.reveal()) : "!" + state.error().detail;
}

}  // namespace

TEST_CASE("a rotation takes a value once it stands still, and lets go of one that stays lost") {
    struct Reading {
        int at;  // milliseconds
        Result<Attachment> reading;
        std::string state;  // afterwards
    };
    const auto run = [](Result<Attachment> first, std::vector<Reading> readings) {
        Rotation rotation(std::move(first), {100ms, 2s});
        for (const Reading& step : readings) {
            const std::string before = text_of(rotation.state());
            INFO("at " << step.at << " ms");
            const bool changed = rotation.observe(step.reading, TimePoint(std::chrono::milliseconds(step.at)));
            CHECK(text_of(rotation.state()) == step.state);
            CHECK(changed == (before != step.state));
        }
    };
    SECTION("another value after `settle`") {
        run(value("a"), {{0, value("a"), "a"}, {10, value("b"), "a"}, {109, value("b"), "a"}, {110, value("b"), "b"}});
    }
    SECTION("not while it is still being written") {
        run(value("a"), {{0, value("b"), "a"},
                         {90, value("bc"), "a"},
                         {180, value("bcd"), "a"},
                         {270, value("bcd"), "a"},
                         {280, value("bcd"), "bcd"}});
    }
    SECTION("a value that comes back was never gone") {
        run(value("a"), {{0, fault("empty"), "a"},
                         {1900, fault("missing"), "a"},
                         {1950, value("a"), "a"},
                         {2100, fault("missing"), "a"},
                         {4099, fault("missing"), "a"},
                         {4100, fault("missing"), "!missing"}});
    }
    SECTION("a loss is no state before `grace`, whatever faults it shows as") {
        run(value("a"), {{0, fault("empty"), "a"}, {1999, fault("missing"), "a"}, {2000, fault("empty"), "!empty"}});
    }
    SECTION("through an emptied file to the next value") {
        run(value("a"), {{0, fault("empty"), "a"}, {50, value("b"), "a"}, {150, value("b"), "b"}});
    }
    SECTION("an unavailable one is there after `settle`") {
        run(fault("missing"), {{0, value("a"), "!missing"}, {100, value("a"), "a"}});
    }
    SECTION("another fault is told after `settle`") {
        run(fault("missing"), {{0, fault("empty"), "!missing"}, {100, fault("empty"), "!empty"}});
    }
    SECTION("what never stands still is not a reason to go on with the old for ever") {
        run(value("a"), {{0, value("b"), "a"}, {1990, value("c"), "a"}, {2000, value("d"), "d"}});
    }
    SECTION("the same value in another place is another") {
        Rotation rotation(value("a"), {0ms, 2s});
        CHECK(rotation.observe(Attachment{FixedValue{FixedValue::Place::query, "Authorization", Secret("a")}, {}}, TimePoint{}));
    }
}

TEST_CASE("a secret is the file without one trailing newline") {
    Directory directory;
    const auto [text, expected] = GENERATE(table<std::string, std::string>({
        {"key", "key"},
        {"key\n", "key"},
        {"key\r\n", "key"},
        {" key ", " key "},
        {"two words\n", "two words"},
    }));
    write(directory / "key", text);
    CHECK(Watched({bearer("k", file(directory / "key"))}).now() == expected);
}

TEST_CASE("a large secret is read whole") {
    Directory directory;
    const std::string text(1024 * 1024, 'k');
    write(directory / "key", text);
    CHECK(Watched({bearer("k", file(directory / "key"))}).now() == text);
}

TEST_CASE("what cannot be a secret is a fault that names the credential, the place and the remedy") {
    Directory directory;
    const std::string path = (directory / "key").string();
    const auto [prepare, expected] = GENERATE(table<void (*)(const fs::path&), std::string>({
        {[](const fs::path&) {}, "cannot read PATH: no such file or directory; mount it or correct the path"},
        {[](const fs::path& at) { fs::create_directory(at); }, "cannot use PATH: it is not a regular file; correct"},
        {[](const fs::path& at) { mkfifo(at.c_str(), 0600); }, "cannot use PATH: it is not a regular file; correct"},
        {[](const fs::path& at) { fs::create_symlink("/dev/zero", at); }, "cannot use PATH: it is not a regular file"},
        {[](const fs::path& at) { fs::create_symlink(at, at); }, "cannot read PATH: too many levels of symbolic links"},
        {[](const fs::path& at) { write(at, ""); }, "cannot use PATH: it is empty; write the secret into it"},
        {[](const fs::path& at) { write(at, "\n"); }, "cannot use PATH: it is empty"},
        {[](const fs::path& at) { write(at, std::string(1024 * 1024 + 1, 'k')); }, "cannot use PATH: it is larger"},
    }));
    prepare(directory / "key");
    Watched watched({bearer("pay-key", file(path))});
    std::string fault = expected;
    fault.replace(fault.find("PATH"), 4, path);
    CHECK(watched.now().starts_with("!credential 'pay-key': " + fault));
    CHECK(watched.notices().at(0) == "pay-key unavailable: " + watched.now().substr(1));
}

TEST_CASE("a secret that cannot stand in a header is a fault that does not show it") {
    Directory directory;
    write(directory / "key", secret("a\nX-Injected: 1"));
    Watched watched({bearer("pay-key", file(directory / "key"))});
    CHECK(watched.now().starts_with("!credential 'pay-key'"));
    CHECK(watched.now().find(sentinel) == std::string::npos);
    CHECK(watched.now().find("X-Injected") == std::string::npos);
}

TEST_CASE("a secret comes from the environment as it was at the start") {
    setenv("SLUICE_TEST_SECRET", "from-the-environment", 1);
    unsetenv("SLUICE_TEST_UNSET");
    setenv("SLUICE_TEST_EMPTY", "", 1);
    Watched watched({bearer("a", variable("SLUICE_TEST_SECRET")), bearer("b", variable("SLUICE_TEST_UNSET")),
                     bearer("c", variable("SLUICE_TEST_EMPTY"))});
    unsetenv("SLUICE_TEST_SECRET");
    CHECK(watched.now(0) == "from-the-environment");
    CHECK(watched.now(1) ==
          "!credential 'b': the environment variable SLUICE_TEST_UNSET is not set; set it where "
          "Sluice is started");
    CHECK(watched.now(2).starts_with("!credential 'c': the environment variable SLUICE_TEST_EMPTY is empty"));
}

TEST_CASE("basic takes a username and a password from wherever they are") {
    Directory directory;
    write(directory / "user", "aladdin\n");
    write(directory / "password", "opensesame\n");
    CredentialSpec both, plain, none;
    both.kind = BasicSpec{"", file(directory / "user"), file(directory / "password")};
    plain.kind = BasicSpec{"aladdin", {}, file(directory / "password")};
    none.kind = BasicSpec{"", file(directory / "nobody"), file(directory / "password")};
    Watched watched({both, plain, none});
    CHECK(watched.now(0) == "Basic YWxhZGRpbjpvcGVuc2VzYW1l");
    CHECK(watched.now(1) == "Basic YWxhZGRpbjpvcGVuc2VzYW1l");
    CHECK(watched.now(2).find("nobody: no such file") != std::string::npos);

    write(directory / "password", "changed");
    CHECK(watched.becomes("Basic YWxhZGRpbjpjaGFuZ2Vk", 0));
    CHECK(watched.becomes("Basic YWxhZGRpbjpjaGFuZ2Vk", 1));
}

TEST_CASE("a file that changes is published, however it changes", "[multi-worker]") {
    Directory directory;
    const fs::path key = directory / "key", elsewhere = directory / "elsewhere";
    fs::create_directory(elsewhere);

    SECTION("rewritten in place") {
        write(key, secret("old"));
        Watched watched({bearer("k", file(key))});
        write(key, secret("new"));
        CHECK(watched.becomes(secret("new")));
        CHECK(watched.history() == std::vector<std::string>{secret("old"), secret("new")});
        CHECK(watched.notices() == std::vector<std::string>{"k changed"});
    }
    SECTION("replaced by a rename, again and again") {
        write(key, secret("0"));
        Watched watched({bearer("k", file(key))});
        for (const char* version : {"1", "2", "3"}) {
            replace(key, secret(version));
            CHECK(watched.becomes(secret(version)));
        }
    }
    SECTION("by a swap of Kubernetes' ..data, again and again") {
        swap_data(directory.path, "..2026_01", secret("0"));
        fs::create_symlink("..data/token", key);
        Watched watched({bearer("k", file(key))});
        REQUIRE(watched.now() == secret("0"));
        swap_data(directory.path, "..2026_02", secret("1"));
        CHECK(watched.becomes(secret("1")));
        fs::remove_all(directory / "..2026_01");
        swap_data(directory.path, "..2026_03", secret("2"));
        CHECK(watched.becomes(secret("2")));
    }
    SECTION("behind a link into another directory") {
        write(elsewhere / "real", secret("old"));
        fs::create_symlink("elsewhere/../elsewhere/real", key);
        Watched watched({bearer("k", file(key))});
        replace(elsewhere / "real", secret("new"));
        CHECK(watched.becomes(secret("new")));
    }
    SECTION("behind a link among its directories") {
        fs::create_directory(directory / "v1");
        fs::create_directory(directory / "v2");
        write(directory / "v1" / "key", secret("old"));
        write(directory / "v2" / "key", secret("new"));
        fs::create_directory_symlink(directory / "v1", directory / "current");
        Watched watched({bearer("k", file(directory / "current" / "key"))});
        fs::create_directory_symlink(directory / "v2", directory / "next");
        fs::rename(directory / "next", directory / "current");
        CHECK(watched.becomes(secret("new")));
    }
    SECTION("by a swap, and then in place where the link leads now") {
        swap_data(directory.path, "..2026_01", secret("0"));
        fs::create_symlink("..data/token", key);
        Watched watched({bearer("k", file(key))});
        swap_data(directory.path, "..2026_02", secret("1"));
        REQUIRE(watched.becomes(secret("1")));
        write(directory / "..2026_02" / "token", secret("2"));
        CHECK(watched.becomes(secret("2")));
    }
    SECTION("by appearing, each directory that it is in after the one before") {
        const fs::path late = directory / "not" / "there" / "key";
        write(key, secret("0"));
        Watched watched({bearer("k", file(late)), bearer("other", file(key))});
        REQUIRE(watched.now().starts_with("!"));
        for (const fs::path& made : {late.parent_path().parent_path(), late.parent_path()}) {
            fs::create_directory(made);
            replace(key, secret(made.filename().string()));
            REQUIRE(watched.becomes(secret(made.filename().string()), 1));  // so this was looked at
        }
        write(late, secret("new"));
        CHECK(watched.becomes(secret("new")));
        CHECK(watched.notices().back() == "k available");
    }
    SECTION("by the appearance of what a link leads to") {
        fs::create_symlink(elsewhere / "later", key);
        Watched watched({bearer("k", file(key))});
        REQUIRE(watched.now().starts_with("!"));
        write(elsewhere / "later", secret("new"));
        CHECK(watched.becomes(secret("new")));
    }
}

TEST_CASE("a relative path is taken from the working directory") {
    Directory directory;
    const fs::path key = fs::relative(directory / "key");
    write(key, secret("old"));
    Watched watched({bearer("k", file(key))});
    write(key, secret("new"));
    CHECK(watched.becomes(secret("new")));
}

TEST_CASE("what no event tells of is found by looking now and then") {
    Directory directory;
    const fs::path mount = directory / "mount", next = directory / "next";
    for (const fs::path& root : {mount, next}) fs::create_directories(root / "deep");
    write(mount / "deep" / "key", secret("old"));
    write(next / "deep" / "key", secret("new"));
    Watched watched({bearer("k", file(mount / "deep" / "key"))}, {{20ms, 1h}, 50ms});
    fs::rename(mount, directory / "gone");  // above the directory that is watched
    fs::rename(next, mount);
    CHECK(watched.becomes(secret("new")));
}

TEST_CASE("a file that is emptied before it is written again does not fail a request") {
    Directory directory;
    const fs::path key = directory / "key", other = directory / "other";
    write(key, secret("old"));
    write(other, secret("0"));
    Watched watched({bearer("k", file(key)), bearer("other", file(other))});
    write(key, "");
    for (const char* version : {"1", "2"}) {  // both were looked at meanwhile, more than once
        write(other, secret(version));
        REQUIRE(watched.becomes(secret(version), 1));
    }
    CHECK(watched.now() == secret("old"));
    write(key, secret("new"));
    CHECK(watched.becomes(secret("new")));
    CHECK(watched.history() == std::vector<std::string>{secret("old"), secret("new")});
}

TEST_CASE("a secret that stays lost is no longer used, and is again once it is back") {
    Directory directory;
    const fs::path key = directory / "key";
    write(key, secret("old"));
    Watched watched({bearer("k", file(key))}, {{20ms, 200ms}, 1h});
    fs::remove(key);
    CHECK(watched.becomes("!credential 'k': cannot read " + key.string()));
    replace(key, secret("old"));
    CHECK(watched.becomes(secret("old")));
    REQUIRE(watched.notices().size() == 2);
    CHECK(watched.notices()[0].starts_with("k unavailable: "));
    CHECK(watched.notices()[0].find("no such file or directory; mount it or correct the path") != std::string::npos);
    CHECK(watched.notices()[1] == "k available");
    for (const std::string& notice : watched.notices()) CHECK(notice.find(sentinel) == std::string::npos);
}

TEST_CASE("answers are searched for the secret before a rotation too") {
    Directory directory;
    const fs::path key = directory / "key";
    write(key, secret("the-old"));
    Watched watched({bearer("k", file(key))});
    replace(key, secret("the-new"));
    REQUIRE(watched.becomes(secret("the-new")));
    std::string told = secret("the-old") + " " + secret("the-new");
    watched.state()->needles->mask(told);
    CHECK(told == std::string(14, '*') + " " + std::string(14, '*'));
    CHECK(watched.state()->minted >= watched.state()->since - 1s);
}

TEST_CASE("a secret that is too short to be searched for is told of") {
    Directory directory;
    write(directory / "key", "abc");
    Watched watched({bearer("k", file(directory / "key"))});
    REQUIRE(watched.notices().size() == 1);
    CHECK(watched.notices()[0] == "k unsearched: a secret of it is shorter than 8 bytes: answers are not searched for it, because it would be found by chance");
}

TEST_CASE("a client certificate is there with its end, or says what is wrong, and comes and goes with its files") {
    Directory directory;
    CredentialSpec spec;
    spec.name = "m";
    spec.kind = MtlsSpec{file(directory / "ca.crt"), file(directory / "ca.key")};
    Watched watched({spec}, {{20ms, 50ms}, 1h});
    CHECK(watched.state()->fault.starts_with("credential 'm': "));
    CHECK(watched.state()->fault.find("ca.crt") != std::string::npos);
    std::string note;
    REQUIRE(CertAuthority::persistent(directory.path.string(), std::chrono::system_clock::now(), note).has_value());
    REQUIRE(testing::eventually([&] { return watched.state()->attachment.has_value(); }));
    REQUIRE(watched.state()->expires);
    CHECK(*watched.state()->expires > std::chrono::system_clock::now());
    fs::remove(directory / "ca.key");
    CHECK(testing::eventually([&] { return !watched.state()->attachment; }));
    CHECK(watched.state()->fault.find("ca.key") != std::string::npos);
}

TEST_CASE("one credential that changes leaves the others' states as they were") {
    Directory directory;
    write(directory / "a", secret("a"));
    write(directory / "b", secret("b"));
    Watched watched({bearer("a", file(directory / "a")), bearer("b", file(directory / "b"))});
    const auto a = watched.state(0), b = watched.state(1);
    replace(directory / "a", secret("a2"));
    REQUIRE(watched.becomes(secret("a2"), 0));
    CHECK(b == watched.state(1));
    CHECK(a->since < watched.state(0)->since);
    CHECK(a->serial != watched.state(0)->serial);
    CHECK(describe(*a) == secret("a"));  // a state never changes
}

TEST_CASE("a subscriber is told no more once it has unsubscribed", "[multi-worker]") {
    Directory directory;
    write(directory / "key", secret("old"));
    Watched watched({bearer("k", file(directory / "key"))});
    std::atomic<int> calls = 0;
    const std::size_t id = watched.board().subscribe([&](auto&) { ++calls; });
    watched.board().unsubscribe(id);
    replace(directory / "key", secret("new"));
    REQUIRE(watched.becomes(secret("new")));
    CHECK(calls == 0);
}

TEST_CASE("the secret before the last rotation is at hand as long as it is there") {
    Directory directory;
    write(directory / "key", secret("new"));
    write(directory / "before", secret("old"));
    CredentialSpec spec = bearer("k", file(directory / "key"));
    spec.rules.overlap = file(directory / "before");
    Watched watched({spec});
    REQUIRE(watched.state()->previous);
    CHECK(std::get<FixedValue>(watched.state()->previous->how).value.same_as("Bearer " + secret("old")));
    fs::remove(directory / "before");
    CHECK(testing::eventually([&] { return !watched.state()->previous; }));
    CHECK(watched.now() == secret("new"));
    CHECK(watched.notices().empty());
}

TEST_CASE("the watching thread ends when it is told to, not when it next looks") {
    Directory directory;
    write(directory / "key", secret("old"));
    auto watched = std::make_unique<Watched>(std::vector{bearer("k", file(directory / "key"))});
    const auto before = std::chrono::steady_clock::now();
    watched.reset();
    CHECK(std::chrono::steady_clock::now() - before < 10s);
}

TEST_CASE("a desk gives what is at hand, or says why there is nothing, and changes when it is told to") {
    Directory directory;
    write(directory / "key", secret("a"));
    Watched watched({bearer("good", file(directory / "key")), bearer("bad", file(directory / "none"))});
    DeskTable table;
    Desk desk(table, watched.slots(), nullptr);
    CHECK(describe(*desk.current(0)) == secret("a"));
    CHECK_FALSE(desk.current(1)->attachment);
    CHECK(desk.current(1)->fault.starts_with("credential 'bad': cannot read "));

    replace(directory / "key", secret("b"));
    REQUIRE(watched.becomes(secret("b")));
    CHECK(describe(*desk.current(0)) == secret("a"));  // until the worker looks
    table.refresh(watched.slots());
    CHECK(describe(*desk.current(0)) == secret("b"));
}

TEST_CASE("a rotation is routine, a loss is an error, and both name the credential in a field of its own") {
    testing::TemporaryDirectory secrets;
    const std::string key = secrets.file("key", secret("old"));
    testing::TestProxy proxy("credentials:\n  pay-key: {type: bearer, value: {file: " + key +
                             "}}\n  gone: {type: bearer, value: {file: /nonexistent/key}}\nvendors:\n  pay: {hosts: "
                             "[api.pay.example], credential: pay-key}\n  old: {hosts: [api.old.example], credential: gone}\n");
    CHECK(proxy.logs(R"("level":"error","event":"credential","credential":"gone","state":"unavailable","detail":"cre)"));
    write(key, secret("new"));
    CHECK(proxy.logs(R"("level":"info","event":"credential","credential":"pay-key","state":"changed"})"));
    fs::remove(key);
    CHECK(proxy.logs(R"("level":"error","event":"credential","credential":"pay-key","state":"unavailable","detail":)"));
    write(key, secret("new"));
    CHECK(proxy.logs(R"("level":"info","event":"credential","credential":"pay-key","state":"available"})"));
    CHECK(proxy.log().find(sentinel) == std::string::npos);
}

// ---- another policy

TEST_CASE("following another policy reads what is new, and keeps the very states of what did not change") {
    Directory directory;
    write(directory / "a", secret("a"));
    write(directory / "b", secret("b"));
    Watched watched({bearer("a", file(directory / "a")), bearer("gone", file(directory / "b"))});
    const auto before = watched.state(0);

    // Another place, another name for the same file, and one that was never there.
    watched.follow({bearer("b", file(directory / "b")), bearer("a", file(directory / "a")), bearer("none", file(directory / "none"))});
    REQUIRE(watched.slots().size() == 3);
    CHECK(watched.state(1) == before);
    CHECK(watched.now(0) == secret("b"));
    CHECK(watched.now(2).starts_with("!credential 'none': cannot read "));
    CHECK(watched.notices().size() == 1);
}

TEST_CASE("a name that stays is another credential where anything else of it is another") {
    Directory directory;
    write(directory / "a", secret("a"));
    write(directory / "b", secret("b"));
    Watched watched({bearer("key", file(directory / "a"))});
    CHECK(watched.now() == secret("a"));
    watched.follow({bearer("key", file(directory / "b"))});
    CHECK(watched.now() == secret("b"));
    CredentialSpec key = bearer("key", {});
    key.kind = ApiKeySpec{"", file(directory / "b")};
    key.place = {"X-Key", ""};
    watched.follow({key});
    CHECK(std::get<FixedValue>(watched.state()->attachment->how).name == "X-Key");
    // Its file is gone: what the name meant before is no substitute, not even for a moment.
    watched.follow({bearer("key", file(directory / "none"))});
    CHECK(watched.now().starts_with("!"));
}

TEST_CASE("the files of the policy that is followed are watched, and those of the one before no more") {
    Directory directory;
    write(directory / "a", secret("a"));
    write(directory / "b", secret("b"));
    Watched watched({bearer("env", variable("HOME"))});  // nothing to watch: there is no thread yet
    watched.follow({bearer("a", file(directory / "a"))});
    replace(directory / "a", secret("a2"));
    CHECK(watched.becomes(secret("a2")));
    const auto a = watched.slots().at(0);
    watched.follow({bearer("b", file(directory / "b"))});
    replace(directory / "a", secret("a3"));
    replace(directory / "b", secret("b2"));
    CHECK(watched.becomes(secret("b2")));
    CHECK(describe(*a->state()) == secret("a2"));
}

TEST_CASE("a rewrite that a reload meets half-way is still told from a loss") {
    Directory directory;
    write(directory / "a", secret("a"));
    Watched watched({bearer("a", file(directory / "a"))}, {{100ms, 1h}, 20ms});
    fs::remove(directory / "a");
    for (int i = 0; i < 20; ++i) {
        watched.follow({bearer("a", file(directory / "a")), bearer("other", variable("HOME"))});
        CHECK(watched.now() == secret("a"));  // its hour of grace did not begin anew, nor end
    }
    write(directory / "a", secret("b"));
    CHECK(watched.becomes(secret("b")));
}

TEST_CASE("a desk of the policy before hears of the credentials that the next one kept, and of no others") {
    Directory directory;
    write(directory / "a", secret("a"));
    write(directory / "b", secret("b"));
    Watched watched({bearer("key", file(directory / "a")), bearer("kept", file(directory / "b"))});
    DeskTable table;
    Desk before(table, watched.slots(), nullptr);
    watched.follow({bearer("kept", file(directory / "b")), bearer("key", file(directory / "b"))});
    Desk after(table, watched.slots(), nullptr);
    replace(directory / "b", secret("b2"));
    REQUIRE(watched.becomes(secret("b2"), 0));
    REQUIRE(watched.becomes(secret("b2"), 1));
    table.refresh(watched.slots());
    CHECK(describe(*before.current(0)) == secret("a"));
    CHECK(describe(*before.current(1)) == secret("b2"));
    CHECK(describe(*after.current(0)) == secret("b2"));
}
