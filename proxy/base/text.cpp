#include "proxy/base/text.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace sluice {

namespace {

/// Eight bytes at once, each as `lower` does it: bytes from 0x80 on stay.
std::uint64_t lower_word(std::uint64_t word) {
    constexpr std::uint64_t every = 0x0101010101010101ull, high = 0x80 * every;
    const std::uint64_t low = word & ~high;
    const std::uint64_t from_a = low + (0x80 - 'A') * every, above_z = low + (0x7F - 'Z') * every;
    return word | ((from_a & ~above_z & ~word & high) >> 2);
}

template <class Word>
std::uint64_t load(const char* at) {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

}  // namespace

bool same_text(std::string_view a, std::string_view b) {
    const std::size_t size = a.size();
    if (size != b.size()) return false;
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        if (lower_word(load<std::uint64_t>(a.data() + i)) != lower_word(load<std::uint64_t>(b.data() + i))) return false;
    }
    for (; i + 4 <= size; i += 4) {
        if (lower_word(load<std::uint32_t>(a.data() + i)) != lower_word(load<std::uint32_t>(b.data() + i))) return false;
    }
    for (; i < size; ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

std::string to_lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = lower(c);
    return out;
}

std::string_view trimmed(std::string_view text) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

namespace {

constexpr auto npos = std::string_view::npos;

/// Takes the digits at the front of `text`; nothing where there are none or they do not fit.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    constexpr std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t value = 0;
    std::size_t used = 0;
    for (; used < text.size() && is_digit(text[used]); ++used) {
        const auto digit = static_cast<std::uint64_t>(text[used] - '0');
        if (value > (max - digit) / 10) return {};
        value = value * 10 + digit;
    }
    if (used == 0) return {};
    text.remove_prefix(used);
    return value;
}

struct TimeUnit {
    std::string_view name;
    std::int64_t nanoseconds;
};
constexpr std::array<TimeUnit, 5> time_units{{
    {"d", std::chrono::nanoseconds(24h).count()},
    {"h", std::chrono::nanoseconds(1h).count()},
    {"m", std::chrono::nanoseconds(1min).count()},
    {"s", std::chrono::nanoseconds(1s).count()},
    {"ms", std::chrono::nanoseconds(1ms).count()},
}};

}  // namespace

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
    const auto value = take_number(text);
    return text.empty() ? value : std::nullopt;
}

std::optional<Duration> parse_duration(std::string_view text) {
    std::int64_t total = 0;
    std::size_t next = 0;  // the largest unit that may still come
    if (text.empty()) return {};
    while (!text.empty()) {
        const auto count = take_number(text);
        if (!count) return {};
        const std::string_view name = text.substr(0, std::min(text.find_first_of("0123456789"), text.size()));
        while (next < time_units.size() && time_units[next].name != name) ++next;
        if (next == time_units.size()) return {};
        const auto room = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() - total);
        const std::int64_t unit = time_units[next++].nanoseconds;
        if (*count > room / static_cast<std::uint64_t>(unit)) return {};
        total += static_cast<std::int64_t>(*count) * unit;
        text.remove_prefix(name.size());
    }
    return Duration(total);
}

std::string format_duration(Duration duration) {
    std::int64_t left = std::max<std::int64_t>(duration.count(), 0);
    std::string out;
    for (const TimeUnit& unit : time_units) {
        if (left < unit.nanoseconds) continue;
        out += std::to_string(left / unit.nanoseconds);
        out += unit.name;
        left %= unit.nanoseconds;
    }
    return out.empty() ? "0s" : out;
}

