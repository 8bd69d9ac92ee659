#include "normalize.h"

#include <vector>

#include "bind.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t work_grain = 1 << 14;  // items of a block of work, roughly

int64_t blocks_of(int64_t size) { return work_grain / std::max<int64_t>(1, size); }

// ---- batch normalisation: a channel's items lie in one run of `length` for each sample
// -------------------------------

struct Channels {
  int64_t samples, channels, length;

  int64_t items() const { return samples * length; }
  // A channel is cut where there are too few channels to share out; never by the number of threads.
  int64_t parts() const { return channels >= 16 ? 1 : std::max<int64_t>(1, std::min<int64_t>(64, items() >> 15)); }

  // run(offset, count) for each run of neighbours in items [begin, end) of a channel
  template <class Run>
  void for_runs(int64_t channel, int64_t begin, int64_t end, Run&& run) const {
    while (begin < end) {
      int64_t sample = begin / length, at = begin % length;
      int64_t count = std::min(length - at, end - begin);
      run((sample * channels + channel) * length + at, count);
      begin += count;
    }
  }
  int64_t part_begin(int64_t part) const { return items() * part / parts(); }
};

template <class T>
Moments channel_moments(const T* x, const Channels& shape, int64_t channel, int64_t begin, int64_t end) {
  Moments moments;
  constexpr int64_t room = 2048;
  if (shape.length >= 256) {
    shape.for_runs(channel, begin, end, [&](int64_t at, int64_t count) { add_moments(moments, x + at, count); });
    return moments;
  }
  T gathered[room];  // short runs are put together first
  int64_t filled = 0;
  shape.for_runs(channel, begin, end, [&](int64_t at, int64_t count) {
    if (filled + count > room) add_moments(moments, gathered, filled), filled = 0;
    std::copy_n(x + at, count, gathered + filled);
    filled += count;
  });
  add_moments(moments, gathered, filled);
  return moments;
}

template <class C>
C inverse_deviation(C variance, double eps) {
  return static_cast<C>(1 / std::sqrt(static_cast<double>(variance) + eps));
}

// The moments of all channels where they are cut into parts.
template <class T>
std::vector<Moments> moments_of_parts(const T* x, const Channels& shape) {
  int64_t parts = shape.parts();
  std::vector<Moments> partial(static_cast<size_t>(shape.channels * parts));
  parallel_for(shape.channels * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t part = i % parts;
      partial[i] = channel_moments(x, shape, i / parts, shape.part_begin(part), shape.part_begin(part + 1));
    }
  });
  std::vector<Moments> moments(static_cast<size_t>(shape.channels));
  for (int64_t i = 0; i < shape.channels * parts; ++i) moments[i / parts].merge(partial[i]);
  return moments;
}

// Each channel is normalised right after its moments were taken, while it is still in a cache. finish(number, at) is
// what is stored of the normalised number at `at`.
template <class T, class C, class Finish>
void batch_norm_runs(const T* x, const C* weight, const C* bias, T* y, C* mean, C* variance, const Channels& shape,
                     double eps, Finish finish) {
  auto normalize = [&](int64_t channel, int64_t begin, int64_t end) {
    C scale = weight[channel] * inverse_deviation(variance[channel], eps);
    shape.for_runs(channel, begin, end, [&](int64_t at, int64_t count) {
      normalize_run(x + at, y + at, count, mean[channel], scale, bias[channel],
                    [at, finish](C value, int64_t i) { return finish(value, at + i); });
    });
  };
  auto keep = [&](int64_t channel, const Moments& moments) {
    mean[channel] = static_cast<C>(moments.mean);
    variance[channel] = static_cast<C>(moments.variance());
  };
  int64_t parts = shape.parts(), items = shape.items();
  if (parts == 1) {
    parallel_for(shape.channels, blocks_of(items), [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) {
        keep(channel, channel_moments(x, shape, channel, 0, items));
        normalize(channel, 0, items);
      }
    });
    return;
  }
  std::vector<Moments> moments = moments_of_parts(x, shape);
  for (int64_t channel = 0; channel < shape.channels; ++channel) keep(channel, moments[channel]);
  parallel_for(shape.channels * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      normalize(i / parts, shape.part_begin(i % parts), shape.part_begin(i % parts + 1));
    }
  });
}

