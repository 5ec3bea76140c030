#include "proxy/issuers/keeper.hpp"

#include <cstring>
#include <utility>

#include "proxy/base/text.hpp"
#include "proxy/credentials/apply.hpp"
#include "proxy/issuers/fetch.hpp"
#include "proxy/issuers/refresh_flight.hpp"
#include "proxy/ports/clock.hpp"

namespace sluice {

namespace {

constexpr Duration files_rest = 1s, files_settle = 100ms;   // between looks at files that a credential depends on

double draw_share() {
    const auto random = Errand::random();
    std::uint64_t bits;
    std::memcpy(&bits, random.data(), sizeof bits);
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

// A client secret's overlap is its issuer's to take: see oauth.cpp.
bool overlaps_at_vendor(const CredentialSpec& spec) { return spec.rules.overlap.written() && !std::holds_alternative<OAuthSpec>(spec.kind); }

// The previous secret that vendors take was read beside what was fetched: not there, or another one, it is fetched together with it.
bool fetched_alike(const CredentialSpec& now, const CredentialSpec& before) {
    return now.fetched_as(before) && (now.rules.overlap == before.rules.overlap || !(overlaps_at_vendor(now) || overlaps_at_vendor(before)));
}

// Of the same user, where there is one.
std::optional<Attachment> previous_of(const CredentialSpec& spec, const Minted& now, const std::optional<Secret>& secret) {
    if (!secret) return {};
    Minted before;
    if (const auto* pair = std::get_if<UserPassword>(&now.what))
        before.what = UserPassword{pair->username, *secret};
    else
        before.what = *secret;
    auto made = make_attachment(spec, before);
    if (!made) return {};
    return std::move(*made);
}

bool same(const std::optional<Attachment>& a, const std::optional<Attachment>& b) { return a.has_value() == b.has_value() && (!a || a->same_as(*b)); }

RenewalTimes times_of(const CredentialSpec& spec) {
    RenewalTimes times;
    times.before = spec.rules.refresh_before;
    return times;
}

}  // namespace

std::string_view name_of(KeeperNotice::Kind kind) {
    switch (kind) {
    case KeeperNotice::Kind::minted: return "minted";
    case KeeperNotice::Kind::failed: return "failed";
    case KeeperNotice::Kind::unavailable: return "unavailable";
    case KeeperNotice::Kind::note: return "note";
    }
    return "";
}

std::string_view name_of(KeeperNotice::Why why) {
    switch (why) {
    case KeeperNotice::Why::eager: return "eager";
    case KeeperNotice::Why::wanted: return "wanted";
    case KeeperNotice::Why::renewal: return "renewal";
    case KeeperNotice::Why::refused: return "refused";
    case KeeperNotice::Why::changed: return "changed";
    }
    return "";
}

struct CredentialKeeper::Kept {
    explicit Kept(std::shared_ptr<CredentialSlot> in) : slot(std::move(in)), plan(times_of(slot->spec()), slot->spec().rules.eager), why(slot->spec().rules.eager ? KeeperNotice::Why::eager : KeeperNotice::Why::wanted) {}

    std::shared_ptr<CredentialSlot> slot;
    CredentialSlots former;   // of policies before, where what is under way is still waited for
    CredentialSpec spec;   // as the latest policy has it: its indexes are that policy's
    std::shared_ptr<const Config> config;
    std::shared_ptr<const ClientContexts> contexts;
    RenewalPlan plan;
    KeeperNotice::Why why;   // of the next one that comes, whatever fails before
    IssuerMemory memory;
    std::optional<Minted> got;                // what the attachment was made of
    std::optional<Attachment> attachment;
    std::optional<Secret> previous_secret;    // `overlap`, where it is the vendor that takes it
    std::optional<Attachment> previous;       // made of it
    std::optional<Attachment> replaced;       // by the one at hand
    std::shared_ptr<const Needles> needles;   // of the three
    std::vector<WatchedFile> files, changed;  // that it depends on; as they were at the last look, where that was otherwise
    TimePoint look_at = never;                // them
    std::uint64_t serial = 0, flights = 0;
    std::optional<WallTime> minted, expires;
    Errand* errand = nullptr;  // under way
    std::string fault;         // of the last fetch; "": it went well
    bool ended = false;        // no policy has it any more
    bool told_unsearched = false;
    Wakeup wakeup;

