// Minimal filtering: M sums of R products each, of M + R - 1 neighbouring numbers, in M + R - 1 multiplications instead
// of M * R (S. Winograd, "Arithmetic Complexity of Computations", 1980; the Toom-Cook algorithm). Numbers and weights
// become values of polynomials at N = M + R - 1 points, infinity being the last; the values are multiplied, and the
// sums are found back from the products. The same transforms serve the gradient of the weights, whose R sums have M
// products each.
//
// The points come in pairs +-a, whose even and odd parts are shared, with 0 where N is even; of the small fractions
// tried, those of the smallest error, half of what the usual 0, +-1, +-2 give. In float32 and two dimensions the root
// mean square error is within 12 eps of the results', for sums over more than 64 channels within 12 eps sqrt(channels /
// 64). Each result errs by the largest numbers of its tile, not by its own terms: sums that
// come to 0 may not be exactly 0 (those of no terms are, see convolution_minimal.cpp).
#pragma once

#include <array>

#include "simd.h"

namespace rushlight::minimal {

template <int N>
struct Points;
template <>
struct Points<3> {
  static constexpr std::array<float, 1> pairs{1};
};
template <>
struct Points<5> {
  static constexpr std::array<float, 2> pairs{0.5, 1.5};
};
template <>
struct Points<6> {
  static constexpr std::array<float, 2> pairs{0.75, 1.5};
};

// Whether 0 is one of the points; it is the last but one.
template <int N>
constexpr int zero = N % 2 == 0 ? 1 : 0;
template <int N>
constexpr int pair_count = static_cast<int>(Points<N>::pairs.size());

// The product of x^2 - a^2 over all pairs but one: the numbers before 1, x^2, x^4 ...
template <int N>
constexpr std::array<float, pair_count<N> + 1> product_without(int left_out) {
  std::array<float, pair_count<N> + 1> product{1};
  for (int p = 0; p < pair_count<N>; ++p) {
    if (p == left_out) continue;
    const float square = Points<N>::pairs[p] * Points<N>::pairs[p];
    for (int i = pair_count<N>; i > 0; --i) product[i] = product[i - 1] - square * product[i];
    product[0] *= -square;
  }
  return product;
}

// For every pair left out, and at last for none.
template <int N>
constexpr auto products_without = [] {
  std::array<std::array<float, pair_count<N> + 1>, pair_count<N> + 1> all{};
  for (int p = 0; p <= pair_count<N>; ++p) all[p] = product_without<N>(p);
  return all;
}();

// What the products at each point are to be divided by: the derivative of the product of all x - point.
template <int N>
constexpr std::array<float, N> divisors() {
  std::array<float, N> result{};
  for (int p = 0; p < pair_count<N>; ++p) {
    const float a = Points<N>::pairs[p];
    float others = 1;
    for (int q = 0; q < pair_count<N>; ++q) {
      if (q != p) others *= a * a - Points<N>::pairs[q] * Points<N>::pairs[q];
    }
    result[2 * p] = 2 * a * others * (zero<N> ? a : 1);
    result[2 * p + 1] = -2 * a * others * (zero<N> ? -a : 1);
  }
  if (zero<N>) result[N - 2] = product_without<N>(-1)[0];
  result[N - 1] = 1;
  return result;
}

// Of N neighbouring numbers, what their filtering multiplies at each point.
template <int N, class V>
inline void transform_numbers(const V (&x)[N], V (&v)[N]) {
  constexpr int pairs = pair_count<N>, lowest = zero<N>;
#pragma GCC unroll 4
  for (int p = 0; p < pairs; ++p) {
    constexpr auto& all = products_without<N>;
    V even = x[lowest + 2 * pairs - 1], odd = x[lowest + 2 * pairs - 2];
#pragma GCC unroll 4
    for (int i = 0; i < pairs - 1; ++i) {
      even += all[p][i] * x[lowest + 2 * i + 1];
      odd += all[p][i] * x[lowest + 2 * i];
    }
    odd *= Points<N>::pairs[p];
    v[2 * p] = even + odd;
    v[2 * p + 1] = even - odd;
  }
  constexpr auto& factors = products_without<N>[pairs];
  V first = x[2 * pairs], last = x[N - 1];
#pragma GCC unroll 4
  for (int i = 0; i < pairs; ++i) {
    first += factors[i] * x[2 * i];
    last += factors[i] * x[lowest + 2 * i];
  }
  if constexpr (zero<N>) v[N - 2] = first;
  v[N - 1] = last;
}

// By what the values at the first point of a pair are multiplied where they are `divided`; at the second it is the
// same, or the opposite where 0 is no point.
template <int N, bool divided>
constexpr float scale_of(int pair) {
  return divided ? 1 / divisors<N>()[2 * pair] : 1;
}
template <int N, bool divided>
constexpr bool opposite = divided && !zero<N>;

// The values at the points of the polynomial with `terms`; divided by the divisors if `divided`.
template <int N, bool divided, int L, class V>
inline void evaluate(const V (&terms)[L], V (&values)[N]) {
#pragma GCC unroll 4
  for (int p = 0; p < pair_count<N>; ++p) {
    float power = scale_of<N, divided>(p);
    V even = power * terms[0], odd = V{};
#pragma GCC unroll 6
    for (int i = 1; i < L; ++i) {
      power *= Points<N>::pairs[p];
      if (i == 1) {
        odd = power * terms[i];
      } else if (i % 2 == 1) {
        odd += power * terms[i];
      } else {
        even += power * terms[i];
      }
    }
    values[2 * p] = even + odd;
    values[2 * p + 1] = opposite<N, divided> ? odd - even : even - odd;
  }
  if constexpr (zero<N>) values[N - 2] = divided ? terms[0] * (1 / divisors<N>()[N - 2]) : terms[0];
  values[N - 1] = terms[L - 1];
}

// The sums, from the products at the points; which are divided before if `divided`.
template <int N, bool divided, int L, class V>
inline void interpolate(const V (&products)[N], V (&sums)[L]) {
#pragma GCC unroll 4
  for (int p = 0; p < pair_count<N>; ++p) {
    const V plus = products[2 * p] + products[2 * p + 1], minus = products[2 * p] - products[2 * p + 1];
    const V even = opposite<N, divided> ? minus : plus, odd = opposite<N, divided> ? plus : minus;
    float power = scale_of<N, divided>(p);
#pragma GCC unroll 6
    for (int i = 0; i < L; ++i) {
      if (p == 0) {
        sums[i] = power * (i % 2 == 0 ? even : odd);
      } else {
        sums[i] += power * (i % 2 == 0 ? even : odd);
      }
      power *= Points<N>::pairs[p];
    }
  }
  if constexpr (zero<N>) sums[0] += divided ? products[N - 2] * (1 / divisors<N>()[N - 2]) : products[N - 2];
  sums[L - 1] += products[N - 1];
}

struct Steps {
  int64_t row, column;
};

// `transform` along both dimensions of a square of From x From vectors of neighbouring items, for `count` items.
template <int From, int To, class T, class Transform>
inline void transform_square(const T* source, Steps from, int64_t count, Transform transform, T* target, Steps to) {
  for (int64_t lane = 0; lane < count; lane += lanes<T>) {
    Vec<T> half[To][From];
#pragma GCC unroll 6
    for (int column = 0; column < From; ++column) {
      Vec<T> in[From], out[To];
#pragma GCC unroll 6
      for (int row = 0; row < From; ++row) in[row] = load(source + row * from.row + column * from.column + lane);
      transform(in, out);
#pragma GCC unroll 6
      for (int row = 0; row < To; ++row) half[row][column] = out[row];
    }
#pragma GCC unroll 6
    for (int row = 0; row < To; ++row) {
      Vec<T> out[To];
      transform(half[row], out);
#pragma GCC unroll 6
      for (int column = 0; column < To; ++column) {
        store<T>(target + row * to.row + column * to.column + lane, out[column]);
      }
    }
  }
}

}  // namespace rushlight::minimal
