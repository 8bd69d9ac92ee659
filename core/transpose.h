// Transposing copies in squares of 16 bytes a side, 4x4 floats or 2x2 doubles, the same on every instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace rushlight {

namespace detail {
template <class T>
struct Lanes16 {
  typedef T type __attribute__((vector_size(16)));
};

// a[first], b[first], a[first + 1], b[first + 1] ...
template <int first, class V, int... lane>
inline V interleave(V a, V b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, (first + lane / 2 + lane % 2 * static_cast<int>(sizeof...(lane)))...);
}

// Interleaving the upper half of the rows with the lower one, as often as halves can be halved, transposes a square.
template <class T>
inline void transpose_square(const T* source, int64_t source_stride, T* target, int64_t target_stride) {
  constexpr int side = 16 / sizeof(T);
  constexpr auto sequence = std::make_integer_sequence<int, side>();
  using Row = typename Lanes16<T>::type;
  Row rows[side], turned[side];
  for (int i = 0; i < side; ++i) std::memcpy(&rows[i], source + i * source_stride, sizeof(Row));
#pragma GCC unroll 4
  for (int round = 1; round < side; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < side / 2; ++i) {
      turned[2 * i] = interleave<0>(rows[i], rows[i + side / 2], sequence);
      turned[2 * i + 1] = interleave<side / 2>(rows[i], rows[i + side / 2], sequence);
    }
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) rows[i] = turned[i];
  }
  for (int i = 0; i < side; ++i) std::memcpy(target + i * target_stride, &rows[i], sizeof(Row));
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
