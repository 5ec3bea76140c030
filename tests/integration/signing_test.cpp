// Requests that are signed, in the real proxy; and what is masked of answers.

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <sstream>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/sigv4.hpp"
#include "tests/support/gzip.hpp"
#include "tests/support/proxy.hpp"

using namespace sluice;
using namespace sluice::testing;

namespace {

const std::string access_key = "AKIDEXAMPLE", secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

std::string sha256(std::string_view text) { return to_hex(hash_of(HashAlgorithm::sha256, text).bytes()); }

// "" where the request's signature is that of its own head and body; else why not. As AWS would look at it, from what was received alone.
std::string wrong_with_signature(const Message& request, const std::string& service) {
    const std::string authorization = request.field("authorization");
    const std::string date = request.field("x-amz-date");
    const auto part = [&](const std::string& name) {
        const auto at = authorization.find(name + "=");
        return at == std::string::npos ? std::string() : authorization.substr(at + name.size() + 1, authorization.find(',', at) - at - name.size() - 1);
    };
    const std::string scope = date.substr(0, 8) + "/eu-west-1/" + service + "/aws4_request";
    if (part("Credential") != access_key + "/" + scope) return "credential " + part("Credential");
    const std::string names = part("SignedHeaders");
    std::string canonical = request.start_line.substr(0, request.start_line.find(' ')) + "\n";
    const std::string target = request.start_line.substr(canonical.size(), request.start_line.rfind(' ') - canonical.size());
    canonical += target.substr(0, target.find('?')) + "\n" + (target.find('?') == std::string::npos ? "" : target.substr(target.find('?') + 1)) + "\n";
    for (std::size_t at = 0; at <= names.size();) {
        const std::size_t end = std::min(names.find(';', at), names.size());
        const std::string name = names.substr(at, end - at);
        canonical += name + ":" + request.field(name) + "\n";
        at = end + 1;
    }
    const std::string given = request.field("x-amz-content-sha256");
    canonical += "\n" + names + "\n" + (given.empty() ? sha256(request.body) : given);
    const std::string to_sign = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + sha256(canonical);
    HashValue key = hmac(HashAlgorithm::sha256, "AWS4" + secret_key, date.substr(0, 8));
    for (const std::string& word : {std::string("eu-west-1"), service, std::string("aws4_request")}) key = hmac(HashAlgorithm::sha256, key.bytes(), word);
    const std::string signature = to_hex(hmac(HashAlgorithm::sha256, key.bytes(), to_sign).bytes());
    return signature == part("Signature") ? "" : "signature of\n" + canonical;
}

std::string aws_policy(const FakeVendor& vendor, const std::string& service, const std::string& more = "") {
    return "credentials:\n  aws: {type: aws_sigv4, region: eu-west-1, service: " + service + ", source: file, " + more + "}\nvendors:\n" + vendor_yaml("aws", "aws.example", vendor, true, "credential: aws");
}

class KeysInFile {
  public:
    KeysInFile() {
        write(access_key);
        ::setenv("AWS_SHARED_CREDENTIALS_FILE", (directory_.path() + "/credentials").c_str(), 1);
    }
    ~KeysInFile() { ::unsetenv("AWS_SHARED_CREDENTIALS_FILE"); }
    void write(const std::string& id) const { directory_.file("credentials", "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = " + secret_key + "\n"); }

