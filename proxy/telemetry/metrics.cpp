#include "proxy/telemetry/metrics.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "proxy/policy/vendor_state.hpp"
#include "proxy/telemetry/live_families.hpp"

namespace sluice {

namespace {

constexpr std::string_view other = "_other";
constexpr std::string_view none = "_none";

// The IANA HTTP Method Registry, but for `*` and PRI, which no request may carry; the frequent ones first.
constexpr std::array<std::string_view, 40> methods{"GET",
                                                   "POST",
                                                   "PUT",
                                                   "DELETE",
                                                   "PATCH",
                                                   "HEAD",
                                                   "OPTIONS",
                                                   "CONNECT",
                                                   "TRACE",
                                                   "ACL",
                                                   "BASELINE-CONTROL",
                                                   "BIND",
                                                   "CHECKIN",
                                                   "CHECKOUT",
                                                   "COPY",
                                                   "LABEL",
                                                   "LINK",
                                                   "LOCK",
                                                   "MERGE",
                                                   "MKACTIVITY",
                                                   "MKCALENDAR",
                                                   "MKCOL",
                                                   "MKREDIRECTREF",
                                                   "MKWORKSPACE",
                                                   "MOVE",
                                                   "ORDERPATCH",
                                                   "PROPFIND",
                                                   "PROPPATCH",
                                                   "QUERY",
                                                   "REBIND",
                                                   "REPORT",
                                                   "SEARCH",
                                                   "UNBIND",
                                                   "UNCHECKOUT",
                                                   "UNLINK",
                                                   "UNLOCK",
                                                   "UPDATE",
                                                   "UPDATEREDIRECTREF",
                                                   "VERSION-CONTROL",
                                                   other};
constexpr unsigned other_method = methods.size() - 1;

unsigned index_of_method(std::string_view method) {
    for (unsigned i = 0; i < other_method; ++i) {
        if (methods[i] == method) return i;
    }
    return other_method;
}

// What tells one series of requests_total from another, but for the vendor, in one word.
struct RequestKey {
    static constexpr unsigned no_code = 0;        // the application saw no status
    static constexpr unsigned other_code = 1023;  // a status that is none

    std::uint32_t route;
    unsigned method, code;
    Outcome outcome;

    std::uint64_t packed() const {
        return std::uint64_t{route} << 32 | method << 16 | code << 4 | static_cast<unsigned>(outcome);
    }
    static RequestKey unpacked(std::uint64_t key) {
        return {static_cast<std::uint32_t>(key >> 32), static_cast<unsigned>(key >> 16 & 0xffff),
                static_cast<unsigned>(key >> 4 & 0xfff), static_cast<Outcome>(key & 0xf)};
    }
};

unsigned code_of(unsigned status) {
    if (status == 0) return RequestKey::no_code;
    return status >= 100 && status <= 599 ? status : RequestKey::other_code;
}

std::string code_label(unsigned code) {
    if (code == RequestKey::no_code) return std::string(none);
    return code == RequestKey::other_code ? std::string(other) : std::to_string(code);
}

constexpr std::size_t ok_result = 0, other_result = reason_count + 1, abandoned_result = reason_count + 2,
                      failed_result = reason_count + 3, throttled_result = reason_count + 4;

std::size_t index_of_result(std::string_view result) {
    if (result == "ok") return ok_result;
    if (result == "abandoned") return abandoned_result;
    if (result == "failed") return failed_result;
    if (result == "throttled") return throttled_result;
    for (std::size_t i = 0; i < reason_count; ++i) {
        if (name_of(static_cast<Reason>(i)) == result) return i + 1;
    }
    return other_result;
}

std::string_view result_label(std::size_t index) {
    if (index == ok_result) return "ok";
    if (index == abandoned_result) return "abandoned";
    if (index == failed_result) return "failed";
    if (index == throttled_result) return "throttled";
    return index == other_result ? other : name_of(static_cast<Reason>(index - 1));
}

}  // namespace

void TimeHistogram::observe(Duration time) {
    time = std::max(time, Duration::zero());
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), time) - bounds.begin();
    counts[static_cast<std::size_t>(bucket)].add(1);
    nanoseconds.add(static_cast<std::uint64_t>(time.count()));
}

