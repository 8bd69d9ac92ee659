// The kernels below core/convolution.cpp: sums over windows, and their gradient with respect to the weights.
#pragma once

#include <span>

#include "convolution_plan.h"
#include "epilogue.h"

namespace rushlight::convolution {

// Weights where they lie; items from one group, output channel and input channel to the next. The numbers of one window
// lie together.
template <class T>
struct Weights {
  const T* data;
  int64_t group_stride, out_stride, in_stride;
};

// Where the sums go: y = activation(sum + bias + residual). bias (all output channels) and residual (lying as y does)
// may be null; residual and activation go with a dense output only.
template <class T>
struct Output {
  T* y;
  const T* bias = nullptr;
  const T* residual = nullptr;
  Activation activation = Activation::none;

  // What is left to do with `count` numbers of y from `begin` on, which have their bias.
  void finish(int64_t begin, int64_t count) const {
    if (residual == nullptr && activation == Activation::none) return;
    finish_line<T>(y + begin, count, 0, nullptr, residual == nullptr ? nullptr : residual + begin, activation);
  }
};

// The sums that convolution_plan.h defines. x (images, groups * in_channels, *size) and the output are row-major.
template <class T>
void sum_windows(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output);

// gw[o, c, t] = sum over images and positions of g[n, o, p] * x[n, c, p * step + t.offset], row-major, for all taps.
template <class T>
void weight_gradient(const Windows& windows, const T* g, const T* x, T* gw);

// The same by Winograd's minimal filtering, for the windows that it pays for: 3x3, steps of 1, many channels.
bool winograd_pays(const Windows& windows);
void sum_windows_winograd(const Windows& windows, const float* x, const Weights<float>& weights,
                          const Output<float>& output);
bool winograd_pays_for_weights(const Windows& windows);
void weight_gradient_winograd(const Windows& windows, const float* g, const float* x, float* gw);

// The same by minimal filtering for windows of 4x4 with steps of 2 and of 5x5 with steps of 1. Several `windows`: those
// of all remainders of the position by the stride, which together make a dense output. How many results a tile should
// have in each dimension: 0 where it doesn't pay.
int minimal_results(std::span<const Windows> windows);
void sum_windows_minimal(std::span<const Windows> windows, int results, const float* x, const Weights<float>& weights,
                         const Output<float>& output);
bool minimal_pays_for_weights(const Windows& windows);
void weight_gradient_minimal(const Windows& windows, const float* g, const float* x, float* gw);

// The same with vectors along the image, for windows of few terms or few output channels and steps of 1.
bool narrow_pays(const Windows& windows);
template <class T>
void sum_windows_narrow(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output);
bool narrow_gradient_pays(const Windows& windows);
template <class T>
void weight_gradient_narrow(const Windows& windows, const T* g, const T* x, T* gw);

// The same as one product of matrices, without packing the weights, for few positions.
bool columns_pay(const Windows& windows, int64_t in_stride);
template <class T>
void sum_windows_columns(const Windows& windows, const T* x, const Weights<T>& weights, const Output<T>& output);

// The same with vectors along the groups, for many groups of few channels. Several `windows`: those of all remainders
// of the position by the stride, which together fill planes of `size`.
bool groups_pay(const Windows& windows);
template <class T>
void sum_windows_groups(std::span<const Windows> windows, const Extents& size, const T* x, const Weights<T>& weights,
                        const Output<T>& output);
template <class T>
void weight_gradient_groups(const Windows& windows, bool shared, const T* g, const T* x, T* gw);

// Images of one group as groups of one image, whose weights are shared, for few weights and many images.
bool images_pay(std::span<const Windows> windows);
bool images_pay_for_weights(const Windows& windows);
inline Windows images_as_groups(Windows windows) {
  std::swap(windows.images, windows.groups);
  return windows;
}

}  // namespace rushlight::convolution
