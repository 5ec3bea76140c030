// Forms of text that more than one table of the language has: numbers with units, names, headers. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/rules.hpp"
#include "proxy/base/time.hpp"

namespace sluice {

inline constexpr std::string_view not_yet = "not implemented in this version of Sluice";

/// A lower floor's sentence about a text begins with the text, which the fault names already.
std::string about_it(const std::string& text, const std::string& sentence);

bool all_printable(std::string_view text);
/// At most 4096 bytes.
std::optional<std::string> parse_text(const std::string& text, std::string& why);
/// One line, not empty, at most 256 bytes.
std::optional<std::string> parse_line(const std::string& text, std::string& why);
std::optional<std::string> parse_file_name(const std::string& text, std::string& why);
/// At most 64 bytes that may stand before a value in a header.
std::optional<std::string> parse_prefix(const std::string& text, std::string& why);
/// A header that Sluice may set on a message: neither one of the connection nor one of Sluice's own.
std::optional<std::string> parse_header_name(const std::string& text, std::string& why);
std::string judge_header_name(std::string_view name);
/// "64KiB", from `least` to `most` bytes.
std::optional<std::uint64_t> parse_size_in(const std::string& text, std::uint64_t least, std::uint64_t most,
                                           std::string& why);
/// Why `name` cannot be a path segment and a metric label of ours; "" where it can.
std::string judge_name(std::string_view name);

/// "20%", "99.95%": from 0 to 100, at most nine places.
std::optional<double> parse_percent(std::string_view text);
/// What `parse_percent` reads back.
std::string format_percent(double share);

/// For the bounds of `parse_between`.
namespace in_ms {
inline constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
}

std::optional<Duration> parse_duration_in(const std::string& text, Duration least, Duration most, std::string& why);

template <std::int64_t least_ms, std::int64_t most_ms>
std::optional<Duration> parse_between(const std::string& text, std::string& why) {
    return parse_duration_in(text, std::chrono::milliseconds(least_ms), std::chrono::milliseconds(most_ms), why);
}

template <std::uint64_t least, std::uint64_t most>
std::optional<std::uint64_t> parse_size_between(const std::string& text, std::string& why) {
    return parse_size_in(text, least, most, why);
}

inline constexpr std::string_view duration_pattern = "([0-9]+(d|h|ms|m|s))+";
inline constexpr BooleanRule boolean_rule;
inline constexpr ScalarRule<std::string> line_rule{"a line of text", "", "", parse_line};
inline constexpr ScalarRule<std::string> file_name{"a file's name", "/run/secrets/key", "", parse_file_name};
inline constexpr ScalarRule<std::string> header_name{"a header's name", "x-api-key", "[A-Za-z0-9!#$%&'*+.^_`|~-]+",
                                                     parse_header_name};
inline constexpr NameForm header_names{"a header's name", "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", judge_header_name};

}  // namespace sluice
