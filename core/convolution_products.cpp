// Convolutions that are products of matrices: windows of one number, of all of an image, and side by side.
#include "convolution_products.h"

#include <algorithm>

#include "gemm.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t fewest_channels = 16;      // of a group
constexpr int64_t few_taps = 16;             // of windows whose columns aren't too high for their number
constexpr int64_t together_items = 1 << 20;  // of columns that are made at once
constexpr int64_t serial_items = 16 * 1024;  // that aren't worth a second thread to move

// A window of one number at every position.
bool pointwise(const Shapes& shapes) {
  return shapes.window() == 1 && shapes.stride == Extents{1, 1, 1} && shapes.padding == Extents{0, 0, 0} &&
         (shapes.groups == 1 || std::min(shapes.in_channels, shapes.out_channels) >= fewest_channels);
}
// One window, which is all of the image: a product of the images by the weights, both laid out in rows.
bool whole(const Shapes& shapes) {
  return shapes.kernel == shapes.input && shapes.output == Extents{1, 1, 1} && shapes.padding == Extents{0, 0, 0} &&
         shapes.groups == 1 && shapes.dilation == Extents{1, 1, 1};
}
// Windows that share no number: each is a column of a matrix.
bool disjoint(const Shapes& shapes) {
  if (shapes.padding != Extents{0, 0, 0} || shapes.groups != 1) return false;
  for (int d = 0; d < 3; ++d) {
    if (shapes.stride[d] < shapes.kernel[d] || (shapes.kernel[d] > 1 && shapes.dilation[d] > 1)) return false;
  }
  return true;
}

// work(where it begins in a plane of the input, where in the columns) for the rows of all windows.
template <class Work>
void for_each_row(const Shapes& shapes, Work&& work) {
  const Extents &in = shapes.input, &out = shapes.output, &kernel = shapes.kernel;
  for (int64_t z = 0; z < out[0] * kernel[0]; ++z) {
    const int64_t d = z / kernel[0] * shapes.stride[0] + z % kernel[0];
    for (int64_t y = 0; y < out[1] * kernel[1]; ++y) {
      const int64_t h = y / kernel[1] * shapes.stride[1] + y % kernel[1];
      const int64_t tap = (z % kernel[0] * kernel[1] + y % kernel[1]) * kernel[2];
      const int64_t column = (z / kernel[0] * out[1] + y / kernel[1]) * out[2];
      work((d * in[1] + h) * in[2], tap * volume(out) + column);
    }
  }
}

// from[i * from_step + j * from_item] to the same place by the other steps, for i < rows, j < columns.
template <class T>
void move(const T* __restrict from, int64_t from_step, int64_t from_item, T* __restrict to, int64_t to_step,
          int64_t to_item, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[i * to_step + j * to_item] = from[i * from_step + j * from_item];
  }
}

// Columns of the windows of images [first, first + count): (image, channel, tap, position).
template <class T>
void gather_columns(const Shapes& shapes, const T* x, int64_t first, int64_t count, T* columns) {
  const int64_t plane = volume(shapes.input), positions = volume(shapes.output), width = shapes.output[2];
  const int64_t taps = shapes.kernel[2], step = shapes.stride[2];
  parallel_for(count * shapes.in_channels, std::max<int64_t>(1, serial_items / std::max<int64_t>(1, plane)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const T* source = x + (first * shapes.in_channels + i) * plane;
                   T* target = columns + i * shapes.window() * positions;
                   for_each_row(shapes, [&](int64_t row, int64_t column) {
                     if (taps > 2 && taps == step) {
                       transpose(source + row, step, width, taps, target + column, positions);
                     } else if (step == 2) {
                       move(source + row, 1, 2, target + column, positions, 1, taps, width);
                     } else {
                       move(source + row, 1, step, target + column, positions, 1, taps, width);
                     }
                   });
                 }
               });
}

// The other way; zeros where there is no window.
template <class T>
void spread_columns(const Shapes& shapes, const T* columns, int64_t first, int64_t count, T* gx) {
  const int64_t plane = volume(shapes.input), positions = volume(shapes.output), width = shapes.output[2];
  const int64_t taps = shapes.kernel[2], step = shapes.stride[2];
  parallel_for(count * shapes.in_channels, std::max<int64_t>(1, serial_items / std::max<int64_t>(1, plane)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const T* source = columns + i * shapes.window() * positions;
                   T* target = gx + (first * shapes.in_channels + i) * plane;
                   if (positions * shapes.window() < plane) std::fill(target, target + plane, T(0));
                   for_each_row(shapes, [&](int64_t row, int64_t column) {
                     if (taps > 2 && taps == step) {
                       transpose(source + column, positions, taps, width, target + row, step);
                     } else if (step == 2) {
                       move(source + column, positions, 1, target + row, 1, 2, taps, width);
                     } else {
                       move(source + column, positions, 1, target + row, 1, step, taps, width);
                     }
                   });
                 }
               });
}

// work(first image, images, memory for their columns) for all images.
template <class T, class Work>
void for_columns(const Shapes& shapes, Work&& work) {
  const int64_t size = std::max<int64_t>(1, shapes.in_channels * shapes.window() * volume(shapes.output));
  const int64_t together = std::clamp<int64_t>(together_items / size, 1, std::max<int64_t>(1, shapes.images));
  const Scratch<T> columns(together * size);
  for (int64_t n = 0; n < shapes.images; n += together) work(n, std::min(together, shapes.images - n), columns.get());
}

