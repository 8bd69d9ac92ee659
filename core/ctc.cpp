// Connectionist temporal classification (Graves et al., 2006): label sequences along all their alignments with steps.
// Logarithms of probabilities, added up by vectors of places: labels with blanks before, between and behind them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"
#include "vector_math.h"

namespace rushlight {

namespace {

constexpr double never = -std::numeric_limits<double>::infinity();
constexpr int64_t around = 2;  // places before and behind a row that are never reached: steps go up to two places on

// Of the largest and two others: 1 + exp(other - largest) + ..., whose logarithm needs no care at the edges.
inline Vec<double> log_sum(Vec<double> a, Vec<double> b, Vec<double> c) {
  Vec<double> high = select(a > b, a, b), low = select(a > b, b, a);
  Vec<double> largest = select(high > c, high, c), middle = select(high > c, c, high);
  Vec<double> finite = select(largest == never, 0.0, largest);
  Vec<double> exponent,
      sum = exp_of_weight(Vec<double>(middle - finite)) + exp_of_weight(Vec<double>(low - finite)) + 1;
  Vec<double> fraction = split_exponent(sum, exponent);
  return fma(exponent, broadcast(0x1.62e42fefa39efp-1), log1p_reduced(fraction)) + largest + (sum - sum);  // NaN stays
}

double log_sum(double a, double b) {
  double largest = std::max(a, b);
  return largest == never ? never : largest + std::log(std::exp(a - largest) + std::exp(b - largest));
}

// Row-major: log_probs (steps, batch, classes), targets (batch, longest).
template <class T>
struct Batch {
  const T* log_probs;
  const int64_t *targets, *input_lengths, *target_lengths;
  int64_t steps, batch, classes, longest, blank;
};

// One sequence of a batch: its labels, and rows of a number for each place.
template <class T>
class Sequence {
 public:
  Sequence(const Batch<T>& all, int64_t number, int64_t rows)
      : all_(all),
        number_(number),
        steps_(all.input_lengths[number]),
        labels_(all.target_lengths[number]),
        width_((2 * labels_ + lanes<double>) / lanes<double> * lanes<double>),
        stride_(width_ + 2 * around),
        rows_(rows),
        memory_((rows + 4) * stride_) {
    std::fill_n(memory_.get(), (rows + 4) * stride_, never);
    for (int64_t i = 1; i < labels_; ++i)
      skips()[2 * i + 1] = label(i) != label(i - 1) && label(i) != all.blank ? 0 : never;
  }

  int64_t steps() const { return steps_; }
  int64_t places() const { return 2 * labels_ + 1; }
  int64_t label(int64_t i) const { return all_.targets[number_ * all_.longest + i]; }
  // Log probabilities of all beginnings of paths that are at a place after step t.
  double* reached(int64_t t) { return row(t % rows_); }

  void arrive() {
    for (int64_t t = 0; t < steps_; ++t) {
      emit(t);
      double* now = reached(t);
      if (t == 0) {
        std::copy_n(emitted(), std::min<int64_t>(2, places()), now);
        continue;
      }
      const double* before = reached(t - 1);
      for (int64_t s = 0; s < width_; s += lanes<double>) {
        store(now + s, Vec<double>(log_sum(load(before + s), load(before + s - 1),
                                           Vec<double>(load(before + s - 2) + load(skips() + s))) +
                                   load(emitted() + s)));
      }
    }
  }

  double total() {
    if (steps_ == 0) return labels_ == 0 ? 0 : never;  // no step at all makes only the empty sequence
    const double* last = reached(steps_ - 1) + 2 * labels_;
    return log_sum(last[0], labels_ > 0 ? last[-1] : never);
  }

  // visit(t, left) from the last step to the first; `left` are the log probabilities of all ends of paths from a place
  // on, without the step that is there.
  template <class Visit>
  void depart(Visit&& visit) {
    double *left = row(rows_), *onward = row(rows_ + 1);
    left[2 * labels_] = 0;
    if (labels_ > 0) left[2 * labels_ - 1] = 0;
    for (int64_t t = steps_ - 1; t >= 0; --t) {
      visit(t, left);
      emit(t);
      for (int64_t s = 0; s < width_; s += lanes<double>) {
        store(onward + s, Vec<double>(load(left + s) + load(emitted() + s)));
      }
      for (int64_t s = 0; s < width_; s += lanes<double>) {
        store(left + s, log_sum(load(onward + s), load(onward + s + 1),
                                Vec<double>(load(onward + s + 2) + load(skips() + s + 2))));
      }
    }
  }

 private:
  double* row(int64_t number) { return memory_.get() + number * stride_ + around; }
  double* emitted() { return row(rows_ + 2); }
  double* skips() { return row(rows_ + 3); }  // 0 where a place is reached from two before it

  void emit(int64_t t) {
    const T* from = all_.log_probs + (t * all_.batch + number_) * all_.classes;
    double* to = emitted();
    const double blank = static_cast<double>(from[all_.blank]);
    to[0] = blank;
    for (int64_t i = 0; i < labels_; ++i) {
      to[2 * i + 1] = static_cast<double>(from[label(i)]);
      to[2 * i + 2] = blank;
    }
  }

  const Batch<T>& all_;
  int64_t number_, steps_, labels_, width_, stride_, rows_;
  Scratch<double> memory_;
};

void check(const int64_t* values, int64_t count, int64_t high, const char* what) {
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] < 0 || values[i] > high) throw nb::index_error(what);
  }
}

