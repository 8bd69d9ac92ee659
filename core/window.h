// Which inputs each output of a pooling covers, for windows of one to three spatial dimensions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace rushlight {

// The outputs [first, last) for which the window's tap at `offset` (from `output * stride`) lies inside the input.
struct Tap {
  int64_t offset, first, last;
};

// One spatial axis. Output `o` covers the inputs begin[o], begin[o] + step, ... below end[o], all inside the input.
struct Axis {
  int64_t input = 1, output = 1, step = 1;
  int64_t stride = 0;  // 0: the windows have no common stride (adaptive pooling), and `taps` is empty
  std::vector<int64_t> begin{0}, end{1};
  std::vector<int64_t> extent{1};  // how many inputs an average counts, with or without padding
  std::vector<Tap> taps;

  static Axis regular(int64_t input, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, bool ceil_mode,
                      bool count_padding);
  static Axis adaptive(int64_t input, int64_t output);
};

// Arrays of shape (..., depth, height, width) seen as planes; one- and two-dimensional poolings have depth (and height)
// of one.
struct Window {
  std::array<Axis, 3> axes;

  const Axis& depth() const { return axes[0]; }
  const Axis& height() const { return axes[1]; }
  const Axis& width() const { return axes[2]; }
  int64_t input() const { return axes[0].input * axes[1].input * axes[2].input; }
  int64_t output() const { return axes[0].output * axes[1].output * axes[2].output; }
  int64_t output_rows() const { return axes[0].output * axes[1].output; }
};

// The options of a pooling, one number for each spatial dimension. None where a number is out of the range that the
// kernels are written for; the caller then runs the NumPy meaning, which raises or copes.
struct WindowOptions {
  std::span<const int64_t> kernel_size, stride, padding, dilation;
  bool ceil_mode = false, count_padding = true;
};
std::optional<Window> regular_window(std::span<const int64_t> spatial, const WindowOptions& options);
std::optional<Window> adaptive_window(std::span<const int64_t> spatial, std::span<const int64_t> output);

}  // namespace rushlight
