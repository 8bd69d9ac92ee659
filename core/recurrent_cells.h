// One step of a recurrent cell and its gradient, for some hidden units of one row, a vector of them at a time.
#pragma once

#include <algorithm>

#include "recurrent.h"
#include "vector_math.h"

namespace rushlight::recurrent {

// The next vector of units, or what is left of one.
template <bool whole>
struct Units {
  int64_t count = 0;

  template <class T>
  Vec<T> take(const T* from) const {
    return whole ? load(from) : load_partial(from, count);
  }
  template <class T>
  void put(T* to, Vec<T> value) const {
    if constexpr (whole) {
      store(to, value);
    } else {
      store_partial(to, value, count);
    }
  }
};

// work(first of a vector of units, Units) for all of them.
template <class T, class Work>
inline void for_units(int64_t units, Work&& work) {
  int64_t j = 0;
  for (; j + lanes<T> <= units; j += lanes<T>) work(j, Units<true>());
  if (j < units) work(j, Units<false>{units - j});
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
  for_units<T>(units, [&](int64_t j, auto part) {
    const auto input = [&](int gate) { return part.take(at.inputs + gate * hidden + j); };
    const auto state = [&](int gate) { return part.take(at.sums + gate * at.sum_stride + j); };
    const auto keep = [&](int place, Vec<T> value) {
      if (at.kept != nullptr) part.put(at.kept + place * hidden + j, value);
    };
    if constexpr (mode == Mode::lstm) {
      const Vec<T> xi = input(0) + state(0), xf = input(1) + state(1), xg = input(2) + state(2);
      const Vec<T> xo = input(3) + state(3);
      const Vec<T> decays[] = {decay_of_sigmoid(xi), decay_of_sigmoid(xf), decay_of_tanh(xg), decay_of_sigmoid(xo)};
      Vec<T> inverses[4];
      invert(decays, inverses);
      const Vec<T> i = sigmoid_of(xi, decays[0], inverses[0]), f = sigmoid_of(xf, decays[1], inverses[1]);
      const Vec<T> g = tanh_of(xg, decays[2], inverses[2]), o = sigmoid_of(xo, decays[3], inverses[3]);
      const Vec<T> c = f * part.take(at.cell + j) + i * g;
      part.put(at.cell + j, c);
      part.put(at.y + j, Vec<T>(o * fast_tanh(c)));
      keep(0, i), keep(1, f), keep(2, g), keep(3, o), keep(4, c);
    } else if constexpr (mode == Mode::gru) {
      const Vec<T> xr = input(0) + state(0), xz = input(1) + state(1);
      const Vec<T> decays[] = {decay_of_sigmoid(xr), decay_of_sigmoid(xz)};
      Vec<T> inverses[2];
      invert(decays, inverses);
      const Vec<T> r = sigmoid_of(xr, decays[0], inverses[0]), z = sigmoid_of(xz, decays[1], inverses[1]);
      const Vec<T> s = state(2), n = fast_tanh(Vec<T>(input(2) + r * s));
      part.put(at.y + j, Vec<T>(n + z * (part.take(at.h + j) - n)));
      keep(0, r), keep(1, z), keep(2, n), keep(3, s);
    } else {
      const Vec<T> sum = input(0) + state(0);
      part.put(at.y + j, mode == Mode::rnn_tanh ? fast_tanh(sum) : maximum(sum, Vec<T>{}));
    }
  });
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
  for_units<T>(units, [&](int64_t j, auto part) {
    const auto kept = [&](int place) { return part.take(at.kept + place * hidden + j); };
    const auto give = [&](int gate, Vec<T> value) { part.put(at.inputs + gate * hidden + j, value); };
    Vec<T> g = at.sums == nullptr || mode == Mode::gru ? part.take(at.gh + j) : Vec<T>{};
    if (at.sums != nullptr) g += part.take(at.sums + j);
    if (at.gy != nullptr) g += part.take(at.gy + j);
    if constexpr (mode == Mode::lstm) {
      const Vec<T> i = kept(0), f = kept(1), candidate = kept(2), o = kept(3), c = fast_tanh(kept(4));
      const Vec<T> gc = part.take(at.gcell + j) + g * o * (1 - c * c);
      give(0, gc * candidate * i * (1 - i));
      give(1, gc * part.take(at.cell + j) * f * (1 - f));
      give(2, gc * i * (1 - candidate * candidate));
      give(3, g * c * o * (1 - o));
      part.put(at.gcell + j, Vec<T>(gc * f));
    } else if constexpr (mode == Mode::gru) {
      const Vec<T> r = kept(0), z = kept(1), n = kept(2), s = kept(3);
      const Vec<T> gn = g * (1 - z) * (1 - n * n), gr = gn * s * r * (1 - r);
      const Vec<T> gz = g * (part.take(at.h + j) - n) * z * (1 - z);
      give(0, gr), give(1, gz), give(2, gn);
      part.put(at.products + j, gr);
      part.put(at.products + hidden + j, gz);
      part.put(at.products + 2 * hidden + j, Vec<T>(gn * r));
      part.put(at.gh + j, Vec<T>(g * z));
    } else {
      const Vec<T> y = part.take(at.y + j);
      give(0, mode == Mode::rnn_tanh ? g * (1 - y * y) : select(y > 0, g, T(0)));
    }
  });
}

}  // namespace rushlight::recurrent
