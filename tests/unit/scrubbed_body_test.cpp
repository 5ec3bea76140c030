#include "proxy/exchange/scrubbed_body.hpp"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "proxy/exchange/decoded_body.hpp"
#include "tests/support/run_task.hpp"

using namespace sluice;

namespace {

/// Gives what it was told to, one piece a call, each in memory that the next call takes away.
class Script final : public BodySource {
  public:
    Script& piece(std::string data) { return add({false, std::move(data)}); }
    /// Here nothing is at hand; `next` gives what follows.
    Script& pause() { return add({true, {}}); }
    Script& last(std::string data, const Fields* trailers = nullptr) {
        trailers_ = trailers;
        has_last_ = true;
        return piece(std::move(data));
    }
    Script& breaks() {
        breaks_ = true;
        return *this;
    }

    std::optional<Result<Chunk>> next_ready() override {
        if (!steps_.empty() && steps_.front().pause) return {};
        return give();
    }
    Task<Result<Chunk>> next(TimePoint) override {
        while (!steps_.empty() && steps_.front().pause) steps_.pop_front();
        ++waits;
        Result<Chunk> given = give();
        co_return given;
    }
    void interrupt() override { interrupted = true; }

    std::size_t left() const { return steps_.size(); }
    bool interrupted = false;
    int waits = 0;

  private:
    struct Step {
        bool pause;
        std::string data;
    };
    Script& add(Step step) {
        steps_.push_back(std::move(step));
        return *this;
    }
    Result<Chunk> give() {
        if (steps_.empty() && breaks_) return Failure{Origin::vendor, Reason::upstream_reset, Replay::unsafe, "reset"};
        if (steps_.empty()) return Chunk{{}, true, trailers_};
        std::fill(current_.begin(), current_.end(), '#');
        current_ = std::move(steps_.front().data);
        current_.shrink_to_fit();
        steps_.pop_front();
        const bool last = has_last_ && steps_.empty();
        return Chunk{current_, last, last ? trailers_ : nullptr};
    }

    std::deque<Step> steps_;
    std::string current_;
    const Fields* trailers_ = nullptr;
    bool has_last_ = false, breaks_ = false;
};

std::shared_ptr<const Needles> needles_of(std::string secret) {
    std::vector<Secret> secrets;
    secrets.emplace_back(std::move(secret));
    return std::make_shared<const Needles>(secrets);
}

/// One call of `next_ready`: what it gave; "-": nothing, "!...": a failure's detail.
std::string ready(BodySource& body) {
    const auto got = body.next_ready();
    if (!got) return "-";
    if (!got->has_value()) return "!" + got->error().detail;
    return std::string((*got)->data) + ((*got)->last ? "$" : "");
}
std::string waited(Loop& loop, BodySource& body) {
    const Result<Chunk> got = test::run(loop, body.next(never));
    if (!got) return "!" + got.error().detail;
    return std::string(got->data) + (got->last ? "$" : "");
}

struct Whole {
    std::string text;
    std::size_t largest = 0;
    std::optional<Failure> failure;
    const Fields* trailers = nullptr;
};
Whole read_whole(Loop& loop, BodySource& body) {
    Whole whole;
    for (;;) {
        std::optional<Result<Chunk>> got = body.next_ready();
        if (!got) got.emplace(test::run(loop, body.next(never)));
        if (!got->has_value()) {
            whole.failure = got->error();
            return whole;
        }
        whole.text.append((*got)->data);
        whole.largest = std::max(whole.largest, (*got)->data.size());
        whole.trailers = (*got)->trailers;
        if ((*got)->last) return whole;
    }
}

// ---- encoders

std::string deflated(const std::string& text, int window_bits, int flush = Z_FINISH) {
    z_stream z{};
    deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
    std::string out(text.size() + text.size() / 100 + 200, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    deflate(&z, flush);
    out.resize(out.size() - z.avail_out);
    deflateEnd(&z);
    return out;
}
std::string gzipped(const std::string& text) { return deflated(text, 15 + 16); }
std::string brotlied(const std::string& text) {
    std::size_t size = BrotliEncoderMaxCompressedSize(text.size()) + 64;
    std::string out(size, '\0');
    BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, text.size(), reinterpret_cast<const std::uint8_t*>(text.data()),
                          &size, reinterpret_cast<std::uint8_t*>(out.data()));
    out.resize(size);
    return out;
}
std::string zstded(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
    return out;
}
std::string coded(const std::string& text, Coding coding, bool bare = false) {
    switch (coding) {
    case Coding::gzip: return gzipped(text);
    case Coding::deflate: return deflated(text, bare ? -15 : 15);
    case Coding::br: return brotlied(text);
    case Coding::zstd: return zstded(text);
    }
    return {};
}
const Coding all_codings[] = {Coding::gzip, Coding::deflate, Coding::br, Coding::zstd};

Codings just(Coding coding) { return {{coding}, 1}; }

/// Words and noise, larger than any window on the way.
std::string sample(std::size_t size) {
    std::mt19937 random(7);
    std::string out;
    while (out.size() < size) {
        out += "line " + std::to_string(random()) + " of a body\n";
        if (random() % 4 == 0) out += static_cast<char>(random());
    }
    out.resize(size);
    return out;
}

Whole decode(Loop& loop, const Codings& codings, const std::string& bytes, std::size_t piece) {
    Script script;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        script.piece(bytes.substr(at, piece));
        if (at % 3 == 0) script.pause();
    }
    DecodedBody body;
    body.begin(script, codings);
    return read_whole(loop, body);
}

