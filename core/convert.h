// Conversion of items between dtypes, and copies between any strides.
#pragma once

#include "array.h"
#include "strided.h"

namespace rushlight {

// Copies `count` items to steps of `to_stride` bytes from steps of `from_stride`, converting as PyTorch does: towards
// zero, wrapping around, NaN and what no int64 holds become the least int64 first; to bool: whether it isn't zero.
using ConvertRun = void (*)(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t count);
ConvertRun converter(DType to, DType from);  // nullptr where one is `other`

// to[...] = from[...], of equal shapes that `to` gives. Parallel; call it without the GIL where it is large.
void copy_strided(const Array& to, const Array& from);

}  // namespace rushlight
