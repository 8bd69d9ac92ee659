// The processor's multiply-add rate, the yardstick of benchmarks/kernels.py.
#include "bind.h"
#include "kernel.h"
#include "micro_kernel.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t iterations = 2'000'000;
constexpr int chains = 12;  // enough independent sums to hide the latency of a multiply-add

float run_chains(float factor) {
  Vec<float> sum[chains];
  for (int c = 0; c < chains; ++c) sum[c] = Vec<float>{} + static_cast<float>(c) * factor;
  const Vec<float> left = Vec<float>{} + factor;
  Vec<float> right = Vec<float>{} + 0.5f;
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) sum[c] = sum[c] * left + right;
  }
  float total = 0;
  for (int c = 0; c < chains; ++c) total += sum[c][0];
  return total;
}

int64_t multiply_adds() {
  Unlocked unlocked;
  const int64_t threads = thread_count();
  parallel_for(threads, 1, [](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      volatile float keep = run_chains(0.99f);
      static_cast<void>(keep);
    }
  });
  return 2 * iterations * threads * chains * lanes<float>;
}

}  // namespace

void bind_peak(nb::module_& module) {
  module.def("multiply_adds", &multiply_adds,
             "Keeps all threads at float32 multiply-adds for some milliseconds; returns the number of operations, a "
             "multiply-add being two.");
}

}  // namespace rushlight
