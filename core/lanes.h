// Sums over neighbours in vector lanes, in an order fixed by their number alone.
#pragma once

#include <cstdint>

#include "dispatch.h"
#include "simd.h"

namespace rushlight {

// A vector of items to compute with.
template <class C, class T>
inline Vec<C> load_as(const T* from) {
  if constexpr (std::is_same_v<C, T>) {
    return load(from);
  } else {
    Vec<C> value = {};
    for (int lane = 0; lane < lanes<C>; ++lane) value[lane] = static_cast<C>(from[lane]);
    return value;
  }
}

template <class C>
inline C sum_of_lanes(Vec<C> value) {
  return reduce_lanes(value, [](C a, C b) { return a + b; });
}

// The sum of term(items...) over `count` positions of the arrays; `term` takes vectors as well as numbers.
template <class C, class Term, class... T>
inline C sum_of(int64_t count, Term&& term, const T*... arrays) {
  constexpr int unroll = 4, width = lanes<C>;
  Vec<C> sums[unroll] = {};
  int64_t i = 0;
  for (; i + unroll * width <= count; i += unroll * width) {
    for (int k = 0; k < unroll; ++k) sums[k] += term(load_as<C>(arrays + i + k * width)...);
  }
  for (; i + width <= count; i += width) sums[0] += term(load_as<C>(arrays + i)...);
  C sum = 0;
  for (; i < count; ++i) sum += term(static_cast<C>(arrays[i])...);
  return sum + sum_of_lanes<C>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// Two sums in one sweep: term(first, second, items...) adds to both.
template <class C, class Term, class... T>
inline void sums_of(int64_t count, C& first, C& second, Term&& term, const T*... arrays) {
  constexpr int unroll = 2, width = lanes<C>;
  Vec<C> firsts[unroll] = {}, seconds[unroll] = {};
  int64_t i = 0;
  for (; i + unroll * width <= count; i += unroll * width) {
    for (int k = 0; k < unroll; ++k) term(firsts[k], seconds[k], load_as<C>(arrays + i + k * width)...);
  }
  for (; i + width <= count; i += width) term(firsts[0], seconds[0], load_as<C>(arrays + i)...);
  for (; i < count; ++i) term(first, second, static_cast<C>(arrays[i])...);
  first += sum_of_lanes<C>(firsts[0] + firsts[1]);
  second += sum_of_lanes<C>(seconds[0] + seconds[1]);
}

template <class T>
inline Compute<T> total(const T* x, int64_t count) {
  return sum_of<Compute<T>>(count, [](auto value) { return value; }, x);
}

}  // namespace rushlight
