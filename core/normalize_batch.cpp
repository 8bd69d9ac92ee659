// Batch normalisation: a channel's items lie in one run of `length` for each sample, or, for (samples, channels) with
// no length, apart from each other beside those of other channels.
#include <type_traits>
#include <vector>

#include "bind.h"
#include "instruction.h"
#include "normalize.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight {

namespace {

// Items [begin, end) of one channel.
struct Part {
  int64_t channel, begin, end;
  int64_t items() const { return end - begin; }
};

// The parts of channels whose items lie in one run for each sample. A channel is cut where there are too few of them to
// share out, never by the number of threads.
class Parts {
 public:
  explicit Parts(const Channels& shape)
      : shape_(shape),
        gathered_(shape.length < 512 && shape.samples > 1),
        each_(std::max<int64_t>(1, shape.channels < 16 ? shape.items() >> 15
                                   : gathered_         ? shape.items() >> 16
                                                       : 1)) {}

  // Two sweeps: `first(part, room)` returns sums that can be merged, `last(part, sums, room)` is given those of the
  // whole channel; right after the first, while the items are still in a cache, where the channel isn't cut. Short runs
  // are put together before by `gather(part, room)` in room for `arrays` of all their items, for both sweeps: sums over
  // short runs cost their beginnings and ends, and runs a power of two apart share so few lines of the caches that each
  // sweep would read them from memory. Otherwise there is no room.
  template <class T, int arrays, class Gather, class First, class Last>
  void sweep(Gather gather, First first, Last last) const {
    using Sums = std::invoke_result_t<First, const Part&, T*>;
    auto for_parts = [&](auto&& body) {
      const int64_t most = gathered_ ? shape_.items() / each_ + 1 : 0;
      parallel_for(shape_.channels * each_, blocks_of(shape_.items() / each_), [&](int64_t begin, int64_t end) {
        const Scratch<T> scratch(arrays * most);
        T* const room = gathered_ ? scratch.get() : nullptr;
        for (int64_t i = begin; i < end; ++i) {
          const int64_t at = i % each_;
          const Part part{i / each_, shape_.items() * at / each_, shape_.items() * (at + 1) / each_};
          if (gathered_) gather(part, room);
          body(i, part, room);
        }
      });
    };
    if (each_ == 1) {
      for_parts([&](int64_t, const Part& part, T* room) { last(part, first(part, room), room); });
      return;
    }
    std::vector<Sums> sums(static_cast<size_t>(shape_.channels * each_));
    for_parts([&](int64_t i, const Part& part, T* room) { sums[i] = first(part, room); });
    for (int64_t i = 0; i < shape_.channels * each_; ++i) {
      if (i % each_ != 0) sums[i - i % each_].merge(sums[i]);
    }
    for_parts([&](int64_t, const Part& part, T* room) { last(part, sums[part.channel * each_], room); });
  }

  // run(at, from, count) for each run of neighbours: `at` among all items, `from` among the part's.
  template <class Run>
  void for_runs(const Part& part, Run&& run) const {
    const int64_t length = shape_.length, step = shape_.channels * length;
    int64_t skipped = part.begin % length;
    int64_t at = part.begin / length * step + part.channel * length + skipped;
    for (int64_t item = part.begin; item < part.end;) {
      const int64_t count = std::min(length - skipped, part.end - item);
      run(at, item - part.begin, count);
      item += count;
      at += step - skipped;
      skipped = 0;
    }
  }

