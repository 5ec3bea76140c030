#include "config/resilience.hpp"

#include <algorithm>

#include "config/forms.hpp"
#include "config/json_value.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "proxy/http/target.hpp"

namespace sluice {
namespace {

// ---- forms

std::optional<double> parse_share(const std::string& text, std::string& why) {
    if (const auto share = parse_percent(text)) return share;
    const CoreType type = core_type(text);
    const bool number = type == CoreType::integer || type == CoreType::floating;
    why = number ? "it has no unit (did you mean '" + text + "%'?)" : "write it as 20%, from 0% to 100%";
    return {};
}

/// Of what is to happen at all.
std::optional<double> parse_some_share(const std::string& text, std::string& why) {
    const auto share = parse_share(text, why);
    if (!share || *share > 0) return share;
    why = "it must be above 0%";
    return {};
}

template <std::int64_t least_ms, std::int64_t most_ms>
std::optional<DurationRange> parse_range_between(const std::string& text, std::string& why) {
    const auto dots = text.find("..");
    const auto least = parse_duration(std::string_view{text}.substr(0, dots));
    const auto most = dots == text.npos ? least : parse_duration(std::string_view{text}.substr(dots + 2));
    const Duration low = std::chrono::milliseconds(least_ms), high = std::chrono::milliseconds(most_ms);
    if (dots == text.npos || !least || !most) {
        why = "write it as 100ms..2s";
        if (dots == text.npos && least) why = "it has one end only (did you mean '" + text + ".." + text + "'?)";
    } else if (*least > *most) {
        why = "it begins above its end";
    } else if (*least < low || *most > high) {
        why = "both ends must be from " + format_duration(low) + " to " + format_duration(high);
    } else {
        return DurationRange{*least, *most};
    }
    return {};
}

/// "50", "10k", "1M".
std::optional<std::uint64_t> parse_count(std::string_view text) {
    const std::uint64_t unit = text.ends_with('k') ? 1'000 : text.ends_with('M') ? 1'000'000 : 1;
    if (unit > 1) text.remove_suffix(1);
    const auto count = parse_decimal(text);
    constexpr std::uint64_t most = 1'000'000'000'000'000;
    if (!count || *count > most / unit) return {};
    return *count * unit;
}

constexpr std::pair<std::string_view, Duration> rate_units[] = {{"s", 1s}, {"m", 1min}, {"h", 1h}, {"d", 24h}};

std::optional<Rate> parse_rate(const std::string& text, std::string& why) {
    constexpr std::uint64_t most_a_second = 100'000'000;
    const auto slash = text.find('/');
    const auto count = parse_count(std::string_view{text}.substr(0, slash));
    const std::string_view unit = slash == text.npos ? std::string_view{} : std::string_view{text}.substr(slash + 1);
    const auto found = std::find_if(std::begin(rate_units), std::end(rate_units),
                                    [&](const auto& known) { return known.first == unit; });
    if (!count || found == std::end(rate_units)) {
        const bool bare = count && slash == text.npos;
        why = bare ? "it has no unit (did you mean '" + text + "/s'?)" : "write it as 100/s, 500/m, 10k/h or 1M/d";
    } else if (*count == 0) {
        why = "it must let something through";
    } else if (*count > most_a_second * static_cast<std::uint64_t>(found->second / 1s)) {
        why = "it is more than 100M a second";
    } else {
        return Rate{*count, found->second};
    }
    return {};
}

std::optional<std::uint64_t> parse_burst(const std::string& text, std::string& why) {
    const auto count = parse_count(text);
    if (count && *count > 0) return count;
    why = count ? "it must let something through" : "write it as 50, 10k or 1M";
    return {};
}

std::optional<HedgeAfter> parse_hedge_after(const std::string& text, std::string& why) {
    if (!text.starts_with('p')) {
        const auto after = parse_between<1, in_ms::hour>(text, why);
        if (!after && !parse_duration(text) && !parse_decimal(text)) why = "write it as p95 or 500ms";
        if (!after) return {};
        return HedgeAfter{*after, 0};
    }
    const auto quantile = parse_percent(text.substr(1) + "%");
    if (quantile && *quantile >= 0.5 && *quantile < 0.99905) return HedgeAfter{{}, *quantile};
    why = quantile ? "it must be from p50 to p99.9" : "write it as p95 or 500ms";
    return {};
}

std::optional<std::string> parse_method(const std::string& text, std::string& why) {
    const bool capital = std::none_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (is_token(text) && text.size() <= 32 && capital) return text;
    std::string raised = text;
    for (char& c : raised) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    why = is_token(text) && text.size() <= 32 ? "methods are written in capitals (did you mean '" + raised + "'?)"
                                              : "write one method, such as POST";
    return {};
}

/// "header X-Tenant"
std::optional<std::string> parse_header_reference(const std::string& text, std::string& why) {
    constexpr std::string_view lead = "header ";
    if (!text.starts_with(lead)) {
        std::string ignored;
        why = "write it as header X-Tenant";
        if (parse_header_name(text, ignored)) why += " (did you mean 'header " + text + "'?)";
        return {};
    }
    return parse_header_name(text.substr(lead.size()), why);
}

std::optional<std::string> parse_limit_name(const std::string& text, std::string& why) {
    why = judge_name(text);
    if (why.empty()) return text;
    return {};
}

std::optional<std::string> parse_header_value(const std::string& text, std::string& why) {
    const bool padded = text.starts_with(' ') || text.ends_with(' ');
    if (text.size() <= 1024 && all_printable(text) && !padded) return text;
    why = padded ? "it begins or ends with a space" : "it is at most 1024 printable ASCII characters";
    return {};
}

std::optional<JsonPath> read_json_path(const std::string& text, std::string& why) {
    auto path = parse_json_path(text, why);
    if (!path) why = about_it(text, why);
    return path;
}
std::string judge_json_path(std::string_view text) {
    std::string why;
    return read_json_path(std::string(text), why) ? "" : why;
}

std::optional<std::string> parse_member(const std::string& text, std::string& why) {
    const auto path = parse_json_path("$." + text, why);
    if (path && path->size() == 1) return text;
    why = "write one member, such as data";
    return {};
}

/// Judged with the path that it becomes, by `check_rewrite`.
std::string judge_rewritten_path(std::string_view text) {
    return text.size() <= 1024 ? "" : "it is longer than 1024 bytes";
}

/// What is slower or longer than this is a mistake, and would not fit where times are added up.
std::optional<ChaosFault> read_fault(const std::string& text, std::string& why) {
    auto fault = parse_fault(text, why);
    if (!fault) {
        why = about_it(text, why);
    } else if (fault->delay > 1h) {
        why = "it is longer than 1h";
    } else if (fault->bytes > 1u << 30) {
        why = "it is more than 1GiB";
    } else {
        return fault;
    }
    return {};
}

std::optional<HeaderMatch> parse_header_match(const std::string& text, std::string& why) {
    ChaosFault read;
    if (parse_fault_header(text, read, why)) return HeaderMatch{std::move(read.header), std::move(read.value)};
    why = about_it(text, why);
    return {};
}

constexpr std::string_view percent_pattern = "[0-9]{1,3}(\\.[0-9]{1,9})?%";
constexpr std::string_view range_pattern = "([0-9]+(d|h|ms|m|s))+\\.\\.([0-9]+(d|h|ms|m|s))+";
constexpr std::string_view path_pattern = "\\$(\\.[^.\\[\\]*'\"]+)*";

constexpr ScalarRule<double> share_rule{"a share", "20%", percent_pattern, parse_share, true};
constexpr ScalarRule<double> some_share_rule{"a share", "50%", percent_pattern, parse_some_share, true};
constexpr ScalarRule<Rate> rate_rule{"a rate", "100/s", "[0-9]+[kM]?/[smhd]", parse_rate, true};
constexpr ScalarRule<std::string> header_reference{"a reference to a header", "header X-Tenant",
                                                   "header [A-Za-z0-9!#$%&'*+.^_`|~-]+", parse_header_reference};
constexpr ScalarRule<std::string> header_value{"a header's value", "1", "[ -~]*", parse_header_value};
constexpr ScalarRule<std::string> method_rule{"a method", "POST", "[A-Z][A-Z0-9-]*", parse_method};
constexpr ScalarRule<JsonPath> json_path_rule{"a path into JSON", "$.card.number", path_pattern, read_json_path};
constexpr NameForm json_paths{"a path into JSON", "^\\$(\\.[^.\\[\\]*'\"]+)*$", judge_json_path};
constexpr NameForm rewritten_paths{"a path", "^/", judge_rewritten_path};

// ---- retries

bool is_edit(std::string_view word) {
    return word.starts_with('+') || word.starts_with('-');
}

/// A word or a status, maybe behind '+' or '-'. YAML's core schema reads +429 as a number, which is meant as well.
struct RetryWordRule {
    using Value = std::string;

