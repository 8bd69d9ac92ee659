#include "window.h"

#include <algorithm>

#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t largest_option = int64_t{1} << 31;

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

bool within(std::span<const int64_t> values, int64_t least) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v >= least && v <= largest_option; });
}

}  // namespace

Axis Axis::regular(int64_t input, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, bool ceil_mode,
                   bool count_padding) {
  Axis axis;
  int64_t reach = dilation * (kernel - 1) + 1;
  axis.input = input;
  axis.output = floor_divide(input + 2 * padding - reach + (ceil_mode ? stride - 1 : 0), stride) + 1;
  // With ceil_mode the last window must begin inside the input or its left padding.
  if (ceil_mode && (axis.output - 1) * stride >= input + padding) --axis.output;
  axis.output = std::max<int64_t>(axis.output, 0);
  axis.stride = stride;
  axis.step = dilation;
  axis.begin.resize(axis.output);
  axis.end.resize(axis.output);
  axis.extent.resize(axis.output);
  for (int64_t o = 0; o < axis.output; ++o) {
    int64_t left = o * stride - padding;
    int64_t right = std::min(left + reach, input + padding);
    axis.begin[o] = left >= 0 ? left : left + divide_up(-left, dilation) * dilation;
    axis.end[o] = std::min(right, input);
    axis.extent[o] = count_padding ? right - left : axis.end[o] - axis.begin[o];
  }
  int64_t nearest = std::max<int64_t>(0, divide_up(padding - (axis.output - 1) * stride, dilation));
  for (int64_t j = nearest; j < kernel && j * dilation < input + padding; ++j) {
    int64_t offset = j * dilation - padding;
    int64_t first = std::max<int64_t>(0, divide_up(-offset, stride));
    int64_t last = std::min(axis.output, floor_divide(input - 1 - offset, stride) + 1);
    if (first < last) axis.taps.push_back({offset, first, last});
  }
  return axis;
}

Axis Axis::adaptive(int64_t input, int64_t output) {
  Axis axis;
  axis.input = input;
  axis.output = output;
  axis.begin.resize(output);
  axis.end.resize(output);
  axis.extent.resize(output);
  for (int64_t o = 0; o < output; ++o) {
    axis.begin[o] = o * input / output;
    axis.end[o] = divide_up((o + 1) * input, output);
    axis.extent[o] = axis.end[o] - axis.begin[o];
  }
  return axis;
}

std::optional<Window> regular_window(std::span<const int64_t> spatial, const WindowOptions& options) {
  size_t dimensions = options.kernel_size.size();
  if (dimensions < 1 || dimensions > 3 || spatial.size() != dimensions || options.stride.size() != dimensions ||
      options.padding.size() != dimensions || options.dilation.size() != dimensions || !within(spatial, 1) ||
      !within(options.kernel_size, 1) || !within(options.stride, 1) || !within(options.padding, 0) ||
      !within(options.dilation, 1)) {
    return std::nullopt;
  }
  Window window;
  for (size_t i = 0; i < dimensions; ++i) {
    window.axes[3 - dimensions + i] =
        Axis::regular(spatial[i], options.kernel_size[i], options.stride[i], options.padding[i], options.dilation[i],
                      options.ceil_mode, options.count_padding);
  }
  return window;
}

std::optional<Window> adaptive_window(std::span<const int64_t> spatial, std::span<const int64_t> output) {
  size_t dimensions = output.size();
  if (dimensions < 1 || dimensions > 3 || spatial.size() != dimensions || !within(spatial, 1) || !within(output, 0)) {
    return std::nullopt;
  }
  Window window;
  for (size_t i = 0; i < dimensions; ++i) window.axes[3 - dimensions + i] = Axis::adaptive(spatial[i], output[i]);
  return window;
}

}  // namespace rushlight
