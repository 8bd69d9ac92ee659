#include "elementwise.h"

#include <alloca.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

#include "bind.h"
#include "convert.h"
#include "memory.h"
#include "reduction_operations.h"
#include "threads.h"

namespace rushlight {

namespace {

// False for what is no number.
bool read_number(PyObject* object, Number& number) {
  if (PyBool_Check(object)) {
    number.kind = Number::boolean;
    number.integral = object == Py_True;
    number.value = static_cast<double>(number.integral);
  } else if (PyFloat_Check(object)) {
    number.kind = Number::floating;
    number.value = PyFloat_AsDouble(object);
  } else if (PyLong_Check(object)) {
    number.kind = Number::integer;
    int overflow = 0;
    number.integral = PyLong_AsLongLongAndOverflow(object, &overflow);
    number.value = overflow == 0 ? static_cast<double>(number.integral) : PyLong_AsDouble(object);
    if (overflow != 0) number.kind = Number::too_large;
    if (PyErr_Occurred()) PyErr_Clear();
  } else {
    return false;
  }
  return true;
}

// The dtype that kernels compute in for operands of `dtype`.
DType compute_dtype(DType dtype) {
  return dtype == DType::float16 || dtype == DType::bfloat16 ? DType::float32 : dtype;
}

template <class T>
bool write_integer(const Number& number, char* to) {
  if (number.kind != Number::integer && number.kind != Number::boolean) return false;
  T value = static_cast<T>(number.integral);
  if (static_cast<int64_t>(value) != number.integral) return false;
  std::memcpy(to, &value, sizeof value);
  return true;
}

// `number` as an item of a compute dtype; false where it would change the dtype of the result or doesn't fit.
bool write_number(const Number& number, DType dtype, char* to) {
  switch (dtype) {
    case DType::boolean: *to = static_cast<char>(number.integral); return number.kind == Number::boolean;
    case DType::uint8: return write_integer<uint8_t>(number, to);
    case DType::int8: return write_integer<int8_t>(number, to);
    case DType::int16: return write_integer<int16_t>(number, to);
    case DType::int32: return write_integer<int32_t>(number, to);
    case DType::int64: return write_integer<int64_t>(number, to);
    case DType::float32: {
      float value = static_cast<float>(number.value);
      std::memcpy(to, &value, sizeof value);
      return true;
    }
    case DType::float64: std::memcpy(to, &number.value, sizeof number.value); return true;
    default: return false;
  }
}

// What `power` by a constant is better computed as; power itself where there is nothing better.
Opcode power_by(const Number& exponent) {
  if (exponent.value == 1) return Opcode::positive;
  if (exponent.value == 2) return Opcode::square;
  if (exponent.value == 3) return Opcode::cube;
  if (exponent.value == 0.5) return Opcode::sqrt;
  if (exponent.value == -1) return Opcode::reciprocal;
  if (exponent.value == -0.5) return Opcode::reciprocal_sqrt;
  return Opcode::power;
}

bool same_extents(const Array& a, const Array& b) {
  return a.dimensions == b.dimensions && std::equal(a.shape, a.shape + a.dimensions, b.shape);
}

// Whether two arrays of one shape lie in memory in the same way, counted in items.
bool same_layout(const Array& a, const Array& b) {
  for (int i = 0; i < a.dimensions; ++i) {
    if (a.shape[i] != 1 && a.strides[i] / item_size(a.dtype) != b.strides[i] / item_size(b.dtype)) return false;
  }
  return true;
}

bool same_memory(const Array& a, const Array& b) {
  if (a.data != b.data || a.dtype != b.dtype || !same_extents(a, b)) return false;
  return same_layout(a, b);
}

void fill(char* to, const char* item, int64_t size, int64_t count) {
  std::memcpy(to, item, static_cast<size_t>(size));
  int64_t done = 1;
  while (done < count) {
    int64_t more = std::min(done, count - done);
    std::memcpy(to + done * size, to, static_cast<size_t>(more * size));
    done += more;
  }
}

}  // namespace

// Making

Program::Program(nb::handle instructions, int inputs, const std::vector<int>& outputs, const std::vector<bool>& boolean,
                 const std::vector<std::string>& reduced)
    : inputs_(inputs), outputs_(outputs), boolean_(boolean), reduced_(outputs.size(), Reduction::none) {
  auto wrong = [](const char* what) { return std::invalid_argument(std::string("Program: ") + what); };
  if (inputs < 1 || inputs > most_inputs) throw wrong("takes 1 to 64 inputs");
  if (outputs.empty() || outputs.size() > most_outputs) throw wrong("gives 1 to 32 outputs");
  if (boolean.size() != outputs.size()) throw wrong("one flag is needed for each output");
  if (!reduced.empty() && reduced.size() != outputs.size()) throw wrong("one reduction is needed for each output");
  for (size_t o = 0; o < reduced.size(); ++o) {
    if (reduced[o] == "sum") reduced_[o] = Reduction::sum;
    if (reduced[o] == "mean") reduced_[o] = Reduction::mean;
    if (!is_reduced(o) && !reduced[o].empty()) throw wrong("an output is reduced by sum or mean");
    if (is_reduced(o) && boolean[o]) throw wrong("truth isn't summed up");
    reduces_ = reduces_ || is_reduced(o);
  }
  nb::list list(instructions);
  int count = static_cast<int>(nb::len(list));
  for (int i = 0; i < count; ++i) {
    nb::tuple given(list[static_cast<size_t>(i)]);
    if (nb::len(given) == 0 || !nb::isinstance<nb::str>(given[0])) throw wrong("an instruction begins with its name");
    Instruction made{};
    made.opcode = opcode_named(nb::borrow<nb::str>(given[0]).c_str());
    if (made.opcode == Opcode::none) throw wrong("no such instruction");
    made.source_count = source_count(made.opcode);
    if (static_cast<int>(nb::len(given)) != made.source_count + 1) throw wrong("wrong number of sources");
    for (int s = 0; s < made.source_count; ++s) {
      nb::object source = given[static_cast<size_t>(s + 1)];
      if (nb::isinstance<nb::tuple>(source)) {
        Number constant;
        nb::tuple wrapped = nb::borrow<nb::tuple>(source);
        if (nb::len(wrapped) != 1 || !read_number(nb::object(wrapped[0]).ptr(), constant)) {
          throw wrong("a constant is a number in a tuple");
        }
        made.sources[s] = inputs + count + static_cast<int>(constants_.size());
        constants_.push_back(constant);
      } else {
        made.sources[s] = nb::cast<int>(source);
        if (made.sources[s] < 0 || made.sources[s] >= inputs + i) throw wrong("a source must come before its use");
      }
    }
    instructions_.push_back(made);
  }
  for (int output : outputs) {
    if (output < 0 || output >= inputs + count) throw wrong("no such output");
  }
  assign_slots();
  choose_kernels();
}

// Results share slots: one is free again after its last use, at the earliest for the instruction that uses it.
void Program::assign_slots() {
  int count = static_cast<int>(instructions_.size());
  std::vector<int> last_use(static_cast<size_t>(inputs_ + count), -1);
  for (int i = 0; i < count; ++i) {
    for (int s = 0; s < instructions_[i].source_count; ++s) {
      int source = instructions_[i].sources[s];
      if (source < inputs_ + count) last_use[source] = i;
    }
  }
  for (int output : outputs_) last_use[output] = count;
  std::vector<int> free_slots;
  for (int i = 0; i < count; ++i) {
    Instruction& instruction = instructions_[i];
    for (int s = 0; s < instruction.source_count; ++s) {
      int source = instruction.sources[s];
      bool repeated = std::find(instruction.sources, instruction.sources + s, source) != instruction.sources + s;
      if (source >= inputs_ && source < inputs_ + count && last_use[source] == i && !repeated) {
        free_slots.push_back(instructions_[source - inputs_].slot);
      }
    }
    if (free_slots.empty()) {
      instruction.slot = slots_++;
    } else {
      instruction.slot = free_slots.back();
      free_slots.pop_back();
    }
    if (last_use[inputs_ + i] < 0) free_slots.push_back(instruction.slot);
    cost_ += cost(instruction.opcode);
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    int output = outputs_[i];
    bool first = true;
    for (size_t before = 0; before < i; ++before) first = first && (outputs_[before] != output || is_reduced(before));
    written_directly_.push_back(output >= inputs_ && first && !is_reduced(i));
    bool later = false;  // or at the end, in order to be summed up
    for (size_t o = 0; o < outputs_.size(); ++o) later = later || (is_reduced(o) && outputs_[o] < inputs_);
    for (int k = output - inputs_ + 1; k < count; ++k) {
      for (int s = 0; s < instructions_[std::max(k, 0)].source_count; ++s) {
        later = later || instructions_[std::max(k, 0)].sources[s] < inputs_;
      }
    }
    reads_inputs_later_.push_back(later);
  }
}

void Program::choose_kernels() {
  int first_constant = inputs_ + static_cast<int>(instructions_.size());
  for (int index = 0; index < dtype_count; ++index) {
    DType dtype = static_cast<DType>(index), compute = compute_dtype(dtype);
    char item[8];
    bool complete = std::all_of(constants_.begin(), constants_.end(),
                                [&](const Number& constant) { return write_number(constant, compute, item); });
    std::vector<Kernel> kernels;
    for (const Instruction& instruction : instructions_) {
      Kernel kernel = kernel_for(instruction.opcode, compute);
      if (instruction.opcode == Opcode::power) {
        int exponent = instruction.sources[1];
        has_power_ = has_power_ || exponent < first_constant;
        Opcode better = exponent >= first_constant ? power_by(constants_[exponent - first_constant]) : Opcode::power;
        if (Kernel found = kernel_for(better, compute)) kernel = found;
      }
      complete = complete && kernel != nullptr;
      kernels.push_back(kernel);
    }
    // A boolean result of arithmetic is only right where 0 and 1 mean what they mean for bools.
    if (complete) kernels_[index] = std::move(kernels);
  }
}

// Calling

struct Program::Operand {
  bool is_number;
  bool direct;  // kernels read it where it lies
  int slot;
  Number number;
  Array array;
  Strided strided;
  ConvertRun load;
};

struct Program::Task {
  const Program& program;
  const Kernel* kernels = nullptr;
  Operand* operands = nullptr;
  Strided* targets = nullptr;
  ConvertRun* stores = nullptr;  // nullptr among them: the instruction writes the output itself, or it is reduced
  double* totals = nullptr;      // of each block of `grain` items, one for each output
  DType compute = DType::other;
  int64_t item = 0, total = 0;
  int slots = 0;  // scratch for results, operands that are loaded, constants
  int64_t block = 0, grain = 0;

