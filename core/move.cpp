// Elements chosen by indices along a dimension, and the way back, where what arrives at the same place adds up. An
// array is seen as (outer, count, inner) with the indexed dimension in the middle. Every index is checked before
// anything is read or written. Sums have the order of the indices, whatever the number of threads.
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

using Sizes = std::vector<int64_t>;

constexpr int64_t work_grain = 1 << 14;  // items moved by a block of work, roughly

struct Slabs {
  int64_t outer = 1, count = 1, inner = 1;
};

// False where there is no such dimension, or a size is negative or the whole too large to be counted.
bool slabs_of(std::span<const int64_t> shape, int64_t dim, Slabs& slabs) {
  int64_t dimensions = static_cast<int64_t>(shape.size()), total = 1;
  if (dim < 0) dim += dimensions;
  if (dim < 0 || dim >= dimensions) return false;
  for (int64_t i = 0; i < dimensions; ++i) {
    if (shape[i] < 0 || __builtin_mul_overflow(total, std::max<int64_t>(1, shape[i]), &total)) return false;
    (i < dim ? slabs.outer : i == dim ? slabs.count : slabs.inner) *= shape[i];
  }
  return total < (int64_t{1} << 58);
}

// The indices as places from 0 to size - 1; those from the end count where `wraps`.
std::vector<int64_t> places(const Array& index, int64_t size, bool wraps) {
  std::vector<int64_t> result(index.as<int64_t>(), index.as<int64_t>() + index.size());
  for (int64_t& place : result) {
    if (place < (wraps ? -size : 0) || place >= size) {
      throw nb::index_error(
          ("index " + std::to_string(place) + " is out of bounds for a dimension of size " + std::to_string(size))
              .c_str());
    }
    if (place < 0) place += size;
  }
  return result;
}

// body(T{}) for the dtypes that are added up here.
template <class Body>
bool with_sum(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float32: return body(float{}), true;
    case DType::float64: return body(double{}), true;
    case DType::int64: return body(uint64_t{}), true;  // unsigned, so that overflow wraps around
    default: return false;
  }
}

// ---- whole slices
// ----------------------------------------------------------------------------------------------------

nb::object take_slices(const WorkArray& x, const Slabs& slabs, const std::vector<int64_t>& chosen, const Sizes& shape) {
  NewArray y = result(x.array.dtype, shape);
  int64_t row = slabs.inner * item_size(x.array.dtype), count = static_cast<int64_t>(chosen.size());
  const char* from = x.array.data;
  char* to = y.array.data;
  Unlocked unlocked;
  auto move = [&](auto size) {
    parallel_for(slabs.outer * count, 2 * work_grain / std::max<int64_t>(1, slabs.inner),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     std::memcpy(to + i * size, from + (i / count * slabs.count + chosen[i % count]) * size,
                                 static_cast<size_t>(size));
                   }
                 });
  };
  if (row == 4) {
    move(std::integral_constant<int64_t, 4>());
  } else if (row == 8) {
    move(std::integral_constant<int64_t, 8>());
  } else {
    move(row);
  }
  return y.object;
}

// Zeros of `shape` with the slices of g added where `chosen` says.
nb::object add_slices(const WorkArray& g, const Slabs& slabs, const std::vector<int64_t>& chosen, const Sizes& shape) {
  NewArray gx;
  int64_t count = static_cast<int64_t>(chosen.size()), inner = slabs.inner;
  bool known = with_sum(g.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(g.array.dtype, shape);
    const T* from = g.array.as<T>();
    T* to = gx.array.as<T>();
    Unlocked unlocked;
    // Columns of the slices are apart from each other: each task owns some of them and goes through all indices.
    int64_t width = slabs.outer >= 8 ? std::max<int64_t>(1, inner) : 64;
    int64_t across = (inner + width - 1) / width;
    int64_t work = std::max<int64_t>(1, (slabs.count + count) * std::min(width, inner));
    parallel_for(slabs.outer * across, work_grain / work, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        int64_t column = task % across * width, length = std::min(width, inner - column);
        T* target = to + task / across * slabs.count * inner + column;
        const T* source = from + task / across * count * inner + column;
        for (int64_t k = 0; k < slabs.count; ++k) std::fill_n(target + k * inner, length, T(0));
        for (int64_t k = 0; k < count; ++k) {
          T* __restrict sums = target + chosen[k] * inner;
          const T* __restrict items = source + k * inner;
          for (int64_t i = 0; i < length; ++i) sums[i] += items[i];
        }
      }
    });
  });
  return known ? gx.object : not_implemented();
}

// `shape` with its dimension `dim` replaced by the dimensions of `index`.
Sizes with_index(std::span<const int64_t> shape, int64_t dim, const Array& index) {
  Sizes result(shape.begin(), shape.begin() + dim);
  result.insert(result.end(), index.shape, index.shape + index.dimensions);
  result.insert(result.end(), shape.begin() + dim + 1, shape.end());
  return result;
}

bool usable(const Array& index) { return index.dtype == DType::int64; }

