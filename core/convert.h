// Conversion of items between dtypes, and copies between any strides.
#pragma once

#include "array.h"
#include "strided.h"

namespace rushlight {

// Copies `rows` rows of `count` items each, converting as PyTorch does: towards zero, wrapping around, NaN and what no
// int64 holds become the least int64 first; to bool: whether it isn't zero. The memory of both sides is apart.
using ConvertRows = void (*)(char* to, Steps to_steps, const char* from, Steps from_steps, int64_t count, int64_t rows);
ConvertRows converter(DType to, DType from);  // nullptr where one is `other`

// to[...] = from[...], of equal shapes that `to` gives. Parallel; call it without the GIL where it is large.
void copy_strided(const Array& to, const Array& from);

}  // namespace rushlight
