#include <cmath>
#include <limits>

#include "opcode_kernels.h"
#include "vector_math.h"

namespace rushlight {

namespace {

// Python's and NumPy's division with the sign of the divisor.
template <class T>
T remainder(T a, T b) {
  T rest = std::fmod(a, b);
  if (rest != 0) return (b < 0) != (rest < 0) ? rest + b : rest;
  return b == b && b != 0 && !std::isinf(a) ? std::copysign(T(0), b) : rest;
}
template <class T>
T floor_divide(T a, T b) {
  if (b == 0) return a / b;
  T rest = std::fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(T(0), a / b);
  T whole = std::floor(quotient);
  return quotient - whole > T(0.5) ? whole + 1 : whole;
}

template <class T>
Kernel kernel_of(Opcode opcode) {
  using V = Vec<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  switch (opcode) {
    case Opcode::add: return binary<T>([](V a, V b) -> V { return a + b; });
    case Opcode::subtract: return binary<T>([](V a, V b) -> V { return a - b; });
    case Opcode::multiply: return binary<T>([](V a, V b) -> V { return a * b; });
    case Opcode::divide: return binary<T>([](V a, V b) -> V { return a / b; });
    case Opcode::negative: return unary<T>([](V a) -> V { return -a; });
    case Opcode::absolute: return unary<T>([](V a) { return absolute(a); });
    case Opcode::sign: return unary<T>([](V a) { return select(a != a, a, V(truth<T>(a > 0) - truth<T>(a < 0))); });
    case Opcode::square: return unary<T>([](V a) -> V { return a * a; });
    case Opcode::cube: return unary<T>([](V a) -> V { return a * a * a; });
    case Opcode::reciprocal: return unary<T>([](V a) -> V { return 1 / a; });
    case Opcode::reciprocal_sqrt: return unary<T>([](V a) -> V { return 1 / sqrt(a); });
    case Opcode::sqrt: return unary<T>([](V a) { return sqrt(a); });
    case Opcode::exp: return unary<T>([](V a) { return exp(a); });
    case Opcode::exp2: return unary<T>([](V a) { return exp2(a); });
    case Opcode::expm1: return unary<T>([](V a) { return expm1(a); });
    case Opcode::log: return unary<T>([](V a) { return log(a); });
    case Opcode::log2: return unary<T>([](V a) { return log2(a); });
    case Opcode::log10: return unary<T>([](V a) { return log10(a); });
    case Opcode::log1p: return unary<T>([](V a) { return log1p(a); });
    case Opcode::sin: return unary<T>([](V a) { return sin(a); });
    case Opcode::cos: return unary<T>([](V a) { return cos(a); });
    case Opcode::tan: return unary<T>([](V a) { return tan(a); });
    case Opcode::tanh: return unary<T>([](V a) { return tanh(a); });
    case Opcode::sigmoid: return unary<T>([](V a) { return sigmoid(a); });
    case Opcode::erf: return unary<T>([](V a) { return erf(a); });
    case Opcode::normal_cdf: return unary<T>([](V a) { return normal_cdf(a); });
    case Opcode::power: return binary<T>([](V a, V b) { return power(a, b); });
    case Opcode::floor: return unary<T>([](V a) { return floor(a); });
    case Opcode::ceil: return unary<T>([](V a) { return ceil(a); });
    case Opcode::trunc: return unary<T>([](V a) { return trunc(a); });
    case Opcode::rint: return unary<T>([](V a) { return rint(a); });
    case Opcode::copysign: return binary<T>([](V a, V b) { return copysign(a, b); });
    case Opcode::isnan: return unary<T>([](V a) { return truth<T>(a != a); });
    case Opcode::isinf: return unary<T>([](V a) { return truth<T>(absolute(a) == infinity); });
    case Opcode::isfinite: return unary<T>([](V a) { return truth<T>(absolute(a) < infinity); });
    case Opcode::sinh: return unary<T>([](V a) { return sinh(a); });
    case Opcode::cosh: return unary<T>([](V a) { return cosh(a); });
    case Opcode::arcsin: return scalar_unary<T>([](T a) { return std::asin(a); });
    case Opcode::arccos: return scalar_unary<T>([](T a) { return std::acos(a); });
    case Opcode::arctan: return unary<T>([](V a) { return atan(a); });
    case Opcode::arcsinh: return unary<T>([](V a) { return asinh(a); });
    case Opcode::arccosh: return unary<T>([](V a) { return acosh(a); });
    case Opcode::arctanh: return unary<T>([](V a) { return atanh(a); });
    case Opcode::arctan2: return scalar_binary<T>([](T a, T b) { return std::atan2(a, b); });
    case Opcode::hypot: return scalar_binary<T>([](T a, T b) { return std::hypot(a, b); });
    case Opcode::fmod: return scalar_binary<T>([](T a, T b) { return std::fmod(a, b); });
    case Opcode::remainder: return scalar_binary<T>([](T a, T b) { return remainder(a, b); });
    case Opcode::floor_divide: return scalar_binary<T>([](T a, T b) { return floor_divide(a, b); });
    case Opcode::erfc: return scalar_unary<T>([](T a) { return std::erfc(a); });
    case Opcode::erfinv: return scalar_unary<T>([](T a) { return inverse_erf(static_cast<double>(a)); });
    case Opcode::lgamma: return scalar_unary<T>([](T a) { return log_gamma(static_cast<double>(a)); });
    case Opcode::digamma: return scalar_unary<T>([](T a) { return digamma(static_cast<double>(a)); });
    default: return common_kernel<T>(opcode);
  }
}

}  // namespace

Kernel float_kernel(Opcode opcode, DType dtype) {
  return dtype == DType::float32 ? kernel_of<float>(opcode) : kernel_of<double>(opcode);
}

double log_gamma(double x) {
#if defined(__GLIBC__) || defined(__APPLE__)
  int sign;  // std::lgamma writes it to a global
  return lgamma_r(x, &sign);
#else
  return std::lgamma(x);
#endif
}

double digamma(double x) {
  constexpr double pi = 3.14159265358979323846;
  if (x == 0) return std::copysign(std::numeric_limits<double>::infinity(), -x);
  double result = 0;
  if (x < 0) {
    if (x == std::floor(x)) return std::numeric_limits<double>::quiet_NaN();
    result = -pi / std::tan(pi * (x - std::floor(x)));  // reflection
    x = 1 - x;
  }
  for (; x < 10; x += 1) result -= 1 / x;
  double z = 1 / (x * x);
  double tail = z * (1. / 12 - z * (1. / 120 - z * (1. / 252 - z * (1. / 240 - z * (1. / 132 - z * 691. / 32760)))));
  return result + std::log(x) - 0.5 / x - tail;
}

double inverse_erf(double x) {
  double magnitude = std::fabs(x);
  if (!(magnitude < 1)) {
    return magnitude == 1 ? std::copysign(std::numeric_limits<double>::infinity(), x)
                          : std::numeric_limits<double>::quiet_NaN();
  }
  if (x == 0) return x;
  // S. Winitzki's closed form (2008), then Halley's steps on erfc, which keeps its digits near 1.
  double logarithm = std::log1p(-x * x);
  double a = 4.33074675 + 0.5 * logarithm;  // 2 / (0.147 pi)
  double y = std::sqrt(std::sqrt(a * a - logarithm / 0.147) - a);
  for (int i = 0; i < 3; ++i) {
    double error = magnitude < 0.5 ? std::erf(y) - magnitude : (1 - magnitude) - std::erfc(y);
    double step = error / (1.12837916709551257390 * std::exp(-y * y));
    y -= step / (1 + y * step);
  }
  return std::copysign(y, x);
}

}  // namespace rushlight
