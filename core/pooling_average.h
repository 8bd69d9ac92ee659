// Averages over windows, and their gradient. As many planes as a vector has lanes are turned so that they lie
// innermost, a band of their rows at a time: windows of any size, step and padding are then sums of whole vectors.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"
#include "window.h"

namespace rushlight {

template <class T>
class Average {
  static constexpr int64_t work_grain = 1 << 15;               // items read by a block of work, roughly
  static constexpr int64_t band_items = (1 << 16) / lanes<T>;  // of one plane in a band

 public:
  // The divisor is the number of items that a window counts, or `divisor` where that isn't 0.
  Average(const Window& window, int64_t planes, int64_t divisor) : window_(window), planes_(planes), divisor_(divisor) {
    while (dimension_ < 2 && window.axes[dimension_].input == 1 && window.axes[dimension_].output == 1) ++dimension_;
    for (int d = dimension_ + 1; d < 3; ++d) in_row_ *= window.axes[d].input, out_row_ *= window.axes[d].output;
  }

  void forward(const T* x, T* y) const {
    if (window_.output() == 0) return;
    if (whole()) return average_planes(x, y);
    const Axis& axis = window_.axes[dimension_];
    for_each_band(axis.output, [&](int64_t plane, int64_t used, int64_t from, int64_t to) {
      const int64_t low = axis.begin[from], high = std::max(low, axis.end[to - 1]);
      const Band band{from, to, low, high};
      const Scratch<T> image((high - low) * in_row_ * lanes<T>), sums((to - from) * out_row_ * lanes<T>);
      const Scratch<T> sum_of_rows(width_of(band) * lanes<T>);
      transpose(x + plane * window_.input() + low * in_row_, window_.input(), used, (high - low) * in_row_, image.get(),
                lanes<T>);
      T* target = sums.get();
      for_each_row(band, [&](int64_t d, int64_t h, const T* counts) {
        const T* line = sum_rows(band, image.get(), d, h, sum_of_rows.get());
        const Axis& width = window_.width();
        for_each_output(band, [&](int64_t w) {
          Vec<T> sum{};
          for (int64_t i = width.begin[w]; i < width.end[w]; ++i) sum += load(line + (i - left(band)) * lanes<T>);
          store<T>(target, sum / counts[w]);
          target += lanes<T>;
        });
      });
      transpose(sums.get(), lanes<T>, (to - from) * out_row_, used, y + plane * window_.output() + from * out_row_,
                window_.output());
    });
  }

  void backward(const T* g, T* gx) const {
    if (window_.input() == 0) return;
    if (whole()) return spread_planes(g, gx);
    const Axis& axis = window_.axes[dimension_];
    for_each_band(axis.input, [&](int64_t plane, int64_t used, int64_t low, int64_t high) {
      // The windows that meet these inputs.
      const int64_t from = std::ranges::upper_bound(axis.end, low) - axis.end.begin();
      const int64_t to = std::max<int64_t>(from, std::ranges::lower_bound(axis.begin, high) - axis.begin.begin());
      const Band band{from, to, low, high};
      const Scratch<T> image((high - low) * in_row_ * lanes<T>), given((to - from) * out_row_ * lanes<T>);
      const Scratch<T> line(width_of(band) * lanes<T>);
      std::fill_n(image.get(), (high - low) * in_row_ * lanes<T>, T(0));
      transpose(g + plane * window_.output() + from * out_row_, window_.output(), used, (to - from) * out_row_,
                given.get(), lanes<T>);
      const T* source = given.get();
      for_each_row(band, [&](int64_t d, int64_t h, const T* counts) {
        const Axis& width = window_.width();
        std::fill_n(line.get(), width_of(band) * lanes<T>, T(0));
        for_each_output(band, [&](int64_t w) {
          const Vec<T> share = load(source) / counts[w];
          source += lanes<T>;
          const int64_t last = std::min(width.end[w], left(band) + width_of(band));
          for (int64_t i = std::max(width.begin[w], left(band)); i < last; ++i) {
            T* to = line.get() + (i - left(band)) * lanes<T>;
            store<T>(to, load(to) + share);
          }
        });
        add_to_rows(band, line.get(), d, h, image.get());
      });
      transpose(image.get(), lanes<T>, (high - low) * in_row_, used, gx + plane * window_.input() + low * in_row_,
                window_.input());
    });
  }

 private:
  // Outputs [from, to) and inputs [low, high) along the dimension of the bands.
  struct Band {
    int64_t from, to, low, high;
  };

