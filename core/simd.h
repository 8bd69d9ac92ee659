// Vectors of the build's width over GCC's and Clang's vector extensions: `a + b`, `a < b ? a : b` work as on scalars.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace rushlight {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

// What a comparison of vectors gives: integers of the same size, all bits set where it holds.
template <class T>
using Mask = decltype(Vec<T>{} < Vec<T>{});
// Integers of the size of T, for work on its bits.
template <class T>
using BitsOf = std::conditional_t<
    sizeof(T) == 8, int64_t,
    std::conditional_t<sizeof(T) == 4, int32_t, std::conditional_t<sizeof(T) == 2, int16_t, int8_t>>>;
template <class T>
using Bits = Vec<BitsOf<T>>;

// The scalar type of a vector type.
template <class V>
using Lane = std::remove_cvref_t<decltype(V{}[0])>;

template <class T>
inline Vec<T> load(const T* from) {
  Vec<T> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
inline void store(T* to, Vec<T> value) {
  std::memcpy(to, &value, sizeof value);
}
// std::copy for rows that are often too short to be worth a call of memcpy.
template <class T>
inline void copy_short(const T* from, int64_t count, T* to) {
  constexpr int64_t step = 16 / sizeof(T);
  if (count > 64) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
    return;
  }
  int64_t i = 0;
  for (; i + step <= count; i += step) std::memcpy(to + i, from + i, 16);
  for (; i < count; ++i) to[i] = from[i];
}
template <class T>
inline Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}
// m ? a : b, lane by lane; `m` from a comparison of vectors of the same lane size.
template <class M, class V>
inline V select(M m, V a, V b) {
  return m ? a : b;
}

#if defined(__AVX512F__)
inline uint64_t first_lanes(int64_t count) { return _bzhi_u64(~uint64_t{0}, static_cast<uint64_t>(count)); }
#elif defined(__AVX2__)
// All bits of the first `count` lanes, for items of 4 and 8 bytes.
template <class T>
inline __m256i first_lanes(int64_t count) {
  Bits<T> numbers;
  for (int i = 0; i < lanes<T>; ++i) numbers[i] = static_cast<BitsOf<T>>(i);
  return (__m256i)(numbers < broadcast(static_cast<BitsOf<T>>(count)));
}
#endif
// The first `count` lanes; the others are those of `rest`.
template <class T>
inline Vec<T> load_partial(const T* from, int64_t count, Vec<T> rest) {
#if defined(__AVX512F__)
  const uint64_t mask = first_lanes(count);
  if constexpr (sizeof(T) == 8) return (Vec<T>)_mm512_mask_loadu_epi64((__m512i)rest, (__mmask8)mask, from);
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_mask_loadu_epi32((__m512i)rest, (__mmask16)mask, from);
  if constexpr (sizeof(T) == 2) return (Vec<T>)_mm512_mask_loadu_epi16((__m512i)rest, (__mmask32)mask, from);
  if constexpr (sizeof(T) == 1) return (Vec<T>)_mm512_mask_loadu_epi8((__m512i)rest, (__mmask64)mask, from);
#else
#if defined(__AVX2__)
  if constexpr (sizeof(T) >= 4) {
    const __m256i mask = first_lanes<T>(count);
    __m256i value;
    if constexpr (sizeof(T) == 8) value = _mm256_maskload_epi64(reinterpret_cast<const long long*>(from), mask);
    if constexpr (sizeof(T) == 4) value = _mm256_maskload_epi32(reinterpret_cast<const int*>(from), mask);
    return (Vec<T>)_mm256_blendv_epi8((__m256i)rest, value, mask);
  }
#endif
  std::memcpy(&rest, from, static_cast<size_t>(count) * sizeof(T));
  return rest;
#endif
}
template <class T>
inline Vec<T> load_partial(const T* from, int64_t count) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  const __m256i mask = first_lanes<T>(count);
  if constexpr (sizeof(T) == 8) return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(from), mask);
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(from), mask);
#endif
  return load_partial(from, count, Vec<T>{});
}
// Whether a vector is loaded in part about as fast as all of it.
#if defined(__AVX2__)
template <class T>
constexpr bool loads_parts = sizeof(T) >= 4;
#else
template <class T>
constexpr bool loads_parts = false;
#endif
template <class T>
inline void store_partial(T* to, Vec<T> value, int64_t count) {
#if defined(__AVX512F__)
  const uint64_t mask = first_lanes(count);
  if constexpr (sizeof(T) == 8) _mm512_mask_storeu_epi64(to, (__mmask8)mask, (__m512i)value);
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_epi32(to, (__mmask16)mask, (__m512i)value);
  if constexpr (sizeof(T) == 2) _mm512_mask_storeu_epi16(to, (__mmask32)mask, (__m512i)value);
  if constexpr (sizeof(T) == 1) _mm512_mask_storeu_epi8(to, (__mmask64)mask, (__m512i)value);
#else
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 8) {
    return _mm256_maskstore_epi64(reinterpret_cast<long long*>(to), first_lanes<T>(count), (__m256i)value);
  }
  if constexpr (sizeof(T) == 4) {
    return _mm256_maskstore_epi32(reinterpret_cast<int*>(to), first_lanes<T>(count), (__m256i)value);
  }
