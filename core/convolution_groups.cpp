// Convolutions of many groups with few channels each, depthwise ones above all: a vector holds the same channel of
// neighbouring groups. The images are turned so that groups lie innermost, with their zero border; then every step,
// dilation and size is as fast as any other, and the gradient of the weights needs no sums across lanes.
#include <algorithm>
#include <numeric>

#include "convolution_engine.h"
#include "lanes.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t tile_bytes = 256 * 1024;     // of what a task has turned
constexpr int64_t serial_work = 64 * 1024;     // multiply-adds that aren't worth a second thread
constexpr int64_t wanted_tasks = 16;           // to share out among threads
constexpr int64_t most_shared_weights = 4096;  // of all images
constexpr int64_t few_channels = 16;  // of a group: from there on panels of channels are as full as vectors here
constexpr int64_t few_terms = 32, few_positions = 16;  // of windows, for panels of terms; in a row, for runs
constexpr int most_outputs = 4;                        // channels of one tile of sums
// Positions beside one another of a tile: as many sums as the registers hold beside their factors.
constexpr int most_positions(int outputs) { return std::min(8, (vector_registers - 2 - outputs) / outputs); }
// Numbers of the windows whose gradients are summed at once.
constexpr int most_terms(int outputs) { return std::min(9, (vector_registers - 2 - outputs) / outputs); }

// The groups of one block.
template <class T>
struct Block {
  int64_t first, used;

  Block(const Windows& windows, int64_t index)
      : first(index * lanes<T>), used(std::min<int64_t>(lanes<T>, windows.groups - first)) {}
  static int64_t count(const Windows& windows) { return divide_up(windows.groups, lanes<T>); }
};

// How the positions are cut into bands along the first long dimension of the results, and what a band reads. `windows`
// are those of all remainders by a stride, whose results lie between one another.
struct Bands {
  int dimension = 0;
  int64_t band, count;
  Extents positions{}, low{}, high{};  // the most of any remainder

  Bands(std::span<const Windows> windows, const Extents& size, int64_t least, int64_t most_items) {
    bool first = true;
    for (const Windows& each : windows) {
      for (int d = 0; d < 3; ++d) positions[d] = std::max(positions[d], each.positions[d]);
      for (const Tap& tap : each.taps) {
        for (int d = 0; d < 3; ++d) {
          low[d] = first ? tap.offset[d] : std::min(low[d], tap.offset[d]);
          high[d] = first ? tap.offset[d] : std::max(high[d], tap.offset[d]);
        }
        first = false;
      }
    }
    while (dimension < 2 && size[dimension] == 1) ++dimension;
    const Windows& any = windows[0];
    const auto items = [&](int64_t wanted) {  // of a band of this size, both sides
      int64_t results = any.out_channels * static_cast<int64_t>(windows.size());
      for (int d = 0; d < 3; ++d) results *= d == dimension ? wanted : positions[d];
      return any.in_channels * volume(read(any, wanted)) + results;
    };
    band = std::max<int64_t>(1, positions[dimension] / std::max<int64_t>(1, least));
    while (band > 1 && items(band) > most_items) band = divide_up(band, 2);
    count = divide_up(positions[dimension], band);
    band = divide_up(positions[dimension], std::max<int64_t>(1, count));
  }

  // Of the input, for so many positions along the dimension of the bands.
  Extents read(const Windows& windows, int64_t size) const {
    Extents extents;
    for (int d = 0; d < 3; ++d) {
      const int64_t met = d == dimension ? size : positions[d];
      extents[d] = std::max<int64_t>(0, met - 1) * windows.step[d] + high[d] - low[d] + 1;
    }
    return extents;
  }
  Extents origin(const Windows& windows, int64_t begin) const {
    Extents from = low;
    from[dimension] += begin * windows.step[dimension];
    return from;
  }
};

// Where the numbers of a window lie in a box, from its first.
template <class T>
std::vector<int64_t> offsets_in(const Windows& windows, const Bands& bands, const Extents& box) {
  std::vector<int64_t> offsets;
  for (int64_t c = 0; c < windows.in_channels; ++c) {
    for (const Tap& tap : windows.taps) {
      const int64_t row = (tap.offset[0] - bands.low[0]) * box[1] + tap.offset[1] - bands.low[1];
      offsets.push_back((c * volume(box) + row * box[2] + tap.offset[2] - bands.low[2]) * lanes<T>);
    }
  }
  return offsets;
}

