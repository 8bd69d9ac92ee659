// The hot distributions of PyTorch's CPU generator: uniform numbers, normal numbers (Box and Muller 1958) and
// permutations (Fisher and Yates). Those drawn by rejection stand in rejection.cpp; the others are a few lines of NumPy
// over these, in rushlight/tensor/distributions.py.
#include <algorithm>
#include <bit>
#include <cmath>

#include "bind.h"
#include "kernel.h"
#include "mersenne_twister.h"
#include "simd.h"
#include "threads.h"

namespace rushlight {

namespace {

constexpr int64_t chunk = 4096;  // draws that are made and used while they are in the L1 cache

// [low, high): 24 random bits scaled in double precision and rounded once, so that every machine has the same bits.
// A number that rounding takes up to `high` becomes `low`.
void fill_uniform(MersenneTwister& engine, float* out, int64_t count, float low, float high) {
  uint32_t bits[chunk];
  double scale = static_cast<double>(high - low) * 0x1p-24;
  for (int64_t done = 0; done < count; done += chunk) {
    int64_t step = std::min(chunk, count - done);
    engine.draw(bits, step);
    for (int64_t i = 0; i < step; ++i) {
      float value = static_cast<float>(static_cast<int32_t>(bits[i] & 0xffffffu) * scale + low);
      out[done + i] = value == high ? low : value;
    }
  }
}

void fill_uniform(MersenneTwister& engine, double* out, int64_t count, double low, double high) {
  uint32_t bits[chunk];
  double scale = (high - low) * 0x1p-53;
  for (int64_t done = 0; done < count; done += chunk / 2) {
    int64_t step = std::min(chunk / 2, count - done);
    engine.draw(bits, 2 * step);
    for (int64_t i = 0; i < step; ++i) {
      uint64_t word = (static_cast<uint64_t>(bits[2 * i] & 0x1fffffu) << 32) | bits[2 * i + 1];
      double value = std::fma(static_cast<double>(static_cast<int64_t>(word)), scale, low);
      out[done + i] = value == high ? low : value;
    }
  }
}

// a * b + c, rounded once. PyTorch's numbers come of code whose compiler made such instructions of these sums and left
// the others as they are; where there is none, the product is exact in double.
inline float fused(float a, float b, float c) {
  if constexpr (fma_rounds_once) return std::fma(a, b, c);
  return static_cast<float>(static_cast<double>(a) * b + c);
}

// Natural logarithm of x in (0, 1]: Moshier's polynomial of the Cephes library (logf), as PyTorch's numbers have it.
float logarithm(float x) {
  int32_t word = std::bit_cast<int32_t>(x);
  float exponent = static_cast<float>((word >> 23) - 126);
  float m = std::bit_cast<float>((word & 0x007fffff) | 0x3f000000);
  bool small = m < 0.707106781186547524f;
  exponent -= small ? 1.0f : 0.0f;
  m = (m - 1.0f) + (small ? m : 0.0f);
  float square = m * m;
  float y = 7.0376836292e-2f;
  y = fused(y, m, -1.1514610310e-1f);
  y = fused(y, m, 1.1676998740e-1f);
  y = fused(y, m, -1.2420140846e-1f);
  y = fused(y, m, 1.4249322787e-1f);
  y = fused(y, m, -1.6668057665e-1f);
  y = fused(y, m, 2.0000714765e-1f);
  y = fused(y, m, -2.4999993993e-1f);
  y = fused(y, m, 3.3333331174e-1f);
  y = fused(y * m, square, exponent * -2.12194440e-4f);
  y = fused(square, -0.5f, y);
  return fused(exponent, 0.693359375f, m + y);
}

// Sine and cosine of x in [0, 2 pi], after Cephes (sinf, cosf): octant, remainder in three parts, two polynomials.
void sine_and_cosine(float x, float& sine, float& cosine) {
  int32_t octant = static_cast<int32_t>(x * 1.27323954473516f);
  octant = (octant + 1) & ~1;
  float y = static_cast<float>(octant);
  x = fused(y, -0.78515625f, x);
  x = fused(y, -2.4187564849853515625e-4f, x);
  x = fused(y, -3.77489497744594108e-8f, x);
  float square = x * x;
  float even = 2.443315711809948e-5f;
  even = fused(even, square, -1.388731625493765e-3f);
  even = fused(even, square, 4.166664568298827e-2f);
  even = fused(even * square, square, square * -0.5f) + 1.0f;
  float odd = -1.9515295891e-4f;
  odd = fused(odd, square, 8.3321608736e-3f);
  odd = fused(odd, square, -1.6666654611e-1f);
  odd = fused(odd * square, x, x);
  bool swapped = (octant & 2) != 0;
  sine = swapped ? even : odd;
  cosine = swapped ? odd : even;
  sine = (octant & 4) != 0 ? -sine : sine;
  cosine = ((octant + 2) & 4) != 0 ? -cosine : cosine;
}

// The transform of Box and Muller in place: 16 uniform numbers (8 radii, 8 angles) become 16 normal ones.
void box_muller(float* values, float mean, float deviation) {
  for (int i = 0; i < 8; ++i) {
    float radius = std::sqrt(-2.0f * logarithm(1.0f - values[i]));
    float sine, cosine;
    sine_and_cosine(6.283185307179586f * values[i + 8], sine, cosine);
    values[i] = fused(radius * cosine, deviation, mean);
    values[i + 8] = fused(radius * sine, deviation, mean);
  }
}

void box_muller(double* values, double mean, double deviation) {
  for (int i = 0; i < 8; ++i) {
    double radius = std::sqrt(-2.0 * std::log(1.0 - values[i]));
    double angle = 6.283185307179586 * values[i + 8];
    values[i] = radius * std::cos(angle) * deviation + mean;
    values[i + 8] = radius * std::sin(angle) * deviation + mean;
  }
}

template <class T>
void fill_normal(MersenneTwister& engine, T* out, int64_t count, T mean, T deviation) {
  fill_uniform(engine, out, count, T(0), T(1));
  parallel_for(count / 16, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) box_muller(out + 16 * block, mean, deviation);
  });
  if (count % 16 != 0) {  // the last 16 are drawn anew
    T* tail = out + count - 16;
    fill_uniform(engine, tail, 16, T(0), T(1));
    box_muller(tail, mean, deviation);
  }
}

