#include "proxy/http/target.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

Failure bad_target(std::string_view what) {
    return {Origin::application, Reason::bad_request, Replay::safe, std::string(what)};
}

std::string_view judge_characters(std::string_view target) {
    const auto is_refused = [](char c) { return c == '#' || static_cast<unsigned char>(c - '!') > '~' - '!'; };
    bool any = false;  // nearly never, so that the loop needs no way out of its middle
    for (char c : target) any |= is_refused(c);
    if (!any) return {};
    const char first = *std::find_if(target.begin(), target.end(), is_refused);
    return first == '#' ? "a fragment in the request target" : "a space, a control or a byte outside ASCII in the request target";
}

std::optional<Scheme> take_scheme(std::string_view& text) {
    for (Scheme scheme : {Scheme::http, Scheme::https}) {
        const std::size_t length = name_of(scheme).size();
        if (!same_text(text.substr(0, length), name_of(scheme)) || text.substr(length, 3) != "://") continue;
        text.remove_prefix(length + 3);
        return scheme;
    }
    return {};
}

Result<Target> parse_connect_target(std::string_view target) {
    auto authority = parse_authority(target, 0);
    if (!authority) return authority.error();
    if (authority->port == 0) return bad_target("a CONNECT target without a port");
    Target out;
    out.form = Target::Form::authority;
    out.authority = std::move(*authority);
    return out;
}

}  // namespace

Result<Target> parse_target(std::string_view method, std::string_view target) {
    if (const auto fault = judge_characters(target); !fault.empty()) return bad_target(fault);
    if (method == "CONNECT") return parse_connect_target(target);
    Target out;
    if (target == "*" && method == "OPTIONS") {
        out.form = Target::Form::asterisk;
        return out;
    }
    if (target.starts_with('/')) {
        out.rest = target;
        return out;
    }
    const auto scheme = take_scheme(target);
    if (!scheme) return bad_target("a request target that is neither a path nor an http:// or https:// URL");
    const auto ends = std::find_if(target.begin(), target.end(), [](char c) { return c == '/' || c == '?'; });
    const auto end = static_cast<std::size_t>(ends - target.begin());
    auto authority = parse_authority(target.substr(0, end), default_port(*scheme));
    if (!authority) return authority.error();
    out.form = Target::Form::absolute;
    out.scheme = *scheme;
    out.authority = std::move(*authority);
    out.rest = target.substr(end);
    return out;
}

std::string_view judge_path(std::string_view path) {
    std::size_t dots = 0;  // of the segment so far
    bool only_dots = true;
    const auto is_dot_segment = [&] { return only_dots && (dots == 1 || dots == 2); };
    for (std::size_t i = 0; i < path.size(); ++i) {
        int c = static_cast<unsigned char>(path[i]);
        if (c == '\\') return "a backslash in the path";
        if (c == '%') {
            const int high = i + 2 < path.size() ? hex_value(path[i + 1]) : -1;
            const int low = i + 2 < path.size() ? hex_value(path[i + 2]) : -1;
            if (high < 0 || low < 0) return "a percent escape without two hexadecimal digits in the path";
            c = high * 16 + low;
            i += 2;
        }
        if (c == '\0') return "a NUL in the path";
        if (c == '/' || c == '\\') {
            if (is_dot_segment()) break;
            dots = 0;
            only_dots = true;
        } else if (c == '.') {
            ++dots;
        } else {
            only_dots = false;
        }
    }
    return is_dot_segment() ? "a dot segment in the path" : std::string_view{};
}

namespace {

// Scheme, authority and what follows it, as written.
std::optional<Url> parse_url(std::string_view text, std::string& fault, std::string_view ends_authority) {
    const auto refuse = [&](std::string_view why) {
        fault = why;
        return std::nullopt;
    };
    if (text.find('#') != text.npos) return refuse("a fragment in a URL that takes none");
    std::string_view rest = text;
    const auto scheme = take_scheme(rest);
    if (!scheme) return refuse("not a URL such as https://host/prefix");
    const std::size_t end = std::min(rest.find_first_of(ends_authority), rest.size());
    auto authority = parse_authority(rest.substr(0, end), default_port(*scheme));
    if (!authority) return refuse(authority.error().detail);
    const std::string_view whole = rest.substr(end);
    if (!judge_characters(whole).empty()) return refuse("a space, a control or a byte outside ASCII in a URL");
    if (const auto what = judge_path(whole.substr(0, whole.find('?'))); !what.empty()) return refuse(what);
    return Url{*scheme, std::move(*authority), std::string(whole)};
}

}  // namespace

std::optional<Url> parse_base_url(std::string_view text, std::string& fault) {
    if (text.find('?') != text.npos) {
        fault = "a query in a URL that takes none";
        return {};
    }
    auto url = parse_url(text, fault, "/");
    while (url && url->prefix.ends_with('/')) url->prefix.pop_back();
    return url;
}

std::optional<Url> parse_resource_url(std::string_view text, std::string& fault) {
    auto url = parse_url(text, fault, "/?");
    if (url && !url->prefix.starts_with('/')) url->prefix.insert(0, 1, '/');
    return url;
}

}  // namespace sluice
