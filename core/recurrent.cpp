// A layer of a recurrent network in one direction: all steps of a sequence, and their gradient.
//
// A step is a product of the state with weights that stay the same, and arithmetic on what comes of it. The weights are
// packed once, block by block of hidden units, so that the products of all gates of a block end in the L1 cache, where
// the arithmetic follows at once. The gradient has the same form: the gradients of the gates of one step, times the
// weights the other way round, give that of the state before. Everything else is products over some hundred rows at a
// time, few enough to be found in the L2 cache by the steps: the projection of the input before them, the gradients of
// the weights after them.
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

constexpr int64_t stretch_rows = 256;           // rows whose projections are computed at once
constexpr int64_t block_work = 32 * 1024;       // multiply-adds of a step that are worth handing to another thread
constexpr int64_t step_work = 4 * 1024 * 1024;  // from here on the units of one step are shared out, not the rows
constexpr int64_t own_weights = 1024 * 1024;    // bytes of weights that every thread may go through for itself
constexpr int64_t serial_numbers = 16 * 1024;   // of simple work on one thread

// The rows of all steps lie one after the other. A step has no more of them than the one before it in time: sequences
// that have ended are missing from the end.
struct Sequence {
  std::vector<int64_t> sizes, first;  // rows of each step, and where they begin
  int64_t steps, batch, rows = 0, hidden;
  bool reverse;

  Sequence(const std::vector<int64_t>& given, int64_t hidden, bool reverse)
      : sizes(given), steps(static_cast<int64_t>(given.size())), batch(given[0]), hidden(hidden), reverse(reverse) {
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

// Some steps, in the order of a pass through the sequence or back, and their rows.
struct Stretch {
  const Sequence& s;
  bool backward;
  int64_t begin = 0, end = 0, row = 0, rows = 0;

  // The step that comes at this place, and the other way round.
  int64_t at(int64_t place) const { return s.reverse != backward ? s.steps - 1 - place : place; }
  int64_t most_steps() const { return std::max<int64_t>(1, stretch_rows / std::max<int64_t>(s.batch, 1)); }
  int64_t most_rows() const { return std::min(s.rows, most_steps() * s.batch); }

  bool next() {
    begin = end;
    end = std::min(begin + most_steps(), s.steps);
    if (begin == end) return false;
    const auto [low, high] = std::minmax({at(begin), at(end - 1)});
    row = s.first[low];
    rows = s.first[high] + s.sizes[high] - row;
    return true;
  }
};

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_sums = 24;  // vectors of sums that fit the registers beside their factors
#else
constexpr int most_sums = 12;
#endif

// The weights as a matrix (depth, gates * hidden), packed block by block of hidden units: for each of the depth, the
// columns of all gates of these units.
template <class T, int gates>
class Panels {
  static constexpr int vectors = gates == 1 ? 4 : gates;  // across a block
  static constexpr int tile = most_sums >= 6 * vectors ? vectors : vectors % 2 == 0 ? 2 : vectors;

 public:
  static constexpr int64_t width = vectors * lanes<T>, units = width / gates;
  static constexpr int64_t rows = most_sums / tile;

  Panels(Matrix<T> weights, int64_t depth, int64_t hidden, const T* bias)
      : depth_(depth), blocks_((hidden + units - 1) / units), packed_(depth * blocks_ * width), bias_(blocks_ * width) {
    parallel_for(blocks_, std::max<int64_t>(1, serial_numbers / (depth * width)), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t unit = block * units, used = std::min(units, hidden - unit);
        T *panel = packed_.get() + block * depth * width, *panel_bias = bias_.get() + block * width;
        if (used < units) std::fill_n(panel, depth * width, T(0));
        std::fill_n(panel_bias, width, T(0));
        for (int64_t gate = 0; gate < gates; ++gate) {
          pack(weights, gate * hidden + unit, used, panel + gate * units);
          if (bias != nullptr) std::copy_n(bias + gate * hidden + unit, used, panel_bias + gate * units);
        }
      }
    });
  }

  int64_t blocks() const { return blocks_; }

