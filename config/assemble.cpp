#include "config/assemble.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "config/assemble_credentials.hpp"
#include "config/credential_specs.hpp"
#include "config/inherit.hpp"
#include "proxy/base/text.hpp"
#include "proxy/policy/stream_timeouts.hpp"
#include "proxy/policy/token_cost.hpp"

namespace sluice {
namespace {

constexpr std::size_t least_client_password = 8;  // bytes

template <class V>
int line_of(const Maybe<V>& written) {
    return written ? line_of(*written->node) : 0;
}

/// Nothing of a tunnel is seen but that it is opened.
void keep_what_tunnels_have(Vendor& vendor) {
    vendor.retry.max = 0;
    for (LimitSpec& limit : vendor.limits) {
        limit.tokens.reset();
        limit.seats.reset();
        limit.learn = false;
        limit.per_header.clear();
        limit.priority_header.clear();
    }
    std::erase_if(vendor.limits, [](const LimitSpec& limit) { return !limit.rate; });
}

/// Those that are not written, or are inherited and taken: "limit", "limit2" ...
void name_limits(Vendor& vendor) {
    std::vector<LimitSpec*> limits;
    for (LimitSpec& limit : vendor.limits) limits.push_back(&limit);
    for (Route& route : vendor.routes)
        for (LimitSpec& limit : route.limits) limits.push_back(&limit);
    // The last of the vendor's own may have its name from the defaults, and gives way to names that are written.
    if (!vendor.limits.empty())
        std::rotate(limits.begin() + static_cast<std::ptrdiff_t>(vendor.limits.size()) - 1,
                    limits.begin() + static_cast<std::ptrdiff_t>(vendor.limits.size()), limits.end());
    std::unordered_set<std::string> taken;
    const auto name = [&](LimitSpec& limit, const std::string& base) {
        limit.name = base;
        for (int i = 2; !taken.insert(limit.name).second; ++i) limit.name = base + std::to_string(i);
    };
    for (LimitSpec* limit : limits)
        if (!limit->name.empty()) name(*limit, std::string(limit->name));
    for (LimitSpec& limit : vendor.limits)
        if (limit.name.empty()) name(limit, "limit");
    for (Route& route : vendor.routes)
        for (LimitSpec& limit : route.limits)
            if (limit.name.empty()) name(limit, "limit");
}

class Assembler {
  public:
    Assembler(WrittenWhole& whole, FaultList& faults)
        : whole_(whole), faults_(faults), credentials_(whole, config_, faults) {}

    Config run(const std::string& default_state) {
        take_top(default_state);
        judge_ports();
        credentials_.run();
        config_.vendors.reserve(whole_.vendors.size());
        for (auto& vendor : whole_.vendors) add_vendor(vendor);
        for (const Fallback& fallback : fallbacks_) link(fallback);
        refuse_circles();
        size_bodies();
        add_clients();
        credentials_.warn_of_unused();
        config_.unmatched_vendor.name = "_other";
        config_.unmatched_vendor.mode = Mode::tunnel;
        config_.unmatched_vendor.timeout = config_.defaults.timeout;
        config_.unmatched_vendor.retry.max = 0;
        config_.unmatched_vendor.breaker.enabled = false;
        config_.unmatched_vendor.index = config_.vendors.size();
        credentials_.number_issuers();
        return std::move(config_);
    }

  private:
    void fault(const Node& node, std::string message) { faults_.add(*node.file, node.at, std::move(message)); }

