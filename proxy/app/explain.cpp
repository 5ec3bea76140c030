#include "proxy/app/explain.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "proxy/http/target.hpp"
#include "proxy/policy/rewrite.hpp"

namespace sluice {

namespace {

/// A WebSocket begins as a request to the URL that it stands for.
std::string as_http(std::string_view url) {
    if (same_text(url.substr(0, 5), "ws://")) return "http://" + std::string(url.substr(5));
    if (same_text(url.substr(0, 6), "wss://")) return "https://" + std::string(url.substr(6));
    return std::string(url);
}

/// As far as the policy tells: of a listener on every address, loopback is certain.
bool is_at(const ListenAddress& own, const IpAddress& address) {
    const bool any = own.address == IpAddress{{}, own.address.v6};
    const bool loopback = address.v6 ? address.text() == "::1" : address.bytes[0] == 127;
    return any ? loopback : own.address == address;
}

bool names_our_listener(const Config& config, const Authority& authority) {
    const ListenAddress& own = config.listen.proxy;
    if (own.port == 0 || authority.port != own.port) return false;
    if (authority.host == "localhost") return true;
    const auto address = authority.is_address ? parse_address(authority.host) : std::nullopt;
    return address && is_at(own, *address);
}

/// The dialler refuses what a listener of ours is at, before it looks at any rule.
bool is_own_listener(const Config& config, const IpAddress& address, std::uint16_t port) {
    const auto is_here = [&](const ListenAddress& own) { return own.port == port && port != 0 && is_at(own, address); };
    return is_here(config.listen.proxy) || is_here(config.listen.admin) || (config.listen.metrics && is_here(*config.listen.metrics));
}

/// What is asked for, once its form is understood.
struct Asked {
    Scheme scheme = Scheme::https;
    Authority authority;
    std::string path;  // without the query
};

class Explainer {
  public:
    Explainer(const Config& config, Explanation& out) : config_(config), out_(out) {}

    void run(std::string_view url) {
        const std::string text = as_http(url);
        const Result<Target> target = parse_target(out_.method, text);
        if (!target) return refuse(target.error().reason, target.error().detail + meant(text));
        Asked asked{target->scheme, target->authority, without_query(target->rest)};
        switch (target->form) {
        case Target::Form::asterisk: return refuse(Reason::bad_request, "OPTIONS * names no vendor");
        case Target::Form::authority: return connect(asked);
        case Target::Form::origin: return base_url(asked);
        case Target::Form::absolute:
            if (names_our_listener(config_, asked.authority)) return base_url(asked);
            if (find_vendor(asked.authority)) forward(asked);
            return;
        }
    }

  private:
    /// What people write for a target that is none.
    std::string meant(const std::string& text) const {
        const std::size_t scheme = text.find("://");
        if (out_.method == "CONNECT") return " (a CONNECT names host:port, such as api.vendor.example:443)";
        if (scheme != text.npos || text.empty() || text.starts_with('/')) return {};
        return " (did you mean 'https://" + text + "'?)";
    }

    static std::string without_query(std::string_view rest) {
        const std::string path(rest.substr(0, rest.find('?')));
        return path.empty() ? "/" : path;
    }

    void refuse(Reason reason, std::string detail) { out_.refusal = Refusal{reason, std::move(detail), {}}; }

    /// False: refused.
    bool find_vendor(const Authority& authority) {
        out_.vendor = config_.match(authority);
        if (out_.vendor) {
            out_.timeout = out_.vendor->timeout;
            remember_host(authority);
            return true;
        }
        out_.unmatched = true;
        if (config_.unmatched == Unmatched::deny) {
            refuse(Reason::unknown_vendor,
                   "no vendor of the policy has the host " + authority.text() + "; write it under the `hosts` of one");
            return false;
        }
        out_.vendor = &config_.unmatched_vendor;
        out_.timeout = out_.vendor->timeout;
        return true;
    }

    /// Config::match goes by the most specific pattern, and so does this.
    void remember_host(const Authority& authority) {
        for (const HostPattern& pattern : out_.vendor->hosts) {
            if (!pattern.matches(authority)) continue;
            const bool better =
                !out_.host || (out_.host->wildcard && !pattern.wildcard) ||
                (out_.host->wildcard == pattern.wildcard && pattern.host.size() > out_.host->host.size());
            if (better) out_.host = pattern;
        }
    }

    void connect(const Asked& asked) {
        out_.way = Explanation::Way::tunnel;
        if (!find_vendor(asked.authority)) return;
        if (out_.vendor->mode == Mode::intercept) {
            // Not an exchange: what is asked for inside of it is judged by its own method and path.
            out_.way = Explanation::Way::intercept;
            return;
        }
        take_destinations({Scheme::https, asked.authority, {}});
    }

    void base_url(Asked asked) {
        out_.way = Explanation::Way::base_url;
        const std::size_t end = asked.path.find('/', 1);
        const std::string name = asked.path.substr(1, end == std::string::npos ? end : end - 1);
        if (name.empty())
            return refuse(Reason::unknown_vendor,
                          "a path alone is base-URL mode, /<vendor>/<path>: it names no vendor");
        out_.vendor = config_.find(name);
        if (!out_.vendor) {
            std::vector<std::string_view> names;
            for (const Vendor& vendor : config_.vendors) names.push_back(vendor.name);
            const auto meant = nearest(name, names);
            return refuse(Reason::unknown_vendor, "no vendor of the policy is named '" + name + "'" +
                                                      (meant ? " (did you mean '" + std::string(*meant) + "'?)" : ""));
        }
        out_.timeout = out_.vendor->timeout;
        const std::optional<Url> base = out_.vendor->base_url();
        if (!base) {
            return refuse(Reason::bad_request, "vendor '" + name +
                                                   "' has neither an endpoint nor a host without a wildcard, "
                                                   "so base-URL mode cannot tell where to go");
        }
        asked.scheme = base->scheme;
        asked.authority = base->authority;
        asked.path = end == std::string::npos ? "/" : asked.path.substr(end);
        forward(asked);
    }

