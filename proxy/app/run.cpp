#include "proxy/app/run.hpp"

#include <unistd.h>

#include "proxy/app/policy_file.hpp"
#include "proxy/app/signals.hpp"
#include "proxy/app/supervisor.hpp"

namespace sluice {

namespace {

/// For whoever sits in front of it; machines read the log's "started" line.
void greet(Console& console, const Supervisor& supervisor, const std::string& policy) {
    const Addresses& at = supervisor.addresses();
    const auto line = [&console](std::string_view label, const std::string& value) {
        console << "  " << console.paint(Colour::dim, label) << std::string(10 - label.size(), ' ') << value << "\n";
    };
    console << console.paint(Colour::green, "Sluice " SLUICE_VERSION " is ready") << "\n";
    line("proxy", "http://" + at.proxy.text());
    if (!at.unix_path.empty()) line("socket", at.unix_path);
    line("admin", "http://" + at.admin.text() + "/metrics /live /ready /config /vendors");
    if (at.metrics) line("metrics", "http://" + at.metrics->text() + "/metrics");
    line("CA", supervisor.published().ca_crt);
    console << console.paint(Colour::dim,
                             "  another shell: eval \"$(sluice env --config " + policy + ")\"; end with Ctrl-C")
            << "\n";
    console.flush();
}

int serve(std::shared_ptr<const Config> config, Supervisor::Options options, Streams& streams) {
    const BlockedSignals signals({SIGTERM, SIGINT, SIGHUP});
    const std::string policy = options.policy;
    Supervisor supervisor(std::move(config), std::move(options));
    bool leaving = false;
    const SignalReader reader(signals, supervisor.io(), [&](const Signal& signal) {
        if (signal.number == SIGHUP) {
            supervisor.reload("SIGHUP");
        } else if (leaving) {
            supervisor.stop();
        } else {
            leaving = true;
            supervisor.drain();
        }
    });
    if (streams.err.terminal()) greet(streams.err, supervisor, policy);
    return code_of(supervisor.run() ? Exit::fine : Exit::failure);
}

}  // namespace

int run_proxy(const std::string& given, Duration drain, Streams& streams) {
    Loaded loaded = load_to_run(given, streams.err);
    if (!loaded.config) return code_of(Exit::bad_policy);
    harden_process();
    Supervisor::Options options;
    options.log_fd = STDOUT_FILENO;
    options.log_format = streams.out.terminal() ? LogFormat::logfmt : LogFormat::json;
    options.drain = drain;
    options.policy = loaded.source->path();
    options.source = std::move(loaded.source);
    try {
        return serve(std::move(loaded.config), std::move(options), streams);
    } catch (const StartFault& fault) {
        streams.err << streams.err.paint(Colour::red, "cannot start") << ": " << fault.what() << "\n";
        return code_of(Exit::failure);
    }
}

}  // namespace sluice
