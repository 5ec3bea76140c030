#include "proxy/app/policy_source.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace sluice {

namespace {

std::string absolute(const std::string& path) {
    std::error_code ignored;  // only where there is no working directory any more; then nothing can be read either
    const auto whole = std::filesystem::absolute(path, ignored);
    return ignored ? path : whole.string();
}

bool same(const timespec& a, const timespec& b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/// Within the tick of the clock that files are stamped with; a clock that differs by more is another machine's.
bool just_now(const timespec& then) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const double apart = static_cast<double>(now.tv_sec - then.tv_sec) + (now.tv_nsec - then.tv_nsec) / 1e9;
    return apart > -0.05 && apart < 0.05;
}

/// Every directory that a pattern looks into: "conf.d/*/x-?.yaml" looks into conf.d, and into each of its directories.
void add_directories(const std::string& pattern, std::set<std::string>& into) {
    std::size_t slash = pattern.find('/', 1);
    while (slash != std::string::npos) {
        const std::size_t next = pattern.find('/', slash + 1);
        const std::string component = pattern.substr(slash + 1, next == std::string::npos ? next : next - slash - 1);
        if (component.find_first_of("*?[") != std::string::npos) {
            const std::string above = pattern.substr(0, slash);
            if (above.find_first_of("*?[") == std::string::npos) {
                into.insert(above);
            } else {
                for (const std::string& found : PolicyInputs::system().list_files(above)) into.insert(found);
            }
        }
        slash = next;
    }
}

}  // namespace

PolicySource::PolicySource(std::string path, Adjust adjust) : path_(std::move(path)), adjust_(std::move(adjust)) {}

bool PolicySource::Stamp::operator==(const Stamp& other) const {
    return there == other.there && device == other.device && file == other.file && size == other.size &&
           same(modified, other.modified) && same(changed, other.changed);
}

PolicySource::Stamp PolicySource::stamp(const std::string& path) {
    struct stat status {};
    Stamp stamp;
    if (::stat(path.c_str(), &status) != 0) return stamp;
    stamp.there = true;
    stamp.device = status.st_dev;
    stamp.file = status.st_ino;
    stamp.size = status.st_size;
    stamp.modified = status.st_mtim;
    stamp.changed = status.st_ctim;
    stamp.fresh = just_now(status.st_ctim);
    return stamp;
}

Decoded PolicySource::load() {
    files_.clear();
    patterns_.clear();
    // Noted before it is read: what is written in between shows as a change.
    PolicyInputs inputs = PolicyInputs::system();
    inputs.read_file = [this, read = inputs.read_file](const std::string& path) {
        const std::string whole = absolute(path);
        files_.insert_or_assign(whole, stamp(whole));
        return read(path);
    };
    inputs.list_files = [this, list = inputs.list_files](const std::string& pattern) {
        auto found = list(pattern);
        patterns_.insert_or_assign(absolute(pattern), list(absolute(pattern)));
        return found;
    };
    Decoded decoded = load_policy(path_, inputs);
    if (decoded.config && adjust_) decoded.config = std::make_shared<const Config>(adjust_(*decoded.config));
    return decoded;
}

void PolicySource::note(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
        const std::string whole = absolute(file);
        files_.insert_or_assign(whole, stamp(whole));
    }
}

bool PolicySource::changed() const {
    const auto list = PolicyInputs::system().list_files;
    return std::any_of(files_.begin(), files_.end(),
                       [](const auto& file) { return file.second.fresh || !(stamp(file.first) == file.second); }) ||
           std::any_of(patterns_.begin(), patterns_.end(),
                       [&list](const auto& pattern) { return list(pattern.first) != pattern.second; });
}

std::vector<std::string> PolicySource::files() const {
    std::vector<std::string> all;
    for (const auto& [path, stamp] : files_) all.push_back(path);
    return all;
}

std::vector<std::string> PolicySource::directories() const {
    std::set<std::string> all;
    for (const auto& [pattern, found] : patterns_) add_directories(pattern, all);
    return {all.begin(), all.end()};
}

}  // namespace sluice
