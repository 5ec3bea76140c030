// What a call of a language model costs in tokens: estimated from the request before it goes, read from the answer's
// own `usage` when it is known. Shapes: OpenAI (chat completions, completions, responses, embeddings), Anthropic
// messages, Gemini's generateContent, Bedrock's converse. Pure, bounded, safe with hostile input; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/base/json_scan.hpp"

namespace sluice {

/// Tokens of the prompt (a quarter of the bytes of its texts, images and files left out) plus what may be answered at
/// most
/// (`max_tokens`, `max_completion_tokens`, `max_output_tokens`, `maxOutputTokens`), times `n`. What is not JSON: a
/// quarter of its bytes. At least 1. `body` may be a first part of the whole; what is behind it does not count.
std::uint64_t estimate_tokens(std::string_view body);

struct Usage {
    std::uint64_t prompt = 0;
    std::uint64_t completion = 0;
    std::uint64_t total = 0;  // as the vendor says, else prompt + completion

    bool operator==(const Usage&) const = default;
};

/// Reads the body of an answer as it goes by: one JSON document, or an event stream (`data:` lines), or a line of JSON
/// after the other. Keeps no body.
class UsageReader {
  public:
    /// An answer with that Content-Type begins. Other types than JSON and event streams say nothing.
    void start(std::string_view content_type);
    /// False: nothing can come of reading on.
    bool wants_body() const { return form_ != Form::nothing; }
    /// The next piece of the body, without transfer coding. A body with a content coding says nothing.
    void read(std::string_view piece);

    /// What is known so far; the last word counts (Anthropic's streams say what has been used up to there). Nothing:
    /// the vendor did not say, and the estimate stands.
    std::optional<Usage> usage() const;

  private:
    enum class Form : unsigned char { nothing, document, events };

    void read_events(std::string_view piece);
    void read_document(std::string_view piece);
    void take_value(const JsonScan& scan, const JsonScan::Value& value);

    Form form_ = Form::nothing;
    JsonScan scan_;
    unsigned char line_at_ = 0;  // bytes of "data:" seen at the front of a line
    bool skips_line_ = false;
    bool seen_ = false;
    std::uint64_t prompt_ = 0, cached_ = 0, completion_ = 0, total_ = 0;
};

}  // namespace sluice