    std::optional<std::string> read(Reader& reader, const Place& at) const {
        static constexpr std::string_view words[] = {"connect", "tls", "reset", "timeout", "5xx"};
        constexpr std::string_view what = "connect, tls, reset, timeout, 5xx or a status from 400 to 599";
        auto scalar = reader.scalar(at, what);
        if (!scalar) return {};
        std::string_view word = scalar->text;
        if (is_edit(word)) word.remove_prefix(1);
        // `edited` takes any status: to send again what succeeded would be a mistake.
        const std::uint64_t status = word.size() == 3 ? parse_decimal(word).value_or(0) : 0;
        const bool known = std::find(std::begin(words), std::end(words), word) != std::end(words);
        if (known || (status >= 400 && status <= 599)) return std::move(scalar->text);
        reader.wrong(at, *scalar, what, {}, suggestion(word, words));
        return {};
    }

    boost::json::object describe(Schema&) const {
        boost::json::object status{{"type", "integer"}, {"minimum", 400}, {"maximum", 599}};
        boost::json::object removed{{"type", "integer"}, {"minimum", -599}, {"maximum", -400}};
        boost::json::object word{{"type", "string"},
                                 {"pattern", "^[+-]?(connect|tls|reset|timeout|5xx|[45][0-9]{2})$|\\$\\{"}};
        return {{"anyOf", boost::json::array{std::move(word), std::move(status), std::move(removed)}}};
    }
};
constexpr RetryWordRule retry_word;
constexpr ListRule<retry_word> retry_words_rule{"a list of words and statuses", 0, 128, "128 are the most"};
constexpr IntegerRule retries_rule{0, 10};
constexpr ScalarRule<DurationRange> backoff_rule{"a range of durations", "100ms..2s", range_pattern,
                                                 parse_range_between<1, in_ms::hour>};
constexpr ScalarRule<std::uint64_t> buffer_rule{"a size", "64KiB", "[0-9]+(B|kB|KB|MB|KiB|MiB)",
                                                parse_size_between<0, (16u << 20)>, true};

constexpr Key<WrittenRetry> retry_keys[] = {
    key<&WrittenRetry::max, retries_rule>("max", "Additional attempts; built-in 2; 0 for none."),
    key<&WrittenRetry::on, retry_words_rule>(
        "on",
        "What is tried again: connect, tls, reset, timeout, 5xx and statuses of the vendor. Entries that all begin "
        "with "
        "'+' or '-' change what is inherited: [+429, -502]. Built-in [connect, reset, 502, 503, 504]."),
    key<&WrittenRetry::backoff, backoff_rule>(
        "backoff", "Waits are drawn from 0 to the first, doubled each time up to the second; built-in 100ms..2s."),
    key<&WrittenRetry::budget, share_rule>(
        "budget", "Retries may be at most this share of the requests of the last 10 s, at least 3; built-in 20%."),
    key<&WrittenRetry::buffer, buffer_rule>(
        "buffer",
        "Bytes of a request's body that are kept for another attempt; a larger one is sent once; built-in 64KiB."),
};

void check_retry(Reader& reader, const Place& at, WrittenRetry& retry) {
    if (!retry.on) return;
    const Place list = at.at_key("on");
    const auto& words = retry.on->value;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const Place here{*words[i].node, &list, {}, i};
        const std::string& word = words[i].value;
        if (is_edit(word) != is_edit(words[0].value))
            return reader.fault(here, "an entry of another kind than the first",
                                "either each begins with '+' or '-' and changes what is inherited, or none does");
        for (std::size_t j = 0; j < i; ++j) {
            const std::string& other = words[j].value;
            if (is_edit(word) && other != word && other.substr(1) == word.substr(1))
                return reader.fault(here, shown(words[i].node->text) + " is both added and taken away");
        }
    }
}

constexpr MapRule<WrittenRetry> retry_map{
    .name = "retry",
    .doc = "When a request is sent again, which is done only where it is safe.",
    .keys = retry_keys,
    .check = check_retry,
    .off = "{max: 0}",
};

constexpr ScalarRule<HedgeAfter> hedge_after{"a percentile or a duration", "p95",
                                             "p[0-9]{2}(\\.[0-9]+)?|([0-9]+(d|h|ms|m|s))+", parse_hedge_after, true};
constexpr IntegerRule hedges_rule{0, 3};
constexpr Key<WrittenHedge> hedge_keys[] = {
    key<&WrittenHedge::after, hedge_after>(
        "after", "How long one attempt may take: p95 of the vendor's time to the response head (built-in), or 500ms."),
    key<&WrittenHedge::max, hedges_rule>("max", "Attempts beside the first; built-in 1; 0 for none."),
};
constexpr MapRule<WrittenHedge> hedge_map{
    .name = "hedge",
    .doc =
        "A second attempt beside one that takes long, of idempotent requests, within the retry budget; the first "
        "answer "
        "wins.",
    .keys = hedge_keys,
    .off = "{max: 0}",
};

constexpr ListRule<method_rule> methods_rule{"a list of methods", 0, 16, "16 are the most"};
constexpr Key<WrittenIdempotency> idempotency_keys[] = {
    key<&WrittenIdempotency::header, header_name>("header",
                                                  "The header that carries the key; built-in Idempotency-Key."),
    key<&WrittenIdempotency::generate, methods_rule>("generate",
                                                     "Methods whose requests get a key of ours, the same on every "
                                                     "attempt, where the application gave none: [POST]."),
};
constexpr MapRule<WrittenIdempotency> idempotency_map{
    "idempotency", "Keys by which the vendor knows a request that it has seen before.", idempotency_keys};

// ---- breaker

constexpr IntegerRule failures_rule{1, 1000};
constexpr IntegerRule requests_rule{1, 1'000'000};
constexpr IntegerRule probes_rule{1, 100};
constexpr ScalarRule<Duration> slow_after_rule{"a duration", "10s", duration_pattern, parse_between<1, in_ms::hour>,
                                               true};
constexpr ScalarRule<Duration> window_rule{"a duration", "30s", duration_pattern,
                                           parse_between<in_ms::second, in_ms::hour>, true};
constexpr ScalarRule<DurationRange> open_rule{"a range of durations", "15s..5m", range_pattern,
                                              parse_range_between<100, in_ms::day>};

constexpr Key<WrittenBreaker> breaker_keys[] = {
    key<&WrittenBreaker::enabled, boolean_rule>("enabled", "false: it never opens by itself; built-in true."),
    key<&WrittenBreaker::failure_rate, some_share_rule>("failure_rate",
                                                        "Opens on this share of failures in `window`; built-in 50%."),
    key<&WrittenBreaker::consecutive, failures_rule>("consecutive", "Opens on so many failures in a row; built-in 5."),
    key<&WrittenBreaker::slow_rate, some_share_rule>("slow_rate",
                                                     "Opens on this share of slow answers in `window`; built-in 100%."),
    key<&WrittenBreaker::slow_after, slow_after_rule>(
        "slow_after", "Time to the response head above which an answer is slow; built-in 10s."),
    key<&WrittenBreaker::window, window_rule>("window", "The time that the two rates look back; built-in 30s."),
    key<&WrittenBreaker::min_requests, requests_rule>("min_requests",
                                                      "Seen in `window` before a rate says anything; built-in 20."),
    key<&WrittenBreaker::open_for, open_rule>(
        "open_for",
        "How long it stays open: the first time, doubled on each failed probe up to the second; built-in 15s..5m."),
    key<&WrittenBreaker::probes, probes_rule>(
        "probes", "Requests that go through to see whether the vendor is back; all must succeed; built-in 2."),
};
constexpr MapRule<WrittenBreaker> breaker_map{
    .name = "breaker",
    .doc = "When an endpoint is left alone for a while: 503 breaker_open.",
    .keys = breaker_keys,
    .off = "{enabled: false}",
};

// ---- limits

/// A whole number; thousands and millions as 10k and 1M.
struct CountRule {
    using Value = std::uint64_t;
    static constexpr ScalarRule<std::uint64_t> rule{"a whole number", "10k", "[0-9]+[kM]?", parse_burst, true};

