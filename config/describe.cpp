#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "config/decode.hpp"
#include "config/describe.hpp"
#include "config/json_text.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

std::string_view word_of(Unmatched unmatched) {
    switch (unmatched) {
    case Unmatched::deny: return "deny";
    case Unmatched::report: return "report";
    case Unmatched::tunnel: return "tunnel";
    }
    return {};
}

std::string_view word_of(Mode mode) {
    switch (mode) {
    case Mode::intercept: return "intercept";
    case Mode::tunnel: return "tunnel";
    }
    return {};
}

std::string_view word_of(TlsRules::Version version) {
    switch (version) {
    case TlsRules::Version::tls12: return "1.2";
    case TlsRules::Version::tls13: return "1.3";
    }
    return {};
}

json::object describe_file(const std::string& path) {
    return {{"file", path}};
}

json::value describe(const SecretSource& source) {
    switch (source.kind) {
    case SecretSource::Kind::none: return nullptr;
    case SecretSource::Kind::file: return json::object{{"file", source.name}};
    case SecretSource::Kind::environment: return json::object{{"env", source.name}};
    case SecretSource::Kind::vault: {
        json::object out{{"vault", source.name + "#" + source.field}};
        if (!source.login.empty()) out["login"] = source.login;
        return out;
    }
    }
    return nullptr;
}

void describe_kind(json::object& out, const BearerSpec& spec) {
    out["value"] = describe(spec.value);
}
void describe_kind(json::object& out, const ApiKeySpec& spec) {
    out["value"] = describe(spec.value);
    if (!spec.query.empty()) out["query"] = spec.query;
}
void describe_kind(json::object& out, const BasicSpec& spec) {
    if (spec.username_source.written())
        out["username"] = describe(spec.username_source);
    else
        out["username"] = spec.username;
    out["password"] = describe(spec.password);
}
template <class LaterSpec>
void describe_kind(json::object&, const LaterSpec&) {}

json::object describe(const CredentialSpec& spec) {
    json::object out{{"type", spec.type()}};
    std::visit([&](const auto& kind) { describe_kind(out, kind); }, spec.kind);
    if (!std::holds_alternative<BasicSpec>(spec.kind)) {
        if (!spec.place.header.empty()) out["header"] = spec.place.header;
        out["prefix"] = spec.place.prefix;
    }
    out["eager"] = spec.rules.eager;
    return out;
}

/// A `total` that is only inherited bounds neither tunnels nor streams: it is told once, with the defaults.
json::object describe(const Timeouts& timeouts, bool with_total) {
    json::object out{{"connect", format_duration(timeouts.connect)},
                     {"tls", format_duration(timeouts.tls)},
                     {"first_byte", format_duration(timeouts.first_byte)},
                     {"idle", format_duration(timeouts.idle)}};
    if (with_total) out["total"] = format_duration(timeouts.total);
    return out;
}

