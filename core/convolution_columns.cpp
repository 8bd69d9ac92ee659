// Windows of few positions and many weights, as in the last layers of a network for a single image: packing the weights
// would cost more than it saves. The windows become the columns of a matrix instead, which the weights are multiplied
// by where they lie.
#include "convolution_engine.h"
#include "gemm.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t fewest_weights = 128 * 1024;  // of a group

// The numbers that tap `tap` of a channel's windows meet, one for each position.
template <class T>
void gather_column(const Windows& windows, const Tap& tap, const T* plane, T* target) {
  const Extents &size = windows.size, &step = windows.step;
  for (int64_t d = 0; d < windows.positions[0]; ++d) {
    for (int64_t h = 0; h < windows.positions[1]; ++h) {
      const int64_t z = d * step[0] + tap.offset[0], y = h * step[1] + tap.offset[1];
      const bool inside = z >= 0 && z < size[0] && y >= 0 && y < size[1];
      const T* row = plane + (z * size[1] + y) * size[2];
      for (int64_t w = 0; w < windows.positions[2]; ++w) {
        const int64_t x = w * step[2] + tap.offset[2];
        *target++ = inside && x >= 0 && x < size[2] ? row[x] : T(0);
      }
    }
  }
}

}  // namespace

bool columns_pay(const Windows& windows, int64_t in_stride) {
  const int64_t positions = volume(windows.positions);
  return windows.in_order() && in_stride == static_cast<int64_t>(windows.taps.size()) && windows.dense_output() &&
         windows.depth() * windows.out_channels >= fewest_weights && positions > 0 &&
         2 * windows.images * positions <= windows.out_channels;
}

template <class T>
void sum_windows_columns(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  const int64_t positions = volume(windows.positions), depth = windows.depth(), channels = windows.out_channels;
  const int64_t taps = static_cast<int64_t>(windows.taps.size());
  Scratch<T> columns(depth * positions);
  for (int64_t i = 0; i < windows.images * windows.groups; ++i) {
    const T* image = x + i * windows.in_channels * volume(windows.size);
    parallel_for(depth, std::max<int64_t>(1, 16384 / positions), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        gather_column(windows, windows.taps[static_cast<size_t>(k % taps)], image + k / taps * volume(windows.size),
                      columns.get() + k * positions);
      }
    });
    const int64_t group = i % windows.groups, begin = i * channels * positions;
    Product<T> product{channels,
                       positions,
                       depth,
                       {weights.data + group * weights.group_stride, weights.out_stride, 1},
                       {columns.get(), positions, 1},
                       output.y + begin,
                       positions,
                       1};
    if (output.bias != nullptr) product.row_bias = output.bias + group * channels;
    if (output.residual != nullptr) product.residual = output.residual + begin;
    product.activation = output.activation;
    multiply(product);
  }
}

template void sum_windows_columns<float>(const Windows&, const float*, const Weights<float>&, const Output<float>&);
template void sum_windows_columns<double>(const Windows&, const double*, const Weights<double>&, const Output<double>&);

}  // namespace rushlight::convolution
