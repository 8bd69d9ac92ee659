// Maxima over windows, where they are, and their gradient.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "lanes.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"
#include "window.h"

namespace rushlight {

constexpr int64_t work_grain = 1 << 15;  // items read by a block of work, roughly

template <class T>
constexpr T lowest() {
  if constexpr (std::is_integral_v<T>) return std::numeric_limits<T>::lowest();
  return static_cast<T>(-std::numeric_limits<float>::infinity());
}

// The first of equal maxima wins, and a NaN wins over everything, as in PyTorch.
template <class T>
bool beats(T value, T best) {
  Compute<T> candidate = value;
  return (candidate > static_cast<Compute<T>>(best)) | (candidate != candidate);
}

// `stride` as a constant where it is small, so that the loops can be vectorised.
template <class Body>
void with_stride(int64_t stride, Body&& body) {
  if (stride == 1) return body(std::integral_constant<int64_t, 1>());
  if (stride == 2) return body(std::integral_constant<int64_t, 2>());
  body(stride);
}

template <class T, class Index>
void take_greater(const T* __restrict x, auto stride, T* __restrict best, Index* __restrict where, Index first,
                  int64_t count) {
  for (int64_t o = 0; o < count; ++o) {
    T value = x[o * stride];
    bool take = beats(value, best[o]);
    best[o] = take ? value : best[o];
    where[o] = take ? static_cast<Index>(first + static_cast<Index>(o * stride)) : where[o];
  }
}

template <class T>
void take_greater(const T* __restrict x, auto stride, T* __restrict best, int64_t count) {
  for (int64_t o = 0; o < count; ++o) {
    T value = x[o * stride];
    best[o] = beats(value, best[o]) ? value : best[o];
  }
}

// The maxima of one row of outputs and where they are in the plane.
template <class T, class Index>
void maximum_row(const T* plane, const Window& window, int64_t row, T* best, Index* where) {
  const Axis &depth = window.depth(), &height = window.height(), &width = window.width();
  int64_t od = row / height.output, oh = row % height.output;
  int64_t first_depth = std::min(depth.begin[od], depth.input - 1);
  int64_t first_height = std::min(height.begin[oh], height.input - 1);
  int64_t first_row = (first_depth * height.input + first_height) * width.input;
  for (int64_t o = 0; o < width.output; ++o) {
    best[o] = lowest<T>();
    where[o] = static_cast<Index>(first_row + std::min(width.begin[o], width.input - 1));
  }
  for (int64_t d = depth.begin[od]; d < depth.end[od]; d += depth.step) {
    for (int64_t h = height.begin[oh]; h < height.end[oh]; h += height.step) {
      int64_t start = (d * height.input + h) * width.input;
      const T* line = plane + start;
      if (width.stride == 0) {
        for (int64_t o = 0; o < width.output; ++o) {
          for (int64_t w = width.begin[o]; w < width.end[o]; ++w) {
            if (beats(line[w], best[o])) best[o] = line[w], where[o] = static_cast<Index>(start + w);
          }
        }
        continue;
      }
      with_stride(width.stride, [&](auto stride) {
        for (const Tap& tap : width.taps) {
          int64_t w = tap.first * width.stride + tap.offset;
          take_greater(line + w, stride, best + tap.first, where + tap.first, static_cast<Index>(start + w),
                       tap.last - tap.first);
        }
      });
    }
  }
}

// The maxima alone: down the columns first, then along the one line that is left. `line` has room for a row of inputs.
template <class T>
void maxima_of_row(const T* plane, const Window& window, int64_t row, T* best, T* line) {
  const Axis &depth = window.depth(), &height = window.height(), &width = window.width();
  int64_t od = row / height.output, oh = row % height.output;
  std::fill_n(best, width.output, lowest<T>());
  std::fill_n(line, width.input, lowest<T>());
  for (int64_t d = depth.begin[od]; d < depth.end[od]; d += depth.step) {
    for (int64_t h = height.begin[oh]; h < height.end[oh]; h += height.step) {
      take_greater(plane + (d * height.input + h) * width.input, std::integral_constant<int64_t, 1>(), line,
                   width.input);
    }
  }
  if (width.stride == 0) {
    for (int64_t o = 0; o < width.output; ++o) {
      for (int64_t w = width.begin[o]; w < width.end[o]; ++w) {
        if (beats(line[w], best[o])) best[o] = line[w];
      }
    }
    return;
  }
  with_stride(width.stride, [&](auto stride) {
    for (const Tap& tap : width.taps) {
      take_greater(line + tap.first * width.stride + tap.offset, stride, best + tap.first, tap.last - tap.first);
    }
  });
}

// How many items a row of outputs reads.
int64_t row_work(const Window& window) {
  const Axis &depth = window.depth(), &height = window.height(), &width = window.width();
  auto longest = [](const Axis& axis) {
    int64_t length = 1;
    for (int64_t o = 0; o < axis.output; ++o) {
      length = std::max(length, divide_up(axis.end[o] - axis.begin[o], axis.step));
    }
    return length;
  };
  return longest(depth) * longest(height) * width.input + width.output * longest(width);
}

// body(plane, row) over all rows of outputs; `scratch` items of type S are handed to it as well.
template <class S, class Body>
void for_each_row(int64_t planes, const Window& window, int64_t scratch, Body&& body) {
  int64_t rows = window.output_rows();
  if (planes * window.output() == 0) return;
  parallel_for(planes * rows, work_grain / row_work(window), [&](int64_t begin, int64_t end) {
    std::vector<S> memory(static_cast<size_t>(scratch));
    for (int64_t i = begin; i < end; ++i) body(i / rows, i % rows, memory.data());
  });
}

// ---- vectors of windows --------------------------------------------------------------------------------------------

// Whether windows lie `stride` apart for which there are vectors of neighbouring ones.
template <class T>
bool in_vectors(const Axis& width) {
  constexpr bool known = std::is_same_v<T, float> || std::is_same_v<T, double>;
  return known && (width.stride == 1 || width.stride == 2) && width.output > 0;
}

template <int S, class T, int... I>
inline Vec<T> load_every(const T* from, std::integer_sequence<int, I...>) {
  if constexpr (S == 1) return load(from);
  return __builtin_shufflevector(load(from), load(from + lanes<T>), (2 * I)...);
}

// The maxima of some rows of outputs of one plane, and where they are if `Index` isn't void. The rows of inputs, or the
// maxima down their columns where these are enough, lie between margins of the lowest number, so that whole vectors can
// be read at every window.
template <class T, class Index, int S>
class MaximaOfRows {
 public:
  static constexpr bool with_indices = !std::is_void_v<Index>;
  using Position = std::conditional_t<with_indices, Index, BitsOf<T>>;

