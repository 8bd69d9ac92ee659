// Maximum and average pooling of NumPy arrays, with their gradients. A plane is one channel of one sample.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "bind.h"
#include "half.h"
#include "instruction.h"
#include "pooling_average.h"
#include "pooling_maximum.h"
#include "threads.h"
#include "window.h"

namespace rushlight {

namespace {

using Sizes = std::vector<int64_t>;

// Up to so many items maxima of equal windows are found faster as those of regular ones.
constexpr int64_t small_window = 64;

// ---- bindings ------------------------------------------------------------------------------------------------------

std::span<const int64_t> trailing(const Array& array, size_t count) {
  if (static_cast<size_t>(array.dimensions) < count) return {};
  return {array.shape + array.dimensions - count, count};
}

// The leading shape of `array` followed by `spatial`.
Sizes with_spatial(const Array& array, std::span<const int64_t> spatial) {
  Sizes shape(array.shape, array.shape + array.dimensions - spatial.size());
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return shape;
}

Sizes output_shape(const Array& x, const Window& window, size_t dimensions) {
  Sizes spatial;
  for (size_t i = 3 - dimensions; i < 3; ++i) spatial.push_back(window.axes[i].output);
  return with_spatial(x, spatial);
}

int64_t planes_of(const Array& array, size_t dimensions) {
  int64_t planes = 1;
  for (int i = 0; i < array.dimensions - static_cast<int>(dimensions); ++i) planes *= array.shape[i];
  return planes;
}

// Positions in a plane are counted in 32 bits where items are no wider, which lets both share vector registers.
template <class T>
using PlaneIndex = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;

bool countable(const Array& x, const Window& window) {
  return item_size(x.dtype) == 8 || window.input() <= std::numeric_limits<int32_t>::max();
}

template <class Body>
bool dispatch_ordered(DType dtype, Body&& body) {
  if (dtype == DType::int64) {
    body(int64_t{});
    return true;
  }
  return dispatch_floating(dtype, body);
}

nb::object maximum_of(nb::handle input, const std::optional<Window>& window, size_t dimensions, bool with_indices) {
  if (!window || !countable(borrow(input), *window)) return not_implemented();
  WorkArray x = contiguous(input);
  Sizes shape = output_shape(x.array, *window, dimensions);
  NewArray y, indices;
  bool known = dispatch_ordered(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(x.array.dtype, shape);
    if (with_indices) indices = result(DType::int64, shape);
    int64_t planes = planes_of(x.array, dimensions);
    Unlocked unlocked;
    if (with_indices) {
      maximum<T, PlaneIndex<T>>(x.array.as<T>(), y.array.as<T>(), indices.array.as<int64_t>(), planes, *window);
    } else {
      maximum(x.array.as<T>(), y.array.as<T>(), planes, *window);
    }
  });
  if (!known) return not_implemented();
  if (with_indices) return results(y, indices);
  return y.object;
}

nb::object maximum_gradient_of(nb::handle gradient, nb::handle input, const std::optional<Window>& window,
                               size_t dimensions) {
  if (!window || !countable(borrow(input), *window)) return not_implemented();
  WorkArray g = contiguous(gradient), x = contiguous(input);
  Sizes shape = output_shape(x.array, *window, dimensions);
  if (g.array.dtype != x.array.dtype || !std::ranges::equal(shape, trailing(g.array, shape.size()))) {
    return not_implemented();
  }
  NewArray gx;
  bool known = dispatch_floating(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(x.array.dtype, {x.array.shape, static_cast<size_t>(x.array.dimensions)});
    int64_t planes = planes_of(x.array, dimensions);
    Unlocked unlocked;
    maximum_gradient<T, PlaneIndex<T>>(g.array.as<T>(), x.array.as<T>(), gx.array.as<T>(), planes, *window);
  });
  return known ? gx.object : not_implemented();
}

// Adaptive windows of one size lie side by side, as regular ones.
std::optional<Window> adaptive_maximum_window(nb::handle input, const Sizes& output) {
  const auto spatial = trailing(borrow(input), output.size());
  Sizes size;
  int64_t items = 1;
  for (size_t i = 0; i < spatial.size() && items <= small_window; ++i) {
    if (output[i] < 1 || spatial[i] % output[i] != 0) break;
    size.push_back(spatial[i] / output[i]);
    items *= size.back();
  }
  if (size.size() < output.size() || items > small_window) return adaptive_window(spatial, output);
  return regular_window(spatial, {size, size, Sizes(size.size(), 0), Sizes(size.size(), 1)});
}

