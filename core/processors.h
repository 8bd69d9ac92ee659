// How many processors this process may use: environment, affinity, physical cores, the cgroup's CPU quota.
#pragma once

#include <string>

namespace rushlight {

constexpr int max_threads = 1024;

int default_thread_count();

// The CPUs that the quotas of the process's cgroup and its ancestors allow, rounded up; 0 where there is none.
int cgroup_cpu_limit(const std::string& proc, const std::string& mount);

}  // namespace rushlight
