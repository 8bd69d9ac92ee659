// What the driver of reductions (reduction.h) can reduce with: sums, products, extremes, moments, log-sum-exp.
#pragma once

#include <cmath>
#include <limits>

#include "reduction.h"
#include "simd.h"
#include "vector_math.h"

namespace rushlight {

// Folds with `F`: take(accumulator, items) on vectors and scalars alike, from F::neutral, in four chains and then in
// pairs. Totals of floats are doubles.
template <class T, class F>
inline T fold(const T* x, int64_t count) {
  constexpr int n = lanes<T>;
  const Vec<T> start = broadcast<T>(T(F::template start<T>()));
  Vec<T> a = start, b = start, c = start, d = start;
  int64_t i = 0;
  for (; i + 4 * n <= count; i += 4 * n) {
    a = F::take(a, load(x + i));
    b = F::take(b, load(x + i + n));
    c = F::take(c, load(x + i + 2 * n));
    d = F::take(d, load(x + i + 3 * n));
  }
  for (; i + n <= count; i += n) a = F::take(a, load(x + i));
  if (i < count) b = F::take(b, load_partial(x + i, count - i, broadcast(T(F::template neutral<T>()))));
  return reduce_lanes(Vec<T>(F::join(F::join(a, b), F::join(c, d))), [](Vec<T> p, Vec<T> q) { return F::join(p, q); });
}

// The vector of what lies in the lanes of a row, before they are joined.
template <class T, class F>
inline Vec<T> fold_row(const T* x, int64_t count) {
  constexpr int n = lanes<T>;
  const Vec<T> start = broadcast<T>(T(F::template start<T>()));
  Vec<T> a = start, b = start;
  int64_t i = 0;
  for (; i + 2 * n <= count; i += 2 * n) {
    a = F::take(a, load(x + i));
    b = F::take(b, load(x + i + n));
  }
  if (i + n <= count) a = F::take(a, load(x + i)), i += n;
  if (i < count) b = F::take(b, load_partial(x + i, count - i, broadcast<T>(T(F::template neutral<T>()))));
  return F::join(a, b);
}

// `vectors` of the accumulators of all rows, from registers.
template <int vectors, class T, class F>
inline void fold_columns(const T* x, int64_t stride, int64_t rows, T* accumulators) {
  Vec<T> sum[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) sum[v] = broadcast<T>(T(F::template start<T>()));
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[v] = F::take(sum[v], load(x + r * stride + v * lanes<T>));
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) store<T>(accumulators + v * lanes<T>, sum[v]);
}

// accumulators[c] = take(..., x[row][c]) for all rows.
template <class T, class F>
inline void fold_rows(const T* x, int64_t stride, int64_t rows, int64_t columns, T* accumulators) {
  constexpr int n = lanes<T>;
  int64_t c = 0;
  for (; c + 8 * n <= columns; c += 8 * n) fold_columns<8, T, F>(x + c, stride, rows, accumulators + c);
  for (; c + n <= columns; c += n) fold_columns<1, T, F>(x + c, stride, rows, accumulators + c);
  if (c == columns) return;
  Vec<T> sum = broadcast<T>(T(F::template start<T>()));
  for (int64_t r = 0; r < rows; ++r) sum = F::take(sum, load_partial(x + r * stride + c, columns - c));
  store_partial<T>(accumulators + c, sum, columns - c);
}

// For additions that wrap around.
template <class V>
inline auto wrapping(V x) {
  if constexpr (std::is_integral_v<V>) {
    return static_cast<std::make_unsigned_t<V>>(x);
  } else if constexpr (std::is_floating_point_v<V>) {
    return x;
  } else if constexpr (std::is_integral_v<Lane<V>>) {
    return reinterpret<Vec<std::make_unsigned_t<Lane<V>>>>(x);
  } else {
    return x;
  }
}

struct Add {
  template <class T>
  static constexpr T start() {
    return 0;
  }
  template <class T>
  static constexpr T neutral() {
    return 0;
  }
  template <class V>
  static V join(V a, V b) {
    return (V)(wrapping(a) + wrapping(b));
  }
  template <class V>
  static V take(V a, V x) {
    return join(a, x);
  }
};
struct AddSquares : Add {
  template <class V>
  static V take(V a, V x) {
    return a + x * x;
  }
};
struct Multiply {
  template <class T>
  static constexpr T start() {
    return 1;
  }
  template <class T>
  static constexpr T neutral() {
    return 1;
  }
  template <class V>
  static V join(V a, V b) {
    return (V)(wrapping(a) * wrapping(b));
  }
  template <class V>
  static V take(V a, V x) {
    return join(a, x);
  }
};
struct Largest {
  template <class T>
  static constexpr T start() {
    return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                : std::numeric_limits<T>::lowest();
  }
  template <class T>
  static constexpr T neutral() {
    return start<T>();
  }
  template <class V>
  static V join(V a, V b) {
    if constexpr (std::is_arithmetic_v<V>) {
      return a >= b || a != a ? a : b;
    } else {
      return maximum(a, b);
    }
  }
  template <class V>
  static V take(V a, V x) {
    return join(a, x);
  }
  template <class V>
  static auto better(V a, V b) {
    return a > b;
  }
};
struct Smallest {
  template <class T>
  static constexpr T start() {
    return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  }
  template <class T>
  static constexpr T neutral() {
    return start<T>();
  }
  template <class V>
  static V join(V a, V b) {
    if constexpr (std::is_arithmetic_v<V>) {
      return a <= b || a != a ? a : b;
    } else {
      return minimum(a, b);
    }
  }
  template <class V>
  static V take(V a, V x) {
    return join(a, x);
  }
  template <class V>
  static auto better(V a, V b) {
    return a < b;
  }
};

