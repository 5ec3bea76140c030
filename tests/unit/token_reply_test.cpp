#include "proxy/credentials/token_reply.hpp"

#include <catch2/catch.hpp>

#include "proxy/credentials/secret_json.hpp"

using namespace sluice;

namespace {

std::string denied(unsigned status, std::string_view body) {
    const auto read = read_token_reply(status, body);
    REQUIRE(std::holds_alternative<TokenDenied>(read));
    return std::get<TokenDenied>(read).what;
}

TokenGranted granted(std::string_view body) {
    auto read = read_token_reply(200, body);
    REQUIRE(std::holds_alternative<TokenGranted>(read));
    return std::move(std::get<TokenGranted>(read));
}

}  // namespace

TEST_CASE("a token endpoint grants a token, for how long, for what, and what replaces the refresh token") {
    const TokenGranted all = granted(R"({"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bearer","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","scope":"a b"})");   // RFC 6749 5.1
    CHECK(std::get<Secret>(all.minted.what).same_as("2YotnFZFEjr1zCsicMWpAA"));
    CHECK(all.minted.lifetime == 1h);
    CHECK(all.minted.scope == std::vector<std::string>{"a", "b"});
    CHECK(all.refresh_token.same_as("tGzv3JOkF0XG5Qx2TlKWIA"));

    const TokenGranted least = granted(R"({"access_token":"t"})");
    CHECK_FALSE(least.minted.lifetime);
    CHECK(least.refresh_token.empty());
    CHECK(granted(R"({"access_token":"t","expires_in":"60"})").minted.lifetime == 60s);   // as some write it
    CHECK(granted(R"({"access_token":"t","expires_in":59.9})").minted.lifetime == 59900ms);
    CHECK_FALSE(granted(R"({"access_token":"t","expires_in":null})").minted.lifetime);
    CHECK(granted(R"({"access_token":"t","token_type":"N_A"})").minted.scope.empty());
}

TEST_CASE("an issuer that lies about the lifetime is not believed") {
    for (const char* expires : {"0", "-1", "\"soon\"", "\"\"", "[]", "{}", "true", "\"1e9\"", "\"-5\"", "1e400", "-1e400"}) {
        CAPTURE(expires);
        CHECK(denied(200, std::string(R"({"access_token":"s3cr3t","expires_in":)") + expires + "}").starts_with("answered 200 but its token is over already"));
    }
    CHECK(granted(R"({"access_token":"t","expires_in":1e300})").minted.lifetime < std::chrono::hours(24 * 366));
}

TEST_CASE("a refresh token beside what is no good is told, from a success alone, if it can be kept") {
    const auto next = [](unsigned status, const std::string& token) {
        auto read = read_token_reply(status, R"({"access_token":"t","expires_in":0,"refresh_token":)" + token + "}");
        REQUIRE(std::holds_alternative<TokenDenied>(read));
        return std::string(std::get<TokenDenied>(read).refresh_token.reveal());
    };
    CHECK(next(200, "\"r\"") == "r");
    CHECK(next(201, "\"r\"") == "r");
    CHECK(next(400, "\"r\"").empty());
    CHECK(next(200, "7").empty());
    CHECK(next(200, "null").empty());
    CHECK(next(200, '"' + std::string(65 * 1024, 'r') + '"').empty());
}

TEST_CASE("what a token endpoint answers instead of a token is told, never shown") {
    CHECK(denied(401, R"({"error":"invalid_client","error_description":"unknown client"})") == "answered 401 invalid_client: unknown client");
    CHECK(denied(500, "<html>") == "answered 500");
    CHECK(denied(302, "") == "answered 302");
    CHECK(denied(200, "") == "answered 200 but its body is not a JSON object");
    CHECK(denied(200, "[]") == "answered 200 but its body is not a JSON object");
    CHECK(denied(200, "<html>") == "answered 200 but its body is not a JSON object");
    CHECK(denied(200, R"({"token":"s3cr3t"})") == "answered 200 but there is no access_token in it");
    CHECK(denied(200, R"({"access_token":""})") == "answered 200 but there is no access_token in it");
    CHECK(denied(200, R"({"access_token":["s3cr3t"]})") == "answered 200 but there is no access_token in it");
    CHECK(denied(200, R"({"access_token":"s3cr3t","token_type":"mac"})") == "answered 200 but the token_type is 'mac', not Bearer");
    CHECK(denied(200, R"({"access_token":"s3cr3t","access_token":"other"})") == "answered 200 but its body has two members of one name");
    CHECK(denied(200, "\x1f\x8b\x08...") == "answered 200 but its body is compressed (gzip), which it was not asked for");
    CHECK(denied(400, R"({"error":"a\u0007b","error_description":")" + std::string(5000, 'x') + "\"}") == "answered 400 a?b: " + std::string(200, 'x') + "...");
}

TEST_CASE("a refusal that comes with status 200 is the refusal that it is") {
    CHECK(denied(200, R"({"error":"bad_verification_code","error_description":"The code passed is incorrect."})") ==
          "answered 200 bad_verification_code: The code passed is incorrect.");
    const auto grant = std::get<TokenDenied>(read_token_reply(200, R"({"error":"invalid_grant","access_token":""})"));
    CHECK(grant.error == "invalid_grant");
    CHECK(grant.final);
    CHECK_FALSE(std::get<TokenDenied>(read_token_reply(200, R"({"error":"invalid_client"})")).final);
    CHECK(denied(200, R"({"error":"","error_description":"x"})") == "answered 200 but there is no access_token in it");
    CHECK(denied(200, R"({"error":{"code":1}})") == "answered 200 but there is no access_token in it");
    CHECK(granted(R"({"access_token":"t","error":"invalid_grant"})").minted.scope.empty());   // the token is what was asked for
}

TEST_CASE("some refusals are for good") {
    const auto is_final = [](const char* error) {
        return std::get<TokenDenied>(read_token_reply(400, std::string(R"({"error":")") + error + "\"}")).final;
    };
    CHECK(is_final("invalid_grant"));
    CHECK(is_final("invalid_scope"));
    CHECK_FALSE(is_final("temporarily_unavailable"));
    CHECK_FALSE(is_final("invalid_client"));   // its secret may be rotated
}

TEST_CASE("JSON that holds secrets is read strictly") {
    CHECK(SecretJson::parse(R"({"a":{"b":"c"}})")->text("a.b") == "c");
    CHECK_FALSE(SecretJson::parse(R"({"a":{"b":"c"}})")->text("a.c"));
    CHECK_FALSE(SecretJson::parse(R"({"a":{"b":"c"}})")->text("a"));
    for (const char* bad : {"", "{", "{}{}", "{\"a\":1,}", "{'a':1}", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":2}}", "nul", "\"\xFF\""}) {
        CAPTURE(bad);
        CHECK_FALSE(SecretJson::parse(bad));
    }
    CHECK_FALSE(SecretJson::parse(std::string(1000, '[') + std::string(1000, ']')));
    CHECK(SecretJson::parse(R"([{"a":1},{"a":2},{"b":"a:a\"","c":"a"}])"));
}
