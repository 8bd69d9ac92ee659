// What the kernels share that move items by indices. An array is seen as (outer, count, inner) with the indexed
// dimension in the middle. Every index is checked before anything is read or written. What arrives at the same place is
// taken in the order of the indices, whatever the number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "array.h"
#include "threads.h"

namespace rushlight {

using Sizes = std::vector<int64_t>;

constexpr int64_t move_grain = 1 << 14;  // items moved by a block of work, roughly

struct Slabs {
  int64_t outer = 1, count = 1, inner = 1;
};

// False where there is no such dimension, or a size is negative or the whole too large to be counted.
inline bool slabs_of(std::span<const int64_t> shape, int64_t dim, Slabs& slabs) {
  int64_t dimensions = static_cast<int64_t>(shape.size()), total = 1;
  if (dim < 0) dim += dimensions;
  if (dim < 0 || dim >= dimensions) return false;
  for (int64_t i = 0; i < dimensions; ++i) {
    if (shape[i] < 0 || __builtin_mul_overflow(total, std::max<int64_t>(1, shape[i]), &total)) return false;
    (i < dim ? slabs.outer : i == dim ? slabs.count : slabs.inner) *= shape[i];
  }
  return total < (int64_t{1} << 58);
}

[[noreturn]] inline void out_of_range(int64_t place, int64_t size) {
  throw nb::index_error(
      ("index " + std::to_string(place) + " is out of bounds for a dimension of size " + std::to_string(size)).c_str());
}

// Raises IndexError unless all indices are places from `lowest` to size - 1.
inline void check_places(const Array& index, int64_t lowest, int64_t size) {
  const int64_t* given = index.as<int64_t>();
  const uint64_t extent = static_cast<uint64_t>(size - lowest);  // what wraps around is larger
  std::atomic<bool> wrong = false;
  parallel_for(index.size(), 2 * move_grain, [&](int64_t begin, int64_t end) {
    bool any = false;
    for (int64_t i = begin; i < end; ++i)
      any |= static_cast<uint64_t>(given[i]) - static_cast<uint64_t>(lowest) >= extent;
    if (any) wrong.store(true, std::memory_order_relaxed);
  });
  if (!wrong) return;
  for (int64_t i = 0;; ++i) {
    if (given[i] < lowest || given[i] >= size) out_of_range(given[i], size);
  }
}

// The indices as places from 0 to size - 1; those from the end count where `wraps`.
inline std::vector<int64_t> places(const Array& index, int64_t size, bool wraps) {
  check_places(index, wraps ? -size : 0, size);
  std::vector<int64_t> result(index.as<int64_t>(), index.as<int64_t>() + index.size());
  for (int64_t& place : result) place += place < 0 ? size : 0;
  return result;
}

// body(T{}) for the dtypes that are added up here.
template <class Body>
bool with_sum(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float32: return body(float{}), true;
    case DType::float64: return body(double{}), true;
    case DType::int64: return body(uint64_t{}), true;  // unsigned, so that overflow wraps around
    default: return false;
  }
}

inline bool usable(const Array& index) { return index.dtype == DType::int64; }

}  // namespace rushlight
