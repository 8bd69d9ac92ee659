// Images sampled at the points of a grid (Jaderberg et al., 2015), in two or three dimensions, and the gradients.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int most_axes = 3, most_corners = 8;
constexpr int64_t at_once = 64;          // points whose corners are found before the channels are gone through
constexpr int64_t channels_at_once = 8;  // that a block of work adds to, in the gradient of the images

enum class Padding { zeros, border, reflection };

struct Sampling {
  bool nearest, align_corners;
  Padding padding;
  int axes, corners;
  int64_t batch, channels, pixels, points;
  int64_t size[most_axes], step[most_axes];  // of the image: pixels along an axis, and from one to the next
};

template <class T>
struct Position {
  T value, slope;  // along an axis, in pixels, and how fast it moves with the grid's coordinate
};

template <class T>
Position<T> position_of(T coordinate, int64_t size, const Sampling& by) {
  const T n = static_cast<T>(size);
  Position<T> at = by.align_corners ? Position<T>{(coordinate + 1) * ((n - 1) / 2), (n - 1) / 2}
                                    : Position<T>{((coordinate + 1) * n - 1) * T(0.5), n / 2};
  if (by.padding == Padding::zeros) return at;
  if (by.padding == Padding::reflection) {
    const T low = by.align_corners ? T(0) : T(-0.5), span = by.align_corners ? n - 1 : n;
    if (span == 0) return {T(0), T(0)};
    T away = at.value - low;
    if (away < 0) away = -away, at.slope = -at.slope;
    const T turns = std::floor(away / span), rest = away - turns * span;
    const bool back = turns - 2 * std::floor(turns / 2) == 1;
    at.value = (back ? span - rest : rest) + low;
    if (back) at.slope = -at.slope;
  }
  if (!(at.value > 0)) return {T(0), T(0)};
  if (!(at.value < n - 1)) return {n - 1, T(0)};
  return at;
}

// The pixels around some points of one image, with their weights, and how these move with the grid's coordinates. What
// lies outside is a pixel of weight 0.
template <class T>
class Corners {
 public:
  int64_t count;
  int32_t pixel[most_corners][at_once];
  T weight[most_corners][at_once];
  T slope[most_axes][most_corners][at_once];

  void find(const T* grid, int64_t points, const Sampling& by, bool slopes) {
    count = points;
    T first[most_axes][at_once], fraction[most_axes][at_once], moving[most_axes][at_once];
    for (int axis = 0; axis < by.axes; ++axis) {
      const T* coordinate = grid + by.axes - 1 - axis;
      for (int64_t p = 0; p < points; ++p) {
        Position<T> at = position_of(coordinate[p * by.axes], by.size[axis], by);
        first[axis][p] = at.value;
        moving[axis][p] = at.slope;
      }
      for (int64_t p = 0; p < points; ++p) {
        const T whole = by.nearest ? std::nearbyint(first[axis][p]) : std::floor(first[axis][p]);
        fraction[axis][p] = by.nearest ? T(0) : first[axis][p] - whole;
        first[axis][p] = whole;
      }
    }
    for (int corner = 0; corner < by.corners; ++corner) {
      std::fill_n(pixel[corner], points, 0);
      std::fill_n(weight[corner], points, T(1));
      for (int axis = 0; axis < by.axes; ++axis) {
        const T further = second(corner, axis, by) ? T(1) : T(0), last = static_cast<T>(by.size[axis] - 1);
        const int32_t step = static_cast<int32_t>(by.step[axis]);
        for (int64_t p = 0; p < points; ++p) {
          const T at = first[axis][p] + further;
          const bool inside = at >= 0 && at <= last;
          const T share = further != 0 ? fraction[axis][p] : 1 - fraction[axis][p];
          pixel[corner][p] += static_cast<int32_t>(inside ? at : T(0)) * step;
          weight[corner][p] = inside ? weight[corner][p] * share : T(0);
        }
      }
    }
    for (int axis = 0; slopes && axis < by.axes; ++axis) {
      for (int corner = 0; corner < by.corners; ++corner) {
        T* to = slope[axis][corner];
        const T sign = by.nearest ? T(0) : second(corner, axis, by) ? T(1) : T(-1);
        for (int64_t p = 0; p < points; ++p) to[p] = sign * moving[axis][p];
        for (int other = 0; other < by.axes; ++other) {
          const T further = second(corner, other, by) ? T(1) : T(0), last = static_cast<T>(by.size[other] - 1);
          for (int64_t p = 0; p < points; ++p) {
            const T at = first[other][p] + further;
            const T share = other == axis ? T(1) : further != 0 ? fraction[other][p] : 1 - fraction[other][p];
            to[p] = at >= 0 && at <= last ? to[p] * share : T(0);
          }
        }
      }
    }
  }

