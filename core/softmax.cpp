// Softmax and its logarithm, and their gradients.
#include "softmax.h"

#include <algorithm>
#include <cmath>

#include "bind.h"
#include "instruction.h"
#include "scratch.h"
#include "transpose.h"

namespace rushlight {

namespace {

template <class T>
void softmax_rows(const T* x, T* y, const Classes& shape, bool logarithm) {
  int64_t n = shape.count;
  for_rows(shape, [&](int64_t row) {
    const T* from = x + row * n;
    T* to = y + row * n;
    T top = maximum_of(from, n);
    if (logarithm) {
      T rest = std::log(exponentials<T>(from, nullptr, n, top));
      for (int64_t i = 0; i < n; ++i) to[i] = from[i] - top - rest;
    } else {
      T scale = 1 / exponentials(from, to, n, top);
      for (int64_t i = 0; i < n; ++i) to[i] *= scale;
    }
  });
}

// Of `width` columns at once; `width` may be a constant.
template <class T, class Width>
void softmax_strip(const T* from, T* to, int64_t n, int64_t stride, Width width, bool logarithm) {
  Vec<T> top = broadcast(minus_infinity<T>), sum = {};
  for (int64_t k = 0; k < n; ++k) top = at_least(load_some(from + k * stride, width, T(0)), top);
  for (int64_t k = 0; k < n; ++k) {
    Vec<T> value = exp_of_weight(Vec<T>(load_some(from + k * stride, width, T(0)) - top));
    sum += value;
    if (!logarithm) store_some(to + k * stride, value, width);
  }
  Vec<T> rest = logarithm ? log(sum) : 1 / sum;
  for (int64_t k = 0; k < n; ++k) {
    Vec<T> value = logarithm ? load_some(from + k * stride, width, T(0)) - top - rest
                             : load_some(to + k * stride, width, T(0)) * rest;
    store_some(to + k * stride, value, width);
  }
}

template <class T>
void softmax_strips(const T* x, T* y, const Classes& shape, bool logarithm) {
  for_strips<T>(shape, [&](int64_t start, int64_t, int64_t width) {
    softmax_strip(x + start, y + start, shape.count, shape.inner, width, logarithm);
  });
}

template <class T>
void softmax_row_groups(const T* x, T* y, const Classes& shape, bool logarithm) {
  const int64_t n = shape.count;
  for_row_groups<T>(shape, [&](int64_t first, int64_t rows) {
    const T* from = x + first * n;
    T* to = y + first * n;
    alignas(64) T top[lanes<T>], rest[lanes<T>];
    store<T>(top, maxima_of_rows(from, n, rows));
    Vec<T> sums = exponentials_of_rows<T>(from, logarithm ? nullptr : to, n, rows, top);
    store<T>(rest, logarithm ? log(sums) : 1 / sums);
    for (int64_t row = 0; row < rows; ++row) {
      for_vectors<T>(n, [&](int64_t i, auto width) {
        const int64_t at = row * n + i, next = at + lanes<T> * n;  // fetched for the next group
        __builtin_prefetch(from + next);
        __builtin_prefetch(to + next, 1);
        Vec<T> value = load_some((logarithm ? from : to) + at, width, T(0));
        store_some(to + at, logarithm ? value - top[row] - rest[row] : value * rest[row], width);
      });
    }
  });
}

// Rows of fewer items than a few vectors are turned, a group of them at a time, and computed as columns.
constexpr int64_t turned_row = 32;

template <class T>
void softmax_turned_rows(const T* x, T* y, const Classes& shape, bool logarithm) {
  constexpr int64_t group = 4 * lanes<T>;
  const int64_t n = shape.count, groups = divide_up(shape.outer, group);
  parallel_for(groups, std::max<int64_t>(1, (1 << 13) / (n * group)), [&](int64_t begin, int64_t end) {
    Scratch<T> columns(n * group);
    std::fill_n(columns.get(), n * group, T(0));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * group, rows = std::min(group, shape.outer - first);
      transpose(x + first * n, n, rows, n, columns.get(), group);
      for (int64_t c = 0; c < rows; c += lanes<T>) {
        T* strip = columns.get() + c;
        softmax_strip(strip, strip, n, group, std::integral_constant<int64_t, lanes<T>>(), logarithm);
      }
      transpose(columns.get(), group, n, rows, y + first * n, n);
    }
  });
}

// From g and the result y: y * (g - sum(g * y)), or for the logarithm g - exp(y) * sum(g).
template <class T>
void softmax_gradient_rows(const T* g, const T* y, T* gx, const Classes& shape, bool logarithm) {
  int64_t n = shape.count;
  for_rows(shape, [&](int64_t row) {
    const T *gs = g + row * n, *ys = y + row * n;
    T* to = gx + row * n;
    if (logarithm) {
      T sum = total(gs, n);
      for_vectors<T>(n, [&](int64_t i, auto width) {
        store_some(to + i, Vec<T>(load_some(gs + i, width, T(0)) - exp_of_weight(load_some(ys + i, width, T(0))) * sum),
                   width);
      });
    } else {
      T sum = sum_of<T>(n, [](auto a, auto b) { return a * b; }, gs, ys);
      for (int64_t i = 0; i < n; ++i) to[i] = ys[i] * (gs[i] - sum);
    }
  });
}

template <class T>
void softmax_gradient_row_groups(const T* g, const T* y, T* gx, const Classes& shape, bool logarithm) {
  const int64_t n = shape.count;
  for_row_groups<T>(shape, [&](int64_t first, int64_t rows) {
    const T *gs = g + first * n, *ys = y + first * n;
    T* to = gx + first * n;
    alignas(64) T sum[lanes<T>];
    store<T>(sum, sums_of_rows<T>(rows, [&](int64_t row) {
               return vector_sum<T>(n, [&](int64_t i, auto width) {
                 Vec<T> value = load_some(gs + row * n + i, width, T(0));
                 return logarithm ? value : Vec<T>(value * load_some(ys + row * n + i, width, T(0)));
               });
             }));
    for (int64_t row = 0; row < rows; ++row) {
      for_vectors<T>(n, [&](int64_t i, auto width) {
        const int64_t at = row * n + i, next = at + lanes<T> * n;
        __builtin_prefetch(gs + next);
        __builtin_prefetch(ys + next);
        __builtin_prefetch(to + next, 1);
        Vec<T> gradient = load_some(gs + at, width, T(0)), result = load_some(ys + at, width, T(0));
        store_some(to + at, logarithm ? gradient - exp_of_weight(result) * sum[row] : result * (gradient - sum[row]),
                   width);
      });
    }
  });
}

template <class T>
void softmax_gradient_strips(const T* g, const T* y, T* gx, const Classes& shape, bool logarithm) {
  int64_t n = shape.count, stride = shape.inner;
  for_strips<T>(shape, [&](int64_t start, int64_t, int64_t width) {
    Vec<T> sum = {};
    for (int64_t k = 0; k < n; ++k) {
      Vec<T> value = load_some(g + start + k * stride, width, T(0));
      sum += logarithm ? value : value * load_some(y + start + k * stride, width, T(0));
    }
    for (int64_t k = 0; k < n; ++k) {
      int64_t at = start + k * stride;
      Vec<T> gradient = load_some(g + at, width, T(0)), result = load_some(y + at, width, T(0));
      store_some(gx + at, logarithm ? gradient - exp_of_weight(result) * sum : result * (gradient - sum), width);
    }
  });
}

nb::object softmax(nb::handle input, int64_t dim, bool logarithm) {
  WorkArray x = contiguous(input);
  NewArray y;
  Classes shape;
  if (!classes_of(x.array, dim, shape)) return not_implemented();
  bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(x.array.dtype, shape_of(x.array));
    const T* from = x.array.as<T>();
    Unlocked unlocked;
    const auto compute = shape.inner > 1                                      ? &softmax_strips<T>
                         : shape.count > short_row                            ? &softmax_rows<T>
                         : shape.count > turned_row || shape.outer < lanes<T> ? &softmax_row_groups<T>
                                                                              : &softmax_turned_rows<T>;
    compute(from, y.array.as<T>(), shape, logarithm);
  });
  return known ? y.object : not_implemented();
}

