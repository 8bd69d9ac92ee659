// Losses against class indices, of logarithms of probabilities or of scores.
#include <nanobind/stl/string.h>

#include <cmath>
#include <string>
#include <vector>

#include "bind.h"
#include "instruction.h"
#include "softmax.h"

namespace rushlight {

namespace {

enum class Reduction { none, mean, sum };

bool reduction_of(const std::string& name, Reduction& reduction) {
  if (name == "none") return reduction = Reduction::none, true;
  if (name == "mean") return reduction = Reduction::mean, true;
  if (name == "sum") return reduction = Reduction::sum, true;
  return false;
}

// What the losses share: targets checked against the number of classes, the weight of each class, the reduction.
struct Targets {
  Classes shape;
  WorkArray target, weight;
  Reduction reduction = Reduction::mean;
  int64_t ignore_index = 0;

  const int64_t* indices() const { return target.array.as<int64_t>(); }
  // False where these arrays aren't what the kernels are written for; raises IndexError on a target out of range.
  bool collect(const Array& x, nb::handle given_target, nb::handle given_weight, int64_t ignored,
               const std::string& reduced) {
    int64_t dim = x.dimensions == 1 ? 0 : 1;
    if (x.dimensions == 0 || !classes_of(x, dim, shape) || !reduction_of(reduced, reduction)) return false;
    target = contiguous(given_target);
    ignore_index = ignored;
    if (target.array.dtype != DType::int64 || target.array.size() != shape.positions()) return false;
    if (!given_weight.is_none()) {
      weight = contiguous(given_weight);
      if (weight.array.dtype != x.dtype || weight.array.size() != shape.count) return false;
    }
    for (int64_t i = 0; i < shape.positions(); ++i) {
      int64_t index = indices()[i];
      if (index != ignored && (index < 0 || index >= shape.count)) {
        throw nb::index_error(("Target " + std::to_string(index) + " is out of bounds: there are " +
                               std::to_string(shape.count) + " classes, so targets are 0 to " +
                               std::to_string(shape.count - 1) + ", or ignore_index=" + std::to_string(ignored))
                                  .c_str());
      }
    }
    return true;
  }
  bool counts(int64_t position) const { return indices()[position] != ignore_index; }
  // The weight of the target at a position, zero where it is ignored.
  template <class T>
  T weight_at(int64_t position) const {
    if (!counts(position)) return T(0);
    return weight ? weight.array.as<T>()[indices()[position]] : T(1);
  }
  template <class T>
  double total_weight() const {
    if (!weight) {
      return static_cast<double>(shape.positions() -
                                 std::count(indices(), indices() + shape.positions(), ignore_index));
    }
    double sum = 0;
    for (int64_t i = 0; i < shape.positions(); ++i) sum += static_cast<double>(weight_at<T>(i));
    return sum;
  }
  // Offset of the target's item in an array of `shape`.
  int64_t offset(int64_t position) const {
    if (shape.inner == 1) return position * shape.count + indices()[position];
    return (position / shape.inner * shape.count + indices()[position]) * shape.inner + position % shape.inner;
  }
};

// The loss: of each position, written to it directly, or summed up over all positions in their order.
template <class T>
class Losses {
 public:
  NewArray made;

  explicit Losses(const Targets& targets) : targets_(targets) {
    if (targets.reduction == Reduction::none) {
      made = result(dtype_of<T>(), shape_of(targets.target.array));
    } else {
      made = result(dtype_of<T>(), std::span<const int64_t>());
      positions_ = WorkArray(dtype_of<T>(), shape_of(targets.target.array));
    }
  }
  T* positions() const { return (positions_ ? positions_.array : made.array).template as<T>(); }
  void finish() const {
    if (!positions_) return;
    double sum = 0;
    for (int64_t i = 0; i < targets_.shape.positions(); ++i) sum += static_cast<double>(positions()[i]);
    if (targets_.reduction == Reduction::mean) sum /= targets_.total_weight<T>();
    *made.array.as<T>() = static_cast<T>(sum);
  }

