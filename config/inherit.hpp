// What is written over what is inherited, key by key: defaults over what is built in, a vendor over the defaults, a
// route over its vendor. Pure; used by assemble.cpp.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/written.hpp"

namespace sluice {

/// Takes the value out of what was written.
template <class V, class W>
void take(V& into, Maybe<W>& written) {
    if (written) into = std::move(written->value);
}

/// Of maps from the outermost to the nearest; the nearest `total` caps what was written outside of its map, and what is
/// built in.
Timeouts inherit(const Timeouts& built_in, std::initializer_list<const Maybe<WrittenTimeouts>*> maps);
BreakerSpec inherit(const BreakerSpec& from, const Maybe<WrittenBreaker>& written);
IdempotencySpec inherit(const IdempotencySpec& from, Maybe<WrittenIdempotency>& written);
std::optional<HedgeSpec> inherit(const std::optional<HedgeSpec>& from, const Maybe<WrittenHedge>& written);

RetrySpec inherit(const RetrySpec& from, const Maybe<WrittenRetry>& written);
/// Reports what only shows once all is inherited. `path` of the map: "vendors.pay.limit".
LimitSpec inherit(const LimitSpec& from, WrittenLimit& written, const Node& node, const std::string& path,
                  FaultList& faults);

/// Of a vendor: one map is written over the defaults; in a list, and beside a map with `per`, what the defaults limit
/// and no entry without `per` does is a limit of its own. Names that are not written stay "", but for that one:
/// "default".
std::vector<LimitSpec> vendor_limits(const LimitSpec& from, Maybe<WrittenLimits>& written, const std::string& path,
                                     FaultList& faults);
/// Of a route: they inherit nothing, as they hold beside the vendor's.
std::vector<LimitSpec> route_limits(Maybe<WrittenLimits>& written, const std::string& path, FaultList& faults);

/// Gives back the client certificate that is not in files.
std::optional<MtlsSpec> take_tls(TlsRules& tls, Maybe<WrittenTls>& written);
RewriteSpec rewrite_of(Maybe<WrittenRewrite>& written);
ChaosSpec chaos_of(Maybe<WrittenChaos>& written);

}  // namespace sluice
