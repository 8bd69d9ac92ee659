// Convolution of NumPy arrays and its two gradients: checks sizes, states each as sums over windows, picks the engine.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"
#include "convolution_engine.h"
#include "convolution_products.h"
#include "half.h"
#include "instruction.h"
#include "scratch.h"

namespace rushlight {

namespace {

using namespace convolution;

template <class T>
void sum(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (winograd_pays(windows) && !narrow_pays(windows)) return sum_windows_winograd(windows, x, weights, output);
    if (const int results = minimal_results({&windows, 1})) {
      return sum_windows_minimal({&windows, 1}, results, x, weights, output);
    }
  }
  if (columns_pay(windows, weights.in_stride)) return sum_windows_columns(windows, x, weights, output);
  if (narrow_pays(windows)) return sum_windows_narrow(windows, x, weights, output);
  sum_windows(windows, x, weights, output);
}

template <class T>
void forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  if (multiply_forward(shapes, x, w, output)) return;
  const int64_t window = shapes.window(), in_channels = shapes.in_channels;
  const Weights<T> weights{w, shapes.out_channels * in_channels * window, in_channels * window, window};
  const Windows windows = shapes.forward();
  if (groups_pay(windows)) {
    return sum_windows_groups({&windows, 1}, shapes.output, x, weights, output);
  }
  if (images_pay({&windows, 1})) {
    const Windows turned = images_as_groups(windows);
    return sum_windows_groups<T>({&turned, 1}, shapes.output, x, {w, 0, weights.out_stride, weights.in_stride}, output);
  }
  sum(windows, x, weights, output);
}

template <class T>
void input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  if (multiply_input_gradient(shapes, g, w, gx) || add_columns_input_gradient(shapes, g, w, gx)) return;
  const int64_t window = shapes.window(), in_channels = shapes.in_channels;
  const Weights<T> weights{w, shapes.out_channels * in_channels * window, window, in_channels * window};
  std::vector<Windows> remainders;
  Extents remainder;
  for (remainder[0] = 0; remainder[0] < std::min(shapes.stride[0], shapes.input[0]); ++remainder[0]) {
    for (remainder[1] = 0; remainder[1] < std::min(shapes.stride[1], shapes.input[1]); ++remainder[1]) {
      for (remainder[2] = 0; remainder[2] < std::min(shapes.stride[2], shapes.input[2]); ++remainder[2]) {
        remainders.push_back(shapes.backward(remainder));
      }
    }
  }
  if (groups_pay(remainders[0])) {
    return sum_windows_groups<T>(remainders, shapes.input, g, weights, {gx});
  }
  if (images_pay(remainders)) {
    std::vector<Windows> turned;
    for (const Windows& each : remainders) turned.push_back(images_as_groups(each));
    return sum_windows_groups<T>(turned, shapes.input, g, {w, 0, weights.out_stride, weights.in_stride}, {gx});
  }
  if constexpr (sizeof(T) == sizeof(float)) {
    if (const int results = remainders.size() > 1 ? minimal_results(remainders) : 0) {
      return sum_windows_minimal(remainders, results, g, weights, {gx});
    }
  }
  for (const Windows& windows : remainders) sum<T>(windows, g, weights, {gx});
}

// The same sums with x and g in each other's places, for steps of 1: the gradient with respect to w[c, o] reversed.
Windows exchanged(const Windows& windows) {
  Windows turned = windows;
  std::swap(turned.in_channels, turned.out_channels);
  std::swap(turned.size, turned.positions);
  for (Tap& tap : turned.taps) {
    for (int64_t& offset : tap.offset) offset = -offset;
  }
  return turned;
}

// Few output channels leave panels of them empty; many input channels would fill these.
bool exchange_pays(const Windows& windows) {
  return windows.step == Extents{1, 1, 1} && windows.out_channels <= 8 && windows.in_channels >= 16;
}

template <class T>
void sum_weights_gradient(const Windows& windows, const T* g, const T* x, T* gw) {
  if (groups_pay(windows)) return weight_gradient_groups(windows, false, g, x, gw);
  if (exchange_pays(windows)) {
    const int64_t in = windows.in_channels, out = windows.out_channels, taps = windows.depth() / in;
    const Scratch<T> turned(windows.groups * out * in * taps);
    sum_weights_gradient(exchanged(windows), x, g, turned.get());
    for (int64_t i = 0; i < windows.groups * out * in; ++i) {
      const int64_t group = i / (out * in), o = i / in % out, c = i % in;
      std::copy_n(turned.get() + ((group * in + c) * out + o) * taps, taps, gw + i * taps);
    }
    return;
  }
  if (images_pay_for_weights(windows)) {
    return weight_gradient_groups(images_as_groups(windows), true, g, x, gw);
  }
  if (narrow_gradient_pays(windows)) return weight_gradient_narrow(windows, g, x, gw);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (winograd_pays_for_weights(windows)) return weight_gradient_winograd(windows, g, x, gw);
    if (minimal_pays_for_weights(windows)) return weight_gradient_minimal(windows, g, x, gw);
  }
  weight_gradient(windows, g, x, gw);
}

template <class T>
void weights_gradient(const Shapes& shapes, const T* g, const T* x, T* gw) {
  if (!multiply_weight_gradient(shapes, g, x, gw)) sum_weights_gradient(shapes.forward(), g, x, gw);
}

