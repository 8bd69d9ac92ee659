// A layer of a recurrent network in one direction: all steps of a sequence, and their gradient.
//
// A step is a product of the state with weights that stay the same, and arithmetic on what comes of it. The weights are
// packed once, block by block of hidden units, so that the products of all gates of a block end in the L1 cache, where
// the arithmetic follows at once. The gradient has the same form: the gradients of the gates of one step, times the
// weights the other way round, give that of the state before. What the weights themselves get is one product over all
// steps at the end.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "gemm.h"
#include "instruction.h"
#include "micro_kernel.h"
#include "recurrent_cells.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight {

namespace {

using namespace recurrent;

constexpr int64_t block_work = 32 * 1024;           // multiply-adds of a step that are worth handing to another thread
constexpr int64_t step_work = 4 * 1024 * 1024;      // from here on the units of one step are shared out, not the rows
constexpr int64_t own_weights = 1024 * 1024;        // bytes of weights that every thread may go through for itself
constexpr int64_t serial_numbers = 16 * 1024;       // of simple work on one thread

// The rows of all steps lie one after the other. A step has no more of them than the one before it in time: sequences
// that have ended are missing from the end.
struct Sequence {
  std::vector<int64_t> sizes, first;  // rows of each step, and where they begin
  int64_t steps, batch, rows = 0, hidden;
  bool reverse;

  Sequence(const std::vector<int64_t>& given, int64_t hidden, bool reverse)
      : sizes(given), steps(static_cast<int64_t>(given.size())), hidden(hidden), reverse(reverse) {
    batch = steps == 0 ? 0 : sizes[0];
    for (int64_t size : sizes) {
      first.push_back(rows);
      rows += size;
    }
  }

  bool has(int64_t step, int64_t row) const { return step >= 0 && step < steps && row < sizes[step]; }
  int64_t before(int64_t step) const { return reverse ? step + 1 : step - 1; }
  int64_t after(int64_t step) const { return reverse ? step - 1 : step + 1; }
  // Where `row` of the state before a step lies: in the results of another step, or in the initial state.
  template <class T>
  const T* state(int64_t step, int64_t row, const T* results, int64_t stride, const T* initial) const {
    const int64_t from = before(step);
    return has(from, row) ? results + (first[from] + row) * stride : initial + row * hidden;
  }
};

// The weights as a matrix (depth, gates * hidden), packed block by block of hidden units: for each of the depth, the
// columns of all gates of these units.
template <class T, int gates, int tiles>
class Panels {
 public:
  static constexpr int64_t units = tiles * tile_columns<T>, width = gates * units;

  Panels(Matrix<T> weights, int64_t depth, int64_t hidden, const T* bias)
      : depth_(depth), blocks_((hidden + units - 1) / units), packed_(depth * blocks_ * width),
        bias_(bias == nullptr ? 1 : blocks_ * width), biased_(bias != nullptr) {
    if (biased_) std::fill_n(bias_.get(), blocks_ * width, T(0));
    parallel_for(blocks_, std::max<int64_t>(1, serial_numbers / (depth * width)), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        T* panel = packed_.get() + block * depth * width;
        if ((block + 1) * units > hidden) std::fill_n(panel, depth * width, T(0));
        for (int64_t tile = 0; tile < gates * tiles; ++tile) {
          const int64_t unit = block * units + tile % tiles * tile_columns<T>;
          const int64_t used = std::min<int64_t>(tile_columns<T>, hidden - unit);
          if (used > 0) pack(weights, tile / tiles * hidden + unit, used, panel + tile * tile_columns<T>);
        }
        for (int64_t gate = 0; biased_ && gate < gates; ++gate) {
          std::copy_n(bias + gate * hidden + block * units, std::min(units, hidden - block * units),
                      bias_.get() + block * width + gate * units);
        }
      }
    });
  }

  int64_t blocks() const { return blocks_; }

  // sums (rows, width) of a block, from rows wherever they lie.
  void multiply(int rows, const T* const* row, int64_t block, T* sums) const {
    const T* panel = packed_.get() + block * depth_ * width;
    const T* bias = biased_ ? bias_.get() + block * width : nullptr;
    if (rows == 1) {
      return multiply_tile<1, gates * tiles * tile_vectors>(depth_, row, Strided{1}, panel, width, sums, width,
                                                            Store::overwrite, bias);
    }
    for (int64_t column = 0; column < width; column += tile_columns<T>) {
      multiply_rows<tile_vectors>(rows, depth_, row, Strided{1}, panel + column, width, sums + column, width,
                                  Store::overwrite, bias == nullptr ? nullptr : bias + column);
    }
  }

 private:
  void pack(Matrix<T> weights, int64_t column, int64_t used, T* panel) {
    const T* from = weights.data + column * weights.column_stride;
    if (weights.row_stride == 1) return transpose(from, weights.column_stride, used, depth_, panel, width);
    for (int64_t k = 0; k < depth_; ++k) std::copy_n(from + k * weights.row_stride, used, panel + k * width);
  }

  int64_t depth_, blocks_;
  Scratch<T> packed_, bias_;
  bool biased_;
};

