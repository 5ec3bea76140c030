#include "proxy/app/told_credential.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

bool flag_of(const json::object& object, std::string_view key, bool otherwise) {
    const json::value* value = object.if_contains(key);
    return value && value->is_bool() ? value->get_bool() : otherwise;
}

void take(const json::object& owner, WallTime now, std::vector<ToldCredential>& all) {
    const json::value* known = owner.if_contains("credential");
    if (!known || !known->is_object()) return;
    const json::object& object = known->get_object();
    ToldCredential told;
    told.name = text_of(object, "name");
    const auto same = [&told](const ToldCredential& other) { return other.name == told.name; };
    if (std::any_of(all.begin(), all.end(), same)) return;
    told.fault = text_of(object, "fault");
    told.available = flag_of(object, "available", true);
    told.idle = flag_of(object, "idle", false);
    if (const json::value* expires = object.if_contains("expires"); expires && expires->is_int64()) {
        const std::chrono::seconds end(std::clamp<std::int64_t>(expires->get_int64(), 0, std::int64_t{1} << 33));
        const auto left = std::chrono::round<std::chrono::seconds>(WallTime(end) - now);
        told.ends_in = std::max<Duration>(left, Duration::zero());
    }
    all.push_back(std::move(told));
}

}  // namespace

std::vector<ToldCredential> credentials_told(const json::object& vendor, WallTime now) {
    std::vector<ToldCredential> all;
    take(vendor, now, all);
    const json::value* routes = vendor.if_contains("routes");
    if (!routes || !routes->is_array()) return all;
    for (const json::value& route : routes->get_array())
        if (route.is_object()) take(route.get_object(), now, all);
    return all;
}

std::string summed_up(const ToldCredential& told) {
    if (told.idle) return told.name + " (not fetched yet)";
    if (told.available && told.ends_in) return told.name + " (ends in " + format_duration(*told.ends_in) + ")";
    return told.name;
}

}  // namespace sluice