// Standard normal numbers in pairs (cosine, sine), from two uniform numbers (angle, radius) each.
void fill_normal_pairs(MersenneTwister& engine, double* out, int64_t pairs) {
  fill_uniform(engine, out, 2 * pairs, 0.0, 1.0);
  parallel_for(pairs, 2048, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double radius = std::sqrt(-2.0 * std::log1p(-out[2 * i + 1]));
      double angle = 6.283185307179586 * out[2 * i];
      out[2 * i] = radius * std::cos(angle);
      out[2 * i + 1] = radius * std::sin(angle);
    }
  });
}

void permute(MersenneTwister& engine, int64_t* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = i;
  uint32_t bits[chunk];
  bool wide = count >= INT64_C(0xffffffff) / 20;  // there 32 bits would no longer be even enough
  int64_t words = wide ? 2 : 1;
  for (int64_t begin = 0; begin < count - 1; begin += chunk / words) {
    int64_t end = std::min(count - 1, begin + chunk / words);
    engine.draw(bits, (end - begin) * words);
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t* word = bits + (i - begin) * words;
      int64_t other = wide ? static_cast<int64_t>(((static_cast<uint64_t>(word[0]) << 32) | word[1]) %
                                                  static_cast<uint64_t>(count - i))
                           : static_cast<int64_t>(word[0] % static_cast<uint32_t>(count - i));
      std::swap(out[i], out[i + other]);
    }
  }
}

Array target(nb::handle out) {
  Array array = borrow(out);
  if (!array.writeable || !array.contiguous() || (array.dtype != DType::float32 && array.dtype != DType::float64))
    throw nb::type_error("rushlight core: random numbers fill writeable, contiguous float32 or float64 arrays");
  return array;
}

// NumPy's uint32 is no dtype of the kernels: words go in and out as int32, the same bits.
uint32_t* words_of(const Array& array) { return array.as<uint32_t>(); }

}  // namespace

