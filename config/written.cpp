#include "config/written.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "config/client_rule.hpp"
#include "config/credential_types.hpp"
#include "config/forms.hpp"
#include "config/reach.hpp"
#include "config/resilience.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"

namespace sluice {
namespace {

// ---- forms of text

std::optional<std::string> parse_any_duration(const std::string& text, std::string& why) {
    if (parse_duration(text)) return text;
    why = "write it as 800ms, 15m or 30d";
    return {};
}

std::optional<std::string> parse_ratio(const std::string& text, std::string& why) {
    if (parse_percent(text)) return text;
    why = core_type(text) == CoreType::text ? "write it as 99.95%" : "it has no unit (did you mean '" + text + "%'?)";
    return {};
}

std::optional<std::string> parse_own_path(const std::string& text, std::string& why) {
    if (text.empty())
        why = "it is empty";
    else if (text.starts_with('~'))
        why = "only a shell knows what '~' is: write ${HOME} instead";
    else if (text.size() > 4095 || text.find('\0') != text.npos)
        why = "it is too long, or holds a NUL";
    else
        return text;
    return {};
}

std::optional<ListenAddress> parse_listen_address(const std::string& text, std::string& why) {
    const auto colon = text.rfind(':');
    const std::string_view digits =
        colon == text.npos ? std::string_view{text} : std::string_view{text}.substr(colon + 1);
    const auto port = digits.size() <= 5 ? parse_decimal(digits) : std::nullopt;
    if (colon == text.npos || colon == 0) {
        why = port ? "it has no address (did you mean '127.0.0.1:" + std::string(digits) + "'?)" : "it has no port";
        return {};
    }
    if (!port || *port > 65535) {
        why = "its port is not a number from 0 to 65535";
        return {};
    }
    std::string_view host = std::string_view{text}.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = parse_address(host);
    if (address && address->v6 == bracketed) return ListenAddress{*address, static_cast<std::uint16_t>(*port)};
    if (address && address->v6)
        why = "an IPv6 address goes in brackets (did you mean '[" + std::string(host) + "]:" + std::string(digits) +
              "'?)";
    else if (same_text(host, "localhost"))
        why = "a listener takes an address, not a name (did you mean '127.0.0.1:" + std::string(digits) + "'?)";
    else
        why = "what stands before its port is not an IP address";
    return {};
}

std::optional<std::string> parse_no_proxy(const std::string& text, std::string& why) {
    if (!text.empty() && text.size() <= 256 && all_printable(text) && text.find_first_of(" ,;\"'$`\\") == text.npos)
        return text;
    why = "one host, .suffix, address or range an entry";
    return {};
}

std::optional<HostPattern> parse_host(const std::string& text, std::string& why) {
    if (auto pattern = parse_host_pattern(text)) return pattern;
    if (const auto scheme = text.find("://"); scheme != text.npos) {
        std::string_view host = std::string_view{text}.substr(scheme + 3);
        host = host.substr(0, host.find('/'));
        why = "a host is not a URL" +
              (parse_host_pattern(host) ? " (did you mean '" + std::string(host) + "'?)" : std::string());
    } else if (text.find('/') != text.npos) {
        why = "a host has no path: say with `allow` and `deny` which paths are meant";
    } else if (text.find('*') != text.npos) {
        why = "a '*' can only stand for leading labels, as in *.pay.example";
    } else {
        why = "write a name or an address, with a port where it is not 443 or 80";
    }
    return {};
}

std::optional<RequestPattern> parse_request(const std::string& text, std::string& why) {
    auto pattern = parse_request_pattern(text, why);
    if (!pattern) why = about_it(text, why);
    return pattern;
}

std::string judge_percentile(std::string_view name) {
    std::string why;
    const bool fits = name.starts_with('p') && parse_ratio(std::string(name.substr(1)) + "%", why);
    return fits ? "" : "write p50, p99 or p99.9";
}

constexpr NameForm vendor_names{"a vendor's name", "^[a-z0-9][a-z0-9_-]{0,62}$", judge_name};
constexpr NameForm percentiles{"a percentile", "^p[0-9]{1,2}(\\.[0-9]+)?$", judge_percentile};

constexpr ScalarRule<std::string> text_rule{"text", "", "", parse_text};
constexpr ScalarRule<std::string> duration_text{"a duration", "800ms", duration_pattern, parse_any_duration, true};
constexpr ScalarRule<std::string> ratio_text{"a share", "99.95%", "[0-9]{1,3}(\\.[0-9]+)?%", parse_ratio, true};
constexpr ScalarRule<ListenAddress> listen_address{"an address and a port", "127.0.0.1:15001",
                                                   "([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}", parse_listen_address,
                                                   true};
constexpr ScalarRule<std::string> no_proxy_entry{"an entry for no_proxy", ".internal", "[^ ,;]+", parse_no_proxy};
constexpr ScalarRule<HostPattern> host_rule{"a host", "api.pay.example", "(\\*\\.)?[^/* ]+", parse_host, true};
constexpr ScalarRule<RequestPattern> request_rule{"a request pattern", "GET /v1/**", "\\S+ /.*", parse_request};
/// Where Sluice keeps or offers something itself, made whole and absolute: whoever asks from elsewhere means the same
/// place.
struct OwnPathRule {
    using Value = std::string;
    ScalarRule<std::string> rule;
    std::size_t most;
    std::string_view why;  // said of a longer one

