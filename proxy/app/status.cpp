#include "proxy/app/status.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <vector>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/table.hpp"
#include "proxy/app/told_audit.hpp"
#include "proxy/app/told_credential.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr Duration patience = 5s;

std::string text_of(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

/// An endpoint may say more of itself than its URL.
std::string listed(const json::object& vendor, std::string_view key) {
    const json::value* list = vendor.if_contains(key);
    std::string out;
    if (!list || !list->is_array()) return out;
    for (const json::value& entry : list->get_array()) {
        const std::string text = entry.is_string()   ? std::string(entry.get_string())
                                 : entry.is_object() ? text_of(entry.get_object(), "url")
                                                     : std::string();
        if (!text.empty()) out += (out.empty() ? "" : " ") + text;
    }
    return out;
}

/// What keeps requests from their vendor.
std::vector<std::string> troubles_of(const json::object& vendor, const std::vector<ToldCredential>& credentials) {
    std::vector<std::string> all;
    if (std::string tls = text_of(vendor, "tls_fault"); !tls.empty()) all.push_back(std::move(tls));
    for (const ToldCredential& told : credentials) {
        if (told.available || told.idle) continue;
        all.push_back(told.fault.empty() ? "credential '" + told.name + "' is not available" : told.fault);
    }
    return all;
}

std::string in_words(std::int64_t milliseconds) {
    return format_duration(std::chrono::milliseconds(milliseconds));
}

/// What is not as on a good day, though all that the policy needs is at hand.
std::vector<std::string> remarks_of(const json::object& vendor) {
    std::vector<std::string> all;
    const json::value* live = vendor.if_contains("live");
    if (!live) return all;
    for (const json::value& breaker : live->at("breakers").as_array()) {
        const std::string state = text_of(breaker.as_object(), "state"),
                          forced = text_of(breaker.as_object(), "forced");
        std::string remark = "breaker of " + text_of(breaker.as_object(), "endpoint") + ": " + state;
        const auto wait = breaker.at("retry_after_ms").to_number<std::int64_t>();
        const json::value* readmits = breaker.as_object().if_contains("readmits");
        if (forced != "auto") {
            remark += ", forced by hand";
        } else if (readmits) {
            remark += ", calls are let back in at " + std::to_string(readmits->at("per_second").to_number<std::int64_t>()) +
                      "/s for " + in_words(readmits->at("for_ms").to_number<std::int64_t>());
        } else if (state == "closed") {
            continue;
        } else if (wait > 0) {
            remark += ", again in " + in_words(wait);
        }
        all.push_back(std::move(remark));
    }
    for (const json::value& limit : live->at("limits").as_array()) {
        const std::string name = "limit '" + text_of(limit.as_object(), "name") + "': ";
        if (const auto waiting = limit.at("waiting").to_number<std::int64_t>(); waiting > 0)
            all.push_back(name + std::to_string(waiting) + " wait for a place");
        const json::value* learnt = limit.as_object().if_contains("learnt");
        const auto holds = learnt ? learnt->at("holds_ms").to_number<std::int64_t>() : 0;
        if (holds > 0) all.push_back(name + "the vendor asked for a slower pace, for " + in_words(holds));
    }
    const json::value* chaos = live->as_object().if_contains("chaos");
    if (chaos && chaos->at("enabled").as_bool())
        all.push_back(chaos->at("stopped").as_bool() ? "chaos: has stopped by itself"
                                                     : "chaos: faults are injected on purpose");
    return all;
}

/// A credential that holds, but whose issuer is out.
std::vector<std::string> remarks_of(const std::vector<ToldCredential>& credentials) {
    std::vector<std::string> all;
    for (const ToldCredential& told : credentials)
        if (told.available && !told.fault.empty()) all.push_back("not renewed: " + told.fault);
    return all;
}

struct Row {
    TableRow shown;
    bool troubled = false;
};

Row row_of(const json::object& vendor) {
    std::string where = listed(vendor, "endpoints"), credential;
    if (where.empty()) where = listed(vendor, "hosts");
    const auto credentials = credentials_told(vendor, std::chrono::system_clock::now());
    for (const ToldCredential& told : credentials) credential += (credential.empty() ? "" : ", ") + summed_up(told);
    if (credential.empty()) credential = "-";
    Row row{{{text_of(vendor, "name"), text_of(vendor, "mode"), std::move(where), std::move(credential)}}};
    for (std::string& trouble : troubles_of(vendor, credentials)) {
        row.troubled = true;
        row.shown.remarks.emplace_back(Colour::red, std::move(trouble));
    }
    for (std::string& remark : remarks_of(credentials)) row.shown.remarks.emplace_back(Colour::yellow, std::move(remark));
    for (std::string& remark : remarks_of(vendor)) row.shown.remarks.emplace_back(Colour::yellow, std::move(remark));
    return row;
}

void print_as_json(Console& console, const ListenAddress& admin, const std::string& fault, const HttpReply& vendors) {
    json::object out{{"admin", admin.text()}, {"ready", fault.empty()}};
    if (!fault.empty()) out["fault"] = fault;
    boost::system::error_code error;
    const json::value told = json::parse(vendors.body, error);
    if (!error && told.is_object() && told.get_object().contains("vendors")) {
        out["vendors"] = told.at("vendors");
        if (const json::value* audit = told.get_object().if_contains("audit")) out["audit"] = *audit;
    }
    console << json::serialize(out) << "\n";
}

/// Of the answer of /vendors; nothing where it is not that.
std::optional<std::vector<Row>> rows_of(std::string_view body) {
    try {
        std::vector<Row> rows;
        const json::value told = json::parse(json::string_view(body.data(), body.size()));
        for (const json::value& vendor : told.as_object().at("vendors").as_array())
            rows.push_back(row_of(vendor.as_object()));
        return rows;
    } catch (const std::exception&) {
        return {};
    }
}

void print_audit(Console& console, std::string_view body) {
    boost::system::error_code error;
    const json::value told = json::parse(json::string_view(body.data(), body.size()), error);
    const auto audit = error ? std::nullopt : audit_told(told);
    if (!audit) return;
    const Colour colour = !audit->altered.empty() ? Colour::red : audit->failing ? Colour::yellow : Colour::green;
    console << console.paint(colour, "audit") << "  " << summed_up(*audit) << "\n";
}

bool all_at_hand(const std::vector<Row>& rows) {
    return std::none_of(rows.begin(), rows.end(), [](const Row& row) { return row.troubled; });
}

void print_rows(Console& console, const std::vector<Row>& rows) {
    std::vector<TableRow> shown;
    for (const Row& row : rows) shown.push_back(row.shown);
    print_table(console, {"VENDOR", "MODE", "WHERE TO", "CREDENTIAL"}, std::move(shown));
}

}  // namespace

int print_status(const std::string& config, const std::string& admin_text, Output output, Streams& streams) {
    Exit exit = Exit::fine;
    const auto admin = find_admin(config, admin_text, streams, exit);
    if (!admin) return code_of(exit);
    std::string fault = ask_ready(*admin, patience);
    const HttpReply vendors = http_get(*admin, "/vendors", patience);
    const auto rows = vendors.status == 200 ? rows_of(vendors.body) : std::nullopt;
    if (fault.empty() && !rows) fault = vendors.fault.empty() ? "what answers is not Sluice's admin" : vendors.fault;
    const bool fine = fault.empty() && all_at_hand(*rows);
    switch (output) {
    case Output::json: print_as_json(streams.out, *admin, fault, vendors); break;
    case Output::text:
        if (fault.empty()) {
            streams.out << streams.out.paint(Colour::green, "ready") << "  " << admin->text() << "\n";
        } else {
            streams.err << streams.err.paint(Colour::red, "not ready") << ": " << unanswered(*admin, fault) << "\n";
        }
        if (!rows) break;
        print_rows(streams.out, *rows);
        print_audit(streams.out, vendors.body);
        break;
    }
    return code_of(fine ? Exit::fine : Exit::failure);
}

}  // namespace sluice