void bind_random(nb::module_& module) {
  nb::class_<MersenneTwister> engine_class(module, "MersenneTwister",
                                           "mt19937 and the distributions that PyTorch draws from it.");
  engine_class.def(nb::init<uint32_t>(), nb::arg("seed"))
      .def(
          "start",
          [](MersenneTwister& engine, uint32_t seed) {
            with_engine(engine, [=](MersenneTwister& e) { e.start(seed); });
          },
          nb::arg("seed"), "Starts the sequence of `seed`.")
      .def(
          "save",
          [](MersenneTwister& engine) {
            NewArray words = empty(DType::int32, {MersenneTwister::period});
            int position = 0;
            with_engine(engine, [&](MersenneTwister& e) {
              std::copy_n(e.words(), MersenneTwister::period, words_of(words.array));
              position = e.position();
            });
            return nb::make_tuple(words.object, position);
          },
          "The 624 words of state (as int32), and the position of the next; at 624 the state is advanced first.")
      .def(
          "restore",
          [](MersenneTwister& engine, nb::handle words, int position) {
            Array array = borrow(words);
            if (array.dtype != DType::int32 || !array.contiguous() || array.size() != MersenneTwister::period ||
                position < 0 || position > MersenneTwister::period)
              throw nb::value_error("rushlight core: a state is 624 words (int32) and a position from 0 to 624");
            with_engine(engine, [=](MersenneTwister& e) { e.restore(words_of(array), position); });
          },
          nb::arg("words"), nb::arg("position"), "Takes up what save() returned.")
      .def(
          "draw",
          [](MersenneTwister& engine, int64_t count) {
            NewArray words = empty(DType::int32, {count});
            with_engine(engine, [&](MersenneTwister& e) { e.draw(words_of(words.array), count); });
            return words.object;
          },
          nb::arg("count"), "The next `count` words, as int32.")
      .def(
          "uniform",
          [](MersenneTwister& engine, nb::handle out, double low, double high) {
            Array array = target(out);
            with_engine(engine, [=](MersenneTwister& e) {
              if (array.dtype == DType::float32)
                fill_uniform(e, array.as<float>(), array.size(), static_cast<float>(low), static_cast<float>(high));
              else
                fill_uniform(e, array.as<double>(), array.size(), low, high);
            });
          },
          nb::arg("out"), nb::arg("low"), nb::arg("high"), "Fills `out` from [low, high).")
      .def(
          "normal",
          [](MersenneTwister& engine, nb::handle out, double mean, double deviation) {
            Array array = target(out);
            if (array.size() < 16) throw nb::value_error("rushlight core: normal numbers come 16 at least");
            with_engine(engine, [=](MersenneTwister& e) {
              if (array.dtype == DType::float32)
                fill_normal(e, array.as<float>(), array.size(), static_cast<float>(mean),
                            static_cast<float>(deviation));
              else
                fill_normal(e, array.as<double>(), array.size(), mean, deviation);
            });
          },
          nb::arg("out"), nb::arg("mean"), nb::arg("deviation"), "Fills `out`, of 16 or more, in blocks of 16.")
      .def(
          "normal_pairs",
          [](MersenneTwister& engine, nb::handle out) {
            Array array = target(out);
            if (array.dtype != DType::float64 || array.size() % 2 != 0)
              throw nb::value_error("rushlight core: pairs of normal numbers fill float64 arrays of even size");
            with_engine(engine,
                        [=](MersenneTwister& e) { fill_normal_pairs(e, array.as<double>(), array.size() / 2); });
          },
          nb::arg("out"), "Fills `out` with standard normal numbers, by pairs.")
      .def(
          "permutation",
          [](MersenneTwister& engine, int64_t count) {
            NewArray order = empty(DType::int64, {count});
            with_engine(engine, [&](MersenneTwister& e) { permute(e, order.array.as<int64_t>(), count); });
            return order.object;
          },
          nb::arg("count"), "The integers below `count` in random order, as int64.");
  bind_rejection(engine_class);
}

}  // namespace rushlight
