// The running proxy: what all workers share, the workers and their threads, the listeners, admin. `run`, `exec` and
// `demo` each own one; what signals mean is theirs to say. Made and run on one thread; `drain`, `stop` and `reload` may
// be called from any.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "certs/bundle.hpp"
#include "config/config.hpp"
#include "proxy/app/reload.hpp"
#include "proxy/base/time.hpp"
#include "proxy/serve/application_times.hpp"
#include "proxy/telemetry/telemetry.hpp"

namespace sluice {

/// Why the proxy could not start, for people: what, where, and what to do.
struct StartFault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Once for the process, before the first thread: no core dump and no ptrace by the application's user (secrets are in
/// memory; its environment holds some), no SIGPIPE, as many descriptors as the machine allows.
void harden_process();

/// Where it listens, as bound.
struct Addresses {
    ListenAddress proxy;
    std::string unix_path;
    ListenAddress admin;
    std::optional<ListenAddress> metrics;
};

class Supervisor {
  public:
    struct Options {
        int log_fd = 1;  // not closed
        LogFormat log_format = LogFormat::json;
        Duration drain = 30s;                  // how long what is in flight may take once a drain has begun
        std::string policy;                    // its file, for the log
        std::shared_ptr<PolicySource> source;  // what `config` was loaded from, watched and read again; null: no reload
        ReloadTimes reload_times;
        ApplicationTimes application_times;
    };

    /// Makes or reads the authority, publishes it, binds every listener and starts the workers: from here on
    /// applications are served as soon as `run` runs. Throws StartFault.
    Supervisor(std::shared_ptr<const Config> config, Options options);
    /// Stops what still runs.
    ~Supervisor();

    const Addresses& addresses() const;
    const Published& published() const;
    unsigned workers() const;
    Telemetry& telemetry();

    /// Of a client that has one, by the policy in force. Waits for one that is fetched as long as readiness does; a
    /// Failure says why there is none.
    Result<Secret> password_of(const ClientSpec& client) const;

    /// The loop of `run`: for the signals and children that a command looks after.
    boost::asio::io_context& io();

    /// Accepts and answers admin until a drain or a stop is over. False: a worker ended though nobody had asked it to.
    bool run();

    /// Listeners close, what is in flight ends within Options::drain, then `run` returns. A second call changes
    /// nothing.
    void drain();
    /// `run` returns at once; what is in flight is cut off.
    void stop();

    /// Reads the policy again, whole, on a thread of its own, and puts it in force; one that is bad, or that changes
    /// what only a restart can change, is refused, and the one from before goes on. The log says which. `why`: a word
    /// for it.
    void reload(std::string why);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
