#include "proxy/app/status.hpp"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <vector>

#include "proxy/app/admin_client.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr Duration patience = 5s;

struct Row {
    std::array<std::string, 4> cells;  // name, mode, where to, credential
    std::string trouble;
};

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

Row row_of(const json::object& vendor) {
    Row row{{text_of(vendor, "name"), text_of(vendor, "mode"), listed(vendor, "endpoints"), "-"},
            text_of(vendor, "tls_fault")};
    if (row.cells[2].empty()) row.cells[2] = listed(vendor, "hosts");
    const json::value* credential = vendor.if_contains("credential");
    if (!credential || !credential->is_object()) return row;
    row.cells[3] = text_of(credential->get_object(), "name");
    const json::value* available = credential->get_object().if_contains("available");
    if (!available || !available->is_bool() || available->get_bool()) return row;
    row.trouble = text_of(credential->get_object(), "fault");
    if (row.trouble.empty()) row.trouble = "its credential is not available";
    return row;
}

/// What comes from another process may hold anything; a terminal shall not be told by it.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    return text;
}

void print_as_json(Console& console, const ListenAddress& admin, const std::string& fault, const HttpReply& vendors) {
    json::object out{{"admin", admin.text()}, {"ready", fault.empty()}};
    if (!fault.empty()) out["fault"] = fault;
    boost::system::error_code error;
    const json::value told = json::parse(vendors.body, error);
    if (!error && told.is_object() && told.get_object().contains("vendors")) out["vendors"] = told.at("vendors");
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

bool all_at_hand(const std::vector<Row>& rows) {
    return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.trouble.empty(); });
}

void print_table(Console& console, std::vector<Row> rows) {
    rows.insert(rows.begin(), Row{{"VENDOR", "MODE", "WHERE TO", "CREDENTIAL"}, {}});
    std::array<std::size_t, 4> widths{};
    for (Row& row : rows) {
        for (std::size_t i = 0; i < widths.size(); ++i) {
            row.cells[i] = printable(std::move(row.cells[i]));
            widths[i] = std::max(widths[i], row.cells[i].size());
        }
    }
    for (const Row& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i) {
            line += row.cells[i];
            if (i + 1 < widths.size()) line.append(widths[i] - row.cells[i].size() + 2, ' ');
        }
        console << (&row == &rows.front() ? console.paint(Colour::dim, line) : line) << "\n";
        if (!row.trouble.empty()) console << "  " << console.paint(Colour::red, printable(row.trouble)) << "\n";
    }
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
            streams.err << streams.err.paint(Colour::red, "not ready") << ": " << admin->text() << ": " << fault
                        << "\n";
        }
        if (rows) print_table(streams.out, *rows);
        break;
    }
    return code_of(fine ? Exit::fine : Exit::failure);
}

}  // namespace sluice
