#include "proxy/app/explain.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "config/describe.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "proxy/http/target.hpp"
#include "proxy/policy/stream_timeouts.hpp"

namespace sluice {

namespace {

/// A WebSocket begins as a request to the URL that it stands for.
std::string as_http(std::string_view url) {
    if (same_text(url.substr(0, 5), "ws://")) return "http://" + std::string(url.substr(5));
    if (same_text(url.substr(0, 6), "wss://")) return "https://" + std::string(url.substr(6));
    return std::string(url);
}

bool names_our_listener(const Config& config, const Authority& authority) {
    const ListenAddress& own = config.listen.proxy;
    if (own.port == 0 || authority.port != own.port) return false;
    return authority.host == "localhost" || authority.host == own.address.text();
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
        if (!target) return refuse(target.error().reason, target.error().detail);
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
            refuse(Reason::unknown_vendor, "no vendor of the policy has the host " + authority.text());
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
        out_.destination = destination_of(*out_.vendor, Scheme::https, asked.authority);
        judge_destination();
    }

    void base_url(Asked asked) {
        out_.way = Explanation::Way::base_url;
        const std::size_t end = asked.path.find('/', 1);
        const std::string name = asked.path.substr(1, end == std::string::npos ? end : end - 1);
        out_.vendor = config_.find(name);
        if (!out_.vendor) {
            return refuse(Reason::unknown_vendor, "no vendor of the policy is named '" + name + "'");
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
        out_.destination = destination_of(vendor, asked.scheme, asked.authority);
        out_.path = out_.destination->prefix + asked.path;
        judge_destination();
        const auto credential = out_.route && out_.route->credential ? out_.route->credential : vendor.credential;
        if (out_.refusal || !credential || vendor.mode == Mode::tunnel) return;
        out_.credential = &config_.credentials[*credential];
        if (out_.destination->scheme == Scheme::http && vendor.endpoints.empty()) {
            refuse(Reason::credential_unavailable,
                   "credential '" + out_.credential->name + "' is not sent over plain http://: ask for https://" +
                       asked.authority.host + ", or write the http:// URL under `endpoints` of vendor '" + vendor.name +
                       "'");
        } else if (out_.method == "TRACE") {
            refuse(Reason::not_allowed, "TRACE would send the credential of vendor '" + vendor.name + "' back");
        }
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

    /// A name is judged when it has been resolved; a literal address can be judged here.
    void judge_destination() {
        const Authority& authority = out_.destination->authority;
        if (!authority.is_address) return;
        const std::optional<IpAddress> address = parse_address(authority.host);
        if (!address) return;
        const std::string_view fault = judge_address(*address, out_.vendor->addresses);
        if (fault.empty()) return;
        refuse(Reason::address_refused, authority.host + " is " + std::string(fault) +
                                            "; a vendor may name it: `addresses: [" + authority.host + "]`");
    }

    const Config& config_;
    Explanation& out_;
};

std::string_view name_of(Explanation::Way way) {
    switch (way) {
    case Explanation::Way::forward: return "forward";
    case Explanation::Way::intercept: return "intercept";
    case Explanation::Way::tunnel: return "tunnel";
    case Explanation::Way::base_url: return "base_url";
    }
    return "";
}

std::string upstream_of(const Explanation& explanation) {
    const Destination& destination = *explanation.destination;
    if (explanation.way == Explanation::Way::tunnel) return destination.authority.text();
    return std::string(name_of(destination.scheme)) + "://" + destination.authority.text(destination.scheme) +
           explanation.path;
}

std::string place_of(const std::string& file, int line) {
    return line > 0 && !file.empty() ? file + ':' + std::to_string(line) : std::string();
}

/// What a type does to get or make what is attached, in a few words; never a secret.
std::string in_words(const CredentialSpec& spec) {
    struct Words {
        std::string operator()(const BearerSpec&) const { return {}; }
        std::string operator()(const ApiKeySpec&) const { return {}; }
        std::string operator()(const BasicSpec&) const { return {}; }
        std::string operator()(const OAuthSpec& oauth) const {
            const std::string scope = oauth.scope.empty() ? "" : " for scope " + joined(oauth.scope, " ");
            return "a token of " + text_of_url(oauth.token_url) + scope;
        }
        std::string operator()(const AwsSpec& aws) const {
            const std::string role = aws.assume_role.empty() ? "" : " as " + aws.assume_role.back().arn;
            return "signed for " + aws.service + " in " + aws.region + role;
        }
        std::string operator()(const GcpSpec& gcp) const {
            const std::string whose = gcp.impersonate.empty() ? "" : " of " + gcp.impersonate;
            if (!gcp.audience.empty()) return "an ID token" + whose + " for " + gcp.audience;
            return "an access token of Google" + whose;
        }
        std::string operator()(const AzureSpec& azure) const { return "a token of Entra ID for " + azure.scope; }
        std::string operator()(const GithubAppSpec& github) const {
            return "a token of installation " + github.installation_id + " of App " + github.app_id + " at " +
                   text_of_url(github.api_url);
        }
        std::string operator()(const VaultSpec& vault) const {
            return vault.path + " of " + text_of_url(vault.address);
        }
        std::string operator()(const ExecSpec& exec) const {
            return "what " + (exec.command.empty() ? std::string("a program") : exec.command.front()) + " prints";
        }
        std::string operator()(const HmacSpec&) const { return "each request is signed"; }
        std::string operator()(const MtlsSpec&) const { return "client certificate"; }
    };
    return std::visit(Words{}, spec.kind);
}

/// Where a credential goes and where it comes from; never what it is.
std::string describe(const CredentialSpec& spec) {
    std::string text;
    if (const auto* key = std::get_if<ApiKeySpec>(&spec.kind); key && !key->query.empty())
        text = "query parameter " + key->query;
    else if (!spec.place.header.empty())
        text = "header " + spec.place.header;
    if (!spec.rules.placeholder.empty())
        text += std::string(text.empty() ? "" : ", ") + "in the place of " + quoted(spec.rules.placeholder) +
                (spec.rules.require ? ", which each request must hold" : "");
    if (const std::string how = in_words(spec); !how.empty()) text += (text.empty() ? "" : ", ") + how;
    std::string from;
    for (const SecretSource* source : spec.secrets()) from += (from.empty() ? " from " : ", ") + source->text();
    return text + from;
}

std::string_view in_words(Scrub scrub) {
    switch (scrub) {
    case Scrub::off: return "off";
    case Scrub::head: return "head: the credential is masked in headers";
    case Scrub::identity: return "identity: the credential is masked in headers and in bodies that are not compressed";
    case Scrub::deep: return "deep: the credential is masked in headers and in bodies, compressed ones too";
    }
    return "";
}

std::string describe_in_words(const TlsRules& tls) {
    std::string text = tls.min == TlsRules::Version::tls13 ? "TLS 1.3, " : "TLS 1.2 or later, ";
    text += tls.ca_file.empty() ? "the system's roots" : "roots of " + tls.ca_file;
    if (!tls.pins.empty()) text += ", " + std::to_string(tls.pins.size()) + " pinned key(s)";
    if (!tls.client_cert_file.empty()) text += ", client certificate " + tls.client_cert_file;
    return text;
}

/// Those of the timeouts that hold for this request: nobody sees handshakes or answers pass through a tunnel.
std::vector<std::pair<std::string_view, Duration>> timeouts_of(const Explanation& explanation) {
    const Timeouts& timeout = explanation.timeout;
    if (explanation.way != Explanation::Way::tunnel)
        return {{"connect", timeout.connect},
                {"tls", timeout.tls},
                {"first_byte", timeout.first_byte},
                {"idle", timeout.idle},
                {"total", timeout.total}};
    std::vector<std::pair<std::string_view, Duration>> out{{"connect", timeout.connect},
                                                           {"idle", timeouts_of_stream(timeout).idle}};
    if (timeout.total_written) out.emplace_back("total", timeout.total);
    return out;
}

std::string timeouts_in_words(const Explanation& explanation) {
    std::string out;
    for (const auto& [name, time] : timeouts_of(explanation))
        out.append(out.empty() ? "" : ", ").append(name).append(" ").append(format_duration(time));
    return out;
}

/// Where the policy says so: on the route, else on the vendor, else in the defaults; line 0: it is built in.
struct Place {
    std::string file;
    int line = 0;
};
Place place_of(const Explanation& explanation, int PolicyLines::*key) {
    const Vendor& vendor = *explanation.vendor;
    if (explanation.route && explanation.route->lines.*key > 0) return {vendor.file, explanation.route->lines.*key};
    if (vendor.lines.*key > 0) return {vendor.file, vendor.lines.*key};
    return {explanation.config->defaults.file, explanation.config->defaults.lines.*key};
}

/// What of resilience concerns this request.
struct Effective {
    const RetrySpec& retry;
    const IdempotencySpec& idempotency;
    std::vector<std::pair<const LimitSpec*, Place>> limits;

    explicit Effective(const Explanation& explanation)
        : retry(explanation.route ? explanation.route->retry : explanation.vendor->retry),
          idempotency(explanation.route ? explanation.route->idempotency : explanation.vendor->idempotency) {
        const Vendor& vendor = *explanation.vendor;
        const bool written = vendor.lines.limit > 0;
        const Defaults& defaults = explanation.config->defaults;
        for (const LimitSpec& limit : vendor.limits)
            limits.push_back({&limit, written ? Place{vendor.file, vendor.lines.limit}
                                              : Place{defaults.file, defaults.lines.limit}});
        if (!explanation.route) return;
        for (const LimitSpec& limit : explanation.route->limits)
            limits.push_back({&limit, Place{vendor.file, explanation.route->lines.limit}});
    }
};

template <class List>
std::string joined(const List& list) {
    std::string text;
    for (const auto& item : list) text += (text.empty() ? "" : ", ") + std::string(item);
    return text;
}

/// A text of one's own words as it is, all else as JSON writes it.
std::string in_words(const boost::json::value& value) {
    if (const auto* text = value.if_string()) return std::string(*text);
    if (const auto* list = value.if_array()) {
        std::vector<std::string> items;
        for (const auto& item : *list) items.push_back(in_words(item));
        return joined(items);
    }
    if (const auto* object = value.if_object()) {
        std::vector<std::string> items;
        for (const auto& [key, item] : *object) items.push_back(std::string(key) + " " + in_words(item));
        return joined(items);
    }
    return boost::json::serialize(value);
}

/// `elsewhere`: there is another endpoint, or another vendor.
std::string describe_in_words(const RetrySpec& retry, bool elsewhere) {
    if (retry.max == 0) return elsewhere ? "none; what could not be sent goes on elsewhere" : "none";
    const boost::json::object words = describe(retry);
    const std::string on = in_words(words.at("on"));
    return "up to " + std::to_string(retry.max) + " more on " + (on.empty() ? "nothing" : on) + "; backoff " +
           in_words(words.at("backoff")) + ", budget " + in_words(words.at("budget")) + ", buffer " +
           in_words(words.at("buffer")) + (elsewhere ? "; what could not be sent goes on elsewhere first" : "");
}

std::string describe_in_words(const BreakerSpec& breaker) {
    if (!breaker.enabled) return "none";
    const boost::json::object words = describe(breaker);
    const auto word = [&](std::string_view name) { return in_words(words.at(name)); };
    return "opens on " + word("consecutive") + " failures in a row, or, of at least " + word("min_requests") + " in " +
           word("window") + ", on " + word("failure_rate") + " failed or " + word("slow_rate") + " slower than " +
           word("slow_after") + "; for " + word("open_for") + ", then " + word("probes") + " probes, and calls are let back in at their normal rate";
}

std::string describe_in_words(const LimitSpec& limit) {
    std::vector<std::string> parts;
    if (limit.rate) parts.push_back(text_of(limit.rate->rate) + " (burst " + std::to_string(limit.rate->burst) + ")");
    if (limit.seats)
        parts.push_back(limit.seats->adaptive() ? std::to_string(limit.seats->least) + " to " +
                                                      std::to_string(limit.seats->most) + " at a time"
                                                : std::to_string(limit.seats->most) + " at a time");
    if (limit.tokens)
        parts.push_back(text_of(limit.tokens->rate.rate) + " tokens (burst " +
                        std::to_string(limit.tokens->rate.burst) + ")");
    if (limit.learn) parts.push_back("learns from the vendor");
    if (!limit.per_header.empty()) parts.push_back("for each " + limit.per_header);
    parts.push_back("waits " + format_duration(limit.wait));
    if (!limit.priority_header.empty()) parts.push_back("by " + limit.priority_header);
    return limit.name + ": " + joined(parts);
}

std::string describe_in_words(const ChaosSpec& chaos) {
    std::vector<std::string> faults;
    const boost::json::object words = describe(chaos);
    for (const auto& fault : words.at("inject").as_array()) faults.push_back(in_words(fault));
    std::string text = "ON: ";
    for (const auto& fault : faults) text += (&fault == &faults.front() ? "" : "; ") + fault;
    return text + "; stops above " + in_words(words.at("abort_above")) + " failures";
}

void print_line(Console& console, std::string_view label, std::string_view value, const std::string& place = {}) {
    console << "  " << console.paint(Colour::dim, label) << std::string(12 - label.size(), ' ') << value;
    if (!place.empty()) console << "  " << console.paint(Colour::cyan, place);
    console << "\n";
}

std::string way_in_words(const Explanation& explanation) {
    switch (explanation.way) {
    case Explanation::Way::forward: return "forwarded as a request";
    case Explanation::Way::base_url: return "base-URL mode";
    case Explanation::Way::tunnel: return "a blind tunnel: no credential, connection-level policy only";
    case Explanation::Way::intercept:
        return "intercepted: each request inside is judged on its own (explain it by its https:// URL)";
    }
    return "";
}

}  // namespace

Explanation explain(const Config& config, std::string_view method, std::string_view url) {
    Explanation explanation;
    explanation.config = &config;
    explanation.method = method;
    explanation.url = url.substr(0, url.find('?'));
    Explainer(config, explanation).run(url);
    return explanation;
}

void print_explanation(Console& console, const Explanation& explanation) {
    console << console.paint(Colour::bold, explanation.method + ' ' + explanation.url) << "\n";
    if (const auto& refusal = explanation.refusal) {
        print_line(console, "verdict",
                   console.paint(Colour::red, "refused " + std::to_string(status_of(refusal->reason)) + ' ' +
                                                  std::string(name_of(refusal->reason))) +
                       ": " + refusal->detail);
    } else {
        print_line(console, "verdict", console.paint(Colour::green, "allowed"));
    }
    if (explanation.unmatched) {
        const Config& config = *explanation.config;
        const std::string place = place_of(config.unmatched_vendor.file, config.unmatched_vendor.line);
        print_line(console, "unmatched", word_of(config.unmatched), place.empty() ? "the built-in default" : place);
    }
    if (!explanation.vendor) return;
    print_line(console, "way", way_in_words(explanation));
    const Vendor& vendor = *explanation.vendor;
    const std::string& file = vendor.file;
    if (explanation.unmatched) {
        print_line(console, "vendor", "none");
    } else {
        const std::string by_host = explanation.host ? " (host " + explanation.host->text() + ")" : "";
        print_line(console, "vendor", vendor.name + by_host, place_of(file, vendor.line));
    }
    if (explanation.rule) {
        print_line(console, "rule", (explanation.denied ? "deny " : "allow ") + quoted(explanation.rule->text),
                   place_of(file, explanation.rule->line));
    } else if (explanation.refusal && explanation.refusal->reason == Reason::not_allowed &&
               !vendor.access.allow.empty()) {
        print_line(console, "rule", "none of `allow` matches");
    }
    if (explanation.route) {
        print_line(console, "route", explanation.route->name, place_of(file, explanation.route->line));
    }
    if (explanation.destination) {
        print_line(console, "upstream", upstream_of(explanation));
        if (explanation.destination->scheme == Scheme::https && explanation.way != Explanation::Way::tunnel) {
            std::string tls = describe_in_words(vendor.tls);
            if (vendor.certificate)
                tls += ", client certificate " + std::get<MtlsSpec>(explanation.config->spec_at(*vendor.certificate).kind).cert.text();
            print_line(console, "tls", tls);
        }
    }
    if (const CredentialSpec* spec = explanation.credential) {
        print_line(console, "credential", spec->name + ": " + std::string(spec->type()) + ", " + describe(*spec),
                   place_of(spec->file, spec->line));
    } else if (explanation.destination) {
        print_line(console, "credential", "none");
    }
    const auto placed = [&](int PolicyLines::*key) {
        const Place place = place_of(explanation, key);
        return place_of(place.file, place.line);
    };
    if (explanation.credential)
        print_line(console, "scrub", in_words(vendor.scrub), place_of(file, vendor.lines.scrub));
    print_line(console, "timeouts", timeouts_in_words(explanation), placed(&PolicyLines::timeout));
    if (!explanation.destination) return;
    const Effective effective(explanation);
    const bool elsewhere = vendor.endpoints.size() > 1 || vendor.fallback;
    print_line(console, "retry", describe_in_words(effective.retry, elsewhere), placed(&PolicyLines::retry));
    if (const auto& hedge = effective.retry.hedge)
        print_line(console, "hedge", "up to " + std::to_string(hedge->max) + " more after " + text_of(*hedge),
                   placed(&PolicyLines::hedge));
    if (!effective.idempotency.generate.empty())
        print_line(console, "idempotency",
                   effective.idempotency.header + " is made for " + joined(effective.idempotency.generate),
                   placed(&PolicyLines::idempotency));
    print_line(console, "breaker", describe_in_words(vendor.breaker), placed(&PolicyLines::breaker));
    for (const auto& [limit, place] : effective.limits)
        print_line(console, "limit", describe_in_words(*limit), place_of(place.file, place.line));
    if (effective.limits.empty()) print_line(console, "limit", "none");
    if (vendor.fallback)
        print_line(console, "fallback", explanation.config->vendors[vendor.fallback->vendor].name,
                   placed(&PolicyLines::fallback));
    if (vendor.chaos.enabled)
        print_line(console, "chaos", console.paint(Colour::red, describe_in_words(vendor.chaos)),
                   placed(&PolicyLines::chaos));
}

namespace {

boost::json::object place_as_json(const std::string& file, int line) {
    return {{"file", file}, {"line", line}};
}

boost::json::object timeouts_as_json(const Explanation& explanation) {
    boost::json::object out;
    for (const auto& [name, time] : timeouts_of(explanation)) out[name] = format_duration(time);
    return out;
}

}  // namespace

boost::json::object explanation_as_json(const Explanation& explanation) {
    boost::json::object out{
        {"method", explanation.method}, {"url", explanation.url}, {"allowed", !explanation.refusal}};
    if (const auto& refusal = explanation.refusal) {
        out["status"] = status_of(refusal->reason);
        out["reason"] = name_of(refusal->reason);
        out["detail"] = refusal->detail;
    }
    const auto placed = [](boost::json::object object, const std::string& file, int line) {
        if (line > 0) object["place"] = place_as_json(file, line);
        return object;
    };
    if (explanation.unmatched) {
        const Config& config = *explanation.config;
        const Vendor& own = config.unmatched_vendor;
        out["unmatched"] =
            placed({{"value", word_of(config.unmatched)}, {"built_in", own.line == 0}}, own.file, own.line);
    }
    if (!explanation.vendor) return out;
    out["way"] = name_of(explanation.way);
    const Vendor& vendor = *explanation.vendor;
    if (!explanation.unmatched) out["vendor"] = placed({{"name", vendor.name}}, vendor.file, vendor.line);
    if (explanation.host) out["host"] = explanation.host->text();
    if (const RequestPattern* rule = explanation.rule) {
        out["rule"] =
            placed({{"kind", explanation.denied ? "deny" : "allow"}, {"match", rule->text}}, vendor.file, rule->line);
    }
    if (const Route* route = explanation.route)
        out["route"] = placed({{"name", route->name}}, vendor.file, route->line);
    if (explanation.destination) out["upstream"] = upstream_of(explanation);
    if (const CredentialSpec* spec = explanation.credential) {
        out["credential"] = placed({{"name", spec->name}, {"type", spec->type()}}, spec->file, spec->line);
        const std::string scrub(in_words(vendor.scrub));
        out["scrub"] = scrub.substr(0, scrub.find(':'));
    }
    const auto put = [&](std::string_view name, boost::json::object object, const Place& place) {
        out[name] = placed(std::move(object), place.file, place.line);
    };
    put("timeout", timeouts_as_json(explanation), place_of(explanation, &PolicyLines::timeout));
    if (!explanation.destination) return out;
    const Effective effective(explanation);
    put("retry", describe(effective.retry), place_of(explanation, &PolicyLines::retry));
    if (effective.retry.hedge)
        put("hedge", describe(*effective.retry.hedge), place_of(explanation, &PolicyLines::hedge));
    put("idempotency", describe(effective.idempotency), place_of(explanation, &PolicyLines::idempotency));
    put("breaker", describe(vendor.breaker), place_of(explanation, &PolicyLines::breaker));
    boost::json::array limits;
    for (const auto& [limit, place] : effective.limits)
        limits.push_back(placed(describe(*limit), place.file, place.line));
    out["limit"] = std::move(limits);
    if (vendor.fallback)
        put("fallback", describe(*vendor.fallback, *explanation.config), place_of(explanation, &PolicyLines::fallback));
    if (vendor.chaos.enabled) put("chaos", describe(vendor.chaos), place_of(explanation, &PolicyLines::chaos));
    return out;
}

}  // namespace sluice