// The terms of the sums over a window, in the order in which they are added: first runs of three neighbours, which for
// steps of 1 are those of the next position but one, then single ones.
constexpr int terms_of_run = 3;
struct Terms {
  int64_t runs = 0;
  std::vector<int64_t> offsets;  // in a box, of runs and of single terms
  std::vector<int64_t> weights;  // where the weight of every term lies, from the first of its window and channels

  template <class T>
  static Terms of(const Windows& windows, const Bands& bands, const Extents& box, const Weights<T>& weights) {
    const std::vector<int64_t> all = offsets_in<T>(windows, bands, box);
    const int64_t taps = static_cast<int64_t>(windows.taps.size());
    std::vector<size_t> order(all.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, {}, [&](size_t k) { return all[k]; });
    const auto in_run = [&](size_t i) {
      return windows.step[2] == 1 && i + 2 < order.size() && all[order[i + 2]] == all[order[i]] + 2 * lanes<T>;
    };
    Terms runs, singles;
    for (size_t i = 0; i < order.size();) {
      const size_t count = in_run(i) ? terms_of_run : 1;
      Terms& terms = count > 1 ? runs : singles;
      terms.offsets.push_back(all[order[i]]);
      for (const size_t end = i + count; i < end; ++i) {
        const int64_t k = static_cast<int64_t>(order[i]);
        terms.weights.push_back(k / taps * weights.in_stride + windows.taps[static_cast<size_t>(k % taps)].weight);
      }
    }
    runs.runs = static_cast<int64_t>(runs.offsets.size());
    runs.offsets.insert(runs.offsets.end(), singles.offsets.begin(), singles.offsets.end());
    runs.weights.insert(runs.weights.end(), singles.weights.begin(), singles.weights.end());
    return runs;
  }
};

// A box of `count` planes of `size`, turned: the planes innermost, zeros where the box leaves them.
template <class T>
void turn(const T* planes, int64_t plane_step, int64_t count, const Extents& size, const Extents& origin,
          const Extents& box, T* target) {
  const int64_t left = std::clamp<int64_t>(-origin[2], 0, box[2]);
  const int64_t right = std::clamp<int64_t>(size[2] - origin[2], left, box[2]);
  for (int64_t d = origin[0]; d < origin[0] + box[0]; ++d) {
    for (int64_t h = origin[1]; h < origin[1] + box[1]; ++h, target += box[2] * lanes<T>) {
      if (d < 0 || d >= size[0] || h < 0 || h >= size[1] || left == right) {
        std::fill_n(target, box[2] * lanes<T>, T(0));
        continue;
      }
      std::fill_n(target, left * lanes<T>, T(0));
      transpose(planes + (d * size[1] + h) * size[2] + origin[2] + left, plane_step, count, right - left,
                target + left * lanes<T>, lanes<T>);
      std::fill_n(target + right * lanes<T>, (box[2] - right) * lanes<T>, T(0));
    }
  }
}

// A weight of every group, or of all of them, as they lie in packed weights.
template <class T, bool shared>
constexpr int64_t weight_lanes = shared ? 1 : lanes<T>;
template <bool shared, class T>
inline Vec<T> load_weight(const T* weights, int64_t index) {
  if constexpr (shared) {
    return broadcast(weights[index]);
  } else {
    return load(weights + index * lanes<T>);
  }
}

