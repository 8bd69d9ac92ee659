// Batch normalisation with given statistics, as in evaluation, and the sums that its gradients are made of.
#include <vector>

#include "bind.h"
#include "instruction.h"
#include "normalize.h"
#include "threads.h"

namespace rushlight {

namespace {

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

// Of each channel, the sums of g and of g * (x - mean).
nb::object batch_norm_sums(nb::handle gradient, nb::handle input, nb::handle mean) {
  WorkArray g = contiguous(gradient), x = contiguous(input), m;
  Channels shape;
  const DType dtype = x.array.dtype;
  if (!channels_of(x.array, shape) || shape.items() == 0 || !same_form(g.array, x.array) || mean.is_none() ||
      !take(mean, dtype, shape.channels, m)) {
    return not_implemented();
  }
  NewArray sum, product;
  const bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    const int64_t channels = shape.channels, length = shape.length;
    const auto center = load<T>(m, channels, 0);
    sum = result(dtype, {channels});
    product = result(dtype, {channels});
    const T *gs = g.array.as<T>(), *xs = x.array.as<T>();
    Unlocked unlocked;
    // Of one sample, or of some rows whose neighbours belong to different channels.
    const int64_t together = length == 1 ? 64 : 1, groups = divide_up(shape.samples, together);
    std::vector<C> sums(static_cast<size_t>(groups * channels)), products(static_cast<size_t>(groups * channels));
    if (length == 1) {
      parallel_for(groups, blocks_of(together * channels), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin * together; row < std::min(end * together, shape.samples); ++row) {
          C *to = sums.data() + row / together * channels, *product_to = products.data() + row / together * channels;
          const T *from = gs + row * channels, *values = xs + row * channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) {
            to[c] += static_cast<C>(from[c]);
            product_to[c] += static_cast<C>(from[c]) * (static_cast<C>(values[c]) - center[c]);
          }
        }
      });
    } else {
      parallel_for(groups * channels, blocks_of(length), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          GradientSums of_run;
          gradient_sums(gs + i * length, xs + i * length, length, center[i % channels], of_run.sum, of_run.product);
          sums[i] = static_cast<C>(of_run.sum);
          products[i] = static_cast<C>(of_run.product);
        }
      });
    }
    for (int64_t c = 0; c < channels; ++c) {
      GradientSums all;
      for (int64_t i = c; i < groups * channels; i += channels) {
        all.sum += static_cast<double>(sums[i]);
        all.product += static_cast<double>(products[i]);
      }
      sum.array.as<T>()[c] = static_cast<T>(static_cast<C>(all.sum));
      product.array.as<T>()[c] = static_cast<T>(static_cast<C>(all.product));
    }
  });
  return known ? results(sum, product) : not_implemented();
}

}  // namespace

void bind_batch_norm_inference(nb::module_& module) {
  define_kernel(module, "batch_norm_inference", &batch_norm_inference, nb::arg("x"), nb::arg("weight").none(),
                nb::arg("bias").none(), nb::arg("mean"), nb::arg("variance"), nb::arg("eps"));
  define_kernel(module, "batch_norm_sums", &batch_norm_sums, nb::arg("g"), nb::arg("x"), nb::arg("mean"));
}

}  // namespace rushlight
