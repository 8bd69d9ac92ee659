// The gradient with respect to the weights of square windows by minimal filtering (minimal_filtering.h): here the
// windows' numbers are the sums, and tiles of M x M gradients are what is multiplied. 4x4 windows with steps of 2 are,
// as in convolution_minimal.cpp, four windows of 2x2 over the numbers of each parity.
#include <algorithm>

#include "convolution_minimal.h"
#include "minimal_filtering.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

using namespace minimal_sizes;
using minimal::Steps;
using T = float;

constexpr int64_t columns = tile_columns<T>;
constexpr int64_t wanted_tiles = 128;          // of one pass: a panel of either operand stays in L1
constexpr int64_t block_depth = 128;           // input channels of all parities, and
constexpr int64_t block_channels = 128;        // output channels, between which the sums are kept at a time
constexpr int64_t partial_limit = 256 * 1024;  // sums of which several may be kept
constexpr int64_t most_partials = 8;
constexpr int64_t least_channels = 16;
constexpr int64_t least_tiles = 32;  // in all

struct Channels {
  int64_t first, count;
  int64_t panels() const { return divide_up(count, columns); }
  int64_t used(int64_t panel) const { return std::min(columns, count - panel * columns); }
};

// Tiles of some images, or of some rows of tiles of one image.
struct Part {
  int64_t first_image, images, first_row, rows;
};

// Tiles of M x M gradients of windows of R x R, for each of S x S parities of the input.
template <int M, int R, int S>
class Gradient {
 public:
  Gradient(const Windows& windows, const T* g, const T* x, T* gw)
      : windows_(windows), square_(*square_of(windows)), g_(g), x_(x), gw_(gw) {
    const int64_t down = divide_up(windows.positions[1], M);
    across_ = divide_up(windows.positions[2], M);
    const int64_t images = even_part(windows.images, wanted_tiles / (down * across_));
    const int64_t rows = even_part(down, wanted_tiles / across_);
    for (int64_t n = 0; n < windows.images; n += images) {
      for (int64_t row = 0; row < down; row += rows) {
        parts_.push_back({n, std::min(images, windows.images - n), row, std::min(rows, down - row)});
      }
    }
    panel_size_ = images * rows * across_ * columns;
  }

  void run() const {
    const int64_t in_each = block_size(windows_.in_channels, block_depth / (S * S));
    const int64_t out_each = block_size(windows_.out_channels, block_channels);
    const int64_t count = static_cast<int64_t>(parts_.size());
    const Block largest{{0, in_each}, {0, out_each}};
    const int64_t size = points * largest.sums_step();
    // Few weights: partial sums over runs of parts, each run on one thread. Many: all threads share every part.
    const int64_t each = size <= partial_limit ? divide_up(count, most_partials) : count;
    const int64_t partials = divide_up(count, each);
    const Scratch<T> sums(partials * size);
    for (int64_t group = 0; group < windows_.groups; ++group) {
      for (int64_t o = 0; o < windows_.out_channels; o += out_each) {
        for (int64_t c = 0; c < windows_.in_channels; c += in_each) {
          const Block block{{group * windows_.in_channels + c, std::min(in_each, windows_.in_channels - c)},
                            {group * windows_.out_channels + o, std::min(out_each, windows_.out_channels - o)}};
          parallel_for(partials, 1, [&](int64_t begin, int64_t end) {
            const Scratch<T> inputs(points * input_step(block.in)), gradients(points * gradient_step(block.out));
            for (int64_t p = begin; p < end; ++p) {
              for (int64_t i = p * each; i < std::min((p + 1) * each, count); ++i) {
                const Part& part = parts_[static_cast<size_t>(i)];
                transform(block, part, inputs.get(), gradients.get());
                multiply(block, part, inputs.get(), gradients.get(), sums.get() + p * size, i == p * each);
              }
            }
          });
          parallel_for(partials > 1 ? points : 0, 4, [&](int64_t begin, int64_t end) {
            const int64_t step = block.sums_step();
            for (int64_t p = 1; p < partials; ++p) {
              for (int64_t i = begin * step; i < end * step; ++i) sums[i] += sums[p * size + i];
            }
          });
          write(block, sums.get());
        }
      }
    }
  }

