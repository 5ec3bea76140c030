// Small pure text functions that several rooms need: ASCII case, numbers with units, globs over paths, edit distance.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.hpp"

namespace sluice {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
/// 0 to 15, or -1 where `c` is no hexadecimal digit.
constexpr int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

/// Equal but for ASCII case (RFC 9110 5.1: field names).
bool same_text(std::string_view a, std::string_view b);
std::string to_lower(std::string_view text);
/// Without leading and trailing SP and HTAB.
std::string_view trimmed(std::string_view text);

/// All of `text` as an unsigned decimal: no sign, no space, no overflow; otherwise nothing.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

/// "250ms", "2s", "1m30s", "24h", "2d"; units ms s m h d, largest first, each at most once. Zero needs its unit too.
std::optional<Duration> parse_duration(std::string_view text);
/// What `parse_duration` reads back, in the largest units, those that are zero left out: "1m30s". Whole milliseconds; "0s" for none.
std::string format_duration(Duration duration);

/// "64KiB", "10MB", "512B": bytes. Units B, kB, KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).
std::optional<std::uint64_t> parse_size(std::string_view text);
/// What `parse_size` reads back, in the largest unit that divides it: "64KiB", "10MB", "1B".
std::string format_size(std::uint64_t bytes);

/// A path pattern: `*` is any run of characters inside one segment (alone it is one segment that is not empty), `**` any
/// number of segments, none included: "/v1/**" matches "/v1", "/v1/" and "/v1/a/b". Nothing is decoded: `%2F` is three
/// ordinary characters. Compiled once, matched without allocation, in time linear in pattern * path at worst.
class Glob {
  public:
    Glob() = default;
    explicit Glob(std::string pattern);
    bool matches(std::string_view path) const;
    const std::string& text() const { return text_; }

  private:
    std::string text_;
    std::vector<std::string> segments_;
};

/// The candidate nearest to `word` (Damerau-Levenshtein), if it is near enough to be what was meant.
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates);

/// `text` as the inside of a JSON string (RFC 8259 7), appended; bytes that are not UTF-8 become U+FFFD.
void append_json_escaped(std::string& out, std::string_view text);

/// "a, b" of its parts.
std::string joined(const std::vector<std::string>& parts, std::string_view between);

}  // namespace sluice
