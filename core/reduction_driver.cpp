#include <cstdlib>
#include <optional>

#include "convert.h"
#include "reduction.h"
#include "threads.h"

namespace rushlight {

ReductionPlan::ReductionPlan(const Array& array, const bool* is_reduced, bool in_order) {
  int order[max_dimensions], count = 0;
  int64_t place_of[max_dimensions], place = 1;
  for (int i = array.dimensions - 1; i >= 0; --i) {
    place_of[i] = place;
    if (!is_reduced[i]) place *= array.shape[i];
  }
  for (int i = 0; i < array.dimensions; ++i) {
    (is_reduced[i] ? reduced_count : kept_count) *= array.shape[i];
    if (array.shape[i] == 1) continue;
    int at = count++;
    if (!(in_order && is_reduced[i])) {  // by falling stride; reduced dimensions pass each other only if allowed
      for (; at > 0 && std::abs(array.strides[order[at - 1]]) < std::abs(array.strides[i]); --at) {
        order[at] = order[at - 1];
      }
    }
    order[at] = i;
  }
  int64_t reduced_shape[max_dimensions], reduced_steps[max_dimensions];
  int reduced_dimensions = 0;
  for (int k = 0; k < count; ++k) {
    int i = order[k];
    if (!is_reduced[i]) continue;
    reduced_shape[reduced_dimensions] = array.shape[i];
    reduced_steps[reduced_dimensions++] = array.strides[i];
  }
  reduced.data = nullptr;
  reduced.merge(reduced_shape, reduced_steps, reduced_dimensions);
  for (int k = 0; k < count; ++k) {
    int i = order[k];
    if (is_reduced[i]) continue;
    if (kept > 0 && steps[kept - 1] == array.strides[i] * array.shape[i] &&
        places[kept - 1] == place_of[i] * array.shape[i]) {
      shape[kept - 1] *= array.shape[i];
      steps[kept - 1] = array.strides[i];
      places[kept - 1] = place_of[i];
    } else {
      shape[kept] = array.shape[i];
      steps[kept] = array.strides[i];
      places[kept++] = place_of[i];
    }
  }
  // Panels: where items that lie side by side belong to different results. Rows: where few belong to each result.
  if (kept == 0 || shape[kept - 1] < 16 || reduced_count == 0) return;
  const int64_t item = item_size(array.dtype),
                nearest = reduced.dimensions == 0 ? 0 : reduced.strides[reduced.dimensions - 1];
  rows = reduced.dimensions == 1 && nearest == item && reduced_count <= reduction_block && steps[kept - 1] > item;
  panels = rows || (steps[kept - 1] == item && (reduced.dimensions == 0 || std::abs(nearest) > item));
  if (!panels) return;
  --kept;
  columns = shape[kept];
  column_place = places[kept];
  column_step = steps[kept];
  kept_count /= columns;
}

namespace {

// One call's operation, its input, and how items come to be the operation's.
struct Walk {
  const Reducer& reducer;
  const ReductionPlan& plan;
  const DType dtype;  // of the array
  const int64_t item = item_size(dtype), converted_item = item_size(reducer.dtype);
  const bool direct = dtype == reducer.dtype;
  const ConvertRows convert = converter(reducer.dtype, dtype);

