// Windows of few terms, as in a network's first layer, or of few output channels, as in
// the last layer of a generator: there the panels of output channels would cost more than they save, or be mostly
// empty, so vectors lie along the image. With steps of 1 the positions of a band are one run in the patch's own
// coordinates, the gaps between its rows computed along.
#include <algorithm>

#include "convolution_engine.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t few_channels = lanes<float>;  // that fill a fourth of a panel, or half of it
constexpr int64_t few_terms = 80;
constexpr int most_channels = vector_registers == 32 ? 8 : 6;  // of one tile
// Vectors of one tile: as many sums as the registers hold beside one line of the image and a weight.
constexpr int width_of(int channels) { return std::min(8, (vector_registers - 1) / (channels + 1)); }
constexpr int64_t wanted_positions = 1024;
constexpr int64_t longest_run = 8 * wanted_positions;  // of slices, which can't be cut
constexpr int64_t patch_bytes = 192 * 1024;
constexpr int64_t serial_work = 128 * 1024;  // multiply-adds that aren't worth a second thread
constexpr int64_t most_weights = 4096;       // of which several partial sums may be kept, a vector each
constexpr int64_t most_partials = 16;
// Of one tile of the gradient.
constexpr int gradient_channels = 4;
constexpr int gradient_terms = vector_registers == 32 ? 5 : 3;
// Of all windows that the gradient pays for: fewer for many channels where most loads of x fall on two cache lines,
// more where runs are long.
constexpr int64_t few_gradient_terms = 32, few_for_many_channels = lanes<float> == 16 ? 16 : 32;
constexpr int64_t many_channels = 33;
constexpr int64_t long_run = 512;

// Bands of whole rows, or slices of them, of one image.
Units bands_of_rows(const Windows& windows, int64_t wanted, int64_t limit) {
  Units units(windows, wanted, limit);
  if (units.dimension == 2) units.band = windows.positions[2], units.bands = 1;
  units.images = 1;
  units.image_units = windows.images;
  return units;
}

// sums[o][:] = bias[o] + sum over k of weights[k][o] * image[offsets[k] :], for R channels, width_of(R) vectors.
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
#pragma GCC unroll 8
    for (int o = 0; o < R; ++o) {
      const T left = weights[k * R + o];
#pragma GCC unroll 8
      for (int j = 0; j < width; ++j) sum[o][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < R; ++o) {
#pragma GCC unroll 8
    for (int j = 0; j < width; ++j) store<T>(sums + o * pitch + j * lanes<T>, sum[o][j] + bias[o]);
  }
}

// The run from end to end, for a number of channels known only at run time.
template <class T, int R = most_channels>
void multiply_channels(int channels, int64_t run, int64_t depth, const T* weights, const int64_t* offsets,
                       const T* image, const T* bias, T* sums, int64_t pitch) {
  if constexpr (R > 1) {
    if (channels < R) {
      return multiply_channels<T, R - 1>(channels, run, depth, weights, offsets, image, bias, sums, pitch);
    }
  }
  for (int64_t from = 0; from < run; from += width_of(R) * lanes<T>) {
    multiply_run<R>(depth, weights, offsets, image + from, bias, sums + from, pitch);
  }
}

// Adds g[o][:] * x[offsets[k] :] to sums[k][o], lane by lane, for O channels and K terms.
template <int O, int K, class T>
[[gnu::noinline]] void multiply_lanes(int64_t run, const T* g, int64_t pitch, const T* x, const int64_t* offsets,
                                      T* sums, int64_t sums_step) {
  Vec<T> sum[K][O];
  const T* source[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    source[k] = x + offsets[k];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) sum[k][o] = load(sums + k * sums_step + o * lanes<T>);
  }
  for (int64_t i = 0; i < run; i += lanes<T>) {
    Vec<T> left[O];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) left[o] = load(g + o * pitch + i);
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) {
      const Vec<T> right = load(source[k] + i);
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) sum[k][o] += left[o] * right;
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) store<T>(sums + k * sums_step + o * lanes<T>, sum[k][o]);
  }
}

template <int O, class T, int K = (O == 1 ? 9 : gradient_terms)>
void multiply_terms(int64_t depth, int64_t run, const T* g, int64_t pitch, const T* x, const int64_t* offsets,
                    T* sums) {
  int64_t k = 0;
  for (; k + K <= depth; k += K) {
    multiply_lanes<O, K>(run, g, pitch, x, offsets + k, sums + k * O * lanes<T>, O * lanes<T>);
  }
  if constexpr (K > 1) {
    multiply_terms<O, T, K - 1>(depth - k, run, g, pitch, x, offsets + k, sums + k * O * lanes<T>);
  }
}

// The positions of a share as one run in the patch's own coordinates.
struct Run {
  const Patch& patch;
  const Extents& positions;