ResponseHead head_with(std::initializer_list<std::pair<const char*, const char*>> fields) {
    ResponseHead head;
    head.status = 200;
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    return head;
}

}  // namespace

// ---- scrubbed

TEST_CASE("a scrubbed body gives what is at hand at once, and nothing where nothing is") {
    Script script;
    script.piece("data: one\n\n").pause().piece("data: two\n\n").pause().last("");
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    Loop loop;
    CHECK(ready(body) == "data: one\n\n");
    CHECK(ready(body) == "-");
    CHECK(waited(loop, body) == "data: two\n\n");
    CHECK(ready(body) == "-");
    CHECK(waited(loop, body) == "$");
    CHECK(body.finds() == 0);
}

TEST_CASE("an end that could be in the midst of a secret waits, until more comes") {
    Script script;
    script.piece("a tail: secret-").piece("s").pause().piece("ecre! and on").piece("secret-").last("");
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    Loop loop;
    CHECK(ready(body) == "a tail: ");
    CHECK(ready(body) == "-");
    CHECK(waited(loop, body) == "secret-s");
    CHECK(ready(body) == "ecre! and ");
    CHECK(ready(body) == "onsecret-$");
}

TEST_CASE("an application that guesses at a secret sees the same pieces whether it guesses right or wrong") {
    const std::string secret = "secret-secret";
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{5}, secret.size() - 1}) {
        std::vector<std::vector<std::size_t>> seen;
        for (const bool right : {true, false}) {
            std::string guess = secret.substr(0, size);
            if (!right) guess.back() = guess.back() == 'x' ? 'y' : 'x';
            Script script;
            script.piece("no such item: " + guess).pause().piece(guess.substr(0, size / 2)).piece(guess + " and").pause().last(guess);
            ScrubbedBody body;
            body.begin(script, needles_of(secret));
            Loop loop;
            auto& pieces = seen.emplace_back();
            for (bool over = false; !over;) {
                auto got = body.next_ready();
                pieces.push_back(script.left());
                if (!got) got.emplace(test::run(loop, body.next(never)));
                REQUIRE(got->has_value());
                pieces.push_back((*got)->data.size());
                over = (*got)->last;
            }
        }
        CAPTURE(size);
        CHECK(seen[0] == seen[1]);
    }
}

TEST_CASE("a secret across pieces is masked, also where the body waits in the midst of it, and the length stays") {
    Script script;
    script.piece("<secret").pause().piece("-").piece("secre").pause().last("t>");
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    Loop loop;
    const Whole whole = read_whole(loop, body);
    CHECK(whole.text == "<*************>");
    CHECK(body.finds() == 1);
}

