#include "proxy/telemetry/log_line.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

// A field's name with what stands around it in either format, put together at compile time.
class Key {
  public:
    static constexpr std::size_t room = 24;

    consteval explicit Key(std::string_view name) : size_(name.size()) {
        text_[0] = ',';
        text_[1] = '"';
        std::copy(name.begin(), name.end(), text_.begin() + 2);
        text_[size_ + 2] = '"';
        text_[size_ + 3] = ':';
        plain_[0] = ' ';
        std::copy(name.begin(), name.end(), plain_.begin() + 1);
        plain_[size_ + 1] = '=';
    }
    /// Writes `room` bytes; returns how many of them are the key.
    std::size_t write(char* at, LogFormat format) const {
        const bool json = format == LogFormat::json;
        std::memcpy(at, (json ? text_ : plain_).data(), room);
        return size_ + (json ? 4 : 2);
    }

  private:
    std::size_t size_;
    std::array<char, room> text_{}, plain_{};
};

enum class Bytes : unsigned char {
    bare,
    quoted,
    special
};  // may stand unquoted in logfmt; inside quotes; must be escaped

Bytes worst_in_eight(const char* at) {
    constexpr std::uint64_t each = 0x0101010101010101ull, high = 0x80 * each;
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    // Exact as to whether there is one: a borrow goes no further than from a byte that is one.
    const auto holds = [word](char c) {
        const std::uint64_t zero = word ^ (each * static_cast<unsigned char>(c));
        return (zero - each) & ~zero & high;
    };
    const std::uint64_t special = word | (word + each) | (word - 0x20 * each) | holds('"') | holds('\\');
    if ((special & high) != 0) return Bytes::special;
    return (holds(' ') | holds('=')) != 0 ? Bytes::quoted : Bytes::bare;
}

Bytes worst_of(std::string_view text) {
    if (text.size() < 8) {
        std::array<char, 8> filled;
        filled.fill('-');
        std::copy(text.begin(), text.end(), filled.begin());
        return worst_in_eight(filled.data());
    }
    Bytes worst = Bytes::bare;
    const char* const last = text.data() + text.size() - 8;  // it may overlap the one before
    for (const char* at = text.data(); at < last; at += 8) worst = std::max(worst, worst_in_eight(at));
    return std::max(worst, worst_in_eight(last));
}

// What JSON lets stand but a terminal or a reader obeys: DEL, the C1 controls (U+009B begins an escape sequence), the
// line separators, and the marks that turn the direction of text. The code point, if one begins here.
unsigned obeyed_at(std::string_view text, std::size_t at, std::size_t& bytes) {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
    };
    bytes = 1;
    if (byte(0) == 0x7f) return 0x7f;
    bytes = 2;
    if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) <= 0x9f) return byte(1);
    if (byte(0) == 0xd8 && byte(1) == 0x9c) return 0x061c;
    bytes = 3;
    if (byte(0) != 0xe2 || (byte(1) & 0xc0) != 0x80 || (byte(2) & 0xc0) != 0x80) return 0;
    const unsigned point = 0x2000 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    const bool obeyed = point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
                        (point >= 0x2066 && point <= 0x2069);
    return obeyed ? point : 0;
}

void append_escaped(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::size_t done = 0, bytes = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const unsigned point = obeyed_at(text, at, bytes);
        if (point == 0) continue;
        append_json_escaped(out, text.substr(done, at - done));
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out += digits[point >> shift & 0xf];
        done = at + bytes;
        at = done - 1;
    }
    append_json_escaped(out, text.substr(done));
}

// The first bytes of a text, without half a character at the end.
std::string_view cut(std::string_view text, std::size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
    return text.substr(0, most);
}

// One line. Put together on the side: a dozen fields are fifty pieces, and a string asks for its room at each.
class Line {
  public:
    Line(std::string& out, LogFormat format) : out_(out), format_(format) {}

    void put(std::string_view text) {
        if (text.size() > pieces_.size() - used_) {
            spill();
            if (text.size() > pieces_.size()) {
                out_ += text;
                return;
            }
        }
        std::memcpy(pieces_.data() + used_, text.data(), text.size());
        used_ += text.size();
    }
    void put(char c) {
        if (used_ == pieces_.size()) spill();
        pieces_[used_++] = c;
    }
    void put(const Key& key) {
        if (Key::room > pieces_.size() - used_) spill();
        used_ += key.write(pieces_.data() + used_, format_);
    }
    void value(std::string_view text) {
        const Bytes worst = worst_of(text);
        const bool quotes = format_ == LogFormat::json || worst != Bytes::bare || text.empty();
        if (quotes) put('"');
        if (worst == Bytes::special) {
            std::string escaped;
            append_escaped(escaped, text);
            put(escaped);
        } else {
            put(text);
        }
        if (quotes) put('"');
    }
    void text(const Key& key, std::string_view text, std::size_t most = 300) {
        if (text.empty()) return;
        put(key);
        value(cut(text, most));
    }
    /// Of our own words, which need neither a look nor an escape.
    void word(const Key& key, std::string_view word) {
        put(key);
        if (format_ == LogFormat::json) put('"');
        put(word);
        if (format_ == LogFormat::json) put('"');
    }
    void number(const Key& key, std::uint64_t number) {
        put(key);
        constexpr std::size_t longest = 20;
        if (longest > pieces_.size() - used_) spill();
        char* const at = pieces_.data() + used_;
        used_ += static_cast<std::size_t>(std::to_chars(at, at + longest, number).ptr - at);
    }
    void milliseconds(const Key& key, Duration time) {
        const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)) / 1000;
        number(key, micros / 1000);
        const auto rest = static_cast<unsigned>(micros % 1000);
        const char fraction[] = {'.', static_cast<char>('0' + rest / 100), static_cast<char>('0' + rest / 10 % 10),
                                 static_cast<char>('0' + rest % 10)};
        put({fraction, sizeof fraction});
    }
    void milliseconds(const Key& key, const std::optional<Duration>& time) {
        if (time) milliseconds(key, *time);
    }
    void flag(const Key& key, bool set) {
        if (!set) return;
        put(key);
        put("true");
    }
    void end() {
        put(format_ == LogFormat::json ? std::string_view("}\n") : std::string_view("\n"));
        spill();
    }

  private:
    void spill() {
        out_.append(pieces_.data(), used_);
        used_ = 0;
    }

    std::string& out_;
    LogFormat format_;
    std::size_t used_ = 0;
    std::array<char, 768> pieces_;
};