  // sums (count, width) of a block, of no more than `rows` rows wherever they lie.
  void multiply(int count, const T* const* row, int64_t block, T* sums, Store mode = Store::overwrite) const {
    const T *panel = packed_.get() + block * depth_ * width, *bias = bias_.get() + block * width;
    if (count == 1) {
      return multiply_tile<1, vectors>(depth_, row, Strided{1}, panel, width, sums, width, mode, bias);
    }
    for (int64_t j = 0; j < width; j += tile * lanes<T>) {
      multiply_rows<tile, T, Strided, rows>(count, depth_, row, Strided{1}, panel + j, width, sums + j, width, mode,
                                            bias + j);
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
};

// How many blocks of `work` multiply-adds to give to a thread at once.
int64_t grain_of(int64_t work) { return (block_work + work) / std::max<int64_t>(work, 1); }

// Cuts [begin, end) into parts of about equal size, none above `most`.
template <class Work>
void for_even_parts(int64_t begin, int64_t end, int64_t most, Work&& work) {
  const int64_t count = end - begin, parts = (count + most - 1) / most;
  for (int64_t i = 0; i < parts; ++i) work(begin + count * i / parts, begin + count * (i + 1) / parts);
}

// work(step, first row, last row, first block, last block) for all steps of a stretch. Where rows are many and the
// weights few, threads take rows through all steps; else they share the units of each step.
template <class T, class Packed, class Work>
void for_each_step(const Stretch& stretch, const Packed& panels, int64_t depth, Work&& work) {
  const Sequence& s = stretch.s;
  const int64_t weights = panels.blocks() * Packed::width * depth, parts = (s.batch + Packed::rows - 1) / Packed::rows;
  if (parts > 1 && s.batch * weights < step_work && weights * static_cast<int64_t>(sizeof(T)) <= own_weights) {
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t place = stretch.begin; place < stretch.end; ++place) {
        const int64_t step = stretch.at(place), size = s.sizes[step];
        work(step, std::min(s.batch * begin / parts, size), std::min(s.batch * end / parts, size), int64_t{0},
             panels.blocks());
      }
    });
    return;
  }
  for (int64_t place = stretch.begin; place < stretch.end; ++place) {
    const int64_t step = stretch.at(place), work_of_block = std::max<int64_t>(1, s.sizes[step] * Packed::width * depth);
    parallel_for(panels.blocks(), (block_work + work_of_block - 1) / work_of_block,
                 [&](int64_t begin, int64_t end) { work(step, int64_t{0}, s.sizes[step], begin, end); });
  }
}

// ---- forward -------------------------------------------------------------------------------------------------------

template <class T>
struct Layer {
  int64_t features;
  const T *x, *h, *weight_ih, *weight_hh, *bias_ih, *bias_hh;  // the biases may be null
  T *y, *cell, *kept;                                          // cell: before the first step; kept may be null
};

template <Mode mode, class T>
class ForwardPass {
  static constexpr int gates = gates_of(mode);
  using Packed = Panels<T, gates>;

 public:
  ForwardPass(const Sequence& s, const Layer<T>& layer)
      : s_(s),
        layer_(layer),
        hidden_(s.hidden),
        wide_(gates * s.hidden),
        stretch_{s, false},
        aside_(kept_of(mode) > 0 && layer.kept == nullptr ? stretch_.most_rows() * wide_ : 0) {}

  void run() {
    if (s_.steps == 1) return run_alone();
    const Packed of_input({layer_.weight_ih, 1, layer_.features}, layer_.features, hidden_, layer_.bias_ih);
    const Packed panels({layer_.weight_hh, 1, hidden_}, hidden_, hidden_, layer_.bias_hh);
    while (stretch_.next()) {
      project(of_input);
      for_each_step<T>(stretch_, panels, hidden_,
                       [&](int64_t step, int64_t begin, int64_t end, int64_t block, int64_t last) {
                         for (; block < last; ++block) advance_block(panels, step, begin, end, block);
                       });
    }
  }

 private:
  // The projections of the input go where results will take their places.
  int64_t input_stride() const {
    return kept_of(mode) == 0 ? hidden_ : layer_.kept != nullptr ? kept_of(mode) * hidden_ : wide_;
  }
  T* inputs(int64_t at) const {
    if (kept_of(mode) == 0) return layer_.y + at * hidden_;
    return layer_.kept != nullptr ? layer_.kept + at * input_stride() : aside_.get() + (at - stretch_.row) * wide_;
  }