    std::optional<std::uint64_t> read(Reader& reader, const Place& at) const { return rule.read(reader, at); }
    boost::json::object describe(Schema& schema) const {
        boost::json::object number{{"type", "integer"}, {"minimum", 1}};
        return {{"anyOf", boost::json::array{std::move(number), rule.describe(schema)}}};
    }
};
constexpr CountRule count_rule;

struct WrittenSeats {
    Maybe<unsigned> min, max;
};
constexpr SeatSpec adaptive_seats{.most = 1024, .least = 4};
constexpr IntegerRule seats_rule{1, 1'000'000, "adaptive"};
constexpr IntegerRule bound_rule{1, 1'000'000};
constexpr Key<WrittenSeats> seats_keys[] = {
    key<&WrittenSeats::min, bound_rule>("min", "Never fewer; built-in 4."),
    key<&WrittenSeats::max, bound_rule>("max", "Never more; built-in 1024."),
};
constexpr MapRule<WrittenSeats> seats_map{"adaptive", "Found from the vendor's latency, between two bounds.",
                                          seats_keys};

/// A number, `adaptive`, or adaptive's bounds.
struct SeatsRule {
    using Value = SeatSpec;

    std::optional<SeatSpec> read(Reader& reader, const Place& at) const {
        if (at.node.kind != Node::Kind::map) {
            const auto most = seats_rule.read(reader, at);
            if (!most) return {};
            return *most == 0 ? adaptive_seats : SeatSpec{*most, 0};
        }
        const auto written = seats_map.read(reader, at);
        if (!written) return {};
        SeatSpec seats = adaptive_seats;
        if (written->max) seats.most = written->max->value;
        seats.least = written->min ? written->min->value : std::min(seats.least, seats.most);
        if (!written->max) seats.most = std::max(seats.most, seats.least);
        if (seats.least <= seats.most) return seats;
        reader.fault_of_key(at, "min", "it is above `max`", "write {min: 4, max: 200}");
        return {};
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{seats_rule.describe(schema), seats_map.describe(schema)}}};
    }
};
constexpr SeatsRule concurrency_rule;

