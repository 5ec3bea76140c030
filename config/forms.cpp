#include "config/forms.hpp"

#include <algorithm>
#include <charconv>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

bool all_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

std::optional<std::string> parse_line(const std::string& text, std::string& why) {
    const bool control =
        std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (!text.empty() && text.size() <= 256 && !control) return text;
    why = text.empty() ? "it is empty"
          : control    ? "it holds a line break or a control character"
                       : "it is longer than 256 bytes";
    return {};
}

std::optional<std::string> parse_file_name(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 4095 && text.find('\0') == text.npos) return text;
    why = text.empty() ? "it is empty" : "it is too long, or holds a NUL";
    return {};
}

std::optional<std::string> parse_prefix(const std::string& text, std::string& why) {
    if (text.size() <= 64 && all_printable(text)) return text;
    why = "it is at most 64 printable ASCII characters";
    return {};
}

/// A lower floor's sentence about a text begins with the text, which the fault names already.
std::string about_it(const std::string& text, const std::string& sentence) {
    const std::string lead = "'" + text + "' ";
    return sentence.starts_with(lead) ? "it " + sentence.substr(lead.size()) : sentence;
}

std::optional<std::string> parse_header_name(const std::string& text, std::string& why) {
    const Known known = classify(text);
    if (!is_token(text) || text.size() > 128) {
        why = "a header's name is letters, digits and '-'";
    } else if (known == Known::sluice) {
        why = "Sluice- headers are Sluice's own";
    } else if (is_hop_by_hop(known) || known == Known::host || known == Known::content_length ||
               known == Known::expect) {
        why = "that header belongs to the connection";
    } else {
        return text;
    }
    return {};
}

std::string judge_header_name(std::string_view name) {
    std::string why;
    parse_header_name(std::string(name), why);
    return why;
}

std::optional<std::uint64_t> parse_size_in(const std::string& text, std::uint64_t least, std::uint64_t most,
                                           std::string& why) {
    const auto size = parse_size(text);
    if (size && *size >= least && *size <= most) return size;
    why = size                  ? "it must be from " + format_size(least) + " to " + format_size(most)
          : parse_decimal(text) ? "it has no unit (did you mean '" + text + "B'?)"
                                : "write it as 512B, 64KiB or 10MB";
    return {};
}

std::string judge_name(std::string_view name) {
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '-'; };
    if (name == "_other") return "it stands for all that no vendor has";
    const bool first = !name.empty() && fits(name.front()) && name.front() != '_' && name.front() != '-';
    if (first && name.size() <= 63 && std::all_of(name.begin(), name.end(), fits)) return {};
    const std::string lowered = to_lower(name);
    return "1 to 63 of a-z, 0-9, '-' and '_', the first a letter or a digit" +
           (lowered != name && judge_name(lowered).empty() ? " (did you mean '" + lowered + "'?)" : std::string());
}

std::optional<double> parse_percent(std::string_view text) {
    if (!text.ends_with('%')) return {};
    text.remove_suffix(1);
    const auto dot = std::min(text.find('.'), text.size());
    const std::string_view whole = text.substr(0, dot), fraction = text.substr(std::min(dot + 1, text.size()));
    const bool digits = parse_decimal(whole) && std::all_of(fraction.begin(), fraction.end(), is_digit) &&
                        fraction.size() <= 9 && !text.ends_with('.');
    if (!digits) return {};
    double percent = 0;
    std::from_chars(text.data(), text.data() + text.size(), percent);
    if (percent > 100) return {};
    return percent / 100;
}

std::string format_percent(double share) {
    char digits[32];
    char* end = std::to_chars(digits, digits + sizeof digits, share * 100, std::chars_format::fixed, 9).ptr;
    while (end[-1] == '0') --end;
    if (end[-1] == '.') --end;
    return std::string(digits, end) + "%";
}

std::optional<Duration> parse_duration_in(const std::string& text, Duration least, Duration most, std::string& why) {
    const auto duration = parse_duration(text);
    if (!duration) {
        const auto number = parse_decimal(text);
        why = number ? "it has no unit (did you mean '" + std::to_string(*number) + "s'?)"
                     : std::string("write it as 250ms, 2s, 1m30s or 24h");
        return {};
    }
    if (*duration >= least && *duration <= most) return duration;
    why = "it must be from " + format_duration(least) + " to " + format_duration(most);
    return {};
}

std::optional<std::string> parse_text(const std::string& text, std::string& why) {
    constexpr std::size_t most = 4096;
    if (text.size() <= most) return text;
    why = "it is longer than 4096 bytes";
    return {};
}

}  // namespace sluice
