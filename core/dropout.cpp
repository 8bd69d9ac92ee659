// Dropout on a counter-based generator, Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", 2011): each element's bits are a function of the key and its index alone, so that any part of a mask can
// be made on any thread, again for the gradient, and under XLA (rushlight/ops/random.py has the same function there).
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"
#include "simd.h"
#include "threads.h"

namespace rushlight {

namespace {

// 64 elements have 16 counters of four words: element 16 w + l of the block has word w of counter l.
constexpr int counters = 16;
constexpr int block_size = 4 * counters;
constexpr int64_t grain = 256;  // blocks for one thread at a time

struct Key {
  uint32_t low, high;
};

using Words = Vec<uint32_t>;
using WideWords = Vec<uint64_t>;

// The lower halves of the 64-bit lanes, times a 32-bit factor.
WideWords multiply_lower(WideWords x, uint32_t factor) {
#if defined(__AVX512F__)
  return (WideWords)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (WideWords)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(factor));
#elif defined(__x86_64__)
  return (WideWords)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(factor));
#else
  return (x & 0xffffffffu) * static_cast<uint64_t>(factor);
#endif
}

// The upper and the lower 32 bits of x times a factor.
void multiply(Words x, uint32_t factor, Words& upper, Words& lower) {
  WideWords even = multiply_lower((WideWords)x, factor);
  WideWords odd = multiply_lower((WideWords)x >> 32, factor);
  lower = (Words)((even & 0xffffffffu) | (odd << 32));
  upper = (Words)((even >> 32) | (odd & 0xffffffff00000000u));
}

// The words of the 16 counters from `counter` on.
void philox(Key key, uint32_t counter, uint32_t* words) {
  constexpr int groups = counters / lanes<uint32_t>;
  Words a[groups], b[groups], c[groups], d[groups];
  for (int g = 0; g < groups; ++g) {
    uint32_t first[lanes<uint32_t>];
    for (int l = 0; l < lanes<uint32_t>; ++l) first[l] = counter + static_cast<uint32_t>(g * lanes<uint32_t> + l);
    a[g] = load(first);
    b[g] = c[g] = d[g] = Words{};
  }
  for (int round = 0; round < 10; ++round) {
    for (int g = 0; g < groups; ++g) {
      Words upper_left, lower_left, upper_right, lower_right;
      multiply(a[g], 0xd2511f53, upper_left, lower_left);
      multiply(c[g], 0xcd9e8d57, upper_right, lower_right);
      a[g] = upper_right ^ b[g] ^ key.low;
      b[g] = lower_right;
      c[g] = upper_left ^ d[g] ^ key.high;
      d[g] = lower_left;
    }
    key.low += 0x9e3779b9u;
    key.high += 0xbb67ae85u;
  }
  for (int g = 0; g < groups; ++g) {
    uint32_t* to = words + g * lanes<uint32_t>;
    store(to, a[g]);
    store(to + counters, b[g]);
    store(to + 2 * counters, c[g]);
    store(to + 3 * counters, d[g]);
  }
}

// Dropped are the elements whose word is below the threshold; with p = 1 all are, whatever their word.
uint32_t threshold_of(double p) { return static_cast<uint32_t>(std::min(std::floor(p * 0x1p32), 0x1p32 - 1)); }

// use(first, factors, count) for each block: `factors` are 0 for the dropped of its elements and `kept` for the others.
template <class F, class Use>
void for_blocks(Key key, double p, F kept, int64_t count, Use use) {
  uint32_t threshold = threshold_of(p);
  if (p >= 1) kept = 0;
  parallel_for(divide_up(count, block_size), grain, [=](int64_t begin, int64_t end) {
    uint32_t words[block_size];
    F factors[block_size];
    for (int64_t block = begin; block < end; ++block) {
      philox(key, static_cast<uint32_t>(block * counters), words);
      for (int i = 0; i < block_size; ++i) factors[i] = static_cast<F>(words[i] >= threshold) * kept;  // no branches
      int64_t first = block * block_size;
      use(first, factors, static_cast<int>(std::min<int64_t>(block_size, count - first)));
    }
  });
}

Key key_of(nb::handle object) {
  WorkArray key = contiguous(object);
  if (key.array.dtype != DType::int32 || key.array.size() != 2)
    throw nb::value_error("rushlight core: the key of a dropout mask is two numbers of int32");
  const uint32_t* words = key.array.as<uint32_t>();
  return {words[0], words[1]};
}

nb::object dropout(nb::handle x, nb::handle key_object, double p) {
  if (!(p >= 0 && p <= 1)) throw nb::value_error("rushlight core: the probability of dropout is from 0 to 1");
  Key key = key_of(key_object);
  WorkArray source = contiguous(x);
  const Array& in = source.array;
  if (in.dtype == DType::other) return not_implemented();
  NewArray y = result(in.dtype, shape_of(in));
  int64_t count = in.size();
  bool known = dispatch_floating(in.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* from = in.as<T>();
    T* to = y.array.as<T>();
    Unlocked unlocked;
    using F = Compute<T>;
    F scale = p < 1 ? static_cast<F>(1 / (1 - p)) : F(0);
    for_blocks(key, p, scale, count, [=](int64_t first, const F* factors, int size) {
      for (int i = 0; i < size; ++i) to[first + i] = static_cast<T>(static_cast<F>(from[first + i]) * factors[i]);
    });
  });
  return known ? y.object : not_implemented();
}

nb::object dropout_mask(nb::handle key_object, const std::vector<int64_t>& shape, double p) {
  if (!(p >= 0 && p <= 1)) throw nb::value_error("rushlight core: the probability of dropout is from 0 to 1");
  Key key = key_of(key_object);
  NewArray mask = result(DType::float32, shape);
  {
    Unlocked unlocked;
    float* to = mask.array.as<float>();
    for_blocks(key, p, 1.0f, mask.array.size(),
               [=](int64_t first, const float* factors, int size) { std::copy_n(factors, size, to + first); });
  }
  return mask.object;
}

}  // namespace

void bind_dropout(nb::module_& module) {
  define_kernel(module, "dropout", &dropout, nb::arg("x"), nb::arg("key"), nb::kw_only(), nb::arg("p"));
  define_kernel(module, "dropout_mask", &dropout_mask, nb::arg("key"), nb::kw_only(), nb::arg("shape"), nb::arg("p"));
}

}  // namespace rushlight
