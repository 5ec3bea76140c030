#include "proxy/credentials/stamp.hpp"

#include <array>
#include <string_view>

namespace sluice {

namespace {

/// One after the other: numbers with their leading zeros, and what stands between them.
class Writer {
  public:
    explicit Writer(WallTime time)
        : day_(std::chrono::floor<std::chrono::days>(time)),
          date_(day_),
          clock_(std::chrono::floor<std::chrono::seconds>(time - day_)) {}

    Writer& year() { return number(static_cast<unsigned>(static_cast<int>(date_.year())), 4); }
    Writer& month() { return number(static_cast<unsigned>(date_.month()), 2); }
    Writer& day() { return number(static_cast<unsigned>(date_.day()), 2); }
    Writer& time(std::string_view between) {
        number(static_cast<unsigned>(clock_.hours().count()), 2).text(between);
        number(static_cast<unsigned>(clock_.minutes().count()), 2).text(between);
        return number(static_cast<unsigned>(clock_.seconds().count()), 2);
    }
    Writer& month_name() {
        return text(std::string_view("JanFebMarAprMayJunJulAugSepOctNovDec")
                        .substr(3 * (static_cast<unsigned>(date_.month()) - 1), 3));
    }
    Writer& weekday_name() {
        return text(std::string_view("SunMonTueWedThuFriSat").substr(3 * std::chrono::weekday(day_).c_encoding(), 3));
    }
    Writer& text(std::string_view words) {
        out_ += words;
        return *this;
    }
    std::string take() { return std::move(out_); }

  private:
    Writer& number(unsigned value, std::size_t digits) {
        std::array<char, 4> text;
        for (std::size_t i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
        out_.append(text.data(), digits);
        return *this;
    }

    std::chrono::sys_days day_;
    std::chrono::year_month_day date_;
    std::chrono::hh_mm_ss<std::chrono::seconds> clock_;
    std::string out_;
};

}  // namespace

std::string basic_stamp(WallTime time) {
    return Writer(time).year().month().day().text("T").time("").text("Z").take();
}

std::string iso_stamp(WallTime time) {
    return Writer(time).year().text("-").month().text("-").day().text("T").time(":").text("Z").take();
}

std::string imf_stamp(WallTime time) {
    Writer out(time);
    out.weekday_name().text(", ").day().text(" ").month_name().text(" ").year().text(" ").time(":").text(" GMT");
    return out.take();
}

std::int64_t unix_seconds(WallTime time) {
    return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::int64_t unix_milliseconds(WallTime time) {
    return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace sluice