  void operator()(int64_t begin, int64_t end) const;
};

constexpr int64_t scratch_bytes = 24576;  // leaves room in an L1 cache of 32 KiB

void Program::Task::operator()(int64_t begin, int64_t end) const {
  const Program& p = program;
  int count = static_cast<int>(p.instructions_.size()), constants = static_cast<int>(p.constants_.size());
  alignas(64) char on_stack[scratch_bytes];
  int64_t slot_bytes = block * item, needed = slots * slot_bytes;
  char* scratch = on_stack;
  if (needed > scratch_bytes) scratch = static_cast<char*>(allocate(static_cast<size_t>(needed)));
  const char** values =
      static_cast<const char**>(alloca(sizeof(char*) * static_cast<size_t>(p.inputs_ + count + constants)));

  int64_t filled = std::min(block, end - begin);
  int slot = p.slots_;
  for (int i = 0; i < constants; ++i) {
    char constant[8];
    write_number(p.constants_[i], compute, constant);
    char* at = scratch + slot_bytes * slot++;
    fill(at, constant, item, filled);
    values[p.inputs_ + count + i] = at;
  }
  for (int i = 0; i < p.inputs_; ++i) {
    Operand& operand = operands[i];
    values[i] = scratch + slot_bytes * operand.slot;
    char constant[8];
    if (operand.is_number) {
      write_number(operand.number, compute, constant);
    } else if (operand.strided.single() && !operand.direct) {
      operand.load(constant, item, operand.strided.data, 0, 1);
    } else {
      continue;
    }
    fill(scratch + slot_bytes * operand.slot, constant, item, filled);
  }

  for (int64_t at = begin; at < end; at += block) {
    int64_t items = std::min(block, end - at);
    for (int i = 0; i < p.inputs_; ++i) {
      const Operand& operand = operands[i];
      if (operand.is_number) continue;
      const Strided& strided = operand.strided;
      if (operand.direct) {
        values[i] = strided.data + at * item;
      } else if (!strided.single()) {
        char* to = scratch + slot_bytes * operand.slot;
        values[i] = to;
        strided.for_runs(at, items, [&](const char* from, int64_t stride, int64_t run) {
          if (run == items && stride == item && operand.array.dtype == compute) {
            values[i] = from;  // the whole block lies in one piece
            return;
          }
          operand.load(to, item, from, stride, run);
          to += run * item;
        });
      }
    }
    for (int k = 0; k < count; ++k) {
      const Instruction& instruction = p.instructions_[k];
      char* to = scratch + slot_bytes * instruction.slot;
      for (size_t o = 0; o < p.outputs_.size(); ++o) {
        bool written_here = stores[o] == nullptr && !p.is_reduced(o);
        if (written_here && p.outputs_[o] == p.inputs_ + k) to = targets[o].data + at * item;
      }
      const char* sources[3];
      for (int s = 0; s < instruction.source_count; ++s) sources[s] = values[instruction.sources[s]];
      kernels[k](to, sources, items);
      values[p.inputs_ + k] = to;
    }
    for (size_t o = 0; o < p.outputs_.size() && p.reduces_; ++o) {
      if (!p.is_reduced(o)) continue;
      const char* from = values[p.outputs_[o]];
      totals[begin / grain * static_cast<int64_t>(p.outputs_.size()) + static_cast<int64_t>(o)] +=
          compute == DType::float64 ? fold<double, Add>(reinterpret_cast<const double*>(from), items)
                                    : fold<float, Add>(reinterpret_cast<const float*>(from), items);
    }
    for (size_t o = 0; o < p.outputs_.size(); ++o) {
      if (stores[o] == nullptr) continue;
      const char* from = values[p.outputs_[o]];
      targets[o].for_runs(at, items, [&](char* to, int64_t stride, int64_t run) {
        stores[o](to, stride, from, item, run);
        from += run * item;
      });
    }
  }
  if (scratch != on_stack) release(scratch, static_cast<size_t>(needed));
}

nb::object Program::call(nb::handle arguments, nb::handle options) const {
  nb::handle out;
  if (options.is_valid() && PyDict_Size(options.ptr()) > 0) {
    PyObject* found = PyDict_GetItemString(options.ptr(), "out");
    if (found == nullptr || PyDict_Size(options.ptr()) > 1) throw nb::type_error("Program: the only option is out=");
    if (found != Py_None) out = found;
  }
  if (PyTuple_Size(arguments.ptr()) != inputs_) throw nb::type_error("Program: wrong number of operands");
  Operand* operands = static_cast<Operand*>(alloca(sizeof(Operand) * static_cast<size_t>(inputs_)));
  for (int i = 0; i < inputs_; ++i) {
    if (!read_operand(PyTuple_GetItem(arguments.ptr(), i), operands[i])) return not_implemented();
  }
  return run(operands, out);
}

bool Program::read_operand(nb::handle given, Operand& operand) {
  operand.is_number = !is_array(given);
  if (operand.is_number) return read_number(given.ptr(), operand.number);
  operand.array = borrow(given);
  return true;
}

// The dtype that arrays agree on, those of bools aside; other where they don't, or where there are none.
DType Program::common_dtype(const Operand* operands) const {
  DType dtype = DType::other;
  bool any_array = false;
  for (int i = 0; i < inputs_; ++i) {
    if (operands[i].is_number) continue;
    any_array = true;
    DType own = operands[i].array.dtype;
    if (own == DType::boolean) continue;
    if (own == DType::other || (dtype != DType::other && dtype != own)) return DType::other;
    dtype = own;
  }
  return any_array && dtype == DType::other ? DType::boolean : dtype;
}

// Powers by an exponent that numbers and constants alone decide (x ** 2, and its gradient 2 * x ** (2 - 1)) get the
// kernels of power_by.
void Program::specialize_powers(const Operand* operands, DType compute, Kernel* kernels) const {
  size_t count = instructions_.size(), first_constant = static_cast<size_t>(inputs_) + count;
  std::vector<double> items(first_constant + constants_.size());  // one item of the compute dtype each
  std::vector<bool> known(items.size(), false);
  auto item = [&](size_t value) { return reinterpret_cast<char*>(&items[value]); };
  for (size_t i = 0; i < constants_.size(); ++i) {
    known[first_constant + i] = write_number(constants_[i], compute, item(first_constant + i));
  }
  for (size_t i = 0; i < static_cast<size_t>(inputs_); ++i) {
    if (operands[i].is_number) known[i] = write_number(operands[i].number, compute, item(i));
  }
  for (size_t k = 0; k < count; ++k) {
    const Instruction& instruction = instructions_[k];
    const char* sources[3];
    bool all_known = true;
    for (int s = 0; s < instruction.source_count; ++s) {
      size_t source = static_cast<size_t>(instruction.sources[s]);
      all_known = all_known && known[source];
      sources[s] = item(source);
    }
    if (all_known) {
      kernels[k](item(static_cast<size_t>(inputs_) + k), sources, 1);
      known[static_cast<size_t>(inputs_) + k] = true;
    }
    if (instruction.opcode != Opcode::power || !known[static_cast<size_t>(instruction.sources[1])]) continue;
    Number exponent;
    converter(DType::float64, compute)(reinterpret_cast<char*>(&exponent.value), 8, sources[1], 8, 1);
    if (Kernel found = kernel_for(power_by(exponent), compute)) kernels[k] = found;
  }
}

// What is known of a call from its operands: the shape of its results, and an order of dimensions to walk them in.
struct Program::Layout {
  DType dtype, compute;
  int dimensions = 0;
  int64_t total = 1;
  bool uniform = true;                       // all arrays have one shape and are contiguous
  bool ordered = false;                      // `order` isn't row-major
  bool in_place = false, temporary = false;  // results share memory with operands; not in a way that is safe
  int64_t shape[max_dimensions];
  int order[max_dimensions];