constexpr WordsRule<bool, 1> body_word{{{"body", true}}};
constexpr WordsRule<bool, 1> usage_word{{{"usage", true}}};
constexpr Key<WrittenTokens> tokens_keys[] = {
    key<&WrittenTokens::rate, rate_rule>("rate", "Tokens in a time: 200k/m.", Presence::required),
    key<&WrittenTokens::burst, count_rule>("burst", "How many may go at once; default the whole count of `rate`."),
    key<&WrittenTokens::estimate, body_word>("estimate", "What a call will cost is read from its body."),
    key<&WrittenTokens::settle, usage_word>("settle", "What it did cost is read from the `usage` of the answer."),
};
constexpr MapRule<WrittenTokens> tokens_map{"tokens", "A limit on tokens of language models: 429 token_limited.",
                                            tokens_keys};

constexpr ScalarRule<Duration> wait_rule{"a duration", "500ms", duration_pattern, parse_between<0, 10 * in_ms::minute>,
                                         true};
constexpr Key<WrittenWhenFull> when_full_keys[] = {
    key<&WrittenWhenFull::wait, wait_rule>("wait", "A request waits so long for a place; built-in 0s."),
    key<&WrittenWhenFull::priority, header_reference>(
        "priority", "header X-Priority: who waits with the larger number goes first."),
};
constexpr MapRule<WrittenWhenFull> when_full_map{"when_full", "What becomes of a request for which there is no place.",
                                                 when_full_keys};

