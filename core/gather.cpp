// Items chosen by an index for each, along a dimension, and the way back; the indices of a mask.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <string>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "move.h"
#include "scratch.h"
#include "strided.h"

namespace rushlight {

namespace {

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

// Of many rows, one index for each item of a row: to[i] = slab[at[i]].
template <class T>
void take(const T* from, const int64_t* at, T* to, const Slabs& slabs, const Slabs& chosen) {
  // Neighbours that read one slab: a row of the indices, or where items lie within slices, a slice of them.
  const int64_t inner = chosen.inner, run = inner == 1 ? chosen.count : inner;
  parallel_for(chosen.outer * chosen.count * inner, move_grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / run, count = std::min(end, (row + 1) * run) - begin;
      if (inner == 1) {
        const T* slab = from + row * slabs.count;
        for (int64_t i = begin; i < begin + count; ++i) to[i] = slab[at[i]];
      } else {
        const T* slab = from + row / chosen.count * slabs.count * inner + begin % run;
        for (int64_t i = 0; i < count; ++i) to[begin + i] = slab[at[begin + i] * inner + i];
      }
      begin += count;
    }
  });
}

// y = x, or zeros where that is null, with put(its item, item of the source) where the indices say. Each task owns
// columns, or whole slabs, and goes through all their indices.
template <class T, class Put>
void bring(const T* x, const T* source, const int64_t* at, T* y, const Slabs& slabs, const Slabs& chosen, Put put) {
  const int64_t inner = slabs.inner, width = slabs.outer >= 8 ? std::max<int64_t>(1, inner) : 64;
  const int64_t across = divide_up(inner, width);
  const int64_t work = std::max<int64_t>(1, (slabs.count + chosen.count) * std::min(width, inner));
  parallel_for(slabs.outer * across, move_grain / work, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task % across * width, length = std::min(width, inner - column);
      const int64_t start = task / across * slabs.count * inner + column;
      const int64_t first = task / across * chosen.count * inner + column;
      T* target = y + start;
      const bool whole = length == inner;
      const int64_t rows = whole ? 1 : slabs.count, row = whole ? inner * slabs.count : length;
      for (int64_t k = 0; k < rows && x != y; ++k) {
        if (x == nullptr) {
          std::fill_n(target + k * inner, row, T(0));
        } else {
          std::copy_n(x + start + k * inner, row, target + k * inner);
        }
      }
      if (inner == 1) {
        for (int64_t k = first; k < first + chosen.count; ++k) put(target[at[k]], source[k]);
        continue;
      }
      for (int64_t k = 0; k < chosen.count; ++k) {
        const int64_t place = first + k * inner;
        for (int64_t i = 0; i < length; ++i) put(target[at[place + i] * inner + i], source[place + i]);
      }
    }
  });
}

struct AddTo {
  template <class T>
  void operator()(T& target, T item) const {
    target += item;
  }
};
struct Replace {
  template <class T>
  void operator()(T& target, T item) const {
    target = item;
  }
};

struct Multiply {
  template <class T>
  void operator()(T& target, T item) const {
    target *= item;
  }
};
// What isn't a number wins.
struct Largest {
  template <class T>
  void operator()(T& target, T item) const {
    if (item > target || item != item) target = item;
  }
};
struct Smallest {
  template <class T>
  void operator()(T& target, T item) const {
    if (item < target || item != item) target = item;
  }
};
struct CountUp {
  template <class T>
  void operator()(T& target, T) const {
    target += 1;
  }
};
template <class T>
struct Become {
  T value;
  void operator()(T& target, T) const { target = value; }
};

nb::object gather(nb::handle input, nb::handle given, int64_t dim) {
  Array array = borrow(input);
  Slabs slabs, chosen;
  if (array.dtype == DType::other || !alike(borrow(given), shape_of(array), dim, slabs, chosen)) {
    return not_implemented();
  }
  WorkArray x = contiguous(input), index = contiguous(given);
  check_places(index.array, 0, slabs.count);
  NewArray y = result(array.dtype, shape_of(index.array));
  Unlocked unlocked;
  with_item(array.dtype, [&](auto tag) {
    using T = decltype(tag);
    take(x.array.as<T>(), index.array.as<int64_t>(), y.array.as<T>(), slabs, chosen);
  });
  return y.object;
}

