#include "proxy/policy/token_cost.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

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
        CHECK(estimate_tokens(c.body).cost(0) == c.tokens);
    }
    CHECK(estimate_tokens("{\"prompt\":\"" + std::string(20'000'000, 'x') + "\"}").cost(0) == 5'000'001);
    CHECK(estimate_tokens(R"({"max_tokens":10,"prompt":")" + text).cost(0) == 110);  // the first part of a body
}

TEST_CASE("who does not say how much may be answered costs what is usual, each of its answers") {
    const std::string prompt = R"("messages":[{"content":")" + text + R"("}])";
    CHECK(estimate_tokens("{" + prompt + "}").cost(250) == 350);
    CHECK(estimate_tokens("{" + prompt + R"(,"n":3})").cost(250) == 850);
    CHECK(estimate_tokens("{" + prompt + R"(,"max_tokens":null})").cost(250) == 350);
    CHECK(estimate_tokens("{" + prompt + R"(,"max_tokens":0})").cost(250) == 350);
    CHECK(estimate_tokens("{" + prompt + R"(,"max_tokens":7})").cost(250) == 107);
    CHECK(estimate_tokens("{" + prompt).cost(250) == 350);  // the first part of a body
    CHECK(estimate_tokens("{" + prompt, 1000 + prompt.size() + 1).cost(250) == 600);  // of which the rest is not seen
    CHECK(estimate_tokens("{" + prompt + R"(,"source":{"data":"AAAA)", 4'000'000).cost(250) == 350);  // of an image
    for (const char* unanswered : {"", "{}", "[]", R"({"model":"m"})", "file=data", "\"x\""}) {
        CAPTURE(unanswered);
        CHECK(estimate_tokens(unanswered).cost(250) <= 2);
    }
}

TEST_CASE("the usual answer follows longer ones fast and shorter ones slowly, within bounds") {
    UsualAnswer usual;
    CHECK(usual.tokens() == UsualAnswer::at_first);
    for (int i = 0; i < 20; ++i) usual.observe(2000);
    CHECK(usual.tokens() >= 1990);
    CHECK(usual.tokens() <= 2000);
    for (int i = 0; i < 20; ++i) usual.observe(0);
    CHECK(usual.tokens() > 500);
    for (int i = 0; i < 300; ++i) usual.observe(0);
    CHECK(usual.tokens() <= 1);
    for (int i = 0; i < 100; ++i) usual.observe(~std::uint64_t{0});
    CHECK(usual.tokens() == UsualAnswer::most);

    walk::Dice dice(3);
    UsualAnswer spread;
    int longer = 0;
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t answer = dice.below(1000);
        if (i >= 1000 && answer > spread.tokens()) ++longer;
        spread.observe(answer);
        if (spread.tokens() > 1000) FAIL("beyond all that was seen");
    }
    CHECK(longer < 19'000 * 2 / 5);
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
        if (estimate_tokens(body).cost(0) == 0) FAIL(body);
        for (const char* type : {"application/json", "text/event-stream"}) {
            if (read(type, body, 1) != read(type, body, 1000)) FAIL(body);
        }
    }
}

