// What softmax and the losses that stand on it share. An array is seen as (outer, count, inner) with the classes in the
// middle: rows of neighbours where inner is one, else strips of as many columns as a vector has lanes.
#pragma once

#include <algorithm>
#include <limits>

#include "array.h"
#include "lanes.h"
#include "threads.h"
#include "vector_math.h"

namespace rushlight {

struct Classes {
  int64_t outer = 1, count = 1, inner = 1;

  int64_t positions() const { return outer * inner; }
};

inline bool classes_of(const Array& x, int64_t dim, Classes& shape) {
  if (dim < 0) dim += x.dimensions;
  if (x.dimensions == 0) return dim == 0 || dim == -1;
  if (dim < 0 || dim >= x.dimensions) return false;
  shape.count = x.shape[dim];
  for (int i = 0; i < dim; ++i) shape.outer *= x.shape[i];
  for (int i = static_cast<int>(dim) + 1; i < x.dimensions; ++i) shape.inner *= x.shape[i];
  return true;
}

template <class T>
constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

// strip(start, position, width) for every strip of `width` columns: `start` is its first item, `position` its number
// among the columns of all outer indices.
template <class T, class Strip>
void for_strips(const Classes& shape, Strip&& strip) {
  int64_t across = (shape.inner + lanes<T> - 1) / lanes<T>;
  int64_t work = std::max<int64_t>(1, shape.count * lanes<T>);
  parallel_for(shape.outer * across, (1 << 13) / work, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t column = i % across * lanes<T>;
      int64_t width = std::min<int64_t>(lanes<T>, shape.inner - column);
      strip(i / across * shape.count * shape.inner + column, i / across * shape.inner + column, width);
    }
  });
}

template <class Row>
void for_rows(const Classes& shape, Row&& row) {
  parallel_for(shape.outer, (1 << 13) / std::max<int64_t>(1, shape.count), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) row(i);
  });
}

template <class T>
T maximum_of(const T* x, int64_t count) {
  Vec<T> best = broadcast(minus_infinity<T>);
  for_vectors<T>(count,
                 [&](int64_t i, auto width) { best = maximum(best, load_some(x + i, width, minus_infinity<T>)); });
  return reduce_lanes(best, [](T a, T b) { return a > b || a != a ? a : b; });
}

// The sum of exp(x - top); the terms go to `to` where it isn't null.
template <class T>
T exponentials(const T* x, T* to, int64_t count, T top) {
  Vec<T> sum = {};
  for_vectors<T>(count, [&](int64_t i, auto width) {
    Vec<T> value = exp_of_weight(Vec<T>(load_some(x + i, width, minus_infinity<T>) - top));
    sum += value;
    if (to != nullptr) store_some(to + i, value, width);
  });
  return sum_of_lanes<T>(sum);
}

}  // namespace rushlight