TEST_CASE("trailers are scrubbed and come with the last piece, whatever was held back") {
    Fields trailers;
    trailers.add("X-Sum", "1");
    trailers.add("X-Echo", "secret-secret");
    Script script;
    script.piece("secret").last("-end", &trailers);
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    Loop loop;
    const Whole whole = read_whole(loop, body);
    CHECK(whole.text == "secret-end");
    REQUIRE(whole.trailers);
    CHECK(whole.trailers->find("X-Sum") == "1");
    CHECK(whole.trailers->find("X-Echo") == "*************");
    CHECK(trailers.find("X-Echo") == "secret-secret");
    CHECK(body.finds() == 1);
}

TEST_CASE("what was found in one body is not counted again for an answer that is not searched") {
    Fields trailers;
    trailers.add("X-Echo", "secret-secret");
    Script script;
    script.piece("secret-secret").last("", &trailers);
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    Loop loop;
    read_whole(loop, body);
    CHECK(body.finds() == 2);
    body.end();
    CHECK(body.finds() == 0);
}

TEST_CASE("a failure comes through, interrupting goes through, and another body begins anew") {
    Script script;
    script.piece("secret-").breaks();
    ScrubbedBody body;
    body.begin(script, needles_of("secret-secret"));
    CHECK(ready(body) == "!reset");
    body.interrupt();
    CHECK(script.interrupted);
    body.end();

    Script other;
    other.last("secret");
    body.begin(other, needles_of("something else"));
    CHECK(ready(body) == "secret$");

    Script third;
    third.last("secret-secret");
    body.begin(third, nullptr);
    CHECK(ready(body) == "secret-secret$");
}

// ---- decoded

