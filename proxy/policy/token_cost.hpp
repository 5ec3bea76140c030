// What a call of a language model costs in tokens: estimated from the request before it goes (where it does not say how
// much may be answered, from the answers before it), read from the answer's own `usage` once it is known. Shapes:
// OpenAI (chat completions, completions, responses, embeddings), Anthropic messages, Gemini's generateContent,
// Bedrock's converse. Pure, bounded, safe with hostile input; one thread, but for `UsualAnswer`.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/base/json_scan.hpp"

namespace sluice {

/// What a call will cost, as far as its request tells.
struct TokenEstimate {
    std::uint64_t prompt = 0;
    std::optional<std::uint64_t> answer = 0;  // at most, each; nothing: it does not say
    std::uint64_t answers = 1;

    /// `usual`: of an answer, where the request does not say.
    std::uint64_t cost(std::uint64_t usual) const { return prompt + answer.value_or(usual) * answers; }
};

/// The prompt (a quarter of the bytes of its texts; images and files are left out) and what may be answered at most
/// (`max_tokens`, `max_completion_tokens`, `max_output_tokens`, `maxOutputTokens`), `n` times. What is not JSON, or has
/// no prompt, is not answered: a quarter of its bytes. At least 1. `body` may be the first part of a whole of `size`
/// bytes: what is behind it counts as text, unless it breaks off in something else.
TokenEstimate estimate_tokens(std::string_view body, std::uint64_t size);
inline TokenEstimate estimate_tokens(std::string_view body) { return estimate_tokens(body, body.size()); }

/// Bytes of a body that are read before it is sent on, so that its tokens can be estimated.
inline constexpr std::size_t worth_estimating = 1024 * 1024;

/// How long the answers of late were to requests that did not say how long they may be: a mean that follows longer ones
/// fast and shorter ones slowly, so that most answers are not longer. Any thread.
class UsualAnswer {
  public:
    static constexpr std::uint64_t at_first = 256;  // tokens, while nothing is known
    static constexpr std::uint64_t most = 65'536;   // what a vendor says beyond that is not believed

    std::uint64_t tokens() const { return (mean_.load(std::memory_order_relaxed) + parts - 1) / parts; }
    void observe(std::uint64_t tokens);

  private:
    static constexpr std::uint64_t parts = 64;  // of a token

    std::atomic<std::uint64_t> mean_{at_first * parts};
};

struct Usage {
    std::uint64_t prompt = 0;
    std::uint64_t completion = 0;
    std::uint64_t total = 0;  // as the vendor says, else prompt + completion

    bool operator==(const Usage&) const = default;
};

/// Reads the body of an answer as it goes by: JSON documents one after the other, or an event stream (`data:` lines).
/// Keeps nothing of it.
class UsageReader {
  public:
    /// An answer with that Content-Type begins. Other types than JSON and event streams say nothing; neither does a
    /// body with a content coding: do not feed it.
    void start(std::string_view content_type);
    /// False: nothing can come of reading on.
    bool wants_body() const { return form_ != Form::nothing; }
    /// The next piece of the body, without its transfer coding.
    void read(std::string_view piece);

    /// What is known so far; the last word counts (streams say what has been used up to there). Nothing: the vendor did
    /// not say, and the estimate stands.
    std::optional<Usage> usage() const;

  private:
    enum class Form : unsigned char { nothing, documents, events };
    enum class Line : unsigned char { begins, data, other };

    void read_json(std::string_view piece);
    void read_events(std::string_view piece);
    void end_line();
    void take_number(const JsonScan::Value& value);

    Form form_ = Form::nothing;
    Line line_ = Line::begins;
    bool after_cr_ = false;
    std::size_t matched_ = 0;  // of "data:", or 0 at the beginning of a line
    JsonScan scan_;
    std::optional<std::uint64_t> prompt_, cached_, completion_, total_;
};

}  // namespace sluice
