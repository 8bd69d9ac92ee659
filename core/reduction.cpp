#include "reduction.h"

#include <optional>
#include <utility>

#include "bind.h"
#include "convert.h"
#include "instruction.h"
#include "reduction_operations.h"

namespace rushlight {

namespace {

// What a call asks for: which dimensions are reduced, and the shape that is left.
struct Request {
  Array array;
  bool is_reduced[max_dimensions] = {};
  int64_t shape[max_dimensions];
  int dimensions = 0;
  int64_t reduced_count = 1;

  std::span<const int64_t> result_shape() const { return {shape, static_cast<size_t>(dimensions)}; }
};

bool mark_dimension(PyObject* number, Request& request) {
  if (!PyLong_Check(number)) return false;
  int overflow = 0;
  int64_t dimension = PyLong_AsLongLongAndOverflow(number, &overflow), count = request.array.dimensions;
  if (overflow != 0) return false;
  if (count == 0) return dimension == 0 || dimension == -1;
  if (dimension < -count || dimension >= count) return false;
  bool& mark = request.is_reduced[dimension < 0 ? dimension + count : dimension];
  return !std::exchange(mark, true);
}

// `dim` is None or empty for all dimensions, an int, or a tuple of them; nothing where it is none of these.
std::optional<Request> read_request(nb::handle array, nb::handle dim, bool keepdim) {
  Request request;
  request.array = borrow(array);
  int count = request.array.dimensions;
  if (request.array.dtype == DType::other) return {};
  if (dim.is_none()) {
    std::fill_n(request.is_reduced, count, true);
  } else if (PyLong_Check(dim.ptr())) {
    if (!mark_dimension(dim.ptr(), request)) return {};
  } else if (PyTuple_Check(dim.ptr())) {
    Py_ssize_t size = PyTuple_Size(dim.ptr());
    if (size == 0) std::fill_n(request.is_reduced, count, true);
    for (Py_ssize_t i = 0; i < size; ++i) {
      if (!mark_dimension(PyTuple_GetItem(dim.ptr(), i), request)) return {};
    }
  } else {
    return {};
  }
  for (int i = 0; i < count; ++i) {
    if (request.is_reduced[i]) request.reduced_count *= request.array.shape[i];
    if (!request.is_reduced[i]) request.shape[request.dimensions++] = request.array.shape[i];
    if (request.is_reduced[i] && keepdim) request.shape[request.dimensions++] = 1;
  }
  return request;
}

template <class Op, class Write>
void reduce_unlocked(const Op& op, const Request& request, bool in_order, const Write& write) {
  const ReductionPlan plan(request.array, request.is_reduced, in_order);
  const ReducerOf reducer(op, write);
  if (request.array.size() < 16384) {
    reduce(reducer, request.array, plan);
  } else {
    Unlocked unlocked;
    reduce(reducer, request.array, plan);
  }
}

// A result that is computed in items of another type than it has: `values` is where they go, finish() rounds them.
template <class T>
class Computed {
 public:
  NewArray made;

  Computed() = default;
  Computed(const Request& request, DType dtype) : made(result(dtype, request.result_shape())) {
    if (dtype != reduction_dtype<T>()) wide_ = WorkArray(reduction_dtype<T>(), request.result_shape());
  }
  T* values() const { return (wide_ ? wide_.array : made.array).template as<T>(); }
  void finish() const {
    if (wide_) copy_strided(made.array, wide_.array);
  }

