#include "strided.h"

#include <utility>

namespace rushlight {

bool dense_order(const Array& array, int* order) {
  // Dimensions of one item come first, whatever their stride; the others by insertion sort.
  int count = 0;
  for (int i = 0; i < array.dimensions; ++i) {
    if (array.shape[i] == 1) order[count++] = i;
  }
  int first = count;
  for (int i = 0; i < array.dimensions; ++i) {
    if (array.shape[i] == 1) continue;
    int at = count++;
    for (; at > first && array.strides[order[at - 1]] < array.strides[i]; --at) order[at] = order[at - 1];
    order[at] = i;
  }
  int64_t expected = item_size(array.dtype);
  for (int i = array.dimensions - 1; i >= 0; --i) {
    int dimension = order[i];
    if (array.shape[dimension] == 1) continue;
    if (array.strides[dimension] != expected) return false;
    expected *= array.shape[dimension];
  }
  return true;
}

NewArray empty_like(const Array& array, DType dtype) {
  int order[max_dimensions];
  std::span<const int64_t> shape(array.shape, static_cast<size_t>(array.dimensions));
  if (array.contiguous() || !dense_order(array, order)) return empty(dtype, shape);
  return empty(dtype, shape, order);
}

static std::pair<const char*, const char*> extent(const Array& array) {
  const char *low = array.data, *high = array.data + item_size(array.dtype);
  for (int i = 0; i < array.dimensions; ++i) {
    if (array.shape[i] == 0) return {nullptr, nullptr};
    (array.strides[i] < 0 ? low : high) += array.strides[i] * (array.shape[i] - 1);
  }
  return {low, high};
}

// How many bytes the items span whose dimensions lie closer together than `period`; 0 where others aren't whole periods
// apart, or not all dimensions go forward.
static int64_t span_within(const Array& array, int64_t period) {
  int64_t span = item_size(array.dtype);
  for (int i = 0; i < array.dimensions; ++i) {
    if (array.shape[i] == 1) continue;
    if (array.strides[i] < 0 || (array.strides[i] >= period && array.strides[i] % period != 0)) return 0;
    if (array.strides[i] < period) span += array.strides[i] * (array.shape[i] - 1);
  }
  return span;
}

bool overlap(const Array& a, const Array& b) {
  auto [a_low, a_high] = extent(a);
  auto [b_low, b_high] = extent(b);
  if (a_low >= b_high || b_low >= a_high) return false;
  // Columns beside one another: in each period of memory both have their own stretch.
  for (int i = 0; i < a.dimensions; ++i) {
    const int64_t period = a.strides[i];
    if (a.shape[i] == 1 || period <= item_size(a.dtype)) continue;
    const int64_t own = span_within(a, period), other = span_within(b, period);
    const int64_t begin = ((b.data - a.data) % period + period) % period;
    if (own > 0 && other > 0 && begin >= own && begin + other <= period) return false;
  }
  return true;
}

}  // namespace rushlight
