#include "proxy/http/chunked.hpp"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace std::string_literals;

namespace {

struct Decoded {
    std::string data;
    bool done = false;
    std::string fault;
    std::size_t used = 0;
    std::string trailers;
};

/// Feeds `in` in pieces of `piece` bytes, each until no step takes any more of it.
Decoded decode(std::string_view in, std::size_t piece, std::size_t max_trailer_bytes = 8192) {
    Fields trailers;
    ChunkedDecoder decoder;
    decoder.start(&trailers, max_trailer_bytes);
    Decoded out;
    for (std::size_t at = 0; at < in.size() && !out.done && out.fault.empty(); at += piece) {
        std::string_view left = in.substr(at, piece);
        while (!out.done && out.fault.empty()) {
            const ChunkedDecoder::Step step = decoder.decode(left);
            REQUIRE(step.used <= left.size());
            out.used += step.used;
            out.data += step.data;
            out.done = step.done;
            if (step.fault) out.fault = step.fault;
            left.remove_prefix(step.used);
            if (step.used == 0) break;
        }
        if (!out.done && out.fault.empty()) REQUIRE(left.empty());
    }
    trailers.append_to(out.trailers);
    return out;
}

const std::size_t pieces[] = {1, 2, 3, 5, 7, 1000000};

}  // namespace

