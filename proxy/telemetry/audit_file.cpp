#include "proxy/telemetry/audit_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace sluice {

namespace {

constexpr const char* file_name = "/audit.jsonl";
constexpr std::size_t most_searched = 8 * 1024 * 1024;  // of a file's end: whole files, as long as they are ours
constexpr Duration lock_patience = 2s;                  // others hold it for as long as they write, or read 10 MiB

struct CannotWrite : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::size_t write_all(int fd, std::string_view text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t written = ::write(fd, text.data() + done, text.size() - done);
        if (written < 0 && errno == EINTR) continue;
        if (written == 0) errno = ENOSPC;
        if (written <= 0) break;
        done += static_cast<std::size_t>(written);
    }
    return done;
}

/// The last bytes of a file, at most `most`; fewer where it shrinks meanwhile.
std::string end_of(int fd, std::uint64_t size, std::size_t most) {
    std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(size, most)), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got =
            ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(size - bytes.size() + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += static_cast<std::size_t>(got);
    }
    bytes.resize(done);
    return bytes;
}

/// The hash of a record among these lines; "" where it is none of theirs, though one before it is, and nothing where
/// all are later ones.
std::optional<std::string> hash_of_record(std::uint64_t seq, std::string_view lines) {
    while (!lines.empty()) {
        if (lines.back() == '\n') lines.remove_suffix(1);
        const std::size_t before = lines.rfind('\n');
        const std::string_view line = lines.substr(before + 1);  // npos + 1: from the beginning
        const auto record = read_audit_line(line);
        if (record && record->seq == seq) return audit_hash(line);
        if (record && record->seq < seq) return std::string();
        lines = lines.substr(0, before == lines.npos ? 0 : before + 1);
    }
    return {};
}

/// Of a file by its name; "" where there is none.
std::string end_of(const std::string& path, std::size_t most, bool& whole) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return {};
    struct stat status {};
    std::string bytes;
    if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        const auto size = static_cast<std::uint64_t>(status.st_size);
        bytes = end_of(fd, size, most);
        whole = size <= most;
    }
    ::close(fd);
    return bytes;
}

}  // namespace

AuditFile::AuditFile(std::string directory, AuditBounds bounds)
    : directory_(std::move(directory)), path_(directory_ + file_name), bounds_(bounds) {}

AuditFile::~AuditFile() {
    close();
}

void AuditFile::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    left_ = false;
}

std::string AuditFile::older(unsigned number) const {
    return path_ + '.' + std::to_string(number);
}

void AuditFile::fail(const std::string& what, int error) const {
    throw CannotWrite(what + ": " + std::strerror(error) + "; let uid " + std::to_string(::geteuid()) +
                      " write there, or make room");
}

std::string AuditFile::append(const std::vector<AuditRecord>& records) {
    if (directory_.empty())
        return "there is no state directory to keep it in; write `state: /var/lib/sluice` (or another) in the policy";
    try {
        struct stat status {};
        for (bool rotated = false;; rotated = true) {
            open();
            if (::fstat(fd_, &status) != 0) fail("cannot look at " + path_, errno);
            if (rotated || static_cast<std::uint64_t>(status.st_size) < bounds_.most_bytes) break;
            rotate();
        }
        write(records, static_cast<std::uint64_t>(status.st_size));
        unlock();
        return {};
    } catch (const CannotWrite& failure) {
        close();  // and so unlocked; what is there is looked at anew
        return failure.what();
    }
}

/// The file of that name as it is now, locked.
void AuditFile::open() {
    constexpr int most_tries = 100;  // another process begins a new one each time
    for (int i = 0; i < most_tries; ++i) {
        if (fd_ < 0) {
            std::error_code error;
            if (std::filesystem::create_directories(directory_, error))
                std::filesystem::permissions(directory_, std::filesystem::perms::owner_all, error);
            fd_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
            if (fd_ < 0) fail("cannot open " + path_, errno);
        }
        struct stat status {};
        if (::fstat(fd_, &status) != 0) fail("cannot look at " + path_, errno);
        if (!S_ISREG(status.st_mode)) throw CannotWrite(path_ + " is no regular file; move it away");
        lock();
        if (is_current()) return;
        close();
    }
    throw CannotWrite(path_ + " is replaced again and again; who else writes there?");
}

