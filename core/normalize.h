// What batch, group, instance, layer and RMS normalisation share: moments of a set of items in one stable sweep, runs
// of items with one mean and scale, and the arrays that kernels take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "instruction.h"
#include "lanes.h"

namespace rushlight {

constexpr int64_t work_grain = 1 << 14;  // items of a block of work, roughly

inline int64_t blocks_of(int64_t size) { return work_grain / std::max<int64_t>(1, size); }

// Mean and sum of squared deviations of `count` items. Parts are merged as in Chan, Golub and LeVeque, "Updating
// formulae and a pairwise algorithm for computing sample variances" (1979).
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void merge(const Moments& other) {
    if (other.count == 0) return;
    double both = count + other.count, delta = other.mean - mean;
    mean += delta * other.count / both;
    squares += other.squares + delta * delta * count * other.count / both;
    count = both;
  }
  double variance() const { return squares / count; }
};

// Two passes over each block while it is in the first-level cache, so memory is read once.
template <class T>
void add_moments(Moments& moments, const T* x, int64_t count) {
  using C = Compute<T>;
  constexpr int64_t block = 2048;
  for (int64_t start = 0; start < count; start += block) {
    const T* items = x + start;
    int64_t length = std::min(block, count - start);
    C mean = total(items, length) / static_cast<C>(length);
    C squares = sum_of<C>(length, [mean](auto value) { return (value - mean) * (value - mean); }, items);
    moments.merge({static_cast<double>(length), static_cast<double>(mean), static_cast<double>(squares)});
  }
}

template <class T>
double mean_square(const T* x, int64_t count) {
  using C = Compute<T>;
  constexpr int64_t block = 2048;
  double sum = 0;
  for (int64_t start = 0; start < count; start += block) {
    sum += static_cast<double>(
        sum_of<C>(std::min(block, count - start), [](auto value) { return value * value; }, x + start));
  }
  return sum / static_cast<double>(count);
}

// y = (x - mean) * scale + shift, with one scale and shift for all items; finish(number, i) is what is stored of it.
template <class T, class C, class Finish>
void normalize_run(const T* __restrict x, T* __restrict y, int64_t count, C mean, C scale, C shift, Finish&& finish) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<T>(finish((static_cast<C>(x[i]) - mean) * scale + shift, i));
}
struct Unchanged {
  template <class C>
  C operator()(C value, int64_t) const {
    return value;
  }
};

// The sums that every gradient needs: of g, and of g * (x - mean).
struct GradientSums {
  double sum = 0, product = 0;
};

template <class T, class C>
void gradient_sums(const T* g, const T* x, int64_t count, C mean, double& sum, double& product) {
  constexpr int64_t block = 4096;
  for (int64_t start = 0; start < count; start += block) {
    C parts[2] = {};
    sums_of(
        std::min(block, count - start), parts,
        [mean](auto& sums, auto gradient, auto value) {
          sums[0] += gradient;
          sums[1] += gradient * (value - mean);
        },
        g + start, x + start);
    sum += static_cast<double>(parts[0]);
    product += static_cast<double>(parts[1]);
  }
}

// gx = g * scale - (x - mean) * slope - shift; gx may be g
template <class T, class C>
void gradient_run(const T* g, const T* x, T* gx, int64_t count, C mean, C scale, C slope, C shift) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    gx[i] = static_cast<T>(static_cast<C>(g[i]) * scale - (static_cast<C>(x[i]) - mean) * slope - shift);
  }
}

template <class C>
inline C inverse_deviation(C variance, double eps) {
  return static_cast<C>(1 / std::sqrt(static_cast<double>(variance) + eps));
}

// (samples, channels, ...), the rest of the dimensions being one run of `length`.
struct Channels {
  int64_t samples, channels, length;

  int64_t items() const { return samples * length; }
};

inline bool channels_of(const Array& x, Channels& shape) {
  if (x.dimensions < 2) return false;
  shape = {x.shape[0], x.shape[1], 1};
  for (int i = 2; i < x.dimensions; ++i) shape.length *= x.shape[i];
  return true;
}

// A weight or bias (or None, for `otherwise` everywhere) as numbers to compute with.
template <class T>
std::vector<Compute<T>> load(const WorkArray& values, int64_t count, double otherwise) {
  std::vector<Compute<T>> loaded(static_cast<size_t>(count), static_cast<Compute<T>>(otherwise));
  if (values) std::copy_n(values.array.as<T>(), count, loaded.begin());
  return loaded;
}

// Takes an optional array; false where it has another dtype or size than the kernel is written for.
inline bool take(nb::handle given, DType dtype, int64_t count, WorkArray& taken) {
  if (given.is_none()) return true;
  taken = contiguous(given);
  return taken.array.dtype == dtype && taken.array.size() == count;
}

inline bool same_form(const Array& a, const Array& b) {
  return a.dtype == b.dtype && std::ranges::equal(shape_of(a), shape_of(b));
}

}  // namespace rushlight
