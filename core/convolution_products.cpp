// Convolutions that are products of matrices: windows of one number, of all of an image, and side by side.
#include "convolution_products.h"

#include <algorithm>

#include "gemm.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::convolution {

namespace {

constexpr int64_t fewest_channels = 16;      // of a group
constexpr int64_t few_taps = 16;             // of windows whose columns aren't too high for their number
constexpr int64_t together_items = 1 << 20;  // that are moved at once
constexpr int64_t joined_terms = 72, joined_gradient_terms = 200;
constexpr int64_t serial_items = 16 * 1024;  // that aren't worth a second thread to move

// One window, which is all of the image: a product of the images by the weights, both laid out in rows.
bool whole(const Shapes& shapes) {
  return shapes.kernel == shapes.input && shapes.output == Extents{1, 1, 1} && shapes.padding == Extents{0, 0, 0} &&
         shapes.groups == 1 && shapes.dilation == Extents{1, 1, 1};
}
// A window of one number at every position.
bool pointwise(const Shapes& shapes) {
  return shapes.window() == 1 && shapes.stride == Extents{1, 1, 1} && shapes.padding == Extents{0, 0, 0};
}
// Windows that share no number, or groups of channels that are wide enough to be multiplied one by one.
bool in_columns(const Shapes& shapes) {
  if (shapes.padding != Extents{0, 0, 0}) return false;
  if (shapes.groups > 1) {
    return pointwise(shapes) && std::min(shapes.in_channels, shapes.out_channels) >= fewest_channels;
  }
  for (int d = 0; d < 3; ++d) {
    if (shapes.stride[d] < shapes.kernel[d] || (shapes.kernel[d] > 1 && shapes.dilation[d] > 1)) return false;
  }
  return true;
}

// A matrix for each of several images, anywhere in memory: images after one another, or their columns side by side.
template <class T>
struct Sheets {
  T* data;
  int64_t rows, columns, row_step, image_step;

  T* row(int64_t image, int64_t index) const { return data + image * image_step + index * row_step; }
};

// work(image, row) for all rows of `count` images.
template <class Work>
void for_each_row(int64_t count, int64_t rows, int64_t items, Work&& work) {
  parallel_for(count * rows, std::max<int64_t>(1, serial_items / std::max<int64_t>(1, items)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) work(i / rows, i % rows);
               });
}

// from[i * from_step + j * from_item] to the same place by the other steps, for i < rows, j < columns.
template <class T>
void move(const T* __restrict from, int64_t from_step, int64_t from_item, T* __restrict to, int64_t to_step,
          int64_t to_item, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[i * to_step + j * to_item] = from[i * from_step + j * from_item];
  }
}

// Whether several images should share a product: each has too few positions for a panel, and rows and columns have so
// many terms that moving them is little beside multiplying them.
template <class T>
bool joins(const Shapes& shapes, int64_t least_terms) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  return shapes.images > 1 && volume(shapes.output) < tile_columns<T> &&
         depth * channels >= least_terms * (depth + channels);
}

// The products of a convolution's windows as columns (channel and tap, position), of one group.
template <class T>
class Columns {
 public:
  // `joined`: whether the columns of several images lie side by side.
  Columns(const Shapes& all, int64_t group, bool joined) : shapes_(all), group_(group), joined_(joined) {
    if (pointwise(shapes_)) shapes_.input = shapes_.output = {1, 1, volume(shapes_.output)};
    positions_ = volume(shapes_.output);
    plane_ = volume(shapes_.input);
    depth_ = shapes_.in_channels * shapes_.window();
    in_place_ = pointwise(shapes_) && !joined_;
    const int64_t each = std::max<int64_t>(1, depth_ * positions_ + (joined_ ? shapes_.out_channels * positions_ : 0));
    together_ = in_place_ ? shapes_.images
                          : std::clamp<int64_t>(together_items / each, 1, std::max<int64_t>(1, shapes_.images));
  }

  // All images' columns, one after the other.
  void gather(const T* x, T* columns) const {
    gather(inputs(const_cast<T*>(x), 0), shapes_.images,
           {columns, depth_, positions_, positions_, depth_ * positions_});
  }

  // y = w columns(x)
  void forward(const T* x, const T* w, const Output<T>& output) const {
    in_parts([&](int64_t first, int64_t count, T* columns_memory, T* channels_memory) {
      const Sheets<T> y = channels(output.y, first);
      const Sheets<T> columns = in_place_ ? inputs(const_cast<T*>(x), first) : sheets(columns_memory, depth_, count);
      const Sheets<T> sums = joined_ ? sheets(channels_memory, shapes_.out_channels, count) : y;
      if (!in_place_) gather(inputs(const_cast<T*>(x), first), count, columns);
      Product<T> product = product_of({w, depth_, 1}, columns, sums, count);
      if (output.bias != nullptr) product.row_bias = output.bias + group_ * shapes_.out_channels;
      if (!joined_) {
        product.residual = output.residual == nullptr ? nullptr : output.residual + (y.data - output.y);
        product.activation = output.activation;
      }
      multiply_images(product, columns, sums, count);
      if (!joined_) return;
      for_each_row(count, shapes_.out_channels, positions_, [&](int64_t image, int64_t o) {
        copy_short<T>(sums.row(image, o), positions_, y.row(image, o));
        output.finish(y.row(image, o) - output.y, positions_);
      });
    });
  }