nb::object gather_gradient(nb::handle gradient, nb::handle given, const Sizes& shape, int64_t dim) {
  Slabs slabs, chosen;
  if (!alike(borrow(given), shape, dim, slabs, chosen)) return not_implemented();
  WorkArray g = contiguous(gradient), index = contiguous(given);
  NewArray gx;
  if (!std::ranges::equal(shape_of(g.array), shape_of(index.array))) return not_implemented();
  check_places(index.array, 0, slabs.count);
  bool known = with_sum(g.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(g.array.dtype, shape);
    Unlocked unlocked;
    bring<T>(nullptr, g.array.as<T>(), index.array.as<int64_t>(), gx.array.as<T>(), slabs, chosen, AddTo{});
  });
  return known ? gx.object : not_implemented();
}

// In place where `into`.
template <bool add>
nb::object scatter(nb::handle input, nb::handle given, nb::handle added, int64_t dim, bool into) {
  Slabs slabs, chosen;
  Array array = borrow(input);
  if (!is_array(added) || !alike(borrow(given), shape_of(array), dim, slabs, chosen) ||
      (into && (!array.contiguous() || !array.writeable))) {
    return not_implemented();
  }
  WorkArray x = contiguous(input), index = contiguous(given), source = contiguous(added);
  if (source.array.dtype != array.dtype || !std::ranges::equal(shape_of(source.array), shape_of(index.array)) ||
      (into && (overlap(array, source.array) || overlap(array, index.array)))) {
    return not_implemented();
  }
  check_places(index.array, 0, slabs.count);
  NewArray y;
  auto compute = [&](auto tag) {
    using T = decltype(tag);
    if (!into) y = result(array.dtype, shape_of(array));
    Unlocked unlocked;
    bring(x.array.as<T>(), source.array.as<T>(), index.array.as<int64_t>(), (into ? array : y.array).as<T>(), slabs,
          chosen, std::conditional_t<add, AddTo, Replace>{});
  };
  if constexpr (add) {
    if (!with_sum(array.dtype, compute)) return not_implemented();
  } else {
    if (array.dtype == DType::other) return not_implemented();
    with_item(array.dtype, compute);
  }
  return into ? done(input) : y.object;
}

// The items of y, which holds those of x, and of `source` combined where the indices say.
template <class T>
void combine(const T* source, const int64_t* at, T* y, const Slabs& slabs, const Slabs& chosen,
             const std::string& reduce, bool include_self) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  auto each = [&](T neutral, auto put) {
    if (!include_self) bring(y, source, at, y, slabs, chosen, Become<T>{neutral});
    bring(y, source, at, y, slabs, chosen, put);
  };
  if (reduce == "prod") return each(1, Multiply{});
  if (reduce == "amax") return each(-infinity, Largest{});
  if (reduce == "amin") return each(infinity, Smallest{});
  each(0, AddTo{});
  if (reduce == "sum") return;
  const int64_t items = slabs.outer * slabs.count * slabs.inner;
  const Scratch<T> arrived(items);
  bring<T>(nullptr, source, at, arrived.get(), slabs, chosen, CountUp{});
  for (int64_t i = 0; i < items; ++i) y[i] /= std::max<T>(arrived[i] + (include_self ? 1 : 0), 1);
}

nb::object scatter_reduce(nb::handle input, nb::handle given, nb::handle added, int64_t dim, const std::string& reduce,
                          bool include_self) {
  Slabs slabs, chosen;
  const Array array = borrow(input);
  if (!alike(borrow(given), shape_of(array), dim, slabs, chosen)) return not_implemented();
  const WorkArray index = contiguous(given), source = contiguous(added);
  if (source.array.dtype != array.dtype || !std::ranges::equal(shape_of(source.array), shape_of(index.array))) {
    return not_implemented();
  }
  check_places(index.array, 0, slabs.count);
  NewArray y;
  const bool known = dispatch_wide(array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(array.dtype, shape_of(array));
    copy_strided(y.array, array);
    Unlocked unlocked;
    combine(source.array.as<T>(), index.array.as<int64_t>(), y.array.as<T>(), slabs, chosen, reduce, include_self);
  });
  return known ? y.object : not_implemented();
}