    void take_top(const std::string& default_state) {
        WrittenPolicy& top = whole_.top;
        config_.listen.proxy = {{{127, 0, 0, 1}, false}, 15001};
        config_.listen.admin = {{{127, 0, 0, 1}, false}, 15000};
        if (top.listen) {
            WrittenListen& listen = top.listen->value;
            take(config_.listen.proxy, listen.proxy);
            take(config_.listen.admin, listen.admin);
            take(config_.listen.unix_path, listen.unix_path);
            take(config_.listen.exposed, listen.exposed);
            if (listen.metrics) config_.listen.metrics = listen.metrics->value;
        }
        take(config_.workers, top.workers);
        take(config_.unmatched, top.unmatched);
        config_.unmatched_vendor.line = line_of(top.unmatched);
        if (top.unmatched) config_.unmatched_vendor.file = top.unmatched->node->file->path;
        config_.state = default_state;
        take(config_.state, top.state);
        if (top.authority) {
            take(config_.authority, top.authority->value.ca);
            take(config_.authority.publish, top.authority->value.publish);
            take(config_.authority.name_constraints, top.authority->value.name_constraints);
        }
        if (top.no_proxy)
            for (auto& entry : top.no_proxy->value) config_.no_proxy.push_back(std::move(entry.value));
        if (top.defaults) take_defaults(top.defaults->value, *top.defaults->node->file);
    }

    void take_defaults(WrittenDefaults& written, const SourceFile& file) {
        Defaults& defaults = config_.defaults;
        default_timeout_ = &written.timeout;
        defaults.timeout = inherit(Timeouts{}, {default_timeout_});
        defaults.timeout.total_written = false;  // that word is about vendors and routes
        defaults.retry = inherit(RetrySpec{}, written.retry);
        defaults.breaker = inherit(BreakerSpec{}, written.breaker);
        if (written.limit)
            defaults.limit =
                inherit(defaults.limit, written.limit->value, *written.limit->node, "defaults.limit", faults_);
        defaults.file = file.path;
        defaults.lines.timeout = line_of(written.timeout);
        defaults.lines.retry = line_of(written.retry);
        defaults.lines.breaker = line_of(written.breaker);
        defaults.lines.limit = line_of(written.limit);
    }

    /// Two listeners on one port: the second could not be opened.
    void judge_ports() {
        if (!whole_.top.listen) return;
        const WrittenListen& written = whole_.top.listen->value;
        struct Listener {
            std::string_view name;
            const ListenAddress* address;
            const Maybe<ListenAddress>* written;
        };
        const Listener listeners[] = {
            {"proxy", &config_.listen.proxy, &written.proxy},
            {"admin", &config_.listen.admin, &written.admin},
            {"metrics", config_.listen.metrics ? &*config_.listen.metrics : nullptr, &written.metrics}};
        for (std::size_t i = 1; i < std::size(listeners); ++i)
            for (std::size_t j = 0; j < i; ++j) {
                const Listener &a = listeners[j], &b = listeners[i];
                if (!a.address || !b.address || !collide(*a.address, *b.address)) continue;
                const Maybe<ListenAddress>& place = *b.written ? *b.written : *a.written;
                if (place)
                    fault(*place->node, b.address->text() + " in listen." + std::string(b.name) + " is taken: listen." +
                                            std::string(a.name) + " is " + a.address->text());
            }
    }
    static bool collide(const ListenAddress& a, const ListenAddress& b) {
        const auto is_any = [](const IpAddress& address) { return address.bytes == IpAddress{}.bytes; };
        if (a.port != b.port || a.port == 0) return false;
        if (a.address.v6 != b.address.v6) return false;
        return a.address == b.address || is_any(a.address) || is_any(b.address);
    }

    void add_vendor(Named<WrittenVendor>& named) {
        if (is_second(vendor_keys_, named, "vendor", "vendors", faults_)) return;
        WrittenVendor& written = named.value;
        Vendor vendor;
        vendor.name = named.name;
        vendor.index = config_.vendors.size();
        vendor.file = named.key->file->path;
        vendor.line = line_of(*named.key);
        take_catalogue(vendor.catalogue, written);
        take(vendor.mode, written.mode);
        claim_hosts(vendor, written);
        take_patterns(vendor.access.allow, written.allow);
        take_patterns(vendor.access.deny, written.deny);
        if (written.addresses)
            for (auto& range : written.addresses->value) vendor.addresses.push_back(range.value);
        if (written.credential)
            vendor.credential = credentials_.find(*written.credential, path_of(vendor) + ".credential");
        if (written.endpoints)
            for (auto& endpoint : written.endpoints->value)
                if (endpoint.value.url) vendor.endpoints.push_back(std::move(endpoint.value.url->value));
        if (auto pair = take_tls(vendor.tls, written.tls))
            vendor.certificate = add_certificate(std::move(*pair), *written.tls, named);
        show_certificate(vendor, written);
        vendor.timeout = timeouts_of(written.timeout, {});
        take_resilience(vendor, written);
        take_routes(vendor, written);
        judge_key_headers(vendor, written);
        settle_scrub(vendor, written);
        if (vendor.mode == Mode::tunnel) {
            keep_what_tunnels_have(vendor);
            warn_of_idle(vendor, written);
        }
        name_limits(vendor);
        if (written.fallback) fallbacks_.push_back({vendor.index, &*written.fallback});
        vendor_index_.emplace(vendor.name, vendor.index);
        config_.vendors.push_back(std::move(vendor));
    }

