#include "proxy/issuers/files.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "proxy/credentials/apply.hpp"
#include "proxy/issuers/file_watch.hpp"
#include "proxy/issuers/read_secret.hpp"

namespace sluice {

namespace {

constexpr Duration rest = 10ms;  // between two looks, even at a file that somebody writes without pause

// Where a spec's secrets are, in the order of SecretValues.
struct Sources {
    SecretSource value, username;
};
Sources sources_of(const CredentialSpec& spec) {
    struct Visitor {
        Sources operator()(const BearerSpec& bearer) const { return {bearer.value, {}}; }
        Sources operator()(const ApiKeySpec& key) const { return {key.value, {}}; }
        Sources operator()(const BasicSpec& basic) const { return {basic.password, basic.username_source}; }
    };
    return std::visit(Visitor{}, spec.kind);
}

std::string absolute(const std::string& path) {
    std::error_code ignored;  // only where there is no working directory any more; then nothing can be read either
    const auto whole = std::filesystem::absolute(path, ignored);
    return ignored ? path : whole.string();
}

std::shared_ptr<const CredentialState> state_of(const Result<Attachment>& reading) {
    auto state = std::make_shared<CredentialState>();
    state->since = std::chrono::system_clock::now();
    if (reading.has_value()) {
        state->attachment = *reading;
    } else {
        state->fault = reading.error().detail;
    }
    return state;
}

}  // namespace

struct SecretFiles::Impl {
    using Publish = std::function<void(std::shared_ptr<const CredentialStates>)>;

    Impl(std::shared_ptr<const Config> config, Notify notice, SecretTimes times);
    ~Impl();

    Result<Secret> read_source(const SecretSource& source) const;
    Result<Attachment> read_credential(const CredentialSpec& spec) const;
    bool look();
    void learn(const Config& policy);
    void publish(CredentialStates changed);
    void tell(const CredentialSpec& spec, bool had_one, const Result<Attachment>& now) const;
    std::shared_ptr<const CredentialStates> follow(std::shared_ptr<const Config> policy);
    void watch();
    bool wait_until(TimePoint when);
    bool take_events();
    bool stopped_within(Duration time);

    const Notify notice;
    const SecretTimes times;
    std::mutex work_mutex;  // of what follows, up to `files`: a reload and the watching thread
    std::shared_ptr<const Config> config;
    std::map<std::string, Result<Secret>>
        variables;                    // as they were when first asked for: a process's environment does not change
    std::vector<std::string> paths;   // absolute, of every file source
    std::vector<Rotation> rotations;  // by CredentialSpec::index
    FileWatch files;
    const int stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);  // once readable, it stays so

    mutable std::mutex states_mutex;
    std::shared_ptr<const CredentialStates> states;
    std::mutex subscribers_mutex;  // held while publishing, so that every subscriber sees the same order and no gap
    std::map<std::size_t, Publish> subscribers;
    std::size_t next_subscriber = 1;
    std::thread thread;
};

