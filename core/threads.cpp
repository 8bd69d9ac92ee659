#include "threads.h"

#include <nanobind/stl/string.h>
#include <pthread.h>
#include <signal.h>
#if defined(__linux__)
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "bind.h"
#include "processors.h"

namespace rushlight {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto spin_time = std::chrono::microseconds(100);  // longer than the gap between two operations of a network

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `done()`, but no longer than the spin time; says whether it is done.
template <class Done>
bool spin_until(Done done) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    pause();
  }
  for (auto start = Clock::now(); Clock::now() - start < spin_time;) {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause();
    }
  }
  return done();
}

// One parallel loop at a time. The blocks are dealt out as one contiguous share a participant, so that a thread meets
// the same part of an array again in the next operation; who has finished its share helps the others.
class Pool {
 public:
  // Each worker holds the pool alive; it ends when the pool is retired.
  static std::shared_ptr<Pool> start(int threads) {
    auto pool = std::shared_ptr<Pool>(new Pool(threads));
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are the main thread's business
    for (int i = 1; i < threads; ++i) {
      try {
        std::thread([pool, i] { pool->work(i); }).detach();
      } catch (const std::system_error&) {
        break;  // the system gives no more threads: those that run do all the work
      }
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return pool;
  }

  void run(int64_t blocks, void (*block)(void*, int64_t), void* context) {
    block_ = block;
    context_ = context;
    int count = static_cast<int>(shares_.size());
    for (int i = 0; i < count; ++i) {
      shares_[i].next.store(blocks * i / count, std::memory_order_relaxed);
      shares_[i].end = blocks * (i + 1) / count;
    }
    participants_.store(open, std::memory_order_release);
    if (sleepers_.load(std::memory_order_acquire) > 0) place_sleepers();
    generation_.fetch_add(1, std::memory_order_release);
    if (blocks - 1 < count - 1) {
      for (int64_t i = 1; i < blocks; ++i) generation_.notify_one();
    } else {
      generation_.notify_all();
    }
    take_blocks(0);
    // No blocks are left: workers that did not come in time stay out, those inside are waited for.
    uint32_t inside = participants_.fetch_and(~open, std::memory_order_acq_rel) & ~open;
    if (inside == 0) return;
    if (spin_until([this] { return participants_.load(std::memory_order_acquire) == 0; })) return;
    while ((inside = participants_.load(std::memory_order_acquire)) != 0) participants_.wait(inside);
  }

  void retire() {
    retired_.store(true, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }

 private:
  explicit Pool(int threads) : shares_(static_cast<size_t>(threads)), workers_(static_cast<size_t>(threads)) {}

  static constexpr uint32_t open = uint32_t{1} << 31;

  struct alignas(64) Share {
    std::atomic<int64_t> next = 0;
    int64_t end = 0;
  };

  // What is known of a worker while it sleeps.
  struct alignas(64) Worker {
    std::atomic<int> asleep_on = -1;  // a processor; -1: awake
#if defined(__linux__)
    int thread = 0;
    std::atomic<bool> narrowed = false;
    cpu_set_t affinity;  // its own, while narrowed
#endif
  };

  void take_blocks(int self) {
    int count = static_cast<int>(shares_.size());
    for (int i = 0; i < count; ++i) {
      Share& share = shares_[(self + i) % count];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
        if (index < share.end) block_(context_, index);
      }
    }
  }

  bool enter() {
    uint32_t seen = participants_.load(std::memory_order_acquire);
    while (seen & open) {
      if (participants_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }

  void work(int self);

#if defined(__linux__)
  void place_sleepers() {
    WakePlacement placement;
    for (Worker& worker : workers_) {
      const int processor = worker.asleep_on.load(std::memory_order_acquire);
      if (processor < 0 || worker.narrowed.load(std::memory_order_acquire)) continue;
      if (placement.settle(worker.thread, processor, worker.affinity))
        worker.narrowed.store(true, std::memory_order_release);
    }
  }

  void sleep(Worker& worker, uint32_t seen) {
    if (worker.thread == 0) worker.thread = gettid();  // once: the caller may be reading it
    worker.asleep_on.store(sched_getcpu(), std::memory_order_release);
    sleepers_.fetch_add(1, std::memory_order_acq_rel);
    generation_.wait(seen);
    sleepers_.fetch_sub(1, std::memory_order_acq_rel);
    worker.asleep_on.store(-1, std::memory_order_release);
    if (worker.narrowed.load(std::memory_order_acquire)) {
      sched_setaffinity(0, sizeof worker.affinity, &worker.affinity);
      worker.narrowed.store(false, std::memory_order_release);
    }
  }
#else
  void place_sleepers() {}
  void sleep(Worker&, uint32_t seen) { generation_.wait(seen); }
#endif

  std::vector<Share> shares_;
  std::vector<Worker> workers_;
  std::atomic<int> sleepers_ = 0;
  std::atomic<uint32_t> generation_ = 0;    // changes with every loop
  std::atomic<uint32_t> participants_ = 0;  // workers inside the loop, and whether it is open to more
  std::atomic<bool> retired_ = false;
  void (*block_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
};

thread_local bool inside_loop = false;

void Pool::work(int self) {
  inside_loop = true;
  uint32_t seen = 0;
  while (!retired_.load(std::memory_order_acquire)) {
    if (!spin_until([&] { return generation_.load(std::memory_order_acquire) != seen; })) {
      sleep(workers_[static_cast<size_t>(self)], seen);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (!enter()) continue;
    take_blocks(self);
    if (participants_.fetch_sub(1, std::memory_order_acq_rel) == 1) participants_.notify_one();
  }
}

// What all loops share. Never destroyed: workers may still be asleep in it while the process exits.
struct State {
  std::atomic<int> count = 0;  // 0: not asked for yet
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  std::shared_ptr<Pool> pool;  // guarded by busy, like the next
  int pool_threads = 0;
};

State& state() {
  static State* const shared = [] {
    // After a fork only the calling thread exists: the child forgets the parent's pool and starts its own when needed.
    pthread_atfork(nullptr, nullptr, [] {
      State& forked = state();
      new (&forked.pool) std::shared_ptr<Pool>();  // the old one is leaked: its threads can't be waited for
      forked.pool_threads = 0;
      forked.busy.clear();
      inside_loop = false;
    });
    return new State;
  }();
  return *shared;
}

}  // namespace

int thread_count() {
  State& shared = state();
  int count = shared.count.load(std::memory_order_relaxed);
  if (count == 0) {
    int initial = default_thread_count();
    if (shared.count.compare_exchange_strong(count, initial)) count = initial;
  }
  return count;
}

void set_thread_count(int count) { state().count.store(std::clamp(count, 1, max_threads)); }

void run_blocks(int64_t blocks, void (*block)(void*, int64_t), void* context) {
  State& shared = state();
  int threads = thread_count();
  bool alone = blocks < 2 || threads == 1 || inside_loop;
  // Of several Python threads one gets the pool, the others do their work themselves.
  if (alone || shared.busy.test_and_set(std::memory_order_acquire)) {
    for (int64_t index = 0; index < blocks; ++index) block(context, index);
    return;
  }
  if (shared.pool_threads != threads) {
    if (shared.pool) shared.pool->retire();
    shared.pool = Pool::start(threads);
    shared.pool_threads = threads;
  }
  inside_loop = true;
  shared.pool->run(blocks, block, context);
  inside_loop = false;
  shared.busy.clear(std::memory_order_release);
}

void bind_threads(nanobind::module_& module) {
  namespace nb = nanobind;
  module.def("get_num_threads", &thread_count, "The number of threads that kernels run on.");
  module.def(
      "set_num_threads",
      [](int count) {
        if (count < 1) throw std::invalid_argument("set_num_threads expects a positive integer");
        set_thread_count(count);
      },
      nb::arg("count"), "Sets the number of threads that kernels run on; ValueError where it is below 1.");
  module.def("default_num_threads", &default_thread_count,
             "What get_num_threads() starts from: the environment, else affinity, physical cores and CPU quota.");
  module.def("cgroup_cpu_limit", &cgroup_cpu_limit, nb::arg("proc") = "/proc/self/cgroup",
             nb::arg("mount") = "/sys/fs/cgroup",
             "The CPUs that the cgroup's quota (v1 or v2) allows, rounded up; 0 where there is no quota.");
}

}  // namespace rushlight
