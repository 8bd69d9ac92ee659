#include "elementwise.h"

#include <alloca.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "bind.h"
#include "elementwise_call.h"

namespace rushlight {

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
    NewArray result = is_reduced(o)
                          ? empty(layout.dtype, out.is_valid() ? shape_of(given[o]) : std::span<const int64_t>())
                          : empty(boolean_[o] ? DType::boolean : layout.dtype, layout.extents(),
                                  layout.ordered ? layout.order : nullptr);
    made[o] = std::move(result.object);
    arrays[o] = result.array;
  }
  task.targets = static_cast<Strided*>(alloca(sizeof(Strided) * count));
  task.stores = static_cast<ConvertRows*>(alloca(sizeof(ConvertRows) * count));
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
  std::vector<ConvertRows> stores_;
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
