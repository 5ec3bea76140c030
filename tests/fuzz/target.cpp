// Request targets, paths and the policy's own URLs: what is accepted is written again to the same, and no path is
// accepted that somebody further on would take for another one. The input's first line is the method, the second the
// target.
#include "proxy/http/target.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "proxy/base/text.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

std::string url(Scheme scheme, const Authority& authority, std::string_view rest) {
    return std::string(name_of(scheme)) + "://" + authority.text(scheme) + std::string(rest);
}

void judge_target(std::string_view method, std::string_view text) {
    const Result<Target> target = parse_target(method, text);
    if (!target) {
        REQUIRE(target.error().origin == Origin::application && target.error().reason == Reason::bad_request);
        REQUIRE(!target.error().detail.empty());
        return;
    }
    for (const char c : text) REQUIRE(c > ' ' && c < 0x7F && c != '#');
    REQUIRE((method == "CONNECT") == (target->form == Target::Form::authority));
    REQUIRE(text.ends_with(target->rest));
    std::string written;
    switch (target->form) {
    case Target::Form::origin: REQUIRE(target->rest == text && text.starts_with('/')); return;
    case Target::Form::asterisk: REQUIRE(method == "OPTIONS" && text == "*" && target->rest.empty()); return;
    case Target::Form::authority:
        REQUIRE(target->authority.port != 0 && target->rest.empty());
        written = target->authority.text();
        break;
    case Target::Form::absolute:
        REQUIRE(target->rest.empty() || target->rest[0] == '/' || target->rest[0] == '?');
        written = url(target->scheme, target->authority, target->rest);
        break;
    }
    const Result<Target> again = parse_target(method, written);
    REQUIRE(again && again->form == target->form && again->scheme == target->scheme);
    REQUIRE(again->authority == target->authority && again->rest == target->rest);
}

/// Percent escapes decoded once; nothing: one of them is none.
std::optional<std::string> decoded(std::string_view path) {
    std::string out;
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path[i] != '%') {
            out.push_back(path[i]);
            continue;
        }
        if (path.size() - i < 3 || hex_value(path[i + 1]) < 0 || hex_value(path[i + 2]) < 0) return {};
        out.push_back(static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2])));
        i += 2;
    }
    return out;
}

/// The plainest reading of what a path may not hold.
bool is_sound(std::string_view path) {
    const auto text = decoded(path);
    if (!text || text->find('\0') != text->npos || path.find('\\') != path.npos) return false;
    for (std::size_t at = 0; at <= text->size();) {
        const std::size_t end = std::min(text->find_first_of("/\\", at), text->size());
        const std::string segment = text->substr(at, end - at);
        if (segment == "." || segment == "..") return false;
        at = end + 1;
    }
    return true;
}

void judge_base_url(std::string_view text) {
    std::string fault;
    const auto base = parse_base_url(text, fault);
    REQUIRE(base.has_value() == fault.empty());
    if (!base) return;
    REQUIRE(base->prefix.empty() || (base->prefix.starts_with('/') && !base->prefix.ends_with('/')));
    REQUIRE(is_sound(base->prefix));
    const auto again = parse_base_url(url(base->scheme, base->authority, base->prefix), fault);
    REQUIRE(again && again->scheme == base->scheme && again->authority == base->authority);
    REQUIRE(again->prefix == base->prefix);
    // What the data plane puts together of it is a path that it would take itself.
    const std::string joined = base->prefix + "/x";
    REQUIRE(judge_path(joined).empty() && parse_target("GET", joined));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text = as_text(data, size);
    const std::string_view method = take_line(text);
    judge_target(method, text);
    REQUIRE(judge_path(text).empty() == is_sound(text));
    judge_base_url(text);
    return 0;
}