// Sums and products, largest and smallest items, Euclidean norms. `scale` makes a mean of a sum.
template <class K, class F>
struct Fold {
  using Kind = K;
  using T = ItemOf<K>;
  using Item = T;
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;
  struct Total {
    Wide value = F::template start<Wide>();
  };
  double scale = 1;

  void block(const T* x, int64_t count, int64_t, Total& total) const {
    total.value = F::join(total.value, static_cast<Wide>(fold<T, F>(x, count)));
  }
  void panel(const T* x, int64_t stride, int64_t rows, int64_t columns, int64_t, Total* totals) const {
    alignas(64) T accumulators[reduction_columns];
    fold_rows<T, F>(x, stride, rows, columns, accumulators);
    for (int64_t c = 0; c < columns; ++c)
      totals[c].value = F::join(totals[c].value, static_cast<Wide>(accumulators[c]));
  }
  // As many rows at once as a vector has lanes, which then holds their results side by side.
  void rows(const T* x, int64_t stride, int64_t count, int64_t length, Total* totals) const
    requires(sizeof(T) >= 4)
  {
    constexpr int n = lanes<T>;
    int64_t row = 0;
    for (; row + n <= count; row += n) {
      Vec<T> parts[n];
      for (int i = 0; i < n; ++i) parts[i] = fold_row<T, F>(x + (row + i) * stride, length);
      Vec<T> values = reduce_lanes_of_all(parts, [](Vec<T> a, Vec<T> b) { return F::join(a, b); });
      for (int i = 0; i < n; ++i) totals[row + i].value = static_cast<Wide>(values[i]);
    }
    for (; row < count; ++row) block(x + row * stride, length, 0, totals[row]);
  }
  void merge(Total& into, const Total& more) const { into.value = F::join(into.value, more.value); }
  T finish(const Total& total) const {
    if constexpr (std::is_same_v<F, AddSquares>) return static_cast<T>(std::sqrt(total.value));
    if constexpr (std::is_floating_point_v<T>) return static_cast<T>(total.value * static_cast<Wide>(scale));
    return total.value;
  }
};

// The largest or smallest item and the place of the first one; NaN beats all.
template <class K, class F>
struct Extreme {
  using Kind = K;
  using T = ItemOf<K>;
  using Item = T;
  struct Total {
    T value = F::template start<T>();
    int64_t place = -1;
  };

  static bool better(T a, T b) { return F::better(a, b) || (a != a && b == b); }

  void block(const T* x, int64_t count, int64_t first, Total& total) const {
    T value = fold<T, F>(x, count);
    if (total.place >= 0 && !better(value, total.value)) return;
    int64_t i = 0;
    if (value != value) {
      while (x[i] == x[i]) ++i;
    } else {
      while (x[i] != value) ++i;
    }
    total = {value, first + i};
  }
  void panel(const T* x, int64_t stride, int64_t rows, int64_t columns, int64_t first, Total* totals) const {
    constexpr int n = lanes<T>;
    for (int64_t c = 0; c < columns; c += n) {
      int64_t rest = std::min<int64_t>(n, columns - c);
      auto row = [&](int64_t r) {
        return rest == n ? load(x + r * stride + c) : load_partial(x + r * stride + c, rest);
      };
      Vec<T> value = row(0);
      Bits<T> place = {};
      for (int64_t r = 1; r < rows; ++r) {
        Vec<T> candidate = row(r);
        Mask<T> wins = F::better(candidate, value) | ((candidate != candidate) & (value == value));
        value = select(wins, candidate, value);
        place = select(wins, broadcast<BitsOf<T>>(static_cast<BitsOf<T>>(r)), place);
      }
      for (int64_t i = 0; i < rest; ++i) merge(totals[c + i], {value[i], first + place[i]});
    }
  }
  void merge(Total& into, const Total& more) const {
    if (into.place < 0 || (more.place >= 0 && better(more.value, into.value))) into = more;
  }
  Total finish(const Total& total) const { return total; }
};

