// What is alive of vendors, as gauges: breakers, limits, chaos. Read where it is when somebody scrapes; nothing of it
// is counted a second time. Pure: time is an argument.
//
// Labels, where they are not plain: `endpoint` as in `attempts_total`; `limit` is the limit's name, and in
// `limit_remaining` and `limit_capacity` what of it is meant: `<name>.rate` in calls, `<name>.tokens`, `<name>.seats`.
// Of a limit with keys they are those of the key that has least left. `part` says what was learnt: `closed`, how long
// no call goes; `spacing` between calls, `token_spacing` for each token of a call; `holds`, until all is forgotten.
#pragma once

#include <span>
#include <string_view>

#include "proxy/policy/vendor_state.hpp"
#include "proxy/telemetry/families.hpp"

namespace sluice {

struct LiveVendor {
    std::string_view name;
    const VendorState* state;
    bool used;  // else only what is not as it was made is told: 10,000 vendors that nobody calls are no series
};

void add_live_families(Exposition& out, std::span<const LiveVendor> vendors, TimePoint now);

}  // namespace sluice
