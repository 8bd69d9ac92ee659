// Random numbers drawn by rejection, number for number those of PyTorch's CPU generator: gamma (Marsaglia and Tsang
// 2000), Poisson and binomial (Hoermann 1993), the latter two by inversion (Devroye 1986) where few are expected.
#include <nanobind/stl/optional.h>

#include <cmath>
#include <iterator>
#include <optional>

#include "mersenne_twister.h"

namespace rushlight {

namespace {

// Standard normal numbers, by Box and Muller: the second of a pair waits for the next call.
struct NormalPairs {
  MersenneTwister& engine;
  std::optional<double> waiting;

  double next() {
    if (waiting) {
      double value = *waiting;
      waiting.reset();
      return value;
    }
    double angle = 6.283185307179586 * engine.uniform();
    double radius = std::sqrt(-2.0 * std::log1p(-engine.uniform()));
    waiting = radius * std::sin(angle);
    return radius * std::cos(angle);
  }
};

// PyTorch's constants are of single precision, and so are ours: they decide what is accepted.
double gamma(double shape, NormalPairs& normal) {
  MersenneTwister& engine = normal.engine;
  double scale = 1;
  if (shape < 1) {
    if (shape == 0) return 0;
    scale = std::pow(1 - engine.uniform(), 1 / shape);
    shape += 1;
  }
  const double d = shape - static_cast<double>(1.0f / 3.0f);
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    double x, y;
    do {
      x = normal.next();
      y = 1 + c * x;
    } while (y <= 0);
    double v = y * y * y;
    double u = 1 - engine.uniform();
    double square = x * x;
    if (u < 1 - static_cast<double>(0.0331f) * square * square) return scale * d * v;
    if (std::log(u) < 0.5 * square + d * (1 - v + std::log(v))) return scale * d * v;
  }
}

double poisson(double rate, MersenneTwister& engine) {
  if (rate == 0) return 0;
  if (rate < 10) {  // a product of uniform numbers, until it falls under exp(-rate)
    double bound = std::exp(-rate), product = 1, count = 0;
    while ((product *= engine.uniform()) > bound) ++count;
    return count;
  }
  const double root = std::sqrt(rate), logarithm = std::log(rate);
  const double b = 0.931 + 2.53 * root;
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double accepted = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    double u = engine.uniform() - 0.5;
    double v = engine.uniform();
    double distance = 0.5 - std::fabs(u);
    double k = std::floor((2 * a / distance + b) * u + rate + 0.43);
    if (distance >= 0.07 && v <= accepted) return k;
    if (k < 0 || (distance < 0.013 && v > distance)) continue;
    double ratio = std::log(v) + std::log(inverse_alpha) - std::log(a / (distance * distance) + b);
    if (ratio <= -rate + k * logarithm - std::lgamma(k + 1)) return k;
  }
}

// What Stirling's approximation of log k! leaves.
double stirling_tail(double k) {
  static const double first[] = {0.0810614667953272,  0.0413406959554092, 0.0276779256849983, 0.02079067210376509,
                                 0.0166446911898211,  0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
                                 0.00925546218271273, 0.00833056343336287};
  if (k < std::size(first)) return first[static_cast<int>(k)];
  double square = (k + 1) * (k + 1);
  return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1);
}

