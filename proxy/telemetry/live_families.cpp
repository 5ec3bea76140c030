#include "proxy/telemetry/live_families.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace sluice {

namespace {

using Vendors = std::span<const LiveVendor>;

double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

/// A limit's view is taken once for all of its families: one with keys walks its whole table.
struct LimitStanding {
    std::string_view vendor;
    const LimitSpec& spec;
    LimitView view;
    unsigned seats;
};

std::vector<LimitStanding> standings(Vendors vendors, TimePoint now) {
    std::vector<LimitStanding> all;
    for (const LiveVendor& vendor : vendors) {
        if (!vendor.used) continue;
        for (const auto& limit : vendor.state->limits)
            all.push_back({vendor.name, limit->spec, limit->state->view(now), limit->seats()});
    }
    return all;
}

void add_breakers(Exposition& out, Vendors vendors, TimePoint now) {
    MetricFamily states{"sluice_breaker_state",
                        "1 for the state that the breaker of an endpoint is in, 0 for the others.",
                        MetricType::Gauge,
                        {}};
    MetricFamily forced{"sluice_breaker_forced",
                        "1 where an operator holds the breaker of an endpoint open or closed.",
                        MetricType::Gauge,
                        {}};
    MetricFamily readmits{"sluice_breaker_readmission",
                          "Calls a second that are let back in where a breaker has just closed.",
                          MetricType::Gauge,
                          {}};
    for (const LiveVendor& vendor : vendors) {
        for (const VendorState::LiveBreaker& breaker : vendor.state->breakers) {
            const Breaker::View view = breaker.breaker->view(breaker.spec, now);
            const bool held = view.forced != Breaker::Forced::automatic;
            if (!vendor.used && !held && view.state == Breaker::State::closed) continue;
            for (const auto state : {Breaker::State::closed, Breaker::State::open, Breaker::State::half_open}) {
                add_gauge(states, {{"vendor", vendor.name}, {"endpoint", breaker.of}, {"state", name_of(state)}},
                          view.state == state);
            }
            add_gauge(forced, {{"vendor", vendor.name}, {"endpoint", breaker.of}}, held);
            if (view.readmits > 0) add_gauge(readmits, {{"vendor", vendor.name}, {"endpoint", breaker.of}}, view.readmits);
        }
    }
    out.add(std::move(states));
    out.add(std::move(forced));
    if (!readmits.metric.empty()) out.add(std::move(readmits));
}

void add_meters(Exposition& out, const std::vector<LimitStanding>& limits) {
    MetricFamily remaining{"sluice_limit_remaining",
                           "What a limit would let through at once: calls of its rate, tokens, or seats.",
                           MetricType::Gauge,
                           {}};
    MetricFamily capacity{"sluice_limit_capacity",
                          "What remains where nothing is taken: a rate's burst, the seats (adaptive: as found now).",
                          MetricType::Gauge,
                          {}};
    for (const LimitStanding& limit : limits) {
        const auto add = [&](std::string_view part, std::uint64_t left, std::uint64_t whole) {
            const std::string label = limit.spec.name + '.' + std::string(part);
            add_gauge(remaining, {{"vendor", limit.vendor}, {"limit", label}}, static_cast<double>(left));
            add_gauge(capacity, {{"vendor", limit.vendor}, {"limit", label}}, static_cast<double>(whole));
        };
        if (limit.view.rate) add("rate", limit.view.rate->remaining, limit.spec.rate->burst);
        if (limit.view.tokens) add("tokens", limit.view.tokens->remaining, limit.spec.tokens->rate.burst);
        if (limit.spec.seats) add("seats", limit.seats - std::min(limit.seats, limit.view.fullest), limit.seats);
    }
    out.add(std::move(remaining));
    out.add(std::move(capacity));
}

void add_waiting(Exposition& out, const std::vector<LimitStanding>& limits) {
    MetricFamily waiting{
        "sluice_limit_waiting", "Exchanges that wait for a place under a limit.", MetricType::Gauge, {}};
    for (const LimitStanding& limit : limits)
        add_gauge(waiting, {{"vendor", limit.vendor}, {"limit", limit.spec.name}}, limit.view.waiting);
    out.add(std::move(waiting));
}

void add_learnt(Exposition& out, const std::vector<LimitStanding>& limits) {
    MetricFamily learnt{"sluice_limit_learnt_seconds",
                        "The pace that a vendor asked for, of limits that learn; 0: it asks for none.",
                        MetricType::Gauge,
                        {}};
    for (const LimitStanding& limit : limits) {
        if (!limit.spec.learn) continue;
        const auto add = [&](std::string_view part, Duration time) {
            add_gauge(learnt, {{"vendor", limit.vendor}, {"limit", limit.spec.name}, {"part", part}}, seconds(time));
        };
        add("closed", limit.view.learnt.closed);
        add("spacing", limit.view.learnt.spacing);
        add("token_spacing", limit.view.learnt.token_spacing);
        add("holds", limit.view.learnt.holds);
    }
    out.add(std::move(learnt));
}

void add_chaos(Exposition& out, Vendors vendors) {
    MetricFamily active{
        "sluice_chaos_active",
        "1 where faults are injected on purpose; 0 where they are not enabled, or stopped by themselves.",
        MetricType::Gauge,
        {}};
    for (const LiveVendor& vendor : vendors) {
        const ChaosSpec& spec = vendor.state->chaos_spec;
        if (spec.inject.empty()) continue;
        add_gauge(active, {{"vendor", vendor.name}}, spec.enabled && !vendor.state->chaos->stopped());
    }
    out.add(std::move(active));
}

}  // namespace

void add_live_families(Exposition& out, Vendors vendors, TimePoint now) {
    add_breakers(out, vendors, now);
    const std::vector<LimitStanding> limits = standings(vendors, now);
    add_meters(out, limits);
    add_waiting(out, limits);
    add_learnt(out, limits);
    add_chaos(out, vendors);
}

}  // namespace sluice
