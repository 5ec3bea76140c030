#include "proxy/credentials/aws_error.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

ResponseHead answer(unsigned status, std::string_view type) {
    ResponseHead head;
    head.status = status;
    if (!type.empty()) head.fields.add("x-amzn-ErrorType", type);
    return head;
}

}  // namespace

TEST_CASE("a head says that a key is refused by its status and code together") {
    const auto said = [](unsigned status, std::string_view type) { return says_key_is_refused(answer(status, type)); };
    CHECK(said(403, "ExpiredTokenException") == true);
    CHECK(said(400, "com.amazon.coral.service#UnrecognizedClientException") == true);
    CHECK(said(403, "InvalidClientTokenId:http://internal.amazon.com/coral/com.amazon.coral.service/") == true);
    CHECK(said(403, "AccessDeniedException") == false);
    CHECK(said(403, "InvalidSignatureException") == false);
    CHECK(said(500, "ExpiredTokenException") == false);
    CHECK(said(200, "") == false);
    CHECK_FALSE(said(403, ""));   // its body may say so
    CHECK_FALSE(said(400, ""));
}

TEST_CASE("a body says that a key is refused in its code alone, whoever wrote it") {
    CHECK(tells_of_refused_key("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"));
    CHECK(tells_of_refused_key("<Response><Errors><Error><Code>InvalidAccessKeyId</Code></Error></Errors></Response>"));
    CHECK(tells_of_refused_key("\r\n<ErrorResponse><Error><Type>Sender</Type><Code> InvalidClientTokenId </Code></Error></ErrorResponse>"));
    CHECK(tells_of_refused_key(R"({"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token is invalid."})"));
    CHECK(tells_of_refused_key(R"({ "message" : "x", "code" : "ExpiredTokenException" })"));
    for (const char* other : {"", "ExpiredToken", "<Error><Code>AccessDenied</Code><Message>ExpiredToken</Message></Error>", "<Error><Code>ExpiredToken", "<Error></Code><Code>",
                              R"({"__type":"AccessDeniedException","message":"ExpiredTokenException"})", R"({"items":[{"code":"ExpiredToken"}]})", R"({"__type":)", "{", "<"})
        CHECK_FALSE(tells_of_refused_key(other));
}