TEST_CASE("each coding is decoded, whatever the pieces, in windows") {
    Loop loop;
    const std::string text = sample(300'000);
    for (const Coding coding : all_codings) {
        const std::string bytes = coded(text, coding);
        for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{16'384}, bytes.size()}) {
            CAPTURE(name_of(coding), piece);
            const Whole whole = decode(loop, just(coding), bytes, piece);
            CHECK_FALSE(whole.failure);
            CHECK(whole.text == text);
            CHECK(whole.largest <= DecodedBody::window);
        }
        CHECK(decode(loop, just(coding), coded("", coding), 1).text == "");
        const Whole empty = decode(loop, just(coding), "", 1);   // said to be coded, but there is nothing
        CHECK_FALSE(empty.failure);
    }
}

TEST_CASE("deflate may be bare, gzip have members and zstd frames, and what follows them is left out") {
    Loop loop;
    const std::string text = sample(5'000);
    for (const std::size_t piece : {1, 2, 3, 1000}) {
        CAPTURE(piece);
        CHECK(decode(loop, just(Coding::deflate), coded(text, Coding::deflate, true), piece).text == text);
        CHECK(decode(loop, just(Coding::deflate), coded("", Coding::deflate, true), piece).text == "");
        CHECK(decode(loop, just(Coding::gzip), gzipped(text) + gzipped("") + gzipped("more"), piece).text == text + "more");
        CHECK(decode(loop, just(Coding::zstd), zstded(text) + zstded("more"), piece).text == text + "more");
        for (const Coding coding : {Coding::gzip, Coding::deflate, Coding::br}) {
            const Whole padded = decode(loop, just(coding), coded(text, coding) + std::string(9, '\0'), piece);
            CHECK_FALSE(padded.failure);
            CHECK(padded.text == text);
        }
    }
}

TEST_CASE("codings over codings come off in reverse") {
    Loop loop;
    const std::string text = sample(200'000);
    const Codings codings{{Coding::zstd, Coding::br, Coding::gzip}, 3};
    const std::string bytes = gzipped(brotlied(zstded(text)));
    for (const std::size_t piece : {std::size_t{5}, std::size_t{17 * 1024}}) {
        const Whole whole = decode(loop, codings, bytes, piece);
        CHECK_FALSE(whole.failure);
        CHECK(whole.text == text);
    }
}

TEST_CASE("what a flush made whole is given at once") {
    Loop loop;
    const std::string event = "data: an event\n\n";
    std::vector<std::pair<Coding, std::string>> flushed = {{Coding::gzip, deflated(event, 31, Z_SYNC_FLUSH)},
                                                           {Coding::deflate, deflated(event, 15, Z_SYNC_FLUSH)}};
    BrotliEncoderState* br = BrotliEncoderCreateInstance(nullptr, nullptr, nullptr);
    std::string out(1000, '\0');
    std::size_t in_size = event.size(), room = out.size();
    auto* in = reinterpret_cast<const std::uint8_t*>(event.data());
    auto* to = reinterpret_cast<std::uint8_t*>(out.data());
    BrotliEncoderCompressStream(br, BROTLI_OPERATION_FLUSH, &in_size, &in, &room, &to, nullptr);
    BrotliEncoderDestroyInstance(br);
    flushed.emplace_back(Coding::br, out.substr(0, out.size() - room));
    ZSTD_CCtx* zstd = ZSTD_createCCtx();
    ZSTD_inBuffer input{event.data(), event.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    ZSTD_compressStream2(zstd, &output, &input, ZSTD_e_flush);
    ZSTD_freeCCtx(zstd);
    flushed.emplace_back(Coding::zstd, out.substr(0, output.pos));

    for (const auto& [coding, bytes] : flushed) {
        CAPTURE(name_of(coding));
        Script script;
        script.piece(bytes).pause().last("");
        DecodedBody body;
        body.begin(script, just(coding));
        CHECK(ready(body) == event);
        CHECK(ready(body) == "-");
        CHECK(waited(loop, body).starts_with("!the vendor's body"));   // it goes on, but nothing comes
    }
}

TEST_CASE("a body that is no such coding, or ends before it does, is a failure in words") {
    Loop loop;
    const std::string text = sample(20'000);
    for (const Coding coding : all_codings) {
        CAPTURE(name_of(coding));
        const std::string whole = coded(text, coding);
        for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{9}, whole.size() / 2, whole.size() - 1}) {
            const Whole cut = decode(loop, just(coding), whole.substr(0, size), 100);
            REQUIRE(cut.failure);
            CHECK(cut.failure->origin == Origin::vendor);
            CHECK(cut.failure->reason == Reason::upstream_protocol);
            CHECK(cut.failure->detail.find(std::string(name_of(coding)) + ", ends too early") != std::string::npos);
            CHECK(text.starts_with(cut.text));
        }
        const Whole plain = decode(loop, just(coding), "<html>this was never coded, " + std::string(100, '\xff'), 10);
        REQUIRE(plain.failure);
        CHECK(plain.failure->reason == Reason::upstream_protocol);
        CHECK(plain.failure->detail.find("cannot be decoded: ") != std::string::npos);
    }
    std::string bent = gzipped(text);
    bent[bent.size() - 6] ^= 1;   // its checksum
    const Whole got = decode(loop, just(Coding::gzip), bent, 1000);
    REQUIRE(got.failure);
    CHECK(got.failure->detail.find("incorrect data check") != std::string::npos);
}

TEST_CASE("a bomb is decoded only as far as it is read") {
    Loop loop;
    const std::string bomb = gzipped(std::string(50'000'000, '\0'));
    for (const auto& [codings, bytes] : {std::pair{just(Coding::gzip), bomb}, {Codings{{Coding::gzip, Coding::br}, 2}, brotlied(bomb)}}) {
        Script script;
        script.piece(bytes).last("");
        DecodedBody body;
        body.begin(script, codings);
        for (int i = 0; i < 10; ++i) {
            const auto got = body.next_ready();
            REQUIRE(got);
            REQUIRE(got->has_value());
            CHECK((*got)->data.size() == DecodedBody::window);
        }
        CHECK(script.left() == 1);   // nothing more was taken
    }
}

TEST_CASE("codings over codings that come to nothing are a failure before they have cost anything") {
    Loop loop;
    std::string nothing;   // stored blocks without content
    for (int i = 0; i < 4'000'000; ++i) nothing.append("\0\0\0\xff\xff", 5);
    nothing.append("\3\0", 2);
    const std::string bytes = gzipped(nothing);
    const Whole got = decode(loop, {{Coding::deflate, Coding::gzip}, 2}, bytes, 16'384);
    REQUIRE(got.failure);
    CHECK(got.failure->detail.find("next to nothing") != std::string::npos);
    CHECK(got.text == "");
}

TEST_CASE("trailers come with a decoded body's end, failures and interruptions go through") {
    Loop loop;
    Fields trailers;
    trailers.add("X-Sum", "1");
    Script script;
    const std::string bytes = gzipped("text");
    script.piece(bytes.substr(0, 20)).pause().last(bytes.substr(20), &trailers);
    DecodedBody body;
    body.begin(script, just(Coding::gzip));
    const Whole whole = read_whole(loop, body);
    CHECK(whole.text == "text");
    CHECK(whole.trailers == &trailers);
    CHECK(ready(body) == "$");
    body.interrupt();
    CHECK(script.interrupted);

    Script broken;
    broken.piece(bytes.substr(0, 5)).breaks();
    body.begin(broken, just(Coding::gzip));
    CHECK(ready(body) == "!reset");
}

TEST_CASE("a secret is found in what was decoded") {
    Loop loop;
    const std::string text = sample(70'000) + "secret-secret" + sample(70'000);
    std::string expected = text;
    expected.replace(70'000, 13, 13, '*');
    for (const Coding coding : all_codings) {
        Script script;
        const std::string bytes = coded(text, coding);
        for (std::size_t at = 0; at < bytes.size(); at += 1000) script.piece(bytes.substr(at, 1000));
        DecodedBody decoded;
        decoded.begin(script, just(coding));
        ScrubbedBody body;
        body.begin(decoded, needles_of("secret-secret"));
        CHECK(read_whole(loop, body).text == expected);
    }
}

// ---- heads

TEST_CASE("the codings of a head are told in their order, unknown ones and parts are not") {
    const auto codings = codings_of(head_with({{"Content-Encoding", "GZip , identity,"}, {"content-encoding", "br"}}));
    REQUIRE(codings);
    REQUIRE(codings->count == 2);
    CHECK(codings->applied[0] == Coding::gzip);
    CHECK(codings->applied[1] == Coding::br);
    CHECK(codings_of(head_with({}))->count == 0);
    CHECK(codings_of(head_with({{"Content-Encoding", "identity"}}))->count == 0);
    CHECK(codings_of(head_with({{"Content-Encoding", "x-gzip, deflate, zstd"}}))->count == 3);
    CHECK_FALSE(codings_of(head_with({{"Content-Encoding", "gzip, gzip, gzip, gzip"}})));
    CHECK_FALSE(codings_of(head_with({{"Content-Encoding", "compress"}})));
    CHECK_FALSE(codings_of(head_with({{"Content-Encoding", "gzip, aws-chunked"}})));
    ResponseHead part = head_with({{"Content-Encoding", "gzip"}, {"Content-Range", "bytes 5-9/10"}});
    part.status = 206;
    CHECK_FALSE(codings_of(part));
}

TEST_CASE("the head of a decoded body says nothing of the bytes that it was") {
    ResponseHead head = head_with({{"Content-Encoding", "gzip"},
                                   {"Content-Length", "12"},
                                   {"ETag", "\"abc\""},
                                   {"Content-Digest", "sha-256=:x:"},
                                   {"Repr-Digest", "sha-256=:x:"},
                                   {"Accept-Ranges", "bytes"},
                                   {"Content-Type", "text/plain"}});
    prepare_decoded_head(head);
    CHECK(head.fields.size() == 2);
    CHECK(head.fields.find("ETag") == "W/\"abc\"");
    CHECK(head.fields.find("Content-Type") == "text/plain");
    prepare_decoded_head(head);
    CHECK(head.fields.find("ETag") == "W/\"abc\"");
}
