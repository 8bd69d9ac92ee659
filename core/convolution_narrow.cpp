// Windows with few output channels, as in the last layer of a generator: there the panels of output channels would be
// mostly empty, so vectors lie along the image and the weights are broadcast. With steps of 1 the positions of a band
// are one run in the patch's own coordinates, the gaps between its rows computed along.
#include <algorithm>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int most_channels = 4;
// Vectors of one tile: enough sums to hide the latency of a multiply-add, and no more than 16 registers hold.
constexpr int width_of(int64_t channels) { return channels == 1 ? 8 : channels == 2 ? 4 : 3; }
constexpr int64_t wanted_positions = 2048;
constexpr int64_t patch_bytes = 192 * 1024;

// sums[o][:] = bias[o] + sum over k of weights[o * depth + k] * image[offsets[k] :], for R channels, width_of(R)
// vectors.
template <int R, class T>
[[gnu::noinline]] void multiply_run(int64_t depth, const T* weights, const int64_t* offsets, const T* image,
                                    const T* bias, T* sums, int64_t pitch) {
  constexpr int width = width_of(R);
  Vec<T> sum[R][width] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const T* source = image + offsets[k];
    Vec<T> right[width];
#pragma GCC unroll 8
    for (int j = 0; j < width; ++j) right[j] = load(source + j * lanes<T>);
#pragma GCC unroll 4
    for (int o = 0; o < R; ++o) {
      const T left = weights[o * depth + k];
#pragma GCC unroll 8
      for (int j = 0; j < width; ++j) sum[o][j] += left * right[j];
    }
  }
  for (int o = 0; o < R; ++o) {
    for (int j = 0; j < width; ++j) store<T>(sums + o * pitch + j * lanes<T>, sum[o][j] + bias[o]);
  }
}

template <class T>
void multiply_channels(int64_t channels, int64_t depth, const T* weights, const int64_t* offsets, const T* image,
                       const T* bias, T* sums, int64_t pitch) {
  switch (channels) {
    case 1: return multiply_run<1>(depth, weights, offsets, image, bias, sums, pitch);
    case 2: return multiply_run<2>(depth, weights, offsets, image, bias, sums, pitch);
    case 3: return multiply_run<3>(depth, weights, offsets, image, bias, sums, pitch);
    default: return multiply_run<4>(depth, weights, offsets, image, bias, sums, pitch);
  }
}

}  // namespace

bool narrow_pays(const Windows& windows) {
  return windows.step == Extents{1, 1, 1} && windows.positions[0] == 1 && windows.out_channels <= most_channels &&
         windows.positions[2] >= 8 && windows.depth() > 0;
}

template <class T>
void sum_windows_narrow(const Windows& windows, const T* x, const Weights<T>& weights, const T* bias, T* y) {
  if (windows.images == 0 || windows.positions[1] == 0 || windows.out_channels == 0) return;
  const int64_t step = width_of(windows.out_channels) * lanes<T>;
  Units units(windows, wanted_positions, patch_bytes / static_cast<int64_t>(sizeof(T)));
  if (units.dimension == 2) units.band = windows.positions[2], units.bands = 1;  // one row stays whole
  units.images = 1;
  units.image_units = windows.images;
  const Patch patch(windows, units);
  const std::vector<int64_t> offsets = patch.tap_offsets(windows);
  const int64_t depth = windows.depth(), channels = windows.out_channels, pitch = patch.extents[2];
  const int64_t most_rows = units.dimension == 1 ? units.band : windows.positions[1];
  const int64_t run_limit = (most_rows * pitch + step - 1) / step * step;
  parallel_for(units.count() * windows.groups, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> image(patch.image + 2 * step + run_limit), sums(channels * run_limit), row_weights(channels * depth);
    std::fill(image.get(), image.get() + patch.image + 2 * step + run_limit, T(0));
    T starts[most_channels];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task % windows.groups;
      const Share share(windows, units, task / windows.groups);
      copy_patch(windows, units, patch, share, group, 0, windows.in_channels, x, image.get());
      for (int64_t o = 0; o < channels; ++o) {
        starts[o] = bias == nullptr ? T(0) : bias[group * channels + o];
        T* target = row_weights.get() + o * depth;
        for (int64_t c = 0; c < windows.in_channels; ++c) {
          const T* window =
              weights.data + group * weights.group_stride + o * weights.out_stride + c * weights.in_stride;
          for (const Tap& tap : windows.taps) *target++ = window[tap.weight];
        }
      }
      const int64_t rows = share.positions[1], run = (rows - 1) * pitch + share.positions[2];
      for (int64_t from = 0; from < run; from += step) {
        multiply_channels(channels, depth, row_weights.get(), offsets.data(), image.get() + from, starts,
                          sums.get() + from, run_limit);
      }
      T* target = y + (share.first * windows.groups + group) * channels * windows.out_plane + windows.out_base +
                  share.begin * windows.out_step[units.dimension];
      for (int64_t o = 0; o < channels; ++o) {
        for (int64_t h = 0; h < rows; ++h) {
          const T* source = sums.get() + o * run_limit + h * pitch;
          T* line = target + o * windows.out_plane + h * windows.out_step[1];
          for (int64_t w = 0; w < share.positions[2]; ++w) line[w * windows.out_step[2]] = source[w];
        }
      }
    }
  });
}

template void sum_windows_narrow<float>(const Windows&, const float*, const Weights<float>&, const float*, float*);
template void sum_windows_narrow<double>(const Windows&, const double*, const Weights<double>&, const double*, double*);

}  // namespace rushlight::convolution
