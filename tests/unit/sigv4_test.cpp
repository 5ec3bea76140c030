// SigV4 against AWS's published vectors, and against what an application's own signature may leave behind.
// data/sigv4/suite.json: the requests and the expected values of AWS's SigV4 test suite, as awslabs/aws-c-auth
// publishes them (tests/aws-signing-test-suite/v4, commit 495329c2); all with AKIDEXAMPLE, us-east-1, "service",
// 2015-08-30T12:36:00Z. A folded line stands as the one line that it means; where the suite adds the token after
// signing
// ("post-sts-header-after") the case has none.
#include "proxy/credentials/sigv4.hpp"

#include <boost/json.hpp>
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "proxy/base/codec.hpp"
#include "proxy/http/date.hpp"

using namespace sluice;
using namespace std::string_literals;

namespace {

namespace json = boost::json;

json::value read_json(const std::string& name) {
    std::ifstream file(std::string(SLUICE_SOURCE_DIR) + "/tests/unit/data/" + name);
    std::ostringstream text;
    text << file.rdbuf();
    return json::parse(text.str());
}

std::string text_of(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains(name);
    return value ? std::string(value->as_string()) : std::string();
}

std::vector<std::string> split(std::string_view text, char by) {
    std::vector<std::string> out;
    for (; text.find(by) != text.npos; text.remove_prefix(text.find(by) + 1))
        out.emplace_back(text.substr(0, text.find(by)));
    out.emplace_back(text);
    return out;
}

constexpr std::string_view suite_secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
constexpr std::string_view s3_secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

AwsSigning suite_signing() {
    AwsSigning in;
    in.keys = {"AKIDEXAMPLE", suite_secret, ""};
    in.region = "us-east-1";
    in.service = "service";
    in.now = *parse_rfc3339("2015-08-30T12:36:00Z");
    in.host = "example.amazonaws.com";
    in.payload = empty_sha256;
    return in;
}

AwsSigning s3_signing() {
    AwsSigning in = suite_signing();
    in.keys = {"AKIAIOSFODNN7EXAMPLE", s3_secret, ""};
    in.service = "s3";
    in.now = *parse_rfc3339("2013-05-24T00:00:00Z");
    in.host = "examplebucket.s3.amazonaws.com";
    return in;
}

RequestHead request(std::string method, std::string target,
                    std::initializer_list<std::pair<const char*, const char*>> fields = {}) {
    RequestHead head;
    head.method = std::move(method);
    head.target = std::move(target);
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    return head;
}

/// The signature; the head is as it will be sent.
std::string sign(const AwsSigning& in, RequestHead& head) {
    AwsKeyCache cache;
    AwsSigned out;
    sign_aws(in, cache, head, out);
    return out.signature;
}

std::string canonical(const AwsSigning& in, const RequestHead& head) {
    std::string text, names;
    append_canonical_request(in, head, text, names);
    return text;
}

std::string line(const std::string& text, std::size_t number) {
    return split(text, '\n')[number];
}

std::string value_of(const RequestHead& head, std::string_view name) {
    return std::string(head.fields.find(name).value_or("(none)"));
}

}  // namespace

TEST_CASE("every request of AWS's SigV4 test suite is signed as published") {
    const json::value suite = read_json("sigv4/suite.json");
    REQUIRE(suite.as_array().size() == 38);
    for (const json::value& entry : suite.as_array()) {
        const json::object& vector = entry.as_object();
        CAPTURE(text_of(vector, "name"));
        const std::string expected = text_of(vector, "canonical");
        const std::vector<std::string> lines = split(expected, '\n');
        const std::vector<std::string> names = split(lines[lines.size() - 2], ';');
        const std::vector<std::string_view> also(names.begin(), names.end());
        const std::string token = text_of(vector, "token");

        AwsSigning in = suite_signing();
        in.keys.session_token = token;
        in.also_sign = also;
        in.payload = lines.back();
        if (const json::value* normalize = vector.if_contains("normalize"); normalize && !normalize->as_bool()) {
            in.path = AwsSigning::Path::as_s3;
        }
        RequestHead head = request(text_of(vector, "method"), text_of(vector, "target"));
        for (const json::value& field : vector.at("fields").as_array()) {
            head.fields.add(field.at(0).as_string(), field.at(1).as_string());
        }
        // The suite's signer adds it where the body is signed.
        if (std::count(names.begin(), names.end(), "x-amz-content-sha256"))
            head.fields.add("X-Amz-Content-Sha256", "dummy");
        const std::string body = text_of(vector, "body");
        if (!body.empty()) CHECK(to_hex(hash_of(HashAlgorithm::sha256, body).bytes()) == lines.back());

        const std::string signature = sign(in, head);
        CHECK(canonical(in, head) == expected);
        CHECK(signature == text_of(vector, "signature"));
        CHECK(value_of(head, "Authorization") ==
              "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
                  lines[lines.size() - 2] + ", Signature=" + signature);
        CHECK(value_of(head, "X-Amz-Date") == "20150830T123600Z");
    }
}