  int64_t row(int64_t d, int64_t h) const { return (d * patch.extents[1] + h) * patch.extents[2]; }
  int64_t length() const { return row(positions[0] - 1, positions[1] - 1) + positions[2]; }

  // work(where a row begins in the run, its depth and height) for all rows.
  template <class Work>
  void for_each_row(Work&& work) const {
    for (int64_t d = 0; d < positions[0]; ++d) {
      for (int64_t h = 0; h < positions[1]; ++h) work(row(d, h), d, h);
    }
  }
};

// The positions of the largest share.
Extents most_positions(const Windows& windows, const Units& units) {
  Extents positions = windows.positions;
  positions[units.dimension] = units.band;
  return positions;
}

// The positions of a unit as a run: how many there are, and how long it is; none where they aren't one.
struct Measure {
  int64_t positions = 0, length = 0;

  explicit Measure(const Windows& windows) {
    if (windows.step != Extents{1, 1, 1} || windows.positions[2] < 8) return;
    const Units units = bands_of_rows(windows, wanted_positions, INT64_MAX);
    const Extents most = most_positions(windows, units);
    const Patch patch(windows, units);
    const int64_t found = Run{patch, most}.length();
    if (units.dimension == 0 && found > longest_run) return;
    positions = volume(most);
    length = found;
  }
  // Whether at least `percent` of what is computed are positions, in tiles of so many vectors.
  bool filled(int64_t percent, int64_t vectors) const {
    const int64_t tile = vectors * lanes<float>;
    return positions > 0 && 100 * positions >= percent * divide_up(length, tile) * tile;
  }
};

}  // namespace

bool narrow_pays(const Windows& windows) {
  if (windows.depth() == 0 || (windows.out_channels > few_channels && windows.depth() > few_terms)) return false;
  const int64_t channels = std::clamp<int64_t>(windows.out_channels, 1, most_channels);
  return Measure(windows).filled(2 * channels > most_channels ? 68 : 50, width_of(static_cast<int>(channels)));
}

bool narrow_gradient_pays(const Windows& windows) {
  const int64_t depth = windows.depth();
  if (depth == 0 || depth > few_terms || depth * windows.out_channels > most_weights || windows.images == 0)
    return false;
  const Measure run(windows);
  if (!run.filled(70, 1)) return false;
  if (windows.out_channels >= many_channels) return depth <= few_for_many_channels;
  return depth <= few_gradient_terms || run.length >= long_run;
}

template <class T>
void sum_windows_narrow(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  if (windows.images == 0 || volume(windows.positions) == 0 || windows.out_channels == 0) return;
  constexpr int64_t step = width_of(1) * lanes<T>;  // the longest
  const Units units = bands_of_rows(windows, wanted_positions, patch_bytes / static_cast<int64_t>(sizeof(T)));
  const Patch patch(windows, units);
  const std::vector<int64_t> offsets = patch.tap_offsets(windows);
  const int64_t depth = windows.depth(), channels = windows.out_channels;
  const Extents most = most_positions(windows, units);
  const int64_t longest = Run{patch, most}.length();
  const int64_t run_limit = divide_up(longest + step, lanes<T>) * lanes<T>;
  const int64_t tiles = divide_up(channels, most_channels);
  const int64_t work = std::max<int64_t>(1, channels * depth * longest);
  parallel_for(
      units.count() * windows.groups, std::max<int64_t>(1, serial_work / work), [&](int64_t begin, int64_t end) {
        const int64_t slack = step;  // that the last vectors of a run read beyond the patch
        Scratch<T> image(patch.image + slack), sums(most_channels * run_limit), packed(depth * most_channels);
        std::fill(image.get() + patch.image, image.get() + patch.image + slack, T(0));
        T starts[most_channels];
        for (int64_t task = begin; task < end; ++task) {
          const int64_t group = task % windows.groups;
          const Share share(windows, units, task / windows.groups);
          copy_patch(windows, units, patch, share, group, 0, windows.in_channels, x, image.get());
          const Run run{patch, share.positions};
          for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t first = channels * tile / tiles, used = channels * (tile + 1) / tiles - first;
            for (int64_t o = 0; o < used; ++o) {
              const int64_t channel = group * channels + first + o;
              starts[o] = output.bias == nullptr ? T(0) : output.bias[channel];
              const T* window = weights.data + group * weights.group_stride + (first + o) * weights.out_stride;
              T* target = packed.get() + o;
              for (int64_t c = 0; c < windows.in_channels; ++c, window += weights.in_stride) {
                for (const Tap& tap : windows.taps) *target = window[tap.weight], target += used;
              }
            }
            multiply_channels<T>(static_cast<int>(used), run.length(), depth, packed.get(), offsets.data(), image.get(),
                                 starts, sums.get(), run_limit);
            for (int64_t o = 0; o < used; ++o) {
              const int64_t channel = (share.first * windows.groups + group) * channels + first + o;
              const int64_t place =
                  channel * windows.out_plane + windows.out_base + share.begin * windows.out_step[units.dimension];
              run.for_each_row([&](int64_t begin, int64_t d, int64_t h) {
                const T* source = sums.get() + o * run_limit + begin;
                T* line = output.y + place + d * windows.out_step[0] + h * windows.out_step[1];
                if (windows.out_step[2] == 1) {
                  std::copy(source, source + share.positions[2], line);
                } else {
                  for (int64_t w = 0; w < share.positions[2]; ++w) line[w * windows.out_step[2]] = source[w];
                }
              });
              output.finish(place, volume(share.positions));
            }
          }
        }
      });
}