constexpr ScalarRule<std::string> limit_name{"a limit's name", "per-tenant", "[a-z0-9][a-z0-9_-]{0,62}",
                                             parse_limit_name};
constexpr Key<WrittenLimit> limit_keys[] = {
    key<&WrittenLimit::name, limit_name>("name", "Its metric label; default limit, limit2 and so on."),
    key<&WrittenLimit::rate, rate_rule>("rate", "Requests in a time: 100/s, 500/m, 10k/h, 1M/d; 429 rate_limited."),
    key<&WrittenLimit::burst, count_rule>(
        "burst", "How many may go at once; default the share of `rate` in one second, at least 1."),
    key<&WrittenLimit::concurrency, concurrency_rule>("concurrency",
                                                      "Requests at the same time: a number, adaptive, or {min: 4, max: "
                                                      "200}; 429 concurrency_limited; built-in 1024."),
    key<&WrittenLimit::tokens, tokens_map>("tokens", "Tokens of language models in a time."),
    key<&WrittenLimit::learn, boolean_rule>(
        "learn", "Go slower when the vendor's Retry-After or rate-limit headers say so; built-in false."),
    key<&WrittenLimit::per, header_reference>("per", "header X-Tenant: each of its values has this limit for itself."),
    key<&WrittenLimit::when_full, when_full_map>("when_full", "What becomes of a request for which there is no place."),
};
constexpr MapRule<WrittenLimit> limit_map{"limit", "How much may go to a vendor.", limit_keys};
constexpr ListRule<limit_map> limit_list{"a list of limits", 1, 16, "16 are the most"};