  explicit MaximaOfRows(const Window& window) : window_(window) {
    const Axis& width = window.width();
    int64_t low = 0, high = 0;
    for (const Tap& tap : width.taps) low = std::min(low, tap.offset), high = std::max(high, tap.offset);
    left_ = -low;
    padded_ = round_up(width.output, lanes<T>);
    pitch_ = left_ + std::max(width.input, (padded_ - lanes<T>)*S + high + S * lanes<T>);
    first_.resize(static_cast<size_t>(padded_));
    for (int64_t o = 0; o < width.output; ++o) {
      first_[static_cast<size_t>(o)] = static_cast<Position>(std::min(width.begin[o], width.input - 1));
    }
  }

  int64_t padded() const { return padded_; }  // outputs of a row, in whole vectors
  int64_t memory(int64_t output_rows) const {
    const Axis &depth = window_.depth(), &height = window_.height();
    const int64_t rows = !with_indices                          ? 1
                         : output_rows == window_.output_rows() ? depth.input * height.input
                                                                : rows_of(output_rows);
    return rows * pitch_ + lanes<T>;
  }

  // put(row, o, best, where) for every vector of outputs of rows [begin, end), which lie in one slice of depth if they
  // are not all. `memory` must be filled with the lowest number at first, and is left so where no row is copied to.
  template <class Put>
  void run(const T* plane, int64_t begin, int64_t end, T* memory, Put&& put) const {
    if constexpr (!with_indices) return run_by_columns(plane, begin, end, memory, put);
    const Axis &depth = window_.depth(), &height = window_.height(), &width = window_.width();
    const bool all = end - begin == window_.output_rows();
    const int64_t above = all ? 0 : first_row_of(begin, end);
    const int64_t rows = all ? depth.input * height.input : height.end[end - 1] - above;
    for (int64_t r = 0; r < rows; ++r) copy_row(plane + (above + r) * width.input, memory + r * pitch_ + left_);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t od = row / height.output, oh = row % height.output;
      const int64_t first_row =
          std::min(depth.begin[od], depth.input - 1) * height.input + std::min(height.begin[oh], height.input - 1);
      for (int64_t o = 0; o < padded_; o += lanes<T>) {
        Vec<T> best = broadcast(lowest<T>());
        Vec<Position> where = load(first_.data() + o) + static_cast<Position>(first_row * width.input);
        for (int64_t d = depth.begin[od]; d < depth.end[od]; d += depth.step) {
          for (int64_t h = height.begin[oh]; h < height.end[oh]; h += height.step) {
            const int64_t line = d * height.input + h;
            const T* source = memory + (line - above) * pitch_ + left_ + o * S;
            for (const Tap& tap : width.taps) {
              const Vec<T> value = load_every<S>(source + tap.offset, std::make_integer_sequence<int, lanes<T>>());
              const auto take = (value > best) | (value != value);
              best = select(take, value, best);
              where = select(take, positions(line * width.input + o * S + tap.offset), where);
            }
          }
        }
        put(row, o, best, where);
      }
    }
  }

