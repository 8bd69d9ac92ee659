// How many processors this process may use: environment, affinity, physical cores, the cgroup's CPU quota.
#pragma once

#include <string>

#if defined(__linux__)
#include <sched.h>
#endif

namespace rushlight {

constexpr int max_threads = 1024;

// Where a sleeping thread will wake. Linux leaves it on the processor where it fell asleep, even if the thread that
// wakes it is busy there, unless processors are known to share a cache; many virtual machines don't say so.
#if defined(__linux__)
class WakePlacement {
 public:
  WakePlacement();  // the caller's processor is taken

  // `thread`, asleep on `processor`, may wake there if that is free, or else on any that is; true if its affinity had
  // to be narrowed for that, in which case `before` is what to give back to it once it is awake.
  bool settle(int thread, int processor, cpu_set_t& before);

 private:
  cpu_set_t taken_;
};
#endif

int default_thread_count();

// The CPUs that the quotas of the process's cgroup and its ancestors allow, rounded up; 0 where there is none.
int cgroup_cpu_limit(const std::string& proc, const std::string& mount);

}  // namespace rushlight
