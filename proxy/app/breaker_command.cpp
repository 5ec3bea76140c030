#include "proxy/app/breaker_command.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <vector>

#include "proxy/app/admin_client.hpp"
#include "proxy/app/table.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr Duration patience = 5s;

/// As the policy allows them: what is none of these has no place in a path either.
bool is_vendor_name(std::string_view name) {
    return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
    });
}

std::optional<json::object> object_in(const std::string& body) {
    boost::system::error_code error;
    json::value told = json::parse(body, error);
    if (error || !told.is_object()) return {};
    return std::move(told.get_object());
}

/// Why it was not done.
std::string refusal_in(const HttpReply& reply) {
    if (!reply.fault.empty()) return reply.fault;
    const auto told = object_in(reply.body);
    const json::value* detail = told ? told->if_contains("detail") : nullptr;
    if (detail && detail->is_string()) return printable(std::string(detail->get_string()));
    return "it says " + std::to_string(reply.status);
}

std::vector<TableRow> rows_of(const json::object& told) {
    std::vector<TableRow> rows;
    for (const json::value& entry : told.at("breakers").as_array()) {
        const json::object& breaker = entry.as_object();
        const auto text = [&breaker](const char* key) { return std::string(breaker.at(key).as_string()); };
        const auto number = [&breaker](const char* key) { return breaker.at(key).to_number<std::int64_t>(); };
        const auto again = std::chrono::milliseconds(number("retry_after_ms"));
        rows.push_back({{text("endpoint"), text("state"), text("forced"), std::to_string(number("seen")),
                         std::to_string(number("failed")), std::to_string(number("slow")),
                         again.count() > 0 && text("forced") == "auto" ? format_duration(again) : "-"}});
    }
    return rows;
}

HttpReply ask(const ListenAddress& admin, const BreakerQuestion& question) {
    const std::string path = "/vendors/" + question.vendor + "/breaker";
    if (question.state.empty()) return http_get(admin, path, patience);
    json::object order{{"state", question.state}};
    if (!question.endpoint.empty()) order["endpoint"] = question.endpoint;
    return http_post(admin, path, json::serialize(order), patience);
}

int refuse(Streams& streams, const std::string& why, Exit exit) {
    streams.err << streams.err.paint(Colour::red, "not done") << ": " << why << "\n";
    return code_of(exit);
}

}  // namespace

int ask_breakers(const std::string& config, const std::string& admin_text, const BreakerQuestion& question,
                 Output output, Streams& streams) {
    if (!is_vendor_name(question.vendor))
        return refuse(streams, quoted(question.vendor) + " cannot be a vendor's name", Exit::usage);
    if (question.state.empty() && !question.endpoint.empty())
        return refuse(streams, "--endpoint says which breaker is forced: give a state too", Exit::usage);
    Exit exit = Exit::fine;
    const auto admin = find_admin(config, admin_text, streams, exit);
    if (!admin) return code_of(exit);
    const HttpReply reply = ask(*admin, question);
    if (!reply.fault.empty()) return refuse(streams, unanswered(*admin, reply.fault), Exit::failure);
    if (reply.status != 200) return refuse(streams, admin->text() + ": " + refusal_in(reply), Exit::failure);
    try {
        const auto told = object_in(reply.body);
        std::vector<TableRow> rows = rows_of(told.value());
        if (output == Output::json) {
            streams.out << json::serialize(*told) << "\n";
        } else {
            print_table(streams.out, {"ENDPOINT", "STATE", "FORCED", "SEEN", "FAILED", "SLOW", "AGAIN IN"},
                        std::move(rows));
        }
    } catch (const std::exception&) {
        return refuse(streams, admin->text() + ": what answers is not Sluice's admin", Exit::failure);
    }
    return code_of(Exit::fine);
}

}  // namespace sluice