 private:
  template <class Put>
  void run_by_columns(const T* plane, int64_t begin, int64_t end, T* memory, Put&& put) const {
    const Axis &depth = window_.depth(), &height = window_.height(), &width = window_.width();
    T* const line = memory + left_;
    constexpr int64_t ahead = 4096 / sizeof(T);  // items that are fetched before they are read
    for (int64_t row = begin; row < end; ++row) {
      const int64_t od = row / height.output, oh = row % height.output;
      const int64_t first = height.begin[oh], last = height.end[oh];
      for_vectors<T>(width.input, [&](int64_t w, auto count) {
        Vec<T> best = broadcast(lowest<T>());
        for (int64_t d = depth.begin[od]; d < depth.end[od]; d += depth.step) {
          for (int64_t h = first; h < last; h += height.step) {
            const T* const from = plane + (d * height.input + h) * width.input + w;
            __builtin_prefetch(from + ahead);
            best = maximum(best, load_some(from, count, lowest<T>()));
          }
        }
        store_some(line + w, best, count);
      });
      for (int64_t o = 0; o < padded_; o += lanes<T>) {
        Vec<T> best = broadcast(lowest<T>());
        for (const Tap& tap : width.taps) {
          best = maximum(best, load_every<S>(line + o * S + tap.offset, std::make_integer_sequence<int, lanes<T>>()));
        }
        put(row, o, best, nullptr);
      }
    }
  }

  // The first row of inputs that some rows of outputs read: not always the first one's, where windows are dilated.
  int64_t first_row_of(int64_t begin, int64_t end) const {
    const auto& first = window_.height().begin;
    return *std::min_element(first.begin() + begin, first.begin() + end);
  }
  // How many rows of inputs any `count` rows of outputs read, at most.
  int64_t rows_of(int64_t count) const {
    int64_t most = 0;
    for (int64_t row = 0; row + count <= window_.height().output; ++row) {
      most = std::max(most, window_.height().end[row + count - 1] - first_row_of(row, row + count));
    }
    return most;
  }

  void copy_row(const T* from, T* to) const {
    const int64_t count = window_.width().input;
    if (count < lanes<T>) {
      for (int64_t w = 0; w < count; ++w) to[w] = from[w];
      return;
    }
    for (int64_t w = 0; w + lanes<T> <= count; w += lanes<T>) store(to + w, load(from + w));
    store(to + count - lanes<T>, load(from + count - lanes<T>));
  }

  static Vec<Position> positions(int64_t first) {
    Vec<Position> result;
    for (int i = 0; i < lanes<T>; ++i) result[i] = static_cast<Position>(i * S);
    return result + static_cast<Position>(first);
  }

  const Window& window_;
  int64_t left_, padded_, pitch_;
  std::vector<Position> first_;  // the first input of each window of a row
};

// body(MaximaOfRows, plane, first row, end, its memory) over all planes, in bands of rows unless `whole`.
template <class T, class Index, class Body>
void for_each_band(int64_t planes, const Window& window, bool whole, Body&& body) {
  const auto run = [&]<int S>() {
    const MaximaOfRows<T, Index, S> maxima(window);
    const int64_t rows = window.output_rows();
    const bool banded = !whole && window.depth().input == 1 && window.depth().output == 1;
    const int64_t band = banded ? std::clamp<int64_t>(work_grain / row_work(window), 1, rows) : rows;
    const int64_t bands = divide_up(rows, band), size = maxima.memory(band);
    const int64_t work = std::max<int64_t>(1, band * row_work(window));
    parallel_for(planes * bands, std::max<int64_t>(1, work_grain / work), [&](int64_t begin, int64_t end) {
      const Scratch<T> memory(size);
      std::fill(memory.get(), memory.get() + size, lowest<T>());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % bands * band;
        body(maxima, i / bands, first, std::min(first + band, rows), memory.get());
      }
    });
  };
  if (window.width().stride == 1) return run.template operator()<1>();
  run.template operator()<2>();
}

