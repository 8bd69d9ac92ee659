// float16 and bfloat16 arrays for kernels that compute in float32: converted whole before and after.
#pragma once

#include "array.h"
#include "convert.h"

namespace rushlight {

constexpr bool is_half(DType dtype) { return dtype == DType::float16 || dtype == DType::bfloat16; }

inline NewArray converted(nb::handle source, DType dtype) {
  const NewArray from = contiguous(source);
  NewArray to = empty(dtype, {from.array.shape, static_cast<size_t>(from.array.dimensions)});
  converter(dtype, from.array.dtype)(to.array.data, item_size(dtype), from.array.data, item_size(from.array.dtype),
                                     from.array.size());
  return to;
}

// None stays None.
inline nb::object widened(nb::handle source) {
  return source.is_none() ? nb::none() : converted(source, DType::float32).object;
}
inline nb::object narrowed(const nb::object& result, DType dtype) {
  return nb::object(result).ptr() == Py_NotImplemented ? result : converted(result, dtype).object;
}

}  // namespace rushlight
