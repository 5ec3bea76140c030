// What a status is called.
#pragma once

#include <string_view>

namespace sluice {

/// As it is registered (RFC 9110 16.2.1); "" for others. Any thread.
std::string_view phrase_of(unsigned status);

}  // namespace sluice
