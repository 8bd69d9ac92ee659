// Optimizer steps over all parameters of a group at once, in place. The formulas, and the order of their operations,
// are PyTorch's. A block of work has the same part of every parameter: the one that its thread multiplies by and makes
// the gradient of, so that it finds them in its cache.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t block_items = 1 << 15, most_blocks = 64;
constexpr int64_t part_items = 1 << 12;  // of a parameter; a smaller one isn't cut

using List = std::vector<nb::handle>;

// Lists of parameters, gradients and states: column k holds each list's array of parameter k.
struct Group {
  std::vector<WorkArray> gradients;          // contiguous, copied where they were not
  std::vector<std::vector<Array>> in_place;  // the parameters, then each state
  std::vector<int64_t> starts;               // of each parameter's items in the sequence, and the end of the last
  DType dtype = DType::other;
};

// False where some array can't be updated in place here; nothing has been written then.
bool collect(const List& gradients, std::initializer_list<const List*> in_place, Group& group) {
  for (const List* list : in_place) {
    std::vector<Array>& arrays = group.in_place.emplace_back();
    for (nb::handle item : *list) arrays.push_back(borrow(item));
    if (arrays.size() != group.in_place.front().size()) return false;
  }
  const std::vector<Array>& parameters = group.in_place.front();
  for (nb::handle item : gradients) group.gradients.push_back(contiguous(item));
  if (group.gradients.size() != parameters.size()) return false;
  group.starts.push_back(0);
  for (size_t k = 0; k < parameters.size(); ++k) {
    const Array& first = parameters[k];
    std::span shape(first.shape, static_cast<size_t>(first.dimensions));
    if (k == 0) group.dtype = first.dtype;
    auto alike = [&](const Array& array) {
      return array.dtype == group.dtype &&
             std::ranges::equal(std::span(array.shape, static_cast<size_t>(array.dimensions)), shape);
    };
    if (!alike(group.gradients[k].array)) return false;
    for (const std::vector<Array>& arrays : group.in_place) {
      if (!alike(arrays[k]) || !arrays[k].contiguous() || !arrays[k].writeable) return false;
    }
    group.starts.push_back(group.starts.back() + first.size());
  }
  return true;
}

// Calls part(begin, end), in items, for what belongs to one of `blocks` blocks of a parameter of `size` items that
// stands `place` items from the first of all, which have `total`.
template <class Part>
void for_parts(int64_t block, int64_t blocks, int64_t size, int64_t place, int64_t total, Part&& part) {
  const int64_t parts = std::clamp<int64_t>(size / part_items, 1, blocks);
  if (parts == 1) {
    if (place * blocks / total == block) part(int64_t{0}, size);
    return;
  }
  constexpr int64_t line = 64;
  const auto bound = [&](int64_t of_block) {
    const int64_t first = divide_up(of_block * parts, blocks);  // of the parts that are in this block or behind
    return first == parts ? size : size * first / parts / line * line;
  };
  part(bound(block), bound(block + 1));
}

// step(count, gradient, parameter, states...) on pieces of neighbouring items.
template <class T, size_t lists, class Step>
void for_pieces(const Group& group, Step&& step) {
  const int64_t total = group.starts.back(), blocks = std::min(divide_up(total, block_items), most_blocks);
  parallel_for(blocks, 1, [&](int64_t block, int64_t) {
    for (size_t k = 0; k + 1 < group.starts.size(); ++k) {
      const int64_t place = group.starts[k], size = group.starts[k + 1] - place;
      for_parts(block, blocks, size, place, total, [&](int64_t begin, int64_t end) {
        T* pointers[lists];
        for (size_t list = 0; list < lists; ++list) pointers[list] = group.in_place[list][k].as<T>() + begin;
        if (begin < end) step(end - begin, group.gradients[k].array.as<T>() + begin, pointers);
      });
    }
  });
}

// body(std::true_type()) or body(std::false_type()), so that the loops inside have no branches.
template <class Body>
void with_flag(bool flag, Body&& body) {
  if (flag) {
    body(std::true_type());
  } else {
    body(std::false_type());
  }
}