struct GradientSums {
  double sum = 0, product = 0;
};

// The gradient before a rectifier, by its result: g where y isn't negative or zero.
template <class T>
void rectified_gradient(const T* __restrict g, const T* __restrict y, T* __restrict result, int64_t count) {
  using C = Compute<T>;
  for (int64_t i = 0; i < count; ++i) result[i] = static_cast<C>(y[i]) <= 0 ? T(0) : g[i];
}

// Where the normalised numbers went through a rectifier on: its result y, and where g goes before it (gx will do).
template <class T>
struct Rectified {
  const T* y = nullptr;
  T* g = nullptr;
};

// The moments are taken again: that is cheaper than to keep what the forward pass found beside its result.
template <class T, class C>
void batch_norm_gradient_runs(const T* g, const T* x, const C* weight, T* gx, T* gweight, T* gbias,
                              const Channels& shape, double eps, Rectified<T> rectified) {
  const T* before = rectified.y == nullptr ? g : rectified.g;
  int64_t parts = shape.parts(), items = shape.items();
  auto sums = [&](int64_t channel, const Moments& moments, int64_t begin, int64_t end) {
    GradientSums result;
    shape.for_runs(channel, begin, end, [&](int64_t at, int64_t count) {
      constexpr int64_t block = 2048;  // stays in the first-level cache
      for (int64_t i = at; i < at + count; i += block) {
        int64_t length = std::min(block, at + count - i);
        if (rectified.y != nullptr) rectified_gradient(g + i, rectified.y + i, rectified.g + i, length);
        gradient_sums(before + i, x + i, length, static_cast<C>(moments.mean), result.sum, result.product);
      }
    });
    return result;
  };
  auto finish = [&](int64_t channel, const Moments& moments, const GradientSums& all, int64_t begin, int64_t end) {
    double inverse = inverse_deviation(moments.variance(), eps);
    double scale = static_cast<double>(weight[channel]) * inverse;
    if (begin == 0) {
      gweight[channel] = static_cast<T>(static_cast<C>(all.product * inverse));
      gbias[channel] = static_cast<T>(static_cast<C>(all.sum));
    }
    C slope = static_cast<C>(scale * inverse * inverse * all.product / static_cast<double>(items));
    C shift = static_cast<C>(scale * all.sum / static_cast<double>(items));
    shape.for_runs(channel, begin, end, [&](int64_t at, int64_t count) {
      gradient_run(before + at, x + at, gx + at, count, static_cast<C>(moments.mean), static_cast<C>(scale), slope,
                   shift);
    });
  };
  if (parts == 1) {
    parallel_for(shape.channels, blocks_of(items), [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) {
        Moments moments = channel_moments(x, shape, channel, 0, items);
        finish(channel, moments, sums(channel, moments, 0, items), 0, items);
      }
    });
    return;
  }
  std::vector<Moments> moments = moments_of_parts(x, shape);
  std::vector<GradientSums> partial(static_cast<size_t>(shape.channels * parts));
  std::vector<GradientSums> all(static_cast<size_t>(shape.channels));
  auto for_parts = [&](auto&& body) {
    parallel_for(shape.channels * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        body(i, i / parts, shape.part_begin(i % parts), shape.part_begin(i % parts + 1));
      }
    });
  };
  for_parts([&](int64_t i, int64_t channel, int64_t begin, int64_t end) {
    partial[i] = sums(channel, moments[channel], begin, end);
  });
  for (int64_t i = 0; i < shape.channels * parts; ++i) {
    all[i / parts].sum += partial[i].sum;
    all[i / parts].product += partial[i].product;
  }
  for_parts([&](int64_t, int64_t channel, int64_t begin, int64_t end) {
    finish(channel, moments[channel], all[channel], begin, end);
  });
}

// ---- the same for (samples, channels) with no length: neighbours belong to different channels
// ------------------------

constexpr int64_t columns = 32;

// body(first, count) over blocks of columns
template <class Body>
void for_columns(const Channels& shape, Body&& body) {
  int64_t blocks = (shape.channels + columns - 1) / columns;
  parallel_for(blocks, blocks_of(shape.samples * columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i * columns, std::min(columns, shape.channels - i * columns));
  });
}

