#include "proxy/policy/access.hpp"

#include <algorithm>

#include "proxy/http/head.hpp"
#include "proxy/http/target.hpp"
#include "proxy/policy/lenient_path.hpp"

namespace sluice {

namespace {

constexpr std::size_t longest_shown_path = 200;

/// What is wrong with a list of methods, or empty. `*` alone is any method.
std::string take_methods(std::string_view list, std::vector<std::string>& methods) {
    if (list == "*") return {};
    while (true) {
        const std::size_t end = std::min(list.find('|'), list.size());
        const std::string_view method = list.substr(0, end);
        if (method == "*") return "'*' stands alone: it is any method already";
        const bool lower_case = std::any_of(method.begin(), method.end(), [](char c) { return c >= 'a' && c <= 'z'; });
        if (!is_token(method)) return "'" + std::string(method) + "' is not a method";
        if (lower_case) return "methods are written in upper case: '" + std::string(method) + "'";
        methods.emplace_back(method);
        if (end == list.size()) return {};
        list.remove_prefix(end + 1);
    }
}

/// Why a path pattern could never match, or would not mean what it looks like; or empty.
std::string judge_glob(std::string_view path) {
    if (!path.starts_with('/')) return "the path begins with '/'";
    if (path.find('?') != path.npos) return "a pattern is matched against the path alone, without '?' and a query";
    for (char c : path) {
        if (c <= ' ' || static_cast<unsigned char>(c) >= 0x7F || c == '#') {
            return "a path holds no space, control, '#' or byte outside ASCII: write it percent-encoded";
        }
    }
    for (std::size_t at = path.find("**"); at != path.npos; at = path.find("**", at + 2)) {
        const bool whole = path[at - 1] == '/' && (at + 2 == path.size() || path[at + 2] == '/');
        if (!whole) return "'**' stands for whole segments: write it between slashes, as in '/v1/**'";
    }
    const std::string_view fault = judge_path(path);
    return fault.empty() ? std::string{} : "such a path is always refused: " + std::string(fault);
}

std::string shown(std::string_view path) {
    if (path.size() <= longest_shown_path) return std::string(path);
    return std::string(path.substr(0, longest_shown_path)) + "...";
}

}  // namespace

bool RequestPattern::matches(std::string_view method, std::string_view request_path) const {
    const bool method_fits = methods.empty() || std::find(methods.begin(), methods.end(), method) != methods.end();
    return method_fits && path.matches(request_path);
}

std::optional<RequestPattern> parse_request_pattern(std::string_view text, std::string& fault) {
    const auto refuse = [&](const std::string& why) {
        fault = "'" + std::string(text) + "' is not a pattern such as 'GET|POST /v1/**': " + why;
        return std::nullopt;
    };
    RequestPattern pattern;
    const std::size_t space = text.find(' ');
    if (space == text.npos) return refuse("a method (or '*'), one space and a path are expected");
    if (std::string why = take_methods(text.substr(0, space), pattern.methods); !why.empty()) return refuse(why);
    const std::string_view path = text.substr(space + 1);
    if (path.starts_with(' ')) return refuse("exactly one space separates the methods from the path");
    if (std::string why = judge_glob(path); !why.empty()) return refuse(why);
    pattern.path = Glob(std::string(path));
    pattern.text = text;
    return pattern;
}

Verdict judge_access(const AccessRules& rules, std::string_view vendor, std::string_view method,
                     std::string_view path) {
    const auto whose = [&] { return " of vendor '" + std::string(vendor) + "'"; };
    if (!rules.deny.empty()) {
        const auto lenient = lenient_reading(path);
        for (const RequestPattern& rule : rules.deny) {
            if (!rule.matches(method, path) && !(lenient && rule.matches(method, *lenient))) continue;
            return Verdict::refuse({Reason::not_allowed, "deny rule '" + rule.text + "'" + whose(), {}});
        }
    }
    if (rules.allow.empty()) return Verdict::allow();
    for (const RequestPattern& rule : rules.allow) {
        if (rule.matches(method, path)) return Verdict::allow();
    }
    const std::string asked = shown(std::string(method) + " " + std::string(path));
    return Verdict::refuse({Reason::not_allowed, "no allow rule" + whose() + " matches " + asked, {}});
}

}  // namespace sluice