  std::span<const int64_t> extents() const { return {shape, static_cast<size_t>(dimensions)}; }
};

// Fills dtype, shape and uniform; false where there is no code for these operands.
bool Program::measure(const Operand* operands, Layout& layout) const {
  layout.dtype = common_dtype(operands);
  if (layout.dtype == DType::other) return false;
  layout.compute = compute_dtype(layout.dtype);
  if (kernels_[static_cast<int>(layout.dtype)].empty() && !instructions_.empty()) return false;
  if (reduces_ && layout.dtype != DType::float32 && layout.dtype != DType::float64) return false;
  int64_t* shape = layout.shape;
  int& dimensions = layout.dimensions;
  const Array* first = nullptr;
  for (int i = 0; i < inputs_; ++i) {
    if (operands[i].is_number) {
      char unused[8];
      if (!write_number(operands[i].number, layout.compute, unused)) return false;
      continue;
    }
    const Array& array = operands[i].array;
    layout.uniform = layout.uniform && array.contiguous() && (first == nullptr || same_extents(*first, array));
    if (first == nullptr) first = &array;
    for (int d = dimensions; d < array.dimensions; ++d) {  // widen to the left
      std::memmove(shape + 1, shape, sizeof(int64_t) * static_cast<size_t>(dimensions));
      shape[0] = 1;
      ++dimensions;
    }
    int shift = dimensions - array.dimensions;
    for (int d = 0; d < array.dimensions; ++d) {
      int64_t extent = array.shape[d];
      if (shape[shift + d] == 1) {
        shape[shift + d] = extent;
      } else if (extent != 1 && extent != shape[shift + d]) {
        return false;
      }
    }
  }
  for (int d = 0; d < dimensions; ++d) {
    if (__builtin_mul_overflow(layout.total, shape[d], &layout.total)) throw std::bad_alloc();
  }
  return true;
}

// Takes arrays that are given for the results; false where they have another shape or dtype.
bool Program::accept(const Operand* operands, const Array* given, Layout& layout) const {
  for (size_t o = 0; o < outputs_.size(); ++o) {
    const Array& array = given[o];
    if (!array.writeable) throw std::invalid_argument("Program: out= is read-only");
    if (array.dtype != (boolean_[o] ? DType::boolean : layout.dtype)) return false;
    if (is_reduced(o)) {  // written when all else has been read
      if (array.size() != 1) return false;
      continue;
    }
    if (!std::ranges::equal(shape_of(array), layout.extents())) return false;
    for (int i = 0; i < inputs_; ++i) {
      if (operands[i].is_number || !overlap(array, operands[i].array)) continue;
      layout.in_place = true;
      layout.temporary = layout.temporary || !same_memory(array, operands[i].array);
    }
    for (size_t other = 0; other < o; ++other) {
      layout.temporary = layout.temporary || (!is_reduced(other) && overlap(array, given[other]));
    }
    layout.uniform = layout.uniform && array.contiguous();
  }
  return true;
}

// An order of dimensions that suits the results, where they are given, else the operands of the results' shape.
void Program::choose_order(const Operand* operands, const Array* given, Layout& layout) const {
  if (layout.uniform) return;
  size_t unreduced = 0;
  while (unreduced < outputs_.size() && is_reduced(unreduced)) ++unreduced;
  if (given != nullptr) given = unreduced < outputs_.size() ? given + unreduced : nullptr;
  const Array* guide = given;
  bool shared = true;
  for (int i = 0; i < inputs_ && given == nullptr; ++i) {
    const Array& array = operands[i].array;
    if (operands[i].is_number || !std::ranges::equal(shape_of(array), layout.extents())) continue;
    if (guide == nullptr) {
      guide = &array;
    } else {
      shared = shared && same_layout(*guide, array);
    }
  }
  if (guide == nullptr || !shared || guide->contiguous()) return;
  layout.ordered = dense_order(*guide, layout.order) || given != nullptr;
}

// Every operand and result as seen along the results, and what is computed in which scratch. `task` has the memory for
// its operands, targets and stores.
void Program::arrange(const Layout& layout, const Array* results, Task& task) const {
  int64_t extents[max_dimensions], steps[max_dimensions];
  int dimensions = layout.dimensions;
  bool ordered = layout.ordered;
  for (int d = 0; d < dimensions; ++d) extents[d] = layout.shape[ordered ? layout.order[d] : d];
  auto view = [&](const Array& array, Strided& strided) {
    strided.data = array.data;
    strided.dtype = array.dtype;
    if (layout.uniform) {
      strided.dimensions = 1;
      strided.shape[0] = layout.total;
      strided.strides[0] = item_size(array.dtype);
      return;
    }
    int shift = dimensions - array.dimensions;
    for (int d = 0; d < dimensions; ++d) {
      int at = (ordered ? layout.order[d] : d) - shift;
      steps[d] = at < 0 || array.shape[at] == 1 ? 0 : array.strides[at];
    }
    strided.merge(extents, steps, dimensions);
  };
  task.compute = layout.compute;
  task.item = item_size(layout.compute);
  task.total = layout.total;
  task.slots = slots_ + static_cast<int>(constants_.size());
  for (int i = 0; i < inputs_; ++i) {
    Operand& operand = task.operands[i];
    operand.direct = false;
    if (!operand.is_number) {
      view(operand.array, operand.strided);
      operand.direct = operand.array.dtype == task.compute && operand.strided.plain() &&
                       (task.total == 1 || !operand.strided.single());
      operand.load = converter(task.compute, operand.array.dtype);
    }
    operand.slot = operand.direct ? 0 : task.slots++;
  }
  bool only_direct = instructions_.size() == 1;
  for (size_t o = 0; o < outputs_.size(); ++o) {
    if (is_reduced(o)) {
      task.targets[o].data = results[o].data;
      task.stores[o] = nullptr;
      only_direct = false;
      continue;
    }
    view(results[o], task.targets[o]);
    bool direct = written_directly_[o] && results[o].dtype == task.compute && task.targets[o].plain() &&
                  !(layout.in_place && !layout.temporary && reads_inputs_later_[o]);
    task.stores[o] = direct ? nullptr : converter(results[o].dtype, task.compute);
    only_direct = only_direct && direct;
  }
  only_direct = only_direct && task.slots == slots_;
  // Blocks of 512 bytes to 4 KiB for each value; with nothing to keep between instructions, there is no need to cut.
  int64_t bytes = 4096;
  while (bytes > 512 && bytes * task.slots > scratch_bytes) bytes /= 2;
  task.block = only_direct ? int64_t{1} << 20 : bytes / task.item;
  if (only_direct) task.slots = 0;
}

void Program::execute(Task& task) const {
  task.grain = std::max<int64_t>(131072 / (3 + cost_) / 1024 * 1024, 1024);
  const size_t outputs = outputs_.size();
  std::vector<double> totals(reduces_ ? outputs * static_cast<size_t>(task.total / task.grain + 1) : 0);
  task.totals = totals.data();
  if (task.total > task.grain) {
    Unlocked unlocked;
    parallel_for(task.total, task.grain, task);
  } else if (task.total > 0) {
    task(0, task.total);
  }
  for (size_t o = 0; o < outputs && reduces_; ++o) {
    if (!is_reduced(o)) continue;
    double total = 0;
    for (size_t i = o; i < totals.size(); i += outputs) total += totals[i];
    if (reduced_[o] == Reduction::mean) total *= 1 / static_cast<double>(task.total);
    converter(task.compute, DType::float64)(task.targets[o].data, task.item, reinterpret_cast<char*>(&total), 8, 1);
  }
}

nb::object Program::run(Operand* operands, nb::handle out) const {
  Layout layout;
  if (!measure(operands, layout)) return not_implemented();
  size_t count = outputs_.size();
  Task task{*this, kernels_[static_cast<int>(layout.dtype)].data(), operands};
  if (has_power_) {
    Kernel* chosen = static_cast<Kernel*>(alloca(sizeof(Kernel) * instructions_.size()));
    std::copy_n(task.kernels, instructions_.size(), chosen);
    specialize_powers(operands, layout.compute, chosen);
    task.kernels = chosen;
  }
  nb::object made[most_outputs];
  Array* arrays = static_cast<Array*>(alloca(sizeof(Array) * count));
  Array* given = static_cast<Array*>(alloca(sizeof(Array) * count));
  if (out.is_valid()) {
    for (size_t o = 0; o < count; ++o) {
      nb::handle target = out;
      if (PyTuple_Check(out.ptr())) {
        if (PyTuple_Size(out.ptr()) != static_cast<Py_ssize_t>(count))
          throw nb::type_error("Program: wrong number of outs");
        target = PyTuple_GetItem(out.ptr(), static_cast<Py_ssize_t>(o));
      } else if (count != 1) {
        throw nb::type_error("Program: out= is a tuple where there are several results");
      }
      if (!is_array(target)) throw nb::type_error("Program: out= takes NumPy arrays");
      given[o] = arrays[o] = borrow(target);
    }
    if (!accept(operands, given, layout)) return not_implemented();
  }
  bool direct = out.is_valid() && !layout.temporary;
  choose_order(operands, direct ? arrays : nullptr, layout);
  for (size_t o = 0; o < count && !direct; ++o) {
    NewArray result = is_reduced(o) ? empty(layout.dtype, {})
                                    : empty(boolean_[o] ? DType::boolean : layout.dtype, layout.extents(),
                                            layout.ordered ? layout.order : nullptr);
    made[o] = std::move(result.object);
    arrays[o] = result.array;
  }
  task.targets = static_cast<Strided*>(alloca(sizeof(Strided) * count));
  task.stores = static_cast<ConvertRun*>(alloca(sizeof(ConvertRun) * count));
  arrange(layout, arrays, task);
  execute(task);
  if (layout.temporary) {
    for (size_t o = 0; o < count; ++o) copy_strided(given[o], arrays[o]);
  }
  if (out.is_valid()) return nb::borrow(out);
  if (count == 1) return std::move(made[0]);
  nb::object tuple = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t o = 0; o < count; ++o) {
    PyTuple_SetItem(tuple.ptr(), static_cast<Py_ssize_t>(o), made[o].release().ptr());
  }
  return tuple;
}

