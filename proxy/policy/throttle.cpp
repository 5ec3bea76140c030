#include "proxy/policy/throttle.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "proxy/base/text.hpp"
#include "proxy/http/retry_after.hpp"

namespace sluice {

namespace {

/// Error codes with which AWS says that a caller is too fast (of those that its SDKs take so, the ones that mean a
/// rate).
bool is_throttling_code(std::string_view code) {
    static constexpr std::string_view codes[] = {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "EC2ThrottledException",
        "SlowDown",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
    };
    return std::find(std::begin(codes), std::end(codes), code) != std::end(codes);
}

/// Statuses whose Retry-After is about how fast we may go.
bool has_pace(unsigned status) {
    return status == 403 || status == 429 || status == 503 || status == 529;
}

bool is_spent(const QuotaHints& quotas) {
    return std::any_of(quotas.begin(), quotas.end(), [](const QuotaHint& hint) { return hint.remaining == 0u; });
}

std::string_view media_type(const Fields& head) {
    const std::string_view value = head.find(Known::content_type).value_or("");
    return trimmed(value.substr(0, value.find(';')));
}

bool ends_with(std::string_view text, std::string_view end) {
    return text.size() >= end.size() && same_text(text.substr(text.size() - end.size()), end);
}

/// A JSON number that is not below 0.
std::optional<double> number_of(std::string_view text) {
    char copy[32];
    if (text.empty() || text.size() >= sizeof copy) return {};
    *std::copy(text.begin(), text.end(), copy) = '\0';
    char* end = nullptr;
    const double value = std::strtod(copy, &end);
    if (end != copy + text.size() || !(value >= 0) || value > 1e12) return {};
    return value;
}

}  // namespace

void ThrottleReader::start(unsigned status, const Fields& head, WallTime now) {
    signal_ = {};
    is_error_ = status >= 400;
    throttled_ = false;
    left_ = most_body;
    cost_ = maximum_ = available_ = restored_ = {};
    matched_ = code_size_ = 0;
    scan_.start();

    signal_.quotas = read_quota_hints(head, now);
    if (const auto resource = head.find("x-ratelimit-resource"))
        signal_.resource = static_cast<std::uint32_t>(std::hash<std::string_view>{}(*resource)) | 1;
    if (has_pace(status)) signal_.retry_after = read_retry_after(head, now);
    signal_.overloaded = status == 529;
    // GitHub refuses for its limits with 403 too; only together with one of these does it mean that.
    signal_.limited = status == 429 || (status == 403 && (signal_.retry_after || is_spent(signal_.quotas)));
    if (is_error_) {
        if (const auto type = head.find("x-amzn-errortype")) take_code(*type);
    }
    read_grpc(head);  // an answer of trailers only
    form_ = form_of(head);
}

ThrottleReader::Form ThrottleReader::form_of(const Fields& head) const {
    const auto coding = head.find("content-encoding");
    if (coding && !same_text(*coding, "identity")) return Form::nothing;
    const std::string_view type = media_type(head);
    const bool json = ends_with(type, "json") || ends_with(type, "json-1.0") || ends_with(type, "json-1.1");
    if (json) return Form::json;
    return is_error_ && ends_with(type, "xml") ? Form::xml : Form::nothing;
}

/// grpc-status 8 is RESOURCE_EXHAUSTED; a push-back below 0 means "do not", and says nothing of when. Google says the
/// time in the details.
void ThrottleReader::read_grpc(const Fields& fields) {
    const auto status = fields.find("grpc-status");
    if (!status || *status == "0") return;
    if (*status == "8") signal_.limited = true;
    const auto push_back = fields.find("grpc-retry-pushback-ms");
    const auto details = fields.find("grpc-status-details-bin");
    if (!push_back && details) {
        if (const auto delay = parse_retry_info(*details)) signal_.retry_after = delay;
        return;
    }
    const auto wait = parse_decimal(trimmed(push_back.value_or("")));
    if (!wait) return;
    constexpr auto most =
        static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(most_retry_after).count());
    signal_.retry_after = std::chrono::milliseconds(std::min(*wait, most));
}

