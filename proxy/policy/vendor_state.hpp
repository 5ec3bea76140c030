// What of a vendor is alive: its breakers, limits, budgets. Shared by all workers, changed by compare-exchange on words whose
// addresses are fixed when the Config is built; handed on when the policy is loaded anew, part by part: what a part's own
// rules did not change goes on as it is.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/policy/adaptive.hpp"
#include "proxy/policy/breaker.hpp"
#include "proxy/policy/budget.hpp"
#include "proxy/policy/chaos.hpp"
#include "proxy/policy/latency.hpp"
#include "proxy/policy/limiter.hpp"

namespace sluice {

struct Vendor;

/// A limit alive, and the limit's limit where it is found from latency.
struct LiveLimit {
    LiveLimit(const LimitSpec& spec, std::array<std::uint64_t, 2> seed);
    /// Goes on with what `before` has counted, which `counts_alike`.
    LiveLimit(const LimitSpec& spec, const LiveLimit& before);

    /// How many seats there are now; 0: this limit has none.
    unsigned seats() const;

    LimitSpec spec;                            // as the policy has it
    std::string of;                            // the route; "": the vendor
    std::shared_ptr<LimitState> state;         // shared with the policies before in which it counted alike
    std::shared_ptr<AdaptiveLimit> adaptive;
};

struct VendorState {
    struct LiveBreaker {
        std::string of;   // the endpoint without its scheme, or the entry of `hosts`: the metric label, no two alike
        BreakerSpec spec; // that it was made for
        std::shared_ptr<Breaker> breaker;
    };
    std::vector<LiveBreaker> breakers;                 // one an endpoint, or, without any, one an entry of `hosts`
    std::vector<std::shared_ptr<LiveLimit>> limits;    // of the vendor, then of each route in turn: Route::first_limit
    std::shared_ptr<RetryBudget> budget;
    std::shared_ptr<Latency> latency;                  // to the response head, of answers
    std::shared_ptr<ChaosState> chaos;
    ChaosSpec chaos_spec;                              // that it was made for
};

/// Gives `vendor` a state. Of `before`, the vendor of the same name in the policy until now (null: there was none), everything
/// lives on whose rules are the same; of a limit what it has counted, as long as it counts the same: another name, number of
/// seats or wait begins nothing anew. `seed` (random, secret): where limits have keys.
void make_live(Vendor& vendor, const Vendor* before, std::array<std::uint64_t, 2> seed);

/// From now on what its limits say of seats holds for whoever waits there already, too.
void put_in_force(const VendorState& live);

/// An operator's word outlives the policy that it was given under: what was forced of the vendor `before` is forced `now`, where
/// a breaker was made anew too; and where all of its breakers are forced alike, so is that of an endpoint that has come.
void keep_forced(const VendorState& before, const VendorState& now);

}  // namespace sluice
