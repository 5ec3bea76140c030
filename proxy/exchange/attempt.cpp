#include "proxy/exchange/attempt.hpp"

#include <cmath>

#include "proxy/base/text.hpp"
#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/authenticate.hpp"
#include "proxy/exchange/pause.hpp"
#include "proxy/exchange/readable.hpp"
#include "proxy/exchange/reply.hpp"
#include "proxy/exchange/scrubbing.hpp"
#include "proxy/http/status.hpp"

namespace sluice {

namespace {

constexpr unsigned overloaded = 529;   // as Anthropic and others say it
constexpr std::string_view grpc_type = "application/grpc";
constexpr std::size_t worth_draining = 64 * 1024;   // of an answer that nobody wants, so that its connection can be used again

VendorState::LiveBreaker* breaker_at(const Exchange& ex, std::size_t endpoint) {
    if (!ex.serving->live || ex.serving->live->breakers.empty()) return nullptr;
    return &ex.serving->live->breakers[ex.serving->breaker_of(ex.instead ? ex.instead->authority : ex.authority, endpoint)];
}

std::size_t endpoint_count(const Vendor& vendor) { return std::max<std::size_t>(vendor.endpoints.size(), 1); }

std::string readmission_detail(const Exchange& ex, const VendorState::LiveBreaker& breaker, double per_second) {
    return "vendor '" + ex.serving->name + "' has just recovered: the breaker of " + breaker.of + " lets calls back in at " + std::to_string(std::llround(per_second)) + "/s for a while";
}

bool is_timeout(Reason reason) {
    return reason == Reason::timeout_connect || reason == Reason::timeout_tls || reason == Reason::timeout_first_byte || reason == Reason::timeout_idle || reason == Reason::timeout_total;
}

// The exchange's time ran out, but for the most part not at the vendor.
bool ran_out_elsewhere(const Exchange& ex, const Failure& failure, TimePoint now) {
    const Timeouts& given = ex.route ? ex.route->timeout : ex.vendor->timeout;   // whoever serves, that `total` bounds the exchange
    return failure.reason == Reason::timeout_total && !had_its_time(now - ex.let_through, ex.timeouts().first_byte, given.total);
}

TimePoint left_at(const Exchange& ex) { return std::min(ex.left_at, ex.application->left_at()); }

// That the application left is noticed later than it did. And whether one that has closed its side still waited for an answer that came too late, nobody knows.
bool nobody_waited(const Exchange& ex, const Failure& failure, TimePoint now) {
    return failure.gone || ex.application->stopped() || (is_timeout(failure.reason) && left_at(ex) < now);
}

void tell_chaos(Core& core, const Exchange& ex, ChaosState::Seen outcome) {
    const Vendor& vendor = *ex.serving;
    if (vendor.chaos.enabled && vendor.live->chaos->seen(vendor.chaos, outcome, Core::now())) core.journal.chaos_stopped(vendor);
}

// The breaker's pass for one attempt, given back on every path.
class Gate {
  public:
    Gate(Core& core, Exchange& ex, std::size_t endpoint) : core_(core), ex_(ex), endpoint_(endpoint), breaker_(breaker_at(ex, endpoint)) {}
    Gate(const Gate&) = delete;
    ~Gate() { leave(Breaker::Seen::neither, false); }

    Result<void> enter(TimePoint now) {
        ex_.let_through = now;
        if (!breaker_) return {};
        pass_ = breaker_->breaker->enter(breaker_->spec, now);
        if (pass_.moved) core_.journal.moved(*ex_.serving, breaker_->of, Breaker::State::half_open);
        if (pass_.admitted) return {};
        Failure refusal{Origin::sluice, Reason::breaker_open, Replay::safe, "the breaker of " + breaker_->of + " (vendor '" + ex_.serving->name + "') is open", {}};
        if (const double readmits = breaker_->breaker->readmits(breaker_->spec, now); readmits > 0) refusal.detail = readmission_detail(ex_, *breaker_, readmits);
        refusal.retry_after = pass_.retry_after;
        return refusal;
    }

    /// As the policy names it; "" where nothing of the policy does.
    std::string_view endpoint() const { return breaker_ ? std::string_view(breaker_->of) : std::string_view{}; }

