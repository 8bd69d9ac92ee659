// exp, log, tanh, erf, sin ... over whole vectors, right at infinities, NaN, denormals and large arguments. Errors are
// a few units in the last place. The polynomials were fitted at Chebyshev nodes in 60-digit arithmetic; argument
// reductions are Cody and Waite's ("Software Manual for the Elementary Functions", 1980).
#pragma once

#include <cmath>

#include "simd.h"

namespace rushlight {

// 2^n for a vector of whole numbers in the exponent range of normal numbers.
template <class V>
inline V power_of_two(V n) {
  using T = Lane<V>;
  constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  constexpr T bias = std::numeric_limits<T>::max_exponent - 1;
  // Adding 1.5 * 2^mantissa puts the integer into the low bits.
  V shifted = (n + bias) + T(3) * T(int64_t{1} << (mantissa - 1));
  return reinterpret<V>(reinterpret<Bits<T>>(shifted) << mantissa);
}

// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
template <class V>
inline V exp_tail(V r) {
  if constexpr (sizeof(Lane<V>) == 4) {
    return polynomial(r, 0.5, 0.166665766661, 0.041666554213, 0.00836323288368, 0.00139262508315);
  } else {
    return polynomial(r, 0.50000000000000010314, 0.1666666666666666746, 0.041666666666623820532,
                      0.0083333333333300381973, 0.0013888888917367080562, 0.00019841269863171556026,
                      2.4801521057868205199e-5, 2.7557268276905696187e-6, 2.7620201591031548778e-7,
                      2.5100472505694995992e-8);
  }
}

// x = n ln(2) + r
template <class V>
inline V reduce_by_ln2(V x, V& n) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  constexpr T high = single ? T(0.693359375) : T(0x1.62e42feep-1);  // few bits, so that n * high is exact
  constexpr T low = single ? T(-2.1219444005469058e-4) : T(1.9082149292705878e-10);
  n = rint(V(x * T(1.44269504088896340736)));
  return fma(n, broadcast<T>(-low), V(fma(n, broadcast<T>(-high), x)));
}

// value * 2^n, also where that is denormal or infinite, for a whole n within twice the exponents of normal numbers.
template <class V>
inline V scale_by_power(V value, V n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Lane<V>) == 4) return (V)_mm512_scalef_ps((__m512)value, (__m512)n);
  if constexpr (sizeof(Lane<V>) == 8) return (V)_mm512_scalef_pd((__m512d)value, (__m512d)n);
#else
  V half = rint(V(n * Lane<V>(0.5)));
  return value * power_of_two(half) * power_of_two(V(n - half));
#endif
}

template <class V>
inline V exp(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  x = clamp_keeping_nan(x, single ? T(-105) : T(-750), single ? T(90) : T(711));
  V n;
  V r = reduce_by_ln2(x, n);
  V value = fma(V(r * r), exp_tail(r), V(r + 1));
  return scale_by_power(value, n);
}

// exp of numbers that are at most about zero, as softmax needs it: faster, and 0 where that would be denormal.
template <class V>
inline V exp_of_weight(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  constexpr BitsOf<T> bias = std::numeric_limits<T>::max_exponent - 1;
  constexpr T least = single ? T(-87.25) : T(-708.25);
  constexpr T magic = T(3) * T(int64_t{1} << (mantissa - 1));  // puts a whole number into the low bits
  constexpr T high = single ? T(0.693359375) : T(0x1.62e42feep-1);
  constexpr T low = single ? T(-2.1219444005469058e-4) : T(1.9082149292705878e-10);
  V shifted = fma(x, broadcast<T>(T(1.44269504088896340736)), broadcast<T>(magic));
  V n = shifted - magic;
  V r = fma(n, broadcast<T>(-low), V(fma(n, broadcast<T>(-high), x)));
  V value = fma(V(r * r), exp_tail(r), V(r + 1));
  V power = reinterpret<V>((reinterpret<Bits<T>>(shifted) + bias) << mantissa);
  return select(x < least, T(0), V(value * power));
}

