#include "proxy/policy/attempt_plan.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace sluice {

namespace {

constexpr EndpointMask bit(std::size_t endpoint) {
    return EndpointMask{1} << endpoint;
}

constexpr std::size_t lowest(EndpointMask mask) {
    return static_cast<std::size_t>(std::countr_zero(mask));
}

Step attempt_at(std::size_t endpoint) {
    return {Step::Kind::attempt, endpoint, {}, {}};
}

Step give_up(Step::Why why) {
    return {Step::Kind::give_up, 0, {}, why};
}

/// Full jitter: uniform in 0 .. min(backoff_max, backoff_min * 2^n).
Duration jitter(const RetrySpec& spec, unsigned n, double draw) {
    Duration most = spec.backoff_min;
    for (; n > 0 && most < spec.backoff_max; --n)
        most *= 2;  // ends long before it overflows: backoff_max is a policy's
    most = std::min(most, spec.backoff_max);
    return Duration(static_cast<Duration::rep>(static_cast<double>(most.count()) * std::clamp(draw, 0.0, 1.0)));
}

}  // namespace

Tried Tried::answer(unsigned status, std::optional<Duration> retry_after) {
    Tried tried;
    tried.kind = Kind::answered;
    tried.status = status;
    tried.retry_after = retry_after;
    return tried;
}

Tried Tried::failure(Reason reason, Replay replay) {
    Tried tried;
    tried.kind = Kind::failed;
    tried.reason = reason;
    tried.replay = replay;
    return tried;
}

Tried Tried::breaker_open() {
    Tried tried;
    tried.kind = Kind::out;
    tried.replay = Replay::safe;
    return tried;
}

Tried Tried::refusal() {
    Tried tried;
    tried.kind = Kind::refused;
    tried.replay = Replay::safe;
    return tried;
}

Step AttemptPlan::start(EndpointMask out, TimePoint now) {
    under_way_ = attempts_ = 0;
    return commit(try_elsewhere(out, now));
}

Step AttemptPlan::resume(EndpointMask out, TimePoint now) {
    closed_ = under_way_ = 0;  // whoever turned the last attempt away may let this one in
    return commit(try_elsewhere(out, now));
}

Step AttemptPlan::judge(const Tried& tried, EndpointMask out, double draw, TimePoint now) {
    retrying_ = false;
    note(tried);
    const std::optional<Tried> moved_for = std::exchange(moved_for_, {});
    switch (tried.kind) {
    case Tried::Kind::refused: {
        // Of an attempt that was made before nothing is left to be delivered. For whom there was no place from the
        // beginning, it may be there soon.
        const bool full = status_of(tried.reason) == 429;
        const bool limited = full && failed_ != 0 && !tried.application_gone && now < facts_.deadline;
        return limited ? fall_back_or(give_up(Step::Why::last)) : give_up(Step::Why::last);
    }
    case Tried::Kind::out:
        if (tried.application_gone) return give_up(Step::Why::last);
        return moved_for && now < facts_.deadline ? judge_outcome(*moved_for, out, draw, now) : try_elsewhere(out, now);
    case Tried::Kind::answered:
    case Tried::Kind::failed: break;
    }
    return judge_outcome(tried, out, draw, now);
}

// What comes after an attempt that was made.
Step AttemptPlan::judge_outcome(const Tried& tried, EndpointMask out, double draw, TimePoint now) {
    if (!may_go_on(tried, now)) return answered_ ? Step{Step::Kind::deliver} : give_up(Step::Why::last);
    const bool unsent = tried.kind == Tried::Kind::failed && tried.replay == Replay::safe;
    if (const auto endpoint = unsent ? choose_untried(out) : std::nullopt) {
        moved_for_ = tried;
        moved_to_ |= bit(*endpoint);
        return attempt_at(*endpoint);
    }
    if (is_due(tried)) return judge_retry(tried, out, draw, now);
    if (unsent) return instead(out);
    return answered_ ? Step{Step::Kind::deliver} : give_up(Step::Why::last);
}

// Keeps what this outcome says of all that comes after it.
void AttemptPlan::note(const Tried& tried) {
    body_kept_ = tried.body_kept;
    if (tried.endpoint) current_ = *tried.endpoint;
    switch (tried.kind) {
    case Tried::Kind::out: closed_ |= bit(current_); [[fallthrough]];
    case Tried::Kind::refused: --attempts_; return;
    case Tried::Kind::answered: sent_ = true; break;
    case Tried::Kind::failed: sent_ = sent_ || tried.replay == Replay::unsafe; break;
    }
    answered_ = tried.kind == Tried::Kind::answered;
    failed_ |= under_way_;
    closed_ = 0;
}

// Would another attempt be safe, and is there anybody and any time left for it?
bool AttemptPlan::may_go_on(const Tried& tried, TimePoint now) const {
    if (tried.application_gone || tried.answer_began || tried.retry_unwanted || now >= facts_.deadline) return false;
    if (tried.kind == Tried::Kind::failed && tried.reason == Reason::timeout_total) return false;
    return body_kept_ && (!sent_ || facts_.idempotent_method || facts_.keyed);
}

