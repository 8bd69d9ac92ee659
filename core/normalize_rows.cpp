// Layer and RMS normalisation: the last dimensions are normalised together.
#include "normalize_rows.h"

#include "bind.h"
#include "instruction.h"

namespace rushlight {

namespace {

// The last `dimensions` dimensions are normalised together.
bool rows_of(const Array& x, int64_t dimensions, Rows& rows) {
  if (dimensions < 1 || dimensions > x.dimensions) return false;
  rows = {1, 1, 1};
  for (int i = 0; i < x.dimensions; ++i) (i < x.dimensions - dimensions ? rows.count : rows.length) *= x.shape[i];
  return rows.length > 0;
}

std::span<const int64_t> leading(const Array& x, int64_t dimensions) {
  return {x.shape, static_cast<size_t>(x.dimensions - dimensions)};
}
std::span<const int64_t> trailing(const Array& x, int64_t dimensions) {
  return {x.shape + x.dimensions - dimensions, static_cast<size_t>(dimensions)};
}

template <bool centered>
nb::object row_norm(nb::handle input, nb::handle weight, nb::handle bias, int64_t dimensions, double eps) {
  WorkArray x = contiguous(input), w, b;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!rows_of(x.array, dimensions, rows) || !take(weight, dtype, rows.length, w) ||
      !take(bias, dtype, rows.length, b)) {
    return not_implemented();
  }
  NewArray y, mean, variance;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    auto scale = load<T>(w, rows.length, 1), shift = load<T>(b, rows.length, 0);
    y = result(dtype, shape_of(x.array));
    if (centered) mean = result(dtype_of<C>(), leading(x.array, dimensions));
    variance = result(dtype_of<C>(), leading(x.array, dimensions));
    Unlocked unlocked;
    norm_rows<centered>(x.array.as<T>(), scale.data(), shift.data(), y.array.as<T>(),
                        centered ? mean.array.as<C>() : nullptr, variance.array.as<C>(), rows, eps);
  });
  if (!known) return not_implemented();
  if (centered) return results(y, mean, variance);
  return results(y, variance);
}

template <bool centered>
nb::object row_norm_gradient(nb::handle gradient, nb::handle input, nb::handle weight, int64_t dimensions, double eps) {
  WorkArray g = contiguous(gradient), x = contiguous(input), w;
  Rows rows;
  DType dtype = x.array.dtype;
  if (!rows_of(x.array, dimensions, rows) || g.array.dtype != dtype ||
      !std::ranges::equal(shape_of(g.array), shape_of(x.array)) || !take(weight, dtype, rows.length, w)) {
    return not_implemented();
  }
  NewArray gx, gweight, gbias;
  bool known = dispatch_floating(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto scale = load<T>(w, rows.length, 1);
    gx = result(dtype, shape_of(x.array));
    gweight = result(dtype, trailing(x.array, dimensions));
    if (centered) gbias = result(dtype, trailing(x.array, dimensions));
    Unlocked unlocked;
    norm_gradient_rows<centered>(g.array.as<T>(), x.array.as<T>(), scale.data(), gx.array.as<T>(),
                                 gweight.array.as<T>(), centered ? gbias.array.as<T>() : nullptr, rows, eps);
  });
  if (!known) return not_implemented();
  if (centered) return results(gx, gweight, gbias);
  return results(gx, gweight);
}

}  // namespace

void bind_row_norm(nb::module_& module) {
  define_kernel(module, "layer_norm", &row_norm<true>, nb::arg("x"), nb::arg("weight").none(), nb::arg("bias").none(),
                nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(module, "layer_norm_gradient", &row_norm_gradient<true>, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(
      module, "rms_norm",
      [](nb::handle x, nb::handle weight, int64_t dimensions, double eps) {
        return row_norm<false>(x, weight, nb::none(), dimensions, eps);
      },
      nb::arg("x"), nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
  define_kernel(module, "rms_norm_gradient", &row_norm_gradient<false>, nb::arg("g"), nb::arg("x"),
                nb::arg("weight").none(), nb::arg("dimensions"), nb::arg("eps"));
}

}  // namespace rushlight
