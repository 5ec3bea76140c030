// How many worker threads `workers: auto` means: the cgroup's CPU quota rounded up, and never more than the processors
// that this process may run on. Pure but for `cpus_of_this_process`.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace sluice {

using ReadFile = std::function<std::optional<std::string>(const std::string& path)>;

/// `online`: the processors of the affinity mask. cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`); the tightest of
/// the group and those above it counts. At least 1.
unsigned cpu_budget(const ReadFile& read_file, unsigned online);

unsigned cpus_of_this_process();

}  // namespace sluice