bool averaged_natively(DType dtype) { return is_half(dtype) || dtype == DType::float32 || dtype == DType::float64; }

// body(array) with the array's items as float or double.
template <class Body>
void dispatch_average(const Array& array, Body&& body) {
  Unlocked unlocked;
  if (array.dtype == DType::float64) {
    body(array.as<double>());
  } else {
    body(array.as<float>());
  }
}

nb::object average_of(nb::handle input, const std::optional<Window>& window, size_t dimensions,
                      int64_t divisor_override) {
  const Array given = borrow(input);
  if (!window || !averaged_natively(given.dtype)) return not_implemented();
  const WorkArray x = widened(given);
  return narrowed(given.dtype, output_shape(given, *window, dimensions),
                  [&](const Array& y) {
                    dispatch_average(y, [&]<class T>(T* to) {
                      Average<T>(*window, planes_of(given, dimensions), divisor_override).forward(x.array.as<T>(), to);
                    });
                  })
      .object;
}

nb::object average_gradient_of(nb::handle gradient, const Sizes& size, const std::optional<Window>& window,
                               int64_t divisor_override) {
  const Array given = borrow(gradient);
  if (!window || !averaged_natively(given.dtype)) return not_implemented();
  if (output_shape(given, *window, size.size()) != Sizes(given.shape, given.shape + given.dimensions)) {
    return not_implemented();
  }
  const WorkArray g = widened(given);
  return narrowed(
             given.dtype, with_spatial(given, size),
             [&](const Array& gx) {
               dispatch_average(gx, [&]<class T>(T* to) {
                 Average<T>(*window, planes_of(given, size.size()), divisor_override).backward(g.array.as<T>(), to);
               });
             })
      .object;
}

std::optional<Window> average_window(std::span<const int64_t> spatial, const Sizes& kernel_size, const Sizes& stride,
                                     const Sizes& padding, bool ceil_mode, bool count_include_pad) {
  Sizes dilation(kernel_size.size(), 1);
  return regular_window(spatial, {kernel_size, stride, padding, dilation, ceil_mode, count_include_pad});
}

// Writes each item to where its index says, in zeros of `output_size`; the inverse of a maximum pooling.
nb::object max_unpool(nb::handle input, nb::handle index, const Sizes& output_size) {
  Array given = borrow(input), given_index = borrow(index);
  size_t dimensions = output_size.size();
  if (given_index.dtype != DType::int64 || static_cast<size_t>(given.dimensions) < dimensions ||
      !std::ranges::equal(std::span(given.shape, given.dimensions),
                          std::span(given_index.shape, given_index.dimensions))) {
    return not_implemented();
  }
  WorkArray x = contiguous(input), indices = contiguous(index);
  NewArray y;
  int64_t bound = 1;
  for (int64_t size : output_size) {
    if (size < 0 || __builtin_mul_overflow(bound, size, &bound)) return not_implemented();
  }
  int64_t planes = planes_of(x.array, dimensions), count = x.array.size();
  const int64_t* where = indices.array.as<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    if (where[i] < 0 || where[i] >= bound) return not_implemented();  // the meaning says which index is outside
  }
  bool known = dispatch_ordered(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(x.array.dtype, with_spatial(x.array, output_size));
    const T* from = x.array.as<T>();
    T* to = y.array.as<T>();
    Unlocked unlocked;
    int64_t length = planes == 0 ? 0 : count / planes;
    parallel_for(planes, work_grain / std::max<int64_t>(1, bound), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        std::fill_n(to + plane * bound, bound, T(0));
        for (int64_t i = plane * length; i < (plane + 1) * length; ++i) to[plane * bound + where[i]] = from[i];
      }
    });
  });
  return known ? y.object : not_implemented();
}

}  // namespace

