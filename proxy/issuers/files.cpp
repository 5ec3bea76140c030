#include "proxy/issuers/files.hpp"

#include <poll.h>
#include <pthread.h>
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
#include "proxy/issuers/client_certificate.hpp"
#include "proxy/issuers/file_watch.hpp"
#include "proxy/issuers/read_secret.hpp"
#include "proxy/ports/signals_blocked.hpp"

namespace sluice {

namespace {

constexpr Duration rest = 10ms;  // between two looks, even at a file that somebody writes without pause

std::string absolute(const std::string& path) {
    std::error_code ignored;  // only where there is no working directory any more; then nothing can be read either
    const auto whole = std::filesystem::absolute(path, ignored);
    return ignored ? path : whole.string();
}

bool same(const std::optional<Attachment>& a, const std::optional<Attachment>& b) {
    return a.has_value() == b.has_value() && (!a || a->same_as(*b));
}

}  // namespace

struct SecretFiles::Impl {
    Impl(CredentialBoard& board, CredentialSlots slots, Notify notice, SecretTimes times);
    ~Impl();

    Result<Secret> read_source(const SecretSource& source) const;
    Result<Attachment> read_credential(const CredentialSpec& spec) const;
    std::optional<Attachment> read_previous(const CredentialSpec& spec) const;
    bool look();
    void learn(const CredentialSlots& slots);
    void tell(const CredentialSpec& spec, bool had_one, const Result<Attachment>& now) const;
    void tell_unsearched(const CredentialSpec& spec, const CredentialState& state) const;
    void follow(CredentialSlots slots);
    void watch();
    bool wait_until(TimePoint when);
    bool take_events();
    bool stopped_within(Duration time);

    CredentialBoard& board;
    const Notify notice;
    const SecretTimes times;
    std::mutex work_mutex;  // of what follows, up to `files`: a reload and the watching thread
    std::map<std::string, Result<Secret>>
        variables;                    // as they were when first asked for: a process's environment does not change
    std::vector<std::string> paths;   // absolute, of every file source
    struct Kept {
        std::shared_ptr<CredentialSlot> slot;
        Rotation rotation;
        std::optional<Attachment> previous, replaced;
        WallTime since = std::chrono::system_clock::now();   // of what is in `rotation`
    };
    std::shared_ptr<const CredentialState> state_of(const Kept& one);

    std::vector<Kept> kept;
    FileWatch files;
    const int stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);  // once readable, it stays so
    std::thread thread;
};

