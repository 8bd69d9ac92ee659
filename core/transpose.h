// Transposing copies in squares of 16 bytes a side, 4x4 floats or 2x2 doubles; as many at a time as a vector holds.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"

namespace rushlight {

namespace detail {
// Vectors of `squares` times 16 bytes.
template <class T, int squares>
struct RowsOf {
  typedef T type __attribute__((vector_size(16 * squares)));
};

template <class V, class Half, int... lane>
inline V join(Half low, Half high, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(low, high, lane...);
}

// The first `side` numbers of the rows 0, side, 2 * side ...
template <class T, int squares>
inline auto load_rows(const T* source, int64_t stride) {
  constexpr int side = 16 / sizeof(T);
  using V = typename RowsOf<T, squares>::type;
  if constexpr (squares == 1) {
    V row;
    std::memcpy(&row, source, sizeof row);
    return row;
  } else {
    return join<V>(load_rows<T, squares / 2>(source, stride),
                   load_rows<T, squares / 2>(source + squares / 2 * side * stride, stride),
                   std::make_integer_sequence<int, squares * side>());
  }
}

// In every square: a[first], b[first], a[first + 1], b[first + 1] ...
template <int side, int first, class V, int... lane>
inline V interleave(V a, V b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(
      a, b, (lane / side * side + first + lane % side / 2 + lane % 2 * static_cast<int>(sizeof...(lane)))...);
}

// A column of squares. Interleaving the upper half of the rows with the lower one, as often as halves can be halved,
// transposes each.
template <int squares, class T>
inline void transpose_squares(const T* source, int64_t source_stride, T* target, int64_t target_stride) {
  constexpr int side = 16 / sizeof(T);
  constexpr auto sequence = std::make_integer_sequence<int, squares * side>();
  using Row = typename RowsOf<T, squares>::type;
  Row rows[side], turned[side];
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) rows[i] = load_rows<T, squares>(source + i * source_stride, source_stride);
#pragma GCC unroll 4
  for (int round = 1; round < side; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < side / 2; ++i) {
      turned[2 * i] = interleave<side, 0>(rows[i], rows[i + side / 2], sequence);
      turned[2 * i + 1] = interleave<side, side / 2>(rows[i], rows[i + side / 2], sequence);
    }
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) rows[i] = turned[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) std::memcpy(target + i * target_stride, &rows[i], sizeof(Row));
}

// `transpose` for as many of the rows from `i` on as columns of squares take; returns the first one left. The last
// square of a row of them begins where it fits, over a part of the one before.
template <int squares, class T>
inline int64_t transpose_rows(const T* source, int64_t source_stride, int64_t i, int64_t rows, int64_t columns,
                              T* target, int64_t target_stride) {
  constexpr int64_t side = 16 / sizeof(T), height = squares * side;
  for (; i + height <= rows; i += height) {
    for (int64_t next = 0; next < columns; next += side) {
      const int64_t j = std::min(next, columns - side);
      transpose_squares<squares>(source + i * source_stride + j, source_stride, target + j * target_stride + i,
                                 target_stride);
    }
  }
  return i;
}
}  // namespace detail

// target[j][i] = source[i][j] for i < rows, j < columns; strides in items, between rows.
template <class T>
[[gnu::noinline]] void transpose(const T* source, int64_t source_stride, int64_t rows, int64_t columns, T* target,
                                 int64_t target_stride) {
  constexpr int squares = vector_bytes / 16;
  constexpr int64_t side = 16 / sizeof(T);
  int64_t i = 0;
  if (columns >= side) {
    i = detail::transpose_rows<squares>(source, source_stride, i, rows, columns, target, target_stride);
    if constexpr (squares > 1) {
      i = detail::transpose_rows<1>(source, source_stride, i, rows, columns, target, target_stride);
    }
    if (i < rows && rows >= side) {
      i = detail::transpose_rows<1>(source, source_stride, rows - side, rows, columns, target, target_stride);
    }
  }
  for (; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) target[j * target_stride + i] = source[i * source_stride + j];
  }
}

}  // namespace rushlight
