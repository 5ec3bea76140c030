// Where the words of a command go: coloured on a terminal that wants colours, plain otherwise. One thread.
#pragma once

#include <ostream>
#include <string>
#include <string_view>

namespace sluice {

enum class Colour : unsigned char { red, yellow, green, cyan, bold, dim };

/// One stream of a command, and what is known of its reader.
class Console {
  public:
    /// `terminal`: a person reads it. `coloured`: with escape sequences.
    Console(std::ostream& stream, bool terminal, bool coloured)
        : stream_(stream), terminal_(terminal), coloured_(coloured) {}
    /// Of a file descriptor: coloured where it is a terminal, TERM is not "dumb" and NO_COLOR is unset or empty
    /// (no-color.org).
    static Console of(std::ostream& stream, int fd);

    bool terminal() const { return terminal_; }
    std::string paint(Colour colour, std::string_view text) const;

    template <class T>
    Console& operator<<(const T& value) {
        stream_ << value;
        return *this;
    }
    /// Has everything been written so far?
    bool flush() { return stream_.flush().good(); }

  private:
    std::ostream& stream_;
    bool terminal_;
    bool coloured_;
};

/// Both streams of a command.
struct Streams {
    Console out;
    Console err;
};

/// What a command's process ends with.
enum class Exit : int { fine = 0, failure = 1, usage = 2, bad_policy = 78 };
constexpr int code_of(Exit exit) {
    return static_cast<int>(exit);
}

/// How what is there to be read is written.
enum class Output : unsigned char { text, json };

/// `text` in double quotes, escaped (RFC 8259 7): a JSON string, and a YAML one.
std::string quoted(std::string_view text);

}  // namespace sluice
