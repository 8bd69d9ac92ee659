// The gradient of all steps of a layer: back through the steps, and products over all of them for the weights.
#include <algorithm>

#include "gemm.h"
#include "recurrent_cells.h"
#include "recurrent_steps.h"

namespace rushlight::recurrent {

namespace {

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
    const int64_t blocks = divide_up(wide_, Packed::width);
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

}  // namespace

template <class T>
void run_back(Mode mode, const Sequence& sequence, const Gradients<T>& layer) {
  dispatch_mode(mode, [&](auto constant) { BackwardPass<constant.value, T>(sequence, layer).run(); });
}
template void run_back<float>(Mode, const Sequence&, const Gradients<float>&);
template void run_back<double>(Mode, const Sequence&, const Gradients<double>&);

}  // namespace rushlight::recurrent
