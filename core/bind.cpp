#include "bind.h"

namespace nb = nanobind;

#if defined(__x86_64__)
static bool supported(const char* isa) {
  nb::str name(isa);
  if (nb::str("avx512").equal(name)) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (nb::str("avx2").equal(name)) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return nb::str("baseline").equal(name);
}
#else
static bool supported(const char* isa) { return nb::str("baseline").equal(nb::str(isa)); }
#endif

NB_MODULE(RUSHLIGHT_MODULE, module) {
  nb::set_leak_warnings(false);  // the default generator lives as long as the process does
  module.attr("isa") = RUSHLIGHT_ISA;
  module.def("supported", &supported, nb::arg("isa"), "Whether this processor runs code built for `isa`.");
  rushlight::bind_array(module);
  rushlight::bind_attention(module);
  rushlight::bind_convolution(module);
  rushlight::bind_ctc(module);
  rushlight::bind_grid_sample(module);
  rushlight::bind_matmul(module);
  rushlight::bind_padding(module);
  rushlight::bind_peak(module);
  rushlight::bind_convert(module);
  rushlight::bind_elementwise(module);
  rushlight::bind_instruction(module);
  rushlight::bind_executor(module);
  rushlight::bind_memory(module);
  rushlight::bind_recurrent(module);
  rushlight::bind_reduction(module);
  rushlight::bind_scan(module);
  rushlight::bind_dropout(module);
  rushlight::bind_random(module);
  rushlight::bind_threads(module);
  rushlight::bind_arrange(module);
  rushlight::bind_gather(module);
  rushlight::bind_move(module);
  rushlight::bind_batch_norm(module);
  rushlight::bind_batch_norm_inference(module);
  rushlight::bind_group_norm(module);
  rushlight::bind_row_norm(module);
  rushlight::bind_pooling(module);
  rushlight::bind_resample(module);
  rushlight::bind_softmax(module);
  rushlight::bind_cross_entropy(module);
  rushlight::bind_signatures(module);
  rushlight::bind_sort(module);
  rushlight::bind_update(module);
  rushlight::bind_watch(module);
}
