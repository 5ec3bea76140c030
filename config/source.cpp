#include "config/source.hpp"

#include <algorithm>
#include <tuple>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

constexpr std::size_t max_faults = 1000;
constexpr std::size_t max_shown = 64;        // bytes of a value in a message
constexpr std::size_t max_source = 160;      // bytes of a line in a fault
constexpr std::size_t source_lead = 100;     // of them before the caret
constexpr std::size_t max_looked_at = 2048;  // bytes on each side of a fault in which secrets are masked

bool continues(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

/// The first byte of U+0080 to U+009F, which are controls too: C2 80 to C2 9F.
bool is_high_control(std::string_view text, std::size_t i) {
    return text[i] == '\xC2' && i + 1 < text.size() && continues(text[i + 1]) && text[i + 1] < '\xA0';
}

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

/// Where the value of a key that sounds like a secret begins in a line, unless it is a reference; npos: nowhere. A
/// fault may stand in a line that was never decoded, because its syntax is broken or its key unknown.
std::size_t suspect_value(std::string_view line) {
    static constexpr std::string_view words[] = {"value", "password", "passwd",       "secret",
                                                 "token", "key",      "authorization"};
    for (auto colon = line.find(':'); colon != std::string_view::npos; colon = line.find(':', colon + 1)) {
        std::string_view key = line.substr(0, colon);
        while (!key.empty() && (key.back() == ' ' || key.back() == '"' || key.back() == '\'')) key.remove_suffix(1);
        const std::string lowered = to_lower(key.substr(key.size() - std::min<std::size_t>(key.size(), 16)));
        if (std::none_of(std::begin(words), std::end(words), [&](auto word) { return lowered.ends_with(word); }))
            continue;
        const auto value = line.find_first_not_of(" \t", colon + 1);
        if (value != std::string_view::npos && line[value] != '{' && line[value] != '#') return value;
    }
    return std::string_view::npos;
}

/// The nearest start of a character at or before `at`.
std::size_t character_start(std::string_view text, std::size_t at) {
    at = std::min(at, text.size());
    while (at > 0 && at < text.size() && continues(text[at])) --at;
    return at;
}

/// Without what could move a terminal's cursor.
std::string escaped(std::string_view text) {
    static constexpr char hex[] = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool control = is_control(c) || is_high_control(text, i) || (i > 0 && is_high_control(text, i - 1));
        if (c == '\n')
            out += "\\n";
        else if (control)
            out += {'\\', 'x', hex[static_cast<unsigned char>(c) >> 4], hex[c & 15]};
        else
            out += c;
    }
    return out;
}

/// A line for a terminal, byte for byte as long as it was.
void make_printable(std::string& line) {
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (is_control(line[i]) && line[i] != '\t') line[i] = '?';
        // U+0080 to U+009F become a middle dot, U+00B7.
        if (is_high_control(line, i)) line[i + 1] = '\xB7';
    }
    if (!judge_text(line)) return;
    for (char& c : line)
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
}

}  // namespace

std::optional<std::pair<std::size_t, std::string_view>> judge_text(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))
            return {{i, "a carriage return without a line feed"}};
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) return {{i, "a control character"}};
        if (c < 0x80) {
            ++i;
            continue;
        }
        const std::size_t size = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        if (c < 0xC2 || c > 0xF4 || text.size() - i < size) return {{i, "not UTF-8"}};
        std::uint32_t point = c & (0xFFu >> (size + 1));
        for (std::size_t k = 1; k < size; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xC0) != 0x80) return {{i, "not UTF-8"}};
            point = point << 6 | (next & 0x3Fu);
        }
        const bool overlong = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
        if (overlong || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return {{i, "not UTF-8"}};
        if (point < 0xA0 || point == 0xFFFE || point == 0xFFFF || point == 0xFEFF) return {{i, "a control character"}};
        i += size;
    }
    return {};
}

SourceFile::SourceFile(std::string path_, std::string text_, std::size_t order_)
    : path(std::move(path_)), text(std::move(text_)), order(order_), line_starts{0} {
    if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '\n') line_starts.push_back(i + 1);
}

std::string_view SourceFile::line(std::uint32_t number) const {
    if (number >= line_starts.size()) return {};
    const std::size_t end = number + 1 < line_starts.size() ? line_starts[number + 1] - 1 : text.size();
    std::string_view found = std::string_view{text}.substr(line_starts[number], end - line_starts[number]);
    if (found.ends_with('\r')) found.remove_suffix(1);
    return found;
}

std::size_t SourceFile::offset(Position at) const {
    if (at.line >= line_starts.size()) return text.size();
    return std::min(line_starts[at.line] + at.column, text.size());
}

Position SourceFile::position(std::size_t at) const {
    const auto next = std::upper_bound(line_starts.begin(), line_starts.end(), at);
    const auto number = static_cast<std::uint32_t>(next - line_starts.begin() - 1);
    return {number, static_cast<std::uint32_t>(at - line_starts[number])};
}

std::string SourceFile::place(Position at) const {
    const auto column = characters(line(at.line).substr(0, at.column)) + 1;
    return path + ":" + std::to_string(at.line + 1) + ":" + std::to_string(column);
}

std::string shown(std::string_view text) {
    if (text.size() <= max_shown) return "'" + escaped(text) + "'";
    return "'" + escaped(text.substr(0, character_start(text, max_shown))) + "...'";
}

void FaultList::add(const SourceFile& file, Position at, std::string message, bool warning) {
    failed_ = failed_ || !warning;
    if (found_.size() >= max_faults)
        ++left_out_;
    else
        found_.push_back({&file, file.path, at, std::move(message), warning});
}

