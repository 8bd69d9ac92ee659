// Programs of elementwise instructions, run block by block in the L1 cache over broadcast operands of any strides.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "instruction.h"
#include "opcodes.h"
#include "strided.h"

namespace rushlight {

// A Python number: an operand, or a constant of a program.
struct Number {
  enum Kind : uint8_t { boolean, integer, floating, too_large } kind = boolean;
  int64_t integral = 0;
  double value = 0;
};

// Immutable once made, so any number of threads may call it.
class Program {
 public:
  // instructions: tuples (opcode name, sources ...); a source is the number of a value (first the inputs, then each
  // instruction's result) or a constant in a tuple of its own. reduced: for each output "sum", "mean" or "", which
  // leaves it as it is; none are where it is empty. What is reduced becomes one number, or as many as the array holds
  // that is given for it: each of as many neighbours in row-major order. Raises ValueError for what isn't a program.
  Program(nb::handle instructions, int inputs, const std::vector<int>& outputs, const std::vector<bool>& boolean,
          const std::vector<std::string>& reduced);

  // program(*operands, out=None)
  nb::object call(nb::handle operands, nb::handle options) const;
  // The same call again and again, from and to arrays that stay the same objects; an invalid operand is set before the
  // first run. The Program outlives it.
  std::unique_ptr<rushlight::Instruction> instruction(const std::vector<nb::object>& operands,
                                                      const std::vector<nb::object>& results) const;

 private:
  struct Instruction {
    Opcode opcode;
    int source_count;
    int sources[3];  // numbers of values: inputs, results, constants
    int slot;        // where its result lives while it is needed
  };
  enum class Reduction : uint8_t { none, sum, mean };
  struct Operand;
  struct Layout;
  struct Task;
  class Call;

  static constexpr int dtype_count = static_cast<int>(DType::other);
  static constexpr int most_inputs = 64, most_outputs = 32;

  bool is_reduced(size_t output) const { return reduced_[output] != Reduction::none; }
  void assign_slots();
  void choose_kernels();
  static bool read_operand(nb::handle given, Operand& operand);
  DType common_dtype(const Operand* operands) const;
  void specialize_powers(const Operand* operands, DType compute, Kernel* kernels) const;
  bool measure(const Operand* operands, Layout& layout) const;
  bool accept(const Operand* operands, const Array* given, Layout& layout) const;
  void choose_order(const Operand* operands, const Array* given, Layout& layout) const;
  void arrange(const Layout& layout, const Array* results, Task& task) const;
  void execute(Task& task) const;
  nb::object run(Operand* operands, nb::handle out) const;

  int inputs_;
  std::vector<Instruction> instructions_;
  std::vector<Number> constants_;
  std::vector<int> outputs_;
  std::vector<bool> boolean_;
  std::vector<Reduction> reduced_;  // of each output
  bool reduces_ = false;            // any of them
  int slots_ = 0;
  int cost_ = 0;
  bool has_power_ = false;
  std::vector<bool> written_directly_;        // of each output: whether its instruction may write to it...
  std::vector<bool> reads_inputs_later_;      // ... but not into an operand that a later instruction reads
  std::vector<Kernel> kernels_[dtype_count];  // empty where the program has no code for the dtype
};

}  // namespace rushlight
