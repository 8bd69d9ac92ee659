// The gradient with respect to the weights: a product over all positions of all images, with the windows' numbers
// broadcast from a padded copy of the image and the gradient packed into panels of output channels.
#include <algorithm>

#include "convolution_panel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t depth_limit = 512;           // positions of one pass: a panel of the gradient stays in L1
constexpr int64_t own_positions = 1024;        // of a unit that one thread works on,
constexpr int64_t own_bytes = 256 * 1024;      // and of its patch
constexpr int64_t shared_positions = 2048;     // of a unit that all threads work on together,
constexpr int64_t shared_bytes = 4 << 20;      // and of its patch
constexpr int64_t task_work = 256 * 1024;      // multiply-adds of one task
constexpr int64_t partial_limit = 128 * 1024;  // weights of which several partial sums may be kept
constexpr int64_t most_partials = 16;

// g of one share, one panel of output channels: position, then channel; zeros beyond the last channel.
template <class T>
void pack_gradient(const Windows& windows, const Units& units, const Share& share, const T* g, int64_t channel,
                   int64_t used, int64_t columns, T* panel) {
  const int64_t plane = volume(windows.positions), count = volume(share.positions);
  const int64_t channels = windows.groups * windows.out_channels;
  if (used < columns) std::fill(panel, panel + share.count() * columns, T(0));
  int64_t begin = share.begin;
  for (int d = units.dimension + 1; d < 3; ++d) begin *= windows.positions[d];
  for (int64_t n = 0; n < share.images; ++n, panel += count * columns) {
    transpose(g + ((share.first + n) * channels + channel) * plane + begin, plane, used, count, panel, columns);
  }
}

// Adds the units of one partial sum to sums[group][panel][k][channel of the panel].
template <class T>
class Gradient {
 public:
  Gradient(const Windows& windows, const Units& units, const Patch& patch, const T* g, const T* x)
      : windows_(windows),
        units_(units),
        patch_(patch),
        tap_offsets_(patch.tap_offsets(windows)),
        columns_(panel_width<T>(windows.out_channels)),
        panels_(divide_up(windows.out_channels, columns_)),
        g_(g),
        x_(x) {}

  void add_units(int64_t begin, int64_t end, T* sums) const {
    const int64_t most = units_.images * volume(windows_.positions);
    Scratch<T> image(patch_.image * units_.images), gradient(panels_ * most * columns_);
    Scratch<int64_t> offsets(most);
    for (int64_t unit = begin; unit < end; ++unit) {
      const Share share(windows_, units_, unit);
      share.position_offsets(windows_, patch_, offsets.get());
      for (int64_t group = 0; group < windows_.groups; ++group) {
        gather(share, group, image.get(), gradient.get());
        multiply(share, image.get(), offsets.get(), gradient.get(),
                 sums + group * panels_ * windows_.depth() * columns_, unit == begin);
      }
    }
  }

  void write(const T* sums, T* gw) const {
    const int64_t depth = windows_.depth();
    for (int64_t group = 0; group < windows_.groups; ++group) {
      for (int64_t p = 0; p < panels_; ++p, sums += depth * columns_) {
        T* target = gw + (group * windows_.out_channels + p * columns_) * depth;
        transpose(sums, columns_, depth, std::min(columns_, windows_.out_channels - p * columns_), target, depth);
      }
    }
  }

 private:
  void gather(const Share& share, int64_t group, T* image, T* gradient) const {
    const int64_t channels = windows_.in_channels, copies = channels + panels_;
    const int64_t items =
        std::max<int64_t>(1, units_.images * (patch_.plane + volume(windows_.positions) * columns_) / 2);
    parallel_for(copies, std::max<int64_t>(1, 65536 / items), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i < channels) {
          copy_patch(windows_, units_, patch_, share, group, i, i + 1, x_, image + i * patch_.plane);
        } else {
          const int64_t p = i - channels;
          pack_gradient(windows_, units_, share, g_, group * windows_.out_channels + p * columns_,
                        std::min(columns_, windows_.out_channels - p * columns_), columns_,
                        gradient + p * share.count() * columns_);
        }
      }
    });
  }

  void multiply(const Share& share, const T* image, const int64_t* offsets, const T* gradient, T* sums,
                bool first) const {
    const int64_t count = share.count(), depth = windows_.depth();
    const int64_t tiles = divide_up(depth, tile_rows);
    const int64_t tile_work = std::max<int64_t>(1, count * tile_rows * columns_);
    const int64_t tiles_each = std::min(tiles, divide_up(task_work, tile_work));
    const int64_t parts = divide_up(tiles, tiles_each);
    const int64_t pass = divide_up(count, std::max<int64_t>(1, divide_up(count, depth_limit)));
    parallel_for(panels_ * parts, 1, [&](int64_t begin, int64_t end) {
      const T* rows[2 * tile_rows];
      for (int64_t task = begin; task < end; ++task) {
        const T* panel = gradient + task / parts * count * columns_;
        const int64_t used = windows_.out_channels - task / parts * columns_;
        T* target = sums + task / parts * depth * columns_;
        const int64_t from = task % parts * tiles_each * tile_rows;
        const int64_t to = std::min(from + tiles_each * tile_rows, depth);
        for (int64_t p = 0; p < count; p += pass) {
          for (int64_t k = from; k < to; k += rows_for<T>(used)) {
            const int used_rows = static_cast<int>(std::min<int64_t>(rows_for<T>(used), to - k));
            for (int r = 0; r < used_rows; ++r) rows[r] = image + tap_offsets_[static_cast<size_t>(k + r)];
            multiply_used(used_rows, used, columns_, std::min(pass, count - p), rows, Indexed{offsets + p},
                          panel + p * columns_, target + k * columns_,
                          first && p == 0 ? Store::overwrite : Store::accumulate);
          }
        }
      }
    });
  }

  const Windows& windows_;
  const Units& units_;
  const Patch& patch_;
  const std::vector<int64_t> tap_offsets_;
  const int64_t columns_, panels_;
  const T* g_;
  const T* x_;
};

}  // namespace

template <class T>
void weight_gradient(const Windows& windows, const T* g, const T* x, T* gw) {
  const int64_t weights = windows.groups * windows.out_channels * windows.depth();
  if (weights == 0) return;
  if (windows.images == 0 || volume(windows.positions) == 0) {
    std::fill(gw, gw + weights, T(0));
    return;
  }
  // Few weights: partial sums over runs of units, each run on one thread. Many: all threads share every unit.
  const int64_t width = panel_width<T>(windows.out_channels), panels = divide_up(windows.out_channels, width);
  const int64_t size = windows.groups * panels * windows.depth() * width;
  const bool own = size <= partial_limit;
  const Units units(windows, own ? own_positions : shared_positions,
                    (own ? own_bytes : shared_bytes) / static_cast<int64_t>(sizeof(T)));
  const Patch patch(windows, units);
  const Gradient<T> gradient(windows, units, patch, g, x);
  const int64_t wanted = own ? std::min(units.count(), most_partials) : 1;
  const int64_t each = divide_up(units.count(), wanted), partials = divide_up(units.count(), each);
  Scratch<T> sums(size * partials);
  parallel_for(partials, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      gradient.add_units(p * each, std::min((p + 1) * each, units.count()), sums.get() + p * size);
    }
  });
  for (int64_t p = 1; p < partials; ++p) {
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[p * size + i];
  }
  gradient.write(sums.get(), gw);
}

template void weight_gradient<float>(const Windows&, const float*, const float*, float*);
template void weight_gradient<double>(const Windows&, const double*, const double*, double*);

}  // namespace rushlight::convolution