std::string base64(const std::string& bytes) {
    static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const auto at = [&](std::size_t k) { return k < bytes.size() ? static_cast<unsigned char>(bytes[k]) : 0u; };
        const unsigned group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? alphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

json::object describe(const TlsRules& tls) {
    json::object out{{"min", word_of(tls.min)}};
    if (!tls.ca_file.empty()) out["ca"] = describe_file(tls.ca_file);
    json::array pins;
    for (const auto& pin : tls.pins) pins.push_back(json::value("sha256/" + base64(pin)));
    if (!pins.empty()) out["pin"] = std::move(pins);
    if (!tls.client_cert_file.empty())
        out["client"] =
            json::object{{"cert", describe_file(tls.client_cert_file)}, {"key", describe_file(tls.client_key_file)}};
    return out;
}

/// One text for each, in a list; nothing where there is none.
template <class List, class Text>
void describe_list(json::object& out, std::string_view name, const List& list, Text text) {
    json::array items;
    for (const auto& item : list) items.push_back(json::value(text(item)));
    if (!items.empty()) out[name] = std::move(items);
}

void describe_catalogue(json::object& out, const Catalogue& catalogue) {
    const std::pair<std::string_view, const std::string*> texts[] = {{"owner", &catalogue.owner},
                                                                     {"about", &catalogue.about},
                                                                     {"criticality", &catalogue.criticality},
                                                                     {"runbook", &catalogue.runbook}};
    for (const auto& [name, text] : texts)
        if (!text->empty()) out[name] = *text;
    describe_list(out, "data", catalogue.data, [](const auto& word) { return word; });
    if (catalogue.sla.empty()) return;
    json::object sla, latencies;
    for (const auto& [name, text] : catalogue.sla) {
        constexpr std::string_view latency = "latency.";
        if (name.starts_with(latency))
            latencies[name.substr(latency.size())] = text;
        else
            sla[name] = text;
    }
    if (!latencies.empty()) sla["latency"] = std::move(latencies);
    out["sla"] = std::move(sla);
}

void describe_limits(json::object& out, const std::vector<LimitSpec>& limits) {
    json::array list;
    for (const LimitSpec& limit : limits) list.push_back(describe(limit));
    if (!list.empty()) out["limit"] = std::move(list);
}

/// Without hedging a route says so, as it would inherit its vendor's otherwise.
json::object describe_hedge(const RetrySpec& retry) {
    return retry.hedge ? describe(*retry.hedge) : json::object{{"max", 0}};
}

json::object describe(const Route& route) {
    json::object out{{"name", route.name},
                     {"match", route.match.text},
                     {"timeout", describe(route.timeout, route.timeout.total_written)},
                     {"retry", describe(route.retry)},
                     {"hedge", describe_hedge(route.retry)},
                     {"idempotency", describe(route.idempotency)}};
    describe_limits(out, route.limits);
    return out;
}

/// A tunnel has only what concerns its connection.
void describe_resilience(json::object& out, const Vendor& vendor, const Config& config) {
    if (vendor.mode == Mode::intercept) {
        out["retry"] = describe(vendor.retry);
        out["hedge"] = describe_hedge(vendor.retry);
        out["idempotency"] = describe(vendor.idempotency);
    }
    out["breaker"] = describe(vendor.breaker);
    describe_limits(out, vendor.limits);
    if (vendor.fallback) out["fallback"] = describe(*vendor.fallback, config);
    if (!vendor.chaos.inject.empty()) out["chaos"] = describe(vendor.chaos);
}

json::object describe(const Vendor& vendor, const Config& config) {
    const auto text_of = [](const auto& item) { return item.text(); };
    const auto written = [](const RequestPattern& pattern) { return pattern.text; };
    json::object out;
    describe_catalogue(out, vendor.catalogue);
    describe_list(out, "hosts", vendor.hosts, text_of);
    out["mode"] = word_of(vendor.mode);
    describe_list(out, "allow", vendor.access.allow, written);
    describe_list(out, "deny", vendor.access.deny, written);
    describe_list(out, "addresses", vendor.addresses, text_of);
    if (vendor.credential) out["credential"] = config.credentials[*vendor.credential].name;
    json::array endpoints;
    for (const Url& url : vendor.endpoints)
        endpoints.push_back(json::object{
            {"url", std::string(name_of(url.scheme)) + "://" + url.authority.text(url.scheme) + url.prefix}});
    if (!endpoints.empty()) out["endpoints"] = std::move(endpoints);
    if (vendor.mode == Mode::intercept) out["tls"] = describe(vendor.tls);
    out["timeout"] = describe(vendor.timeout, vendor.timeout.total_written);
    describe_resilience(out, vendor, config);
    json::array routes;
    for (const Route& route : vendor.routes) routes.push_back(describe(route));
    if (!routes.empty()) out["routes"] = std::move(routes);
    return out;
}

json::object describe(const Listen& listen) {
    json::object out{{"proxy", listen.proxy.text()}};
    if (!listen.unix_path.empty()) out["unix"] = listen.unix_path;
    out["admin"] = listen.admin.text();
    if (listen.metrics) out["metrics"] = listen.metrics->text();
    out["exposed"] = listen.exposed;
    return out;
}

json::object describe(const AuthoritySpec& authority, const std::string& state) {
    json::object out;
    switch (authority.kind) {
    case AuthoritySpec::Kind::persistent: out["ca"] = "persistent"; break;
    case AuthoritySpec::Kind::ephemeral: out["ca"] = "ephemeral"; break;
    case AuthoritySpec::Kind::given:
        out["ca"] =
            json::object{{"cert", describe_file(authority.cert_file)}, {"key", describe_file(authority.key_file)}};
        break;
    }
    if (!authority.publish.empty())
        out["publish"] = authority.publish;
    else if (!state.empty())
        out["publish"] = state + "/public";
    out["name_constraints"] = authority.name_constraints;
    return out;
}

}  // namespace

std::string describe_config(const Config& config) {
    json::object credentials, vendors;
    for (const CredentialSpec& spec : config.credentials) credentials[spec.name] = describe(spec);
    for (const Vendor& vendor : config.vendors) vendors[vendor.name] = describe(vendor, config);

    json::object out{{"version", 1}, {"listen", describe(config.listen)}};
    if (config.workers == 0)
        out["workers"] = "auto";
    else
        out["workers"] = config.workers;
    out["unmatched"] = word_of(config.unmatched);
    if (!config.state.empty()) out["state"] = config.state;
    out["authority"] = describe(config.authority, config.state);
    describe_list(out, "no_proxy", config.no_proxy, [](const auto& entry) { return entry; });
    out["defaults"] = json::object{{"timeout", describe(config.defaults.timeout, true)},
                                   {"retry", describe(config.defaults.retry)},
                                   {"breaker", describe(config.defaults.breaker)},
                                   {"limit", describe(config.defaults.limit)}};
    out["credentials"] = std::move(credentials);
    out["vendors"] = std::move(vendors);
    return pretty(out);
}

}  // namespace sluice
