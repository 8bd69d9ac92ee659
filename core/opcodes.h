// The instructions of elementwise programs: names, and a kernel for each dtype that has code.
#pragma once

#include <cstdint>
#include <string_view>

#include "array.h"

namespace rushlight {

// Named as NumPy's functions, and erf, erfc, erfinv, normal_cdf, lgamma, digamma, sigmoid; reciprocal_sqrt, as cube, is
// what power by a constant turns into.
// clang-format off
#define RUSHLIGHT_OPCODES(X) \
  X(add, 2) X(subtract, 2) X(multiply, 2) X(divide, 2) X(negative, 1) X(absolute, 1) X(sign, 1) X(square, 1) \
  X(reciprocal, 1) X(sqrt, 1) X(exp, 1) X(exp2, 1) X(expm1, 1) X(log, 1) X(log2, 1) X(log10, 1) X(log1p, 1) \
  X(sin, 1) X(cos, 1) X(tan, 1) X(sinh, 1) X(cosh, 1) X(tanh, 1) X(arcsin, 1) X(arccos, 1) X(arctan, 1) \
  X(arctan2, 2) X(arcsinh, 1) X(arccosh, 1) X(arctanh, 1) X(power, 2) X(maximum, 2) X(minimum, 2) X(fmod, 2) \
  X(remainder, 2) X(floor_divide, 2) X(floor, 1) X(ceil, 1) X(trunc, 1) X(rint, 1) X(equal, 2) X(not_equal, 2) \
  X(less, 2) X(less_equal, 2) X(greater, 2) X(greater_equal, 2) X(logical_and, 2) X(logical_or, 2) \
  X(logical_xor, 2) X(logical_not, 1) X(bitwise_and, 2) X(bitwise_or, 2) X(bitwise_xor, 2) X(invert, 1) \
  X(left_shift, 2) X(right_shift, 2) X(where, 3) X(isnan, 1) X(isinf, 1) X(isfinite, 1) X(copysign, 2) \
  X(hypot, 2) X(erf, 1) X(erfc, 1) X(erfinv, 1) X(normal_cdf, 1) X(lgamma, 1) X(digamma, 1) X(sigmoid, 1) \
  X(positive, 1) X(cube, 1) X(reciprocal_sqrt, 1)
// clang-format on

enum class Opcode : uint8_t {
#define X(name, sources) name,
  RUSHLIGHT_OPCODES(X)
#undef X
      none
};

Opcode opcode_named(std::string_view name);  // none where there is no such instruction
int source_count(Opcode opcode);
int cost(Opcode opcode);  // roughly, in additions

// Computes `count` items of the result from as many of each source. The result may be one of the sources.
using Kernel = void (*)(char* result, const char* const* sources, int64_t count);

// Kernels run on bool (bytes of 0 and 1), integers, float32 and float64; nullptr where there is no code.
Kernel kernel_for(Opcode opcode, DType dtype);
Kernel float_kernel(Opcode opcode, DType dtype);
Kernel integer_kernel(Opcode opcode, DType dtype);

}  // namespace rushlight