std::string_view name_of(Level level) {
    switch (level) {
        case Level::info:
            return "info";
        case Level::warning:
            return "warning";
        case Level::error:
            return "error";
    }
    return "";
}

constexpr Key level_key{"level"}, event_key{"event"}, request_id_key{"request_id"}, vendor_key{"vendor"},
    route_key{"route"}, listener_key{"listener"}, client_key{"client"}, method_key{"method"}, authority_key{"authority"}, path_key{"path"},
    status_key{"status"}, outcome_key{"outcome"}, reason_key{"reason"}, detail_key{"detail"}, attempts_key{"attempts"}, scrubbed_key{"scrubbed"},
    duration_key{"duration_ms"}, dns_key{"dns_ms"}, connect_key{"connect_ms"}, tls_key{"tls_ms"},
    first_byte_key{"first_byte_ms"}, to_vendor_key{"bytes_to_vendor"}, from_vendor_key{"bytes_from_vendor"},
    gone_key{"gone"}, tunnel_key{"tunnel"}, reported_key{"reported"};

}  // namespace

std::string_view LineFormat::stamp(WallTime now) {
    const auto micros = std::chrono::floor<std::chrono::microseconds>(now.time_since_epoch()).count();
    const std::time_t second = static_cast<std::time_t>(micros / 1'000'000);
    if (second != second_) {
        std::tm parts{};
        gmtime_r(&second, &parts);
        std::array<char, 32> text{};
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.", &parts);
        std::copy_n(text.begin(), whole_seconds, stamp_.begin());
        second_ = second;
    }
    auto rest = static_cast<unsigned>(micros % 1'000'000);
    for (std::size_t i = stamp_.size() - 1; i-- > whole_seconds; rest /= 10)
        stamp_[i] = static_cast<char>('0' + rest % 10);
    return {stamp_.data(), stamp_.size()};
}

namespace {

void begin(Line& line, LogFormat format, std::string_view stamp, Level level, std::string_view event) {
    const bool json = format == LogFormat::json;
    line.put(json ? std::string_view("{\"ts\":\"") : std::string_view("ts="));
    line.put(stamp);
    if (json) line.put('"');
    line.word(level_key, name_of(level));
    line.word(event_key, event);
}

}  // namespace

void LineFormat::append_exchange(std::string& out, const ExchangeRecord& record, WallTime now) {
    const bool failed = record.outcome == Outcome::failed && record.reason;
    Line line(out, format_);
    begin(line, format_, stamp(now), failed ? Level::warning : Level::info, "exchange");
    line.text(request_id_key, record.request_id);
    line.text(vendor_key, record.vendor ? std::string_view(record.vendor->name) : std::string_view("_other"));
    if (record.route) line.text(route_key, record.route->name);
    line.text(listener_key, record.listener);
    line.text(client_key, record.client);
    line.text(method_key, record.method, 32);
    line.text(authority_key, record.authority);
    line.text(path_key, record.path.substr(0, record.path.find('?')), 1024);  // a query may hold a secret: cut it twice
    if (record.status != 0) line.number(status_key, record.status);
    line.word(outcome_key, sluice::name_of(record.outcome));
    if (record.reason) line.word(reason_key, sluice::name_of(*record.reason));
    line.text(detail_key, record.detail, 512);
    line.number(attempts_key, record.attempts);
    if (record.scrubbed) line.number(scrubbed_key, record.scrubbed);
    line.milliseconds(duration_key, record.duration);
    line.milliseconds(dns_key, record.phases.dns);
    line.milliseconds(connect_key, record.phases.connect);
    line.milliseconds(tls_key, record.phases.tls);
    line.milliseconds(first_byte_key, record.phases.first_byte);
    line.number(to_vendor_key, record.traffic.to_vendor);
    line.number(from_vendor_key, record.traffic.from_vendor);
    line.flag(gone_key, record.application_gone);
    line.flag(tunnel_key, record.tunnel);
    line.flag(reported_key, record.reported);
    line.end();
}

void LineFormat::append_notice(std::string& out, Level level, std::string_view event,
                               std::initializer_list<std::pair<std::string_view, std::string_view>> fields,
                               WallTime now) {
    Line line(out, format_);
    begin(line, format_, stamp(now), level, event);
    const bool json = format_ == LogFormat::json;
    for (const auto& [name, value] : fields) {
        line.put(json ? ",\"" : " ");
        line.put(name);
        line.put(json ? "\":" : "=");
        line.value(cut(value, 2048));
    }
    line.end();
}

}  // namespace sluice
