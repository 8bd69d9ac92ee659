// Normalisation of rows with a weight for each item: layer and RMS normalisation, and groups of channels without a
// length.
#pragma once

#include <vector>

#include "normalize.h"
#include "threads.h"

namespace rushlight {

struct Rows {
  int64_t count, length;
  int64_t period = 1;  // row i uses the weights of row i % period

  int64_t weights() const { return period * length; }
  // Parts of rows that sum up their weights' gradients apart from each other.
  int64_t parts() const { return std::max<int64_t>(1, std::min<int64_t>({32, count, count * length >> 14})); }
};

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
                        double eps) {
  int64_t parts = rows.parts(), weights = rows.weights();
  std::vector<C> partial(static_cast<size_t>(2 * parts * weights));
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      C* of_weight = partial.data() + 2 * part * weights;
      C* of_bias = of_weight + weights;
      for (int64_t row = rows.count * part / parts; row < rows.count * (part + 1) / parts; ++row) {
        int64_t length = rows.length, first = row % rows.period * length;
        const T *gs = g + row * length, *xs = x + row * length;
        const C* w = weight + first;
        C center = 0, variance = 0, sum = 0, product = 0;
        moments_of_row<centered>(xs, length, center, variance);
        sums_of<C>(
            length, sum, product,
            [center](auto& s, auto& p, auto gradient, auto value, auto scale) {
              s += gradient * scale;
              p += gradient * scale * (value - center);
            },
            gs, xs, w);
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
  for (int64_t i = 0; i < weights; ++i) gweight[i] = static_cast<T>(partial[i]);
  if constexpr (centered) {
    for (int64_t i = 0; i < weights; ++i) gbias[i] = static_cast<T>(partial[weights + i]);
  }
}

}  // namespace rushlight
