// The aws-chunked resigner on any bytes, in whatever pieces they come: the same body, the same end, the same fault;
// what is taken is what a plain reading of the framing takes, and only the signatures change. The input's first byte
// says how it is split and whether a signed trailer is due.
#include "proxy/credentials/aws_chunked.hpp"

#include <algorithm>
#include <string>

#include "proxy/base/text.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

struct Signed {
    std::string out;
    std::string fault;

    bool operator==(const Signed&) const = default;
};

AwsChunkedResigner machine(bool trailer) {
    AwsSigned seed;
    seed.key = hash_of(HashAlgorithm::sha256, "key");
    seed.time = "20130524T000000Z";
    seed.scope = "20130524/us-east-1/s3/aws4_request";
    seed.signature = std::string(64, '1');
    return {seed, trailer};
}

Signed resign(std::string_view in, bool trailer, std::size_t most, std::uint32_t seed) {
    AwsChunkedResigner resigner = machine(trailer);
    Signed result;
    std::size_t pushed = 0;
    while (!in.empty() && result.fault.empty()) {
        seed = seed * 1664525 + 1013904223;
        const std::string_view piece = in.substr(0, 1 + (seed >> 16) % most);
        in.remove_prefix(piece.size());
        pushed += piece.size();
        if (const auto taken = resigner.push(piece); !taken) result.fault = taken.error().detail;
        while (!resigner.ready().empty()) {
            const std::string_view some = resigner.ready().substr(0, 1 + (seed >> 8) % 50);
            result.out += some;
            resigner.consume(some.size());
        }
        REQUIRE(result.out.size() <= pushed);
    }
    if (result.fault.empty()) {
        if (const auto finished = resigner.finish(); !finished) result.fault = finished.error().detail;
        REQUIRE(resigner.done() == result.fault.empty());
    }
    if (!result.fault.empty()) REQUIRE(!resigner.push("0").has_value());
    return result;
}

/// `in` with every signature as 64 zeros, as far as it is chunks and their end: by finding, not by states.
bool blank_plainly(std::string& in, bool trailer) {
    std::size_t at = 0;
    const auto blank = [&in](std::size_t from) {
        if (in.size() < from + 66 || in.compare(from + 64, 2, "\r\n") != 0) return false;
        for (std::size_t i = from; i < from + 64; ++i) {
            if (hex_value(in[i]) < 0) return false;
            in[i] = '0';
        }
        return true;
    };
    for (std::uint64_t size = 1; size > 0;) {
        const std::size_t semicolon = in.find(';', at);
        if (semicolon == in.npos || semicolon == at || semicolon - at > 16) return false;
        size = 0;
        for (; at < semicolon; ++at) {
            if (hex_value(in[at]) < 0) return false;
            size = size * 16 + static_cast<unsigned>(hex_value(in[at]));
        }
        constexpr std::string_view extension = ";chunk-signature=";
        if (in.compare(at, extension.size(), extension) != 0 || !blank(at + extension.size())) return false;
        at += extension.size() + 66;
        if (size == 0) break;
        if (in.size() - at < size || in.compare(at + size, 2, "\r\n") != 0) return false;
        at += size + 2;
    }
    if (!trailer) return in.compare(at, in.npos, "\r\n") == 0;
    std::string lowered = in;
    for (char& c : lowered) c = lower(c);
    const std::size_t last = in.size() < 68 ? 0 : in.size() - 68;
    return last > at && in.ends_with("\r\n\r\n") && blank(last) && lowered.find("x-amz-trailer-signature:", at) < last;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const bool trailer = data[0] % 2 == 1;
    const std::string_view in = as_text(data + 1, size - 1);
    const Signed whole = resign(in, trailer, in.size() + 1, 0);
    REQUIRE(resign(in, trailer, 1, 0) == whole);
    REQUIRE(resign(in, trailer, 1 + data[0] % 32, data[0]) == whole);

    std::string before(in), after(whole.out);
    const bool sound = blank_plainly(before, trailer);
    if (!trailer) REQUIRE(sound == whole.fault.empty());
    if (!whole.fault.empty()) return 0;
    REQUIRE(sound && blank_plainly(after, trailer));
    REQUIRE(before == after);
    REQUIRE(resign(whole.out, trailer, 7, data[0]) == whole);  // what stood in the signatures' places does not matter
    return 0;
}