// Means and variances of a block of columns.
template <class T>
void column_moments(const T* x, const Channels& shape, int64_t first, int64_t count, double* means, double* variances) {
  double n = static_cast<double>(shape.samples);
  std::fill_n(means, columns, 0.0);
  std::fill_n(variances, columns, 0.0);
  for (int64_t i = 0; i < shape.samples; ++i) {
    const T* from = x + i * shape.channels + first;
    for (int64_t c = 0; c < count; ++c) means[c] += static_cast<double>(from[c]);
  }
  for (int64_t c = 0; c < count; ++c) means[c] /= n;
  for (int64_t i = 0; i < shape.samples; ++i) {
    const T* from = x + i * shape.channels + first;
    for (int64_t c = 0; c < count; ++c) {
      double deviation = static_cast<double>(from[c]) - means[c];
      variances[c] += deviation * deviation;
    }
  }
  for (int64_t c = 0; c < count; ++c) variances[c] /= n;
}

template <class T, class C, class Finish>
void batch_norm_columns(const T* x, const C* weight, const C* bias, T* y, C* mean, C* variance, const Channels& shape,
                        double eps, Finish finish) {
  for_columns(shape, [&](int64_t first, int64_t count) {
    double means[columns], variances[columns];
    column_moments(x, shape, first, count, means, variances);
    C center[columns], scale[columns], shift[columns];
    for (int64_t c = 0; c < count; ++c) {
      mean[first + c] = center[c] = static_cast<C>(means[c]);
      variance[first + c] = static_cast<C>(variances[c]);
      scale[c] = weight[first + c] * inverse_deviation(variance[first + c], eps);
      shift[c] = bias[first + c];
    }
    for (int64_t i = 0; i < shape.samples; ++i) {
      int64_t at = i * shape.channels + first;
      const T* from = x + at;
      T* to = y + at;
      for (int64_t c = 0; c < count; ++c) {
        to[c] = static_cast<T>(finish((static_cast<C>(from[c]) - center[c]) * scale[c] + shift[c], at + c));
      }
    }
  });
}

template <class T, class C>
void batch_norm_gradient_columns(const T* g, const T* x, const C* weight, T* gx, T* gweight, T* gbias,
                                 const Channels& shape, double eps, Rectified<T> rectified) {
  int64_t stride = shape.channels;
  const T* before = rectified.y == nullptr ? g : rectified.g;
  double n = static_cast<double>(shape.samples);
  for_columns(shape, [&](int64_t first, int64_t count) {
    double means[columns], variances[columns], sums[columns] = {}, products[columns] = {};
    column_moments(x, shape, first, count, means, variances);
    C center[columns], scale[columns], slope[columns], shift[columns];
    for (int64_t c = 0; c < count; ++c) center[c] = static_cast<C>(means[c]);
    for (int64_t i = 0; i < shape.samples; ++i) {
      int64_t at = i * stride + first;
      if (rectified.y != nullptr) rectified_gradient(g + at, rectified.y + at, rectified.g + at, count);
      const T *gs = before + at, *xs = x + at;
      for (int64_t c = 0; c < count; ++c) {
        sums[c] += static_cast<double>(gs[c]);
        products[c] += static_cast<double>(static_cast<C>(gs[c]) * (static_cast<C>(xs[c]) - center[c]));
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      double inverse = inverse_deviation(variances[c], eps);
      double wide = static_cast<double>(weight[first + c]) * inverse;
      gweight[first + c] = static_cast<T>(static_cast<C>(products[c] * inverse));
      gbias[first + c] = static_cast<T>(static_cast<C>(sums[c]));
      scale[c] = static_cast<C>(wide);
      slope[c] = static_cast<C>(wide * inverse * inverse * products[c] / n);
      shift[c] = static_cast<C>(wide * sums[c] / n);
    }
    for (int64_t i = 0; i < shape.samples; ++i) {
      const T *gs = before + i * stride + first, *xs = x + i * stride + first;
      T* to = gx + i * stride + first;
#pragma GCC ivdep
      for (int64_t c = 0; c < count; ++c) {
        to[c] = static_cast<T>(static_cast<C>(gs[c]) * scale[c] - (static_cast<C>(xs[c]) - center[c]) * slope[c] -
                               shift[c]);
      }
    }
  });
}

// ---- group normalisation: a group's channels lie side by side in one sample
// ------------------------------------------

template <class T, class C>
void group_norm_runs(const T* x, const C* weight, const C* bias, T* y, C* mean, C* variance, const Channels& shape,
                     int64_t groups, double eps) {
  int64_t members = shape.channels / groups, size = members * shape.length;
  parallel_for(shape.samples * groups, blocks_of(size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Moments moments;
      add_moments(moments, x + i * size, size);
      mean[i] = static_cast<C>(moments.mean);
      variance[i] = static_cast<C>(moments.variance());
      C inverse = inverse_deviation(variance[i], eps);
      for (int64_t member = 0; member < members; ++member) {
        int64_t channel = i % groups * members + member, at = i * size + member * shape.length;
        normalize_run(x + at, y + at, shape.length, mean[i], weight[channel] * inverse, bias[channel], Unchanged{});
      }
    }
  });
}