  // Of all rows of the stretch.
  void project(const Packed& panels) {
    const int64_t block_work_here = std::max<int64_t>(1, stretch_.rows * Packed::width * layer_.features);
    parallel_for(
        panels.blocks(), (block_work + block_work_here - 1) / block_work_here, [&](int64_t block, int64_t last) {
          alignas(64) T sums[Packed::rows * Packed::width];
          const T* rows[Packed::rows];
          for (; block < last; ++block) {
            const int64_t unit = block * Packed::units, units = std::min(Packed::units, hidden_ - unit);
            for_even_parts(stretch_.row, stretch_.row + stretch_.rows, Packed::rows, [&](int64_t from, int64_t to) {
              for (int64_t at = from; at < to; ++at) {
                rows[at - from] = layer_.x + at * layer_.features;
                for (int gate = 0; gate < gates; ++gate) __builtin_prefetch(inputs(at) + gate * hidden_ + unit, 1);
              }
              panels.multiply(static_cast<int>(to - from), rows, block, sums);
              for (int64_t i = 0; i < (to - from) * gates; ++i) {
                T* target = inputs(from + i / gates) + i % gates * hidden_ + unit;
                for_units<T>(units,
                             [&](int64_t j, auto part) { part.put(target + j, load(sums + i * Packed::units + j)); });
              }
            });
          }
        });
  }

  const T* state(int64_t step, int64_t row) const { return s_.state(step, row, layer_.y, hidden_, layer_.h); }

  void advance_row(int64_t step, int64_t row, const T* sums, int64_t sum_stride, int64_t unit, int64_t units) {
    const int64_t at = s_.first[step] + row;
    Advance<T> place{};
    place.inputs = inputs(at) + unit;
    place.sums = sums;
    place.sum_stride = sum_stride;
    place.h = state(step, row) + unit;
    place.y = layer_.y + at * hidden_ + unit;
    if (mode == Mode::lstm) place.cell = layer_.cell + row * hidden_ + unit;
    if (layer_.kept != nullptr) place.kept = layer_.kept + at * kept_of(mode) * hidden_ + unit;
    advance<mode>(place, units, hidden_);
  }

  void advance_block(const Packed& panels, int64_t step, int64_t begin, int64_t end, int64_t block) {
    alignas(64) T sums[Packed::rows * Packed::width];
    const T* rows[Packed::rows];
    const int64_t unit = block * Packed::units, units = std::min(Packed::units, hidden_ - unit);
    for_even_parts(begin, end, Packed::rows, [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; ++row) rows[row - from] = state(step, row);
      panels.multiply(static_cast<int>(to - from), rows, block, sums);
      for (int64_t row = from; row < to; ++row) {
        advance_row(step, row, sums + (row - from) * Packed::width, Packed::units, unit, units);
      }
    });
  }

  // A single step, for which it doesn't pay to pack the weights.
  void run_alone() {
    stretch_.next();
    Scratch<T> sums(s_.batch * wide_);
    const auto product = [&](const T* x, int64_t features, const T* weight, const T* bias, T* c, int64_t stride) {
      multiply(Product<T>{s_.batch, wide_, features, {x, features, 1}, {weight, 1, features}, c, stride, 1, bias});
    };
    product(layer_.x, layer_.features, layer_.weight_ih, layer_.bias_ih, inputs(0), input_stride());
    product(layer_.h, hidden_, layer_.weight_hh, layer_.bias_hh, sums.get(), wide_);
    parallel_for(s_.batch, serial_numbers / wide_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) advance_row(0, row, sums.get() + row * wide_, hidden_, 0, hidden_);
    });
  }

  const Sequence& s_;
  const Layer<T>& layer_;
  const int64_t hidden_, wide_;
  Stretch stretch_;
  Scratch<T> aside_;
};

// ---- backward ------------------------------------------------------------------------------------------------------