void ThrottleReader::take_code(std::string_view code) {
    code = code.substr(0, code.find(':'));    // x-amzn-ErrorType: ThrottlingException:http://internal...
    code = code.substr(code.rfind('#') + 1);  // __type: com.amazonaws.dynamodb.v20120810#ThrottlingException
    if (is_throttling_code(trimmed(code))) signal_.limited = true;
}

void ThrottleReader::read(std::string_view piece) {
    piece = piece.substr(0, left_);
    left_ -= piece.size();
    switch (form_) {
    case Form::nothing: return;
    case Form::json: read_json(piece); break;
    case Form::xml: read_xml(piece); break;
    }
    if (left_ == 0) form_ = Form::nothing;
}

void ThrottleReader::read_json(std::string_view piece) {
    while (const JsonScan::Value* value = scan_.next(piece)) {
        // Other bodies than GraphQL's say nothing of limits where they are no error: most end here, after a few bytes.
        if (!is_error_ && !scan_.under({"data"}) && !scan_.under({"errors"}) && !scan_.under({"extensions"})) {
            form_ = Form::nothing;
            return;
        }
        if (value->kind == JsonScan::Value::Kind::string) take_text(value->text);
        if (value->kind == JsonScan::Value::Kind::number) take_number(value->text);
    }
    if (scan_.failed() || scan_.done()) form_ = Form::nothing;
}

void ThrottleReader::take_text(std::string_view text) {
    if (scan_.at({"errors", "", "extensions", "code"}) && text == "THROTTLED") {
        throttled_ = signal_.limited = true;
        return conclude_shopify();
    }
    if (!is_error_) return;
    const std::size_t from = scan_.in_array(0) ? 1 : 0;  // Google's streams are arrays
    if (scan_.at({"__type"}) || scan_.at({"code"}) || scan_.at({"Error", "Code"}) || scan_.at({"error", "code"})) {
        take_code(text);
    } else if (scan_.at({"error", "status"}, from) && text == "RESOURCE_EXHAUSTED") {
        signal_.limited = true;
    } else if (scan_.at({"error", "details", "", "retryDelay"}, from) && !signal_.retry_after && text.ends_with('s')) {
        if (const auto seconds = number_of(text.substr(0, text.size() - 1))) {
            signal_.retry_after =
                std::min(most_retry_after,
                         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(*seconds, 1e6))));
        }
    }
}

void ThrottleReader::take_number(std::string_view text) {
    if (!scan_.under({"extensions", "cost"})) return;
    const auto is = [&](std::string_view key) { return scan_.at({"extensions", "cost", "throttleStatus", key}); };
    std::optional<double>* const field = scan_.at({"extensions", "cost", "requestedQueryCost"}) ? &cost_
                                         : is("maximumAvailable")                               ? &maximum_
                                         : is("currentlyAvailable")                             ? &available_
                                         : is("restoreRate")                                    ? &restored_
                                                                                                : nullptr;
    if (!field) return;
    *field = number_of(text);
    conclude_shopify();
}

/// Points are what its calls cost; told in calls like the one that was answered.
void ThrottleReader::conclude_shopify() {
    if (!maximum_ || !available_ || !restored_ || *restored_ <= 0) return;
    const double cost = std::max(cost_.value_or(1), 1.0);
    const auto seconds = [](double s) {
        return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::clamp(s, 0.0, 86400.0)));
    };
    QuotaHint hint;
    hint.refills = true;
    hint.limit = static_cast<std::uint64_t>(std::max(*maximum_ / cost, 1.0));
    hint.remaining = static_cast<std::uint64_t>(*available_ / cost);
    hint.reset_after = seconds((*maximum_ - *available_) / *restored_);
    signal_.quotas.clear();
    signal_.quotas.add(hint);
    if (throttled_) signal_.retry_after = std::max<Duration>(seconds((cost - *available_) / *restored_), 1s);
}

void ThrottleReader::read_xml(std::string_view piece) {
    static constexpr std::string_view tag = "<Code>";
    for (const char c : piece) {
        if (matched_ < tag.size()) {
            matched_ = c == tag[matched_] ? matched_ + 1 : c == tag[0] ? 1 : 0;
        } else if (c != '<' && code_size_ < code_.size()) {
            code_[code_size_++] = c;
        } else {
            take_code({code_.data(), code_size_});
            form_ = Form::nothing;
            return;
        }
    }
}

}  // namespace sluice