template <class T, class C>
void group_norm_gradient_runs(const T* g, const T* x, const C* weight, T* gx, T* gweight, T* gbias,
                              const Channels& shape, int64_t groups, double eps) {
  int64_t members = shape.channels / groups, size = members * shape.length;
  std::vector<GradientSums> sums(static_cast<size_t>(shape.samples * shape.channels));
  std::vector<double> inverses(static_cast<size_t>(shape.samples * groups));
  parallel_for(shape.samples * groups, blocks_of(size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Moments moments;
      add_moments(moments, x + i * size, size);
      C mean = static_cast<C>(moments.mean);
      double inverse = inverses[i] = inverse_deviation(moments.variance(), eps);
      double sum = 0, product = 0;
      for (int64_t member = 0; member < members; ++member) {
        int64_t channel = i % groups * members + member, at = i * size + member * shape.length;
        GradientSums& own = sums[i * members + member];
        gradient_sums(g + at, x + at, shape.length, mean, own.sum, own.product);
        sum += own.sum * static_cast<double>(weight[channel]);
        product += own.product * static_cast<double>(weight[channel]);
      }
      C slope = static_cast<C>(inverse * inverse * inverse * product / static_cast<double>(size));
      C shift = static_cast<C>(inverse * sum / static_cast<double>(size));
      for (int64_t member = 0; member < members; ++member) {
        int64_t channel = i % groups * members + member, at = i * size + member * shape.length;
        gradient_run(g + at, x + at, gx + at, shape.length, mean, static_cast<C>(weight[channel] * inverse), slope,
                     shift);
      }
    }
  });
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    double product = 0, sum = 0;
    for (int64_t sample = 0; sample < shape.samples; ++sample) {
      const GradientSums& own = sums[sample * shape.channels + channel];
      product += own.product * inverses[sample * groups + channel / members];
      sum += own.sum;
    }
    gweight[channel] = static_cast<T>(static_cast<C>(product));
    gbias[channel] = static_cast<T>(static_cast<C>(sum));
  }
}

// ---- rows with a weight for each item: layer and RMS normalisation, and groups without a length
// -----------------------

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

// ---- bindings ------------------------------------------------------------------------------------------------------

// A weight or bias (or None, for `otherwise` everywhere) as numbers to compute with.
template <class T>
std::vector<Compute<T>> load(const WorkArray& values, int64_t count, double otherwise) {
  std::vector<Compute<T>> loaded(static_cast<size_t>(count), static_cast<Compute<T>>(otherwise));
  if (values) std::copy_n(values.array.as<T>(), count, loaded.begin());
  return loaded;
}

// Takes an optional array; false where it has another dtype or size than the kernel is written for.
bool take(nb::handle given, DType dtype, int64_t count, WorkArray& taken) {
  if (given.is_none()) return true;
  taken = contiguous(given);
  return taken.array.dtype == dtype && taken.array.size() == count;
}

bool channels_of(const Array& x, Channels& shape) {
  if (x.dimensions < 2) return false;
  shape = {x.shape[0], x.shape[1], 1};
  for (int i = 2; i < x.dimensions; ++i) shape.length *= x.shape[i];
  return true;
}

