#include "proxy/app/cpus.hpp"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// Processors, rounded up; nothing without a quota ("max", -1) or for what is no number.
std::optional<unsigned> quota_of(std::string_view quota, std::string_view period) {
    const auto allowed = parse_decimal(trimmed(quota));
    const auto every = parse_decimal(trimmed(period));
    if (!allowed || !every || *allowed == 0 || *every == 0) return std::nullopt;
    return static_cast<unsigned>(std::min<std::uint64_t>((*allowed - 1) / *every + 1, 1u << 16));
}

std::string_view first_line(std::string_view text) {
    return text.substr(0, text.find('\n'));
}

std::optional<unsigned> quota_v2(const ReadFile& read_file, const std::string& group) {
    const auto text = read_file("/sys/fs/cgroup" + group + "/cpu.max");  // "150000 100000", "max 100000"
    if (!text) return std::nullopt;
    const std::string_view line = first_line(*text);
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    return quota_of(line.substr(0, space), line.substr(space + 1));
}

std::optional<unsigned> quota_v1(const ReadFile& read_file, const std::string& group) {
    const std::string folder = "/sys/fs/cgroup/cpu" + group;  // a link to "cpu,cpuacct" where both are one hierarchy
    const auto quota = read_file(folder + "/cpu.cfs_quota_us");
    const auto period = read_file(folder + "/cpu.cfs_period_us");
    if (!quota || !period) return std::nullopt;
    return quota_of(first_line(*quota), first_line(*period));
}

/// One line of /proc/self/cgroup: "hierarchy:controllers:path".
struct Membership {
    bool v2 = false;
    bool cpu = false;
    std::string path;
};

Membership membership_of(std::string_view line) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return {};
    const std::string controllers = ',' + std::string(line.substr(first + 1, second - first - 1)) + ',';
    return {controllers == ",,", controllers.find(",cpu,") != std::string::npos, std::string(line.substr(second + 1))};
}

/// The tightest quota on the way from `path` up to the root. Inside a container the path may be one that only the host
/// knows: then the root of what is mounted is the container's own group.
unsigned tightest(const ReadFile& read_file, const Membership& member, unsigned so_far) {
    std::string path = member.path == "/" ? "" : member.path;
    for (;;) {
        if (const auto quota = member.v2 ? quota_v2(read_file, path) : quota_v1(read_file, path)) {
            so_far = std::min(so_far, *quota);
        }
        if (path.empty()) return so_far;
        const std::size_t slash = path.rfind('/');
        path.resize(slash == std::string::npos ? 0 : slash);
    }
}

}  // namespace

unsigned cpu_budget(const ReadFile& read_file, unsigned online) {
    unsigned budget = std::max(online, 1u);
    const auto groups = read_file("/proc/self/cgroup");
    if (!groups) return budget;
    std::istringstream lines(*groups);
    for (std::string line; std::getline(lines, line);) {
        const Membership member = membership_of(line);
        if (member.v2 || member.cpu) budget = tightest(read_file, member, budget);
    }
    return budget;
}

unsigned cpus_of_this_process() {
    cpu_set_t mask;
    const bool known = ::sched_getaffinity(0, sizeof mask, &mask) == 0;
    const auto read_file = [](const std::string& path) -> std::optional<std::string> {
        std::ifstream file(path);
        if (!file) return std::nullopt;
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    };
    return cpu_budget(read_file, known ? static_cast<unsigned>(CPU_COUNT(&mask)) : 1);
}

}  // namespace sluice