nb::object softmax_gradient(nb::handle gradient, nb::handle output, int64_t dim, bool logarithm) {
  WorkArray g = contiguous(gradient), y = contiguous(output);
  NewArray gx;
  Classes shape;
  if (!classes_of(y.array, dim, shape) || g.array.dtype != y.array.dtype ||
      !std::ranges::equal(shape_of(g.array), shape_of(y.array))) {
    return not_implemented();
  }
  bool known = dispatch_wide(y.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(y.array.dtype, shape_of(y.array));
    const T *gs = g.array.as<T>(), *ys = y.array.as<T>();
    Unlocked unlocked;
    const auto compute = shape.inner > 1           ? &softmax_gradient_strips<T>
                         : shape.count > short_row ? &softmax_gradient_rows<T>
                                                   : &softmax_gradient_row_groups<T>;
    compute(gs, ys, gx.array.as<T>(), shape, logarithm);
  });
  return known ? gx.object : not_implemented();
}

}  // namespace

void bind_softmax(nb::module_& module) {
  define_kernel(
      module, "softmax", [](nb::handle x, int64_t dim) { return softmax(x, dim, false); }, nb::arg("x"),
      nb::arg("dim"));
  define_kernel(
      module, "log_softmax", [](nb::handle x, int64_t dim) { return softmax(x, dim, true); }, nb::arg("x"),
      nb::arg("dim"));
  define_kernel(
      module, "softmax_gradient",
      [](nb::handle g, nb::handle y, int64_t dim) { return softmax_gradient(g, y, dim, false); }, nb::arg("g"),
      nb::arg("y"), nb::arg("dim"));
  define_kernel(
      module, "log_softmax_gradient",
      [](nb::handle g, nb::handle y, int64_t dim) { return softmax_gradient(g, y, dim, true); }, nb::arg("g"),
      nb::arg("y"), nb::arg("dim"));
}

}  // namespace rushlight
