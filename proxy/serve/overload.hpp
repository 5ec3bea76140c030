// The answer to a connection for which there is no room: as any refusal of ours, though no exchange ever begins. Any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/ports/ports.hpp"

namespace sluice {

/// What to do about it.
inline constexpr std::string_view overload_detail = "raise the limit of open files, or run more sidecars";

/// 64 random bits, from the system; takes no descriptor.
std::uint64_t system_random();

/// A whole HTTP/1.1 answer, 503 `overloaded`, after which the connection is closed.
std::string overload_answer(std::string_view request_id);

/// What metrics and log are told of it.
ExchangeRecord overload_record(std::string_view request_id);

}  // namespace sluice
