// What happens to the sums of a product or a convolution when they are complete, while they are in cache.
#pragma once

#include <cstdint>
#include <string_view>

namespace rushlight {

// relu_gradient: the sum where the residual, which is relu's result, isn't 0 or below; 0 elsewhere.
enum class Activation { none, relu, gelu, gelu_tanh, sigmoid, tanh, silu, relu_gradient };

// Whether there is an activation of this name that needs no residual; puts it into `found`.
bool find_activation(std::string_view name, Activation& found);

// line = activation(line + constant + bias + residual), for `count` numbers; bias and residual may be null. The one of
// relu_gradient isn't added.
template <class T>
void finish_line(T* line, int64_t count, T constant, const T* bias, const T* residual, Activation activation);

extern template void finish_line<float>(float*, int64_t, float, const float*, const float*, Activation);
extern template void finish_line<double>(double*, int64_t, double, const double*, const double*, Activation);

}  // namespace rushlight