 private:
  WorkArray wide_;
};

template <class T, class F>
nb::object fold_to(const Request& request, DType result_dtype, double scale = 1) {
  Computed<T> computed(request, result_dtype);
  T* values = computed.values();
  reduce_unlocked(Fold<T, F>{scale}, request, false, [&](int64_t place, ItemOf<T> value) { values[place] = value; });
  computed.finish();
  return computed.made.object;
}

bool is_floating(DType dtype) { return dtype >= DType::float16 && dtype <= DType::float64; }

// float16 and bfloat16 are added up and multiplied in float32, integers in int64.
template <class F>
nb::object floating_sum(const Request& request, double scale = 1) {
  DType dtype = request.array.dtype;
  if (!is_floating(dtype)) return not_implemented();
  return dtype == DType::float64 ? fold_to<double, F>(request, dtype, scale) : fold_to<float, F>(request, dtype, scale);
}
template <class F>
nb::object sum_like(const Request& request) {
  return is_floating(request.array.dtype) ? floating_sum<F>(request) : fold_to<int64_t, F>(request, DType::int64);
}

template <class F>
nb::object extreme_value(const Request& request) {
  if (request.reduced_count == 0) return not_implemented();
  DType dtype = request.array.dtype;
  if (dtype == DType::float64) return fold_to<double, F>(request, dtype);
  if (is_floating(dtype)) return fold_to<float, F>(request, dtype);
  if (dtype == DType::boolean) return fold_to<bool, F>(request, dtype);
  if (dtype == DType::uint8) return fold_to<uint8_t, F>(request, dtype);
  if (dtype == DType::int32) return fold_to<int32_t, F>(request, dtype);
  return fold_to<int64_t, F>(request, dtype);
}

template <class F>
nb::object truth(const Request& request) {
  return fold_to<bool, F>(request, DType::boolean);
}

template <class T, class F>
nb::object extreme_with_place(const Request& request, DType dtype, bool only_place) {
  Computed<T> computed;
  if (!only_place) computed = Computed<T>(request, dtype);
  NewArray places = result(DType::int64, request.result_shape());
  T* values = only_place ? nullptr : computed.values();
  int64_t* indices = places.array.as<int64_t>();
  reduce_unlocked(Extreme<T, F>{}, request, true, [&](int64_t place, const typename Extreme<T, F>::Total& total) {
    if (values != nullptr) values[place] = total.value;
    indices[place] = total.place;
  });
  if (only_place) return places.object;
  computed.finish();
  return results(computed.made, places);
}

// Values and places of the first largest or smallest items.
template <class F>
nb::object extreme(const Request& request, bool only_place) {
  if (request.reduced_count == 0) return not_implemented();
  DType dtype = request.array.dtype;
  if (dtype == DType::float64) return extreme_with_place<double, F>(request, dtype, only_place);
  if (is_floating(dtype)) return extreme_with_place<float, F>(request, dtype, only_place);
  if (dtype == DType::boolean) return extreme_with_place<bool, F>(request, dtype, only_place);
  if (dtype == DType::uint8) return extreme_with_place<uint8_t, F>(request, dtype, only_place);
  if (dtype == DType::int32) return extreme_with_place<int32_t, F>(request, dtype, only_place);
  return extreme_with_place<int64_t, F>(request, dtype, only_place);
}

template <class T>
nb::object moments(const Request& request, double correction, bool with_mean) {
  Computed<T> variances(request, request.array.dtype), means;
  if (with_mean) means = Computed<T>(request, request.array.dtype);
  T *variance = variances.values(), *mean = with_mean ? means.values() : nullptr;
  double divisor = std::max(static_cast<double>(request.reduced_count) - correction, 0.0);
  bool none = request.reduced_count == 0;
  reduce_unlocked(Moments<T>{}, request, false, [&](int64_t place, const typename Moments<T>::Total& total) {
    variance[place] = static_cast<T>(total.squares / divisor);
    if (mean != nullptr) mean[place] = none ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(total.mean);
  });
  variances.finish();
  if (!with_mean) return variances.made.object;
  means.finish();
  return results(variances.made, means.made);
}

template <class T>
nb::object log_sum_exp(const Request& request) {
  Computed<T> computed(request, request.array.dtype);
  T* values = computed.values();
  reduce_unlocked(LogSumExp<T>{}, request, false, [&](int64_t place, T value) { values[place] = value; });
  computed.finish();
  return computed.made.object;
}

// Binds `function(request)` as name(x, *, dim=None, keepdim=False).
template <class Function>
void define(nb::module_& module, const char* name, const char* text, Function function) {
  define_kernel(
      module, name,
      [function](nb::handle x, nb::handle dim, bool keepdim) -> nb::object {
        std::optional<Request> request = read_request(x, dim, keepdim);
        return request ? function(*request) : not_implemented();
      },
      nb::arg("x"), nb::kw_only(), nb::arg("dim") = nb::none(), nb::arg("keepdim") = false, text);
}

}  // namespace

void bind_reduction(nb::module_& module) {
  define(module, "sum", "Sum; of integers and bools in int64.", [](const Request& r) { return sum_like<Add>(r); });
  define(module, "prod", "Product; of integers and bools in int64.",
         [](const Request& r) { return sum_like<Multiply>(r); });
  define(module, "mean", "Mean of floating items.",
         [](const Request& r) { return floating_sum<Add>(r, 1.0 / static_cast<double>(r.reduced_count)); });
  define(module, "euclidean_norm", "Square root of the sum of the squares of floating items.",
         [](const Request& r) { return floating_sum<AddSquares>(r); });
  define(module, "amax", "Largest item; NaN where there is one.",
         [](const Request& r) { return extreme_value<Largest>(r); });
  define(module, "amin", "Smallest item; NaN where there is one.",
         [](const Request& r) { return extreme_value<Smallest>(r); });
  define(module, "any", "Whether any item isn't zero.", [](const Request& r) { return truth<Largest>(r); });
  define(module, "all", "Whether no item is zero.", [](const Request& r) { return truth<Smallest>(r); });
  define(module, "argmax", "Place of the first largest item, in row-major order of the reduced dimensions.",
         [](const Request& r) { return extreme<Largest>(r, true); });
  define(module, "argmin", "Place of the first smallest item, in row-major order of the reduced dimensions.",
         [](const Request& r) { return extreme<Smallest>(r, true); });
  define(module, "max_with_indices", "Largest items and their first places.",
         [](const Request& r) { return extreme<Largest>(r, false); });
  define(module, "min_with_indices", "Smallest items and their first places.",
         [](const Request& r) { return extreme<Smallest>(r, false); });
  define(module, "logsumexp", "log(sum(exp(x))) of floating items.", [](const Request& r) {
    if (!is_floating(r.array.dtype)) return not_implemented();
    return r.array.dtype == DType::float64 ? log_sum_exp<double>(r) : log_sum_exp<float>(r);
  });
  auto variance = [](bool with_mean) {
    return [with_mean](nb::handle x, nb::handle dim, double correction, bool keepdim) -> nb::object {
      std::optional<Request> r = read_request(x, dim, keepdim);
      if (!r || !is_floating(r->array.dtype)) return not_implemented();
      return r->array.dtype == DType::float64 ? moments<double>(*r, correction, with_mean)
                                              : moments<float>(*r, correction, with_mean);
    };
  };
  define_kernel(module, "var", variance(false), nb::arg("x"), nb::kw_only(), nb::arg("dim") = nb::none(),
                nb::arg("correction") = 1.0, nb::arg("keepdim") = false, "Variance of floating items.");
  define_kernel(module, "var_mean", variance(true), nb::arg("x"), nb::kw_only(), nb::arg("dim") = nb::none(),
                nb::arg("correction") = 1.0, nb::arg("keepdim") = false, "Variance and mean of floating items.");
}

}  // namespace rushlight
