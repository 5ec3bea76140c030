// What becomes of a request on its way to another vendor. Of any body: either a Failure in words, or JSON that says
// what a plain reading of the edits says, on Boost.JSON's own values. Of any path: a sound one. The input's lines: a
// path's edit
// ("/v1/** /api/**"), a request target, the edits of the body (json_edits.hpp); what follows is the body.
#include "proxy/policy/rewrite.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cmath>

#include "proxy/http/target.hpp"
#include "tests/fuzz/require.hpp"
#include "tests/support/json_edits.hpp"

using namespace sluice;

namespace {

namespace json = boost::json;

json::value parsed(std::string_view text) {
    json::parse_options options;
    options.max_depth = max_json_depth + 64;  // edits may add to it
    json::error_code wrong;
    json::value value = json::parse({text.data(), text.size()}, wrong, {}, options);
    REQUIRE(!wrong);
    return value;
}

std::size_t members_in(const json::value& value) {
    std::size_t members = 0;
    if (const auto* object = value.if_object()) {
        for (const auto& member : *object) members += 1 + members_in(member.value());
    } else if (const auto* array = value.if_array()) {
        for (const auto& element : *array) members += members_in(element);
    }
    return members;
}

/// Boost.JSON reads "0e400" as something that is not equal to itself, and one number's last bit by where it stands.
bool same_number(double a, double b) {
    return a == b || std::isnan(a) || std::abs(a - b) <= 1e-12 * std::abs(b);
}

/// Equal, whatever the order of members.
bool same(const json::value& a, const json::value& b) {
    if (a.kind() != b.kind()) return false;
    if (const auto* number = a.if_double()) return same_number(*number, b.get_double());
    if (const auto* array = a.if_array()) {
        const json::array& other = b.get_array();
        return std::equal(array->begin(), array->end(), other.begin(), other.end(), same);
    }
    const auto* object = a.if_object();
    if (!object) return a == b;
    if (object->size() != b.get_object().size()) return false;
    return std::all_of(object->begin(), object->end(), [&](const auto& member) {
        const json::value* other = b.get_object().if_contains(member.key());
        return other && same(member.value(), *other);
    });
}

/// Colons that are not inside of strings: the members as they are written, duplicates included.
std::size_t colons_in(std::string_view text) {
    std::size_t colons = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (quoted && text[i] == '\\')
            ++i;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && text[i] == ':')
            ++colons;
    }
    return colons;
}

// The edits once more, on values. Nothing is faster or keeps more; it is only plainer.

json::value* find(json::value& root, const JsonPath& path, std::size_t depth) {
    json::value* at = &root;
    for (std::size_t i = 0; at && i < depth; ++i) {
        json::object* object = at->if_object();
        at = object ? object->if_contains(path[i]) : nullptr;
    }
    return at;
}

std::optional<json::value> take(json::value& root, const JsonPath& path) {
    json::value* found = find(root, path, path.size());
    if (!found) return {};
    json::value taken = *found;
    if (path.empty()) {
        root = json::object();
    } else {
        find(root, path, path.size() - 1)->as_object().erase(path.back());
    }
    return taken;
}

bool put(json::value& root, const JsonPath& path, const json::value& value) {
    json::value* at = &root;
    for (const std::string& name : path) {
        json::object* object = at->if_object();
        if (!object) return false;
        if (!object->contains(name)) object->emplace(name, json::object());
        at = &(*object)[name];
    }
    *at = value;
    return true;
}

std::optional<json::value> edited_value(json::value root, const JsonEdits& edits) {
    for (const auto& [from, to] : edits.rename) {
        const auto taken = take(root, from);
        if (taken && !put(root, to, *taken)) return {};
    }
    for (const auto& [path, text] : edits.set) {
        if (!put(root, path, parsed(text))) return {};
    }
    for (const JsonPath& path : edits.drop) take(root, path);
    if (!edits.wrap.empty()) root = json::object{{edits.wrap, root}};
    return root;
}

void judge_body(std::string_view body, const JsonEdits& edits) {
    const auto edited = edited_body(body, edits, Origin::vendor);
    if (!edited) {
        REQUIRE(edited.error().origin == Origin::vendor && edited.error().reason == Reason::upstream_protocol);
        REQUIRE(!edited.error().detail.empty());
        return;
    }
    if (edits.empty()) {
        REQUIRE(*edited == body);
        return;
    }
    const bool blank = body.find_first_not_of(" \t\r\n") == std::string_view::npos;
    REQUIRE((blank || judge_json(body).empty()) && edited->size() <= max_rewritten);
    const bool has_members = !blank && parsed(body).is_object();
    if (blank || (!has_members && edits.wrap.empty())) {
        REQUIRE(*edited == body);
        return;
    }
    json::value after = parsed(*edited);
    const json::value before = parsed(body);
    json::value* root = edits.wrap.empty() ? &after : after.as_object().if_contains(edits.wrap);
    REQUIRE(root);
    if (!has_members) {
        REQUIRE(same(before, *root));
        return;
    }
    // Only the last `drop` has nothing after it that makes what it dropped anew: "$.a" then "$".
    for (const JsonPath& path : edits.drop) REQUIRE(path.empty() || !find(*root, path, path.size()));
    bool duplicates = members_in(before) != colons_in(body);
    for (const auto& [path, text] : edits.set) duplicates = duplicates || members_in(parsed(text)) != colons_in(text);
    if (duplicates) return;  // values keep one of each
    const auto expected = edited_value(before, edits);
    REQUIRE(expected && same(*expected, after));
}

void judge_paths(std::string_view edit_text, std::string_view target) {
    std::string fault;
    const std::string_view from = take_until(edit_text, " ");
    const auto edit = parse_path_edit(from, edit_text, fault);
    REQUIRE(edit.has_value() == fault.empty());
    const std::string_view path = target.substr(0, target.find('?'));
    if (!edit || !target.starts_with('/') || !judge_path(path).empty() || !parse_target("GET", target)) return;
    const std::string edited = edited_target(target, {*edit});
    REQUIRE(edited.starts_with('/') && edited.ends_with(target.substr(path.size())));
    REQUIRE(parse_target("GET", edited) && judge_path(edited.substr(0, edited.find('?'))).empty());
    const auto written = parse_json_path(from, fault);
    if (written) REQUIRE(to_text(*written) == from);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text = as_text(data, size);
    const std::string_view path_edit = take_line(text), target = take_line(text);
    const auto edits = json_edits_of(take_line(text));
    judge_paths(path_edit, target);
    std::string fault;
    if (edits && (edits->wrap.empty() || parse_json_path("$." + edits->wrap, fault))) judge_body(text, *edits);
    return 0;
}
