// Each file of kernels binds its own: one function here, one call in bind.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace rushlight {

void bind_arrange(nanobind::module_& module);
void bind_array(nanobind::module_& module);
void bind_attention(nanobind::module_& module);
void bind_batch_norm(nanobind::module_& module);
void bind_batch_norm_inference(nanobind::module_& module);
void bind_convert(nanobind::module_& module);
void bind_convolution(nanobind::module_& module);
void bind_cross_entropy(nanobind::module_& module);
void bind_ctc(nanobind::module_& module);
void bind_dropout(nanobind::module_& module);
void bind_elementwise(nanobind::module_& module);
void bind_executor(nanobind::module_& module);
void bind_gather(nanobind::module_& module);
void bind_grid_sample(nanobind::module_& module);
void bind_group_norm(nanobind::module_& module);
void bind_instruction(nanobind::module_& module);
void bind_matmul(nanobind::module_& module);
void bind_memory(nanobind::module_& module);
void bind_move(nanobind::module_& module);
void bind_padding(nanobind::module_& module);
void bind_peak(nanobind::module_& module);
void bind_pooling(nanobind::module_& module);
void bind_random(nanobind::module_& module);
void bind_recurrent(nanobind::module_& module);
void bind_reduction(nanobind::module_& module);
void bind_resample(nanobind::module_& module);
void bind_row_norm(nanobind::module_& module);
void bind_scan(nanobind::module_& module);
void bind_signatures(nanobind::module_& module);
void bind_softmax(nanobind::module_& module);
void bind_sort(nanobind::module_& module);
void bind_threads(nanobind::module_& module);
void bind_update(nanobind::module_& module);
void bind_watch(nanobind::module_& module);

}  // namespace rushlight
