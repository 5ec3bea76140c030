#include "proxy/issuers/errand.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <thread>

#include "proxy/base/text.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/scrub.hpp"
#include "proxy/http/retry_after.hpp"
#include "proxy/issuers/client_certificate.hpp"
#include "proxy/issuers/read_secret.hpp"
#include "proxy/issuers/vault.hpp"
#include "proxy/ports/clock.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_of_a_reply = 1024 * 1024;
constexpr std::size_t most_of_a_scope = 16 * 1024;   // is told

// Nobody: what an issuer says before its answer is of no interest.
class NoApplication final : public ReplySink {
  public:
    explicit NoApplication(const bool& aborted) : aborted_(aborted) {}
    Task<Result<void>> inform(const ResponseHead&) override { co_return Result<void>{}; }
    Task<Result<void>> deliver(const ResponseHead&, const Framing&, BodySource*, const Limits&, Activity&) override { co_return Failure::application_gone(); }
    Task<Result<void>> deliver_stream(const ResponseHead&, BodySource&, const Limits&, Activity&) override { co_return Failure::application_gone(); }
    bool began() const override { return false; }
    bool stopped() const override { return aborted_; }

  private:
    const bool& aborted_;
};

class GivenBody final : public BodySource {
  public:
    explicit GivenBody(std::string_view text) : text_(text) {}
    std::optional<Result<Chunk>> next_ready() override { return Chunk{text_, true, nullptr}; }
    Task<Result<Chunk>> next(TimePoint) override { co_return Chunk{text_, true, nullptr}; }
    void interrupt() override {}

  private:
    std::string_view text_;
};

Task<Result<Secret>> read_whole(RoundTrip& trip) {
    std::string text;
    Failure failure;
    for (bool last = trip.response_body == nullptr; !last;) {
        Result<Chunk> got = co_await trip.response_body->next(trip.limits.total);
        if (got) {
            append_wiping(text, got->data);
            last = got->last;
        } else {
            failure = std::move(got.error());
        }
        if (got && text.size() <= most_of_a_reply) continue;
        if (got) failure = {Origin::vendor, Reason::upstream_protocol, Replay::unsafe, "its answer is larger than 1 MiB"};
        else if (Clock::now() >= trip.limits.total) failure = {Origin::vendor, Reason::timeout_total, Replay::unsafe, "its answer was not whole in time"};
        wipe(text);
        co_return failure;
    }
    co_return Secret(std::move(text));
}

// An issuer's words are cut, and so may be the secret in them.
void hide_begun(std::string& what, std::string_view secret) {
    constexpr std::size_t enough = 12;
    const std::string_view begin = secret.substr(0, enough);
    for (std::size_t at = what.find(begin); at != what.npos; at = what.find(begin, at + 3)) {
        std::size_t size = begin.size();
        while (size < secret.size() && at + size < what.size() && what[at + size] == secret[size]) ++size;
        what.replace(at, size, "***");
    }
}

Url url_without_query(Url url) {
    url.prefix.resize(std::min(url.prefix.find('?'), url.prefix.size()));
    return url;
}

}  // namespace

const Secret* IssuerMemory::find(std::string_view what, TimePoint now) const {
    const auto found = kept.find(what);
    return found == kept.end() || found->second.until <= now ? nullptr : &found->second.value;
}

void IssuerMemory::forget(std::string_view what) {
    if (const auto found = kept.find(what); found != kept.end()) kept.erase(found);
}

AsideThreads::~AsideThreads() {
    stopping_ = true;
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return running_ == 0; });
}

void AsideThreads::run(std::function<void(const std::atomic<bool>& stopping)> work) {
    const std::lock_guard lock(mutex_);
    ++running_;
    std::thread([this, work = std::move(work)] {
        work(stopping_);
        const std::lock_guard ending(mutex_);
        if (--running_ == 0) ended_.notify_all();   // under the lock: `this` may go as soon as it is released
    }).detach();
}

Errand::Errand(IssuerTools& tools, std::shared_ptr<const Config> config, std::shared_ptr<const ClientContexts> contexts, const CredentialSpec& spec, std::shared_ptr<IssuerMemory> memory, TimePoint deadline)
    : tools_(tools), config_(std::move(config)), contexts_(std::move(contexts)), spec_(spec), memory_(std::move(memory)), deadline_(deadline) {}

Errand::Errand(const Errand& other) : Errand(other.tools_, other.config_, other.contexts_, other.spec_, other.memory_, other.deadline_) {}

void Errand::learn_from(const Errand& other) {
    for (const Secret& secret : other.hidden_) hide(secret);
    notes_.insert(notes_.end(), other.notes_.begin(), other.notes_.end());
    calls_.insert(calls_.end(), other.calls_.begin(), other.calls_.end());
    asked_pause_ = std::max(asked_pause_, other.asked_pause_);
}