#endif
  std::memcpy(to, &value, static_cast<size_t>(count) * sizeof(T));
#endif
}

template <class V>
inline V select(decltype(V{} < V{}) m, V a, Lane<V> b) {
  return m ? a : broadcast<Lane<V>>(b);
}
template <class V>
inline V select(decltype(V{} < V{}) m, Lane<V> a, V b) {
  return m ? broadcast<Lane<V>>(a) : b;
}

template <class To, class From>
inline To reinterpret(From value) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)value;
}

// a * b + c; one instruction where the processor has it and the compiler, which need not, makes it of this.
template <class V>
inline V fma(V a, V b, V c) {
  return a * b + c;
}
template <class V>
inline V fma(V a, V b, Lane<V> c) {
  return a * b + c;
}

// The same, rounded once for certain, for what rests on that; there only where `fma_rounds_once`.
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__)) || defined(__aarch64__)
constexpr bool fma_rounds_once = true;
#else
constexpr bool fma_rounds_once = false;
#endif
inline Vec<float> fma_exactly(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// coefficients[0] + x * (coefficients[1] + ...), lowest power first
template <class V>
inline V polynomial(V, Lane<V> c) {
  return broadcast<Lane<V>>(c);
}
template <class V, class... Rest>
inline V polynomial(V x, Lane<V> c, Rest... rest) {
  return fma(x, polynomial(x, static_cast<Lane<V>>(rest)...), c);
}

template <class V>
inline V sign_bit(V x) {
  using T = Lane<V>;
  return reinterpret<V>(reinterpret<Bits<T>>(x) & std::numeric_limits<BitsOf<T>>::min());
}
template <class V>
inline V absolute(V x) {
  using T = Lane<V>;
  if constexpr (std::is_floating_point_v<T>) {
    return reinterpret<V>(reinterpret<Bits<T>>(x) & std::numeric_limits<BitsOf<T>>::max());
  } else if constexpr (std::is_signed_v<T>) {
    using Unsigned = Vec<std::make_unsigned_t<T>>;
    return select(x < 0, reinterpret<V>(-reinterpret<Unsigned>(x)), x);  // the least value stays what it is
  } else {
    return x;
  }
}
template <class V>
inline V copysign(V magnitude, V sign) {
  using T = Lane<V>;
  return reinterpret<V>(reinterpret<Bits<T>>(absolute(magnitude)) | reinterpret<Bits<T>>(sign_bit(sign)));
}

// x where it isn't below (above) the bound, or where either is NaN.
template <class V>
inline V at_least(V bound, V x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm512_max_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm256_max_ps((__m256)bound, (__m256)x);
#elif defined(__x86_64__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm_max_ps((__m128)bound, (__m128)x);
#endif
  return select(x < bound, bound, x);
}
template <class V>
inline V at_most(V bound, V x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm512_min_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm256_min_ps((__m256)bound, (__m256)x);
#elif defined(__x86_64__)
  if constexpr (std::is_same_v<Lane<V>, float>) return (V)_mm_min_ps((__m128)bound, (__m128)x);
#endif
  return select(x > bound, bound, x);
}
template <class V>
inline V at_least(Lane<V> low, V x) {
  return at_least(broadcast<Lane<V>>(low), x);
}
template <class V>
inline V at_most(Lane<V> high, V x) {
  return at_most(broadcast<Lane<V>>(high), x);
}

// NaN where either is NaN; the first of equal ones.
template <class V>
inline V maximum(V a, V b) {
  if constexpr (std::is_floating_point_v<Lane<V>>) return select(b != b, b, at_least(b, a));
  return select(a >= b, a, b);
}
template <class V>
inline V minimum(V a, V b) {
  if constexpr (std::is_floating_point_v<Lane<V>>) return select(b != b, b, at_most(b, a));
  return select(a <= b, a, b);
}

// Applies a function of scalars to each lane.
template <class V, class F, class... Vs>
inline V per_lane(F f, V x, Vs... more) {
  V result = x;
  for (int i = 0; i < lanes<Lane<V>>; ++i) result[i] = static_cast<Lane<V>>(f(x[i], more[i]...));
  return result;
}

template <class V>
inline V clamp_keeping_nan(V x, Lane<V> low, Lane<V> high) {
  return at_most(high, at_least(low, x));
}

#if defined(__AVX2__) || defined(__aarch64__)
constexpr bool rounds_in_hardware = true;
#else
constexpr bool rounds_in_hardware = false;
#endif
enum class Rounding { nearest, down, up, towards_zero };  // as x86's instructions number them

// To a whole number by the processor's instruction.
template <Rounding rounding, class V>
inline V round_in_hardware(V x) {
  [[maybe_unused]] constexpr bool single = sizeof(Lane<V>) == 4;
  [[maybe_unused]] constexpr int mode = static_cast<int>(rounding) | 8;  // 8: no exception
#if defined(__AVX512F__)
  if constexpr (single) return (V)_mm512_roundscale_ps((__m512)x, mode);
  if constexpr (!single) return (V)_mm512_roundscale_pd((__m512d)x, mode);
#elif defined(__AVX2__)
  if constexpr (single) return (V)_mm256_round_ps((__m256)x, mode);
  if constexpr (!single) return (V)_mm256_round_pd((__m256d)x, mode);
#elif defined(__aarch64__)
  if constexpr (single) {
    if constexpr (rounding == Rounding::nearest) return (V)vrndnq_f32((float32x4_t)x);
    if constexpr (rounding == Rounding::down) return (V)vrndmq_f32((float32x4_t)x);
    if constexpr (rounding == Rounding::up) return (V)vrndpq_f32((float32x4_t)x);
    if constexpr (rounding == Rounding::towards_zero) return (V)vrndq_f32((float32x4_t)x);
  } else {
    if constexpr (rounding == Rounding::nearest) return (V)vrndnq_f64((float64x2_t)x);
    if constexpr (rounding == Rounding::down) return (V)vrndmq_f64((float64x2_t)x);
    if constexpr (rounding == Rounding::up) return (V)vrndpq_f64((float64x2_t)x);
    if constexpr (rounding == Rounding::towards_zero) return (V)vrndq_f64((float64x2_t)x);
  }
#else
  return x;
#endif
}

// To the nearest integer, ties to even. Numbers from 2^23 (2^52) on are integers already.
template <class V>
inline V rint(V x) {
  if constexpr (rounds_in_hardware) return round_in_hardware<Rounding::nearest>(x);
  using T = Lane<V>;
  constexpr T magic = sizeof(T) == 4 ? T(8388608) : T(4503599627370496);
  V magnitude = absolute(x);
  return select(magnitude < magic, copysign(V((magnitude + magic) - magic), x), x);
}
template <class V>
inline V floor(V x) {
  if constexpr (rounds_in_hardware) return round_in_hardware<Rounding::down>(x);
  V nearest = rint(x);
  return select(nearest > x, V(nearest - 1), nearest);
}
template <class V>
inline V ceil(V x) {
  if constexpr (rounds_in_hardware) return round_in_hardware<Rounding::up>(x);
  V nearest = rint(x);
  return select(nearest < x, copysign(V(nearest + 1), x), nearest);
}
template <class V>
inline V trunc(V x) {
  if constexpr (rounds_in_hardware) return round_in_hardware<Rounding::towards_zero>(x);
  return copysign(floor(absolute(x)), x);
}

template <class V>
inline V sqrt(V x) {
  using T = Lane<V>;
  constexpr bool single = sizeof(T) == 4;
#if defined(__AVX512F__)
  if constexpr (single) return (V)_mm512_sqrt_ps((__m512)x);
  if constexpr (!single) return (V)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
  if constexpr (single) return (V)_mm256_sqrt_ps((__m256)x);
  if constexpr (!single) return (V)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
  if constexpr (single) return (V)_mm_sqrt_ps((__m128)x);
  if constexpr (!single) return (V)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
  if constexpr (single) return (V)vsqrtq_f32((float32x4_t)x);
  if constexpr (!single) return (V)vsqrtq_f64((float64x2_t)x);
#else
  return per_lane([](T v) { return single ? __builtin_sqrtf(v) : __builtin_sqrt(v); }, x);
#endif
}

// The lower and the upper half of a float vector as doubles, and back.
struct Wide {
  Vec<double> low, high;
};
typedef float HalfOfFloats __attribute__((vector_size(vector_bytes / 2)));
inline Wide widen(Vec<float> x) {
  HalfOfFloats half[2];
  std::memcpy(half, &x, sizeof x);
  return {__builtin_convertvector(half[0], Vec<double>), __builtin_convertvector(half[1], Vec<double>)};
}
inline Vec<float> narrow(Wide x) {
  HalfOfFloats half[2] = {__builtin_convertvector(x.low, HalfOfFloats), __builtin_convertvector(x.high, HalfOfFloats)};
  Vec<float> result;
  std::memcpy(&result, half, sizeof result);
  return result;
}

// Sums, products ... of a vector's lanes, in pairs: (0 with lanes/2), then halves again.
template <int width, class V, class F, int... lane>
inline V join_halves(V x, F f, std::integer_sequence<int, lane...> lanes_of_x) {
  if constexpr (width == 0) {
    return x;
  } else {
    return join_halves<width / 2>(f(x, __builtin_shufflevector(x, x, (lane + width) % int(sizeof...(lane))...)), f,
                                  lanes_of_x);
  }
}

template <class V, class F>
inline Lane<V> reduce_lanes(V x, F f) {
  constexpr int n = lanes<Lane<V>>;
  return join_halves<n / 2>(x, f, std::make_integer_sequence<int, n>())[0];
}

// In pairs of lanes: a and b joined with f, those of a in the lower half, those of b in the upper one.
template <class V, class F, int... lane>
inline V join_pairs(V a, V b, F f, std::integer_sequence<int, lane...>) {
  return f(__builtin_shufflevector(a, b, 2 * lane...), __builtin_shufflevector(a, b, (2 * lane + 1)...));
}

// Lane i of the result: the lanes of x[i] joined with f, in pairs of neighbours, then of pairs ... Uses up x.
template <class V, class F, int left = lanes<Lane<V>>>
inline V reduce_lanes_of_all(V* x, F f) {
  if constexpr (left == 1) {
    return x[0];
  } else {
#pragma GCC unroll 64
    for (int i = 0; i < left / 2; ++i) {
      x[i] = join_pairs(x[2 * i], x[2 * i + 1], f, std::make_integer_sequence<int, lanes<Lane<V>>>());
    }
    return reduce_lanes_of_all<V, F, left / 2>(x, f);
  }
}

template <class M>
inline bool any(M mask) {
  int64_t parts[vector_bytes / 8];
  std::memcpy(parts, &mask, sizeof mask);
  int64_t all = 0;
  for (int64_t part : parts) all |= part;
  return all != 0;
}

}  // namespace rushlight
