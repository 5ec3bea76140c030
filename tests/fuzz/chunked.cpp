// The chunked decoder on any bytes, in whatever pieces they come: the same body, the same end, the same fault; and what
// a plain reading of RFC 9112 7.1 makes of the same bytes. The input's first byte says how it is split.
#include "proxy/http/chunked.hpp"

#include <algorithm>
#include <string>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

struct Decoded {
    std::string data;
    std::string trailers;
    std::size_t used = 0;
    bool done = false;
    std::string fault;

    bool operator==(const Decoded&) const = default;
};

/// Feeds pieces of 1 to `most` bytes, as `H1Channel::take` does: what was not used comes again, with more.
Decoded decode(std::string_view in, std::size_t most, std::uint32_t seed) {
    Decoded out;
    Fields trailers;
    ChunkedDecoder decoder;
    decoder.start(&trailers);
    std::size_t arrived = 0;
    while (!out.done && out.fault.empty()) {
        const std::string_view at_hand = in.substr(out.used, arrived - out.used);
        const ChunkedDecoder::Step step = decoder.decode(at_hand);
        REQUIRE(step.used <= at_hand.size() && step.data.size() <= step.used);
        if (!step.data.empty()) {
            REQUIRE(step.data.data() >= at_hand.data());
            REQUIRE(step.data.data() + step.data.size() <= at_hand.data() + step.used);
        }
        out.used += step.used;
        out.data += step.data;
        out.done = step.done;
        if (step.fault) out.fault = step.fault;
        REQUIRE(!(step.done && step.fault));
        if (step.used > 0 || step.done || step.fault) continue;
        if (arrived == in.size()) break;
        seed = seed * 1664525 + 1013904223;
        arrived = std::min(in.size(), arrived + 1 + (seed >> 16) % most);
    }
    if (out.done || !out.fault.empty()) {  // the end is the end
        const ChunkedDecoder::Step step = decoder.decode("0\r\n\r\n");
        REQUIRE(step.used == 0 && step.data.empty() && step.done == out.done);
    }
    if (!out.fault.empty()) out.data.clear();  // lost, and nobody says how much of it there was
    trailers.append_to(out.trailers);
    return out;
}

/// A line without its CRLF, taken from `in`; false: no line, or one with what no line may hold.
bool take_crlf_line(std::string_view& in, std::string_view& line) {
    const std::size_t end = in.find("\r\n");
    if (end == in.npos) return false;
    line = in.substr(0, end);
    in.remove_prefix(end + 2);
    return is_field_value(line);
}

/// Does `in` begin with a whole chunked body, and which? By lines, not by bytes.
bool read_plainly(std::string_view in, std::string& body, std::size_t& used) {
    const std::size_t size = in.size();
    std::string_view line;
    for (;;) {
        if (!take_crlf_line(in, line)) return false;
        const std::size_t digits = std::min(line.find(';'), line.size());
        if (digits == 0 || digits > 16 || line.size() > digits + 1 + 1024) return false;
        std::uint64_t length = 0;
        for (const char c : line.substr(0, digits)) {
            if (hex_value(c) < 0) return false;
            length = length * 16 + static_cast<unsigned>(hex_value(c));
        }
        if (length == 0) break;
        if (in.size() < length || in.substr(length, 2) != "\r\n") return false;
        body += in.substr(0, length);
        in.remove_prefix(length + 2);
    }
    std::size_t count = 0, bytes = 0;
    while (take_crlf_line(in, line)) {
        if (line.empty()) {
            used = size - in.size();
            return count <= 100 && bytes <= 8192;
        }
        ++count;
        bytes += line.size() + 2;
        if (!is_token(line.substr(0, line.find(':'))) || line.find(':') == line.npos) return false;
    }
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view in = as_text(data + 1, size - 1);
    const Decoded whole = decode(in, in.size() + 1, 0);
    REQUIRE(decode(in, 1, 0) == whole);
    REQUIRE(decode(in, 1 + data[0] % 32, data[0]) == whole);

    std::string body;
    std::size_t used = 0;
    const bool sound = read_plainly(in, body, used);
    REQUIRE(sound == whole.done);
    if (!sound) return 0;
    REQUIRE(body == whole.data && used == whole.used);

    std::string written;
    if (!body.empty()) {
        append_chunk_head(written, body.size());
        written += body + "\r\n";
    }
    written += "0\r\n" + whole.trailers + "\r\n";
    const Decoded again = decode(written, 7, data[0]);
    REQUIRE(again.done && again.data == body && again.trailers == whole.trailers && again.used == written.size());
    return 0;
}
