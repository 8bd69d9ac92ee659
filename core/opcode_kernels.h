// Loops over vectors for the kernels of elementwise programs.
#pragma once

#include "opcodes.h"
#include "simd.h"

namespace rushlight {

// Kernels made of a function of vectors; what is left at the end goes through vectors that are filled in part.
template <class T, class F>
Kernel unary(F) {
  return [](char* result, const char* const* sources, int64_t count) {
    T* out = reinterpret_cast<T*>(result);
    const T* a = reinterpret_cast<const T*>(sources[0]);
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + lanes<T> <= count; i += lanes<T>) store<T>(out + i, F{}(load(a + i)));
    if (i < count) store_partial<T>(out + i, F{}(load_partial(a + i, count - i)), count - i);
  };
}

template <class T, class F>
Kernel binary(F) {
  return [](char* result, const char* const* sources, int64_t count) {
    T* out = reinterpret_cast<T*>(result);
    const T* a = reinterpret_cast<const T*>(sources[0]);
    const T* b = reinterpret_cast<const T*>(sources[1]);
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + lanes<T> <= count; i += lanes<T>) store<T>(out + i, F{}(load(a + i), load(b + i)));
    if (i < count) {
      store_partial<T>(out + i, F{}(load_partial(a + i, count - i), load_partial(b + i, count - i)), count - i);
    }
  };
}

template <class T, class F>
Kernel ternary(F) {
  return [](char* result, const char* const* sources, int64_t count) {
    T* out = reinterpret_cast<T*>(result);
    const T* a = reinterpret_cast<const T*>(sources[0]);
    const T* b = reinterpret_cast<const T*>(sources[1]);
    const T* c = reinterpret_cast<const T*>(sources[2]);
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + lanes<T> <= count; i += lanes<T>) store<T>(out + i, F{}(load(a + i), load(b + i), load(c + i)));
    if (i < count) {
      int64_t rest = count - i;
      store_partial<T>(out + i, F{}(load_partial(a + i, rest), load_partial(b + i, rest), load_partial(c + i, rest)),
                       rest);
    }
  };
}

// Functions of scalars, item by item: for what has no vector form.
template <class T, class F>
Kernel scalar_unary(F) {
  return [](char* result, const char* const* sources, int64_t count) {
    T* out = reinterpret_cast<T*>(result);
    const T* a = reinterpret_cast<const T*>(sources[0]);
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(F{}(a[i]));
  };
}

template <class T, class F>
Kernel scalar_binary(F) {
  return [](char* result, const char* const* sources, int64_t count) {
    T* out = reinterpret_cast<T*>(result);
    const T* a = reinterpret_cast<const T*>(sources[0]);
    const T* b = reinterpret_cast<const T*>(sources[1]);
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(F{}(a[i], b[i]));
  };
}

// A mask as the values 1 and 0.
template <class T>
inline Vec<T> truth(Mask<T> mask) {
  return mask ? broadcast<T>(T(1)) : Vec<T>{};
}

// What every arithmetic type has: comparison, logic, choice.
template <class T>
Kernel common_kernel(Opcode opcode) {
  switch (opcode) {
    case Opcode::positive: return unary<T>([](Vec<T> a) { return a; });
    case Opcode::maximum: return binary<T>([](Vec<T> a, Vec<T> b) { return maximum(a, b); });
    case Opcode::minimum: return binary<T>([](Vec<T> a, Vec<T> b) { return minimum(a, b); });
    case Opcode::equal: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a == b); });
    case Opcode::not_equal: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a != b); });
    case Opcode::less: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a < b); });
    case Opcode::less_equal: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a <= b); });
    case Opcode::greater: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a > b); });
    case Opcode::greater_equal: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>(a >= b); });
    case Opcode::logical_and: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>((a != 0) & (b != 0)); });
    case Opcode::logical_or: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>((a != 0) | (b != 0)); });
    case Opcode::logical_xor: return binary<T>([](Vec<T> a, Vec<T> b) { return truth<T>((a != 0) ^ (b != 0)); });
    case Opcode::logical_not: return unary<T>([](Vec<T> a) { return truth<T>(a == 0); });
    case Opcode::where: return ternary<T>([](Vec<T> c, Vec<T> a, Vec<T> b) { return select(c != 0, a, b); });
    default: return nullptr;
  }
}

}  // namespace rushlight