nb::object select(nb::handle input, nb::handle given, int64_t dim, bool wraps) {
  Array array = borrow(input);
  Slabs slabs;
  if (!usable(borrow(given)) || array.dtype == DType::other || !slabs_of(shape_of(array), dim, slabs)) {
    return not_implemented();
  }
  if (dim < 0) dim += array.dimensions;
  WorkArray index = contiguous(given), x = contiguous(input);
  return take_slices(x, slabs, places(index.array, slabs.count, wraps), with_index(shape_of(array), dim, index.array));
}

nb::object select_gradient(nb::handle gradient, nb::handle given, const Sizes& shape, int64_t dim, bool wraps) {
  Slabs slabs;
  if (!usable(borrow(given)) || !slabs_of(shape, dim, slabs)) return not_implemented();
  if (dim < 0) dim += static_cast<int64_t>(shape.size());
  WorkArray index = contiguous(given), g = contiguous(gradient);
  if (!std::ranges::equal(shape_of(g.array), with_index(shape, dim, index.array))) return not_implemented();
  return add_slices(g, slabs, places(index.array, slabs.count, wraps), shape);
}

// ---- one index for each element
// --------------------------------------------------------------------------------------

// x (outer, count, inner) and indices (outer, chosen, inner) that differ in the indexed dimension alone.
bool alike(const Array& index, std::span<const int64_t> shape, int64_t dim, Slabs& x, Slabs& chosen) {
  if (!usable(index) || static_cast<size_t>(index.dimensions) != shape.size() || !slabs_of(shape, dim, x) ||
      !slabs_of(shape_of(index), dim, chosen)) {
    return false;
  }
  if (dim < 0) dim += index.dimensions;
  for (int64_t i = 0; i < index.dimensions; ++i) {
    if (i != dim && index.shape[i] != shape[i]) return false;
  }
  return true;
}

nb::object gather(nb::handle input, nb::handle given, int64_t dim) {
  Array array = borrow(input);
  Slabs slabs, chosen;
  if (array.dtype == DType::other || !alike(borrow(given), shape_of(array), dim, slabs, chosen)) {
    return not_implemented();
  }
  WorkArray x = contiguous(input), index = contiguous(given);
  NewArray y = result(array.dtype, shape_of(index.array));
  std::vector<int64_t> at = places(index.array, slabs.count, false);
  with_item(array.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.array.as<T>();
    T* to = y.array.as<T>();
    Unlocked unlocked;
    parallel_for(chosen.outer * chosen.count, work_grain / std::max<int64_t>(1, chosen.inner),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const T* slab = from + row / chosen.count * slabs.count * slabs.inner;
                     for (int64_t i = 0; i < chosen.inner; ++i) {
                       int64_t place = row * chosen.inner + i;
                       to[place] = slab[at[place] * slabs.inner + i];
                     }
                   }
                 });
  });
  return y.object;
}

// Adds g at the indices to `target`, which holds `shape` items.
template <class T>
void add_elements(const T* g, const std::vector<int64_t>& at, T* target, const Slabs& slabs, const Slabs& chosen) {
  parallel_for(chosen.outer, work_grain / std::max<int64_t>(1, chosen.count * chosen.inner),
               [&](int64_t begin, int64_t end) {
                 for (int64_t o = begin; o < end; ++o) {
                   T* slab = target + o * slabs.count * slabs.inner;
                   for (int64_t k = 0; k < chosen.count; ++k) {
                     int64_t row = (o * chosen.count + k) * chosen.inner;
                     for (int64_t i = 0; i < chosen.inner; ++i) slab[at[row + i] * slabs.inner + i] += g[row + i];
                   }
                 }
               });
}

nb::object gather_gradient(nb::handle gradient, nb::handle given, const Sizes& shape, int64_t dim) {
  Slabs slabs, chosen;
  if (!alike(borrow(given), shape, dim, slabs, chosen)) return not_implemented();
  WorkArray g = contiguous(gradient), index = contiguous(given);
  NewArray gx;
  if (!std::ranges::equal(shape_of(g.array), shape_of(index.array))) return not_implemented();
  std::vector<int64_t> at = places(index.array, slabs.count, false);
  bool known = with_sum(g.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(g.array.dtype, shape);
    Unlocked unlocked;
    std::fill_n(gx.array.as<T>(), gx.array.size(), T(0));
    add_elements(g.array.as<T>(), at, gx.array.as<T>(), slabs, chosen);
  });
  return known ? gx.object : not_implemented();
}

nb::object scatter_add(nb::handle input, nb::handle given, nb::handle added, int64_t dim) {
  Slabs slabs, chosen;
  Array array = borrow(input);
  if (!is_array(added) || !alike(borrow(given), shape_of(array), dim, slabs, chosen)) return not_implemented();
  WorkArray x = contiguous(input), index = contiguous(given), source = contiguous(added);
  NewArray y;
  if (source.array.dtype != array.dtype || !std::ranges::equal(shape_of(source.array), shape_of(index.array))) {
    return not_implemented();
  }
  std::vector<int64_t> at = places(index.array, slabs.count, false);
  bool known = with_sum(array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(array.dtype, shape_of(array));
    Unlocked unlocked;
    std::copy_n(x.array.as<T>(), x.array.size(), y.array.as<T>());
    add_elements(source.array.as<T>(), at, y.array.as<T>(), slabs, chosen);
  });
  return known ? y.object : not_implemented();
}

