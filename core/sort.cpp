// Sorting and selection along a dimension. Every item becomes an unsigned key that orders as the items do, NaN above
// all numbers, -0 with 0; a key with the place of its item below it is unlike all others, so that any way to order such
// pairs is stable, and all ways give the same result.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "scratch.h"
#include "threads.h"

namespace rushlight {

namespace {

// What an item's bits mean.
struct Meaning {
  bool floating, with_sign;
  uint64_t infinity;  // its bits
};

Meaning meaning_of(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::uint8: return {false, false, 0};
    case DType::float16: return {true, true, 0x7c00};
    case DType::bfloat16: return {true, true, 0x7f80};
    case DType::float32: return {true, true, 0x7f800000};
    case DType::float64: return {true, true, 0x7ff0000000000000};
    default: return {false, true, 0};
  }
}

// Keys that rise with the items, or fall.
template <class Key>
void make_keys(const Key* items, int64_t count, const Meaning& meaning, bool falling, Key* keys) {
  constexpr Key sign = Key(Key(1) << (8 * sizeof(Key) - 1)), all = std::numeric_limits<Key>::max();
  const Key flip = falling ? all : Key(0), infinity = static_cast<Key>(meaning.infinity);
  if (!meaning.floating) {
    const Key change = Key(flip ^ (meaning.with_sign ? sign : Key(0)));
    for (int64_t i = 0; i < count; ++i) keys[i] = Key(items[i] ^ change);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    Key magnitude = Key(items[i] & Key(all ^ sign));
    Key key = Key((items[i] & sign) != 0 ? Key(all ^ items[i]) : Key(items[i] | sign));
    key = magnitude == 0 ? sign : key;
    key = magnitude > infinity ? all : key;
    keys[i] = Key(key ^ flip);
  }
}

constexpr int place_bits = 32;
template <class Key>
using Pair = std::conditional_t<sizeof(Key) == 8, unsigned __int128, uint64_t>;  // a key above its place

template <class Key>
void make_pairs(const Key* keys, int64_t count, Pair<Key>* pairs) {
  for (int64_t i = 0; i < count; ++i) pairs[i] = Pair<Key>(keys[i]) << place_bits | static_cast<uint64_t>(i);
}

// Sorts pairs that lie in the order of their places, digit by digit from the lowest one; those in which all keys agree
// are left out. `other` is as large.
template <class Key>
void sort_by_digits(Pair<Key>* pairs, Pair<Key>* other, int64_t count) {
  constexpr int digits = sizeof(Key);
  std::array<std::array<uint32_t, 256>, digits> counts{};
  for (int64_t i = 0; i < count; ++i) {
    Key key = static_cast<Key>(pairs[i] >> place_bits);
    for (int d = 0; d < digits; ++d) ++counts[d][static_cast<uint8_t>(key >> (8 * d))];
  }
  Pair<Key>*from = pairs, *to = other;
  for (int d = 0; d < digits; ++d) {
    int shift = place_bits + 8 * d;
    if (counts[d][static_cast<uint8_t>(from[0] >> shift)] == count) continue;
    uint32_t start = 0;
    for (uint32_t& n : counts[d]) start += std::exchange(n, start);
    for (int64_t i = 0; i < count; ++i) to[counts[d][static_cast<uint8_t>(from[i] >> shift)]++] = from[i];
    std::swap(from, to);
  }
  if (from != pairs) std::copy_n(from, count, pairs);
}

template <class Key>
void sort_pairs(Pair<Key>* pairs, Pair<Key>* other, int64_t count) {
  if (count < 192) {
    std::sort(pairs, pairs + count);
  } else {
    sort_by_digits<Key>(pairs, other, count);
  }
}

// The `chosen` least pairs of `count` in order, at the front of `pairs`.
template <class Key>
void choose_pairs(const Key* keys, int64_t count, int64_t chosen, Pair<Key>* pairs, Pair<Key>* other) {
  constexpr int64_t few = 32, stretch = 64;
  if (chosen <= few && chosen < count) {
    // The best so far are kept in order; whole stretches have nothing better.
    int64_t kept = 0;
    Key worst = std::numeric_limits<Key>::max();
    for (int64_t first = 0; first < count; first += stretch) {
      int64_t end = std::min(first + stretch, count);
      if (kept == chosen) {
        Key least = std::numeric_limits<Key>::max();
        for (int64_t i = first; i < end; ++i) least = std::min(least, keys[i]);
        if (least >= worst) continue;
      }
      for (int64_t i = first; i < end; ++i) {
        if (kept == chosen && keys[i] >= worst) continue;
        Pair<Key> pair = Pair<Key>(keys[i]) << place_bits | static_cast<uint64_t>(i);
        int64_t at = kept < chosen ? kept++ : chosen - 1;
        for (; at > 0 && pairs[at - 1] > pair; --at) pairs[at] = pairs[at - 1];
        pairs[at] = pair;
        worst = static_cast<Key>(pairs[kept - 1] >> place_bits);
      }
    }
    return;
  }
  make_pairs(keys, count, pairs);
  if (chosen >= count / 4) {
    sort_pairs<Key>(pairs, other, count);
  } else {
    std::nth_element(pairs, pairs + chosen, pairs + count);
    std::sort(pairs, pairs + chosen);
  }
}

// ---- rows
// ------------------------------------------------------------------------------------------------------------

// An array with one of its dimensions moved to the end.
struct Moved {
  int64_t shape[max_dimensions], strides[max_dimensions];
  Array array;

