#include "proxy/app/breakers.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <vector>

#include "proxy/app/standing.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

/// What somebody sent, said again: bounded, and nothing that a terminal obeys.
std::string shown(std::string_view text) {
    std::string out(text.substr(0, 200));
    std::replace_if(
        out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    return "'" + out + "'";
}

AdminAnswer not_understood(const std::string& what) {
    return admin_problem(400, "the order is not understood",
                         what + R"(; write {"state": "open"}, "closed" or "auto", and "endpoint" for one of several)");
}

/// "%3A", and "+" for a space (the form that browsers and curl -G send); nothing where an escape is none.
std::optional<std::string> unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i] == '+' ? ' ' : text[i];
            continue;
        }
        const int high = i + 1 < text.size() ? hex_value(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0) return {};
        out += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return out;
}

/// Takes one word after the other, from wherever; each once.
class Order {
  public:
    void take(std::string_view key, std::optional<std::string> value) {
        if (!fault_.empty()) return;
        if (key != "state" && key != "endpoint") {
            fault_ = "there is no key " + shown(key);
        } else if (!value || value->empty()) {
            fault_ = "the value of " + shown(key) + " is no text";
        } else if (key == "endpoint") {
            if (!order_.endpoint.empty()) fault_ = "'endpoint' is there twice";
            order_.endpoint = std::move(*value);
        } else if (forced_) {
            fault_ = "'state' is there twice";
        } else if (!(forced_ = forced_named(*value))) {
            fault_ = "there is no state " + shown(*value);
        }
    }
    std::variant<BreakerOrder, AdminAnswer> done() && {
        if (fault_.empty() && !forced_) fault_ = "it names no state";
        if (!fault_.empty()) return not_understood(fault_);
        order_.forced = *forced_;
        return std::move(order_);
    }

  private:
    BreakerOrder order_;
    std::optional<Breaker::Forced> forced_;
    std::string fault_;
};

void take_query(Order& order, std::string_view query) {
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        order.take(pair.substr(0, equals), unescaped(pair.substr(std::min(equals + 1, pair.size()))));
    }
}

const Vendor* vendor_named(const Config& config, std::string_view name) {
    const Vendor* vendor = config.find(name);
    return vendor && vendor->live ? vendor : nullptr;
}

AdminAnswer no_vendor(const Config& config, std::string_view name) {
    std::vector<std::string_view> names;
    for (const Vendor& vendor : config.vendors) names.push_back(vendor.name);
    std::string detail = "the policy in force has no vendor " + shown(name);
    if (const auto meant = nearest(name.substr(0, 64), names))
        detail += " (did you mean '" + std::string(*meant) + "'?)";
    return admin_problem(404, "no such vendor", detail);
}

AdminAnswer answer_of(const Vendor& vendor, TimePoint now) {
    const json::object out{{"vendor", vendor.name}, {"breakers", describe_breakers(*vendor.live, now)}};
    return {200, json::serialize(out) + '\n'};
}

bool is_named(const VendorState::LiveBreaker& breaker, std::string_view endpoint) {
    if (breaker.of == endpoint) return true;
    const std::size_t scheme = endpoint.find("://");
    return scheme != endpoint.npos && breaker.of == endpoint.substr(scheme + 3);
}

}  // namespace

std::variant<BreakerOrder, AdminAnswer> read_breaker_order(std::string_view query, std::string_view content_type,
                                                           std::string_view body) {
    Order order;
    take_query(order, query);
    if (body.empty()) return std::move(order).done();
    if (!query.empty()) return not_understood("it is said in the query and in a body");
    if (to_lower(trimmed(content_type.substr(0, content_type.find(';')))) != "application/json") {
        return admin_problem(415, "the body is not said to be JSON", "send it with Content-Type: application/json");
    }
    boost::system::error_code error;
    const json::value told = json::parse(json::string_view(body.data(), body.size()), error);
    if (error || !told.is_object()) return not_understood("the body is no JSON object");
    for (const auto& [key, value] : told.get_object()) {
        const auto* text = value.if_string();
        order.take(key, text ? std::optional(std::string(*text)) : std::nullopt);
    }
    return std::move(order).done();
}

AdminAnswer show_breakers(const Config& config, std::string_view name, TimePoint now) {
    const Vendor* vendor = vendor_named(config, name);
    return vendor ? answer_of(*vendor, now) : no_vendor(config, name);
}

AdminAnswer force_breakers(const Config& config, std::string_view name, const BreakerOrder& order, TimePoint now,
                           const std::function<void(const Vendor&, const ForcedBreaker&)>& tell) {
    const Vendor* vendor = vendor_named(config, name);
    if (!vendor) return no_vendor(config, name);
    bool found = false;
    std::string known;
    for (const VendorState::LiveBreaker& breaker : vendor->live->breakers) {
        known += (known.empty() ? "" : " ") + breaker.of;
        if (!order.endpoint.empty() && !is_named(breaker, order.endpoint)) continue;
        found = true;
        const Breaker::Forced before = breaker.breaker->forced();
        tell(*vendor, {breaker.of, before, order.forced, breaker.breaker->force(order.forced)});
    }
    if (found) return answer_of(*vendor, now);
    return admin_problem(
        404, "no such endpoint",
        "vendor '" + vendor->name + "' has no endpoint " + shown(order.endpoint) + "; there is: " + known);
}

}  // namespace sluice