VendorSeries::VendorSeries(std::string vendor, std::size_t workers) : name(std::move(vendor)), parts(workers) {}

VendorSeries::~VendorSeries() {
    for (auto& part : parts) delete part.load();
}

bool VendorSeries::busy() const {
    return std::any_of(parts.begin(), parts.end(), [](const auto& slot) {
        const VendorMeters* part = slot.load(std::memory_order_acquire);
        return part != nullptr && (part->inflight.get() != 0 || part->active.get() != 0 || part->idle.get() != 0);
    });
}

VendorMeters& WorkerMeters::of(VendorSeries* vendor) {
    auto& slot = (vendor ? *vendor : other_).parts[worker_];
    VendorMeters* meters = slot.load(std::memory_order_relaxed);
    if (meters == nullptr) {
        meters = new VendorMeters;
        slot.store(meters, std::memory_order_release);
    }
    return *meters;
}

namespace {

// The node of that name; where it has none, or there are too many, that of `_other`.
template <class Node>
Node& node_of(Chain<Node>& chain, VendorMeters::ByName<Node>& by_name, std::string_view name) {
    auto known = by_name.find(name);
    if (known == by_name.end() && (name.empty() || by_name.size() >= WorkerMeters::max_names)) {
        name = other;
        known = by_name.find(name);
    }
    if (known == by_name.end()) {
        auto made = std::make_unique<Node>();
        made->name = std::string(name);
        Node& node = chain.add(std::move(made));
        known = by_name.emplace(node.name, &node).first;
    }
    return *known->second;
}

}  // namespace

VendorMeters::Endpoint& WorkerMeters::endpoint_of(const Vendor& vendor, std::string_view endpoint) {
    VendorMeters& meters = of(vendor.series.get());
    return node_of(meters.endpoints, meters.endpoint_by_name, endpoint);
}

void WorkerMeters::attempted(const Vendor& vendor, std::string_view endpoint, std::string_view result,
                             std::optional<Duration> first_byte) {
    endpoint_of(vendor, endpoint).by_result[index_of_result(result)].add(1);
    if (first_byte) of(vendor.series.get()).first_byte.observe(*first_byte);
}

void WorkerMeters::carried(const Vendor& vendor, const Traffic& traffic) {
    VendorMeters& meters = of(vendor.series.get());
    meters.to_vendor.add(traffic.to_vendor);
    meters.from_vendor.add(traffic.from_vendor);
}

void WorkerMeters::moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) {
    endpoint_of(vendor, endpoint).moved_to[static_cast<std::size_t>(to)].add(1);
}

void WorkerMeters::used_tokens(const Vendor& vendor, std::uint64_t prompt, std::uint64_t completion) {
    VendorMeters& meters = of(vendor.series.get());
    meters.prompt_tokens.add(prompt);
    meters.completion_tokens.add(completion);
}

void WorkerMeters::injected(const Vendor& vendor, std::string_view fault) {
    VendorMeters& meters = of(vendor.series.get());
    node_of(meters.faults, meters.fault_by_name, fault).injected.add(1);
}

void WorkerMeters::record(const ExchangeRecord& record) {
    VendorMeters& meters = of(record.vendor ? record.vendor->series.get() : nullptr);
    const std::size_t route = record.route ? record.route->series : VendorSeries::no_route;

    requests_of(meters, route, record).count.add(1);
    if (meters.duration_by_route.size() <= route) meters.duration_by_route.resize(route + 1);
    auto& durations = meters.duration_by_route[route];
    if (durations == nullptr) {
        auto made = std::make_unique<VendorMeters::Durations>();
        made->route = route;
        durations = &meters.durations.add(std::move(made));
    }
    durations->histogram.observe(record.duration);
    if (record.reason) meters.rejected[static_cast<std::size_t>(*record.reason)].add(1);
    if (record.serving == nullptr) return;
    carried(*record.serving, record.traffic);
    if (record.scrubbed) of(record.serving->series.get()).scrubbed.add(record.scrubbed);
}

