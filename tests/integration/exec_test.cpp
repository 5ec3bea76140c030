// Programs that print credentials: shell scripts, good and bad, run as Sluice runs them.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "proxy/credentials/stamp.hpp"
#include "proxy/serve/issuing.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

struct Scripts {
    TemporaryDirectory directory;

    std::string script(const std::string& text, const std::string& first = "#!/bin/sh\n") const {
        const std::string path = directory.file("script", first + text);
        ::chmod(path.c_str(), 0700);
        return path;
    }
    std::string path(const std::string& name) const { return directory.path() + '/' + name; }
    std::string read(const std::string& name) const {
        std::ifstream file(path(name));
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    }
};

Result<Minted> fetch(ExecSpec exec, std::string* said = nullptr) {
    CredentialSpec spec;
    spec.name = "corp";
    spec.kind = std::move(exec);
    auto config = std::make_shared<Config>();
    config->unmatched_vendor.index = 0;
    config->credentials.push_back(std::move(spec));
    const PolicySnapshot policy{config, std::make_shared<const ClientContexts>(*config), {}};
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    Telemetry telemetry(1, null, LogFormat::json);
    CredentialBoard board;
    World world;
    world.telemetry = &telemetry;
    world.board = &board;
    Issuing::Told told;
    Result<Minted> got = Issuing(world, "", [](const KeeperNotice&) {}).fetch_once(policy, config->credentials[0], 15s, nullptr, &told);
    ::close(null);
    if (said) *said = told.notes.empty() ? "" : told.notes.front();
    return got;
}

ExecSpec spec_of(const std::string& program, ExecSpec::Format format = ExecSpec::Format::exec_credential) {
    ExecSpec spec;
    spec.command = {program};
    spec.format = format;
    return spec;
}

std::string token_of(const Result<Minted>& got) {
    INFO((got ? std::string("(given)") : got.error().detail));
    REQUIRE(got.has_value());
    return std::string(std::get<Secret>(got->what).reveal());
}
bool says(const Result<Minted>& got, const std::string& words) {
    const std::string detail = got ? "(given)" : got.error().detail;
    UNSCOPED_INFO(detail);
    return detail.find(words) != std::string::npos;
}

constexpr const char* good = R"(echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"tok-of-the-plugin"}}')";

}  // namespace

TEST_CASE("an exec plugin gives a token, and is told what it is asked for") {
    Scripts scripts;
    const std::string end = iso_stamp(std::chrono::system_clock::now() + 10min);
    const auto got = fetch(spec_of(scripts.script("printf '%s' \"$KUBERNETES_EXEC_INFO\" > " + scripts.path("info") +
                                                  "\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"tok-1\",\"expirationTimestamp\":\"" + end + "\"}}'\n")));
    CHECK(token_of(got) == "tok-1");
    REQUIRE(got->lifetime.has_value());
    CHECK(*got->lifetime > Duration(9min));
    CHECK(*got->lifetime <= Duration(10min));
    const auto info = boost::json::parse(scripts.read("info"));
    CHECK(info.at("apiVersion") == "client.authentication.k8s.io/v1");
    CHECK(info.at("kind") == "ExecCredential");
    CHECK(info.at("spec").at("interactive") == false);
}

TEST_CASE("a docker helper is asked for a server, and gives a name and a password, or a token") {
    Scripts scripts;
    ExecSpec spec = spec_of("", ExecSpec::Format::docker);
    spec.server = "registry.example";
    spec.command = {scripts.script("read -r server\n[ \"$1\" = get ] || exit 9\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"bob\",\"Secret\":\"for-%s\"}' \"$server\" \"$server\"\n")};
    const auto pair = fetch(spec);
    INFO((pair ? "" : pair.error().detail));
    REQUIRE(pair.has_value());
    CHECK(std::get<UserPassword>(pair->what).username.reveal() == "bob");
    CHECK(std::get<UserPassword>(pair->what).password.reveal() == "for-registry.example");
    spec.command = {scripts.script("echo '{\"Username\":\"<token>\",\"Secret\":\"identity\"}'"), "get"};
    CHECK(token_of(fetch(spec)) == "identity");
    spec.command = {scripts.script("echo 'credentials not found in native keychain'; exit 1")};
    CHECK(says(fetch(spec), "exited with 1; it has nothing for 'registry.example'"));
}

