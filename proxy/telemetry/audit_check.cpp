#include "proxy/telemetry/audit_check.hpp"

#include <algorithm>
#include <utility>

#include "proxy/base/codec.hpp"

namespace sluice {

namespace {

std::string counted(std::uint64_t count, const char* one, const char* many) {
    return std::to_string(count) + ' ' + (count == 1 ? one : many);
}

// "record 5 is", "records 5 to 7 are"
std::string records_are(std::uint64_t from, std::uint64_t to) {
    if (from == to) return "record " + std::to_string(from) + " is";
    return "records " + std::to_string(from) + " to " + std::to_string(to) + " are";
}

std::string record_text(const AuditLine& record) {
    return "record " + std::to_string(record.seq);
}

}  // namespace

void AuditCheck::fault(const Place& at, std::string what) {
    if (findings_.all_faults++ < AuditFindings::most_remarks)
        findings_.faults.push_back({at.file, at.line, std::move(what)});
}

void AuditCheck::note(const Place& at, std::string what) {
    if (findings_.all_notes++ < AuditFindings::most_remarks)
        findings_.notes.push_back({at.file, at.line, std::move(what)});
}

void AuditCheck::begin(std::string file) {
    end_file();
    here_ = {std::move(file), 0};
}

void AuditCheck::end_file() {
    if (in_line_) take(line_, false);
}

void AuditCheck::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (!std::exchange(in_line_, true)) ++here_.line;
        const std::size_t end = bytes.find('\n');
        const std::string_view piece = bytes.substr(0, end);
        if (!overlong_ && line_.size() + piece.size() > most_audit_line) {
            skip(line_);
            line_.clear();
            overlong_ = true;
        }
        if (overlong_) {
            skipped_.add(piece);
            skipped_bytes_ += piece.size();
        } else {
            line_ += piece;
        }
        if (end == bytes.npos) return;
        take(line_, true);
        bytes.remove_prefix(end + 1);
    }
}

void AuditCheck::take(std::string_view line, bool ended) {
    const auto read = overlong_ ? std::nullopt : read_audit_line(line);
    if (read) {
        take_record(*read, line);
    } else {
        if (!overlong_) skip(line);
        torn_ = !ended;
    }
    line_.clear();
    in_line_ = overlong_ = false;
}

/// What is no record, or the beginning of it.
void AuditCheck::skip(std::string_view line) {
    if (skipped_lines_++ == 0) {
        skipped_at_ = here_;
    } else {
        skipped_.add("\n");
        ++skipped_bytes_;
    }
    skipped_.add(line);
    skipped_bytes_ += line.size();
}

void AuditCheck::take_record(const AuditLine& read, std::string_view line) {
    if (skipped_lines_ > 0) {
        judge_skipped(read);
    } else if (findings_.last) {
        judge_next(read);
    } else {
        judge_first(read);
    }
    if (!findings_.first) findings_.first = read;
    ++findings_.records;
    findings_.last = read;
    findings_.last_hash = audit_hash(line);
    found_ = found_ || findings_.last_hash == expected_;
    last_at_ = here_;
}

void AuditCheck::judge_first(const AuditLine& read) {
    if (read.seq > 1 && from_the_first_) {
        fault(here_, "begins with " + record_text(read) +
                         ", though no file has gone yet to make room: " + records_are(1, read.seq - 1) + " missing");
    } else if (read.seq > 1) {
        note(here_, "begins with " + record_text(read) +
                        ": those before it are in no file that was read; the oldest file "
                        "goes when a new one is begun");
    } else if (read.previous != no_predecessor) {
        fault(here_, "the first record names one before it: it was changed");
    } else if (read.event == begun_anew_event) {
        note(here_, "the chain was begun anew here, because no record before it could be read");
    }
}

std::string AuditCheck::after_what() const {
    return record_text(*findings_.last) + " of " + findings_.last->time;
}

void AuditCheck::judge_next(const AuditLine& read) {
    const AuditLine& last = *findings_.last;
    if (read.seq == last.seq + 1) {
        if (read.previous != findings_.last_hash)
            fault(last_at_, record_text(last) + " was changed: " + record_text(read) +
                                " names another hash for it (or that one's `previous` was changed)");
    } else if (read.seq > last.seq) {
        fault(here_, records_are(last.seq + 1, read.seq - 1) + " missing here, after " + after_what());
    } else if (read.event == begun_anew_event) {
        fault(here_,
              "the chain was begun anew, because no record before it could be read: nothing proves what stood there");
    } else {
        fault(here_, record_text(read) + " stands after " + record_text(last) +
                         ": lines were put in another order, or put in between");
    }
}

/// A record after lines that are none: they are the rest of a crash if it says so and names their hash.
void AuditCheck::judge_skipped(const AuditLine& read) {
    const std::string hash = to_hex(skipped_.finish().bytes());
    const std::string what =
        counted(skipped_lines_, "line", "lines") + " (" + counted(skipped_bytes_, "byte", "bytes") + ")";
    const std::uint64_t seq = findings_.last ? findings_.last->seq : read.seq - 1;
    const bool follows = read.seq == seq + 1 && (!findings_.last || read.previous == findings_.last_hash);
    if (follows && read.event == resumed_event && read.skipped_sha256 == hash) {
        note(skipped_at_,
             what + " of no record, as a crash or a full disk leaves them: " + record_text(read) + " vouches for them");
    } else {
        tell_skipped(", before " + record_text(read));
    }
    skipped_lines_ = skipped_bytes_ = 0;
    torn_ = false;
    if (!findings_.last) judge_first(read);
}

void AuditCheck::tell_skipped(const std::string& more) {
    fault(skipped_at_, counted(skipped_lines_, "line is", "lines are") + " no record" +
                           (findings_.last ? ", after " + after_what() : std::string()) + more +
                           ": changed, cut or put in between");
}

AuditFindings AuditCheck::finish() {
    end_file();
    if (skipped_lines_ == 1 && torn_) {
        fault(skipped_at_,
              "the last line breaks off" + (findings_.last ? ", after " + after_what() : std::string()) +
                  ": its end was cut off, or Sluice ended in the middle of it (then its next start says so "
                  "in the trail)");
    } else if (skipped_lines_ > 0) {
        tell_skipped({});
    }
    if (findings_.records == 0) fault({here_.file, 0}, "there is no record");
    if (!expected_.empty() && !found_)
        fault({here_.file, 0},
              "no record has the hash " + expected_ +
                  ": the chain was cut off before it, or written anew, or it is in a file that was not read");
    return std::move(findings_);
}

}  // namespace sluice
