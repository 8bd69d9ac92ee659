// Windows of few positions. With many weights, as in the last layers of a network for a single image, packing these
// would cost more than it saves: the windows become the columns of a matrix instead, which the weights are multiplied
// by where they lie. And where windows are hardly smaller than their images, the gradient with respect to the input as
// sums over windows would be made of zeros mostly: what goes back to each window is computed as a product, and added
// up.
#include <algorithm>

#include "convolution_engine.h"
#include "convolution_products.h"
#include "gemm.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t fewest_weights = 128 * 1024;  // of a group
constexpr int64_t least_waste = 4;              // times as many terms as there are: other kernels' terms cost less
constexpr int64_t together_items = 1 << 20;     // of what goes back to windows at once

// The numbers that tap `tap` of a channel's windows meet, one for each position.
template <class T>
void gather_column(const Windows& windows, const Tap& tap, const T* plane, T* target) {
  const Extents &size = windows.size, &step = windows.step, &count = windows.positions;
  // The positions of a row that meet the input's row.
  const int64_t begin = std::clamp<int64_t>(divide_up(-tap.offset[2], step[2]), 0, count[2]);
  const int64_t end = std::clamp<int64_t>(divide_up(size[2] - tap.offset[2], step[2]), begin, count[2]);
  for (int64_t d = 0; d < count[0]; ++d) {
    for (int64_t h = 0; h < count[1]; ++h, target += count[2]) {
      const int64_t z = d * step[0] + tap.offset[0], y = h * step[1] + tap.offset[1];
      if (z < 0 || z >= size[0] || y < 0 || y >= size[1] || begin == end) {
        std::fill_n(target, count[2], T(0));
        continue;
      }
      const T* const row = plane + (z * size[1] + y) * size[2] + begin * step[2] + tap.offset[2];
      for (int64_t w = 0; w < begin; ++w) target[w] = 0;
      if (step[2] == 1) {
        copy_short(row, end - begin, target + begin);
      } else {
        for (int64_t w = begin; w < end; ++w) target[w] = row[(w - begin) * step[2]];
      }
      for (int64_t w = end; w < count[2]; ++w) target[w] = 0;
    }
  }
}

// The numbers that all windows of one channel share out, added up in its plane: `from[tap * tap_step + position *
// position_step]`, one of the steps being 1.
template <class T>
void add_windows(const Shapes& shapes, const T* from, int64_t tap_step, int64_t position_step, T* plane) {
  const Extents &in = shapes.input, &out = shapes.output, &kernel = shapes.kernel, &step = shapes.stride;
  const int64_t pitch = shapes.dilation[2];
  std::fill_n(plane, volume(in), T(0));
  for (int64_t i = 0; i < out[0] * out[1]; ++i) {
    const int64_t first = i / out[1] * step[0], second = i % out[1] * step[1];
    for (int64_t j = 0; j < kernel[0] * kernel[1]; ++j) {
      const int64_t z = first + j / kernel[1] * shapes.dilation[0], y = second + j % kernel[1] * shapes.dilation[1];
      T* const row = plane + (z * in[1] + y) * in[2];
      const T* const source = from + j * kernel[2] * tap_step + i * out[2] * position_step;
      if (tap_step == 1) {
        for (int64_t w = 0; w < out[2]; ++w) {
          for (int64_t t = 0; t < kernel[2]; ++t) row[w * step[2] + t * pitch] += source[w * position_step + t];
        }
      } else {
        for (int64_t t = 0; t < kernel[2]; ++t) {
          for (int64_t w = 0; w < out[2]; ++w) row[w * step[2] + t * pitch] += source[t * tap_step + w];
        }
      }
    }
  }
}

}  // namespace

