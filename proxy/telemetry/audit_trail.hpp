// The audit trail of a running Sluice: takes records from any thread, and writes them on one of its own, so that a disk
// that is full, read-only or hangs holds nobody up. What could not be written is tried again each second; at most 4 MiB
// wait, and what is over is lost, which the trail itself says once it can be written again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "proxy/telemetry/audit_file.hpp"

namespace sluice {

/// It cannot be written any more, or it can be again; or somebody has changed it, which is told once. Views hold during
/// the call.
struct AuditNotice {
    bool failing = false;
    std::string_view file;
    std::string_view detail;  // of `failing`: why, and what to do
    std::uint64_t lost = 0;   // records, for good
    bool altered = false;     // `detail`: what was found
};

/// What has become of the records so far.
struct AuditCounts {
    std::uint64_t written = 0, lost = 0, failures = 0;  // `failures`: times that the disk refused
};

/// How it fares, for people.
struct AuditStanding {
    std::string file;
    AuditCounts counts;
    std::uint64_t waiting = 0;  // records that are not on the disk yet
    bool failing = false;       // the disk refuses now
    std::string fault;          // why it refused the last time; "": it never did
    std::string altered;        // what somebody changed, as far as a trail notices while it is written; "": nothing
};

class AuditTrail {
  public:
    using Notify = std::function<void(const AuditNotice&)>;
    struct Options {
        Duration again = 1s;                         // after a failure
        Duration flush = 1s;                         // at the end
        std::size_t most_waiting = 4 * 1024 * 1024;  // bytes
        AuditBounds bounds = {};
    };

    /// Starts the thread; `notify` is called on it. "" of a directory: everything is lost, and told.
    AuditTrail(std::string directory, Notify notify, Options options);
    /// Writes what is left, for as long as `flush` at most.
    ~AuditTrail();
    AuditTrail(const AuditTrail&) = delete;
    AuditTrail& operator=(const AuditTrail&) = delete;

    // Any thread:
    void add(AuditRecord record);
    AuditCounts counts() const;
    AuditStanding standing() const;

  private:
    struct Shared;
    std::shared_ptr<Shared> shared_;  // with the thread: it may be stuck in a write when we must go on
    std::thread thread_;
};

}  // namespace sluice
