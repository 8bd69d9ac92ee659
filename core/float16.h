// The 16-bit floating types, as storage: arithmetic on them is done in float. Compilers agree on no type of their own.
#pragma once

#include <bit>
#include <cstdint>
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace rushlight {

// IEEE 754's half precision, rounded to nearest even.
struct float16 {
  uint16_t bits;
  float16() = default;
  float16(float value) {
#if defined(__F16C__)
    bits = static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__aarch64__)
    bits = std::bit_cast<uint16_t>(static_cast<__fp16>(value));
#else
    uint32_t wide = std::bit_cast<uint32_t>(value), sign = wide >> 16 & 0x8000, magnitude = wide & 0x7fffffff;
    if (magnitude > 0x7f800000) {  // NaN
      magnitude = 0x7e00 | (magnitude >> 13 & 0x3ff);
    } else if (magnitude >= 0x477ff000) {  // from 65520 on
      magnitude = 0x7c00;
    } else if (magnitude < 0x38800000) {  // below 2^-14: the addition rounds to a multiple of 2^-24
      magnitude = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    } else {
      magnitude = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112 << 23)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | magnitude);
#endif
  }
  operator float() const {
#if defined(__F16C__)
    return _cvtsh_ss(bits);
#elif defined(__aarch64__)
    return std::bit_cast<__fp16>(bits);
#else
    uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;
    if (magnitude >= 0x0f800000) {  // infinite or NaN
      magnitude |= 0x7f800000;
    } else {  // 2^112 moves the exponent, of subnormal numbers too
      magnitude = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    }
    return std::bit_cast<float>(sign | magnitude);
#endif
  }
};

// The upper half of a float32, rounded to nearest even.
struct bfloat16 {
  uint16_t bits;
  bfloat16() = default;
  bfloat16(float value) {
    uint32_t wide = std::bit_cast<uint32_t>(value);
    if (value != value) {
      bits = static_cast<uint16_t>((wide >> 16) | 0x40);
    } else {
      bits = static_cast<uint16_t>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
    }
  }
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

}  // namespace rushlight