struct LimitsRule {
    using Value = WrittenLimits;
    std::optional<WrittenLimits> read(Reader& reader, const Place& at) const {
        if (at.node.kind == Node::Kind::sequence) {
            auto list = limit_list.read(reader, at);
            if (!list) return {};
            return WrittenLimits{true, std::move(*list)};
        }
        if (!reader.expect(Node::Kind::map, at, "a limit or a list of limits", {}, "rate")) return {};
        auto one = limit_map.read(reader, at);
        if (!one) return {};
        WrittenLimits limits;
        limits.entries.push_back({std::move(*one), &at.node});
        return limits;
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{limit_map.describe(schema), limit_list.describe(schema)}}};
    }
};
constexpr LimitsRule limits_forms;

// ---- fallback

std::string lowered(std::string_view name) {
    return to_lower(name);
}

/// Headers are the same whatever their case, which YAML's own duplicate keys do not see.
template <class List, class Name>
void refuse_second(Reader& reader, const Place& at, std::string_view key, const List& list, Name name) {
    std::vector<std::string> seen;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& [text, node] = name(list[i]);
        if (std::find(seen.begin(), seen.end(), lowered(text)) != seen.end()) {
            const Place here = at.at_key(key);
            reader.fault({*node, &here, text, i, node}, "header " + shown(text) + " is there already");
        }
        seen.push_back(lowered(text));
    }
}

void check_header_edits(Reader& reader, const Place& at, WrittenHeaderEdits& edits) {
    const auto key_of = [](const auto& named) {
        return std::pair<std::string_view, const Node*>{named.name, named.key};
    };
    const auto item_of = [](const auto& item) {
        return std::pair<std::string_view, const Node*>{item.value, item.node};
    };
    if (edits.rename) refuse_second(reader, at, "rename", edits.rename->value, key_of);
    if (edits.set) refuse_second(reader, at, "set", edits.set->value, key_of);
    if (edits.drop) refuse_second(reader, at, "drop", edits.drop->value, item_of);
}

constexpr NamedRule<header_name, header_names> header_renames{"a map of headers, from and to"};
constexpr NamedRule<header_value, header_names> header_sets{"a map of headers and values"};
constexpr ListRule<header_name> header_drops{"a list of headers"};
constexpr Key<WrittenHeaderEdits> header_edit_keys[] = {
    key<&WrittenHeaderEdits::rename, header_renames>("rename", "Headers that get another name: {X-Old: X-New}."),
    key<&WrittenHeaderEdits::set, header_sets>("set", "Headers that are set, in the place of any that are there."),
    key<&WrittenHeaderEdits::drop, header_drops>("drop", "Headers that are taken away."),
};
constexpr MapRule<WrittenHeaderEdits> header_edits_map{
    "header_edits", "Done in the order rename, set, drop.", header_edit_keys, {}, false, check_header_edits};