    /// A fault of our own making: it counts for the breaker, but is not the vendor's.
    void injected() { injected_ = true; }
    /// A tunnel stands; what goes through it is not ours to judge.
    void connected() { leave(Breaker::Seen::success, false); }
    void answered(TimePoint now) {
        std::optional<unsigned> grpc;
        if (ex_.response.status == 200) grpc = read_grpc_status(ex_.response.fields);
        const Duration taken = ex_.phases.first_byte.value_or(now - ex_.let_through);
        if (ex_.serving->live) ex_.serving->live->latency->observe(taken, now);
        leave(seen_of(ex_.response.status, grpc, pass_.probe), is_slow(taken) && is_slow(left_at(ex_) - ex_.let_through));   // of one that nobody waited for any more no more is known
        ex_.heard = pass_;
    }

    void failed(const Failure& failure, TimePoint now) {
        const bool left = nobody_waited(ex_, failure, now);
        const bool elsewhere = ran_out_elsewhere(ex_, failure, now);
        leave(left ? Breaker::Seen::neither : seen_of(failure, !elsewhere), (left || elsewhere) && is_slow(std::min(now, left_at(ex_)) - ex_.let_through));
    }

  private:
    bool is_slow(Duration taken) const { return breaker_ && taken > breaker_->spec.slow_after; }

    void leave(Breaker::Seen seen, bool slow) {
        if (!pass_.admitted) return;
        const bool consecutive = seen == Breaker::Seen::failure && ex_.failed_at.add(endpoint_);
        const auto moved = breaker_->breaker->leave(breaker_->spec, pass_, seen, slow, consecutive, Core::now());
        pass_.admitted = false;
        if (moved) core_.journal.moved(*ex_.serving, breaker_->of, *moved);
        if (injected_ || seen == Breaker::Seen::neither) return;
        tell_chaos(core_, ex_, seen == Breaker::Seen::success ? ChaosState::Seen::good : ChaosState::Seen::failed);
    }

