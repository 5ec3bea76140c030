#include "proxy/policy/token_cost.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/walk.hpp"

using namespace sluice;

namespace {

std::optional<Usage> read(std::string_view type, std::string_view body, std::size_t piece) {
    UsageReader reader;
    reader.start(type);
    for (std::size_t at = 0; at < body.size() && reader.wants_body(); at += piece) reader.read(body.substr(at, piece));
    return reader.usage();
}

const std::string text(400, 'x');  // 100 tokens

}  // namespace

TEST_CASE("a call costs a quarter of its texts' bytes and what may be answered") {
    struct Case {
        std::string body;
        std::uint64_t tokens;
    };
    const Case cases[] = {
        // OpenAI
        {R"({"model":"m","messages":[{"role":"user","content":")" + text + R"("}],"max_tokens":50})", 151},
        {R"({"max_completion_tokens":50,"n":3,"messages":[{"role":"user","content":[{"type":"text","text":")" + text +
             R"("}]}]})",
         252},
        {R"({"prompt":[")" + text + R"(",")" + text + R"("],"max_tokens":10})", 210},
        {R"({"prompt":[[1,2,3],[4,5]],"max_tokens":10})", 15},
        {R"({"input":")" + text + R"(","max_output_tokens":7,"instructions":")" + text + R"("})", 207},
        {R"({"input":[1,2,3,4]})", 4},
        // Anthropic
        {R"({"system":")" + text + R"(","messages":[{"role":"user","content":")" + text + R"("}],"max_tokens":1024})",
         1225},
        // Gemini, Bedrock
        {R"({"contents":[{"parts":[{"text":")" + text +
             R"("}]}],"generationConfig":{"maxOutputTokens":20,"candidateCount":2}})",
         140},
        {R"({"messages":[{"content":[{"text":")" + text + R"("}]}],"inferenceConfig":{"maxTokens":30}})", 130},
        // images are no text
        {R"({"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://)" + text + R"("}}]}]})", 3},
        {R"({"messages":[{"content":[{"source":{"data":")" + text + R"("}}]}],"max_tokens":5})", 5},
        {R"({"messages":[{"content":"data:image/png;base64,)" + text + R"("}]})", 1},
        // not JSON, or none of ours
        {"", 1},
        {text, 100},
        {"{" + text, 100},
        {"\"" + text + "\"", 100},
        {"{}", 1},
        {R"({"n":5})", 1},
        // hostile
        {R"({"max_tokens":99999999999999999999})", 1},
        {R"({"max_tokens":18446744073709551615,"n":18446744073709551615})", 1'280'000'000},
        {R"({"max_tokens":-5,"n":0})", 1},
        {R"({"max_tokens":1.5e300})", 1},
        {R"({"max_tokens":10,"max_tokens":20})", 20},
        {R"({"metadata":{"max_tokens":10}})", 1},
        {std::string(100'000, '['), 25'000},
    };
    for (const Case& c : cases) {
        CAPTURE(c.body.substr(0, 200));
        CHECK(estimate_tokens(c.body) == c.tokens);
    }
    CHECK(estimate_tokens("{\"prompt\":\"" + std::string(20'000'000, 'x') + "\"}") == 5'000'001);
    CHECK(estimate_tokens(R"({"max_tokens":10,"prompt":")" + text) == 110);  // the first part of a body
}

TEST_CASE("usage is found in answers of every shape, however they arrive") {
    struct Case {
        const char *type, *body;
        std::optional<Usage> usage;
    };
    const Case cases[] = {
        {"application/json",
         R"({"id":"x","choices":[{"message":{"content":"usage: {\"total_tokens\":1}"}}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4}}})",
         Usage{9, 12, 21}},
        {"application/json; charset=utf-8",
         R"({"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":7,"output_tokens":3}})",
         Usage{15, 3, 18}},
        {"application/json",
         R"({"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":8,"totalTokenCount":15}})", Usage{4, 8, 15}},
        {"application/json", R"({"output":{},"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}})",
         Usage{1, 2, 3}},
        {"application/json",
         "[{\"usageMetadata\":{\"promptTokenCount\":4}},\r\n{\"usageMetadata\":{\"promptTokenCount\":4,"
         "\"totalTokenCount\":9}}]",
         Usage{4, 0, 9}},
        {"application/x-ndjson", "{\"a\":1}\n{\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n",
         Usage{2, 3, 5}},
        {"text/event-stream",
         "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}\n\ndata: "
         "[DONE]\n\n",
         Usage{5, 6, 11}},
        {"text/event-stream;charset=utf-8",
         "event: message_start\r\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\r\n\r\n"
         ": ping\r\n\r\nevent: message_delta\r\ndata: "
         "{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\r\n\r\n",
         Usage{25, 15, 40}},
        {"text/event-stream",
         "event: response.completed\ndata: "
         "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_"
         "tokens\":7}}}\n\n",
         Usage{3, 4, 7}},
        {"text/event-stream", "data:{\"usage\":\rdata: {\"total_tokens\":8}}\r\r",
         Usage{0, 0, 8}},                                                                   // one event, two lines
        {"text/event-stream", "data: {\"usage\":{\n\ndata: \"total_tokens\":8}}\n\n", {}},  // two events
        {"text/event-stream", "data: not json\n\ndata: {\"usage\":{\"total_tokens\":8}}\n\n", Usage{0, 0, 8}},
        {"text/event-stream",
         "dat: {\"usage\":{\"total_tokens\":8}}\n\nxdata: {\"usage\":{\"total_tokens\":8}}\n\n",
         {}},
        {"application/json", R"({"metadata":{"usage":{"total_tokens":8}}})", {}},
        {"application/json", R"({"choices":[{"usage":{"total_tokens":8}}]})", {}},
        {"application/json",
         R"({"usage":{"total_tokens":"8","prompt_tokens":-4,"completion_tokens":99999999999999999999}})",
         {}},
        {"application/json", R"({"usage":{"total_tokens":8)", {}},
        {"application/json", "nothing", {}},
        {"text/plain", R"({"usage":{"total_tokens":8}})", {}},
        {"", R"({"usage":{"total_tokens":8}})", {}},
    };
    for (const Case& c : cases) {
        for (const std::size_t piece : {1, 2, 5, 64, 100'000}) {
            CAPTURE(c.body, piece);
            CHECK(read(c.type, c.body, piece) == c.usage);
        }
    }
}

