#include "proxy/issuers/run_program.hpp"
#include "proxy/ports/signals_blocked.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

namespace sluice {

namespace {

constexpr std::size_t most_output = 1024 * 1024, most_complaint = 4096, most_input = 4096;
constexpr Duration glance = 100ms;   // at `stopping`
constexpr int first_free = 4;        // 0 1 2 are the program's, 3 tells why it could not be started

class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        close();
        fd_ = std::exchange(other.fd_, -1);
        return *this;
    }
    ~Descriptor() { close(); }

    int get() const { return fd_; }
    bool open() const { return fd_ >= 0; }
    void close() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

  private:
    int fd_ = -1;
};

struct Pipe {
    Descriptor read, write;
};

// Above the numbers that the program gets, so that none of them is written over before it is copied.
Descriptor lifted(int fd) {
    const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, first_free);
    ::close(fd);
    return Descriptor(high);
}

std::optional<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return {};
    Pipe pipe{lifted(ends[0]), lifted(ends[1])};
    if (!pipe.read.open() || !pipe.write.open()) return {};
    return pipe;
}

// The whole input fits into a pipe, so nobody has to write it while the program runs.
Descriptor make_input(const std::string& input) {
    if (input.empty()) {
        const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        return null < 0 ? Descriptor() : lifted(null);
    }
    auto pipe = make_pipe();
    if (!pipe || ::write(pipe->write.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size())) return {};
    return std::move(pipe->read);
}

std::string words_of(int error) { return std::generic_category().message(error); }

const Secret* find(const Program& program, std::string_view name) {
    for (const auto& [key, value] : program.environment)
        if (key == name) return &value;
    return nullptr;
}

// "NAME=value" and where they are, as exec takes them; wiped.
class Environment {
  public:
    explicit Environment(const Program& program) {
        for (const auto& [name, value] : program.environment) add(name, value.reveal());
        for (const char* name : {"PATH", "HOME"}) {
            const char* ours = std::getenv(name);
            if (ours && !find(program, name)) add(name, ours);
        }
        for (std::string& line : lines_) pointers_.push_back(line.data());
        pointers_.push_back(nullptr);
    }
    Environment(const Environment&) = delete;
    ~Environment() {
        for (std::string& line : lines_) wipe(line);
    }
    char* const* get() const { return pointers_.data(); }

  private:
    void add(std::string_view name, std::string_view value) {
        std::string line;
        line.reserve(name.size() + 1 + value.size());
        line.append(name).append("=").append(value);
        lines_.push_back(std::move(line));
    }
    std::vector<std::string> lines_;
    std::vector<char*> pointers_;
};

bool is_program(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

// As a shell finds it. Nothing: it is in none of PATH's folders.
std::optional<std::string> find_program(const Program& program) {
    const std::string& name = program.command[0];
    if (name.find('/') != name.npos) return name;
    const char* ours = std::getenv("PATH");
    const Secret* own = find(program, "PATH");
    std::string_view path = own ? own->reveal() : ours ? std::string_view(ours) : "/usr/local/bin:/usr/bin:/bin";
    while (!path.empty()) {
        const std::size_t colon = path.find(':');
        std::string candidate(path.substr(0, colon));
        if (!candidate.empty() && is_program(candidate += '/' + name)) return candidate;
        path.remove_prefix(colon == path.npos ? path.size() : colon + 1);
    }
    return {};
}

struct Start {
    const char* path;
    char* const* arguments;
    char* const* environment;
    int input, output, complaint, report;   // all of them first_free or above
    pid_t parent;
};

void close_from(int first) {
    if (::close_range(static_cast<unsigned>(first), ~0u, 0) == 0) return;
    rlimit limit{};   // a kernel before 5.9
    ::getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = first; fd < static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20)); ++fd) ::close(fd);
}

