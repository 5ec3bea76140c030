// What of a request's target may stand in a log. Pure.
#pragma once

#include <string_view>

namespace sluice {

/// The path of a target, as it came or as it was understood: no query, no fragment, and of one that is not in origin-form nothing up to its last '@', as that may be a password; "" where no path is left.
/// A view into the argument.
std::string_view path_to_tell(std::string_view target);

}  // namespace sluice
