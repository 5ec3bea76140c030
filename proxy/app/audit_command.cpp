#include "proxy/app/audit_command.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <variant>

#include "proxy/app/policy_file.hpp"
#include "proxy/app/table.hpp"
#include "proxy/base/text.hpp"
#include "proxy/telemetry/audit_check.hpp"
#include "proxy/telemetry/audit_file.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr Duration lock_patience = 2s;

class OpenFile {
  public:
    explicit OpenFile(std::string name)
        : name_(std::move(name)),
          fd_(name_ == "-" ? ::dup(STDIN_FILENO) : ::open(name_.c_str(), O_RDONLY | O_CLOEXEC)) {}
    OpenFile(const OpenFile&) = delete;
    ~OpenFile() {
        if (fd_ >= 0) ::close(fd_);
    }
    const std::string& name() const { return name_; }
    int fd() const { return fd_; }

    /// Nobody writes there meanwhile, nor begins a new file; without it where that does not come about.
    void lock() const {
        const TimePoint until = std::chrono::steady_clock::now() + lock_patience;
        while (::flock(fd_, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(5ms);
    }
    /// 0, or why not.
    template <class Take>
    int read(Take take) const {
        std::array<char, 64 * 1024> bytes;
        for (;;) {
            const ssize_t got = ::read(fd_, bytes.data(), bytes.size());
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return got < 0 ? errno : 0;
            take(std::string_view(bytes.data(), static_cast<std::size_t>(got)));
        }
    }
    /// Does it have its name still?
    bool is_named() const {
        struct stat named {
        }, opened{};
        return ::stat(name_.c_str(), &named) == 0 && ::fstat(fd_, &opened) == 0 && named.st_dev == opened.st_dev &&
               named.st_ino == opened.st_ino;
    }
    /// The number of its first record; nothing: it has none, or cannot be read twice.
    std::optional<std::uint64_t> first() const {
        std::string bytes(most_audit_line, '\0');
        const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), 0);
        bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        const auto record = read_audit_line(std::string_view(bytes).substr(0, bytes.find('\n')));
        return record ? std::optional(record->seq) : std::nullopt;
    }

  private:
    std::string name_;
    int fd_;
};
using Files = std::vector<std::unique_ptr<OpenFile>>;

/// By their first records, so that `audit.jsonl*` does as an argument; as they were named where one has none.
void sort_by_age(Files& files) {
    std::vector<std::pair<std::uint64_t, std::unique_ptr<OpenFile>>> aged;
    for (const auto& file : files)
        if (!file->first()) return;
    for (auto& file : files) aged.emplace_back(*file->first(), std::move(file));
    std::stable_sort(aged.begin(), aged.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::transform(aged.begin(), aged.end(), files.begin(), [](auto& one) { return std::move(one.second); });
}

/// All of them at once, so that none becomes another's name meanwhile: what is written last goes first. Else the fault.
std::variant<Files, std::string> open_all(const std::vector<std::string>& names) {
    Files files;
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
        auto file = std::make_unique<OpenFile>(*name);
        if (file->fd() < 0) return "cannot open " + *name + ": " + std::strerror(errno);
        file->lock();
        files.push_back(std::move(file));
    }
    std::reverse(files.begin(), files.end());
    if (files.size() > 1) sort_by_age(files);
    return files;
}

/// The names to read; a fault where there are none.
std::variant<std::vector<std::string>, std::string> files_in(const std::string& state) {
    if (state.empty()) return std::string("the policy has no `state`, so there is no audit trail");
    auto names = audit_files(state);
    if (!names.empty()) return names;
    if (::access(state.c_str(), R_OK | X_OK) != 0)
        return "cannot look into " + state + ": " + std::strerror(errno) + "; run this as Sluice's user";
    return "there is no audit trail in " + state + ": no Sluice has run with it since it keeps one";
}

/// The files of a trail, all of one moment.
std::variant<Files, std::string> open_trail(const std::string& state, bool& from_the_first) {
    constexpr int most_tries = 10;  // a new file may be begun between a look and the lock; not after it
    for (int i = 1;; ++i) {
        auto found = files_in(state);
        if (auto* why = std::get_if<std::string>(&found)) return std::move(*why);
        const auto& names = std::get<std::vector<std::string>>(found);
        auto opened = open_all(names);
        const auto* files = std::get_if<Files>(&opened);
        const bool settled =
            files && names == audit_files(state) &&
            std::all_of(files->begin(), files->end(), [](const auto& file) { return file->is_named(); });
        if (!settled && i < most_tries) continue;
        from_the_first = settled && !may_have_dropped(names);
        return opened;
    }
}