Sizes multiples(int64_t count, int64_t step) {
  Sizes result;
  for (int64_t i = 0; i < count; ++i) result.push_back(i * step);
  return result;
}

// A product of the weights by a matrix (rows, positions) for each image.
template <class T>
void multiply_columns(const Shapes& shapes, int64_t group, int64_t images, const T* w, const T* columns,
                      int64_t image_step, Output<T> output) {
  const int64_t rows = shapes.in_channels * shapes.window(), positions = volume(shapes.output);
  Product<T> product{shapes.out_channels,     positions, rows,      {w, rows, 1},
                     {columns, positions, 1}, output.y,  positions, 1};
  product.row_bias = output.bias == nullptr ? nullptr : output.bias + group * shapes.out_channels;
  product.residual = output.residual;
  product.activation = output.activation;
  multiply(product, images, multiples(images, 0).data(), multiples(images, image_step).data(),
           shapes.groups * shapes.out_channels * positions);
}

// The other way round: the columns (rows, positions) of each image from its gradient.
template <class T>
void multiply_turned(const Shapes& shapes, int64_t images, const T* w, const T* g, T* columns, int64_t image_step) {
  const int64_t rows = shapes.in_channels * shapes.window(), positions = volume(shapes.output);
  multiply<T>({rows, positions, shapes.out_channels, {w, 1, rows}, {g, positions, 1}, columns, positions, 1}, images,
              multiples(images, 0).data(), multiples(images, shapes.groups * shapes.out_channels * positions).data(),
              image_step);
}

}  // namespace

template <class T>
bool multiply_forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  const int64_t results = channels * volume(shapes.output);
  const auto at = [&](int64_t item) {
    return Output<T>{output.y + item, output.bias, output.residual == nullptr ? nullptr : output.residual + item,
                     output.activation};
  };
  if (whole(shapes)) {
    multiply<T>({shapes.images,
                 channels,
                 depth,
                 {x, depth, 1},
                 {w, 1, depth},
                 output.y,
                 channels,
                 1,
                 output.bias,
                 nullptr,
                 false,
                 output.residual,
                 output.activation});
  } else if (pointwise(shapes)) {
    const int64_t image = depth * volume(shapes.input);
    for (int64_t group = 0; group < shapes.groups; ++group) {
      multiply_columns<T>(shapes, group, shapes.images, w + group * channels * depth, x + group * image,
                          shapes.groups * image, at(group * results));
    }
  } else if (disjoint(shapes) && shapes.window() <= few_taps) {
    for_columns<T>(shapes, [&](int64_t first, int64_t count, T* columns) {
      gather_columns(shapes, x, first, count, columns);
      multiply_columns<T>(shapes, 0, count, w, columns, depth * volume(shapes.output), at(first * results));
    });
  } else {
    return false;
  }
  return true;
}

template <class T>
bool multiply_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  const int64_t results = channels * volume(shapes.output);
  if (whole(shapes)) {
    multiply<T>({shapes.images, depth, channels, {g, channels, 1}, {w, depth, 1}, gx, depth, 1});
  } else if (pointwise(shapes)) {
    const int64_t image = depth * volume(shapes.input);
    for (int64_t group = 0; group < shapes.groups; ++group) {
      multiply_turned<T>(shapes, shapes.images, w + group * channels * depth, g + group * results, gx + group * image,
                         shapes.groups * image);
    }
  } else if (disjoint(shapes)) {
    for_columns<T>(shapes, [&](int64_t first, int64_t count, T* columns) {
      multiply_turned<T>(shapes, count, w, g + first * results, columns, depth * volume(shapes.output));
      spread_columns(shapes, columns, first, count, gx);
    });
  } else {
    return false;
  }
  return true;
}

template <class T>
bool multiply_weight_gradient(const Shapes& shapes, const T* g, const T* x, T* gw) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  if (whole(shapes)) {
    multiply<T>({channels, depth, shapes.images, {g, 1, channels}, {x, depth, 1}, gw, depth, 1});
  } else if (shapes.window() == 1 && disjoint(shapes) && !pointwise(shapes)) {
    const Scratch<T> met(shapes.images * depth * volume(shapes.output));
    gather_columns(shapes, x, 0, shapes.images, met.get());
    Shapes dense = shapes;
    dense.input = shapes.output;
    dense.stride = {1, 1, 1};
    weight_gradient<T>(dense.forward(), g, met.get(), gw);
  } else {
    return false;
  }
  return true;
}

template bool multiply_forward<float>(const Shapes&, const float*, const float*, const Output<float>&);
template bool multiply_forward<double>(const Shapes&, const double*, const double*, const Output<double>&);
template bool multiply_input_gradient<float>(const Shapes&, const float*, const float*, float*);
template bool multiply_input_gradient<double>(const Shapes&, const double*, const double*, double*);
template bool multiply_weight_gradient<float>(const Shapes&, const float*, const float*, float*);
template bool multiply_weight_gradient<double>(const Shapes&, const double*, const double*, double*);

}  // namespace rushlight::convolution