template <class T>
struct Gradients {
  int64_t features;
  const T *gy, *y, *kept, *x, *h, *c, *weight_hh;     // gy may be null
  T *inputs, *gh, *gc, *of_weight_ih, *of_weight_hh;  // gh and gc: of the last states, then of the first
};

template <Mode mode, class T>
class BackwardPass {
  static constexpr int gates = gates_of(mode), kept = kept_of(mode);
  using Packed = Panels<T, 1>;

 public:
  BackwardPass(const Sequence& s, const Gradients<T>& layer)
      : s_(s),
        layer_(layer),
        hidden_(s.hidden),
        wide_(gates * s.hidden),
        stretch_{s, true},
        aside_(mode == Mode::gru ? stretch_.most_rows() * wide_ : 0),
        carried_(mode == Mode::gru ? s.batch * wide_ : 0),
        turned_(columns() * turned_stride()),
        sums_((wide_ + Packed::width) * columns()),
        starts_(s.batch * wide_) {}

  void run() {
    if (s_.steps == 1) return run_alone();
    const Packed panels({layer_.weight_hh, hidden_, 1}, wide_, hidden_, nullptr);
    while (stretch_.next()) {
      for_each_step<T>(stretch_, panels, wide_,
                       [&](int64_t step, int64_t begin, int64_t end, int64_t block, int64_t last) {
                         for (; block < last; ++block) retreat_block(panels, step, begin, end, block);
                       });
      finish_stretch();
    }
    turn_sums();
    multiply_initial(starts_.get());
  }

 private:
  // The gradient with respect to the projected state of a row of this stretch.
  T* products(int64_t at) const {
    return mode == Mode::gru ? aside_.get() + (at - stretch_.row) * wide_ : layer_.inputs + at * wide_;
  }
  // That of the step after this one.
  const T* products_after(int64_t step, int64_t row) const {
    const int64_t after = s_.after(step);
    if (mode == Mode::gru && stretch_.at(after) < stretch_.begin) return carried_.get() + row * wide_;
    return products(s_.first[after] + row);
  }

  void retreat_row(int64_t step, int64_t row, const T* sums, int64_t unit, int64_t units) {
    const int64_t at = s_.first[step] + row, in_state = row * hidden_ + unit;
    Retreat<T> place{};
    if (layer_.gy != nullptr) place.gy = layer_.gy + at * hidden_ + unit;
    place.sums = sums;
    place.y = layer_.y + at * hidden_ + unit;
    place.h = s_.state(step, row, layer_.y, hidden_, layer_.h) + unit;
    place.gh = layer_.gh + in_state;
    place.inputs = layer_.inputs + at * wide_ + unit;
    if (kept > 0) place.kept = layer_.kept + at * kept * hidden_ + unit;
    if (mode == Mode::lstm) {
      place.cell = s_.state(step, row, layer_.kept + 4 * hidden_, kept * hidden_, layer_.c) + unit;
      place.gcell = layer_.gc + in_state;
    }
    if (mode == Mode::gru) place.products = products(at) + unit;
    retreat<mode>(place, units, hidden_);
  }

  void retreat_block(const Packed& panels, int64_t step, int64_t begin, int64_t end, int64_t block) {
    alignas(64) T sums[Packed::rows * Packed::width];
    const T* rows[Packed::rows];
    const int64_t unit = block * Packed::units, units = std::min(Packed::units, hidden_ - unit);
    for_even_parts(begin, end, Packed::rows, [&](int64_t from, int64_t to) {
      int known = 0;  // rows that go on after this step
      for (int64_t row = from; row < to && s_.has(s_.after(step), row); ++row)
        rows[known++] = products_after(step, row);
      if (known > 0) panels.multiply(known, rows, block, sums);
      for (int64_t row = from; row < to; ++row) {
        retreat_row(step, row, row - from < known ? sums + (row - from) * Packed::width : nullptr, unit, units);
      }
    });
  }