// body(Batch<T>) where there is code for the arrays; raises where they would be read out of bounds.
template <class Body>
nb::object with_batch(nb::handle log_probs, nb::handle targets, nb::handle input_lengths, nb::handle target_lengths,
                      int64_t blank, Body&& body) {
  WorkArray probs = contiguous(log_probs), labels = contiguous(targets), inputs = contiguous(input_lengths),
            lengths = contiguous(target_lengths);
  for (const WorkArray* integers : {&labels, &inputs, &lengths}) {
    if (integers->array.dtype != DType::int64) return not_implemented();
  }
  const Array& p = probs.array;
  if (p.dimensions != 3 || labels.array.dimensions != 2 || labels.array.shape[0] != p.shape[1] ||
      inputs.array.size() != p.shape[1] || lengths.array.size() != p.shape[1] || blank < 0 || blank >= p.shape[2]) {
    return not_implemented();
  }
  check(labels.array.as<int64_t>(), labels.array.size(), p.shape[2] - 1, "a label is out of range");
  check(inputs.array.as<int64_t>(), p.shape[1], p.shape[0], "a length of inputs is out of range");
  check(lengths.array.as<int64_t>(), p.shape[1], labels.array.shape[1], "a length of targets is out of range");
  nb::object found;
  bool known = dispatch_wide(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    found =
        body(Batch<T>{p.as<T>(), labels.array.as<int64_t>(), inputs.array.as<int64_t>(), lengths.array.as<int64_t>(),
                      p.shape[0], p.shape[1], p.shape[2], labels.array.shape[1], blank},
             p.dtype);
  });
  return known ? found : not_implemented();
}

// Sequences that one block of work has: few places are done sooner than a thread wakes.
template <class T>
int64_t sequences_at_once(const Batch<T>& all) {
  return std::max<int64_t>(1, 2048 / std::max<int64_t>(1, all.steps * (2 * all.longest + 1)));
}

nb::object ctc_losses(nb::handle log_probs, nb::handle targets, nb::handle input_lengths, nb::handle target_lengths,
                      int64_t blank) {
  return with_batch(log_probs, targets, input_lengths, target_lengths, blank, [](const auto& all, DType dtype) {
    using T = std::remove_cvref_t<decltype(*all.log_probs)>;
    NewArray losses = result(dtype, {all.batch});
    T* to = losses.array.template as<T>();
    Unlocked unlocked;
    parallel_for(all.batch, sequences_at_once(all), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        Sequence<T> sequence(all, n, 2);
        sequence.arrive();
        to[n] = static_cast<T>(-sequence.total());
      }
    });
    return losses.object;
  });
}

// To the sums of how probable the places of each label are at each step, given that the sequence comes out.
template <class T>
void add_posteriors(const Batch<T>& all, int64_t n, T* to) {
  Sequence<T> sequence(all, n, std::max<int64_t>(1, all.input_lengths[n]));
  sequence.arrive();
  const double total = sequence.total();
  const int64_t step = all.batch * all.classes, places = sequence.places();
  for (int64_t t = 0; t < all.steps; ++t) std::fill_n(to + t * step + n * all.classes, all.classes, T(0));
  if (!std::isfinite(total)) return;
  Scratch<double> sums(all.classes);
  std::fill_n(sums.get(), all.classes, 0.0);
  sequence.depart([&](int64_t t, const double* left) {
    double* paths = sequence.reached(t);
    for (int64_t s = 0; s < places; s += lanes<double>) {
      store(paths + s, exp(Vec<double>(load(paths + s) + load(left + s) - total)));
    }
    T* row = to + t * step + n * all.classes;
    for (int64_t s = 0; s < places; s += 2) sums[all.blank] += paths[s];
    for (int64_t i = 0; 2 * i + 1 < places; ++i) sums[sequence.label(i)] += paths[2 * i + 1];
    auto finish = [&](int64_t label) {
      if (sums[label] != 0) row[label] = static_cast<T>(sums[label]);
      sums[label] = 0;
    };
    finish(all.blank);
    for (int64_t i = 0; 2 * i + 1 < places; ++i) finish(sequence.label(i));
  });
}

nb::object ctc_posteriors(nb::handle log_probs, nb::handle targets, nb::handle input_lengths, nb::handle target_lengths,
                          int64_t blank) {
  return with_batch(log_probs, targets, input_lengths, target_lengths, blank, [](const auto& all, DType dtype) {
    using T = std::remove_cvref_t<decltype(*all.log_probs)>;
    NewArray posteriors = result(dtype, {all.steps, all.batch, all.classes});
    T* to = posteriors.array.template as<T>();
    Unlocked unlocked;
    parallel_for(all.batch, sequences_at_once(all), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) add_posteriors(all, n, to);
    });
    return posteriors.object;
  });
}

}  // namespace

void bind_ctc(nb::module_& module) {
  define_kernel(module, "ctc_losses", &ctc_losses, nb::arg("log_probs"), nb::arg("targets"), nb::arg("input_lengths"),
                nb::arg("target_lengths"), nb::arg("blank") = 0);
  define_kernel(module, "ctc_posteriors", &ctc_posteriors, nb::arg("log_probs"), nb::arg("targets"),
                nb::arg("input_lengths"), nb::arg("target_lengths"), nb::arg("blank") = 0);
}

}  // namespace rushlight
