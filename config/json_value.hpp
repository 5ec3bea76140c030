// Any YAML value as a JSON text, as `rewrite` puts it into a document. Pure.
#pragma once

#include <optional>
#include <string>

#include "config/rules.hpp"

namespace sluice {

/// Nothing: JSON does not have such a value, or its text is longer than 16 KiB; the fault has been reported.
std::optional<std::string> read_json(Reader& reader, const Place& at);

}  // namespace sluice