    void forward(const Asked& asked) {
        const Vendor& vendor = *out_.vendor;
        if (const std::string_view fault = judge_path(asked.path); !fault.empty()) {
            return refuse(Reason::bad_request, std::string(fault));
        }
        remember_rule(asked.path);
        const Verdict verdict = judge_access(vendor.access, vendor.name, out_.method, asked.path);
        if (verdict.refused()) return refuse(verdict.refusal().reason, verdict.refusal().detail);

        out_.route = vendor.route_for(out_.method, asked.path);
        if (out_.route) out_.timeout = out_.route->timeout;
        out_.path = asked.path;
        take_destinations(asked);
        const auto credential = out_.route && out_.route->credential ? out_.route->credential : vendor.credential;
        if (out_.refusal || vendor.mode == Mode::tunnel) return;
        if (credential) attach(config_.credentials[*credential], asked);
        if (!out_.refusal && vendor.fallback) stand_in(*vendor.fallback);
    }

    void attach(const CredentialSpec& credential, const Asked& asked) {
        const Vendor& vendor = *out_.vendor;
        out_.credential = &credential;
        if (out_.destination->scheme == Scheme::http && vendor.endpoints.empty()) {
            refuse(Reason::credential_unavailable,
                   "credential '" + out_.credential->name + "' is not sent over plain http://: ask for https://" +
                       asked.authority.host + ", or write the http:// URL under `endpoints` of vendor '" + vendor.name +
                       "'");
        } else if (out_.method == "TRACE") {
            refuse(Reason::not_allowed, "TRACE would send the credential of vendor '" + vendor.name + "' back");
        }
    }

    /// As exchange/fallback judges it, as far as that shows without the request's body.
    void stand_in(const FallbackSpec& fallback) {
        const Vendor& other = config_.vendors[fallback.vendor];
        Explanation::StandIn& out = out_.stand_in.emplace();
        out.vendor = &other;
        out.path = edited_target(out_.path, fallback.rewrite.path);
        out.destination = destination_of(other, Scheme::https, other.base_url()->authority);
        const Verdict verdict = judge_access(other.access, other.name, out_.method, out.path);
        if (verdict.refused()) out.obstacle = verdict.refusal().detail;
        const Route* route = other.route_for(out_.method, out.path);
        const auto credential = route && route->credential ? route->credential : other.credential;
        if (credential) out.credential = &config_.credentials[*credential];
    }

    void remember_rule(std::string_view path) {
        const auto matching = [&](const std::vector<RequestPattern>& rules) {
            const auto rule = std::find_if(rules.begin(), rules.end(), [&](const RequestPattern& pattern) {
                return pattern.matches(out_.method, path);
            });
            return rule == rules.end() ? nullptr : &*rule;
        };
        out_.rule = matching(out_.vendor->access.deny);
        out_.denied = out_.rule != nullptr;
        if (!out_.rule) out_.rule = matching(out_.vendor->access.allow);
    }

    void take_destinations(const Asked& asked) {
        const Vendor& vendor = *out_.vendor;
        const std::size_t endpoints = std::max<std::size_t>(1, vendor.endpoints.size());
        for (std::size_t i = 0; i < endpoints; ++i) {
            Explanation::Endpoint endpoint{destination_of(vendor, asked.scheme, asked.authority, i), {}};
            endpoint.obstacle = judge_destination(endpoint.destination.authority);
            if (i > 0) {
                out_.next.push_back(std::move(endpoint));
                continue;
            }
            out_.destination = std::move(endpoint.destination);
            if (!endpoint.obstacle.empty()) refuse(Reason::address_refused, std::move(endpoint.obstacle));
        }
    }

    /// Why it is not dialled, or "". A name is judged when it has been resolved; a literal address can be judged here.
    std::string judge_destination(const Authority& authority) const {
        if (!authority.is_address) return {};
        const std::optional<IpAddress> address = parse_address(authority.host);
        if (address && is_own_listener(config_, *address, authority.port)) return authority.host + " is one of Sluice's own listeners";
        const std::string_view fault = address ? judge_address(*address, out_.vendor->addresses) : std::string_view{};
        if (fault.empty()) return {};
        const std::string advice = out_.unmatched
                                       ? "make a vendor of it: `hosts: [" + quoted(authority.text()) + "], addresses: ["
                                       : "a vendor may name it: `addresses: [";
        return authority.host + " is " + std::string(fault) + "; " + advice + address->text() + "]`";
    }

    const Config& config_;
    Explanation& out_;
};

}  // namespace

Explanation explain(const Config& config, const PolicyPlaces& places, std::string_view method, std::string_view url) {
    Explanation explanation;
    explanation.config = &config;
    explanation.places = &places;
    explanation.method = method;
    explanation.url = url.substr(0, url.find('?'));
    Explainer(config, explanation).run(url);
    return explanation;
}

}  // namespace sluice