// work(step, first row, last row, first block, last block) for all steps, in the order of the sequence or against it.
// Where rows are many and the weights few, threads take rows through all steps; else they share the units of each step.
template <class T, class Panels, class Work>
void for_each_step(const Sequence& s, bool backward, const Panels& panels, int64_t depth, Work&& work) {
  const auto step_at = [&](int64_t i) { return s.reverse != backward ? s.steps - 1 - i : i; };
  const int64_t weights = panels.blocks() * Panels::width * depth;
  if (s.batch > tile_rows && s.batch * weights < step_work &&
      weights * static_cast<int64_t>(sizeof(T)) <= own_weights) {
    parallel_for((s.batch + tile_rows - 1) / tile_rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < s.steps; ++i) {
        const int64_t step = step_at(i);
        work(step, begin * tile_rows, std::min(end * tile_rows, s.sizes[step]), int64_t{0}, panels.blocks());
      }
    });
    return;
  }
  for (int64_t i = 0; i < s.steps; ++i) {
    const int64_t step = step_at(i), one = s.sizes[step] * Panels::width * depth;
    parallel_for(panels.blocks(), (block_work + one - 1) / std::max<int64_t>(one, 1),
                 [&](int64_t begin, int64_t end) { work(step, int64_t{0}, s.sizes[step], begin, end); });
  }
}

// ---- forward -------------------------------------------------------------------------------------------------------

template <class T>
struct Layer {
  const T *x, *h, *w, *bias;  // bias may be null
  T *y, *cell, *kept;         // cell holds that before the first step; kept may be null
};

template <Mode mode, class T>
void run_forward(const Sequence& s, const Layer<T>& layer) {
  constexpr int gates = gates_of(mode);
  const int64_t hidden = s.hidden;
  const auto advance_row = [&](int64_t step, int64_t row, const T* sums, int64_t sum_stride, int64_t unit,
                               int64_t units) {
    const int64_t at = s.first[step] + row;
    advance<mode>(Forward<T>{layer.x + at * gates * hidden + unit, sums, sum_stride,
                             s.state(step, row, layer.y, hidden, layer.h) + unit,
                             layer.cell == nullptr ? nullptr : layer.cell + row * hidden + unit,
                             layer.y + at * hidden + unit,
                             layer.kept == nullptr ? nullptr : layer.kept + at * kept_of(mode) * hidden + unit},
                  units, hidden);
  };
  if (s.steps == 1) {  // nothing gained by packing
    Scratch<T> sums(s.batch * gates * hidden);
    multiply(Product<T>{s.batch, gates * hidden, hidden, {layer.h, hidden, 1}, {layer.w, 1, hidden}, sums.get(),
                        gates * hidden, 1, layer.bias});
    parallel_for(s.batch, serial_numbers / (gates * hidden), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        advance_row(0, row, sums.get() + row * gates * hidden, hidden, 0, hidden);
      }
    });
    return;
  }
  using Packed = Panels<T, gates, gates == 1 ? 2 : 1>;
  const Packed panels({layer.w, 1, hidden}, hidden, hidden, layer.bias);
  for_each_step<T>(s, false, panels, hidden, [&](int64_t step, int64_t row, int64_t end, int64_t block, int64_t last) {
    alignas(64) T sums[tile_rows * Packed::width];
    const T* rows[tile_rows];
    for (; block < last; ++block) {
      const int64_t unit = block * Packed::units, units = std::min(Packed::units, hidden - unit);
      for (int64_t r = row; r < end; r += tile_rows) {
        const int count = static_cast<int>(std::min<int64_t>(tile_rows, end - r));
        for (int i = 0; i < count; ++i) rows[i] = s.state(step, r + i, layer.y, hidden, layer.h);
        panels.multiply(count, rows, block, sums);
        for (int i = 0; i < count; ++i) {
          advance_row(step, r + i, sums + i * Packed::width, Packed::units, unit, units);
        }
      }
    }
  });
}

