#include "certs/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <utility>

namespace sluice {
namespace {

constexpr std::size_t most_bytes = 16u << 20;

CertFault system_fault(std::string_view what, const std::string& path, int error) {
    return {std::string(what) + " " + path + ": " + std::generic_category().message(error)};
}

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

std::string parent_of(const std::string& path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::string mode_text(mode_t mode) {
    char text[8];
    std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
    return text;
}

struct OpenFile {
    Descriptor descriptor;
    std::size_t size;
};

/// Opened without ever waiting: a FIFO in the place of a file must not hang the start.
CertResult<OpenFile> open_regular(const std::string& path, Privacy privacy) {
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat status {};
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return system_fault("cannot read", path, errno);
    if (!S_ISREG(status.st_mode)) return CertFault{"cannot read " + path + ": it is no regular file"};
    if (privacy == Privacy::owner_only && (status.st_mode & 077) != 0)
        return CertFault{path + " is open to others than its owner (mode " + mode_text(status.st_mode) +
                         "), so the key may be known: chmod 600 " + path};
    if (privacy == Privacy::owner_only && status.st_uid != ::geteuid() && status.st_uid != 0)
        return CertFault{path + " belongs to another user (" + std::to_string(status.st_uid) +
                         "), who knows the key: remove it and its certificate to have a new pair made, or chown it"};
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size > most_bytes) return CertFault{"cannot read " + path + ": it is larger than 16 MiB"};
    return OpenFile{std::move(file), size};
}

/// The string never grows once something is in it, so that no part of a secret stays behind in freed memory.
CertResult<std::string> read_all(const std::string& path, Privacy privacy) {
    const auto file = open_regular(path, privacy);
    if (!file) return file.error();
    std::string bytes(file->size, '\0');
    std::size_t filled = 0;
    while (filled < bytes.size()) {
        const ssize_t got = ::read(file->descriptor.get(), bytes.data() + filled, bytes.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            const int error = errno;
            wipe(bytes);
            return system_fault("cannot read", path, error);
        }
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    bytes.resize(filled);
    return {boost::system::in_place_value, std::move(bytes)};
}

bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

/// A rename is on the disk only once its directory is.
bool sync_directory(const std::string& path) {
    Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return directory.get() >= 0 && ::fsync(directory.get()) == 0;
}

/// A file beside its future name that goes away again unless it took that name.
class Temporary {
  public:
    explicit Temporary(const std::string& path)
        : name_(parent_of(path) + "/." + path.substr(path.find_last_of('/') + 1) + ".XXXXXX"),
          file_(::mkostemp(name_.data(), O_CLOEXEC)) {}
    ~Temporary() {
        if (file_.get() >= 0 && !renamed_) ::unlink(name_.c_str());
    }
    int get() const { return file_.get(); }
    bool rename_to(const std::string& path) { return renamed_ = ::rename(name_.c_str(), path.c_str()) == 0; }

  private:
    std::string name_;
    Descriptor file_;
    bool renamed_ = false;
};

}  // namespace

CertResult<std::string> read_public_file(const std::string& path) {
    return read_all(path, Privacy::as_mounted);
}

CertResult<Secret> read_secret_file(const std::string& path, Privacy privacy) {
    auto bytes = read_all(path, privacy);
    if (!bytes) return bytes.error();
    return Secret(std::move(*bytes));
}

bool is_absent(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) != 0 && errno == ENOENT;
}

CertResult<void> ensure_directory(const std::string& path, mode_t mode) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) {
        if (S_ISDIR(status.st_mode)) return {};
        return CertFault{path + " is no directory"};
    }
    if (errno != ENOENT) return system_fault("cannot use directory", path, errno);
    if (const auto parent = parent_of(path); parent != path)
        if (auto made = ensure_directory(parent, mode); !made) return made;
    if (::mkdir(path.c_str(), mode) != 0) {
        if (errno == EEXIST) return {};  // another process was faster
        return system_fault("cannot create directory", path, errno);
    }
    if (::chmod(path.c_str(), mode) != 0) return system_fault("cannot set the mode of", path, errno);
    return {};
}

CertResult<void> replace_file(const std::string& path, std::string_view bytes, mode_t mode, Durability durability) {
    Temporary temporary(path);
    if (temporary.get() < 0) return system_fault("cannot write", path, errno);
    if (::fchmod(temporary.get(), mode) != 0 || !write_all(temporary.get(), bytes))
        return system_fault("cannot write", path, errno);
    if (durability == Durability::synced && ::fsync(temporary.get()) != 0)
        return system_fault("cannot write", path, errno);
    if (!temporary.rename_to(path)) return system_fault("cannot write", path, errno);
    if (durability == Durability::synced && !sync_directory(parent_of(path)))
        return system_fault("cannot sync the directory of", path, errno);
    return {};
}

CertResult<FileLock> FileLock::take(const std::string& path) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0 || ::fchmod(file.get(), 0600) != 0) return system_fault("cannot lock", path, errno);
    constexpr auto pause = 10ms;
    for (int tries = 1000; ::flock(file.get(), LOCK_EX | LOCK_NB) != 0; --tries) {
        if (errno != EWOULDBLOCK && errno != EINTR) return system_fault("cannot lock", path, errno);
        if (tries == 0) return CertFault{"cannot lock " + path + ": another process has held it for ten seconds"};
        std::this_thread::sleep_for(pause);
    }
    return FileLock(file.release());
}

FileLock::~FileLock() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace sluice
