// What admin answers, whoever makes the answer.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string>
#include <string_view>

namespace sluice {

struct AdminAnswer {
    unsigned status = 200;
    std::string body;  // JSON unless `type` says otherwise
    std::string type = "application/json";
};

/// application/problem+json (RFC 9457).
inline AdminAnswer admin_problem(unsigned status, std::string_view title, std::string_view detail,
                                 std::string_view reason = {}) {
    boost::json::object out{{"status", status}, {"title", title}, {"detail", detail}};
    if (!reason.empty()) out["reason"] = reason;
    return {status, boost::json::serialize(out) + '\n', "application/problem+json"};
}

}  // namespace sluice
