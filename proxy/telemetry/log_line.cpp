#include "proxy/telemetry/log_line.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "proxy/http/path_to_tell.hpp"
#include "proxy/telemetry/tame_text.hpp"

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
            append_tamed(escaped, text);
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
    line.text(path_key, path_to_tell(record.path), 1024);  // what is refused stands there as it came
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
