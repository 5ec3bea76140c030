#include "proxy/app/catalogue.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "proxy/app/standing.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

template <class List, class Text>
json::array texts(const List& list, Text text) {
    json::array all;
    for (const auto& entry : list) all.emplace_back(text(entry));
    return all;
}

json::object timeouts(const Timeouts& timeout) {
    return {{"connect", format_duration(timeout.connect)},
            {"tls", format_duration(timeout.tls)},
            {"first_byte", format_duration(timeout.first_byte)},
            {"idle", format_duration(timeout.idle)},
            {"total", format_duration(timeout.total)}};
}

/// What the operator left out is left out.
void add_catalogue(json::object& out, const Catalogue& catalogue) {
    const auto add = [&out](const char* key, const std::string& value) {
        if (!value.empty()) out[key] = value;
    };
    add("owner", catalogue.owner);
    add("about", catalogue.about);
    add("criticality", catalogue.criticality);
    add("runbook", catalogue.runbook);
    if (!catalogue.data.empty()) out["data"] = texts(catalogue.data, [](const std::string& word) { return word; });
    if (catalogue.sla.empty()) return;
    json::object sla;
    for (const auto& [key, value] : catalogue.sla) sla[key] = value;
    out["sla"] = std::move(sla);
}

std::string endpoint_text(const Url& url) {
    return std::string(name_of(url.scheme)) + "://" + url.authority.text(url.scheme) + url.prefix;
}

json::object credential(const CredentialSpec& spec, const CredentialSlots& slots, TimePoint now) {
    const auto seconds = [](WallTime at) {
        return std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count();
    };
    const auto state = slots.at(spec.index)->state();
    const bool available = state->attachment && now < state->usable_until;
    json::object out{{"name", spec.name}, {"type", spec.type()}, {"available", available}};
    if (state->idle) out["idle"] = true;
    if (!available || !state->fault.empty()) out["fault"] = state->fault;
    out["since"] = seconds(state->since);
    if (state->minted) out["minted"] = seconds(*state->minted);
    if (state->expires) out["expires"] = seconds(*state->expires);
    return out;
}

json::object route(const Route& route, const Config& config, const CredentialSlots& slots, TimePoint now) {
    json::object out{{"name", route.name}, {"match", route.match.text}, {"timeout", timeouts(route.timeout)}};
    if (route.credential) out["credential"] = credential(config.credentials[*route.credential], slots, now);
    return out;
}

json::object vendor(const Vendor& vendor, const Config& config, const CredentialSlots& slots,
                    const ClientContexts& contexts, TimePoint now) {
    const auto pattern_text = [](const RequestPattern& pattern) { return pattern.text; };
    json::object out{{"name", vendor.name}};
    add_catalogue(out, vendor.catalogue);
    out["hosts"] = texts(vendor.hosts, [](const HostPattern& host) { return host.text(); });
    out["mode"] = vendor.mode == Mode::tunnel ? "tunnel" : "intercept";
    out["endpoints"] = texts(vendor.endpoints, endpoint_text);
    out["allow"] = texts(vendor.access.allow, pattern_text);
    out["deny"] = texts(vendor.access.deny, pattern_text);
    out["addresses"] = texts(vendor.addresses, [](const AddressRange& range) { return range.text(); });
    if (vendor.credential) out["credential"] = credential(config.credentials[*vendor.credential], slots, now);
    if (const std::string& fault = contexts.fault_of(vendor); !fault.empty()) out["tls_fault"] = fault;
    if (vendor.certificate)
        if (const auto state = slots.at(*vendor.certificate)->state(); !state->attachment) out["tls_fault"] = state->fault;
    out["timeout"] = timeouts(vendor.timeout);
    out["routes"] = texts(vendor.routes, [&](const Route& one) { return route(one, config, slots, now); });
    if (vendor.live) out["live"] = describe_live(vendor, now);
    return out;
}

json::object audit_trail(const AuditStanding& audit) {
    json::object out{{"file", audit.file},
                     {"failing", audit.failing},
                     {"written", audit.counts.written},
                     {"waiting", audit.waiting},
                     {"lost", audit.counts.lost}};
    if (!audit.fault.empty()) out["fault"] = audit.fault;
    if (!audit.altered.empty()) out["altered"] = audit.altered;
    return out;
}

}  // namespace

std::string describe_vendors(const Config& config, const CredentialSlots& slots, const ClientContexts& contexts,
                             const AuditStanding& audit, TimePoint now) {
    json::array all;
    for (const Vendor& entry : config.vendors) all.push_back(vendor(entry, config, slots, contexts, now));
    return json::serialize(json::object{{"vendors", std::move(all)}, {"audit", audit_trail(audit)}}) + '\n';
}

}  // namespace sluice
