#include "proxy/telemetry/audit_record.hpp"

#include <array>
#include <cstdio>
#include <ctime>

#include "proxy/telemetry/tame_text.hpp"

namespace sluice {

std::string utc_text(WallTime time) {
    const auto millis = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
    const auto rest = static_cast<int>((millis % 1000 + 1000) % 1000);  // a clock before 1970 is a clock too
    const std::time_t second = static_cast<std::time_t>((millis - rest) / 1000);
    std::tm parts{};
    gmtime_r(&second, &parts);
    std::array<char, 32> day{};
    std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    std::array<char, 8> fraction{};
    std::snprintf(fraction.data(), fraction.size(), ".%03dZ", rest);
    return std::string(day.data()) + fraction.data();
}

AuditRecord::AuditRecord(std::string_view event, WallTime at) {
    text_.append("\"time\":\"").append(utc_text(at)).append("\",\"event\":\"").append(event).append("\"");
}

void AuditRecord::begin(std::string_view name) {
    text_.append(",\"").append(name).append("\":");
}

AuditRecord& AuditRecord::add(std::string_view name, std::string_view value) {
    if (value.empty()) return *this;
    begin(name);
    text_ += '"';
    append_tamed(text_, cut(value, most_value));
    text_ += '"';
    return *this;
}

AuditRecord& AuditRecord::add(std::string_view name, std::uint64_t number) {
    begin(name);
    text_ += std::to_string(number);
    return *this;
}

AuditRecord& AuditRecord::add(std::string_view name, Duration duration) {
    const auto millis = std::chrono::round<std::chrono::milliseconds>(duration).count();
    begin(name);
    std::array<char, 32> text{};
    if (millis % 1000 == 0) {
        std::snprintf(text.data(), text.size(), "%lld", static_cast<long long>(millis / 1000));
    } else {
        std::snprintf(text.data(), text.size(), "%.3f", static_cast<double>(millis) / 1000);
    }
    text_ += text.data();
    return *this;
}

AuditRecord& AuditRecord::add(std::string_view name, WallTime time) {
    return add(name, utc_text(time));
}

}  // namespace sluice
