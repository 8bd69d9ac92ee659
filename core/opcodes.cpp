#include "opcodes.h"

#include "opcode_kernels.h"

namespace rushlight {

namespace {

struct Description {
  std::string_view name;
  int sources;
};
constexpr Description descriptions[] = {
#define X(name, sources) {#name, sources},
    RUSHLIGHT_OPCODES(X)
#undef X
};

// Of bools, bytes of 0 and 1.
Kernel bool_kernel(Opcode opcode) {
  using V = Vec<uint8_t>;
  switch (opcode) {
    case Opcode::add:
    case Opcode::bitwise_or: return binary<uint8_t>([](V a, V b) -> V { return a | b; });
    case Opcode::multiply:
    case Opcode::bitwise_and: return binary<uint8_t>([](V a, V b) -> V { return a & b; });
    case Opcode::bitwise_xor: return binary<uint8_t>([](V a, V b) -> V { return a ^ b; });
    case Opcode::invert: return unary<uint8_t>([](V a) -> V { return a ^ 1; });
    default: return common_kernel<uint8_t>(opcode);
  }
}

}  // namespace

Opcode opcode_named(std::string_view name) {
  for (size_t i = 0; i < std::size(descriptions); ++i) {
    if (descriptions[i].name == name) return static_cast<Opcode>(i);
  }
  return Opcode::none;
}

int source_count(Opcode opcode) { return descriptions[static_cast<size_t>(opcode)].sources; }

int cost(Opcode opcode) {
  switch (opcode) {
    case Opcode::exp:
    case Opcode::exp2:
    case Opcode::expm1:
    case Opcode::log:
    case Opcode::log2:
    case Opcode::log10:
    case Opcode::log1p:
    case Opcode::sigmoid:
    case Opcode::tanh:
    case Opcode::erf:
    case Opcode::normal_cdf:
    case Opcode::sin:
    case Opcode::cos: return 8;
    case Opcode::tan:
    case Opcode::power: return 16;
    case Opcode::sinh:
    case Opcode::cosh:
    case Opcode::arcsin:
    case Opcode::arccos:
    case Opcode::arctan:
    case Opcode::arctan2:
    case Opcode::arcsinh:
    case Opcode::arccosh:
    case Opcode::arctanh:
    case Opcode::fmod:
    case Opcode::remainder:
    case Opcode::floor_divide:
    case Opcode::hypot:
    case Opcode::erfc:
    case Opcode::lgamma:
    case Opcode::digamma: return 32;
    case Opcode::erfinv: return 128;
    default: return 1;
  }
}

Kernel kernel_for(Opcode opcode, DType dtype) {
  switch (dtype) {
    case DType::boolean: return bool_kernel(opcode);
    case DType::float32:
    case DType::float64: return float_kernel(opcode, dtype);
    default: return integer_kernel(opcode, dtype);
  }
}

}  // namespace rushlight