// Successes of a probability up to one half: waiting times are summed where few are expected.
template <class T>
T successes(T count, T probability, MersenneTwister& engine) {
  if (!(count * probability >= 10)) {
    double logarithm = std::log1p(-probability), sum = 0;
    T found = 0;
    while (true) {
      sum += std::ceil(std::log(engine.uniform()) / logarithm);
      if (sum > count) return found;
      found += 1;
    }
  }
  const double deviation = std::sqrt(count * probability * (1 - probability));
  const double b = 1.15 + 2.53 * deviation;
  const double a = -0.0873 + 0.0248 * b + 0.01 * probability;
  const double center = count * probability + 0.5;
  const double accepted = 0.92 - 4.2 / b;
  const double odds = probability / (1 - probability);
  const double alpha = (2.83 + 5.1 / b) * deviation;
  const double m = std::floor((count + 1) * probability);
  while (true) {
    double u = engine.uniform() - 0.5;
    double v = engine.uniform();
    double distance = 0.5 - std::fabs(u);
    T k = static_cast<T>(std::floor((2 * a / distance + b) * u + center));
    if (k < 0 || k > count) continue;
    if (distance >= 0.07 && v <= accepted) return k;
    double ratio = std::log(v * alpha / (a / (distance * distance) + b));
    double bound = (m + 0.5) * std::log((m + 1) / (odds * (count - m + 1))) +
                   (count + 1) * std::log((count - m + 1) / (count - k + 1)) +
                   (k + 0.5) * std::log(odds * (count - k + 1) / (k + 1)) + stirling_tail(m) +
                   stirling_tail(count - m) - stirling_tail(k) - stirling_tail(count - k);
    if (ratio <= bound) return k;
  }
}

template <class T>
T binomial(T count, T probability, MersenneTwister& engine) {
  if (count <= 0 || probability <= 0) return 0;
  if (probability >= 1) return count;
  if (probability <= T(0.5)) return successes(count, probability, engine);
  return count - successes(count, T(1) - probability, engine);
}

Array parameters(nb::handle values) {
  Array array = borrow(values);
  if (!array.writeable || !array.contiguous() || (array.dtype != DType::float32 && array.dtype != DType::float64))
    throw nb::type_error("rushlight core: parameters are writeable, contiguous float32 or float64 arrays");
  return array;
}

Array doubles(nb::handle values) {
  Array array = parameters(values);
  if (array.dtype != DType::float64) throw nb::type_error("rushlight core: parameters are float64 arrays");
  return array;
}

template <class T>
void draw_binomial(const Array& counts, const Array& probabilities, MersenneTwister& engine) {
  T* count = counts.as<T>();
  const T* probability = probabilities.as<T>();
  for (int64_t i = 0; i < counts.size(); ++i) count[i] = binomial(count[i], probability[i], engine);
}

}  // namespace

void bind_rejection(nb::class_<MersenneTwister>& engine_class) {
  engine_class
      .def(
          "gamma",
          [](MersenneTwister& engine, nb::handle shapes, std::optional<double> waiting) {
            Array array = doubles(shapes);
            NormalPairs normal{engine, waiting};
            with_engine(engine, [&](MersenneTwister&) {
              double* values = array.as<double>();
              for (int64_t i = 0; i < array.size(); ++i) values[i] = gamma(values[i], normal);
            });
            return normal.waiting;
          },
          nb::arg("shapes"), nb::arg("waiting").none(),
          "Overwrites shapes (float64) with gamma numbers. `waiting` is half of a pair of normal numbers, or None, and "
          "so is what returns.")
      .def(
          "poisson",
          [](MersenneTwister& engine, nb::handle rates) {
            Array array = doubles(rates);
            with_engine(engine, [=](MersenneTwister& e) {
              double* values = array.as<double>();
              for (int64_t i = 0; i < array.size(); ++i) values[i] = poisson(values[i], e);
            });
          },
          nb::arg("rates"), "Overwrites rates (float64) with counts of Poisson's distribution.")
      .def(
          "binomial",
          [](MersenneTwister& engine, nb::handle counts, nb::handle probabilities) {
            Array n = parameters(counts), p = parameters(probabilities);
            if (n.dtype != p.dtype || n.size() != p.size())
              throw nb::type_error("rushlight core: counts and probabilities have one dtype and size");
            with_engine(engine, [=](MersenneTwister& e) {
              n.dtype == DType::float32 ? draw_binomial<float>(n, p, e) : draw_binomial<double>(n, p, e);
            });
          },
          nb::arg("counts"), nb::arg("probabilities"), "Overwrites counts with the numbers of successes.");
}

}  // namespace rushlight