struct JsonRule {
    using Value = std::string;
    std::optional<std::string> read(Reader& reader, const Place& at) const { return read_json(reader, at); }
    boost::json::object describe(Schema&) const { return {}; }
};
constexpr JsonRule json_rule;
constexpr ScalarRule<std::string> member_rule{"a member's name", "data", "[^.\\[\\]*'\"]+", parse_member};
constexpr NamedRule<json_path_rule, json_paths> json_renames{"a map of paths, from and to"};
constexpr NamedRule<json_rule, json_paths> json_sets{"a map of paths and values"};
constexpr ListRule<json_path_rule> json_drops{"a list of paths"};
constexpr Key<WrittenJsonEdits> json_edit_keys[] = {
    key<&WrittenJsonEdits::rename, json_renames>("rename", "Members that move: {$.amount: $.value}."),
    key<&WrittenJsonEdits::set, json_sets>("set", "Members that are set, to any value."),
    key<&WrittenJsonEdits::drop, json_drops>("drop", "Members that are taken away."),
    key<&WrittenJsonEdits::wrap, member_rule>("wrap", "At last the whole document becomes this member of a new one."),
};

/// A member that moves into itself, or onto its own parent, has no place to be.
void check_json_edits(Reader& reader, const Place& at, WrittenJsonEdits& edits) {
    if (!edits.rename) return;
    const Place map = at.at_key("rename");
    for (const auto& named : edits.rename->value) {
        std::string ignored;
        const auto from = parse_json_path(named.name, ignored);
        if (!from) continue;
        const std::size_t shared = std::min(from->size(), named.value.size());
        if (std::equal(from->begin(), from->begin() + static_cast<std::ptrdiff_t>(shared), named.value.begin()))
            reader.key_fault({*named.key, &map, named.name, 0, named.key},
                             shown(named.name) + " in " + map.path() + " and where it moves lie inside each other");
    }
}
constexpr MapRule<WrittenJsonEdits> json_edits_map{
    "body_edits",   "Done in the order rename, set, drop, wrap, to bodies that are JSON objects.",
    json_edit_keys, {},
    false,          check_json_edits};

constexpr Key<WrittenEdits> edits_keys[] = {
    key<&WrittenEdits::headers, header_edits_map>("headers", "Changes to the headers."),
    key<&WrittenEdits::body, json_edits_map>("body", "Changes to a JSON body."),
};
constexpr MapRule<WrittenEdits> edits_map{"edits", "Changes to a message.", edits_keys};

constexpr ScalarRule<std::string> rewritten_path{"a path", "/api/v1/**", "/[^?# ]*", parse_text};
constexpr NamedRule<rewritten_path, rewritten_paths> paths_rule{"a map of paths, from and to"};
constexpr Key<WrittenRewrite> rewrite_keys[] = {
    key<&WrittenRewrite::path, paths_rule>(
        "path", "The first that matches: {/v1/charges: /api/charges, /v1/**: /api/v1/**}; the query stays."),
    key<&WrittenRewrite::request, edits_map>("request",
                                             "Changes to the request, before the other vendor's credential."),
    key<&WrittenRewrite::response, edits_map>("response", "Changes to the answer."),
};

void check_rewrite(Reader& reader, const Place& at, WrittenRewrite& rewrite) {
    if (!rewrite.path) return;
    const Place map = at.at_key("path");
    for (const auto& edit : rewrite.path->value) {
        std::string why;
        if (edit.name.size() <= 1024 && !parse_path_edit(edit.name, edit.value, why))
            reader.fault(map.at_key(edit.name), "no change of a path", why);
    }
}
constexpr MapRule<WrittenRewrite> rewrite_map{
    "rewrite", "How a request for one vendor becomes one for its fallback.", rewrite_keys, {}, false, check_rewrite};

