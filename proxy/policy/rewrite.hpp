// How a request for one vendor becomes one for its fallback, and the answer one of the first vendor again. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

/// Members from the root: "$.card.number" is {"card", "number"}. No arrays, no wildcards.
using JsonPath = std::vector<std::string>;

struct HeaderEdits {
    std::vector<std::pair<std::string, std::string>> rename;   // from, to
    std::vector<std::pair<std::string, std::string>> set;      // name, value
    std::vector<std::string> drop;

    bool operator==(const HeaderEdits&) const = default;
};

/// Done in the order rename, set, drop, wrap.
struct JsonEdits {
    std::vector<std::pair<JsonPath, JsonPath>> rename;          // a missing source is no fault
    std::vector<std::pair<JsonPath, std::string>> set;          // value: a JSON text
    std::vector<JsonPath> drop;
    std::string wrap;                                           // "data": the whole document becomes {"data": ...}; "" for none

    bool empty() const { return rename.empty() && set.empty() && drop.empty() && wrap.empty(); }
    bool operator==(const JsonEdits&) const = default;
};

/// "/v1/charges" -> "/api/charges"; where both end in "/**" the rest is carried over. The query stays.
struct PathEdit {
    std::string from, to;
    bool operator==(const PathEdit&) const = default;
};

struct RewriteSpec {
    std::vector<PathEdit> path;   // the first that matches; none: the path stays
    HeaderEdits request_headers, response_headers;
    JsonEdits request_body, response_body;

    bool operator==(const RewriteSpec&) const = default;
};

/// `fallback: {vendor: pay2, rewrite: {...}}`: another vendor, when every endpoint of this one is out.
struct FallbackSpec {
    std::size_t vendor = 0;   // in Config::vendors
    RewriteSpec rewrite;
};

}  // namespace sluice
