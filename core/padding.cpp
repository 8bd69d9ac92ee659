// Padding with a constant or with an array's own items, mirrored, repeated or wrapped around, and the way back.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"
#include "convert.h"
#include "dispatch.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

using Sizes = std::vector<int64_t>;
using Side = std::pair<int64_t, int64_t>;  // before and after a dimension; negative numbers crop

constexpr int64_t work_grain = 1 << 14;        // items of a block of work, roughly
constexpr int64_t longest = int64_t{1} << 40;  // beyond it, index arithmetic isn't safe

enum class Mode { constant, reflect, replicate, circular };

Mode mode_named(const std::string& name) {
  if (name == "constant") return Mode::constant;
  if (name == "reflect") return Mode::reflect;
  if (name == "replicate") return Mode::replicate;
  if (name == "circular") return Mode::circular;
  throw nb::value_error("pad: there is no such mode");
}

// A dimension, or several beside one another that aren't padded.
class Axis {
 public:
  int64_t size, padded;
  int64_t start, from, length;  // the padded places [start, start + length) are the items from `from` on

  Axis(int64_t items, Side side, Mode mode)
      : size(items),
        padded(size + side.first + side.second),
        start(std::max<int64_t>(0, side.first)),
        from(std::max<int64_t>(0, -side.first)),
        length(size + std::min<int64_t>(0, side.first) + std::min<int64_t>(0, side.second)) {
    if (std::max({size, std::abs(side.first), std::abs(side.second)}) >= longest || padded < 0 || length < 0) {
      throw nb::value_error("pad: the paddings don't fit the sizes");
    }
    if (side == Side()) return;
    for (int64_t place = 0; place < padded; ++place) {
      items_.push_back(place >= start && place < start + length ? from + place - start
                                                                : item_outside(place - side.first, mode));
      if (items_.back() >= size || (items_.back() < 0 && mode != Mode::constant)) {
        throw nb::value_error("pad: the mode has nothing to fill a dimension with");
      }
    }
  }

  // Which item stands at a padded place; -1 for the constant.
  int64_t item(int64_t place) const { return items_.empty() ? place : items_[static_cast<size_t>(place)]; }
  // work(place, item) for the places that the items don't fill as they lie, in order.
  template <class Work>
  void for_each_outside(Work&& work) const {
    for (int64_t place = 0; place < start; ++place) work(place, item(place));
    for (int64_t place = start + length; place < padded; ++place) work(place, item(place));
  }
  // work(place) for the padded places of one item, in order.
  template <class Work>
  void for_each_place(int64_t wanted, Work&& work) const {
    if (items_.empty()) return work(wanted);
    for (int64_t place = 0; place < start; ++place) {
      if (item(place) == wanted) work(place);
    }
    if (wanted >= from && wanted < from + length) work(wanted - from + start);
    for (int64_t place = start + length; place < padded; ++place) {
      if (item(place) == wanted) work(place);
    }
  }

 private:
  int64_t item_outside(int64_t position, Mode mode) const {
    switch (mode) {
      case Mode::reflect: position = std::abs(position); return position < size ? position : 2 * (size - 1) - position;
      case Mode::replicate: return std::clamp<int64_t>(position, 0, std::max<int64_t>(0, size - 1));
      case Mode::circular: {
        const int64_t period = std::max<int64_t>(1, length), place = (position - from) % period;
        return from + (place < 0 ? place + period : place);
      }
      default: return -1;
    }
  }

  Sizes items_;  // none where the axis isn't padded
};

// An array as rows along its last axis.
struct Rows {
  std::vector<Axis> outer;
  Axis row{1, {}, Mode::constant};
  Sizes padded_shape;
  int64_t count = 1, padded_count = 1;