// ---- joining
// ---------------------------------------------------------------------------------------------------------

// Parts side by side along `dim`, or along a new dimension, where each is one wide.
nb::object join(const nb::args& given, int64_t dim, bool new_dimension) {
  std::vector<Array> parts;
  for (nb::handle part : given) {
    if (!is_array(part)) return not_implemented();
    Array array = borrow(part);
    if (array.dtype == DType::other) return not_implemented();
    // PyTorch leaves out what has the shape (0,), whatever the shape of the others.
    bool nothing = !new_dimension && array.dimensions == 1 && array.shape[0] == 0 && given.size() > 1;
    if (!nothing) parts.push_back(array);
  }
  if (parts.empty()) return not_implemented();
  const Array& first = parts[0];
  int dimensions = first.dimensions + (new_dimension ? 1 : 0);
  if (dim < -dimensions || dim >= dimensions || dimensions > max_dimensions) return not_implemented();
  int at = static_cast<int>(dim < 0 ? dim + dimensions : dim);
  Sizes shape(first.shape, first.shape + first.dimensions);
  if (new_dimension) shape.insert(shape.begin() + at, 1);
  int64_t total = 0;
  for (const Array& part : parts) {
    if (part.dtype != first.dtype || part.dimensions != first.dimensions) return not_implemented();
    for (int i = 0; i < part.dimensions; ++i) {
      if ((new_dimension || i != at) && part.shape[i] != first.shape[i]) return not_implemented();
    }
    total += new_dimension ? 1 : part.shape[at];
  }
  shape[at] = total;
  NewArray made = result(first.dtype, shape);
  Array target = made.array;
  Sizes strides(target.strides, target.strides + dimensions);
  int64_t step = strides[at];
  if (new_dimension) strides.erase(strides.begin() + at);
  target.strides = strides.data();
  target.dimensions = first.dimensions;
  auto copy = [&] {
    for (const Array& part : parts) {
      target.shape = part.shape;
      copy_strided(target, part);
      target.data += step * (new_dimension ? 1 : part.shape[at]);
    }
  };
  if (made.array.size() < 8192) {
    copy();
  } else {
    Unlocked unlocked;
    copy();
  }
  return made.object;
}

}  // namespace

void bind_move(nb::module_& module) {
  define_kernel(
      module, "cat", [](const nb::args& xs, int64_t dim) { return join(xs, dim, false); }, nb::arg("xs"),
      nb::arg("dim") = 0);
  define_kernel(
      module, "stack", [](const nb::args& xs, int64_t dim) { return join(xs, dim, true); }, nb::arg("xs"),
      nb::arg("dim") = 0);
  // x[:, index]: indices of any shape along one dimension, those below zero counted from the end.
  define_kernel(
      module, "index",
      [](nb::handle x, const nb::args& indices, const Sizes& dims) {
        if (indices.size() != 1 || dims.size() != 1) return not_implemented();
        return select(x, indices[0], dims[0], true);
      },
      nb::arg("x"), nb::arg("indices"), nb::arg("dims"));
  define_kernel(
      module, "index_gradient",
      [](nb::handle g, const nb::args& indices, const Sizes& shape, const Sizes& dims) {
        if (indices.size() != 1 || dims.size() != 1) return not_implemented();
        return select_gradient(g, indices[0], shape, dims[0], true);
      },
      nb::arg("g"), nb::arg("indices"), nb::arg("shape"), nb::arg("dims"));
  define_kernel(
      module, "index_select",
      [](nb::handle x, nb::handle index, int64_t dim) {
        if (borrow(index).dimensions != 1) return not_implemented();
        return select(x, index, dim, false);
      },
      nb::arg("x"), nb::arg("index"), nb::arg("dim"));
  define_kernel(
      module, "index_select_gradient",
      [](nb::handle g, nb::handle index, const Sizes& shape, int64_t dim) {
        if (borrow(index).dimensions != 1) return not_implemented();
        return select_gradient(g, index, shape, dim, false);
      },
      nb::arg("g"), nb::arg("index"), nb::arg("shape"), nb::arg("dim"));
  define_kernel(module, "gather", &gather, nb::arg("x"), nb::arg("index"), nb::arg("dim"));
  define_kernel(module, "gather_gradient", &gather_gradient, nb::arg("g"), nb::arg("index"), nb::arg("shape"),
                nb::arg("dim"));
  define_kernel(module, "scatter_add", &scatter_add, nb::arg("x"), nb::arg("index"), nb::arg("source"), nb::arg("dim"));
}

}  // namespace rushlight
