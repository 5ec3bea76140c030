#include "proxy/app/explain_lines.hpp"

#include <algorithm>

#include "proxy/base/text.hpp"

namespace sluice {
namespace {

using Path = PolicyPlaces::Path;

Path below(Path path, const Path& more) {
    path.insert(path.end(), more.begin(), more.end());
    return path;
}

std::string text_of(const PolicyPlace& place) {
    return place.file + ':' + std::to_string(place.line);
}

boost::json::object as_json(const PolicyPlace& place) {
    return {{"file", place.file}, {"line", place.line}};
}

/// `+429` changes what is inherited, so that the line before has its say too.
bool is_edit(const std::string& word) {
    return word.starts_with('+') || word.starts_with('-');
}

}  // namespace

std::string DecidingLines::text() const {
    std::vector<std::pair<PolicyPlace, Path>> lines;
    for (const auto& [key, place] : keys) {
        auto line = std::find_if(lines.begin(), lines.end(), [&](const auto& known) { return known.first == place; });
        if (line == lines.end()) line = lines.insert(line, {place, {}});
        line->second.push_back(key);
    }
    if (complete && (lines.empty() || lines.size() == 1))
        return lines.empty() ? (nearest ? text_of(*nearest) : "") : text_of(lines.front().first);
    std::string out;
    for (const auto& [place, of] : lines)
        out.append(out.empty() ? "" : ", ").append(text_of(place)).append(" (").append(joined(of, ", ")).append(")");
    return out;
}

void DecidingLines::add_to(boost::json::object& out) const {
    if (nearest) out["place"] = as_json(*nearest);
    boost::json::object places;
    for (const auto& [key, place] : keys)
        if (!places.contains(key)) places[key] = as_json(place);
    if (!places.empty()) out["places"] = std::move(places);
}

ExplainLines::ExplainLines(const Explanation& explanation) : explanation_(explanation), places_(*explanation.places) {
    if (!explanation.vendor || explanation.unmatched) return;
    vendor_ = Path{"vendors", explanation.vendor->name};
    if (explanation.route) route_ = below(*vendor_, {"routes", std::to_string(explanation.route->index)});
}

std::vector<Path> ExplainLines::levels(const std::string& map) const {
    std::vector<Path> out;
    if (route_) out.push_back(below(*route_, {map}));
    if (vendor_) out.push_back(below(*vendor_, {map}));
    out.push_back({"defaults", map});
    return out;
}

DecidingLines ExplainLines::decide(const std::vector<Path>& levels, const Keys& keys) const {
    DecidingLines lines;
    lines.complete = true;
    for (const Path& key : keys) {
        bool written = false;
        for (const Path& level : levels) {
            const auto place = places_.find(below(level, key));
            if (!place) continue;
            written = true;
            lines.keys.emplace_back(joined(key, "."), *place);
            if (!is_edit(places_.text(below(below(level, key), {"0"})))) break;
        }
        lines.complete = lines.complete && written;
    }
    for (const Path& level : levels)
        if (!lines.nearest) lines.nearest = places_.find(level);
    return lines;
}

/// A phase that is cut to a nearer `total` has its time from there.
DecidingLines ExplainLines::timeouts(const std::vector<std::pair<std::string_view, Duration>>& told) const {
    const std::vector<Path> all = levels("timeout");
    DecidingLines lines = decide(all, {});
    const Duration total = explanation_.timeout.total;
    for (const auto& [name, time] : told) {
        if (name == "idle" && time != explanation_.timeout.idle) continue;  // of a tunnel, longer than what is written
        for (const Path& level : all) {
            auto place = places_.find(below(level, {std::string(name)}));
            if (!place && time == total) place = places_.find(below(level, {"total"}));
            if (!place) continue;
            lines.keys.emplace_back(std::string(name), *place);
            break;
        }
    }
    lines.complete = lines.keys.size() == told.size();
    return lines;
}

DecidingLines ExplainLines::retry() const {
    if (!vendor_ || explanation_.vendor->mode == Mode::tunnel) return {};
    const RetrySpec& spec = explanation_.route ? explanation_.route->retry : explanation_.vendor->retry;
    if (spec.max == 0) return decide(levels("retry"), {{"max"}});
    return decide(levels("retry"), {{"max"}, {"on"}, {"backoff"}, {"budget"}, {"buffer"}});
}

DecidingLines ExplainLines::hedge() const {
    return vendor_ ? decide(levels("hedge"), {{"after"}, {"max"}}) : DecidingLines{};
}

DecidingLines ExplainLines::idempotency() const {
    return vendor_ ? decide(levels("idempotency"), {{"header"}, {"generate"}}) : DecidingLines{};
}

DecidingLines ExplainLines::breaker() const {
    if (!vendor_) return {};
    const std::vector<Path> of{below(*vendor_, {"breaker"}), {"defaults", "breaker"}};
    if (!explanation_.vendor->breaker.enabled) return decide(of, {{"enabled"}});
    return decide(of, {{"consecutive"},
                       {"min_requests"},
                       {"window"},
                       {"failure_rate"},
                       {"slow_rate"},
                       {"slow_after"},
                       {"open_for"},
                       {"probes"}});
}

DecidingLines ExplainLines::limit(const std::vector<Path>& levels) const {
    DecidingLines lines = decide(levels, {{"rate"}});
    // A rate that is written anew begins with a burst of its own.
    for (const Path& level : levels) {
        const auto burst = places_.find(below(level, {"burst"}));
        if (burst) lines.keys.emplace_back("burst", *burst);
        if (burst || places_.find(below(level, {"rate"}))) break;
    }
    DecidingLines rest = decide(
        levels, {{"concurrency"}, {"tokens"}, {"learn"}, {"per"}, {"when_full", "wait"}, {"when_full", "priority"}});
    lines.keys.insert(lines.keys.end(), rest.keys.begin(), rest.keys.end());
    lines.complete = false;
    return lines;
}

/// One map, or a list of them.
std::vector<Path> ExplainLines::entries(const Path& limit) const {
    const auto count = places_.items(limit);
    if (!count) return {limit};
    std::vector<Path> out;
    for (std::size_t i = 0; i < *count; ++i) out.push_back(below(limit, {std::to_string(i)}));
    return out;
}

/// As config/inherit makes them: one map over the defaults; else entries that inherit nothing, and what the defaults
/// limit beside them.
std::vector<DecidingLines> ExplainLines::vendor_limits() const {
    const std::size_t count = explanation_.vendor->limits.size();
    const Path own = below(*vendor_, {"limit"}), inherited{"defaults", "limit"};
    std::vector<DecidingLines> out;
    std::vector<Path> written;
    if (places_.find(own)) written = entries(own);
    if (written.size() == 1 && written.front() == own && !places_.find(below(own, {"per"})))
        return std::vector<DecidingLines>(count, limit({own, inherited}));
    // Of a tunnel's limits only rates are left.
    if (explanation_.vendor->mode == Mode::tunnel)
        std::erase_if(written, [&](const Path& entry) { return !places_.find(below(entry, {"rate"})); });
    for (std::size_t i = 0; i < count; ++i)
        if (i < written.size())
            out.push_back({{}, true, places_.find(written[i])});
        else
            out.push_back(limit({inherited}));
    return out;
}

std::vector<DecidingLines> ExplainLines::limits() const {
    if (!vendor_) return {};
    std::vector<DecidingLines> out = vendor_limits();
    if (!route_ || explanation_.route->limits.empty()) return out;
    for (const Path& entry : entries(below(*route_, {"limit"}))) out.push_back({{}, true, places_.find(entry)});
    return out;
}

std::optional<PolicyPlace> ExplainLines::of_vendor(const Path& path) const {
    return vendor_ ? places_.find(below(*vendor_, path)) : std::nullopt;
}

}  // namespace sluice
