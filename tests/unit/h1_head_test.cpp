#include "proxy/wire/h1_head.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

TEST_CASE(
    "what is wrong with a length or a coding is said in words that tell which and where, for both kinds of head") {
    struct Case {
        std::string fields, words;
    };
    const std::string length = "a Content-Length that is not one plain decimal number of 64 bits";
    const std::string coding = "a Transfer-Encoding other than a single 'chunked'";
    const Case table[] = {
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length and Transfer-Encoding in one "},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length and Transfer-Encoding in one "},
        {"Content-Length:\r\nTransfer-Encoding: chunked\r\n", "Content-Length and Transfer-Encoding in one "},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", "more than one Content-Length in one "},
        {"Content-Length: 5\r\nX-A: b\r\nContent-Length: 5\r\n", "more than one Content-Length in one "},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "more than one Transfer-Encoding in one "},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "more than one Transfer-Encoding in one "},
        {"Content-Length: 5, 5\r\n", length},
        {"Content-Length: +5\r\n", length},
        {"Content-Length: -5\r\n", length},
        {"Content-Length: 0x5\r\n", length},
        {"Content-Length: \r\n", length},
        {"Content-Length: 18446744073709551616\r\n", length},
        {"Transfer-Encoding: chunked, chunked\r\n", coding},
        {"Transfer-Encoding: gzip, chunked\r\n", coding},
        {"Transfer-Encoding: xchunked\r\n", coding},
        {"Transfer-Encoding: \r\n", coding},
    };
    for (const Case& each : table) {
        CAPTURE(each.fields);
        RequestHead request;
        auto fault =
            parse_head("POST /v1 HTTP/1.1\r\nHost: a.example\r\n" + each.fields + "X-Last: a\r\n\r\n", request);
        // What Beast lets pass is judged next; by whomever it is found, the words are the same.
        std::string words = fault ? fault->detail : judge_request_framing(request).error().detail;
        CHECK(words.starts_with(each.words));
        if (fault) CHECK_FALSE(fault->too_large);

        for (const char* status : {"200 OK", "204 No Content", "304 Not Modified"}) {
            CAPTURE(status);
            ResponseHead response;
            fault =
                parse_head("HTTP/1.1 " + std::string(status) + "\r\n" + each.fields + "X-Last: a\r\n\r\n", response);
            if (!fault) continue;  // a body that is none by its nature is not measured
            CHECK(fault->detail.starts_with(each.words));
        }
    }
}

TEST_CASE("Transfer-Encoding in HTTP/1.0 is called that") {
    RequestHead head;
    const auto fault = parse_head("POST / HTTP/1.0\r\nTransfer-Encoding: gzip, gzip, chunked, chunked\r\n\r\n", head);
    const std::string words = fault ? fault->detail : judge_request_framing(head).error().detail;
    CHECK(words == "Transfer-Encoding in an HTTP/1.0 request");
}

TEST_CASE("of an answer's phrase plain ASCII is kept, and ours stands for anything else") {
    struct Case {
        std::string line, phrase;
    };
    for (const Case& each : {Case{"HTTP/1.1 404 Nothing here", "Nothing here"}, Case{"HTTP/1.1 404 ", ""}, Case{"HTTP/1.1 404", ""},
                             Case{"HTTP/1.1 404 N\xC3\xA3o encontrado", "Not Found"}, Case{"HTTP/1.1 201 Cr\xE9\xE9", "Created"},
                             Case{"HTTP/1.1 200 All\tfine", "OK"}, Case{"HTTP/1.1 299 \xFF", ""}}) {
        CAPTURE(each.line);
        ResponseHead head;
        REQUIRE_FALSE(parse_head(each.line + "\r\nContent-Length: 0\r\n\r\n", head));
        CHECK(head.phrase == each.phrase);
    }
}
