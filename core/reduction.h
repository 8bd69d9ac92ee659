// The driver of all reductions: walks an array of any strides in fixed blocks and hands them to an operation.
//
// An operation `Op` says how items of type Op::Item, which is ItemOf<Op::Kind>, are taken in:
//   Total                                         what is known of some items; Total{} of none
//   void block(const Item*, count, first, Total&)          takes in items that lie side by side; `first` is the place
//                                                          of the first one among all that are reduced
//   void panel(const Item*, stride, rows, columns, first, Total*)   takes a row at a time into one Total a column;
//                                                          `stride` is in items
//   void rows(const Item*, stride, count, length, Total*)   optional: takes whole short rows, one into each Total
//   void merge(Total&, const Total&)              takes in what a later block knows
//   Result finish(const Total&)                   the value at the end
// Blocks depend on shapes and strides alone, so results don't depend on the number of threads. Items are converted to
// Op::Item in the L1 cache.
#pragma once

#include <memory>
#include <new>
#include <vector>

#include "convert.h"
#include "scratch.h"
#include "strided.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight {

constexpr int64_t reduction_block = 1024;     // items that are summed up at one level, before totals are merged
constexpr int64_t reduction_rows = 64;        // the same for panels
constexpr int64_t reduction_columns = 512;    // of a panel
constexpr int64_t row_items = 4096;           // of a group of short rows
constexpr int64_t reduction_chunk = 1 << 16;  // items reduced by one task

// The dimensions of an array, split into those that are kept and those that are reduced, ordered by stride and merged.
struct ReductionPlan {
  Strided reduced;  // data is not used
  int kept = 0;     // dimensions, outermost first
  int64_t shape[max_dimensions];
  int64_t steps[max_dimensions];   // in the input, bytes
  int64_t places[max_dimensions];  // in the result, items
  int64_t kept_count = 1, reduced_count = 1;
  // The innermost kept dimension where panels or groups of rows suit; it isn't in `shape` then.
  int64_t columns = 1, column_place = 1, column_step = 0;
  bool panels = false;
  bool rows = false;  // a column is a short row: its items lie side by side

  // `in_order`: the reduced dimensions keep their order, for operations to which it matters.
  ReductionPlan(const Array& array, const bool* is_reduced, bool in_order);

  // Input and result offset of a kept index.
  void locate(int64_t index, int64_t& step, int64_t& place) const {
    step = place = 0;
    for (int i = kept - 1; i >= 0; --i) {
      int64_t at = index % shape[i];
      index /= shape[i];
      step += at * steps[i];
      place += at * places[i];
    }
  }
};

template <class T>
constexpr DType reduction_dtype() {
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::uint8;
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
}
// What an item is computed with: truth lies in memory as the numbers 0 and 1.
template <class T>
using ItemOf = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

// Takes in the items [begin, end) of the reduced dimensions at `data`.
template <class Op>
void reduce_stretch(const Op& op, const ReductionPlan& plan, char* data, DType dtype, ConvertRun convert, int64_t begin,
                    int64_t end, typename Op::Total& total) {
  using Item = typename Op::Item;
  alignas(64) Item buffer[reduction_block];
  int64_t buffered = 0, at = begin;
  bool direct = dtype == reduction_dtype<typename Op::Kind>();
  auto flush = [&] {
    if (buffered > 0) op.block(buffer, buffered, at - buffered, total);
    buffered = 0;
  };
  auto take = [&](char* from, int64_t stride, int64_t count) {
    if (direct && stride == sizeof(Item) && (count >= 32 || buffered == 0)) {
      flush();
      for (int64_t i = 0; i < count; i += reduction_block) {
        op.block(reinterpret_cast<const Item*>(from) + i, std::min(reduction_block, count - i), at + i, total);
      }
      at += count;
      return;
    }
    while (count > 0) {
      int64_t some = std::min(count, reduction_block - buffered);
      convert(reinterpret_cast<char*>(buffer + buffered), sizeof(Item), from, stride, some);
      buffered += some;
      at += some;
      from += some * stride;
      count -= some;
      if (buffered == reduction_block) flush();
    }
  };
  Strided reduced;
  const Strided* walk = &plan.reduced;
  if (plan.reduced.dimensions <= 1) {
    int64_t stride = plan.reduced.dimensions == 0 ? 0 : plan.reduced.strides[0];
    take(data + begin * stride, stride, end - begin);
  } else {
    reduced.dimensions = walk->dimensions;
    std::copy_n(walk->shape, walk->dimensions, reduced.shape);
    std::copy_n(walk->strides, walk->dimensions, reduced.strides);
    reduced.data = data;
    reduced.for_runs(begin, end - begin, take);
  }
  flush();
}

// The same for `columns` neighbouring columns at once.
template <class Op>
void reduce_panels(const Op& op, const ReductionPlan& plan, char* data, DType dtype, ConvertRun convert, int64_t begin,
                   int64_t end, int64_t columns, typename Op::Total* totals) {
  using Item = typename Op::Item;
  bool direct = dtype == reduction_dtype<typename Op::Kind>();
  std::unique_ptr<Item[]> buffer;
  if (!direct) buffer.reset(new Item[static_cast<size_t>(reduction_rows * columns)]);
  Strided reduced;
  reduced.dimensions = plan.reduced.dimensions;
  std::copy_n(plan.reduced.shape, reduced.dimensions, reduced.shape);
  std::copy_n(plan.reduced.strides, reduced.dimensions, reduced.strides);
  reduced.data = data;
  int64_t at = begin, item = item_size(dtype);
  reduced.for_runs(begin, end - begin, [&](char* from, int64_t stride, int64_t count) {
    for (int64_t i = 0; i < count; i += reduction_rows) {
      int64_t rows = std::min(reduction_rows, count - i);
      const Item* panel = reinterpret_cast<const Item*>(from + i * stride);
      int64_t panel_stride = stride / static_cast<int64_t>(sizeof(Item));
      if (!direct) {
        for (int64_t r = 0; r < rows; ++r) {
          convert(reinterpret_cast<char*>(buffer.get() + r * columns), sizeof(Item), from + (i + r) * stride, item,
                  columns);
        }
        panel = buffer.get();
        panel_stride = columns;
      }
      op.panel(panel, panel_stride, rows, columns, at + i, totals);
    }
    at += count;
  });
}

