// Is a chain whole? Reads files of the audit trail as they come, oldest first, and says where a line was changed, taken
// out, moved or put in between. What it cannot see alone: a chain that was cut off at a line's end, or written anew
// from some line on, and what the last line of all says. Whoever kept the hash of a later record elsewhere gives it as
// `expected`. Pure; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/credentials/digest.hpp"
#include "proxy/telemetry/audit_chain.hpp"

namespace sluice {

/// Something about a place.
struct AuditRemark {
    std::string file;
    std::uint64_t line = 0;  // 0: about no line
    std::string what;
};

struct AuditFindings {
    static constexpr std::size_t most_remarks = 20;  // of each kind; further ones are counted

    std::uint64_t records = 0;
    std::optional<AuditLine> first, last;
    std::string last_hash;  // of `last`
    std::vector<AuditRemark> faults, notes;
    std::uint64_t all_faults = 0, all_notes = 0;

    bool whole() const { return all_faults == 0; }
};

class AuditCheck {
  public:
    /// `expected`: the hash of a record that has to be there; "": none. `from_the_first`: no record can have gone with
    /// a file that was too old to be kept, so the first one of all has to be there.
    explicit AuditCheck(std::string expected = {}, bool from_the_first = false)
        : expected_(std::move(expected)), from_the_first_(from_the_first) {}

    /// What follows is the beginning of this file.
    void begin(std::string file);
    void feed(std::string_view bytes);
    /// There is no further file.
    AuditFindings finish();

  private:
    struct Place {
        std::string file;
        std::uint64_t line = 0;
    };

    void end_file();
    void take(std::string_view line, bool ended);
    void take_record(const AuditLine& read, std::string_view line);
    void judge_first(const AuditLine& read);
    void judge_next(const AuditLine& read);
    void judge_skipped(const AuditLine& read);
    void skip(std::string_view line);
    void tell_skipped(const std::string& more);
    void fault(const Place& at, std::string what);
    void note(const Place& at, std::string what);
    std::string after_what() const;

    const std::string expected_;
    const bool from_the_first_;
    bool found_ = false;
    AuditFindings findings_;
    Place here_, last_at_;
    std::string line_;                 // as far as it has come
    bool in_line_ = false;             // it has begun
    bool overlong_ = false;            // it is no record, and goes into `skipped_` as it comes
    std::uint64_t skipped_lines_ = 0;  // since the last record
    std::uint64_t skipped_bytes_ = 0;
    bool torn_ = false;  // the last of them has no '\n'
    Place skipped_at_;
    Hash skipped_;
};

}  // namespace sluice
