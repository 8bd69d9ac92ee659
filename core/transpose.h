// Transposing copies in 16-byte squares: 4x4 floats or 2x2 doubles, the same on every instruction set.
#pragma once

#include <cstdint>
#include <cstring>

namespace rushlight {

namespace detail {
inline void transpose_square(const float* source, int64_t source_stride, float* target, int64_t target_stride) {
  using Four [[gnu::vector_size(16)]] = float;
  Four row[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], source + i * source_stride, sizeof(Four));
  const Four low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Four high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Four low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Four high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const Four column[4] = {
      __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
      __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) std::memcpy(target + i * target_stride, &column[i], sizeof(Four));
}
inline void transpose_square(const double* source, int64_t source_stride, double* target, int64_t target_stride) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) target[j * target_stride + i] = source[i * source_stride + j];
  }
}
}  // namespace detail

// target[j][i] = source[i][j] for i < rows, j < columns; strides in items, between rows.
template <class T>
[[gnu::noinline]] void transpose(const T* source, int64_t source_stride, int64_t rows, int64_t columns, T* target,
                                 int64_t target_stride) {
  constexpr int64_t side = 16 / sizeof(T);
  int64_t i = 0;
  for (; i + side <= rows; i += side) {
    int64_t j = 0;
    for (; j + side <= columns; j += side) {
      detail::transpose_square(source + i * source_stride + j, source_stride, target + j * target_stride + i,
                               target_stride);
    }
    for (; j < columns; ++j) {
      for (int64_t r = i; r < i + side; ++r) target[j * target_stride + r] = source[r * source_stride + j];
    }
  }
  for (; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) target[j * target_stride + i] = source[i * source_stride + j];
  }
}

}  // namespace rushlight
