// The text of a policy file, and the faults found in it. Pure; used by the other files of this room during one load.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/decode.hpp"

namespace sluice {

/// As yaml-cpp counts: from 0, the column in bytes.
struct Position {
    std::uint32_t line = 0, column = 0;

    auto operator<=>(const Position&) const = default;
};

struct SourceFile {
    std::string path;
    std::string text;       // without a byte order mark
    std::size_t order = 0;  // of reading: faults are reported in it
    std::vector<std::size_t> line_starts;

    SourceFile(std::string path, std::string text, std::size_t order);
    /// Without its line break; "" beyond the end.
    std::string_view line(std::uint32_t number) const;
    /// The byte at which a position is.
    std::size_t offset(Position at) const;
    Position position(std::size_t offset) const;
    /// "policy.yaml:12:5"
    std::string place(Position at) const;
};

/// A byte that no policy and no variable in it may hold, and what it is: not UTF-8, a control character other than tab
/// and line feed, a carriage return alone. yaml-cpp would end a document at U+0004 and guess at encodings.
std::optional<std::pair<std::size_t, std::string_view>> judge_text(std::string_view text);

/// 'text' for a message: cut when long, and without what could move a terminal's cursor.
std::string shown(std::string_view text);

/// Collects faults and the places of plain-text secrets; only at the end, when all secrets are known, are source lines
/// copied.
class FaultList {
  public:
    void add(const SourceFile& file, Position at, std::string message, bool warning = false);
    /// Of a file as a whole.
    void add(const std::string& path, std::string message);
    /// What stands there is a secret in plain text: no fault shows it.
    void mask(const SourceFile& file, Position from, Position to);

    /// In the order of files, lines and columns; at most 1,000, and one that says how many more there are.
    std::vector<Fault> finish();
    bool failed() const { return failed_; }

  private:
    struct Found {
        const SourceFile* file;  // null: of the file `path` as a whole
        std::string path;
        Position at;
        std::string message;
        bool warning;
    };
    using Span = std::pair<std::size_t, std::size_t>;
    /// The line, each masked span as "***"; `at` moves along.
    std::string without_secrets(const SourceFile& file, std::uint32_t number, std::size_t& at) const;
    /// From 1, in characters.
    std::size_t column_of(const SourceFile& file, Position at);
    void fill_source(Fault& fault, const Found& found);

    std::vector<Found> found_;
    std::size_t left_out_ = 0;
    bool failed_ = false;
    const SourceFile* counted_file_ = nullptr;
    Position counted_;
    std::size_t counted_characters_ = 0;
    std::map<std::pair<const SourceFile*, std::uint32_t>, std::vector<Span>> masked_;  // by line: the columns
};

}  // namespace sluice
