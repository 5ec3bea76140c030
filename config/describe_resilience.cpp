#include <boost/json/parse.hpp>

#include "config/describe.hpp"
#include "config/forms.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

std::string text_of(Duration least, Duration most) {
    return format_duration(least) + ".." + format_duration(most);
}

json::array describe(const RetryOn& on) {
    json::array list;
    const std::pair<bool, std::string_view> words[] = {{on.connect, "connect"},
                                                       {on.tls, "tls"},
                                                       {on.reset, "reset"},
                                                       {on.timeout, "timeout"},
                                                       {on.server_errors, "5xx"}};
    for (const auto& [set, word] : words)
        if (set) list.push_back(json::value(word));
    for (const auto status : on.statuses) list.push_back(json::value(status));
    return list;
}

void describe_rate(json::object& out, const RateSpec& spec) {
    out["rate"] = text_of(spec.rate);
    out["burst"] = spec.burst;
}

json::value describe(const SeatSpec& seats) {
    if (!seats.adaptive()) return seats.most;
    return json::object{{"min", seats.least}, {"max", seats.most}};
}

void put(json::object& out, std::string_view name, json::object value) {
    if (!value.empty()) out[name] = std::move(value);
}

json::object describe(const HeaderEdits& edits) {
    json::object out, rename, set;
    json::array drop;
    for (const auto& [from, to] : edits.rename) rename[from] = to;
    for (const auto& [name, value] : edits.set) set[name] = value;
    for (const auto& name : edits.drop) drop.push_back(json::value(name));
    put(out, "rename", std::move(rename));
    put(out, "set", std::move(set));
    if (!drop.empty()) out["drop"] = std::move(drop);
    return out;
}

json::object describe(const JsonEdits& edits) {
    json::object out, rename, set;
    json::array drop;
    for (const auto& [from, to] : edits.rename) rename[to_text(from)] = to_text(to);
    for (const auto& [path, text] : edits.set) set[to_text(path)] = json::parse(text);
    for (const auto& path : edits.drop) drop.push_back(json::value(to_text(path)));
    put(out, "rename", std::move(rename));
    put(out, "set", std::move(set));
    if (!drop.empty()) out["drop"] = std::move(drop);
    if (!edits.wrap.empty()) out["wrap"] = edits.wrap;
    return out;
}

json::object describe(const HeaderEdits& headers, const JsonEdits& body) {
    json::object out;
    put(out, "headers", describe(headers));
    put(out, "body", describe(body));
    return out;
}

json::object describe(const RewriteSpec& rewrite) {
    json::object out, path;
    for (const auto& edit : rewrite.path) path[edit.from] = edit.to;
    put(out, "path", std::move(path));
    put(out, "request", describe(rewrite.request_headers, rewrite.request_body));
    put(out, "response", describe(rewrite.response_headers, rewrite.response_body));
    return out;
}

json::object describe(const ChaosFault& fault) {
    json::object out{{"fault", fault.text}, {"rate", format_percent(fault.rate)}};
    if (fault.first > 0) out["first"] = fault.first;
    if (!fault.route.empty()) out["route"] = fault.route;
    if (!fault.header.empty()) out["header"] = fault.header + (fault.value.empty() ? "" : ": " + fault.value);
    return out;
}

}  // namespace

std::string text_of(const Rate& rate) {
    const std::string unit = rate.per == 1s ? "s" : rate.per == 1min ? "m" : rate.per == 1h ? "h" : "d";
    if (rate.count % 1'000'000 == 0) return std::to_string(rate.count / 1'000'000) + "M/" + unit;
    if (rate.count % 1'000 == 0) return std::to_string(rate.count / 1'000) + "k/" + unit;
    return std::to_string(rate.count) + "/" + unit;
}

std::string text_of(const HedgeSpec& hedge) {
    if (hedge.quantile == 0) return format_duration(hedge.after);
    std::string percent = format_percent(hedge.quantile);
    percent.pop_back();
    return "p" + percent;
}

json::object describe(const RetrySpec& retry) {
    return {{"max", retry.max},
            {"on", describe(retry.on)},
            {"backoff", text_of(retry.backoff_min, retry.backoff_max)},
            {"budget", format_percent(retry.budget)},
            {"buffer", format_size(retry.buffer)}};
}

json::object describe(const HedgeSpec& hedge) {
    return {{"after", text_of(hedge)}, {"max", hedge.max}};
}

json::object describe(const IdempotencySpec& idempotency) {
    json::array generate;
    for (const auto& method : idempotency.generate) generate.push_back(json::value(method));
    return {{"header", idempotency.header}, {"generate", std::move(generate)}};
}

json::object describe(const BreakerSpec& breaker) {
    return {{"enabled", breaker.enabled},
            {"failure_rate", format_percent(breaker.failure_rate)},
            {"consecutive", breaker.consecutive},
            {"slow_rate", format_percent(breaker.slow_rate)},
            {"slow_after", format_duration(breaker.slow_after)},
            {"window", format_duration(breaker.window)},
            {"min_requests", breaker.min_requests},
            {"open_for", text_of(breaker.open_min, breaker.open_max)},
            {"probes", breaker.probes}};
}

json::object describe(const LimitSpec& limit) {
    json::object out;
    if (!limit.name.empty()) out["name"] = limit.name;
    if (limit.rate) describe_rate(out, *limit.rate);
    if (limit.seats) out["concurrency"] = describe(*limit.seats);
    if (limit.tokens) {
        json::object tokens;
        describe_rate(tokens, limit.tokens->rate);
        tokens["estimate"] = "body";
        tokens["settle"] = "usage";
        out["tokens"] = std::move(tokens);
    }
    if (limit.learn) out["learn"] = true;
    if (!limit.per_header.empty()) out["per"] = "header " + limit.per_header;
    json::object when_full{{"wait", format_duration(limit.wait)}};
    if (!limit.priority_header.empty()) when_full["priority"] = "header " + limit.priority_header;
    out["when_full"] = std::move(when_full);
    return out;
}

json::object describe(const FallbackSpec& fallback, const Config& config) {
    json::object out{{"vendor", config.vendors[fallback.vendor].name}};
    put(out, "rewrite", describe(fallback.rewrite));
    return out;
}

json::object describe(const ChaosSpec& chaos) {
    json::array inject;
    for (const ChaosFault& fault : chaos.inject) inject.push_back(describe(fault));
    return {{"enabled", chaos.enabled},
            {"inject", std::move(inject)},
            {"seed", chaos.seed},
            {"abort_above", format_percent(chaos.abort_above)}};
}

}  // namespace sluice
