// The same items in another order, or beside zeros: flip, roll, triangles, pixel shuffle.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "move.h"
#include "threads.h"

namespace rushlight {

namespace {

using Sizes = std::vector<int64_t>;

// An array with a shape and strides of its own, for boxes and reversed views of another.
class View {
 public:
  explicit View(const Array& array)
      : array_(array),
        shape_(array.shape, array.shape + array.dimensions),
        strides_(array.strides, array.strides + array.dimensions) {
    array_.shape = shape_.data();
    array_.strides = strides_.data();
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  void reverse(int64_t dim) {
    array_.data += strides_[dim] * std::max<int64_t>(shape_[dim] - 1, 0);
    strides_[dim] = -strides_[dim];
  }
  void cut(int64_t dim, int64_t begin, int64_t length) {
    array_.data += strides_[dim] * begin;
    shape_[dim] = length;
  }
  const Array& array() const { return array_; }

 private:
  Array array_;
  Sizes shape_, strides_;
};

// The dimensions counted from the front; false where there is no such dimension.
bool from_the_front(Sizes& dims, int dimensions) {
  for (int64_t& dim : dims) {
    if (dim < -dimensions || dim >= dimensions) return false;
    if (dim < 0) dim += dimensions;
  }
  return true;
}

nb::object flip(nb::handle input, Sizes dims) {
  Array x = borrow(input);
  if (x.dtype == DType::other || !from_the_front(dims, x.dimensions)) return not_implemented();
  NewArray y = result(x.dtype, shape_of(x));
  View source(x);
  for (int64_t dim : dims) source.reverse(dim);
  Unlocked unlocked;
  copy_strided(y.array, source.array());
  return y.object;
}

// Copies what goes over the end of the first of `dims` and what doesn't, and so on for the others.
void roll_boxes(const Array& x, const Array& y, const Sizes& shifts, const Sizes& dims, size_t next) {
  if (next == dims.size()) return copy_strided(y, x);
  const int64_t dim = dims[next], size = x.shape[dim];
  const int64_t shift = size == 0 ? 0 : (shifts[next] % size + size) % size;
  for (const auto& [from, to, length] :
       {std::array{int64_t{0}, shift, size - shift}, {size - shift, int64_t{0}, shift}}) {
    if (length == 0) continue;
    View source(x), target(y);
    source.cut(dim, from, length);
    target.cut(dim, to, length);
    roll_boxes(source.array(), target.array(), shifts, dims, next + 1);
  }
}

nb::object roll(nb::handle input, const Sizes& shifts, const std::optional<Sizes>& given) {
  Array x = borrow(input);
  if (x.dtype == DType::other || !given) return not_implemented();
  Sizes dims = *given, sorted;
  if (!from_the_front(dims, x.dimensions) || dims.size() != shifts.size()) return not_implemented();
  sorted = dims;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) return not_implemented();  // shifts that add up
  NewArray y = result(x.dtype, shape_of(x));
  Unlocked unlocked;
  roll_boxes(x, y.array, shifts, dims, 0);
  return y.object;
}

// What lies on or below the `diagonal`-th diagonal, or above and on it; zeros elsewhere.
template <bool lower>
nb::object triangle(nb::handle input, int64_t diagonal) {
  WorkArray x = contiguous(input);
  if (x.array.dtype == DType::other || x.array.dimensions < 2) return not_implemented();
  NewArray y = result(x.array.dtype, shape_of(x.array));
  const int64_t rows = x.array.shape[x.array.dimensions - 2], columns = x.array.shape[x.array.dimensions - 1];
  if (x.array.size() == 0) return y.object;
  const int64_t item = item_size(x.array.dtype), row_bytes = columns * item;
  diagonal = std::clamp(diagonal, -rows, columns);
  Unlocked unlocked;
  parallel_for(x.array.size() / columns, (1 << 15) / columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      // The first column of the upper part; the lower one ends behind the diagonal.
      const int64_t border = std::clamp<int64_t>(row % rows + diagonal + (lower ? 1 : 0), 0, columns) * item;
      const char* from = x.array.data + row * row_bytes;
      char* to = y.array.data + row * row_bytes;
      const int64_t kept = lower ? 0 : border, zero = lower ? border : 0;
      std::memcpy(to + kept, from + kept, static_cast<size_t>(lower ? border : row_bytes - border));
      std::memset(to + zero, 0, static_cast<size_t>(lower ? row_bytes - border : border));
    }
  });
  return y.object;
}

// (*, C r r, H, W) as images (*, C, H r, W r), each r rows and columns of which lie in planes of their own; or back.
template <bool back>
nb::object pixel_shuffle(nb::handle input, int64_t factor) {
  WorkArray x = contiguous(input);
  const int last = x.array.dimensions - 1;
  if (x.array.dtype == DType::other || last < 2 || factor < 1 || factor > (1 << 15)) return not_implemented();
  Sizes shape(x.array.shape, x.array.shape + last + 1);
  const int64_t square = factor * factor;
  if (back ? shape[last] % factor != 0 || shape[last - 1] % factor != 0 : shape[last - 2] % square != 0) {
    return not_implemented();
  }
  const int64_t height = back ? shape[last - 1] / factor : shape[last - 1],
                width = back ? shape[last] / factor : shape[last];
  shape[last - 2] = back ? shape[last - 2] * square : shape[last - 2] / square;
  shape[last - 1] = back ? height : height * factor;
  shape[last] = back ? width : width * factor;
  NewArray y = result(x.array.dtype, shape);
  if (x.array.size() == 0) return y.object;
  Unlocked unlocked;
  with_item(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.array.as<T>();
    T* to = y.array.as<T>();
    const int64_t rows = x.array.size() / (square * width);  // of all images, as they are in planes
    parallel_for(rows, move_grain / (square * width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t image = row / height, place = row % height * width;
        for (int64_t k = 0; k < square; ++k) {
          const int64_t plane = (image * square + k) * height * width + place;
          const int64_t spread = (row * factor + k / factor) * width * factor + k % factor;
          for (int64_t i = 0; i < width; ++i) {
            if (back) {
              to[plane + i] = from[spread + i * factor];
            } else {
              to[spread + i * factor] = from[plane + i];
            }
          }
        }
      }
    });
  });
  return y.object;
}

}  // namespace

void bind_arrange(nb::module_& module) {
  define_kernel(module, "flip", &flip, nb::arg("x"), nb::arg("dims"));
  define_kernel(module, "roll", &roll, nb::arg("x"), nb::arg("shifts"), nb::arg("dims").none());
  define_kernel(module, "tril", &triangle<true>, nb::arg("x"), nb::arg("diagonal") = 0);
  define_kernel(module, "triu", &triangle<false>, nb::arg("x"), nb::arg("diagonal") = 0);
  define_kernel(module, "pixel_shuffle", &pixel_shuffle<false>, nb::arg("x"), nb::arg("factor"));
  define_kernel(module, "pixel_unshuffle", &pixel_shuffle<true>, nb::arg("x"), nb::arg("factor"));
}

}  // namespace rushlight