  // Adds what the weights get from the stretch, transposed: (hidden + features, wide).
  void finish_stretch() {
    const int64_t grain = std::max<int64_t>(1, serial_numbers / std::max<int64_t>(s_.batch * hidden_, 1));
    parallel_for(stretch_.end - stretch_.begin, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) turn_step(stretch_.at(stretch_.begin + i));
    });
    if (mode != Mode::gru) return add_products(layer_.inputs + stretch_.row * wide_, 0, columns());
    add_products(products(stretch_.row), 0, hidden_);
    add_products(layer_.inputs + stretch_.row * wide_, hidden_, columns());
    const int64_t last = stretch_.at(stretch_.end - 1);
    std::copy_n(products(s_.first[last]), s_.sizes[last] * wide_, carried_.get());
  }

  // The gradients of the gates, times the columns [first, last) that were turned.
  void add_products(const T* gates, int64_t first, int64_t last) {
    const Packed panels({gates, wide_, 1}, stretch_.rows, wide_, nullptr);
    const Store store = stretch_.begin > 0 ? Store::accumulate : Store::overwrite;
    parallel_for(panels.blocks(), grain_of(stretch_.rows * (last - first) * Packed::width),
                 [&](int64_t block, int64_t end) {
                   const T* rows[Packed::rows];
                   for (; block < end; ++block) {
                     for_even_parts(first, last, Packed::rows, [&](int64_t from, int64_t to) {
                       for (int64_t i = from; i < to; ++i) rows[i - from] = turned_.get() + i * turned_stride();
                       panels.multiply(static_cast<int>(to - from), rows, block,
                                       sums_.get() + (block * columns() + from) * Packed::width, store);
                     });
                   }
                 });
  }

  int64_t columns() const { return hidden_ + layer_.features; }
  // No power of two, which would bring many rows to the same place in the cache.
  int64_t turned_stride() const { return (stretch_.most_rows() + 31) / 32 * 32 + 16; }

  // The states before a step and its inputs become columns.
  void turn_step(int64_t step) {
    const int64_t size = s_.sizes[step], from = s_.first[step], before = s_.before(step);
    const int64_t known = before >= 0 && before < s_.steps ? std::min(size, s_.sizes[before]) : 0;
    T* to = turned_.get() + from - stretch_.row;
    if (known > 0) transpose(layer_.y + s_.first[before] * hidden_, hidden_, known, hidden_, to, turned_stride());
    transpose(layer_.h + known * hidden_, hidden_, size - known, hidden_, to + known, turned_stride());
    transpose(layer_.x + from * layer_.features, layer_.features, size, layer_.features, to + hidden_ * turned_stride(),
              turned_stride());
    std::copy_n(products(from + known), (size - known) * wide_, starts_.get() + known * wide_);
  }

  void turn_sums() {
    const int64_t blocks = (wide_ + Packed::width - 1) / Packed::width;
    parallel_for(blocks, serial_numbers / (columns() * Packed::width) + 1, [&](int64_t block, int64_t end) {
      for (; block < end; ++block) {
        const T* sums = sums_.get() + block * columns() * Packed::width;
        const int64_t gate = block * Packed::width, count = std::min(Packed::width, wide_ - gate);
        transpose(sums, Packed::width, hidden_, count, layer_.of_weight_hh + gate * hidden_, hidden_);
        transpose(sums + hidden_ * Packed::width, Packed::width, layer_.features, count,
                  layer_.of_weight_ih + gate * layer_.features, layer_.features);
      }
    });
  }

  void run_alone() {
    stretch_.next();
    parallel_for(s_.batch, serial_numbers / wide_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) retreat_row(0, row, nullptr, 0, hidden_);
    });
    const auto product = [&](const T* gates, const T* x, int64_t features, T* of_weight) {
      multiply(Product<T>{wide_, features, s_.batch, {gates, 1, wide_}, {x, features, 1}, of_weight, features, 1});
    };
    product(products(0), layer_.h, hidden_, layer_.of_weight_hh);
    product(layer_.inputs, layer_.x, layer_.features, layer_.of_weight_ih);
    multiply_initial(products(0));
  }

  // The gradient of the initial state, from those of the products that it went into.
  void multiply_initial(const T* first_products) {
    Product<T> initial{s_.batch,  hidden_, wide_, {first_products, wide_, 1}, {layer_.weight_hh, hidden_, 1},
                       layer_.gh, hidden_, 1};
    initial.accumulate = mode == Mode::gru;
    multiply(initial);
  }

  const Sequence& s_;
  const Gradients<T>& layer_;
  const int64_t hidden_, wide_;
  Stretch stretch_;
  Scratch<T> aside_, carried_, turned_, sums_, starts_;
};

