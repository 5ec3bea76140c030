#include "proxy/credentials/hmac_signer.hpp"

#include <catch2/catch.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/http/date.hpp"

using namespace sluice;

namespace {

using Use = HmacTemplate::Use;

HmacTemplate compiled(std::string_view text, Use use = Use::string_to_sign) {
    std::string why;
    auto out = HmacTemplate::compile(text, use, why);
    INFO(why);
    REQUIRE(out.has_value());
    return *out;
}

std::string fault(std::string_view text, Use use = Use::string_to_sign) {
    std::string why;
    return HmacTemplate::compile(text, use, why) ? "(none)" : why;
}

HmacHeader header(std::string name, std::string_view value) {
    return {std::move(name), compiled(value, Use::header_value)};
}

HmacRequest at_noon(std::string_view body = "") {
    HmacRequest request;
    request.now = *parse_rfc3339("2015-08-30T12:36:00.250Z");
    for (unsigned char i = 0; i < 16; ++i) request.nonce[i] = i;
    request.host = "api.example.com";
    request.body = body;
    return request;
}

RequestHead post(std::string target = "/pay?to=1") {
    RequestHead head;
    head.method = "POST";
    head.target = std::move(target);
    return head;
}

std::string render(std::string_view text, const HmacRequest& request, const RequestHead& head) {
    std::string out;
    compiled(text).render(out, request, head, "");
    return out;
}

std::string value_of(const RequestHead& head, std::string_view name) {
    return std::string(head.fields.find(name).value_or("(none)"));
}

}  // namespace