void bind_pooling(nb::module_& module) {
  define_kernel(
      module, "max_pool",
      [](nb::handle x, const Sizes& kernel_size, const Sizes& stride, const Sizes& padding, const Sizes& dilation,
         bool ceil_mode) {
        size_t n = kernel_size.size();
        auto window = regular_window(trailing(borrow(x), n), {kernel_size, stride, padding, dilation, ceil_mode, true});
        return maximum_of(x, window, n, false);
      },
      nb::arg("x"), nb::arg("kernel_size"), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
      nb::arg("ceil_mode"));
  define_kernel(
      module, "max_pool_with_indices",
      [](nb::handle x, const Sizes& kernel_size, const Sizes& stride, const Sizes& padding, const Sizes& dilation,
         bool ceil_mode) {
        size_t n = kernel_size.size();
        auto window = regular_window(trailing(borrow(x), n), {kernel_size, stride, padding, dilation, ceil_mode, true});
        return maximum_of(x, window, n, true);
      },
      nb::arg("x"), nb::arg("kernel_size"), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
      nb::arg("ceil_mode"));
  define_kernel(
      module, "max_pool_gradient",
      [](nb::handle g, nb::handle x, const Sizes& kernel_size, const Sizes& stride, const Sizes& padding,
         const Sizes& dilation, bool ceil_mode) {
        size_t n = kernel_size.size();
        auto window = regular_window(trailing(borrow(x), n), {kernel_size, stride, padding, dilation, ceil_mode, true});
        return maximum_gradient_of(g, x, window, n);
      },
      nb::arg("g"), nb::arg("x"), nb::arg("kernel_size"), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
      nb::arg("ceil_mode"));
  define_kernel(
      module, "adaptive_max_pool",
      [](nb::handle x, const Sizes& output_size) {
        return maximum_of(x, adaptive_maximum_window(x, output_size), output_size.size(), false);
      },
      nb::arg("x"), nb::arg("output_size"));
  define_kernel(
      module, "adaptive_max_pool_with_indices",
      [](nb::handle x, const Sizes& output_size) {
        return maximum_of(x, adaptive_maximum_window(x, output_size), output_size.size(), true);
      },
      nb::arg("x"), nb::arg("output_size"));
  define_kernel(
      module, "adaptive_max_pool_gradient",
      [](nb::handle g, nb::handle x, const Sizes& output_size) {
        return maximum_gradient_of(g, x, adaptive_maximum_window(x, output_size), output_size.size());
      },
      nb::arg("g"), nb::arg("x"), nb::arg("output_size"));
  define_kernel(module, "max_unpool", &max_unpool, nb::arg("x"), nb::arg("indices"), nb::arg("output_size"));
  define_kernel(
      module, "avg_pool",
      [](nb::handle x, const Sizes& kernel_size, const Sizes& stride, const Sizes& padding, bool ceil_mode,
         bool count_include_pad, std::optional<int64_t> divisor_override) {
        size_t n = kernel_size.size();
        auto window =
            average_window(trailing(borrow(x), n), kernel_size, stride, padding, ceil_mode, count_include_pad);
        return average_of(x, window, n, divisor_override.value_or(0));
      },
      nb::arg("x"), nb::arg("kernel_size"), nb::arg("stride"), nb::arg("padding"), nb::arg("ceil_mode"),
      nb::arg("count_include_pad"), nb::arg("divisor_override").none());
  define_kernel(
      module, "avg_pool_gradient",
      [](nb::handle g, const Sizes& size, const Sizes& kernel_size, const Sizes& stride, const Sizes& padding,
         bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
        auto window = average_window(size, kernel_size, stride, padding, ceil_mode, count_include_pad);
        return average_gradient_of(g, size, window, divisor_override.value_or(0));
      },
      nb::arg("g"), nb::arg("size"), nb::arg("kernel_size"), nb::arg("stride"), nb::arg("padding"),
      nb::arg("ceil_mode"), nb::arg("count_include_pad"), nb::arg("divisor_override").none());
  define_kernel(
      module, "adaptive_avg_pool",
      [](nb::handle x, const Sizes& output_size) {
        size_t n = output_size.size();
        return average_of(x, adaptive_window(trailing(borrow(x), n), output_size), n, 0);
      },
      nb::arg("x"), nb::arg("output_size"));
  define_kernel(
      module, "adaptive_avg_pool_gradient",
      [](nb::handle g, const Sizes& size) {
        Array array = borrow(g);
        return average_gradient_of(g, size, adaptive_window(size, trailing(array, size.size())), 0);
      },
      nb::arg("g"), nb::arg("size"));
}

}  // namespace rushlight
