// Walks over neighbours by vectors, and sums over them in an order fixed by their number alone.
#pragma once

#include <algorithm>
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

// The first `width` lanes, the others `rest`.
template <class T>
inline Vec<T> load_some(const T* from, int64_t width, T rest) {
  return width == lanes<T> ? load(from) : load_partial(from, width, broadcast(rest));
}
template <class T>
inline void store_some(T* to, Vec<T> value, int64_t width) {
  if (width >= lanes<T>) return store(to, value);
  store_partial(to, value, width);
}

// body(offset, width) over the vectors of `count` neighbours, the last of them perhaps in part.
template <class T, class Body>
inline void for_vectors(int64_t count, Body&& body) {
  int64_t i = 0;
  for (; i + lanes<T> <= count; i += lanes<T>) body(i, std::integral_constant<int64_t, lanes<T>>());
  if (i < count) body(i, count - i);
}

// The sum of the vectors term(offset, width) along `count` neighbours; its lanes aren't added up yet.
template <class T, class Term>
inline Vec<T> vector_sum(int64_t count, Term&& term) {
  constexpr auto whole = std::integral_constant<int64_t, lanes<T>>();
  Vec<T> even = {}, odd = {};
  int64_t i = 0;
  for (; i + 2 * whole <= count; i += 2 * whole) {
    even += term(i, whole);
    odd += term(i + whole, whole);
  }
  if (i + whole <= count) even += term(i, whole), i += whole;
  if (i < count) odd += term(i, count - i);
  return even + odd;
}

// For `count` rows, at most as many as a vector has lanes: lane i is the lanes of vector(i), joined in pairs.
template <class T, class Row, class Join>
inline Vec<T> of_rows(int64_t count, Row&& vector, Join join) {
  Vec<T> parts[lanes<T>];
  for (int64_t row = 0; row < lanes<T>; ++row) parts[row] = row < count ? vector(row) : Vec<T>{};
  return reduce_lanes_of_all(parts, join);
}
template <class T, class Row>
inline Vec<T> sums_of_rows(int64_t count, Row&& vector) {
  return of_rows<T>(count, vector, [](Vec<T> a, Vec<T> b) { return a + b; });
}

template <class C>
inline C sum_of_lanes(Vec<C> value) {
  return reduce_lanes(value, [](Vec<C> a, Vec<C> b) { return a + b; });
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

// Several sums in one sweep, added to `sums`: term(sums, items...) adds to each of them.
template <class C, int count_of_sums, class Term, class... T>
inline void sums_of(int64_t count, C (&sums)[count_of_sums], Term&& term, const T*... arrays) {
  constexpr int unroll = 2, width = lanes<C>;
  Vec<C> parts[unroll][count_of_sums] = {};
  int64_t i = 0;
  for (; i + unroll * width <= count; i += unroll * width) {
    for (int k = 0; k < unroll; ++k) term(parts[k], load_as<C>(arrays + i + k * width)...);
  }
  for (; i + width <= count; i += width) term(parts[0], load_as<C>(arrays + i)...);
  for (; i < count; ++i) term(sums, static_cast<C>(arrays[i])...);
  for (int s = 0; s < count_of_sums; ++s) sums[s] += sum_of_lanes<C>(parts[0][s] + parts[1][s]);
}

template <class T>
inline Compute<T> total(const T* x, int64_t count) {
  return sum_of<Compute<T>>(count, [](auto value) { return value; }, x);
}

}  // namespace rushlight
