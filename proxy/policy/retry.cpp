#include "proxy/policy/retry.hpp"

#include <algorithm>
#include <array>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr unsigned least_status = 100, most_status = 599;

bool is_server_error(unsigned status) {
    return status >= 500 && status <= 599;
}

/// `text` as a status 100 to 599.
std::optional<std::uint16_t> parse_status(std::string_view text) {
    const auto number = parse_decimal(text);
    if (text.size() != 3 || !number || *number < least_status || *number > most_status) return {};
    return static_cast<std::uint16_t>(*number);
}

void add_status(RetryOn& on, std::uint16_t status) {
    const auto at = std::lower_bound(on.statuses.begin(), on.statuses.end(), status);
    if (at == on.statuses.end() || *at != status) on.statuses.insert(at, status);
}

void remove_status(RetryOn& on, std::uint16_t status) {
    if (on.server_errors && is_server_error(status)) {  // the others of `5xx` stay
        on.server_errors = false;
        for (std::uint16_t other = 500; other <= 599; ++other) add_status(on, other);
    }
    std::erase(on.statuses, status);
}

constexpr std::string_view written = "`connect`, `tls`, `reset`, `timeout`, `5xx` or a status from 100 to 599";
constexpr std::array<std::string_view, 5> known_words{"connect", "tls", "reset", "timeout", "5xx"};

bool* flag_of(RetryOn& on, std::string_view word) {
    if (word == "connect") return &on.connect;
    if (word == "tls") return &on.tls;
    if (word == "reset") return &on.reset;
    if (word == "timeout") return &on.timeout;
    if (word == "5xx") return &on.server_errors;
    return nullptr;
}

/// Adds what `word` means, or takes it away. False: it means nothing.
bool apply(RetryOn& on, std::string_view word, bool wanted) {
    if (bool* flag = flag_of(on, word)) {
        *flag = wanted;
        // "-5xx" means each of them, those that were inherited as numbers too.
        if (word == "5xx" && !wanted) std::erase_if(on.statuses, is_server_error);
        return true;
    }
    const auto status = parse_status(word);
    if (!status) return false;
    wanted ? add_status(on, *status) : remove_status(on, *status);
    return true;
}

std::string unknown(std::string_view word) {
    std::string fault = "'" + std::string(word) + "' is nothing to retry on; write " + std::string(written);
    if (const auto meant = nearest(word, known_words)) fault += " (did you mean '" + std::string(*meant) + "'?)";
    return fault;
}

bool is_edit(std::string_view word) {
    return word.starts_with('+') || word.starts_with('-');
}

/// A word that stands there with both signs; "" for none.
std::string_view contradicted(std::span<const std::string> words) {
    for (const std::string& word : words) {
        const auto is_opposite = [&](const std::string& other) {
            return other[0] != word[0] && std::string_view(other).substr(1) == std::string_view(word).substr(1);
        };
        if (std::any_of(words.begin(), words.end(), is_opposite)) return std::string_view(word).substr(1);
    }
    return {};
}

}  // namespace

bool RetryOn::names(unsigned status) const {
    if (server_errors && is_server_error(status)) return true;
    return std::binary_search(statuses.begin(), statuses.end(), status);
}

bool RetryOn::names(Reason reason) const {
    const auto is = [reason](auto... any) { return ((reason == any) || ...); };
    return (connect && is(Reason::dns_failed, Reason::connect_failed, Reason::timeout_connect)) ||
           (tls && is(Reason::tls_failed, Reason::timeout_tls)) ||
           (reset && is(Reason::upstream_reset, Reason::upstream_protocol)) ||
           (timeout && is(Reason::timeout_first_byte, Reason::timeout_idle));
}

std::optional<RetryOn> edited(const RetryOn& base, std::span<const std::string> words, std::string& fault) {
    const auto edits = static_cast<std::size_t>(std::count_if(words.begin(), words.end(), is_edit));
    if (edits != 0 && edits != words.size()) {
        fault = "a list either replaces what is retried on, or every entry of it begins with '+' or '-' and edits it";
        return {};
    }
    if (const std::string_view word = edits ? contradicted(words) : std::string_view{}; !word.empty()) {
        fault = "'" + std::string(word) + "' is both added and taken away";
        return {};
    }
    RetryOn on = edits ? base : RetryOn{false, false, false, false, false, {}};
    // What is taken away goes first: "-5xx" and "+503" leave 503, whatever their order.
    for (const bool wanted : {false, true}) {
        for (const std::string& entry : words) {
            const std::string_view word = std::string_view(entry).substr(edits ? 1 : 0);
            if (wanted == entry.starts_with('-')) continue;
            if (!apply(on, word, wanted)) return fault = unknown(word), std::nullopt;
        }
    }
    return on;
}

Duration spread(Duration retry_after, Duration over, double draw) {
    const double share = std::clamp(draw, 0.0, 1.0);
    return retry_after + Duration(static_cast<Duration::rep>(static_cast<double>(over.count()) * share));
}

bool IdempotencySpec::is_keyed(const Fields& fields) const {
    for (const Field field : fields) {
        if (same_text(field.name, header) && !trimmed(field.value).empty()) return true;
    }
    return false;
}

bool IdempotencySpec::generates(std::string_view method) const {
    return std::find(generate.begin(), generate.end(), method) != generate.end();
}

std::string make_idempotency_key(std::uint64_t random, std::uint64_t more_random) {
    const std::uint64_t high = (random & ~std::uint64_t{0xF000}) | 0x4000;                    // version 4
    const std::uint64_t low = (more_random & 0x3FFF'FFFF'FFFF'FFFF) | 0x8000'0000'0000'0000;  // its variant
    std::string key;
    key.reserve(36);
    for (unsigned i = 0; i < 32; ++i) {
        if (i == 8 || i == 12 || i == 16 || i == 20) key.push_back('-');
        const std::uint64_t half = i < 16 ? high : low;
        key.push_back("0123456789abcdef"[half >> (60 - 4 * (i % 16)) & 0xF]);
    }
    return key;
}

}  // namespace sluice
