// 3x3 windows with steps of 1 in 2.25 times fewer multiplications: A. Lavin and S. Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016, F(2x2, 3x3). A tile of 4x4 inputs becomes 16 numbers, each multiplied over the
// channels by 16 transformed weights; 2x2 results come back. Its constants are 1 and 1/2, so the error stays near that
// of direct summation, but relative to the largest numbers of a tile, not to each result's own terms.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t points = 16;          // numbers of a transformed tile
constexpr int64_t wanted_tiles = 96;    // of one unit of work
constexpr int64_t least_tiles = 64;     // in all: below, transforming the weights costs more than it saves
constexpr int64_t least_channels = 32;  // of input and output
constexpr int64_t wanted_tasks = 16;    // to share out among threads

int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

// (rows, columns) of 2x2 results in one image.
int64_t tile_rows_of(const Windows& windows) { return divide_up(windows.positions[1], 2); }
int64_t tile_columns_of(const Windows& windows) { return divide_up(windows.positions[2], 2); }

using Four [[gnu::vector_size(16)]] = float;

// The matrices B^T d B of four tiles of a plane, side by side: point k goes to target + k * step.
inline void transform_tiles(const float* plane, const int64_t* corners, int64_t pitch, float* target, int64_t step) {
  Four half[4][4];  // [row][column] after the columns' transform, lanes are tiles
  for (int a = 0; a < 4; ++a) {
    Four line[4];
    for (int t = 0; t < 4; ++t) std::memcpy(&line[t], plane + corners[t] + a * pitch, sizeof(Four));
    const Four low01 = __builtin_shufflevector(line[0], line[1], 0, 4, 1, 5);
    const Four high01 = __builtin_shufflevector(line[0], line[1], 2, 6, 3, 7);
    const Four low23 = __builtin_shufflevector(line[2], line[3], 0, 4, 1, 5);
    const Four high23 = __builtin_shufflevector(line[2], line[3], 2, 6, 3, 7);
    const Four d0 = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    const Four d1 = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    const Four d2 = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    const Four d3 = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
    half[a][0] = d0 - d2;
    half[a][1] = d1 + d2;
    half[a][2] = d2 - d1;
    half[a][3] = d1 - d3;
  }
  for (int b = 0; b < 4; ++b) {
    const Four rows[4] = {half[0][b] - half[2][b], half[1][b] + half[2][b], half[2][b] - half[1][b],
                          half[1][b] - half[3][b]};
    for (int a = 0; a < 4; ++a) std::memcpy(target + (4 * a + b) * step, &rows[a], sizeof(Four));
  }
}

// G w G^T of one panel of output channels: point, input channel, output channel.
template <class T>
void transform_weights(const Windows& windows, const Weights<T>& weights, int64_t group, int64_t first, T* panel,
                       int64_t point_size) {
  constexpr int64_t columns = tile_columns<T>;
  const int64_t used = std::min(columns, windows.out_channels - first);
  const T* base = weights.data + group * weights.group_stride + first * weights.out_stride;
  int64_t place[9];  // of the weight that meets the input at each offset
  for (const Tap& tap : windows.taps) {
    const int64_t row = tap.offset[1] - windows.taps[0].offset[1], column = tap.offset[2] - windows.taps[0].offset[2];
    place[std::abs(row) * 3 + std::abs(column)] = tap.weight;
  }
  const bool flipped = windows.taps[8].offset[1] < windows.taps[0].offset[1];
  if (flipped) std::reverse(place, place + 9);
  T w[9][columns] = {}, half[12][columns];
  for (int64_t c = 0; c < windows.in_channels; ++c, panel += columns) {
    for (int64_t o = 0; o < used; ++o) {
      const T* window = base + o * weights.out_stride + c * weights.in_stride;
      for (int i = 0; i < 9; ++i) w[i][o] = window[place[i]];
    }
    for (int column = 0; column < 3; ++column) {
      for (int64_t o = 0; o < columns; ++o) {
        const T a = w[column][o], b = w[3 + column][o], e = w[6 + column][o];
        half[column][o] = a;
        half[3 + column][o] = (a + b + e) * T(0.5);
        half[6 + column][o] = (a - b + e) * T(0.5);
        half[9 + column][o] = e;
      }
    }
    for (int row = 0; row < 4; ++row) {
      T* target = panel + row * 4 * point_size;
      for (int64_t o = 0; o < columns; ++o) {
        const T a = half[3 * row][o], b = half[3 * row + 1][o], e = half[3 * row + 2][o];
        target[o] = a;
        target[point_size + o] = (a + b + e) * T(0.5);
        target[2 * point_size + o] = (a - b + e) * T(0.5);
        target[3 * point_size + o] = e;
      }
    }
  }
}