TEST_CASE("a reader stops where nothing can come, and begins anew") {
    UsageReader reader;
    reader.start("text/html");
    CHECK_FALSE(reader.wants_body());
    reader.start("application/json");
    reader.read("<html>");
    CHECK_FALSE(reader.wants_body());
    reader.start("application/json");
    reader.read(R"({"usage":{"total_tokens":8}})");
    CHECK(reader.usage());
    reader.start("application/json");
    CHECK_FALSE(reader.usage());
}

TEST_CASE("random walk: hostile bodies are only read") {
    const std::string_view words[] = {"{",
                                      "}",
                                      "[",
                                      "]",
                                      ":",
                                      ",",
                                      "\"usage\"",
                                      "\"total_tokens\"",
                                      "\"max_tokens\"",
                                      "\"n\"",
                                      "7",
                                      "-",
                                      "null",
                                      "\\u00",
                                      "\"",
                                      "data:",
                                      "\n",
                                      "\n\n",
                                      "\r",
                                      "\"messages\"",
                                      "x"};
    walk::Dice dice(5);
    for (int i = 0; i < 200'000 / walk::slower; ++i) {
        std::string body;
        for (auto n = dice.below(24); n > 0; --n) body += words[dice.below(std::size(words))];
        if (estimate_tokens(body) == 0) FAIL(body);
        for (const char* type : {"application/json", "text/event-stream"}) {
            if (read(type, body, 1) != read(type, body, 1000)) FAIL(body);
        }
    }
}
