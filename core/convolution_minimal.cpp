// Sums over square windows by minimal filtering (minimal_filtering.h) in both dimensions: F(4x4, 2x2), F(2x2, 2x2) and
// F(2x2, 5x5) take 25, 9 and 36 multiplications where 64, 16 and 100 are summed. A. Lavin and S. Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2016, do so for 3x3.
//
// Windows of 4x4 with steps of 2 are sums of four windows of 2x2 with steps of 1, one over the numbers of each parity:
// as if there were four times as many channels. The gradient with respect to their input is four sums over windows of
// 2x2, one for each parity of the position, which are computed unit by unit together, so that their rows are complete
// when they are written.
#include "convolution_minimal.h"

#include <algorithm>
#include <limits>

#include "minimal_filtering.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

using namespace minimal_sizes;
using minimal::Steps;
using T = float;

constexpr int64_t columns = tile_columns<T>;
constexpr int64_t unit_bytes = 3 << 19;               // of what one unit of work keeps in cache
constexpr int64_t least_tiles = 24, most_tiles = 96;  // of one unit
constexpr int64_t wanted_tasks = 16;                  // to share out among threads
constexpr int64_t least_channels = 16;                // of input and output

// M x M results of windows of R x R, for each of S x S parities of the input.
template <int M, int R, int S>
class Sums {
 public:
  Sums(std::span<const Windows> windows, const T* x, const Weights<T>& weights, const Output<T>& output)
      : windows_(windows[0]), x_(x), weights_(weights), output_(output) {
    for (const Windows& each : windows) remainders_.push_back({*square_of(each), each.out_base, 0, 0});
    spread_ = windows_.out_step[2];
    width_ = windows_.out_step[1] / spread_;
    height_ = windows_.out_plane / width_;
    for (Remainder& remainder : remainders_) {
      remainder.row = remainder.begin / width_;
      remainder.column = remainder.begin % width_;
    }
    channels_ = round_up(windows_.in_channels, lanes<T>);
    depth_ = S * S * channels_;
    panels_ = divide_up(windows_.out_channels, columns);
    // Of the first remainder; the others have no more of them.
    const int64_t down = divide_up(windows_.positions[1], M);
    across_ = divide_up(windows_.positions[2], M);
    const int64_t tile_bytes =
        (points * (depth_ + columns) + M * M * spread_ * spread_ * columns * (remainders_.size() == 1 ? 1 : panels_)) *
        static_cast<int64_t>(sizeof(T));
    const int64_t wanted = std::clamp(unit_bytes / tile_bytes, least_tiles, most_tiles);
    images_each_ = even_part(windows_.images, wanted / (down * across_));
    rows_each_ = even_part(down, wanted / across_);
    bands_ = divide_up(down, rows_each_);
    tiles_down_ = down;
    most_tiles_ = images_each_ * rows_each_ * across_;
    panel_size_ = depth_ * columns;
    weights_step_ = odd_lines(panels_ * panel_size_);
    row_pitch_ = odd_lines(depth_);
    inputs_step_ = odd_lines(most_tiles_ * row_pitch_);
    products_step_ = odd_lines(most_tiles_ * columns);
  }

