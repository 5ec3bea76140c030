#include "proxy/telemetry/audit_trail.hpp"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "proxy/ports/signals_blocked.hpp"

namespace sluice {

namespace {

constexpr std::string_view lost_event = "audit_lost";

}  // namespace

struct AuditTrail::Shared {
    Shared(std::string directory, Notify n, Options o)
        : options(o), notify(std::move(n)), file(std::move(directory), o.bounds), path(file.path()) {}

    const Options options;
    const Notify notify;
    AuditFile file;  // of the thread
    const std::string path;

    mutable std::mutex mutex;  // of all below
    std::condition_variable changed;
    std::vector<AuditRecord> waiting;
    std::size_t waiting_bytes = 0;  // of `waiting` and of what is being written
    AuditCounts counts;
    std::uint64_t lost_untold = 0;  // in the trail
    bool failing = false, stopping = false, finished = false;
    std::string last_fault, altered;
    std::uint64_t being_written = 0;  // records
    bool left = false;  // whoever is to be notified is gone

    void run();
    void settle(std::vector<AuditRecord> batch, std::uint64_t lost, const std::string& fault);
    void alarm();
    void give_up();
};

void AuditTrail::add(AuditRecord record) {
    const std::lock_guard lock(shared_->mutex);
    const std::size_t bytes = record.text().size();
    if (shared_->waiting_bytes + bytes > shared_->options.most_waiting) {
        ++shared_->counts.lost;
        ++shared_->lost_untold;
        return;
    }
    shared_->waiting_bytes += bytes;
    shared_->waiting.push_back(std::move(record));
    shared_->changed.notify_all();
}

AuditCounts AuditTrail::counts() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->counts;
}

AuditStanding AuditTrail::standing() const {
    const std::lock_guard lock(shared_->mutex);
    return {shared_->path,    shared_->counts,     shared_->waiting.size() + shared_->being_written,
            shared_->failing, shared_->last_fault, shared_->altered};
}

/// How it came out. What was not written goes before what has come since.
void AuditTrail::Shared::settle(std::vector<AuditRecord> batch, std::uint64_t lost, const std::string& fault) {
    const std::lock_guard lock(mutex);
    const bool news = failing != !fault.empty();
    failing = !fault.empty();
    being_written = 0;
    if (failing) {
        last_fault = fault;
        ++counts.failures;
        std::move(waiting.begin(), waiting.end(), std::back_inserter(batch));
        waiting = std::move(batch);
    } else {
        counts.written += batch.size();
        lost_untold -= lost;
        for (const AuditRecord& record : batch) waiting_bytes -= record.text().size();
    }
    if (news && notify && !left) notify({failing, file.path(), fault, failing ? 0 : lost, false});
}

void AuditTrail::Shared::alarm() {
    const std::string found = file.take_alarm();
    const std::lock_guard lock(mutex);
    if (found.empty()) return;
    altered = found;
    if (notify && !left) notify({false, file.path(), found, 0, true});
}

/// The end has come, and the disk still refuses.
void AuditTrail::Shared::give_up() {
    counts.lost += waiting.size();
    if (!waiting.empty() && notify && !left)
        notify({true, file.path(), "what was still to be written at the end is lost", waiting.size(), false});
    waiting.clear();
}

void AuditTrail::Shared::run() {
    const SignalsBlocked blocked;  // they are for the thread that runs a command
    ::pthread_setname_np(::pthread_self(), "sluice-audit");
    std::unique_lock lock(mutex);
    for (;;) {
        changed.wait(lock, [this] { return !waiting.empty() || stopping; });
        if (waiting.empty()) break;
        std::vector<AuditRecord> batch = std::exchange(waiting, {});
        const std::uint64_t lost = lost_untold;
        const bool last = stopping;
        being_written = batch.size();
        lock.unlock();
        std::vector<AuditRecord> all = batch;
        if (lost > 0) {
            all.push_back(AuditRecord(lost_event, std::chrono::system_clock::now())
                              .add("detail", "the disk refused, and no more could be kept until it did not")
                              .add("records", lost));
        }
        const std::string fault = file.append(all);
        settle(std::move(batch), lost, fault);
        alarm();
        lock.lock();
        if (!failing) continue;
        if (last) {
            give_up();
            break;
        }
        changed.wait_for(lock, options.again, [this] { return stopping; });
    }
    finished = true;
    changed.notify_all();
}

AuditTrail::AuditTrail(std::string directory, Notify notify, Options options)
    : shared_(std::make_shared<Shared>(std::move(directory), std::move(notify), options)) {
    thread_ = std::thread([shared = shared_] { shared->run(); });
}

AuditTrail::~AuditTrail() {
    std::unique_lock lock(shared_->mutex);
    shared_->stopping = true;
    shared_->changed.notify_all();
    if (shared_->changed.wait_for(lock, shared_->options.flush, [this] { return shared_->finished; })) {
        lock.unlock();
        thread_.join();
    } else {
        shared_->left = true;  // stuck in a dead disk; what it uses is its own
        thread_.detach();
    }
}

}  // namespace sluice