bool same_form(const Array& a, const Array& b) {
  return a.dtype == b.dtype && std::ranges::equal(shape_of(a), shape_of(b));
}

// After the normalisation a residual (or None) is added and the sum rectified, if it is to be.
nb::object batch_norm(nb::handle input, nb::handle weight, nb::handle bias, nb::handle residual, bool rectify,
                      double eps) {
  WorkArray x = contiguous(input), w, b, r;
  Channels shape;
  if (!channels_of(x.array, shape) || shape.items() == 0) return not_implemented();
  DType dtype = x.array.dtype;
  if (!take(weight, dtype, shape.channels, w) || !take(bias, dtype, shape.channels, b)) return not_implemented();
  if (!residual.is_none() && !same_form((r = contiguous(residual)).array, x.array)) return not_implemented();
  NewArray y, mean, variance;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, shape.channels, 1), shift = load<T>(b, shape.channels, 0);
    y = result(dtype, shape_of(x.array));
    mean = result(dtype_of<C>(), {shape.channels});
    variance = result(dtype_of<C>(), {shape.channels});
    Unlocked unlocked;
    auto run = [&](auto finish) {
      auto normalize =
          shape.length == 1 ? &batch_norm_columns<T, C, decltype(finish)> : &batch_norm_runs<T, C, decltype(finish)>;
      normalize(x.array.as<T>(), scale.data(), shift.data(), y.array.as<T>(), mean.array.as<C>(),
                variance.array.as<C>(), shape, eps, finish);
    };
    auto rectified = [](C value) { return value <= 0 ? C(0) : value; };  // NaN stays
    if (!rectify) {
      run(Unchanged{});
    } else if (const T* added = r.array.as<T>(); added != nullptr) {
      run([=](C value, int64_t at) { return rectified(value + static_cast<C>(added[at])); });
    } else {
      run([=](C value, int64_t) { return rectified(value); });
    }
  });
  return known ? results(y, mean, variance) : not_implemented();
}

// Where the result was rectified, y is that; else None. `with_residual`: return the gradient before the rectifier, too.
nb::object batch_norm_gradient(nb::handle gradient, nb::handle output, nb::handle input, nb::handle weight,
                               bool with_residual, double eps) {
  WorkArray g = contiguous(gradient), x = contiguous(input), y, w;
  Channels shape;
  DType dtype = x.array.dtype;
  if (!channels_of(x.array, shape) || shape.items() == 0 || !same_form(g.array, x.array) ||
      !take(weight, dtype, shape.channels, w)) {
    return not_implemented();
  }
  if (!output.is_none() && !same_form((y = contiguous(output)).array, x.array)) return not_implemented();
  NewArray gx, gweight, gbias, gresidual;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, shape.channels, 1);
    gx = result(dtype, shape_of(x.array));
    gweight = result(dtype, {shape.channels});
    gbias = result(dtype, {shape.channels});
    if (with_residual) gresidual = result(dtype, shape_of(x.array));
    Unlocked unlocked;
    auto run = shape.length == 1 ? &batch_norm_gradient_columns<T, C> : &batch_norm_gradient_runs<T, C>;
    run(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(), gweight.array.as<T>(), gbias.array.as<T>(),
        shape, eps, {y.array.as<T>(), (with_residual ? gresidual : gx).array.as<T>()});
  });
  if (!known) return not_implemented();
  if (with_residual) return results(gx, gweight, gbias, gresidual);
  return results(gx, gweight, gbias);
}