  void run() const {
    const int64_t remainders = static_cast<int64_t>(remainders_.size());
    const Scratch<T> packed(windows_.groups * remainders * points * weights_step_);
    transform_weights(packed.get());
    const int64_t units = divide_up(windows_.images, images_each_) * bands_ * windows_.groups;
    const int64_t parts = std::min(panels_, divide_up(wanted_tasks, units)), panels_each = divide_up(panels_, parts);
    const int64_t kept = remainders == 1 ? 1 : panels_each;  // panels of results
    const int64_t result_size = most_tiles_ * M * M * spread_ * spread_ * columns;
    parallel_for(units * parts, 1, [&](int64_t begin, int64_t end) {
      const Scratch<T> inputs(points * inputs_step_), products(points * products_step_), results(kept * result_size);
      const Scratch<T> patch(patch_rows(rows_each_) * patch_width() * std::min(columns, channels_));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t unit = task / parts, group = unit % windows_.groups, place = unit / windows_.groups;
        Share share{group, place / bands_ * images_each_, 0, place % bands_ * rows_each_, 0};
        share.images = std::min(images_each_, windows_.images - share.first_image);
        share.rows = std::min(rows_each_, tiles_down_ - share.first_row);
        const int64_t first = task % parts * panels_each, last = std::min(first + panels_each, panels_);
        for (int64_t r = 0; r < remainders; ++r) {
          const Remainder& remainder = remainders_[static_cast<size_t>(r)];
          transform_inputs(share, remainder, patch.get(), inputs.get());
          for (int64_t p = first; p < last; ++p) {
            T* const sums = results.get() + (kept == 1 ? 0 : (p - first) * result_size);
            multiply(share, packed.get() + (group * remainders + r) * points * weights_step_, p, inputs.get(),
                     products.get());
            transform_products(share, remainder, p, products.get(), sums);
            clear_unmet(share, remainder, sums);
            if (remainders == 1) write(share, p, sums);
          }
        }
        for (int64_t p = first; p < last && remainders > 1; ++p) {
          write(share, p, results.get() + (kept == 1 ? 0 : (p - first) * result_size));
        }
      }
    });
  }

 private:
  static constexpr int N = M + R - 1;
  static constexpr int64_t points = N * N;

  struct Remainder {
    Square square;
    int64_t begin;        // of its results in an image,
    int64_t row, column;  // in two dimensions
  };

  // Tiles of some images, or of some rows of tiles of one image.
  struct Share {
    int64_t group, first_image, images, first_row, rows;
  };

  static int64_t patch_rows(int64_t rows) { return S * (M * rows + R - 1); }
  int64_t patch_width() const { return S * (M * across_ + R - 1); }
  int64_t used(int64_t panel) const { return std::min(columns, windows_.out_channels - panel * columns); }

  // Group, remainder, point, panel of output channels, depth (parity, input channel), output channel.
  void transform_weights(T* packed) const {
    constexpr int64_t chunk = 8;  // input channels
    const int64_t chunks = divide_up(channels_, chunk);
    const int64_t remainders = static_cast<int64_t>(remainders_.size());
    int64_t window = 0;  // weights of one, all remainders' together
    for (const Remainder& remainder : remainders_) {
      const Square& square = remainder.square;
      const int64_t last = square.first + (square.side - 1) * (square.row + square.column);
      window = std::max(window, std::max(square.first, last) + 1);
    }
    parallel_for(windows_.groups * panels_ * chunks, 1, [&](int64_t begin, int64_t end) {
      const Scratch<T> turned(window * columns);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / (panels_ * chunks), panel = task / chunks % panels_, c0 = task % chunks * chunk;
        const T* source = weights_.data + group * weights_.group_stride + panel * columns * weights_.out_stride;
        std::fill(turned.get(), turned.get() + window * columns, T(0));
        for (int64_t c = c0; c < std::min(c0 + chunk, channels_); ++c) {
          if (c < windows_.in_channels) {
            transpose(source + c * weights_.in_stride, weights_.out_stride, used(panel), window, turned.get(), columns);
          } else {
            std::fill(turned.get(), turned.get() + window * columns, T(0));
          }
          for (int64_t r = 0; r < remainders; ++r) {
            const Square& square = remainders_[static_cast<size_t>(r)].square;
            T* const target = packed + (group * remainders + r) * points * weights_step_ + panel * panel_size_;
            for (int64_t parity = 0; parity < S * S; ++parity) {
              const int64_t corner = square.first + parity / S * square.row + parity % S * square.column;
              minimal::transform_square<R, N>(
                  turned.get() + corner * columns, Steps{S * square.row * columns, S * square.column * columns},
                  columns, [](const auto& terms, auto& values) { minimal::evaluate<N, true>(terms, values); },
                  target + (parity * channels_ + c) * columns, Steps{N * weights_step_, weights_step_});
            }
          }
        }
      }
    });
  }

  // Point, tile, depth.
  void transform_inputs(const Share& share, const Remainder& remainder, T* patch, T* inputs) const {
    const Square& square = remainder.square;
    const int64_t width = patch_width();
    for (int64_t c = 0; c < channels_; c += columns) {
      const int64_t inner = std::min(columns, channels_ - c), count = std::min(inner, windows_.in_channels - c);
      T* target = inputs + c;
      for (int64_t n = share.first_image; n < share.first_image + share.images; ++n) {
        const int64_t plane = (n * windows_.groups + share.group) * windows_.in_channels + c;
        gather_channels(x_ + plane * volume(windows_.size), windows_.size, count, inner,
                        square.top + S * M * share.first_row, patch_rows(share.rows), square.left, width, patch);
        for (int64_t i = 0; i < share.rows; ++i) {
          for (int64_t j = 0; j < across_; ++j, target += row_pitch_) {
            for (int64_t parity = 0; parity < S * S; ++parity) {
              const int64_t corner = (S * M * i + parity / S) * width + S * M * j + parity % S;
              minimal::transform_square<N, N>(
                  patch + corner * inner, Steps{S * width * inner, S * inner}, inner,
                  [](const auto& numbers, auto& values) { minimal::transform_numbers<N>(numbers, values); },
                  target + parity * channels_, Steps{N * inputs_step_, inputs_step_});
            }
          }
        }
      }
    }
  }

  // Point, tile, output channel of the panel.
  void multiply(const Share& share, const T* packed, int64_t panel, const T* inputs, T* products) const {
    const int64_t count = share.images * share.rows * across_;
    const T* rows[tile_rows];
    for (int64_t point = 0; point < points; ++point) {
      for (int64_t i = 0; i < count; i += tile_rows) {
        const int used_rows = static_cast<int>(std::min<int64_t>(tile_rows, count - i));
        for (int r = 0; r < used_rows; ++r) rows[r] = inputs + point * inputs_step_ + (i + r) * row_pitch_;
        multiply_panel(used_rows, used(panel), depth_, rows, Strided{1},
                       packed + point * weights_step_ + panel * panel_size_,
                       products + point * products_step_ + i * columns, columns, Store::overwrite);
      }
    }
  }

  // Image, row, column, output channel of the panel; rows and columns of whole tiles.
  void transform_products(const Share& share, const Remainder& remainder, int64_t panel, const T* products,
                          T* results) const {
    const int64_t width = spread_ * M * across_;
    results += (remainder.row * width + remainder.column) * columns;
    for (int64_t i = 0; i < share.images * share.rows; ++i) {
      for (int64_t j = 0; j < across_; ++j, products += columns) {
        minimal::transform_square<N, M>(
            products, Steps{N * products_step_, products_step_}, used(panel),
            [](const auto& values, auto& sums) { minimal::interpolate<N, false>(values, sums); },
            results + (i * width + j) * spread_ * M * columns, Steps{spread_ * width * columns, spread_ * columns});
      }
    }
  }

  // Results whose windows lie outside the input are exactly 0, not what its neighbours' rounding leaves of that: rows
  // and columns behind the last window, in the gradient of strided ones.
  void clear_unmet(const Share& share, const Remainder& remainder, T* results) const {
    const Square& square = remainder.square;
    const auto meets = [&](int64_t position, int64_t first, int64_t size) {
      return position * square.step + first + square.side > 0 && position * square.step + first < size;
    };
    const int64_t rows = M * share.rows, across = M * across_, width = spread_ * across;
    results += (remainder.row * width + remainder.column) * columns;
    for (int64_t row = 0; row < share.images * rows; ++row) {
      const bool met = meets(M * share.first_row + row % rows, square.top, windows_.size[1]);
      for (int64_t column = 0; column < across; ++column) {
        if (met && meets(column, square.left, windows_.size[2])) continue;
        std::fill_n(results + spread_ * (row * width + column) * columns, columns, T(0));
      }
    }
  }

  // Turns the results of one panel into rows of y.
  void write(const Share& share, int64_t panel, const T* results) const {
    constexpr int64_t chunk = 64;  // positions whose results stay in L1
    const int64_t width = spread_ * M * across_, rows = spread_ * M * share.rows, plane = height_ * width_;
    const int64_t first = spread_ * M * share.first_row, count = std::min(rows, height_ - first);
    const bool whole_rows = width == width_;
    for (int64_t n = 0; n < share.images; ++n, results += rows * width * columns) {
      const int64_t channel = share.group * windows_.out_channels + panel * columns;
      const int64_t image = (share.first_image + n) * windows_.groups * windows_.out_channels;
      const int64_t place = (image + channel) * plane + first * width_;
      const int64_t length = whole_rows ? count * width_ : width_;
      for (int64_t row = 0; row < (whole_rows ? 1 : count); ++row) {
        for (int64_t from = 0; from < length; from += chunk) {
          const T* const source = results + (row * width + from) * columns;
          for (int64_t o = 0; o < used(panel); o += 4) {
            transpose(source + o, columns, std::min(chunk, length - from), std::min<int64_t>(4, used(panel) - o),
                      output_.y + place + o * plane + row * width_ + from, plane);
          }
        }
      }
      if (output_.bias == nullptr && output_.residual == nullptr && output_.activation == Activation::none) continue;
      for (int64_t o = 0; o < used(panel); ++o) {
        const int64_t line = place + o * plane;
        finish_line<T>(output_.y + line, count * width_, output_.bias == nullptr ? T(0) : output_.bias[channel + o],
                       nullptr, output_.residual == nullptr ? nullptr : output_.residual + line, output_.activation);
      }
    }
  }

  const Windows& windows_;
  const T* x_;
  const Weights<T> weights_;
  const Output<T> output_;
  std::vector<Remainder> remainders_;
  int64_t spread_, height_, width_;    // of the results: from one to the next of one remainder; of an image
  int64_t channels_, depth_, panels_;  // input channels, filled up to whole vectors; numbers of a sum; output channels
  int64_t tiles_down_, across_;        // tiles of an image
  int64_t images_each_, rows_each_, bands_, most_tiles_;  // of units
  int64_t panel_size_, weights_step_, row_pitch_, inputs_step_, products_step_;
};