 private:
  static bool second(int corner, int axis, const Sampling& by) { return corner >> (by.axes - 1 - axis) & 1; }
};

template <class T>
void sample(const T* x, const T* grid, T* y, const Sampling& by) {
  const int64_t blocks = divide_up(by.points, at_once);
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (at_once * by.corners * std::max<int64_t>(1, by.channels)));
  parallel_for(by.batch * blocks, grain, [&](int64_t begin, int64_t end) {
    Corners<T> corners;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t n = block / blocks, first = block % blocks * at_once;
      const int64_t count = std::min(at_once, by.points - first);
      corners.find(grid + (n * by.points + first) * by.axes, count, by, false);
      for (int64_t c = 0; c < by.channels; ++c) {
        const T* plane = x + (n * by.channels + c) * by.pixels;
        T* to = y + (n * by.channels + c) * by.points + first;
        for (int64_t p = 0; p < count; ++p) to[p] = corners.weight[0][p] * plane[corners.pixel[0][p]];
        for (int corner = 1; corner < by.corners; ++corner) {
          for (int64_t p = 0; p < count; ++p) to[p] += corners.weight[corner][p] * plane[corners.pixel[corner][p]];
        }
      }
    }
  });
}

template <class T>
void bring_back(const T* g, const T* grid, T* of_x, const Sampling& by) {
  const int64_t groups = divide_up(by.channels, channels_at_once);
  parallel_for(by.batch * groups, 1, [&](int64_t begin, int64_t end) {
    Corners<T> corners;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t n = block / groups, from = block % groups * channels_at_once;
      const int64_t channels = std::min(channels_at_once, by.channels - from);
      T* images = of_x + (n * by.channels + from) * by.pixels;
      std::fill_n(images, channels * by.pixels, T(0));
      for (int64_t first = 0; first < by.points; first += at_once) {
        corners.find(grid + (n * by.points + first) * by.axes, std::min(at_once, by.points - first), by, false);
        for (int64_t c = 0; c < channels; ++c) {
          const T* row = g + (n * by.channels + from + c) * by.points + first;
          T* plane = images + c * by.pixels;
          for (int corner = 0; corner < by.corners; ++corner) {
            for (int64_t p = 0; p < corners.count; ++p) {
              plane[corners.pixel[corner][p]] += corners.weight[corner][p] * row[p];
            }
          }
        }
      }
    }
  });
}

template <class T>
void move_grid(const T* g, const T* x, const T* grid, T* of_grid, const Sampling& by) {
  const int64_t blocks = divide_up(by.points, at_once);
  const int64_t grain = std::max<int64_t>(1, (1 << 13) / (at_once * by.corners * std::max<int64_t>(1, by.channels)));
  parallel_for(by.batch * blocks, grain, [&](int64_t begin, int64_t end) {
    Corners<T> corners;
    T taken[most_corners][at_once];  // sums over the channels of the gradient times a corner's pixel
    for (int64_t block = begin; block < end; ++block) {
      const int64_t n = block / blocks, first = block % blocks * at_once;
      const int64_t count = std::min(at_once, by.points - first);
      corners.find(grid + (n * by.points + first) * by.axes, count, by, true);
      for (int corner = 0; corner < by.corners; ++corner) std::fill_n(taken[corner], count, T(0));
      for (int64_t c = 0; c < by.channels; ++c) {
        const T* plane = x + (n * by.channels + c) * by.pixels;
        const T* row = g + (n * by.channels + c) * by.points + first;
        for (int corner = 0; corner < by.corners; ++corner) {
          for (int64_t p = 0; p < count; ++p) taken[corner][p] += row[p] * plane[corners.pixel[corner][p]];
        }
      }
      T* to = of_grid + (n * by.points + first) * by.axes;
      for (int64_t p = 0; p < count; ++p) {
        for (int axis = 0; axis < by.axes; ++axis) {
          T sum = 0;
          for (int corner = 0; corner < by.corners; ++corner) {
            sum += taken[corner][p] * corners.slope[axis][corner][p];
          }
          to[p * by.axes + by.axes - 1 - axis] = sum;
        }
      }
    }
  });
}

