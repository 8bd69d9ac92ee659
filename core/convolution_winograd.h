// What Winograd's minimal filtering of 3x3 windows with steps of 1 is made of, forward and backward: A. Lavin and S.
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016. A tile of 6x6 inputs becomes 36 numbers, the values
// of polynomials at 0, +-3/4, +-3/2 and infinity along both dimensions. With these points the error is about three
// times that of direct summation, half of what it is with the usual 0, +-1, +-2.
#pragma once

#include <algorithm>
#include <vector>

#include "convolution_minimal.h"
#include "micro_kernel.h"
#include "minimal_filtering.h"
#include "transpose.h"

namespace rushlight::convolution::winograd {

using namespace minimal_sizes;
using minimal::transform_square;
using T = float;

constexpr int64_t results = 4, side = results + 2, points = side * side;  // of a tile: positions, inputs, numbers
constexpr int64_t columns = tile_columns<T>;

constexpr T inner = 0.75, outer = 1.5;  // the points, with both signs
constexpr T inner2 = inner * inner, outer2 = outer * outer;
// Of the polynomial through the values at all points: by what each value counts.
constexpr T zero_scale = 1 / (inner2 * outer2);
constexpr T inner_scale = 1 / (2 * inner2 * (inner2 - outer2)), outer_scale = 1 / (2 * outer2 * (outer2 - inner2));

inline int64_t tiles_of(int64_t positions) { return divide_up(positions, results); }

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

}  // namespace rushlight::convolution::winograd
