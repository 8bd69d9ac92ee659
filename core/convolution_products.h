// Convolutions that are products of matrices.
#pragma once

#include "convolution_engine.h"
#include "convolution_shapes.h"

namespace rushlight::convolution {

// Each computes what its name says and returns true, or returns false where the windows aren't of such a form.
template <class T>
bool multiply_forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output);
template <class T>
bool multiply_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx);
template <class T>
bool multiply_weight_gradient(const Shapes& shapes, const T* g, const T* x, T* gw);
// For windows that overlap, and meet so many numbers of the input that few positions are left.
template <class T>
bool add_columns_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx);

}  // namespace rushlight::convolution