// Moves `start` towards `end`, as torch.lerp does.
template <class C>
C lerp(C start, C end, C weight) {
  return weight < C(0.5) ? start + weight * (end - start) : end - (end - start) * (1 - weight);
}

// The gradient as the formulas take it: negated to maximise, with the parameter's decay added. Where there is more to
// compute than this, whether there is a decay costs nothing in the loop, and loops of their own would be twice the
// code.
template <class C>
C prepared(C gradient, C parameter, C sign, C weight_decay) {
  gradient *= sign;
  return weight_decay != 0 ? gradient + weight_decay * parameter : gradient;
}

enum class Momentum { none, plain, nesterov };

template <bool decay, Momentum kind, class T>
void sgd_piece(int64_t count, const T* __restrict g, T* __restrict p, T* __restrict buffer, double lr, double momentum,
               double kept, double added, double weight_decay, double sign) {
  using C = Compute<T>;
  for (int64_t i = 0; i < count; ++i) {
    C value = static_cast<C>(p[i]);
    C d = prepared(static_cast<C>(g[i]), value, static_cast<C>(sign), decay ? static_cast<C>(weight_decay) : C(0));
    if constexpr (kind != Momentum::none) {
      C average = static_cast<C>(kept) * static_cast<C>(buffer[i]) + static_cast<C>(added) * d;
      buffer[i] = static_cast<T>(average);
      d = kind == Momentum::nesterov ? d + static_cast<C>(momentum) * average : average;
    }
    p[i] = static_cast<T>(value - static_cast<C>(lr) * d);
  }
}

// In the first step the momentum buffer, whatever it holds, becomes the gradient.
nb::object sgd(const List& parameters, const List& gradients, const std::optional<List>& buffers, double lr,
               double momentum, double dampening, double weight_decay, bool nesterov, bool maximize, bool first) {
  Group group;
  bool usable =
      buffers ? collect(gradients, {&parameters, &*buffers}, group) : collect(gradients, {&parameters}, group);
  if (!usable || (momentum != 0 && !buffers)) return not_implemented();
  double sign = maximize ? -1 : 1, kept = first ? 0 : momentum, added = first ? 1 : 1 - dampening;
  bool known = group.gradients.empty() || dispatch_floating(group.dtype, [&](auto tag) {
                 using T = decltype(tag);
                 Unlocked unlocked;
                 with_flag(weight_decay != 0, [&](auto decay) {
                   constexpr bool d = decltype(decay)::value;
                   if (momentum == 0) {
                     for_pieces<T, 1>(group, [&](int64_t count, const T* g, T** p) {
                       sgd_piece<d, Momentum::none, T>(count, g, p[0], nullptr, lr, 0, 0, 0, weight_decay, sign);
                     });
                     return;
                   }
                   for_pieces<T, 2>(group, [&](int64_t count, const T* g, T** p) {
                     if (first) std::fill_n(p[1], count, T(0));
                     auto piece = nesterov ? &sgd_piece<d, Momentum::nesterov, T> : &sgd_piece<d, Momentum::plain, T>;
                     piece(count, g, p[0], p[1], lr, momentum, kept, added, weight_decay, sign);
                   });
                 });
               });
  return known ? done() : not_implemented();
}

// The average of gradients, and with `direct` the gradient itself, over the root of the average of squares.
struct AdamNumbers {
  double step_size, direct, beta1, beta2, root_correction, eps, weight_decay, keep, sign;

  AdamNumbers(double step_size, double lr, double beta1, double beta2, double eps, double weight_decay, double step,
              bool decoupled, bool maximize)
      : step_size(step_size),
        direct(0),
        beta1(beta1),
        beta2(beta2),
        root_correction(1 / std::sqrt(1 - std::pow(beta2, step))),
        eps(eps),
        weight_decay(decoupled ? 0 : weight_decay),
        keep(decoupled ? 1 - lr * weight_decay : 1),
        sign(maximize ? -1 : 1) {}
};

