// Files that hold keys and certificates: read whole and bounded, replaced as a whole. Nothing here depends on the
// umask. Called by the rest of `certs`, on whatever thread that runs (start, reload).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "certs/authority.hpp"
#include "proxy/base/secret.hpp"

namespace sluice {

/// Whoever may read a key can be us, so one that Sluice made itself is taken only while nobody else may. A key that the
/// operator mounts (a Kubernetes secret under fsGroup is 0440) is his to protect.
enum class Privacy : unsigned char { owner_only, as_mounted };

/// A regular file of at most 16 MiB.
CertResult<std::string> read_public_file(const std::string& path);
CertResult<Secret> read_secret_file(const std::string& path, Privacy privacy);

/// Nothing there, not even a dangling link.
bool is_absent(const std::string& path);

/// Creates the directory and its parents where missing, each with exactly `mode`; one that exists is left as it is.
CertResult<void> ensure_directory(const std::string& path, mode_t mode);

/// Is the new content on the disk when the call returns? A key that applications will be told to trust has to be;
/// what every start writes anew does not.
enum class Durability : unsigned char { synced, lazy };

/// Readers see the old bytes or the new ones, never a part: a temporary beside it, then rename. The mode is exact.
CertResult<void> replace_file(const std::string& path, std::string_view bytes, mode_t mode, Durability durability);

/// Held by one process at a time, until destroyed or the process ends however it ends.
class FileLock {
  public:
    /// Waits ten seconds at most: who holds it needs milliseconds.
    static CertResult<FileLock> take(const std::string& path);
    FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    FileLock& operator=(FileLock&&) = delete;
    ~FileLock();

  private:
    explicit FileLock(int fd) : fd_(fd) {}
    int fd_;
};

}  // namespace sluice
