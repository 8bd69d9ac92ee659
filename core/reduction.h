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
// Op::Item in the L1 cache. The driver is compiled once: it knows an operation as a Reducer.
#pragma once

#include <new>

#include "array.h"
#include "scratch.h"
#include "strided.h"
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

// An operation as the driver sees it: items and totals are bytes.
class Reducer {
 public:
  const DType dtype;         // of the items
  const int64_t total_size;  // bytes
  static constexpr int64_t largest_total = 24;

  virtual void clear(char* totals, int64_t count) const = 0;
  virtual void block(const char* items, int64_t count, int64_t first, char* total) const = 0;
  virtual void panel(const char* items, int64_t stride, int64_t rows, int64_t columns, int64_t first,
                     char* totals) const = 0;
  virtual void rows(const char* items, int64_t stride, int64_t count, int64_t length, char* totals) const = 0;
  virtual void merge(char* totals, const char* more, int64_t count) const = 0;
  // Results go to `place`, `place` + `step` and so on, counted in items of the row-major result.
  virtual void finish(const char* totals, int64_t count, int64_t place, int64_t step) const = 0;

 protected:
  Reducer(DType dtype, int64_t total_size) : dtype(dtype), total_size(total_size) {}
  ~Reducer() = default;
};

// Calls write(place, result) for every kept index.
template <class Op, class Write>
class ReducerOf final : public Reducer {
 public:
  ReducerOf(const Op& op, const Write& write)
      : Reducer(reduction_dtype<typename Op::Kind>(), sizeof(Total)), op_(op), write_(write) {
    static_assert(sizeof(Total) <= largest_total);
  }
  void clear(char* totals, int64_t count) const override {
    for (int64_t i = 0; i < count; ++i) new (cast(totals) + i) Total{};
  }
  void block(const char* items, int64_t count, int64_t first, char* total) const override {
    op_.block(cast(items), count, first, *cast(total));
  }
  void panel(const char* items, int64_t stride, int64_t rows, int64_t columns, int64_t first,
             char* totals) const override {
    op_.panel(cast(items), stride, rows, columns, first, cast(totals));
  }
  // As the operation takes rows, or turned, which makes them a panel, or one by one.
  void rows(const char* items, int64_t stride, int64_t count, int64_t length, char* totals) const override {
    const Item* from = cast(items);
    if constexpr (requires { op_.rows(from, stride, count, length, cast(totals)); }) {
      op_.rows(from, stride, count, length, cast(totals));
    } else if (length <= reduction_rows) {
      Scratch<Item> turned(length * count);
      transpose(from, stride, count, length, turned.get(), count);
      op_.panel(turned.get(), count, length, count, 0, cast(totals));
    } else {
      for (int64_t row = 0; row < count; ++row) op_.block(from + row * stride, length, 0, cast(totals)[row]);
    }
  }
  void merge(char* totals, const char* more, int64_t count) const override {
    for (int64_t i = 0; i < count; ++i) op_.merge(cast(totals)[i], reinterpret_cast<const Total*>(more)[i]);
  }
  void finish(const char* totals, int64_t count, int64_t place, int64_t step) const override {
    const Total* from = reinterpret_cast<const Total*>(totals);
    for (int64_t i = 0; i < count; ++i) write_(place + i * step, op_.finish(from[i]));
  }

 private:
  using Item = typename Op::Item;
  using Total = typename Op::Total;
  static const Item* cast(const char* items) { return reinterpret_cast<const Item*>(items); }
  static Total* cast(char* totals) { return reinterpret_cast<Total*>(totals); }

  const Op& op_;
  const Write& write_;
};

void reduce(const Reducer& reducer, const Array& array, const ReductionPlan& plan);

}  // namespace rushlight