namespace {

/// A request as applications write them, and what it says.
struct Request {
    std::string body;
    std::uint64_t bytes = 0, ids = 0, answer = 0, answers = 1;
};

Request request_of(walk::Dice& dice) {
    Request request;
    std::vector<std::string> members;
    const auto word = [&](std::uint64_t most) { return std::string(dice.below(most), 'w'); };
    const auto counted = [&](std::string value) {
        request.bytes += value.size();
        return '"' + value + '"';
    };
    const auto number = [](std::uint64_t n) { return std::to_string(n); };
    for (auto n = dice.below(4); n > 0; --n) {
        switch (dice.below(4)) {
        case 0: {
            std::string messages;
            for (auto m = dice.below(3); m > 0; --m)
                messages +=
                    "{\"role\":" + counted("user") + ", \"content\" : " + counted(word(60)) + (m > 1 ? "},\n" : "}");
            members.push_back("\"messages\": [" + messages + "]");
            break;
        }
        case 1: {
            std::string ids;
            for (auto m = dice.below(5); m > 0; --m, ++request.ids)
                ids += number(dice.below(100'000)) + (m > 1 ? "," : "");
            members.push_back("\"input\":[" + ids + "]");
            break;
        }
        case 2: members.push_back("\"system\":" + counted(word(40))); break;
        case 3:
            members.push_back("\"messages\":[{\"content\":[{\"image_url\":{\"url\":\"" + word(50) +
                              "\"}},{\"text\":" + counted(word(30)) + "}]}]");
            break;
        }
    }
    if (dice.one_in(2)) {
        const std::uint64_t most = dice.below(5000);
        request.answer = std::max(request.answer, most);
        const char* names[] = {"max_tokens", "max_completion_tokens", "max_output_tokens"};
        members.push_back('"' + std::string(names[dice.below(3)]) + "\":" + number(most));
    }
    if (dice.one_in(4)) members.push_back("\"n\":" + number(request.answers = 1 + dice.below(5)));
    if (dice.one_in(3)) members.push_back("\"model\":\"" + word(20) + "\"");
    if (dice.one_in(3)) members.push_back("\"stream\":true,\"temperature\":0.7");
    if (dice.one_in(5)) members.push_back("\"metadata\":{\"max_tokens\":77,\"n\":9}");
    for (std::size_t i = members.size(); i > 1; --i) std::swap(members[i - 1], members[dice.below(i)]);
    request.body = "{";
    for (std::size_t i = 0; i < members.size(); ++i) request.body += (i > 0 ? "," : "") + members[i];
    request.body += "}";
    return request;
}

/// An answer, and what it says of its usage in the end.
struct Answer {
    std::string type, body;
    std::optional<Usage> usage;
};

Answer answer_of(walk::Dice& dice) {
    Answer answer;
    std::optional<std::uint64_t> prompt, completion, total;
    const auto document = [&] {
        std::string usage;
        const auto say = [&](const char* key, std::optional<std::uint64_t>& what) {
            if (dice.one_in(3)) return;
            what = dice.below(100'000);
            usage += (usage.empty() ? "" : ",") + ('"' + std::string(key) + "\":" + std::to_string(*what));
        };
        const bool tells = dice.one_in(2);
        if (tells) {
            const bool openai = dice.one_in(2);
            say(openai ? "prompt_tokens" : "input_tokens", prompt);
            say(openai ? "completion_tokens" : "output_tokens", completion);
            if (openai) say("total_tokens", total);
        }
        std::string out = "{\"id\":\"x\"";
        if (dice.one_in(2))
            out += ",\"choices\":[{\"delta\":{\"content\":\"" + std::string(dice.below(30), 'y') +
                   "\"},\"usage\":{\"total_tokens\":5}}]";
        if (tells) out += ",\"usage\":{" + usage + "}";
        return out + "}";
    };
    if (dice.one_in(2)) {
        answer.type = "application/json";
        answer.body = document();
    } else {
        answer.type = "text/event-stream";
        const char* end = dice.one_in(2) ? "\n" : "\r\n";
        for (auto n = 1 + dice.below(4); n > 0; --n) {
            if (dice.one_in(3)) answer.body += std::string(": ping") + end + end;
            if (dice.one_in(3)) answer.body += std::string("event: message") + end;
            answer.body += "data: " + document() + end + end;
        }
        if (dice.one_in(2)) answer.body += std::string("data: [DONE]") + end + end;
    }
    if (prompt || completion || total)
        answer.usage = Usage{prompt.value_or(0), completion.value_or(0),
                             total.value_or(prompt.value_or(0) + completion.value_or(0))};
    return answer;
}

}  // namespace

TEST_CASE("random walk: what requests and answers say is what is counted, a million times") {
    walk::Dice dice(11);
    std::uint64_t told = 0, unsaid = 0;
    for (int i = 0; i < 500'000 / walk::slower; ++i) {
        const Request request = request_of(dice);
        const std::uint64_t usual = dice.below(1000), prompt = (request.bytes + 3) / 4 + request.ids;
        const bool says = request.answer > 0 || prompt == 0;
        unsaid += !says;
        const std::uint64_t cost = prompt + (says ? request.answer : usual) * request.answers;
        if (estimate_tokens(request.body).cost(usual) != std::max<std::uint64_t>(cost, says ? 1 : prompt))
            FAIL(request.body);

        const Answer answer = answer_of(dice);
        told += answer.usage.has_value();
        if (read(answer.type, answer.body, 1 + dice.below(answer.body.size() + 1)) != answer.usage) FAIL(answer.body);
    }
    CHECK(told > 200'000 / walk::slower);
    CHECK(unsaid > 100'000 / walk::slower);
}
