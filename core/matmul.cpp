// matmul and linear on NumPy arrays: shapes and broadcasting become products of the engine in gemm.h.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"
#include "gemm.h"
#include "half.h"
#include "instruction.h"

namespace rushlight {

namespace {

constexpr int64_t short_work = 32 * 1024;  // multiply-adds during which the GIL may as well be kept
constexpr int64_t few_rows = 64;           // of matrices that are sooner moved together than multiplied one by one

template <class Body>
void unlocked_if(bool unlock, Body&& body) {
  if (unlock) {
    Unlocked unlocked;
    body();
  } else {
    body();
  }
}

// The last two dimensions of an array as a matrix, and the rest as a batch; strides in items.
struct Stack {
  std::vector<int64_t> batch_shape, batch_strides;
  int64_t rows, columns, row_stride, column_stride;

  // A vector is one row on the left of a product, one column on the right.
  Stack(const Array& array, bool left) {
    const int64_t item = item_size(array.dtype);
    const int n = array.dimensions;
    if (n == 1) {
      rows = left ? 1 : array.shape[0];
      columns = left ? array.shape[0] : 1;
      row_stride = column_stride = array.strides[0] / item;
      return;
    }
    rows = array.shape[n - 2];
    columns = array.shape[n - 1];
    row_stride = array.strides[n - 2] / item;
    column_stride = array.strides[n - 1] / item;
    for (int d = 0; d < n - 2; ++d) {
      batch_shape.push_back(array.shape[d]);
      batch_strides.push_back(array.strides[d] / item);
    }
  }

  // Folds the batch into the rows where it lies evenly: one tall matrix.
  bool fold() {
    int64_t total = rows, stride = row_stride;
    bool started = rows != 1;
    for (int d = static_cast<int>(batch_shape.size()) - 1; d >= 0; --d) {
      if (batch_shape[d] == 1) continue;
      if (!started) {
        stride = batch_strides[d];
      } else if (batch_strides[d] != stride * total) {
        return false;
      }
      started = true;
      total *= batch_shape[d];
    }
    rows = total;
    row_stride = stride;
    batch_shape.clear();
    batch_strides.clear();
    return true;
  }

  bool shared() const {
    return std::all_of(batch_shape.begin(), batch_shape.end(), [](int64_t extent) { return extent == 1; });
  }

