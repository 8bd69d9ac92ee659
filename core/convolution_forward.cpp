// Sums over windows without an im2col: weights are packed into panels of output channels, and the micro-kernel
// broadcasts the numbers of the windows from a small padded copy of the part of the image at work.
#include <algorithm>

#include "convolution_panel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t depth_limit = 512;         // k of one pass: a panel of weights of this depth stays in L1
constexpr int64_t wanted_positions = 512;    // of one unit of work
constexpr int64_t patch_bytes = 192 * 1024;  // of one unit's part of the image
constexpr int64_t wanted_tasks = 32;         // to share out among threads
constexpr int64_t serial_work = 128 * 1024;  // multiply-adds that aren't worth a second thread

// The weights of one panel of output channels: k = (channel, tap), then output channel; zeros beyond the last.
template <class T>
void pack_weights(const Windows& windows, const Weights<T>& weights, int64_t group, int64_t first, int64_t columns,
                  T* panel) {
  const int64_t used = std::min(columns, windows.out_channels - first);
  const int64_t taps = static_cast<int64_t>(windows.taps.size());
  if (used < columns) std::fill(panel, panel + windows.depth() * columns, T(0));
  const T* base = weights.data + group * weights.group_stride + first * weights.out_stride;
  const bool in_order = weights.in_stride == taps && windows.in_order();
  if (in_order) {
    transpose(base, weights.out_stride, used, windows.depth(), panel, columns);
    return;
  }
  for (int64_t c = 0; c < windows.in_channels; ++c) {
    for (int64_t t = 0; t < taps; ++t, panel += columns) {
      const T* source = base + c * weights.in_stride + windows.taps[static_cast<size_t>(t)].weight;
      for (int64_t o = 0; o < used; ++o) panel[o] = source[o * weights.out_stride];
    }
  }
}

}  // namespace

template <class T>
void write_panel(const Windows& windows, const Units& units, const Share& share, const T* sums, int64_t width,
                 int64_t channel, int64_t used, const Output<T>& output) {
  constexpr int64_t side = 16 / sizeof(T);
  const int64_t in_image = volume(share.positions);
  const int64_t all_channels = windows.groups * windows.out_channels;
  for (int64_t n = 0; n < share.images; ++n, sums += in_image * width) {
    const int64_t begin = ((share.first + n) * all_channels + channel) * windows.out_plane + windows.out_base +
                          share.begin * windows.out_step[units.dimension];
    T* target = output.y + begin;
    if (windows.dense_output()) {
      for (int64_t o = 0; o < used; o += side) {
        const int64_t channels = std::min(side, used - o);
        transpose(sums + o, width, in_image, channels, target + o * windows.out_plane, windows.out_plane);
        for (int64_t c = o; c < o + channels; ++c) output.finish(begin + c * windows.out_plane, in_image);
      }
      continue;
    }
    for (int64_t o = 0; o < used; ++o) {
      const T* source = sums + o;
      for (int64_t d = 0; d < share.positions[0]; ++d) {
        for (int64_t h = 0; h < share.positions[1]; ++h) {
          T* row = target + o * windows.out_plane + d * windows.out_step[0] + h * windows.out_step[1];
          for (int64_t w = 0; w < share.positions[2]; ++w, source += width) row[w * windows.out_step[2]] = *source;
        }
      }
    }
  }
}

template <class T>
void sum_windows(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  const int64_t columns = panel_width<T>(windows.out_channels);
  if (windows.images == 0 || volume(windows.positions) == 0 || windows.out_channels == 0) return;
  const Units units(windows, wanted_positions, patch_bytes / static_cast<int64_t>(sizeof(T)));
  const Patch patch(windows, units);
  const std::vector<int64_t> tap_offsets = patch.tap_offsets(windows);
  const int64_t depth = windows.depth();
  const int64_t panels = divide_up(windows.out_channels, columns);
  const int64_t panel_size = std::max<int64_t>(depth, 1) * columns;
  Scratch<T> packed(windows.groups * panels * panel_size);
  const int64_t pack_grain = std::max<int64_t>(1, serial_work / panel_size);
  parallel_for(windows.groups * panels, pack_grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      pack_weights(windows, weights, p / panels, p % panels * columns, columns, packed.get() + p * panel_size);
    }
  });
  // Where there are few units, they share out the panels too, each with its own copy of the patch.
  const int64_t unit_count = units.count() * windows.groups;
  const int64_t parts = std::min(panels, divide_up(wanted_tasks, unit_count));
  const int64_t panels_each = divide_up(panels, parts);
  const int64_t pass = std::max<int64_t>(1, divide_up(depth, std::max<int64_t>(1, divide_up(depth, depth_limit))));
  const int64_t work = units.images * volume(windows.positions) / units.bands * std::max<int64_t>(depth, 1) * columns;
  const int64_t grain = std::max<int64_t>(1, serial_work / std::max<int64_t>(1, work * panels_each));
  parallel_for(unit_count * parts, grain, [&](int64_t begin, int64_t end) {
    Scratch<T> image(patch.image * units.images);
    const int64_t most = units.images * volume(windows.positions);
    Scratch<int64_t> offsets(most);
    Scratch<T> sums(most * columns);
    T padded_bias[tile_columns<T>];
    const T* rows[2 * tile_rows];
    int64_t copied = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t unit = task / parts, group = unit % windows.groups;
      const Share share(windows, units, unit / windows.groups);
      const int64_t count = share.count();
      if (unit != copied) {
        share.position_offsets(windows, patch, offsets.get());
        copy_patch(windows, units, patch, share, group, 0, windows.in_channels, x, image.get());
        copied = unit;
      }
      const int64_t first_panel = task % parts * panels_each, last_panel = std::min(first_panel + panels_each, panels);
      for (int64_t p = first_panel; p < last_panel; ++p) {
        const T* panel = packed.get() + (group * panels + p) * panel_size;
        const int64_t used = std::min(columns, windows.out_channels - p * columns);
        const int64_t channel = group * windows.out_channels + p * columns;
        for (int64_t o = 0; o < columns; ++o) {
          padded_bias[o] = output.bias != nullptr && o < used ? output.bias[channel + o] : T(0);
        }
        for (int64_t k = 0; k == 0 || k < depth; k += pass) {
          const int64_t steps = std::min(pass, depth - k);
          for (int64_t i = 0; i < count; i += rows_for<T>(used)) {
            const int used_rows = static_cast<int>(std::min<int64_t>(rows_for<T>(used), count - i));
            for (int r = 0; r < used_rows; ++r) rows[r] = image.get() + offsets[i + r];
            multiply_used(used_rows, used, columns, steps, rows, Indexed{tap_offsets.data() + k}, panel + k * columns,
                          sums.get() + i * columns, k == 0 ? Store::overwrite : Store::accumulate,
                          k == 0 ? padded_bias : nullptr);
          }
        }
        write_panel(windows, units, share, sums.get(), columns, channel, used, output);
      }
    }
  });
}

template void write_panel<float>(const Windows&, const Units&, const Share&, const float*, int64_t, int64_t, int64_t,
                                 const Output<float>&);
template void write_panel<double>(const Windows&, const Units&, const Share&, const double*, int64_t, int64_t, int64_t,
                                  const Output<double>&);
template void sum_windows<float>(const Windows&, const float*, const Weights<float>&, const Output<float>&);
template void sum_windows<double>(const Windows&, const double*, const Weights<double>&, const Output<double>&);

}  // namespace rushlight::convolution
