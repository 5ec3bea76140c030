// Secrets in anything, in whatever pieces it comes: what a plain search masks, by every kind of instruction. And bodies that are said to be coded: what
// is decoded of them stays within its bounds and does not depend on the pieces. The input: a byte that says which codings, one that says how the rest is
// split, a line that is the secret; what follows is the body.
#include "proxy/credentials/scrub.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/content_coding.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

struct Pieces {
    std::uint32_t seed;
    std::size_t most;
    std::size_t draw() {
        seed = seed * 1664525 + 1013904223;
        return (seed >> 16) % (most + 1);
    }
};

/// The secret as it is: what is certain to be masked. What else is masked is some form's.
void judge_scrubbed(std::string_view secret, std::string_view body, Pieces pieces) {
    std::vector<Secret> secrets;
    secrets.emplace_back(std::string(secret));
    std::string first;
    for (const auto search : {Needles::Search::scalar, Needles::Search::vector16, Needles::Search::avx2, Needles::Search::avx512}) {
        const auto needles = std::make_shared<const Needles>(secrets, search);
        std::string whole(body);
        const unsigned finds = needles->mask(whole);
        REQUIRE(whole.size() == body.size() && (finds > 0) == needles->occurs_in(body));
        if (secret.size() >= Needles::shortest) REQUIRE(whole.find(secret) == whole.npos || secret.find_first_not_of('*') == secret.npos);
        for (std::size_t i = 0; i < body.size(); ++i) REQUIRE(whole[i] == body[i] || (whole[i] == '*' && finds > 0));
        if (search == Needles::Search::scalar) first = whole;
        REQUIRE(whole == first);

        Scrubber scrubber;
        scrubber.begin(needles);
        std::string streamed;
        for (std::size_t at = 0;;) {
            const std::string piece(body.substr(at, pieces.draw()));   // of its own: whoever reads beyond it is seen
            at += piece.size();
            const auto passed = scrubber.feed(piece, at == body.size());
            streamed.append(passed.first).append(passed.second);
            REQUIRE(scrubber.held() < std::max<std::size_t>(needles->reach(), 1));
            if (at == body.size()) break;
        }
        REQUIRE(streamed == whole && scrubber.finds() == finds);
    }
}

struct Decoded {
    std::string text;
    bool fault = false, at_end = false;
};

constexpr std::size_t decoded_most = 1 << 20;   // a bomb is not decoded to its end

Decoded decode(Coding coding, std::string_view in, Pieces pieces, std::size_t room) {
    Decoder decoder(coding);
    Decoded out;
    std::vector<char> window(room);
    std::size_t at = 0;
    while (out.text.size() < decoded_most) {
        const std::string piece(in.substr(at, 1 + pieces.draw()));
        const Decoder::Step step = decoder.decode(piece, window);
        REQUIRE(step.used <= piece.size() && step.made <= window.size());
        at += step.used;
        out.text.append(window.data(), step.made);
        out.fault = step.fault != nullptr;
        if (out.fault) return out;
        REQUIRE(step.made == window.size() || step.used == piece.size());
        if (step.used == 0 && step.made == 0) break;
    }
    out.text.resize(std::min(out.text.size(), decoded_most));
    out.at_end = decoder.at_end();
    return out;
}

void judge_decoded(Coding coding, std::string_view body, Pieces pieces) {
    const Decoded whole = decode(coding, body, {1, body.size()}, 64 * 1024), split = decode(coding, body, pieces, 1 + pieces.most);
    const auto cut = [](const Decoded& decoded) { return decoded.text.size() >= decoded_most; };
    if (whole.fault || split.fault || cut(whole) || cut(split)) {
        // How much came before a fault is nobody's promise, and a fault about where decoding was cut is met or not as the windows fall.
        REQUIRE(whole.fault == split.fault || cut(whole) || cut(split));
        REQUIRE(whole.text.starts_with(split.text) || split.text.starts_with(whole.text));
    } else {
        REQUIRE(whole.text == split.text && whole.at_end == split.at_end);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const Pieces pieces{data[1], data[1] + std::size_t{1}};
    std::string_view rest = as_text(data + 2, size - 2);
    if (data[0] % 5 < 4) {
        judge_decoded(static_cast<Coding>(data[0] % 5), rest, pieces);
        return 0;
    }
    const std::string_view secret = take_line(rest);
    judge_scrubbed(secret, rest, pieces);
    return 0;
}
