// The keys that keep an application standing while a vendor misbehaves: retry, hedge, idempotency, breaker, limit,
// fallback, chaos. Their tables are in resilience.cpp; the tables of vendors, routes and defaults name these rules.
// Pure.
#pragma once

#include <boost/json/object.hpp>

#include "config/written.hpp"

namespace sluice {

/// Reads a V and describes it, by tables that only resilience.cpp sees.
template <class V>
struct TableRule {
    using Value = V;
    std::optional<V> read(Reader& reader, const Place& at) const;
    boost::json::object describe(Schema& schema) const;
};

inline constexpr TableRule<WrittenRetry> retry_rule;
inline constexpr TableRule<WrittenHedge> hedge_rule;
inline constexpr TableRule<WrittenIdempotency> idempotency_rule;
inline constexpr TableRule<WrittenBreaker> breaker_rule;
inline constexpr TableRule<WrittenLimit> limit_rule;    // one map
inline constexpr TableRule<WrittenLimits> limits_rule;  // a map, or a list of them
inline constexpr TableRule<WrittenFallback> fallback_rule;
inline constexpr TableRule<WrittenChaos> chaos_rule;

}  // namespace sluice
