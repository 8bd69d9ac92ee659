// 3x3 windows with steps of 1 in four times fewer multiplications: F(4x4, 3x3). A tile of 6x6 inputs becomes 36
// numbers, each multiplied over the channels by 36 transformed weights; 4x4 results come back.
#include "convolution_winograd.h"

#include "convolution_panel.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

using namespace winograd;

constexpr int64_t most_tiles = 64, fewest_tiles = 24;  // of one unit of work
constexpr int64_t most_channels = 128;                 // whose transformed weights for one panel are kept at a time
constexpr int64_t pack_channels = 16;                  // that one task transforms the weights of
constexpr int64_t wanted_tasks = 16;                   // to share out among threads
constexpr int64_t few_units = 2;  // for each of which the weights are transformed anew, right before they are used
constexpr int64_t least_channels = 16;  // of input and output: below, the transforms cost more than they save,
constexpr int64_t least_tiles = 24;     // and so they do below this number in all,
constexpr int64_t least_used = 5;       // and where tiles have fewer results on average

// The transforms of one line: of weights, and from the products to the results.
inline void transform_weights(const Vec<T> (&w)[3], Vec<T> (&u)[side]) {
  const Vec<T> even_inner = inner_scale * (w[0] + inner2 * w[2]), odd_inner = inner_scale * inner * w[1];
  const Vec<T> even_outer = outer_scale * (w[0] + outer2 * w[2]), odd_outer = outer_scale * outer * w[1];
  u[0] = zero_scale * w[0];
  u[1] = even_inner + odd_inner;
  u[2] = even_inner - odd_inner;
  u[3] = even_outer + odd_outer;
  u[4] = even_outer - odd_outer;
  u[5] = w[2];
}

inline void transform_products(const Vec<T> (&m)[side], Vec<T> (&y)[results]) {
  const Vec<T> even_inner = m[1] + m[2], odd_inner = inner * (m[1] - m[2]);
  const Vec<T> even_outer = m[3] + m[4], odd_outer = outer * (m[3] - m[4]);
  y[0] = m[0] + (even_inner + even_outer);
  y[1] = odd_inner + odd_outer;
  y[2] = inner2 * even_inner + outer2 * even_outer;
  y[3] = m[5] + (inner2 * odd_inner + outer2 * odd_outer);
}

// Tiles of one unit: fewer where there would be too few tasks.
int64_t wanted_tiles(const Windows& windows) {
  const int64_t all = windows.images * tiles_of(windows.positions[1]) * tiles_of(windows.positions[2]);
  return std::clamp(all * divide_up(windows.out_channels, columns) / wanted_tasks, fewest_tiles, most_tiles);
}

class Sums {
 public:
  Sums(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output)
      : windows_(windows),
        weights_(weights),
        output_(output),
        flipped_(windows.taps[8].offset[1] < windows.taps[0].offset[1]),
        x_{x, windows.groups * windows.in_channels, windows.size, windows.taps[flipped_ ? 8 : 0].offset[1],
           windows.taps[flipped_ ? 8 : 0].offset[2]},
        across_(tiles_of(windows.positions[2])),
        parts_(parts_of(windows, wanted_tiles(windows))),
        most_tiles_(parts_[0].images * parts_[0].rows * across_),
        tile_step_(divide_up(windows.in_channels, lanes<T>) * lanes<T>),
        input_step_(odd_lines(most_tiles_ * tile_step_)),
        product_step_(odd_lines(most_tiles_ * columns)),
        chunk_(even_part(windows.in_channels, most_channels)),
        chunk_step_(odd_lines(chunk_ * columns)) {}

