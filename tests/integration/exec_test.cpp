// Programs that print credentials: shell scripts, good and bad, run as Sluice runs them.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "proxy/http/date.hpp"
#include "proxy/credentials/stamp.hpp"
#include "proxy/issuers/run_program.hpp"
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

Result<Minted> fetch(ExecSpec exec) {
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
    Result<Minted> got = Issuing(world, "", [](const KeeperNotice&) {}).fetch_once(policy, config->credentials[0], 15s);
    ::close(null);
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

const std::atomic<bool> going{false};

ProgramEnd run(std::vector<std::string> command, std::vector<std::pair<std::string, std::string>> environment = {}) {
    Program program;
    program.command = std::move(command);
    for (auto& [name, value] : environment) program.environment.emplace_back(name, Secret(std::move(value)));
    program.deadline = std::chrono::steady_clock::now() + 15s;
    return run_program(program, going);
}
std::string output_of(const ProgramEnd& end) {
    INFO(end.complaint);
    REQUIRE(end.how == ProgramEnd::How::exited);
    return std::string(end.output.reveal());
}

/// Is it gone, or only waiting to be reaped by whoever has it now?
bool is_gone(const std::string& pid) {
    std::ifstream stat("/proc/" + pid + "/stat");
    std::string line;
    if (!std::getline(stat, line)) return true;
    return line[line.rfind(')') + 2] == 'Z';
}

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
    CHECK(says(fetch(spec), "exited with 1; it said: it has nothing for 'registry.example'"));
}

TEST_CASE("a credential_process gives keys of AWS") {
    Scripts scripts;
    const auto got = fetch(spec_of(scripts.script("echo '{\"Version\":1,\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"wJalr\",\"SessionToken\":\"t\"}'"), ExecSpec::Format::credential_process));
    INFO((got ? "" : got.error().detail));
    REQUIRE(got.has_value());
    CHECK(std::get<AwsSecretKeys>(got->what).access_key_id == "AKIDEXAMPLE");
    CHECK(std::get<AwsSecretKeys>(got->what).secret_access_key.reveal() == "wJalr");
}

TEST_CASE("a program that fails is told of with its exit code and what it said first, never what it printed") {
    Scripts scripts;
    CHECK(says(fetch(spec_of(scripts.script("echo >&2; echo 'login expired: run corp login' >&2; echo second >&2; exit 3"))), "exited with 3; it said: login expired: run corp login"));
    CHECK_FALSE(says(fetch(spec_of(scripts.script("echo first >&2; echo second >&2; exit 3"))), "second"));
    const auto traced = fetch(spec_of(scripts.script("echo tok-of-the-plugin; echo '+ echo tok-of-the-plugin' >&2; exit 1")));
    CHECK(says(traced, "it said: + echo ***"));
    CHECK_FALSE(says(traced, "tok-of-the-plugin"));
    ExecSpec told = spec_of(scripts.script("echo \"bad password $PASSWORD\" >&2; exit 1"));
    told.environment = {{"PASSWORD", "hunter2hunter2"}};
    CHECK(says(fetch(told), "it said: bad password ***"));
    CHECK(says(fetch(spec_of(scripts.script("kill -9 $$"))), "was ended by signal 9 (Killed)"));
}

