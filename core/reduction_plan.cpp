#include <cstdlib>

#include "reduction.h"

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

}  // namespace rushlight