// ---- backward ------------------------------------------------------------------------------------------------------

template <class T>
struct Gradients {
  const T* gy;  // may be null
  int64_t gy_stride;
  const T *y, *kept, *h, *c, *w;
  T *gx, *gh, *gc, *gw;  // gh and gc hold the gradients with respect to the last states
  T* products;           // with respect to the products of state and weights; those of gx but in a GRU
};

template <Mode mode, class T>
void run_backward(const Sequence& s, const Gradients<T>& layer) {
  constexpr int gates = gates_of(mode), kept = kept_of(mode);
  const int64_t hidden = s.hidden, wide = gates * hidden;
  const auto retreat_row = [&](int64_t step, int64_t row, const T* sums, int64_t unit, int64_t units) {
    const int64_t at = s.first[step] + row;
    const auto in = [&](auto* array, int64_t stride) { return array == nullptr ? nullptr : array + stride + unit; };
    retreat<mode>(
        Backward<T>{in(layer.gy, at * layer.gy_stride), sums, layer.y + at * hidden + unit,
                    in(layer.kept, at * kept * hidden), s.state(step, row, layer.y, hidden, layer.h) + unit,
                    mode == Mode::lstm ? s.state(step, row, layer.kept + 4 * hidden, kept * hidden, layer.c) + unit
                                       : nullptr,
                    layer.gh + row * hidden + unit, in(layer.gc, row * hidden), layer.gx + at * wide + unit,
                    layer.products + at * wide + unit},
        units, hidden);
  };
  if (s.steps == 1) {
    parallel_for(s.batch, serial_numbers / wide, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) retreat_row(0, row, nullptr, 0, hidden);
    });
  } else {
    using Packed = Panels<T, 1, 2>;
    const Packed panels({layer.w, hidden, 1}, wide, hidden, nullptr);
    for_each_step<T>(s, true, panels, wide, [&](int64_t step, int64_t row, int64_t end, int64_t block, int64_t last) {
      alignas(64) T sums[tile_rows * Packed::width];
      const T* rows[tile_rows];
      const int64_t after = s.after(step), going_on = after >= 0 && after < s.steps ? s.sizes[after] : 0;
      for (; block < last; ++block) {
        const int64_t unit = block * Packed::units, units = std::min(Packed::units, hidden - unit);
        for (int64_t r = row; r < end; r += tile_rows) {
          const int64_t count = std::min<int64_t>(tile_rows, end - r), known = std::clamp<int64_t>(going_on - r, 0, count);
          for (int64_t i = 0; i < known; ++i) rows[i] = layer.products + (s.first[after] + r + i) * wide;
          if (known > 0) panels.multiply(static_cast<int>(known), rows, block, sums);
          for (int64_t i = 0; i < count; ++i) {
            retreat_row(step, r + i, i < known ? sums + i * Packed::width : nullptr, unit, units);
          }
        }
      }
    });
  }
  // The initial state, and the weights: each row's state before each step lies beside its gradient.
  Scratch<T> before(s.rows * hidden), starts(s.batch * wide);
  parallel_for(s.steps, std::max<int64_t>(1, serial_numbers / (s.batch * hidden + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      for (int64_t row = 0; row < s.sizes[step]; ++row) {
        const int64_t at = s.first[step] + row;
        std::copy_n(s.state(step, row, layer.y, hidden, layer.h), hidden, before.get() + at * hidden);
        if (!s.has(s.before(step), row)) std::copy_n(layer.products + at * wide, wide, starts.get() + row * wide);
      }
    }
  });
  multiply(Product<T>{wide, hidden, s.rows, {layer.products, 1, wide}, {before.get(), hidden, 1}, layer.gw, hidden, 1});
  Product<T> initial{s.batch, hidden, wide, {starts.get(), wide, 1}, {layer.w, hidden, 1}, layer.gh, hidden, 1};
  initial.accumulate = mode == Mode::gru;
  multiply(initial);
}