// A^T m A of one tile, for a panel of output channels; m's points lie `point_size` apart.
template <class T>
void transform_results(const T* m, int64_t point_size, const T* bias, T (&y)[4][tile_columns<T>]) {
  for (int64_t j = 0; j < tile_columns<T>; j += lanes<T>) {
    Vec<T> top[4], bottom[4];
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) {
      const T* source = m + column * point_size + j;
      const Vec<T> a = load(source), b = load(source + 4 * point_size), c = load(source + 8 * point_size),
                   e = load(source + 12 * point_size);
      top[column] = a + b + c;
      bottom[column] = b - c - e;
    }
    const Vec<T> start = load(bias + j);
    store<T>(y[0] + j, top[0] + top[1] + top[2] + start);
    store<T>(y[1] + j, top[1] - top[2] - top[3] + start);
    store<T>(y[2] + j, bottom[0] + bottom[1] + bottom[2] + start);
    store<T>(y[3] + j, bottom[1] - bottom[2] - bottom[3] + start);
  }
}

}  // namespace

bool winograd_pays(const Windows& windows) {
  return windows.dense_3x3() && std::min(windows.in_channels, windows.out_channels) >= least_channels &&
         windows.images * tile_rows_of(windows) * tile_columns_of(windows) >= least_tiles;
}

