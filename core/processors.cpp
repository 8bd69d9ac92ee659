#include "processors.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#endif

namespace rushlight {

namespace {

// The first number of "4" or "4,2"; 0 where there is none.
int number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  char* end = nullptr;
  long value = std::strtol(text, &end, 10);
  bool whole = end != text && (*end == '\0' || *end == ',' || *end == ' ');
  return whole && value >= 1 ? static_cast<int>(std::min(value, long{max_threads})) : 0;
}

// Two hardware threads of one core share its arithmetic units: they count once.
int usable_cores() {
#if defined(__linux__)
  cpu_set_t* allowed = CPU_ALLOC(8192);
  size_t bytes = CPU_ALLOC_SIZE(8192);
  int cores = 0;
  if (sched_getaffinity(0, bytes, allowed) == 0) {
    std::set<std::string> seen;
    for (int cpu = 0; cpu < 8192; ++cpu) {
      if (!CPU_ISSET_S(static_cast<size_t>(cpu), bytes, allowed)) continue;
      std::string siblings;
      std::ifstream topology("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      if (!std::getline(topology, siblings) || siblings.empty()) siblings = "cpu" + std::to_string(cpu);
      seen.insert(siblings);
    }
    cores = static_cast<int>(seen.size());
  }
  CPU_FREE(allowed);
  if (cores > 0) return cores;
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int quota_to_cpus(double quota, double period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::clamp((quota + period - 1) / period, 1.0, double{max_threads}));
}

// One cgroup's own limit: cpu.max ("max 100000", "150000 100000") in version 2, two files in version 1.
int limit_of(const std::string& folder, bool version2) {
  if (version2) {
    std::ifstream file(folder + "/cpu.max");
    std::string quota;
    double period = 0;
    if (!(file >> quota >> period)) return 0;
    return quota_to_cpus(std::atof(quota.c_str()), period);
  }
  double quota = 0, period = 0;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return quota_to_cpus(quota, period);
}

}  // namespace

#if defined(__linux__)
WakePlacement::WakePlacement() {
  CPU_ZERO(&taken_);
  if (int here = sched_getcpu(); here >= 0) CPU_SET(here, &taken_);
}

bool WakePlacement::settle(int thread, int processor, cpu_set_t& before) {
  if (!CPU_ISSET(processor, &taken_)) {
    CPU_SET(processor, &taken_);
    return false;
  }
  if (sched_getaffinity(thread, sizeof before, &before) != 0) return false;
  cpu_set_t shared, free;
  CPU_AND(&shared, &before, &taken_);
  CPU_XOR(&free, &before, &shared);
  return CPU_COUNT(&free) > 0 && sched_setaffinity(thread, sizeof free, &free) == 0;
}
#endif

int cgroup_cpu_limit(const std::string& proc, const std::string& mount) {
  int limit = 0;
  std::ifstream file(proc);
  // A line is "hierarchy:controllers:path"; hierarchy 0 without controllers is version 2.
  for (std::string line; std::getline(file, line);) {
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool version2 = controllers.empty();
    bool cpu = false;
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) cpu = cpu || name == "cpu";
    if (!version2 && !cpu) continue;
    // Inside a container the path may be the host's, which isn't there: then the mount's own root holds the limit.
    for (const std::string& root : {version2 ? mount : mount + "/" + controllers, mount + "/cpu", mount + "/unified"}) {
      for (std::string path = line.substr(second + 1);;) {
        while (!path.empty() && path.back() == '/') path.pop_back();
        int found = limit_of(root + path, version2);
        if (found > 0) limit = limit == 0 ? found : std::min(limit, found);
        if (path.empty()) break;
        path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
      }
    }
  }
  return limit;
}

int default_thread_count() {
  for (const char* name : {"RUSHLIGHT_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (int count = number_from_environment(name); count > 0) return count;
  }
  int cores = usable_cores();
  int limit = cgroup_cpu_limit("/proc/self/cgroup", "/sys/fs/cgroup");
  return std::clamp(limit > 0 ? std::min(cores, limit) : cores, 1, max_threads);
}

}  // namespace rushlight