// ---- bindings ------------------------------------------------------------------------------------------------------

bool find_mode(const std::string& name, Mode& found) {
  const std::pair<const char*, Mode> modes[] = {
      {"RNN_TANH", Mode::rnn_tanh}, {"RNN_RELU", Mode::rnn_relu}, {"LSTM", Mode::lstm}, {"GRU", Mode::gru}};
  for (auto [known, mode] : modes) {
    if (name == known) return found = mode, true;
  }
  return false;
}

// body(mode, type) with the two as types of constants.
template <class Body>
void dispatch_mode(Mode mode, Body&& body) {
  switch (mode) {
    case Mode::rnn_tanh: return body(std::integral_constant<Mode, Mode::rnn_tanh>());
    case Mode::rnn_relu: return body(std::integral_constant<Mode, Mode::rnn_relu>());
    case Mode::lstm: return body(std::integral_constant<Mode, Mode::lstm>());
    case Mode::gru: return body(std::integral_constant<Mode, Mode::gru>());
  }
}

// Operands of one dtype and the shapes that go with one another; the shape rule has seen them already.
class Operands {
 public:
  DType dtype;

  explicit Operands(nb::handle first) : dtype(borrow(first).dtype) {}

  // `given` as a contiguous array of this shape, or nothing where it is None; raises ValueError where it doesn't fit.
  WorkArray take(nb::handle given, std::initializer_list<int64_t> shape) {
    if (given.is_none()) return {};
    WorkArray array = contiguous(given);
    if (!std::ranges::equal(shape, shape_of(array.array))) throw nb::value_error("recurrent_layer: the shapes don't fit");
    same_ = same_ && array.array.dtype == dtype;
    return array;
  }

  bool known() const { return same_ && (dtype == DType::float32 || dtype == DType::float64); }

 private:
  bool same_ = true;
};

Mode checked_mode(const std::string& name, const std::vector<int64_t>& sizes) {
  Mode mode;
  if (!find_mode(name, mode)) throw nb::value_error("recurrent_layer: no mode of this name");
  if (sizes.empty() || sizes.back() < 0 || !std::ranges::is_sorted(sizes, std::greater())) {
    throw nb::value_error("recurrent_layer: the sizes of the steps must not increase");
  }
  return mode;
}

int64_t hidden_of(nb::handle weights) {
  const Array array = borrow(weights);
  if (array.dimensions != 2 || array.shape[1] == 0) throw nb::value_error("recurrent_layer: the shapes don't fit");
  return array.shape[1];
}

nb::object recurrent_layer(nb::handle given_x, nb::handle given_h, nb::handle given_c, nb::handle given_w,
                           nb::handle given_bias, const std::string& mode_name, const std::vector<int64_t>& sizes,
                           bool reverse, bool keep) {
  const Mode mode = checked_mode(mode_name, sizes);
  const Sequence s(sizes, hidden_of(given_w), reverse);
  const int64_t wide = gates_of(mode) * s.hidden, kept_width = keep ? kept_of(mode) * s.hidden : 0;
  Operands operands(given_x);
  const WorkArray x = operands.take(given_x, {s.rows, wide}), h = operands.take(given_h, {s.batch, s.hidden});
  const WorkArray c = operands.take(given_c, {s.batch, s.hidden}), w = operands.take(given_w, {wide, s.hidden});
  const WorkArray bias = operands.take(given_bias, {wide});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm)) throw nb::value_error("recurrent_layer: an LSTM alone has a cell");
  const NewArray y = result(operands.dtype, {s.rows, s.hidden}), last = result(operands.dtype, {s.batch, s.hidden});
  const NewArray cell = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray kept = kept_width > 0 ? result(operands.dtype, {s.rows, kept_width}) : NewArray();
  dispatch_wide(operands.dtype, [&](auto tag) {
    using T = decltype(tag);
    Unlocked unlocked;
    if (c) std::copy_n(c.array.as<T>(), s.batch * s.hidden, cell.array.as<T>());
    const Layer<T> layer{x.array.as<T>(), h.array.as<T>(),    w.array.as<T>(),   bias.array.as<T>(),
                         y.array.as<T>(), cell.array.as<T>(), kept.array.as<T>()};
    dispatch_mode(mode, [&](auto constant) { run_forward<constant.value, T>(s, layer); });
    for (int64_t step = 0; step < s.steps; ++step) {
      for (int64_t row = 0; row < s.sizes[step]; ++row) {
        if (s.has(s.after(step), row)) continue;
        std::copy_n(layer.y + (s.first[step] + row) * s.hidden, s.hidden, last.array.as<T>() + row * s.hidden);
      }
    }
  });
  if (c) return kept_width > 0 ? results(y, last, cell, kept) : results(y, last, cell);
  return kept_width > 0 ? results(y, last, kept) : results(y, last);
}

