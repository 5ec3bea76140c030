// The audit trail on disk: `<directory>/audit.jsonl` (0600), appended to and never written over; at its most it becomes
// `audit.jsonl.1`, and the oldest of those goes. The chain goes on over files, restarts, and what a crash left of a
// line. Several processes may write one trail (`sluice exec` beside `sluice run`): each append is under a lock, and
// begins with a look at what the others wrote, and whether what was written last still stands. May block for as long as
// the disk does; one thread at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/telemetry/audit_chain.hpp"

namespace sluice {

/// Together 10 MiB: a volume in memory holds them too, and some 20,000 records.
struct AuditBounds {
    std::uint64_t most_bytes = 2 * 1024 * 1024;  // of a file, after which another one is begun
    unsigned older = 4;                          // files that are kept beside it
};

class AuditFile {
  public:
    /// Nothing is opened before the first `append`. `directory` is made where it is not there, for its owner only.
    explicit AuditFile(std::string directory, AuditBounds bounds = {});
    ~AuditFile();
    AuditFile(const AuditFile&) = delete;
    AuditFile& operator=(const AuditFile&) = delete;

    /// All of them, on the disk when this returns. "", or why not and what to do: then none of them is there, or it is
    /// not sure that they are, and they may be appended again.
    std::string append(const std::vector<AuditRecord>& records);

    const std::string& path() const { return path_; }
    /// Somebody has changed or taken away what was written last: the chain goes on from that all the same, so that it
    /// shows. "", or what was found, once.
    std::string take_alarm() { return std::exchange(alarm_, {}); }

  private:
    void open();
    bool is_current() const;
    void lock();
    void unlock();
    void rotate();
    void close();
    void write(const std::vector<AuditRecord>& records, std::uint64_t size);
    std::string text_after(const AuditTail& tail, const std::vector<AuditRecord>& records, AuditHead& head) const;
    AuditTail tail_of(std::uint64_t size) const;
    bool stands(const AuditTail& tail, std::uint64_t size) const;
    std::string older(unsigned number) const;
    [[noreturn]] void fail(const std::string& what, int error) const;

    const std::string directory_, path_;
    const AuditBounds bounds_;
    int fd_ = -1;
    AuditHead head_;     // of what was written, or found, last
    bool left_ = false;  // in the file that is open, at `left_size_`: another size means that somebody was there
    std::uint64_t left_size_ = 0;
    std::string alarm_;
    bool alarmed_ = false;
};

/// The files of a trail that are there, oldest first.
std::vector<std::string> audit_files(const std::string& directory, AuditBounds bounds = {});
/// May records have gone with the oldest file? `files`: as `audit_files` gives them.
bool may_have_dropped(const std::vector<std::string>& files, AuditBounds bounds = {});

}  // namespace sluice