// A rough count of multiply-adds, those of the transforms counted by the time that they take.
double cost(const Windows& windows, int64_t remainders, int64_t results, int64_t taps, int64_t step) {
  const double points = static_cast<double>((results + taps - 1) * (results + taps - 1) * remainders);
  const double in = static_cast<double>(step * step * windows.in_channels);
  const double out = static_cast<double>(windows.out_channels);
  const double tiles = static_cast<double>(windows.images * divide_up(windows.positions[1], results) *
                                           divide_up(windows.positions[2], results));
  constexpr double transform = lanes<T>, transform_weight = 4 * lanes<T>;  // of one number
  return points * (tiles * in * out + tiles * (in + out) * transform + in * out * transform_weight);
}

}  // namespace

std::optional<Square> square_of(const Windows& windows) {
  if (windows.positions[0] != 1 || windows.size[0] != 1 || windows.step[1] != windows.step[2]) return std::nullopt;
  const std::vector<Tap>& taps = windows.taps;
  int64_t side = 1;
  while (side * side < static_cast<int64_t>(taps.size())) ++side;
  if (side < 2 || side * side != static_cast<int64_t>(taps.size())) return std::nullopt;
  Square square{side, windows.step[2], 0, 0, 0, 0, 0};
  const Tap &one = taps.front(), &other = taps.back();
  const int64_t down = other.offset[1] > one.offset[1] ? 1 : -1, right = other.offset[2] > one.offset[2] ? 1 : -1;
  for (int64_t t = 0; t < side * side; ++t) {
    const Extents& offset = taps[static_cast<size_t>(t)].offset;
    if (offset[0] != 0 || offset[1] != one.offset[1] + down * (t / side) ||
        offset[2] != one.offset[2] + right * (t % side)) {
      return std::nullopt;
    }
  }
  square.top = std::min(one.offset[1], other.offset[1]);
  square.left = std::min(one.offset[2], other.offset[2]);
  const auto weight = [&](int64_t row, int64_t column) {
    const int64_t i = down > 0 ? row : side - 1 - row, j = right > 0 ? column : side - 1 - column;
    return taps[static_cast<size_t>(i * side + j)].weight;
  };
  square.first = weight(0, 0);
  square.row = weight(1, 0) - square.first;
  square.column = weight(0, 1) - square.first;
  for (int64_t t = 0; t < side * side; ++t) {
    if (weight(t / side, t % side) != square.first + t / side * square.row + t % side * square.column) {
      return std::nullopt;
    }
  }
  return square;
}

