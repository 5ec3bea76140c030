#include "proxy/exchange/hedge.hpp"

#include <vector>

#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/pause.hpp"
#include "proxy/exchange/run_exchange.hpp"

namespace sluice {

namespace {

// The application as one of several attempts sees it: it hears nothing, and is gone when the attempt is cancelled.
class Muted final : public ReplySink {
  public:
    Task<Result<void>> inform(const ResponseHead&) override { co_return Result<void>{}; }
    Task<Result<void>> deliver(const ResponseHead&, const Framing&, BodySource*, const Limits&, Activity&) override { co_return Failure::application_gone(); }
    Task<Result<void>> deliver_stream(const ResponseHead&, BodySource&, const Limits&, Activity&) override { co_return Failure::application_gone(); }
    bool began() const override { return false; }
    bool stopped() const override { return cancelled; }
    TimePoint left_at() const override { return cancelled ? never : of->left_at(); }

    const ReplySink* of = nullptr;   // who waits for all of them; gone once this one is cancelled
    bool cancelled = false;
};

struct Rival {
    Exchange ex;
    Muted application;
    std::size_t endpoint = 0;
    Duration waited{};   // the exchange, for its limits
    std::optional<Result<void>> done;
    Wakeup* race = nullptr;   // whoever waits for the attempts; null once one has won

