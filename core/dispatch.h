// Kernels as templates: from the dtype of an array to the C++ type of its items.
#pragma once

#include <cstdint>
#include <type_traits>

#include "array.h"
#include "float16.h"

namespace rushlight {

// The type that arithmetic on items of type T is done in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>, float, T>;

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float16>) return DType::float16;
  if constexpr (std::is_same_v<T, bfloat16>) return DType::bfloat16;
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  return DType::other;
}

// body(T{}) for the floating type that `dtype` names; false where it names none.
template <class Body>
bool dispatch_floating(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float16: body(float16{}); return true;
    case DType::bfloat16: body(bfloat16{}); return true;
    case DType::float32: body(float{}); return true;
    case DType::float64: body(double{}); return true;
    default: return false;
  }
}

// The same for float32 and float64 alone, where the 16-bit types are left to the NumPy meaning.
template <class Body>
bool dispatch_wide(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::float32: body(float{}); return true;
    case DType::float64: body(double{}); return true;
    default: return false;
  }
}

// body(T{}) with an unsigned integer of an item's size: moving needs no more of a dtype than that.
template <class Body>
auto with_item(DType dtype, Body&& body) {
  switch (item_size(dtype)) {
    case 1: return body(uint8_t{});
    case 2: return body(uint16_t{});
    case 4: return body(uint32_t{});
    default: return body(uint64_t{});
  }
}

}  // namespace rushlight