// ---- bindings ------------------------------------------------------------------------------------------------------

Mode mode_named(const std::string& name) {
  if (name == "RNN_TANH") return Mode::rnn_tanh;
  if (name == "RNN_RELU") return Mode::rnn_relu;
  if (name == "LSTM") return Mode::lstm;
  if (name == "GRU") return Mode::gru;
  throw nb::value_error("recurrent_layer: no mode of this name");
}

// body(constant), a type with the mode for its value.
template <class Body>
void dispatch_mode(Mode mode, Body&& body) {
  switch (mode) {
    case Mode::rnn_tanh: return body(std::integral_constant<Mode, Mode::rnn_tanh>());
    case Mode::rnn_relu: return body(std::integral_constant<Mode, Mode::rnn_relu>());
    case Mode::lstm: return body(std::integral_constant<Mode, Mode::lstm>());
    case Mode::gru: return body(std::integral_constant<Mode, Mode::gru>());
  }
}

// Operands of one dtype and of shapes that go with one another; the shape rule has seen them already.
class Operands {
 public:
  const Mode mode;
  const DType dtype;

  Operands(const std::string& name, const std::vector<int64_t>& sizes, nb::handle weights)
      : mode(mode_named(name)), dtype(borrow(weights).dtype) {
    if (sizes.empty() || sizes.back() < 0 || !std::ranges::is_sorted(sizes, std::greater())) misfit();
    if (borrow(weights).dimensions != 2 || borrow(weights).shape[1] == 0) misfit();
  }

  // `given` as a contiguous array of this shape, or nothing where it is None.
  WorkArray take(nb::handle given, std::initializer_list<int64_t> shape) {
    if (given.is_none()) return {};
    WorkArray array = contiguous(given);
    if (!std::ranges::equal(shape, shape_of(array.array))) misfit();
    same_ = same_ && array.array.dtype == dtype;
    return array;
  }

  bool known() const { return same_ && (dtype == DType::float32 || dtype == DType::float64); }
  [[noreturn]] static void misfit() { throw nb::value_error("recurrent_layer: the operands don't fit"); }

 private:
  bool same_ = true;
};