  // columns(gx) = w^T g
  void input_gradient(const T* g, const T* w, T* gx) const {
    in_parts([&](int64_t first, int64_t count, T* columns_memory, T* channels_memory) {
      const Sheets<T> columns = in_place_ ? inputs(gx, first) : sheets(columns_memory, depth_, count);
      const Sheets<T> gradients = beside(g, first, count, channels_memory);
      multiply_images(product_of({w, 1, depth_}, gradients, columns, count), gradients, columns, count);
      if (!in_place_) spread(columns, count, inputs(gx, first));
    });
  }

  // gw = g columns(x)^T, of columns side by side
  void weight_gradient(const T* g, const T* x, T* gw) const {
    in_parts([&](int64_t first, int64_t count, T* columns_memory, T* channels_memory) {
      const Sheets<T> columns = sheets(columns_memory, depth_, count);
      gather(inputs(const_cast<T*>(x), first), count, columns);
      const Sheets<T> gradients = beside(g, first, count, channels_memory);
      Product<T> product{shapes_.out_channels,
                         depth_,
                         count * positions_,
                         {gradients.data, gradients.row_step, 1},
                         {columns.data, 1, columns.row_step},
                         gw,
                         depth_,
                         1};
      product.accumulate = first > 0;
      multiply(product);
    });
  }

 private:
  // Channels of the input and of the output, where they lie in all images' memory.
  Sheets<T> inputs(T* x, int64_t first) const { return planes(x, first, shapes_.in_channels, plane_); }
  Sheets<T> channels(T* y, int64_t first) const { return planes(y, first, shapes_.out_channels, positions_); }
  Sheets<T> planes(T* data, int64_t first, int64_t rows, int64_t plane) const {
    return {data + (first * shapes_.groups + group_) * rows * plane, rows, plane, plane, shapes_.groups * rows * plane};
  }
  // Working memory.
  Sheets<T> sheets(T* memory, int64_t rows, int64_t count) const {
    if (joined_) return {memory, rows, positions_, count * positions_, positions_};
    return {memory, rows, positions_, positions_, rows * positions_};
  }
  // The output's channels as they are multiplied.
  Sheets<T> beside(const T* g, int64_t first, int64_t count, T* memory) const {
    const Sheets<T> lying = channels(const_cast<T*>(g), first);
    if (!joined_) return lying;
    const Sheets<T> moved = sheets(memory, shapes_.out_channels, count);
    for_each_row(count, shapes_.out_channels, positions_, [&](int64_t image, int64_t o) {
      copy_short<T>(lying.row(image, o), positions_, moved.row(image, o));
    });
    return moved;
  }

  // work(first image, images, memory for their columns, for their channels)
  template <class Work>
  void in_parts(Work&& work) const {
    const Scratch<T> columns(in_place_ ? 0 : together_ * depth_ * positions_);
    const Scratch<T> channels(joined_ ? together_ * shapes_.out_channels * positions_ : 0);
    for (int64_t n = 0; n < shapes_.images; n += together_) {
      work(n, std::min(together_, shapes_.images - n), columns.get(), channels.get());
    }
  }

  Product<T> product_of(Matrix<T> weights, const Sheets<T>& from, const Sheets<T>& to, int64_t count) const {
    return {to.rows,
            joined_ ? count * positions_ : positions_,
            from.rows,
            weights,
            {from.data, from.row_step, 1},
            to.data,
            to.row_step,
            1};
  }
  void multiply_images(const Product<T>& product, const Sheets<T>& from, const Sheets<T>& to, int64_t count) const {
    if (joined_) return multiply(product);
    Sizes same, steps;
    for (int64_t i = 0; i < count; ++i) same.push_back(0), steps.push_back(i * from.image_step);
    multiply(product, count, same.data(), steps.data(), to.image_step);
  }

