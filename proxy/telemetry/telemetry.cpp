#include "proxy/telemetry/telemetry.hpp"

#include <mutex>

#include "proxy/telemetry/families.hpp"
#include "proxy/telemetry/log_line.hpp"
#include "proxy/telemetry/log_writer.hpp"
#include "proxy/telemetry/metrics.hpp"

namespace sluice {

namespace {

constexpr std::size_t full_buffer = 64 * 1024;

WallTime now() {
    return std::chrono::system_clock::now();
}

std::string audit_families(const AuditCounts& counts) {
    Exposition out;
    MetricFamily records{"sluice_audit_records_total", "Records of the audit trail, by what became of them.", MetricType::Counter, {}};
    add_counter(records, {{"result", "written"}}, static_cast<double>(counts.written));
    add_counter(records, {{"result", "lost"}}, static_cast<double>(counts.lost));
    out.add(std::move(records));
    MetricFamily failed{"sluice_audit_failed_total",
                        "Times that the audit trail could not be written; what waits is tried again each second.",
                        MetricType::Counter,
                        {}};
    add_counter(failed, {}, static_cast<double>(counts.failures));
    out.add(std::move(failed));
    return std::move(out).text();
}

}  // namespace

struct Telemetry::Impl {
    Impl(std::size_t workers, int log_fd, LogFormat log_format)
        : format(log_format), metrics(workers), writer(log_fd), notice_format(log_format) {
        metrics.loaded(true, now());
    }

    const LogFormat format;
    Metrics metrics;
    CredentialMetrics credentials;
    std::function<AuditCounts()> audit;
    LogWriter writer;
    std::mutex notice_mutex;  // of `notice_format`
    LineFormat notice_format;
};

struct WorkerJournal::Impl {
    WorkerMeters& meters;
    LogWriter& writer;
    LineFormat format;
    std::string buffer;
};

Telemetry::Telemetry(std::size_t workers, int log_fd, LogFormat format)
    : impl_(std::make_unique<Impl>(workers, log_fd, format)) {}

Telemetry::~Telemetry() = default;

void Telemetry::notice(Level level, std::string_view event,
                       std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    std::string line;
    {
        const std::lock_guard lock(impl_->notice_mutex);
        impl_->notice_format.append_notice(line, level, event, fields, now());
    }
    impl_->writer.take(line);
}

std::string Telemetry::scrape() const {
    return impl_->metrics.scrape(impl_->writer.dropped(), std::chrono::steady_clock::now()) +
           impl_->credentials.text() + (impl_->audit ? audit_families(impl_->audit()) : std::string());
}

void Telemetry::enrol(Config& config) {
    impl_->metrics.enrol(config);
}

void Telemetry::loaded(bool successful) {
    impl_->metrics.loaded(successful, now());
}

void Telemetry::credential_fetched(std::string_view credential, bool ok, Duration took) {
    impl_->credentials.fetched(credential, ok, took);
}

void Telemetry::watch_credentials(CredentialMetrics::Look look) {
    impl_->credentials.watch(std::move(look));
}

void Telemetry::watch_audit(std::function<AuditCounts()> look) {
    impl_->audit = std::move(look);
}

void Telemetry::moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) {
    impl_->metrics.moved(vendor, endpoint, to);
}

std::unique_ptr<WorkerJournal> Telemetry::journal() {
    auto impl = std::make_unique<WorkerJournal::Impl>(
        WorkerJournal::Impl{impl_->metrics.add_worker(), impl_->writer, LineFormat(impl_->format), {}});
    return std::unique_ptr<WorkerJournal>(new WorkerJournal(std::move(impl)));
}

WorkerJournal::WorkerJournal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkerJournal::~WorkerJournal() {
    flush();
}

void WorkerJournal::began(const Vendor& vendor) {
    impl_->meters.began(vendor);
}
void WorkerJournal::ended(const Vendor& vendor) {
    impl_->meters.ended(vendor);
}

void WorkerJournal::attempted(const Vendor& vendor, std::string_view endpoint, std::string_view result,
                              std::optional<Duration> first_byte) {
    impl_->meters.attempted(vendor, endpoint, result, first_byte);
}

void WorkerJournal::carried(const Vendor& vendor, const Traffic& traffic) {
    impl_->meters.carried(vendor, traffic);
}

void WorkerJournal::waited(const Vendor& vendor, Duration time) {
    impl_->meters.waited(vendor, time);
}

void WorkerJournal::moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) {
    impl_->meters.moved(vendor, endpoint, to);
    const Level level = to == Breaker::State::open ? Level::warning : Level::info;
    impl_->format.append_notice(impl_->buffer, level, "breaker",
                                {{"vendor", vendor.name}, {"endpoint", endpoint}, {"state", name_of(to)}}, now());
}

void WorkerJournal::used_tokens(const Vendor& vendor, std::uint64_t prompt, std::uint64_t completion) {
    impl_->meters.used_tokens(vendor, prompt, completion);
}

void WorkerJournal::injected(const Vendor& vendor, std::string_view fault) {
    impl_->meters.injected(vendor, fault);
}

void WorkerJournal::chaos_stopped(const Vendor& vendor) {
    impl_->format.append_notice(
        impl_->buffer, Level::warning, "chaos",
        {{"vendor", vendor.name},
         {"state", "stopped"},
         {"detail", "the vendor itself fails too often (chaos.abort_above): no fault is injected any more"}},
        now());
}

void WorkerJournal::record(const ExchangeRecord& record) {
    impl_->meters.record(record);
    impl_->format.append_exchange(impl_->buffer, record, now());
    if (impl_->buffer.size() >= full_buffer) flush();
}

void WorkerJournal::connections_moved(VendorSeries* vendor, int active, int idle) {
    impl_->meters.connections_moved(vendor, active, idle);
}

void WorkerJournal::handshaken(const Vendor& vendor, bool resumed) {
    impl_->meters.handshaken(vendor, resumed);
}

bool WorkerJournal::pending() const {
    return !impl_->buffer.empty();
}

void WorkerJournal::flush() {
    impl_->writer.take(impl_->buffer);
}

}  // namespace sluice
