// Convolution of NumPy arrays and its two gradients: checks sizes, states each as sums over windows, picks the engine.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"
#include "convolution_engine.h"
#include "gemm.h"
#include "half.h"
#include "instruction.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight {

namespace {

using convolution::Extents;
using convolution::Output;
using convolution::Tap;
using convolution::volume;
using convolution::Weights;
using convolution::Windows;

using Sizes = std::vector<int64_t>;

constexpr int64_t largest_option = int64_t{1} << 31;  // beyond it, index arithmetic isn't safe
constexpr double largest_padded = 1 << 26;            // items of an image that is mostly padding

// The options of a convolution with the sizes of its three tensors, spatial dimensions filled up to three in front.
struct Shapes {
  int64_t images = 0, groups = 1, in_channels = 0, out_channels = 0;  // channels of one group
  Extents input{1, 1, 1}, kernel{1, 1, 1}, output{1, 1, 1};
  Extents stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  bool safe = true;

  Shapes(std::vector<int64_t> x, std::vector<int64_t> w, const Sizes& strides, const Sizes& paddings,
         const Sizes& dilations, int64_t group_count) {
    const size_t spatial = w.size() - 2;
    if (w.size() < 3 || w.size() > 5 || x.size() != w.size() || strides.size() != spatial ||
        paddings.size() != spatial || dilations.size() != spatial || group_count < 1 || w[0] % group_count != 0 ||
        x[1] != w[1] * group_count) {
      throw nb::value_error("convolution: the shapes and options don't fit");
    }
    images = x[0];
    groups = group_count;
    in_channels = w[1];
    out_channels = w[0] / groups;
    for (size_t i = 0; i < spatial; ++i) {
      const size_t d = 3 - spatial + i;
      input[d] = x[2 + i];
      kernel[d] = w[2 + i];
      stride[d] = strides[i];
      padding[d] = paddings[i];
      dilation[d] = dilations[i];
      if (stride[d] < 1 || padding[d] < 0 || dilation[d] < 1 || kernel[d] < 1) {
        throw nb::value_error("convolution: an option is out of range");
      }
      if (std::max({stride[d], padding[d], dilation[d], kernel[d], input[d]}) >= largest_option) {
        safe = false;
        return;
      }
      const int64_t room = input[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
      if (room < 0) throw nb::value_error("convolution: the kernel is larger than the padded input");
      output[d] = room / stride[d] + 1;
    }
    double image = static_cast<double>(in_channels), padded = image;
    for (int d = 0; d < 3; ++d) {
      image *= static_cast<double>(input[d]);
      padded *= static_cast<double>(input[d] + 2 * padding[d] + stride[d]);
    }
    safe = padded < std::max(largest_padded, 8 * image);
  }

  int64_t window() const { return volume(kernel); }

  std::vector<int64_t> shape(int64_t channels, const Extents& extents, int spatial) const {
    std::vector<int64_t> result{images, channels};
    result.insert(result.end(), extents.end() - spatial, extents.end());
    return result;
  }

  // y as sums over windows of x.
  Windows forward() const {
    Windows windows{images, groups, in_channels, out_channels, input, output, stride, {}, {}, volume(output), 0};
    windows.out_step = {output[1] * output[2], output[2], 1};
    for_each_tap([&](Extents tap, int64_t weight) {
      Extents offset;
      for (int d = 0; d < 3; ++d) offset[d] = tap[d] * dilation[d] - padding[d];
      windows.taps.push_back({offset, weight});
    });
    return windows;
  }

  // The positions of gx that are `remainder` modulo the stride, as sums over windows of g.
  Windows backward(const Extents& remainder) const {
    Windows windows{images, groups, out_channels, in_channels, output, {}, {1, 1, 1}, {}, {}, volume(input), 0};
    const Extents pitch{input[1] * input[2], input[2], 1};
    for (int d = 0; d < 3; ++d) {
      windows.positions[d] = (input[d] - remainder[d] + stride[d] - 1) / stride[d];
      windows.out_step[d] = stride[d] * pitch[d];
      windows.out_base += remainder[d] * pitch[d];
    }
    for_each_tap([&](Extents tap, int64_t weight) {
      Extents offset;
      for (int d = 0; d < 3; ++d) {
        const int64_t from = remainder[d] + padding[d] - tap[d] * dilation[d];
        if (from % stride[d] != 0) return;
        offset[d] = from / stride[d];
      }
      windows.taps.push_back({offset, weight});
    });
    return windows;
  }

  template <class Body>
  void for_each_tap(Body&& body) const {
    int64_t weight = 0;
    for (int64_t d = 0; d < kernel[0]; ++d) {
      for (int64_t h = 0; h < kernel[1]; ++h) {
        for (int64_t w = 0; w < kernel[2]; ++w) body(Extents{d, h, w}, weight++);
      }
    }
  }

  // A window of one number at every position: no more than a product of matrices.
  bool pointwise() const {
    return window() == 1 && stride == Extents{1, 1, 1} && padding == Extents{0, 0, 0} && groups == 1;
  }
  // The same at every few positions: one of the input's positions that are met, side by side.
  bool pointwise_with_steps() const {
    return window() == 1 && stride != Extents{1, 1, 1} && padding == Extents{0, 0, 0} && groups == 1;
  }
  // One window, which is all of the image: a product of the images by the weights, both laid out in rows.
  bool whole() const {
    return kernel == input && output == Extents{1, 1, 1} && padding == Extents{0, 0, 0} && groups == 1 &&
           dilation == Extents{1, 1, 1};
  }
  Shapes without_steps() const {
    Shapes dense = *this;
    dense.input = output;
    dense.stride = {1, 1, 1};
    return dense;
  }
};

template <class T>
void pointwise_forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  const int64_t plane = volume(shapes.input), step = shapes.in_channels * plane;
  Sizes none(static_cast<size_t>(shapes.images), 0), offsets;
  for (int64_t n = 0; n < shapes.images; ++n) offsets.push_back(n * step);
  Product<T> product{shapes.out_channels,
                     plane,
                     shapes.in_channels,
                     {w, shapes.in_channels, 1},
                     {x, plane, 1},
                     output.y,
                     plane,
                     1,
                     nullptr,
                     output.bias};
  product.residual = output.residual;
  product.activation = output.activation;
  multiply(product, shapes.images, none.data(), offsets.data(), shapes.out_channels * plane);
}

template <class T>
void pointwise_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  const int64_t plane = volume(shapes.input), step = shapes.out_channels * plane;
  Sizes none(static_cast<size_t>(shapes.images), 0), offsets;
  for (int64_t n = 0; n < shapes.images; ++n) offsets.push_back(n * step);
  Product<T> product{
      shapes.in_channels, plane, shapes.out_channels, {w, 1, shapes.in_channels}, {g, plane, 1}, gx, plane, 1};
  multiply(product, shapes.images, none.data(), offsets.data(), shapes.in_channels * plane);
}

