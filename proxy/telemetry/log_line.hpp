// Log lines as text, JSON or logfmt, one line a call. Pure but for the calendar: time is an argument. One LineFormat a
// thread. Whatever an application or a vendor sent can neither begin a second line nor reach a terminal as a control:
// what is not printable is escaped, in both formats. Header values and queries are never among the fields.
#pragma once

#include <array>
#include <ctime>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/base/time.hpp"
#include "proxy/ports/ports.hpp"
#include "proxy/telemetry/telemetry.hpp"

namespace sluice {

class LineFormat {
  public:
    explicit LineFormat(LogFormat format) : format_(format) {}

    /// The line of an exchange, with its '\n', appended. Absent fields are left out; long ones are cut (path at 1,024
    /// bytes, detail at 512, method at 32, names at 300).
    void append_exchange(std::string& out, const ExchangeRecord& record, WallTime now);

    /// The line of anything else; values are cut at 2,048 bytes.
    void append_notice(std::string& out, Level level, std::string_view event,
                       std::initializer_list<std::pair<std::string_view, std::string_view>> fields, WallTime now);

  private:
    std::string_view stamp(WallTime now);

    LogFormat format_;
    static constexpr std::size_t whole_seconds = 20;  // of the stamp's characters
    std::time_t second_ = -1;                         // which `stamp_` holds
    std::array<char, whole_seconds + 7> stamp_ = [] {
        std::array<char, whole_seconds + 7> text{};
        text.back() = 'Z';
        return text;
    }();  // "2026-11-23T17:20:01.123456Z"
};

}  // namespace sluice
