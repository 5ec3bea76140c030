#include "proxy/policy/token_cost.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

using Kind = JsonScan::Value::Kind;

constexpr std::size_t most_scanned = 4 * 1024 * 1024;
constexpr std::uint64_t most_tokens = 1'000'000'000'000, most_answer = 10'000'000, most_answers = 128;

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// The nearest key above the value, arrays left out.
std::string_view nearest_key(const JsonScan& scan) {
    for (std::size_t level = std::min(scan.depth(), JsonScan::most_keys); level > 0; --level) {
        if (!scan.in_array(level - 1)) return scan.key(level - 1);
    }
    return {};
}

/// Texts that a model reads. Bytes of images, sounds and files, and where they are, are not.
bool is_prompt(const JsonScan& scan, const JsonScan::Value& value) {
    return !value.text.starts_with("data:") &&
           !is_one_of(nearest_key(scan), {"data", "url", "image_url", "file_data", "file_id", "fileUri", "bytes",
                                          "model", "signature", "encrypted_content"});
}

std::uint64_t count_of(const JsonScan::Value& value) {
    return parse_decimal(value.text).value_or(0);
}

class Estimate {
  public:
    void take(const JsonScan& scan, const JsonScan::Value& value) {
        if (value.kind == Kind::string && is_prompt(scan, value)) bytes_ += value.size;
        if (value.kind != Kind::number) return;
        if (is_answer(scan)) {
            if (const std::uint64_t most = count_of(value); most > 0)
                answer_ = std::max(answer_.value_or(0), std::min(most, most_answer));
        } else if (scan.at({"n"}) || scan.at({"generationConfig", "candidateCount"})) {
            answers_ = std::clamp<std::uint64_t>(count_of(value), 1, most_answers);
        } else if (scan.in_array(scan.depth() - 1) && (scan.under({"prompt"}) || scan.under({"input"}))) {
            ++ids_;
        }
    }
    std::uint64_t prompt() const { return (bytes_ + 3) / 4 + ids_; }
    std::optional<std::uint64_t> answer() const { return answer_ || prompt() > 0 ? answer_ : 0; }
    std::uint64_t answers() const { return answers_; }

  private:
    static bool is_answer(const JsonScan& scan) {
        return scan.at({"max_tokens"}) || scan.at({"max_completion_tokens"}) || scan.at({"max_output_tokens"}) ||
               scan.at({"generationConfig", "maxOutputTokens"}) ||
               scan.at({"generation_config", "max_output_tokens"}) || scan.at({"inferenceConfig", "maxTokens"});
    }

    std::uint64_t bytes_ = 0;              // of texts
    std::uint64_t ids_ = 0;                // tokens that were given as numbers
    std::optional<std::uint64_t> answer_;  // at most
    std::uint64_t answers_ = 1;
};

}  // namespace

TokenEstimate estimate_tokens(std::string_view body, std::uint64_t size) {
    JsonScan scan;
    Estimate estimate;
    std::string_view left = body.substr(0, most_scanned);
    std::uint64_t unseen = std::max<std::uint64_t>(size, left.size()) - left.size();
    while (const JsonScan::Value* value = scan.next(left)) {
        if (scan.depth() > 0) estimate.take(scan, *value);
    }
    if (const JsonScan::Value* value = scan.cut(); value && scan.depth() > 0) {
        estimate.take(scan, *value);
        if (!is_prompt(scan, *value)) unseen = 0;  // the rest of an image, most of it
    }
    std::uint64_t prompt = estimate.prompt() + unseen / 4;
    const std::size_t first = body.find_first_not_of(" \t\r\n");
    const bool json = first != body.npos && (body[first] == '{' || body[first] == '[') && !scan.failed();
    if (!json) prompt = std::max<std::uint64_t>(prompt, size / 4);
    const auto answer = json ? estimate.answer() : estimate.answer().value_or(0);
    if (answer.value_or(1) == 0) prompt = std::max<std::uint64_t>(prompt, 1);
    return {std::min(prompt, most_tokens), answer, estimate.answers()};
}