// In the child: nothing but what is safe after a fork of one thread among many (signal-safety(7)).
[[noreturn]] void become(const Start& start) {
    ::setsid();   // a group of its own, so that its children end with it; and no terminal
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != start.parent) ::_exit(127);   // it went before that was said
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);   // a core would hold what it is about to print
    struct sigaction usual {};
    usual.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &usual, nullptr);
    sigset_t nothing;
    ::sigemptyset(&nothing);
    ::dup2(start.input, 0);
    ::dup2(start.output, 1);
    ::dup2(start.complaint, 2);
    ::dup3(start.report, 3, O_CLOEXEC);
    close_from(first_free);
    ::sigprocmask(SIG_SETMASK, &nothing, nullptr);
    ::execve(start.path, start.arguments, start.environment);
    const int error = errno;
    static_cast<void>(!::write(3, &error, sizeof error));
    ::_exit(127);
}

// A program that has been started. Its id stays ours until it is reaped, which the destructor does last.
class Child {
  public:
    explicit Child(pid_t pid) : pid_(pid), handle_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}   // glibc 2.36 declares its own for C only
    Child(const Child&) = delete;
    ~Child() {
        signal(SIGKILL);
        siginfo_t info;
        while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {}
        // Where orphans come to us, as to whoever is process 1 in a container, they are ours to reap, or they stay for good: those of this group, whom nobody else waits for. All of it was just killed; but for who may not be, by us: nobody waits long for those.
        for (int left = 100; left > 0;) {
            const pid_t reaped = ::waitpid(-pid_, nullptr, WNOHANG);
            if (reaped < 0 && errno != EINTR) break;
            if (reaped == 0) std::this_thread::sleep_for(10ms), --left;
        }
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}   // it may have ended before it had a group
    }
    /// To all its group; to itself alone before it has one.
    void signal(int number) const {
        ::kill(-pid_, number);
        ::kill(pid_, number);
    }
    /// Readable when it has ended; -1 where the kernel has no such thing (before 5.3).
    int handle() const { return handle_.get(); }
    /// Without reaping it.
    std::optional<siginfo_t> ended() const {
        siginfo_t info{};
        if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return {};
        return info;
    }

  private:
    const pid_t pid_;
    const Descriptor handle_;
};

class Run {
  public:
    Run(const Program& program, const std::atomic<bool>& stopping) : program_(program), stopping_(stopping) {}
    ~Run() { wipe(output_); }

    ProgramEnd go();

  private:
    static ProgramEnd not_started(std::string why) { return {ProgramEnd::How::not_started, 0, {}, std::move(why)}; }
    void watch(const Child& child);
    void judge(const Child& child, TimePoint now);
    void give_up(const Child& child, ProgramEnd::How how, TimePoint now);
    void read_all();
    ProgramEnd end(const Child& child);

    const Program& program_;
    const std::atomic<bool>& stopping_;
    Descriptor out_, err_, report_;
    std::string output_, complaint_;
    int start_error_ = 0;
    std::optional<ProgramEnd::How> given_up_;
    TimePoint kill_at_ = never;
};