// Mean and sum of squared deviations: two passes over a block in the cache, merged by Chan, Golub and LeVeque's formula
// ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).
template <class T>
struct Moments {
  using Kind = T;
  using Item = T;
  struct Total {
    double count = 0, mean = 0, squares = 0;
  };

  void block(const T* x, int64_t count, int64_t, Total& total) const {
    constexpr int n = lanes<T>;
    T mean = static_cast<T>(static_cast<double>(fold<T, Add>(x, count)) / static_cast<double>(count));
    Vec<T> sum = {}, squares = {};
    int64_t i = 0;
    for (; i < count; i += n) {
      Vec<T> deviation = (i + n <= count ? load(x + i) : load_partial(x + i, count - i, broadcast(mean))) - mean;
      sum += deviation;
      squares += deviation * deviation;
    }
    auto add = [](Vec<T> a, Vec<T> b) { return a + b; };
    merge_deviations(total, static_cast<double>(count), mean, reduce_lanes(sum, add), reduce_lanes(squares, add));
  }
  void panel(const T* x, int64_t stride, int64_t rows, int64_t columns, int64_t, Total* totals) const {
    alignas(64) T mean[reduction_columns], sum[reduction_columns], squares[reduction_columns];
    fold_rows<T, Add>(x, stride, rows, columns, mean);
    for (int64_t c = 0; c < columns; ++c) {
      mean[c] /= static_cast<T>(rows);
      sum[c] = squares[c] = 0;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const T* row = x + r * stride;
      for (int64_t c = 0; c < columns; ++c) {
        T deviation = row[c] - mean[c];
        sum[c] += deviation;
        squares[c] += deviation * deviation;
      }
    }
    for (int64_t c = 0; c < columns; ++c) {
      merge_deviations(totals[c], static_cast<double>(rows), mean[c], sum[c], squares[c]);
    }
  }
  // From deviations of a mean that is itself rounded.
  void merge_deviations(Total& total, double count, double mean, double sum, double squares) const {
    merge(total, {count, mean + sum / count, squares - sum * sum / count});
  }
  void merge(Total& into, const Total& more) const {
    double count = into.count + more.count;
    if (count == 0) return;
    double difference = more.mean - into.mean, share = more.count / count;
    into.squares += more.squares + difference * difference * into.count * share;
    into.mean += difference * share;
    into.count = count;
  }
  Total finish(const Total& total) const { return total; }
};

// log(sum(exp(x))), shifted by the largest finite item.
template <class T>
struct LogSumExp {
  using Kind = T;
  using Item = T;
  struct Total {
    double shift = 0, sum = 0;
  };

  static double usable(double largest) { return std::isfinite(largest) ? largest : 0; }

  void block(const T* x, int64_t count, int64_t, Total& total) const {
    constexpr int n = lanes<T>;
    T shift = static_cast<T>(usable(static_cast<double>(fold<T, Largest>(x, count))));
    Vec<T> sum = {};
    for (int64_t i = 0; i < count; i += n) {
      Vec<T> items =
          i + n <= count ? load(x + i) : load_partial(x + i, count - i, broadcast(-std::numeric_limits<T>::infinity()));
      sum += exp(Vec<T>(items - shift));
    }
    merge(total, {shift, static_cast<double>(reduce_lanes(sum, [](Vec<T> a, Vec<T> b) { return a + b; }))});
  }
  void panel(const T* x, int64_t stride, int64_t rows, int64_t columns, int64_t, Total* totals) const {
    constexpr int n = lanes<T>;
    alignas(64) T shift[reduction_columns];
    fold_rows<T, Largest>(x, stride, rows, columns, shift);
    for (int64_t c = 0; c < columns; ++c) shift[c] = static_cast<T>(usable(static_cast<double>(shift[c])));
    for (int64_t c = 0; c < columns; c += n) {
      int64_t rest = std::min<int64_t>(n, columns - c);
      Vec<T> origin = load_partial(shift + c, rest), sum = {};
      for (int64_t r = 0; r < rows; ++r) {
        const T* row = x + r * stride + c;
        sum += exp(Vec<T>((rest == n ? load(row) : load_partial(row, rest)) - origin));
      }
      for (int64_t i = 0; i < rest; ++i) merge(totals[c + i], {shift[c + i], static_cast<double>(sum[i])});
    }
  }
  void merge(Total& into, const Total& more) const {
    if (more.sum == 0) return;
    if (into.sum == 0) {
      into = more;
      return;
    }
    double shift = std::max(into.shift, more.shift);
    into.sum = into.sum * std::exp(into.shift - shift) + more.sum * std::exp(more.shift - shift);
    into.shift = shift;
  }
  T finish(const Total& total) const { return static_cast<T>(total.shift + std::log(total.sum)); }
};

}  // namespace rushlight