namespace {

struct SizeUnit {
    std::string_view name;
    std::uint64_t bytes;
};
constexpr std::array<SizeUnit, 8> size_units{{  // by size
    {"B", 1},
    {"KB", 1000},
    {"kB", 1000},
    {"KiB", 1ull << 10},
    {"MB", 1000'000},
    {"MiB", 1ull << 20},
    {"GB", 1000'000'000},
    {"GiB", 1ull << 30},
}};

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto count = take_number(text);
    if (!count) return {};
    for (const SizeUnit& unit : size_units) {
        if (text != unit.name) continue;
        if (*count > std::numeric_limits<std::uint64_t>::max() / unit.bytes) return {};
        return *count * unit.bytes;
    }
    return {};
}

std::string format_size(std::uint64_t bytes) {
    std::size_t unit = 0;
    for (std::size_t i = 0; i < size_units.size(); ++i)
        if (bytes > 0 && bytes % size_units[i].bytes == 0) unit = i;
    return std::to_string(bytes / size_units[unit].bytes) + std::string(size_units[unit].name);
}

// ---- Glob

namespace {

/// One segment. On a mismatch only the latest `*` takes one more character: what an earlier one could still take, the
/// latest can take as well, so the time is bounded by the product of the lengths.
bool matches_segment(std::string_view pattern, std::string_view text) {
    if (pattern == "*") return !text.empty();
    std::size_t p = 0, t = 0, star = npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

std::size_t end_of_segment(std::string_view path, std::size_t at) {
    return std::min(path.find('/', at), path.size());
}

}  // namespace

Glob::Glob(std::string pattern) : text_(std::move(pattern)) {
    for (std::size_t at = 0; at <= text_.size();) {
        const std::size_t end = end_of_segment(text_, at);
        segments_.push_back(text_.substr(at, end - at));
        at = end + 1;
    }
}

// The same walk as in matches_segment, with whole segments for characters and `**` for `*`.
bool Glob::matches(std::string_view path) const {
    std::size_t s = 0, at = 0, star = npos, resume = 0;
    while (at <= path.size()) {  // past the end: no segment is left
        const std::size_t end = end_of_segment(path, at);
        if (s < segments_.size() && segments_[s] == "**") {
            star = s++;
            resume = at;
        } else if (s < segments_.size() && matches_segment(segments_[s], path.substr(at, end - at))) {
            ++s;
            at = end + 1;
        } else if (star != npos) {
            s = star + 1;
            at = resume = end_of_segment(path, resume) + 1;
        } else {
            return false;
        }
    }
    while (s < segments_.size() && segments_[s] == "**") ++s;
    return s == segments_.size();
}

// ---- nearest

namespace {

constexpr std::size_t longest_word = 64;  // a longer one is no misspelt key

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours. Letter case counts for
/// nothing.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::array<std::array<std::size_t, longest_word + 1>, 3> rows{};
    auto *before = &rows[0], *above = &rows[1], *row = &rows[2];
    for (std::size_t j = 0; j <= b.size(); ++j) (*above)[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        (*row)[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = (*above)[j - 1] + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
            (*row)[j] = std::min({(*above)[j] + 1, (*row)[j - 1] + 1, replaced});
            const bool swapped =
                i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
            if (swapped) (*row)[j] = std::min((*row)[j], (*before)[j - 2] + 1);
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return (*above)[b.size()];
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
    if (word.empty() || word.size() > longest_word) return {};
    // A third of the word may be wrong, and never all of it: a wild guess is worse than none.
    std::size_t best = std::min((word.size() + 2) / 3, word.size() - 1) + 1;
    std::optional<std::string_view> found;
    for (std::string_view candidate : candidates) {
        if (candidate.size() > longest_word) continue;
        const std::size_t distance = edit_distance(word, candidate);
        if (distance >= best) continue;
        best = distance;
        found = candidate;
    }
    return found;
}

// ---- JSON

namespace {

constexpr std::uint64_t every_byte(unsigned char c) {
    return 0x0101010101010101ull * c;
}
/// Not 0 where one of the eight bytes is below `n` (n <= 128).
constexpr std::uint64_t any_below(std::uint64_t word, unsigned char n) {
    return (word - every_byte(n)) & ~word & every_byte(0x80);
}
constexpr std::uint64_t any_equal(std::uint64_t word, unsigned char c) {
    return any_below(word ^ every_byte(c), 1);
}

bool is_plain(char c) {
    return c >= 0x20 && static_cast<unsigned char>(c) < 0x80 && c != '"' && c != '\\';
}

/// How many bytes at the front stand for themselves in a JSON string. Eight at a time: nearly every text is plain.
std::size_t plain_run(std::string_view text) {
    std::size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        std::uint64_t word;
        std::memcpy(&word, text.data() + i, 8);
        const std::uint64_t high = word & every_byte(0x80);
        if (high | any_below(word, 0x20) | any_equal(word, '"') | any_equal(word, '\\')) break;
    }
    while (i < text.size() && is_plain(text[i])) ++i;
    return i;
}

/// The length of the UTF-8 sequence at the front (RFC 3629: no overlong form, no surrogate, nothing past U+10FFFF), or
/// 0.
std::size_t utf8_sequence(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto continues = [&](std::size_t i, unsigned from = 0x80, unsigned to = 0xBF) {
        return i < text.size() && byte(i) >= from && byte(i) <= to;
    };
    const unsigned first = byte(0);
    if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool second = continues(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
        return second && continues(2) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool second = continues(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
        return second && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

void append_escape(std::string& out, char c) {
    switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: out += c < 0x10 ? "\\u000" : "\\u001"; out += "0123456789abcdef"[c & 0xF];
    }
}

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
    while (true) {
        const std::size_t plain = plain_run(text);
        out.append(text.substr(0, plain));
        text.remove_prefix(plain);
        if (text.empty()) return;
        std::size_t used = 1;
        if (static_cast<unsigned char>(text[0]) < 0x80) {
            append_escape(out, text[0]);
        } else if (const std::size_t sequence = utf8_sequence(text); sequence > 0) {
            out.append(text.substr(0, sequence));
            used = sequence;
        } else {
            out += "\xEF\xBF\xBD";
        }
        text.remove_prefix(used);
    }
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
    std::string out;
    for (const std::string& part : parts) {
        if (&part != &parts.front()) out.append(between);
        out.append(part);
    }
    return out;
}

}  // namespace sluice
