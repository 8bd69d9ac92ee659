// Group and instance normalisation: a group's channels lie side by side in one sample.
#include <vector>

#include "bind.h"
#include "instruction.h"
#include "normalize_rows.h"
#include "threads.h"

namespace rushlight {

namespace {

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

bool groups_of(const Array& x, int64_t groups, Channels& shape, Rows& rows) {
  if (!channels_of(x, shape) || groups < 1 || shape.channels == 0 || shape.channels % groups != 0) return false;
  rows = {shape.samples * groups, shape.channels / groups * shape.length, groups};
  return rows.length > 0;
}

// Groups of few items are rows with a weight for each item, the same for all of a channel.
bool as_rows(const Channels& shape, int64_t groups) { return shape.length < (groups == shape.channels ? 64 : 16); }

template <class C>
std::vector<C> for_items(const std::vector<C>& of_channels, int64_t length) {
  std::vector<C> result;
  result.reserve(of_channels.size() * static_cast<size_t>(length));
  for (C value : of_channels) result.insert(result.end(), static_cast<size_t>(length), value);
  return result;
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
    if (as_rows(shape, groups)) {
      norm_rows<true>(x.array.as<T>(), for_items(scale, shape.length).data(), for_items(shift, shape.length).data(),
                      y.array.as<T>(), mean.array.as<C>(), variance.array.as<C>(), rows, eps);
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
    if (as_rows(shape, groups)) {
      norm_gradient_rows<true>(g.array.as<T>(), x.array.as<T>(), for_items(scale, shape.length).data(),
                               gx.array.as<T>(), gweight.array.as<T>(), gbias.array.as<T>(), rows, eps, shape.length);
    } else {
      group_norm_gradient_runs(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(), gweight.array.as<T>(),
                               gbias.array.as<T>(), shape, groups, eps);
    }
  });
  return known ? results(gx, gweight, gbias) : not_implemented();
}

}  // namespace

void bind_group_norm(nb::module_& module) {
  define_kernel(module, "group_norm", &group_norm, nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(),
                nb::arg("groups"), nb::arg("eps"));
  define_kernel(module, "group_norm_gradient", &group_norm_gradient, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("groups"), nb::arg("eps"));
}

}  // namespace rushlight