    Core& core_;
    Exchange& ex_;
    const std::size_t endpoint_;
    VendorState::LiveBreaker* breaker_;
    Breaker::Pass pass_{};
    bool injected_ = false;
};

void sample_adaptive_limits(Exchange& ex, const Result<void>& done, TimePoint now) {
    if (!done && (done.error().origin != Origin::vendor || nobody_waited(ex, done.error(), now) || ran_out_elsewhere(ex, done.error(), now))) return;
    for (HeldLimit& held : ex.held) {
        if (!held.limit->adaptive || !held.seat) continue;
        const bool dropped = !done || ex.response.status == 429 || ex.response.status == 503 || ex.response.status == overloaded;
        const unsigned before = held.limit->adaptive->limit();
        held.limit->adaptive->sample(now - ex.let_through, held.place.seats_in_use(), dropped, now);
        if (held.limit->adaptive->limit() > before) held.place.sitters().wake_head();
    }
}

// An answer that refuses has cost no tokens; where there is none nobody knows.
void note_sent(Exchange& ex, const Result<void>& done) {
    if (!done && done.error().replay == Replay::safe) return;
    ++ex.sends;
    note_sent(ex.held);
    ex.may_have_cost |= !done || ex.tunnel || ex.response.status < 400;
}

// What the answer may say of the vendor's limits, and of what it cost.
void hear_answer(Exchange& ex) {
    bool learns = false, counts = false;
    for (const HeldLimit& held : ex.held) {
        learns |= held.limit->spec.learn;
        counts |= held.limit->spec.tokens.has_value();
    }
    ex.grpc = ex.response.status == 200 && same_text(ex.response.fields.find(Known::content_type).value_or(std::string_view{}).substr(0, grpc_type.size()), grpc_type);
    ex.learning = learns;
    if (learns) ex.throttle.start(ex.response.status, ex.response.fields, Core::wall_now());
    const auto coding = ex.response.fields.find("Content-Encoding");
    ex.counting = counts && ex.response.status < 300 && (!coding || same_text(*coding, "identity"));
    if (ex.counting) ex.usage.start(ex.response.fields.find(Known::content_type).value_or(std::string_view{}));
}

// A body of the request that showed itself malformed before anything of it had gone out: that is a refusal, and no attempt of ours.
bool is_withdrawn(const Result<void>& done) { return !done && done.error().origin == Origin::application && !done.error().gone && done.error().replay == Replay::safe; }

// Of an answer, as its breaker, the limits and `retry.on` judge it.
std::string_view result_of_answer(const Exchange& ex) {
    constexpr unsigned resource_exhausted = 8;
    const unsigned status = ex.response.status;
    const auto grpc = status == 200 ? read_grpc_status(ex.response.fields) : std::nullopt;
    if (status == 429 || status == overloaded || grpc == resource_exhausted) return "throttled";
    const Breaker::Seen seen = seen_of(status, grpc, false);
    const bool failed = seen == Breaker::Seen::failure || seen == Breaker::Seen::failure_of_rate || ex.retry().on.names(status);
    return failed ? "failed" : "ok";
}

// Of an attempt, as it is counted: each that was begun, so that a vendor's own count can be held against ours.
std::string_view result_of(const Exchange& ex, const Result<void>& done) {
    if (done) return ex.tunnel ? "ok" : result_of_answer(ex);
    if (done.error().gone || ex.application->stopped()) return "abandoned";
    return name_of(done.error().reason);
}

// Before the fault of an answer's head. True: the attempt is over already, with `ex.response` or the failure.
struct Injected {
    bool over = false;
    Result<void> done{};
};
Task<Injected> inject(Core& core, Exchange& ex, RoundTrip& trip, const ChaosFault& fault) {
    const auto failure = [&](Reason reason, Replay replay, std::string_view what) {
        return Injected{true, Failure{Origin::vendor, reason, replay, "chaos: " + std::string(what) + " on purpose (" + fault.text + ")"}};
    };
    switch (fault.kind) {
    case ChaosFault::Kind::status:
        ex.response.clear();
        ex.response.status = fault.status;
        ex.response.phrase = phrase_of(fault.status);
        ex.response.fields.add("Content-Length", "0");
        trip.response_framing = {Framing::Kind::length, 0};
        trip.response_body = nullptr;
        co_return Injected{true, {}};
    case ChaosFault::Kind::delay: {   // a part of the time that a slow vendor would take over its answer
        const TimePoint over = later(Core::now(), fault.delay), first_byte = later(Core::now(), ex.limits.timeout.first_byte);
        const TimePoint until = std::min(std::min(over, first_byte), ex.limits.total);
        const bool here = co_await pause(core, ex, until);
        if (!here) {
            Failure gone = Failure::application_gone();
            gone.replay = Replay::safe;
            co_return Injected{true, std::move(gone)};
        }
        if (until == ex.limits.total) co_return failure(Reason::timeout_total, Replay::unsafe, "delayed beyond the total time");
        if (until == first_byte) co_return failure(Reason::timeout_first_byte, Replay::unsafe, "delayed beyond the time to the first byte");
        trip.delayed = fault.delay;
        co_return Injected{};
    }
    case ChaosFault::Kind::hang: {
        const TimePoint first_byte = later(Core::now(), ex.limits.timeout.first_byte);
        const bool here = co_await pause(core, ex, std::min(first_byte, ex.limits.total));
        if (!here) co_return Injected{true, Failure::application_gone()};
        co_return failure(first_byte < ex.limits.total ? Reason::timeout_first_byte : Reason::timeout_total, Replay::unsafe, "hanging");
    }
    case ChaosFault::Kind::reset: co_return failure(Reason::upstream_reset, Replay::unsafe, "reset");
    case ChaosFault::Kind::tls_failure: co_return failure(Reason::tls_failed, Replay::safe, "a failed TLS handshake");
    case ChaosFault::Kind::dns_failure: co_return failure(Reason::dns_failed, Replay::safe, "a name that is not found");
    case ChaosFault::Kind::slow_body:
    case ChaosFault::Kind::truncate: co_return Injected{};   // `answer_body` does it
    }
    co_return Injected{};
}

// The body as it is without its coding, of which there is more to be read.
BodySource* readable_body(Exchange& ex, Framing& framing) {
    BodySource* const coded = ex.trip->response_body;
    BodySource* const body = decode_answer(ex, coded, framing);
    if (body != coded) hear_answer(ex);
    return body;
}

// Its head was a success; where its body broke off, or its trailers tell of a failure, it was none.
void judge_body(Core& core, Exchange& ex, std::size_t endpoint, const Result<void>& done, TimePoint now) {
    if (!ex.heard.good) return;
    const bool broke_off = !done && !ex.application->stopped() && seen_of(done.error(), !ran_out_elsewhere(ex, done.error(), now)) == Breaker::Seen::failure;
    const auto trailers = done && ex.grpc ? ex.watched.grpc_status() : std::nullopt;
    if (!broke_off && !(trailers && seen_of(ex.response.status, trailers, ex.heard.probe) == Breaker::Seen::failure)) return;
    auto* live = breaker_at(ex, endpoint);
    if (!live) return;
    const auto moved = live->breaker->fail_late(live->spec, ex.heard, ex.failed_at.add(endpoint), now);
    if (moved) core.journal.moved(*ex.serving, live->of, *moved);
    const bool cut_by_us = ex.fault && ex.fault->kind == ChaosFault::Kind::truncate;
    if (!cut_by_us) tell_chaos(core, ex, ChaosState::Seen::turned);
}

}  // namespace

EndpointMask endpoints_out(const Exchange& ex, TimePoint now) {
    EndpointMask out = 0;
    for (std::size_t i = 0; i < endpoint_count(*ex.serving); ++i) {
        const auto* live = breaker_at(ex, i);
        if (live && live->breaker->refuses(live->spec, now)) out |= EndpointMask{1} << i;
    }
    return out;
}

Failure every_endpoint_out(Core& core, const Exchange& ex, TimePoint now) {
    const VendorState::LiveBreaker* first = nullptr;
    Duration soonest{};
    for (std::size_t i = 0; i < endpoint_count(*ex.serving); ++i) {
        const auto* live = breaker_at(ex, i);
        if (!live) continue;
        const Duration wait = live->breaker->retry_after(live->spec, now);
        if (!first || wait < soonest) first = live, soonest = wait;
    }
    Failure failure{Origin::sluice, Reason::breaker_open, Replay::safe, "vendor '" + ex.serving->name + "' is left alone for a while: every breaker of it is open", {}};
    if (!first) return failure;
    failure.retry_after = first->breaker->come_back(first->spec, core.draw_share(), now);
    if (const double readmits = first->breaker->readmits(first->spec, now); readmits > 0) failure.detail = readmission_detail(ex, *first, readmits);
    return failure;
}

Task<Result<void>> attempt(Core& core, Exchange& ex, std::size_t endpoint, Duration waited) {
    RoundTrip& trip = ex.trip.emplace();
    trip.vendor = ex.serving;
    trip.contexts = &ex.policy->contexts;
    trip.destination = destination_of(*ex.serving, ex.instead ? ex.instead->scheme : ex.scheme, ex.instead ? ex.instead->authority : ex.authority, endpoint);
    trip.request = &ex.request;
    trip.request_body = ex.body;
    trip.repeatable = ex.repeatable();
    trip.upgrade = ex.upgrade;
    trip.limits = ex.limits;
    trip.activity = &ex.activity;
    trip.application = ex.application;
    trip.phases = &ex.phases;
    trip.traffic = &ex.traffic;
    trip.response = &ex.response;

    // Places under the limits first: a refusal shall cost no signature. While it waits for them the credential may become another; while it waits for the credential nothing is held, and that time is none of the limits' waiting.
    TimePoint began = Core::now() - waited;
    bool attached = false;
    if (!ex.tunnel && any_limit(ex, [](const LimitSpec& spec) { return spec.learn; }) && awaits_credential(ex, trip.destination)) {   // a place in a learnt pace cannot be given back
        Result<void> got = co_await attach_credential(core, ex, trip.destination);
        if (!got) co_return got;
        began = Core::now() - waited;
        attached = true;
    }
    for (;; attached = true) {
        if (!acquire_at_once(ex)) {
            Result<void> got = co_await acquire(core, ex, began);
            if (!got) co_return got;
            attached = false;
        }
        if (ex.tunnel || attached) break;
        std::optional<Result<void>> put = attach_at_once(core, ex, trip.destination);
        if (put && *put) break;
        give_back(ex, Core::now());
        if (put) co_return std::move(*put);
        const TimePoint asked = Core::now();
        Result<void> got = co_await attach_credential(core, ex, trip.destination);
        if (!got) co_return got;
        began += Core::now() - asked;
    }
    trip.request_framing = ex.framing;   // a body that was read ahead has a length
    if (ex.body_signed) trip.request_body = &ex.resigned;
    trip.needles = needles_for(ex);
    // The breaker comes last: a probe that waited for a place would hold the others up.
    Gate gate(core, ex, endpoint);
    Result<void> entered = gate.enter(Core::now());
    if (!entered) co_return entered;
    ++ex.attempts;
    ex.heard = {};

    ex.phases = {.started = ex.phases.started};
    Result<void> done;
    ex.fault = ex.serving->chaos.enabled ? draw_fault(ex.serving->chaos, *ex.serving->live->chaos, ex.serving_route ? std::string_view(ex.serving_route->name) : std::string_view{}, ex.request.fields) : nullptr;
    bool over = false;
    if (ex.fault) {
        core.journal.injected(*ex.serving, ex.fault->text);
        Injected outcome = co_await inject(core, ex, trip, *ex.fault);
        over = outcome.over;
        done = std::move(outcome.done);
        if (over) gate.injected();
    }
    if (!over) {
        Task<Result<void>> going = ex.tunnel ? core.transport.open_stream(trip) : core.transport.round_trip(trip);
        done = co_await std::move(going);
        if (!done && trip.delayed > Duration{}) gate.injected();   // without the delay it might have been in time
    }
    const TimePoint now = Core::now();
    if (is_withdrawn(done))
        --ex.attempts;
    else
        core.journal.attempted(*ex.serving, gate.endpoint(), result_of(ex, done), done && !ex.tunnel ? ex.phases.first_byte : std::nullopt);
    note_sent(ex, done);
    sample_adaptive_limits(ex, done, now);
    if (!done)
        gate.failed(done.error(), now);
    else if (ex.tunnel)
        gate.connected();
    else
        gate.answered(now);
    if (done && !ex.tunnel) hear_answer(ex);
    co_return done;
}

BodySource* answer_body(Core& core, Exchange& ex, Framing& framing) {
    BodySource* body = readable_body(ex, framing);
    const bool changes = body && ex.fault && (ex.fault->kind == ChaosFault::Kind::slow_body || ex.fault->kind == ChaosFault::Kind::truncate);
    if (changes) {
        ex.faulty.begin(*body, *ex.fault, core.timer, Core::now());
        body = &ex.faulty;
    }
    ex.grpc = ex.grpc && body;
    if (body && (ex.learning || ex.counting || ex.grpc)) {
        ex.watched.begin(*body, ex.learning ? &ex.throttle : nullptr, ex.counting ? &ex.usage : nullptr);
        body = &ex.watched;
    }
    return scrub_answer(ex, body);
}

void learn_from_answer(Exchange& ex) {
    if (!std::exchange(ex.learning, false)) return;
    const TimePoint now = Core::now();
    const bool others_serve = ex.serving->live->breakers.size() > 1 || ex.serving->fallback;
    const VendorSignal signal = others_serve ? ex.throttle.signal().of_vendor() : ex.throttle.signal();
    for (HeldLimit& held : ex.held) held.place.learn(signal, now);
}

void settle_answer(Core& core, Exchange& ex, std::size_t endpoint, const Result<void>& done) {
    const TimePoint now = Core::now();
    judge_body(core, ex, endpoint, done, now);
    learn_from_answer(ex);
    const auto usage = ex.counting ? ex.usage.usage() : std::nullopt;
    if (usage) core.journal.used_tokens(*ex.serving, usage->prompt, usage->completion);
    for (HeldLimit& held : ex.held) {
        if (held.spent.tokens.cost == 0) continue;
        if (usage && done && !ex.tokens.answer) {
            const std::uint64_t prompt = usage->prompt > 0 ? usage->prompt : ex.tokens.prompt;   // a vendor may say the sum alone
            held.limit->state->usual_answer().observe((usage->total - std::min(usage->total, prompt)) / ex.tokens.answers);
        }
        if (usage && (done || usage->total > held.spent.tokens.cost))   // of a stream that was broken off it is not the last word
            held.place.settle(held.spent, usage->total, now);
        else if (!ex.may_have_cost)
            held.place.settle(held.spent, 0, now);
    }
}

void let_go(Exchange& ex) {
    RoundTrip& trip = *ex.trip;
    BodySource* const source = trip.response_body && ex.learning ? readable_body(ex, trip.response_framing) : trip.response_body;
    WatchedBody body;
    if (source) body.begin(*source, ex.learning ? &ex.throttle : nullptr, nullptr);
    std::size_t drained = 0;
    while (source && !trip.upgraded && drained <= worth_draining) {
        const auto chunk = body.next_ready();
        if (!chunk || !chunk->has_value() || (*chunk)->last) break;
        drained += (*chunk)->data.size();
    }
    learn_from_answer(ex);
}

bool keep_answer(Exchange& ex) {
    RoundTrip& trip = *ex.trip;
    if (!trip.response_body) return true;
    std::string text;
    bool whole = false;
    while (!whole && text.size() <= worth_draining) {
        const auto chunk = trip.response_body->next_ready();
        if (!chunk || !chunk->has_value()) break;
        text.append((*chunk)->data);
        if ((*chunk)->trailers) break;
        whole = (*chunk)->last;
    }
    if (!whole) {   // what was lost of it is learnt from all the same
        if (ex.learning && ex.throttle.wants_body()) ex.throttle.read(text);
        return false;
    }
    trip.response_framing = {Framing::Kind::length, text.size()};
    ex.rewritten.hold(std::move(text));
    trip.response_body = &ex.rewritten;
    return true;
}

void leave_attempt(Exchange& ex) {
    if (ex.winner && ex.trip) ex.traffic.from_vendor += ex.trip->traffic->from_vendor;
    ex.trip.reset();
    ex.winner.reset();   // with its seats
    give_seats_back(ex);
}

}  // namespace sluice