  Rows(std::span<const int64_t> shape, const std::vector<Side>& sides, Mode mode) {
    if (sides.size() != shape.size()) throw nb::value_error("pad: the paddings don't fit the dimensions");
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] < 0) throw nb::value_error("pad: a size is negative");
      padded_shape.push_back(shape[i] + sides[i].first + sides[i].second);
      const bool joined = i > 0 && sides[i] == Side() && sides[i - 1] == Side();
      const int64_t size = joined ? outer.back().size * shape[i] : shape[i];
      if (joined) outer.pop_back();
      outer.emplace_back(size, sides[i], mode);
    }
    if (outer.empty()) return;
    row = std::move(outer.back());
    outer.pop_back();
    for (const Axis& axis : outer) count *= axis.size, padded_count *= axis.padded;
  }

  int64_t grain() const { return std::max<int64_t>(1, work_grain / std::max<int64_t>(1, row.padded)); }

  // Which row stands at a padded place; -1 for the constant.
  int64_t source(int64_t place) const {
    int64_t result = 0, step = 1;
    for (size_t d = outer.size(); d-- > 0; place /= outer[d].padded, step *= outer[d].size) {
      const int64_t item = outer[d].item(place % outer[d].padded);
      if (item < 0) return -1;
      result += item * step;
    }
    return result;
  }
  // work(place) for all padded places of one row, in order; `axes` are still to go.
  template <class Work>
  void for_each_place(int64_t index, size_t axes, int64_t place, int64_t step, const Work& work) const {
    if (axes == 0) return work(place);
    const Axis& axis = outer[axes - 1];
    axis.for_each_place(index % axis.size, [&](int64_t found) {
      for_each_place(index / axis.size, axes - 1, place + found * step, step * axis.padded, work);
    });
  }
};

template <class T>
void pad_rows(const Rows& rows, const T* x, T value, T* y) {
  const Axis& row = rows.row;
  parallel_for(rows.padded_count, rows.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* target = y + i * row.padded;
      const int64_t from = rows.source(i);
      if (from < 0) {
        std::fill_n(target, row.padded, value);
        continue;
      }
      const T* source = x + from * row.size;
      row.for_each_outside([&](int64_t place, int64_t item) { target[place] = item < 0 ? value : source[item]; });
      std::memcpy(target + row.start, source + row.from, static_cast<size_t>(row.length) * sizeof(T));
    }
  });
}

// Every row is the sum of those that it was copied to, folded.
template <class T>
void fold_rows(const Rows& rows, const T* g, T* gx) {
  const Axis& row = rows.row;
  parallel_for(rows.count, rows.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* __restrict target = gx + i * row.size;
      std::fill_n(target, row.size, T(0));
      rows.for_each_place(i, rows.outer.size(), 0, 1, [&](int64_t place) {
        const T* __restrict source = g + place * row.padded;
        for (int64_t j = 0; j < row.length; ++j) target[row.from + j] += source[row.start + j];
        row.for_each_outside([&](int64_t at, int64_t item) {
          if (item >= 0) target[item] += source[at];
        });
      });
    }
  });
}

nb::object pad(nb::handle input, const std::vector<Side>& padding, const std::string& mode_name, double value) {
  const Mode mode = mode_named(mode_name);
  const DType dtype = borrow(input).dtype;
  if (dtype == DType::other || (dtype == DType::int64 && std::fabs(value) > 0x1p53)) return not_implemented();
  const WorkArray x = contiguous(input);
  const Rows rows(shape_of(x.array), padding, mode);
  NewArray y = result(dtype, rows.padded_shape);
  with_item(dtype, [&](auto tag) {
    using T = decltype(tag);
    T constant{};
    converter(dtype, DType::float64)(reinterpret_cast<char*>(&constant), {sizeof constant},
                                     reinterpret_cast<const char*>(&value), {sizeof value}, 1, 1);
    Unlocked unlocked;
    pad_rows(rows, x.array.as<T>(), constant, y.array.as<T>());
  });
  return y.object;
}

nb::object pad_gradient(nb::handle gradient, const Sizes& shape, const std::vector<Side>& padding,
                        const std::string& mode) {
  const WorkArray g = contiguous(gradient);
  const Rows rows(shape, padding, mode_named(mode));
  if (!std::ranges::equal(shape_of(g.array), rows.padded_shape)) {
    throw nb::value_error("pad_gradient: the gradient doesn't fit");
  }
  NewArray gx;
  const bool known = dispatch_wide(g.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(g.array.dtype, shape);
    Unlocked unlocked;
    fold_rows(rows, g.array.as<T>(), gx.array.as<T>());
  });
  return known ? gx.object : not_implemented();
}

}  // namespace

void bind_padding(nb::module_& module) {
  define_kernel(module, "pad", &pad, nb::arg("x"), nb::arg("padding"), nb::arg("mode"), nb::arg("value"),
                "x with (before, after) items around each dimension: the constant `value`, or its own, by `mode`.");
  define_kernel(module, "pad_gradient", &pad_gradient, nb::arg("g"), nb::arg("shape"), nb::arg("padding"),
                nb::arg("mode"), "Zeros of `shape` to which each item of g is added where `pad` took it from.");
}

}  // namespace rushlight
