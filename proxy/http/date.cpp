#include "proxy/http/date.hpp"

#include <array>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// Takes the text apart from its front; the first thing that is not there makes everything after it fail.
class Taker {
  public:
    explicit Taker(std::string_view text) : left_(text) {}

    /// Exactly so many digits.
    int number(std::size_t digits) {
        int value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            const char c = next();
            if (!is_digit(c)) return fail();
            value = value * 10 + (c - '0');
        }
        return value;
    }
    void text(std::string_view wanted) {
        if (left_.starts_with(wanted)) {
            left_.remove_prefix(wanted.size());
        } else {
            fail();
        }
    }
    /// 1 to 12 for "Jan" to "Dec".
    int month() {
        static constexpr std::array<std::string_view, 12> names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (!left_.starts_with(names[i])) continue;
            left_.remove_prefix(3);
            return static_cast<int>(i) + 1;
        }
        return fail();
    }
    char peek() const { return left_.empty() ? '\0' : left_.front(); }
    char next() {
        if (left_.empty()) return static_cast<char>(fail());
        const char c = left_.front();
        left_.remove_prefix(1);
        return c;
    }
    int fail() {
        failed_ = true;
        left_ = {};
        return 0;
    }
    bool failed() const { return failed_; }
    bool whole() const { return !failed_ && left_.empty(); }

  private:
    std::string_view left_;
    bool failed_ = false;
};

struct Parts {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void take_time(Taker& in, Parts& parts) {
    parts.hour = in.number(2);
    in.text(":");
    parts.minute = in.number(2);
    in.text(":");
    parts.second = in.number(2);
}

std::optional<WallTime> time_of(const Parts& p) {
    using namespace std::chrono;
    const year_month_day date{year(p.year), month(static_cast<unsigned>(p.month)), day(static_cast<unsigned>(p.day))};
    if (!date.ok() || p.hour > 23 || p.minute > 59 || p.second > 60) return {};  // 60: a leap second
    if (p.year < 1900 || p.year > 2200) return {};                               // fits in 64 bits of nanoseconds
    return WallTime(sys_days(date)) + hours(p.hour) + minutes(p.minute) + seconds(p.second);
}

std::optional<WallTime> parse_imf(std::string_view text) {  // "Sun, 06 Nov 1994 08:49:37 GMT"
    if (text.size() != 29) return {};
    Taker in(text.substr(3));
    Parts parts;
    in.text(", ");
    parts.day = in.number(2);
    in.text(" ");
    parts.month = in.month();
    in.text(" ");
    parts.year = in.number(4);
    in.text(" ");
    take_time(in, parts);
    in.text(" GMT");
    return in.whole() ? time_of(parts) : std::nullopt;
}

std::optional<WallTime> parse_rfc850(std::string_view text, WallTime now) {  // "Sunday, 06-Nov-94 08:49:37 GMT"
    const std::size_t comma = text.find(',');
    if (comma == text.npos || comma < 6 || comma > 9) return {};
    Taker in(text.substr(comma));
    Parts parts;
    in.text(", ");
    parts.day = in.number(2);
    in.text("-");
    parts.month = in.month();
    in.text("-");
    parts.year = in.number(2);
    in.text(" ");
    take_time(in, parts);
    in.text(" GMT");
    if (!in.whole()) return {};
    using namespace std::chrono;
    const int this_year = static_cast<int>(year_month_day(floor<days>(now)).year());
    parts.year += this_year - this_year % 100;
    if (parts.year > this_year + 50) parts.year -= 100;
    return time_of(parts);
}

std::optional<WallTime> parse_asctime(std::string_view text) {  // "Sun Nov  6 08:49:37 1994"
    if (text.size() != 24) return {};
    Taker in(text.substr(3));
    Parts parts;
    in.text(" ");
    parts.month = in.month();
    in.text(" ");
    if (in.peek() == ' ') {
        in.text(" ");
        parts.day = in.number(1);
    } else {
        parts.day = in.number(2);
    }
    in.text(" ");
    take_time(in, parts);
    in.text(" ");
    parts.year = in.number(4);
    return in.whole() ? time_of(parts) : std::nullopt;
}

Duration take_fraction(Taker& in) {
    if (in.peek() != '.') return {};
    in.next();
    if (!is_digit(in.peek())) in.fail();
    std::int64_t nanoseconds = 0;
    for (std::int64_t scale = 100'000'000; is_digit(in.peek()); scale /= 10) nanoseconds += (in.next() - '0') * scale;
    return Duration(nanoseconds);
}

/// East of Greenwich.
std::chrono::minutes take_offset(Taker& in) {
    const char sign = in.next();
    if (sign == 'Z' || sign == 'z') return {};
    if (sign != '+' && sign != '-') in.fail();
    const int hours = in.number(2);
    in.text(":");
    const int minutes = in.number(2);
    if (hours > 23 || minutes > 59) in.fail();
    return std::chrono::minutes((sign == '-' ? -1 : 1) * (hours * 60 + minutes));
}

}  // namespace

std::optional<WallTime> parse_http_date(std::string_view text, WallTime now) {
    if (const auto date = parse_imf(text)) return date;
    if (const auto date = parse_rfc850(text, now)) return date;
    return parse_asctime(text);
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
    Taker in(text);
    Parts parts;
    parts.year = in.number(4);
    in.text("-");
    parts.month = in.number(2);
    in.text("-");
    parts.day = in.number(2);
    if (const char t = in.next(); t != 'T' && t != 't' && t != ' ') in.fail();
    take_time(in, parts);
    const Duration fraction = take_fraction(in);
    const auto offset = take_offset(in);
    const auto time = in.whole() ? time_of(parts) : std::nullopt;
    if (!time) return {};
    return *time + std::chrono::duration_cast<WallTime::duration>(fraction) - offset;
}

}  // namespace sluice
