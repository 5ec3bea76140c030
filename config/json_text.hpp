// JSON as people read it: two spaces a level, small arrays on one line. Pure; used by schema.cpp and describe.cpp.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace sluice {

/// Ends in a newline.
std::string pretty(const boost::json::value& value);

}  // namespace sluice
