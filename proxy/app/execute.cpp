#include "proxy/app/execute.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "proxy/app/policy_file.hpp"
#include "proxy/app/signals.hpp"
#include "proxy/app/supervisor.hpp"
#include "proxy/base/codec.hpp"

extern char** environ;

namespace sluice {

namespace {

constexpr std::uint16_t built_in_proxy_port = 15001, built_in_admin_port = 15000;

/// Names of the variables that the policy's secrets come from.
std::set<std::string, std::less<>> secret_variables(const Config& config) {
    std::set<std::string, std::less<>> names;
    for (const auto* specs : {&config.credentials, &config.secrets})
        for (const CredentialSpec& spec : *specs)
            for (const SecretSource* source : spec.secrets())
                if (source->kind == SecretSource::Kind::environment) names.insert(source->name);
    return names;
}

/// What the process was started with, before anything of ours changed it.
struct Inheritance {
    std::vector<int> descriptors;  // in order
    rlimit descriptor_limit{}, core_limit{};

    static Inheritance take() {
        Inheritance inherited;
        ::getrlimit(RLIMIT_NOFILE, &inherited.descriptor_limit);
        ::getrlimit(RLIMIT_CORE, &inherited.core_limit);
        if (DIR* folder = ::opendir("/proc/self/fd")) {
            const int own = ::dirfd(folder);
            while (const dirent* entry = ::readdir(folder)) {
                const int fd = std::atoi(entry->d_name);
                if (entry->d_name[0] != '.' && fd != own) inherited.descriptors.push_back(fd);
            }
            ::closedir(folder);
        }
        std::sort(inherited.descriptors.begin(), inherited.descriptors.end());
        return inherited;
    }

    /// In the child: everything that was opened since closes when the command starts. Only system calls.
    void keep_only_descriptors() const {
        unsigned from = 3;
        for (int fd : descriptors) {
            const auto kept = static_cast<unsigned>(std::max(fd, 2));
            if (kept > from) close_when_executed(from, kept - 1);
            from = std::max(from, kept + 1);
        }
        close_when_executed(from, ~0u);
    }

    static void close_when_executed(unsigned from, unsigned to) {
        if (::close_range(from, to, CLOSE_RANGE_CLOEXEC) == 0) return;
        rlimit limit{};  // a kernel before 5.11
        if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
        for (unsigned fd = from; fd <= to && fd < limit.rlim_cur; ++fd)
            ::fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
    }
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

/// The child's half between fork and exec: only calls that are safe while other threads hold locks. Never returns.
[[noreturn]] void become(char* const* command, char* const* environment, const Inheritance& inherited,
                         const sigset_t& mask, int report) {
    inherited.keep_only_descriptors();
    ::setrlimit(RLIMIT_NOFILE, &inherited.descriptor_limit);
    ::setrlimit(RLIMIT_CORE, &inherited.core_limit);
    ::signal(SIGPIPE, SIG_DFL);
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    ::execvpe(command[0], command, environment);
    const int error = errno;
    ::_exit(::write(report, &error, sizeof error) < 0 ? 126 : 127);  // nobody looks at it: the report is what counts
}

/// The running command.
class Child {
  public:
    /// 0, or the errno with which it could not be run.
    int start(std::vector<std::string> command, std::vector<std::string> environment, const Inheritance& inherited,
              const sigset_t& mask) {
        const std::vector<char*> arguments = pointers(command), variables = pointers(environment);
        int report[2];
        if (::pipe2(report, O_CLOEXEC) != 0) return errno;
        pid_ = ::fork();
        if (pid_ == 0) become(arguments.data(), variables.data(), inherited, mask, report[1]);
        int error = pid_ < 0 ? errno : 0;
        ::close(report[1]);
        if (pid_ > 0 && ::read(report[0], &error, sizeof error) == sizeof error)
            wait(0);  // the pipe closed unread: it runs
        ::close(report[0]);
        return error;
    }

    void send(int signal) const {
        if (pid_ > 0) ::kill(pid_, signal);
    }

    /// True once it has ended.
    bool wait(int flags) {
        int status = 0;
        if (pid_ <= 0 || ::waitpid(pid_, &status, flags) != pid_) return pid_ <= 0;
        pid_ = 0;
        code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return true;
    }

    int code() const { return code_; }

