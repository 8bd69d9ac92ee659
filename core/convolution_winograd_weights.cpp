// The gradient with respect to 3x3 weights with steps of 1 in four times fewer multiplications: F(3x3, 4x4). A tile of
// inputs and the 4x4 gradients of its windows become 36 numbers each, whose products are summed over the tiles of all
// images; from the 36 sums come 3x3 gradients.
#include "convolution_winograd.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight::convolution {

namespace {

using namespace winograd;

constexpr int64_t wanted_tiles = 128;    // of one pass: a panel of either operand stays in L1
constexpr int64_t block_channels = 128;  // of either operand, between which the sums are kept at a time
constexpr int64_t least_channels = lanes<float> == 16 ? 24 : 16;  // below, the transforms cost more than they save,
constexpr int64_t least_tiles = 8;                                // and so they do below this number in all,
constexpr int64_t least_used = 8;                                 // and where tiles have fewer gradients on average

// The transforms of one line: of gradients, and from the sums to the gradients of the weights.
inline void transform_gradients(const Vec<T> (&g)[results], Vec<T> (&u)[side]) {
  const Vec<T> even_inner = g[0] + inner2 * g[2], odd_inner = inner * (g[1] + inner2 * g[3]);
  const Vec<T> even_outer = g[0] + outer2 * g[2], odd_outer = outer * (g[1] + outer2 * g[3]);
  u[0] = g[0];
  u[1] = even_inner + odd_inner;
  u[2] = even_inner - odd_inner;
  u[3] = even_outer + odd_outer;
  u[4] = even_outer - odd_outer;
  u[5] = g[3];
}

inline void transform_sums(const Vec<T> (&m)[side], Vec<T> (&w)[3]) {
  const Vec<T> even_inner = inner_scale * (m[1] + m[2]), odd_inner = inner_scale * inner * (m[1] - m[2]);
  const Vec<T> even_outer = outer_scale * (m[3] + m[4]), odd_outer = outer_scale * outer * (m[3] - m[4]);
  w[0] = zero_scale * m[0] + (even_inner + even_outer);
  w[1] = odd_inner + odd_outer;
  w[2] = m[5] + (inner2 * even_inner + outer2 * even_outer);
}

class Gradient {
 public:
  Gradient(const Windows& windows, const T* g, const T* x, T* gw)
      : windows_(windows),
        g_{g, windows.groups * windows.out_channels, windows.positions, 0, 0},
        x_{x, windows.groups * windows.in_channels, windows.size, windows.taps[0].offset[1], windows.taps[0].offset[2]},
        gw_(gw),
        across_(tiles_of(windows.positions[2])),
        parts_(parts_of(windows, wanted_tiles)),
        panel_size_(parts_[0].images * parts_[0].rows * across_ * columns) {}

  void run() const {
    const int64_t in_each = block_size(windows_.in_channels), out_each = block_size(windows_.out_channels);
    const Block largest{{0, in_each}, {0, out_each}};
    const Scratch<T> inputs(points * point_size(largest.in)), gradients(points * point_size(largest.out));
    const Scratch<T> sums(points * largest.sums_size());
    for (int64_t group = 0; group < windows_.groups; ++group) {
      for (int64_t o = 0; o < windows_.out_channels; o += out_each) {
        for (int64_t c = 0; c < windows_.in_channels; c += in_each) {
          const Block block{{group * windows_.in_channels + c, std::min(in_each, windows_.in_channels - c)},
                            {group * windows_.out_channels + o, std::min(out_each, windows_.out_channels - o)}};
          for (const Part& part : parts_) {
            transform(block, part, inputs.get(), gradients.get());
            multiply(block, part, inputs.get(), gradients.get(), sums.get());
          }
          write(block, sums.get());
        }
      }
    }
  }

 private:
  struct Block {
    Channels in, out;
    // Of one point: panel of output channels, input channel, output channel.
    int64_t sums_size() const { return odd_lines(in.count * out.panels() * columns); }
  };

  static int64_t block_size(int64_t channels) {
    const int64_t panels = even_part(divide_up(channels, columns), block_channels / columns);
    return std::min(panels * columns, channels);
  }

  // Transformed numbers of one point: panel, tile, channel.
  int64_t point_size(const Channels& channels) const { return odd_lines(channels.panels() * panel_size_); }