    Timeouts timeouts_of(const Maybe<WrittenTimeouts>& vendor, const Maybe<WrittenTimeouts>& route) {
        const Maybe<WrittenTimeouts> none;
        Timeouts timeouts = inherit(Timeouts{}, {default_timeout_ ? default_timeout_ : &none, &vendor, &route});
        timeouts.total_written = (vendor && vendor->value.total) || (route && route->value.total);
        return timeouts;
    }

    /// It holds for plain requests to such a vendor only, which hardly anybody means.
    void warn_of_idle(const Vendor& vendor, const WrittenVendor& written) {
        if (!written.timeout || !written.timeout->value.idle) return;
        const Maybe<Duration>& idle = written.timeout->value.idle;
        if (idle->value >= least_idle_of_streams || idle->value == config_.defaults.timeout.idle) return;
        faults_.add(*idle->node->file, idle->node->at,
                    "an idle time below " + format_duration(least_idle_of_streams) + " in " + path_of(vendor) +
                        ".timeout does not hold for its tunnels: they may be quiet for " +
                        format_duration(least_idle_of_streams) + " (`total` bounds them, where it is written)",
                    true);
    }

    void take_resilience(Vendor& vendor, WrittenVendor& written) {
        const std::string path = path_of(vendor);
        vendor.lines = {.timeout = line_of(written.timeout),
                        .retry = line_of(written.retry),
                        .hedge = line_of(written.hedge),
                        .idempotency = line_of(written.idempotency),
                        .breaker = line_of(written.breaker),
                        .limit = line_of(written.limit),
                        .fallback = line_of(written.fallback),
                        .chaos = line_of(written.chaos),
                        .scrub = line_of(written.scrub)};
        vendor.retry = inherit(config_.defaults.retry, written.retry);
        vendor.retry.hedge = inherit({}, written.hedge);
        vendor.breaker = inherit(config_.defaults.breaker, written.breaker);
        vendor.limits = vendor_limits(config_.defaults.limit, written.limit, path + ".limit", faults_);
        vendor.idempotency = inherit(IdempotencySpec{}, written.idempotency);
        vendor.chaos = chaos_of(written.chaos);
    }

    static std::string path_of(const Vendor& vendor) { return "vendors." + vendor.name; }

    /// Its own and its routes'.
    static std::vector<std::size_t> credentials_of(const Vendor& vendor) {
        std::vector<std::size_t> all;
        if (vendor.credential) all.push_back(*vendor.credential);
        for (const Route& route : vendor.routes)
            if (route.credential) all.push_back(*route.credential);
        return all;
    }

    /// A credential's header is the credential's alone.
    void judge_header(const std::string& name, const Node& node, const std::string& path, const Vendor& vendor,
                      const std::vector<std::size_t>& credentials) {
        for (const std::size_t credential : credentials) {
            const CredentialSpec& spec = config_.credentials[credential];
            for (const std::string& header : headers_of(spec))
                if (same_text(name, header))
                    return fault(node, "header " + shown(name) + " in " + path + " belongs to credential '" +
                                           spec.name + "' of vendor '" + vendor.name + "'");
        }
    }
    void judge_key_headers(const Vendor& vendor, const WrittenVendor& written) {
        const auto judge = [&](const Maybe<WrittenIdempotency>& keys, const std::string& path,
                               const std::vector<std::size_t>& credentials) {
            if (!keys || !keys->value.header) return;
            const auto& header = *keys->value.header;
            judge_header(header.value, *header.node, path + ".idempotency.header", vendor, credentials);
        };
        judge(written.idempotency, path_of(vendor), credentials_of(vendor));
        if (!written.routes) return;
        for (std::size_t i = 0; i < written.routes->value.size(); ++i)
            judge(written.routes->value[i].value.idempotency, path_of(vendor) + ".routes[" + std::to_string(i) + "]",
                  credentials_of(vendor));
    }

