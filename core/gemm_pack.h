// Both sides of a product copied into the order in which the micro-kernel reads them.
#pragma once

#include <algorithm>

#include "gemm.h"
#include "micro_kernel.h"
#include "transpose.h"

namespace rushlight {

// b (depth, width) into panels of tile_columns, each k by k, `panel_step` items apart. The last panel is filled up with
// zeros.
template <class T>
void pack_columns(Matrix<T> b, int64_t depth, int64_t width, T* packed, int64_t panel_step) {
  constexpr int64_t columns = tile_columns<T>, ahead = 8;  // rows that are on their way
  const int64_t whole = width / columns * columns, rest = width - whole;
  if (b.column_stride == 1) {  // along whole rows, each page of B once
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = b.data + k * b.row_stride;
      T* to = packed + k * columns;
      for (int64_t j = 0; j < whole; j += 64 / sizeof(T)) __builtin_prefetch(from + ahead * b.row_stride + j);
      for (int64_t j = 0; j < whole; j += columns, to += panel_step) std::memcpy(to, from + j, columns * sizeof(T));
    }
  }
  for (int64_t j = b.column_stride == 1 ? whole : 0; j < width; j += columns) {
    const int64_t used = std::min(columns, width - j);
    const T* source = b.data + j * b.column_stride;
    T* panel = packed + j / columns * panel_step;
    if (b.column_stride == 1) {
      for (int64_t k = 0; k < depth; ++k, source += b.row_stride, panel += columns) {
        copy_short(source, used, panel);
        std::fill(panel + used, panel + columns, T(0));
      }
      continue;
    }
    if (used == rest) std::fill(panel, panel + depth * columns, T(0));
    if (b.row_stride == 1) {
      transpose(source, b.column_stride, used, depth, panel, columns);
      continue;
    }
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t c = 0; c < used; ++c) panel[k * columns + c] = source[k * b.row_stride + c * b.column_stride];
    }
  }
}

// a (height, depth) into panels of tile_rows, each k by k, `panel_step` items apart. Nothing fills up the last panel.
template <class T>
void pack_rows(Matrix<T> a, int64_t height, int64_t depth, T* packed, int64_t panel_step) {
  // Of k, and of panels: as much as stays in L1 until the lines of both sides are complete.
  constexpr int64_t chunk = 8, group = 8 * tile_rows;
  for (int64_t i0 = 0; i0 < height; i0 += group) {
    const int64_t i1 = std::min(i0 + group, height);
    const int64_t whole = a.row_stride == 1 ? i0 + (i1 - i0) / tile_rows * tile_rows : i0;
    for (int64_t k0 = 0; k0 < depth; k0 += chunk) {
      for (int64_t k = k0; k < std::min(k0 + chunk, depth); ++k) {
        const T* from = a.data + k * a.column_stride;
        for (int64_t i = i0; i < whole; i += 64 / sizeof(T)) __builtin_prefetch(from + chunk * a.column_stride + i);
        T* to = packed + i0 / tile_rows * panel_step + k * tile_rows;
        for (int64_t i = i0; i < whole; i += tile_rows, to += panel_step) {
          std::memcpy(to, from + i, tile_rows * sizeof(T));
        }
        for (int64_t i = whole; i < i1; i += tile_rows, to += panel_step) {
          for (int64_t r = i; r < std::min(i + tile_rows, i1); ++r) to[r - i] = from[r * a.row_stride];
        }
      }
    }
  }
}

}  // namespace rushlight
