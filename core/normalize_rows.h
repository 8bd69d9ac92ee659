// Normalisation of rows with a weight for each item: layer and RMS normalisation, and groups of channels without a
// length.
#pragma once

#include <algorithm>
#include <vector>

#include "normalize.h"
#include "threads.h"

namespace rushlight {

struct Rows {
  int64_t count, length;
  int64_t period = 1;  // row i uses the weights of row i % period

  int64_t weights() const { return period * length; }
  // Parts of rows that sum up their weights' gradients apart from each other. Each begins at a multiple of 16 rows.
  int64_t parts() const {
    return std::max<int64_t>(1, std::min<int64_t>({32, count / 16, count * length >> 13, count / (8 * period)}));
  }
  int64_t part_begin(int64_t part) const { return part == parts() ? count : count / 16 * part / parts() * 16; }
};

// Shorter rows are computed in groups of as many as a vector has lanes. Each is walked by vectors; what is known of a
// row (mean, variance ...) is a lane of a vector, so that nothing is computed for one row alone.
constexpr int64_t short_forward = 512, short_gradient = 2048;

template <class T>
struct RowGroup {
  const T* x;
  int64_t first, count, length;
  int64_t weights[lanes<T>];  // where the weights of each row begin
  alignas(64) T center[lanes<T>] = {}, inverse[lanes<T>];
  Vec<T> variance;

  RowGroup(const T* all, const Rows& rows, int64_t first, int64_t count)
      : x(all + first * rows.length), first(first), count(count), length(rows.length) {
    int64_t at = rows.period == 1 ? 0 : first % rows.period;
    for (int64_t row = 0; row < count; ++row) {
      weights[row] = at * length;
      if (++at == rows.period) at = 0;
    }
  }