// With given statistics, as in evaluation.
nb::object batch_norm_inference(nb::handle input, nb::handle weight, nb::handle bias, nb::handle mean,
                                nb::handle variance, double eps) {
  WorkArray x = contiguous(input), w, b, m, v;
  Channels shape;
  DType dtype = x.array.dtype;
  if (!channels_of(x.array, shape) || mean.is_none() || variance.is_none() || !take(weight, dtype, shape.channels, w) ||
      !take(bias, dtype, shape.channels, b) || !take(mean, dtype, shape.channels, m) ||
      !take(variance, dtype, shape.channels, v)) {
    return not_implemented();
  }
  NewArray y;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, shape.channels, 1), shift = load<T>(b, shape.channels, 0);
    auto center = load<T>(m, shape.channels, 0), spread = load<T>(v, shape.channels, 1);
    y = result(dtype, shape_of(x.array));
    const T* from = x.array.as<T>();
    T* to = y.array.as<T>();
    Unlocked unlocked;
    for (int64_t c = 0; c < shape.channels; ++c) scale[c] *= inverse_deviation(spread[c], eps);
    if (shape.length == 1) {
      parallel_for(shape.samples, blocks_of(shape.channels), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t c = 0; c < shape.channels; ++c) {
            int64_t at = i * shape.channels + c;
            to[at] = static_cast<T>((static_cast<C>(from[at]) - center[c]) * scale[c] + shift[c]);
          }
        }
      });
      return;
    }
    parallel_for(shape.samples * shape.channels, blocks_of(shape.length), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t c = i % shape.channels, at = i * shape.length;
        normalize_run(from + at, to + at, shape.length, center[c], scale[c], shift[c], Unchanged{});
      }
    });
  });
  return known ? y.object : not_implemented();
}

bool groups_of(const Array& x, int64_t groups, Channels& shape, Rows& rows) {
  if (!channels_of(x, shape) || groups < 1 || shape.channels == 0 || shape.channels % groups != 0) return false;
  rows = {shape.samples * groups, shape.channels / groups * shape.length, groups};
  return rows.length > 0;
}

nb::object group_norm(nb::handle input, nb::handle weight, nb::handle bias, int64_t groups, double eps) {
  WorkArray x = contiguous(input), w, b;
  Channels shape;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!groups_of(x.array, groups, shape, rows) || !take(weight, dtype, shape.channels, w) ||
      !take(bias, dtype, shape.channels, b)) {
    return not_implemented();
  }
  NewArray y, mean, variance;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, shape.channels, 1), shift = load<T>(b, shape.channels, 0);
    y = result(dtype, shape_of(x.array));
    mean = result(dtype_of<C>(), {shape.samples, groups});
    variance = result(dtype_of<C>(), {shape.samples, groups});
    Unlocked unlocked;
    if (shape.length == 1) {
      norm_rows<true>(x.array.as<T>(), scale.data(), shift.data(), y.array.as<T>(), mean.array.as<C>(),
                      variance.array.as<C>(), rows, eps);
    } else {
      group_norm_runs(x.array.as<T>(), scale.data(), shift.data(), y.array.as<T>(), mean.array.as<C>(),
                      variance.array.as<C>(), shape, groups, eps);
    }
  });
  return known ? results(y, mean, variance) : not_implemented();
}

nb::object group_norm_gradient(nb::handle gradient, nb::handle input, nb::handle weight, int64_t groups, double eps) {
  WorkArray g = contiguous(gradient), x = contiguous(input), w;
  Channels shape;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!groups_of(x.array, groups, shape, rows) || g.array.dtype != dtype ||
      !std::ranges::equal(shape_of(g.array), shape_of(x.array)) || !take(weight, dtype, shape.channels, w)) {
    return not_implemented();
  }
  NewArray gx, gweight, gbias;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto scale = load<T>(w, shape.channels, 1);
    gx = result(dtype, shape_of(x.array));
    gweight = result(dtype, {shape.channels});
    gbias = result(dtype, {shape.channels});
    Unlocked unlocked;
    if (shape.length == 1) {
      norm_gradient_rows<true>(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(), gweight.array.as<T>(),
                               gbias.array.as<T>(), rows, eps);
    } else {
      group_norm_gradient_runs(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(), gweight.array.as<T>(),
                               gbias.array.as<T>(), shape, groups, eps);
    }
  });
  return known ? results(gx, gweight, gbias) : not_implemented();
}

// The last `dimensions` dimensions are normalised together.
bool rows_of(const Array& x, int64_t dimensions, Rows& rows) {
  if (dimensions < 1 || dimensions > x.dimensions) return false;
  rows = {1, 1, 1};
  for (int i = 0; i < x.dimensions; ++i) (i < x.dimensions - dimensions ? rows.count : rows.length) *= x.shape[i];
  return rows.length > 0;
}

std::span<const int64_t> leading(const Array& x, int64_t dimensions) {
  return {x.shape, static_cast<size_t>(x.dimensions - dimensions)};
}
std::span<const int64_t> trailing(const Array& x, int64_t dimensions) {
  return {x.shape + x.dimensions - dimensions, static_cast<size_t>(dimensions)};
}

