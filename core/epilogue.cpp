#include "epilogue.h"

#include <algorithm>
#include <iterator>

#include "vector_math.h"

namespace rushlight {

namespace {

constexpr std::string_view names[] = {"none", "relu", "gelu", "gelu_tanh", "sigmoid", "tanh", "silu"};

// The same formulas as in ops/elementwise/activations.py.
template <Activation activation, class V>
V activate(V x) {
  using T = Lane<V>;
  constexpr T scale = T(0.79788456080286535588);  // sqrt(2 / pi)
  if constexpr (activation == Activation::relu) return maximum(x, V{});
  if constexpr (activation == Activation::gelu) return x * normal_cdf(x);
  if constexpr (activation == Activation::gelu_tanh) {
    return x * (T(0.5) * (1 + tanh(V(x * (scale + (scale * T(0.044715)) * (x * x))))));
  }
  if constexpr (activation == Activation::sigmoid) return sigmoid(x);
  if constexpr (activation == Activation::tanh) return tanh(x);
  if constexpr (activation == Activation::silu) return x * sigmoid(x);
  return x;
}

template <Activation activation, class T>
void finish(T* line, int64_t count, T constant, const T* bias, const T* residual) {
  const auto completed = [&](auto read) {  // what becomes of the numbers that `read` takes from each line
    Vec<T> value = read(line);
    if (constant != 0) value += constant;
    if (bias != nullptr) value += read(bias);
    if constexpr (activation == Activation::relu_gradient) return select(read(residual) <= 0, Vec<T>{}, value);
    if (residual != nullptr) value += read(residual);
    return activate<activation>(value);
  };
  int64_t i = 0;
  for (; i + lanes<T> <= count; i += lanes<T>) {
    store<T>(line + i, completed([&](const T* from) { return load(from + i); }));
  }
  const int64_t rest = count - i;
  if (rest == 0) return;
  store_partial<T>(line + i, completed([&](const T* from) { return load_partial(from + i, rest); }), rest);
}

}  // namespace

bool find_activation(std::string_view name, Activation& found) {
  const auto place = std::find(std::begin(names), std::end(names), name);
  if (place == std::end(names)) return false;
  found = static_cast<Activation>(place - std::begin(names));
  return true;
}

template <class T>
void finish_line(T* line, int64_t count, T constant, const T* bias, const T* residual, Activation activation) {
  switch (activation) {
    case Activation::none: return finish<Activation::none>(line, count, constant, bias, residual);
    case Activation::relu: return finish<Activation::relu>(line, count, constant, bias, residual);
    case Activation::gelu: return finish<Activation::gelu>(line, count, constant, bias, residual);
    case Activation::gelu_tanh: return finish<Activation::gelu_tanh>(line, count, constant, bias, residual);
    case Activation::sigmoid: return finish<Activation::sigmoid>(line, count, constant, bias, residual);
    case Activation::tanh: return finish<Activation::tanh>(line, count, constant, bias, residual);
    case Activation::silu: return finish<Activation::silu>(line, count, constant, bias, residual);
    case Activation::relu_gradient: return finish<Activation::relu_gradient>(line, count, constant, bias, residual);
  }
}

template void finish_line<float>(float*, int64_t, float, const float*, const float*, Activation);
template void finish_line<double>(double*, int64_t, double, const double*, const double*, Activation);

}  // namespace rushlight