 private:
  const Targets& targets_;
  WorkArray positions_;
};

// The factor that each position's gradient has: g, shared out by the reduction.
template <class T>
std::vector<T> shares(const Targets& targets, const WorkArray& g) {
  std::vector<T> result(static_cast<size_t>(targets.shape.positions()));
  const T* gs = g.array.as<T>();
  if (targets.reduction == Reduction::none) {
    std::copy_n(gs, targets.shape.positions(), result.begin());
  } else {
    double divisor = targets.reduction == Reduction::mean ? targets.total_weight<T>() : 1;
    std::fill(result.begin(), result.end(), static_cast<T>(static_cast<double>(*gs) / divisor));
  }
  return result;
}

nb::object nll_loss(nb::handle input, nb::handle target, nb::handle weight, int64_t ignore_index,
                    const std::string& reduction) {
  WorkArray x = contiguous(input);
  NewArray y;
  Targets targets;
  if (!targets.collect(x.array, target, weight, ignore_index, reduction)) return not_implemented();
  bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    Losses<T> losses(targets);
    T* loss = losses.positions();
    for (int64_t i = 0; i < targets.shape.positions(); ++i) {
      loss[i] = targets.counts(i) ? -x.array.as<T>()[targets.offset(i)] * targets.weight_at<T>(i) : T(0);
    }
    losses.finish();
    y = std::move(losses.made);
  });
  return known ? y.object : not_implemented();
}

// x gives the gradient's shape alone.
nb::object nll_loss_gradient(nb::handle gradient, nb::handle input, nb::handle target, nb::handle weight,
                             int64_t ignore_index, const std::string& reduction) {
  Array x = borrow(input);
  WorkArray g = contiguous(gradient);
  NewArray gx;
  Targets targets;
  if (!targets.collect(x, target, weight, ignore_index, reduction) || g.array.dtype != x.dtype ||
      g.array.size() != (targets.reduction == Reduction::none ? targets.shape.positions() : 1)) {
    return not_implemented();
  }
  bool known = dispatch_wide(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(x.dtype, shape_of(x));
    T* to = gx.array.as<T>();
    Unlocked unlocked;
    std::vector<T> share = shares<T>(targets, g);
    parallel_for(gx.array.size(), 1 << 18, [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, T(0)); });
    for (int64_t i = 0; i < targets.shape.positions(); ++i) {
      if (targets.counts(i)) to[targets.offset(i)] = -share[i] * targets.weight_at<T>(i);
    }
  });
  return known ? gx.object : not_implemented();
}

// Per class: what label smoothing gives every class, and the sum over classes.
template <class T>
struct Smoothing {
  T hit = 1;            // what the target itself keeps
  T each = 0, all = 0;  // for a class of weight one, and for all classes together

  Smoothing(const Targets& targets, double label_smoothing) {
    double sum = 0;
    for (int64_t k = 0; k < targets.shape.count; ++k) {
      sum += targets.weight ? static_cast<double>(targets.weight.array.as<T>()[k]) : 1;
    }
    hit = static_cast<T>(1 - label_smoothing);
    each = static_cast<T>(label_smoothing / static_cast<double>(targets.shape.count));
    all = static_cast<T>(label_smoothing / static_cast<double>(targets.shape.count) * sum);
  }
};

// The logarithms of the sums of exponentials at all positions.
template <class T>
void log_sums_of(const T* x, const Classes& shape, T* log_sums) {
  const int64_t n = shape.count, stride = shape.inner;
  if (stride == 1 && n <= short_row) {
    for_row_groups<T>(shape, [&](int64_t first, int64_t rows) {
      alignas(64) T top[lanes<T>];
      store<T>(top, maxima_of_rows(x + first * n, n, rows));
      Vec<T> sums = exponentials_of_rows<T>(x + first * n, nullptr, n, rows, top);
      store_some(log_sums + first, load<T>(top) + log(sums), rows);
    });
  } else if (stride == 1) {
    for_rows(shape, [&](int64_t row) {
      T top = maximum_of(x + row * n, n);
      log_sums[row] = top + std::log(exponentials<T>(x + row * n, nullptr, n, top));
    });
  } else {
    for_strips<T>(shape, [&](int64_t start, int64_t position, int64_t width) {
      Vec<T> top = broadcast(minus_infinity<T>), sum = {};
      for (int64_t k = 0; k < n; ++k) top = maximum(top, load_some(x + start + k * stride, width, T(0)));
      for (int64_t k = 0; k < n; ++k) {
        sum += exp_of_weight(Vec<T>(load_some(x + start + k * stride, width, T(0)) - top));
      }
      store_some(log_sums + position, top + log(sum), width);
    });
  }
}

