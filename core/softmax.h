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

// Rows up to this are computed in groups of as many as a vector has lanes, with what is known of a row in its lane.
constexpr int64_t short_row = 256;

// group(first, rows) for every group of rows.
template <class T, class Group>
void for_row_groups(const Classes& shape, Group&& group) {
  constexpr int64_t most = lanes<T>;
  const int64_t work = std::max<int64_t>(1, shape.count * most);
  parallel_for(divide_up(shape.outer, most), (1 << 13) / work, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) group(i * most, std::min(most, shape.outer - i * most));
  });
}

// strip(start, position, width) for every strip of `width` columns: `start` is its first item, `position` its number
// among the columns of all outer indices.
template <class T, class Strip>
void for_strips(const Classes& shape, Strip&& strip) {
  int64_t across = divide_up(shape.inner, lanes<T>);
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

// The largest item that is a number: a NaN comes into the sum of exponentials anyway.
template <class T>
T maximum_of(const T* x, int64_t count) {
  Vec<T> best = broadcast(minus_infinity<T>);
  for_vectors<T>(count,
                 [&](int64_t i, auto width) { best = at_least(load_some(x + i, width, minus_infinity<T>), best); });
  return reduce_lanes(best, [](Vec<T> a, Vec<T> b) { return at_least(a, b); });
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

// The largest items of a group of rows of `count`, a row in each lane.
template <class T>
Vec<T> maxima_of_rows(const T* x, int64_t count, int64_t rows) {
  return of_rows<T>(
      rows,
      [&](int64_t row) {
        Vec<T> best = broadcast(minus_infinity<T>);
        for_vectors<T>(count, [&](int64_t i, auto width) {
          best = at_least(load_some(x + row * count + i, width, minus_infinity<T>), best);
        });
        return best;
      },
      [](Vec<T> a, Vec<T> b) { return at_least(a, b); });
}

// The sums of exp(x - top) of a group of rows; the terms go to `to` where it isn't null.
template <class T>
Vec<T> exponentials_of_rows(const T* x, T* to, int64_t count, int64_t rows, const T* top) {
  return sums_of_rows<T>(rows, [&](int64_t row) {
    return vector_sum<T>(count, [&](int64_t i, auto width) {
      Vec<T> value = exp_of_weight(Vec<T>(load_some(x + row * count + i, width, minus_infinity<T>) - top[row]));
      if (to != nullptr) store_some(to + row * count + i, value, width);
      return value;
    });
  });
}

}  // namespace rushlight
