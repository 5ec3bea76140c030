#include "proxy/exchange/pull.hpp"

#include "proxy/exchange/core.hpp"

namespace sluice {

Task<Result<Chunk>> pull(BodySource& source, const Limits& limits, const Activity& activity) {
    for (;;) {
        Result<Chunk> chunk = co_await source.next(std::min(later(activity.last, limits.timeout.idle), limits.total));
        if (chunk.has_value() || chunk.error().reason != Reason::timeout_idle) co_return chunk;
        const TimePoint now = Core::now();
        if (now >= limits.total) {
            Failure failure = chunk.error();
            failure.reason = Reason::timeout_total;
            failure.detail = "the exchange was not over within its total time";
            co_return failure;
        }
        if (now >= later(activity.last, limits.timeout.idle)) co_return chunk;
    }
}

}  // namespace sluice
