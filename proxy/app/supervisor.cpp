#include "proxy/app/supervisor.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <thread>

#include "certs/constraints.hpp"
#include "certs/leaf.hpp"
#include "config/decode.hpp"
#include "proxy/app/admin.hpp"
#include "proxy/app/catalogue.hpp"
#include "proxy/app/cpus.hpp"
#include "proxy/app/file_access.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/base/text.hpp"
#include "proxy/issuers/files.hpp"
#include "proxy/serve/listener.hpp"
#include "proxy/serve/worker.hpp"
#include "proxy/wire/contexts.hpp"

namespace sluice {

namespace {

constexpr std::size_t descriptors_of_our_own = 256;  // listeners, admin, files, epoll, resolvers
constexpr std::size_t most_connections = 65536;

/// Every application's connection is one descriptor, and a second one to its vendor while it is served. Most are idle, so
/// three quarters are for applications; where the rest runs out, dialling answers 503 `overloaded`.
std::size_t connections_that_fit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
    const std::size_t descriptors = limit.rlim_cur;
    if (descriptors <= 2 * descriptors_of_our_own) return std::max<std::size_t>(descriptors / 4, 1);
    return std::min((descriptors - descriptors_of_our_own) / 4 * 3, most_connections);
}

/// Threads made while this lives never see a signal: they are all for the thread that runs the supervisor.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

template <class T>
T value_or_throw(CertResult<T> result) {
    if (!result) throw StartFault(result.error().what);
    return std::move(*result);
}

/// Private to us where we make it; one that is there already (a volume's mount point) is left as it is.
void make_state_directory(const std::string& path) {
    if (path.empty()) {
        throw StartFault(
            "no state directory: neither XDG_STATE_HOME nor HOME is set; write `state: /var/lib/sluice` (or another) "
            "in the policy");
    }
    std::error_code error;
    const bool made = std::filesystem::create_directories(path, error);
    if (!error && made) std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
    if (error) {
        throw StartFault("cannot make the state directory " + path + ": " + error.message() +
                         "; make it and give it to this user, or name another with `state:` in the policy");
    }
}

std::shared_ptr<const CertAuthority> authority_of(const Config& config, std::string& note) {
    const WallTime now = std::chrono::system_clock::now();
    const auto shared = [](CertResult<CertAuthority> made) {
        return std::make_shared<const CertAuthority>(value_or_throw(std::move(made)));
    };
    const SigningScope scope{config.intercepted_hosts(), config.authority.name_constraints};
    switch (config.authority.kind) {
    case AuthoritySpec::Kind::persistent: return shared(CertAuthority::persistent(config.state, now, note, scope));
    case AuthoritySpec::Kind::ephemeral: return shared(CertAuthority::make(now, scope));
    case AuthoritySpec::Kind::given:
        auto given = shared(CertAuthority::given(config.authority.cert_file, config.authority.key_file, now));
        if (const auto fit = constraints_cover(given->certificate(), scope.hosts); !fit)
            note = config.authority.cert_file + ": " + fit.error().what + "; applications will refuse what it signs";
        return given;
    }
    return nullptr;
}

}  // namespace