json::array remarks_as_json(const std::vector<AuditRemark>& remarks) {
    json::array all;
    for (const AuditRemark& remark : remarks) {
        json::object entry{{"file", remark.file}, {"what", remark.what}};
        if (remark.line) entry["line"] = remark.line;
        all.push_back(std::move(entry));
    }
    return all;
}

/// Of a record the next one tells. The last has none: who wants to know of it, or of those that may be gone behind it,
/// has its hash from elsewhere.
bool last_is_proven(const AuditFindings& findings, const AuditQuestion& question) {
    return findings.last && findings.last_hash == question.expected;
}

void print_json(const AuditFindings& findings, const AuditQuestion& question, const Files& files, Console& out) {
    json::array names;
    for (const auto& file : files) names.push_back(json::string(file->name()));
    json::object all{{"ok", findings.whole()}, {"files", std::move(names)}, {"records", findings.records}};
    if (findings.first) all["first"] = json::object{{"seq", findings.first->seq}, {"time", findings.first->time}};
    if (findings.last)
        all["last"] = json::object{{"seq", findings.last->seq},
                                   {"time", findings.last->time},
                                   {"hash", findings.last_hash},
                                   {"proven", last_is_proven(findings, question)}};
    all["faults"] = remarks_as_json(findings.faults);
    all["all_faults"] = findings.all_faults;
    all["notes"] = remarks_as_json(findings.notes);
    out << json::serialize(all) << "\n";
}

std::string place_of(const AuditRemark& remark) {
    return printable(remark.file) + (remark.line ? ":" + std::to_string(remark.line) : std::string());
}

void print_text(const AuditFindings& findings, const AuditQuestion& question, Streams& streams) {
    Console& out = streams.out;
    if (findings.last) {
        out << findings.records << (findings.records == 1 ? " record, number " : " records, numbers ")
            << findings.first->seq << " to " << findings.last->seq << ", from " << printable(findings.first->time)
            << " to " << printable(findings.last->time) << "\n";
        out << "last hash " << findings.last_hash << "\n";
    }
    if (findings.last && !last_is_proven(findings, question))
        out << out.paint(Colour::yellow, "note")
            << ": a last record that was changed while nobody wrote, or records that were cut off behind it, show only "
               "where its hash is given as --expect\n";
    for (const AuditRemark& note : findings.notes)
        out << out.paint(Colour::yellow, "note") << ": " << place_of(note) << ": " << printable(note.what) << "\n";
    if (findings.whole()) {
        out << out.paint(Colour::green, "the chain is whole")
            << "; keep the last hash elsewhere, and give it as --expect the next time\n";
        return;
    }
    out.flush();
    Console& err = streams.err;
    for (const AuditRemark& fault : findings.faults)
        err << err.paint(Colour::bold, place_of(fault)) << ": " << err.paint(Colour::red, printable(fault.what))
            << "\n";
    if (findings.all_faults > findings.faults.size())
        err << "... and " << findings.all_faults - findings.faults.size() << " more\n";
    err << err.paint(Colour::red, "the chain is broken")
        << ": what stands from the first such place on is not proven. Keep these files as they are, compare them with\n"
           "what was shipped elsewhere (the log has a line for each event too), and find out who could write to "
           "them.\n";
}

int refuse(Streams& streams, const std::string& why) {
    streams.err << streams.err.paint(Colour::red, "not verified") << ": " << why << "\n";
    return code_of(Exit::failure);
}

}  // namespace

int verify_audit(const std::string& given, const AuditQuestion& question, Output output, Streams& streams) {
    bool from_the_first = false;
    std::variant<Files, std::string> opened;
    if (question.files.empty()) {
        const auto config = load_or_explain(given, streams.err);
        if (!config) return code_of(Exit::bad_policy);
        opened = open_trail(config->state, from_the_first);
    } else {
        opened = open_all(question.files);
    }
    if (const auto* why = std::get_if<std::string>(&opened)) return refuse(streams, *why);
    const Files files = std::get<Files>(std::move(opened));
    AuditCheck check(question.expected, from_the_first);
    for (const auto& file : files) {
        check.begin(file->name());
        if (const int error = file->read([&check](std::string_view bytes) { check.feed(bytes); }))
            return refuse(streams, "cannot read " + file->name() + ": " + std::strerror(error));
    }
    const AuditFindings findings = check.finish();
    switch (output) {
    case Output::text: print_text(findings, question, streams); break;
    case Output::json: print_json(findings, question, files, streams.out); break;
    }
    return code_of(findings.whole() ? Exit::fine : Exit::failure);
}

}  // namespace sluice