// y[p][o] = start[o] + sum over all terms of weight[o] * x[p * step + offset], in vectors of groups, for p < P, o < O.
template <int P, int O, bool shared, class T>
[[gnu::noinline]] void sum_tile(const Terms& terms, const T* x, int64_t step, const T* weights, const T* start, T* y,
                                int64_t y_step, int64_t y_channel) {
  constexpr int run = (P + terms_of_run) * O < vector_registers ? terms_of_run : 1;  // of terms that share their loads
  Vec<T> sum[P][O];
#pragma GCC unroll 8
  for (int o = 0; o < O; ++o) {
    const Vec<T> value = load(start + o * lanes<T>);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sum[p][o] = value;
  }
  const int64_t* offset = terms.offsets.data();
  for (int64_t k = 0; k < terms.runs * terms_of_run; k += run, weights += run * O * weight_lanes<T, shared>) {
    const T* source = x + offset[k / terms_of_run] + k % terms_of_run * lanes<T>;
    Vec<T> weight[run][O];
#pragma GCC unroll 4
    for (int r = 0; r < run; ++r) {
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) weight[r][o] = load_weight<shared>(weights, r * O + o);
    }
#pragma GCC unroll 16
    for (int i = 0; i < P + run - 1; ++i) {
      const Vec<T> value = load(source + i * lanes<T>);
#pragma GCC unroll 4
      for (int r = 0; r < run; ++r) {
        if (i < r || i - r >= P) continue;
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o) sum[i - r][o] += weight[r][o] * value;
      }
    }
  }
  for (size_t k = static_cast<size_t>(terms.runs); k < terms.offsets.size();
       ++k, weights += O * weight_lanes<T, shared>) {
    const T* source = x + offset[k];
    Vec<T> weight[O];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) weight[o] = load_weight<shared>(weights, o);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const Vec<T> value = load(source + p * step);
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) sum[p][o] += weight[o] * value;
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) store<T>(y + p * y_step + o * y_channel, sum[p][o]);
  }
}

// The same for a row of positions.
template <int O, bool shared, class T, int P = most_positions(O)>
void sum_row(int64_t count, const Terms& terms, const T* x, int64_t step, const T* weights, const T* start, T* y,
             int64_t y_step, int64_t y_channel) {
  for (; count >= P; count -= P, x += P * step, y += P * y_step) {
    sum_tile<P, O, shared>(terms, x, step, weights, start, y, y_step, y_channel);
  }
  if constexpr (P > 1) sum_row<O, shared, T, P - 1>(count, terms, x, step, weights, start, y, y_step, y_channel);
}

// sums[k][o] += sum over a row's positions of g[p][o] * x[p * step + offsets[k]], for K terms and O channels.
template <int K, int O, class T>
[[gnu::noinline]] void add_products(int64_t count, const T* g, int64_t g_channel, const T* x, int64_t step,
                                    const int64_t* offsets, T* sums) {
  Vec<T> sum[K][O];
  const T* source[K];
#pragma GCC unroll 16
  for (int k = 0; k < K; ++k) {
    source[k] = x + offsets[k];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) sum[k][o] = load(sums + (k * O + o) * lanes<T>);
  }
  for (int64_t p = 0; p < count; ++p) {
    Vec<T> left[O];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) left[o] = load(g + p * lanes<T> + o * g_channel);
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k) {
      const Vec<T> right = load(source[k] + p * step);
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) sum[k][o] += left[o] * right;
    }
  }
#pragma GCC unroll 16
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) store<T>(sums + (k * O + o) * lanes<T>, sum[k][o]);
  }
}

// The same for all terms, whose sums lie one after the other.
template <int O, class T, int K = most_terms(O)>
void add_terms(int64_t depth, int64_t count, const T* g, int64_t g_channel, const T* x, int64_t step,
               const int64_t* offsets, T* sums) {
  for (; depth >= K; depth -= K, offsets += K, sums += K * O * lanes<T>) {
    add_products<K, O>(count, g, g_channel, x, step, offsets, sums);
  }
  if constexpr (K > 1) add_terms<O, T, K - 1>(depth, count, g, g_channel, x, step, offsets, sums);
}

// Calls work(constant, first channel) for tiles of four, two and one of the channels of a group.
template <class Work>
void for_each_tile(int64_t channels, Work&& work) {
  int64_t o = 0;
  for (; channels - o >= most_outputs; o += most_outputs) work(std::integral_constant<int, most_outputs>(), o);
  for (; channels - o >= 2; o += 2) work(std::integral_constant<int, 2>(), o);
  for (; o < channels; ++o) work(std::integral_constant<int, 1>(), o);
}

