#include "proxy/exchange/run_exchange.hpp"

#include "proxy/base/text.hpp"
#include "proxy/exchange/attempt.hpp"
#include "proxy/exchange/reply.hpp"

namespace sluice {

namespace {

// Metrics and log: exactly one, on every path.
class Record {
  public:
    Record(Core& core, Exchange& ex) : core_(core), ex_(ex) {
        ex.phases.started = Core::now();
        core.draw_request_id(ex.request_id);
    }
    void found(const Vendor& vendor) {
        began_ = &vendor;
        core_.journal.began(vendor);
    }
    ~Record() {
        if (began_) core_.journal.ended(*began_);
        ExchangeRecord record;
        record.vendor = ex_.vendor;
        record.route = ex_.route;
        record.request_id = ex_.request_id;
        record.method = ex_.request.method;
        const std::string authority = ex_.authority.host.empty() ? std::string() : ex_.authority.text(ex_.scheme);
        record.authority = authority;
        if (!ex_.tunnel) record.path = ex_.request.path();
        record.listener = ex_.listener;
        record.status = ex_.status;
        record.outcome = ex_.outcome;
        record.reason = ex_.reason;
        record.detail = ex_.detail;
        record.attempts = ex_.attempts;
        record.application_gone = ex_.application_gone;
        record.tunnel = ex_.tunnel;
        record.reported = ex_.vendor == &ex_.config->unmatched_vendor && ex_.config->unmatched == Unmatched::report;
        record.phases = ex_.phases;
        record.duration = std::chrono::steady_clock::now() - ex_.phases.started;   // what this very event took is in it
        record.traffic = ex_.traffic;
        core_.journal.record(record);
    }
    Record(const Record&) = delete;

  private:
    Core& core_;
    Exchange& ex_;
    const Vendor* began_ = nullptr;
};

Verdict find_vendor(Exchange& ex) {
    if (!ex.vendor) ex.vendor = ex.config->match(ex.authority);
    if (!ex.vendor && ex.config->unmatched != Unmatched::deny) ex.vendor = &ex.config->unmatched_vendor;
    if (ex.vendor) return Verdict::allow();
    return Verdict::refuse({Reason::unknown_vendor, "no vendor of the policy has the host " + ex.authority.text(ex.scheme) + "; add it to a vendor's `hosts`, or set `unmatched`", {}});
}

// `Sluice-Timeout: 2s`, or gRPC's own word for it ("100m": digits and a unit of H M S m u n).
std::optional<Duration> parse_grpc_timeout(std::string_view text) {
    if (text.size() < 2 || text.size() > 9) return {};
    const auto number = parse_decimal(text.substr(0, text.size() - 1));
    if (!number) return {};
    const auto n = static_cast<std::int64_t>(*number);
    switch (text.back()) {
    case 'H': return std::chrono::hours(std::min<std::int64_t>(n, 1'000'000));
    case 'M': return std::chrono::minutes(n);
    case 'S': return std::chrono::seconds(n);
    case 'm': return std::chrono::milliseconds(n);
    case 'u': return std::chrono::microseconds(n);
    case 'n': return std::chrono::nanoseconds(n);
    }
    return {};
}

// What the application asks for can only lower the policy's `total`.
Verdict set_limits(Exchange& ex) {
    Timeouts& timeout = ex.limits.timeout = ex.timeouts();
    std::optional<Duration> asked;
    if (const auto text = ex.request.fields.find("Sluice-Timeout")) {
        asked = parse_duration(*text);
        if (!asked || *asked <= Duration{}) return Verdict::refuse({Reason::bad_request, "the header Sluice-Timeout is not a duration such as 2s or 500ms", {}});
    } else if (const auto grpc = ex.request.fields.find("grpc-timeout")) {
        asked = parse_grpc_timeout(*grpc);
        if (!asked) return Verdict::refuse({Reason::bad_request, "the header grpc-timeout is not digits and a unit", {}});
    }
    if (asked && *asked < timeout.total) {
        timeout.total = *asked;
        timeout.total_written = true;
    }
    ex.limits.total = later(ex.phases.started, timeout.total);
    return Verdict::allow();
}

Verdict judge(Exchange& ex) {
    if (ex.tunnel) return Verdict::allow();
    const std::string_view path = ex.request.path();
    if (const std::string_view wrong = judge_path(path); !wrong.empty()) return Verdict::refuse({Reason::bad_request, std::string(wrong), {}});
    if (Verdict access = judge_access(ex.vendor->access, ex.vendor->name, ex.request.method, path); access.refused()) return access;
    ex.route = ex.vendor->route_for(ex.request.method, path);
    return Verdict::allow();
}

// No coroutine of its own: it ends with the application's.
Task<Result<void>> deliver(Exchange& ex, RoundTrip& trip) {
    ex.limits = trip.limits;
    if (ex.tunnel) {
        ex.response.clear();
        ex.response.status = 200;
        ex.response.phrase = "Connection established";
    }
    ex.status = ex.response.status;
    ex.response.fields.remove_hop_by_hop();
    sign_response(ex);
    if (trip.upgraded) return ex.application->deliver_stream(ex.response, *trip.response_body, ex.limits, ex.activity);
    return ex.application->deliver(ex.response, trip.response_framing, trip.response_body, ex.limits, ex.activity);
}

}  // namespace

Task<Result<void>> run_exchange(Core& core, Exchange& ex) {
    Record record(core, ex);
    if (ex.refused_already) co_return co_await refuse(ex, *ex.refused_already);

    if (Verdict found = find_vendor(ex); found.refused()) co_return co_await refuse(ex, found.refusal());
    record.found(*ex.vendor);

    if (Verdict judged = judge(ex); judged.refused()) co_return co_await refuse(ex, judged.refusal());
    if (Verdict limited = set_limits(ex); limited.refused()) co_return co_await refuse(ex, limited.refusal());
    ex.request.fields.remove(Known::sluice);
    ex.request.fields.remove_hop_by_hop();

    RoundTrip& trip = ex.trip.emplace();
    Result<void> done = co_await attempt(core, ex, trip);
    if (done) done = co_await deliver(ex, trip);
    co_await core.transport.finish(trip);
    ex.trip.reset();
    if (!done) done = co_await report(ex, done.error());
    co_return done;
}

}  // namespace sluice
