// YAML text into a tree of nodes with their places: YAML 1.2's core types on top of yaml-cpp's events, which are closer
// to 1.1. Faults of the language itself are found here: syntax, duplicate keys, merge keys, undefined anchors, several
// documents, too much of anything. Pure.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "config/source.hpp"

namespace sluice {

struct Node {
    enum class Kind : unsigned char {
        null,
        scalar,
        sequence,
        map,
        broken,  // its fault has been reported: accepted in silence wherever it stands
    };
    Kind kind = Kind::null;
    bool plain = false;        // a scalar that is neither quoted nor tagged as text: its text decides its type
    bool open = false;         // still being read: an alias to it would make a circle
    std::uint64_t weight = 1;  // nodes in it, aliases followed
    const SourceFile* file = nullptr;
    Position at, end;                // `end`: where the next node begins
    std::string text;                // of a scalar
    std::vector<const Node*> items;  // of a sequence; of a map: key, value, key, value

    /// Of a map: where in `items` this key is; npos: it is not written.
    std::size_t find(std::string_view key) const;
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
};

struct YamlBounds {
    std::size_t depth = 64;
    std::uint64_t nodes = 4'000'000;  // left for all files of a load, as written and as aliases expand them
};

struct YamlTree {
    const Node* root = nullptr;  // null: the document is empty, or the syntax is broken
    bool sound = false;          // the syntax is
};

/// Nodes live in `arena`. Faults go to `faults`; a tree with faults of the language may still be sound and worth
/// decoding.
YamlTree parse_yaml(const SourceFile& file, std::deque<Node>& arena, YamlBounds& bounds, FaultList& faults);

/// What a plain scalar is in YAML 1.2's core schema (10.3.2), and what it would have been to another reader.
enum class CoreType : unsigned char {
    text,
    null,
    boolean,
    integer,
    floating,
    octal_looking,  // 017, 0o17: not the same number to every reader
    yes_or_no,      // yes, on, y: text here, a boolean to a YAML 1.1 reader
};
CoreType core_type(std::string_view plain);

}  // namespace sluice