// What smoothing adds to the loss of a position for a class of weight one: the sum of weight * (log_sum - x).
template <class T>
T smoothed(const T* x, const T* weights, const Classes& shape, int64_t position, T log_sum) {
  const int64_t n = shape.count, stride = shape.inner;
  const T* items = x + position / stride * n * stride + position % stride;
  double sum = 0;
  if (stride == 1) {
    constexpr int64_t block = 1024;
    for (int64_t first = 0; first < n; first += block) {
      Vec<T> part = vector_sum<T>(std::min(block, n - first), [&](int64_t i, auto width) {
        Vec<T> value = log_sum - load_some(items + first + i, width, log_sum);
        return weights == nullptr ? value : Vec<T>(value * load_some(weights + first + i, width, T(0)));
      });
      sum += static_cast<double>(sum_of_lanes<T>(part));
    }
    return static_cast<T>(sum);
  }
  for (int64_t k = 0; k < n; ++k) {
    sum += static_cast<double>((weights != nullptr ? weights[k] : T(1)) * (log_sum - items[k * stride]));
  }
  return static_cast<T>(sum);
}

// The loss at each position, and the logarithm of its sum of exponentials.
template <class T>
void cross_entropy_positions(const T* x, const Targets& targets, double label_smoothing, T* loss, T* log_sums) {
  const Classes& shape = targets.shape;
  log_sums_of(x, shape, log_sums);
  const Smoothing<T> smoothing(targets, label_smoothing);
  const T* weights = targets.weight ? targets.weight.array.as<T>() : nullptr;
  const int64_t work = label_smoothing != 0 ? shape.count : 8;
  parallel_for(shape.positions(), (1 << 14) / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!targets.counts(i)) {
        loss[i] = 0;
        continue;
      }
      loss[i] = smoothing.hit * targets.weight_at<T>(i) * (log_sums[i] - x[targets.offset(i)]);
      if (label_smoothing != 0) loss[i] += smoothing.each * smoothed(x, weights, shape, i, log_sums[i]);
    }
  });
}

// (loss, logarithms of the sums of exponentials), from scores that aren't normalised.
nb::object cross_entropy(nb::handle input, nb::handle target, nb::handle weight, int64_t ignore_index,
                         const std::string& reduction, double label_smoothing) {
  WorkArray x = contiguous(input);
  NewArray loss, log_sums;
  Targets targets;
  if (!targets.collect(x.array, target, weight, ignore_index, reduction)) return not_implemented();
  bool known = dispatch_wide(x.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    Losses<T> losses(targets);
    log_sums = result(x.array.dtype, shape_of(targets.target.array));
    {
      Unlocked unlocked;
      cross_entropy_positions(x.array.as<T>(), targets, label_smoothing, losses.positions(), log_sums.array.as<T>());
      losses.finish();
    }
    loss = std::move(losses.made);
  });
  return known ? results(loss, log_sums) : not_implemented();
}

