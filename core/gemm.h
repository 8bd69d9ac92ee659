// Matrix products over any strides: the engine below matmul, linear, convolution and attention.
#pragma once

#include <cstdint>

#include "epilogue.h"

namespace rushlight {

// A matrix where it lies; strides in items. A transpose is a swap of the strides.
template <class T>
struct Matrix {
  const T* data;
  int64_t row_stride;
  int64_t column_stride;
};

// C (m, n) = activation(A (m, k) B (k, n) + bias + residual), where the sum may be added onto C. One of the strides of
// C is 1. Biases and residual may be null.
template <class T>
struct Product {
  int64_t m, n, k;
  Matrix<T> a, b;
  T* c;
  int64_t c_row_stride, c_column_stride;
  const T* column_bias = nullptr;  // n numbers, one for each column of C
  const T* row_bias = nullptr;     // m numbers, one for each row of C
  bool accumulate = false;
  const T* residual = nullptr;  // (m, n), lying as C does
  Activation activation = Activation::none;

  // Whether something is to be done to the sums when they are complete.
  bool has_epilogue() const {
    return column_bias != nullptr || row_bias != nullptr || residual != nullptr || activation != Activation::none;
  }

  // C^T = B^T A^T
  Product transposed() const {
    return {n,
            m,
            k,
            {b.data, b.column_stride, b.row_stride},
            {a.data, a.column_stride, a.row_stride},
            c,
            c_column_stride,
            c_row_stride,
            row_bias,
            column_bias,
            accumulate,
            residual,
            activation};
  }

  // The `rows` rows from `row` and `columns` columns from `column` of C.
  Product block(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    Product part = *this;
    const int64_t corner = row * c_row_stride + column * c_column_stride;
    part.m = rows;
    part.n = columns;
    part.a.data += row * a.row_stride;
    part.b.data += column * b.column_stride;
    part.c += corner;
    if (residual != nullptr) part.residual += corner;
    if (column_bias != nullptr) part.column_bias += column;
    if (row_bias != nullptr) part.row_bias += row;
    return part;
  }

  // `count` terms of every sum from `first` on: added to those before, and finished with the last.
  Product terms(int64_t first, int64_t count) const {
    Product part = *this;
    part.k = count;
    part.a.data += first * a.column_stride;
    part.b.data += first * b.row_stride;
    part.accumulate = accumulate || first > 0;
    if (first + count < k) {
      part.column_bias = part.row_bias = part.residual = nullptr;
      part.activation = Activation::none;
    }
    return part;
  }
};

// `count` products of one form, a, b and c (with its residual) moving by these numbers of items from one to the next;
// on all threads. Every number of C is summed in an order that depends on the shapes alone.
template <class T>
void multiply(Product<T> product, int64_t count = 1, const int64_t* a_offsets = nullptr,
              const int64_t* b_offsets = nullptr, int64_t c_step = 0);

extern template void multiply<float>(Product<float>, int64_t, const int64_t*, const int64_t*, int64_t);
extern template void multiply<double>(Product<double>, int64_t, const int64_t*, const int64_t*, int64_t);

}  // namespace rushlight