    static void take_catalogue(Catalogue& catalogue, WrittenVendor& written) {
        take(catalogue.owner, written.owner);
        take(catalogue.about, written.about);
        take(catalogue.criticality, written.criticality);
        take(catalogue.runbook, written.runbook);
        if (written.data)
            for (auto& word : written.data->value) catalogue.data.push_back(std::move(word.value));
        if (!written.sla) return;
        WrittenSla& sla = written.sla->value;
        const auto add = [&](const std::string& name, Maybe<std::string>& value) {
            if (value) catalogue.sla.emplace_back(name, std::move(value->value));
        };
        add("availability", sla.availability);
        if (sla.latency)
            for (auto& percentile : sla.latency->value)
                catalogue.sla.emplace_back("latency." + percentile.name, std::move(percentile.value));
        add("window", sla.window);
        add("recovery_time", sla.recovery_time);
    }

    static void take_patterns(std::vector<RequestPattern>& into, Maybe<std::vector<Written<RequestPattern>>>& written) {
        if (!written) return;
        for (auto& pattern : written->value) {
            into.push_back(std::move(pattern.value));
            into.back().line = line_of(*pattern.node);
        }
    }

    /// A host belongs to one vendor. Without a port it is the host on 443 and on 80.
    void claim_hosts(Vendor& vendor, WrittenVendor& written) {
        if (!written.hosts) return;
        for (auto& host : written.hosts->value) {
            const HostPattern& pattern = host.value;
            const std::string name = (pattern.wildcard ? "*." : "") + pattern.host + ":";
            if (pattern.port != 0)
                claim(vendor, host, name + std::to_string(pattern.port));
            else if (claim(vendor, host, name + "443"))
                claim(vendor, host, name + "80");
            vendor.hosts.push_back(std::move(host.value));
        }
    }
    bool claim(const Vendor& vendor, const Written<HostPattern>& host, std::string host_and_port) {
        const auto [claimed, fresh] = claims_.try_emplace(std::move(host_and_port), Claim{vendor.name, host.node});
        if (fresh) return true;
        const Claim& first = claimed->second;
        const std::string place = first.node->file->place(first.node->at);
        if (first.vendor == vendor.name)
            fault(*host.node, "host " + shown(host.value.text()) + " in vendors." + vendor.name +
                                  ".hosts is there already, at " + place);
        else
            fault(*host.node, "host " + shown(host.value.text()) + " in vendors." + vendor.name +
                                  ".hosts belongs to vendor '" + first.vendor + "' already, at " + place);
        return false;
    }

    /// A credential of type mtls is the vendor's client certificate.
    void show_certificate(Vendor& vendor, const WrittenVendor& written) {
        if (!vendor.credential) return;
        const CredentialSpec& spec = config_.credentials[*vendor.credential];
        const auto* mtls = std::get_if<MtlsSpec>(&spec.kind);
        if (!mtls) return;
        const std::string what = "credential " + shown(spec.name) + " in " + path_of(vendor) + ".credential ";
        if (!vendor.tls.client_cert_file.empty() || vendor.certificate)
            return fault(*written.credential->node, what +
                                                        "is a client certificate, and `tls.client` is another one: "
                                                        "write one of them");
        for (const Url& url : vendor.endpoints)
            if (url.scheme == Scheme::http)
                return fault(*written.credential->node, what +
                                                            "is a client certificate, and an endpoint is http://: "
                                                            "none is shown there");
        if (!mtls->in_files()) {
            vendor.certificate = vendor.credential;
            return;
        }
        vendor.tls.client_cert_file = mtls->cert.name;
        vendor.tls.client_key_file = mtls->key.name;
    }

