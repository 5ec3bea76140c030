#include "proxy/policy/vendor_state.hpp"

#include <algorithm>

#include "proxy/policy/vendor.hpp"

namespace sluice {

namespace {

std::shared_ptr<AdaptiveLimit> adaptive_for(const LimitSpec& spec) {
    return spec.seats && spec.seats->adaptive() ? std::make_shared<AdaptiveLimit>(spec.seats->least, spec.seats->most) : nullptr;
}

bool counts_alike(const LimitSpec& a, const LimitSpec& b) {
    return a.rate == b.rate && a.tokens == b.tokens && a.learn == b.learn && a.per_header == b.per_header && a.seats.has_value() == b.seats.has_value();
}

}  // namespace

LiveLimit::LiveLimit(const LimitSpec& written, std::array<std::uint64_t, 2> seed) : spec(written), state(std::make_shared<LimitState>(written, seed)), adaptive(adaptive_for(written)) {}

LiveLimit::LiveLimit(const LimitSpec& written, const LiveLimit& before)
    : spec(written), of(before.of), state(before.state), adaptive(written.seats == before.spec.seats ? before.adaptive : adaptive_for(written)) {}

unsigned LiveLimit::seats() const {
    if (adaptive) return adaptive->limit();
    return spec.seats ? state->seats() : 0;
}

namespace {

struct WrittenLimit {
    const LimitSpec* spec = nullptr;
    std::string_view of;
};

// Of the same route, or the vendor. Those that have their name still come first: the names of others are their places in the policy.
std::vector<std::shared_ptr<LiveLimit>> live_limits(const std::vector<WrittenLimit>& written, const VendorState* before, std::array<std::uint64_t, 2> seed) {
    std::vector<std::shared_ptr<LiveLimit>> live(written.size()), old;
    if (before) old = before->limits;
    for (const bool by_name : {true, false}) {
        for (std::size_t i = 0; i < written.size(); ++i) {
            if (live[i]) continue;
            const LimitSpec& spec = *written[i].spec;
            const auto goes_on = [&](const auto& limit) { return limit && limit->of == written[i].of && (!by_name || limit->spec.name == spec.name) && counts_alike(limit->spec, spec); };
            const auto found = std::find_if(old.begin(), old.end(), goes_on);
            if (found == old.end()) continue;
            const auto limit = std::exchange(*found, nullptr);
            live[i] = limit->spec == spec ? limit : std::make_shared<LiveLimit>(spec, *limit);
        }
    }
    for (std::size_t i = 0; i < written.size(); ++i) {
        if (live[i]) continue;
        live[i] = std::make_shared<LiveLimit>(*written[i].spec, seed);
        live[i]->of = written[i].of;
    }
    return live;
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
    std::vector<WrittenLimit> limits;
    for (const LimitSpec& spec : vendor.limits) limits.push_back({&spec, {}});
    for (Route& route : vendor.routes) {
        route.first_limit = limits.size();
        for (const LimitSpec& spec : route.limits) limits.push_back({&spec, route.name});
    }
    live->limits = live_limits(limits, old, seed);
    live->budget = old ? old->budget : std::make_shared<RetryBudget>();
    live->latency = old ? old->latency : std::make_shared<Latency>();
    live->chaos_spec = vendor.chaos;
    live->chaos = old && old->chaos_spec == vendor.chaos ? old->chaos : std::make_shared<ChaosState>(vendor.chaos);
    vendor.live = old && same_parts(*old, *live) ? before->live : std::move(live);
}

void put_in_force(const VendorState& live) {
    for (const auto& limit : live.limits)
        if (limit->spec.seats) limit->state->set_seats(limit->spec.seats->most);
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
