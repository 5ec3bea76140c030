// Programs as they are run for a credential: what they are given, how they end, what is left of them.
#include "proxy/issuers/run_program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

using namespace sluice;

namespace {

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

TEST_CASE("a program that takes too long is ended, with SIGKILL where it will not hear") {
    Program program;
    program.command = {"sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done"};
    program.deadline = std::chrono::steady_clock::now() + 1s;
    CHECK(run_program(program, going).how == ProgramEnd::How::late);
    CHECK(std::chrono::steady_clock::now() - program.deadline < 8s);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);   // none is left to be waited for
}

TEST_CASE("children that a program leaves behind hold nobody up, and end with it") {
    const auto began = std::chrono::steady_clock::now();
    std::string pid = output_of(run({"sh", "-c", "sleep 300 & echo $!"}));
    CHECK(std::chrono::steady_clock::now() - began < 8s);   // though its output is still open
    REQUIRE(pid.size() > 1);
    pid.pop_back();
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (!is_gone(pid) && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    CHECK(is_gone(pid));
}

TEST_CASE("where orphans come to us, as to process 1, a program's are reaped, and a child that somebody else waits for is not") {
    const pid_t other = ::fork();
    if (other == 0) {
        ::setpgid(0, 0);
        ::_exit(7);
    }
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    for (const char* script : {"sleep 300 & (sleep 300 & sleep 300) & echo left", "sleep 300 & kill -9 $$"}) run({"sh", "-c", script});
    CHECK(::prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
    int status = 0;
    CHECK(::waitpid(other, &status, 0) == other);
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);   // none is left
}

TEST_CASE("a program that leaves its group behind holds nobody up") {
    const auto began = std::chrono::steady_clock::now();
    std::string pid = output_of(run({"sh", "-c", "setsid sleep 300 & echo $!"}));
    CHECK(std::chrono::steady_clock::now() - began < 8s);
    REQUIRE(pid.size() > 1);
    ::kill(std::stoi(pid), SIGKILL);   // where it had left already
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