  Moved(const Array& given, int dimension) : array(given) {
    int at = 0;
    auto add = [&](int i) {
      shape[at] = given.shape[i];
      strides[at++] = given.strides[i];
    };
    for (int i = 0; i < given.dimensions; ++i) {
      if (i != dimension) add(i);
    }
    if (given.dimensions > 0) add(dimension);
    array.shape = shape;
    array.strides = strides;
  }
  Moved(const Moved&) = delete;
};

// The rows of an array along a dimension, one after another.
struct Rows {
  WorkArray items;
  int dimension = 0;
  int64_t length = 1, count = 1;

  // False where there is no such dimension, or rows are too long for the places in pairs.
  bool read(nb::handle given, int64_t dim) {
    Array array = borrow(given);
    int64_t dimensions = std::max(array.dimensions, 1);
    if (array.dtype == DType::other || dim < -dimensions || dim >= dimensions) return false;
    dimension = static_cast<int>(dim < 0 ? dim + dimensions : dim);
    if (array.dimensions > 0) length = array.shape[dimension];
    if (length > std::numeric_limits<int32_t>::max()) return false;
    count = length == 0 ? 0 : array.size() / length;
    Moved moved(array, dimension);
    items = contiguous(moved.array);
    if (!items || items.array.data != array.data) return true;
    items = WorkArray(array);  // its shape outlives `moved`
    return true;
  }
};

// A result with rows of its own length along the dimension; they are written one after another.
class RowsOut {
 public:
  NewArray made;

  RowsOut(DType dtype, nb::handle like, const Rows& rows, int64_t length) : dimension_(rows.dimension) {
    Array array = borrow(like);
    int64_t shape[max_dimensions];
    std::copy_n(array.shape, array.dimensions, shape);
    if (array.dimensions > 0) shape[dimension_] = length;
    std::span<const int64_t> extents(shape, static_cast<size_t>(array.dimensions));
    made = result(dtype, extents);
    bool in_place = dimension_ >= array.dimensions - 1;
    if (!in_place) own_ = WorkArray(dtype, shape_of(Moved(made.array, dimension_).array));
  }
  template <class T>
  T* rows() const {
    return (own_ ? own_.array : made.array).template as<T>();
  }
  void finish() const {
    if (!own_) return;
    Moved moved(made.array, dimension_);
    copy_strided(moved.array, own_.array);
  }

 private:
  int dimension_;
  WorkArray own_;
};

// row(index, items, keys, pairs, other) for each row.
template <class Key, class Row>
void for_rows(const Rows& rows, bool falling, Row&& row) {
  Meaning meaning = meaning_of(rows.items.array.dtype);
  const Key* items = rows.items.array.as<Key>();
  Unlocked unlocked;
  parallel_for(rows.count, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, rows.length)),
               [&](int64_t begin, int64_t end) {
                 Scratch<Key> keys(rows.length);
                 Scratch<Pair<Key>> pairs(rows.length), other(rows.length);
                 for (int64_t i = begin; i < end; ++i) {
                   const Key* from = items + i * rows.length;
                   make_keys(from, rows.length, meaning, falling, keys.get());
                   row(i, from, keys.get(), pairs.get(), other.get());
                 }
               });
}

