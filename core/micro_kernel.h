// The register-blocked heart of every matrix product and convolution, one source for every instruction set.
//
// A tile of C has `rows` x `vectors` vector accumulators. The B side is read as vectors along the columns of C, the A
// side one number at a time, broadcast. Because A is only ever broadcast, its rows may lie anywhere: a row pointer for
// each row of the tile and an index for each step of k are enough, so strided matrices and the windows of an image are
// multiplied where they lie.
#pragma once

#include "simd.h"

namespace rushlight {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif
constexpr int tile_rows = 6;
constexpr int tile_vectors = vector_registers / 8;

template <class T>
constexpr int tile_columns = lanes<T> * tile_vectors;

// Where step k of the product finds its number, counted from a row's pointer.
struct Strided {
  int64_t stride;
  int64_t operator()(int64_t k) const { return k * stride; }
};
struct Indexed {
  const int64_t* offsets;
  int64_t operator()(int64_t k) const { return offsets[k]; }
};

enum class Store { overwrite, accumulate };

// C[i][:] = sum over k < count of rows[i][step(k)] * b[k * b_stride :], for i < R, V vectors wide. `bias`, if not null,
// is added to every row. in_part: of the last vector only the first `last` columns are wanted, and nothing is written
// behind them, nor read where loads_parts. Not inlined: the registers are all its own.
template <int R, int V, bool in_part = false, class T, class Step>
[[gnu::noinline]] void multiply_tile(int64_t count, const T* const* rows, Step step, const T* b, int64_t b_stride, T* c,
                                     int64_t c_stride, Store mode, const T* bias,
                                     [[maybe_unused]] int64_t last = lanes<T>) {
  constexpr int chains = R * V < 8 ? 2 : 1;  // sums beside one another, for the multiply-adds in flight
  const T* row[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    row[i] = rows[i];
    asm("" : "+r"(row[i]));  // one by one: a vector of them would wait for the stores that they come from
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {  // the lines of C are on their way while the sums are made
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) __builtin_prefetch(c + i * c_stride + j * lanes<T>, 1);
  }
  Vec<T> sums[chains][R][V] = {};
  const auto add = [&](int64_t k, Vec<T>(&sum)[R][V]) {
    const int64_t index = step(k);
    Vec<T> right[V];
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      right[j] =
          in_part && loads_parts<T> && j == V - 1 ? load_partial(b + j * lanes<T>, last) : load(b + j * lanes<T>);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const T left = row[i][index];
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) sum[i][j] += left * right[j];
    }
    b += b_stride;
  };
  int64_t k = 0;
  // Twice in a row, for the loop's own instructions take the places of multiply-adds.
#pragma GCC unroll 2
  for (; k + chains <= count; k += chains) {
#pragma GCC unroll 2
    for (int chain = 0; chain < chains; ++chain) add(k + chain, sums[chain]);
  }
  if (chains > 1 && k < count) add(k, sums[0]);
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    const bool part = in_part && j == V - 1;
    Vec<T> start = {};
    if (bias != nullptr) start = part ? load_partial(bias + j * lanes<T>, last) : load(bias + j * lanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      T* target = c + i * c_stride + j * lanes<T>;
      Vec<T> value = sums[0][i][j] + start;
      if constexpr (chains > 1) value += sums[1][i][j];
      if (mode == Store::accumulate) value += part ? load_partial(target, last) : load(target);
      if (part) {
        store_partial(target, value, last);
      } else {
        store(target, value);
      }
    }
  }
}

// The same for a number of rows known only at run time, 1 <= count_rows <= tile_rows.
template <int V, class T, class Step, int R = tile_rows, bool in_part = false>
inline void multiply_rows(int count_rows, int64_t count, const T* const* rows, Step step, const T* b, int64_t b_stride,
                          T* c, int64_t c_stride, Store mode, const T* bias, int64_t last = lanes<T>) {
  if constexpr (R > 1) {
    if (count_rows < R) {
      return multiply_rows<V, T, Step, R - 1, in_part>(count_rows, count, rows, step, b, b_stride, c, c_stride, mode,
                                                       bias, last);
    }
  }
  multiply_tile<R, V, in_part>(count, rows, step, b, b_stride, c, c_stride, mode, bias, last);
}

// The same for a panel of at most tile_columns, of which the first `columns` are wanted; those behind may be left as
// they are.
template <class T, class Step, int V = tile_vectors>
inline void multiply_panel(int count_rows, int64_t columns, int64_t count, const T* const* rows, Step step, const T* b,
                           int64_t b_stride, T* c, int64_t c_stride, Store mode, const T* bias = nullptr) {
  if constexpr (V > (tile_vectors + 1) / 2) {
    if (columns <= (V - 1) * lanes<T>) {
      return multiply_panel<T, Step, V - 1>(count_rows, columns, count, rows, step, b, b_stride, c, c_stride, mode,
                                            bias);
    }
  }
  multiply_rows<V>(count_rows, count, rows, step, b, b_stride, c, c_stride, mode, bias);
}
// Of a whole panel of tile_columns.
template <class T, class Step>
inline void multiply_panel(int count_rows, int64_t columns, int64_t count, const T* const* rows, Step step, const T* b,
                           T* c, int64_t c_stride, Store mode, const T* bias = nullptr) {
  multiply_panel(count_rows, columns, count, rows, step, b, tile_columns<T>, c, c_stride, mode, bias);
}

// Of the first `columns` of a panel and no others: nothing behind them is written.
template <class T, class Step, int V = tile_vectors>
inline void multiply_columns(int count_rows, int64_t columns, int64_t count, const T* const* rows, Step step,
                             const T* b, int64_t b_stride, T* c, int64_t c_stride, Store mode) {
  constexpr const T* no_bias = nullptr;
  if constexpr (V > 1) {
    if (columns <= (V - 1) * lanes<T>) {
      return multiply_columns<T, Step, V - 1>(count_rows, columns, count, rows, step, b, b_stride, c, c_stride, mode);
    }
  }
  const int64_t last = columns - (V - 1) * lanes<T>;
  if (last == lanes<T>) {
    multiply_rows<V>(count_rows, count, rows, step, b, b_stride, c, c_stride, mode, no_bias);
  } else {
    multiply_rows<V, T, Step, tile_rows, true>(count_rows, count, rows, step, b, b_stride, c, c_stride, mode, no_bias,
                                               last);
  }
}

}  // namespace rushlight