template <class V>
inline V exp2(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  x = clamp_keeping_nan(x, single ? T(-152) : T(-1080), single ? T(129) : T(1025));
  V n = rint(x);
  V r = (x - n) * T(0.693147180559945309417);
  return scale_by_power(V(fma(V(r * r), exp_tail(r), V(r + 1))), n);
}

template <class V>
inline V expm1(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  V clamped = clamp_keeping_nan(x, single ? T(-30) : T(-60), single ? T(89) : T(710));
  V n;
  V r = reduce_by_ln2(clamped, n);
  V tail = fma(V(r * r), exp_tail(r), r);
  V half_scale = power_of_two(V(n - 1));
  V result = T(2) * fma(half_scale, tail, V(half_scale - T(0.5)));
  return select(x == 0, x, result);  // keeps -0
}

// log of a positive number as e ln(2) + log1p(f), sqrt(1/2) <= 1 + f < sqrt(2)
template <class V>
inline V split_exponent(V x, V& e) {
  using T = Lane<V>;
  constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  constexpr T scale = T(int64_t{1} << mantissa);
  auto denormal = x < std::numeric_limits<T>::min();
  x = select(denormal, V(x * scale), x);
  // Without the sign, so that the difference below can't overflow; log_edges answers for negative numbers.
  Bits<T> bits = reinterpret<Bits<T>>(x) & std::numeric_limits<BitsOf<T>>::max();
  constexpr BitsOf<T> root_half = sizeof(T) == 4 ? BitsOf<T>(0x3f3504f3) : BitsOf<T>(0x3fe6a09e667f3bcd);
  Bits<T> exponent = (bits - root_half) >> mantissa;
  V f = reinterpret<V>(bits - (exponent << mantissa)) - 1;
  // Whole numbers this small convert exactly by the magic sum (there is no vector int64 -> double in AVX2).
  constexpr T magic = T(3) * T(int64_t{1} << (mantissa - 1));
  e = reinterpret<V>(exponent + reinterpret<Bits<T>>(broadcast<T>(magic))) - magic;
  e = select(denormal, V(e - mantissa), e);
  return f;
}

// log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 P(s^2)) with s = f / (2 + f)
template <class V>
inline V log1p_reduced(V f) {
  V s = f / (f + 2);
  V z = s * s;
  V p;
  if constexpr (sizeof(Lane<V>) == 4) {
    p = polynomial(z, 0.66666666554497091551, 0.40000121839806126714, 0.28550820815960663296, 0.23330467216303836299);
  } else {
    p = polynomial(z, 0.66666666666666696862, 0.3999999999989950449, 0.28571428625975484921, 0.22222211134795079855,
                   0.1818288912526172208, 0.15331721600556041269, 0.1461644968504340586);
  }
  V half_square = f * f * Lane<V>(0.5);
  return f - (half_square - s * fma(z, p, half_square));
}

// What log, log2, log10 share: infinite at infinity, -infinite at zero, NaN below.
template <class V>
inline V log_edges(V x, V result) {
  using T = Lane<V>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  result = select(x == infinity, x, result);
  result = select(x == 0, -infinity, result);
  return select((x < 0) | (x != x), std::numeric_limits<T>::quiet_NaN(), result);
}

template <class V>
inline V log(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  constexpr T high = single ? T(0.693359375) : T(0x1.62e42feep-1);
  constexpr T low = single ? T(-2.1219444005469058e-4) : T(1.9082149292705878e-10);
  V e;
  V f = split_exponent(x, e);
  V result = fma(e, broadcast<T>(high), fma(e, broadcast<T>(low), log1p_reduced(f)));
  return log_edges(x, result);
}

template <class V>
inline V log2(V x) {
  using T = Lane<V>;
  V e;
  V f = split_exponent(x, e);
  return log_edges(x, V(fma(log1p_reduced(f), broadcast<T>(T(1.44269504088896340736)), e)));
}

