#include "proxy/policy/chaos.hpp"

#include <algorithm>
#include <iterator>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

namespace {

using Kind = ChaosFault::Kind;

std::string quoted(std::string_view text) {
    return "'" + std::string(text) + "'";
}

// Each reads its word's argument, and says what is wrong with it; "" for nothing.

std::string read_status(std::string_view argument, ChaosFault& into) {
    const auto status = parse_decimal(argument);
    if (!status || argument.size() != 3 || *status < 400 || *status > 599) {
        return quoted(argument) + " is no status from 400 to 599";  // what is no failure would be no fault
    }
    into.status = static_cast<unsigned>(*status);
    return {};
}

std::string read_delay(std::string_view argument, ChaosFault& into) {
    const auto delay = parse_duration(argument);
    if (!delay || *delay <= Duration{}) return quoted(argument) + " is no duration above zero";
    into.delay = *delay;
    return {};
}

std::string read_slow_body(std::string_view argument, ChaosFault& into) {
    const auto bytes = argument.ends_with("/s") ? parse_size(argument.substr(0, argument.size() - 2)) : std::nullopt;
    if (!bytes || *bytes == 0) return quoted(argument) + " is no size above zero a second";
    into.bytes = *bytes;
    return {};
}

std::string read_truncate(std::string_view argument, ChaosFault& into) {
    const auto bytes = parse_size(argument);
    if (!bytes) return quoted(argument) + " is no size";
    into.bytes = *bytes;
    return {};
}

struct Word {
    std::string_view name;
    Kind kind;
    std::string (*read)(std::string_view argument, ChaosFault& into);  // nullptr: it takes none
    std::string_view example;
};
constexpr Word words[] = {
    {"status", Kind::status, read_status, "status 429"},
    {"delay", Kind::delay, read_delay, "delay 500ms"},
    {"reset", Kind::reset, nullptr, "reset"},
    {"hang", Kind::hang, nullptr, "hang"},
    {"slow_body", Kind::slow_body, read_slow_body, "slow_body 1KiB/s"},
    {"truncate", Kind::truncate, read_truncate, "truncate 100B"},
    {"tls_failure", Kind::tls_failure, nullptr, "tls_failure"},
    {"dns_failure", Kind::dns_failure, nullptr, "dns_failure"},
};

std::string unknown(std::string_view name) {
    std::string fault = quoted(name) + " is no fault; write one of";
    std::string_view names[std::size(words)];
    for (std::size_t i = 0; i < std::size(words); ++i) {
        names[i] = words[i].name;
        fault += (i == 0 ? " `" : ", `") + std::string(words[i].example) + "`";
    }
    if (const auto meant = nearest(name, names)) fault += " (did you mean " + quoted(*meant) + "?)";
    return fault;
}

std::string read_argument(const Word& word, std::string_view argument, ChaosFault& into) {
    std::string wrong;
    if (!word.read) {
        if (!argument.empty()) wrong = quoted(word.name) + " takes nothing after it";
    } else if (argument.empty()) {
        wrong = quoted(word.name) + " says nothing after it";
    } else {
        wrong = word.read(argument, into);
    }
    if (!wrong.empty()) wrong += "; write `" + std::string(word.example) + "`";
    return wrong;
}

/// SplitMix64's finalizer: each bit of the result hangs on every bit of the argument.
constexpr std::uint64_t mixed(std::uint64_t x) {
    x += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
}

/// Uniform in 0 .. 1 (below 1).
double draw(std::uint64_t seed, std::size_t fault, std::uint64_t n) {
    const std::uint64_t word = mixed(mixed(mixed(seed) ^ fault) ^ n);
    return static_cast<double>(word >> 11) * 0x1p-53;
}

bool matches(const ChaosFault& fault, std::string_view route, const Fields& fields) {
    if (!fault.route.empty() && fault.route != route) return false;
    if (fault.header.empty()) return true;
    for (const Field field : fields) {
        if (!same_text(field.name, fault.header)) continue;
        if (fault.value.empty() || trimmed(field.value) == fault.value) return true;
    }
    return false;
}

// A bucket of one second in one word: which second (24 bits, half a year until they come round), failures, all.

constexpr unsigned count_bits = 20;
constexpr std::uint64_t most = (std::uint64_t{1} << count_bits) - 1;
constexpr std::uint64_t second_mask = (std::uint64_t{1} << 24) - 1;

std::uint64_t second_of(TimePoint at) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count();
    return static_cast<std::uint64_t>(seconds) & second_mask;
}