  // Lane i: the sum of term(i, offset, width) along row i.
  template <class Term>
  Vec<T> sums(Term&& term) const {
    return sums_of_rows<T>(count, [&](int64_t row) {
      return vector_sum<T>(length, [&](int64_t i, auto width) { return term(row, i, width); });
    });
  }
  template <class Width>
  Vec<T> deviation(int64_t row, int64_t i, Width width) const {
    return load_some(x + row * length + i, width, center[row]) - center[row];
  }
  template <bool centered>
  void measure(double eps) {
    const T size = static_cast<T>(length);
    if constexpr (centered) {
      Vec<T> total =
          sums([&](int64_t row, int64_t i, auto width) { return load_some(x + row * length + i, width, T(0)); });
      store<T>(center, total / size);
    }
    variance = sums([&](int64_t row, int64_t i, auto width) {
                 Vec<T> value = deviation(row, i, width);
                 return Vec<T>(value * value);
               }) /
               size;
    store<T>(inverse, 1 / sqrt(Vec<T>(variance + static_cast<T>(eps))));
  }
};

template <bool centered, class T>
void norm_row_group(RowGroup<T>& group, const T* weight, const T* bias, T* y, T* mean, T* variance, double eps) {
  group.template measure<centered>(eps);
  if constexpr (centered) store_some(mean + group.first, load<T>(group.center), group.count);
  store_some(variance + group.first, group.variance, group.count);
  y += group.first * group.length;
  for (int64_t row = 0; row < group.count; ++row) {
    const T *w = weight + group.weights[row], *b = bias + group.weights[row];
    for_vectors<T>(group.length, [&](int64_t i, auto width) {
      __builtin_prefetch(group.x + (row + lanes<T>)*group.length + i);  // of the next group
      __builtin_prefetch(y + (row + lanes<T>)*group.length + i, 1);
      Vec<T> value = group.deviation(row, i, width) * group.inverse[row] * load_some(w + i, width, T(0));
      if constexpr (centered) value += load_some(b + i, width, T(0));
      store_some(y + row * group.length + i, value, width);
    });
  }
}

// Also adds to the sums for the weights' gradients; `shared` where all rows have the same weights.
template <bool centered, bool shared, class T>
void norm_gradient_row_group(RowGroup<T>& group, const T* g, const T* weight, T* gx, T* weight_sums, T* bias_sums,
                             double eps) {
  const int64_t length = group.length;
  g += group.first * length;
  gx += group.first * length;
  group.template measure<centered>(eps);
  Vec<T> products[lanes<T>] = {}, totals[lanes<T>] = {};
  for (int64_t row = 0; row < group.count; ++row) {
    const T *gs = g + row * length, *w = weight + group.weights[row];
    products[row] = vector_sum<T>(length, [&](int64_t i, auto width) {
      Vec<T> scaled = load_some(gs + i, width, T(0)) * load_some(w + i, width, T(0));
      totals[row] += scaled;
      return Vec<T>(scaled * group.deviation(row, i, width));
    });
  }
  auto add = [](Vec<T> a, Vec<T> b) { return a + b; };
  const Vec<T> inverse = load<T>(group.inverse), share = inverse / static_cast<T>(length);
  alignas(64) T slope[lanes<T>], shift[lanes<T>] = {};
  store<T>(slope, share * inverse * inverse * reduce_lanes_of_all(products, add));
  if constexpr (centered) store<T>(shift, share * reduce_lanes_of_all(totals, add));
  // `together` rows with the same weights from `first` on.
  auto finish = [&]<int together>(int64_t first) {
    const T *w = weight + group.weights[first], *from = group.x + first * length, *gs = g + first * length;
    T *of_weight = weight_sums + group.weights[first], *of_bias = bias_sums + group.weights[first];
    T* to = gx + first * length;
    Vec<T> center[together], scale[together], slopes[together], shifts[together];
    for (int k = 0; k < together; ++k) {
      center[k] = broadcast(group.center[first + k]), scale[k] = broadcast(group.inverse[first + k]);
      slopes[k] = broadcast(slope[first + k]), shifts[k] = broadcast(shift[first + k]);
    }
    for_vectors<T>(length, [&](int64_t i, auto width) {
      const Vec<T> weights = load_some(w + i, width, T(0));
      Vec<T> weight_sum = load_some(of_weight + i, width, T(0)), bias_sum = {};
      if constexpr (centered) bias_sum = load_some(of_bias + i, width, T(0));
#pragma GCC unroll 4
      for (int k = 0; k < together; ++k) {
        const int64_t next = (k + group.count) * length + i;
        __builtin_prefetch(gs + next);
        __builtin_prefetch(from + next);
        __builtin_prefetch(to + next, 1);
        const Vec<T> gradient = load_some(gs + k * length + i, width, T(0));
        const Vec<T> deviation = load_some(from + k * length + i, width, T(0)) - center[k];
        Vec<T> value = gradient * weights * scale[k] - deviation * slopes[k];
        if constexpr (centered) value -= shifts[k];
        store_some(to + k * length + i, value, width);
        weight_sum += gradient * (deviation * scale[k]);
        bias_sum += gradient;
      }
      store_some(of_weight + i, weight_sum, width);
      if constexpr (centered) store_some(of_bias + i, bias_sum, width);
    });
  };
  constexpr int several = std::min(4, lanes<T>);
  int64_t row = 0;
  for (; shared && row + several <= group.count; row += several) finish.template operator()<several>(row);
  for (; row < group.count; ++row) finish.template operator()<1>(row);
}

// Mean and variance of a row, or where it isn't centered the mean of its squares in the place of the variance.
template <bool centered, class T, class C>
void moments_of_row(const T* x, int64_t length, C& mean, C& variance) {
  if constexpr (centered) {
    Moments moments;
    add_moments(moments, x, length);
    mean = static_cast<C>(moments.mean);
    variance = static_cast<C>(moments.variance());
  } else {
    variance = static_cast<C>(mean_square(x, length));
  }
}

template <bool centered, class T, class C>
void norm_rows(const T* x, const C* weight, const C* bias, T* y, C* mean, C* variance, const Rows& rows, double eps) {
  if constexpr (std::is_same_v<T, C>) {
    if (rows.length <= short_forward) {
      constexpr int64_t group = lanes<T>;
      parallel_for(divide_up(rows.count, group), blocks_of(rows.length * group), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin * group; row < std::min(end * group, rows.count); row += group) {
          RowGroup<T> some(x, rows, row, std::min(group, rows.count - row));
          norm_row_group<centered>(some, weight, bias, y, mean, variance, eps);
        }
      });
      return;
    }
  }
  parallel_for(rows.count, blocks_of(rows.length), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* __restrict from = x + row * rows.length;
      T* __restrict to = y + row * rows.length;
      const C* __restrict w = weight + row % rows.period * rows.length;
      const C* __restrict b = bias + row % rows.period * rows.length;
      C center = 0;
      moments_of_row<centered>(from, rows.length, center, variance[row]);
      if constexpr (centered) mean[row] = center;
      C inverse = inverse_deviation(variance[row], eps);
      for (int64_t i = 0; i < rows.length; ++i) {
        C value = (static_cast<C>(from[i]) - center) * inverse * w[i];
        if constexpr (centered) value += b[i];
        to[i] = static_cast<T>(value);
      }
    }
  });
}

