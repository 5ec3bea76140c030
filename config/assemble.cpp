#include "config/assemble.hpp"

#include <array>
#include <unordered_map>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

int line_of(const Node& node) {
    return static_cast<int>(node.at.line) + 1;
}

template <class V>
void take(V& into, Maybe<V>& written) {
    if (written) into = std::move(written->value);
}

/// What is written wins; what is inherited gives way to a `total` that is written.
Timeouts inherit(const Timeouts& from, const Maybe<WrittenTimeouts>& written) {
    Timeouts timeouts = from;
    if (!written) return timeouts;
    const WrittenTimeouts& own = written->value;
    if (own.total) {
        timeouts.total = own.total->value;
        timeouts.total_written = true;
    }
    const auto settle = [&](Duration& inherited, const Maybe<Duration>& value) {
        if (value)
            inherited = value->value;
        else if (own.total)
            inherited = std::min(inherited, timeouts.total);
    };
    settle(timeouts.connect, own.connect);
    settle(timeouts.tls, own.tls);
    settle(timeouts.first_byte, own.first_byte);
    settle(timeouts.idle, own.idle);
    return timeouts;
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
        warn_of_unused();
        config_.unmatched_vendor.name = "_other";
        config_.unmatched_vendor.mode = Mode::tunnel;
        config_.unmatched_vendor.timeout = config_.defaults;
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
        if (top.defaults) config_.defaults = inherit(Timeouts{}, top.defaults->value.timeout);
        config_.defaults.total_written = false;  // that word is about vendors and routes
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
        take(spec.eager, written.eager);
        switch (written.type ? written.type->value : 0) {
        case 0: spec.kind = bearer(written); break;
        case 1: spec.kind = api_key(written); break;
        case 2: spec.kind = basic(written); break;
        }
        credential_index_.emplace(spec.name, spec.index);
        config_.credentials.push_back(std::move(spec));
        used_.push_back(false);
    }
    static BearerSpec bearer(WrittenCredential& written) {
        BearerSpec spec;
        take(spec.value, written.value);
        take(spec.header, written.header);
        take(spec.prefix, written.prefix);
        return spec;
    }
    static ApiKeySpec api_key(WrittenCredential& written) {
        ApiKeySpec spec;
        take(spec.value, written.value);
        take(spec.header, written.header);
        take(spec.query, written.query);
        take(spec.prefix, written.prefix);
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
        vendor.timeout = inherit(config_.defaults, written.timeout);
        take_routes(vendor, written);
        config_.vendors.push_back(std::move(vendor));
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
        } else if (whole_.complete && !credential_is_broken(name)) {
            fault(*written.credential->node, "no credential is called " + shown(name) + " in vendors." + vendor.name +
                                                 ".credential" + suggestion(name, credential_names_));
        }
    }
    /// It is there, but could not be read: that fault is enough.
    bool credential_is_broken(const std::string& name) const {
        for (const Node* map : whole_.credential_maps)
            if (map->find(name) != Node::npos) return true;
        return false;
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

    static void take_routes(Vendor& vendor, WrittenVendor& written) {
        if (!written.routes) return;
        for (auto& item : written.routes->value) {
            if (!item.value.match) continue;
            Route route;
            route.match = std::move(item.value.match->value);
            route.match.line = route.line = line_of(*item.node);
            route.name = item.value.name ? item.value.name->value : route.match.text;
            route.timeout = inherit(vendor.timeout, item.value.timeout);
            route.index = vendor.routes.size();
            vendor.routes.push_back(std::move(route));
        }
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
    std::unordered_map<std::string, std::size_t> credential_index_;
    std::unordered_map<std::string, Claim> claims_;
    std::vector<std::string_view> credential_names_;
    std::vector<bool> used_;  // by credential
};

}  // namespace

Config assemble(WrittenWhole& whole, const std::string& default_state, FaultList& faults) {
    return Assembler{whole, faults}.run(default_state);
}

}  // namespace sluice