template <class V>
inline V log10(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
  constexpr T high = single ? T(0.30078125) : T(0x1.34413508p-2);  // log10(2) in two parts
  constexpr T low = single ? T(2.4874566398119521e-4) : T(1.1451100898021839e-10);
  V e;
  V f = split_exponent(x, e);
  V result = fma(log1p_reduced(f), broadcast<T>(T(0.434294481903251827651)), V(e * low));
  return log_edges(x, V(fma(e, broadcast<T>(high), result)));
}

template <class V>
inline V log1p(V x) {
  using T = Lane<V>;
  V u = x + 1;
  V correction = (x - (u - 1)) / u;  // what the sum lost
  V result = log(u);
  result = select((u > 0) & (u < std::numeric_limits<T>::infinity()), V(result + correction), result);
  return select(absolute(x) < std::numeric_limits<T>::epsilon() / 2, x, result);
}

template <class V>
inline V sigmoid(V x) {
  return 1 / (1 + exp(V(-x)));
}

// tanh of floats below 0.625
template <class V>
inline V tanh_of_small(V x) {
  V z = x * x;
  return fma(V(x * z),
             polynomial(z, -0.333333289441, 0.13332769737, -0.0538509095785, 0.0209971789991, -0.00609671416591), x);
}

// x P(x^2) / Q(x^2), the best approximation of tanh in single precision up to 9; beyond, where it passes 1, it is cut.
inline Vec<float> tanh(Vec<float> x) {
  using V = Vec<float>;
  x = clamp_keeping_nan(x, -9.6f, 9.6f);
  V z = x * x;
  V p = polynomial(z, 0.999999979457, 0.133810262327, 0.00349558883466, 2.06090938173e-5, 1.33546768396e-8);
  V q = polynomial(z, 1, 0.467143418254, 0.0258769848862, 0.000328563597177, 7.77656472172e-7);
  return clamp_keeping_nan(V(x * p / q), -1.0f, 1.0f);
}
inline Vec<double> tanh(Vec<double> x) {
  using V = Vec<double>;
  V magnitude = absolute(x);
  V m = expm1(V(magnitude + magnitude));
  V value = select(magnitude < 22.0, V(m / (m + 2)), 1.0);
  return select(x != x, x, copysign(value, x));
}

// Beyond this, e^-x is below half a unit in the last place of e^x.
constexpr int hyperbolic_limit = 22;

template <class V>
inline V sinh(V x) {
  using T = Lane<V>;
  V magnitude = absolute(x);
  V e = expm1(V(select(magnitude > T(hyperbolic_limit), T(hyperbolic_limit), magnitude)));
  V half = exp(V(magnitude * T(0.5)));  // squared, so that e^x doesn't overflow before its half does
  V value = select(magnitude > T(hyperbolic_limit), V(half * T(0.5) * half), V(T(0.5) * (e + e / (e + 1))));
  return select(x != x, x, copysign(value, x));
}
template <class V>
inline V cosh(V x) {
  using T = Lane<V>;
  V half = exp(V(absolute(x) * T(0.5)));
  V square = half * half;
  return select(absolute(x) > T(hyperbolic_limit), V(half * T(0.5) * half), V(T(0.5) * (square + 1 / square)));
}

template <class V>
inline V asinh(V x) {
  using T = Lane<V>;
  constexpr T large = sizeof(T) == 4 ? T(1e9) : T(1e18);
  V m = absolute(x);
  V near = log1p(V(m + m * m / (1 + sqrt(V(m * m + 1)))));
  V value = select(m > large, V(log(m) + T(0.693147180559945309417)), near);
  return select(x != x, x, copysign(value, x));
}
template <class V>
inline V acosh(V x) {
  using T = Lane<V>;
  constexpr T large = sizeof(T) == 4 ? T(1e9) : T(1e18);
  V t = x - 1;
  V near = log1p(V(t + sqrt(V(t * (t + 2)))));
  near = select(x < 1, std::numeric_limits<T>::quiet_NaN(), near);
  return select(x > large, V(log(x) + T(0.693147180559945309417)), near);
}
template <class V>
inline V atanh(V x) {
  using T = Lane<V>;
  V m = absolute(x);
  V value = T(0.5) * log1p(V(2 * m / (1 - m)));
  value = select(m > 1, std::numeric_limits<T>::quiet_NaN(), value);
  return select(x != x, x, copysign(value, x));
}