template <class T>
void weight_gradient_narrow(const Windows& windows, const T* g, const T* x, T* gw) {
  const Units units = bands_of_rows(windows, wanted_positions, patch_bytes / static_cast<int64_t>(sizeof(T)));
  const Patch patch(windows, units);
  const std::vector<int64_t> offsets = patch.tap_offsets(windows);
  const int64_t depth = windows.depth(), channels = windows.out_channels;
  const int64_t width = windows.positions[2], plane = volume(windows.positions);
  const Extents most = most_positions(windows, units);
  const int64_t run_limit = divide_up(Run{patch, most}.length(), lanes<T>) * lanes<T>;
  const int64_t in_band = plane / windows.positions[units.dimension];  // items of one position along the bands
  const int64_t each = divide_up(units.count(), std::min(units.count(), most_partials));
  const int64_t partials = divide_up(units.count(), each), size = channels * depth;
  // Every weight's sum in the lanes of a vector: group, partial sum, tile of output channels, term, channel.
  Scratch<T> sums(windows.groups * partials * size * lanes<T>);
  parallel_for(windows.groups * partials, 1, [&](int64_t begin, int64_t end) {
    const int64_t slack = lanes<T>;
    Scratch<T> image(patch.image + slack), spread(gradient_channels * run_limit);
    std::fill(image.get(), image.get() + patch.image + slack, T(0));  // nothing that zeros would turn into NaN
    std::fill(spread.get(), spread.get() + gradient_channels * run_limit, T(0));  // the gaps stay so
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task / partials, first = task % partials * each;
      T* const partial = sums.get() + task * size * lanes<T>;
      std::fill(partial, partial + size * lanes<T>, T(0));
      for (int64_t unit = first; unit < std::min(first + each, units.count()); ++unit) {
        const Share share(windows, units, unit);
        copy_patch(windows, units, patch, share, group, 0, windows.in_channels, x, image.get());
        const Run run{patch, share.positions};
        for (int64_t o = 0; o < channels; o += gradient_channels) {
          const int64_t used = std::min<int64_t>(gradient_channels, channels - o);
          for (int64_t c = 0; c < used; ++c) {
            const int64_t channel = (share.first * windows.groups + group) * channels + o + c;
            const T* source = g + channel * plane + share.begin * in_band;
            T* target = spread.get() + c * run_limit;
            run.for_each_row([&](int64_t from, int64_t, int64_t) {
              std::copy(source, source + width, target + from);
              source += width;
            });
            std::fill(target + run.length(), target + run_limit, T(0));
          }
          T* const target = partial + o * depth * lanes<T>;
          const auto add = [&]<int O>() {
            multiply_terms<O>(depth, run.length(), spread.get(), run_limit, image.get(), offsets.data(), target);
          };
          switch (used) {
            case 1: add.template operator()<1>(); break;
            case 2: add.template operator()<2>(); break;
            case 3: add.template operator()<3>(); break;
            default: add.template operator()<gradient_channels>(); break;
          }
        }
      }
    }
  });
  for (int64_t group = 0; group < windows.groups; ++group) {
    const T* const base = sums.get() + group * partials * size * lanes<T>;
    for (int64_t o = 0; o < channels; ++o) {
      const int64_t tile = o / gradient_channels * gradient_channels;
      const int64_t used = std::min<int64_t>(gradient_channels, channels - tile);
      for (int64_t k = 0; k < depth; ++k) {
        const T* source = base + (tile * depth + k * used + o - tile) * lanes<T>;
        Vec<T> sum = load(source);
        for (int64_t p = 1; p < partials; ++p) sum += load(source + p * size * lanes<T>);
        gw[(group * channels + o) * depth + k] = reduce_lanes(sum, [](Vec<T> a, Vec<T> b) { return a + b; });
      }
    }
  }
}

template void sum_windows_narrow<float>(const Windows&, const float*, const Weights<float>&, const Output<float>&);
template void sum_windows_narrow<double>(const Windows&, const double*, const Weights<double>&, const Output<double>&);
template void weight_gradient_narrow<float>(const Windows&, const float*, const float*, float*);
template void weight_gradient_narrow<double>(const Windows&, const double*, const double*, double*);

}  // namespace rushlight::convolution