nb::object recurrent_layer(nb::handle given_x, nb::handle given_h, nb::handle given_c, nb::handle given_weight_ih,
                           nb::handle given_weight_hh, nb::handle given_bias_ih, nb::handle given_bias_hh,
                           const std::string& mode_name, const std::vector<int64_t>& sizes, bool reverse, bool keep) {
  Operands operands(mode_name, sizes, given_weight_hh);
  const Mode mode = operands.mode;
  const Sequence s(sizes, borrow(given_weight_hh).shape[1], reverse);
  const int64_t wide = gates_of(mode) * s.hidden, kept_width = keep ? kept_of(mode) * s.hidden : 0;
  const Array x_array = borrow(given_x);
  const int64_t features = x_array.dimensions == 2 ? x_array.shape[1] : -1;
  const WorkArray x = operands.take(given_x, {s.rows, features}), h = operands.take(given_h, {s.batch, s.hidden});
  const WorkArray c = operands.take(given_c, {s.batch, s.hidden});
  const WorkArray weight_ih = operands.take(given_weight_ih, {wide, features});
  const WorkArray weight_hh = operands.take(given_weight_hh, {wide, s.hidden});
  const WorkArray bias_ih = operands.take(given_bias_ih, {wide}), bias_hh = operands.take(given_bias_hh, {wide});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm)) Operands::misfit();
  const NewArray y = result(operands.dtype, {s.rows, s.hidden}), last = result(operands.dtype, {s.batch, s.hidden});
  const NewArray cell = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray kept = kept_width > 0 ? result(operands.dtype, {s.rows, kept_width}) : NewArray();
  dispatch_wide(operands.dtype, [&](auto tag) {
    using T = decltype(tag);
    Unlocked unlocked;
    if (c) std::copy_n(c.array.as<T>(), s.batch * s.hidden, cell.array.as<T>());
    const Layer<T> layer{features,
                         x.array.as<T>(),
                         h.array.as<T>(),
                         weight_ih.array.as<T>(),
                         weight_hh.array.as<T>(),
                         bias_ih.array.as<T>(),
                         bias_hh.array.as<T>(),
                         y.array.as<T>(),
                         cell.array.as<T>(),
                         kept.array.as<T>()};
    dispatch_mode(mode, [&](auto constant) { ForwardPass<constant.value, T>(s, layer).run(); });
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
                                    nb::handle given_x, nb::handle given_h, nb::handle given_c,
                                    nb::handle given_weight_hh, const std::string& mode_name,
                                    const std::vector<int64_t>& sizes, bool reverse) {
  Operands operands(mode_name, sizes, given_weight_hh);
  if (!given_gkept.is_none()) return not_implemented();
  const Mode mode = operands.mode;
  const Sequence s(sizes, borrow(given_weight_hh).shape[1], reverse);
  const int64_t wide = gates_of(mode) * s.hidden;
  const Array x_array = borrow(given_x);
  const int64_t features = x_array.dimensions == 2 ? x_array.shape[1] : -1;
  const WorkArray gy = operands.take(given_gy, {s.rows, s.hidden}), y = operands.take(given_y, {s.rows, s.hidden});
  const WorkArray gh = operands.take(given_gh, {s.batch, s.hidden}), gc = operands.take(given_gc, {s.batch, s.hidden});
  const WorkArray kept = operands.take(given_kept, {s.rows, kept_of(mode) * s.hidden});
  const WorkArray x = operands.take(given_x, {s.rows, features}), h = operands.take(given_h, {s.batch, s.hidden});
  const WorkArray c = operands.take(given_c, {s.batch, s.hidden});
  const WorkArray weight_hh = operands.take(given_weight_hh, {wide, s.hidden});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm) || static_cast<bool>(kept) != (kept_of(mode) > 0)) {
    Operands::misfit();
  }
  const NewArray inputs = result(operands.dtype, {s.rows, wide}), of_h = result(operands.dtype, {s.batch, s.hidden});
  const NewArray of_c = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray of_weight_ih = result(operands.dtype, {wide, features});
  const NewArray of_weight_hh = result(operands.dtype, {wide, s.hidden});
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
    const Gradients<T> layer{features,
                             gy.array.as<T>(),
                             y.array.as<T>(),
                             kept.array.as<T>(),
                             x.array.as<T>(),
                             h.array.as<T>(),
                             c.array.as<T>(),
                             weight_hh.array.as<T>(),
                             inputs.array.as<T>(),
                             of_h.array.as<T>(),
                             of_c.array.as<T>(),
                             of_weight_ih.array.as<T>(),
                             of_weight_hh.array.as<T>()};
    dispatch_mode(mode, [&](auto constant) { BackwardPass<constant.value, T>(s, layer).run(); });
  });
  return c ? results(inputs, of_h, of_c, of_weight_ih, of_weight_hh)
           : results(inputs, of_h, of_weight_ih, of_weight_hh);
}

}  // namespace

void bind_recurrent(nb::module_& module) {
  define_kernel(module, "recurrent_layer", &recurrent_layer, nb::arg("x"), nb::arg("h"), nb::arg("c").none(),
                nb::arg("weight_ih"), nb::arg("weight_hh"), nb::arg("bias_ih").none(), nb::arg("bias_hh").none(),
                nb::arg("mode"), nb::arg("sizes"), nb::arg("reverse"), nb::arg("keep"));
  define_kernel(module, "recurrent_layer_gradient", &recurrent_layer_gradient, nb::arg("gy").none(),
                nb::arg("gh").none(), nb::arg("gc").none(), nb::arg("gkept").none(), nb::arg("y"),
                nb::arg("kept").none(), nb::arg("x"), nb::arg("h"), nb::arg("c").none(), nb::arg("weight_hh"),
                nb::arg("mode"), nb::arg("sizes"), nb::arg("reverse"));
}

}  // namespace rushlight
