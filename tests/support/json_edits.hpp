// Edits of a JSON body on one line, for tests: "rename $.a $.b; set $.c {\"d\": 1}; drop $.e; wrap data".
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "proxy/policy/rewrite.hpp"

namespace sluice {

/// The word before the next `end`; `text` loses both.
inline std::string_view take_until(std::string_view& text, std::string_view end) {
    const std::string_view taken = text.substr(0, text.find(end));
    text.remove_prefix(std::min(text.size(), taken.size() + end.size()));
    return taken;
}

/// Nothing: a path or a value in it that no policy could hold, or another verb.
inline std::optional<JsonEdits> json_edits_of(std::string_view text) {
    JsonEdits edits;
    std::string fault;
    while (!text.empty()) {
        std::string_view one = take_until(text, "; ");
        const std::string_view verb = take_until(one, " ");
        if (verb == "wrap") {
            edits.wrap = one;
            continue;
        }
        const auto path = parse_json_path(take_until(one, " "), fault);
        const auto to = verb == "rename" ? parse_json_path(one, fault) : path;
        if (!path || !to) return {};
        if (verb == "rename") {
            edits.rename.emplace_back(*path, *to);
        } else if (verb == "set" && judge_json(one).empty()) {
            edits.set.emplace_back(*path, std::string(one));
        } else if (verb == "drop") {
            edits.drop.push_back(*path);
        } else {
            return {};
        }
    }
    return edits;
}

}  // namespace sluice