void sum_windows_winograd(const Windows& windows, const float* x, const Weights<float>& weights,
                          const Output<float>& output) {
  using T = float;
  constexpr int64_t columns = tile_columns<T>;
  // The same grid, cut at even positions, with patches that whole tiles fit in.
  const int64_t tiles_down = tile_rows_of(windows), tiles_across = tile_columns_of(windows);
  Windows grid = windows;
  grid.positions = {1, 2 * tiles_down, 2 * tiles_across};
  Windows tiles = windows;
  tiles.positions = {1, tiles_down, tiles_across};
  Units units(tiles, wanted_tiles, INT64_MAX);
  units.dimension = 1;
  if (tiles_down == 1) units.band = 1, units.bands = 1;
  Units patch_units = units;
  patch_units.band = 2 * units.band;
  const Patch patch(grid, patch_units);
  const int64_t in_channels = windows.in_channels, panels = divide_up(windows.out_channels, columns);
  const int64_t most = units.images * units.band * tiles_across;
  const int64_t pitch = divide_up(most, 16) * 16 + (divide_up(most, 16) % 2 == 0 ? 16 : 0);  // an odd number of lines
  // The points lie apart by one line more than a power of two may give, or they would share a few lines of the cache.
  const int64_t point_size = panels * in_channels * columns + columns;
  const int64_t input_step = in_channels * pitch + 16;

  Scratch<T> packed(windows.groups * points * point_size);
  parallel_for(windows.groups * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      T* panel = packed.get() + p / panels * points * point_size + p % panels * in_channels * columns;
      transform_weights(windows, weights, p / panels, p % panels * columns, panel, point_size);
    }
  });

  const int64_t unit_count = units.count() * windows.groups;
  const int64_t parts = std::min(panels, divide_up(wanted_tasks, unit_count));
  const int64_t panels_each = divide_up(panels, parts);
  parallel_for(unit_count * parts, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> image(patch.plane * units.images), inputs(points * input_step);
    Scratch<int64_t> corners(most + 4);
    const int64_t products_size = panels_each * most * columns + columns;
    Scratch<T> products(points * products_size), sums(4 * most * columns);
    T padded_bias[columns];
    const T* rows[tile_rows];
    T results[4][columns];
    Patch channel_patch = patch;  // one channel at a time
    channel_patch.image = patch.plane;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t unit = task / parts, group = unit % windows.groups;
      const Share share(tiles, units, unit / windows.groups);
      Share wide = share;
      wide.begin = 2 * share.begin;
      const int64_t down = share.end - share.begin, count = share.images * down * tiles_across;
      for (int64_t t = 0; t < divide_up(count, 4) * 4; ++t) {  // filled up to fours with the last one
        const int64_t tile = std::min(t, count - 1), n = tile / (down * tiles_across),
                      place = tile % (down * tiles_across);
        const int64_t row = 2 * (place / tiles_across), column = 2 * (place % tiles_across);
        corners[t] = n * patch.plane + row * patch.extents[2] + column;
      }
      for (int64_t c = 0; c < in_channels; ++c) {
        copy_patch(grid, patch_units, channel_patch, wide, group, c, c + 1, x, image.get());
        for (int64_t t = 0; t < count; t += 4) {
          transform_tiles(image.get(), corners.get() + t, patch.extents[2], inputs.get() + c * pitch + t, input_step);
        }
      }
      const int64_t first_panel = task % parts * panels_each, last_panel = std::min(first_panel + panels_each, panels);
      for (int64_t point = 0; point < points; ++point) {
        for (int64_t p = first_panel; p < last_panel; ++p) {
          const T* panel = packed.get() + (group * points + point) * point_size + p * in_channels * columns;
          T* target = products.get() + point * products_size + (p - first_panel) * most * columns;
          for (int64_t i = 0; i < count; i += tile_rows) {
            const int used = static_cast<int>(std::min<int64_t>(tile_rows, count - i));
            for (int r = 0; r < used; ++r) rows[r] = inputs.get() + point * input_step + i + r;
            multiply_panel(used, windows.out_channels - p * columns, in_channels, rows, Strided{pitch}, panel,
                           target + i * columns, columns, Store::overwrite);
          }
        }
      }
      for (int64_t p = first_panel; p < last_panel; ++p) {
        const int64_t used = std::min(columns, windows.out_channels - p * columns);
        const int64_t out = group * windows.out_channels + p * columns;
        for (int64_t o = 0; o < columns; ++o) {
          padded_bias[o] = output.bias != nullptr && o < used ? output.bias[out + o] : T(0);
        }
        const T* source = products.get() + (p - first_panel) * most * columns;
        const int64_t height = std::min(2 * share.end, windows.positions[1]) - 2 * share.begin;
        const int64_t width = windows.positions[2];
        for (int64_t n = 0; n < share.images; ++n) {
          for (int64_t i = 0; i < down; ++i) {
            for (int64_t j = 0; j < tiles_across; ++j, source += columns) {
              transform_results(source, products_size, padded_bias, results);
              for (int64_t r = 0; r < 4; ++r) {
                const int64_t row = 2 * i + r / 2, column = 2 * j + r % 2;
                if (row < height && column < width) {
                  std::memcpy(sums.get() + ((n * height + row) * width + column) * columns, results[r],
                              sizeof results[r]);
                }
              }
            }
          }
        }
        Share whole = wide;
        whole.end = whole.begin + height;
        whole.positions = {1, height, width};
        write_panel(windows, patch_units, whole, sums.get(), out, used, output);
      }
    }
  });
}

}  // namespace rushlight::convolution
