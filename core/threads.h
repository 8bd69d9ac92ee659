// A small pool of our own threads. Work is cut into fixed blocks, so results don't depend on the number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rushlight {

// At first RUSHLIGHT_NUM_THREADS, else OMP_NUM_THREADS, else the physical cores that affinity and CPU quota leave us.
int thread_count();
void set_thread_count(int count);  // clamped to [1, 1024]; takes effect at the next parallel_for

// Calls `block(context, index)` for every index in [0, blocks), on the pool's threads and the calling one, and
// returns when all have run. Nested calls run on the calling thread alone. `block` must not throw nor touch Python.
void run_blocks(int64_t blocks, void (*block)(void* context, int64_t index), void* context);

// The whole units of `unit` > 0 that hold `value`, and their extent.
constexpr int64_t divide_up(int64_t value, int64_t unit) { return value / unit + (value % unit > 0); }
constexpr int64_t round_up(int64_t value, int64_t unit) { return divide_up(value, unit) * unit; }

// body(begin, end) over [0, count) cut into blocks of `grain`. One block runs on the calling thread without waking any.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  int64_t blocks = divide_up(count, grain);
  if (blocks == 1) {
    body(int64_t{0}, count);
    return;
  }
  struct Context {
    std::remove_reference_t<Body>* body;
    int64_t count, grain;
  } context{&body, count, grain};
  run_blocks(
      blocks,
      [](void* opaque, int64_t index) {
        Context& c = *static_cast<Context*>(opaque);
        int64_t begin = index * c.grain;
        (*c.body)(begin, c.count - begin > c.grain ? begin + c.grain : c.count);
      },
      &context);
}

}  // namespace rushlight
