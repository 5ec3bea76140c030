#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "config/decode.hpp"

namespace sluice {
namespace {

/// At most one byte more than a policy file may have, so that its size can be judged.
std::optional<std::string> read_bounded(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return {};
    std::string text;
    std::size_t size = 0;
    for (;;) {
        constexpr std::size_t piece = 64 * 1024;
        text.resize(size + std::min(piece, max_policy_file + 1 - size));
        const ssize_t got = ::read(file, text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got > 0) size += static_cast<std::size_t>(got);
        if (got > 0 && size <= max_policy_file) continue;
        ::close(file);
        text.resize(size);
        return got < 0 ? std::nullopt : std::optional(std::move(text));
    }
}

std::vector<std::string> list_sorted(const std::string& pattern) {
    glob_t found{};
    std::vector<std::string> paths;
    // Sorted here, by bytes: glob's own order depends on the locale.
    if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0)
        paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    std::sort(paths.begin(), paths.end());
    return paths;
}

std::optional<std::string> variable(const std::string& name) {
    const char* value = ::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
}

std::string state_directory() {
    // XDG Base Directory: a relative path in the variable is to be ignored.
    if (const auto state = variable("XDG_STATE_HOME"); state && state->starts_with('/')) return *state + "/sluice";
    if (const auto home = variable("HOME"); home && home->starts_with('/')) return *home + "/.local/state/sluice";
    return {};
}

}  // namespace

PolicyInputs PolicyInputs::system() {
    std::error_code unknown;  // a directory that is gone: relative paths stay so
    return {read_bounded, list_sorted, variable, state_directory(), std::filesystem::current_path(unknown).string()};
}

}  // namespace sluice
