// What a call of a Program is made of: its operands, how they are laid out, and the task that threads share.
#pragma once

#include <span>

#include "convert.h"
#include "elementwise.h"

namespace rushlight {

bool read_number(PyObject* object, Number& number);  // false for what is no number
// `number` as an item of a compute dtype; false where it would change the dtype of the result or doesn't fit.
bool write_number(const Number& number, DType dtype, char* to);
// The dtype that kernels compute in for operands of `dtype`.
inline DType compute_dtype(DType dtype) {
  return dtype == DType::float16 || dtype == DType::bfloat16 ? DType::float32 : dtype;
}
// What `power` by a constant is better computed as; power itself where there is nothing better.
Opcode power_by(const Number& exponent);

struct Program::Operand {
  bool is_number;
  bool direct;  // kernels read it where it lies
  int slot;
  Number number;
  Array array;
  Strided strided;
  ConvertRows load;
};

struct Program::Task {
  const Program& program;
  const Kernel* kernels = nullptr;
  Operand* operands = nullptr;
  Strided* targets = nullptr;
  ConvertRows* stores = nullptr;  // nullptr among them: the instruction writes the output itself, or it is reduced
  double* totals = nullptr;       // of each block of `grain` items, one for each output that is reduced to one number
  DType compute = DType::other;
  int64_t item = 0, total = 0;
  int slots = 0;  // scratch for results, operands that are loaded, constants
  int64_t block = 0, grain = 0;
  int64_t row =
      0;  // items that are added up to one of a reduced output; blocks and grains hold whole rows or parts of one

  void operator()(int64_t begin, int64_t end) const;
  template <class T>
  void add_rows(size_t output, const T* from, int64_t at, int64_t items, double& running) const;
};

constexpr int64_t scratch_bytes = 24576;  // leaves room in an L1 cache of 32 KiB

// What is known of a call from its operands: the shape of its results, and an order of dimensions to walk them in.
struct Program::Layout {
  DType dtype, compute;
  int dimensions = 0;
  int64_t total = 1;
  int64_t row = 0;       // items that are added up to one of a result, where they are not to a single one
  bool uniform = true;   // all arrays have one shape and are contiguous
  bool ordered = false;  // `order` isn't row-major
  bool in_place = false, temporary = false;  // results share memory with operands; not in a way that is safe
  int64_t shape[max_dimensions];
  int order[max_dimensions];

  std::span<const int64_t> extents() const { return {shape, static_cast<size_t>(dimensions)}; }
};

}  // namespace rushlight