  // One window, which is all of a plane.
  bool whole() const {
    return window_.output() == 1 && std::ranges::all_of(window_.axes, [](const Axis& axis) {
             return axis.begin[0] == 0 && axis.end[0] == axis.input;
           });
  }
  T count_of_whole() const {
    int64_t extent = 1;
    for (const Axis& axis : window_.axes) extent *= axis.extent[0];
    return static_cast<T>(divisor_ != 0 ? divisor_ : extent);
  }
  template <class Work>
  void for_each_plane(Work&& work) const {
    parallel_for(planes_, work_grain / std::max<int64_t>(1, window_.input()), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) work(plane, plane * window_.input());
    });
  }
  void average_planes(const T* x, T* y) const {
    for_each_plane([&, count = count_of_whole()](int64_t plane, int64_t begin) {
      y[plane] = total(x + begin, window_.input()) / count;
    });
  }
  void spread_planes(const T* g, T* gx) const {
    for_each_plane([&, count = count_of_whole()](int64_t plane, int64_t begin) {
      std::fill_n(gx + begin, window_.input(), g[plane] / count);
    });
  }

  // work(first plane, planes, begin, end) for all planes and parts of the dimension's `extent`.
  template <class Work>
  void for_each_band(int64_t extent, Work&& work) const {
    const int64_t in_step = std::max<int64_t>(1, window_.input() / std::max<int64_t>(1, extent));
    const int64_t wanted = std::clamp<int64_t>(band_items / in_step, 1, std::max<int64_t>(1, extent));
    const int64_t bands = divide_up(extent, wanted), blocks = divide_up(planes_, lanes<T>);
    const int64_t items = std::max<int64_t>(1, lanes<T> * window_.input() / std::max<int64_t>(1, bands));
    parallel_for(blocks * bands, work_grain / items, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / bands * lanes<T>, part = task % bands;
        work(plane, std::min<int64_t>(lanes<T>, planes_ - plane), extent * part / bands, extent * (part + 1) / bands);
      }
    });
  }

  // work(depth, height, what sums along the width are divided by) for all rows of outputs of a band.
  template <class Work>
  void for_each_row(const Band& band, Work&& work) const {
    const Axis &depth = window_.depth(), &height = window_.height(), &width = window_.width();
    std::vector<T> counts(static_cast<size_t>(width.output));
    int64_t known = -1;  // rows that these are for
    for (int64_t d = dimension_ == 0 ? band.from : 0; d < (dimension_ == 0 ? band.to : depth.output); ++d) {
      for (int64_t h = dimension_ == 1 ? band.from : 0; h < (dimension_ == 1 ? band.to : height.output); ++h) {
        const int64_t rows = depth.extent[d] * height.extent[h];
        for (size_t w = 0; w < counts.size() && rows != known; ++w) {
          counts[w] = static_cast<T>(divisor_ != 0 ? divisor_ : rows * width.extent[w]);
        }
        known = rows;
        work(d, h, counts.data());
      }
    }
  }
  template <class Work>
  void for_each_output(const Band& band, Work&& work) const {
    const int64_t end = dimension_ == 2 ? band.to : window_.width().output;
    for (int64_t w = dimension_ == 2 ? band.from : 0; w < end; ++w) work(w);
  }

  // The inputs of a band along the width.
  int64_t left(const Band& band) const { return dimension_ == 2 ? band.low : 0; }
  int64_t width_of(const Band& band) const { return dimension_ == 2 ? band.high - band.low : window_.width().input; }

  // work(where a row of the band's inputs begins) for all that a row of outputs covers.
  template <class Work>
  void for_each_covered(const Band& band, int64_t d, int64_t h, Work&& work) const {
    const Axis &depth = window_.depth(), &height = window_.height();
    const auto first = [&](const Axis& axis, int dimension, int64_t o) {
      return dimension == dimension_ ? std::max(axis.begin[o], band.low) : axis.begin[o];
    };
    const auto last = [&](const Axis& axis, int dimension, int64_t o) {
      return dimension == dimension_ ? std::min(axis.end[o], band.high) : axis.end[o];
    };
    for (int64_t z = first(depth, 0, d); z < last(depth, 0, d); ++z) {
      for (int64_t y = first(height, 1, h); y < last(height, 1, h); ++y) {
        const int64_t row = (z * height.input + y) * window_.width().input;
        work((row + left(band) - band.low * in_row_) * lanes<T>);
      }
    }
  }

  // The sum of the rows of inputs that a row of outputs covers; where it is one, the row itself.
  const T* sum_rows(const Band& band, const T* image, int64_t d, int64_t h, T* sum) const {
    const T* known = nullptr;
    const int64_t count = width_of(band) * lanes<T>;
    for_each_covered(band, d, h, [&](int64_t begin) {
      const T* row = image + begin;
      if (known == nullptr) {
        known = row;
        return;
      }
      for (int64_t i = 0; i < count; i += lanes<T>) store<T>(sum + i, load(known + i) + load(row + i));
      known = sum;
    });
    if (known == nullptr) std::fill_n(sum, count, T(0));
    return known == nullptr ? sum : known;
  }
  void add_to_rows(const Band& band, const T* line, int64_t d, int64_t h, T* image) const {
    for_each_covered(band, d, h, [&](int64_t begin) {
      T* row = image + begin;
      for (int64_t i = 0; i < width_of(band) * lanes<T>; i += lanes<T>) {
        store<T>(row + i, load(row + i) + load(line + i));
      }
    });
  }

  const Window& window_;
  const int64_t planes_, divisor_;
  int dimension_ = 0;
  int64_t in_row_ = 1, out_row_ = 1;  // items of one position along the dimension of the bands
};

}  // namespace rushlight