template <bool amsgrad, bool directly, class T>
void adam_piece(int64_t count, const T* __restrict g, T* __restrict p, T* __restrict m, T* __restrict v,
                T* __restrict largest, const AdamNumbers& numbers) {
  using C = Compute<T>;
  const C step_size = static_cast<C>(numbers.step_size), beta2 = static_cast<C>(numbers.beta2);
  const C direct = static_cast<C>(numbers.direct);
  const C rate1 = static_cast<C>(1 - numbers.beta1), rate2 = static_cast<C>(1 - numbers.beta2);
  const C root_correction = static_cast<C>(numbers.root_correction), eps = static_cast<C>(numbers.eps);
  const C weight_decay = static_cast<C>(numbers.weight_decay), keep = static_cast<C>(numbers.keep);
  const C sign = static_cast<C>(numbers.sign);
  for (int64_t i = 0; i < count; ++i) {
    C value = static_cast<C>(p[i]);
    C d = prepared(static_cast<C>(g[i]), value, sign, weight_decay);
    value *= keep;
    C first = lerp(static_cast<C>(m[i]), d, rate1);
    C second = beta2 * static_cast<C>(v[i]) + rate2 * d * d;
    m[i] = static_cast<T>(first);
    v[i] = static_cast<T>(second);
    if constexpr (amsgrad) {
      C before = static_cast<C>(largest[i]);
      second = before > second || before != before ? before : second;
      largest[i] = static_cast<T>(second);
    }
    const C move = directly ? direct * d + step_size * first : step_size * first;
    p[i] = static_cast<T>(value - move / (std::sqrt(second) * root_correction + eps));
  }
}

nb::object adam_steps(const List& parameters, const List& gradients, const List& averages, const List& squares,
                      const std::optional<List>& largest, const AdamNumbers& numbers) {
  Group group;
  bool usable = largest ? collect(gradients, {&parameters, &averages, &squares, &*largest}, group)
                        : collect(gradients, {&parameters, &averages, &squares}, group);
  if (!usable) return not_implemented();
  bool known = group.gradients.empty() || dispatch_floating(group.dtype, [&](auto tag) {
                 using T = decltype(tag);
                 Unlocked unlocked;
                 if (largest) {
                   for_pieces<T, 4>(group, [&](int64_t count, const T* g, T** p) {
                     adam_piece<true, false, T>(count, g, p[0], p[1], p[2], p[3], numbers);
                   });
                   return;
                 }
                 with_flag(numbers.direct != 0, [&](auto directly) {
                   for_pieces<T, 3>(group, [&](int64_t count, const T* g, T** p) {
                     adam_piece<false, decltype(directly)::value, T>(count, g, p[0], p[1], p[2], nullptr, numbers);
                   });
                 });
               });
  return known ? done() : not_implemented();
}

// Adam, and with `decoupled` AdamW. `step` counts from 1. `largest` is None but for amsgrad.
nb::object adam(const List& parameters, const List& gradients, const List& averages, const List& squares,
                const std::optional<List>& largest, double lr, double beta1, double beta2, double eps,
                double weight_decay, double step, bool decoupled, bool maximize) {
  const AdamNumbers numbers(lr / (1 - std::pow(beta1, step)), lr, beta1, beta2, eps, weight_decay, step, decoupled,
                            maximize);
  return adam_steps(parameters, gradients, averages, squares, largest, numbers);
}

// With part of the step that comes next: `mu` of this one and of that, `product` of all so far.
nb::object nadam(const List& parameters, const List& gradients, const List& averages, const List& squares, double lr,
                 double beta1, double beta2, double eps, double weight_decay, double step, double mu, double mu_next,
                 double product, bool decoupled, bool maximize) {
  AdamNumbers numbers(lr * mu_next / (1 - product * mu_next), lr, beta1, beta2, eps, weight_decay, step, decoupled,
                      maximize);
  numbers.direct = lr * (1 - mu) / (1 - product);
  return adam_steps(parameters, gradients, averages, squares, std::nullopt, numbers);
}

