#include "convert.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "simd.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight {

namespace {

struct boolean {  // one byte, 0 or 1
  uint8_t value;
};

template <class To, class From>
inline To convert(From from) {
  if constexpr (std::is_same_v<To, From>) {
    return from;
  } else if constexpr (std::is_same_v<From, boolean>) {
    return static_cast<To>(static_cast<Compute<To>>(from.value));
  } else if constexpr (std::is_same_v<To, boolean>) {
    return {static_cast<Compute<From>>(from) != 0};
  } else if constexpr (!std::is_same_v<Compute<From>, From>) {
    return convert<To, float>(static_cast<float>(from));
  } else if constexpr (!std::is_same_v<Compute<To>, To>) {
    return static_cast<To>(static_cast<float>(from));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From limit = From(9223372036854775808.0);
    return static_cast<To>(from >= -limit && from < limit ? static_cast<int64_t>(from)
                                                          : std::numeric_limits<int64_t>::min());
  } else {
    return static_cast<To>(from);
  }
}

// Rows of `size` bytes, 2 to `pieces` pieces each: those that begin it and, over these where need be, those that end
// it.
template <int pieces, int64_t bytes>
void copy_pieces(char* to, int64_t to_row, const char* from, int64_t from_row, int64_t size, int64_t rows) {
  struct Piece {
    char items[bytes];
  };
  const int64_t end = size - pieces / 2 * bytes;
  for (; rows > 0; --rows, to += to_row, from += from_row) {
    Piece piece[pieces];
#pragma GCC unroll 4
    for (int i = 0; i < pieces; ++i) {
      std::memcpy(&piece[i], from + (i < pieces / 2 ? i * bytes : end + (i - pieces / 2) * bytes), bytes);
    }
#pragma GCC unroll 4
    for (int i = 0; i < pieces; ++i) {
      std::memcpy(to + (i < pieces / 2 ? i * bytes : end + (i - pieces / 2) * bytes), &piece[i], bytes);
    }
  }
}

// Rows of `size` bytes that lie side by side on both sides; they are often too short to be worth a call of memcpy.
void copy_rows(char* to, int64_t to_row, const char* from, int64_t from_row, int64_t size, int64_t rows) {
  constexpr int64_t few = 4, some = 16, wide = vector_bytes;
  if (size >= wide && size <= 4 * wide) {
    (size <= 2 * wide ? copy_pieces<2, wide> : copy_pieces<4, wide>)(to, to_row, from, from_row, size, rows);
  } else if (size >= some && size < 4 * some) {
    (size <= 2 * some ? copy_pieces<2, some> : copy_pieces<4, some>)(to, to_row, from, from_row, size, rows);
  } else if (size < some && size % few == 0) {
    for (; rows > 0; --rows, to += to_row, from += from_row) {
      for (int64_t i = 0; i < size; i += few) std::memcpy(to + i, from + i, few);
    }
  } else {
    for (; rows > 0; --rows, to += to_row, from += from_row) std::memcpy(to, from, static_cast<size_t>(size));
  }
}

template <class To, class From>
inline void convert_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t count) {
  if (to_stride == sizeof(To)) {
    To* result = reinterpret_cast<To*>(to);
    const From* source = reinterpret_cast<const From*>(from);
    if (from_stride == sizeof(From)) {
      for (int64_t i = 0; i < count; ++i) result[i] = convert<To>(source[i]);
    } else if (from_stride == 0) {
      To value = convert<To>(*source);
      for (int64_t i = 0; i < count; ++i) result[i] = value;
    } else if (std::is_same_v<To, From> && from_stride == 2 * sizeof(From)) {  // every other one, in whole vectors
      for (int64_t i = 0; i < count; ++i) result[i] = convert<To>(source[2 * i]);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        result[i] = convert<To>(*reinterpret_cast<const From*>(from + i * from_stride));
      }
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    *reinterpret_cast<To*>(to + i * to_stride) = convert<To>(*reinterpret_cast<const From*>(from + i * from_stride));
  }
}

