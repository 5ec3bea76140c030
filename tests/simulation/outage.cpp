#include "tests/simulation/outage.hpp"

#include <algorithm>

namespace sluice::simulation {

namespace {

constexpr TimePoint epoch{1000h};
constexpr Duration first_byte = 10s;  // of Sluice, and of an SDK without one
constexpr Duration total = 30s;
constexpr unsigned sdk_retries = 2;

/// What an application's SDK is told.
struct Told {
    bool ok = false;
    std::optional<Duration> retry_after;
    bool no_retry = false;  // x-should-retry: false
};

/// One Sluice beside one or more applications: the state of its vendor.
struct Sidecar {
    Breaker breaker;
    RetryBudget budget;
    std::optional<Gcra> limit;
};

/// A call of an application, from its first try to its last; or, of `begin_call`, the application itself.
struct Call {
    Sidecar* sidecar = nullptr;
    Call* client = nullptr;
    bool busy = false;  // of a client: a call of it is under way
    TimePoint begun;
    unsigned tries = 0;  // of the SDK
    // One try through Sluice.
    std::optional<AttemptPlan> plan;
    TimePoint deadline;
    Breaker::Pass pass;
    bool counted = false;  // a consecutive failure of this exchange was
    bool answers = false, works = false;
};

class World {
  public:
    explicit World(const Scenario& scenario);
    Figures run();

  private:
    using Act = void (World::*)(Call&);
    struct Event {
        TimePoint at;
        std::uint64_t order;
        Act act;
        Call* call;
        bool operator<(const Event& later) const { return at != later.at ? at > later.at : order > later.order; }
    };

    void in(Duration after, Act act, Call& call) { events_.push({now_ + after, ++order_, act, &call}); }
    double draw() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
    bool is_down() const { return now_ >= down_ && now_ < up_; }
    std::size_t second() const { return static_cast<std::size_t>((now_ - epoch) / 1s); }

    void begin_call(Call& client);
    void send(Call& call);
    void send_through(Call& call);
    void follow(Call& call, Step step);
    std::optional<Step> attempt(Call& call);
    void resume(Call& call);
    void answered(Call& call);
    void to_vendor(Call& call);
    void vendor_answered(Call& call);
    void tell(Call& call, const Told& told);
    Step next(Call& call, const Tried& tried);
    EndpointMask out(const Call& call) const { return call.sidecar->breaker.refuses(scenario_.breaker, now_) ? 1 : 0; }
    Call& new_call();
    Figures figures() const;