// The weights of a block as [tile of output channels][term][output channel of the tile][group].
template <class T>
void pack_weights(const Windows& windows, const Terms& terms, const Weights<T>& weights, const Block<T>& block,
                  int64_t weights_each, T* packed) {
  for_each_tile(windows.out_channels, [&](auto outputs, int64_t first) {
    for (const int64_t weight : terms.weights) {
      for (int64_t o = first; o < first + outputs; ++o) {
        const T* from = weights.data + block.first * weights.group_stride + o * weights.out_stride + weight;
        for (int64_t lane = 0; lane < weights_each; ++lane) {
          *packed++ = lane < block.used ? from[lane * weights.group_stride] : T(0);
        }
      }
    }
  });
}

// Whether images may take the place of groups: panels of output channels wouldn't be full, `share` percent of vectors
// are.
bool many_images(const Windows& windows, int64_t share) {
  const int64_t room = divide_up(windows.images, lanes<float>) * lanes<float>;
  if (windows.groups > 1 || room == 0 || 100 * windows.images < share * room) return false;
  return windows.out_channels <= few_channels && windows.depth() * windows.out_channels <= most_shared_weights;
}

}  // namespace

bool groups_pay(const Windows& windows) {
  if (windows.groups >= lanes<float> / 2) return std::max(windows.in_channels, windows.out_channels) < few_channels;
  return windows.groups > 1 && windows.in_channels == 1 && windows.out_channels == 1 && !narrow_pays(windows);
}

bool images_pay(std::span<const Windows> remainders) {
  if (remainders.size() > 1) return many_images(remainders[0], 50);
  return many_images(remainders[0], 75) && (remainders[0].positions[2] <= few_positions || !narrow_pays(remainders[0]));
}

bool images_pay_for_weights(const Windows& windows) {
  return many_images(windows, 75) && (windows.out_channels <= few_channels / 2 || windows.depth() <= few_terms);
}