TimePoint Errand::now() { return Clock::now(); }

std::array<std::uint8_t, 16> Errand::random() {
    std::array<std::uint8_t, 16> bytes;
    while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {}
    return bytes;
}

std::string Errand::masked(std::string what) const {
    for (const Secret& secret : hidden_) {
        if (secret.size() < Needles::shortest) {
            if (secret.size() >= 4) hide_begun(what, secret.reveal());
            continue;
        }
        for (const Secret& form : forms_of(secret)) hide_begun(what, form.reveal());
    }
    return what;
}

void Errand::hide(const Secret& secret) {
    const bool known = std::any_of(hidden_.begin(), hidden_.end(), [&](const Secret& one) { return one.same_as(secret.reveal()); });
    if (!known && !secret.empty()) hidden_.push_back(secret);
}

void Errand::mask(std::string& text) const {
    for (std::span<const Secret> rest = hidden_; !rest.empty();) {   // no needles are of more
        const auto some = rest.first(std::min(rest.size(), Needles::most_secrets));
        Needles(some).mask(text);
        rest = rest.subspan(some.size());
    }
}

void Errand::mask(Minted& minted) const {
    mask(minted.subject);
    std::string scope = joined(minted.scope, " ");   // in one go, however many words an issuer makes of it
    mask(scope);
    if (scope.size() > most_of_a_scope) scope.resize(most_of_a_scope);
    scope = masked(std::move(scope));   // its words are cut
    minted.scope.clear();
    for (std::string_view rest = scope; !rest.empty();) {
        const std::string_view word = rest.substr(0, rest.find(' '));
        if (!word.empty()) minted.scope.emplace_back(word);
        rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
}

Failure Errand::failure(std::string what) const {
    return {Origin::sluice, Reason::credential_unavailable, Replay::safe, "credential '" + spec_.name + "': " + masked(std::move(what))};
}

Task<Result<IssuerReply>> Errand::call(IssuerRequest request, const Vendor* rules) {
    const bool own = !rules && spec_.issuer;
    if (own) rules = own_rules();
    const std::string where = text_of(request.url);
    if (!rules) co_return failure("nothing of the policy says how " + where + " is reached");
    if (own && spec_.shown && !shown_) {
        Result<OnConnection> shown = co_await fetch_client_certificate(*this, *spec_.shown);
        if (!shown) co_return std::move(shown.error());
        shown_ = std::move(*shown);
    }
    RequestHead head;
    head.method = std::move(request.method);
    head.target = request.url.prefix.empty() ? "/" : request.url.prefix;
    head.fields = std::move(request.fields);
    if (!head.fields.find("Accept")) head.fields.add("Accept", "application/json");
    head.fields.add("User-Agent", "sluice/" SLUICE_VERSION);
    GivenBody body(request.body.reveal());
    NoApplication application(aborted_);
    Activity activity{now()};
    Phases phases;
    Traffic traffic;
    IssuerReply reply;
    ResponseHead response;
    RoundTrip trip;
    trip.vendor = rules;
    trip.contexts = contexts_.get();
    if (own && shown_) trip.certificate = shown_->certificate;
    trip.destination = {request.url.scheme, request.url.authority, {}};
    trip.request = &head;
    trip.repeatable = is_idempotent(head.method);
    if (request.has_body) {
        trip.request_framing = {Framing::Kind::length, request.body.size()};
        trip.request_body = &body;
    }
    trip.limits.timeout = rules->timeout;
    trip.limits.total = std::min(deadline_, later(now(), rules->timeout.total));
    if (request.patience > Duration{}) {
        trip.limits.timeout.first_byte = trip.limits.timeout.idle = trip.limits.timeout.total = request.patience;
        trip.limits.total = later(now(), request.patience);
    }
    trip.activity = &activity;
    trip.application = &application;
    trip.phases = &phases;
    trip.traffic = &traffic;
    trip.response = &response;

    if (aborted_) co_return failure("broken off");
    IssuerCall told{head.method, where, 0, {}, {}, {}};
    const TimePoint began = now();
    if (request.patience > Duration{}) sent_since_ = began;
    trip_ = &trip;
    Result<void> done = co_await tools_.transport.round_trip(trip);
    Result<Secret> whole = Secret();
    if (done) whole = co_await read_whole(trip);
    trip_ = nullptr;
    co_await tools_.transport.finish(trip);
    head.clear();   // it may hold what the issuer is shown
    told.took = now() - began;
    told.phases = phases;
    if (done) told.status = response.status;
    if (!done) told.reason = done.error().reason;
    else if (!whole) told.reason = whole.error().reason;
    calls_.push_back(std::move(told));
    if (!done) co_return failure(where + " cannot be asked: " + done.error().detail);
    if (!whole) co_return failure(where + " answered badly: " + whole.error().detail);
    reply.status = response.status;
    reply.fields = std::move(response.fields);
    if (reply.status == 429 || reply.status == 503) asked_pause_ = std::max(asked_pause_, read_retry_after(reply.fields, wall_now()).value_or(Duration{}));
    reply.body = std::move(*whole);
    if (reply.status >= 300) {   // words about a refusal may be told, and may repeat what was sent: before anybody cuts them
        std::string text(reply.body.reveal());
        mask(text);
        reply.body = Secret(std::move(text));
    }
    co_return reply;
}

void Errand::abort() {
    aborted_ = true;
    if (trip_) tools_.transport.abort(*trip_);
}

Result<Secret> Errand::file(const std::string& path) {
    auto read = read_secret_file(path);
    if (read.has_error()) return failure(read.error().detail);
    hide(*read);
    return read;
}

WatchedFile looked_at_again(const WatchedFile& before) {
    const auto read = read_secret_file(before.path);
    if (read.has_error()) return before;
    return {before.path, std::string(hash_of(HashAlgorithm::sha256, read->reveal()).bytes())};
}

void Errand::depends_on(std::string path) { files_.push_back(looked_at_again({std::move(path), {}})); }

std::optional<std::string> Errand::variable(const char* name) const {
    const char* value = std::getenv(name);
    if (!value || !*value) return {};
    return std::string(value);
}

Task<Result<Secret>> Errand::secret(const SecretSource& source) {
    switch (source.kind) {
    case SecretSource::Kind::none: co_return Secret();
    case SecretSource::Kind::file: co_return file(source.name);
    case SecretSource::Kind::environment: {
        auto read = read_secret_variable(source.name);
        if (read.has_error()) co_return failure(read.error().detail);
        hide(*read);
        co_return std::move(*read);
    }
    case SecretSource::Kind::vault: {
        Result<Secret> read = co_await read_vault_secret(*this, source);
        co_return read;
    }
    }
    co_return Secret();
}

Task<void> Errand::aside(std::function<void(const std::atomic<bool>& stopping)> work) {
    // Whoever waits may be gone before the work is done: what both touch belongs to both.
    struct Shared {
        Wakeup wakeup;
        bool done = false;
    };
    auto shared = std::make_shared<Shared>();
    tools_.aside.run([&timer = tools_.timer, waiting = std::weak_ptr<Shared>(shared), work = std::move(work)](const std::atomic<bool>& stopping) {
        work(stopping);
        timer.post([waiting] {
            if (const auto still = waiting.lock()) {
                still->done = true;
                still->wakeup.notify(Wait::ready);
            }
        });
    });
    while (!shared->done) co_await tools_.timer.wait(shared->wakeup, never);
}

std::string whole_text_of(const Url& url) { return std::string(name_of(url.scheme)) + "://" + url.authority.text(url.scheme) + url.prefix; }

std::string text_of(const Url& url) { return whole_text_of(url_without_query(url)); }

std::string form_encoded(std::string_view text) {
    std::string out;
    out.reserve(3 * text.size());
    for (const char c : text) {
        const char l = lower(c);
        if (is_digit(c) || (l >= 'a' && l <= 'z') || c == '-' || c == '.' || c == '_' || c == '*') {
            out += c;
        } else if (c == ' ') {
            out += '+';
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += "0123456789ABCDEF"[byte >> 4];
            out += "0123456789ABCDEF"[byte & 0xF];
        }
    }
    return out;
}

Form& Form::add(std::string_view name, std::string_view value) {
    std::string encoded = form_encoded(value);
    if (!text_.empty()) append_wiping(text_, "&");
    append_wiping(text_, form_encoded(name));
    append_wiping(text_, "=");
    append_wiping(text_, encoded);
    wipe(encoded);
    return *this;
}

void IssuerRequest::bear(const Secret& token) {
    std::string value = "Bearer ";
    value.reserve(value.size() + token.size());   // grown, it would leave a copy behind
    value.append(token.reveal());
    fields.set("Authorization", value);
    wipe(value);
}

Form& Form::add(std::string_view name, const Secret& secret, Errand& errand) {
    errand.hide(Secret(form_encoded(secret.reveal())));
    return add(name, secret.reveal());
}

IssuerRequest Form::post_to(const Url& url) && {
    IssuerRequest request;
    request.method = "POST";
    request.url = url;
    request.fields.add("Content-Type", "application/x-www-form-urlencoded");
    request.body = Secret(std::move(text_));
    request.has_body = true;
    return request;
}

}  // namespace sluice
