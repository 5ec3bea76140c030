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

/// What a search that knows no allowance masks, and whether ours may have used up its own (4096 bytes and more), after which it masks too much rather than
/// too little: how much depends on the pieces.
struct Plain {
    std::string masked;
    bool laborious = false;
};

Plain search_plainly(std::string_view secret, std::string_view body) {
    Plain plain{std::string(body)};
    if (secret.size() < Needles::shortest) return plain;
    std::size_t work = 0;
    for (const Secret& form : forms_of(Secret(std::string(secret)))) {
        const std::string_view bytes = form.reveal();
        for (std::size_t at = 0; at + bytes.size() <= body.size(); ++at) {
            const auto agreed = static_cast<std::size_t>(std::mismatch(bytes.begin(), bytes.end(), body.begin() + static_cast<std::ptrdiff_t>(at)).first - bytes.begin());
            if (bytes.size() > 64) work += agreed / 64 * 64;
            if (agreed == bytes.size()) plain.masked.replace(at, agreed, agreed, '*');
        }
    }
    const bool in_lines = body.find('\n') != body.npos || body.find("\\n") != body.npos;   // forms with breaks in them are masked too, and not known here
    plain.laborious = work > 4096 || in_lines;
    return plain;
}

bool masks_all_of(const std::string& masked, const std::string& least, std::string_view body) {
    for (std::size_t i = 0; i < body.size(); ++i)
        if (masked[i] != '*' && (masked[i] != body[i] || masked[i] != least[i])) return false;
    return masked.size() == body.size();
}

void judge_scrubbed(std::string_view secret, std::string_view body, Pieces pieces) {
    std::vector<Secret> secrets;
    secrets.emplace_back(std::string(secret));
    const Plain plain = search_plainly(secret, body);
    std::string first;
    for (const auto search : {Needles::Search::scalar, Needles::Search::vector16, Needles::Search::avx2, Needles::Search::avx512}) {
        const auto needles = std::make_shared<const Needles>(secrets, search);
        std::string whole(body);
        const unsigned finds = needles->mask(whole);
        REQUIRE((finds > 0) == needles->occurs_in(body));
        REQUIRE(plain.laborious ? masks_all_of(whole, plain.masked, body) : whole == plain.masked);
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
            REQUIRE(scrubber.held() == needles->open_end(body.substr(0, at)));   // which knows nothing of the secret but its class
        }
        REQUIRE(plain.laborious ? masks_all_of(streamed, plain.masked, body) : streamed == whole && scrubber.finds() == finds);
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