// The average alone until the variance of the adaptive rate can be told, then that rate, rectified.
nb::object radam(const List& parameters, const List& gradients, const List& averages, const List& squares, double lr,
                 double beta1, double beta2, double eps, double weight_decay, double step, bool decoupled,
                 bool maximize) {
  AdamNumbers numbers(lr / (1 - std::pow(beta1, step)), lr, beta1, beta2, eps, weight_decay, step, decoupled, maximize);
  const double power = std::pow(beta2, step), limit = 2 / (1 - beta2) - 1;
  const double length = limit - 2 * step * power / (1 - power);
  numbers.root_correction = 0;
  numbers.eps = 1;
  if (length > 5) {
    numbers.step_size *=
        std::sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length) * (1 - power));
    numbers.root_correction = 1;
    numbers.eps = eps;
  }
  return adam_steps(parameters, gradients, averages, squares, std::nullopt, numbers);
}

struct RMSpropNumbers {
  double lr, alpha, eps, weight_decay, momentum, sign;
};

template <bool centered, bool heavy, class T>
void rmsprop_piece(int64_t count, const T* __restrict g, T* __restrict p, T* __restrict squares, T* __restrict averages,
                   T* __restrict buffer, const RMSpropNumbers& numbers) {
  using C = Compute<T>;
  const C lr = static_cast<C>(numbers.lr), alpha = static_cast<C>(numbers.alpha);
  const C rate = static_cast<C>(1 - numbers.alpha), eps = static_cast<C>(numbers.eps);
  const C momentum = static_cast<C>(numbers.momentum), weight_decay = static_cast<C>(numbers.weight_decay);
  const C sign = static_cast<C>(numbers.sign);
  for (int64_t i = 0; i < count; ++i) {
    C value = static_cast<C>(p[i]);
    C d = prepared(static_cast<C>(g[i]), value, sign, weight_decay);
    C square = alpha * static_cast<C>(squares[i]) + rate * d * d;
    squares[i] = static_cast<T>(square);
    if constexpr (centered) {
      C average = lerp(static_cast<C>(averages[i]), d, rate);
      averages[i] = static_cast<T>(average);
      square -= average * average;
    }
    C spread = std::sqrt(square) + eps;
    if constexpr (heavy) {
      C velocity = momentum * static_cast<C>(buffer[i]) + d / spread;
      buffer[i] = static_cast<T>(velocity);
      p[i] = static_cast<T>(value - lr * velocity);
    } else {
      p[i] = static_cast<T>(value - lr * d / spread);
    }
  }
}

// `averages` is None but for the centered variant, `buffers` but for momentum.
nb::object rmsprop(const List& parameters, const List& gradients, const List& squares,
                   const std::optional<List>& averages, const std::optional<List>& buffers, double lr, double alpha,
                   double eps, double weight_decay, double momentum, bool maximize) {
  Group group;
  bool centered = averages.has_value(), heavy = buffers.has_value();
  // A state that isn't there is stood in for by one that is, and never touched.
  const List &second = centered ? *averages : squares, &third = heavy ? *buffers : squares;
  if (!collect(gradients, {&parameters, &squares, &second, &third}, group)) return not_implemented();
  RMSpropNumbers numbers{lr, alpha, eps, weight_decay, momentum, maximize ? -1.0 : 1.0};
  bool known = group.gradients.empty() || dispatch_floating(group.dtype, [&](auto tag) {
                 using T = decltype(tag);
                 Unlocked unlocked;
                 with_flag(centered, [&](auto center) {
                   with_flag(heavy, [&](auto velocity) {
                     constexpr bool c = decltype(center)::value, h = decltype(velocity)::value;
                     for_pieces<T, 4>(group, [&](int64_t count, const T* g, T** p) {
                       rmsprop_piece<c, h, T>(count, g, p[0], p[1], c ? p[2] : nullptr, h ? p[3] : nullptr, numbers);
                     });
                   });
                 });
               });
  return known ? done() : not_implemented();
}

template <class T>
void adagrad_piece(int64_t count, const T* __restrict g, T* __restrict p, T* __restrict sums, double lr, double eps,
                   double weight_decay, double sign) {
  using C = Compute<T>;
  for (int64_t i = 0; i < count; ++i) {
    C value = static_cast<C>(p[i]);
    C d = prepared(static_cast<C>(g[i]), value, static_cast<C>(sign), static_cast<C>(weight_decay));
    C sum = static_cast<C>(sums[i]) + d * d;
    sums[i] = static_cast<T>(sum);
    p[i] = static_cast<T>(value - static_cast<C>(lr) * d / (std::sqrt(sum) + static_cast<C>(eps)));
  }
}