// The same for `columns` short rows: as the operation takes rows, or turned, which makes them a panel, or one by one.
template <class Op>
void reduce_rows(const Op& op, const ReductionPlan& plan, const char* data, DType dtype, ConvertRun convert,
                 int64_t columns, typename Op::Total* totals) {
  using Item = typename Op::Item;
  const int64_t length = plan.reduced_count, item = item_size(dtype);
  const bool direct = dtype == reduction_dtype<typename Op::Kind>();
  const Item* source = reinterpret_cast<const Item*>(data);
  int64_t stride = plan.column_step / static_cast<int64_t>(sizeof(Item));
  Scratch<Item> converted(direct ? 1 : length * columns);
  if (!direct) {
    for (int64_t c = 0; c < columns; ++c) {
      convert(reinterpret_cast<char*>(converted.get() + c * length), sizeof(Item), data + c * plan.column_step, item,
              length);
    }
    source = converted.get();
    stride = length;
  }
  if constexpr (requires { op.rows(source, stride, columns, length, totals); }) {
    op.rows(source, stride, columns, length, totals);
  } else if (length <= reduction_rows) {
    Scratch<Item> panel(length * columns);
    transpose(source, stride, columns, length, panel.get(), columns);
    op.panel(panel.get(), columns, length, columns, 0, totals);
  } else {
    for (int64_t c = 0; c < columns; ++c) op.block(source + c * stride, length, 0, totals[c]);
  }
}

// Calls result(place, value) for every kept index; `place` counts items of the row-major result.
template <class Op, class Result>
void reduce(const Op& op, const Array& array, const ReductionPlan& plan, Result&& result) {
  using Total = typename Op::Total;
  ConvertRun convert = converter(reduction_dtype<typename Op::Kind>(), array.dtype);
  int64_t widest = plan.rows ? std::clamp<int64_t>(row_items / plan.reduced_count / 16 * 16, 16, reduction_columns)
                             : reduction_columns;
  int64_t width = plan.panels ? std::min(plan.columns, widest) : 1;
  int64_t strips = plan.panels ? (plan.columns + width - 1) / width : 1;
  // A task reduces a chunk of the reduced items of a strip; small ones are put together.
  int64_t length = std::max<int64_t>(reduction_chunk / width, 1);
  int64_t chunks = std::max<int64_t>((plan.reduced_count + length - 1) / length, 1);
  int64_t tasks = plan.kept_count * strips * chunks;
  int64_t work = std::max<int64_t>(std::min(plan.reduced_count, length) * width, 16);
  int64_t grain = std::max<int64_t>(reduction_chunk / 2 / work, 1);
  std::vector<Total> partial(chunks > 1 ? static_cast<size_t>(tasks * width) : 0);
  auto emit = [&](int64_t place, int64_t first_column, const Total* totals, int64_t columns) {
    for (int64_t c = 0; c < columns; ++c) result(place + (first_column + c) * plan.column_place, op.finish(totals[c]));
  };
  parallel_for(tasks, grain, [&](int64_t begin, int64_t end) {
    alignas(Total) char raw[sizeof(Total) * reduction_columns];
    Total* local = reinterpret_cast<Total*>(raw);
    for (int64_t task = begin; task < end; ++task) {
      int64_t chunk = task % chunks, strip = task / chunks % strips, kept = task / chunks / strips;
      int64_t step, place, first_column = strip * width, columns = std::min(width, plan.columns - first_column);
      plan.locate(kept, step, place);
      char* data = array.data + step + first_column * plan.column_step;
      int64_t first = chunk * length, last = std::min(first + length, plan.reduced_count);
      Total* totals = chunks > 1 ? partial.data() + task * width : local;
      for (int64_t c = 0; c < columns; ++c) new (totals + c) Total{};
      if (first < last) {
        if (plan.rows) {
          reduce_rows(op, plan, data, array.dtype, convert, columns, totals);
        } else if (plan.panels) {
          reduce_panels(op, plan, data, array.dtype, convert, first, last, columns, totals);
        } else {
          reduce_stretch(op, plan, data, array.dtype, convert, first, last, totals[0]);
        }
      }
      if (chunks == 1) emit(place, first_column, totals, columns);
    }
  });
  if (chunks == 1) return;
  for (int64_t group = 0; group < plan.kept_count * strips; ++group) {
    int64_t step, place, first_column = group % strips * width, columns = std::min(width, plan.columns - first_column);
    plan.locate(group / strips, step, place);
    Total* totals = partial.data() + group * chunks * width;
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      for (int64_t c = 0; c < columns; ++c) op.merge(totals[c], totals[chunk * width + c]);
    }
    emit(place, first_column, totals, columns);
  }
}

}  // namespace rushlight
