// What kernels are written with: operands, working memory, results. A kernel that keeps to these runs in two ways.
// Called from Python, its results are new arrays. As an instruction of an Executor it runs without the GIL, its results
// go to arrays that were made beforehand, and it makes and counts no Python object.
#pragma once

#include <stdexcept>
#include <utility>

#include "array.h"

namespace rushlight {

// An array for as long as a kernel works with it: borrowed from Python, or working memory that Python never sees.
class WorkArray {
 public:
  Array array;

  WorkArray() = default;
  explicit WorkArray(const Array& borrowed) : array(borrowed) {}
  // Uninitialised and dense, row-major or in another order of the dimensions, outermost first.
  WorkArray(DType dtype, std::span<const int64_t> shape, const int* order = nullptr);
  WorkArray(WorkArray&& other) noexcept { swap(other); }
  WorkArray& operator=(WorkArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~WorkArray();

  // Whether there is an array: an optional operand that is None has none.
  explicit operator bool() const { return array.object != nullptr || memory_ != nullptr; }

 private:
  void swap(WorkArray& other) {
    std::swap(array, other.array);
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
  }

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

// `source` itself where it is contiguous, else a row-major copy of it.
WorkArray contiguous(nb::handle source);
WorkArray contiguous(const Array& source);

inline std::span<const int64_t> shape_of(const Array& array) {
  return {array.shape, static_cast<size_t>(array.dimensions)};
}

// The instruction that this thread is running, without the GIL: where the results of its kernel go.
struct Execution {
  const char* kernel;
  std::span<const nb::object> destinations;  // contiguous arrays
  size_t made = 0;                           // results that the kernel has asked for
};
extern thread_local Execution* execution;  // nullptr where a kernel was called from Python

// The next result of a kernel, uninitialised and row-major. A kernel of several results asks for them in the order in
// which it returns them.
NewArray result(DType dtype, std::span<const int64_t> shape);
inline NewArray result(DType dtype, std::initializer_list<int64_t> shape) {
  return result(dtype, std::span<const int64_t>(shape.begin(), shape.size()));
}
// The same in the order of dimensions of `array`, where that is dense and the kernel was called from Python.
NewArray result_like(const Array& array, DType dtype);

// What a kernel of several results returns.
template <class... Made>
nb::object results(const Made&... made) {
  return execution != nullptr ? nb::object() : nb::object(nb::make_tuple(made.object...));
}
// What a kernel returns that wrote into its operands: None, or one of them.
inline nb::object done(nb::handle operand = Py_None) {
  return execution != nullptr ? nb::object() : nb::borrow(operand);
}
// What a kernel returns for dtypes or layouts that it has no code for: the caller then runs the NumPy meaning. In an
// instruction it raises NoCode, before anything is written.
nb::object not_implemented();
struct NoCode : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Kernels do their arithmetic without the GIL: `Unlocked unlocked;` for the length of a scope. An instruction never has
// it.
class Unlocked {
 public:
  Unlocked() : state_(execution != nullptr ? nullptr : PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    if (state_ != nullptr) PyEval_RestoreThread(state_);
  }

 private:
  PyThreadState* state_;
};

}  // namespace rushlight
