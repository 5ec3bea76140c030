#include "proxy/credentials/aws_error.hpp"

#include <catch2/catch.hpp>
#include <utility>
#include <vector>

using namespace sluice;

namespace {

using Given = std::vector<std::pair<std::string_view, std::string_view>>;

ResponseHead answer(unsigned status, const Given& fields) {
    ResponseHead head;
    head.status = status;
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    return head;
}

}  // namespace

TEST_CASE("a head says that a key is refused by its status and code together") {
    const auto said = [](unsigned status, std::string_view type) { return says_key_is_refused(answer(status, {{"x-amzn-ErrorType", type}}), "lambda"); };
    CHECK(said(403, "ExpiredTokenException") == true);
    CHECK(said(400, "com.amazon.coral.service#UnrecognizedClientException") == true);
    CHECK(said(403, "InvalidClientTokenId:http://internal.amazon.com/coral/com.amazon.coral.service/") == true);
    CHECK(said(403, "AccessDeniedException") == false);
    CHECK(said(403, "InvalidSignatureException") == false);
    CHECK(said(500, "ExpiredTokenException") == false);
    CHECK(said(200, "") == false);
}

TEST_CASE("a body may say that a key is refused where it is AWS's own XML or JSON, and not an application's behind it") {
    struct Row {
        Given fields;
        bool may_say;
        std::string_view service = "dynamodb";
        unsigned status = 400;
    };
    const Row row = GENERATE(values<Row>({
        {{{"Content-Type", "application/x-amz-json-1.0"}}, true},
        {{{"Content-Type", "Application/X-Amz-Json-1.1; charset=utf-8"}}, true},
        {{{"Content-Type", "application/xml"}}, true, "s3", 403},
        {{{"Content-Type", "text/xml;charset=utf-8"}}, true, "sts", 403},
        {{{"Content-Type", "application/json"}, {"x-amzn-RequestId", "1"}}, true, "glacier"},
        {{{"Content-Type", "application/json"}, {"x-amz-request-id", "1"}}, true, "s3"},
        {{{"Content-Type", "application/xml"}, {"Content-Encoding", "identity"}}, true, "s3"},
        {{{"Content-Type", "application/xml"}, {"Content-Encoding", " Identity"}}, true, "s3"},
        {{{"Content-Type", "application/xml"}, {"Content-Encoding", "gzip"}}, false, "s3"},
        {{{"Content-Type", "application/json"}}, false},
        {{{"Content-Type", "application/json"}, {"x-amzn-RequestId", "1"}}, false, "execute-api"},   // API Gateway, which has that always
        {{{"Content-Type", "application/json"}, {"x-amzn-RequestId", "1"}}, false, "lambda"},        // likewise a function's URL
        {{{"Content-Type", "application/xml"}}, false, "execute-api"},
        {{{"Content-Type", "text/event-stream"}, {"x-amzn-RequestId", "1"}}, false},
        {{{"Content-Type", "application/vnd.amazon.eventstream"}, {"x-amzn-RequestId", "1"}}, false},
        {{{"Content-Type", "text/plain"}, {"x-amzn-RequestId", "1"}}, false},
        {{{"Content-Type", "json"}, {"x-amzn-RequestId", "1"}}, false},
        {{{"x-amzn-RequestId", "1"}}, false},
        {{{"Content-Type", "application/xml"}}, false, "s3", 404},
    }));
    INFO(row.service << ' ' << row.status << (row.fields.empty() ? std::string_view() : row.fields.front().second));
    CHECK(says_key_is_refused(answer(row.status, row.fields), row.service) == (row.may_say ? std::optional<bool>() : std::optional<bool>(false)));
}

TEST_CASE("a body says that a key is refused in its code alone") {
    for (const char* refused : {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>",
                                "<Response><Errors><Error><Code>InvalidAccessKeyId</Code></Error></Errors></Response>",
                                "\r\n<ErrorResponse xmlns=\"https://a/>\"><Error><Type>Sender</Type><Code> InvalidClientTokenId </Code></Error></ErrorResponse>",
                                "\xEF\xBB\xBF<!DOCTYPE x><!-- <Code>AccessDenied</Code> --><Error><Empty/><a><![CDATA[<Code>]]></a><Code>ExpiredToken</Code ></Error>",
                                R"({"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token is invalid."})",
                                R"({ "message" : "x", "code" : "ExpiredTokenException" })", "\xEF\xBB\xBF {\"code\":\"ExpiredToken\"}"}) {
        INFO(refused);
        CHECK(tells_of_refused_key(refused));
    }
    for (const char* other : {"", "ExpiredToken", "<Error><Code>AccessDenied</Code><Message>ExpiredToken</Message></Error>", "<Error><Code>ExpiredToken", "<Error></Code><Code>",
                              "<Error><!-- <Code>ExpiredToken</Code> --><Code>AccessDenied</Code></Error>", "<!-- <Error><Code>ExpiredToken</Code></Error> -->", "<Error><!-- <Code>ExpiredToken</Code>",
                              "<Code>ExpiredToken</Code>", "<Orders><Error><Code>ExpiredToken</Code></Error></Orders>", "<Error><Detail><Code>ExpiredToken</Code></Detail></Error>",
                              "<Error><![CDATA[<Code>ExpiredToken</Code>]]></Error>", "<Error a=\"><Code>ExpiredToken</Code>\"></Error>", "</Error><Error>", "<>", "</", "<Error/><Code>ExpiredToken</Code>",
                              R"({"__type":"AccessDeniedException","message":"ExpiredTokenException"})", R"({"items":[{"code":"ExpiredToken"}]})", R"({"__type":)", "{", "<"}) {
        INFO(other);
        CHECK_FALSE(tells_of_refused_key(other));
    }
}
