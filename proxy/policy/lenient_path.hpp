// Paths that are written otherwise and mean the same to many servers: nobody shall get round a rule, or round a route
// and what it names, by another spelling. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// The path as a lenient server may read it: escapes of unreserved characters decoded (RFC 3986 6.2.2.2 calls the two
/// equivalent) and runs of slashes merged. Nothing: it reads the same.
std::optional<std::string> lenient_reading(std::string_view path);

}  // namespace sluice
