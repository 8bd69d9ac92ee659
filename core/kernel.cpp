#include "kernel.h"

#include <algorithm>
#include <new>
#include <string>

#include "convert.h"
#include "memory.h"

namespace rushlight {

thread_local Execution* execution = nullptr;

// The shape and the strides lie behind the items.
WorkArray::WorkArray(DType dtype, std::span<const int64_t> shape, const int* order) {
  size_t items = static_cast<size_t>(item_size(dtype));
  for (int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(items, static_cast<size_t>(extent), &items) || items > PTRDIFF_MAX) {
      throw std::bad_alloc();
    }
  }
  items = (items + 63) / 64 * 64;
  bytes_ = items + 2 * shape.size_bytes();
  memory_ = allocate(bytes_);
  array.data = static_cast<char*>(memory_);
  array.dtype = dtype;
  array.dimensions = static_cast<int>(shape.size());
  array.writeable = true;
  int64_t* extents = reinterpret_cast<int64_t*>(array.data + items);
  int64_t* strides = std::copy(shape.begin(), shape.end(), extents);
  int64_t step = item_size(dtype);
  for (size_t i = shape.size(); i-- > 0;) {
    size_t dimension = order == nullptr ? i : static_cast<size_t>(order[i]);
    strides[dimension] = step;
    step *= std::max<int64_t>(shape[dimension], 1);
  }
  array.shape = extents;
  array.strides = strides;
}

WorkArray::~WorkArray() {
  if (memory_ != nullptr) release(memory_, bytes_);
}

WorkArray contiguous(const Array& source) {
  if (source.contiguous()) return WorkArray(source);
  if (source.dtype == DType::other) throw nb::type_error("rushlight core: no such dtype");
  WorkArray copy(source.dtype, shape_of(source));
  copy_strided(copy.array, source);
  return copy;
}

WorkArray contiguous(nb::handle source) { return contiguous(borrow(source)); }

static std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

NewArray result(DType dtype, std::span<const int64_t> shape) {
  if (execution == nullptr) return empty(dtype, shape);
  auto wrong = [](const std::string& what) { throw std::runtime_error(execution->kernel + what); };
  if (execution->made == execution->destinations.size()) wrong(": more results than the program has arrays for");
  Array array = borrow(execution->destinations[execution->made++]);
  if (array.dtype != dtype) wrong(": a result has another dtype than its array");
  if (!std::ranges::equal(shape_of(array), shape)) {
    wrong(": a result has shape " + shape_text(shape) + ", its array " + shape_text(shape_of(array)));
  }
  return {nb::object(), array};
}

NewArray result_like(const Array& array, DType dtype) {
  return execution == nullptr ? empty_like(array, dtype) : result(dtype, shape_of(array));
}

nb::object not_implemented() {
  if (execution == nullptr) return nb::borrow(Py_NotImplemented);
  throw NoCode(std::string(execution->kernel) + " has no code for these operands");
}

}  // namespace rushlight