template <class T>
void sum_windows_groups(std::span<const Windows> remainders, const Extents& size, const T* x, const Weights<T>& weights,
                        const Output<T>& output) {
  const Windows& any = remainders[0];
  if (any.images == 0 || volume(size) == 0 || any.out_channels == 0) return;
  const int64_t blocks = Block<T>::count(any), channels = any.out_channels;
  const Bands bands(remainders, size, divide_up(wanted_tasks, any.images * blocks),
                    tile_bytes / (sizeof(T) * lanes<T>));
  const Extents box = bands.read(any, bands.band);
  const int64_t in_row = std::accumulate(size.begin() + bands.dimension + 1, size.end(), int64_t{1}, std::multiplies());
  const int64_t scale = any.out_step[bands.dimension] / in_row;  // of the output, between positions of a remainder
  const int64_t most_results = std::min(bands.band * scale, size[bands.dimension]) * in_row;
  const bool shared = weights.group_stride == 0;
  const int64_t weights_each = shared ? 1 : lanes<T>;
  std::vector<Terms> terms;
  std::vector<int64_t> packed_at;
  int64_t packed_size = 0, work = 0;
  for (const Windows& each : remainders) {
    terms.push_back(Terms::of(each, bands, box, weights));
    packed_at.push_back(packed_size);
    packed_size += each.depth() * channels * weights_each;
    work += volume(each.positions) * each.depth() * channels * lanes<T> / bands.count;
  }
  Scratch<T> packed((shared ? 1 : blocks) * packed_size);
  parallel_for(shared ? 1 : blocks, std::max<int64_t>(1, serial_work / std::max<int64_t>(1, packed_size)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t b = begin; b < end; ++b) {
                   for (size_t r = 0; r < remainders.size(); ++r) {
                     pack_weights(remainders[r], terms[r], weights, Block<T>(any, b), weights_each,
                                  packed.get() + b * packed_size + packed_at[r]);
                   }
                 }
               });
  const int64_t in_plane = volume(any.size), grain = std::max<int64_t>(1, serial_work / std::max<int64_t>(1, work));
  parallel_for(any.images * blocks * bands.count, grain, [&](int64_t first_task, int64_t last_task) {
    const int64_t turned = any.in_channels * volume(box) * lanes<T>;
    Scratch<T> image(turned), sums(channels * most_results * lanes<T>), start(channels * lanes<T>);
    for (int64_t task = first_task; task < last_task; ++task) {
      const int64_t n = task / bands.count / blocks, b = task / bands.count % blocks;
      const int64_t begin = task % bands.count * bands.band, end = begin + bands.band;
      const Block<T> block(any, b);
      if (block.used < lanes<T>) std::fill_n(image.get(), turned, T(0));  // lanes that no group fills
      for (int64_t c = 0; c < any.in_channels; ++c) {
        const int64_t channel = (n * any.groups + block.first) * any.in_channels + c;
        turn(x + channel * in_plane, any.in_channels * in_plane, block.used, any.size, bands.origin(any, begin), box,
             image.get() + c * volume(box) * lanes<T>);
      }
      for (int64_t i = 0; i < channels * lanes<T>; ++i) {
        const int64_t o = i / lanes<T>, lane = i % lanes<T>;
        const bool biased = output.bias != nullptr && lane < block.used;
        start[i] = biased ? output.bias[(shared ? 0 : block.first + lane) * channels + o] : T(0);
      }
      const int64_t from = begin * scale * in_row, to = std::min(end * scale, size[bands.dimension]) * in_row;
      for (size_t r = 0; r < remainders.size(); ++r) {
        const Windows& windows = remainders[r];
        Extents positions = windows.positions;
        positions[bands.dimension] = std::min(end, positions[bands.dimension]) - begin;
        const T* weight = packed.get() + (shared ? 0 : b) * packed_size + packed_at[r];
        // All channels of a few positions: what these read stays in the L1 cache.
        const int64_t piece = channels > 1 ? most_positions(most_outputs) : std::max<int64_t>(1, positions[2]);
        for (int64_t d = 0; d < positions[0]; ++d) {
          for (int64_t h = 0; h < positions[1]; ++h) {
            for (int64_t w = 0; w < positions[2]; w += piece) {
              const int64_t corner =
                  (d * windows.step[0] * box[1] + h * windows.step[1]) * box[2] + w * windows.step[2];
              const int64_t place =
                  windows.out_base + d * windows.out_step[0] + h * windows.out_step[1] + w * windows.out_step[2];
              for_each_tile(channels, [&](auto outputs, int64_t o) {
                const auto sum_row_of = [&]<bool all>() {
                  sum_row<outputs, all>(std::min(piece, positions[2] - w), terms[r], image.get() + corner * lanes<T>,
                                        windows.step[2] * lanes<T>, weight + o * windows.depth() * weights_each,
                                        start.get() + o * lanes<T>, sums.get() + (o * most_results + place) * lanes<T>,
                                        windows.out_step[2] * lanes<T>, most_results * lanes<T>);
                };
                shared ? sum_row_of.template operator()<true>() : sum_row_of.template operator()<false>();
              });
            }
          }
        }
      }
      for (int64_t o = 0; o < channels; ++o) {
        const int64_t place = ((n * any.groups + block.first) * channels + o) * any.out_plane + from;
        transpose(sums.get() + o * most_results * lanes<T>, lanes<T>, to - from, block.used, output.y + place,
                  channels * any.out_plane);
        for (int64_t g = 0; g < block.used; ++g) output.finish(place + g * channels * any.out_plane, to - from);
      }
    }
  });
}