VendorMeters::Requests& WorkerMeters::requests_of(VendorMeters& meters, std::size_t route,
                                                  const ExchangeRecord& record) {
    RequestKey key{static_cast<std::uint32_t>(route), index_of_method(record.method), code_of(record.status),
                   record.outcome};
    if (meters.last_request != nullptr && meters.last_request->key == key.packed()) return *meters.last_request;
    auto known = meters.request_by_key.find(key.packed());
    if (known == meters.request_by_key.end() && meters.request_by_key.size() >= max_request_series) {
        key.method = other_method;
        key.code = RequestKey::other_code;
        known = meters.request_by_key.find(key.packed());
    }
    if (known == meters.request_by_key.end()) {
        auto made = std::make_unique<VendorMeters::Requests>();
        made->key = key.packed();
        known = meters.request_by_key.emplace(key.packed(), &meters.requests.add(std::move(made))).first;
    }
    return *(meters.last_request = known->second);
}

void WorkerMeters::connections_moved(VendorSeries* vendor, int active, int idle) {
    VendorMeters& meters = of(vendor);
    meters.active.add(active);
    meters.idle.add(idle);
}

void WorkerMeters::handshaken(const Vendor& vendor, bool resumed) {
    VendorMeters& meters = of(vendor.series.get());
    (resumed ? meters.handshakes_resumed : meters.handshakes_full).add(1);
}

namespace {

// One vendor's meters of all workers that have any.
struct VendorView {
    VendorView(const VendorSeries& series, const VendorState* alive)
        : name(series.name), routes(series.routes), live(alive) {
        for (const auto& slot : series.parts) {
            if (const VendorMeters* part = slot.load(std::memory_order_acquire)) parts.push_back(part);
        }
    }

    std::string_view name;
    const std::vector<std::string>& routes;
    const VendorState* live;  // null: of no policy in force
    std::vector<const VendorMeters*> parts;

    std::string_view route(std::size_t index) const {
        return routes[index < routes.size() ? index : VendorSeries::other_route];
    }
    template <class Read>
    auto sum(Read read) const {
        decltype(read(*parts.front()).get()) total = 0;
        for (const VendorMeters* part : parts) total += read(*part).get();
        return static_cast<double>(total);
    }
};

// A histogram summed over workers.
struct HistogramSum {
    std::array<std::uint64_t, TimeHistogram::bounds.size() + 1> counts{};
    std::uint64_t nanoseconds = 0;

    void add(const TimeHistogram& histogram) {
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += histogram.counts[i].get();
        nanoseconds += histogram.nanoseconds.get();
    }
    // `_count` is made from the buckets that were read, so that it always equals the one of +Inf.
    void write(ClientMetric::Histogram& to) const {
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < TimeHistogram::bounds.size(); ++i) {
            below += counts[i];
            to.bucket.push_back({below, std::chrono::duration<double>(TimeHistogram::bounds[i]).count()});
        }
        to.sample_count = below + counts.back();
        to.sample_sum = static_cast<double>(nanoseconds) / 1e9;
    }
    bool empty() const {
        return std::all_of(counts.begin(), counts.end(), [](std::uint64_t count) { return count == 0; });
    }
};

// Sums below go by the labels' text, not by index: two routes of one name are one series, or Prometheus refuses the
// scrape.

MetricFamily requests_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_requests_total",
                        "Exchanges that ended, by the status that the application saw.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        std::map<std::tuple<std::string_view, unsigned, unsigned, Outcome>, std::uint64_t> sums;
        for (const VendorMeters* part : vendor.parts) {
            for (auto* node = part->requests.first(); node != nullptr; node = node->next) {
                const RequestKey key = RequestKey::unpacked(node->key);
                sums[{vendor.route(key.route), key.method, key.code, key.outcome}] += node->count.get();
            }
        }
        for (const auto& [key, count] : sums) {
            const auto& [route, method, code, outcome] = key;
            add_counter(family,
                        {{"vendor", vendor.name},
                         {"route", route},
                         {"method", methods[method]},
                         {"code", code_label(code)},
                         {"outcome", name_of(outcome)}},
                        static_cast<double>(count));
        }
    }
    return family;
}

MetricFamily durations_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_request_duration_seconds",
                        "From the head of the request to the last byte of the answer; tunnels to their end.",
                        MetricType::Histogram,
                        {}};
    for (const VendorView& vendor : vendors) {
        std::map<std::string_view, HistogramSum> sums;
        for (const VendorMeters* part : vendor.parts) {
            for (auto* node = part->durations.first(); node != nullptr; node = node->next)
                sums[vendor.route(node->route)].add(node->histogram);
        }
        for (const auto& [route, sum] : sums)
            sum.write(add_series(family, {{"vendor", vendor.name}, {"route", route}}).histogram);
    }
    return family;
}

