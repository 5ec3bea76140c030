#include "proxy/telemetry/tame_text.hpp"

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

// What JSON lets stand but a terminal or a reader obeys: DEL, the C1 controls (U+009B begins an escape sequence), the
// line separators, and the marks that turn the direction of text. The code point, if one begins here.
unsigned obeyed_at(std::string_view text, std::size_t at, std::size_t& bytes) {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
    };
    bytes = 1;
    if (byte(0) == 0x7f) return 0x7f;
    bytes = 2;
    if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) <= 0x9f) return byte(1);
    if (byte(0) == 0xd8 && byte(1) == 0x9c) return 0x061c;
    bytes = 3;
    if (byte(0) != 0xe2 || (byte(1) & 0xc0) != 0x80 || (byte(2) & 0xc0) != 0x80) return 0;
    const unsigned point = 0x2000 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    const bool obeyed = point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
                        (point >= 0x2066 && point <= 0x2069);
    return obeyed ? point : 0;
}

}  // namespace

void append_tamed(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::size_t done = 0, bytes = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const unsigned point = obeyed_at(text, at, bytes);
        if (point == 0) continue;
        append_json_escaped(out, text.substr(done, at - done));
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out += digits[point >> shift & 0xf];
        done = at + bytes;
        at = done - 1;
    }
    append_json_escaped(out, text.substr(done));
}

std::string_view cut(std::string_view text, std::size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
    return text.substr(0, most);
}

}  // namespace sluice