constexpr Key<WrittenFallback> fallback_keys[] = {
    key<&WrittenFallback::vendor, line_rule>("vendor", "The other vendor, by name.", Presence::required),
    key<&WrittenFallback::rewrite, rewrite_map>("rewrite", "What changes on the way there and back; default nothing."),
};
constexpr MapRule<WrittenFallback> fallback_map{.name = "fallback",
                                                .doc = "Another vendor, when every endpoint of this one is out.",
                                                .keys = fallback_keys,
                                                .brief = "vendor"};

// ---- chaos

constexpr ScalarRule<ChaosFault> fault_form{
    "a fault", "status 429",
    "status [45][0-9]{2}|delay .+|reset|hang|slow_body .+/s|truncate .+|tls_failure|dns_failure", read_fault};
constexpr ScalarRule<HeaderMatch> header_match{"a header", "X-Test: 1", "[^: ]+(:.*)?", parse_header_match};
constexpr IntegerRule first_rule{1, 1'000'000'000};
constexpr IntegerRule seed_rule{0, UINT32_MAX};
constexpr Key<WrittenFault> fault_keys[] = {
    key<&WrittenFault::fault, fault_form>(
        "fault", "status 429, delay 500ms, reset, hang, slow_body 1KiB/s, truncate 100B, tls_failure or dns_failure.",
        Presence::required),
    key<&WrittenFault::rate, some_share_rule>("rate", "Of the requests that match; default 100%."),
    key<&WrittenFault::first, first_rule>("first", "Only the first so many that match."),
    key<&WrittenFault::route, line_rule>("route", "Only requests of this route, by its name or else its match."),
    key<&WrittenFault::header, header_match>("header", "Only requests with this header: X-Test: 1, or the name alone."),
};
constexpr MapRule<WrittenFault> fault_map{"fault", "One fault, and whom it meets.", fault_keys};
constexpr ListRule<fault_map> faults_rule{"a list of faults", 1, 64, "64 are the most"};
constexpr Key<WrittenChaos> chaos_keys[] = {
    key<&WrittenChaos::enabled, boolean_rule>("enabled", "Off unless this is true: \"${CHAOS:-false}\"."),
    key<&WrittenChaos::inject, faults_rule>("inject", "The first that matches and is drawn.", Presence::required),
    key<&WrittenChaos::seed, seed_rule>("seed", "Of the draws; the same seed, the same run of draws; default 0."),
    key<&WrittenChaos::abort_above, some_share_rule>(
        "abort_above", "It stops by itself when this share of the vendor's own answers are failures; built-in 50%."),
};
constexpr MapRule<WrittenChaos> chaos_map{"chaos", "Faults on purpose, as if the vendor had made them.", chaos_keys};

// ---- which table reads what

constexpr const auto& table_of(const WrittenRetry*) {
    return retry_map;
}
constexpr const auto& table_of(const WrittenHedge*) {
    return hedge_map;
}
constexpr const auto& table_of(const WrittenIdempotency*) {
    return idempotency_map;
}
constexpr const auto& table_of(const WrittenBreaker*) {
    return breaker_map;
}
constexpr const auto& table_of(const WrittenLimit*) {
    return limit_map;
}
constexpr const auto& table_of(const WrittenLimits*) {
    return limits_forms;
}
constexpr const auto& table_of(const WrittenFallback*) {
    return fallback_map;
}
constexpr const auto& table_of(const WrittenChaos*) {
    return chaos_map;
}

}  // namespace

template <class V>
std::optional<V> TableRule<V>::read(Reader& reader, const Place& at) const {
    return table_of(static_cast<const V*>(nullptr)).read(reader, at);
}
template <class V>
boost::json::object TableRule<V>::describe(Schema& schema) const {
    return table_of(static_cast<const V*>(nullptr)).describe(schema);
}

template struct TableRule<WrittenRetry>;
template struct TableRule<WrittenHedge>;
template struct TableRule<WrittenIdempotency>;
template struct TableRule<WrittenBreaker>;
template struct TableRule<WrittenLimit>;
template struct TableRule<WrittenLimits>;
template struct TableRule<WrittenFallback>;
template struct TableRule<WrittenChaos>;

}  // namespace sluice