void UsualAnswer::observe(std::uint64_t tokens) {
    const std::uint64_t seen = std::min(tokens, most) * parts;
    std::uint64_t mean = mean_.load(std::memory_order_relaxed), next = 0;
    do {
        next = seen > mean ? mean + (seen - mean + 3) / 4 : mean - (mean - seen) / 16;
    } while (!mean_.compare_exchange_weak(mean, next, std::memory_order_relaxed));
}

// ---- what it was

void UsageReader::start(std::string_view content_type) {
    *this = UsageReader{};
    const std::string type = to_lower(trimmed(content_type.substr(0, content_type.find(';'))));
    if (type == "text/event-stream") form_ = Form::events;
    if (type.ends_with("json") || type.ends_with("jsonl")) form_ = Form::documents;
}

void UsageReader::read(std::string_view piece) {
    switch (form_) {
    case Form::nothing: return;
    case Form::documents:
        read_json(piece);
        if (scan_.failed()) form_ = Form::nothing;
        return;
    case Form::events: read_events(piece); return;
    }
}

void UsageReader::read_json(std::string_view piece) {
    while (!piece.empty() && !scan_.failed()) {
        if (scan_.done()) scan_.start();  // a line of JSON after the other
        while (const JsonScan::Value* value = scan_.next(piece)) {
            if (value->kind == Kind::number) take_number(*value);
        }
    }
}

/// Each event is a document of its own; what its data is not JSON ("[DONE]") says nothing.
void UsageReader::read_events(std::string_view piece) {
    static constexpr std::string_view field = "data:";
    while (!piece.empty()) {
        const char c = piece.front();
        if (c == '\n' && std::exchange(after_cr_, false)) {
            piece.remove_prefix(1);
            continue;
        }
        after_cr_ = c == '\r';
        if (c == '\n' || c == '\r') {
            end_line();
            piece.remove_prefix(1);
            continue;
        }
        if (line_ == Line::begins) {
            line_ = c != field[matched_] ? Line::other : ++matched_ == field.size() ? Line::data : Line::begins;
            piece.remove_prefix(1);
            continue;
        }
        const std::string_view rest = piece.substr(0, piece.find_first_of("\r\n"));
        if (line_ == Line::data) read_json(rest);
        piece.remove_prefix(rest.size());
    }
}

void UsageReader::end_line() {
    if (line_ == Line::begins && matched_ == 0) scan_.start();  // an empty line ends the event
    line_ = Line::begins;
    matched_ = 0;
}

/// `usage` stands at the root, in `message` (Anthropic's first event) or in `response` (OpenAI's last one of
/// responses); Gemini's stream may be one array of answers.
void UsageReader::take_number(const JsonScan::Value& value) {
    std::size_t from = scan_.in_array(0) ? 1 : 0;
    if (scan_.depth() == from + 3 && is_one_of(scan_.key(from), {"message", "response"})) ++from;
    if (scan_.depth() != from + 2 || !is_one_of(scan_.key(from), {"usage", "usageMetadata"})) return;
    const auto count = parse_decimal(value.text);
    if (!count || *count > most_tokens) return;
    const std::string_view key = scan_.key(from + 1);
    if (is_one_of(key, {"prompt_tokens", "input_tokens", "inputTokens", "promptTokenCount"})) prompt_ = count;
    // Anthropic's input_tokens do not hold these; what was read from its cache costs nothing of the rate.
    if (key == "cache_creation_input_tokens") cached_ = count;
    if (is_one_of(key, {"completion_tokens", "output_tokens", "outputTokens", "candidatesTokenCount"}))
        completion_ = count;
    if (is_one_of(key, {"total_tokens", "totalTokens", "totalTokenCount"})) total_ = count;
}

std::optional<Usage> UsageReader::usage() const {
    if (!prompt_ && !completion_ && !total_) return {};
    Usage usage{prompt_.value_or(0) + cached_.value_or(0), completion_.value_or(0), 0};
    usage.total = total_.value_or(usage.prompt + usage.completion);
    return usage;
}

}  // namespace sluice
