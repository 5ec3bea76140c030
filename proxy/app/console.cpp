#include "proxy/app/console.hpp"

#include <unistd.h>

#include <cstdlib>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

std::string_view variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? std::string_view(value) : std::string_view();
}

std::string_view escape_of(Colour colour) {
    switch (colour) {
    case Colour::red: return "\x1b[1;31m";
    case Colour::yellow: return "\x1b[1;33m";
    case Colour::green: return "\x1b[32m";
    case Colour::cyan: return "\x1b[36m";
    case Colour::bold: return "\x1b[1m";
    case Colour::dim: return "\x1b[2m";
    }
    return "";
}

}  // namespace

Console Console::of(std::ostream& stream, int fd) {
    const bool terminal = ::isatty(fd) == 1;
    return Console(stream, terminal, terminal && variable("NO_COLOR").empty() && variable("TERM") != "dumb");
}

std::string Console::paint(Colour colour, std::string_view text) const {
    if (!coloured_) return std::string(text);
    std::string painted(escape_of(colour));
    painted += text;
    painted += "\x1b[0m";
    return painted;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    append_json_escaped(out, text);
    out += '"';
    return out;
}

}  // namespace sluice