 private:
  const Channels& shape_;
  bool gathered_;
  int64_t each_;  // parts of a channel
};

// finish(number, at) is what is stored of the normalised number at `at`.
template <class T, class C, class Finish>
void batch_norm_runs(const T* x, const C* weight, const C* bias, T* y, C* mean, C* variance, const Channels& shape,
                     double eps, Finish finish) {
  const Parts parts(shape);
  auto gather = [&](const Part& part, T* room) {
    parts.for_runs(part, [&](int64_t at, int64_t from, int64_t count) { std::copy_n(x + at, count, room + from); });
  };
  auto moments_of = [&](const Part& part, const T* room) {
    Moments moments;
    if (room != nullptr) {
      add_moments(moments, room, part.items());
    } else {
      parts.for_runs(part, [&](int64_t at, int64_t, int64_t count) { add_moments(moments, x + at, count); });
    }
    return moments;
  };
  auto normalize = [&](const Part& part, const Moments& moments, const T* room) {
    const C center = static_cast<C>(moments.mean), spread = static_cast<C>(moments.variance());
    if (part.begin == 0) mean[part.channel] = center, variance[part.channel] = spread;
    const C scale = weight[part.channel] * inverse_deviation(spread, eps), shift = bias[part.channel];
    parts.for_runs(part, [&](int64_t at, int64_t from, int64_t count) {
      normalize_run(room == nullptr ? x + at : room + from, y + at, count, center, scale, shift,
                    [at, finish](C value, int64_t i) { return finish(value, at + i); });
    });
  };
  parts.sweep<T, 1>(gather, moments_of, normalize);
}

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

// The moments of x, and the sums of g and of g * (x - mean), in one sweep.
struct GradientMoments {
  Moments moments;
  double sum = 0, product = 0;

  template <class T>
  void add(const T* g, const T* x, int64_t count) {
    using C = Compute<T>;
    constexpr int64_t block = 2048;
    for (int64_t start = 0; start < count; start += block) {
      const int64_t length = std::min(block, count - start);
      const C mean = total(x + start, length) / static_cast<C>(length);
      C parts[3] = {};
      sums_of(
          length, parts,
          [mean](auto& sums, auto gradient, auto value) {
            const auto deviation = value - mean;
            sums[0] += deviation * deviation;
            sums[1] += gradient;
            sums[2] += gradient * deviation;
          },
          g + start, x + start);
      const auto [squares, some, products] = parts;
      merge({{static_cast<double>(length), static_cast<double>(mean), static_cast<double>(squares)},
             static_cast<double>(some),
             static_cast<double>(products)});
    }
  }

  void merge(const GradientMoments& other) {
    const double before = moments.mean;
    moments.merge(other.moments);
    product += (before - moments.mean) * sum + other.product + (other.moments.mean - moments.mean) * other.sum;
    sum += other.sum;
  }
};

// The moments are taken again: that is cheaper than to keep what the forward pass found beside its result.
template <class T, class C>
void batch_norm_gradient_runs(const T* g, const T* x, const C* weight, T* gx, T* gweight, T* gbias,
                              const Channels& shape, double eps, Rectified<T> rectified) {
  const T* before = rectified.y == nullptr ? g : rectified.g;
  const Parts parts(shape);
  auto gather = [&](const Part& part, T* room) {
    T* const gradients = room + part.items();
    parts.for_runs(part, [&](int64_t at, int64_t from, int64_t count) {
      std::copy_n(x + at, count, room + from);
      if (rectified.y == nullptr) {
        std::copy_n(g + at, count, gradients + from);
      } else {
        rectified_gradient(g + at, rectified.y + at, gradients + from, count);
        if (rectified.g != gx) std::copy_n(gradients + from, count, rectified.g + at);
      }
    });
  };
  auto moments_of = [&](const Part& part, const T* room) {
    GradientMoments result;
    if (room != nullptr) {
      result.add(room + part.items(), room, part.items());
      return result;
    }
    parts.for_runs(part, [&](int64_t at, int64_t, int64_t count) {
      constexpr int64_t block = 2048;  // stays in the first-level cache
      for (int64_t i = at; i < at + count; i += block) {
        const int64_t length = std::min(block, at + count - i);
        if (rectified.y != nullptr) rectified_gradient(g + i, rectified.y + i, rectified.g + i, length);
        result.add(before + i, x + i, length);
      }
    });
    return result;
  };
  auto finish = [&](const Part& part, const GradientMoments& all, const T* room) {
    const double inverse = inverse_deviation(all.moments.variance(), eps), count = static_cast<double>(shape.items());
    const double scale = static_cast<double>(weight[part.channel]) * inverse;
    if (part.begin == 0) {
      gweight[part.channel] = static_cast<T>(static_cast<C>(all.product * inverse));
      gbias[part.channel] = static_cast<T>(static_cast<C>(all.sum));
    }
    const C slope = static_cast<C>(scale * inverse * inverse * all.product / count);
    const C shift = static_cast<C>(scale * all.sum / count);
    parts.for_runs(part, [&](int64_t at, int64_t from, int64_t length) {
      const T* const gradients = room == nullptr ? before + at : room + part.items() + from;
      gradient_run(gradients, room == nullptr ? x + at : room + from, gx + at, length, static_cast<C>(all.moments.mean),
                   static_cast<C>(scale), slope, shift);
    });
  };
  parts.sweep<T, 2>(gather, moments_of, finish);
}

// ---- the same for (samples, channels) with no length: neighbours belong to different channels ----

constexpr int64_t columns = 32;

// body(first, count) over blocks of columns
template <class Body>
void for_columns(const Channels& shape, Body&& body) {
  int64_t blocks = divide_up(shape.channels, columns);
  parallel_for(blocks, blocks_of(shape.samples * columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i * columns, std::min(columns, shape.channels - i * columns));
  });
}

