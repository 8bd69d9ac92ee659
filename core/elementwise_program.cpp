// Making a Program: its instructions are read and checked, slots and kernels are chosen.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "elementwise_call.h"

namespace rushlight {

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

namespace {

template <class T>
bool write_integer(const Number& number, char* to) {
  if (number.kind != Number::integer && number.kind != Number::boolean) return false;
  T value = static_cast<T>(number.integral);
  if (static_cast<int64_t>(value) != number.integral) return false;
  std::memcpy(to, &value, sizeof value);
  return true;
}

}  // namespace

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

Opcode power_by(const Number& exponent) {
  if (exponent.value == 1) return Opcode::positive;
  if (exponent.value == 2) return Opcode::square;
  if (exponent.value == 3) return Opcode::cube;
  if (exponent.value == 0.5) return Opcode::sqrt;
  if (exponent.value == -1) return Opcode::reciprocal;
  if (exponent.value == -0.5) return Opcode::reciprocal_sqrt;
  return Opcode::power;
}

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

}  // namespace rushlight
