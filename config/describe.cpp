#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "config/decode.hpp"
#include "config/describe.hpp"
#include "config/json_text.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

std::string_view word_of(Mode mode) {
    switch (mode) {
    case Mode::intercept: return "intercept";
    case Mode::tunnel: return "tunnel";
    }
    return {};
}

std::string_view word_of(Scrub scrub) {
    switch (scrub) {
    case Scrub::off: return "off";
    case Scrub::head: return "head";
    case Scrub::identity: return "identity";
    case Scrub::deep: return "deep";
    }
    return {};
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

json::object describe(const Route& route, const Config& config) {
    json::object out{{"name", route.name}, {"match", route.match.text}};
    if (route.credential) out["credential"] = config.credentials[*route.credential].name;
    out["timeout"] = describe(route.timeout, route.timeout.total_written);
    out["retry"] = describe(route.retry);
    out["hedge"] = describe_hedge(route.retry);
    out["idempotency"] = describe(route.idempotency);
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

/// A credential of type mtls says it in the place of `tls.client`.
TlsRules tls_as_written(const Vendor& vendor, const Config& config) {
    TlsRules tls = vendor.tls;
    if (vendor.credential && std::holds_alternative<MtlsSpec>(config.credentials[*vendor.credential].kind))
        tls.client_cert_file.clear();
    return tls;
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
    for (const Url& url : vendor.endpoints) endpoints.push_back(json::object{{"url", text_of_url(url)}});
    if (!endpoints.empty()) out["endpoints"] = std::move(endpoints);
    if (vendor.mode == Mode::intercept) {
        out["scrub"] = word_of(vendor.scrub);
        json::object tls = describe(tls_as_written(vendor, config));
        if (vendor.certificate && vendor.certificate != vendor.credential)
            tls["client"] = describe_pair(std::get<MtlsSpec>(config.spec_at(*vendor.certificate).kind));
        out["tls"] = std::move(tls);
    }
    out["timeout"] = describe(vendor.timeout, vendor.timeout.total_written);
    describe_resilience(out, vendor, config);
    json::array routes;
    for (const Route& route : vendor.routes) routes.push_back(describe(route, config));
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

json::object describe(const ClientSpec& client, const Config& config) {
    json::object out;
    if (client.uid) out["uid"] = *client.uid;
    if (client.password) out["password"] = describe(std::get<BasicSpec>(config.spec_at(*client.password).kind).password);
    if (client.all_vendors)
        out["vendors"] = "all";
    else
        describe_list(out, "vendors", client.vendors, [&](std::size_t index) { return config.vendors[index].name; });
    return out;
}

}  // namespace

std::string_view word_of(Unmatched unmatched) {
    switch (unmatched) {
    case Unmatched::deny: return "deny";
    case Unmatched::report: return "report";
    case Unmatched::tunnel: return "tunnel";
    }
    return {};
}

std::string describe_config(const Config& config) {
    json::object credentials, vendors;
    for (const CredentialSpec& spec : config.credentials) credentials[spec.name] = describe(spec, config);
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
    json::object clients;
    for (const ClientSpec& client : config.clients) clients[client.name] = describe(client, config);
    if (!clients.empty()) out["clients"] = std::move(clients);
    return pretty(out);
}

}  // namespace sluice
