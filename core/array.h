// A NumPy array as the kernels see it, and the making of new ones. The only place that speaks NumPy's C API.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <initializer_list>
#include <span>

namespace rushlight {

namespace nb = nanobind;

enum class DType : uint8_t { boolean, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, other };

constexpr int64_t item_size(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::uint8:
    case DType::int8: return 1;
    case DType::int16:
    case DType::float16:
    case DType::bfloat16: return 2;
    case DType::int32:
    case DType::float32: return 4;
    default: return 8;
  }
}

constexpr int max_dimensions = 64;  // NumPy's own limit

// Borrows a NumPy array: it stays alive only as long as the Python object does.
struct Array {
  PyObject* object = nullptr;
  char* data = nullptr;
  const int64_t* shape = nullptr;
  const int64_t* strides = nullptr;  // in bytes
  int dimensions = 0;
  DType dtype = DType::other;
  bool writeable = false;

  int64_t size() const {
    int64_t total = 1;
    for (int i = 0; i < dimensions; ++i) total *= shape[i];
    return total;
  }
  // Row-major and without gaps, so that `data` can be read as one flat sequence of size() items.
  bool contiguous() const {
    if (size() == 0) return true;
    int64_t expected = item_size(dtype);
    for (int i = dimensions - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      if (strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

bool is_array(nb::handle object);
// Borrows `object`, as of dtype `other` where it is misaligned or byte-swapped; raises TypeError for no NumPy array.
Array borrow(nb::handle object);
// Where the items of a NumPy array lie, and another place for them: an Executor moves its own views.
char* data_of(nb::handle array);
void set_data(nb::handle array, char* data);
// An array of our own on the same memory, which it keeps alive.
nb::object view_of(nb::handle array);

// A new, uninitialised, row-major array whose memory comes from the caching allocator (memory.h), 64-byte aligned.
struct NewArray {
  nb::object object;
  Array array;
};
NewArray empty(DType dtype, std::span<const int64_t> shape);
inline NewArray empty(DType dtype, std::initializer_list<int64_t> shape) {
  return empty(dtype, std::span<const int64_t>(shape.begin(), shape.size()));
}
// The same, dense with another order of the dimensions in memory: `order` lists them, outermost first.
NewArray empty(DType dtype, std::span<const int64_t> shape, const int* order);

}  // namespace rushlight