// softmax(x) * (hit * weight of the target + all) - hit * weight where the class is the target - each * its weight
nb::object cross_entropy_gradient(nb::handle gradient, nb::handle input, nb::handle target, nb::handle weight,
                                  nb::handle log_sum, int64_t ignore_index, const std::string& reduction,
                                  double label_smoothing) {
  WorkArray g = contiguous(gradient), x = contiguous(input), log_sums = contiguous(log_sum);
  NewArray gx;
  Targets targets;
  DType dtype = x.array.dtype;
  if (!targets.collect(x.array, target, weight, ignore_index, reduction) || g.array.dtype != dtype ||
      log_sums.array.dtype != dtype || log_sums.array.size() != targets.shape.positions() ||
      g.array.size() != (targets.reduction == Reduction::none ? targets.shape.positions() : 1)) {
    return not_implemented();
  }
  bool known = dispatch_wide(dtype, [&](auto tag) {
    using T = decltype(tag);
    gx = result(dtype, shape_of(x.array));
    const T *from = x.array.as<T>(), *sums = log_sums.array.as<T>();
    const T* weights = targets.weight ? targets.weight.array.as<T>() : nullptr;
    T* to = gx.array.as<T>();
    Unlocked unlocked;
    const Classes& shape = targets.shape;
    int64_t n = shape.count, stride = shape.inner;
    Smoothing<T> smoothing(targets, label_smoothing);
    std::vector<T> share = shares<T>(targets, g), scale(share.size());
    for (int64_t i = 0; i < shape.positions(); ++i) {
      if (!targets.counts(i)) share[i] = 0;
      scale[i] = share[i] * (smoothing.hit * targets.weight_at<T>(i) + smoothing.all);
    }
    if (stride == 1) {
      for_rows(shape, [&](int64_t row) {
        const T* xs = from + row * n;
        T* gxs = to + row * n;
        if (!targets.counts(row)) return std::fill_n(gxs, n, T(0)), void();
        for_vectors<T>(n, [&](int64_t i, auto width) {
          Vec<T> value = exp_of_weight(Vec<T>(load_some(xs + i, width, T(0)) - sums[row])) * scale[row];
          if (smoothing.each != 0) {
            value -= smoothing.each * share[row] * (weights ? load_some(weights + i, width, T(0)) : broadcast(T(1)));
          }
          store_some(gxs + i, value, width);
        });
      });
    } else {
      for_strips<T>(shape, [&](int64_t start, int64_t position, int64_t width) {
        Vec<T> sum = load_some(sums + position, width, T(0)), factor = load_some(scale.data() + position, width, T(0));
        Vec<T> own = load_some(share.data() + position, width, T(0));
        for (int64_t k = 0; k < n; ++k) {
          Vec<T> value = exp_of_weight(Vec<T>(load_some(from + start + k * stride, width, T(0)) - sum)) * factor;
          if (smoothing.each != 0) value -= own * (smoothing.each * (weights ? weights[k] : T(1)));
          store_some(to + start + k * stride, select(factor == 0, Vec<T>{}, value), width);
        }
      });
    }
    for (int64_t i = 0; i < shape.positions(); ++i) {
      if (targets.counts(i)) to[targets.offset(i)] -= share[i] * smoothing.hit * targets.weight_at<T>(i);
    }
  });
  return known ? gx.object : not_implemented();
}

}  // namespace

void bind_cross_entropy(nb::module_& module) {
  define_kernel(module, "nll_loss", &nll_loss, nb::arg("x"), nb::arg("target"), nb::arg("weight").none(),
                nb::arg("ignore_index"), nb::arg("reduction"));
  define_kernel(module, "nll_loss_gradient", &nll_loss_gradient, nb::arg("g"), nb::arg("x"), nb::arg("target"),
                nb::arg("weight").none(), nb::arg("ignore_index"), nb::arg("reduction"));
  define_kernel(module, "cross_entropy", &cross_entropy, nb::arg("x"), nb::arg("target"), nb::arg("weight").none(),
                nb::arg("ignore_index"), nb::arg("reduction"), nb::arg("label_smoothing"));
  define_kernel(module, "cross_entropy_gradient", &cross_entropy_gradient, nb::arg("g"), nb::arg("x"),
                nb::arg("target"), nb::arg("weight").none(), nb::arg("log_sum"), nb::arg("ignore_index"),
                nb::arg("reduction"), nb::arg("label_smoothing"));
}

}  // namespace rushlight