// One step of a recurrent cell and its gradient, for some hidden units of one row, a vector of them at a time.
#pragma once

#include <algorithm>

#include "vector_math.h"

namespace rushlight::recurrent {

enum class Mode { rnn_tanh, rnn_relu, lstm, gru };

constexpr int gates_of(Mode mode) { return mode == Mode::lstm ? 4 : mode == Mode::gru ? 3 : 1; }
// Numbers that every unit keeps of a step for the gradient: i, f, g, o and c of an LSTM; r, z, n and the hidden part of
// n of a GRU; none of others.
constexpr int kept_of(Mode mode) { return mode == Mode::lstm ? 5 : mode == Mode::gru ? 4 : 0; }

template <class T>
inline Vec<T> take(const T* from, int64_t count) {
  return count >= lanes<T> ? load(from) : load_partial(from, count);
}
template <class T>
inline void put(T* to, Vec<T> value, int64_t count) {
  if (count >= lanes<T>) {
    store(to, value);
  } else {
    store_partial(to, value, count);
  }
}

// All pointers stand at the first of the units. Gates lie `hidden` apart, in sums `sum_stride`.
template <class T>
struct Forward {
  const T* x;     // the projected input
  const T* sums;  // the projected state before the step, with its bias
  int64_t sum_stride;
  const T* h;  // the state before the step
  T* cell;     // the cell of an LSTM before and after the step
  T* y;
  T* kept;  // may be null
};

template <Mode mode, class T>
inline void advance(const Forward<T>& at, int64_t units, int64_t hidden) {
  for (int64_t j = 0; j < units; j += lanes<T>) {
    const int64_t count = units - j;
    const auto input = [&](int gate) { return take(at.x + gate * hidden + j, count); };
    const auto state = [&](int gate) { return take(at.sums + gate * at.sum_stride + j, count); };
    const auto keep = [&](int place, Vec<T> value) {
      if (at.kept != nullptr) put(at.kept + place * hidden + j, value, count);
    };
    if constexpr (mode == Mode::lstm) {
      const Vec<T> i = sigmoid(Vec<T>(input(0) + state(0))), f = sigmoid(Vec<T>(input(1) + state(1)));
      const Vec<T> g = tanh(Vec<T>(input(2) + state(2))), o = sigmoid(Vec<T>(input(3) + state(3)));
      const Vec<T> c = f * take(at.cell + j, count) + i * g;
      put(at.cell + j, c, count);
      put(at.y + j, Vec<T>(o * tanh(c)), count);
      keep(0, i), keep(1, f), keep(2, g), keep(3, o), keep(4, c);
    } else if constexpr (mode == Mode::gru) {
      const Vec<T> r = sigmoid(Vec<T>(input(0) + state(0))), z = sigmoid(Vec<T>(input(1) + state(1)));
      const Vec<T> s = state(2), n = tanh(Vec<T>(input(2) + r * s));
      put(at.y + j, Vec<T>(n + z * (take(at.h + j, count) - n)), count);
      keep(0, r), keep(1, z), keep(2, n), keep(3, s);
    } else {
      const Vec<T> sum = input(0) + state(0);
      put(at.y + j, mode == Mode::rnn_tanh ? tanh(sum) : maximum(sum, Vec<T>{}), count);
    }
  }
}

// The gradients of a step, all pointers at the first of the units.
template <class T>
struct Backward {
  const T* gy;         // with respect to the result of the step; may be null
  const T* sums;       // from the later steps through the product with the weights; null where there are none
  const T *y, *kept;   // of the step
  const T *h, *cell;   // before the step
  T *gh, *gcell;       // in: with respect to the state after the step; out: what of it goes past the product
  T *gx, *products;    // with respect to the projected input and to the projected state, which are one but in a GRU
};

template <Mode mode, class T>
inline void retreat(const Backward<T>& at, int64_t units, int64_t hidden) {
  for (int64_t j = 0; j < units; j += lanes<T>) {
    const int64_t count = units - j;
    const auto kept = [&](int place) { return take(at.kept + place * hidden + j, count); };
    const auto give = [&](int gate, Vec<T> value) { put(at.gx + gate * hidden + j, value, count); };
    Vec<T> g = at.sums == nullptr || mode == Mode::gru ? take(at.gh + j, count) : Vec<T>{};
    if (at.sums != nullptr) g += take(at.sums + j, count);
    if (at.gy != nullptr) g += take(at.gy + j, count);
    if constexpr (mode == Mode::lstm) {
      const Vec<T> i = kept(0), f = kept(1), candidate = kept(2), o = kept(3), c = tanh(kept(4));
      const Vec<T> gc = take(at.gcell + j, count) + g * o * (1 - c * c);
      give(0, gc * candidate * i * (1 - i));
      give(1, gc * take(at.cell + j, count) * f * (1 - f));
      give(2, gc * i * (1 - candidate * candidate));
      give(3, g * c * o * (1 - o));
      put(at.gcell + j, Vec<T>(gc * f), count);
    } else if constexpr (mode == Mode::gru) {
      const Vec<T> r = kept(0), z = kept(1), n = kept(2), s = kept(3);
      const Vec<T> gn = g * (1 - z) * (1 - n * n), gr = gn * s * r * (1 - r);
      const Vec<T> gz = g * (take(at.h + j, count) - n) * z * (1 - z);
      give(0, gr), give(1, gz), give(2, gn);
      put(at.products + j, gr, count);
      put(at.products + hidden + j, gz, count);
      put(at.products + 2 * hidden + j, Vec<T>(gn * r), count);
      put(at.gh + j, Vec<T>(g * z), count);
    } else {
      const Vec<T> y = take(at.y + j, count);
      give(0, mode == Mode::rnn_tanh ? g * (1 - y * y) : select(y > 0, g, T(0)));
    }
  }
}

}  // namespace rushlight::recurrent
