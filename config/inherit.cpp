#include "config/inherit.hpp"

#include <algorithm>

#include "config/source.hpp"
#include "proxy/base/text.hpp"

namespace sluice {
namespace {

void fault(FaultList& faults, const Node& node, std::string message) {
    faults.add(*node.file, node.at, std::move(message));
}

template <class V, class W>
void settle(V& into, const Maybe<W>& written) {
    if (written) into = written->value;
}

/// At most a month's worth: what a limit counts in must hold it.
bool too_long(const RateSpec& spec) {
    const double seconds = static_cast<double>(spec.burst) / static_cast<double>(spec.rate.count) *
                           static_cast<double>(spec.rate.per / 1s);
    return seconds > 30 * 24 * 3600.0;
}

std::uint64_t share_of_a_second(const Rate& rate) {
    return std::max<std::uint64_t>(1, rate.count / static_cast<std::uint64_t>(rate.per / 1s));
}

void settle_rate(LimitSpec& spec, const WrittenLimit& written, const std::string& path, FaultList& faults) {
    // A burst belongs to the rate beside it: a rate that is written anew begins with its own.
    if (written.rate) spec.rate = RateSpec{written.rate->value, share_of_a_second(written.rate->value)};
    if (written.burst && !spec.rate)
        return fault(
            faults, *written.burst->node,
            "a burst without a rate in " + path + ".burst: write `rate` as well, in this map or in the defaults");
    if (written.burst) spec.rate->burst = written.burst->value;
    if (spec.rate && too_long(*spec.rate)) {
        const Node& node = written.burst ? *written.burst->node : *written.rate->node;
        fault(faults, node,
              "a burst of " + std::to_string(spec.rate->burst) + " in " + path + " is more than its rate gives in 30d");
    }
}

void settle_tokens(LimitSpec& spec, const WrittenTokens& written, const std::string& path, FaultList& faults) {
    if (!written.rate) return;  // reported
    const Rate& rate = written.rate->value;
    spec.tokens = TokenSpec{{rate, written.burst ? written.burst->value : rate.count}};
    if (too_long(spec.tokens->rate))
        fault(faults, *written.burst->node,
              "a burst of " + std::to_string(spec.tokens->rate.burst) + " in " + path +
                  ".tokens.burst is more than its rate gives in 30d");
}

std::string indexed(const std::string& path, const WrittenLimits& limits, std::size_t i) {
    return limits.list ? path + "[" + std::to_string(i) + "]" : path;
}

std::vector<LimitSpec> read_list(WrittenLimits& limits, const std::string& path, FaultList& faults) {
    std::vector<LimitSpec> specs;
    for (std::size_t i = 0; i < limits.entries.size(); ++i) {
        auto& entry = limits.entries[i];
        const std::string here = indexed(path, limits, i);
        LimitSpec spec = inherit(LimitSpec{}, entry.value, *entry.node, here, faults);
        specs.push_back(std::move(spec));
    }
    return specs;
}

}  // namespace

Timeouts inherit(const Timeouts& built_in, std::initializer_list<const Maybe<WrittenTimeouts>*> maps) {
    Timeouts timeouts = built_in;
    const Maybe<WrittenTimeouts>* bounding = nullptr;  // has the nearest `total`
    for (const auto* map : maps) {
        if (!*map || !(*map)->value.total) continue;
        bounding = map;
        timeouts.total = (*map)->value.total->value;
        timeouts.total_written = true;
    }
    const auto settle_phase = [&](Duration& phase, Maybe<Duration> WrittenTimeouts::*key) {
        bool capped = bounding, within = false;
        for (const auto* map : maps) {
            within |= map == bounding;
            if (!*map || !((*map)->value.*key)) continue;
            phase = ((*map)->value.*key)->value;
            capped = bounding && !within;
        }
        if (capped) phase = std::min(phase, timeouts.total);
    };
    settle_phase(timeouts.connect, &WrittenTimeouts::connect);
    settle_phase(timeouts.tls, &WrittenTimeouts::tls);
    settle_phase(timeouts.first_byte, &WrittenTimeouts::first_byte);
    settle_phase(timeouts.idle, &WrittenTimeouts::idle);
    return timeouts;
}

BreakerSpec inherit(const BreakerSpec& from, const Maybe<WrittenBreaker>& written) {
    BreakerSpec spec = from;
    if (!written) return spec;
    const WrittenBreaker& own = written->value;
    settle(spec.enabled, own.enabled);
    settle(spec.failure_rate, own.failure_rate);
    settle(spec.consecutive, own.consecutive);
    settle(spec.slow_rate, own.slow_rate);
    settle(spec.slow_after, own.slow_after);
    settle(spec.window, own.window);
    settle(spec.min_requests, own.min_requests);
    settle(spec.probes, own.probes);
    if (own.open_for) {
        spec.open_min = own.open_for->value.least;
        spec.open_max = own.open_for->value.most;
    }
    return spec;
}

IdempotencySpec inherit(const IdempotencySpec& from, Maybe<WrittenIdempotency>& written) {
    IdempotencySpec spec = from;
    if (!written) return spec;
    if (written->value.header) spec.header = written->value.header->value;  // judged later, beside credentials
    if (written->value.generate) {
        spec.generate.clear();
        for (auto& method : written->value.generate->value) spec.generate.push_back(std::move(method.value));
    }
    return spec;
}

std::optional<HedgeSpec> inherit(const std::optional<HedgeSpec>& from, const Maybe<WrittenHedge>& written) {
    if (!written) return from;
    HedgeSpec spec = from.value_or(HedgeSpec{.quantile = 0.95});
    if (const auto& after = written->value.after) {
        spec.after = after->value.after;
        spec.quantile = after->value.quantile;
    }
    settle(spec.max, written->value.max);
    if (spec.max == 0) return {};
    return spec;
}

RetrySpec inherit(const RetrySpec& from, const Maybe<WrittenRetry>& written) {
    RetrySpec spec = from;
    if (!written) return spec;
    const WrittenRetry& own = written->value;
    settle(spec.max, own.max);
    if (own.on) {
        std::vector<std::string> words;
        for (const auto& word : own.on->value) words.push_back(word.value);
        std::string reported;  // where it stands, by the tables
        if (auto on = edited(from.on, words, reported)) spec.on = std::move(*on);
    }
    if (own.backoff) {
        spec.backoff_min = own.backoff->value.least;
        spec.backoff_max = own.backoff->value.most;
    }
    settle(spec.budget, own.budget);
    settle(spec.buffer, own.buffer);
    return spec;
}

LimitSpec inherit(const LimitSpec& from, WrittenLimit& written, const Node& node, const std::string& path,
                  FaultList& faults) {
    LimitSpec spec = from;
    take(spec.name, written.name);
    settle_rate(spec, written, path, faults);
    if (written.tokens) settle_tokens(spec, written.tokens->value, path, faults);
    if (written.concurrency) spec.seats = written.concurrency->value;
    settle(spec.learn, written.learn);
    take(spec.per_header, written.per);
    if (written.when_full) {
        settle(spec.wait, written.when_full->value.wait);
        take(spec.priority_header, written.when_full->value.priority);
    }
    if (!spec.rate && !spec.tokens && !spec.seats && !written.tokens && !written.burst)
        fault(faults, node, "nothing is limited in " + path + ": write `rate`, `concurrency` or `tokens`");
    return spec;
}

std::vector<LimitSpec> vendor_limits(const LimitSpec& from, Maybe<WrittenLimits>& written, const std::string& path,
                                     FaultList& faults) {
    if (!written) return {from};
    WrittenLimits& limits = written->value;
    const bool alone = !limits.list && !limits.entries.front().value.per;
    if (alone) return {inherit(from, limits.entries.front().value, *limits.entries.front().node, path, faults)};
    std::vector<LimitSpec> specs = read_list(limits, path, faults);
    LimitSpec rest = from;
    for (const LimitSpec& spec : specs) {
        if (!spec.per_header.empty() && spec.per_header != from.per_header) continue;
        if (spec.rate) rest.rate.reset();
        if (spec.tokens) rest.tokens.reset();
        if (spec.seats) rest.seats.reset();
    }
    if (rest.name.empty()) rest.name = "default";
    if (rest.rate || rest.tokens || rest.seats) specs.push_back(std::move(rest));
    return specs;
}

std::vector<LimitSpec> route_limits(Maybe<WrittenLimits>& written, const std::string& path, FaultList& faults) {
    if (!written) return {};
    return read_list(written->value, path, faults);
}

namespace {

HeaderEdits edits_of(Maybe<WrittenHeaderEdits>& written) {
    HeaderEdits edits;
    if (!written) return edits;
    const auto move_pairs = [](auto& into, auto& list) {
        if (!list) return;
        for (auto& named : list->value) into.emplace_back(std::move(named.name), std::move(named.value));
    };
    move_pairs(edits.rename, written->value.rename);
    move_pairs(edits.set, written->value.set);
    if (written->value.drop)
        for (auto& name : written->value.drop->value) edits.drop.push_back(std::move(name.value));
    return edits;
}

/// A name that was found wrong is reported, and no path.
JsonPath members_of(std::string_view text) {
    std::string reported;
    return parse_json_path(text, reported).value_or(JsonPath{});
}

JsonEdits edits_of(Maybe<WrittenJsonEdits>& written) {
    JsonEdits edits;
    if (!written) return edits;
    WrittenJsonEdits& own = written->value;
    if (own.rename)
        for (auto& named : own.rename->value) edits.rename.emplace_back(members_of(named.name), std::move(named.value));
    if (own.set)
        for (auto& named : own.set->value) edits.set.emplace_back(members_of(named.name), std::move(named.value));
    if (own.drop)
        for (auto& path : own.drop->value) edits.drop.push_back(std::move(path.value));
    take(edits.wrap, own.wrap);
    return edits;
}

ChaosFault fault_of(WrittenFault& written) {
    ChaosFault fault = std::move(written.fault->value);
    settle(fault.rate, written.rate);
    settle(fault.first, written.first);
    take(fault.route, written.route);
    if (written.header) {
        fault.header = std::move(written.header->value.name);
        fault.value = std::move(written.header->value.value);
    }
    return fault;
}

}  // namespace

std::optional<MtlsSpec> take_tls(TlsRules& tls, Maybe<WrittenTls>& written) {
    if (!written) return {};
    WrittenTls& own = written->value;
    take(tls.min, own.min);
    take(tls.ca_file, own.ca);
    if (own.pin)
        for (auto& pin : own.pin->value) tls.pins.push_back(std::move(pin.value));
    if (!own.client || !own.client->value.cert || !own.client->value.key) return {};  // what is missing was told of
    MtlsSpec pair;
    take(pair.cert, own.client->value.cert);
    take(pair.key, own.client->value.key);
    if (!pair.in_files()) return pair;
    tls.client_cert_file = std::move(pair.cert.name);
    tls.client_key_file = std::move(pair.key.name);
    return {};
}

RewriteSpec rewrite_of(Maybe<WrittenRewrite>& written) {
    RewriteSpec spec;
    if (!written) return spec;
    WrittenRewrite& own = written->value;
    if (own.path)
        for (auto& named : own.path->value) spec.path.push_back({std::move(named.name), std::move(named.value)});
    if (own.request) {
        spec.request_headers = edits_of(own.request->value.headers);
        spec.request_body = edits_of(own.request->value.body);
    }
    if (own.response) {
        spec.response_headers = edits_of(own.response->value.headers);
        spec.response_body = edits_of(own.response->value.body);
    }
    return spec;
}

ChaosSpec chaos_of(Maybe<WrittenChaos>& written) {
    ChaosSpec spec;
    if (!written) return spec;
    WrittenChaos& own = written->value;
    settle(spec.enabled, own.enabled);
    if (own.inject)
        for (auto& fault : own.inject->value)
            if (fault.value.fault) spec.inject.push_back(fault_of(fault.value));
    settle(spec.seed, own.seed);
    settle(spec.abort_above, own.abort_above);
    return spec;
}

}  // namespace sluice
