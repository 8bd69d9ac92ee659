// Sums of a few weighted items along one dimension: interpolation of images, and its transpose.
#include <algorithm>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t work_grain = 1 << 14;  // items of a block of work, roughly

// The taps of all outputs, one after another; those of output o are [first[o], first[o + 1]).
template <class C>
struct Taps {
  std::vector<int64_t> first, index;
  std::vector<C> weight;
};

template <class C>
Taps<C> used_taps(const Array& index, const Array& weight) {
  Taps<C> taps;
  int64_t outputs = index.shape[0], each = index.shape[1];
  taps.first.push_back(0);
  for (int64_t i = 0; i < outputs * each; ++i) {
    if (double w = weight.as<double>()[i]; w != 0) {
      taps.index.push_back(index.as<int64_t>()[i]);
      taps.weight.push_back(static_cast<C>(w));
    }
    if ((i + 1) % each == 0) taps.first.push_back(static_cast<int64_t>(taps.index.size()));
  }
  return taps;
}

// Along the last dimension: one line of inputs to one line of outputs.
template <class T, class C>
void resample_line(const T* x, T* y, int64_t outputs, const Taps<C>& taps) {
  for (int64_t o = 0; o < outputs; ++o) {
    C sum = 0;
    for (int64_t t = taps.first[o]; t < taps.first[o + 1]; ++t)
      sum += taps.weight[t] * static_cast<C>(x[taps.index[t]]);
    y[o] = static_cast<T>(sum);
  }
}

// Along another dimension: whole rows of `inner` neighbours, weighted and added.
template <class T, class C>
void resample_row(const T* x, T* y, int64_t inner, int64_t output, const Taps<C>& taps) {
  constexpr int64_t room = 128;
  for (int64_t start = 0; start < inner; start += room) {
    int64_t count = std::min(room, inner - start);
    C sum[room] = {};
    for (int64_t t = taps.first[output]; t < taps.first[output + 1]; ++t) {
      const T* row = x + taps.index[t] * inner + start;
      C weight = taps.weight[t];
      for (int64_t i = 0; i < count; ++i) sum[i] += weight * static_cast<C>(row[i]);
    }
    for (int64_t i = 0; i < count; ++i) y[start + i] = static_cast<T>(sum[i]);
  }
}

nb::object resample(nb::handle input, nb::handle index, nb::handle weight, nb::handle, nb::handle, int64_t dim) {
  WorkArray x = contiguous(input), places = contiguous(index), weights = contiguous(weight);
  const Array &where = places.array, &share = weights.array;
  if (dim < 0) dim += x.array.dimensions;
  if (dim < 0 || dim >= x.array.dimensions || where.dtype != DType::int64 || share.dtype != DType::float64 ||
      where.dimensions != 2 || share.dimensions != 2 || where.shape[0] != share.shape[0] ||
      where.shape[1] != share.shape[1] || where.shape[1] == 0) {
    return not_implemented();
  }
  int64_t inputs = x.array.shape[dim], outputs = where.shape[0];
  const int64_t* places_begin = where.as<int64_t>();
  if (!std::all_of(places_begin, places_begin + where.size(), [=](int64_t i) { return i >= 0 && i < inputs; })) {
    return not_implemented();
  }
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < x.array.dimensions; ++i) {
    if (i < dim) outer *= x.array.shape[i];
    if (i > dim) inner *= x.array.shape[i];
  }
  std::vector<int64_t> shape(x.array.shape, x.array.shape + x.array.dimensions);
  shape[dim] = outputs;
  NewArray y;
  bool known = dispatch_floating(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    Taps<Compute<T>> taps = used_taps<Compute<T>>(where, share);
    y = result(x.array.dtype, shape);
    const T* from = x.array.as<T>();
    T* to = y.array.as<T>();
    if (outer * outputs * inner == 0) return;
    Unlocked unlocked;
    if (inner == 1) {
      parallel_for(outer, std::max<int64_t>(1, work_grain / outputs), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) resample_line(from + i * inputs, to + i * outputs, outputs, taps);
      });
    } else {
      parallel_for(outer * outputs, std::max<int64_t>(1, work_grain / inner), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          resample_row(from + i / outputs * inputs * inner, to + i * inner, inner, i % outputs, taps);
        }
      });
    }
  });
  return known ? y.object : not_implemented();
}

}  // namespace

void bind_resample(nb::module_& module) {
  define_kernel(module, "resample", &resample, nb::arg("x"), nb::arg("index"), nb::arg("weight"), nb::arg("back_index"),
                nb::arg("back_weight"), nb::arg("dim"));
}

}  // namespace rushlight