  // Where each matrix of the broadcast batch begins.
  std::vector<int64_t> offsets(const std::vector<int64_t>& shape, int64_t count) const {
    std::vector<int64_t> result(static_cast<size_t>(count));
    int64_t index[max_dimensions] = {}, strides[max_dimensions] = {};
    const size_t missing = shape.size() - batch_shape.size();
    for (size_t d = 0; d < batch_shape.size(); ++d) strides[missing + d] = batch_shape[d] == 1 ? 0 : batch_strides[d];
    int64_t offset = 0;
    for (int64_t& entry : result) {
      entry = offset;
      for (size_t d = shape.size(); d-- > 0;) {
        offset += strides[d];
        if (++index[d] < shape[d]) break;
        offset -= strides[d] * shape[d];
        index[d] = 0;
      }
    }
    return result;
  }
};

[[noreturn]] void mismatch() { throw nb::value_error("matmul: the shapes of the operands don't fit"); }

std::vector<int64_t> broadcast(const std::vector<int64_t>& left, const std::vector<int64_t>& right) {
  std::vector<int64_t> result(std::max(left.size(), right.size()), 1);
  for (size_t d = 0; d < left.size(); ++d) result[result.size() - left.size() + d] = left[d];
  for (size_t d = 0; d < right.size(); ++d) {
    int64_t& extent = result[result.size() - right.size() + d];
    if (extent == 1) {
      extent = right[d];
    } else if (right[d] != 1 && right[d] != extent) {
      mismatch();
    }
  }
  return result;
}

template <class T>
void multiply_stacks(const Array& a, Stack left, const Array& b, const Stack& right, const Array& c,
                     const T* bias = nullptr, const T* residual = nullptr, Activation activation = Activation::none) {
  std::vector<int64_t> batch = broadcast(left.batch_shape, right.batch_shape);
  WorkArray together;
  if (right.shared() && !left.fold() && left.rows < few_rows && right.columns > 1) {
    together = contiguous(a);
    left = Stack(together.array, true);
    left.fold();
  }
  if (right.shared() && left.batch_shape.empty()) batch.clear();
  int64_t count = 1;
  for (int64_t extent : batch) count *= extent;
  Product<T> product{left.rows,
                     right.columns,
                     left.columns,
                     {together ? together.array.as<T>() : a.as<T>(), left.row_stride, left.column_stride},
                     {b.as<T>(), right.row_stride, right.column_stride},
                     c.as<T>(),
                     right.columns,
                     1,
                     bias};
  product.residual = residual;
  product.activation = activation;
  const bool long_work = count * product.m * product.n * product.k > short_work;
  if (count == 1) {
    unlocked_if(long_work, [&] { multiply(product); });
    return;
  }
  const std::vector<int64_t> left_offsets = left.offsets(batch, count), right_offsets = right.offsets(batch, count);
  unlocked_if(long_work,
              [&] { multiply(product, count, left_offsets.data(), right_offsets.data(), product.m * product.n); });
}

bool native(DType dtype) { return dtype == DType::float32 || dtype == DType::float64 || is_half(dtype); }

// The product of two stacks of one dtype, float32 or float64; bias and residual may be empty.
void multiply_into(const Array& a, const Stack& left, const Array& b, const Stack& right, const Array& c,
                   const Array& bias = {}, const Array& residual = {}, Activation activation = Activation::none) {
  if (c.dtype == DType::float32) {
    multiply_stacks<float>(a, left, b, right, c, bias.as<float>(), residual.as<float>(), activation);
  } else {
    multiply_stacks<double>(a, left, b, right, c, bias.as<double>(), residual.as<double>(), activation);
  }
}

nb::object matmul(nb::handle a_object, nb::handle b_object) {
  Array a = borrow(a_object), b = borrow(b_object);
  const DType dtype = a.dtype;
  if (dtype != b.dtype || !native(dtype)) return not_implemented();
  if (a.dimensions == 0 || b.dimensions == 0) mismatch();
  WorkArray wide_a, wide_b;
  if (is_half(dtype)) {
    a = (wide_a = widened(a)).array;
    b = (wide_b = widened(b)).array;
  }
  Stack left(a, true), right(b, false);
  if (left.columns != right.rows) mismatch();
  std::vector<int64_t> shape = broadcast(left.batch_shape, right.batch_shape);
  if (a.dimensions > 1) shape.push_back(left.rows);
  if (b.dimensions > 1) shape.push_back(right.columns);
  return narrowed(dtype, shape, [&](const Array& c) { multiply_into(a, left, b, right, c); }).object;
}

// activation(x (..., k) times the transpose of w (n, k), plus bias (n), plus residual (..., n)).
nb::object linear(nb::handle x_object, nb::handle w_object, nb::handle bias_object, nb::handle residual_object,
                  Activation activation) {
  Array x = borrow(x_object), w = borrow(w_object);
  const DType dtype = x.dtype;
  const bool plain = activation == Activation::none && residual_object.is_none();
  if (dtype != w.dtype || !native(dtype) || (is_half(dtype) && !plain)) return not_implemented();
  WorkArray wide_x, wide_w, bias, residual;
  for (auto [array, object] : {std::pair{&bias, bias_object}, std::pair{&residual, residual_object}}) {
    if (object.is_none()) continue;
    if (borrow(object).dtype != dtype) return not_implemented();
    *array = widened(borrow(object));
  }
  if (x.dimensions == 0 || w.dimensions != 2) mismatch();
  if (is_half(dtype)) {
    x = (wide_x = widened(x)).array;
    w = (wide_w = widened(w)).array;
  }
  Stack left(x, true), right(w, false);
  std::swap(right.rows, right.columns);
  std::swap(right.row_stride, right.column_stride);
  if (left.columns != right.rows) mismatch();
  if (bias && bias.array.size() != right.columns) mismatch();
  std::vector<int64_t> shape(x.shape, x.shape + x.dimensions);
  shape.back() = right.columns;
  if (residual && !std::ranges::equal(shape, shape_of(residual.array))) mismatch();
  return narrowed(dtype, shape,
                  [&](const Array& y) { multiply_into(x, left, w, right, y, bias.array, residual.array, activation); })
      .object;
}

nb::object linear_activation(nb::handle x, nb::handle w, nb::handle bias, nb::handle residual,
                             const std::string& name) {
  Activation activation;
  if (!find_activation(name, activation)) throw nb::value_error("linear: no activation of this name");
  return linear(x, w, bias, residual, activation);
}

nb::object linear_relu_gradient(nb::handle g, nb::handle w, nb::handle y) {
  if (y.is_none()) mismatch();
  return linear(g, w, nb::none(), y, Activation::relu_gradient);
}

}  // namespace

void bind_matmul(nb::module_& module) {
  define_kernel(
      module, "matmul", &matmul, nb::arg("a"), nb::arg("b"),
      "a (..., m, k) times b (..., k, n), leading dimensions broadcast; a vector is a row on the left, a column "
      "on the right.");
  define_kernel(
      module, "linear", &linear_activation, nb::arg("x"), nb::arg("w"), nb::arg("bias").none(),
      nb::arg("residual").none() = nb::none(), nb::arg("activation") = "none",
      "activation(x (..., k) times the transpose of w (n, k), plus bias (n), plus residual (..., n)); bias and "
      "residual may be None. Activations: none, relu, gelu, gelu_tanh, sigmoid, tanh, silu.");
  define_kernel(
      module, "linear_relu_gradient", &linear_relu_gradient, nb::arg("g"), nb::arg("w"), nb::arg("y"),
      "g (..., k) times the transpose of w (n, k) where y (..., n), the result of a relu, is above 0; else 0.");
}

}  // namespace rushlight