TEST_CASE("what is no credential is not taken for one") {
    Scripts scripts;
    CHECK(says(fetch(spec_of(scripts.script("echo garbage; echo oh >&2"))), "what it printed is not a JSON object; it said: oh"));
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

TEST_CASE("a program that takes too long is ended, with SIGKILL where it will not hear") {
    Scripts scripts;
    ExecSpec spec = spec_of(scripts.script("trap '' TERM\necho $$ > " + scripts.path("pid") + "\nwhile :; do sleep 1; done\n"));
    spec.timeout = 1s;
    const auto began = std::chrono::steady_clock::now();
    CHECK(says(fetch(spec), "did not end in time and was stopped"));
    CHECK(std::chrono::steady_clock::now() - began < 8s);
    std::string pid = scripts.read("pid");
    REQUIRE(pid.size() > 1);
    pid.pop_back();
    CHECK(is_gone(pid));
}

TEST_CASE("children that a program leaves behind hold nobody up, and end with it") {
    Scripts scripts;
    const auto began = std::chrono::steady_clock::now();
    CHECK(token_of(fetch(spec_of(scripts.script("sleep 300 &\necho $! > " + scripts.path("pid") + "\n" + good + "\n")))) == "tok-of-the-plugin");
    CHECK(std::chrono::steady_clock::now() - began < 8s);   // though its output is still open
    std::string pid = scripts.read("pid");
    REQUIRE(pid.size() > 1);
    pid.pop_back();
    CHECK(eventually([&] { return is_gone(pid); }));
}

TEST_CASE("a program has its own environment and nothing of ours but PATH and HOME") {
    ::setenv("SLUICE_TEST_SECRET", "must-not-be-seen", 1);
    const char* home_before = ::getenv("HOME");
    const std::string home = home_before ? home_before : "";
    ::setenv("HOME", "/home/of-ours", 1);
    const std::string seen = output_of(run({"env"}, {{"OWN", "value"}}));
    CHECK(seen == "OWN=value\nPATH=" + std::string(::getenv("PATH")) + "\nHOME=/home/of-ours\n");
    CHECK(output_of(run({"/usr/bin/env"}, {{"PATH", "/nowhere"}, {"HOME", "/x"}})) == "PATH=/nowhere\nHOME=/x\n");
    ::unsetenv("SLUICE_TEST_SECRET");
    ::setenv("HOME", home.c_str(), 1);
}

TEST_CASE("a program inherits no descriptor, no blocked signal and no handler, and is in a session of its own") {
    const int ours = ::open("/dev/null", O_RDONLY);   // without O_CLOEXEC: somebody's slip
    const int high = ::fcntl(ours, F_DUPFD, 200);
    sigset_t blocked, before;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGTERM);
    ::sigaddset(&blocked, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
    struct sigaction ignore {}, pipe_before {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &pipe_before);
    const std::string status = output_of(run({"cat", "/proc/self/status"}));
    const std::string open = output_of(run({"ls", "/proc/self/fd"}));
    const std::string input = output_of(run({"readlink", "/proc/self/fd/0"}));
    const std::string stat = output_of(run({"cat", "/proc/self/stat"}));
    ::sigaction(SIGPIPE, &pipe_before, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::close(ours);
    ::close(high);
    CHECK(open == "0\n1\n2\n3\n");   // 3 is the folder that ls reads
    CHECK(input == "/dev/null\n");
    CHECK(status.find("SigBlk:\t0000000000000000\n") != std::string::npos);
    CHECK(status.find("SigIgn:\t0000000000000000\n") != std::string::npos);
    std::istringstream words(stat.substr(stat.rfind(')') + 2));
    std::string state, parent, group, session;
    words >> state >> parent >> group >> session;
    CHECK(group == stat.substr(0, stat.find(' ')));
    CHECK(session == group);
}

TEST_CASE("a program that complains without an end is heard for 4 KiB, and one that reads nothing is not waited for") {
    const ProgramEnd end = run({"sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo 'complaint complaint complaint complaint' >&2; i=$((i+1)); done; echo done"});
    CHECK(output_of(end) == "done\n");
    CHECK(end.complaint.size() == 4096);
    Program program;
    program.command = {"sh", "-c", "exec 0<&-; echo done"};
    program.input = std::string(4096, 'x');
    program.deadline = std::chrono::steady_clock::now() + 15s;
    CHECK(output_of(run_program(program, going)) == "done\n");
}

TEST_CASE("a program is stopped when Sluice ends") {
    std::atomic<bool> stopping{false};
    Program program;
    program.command = {"sleep", "300"};
    ProgramEnd end;
    std::thread runner([&] { end = run_program(program, stopping); });
    stopping = true;
    runner.join();
    CHECK(end.how == ProgramEnd::How::stopped);
}