bool native(DType dtype) { return dtype == DType::float32 || dtype == DType::float64 || is_half(dtype); }

// A result that body<T>(result) fills without the GIL, for T the dtype to compute in, float or double.
template <class Body>
nb::object computed(DType dtype, const Sizes& shape, Body&& body) {
  return narrowed(dtype, shape,
                  [&](const Array& array) {
                    Unlocked unlocked;
                    if (array.dtype == DType::float32) {
                      body(array.as<float>());
                    } else {
                      body(array.as<double>());
                    }
                  })
      .object;
}

Sizes sizes_of(const Array& array) { return Sizes(array.shape, array.shape + array.dimensions); }

nb::object convolve(nb::handle x_object, nb::handle w_object, nb::handle bias_object, nb::handle residual_object,
                    const Sizes& stride, const Sizes& padding, const Sizes& dilation, int64_t groups,
                    const std::string& activation_name) {
  const DType dtype = borrow(x_object).dtype;
  Activation activation;
  if (!find_activation(activation_name, activation)) throw nb::value_error("convolution: no activation of this name");
  const bool plain = activation == Activation::none && residual_object.is_none();
  if (dtype != borrow(w_object).dtype || !native(dtype) || (is_half(dtype) && !plain)) return not_implemented();
  WorkArray bias, residual;
  for (auto [array, object] : {std::pair{&bias, bias_object}, std::pair{&residual, residual_object}}) {
    if (object.is_none()) continue;
    if (borrow(object).dtype != dtype) return not_implemented();
    *array = widened(borrow(object));
  }
  const WorkArray x = widened(borrow(x_object)), w = widened(borrow(w_object));
  const Shapes shapes(sizes_of(x.array), sizes_of(w.array), stride, padding, dilation, groups);
  if (bias && bias.array.size() != shapes.out_channels * groups) {
    throw nb::value_error("convolution: the bias doesn't fit");
  }
  if (!shapes.safe) return not_implemented();
  const Sizes size = shapes.shape(shapes.out_channels * groups, shapes.output, x.array.dimensions - 2);
  if (residual && sizes_of(residual.array) != size) throw nb::value_error("convolution: the residual doesn't fit");
  return computed(dtype, size, [&]<class T>(T* y) {
    const Output<T> output{y, bias.array.as<T>(), residual.array.as<T>(), activation};
    forward(shapes, x.array.as<T>(), w.array.as<T>(), output);
  });
}

nb::object convolve_input_gradient(nb::handle g_object, nb::handle w_object, const Sizes& size, const Sizes& stride,
                                   const Sizes& padding, const Sizes& dilation, int64_t groups) {
  const DType dtype = borrow(g_object).dtype;
  if (dtype != borrow(w_object).dtype || !native(dtype)) return not_implemented();
  const WorkArray g = widened(borrow(g_object)), w = widened(borrow(w_object));
  const Shapes shapes(size, sizes_of(w.array), stride, padding, dilation, groups);
  if (!shapes.safe) return not_implemented();
  if (sizes_of(g.array) != shapes.shape(shapes.out_channels * groups, shapes.output, g.array.dimensions - 2)) {
    throw nb::value_error("convolution_input_gradient: the gradient doesn't fit");
  }
  return computed(dtype, size,
                  [&]<class T>(T* gx) { input_gradient<T>(shapes, g.array.as<T>(), w.array.as<T>(), gx); });
}

nb::object convolve_weight_gradient(nb::handle g_object, nb::handle x_object, const Sizes& size, const Sizes& stride,
                                    const Sizes& padding, const Sizes& dilation, int64_t groups) {
  const DType dtype = borrow(g_object).dtype;
  if (dtype != borrow(x_object).dtype || !native(dtype)) return not_implemented();
  const WorkArray g = widened(borrow(g_object)), x = widened(borrow(x_object));
  const Shapes shapes(sizes_of(x.array), size, stride, padding, dilation, groups);
  if (!shapes.safe) return not_implemented();
  if (sizes_of(g.array) != shapes.shape(shapes.out_channels * groups, shapes.output, g.array.dimensions - 2)) {
    throw nb::value_error("convolution_weight_gradient: the gradient doesn't fit");
  }
  return computed(dtype, size,
                  [&]<class T>(T* gw) { weights_gradient<T>(shapes, g.array.as<T>(), x.array.as<T>(), gw); });
}

}  // namespace

void bind_convolution(nb::module_& module) {
  define_kernel(
      module, "convolution", &convolve, nb::arg("x"), nb::arg("weight"), nb::arg("bias").none(),
      nb::arg("residual").none() = nb::none(), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
      nb::arg("groups"), nb::arg("activation") = "none",
      "activation(cross-correlation of x (N, C, *S) with weight (O, C / groups, *K), plus bias (O), plus residual, "
      "of the result's shape); bias and residual may be None. Activations as in linear.");
  define_kernel(module, "convolution_input_gradient", &convolve_input_gradient, nb::arg("g"), nb::arg("weight"),
                nb::arg("size"), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"), nb::arg("groups"),
                "Gradient of convolution with respect to x, of shape `size`.");
  define_kernel(module, "convolution_weight_gradient", &convolve_weight_gradient, nb::arg("g"), nb::arg("x"),
                nb::arg("size"), nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"), nb::arg("groups"),
                "Gradient of convolution with respect to weight, of shape `size`.");
}

}  // namespace rushlight