    /// Of `tls.client`, where it is not in files: it is no credential, but fetched like one.
    std::size_t add_certificate(MtlsSpec pair, const Written<WrittenTls>& written, const Named<WrittenVendor>& named) {
        CredentialSpec spec;
        spec.name = "vendors." + named.name + ".tls.client";
        const WrittenClientPair& client = written.value.client->value;
        credentials_.settle_secret(spec, pair.cert, *client.cert->node, spec.name);
        credentials_.settle_secret(spec, pair.key, *client.key->node, spec.name);
        spec.kind = std::move(pair);
        return add_secret(std::move(spec), *named.key);
    }

    /// Where it stands among the slots.
    std::size_t add_secret(CredentialSpec spec, const Node& key) {
        spec.index = config_.credentials.size() + config_.secrets.size();
        spec.place = {"", ""};
        spec.file = key.file->path;
        spec.line = line_of(key);
        config_.secrets.push_back(std::move(spec));
        return config_.secrets.back().index;
    }

    void bind_route(const Vendor& vendor, Route& route, const Written<std::string>& name, const std::string& path) {
        route.credential = credentials_.find(name, path);
        if (!route.credential || !std::holds_alternative<MtlsSpec>(config_.credentials[*route.credential].kind)) return;
        fault(*name.node, "credential " + shown(name.value) + " in " + path +
                              " is a client certificate: it is shown when a connection is made, to the vendor as a "
                              "whole; write it beside `routes`, or make a vendor of these paths");
        route.credential = vendor.credential;
    }

    /// What cannot be found in an answer is not searched for: a certificate never was in the request.
    void settle_scrub(Vendor& vendor, const WrittenVendor& written) {
        const auto of = credentials_of(vendor);
        const bool secret = std::any_of(of.begin(), of.end(), [&](std::size_t credential) {
            return !std::holds_alternative<MtlsSpec>(config_.credentials[credential].kind);
        });
        vendor.scrub = secret ? Scrub::identity : Scrub::off;
        if (written.scrub) vendor.scrub = written.scrub->value;
    }

    void take_routes(Vendor& vendor, WrittenVendor& written) {
        if (!written.routes) return;
        for (std::size_t i = 0; i < written.routes->value.size(); ++i) {
            auto& item = written.routes->value[i];
            if (!item.value.match) continue;
            const std::string path = path_of(vendor) + ".routes[" + std::to_string(i) + "]";
            Route route;
            route.match = std::move(item.value.match->value);
            route.match.line = route.line = line_of(*item.node);
            route.name = item.value.name ? item.value.name->value : route.match.text;
            route.timeout = timeouts_of(written.timeout, item.value.timeout);
            route.retry = inherit(vendor.retry, item.value.retry);
            route.retry.hedge = inherit(vendor.retry.hedge, item.value.hedge);
            if (item.value.credential) bind_route(vendor, route, *item.value.credential, path + ".credential");
            route.idempotency = inherit(vendor.idempotency, item.value.idempotency);
            route.limits = route_limits(item.value.limit, path + ".limit", faults_);
            route.lines = {.timeout = line_of(item.value.timeout),
                           .retry = line_of(item.value.retry),
                           .hedge = line_of(item.value.hedge),
                           .idempotency = line_of(item.value.idempotency),
                           .limit = line_of(item.value.limit)};
            route.index = vendor.routes.size();
            vendor.routes.push_back(std::move(route));
        }
    }

    /// Fallbacks name vendors of any file, and so are looked up once all are there.
    struct Fallback {
        std::size_t vendor;
        Written<WrittenFallback>* written;
    };

