#include "proxy/app/told_audit.hpp"

#include <boost/json/object.hpp>

#include "proxy/app/table.hpp"

namespace sluice {

namespace json = boost::json;

std::optional<ToldAudit> audit_told(const json::value& vendors) {
    const json::value* audit = vendors.is_object() ? vendors.get_object().if_contains("audit") : nullptr;
    if (!audit || !audit->is_object()) return {};
    const json::object& object = audit->get_object();
    const auto text = [&](std::string_view key) {
        const json::value* value = object.if_contains(key);
        return value && value->is_string() ? printable(std::string(value->get_string())) : std::string();
    };
    const auto count = [&](std::string_view key) {
        const json::value* value = object.if_contains(key);
        boost::system::error_code error;
        const auto number = value ? value->to_number<std::uint64_t>(error) : 0;
        return error ? 0 : number;
    };
    const json::value* failing = object.if_contains("failing");
    return ToldAudit{text("file"),     failing && failing->is_bool() && failing->get_bool(),
                     count("written"), count("waiting"),
                     count("lost"),    text("fault"),
                     text("altered")};
}

std::string summed_up(const ToldAudit& audit) {
    std::string out = audit.file + ": ";
    out += audit.failing
               ? "NOT WRITTEN, " + audit.fault + "; " + std::to_string(audit.waiting) + " records wait"
               : std::to_string(audit.written) + (audit.written == 1 ? " record" : " records") + " since the start";
    if (audit.lost > 0) out += ", " + std::to_string(audit.lost) + " lost";
    if (!audit.failing && !audit.fault.empty()) out += "; it could not be written for a while: " + audit.fault;
    if (!audit.altered.empty()) out += "; CHANGED BY SOMEBODY, see sluice audit verify: " + audit.altered;
    return out;
}

}  // namespace sluice