// gx = g * weight * inverse - (x - center) * slope - shift, and what the row adds to its weights' gradients.
template <bool centered, class T, class C>
void gradient_row(const T* __restrict g, const T* __restrict x, const C* __restrict weight, T* __restrict gx,
                  C* __restrict weight_sums, C* __restrict bias_sums, int64_t length, C center, C inverse, C slope,
                  C shift) {
  for (int64_t i = 0; i < length; ++i) {
    C gi = static_cast<C>(g[i]), deviation = static_cast<C>(x[i]) - center;
    gx[i] = static_cast<T>(gi * weight[i] * inverse - deviation * slope - shift);
    weight_sums[i] += gi * deviation * inverse;
    if constexpr (centered) bias_sums[i] += gi;
  }
}

template <bool centered, class T, class C>
void norm_gradient_rows(const T* g, const T* x, const C* weight, T* gx, T* gweight, T* gbias, const Rows& rows,
                        double eps, int64_t repeated = 1) {
  int64_t parts = rows.parts(), weights = rows.weights();
  std::vector<C> partial(static_cast<size_t>(2 * parts * weights));
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      C* of_weight = partial.data() + 2 * part * weights;
      C* of_bias = of_weight + weights;
      const int64_t last = rows.part_begin(part + 1);
      int64_t row = rows.part_begin(part);
      if constexpr (std::is_same_v<T, C>) {
        // Of longer rows fewer, so that a group stays in the first-level cache.
        const int64_t group = rows.length <= 128 ? lanes<T> : std::min(4, lanes<T>);
        for (; rows.length <= short_gradient && row < last; row += group) {
          RowGroup<T> some(x, rows, row, std::min<int64_t>(group, last - row));
          auto compute = rows.period == 1 ? &norm_gradient_row_group<centered, true, T>
                                          : &norm_gradient_row_group<centered, false, T>;
          compute(some, g, weight, gx, of_weight, of_bias, eps);
        }
      }
      for (; row < last; ++row) {
        int64_t length = rows.length, first = row % rows.period * length;
        const T *gs = g + row * length, *xs = x + row * length;
        const C* w = weight + first;
        C center = 0, variance = 0, totals[2] = {};
        moments_of_row<centered>(xs, length, center, variance);
        sums_of(
            length, totals,
            [center](auto& sums, auto gradient, auto value, auto scale) {
              sums[0] += gradient * scale;
              sums[1] += gradient * scale * (value - center);
            },
            gs, xs, w);
        const auto [sum, product] = totals;
        C inverse = inverse_deviation(variance, eps);
        C slope = inverse * inverse * inverse * product / static_cast<C>(length);
        C shift = centered ? inverse * sum / static_cast<C>(length) : C(0);
        gradient_row<centered>(gs, xs, w, gx + row * length, of_weight + first, of_bias + first, length, center,
                               inverse, slope, shift);
      }
    }
  });
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t i = 0; i < 2 * weights; ++i) partial[i] += partial[2 * part * weights + i];
  }
  // `repeated` neighbours among the weights are one.
  for (int64_t i = 0; i < weights; i += repeated) {
    gweight[i / repeated] = static_cast<T>(total(partial.data() + i, repeated));
    if constexpr (centered) gbias[i / repeated] = static_cast<T>(total(partial.data() + weights + i, repeated));
  }
}

}  // namespace rushlight