// What is there now. False: no more will come.
template <class Take>
bool drain(Descriptor& fd, Take&& take) {
    std::array<char, 16384> bytes;
    ssize_t got = -1;
    while (fd.open()) {
        got = ::read(fd.get(), bytes.data(), bytes.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (!take(std::string_view(bytes.data(), static_cast<std::size_t>(got)))) break;
    }
    const bool over = got == 0 || (got < 0 && errno != EAGAIN);
    explicit_bzero(bytes.data(), bytes.size());
    if (over) fd.close();
    return !over;
}

void Run::read_all() {
    drain(report_, [this](std::string_view bytes) {
        if (bytes.size() >= sizeof start_error_) bytes.copy(reinterpret_cast<char*>(&start_error_), sizeof start_error_);
        return true;
    });
    drain(out_, [this](std::string_view bytes) {
        append_wiping(output_, bytes.substr(0, most_output + 1 - std::min(output_.size(), most_output + 1)));
        return output_.size() <= most_output;
    });
    drain(err_, [this, turns = 0](std::string_view bytes) mutable {
        append_wiping(complaint_, bytes.substr(0, most_complaint - complaint_.size()));
        return ++turns < 16;   // whoever complains without an end keeps nobody from looking at the clock
    });
}

void Run::give_up(const Child& child, ProgramEnd::How how, TimePoint now) {
    if (given_up_) return;
    given_up_ = how;
    const Duration grace = how == ProgramEnd::How::stopped ? std::min<Duration>(program_.grace, 200ms) : program_.grace;
    kill_at_ = now + grace;
    child.signal(SIGTERM);
}

void Run::judge(const Child& child, TimePoint now) {
    if (output_.size() > most_output) give_up(child, ProgramEnd::How::too_much, now);
    if (stopping_) give_up(child, ProgramEnd::How::stopped, now);
    if (now >= program_.deadline) give_up(child, ProgramEnd::How::late, now);
    if (now >= kill_at_) {
        child.signal(SIGKILL);
        kill_at_ = never;
    }
}

// Until it has ended: not until its output has, which children that it leaves behind may hold open.
void Run::watch(const Child& child) {
    while (!child.ended()) {
        const TimePoint now = std::chrono::steady_clock::now();
        judge(child, now);
        const TimePoint wake = std::min({program_.deadline <= now ? never : program_.deadline, kill_at_, now + glance});
        const int patience = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wake - now).count());
        const bool full = output_.size() > most_output;   // what more comes is not read
        std::array<pollfd, 4> fds{{{full ? -1 : out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}, {report_.get(), POLLIN, 0}, {child.handle(), POLLIN, 0}}};
        ::poll(fds.data(), fds.size(), std::max(patience, 0));
        read_all();
    }
    read_all();
}

ProgramEnd Run::end(const Child& child) {
    const auto info = child.ended();
    ProgramEnd out;
    out.complaint = std::move(complaint_);
    if (start_error_ != 0) {
        std::string why = "cannot start " + program_.command[0] + ": " + words_of(start_error_);
        if (start_error_ == ENOEXEC) why += "; a script needs a first line such as #!/bin/sh";
        return not_started(std::move(why));
    }
    if (given_up_) {
        out.how = *given_up_;
    } else if (output_.size() > most_output) {
        out.how = ProgramEnd::How::too_much;
    } else {
        out.how = info->si_code == CLD_EXITED ? ProgramEnd::How::exited : ProgramEnd::How::signalled;
        out.code = info->si_status;
        out.output = Secret(std::move(output_));
    }
    return out;
}

ProgramEnd Run::go() {
    if (program_.command.empty() || program_.command[0].empty()) return not_started("there is no program to run");
    if (program_.input.size() > most_input) return not_started("more than 4 KiB for its standard input");
    const auto path = find_program(program_);
    if (!path) return not_started(program_.command[0] + " is in none of PATH's folders; write its whole path");
    auto out = make_pipe(), err = make_pipe(), report = make_pipe();
    Descriptor input = make_input(program_.input);
    if (!out || !err || !report || !input.open()) return not_started("cannot start " + program_.command[0] + ": " + words_of(errno));
    for (const Pipe* pipe : {&*out, &*err, &*report}) ::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
    std::vector<char*> arguments;
    for (const std::string& argument : program_.command) arguments.push_back(const_cast<char*>(argument.c_str()));   // as exec has it: it changes none
    arguments.push_back(nullptr);
    const Environment environment(program_);
    const Start start{path->c_str(), arguments.data(), environment.get(), input.get(), out->write.get(), err->write.get(), report->write.get(), ::getpid()};
    pid_t pid = -1;
    {
        const SignalsBlocked blocked;   // no handler of ours may run in it
        pid = ::fork();
        if (pid == 0) become(start);
    }
    if (pid < 0) return not_started("cannot start " + program_.command[0] + ": " + words_of(errno));
    const Child child(pid);
    out_ = std::move(out->read);
    err_ = std::move(err->read);
    report_ = std::move(report->read);
    for (Pipe* pipe : {&*out, &*err, &*report}) pipe->write.close();
    watch(child);
    return end(child);
}

}  // namespace

ProgramEnd run_program(const Program& program, const std::atomic<bool>& stopping) { return Run(program, stopping).go(); }

}  // namespace sluice
