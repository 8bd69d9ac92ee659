// Tiles of sums over panels of output channels.
#pragma once

#include <algorithm>

#include "convolution_engine.h"
#include "micro_kernel.h"

namespace rushlight::convolution {

// Rows of a tile of panels of which `used` channels are wanted: more where these are one vector.
template <class T>
constexpr int rows_for(int64_t used) {
  return used <= lanes<T> ? 2 * tile_rows : tile_rows;
}
// How wide panels of so many channels in all are: tile_columns, or the few vectors that these fill.
template <class T>
int64_t panel_width(int64_t channels) {
  return std::min<int64_t>(tile_columns<T>, (channels + lanes<T> - 1) / lanes<T> * lanes<T>);
}
// The product by a panel that is `width` wide, as the sums are.
template <class T, class Step>
void multiply_used(int count_rows, int64_t used, int64_t width, int64_t count, const T* const* rows, Step step,
                   const T* panel, T* sums, Store mode, const T* bias = nullptr) {
  if (used <= lanes<T>) {
    multiply_rows<1, T, Step, 2 * tile_rows>(count_rows, count, rows, step, panel, width, sums, width, mode, bias);
  } else {
    multiply_panel(count_rows, used, count, rows, step, panel, width, sums, width, mode, bias);
  }
}

// Writes sums[position][channel of the panel], rows of `width`, of one share to the channels from `channel` on of y,
// and finishes them.
template <class T>
void write_panel(const Windows& windows, const Units& units, const Share& share, const T* sums, int64_t width,
                 int64_t channel, int64_t used, const Output<T>& output);

}  // namespace rushlight::convolution