void FaultList::add(const std::string& path, std::string message) {
    failed_ = true;
    if (found_.size() >= max_faults)
        ++left_out_;
    else
        found_.push_back({nullptr, path, {}, std::move(message), false});
}

void FaultList::mask(const SourceFile& file, Position from, Position to) {
    const auto last = std::min<std::size_t>(to.line, file.line_starts.size() - 1);
    for (std::uint32_t number = from.line; number <= last; ++number) {
        const std::size_t begin = number == from.line ? from.column : 0;
        const std::size_t end = number == to.line ? to.column : std::string_view::npos;
        if (begin >= end) continue;
        // What stands between a value's end and the next node on its line is no secret; masking it would only hide the
        // place.
        const std::string_view span = file.line(number).substr(0, end);
        if (number != from.line && span.find_first_not_of(" -?,]}") == span.npos) continue;
        masked_[{&file, number}].emplace_back(begin, end);
    }
}

std::string FaultList::without_secrets(const SourceFile& file, std::uint32_t number, std::size_t& at) const {
    // Of a line of megabytes (a policy may be JSON) only the surroundings are looked at.
    const std::string_view whole = file.line(number);
    at = std::min(at, whole.size());
    const std::size_t from = at > max_looked_at ? character_start(whole, at - max_looked_at) : 0;
    const std::string_view line = whole.substr(from, 2 * max_looked_at);
    at -= from;

    std::vector<Span> spans;
    if (const auto found = masked_.find({&file, number}); found != masked_.end())
        for (const auto& [begin, end] : found->second)
            if (end > from) spans.emplace_back(begin - std::min(begin, from), std::min(end - from, line.size()));
    if (const auto begin = suspect_value(line); spans.empty() && begin != std::string::npos)
        spans.emplace_back(begin, line.size());
    std::sort(spans.begin(), spans.end());

    std::string out;
    std::size_t done = 0, at_out = std::string::npos;
    for (auto [begin, end] : spans) {
        begin = std::max(begin, done);
        if (begin >= end) continue;
        while (end > begin + 1 && end < line.size() && (line[end - 1] == ' ' || line[end - 1] == ',')) --end;
        if (at < begin && at_out == std::string::npos) at_out = out.size() + (at - done);
        out += line.substr(done, begin - done);
        if (at < end && at_out == std::string::npos) at_out = out.size();
        out += "***";  // always three: not even the length is told
        done = end;
    }
    if (at_out == std::string::npos) at_out = out.size() + (at - done);
    out += line.substr(done);
    at = at_out;
    return out;
}

std::size_t FaultList::column_of(const SourceFile& file, Position at) {
    // Faults come sorted: on a line of megabytes each goes on counting where the one before it ended.
    if (counted_file_ != &file || counted_.line != at.line || counted_.column > at.column) {
        counted_file_ = &file;
        counted_ = {at.line, 0};
        counted_characters_ = 0;
    }
    const std::string_view line = file.line(at.line);
    const std::size_t end = std::min<std::size_t>(at.column, line.size());
    if (end > counted_.column) counted_characters_ += characters(line.substr(counted_.column, end - counted_.column));
    counted_.column = static_cast<std::uint32_t>(end);
    return counted_characters_ + 1;
}

void FaultList::fill_source(Fault& fault, const Found& found) {
    fault.column = static_cast<int>(column_of(*found.file, found.at));

    std::size_t at = found.at.column;
    std::string safe = without_secrets(*found.file, found.at.line, at);
    make_printable(safe);
    const std::size_t begin =
        safe.size() <= max_source || at <= source_lead ? 0 : character_start(safe, at - source_lead);
    const std::size_t end = character_start(safe, begin + max_source);
    const std::string lead = begin > 0 ? "..." : "";
    fault.caret = static_cast<int>(lead.size() + characters(std::string_view{safe}.substr(begin, at - begin))) + 1;
    fault.source = lead + safe.substr(begin, end - begin) + (end < safe.size() ? "..." : "");
}

std::vector<Fault> FaultList::finish() {
    const auto place_of = [](const Found& found) { return std::tuple{found.file ? found.file->order : 0, found.at}; };
    std::stable_sort(found_.begin(), found_.end(),
                     [&](const Found& a, const Found& b) { return place_of(a) < place_of(b); });
    std::vector<Fault> faults;
    for (Found& found : found_) {
        Fault fault;
        fault.file = std::move(found.path);
        fault.message = escaped(found.message);
        fault.warning = found.warning;
        if (found.file) {
            fault.line = static_cast<int>(found.at.line) + 1;
            fill_source(fault, found);
        }
        faults.push_back(std::move(fault));
    }
    if (left_out_ > 0) {
        Fault more;
        more.file = faults.back().file;
        more.message = "and " + std::to_string(left_out_) + " more faults, not shown";
        faults.push_back(std::move(more));
    }
    return faults;
}

std::string Fault::text() const {
    std::string out = file;
    if (line > 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
    out += warning ? ": warning: " : ": ";
    out += message;
    if (source.empty()) return out;
    out += "\n  " + source + "\n  ";
    // A tab stays a tab, so that the caret stands under its character whatever the terminal makes of tabs.
    int left = caret - 1;
    for (std::size_t i = 0; i < source.size() && left > 0; ++i) {
        if (continues(source[i])) continue;
        out += source[i] == '\t' ? '\t' : ' ';
        --left;
    }
    return out + "^";
}

}  // namespace sluice