MetricFamily histogram_family(const char* name, const char* help, TimeHistogram VendorMeters::*member,
                              const std::vector<VendorView>& vendors) {
    MetricFamily family{name, help, MetricType::Histogram, {}};
    for (const VendorView& vendor : vendors) {
        HistogramSum sum;
        for (const VendorMeters* part : vendor.parts) sum.add(part->*member);
        if (!sum.empty()) sum.write(add_series(family, {{"vendor", vendor.name}}).histogram);
    }
    return family;
}

MetricFamily attempts_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_attempts_total",
                        "Tries at an endpoint, by how they ended: ok, failed or throttled (an answer that says so), abandoned "
                        "(nobody waited for it any more), or the reason why there was no answer.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        std::map<std::pair<std::string_view, std::string_view>, std::uint64_t> sums;
        for (const VendorMeters* part : vendor.parts) {
            for (auto* node = part->endpoints.first(); node != nullptr; node = node->next) {
                for (std::size_t i = 0; i < node->by_result.size(); ++i) {
                    if (const std::uint64_t count = node->by_result[i].get())
                        sums[{node->name, result_label(i)}] += count;
                }
            }
        }
        for (const auto& [key, count] : sums)
            add_counter(family, {{"vendor", vendor.name}, {"endpoint", key.first}, {"result", key.second}},
                        static_cast<double>(count));
    }
    return family;
}

// Counted by name like everything else, not by the breaker: a reload that makes it anew takes nothing back.
MetricFamily transitions_family(const std::vector<VendorView>& vendors) {
    constexpr std::array states{Breaker::State::closed, Breaker::State::open, Breaker::State::half_open};
    MetricFamily family{"sluice_breaker_transitions_total",
                        "How often the breaker of an endpoint moved to a state, by itself or by hand.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        std::map<std::string_view, std::array<std::uint64_t, states.size()>> sums;
        if (vendor.live)
            for (const VendorState::LiveBreaker& breaker : vendor.live->breakers) sums[breaker.of] = {};
        for (const VendorMeters* part : vendor.parts) {
            for (auto* node = part->endpoints.first(); node != nullptr; node = node->next) {
                for (std::size_t i = 0; i < states.size(); ++i) {
                    if (const std::uint64_t count = node->moved_to[i].get()) sums[node->name][i] += count;
                }
            }
        }
        for (const auto& [endpoint, counts] : sums) {
            for (const Breaker::State state : states) {
                add_counter(family, {{"vendor", vendor.name}, {"endpoint", endpoint}, {"state", name_of(state)}},
                            static_cast<double>(counts[static_cast<std::size_t>(state)]));
            }
        }
    }
    return family;
}

MetricFamily faults_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_chaos_injected_total",
                        "Faults that were injected on purpose, by the fault as the policy writes it.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        std::map<std::string_view, std::uint64_t> sums;
        if (vendor.live && vendor.live->chaos_spec.enabled)
            for (const ChaosFault& fault : vendor.live->chaos_spec.inject) sums[fault.text] = 0;
        for (const VendorMeters* part : vendor.parts) {
            for (auto* node = part->faults.first(); node != nullptr; node = node->next)
                sums[node->name] += node->injected.get();
        }
        for (const auto& [fault, count] : sums)
            add_counter(family, {{"vendor", vendor.name}, {"fault", fault}}, static_cast<double>(count));
    }
    return family;
}

bool counts_tokens(const VendorState* live) {
    return live && std::any_of(live->limits.begin(), live->limits.end(),
                               [](const auto& limit) { return limit->spec.tokens.has_value(); });
}

MetricFamily tokens_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_tokens_total",
                        "Tokens that vendors say their answers cost, of vendors with a limit of tokens.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        const double prompt = vendor.sum([](const VendorMeters& part) -> auto& { return part.prompt_tokens; });
        const double completion = vendor.sum([](const VendorMeters& part) -> auto& { return part.completion_tokens; });
        if (prompt == 0 && completion == 0 && !counts_tokens(vendor.live)) continue;
        add_counter(family, {{"vendor", vendor.name}, {"direction", "prompt"}}, prompt);
        add_counter(family, {{"vendor", vendor.name}, {"direction", "completion"}}, completion);
    }
    return family;
}

