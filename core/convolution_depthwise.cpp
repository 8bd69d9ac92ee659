// Convolutions with one input channel in each group: vectors along the image, one plane at a time.
#include <algorithm>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t chunk = 1024;  // sums that stay in L1 while all taps pass over them
constexpr int64_t serial_work = 64 * 1024;

Units whole_planes(const Windows& windows) {
  Units units(windows, volume(windows.positions), INT64_MAX);
  units.images = 1;
  units.image_units = windows.images;
  return units;
}

// With steps of 1 a plane is one run in the patch's own coordinates, the gaps between its rows computed along.
struct Run {
  bool dense;
  int64_t rows, width, pitch;  // positions: rows * width; in the run, rows begin `pitch` apart

  Run(const Windows& windows, const Patch& patch)
      : dense(windows.step == Extents{1, 1, 1} && windows.positions[0] == 1),
        rows(windows.positions[0] * windows.positions[1]),
        width(windows.positions[2]),
        pitch(dense ? patch.extents[2] : width) {}
  int64_t length() const { return rows == 0 ? 0 : (rows - 1) * pitch + width; }
};

// The numbers of the patch that one tap meets, one for each position.
template <class T>
void gather_tap(const Windows& windows, const Patch& patch, const T* corner, T* target) {
  for (int64_t d = 0; d < windows.positions[0]; ++d) {
    for (int64_t h = 0; h < windows.positions[1]; ++h, target += windows.positions[2]) {
      const T* row = corner + (d * windows.step[0] * patch.extents[1] + h * windows.step[1]) * patch.extents[2];
      const int64_t step = windows.step[2];
      if (step == 1) {
        for (int64_t w = 0; w < windows.positions[2]; ++w) target[w] = row[w];
      } else if (step == 2) {
        for (int64_t w = 0; w < windows.positions[2]; ++w) target[w] = row[2 * w];
      } else {
        for (int64_t w = 0; w < windows.positions[2]; ++w) target[w] = row[step * w];
      }
    }
  }
}

template <class T>
T dot(const T* a, const T* b, int64_t count) {
  constexpr int64_t width = 4 * lanes<T>;
  Vec<T> sums[4] = {};
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    for (int j = 0; j < 4; ++j) sums[j] += load(a + i + j * lanes<T>) * load(b + i + j * lanes<T>);
  }
  const Vec<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  T total = 0;
  for (int l = 0; l < lanes<T>; ++l) total += sum[l];
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

}  // namespace

