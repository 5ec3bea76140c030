#include "proxy/app/standing.hpp"

#include <cmath>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

/// Rounded up: what has not ended yet is not 0.
std::int64_t in_ms(Duration duration) {
    return std::chrono::ceil<std::chrono::milliseconds>(duration).count();
}
std::int64_t in_us(Duration duration) {
    return std::chrono::ceil<std::chrono::microseconds>(duration).count();
}

json::object meter(const LimitView::Meter& view, const RateSpec& spec) {
    return {{"remaining", view.remaining},
            {"burst", spec.burst},
            {"limit", view.limit},
            {"window", format_duration(view.window)},
            {"full_in_ms", in_ms(view.full_in)}};
}

json::object seats(const LiveLimit& limit, const LimitView& view) {
    json::object out{{"limit", limit.seats()}, {"in_use", view.seats_in_use}, {"adaptive", limit.adaptive != nullptr}};
    if (!limit.adaptive) return out;
    const AdaptiveLimit::View found = limit.adaptive->view();
    out["at_ease_us"] = in_us(found.at_ease);
    out["latency_us"] = in_us(found.latency);
    return out;
}

json::object learnt(const LearntPace::View& view) {
    return {{"closed_ms", in_ms(view.closed)},
            {"spacing_us", in_us(view.spacing)},
            {"token_spacing_us", in_us(view.token_spacing)},
            {"holds_ms", in_ms(view.holds)}};
}

json::object limit(const LiveLimit& limit, TimePoint now) {
    const LimitSpec& spec = limit.spec;
    const LimitView view = limit.state->view(now);
    json::object out{{"name", spec.name}};
    if (view.rate) out["rate"] = meter(*view.rate, *spec.rate);
    if (view.tokens) out["tokens"] = meter(*view.tokens, spec.tokens->rate);
    if (spec.seats) out["seats"] = seats(limit, view);
    out["waiting"] = view.waiting;
    if (!spec.per_header.empty()) out["keys"] = view.keys;
    if (spec.learn) out["learnt"] = learnt(view.learnt);
    return out;
}

json::object latency(const Latency& seen, TimePoint now) {
    json::object out{{"samples", seen.samples(now)}};
    if (const auto half = seen.quantile(0.5, now)) out["p50_us"] = in_us(*half);
    if (const auto most = seen.quantile(0.95, now)) out["p95_us"] = in_us(*most);
    return out;
}

json::object chaos(const ChaosSpec& spec, const ChaosState& state, TimePoint now) {
    json::array faults;
    for (std::size_t i = 0; i < spec.inject.size(); ++i) {
        const ChaosFault& fault = spec.inject[i];
        json::object entry{{"fault", fault.text}, {"rate", format_share(fault.rate)}};
        if (fault.first) entry["first"] = fault.first;
        if (!fault.route.empty()) entry["route"] = fault.route;
        if (!fault.header.empty()) entry["header"] = fault.header + (fault.value.empty() ? "" : ": " + fault.value);
        entry["injected"] = state.injected(i);
        faults.push_back(std::move(entry));
    }
    return {{"enabled", spec.enabled},
            {"stopped", state.stopped()},
            {"failure_share", format_share(state.failure_share(now))},
            {"abort_above", format_share(spec.abort_above)},
            {"inject", std::move(faults)}};
}

}  // namespace

std::string format_share(double share) {
    const auto tenths = std::llround(share * 1000);
    return std::to_string(tenths / 10) + (tenths % 10 ? '.' + std::to_string(tenths % 10) : std::string()) + '%';
}

json::array describe_breakers(const VendorState& live, TimePoint now) {
    json::array all;
    for (const VendorState::LiveBreaker& breaker : live.breakers) {
        const Breaker::View view = breaker.breaker->view(breaker.spec, now);
        json::object out{{"endpoint", breaker.of},
                         {"state", name_of(view.state)},
                         {"forced", name_of(view.forced)},
                         {"retry_after_ms", in_ms(view.retry_after)},
                         {"consecutive", view.consecutive},
                         {"seen", view.seen},
                         {"failed", view.failed},
                         {"slow", view.slow},
                         {"opened", view.transitions[static_cast<std::size_t>(Breaker::State::open)]}};
        if (view.readmits > 0) {
            out["readmits"] = json::object{{"per_second", std::llround(view.readmits)}, {"for_ms", in_ms(view.readmits_for)}};
        }
        all.push_back(std::move(out));
    }
    return all;
}

json::object describe_live(const Vendor& vendor, TimePoint now) {
    const VendorState& live = *vendor.live;
    json::array limits;
    for (const auto& one : live.limits) limits.push_back(limit(*one, now));
    const RetryBudget::View budget = live.budget->view(vendor.retry.budget, now);
    json::object out{{"breakers", describe_breakers(live, now)},
                     {"limits", std::move(limits)},
                     {"retry_budget",
                      json::object{{"requests", budget.requests}, {"retries", budget.retries}, {"left", budget.left}}},
                     {"latency", latency(*live.latency, now)}};
    if (!live.chaos_spec.inject.empty()) out["chaos"] = chaos(live.chaos_spec, *live.chaos, now);
    return out;
}

}  // namespace sluice
