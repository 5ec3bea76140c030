#include "config/assemble.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "config/inherit.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

int line_of(const Node& node) {
    return static_cast<int>(node.at.line) + 1;
}

template <class V>
int line_of(const Maybe<V>& written) {
    return written ? line_of(*written->node) : 0;
}

/// "" where it goes into the query.
std::string header_of(const CredentialSpec& spec) {
    return spec.place.header;
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
    Assembler(WrittenWhole& whole, FaultList& faults) : whole_(whole), faults_(faults) {}

    Config run(const std::string& default_state) {
        take_top(default_state);
        judge_ports();
        for (auto& credential : whole_.credentials) add_credential(credential);
        for (const auto& spec : config_.credentials) credential_names_.push_back(spec.name);
        config_.vendors.reserve(whole_.vendors.size());
        for (auto& vendor : whole_.vendors) add_vendor(vendor);
        for (const Fallback& fallback : fallbacks_) link(fallback);
        refuse_circles();
        warn_of_unused();
        config_.unmatched_vendor.name = "_other";
        config_.unmatched_vendor.mode = Mode::tunnel;
        config_.unmatched_vendor.timeout = config_.defaults.timeout;
        config_.unmatched_vendor.retry.max = 0;
        config_.unmatched_vendor.breaker.enabled = false;
        config_.unmatched_vendor.index = config_.vendors.size();
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
        defaults.timeout = inherit(Timeouts{}, written.timeout);
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

    template <class V>
    bool is_second(std::unordered_map<std::string, const Node*>& seen, const Named<V>& named, std::string_view kind,
                   std::string_view map) {
        const auto [first, fresh] = seen.try_emplace(named.name, named.key);
        if (fresh) return false;
        const Node& other = *first->second;
        fault(*named.key, "a second " + std::string(kind) + " " + shown(named.name) + " in " + std::string(map) +
                              ": the first is at " + other.file->place(other.at));
        return true;
    }

    void add_credential(Named<WrittenCredential>& named) {
        if (is_second(credential_keys_, named, "credential", "credentials")) return;
        WrittenCredential& written = named.value;
        CredentialSpec spec;
        spec.name = named.name;
        spec.index = config_.credentials.size();
        spec.line = line_of(*named.key);
        take(spec.rules.eager, written.eager);
        take(spec.place.header, written.header);
        take(spec.place.prefix, written.prefix);
        switch (written.type ? written.type->value : 0) {
        case 0: spec.kind = bearer(written); break;
        case 1:
            spec.kind = api_key(written);
            if (!written.header) spec.place.header.clear();
            if (!written.prefix) spec.place.prefix.clear();
            break;
        case 2: spec.kind = basic(written); break;
        }
        credential_index_.emplace(spec.name, spec.index);
        config_.credentials.push_back(std::move(spec));
        used_.push_back(false);
    }
    static BearerSpec bearer(WrittenCredential& written) {
        BearerSpec spec;
        take(spec.value, written.value);
        return spec;
    }
    static ApiKeySpec api_key(WrittenCredential& written) {
        ApiKeySpec spec;
        take(spec.value, written.value);
        take(spec.query, written.query);
        return spec;
    }
    static BasicSpec basic(WrittenCredential& written) {
        BasicSpec spec;
        take(spec.password, written.password);
        if (written.username) {
            spec.username = std::move(written.username->value.plain);
            spec.username_source = std::move(written.username->value.source);
        }
        return spec;
    }

    void add_vendor(Named<WrittenVendor>& named) {
        if (is_second(vendor_keys_, named, "vendor", "vendors")) return;
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
        bind_credential(vendor, written);
        if (written.endpoints)
            for (auto& endpoint : written.endpoints->value)
                if (endpoint.value.url) vendor.endpoints.push_back(std::move(endpoint.value.url->value));
        take_tls(vendor.tls, written);
        vendor.timeout = inherit(config_.defaults.timeout, written.timeout);
        take_resilience(vendor, written);
        take_routes(vendor, written);
        if (vendor.mode == Mode::tunnel) keep_what_tunnels_have(vendor);
        name_limits(vendor);
        if (written.fallback) fallbacks_.push_back({vendor.index, &*written.fallback});
        vendor_index_.emplace(vendor.name, vendor.index);
        config_.vendors.push_back(std::move(vendor));
    }

    void take_resilience(Vendor& vendor, WrittenVendor& written) {
        const std::string path = "vendors." + vendor.name;
        vendor.lines = {.timeout = line_of(written.timeout),
                        .retry = line_of(written.retry),
                        .hedge = line_of(written.hedge),
                        .idempotency = line_of(written.idempotency),
                        .breaker = line_of(written.breaker),
                        .limit = line_of(written.limit),
                        .fallback = line_of(written.fallback),
                        .chaos = line_of(written.chaos)};
        vendor.retry = inherit(config_.defaults.retry, written.retry);
        vendor.retry.hedge = inherit({}, written.hedge);
        vendor.breaker = inherit(config_.defaults.breaker, written.breaker);
        vendor.limits = vendor_limits(config_.defaults.limit, written.limit, path + ".limit", faults_);
        judge_key_header(vendor, written.idempotency, path);
        vendor.idempotency = inherit(IdempotencySpec{}, written.idempotency);
        vendor.chaos = chaos_of(written.chaos);
    }

    void judge_key_header(const Vendor& vendor, const Maybe<WrittenIdempotency>& written, const std::string& path) {
        if (!vendor.credential || !written || !written->value.header) return;
        const auto& header = *written->value.header;
        judge_header(header.value, *header.node, path + ".idempotency.header", vendor);
    }
    /// A credential's header is the credential's alone.
    void judge_header(const std::string& name, const Node& node, const std::string& path, const Vendor& vendor) {
        if (!vendor.credential) return;
        const CredentialSpec& spec = config_.credentials[*vendor.credential];
        if (same_text(name, header_of(spec)))
            fault(node, "header " + shown(name) + " in " + path + " belongs to credential '" + spec.name +
                            "' of vendor '" + vendor.name + "'");
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

    void bind_credential(Vendor& vendor, WrittenVendor& written) {
        if (!written.credential) return;
        const std::string& name = written.credential->value;
        if (const auto found = credential_index_.find(name); found != credential_index_.end()) {
            vendor.credential = found->second;
            used_[found->second] = true;
        } else if (whole_.complete && !is_broken(whole_.credential_maps, name)) {
            fault(*written.credential->node, "no credential is called " + shown(name) + " in vendors." + vendor.name +
                                                 ".credential" + suggestion(name, credential_names_));
        }
    }
    /// It is there, but could not be read: that fault is enough.
    static bool is_broken(const std::vector<const Node*>& maps, const std::string& name) {
        return std::any_of(maps.begin(), maps.end(), [&](const Node* map) { return map->find(name) != Node::npos; });
    }

    static void take_tls(TlsRules& tls, WrittenVendor& written) {
        if (!written.tls) return;
        WrittenTls& own = written.tls->value;
        take(tls.min, own.min);
        take(tls.ca_file, own.ca);
        if (own.pin)
            for (auto& pin : own.pin->value) tls.pins.push_back(std::move(pin.value));
        if (!own.client) return;
        take(tls.client_cert_file, own.client->value.cert);
        take(tls.client_key_file, own.client->value.key);
    }

    void take_routes(Vendor& vendor, WrittenVendor& written) {
        if (!written.routes) return;
        for (std::size_t i = 0; i < written.routes->value.size(); ++i) {
            auto& item = written.routes->value[i];
            if (!item.value.match) continue;
            const std::string path = "vendors." + vendor.name + ".routes[" + std::to_string(i) + "]";
            Route route;
            route.match = std::move(item.value.match->value);
            route.match.line = route.line = line_of(*item.node);
            route.name = item.value.name ? item.value.name->value : route.match.text;
            route.timeout = inherit(vendor.timeout, item.value.timeout);
            route.retry = inherit(vendor.retry, item.value.retry);
            route.retry.hedge = inherit(vendor.retry.hedge, item.value.hedge);
            judge_key_header(vendor, item.value.idempotency, path);
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
        const auto judge = [&](const std::string& name, const Node& node, std::string_view key) {
            const std::string place = path + ".request.headers." + std::string(key);
            judge_header(name, node, place, to);
            if (from.credential != to.credential) judge_header(name, node, place, from);
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

    std::vector<std::string_view> vendor_names() const {
        std::vector<std::string_view> names;
        for (const Vendor& vendor : config_.vendors) names.push_back(vendor.name);
        return names;
    }

    void warn_of_unused() {
        if (!whole_.complete || faults_.failed()) return;  // the vendor that uses it may be what could not be read
        for (const CredentialSpec& spec : config_.credentials)
            if (!used_[spec.index]) {
                const Node& key = *credential_keys_.at(spec.name);
                faults_.add(*key.file, key.at, "no vendor uses credentials." + spec.name, true);
            }
    }

    struct Claim {
        std::string vendor;
        const Node* node;
    };

    WrittenWhole& whole_;
    FaultList& faults_;
    Config config_;
    std::unordered_map<std::string, const Node*> credential_keys_, vendor_keys_;
    std::unordered_map<std::string, std::size_t> credential_index_, vendor_index_;
    std::vector<Fallback> fallbacks_;
    std::unordered_map<std::string, Claim> claims_;
    std::vector<std::string_view> credential_names_;
    std::vector<bool> used_;  // by credential
};

}  // namespace

Config assemble(WrittenWhole& whole, const std::string& default_state, FaultList& faults) {
    return Assembler{whole, faults}.run(default_state);
}

}  // namespace sluice
