// All steps of a layer, forward.
#include <algorithm>

#include "gemm.h"
#include "recurrent_cells.h"
#include "recurrent_steps.h"

namespace rushlight::recurrent {

namespace {

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
    parallel_for(
        panels.blocks(), grain_of(stretch_.rows * Packed::width * layer_.features), [&](int64_t block, int64_t last) {
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

}  // namespace

template <class T>
void run(Mode mode, const Sequence& sequence, const Layer<T>& layer) {
  dispatch_mode(mode, [&](auto constant) { ForwardPass<constant.value, T>(sequence, layer).run(); });
}
template void run<float>(Mode, const Sequence&, const Layer<float>&);
template void run<double>(Mode, const Sequence&, const Layer<double>&);

}  // namespace rushlight::recurrent