  void transform(const Block& block, const Part& part, T* inputs, T* gradients) const {
    const int64_t in_panels = block.in.panels();
    parallel_for((in_panels + block.out.panels()) * part.images, 1, [&](int64_t begin, int64_t end) {
      const Scratch<T> patch((results * part.rows + 2) * (results * across_ + 2) * columns);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / part.images, image = task % part.images;
        if (panel < in_panels) {
          transform_image<side>(x_, block.in, panel, part, image, patch.get(), transform_inputs, inputs);
        } else {
          transform_image<results>(g_, block.out, panel - in_panels, part, image, patch.get(), transform_gradients,
                                   gradients);
        }
      }
    });
  }

  template <int From, class Transform>
  void transform_image(const Operand& operand, const Channels& channels, int64_t panel, const Part& part, int64_t image,
                       T* patch, Transform transform, T* target) const {
    constexpr int64_t border = From - results;
    const int64_t width = results * across_ + border, point = point_size(channels);
    const int64_t channel = (part.first_image + image) * operand.channels + channels.first + panel * columns;
    gather_channels(operand.data + channel * volume(operand.size), operand.size, channels.used(panel), columns,
                    operand.top + results * part.first_row, results * part.rows + border, operand.left, width, patch);
    target += panel * panel_size_ + image * part.rows * across_ * columns;
    for (int64_t i = 0; i < part.rows; ++i) {
      for (int64_t j = 0; j < across_; ++j, target += columns) {
        transform_square<From, side>(patch + results * (i * width + j) * columns, {width * columns, columns},
                                     channels.used(panel), transform, target, {side * point, point});
      }
    }
  }

  // Adds the products of one part's tiles, point by point.
  void multiply(const Block& block, const Part& part, const T* inputs, const T* gradients, T* sums) const {
    const int64_t count = part.images * part.rows * across_;
    const Store mode = &part == parts_.data() ? Store::overwrite : Store::accumulate;
    parallel_for(points, 1, [&](int64_t begin, int64_t end) {
      const T* rows[tile_rows];
      for (int64_t point = begin; point < end; ++point) {
        const T* left = inputs + point * point_size(block.in);
        const T* right = gradients + point * point_size(block.out);
        T* target = sums + point * block.sums_size();
        for (int64_t p = 0; p < block.out.panels(); ++p, right += panel_size_, target += block.in.count * columns) {
          for (int64_t c = 0; c < block.in.count; c += tile_rows) {
            const int used = static_cast<int>(std::min<int64_t>(tile_rows, block.in.count - c));
            for (int64_t r = c; r < c + used; ++r) rows[r - c] = left + r / columns * panel_size_ + r % columns;
            multiply_panel(used, block.out.used(p), count, rows, Strided{columns}, right, target + c * columns, columns,
                           mode);
          }
        }
      }
    });
  }

  void write(const Block& block, const T* sums) const {
    constexpr int64_t chunk = 16;  // input channels
    const int64_t chunks = divide_up(block.in.count, chunk), point = block.sums_size();
    parallel_for(block.out.panels() * chunks, 4, [&](int64_t begin, int64_t end) {
      T weights[chunk * 9 * columns];
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / chunks, c = task % chunks * chunk, count = std::min(chunk, block.in.count - c);
        for (int64_t i = 0; i < count; ++i) {
          transform_square<side, 3>(sums + (panel * block.in.count + c + i) * columns, {side * point, point},
                                    block.out.used(panel), transform_sums, weights + i * 9 * columns,
                                    {3 * columns, columns});
        }
        const int64_t row = (block.out.first + panel * columns) * windows_.in_channels;
        transpose(weights, columns, count * 9, block.out.used(panel),
                  gw_ + (row + block.in.first % windows_.in_channels + c) * 9, windows_.depth());
      }
    });
  }

  const Windows& windows_;
  const Operand g_, x_;
  T* gw_;
  const int64_t across_;  // tiles
  const std::vector<Part> parts_;
  const int64_t panel_size_;  // of one point
};

}  // namespace

bool winograd_pays_for_weights(const Windows& windows) {
  const int64_t positions = windows.images * volume(windows.positions);
  const int64_t tiles = windows.images * tiles_of(windows.positions[1]) * tiles_of(windows.positions[2]);
  return windows.dense_3x3() && std::min(windows.in_channels, windows.out_channels) >= least_channels &&
         tiles >= least_tiles && positions >= tiles * least_used;
}

void weight_gradient_winograd(const Windows& windows, const float* g, const float* x, float* gw) {
  Gradient(windows, g, x, gw).run();
}

}  // namespace rushlight::convolution