// The first `chosen` of each row in order, and their places.
nb::object first_in_order(nb::handle x, int64_t dim, bool falling, int64_t chosen) {
  Rows rows;
  if (!rows.read(x, dim)) return not_implemented();
  if (chosen < 0) chosen = rows.length;
  if (chosen > rows.length) return not_implemented();
  RowsOut values(rows.items.array.dtype, x, rows, chosen), places(DType::int64, x, rows, chosen);
  with_item(rows.items.array.dtype, [&](auto tag) {
    using Key = decltype(tag);
    Key* value = values.rows<Key>();
    int64_t* place = places.rows<int64_t>();
    if (chosen > 0) {
      for_rows<Key>(rows, falling, [&](int64_t row, const Key* items, const Key* keys, auto* pairs, auto* other) {
        choose_pairs<Key>(keys, rows.length, chosen, pairs, other);
        for (int64_t i = 0; i < chosen; ++i) {
          int64_t at = static_cast<uint32_t>(pairs[i]);
          value[row * chosen + i] = items[at];
          place[row * chosen + i] = at;
        }
      });
    }
  });
  values.finish();
  places.finish();
  return results(values.made, places.made);
}

// One item of each row, and its place; rank(keys, length) says which, counted in their order.
template <class Rank>
nb::object one_in_order(nb::handle x, int64_t dim, bool keepdim, Rank&& rank) {
  Rows rows;
  if (!rows.read(x, dim) || rows.length == 0) return not_implemented();
  Array array = borrow(x);
  int64_t shape[max_dimensions];
  size_t dimensions = 0;
  for (int i = 0; i < array.dimensions; ++i) {
    if (i != rows.dimension) shape[dimensions++] = array.shape[i];
    if (i == rows.dimension && keepdim) shape[dimensions++] = 1;
  }
  NewArray values = result(array.dtype, std::span<const int64_t>(shape, dimensions));
  NewArray places = result(DType::int64, std::span<const int64_t>(shape, dimensions));
  with_item(array.dtype, [&](auto tag) {
    using Key = decltype(tag);
    for_rows<Key>(rows, false, [&](int64_t row, const Key* items, const Key* keys, auto* pairs, auto*) {
      make_pairs(keys, rows.length, pairs);
      int64_t wanted = rank(keys, rows.length);
      std::nth_element(pairs, pairs + wanted, pairs + rows.length);
      int64_t at = static_cast<uint32_t>(pairs[wanted]);
      values.array.as<Key>()[row] = items[at];
      places.array.as<int64_t>()[row] = at;
    });
  });
  return results(values, places);
}

nb::object median_along(nb::handle x, int64_t dim, bool keepdim, bool ignore_nan) {
  bool floating = meaning_of(borrow(x).dtype).floating;
  return one_in_order(x, dim, keepdim, [=](const auto* keys, int64_t length) {
    using Key = std::remove_cvref_t<decltype(keys[0])>;
    int64_t nans = floating ? std::count(keys, keys + length, std::numeric_limits<Key>::max()) : 0;
    if (ignore_nan) return std::max<int64_t>(length - nans - 1, 0) / 2;
    return nans > 0 ? length - nans : (length - 1) / 2;
  });
}

}  // namespace

void bind_sort(nb::module_& module) {
  define_kernel(
      module, "sort", [](nb::handle x, int64_t dim, bool descending) { return first_in_order(x, dim, descending, -1); },
      nb::arg("x"), nb::kw_only(), nb::arg("dim") = -1, nb::arg("descending") = false,
      "The items in order, and their places.");
  define_kernel(
      module, "topk",
      [](nb::handle x, int64_t k, int64_t dim, bool largest) {
        if (borrow(x).dimensions == 0) k = 1;
        return k < 0 ? not_implemented() : first_in_order(x, dim, largest, k);
      },
      nb::arg("x"), nb::kw_only(), nb::arg("k"), nb::arg("dim") = -1, nb::arg("largest") = true,
      "The first k in order, and their places.");
  define_kernel(
      module, "kthvalue",
      [](nb::handle x, int64_t k, int64_t dim, bool keepdim) {
        if (borrow(x).dimensions == 0) k = 1;
        return one_in_order(x, dim, keepdim,
                            [k](const auto*, int64_t length) { return std::clamp<int64_t>(k - 1, 0, length - 1); });
      },
      nb::arg("x"), nb::kw_only(), nb::arg("k"), nb::arg("dim") = -1, nb::arg("keepdim") = false,
      "The k-th in order, counted from 1, and its place.");
  define_kernel(module, "median_along", &median_along, nb::arg("x"), nb::kw_only(), nb::arg("dim") = -1,
                nb::arg("keepdim") = false, nb::arg("ignore_nan") = false,
                "The lower median, NaN where there is one unless ignored, and its place.");
}

}  // namespace rushlight