// Does the policy want another attempt after this?
bool AttemptPlan::is_due(const Tried& tried) const {
    const RetryOn& on = facts_.retry->on;
    return answered_ ? on.names(tried.status) : on.names(tried.reason);
}

Step AttemptPlan::judge_retry(const Tried& tried, EndpointMask out, double draw, TimePoint now) {
    if (retries_ >= facts_.retry->max) {
        spent_ = retries_ > 0;  // who retries nothing has no say in what SDKs do
        return instead(out);
    }
    const auto endpoint = choose(out);
    const auto pause = endpoint ? pause_before(tried, *endpoint, draw) : std::nullopt;
    if (!pause) return instead(out);
    if (later(now, *pause) >= facts_.deadline) {
        spent_ = retries_ > 0 && !tried.retry_after;  // whoever was told when to come again may do so
        return instead(out);
    }
    retrying_ = true;
    if (*pause > Duration{}) return {Step::Kind::wait, *endpoint, *pause, {}};
    return attempt_at(*endpoint);
}

Step AttemptPlan::unaffordable(Spend spend, EndpointMask out) {
    retrying_ = false;
    spent_ = spend == Spend::over_budget || retries_ > 0;
    return instead(out);
}

// The one place where attempts and retries are counted.
Step AttemptPlan::commit(Step step) {
    if (retrying_) ++retries_;
    retrying_ = false;
    if (step.kind != Step::Kind::attempt) return step;
    current_ = step.endpoint;
    under_way_ = bit(current_);
    ++attempts_;
    return step;
}

// Another attempt was right and cannot be: what becomes of the exchange.
Step AttemptPlan::instead(EndpointMask out) {
    const Step otherwise = answered_ ? Step{Step::Kind::deliver} : give_up(Step::Why::last);
    const bool hopeless = ((out | failed_ | closed_) & all()) == all();
    return hopeless ? fall_back_or(otherwise) : otherwise;
}

Step AttemptPlan::exhausted() {
    return fall_back_or(give_up(Step::Why::out));
}

Step AttemptPlan::fall_back_or(Step otherwise) {
    otherwise_ = otherwise;
    return may_fall_back() ? Step{Step::Kind::fallback} : without_fallback();
}

Step AttemptPlan::without_fallback() {
    spent_ |= otherwise_.why == Step::Why::out;
    return otherwise_;
}

// A key tells this vendor only that it has done the request before; another one would do it again.
bool AttemptPlan::may_fall_back() const {
    return facts_.has_fallback && body_kept_ && (!sent_ || facts_.idempotent_method);
}

Step AttemptPlan::try_elsewhere(EndpointMask out, TimePoint now) {
    if (now >= facts_.deadline) return give_up(Step::Why::late);
    const auto endpoint = choose(out);
    return endpoint ? attempt_at(*endpoint) : exhausted();
}

// How long before `endpoint` is tried; nothing: longer than anybody here has patience for.
std::optional<Duration> AttemptPlan::pause_before(const Tried& tried, std::size_t endpoint, double draw) const {
    const bool asked = tried.retry_after && (tried.status == 429 || endpoint == current_);
    if (asked && *tried.retry_after > patience) return {};
    const bool fresh = !(failed_ & bit(endpoint));
    if (fresh && retries_ == 0 && !asked) return Duration{};
    // Jitter on top of what the vendor asks for: all that it turned away at once would else be back at once.
    return jitter(*facts_.retry, retries_, draw) + (asked ? std::max(*tried.retry_after, Duration{}) : Duration{});
}

// The first endpoint that has not been tried, else the next one after the last.
std::optional<std::size_t> AttemptPlan::choose(EndpointMask out) const {
    const EndpointMask able = all() & ~(out | closed_);
    if (able == 0) return {};
    if (const EndpointMask fresh = able & ~(failed_ | under_way_)) return lowest(fresh);
    const EndpointMask up_to_current = bit(current_) | (bit(current_) - 1);
    const EndpointMask after = able & ~up_to_current;
    return lowest(after ? after : able);
}

// The first endpoint that this request was not at, and was not sent to for such a reason before.
std::optional<std::size_t> AttemptPlan::choose_untried(EndpointMask out) const {
    const EndpointMask untried = all() & ~(out | closed_ | failed_ | moved_to_);
    if (untried == 0) return {};
    return lowest(untried);
}

bool AttemptPlan::may_hedge(bool body_kept, EndpointMask out, TimePoint now) const {
    const auto& hedge = facts_.retry->hedge;
    return hedge && hedges_ < hedge->max && facts_.idempotent_method && body_kept && now < facts_.deadline &&
           choose(out).has_value();
}

std::size_t AttemptPlan::begin_hedge(EndpointMask out) {
    const std::size_t endpoint = *choose(out);
    under_way_ |= bit(endpoint);
    ++hedges_;
    ++attempts_;
    return endpoint;
}

EndpointMask AttemptPlan::all() const {
    return facts_.endpoints >= 32 ? ~EndpointMask{0} : bit(facts_.endpoints) - 1;
}

}  // namespace sluice