// A call of a program with operands and results that are always the same objects. It is planned when it is first run,
// and again when a number has changed or an array lies elsewhere.
class Program::Call final : public rushlight::Instruction {
 public:
  Call(const Program& program, const std::vector<nb::object>& operands, const std::vector<nb::object>& results)
      : program_(program), operands_(operands.size()), targets_(results.size()), stores_(results.size()) {
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].is_valid()) set(i, operands[i]);
    }
    for (const nb::object& result : results) results_.push_back(borrow(result));
  }

  void set(size_t position, nb::handle value) override {
    if (!read_operand(value, operands_[position])) throw nb::type_error("Program: an operand is an array or a number");
    planned_ = false;
  }

  void run() override {
    if (moved() || !planned_) plan();
    program_.execute(task_);
    for (size_t o = 0; o < temporaries_.size(); ++o) copy_strided(results_[o], temporaries_[o].array);
  }

 private:
  bool moved() {
    bool any = false;
    auto look = [&](Array& array) {
      char* data = data_of(array.object);
      any = any || data != array.data;
      array.data = data;
    };
    for (Operand& operand : operands_) {
      if (!operand.is_number) look(operand.array);
    }
    for (Array& result : results_) look(result);
    return any;
  }

  void plan() {
    Layout layout;
    if (!program_.measure(operands_.data(), layout) || !program_.accept(operands_.data(), results_.data(), layout)) {
      throw NoCode("Program has no code for these operands and results");
    }
    const std::vector<Kernel>& kernels = program_.kernels_[static_cast<int>(layout.dtype)];
    kernels_ = kernels;
    if (program_.has_power_) program_.specialize_powers(operands_.data(), layout.compute, kernels_.data());
    program_.choose_order(operands_.data(), layout.temporary ? nullptr : results_.data(), layout);
    std::vector<Array> arrays = results_;
    temporaries_.clear();
    for (size_t o = 0; o < arrays.size() && layout.temporary; ++o) {
      if (program_.is_reduced(o)) {
        temporaries_.emplace_back(arrays[o].dtype, shape_of(arrays[o]));
      } else {
        temporaries_.emplace_back(arrays[o].dtype, layout.extents(), layout.ordered ? layout.order : nullptr);
      }
      arrays[o] = temporaries_[o].array;
    }
    task_.kernels = kernels_.data();
    task_.operands = operands_.data();
    task_.targets = targets_.data();
    task_.stores = stores_.data();
    program_.arrange(layout, arrays.data(), task_);
    planned_ = true;
  }

  const Program& program_;
  std::vector<Operand> operands_;
  std::vector<Array> results_;
  std::vector<WorkArray> temporaries_;
  std::vector<Kernel> kernels_;
  std::vector<Strided> targets_;
  std::vector<ConvertRun> stores_;
  Task task_{program_};
  bool planned_ = false;
};

