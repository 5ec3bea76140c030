// What of a vendor is alive, as JSON, for admin. Pure: time is an argument. Any thread.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "proxy/base/time.hpp"
#include "proxy/policy/vendor.hpp"
#include "proxy/policy/vendor_state.hpp"

namespace sluice {

/// "50%", "2.5%"
std::string format_share(double share);

/// Each breaker's endpoint, state, what an operator forced, when it may be worth another try, and what it has seen:
/// failures in a row; in the window how many answers, how many of them failed or slow; how often it has opened.
boost::json::array describe_breakers(const VendorState& live, TimePoint now);

/// Its breakers; where each limit stands (of one with keys: the key that has least left), who waits and what was
/// learnt; the budget of retries of the last 10 s; latency to the head; and chaos, where the policy has any. Times are
/// whole numbers, their unit in the key.
boost::json::object describe_live(const Vendor& vendor, TimePoint now);

}  // namespace sluice
