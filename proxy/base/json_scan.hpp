// A reader of JSON (RFC 8259) that goes by: fed in pieces of any size, it tells of each scalar and where it stands, and
// keeps nothing but the path to it. Bounded whatever it is fed: `most_depth` levels of keys are known, deeper ones are
// only counted; of a key 31 bytes, of a scalar 127 are kept. It is lenient about what does not matter for finding
// values, and stops at what cannot be JSON. Pure; one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace sluice {

class JsonScan {
  public:
    static constexpr std::size_t most_depth = 16;
    static constexpr std::size_t most_levels = 4096;  // deeper: not JSON to us
    static constexpr std::size_t most_key = 31, most_text = 127;

    struct Value {
        enum class Kind : unsigned char { string, number, word };  // word: true, false, null

        Kind kind = Kind::word;
        std::string_view text;   // escapes undone, cut after `most_text` bytes; valid inside the call
        std::uint64_t size = 0;  // bytes of all of it
    };

    /// Ready for a new document.
    void start() { *this = JsonScan{}; }

    /// Reads on. `sink(JsonScan&, const Value&)` is called for each scalar, while the path says where it stands. False:
    /// this is no JSON, nothing more is read.
    template <class Sink>
    bool feed(std::string_view piece, Sink&& sink);
    /// The document is whole (a number at its very end is told now). False: it is not.
    template <class Sink>
    bool finish(Sink&& sink);

    bool failed() const { return state_ == State::failed; }
    /// The closing bracket of the document was read.
    bool done() const { return state_ == State::done; }

    /// How many levels of objects and arrays the value stands in.
    std::size_t depth() const { return depth_; }
    /// The key at a level from 0; "" inside an array, or where the key is too long or too deep to be known.
    std::string_view key(std::size_t level) const;
    /// Does the value stand at that path? "" stands for any element of an array.
    bool at(std::initializer_list<std::string_view> path) const { return depth_ == path.size() && under(path); }
    /// ... or below it?
    bool under(std::initializer_list<std::string_view> path) const;

  private:
    enum class State : unsigned char {
        value,
        first_key,
        key_or_end,
        key,
        after_key,
        after_value,
        string,
        escape,
        unicode,
        number,
        word,
        done,
        failed
    };
    struct Level {
        bool is_array = false;
        unsigned char size = 0;
        std::array<char, most_key> key{};
    };

    State state_ = State::value;
    bool is_kept_ = true;
    std::size_t depth_ = 0;
};

}  // namespace sluice
