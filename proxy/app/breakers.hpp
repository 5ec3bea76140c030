// Breakers by hand: what admin's `/vendors/<vendor>/breaker` is asked for, and what becomes of it. Pure but for the
// breakers' own words: time is an argument.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "config/config.hpp"
#include "proxy/app/admin_answer.hpp"
#include "proxy/base/time.hpp"
#include "proxy/policy/vendor_state.hpp"

namespace sluice {

struct BreakerOrder {
    Breaker::Forced forced = Breaker::Forced::automatic;
    std::string endpoint;  // as its breaker is named, or as the policy writes it; "": every endpoint of the vendor
};

/// From the query (`state=open&endpoint=api.example`) or from a JSON body ({"state": "open", "endpoint": ...}), not
/// from both. Else the answer that says what is wrong: 400, or 415 of a body that is not said to be JSON.
std::variant<BreakerOrder, AdminAnswer> read_breaker_order(std::string_view query, std::string_view content_type,
                                                           std::string_view body);

/// One that was forced.
struct ForcedBreaker {
    const std::string& endpoint;
    Breaker::Forced before, now;
    std::optional<Breaker::State> moved_to;  // nothing: it was in that state
};

/// 200 with the vendor's breakers as they stand; 404 of a vendor that is none.
AdminAnswer show_breakers(const Config& config, std::string_view vendor, TimePoint now);
/// Forces them, tells of each, and answers like `show_breakers`; 404 of an endpoint that is none, and nothing is done.
AdminAnswer force_breakers(const Config& config, std::string_view vendor, const BreakerOrder& order, TimePoint now,
                           const std::function<void(const Vendor&, const ForcedBreaker&)>& tell);

}  // namespace sluice
