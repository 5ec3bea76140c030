#include "proxy/exchange/run_exchange.hpp"

#include <algorithm>
#include <utility>

#include "proxy/base/text.hpp"
#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/attempt.hpp"
#include "proxy/exchange/authenticate.hpp"
#include "proxy/exchange/fallback.hpp"
#include "proxy/exchange/hedge.hpp"
#include "proxy/exchange/pause.hpp"
#include "proxy/exchange/readable.hpp"
#include "proxy/exchange/reply.hpp"
#include "proxy/exchange/scrubbing.hpp"
#include "proxy/http/retry_after.hpp"
#include "proxy/policy/attempt_plan.hpp"

namespace sluice {

namespace {

// With the vendor that serves: what was read of the application is not sent yet.
Traffic traffic_of(const Exchange& ex) { return {ex.sends > 0 ? ex.traffic.to_vendor : 0, ex.traffic.from_vendor}; }

// Metrics and log: exactly one, on every path.
class Record {
  public:
    Record(Core& core, Exchange& ex) : core_(core), ex_(ex) {
        ex.phases.started = Core::now();
        core.draw_request_id(ex.request_id);
    }
    void found(const Vendor& vendor) {
        began_ = &vendor;
        core_.journal.began(vendor);
    }
    ~Record() {
        if (began_) core_.journal.ended(*began_);
        ExchangeRecord record;
        record.vendor = ex_.vendor;
        record.route = ex_.route;
        record.request_id = ex_.request_id;
        record.method = ex_.request.method;
        const std::string authority = ex_.authority.host.empty() ? std::string() : ex_.authority.text(ex_.scheme);
        record.authority = authority;
        if (!ex_.tunnel) record.path = ex_.fallbacks.empty() ? ex_.without_credential().path() : std::string_view(ex_.asked_path);
        record.listener = ex_.listener;
        if (ex_.client) record.client = ex_.client->name;
        record.status = ex_.status;
        record.outcome = ex_.outcome;
        record.reason = ex_.reason;
        record.detail = ex_.detail;
        record.attempts = ex_.attempts;
        record.application_gone = ex_.application_gone;
        record.tunnel = ex_.tunnel;
        record.reported = ex_.vendor == &ex_.config->unmatched_vendor && ex_.config->unmatched == Unmatched::report && ex_.reason != Reason::not_allowed;
        record.phases = ex_.phases;
        record.duration = std::chrono::steady_clock::now() - ex_.phases.started;   // what this very event took is in it
        record.serving = ex_.serving;
        record.traffic = traffic_of(ex_);
        record.scrubbed = ex_.scrubbed_in_head + ex_.scrubbed.finds();
        core_.journal.record(record);
    }
    Record(const Record&) = delete;