nb::object recurrent_layer_gradient(nb::handle given_gy, nb::handle given_gh, nb::handle given_gc,
                                    nb::handle given_gkept, nb::handle given_y, nb::handle given_kept,
                                    nb::handle given_h, nb::handle given_c, nb::handle given_w,
                                    const std::string& mode_name, const std::vector<int64_t>& sizes, bool reverse) {
  const Mode mode = checked_mode(mode_name, sizes);
  if (!given_gkept.is_none()) return not_implemented();
  const Sequence s(sizes, hidden_of(given_w), reverse);
  const int64_t wide = gates_of(mode) * s.hidden;
  Operands operands(given_w);
  const WorkArray gy = operands.take(given_gy, {s.rows, s.hidden}), y = operands.take(given_y, {s.rows, s.hidden});
  const WorkArray gh = operands.take(given_gh, {s.batch, s.hidden}), gc = operands.take(given_gc, {s.batch, s.hidden});
  const WorkArray h = operands.take(given_h, {s.batch, s.hidden}), c = operands.take(given_c, {s.batch, s.hidden});
  const WorkArray kept = operands.take(given_kept, {s.rows, kept_of(mode) * s.hidden});
  const WorkArray w = operands.take(given_w, {wide, s.hidden});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm) || static_cast<bool>(kept) != (kept_of(mode) > 0)) {
    throw nb::value_error("recurrent_layer_gradient: the operands don't go with the mode");
  }
  const NewArray of_x = result(operands.dtype, {s.rows, wide}), of_h = result(operands.dtype, {s.batch, s.hidden});
  const NewArray of_c = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray of_w = result(operands.dtype, {wide, s.hidden});
  const int64_t shape[] = {s.rows, wide};
  const WorkArray products = mode == Mode::gru ? WorkArray(operands.dtype, shape) : WorkArray();
  dispatch_wide(operands.dtype, [&](auto tag) {
    using T = decltype(tag);
    Unlocked unlocked;
    const auto start = [&](const WorkArray& given, const NewArray& made) {
      if (given) {
        std::copy_n(given.array.as<T>(), s.batch * s.hidden, made.array.as<T>());
      } else {
        std::fill_n(made.array.as<T>(), s.batch * s.hidden, T(0));
      }
    };
    start(gh, of_h);
    if (c) start(gc, of_c);
    const Gradients<T> layer{gy.array.as<T>(),   s.hidden,          y.array.as<T>(),    kept.array.as<T>(),
                             h.array.as<T>(),    c.array.as<T>(),   w.array.as<T>(),    of_x.array.as<T>(),
                             of_h.array.as<T>(), of_c.array.as<T>(), of_w.array.as<T>(),
                             products ? products.array.as<T>() : of_x.array.as<T>()};
    dispatch_mode(mode, [&](auto constant) { run_backward<constant.value, T>(s, layer); });
  });
  return c ? results(of_x, of_h, of_c, of_w) : results(of_x, of_h, of_w);
}

}  // namespace

void bind_recurrent(nb::module_& module) {
  define_kernel(module, "recurrent_layer", &recurrent_layer, nb::arg("x"), nb::arg("h"), nb::arg("c").none(),
                nb::arg("w"), nb::arg("bias").none(), nb::arg("mode"), nb::arg("sizes"), nb::arg("reverse"),
                nb::arg("keep"));
  define_kernel(module, "recurrent_layer_gradient", &recurrent_layer_gradient, nb::arg("gy").none(),
                nb::arg("gh").none(), nb::arg("gc").none(), nb::arg("gkept").none(), nb::arg("y"),
                nb::arg("kept").none(), nb::arg("h"), nb::arg("c").none(), nb::arg("w"), nb::arg("mode"),
                nb::arg("sizes"), nb::arg("reverse"));
}

}  // namespace rushlight
