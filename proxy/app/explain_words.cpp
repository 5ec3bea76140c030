#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "config/describe.hpp"
#include "config/forms.hpp"
#include "proxy/app/explain.hpp"
#include "proxy/app/explain_lines.hpp"
#include "proxy/base/text.hpp"
#include "proxy/http/head.hpp"
#include "proxy/policy/stream_timeouts.hpp"

namespace sluice {

namespace {

std::string_view name_of(Explanation::Way way) {
    switch (way) {
    case Explanation::Way::forward: return "forward";
    case Explanation::Way::intercept: return "intercept";
    case Explanation::Way::tunnel: return "tunnel";
    case Explanation::Way::base_url: return "base_url";
    }
    return "";
}

std::string upstream_of(const Explanation& explanation, const Destination& destination) {
    if (explanation.way == Explanation::Way::tunnel) return destination.authority.text();
    return std::string(name_of(destination.scheme)) + "://" + destination.authority.text(destination.scheme) +
           destination.prefix + explanation.path;
}

std::string place_of(const std::string& file, int line) {
    return line > 0 && !file.empty() ? file + ':' + std::to_string(line) : std::string();
}
std::string place_of(const std::optional<PolicyPlace>& place) {
    return place ? place_of(place->file, place->line) : std::string();
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

/// What of resilience concerns this request.
struct Effective {
    const RetrySpec& retry;
    const IdempotencySpec& idempotency;
    std::vector<const LimitSpec*> limits;

    explicit Effective(const Explanation& explanation)
        : retry(explanation.route ? explanation.route->retry : explanation.vendor->retry),
          idempotency(explanation.route ? explanation.route->idempotency : explanation.vendor->idempotency) {
        for (const LimitSpec& limit : explanation.vendor->limits) limits.push_back(&limit);
        if (!explanation.route) return;
        for (const LimitSpec& limit : explanation.route->limits) limits.push_back(&limit);
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

std::string retries_in_words(const Explanation& explanation, const Effective& effective) {
    const Vendor& vendor = *explanation.vendor;
    const RetrySpec& retry = effective.retry;
    const bool elsewhere = !explanation.next.empty() || vendor.fallback;
    if (retry.max == 0) return elsewhere ? "none; what could not be sent goes on elsewhere" : "none";
    const boost::json::object words = describe(retry);
    const std::string on = in_words(words.at("on"));
    std::string text = "up to " + std::to_string(retry.max) + " more on " + (on.empty() ? "nothing" : on) +
                       "; backoff " + in_words(words.at("backoff")) + ", budget " + in_words(words.at("budget")) +
                       ", buffer " + in_words(words.at("buffer"));
    const std::size_t keeps = explanation.route ? explanation.route->keeps : vendor.keeps;
    if (keeps != retry.buffer) text += " (" + format_size(keeps) + " are kept, for who else needs a body)";
    if (elsewhere) text += "; what could not be sent goes on elsewhere first";
    const std::string& method = explanation.method;
    if (!is_idempotent(method) && !effective.idempotency.generates(method))
        text += "; once sent, a " + method + " only with an " + effective.idempotency.header;
    return text;
}

std::string hedges_in_words(const Explanation& explanation, const HedgeSpec& hedge) {
    if (!is_idempotent(explanation.method)) return "none: a " + explanation.method + " is not idempotent";
    return "up to " + std::to_string(hedge.max) + " more after " + text_of(hedge);
}

std::string describe_in_words(const BreakerSpec& breaker) {
    if (!breaker.enabled) return "none";
    const boost::json::object words = describe(breaker);
    const auto word = [&](std::string_view name) { return in_words(words.at(name)); };
    return "opens on " + word("consecutive") + " failures in a row, or, of at least " + word("min_requests") + " in " +
           word("window") + ", on " + word("failure_rate") + " failed or " + word("slow_rate") + " slower than " +
           word("slow_after") + "; for " + word("open_for") + ", then " + word("probes") +
           " probes, and calls are let back in at their normal rate";
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
    if (limit.learn) parts.push_back("slowed down by what the vendor says");
    if (!limit.per_header.empty()) parts.push_back("for each " + limit.per_header);
    if (limit.wait == Duration{})
        parts.push_back("no waiting");
    else
        parts.push_back("waits up to " + format_duration(limit.wait) +
                        (limit.priority_header.empty() ? "" : " by " + limit.priority_header));
    return limit.name + ": " + joined(parts);
}

std::string in_words(const ChaosFault& fault) {
    std::string text = fault.text;
    if (fault.rate < 1) text += " in " + format_percent(fault.rate);
    if (fault.first > 0) text += ", the first " + std::to_string(fault.first);
    if (!fault.header.empty()) text += " with " + fault.header + (fault.value.empty() ? "" : ": " + fault.value);
    return text;
}

/// Those faults that a request of this route can have.
std::string chaos_in_words(const Explanation& explanation) {
    const ChaosSpec& chaos = explanation.vendor->chaos;
    if (!chaos.enabled) return "off";
    std::string text;
    for (const ChaosFault& fault : chaos.inject)
        if (fault.route.empty() || (explanation.route && explanation.route->name == fault.route))
            text += (text.empty() ? "ON: " : "; ") + in_words(fault);
    if (text.empty()) return "on, but none of its faults is for this route";
    return text + "; stops above " + format_percent(chaos.abort_above) + " failures";
}

/// Who may ask for this, where the policy has `clients`.
std::vector<const ClientSpec*> clients_of(const Explanation& explanation) {
    std::vector<const ClientSpec*> out;
    for (const ClientSpec& client : explanation.config->clients)
        if (client.may_use(*explanation.vendor)) out.push_back(&client);
    return out;
}

std::string stand_in_in_words(const Explanation& explanation) {
    const Explanation::StandIn& other = *explanation.stand_in;
    const Destination& to = other.destination;
    std::string text = other.vendor->name + ": ";
    if (!other.obstacle.empty()) return text + "it cannot have this request: " + other.obstacle;
    text += std::string(name_of(to.scheme)) + "://" + to.authority.text(to.scheme) + to.prefix + other.path;
    text += other.credential ? ", credential " + other.credential->name : ", no credential";
    if (!is_idempotent(explanation.method)) text += "; not once the " + explanation.method + " was sent";
    return text + "; its own rules: sluice explain " + explanation.method + " /" + other.vendor->name + other.path;
}

/// Several places go below what they are of.
void print_line(Console& console, std::string_view label, std::string_view value, const std::string& place = {}) {
    console << "  " << console.paint(Colour::dim, label) << std::string(12 - label.size(), ' ') << value;
    const bool several = place.find("), ") != std::string::npos;
    if (!place.empty()) console << (several ? "\n              " : "  ") << console.paint(Colour::cyan, place);
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

namespace {

void print_verdict(Console& console, const Explanation& explanation) {
    const auto& refusal = explanation.refusal;
    if (!refusal) return print_line(console, "verdict", console.paint(Colour::green, "allowed"));
    const std::string what =
        "refused " + std::to_string(status_of(refusal->reason)) + ' ' + std::string(name_of(refusal->reason));
    print_line(console, "verdict", console.paint(Colour::red, what) + ": " + refusal->detail);
}

void print_vendor(Console& console, const Explanation& explanation) {
    const Vendor& vendor = *explanation.vendor;
    const std::string& file = vendor.file;
    const std::string by_host = explanation.host ? " (host " + explanation.host->text() + ")" : "";
    if (explanation.unmatched)
        print_line(console, "vendor", "none");
    else
        print_line(console, "vendor", vendor.name + by_host, place_of(file, vendor.line));
    if (!explanation.config->clients.empty()) {
        std::string names, lines;
        for (const ClientSpec* client : clients_of(explanation)) {
            names += (names.empty() ? "" : ", ") + client->name;
            const auto place = explanation.places->find({"clients", client->name, "vendors"});
            lines += (lines.empty() ? "" : ", ") + place_of(place) + " (" + client->name + ")";
        }
        if (names.empty())
            print_line(console, "clients", console.paint(Colour::red, "none of the policy's clients may ask for it"));
        else
            print_line(console, "clients", "only " + names, lines);
    }
    if (explanation.rule) {
        print_line(console, "rule", (explanation.denied ? "deny " : "allow ") + quoted(explanation.rule->text),
                   place_of(file, explanation.rule->line));
    } else if (explanation.refusal && explanation.refusal->reason == Reason::not_allowed &&
               !vendor.access.allow.empty()) {
        const auto place = explanation.places->find({"vendors", vendor.name, "allow"});
        print_line(console, "rule", "none of `allow` matches", place_of(place));
    }
    if (explanation.route)
        print_line(console, "route", explanation.route->name, place_of(file, explanation.route->line));
}

void print_upstream(Console& console, const Explanation& explanation, const ExplainLines& lines) {
    const Vendor& vendor = *explanation.vendor;
    const auto place = [&](std::size_t i) { return place_of(lines.of_vendor({"endpoints", std::to_string(i)})); };
    print_line(console, "upstream", upstream_of(explanation, *explanation.destination), place(0));
    for (std::size_t i = 0; i < explanation.next.size(); ++i) {
        const Explanation::Endpoint& next = explanation.next[i];
        const std::string obstacle = next.obstacle.empty() ? "" : " (not dialled: " + next.obstacle + ")";
        print_line(console, "then", upstream_of(explanation, next.destination) + obstacle, place(i + 1));
    }
    if (explanation.destination->scheme != Scheme::https || explanation.way == Explanation::Way::tunnel) return;
    std::string tls = describe_in_words(vendor.tls);
    if (vendor.certificate)
        tls += ", client certificate " +
               std::get<MtlsSpec>(explanation.config->spec_at(*vendor.certificate).kind).cert.text();
    print_line(console, "tls", tls, place_of(lines.of_vendor({"tls"})));
}

void print_credential(Console& console, const Explanation& explanation, const ExplainLines& lines) {
    const CredentialSpec* spec = explanation.credential;
    if (!spec) {
        const bool tunnel = explanation.way == Explanation::Way::tunnel || explanation.vendor->mode == Mode::tunnel;
        if (!explanation.refusal)
            print_line(console, "credential",
                       tunnel ? "none" : "none: what the application itself sends of one goes on as it is");
        return;
    }
    print_line(console, "credential", spec->name + ": " + std::string(spec->type()) + ", " + describe(*spec),
               place_of(spec->file, spec->line));
    print_line(console, "scrub", in_words(explanation.vendor->scrub), place_of(lines.of_vendor({"scrub"})));
}

void print_resilience(Console& console, const Explanation& explanation, const ExplainLines& lines) {
    const Vendor& vendor = *explanation.vendor;
    const Effective effective(explanation);
    print_line(console, "retry", retries_in_words(explanation, effective), lines.retry().text());
    if (const auto& hedge = effective.retry.hedge)
        print_line(console, "hedge", hedges_in_words(explanation, *hedge), lines.hedge().text());
    if (effective.idempotency.generates(explanation.method))
        print_line(console, "idempotency", effective.idempotency.header + " is made where the application gives none",
                   lines.idempotency().text());
    print_line(console, "breaker", describe_in_words(vendor.breaker), lines.breaker().text());
    const std::vector<DecidingLines> of_limits = lines.limits();
    for (std::size_t i = 0; i < effective.limits.size(); ++i)
        print_line(console, "limit", describe_in_words(*effective.limits[i]), of_limits[i].text());
    if (effective.limits.empty()) print_line(console, "limit", "none");
    if (explanation.stand_in)
        print_line(console, "fallback", stand_in_in_words(explanation), place_of(lines.of_vendor({"fallback"})));
    if (!vendor.chaos.inject.empty()) {
        const std::string text = chaos_in_words(explanation);
        print_line(console, "chaos", vendor.chaos.enabled ? console.paint(Colour::red, text) : text,
                   place_of(lines.of_vendor(vendor.chaos.enabled ? PolicyPlaces::Path{"chaos"}
                                                                 : PolicyPlaces::Path{"chaos", "enabled"})));
    }
}

}  // namespace

void print_explanation(Console& console, const Explanation& explanation) {
    console << console.paint(Colour::bold, explanation.method + ' ' + explanation.url) << "\n";
    print_verdict(console, explanation);
    if (explanation.unmatched) {
        const Config& config = *explanation.config;
        const std::string place = place_of(config.unmatched_vendor.file, config.unmatched_vendor.line);
        print_line(console, "unmatched", word_of(config.unmatched), place.empty() ? "the built-in default" : place);
    }
    if (!explanation.vendor) return;
    const bool refused = explanation.refusal.has_value();
    if (!refused) print_line(console, "way", way_in_words(explanation));
    print_vendor(console, explanation);
    const ExplainLines lines(explanation);
    if (explanation.destination) {
        print_upstream(console, explanation, lines);
        print_credential(console, explanation, lines);
    }
    if (refused) return;
    print_line(console, "timeouts", timeouts_in_words(explanation), lines.timeouts(timeouts_of(explanation)).text());
    if (explanation.destination) print_resilience(console, explanation, lines);
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
    if (explanation.destination) out["upstream"] = upstream_of(explanation, *explanation.destination);
    if (!explanation.next.empty()) {
        boost::json::array next;
        for (const Explanation::Endpoint& endpoint : explanation.next)
            next.push_back(boost::json::string(upstream_of(explanation, endpoint.destination)));
        out["then"] = std::move(next);
    }
    if (!explanation.config->clients.empty()) {
        boost::json::array names;
        for (const ClientSpec* client : clients_of(explanation)) names.push_back(boost::json::string(client->name));
        out["clients"] = std::move(names);
    }
    if (const CredentialSpec* spec = explanation.credential) {
        out["credential"] = placed({{"name", spec->name}, {"type", spec->type()}}, spec->file, spec->line);
        const std::string scrub(in_words(vendor.scrub));
        out["scrub"] = scrub.substr(0, scrub.find(':'));
    }
    const ExplainLines lines(explanation);
    const auto put = [&](std::string_view name, boost::json::object object, const DecidingLines& places) {
        places.add_to(object);
        out[name] = std::move(object);
    };
    const auto put_at = [&](std::string_view name, boost::json::object object) {
        if (const auto place = lines.of_vendor({std::string(name)}))
            object["place"] = place_as_json(place->file, place->line);
        out[name] = std::move(object);
    };
    put("timeout", timeouts_as_json(explanation), lines.timeouts(timeouts_of(explanation)));
    if (!explanation.destination) return out;
    const Effective effective(explanation);
    put("retry", describe(effective.retry), lines.retry());
    if (effective.retry.hedge) put("hedge", describe(*effective.retry.hedge), lines.hedge());
    put("idempotency", describe(effective.idempotency), lines.idempotency());
    put("breaker", describe(vendor.breaker), lines.breaker());
    boost::json::array limits;
    const std::vector<DecidingLines> of_limits = lines.limits();
    for (std::size_t i = 0; i < effective.limits.size(); ++i) {
        boost::json::object limit = describe(*effective.limits[i]);
        of_limits[i].add_to(limit);
        limits.push_back(std::move(limit));
    }
    out["limit"] = std::move(limits);
    if (explanation.stand_in) {
        boost::json::object fallback = describe(*vendor.fallback, *explanation.config);
        fallback["path"] = explanation.stand_in->path;
        if (!explanation.stand_in->obstacle.empty()) fallback["obstacle"] = explanation.stand_in->obstacle;
        put_at("fallback", std::move(fallback));
    }
    if (vendor.chaos.enabled) put_at("chaos", describe(vendor.chaos));
    return out;
}

}  // namespace sluice