    void link(const Fallback& fallback) {
        if (!fallback.written->value.vendor) return;
        Vendor& vendor = config_.vendors[fallback.vendor];
        const auto& named = *fallback.written->value.vendor;
        const std::string path = "vendors." + vendor.name + ".fallback";
        const std::string what = "vendor " + shown(named.value) + " in " + path + ".vendor ";
        const auto found = vendor_index_.find(named.value);
        if (found == vendor_index_.end()) {
            if (whole_.complete && !is_broken(whole_.vendor_maps, named.value))
                fault(*named.node, "no vendor is called " + shown(named.value) + " in " + path + ".vendor" +
                                       suggestion(named.value, vendor_names()));
            return;
        }
        const Vendor& other = config_.vendors[found->second];
        if (other.index == vendor.index) return fault(*named.node, what + "is this vendor itself");
        if (other.mode == Mode::tunnel)
            return fault(*named.node, what + "is in mode tunnel: Sluice sends no requests of its own there");
        if (!other.base_url())
            return fault(*named.node, what +
                                          "has neither an endpoint nor a host without a wildcard: there is nowhere to "
                                          "send a request");
        judge_rewrite(fallback.written->value.rewrite, path + ".rewrite", vendor, other);
        vendor.fallback = FallbackSpec{found->second, rewrite_of(fallback.written->value.rewrite)};
    }

    /// Neither vendor's credential can be written by hand, nor be carried from the one to the other.
    void judge_rewrite(const Maybe<WrittenRewrite>& written, const std::string& path, const Vendor& from,
                       const Vendor& to) {
        if (!written || !written->value.request || !written->value.request->value.headers) return;
        const WrittenHeaderEdits& headers = written->value.request->value.headers->value;
        const auto of_to = credentials_of(to);
        auto of_from = credentials_of(from);
        std::erase_if(of_from, [&](std::size_t credential) {
            return std::find(of_to.begin(), of_to.end(), credential) != of_to.end();
        });
        const auto judge = [&](const std::string& name, const Node& node, std::string_view key) {
            const std::string place = path + ".request.headers." + std::string(key);
            judge_header(name, node, place, to, of_to);
            judge_header(name, node, place, from, of_from);
        };
        if (headers.set)
            for (const auto& named : headers.set->value) judge(named.name, *named.key, "set");
        if (!headers.rename) return;
        for (const auto& named : headers.rename->value) {
            judge(named.name, *named.key, "rename");
            judge(named.value, *named.key, "rename");
        }
    }

    /// Each vendor has one fallback at most: who comes back to where a walk began is in a circle.
    void refuse_circles() {
        std::vector<bool> seen(config_.vendors.size());
        for (const Fallback& start : fallbacks_) {
            std::vector<std::size_t> chain;
            std::size_t at = start.vendor;
            while (!seen[at]) {
                seen[at] = true;
                chain.push_back(at);
                if (!config_.vendors[at].fallback) break;
                at = config_.vendors[at].fallback->vendor;
            }
            const auto circle = std::find(chain.begin(), chain.end(), at);
            if (!config_.vendors[at].fallback || circle == chain.end()) continue;
            std::string text;
            for (auto step = circle; step != chain.end(); ++step) text += config_.vendors[*step].name + " -> ";
            const auto first = std::find_if(fallbacks_.begin(), fallbacks_.end(),
                                            [&](const Fallback& fallback) { return fallback.vendor == *circle; });
            fault(*first->written->value.vendor->node, "fallbacks go in a circle in vendors." +
                                                           config_.vendors[at].name + ".fallback.vendor: " + text +
                                                           config_.vendors[at].name);
        }
    }

    /// For further attempts, for the tokens of a limit to be estimated, and to be signed.
    std::size_t kept_by(const Vendor& vendor, const Route* route) const {
        const auto counts = [](const LimitSpec& limit) { return limit.tokens.has_value(); };
        const auto any_counts = [&](const std::vector<LimitSpec>& limits) {
            return std::any_of(limits.begin(), limits.end(), counts);
        };
        std::size_t most = (route ? route->retry : vendor.retry).buffer;
        if (any_counts(vendor.limits) || (route && any_counts(route->limits))) most = std::max(most, worth_estimating);
        const auto credential = route && route->credential ? route->credential : vendor.credential;
        if (credential) most = std::max<std::size_t>(most, config_.credentials[*credential].body_to_sign);
        return most;
    }
    /// Of a body that has gone by nobody who stands in can be given more than what was kept for the first vendor.
    void size_bodies() {
        std::vector<std::size_t> largest;  // by vendor: of whichever of its routes
        for (Vendor& vendor : config_.vendors) {
            std::size_t& most = largest.emplace_back(vendor.keeps = kept_by(vendor, nullptr));
            for (Route& route : vendor.routes) most = std::max(most, route.keeps = kept_by(vendor, &route));
        }
        for (const Fallback& first : fallbacks_) {
            Vendor& vendor = config_.vendors[first.vendor];
            std::size_t most = 0, left = config_.vendors.size();  // a circle is a fault, but no end
            for (const Vendor* at = &vendor; at->fallback && left > 0; --left) {
                at = &config_.vendors[at->fallback->vendor];
                most = std::max(most, largest[at->index]);
            }
            vendor.keeps = std::max(vendor.keeps, most);
            for (Route& route : vendor.routes) route.keeps = std::max(route.keeps, most);
        }
    }