  private:
    TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("a request to AWS is signed over its body, and the application's own signature is gone") {
    const KeysInFile keys;
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy(aws_policy(vendor, "dynamodb"));
    const std::string fields = "Host: aws.example\r\nAuthorization: AWS4-HMAC-SHA256 Credential=dummy\r\nX-Amz-Date: 20200101T000000Z\r\nX-Amz-Security-Token: dummy\r\nX-Amz-Target: DynamoDB.Get\r\nContent-Type: application/x-amz-json-1.0\r\n";
    SECTION("with a length") {
        Wire wire = proxy.connected("aws.example");
        wire.write("POST / HTTP/1.1\r\n" + fields + "Content-Length: 9\r\n\r\n{\"a\":\"b\"}");
        REQUIRE(wire.read_response().value_or(Message{}).status() == 200);
    }
    SECTION("in chunks, asked for first") {
        Wire wire = proxy.connected("aws.example");
        wire.write("POST / HTTP/1.1\r\n" + fields + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
        REQUIRE(wire.read_head().value_or(Message{}).status() == 100);
        wire.write("4\r\n{\"a\"\r\n5\r\n:\"b\"}\r\n0\r\n\r\n");
        REQUIRE(wire.read_response().value_or(Message{}).status() == 200);
        CHECK(seen.all().back().field("content-length") == "9");
    }
    const Message request = seen.all().back();
    CHECK(request.body == "{\"a\":\"b\"}");
    CHECK(wrong_with_signature(request, "dynamodb") == "");
    CHECK(request.field("x-amz-security-token").empty());
    CHECK(request.count("authorization") == 1);
    CHECK(request.count("x-amz-date") == 1);
}

TEST_CASE("an answer of AWS that says its key has ended has another one fetched, and reaches the application as it was") {
    struct Answer {
        std::string status, fields, body;
        bool chunked = false, refused = true;
    };
    const std::string xml = "<?xml version=\"1.0\"?>\n<Error><Code>ExpiredToken</Code><Message>it has</Message></Error>";
    const std::string of_xml = "Content-Type: application/xml\r\n", of_json = "Content-Type: application/x-amz-json-1.1\r\n";
    const Answer answer = GENERATE_COPY(
        Answer{"403", "X-Amzn-Errortype: ExpiredTokenException\r\n", "{}"}, Answer{"400", of_xml, xml}, Answer{"403", of_xml, xml, true},
        Answer{"400", of_json, R"({"__type":"com.amazon.coral.service#UnrecognizedClientException"})"},
        Answer{"400", "Content-Type: application/json\r\n", R"({"code":"InvalidToken"})", false, false},   // anybody's
        Answer{"403", of_xml, "<Error><Code>AccessDenied</Code></Error>", true, false},
        Answer{"403", of_xml, std::string(40'000, ' ') + xml, true, false},   // more than is looked at
        Answer{"403", of_xml, std::string(40'000, ' ') + xml, false, false}, Answer{"404", of_xml, xml, false, false},
        Answer{"403", of_xml + "X-Amzn-Errortype: AccessDeniedException\r\n", xml, false, false});
    INFO(answer.status << ' ' << answer.fields << answer.body.substr(0, 200));
    const KeysInFile keys;
    std::atomic<bool> refuses = false;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                const std::string good = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                if (!refuses) {
                    wire.write(good);
                    continue;
                }
                wire.write("HTTP/1.1 " + answer.status + " X\r\n" + answer.fields);
                if (!answer.chunked) {
                    wire.write("Content-Length: " + std::to_string(answer.body.size()) + "\r\n\r\n" + answer.body);
                    continue;
                }
                wire.write("Transfer-Encoding: chunked\r\n\r\n");
                for (std::size_t at = 0; at < answer.body.size(); at += 5'000) {
                    const std::string piece = answer.body.substr(at, 5'000);
                    std::ostringstream size;
                    size << std::hex << piece.size();
                    wire.write(size.str() + "\r\n" + piece + "\r\n");
                }
                wire.write("0\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    REQUIRE(eventually([&] { return proxy.get("aws.example").status() == 200; }));
    refuses = true;
    const Message got = proxy.get("aws.example");
    CHECK(got.status() == static_cast<unsigned>(std::stoi(answer.status)));
    CHECK(got.body == answer.body);
    CHECK(got.whole);
    CHECK(got.field("sluice-attempts") == "1");   // the same key once more need not be tried
    const std::string fetched = "sluice_credential_refresh_total{credential=\"aws\",result=\"ok\"}";
    CHECK(eventually([&] { return proxy.metric(fetched) == (answer.refused ? 2 : 1); }));   // counted a moment after
    CHECK(proxy.get("aws.example").body == answer.body);   // on a connection that can be used again
}

TEST_CASE("an error of AWS whose body takes its time is held back for a second, then goes on as it comes") {
    const std::string piece = GENERATE(as<std::string>{}, "", "<Error><Code>Exp");
    const KeysInFile keys;
    std::atomic<bool> refuses = false, seen = false;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                if (!refuses) {
                    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                    continue;
                }
                wire.write("HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n");
                if (!piece.empty()) wire.write("10\r\n" + piece + "\r\n");
                eventually([&] { return seen.load(); });
                wire.write("10\r\niredToken</Code>\r\n8\r\n</Error>\r\n0\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    REQUIRE(eventually([&] { return proxy.get("aws.example").status() == 200; }));
    refuses = true;
    Wire wire = proxy.connected("aws.example");
    wire.write("GET / HTTP/1.1\r\nHost: aws.example\r\n\r\n");
    const auto asked = std::chrono::steady_clock::now();
    auto got = wire.read_head();
    const auto waited = std::chrono::steady_clock::now() - asked;
    seen = true;
    REQUIRE(got);
    CHECK(waited < std::chrono::seconds(8));   // the vendor gives up waiting after ten
    CHECK(got->status() == 403);
    wire.read_body(*got, false);
    CHECK(got->body == piece + "iredToken</Code></Error>");
    CHECK(got->whole);
    CHECK(proxy.get("aws.example").status() == 403);
}

TEST_CASE("of an error of AWS that breaks off the application gets what came, and the log why") {
    const std::string piece = "<Error><Code>Exp";
    const std::string broken = GENERATE_COPY("Content-Length: 100\r\n\r\n" + piece, "Transfer-Encoding: chunked\r\n\r\n10\r\n" + piece + "\r\n");
    const KeysInFile keys;
    std::atomic<bool> refuses = false;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                if (refuses) {
                    wire.write("HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\n" + broken);
                    return;
                }
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    REQUIRE(eventually([&] { return proxy.get("aws.example").status() == 200; }));
    refuses = true;
    const Message got = proxy.get("aws.example");
    CHECK(got.status() == 400);
    CHECK(got.reason() == "");
    CHECK(got.body.starts_with("<Error>"));   // a last few bytes may be the beginning of a secret
    CHECK(piece.starts_with(got.body));
    CHECK_FALSE(got.whole);
    CHECK(proxy.logs("the vendor closed the connection in the middle of the body"));
}

TEST_CASE("keys that were changed in AWS's shared file are used for the next upload after the vendor has refused one") {
    const KeysInFile keys;
    std::atomic<int> good = 1;
    FakeVendor vendor(
        [&](Wire& wire) {
            while (const auto request = wire.read_request()) {
                const bool is_good = request->field("authorization").find("Credential=" + access_key + (good == 1 ? "/" : "2/")) != std::string::npos;
                wire.write(is_good ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                                   : "HTTP/1.1 400 Bad Request\r\nContent-Type: text/xml\r\nContent-Length: 40\r\n\r\n<Error><Code>ExpiredToken</Code></Error>");
            }
        },
        vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    Wire wire = proxy.connected("aws.example");
    const auto upload = [&wire] {
        wire.write("PUT /b/k HTTP/1.1\r\nHost: aws.example\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'u'));
        return wire.read_response().value_or(Message{}).status();
    };
    REQUIRE(eventually([&] { return upload() == 200; }));
    good = 2;
    CHECK(upload() == 400);
    keys.write(access_key + "2");
    CHECK(eventually([&] { return upload() == 200; }));
}

TEST_CASE("a body that is too large to be signed is refused with what to raise, and nothing of it is sent") {
    const KeysInFile keys;
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy(aws_policy(vendor, "dynamodb", "max_body: 1KiB"));
    Wire wire = proxy.connected("aws.example");
    wire.write("POST / HTTP/1.1\r\nHost: aws.example\r\nContent-Length: 100000\r\n\r\n" + std::string(100000, 'x'));
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 400);
    CHECK(answer->body.find("raise `max_body` of credential 'aws'") != std::string::npos);
    CHECK(seen.size() == 0);
}

TEST_CASE("the chunks of an upload to S3 are signed anew as they pass") {
    const KeysInFile keys;
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    const std::string dummy(64, '0'), data(70'000, 'd');
    const std::string chunk = "10000;chunk-signature=" + dummy + "\r\n" + data.substr(0, 65536) + "\r\n1170;chunk-signature=" + dummy + "\r\n" + data.substr(65536) + "\r\n0;chunk-signature=" + dummy + "\r\n\r\n";
    Wire wire = proxy.connected("aws.example");
    wire.write("PUT /bucket/a%20b HTTP/1.1\r\nHost: aws.example\r\nX-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\nX-Amz-Decoded-Content-Length: 70000\r\nContent-Encoding: aws-chunked\r\nContent-Length: " + std::to_string(chunk.size()) + "\r\n\r\n" + chunk);
    REQUIRE(wire.read_response().value_or(Message{}).status() == 200);
    const Message request = seen.all().back();
    CHECK(wrong_with_signature(request, "s3") == "");
    CHECK(request.body.size() == chunk.size());
    CHECK(request.body.find(dummy) == std::string::npos);
    std::string plain = request.body;
    for (std::size_t at = plain.find("chunk-signature="); at != std::string::npos; at = plain.find("chunk-signature=", at + 80)) plain.replace(at + 16, 64, dummy);
    CHECK(plain == chunk);
    const std::string before = "AWS4-HMAC-SHA256-PAYLOAD\n" + request.field("x-amz-date") + "\n" + request.field("x-amz-date").substr(0, 8) + "/eu-west-1/s3/aws4_request\n";
    HashValue key = hmac(HashAlgorithm::sha256, "AWS4" + secret_key, request.field("x-amz-date").substr(0, 8));
    for (const char* word : {"eu-west-1", "s3", "aws4_request"}) key = hmac(HashAlgorithm::sha256, key.bytes(), word);
    std::string last = request.field("authorization");
    last = last.substr(last.find("Signature=") + 10);
    for (const std::string& piece : {data.substr(0, 65536), data.substr(65536), std::string()}) {
        last = to_hex(hmac(HashAlgorithm::sha256, key.bytes(), before + last + "\n" + sha256("") + "\n" + sha256(piece)).bytes());
        CHECK(request.body.find("chunk-signature=" + last) != std::string::npos);
    }
}

TEST_CASE("an upload whose chunks are malformed is refused, and its vendor never sees a whole one") {
    const KeysInFile keys;
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy(aws_policy(vendor, "s3"));
    Wire wire = proxy.connected("aws.example");
    wire.write("PUT /b HTTP/1.1\r\nHost: aws.example\r\nX-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\nX-Amz-Decoded-Content-Length: 5\r\nContent-Length: 30\r\n\r\nzz;chunk-signature=0\r\nhello\r\n\r\n");
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->status() == 400);
    CHECK(answer->reason() == "bad_request");
    CHECK(seen.size() == 0);
}

TEST_CASE("a vendor's own scheme signs method, path, time and body") {
    Seen seen;
    FakeVendor vendor(echo_into(seen), vendor_ca());
    TestProxy proxy("credentials:\n  h: {type: hmac, key: {file: @dir/key}, string_to_sign: \"{timestamp}.{method}.{path}.{body}\", header: X-Signature, prefix: \"v1=\", headers: {X-Timestamp: \"{timestamp}\"}}\nvendors:\n" +
                    vendor_yaml("pay", "pay.example", vendor, true, "credential: h"));
    proxy.directory().file("key", "s3cr3t-signing-key");
    const auto post = [&proxy] {
        Wire wire = proxy.connected("pay.example");
        wire.write("POST /v1/charges?a=1 HTTP/1.1\r\nHost: pay.example\r\nX-Signature: mine\r\nContent-Length: 5\r\n\r\nmoney");
        return wire.read_response().value_or(Message{}).status();
    };
    REQUIRE(eventually([&] { return post() == 200; }));
    const Message request = seen.all().back();
    const std::string signed_text = request.field("x-timestamp") + ".POST./v1/charges.money";
    CHECK(request.field("x-signature") == "v1=" + to_hex(hmac(HashAlgorithm::sha256, "s3cr3t-signing-key", signed_text).bytes()));
    CHECK(request.count("x-signature") == 1);
}

TEST_CASE("a secret that comes back is masked, in every usual form and wherever it stands") {
    const std::string secret = "s3cr3t/key+of-ours";
    std::string coded;
    append_base64(coded, "user:" + secret);
    const std::string body = "raw " + secret + ", hex " + to_hex(secret) + ", basic " + coded + ", escaped s3cr3t%2Fkey%2Bof-ours";
    std::string scrub = "identity", coding, sent = body;
    SECTION("as it is") {}
    SECTION("compressed, where that is looked into") {
        scrub = "deep";
        coding = "Content-Encoding: gzip\r\nETag: \"x\"\r\n";
        sent = gzipped(body);
    }
    FakeVendor vendor(
        [&](Wire& wire) {
            while (wire.read_request()) {
                wire.write("HTTP/1.1 103 Early Hints\r\nX-Early: " + secret + "\r\n\r\nHTTP/1.1 200 " + secret + "\r\nX-Echo: Bearer " + secret + "\r\n" + coding + "Transfer-Encoding: chunked\r\nTrailer: X-Last\r\n\r\n");
                for (std::size_t at = 0; at < sent.size(); at += 7) {   // across the edges of chunks
                    const std::string piece = sent.substr(at, 7);
                    wire.write(std::to_string(piece.size()) + "\r\n" + piece + "\r\n");
                }
                wire.write("0\r\nX-Last: " + secret + "\r\n\r\n");
            }
        },
        vendor_ca());
    TestProxy proxy("credentials:\n  k: {type: bearer, value: {file: @dir/key}}\nvendors:\n" + vendor_yaml("pay", "pay.example", vendor, true, "credential: k\nscrub: " + scrub));
    proxy.directory().file("key", secret);
    REQUIRE(eventually([&] { return proxy.get("pay.example").reason() != "credential_unavailable"; }));
    Wire wire = proxy.connected("pay.example");
    wire.write("GET / HTTP/1.1\r\nHost: pay.example\r\nAccept-Encoding: gzip\r\nTE: trailers\r\n\r\n");
    const auto early = wire.read_head();
    REQUIRE(early);
    CHECK(early->status() == 103);
    CHECK(early->field("x-early") == std::string(secret.size(), '*'));
    const auto answer = wire.read_response();
    REQUIRE(answer);
    CHECK(answer->whole);
    CHECK(answer->start_line.find(secret) == std::string::npos);
    CHECK(answer->field("x-echo") == "Bearer " + std::string(secret.size(), '*'));
    CHECK(answer->field("content-encoding").empty());
    CHECK(answer->body.size() == body.size());
    CHECK(answer->body.starts_with("raw " + std::string(secret.size(), '*') + ", hex " + std::string(2 * secret.size(), '*') + ", basic "));
    CHECK(answer->body.ends_with(", escaped " + std::string(secret.size() + 4, '*')));
    CHECK(answer->body.find(coded.substr(8, 16)) == std::string::npos);
    CHECK(answer->trailers.find(secret) == std::string::npos);
}