template <class To, class From>
void convert_rows(char* to, Steps to_steps, const char* from, Steps from_steps, int64_t count, int64_t rows) {
  if (std::is_same_v<To, From> && to_steps.item == sizeof(To) && from_steps.item == sizeof(From)) {
    copy_rows(to, to_steps.row, from, from_steps.row, count * static_cast<int64_t>(sizeof(To)), rows);
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    convert_row<To, From>(to + row * to_steps.row, to_steps.item, from + row * from_steps.row, from_steps.item, count);
  }
}

template <class To>
ConvertRows converter_to(DType from) {
  switch (from) {
    case DType::boolean: return convert_rows<To, boolean>;
    case DType::uint8: return convert_rows<To, uint8_t>;
    case DType::int8: return convert_rows<To, int8_t>;
    case DType::int16: return convert_rows<To, int16_t>;
    case DType::int32: return convert_rows<To, int32_t>;
    case DType::int64: return convert_rows<To, int64_t>;
    case DType::float16: return convert_rows<To, float16>;
    case DType::bfloat16: return convert_rows<To, bfloat16>;
    case DType::float32: return convert_rows<To, float>;
    case DType::float64: return convert_rows<To, double>;
    default: return nullptr;
  }
}

DType dtype_named(std::string_view name) {
  constexpr std::pair<const char*, DType> names[] = {
      {"bool", DType::boolean},    {"uint8", DType::uint8},       {"int8", DType::int8},
      {"int16", DType::int16},     {"int32", DType::int32},       {"int64", DType::int64},
      {"float16", DType::float16}, {"bfloat16", DType::bfloat16}, {"float32", DType::float32},
      {"float64", DType::float64},
  };
  for (auto [known, dtype] : names) {
    if (name == known) return dtype;
  }
  return DType::other;
}

// How to copy a plane of two dimensions: from the one that has the target's items side by side, its columns, to the
// one that has the source's.
struct Plane {
  int row = -1, column = -1;
  ConvertRows run = nullptr;
  void (*turn)(const Array& to, const Array& from, const Plane& plane, char* target, const char* source, int64_t rows,
               int64_t columns) = nullptr;
};

// A line of the cache at a time, on both sides: by way of a square that lies in one piece, since strides that are
// powers of two have all their lines in the same few places of the cache.
template <class T>
void turn_in_squares(const Array& to, const Array& from, const Plane& plane, char* target, const char* source,
                     int64_t rows, int64_t columns) {
  constexpr int64_t side = 64 / sizeof(T);
  alignas(64) T square[side * side];
  int64_t to_stride = to.strides[plane.row], from_stride = from.strides[plane.column];
  for (int64_t column = 0; column < columns; column += side) {
    int64_t width = std::min(side, columns - column);
    for (int64_t row = 0; row < rows; row += side) {
      int64_t height = std::min(side, rows - row);
      transpose(reinterpret_cast<const T*>(source + column * from_stride) + row,
                from_stride / static_cast<int64_t>(sizeof(T)), width, height, square, side);
      char* line = target + row * to_stride + column * static_cast<int64_t>(sizeof(T));
      for (int64_t i = 0; i < height; ++i, line += to_stride) {
        if (width == side) {
          std::memcpy(line, square + i * side, 64);
        } else {
          std::memcpy(line, square + i * side, static_cast<size_t>(width) * sizeof(T));
        }
      }
    }
  }
}

// In runs along the target's items, or along the source's where a row of the target is short.
void turn_in_runs(const Array& to, const Array& from, const Plane& plane, char* target, const char* source,
                  int64_t rows, int64_t columns) {
  bool narrow = columns < 16 && columns < rows;
  int along = narrow ? plane.row : plane.column, across = narrow ? plane.column : plane.row;
  plane.run(target, {to.strides[along], to.strides[across]}, source, {from.strides[along], from.strides[across]},
            narrow ? rows : columns, narrow ? columns : rows);
}

