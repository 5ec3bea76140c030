// How the audit trail of a running Sluice fares, as its /vendors says, for `sluice status` and `sluice doctor`. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice {

/// Its words may hold anything: they are made printable.
struct ToldAudit {
    std::string file;
    bool failing = false;
    std::uint64_t written = 0, waiting = 0, lost = 0;
    std::string fault, altered;  // "": none
};

/// Nothing: that Sluice says nothing of it.
std::optional<ToldAudit> audit_told(const boost::json::value& vendors);

/// One line for people.
std::string summed_up(const ToldAudit& audit);

}  // namespace sluice