    const Scenario scenario_;
    const RetrySpec retry_;
    const TimePoint down_, up_, end_;
    TimePoint now_ = epoch;
    std::mt19937_64 random_;
    std::priority_queue<Event> events_;
    std::uint64_t order_ = 0;
    std::vector<std::unique_ptr<Sidecar>> sidecars_;
    std::deque<Call> calls_, clients_;
    std::vector<Call*> free_;
    std::vector<unsigned> attempts_, begun_, failed_;  // by second
};

World::World(const Scenario& scenario)
    : scenario_(scenario),
      down_(epoch + scenario.before),
      up_(down_ + scenario.outage_time),
      end_(up_ + scenario.after),
      random_(scenario.seed) {
    const auto seconds = static_cast<std::size_t>((end_ - epoch) / 1s) + 1;
    for (auto* series : {&attempts_, &begun_, &failed_}) series->resize(seconds);
    for (unsigned i = 0; i < scenario.sluices; ++i) {
        sidecars_.push_back(std::make_unique<Sidecar>());
        if (scenario.limit) sidecars_.back()->limit.emplace(*scenario.limit);
    }
    for (unsigned i = 0; i < scenario.clients; ++i) {
        Call& client = clients_.emplace_back();
        if (!sidecars_.empty()) client.sidecar = sidecars_[i % sidecars_.size()].get();
        in(Duration(static_cast<std::int64_t>(draw() * 1e9)), &World::begin_call, client);
    }
}

Figures World::run() {
    while (!events_.empty() && events_.top().at < end_) {
        const Event event = events_.top();
        events_.pop();
        now_ = event.at;
        (this->*event.act)(*event.call);
    }
    return figures();
}

Call& World::new_call() {
    if (free_.empty()) return calls_.emplace_back();
    Call* call = free_.back();
    free_.pop_back();
    *call = Call{};
    return *call;
}

// The application: a call a second on the average.
void World::begin_call(Call& client) {
    in(Duration(static_cast<std::int64_t>((0.5 + draw()) * 1e9)), &World::begin_call, client);
    if (scenario_.patient && client.busy) return;
    Call& call = new_call();
    client.busy = true;
    call.client = &client;
    call.sidecar = client.sidecar;
    call.begun = now_;
    ++begun_[second()];
    send(call);
}

// The SDK: as openai-python does it (0.5 s doubling to 8 s, a quarter of it jitter).
void World::tell(Call& call, const Told& told) {
    const bool stops = scenario_.sdk == Scenario::Sdk::told && told.no_retry;
    const bool again = !told.ok && call.tries < sdk_retries && !stops;
    if (!again) {
        call.client->busy = false;
        if (!told.ok) ++failed_[static_cast<std::size_t>((call.begun - epoch) / 1s)];
        free_.push_back(&call);
        return;
    }
    Duration wait(static_cast<std::int64_t>(0.5e9 * (1 << std::min(call.tries, 4u)) * (1 - 0.25 * draw())));
    if (scenario_.sdk != Scenario::Sdk::untaught && told.retry_after && *told.retry_after <= scenario_.waits)
        wait = *told.retry_after;
    ++call.tries;
    in(wait, &World::send, call);
}

void World::send(Call& call) {
    if (call.sidecar) return send_through(call);
    to_vendor(call);
}

// The vendor: answers within 20 to 80 ms when it works.
void World::to_vendor(Call& call) {
    ++attempts_[second()];
    call.works = !is_down();
    call.answers = call.works || scenario_.outage == Scenario::Outage::errors;
    Duration takes(static_cast<std::int64_t>((20 + 60 * draw()) * 1e6));
    if (!call.works) takes = call.answers ? 20ms : first_byte;
    in(takes, call.sidecar ? &World::answered : &World::vendor_answered, call);
}

void World::vendor_answered(Call& call) {
    tell(call, {call.works, {}, false});
}

// Sluice: what the exchange does with its machines.
void World::send_through(Call& call) {
    call.sidecar->budget.note_request(now_);
    call.deadline = now_ + total;
    call.counted = false;
    call.plan.emplace(PlanFacts{&retry_, 1, true, false, false, call.deadline});
    follow(call, call.plan->start(out(call), now_));
}

void World::follow(Call& call, Step step) {
    for (;;) {
        switch (step.kind) {
        case Step::Kind::attempt: {
            const auto refused = attempt(call);
            if (!refused) return;
            step = *refused;
            continue;
        }
        case Step::Kind::wait: return in(step.delay, &World::resume, call);
        case Step::Kind::deliver: return tell(call, {call.works, {}, call.plan->spent()});
        case Step::Kind::give_up: {
            Told told{false, {}, call.plan->spent()};
            if (step.why == Step::Why::out)
                told.retry_after = call.sidecar->breaker.come_back(scenario_.breaker, draw(), now_);
            return tell(call, told);
        }
        case Step::Kind::fallback: return;
        }
    }
}

/// On its way, or what comes instead.
std::optional<Step> World::attempt(Call& call) {
    Sidecar& sidecar = *call.sidecar;
    if (sidecar.limit && !sidecar.limit->take(1, now_).admitted) return next(call, Tried::refusal());
    call.pass = sidecar.breaker.enter(scenario_.breaker, now_);
    if (!call.pass.admitted) return next(call, Tried::breaker_open());
    to_vendor(call);
    return {};
}

void World::resume(Call& call) {
    follow(call, call.plan->resume(out(call), now_));
}

void World::answered(Call& call) {
    const auto seen = call.works ? Breaker::Seen::success : Breaker::Seen::failure;
    call.sidecar->breaker.leave(scenario_.breaker, call.pass, seen, !call.answers, !call.works && !call.counted, now_);
    call.counted = call.counted || !call.works;
    const Tried tried = call.answers ? Tried::answer(call.works ? 200 : 503)
                                     : Tried::failure(Reason::timeout_first_byte, Replay::unsafe);
    follow(call, next(call, tried));
}

Step World::next(Call& call, const Tried& tried) {
    const auto may_spend = [&](Duration) { return call.sidecar->budget.take(retry_.budget, now_) ? Spend::yes : Spend::over_budget; };
    return call.plan->next(tried, out(call), may_spend, draw(), now_);
}

Figures World::figures() const {
    const auto down = static_cast<std::size_t>((down_ - epoch) / 1s), up = static_cast<std::size_t>((up_ - epoch) / 1s);
    Figures figures;
    std::uint64_t calls = 0, failed = 0;
    for (std::size_t s = 0; s < down; ++s) calls += begun_[s], failed += failed_[s];
    figures.failed_before = static_cast<double>(failed) / static_cast<double>(calls);
    for (std::size_t s = down; s < up; ++s) {
        figures.attempts_down += attempts_[s];
        figures.calls_down += begun_[s];
        figures.peak_down = std::max(figures.peak_down, attempts_[s]);
    }
    const auto last = attempts_.size() - 1;  // not a whole second
    for (std::size_t s = up; s < last; ++s) figures.peak_after = std::max(figures.peak_after, attempts_[s]);
    std::size_t well = last;
    while (well > up && failed_[well - 1] * 100 <= begun_[well - 1]) --well;
    figures.recovered_after = std::chrono::seconds(well - up);
    return figures;
}

}  // namespace

Figures run(const Scenario& scenario) {
    return World(scenario).run();
}

}  // namespace sluice::simulation
