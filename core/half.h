// float16 and bfloat16 arrays for kernels that compute in float32: converted whole before and after.
#pragma once

#include "convert.h"
#include "kernel.h"

namespace rushlight {

constexpr bool is_half(DType dtype) { return dtype == DType::float16 || dtype == DType::bfloat16; }

// Contiguous, and float32 where `source` has half its width.
inline WorkArray widened(const Array& source) {
  if (!is_half(source.dtype)) return contiguous(source);
  WorkArray wide(DType::float32, shape_of(source));
  copy_strided(wide.array, source);
  return wide;
}

// A result of `dtype`, computed in float32 where that is a half: `compute(array)` fills it or what is rounded to it.
template <class Compute>
NewArray narrowed(DType dtype, std::span<const int64_t> shape, Compute&& compute) {
  NewArray made = result(dtype, shape);
  if (is_half(dtype)) {
    WorkArray wide(DType::float32, shape);
    compute(wide.array);
    copy_strided(made.array, wide.array);
  } else {
    compute(made.array);
  }
  return made;
}

}  // namespace rushlight