TEST_CASE("each placeholder stands for its part of the request") {
    RequestHead head = post();
    head.fields.add("X-Id", "a");
    head.fields.add("x-id", "b");
    HmacRequest request = at_noon("{}");
    request.prefix = "/v1";
    const std::pair<const char*, const char*> cases[] = {
        {"{method} {path}", "POST /v1/pay"},
        {"{query}|{target}", "to=1|/v1/pay?to=1"},
        {"{host}", "api.example.com"},
        {"{timestamp}.{timestamp_ms}", "1440938160.1440938160250"},
        {"{date}", "Sun, 30 Aug 2015 12:36:00 GMT"},
        {"{iso8601}", "2015-08-30T12:36:00Z"},
        {"{nonce}", "000102030405060708090a0b0c0d0e0f"},
        {"{body}", "{}"},
        // printf {} | openssl dgst -sha256 -r; ... -binary | base64
        {"{body_sha256}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
        {"{body_sha256_base64}", "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="},
        {"{header:X-ID}/{header:None}", "a, b/"},
        {"{{body}} }}{{", "{body} }{"},
        {"a\nb", "a\nb"},
        {"", ""},
    };
    for (const auto& [text, expected] : cases) {
        CAPTURE(text);
        CHECK(render(text, request, head) == expected);
    }
    CHECK(render("{query}", request, post("/pay")) == "");
}

TEST_CASE("a hash that is at hand already is used instead of the body") {
    HmacRequest request = at_noon("not this");
    request.body_sha256 = hash_of(HashAlgorithm::sha256, "{}");
    CHECK(render("{body_sha256}", request, post()).starts_with("44136fa3"));
}

TEST_CASE("a template that cannot be meant is refused with what was meant") {
    CHECK(fault("{timestmp}") == "unknown placeholder '{timestmp}' (did you mean '{timestamp}'?)");
    CHECK(fault("{Method}").find("did you mean '{method}'?") != std::string::npos);
    CHECK(fault("{header}").find("did you mean '{header:Name}'?") == std::string::npos);
    CHECK(fault("{\"a\":1}").find("a brace that means itself is written twice") != std::string::npos);
    CHECK(fault("{}").find("unknown placeholder '{}'") == 0);
    CHECK(fault("a{method").find("a '{' without its '}'") == 0);
    CHECK(fault("a}b").find("a '}' without its '{'") == 0);
    CHECK(fault("{header:}").find("names no header") != std::string::npos);
    CHECK(fault("{header:a b}").find("names no header") != std::string::npos);
    CHECK(fault("{signature}").find("only in the value of a header") != std::string::npos);
    CHECK(fault("{body}", Use::header_value).find("use {body_sha256}") != std::string::npos);
    CHECK(fault("a\nb", Use::header_value).find("control character") != std::string::npos);
    CHECK(fault("v1={signature}", Use::header_value) == "(none)");
}

TEST_CASE("whether the body has to be waited for is known beforehand") {
    CHECK(compiled("{body}").needs_body());
    CHECK(compiled("{body_sha256}").needs_body());
    CHECK(compiled("{body_sha256_base64}").needs_body());
    CHECK(!compiled("{body_sha256}").needs_body_bytes());
    CHECK(!compiled("{method}{target}{{body}}").needs_body());
    HmacScheme spec;
    spec.headers = {header("Digest", "SHA-256={body_sha256_base64}")};
    CHECK(spec.needs_body());
}

TEST_CASE("a set of headers that cannot work is refused") {
    const auto judged = [](std::vector<HmacHeader> headers) {
        HmacScheme spec;
        spec.headers = std::move(headers);
        return judge_hmac(spec);
    };
    CHECK(judged({header("X-Time", "{timestamp}"), header("X-Signature", "{signature}")}) == "");
    CHECK(judged({}).find("no header carries the signature") == 0);
    CHECK(judged({header("X-Time", "{timestamp}")}).find("no header carries the signature") == 0);
    CHECK(judged({header("X-Signature", "{signature}"), header("X-Time", "{timestamp}")}).find("X-Time stands after") !=
          std::string::npos);
    CHECK(judged({header("X Y", "{signature}")}).find("not the name of a header") != std::string::npos);
    CHECK(judged({header("Host", "{signature}")}).find("cannot be set") != std::string::npos);
    CHECK(judged({header("Content-Length", "{signature}")}).find("cannot be set") != std::string::npos);
    CHECK(judged({header("Connection", "{signature}")}).find("cannot be set") != std::string::npos);
    CHECK(judged({header("X-A", "1"), header("x_a", "{signature}")}).find("set twice") != std::string::npos);
}

// GitHub, "Validating webhook deliveries": the secret and payload that it gives for testing, and the signature.
TEST_CASE("a signature as GitHub's webhooks carry it") {
    HmacScheme spec;
    spec.string_to_sign = compiled("{body}");
    spec.headers = {header("X-Hub-Signature-256", "sha256={signature}")};
    RequestHead head = post();
    sign_hmac(spec, "It's a Secret to Everybody", at_noon("Hello, World!"), head);
    CHECK(value_of(head, "X-Hub-Signature-256") ==
          "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

// printf %s '1440938160.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test -r
TEST_CASE("a signature with its time, as Stripe's is") {
    HmacScheme spec;
    spec.string_to_sign = compiled("{timestamp}.{body}");
    spec.headers = {header("Stripe-Signature", "t={timestamp},v1={signature}")};
    RequestHead head = post();
    sign_hmac(spec, "whsec_test", at_noon(R"({"id":"evt_1"})"), head);
    CHECK(value_of(head, "Stripe-Signature") ==
          "t=1440938160,v1=0c47cda179c6a54ba2317338695b0579ad6d0afb0093b0f23169a1ea8fea50dd");
}

// printf %s 'https://api.example.com/v1/sms?to=%2B1500{"a":1}' | openssl dgst -sha1 -hmac 12345 -binary | base64
TEST_CASE("a signature over URL and body, as Twilio's is") {
    HmacScheme spec;
    spec.algorithm = HashAlgorithm::sha1;
    spec.encoding = HmacEncoding::base64;
    spec.string_to_sign = compiled("https://{host}{target}{body}");
    spec.headers = {header("X-Twilio-Signature", "{signature}")};
    HmacRequest request = at_noon(R"({"a":1})");
    request.prefix = "/v1";
    RequestHead head = post("/sms?to=%2B1500");
    sign_hmac(spec, "12345", request, head);
    CHECK(value_of(head, "X-Twilio-Signature") == "Lkt4reXVVvKpDjjgYiInTt+jcVU=");
}

// { printf 'POST\n/v1/pay\nto=1\nSun, 30 Aug 2015 12:36:00 GMT\n000102030405060708090a0b0c0d0e0f\n'
//   printf %s '{"a":1}' | openssl dgst -sha256 -binary | base64 -w0
// } | openssl dgst -sha512 -mac HMAC -macopt hexkey:4478...a056 -binary | base64 -w0
TEST_CASE("a canonical request over headers of its own, with a key in hexadecimal, as Adyen's is") {
    HmacScheme spec;
    spec.algorithm = HashAlgorithm::sha512;
    spec.encoding = HmacEncoding::base64;
    spec.string_to_sign = compiled("{method}\n{path}\n{query}\n{header:Date}\n{header:X-Nonce}\n{header:X-Digest}");
    spec.headers = {header("Date", "{date}"), header("X-Nonce", "{nonce}"), header("X-Digest", "{body_sha256_base64}"),
                    header("Authorization", "HMAC id=abc, sig={signature}")};
    CHECK(judge_hmac(spec) == "");
    HmacRequest request = at_noon(R"({"a":1})");
    request.prefix = "/v1";
    RequestHead head = post();
    head.fields.add("X-Nonce", "the application's own");
    sign_hmac(spec, *decode_hex("44782def547aaa06c910c43932b1eb0c71fc68d9d0c057550c48ec2acf6ba056"), request, head);
    CHECK(value_of(head, "Authorization") ==
          "HMAC id=abc, sig=UYXENjb6821ul8XSCUVuCdLPSrxxATPwnWJaGQllLrlJBVVp65fX/YhALGsZKDPedPzPC7qQtVjkoYWRejzsnA==");
    CHECK(value_of(head, "Date") == "Sun, 30 Aug 2015 12:36:00 GMT");
}

TEST_CASE("what the application put where a signature goes is neither sent nor signed") {
    HmacScheme spec;
    spec.string_to_sign = compiled("[{header:X-Signature}]");
    spec.headers = {header("X-Signature", "{signature}")};
    RequestHead forged = post(), clean = post();
    forged.fields.add("X-Signature", "forged");
    forged.fields.add("X_Signature", "forged");
    forged.fields.add("x-signature", "forged");
    sign_hmac(spec, "k", at_noon(), forged);
    sign_hmac(spec, "k", at_noon(), clean);
    std::string text;
    forged.fields.append_to(text);
    CHECK(text == "X-Signature: " + value_of(clean, "X-Signature") + "\r\n");
}

TEST_CASE("algorithms are known by their names") {
    CHECK(hash_named("sha256") == HashAlgorithm::sha256);
    CHECK(hash_named("SHA-512") == HashAlgorithm::sha512);
    CHECK(hash_named("sha1") == HashAlgorithm::sha1);
    CHECK(hash_named("sha384") == HashAlgorithm::sha384);
    CHECK(!hash_named("md5"));
    CHECK(!hash_named("sha"));
}

// RFC 4231 4.7 (a key longer than a block) and RFC 2202 3.
TEST_CASE("HMAC is as the standards' vectors have it") {
    const std::string key(131, '\xaa'), text = "Test Using Larger Than Block-Size Key - Hash Key First";
    CHECK(to_hex(hmac(HashAlgorithm::sha256, key, text).bytes()) ==
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    CHECK(to_hex(hmac(HashAlgorithm::sha384, key, text).bytes()) ==
          "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952");
    CHECK(to_hex(hmac(HashAlgorithm::sha1, "Jefe", "what do ya want for nothing?").bytes()) ==
          "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    // openssl dgst -sha256 -hmac "" of nothing
    CHECK(to_hex(hmac(HashAlgorithm::sha256, "", "").bytes()) ==
          "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST_CASE("base64 and hexadecimal are read back strictly") {
    // RFC 4648 10
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"}};
    for (const auto& [bytes, text] : vectors) {
        std::string padded, bare;
        append_base64(padded, bytes);
        append_base64url(bare, bytes);
        CHECK(padded == text);
        CHECK(bare == padded.substr(0, padded.find('=')));
        CHECK(decode_base64(padded) == bytes);
        CHECK(decode_base64(bare) == bytes);
        CHECK(decode_base64url(bare) == bytes);
    }
    CHECK(decode_base64("+/8=") == "\xfb\xff");
    CHECK(decode_base64url("-_8") == "\xfb\xff");
    for (const char* bad :
         {"Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm9-", "=", "==", "====", "Zm9v===="}) {
        CAPTURE(bad);
        CHECK(!decode_base64(bad));
    }
    CHECK(!decode_base64url("+/8"));
    CHECK(decode_hex("00fFa5") == std::string("\0\xff\xa5", 3));
    CHECK(!decode_hex("0"));
    CHECK(!decode_hex("0g"));
    std::string text;
    append_percent_encoded(text, "a b/\xc3\xa9~");
    CHECK(text == "a%20b%2F%C3%A9~");
    std::string back;
    append_percent_decoded(back, text + "%%4%zz");
    CHECK(back == "a b/\xc3\xa9~%%4%zz");
}