void harden_process() {
    ::prctl(PR_SET_DUMPABLE, 0);
    ::signal(SIGPIPE, SIG_IGN);
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct Supervisor::Impl {
    Impl(std::shared_ptr<const Config> policy, Options how)
        : config(std::move(policy)), options(std::move(how)), work(io.get_executor()), drain_end(io) {}

    /// Not the constructor's: what has been made when it throws is taken down by the destructor.
    void start() {
        const SignalsBlocked blocked;
        telemetry = std::make_unique<Telemetry>(config, options.log_fd, options.log_format);
        bind();  // before anything is published: a second Sluice started by mistake must not replace the first one's
                 // bundle
        make_world();
        admin = std::make_unique<Admin>(io, admin_views());
        make_workers();
        for (Listener& listener : applications) listener.start();
        for (Listener& listener : observers) listener.start();
        tell_started();
    }

    ~Impl() {
        for (const auto& worker : workers) worker->stop();
        for (std::thread& thread : threads) thread.join();
    }

    void bind() {
        const auto tcp = [this](const ListenAddress& address, Listener::Deal deal) {
            return Listener::tcp(io, address, std::move(deal));
        };
        try {
            applications.push_back(tcp(config->listen.proxy, [this](int fd) { deal(fd, Entrance::proxy); }));
            addresses.proxy = applications.back().address();
            if (const std::string& path = config->listen.unix_path; !path.empty()) {
                applications.push_back(
                    Listener::unix_socket(io, path, [this](int fd) { deal(fd, Entrance::unix_socket); }));
                addresses.unix_path = path;
            }
            observers.push_back(tcp(config->listen.admin, [this](int fd) { admin->adopt(fd, Admin::Door::admin); }));
            addresses.admin = observers.back().address();
            if (config->listen.metrics) {
                observers.push_back(
                    tcp(*config->listen.metrics, [this](int fd) { admin->adopt(fd, Admin::Door::metrics); }));
                addresses.metrics = observers.back().address();
            }
        } catch (const std::system_error& error) {
            throw StartFault(error.what());
        }
    }

    void make_world() {
        const std::string directory = published_directory(*config);
        const bool in_state =
            config->authority.kind == AuthoritySpec::Kind::persistent || config->authority.publish.empty();
        if (in_state) make_state_directory(config->state);
        std::string note;
        const auto authority = authority_of(*config, note);
        if (!note.empty()) telemetry->notice(Level::warning, "authority", {{"detail", note}});
        published = value_or_throw(publish(*authority, directory));
        if (const std::string closed = closed_to_others(directory); !closed.empty()) {
            telemetry->notice(Level::info, "ca_private",
                              {{"directory", directory},
                               {"closed", closed},
                               {"detail", "applications of another user cannot read the CA: where there are some, write "
                                          "`authority.publish: /run/sluice/ca` (or another directory that they may enter)"}});
        }
        world.identity = value_or_throw(LeafIdentity::make(authority));
        world.config = config;
        world.contexts = std::make_shared<const ClientContexts>(*config);
        for (const Vendor& vendor : config->vendors) {
            const std::string& fault = world.contexts->fault_of(vendor);
            if (fault.empty()) continue;
            telemetry->notice(Level::warning, "vendor_tls_unavailable", {{"vendor", vendor.name}, {"detail", fault}});
        }
        secrets = std::make_unique<SecretFiles>(config, [this](const SecretNotice& notice) {
            const std::string_view state = name_of(notice.state);
            if (notice.state == SecretNotice::State::unavailable) {  // its requests get 503
                telemetry->notice(Level::error, "credential",
                                  {{"credential", notice.credential}, {"state", state}, {"detail", notice.detail}});
            } else {
                telemetry->notice(Level::info, "credential", {{"credential", notice.credential}, {"state", state}});
            }
        });
        world.telemetry = telemetry.get();
        world.secrets = secrets.get();
        world.own = {addresses.proxy, addresses.admin};
        if (addresses.metrics) world.own.push_back(*addresses.metrics);
        world.max_connections = connections_that_fit();
    }

    void make_workers() {
        const unsigned count = config->workers ? config->workers : cpus_of_this_process();
        for (unsigned i = 0; i < count; ++i) workers.push_back(std::make_unique<Worker>(world, i));
        for (unsigned i = 0; i < count; ++i) threads.emplace_back([this, i] { run_worker(i); });
    }

    void run_worker(unsigned index) {
        ::pthread_setname_np(::pthread_self(), ("sluice-" + std::to_string(index)).c_str());
        try {
            workers[index]->run();
        } catch (const std::exception& error) {
            telemetry->notice(Level::error, "worker_failed", {{"detail", error.what()}});
        }
        boost::asio::post(io, [this] { worker_ended(); });
    }

    void worker_ended() {
        if (!leaving) {
            failed = true;
            stop_all();
        }
        if (++ended < workers.size()) return;
        drain_end.cancel();
        admin->close();
        observers.clear();
        telemetry->notice(Level::info, "stopped", {});
        io.stop();
    }

    void deal(int fd, Entrance entrance) { workers[next++ % workers.size()]->adopt(fd, entrance); }

    AdminViews admin_views() {
        return {[this] { return telemetry->scrape(); }, [this] { return describe_config(*config); },
                [this] { return describe_vendors(*config, *secrets->snapshot(), *world.contexts); },
                [this] { return waiting_for(); }};
    }

    /// The constructor has bound, published and started before admin can be asked.
    std::vector<std::string> waiting_for() const {
        if (leaving) return {"Sluice is shutting down"};
        return {};
    }

    void tell_started() {
        const std::string proxy = addresses.proxy.text(), admin_text = addresses.admin.text();
        const std::string metrics = addresses.metrics ? addresses.metrics->text() : std::string();
        telemetry->notice(Level::info, "started",
                          {{"version", SLUICE_VERSION},
                           {"policy", options.policy},
                           {"digest", config->digest},
                           {"proxy", proxy},
                           {"unix", addresses.unix_path},
                           {"admin", admin_text},
                           {"metrics", metrics},
                           {"workers", std::to_string(workers.size())},
                           {"max_connections", std::to_string(world.max_connections)},
                           {"ca", published.ca_crt}});
    }

    void drain_all() {
        if (leaving) return;
        leaving = true;
        telemetry->notice(Level::info, "draining",
                          {{"connections", std::to_string(world.connections.load())},
                           {"for_at_most", format_duration(options.drain)}});
        applications.clear();
        for (const auto& worker : workers) worker->drain();
        drain_end.expires_after(options.drain);
        drain_end.async_wait([this](boost::system::error_code error) {
            if (!error) stop_all();
        });
    }

    void stop_all() {
        leaving = true;
        if (const std::size_t cut = world.connections.load()) {
            telemetry->notice(Level::warning, "cut_off", {{"connections", std::to_string(cut)}});
        }
        applications.clear();
        for (const auto& worker : workers) worker->stop();
    }

    std::shared_ptr<const Config> config;
    Options options;
    boost::asio::io_context io{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
    boost::asio::steady_timer drain_end;
    std::unique_ptr<Telemetry> telemetry;
    std::unique_ptr<SecretFiles> secrets;
    World world;
    Addresses addresses;
    Published published;
    std::vector<Listener> applications, observers;
    std::unique_ptr<Admin> admin;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<std::thread> threads;
    std::size_t next = 0, ended = 0;
    bool leaving = false, failed = false;  // of the loop's thread only
};

Supervisor::Supervisor(std::shared_ptr<const Config> config, Options options)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(options))) {
    impl_->start();
}
Supervisor::~Supervisor() = default;

const Addresses& Supervisor::addresses() const {
    return impl_->addresses;
}
const Published& Supervisor::published() const {
    return impl_->published;
}
unsigned Supervisor::workers() const {
    return static_cast<unsigned>(impl_->workers.size());
}
Telemetry& Supervisor::telemetry() {
    return *impl_->telemetry;
}
boost::asio::io_context& Supervisor::io() {
    return impl_->io;
}

bool Supervisor::run() {
    impl_->io.run();
    return !impl_->failed;
}

void Supervisor::drain() {
    boost::asio::post(impl_->io, [impl = impl_.get()] { impl->drain_all(); });
}

void Supervisor::stop() {
    boost::asio::post(impl_->io, [impl = impl_.get()] { impl->stop_all(); });
}

}  // namespace sluice