// totals[c] += the sum of term(row, c) over rows [begin, end) for each of `count` columns, at most `columns`.
template <class C, class Term>
void add_columns(int64_t begin, int64_t end, int64_t count, C* totals, Term&& term) {
  C sums[columns] = {};
  if (count == columns) {
    for (int64_t row = begin; row < end; ++row) {
#pragma GCC unroll 1
      for (int64_t c = 0; c < columns; ++c) sums[c] += term(row, c);
    }
  } else {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t c = 0; c < count; ++c) sums[c] += term(row, c);
    }
  }
  for (int64_t c = 0; c < count; ++c) totals[c] += sums[c];
}

constexpr int64_t column_rows =
    64;  // whose columns stay in the first-level cache, and are summed up before sums are merged

// Means and variances of a block of columns, by blocks of rows that are merged as Moments are.
template <class T>
void column_moments(const T* x, const Channels& shape, int64_t first, int64_t count, double* means, double* variances) {
  using C = Compute<T>;
  std::fill_n(means, columns, 0.0);
  std::fill_n(variances, columns, 0.0);
  const T* from = x + first;
  for (int64_t begin = 0; begin < shape.samples; begin += column_rows) {
    const int64_t end = std::min(begin + column_rows, shape.samples);
    const double before = static_cast<double>(begin), more = static_cast<double>(end - begin),
                 share = more / (before + more);
    C center[columns] = {}, squares[columns] = {};
    add_columns(begin, end, count, center,
                [&](int64_t row, int64_t c) { return static_cast<C>(from[row * shape.channels + c]); });
    for (C& value : center) value /= static_cast<C>(more);
    add_columns(begin, end, count, squares, [&](int64_t row, int64_t c) {
      C deviation = static_cast<C>(from[row * shape.channels + c]) - center[c];
      return deviation * deviation;
    });
    for (int64_t c = 0; c < columns; ++c) {
      const double difference = static_cast<double>(center[c]) - means[c];
      means[c] += difference * share;
      variances[c] += static_cast<double>(squares[c]) + difference * difference * before * share;
    }
  }
  for (int64_t c = 0; c < count; ++c) variances[c] /= static_cast<double>(shape.samples);
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
    for (int64_t begin = 0; begin < shape.samples; begin += column_rows) {
      const int64_t end = std::min(begin + column_rows, shape.samples);
      for (int64_t i = begin; i < end && rectified.y != nullptr; ++i) {
        const int64_t at = i * stride + first;
        rectified_gradient(g + at, rectified.y + at, rectified.g + at, count);
      }
      const T *gs = before + first, *xs = x + first;
      C some[columns] = {}, product[columns] = {};
      add_columns(begin, end, count, some, [&](int64_t i, int64_t c) { return static_cast<C>(gs[i * stride + c]); });
      add_columns(begin, end, count, product, [&](int64_t i, int64_t c) {
        return static_cast<C>(gs[i * stride + c]) * (static_cast<C>(xs[i * stride + c]) - center[c]);
      });
      for (int64_t c = 0; c < count; ++c) {
        sums[c] += static_cast<double>(some[c]);
        products[c] += static_cast<double>(product[c]);
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

}  // namespace

void bind_batch_norm(nb::module_& module) {
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
}

}  // namespace rushlight