template <class T>
void weight_gradient_groups(const Windows& windows, bool shared, const T* g, const T* x, T* gw) {
  const int64_t blocks = Block<T>::count(windows), channels = windows.out_channels, depth = windows.depth();
  const int64_t in_plane = volume(windows.size), plane = volume(windows.positions);
  const Bands bands({&windows, 1}, windows.positions, 1, tile_bytes / (sizeof(T) * lanes<T>));
  const Extents box = bands.read(windows, bands.band);
  const std::vector<int64_t> offsets = offsets_in<T>(windows, bands, box);
  const int64_t units = windows.images * bands.count, size = channels * depth * lanes<T>;
  const int64_t most = plane == 0 ? 0 : plane / windows.positions[bands.dimension] * bands.band;
  // Units of each partial sum.
  const int64_t least = serial_work / std::max<int64_t>(1, most * channels * depth * lanes<T>) + 1;
  const int64_t each = std::max(least, divide_up(units, divide_up(wanted_tasks, blocks)));
  const int64_t partials = std::max<int64_t>(1, divide_up(units, each));
  Scratch<T> sums(blocks * partials * size);
  parallel_for(blocks * partials, 1, [&](int64_t first_task, int64_t last_task) {
    const int64_t turned = windows.in_channels * volume(box) * lanes<T>;
    Scratch<T> image(turned), gradient(channels * most * lanes<T>);
    for (int64_t task = first_task; task < last_task; ++task) {
      const Block<T> block(windows, task / partials);
      if (block.used < lanes<T>) {  // lanes that no group fills
        std::fill_n(image.get(), turned, T(0));
        std::fill_n(gradient.get(), channels * most * lanes<T>, T(0));
      }
      T* const partial = sums.get() + task * size;
      std::fill_n(partial, size, T(0));
      const int64_t first = task % partials * each;
      for (int64_t unit = first; unit < std::min(first + each, units); ++unit) {
        const int64_t n = unit / bands.count, begin = unit % bands.count * bands.band;
        Extents positions = windows.positions, origin{};
        positions[bands.dimension] = std::min(bands.band, positions[bands.dimension] - begin);
        origin[bands.dimension] = begin;
        for (int64_t c = 0; c < windows.in_channels; ++c) {
          const int64_t channel = (n * windows.groups + block.first) * windows.in_channels + c;
          turn(x + channel * in_plane, windows.in_channels * in_plane, block.used, windows.size,
               bands.origin(windows, begin), box, image.get() + c * volume(box) * lanes<T>);
        }
        const int64_t g_channel = volume(positions) * lanes<T>;
        for (int64_t o = 0; o < channels; ++o) {
          const int64_t channel = (n * windows.groups + block.first) * channels + o;
          turn(g + channel * plane, channels * plane, block.used, windows.positions, origin, positions,
               gradient.get() + o * g_channel);
        }
        // All channels for a few terms: what these read stays in the L1 cache.
        const int64_t piece = channels > 1 ? most_terms(most_outputs) : depth;
        for (int64_t row = 0; row < positions[0] * positions[1]; ++row) {
          const int64_t d = row / positions[1], h = row % positions[1];
          const int64_t corner = (d * windows.step[0] * box[1] + h * windows.step[1]) * box[2];
          for (int64_t k = 0; k < depth; k += piece) {
            for_each_tile(channels, [&](auto outputs, int64_t o) {
              add_terms<outputs>(std::min(piece, depth - k), positions[2],
                                 gradient.get() + o * g_channel + row * positions[2] * lanes<T>, g_channel,
                                 image.get() + corner * lanes<T>, windows.step[2] * lanes<T>, offsets.data() + k,
                                 partial + (o * depth + k * outputs) * lanes<T>);
            });
          }
        }
      }
    }
  });
  const int64_t joined = shared ? blocks * partials : partials;  // sums that are one
  for (int64_t b = 0; b < blocks * partials / joined; ++b) {
    const Block<T> block(windows, b);
    T* const total = sums.get() + b * joined * size;
    for (int64_t p = 1; p < joined; ++p) {
      for (int64_t i = 0; i < size; ++i) total[i] += total[p * size + i];
    }
    for_each_tile(channels, [&](auto outputs, int64_t o) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t c = 0; c < outputs; ++c) {
          const T* from = total + (o * depth + k * outputs + c) * lanes<T>;
          T* to = gw + (block.first * channels + o + c) * depth + k;
          if (shared) {
            *to = sum_of_lanes<T>(load(from));
          } else {
            for (int64_t lane = 0; lane < block.used; ++lane) to[lane * channels * depth] = from[lane];
          }
        }
      }
    });
  }
}

template void sum_windows_groups<float>(std::span<const Windows>, const Extents&, const float*, const Weights<float>&,
                                        const Output<float>&);
template void sum_windows_groups<double>(std::span<const Windows>, const Extents&, const double*,
                                         const Weights<double>&, const Output<double>&);
template void weight_gradient_groups<float>(const Windows&, bool, const float*, const float*, float*);
template void weight_gradient_groups<double>(const Windows&, bool, const double*, const double*, double*);

}  // namespace rushlight::convolution
