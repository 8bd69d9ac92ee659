// A layer of a recurrent network in one direction: all steps of a sequence, and their gradient.
//
// A step is a product of the state with weights that stay the same, and arithmetic on what comes of it. The weights are
// packed once, block by block of hidden units, so that the products of all gates of a block end in the L1 cache, where
// the arithmetic follows at once. The gradient has the same form: the gradients of the gates of one step, times the
// weights the other way round, give that of the state before. Everything else is products over some hundred rows at a
// time, few enough to be found in the L2 cache by the steps: the projection of the input before them, the gradients of
// the weights after them.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

namespace rushlight::recurrent {

enum class Mode { rnn_tanh, rnn_relu, lstm, gru };

constexpr int gates_of(Mode mode) { return mode == Mode::lstm ? 4 : mode == Mode::gru ? 3 : 1; }
// Numbers that every unit keeps of a step for the gradient: i, f, g, o and c of an LSTM; r, z, n and the hidden part of
// n of a GRU; none of others.
constexpr int kept_of(Mode mode) { return mode == Mode::lstm ? 5 : mode == Mode::gru ? 4 : 0; }

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

template <class T>
struct Layer {
  int64_t features;
  const T *x, *h, *weight_ih, *weight_hh, *bias_ih, *bias_hh;  // the biases may be null
  T *y, *cell, *kept;                                          // cell: before the first step; kept may be null
};

template <class T>
struct Gradients {
  int64_t features;
  const T *gy, *y, *kept, *x, *h, *c, *weight_hh;     // gy may be null
  T *inputs, *gh, *gc, *of_weight_ih, *of_weight_hh;  // gh and gc: of the last states, then of the first
};

template <class T>
void run(Mode mode, const Sequence& sequence, const Layer<T>& layer);
template <class T>
void run_back(Mode mode, const Sequence& sequence, const Gradients<T>& layer);

}  // namespace rushlight::recurrent
