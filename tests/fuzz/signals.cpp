// What answers say of quotas, pace and tokens: heads and bodies that a vendor, or whoever speaks in its place, chose.
// The input's first line is a status, then "name: value" lines up to an empty one, then the body.
#include <algorithm>
#include <string>

#include "proxy/base/text.hpp"
#include "proxy/http/date.hpp"
#include "proxy/http/retry_after.hpp"
#include "proxy/policy/learnt.hpp"
#include "proxy/policy/throttle.hpp"
#include "proxy/policy/token_cost.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

const WallTime now{std::chrono::seconds(1'784'188'800)};
constexpr TimePoint start{1000h};

bool is_bounded(const std::optional<Duration>& wait) {
    return !wait || (*wait >= Duration{} && *wait <= most_retry_after);
}

Fields take_fields(std::string_view& in) {
    Fields fields;
    while (!in.empty() && fields.size() < 100) {
        const std::string_view line = take_line(in);
        const std::size_t colon = line.find(':');
        if (colon == line.npos) break;
        fields.add(line.substr(0, colon), trimmed(line.substr(colon + 1)));
    }
    return fields;
}

VendorSignal read_signal(unsigned status, const Fields& head, std::string_view body, std::size_t piece) {
    ThrottleReader reader;
    reader.start(status, head, now);
    for (std::size_t at = 0; at < body.size() && reader.wants_body(); at += piece) reader.read(body.substr(at, piece));
    reader.read_trailers(head);
    return reader.signal();
}

void judge_signal(const VendorSignal& signal) {
    REQUIRE(is_bounded(signal.retry_after));
    REQUIRE(signal.quotas.size() <= QuotaHints::most);
    for (const QuotaHint& hint : signal.quotas) REQUIRE(hint.remaining && is_bounded(hint.reset_after));

    LearntPace pace;
    for (int i = 0; i < 3; ++i) {
        pace.learn(signal, start + i * 1s);
        pace.take(1000, start + i * 1s);
        REQUIRE(pace.holds_until(start + i * 1s) <= start + i * 1s + LearntPace::most_time);
        REQUIRE(pace.ready_at(start + i * 1s) <= std::max(pace.holds_until(start + i * 1s), start + i * 1s));
    }
    REQUIRE(pace.take(1, start + 2h));
}

std::optional<Usage> read_usage(std::string_view type, std::string_view body, std::size_t piece) {
    UsageReader reader;
    reader.start(type);
    for (std::size_t at = 0; at < body.size() && reader.wants_body(); at += piece) reader.read(body.substr(at, piece));
    return reader.usage();
}

void judge_text(std::string_view text) {
    REQUIRE(is_bounded(parse_retry_after(text, now)));
    REQUIRE(is_bounded(parse_reset(text, now)));
    REQUIRE(is_bounded(parse_retry_info(text)));
    parse_http_date(text, now);
    parse_rfc3339(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view in = as_text(data, size);
    const auto status = static_cast<unsigned>(parse_decimal(take_line(in)).value_or(200) % 1000);
    const Fields head = take_fields(in);
    for (const Field field : head) judge_text(field.value);

    const VendorSignal signal = read_signal(status, head, in, in.size() + 1);
    judge_signal(signal);
    for (const std::size_t piece : {1, 7}) {
        const VendorSignal again = read_signal(status, head, in, piece);
        REQUIRE(again.limited == signal.limited && again.retry_after == signal.retry_after);
        REQUIRE(std::equal(again.quotas.begin(), again.quotas.end(), signal.quotas.begin(), signal.quotas.end()));
    }
    for (const std::string_view type : {"application/json", "text/event-stream"}) {
        const auto usage = read_usage(type, in, in.size() + 1);
        for (const std::size_t piece : {1, 7}) REQUIRE(read_usage(type, in, piece) == usage);
    }
    const std::uint64_t tokens = estimate_tokens(in).cost(UsualAnswer::most);
    REQUIRE(tokens >= 1 && tokens <= 1'280'000'000 + in.size());
    return 0;
}