template <class T>
void whole_forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  multiply<T>({shapes.images,
               channels,
               depth,
               {x, depth, 1},
               {w, 1, depth},
               output.y,
               channels,
               1,
               output.bias,
               nullptr,
               false,
               output.residual,
               output.activation});
}

template <class T>
void whole_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  multiply<T>({shapes.images, depth, channels, {g, channels, 1}, {w, depth, 1}, gx, depth, 1});
}

template <class T>
void whole_weight_gradient(const Shapes& shapes, const T* g, const T* x, T* gw) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  multiply<T>({channels, depth, shapes.images, {g, 1, channels}, {x, depth, 1}, gw, depth, 1});
}

// Calls body(row of the input, row of the output) for every row of the input that a window without extent meets.
template <class Body>
void for_each_met_row(const Shapes& shapes, Body&& body) {
  const Extents &in = shapes.input, &out = shapes.output;
  parallel_for(shapes.images * shapes.in_channels, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, volume(in))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t plane = begin; plane < end; ++plane) {
                   for (int64_t d = 0; d < out[0]; ++d) {
                     for (int64_t h = 0; h < out[1]; ++h) {
                       const int64_t row = (plane * in[0] + d * shapes.stride[0]) * in[1] + h * shapes.stride[1];
                       body(row * in[2], ((plane * out[0] + d) * out[1] + h) * out[2]);
                     }
                   }
                 }
               });
}