  private:
    Core& core_;
    Exchange& ex_;
    const Vendor* began_ = nullptr;
};

Verdict find_vendor(Exchange& ex) {
    if (!ex.vendor) ex.vendor = ex.config->match(ex.authority);
    if (!ex.vendor && ex.config->unmatched != Unmatched::deny) ex.vendor = &ex.config->unmatched_vendor;
    ex.serving = ex.vendor;
    if (ex.vendor) return Verdict::allow();
    return Verdict::refuse({Reason::unknown_vendor, "no vendor of the policy has the host " + ex.authority.text(ex.scheme) + "; add it to a vendor's `hosts`, or set `unmatched`", {}});
}

// Who serves in the vendor's stead is the policy's choice, not the application's: a fallback is not judged.
Verdict judge_client(const Exchange& ex) { return judge_client(ex.config->clients, ex.client, *ex.vendor, ex.vendor != &ex.config->unmatched_vendor); }

// `Sluice-Timeout: 2s`, or gRPC's own word for it ("100m": digits and a unit of H M S m u n).
std::optional<Duration> parse_grpc_timeout(std::string_view text) {
    if (text.size() < 2 || text.size() > 9) return {};
    const auto number = parse_decimal(text.substr(0, text.size() - 1));
    if (!number) return {};
    const auto n = static_cast<std::int64_t>(*number);
    switch (text.back()) {
    case 'H': return std::chrono::hours(std::min<std::int64_t>(n, 1'000'000));
    case 'M': return std::chrono::minutes(n);
    case 'S': return std::chrono::seconds(n);
    case 'm': return std::chrono::milliseconds(n);
    case 'u': return std::chrono::microseconds(n);
    case 'n': return std::chrono::nanoseconds(n);
    }
    return {};
}

// What the application asks for can only lower the policy's `total`.
Verdict set_limits(Exchange& ex) {
    Timeouts& timeout = ex.limits.timeout = ex.timeouts();
    std::optional<Duration> asked;
    if (const auto text = ex.request.fields.find("Sluice-Timeout")) {
        asked = parse_duration(*text);
        if (!asked || *asked <= Duration{}) return Verdict::refuse({Reason::bad_request, "the header Sluice-Timeout is not a duration such as 2s or 500ms", {}});
    } else if (const auto grpc = ex.request.fields.find("grpc-timeout")) {
        asked = parse_grpc_timeout(*grpc);
        if (!asked) return Verdict::refuse({Reason::bad_request, "the header grpc-timeout is not digits and a unit", {}});
    }
    if (asked && *asked < timeout.total) {
        timeout.total = *asked;
        timeout.total_written = true;
    }
    ex.limits.total = later(ex.phases.started, timeout.total);
    return Verdict::allow();
}

Verdict judge(Exchange& ex) {
    if (ex.tunnel) return Verdict::allow();
    const std::string_view path = ex.request.path();
    if (const std::string_view wrong = judge_path(path); !wrong.empty()) return Verdict::refuse({Reason::bad_request, std::string(wrong), {}});
    if (Verdict access = judge_access(ex.vendor->access, ex.vendor->name, ex.request.method, path); access.refused()) return access;
    ex.route = ex.serving_route = ex.vendor->route_for(ex.request.method, path);
    return Verdict::allow();
}

// A key of ours, the same on every attempt, where the application gave none.
void add_idempotency_key(Core& core, Exchange& ex) {
    const IdempotencySpec& spec = ex.idempotency();
    if (spec.generate.empty() || ex.tunnel || !spec.generates(ex.request.method) || spec.is_keyed(ex.request.fields)) return;
    ex.request.fields.set(spec.header, make_idempotency_key(core.draw(), core.draw()));
}

// Does any request of the vendor ever spend its retry budget? Then each of its requests counts for it.
bool has_retries(const Exchange& ex) {
    const auto retries = [](const RetrySpec& retry) { return retry.max > 0 || retry.hedge; };
    const Vendor& vendor = *ex.serving;
    return retries(ex.retry()) || retries(vendor.retry) || std::any_of(vendor.routes.begin(), vendor.routes.end(), [&](const Route& route) { return retries(route.retry); });
}

// For each vendor that serves.
void begin_at_vendor(Core& core, Exchange& ex) {
    if (has_retries(ex)) ex.serving->live->budget->note_request(ex.phases.started);
    add_idempotency_key(core, ex);
    ask_for_readable(ex);
}

bool counts_tokens(const Exchange& ex) {
    return any_limit(ex, [](const LimitSpec& limit) { return limit.tokens.has_value(); });
}

// The body is read ahead of the first attempt, so that its tokens can be estimated.
Task<Result<void>> look_at_body(Exchange& ex) {
    ex.tokens = {.prompt = 1};
    if (!ex.body) co_return Result<void>{};
    Result<bool> whole = co_await read_body(ex);
    if (!whole) co_return std::move(whole.error());
    const std::string_view kept = ex.replay.kept();
    ex.tokens = estimate_tokens(kept, ex.framing.kind == Framing::Kind::length ? ex.framing.length : kept.size());
    co_return Result<void>{};
}

// What further attempts need: the body kept, an idempotency key, the request without a credential.
void prepare_attempts(Core& core, Exchange& ex) {
    if (ex.body && !ex.tunnel && !ex.upgrade) {
        ex.replay.begin(*ex.body, ex.serving_route ? ex.serving_route->keeps : ex.serving->keeps);
        ex.body = &ex.replay;
    }
    if (ex.serving->fallback) ex.pristine = ex.request;
    begin_at_vendor(core, ex);
}

PlanFacts facts_of(const Exchange& ex) {
    PlanFacts facts;
    facts.retry = &ex.retry();
    facts.endpoints = std::max<std::size_t>(ex.serving->endpoints.size(), 1);
    facts.idempotent_method = !ex.tunnel && is_idempotent(ex.request.method);
    facts.keyed = !facts.idempotent_method && ex.repeatable();
    facts.has_fallback = ex.serving->fallback.has_value() && !ex.upgrade;
    facts.deadline = ex.limits.total;
    return facts;
}

Tried tried_of(const Exchange& ex, const Result<void>& done, std::size_t endpoint) {
    Tried tried;
    tried.endpoint = endpoint;
    tried.body_kept = !ex.body || ex.tunnel || ex.upgrade || ex.replay.replayable();
    tried.answer_began = ex.application->began();
    tried.application_gone = ex.application->stopped() || ex.left_at != never;
    if (done) {
        tried.kind = Tried::Kind::answered;
        tried.status = ex.tunnel ? 200 : ex.response.status;
        if (tried.status < 400) return tried;
        tried.retry_after = read_retry_after(ex.response.fields, Core::wall_now());
        tried.retry_unwanted = !read_should_retry(ex.response.fields).value_or(true);
        return tried;
    }
    const Failure& failure = done.error();
    tried.kind = failure.reason == Reason::breaker_open   ? Tried::Kind::out
                 : failure.origin == Origin::sluice       ? Tried::Kind::refused
                                                          : Tried::Kind::failed;
    tried.reason = failure.reason;
    tried.replay = failure.replay;
    tried.application_gone |= failure.gone || failure.origin == Origin::application;
    return tried;
}

// What a `give_up` is answered with.
Failure failure_of(Core& core, const Exchange& ex, Step::Why why, Result<void>& last) {
    switch (why) {
    case Step::Why::last: break;
    case Step::Why::out: last = every_endpoint_out(core, ex, Core::now()); break;
    case Step::Why::late:
        return {Origin::vendor, Reason::timeout_total, Replay::safe, "the exchange was not over within its total time of " + format_duration(ex.limits.timeout.total) + ", " + std::to_string(ex.attempts) + " attempts included", {}};
    }
    Failure failure = std::move(last.error());
    if (!ex.detail.empty()) failure.detail += "; " + ex.detail;   // nobody could stand in
    return failure;
}

// The answer of a vendor that stands in, made one of the first vendor's.
Task<Result<void>> deliver_rewritten(Core& core, Exchange& ex) {
    RoundTrip& trip = *ex.trip;
    Framing framing = trip.response_framing;
    BodySource* const body = answer_body(core, ex, framing);
    Result<BodySource*> rewritten = co_await rewrite_answer(ex, body, framing);
    if (!rewritten) co_return std::move(rewritten.error());
    ex.status = ex.response.status;
    sign_response(ex);
    co_return co_await ex.application->deliver(ex.response, framing, *rewritten, ex.limits, *trip.activity);
}

Task<Result<void>> withhold(Failure why) { co_return why; }

// No coroutine of its own: it ends with the application's.
Task<Result<void>> deliver(Core& core, Exchange& ex) {
    RoundTrip& trip = *ex.trip;
    ex.limits = trip.limits;
    if (ex.tunnel) {
        ex.response.clear();
        ex.response.status = 200;
        ex.response.phrase = "Connection established";
    }
    ex.response.fields.remove_hop_by_hop();
    if (!trip.upgraded)
        if (auto unreadable = judge_coding(ex, trip.response_framing)) return withhold(std::move(*unreadable));
    if (!ex.fallbacks.empty()) return deliver_rewritten(core, ex);
    ex.status = ex.response.status;
    if (trip.upgraded) {
        scrub_answer(ex, nullptr);
        sign_response(ex);
        return ex.application->deliver_stream(ex.response, *trip.response_body, ex.limits, *trip.activity);
    }
    BodySource* const body = answer_body(core, ex, trip.response_framing);   // which outlives this call, as all that the task refers to
    sign_response(ex);
    return ex.application->deliver(ex.response, trip.response_framing, body, ex.limits, *trip.activity);
}

// Ends an attempt whose answer, if any, nobody wants.
Task<void> leave(Core& core, Exchange& ex) {
    let_go(ex);
    co_await core.transport.finish(*ex.trip);
    leave_attempt(ex);
}

// The upload of an attempt lets go of the request's body; its answer is kept, where that is simple, until it is known whether somebody can stand in.
Task<void> set_aside(Core& core, Exchange& ex) {
    const bool kept = keep_answer(ex);
    if (!kept) {
        co_await leave(core, ex);
        co_return;
    }
    co_await core.transport.finish(*ex.trip);
    give_seats_back(ex);
}

// The fallback's turn. Nothing: the exchange is at its vendor now. Else that one cannot have the request, `ex.detail` says why, and what stood before it stands again: the answer that is still at hand, or the failure in `last`.
Task<std::optional<Step>> fall_back(Core& core, Exchange& ex, AttemptPlan& plan, Result<void>& last) {
    Result<RequestHead> request = request_for_fallback(ex);
    Result<void> begun;
    std::optional<std::string> body;
    if (!request) {
        begun = std::move(request.error());
    } else if (edits_body(ex, *request)) {
        if (ex.trip && !ex.replay.whole()) co_await set_aside(core, ex);
        Result<std::string> edited = co_await body_for_fallback(ex);
        if (edited)
            body = std::move(*edited);
        else
            begun = std::move(edited.error());
    }
    if (begun) {
        if (ex.trip) co_await leave(core, ex);
        core.journal.carried(*ex.serving, traffic_of(ex));
        if (body) put_body(ex, *request, std::move(*body));
        begin_fallback(ex, std::move(*request));
        begin_at_vendor(core, ex);
        co_return std::nullopt;
    }
    if (begun.error().origin == Origin::application) {   // the rest of its body did not come
        if (ex.trip) co_await leave(core, ex);
        last = std::move(begun);
        co_return Step{Step::Kind::give_up};
    }
    ex.detail = "vendor '" + ex.config->vendors[ex.serving->fallback->vendor].name + "' cannot stand in: " + begun.error().detail;
    const Step otherwise = plan.without_fallback();
    if (otherwise.kind != Step::Kind::deliver || ex.trip) co_return otherwise;
    last = Failure{Origin::vendor, Reason::answer_lost, Replay::unsafe, "vendor '" + ex.serving->name + "' answered " + std::to_string(ex.response.status), {}};
    co_return Step{Step::Kind::give_up};
}

Task<Result<void>> give_up(Exchange& ex, const Failure& failure) {
    give_back(ex, Core::now());
    co_return co_await report(ex, failure);
}

}  // namespace

Task<Result<void>> run_exchange(Core& core, Exchange& ex) {
    Record record(core, ex);
    if (ex.refused_already) co_return co_await refuse(ex, *ex.refused_already);

    if (Verdict found = find_vendor(ex); found.refused()) co_return co_await refuse(ex, found.refusal());
    record.found(*ex.vendor);

    if (Verdict known = judge_client(ex); known.refused()) co_return co_await refuse(ex, known.refusal());
    if (Verdict judged = judge(ex); judged.refused()) co_return co_await refuse(ex, judged.refusal());
    if (Verdict limited = set_limits(ex); limited.refused()) co_return co_await refuse(ex, limited.refusal());
    ex.request.fields.remove(Known::sluice);
    ex.request.fields.remove_hop_by_hop();
    prepare_attempts(core, ex);

    Result<void> last;
    bool entered = false;   // the vendor that serves; not before the plan sends somebody there: whose breakers are open need not know what a request costs
    AttemptPlan plan(facts_of(ex));
    const auto may_spend = [&](Duration in) { return may_spend_attempt(ex, in); };
    std::size_t endpoint = 0;
    Step step = plan.start(endpoints_out(ex, Core::now()), Core::now());
    for (;;) {
        switch (step.kind) {
        case Step::Kind::attempt: {
            if (!std::exchange(entered, true)) {
                if (counts_tokens(ex)) {
                    last = co_await look_at_body(ex);
                    if (!last) co_return co_await report(ex, last.error());
                }
                hold_limits(ex, Core::now());
            }
            ex.replay.rewind();
            if (ex.replay.whole()) ex.drop_expect();
            endpoint = step.endpoint;
            if (hedges(ex))
                last = co_await attempt_hedged(core, ex, plan, endpoint);
            else
                last = co_await attempt(core, ex, endpoint);
            if (last && may_tell_of_key(ex)) co_await look_for_refused_key(ex);
            if (last && is_refused_credential(ex)) {
                const bool renewed = co_await renew_credential(core, ex);   // with the answer at hand: it is delivered where there is no other
                if (renewed) {
                    co_await leave(core, ex);
                    continue;
                }
            }
            if (last) note_taken_credential(ex);
            step = plan.next(tried_of(ex, last, endpoint), endpoints_out(ex, Core::now()), may_spend, core.draw_share(), Core::now());
            ex.retries_spent |= plan.spent();
            if (step.kind == Step::Kind::deliver || (step.kind == Step::Kind::fallback && last)) continue;   // an answer that nobody may be able to make up for
            if (ex.trip) co_await leave(core, ex);
            continue;
        }
        case Step::Kind::wait: {
            const bool here = co_await pause(core, ex, later(Core::now(), step.delay));
            if (!here) {
                const Failure why = cut_short(ex);
                co_return co_await give_up(ex, why);
            }
            step = plan.resume(endpoints_out(ex, Core::now()), Core::now());
            continue;
        }
        case Step::Kind::fallback: {
            const auto otherwise = co_await fall_back(core, ex, plan, last);
            if (otherwise) {
                step = *otherwise;
                continue;
            }
            entered = false;
            plan = AttemptPlan(facts_of(ex));
            step = plan.start(endpoints_out(ex, Core::now()), Core::now());
            continue;
        }
        case Step::Kind::deliver:
            last = co_await deliver(core, ex);
            if (!ex.tunnel && !ex.trip->upgraded) settle_answer(core, ex, endpoint, last);
            co_await core.transport.finish(*ex.trip);
            leave_attempt(ex);
            if (!last) co_return co_await report(ex, last.error());
            co_return last;
        case Step::Kind::give_up: {
            ex.retries_spent |= plan.spent();
            const Failure failure = failure_of(core, ex, step.why, last);
            co_return co_await give_up(ex, failure);
        }
        }
    }
}

void interrupt(Core& core, Exchange& ex) {
    if (ex.pausing)
        ex.pausing->notify(Wait::interrupted);
    else if (ex.trip)
        core.transport.abort(*ex.trip);
}

}  // namespace sluice
