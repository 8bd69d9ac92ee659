#include <limits>
#include <type_traits>

#include "opcode_kernels.h"

namespace rushlight {

namespace {

// Division as Python's, rounded down. By zero gives 0, as in NumPy; the least value by -1 wraps around.
template <class T>
T floor_divide(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return static_cast<T>(-static_cast<std::make_unsigned_t<T>>(a));
    T quotient = static_cast<T>(a / b);
    return static_cast<T>(quotient - ((a % b != 0) & ((a < 0) != (b < 0))));
  } else {
    return static_cast<T>(a / b);
  }
}
template <class T>
T fmod(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}
template <class T>
T remainder(T a, T b) {
  T rest = fmod(a, b);
  if constexpr (std::is_signed_v<T>) {
    if (rest != 0 && (rest < 0) != (b < 0)) rest = static_cast<T>(rest + b);
  }
  return rest;
}

// By squaring, wrapping around; a negative exponent leaves 0 but for the bases 1 and -1.
template <class T>
T integer_power(T base, T exponent) {
  using Unsigned = std::make_unsigned_t<T>;
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) return base == 1 ? T(1) : base == -1 ? T(exponent % 2 == 0 ? 1 : -1) : T(0);
  }
  uint64_t result = 1, factor = static_cast<Unsigned>(base);
  for (Unsigned left = static_cast<Unsigned>(exponent); left != 0; left = static_cast<Unsigned>(left >> 1)) {
    if (left & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(static_cast<Unsigned>(result));
}

// Shifts by more than the width, or by less than nothing, shift everything out.
template <class T>
bool within(T by) {
  return by >= 0 && by < std::numeric_limits<std::make_unsigned_t<T>>::digits;
}
template <class T>
T left_shift(T a, T by) {
  return within(by) ? static_cast<T>(static_cast<uint64_t>(a) << by) : T(0);
}
template <class T>
T right_shift(T a, T by) {
  return within(by) ? static_cast<T>(a >> by) : static_cast<T>(a < 0 ? -1 : 0);
}

template <class T>
Kernel kernel_of(Opcode opcode) {
  using Unsigned = std::make_unsigned_t<T>;  // whose arithmetic wraps around
  using U = Vec<Unsigned>;
  switch (opcode) {
    case Opcode::add: return binary<Unsigned>([](U a, U b) -> U { return a + b; });
    case Opcode::subtract: return binary<Unsigned>([](U a, U b) -> U { return a - b; });
    case Opcode::multiply: return binary<Unsigned>([](U a, U b) -> U { return a * b; });
    case Opcode::negative: return unary<Unsigned>([](U a) -> U { return -a; });
    case Opcode::square: return unary<Unsigned>([](U a) -> U { return a * a; });
    case Opcode::cube: return unary<Unsigned>([](U a) -> U { return a * a * a; });
    case Opcode::bitwise_and: return binary<Unsigned>([](U a, U b) -> U { return a & b; });
    case Opcode::bitwise_or: return binary<Unsigned>([](U a, U b) -> U { return a | b; });
    case Opcode::bitwise_xor: return binary<Unsigned>([](U a, U b) -> U { return a ^ b; });
    case Opcode::invert: return unary<Unsigned>([](U a) -> U { return ~a; });
    case Opcode::absolute: return unary<T>([](Vec<T> a) { return absolute(a); });
    case Opcode::sign: return unary<T>([](Vec<T> a) -> Vec<T> { return truth<T>(a > 0) - truth<T>(a < 0); });
    case Opcode::floor:
    case Opcode::ceil:
    case Opcode::trunc:
    case Opcode::rint: return unary<T>([](Vec<T> a) { return a; });
    case Opcode::floor_divide: return scalar_binary<T>([](T a, T b) { return floor_divide(a, b); });
    case Opcode::fmod: return scalar_binary<T>([](T a, T b) { return fmod(a, b); });
    case Opcode::remainder: return scalar_binary<T>([](T a, T b) { return remainder(a, b); });
    case Opcode::power: return scalar_binary<T>([](T a, T b) { return integer_power(a, b); });
    case Opcode::left_shift: return scalar_binary<T>([](T a, T b) { return left_shift(a, b); });
    case Opcode::right_shift: return scalar_binary<T>([](T a, T b) { return right_shift(a, b); });
    default: return common_kernel<T>(opcode);
  }
}

}  // namespace

Kernel integer_kernel(Opcode opcode, DType dtype) {
  switch (dtype) {
    case DType::uint8: return kernel_of<uint8_t>(opcode);
    case DType::int8: return kernel_of<int8_t>(opcode);
    case DType::int16: return kernel_of<int16_t>(opcode);
    case DType::int32: return kernel_of<int32_t>(opcode);
    case DType::int64: return kernel_of<int64_t>(opcode);
    default: return nullptr;
  }
}

}  // namespace rushlight
