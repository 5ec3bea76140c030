#include "proxy/issuers/read_secret.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

constexpr std::size_t max_secret = 1024 * 1024;

Failure unavailable(std::string detail) {
    return Failure{Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(detail)};
}

Failure unreadable(const std::string& path, int error) {
    std::string why = std::generic_category().message(error);
    if (!why.empty()) why[0] = lower(why[0]);
    std::string remedy = "correct the path";
    if (error == ENOENT || error == ENOTDIR) remedy = "mount it or correct the path";
    if (error == EACCES || error == EPERM) remedy = "let uid " + std::to_string(geteuid()) + " read it";
    return unavailable("cannot read " + path + ": " + why + "; " + remedy);
}

class OpenFile {
  public:
    // O_NONBLOCK: opening a FIFO would otherwise wait for its writer.
    explicit OpenFile(const std::string& path)
        : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    ~OpenFile() {
        if (fd_ >= 0) close(fd_);
    }
    int fd() const { return fd_; }

  private:
    int fd_;
};

// A buffer whose every earlier place is wiped too.
class SecretBuffer {
  public:
    explicit SecretBuffer(std::size_t room) : bytes_(room, '\0') {}
    SecretBuffer(const SecretBuffer&) = delete;
    SecretBuffer& operator=(const SecretBuffer&) = delete;
    ~SecretBuffer() { wipe(bytes_); }

    // Reads to the end of the file, or until more was read than a secret may have. 0, or errno.
    int read_all(int fd) {
        for (;;) {
            if (used_ > max_secret) return 0;
            if (used_ == bytes_.size()) grow();
            const ssize_t got = read(fd, bytes_.data() + used_, bytes_.size() - used_);
            if (got == 0) return 0;
            if (got > 0) used_ += static_cast<std::size_t>(got);
            if (got < 0 && errno != EINTR) return errno;
        }
    }
    std::string_view text() const { return std::string_view(bytes_).substr(0, used_); }

  private:
    void grow() {
        std::string larger(2 * bytes_.size(), '\0');
        std::copy_n(bytes_.begin(), used_, larger.begin());
        wipe(bytes_);
        bytes_.swap(larger);
    }

    std::string bytes_;
    std::size_t used_ = 0;
};

std::string_view without_newline(std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
    return text;
}

}  // namespace

Result<Secret> read_secret_file(const std::string& path) {
    const OpenFile file(path);
    if (file.fd() < 0) return unreadable(path, errno);
    struct stat status {};
    if (fstat(file.fd(), &status) != 0) return unreadable(path, errno);
    if (!S_ISREG(status.st_mode))
        return unavailable("cannot use " + path + ": it is not a regular file; correct the path");

    const auto size = std::min(static_cast<std::size_t>(status.st_size), max_secret);
    SecretBuffer buffer(std::max<std::size_t>(size + 1, 4096));
    if (const int error = buffer.read_all(file.fd())) return unreadable(path, error);
    if (buffer.text().size() > max_secret)
        return unavailable("cannot use " + path + ": it is larger than 1 MiB; correct the path");
    const std::string_view value = without_newline(buffer.text());
    if (value.empty()) return unavailable("cannot use " + path + ": it is empty; write the secret into it");
    return Secret(std::string(value));
}

Result<Secret> read_secret_variable(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr)
        return unavailable("the environment variable " + name + " is not set; set it where Sluice is started");
    if (*value == '\0')
        return unavailable("the environment variable " + name + " is empty; set it where Sluice is started");
    return Secret(std::string(value));
}

}  // namespace sluice