constexpr std::uint64_t bucket_of(std::uint64_t second) {
    return second << 2 * count_bits;
}
constexpr std::uint64_t second_in(std::uint64_t bucket) {
    return bucket >> 2 * count_bits;
}
constexpr std::uint64_t failed_in(std::uint64_t bucket) {
    return bucket >> count_bits & most;
}
constexpr std::uint64_t all_in(std::uint64_t bucket) {
    return bucket & most;
}

std::uint64_t counted(std::uint64_t bucket, std::uint64_t second, ChaosState::Seen seen) {
    if (second_in(bucket) != second) bucket = bucket_of(second);
    // A million a second are enough to know the share.
    if (all_in(bucket) == most || failed_in(bucket) == most) return bucket;
    if (seen != ChaosState::Seen::turned) ++bucket;
    if (seen != ChaosState::Seen::good) bucket += std::uint64_t{1} << count_bits;
    return bucket;
}

}  // namespace

std::optional<ChaosFault> parse_fault(std::string_view text, std::string& fault) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view name = text.substr(0, end);
    const auto* word = std::find_if(std::begin(words), std::end(words), [&](const Word& w) { return w.name == name; });
    if (word == std::end(words)) {
        fault = unknown(name);
        return {};
    }
    ChaosFault read;
    read.kind = word->kind;
    read.text = std::string(text);
    fault = read_argument(*word, trimmed(text.substr(end)), read);
    if (!fault.empty()) return {};
    return read;
}

bool parse_fault_header(std::string_view text, ChaosFault& into, std::string& fault) {
    const std::size_t colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    const std::string_view value = colon == text.npos ? std::string_view{} : trimmed(text.substr(colon + 1));
    if (!is_token(name)) {
        fault = quoted(name) + " is no header name; write `X-Test: 1`, or `X-Test` for any value";
    } else if (colon != text.npos && value.empty()) {
        fault =
            "no value after the colon; write `" + std::string(name) + ": 1`, or `" + std::string(name) + "` for any";
    } else if (!is_field_value(value)) {
        fault = "the value holds a control character, which no header can have";
    } else if (classify(name) == Known::sluice) {
        fault = quoted(name) + " is a header of Sluice's own, which is taken away before faults are drawn";
    } else {
        into.header = std::string(name);
        into.value = std::string(value);
        return true;
    }
    return false;
}

ChaosState::ChaosState(const ChaosSpec& spec) : faults_(std::make_unique<PerFault[]>(spec.inject.size())) {}

ChaosState::Counts ChaosState::recent(TimePoint now) const {
    const std::uint64_t second = second_of(now);
    Counts counts;
    for (const auto& bucket : buckets_) {
        const std::uint64_t word = bucket.load(std::memory_order_relaxed);
        if (((second - second_in(word)) & second_mask) >= seconds) continue;
        counts.failed += failed_in(word);
        counts.all += all_in(word);
    }
    counts.all = std::max(counts.all, counts.failed);  // what has turned may have been good longer ago
    return counts;
}

double ChaosState::failure_share(TimePoint now) const {
    const Counts counts = recent(now);
    return counts.all == 0 ? 0 : static_cast<double>(counts.failed) / static_cast<double>(counts.all);
}

bool ChaosState::seen(const ChaosSpec& spec, Seen outcome, TimePoint now) {
    if (!spec.enabled) return false;
    const std::uint64_t second = second_of(now);
    auto& bucket = buckets_[second % buckets_.size()];
    std::uint64_t before = bucket.load(std::memory_order_relaxed);
    while (!bucket.compare_exchange_weak(before, counted(before, second, outcome), std::memory_order_relaxed)) {
    }
    if (outcome == Seen::good || stopped()) return false;  // only a failure raises the share
    const Counts counts = recent(now);
    if (counts.all < least_seen) return false;
    const double share = static_cast<double>(counts.failed) / static_cast<double>(counts.all);
    return share > spec.abort_above && !stopped_.exchange(true, std::memory_order_relaxed);
}

const ChaosFault* draw_fault(const ChaosSpec& spec, ChaosState& state, std::string_view route, const Fields& fields) {
    if (!spec.enabled || state.stopped()) return nullptr;
    for (std::size_t i = 0; i < spec.inject.size(); ++i) {
        const ChaosFault& fault = spec.inject[i];
        if (!matches(fault, route, fields)) continue;
        const std::uint64_t n = state.faults_[i].matched.fetch_add(1, std::memory_order_relaxed);
        if (fault.first != 0 && n >= fault.first) continue;
        if (draw(spec.seed, i, n) >= fault.rate) continue;
        state.faults_[i].injected.fetch_add(1, std::memory_order_relaxed);
        return &fault;
    }
    return nullptr;
}

}  // namespace sluice
