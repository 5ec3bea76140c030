// A reader of JSON (RFC 8259) that goes by: fed in pieces of any size, it tells of each scalar and where it stands, and
// keeps nothing but the path to it. Bounded whatever it is fed: 16 levels of keys are known, deeper ones are only
// counted; of a key 31 bytes, of a scalar 127 are kept. It is lenient about what does not matter for finding values
// (control characters in strings, bytes that are no UTF-8), and stops at what cannot be JSON. Pure; one thread.
//
//     while (const JsonScan::Value* value = scan.next(piece)) {
//         if (value->kind == JsonScan::Value::Kind::number && scan.at({"usage", "total_tokens"})) ...
//     }
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace sluice {

class JsonScan {
  public:
    static constexpr std::size_t most_levels = 1024;  // deeper is no JSON to us
    static constexpr std::size_t most_keys = 16;      // levels whose keys are known
    static constexpr std::size_t most_key = 31, most_text = 127;

    struct Value {
        enum class Kind : unsigned char { string, number, word };  // word: true, false, null

        Kind kind = Kind::word;
        std::string_view text;   // escapes undone, cut after `most_text` bytes
        std::uint64_t size = 0;  // bytes of all of it
    };

    /// For a new document.
    void start();

    /// Reads on at the front of `piece`, which loses what was read, to the end of the next scalar. Null: the piece is
    /// used up, or the document has ended, or failed. The value and the path to it are valid until the next call.
    const Value* next(std::string_view& piece);
    /// Nothing more comes: a number may end so, where it is all of the document.
    const Value* finish();
    /// Where the text was cut inside a string that is a value: what has come of it. Else null.
    const Value* cut();

    /// It is no JSON; nothing more is read.
    bool failed() const { return state_ == State::failed; }
    /// The document is whole; what is behind it is left in the piece.
    bool done() const { return state_ == State::done; }
    /// Not a byte of it but white space has come.
    bool blank() const { return state_ == State::value && depth_ == 0; }

    /// How many objects and arrays the value stands in.
    std::size_t depth() const { return depth_; }
    bool in_array(std::size_t level) const { return level < depth_ && arrays_[level]; }
    /// The key at a level from 0; "" in an array, or where it is too long or too deep to be known.
    std::string_view key(std::size_t level) const;
    /// The value stands at that path below `from`; "" stands for any place in an array.
    bool at(std::initializer_list<std::string_view> path, std::size_t from = 0) const {
        return depth_ == from + path.size() && under(path, from);
    }
    /// ... or deeper.
    bool under(std::initializer_list<std::string_view> path, std::size_t from = 0) const;

  private:
    enum class State : unsigned char {
        value,        // must come
        first_value,  // or the array ends
        first_key,    // or the object ends
        key,          // must come
        colon,
        after_value,
        string,
        escape,
        unicode,
        number,
        word,
        done,
        failed
    };
    struct Key {
        unsigned char size = 0;
        std::array<char, most_key> text;
    };

    bool take(char c);
    void begin_value(char c);
    void open(bool array);
    void close(bool array);
    void begin(State state);
    bool end_string();
    void take_plain(std::string_view& piece);
    void take_escape(char c);
    void take_unicode(char c);
    void append(char c);
    void append_code_unit(unsigned unit);
    const Value* tell(Value::Kind kind);
    bool is_word() const;
    void fail() { state_ = State::failed; }

    State state_ = State::value;
    bool is_key_ = false;  // the string that is being read
    unsigned char digits_ = 0;
    unsigned unit_ = 0;  // of \uXXXX
    std::size_t depth_ = 0;
    std::size_t size_ = 0;  // of the text that is being read; the first part of it is in text_
    Value value_;
    std::bitset<most_levels> arrays_;
    std::array<Key, most_keys> keys_;
    std::array<char, most_text> text_;
};

}  // namespace sluice