  void run() const {
    const int64_t panels = divide_up(windows_.out_channels, columns);
    const int64_t chunks = divide_up(windows_.in_channels, chunk_), chunk_size = points * chunk_step_;
    const int64_t units = static_cast<int64_t>(parts_.size()) * windows_.groups;
    const bool shared = units > few_units * windows_.groups;
    const Scratch<T> packed(shared ? windows_.groups * panels * chunks * chunk_size : 1);
    if (shared) {
      const int64_t pieces = divide_up(chunk_, pack_channels);
      parallel_for(windows_.groups * panels * chunks * pieces, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t i = task / pieces, first = task % pieces * pack_channels;
          pack_weights(i / chunks / panels, i / chunks % panels, i % chunks, first, first + pack_channels,
                       packed.get() + i * chunk_size);
        }
      });
    }
    const int64_t shares = std::min(panels, divide_up(wanted_tasks, units)), each = divide_up(panels, shares);
    parallel_for(units * shares, 1, [&](int64_t begin, int64_t end) {
      const Scratch<T> inputs(points * input_step_), products(points * product_step_);
      const Scratch<T> own(shared ? 1 : chunk_size), patch(patch_size()),
          sums(most_tiles_ * results * results * columns);
      int64_t ready = -1;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t unit = task / shares, group = unit % windows_.groups;
        const Part& part = parts_[static_cast<size_t>(unit / windows_.groups)];
        if (unit != ready) transform_inputs_of(part, group, patch.get(), inputs.get());
        ready = unit;
        for (int64_t p = task % shares * each; p < std::min((task % shares + 1) * each, panels); ++p) {
          for (int64_t k = 0; k < chunks; ++k) {
            const T* weights = packed.get() + ((group * panels + p) * chunks + k) * chunk_size;
            if (!shared) pack_weights(group, p, k, 0, chunk_, own.get());
            multiply(part, p, k, inputs.get(), shared ? weights : own.get(), products.get());
          }
          write(part, group, p, products.get(), sums.get());
        }
      }
    });
  }

 private:
  int64_t used(int64_t panel) const { return std::min(columns, windows_.out_channels - panel * columns); }
  int64_t tiles(const Part& part) const { return part.images * part.rows * across_; }
  int64_t patch_size() const { return (results * parts_[0].rows + 2) * (results * across_ + 2) * columns; }

  // Input channels [begin, end) of a chunk: point, input channel, output channel.
  void pack_weights(int64_t group, int64_t panel, int64_t chunk, int64_t begin, int64_t end, T* target) const {
    const int64_t first = chunk * chunk_, stop = std::min(first + std::min(end, chunk_), windows_.in_channels);
    const T* base = weights_.data + group * weights_.group_stride + panel * columns * weights_.out_stride;
    const int64_t step = flipped_ ? -columns : columns;
    T window[9 * columns] = {};
    target += begin * columns;
    for (int64_t c = first + begin; c < stop; ++c, target += columns) {
      transpose(base + c * weights_.in_stride, weights_.out_stride, used(panel), 9, window, columns);
      transform_square<3, side>(window + (flipped_ ? 8 * columns : 0), {3 * step, step}, columns, transform_weights,
                                target, {side * chunk_step_, chunk_step_});
    }
  }

  // Point, tile, input channel.
  void transform_inputs_of(const Part& part, int64_t group, T* patch, T* target) const {
    const int64_t channels = windows_.in_channels, height = results * part.rows + 2, width = results * across_ + 2;
    for (int64_t c = 0; c < channels; c += columns) {
      const int64_t count = std::min(columns, channels - c);
      T* tile = target + c;
      for (int64_t n = part.first_image; n < part.first_image + part.images; ++n) {
        gather_channels(x_.data + (n * x_.channels + group * channels + c) * volume(x_.size), x_.size, count, columns,
                        x_.top + results * part.first_row, height, x_.left, width, patch);
        for (int64_t i = 0; i < part.rows; ++i) {
          for (int64_t j = 0; j < across_; ++j, tile += tile_step_) {
            transform_square<side, side>(patch + results * (i * width + j) * columns, {width * columns, columns}, count,
                                         transform_inputs, tile, {side * input_step_, input_step_});
          }
        }
      }
    }
  }

  // Adds the products over a chunk of input channels, for each point: tile, output channel.
  void multiply(const Part& part, int64_t panel, int64_t chunk, const T* inputs, const T* weights, T* products) const {
    const int64_t count = tiles(part), first = chunk * chunk_, depth = std::min(chunk_, windows_.in_channels - first);
    const T* rows[tile_rows];
    for (int64_t point = 0; point < points; ++point) {
      for (int64_t i = 0; i < count; i += tile_rows) {
        const int used_rows = static_cast<int>(std::min<int64_t>(tile_rows, count - i));
        for (int r = 0; r < used_rows; ++r) {
          rows[r] = inputs + point * input_step_ + (i + r) * tile_step_ + first;
        }
        multiply_panel(used_rows, used(panel), depth, rows, Strided{1}, weights + point * chunk_step_,
                       products + point * product_step_ + i * columns, columns,
                       chunk == 0 ? Store::overwrite : Store::accumulate);
      }
    }
  }

  void write(const Part& part, int64_t group, int64_t panel, const T* products, T* sums) const {
    const int64_t channel = group * windows_.out_channels + panel * columns, width = windows_.positions[2];
    const int64_t first = results * part.first_row;
    const int64_t height = std::min(results * part.rows, windows_.positions[1] - first);
    T tile[results * results * columns], bias[columns] = {};
    if (output_.bias != nullptr) std::copy_n(output_.bias + channel, used(panel), bias);
    for (int64_t n = 0; n < part.images; ++n) {
      for (int64_t i = 0; i < part.rows * results; i += results) {
        for (int64_t j = 0; j < across_ * results; j += results, products += columns) {
          transform_square<side, results>(products, {side * product_step_, product_step_}, used(panel),
                                          transform_products, tile, {results * columns, columns});
          for (int64_t r = 0; r < std::min(results, height - i); ++r) {
            T* target = sums + ((n * height + i + r) * width + j) * columns;
            for (int64_t q = 0; q < std::min(results, width - j) * columns; q += lanes<T>) {
              store<T>(target + q, load(tile + r * results * columns + q) + load(bias + q % columns));
            }
          }
        }
      }
    }
    Units rows(windows_, 1, INT64_MAX);
    rows.dimension = 1;
    Share share(windows_, rows, 0);
    share.first = part.first_image;
    share.images = part.images;
    share.begin = first;
    share.end = first + height;
    share.positions = {1, height, width};
    write_panel(windows_, rows, share, sums, columns, channel, used(panel), output_);
  }

  const Windows& windows_;
  const Weights<T>& weights_;
  const Output<T>& output_;
  const bool flipped_;  // the window's first weight meets its last input
  const Operand x_;
  const int64_t across_;  // tiles
  const std::vector<Part> parts_;
  const int64_t most_tiles_, tile_step_, input_step_, product_step_, chunk_, chunk_step_;
};

}  // namespace

bool winograd_pays(const Windows& windows) {
  const int64_t positions = windows.images * volume(windows.positions);
  const int64_t tiles = windows.images * tiles_of(windows.positions[1]) * tiles_of(windows.positions[2]);
  return windows.dense_3x3() && windows.in_order() &&
         std::min(windows.in_channels, windows.out_channels) >= least_channels && tiles >= least_tiles &&
         positions >= tiles * least_used;
}

void sum_windows_winograd(const Windows& windows, const float* x, const Weights<float>& weights,
                          const Output<float>& output) {
  Sums(windows, x, weights, output).run();
}

}  // namespace rushlight::convolution
