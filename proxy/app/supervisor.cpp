#include "proxy/app/supervisor.hpp"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <future>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "certs/constraints.hpp"
#include "certs/leaf.hpp"
#include "config/decode.hpp"
#include "config/reload.hpp"
#include "proxy/app/admin.hpp"
#include "proxy/app/audit_words.hpp"
#include "proxy/app/breakers.hpp"
#include "proxy/app/catalogue.hpp"
#include "proxy/app/cpus.hpp"
#include "proxy/app/file_access.hpp"
#include "proxy/app/policy_file.hpp"
#include "proxy/app/standing.hpp"
#include "proxy/base/text.hpp"
#include "proxy/issuers/files.hpp"
#include "proxy/policy/vendor_state.hpp"
#include "proxy/ports/signals_blocked.hpp"
#include "proxy/serve/issuing.hpp"
#include "proxy/serve/listener.hpp"
#include "proxy/serve/overload.hpp"
#include "proxy/serve/worker.hpp"
#include "proxy/telemetry/audit_trail.hpp"
#include "proxy/wire/contexts.hpp"

namespace sluice {

namespace {

TimePoint now() {
    return std::chrono::steady_clock::now();
}

WallTime wall_now() {
    return std::chrono::system_clock::now();
}

constexpr std::size_t descriptors_of_our_own = 256;  // listeners, admin, files, epoll, resolvers
constexpr std::size_t most_connections = 65536;
constexpr Duration longest_wait_for_credentials = 10s;  // of readiness

/// Every application's connection is one descriptor, and a second one to its vendor while it is served. Most are idle,
/// so three quarters are for applications; where the rest runs out, dialling answers 503 `overloaded`.
std::size_t connections_that_fit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
    const std::size_t descriptors = limit.rlim_cur;
    if (descriptors <= 2 * descriptors_of_our_own) return std::max<std::size_t>(descriptors / 4, 1);
    return std::min((descriptors - descriptors_of_our_own) / 4 * 3, most_connections);
}

template <class T>
T value_or_throw(CertResult<T> result) {
    if (!result) throw StartFault(result.error().what);
    return std::move(*result);
}

/// Private to us where we make it. One that is there already (a volume's mount point) keeps who may read it; who may
/// write to it could give us a CA of theirs. Returns what is to be said about that.
std::string make_state_directory(const std::string& path) {
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
    if (!writable_by_others(path)) return {};
    if (close_to_others_writing(path)) return path + " could be written to by other users: closed to them (mode go-w)";
    return path + " can be written to by other users, who could put files in the place of ours: chmod go-w it, or name " +
           "a directory below it with `state:` in the policy, which Sluice then makes for itself alone";
}

/// Then the kernel says at its door whose a connection is: who may come in is the policy's to say, not the file's mode.
bool knows_by_uid(const Config& config) {
    return std::any_of(config.clients.begin(), config.clients.end(),
                       [](const ClientSpec& client) { return client.uid.has_value(); });
}

/// An issuer that rotates them takes each once: the place for the next one must be there before it is given.
bool keeps_refresh_tokens(const Config& config) {
    return std::any_of(config.credentials.begin(), config.credentials.end(), [](const CredentialSpec& spec) {
        const auto* oauth = std::get_if<OAuthSpec>(&spec.kind);
        return oauth && oauth->grant == OAuthSpec::Grant::refresh_token;
    });
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

using Snapshot = std::shared_ptr<const PolicySnapshot>;

boost::json::object described(const Config& config) {
    return boost::json::parse(describe_config(config)).as_object();
}

/// The files that the TLS rules of vendors and issuers name.
std::vector<std::string> tls_files(const Config& config) {
    std::set<std::string> files;
    for (const auto* reached : {&config.vendors, &config.issuers})
        for (const Vendor& one : *reached)
            for (const std::string* file : {&one.tls.ca_file, &one.tls.client_cert_file, &one.tls.client_key_file})
                if (!file->empty()) files.insert(*file);
    return {files.begin(), files.end()};
}

/// `path`: "vendors.pay".
Fault fault_of(const Vendor& vendor, const std::string& what, const std::string& path) {
    Fault fault;
    fault.file = vendor.file;
    fault.line = vendor.line;
    fault.column = 1;
    fault.message = what + " in " + path + ".tls";
    return fault;
}

/// Vendors and issuers whose certificates cannot be read now. At the start, and where it was so before, they answer 502
/// and everything else runs; but a reload must not take away what works.
std::vector<Fault> faults_of_contexts(const Config& config, const ClientContexts& contexts,
                                      const PolicySnapshot& before) {
    std::vector<Fault> faults;
    for (const Vendor& vendor : config.vendors) {
        const std::string& fault = contexts.fault_of(vendor);
        const Vendor* was = before.config->find(vendor.name);
        if (!fault.empty() && !(was && before.contexts->fault_of(*was) == fault))
            faults.push_back(fault_of(vendor, fault, "vendors." + vendor.name));
    }
    const auto issuer_named = [&before](const std::string& name) {
        const auto& all = before.config->issuers;
        const auto found =
            std::find_if(all.begin(), all.end(), [&name](const Vendor& one) { return one.name == name; });
        return found == all.end() ? nullptr : &*found;
    };
    for (const CredentialSpec& spec : config.credentials) {
        if (!spec.issuer || spec.is_static()) continue;
        const Vendor& issuer = config.issuers[*spec.issuer];
        const std::string& fault = contexts.fault_of(issuer);
        const Vendor* was = issuer_named(issuer.name);
        if (!fault.empty() && !(was && before.contexts->fault_of(*was) == fault))
            faults.push_back(fault_of(issuer, fault, "credentials." + spec.name));
    }
    return faults;
}

/// What speaks against a policy that is sound in itself: that this Sluice, as it runs, cannot follow it.
std::vector<Fault> objections(const PolicyChanges& changes, const Config& chosen, const ClientContexts& contexts,
                              const CertAuthority& authority, const PolicySnapshot& running, const std::string& file) {
    std::vector<Fault> all = faults_of_reload(changes, file);
    for (Fault& fault : faults_of_contexts(chosen, contexts, running)) all.push_back(std::move(fault));
    // A CA made with name constraints can sign only for the hosts that it was made for.
    if (const auto fit = constraints_cover(authority.certificate(), chosen.intercepted_hosts());
        chosen.authority.name_constraints && !fit) {
        Fault fault;
        fault.file = file;
        fault.message =
            fit.error().what + "; a policy with other hosts needs a CA made for them: restart with a new one";
        all.push_back(std::move(fault));
    }
    return all;
}

/// "2 added, 1 changed"
std::string summed_up(const EntryChanges& changes) {
    std::string out;
    const auto add = [&out](std::size_t count, const char* what) {
        if (count) out += (out.empty() ? "" : ", ") + std::to_string(count) + ' ' + what;
    };
    add(changes.added.size(), "added");
    add(changes.removed.size(), "removed");
    add(changes.changed.size(), "changed");
    return out;
}

/// "status 429 (2%), reset (first 3, header X-Chaos)"
std::string summed_up(const ChaosSpec& chaos) {
    std::string out;
    for (const ChaosFault& fault : chaos.inject) {
        std::string when = fault.rate < 1 ? format_share(fault.rate) : std::string();
        const auto add = [&when](const std::string& word) { when += (when.empty() ? "" : ", ") + word; };
        if (fault.first) add("first " + std::to_string(fault.first));
        if (!fault.route.empty()) add("route " + fault.route);
        if (!fault.header.empty()) add("header " + fault.header);
        out += (out.empty() ? "" : ", ") + fault.text + (when.empty() ? when : " (" + when + ")");
    }
    return out;
}

/// As `check -o json` writes it.
AdminAnswer answer_of(const Reloaded& reloaded) {
    const auto result = reloaded.result;
    const bool good = result == Reloaded::Result::in_force || result == Reloaded::Result::unchanged;
    boost::json::object out{{"ok", good}, {"file", reloaded.file}, {"faults", faults_as_json(reloaded.faults)}};
    if (good) {
        out["changed"] = result == Reloaded::Result::in_force;
        out["digest"] = reloaded.digest;
    }
    const unsigned status = good ? 200 : result == Reloaded::Result::leaving ? 503 : 422;
    return {status, boost::json::serialize(out) + '\n'};
}

}  // namespace

void harden_process() {
    ::prctl(PR_SET_DUMPABLE, 0);
    ::signal(SIGPIPE, SIG_IGN);
    rlimit limit{};
    if (::getrlimit(RLIMIT_CORE, &limit) == 0) {  // a core pattern that is a pipe ignores it; PR_SET_DUMPABLE does not
        limit.rlim_cur = 0;
        ::setrlimit(RLIMIT_CORE, &limit);
    }
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

namespace {

/// Where applications come in.
struct Door {
    Listener listener;
    Entrance entrance;
};

/// Where admin is asked: waited for on the supervisor's own io_context, so that it answers however busy the workers
/// are.
class Observer {
  public:
    Observer(boost::asio::io_context& io, Listener listener, Listener::Deal deal, Listener::TurnedAway turned_away)
        : listener_(std::move(listener)),
          deal_(std::move(deal)),
          turned_away_(std::move(turned_away)),
          readable_(io, listener_.fd()) {}
    ~Observer() { close(); }

    /// From here on. The io_context no longer runs when this is destroyed.
    void wait() {
        readable_.async_wait(readable_.wait_read, [this](boost::system::error_code error) {
            if (error || listener_.fd() < 0) return;
            listener_.accept_all(deal_, turned_away_);
            wait();
        });
    }
    void close() {
        if (readable_.is_open()) readable_.release();  // the descriptor is the listener's to close
        listener_.close();
    }

  private:
    Listener listener_;
    Listener::Deal deal_;
    Listener::TurnedAway turned_away_;
    boost::asio::posix::stream_descriptor readable_;
};

}  // namespace

struct Supervisor::Impl {
    Impl(std::shared_ptr<const Config> policy, Options how)
        : config(std::move(policy)),
          options(std::move(how)),
          worker_count(config->workers ? config->workers : cpus_of_this_process()),
          work(io.get_executor()),
          drain_end(io) {}

    /// Not the constructor's: what has been made when it throws is taken down by the destructor.
    void start() {
        const SignalsBlocked blocked;  // for the threads that are made here
        // Journals: of each worker, and of the issuers' thread.
        telemetry = std::make_unique<Telemetry>(worker_count + 1, options.log_fd, options.log_format);
        bind();  // before anything is published: a second Sluice started by mistake must not replace the first one's
                 // bundle
        make_world();
        admin = std::make_unique<Admin>(io, admin_views());
        make_workers();
        for (const auto& observer : observers) observer->wait();
        tell_started();
        world.policy.reset();
        config.reset();
        if (!options.source) return;
        options.source->note(tls_files(*in_force()->config));
        reloader = std::make_unique<Reloader>(
            *options.source, [this](std::string_view why) { return reload(why); }, [this] { forget_retired(); },
            options.reload_times);
    }

    ~Impl() {
        reloader.reset();
        for (const auto& worker : workers) worker->stop();
        for (std::thread& thread : threads) thread.join();
    }

    void bind() {
        try {
            doors.push_back({Listener::tcp(config->listen.proxy), Entrance::proxy});
            addresses.proxy = doors.back().listener.address();
            if (const std::string& path = config->listen.unix_path; !path.empty()) {
                doors.push_back({Listener::unix_socket(path, knows_by_uid(*config)), Entrance::unix_socket});
                addresses.unix_path = path;
            }
            addresses.admin = observe(config->listen.admin, Admin::Door::admin);
            if (config->listen.metrics) addresses.metrics = observe(*config->listen.metrics, Admin::Door::metrics);
        } catch (const std::system_error& error) {
            throw StartFault(error.what());
        }
    }

    ListenAddress observe(const ListenAddress& address, Admin::Door door) {
        Listener listener = Listener::tcp(address);
        const ListenAddress bound = listener.address();
        observers.push_back(std::make_unique<Observer>(
            io, std::move(listener), [this, door](int fd) { admin->adopt(fd, door); },
            [this](std::string_view request_id) {  // nobody's exchange, so no metric
                telemetry->notice(Level::error, "admin_overloaded",
                                  {{"request_id", request_id}, {"detail", overload_detail}});
            }));
        return bound;
    }

    void make_world() {
        const std::string directory = published_directory(*config);
        const bool in_state =
            config->authority.kind == AuthoritySpec::Kind::persistent || config->authority.publish.empty();
        if (in_state || keeps_refresh_tokens(*config)) {
            if (const std::string said = make_state_directory(config->state); !said.empty())
                telemetry->notice(Level::warning, "state", {{"detail", said}});
        }
        std::string note;
        authority = authority_of(*config, note);
        if (!note.empty()) telemetry->notice(Level::warning, "authority", {{"detail", note}});
        begin_audit();
        published = value_or_throw(publish(*authority, directory));
        if (const std::string closed = closed_to_others(directory); !closed.empty()) {
            telemetry->notice(Level::info, "ca_private",
                              {{"directory", directory},
                               {"closed", closed},
                               {"detail",
                                "applications of another user cannot read the CA: where there are some, write "
                                "`authority.publish: /run/sluice/ca` (or another directory that they may enter)"}});
        }
        world.identity = value_or_throw(LeafIdentity::make(authority));
        auto own = enlivened(*config, nullptr);
        const CredentialSlots slots = carry_over(*own, {});
        secrets = std::make_unique<SecretFiles>(board, slots, [this](const SecretNotice& notice) {
            const std::string_view state = name_of(notice.state);
            if (!notice.detail.empty()) {
                const bool gone = notice.state == SecretNotice::State::unavailable;  // its requests get 503
                telemetry->notice(gone ? Level::error : Level::warning, "credential",
                                  {{"credential", notice.credential}, {"state", state}, {"detail", notice.detail}});
            } else {
                audit->add(audit_of_secret(notice, wall_now()));
                telemetry->notice(Level::info, "credential", {{"credential", notice.credential}, {"state", state}});
            }
        });
        world.telemetry = telemetry.get();
        world.board = &board;
        world.own = {addresses.proxy, addresses.admin};
        if (addresses.metrics) world.own.push_back(*addresses.metrics);
        world.max_connections = connections_that_fit();
        world.times = options.application_times;
        issuing = std::make_unique<Issuing>(world, config->state, [this](const KeeperNotice& notice) { tell(notice); });
        world.keeper = &issuing->keeper();
        telemetry->watch_credentials([this] { return standings(); });
        world.policy = put_in_force({own, std::make_shared<const ClientContexts>(*own), slots});
    }

    /// On whatever disk: one that cannot be written keeps nobody from their vendors.
    void begin_audit() {
        const auto notify = [this](const AuditNotice& notice) { tell(notice); };
        audit = std::make_unique<AuditTrail>(config->state, notify, AuditTrail::Options{});
        telemetry->watch_audit([this] { return audit->counts(); });
        if (authority->fresh()) audit->add(audit_of_authority(*authority, config->authority.kind, wall_now()));
        audit->add(audit_of_start(*config, options.policy, *authority, wall_now()));
    }

    void tell(const AuditNotice& notice) {
        if (notice.altered) {
            telemetry->notice(Level::error, "audit",
                              {{"state", "altered"}, {"file", notice.file}, {"detail", notice.detail}});
        } else if (notice.failing) {
            telemetry->notice(Level::error, "audit",
                              {{"state", notice.lost ? "lost" : "failing"},
                               {"file", notice.file},
                               {"detail", notice.detail},
                               {"lost", std::to_string(notice.lost)}});
        } else {
            telemetry->notice(
                notice.lost ? Level::warning : Level::info, "audit",
                {{"state", "written again"}, {"file", notice.file}, {"lost", std::to_string(notice.lost)}});
        }
    }

    void make_workers() {
        for (unsigned i = 0; i < worker_count; ++i) workers.push_back(std::make_unique<Worker>(world, i));
        for (Door& door : doors) workers.front()->listen(std::move(door.listener), door.entrance, workers);
        doors.clear();
        for (unsigned i = 0; i < worker_count; ++i) threads.emplace_back([this, i] { run_worker(i); });
    }

    // ---- the policy in force: by the constructor, then on the reloader's thread

    Snapshot in_force() const {
        const std::lock_guard lock(policy_mutex);
        return policy;
    }

    /// With what lives on of the policy before, and what its vendors are counted under.
    std::shared_ptr<const Config> enlivened(const Config& chosen, const Config* before) {
        auto own = std::make_shared<Config>(chosen);
        std::random_device random;
        const auto word = [&random] { return std::uint64_t{random()} << 32 | random(); };
        carry_over(before, *own, {word(), word()});
        telemetry->enrol(*own);
        return own;
    }

    Snapshot put_in_force(PolicySnapshot chosen) {
        auto fresh = std::make_shared<const PolicySnapshot>(std::move(chosen));
        for (const Vendor& vendor : fresh->config->vendors) {
            const std::string& fault = fresh->contexts->fault_of(vendor);
            if (fault.empty()) continue;
            telemetry->notice(Level::warning, "vendor_tls_unavailable", {{"vendor", vendor.name}, {"detail", fault}});
        }
        {
            const std::lock_guard lock(policy_mutex);
            if (policy) keep_forced(*policy->config, *fresh->config);
            for (const Vendor& vendor : fresh->config->vendors) sluice::put_in_force(*vendor.live);
            tell_chaos(*fresh->config, policy ? policy->config.get() : nullptr);
            if (policy) retired.push_back(std::move(policy));
            policy = fresh;
        }
        issuing->follow(fresh);
        put_in_force_everywhere(fresh);
        return fresh;
    }

    /// Returns when no worker begins an exchange under the policy before: who asked for the new one may rely on it
    /// then.
    void put_in_force_everywhere(const Snapshot& fresh) {
        struct Takers {
            std::promise<void> all;
            ~Takers() { all.set_value(); }
        };
        auto takers = std::make_shared<Takers>();
        const std::future<void> all = takers->all.get_future();
        for (const auto& worker : workers) worker->put_in_force(fresh, takers);
        takers.reset();
        const TimePoint patience = now() + 10s;
        while (all.wait_for(20ms) != std::future_status::ready && !leaving && now() < patience) {
        }
    }

    std::vector<CredentialStanding> standings() const {
        std::vector<CredentialStanding> all;
        const Snapshot running = in_force();
        for (const CredentialSpec& spec : running->config->credentials) {
            if (spec.is_login()) continue;  // nothing by itself
            const auto& slot = running->credentials[spec.index];
            const auto state = slot->state();
            all.push_back(
                {slot->spec().name, state->attachment && now() < state->usable_until, state->minted, state->expires});
        }
        return all;
    }

    /// Every credential that is fetched, and every fetch that failed; never the credential.
    void tell(const KeeperNotice& notice) {
        const CredentialSpec& spec = *notice.spec;
        switch (notice.kind) {
        case KeeperNotice::Kind::minted:
            telemetry->credential_fetched(spec.name, true, notice.took);
            audit->add(audit_of_mint(notice, name_of(notice.why), wall_now()));
            return telemetry->notice(Level::info, "credential_minted",
                                     {{"credential", spec.name},
                                      {"type", spec.type()},
                                      {"subject", notice.subject},
                                      {"scope", notice.scope},
                                      {"lifetime", notice.lifetime ? format_duration(*notice.lifetime) : "unknown"},
                                      {"took", format_duration(notice.took)}});
        case KeeperNotice::Kind::failed:
            telemetry->credential_fetched(spec.name, false, notice.took);
            return telemetry->notice(Level::warning, "credential_fetch_failed",
                                     {{"credential", spec.name},
                                      {"type", spec.type()},
                                      {"detail", notice.detail},
                                      {"took", format_duration(notice.took)},
                                      {"again_in", format_duration(notice.again_in)}});
        case KeeperNotice::Kind::unavailable:
            return telemetry->notice(Level::error, "credential",
                                     {{"credential", spec.name}, {"state", "unavailable"}, {"detail", notice.detail}});
        case KeeperNotice::Kind::note:
            return telemetry->notice(Level::warning, "credential",
                                     {{"credential", spec.name}, {"state", "note"}, {"detail", notice.detail}});
        }
    }

    /// Whoever reads the log of a vendor that fails must know that it is made to. A reload that left it alone says
    /// nothing.
    void tell_chaos(const Config& chosen, const Config* before) {
        for (const Vendor& vendor : chosen.vendors) {
            if (!vendor.chaos.enabled || vendor.chaos.inject.empty()) continue;
            const Vendor* was = before ? before->find(vendor.name) : nullptr;
            if (was && was->live->chaos == vendor.live->chaos) continue;
            telemetry->notice(Level::warning, "chaos",
                              {{"vendor", vendor.name}, {"state", "injecting"}, {"inject", summed_up(vendor.chaos)}});
        }
    }

    Reloaded reload(std::string_view why) {
        Reloaded reloaded;
        reloaded.file = options.source->path();
        if (leaving) {
            reloaded.result = Reloaded::Result::leaving;
            return reloaded;
        }
        try {
            try_to_reload(reloaded, why);
        } catch (const std::exception& error) {
            Fault fault;
            fault.file = reloaded.file;
            fault.message = std::string("cannot be loaded: ") + error.what();
            reloaded.faults.push_back(std::move(fault));
            tell_refused(reloaded, why);
        }
        const bool good = reloaded.result != Reloaded::Result::refused;
        telemetry->loaded(good);
        if (good) last_refusal.clear();
        return reloaded;
    }

    void try_to_reload(Reloaded& reloaded, std::string_view why) {
        const Snapshot running = in_force();
        const Decoded decoded = options.source->load();
        reloaded.faults = decoded.faults;
        options.source->note(tls_files(decoded.config ? *decoded.config : *running->config));
        if (!decoded.config) return tell_refused(reloaded, why);

        const Config& chosen = *decoded.config;
        auto contexts = std::make_shared<const ClientContexts>(chosen, running->contexts.get());
        reloaded.digest = chosen.digest;
        if (chosen.digest == running->config->digest && contexts->same_as(*running->contexts)) {
            reloaded.result = Reloaded::Result::unchanged;
            return tell_unchanged(reloaded, why);
        }
        const PolicyChanges changes = compare_policies(described(*running->config), described(chosen));
        auto against = objections(changes, chosen, *contexts, *authority, *running, reloaded.file);
        if (!against.empty()) {
            std::move(against.begin(), against.end(), std::back_inserter(reloaded.faults));
            return tell_refused(reloaded, why);
        }

        // What could be wrong with it was looked for: from here on it is in force.
        auto own = enlivened(chosen, running->config.get());
        CredentialSlots slots = carry_over(*own, running->credentials);
        secrets->follow(slots);
        // Never open to all without somebody who judges.
        if (!addresses.unix_path.empty() && !knows_by_uid(chosen)) Listener::change_mode(addresses.unix_path, false);
        put_in_force({std::move(own), std::move(contexts), std::move(slots)});
        if (!addresses.unix_path.empty() && knows_by_uid(chosen)) Listener::change_mode(addresses.unix_path, true);
        reloaded.result = Reloaded::Result::in_force;
        const std::string vendors = summed_up(changes.vendors), credentials = summed_up(changes.credentials);
        audit->add(audit_of_reload(reloaded, why, running->config->digest, vendors, credentials, wall_now()));
        telemetry->notice(Level::info, "reloaded",
                          {{"why", why},
                           {"policy", reloaded.file},
                           {"digest", reloaded.digest},
                           {"vendors", vendors},
                           {"credentials", credentials}});
    }

    void tell_unchanged(const Reloaded& reloaded, std::string_view why) {
        if (why == "files" && last_refusal.empty()) return;  // nobody asked, and nothing is news
        telemetry->notice(Level::info, "reload_unchanged",
                          {{"why", why}, {"policy", reloaded.file}, {"digest", reloaded.digest}});
    }

    void tell_refused(const Reloaded& reloaded, std::string_view why) {
        std::string all;
        for (const Fault& fault : reloaded.faults) all += fault.text();
        if (std::exchange(last_refusal, all) == all && why == "files") return;  // nobody asked, and nothing is news
        std::size_t errors = 0;
        for (const Fault& fault : reloaded.faults) {
            errors += !fault.warning;
            const std::string place =
                fault.file + (fault.line ? ":" + std::to_string(fault.line) + ":" + std::to_string(fault.column) : "");
            telemetry->notice(fault.warning ? Level::warning : Level::error, "policy_fault",
                              {{"place", place}, {"detail", fault.message}});
        }
        audit->add(audit_of_refusal(reloaded, why, wall_now()));
        telemetry->notice(Level::error, "reload_refused",
                          {{"why", why},
                           {"policy", reloaded.file},
                           {"faults", std::to_string(errors)},
                           {"detail", "the policy from before goes on"}});
    }

    /// Nobody uses it any more: to take a policy of thousands of vendors apart is not a worker's work.
    void forget_retired() {
        std::vector<Snapshot> forgotten;
        {
            const std::lock_guard lock(policy_mutex);
            for (Snapshot& snapshot : retired)
                if (snapshot.use_count() == 1) forgotten.push_back(std::move(snapshot));
            std::erase(retired, nullptr);
        }
        // What they took, and what it took to read their successors, glibc keeps until it is told; at rest, not each
        // time.
        if (forgotten.empty() && std::exchange(untrimmed, false)) ::malloc_trim(0);
        untrimmed = untrimmed || !forgotten.empty();
    }

    void ask_reload(std::string why, std::function<void(const Reloaded&)> done) {
        if (reloader) return reloader->ask(std::move(why), std::move(done));
        Reloaded refused;
        Fault fault;
        fault.message = "this Sluice has no policy file to read again";
        refused.faults.push_back(std::move(fault));
        if (done) done(refused);
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
        for (const auto& observer : observers) observer->close();
        audit->add(audit_of_stop(wall_now()));
        telemetry->notice(Level::info, "stopped", {});
        io.stop();
    }

    AdminViews admin_views() {
        return {[this] { return telemetry->scrape(); },
                [this] { return describe_config(*in_force()->config); },
                [this] { return vendors_text(); },
                [this] { return waiting_for(); },
                [this](std::string_view vendor) { return show_breakers(*in_force()->config, vendor, now()); },
                [this](std::string_view vendor, const BreakerOrder& order) { return force(vendor, order); },
                [this](std::function<void(AdminAnswer)> done) {
                    ask_reload("admin",
                               [done = std::move(done)](const Reloaded& reloaded) { done(answer_of(reloaded)); });
                }};
    }

    Result<Secret> password_of(const ClientSpec& client) const {
        const auto slot = in_force()->credentials[*client.password];
        for (const TimePoint patience = now() + longest_wait_for_credentials;; std::this_thread::sleep_for(20ms)) {
            const auto state = slot->state();
            if (state->attachment) return state->attachment->secrets.front();
            if (slot->spec().is_static() || now() >= patience)
                return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, state->fault};
        }
    }

    std::string vendors_text() const {
        const Snapshot running = in_force();
        return describe_vendors(*running->config, running->credentials, *running->contexts, audit->standing(), now());
    }

    /// Under the mutex, so that no policy comes into force between what is forced and what is carried over.
    AdminAnswer force(std::string_view vendor, const BreakerOrder& order) {
        const std::lock_guard lock(policy_mutex);
        return force_breakers(*policy->config, vendor, order, now(),
                              [this](const Vendor& of, const ForcedBreaker& one) {
                                  audit->add(audit_of_forced(of, one, wall_now()));
                                  if (one.moved_to) telemetry->moved(of, one.endpoint, *one.moved_to);
                                  telemetry->notice(Level::warning, "breaker_forced",
                                                    {{"vendor", of.name},
                                                     {"endpoint", one.endpoint},
                                                     {"forced", name_of(one.now)},
                                                     {"before", name_of(one.before)}});
                              });
    }

    /// The constructor has bound, published and started before admin can be asked. What is fetched before it is needed
    /// may take its time, but no issuer that is out keeps all vendors from being served.
    std::vector<std::string> waiting_for() const {
        if (leaving) return {"Sluice is shutting down"};
        if (now() - started >= longest_wait_for_credentials) return {};
        std::vector<std::string> reasons;
        for (const auto& slot : in_force()->credentials) {
            const CredentialSpec& spec = slot->spec();
            if (!spec.rules.eager || spec.is_static() || spec.is_login()) continue;
            const auto state = slot->state();
            if (!state->attachment) reasons.push_back(state->fault);
        }
        return reasons;
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
        // Whoever has been accepted by then is served to the end, whichever worker it was dealt to.
        workers.front()->stop_listening([this] {
            for (const auto& worker : workers) worker->drain();
        });
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
        for (const auto& worker : workers) worker->stop();
    }

    std::shared_ptr<const Config> config;  // until it has started; then `policy`
    Options options;
    const unsigned worker_count;
    const TimePoint started = now();
    boost::asio::io_context io{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
    boost::asio::steady_timer drain_end;
    std::unique_ptr<Telemetry> telemetry;
    std::unique_ptr<AuditTrail> audit;
    CredentialBoard board;
    std::unique_ptr<SecretFiles> secrets;
    World world;
    std::unique_ptr<Issuing> issuing;
    Addresses addresses;
    std::shared_ptr<const CertAuthority> authority;
    Published published;
    std::vector<Door> doors;  // until the first worker has them
    std::vector<std::unique_ptr<Observer>> observers;
    std::unique_ptr<Admin> admin;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<std::thread> threads;
    std::size_t ended = 0;
    std::atomic<bool> leaving = false;  // written on the loop's thread
    bool failed = false;                // of the loop's thread only
    mutable std::mutex policy_mutex;    // of the two below
    Snapshot policy;
    std::vector<Snapshot> retired;
    // Of the reloader's thread only:
    std::string last_refusal;  // its faults; empty: the last reload was none
    bool untrimmed = false;
    std::unique_ptr<Reloader> reloader;
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
Result<Secret> Supervisor::password_of(const ClientSpec& client) const {
    return impl_->password_of(client);
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

void Supervisor::reload(std::string why) {
    impl_->ask_reload(std::move(why), {});
}

void Supervisor::stop() {
    boost::asio::post(impl_->io, [impl = impl_.get()] { impl->stop_all(); });
}

}  // namespace sluice
