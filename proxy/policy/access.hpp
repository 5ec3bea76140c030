// Which requests a vendor's `allow` and `deny` let through, and which of its routes one takes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/text.hpp"
#include "proxy/policy/verdict.hpp"

namespace sluice {

/// "METHOD[|METHOD] /glob"; METHOD may be `*`.
struct RequestPattern {
    std::vector<std::string> methods;   // empty: any
    Glob path;
    std::string text;                   // as the operator wrote it
    int line = 0;                       // of the policy file, for `explain`

    /// `path` without its query; matched as its original bytes.
    bool matches(std::string_view method, std::string_view path) const;
};
/// Nothing: not such a pattern, or one that could never match; `fault` then says why.
std::optional<RequestPattern> parse_request_pattern(std::string_view text, std::string& fault);

struct AccessRules {
    std::vector<RequestPattern> allow;
    std::vector<RequestPattern> deny;
};

/// Deny beats allow; with any allow, the rest is refused `not_allowed`. The detail names the rule that decided. `path` is without
/// its query. A deny rule also holds for the path as a lenient server may read it, with needless escapes decoded ("/%61dmin")
/// and empty segments dropped ("//admin"); an allow rule only for the bytes that are sent.
Verdict judge_access(const AccessRules& rules, std::string_view vendor, std::string_view method, std::string_view path);

}  // namespace sluice
