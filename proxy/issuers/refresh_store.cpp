#include "proxy/issuers/refresh_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <vector>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/digest.hpp"
#include "proxy/credentials/secret_json.hpp"
#include "proxy/issuers/read_secret.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_of_a_token = 8192;   // few are half as long
constexpr std::size_t most_files = 1000;   // that are read for one that has another credential's name

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

Failure unusable(std::string detail) {
    return {Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(detail)};
}

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

}  // namespace

RefreshStore::RefreshStore(std::string state_directory, const std::string& credential, Secret first)
    : directory_(state_directory + "/refresh"),
      first_(std::move(first)),
      chain_(chain_of(first_)),
      by_name_(directory_ + '/' + credential + ".json"),
      by_chain_(directory_ + '/' + chain_ + ".json"),
      path_(by_name_) {}

RefreshStore::~RefreshStore() {
    if (lock_ >= 0) ::close(lock_);
}

std::string RefreshStore::chain_of(const Secret& first) {
    return to_hex(hash_of(HashAlgorithm::sha256, first.reveal()).bytes());
}

// A file of its own, since the chain's is another one each time it is written; it stays, since who waits for it may have it open.
Result<bool> RefreshStore::try_lock() {
    if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return cannot("kept", errno);
    const std::string path = directory_ + '/' + chain_ + ".lock";
    constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;   // a FIFO would wait
    if (lock_ < 0) lock_ = ::open(path.c_str(), flags, 0600);
    struct stat status {};
    if (lock_ < 0 ? errno == ENXIO : ::fstat(lock_, &status) == 0 && !S_ISREG(status.st_mode))
        return unusable(path + " is not a regular file; remove it");
    if (lock_ < 0) return cannot("kept", errno);
    return ::flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

Failure RefreshStore::cannot(const char* what, int error) const {
    return {Origin::sluice, Reason::credential_unavailable, Replay::safe, std::string("its rotated refresh token cannot be ") + what + " in " + path_ + ": " + std::strerror(error) + "; let uid " + std::to_string(::geteuid()) + " write there"};
}

Result<Secret> RefreshStore::latest() {
    latest_ = first_;
    dead_ = false;
    Result<std::optional<Kept>> kept = find();
    if (!kept) return kept.error();
    if (!*kept) return latest_;
    latest_ = std::move((*kept)->token);
    dead_ = (*kept)->dead;
    return latest_;
}

// Nothing: there is none. A Failure: there is, but not to be read, or it is no such file.
Result<std::optional<RefreshStore::Kept>> RefreshStore::read(const std::string& path) const {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return std::optional<Kept>{};
        return cannot("read", errno);
    }
    auto text = read_secret_file(path);
    if (text.has_error()) return text.error();
    const auto json = SecretJson::parse(text->reveal());
    const auto chain = json ? json->text("first_sha256") : std::nullopt;
    const auto token = json ? json->text("refresh_token") : std::nullopt;
    if (!chain || !token || token->empty())
        return unusable(path + " is not what Sluice wrote there; remove it to begin with the policy's refresh token");
    const auto* dead = json->find("dead");
    const bool is_dead = dead && dead->is_bool() && dead->get_bool();
    return std::optional<Kept>(Kept{std::string(*chain), Secret(std::string(*token)), is_dead});
}

// Sets `path_`. What the operator gave before under this name, or now gives under another, keeps its file: it may be
// the only one that is good.
Result<std::optional<RefreshStore::Kept>> RefreshStore::find() {
    bool taken = false;
    for (const std::string& path : {by_chain_, by_name_}) {
        path_ = path;
        Result<std::optional<Kept>> kept = read(path);
        if (!kept || (*kept && (*kept)->chain == chain_)) return kept;
        taken = kept->has_value();
    }
    if (auto kept = find_elsewhere()) return kept;
    path_ = taken ? by_chain_ : by_name_;
    return std::optional<Kept>{};
}

// Under another credential's name; the newest, should somebody have copied it. What is no such file is not ours to
// judge.
std::optional<RefreshStore::Kept> RefreshStore::find_elsewhere() {
    std::vector<std::pair<std::filesystem::file_time_type, std::string>> files;
    std::error_code error, gone;
    for (std::filesystem::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error))
        if (at->path().extension() == ".json") files.emplace_back(at->last_write_time(gone), at->path().string());
    std::sort(files.begin(), files.end(), std::greater<>());
    files.resize(std::min(files.size(), most_files));
    for (auto& [_, path] : files) {
        Result<std::optional<Kept>> kept = read(path);
        if (!kept || !*kept || (*kept)->chain != chain_) continue;
        path_ = std::move(path);
        return std::move(*kept);
    }
    return {};
}

Result<void> RefreshStore::keep(const Secret& next) { return write(next, false); }

Result<void> RefreshStore::bury(const Secret& token) {
    const Result<Secret> now = latest();
    if (!now) return now.error();
    if (!now->same_as(token.reveal())) return {};
    return write(token, true);
}

Result<void> RefreshStore::try_to_keep() {
    const int error = write_fresh(std::string(most_of_a_token, ' '));
    ::unlink((by_chain_ + ".new").c_str());
    if (error != 0) return cannot("kept", error);
    return {};
}

// Beside the one that is kept, and synced. 0, or errno.
int RefreshStore::write_fresh(std::string_view text) const {
    if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return errno;
    const std::string fresh = by_chain_ + ".new";
    ::unlink(fresh.c_str());
    const Descriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    return file.get() < 0 || !write_all(file.get(), text) || ::fsync(file.get()) != 0 ? errno : 0;
}

Result<void> RefreshStore::write(const Secret& token, bool dead) {
    latest_ = token;
    dead_ = dead;
    if (find().has_error()) path_ = by_chain_;   // again: another chain may have taken the name since
    std::string quoted = boost::json::serialize(boost::json::string_view(token.reveal().data(), token.size()));
    std::string text;
    text.reserve(quoted.size() + 160);
    text.append("{\"first_sha256\":\"").append(chain_).append("\",\"refresh_token\":").append(quoted).append(dead ? ",\"dead\":true}\n" : "}\n");
    wipe(quoted);
    int error = write_fresh(text);
    wipe(text);
    if (error == 0 && ::rename((by_chain_ + ".new").c_str(), path_.c_str()) != 0) error = errno;
    if (error != 0) return cannot("kept", error);
    const Descriptor folder(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() >= 0) ::fsync(folder.get());
    return {};
}

}  // namespace sluice