// "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", Amazon S3 API
// Reference.
TEST_CASE("the examples of the S3 documentation are signed as published") {
    AwsSigning in = s3_signing();
    const std::string_view range[] = {"range"}, date[] = {"date"};

    in.also_sign = range;
    RequestHead get = request("GET", "/test.txt", {{"Range", "bytes=0-9"}});
    CHECK(sign(in, get) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

    RequestHead lifecycle = request("GET", "/?lifecycle");
    CHECK(sign(in, lifecycle) == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");

    RequestHead list = request("GET", "/?max-keys=2&prefix=J");
    CHECK(sign(in, list) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");

    // PUT test$file.text signs Date, which sign_aws takes away: nothing is lost, since X-Amz-Date stands for it. Its
    // canonical request is AWS's but for that line.
    in.also_sign = date;
    in.payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    RequestHead put =
        request("PUT", "/test%24file.text",
                {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}});
    sign(in, put);
    CHECK(canonical(in, put) == "PUT\n/test%24file.text\n\nhost:examplebucket.s3.amazonaws.com\nx-amz-content-sha256:" +
                                    std::string(in.payload) +
                                    "\nx-amz-date:20130524T000000Z\nx-amz-storage-class:REDUCED_REDUNDANCY\n\n"
                                    "host;x-amz-content-sha256;x-amz-date;x-amz-storage-class\n" +
                                    std::string(in.payload));
}

TEST_CASE("nothing of the application's own signature is left") {
    AwsSigning in = s3_signing();
    in.keys.session_token = "ours";
    RequestHead head =
        request("GET",
                "/k?versionId=7&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=dummy%2F20200101&x-amz-date=1&X-Amz-"
                "Expires=60"
                "&X-Amz-SignedHeaders=host&X%2DAmz%2DSignature=00&X-Amz-Security-Token=dummy&partNumber=1",
                {{"Authorization", "AWS4-HMAC-SHA256 Credential=dummy"},
                 {"Date", "Mon, 01 Jan 2001 00:00:00 GMT"},
                 {"x-amz-date", "20010101T000000Z"},
                 {"X-AMZ-DATE", "20010101T000001Z"},
                 {"X-Amz-Security-Token", "dummy"},
                 {"X_Amz_Security_Token", "dummy"},
                 {"x-amz-s3session-token", "dummy"},
                 {"Authorization", "Bearer second"}});
    sign(in, head);
    CHECK(head.target == "/k?versionId=7&partNumber=1");
    std::string text;
    head.fields.append_to(text);
    CHECK(text.find("dummy") == text.npos);
    CHECK(text.find("2001") == text.npos);
    CHECK(text.find("second") == text.npos);
    CHECK(value_of(head, "X-Amz-Security-Token") == "ours");
    CHECK(head.fields.count(Known::authorization) == 1);
}

TEST_CASE("what was signed with version 2 is signed anew like anything else: in the query where all of it is there, in the header always") {
    RequestHead head = request("GET", "/k?versionId=7&AWSAccessKeyId=dummy&Signature=a%2Bb%3D&x-amz-security-token=dummy&Expires=1795817564&partNumber=1");
    SECTION("in the query") {}
    SECTION("encoded") { head.target = "/k?versionId=7&%41WSAccessKeyId=dummy&Signature=dummy&Expires=9&partNumber=1"; }
    SECTION("in the header") {
        head = request("GET", "/k?versionId=7&partNumber=1", {{"Authorization", "AWS dummy:frJIUN8DYpKDtOLCwo//yllqDzg="}, {"Date", "Tue, 27 Mar 2007 19:36:42 +0000"}});
    }
    sign(s3_signing(), head);
    CHECK(head.target == "/k?versionId=7&partNumber=1");
    CHECK(head.fields.count(Known::authorization) == 1);
    CHECK(value_of(head, "Authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKI"));
    CHECK(value_of(head, "Date") == "(none)");
}

TEST_CASE("a parameter that only shares its name with those of signature version 2 stays") {
    const std::string target = GENERATE("/k?Expires=1&Signature=mine", "/k?AWSAccessKeyId=x&Expires=1", "/k?AWSAccessKeyId=x&Signature=y", "/k?Signature=mine");
    RequestHead head = request("GET", target);
    sign(s3_signing(), head);
    CHECK(head.target == target);
}

TEST_CASE("a query that was nothing but a presigned signature is gone with its question mark") {
    RequestHead head = request("GET", "/k?X-Amz-Signature=00");
    sign(s3_signing(), head);
    CHECK(head.target == "/k");
}

TEST_CASE("without a session token of ours the application's is removed all the same") {
    RequestHead head = request("GET", "/", {{"X-Amz-Security-Token", "dummy"}});
    sign(suite_signing(), head);
    CHECK(value_of(head, "X-Amz-Security-Token") == "(none)");
}

TEST_CASE("what a proxy may change is not signed") {
    RequestHead head = request("POST", "/",
                               {{"Host", "dummy.internal"},
                                {"Connection", "keep-alive"},
                                {"User-Agent", "sdk/1"},
                                {"X-Amzn-Trace-Id", "Root=1"},
                                {"Expect", "100-continue"},
                                {"Transfer-Encoding", "chunked"},
                                {"Content-Type", "application/x-amz-json-1.0"},
                                {"Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="},
                                {"X-Amz-Target", "DynamoDB_20120810.GetItem"}});
    AwsSigning in = suite_signing();
    in.host = "dynamodb.us-east-1.amazonaws.com";
    sign(in, head);
    const std::string text = canonical(in, head);
    CHECK(line(text, 9) == "content-md5;content-type;host;x-amz-date;x-amz-target");
    CHECK(text.find("\nhost:dynamodb.us-east-1.amazonaws.com\n") != text.npos);
}

TEST_CASE("the path of S3 is signed as it is sent, that of others encoded once more") {
    AwsSigning s3 = s3_signing(), other = suite_signing();
    const auto path = [](const AwsSigning& in, std::string target) {
        return line(canonical(in, request("GET", std::move(target))), 1);
    };
    CHECK(path(s3, "/a%20b/c%2Bd") == "/a%20b/c%2Bd");
    CHECK(path(s3, "/a(b)/%c3%a9") == "/a%28b%29/%C3%A9");        // the encoding is normalised
    CHECK(path(s3, "/photos//2024/./x") == "/photos//2024/./x");  // the path is not: a key is any text
    CHECK(path(other, "/a%20b/c%3Ad") == "/a%2520b/c%253Ad");
    CHECK(path(other, "/a//b/./c/../d/") == "/a/b/d/");
    CHECK(path(other, "") == "/");
    CHECK(path(other, "*") == "/");

    s3.prefix = "/store";
    other.prefix = "/v1/x";
    CHECK(path(s3, "/k") == "/store/k");
    CHECK(path(other, "/k?q=1") == "/v1/x/k");
    for (const std::string_view kin : {"s3express", "s3-outposts", "s3-object-lambda"}) {
        s3.service = kin;
        CHECK(path(s3, "/a%20b") == "/store/a%20b");
    }
}

TEST_CASE("a query is signed sorted, decoded and encoded again") {
    const auto query = [](std::string target) {
        RequestHead head = request("GET", std::move(target));
        sign(suite_signing(), head);
        return line(canonical(suite_signing(), head), 2);
    };
    CHECK(query("/?b=2&a=1&b=1&a") == "a=&a=1&b=1&b=2");
    CHECK(query("/?a=b=c&x=%2f%7e") == "a=b%3Dc&x=%2F~");
    CHECK(query("/?a=x+y") == "a=x%20y");
    CHECK(query("/?a=%2B&&") == "a=%2B");
    CHECK(query("/?a=100%") == "a=100%25");
    CHECK(query("/?a-b=1&a=2") == "a=2&a-b=1");  // by name, not by the whole "a-b=1"
    CHECK(query("/?") == "");
    CHECK(query("/?uploads") == "uploads=");

    RequestHead head = request("GET", "/a+b?c=d+e");
    sign(suite_signing(), head);
    CHECK(head.target == "/a+b?c=d%20e");  // what is signed is what is sent
}

TEST_CASE("X-Amz-Content-Sha256 is set for S3, and replaced where it stands") {
    AwsSigning in = s3_signing();
    in.payload = "UNSIGNED-PAYLOAD";
    RequestHead s3 = request("PUT", "/k", {{"x-amz-content-sha256", "old"}});
    sign(in, s3);
    CHECK(value_of(s3, "X-Amz-Content-Sha256") == "UNSIGNED-PAYLOAD");
    CHECK(canonical(in, s3).ends_with("\nUNSIGNED-PAYLOAD"));

    RequestHead none = request("POST", "/"), some = request("POST", "/", {{"X-Amz-Content-Sha256", "old"}});
    sign(suite_signing(), none);
    sign(suite_signing(), some);
    CHECK(value_of(none, "X-Amz-Content-Sha256") == "(none)");
    CHECK(value_of(some, "X-Amz-Content-Sha256") == empty_sha256);
}

TEST_CASE("a kept signing key is used until the day, the scope or the keys change") {
    AwsKeyCache cache;
    const auto with_cache = [&](const AwsSigning& in) {
        RequestHead head = request("GET", "/");
        AwsSigned out;
        sign_aws(in, cache, head, out);
        return out.signature;
    };
    const auto anew = [](const AwsSigning& in) {
        RequestHead head = request("GET", "/");
        return sign(in, head);
    };
    AwsSigning in = suite_signing();
    std::vector<AwsSigning> turns(9, in);
    turns[2].now += 24h;
    turns[3].region = "eu-west-1";
    turns[4].service = "other";
    turns[5].keys.access_key_id = "AKIDOTHER";
    turns[6].keys.secret_access_key = "rotated under the same id";
    turns[7].now += 11h;
    for (const AwsSigning& turn : turns) CHECK(with_cache(turn) == anew(turn));
    CHECK(anew(turns[0]) != anew(turns[6]));
}

TEST_CASE("a signing key that nobody signs with any more is forgotten") {
    AwsKeyCache cache;
    const AwsSigning in = suite_signing();
    const std::string key(cache.key(in.keys, "20150830", in.region, in.service).bytes());
    cache.tidy();
    CHECK_FALSE(cache.empty());   // it was used
    cache.key(in.keys, "20150830", in.region, in.service);
    cache.tidy();
    CHECK_FALSE(cache.empty());
    cache.tidy();
    CHECK(cache.empty());
    cache.tidy();
    CHECK(cache.key(in.keys, "20150830", in.region, in.service).bytes() == key);
}

TEST_CASE("what the signature says of a body is the application's word, or the service's custom") {
    using Kind = AwsPayload::Kind;
    const std::string hash(64, 'a');
    struct Case {
        std::string service, sha256;
        bool has_body;
        Kind kind;
        std::string text;
    };
    const Case cases[] = {
        {"s3", hash, true, Kind::given, hash},
        {"sqs", hash, true, Kind::given, hash},
        {"s3", "", false, Kind::given, std::string(empty_sha256)},
        {"sqs", "", false, Kind::given, std::string(empty_sha256)},
        {"s3", "", true, Kind::unsigned_payload, "UNSIGNED-PAYLOAD"},
        {"s3express", "", true, Kind::unsigned_payload, "UNSIGNED-PAYLOAD"},
        {"sqs", "", true, Kind::must_hash, ""},
        {"vpc-lattice-svcs", "UNSIGNED-PAYLOAD", true, Kind::unsigned_payload, "UNSIGNED-PAYLOAD"},
        {"s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", true, Kind::streaming_signed, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        {"s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", true, Kind::streaming_signed_trailer,
         "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
        {"s3", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", true, Kind::streaming_unsigned_trailer,
         "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.service, c.sha256, c.has_body);
        RequestHead head = request("PUT", "/");
        if (!c.sha256.empty()) head.fields.add("x-amz-content-sha256", c.sha256);
        const auto payload = judge_aws_payload(c.service, head, c.has_body);
        REQUIRE(payload.has_value());
        CHECK(payload->kind == c.kind);
        CHECK(payload->text == c.text);
    }
}

TEST_CASE("bodies whose signatures cannot be made anew are refused in words") {
    const std::pair<const char*, const char*> cases[] = {
        {"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "SigV4a"},
        {"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", "SigV4a"},
        {"STREAMING-AWS4-HMAC-SHA256-EVENTS", "event stream"},
        {"required", "neither a SHA-256"},
        {"abc", "neither a SHA-256"},
    };
    for (const auto& [value, words] : cases) {
        CAPTURE(value);
        const auto payload = judge_aws_payload("s3", request("PUT", "/", {{"X-Amz-Content-Sha256", value}}), true);
        REQUIRE(!payload);
        CHECK(payload.error().reason == Reason::bad_request);
        CHECK(payload.error().origin == Origin::application);
        CHECK(payload.error().detail.find(words) != std::string::npos);
    }
    const auto twice = judge_aws_payload(
        "s3", request("PUT", "/", {{"X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"}, {"x-amz-content-sha256", "other"}}), true);
    REQUIRE(!twice);
    CHECK(twice.error().detail.find("twice") != std::string::npos);
}