  private:
    pid_t pid_ = 0;
    int code_ = 0;
};

/// An open log; -1 where it could not be opened.
class LogFile {
  public:
    explicit LogFile(const std::string& path)
        : fd_(path.empty() ? STDERR_FILENO : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
    ~LogFile() {
        if (fd_ > STDERR_FILENO) ::close(fd_);
    }
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;
    int fd() const { return fd_; }

  private:
    int fd_;
};

/// "NAME:PASSWORD" for the command's proxy URL: what it could not know, as its environment is without our secrets.
std::string user_of(const Supervisor& supervisor, const Config& config, const std::string& name) {
    if (name.empty()) return {};
    const auto found = std::find_if(config.clients.begin(), config.clients.end(),
                                    [&](const ClientSpec& client) { return client.name == name; });
    if (found == config.clients.end()) throw StartFault("--client " + name + ": the policy has no client of that name");
    if (!found->password) throw StartFault("--client " + name + ": it has no password, and a uid is known on the socket file only");
    const auto password = supervisor.password_of(*found);
    if (!password) throw StartFault("--client " + name + ": " + password.error().detail);
    std::string user = name + ':';
    append_percent_encoded(user, password->reveal());
    return user;
}

Variables variables_of(const Supervisor& supervisor, const Config& config, const std::string& client) {
    const std::string published = std::filesystem::path(supervisor.published().ca_crt).parent_path().string();
    return environment_for(
        {supervisor.addresses().proxy, std::filesystem::absolute(published).string(), config.no_proxy, user_of(supervisor, config, client)});
}

int run_inside(std::shared_ptr<const Config> config, Supervisor::Options supervising, const ExecOptions& options,
               const Inheritance& inherited, Streams& streams) {
    const BlockedSignals signals({SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH});
    Supervisor supervisor(config, std::move(supervising));
    if (!config->clients.empty() && options.client.empty())
        streams.err << "the policy has clients, and the command is none of them until --client NAME says so: it gets 407\n";
    Child child;
    const int error =
        child.start(options.command, child_environment(environ, *config, variables_of(supervisor, *config, options.client)), inherited,
                    signals.before());
    if (error) {
        streams.err << streams.err.paint(Colour::red, "cannot run " + options.command.front()) << ": "
                    << std::generic_category().message(error) << "\n";
        return error == ENOENT ? 127 : 126;
    }
    bool ended = false;
    const SignalReader reader(signals, supervisor.io(), [&](const Signal& signal) {
        const bool asks_to_end = signal.number == SIGTERM || signal.number == SIGINT;
        if (signal.number == SIGCHLD) {
            if (!ended && child.wait(WNOHANG)) {
                ended = true;
                supervisor.drain();
            }
        } else if (!ended) {
            if (!signal.from_terminal) child.send(signal.number);  // else the command has it from the terminal itself
        } else if (asks_to_end) {
            supervisor.stop();
        }
    });
    if (supervisor.run()) return child.code();
    child.send(SIGTERM);
    child.wait(0);
    return code_of(Exit::failure);
}

}  // namespace

std::vector<std::string> child_environment(const char* const* inherited, const Config& config, const Variables& added) {
    const auto secrets = secret_variables(config);
    const auto replaced = [&added](std::string_view name) {
        return std::any_of(added.begin(), added.end(), [name](const auto& variable) { return variable.first == name; });
    };
    std::vector<std::string> out;
    std::string java_before;
    for (; *inherited; ++inherited) {
        const std::string_view entry = *inherited;
        const std::string_view name = entry.substr(0, entry.find('='));
        if (name == "JAVA_TOOL_OPTIONS") java_before = entry.substr(std::min(name.size() + 1, entry.size()));
        if (name == "SSL_CERT_DIR" || replaced(name) || secrets.contains(name)) continue;
        out.emplace_back(entry);
    }
    for (const auto& [name, value] : added) {
        const bool keep = name == "JAVA_TOOL_OPTIONS" && !java_before.empty();
        out.push_back(name + '=' + (keep ? java_before + ' ' : std::string()) + value);
    }
    return out;
}

Config with_free_ports(const Config& config) {
    Config changed = config;
    if (changed.listen.proxy.port == built_in_proxy_port) changed.listen.proxy.port = 0;
    if (changed.listen.admin.port == built_in_admin_port) changed.listen.admin.port = 0;
    return changed;
}

int execute(const ExecOptions& options, Streams& streams) {
    const Inheritance inherited = Inheritance::take();
    const Loaded loaded = load_to_run(options.config, streams.err, with_free_ports);
    if (!loaded.config) return code_of(Exit::bad_policy);
    const LogFile log(options.log);
    if (log.fd() < 0) {
        streams.err << "cannot write the log " << options.log << ": " << std::generic_category().message(errno) << "\n";
        return code_of(Exit::failure);
    }
    harden_process();
    Supervisor::Options supervising;
    supervising.log_fd = log.fd();
    supervising.log_format = ::isatty(log.fd()) ? LogFormat::logfmt : LogFormat::json;
    supervising.drain = options.drain;
    supervising.policy = loaded.source->path();
    supervising.source = loaded.source;
    try {
        return run_inside(loaded.config, std::move(supervising), options, inherited, streams);
    } catch (const StartFault& fault) {
        streams.err << streams.err.paint(Colour::red, "cannot start") << ": " << fault.what() << "\n";
        return code_of(Exit::failure);
    }
}

}  // namespace sluice