  // work(where it begins in a plane of the input, tap, position) for the rows of all windows.
  template <class Work>
  void for_each_line(Work&& work) const {
    const Extents in = shapes_.input, out = shapes_.output, kernel = shapes_.kernel;
    for (int64_t z = 0; z < out[0] * kernel[0]; ++z) {
      const int64_t d = z / kernel[0] * shapes_.stride[0] + z % kernel[0];
      for (int64_t y = 0; y < out[1] * kernel[1]; ++y) {
        const int64_t h = y / kernel[1] * shapes_.stride[1] + y % kernel[1];
        work((d * in[1] + h) * in[2], (z % kernel[0] * kernel[1] + y % kernel[1]) * kernel[2],
             (z / kernel[0] * out[1] + y / kernel[1]) * out[2]);
      }
    }
  }
  void gather(const Sheets<T>& x, int64_t count, const Sheets<T>& columns) const {
    const int64_t taps = shapes_.kernel[2], step = shapes_.stride[2], width = shapes_.output[2];
    const int64_t row_step = columns.row_step;
    for_each_row(count, shapes_.in_channels, plane_, [=, this](int64_t image, int64_t c) {
      const T* const source = x.row(image, c);
      T* const corner = columns.row(image, c * shapes_.window());
      for_each_line([=](int64_t begin, int64_t tap, int64_t position) {
        T* const target = corner + tap * row_step + position;
        if (step == 1) {
          copy_short<T>(source + begin, width, target);
        } else if (taps > 2 && taps == step) {
          transpose(source + begin, step, width, taps, target, row_step);
        } else if (step == 2) {
          move(source + begin, 1, 2, target, row_step, 1, taps, width);
        } else {
          move(source + begin, 1, step, target, row_step, 1, taps, width);
        }
      });
    });
  }
  // The other way; zeros where there is no window.
  void spread(const Sheets<T>& columns, int64_t count, const Sheets<T>& gx) const {
    const int64_t taps = shapes_.kernel[2], step = shapes_.stride[2], width = shapes_.output[2];
    const int64_t row_step = columns.row_step;
    for_each_row(count, shapes_.in_channels, plane_, [=, this](int64_t image, int64_t c) {
      T* const target = gx.row(image, c);
      const T* const corner = columns.row(image, c * shapes_.window());
      if (positions_ * shapes_.window() < plane_) std::fill_n(target, plane_, T(0));
      for_each_line([=](int64_t begin, int64_t tap, int64_t position) {
        const T* const source = corner + tap * row_step + position;
        if (step == 1) {
          copy_short<T>(source, width, target + begin);
        } else if (taps > 2 && taps == step) {
          transpose(source, row_step, taps, width, target + begin, step);
        } else if (step == 2) {
          move(source, row_step, 1, target + begin, 1, 2, taps, width);
        } else {
          move(source, row_step, 1, target + begin, 1, step, taps, width);
        }
      });
    });
  }

  Shapes shapes_;
  const int64_t group_;
  const bool joined_;
  bool in_place_;  // whether the input lies as its columns do
  int64_t positions_, plane_, depth_, together_;
};

}  // namespace

template <class T>
bool multiply_forward(const Shapes& shapes, const T* x, const T* w, const Output<T>& output) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
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
    return true;
  }
  if (!in_columns(shapes) || shapes.window() > few_taps) return false;
  for (int64_t group = 0; group < shapes.groups; ++group) {
    Columns<T>(shapes, group, joins<T>(shapes, joined_terms)).forward(x, w + group * channels * depth, output);
  }
  return true;
}

template <class T>
bool multiply_input_gradient(const Shapes& shapes, const T* g, const T* w, T* gx) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  if (whole(shapes)) {
    multiply<T>({shapes.images, depth, channels, {g, channels, 1}, {w, depth, 1}, gx, depth, 1});
    return true;
  }
  if (!in_columns(shapes)) return false;
  for (int64_t group = 0; group < shapes.groups; ++group) {
    Columns<T>(shapes, group, joins<T>(shapes, joined_terms)).input_gradient(g, w + group * channels * depth, gx);
  }
  return true;
}

template <class T>
bool multiply_weight_gradient(const Shapes& shapes, const T* g, const T* x, T* gw) {
  const int64_t depth = shapes.in_channels * shapes.window(), channels = shapes.out_channels;
  if (whole(shapes)) {
    multiply<T>({channels, depth, shapes.images, {g, 1, channels}, {x, depth, 1}, gw, depth, 1});
    return true;
  }
  if (!in_columns(shapes) || shapes.groups > 1 || shapes.images == 0) return false;
  const bool joined = joins<T>(shapes, joined_gradient_terms);
  const Columns<T> columns(shapes, 0, joined);
  if (joined) {
    columns.weight_gradient(g, x, gw);
  } else if (shapes.window() == 1 && !pointwise(shapes)) {
    const Scratch<T> met(shapes.images * depth * volume(shapes.output));
    columns.gather(x, met.get());
    Shapes dense = shapes;
    dense.input = shapes.output;
    dense.stride = {1, 1, 1};
    convolution::weight_gradient<T>(dense.forward(), g, met.get(), gw);
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
