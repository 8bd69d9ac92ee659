// Walking an array of any strides in a given order of its dimensions, as one flat sequence of items.
#pragma once

#include <algorithm>
#include <cstdint>

#include "array.h"

namespace rushlight {

// An operand as seen along the row-major order of a result: broadcast, with neighbouring dimensions merged where one
// stride carries over both. At most one dimension with a stride of one item means a plain sequence.
struct Strided {
  char* data;
  DType dtype;
  int dimensions;
  int64_t shape[max_dimensions];
  int64_t strides[max_dimensions];  // in bytes

  bool plain() const { return dimensions == 0 || (dimensions == 1 && strides[0] == item_size(dtype)); }
  bool single() const { return dimensions == 0 || (dimensions == 1 && strides[0] == 0); }

  // Takes `count` dimensions, outermost first.
  void merge(const int64_t* extents, const int64_t* steps, int count) {
    dimensions = 0;
    for (int i = 0; i < count; ++i) {
      if (extents[i] == 1) continue;
      if (dimensions > 0 && strides[dimensions - 1] == steps[i] * extents[i]) {
        shape[dimensions - 1] *= extents[i];
        strides[dimensions - 1] = steps[i];
      } else {
        shape[dimensions] = extents[i];
        strides[dimensions++] = steps[i];
      }
    }
  }

  // run(pointer, stride, count) for the pieces of even stride that make up the items [begin, begin + count).
  template <class Run>
  void for_runs(int64_t begin, int64_t count, Run&& run) const {
    if (dimensions <= 1) {
      int64_t stride = dimensions == 0 ? 0 : strides[0];
      run(data + begin * stride, stride, count);
      return;
    }
    int64_t index[max_dimensions];
    char* at = data;
    for (int i = dimensions - 1; i > 0; --i) {
      index[i] = begin % shape[i];
      begin /= shape[i];
      at += index[i] * strides[i];
    }
    index[0] = begin;
    at += begin * strides[0];
    int inner = dimensions - 1;
    while (true) {
      int64_t piece = std::min(count, shape[inner] - index[inner]);
      run(at, strides[inner], piece);
      count -= piece;
      if (count == 0) return;
      at -= index[inner] * strides[inner];
      index[inner] = 0;
      for (int i = inner - 1;; --i) {
        at += strides[i];
        if (++index[i] < shape[i] || i == 0) break;
        at -= shape[i] * strides[i];
        index[i] = 0;
      }
    }
  }
};

// Lists the dimensions by their place in memory, outermost first; false where the array has gaps or broadcasts.
bool dense_order(const Array& array, int* order);

// A new array of the same shape, in the same order of dimensions where `array` is dense, else row-major.
NewArray empty_like(const Array& array, DType dtype);

// Whether the stretches of memory that two arrays lie in overlap.
bool overlap(const Array& a, const Array& b);

}  // namespace rushlight
