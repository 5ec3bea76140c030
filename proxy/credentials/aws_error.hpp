// What AWS's services say of keys that they do not take any more: 400 or 403 with a code, never 401. The code stands in a
// header ("AWS JSON 1.1" and "REST JSON" of Smithy), in a JSON body, or in XML (S3, and the older query services). An
// application behind AWS may well have codes of the same names: what it answers is none of this. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "proxy/http/head.hpp"

namespace sluice {

/// Does the head of an answer to a request that was signed for `service` say that the key or its session has ended, or is
/// not known? Nothing: its body may say so.
std::optional<bool> says_key_is_refused(const ResponseHead& head, std::string_view service);

/// The same of the body of such an answer, whole.
bool tells_of_refused_key(std::string_view body);

}  // namespace sluice
