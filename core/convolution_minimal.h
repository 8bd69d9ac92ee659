// What both minimal-filtering engines (sums, gradient of the weights) make of windows.
#pragma once

#include <algorithm>
#include <optional>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

// Windows of side x side neighbours in two dimensions.
struct Square {
  int64_t side, step;          // between windows
  int64_t top, left;           // of the first window, in the input
  int64_t first, row, column;  // weights: of the neighbour at the top left, and from one row or column to the next
};
std::optional<Square> square_of(const Windows& windows);

// Rows [top, top + rows) and columns [left, left + width) of some channels' planes, channels innermost, `inner` of
// them, with zeros beyond the last channel and outside the planes.
void gather_channels(const float* planes, const Extents& size, int64_t channels, int64_t inner, int64_t top,
                     int64_t rows, int64_t left, int64_t width, float* target);

namespace minimal_sizes {
// `extent` cut into equal parts of about `wanted`.
inline int64_t even_part(int64_t extent, int64_t wanted) {
  return divide_up(extent, divide_up(extent, std::clamp<int64_t>(wanted, 1, extent)));
}
// From one point to the next: an odd number of cache lines, or the points would share a few lines of the cache.
inline int64_t odd_lines(int64_t items) { return (divide_up(items, 16) | 1) * 16; }
}  // namespace minimal_sizes

}  // namespace rushlight::convolution