template <class T>
void maximum(const T* x, T* y, int64_t planes, const Window& window) {
  if (window.output() == 0) return;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    const int64_t length = window.width().output;
    if (in_vectors<T>(window.width())) {
      return for_each_band<T, void>(
          planes, window, false, [&](const auto& maxima, int64_t plane, int64_t first, int64_t end, T* memory) {
            T* const to = y + plane * window.output();
            maxima.run(x + plane * window.input(), first, end, memory, [&](int64_t row, int64_t o, auto best, auto) {
              // What is written beyond a row is overwritten by the next one.
              store_some(to + row * length + o, best, end * length - row * length - o);
            });
          });
    }
  }
  for_each_row<T>(planes, window, window.width().input, [&](int64_t plane, int64_t row, T* line) {
    T* best = y + plane * window.output() + row * window.width().output;
    maxima_of_row(x + plane * window.input(), window, row, best, line);
  });
}

template <class T, class Index>
void maximum(const T* x, T* y, int64_t* indices, int64_t planes, const Window& window) {
  int64_t length = window.width().output;
  if (window.output() == 0) return;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (in_vectors<T>(window.width())) {
      return for_each_band<T, Index>(
          planes, window, false, [&](const auto& maxima, int64_t plane, int64_t first, int64_t end, T* memory) {
            const int64_t at = plane * window.output();
            maxima.run(x + plane * window.input(), first, end, memory,
                       [&](int64_t row, int64_t o, auto best, auto where) {
                         store_some(y + at + row * length + o, best, end * length - row * length - o);
                         Index places[lanes<T>];
                         store(places, where);
                         std::copy_n(places, std::min<int64_t>(lanes<T>, length - o), indices + at + row * length + o);
                       });
          });
    }
  }
  for_each_row<Index>(planes, window, length, [&](int64_t plane, int64_t row, Index* where) {
    int64_t at = plane * window.output() + row * length;
    maximum_row(x + plane * window.input(), window, row, y + at, where);
    std::copy_n(where, length, indices + at);
  });
}

// Each output's gradient goes to the input that was its maximum, which is found again rather than remembered: an array
// of indices would take as much memory as two of the outputs.
template <class T, class Index>
void maximum_gradient(const T* g, const T* x, T* gx, int64_t planes, const Window& window) {
  int64_t length = window.width().output;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (window.output() > 0 && in_vectors<T>(window.width())) {
      return for_each_band<T, Index>(
          planes, window, true, [&](const auto& maxima, int64_t plane, int64_t first, int64_t end, T* memory) {
            T* const to = gx + plane * window.input();
            const T* const from = g + plane * window.output();
            std::fill_n(to, window.input(), T(0));
            maxima.run(x + plane * window.input(), first, end, memory, [&](int64_t row, int64_t o, auto, auto where) {
              Index places[lanes<T>];
              store(places, where);
              const T* const line = from + row * length + o;
              for (int64_t i = 0; i < std::min<int64_t>(lanes<T>, length - o); ++i) to[places[i]] += line[i];
            });
          });
    }
  }
  parallel_for(planes, work_grain / std::max<int64_t>(1, window.input()), [&](int64_t begin, int64_t end) {
    std::vector<Index> where(static_cast<size_t>(length));
    std::vector<T> best(static_cast<size_t>(length));
    for (int64_t plane = begin; plane < end; ++plane) {
      T* to = gx + plane * window.input();
      const T* from = g + plane * window.output();
      std::fill_n(to, window.input(), T(0));
      for (int64_t row = 0; length > 0 && row < window.output_rows(); ++row, from += length) {
        maximum_row(x + plane * window.input(), window, row, best.data(), where.data());
        for (int64_t o = 0; o < length; ++o) to[where[o]] = static_cast<T>(to[where[o]] + from[o]);
      }
    }
  });
}

}  // namespace rushlight
