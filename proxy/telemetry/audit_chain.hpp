// The chain of the audit trail: each line holds the SHA-256 of the line before it, so that one that is changed, taken
// out or put in between is found (audit_check). How a line is made, how it is read, and how the chain goes on after
// whatever the end of a file looks like. Pure.
//
//     {"seq":2,"time":"...","event":"credential_minted", ... ,"previous":"<64 hex digits>"}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/telemetry/audit_record.hpp"

namespace sluice {

/// What the first record of all has for a predecessor.
inline constexpr std::string_view no_predecessor = "0000000000000000000000000000000000000000000000000000000000000000";

/// Ours are shorter, whatever is in them; a longer line is none of ours.
inline constexpr std::size_t most_audit_line = 128 * 1024;
/// Of a file's end, as much as is looked at to go on after it: a whole line, behind as much as a crash may have left.
inline constexpr std::size_t audit_tail = 256 * 1024;

/// A record of a higher number is none. What comes after one that nobody can have counted to would soon be none either,
/// so a chain is not gone on with there, but from the record before it.
inline constexpr std::uint64_t most_audit_seq = std::uint64_t{1} << 62, most_followed_seq = most_audit_seq / 2;

/// Two that Sluice writes about the chain itself: it goes on after something that is no record (a line that a crash
/// tore), whose hash it names; and it had to begin anew, because no record was left to go on from.
inline constexpr std::string_view resumed_event = "audit_resumed";
inline constexpr std::string_view begun_anew_event = "audit_begun_anew";

/// SHA-256 of a line without its '\n', as 64 hex digits.
std::string audit_hash(std::string_view line);
/// Is it written as `audit_hash` writes one?
bool is_audit_hash(std::string_view text);

/// Where a chain ends.
struct AuditHead {
    std::uint64_t seq = 0;  // of the last record; 0: there is none
    std::string hash{no_predecessor};
};

/// The next line, with its '\n'; `head` is moved to it.
std::string chained(const AuditRecord& record, AuditHead& head);

/// What a chain needs to know of a line.
struct AuditLine {
    std::uint64_t seq = 0;
    std::string time, event, previous;
    std::string skipped_sha256;  // of `resumed_event`
};
/// Nothing: it is no record.
std::optional<AuditLine> read_audit_line(std::string_view line);

/// How to go on after the end of a file.
struct AuditTail {
    std::optional<AuditHead> head;  // of the last record; nothing: none was found
    bool open_line = false;         // the last line has no '\n'
    bool unreadable = false;        // after the record comes what is none: `skipped_bytes` of it, without the last '\n'
    std::size_t skipped_bytes = 0;
    std::string skipped_sha256;
};
/// `bytes`: the end of a file, from the beginning of a line where it is the `whole` file.
AuditTail read_audit_tail(std::string_view bytes, bool whole);

}  // namespace sluice
