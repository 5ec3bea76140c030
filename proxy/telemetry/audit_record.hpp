// What the audit trail says of one event, before it has its place in the chain. Pure: time is an argument. Never a
// secret: who makes one names subjects, scopes and times, and what an issuer or an operator said is cut and tamed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.hpp"

namespace sluice {

class AuditRecord {
  public:
    static constexpr std::size_t most_value = 1024;  // bytes of a text; what is over is cut off

    /// `event` and the names of fields are ours, and go in as they are.
    AuditRecord(std::string_view event, WallTime at);

    /// Left out where it is empty.
    AuditRecord& add(std::string_view name, std::string_view value);
    AuditRecord& add(std::string_view name, std::uint64_t number);
    /// In seconds, to the millisecond.
    AuditRecord& add(std::string_view name, Duration duration);
    AuditRecord& add(std::string_view name, WallTime time);

    /// Everything but its place: "time":"...","event":"...", ...
    const std::string& text() const { return text_; }

  private:
    void begin(std::string_view name);

    std::string text_;
};

/// RFC 3339, UTC, to the millisecond: "2026-11-27T04:42:20.123Z".
std::string utc_text(WallTime time);

}  // namespace sluice