inline Vec<float> atan(Vec<float> x) {
  using V = Vec<float>;
  V m = absolute(x);
  auto inverted = m > 2.41421356f;                        // tan(3 pi / 8)
  auto shifted = (m > 0.41421356f) & (m <= 2.41421356f);  // tan(pi / 8)
  V r = select(inverted, V(-1.0f / m), V(select(shifted, V((m - 1) / (m + 1)), m)));
  V z = r * r;
  V value =
      r + r * z * polynomial(z, -0.333333317581, 0.199995397792, -0.142639311973, 0.107434678112, -0.0645105448483);
  value += select(inverted, 1.57079633f, V(select(shifted, 0.78539816f, V{})));
  return select(x != x, x, copysign(value, x));
}
inline Vec<double> atan(Vec<double> x) {
  return per_lane([](double v) { return std::atan(v); }, x);
}

// As tanh: the best x P(x^2) / Q(x^2) up to 3.9; beyond, where it passes 1, it is cut.
inline Vec<float> erf(Vec<float> x) {
  using V = Vec<float>;
  x = clamp_keeping_nan(x, -4.125f, 4.125f);
  V z = x * x;
  V p = polynomial(z, 1.12837914763, 0.189667655259, 0.0526681962535, 0.00373838277043, 0.000285063208899,
                   2.06646929625e-6);
  V q = polynomial(z, 1, 0.501421364461, 0.11381930488, 0.0149143502713, 0.00115738541771, 3.82700325562e-5);
  return clamp_keeping_nan(V(x * p / q), -1.0f, 1.0f);
}
inline Vec<double> erf(Vec<double> x) {
  return per_lane([](double v) { return std::erf(v); }, x);
}

// (1 + erf(x / sqrt(2))) / 2, with that taken into erf's coefficients.
inline Vec<float> normal_cdf(Vec<float> x) {
  using V = Vec<float>;
  x = clamp_keeping_nan(x, -5.8336308f, 5.8336308f);
  V z = x * x;
  V p = polynomial(z, 0.398942273519, 0.0335288213013, 0.00465525484046, 0.000165214737978, 6.29906650248e-06,
                   2.28314758202e-08);
  V q = polynomial(z, 1, 0.250710682231, 0.02845482622, 0.00186429378391, 7.23365886069e-05, 1.19593851738e-06);
  return clamp_keeping_nan(V(x * p / q + 0.5f), 0.0f, 1.0f);
}
inline Vec<double> normal_cdf(Vec<double> x) {
  return per_lane([](double v) { return 0.5 * std::erfc(v * -0.70710678118654752440); }, x);
}

// sin(r) for |r| <= 1.66
inline Vec<float> sin_reduced(Vec<float> r) {
  Vec<float> z = r * r;
  return r * fma(z, polynomial(z, -0.166666509419, 0.00833290130638, -0.000197989567981, 2.5839913378e-6), 1.0f);
}
// cos(r) for |r| <= pi/4
inline Vec<float> cos_reduced(Vec<float> r) {
  Vec<float> z = r * r;
  return 1.0f - 0.5f * z + z * z * polynomial(z, 0.0416666646475, -0.00138883006969, 2.45474372102e-5);
}