nb::object adagrad(const List& parameters, const List& gradients, const List& sums, double lr, double lr_decay,
                   double eps, double weight_decay, double step, bool maximize) {
  Group group;
  if (!collect(gradients, {&parameters, &sums}, group)) return not_implemented();
  double rate = lr / (1 + (step - 1) * lr_decay), sign = maximize ? -1 : 1;
  bool known = group.gradients.empty() || dispatch_floating(group.dtype, [&](auto tag) {
                 using T = decltype(tag);
                 Unlocked unlocked;
                 for_pieces<T, 2>(group, [&](int64_t count, const T* g, T** p) {
                   adagrad_piece<T>(count, g, p[0], p[1], rate, eps, weight_decay, sign);
                 });
               });
  return known ? done() : not_implemented();
}

template <class T>
double count_step(const List& steps) {
  std::vector<T*> counts;
  for (nb::handle item : steps) {
    Array step = borrow(item);
    if (step.dtype != dtype_of<T>() || step.dimensions != 0 || !step.writeable) return -1;
    counts.push_back(step.as<T>());
    if (*counts.back() != *counts.front()) return -1;
  }
  for (T* count : counts) *count += 1;
  return static_cast<double>(*counts.front());
}

}  // namespace

void bind_update(nb::module_& module) {
  module.def(
      "count_step",
      [](const List& steps) {
        if (steps.empty()) return -1.0;
        bool is_double = borrow(steps.front()).dtype == DType::float64;
        return is_double ? count_step<double>(steps) : count_step<float>(steps);
      },
      nb::arg("steps"),
      "Adds 1 to step counts, which are 0-d arrays, all float32 or all float64, and equal; returns what they are now. "
      "Where they aren't such, nothing is done, and -1 returned.");
  define_kernel(module, "sgd_update", &sgd, nb::arg("parameters"), nb::arg("gradients"), nb::arg("buffers").none(),
                nb::arg("lr"), nb::arg("momentum"), nb::arg("dampening"), nb::arg("weight_decay"), nb::arg("nesterov"),
                nb::arg("maximize"), nb::arg("first"));
  define_kernel(module, "adam_update", &adam, nb::arg("parameters"), nb::arg("gradients"), nb::arg("averages"),
                nb::arg("squares"), nb::arg("largest").none(), nb::arg("lr"), nb::arg("beta1"), nb::arg("beta2"),
                nb::arg("eps"), nb::arg("weight_decay"), nb::arg("step"), nb::arg("decoupled"), nb::arg("maximize"));
  define_kernel(module, "nadam_update", &nadam, nb::arg("parameters"), nb::arg("gradients"), nb::arg("averages"),
                nb::arg("squares"), nb::arg("lr"), nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"),
                nb::arg("weight_decay"), nb::arg("step"), nb::arg("mu"), nb::arg("mu_next"), nb::arg("product"),
                nb::arg("decoupled"), nb::arg("maximize"));
  define_kernel(module, "radam_update", &radam, nb::arg("parameters"), nb::arg("gradients"), nb::arg("averages"),
                nb::arg("squares"), nb::arg("lr"), nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"),
                nb::arg("weight_decay"), nb::arg("step"), nb::arg("decoupled"), nb::arg("maximize"));
  define_kernel(module, "rmsprop_update", &rmsprop, nb::arg("parameters"), nb::arg("gradients"), nb::arg("squares"),
                nb::arg("averages").none(), nb::arg("buffers").none(), nb::arg("lr"), nb::arg("alpha"), nb::arg("eps"),
                nb::arg("weight_decay"), nb::arg("momentum"), nb::arg("maximize"));
  define_kernel(module, "adagrad_update", &adagrad, nb::arg("parameters"), nb::arg("gradients"), nb::arg("sums"),
                nb::arg("lr"), nb::arg("lr_decay"), nb::arg("eps"), nb::arg("weight_decay"), nb::arg("step"),
                nb::arg("maximize"));
}

}  // namespace rushlight