bool describe(const Array& x, const Array& grid, const std::string& mode, const std::string& padding,
              bool align_corners, Sampling& by) {
  by.axes = x.dimensions - 2;
  if ((by.axes != 2 && by.axes != 3) || grid.dimensions != x.dimensions || grid.dtype != x.dtype ||
      grid.shape[0] != x.shape[0] || grid.shape[by.axes + 1] != by.axes || (mode != "bilinear" && mode != "nearest") ||
      (padding != "zeros" && padding != "border" && padding != "reflection")) {
    return false;
  }
  by.nearest = mode == "nearest";
  by.align_corners = align_corners;
  by.padding = padding == "zeros" ? Padding::zeros : padding == "border" ? Padding::border : Padding::reflection;
  by.corners = by.nearest ? 1 : 1 << by.axes;
  by.batch = x.shape[0];
  by.channels = x.shape[1];
  by.pixels = by.points = 1;
  for (int axis = by.axes; axis-- > 0;) {
    by.size[axis] = x.shape[axis + 2];
    by.step[axis] = by.pixels;
    by.pixels *= by.size[axis];
    by.points *= grid.shape[axis + 1];
  }
  return by.pixels > 0 && by.pixels <= INT32_MAX;
}

nb::object grid_sample(nb::handle input, nb::handle where, const std::string& mode, const std::string& padding_mode,
                       bool align_corners) {
  WorkArray x = contiguous(input), grid = contiguous(where);
  Sampling by;
  if (!describe(x.array, grid.array, mode, padding_mode, align_corners, by)) return not_implemented();
  int64_t shape[most_axes + 2] = {by.batch, by.channels};
  std::copy_n(grid.array.shape + 1, by.axes, shape + 2);
  NewArray y;
  bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(x.array.dtype, {shape, static_cast<size_t>(by.axes + 2)});
    Unlocked unlocked;
    sample(x.array.as<T>(), grid.array.as<T>(), y.array.as<T>(), by);
  });
  return known ? y.object : not_implemented();
}

nb::object grid_sample_gradient(nb::handle gradient, nb::handle input, nb::handle where, const std::string& mode,
                                const std::string& padding_mode, bool align_corners) {
  WorkArray g = contiguous(gradient), x = contiguous(input), grid = contiguous(where);
  Sampling by;
  if (!describe(x.array, grid.array, mode, padding_mode, align_corners, by) || g.array.dtype != x.array.dtype ||
      g.array.size() != by.batch * by.channels * by.points) {
    return not_implemented();
  }
  NewArray of_x, of_grid;
  bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    of_x = result(x.array.dtype, shape_of(x.array));
    of_grid = result(x.array.dtype, shape_of(grid.array));
    Unlocked unlocked;
    bring_back(g.array.as<T>(), grid.array.as<T>(), of_x.array.as<T>(), by);
    if (by.nearest) {
      std::fill_n(of_grid.array.as<T>(), of_grid.array.size(), T(0));
      return;
    }
    move_grid(g.array.as<T>(), x.array.as<T>(), grid.array.as<T>(), of_grid.array.as<T>(), by);
  });
  return known ? results(of_x, of_grid) : not_implemented();
}

}  // namespace

void bind_grid_sample(nb::module_& module) {
  define_kernel(module, "grid_sample", &grid_sample, nb::arg("x"), nb::arg("grid"), nb::arg("mode"),
                nb::arg("padding_mode"), nb::arg("align_corners"));
  define_kernel(module, "grid_sample_gradient", &grid_sample_gradient, nb::arg("g"), nb::arg("x"), nb::arg("grid"),
                nb::arg("mode"), nb::arg("padding_mode"), nb::arg("align_corners"));
}

}  // namespace rushlight