    bool under_way() const { return !done; }
};
using RivalPtr = std::shared_ptr<Rival>;

// What an attempt needs of the exchange, in a copy.
RivalPtr rival_of(const Exchange& ex, Wakeup& race) {
    auto rival = std::make_shared<Rival>();
    Exchange& own = rival->ex;
    own.policy = ex.policy;
    own.config = ex.config;
    own.request = ex.request;
    own.framing = ex.framing;
    own.application = &rival->application;
    rival->application.of = ex.application;
    own.scheme = ex.scheme;
    own.authority = ex.authority;
    own.vendor = ex.vendor;
    own.route = ex.route;
    own.serving = ex.serving;
    own.serving_route = ex.serving_route;
    own.instead = ex.instead;
    own.limits = ex.limits;
    own.activity = ex.activity;
    own.phases = ex.phases;
    own.failed_at = ex.failed_at;   // shared: they fail as one exchange
    own.shows_previous = ex.shows_previous;
    own.may_have_cost = ex.may_have_cost;
    own.tokens = ex.tokens;
    if (ex.body) {
        own.replay.replace(std::string(ex.replay.kept()));
        own.body = &own.replay;
        own.framing = {Framing::Kind::length, own.replay.kept().size()};
    }
    hold_limits(own, Core::now());
    rival->race = &race;
    return rival;
}

Task<void> run_rival(Core& core, RivalPtr rival) {
    Result<void> done = co_await attempt(core, rival->ex, rival->endpoint, rival->waited);
    rival->done.emplace(std::move(done));
    if (!rival->race) give_back(rival->ex, Core::now());   // got while it was cut off already
    if (rival->race) {   // wakes the exchange, which may have taken all of this when it returns
        rival->race->notify(Wait::ready);
        co_return;
    }
    if (rival->ex.trip) co_await core.transport.finish(*rival->ex.trip);
}

Duration hedge_after(const Exchange& ex, TimePoint now) {
    const HedgeSpec& spec = *ex.retry().hedge;
    if (spec.quantile == 0) return spec.after;
    return ex.serving->live->latency->quantile(spec.quantile, now).value_or(Duration::max());
}

// An answer that the policy would retry loses against one that may still come.
bool is_good(const Exchange& ex, const Rival& rival) { return rival.done && *rival.done && !ex.retry().on.names(rival.ex.response.status); }

// What an outcome says of the vendor: an answer most, a refusal of our own nothing.
int worth(const Rival& rival) {
    if (*rival.done) return 2;
    return rival.done->error().origin == Origin::sluice ? 0 : 1;
}

// The one that has won; null: none yet. Where all are over, the last of those that say most.
RivalPtr winner_of(const Exchange& ex, const std::vector<RivalPtr>& rivals) {
    RivalPtr best;
    bool all_over = true;
    for (const RivalPtr& rival : rivals) {
        if (is_good(ex, *rival)) return rival;
        all_over &= !rival->under_way();
        if (!rival->under_way() && (!best || worth(*rival) >= worth(*best))) best = rival;
    }
    return all_over ? best : nullptr;
}

// Nothing was sent only if none of them sent anything.
void join_replay(Rival& winner, const std::vector<RivalPtr>& rivals) {
    if (*winner.done) return;
    Failure failure = winner.done->error();
    for (const RivalPtr& rival : rivals)
        if (rival->done && !*rival->done && rival->done->error().replay == Replay::unsafe) failure.replay = Replay::unsafe;
    winner.done.emplace(std::move(failure));
}

// What waits for its vendor ends inside this call. What is still under way after it (it dials, or its credential is being got) has sent nothing, and nothing will be sent for it: the transport asks the application first.
void cut_off(Core& core, Rival& rival) {
    rival.race = nullptr;
    rival.application.cancelled = true;
    interrupt(core, rival.ex);
}

// What the winner has taken of the vendor's limits becomes the exchange's, its next attempt's where nothing was sent. What the others took comes back where they sent nothing; of those that did the tokens stay spent, where it may have cost some.
void account(Exchange& ex, const std::vector<RivalPtr>& rivals, const RivalPtr& winner) {
    const TimePoint now = Core::now();
    Exchange& kept = (winner ? winner : rivals.front())->ex;
    hand_over(kept, ex);
    ex.may_have_cost = kept.may_have_cost;
    for (const RivalPtr& rival : rivals) {
        ex.attempts += rival->ex.attempts;
        ex.sends += rival->ex.sends;
        if (&rival->ex != &kept) give_back(rival->ex, now);
    }
}

// What came of the winner becomes the exchange's own. Its trip still refers to the rival, which lives as long.
Result<void> adopt(Exchange& ex, const RivalPtr& rival) {
    Exchange& own = rival->ex;
    ex.trip = std::move(own.trip);
    own.trip.reset();
    ex.response = std::move(own.response);
    ex.phases = own.phases;
    ex.fault = own.fault;
    ex.heard = own.heard;
    ex.let_through = own.let_through;
    ex.grpc = own.grpc;
    ex.learning = own.learning;
    ex.counting = own.counting;
    ex.throttle = own.throttle;
    ex.usage = own.usage;
    ex.refusal_fields = std::move(own.refusal_fields);
    ex.attached = own.attached;
    ex.attached_previous = own.attached_previous;
    ex.winner = rival;
    return std::move(*rival->done);
}

}  // namespace

bool hedges(const Exchange& ex) {
    if (!ex.retry().hedge || ex.tunnel || ex.upgrade || !is_idempotent(ex.request.method)) return false;
    return !ex.body || !ex.request.fields.find(Known::expect);
}

Spend may_spend_attempt(Exchange& ex, Duration in) {
    const TimePoint now = Core::now();
    leave_costs(ex);
    const bool spent = spend_again(ex, now);
    if (!spent && !may_be_had(ex, later(now, in))) return Spend::no_place;
    const bool paid = ex.serving->live->budget->take(ex.retry().budget, now);
    if (!paid || in > Duration{}) put_back(ex, now);
    return paid ? Spend::yes : Spend::over_budget;
}

Task<Result<void>> attempt_hedged(Core& core, Exchange& ex, AttemptPlan& plan, std::size_t& endpoint) {
    if (ex.body) {
        ex.activity.last = Core::now();
        Result<bool> whole = co_await ex.replay.read_whole(ex.limits, ex.activity);
        if (!whole) co_return std::move(whole.error());
        if (!*whole || ex.replay.trailers()) {
            Result<void> alone = co_await attempt(core, ex, endpoint);
            co_return alone;
        }
    }
    const TimePoint began = Core::now();
    if (!acquire_at_once(ex)) {   // before there is anything to race
        Result<void> got = co_await acquire(core, ex, began);
        if (!got) co_return got;
    }
    Wakeup race;
    std::vector<RivalPtr> rivals;
    const auto start = [&](RivalPtr rival, std::size_t at) {
        rival->endpoint = at;
        rivals.push_back(std::move(rival));
        core.spawn_detached(run_rival(core, rivals.back()));
    };
    RivalPtr first = rival_of(ex, race);
    hand_over(ex, first->ex);
    first->waited = Core::now() - began;
    start(std::move(first), endpoint);
    TimePoint hedge_at = later(Core::now(), hedge_after(ex, Core::now()));
    RivalPtr winner = winner_of(ex, rivals);
    while (!winner) {
        const bool here = co_await pause(core, ex, race, std::min(hedge_at, ex.limits.total));
        if (!here) break;
        winner = winner_of(ex, rivals);
        const TimePoint now = Core::now();
        if (winner || now < hedge_at) {
            if (!winner && now >= ex.limits.total) hedge_at = never;   // the attempts end by themselves
            continue;
        }
        for (const RivalPtr& rival : rivals) rival->ex.left_at = ex.left_at;
        if (ex.left_at != never) {   // as it may be gone, one attempt has to do
            hedge_at = never;
            continue;
        }
        if (rivals.back()->under_way() && rivals.back()->ex.attempts == 0) {   // it waits for a place of ours, not for the vendor
            hedge_at = later(now, hedge_after(ex, now));
            continue;
        }
        hedge_at = never;
        RivalPtr beside;   // pays by itself
        const auto may_spend = [&] {
            beside = rival_of(ex, race);
            if (!spend_again(beside->ex, now)) return false;
            const bool paid = ex.serving->live->budget->take(ex.retry().budget, now);
            if (!paid) give_back(beside->ex, now);
            return paid;
        };
        const auto second = plan.hedge(true, endpoints_out(ex, now), may_spend, now);
        if (!second) continue;
        start(std::move(beside), *second);
        winner = winner_of(ex, rivals);
        hedge_at = later(now, hedge_after(ex, now));
    }
    for (const RivalPtr& rival : rivals) {
        rival->ex.left_at = ex.left_at;
        if (rival->under_way()) cut_off(core, *rival);
    }
    account(ex, rivals, winner);
    for (const RivalPtr& rival : rivals) {
        if (rival == winner || rival->application.cancelled || !rival->ex.trip) continue;   // who was cut off ends by itself
        if (*rival->done) let_go(rival->ex);
        co_await core.transport.finish(*rival->ex.trip);
        ex.traffic.from_vendor += rival->ex.traffic.from_vendor;
    }
    if (!winner) co_return cut_short(ex);
    join_replay(*winner, rivals);
    endpoint = winner->endpoint;
    co_return adopt(ex, winner);
}

}  // namespace sluice