 private:
  static constexpr int N = M + R - 1;
  static constexpr int64_t points = N * N, parities = S * S, window = S * S * R * R;

  struct Block {
    Channels in, out;
    // Of one point: panel of output channels, parity, input channel, output channel.
    int64_t sums_step() const { return odd_lines(parities * in.count * out.panels() * columns); }
  };

  static int64_t block_size(int64_t channels, int64_t wanted) {
    const int64_t unit = std::min(columns, wanted);
    const int64_t units = even_part(divide_up(channels, unit), wanted / unit);
    return std::min(units * unit, channels);
  }

  // Transformed numbers of one point: panel, tile, channel; of the inputs for one parity after the other.
  int64_t input_step(const Channels& channels) const { return odd_lines(parities * channels.panels() * panel_size_); }
  int64_t gradient_step(const Channels& channels) const { return odd_lines(channels.panels() * panel_size_); }

  void transform(const Block& block, const Part& part, T* inputs, T* gradients) const {
    const int64_t in_panels = block.in.panels();
    const int64_t patch_size = S * (M * part.rows + R - 1) * S * (M * across_ + R - 1) * columns;
    const int64_t grain = divide_up(part.images, 8);  // not so few that they are busy with getting a patch
    parallel_for((in_panels + block.out.panels()) * part.images, grain, [&](int64_t begin, int64_t end) {
      const Scratch<T> patch(patch_size);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / part.images, image = task % part.images;
        if (panel < in_panels) {
          transform_inputs(block.in, panel, part, image, patch.get(), inputs);
        } else {
          transform_gradients(block.out, panel - in_panels, part, image, patch.get(), gradients);
        }
      }
    });
  }

  void transform_inputs(const Channels& channels, int64_t panel, const Part& part, int64_t image, T* patch,
                        T* target) const {
    const int64_t width = S * (M * across_ + R - 1), step = input_step(channels), used = channels.used(panel);
    const int64_t inner = round_up(used, lanes<T>);
    const int64_t plane = (part.first_image + image) * windows_.groups * windows_.in_channels + channels.first;
    gather_channels(x_ + (plane + panel * columns) * volume(windows_.size), windows_.size, used, inner,
                    square_.top + S * M * part.first_row, S * (M * part.rows + R - 1), square_.left, width, patch);
    target += panel * panel_size_ + image * part.rows * across_ * columns;
    for (int64_t i = 0; i < part.rows; ++i) {
      for (int64_t j = 0; j < across_; ++j, target += columns) {
        for (int64_t parity = 0; parity < parities; ++parity) {
          const int64_t corner = (S * M * i + parity / S) * width + S * M * j + parity % S;
          minimal::transform_square<N, N>(
              patch + corner * inner, Steps{S * width * inner, S * inner}, used,
              [](const auto& numbers, auto& values) { minimal::transform_numbers<N>(numbers, values); },
              target + parity * channels.panels() * panel_size_, Steps{N * step, step});
        }
      }
    }
  }

  void transform_gradients(const Channels& channels, int64_t panel, const Part& part, int64_t image, T* patch,
                           T* target) const {
    const int64_t width = M * across_, step = gradient_step(channels), used = channels.used(panel);
    const int64_t inner = round_up(used, lanes<T>);
    const int64_t plane = (part.first_image + image) * windows_.groups * windows_.out_channels + channels.first;
    gather_channels(g_ + (plane + panel * columns) * volume(windows_.positions), windows_.positions, used, inner,
                    M * part.first_row, M * part.rows, 0, width, patch);
    target += panel * panel_size_ + image * part.rows * across_ * columns;
    for (int64_t i = 0; i < part.rows; ++i) {
      for (int64_t j = 0; j < across_; ++j, target += columns) {
        minimal::transform_square<M, N>(
            patch + M * (i * width + j) * inner, Steps{width * inner, inner}, used,
            [](const auto& terms, auto& values) { minimal::evaluate<N, false>(terms, values); }, target,
            Steps{N * step, step});
      }
    }
  }

  // Adds the products of one part's tiles, point by point.
  void multiply(const Block& block, const Part& part, const T* inputs, const T* gradients, T* sums, bool first) const {
    const int64_t count = part.images * part.rows * across_, depth = parities * block.in.count;
    const int64_t in_panels = block.in.panels();
    const Store mode = first ? Store::overwrite : Store::accumulate;
    parallel_for(points, 1, [&](int64_t begin, int64_t end) {
      const T* rows[tile_rows];
      for (int64_t point = begin; point < end; ++point) {
        const T* left = inputs + point * input_step(block.in);
        const T* right = gradients + point * gradient_step(block.out);
        T* target = sums + point * block.sums_step();
        for (int64_t p = 0; p < block.out.panels(); ++p, right += panel_size_, target += depth * columns) {
          for (int64_t k = 0; k < depth; k += tile_rows) {
            const int used = static_cast<int>(std::min<int64_t>(tile_rows, depth - k));
            for (int r = 0; r < used; ++r) {
              const int64_t parity = (k + r) / block.in.count, c = (k + r) % block.in.count;
              rows[r] = left + (parity * in_panels + c / columns) * panel_size_ + c % columns;
            }
            multiply_panel(used, block.out.used(p), count, rows, Strided{columns}, right, target + k * columns, columns,
                           mode);
          }
        }
      }
    });
  }

  void write(const Block& block, const T* sums) const {
    constexpr int64_t chunk = 8;  // input channels
    const int64_t chunks = divide_up(block.in.count, chunk), step = block.sums_step();
    parallel_for(block.out.panels() * chunks, 4, [&](int64_t begin, int64_t end) {
      const Scratch<T> weights(chunk * window * columns);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / chunks, c = task % chunks * chunk, count = std::min(chunk, block.in.count - c);
        for (int64_t i = 0; i < count; ++i) {
          for (int64_t parity = 0; parity < parities; ++parity) {
            const int64_t corner = square_.first + parity / S * square_.row + parity % S * square_.column;
            minimal::transform_square<N, R>(
                sums + ((panel * parities + parity) * block.in.count + c + i) * columns, Steps{N * step, step},
                block.out.used(panel),
                [](const auto& values, auto& results) { minimal::interpolate<N, true>(values, results); },
                weights.get() + (i * window + corner) * columns,
                Steps{S * square_.row * columns, S * square_.column * columns});
          }
        }
        const int64_t row = (block.out.first + panel * columns) * windows_.in_channels;
        transpose(weights.get(), columns, count * window, block.out.used(panel),
                  gw_ + (row + block.in.first % windows_.in_channels + c) * window, windows_.depth());
      }
    });
  }

  const Windows& windows_;
  const Square square_;
  const T *g_, *x_;
  T* gw_;
  int64_t across_;  // tiles
  std::vector<Part> parts_;
  int64_t panel_size_;  // of one point
};

}  // namespace

bool minimal_pays_for_weights(const Windows& windows) {
  const std::optional<Square> square = square_of(windows);
  if (!square || !windows.in_order() || std::min(windows.in_channels, windows.out_channels) < least_channels) {
    return false;
  }
  const bool strided = square->side == 4 && square->step == 2;
  if (!strided && !(square->side == 5 && square->step == 1)) return false;
  const int64_t results = strided ? 4 : 2;
  const int64_t tiles =
      windows.images * divide_up(windows.positions[1], results) * divide_up(windows.positions[2], results);
  // At least half of the gradients in the tiles are there.
  return tiles >= least_tiles && 2 * windows.images * volume(windows.positions) >= tiles * results * results;
}

void weight_gradient_minimal(const Windows& windows, const float* g, const float* x, float* gw) {
  if (square_of(windows)->side == 5) return Gradient<2, 5, 1>(windows, g, x, gw).run();
  Gradient<4, 2, 2>(windows, g, x, gw).run();
}

}  // namespace rushlight::convolution