    void replace(std::optional<Attachment> with) {
        if (attachment) replaced = std::move(attachment);
        attachment = std::move(with);
    }
    void forget() {
        replace(std::nullopt);
        got.reset();
        minted.reset();
        expires.reset();
    }
};

CredentialKeeper::CredentialKeeper(IssuerTools& tools, CredentialBoard& board, Spawn spawn, Notify notify)
    : tools_(tools), timer_(tools.timer), board_(board), spawn_(std::move(spawn)), notify_(std::move(notify)) {}

CredentialKeeper::~CredentialKeeper() = default;

void CredentialKeeper::follow(std::shared_ptr<const Config> config, std::shared_ptr<const ClientContexts> contexts, const CredentialSlots& slots) {
    auto before = std::exchange(kept_, {});
    std::map<std::string, const CredentialSlot*> slot_before;
    for (const auto& [slot, kept] : before) slot_before.emplace(kept->spec.name, slot);
    std::vector<KeptPtr> fresh, moved;
    const auto take = [&](const CredentialSpec& spec) {
        if (spec.is_static() || spec.is_login()) return;
        const std::shared_ptr<CredentialSlot>& slot = slots[spec.index];
        auto was = before.find(slot.get());
        const auto same_name = slot_before.find(spec.name);
        if (was == before.end() && same_name != slot_before.end()) {
            was = before.find(same_name->second);
            if (fetched_alike(spec, was->second->spec))
                moved.push_back(was->second);
            else
                was = before.end();
        }
        KeptPtr kept = was == before.end() ? std::make_shared<Kept>(slot) : was->second;
        if (kept->slot != slot) move(*kept, slot, spec);
        kept->spec = spec;
        kept->config = config;
        kept->contexts = contexts;
        kept_.emplace(slot.get(), kept);
        if (was == before.end())
            fresh.push_back(std::move(kept));
        else
            before.erase(was);
    };
    for (const auto* specs : {&config->credentials, &config->secrets})
        for (const CredentialSpec& spec : *specs) take(spec);
    for (auto& [_, kept] : before) {
        kept->ended = true;
        kept->wakeup.notify(Wait::interrupted);
    }
    for (const KeptPtr& kept : moved) kept->wakeup.notify(Wait::ready);   // it may be due at another time
    running_ += fresh.size();
    for (KeptPtr& kept : fresh) spawn_(keep(std::move(kept)));
}

// The same under other rules: what was fetched is put where they say.
void CredentialKeeper::move(Kept& kept, std::shared_ptr<CredentialSlot> slot, const CredentialSpec& spec) {
    const std::shared_ptr<CredentialSlot> left = std::exchange(kept.slot, std::move(slot));
    const auto state = left->state();
    bool coming = state->coming;
    if (kept.errand) kept.former.push_back(left);
    kept.plan.renew_before(Clock::now(), spec.rules.refresh_before);
    if (kept.attachment) {
        Result<Attachment> made = make_attachment(spec, *kept.got);
        if (made) {
            kept.attachment = std::move(*made);
            kept.previous = previous_of(spec, *kept.got, kept.previous_secret);
            kept.needles = needles_of(kept.attachment, kept.previous, kept.replaced);
            kept.serial = board_.next_serial();
        } else {   // what comes next may not do either: that is told as of any other
            kept.forget();
            kept.plan = RenewalPlan(times_of(spec), true);
            coming = true;
        }
    }
    if (spec.rules.eager) kept.plan.wanted();
    if (kept.errand || !coming) post(kept, state->fault, coming);   // else it stands as a new one does
}

// An exchange that began under a policy before waits for what was under way then.
void CredentialKeeper::tell_former(Kept& kept) {
    for (const auto& slot : std::exchange(kept.former, {})) {
        auto state = std::make_shared<CredentialState>(*kept.slot->state());
        if (state->attachment) {
            Result<Attachment> made = make_attachment(slot->spec(), *kept.got);
            state->attachment.reset();
            if (made) state->attachment = std::move(*made);
            state->previous = previous_of(slot->spec(), *kept.got, kept.previous_secret);
        }
        if (!state->attachment && state->fault.empty()) state->fault = "credential '" + slot->spec().name + "' was changed by a reload; send the request again";
        board_.post({{slot, std::move(state)}});
    }
}

void CredentialKeeper::slept(Duration time) {
    for (const auto& [slot, kept] : kept_) {
        kept->plan.slept(time);
        for (auto& [_, value] : kept->memory.kept)
            if (value.until != never) value.until -= time;
        const auto state = slot->state();
        if (kept->attachment) post(*kept, state->fault, state->coming);
        kept->wakeup.notify(Wait::ready);
    }
}

void CredentialKeeper::end_if_idle() {
    if (running_ == 0 && tools_.flights.none() && idle_) std::exchange(idle_, {})();
}

Duration CredentialKeeper::stop(std::function<void()> idle) {
    stopping_ = true;
    tools_.aside.stop();
    for (auto& [_, kept] : std::exchange(kept_, {})) {
        kept->ended = true;
        if (kept->errand) kept->errand->abort();
        kept->wakeup.notify(Wait::interrupted);
    }
    tools_.flights.when_none([this] { end_if_idle(); });
    const Duration patience = tools_.flights.stop();
    idle_ = std::move(idle);
    end_if_idle();
    return patience;
}

CredentialKeeper::KeptPtr CredentialKeeper::find(const CredentialSlot& slot) const {
    const auto found = kept_.find(&slot);
    return found == kept_.end() ? nullptr : found->second;
}

void CredentialKeeper::want(std::shared_ptr<CredentialSlot> slot) {
    timer_.post([this, slot = std::move(slot)] {
        const KeptPtr kept = find(*slot);
        if (!kept) return left(slot);
        kept->plan.wanted();
        kept->wakeup.notify(Wait::ready);
    });
}

void CredentialKeeper::refused(std::shared_ptr<CredentialSlot> slot, std::uint64_t serial) {
    timer_.post([this, slot = std::move(slot), serial] {
        const KeptPtr kept = find(*slot);
        if (!kept) return left(slot);
        if (kept->errand) return;   // its end is news
        if (kept->serial == serial && kept->plan.refused(Clock::now())) {
            kept->why = KeeperNotice::Why::refused;
            kept->wakeup.notify(Wait::ready);
            return;
        }
        ++kept->flights;   // there is another one already, or there will be none: whoever waits has its answer
        post(*kept, kept->fault, false);
    });
}

// No policy in force has it any more, but an exchange that began under the one before still waits for news: there will be none but this.
void CredentialKeeper::left(const std::shared_ptr<CredentialSlot>& slot) {
    auto state = std::make_shared<CredentialState>(*slot->state());
    ++state->flights;
    state->coming = state->idle = false;
    if (Clock::now() >= state->usable_until) {
        state->attachment.reset();
        state->previous.reset();
        state->needles.reset();
    }
    if (!state->attachment) state->fault = "credential '" + slot->spec().name + "' was changed or taken out by a reload while the request waited for it; send it again";
    board_.post({{slot, std::move(state)}});
}

void CredentialKeeper::previous_taken(std::shared_ptr<CredentialSlot> slot) {
    timer_.post([this, slot = std::move(slot)] {
        KeeperNotice notice;
        notice.kind = KeeperNotice::Kind::note;
        notice.spec = &slot->spec();
        notice.detail = "the vendor refuses the new secret, and still takes the one before it (overlap)";
        notify_(notice);
    });
}

void CredentialKeeper::post(Kept& kept, std::string fault, bool coming) {
    auto state = std::make_shared<CredentialState>();
    state->attachment = kept.attachment;
    if (kept.attachment) {
        state->previous = kept.previous;
        state->needles = kept.needles;
    }
    state->fault = std::move(fault);
    state->since = std::chrono::system_clock::now();
    state->coming = coming;
    state->flights = kept.flights;
    state->serial = kept.serial;
    state->usable_until = kept.attachment ? kept.plan.usable_until() : never;
    state->minted = kept.minted;
    state->expires = kept.expires;
    board_.post({{kept.slot, std::move(state)}});
}

void CredentialKeeper::unavailable(Kept& kept, const std::string& detail) {
    kept.forget();
    post(kept, detail, false);
    KeeperNotice notice;
    notice.kind = KeeperNotice::Kind::unavailable;
    notice.spec = &kept.spec;
    notice.detail = detail;
    notify_(notice);
}

// Until no policy has it any more.
Task<void> CredentialKeeper::keep(KeptPtr kept) {
    while (!kept->ended) {
        const TimePoint now = Clock::now();
        if (kept->plan.due() <= now) {
            std::string broken;
            try {
                co_await fetch(kept);
            } catch (const std::exception& error) {   // of memory that ran out, or of a mistake of ours: it must not end all renewal
                broken = error.what();
            }
            if (!broken.empty()) {
                ++kept->flights;   // who waits for it is told as of any other
                failed(*kept, "credential '" + kept->spec.name + "' could not be fetched: " + broken, {});
            }
            tell_former(*kept);
            continue;
        }
        if (kept->attachment && !kept->plan.has_one(now))
            unavailable(*kept, kept->fault.empty() ? "credential '" + kept->spec.name + "' has ended" : kept->fault + " (and the one before has ended)");
        if (kept->look_at <= now) {
            look(*kept, now);
            continue;
        }
        const TimePoint end = kept->attachment ? kept->plan.usable_until() : never;
        const TimePoint next = std::min({kept->plan.due(), end, kept->look_at});
        co_await timer_.wait(kept->wakeup, next);
    }
    if (!stopping_ && kept->slot->state()->coming) left(kept->slot);
    --running_;
    end_if_idle();
}

// What was changed is read once it stays as it is: a file that is rewritten in place is for moments half there.
void CredentialKeeper::look(Kept& kept, TimePoint now) {
    std::vector<WatchedFile> seen;
    for (const WatchedFile& file : kept.files) seen.push_back(looked_at_again(file));
    const bool changes = seen != kept.files, settled = changes && seen == kept.changed;
    kept.look_at = now + (changes && !settled ? files_settle : files_rest);
    kept.changed = std::move(seen);
    if (!settled) return;
    kept.why = KeeperNotice::Why::changed;
    kept.plan.changed(now);
}

void CredentialKeeper::failed(Kept& kept, const std::string& detail, Duration took, Duration asked_pause) {
    const TimePoint now = Clock::now();
    kept.errand = nullptr;
    kept.fault = detail;
    kept.plan.failed(now, draw_share(), asked_pause);
    if (!kept.plan.has_one(now)) kept.forget();
    post(kept, detail, false);
    KeeperNotice notice;
    notice.kind = KeeperNotice::Kind::failed;
    notice.spec = &kept.spec;
    notice.detail = detail;
    notice.took = took;
    notice.again_in = kept.plan.due() - now;
    notify_(notice);
}

Task<void> CredentialKeeper::fetch(KeptPtr kept) {
    const TimePoint began = Clock::now();
    const WallTime asked = std::chrono::system_clock::now();
    kept->plan.began(began);
    if (!kept->plan.has_one(began)) {   // whoever comes now waits for it
        kept->forget();
        const auto state = kept->slot->state();
        const std::string fault = state->fault.empty() ? "credential '" + kept->spec.name + "' is being fetched" : state->fault;
        if (!state->coming || state->idle) post(*kept, fault, true);
    }
    Errand errand(tools_, kept->config, kept->contexts, kept->spec, std::shared_ptr<IssuerMemory>(kept, &kept->memory), later(began, errand_time));
    kept->errand = &errand;
    Result<Minted> got = co_await fetch_credential(errand);
    std::optional<Secret> previous_secret;
    if (got && overlaps_at_vendor(kept->spec)) {
        Result<Secret> secret = co_await errand.secret(kept->spec.rules.overlap);
        if (secret) previous_secret = std::move(*secret);   // else it is gone, as soon as nobody takes it any more
    }
    kept->errand = nullptr;
    kept->files = errand.depends_on();
    kept->look_at = kept->files.empty() ? never : Clock::now() + files_rest;
    if (stopping_) co_return;   // ended by a reload it is still what an exchange of the policy before waits for
    ++kept->flights;
    for (const std::string& what : errand.notes()) {
        KeeperNotice told;
        told.kind = KeeperNotice::Kind::note;
        told.spec = &kept->spec;
        told.detail = what;
        notify_(told);
    }
    Result<Attachment> made = got ? make_attachment(kept->spec, *got) : Result<Attachment>(got.error());
    const TimePoint now = Clock::now();
    if (made && !kept->plan.fetched(now, got->lifetime, draw_share(), got->renew_after)) made = errand.failure("what its issuer gave has ended already");
    if (!made) {
        failed(*kept, made.error().detail, now - began, errand.asked_pause());
        co_return;
    }
    kept->got = *got;
    kept->previous_secret = std::move(previous_secret);
    std::optional<Attachment> previous = previous_of(kept->spec, *got, kept->previous_secret);
    if (!same(kept->attachment, *made) || !same(kept->previous, previous)) {   // what is the same need not be tried again by who was refused with it
        kept->replace(std::move(*made));
        kept->previous = std::move(previous);
        kept->needles = needles_of(kept->attachment, kept->previous, kept->replaced);
        kept->serial = board_.next_serial();
    }
    kept->fault.clear();
    kept->minted = asked;
    kept->expires.reset();
    if (got->lifetime) kept->expires = asked + std::chrono::duration_cast<WallTime::duration>(*got->lifetime);
    post(*kept, {}, false);
    KeeperNotice notice;
    notice.kind = KeeperNotice::Kind::minted;
    notice.spec = &kept->spec;
    notice.why = std::exchange(kept->why, KeeperNotice::Why::renewal);
    notice.subject = got->subject;
    notice.scope = joined(got->scope, " ");
    if (!errand.calls().empty()) notice.issuer = errand.calls().back().where;
    errand.mask(notice.issuer);
    if (kept->needles)   // nor the tokens before it, which the errand does not know
        for (std::string* said : {&notice.subject, &notice.scope, &notice.issuer}) kept->needles->mask(*said);
    notice.lifetime = got->lifetime;
    notice.expires = kept->expires;
    notice.took = now - began;
    notify_(notice);
    const std::string missed = unsearched(*kept->slot->state());
    if (missed.empty() || std::exchange(kept->told_unsearched, true)) co_return;
    notice.kind = KeeperNotice::Kind::note;
    notice.detail = missed;
    notify_(notice);
}

}  // namespace sluice
