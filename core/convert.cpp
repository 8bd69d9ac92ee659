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
#include "threads.h"

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

template <class To, class From>
void convert_run(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t count) {
  if (to_stride == sizeof(To)) {
    To* result = reinterpret_cast<To*>(to);
    if (from_stride == sizeof(From)) {
      if constexpr (std::is_same_v<To, From>) {
        std::memmove(to, from, static_cast<size_t>(count) * sizeof(To));
      } else {
        const From* source = reinterpret_cast<const From*>(from);
        for (int64_t i = 0; i < count; ++i) result[i] = convert<To>(source[i]);
      }
    } else if (from_stride == 0) {
      To value = convert<To>(*reinterpret_cast<const From*>(from));
      for (int64_t i = 0; i < count; ++i) result[i] = value;
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

template <class To>
ConvertRun converter_to(DType from) {
  switch (from) {
    case DType::boolean: return convert_run<To, boolean>;
    case DType::uint8: return convert_run<To, uint8_t>;
    case DType::int8: return convert_run<To, int8_t>;
    case DType::int16: return convert_run<To, int16_t>;
    case DType::int32: return convert_run<To, int32_t>;
    case DType::int64: return convert_run<To, int64_t>;
    case DType::float16: return convert_run<To, float16>;
    case DType::bfloat16: return convert_run<To, bfloat16>;
    case DType::float32: return convert_run<To, float>;
    case DType::float64: return convert_run<To, double>;
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

// Whether the columns of `from` lie closer together in memory than its rows: then a row-major copy goes tile by tile.
bool transposed(const Array& to, const Array& from) {
  int last = to.dimensions - 1;
  return last >= 1 && to.strides[last] == item_size(to.dtype) && std::abs(from.strides[last]) > 64 &&
         to.shape[last] >= 16 && to.size() >= 4096;
}

// Copies planes of two dimensions, `row` and the last one, in tiles that fit the L1 cache with both their faces.
void copy_tiles(const Array& to, const Array& from, int row, ConvertRun run) {
  constexpr int64_t tile = 32;
  int last = to.dimensions - 1;
  int64_t rows = to.shape[row], columns = to.shape[last];
  int64_t row_tiles = (rows + tile - 1) / tile, column_tiles = (columns + tile - 1) / tile;
  int64_t planes = to.size() / (rows * columns);
  parallel_for(planes * row_tiles * column_tiles, 16, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      int64_t rest = index;
      int64_t column = rest % column_tiles * tile;
      rest /= column_tiles;
      int64_t first = rest % row_tiles * tile;
      rest /= row_tiles;
      char* target = to.data + first * to.strides[row] + column * to.strides[last];
      const char* source = from.data + first * from.strides[row] + column * from.strides[last];
      for (int i = last - 1; i >= 0; --i) {
        if (i == row) continue;
        int64_t at = rest % to.shape[i];
        rest /= to.shape[i];
        target += at * to.strides[i];
        source += at * from.strides[i];
      }
      int64_t height = std::min(tile, rows - first), width = std::min(tile, columns - column);
      for (int64_t i = 0; i < height; ++i) {
        run(target + i * to.strides[row], to.strides[last], source + i * from.strides[row], from.strides[last], width);
      }
    }
  });
}

}  // namespace

ConvertRun converter(DType to, DType from) {
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
  ConvertRun run = converter(to.dtype, from.dtype);
  if (transposed(to, from)) {
    int row = -1;
    for (int i = 0; i < to.dimensions - 1; ++i) {
      if (to.shape[i] < 8 || std::abs(from.strides[i]) > 16) continue;
      if (row < 0 || std::abs(from.strides[i]) < std::abs(from.strides[row])) row = i;
    }
    if (row >= 0) {
      copy_tiles(to, from, row, run);
      return;
    }
  }
  Strided target{to.data, to.dtype, 0, {}, {}}, source{from.data, from.dtype, 0, {}, {}};
  target.merge(to.shape, to.strides, to.dimensions);
  source.merge(to.shape, from.strides, to.dimensions);
  parallel_for(size, 65536, [&](int64_t begin, int64_t end) {
    int64_t at = begin;
    target.for_runs(begin, end - begin, [&](char* to_data, int64_t to_stride, int64_t to_count) {
      source.for_runs(at, to_count, [&](char* data, int64_t stride, int64_t count) {
        run(to_data, to_stride, data, stride, count);
        to_data += count * to_stride;
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
  define_kernel(
      module, "copy_into", &copy_into, nb::arg("target"), nb::arg("source"),
      "target[...] = source for arrays of equal shape, any strides and dtypes; right where their memory overlaps.");
}

}  // namespace rushlight
