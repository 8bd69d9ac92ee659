// Products that aren't worth packing: very small ones, and those of few rows.
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

// One number of C after the other.
template <class T>
void multiply_tiny(const Product<T>& p) {
  for (int64_t i = 0; i < p.m; ++i) {
    const T* row = p.a.data + i * p.a.row_stride;
    for (int64_t j = 0; j < p.n; ++j) {
      const T* column = p.b.data + j * p.b.column_stride;
      T sum = 0;
      for (int64_t k = 0; k < p.k; ++k) sum += row[k * p.a.column_stride] * column[k * p.b.row_stride];
      put(p, i, j, sum);
    }
  }
  finish(p);
}

// R x S numbers of C as dot products along a contiguous k: for products with few rows, where packing B costs more than
// it saves.
template <int R, int S, class T>
void dot_tile(const Product<T>& p, int64_t i0, int64_t j0) {
  const T *const left = p.a.data + i0 * p.a.row_stride, *const right = p.b.data + j0 * p.b.column_stride;
  const int64_t left_stride = p.a.row_stride, right_stride = p.b.column_stride, terms = p.k;
  Vec<T> sum[R][S] = {};
  int64_t k = 0;
  for (; k + lanes<T> <= terms; k += lanes<T>) {
    Vec<T> a[R];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) a[i] = load(left + i * left_stride + k);
#pragma GCC unroll 8
    for (int j = 0; j < S; ++j) {
      const Vec<T> b = load(right + j * right_stride + k);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) sum[i][j] += a[i] * b;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < S; ++j) {
      T total = reduce_lanes(sum[i][j], [](Vec<T> a, Vec<T> b) { return a + b; });
      for (int64_t rest = k; rest < terms; ++rest)
        total += left[i * left_stride + rest] * right[j * right_stride + rest];
      put(p, i0 + i, j0 + j, total);
    }
  }
}

template <int R, class T>
void dot_rows(const Product<T>& p, int64_t i0, int64_t j0, int64_t j1) {
  int64_t j = j0;
  for (; j + 4 <= j1; j += 4) dot_tile<R, 4>(p, i0, j);
  for (; j < j1; ++j) dot_tile<R, 1>(p, i0, j);
}

template <class T>
void multiply_dots(const Product<T>& p) {
  // Columns in chunks whose rows of B stay in cache while the rows of A pass by.
  const int64_t chunk =
      std::max<int64_t>(4, 65536 / static_cast<int64_t>(sizeof(T)) / std::max<int64_t>(p.k, 1) / 4 * 4);
  for (int64_t j = 0; j < p.n; j += chunk) {
    const int64_t end = std::min(j + chunk, p.n);
    int64_t i = 0;
    for (; i + 3 <= p.m; i += 3) dot_rows<3>(p, i, j, end);
    if (p.m - i == 2) dot_rows<2>(p, i, j, end);
    if (p.m - i == 1) dot_rows<1>(p, i, j, end);
  }
  finish(p);
}

// A few rows times a B whose columns are contiguous: B is read once, where it lies.
template <int R, int V, class T>
void few_rows(const Product<T>& p) {
  const T* rows[R];
  for (int i = 0; i < R; ++i) rows[i] = p.a.data + i * p.a.row_stride;
  constexpr int64_t width = V * lanes<T>;
  T sums[R * width];
  for (int64_t j = 0; j < p.n; j += width) {
    const int64_t used = std::min(width, p.n - j);
    if (used == width) {
      multiply_tile<R, V>(p.k, rows, Strided{p.a.column_stride}, p.b.data + j, p.b.row_stride, sums, width,
                          Store::overwrite, static_cast<const T*>(nullptr));
    } else {
      std::fill(sums, sums + R * width, T(0));
      for (int64_t k = 0; k < p.k; ++k) {
        for (int i = 0; i < R; ++i) {
          for (int64_t c = 0; c < used; ++c) {
            sums[i * width + c] += rows[i][k * p.a.column_stride] * p.b.data[k * p.b.row_stride + j + c];
          }
        }
      }
    }
    for (int i = 0; i < R; ++i) {
      for (int64_t c = 0; c < used; ++c) put(p, i, j + c, sums[i * width + c]);
    }
  }
}

template <class T>
void multiply_few_rows(const Product<T>& p) {
  if (p.m == 1) few_rows<1, 8>(p);
  if (p.m == 2) few_rows<2, 4>(p);
  if (p.m == 3) few_rows<3, 3>(p);
  finish(p);
}

}  // namespace rushlight