// A plane to copy by, where the items of `from` lie closer together along another dimension than those of `to`.
Plane plane_of(const Array& to, const Array& from) {
  Plane plane{-1, to.dimensions - 1, converter(to.dtype, from.dtype), turn_in_runs};
  int64_t item = item_size(from.dtype);
  if (plane.column < 1 || to.size() < 4096 || to.strides[plane.column] != item_size(to.dtype) ||
      std::abs(from.strides[plane.column]) <= item) {
    return plane;
  }
  for (int i = 0; i < plane.column; ++i) {
    int64_t step = std::abs(from.strides[i]);
    if (to.shape[i] < 4 || step == 0 || step > 16 || step >= std::abs(from.strides[plane.column])) continue;
    if (plane.row < 0 || step < std::abs(from.strides[plane.row])) plane.row = i;
  }
  bool squares = plane.row >= 0 && to.dtype == from.dtype && from.strides[plane.row] == item &&
                 to.shape[plane.row] >= 8 && to.shape[plane.column] >= 8;
  for (int i : {plane.row, plane.column}) {
    if (squares) squares = (i == plane.row ? to : from).strides[i] % item == 0;
  }
  if (squares && item == 1) plane.turn = turn_in_squares<uint8_t>;
  if (squares && item == 2) plane.turn = turn_in_squares<uint16_t>;
  if (squares && item == 4) plane.turn = turn_in_squares<uint32_t>;
  if (squares && item == 8) plane.turn = turn_in_squares<uint64_t>;
  return plane;
}

// Goes from tile to tile of the planes; a tile fits the L1 cache with both its faces.
void copy_planes(const Array& to, const Array& from, const Plane& plane) {
  int64_t rows = to.shape[plane.row], columns = to.shape[plane.column];
  int64_t height = columns < 16 ? 256 : 64, width = rows < 16 ? 256 : 64;
  int64_t row_tiles = divide_up(rows, height), column_tiles = divide_up(columns, width);
  int64_t planes = to.size() / (rows * columns);
  parallel_for(planes * row_tiles * column_tiles, 8, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      int64_t rest = index;
      int64_t column = rest % column_tiles * width;
      rest /= column_tiles;
      int64_t row = rest % row_tiles * height;
      rest /= row_tiles;
      char* target = to.data + row * to.strides[plane.row] + column * to.strides[plane.column];
      const char* source = from.data + row * from.strides[plane.row] + column * from.strides[plane.column];
      for (int i = plane.column - 1; i >= 0; --i) {
        if (i == plane.row) continue;
        int64_t at = rest % to.shape[i];
        rest /= to.shape[i];
        target += at * to.strides[i];
        source += at * from.strides[i];
      }
      plane.turn(to, from, plane, target, source, std::min(height, rows - row), std::min(width, columns - column));
    }
  });
}

}  // namespace

ConvertRows converter(DType to, DType from) {
  switch (to) {
    case DType::boolean: return converter_to<boolean>(from);
    case DType::uint8: return converter_to<uint8_t>(from);
    case DType::int8: return converter_to<int8_t>(from);
    case DType::int16: return converter_to<int16_t>(from);
    case DType::int32: return converter_to<int32_t>(from);
    case DType::int64: return converter_to<int64_t>(from);
    case DType::float16: return converter_to<float16>(from);
    case DType::bfloat16: return converter_to<bfloat16>(from);
    case DType::float32: return converter_to<float>(from);
    case DType::float64: return converter_to<double>(from);
    default: return nullptr;
  }
}