MetricFamily rejected_family(const std::vector<VendorView>& vendors) {
    MetricFamily family{"sluice_rejected_total",
                        "Exchanges that Sluice answered itself or cut short, by reason.",
                        MetricType::Counter,
                        {}};
    for (const VendorView& vendor : vendors) {
        for (std::size_t i = 0; i < reason_count; ++i) {
            const double count = vendor.sum([i](const VendorMeters& part) -> auto& { return part.rejected[i]; });
            if (count == 0) continue;
            add_counter(family, {{"vendor", vendor.name}, {"reason", name_of(static_cast<Reason>(i))}}, count);
        }
    }
    return family;
}

// A family whose values are always there: `kind` is the name of its second label ("" for none).
struct PlainValue {
    std::string_view label;
    double (*read)(const VendorView&);
};
MetricFamily plain_family(MetricFamily family, const char* label, std::initializer_list<PlainValue> values,
                          const std::vector<VendorView>& vendors) {
    const bool gauge = family.type == MetricType::Gauge;
    for (const VendorView& vendor : vendors) {
        for (const PlainValue& value : values) {
            ClientMetric& series = add_series(family, {{"vendor", vendor.name}});
            if (!value.label.empty()) series.label.push_back({label, std::string(value.label)});
            (gauge ? series.gauge.value : series.counter.value) = value.read(vendor);
        }
    }
    return family;
}

template <auto Member>
double sum_of(const VendorView& vendor) {
    return vendor.sum([](const VendorMeters& part) -> auto& { return part.*Member; });
}

void add_vendor_families(Exposition& out, const std::vector<VendorView>& vendors) {
    out.add(requests_family(vendors));
    out.add(durations_family(vendors));
    out.add(histogram_family("sluice_time_to_first_byte_seconds",
                             "From the request being sent to the head of the vendor's answer, of each attempt that had one.",
                             &VendorMeters::first_byte, vendors));
    out.add(histogram_family("sluice_limit_wait_seconds",
                             "Waits for a place under a limit, whether one was got or not.", &VendorMeters::wait,
                             vendors));
    out.add(attempts_family(vendors));
    out.add(transitions_family(vendors));
    out.add(faults_family(vendors));
    out.add(tokens_family(vendors));
    out.add(rejected_family(vendors));
    out.add(plain_family({"sluice_inflight", "Exchanges under way.", MetricType::Gauge, {}}, "",
                         {{"", sum_of<&VendorMeters::inflight>}}, vendors));
    out.add(plain_family({"sluice_upstream_connections",
                          "Connections to vendors, in use or kept for the next request.",
                          MetricType::Gauge,
                          {}},
                         "state", {{"active", sum_of<&VendorMeters::active>}, {"idle", sum_of<&VendorMeters::idle>}},
                         vendors));
    out.add(plain_family(
        {"sluice_upstream_handshakes_total",
         "TLS handshakes with vendors, by whether a session was resumed.",
         MetricType::Counter,
         {}},
        "resumed",
        {{"false", sum_of<&VendorMeters::handshakes_full>}, {"true", sum_of<&VendorMeters::handshakes_resumed>}},
        vendors));
    out.add(plain_family(
        {"sluice_bytes_total", "Bytes of bodies and tunnels with a vendor, by direction.", MetricType::Counter, {}}, "direction",
        {{"to_vendor", sum_of<&VendorMeters::to_vendor>}, {"from_vendor", sum_of<&VendorMeters::from_vendor>}},
        vendors));
    out.add(plain_family({"sluice_scrubbed_secrets_total",
                          "Secrets of a credential that were found in answers, and masked.",
                          MetricType::Counter,
                          {}},
                         "", {{"", sum_of<&VendorMeters::scrubbed>}}, vendors));
}

