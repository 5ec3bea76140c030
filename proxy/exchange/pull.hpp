// The next piece of a body, within the times of an exchange.
#pragma once

#include "proxy/ports/ports.hpp"

namespace sluice {

/// Waits as long as something moves in either direction (`activity`) and `total` lasts: a Failure with timeout_idle or timeout_total, or the source's own.
Task<Result<Chunk>> pull(BodySource& source, const Limits& limits, const Activity& activity);

}  // namespace sluice