template <bool centered>
nb::object row_norm(nb::handle input, nb::handle weight, nb::handle bias, int64_t dimensions, double eps) {
  WorkArray x = contiguous(input), w, b;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!rows_of(x.array, dimensions, rows) || !take(weight, dtype, rows.length, w) ||
      !take(bias, dtype, rows.length, b)) {
    return not_implemented();
  }
  NewArray y, mean, variance;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, rows.length, 1), shift = load<T>(b, rows.length, 0);
    y = result(dtype, shape_of(x.array));
    if (centered) mean = result(dtype_of<C>(), leading(x.array, dimensions));
    variance = result(dtype_of<C>(), leading(x.array, dimensions));
    Unlocked unlocked;
    norm_rows<centered>(x.array.as<T>(), scale.data(), shift.data(), y.array.as<T>(),
                        centered ? mean.array.as<C>() : nullptr, variance.array.as<C>(), rows, eps);
  });
  if (!known) return not_implemented();
  if (centered) return results(y, mean, variance);
  return results(y, variance);
}

template <bool centered>
nb::object row_norm_gradient(nb::handle gradient, nb::handle input, nb::handle weight, int64_t dimensions, double eps) {
  WorkArray g = contiguous(gradient), x = contiguous(input), w;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!rows_of(x.array, dimensions, rows) || g.array.dtype != dtype ||
      !std::ranges::equal(shape_of(g.array), shape_of(x.array)) || !take(weight, dtype, rows.length, w)) {
    return not_implemented();
  }
  NewArray gx, gweight, gbias;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto scale = load<T>(w, rows.length, 1);
    gx = result(dtype, shape_of(x.array));
    gweight = result(dtype, trailing(x.array, dimensions));
    if (centered) gbias = result(dtype, trailing(x.array, dimensions));
    Unlocked unlocked;
    norm_gradient_rows<centered>(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(),
                                 gweight.array.as<T>(), centered ? gbias.array.as<T>() : nullptr, rows, eps);
  });
  if (!known) return not_implemented();
  if (centered) return results(gx, gweight, gbias);
  return results(gx, gweight);
}

}  // namespace

void bind_normalize(nb::module_& module) {
  define_kernel(
      module, "batch_norm",
      [](nb::handle x, nb::handle weight, nb::handle bias, double eps) {
        return batch_norm(x, weight, bias, nb::none(), false, eps);
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(), nb::arg("eps"));
  define_kernel(
      module, "batch_norm_gradient",
      [](nb::handle g, nb::handle x, nb::handle weight, double eps) {
        return batch_norm_gradient(g, nb::none(), x, weight, false, eps);
      },
      nb::arg("g"), nb::arg("x"), nb::arg("weight").none(), nb::arg("eps"));
  define_kernel(
      module, "batch_norm_relu",
      [](nb::handle x, nb::handle weight, nb::handle bias, nb::handle residual, double eps) {
        return batch_norm(x, weight, bias, residual, true, eps);
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(), nb::arg("residual").none(), nb::arg("eps"));
  define_kernel(module, "batch_norm_relu_gradient", &batch_norm_gradient, nb::arg("g"), nb::arg("y"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("with_residual"), nb::arg("eps"));
  define_kernel(module, "batch_norm_inference", &batch_norm_inference, nb::arg("x"), nb::arg("weight").none(),
                nb::arg("bias").none(), nb::arg("mean"), nb::arg("variance"), nb::arg("eps"));
  define_kernel(module, "group_norm", &group_norm, nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(),
                nb::arg("groups"), nb::arg("eps"));
  define_kernel(module, "group_norm_gradient", &group_norm_gradient, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("groups"), nb::arg("eps"));
  define_kernel(module, "layer_norm", &row_norm<true>, nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(),
                nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(module, "layer_norm_gradient", &row_norm_gradient<true>, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(
      module, "rms_norm",
      [](nb::handle x, nb::handle weight, int64_t dimensions, double eps) {
        return row_norm<false>(x, weight, nb::none(), dimensions, eps);
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(module, "rms_norm_gradient", &row_norm_gradient<false>, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
}

}  // namespace rushlight