// x - n pi/2 for a whole n that is near to x / (pi/2). The parts of pi/2 are cut, not rounded, so that all of them are
// positive: then -0 stays what it is. With fma the first difference is exact; without it, all is done in double.
inline Vec<float> subtract_half_pis(Vec<float> x, Vec<float> n) {
  if constexpr (fma_rounds_once) {
    Vec<float> r = fma_exactly(-n, broadcast(0x1.921fb4p+0f), x);
    r = fma_exactly(-n, broadcast(0x1.4442d0p-24f), r);
    return fma_exactly(-n, broadcast(0x1.846988p-48f), r);
  } else {
    auto subtract = [](Vec<double> v, Vec<double> m) -> Vec<double> {
      return (v - m * 1.57079632673412561417) - m * 6.0771005065061926e-11;
    };
    Wide wide = widen(x), many = widen(n);
    return narrow({subtract(wide.low, many.low), subtract(wide.high, many.high)});
  }
}
// To the nearest whole number, which is also left in the low bits of `bits`; for |x| < 2^22.
inline Vec<float> rint_with_bits(Vec<float> x, Vec<int32_t>& bits) {
  constexpr float magic = 3 << 22;
  Vec<float> shifted = x + magic;
  bits = reinterpret<Vec<int32_t>>(shifted);
  return shifted - magic;
}
constexpr float trigonometric_limit = 1e6f;

// x = n pi/2 + r with an even n for the sine and an odd one for the cosine: both are the sine of r, or minus that.
template <bool cosine>
inline Vec<float> sine(Vec<float> x) {
  using V = Vec<float>;
  if (any(absolute(x) > trigonometric_limit)) {
    return per_lane([](float v) { return cosine ? std::cos(v) : std::sin(v); }, x);
  }
  Vec<int32_t> turns;
  V n = rint_with_bits(V(x * 0.318309886183790671538f - (cosine ? 0.5f : 0.0f)), turns);
  n = n + n;
  if constexpr (cosine) {
    n += 1;
    turns += 1;
  }
  V value = clamp_keeping_nan(sin_reduced(subtract_half_pis(x, n)), -1.0f, 1.0f);
  return reinterpret<V>(reinterpret<Vec<int32_t>>(value) ^ (turns << 31));
}
inline Vec<float> sin(Vec<float> x) { return sine<false>(x); }
inline Vec<float> cos(Vec<float> x) { return sine<true>(x); }
inline Vec<float> tan(Vec<float> x) {
  if (any(absolute(x) > trigonometric_limit)) return per_lane([](float v) { return std::tan(v); }, x);
  Vec<int32_t> quadrant;
  Vec<float> n = rint_with_bits(Vec<float>(x * 0.63661977236758134308f), quadrant);
  Vec<float> r = subtract_half_pis(x, n), s = sin_reduced(r), c = cos_reduced(r);
  auto even = (quadrant & 1) == 0;
  return select(even, s, Vec<float>(-c)) / select(even, c, s);
}
inline Vec<double> sin(Vec<double> x) {
  return per_lane([](double v) { return std::sin(v); }, x);
}
inline Vec<double> cos(Vec<double> x) {
  return per_lane([](double v) { return std::cos(v); }, x);
}
inline Vec<double> tan(Vec<double> x) {
  return per_lane([](double v) { return std::tan(v); }, x);
}

// e^(y log(x)) in double for float; the edge cases follow C's pow.
inline Vec<float> power(Vec<float> x, Vec<float> y) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Vec<float> magnitude = absolute(x);
  auto easy = (magnitude > 0.0f) & (magnitude < infinity) & (absolute(y) < infinity);
  if (any(~easy)) return per_lane([](float a, float b) { return std::pow(a, b); }, x, y);
  Wide base = widen(magnitude), exponent = widen(y);
  base.low = exp(Vec<double>(log(base.low) * exponent.low));
  base.high = exp(Vec<double>(log(base.high) * exponent.high));
  Vec<float> value = narrow(base);
  // A negative base: NaN for a fraction, negative for an odd exponent. Halves of large numbers are whole: even.
  Vec<float> half = y * 0.5f;
  Vec<float> odd = select(half != rint(half), Vec<float>(-value), value);
  Vec<float> negative = select(y != rint(y), std::numeric_limits<float>::quiet_NaN(), odd);
  return select(x < 0, negative, value);
}
inline Vec<double> power(Vec<double> x, Vec<double> y) {
  return per_lane([](double a, double b) { return std::pow(a, b); }, x, y);
}

// For scalars: what has no vector form.
double digamma(double x);
double inverse_erf(double x);
double log_gamma(double x);

}  // namespace rushlight