void copy_strided(const Array& original_to, const Array& original_from) {
  Array to = original_to, from = original_from;
  int64_t size = to.size();
  if (size == 0) return;
  // In the order of the target's memory.
  int order[max_dimensions];
  int64_t shape[max_dimensions], to_strides[max_dimensions], from_strides[max_dimensions];
  dense_order(to, order);
  for (int i = 0; i < to.dimensions; ++i) {
    shape[i] = to.shape[order[i]];
    to_strides[i] = original_to.strides[order[i]];
    from_strides[i] = original_from.strides[order[i]];
  }
  to.shape = from.shape = shape;
  to.strides = to_strides;
  from.strides = from_strides;
  if (Plane plane = plane_of(to, from); plane.row >= 0) {
    copy_planes(to, from, plane);
    return;
  }
  ConvertRows run = converter(to.dtype, from.dtype);
  Strided target{to.data, to.dtype, 0, {}, {}}, source{from.data, from.dtype, 0, {}, {}};
  target.merge(to.shape, to.strides, to.dimensions);
  source.merge(to.shape, from.strides, to.dimensions);
  parallel_for(size, 65536, [&](int64_t begin, int64_t end) {
    int64_t at = begin;
    target.for_runs(begin, end - begin, [&](char* to_data, int64_t to_stride, int64_t to_count) {
      source.for_pieces(at, to_count, [&](char* data, Steps steps, int64_t count, int64_t rows) {
        run(to_data, {to_stride, count * to_stride}, data, steps, count, rows);
        to_data += rows * count * to_stride;
      });
      at += to_count;
    });
  });
}

static void copy_unlocked(const Array& to, const Array& from) {
  if (to.size() < 8192) {
    copy_strided(to, from);
  } else {
    Unlocked unlocked;
    copy_strided(to, from);
  }
}

static nb::object cast(nb::handle source, const std::string& name) {
  Array from = borrow(source);
  DType dtype = dtype_named(name);
  if (from.dtype == DType::other || dtype == DType::other) return not_implemented();
  NewArray made = result_like(from, dtype);
  copy_unlocked(made.array, from);
  return std::move(made.object);
}

// In the order of `source` in memory, without its gaps, or in that of its dimensions.
static nb::object clone(nb::handle source, bool row_major) {
  Array from = borrow(source);
  if (from.dtype == DType::other) return not_implemented();
  NewArray made;
  if (row_major || execution != nullptr || from.contiguous()) {
    made = result(from.dtype, shape_of(from));
  } else {
    int order[max_dimensions];
    dense_order(from, order);
    for (int i = 0; i < from.dimensions; ++i) {
      if (from.shape[i] != 1 && from.strides[i] <= 0) return not_implemented();
    }
    made = empty(from.dtype, shape_of(from), order);
  }
  copy_unlocked(made.array, from);
  return std::move(made.object);
}

static nb::object copy_into(nb::handle target, nb::handle source) {
  Array to = borrow(target), from = borrow(source);
  if (to.dtype == DType::other || from.dtype == DType::other || !to.writeable) return not_implemented();
  if (!std::ranges::equal(shape_of(to), shape_of(from))) return not_implemented();
  WorkArray own;
  if (overlap(to, from)) {
    own = WorkArray(from.dtype, shape_of(from));
    copy_strided(own.array, from);
    from = own.array;
  }
  copy_unlocked(to, from);
  return done(target);
}

void bind_convert(nb::module_& module) {
  define_kernel(
      module, "cast", &cast, nb::arg("array"), nb::arg("dtype"),
      "A new array of the dtype named, with the values converted as PyTorch converts; it keeps a dense layout.");
  define_kernel(module, "clone", &clone, nb::arg("x"), nb::kw_only(), nb::arg("row_major") = false,
                "A copy, in the order of x in memory or, with row_major, in that of its dimensions.");
  define_kernel(
      module, "copy_into", &copy_into, nb::arg("target"), nb::arg("source"),
      "target[...] = source for arrays of equal shape, any strides and dtypes; right where their memory overlaps.");
}

}  // namespace rushlight
