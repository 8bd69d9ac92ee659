// The kernels below core/convolution.cpp: sums over windows, and their gradient with respect to the weights.
#pragma once

#include "convolution_plan.h"

namespace rushlight::convolution {

// Weights where they lie; items from one group, output channel and input channel to the next. The numbers of one window
// lie together.
template <class T>
struct Weights {
  const T* data;
  int64_t group_stride, out_stride, in_stride;
};

// The sums that convolution_plan.h defines. x (images, groups * in_channels, *size) and y are row-major.
template <class T>
void sum_windows(const Windows& windows, const T* x, const Weights<T>& weights, const T* bias, T* y);

// gw[o, c, t] = sum over images and positions of g[n, o, p] * x[n, c, p * step + t.offset], row-major, for all taps.
template <class T>
void weight_gradient(const Windows& windows, const T* g, const T* x, T* gw);

// The same by Winograd's minimal filtering, for the windows that it pays for: 3x3, steps of 1, many channels.
bool winograd_pays(const Windows& windows);
void sum_windows_winograd(const Windows& windows, const float* x, const Weights<float>& weights, const float* bias,
                          float* y);

// The same with vectors along the image, for windows with few output channels and steps of 1.
bool narrow_pays(const Windows& windows);
template <class T>
void sum_windows_narrow(const Windows& windows, const T* x, const Weights<T>& weights, const T* bias, T* y);

// Writes sums[position][channel of the panel] of one share to the channels from `channel` on of y.
template <class T>
void write_panel(const Windows& windows, const Units& units, const Share& share, const T* sums, int64_t channel,
                 int64_t used, T* y);

// sum_windows and weight_gradient for one input channel in each group.
template <class T>
void sum_windows_depthwise(const Windows& windows, const T* x, const Weights<T>& weights, const T* bias, T* y);
template <class T>
void weight_gradient_depthwise(const Windows& windows, const T* g, const T* x, T* gw);

}  // namespace rushlight::convolution
