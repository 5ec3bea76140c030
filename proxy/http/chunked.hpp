// The chunked transfer coding, decoded in place (RFC 9112 7.1), strictly: CRLF only, at most 16 hex digits and no overflow, chunk extensions up to
// 1 KiB a chunk and thrown away, trailers up to a given size and 100 fields. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/http/fields.hpp"

namespace sluice {

class ChunkedDecoder {
  public:
    struct Step {
        std::size_t used = 0;        // bytes of the input that are done with
        std::string_view data;       // body bytes, a view into the input; may be empty
        bool done = false;           // the closing empty line has been read
        const char* fault = nullptr; // what is wrong, in words; the message is lost, whatever else the step holds
    };

    /// For the next message. `trailers` (null: thrown away) receives the trailer fields but those that RFC 9110 6.5.1 keeps out of
    /// trailers (`may_be_trailer`).
    void start(Fields* trailers, std::size_t max_trailer_bytes = 8192);

    /// Goes on with `in`. Returns one piece of data a step, with the framing before and after it: the last piece may come with `done`.
    /// used == 0 with neither data, done nor fault means: more input is needed. Size lines and trailer lines are consumed as they
    /// come, so that the caller never has to keep them.
    Step decode(std::string_view in);
    /// What `decode` would find wrong with this, were it what comes next; null: nothing yet.
    const char* fault_in(std::string_view in) const;

  private:
    enum class State : unsigned char {
        size_first, size, extension, size_lf, data, data_cr, data_lf, trailer_start, trailer, trailer_lf, end_lf, done, failed
    };
    // Each takes one byte (or line) of framing and returns what is wrong with it, or null.
    const char* take(char c);
    const char* take_size(char c);
    const char* take_extension(char c);
    const char* take_trailer(char c);
    const char* end_of_trailer_line();
    const char* expect(char c, char expected, State next);

    State state_ = State::size_first;
    std::uint64_t left_ = 0;
    unsigned digits_ = 0;
    std::size_t extension_bytes_ = 0;
    std::size_t trailer_bytes_ = 0;
    std::size_t max_trailer_bytes_ = 8192;
    unsigned trailer_count_ = 0;
    std::string line_;
    Fields* trailers_ = nullptr;
};

/// Appends "<hex size>\r\n": what goes before a chunk. "\r\n" follows its data.
void append_chunk_head(std::string& out, std::uint64_t size);

}  // namespace sluice
