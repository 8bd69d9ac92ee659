// Running sums and products, and linear recurrences.
#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "move.h"
#include "reduction_operations.h"
#include "threads.h"

namespace rushlight {

namespace {

// Of `together` rows, so that one need not wait for another's last sum.
template <int together, class T, class F>
void scan_rows_together(const T* x, T* y, int64_t length, bool reverse) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;
  Wide running[together];
  for (Wide& value : running) value = F::template start<Wide>();
  const int64_t step = reverse ? -1 : 1;
  for (int64_t i = 0, at = reverse ? length - 1 : 0; i < length; ++i, at += step) {
#pragma GCC unroll 8
    for (int row = 0; row < together; ++row) {
      running[row] = F::join(running[row], static_cast<Wide>(x[row * length + at]));
      y[row * length + at] = static_cast<T>(running[row]);
    }
  }
}

template <class T, class F>
void scan_rows(const T* x, T* y, int64_t rows, int64_t length, bool reverse) {
  constexpr int64_t group = 8;
  auto work = [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * group; first < std::min(end * group, rows); first += group) {
      const T* from = x + first * length;
      T* to = y + first * length;
      if (first + group <= rows) {
        scan_rows_together<group, T, F>(from, to, length, reverse);
      } else {
        for (int64_t row = 0; row < rows - first; ++row) {
          scan_rows_together<1, T, F>(from + row * length, to + row * length, length, reverse);
        }
      }
    }
  };
  const int64_t groups = divide_up(rows, group);
  if (rows * length < 16384) {
    work(0, groups);
  } else {
    Unlocked unlocked;
    parallel_for(groups, std::max<int64_t>(32768 / (length * group), 1), work);
  }
}

// Running sums or products along one dimension, from its end where `reverse`. Floats are accumulated in double.
template <class T, class F>
nb::object scan(const Array& array, int dimension, bool reverse) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;
  NewArray made = result(reduction_dtype<T>(), shape_of(array));
  int64_t length = array.dimensions == 0 ? 1 : array.shape[dimension], inner = 1, total = array.size();
  for (int i = dimension + 1; i < array.dimensions; ++i) inner *= array.shape[i];
  if (total == 0) return std::move(made.object);
  Array from = array;
  if (array.dtype != made.array.dtype || !array.contiguous()) {
    copy_strided(made.array, array);
    from = made.array;
  }
  const T* x = from.as<T>();
  T* y = made.array.as<T>();
  if (inner == 1) {
    scan_rows<T, F>(x, y, total / length, length, reverse);
    return std::move(made.object);
  }
  constexpr int64_t width = 256;  // columns that are scanned together
  int64_t strips = divide_up(inner, width), tasks = total / (length * inner) * strips;
  auto work = [&](int64_t begin, int64_t end) {
    Wide running[width];
    for (int64_t task = begin; task < end; ++task) {
      int64_t column = task % strips * width, columns = std::min(width, inner - column);
      int64_t at = task / strips * length * inner + column;
      std::fill_n(running, columns, F::template start<Wide>());
      if (reverse) at += (length - 1) * inner;
      for (int64_t i = 0; i < length; ++i, at += reverse ? -inner : inner) {
        for (int64_t c = 0; c < columns; ++c) {
          running[c] = F::join(running[c], static_cast<Wide>(x[at + c]));
          y[at + c] = static_cast<T>(running[c]);
        }
      }
    }
  };
  int64_t grain = std::max<int64_t>(32768 / (length * std::min(width, inner)), 1);
  if (total < 16384) {
    work(0, tasks);
  } else {
    Unlocked unlocked;
    parallel_for(tasks, grain, work);
  }
  return std::move(made.object);
}

template <class F>
nb::object scan_any(nb::handle source, int64_t dim, bool reverse) {
  Array array = borrow(source);
  int64_t count = std::max(array.dimensions, 1);
  if (array.dtype == DType::other || dim < -count || dim >= count) return not_implemented();
  int dimension = static_cast<int>(dim < 0 ? dim + count : dim);
  if (array.dtype == DType::float64) return scan<double, F>(array, dimension, reverse);
  if (array.dtype == DType::float32) return scan<float, F>(array, dimension, reverse);
  if (array.dtype == DType::float16 || array.dtype == DType::bfloat16) return not_implemented();
  return scan<int64_t, F>(array, dimension, reverse);
}

// y[k] = x[k] + a[k] y[k - 1] along a dimension, from its end where `reverse`.
template <class T>
void recur(const T* x, const T* a, T* y, const Slabs& slabs, bool reverse) {
  constexpr int64_t width = 256;  // columns that go on together
  const int64_t inner = slabs.inner, strips = divide_up(inner, width);
  const int64_t step = reverse ? -inner : inner, work = slabs.count * std::min(width, inner);
  parallel_for(slabs.outer * strips, std::max<int64_t>(32768 / work, 1), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task % strips * width, columns = std::min(width, inner - column);
      int64_t at = task / strips * slabs.count * inner + column + (reverse ? (slabs.count - 1) * inner : 0);
      std::copy_n(x + at, columns, y + at);
      for (int64_t k = 1; k < slabs.count; ++k) {
        at += step;
        const T* before = y + at - step;
        for (int64_t c = 0; c < columns; ++c) y[at + c] = x[at + c] + a[at + c] * before[c];
      }
    }
  });
}

nb::object linear_recurrence(nb::handle values, nb::handle factors, int64_t dim, bool reverse) {
  const WorkArray x = contiguous(values), a = contiguous(factors);
  Slabs slabs;
  if (a.array.dtype != x.array.dtype || !std::ranges::equal(shape_of(a.array), shape_of(x.array)) ||
      x.array.size() == 0 || !slabs_of(shape_of(x.array), dim, slabs)) {
    return not_implemented();
  }
  NewArray y;
  const bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(x.array.dtype, shape_of(x.array));
    Unlocked unlocked;
    recur(x.array.as<T>(), a.array.as<T>(), y.array.as<T>(), slabs, reverse);
  });
  return known ? y.object : not_implemented();
}

}  // namespace

void bind_scan(nb::module_& module) {
  define_kernel(module, "cumsum", &scan_any<Add>, nb::arg("x"), nb::kw_only(), nb::arg("dim"),
                nb::arg("reverse") = false, "Running sums along `dim`.");
  define_kernel(module, "cumprod", &scan_any<Multiply>, nb::arg("x"), nb::kw_only(), nb::arg("dim"),
                nb::arg("reverse") = false, "Running products along `dim`.");
  define_kernel(module, "linear_recurrence", &linear_recurrence, nb::arg("x"), nb::arg("a"), nb::kw_only(),
                nb::arg("dim"), nb::arg("reverse") = false, "y[k] = x[k] + a[k] y[k - 1] along `dim`.");
}

}  // namespace rushlight
