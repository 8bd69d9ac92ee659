// Products that aren't worth packing: very small ones, and those of few rows along a contiguous k.
#pragma once

#include <algorithm>

#include "gemm.h"
#include "micro_kernel.h"

namespace rushlight {

// Adds bias and residual to C and applies the activation, line by line.
template <class T>
void finish(const Product<T>& p) {
  if (!p.has_epilogue()) return;
  const Product<T> lines = p.c_column_stride == 1 ? p : p.transposed();
  for (int64_t i = 0; i < lines.m; ++i) {
    const int64_t begin = i * lines.c_row_stride;
    finish_line(lines.c + begin, lines.n, lines.row_bias == nullptr ? T(0) : lines.row_bias[i], lines.column_bias,
                lines.residual == nullptr ? nullptr : lines.residual + begin, lines.activation);
  }
}

template <class T>
void put(const Product<T>& p, int64_t i, int64_t j, T sum) {
  T* target = p.c + i * p.c_row_stride + j * p.c_column_stride;
  *target = p.accumulate ? *target + sum : sum;
}

// Sums of no terms.
template <class T>
void multiply_nothing(const Product<T>& p) {
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) put(p, i, j, T(0));
  }
  finish(p);
}

// R x S numbers of C as dot products along a contiguous k: for products with few rows, where packing B costs more than
// it saves.
template <int R, int S, class T>
[[gnu::noinline]] void dot_tile(const Product<T>& p, int64_t i0, int64_t j0) {
  const T *const left = p.a.data + i0 * p.a.row_stride, *const right = p.b.data + j0 * p.b.column_stride;
  const int64_t left_stride = p.a.row_stride, right_stride = p.b.column_stride, terms = p.k;
  constexpr int groups = (R * S + lanes<T> - 1) / lanes<T>;
  Vec<T> sums[groups * lanes<T>] = {};
  const auto add = [&](auto&& vector) {
    Vec<T> a[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) a[i] = vector(left + i * left_stride);
#pragma GCC unroll 8
    for (int j = 0; j < S; ++j) {
      const Vec<T> b = vector(right + j * right_stride);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) sums[i * S + j] += a[i] * b;
    }
  };
  int64_t k = 0;
  for (; k + lanes<T> <= terms; k += lanes<T>) add([&](const T* from) { return load(from + k); });
  if (k < terms) add([&](const T* from) { return load_partial(from + k, terms - k); });
  const auto joined = [](Vec<T> a, Vec<T> b) { return a + b; };
  if constexpr (R * S <= lanes<T> / 4) {  // not worth filling a vector of sums
#pragma GCC unroll 8
    for (int i = 0; i < R * S; ++i) put(p, i0 + i / S, j0 + i % S, reduce_lanes(sums[i], joined));
    return;
  }
  T totals[groups * lanes<T>];
#pragma GCC unroll 4
  for (int group = 0; group < groups; ++group) {
    store(totals + group * lanes<T>, reduce_lanes_of_all(sums + group * lanes<T>, joined));
  }
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < S; ++j) put(p, i0 + i, j0 + j, totals[i * S + j]);
  }
}

constexpr int dot_rows = 4, dot_columns = vector_registers / 8;

template <class T, int R = dot_rows>
void multiply_dot_rows(int64_t rows, const Product<T>& p, int64_t i, int64_t j0, int64_t j1) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_dot_rows<T, R - 1>(rows, p, i, j0, j1);
  }
  int64_t j = j0;
  for (; j + dot_columns <= j1; j += dot_columns) dot_tile<R, dot_columns>(p, i, j);
  for (; j < j1; ++j) dot_tile<R, 1>(p, i, j);
}

template <class T>
void multiply_dots(const Product<T>& p) {
  // Columns in chunks whose rows of B stay in the first cache while the rows of A pass by.
  const int64_t chunk = std::max<int64_t>(1, 32768 / static_cast<int64_t>(sizeof(T)) / p.k / dot_columns) * dot_columns;
  for (int64_t j = 0; j < p.n; j += chunk) {
    for (int64_t i = 0; i < p.m; i += dot_rows) {
      multiply_dot_rows<T>(std::min<int64_t>(dot_rows, p.m - i), p, i, j, std::min(j + chunk, p.n));
    }
  }
  finish(p);
}

}  // namespace rushlight