SecretFiles::Impl::Impl(std::shared_ptr<const Config> policy, Notify tell_people, SecretTimes when)
    : notice(std::move(tell_people)), times(when) {
    if (stop_event < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    states = std::make_shared<const CredentialStates>(CredentialStates{0, {}});
    follow(std::move(policy));
}

// Where the policy's secrets are; files are watched before they are read, so that what changes in between is seen.
void SecretFiles::Impl::learn(const Config& policy) {
    paths.clear();
    for (const CredentialSpec& spec : policy.credentials) {
        const Sources sources = sources_of(spec);
        for (const SecretSource& source : {sources.value, sources.username}) {
            if (source.kind == SecretSource::Kind::file) paths.push_back(absolute(source.name));
            if (source.kind == SecretSource::Kind::environment)
                variables.try_emplace(source.name, read_secret_variable(source.name));
        }
    }
    files.follow(paths);
}

std::shared_ptr<const CredentialStates> SecretFiles::Impl::follow(std::shared_ptr<const Config> policy) {
    const std::lock_guard work(work_mutex);
    const auto before = states;  // only changed under `work_mutex`
    std::map<std::string_view, std::size_t> known;
    if (config)
        for (const CredentialSpec& spec : config->credentials) known.emplace(spec.name, spec.index);
    learn(*policy);
    std::vector<Rotation> followed;
    CredentialStates first{before->policy + 1, {}};
    for (const CredentialSpec& spec : policy->credentials) {
        const auto same = known.find(spec.name);
        if (same != known.end() && config->credentials[same->second].kind == spec.kind) {
            followed.push_back(rotations[same->second]);
            first.by_index.push_back(before->by_index[same->second]);
            continue;
        }
        followed.emplace_back(read_credential(spec), times.rotation);
        first.by_index.push_back(state_of(followed.back().state()));
        if (!first.by_index.back()->attachment) tell(spec, false, followed.back().state());
    }
    rotations = std::move(followed);
    config = std::move(policy);
    auto fresh = std::make_shared<const CredentialStates>(std::move(first));
    {
        const std::lock_guard lock(states_mutex);
        states = fresh;
    }
    if (!paths.empty() && !thread.joinable()) thread = std::thread([this] { watch(); });
    return fresh;
}

SecretFiles::Impl::~Impl() {
    eventfd_write(stop_event, 1);
    if (thread.joinable()) thread.join();
    close(stop_event);
}

Result<Secret> SecretFiles::Impl::read_source(const SecretSource& source) const {
    switch (source.kind) {
        case SecretSource::Kind::none:
            return Secret();
        case SecretSource::Kind::file:
            return read_secret_file(source.name);
        case SecretSource::Kind::environment:
            return variables.at(source.name);
    }
    return Secret();
}

Result<Attachment> SecretFiles::Impl::read_credential(const CredentialSpec& spec) const {
    const Sources sources = sources_of(spec);
    const auto named = [&spec](Failure failure) {
        failure.detail = "credential '" + spec.name + "': " + failure.detail;
        return failure;
    };
    auto value = read_source(sources.value);
    if (value.has_error()) return named(value.error());
    auto username = read_source(sources.username);
    if (username.has_error()) return named(username.error());
    return make_attachment(spec, {std::move(*value), std::move(*username)});
}

// True: something is not settled yet.
bool SecretFiles::Impl::look() {
    const std::lock_guard work(work_mutex);
    files.follow(paths);
    const TimePoint now = std::chrono::steady_clock::now();
    std::optional<CredentialStates> changed;
    for (std::size_t i = 0; i < rotations.size(); ++i) {
        const bool had_one = rotations[i].state().has_value();
        if (!rotations[i].observe(read_credential(config->credentials[i]), now)) continue;
        if (!changed) changed = *states;
        changed->by_index[i] = state_of(rotations[i].state());
        tell(config->credentials[i], had_one, rotations[i].state());
    }
    if (changed) publish(std::move(*changed));
    return std::any_of(rotations.begin(), rotations.end(),
                       [](const Rotation& rotation) { return rotation.unsettled(); });
}

void SecretFiles::Impl::tell(const CredentialSpec& spec, bool had_one, const Result<Attachment>& now) const {
    using State = SecretNotice::State;
    if (now.has_error()) {
        notice({State::unavailable, spec.name, now.error().detail});
    } else {
        notice({had_one ? State::changed : State::available, spec.name, {}});
    }
}

void SecretFiles::Impl::publish(CredentialStates changed) {
    const std::lock_guard order(subscribers_mutex);
    auto fresh = std::make_shared<const CredentialStates>(std::move(changed));
    {
        const std::lock_guard lock(states_mutex);
        states = fresh;
    }
    for (const auto& [_, publish_to] : subscribers) publish_to(fresh);
}

void SecretFiles::Impl::watch() {
    sigset_t all;  // signals are for the main thread
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);

    TimePoint next = std::chrono::steady_clock::now() + times.poll;
    while (wait_until(next)) {
        const bool unsettled = look();
        next = std::chrono::steady_clock::now() + (unsettled ? times.rotation.settle : times.poll);
        if (stopped_within(rest)) return;
    }
}

// Until then, or until something happened to the files. False: to stop.
bool SecretFiles::Impl::wait_until(TimePoint when) {
    for (;;) {
        const auto left = std::max<Duration>(when - std::chrono::steady_clock::now(), Duration::zero());
        pollfd events[] = {{stop_event, POLLIN, 0}, {files.fd(), POLLIN, 0}};
        const auto patience = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        const int ready = poll(events, 2, static_cast<int>(patience));
        if (events[0].revents != 0) return false;
        if (ready == 0) return true;
        if (ready > 0 && take_events()) return true;
    }
}

bool SecretFiles::Impl::take_events() {
    const std::lock_guard work(work_mutex);
    return files.take_events();
}

bool SecretFiles::Impl::stopped_within(Duration time) {
    pollfd stop{stop_event, POLLIN, 0};
    return poll(&stop, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(time).count())) > 0;
}

std::string_view name_of(SecretNotice::State state) {
    switch (state) {
        case SecretNotice::State::changed:
            return "changed";
        case SecretNotice::State::available:
            return "available";
        case SecretNotice::State::unavailable:
            return "unavailable";
    }
    return "";
}

SecretFiles::SecretFiles(std::shared_ptr<const Config> config, Notify notice, SecretTimes times)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(notice), times)) {}

SecretFiles::~SecretFiles() = default;

std::shared_ptr<const CredentialStates> SecretFiles::follow(std::shared_ptr<const Config> config) {
    return impl_->follow(std::move(config));
}

std::shared_ptr<const CredentialStates> SecretFiles::snapshot() const {
    const std::lock_guard lock(impl_->states_mutex);
    return impl_->states;
}

std::size_t SecretFiles::subscribe(std::function<void(std::shared_ptr<const CredentialStates>)> publish) {
    const std::lock_guard order(impl_->subscribers_mutex);
    publish(snapshot());
    impl_->subscribers.emplace(impl_->next_subscriber, std::move(publish));
    return impl_->next_subscriber++;
}

void SecretFiles::unsubscribe(std::size_t id) {
    const std::lock_guard order(impl_->subscribers_mutex);
    impl_->subscribers.erase(id);
}

Result<const Attachment*> StaticDesk::current(std::size_t credential) {
    const auto unavailable = [](std::string detail) {
        return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(detail)};
    };
    if (credential >= states_->by_index.size()) return unavailable("the policy has no such credential");
    const CredentialState& state = *states_->by_index[credential];
    if (!state.attachment) return unavailable(state.fault);
    return &*state.attachment;
}

}  // namespace sluice
