// Metrics and the log. One Telemetry a process; one WorkerJournal a worker thread, whose meters only it writes, so that
// recording an exchange neither locks nor builds labels (`Family::Add` costs 1.7 us). A log line is formatted into the
// worker's buffer and handed to one writer thread by the 64 KiB, or when the worker flushes on its tick: waking another
// thread for each line costs 7 us. The supervisor makes the Telemetry before the workers, and ends it after them.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "config/config.hpp"
#include "proxy/ports/ports.hpp"
#include "proxy/telemetry/audit_trail.hpp"
#include "proxy/telemetry/credential_metrics.hpp"

namespace sluice {

enum class LogFormat : unsigned char { json, logfmt };
enum class Level : unsigned char { info, warning, error };

class WorkerJournal;

class Telemetry {
  public:
    /// Log lines go to `log_fd` (not closed). A slow or broken reader never blocks a worker: at most 8 MiB wait, what
    /// is over is dropped and counted (`sluice_log_dropped_total`). `workers`: how many journals will be asked for.
    Telemetry(std::size_t workers, int log_fd, LogFormat format);
    ~Telemetry();  // writes what is left, for at most a second

    /// One structured line that is about no exchange: "started", "secret_changed" ... Names of fields are written as
    /// they are, values are escaped. Any thread.
    void notice(Level level, std::string_view event,
                std::initializer_list<std::pair<std::string_view, std::string_view>> fields);
    /// The Prometheus text format (0.0.4). Any thread.
    std::string scrape() const;
    /// For one worker; lives no longer than the Telemetry.
    std::unique_ptr<WorkerJournal> journal();

    /// A policy that is about to be in force: its vendors and routes get the series of their names, and go on counting
    /// where an earlier policy's left off. Before any exchange begins under it. Any thread.
    void enrol(Config& config);
    /// `config_last_reload_successful`, and its timestamp: a policy was read and is in force, or was refused. Any
    /// thread.
    void loaded(bool successful);
    /// A fetch of a credential ended (`credential_refresh_total`). Any thread.
    void credential_fetched(std::string_view credential, bool ok, Duration took);
    /// Where a scrape looks at the credentials of the policy in force. Before the first one.
    void watch_credentials(CredentialMetrics::Look look);
    /// Where a scrape looks at the audit trail. Before the first one.
    void watch_audit(std::function<AuditCounts()> look);
    /// An operator moved a breaker (`breaker_transitions_total`). Any thread.
    void moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to);

    struct Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

class WorkerJournal final : public Journal {
  public:
    ~WorkerJournal();

    void began(const Vendor& vendor) override;
    void ended(const Vendor& vendor) override;
    void attempted(const Vendor& vendor, std::string_view endpoint, std::string_view result,
                   std::optional<Duration> first_byte) override;
    void carried(const Vendor& vendor, const Traffic& traffic) override;
    void waited(const Vendor& vendor, Duration time) override;
    void moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) override;
    void used_tokens(const Vendor& vendor, std::uint64_t prompt, std::uint64_t completion) override;
    void injected(const Vendor& vendor, std::string_view fault) override;
    void chaos_stopped(const Vendor& vendor) override;
    void record(const ExchangeRecord& record) override;

    /// `upstream_connections{vendor,state}`, state "active" or "idle": by how much each moved. The vendor's series, not
    /// the vendor: a connection outlives the policy that it was made under.
    void connections_moved(VendorSeries* vendor, int active, int idle);
    /// `upstream_handshakes_total{vendor,resumed}`.
    void handshaken(const Vendor& vendor, bool resumed);

    /// Does the buffer hold lines that nobody has taken? The worker calls `flush` within 100 ms then.
    bool pending() const;
    void flush();

    struct Impl;

  private:
    friend class Telemetry;
    explicit WorkerJournal(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