// The numbers of x that are met.
template <class T>
void gather_steps(const Shapes& shapes, const T* x, T* met) {
  for_each_met_row(shapes, [&](int64_t from, int64_t to) {
    for (int64_t w = 0; w < shapes.output[2]; ++w) met[to + w] = x[from + w * shapes.stride[2]];
  });
}

// gx from the gradient of the numbers that are met; zero for the others.
template <class T>
void spread_steps(const Shapes& shapes, const T* met, T* gx) {
  const int64_t planes = shapes.images * shapes.in_channels, plane = volume(shapes.input);
  parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, plane)),
               [&](int64_t begin, int64_t end) { std::fill(gx + begin * plane, gx + end * plane, T(0)); });
  for_each_met_row(shapes, [&](int64_t to, int64_t from) {
    for (int64_t w = 0; w < shapes.output[2]; ++w) gx[to + w * shapes.stride[2]] = met[from + w];
  });
}

template <class T>
void sum(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (convolution::winograd_pays(windows)) return sum_windows_winograd(windows, x, weights, output);
    if (const int results = convolution::minimal_results({&windows, 1})) {
      return sum_windows_minimal({&windows, 1}, results, x, weights, output);
    }
  }
  if (convolution::columns_pay(windows, weights.in_stride)) return sum_windows_columns(windows, x, weights, output);
  if (convolution::narrow_pays(windows)) return sum_windows_narrow(windows, x, weights, output);
  sum_windows(windows, x, weights, output);
}

template <class T>
void forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  if (shapes.whole()) return whole_forward(shapes, x, w, output);
  if (shapes.pointwise()) return pointwise_forward(shapes, x, w, output);
  if (shapes.pointwise_with_steps()) {
    Scratch<T> met(shapes.images * shapes.in_channels * volume(shapes.output));
    gather_steps(shapes, x, met.get());
    return pointwise_forward<T>(shapes.without_steps(), met.get(), w, output);
  }
  const int64_t window = shapes.window(), in_channels = shapes.in_channels;
  const Weights<T> weights{w, shapes.out_channels * in_channels * window, in_channels * window, window};
  const Windows windows = shapes.forward();
  if (convolution::groups_pay(windows)) {
    return sum_windows_groups({&windows, 1}, shapes.output, x, weights, output);
  }
  sum(windows, x, weights, output);
}

template <class T>
void input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  if (shapes.whole()) return whole_input_gradient(shapes, g, w, gx);
  if (shapes.pointwise()) return pointwise_input_gradient(shapes, g, w, gx);
  if (shapes.pointwise_with_steps()) {
    Scratch<T> met(shapes.images * shapes.in_channels * volume(shapes.output));
    pointwise_input_gradient(shapes.without_steps(), g, w, met.get());
    return spread_steps<T>(shapes, met.get(), gx);
  }
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
  if (convolution::groups_pay(remainders[0])) {
    return sum_windows_groups<T>(remainders, shapes.input, g, weights, {gx});
  }
  if constexpr (sizeof(T) == sizeof(float)) {
    if (const int results = remainders.size() > 1 ? convolution::minimal_results(remainders) : 0) {
      return sum_windows_minimal(remainders, results, g, weights, {gx});
    }
  }
  for (const Windows& windows : remainders) sum<T>(windows, g, weights, {gx});
}

template <class T>
void weights_gradient(const Shapes& shapes, const T* g, const T* x, T* gw) {
  if (shapes.whole()) return whole_weight_gradient(shapes, g, x, gw);
  if (shapes.pointwise_with_steps()) {
    Scratch<T> met(shapes.images * shapes.in_channels * volume(shapes.output));
    gather_steps(shapes, x, met.get());
    return weight_gradient<T>(shapes.without_steps().forward(), g, met.get(), gw);
  }
  const Windows windows = shapes.forward();
  if (convolution::groups_pay(windows)) return weight_gradient_groups(windows, g, x, gw);
  if (convolution::narrow_gradient_pays(windows)) return weight_gradient_narrow(windows, g, x, gw);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (convolution::winograd_pays_for_weights(windows)) return weight_gradient_winograd(windows, g, x, gw);
    if (convolution::minimal_pays_for_weights(windows)) return weight_gradient_minimal(windows, g, x, gw);
  }
  weight_gradient(windows, g, x, gw);
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