  Strided reduced_at(char* data) const {
    Strided reduced;
    reduced.dimensions = plan.reduced.dimensions;
    std::copy_n(plan.reduced.shape, reduced.dimensions, reduced.shape);
    std::copy_n(plan.reduced.strides, reduced.dimensions, reduced.strides);
    reduced.data = data;
    return reduced;
  }
  void stretch(char* data, int64_t begin, int64_t end, char* total) const;
  void panels(char* data, int64_t begin, int64_t end, int64_t columns, char* totals) const;
  void rows(const char* data, int64_t columns, char* totals) const;
};

// Takes in the items [begin, end) of the reduced dimensions at `data`.
void Walk::stretch(char* data, int64_t begin, int64_t end, char* total) const {
  alignas(64) char buffer[reduction_block * sizeof(int64_t)];
  int64_t buffered = 0, at = begin;
  auto flush = [&] {
    if (buffered > 0) reducer.block(buffer, buffered, at - buffered, total);
    buffered = 0;
  };
  auto take = [&](char* from, int64_t stride, int64_t count) {
    if (direct && stride == item && (count >= 32 || buffered == 0)) {
      flush();
      for (int64_t i = 0; i < count; i += reduction_block) {
        reducer.block(from + i * item, std::min(reduction_block, count - i), at + i, total);
      }
      at += count;
      return;
    }
    while (count > 0) {
      int64_t some = std::min(count, reduction_block - buffered);
      convert(buffer + buffered * converted_item, {converted_item}, from, {stride}, some, 1);
      buffered += some;
      at += some;
      from += some * stride;
      count -= some;
      if (buffered == reduction_block) flush();
    }
  };
  if (plan.reduced.dimensions <= 1) {
    int64_t stride = plan.reduced.dimensions == 0 ? 0 : plan.reduced.strides[0];
    take(data + begin * stride, stride, end - begin);
  } else {
    reduced_at(data).for_runs(begin, end - begin, take);
  }
  flush();
}

// The same for `columns` neighbouring columns at once.
void Walk::panels(char* data, int64_t begin, int64_t end, int64_t columns, char* totals) const {
  Scratch<char> buffer(direct ? 1 : reduction_rows * columns * converted_item);
  int64_t at = begin;
  reduced_at(data).for_runs(begin, end - begin, [&](char* from, int64_t stride, int64_t count) {
    for (int64_t i = 0; i < count; i += reduction_rows) {
      int64_t rows = std::min(reduction_rows, count - i);
      if (direct) {
        reducer.panel(from + i * stride, stride / item, rows, columns, at + i, totals);
        continue;
      }
      convert(buffer.get(), {converted_item, columns * converted_item}, from + i * stride, {item, stride}, columns,
              rows);
      reducer.panel(buffer.get(), columns, rows, columns, at + i, totals);
    }
    at += count;
  });
}

// The same for `columns` short rows.
void Walk::rows(const char* data, int64_t columns, char* totals) const {
  const int64_t length = plan.reduced_count;
  if (direct) {
    reducer.rows(data, plan.column_step / item, columns, length, totals);
    return;
  }
  Scratch<char> converted(length * columns * converted_item);
  convert(converted.get(), {converted_item, length * converted_item}, data, {item, plan.column_step}, length, columns);
  reducer.rows(converted.get(), length, columns, length, totals);
}

}  // namespace

void reduce(const Reducer& reducer, const Array& array, const ReductionPlan& plan) {
  const Walk walk{reducer, plan, array.dtype};
  const int64_t total_size = reducer.total_size;
  int64_t widest = plan.rows ? std::clamp<int64_t>(row_items / plan.reduced_count / 16 * 16, 16, reduction_columns)
                             : reduction_columns;
  int64_t width = plan.panels ? std::min(plan.columns, widest) : 1;
  int64_t strips = plan.panels ? divide_up(plan.columns, width) : 1;
  // A task reduces a chunk of the reduced items of a strip; small ones are put together.
  int64_t length = std::max<int64_t>(reduction_chunk / width, 1);
  int64_t chunks = std::max<int64_t>(divide_up(plan.reduced_count, length), 1);
  int64_t tasks = plan.kept_count * strips * chunks;
  int64_t work = std::max<int64_t>(std::min(plan.reduced_count, length) * width, 16);
  int64_t grain = std::max<int64_t>(reduction_chunk / 2 / work, 1);
  std::optional<Scratch<char>> partial;
  if (chunks > 1) partial.emplace(tasks * width * total_size);
  auto emit = [&](int64_t place, int64_t first_column, const char* totals, int64_t columns) {
    reducer.finish(totals, columns, place + first_column * plan.column_place, plan.column_place);
  };
  parallel_for(tasks, grain, [&](int64_t begin, int64_t end) {
    alignas(64) char local[Reducer::largest_total * reduction_columns];
    for (int64_t task = begin; task < end; ++task) {
      int64_t chunk = task % chunks, strip = task / chunks % strips, kept = task / chunks / strips;
      int64_t step, place, first_column = strip * width, columns = std::min(width, plan.columns - first_column);
      plan.locate(kept, step, place);
      char* data = array.data + step + first_column * plan.column_step;
      int64_t first = chunk * length, last = std::min(first + length, plan.reduced_count);
      char* totals = partial ? partial->get() + task * width * total_size : local;
      reducer.clear(totals, columns);
      if (first < last) {
        if (plan.rows) {
          walk.rows(data, columns, totals);
        } else if (plan.panels) {
          walk.panels(data, first, last, columns, totals);
        } else {
          walk.stretch(data, first, last, totals);
        }
      }
      if (!partial) emit(place, first_column, totals, columns);
    }
  });
  if (!partial) return;
  for (int64_t group = 0; group < plan.kept_count * strips; ++group) {
    int64_t step, place, first_column = group % strips * width, columns = std::min(width, plan.columns - first_column);
    plan.locate(group / strips, step, place);
    char* totals = partial->get() + group * chunks * width * total_size;
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      reducer.merge(totals, totals + chunk * width * total_size, columns);
    }
    emit(place, first_column, totals, columns);
  }
}

}  // namespace rushlight