TEST_CASE("a chunked body is the same however it arrives") {
    struct Case {
        std::string in, data, trailers;
    };
    const std::string thousand(1000, 'x');
    const Case cases[] = {
        {"0\r\n\r\n", "", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", ""},
        {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
        {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
        {"3e8\r\n" + thousand + "\r\n0\r\n\r\n", thousand, ""},
        {"00000000000003E8\r\n" + thousand + "\r\n000\r\n\r\n", thousand, ""},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""},
        {"5;a=b;c=\"d e\";f\r\nhello\r\n0;last\r\n\r\n", "hello", ""},
        {"1;" + std::string(1024, 'e') + "\r\nx\r\n1;" + std::string(1024, 'e') + "\r\ny\r\n0\r\n\r\n", "xy", ""},
        {"1\r\nx\r\n0\r\nX-Sum: abc\r\nX-Two:\t d \r\n\r\n", "x", "X-Sum: abc\r\nX-Two: d\r\n"},
        {"0\r\nEmpty:\r\nHigh: \xC3\xA9\r\n\r\n", "", "Empty: \r\nHigh: \xC3\xA9\r\n"},
    };
    for (const Case& one : cases) {
        for (std::size_t piece : pieces) {
            CAPTURE(one.in, piece);
            const Decoded out = decode(one.in + "NEXT", piece);
            CHECK(out.fault == "");
            CHECK(out.done);
            CHECK(out.data == one.data);
            CHECK(out.trailers == one.trailers);
            CHECK(out.used == one.in.size());  // what follows belongs to the next message
        }
    }
}

TEST_CASE("a body that is not exactly chunked is refused, wherever its bytes are cut") {
    const std::string no_digit = "a chunk size that does not begin with a hexadecimal digit";
    const std::string no_crlf = "something other than CRLF where a chunk or one of its lines ends";
    const std::string size_rest = "something other than digits and extensions in a chunk size line";
    const std::string size_lf = "a bare LF in a chunk size line";
    struct Case {
        std::string in, fault;
    };
    const Case cases[] = {
        // sizes
        {"\r\n", no_digit},
        {"g\r\n", no_digit},
        {" 5\r\nhello\r\n", no_digit},
        {"+5\r\nhello\r\n", no_digit},
        {"-5\r\nhello\r\n", no_digit},
        {";a\r\n", no_digit},
        {"\n5\r\n", no_digit},
        {"0x5\r\nhello\r\n", size_rest},
        {"5 \r\nhello\r\n", size_rest},
        {"5 ;a\r\nhello\r\n", size_rest},
        {"5\t;a\r\nhello\r\n", size_rest},
        {"5,5\r\nhello\r\n", size_rest},
        {"5.\r\nhello\r\n", size_rest},
        {"5\0\r\nhello\r\n"s, size_rest},
        {"00000000000000005\r\nhello\r\n", "a chunk size of more than 16 digits"},
        {"fffffffffffffffff\r\n", "a chunk size of more than 16 digits"},
        {"10000000000000000\r\n", "a chunk size of more than 16 digits"},
        // line ends
        {"5\nhello\r\n", size_lf},
        {"5\rhello\r\n", no_crlf},
        {"5\r\r\nhello\r\n", no_crlf},
        {"5;a\nhello\r\n", size_lf},
        {"5;a\rb\r\nhello\r\n", no_crlf},
        {"5\r\nhello\n0\r\n\r\n", no_crlf},
        {"5\r\nhello\r0\r\n\r\n", no_crlf},
        {"5\r\nhello0\r\n\r\n", no_crlf},
        {"5\r\nhello!\r\n0\r\n\r\n", no_crlf},
        {"5\r\nhell\r\n0\r\n\r\n", no_crlf},
        {"0\n\r\n", size_lf},
        {"0\r\n\n", "a bare LF in the trailers"},
        {"0\r\n\rX", no_crlf},
        // extensions
        {"5;" + std::string(1025, 'e') + "\r\nhello\r\n", "chunk extensions of more than 1 KiB"},
        {"5;a\0b\r\nhello\r\n"s, "a control character in a chunk extension"},
        {"5;a\x7F\r\nhello\r\n", "a control character in a chunk extension"},
        // trailers
        {"0\r\nX: a\n\r\n", "a bare LF in the trailers"},
        {"0\r\nX: a\rb\r\n\r\n", "a bare CR in the trailers"},
        {"0\r\n X: a\r\n\r\n", "a folded trailer line (obs-fold)"},
        {"0\r\nX: a\r\n b\r\n\r\n", "a folded trailer line (obs-fold)"},
        {"0\r\nX: a\r\n\tb\r\n\r\n", "a folded trailer line (obs-fold)"},
        {"0\r\nX : a\r\n\r\n", "a trailer name that is not a token"},
        {"0\r\n: a\r\n\r\n", "a trailer name that is not a token"},
        {"0\r\nX\0: a\r\n\r\n"s, "a trailer name that is not a token"},
        {"0\r\nX\r\n\r\n", "a trailer line without a colon"},
        {"0\r\nX: a\0b\r\n\r\n"s, "a control character in a trailer"},
        {"0\r\nX: \x01\r\n\r\n", "a control character in a trailer"},
        {"0\r\nContent-Length: \x01\r\n\r\n", "a control character in a trailer"},  // dropped, and judged all the same
    };
    for (const Case& one : cases) {
        for (std::size_t piece : pieces) {
            CAPTURE(one.in, piece);
            const Decoded out = decode(one.in, piece);
            CHECK(out.fault == one.fault);
            CHECK_FALSE(out.done);
        }
    }
}

TEST_CASE("a body that was found bad stays bad") {
    ChunkedDecoder decoder;
    decoder.start(nullptr);
    REQUIRE(decoder.decode("x").fault);
    const auto again = decoder.decode("0\r\n\r\n");
    CHECK(again.fault);
    CHECK(again.used == 0);
    CHECK_FALSE(again.done);
}

TEST_CASE("a look ahead finds what decoding would, and leaves the decoder where it was") {
    Fields trailers;
    ChunkedDecoder decoder;
    decoder.start(&trailers);
    const std::string good = "5\r\nhello\r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n";
    CHECK(decoder.decode("3\r\nf").data == "f");
    CHECK(decoder.fault_in("") == nullptr);
    CHECK(decoder.fault_in("oo\r\n" + good) == nullptr);
    CHECK(decoder.fault_in("oo\r\n" + good + "+5\r\nanother message's") == nullptr);
    CHECK(decoder.fault_in("oo\r\n5\r\nhel") == nullptr);  // not yet
    for (const char* bad : {"ooo\r\n", "oo\r\n5\r\nhello\r\n+5\r\n", "oo\r\n0\r\nno colon\r\n\r\n"}) {
        INFO(bad);
        CHECK(decoder.fault_in(bad) == decode(std::string("3\r\nf") + bad, 1000000).fault);
    }
    CHECK(trailers.empty());
    CHECK(decoder.decode("oo\r\n").data == "oo");
}

TEST_CASE("a body cut short is never done") {
    const std::string whole = "5;a\r\nhello\r\n0\r\nX: a\r\n\r\n";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        const Decoded out = decode(whole.substr(0, size), 1000);
        CHECK_FALSE(out.done);
        CHECK(out.fault == "");
        CHECK(out.used == size);
    }
}

TEST_CASE("the largest size is taken, and its data passed on as it comes") {
    ChunkedDecoder decoder;
    decoder.start(nullptr);
    const std::string in = "ffffffffffffffff\r\nabc";
    const auto first = decoder.decode(in);
    CHECK(first.data == "abc");
    CHECK(first.used == in.size());
    const auto second = decoder.decode("defg");
    CHECK(second.data == "defg");
    CHECK_FALSE(second.done);
}

TEST_CASE("data is a view into the input, one piece a step, the last together with the end") {
    ChunkedDecoder decoder;
    decoder.start(nullptr);
    const std::string in = "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    const auto first = decoder.decode(in);
    CHECK(first.data == "abc");
    CHECK(first.data.data() == in.data() + 3);
    CHECK_FALSE(first.done);
    const auto second = decoder.decode(std::string_view(in).substr(first.used));
    CHECK(second.data == "def");
    CHECK(second.done);
    CHECK(first.used + second.used == in.size());
    const auto after = decoder.decode("5\r\nhello");
    CHECK(after.done);
    CHECK(after.used == 0);
    CHECK(decoder.decode("").done);
}

TEST_CASE("no input is no progress") {
    ChunkedDecoder decoder;
    decoder.start(nullptr);
    const auto step = decoder.decode("");
    CHECK(step.used == 0);
    CHECK(step.data.empty());
    CHECK_FALSE(step.done);
    CHECK_FALSE(step.fault);
}

TEST_CASE("trailers that frame, route, authenticate or are ours are dropped") {
    for (std::string_view name :
         {"Transfer-Encoding", "content-length", "Host", "Trailer", "Connection", "TE", "Upgrade", "Keep-Alive",
          "Proxy-Authorization", "Authorization", "Content-Type", "Sluice-Outcome", "Forwarded", "X-Forwarded-For",
          "Max-Forwards", "Range", "If-Match", "Cache-Control", "cookie", "Set-Cookie", "Content-Encoding", "Location",
          "Retry-After", "Proxy-Connection", "Expect"}) {
        CAPTURE(name);
        const Decoded out = decode("0\r\nX-A: 1\r\n" + std::string(name) + ": 5\r\nX-B: 2\r\n\r\n", 1000);
        CHECK(out.done);
        CHECK(out.trailers == "X-A: 1\r\nX-B: 2\r\n");
    }
}

TEST_CASE("trailers are bounded in bytes and in number") {
    const std::string line = "X: " + std::string(28, 'a') + "\r\n";  // 33 bytes
    CHECK(decode("0\r\n" + line + "\r\n", 1000, 33).done);
    CHECK(decode("0\r\n" + line + "\r\n", 1000, 32).fault == "trailers that are too large");
    CHECK(decode("0\r\n" + std::string(10000, 'a'), 1000).fault == "trailers that are too large");
    std::string hundred;
    for (int i = 0; i < 100; ++i) hundred += "X: a\r\n";
    CHECK(decode("0\r\n" + hundred + "\r\n", 1000).done);
    CHECK(decode("0\r\n" + hundred + "X: a\r\n\r\n", 1000).fault == "more than 100 trailers");
    // Dropped ones count as well: they are work all the same.
    CHECK(decode("0\r\n" + hundred + "TE: a\r\n\r\n", 1000).fault == "more than 100 trailers");
}

TEST_CASE("a decoder starts anew for each message") {
    Fields trailers;
    ChunkedDecoder decoder;
    for (int message = 0; message < 150; ++message) {  // more than one may have trailers
        trailers.clear();
        decoder.start(&trailers, 20);
        const auto step = decoder.decode("1;e\r\nx\r\n0\r\nX-A: 12345\r\n\r\n");
        CHECK(step.data == "x");
        CHECK(step.done);
        CHECK(trailers.find("X-A") == "12345");
    }
    decoder.start(&trailers);
    CHECK(decoder.decode("5\r\nhe").data == "he");
    decoder.start(&trailers);  // in the middle of a chunk
    CHECK(decoder.decode("1\r\nx").data == "x");
}

TEST_CASE("a chunk head is the size in hexadecimal and CRLF") {
    for (const auto& [size, head] : {std::pair<std::uint64_t, std::string>{0, "0\r\n"},
                                     {5, "5\r\n"},
                                     {255, "ff\r\n"},
                                     {4096, "1000\r\n"},
                                     {0xFFFFFFFFFFFFFFFF, "ffffffffffffffff\r\n"}}) {
        std::string out = "before";
        append_chunk_head(out, size);
        CHECK(out == "before" + head);
    }
}