    // ---- clients

    void add_clients() {
        if (!whole_.top.clients) return;
        std::unordered_map<std::uint32_t, const Node*> uids;
        for (auto& named : whole_.top.clients->value) {
            ClientSpec client;
            client.name = named.name;
            take_uid(client, named.value, uids);
            if (named.value.password) client.password = add_password(named);
            if (named.value.vendors) take_vendors(client, named.value.vendors->value);
            config_.clients.push_back(std::move(client));
        }
    }

    /// One uid tells of one client.
    void take_uid(ClientSpec& client, const WrittenClient& written,
                  std::unordered_map<std::uint32_t, const Node*>& uids) {
        if (!written.uid) return;
        client.uid = written.uid->value;
        const auto [first, fresh] = uids.try_emplace(*client.uid, written.uid->node);
        if (!fresh)
            fault(*written.uid->node, "uid " + std::to_string(*client.uid) + " in clients." + client.name +
                                          ".uid belongs to another client already, at " +
                                          first->second->file->place(first->second->at));
    }

    /// No credential can have such a name.
    std::size_t add_password(Named<WrittenClient>& named) {
        CredentialSpec spec;
        spec.name = "clients." + named.name;
        Written<SecretSource>& password = *named.value.password;
        credentials_.settle_secret(spec, password.value, *password.node, spec.name + ".password");
        spec.kind = BasicSpec{named.name, {}, std::move(password.value)};
        spec.rules.least = least_client_password;
        return add_secret(std::move(spec), *named.key);
    }

    void take_vendors(ClientSpec& client, const WrittenClientVendors& written) {
        client.all_vendors = written.all;
        for (const auto& name : written.names) {
            const auto found = vendor_index_.find(name.value);
            if (found != vendor_index_.end()) {
                client.vendors.push_back(found->second);
            } else if (whole_.complete && !is_broken(whole_.vendor_maps, name.value)) {
                const std::string advice = name.value == "all" ? " (every vendor: write `vendors: all`)"
                                                               : suggestion(name.value, vendor_names());
                fault(*name.node,
                      "no vendor is called " + shown(name.value) + " in clients." + client.name + ".vendors" + advice);
            }
        }
        std::sort(client.vendors.begin(), client.vendors.end());
        client.vendors.erase(std::unique(client.vendors.begin(), client.vendors.end()), client.vendors.end());
    }

    std::vector<std::string_view> vendor_names() const {
        std::vector<std::string_view> names;
        for (const Vendor& vendor : config_.vendors) names.push_back(vendor.name);
        return names;
    }

    struct Claim {
        std::string vendor;
        const Node* node;
    };

    WrittenWhole& whole_;
    FaultList& faults_;
    Config config_;
    CredentialAssembler credentials_;
    const Maybe<WrittenTimeouts>* default_timeout_ = nullptr;
    std::unordered_map<std::string, const Node*> vendor_keys_;
    std::unordered_map<std::string, std::size_t> vendor_index_;
    std::vector<Fallback> fallbacks_;
    std::unordered_map<std::string, Claim> claims_;
};

}  // namespace

Config assemble(WrittenWhole& whole, const std::string& default_state, FaultList& faults) {
    return Assembler{whole, faults}.run(default_state);
}

}  // namespace sluice
