// How a request for one vendor becomes one for its fallback, and the answer one of the first vendor again. Pure.
//
// What is rewritten is the application's request, before any credential: one vendor's must never reach another. The path that
// comes out is judged by the second vendor's own access rules.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/result.hpp"
#include "proxy/http/fields.hpp"

namespace sluice {

/// Members from the root: "$.card.number" is {"card", "number"}, "$" the document itself. No arrays, no wildcards.
using JsonPath = std::vector<std::string>;

/// "$.card.number"; names are any UTF-8 but '.', '[', ']', '*', quotes and controls. At most 16 deep. Nothing: `fault` says why.
std::optional<JsonPath> parse_json_path(std::string_view text, std::string& fault);
std::string to_text(const JsonPath& path);

/// Done in the order rename, set, drop.
struct HeaderEdits {
    std::vector<std::pair<std::string, std::string>> rename;   // from, to: every field `from`, at its place; fields that were called `to` go
    std::vector<std::pair<std::string, std::string>> set;      // name, value
    std::vector<std::string> drop;

    bool operator==(const HeaderEdits&) const = default;
};

/// Done in the order rename, set, drop, wrap.
struct JsonEdits {
    std::vector<std::pair<JsonPath, JsonPath>> rename;          // a missing source is no fault
    std::vector<std::pair<JsonPath, std::string>> set;          // value: a JSON text that `judge_json` found nothing wrong with
    std::vector<JsonPath> drop;
    std::string wrap;                                           // "data", a name as in a JsonPath: the whole document becomes {"data": ...}; "" for none

    bool empty() const { return rename.empty() && set.empty() && drop.empty() && wrap.empty(); }
    bool operator==(const JsonEdits&) const = default;
};

/// "/v1/charges" -> "/api/charges"; where both end in "/**" the rest is carried over. The query stays.
struct PathEdit {
    std::string from, to;
    bool operator==(const PathEdit&) const = default;
};

/// From and to as written. Both begin with '/' and are sound paths (`judge_path`) without query; '*' stands only as a final
/// "/**", and in `to` only where `from` ends so too. Nothing: `fault` says why.
std::optional<PathEdit> parse_path_edit(std::string_view from, std::string_view to, std::string& fault);

/// Why a field of this name is not for the policy to edit, or empty: what frames a message, names its host or is about one
/// connection is made anew by Sluice, `Sluice-*` is its own, and a name must be a token.
std::string_view judge_edited_name(std::string_view name);

/// Why `text` cannot be the value of a `set` of a body, or empty: it must be one whole JSON value, at most `max_json_depth` deep.
std::string judge_json(std::string_view text);

struct RewriteSpec {
    std::vector<PathEdit> path;   // the first that matches; none: the path stays
    HeaderEdits request_headers, response_headers;
    JsonEdits request_body, response_body;

    bool operator==(const RewriteSpec&) const = default;
};

inline constexpr std::size_t max_json_depth = 64;              // arrays and objects in each other
inline constexpr std::size_t max_json_members = 16 * 1024;
inline constexpr std::size_t max_rewritten = 4 * 1024 * 1024;   // bytes of a body before and after its edits

/// An origin-form target ("/v1/charges?x=1") with its path edited by the first of `edits` that matches; the query as it was.
std::string edited_target(std::string_view target, const std::vector<PathEdit>& edits);

/// Names that `judge_edited_name` refuses are left alone. Content-Length is the caller's, once the body is edited.
void edit_headers(Fields& fields, const HeaderEdits& edits);

/// A JSON body with its edits done. Whatever no edit touches keeps its bytes: numbers their digits, strings their escapes,
/// arrays their white space, members their order. What does not survive: white space between the members of an object that an
/// edit looked into.
///
/// A member is found whatever its escapes ("c\u0061rd" is "card") and however often it stands there, so that nothing hides from
/// a `drop`; of duplicates on the way of a `rename` or a `set` the last one counts, the others go. What these two put somewhere
/// takes the place of what is there, else comes last, and makes objects on the way where there are none. "$" is the whole
/// document. No edits: the body, unread.
///
/// Members are an object's: an array, a number and the like are only wrapped, and where there is nothing, there is nothing to
/// wrap.
///
/// A Failure: no JSON (RFC 8259, UTF-8), deeper than `max_json_depth`, larger than `max_rewritten`, more than `max_json_members` in an
/// object that an edit looks into, or a value other than an object on the way to where something is to be put. It is blamed on `whose`: the application's request (bad_request), the vendor's answer
/// (upstream_protocol). Its detail quotes nothing of the body.
Result<std::string> edited_body(std::string_view body, const JsonEdits& edits, Origin whose);

/// `fallback: {vendor: pay2, rewrite: {...}}`: another vendor, when every endpoint of this one is out.
struct FallbackSpec {
    std::size_t vendor = 0;   // in Config::vendors
    RewriteSpec rewrite;
};

}  // namespace sluice
