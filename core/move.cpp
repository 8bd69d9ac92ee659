// Slices chosen by indices along a dimension, and the way back; joining.
#include "move.h"

#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "strided.h"

namespace rushlight {

namespace {

// ---- whole slices
// ----------------------------------------------------------------------------------------------------

nb::object take_slices(const WorkArray& x, const Slabs& slabs, const std::vector<int64_t>& chosen, const Sizes& shape) {
  NewArray y = result(x.array.dtype, shape);
  int64_t row = slabs.inner * item_size(x.array.dtype), count = static_cast<int64_t>(chosen.size());
  const char* from = x.array.data;
  char* to = y.array.data;
  Unlocked unlocked;
  auto move = [&](auto size) {
    parallel_for(
        slabs.outer * count, 2 * move_grain / std::max<int64_t>(1, slabs.inner), [&](int64_t begin, int64_t end) {
          for (int64_t o = begin / count; o * count < end; ++o) {
            const char* slab = from + o * slabs.count * size;
            char* target = to + o * count * size;
            const int64_t first = std::max<int64_t>(begin - o * count, 0), last = std::min(end - o * count, count);
            for (int64_t k = first; k < last; ++k) {
              std::memcpy(target + k * size, slab + chosen[k] * size, static_cast<size_t>(size));
            }
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

// y = x, or zeros where that is null, with `factor` times the slices of `source` added where `chosen` says.
template <class T>
void add_slices(const T* x, const T* source, const std::vector<int64_t>& chosen, T* y, const Slabs& slabs, T factor) {
  // Columns of the slices are apart from each other: each task owns some of them and goes through all indices.
  int64_t count = static_cast<int64_t>(chosen.size()), inner = slabs.inner;
  int64_t width = slabs.outer >= 8 ? std::max<int64_t>(1, inner) : 64;
  int64_t across = divide_up(inner, width);
  int64_t work = std::max<int64_t>(1, (slabs.count + count) * std::min(width, inner));
  parallel_for(slabs.outer * across, move_grain / work, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t column = task % across * width, length = std::min(width, inner - column);
      int64_t start = task / across * slabs.count * inner + column;
      T* target = y + start;
      const T* items = source + task / across * count * inner + column;
      for (int64_t k = 0; k < slabs.count && x != y; ++k) {
        if (x == nullptr) {
          std::fill_n(target + k * inner, length, T(0));
        } else {
          std::copy_n(x + start + k * inner, length, target + k * inner);
        }
      }
      for (int64_t k = 0; k < count; ++k) {
        T* __restrict sums = target + chosen[k] * inner;
        const T* __restrict added = items + k * inner;
        for (int64_t i = 0; i < length; ++i) sums[i] += added[i] * factor;
      }
    }
  });
}

// `shape` with its dimension `dim` replaced by the dimensions of `index`.
Sizes with_index(std::span<const int64_t> shape, int64_t dim, const Array& index) {
  Sizes result(shape.begin(), shape.begin() + dim);
  result.insert(result.end(), index.shape, index.shape + index.dimensions);
  result.insert(result.end(), shape.begin() + dim + 1, shape.end());
  return result;
}

nb::object select(nb::handle input, nb::handle given, int64_t dim) {
  Array array = borrow(input);
  Slabs slabs;
  if (!usable(borrow(given)) || array.dtype == DType::other || !slabs_of(shape_of(array), dim, slabs)) {
    return not_implemented();
  }
  if (dim < 0) dim += array.dimensions;
  WorkArray index = contiguous(given), x = contiguous(input);
  return take_slices(x, slabs, places(index.array, slabs.count, false), with_index(shape_of(array), dim, index.array));
}

nb::object add_to_zeros(const WorkArray& g, const std::vector<int64_t>& chosen, const Sizes& shape,
                        const Slabs& slabs) {
  NewArray gx;
  bool known = with_sum(g.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(g.array.dtype, shape);
    Unlocked unlocked;
    add_slices<T>(nullptr, g.array.as<T>(), chosen, gx.array.as<T>(), slabs, 1);
  });
  return known ? gx.object : not_implemented();
}

nb::object select_gradient(nb::handle gradient, nb::handle given, const Sizes& shape, int64_t dim) {
  Slabs slabs;
  if (!usable(borrow(given)) || !slabs_of(shape, dim, slabs)) return not_implemented();
  if (dim < 0) dim += static_cast<int64_t>(shape.size());
  WorkArray index = contiguous(given), g = contiguous(gradient);
  if (!std::ranges::equal(shape_of(g.array), with_index(shape, dim, index.array))) return not_implemented();
  return add_to_zeros(g, places(index.array, slabs.count, false), shape, slabs);
}

// Adds in place where `into`.
nb::object index_add(nb::handle input, nb::handle given, nb::handle added, int64_t dim, double alpha, bool into) {
  Slabs slabs;
  Array array = borrow(input);
  if (!is_array(added) || !usable(borrow(given)) || borrow(given).dimensions != 1 ||
      !slabs_of(shape_of(array), dim, slabs) || (into && (!array.contiguous() || !array.writeable))) {
    return not_implemented();
  }
  if (dim < 0) dim += array.dimensions;
  WorkArray x = contiguous(input), index = contiguous(given), source = contiguous(added);
  if (source.array.dtype != array.dtype ||
      !std::ranges::equal(shape_of(source.array), with_index(shape_of(array), dim, index.array)) ||
      (into && (overlap(array, source.array) || overlap(array, index.array)))) {
    return not_implemented();
  }
  std::vector<int64_t> chosen = places(index.array, slabs.count, false);
  NewArray y;
  bool known = with_sum(array.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (!into) y = result(array.dtype, shape_of(array));
    T factor = std::is_floating_point_v<T> ? static_cast<T>(alpha) : static_cast<T>(static_cast<int64_t>(alpha));
    Unlocked unlocked;
    add_slices(x.array.as<T>(), source.array.as<T>(), chosen, (into ? array : y.array).as<T>(), slabs, factor);
  });
  if (!known) return not_implemented();
  return into ? done(input) : y.object;
}

// Indices of several neighbouring dimensions, broadcast against each other, as places of one dimension that these make
// up.
struct Choice {
  Slabs slabs;
  Sizes shape;  // of what is chosen
  std::vector<int64_t> places;

  // False where there is no code for them.
  bool take(const nb::args& indices, const Sizes& dims, std::span<const int64_t> of) {
    const size_t dimensions = of.size();
    if (indices.size() == 0 || indices.size() != dims.size() || dims[0] < 0) return false;
    Sizes common, merged(of.begin(), of.end());
    for (size_t k = 0; k < dims.size(); ++k) {
      if (!usable(borrow(indices[k])) || dims[k] != dims[0] + static_cast<int64_t>(k)) return false;
      if (static_cast<size_t>(dims[k]) >= dimensions) return false;
      if (k > 0) merged[static_cast<size_t>(dims[0])] *= merged[static_cast<size_t>(dims[k])];
      if (!broadcast_to(common, shape_of(borrow(indices[k])))) return false;
    }
    merged.erase(merged.begin() + dims[0] + 1, merged.begin() + dims.back() + 1);
    if (std::ranges::find(of, 0) != of.end() || !slabs_of(merged, dims[0], slabs)) return false;
    shape.assign(of.begin(), of.begin() + dims[0]);
    shape.insert(shape.end(), common.begin(), common.end());
    shape.insert(shape.end(), of.begin() + dims.back() + 1, of.end());
    int64_t count = 1;
    for (int64_t extent : common) count *= extent;
    places.assign(static_cast<size_t>(count), 0);
    for (size_t k = 0; k < dims.size(); ++k)
      add(contiguous(indices[k]).array, of[static_cast<size_t>(dims[k])], common);
    return true;
  }

 private:
  static bool broadcast_to(Sizes& common, std::span<const int64_t> own) {
    if (common.size() < own.size()) common.insert(common.begin(), own.size() - common.size(), 1);
    for (size_t i = 1; i <= own.size(); ++i) {
      int64_t& extent = common[common.size() - i];
      if (extent != own[own.size() - i] && extent != 1 && own[own.size() - i] != 1) return false;
      if (extent == 1) extent = own[own.size() - i];
    }
    return common.size() <= static_cast<size_t>(max_dimensions);
  }

  // The next dimension, of `size` places.
  void add(const Array& index, int64_t size, const Sizes& common) {
    std::vector<int64_t> own = rushlight::places(index, size, true);
    int64_t steps[max_dimensions] = {};
    const size_t before = common.size() - static_cast<size_t>(index.dimensions);
    for (int i = 0; i < index.dimensions; ++i) {
      steps[before + static_cast<size_t>(i)] = index.shape[i] == 1 ? 0 : index.strides[i];
    }
    Strided seen{reinterpret_cast<char*>(own.data()), DType::int64, 0, {}, {}};
    seen.merge(common.data(), steps, static_cast<int>(common.size()));
    auto at = places.begin();
    if (places.empty()) return;
    seen.for_runs(0, static_cast<int64_t>(places.size()), [&](const char* from, int64_t stride, int64_t run) {
      for (int64_t i = 0; i < run; ++i, ++at) *at = *at * size + *reinterpret_cast<const int64_t*>(from + i * stride);
    });
  }
};

nb::object index(nb::handle input, const nb::args& indices, const Sizes& dims) {
  const Array array = borrow(input);
  Choice choice;
  if (array.dtype == DType::other || !choice.take(indices, dims, shape_of(array))) return not_implemented();
  return take_slices(contiguous(input), choice.slabs, choice.places, choice.shape);
}

nb::object index_gradient(nb::handle gradient, const nb::args& indices, const Sizes& shape, const Sizes& dims) {
  Choice choice;
  if (!choice.take(indices, dims, shape)) return not_implemented();
  const WorkArray g = contiguous(gradient);
  if (!std::ranges::equal(shape_of(g.array), choice.shape)) return not_implemented();
  return add_to_zeros(g, choice.places, shape, choice.slabs);
}

// ---- joining
// ---------------------------------------------------------------------------------------------------------

// The items of two arrays in turns, as a last dimension of two has them.
void interleave(const Array& first, const Array& second, const Array& target) {
  with_item(target.dtype, [&](auto tag) {
    using T = decltype(tag);
    parallel_for(first.size(), move_grain, [&](int64_t begin, int64_t end) {
      const T* __restrict a = first.as<T>(), * __restrict b = second.as<T>();
      T* __restrict to = target.as<T>();
      for (int64_t i = begin; i < end; ++i) {
        to[2 * i] = a[i];
        to[2 * i + 1] = b[i];
      }
    });
  });
}

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
    if (new_dimension && at == dimensions - 1 && parts.size() == 2 && first.contiguous() && parts[1].contiguous()) {
      return interleave(first, parts[1], made.array);
    }
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
  // x[:, index]: indices of any shape along neighbouring dimensions, those below zero counted from the end.
  define_kernel(module, "index", &index, nb::arg("x"), nb::arg("indices"), nb::arg("dims"));
  define_kernel(module, "index_gradient", &index_gradient, nb::arg("g"), nb::arg("indices"), nb::arg("shape"),
                nb::arg("dims"));
  // The rows of x at indices of any shape.
  define_kernel(
      module, "embedding", [](nb::handle x, nb::handle index) { return select(x, index, 0); }, nb::arg("x"),
      nb::arg("index"));
  define_kernel(
      module, "embedding_gradient",
      [](nb::handle g, nb::handle index, int64_t rows) {
        Array array = borrow(g);
        int dimensions = array.dimensions - borrow(index).dimensions;
        if (dimensions < 0) return not_implemented();
        Sizes shape(array.shape + borrow(index).dimensions, array.shape + array.dimensions);
        shape.insert(shape.begin(), rows);
        return select_gradient(g, index, shape, 0);
      },
      nb::arg("g"), nb::arg("index"), nb::arg("rows"));
  define_kernel(
      module, "index_select",
      [](nb::handle x, nb::handle index, int64_t dim) {
        if (borrow(index).dimensions != 1) return not_implemented();
        return select(x, index, dim);
      },
      nb::arg("x"), nb::arg("index"), nb::arg("dim"));
  define_kernel(
      module, "index_select_gradient",
      [](nb::handle g, nb::handle index, const Sizes& shape, int64_t dim) {
        if (borrow(index).dimensions != 1) return not_implemented();
        return select_gradient(g, index, shape, dim);
      },
      nb::arg("g"), nb::arg("index"), nb::arg("shape"), nb::arg("dim"));
  define_kernel(
      module, "index_add",
      [](nb::handle x, nb::handle index, nb::handle source, int64_t dim, double alpha) {
        return index_add(x, index, source, dim, alpha, false);
      },
      nb::arg("x"), nb::arg("index"), nb::arg("source"), nb::arg("dim"), nb::arg("alpha") = 1.0);
  define_kernel(
      module, "index_add_into",
      [](nb::handle x, nb::handle index, nb::handle source, int64_t dim, double alpha) {
        return index_add(x, index, source, dim, alpha, true);
      },
      nb::arg("x"), nb::arg("index"), nb::arg("source"), nb::arg("dim"), nb::arg("alpha") = 1.0);
}

}  // namespace rushlight