    std::optional<std::string> read(Reader& reader, const Place& at) const {
        const auto written = rule.read(reader, at);
        if (!written) return {};
        std::string path = reader.beside(at, *written);
        if (path.size() <= most) return path;
        reader.fault(at, shown(path) + " is not " + std::string(rule.what), std::string(why));
        return {};
    }
    boost::json::object describe(Schema& schema) const { return rule.describe(schema); }
};
constexpr OwnPathRule directory_path{
    {"the path of a directory", "/var/lib/sluice", "[^~].*", parse_own_path}, 4095, "it is too long"};
constexpr OwnPathRule socket_path{{"the path of a socket", "/run/sluice/proxy.sock", "[^~].*", parse_own_path},
                                  107,  // sun_path of unix(7), without its NUL
                                  "it is longer than 107 bytes, the most that a socket's address holds"};

// ---- vendors

constexpr NamedRule<duration_text, percentiles> latency_rule{"a map of durations by percentile"};
constexpr Key<WrittenSla> sla_keys[] = {
    key<&WrittenSla::availability, ratio_text>("availability", "The promised share of successes: 99.95%."),
    key<&WrittenSla::latency, latency_rule>("latency", "Promised latencies: {p50: 200ms, p99: 800ms}."),
    key<&WrittenSla::window, duration_text>("window", "Over which time it is promised: 30d."),
    key<&WrittenSla::recovery_time, duration_text>("recovery_time", "How soon after an outage it is back: 15m."),
};
constexpr MapRule<WrittenSla> sla_rule{"sla", "What the vendor promises; shown, never judged.", sla_keys};

constexpr Key<WrittenEndpoint> endpoint_keys[] = {
    key<&WrittenEndpoint::url, url_rule>(
        "url", "https://host[:port][/prefix]; http:// is the operator's word that plain text is meant.",
        Presence::required),
};
constexpr std::string_view later_endpoint_keys[] = {"region"};
constexpr MapRule<WrittenEndpoint> endpoint_rule{.name = "endpoint",
                                                 .doc = "Where a vendor is reached.",
                                                 .keys = endpoint_keys,
                                                 .refused = {later_endpoint_keys, not_yet},
                                                 .brief = "url"};
constexpr ListRule<endpoint_rule> endpoints_rule{"a list of endpoints", 1, max_endpoints, "16 are the most"};

constexpr Key<WrittenRoute> route_keys[] = {
    key<&WrittenRoute::name, line_rule>("name", "The metric label; default the text of `match`."),
    key<&WrittenRoute::match, request_rule>("match", "METHOD[|METHOD] /glob: '*' is one segment, '**' any number.",
                                            Presence::required),
    key<&WrittenRoute::credential, line_rule>("credential", "Instead of the vendor's: a narrower one, by name."),
    key<&WrittenRoute::timeout, timeouts_rule>("timeout", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::retry, retry_rule>("retry", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::hedge, hedge_rule>("hedge", "Instead of the vendor's, key by key."),
    key<&WrittenRoute::limit, limits_rule>("limit", "Holds in addition to the vendor's: one map, or a list of them."),
    key<&WrittenRoute::idempotency, idempotency_rule>("idempotency", "Instead of the vendor's, key by key."),
};
constexpr std::string_view later_route_keys[] = {"redact", "audit", "residency", "cache",
                                                 "queue",  "allow", "deny",      "clients"};
constexpr std::string_view vendor_only_keys[] = {"breaker", "fallback", "chaos", "scrub"};
constexpr MapRule<WrittenRoute> route_rule{
    .name = "route",
    .doc = "Requests of a vendor that are treated differently.",
    .keys = route_keys,
    .refused = {later_route_keys, not_yet},
    .elsewhere = {vendor_only_keys, "it belongs to the vendor as a whole, beside `routes`"},
};

constexpr ListRule<line_rule> data_rule{"a list of data classes"};
constexpr ListRule<host_rule> hosts_rule{"a list of hosts", 1};
constexpr ListRule<request_rule> requests_rule{"a list of request patterns"};
constexpr ListRule<route_rule> routes_rule{"a list of routes"};
constexpr WordsRule<Scrub, 4> scrub_words{
    {{"off", Scrub::off}, {"head", Scrub::head}, {"identity", Scrub::identity}, {"deep", Scrub::deep}}};
constexpr WordsRule<Mode, 2> mode_words{{{"intercept", Mode::intercept}, {"tunnel", Mode::tunnel}}};

constexpr Key<WrittenVendor> vendor_keys[] = {
    key<&WrittenVendor::owner, line_rule>("owner", "The team that answers for it."),
    key<&WrittenVendor::about, text_rule>("about", "What it is for."),
    key<&WrittenVendor::data, data_rule>("data", "Classes of data that may flow to it."),
    key<&WrittenVendor::criticality, line_rule>("criticality", "How much it matters."),
    key<&WrittenVendor::sla, sla_rule>("sla", "What the vendor promises; shown, never judged."),
    key<&WrittenVendor::runbook, line_rule>("runbook", "What to do when it is out."),
    key<&WrittenVendor::hosts, hosts_rule>(
        "hosts",
        "Its hosts: exact, or one leading '*.' (any depth, never the apex); with a port where it is not 443 or 80."),
    key<&WrittenVendor::mode, mode_words>(
        "mode", "intercept (default), or tunnel: TLS passes unopened, with connection-level policy only."),
    key<&WrittenVendor::allow, requests_rule>(
        "allow", "Requests to let through: METHOD[|METHOD] /glob; all others are refused."),
    key<&WrittenVendor::deny, requests_rule>("deny", "Requests to refuse: METHOD[|METHOD] /glob; beats `allow`."),
    key<&WrittenVendor::addresses, ranges_rule>("addresses",
                                                "Private address ranges where it may be; added to the public ones."),
    key<&WrittenVendor::credential, line_rule>("credential", "The credential that its requests get, by name."),
    key<&WrittenVendor::scrub, scrub_words>(
        "scrub",
        "What of an answer is searched for the credential: off, head, identity (the body too, for which the vendor is "
        "asked not to compress), deep (compressed bodies too); default identity where it has a credential, else off."),
    key<&WrittenVendor::endpoints, endpoints_rule>("endpoints",
                                                   "Where it is reached, in order: the next is used while the one "
                                                   "before is out; default: at the host and with the "
                                                   "scheme that the application named."),
    key<&WrittenVendor::tls, tls_rule>("tls", "How its TLS is verified."),
    key<&WrittenVendor::timeout, timeouts_rule>("timeout", "Instead of the defaults, key by key."),
    key<&WrittenVendor::retry, retry_rule>("retry", "Instead of the defaults, key by key."),
    key<&WrittenVendor::hedge, hedge_rule>("hedge", "A second attempt beside one that takes long; default none."),
    key<&WrittenVendor::idempotency, idempotency_rule>("idempotency", "Keys that make a request safe to send again."),
    key<&WrittenVendor::breaker, breaker_rule>("breaker", "Instead of the defaults, key by key."),
    key<&WrittenVendor::limit, limits_rule>(
        "limit",
        "One map: what it does not say is inherited from the defaults. Or a list of maps, which all hold, and beside "
        "them "
        "what the defaults limit and no entry without `per` does; so does a map with `per`."),
    key<&WrittenVendor::fallback, fallback_rule>("fallback", "Another vendor, when every endpoint of this one is out."),
    key<&WrittenVendor::chaos, chaos_rule>("chaos", "Faults on purpose, as if the vendor had made them."),
    key<&WrittenVendor::routes, routes_rule>("routes", "The first that matches a request is its route."),
};
constexpr std::string_view later_vendor_keys[] = {"residency", "redact", "audit", "cache", "queue"};

/// Rules about requests on a vendor whose requests are never seen would promise what nobody keeps.
void check_tunnel(Reader& reader, const Place& at) {
    static constexpr std::pair<std::string_view, std::string_view> senseless[] = {
        {"credential", "a credential"},
        {"scrub", "scrubbing"},
        {"allow", "rules about requests"},
        {"deny", "rules about requests"},
        {"routes", "routes"},
        {"tls", "rules about TLS"},
        {"retry", "retries"},
        {"hedge", "hedging"},
        {"fallback", "a fallback"},
        {"idempotency", "idempotency keys"},
        {"chaos", "faults"},
    };
    const auto refuse = [&](const Place& map, std::string_view name, std::string_view what) {
        if (map.node.find(name) != Node::npos)
            reader.fault_of_key(map, name, std::string(what) + " for a vendor in mode tunnel",
                                "its TLS passes unopened, so no request of it is seen or changed "
                                "(write mode: intercept, or take this key away)");
    };
    for (const auto& [name, what] : senseless) refuse(at, name, what);
    if (at.node.find("limit") == Node::npos) return;
    const Place limit = at.at_key("limit");
    const auto judge_limit = [&](const Place& map) {
        refuse(map, "concurrency", "a limit on requests under way");
        refuse(map, "tokens", "a limit on tokens");
        refuse(map, "learn", "learning from answers");
        refuse(map, "per", "a limit by header");
        if (map.node.find("when_full") != Node::npos)
            refuse(map.at_key("when_full"), "priority", "a priority by header");
    };
    if (limit.node.kind == Node::Kind::sequence)
        for (std::size_t i = 0; i < limit.node.items.size(); ++i) judge_limit({*limit.node.items[i], &limit, {}, i});
    else
        judge_limit(limit);
}

std::string_view label_of(const WrittenRoute& route) {
    if (route.name) return route.name->value;
    return route.match ? std::string_view{route.match->value.text} : std::string_view{};
}

void check_chaos(Reader& reader, const Place& at, const WrittenVendor& vendor) {
    std::vector<std::string_view> labels;
    if (vendor.routes)
        for (const auto& route : vendor.routes->value) labels.push_back(label_of(route.value));
    if (!vendor.chaos->value.inject) return;
    const Place chaos = at.at_key("chaos"), inject = chaos.at_key("inject");
    for (std::size_t i = 0; i < inject.node.items.size(); ++i) {
        const Place fault{*inject.node.items[i], &inject, {}, i};
        for (const auto& written : vendor.chaos->value.inject->value) {
            if (written.node != &fault.node || !written.value.route) continue;
            const std::string& name = written.value.route->value;
            if (std::find(labels.begin(), labels.end(), name) == labels.end())
                reader.fault(fault.at_key("route"), "no route of this vendor is called " + shown(name), {},
                             suggestion(name, labels));
        }
    }
}

/// Their names are a metric's label, and the vendor's and its routes' all hold.
void check_limit_names(Reader& reader, const Place& at, const WrittenVendor& vendor) {
    std::unordered_map<std::string_view, const Node*> seen;
    const auto judge = [&](const Place& map, const WrittenLimits& limits) {
        const Place list = map.at_key("limit");
        for (std::size_t i = 0; i < limits.entries.size(); ++i) {
            const auto& name = limits.entries[i].value.name;
            if (!name) continue;
            const auto [first, fresh] = seen.try_emplace(name->value, name->node);
            if (fresh) continue;
            const Place entry{*limits.entries[i].node, &list, {}, i};
            const Place& holder = limits.list ? entry : list;
            reader.fault(holder.at_key("name"), "a second limit " + shown(name->value),
                         "the first is at " + first->second->file->place(first->second->at));
        }
    };
    if (vendor.limit) judge(at, vendor.limit->value);
    if (!vendor.routes) return;
    const Place routes = at.at_key("routes");
    for (std::size_t i = 0; i < vendor.routes->value.size(); ++i) {
        const auto& route = vendor.routes->value[i];
        if (route.value.limit) judge({*route.node, &routes, {}, i}, route.value.limit->value);
    }
}

/// A second would never be tried, or share the first one's breaker.
void check_endpoints(Reader& reader, const Place& at, const std::vector<Written<WrittenEndpoint>>& endpoints) {
    const Place list = at.at_key("endpoints");
    for (std::size_t i = 1; i < endpoints.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            const auto &a = endpoints[j].value.url, &b = endpoints[i].value.url;
            if (!a || !b || a->value.scheme != b->value.scheme || a->value.authority != b->value.authority ||
                a->value.prefix != b->value.prefix)
                continue;
            const Place entry{*endpoints[i].node, &list, {}, i};
            return reader.fault(entry, "the same endpoint again",
                                "the first is at " + a->node->file->place(a->node->at));
        }
}

/// The first of each name and of each match is the one that counts: a second would be dead, or share the first one's
/// label.
void check_routes(Reader& reader, const Place& at, const std::vector<Written<WrittenRoute>>& routes) {
    std::unordered_map<std::string_view, const Node*> labels, matches;
    const auto refuse_second = [&](auto& seen, const Maybe<std::string>& name, std::string_view text,
                                   const Node& node) {
        const auto [first, fresh] = seen.try_emplace(text, &node);
        if (fresh) return;
        const Place list{*at.node.items[at.node.find("routes") + 1], &at, "routes", 0, &node};
        reader.key_fault(list, "a second route " + shown(text) + list.in_path() + ": the first is at " +
                                   first->second->file->place(first->second->at) +
                                   (name ? "" : ", and would always be taken"));
    };
    for (const auto& route : routes) {
        if (route.value.match) refuse_second(matches, {}, route.value.match->value.text, *route.value.match->node);
        if (route.value.name) refuse_second(labels, route.value.name, route.value.name->value, *route.value.name->node);
    }
}

void check_vendor(Reader& reader, const Place& at, WrittenVendor& vendor) {
    if (at.node.find("hosts") == Node::npos && at.node.find("endpoints") == Node::npos)
        reader.key_fault(at, "'hosts' or 'endpoints' is missing" + at.in_path());
    if (vendor.mode && vendor.mode->value == Mode::tunnel) check_tunnel(reader, at);
    if (vendor.routes) check_routes(reader, at, vendor.routes->value);
    check_limit_names(reader, at, vendor);
    if (vendor.chaos) check_chaos(reader, at, vendor);
    if (vendor.endpoints) check_endpoints(reader, at, vendor.endpoints->value);
}
void amend_vendor(boost::json::object& shape) {
    shape["anyOf"] = boost::json::array{boost::json::object{{"required", boost::json::array{"hosts"}}},
                                        boost::json::object{{"required", boost::json::array{"endpoints"}}}};
}

constexpr MapRule<WrittenVendor> vendor_rule{
    "vendor",    "One destination and its rules.", vendor_keys, {later_vendor_keys, not_yet}, false, check_vendor,
    amend_vendor};
constexpr NamedRule<vendor_rule, vendor_names> vendors_rule{"a map of vendors by name"};

// ---- the top of the policy

void check_listen(Reader& reader, const Place& at, WrittenListen& listen) {
    const bool exposed = listen.exposed && listen.exposed->value;
    if (exposed || !listen.admin || is_loopback(listen.admin->value.address)) return;
    reader.fault(at.at_key("admin"), listen.admin->value.text() + " is not loopback",
                 "whoever reaches it could force breakers and read the policy; say `exposed: true` in `listen` if that "
                 "is meant");
}

constexpr BooleanRule exposed_rule;
constexpr Key<WrittenListen> listen_keys[] = {
    key<&WrittenListen::proxy, listen_address>(
        "proxy", "The target of HTTP_PROXY and HTTPS_PROXY, and of base-URL mode; default 127.0.0.1:15001."),
    key<&WrittenListen::unix_path, socket_path>(
        "unix", "The same on a Unix socket. A relative path starts from the directory of the policy file."),
    key<&WrittenListen::admin, listen_address>("admin",
                                               "Health, metrics and the effective policy; default 127.0.0.1:15000."),
    key<&WrittenListen::metrics, listen_address>(
        "metrics", "Only GET /metrics, /live and /ready, for scrapers outside the pod: 0.0.0.0:15090."),
    key<&WrittenListen::exposed, exposed_rule>("exposed", "A `proxy` or `admin` that is not loopback is meant; where there are `clients`, a `proxy` may be so anyway."),
};
constexpr std::string_view later_listen_keys[] = {"transparent"};
constexpr MapRule<WrittenListen> listen_rule{"listen",    "Where Sluice listens; port 0 picks one.",
                                             listen_keys, {later_listen_keys, not_yet},
                                             false,       check_listen};

constexpr WordsRule<AuthoritySpec::Kind, 2> ca_words{
    {{"persistent", AuthoritySpec::Kind::persistent}, {"ephemeral", AuthoritySpec::Kind::ephemeral}}};

/// A word, or a pair of files.
struct CaRule {
    using Value = AuthoritySpec;
    std::optional<AuthoritySpec> read(Reader& reader, const Place& at) const {
        AuthoritySpec spec;
        if (at.node.kind != Node::Kind::map) {
            const auto kind = ca_words.read(reader, at);
            if (!kind) return {};
            spec.kind = *kind;
            return spec;
        }
        if (refuse_elsewhere(reader, at)) return {};
        const auto pair = pair_rule.read(reader, at);
        if (!pair || !pair->cert || !pair->key) return {};
        spec.kind = AuthoritySpec::Kind::given;
        spec.cert_file = pair->cert->value;
        spec.key_file = pair->key->value;
        return spec;
    }
    boost::json::object describe(Schema& schema) const {
        return {{"anyOf", boost::json::array{ca_words.describe(schema), pair_rule.describe(schema)}}};
    }

  private:
    /// Everywhere else a secret may be in Vault or the environment, so that is what people write here too.
    static bool refuse_elsewhere(Reader& reader, const Place& at) {
        if (at.node.find("key") == Node::npos) return false;
        const Place key = at.at_key("key");
        if (key.node.kind != Node::Kind::map) return false;
        for (const char* place : {"vault", "env"}) {
            if (key.node.find(place) == Node::npos) continue;
            reader.fault(key, "a CA's key that is in no file",
                         "it is needed before anything is started, Vault included; write {file: /run/secrets/ca.key}, and have "
                         "that file written first (by an init container, or Vault's agent)");
            return true;
        }
        return false;
    }
};
constexpr CaRule ca_rule;

/// A CA of the operator's own carries what constraints it has.
void check_authority(Reader& reader, const Place& at, WrittenAuthority& authority) {
    const bool constrained = authority.name_constraints && authority.name_constraints->value;
    if (!constrained || !authority.ca || authority.ca->value.kind != AuthoritySpec::Kind::given) return;
    reader.fault_of_key(at, "name_constraints", "this is for a CA of Sluice's own make",
                        "the one in `ca` has the constraints that it was made with; leave this out");
}

constexpr BooleanRule name_constraints_rule;
constexpr Key<WrittenAuthority> authority_keys[] = {
    key<&WrittenAuthority::ca, ca_rule>("ca",
                                        "persistent (default): its key is kept in `state`; ephemeral: in memory only; "
                                        "or {cert: {file: ...}, key: {file: ...}}."),
    key<&WrittenAuthority::publish, directory_path>(
        "publish",
        "The directory for ca.crt, bundle.pem and truststore.p12; default <state>/public. A relative path starts from "
        "the directory of the policy file."),
    key<&WrittenAuthority::name_constraints, name_constraints_rule>(
        "name_constraints",
        "true: the CA can sign only for the hosts of the policy that it was made under; default false."),
};
constexpr MapRule<WrittenAuthority> authority_rule{
    "authority", "The authority that signs what applications see.", authority_keys, {}, false, check_authority};

constexpr Key<WrittenDefaults> defaults_keys[] = {
    key<&WrittenDefaults::timeout, timeouts_rule>("timeout", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::retry, retry_rule>("retry", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::breaker, breaker_rule>("breaker", "Of every vendor that does not say otherwise."),
    key<&WrittenDefaults::limit, limit_rule>("limit", "Of every vendor that does not say otherwise; one map."),
};
constexpr std::string_view vendors_own_keys[] = {"hedge", "idempotency", "fallback", "chaos"};
constexpr MapRule<WrittenDefaults> defaults_rule{
    "defaults", "What holds for every vendor.", defaults_keys, {vendors_own_keys, "each vendor says it for itself"}};

constexpr IntegerRule version_rule{1, 1, {}, "this version of Sluice reads version 1 of the language"};
constexpr IntegerRule workers_rule{1, 256, "auto"};
constexpr WordsRule<Unmatched, 3> unmatched_words{
    {{"deny", Unmatched::deny}, {"report", Unmatched::report}, {"tunnel", Unmatched::tunnel}}};
constexpr ScalarRule<std::string> include_name{"a file's name", "conf.d/*.yaml", "", parse_file_name};
constexpr ListRule<include_name> include_rule{"a list of files"};
constexpr ListRule<no_proxy_entry> no_proxy_rule{"a list of hosts"};

constexpr std::string_view version_doc = "Of the policy language: 1.";
constexpr auto credentials_key =
    key<&WrittenPolicy::credentials, credentials_rule>("credentials", "What vendors want to see, by name.");
constexpr auto vendors_key =
    key<&WrittenPolicy::vendors, vendors_rule>("vendors", "Destinations and their rules, by name.");

constexpr Key<WrittenPolicy> policy_keys[] = {
    key<&WrittenPolicy::version, version_rule>("version", version_doc, Presence::required),
    key<&WrittenPolicy::include, include_rule>(
        "include",
        "More files, with vendors and credentials: paths or patterns such as conf.d/*.yaml, relative to this file."),
    key<&WrittenPolicy::listen, listen_rule>("listen", "Where Sluice listens."),
    key<&WrittenPolicy::workers, workers_rule>("workers", "Threads; default auto: the cgroup's CPU quota, rounded up."),
    key<&WrittenPolicy::unmatched, unmatched_words>(
        "unmatched",
        "What becomes of hosts that no vendor has: deny (default), tunnel, or report: tunnel, log and count."),
    key<&WrittenPolicy::state, directory_path>(
        "state",
        "A directory private to Sluice: the CA's key; default $XDG_STATE_HOME/sluice. A relative path starts from the "
        "directory of the policy file."),
    key<&WrittenPolicy::authority, authority_rule>("authority", "The authority that signs what applications see."),
    key<&WrittenPolicy::no_proxy, no_proxy_rule>("no_proxy", "Added to the NO_PROXY that `sluice env` prints."),
    key<&WrittenPolicy::defaults, defaults_rule>("defaults", "What holds for every vendor."),
    credentials_key,
    vendors_key,
    key<&WrittenPolicy::clients, clients_rule>(
        "clients", "The applications that may use this Sluice, by name, and their vendors; without it all may."),
};
/// With `clients` a proxy that is not loopback serves nobody else.
void check_policy(Reader& reader, const Place& at, WrittenPolicy& policy) {
    if (!policy.listen || at.node.find("clients") != Node::npos) return;
    const WrittenListen& listen = policy.listen->value;
    const bool exposed = listen.exposed && listen.exposed->value;
    if (exposed || !listen.proxy || is_loopback(listen.proxy->value.address)) return;
    const Place map = at.at_key("listen");
    reader.fault(map.at_key("proxy"), listen.proxy->value.text() + " is not loopback",
                 "whoever reaches it would use the credentials; say `exposed: true` in `listen` if that is meant, or "
                 "name the `clients` that may");
}

constexpr MapRule<WrittenPolicy> policy_rule{.name = "policy",
                                             .doc = "A policy of Sluice, the egress sidecar.",
                                             .keys = policy_keys,
                                             .check = check_policy};

constexpr Key<WrittenPolicy> included_keys[] = {
    key<&WrittenPolicy::version, version_rule>("version", version_doc),
    credentials_key,
    vendors_key,
};
constexpr std::string_view top_only_keys[] = {"include", "listen",    "workers",  "unmatched", "state",
                                              "clients", "authority", "no_proxy", "defaults"};
constexpr MapRule<WrittenPolicy> included_rule{
    "included",
    "A file that a policy includes.",
    included_keys,
    {top_only_keys, "it belongs in the top file; an included file holds vendors and credentials only"}};

}  // namespace

std::optional<WrittenPolicy> read_policy(Reader& reader, const Node& root, bool included) {
    return (included ? included_rule : policy_rule).read(reader, Place{root});
}

boost::json::object describe_policy(Schema& schema) {
    return policy_rule.describe(schema);
}

std::string beside(const std::string& file, const std::string& path) {
    const auto slash = file.rfind('/');
    return path.starts_with('/') || slash == file.npos ? path : file.substr(0, slash + 1) + path;
}

bool is_loopback(const IpAddress& address) {
    static constexpr std::array<unsigned char, 16> v6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return address.v6 ? address.bytes == v6 : address.bytes[0] == 127;
}

}  // namespace sluice