template <class T>
void sum_windows_depthwise(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  const int64_t positions = volume(windows.positions);
  if (windows.images == 0 || positions == 0) return;
  const Units units = whole_planes(windows);
  const Patch patch(windows, units);
  const std::vector<int64_t> offsets = patch.tap_offsets(windows);
  const Run run(windows, patch);
  const int64_t work = std::max<int64_t>(1, positions * static_cast<int64_t>(offsets.size()) * windows.out_channels);
  parallel_for(
      windows.images * windows.groups, std::max<int64_t>(1, serial_work / work), [&](int64_t begin, int64_t end) {
        Scratch<T> image(patch.plane), gathered(run.dense ? 1 : positions), sums(run.length());
        for (int64_t plane = begin; plane < end; ++plane) {
          const int64_t n = plane / windows.groups, group = plane % windows.groups;
          copy_patch(windows, units, patch, Share(windows, units, n), group, 0, 1, x, image.get());
          for (int64_t o = 0; o < windows.out_channels; ++o) {
            const int64_t channel = group * windows.out_channels + o;
            const T* weight = weights.data + group * weights.group_stride + o * weights.out_stride;
            std::fill(sums.get(), sums.get() + run.length(), output.bias == nullptr ? T(0) : output.bias[channel]);
            if (run.dense) {
              for (int64_t from = 0; from < run.length(); from += chunk) {
                const int64_t count = std::min(chunk, run.length() - from);
                T* __restrict sum = sums.get() + from;
                for (size_t t = 0; t < offsets.size(); ++t) {
                  const T factor = weight[windows.taps[t].weight];
                  const T* __restrict source = image.get() + offsets[t] + from;
                  for (int64_t i = 0; i < count; ++i) sum[i] += factor * source[i];
                }
              }
            } else {
              for (size_t t = 0; t < offsets.size(); ++t) {
                gather_tap(windows, patch, image.get() + offsets[t], gathered.get());
                const T factor = weight[windows.taps[t].weight];
                T* __restrict sum = sums.get();
                const T* __restrict source = gathered.get();
                for (int64_t i = 0; i < positions; ++i) sum[i] += factor * source[i];
              }
            }
            const int64_t place =
                (n * windows.groups * windows.out_channels + channel) * windows.out_plane + windows.out_base;
            T* target = output.y + place;
            for (int64_t row = 0; row < run.rows; ++row) {
              const T* source = sums.get() + row * run.pitch;
              const int64_t d = row / windows.positions[1], h = row % windows.positions[1];
              T* line = target + d * windows.out_step[0] + h * windows.out_step[1];
              if (windows.out_step[2] == 1) {
                std::copy(source, source + run.width, line);
              } else {
                for (int64_t w = 0; w < run.width; ++w) line[w * windows.out_step[2]] = source[w];
              }
            }
            output.finish(place, positions);
          }
        }
      });
}

template <class T>
void weight_gradient_depthwise(const Windows& windows, const T* g, const T* x, T* gw) {
  const int64_t positions = volume(windows.positions);
  const Units units = whole_planes(windows);
  const Patch patch(windows, units);
  const std::vector<int64_t> offsets = patch.tap_offsets(windows);
  const int64_t taps = static_cast<int64_t>(offsets.size());
  const Run run(windows, patch);
  const int64_t work = std::max<int64_t>(1, windows.images * positions * taps * windows.out_channels);
  parallel_for(windows.groups, std::max<int64_t>(1, serial_work / work), [&](int64_t begin, int64_t end) {
    Scratch<T> image(patch.plane), gathered(run.dense ? 1 : positions), spread(run.length());
    for (int64_t group = begin; group < end; ++group) {
      T* target = gw + group * windows.out_channels * taps;
      std::fill(target, target + windows.out_channels * taps, T(0));
      for (int64_t n = 0; n < windows.images; ++n) {
        copy_patch(windows, units, patch, Share(windows, units, n), group, 0, 1, x, image.get());
        for (int64_t o = 0; o < windows.out_channels; ++o) {
          const int64_t channel = (n * windows.groups + group) * windows.out_channels + o;
          const T* gradient = g + channel * positions;
          if (run.dense) {  // zeros in the gaps between rows
            std::fill(spread.get(), spread.get() + run.length(), T(0));
            for (int64_t row = 0; row < run.rows; ++row) {
              std::copy(gradient + row * run.width, gradient + (row + 1) * run.width, spread.get() + row * run.pitch);
            }
          }
          for (int64_t t = 0; t < taps; ++t) {
            const T* source = image.get() + offsets[static_cast<size_t>(t)];
            if (!run.dense) gather_tap(windows, patch, source, gathered.get());
            target[o * taps + t] +=
                run.dense ? dot<T>(spread.get(), source, run.length()) : dot<T>(gradient, gathered.get(), positions);
          }
        }
      }
    }
  });
}

template void sum_windows_depthwise<float>(const Windows&, const float*, const Weights<float>&, const Output<float>&);
template void sum_windows_depthwise<double>(const Windows&, const double*, const Weights<double>&,
                                            const Output<double>&);
template void weight_gradient_depthwise<float>(const Windows&, const float*, const float*, float*);
template void weight_gradient_depthwise<double>(const Windows&, const double*, const double*, double*);

}  // namespace rushlight::convolution
