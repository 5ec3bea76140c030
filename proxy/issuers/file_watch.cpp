#include "proxy/issuers/file_watch.hpp"

#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <string_view>
#include <utility>

namespace sluice {

namespace {

constexpr int max_links = 40;  // as the kernel has it (ELOOP)
constexpr std::uint32_t watched =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

struct Entry {
    std::string directory, name;
};

void push_components(std::deque<std::string>& front, std::string_view path) {
    std::deque<std::string> components;
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view component = path.substr(0, slash);
        if (!component.empty() && component != ".") components.emplace_back(component);
        path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
    }
    front.insert(front.begin(), components.begin(), components.end());
}

std::string target_of(const std::string& link) {
    std::array<char, PATH_MAX> target;
    const ssize_t size = readlink(link.c_str(), target.data(), target.size());
    return size < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(size));
}

// The entries on the way to the file that a path names: each link, and the last; or the first that is missing.
std::vector<Entry> trail_of(std::string_view path) {
    std::vector<Entry> trail;
    std::deque<std::string> ahead;
    push_components(ahead, path);
    std::string at = "/";  // without links
    for (int links = 0; !ahead.empty();) {
        const std::string name = std::exchange(ahead.front(), {});
        ahead.pop_front();
        if (name == "..") {
            at.resize(std::max<std::size_t>(at.rfind('/'), 1));
            continue;
        }
        std::string next = at == "/" ? at + name : at + '/' + name;
        struct stat status {};
        const bool missing = lstat(next.c_str(), &status) != 0;
        const bool link = !missing && S_ISLNK(status.st_mode);
        if (missing || link || ahead.empty()) trail.push_back({at, name});
        if (missing || (link && ++links > max_links)) break;
        if (!link) {
            at = std::move(next);
            continue;
        }
        const std::string target = target_of(next);
        if (target.starts_with('/')) at.resize(1);
        push_components(ahead, target);
    }
    return trail;
}

}  // namespace

FileWatch::FileWatch() : fd_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

FileWatch::~FileWatch() {
    if (fd_ >= 0) close(fd_);
}

void FileWatch::follow(const std::vector<std::string>& paths, const std::vector<std::string>& directories) {
    if (fd_ < 0) return;
    std::map<int, std::set<std::string>> names;
    const auto add = [&](Entry entry) {
        const int watch = inotify_add_watch(fd_, entry.directory.c_str(), watched | IN_ONLYDIR);
        if (watch >= 0) names[watch].insert(std::move(entry.name));
    };
    for (const std::string& path : paths)
        for (Entry& entry : trail_of(path)) add(std::move(entry));
    for (const std::string& directory : directories) {
        for (Entry& entry : trail_of(directory)) add(std::move(entry));
        add({directory, {}});
    }
    for (const auto& [watch, _] : names_) {
        if (!names.contains(watch)) inotify_rm_watch(fd_, watch);
    }
    names_ = std::move(names);
}

bool FileWatch::take_events() {
    bool ours = false;
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    for (ssize_t size; (size = read(fd_, buffer.data(), buffer.size())) > 0;) {
        for (const char* at = buffer.data(); at < buffer.data() + size;) {
            inotify_event event;
            std::memcpy(&event, at, sizeof event);
            const std::string_view name = event.len ? std::string_view(at + sizeof event) : std::string_view();
            at += sizeof event + event.len;
            const auto entries = names_.find(event.wd);
            if (event.mask & IN_Q_OVERFLOW) ours = true;  // whatever it was
            if (entries == names_.end()) continue;
            ours = ours || name.empty() || entries->second.contains({}) || entries->second.contains(std::string(name));
        }
    }
    return ours;
}

}  // namespace sluice
