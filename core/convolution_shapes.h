// A convolution as Python asks for it: sizes, options, and what it comes to.
#pragma once

#include <algorithm>
#include <vector>

#include "convolution_plan.h"
#include "kernel.h"

namespace rushlight::convolution {

using Sizes = std::vector<int64_t>;

constexpr int64_t largest_option = int64_t{1} << 31;  // beyond it, index arithmetic isn't safe
constexpr double largest_padded = 1 << 26;            // items of an image that is mostly padding

// The options of a convolution with the sizes of its three tensors, spatial dimensions filled up to three in front.
struct Shapes {
  int64_t images = 0, groups = 1, in_channels = 0, out_channels = 0;  // channels of one group
  Extents input{1, 1, 1}, kernel{1, 1, 1}, output{1, 1, 1};
  Extents stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  bool safe = true;

  Shapes(std::vector<int64_t> x, std::vector<int64_t> w, const Sizes& strides, const Sizes& paddings,
         const Sizes& dilations, int64_t group_count) {
    const size_t spatial = w.size() - 2;
    if (w.size() < 3 || w.size() > 5 || x.size() != w.size() || strides.size() != spatial ||
        paddings.size() != spatial || dilations.size() != spatial || group_count < 1 || w[0] % group_count != 0 ||
        x[1] != w[1] * group_count) {
      throw nb::value_error("convolution: the shapes and options don't fit");
    }
    images = x[0];
    groups = group_count;
    in_channels = w[1];
    out_channels = w[0] / groups;
    for (size_t i = 0; i < spatial; ++i) {
      const size_t d = 3 - spatial + i;
      input[d] = x[2 + i];
      kernel[d] = w[2 + i];
      stride[d] = strides[i];
      padding[d] = paddings[i];
      dilation[d] = dilations[i];
      if (stride[d] < 1 || padding[d] < 0 || dilation[d] < 1 || kernel[d] < 1) {
        throw nb::value_error("convolution: an option is out of range");
      }
      if (std::max({stride[d], padding[d], dilation[d], kernel[d], input[d]}) >= largest_option) {
        safe = false;
        return;
      }
      const int64_t room = input[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
      if (room < 0) throw nb::value_error("convolution: the kernel is larger than the padded input");
      output[d] = room / stride[d] + 1;
    }
    double image = static_cast<double>(in_channels), padded = image;
    for (int d = 0; d < 3; ++d) {
      image *= static_cast<double>(input[d]);
      padded *= static_cast<double>(input[d] + 2 * padding[d] + stride[d]);
    }
    safe = padded < std::max(largest_padded, 8 * image);
  }

  int64_t window() const { return volume(kernel); }

  std::vector<int64_t> shape(int64_t channels, const Extents& extents, int spatial) const {
    std::vector<int64_t> result{images, channels};
    result.insert(result.end(), extents.end() - spatial, extents.end());
    return result;
  }

  // y as sums over windows of x.
  Windows forward() const {
    Windows windows{images, groups, in_channels, out_channels, input, output, stride, {}, {}, volume(output), 0};
    windows.out_step = {output[1] * output[2], output[2], 1};
    for_each_tap([&](Extents tap, int64_t weight) {
      Extents offset;
      for (int d = 0; d < 3; ++d) offset[d] = tap[d] * dilation[d] - padding[d];
      windows.taps.push_back({offset, weight});
    });
    return windows;
  }

  // The positions of gx that are `remainder` modulo the stride, as sums over windows of g.
  Windows backward(const Extents& remainder) const {
    Windows windows{images, groups, out_channels, in_channels, output, {}, {1, 1, 1}, {}, {}, volume(input), 0};
    const Extents pitch{input[1] * input[2], input[2], 1};
    for (int d = 0; d < 3; ++d) {
      windows.positions[d] = (input[d] - remainder[d] + stride[d] - 1) / stride[d];
      windows.out_step[d] = stride[d] * pitch[d];
      windows.out_base += remainder[d] * pitch[d];
    }
    for_each_tap([&](Extents tap, int64_t weight) {
      Extents offset;
      for (int d = 0; d < 3; ++d) {
        const int64_t from = remainder[d] + padding[d] - tap[d] * dilation[d];
        if (from % stride[d] != 0) return;
        offset[d] = from / stride[d];
      }
      windows.taps.push_back({offset, weight});
    });
    return windows;
  }

  template <class Body>
  void for_each_tap(Body&& body) const {
    int64_t weight = 0;
    for (int64_t d = 0; d < kernel[0]; ++d) {
      for (int64_t h = 0; h < kernel[1]; ++h) {
        for (int64_t w = 0; w < kernel[2]; ++w) body(Extents{d, h, w}, weight++);
      }
    }
  }
};

}  // namespace rushlight::convolution