std::unique_ptr<rushlight::Instruction> Program::instruction(const std::vector<nb::object>& operands,
                                                             const std::vector<nb::object>& results) const {
  if (operands.size() != static_cast<size_t>(inputs_)) throw nb::type_error("Program: wrong number of operands");
  if (results.size() != outputs_.size()) throw nb::type_error("Program: wrong number of results");
  return std::make_unique<Call>(*this, operands, results);
}

// The slot tp_call, without nanobind's own dispatch: a call of a tiny program costs less than its Python frame.
static PyObject* call_program(PyObject* self, PyObject* arguments, PyObject* options) {
  try {
    return nb::inst_ptr<Program>(self)->call(arguments, options).release().ptr();
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const nb::builtin_exception& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

void bind_elementwise(nb::module_& module) {
  static PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(call_program)}, {0, nullptr}};
  nb::class_<Program>(module, "Program", nb::type_slots(slots),
                      "A program of elementwise instructions. `program(*operands, out=None)` takes NumPy arrays and "
                      "numbers and returns an array or a tuple of them, or NotImplemented for dtypes without code and "
                      "shapes that don't broadcast.")
      .def(nb::init<nb::handle, int, const std::vector<int>&, const std::vector<bool>&,
                    const std::vector<std::string>&>(),
           nb::arg("instructions"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("boolean"),
           nb::arg("reduced") = std::vector<std::string>());
}

}  // namespace rushlight