void add_process_families(Exposition& out, bool last_load_successful, WallTime loaded_at,
                          std::uint64_t log_lines_dropped) {
    const auto gauge = [&out](const char* name, const char* help, Labels labels, double value) {
        MetricFamily family{name, help, MetricType::Gauge, {}};
        add_gauge(family, labels, value);
        out.add(std::move(family));
    };
    gauge("sluice_config_last_reload_successful", "1 where the last policy that was read is the one in force.", {},
          last_load_successful ? 1 : 0);
    gauge("sluice_config_last_reload_success_timestamp_seconds",
          "When a policy was last read and found good: at the start, then by each reload that was not refused.", {},
          std::chrono::duration<double>(loaded_at.time_since_epoch()).count());
    gauge("sluice_build_info", "Always 1; the label says which Sluice this is.", {{"version", SLUICE_VERSION}}, 1);
    MetricFamily dropped{"sluice_log_dropped_total",
                         "Log lines that nobody read in time, or that could not be written.",
                         MetricType::Counter,
                         {}};
    add_counter(dropped, {}, static_cast<double>(log_lines_dropped));
    out.add(std::move(dropped));
}

}  // namespace

Metrics::Metrics(std::size_t workers)
    : most_workers_(workers),
      other_(std::make_shared<VendorSeries>(std::string(other), workers + 1)),
      operator_(workers, *other_) {}

Metrics::Series Metrics::series_of(const std::string& name) {
    if (const auto known = by_name_.find(name); known != by_name_.end()) return known->second;
    for (const auto& departed : departed_) {
        if (Series series = departed.lock(); series && series->name == name) return series;
    }
    return std::make_shared<VendorSeries>(name, most_workers_ + 1);
}

namespace {

// The number of a route's name among all that its vendor ever had.
std::size_t enrol_route(VendorSeries& vendor, const std::string& name) {
    if (const auto known = vendor.route_by_name.find(name); known != vendor.route_by_name.end()) return known->second;
    if (vendor.routes.size() >= VendorSeries::max_routes) return VendorSeries::other_route;
    vendor.routes.push_back(name);
    return vendor.route_by_name.emplace(name, vendor.routes.size() - 1).first->second;
}

}  // namespace

void Metrics::enrol(Config& config) {
    const std::lock_guard lock(mutex_);
    std::vector<Told> vendors;
    std::unordered_map<std::string, Series> by_name;
    for (Vendor& vendor : config.vendors) {
        vendor.series = series_of(vendor.name);
        vendors.push_back({vendor.series, vendor.live});
        by_name.emplace(vendor.name, vendor.series);
        for (Route& route : vendor.routes) route.series = enrol_route(*vendor.series, route.name);
    }
    config.unmatched_vendor.series = other_;
    other_live_ = config.unmatched_vendor.live;
    for (Told& before : vendors_) departed_.push_back(before.series);
    std::erase_if(departed_, [&by_name](const auto& weak) {
        const Series series = weak.lock();
        return !series || by_name.contains(series->name);
    });
    vendors_ = std::move(vendors);
    by_name_ = std::move(by_name);
}

void Metrics::loaded(bool successful, WallTime now) {
    const std::lock_guard lock(mutex_);
    last_load_successful_ = successful;
    if (successful) loaded_at_ = now;
}

WorkerMeters& Metrics::add_worker() {
    const std::lock_guard lock(mutex_);
    if (workers_.size() == most_workers_) throw std::logic_error("more workers than were told of");
    return *workers_.emplace_back(std::make_unique<WorkerMeters>(workers_.size(), *other_));
}

void Metrics::moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) {
    const std::lock_guard lock(mutex_);
    operator_.moved(vendor, endpoint, to);
}

std::string Metrics::scrape(std::uint64_t log_lines_dropped, TimePoint now) const {
    const std::lock_guard lock(mutex_);
    std::vector<Told> held = vendors_;
    for (const auto& departed : departed_) {
        if (Series series = departed.lock(); series && series->busy()) held.push_back({std::move(series), nullptr});
    }
    held.push_back({other_, other_live_});
    std::vector<VendorView> used;
    std::vector<LiveVendor> alive;
    for (const Told& told : held) {
        VendorView view(*told.series, told.live.get());
        if (told.live) alive.push_back({told.series->name, told.live.get(), !view.parts.empty()});
        if (!view.parts.empty()) used.push_back(std::move(view));
    }
    Exposition out;
    add_vendor_families(out, used);
    add_live_families(out, alive, now);
    add_process_families(out, last_load_successful_, loaded_at_, log_lines_dropped);
    return std::move(out).text();
}

}  // namespace sluice