bool AuditFile::is_current() const {
    struct stat named {
    }, opened{};
    return ::lstat(path_.c_str(), &named) == 0 && ::fstat(fd_, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

/// Without one on a file system that has none.
void AuditFile::lock() {
    const TimePoint until = std::chrono::steady_clock::now() + lock_patience;
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return;
        if (std::chrono::steady_clock::now() >= until)
            throw CannotWrite("another process holds the lock of " + path_ + "; end it");
        std::this_thread::sleep_for(5ms);
    }
}

void AuditFile::unlock() {
    ::flock(fd_, LOCK_UN);
}

/// Under the lock of the file that goes: whoever waits for that looks again which one is current.
void AuditFile::rotate() {
    if (bounds_.older == 0 && ::unlink(path_.c_str()) != 0) fail("cannot remove " + path_, errno);
    for (unsigned number = bounds_.older; number > 0; --number) {
        const std::string from = number == 1 ? path_ : older(number - 1);
        if (std::rename(from.c_str(), older(number).c_str()) != 0 && errno != ENOENT)
            fail("cannot move " + from + " to " + older(number), errno);
    }
    close();
}

/// Where the chain stands: at the end of the file, or, while that has no record, of the one before it.
AuditTail AuditFile::tail_of(std::uint64_t size) const {
    const std::string bytes = end_of(fd_, size, audit_tail);
    AuditTail tail = read_audit_tail(bytes, bytes.size() == size);
    if (tail.head) return tail;
    if (bytes.size() < size) {
        tail.unreadable = true;
        return tail;
    }
    bool whole = false;
    std::string both = end_of(older(1), audit_tail, whole);
    if (!both.empty() && both.back() != '\n') both += '\n';
    both += bytes;
    AuditTail joined = read_audit_tail(both, whole);
    joined.open_line = tail.open_line;
    if (!joined.head) joined.unreadable = !both.empty();
    return joined;
}

/// Is what was written last still what it was? Also where that has gone with the oldest file, as far as can be told:
/// the chain's beginning shows whether it has.
bool AuditFile::stands(const AuditTail& tail, std::uint64_t size) const {
    if (head_.seq == 0) return true;
    if (!tail.head) return size == 0 && bounds_.older == 0;
    if (tail.head->seq <= head_.seq) return tail.head->seq == head_.seq && tail.head->hash == head_.hash;
    std::string bytes = end_of(fd_, size, most_searched);
    bool whole = bytes.size() == size;
    for (unsigned number = 0;;) {
        if (const auto hash = hash_of_record(head_.seq, bytes)) return *hash == head_.hash;
        if (!whole) return false;  // that much nobody of ours writes
        if (++number > bounds_.older) return true;
        bytes = end_of(older(number), most_searched, whole);
    }
}

std::string AuditFile::text_after(const AuditTail& tail, const std::vector<AuditRecord>& records,
                                  AuditHead& head) const {
    const WallTime now = std::chrono::system_clock::now();
    std::string text;
    if (tail.open_line) text += '\n';
    const bool anew = head.seq == 0 && tail.unreadable;
    if (anew) {
        text += chained(AuditRecord(begun_anew_event, now)
                            .add("detail", "no record before this one can be read, so the chain begins anew"),
                        head);
    } else if (tail.unreadable) {
        text += chained(AuditRecord(resumed_event, now)
                            .add("detail", "what stands before this is no record: a line that was not written whole")
                            .add("skipped_bytes", std::uint64_t{tail.skipped_bytes})
                            .add("skipped_sha256", tail.skipped_sha256),
                        head);
    }
    for (const AuditRecord& record : records) text += chained(record, head);
    return text;
}

void AuditFile::write(const std::vector<AuditRecord>& records, std::uint64_t size) {
    AuditTail tail;
    AuditHead head = head_;
    if (!left_ || size != left_size_) {
        tail = tail_of(size);
        // What we wrote ourselves stays what the next record follows: if it is gone from the file, or is another one by
        // now, that has to show.
        const bool sound = stands(tail, size);
        if (sound && tail.head && tail.head->seq > head.seq) head = *tail.head;
        if (!sound && !std::exchange(alarmed_, true))
            alarm_ = "record " + std::to_string(head_.seq) +
                     ", which was written last, was changed or taken away; the chain goes "
                     "on from what it was: see `sluice audit verify`, keep the files as they are, and find out who "
                     "could write there";
    }
    const std::string text = text_after(tail, records, head);
    const std::size_t written = write_all(fd_, text);
    if (written < text.size()) {
        const int error = errno;
        // Nobody else has written since. Where it cannot be taken back, the next one says what it found.
        const int taken_back = ::ftruncate(fd_, static_cast<off_t>(size));
        static_cast<void>(taken_back);
        fail("cannot write to " + path_, error);
    }
    head_ = head;
    left_ = true;
    left_size_ = size + text.size();
    if (::fdatasync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP)
        fail("cannot be sure that " + path_ + " is on the disk", errno);
}

std::vector<std::string> audit_files(const std::string& directory, AuditBounds bounds) {
    std::vector<std::string> all;
    if (directory.empty()) return all;
    const std::string path = directory + file_name;
    for (unsigned number = bounds.older; number > 0; --number) all.push_back(path + '.' + std::to_string(number));
    all.push_back(path);
    std::erase_if(all, [](const std::string& file) {
        std::error_code error;
        return !std::filesystem::exists(file, error);
    });
    return all;
}

bool may_have_dropped(const std::vector<std::string>& files, AuditBounds bounds) {
    return bounds.older == 0 ||
           (files.size() >= bounds.older && files.front().ends_with('.' + std::to_string(bounds.older)));
}

}  // namespace sluice