SecretFiles::Impl::Impl(CredentialBoard& put_up_on, CredentialSlots slots, Notify tell_people, SecretTimes when)
    : board(put_up_on), notice(std::move(tell_people)), times(when) {
    if (stop_event < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    follow(std::move(slots));
}

// Where the policy's secrets are; files are watched before they are read, so that what changes in between is seen.
void SecretFiles::Impl::learn(const CredentialSlots& slots) {
    paths.clear();
    for (const auto& slot : slots) {
        if (!slot->spec().is_static()) continue;
        for (const SecretSource* source : slot->spec().secrets()) {
            if (source->kind == SecretSource::Kind::file) paths.push_back(absolute(source->name));
            if (source->kind == SecretSource::Kind::environment)
                variables.try_emplace(source->name, read_secret_variable(source->name));
        }
    }
    files.follow(paths);
}

void SecretFiles::Impl::follow(CredentialSlots slots) {
    const std::lock_guard work(work_mutex);
    std::map<const CredentialSlot*, Kept*> known;
    for (Kept& one : kept) known.emplace(one.slot.get(), &one);
    learn(slots);
    std::vector<Kept> followed;
    std::vector<CredentialBoard::Change> first;
    for (const auto& slot : slots) {
        const CredentialSpec& spec = slot->spec();
        if (!spec.is_static()) continue;
        if (const auto was = known.find(slot.get()); was != known.end()) {
            followed.push_back(std::move(*was->second));
            continue;
        }
        followed.push_back({slot, Rotation(read_credential(spec), times.rotation), read_previous(spec)});
        const Kept& fresh = followed.back();
        first.emplace_back(slot, state_of(fresh));
        if (fresh.rotation.state().has_error()) tell(spec, false, fresh.rotation.state());
        tell_unsearched(spec, *first.back().second);
    }
    kept = std::move(followed);
    board.post(std::move(first));
    if (!paths.empty() && !thread.joinable()) thread = std::thread([this] { watch(); });
}

std::shared_ptr<const CredentialState> SecretFiles::Impl::state_of(const Kept& one) {
    const Result<Attachment>& reading = one.rotation.state();
    auto state = std::make_shared<CredentialState>();
    state->since = std::chrono::system_clock::now();
    if (reading.has_value()) {
        state->attachment = *reading;
        state->minted = one.since;
        if (const auto* shown = std::get_if<OnConnection>(&reading->how)) state->expires = shown->ends;
        state->serial = board.next_serial();
        state->previous = one.previous;
        state->needles = needles_of(state->attachment, state->previous, one.replaced);
    } else {
        state->fault = reading.error().detail;
    }
    return state;
}

SecretFiles::Impl::~Impl() {
    eventfd_write(stop_event, 1);
    if (thread.joinable()) thread.join();
    close(stop_event);
}

Result<Secret> SecretFiles::Impl::read_source(const SecretSource& source) const {
    switch (source.kind) {
        case SecretSource::Kind::none:
        case SecretSource::Kind::vault:  // of one that is fetched
            return Secret();
        case SecretSource::Kind::file:
            return read_secret_file(source.name);
        case SecretSource::Kind::environment:
            return variables.at(source.name);
    }
    return Secret();
}

Result<Attachment> SecretFiles::Impl::read_credential(const CredentialSpec& spec) const {
    const auto named = [&spec](Failure failure) {
        failure.detail = "credential '" + spec.name + "': " + failure.detail;
        return failure;
    };
    if (const auto* basic = std::get_if<BasicSpec>(&spec.kind)) {
        auto password = read_source(basic->password);
        if (password.has_error()) return named(password.error());
        auto username = basic->username_source.written() ? read_source(basic->username_source)
                                                         : Result<Secret>(Secret(std::string(basic->username)));
        if (username.has_error()) return named(username.error());
        return make_attachment(spec, Minted{UserPassword{std::move(*username), std::move(*password)}});
    }
    if (const auto* mtls = std::get_if<MtlsSpec>(&spec.kind)) {
        auto shown = read_client_certificate(*mtls);
        if (shown.has_error()) return named(shown.error());
        return shown;
    }
    const auto sources = spec.secrets();
    auto value = read_source(*sources.front());
    if (value.has_error()) return named(value.error());
    return make_attachment(spec, Minted{std::move(*value)});
}

// Of the user whose password it was, where there is a user.
std::optional<Attachment> SecretFiles::Impl::read_previous(const CredentialSpec& spec) const {
    if (!spec.rules.overlap.written()) return {};
    auto secret = read_source(spec.rules.overlap);
    if (secret.has_error()) return {};  // it may be gone as soon as nobody takes it any more
    Minted minted{std::move(*secret)};
    if (const auto* basic = std::get_if<BasicSpec>(&spec.kind)) {
        auto username = basic->username_source.written() ? read_source(basic->username_source)
                                                         : Result<Secret>(Secret(std::string(basic->username)));
        if (username.has_error()) return {};
        minted.what = UserPassword{std::move(*username), std::move(std::get<Secret>(minted.what))};
    }
    auto made = make_attachment(spec, minted);
    if (made.has_error()) return {};
    return std::move(*made);
}

// True: something is not settled yet.
bool SecretFiles::Impl::look() {
    const std::lock_guard work(work_mutex);
    files.follow(paths);
    const TimePoint now = std::chrono::steady_clock::now();
    std::vector<CredentialBoard::Change> changes;
    bool unsettled = false;
    for (Kept& one : kept) {
        const CredentialSpec& spec = one.slot->spec();
        const bool had_one = one.rotation.state().has_value();
        const bool rotated = one.rotation.observe(read_credential(spec), now);
        auto previous = read_previous(spec);
        unsettled |= one.rotation.unsettled();
        if (rotated) tell(spec, had_one, one.rotation.state());
        if (!rotated && same(previous, one.previous)) continue;
        one.previous = std::move(previous);
        if (rotated) {
            if (const auto& was = one.slot->state()->attachment) one.replaced = *was;
            one.since = std::chrono::system_clock::now();
        }
        changes.emplace_back(one.slot, state_of(one));
        if (rotated) tell_unsearched(spec, *changes.back().second);
    }
    board.post(std::move(changes));
    return unsettled;
}

void SecretFiles::Impl::tell(const CredentialSpec& spec, bool had_one, const Result<Attachment>& now) const {
    using State = SecretNotice::State;
    if (now.has_error()) {
        notice({State::unavailable, spec.name, now.error().detail});
    } else {
        notice({had_one ? State::changed : State::available, spec.name, {}});
    }
}

void SecretFiles::Impl::tell_unsearched(const CredentialSpec& spec, const CredentialState& state) const {
    if (const std::string missed = unsearched(state); !missed.empty()) notice({SecretNotice::State::unsearched, spec.name, missed});
}

void SecretFiles::Impl::watch() {
    const SignalsBlocked blocked;

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
        case SecretNotice::State::unsearched:
            return "unsearched";
    }
    return "";
}

SecretFiles::SecretFiles(CredentialBoard& board, CredentialSlots slots, Notify notice, SecretTimes times)
    : impl_(std::make_unique<Impl>(board, std::move(slots), std::move(notice), times)) {}

SecretFiles::~SecretFiles() = default;

void SecretFiles::follow(CredentialSlots slots) { impl_->follow(std::move(slots)); }

}  // namespace sluice
