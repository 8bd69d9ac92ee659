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

// sigmoid and tanh in two halves, so that those of one unit share a division: first of all decays, e^-|x| and e^-2|x|,
// then what 1 + decay has for its inverse makes the value.
template <class V>
inline V decay_of_sigmoid(V x) {
  return exp_of_weight(V(-absolute(x)));
}
template <class V>
inline V sigmoid_of(V x, V decay, V inverse) {
  return select(x < 0, V(decay * inverse), inverse);
}
template <class V>
inline V decay_of_tanh(V x) {
  if constexpr (sizeof(Lane<V>) == 8) return V{};
  return exp_of_weight(V(-2 * absolute(x)));
}
template <class V>
inline V tanh_of(V x, V decay, V inverse) {
  if constexpr (sizeof(Lane<V>) == 8) return tanh(x);  // this way it would be right to seven digits of small numbers
  return select(absolute(x) < Lane<V>(0.625), tanh_of_small(x), copysign(V((1 - decay) * inverse), x));
}
// 1 / (1 + decay) of all, by one division.
template <class V, size_t count>
inline void invert(const V (&decays)[count], V (&inverses)[count]) {
  V product = 1 + decays[0];
  for (size_t i = 1; i < count; ++i) {
    inverses[i] = product;
    product *= 1 + decays[i];
  }
  V inverse = 1 / product;
  for (size_t i = count - 1; i > 0; --i) {
    inverses[i] *= inverse;
    inverse *= 1 + decays[i];
  }
  inverses[0] = inverse;
}
template <class V>
inline V fast_tanh(V x) {
  const V decay = decay_of_tanh(x);
  return tanh_of(x, decay, V(1 / (1 + decay)));
}

// A step. All pointers stand at the first of the units; gates lie `hidden` apart, but in sums `sum_stride`.
template <class T>
struct Advance {
  const T* inputs;  // the projected input; what is kept may go to the same place
  const T* sums;    // the projected state before the step
  int64_t sum_stride;
  const T* h;  // the state before the step
  T* cell;     // the cell of an LSTM before and after the step
  T* y;
  T* kept;  // may be null
};

template <Mode mode, class T>
inline void advance(const Advance<T>& at, int64_t units, int64_t hidden) {
  for (int64_t j = 0; j < units; j += lanes<T>) {
    const int64_t count = units - j;
    const auto input = [&](int gate) { return take(at.inputs + gate * hidden + j, count); };
    const auto state = [&](int gate) { return take(at.sums + gate * at.sum_stride + j, count); };
    const auto keep = [&](int place, Vec<T> value) {
      if (at.kept != nullptr) put(at.kept + place * hidden + j, value, count);
    };
    if constexpr (mode == Mode::lstm) {
      const Vec<T> xi = input(0) + state(0), xf = input(1) + state(1), xg = input(2) + state(2);
      const Vec<T> xo = input(3) + state(3);
      const Vec<T> decays[] = {decay_of_sigmoid(xi), decay_of_sigmoid(xf), decay_of_tanh(xg), decay_of_sigmoid(xo)};
      Vec<T> inverses[4];
      invert(decays, inverses);
      const Vec<T> i = sigmoid_of(xi, decays[0], inverses[0]), f = sigmoid_of(xf, decays[1], inverses[1]);
      const Vec<T> g = tanh_of(xg, decays[2], inverses[2]), o = sigmoid_of(xo, decays[3], inverses[3]);
      const Vec<T> c = f * take(at.cell + j, count) + i * g;
      put(at.cell + j, c, count);
      put(at.y + j, Vec<T>(o * fast_tanh(c)), count);
      keep(0, i), keep(1, f), keep(2, g), keep(3, o), keep(4, c);
    } else if constexpr (mode == Mode::gru) {
      const Vec<T> xr = input(0) + state(0), xz = input(1) + state(1);
      const Vec<T> decays[] = {decay_of_sigmoid(xr), decay_of_sigmoid(xz)};
      Vec<T> inverses[2];
      invert(decays, inverses);
      const Vec<T> r = sigmoid_of(xr, decays[0], inverses[0]), z = sigmoid_of(xz, decays[1], inverses[1]);
      const Vec<T> s = state(2), n = fast_tanh(Vec<T>(input(2) + r * s));
      put(at.y + j, Vec<T>(n + z * (take(at.h + j, count) - n)), count);
      keep(0, r), keep(1, z), keep(2, n), keep(3, s);
    } else {
      const Vec<T> sum = input(0) + state(0);
      put(at.y + j, mode == Mode::rnn_tanh ? fast_tanh(sum) : maximum(sum, Vec<T>{}), count);
    }
  }
}

// The gradients of a step, with pointers as above.
template <class T>
struct Retreat {
  const T* gy;           // with respect to the result of the step; may be null
  const T* sums;         // from the step after it, through the product of weights and state; null where there is none
  const T *y, *kept;     // of the step
  const T *h, *cell;     // before the step
  T *gh, *gcell;         // in: with respect to the state after the step; out: what of it goes past the product
  T *inputs, *products;  // out: with respect to the projected input and state, which are one but in a GRU
};

template <Mode mode, class T>
inline void retreat(const Retreat<T>& at, int64_t units, int64_t hidden) {
  for (int64_t j = 0; j < units; j += lanes<T>) {
    const int64_t count = units - j;
    const auto kept = [&](int place) { return take(at.kept + place * hidden + j, count); };
    const auto give = [&](int gate, Vec<T> value) { put(at.inputs + gate * hidden + j, value, count); };
    Vec<T> g = at.sums == nullptr || mode == Mode::gru ? take(at.gh + j, count) : Vec<T>{};
    if (at.sums != nullptr) g += take(at.sums + j, count);
    if (at.gy != nullptr) g += take(at.gy + j, count);
    if constexpr (mode == Mode::lstm) {
      const Vec<T> i = kept(0), f = kept(1), candidate = kept(2), o = kept(3), c = fast_tanh(kept(4));
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
