#include "proxy/http/retry_after.hpp"

#include <algorithm>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/date.hpp"

namespace sluice {

namespace {

constexpr double most_seconds = std::chrono::duration<double>(most_retry_after).count();

Duration from_seconds(double seconds) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::clamp(seconds, 0.0, most_seconds)));
}

Duration until(WallTime when, WallTime now) {
    return std::clamp<Duration>(when - now, Duration{}, most_retry_after);
}

/// Digits, and a fraction perhaps, at the front of `text`, which loses them. No sign, no exponent.
std::optional<double> take_decimal(std::string_view& text) {
    double value = 0, scale = 0;  // scale: of the next digit of the fraction
    std::size_t used = 0, digits = 0;
    for (; used < text.size() && (is_digit(text[used]) || (text[used] == '.' && scale == 0)); ++used) {
        if (text[used] == '.') {
            scale = 0.1;
        } else if (scale == 0) {
            value = value * 10 + (text[used] - '0');
            ++digits;
        } else {
            value += (text[used] - '0') * scale;
            scale /= 10;
            ++digits;
        }
    }
    if (digits == 0 || digits > 32 || !is_digit(text[0]) || text[used - 1] == '.') return {};
    text.remove_prefix(used);
    return value;
}

std::optional<double> parse_decimal_fraction(std::string_view text) {
    const auto value = take_decimal(text);
    return text.empty() ? value : std::nullopt;
}

Duration from_bare(double number, WallTime now) {
    const auto since_epoch = std::chrono::duration<double>(now.time_since_epoch()).count();
    if (number > 1e12) return from_seconds(number / 1e3 - since_epoch);
    if (number > 1e9) return from_seconds(number - since_epoch);
    return from_seconds(number);
}

/// "6m0s", "1.5s", "12ms", "1h0m0s": as Go prints them; each unit at most once, the largest first.
std::optional<Duration> parse_go_duration(std::string_view text) {
    struct Unit {
        std::string_view name;
        double seconds;
    };
    static constexpr Unit units[] = {{"d", 86400}, {"h", 3600},  {"m", 60},           {"s", 1},
                                     {"ms", 1e-3}, {"us", 1e-6}, {"\xC2\xB5s", 1e-6}, {"ns", 1e-9}};
    double sum = 0;
    const Unit* next = std::begin(units);
    if (text.empty()) return {};
    while (!text.empty()) {
        const auto number = take_decimal(text);
        if (!number) return {};
        const std::string_view name = text.substr(0, std::min(text.find_first_of("0123456789"), text.size()));
        while (next != std::end(units) && next->name != name) ++next;
        if (next == std::end(units)) return {};
        sum += *number * next++->seconds;
        text.remove_prefix(name.size());
    }
    return from_seconds(sum);
}

/// The fields of one protobuf message, one after the other.
class ProtoFields {
  public:
    explicit ProtoFields(std::string_view message) : rest_(message) {}

    /// False: there is none any more, or what follows is no message.
    bool next() {
        std::uint64_t key = 0;
        if (rest_.empty() || !take_varint(key)) return false;
        number = key >> 3;
        bytes = {};
        integer = 0;
        switch (key & 7) {
        case 0: return take_varint(integer);
        case 1: return take_bytes(8);
        case 2: {
            std::uint64_t size = 0;
            return take_varint(size) && take_bytes(size);
        }
        case 5: return take_bytes(4);
        }
        return false;
    }

    std::uint64_t number = 0;
    std::uint64_t integer = 0;  // of a varint
    std::string_view bytes;     // of a string or a message, and of what has a fixed size

  private:
    bool take_varint(std::uint64_t& value) {
        value = 0;
        for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            value |= std::uint64_t{byte & 0x7Fu} << shift;
            if (byte < 0x80) return true;
        }
        return false;
    }
    bool take_bytes(std::uint64_t size) {
        if (size > rest_.size()) return false;
        bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
    }

    std::string_view rest_;
};

/// google.protobuf.Duration; below 0 is none.
std::optional<Duration> duration_of(std::string_view message) {
    double seconds = 0;
    for (ProtoFields field(message); field.next();) {
        const auto value = static_cast<double>(static_cast<std::int64_t>(field.integer));
        if (field.number == 1) seconds += value;
        if (field.number == 2) seconds += value / 1e9;
    }
    if (seconds < 0) return {};
    return from_seconds(seconds);
}

std::optional<Duration> retry_delay_of(std::string_view any) {
    std::string_view type, value;
    for (ProtoFields field(any); field.next();) {
        if (field.number == 1) type = field.bytes;
        if (field.number == 2) value = field.bytes;
    }
    if (!type.ends_with("/google.rpc.RetryInfo")) return {};
    for (ProtoFields field(value); field.next();)
        if (field.number == 1) return duration_of(field.bytes);
    return {};
}

}  // namespace

std::optional<Duration> parse_retry_info(std::string_view value) {
    const auto status = decode_base64(trimmed(value));
    if (!status) return {};
    for (ProtoFields field(*status); field.next();) {
        if (field.number != 3) continue;
        if (const auto delay = retry_delay_of(field.bytes)) return delay;
    }
    return {};
}

std::optional<Duration> parse_retry_after(std::string_view value, WallTime now) {
    value = trimmed(value);
    if (const auto number = parse_decimal_fraction(value)) return from_bare(*number, now);
    if (const auto date = parse_http_date(value, now)) return until(*date, now);
    return {};
}

std::optional<Duration> read_retry_after(const Fields& fields, WallTime now) {
    if (const auto value = fields.find("retry-after-ms")) {
        if (const auto number = parse_decimal_fraction(trimmed(*value))) return from_seconds(*number / 1e3);
    }
    const auto value = fields.find("retry-after");
    return value ? parse_retry_after(*value, now) : std::nullopt;
}

std::optional<bool> read_should_retry(const Fields& fields) {
    for (const std::string_view name : {"x-should-retry", "stripe-should-retry"}) {
        const auto value = fields.find(name);
        if (!value) continue;
        if (same_text(trimmed(*value), "true")) return true;
        if (same_text(trimmed(*value), "false")) return false;
    }
    return {};
}

std::optional<Duration> parse_reset(std::string_view value, WallTime now) {
    value = trimmed(value);
    if (const auto number = parse_decimal_fraction(value)) return from_bare(*number, now);
    if (const auto time = parse_rfc3339(value)) return until(*time, now);
    if (const auto date = parse_http_date(value, now)) return until(*date, now);
    return parse_go_duration(value);
}

std::string format_retry_after(Duration wait) {
    return std::to_string(std::max<std::int64_t>(std::chrono::ceil<std::chrono::seconds>(wait).count(), 1));
}

}  // namespace sluice
