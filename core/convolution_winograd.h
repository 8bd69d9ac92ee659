// What Winograd's minimal filtering of 3x3 windows with steps of 1 is made of, forward and backward: A. Lavin and S.
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016. A tile of 6x6 inputs becomes 36 numbers, the values
// of polynomials at 0, +-3/4, +-3/2 and infinity along both dimensions. With these points the error is about three
// times that of direct summation, half of what it is with the usual 0, +-1, +-2.
#pragma once

#include <algorithm>
#include <vector>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "transpose.h"

namespace rushlight::convolution::winograd {

using T = float;

constexpr int64_t results = 4, side = results + 2, points = side * side;  // of a tile: positions, inputs, numbers
constexpr int64_t columns = tile_columns<T>;
constexpr int64_t line = 64 / sizeof(T);

constexpr T inner = 0.75, outer = 1.5;  // the points, with both signs
constexpr T inner2 = inner * inner, outer2 = outer * outer;
// Of the polynomial through the values at all points: by what each value counts.
constexpr T zero_scale = 1 / (inner2 * outer2);
constexpr T inner_scale = 1 / (2 * inner2 * (inner2 - outer2)), outer_scale = 1 / (2 * outer2 * (outer2 - inner2));

inline int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }
// From one point to the next: an odd number of cache lines, or the points would share a few lines of the cache.
inline int64_t odd_lines(int64_t items) { return (divide_up(items, line) | 1) * line; }
inline int64_t tiles_of(int64_t positions) { return divide_up(positions, results); }
// `extent` cut into equal parts of about `wanted`.
inline int64_t even_part(int64_t extent, int64_t wanted) {
  return divide_up(extent, divide_up(extent, std::clamp<int64_t>(wanted, 1, extent)));
}

// One line of a tile of inputs.
inline void transform_inputs(const Vec<T> (&x)[side], Vec<T> (&v)[side]) {
  const Vec<T> even_inner = x[4] - outer2 * x[2], odd_inner = inner * (x[3] - outer2 * x[1]);
  const Vec<T> even_outer = x[4] - inner2 * x[2], odd_outer = outer * (x[3] - inner2 * x[1]);
  v[0] = x[4] - (inner2 + outer2) * x[2] + inner2 * outer2 * x[0];
  v[1] = even_inner + odd_inner;
  v[2] = even_inner - odd_inner;
  v[3] = even_outer + odd_outer;
  v[4] = even_outer - odd_outer;
  v[5] = x[5] - (inner2 + outer2) * x[3] + inner2 * outer2 * x[1];
}

struct Steps {
  int64_t row, column;
};

// `transform` along both dimensions of a square of From x From numbers for the first `channels` of a panel.
template <int From, int To, class Transform>
inline void transform_square(const T* source, Steps from, int64_t channels, Transform transform, T* target, Steps to) {
  for (int64_t lane = 0; lane < channels; lane += lanes<T>) {
    Vec<T> half[To][From];
#pragma GCC unroll 6
    for (int column = 0; column < From; ++column) {
      Vec<T> in[From], out[To];
#pragma GCC unroll 6
      for (int row = 0; row < From; ++row) in[row] = load(source + row * from.row + column * from.column + lane);
      transform(in, out);
#pragma GCC unroll 6
      for (int row = 0; row < To; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 6
    for (int row = 0; row < To; ++row) {
      Vec<T> out[To];
      transform(half[row], out);
#pragma GCC unroll 6
      for (int column = 0; column < To; ++column)
        store<T>(target + row * to.row + column * to.column + lane, out[column]);
    }
  }
}

// x or g, and where the numbers of a tile begin, from its first position.
struct Operand {
  const T* data;
  int64_t channels;
  Extents size;
  int64_t top, left;
};

struct Channels {
  int64_t first, count;
  int64_t panels() const { return divide_up(count, columns); }
  int64_t used(int64_t panel) const { return std::min(columns, count - panel * columns); }
};

// Tiles of some images, or of some rows of tiles of one image.
struct Part {
  int64_t first_image, images, first_row, rows;
};

// All tiles in parts of about `wanted`; none is larger than the first.
inline std::vector<Part> parts_of(const Windows& windows, int64_t wanted) {
  const int64_t down = tiles_of(windows.positions[1]), across = tiles_of(windows.positions[2]);
  const int64_t images = even_part(windows.images, wanted / (down * across)), rows = even_part(down, wanted / across);
  std::vector<Part> parts;
  for (int64_t n = 0; n < windows.images; n += images) {
    for (int64_t row = 0; row < down; row += rows) {
      parts.push_back({n, std::min(images, windows.images - n), row, std::min(rows, down - row)});
    }
  }
  return parts;
}

// Rows [top, top + rows) and columns [left, left + width) of some channels' planes, channels innermost, with zeros
// beyond the last channel and outside the planes.
inline void gather(const T* planes, const Extents& size, int64_t channels, int64_t top, int64_t rows, int64_t left,
                   int64_t width, T* target) {
  const int64_t begin = std::clamp<int64_t>(-left, 0, width), end = std::clamp<int64_t>(size[2] - left, begin, width);
  if (channels < columns) std::fill(target, target + rows * width * columns, T(0));
  for (int64_t row = top; row < top + rows; ++row, target += width * columns) {
    if (row < 0 || row >= size[1] || begin == end) {
      std::fill(target, target + width * columns, T(0));
      continue;
    }
    std::fill(target, target + begin * columns, T(0));
    transpose(planes + row * size[2] + left + begin, volume(size), channels, end - begin, target + begin * columns,
              columns);
    std::fill(target + end * columns, target + width * columns, T(0));
  }
}

}  // namespace rushlight::convolution::winograd