template <class T>
bool add_columns_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  const int64_t positions = volume(shapes.output), plane = volume(shapes.input);
  if (shapes.padding != Extents{0, 0, 0} || plane < least_waste * positions * volume(shapes.stride)) return false;
  const int64_t window = shapes.window(), channels = shapes.out_channels, depth = shapes.in_channels * window;
  const bool by_taps = shapes.kernel[2] >= shapes.output[2];  // those of a position lie side by side
  const int64_t tap_step = by_taps ? 1 : positions, position_step = by_taps ? depth : 1;
  const int64_t together = std::clamp<int64_t>(together_items / std::max<int64_t>(1, depth * positions), 1,
                                               std::max<int64_t>(1, shapes.images));
  const Scratch<T> columns(together * depth * positions);
  const std::vector<int64_t> same(static_cast<size_t>(together));
  std::vector<int64_t> steps(static_cast<size_t>(together));
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<int64_t>(i) * shapes.groups * channels * positions;
  for (int64_t group = 0; group < shapes.groups; ++group) {
    for (int64_t n = 0; n < shapes.images; n += together) {
      const int64_t count = std::min(together, shapes.images - n), first = n * shapes.groups + group;
      multiply<T>({depth,
                   positions,
                   channels,
                   {w + group * channels * depth, 1, depth},
                   {g + first * channels * positions, positions, 1},
                   columns.get(),
                   by_taps ? 1 : positions,
                   by_taps ? depth : 1},
                  count, same.data(), steps.data(), depth * positions);
      parallel_for(count * shapes.in_channels, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, window * positions)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const int64_t image = i / shapes.in_channels, channel = i % shapes.in_channels;
                       const T* const from = columns.get() + image * depth * positions + channel * window * tap_step;
                       T* const to = gx + ((first + image * shapes.groups) * shapes.in_channels + channel) * plane;
                       add_windows(shapes, from, tap_step, position_step, to);
                     }
                   });
    }
  }
  return true;
}

template bool add_columns_input_gradient<float>(const Shapes&, const float*, const float*, float*);
template bool add_columns_input_gradient<double>(const Shapes&, const double*, const double*, double*);

bool columns_pay(const Windows& windows, int64_t in_stride) {
  const int64_t positions = volume(windows.positions);
  return windows.in_order() && in_stride == static_cast<int64_t>(windows.taps.size()) && windows.dense_output() &&
         windows.depth() * windows.out_channels >= fewest_weights && positions > 0 &&
         2 * windows.images * positions <= windows.out_channels;
}

// The columns of all images lie side by side, so that the weights are read once.
template <class T>
void sum_windows_columns(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  const int64_t positions = volume(windows.positions), depth = windows.depth(), channels = windows.out_channels;
  const int64_t taps = static_cast<int64_t>(windows.taps.size()), plane = volume(windows.size);
  const int64_t images = windows.images, width = images * positions;
  const bool several = images > 1;
  const Scratch<T> columns(depth * width), sums(several ? channels * width : 0);
  for (int64_t group = 0; group < windows.groups; ++group) {
    parallel_for(depth, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * images; i < end * images; ++i) {
        const int64_t k = i / images, n = i % images;
        const int64_t channel = (n * windows.groups + group) * windows.in_channels + k / taps;
        gather_column(windows, windows.taps[static_cast<size_t>(k % taps)], x + channel * plane,
                      columns.get() + i * positions);
      }
    });
    const int64_t first = group * channels;
    Product<T> product{channels,
                       width,
                       depth,
                       {weights.data + group * weights.group_stride, weights.out_stride, 1},
                       {columns.get(), width, 1},
                       several ? sums.get() : output.y + first * positions,
                       width,
                       1};
    if (output.bias != nullptr) product.row_bias = output.bias + first;
    if (!several) {
      product.residual = output.residual == nullptr ? nullptr : output.residual + first * positions;
      product.activation = output.activation;
    }
    multiply(product);
    if (!several) continue;
    parallel_for(channels * images, std::max<int64_t>(1, 16384 / positions), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t target = (i % images * windows.groups * channels + first + i / images) * positions;
        copy_short<T>(sums.get() + i * positions, positions, output.y + target);
        output.finish(target, positions);
      }
    });
  }
}

template void sum_windows_columns<float>(const Windows&, const float*, const Weights<float>&, const Output<float>&);
template void sum_windows_columns<double>(const Windows&, const double*, const Weights<double>&, const Output<double>&);

}  // namespace rushlight::convolution