void gather_channels(const float* planes, const Extents& size, int64_t channels, int64_t inner, int64_t top,
                     int64_t rows, int64_t left, int64_t width, float* target) {
  const int64_t begin = std::clamp<int64_t>(-left, 0, width), end = std::clamp<int64_t>(size[2] - left, begin, width);
  const int64_t first = std::clamp<int64_t>(-top, 0, rows), last = std::clamp<int64_t>(size[1] - top, first, rows);
  if (channels < inner) std::fill(target, target + rows * width * inner, 0.0f);
  for (int64_t row = 0; row < rows; ++row, target += width * inner) {
    if (row < first || row >= last) {
      std::fill(target, target + width * inner, 0.0f);
      continue;
    }
    std::fill(target, target + begin * inner, 0.0f);
    transpose(planes + (top + row) * size[2] + left + begin, volume(size), channels, end - begin,
              target + begin * inner, inner);
    std::fill(target + end * inner, target + width * inner, 0.0f);
  }
}

int minimal_results(std::span<const Windows> windows) {
  const Windows& first = windows[0];
  const std::optional<Square> square = square_of(first);
  if (!square || std::min(first.in_channels, first.out_channels) < least_channels) return 0;
  if (first.images == 0 || volume(first.positions) == 0) return 0;
  for (const Windows& each : windows) {
    const std::optional<Square> other = square_of(each);
    if (!other || other->side != square->side || volume(each.positions) == 0) return 0;
  }
  const int64_t side = square->side, step = square->step, remainders = static_cast<int64_t>(windows.size());
  if (step > 2 || side % step != 0) return 0;
  if (remainders != first.out_step[2] * first.out_step[2]) return 0;
  const int64_t taps = side / step;
  if (taps != 2 && !(taps == 5 && step == 1)) return 0;
  const double direct = static_cast<double>(remainders * first.images * volume(first.positions) * side * side *
                                            first.in_channels * first.out_channels);
  int best = 0;
  double least = 0.9 * direct;
  for (const int results : {2, 4}) {
    if (taps == 5 && results == 4) continue;
    const double found = cost(first, remainders, results, taps, step);
    if (found < least) best = results, least = found;
  }
  return best;
}

void sum_windows_minimal(std::span<const Windows> windows, int results, const float* x, const Weights<float>& weights,
                         const Output<float>& output) {
  const Square square = *square_of(windows[0]);
  if (square.side == 5) return Sums<2, 5, 1>(windows, x, weights, output).run();
  if (square.step == 1) {
    if (results == 2) return Sums<2, 2, 1>(windows, x, weights, output).run();
    return Sums<4, 2, 1>(windows, x, weights, output).run();
  }
  if (results == 2) return Sums<2, 2, 2>(windows, x, weights, output).run();
  Sums<4, 2, 2>(windows, x, weights, output).run();
}

}  // namespace rushlight::convolution