// The places where a mask holds: (dimensions, count), or as the rows of a matrix (count, dimensions).
nb::object nonzero(nb::handle input, bool as_rows) {
  WorkArray mask = contiguous(input);
  const Array& array = mask.array;
  if (array.dtype != DType::boolean || array.dimensions == 0) return not_implemented();
  constexpr int64_t block = 4096;
  const int64_t size = array.size(), blocks = divide_up(size, block);
  const uint8_t* holds = array.as<uint8_t>();
  Scratch<int64_t> begins(blocks + 1);  // how many places lie before each block
  begins[0] = 0;
  parallel_for(blocks, 16, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      int64_t count = 0;
      for (int64_t at = b * block; at < std::min(size, (b + 1) * block); at += 128) {
        uint8_t some = 0;  // bytes add up quickly
        for (int64_t i = at; i < std::min(size, at + 128); ++i) some = static_cast<uint8_t>(some + holds[i]);
        count += some;
      }
      begins[b + 1] = count;
    }
  });
  for (int64_t b = 0; b < blocks; ++b) begins[b + 1] += begins[b];
  const int64_t found = begins[blocks], dimensions = array.dimensions, inner = dimensions - 1;
  NewArray places = as_rows ? result(DType::int64, {found, dimensions}) : result(DType::int64, {dimensions, found});
  const int64_t step = as_rows ? dimensions : 1, apart = as_rows ? 1 : found;
  int64_t* to = places.array.as<int64_t>();
  Unlocked unlocked;
  parallel_for(blocks, 4, [&](int64_t first, int64_t last) {
    int64_t columns[block], index[max_dimensions];
    int64_t at = first * block, rest = at;
    const int64_t end = std::min(size, last * block);
    for (int64_t d = inner; d >= 0; rest /= array.shape[d--]) index[d] = rest % array.shape[d];
    for (int64_t place = begins[first]; at < end;) {  // row by row, or a block of one
      const int64_t count = std::min({array.shape[inner] - index[inner], end - at, block});
      int64_t hits = 0;
      for (int64_t i = 0; i < count; ++i) {
        columns[hits] = index[inner] + i;
        hits += holds[at + i];
      }
      for (int64_t d = 0; d < inner; ++d) {
        for (int64_t i = 0; i < hits; ++i) to[(place + i) * step + d * apart] = index[d];
      }
      for (int64_t i = 0; i < hits; ++i) to[(place + i) * step + inner * apart] = columns[i];
      place += hits;
      at += count;
      index[inner] += count;
      for (int64_t d = inner; d > 0 && index[d] == array.shape[d]; --d) index[d] = 0, ++index[d - 1];
    }
  });
  return places.object;
}

}  // namespace

void bind_gather(nb::module_& module) {
  // Not for an Executor: how many places there are depends on values.
  module.def("nonzero", &nonzero, nb::arg("mask"), nb::arg("as_rows") = false, "The places where a mask holds.");
  define_kernel(module, "gather", &gather, nb::arg("x"), nb::arg("index"), nb::arg("dim"));
  define_kernel(module, "gather_gradient", &gather_gradient, nb::arg("g"), nb::arg("index"), nb::arg("shape"),
                nb::arg("dim"));
  auto define = [&](const char* name, auto compute, bool into) {
    define_kernel(
        module, name,
        [compute, into](nb::handle x, nb::handle index, nb::handle source, int64_t dim) {
          return compute(x, index, source, dim, into);
        },
        nb::arg("x"), nb::arg("index"), nb::arg("source"), nb::arg("dim"));
  };
  define("scatter", &scatter<false>, false);
  define("scatter_into", &scatter<false>, true);
  define("scatter_add", &scatter<true>, false);
  define("scatter_add_into", &scatter<true>, true);
  define_kernel(module, "scatter_reduce", &scatter_reduce, nb::arg("x"), nb::arg("index"), nb::arg("source"),
                nb::arg("dim"), nb::arg("reduce"), nb::arg("include_self") = true);
}

}  // namespace rushlight