TEST_CASE("a credential_process gives keys of AWS") {
    Scripts scripts;
    const auto got = fetch(spec_of(scripts.script("echo '{\"Version\":1,\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"wJalr\",\"SessionToken\":\"t\"}'"), ExecSpec::Format::credential_process));
    INFO((got ? "" : got.error().detail));
    REQUIRE(got.has_value());
    CHECK(std::get<AwsSecretKeys>(got->what).access_key_id == "AKIDEXAMPLE");
    CHECK(std::get<AwsSecretKeys>(got->what).secret_access_key.reveal() == "wJalr");
}

TEST_CASE("a program that fails is told of with its exit code; what it said first goes to the log alone, what it printed nowhere") {
    Scripts scripts;
    std::string said;
    const auto expired = fetch(spec_of(scripts.script("echo >&2; echo 'login expired: run corp login' >&2; echo second >&2; exit 3")), &said);
    CHECK(says(expired, "exited with 3"));
    CHECK_FALSE(says(expired, "login expired"));
    CHECK(said.ends_with(" said: login expired: run corp login"));
    fetch(spec_of(scripts.script("echo 'debug token=exec-secret-stderr-1' >&2; exit 3")), &said);
    CHECK(said.ends_with(" said: debug token=***"));
    fetch(spec_of(scripts.script("echo '" + std::string(190, 'x') + " AKIA2J7Q9X4Z8L3M5N6P' >&2; exit 3")), &said);   // where the line is cut
    CHECK(said.find("AKIA") == std::string::npos);
    const auto traced = fetch(spec_of(scripts.script("echo tok-of-the-plugin; echo '+ echo tok-of-the-plugin' >&2; exit 1")), &said);
    CHECK(said.ends_with(" said: + echo ***"));
    CHECK_FALSE(says(traced, "echo"));
    ExecSpec told = spec_of(scripts.script("echo \"bad password $PASSWORD\" >&2; exit 1"));
    told.environment = {{"PASSWORD", "hunter2hunter2"}};
    CHECK_FALSE(says(fetch(told, &said), "bad password"));
    CHECK(said.ends_with(" said: bad password ***"));
    CHECK(says(fetch(spec_of(scripts.script("kill -9 $$"))), "was ended by signal 9 (Killed)"));
}

TEST_CASE("what is no credential is not taken for one") {
    Scripts scripts;
    std::string said;
    CHECK(says(fetch(spec_of(scripts.script("echo garbage; echo oh >&2")), &said), "what it printed is not a JSON object"));
    CHECK(said.ends_with(" said: oh"));
    CHECK(says(fetch(spec_of(scripts.script(":"))), "it printed nothing"));
    CHECK(says(fetch(spec_of(scripts.script("echo '{\"kind\":\"Pod\"}'"))), "kind is 'Pod', not 'ExecCredential'"));
    CHECK(says(fetch(spec_of(scripts.script("echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}'"))),
               "has ended already"));
    CHECK(says(fetch(spec_of(scripts.script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"))), "printed more than 1 MiB and was stopped"));
    CHECK(says(fetch(spec_of(scripts.script("dd if=/dev/zero bs=65536 count=17 2>/dev/null"))), "printed more than 1 MiB"));
}

TEST_CASE("a program that cannot be started is told of") {
    Scripts scripts;
    CHECK(says(fetch(spec_of("no-such-program-anywhere")), "no-such-program-anywhere is in none of PATH's folders"));
    CHECK(says(fetch(spec_of(scripts.path("missing"))), "No such file or directory"));
    CHECK(says(fetch(spec_of(scripts.script(good, ""))), "#!/bin/sh"));
    CHECK(token_of(fetch(spec_of(scripts.script(good)))) == "tok-of-the-plugin");
}

TEST_CASE("a program that takes longer than its timeout is told of") {
    Scripts scripts;
    ExecSpec spec = spec_of(scripts.script("exec sleep 300"));
    spec.timeout = 300ms;
    CHECK(says(fetch(spec), "did not end in time and was stopped"));
}
