#include "proxy/policy/vendor_state.hpp"

#include <algorithm>

#include "proxy/policy/vendor.hpp"

namespace sluice {

LiveLimit::LiveLimit(const LimitSpec& spec, std::array<std::uint64_t, 2> seed) : state(spec, seed) {
    if (spec.seats && spec.seats->adaptive()) adaptive = std::make_unique<AdaptiveLimit>(spec.seats->least, spec.seats->most);
}

unsigned LiveLimit::seats() const {
    if (adaptive) return adaptive->limit();
    return state.spec().seats ? state.spec().seats->most : 0;
}

namespace {

std::shared_ptr<LiveLimit> live_limit(const LimitSpec& spec, const VendorState* before, std::array<std::uint64_t, 2> seed) {
    if (before)
        for (const auto& limit : before->limits)
            if (limit->state.spec() == spec) return limit;
    return std::make_shared<LiveLimit>(spec, seed);
}

VendorState::LiveBreaker live_breaker(std::string of, const BreakerSpec& spec, const VendorState* before) {
    if (before)
        for (const auto& breaker : before->breakers)
            if (breaker.of == of && breaker.spec == spec) return breaker;
    return {std::move(of), spec, std::make_shared<Breaker>()};
}

std::vector<std::string> breaker_names(const Vendor& vendor) {
    std::vector<std::string> names;
    for (const Url& url : vendor.endpoints) {
        std::string name = url.authority.text(url.scheme) + url.prefix;
        const bool taken = std::find(names.begin(), names.end(), name) != names.end();   // by the other scheme
        names.push_back(taken ? std::string(name_of(url.scheme)) + "://" + name : std::move(name));
    }
    if (names.empty())
        for (const HostPattern& host : vendor.hosts) names.push_back(host.text());
    return names;
}

bool same_parts(const VendorState& a, const VendorState& b) {
    const auto same_breaker = [](const VendorState::LiveBreaker& x, const VendorState::LiveBreaker& y) { return x.breaker == y.breaker; };
    return a.limits == b.limits && a.chaos == b.chaos && std::equal(a.breakers.begin(), a.breakers.end(), b.breakers.begin(), b.breakers.end(), same_breaker);
}

}  // namespace

void make_live(Vendor& vendor, const Vendor* before, std::array<std::uint64_t, 2> seed) {
    const VendorState* old = before ? before->live.get() : nullptr;
    auto live = std::make_shared<VendorState>();
    for (std::string& name : breaker_names(vendor)) live->breakers.push_back(live_breaker(std::move(name), vendor.breaker, old));
    for (const LimitSpec& spec : vendor.limits) live->limits.push_back(live_limit(spec, old, seed));
    for (Route& route : vendor.routes) {
        route.first_limit = live->limits.size();
        for (const LimitSpec& spec : route.limits) live->limits.push_back(live_limit(spec, old, seed));
    }
    live->budget = old ? old->budget : std::make_shared<RetryBudget>();
    live->latency = old ? old->latency : std::make_shared<Latency>();
    live->chaos_spec = vendor.chaos;
    live->chaos = old && old->chaos_spec == vendor.chaos ? old->chaos : std::make_shared<ChaosState>(vendor.chaos);
    vendor.live = old && same_parts(*old, *live) ? before->live : std::move(live);
}

void keep_forced(const VendorState& before, const VendorState& now) {
    if (&before == &now || before.breakers.empty()) return;
    const auto forced_at = [&](std::size_t i) { return before.breakers[i].breaker->forced(); };
    Breaker::Forced all = forced_at(0);
    for (std::size_t i = 1; i < before.breakers.size(); ++i)
        if (forced_at(i) != all) all = Breaker::Forced::automatic;
    for (const VendorState::LiveBreaker& made : now.breakers) {
        Breaker::Forced forced = all;
        for (std::size_t i = 0; i < before.breakers.size(); ++i)
            if (before.breakers[i].of == made.of) forced = forced_at(i);
        made.breaker->force(forced);
    }
}

}  // namespace sluice
