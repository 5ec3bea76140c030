// The examples are those of the Amazon S3 API Reference: "Signature Calculations for the Authorization Header:
// Transferring Payload in Multiple Chunks (Chunked Upload)" and "... Including Trailing Headers (Chunked Upload)".
#include "proxy/credentials/aws_chunked.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "proxy/base/codec.hpp"
#include "proxy/http/date.hpp"

using namespace sluice;

namespace {

const std::string dummy(64, '0');

RequestHead put_object(std::string_view content_sha256) {
    RequestHead head;
    head.method = "PUT";
    head.target = "/examplebucket/chunkObject.txt";
    head.fields.add("x-amz-storage-class", "REDUCED_REDUNDANCY");
    head.fields.add("x-amz-content-sha256", content_sha256);
    head.fields.add("Content-Encoding", "aws-chunked");
    head.fields.add("x-amz-decoded-content-length", "66560");
    head.fields.add("Content-Length", "66824");
    return head;
}

/// The head of the example, signed; its seed.
AwsSigned sign_example(RequestHead& head, std::span<const std::string_view> also_sign) {
    AwsSigning in;
    in.keys = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
    in.region = "us-east-1";
    in.service = "s3";
    in.now = *parse_rfc3339("2013-05-24T00:00:00Z");
    in.host = "s3.amazonaws.com";
    in.also_sign = also_sign;
    const auto payload = judge_aws_payload("s3", head, true);
    in.payload = payload->text;
    AwsKeyCache cache;
    AwsSigned out;
    sign_aws(in, cache, head, out);
    return out;
}

AwsSigned example_seed() {
    const std::string_view also[] = {"content-encoding", "content-length"};
    RequestHead head = put_object("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    return sign_example(head, also);
}

AwsSigned example_trailer_seed() {
    const std::string_view also[] = {"content-encoding"};
    RequestHead head = put_object("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
    head.fields.add("x-amz-trailer", "x-amz-checksum-crc32c");
    return sign_example(head, also);
}

std::string hex(std::size_t number) {
    char text[24];
    std::snprintf(text, sizeof text, "%zx", number);
    return text;
}

std::string chunk(std::string_view data, std::string_view signature = dummy) {
    std::string out = hex(data.size()) + ";chunk-signature=" + std::string(signature) + "\r\n" + std::string(data);
    return data.empty() ? out : out + "\r\n";
}

std::string example(std::string_view first, std::string_view second, std::string_view last) {
    return chunk(std::string(65536, 'a'), first) + chunk(std::string(1024, 'a'), second) + chunk("", last);
}

struct Signed {
    std::string out;
    std::string fault;

    bool operator==(const Signed& other) const { return out == other.out && fault == other.fault; }
};

/// Feeds `in` in pieces whose sizes `next` gives; takes what is ready in bites of at most `bite`.
template <class Next>
Signed resign_in(AwsChunkedResigner machine, std::string_view in, Next next, std::size_t bite) {
    Signed result;
    while (!in.empty() && result.fault.empty()) {
        const std::string_view piece = in.substr(0, next());
        in.remove_prefix(piece.size());
        if (const auto pushed = machine.push(piece); !pushed) result.fault = pushed.error().detail;
        while (!machine.ready().empty()) {
            const std::string_view some = machine.ready().substr(0, bite);
            result.out += some;
            machine.consume(some.size());
        }
    }
    if (result.fault.empty()) {
        if (const auto finished = machine.finish(); !finished) result.fault = finished.error().detail;
    }
    return result;
}

Signed resign(AwsChunkedResigner machine, std::string_view in, std::size_t piece = std::string::npos) {
    return resign_in(
        std::move(machine), in, [piece] { return piece; }, std::string::npos);
}

AwsChunkedResigner plain() {
    return {example_seed(), false};
}
AwsChunkedResigner with_trailer() {
    return {example_trailer_seed(), true};
}

const std::string trailer_lines = "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" + dummy + "\r\n\r\n";

}  // namespace

TEST_CASE("the S3 documentation's chunked upload gets the signatures that it publishes") {
    CHECK(example_seed().signature == "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    const std::string in = example(dummy, dummy, dummy) + "\r\n";
    REQUIRE(in.size() == 66824);
    const Signed got = resign(plain(), in);
    CHECK(got.fault == "");
    CHECK(got.out == example("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                             "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                             "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9") +
                         "\r\n");
}

TEST_CASE("the S3 documentation's upload with a trailer gets the signatures that it publishes") {
    CHECK(example_trailer_seed().signature == "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    const Signed got = resign(with_trailer(), example(dummy, dummy, dummy) + trailer_lines);
    CHECK(got.fault == "");
    CHECK(got.out == example("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                             "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                             "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992") +
                         "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:"
                         "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
}

TEST_CASE("a body is signed the same in whatever pieces it comes and goes") {
    std::mt19937 random(20130524);
    const auto number = [&random](std::size_t most) { return 1 + random() % most; };
    for (int round = 0; round < 60; ++round) {
        std::string in;
        for (std::size_t chunks = random() % 6; chunks > 0; --chunks) {
            std::string data(number(round % 10 == 0 ? 70000 : 300), '\0');
            for (char& c : data) c = static_cast<char>(random());
            in += chunk(data);
        }
        const bool trailer = round % 2 == 1;
        in += chunk("") + (trailer ? trailer_lines : "\r\n");
        const auto machine = [&] { return trailer ? with_trailer() : plain(); };
        const Signed whole = resign(machine(), in);
        CAPTURE(round, in.size());
        REQUIRE(whole.fault == "");
        CHECK(whole.out.size() == in.size());
        CHECK(resign(machine(), whole.out) == whole);  // what stood in the signatures' places does not matter
        const std::size_t most = number(round % 10 == 0 ? 20000 : 200);
        CHECK(resign_in(
                  machine(), in, [&] { return number(most); }, number(100)) == whole);
        if (in.size() < 3000) CHECK(resign(machine(), in, 1) == whole);
    }
}

TEST_CASE("a chunk leaves as soon as its last byte is here, and its signature not before") {
    AwsChunkedResigner machine = plain();
    const std::string in = chunk("hello");
    REQUIRE(machine.push(std::string_view(in).substr(0, in.size() - 1)).has_value());
    CHECK(machine.ready() == "");
    REQUIRE(machine.push("\n").has_value());
    CHECK(machine.ready().size() == in.size());
    CHECK(machine.ready().ends_with("hello\r\n"));
    CHECK(!machine.done());
    machine.consume(machine.ready().size());
    REQUIRE(machine.push(chunk("") + "\r\n").has_value());
    CHECK(machine.done());
    CHECK(machine.finish().has_value());
}

TEST_CASE("a trailer may name several checksums, which are signed by name") {
    const std::string head = chunk("x") + chunk("");
    const std::string b = "x-amz-b: 2 \r\n", a = "X-Amz-A:1\r\n",
                      signature = "x-amz-trailer-signature:" + dummy + "\r\n\r\n";
    const Signed ab = resign(with_trailer(), head + a + b + signature);
    const Signed ba = resign(with_trailer(), head + b + a + signature);
    CHECK(ab.fault == "");
    CHECK(ab.out.substr(ab.out.size() - 68) == ba.out.substr(ba.out.size() - 68));

    // By hand: the trailer's signature is over "x-amz-a:1\nx-amz-b:2\n" and the last chunk's.
    const AwsSigned seed = example_trailer_seed();
    const std::string last = ab.out.substr(ab.out.find("0;chunk-signature=") + 18, 64);
    const std::string to_sign = "AWS4-HMAC-SHA256-TRAILER\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n" +
                                last + "\n" + to_hex(hash_of(HashAlgorithm::sha256, "x-amz-a:1\nx-amz-b:2\n").bytes());
    CHECK(ab.out.substr(ab.out.size() - 68, 64) ==
          to_hex(hmac(HashAlgorithm::sha256, seed.key.bytes(), to_sign).bytes()));
}

TEST_CASE("minio-go's trailer, which ends in LF and CRLF, passes as it is") {
    const std::string head = chunk("x") + chunk("");
    const std::string odd = head + "x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:" + dummy + "\r\n\r\n";
    for (const std::size_t piece : {std::size_t(1), std::size_t(7), odd.size()}) {
        const Signed got = resign(with_trailer(), odd, piece);
        CHECK(got.fault == "");
        CHECK(got.out.size() == odd.size());
        const Signed usual = resign(with_trailer(), head + trailer_lines);
        CHECK(got.out.substr(got.out.size() - 68) == usual.out.substr(usual.out.size() - 68));
    }
}

TEST_CASE("framing that is not aws-chunked is refused, with the chunk and the byte") {
    const std::string x = chunk("x"), zero = chunk(""), sig = ";chunk-signature=" + dummy;
    const std::string signature_line = "x-amz-trailer-signature:" + dummy + "\r\n";
    struct Case {
        bool trailer;
        std::string in, fault;
    };
    const Case cases[] = {
        {false, "", "its end, where more is due"},
        {false, "hello", "its end, where more is due"},
        {false, "\r\n", "no hexadecimal number"},
        {false, sig + "\r\n", "no hexadecimal number"},
        {false, "-1" + sig + "\r\n", "no hexadecimal number"},
        {false, "0x1" + sig + "\r\n", "no hexadecimal number"},
        {false, "00000000000000001" + sig + "\r\n", "too long"},
        {false, "1\r\nx\r\n", "without chunk-signature"},
        {false, "1;chunk-signaturf=" + dummy + "\r\n", "without chunk-signature"},
        {false, "1;chunk-signature=" + dummy.substr(1) + "\r\n", "not 64 hexadecimal digits"},
        {false, "1;chunk-signature=" + dummy.substr(1) + "g\r\n", "not 64 hexadecimal digits"},
        {false, "1" + sig + "0\r\n", "not 64 hexadecimal digits"},
        {false, "1" + sig + ";more=1\r\n", "not 64 hexadecimal digits"},
        {false, "1" + sig + "\nx\r\n", "a bare LF"},
        {false, "100001" + sig + "\r\n", "a chunk of 1048577 bytes"},
        {false, "ffffffffffffffff" + sig + "\r\n", "at most 1 MiB"},
        {false, std::string(200, '1'), "too long"},
        {false, "1" + sig + "\r\nxy\r\n", "other than CRLF"},
        {false, "1" + sig + "\r\nx\n", "a bare LF"},
        {false, x + "1" + sig + "\r\nx\ry\n", "chunk 2"},
        {false, x + zero, "its end, where more is due"},
        {false, x + zero + "\r", "its end, where more is due"},
        {false, zero + "\n", "a bare LF"},
        {false, zero + "a:b\r\n", "other than CRLF"},
        {false, zero + "\r\n\r\n", "something after its end"},
        {true, zero + "\r\n", "without x-amz-trailer-signature"},
        {true, zero + "a:b\r\n\r\n", "without x-amz-trailer-signature"},
        {true, zero + "a b:c\r\n", "without a name"},
        {true, zero + ":c\r\n", "without a name"},
        {true, zero + "nothing\r\n", "without a name"},
        {true, zero + "a:b\r\nA:c\r\n", "the trailer a twice"},
        {true, zero + "a:\x01\r\n", "control character"},
        {true, zero + "a:b\rc\r\n", "control character"},
        {true, zero + "a:b\nc:d\r\n", "other than CRLF"},
        {true, zero + "a:b\n\n", "a bare LF"},
        {true, zero + "\n", "a bare LF"},
        {true, zero + "x-amz-trailer-signature:" + dummy + "\n\r\n\r\n", "a bare LF"},
        {true, zero + "x-amz-trailer-signature:abc\r\n", "not 64 hexadecimal digits"},
        {true, zero + signature_line + "a:b\r\n", "other than CRLF"},
        {true, zero + signature_line + signature_line, "other than CRLF"},
        {true, zero + signature_line, "its end, where more is due"},
        {true, zero + signature_line + "\r\nx", "something after its end"},
        {true, zero + "a:" + std::string(9000, 'b') + "\r\n", "more than 8 KiB"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.in.substr(0, 200), c.fault);
        const auto machine = [&] { return c.trailer ? with_trailer() : plain(); };
        const Signed whole = resign(machine(), c.in);
        CHECK(whole.fault.find(c.fault) != std::string::npos);
        CHECK(whole.fault.find("in the aws-chunked body, chunk ") == 0);
        const Signed bytewise = resign(machine(), c.in, 1);
        CHECK(bytewise.fault.find(c.fault) != std::string::npos);
        CHECK(bytewise.out == whole.out);
    }
    std::string many = zero;
    for (int i = 0; i < 33; ++i) many += "a" + std::to_string(i) + ":b\r\n";
    CHECK(resign(with_trailer(), many).fault.find("more than 32 trailers") != std::string::npos);
    CHECK(resign(plain(), x + "zz").fault == "in the aws-chunked body, chunk 2, before byte " +
                                                 std::to_string(x.size() + 2) + ": its end, where more is due");
}

TEST_CASE("after a fault nothing more is taken, and what was whole before it can still go") {
    AwsChunkedResigner machine = plain();
    const auto first = machine.push(chunk("x") + "zz\r\n");
    REQUIRE(!first);
    CHECK(first.error().reason == Reason::bad_request);
    CHECK(first.error().origin == Origin::application);
    CHECK(machine.ready().size() == chunk("x").size());
    const auto second = machine.push(chunk(""));
    REQUIRE(!second);
    CHECK(second.error().detail == first.error().detail);
    CHECK(machine.finish().error().detail == first.error().detail);
    CHECK(!machine.done());
}

TEST_CASE("a chunk of 1 MiB passes, and no more than one is kept") {
    AwsChunkedResigner machine = plain();
    const std::string in = chunk(std::string(AwsChunkedResigner::most_chunk_bytes, 'z'));
    std::size_t sent = 0;
    for (int round = 0; round < 3; ++round) {
        for (std::size_t at = 0; at < in.size(); at += 65536) {
            REQUIRE(machine.push(std::string_view(in).substr(at, 65536)).has_value());
            CHECK((machine.ready().empty() || machine.ready().size() == in.size()));
            sent += machine.ready().size();
            machine.consume(machine.ready().size());
        }
    }
    CHECK(sent == 3 * in.size());
}
