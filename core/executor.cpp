#include "executor.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <stdexcept>

#include "bind.h"
#include "convert.h"

namespace rushlight {

namespace {

std::runtime_error error(const std::string& what) { return std::runtime_error("Executor: " + what); }

// Whether two numbers are the same to a kernel, which tells 0 from -0, and 1 from 1.0 and from True.
bool same_number(nb::handle a, nb::handle b) {
  if (a.is(b)) return true;
  if (Py_TYPE(a.ptr()) != Py_TYPE(b.ptr())) return false;
  if (PyFloat_Check(a.ptr())) {
    return std::bit_cast<int64_t>(PyFloat_AsDouble(a.ptr())) == std::bit_cast<int64_t>(PyFloat_AsDouble(b.ptr()));
  }
  int equal = PyObject_RichCompareBool(a.ptr(), b.ptr(), Py_EQ);
  if (equal < 0) throw nb::python_error();
  return equal == 1;
}

// The bytes that an array covers, counted from its data pointer.
std::pair<int64_t, int64_t> covered(const Array& array) {
  int64_t low = 0, high = item_size(array.dtype);
  for (int i = 0; i < array.dimensions; ++i) {
    if (array.shape[i] == 0) return {0, 0};
    (array.strides[i] < 0 ? low : high) += array.strides[i] * (array.shape[i] - 1);
  }
  return {low, high};
}

}  // namespace

// One thread at a time; the others wait without the GIL.
class Executor::Turn {
 public:
  explicit Turn(Executor& executor) : executor_(executor) {
    if (executor.owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
      throw error("it is running already, and one of its calls has come back to it");
    }
    if (!executor.mutex_.try_lock()) {
      nb::gil_scoped_release released;
      executor.mutex_.lock();
    }
    executor.owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    executor_.owner_.store(std::thread::id(), std::memory_order_relaxed);
    executor_.mutex_.unlock();
  }

 private:
  Executor& executor_;
};

// The GIL, given back for the length of a run but for calls of Python.
class Executor::Released {
 public:
  Released() { release(); }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;
  ~Released() { acquire(); }
  void release() { state_ = PyEval_SaveThread(); }
  void acquire() {
    if (state_ != nullptr) PyEval_RestoreThread(std::exchange(state_, nullptr));
  }

 private:
  PyThreadState* state_ = nullptr;
};

// The arrays that move stay at the places of the last run, in bases that are kept alive, until they are released.
Executor::~Executor() { send_home(); }

void Executor::send_home() {
  for (const Relocation& move : relocations_) {
    set_data(move.view, move.home);
    set_data(move.original, move.home);
  }
  bases_.clear();
}

void Executor::release() {
  Turn turn(*this);
  send_home();
}

// Everything is checked before anything moves.
void Executor::move_arrays(nb::handle given) {
  std::vector<nb::object> bases;
  for (nb::handle base : given) bases.push_back(nb::borrow(base));
  std::vector<char*> places;
  for (const Relocation& move : relocations_) {
    if (move.slot >= bases.size()) throw nb::value_error("Executor: there is no base for a relocated array");
    Array base = borrow(bases[move.slot]);
    auto [low, high] = covered(base);
    char* to = base.data + move.offset;
    if (move.low < move.high && (move.offset + move.low < low || move.offset + move.high > high)) {
      throw nb::value_error("Executor: a base is too small for the array that is to lie in it");
    }
    if (std::bit_cast<uintptr_t>(to) % static_cast<uintptr_t>(move.alignment) != 0) {
      throw nb::value_error("Executor: a base isn't aligned to the items of the array that is to lie in it");
    }
    if (move.written && !base.writeable) throw nb::value_error("Executor: the base of a result is read-only");
    places.push_back(to);
  }
  for (size_t i = 0; i < places.size(); ++i) {
    set_data(relocations_[i].view, places[i]);
    set_data(relocations_[i].original, places[i]);
  }
  bases_ = std::move(bases);
}

// Adding

nb::object Executor::own(nb::handle array) {
  View& known = views_[array.ptr()];
  if (!known.view.is_valid()) known = {nb::borrow(array), view_of(array)};
  return known.view;
}

// `value` with views of our own in the place of arrays; the slots in it are listed.
nb::object Executor::own_all(nb::handle value, std::vector<size_t>& slots) {
  if (is_array(value)) return own(value);
  if (nb::isinstance<Slot>(value)) slots.push_back(nb::cast<Slot>(value).index);
  bool is_list = PyList_Check(value.ptr());
  if (!is_list && !PyTuple_Check(value.ptr())) return nb::borrow(value);
  nb::list items;
  for (nb::handle item : value) items.append(own_all(item, slots));
  return is_list ? nb::object(items) : nb::object(nb::tuple(items));
}

// `pattern` with numbers in the place of slots.
nb::object Executor::substitute(nb::handle pattern, nb::handle numbers) const {
  if (nb::isinstance<Slot>(pattern)) return nb::borrow(numbers[nb::cast<Slot>(pattern).index]);
  bool is_list = PyList_Check(pattern.ptr());
  if (!is_list && !PyTuple_Check(pattern.ptr())) return nb::borrow(pattern);
  nb::list items;
  for (nb::handle item : pattern) items.append(substitute(item, numbers));
  return is_list ? nb::object(items) : nb::object(nb::tuple(items));
}

// Keeps the values for the instruction that the next step will be; those that have slots are left out, and set at runs.
std::vector<nb::object> Executor::without_slots(std::vector<nb::object> values, Step& step) {
  for (size_t i = 0; i < values.size(); ++i) {
    std::vector<size_t> slots;
    values[i] = own_all(values[i], slots);
    if (slots.empty()) continue;
    variables_.push_back({steps_.size(), i, std::move(values[i]), std::move(slots)});
    values[i] = nb::object();
  }
  step.values = values;
  return values;
}

size_t Executor::add(const std::string& kernel, nb::tuple arguments, nb::dict options, nb::tuple results,
                     nb::object otherwise) {
  Turn turn(*this);
  const KernelDeclaration& declaration = kernel_named(kernel);
  Step step;
  step.kernel = kernel;
  step.otherwise = std::move(otherwise);
  for (nb::handle result : results) {
    Array array = borrow(result);
    if (!array.writeable) throw nb::value_error("Executor: a result is read-only");
    nb::object destination = own(result);
    if (!array.contiguous()) {
      nb::object stand_in = empty(array.dtype, shape_of(array)).object;
      step.strided.emplace_back(destination, stand_in);
      destination = stand_in;
    }
    step.destinations.push_back(std::move(destination));
  }
  std::vector<nb::object> values = declaration.bind(kernel, arguments, options);
  size_t known = variables_.size();
  try {
    step.call = declaration.make(without_slots(std::move(values), step));
  } catch (const nb::cast_error&) {
    variables_.resize(known);
    throw nb::type_error(("Executor: " + kernel + " doesn't take arguments of these types").c_str());
  } catch (...) {
    variables_.resize(known);
    throw;
  }
  steps_.push_back(std::move(step));
  return steps_.size() - 1;
}

size_t Executor::add_elementwise(nb::object program, nb::tuple operands, nb::tuple results, nb::object otherwise) {
  Turn turn(*this);
  Step step;
  step.kernel = "Program";
  step.callable = program;  // kept alive
  step.otherwise = std::move(otherwise);
  std::vector<nb::object> given, targets;
  for (nb::handle operand : operands) given.push_back(nb::borrow(operand));
  for (nb::handle result : results) {
    if (!borrow(result).writeable) throw nb::value_error("Executor: a result is read-only");
    targets.push_back(own(result));
  }
  size_t known = variables_.size();
  try {
    step.call = nb::cast<const Program&>(program).instruction(without_slots(std::move(given), step), targets);
  } catch (...) {
    variables_.resize(known);
    throw;
  }
  for (nb::object& target : targets) step.values.push_back(std::move(target));
  steps_.push_back(std::move(step));
  return steps_.size() - 1;
}

size_t Executor::add_copy(nb::handle source, nb::handle result) {
  return add("copy_into", nb::make_tuple(result, source), nb::dict(), nb::tuple(), nb::none());
}

size_t Executor::add_call(nb::object callable) {
  Turn turn(*this);
  if (!PyCallable_Check(callable.ptr())) throw nb::type_error("Executor: add_call takes a callable");
  Step step;
  step.callable = std::move(callable);
  steps_.push_back(std::move(step));
  return steps_.size() - 1;
}

void Executor::relocate(nb::handle object, size_t slot, int64_t offset) {
  Turn turn(*this);
  Array array = borrow(object);
  if (array.dtype == DType::other) throw nb::type_error("Executor: there is no code for arrays of this dtype");
  auto [low, high] = covered(array);
  nb::object view = own(object);
  if (auto [known, fresh] = relocated_.try_emplace(object.ptr(), relocations_.size()); !fresh) {
    const Relocation& move = relocations_[known->second];
    if (move.slot == slot && move.offset == offset) return;
    throw nb::value_error("Executor: the array is relocated already, to another place");
  }
  relocations_.push_back(
      {nb::borrow(object), view, slot, offset, low, high, item_size(array.dtype), array.data, array.writeable});
}

// Running

void Executor::set_numbers(nb::handle given) {
  std::vector<nb::object> numbers;
  for (nb::handle number : given) numbers.push_back(nb::borrow(number));
  std::vector<bool> changed(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    changed[i] = i >= numbers_.size() || !same_number(numbers[i], numbers_[i]);
  }
  numbers_.clear();  // where a value doesn't fit, all are set at the next run
  for (const Variable& variable : variables_) {
    bool any = false;
    for (size_t slot : variable.slots) {
      if (slot >= numbers.size()) throw nb::value_error("Executor: there is no number for a slot");
      any = any || changed[slot];
    }
    if (!any) continue;
    Step& step = steps_[variable.step];
    if (!step.call) continue;  // a callable has taken its place
    nb::object value = substitute(variable.pattern, given);
    try {
      step.call->set(variable.position, value);
    } catch (const nb::cast_error&) {
      throw nb::type_error(("Executor: " + step.kernel + " doesn't take such a number").c_str());
    }
    step.values[variable.position] = std::move(value);
  }
  numbers_ = std::move(numbers);
}

void Executor::run_step(Step& step, Released& released) {
  if (step.call && run_kernel(step)) return;
  released.acquire();
  if (step.call) {
    step.callable = std::exchange(step.otherwise, nb::object());
    step.call.reset();
  }
  step.callable();
  released.release();
}

// False where the kernel has no code for its operands and something else is to be called.
bool Executor::run_kernel(Step& step) {
  Execution current{step.kernel.c_str(), step.destinations};
  struct Scope {
    explicit Scope(Execution* now) { execution = now; }
    ~Scope() { execution = nullptr; }
  } scope(&current);
  try {
    step.call->run();
  } catch (const NoCode&) {
    if (step.otherwise.is_none()) throw;
    return false;
  }
  if (current.made != step.destinations.size()) {
    throw error(step.kernel + " has fewer results than the program has arrays for");
  }
  for (auto& [destination, stand_in] : step.strided) copy_strided(borrow(destination), borrow(stand_in));
  return true;
}

void Executor::run(nb::handle bases, nb::handle numbers, std::vector<double>* seconds) {
  Turn turn(*this);
  failed_ = -1;
  set_numbers(numbers);
  move_arrays(bases);
  using Clock = std::chrono::steady_clock;
  size_t at = 0;
  try {
    Released released;
    for (auto last = seconds == nullptr ? Clock::time_point() : Clock::now(); at < steps_.size(); ++at) {
      run_step(steps_[at], released);
      if (seconds == nullptr) continue;
      auto now = Clock::now();
      seconds->push_back(std::chrono::duration<double>(now - std::exchange(last, now)).count());
    }
  } catch (...) {
    failed_ = static_cast<int64_t>(at);
    throw;
  }
}

void bind_executor(nb::module_& module) {
  nb::class_<Slot>(module, "Slot",
                   "Stands for a number that changes from run to run: the one at `index` of those given.")
      .def(nb::init<size_t>(), nb::arg("index"))
      .def_ro("index", &Slot::index);
  nb::class_<Executor>(module, "Executor",
                       "A flat list of kernel calls, run in order with the GIL released. Arrays are NumPy arrays; the "
                       "executor keeps what it was given alive. One thread runs it at a time, others wait.")
      .def(nb::init<>())
      .def(
          "add", &Executor::add, nb::arg("kernel"), nb::arg("args"), nb::arg("options"), nb::arg("results"),
          nb::arg("otherwise") = nb::none(),
          "Appends a call of a kernel (see kernel_names) with the arguments that it takes from Python, but for numbers "
          "that may be Slots. Its results are written to the arrays `results`, which must not overlap its operands; "
          "a kernel that works in place has none. Where it turns out to have no code for them, the callable "
          "`otherwise` is "
          "called in its place from then on. Returns the index of the instruction. ValueError where there is no "
          "such kernel or a result is read-only, TypeError where the arguments don't fit.")
      .def("add_elementwise", &Executor::add_elementwise, nb::arg("program"), nb::arg("operands"), nb::arg("results"),
           nb::arg("otherwise") = nb::none(),
           "Appends a call of a Program; operands are arrays, numbers or Slots. Results may share memory with operands "
           "as `out=` of the Program may.")
      .def("add_copy", &Executor::add_copy, nb::arg("source"), nb::arg("result"),
           "Appends result[...] = source, for arrays of equal shape, any strides and dtypes.")
      .def("add_call", &Executor::add_call, nb::arg("callable"),
           "Appends a call of a Python callable of no arguments, with the GIL.")
      .def(
          "relocate", &Executor::relocate, nb::arg("array"), nb::arg("slot"), nb::arg("offset"),
          "At each run, `array` lies `offset` bytes from the start of the base at index `slot`: every instruction that "
          "has this object among its arguments or results finds it there, and so does Python until the next run, or "
          "release().")
      .def(
          "run", [](Executor& self, nb::handle bases, nb::handle numbers) { self.run(bases, numbers, nullptr); },
          nb::arg("bases"), nb::arg("numbers"),
          "Runs all instructions. `bases`: arrays for those that are relocated; `numbers`: for the Slots. ValueError "
          "where one is missing or a base too small, misaligned or read-only: nothing has run then. What an "
          "instruction raises comes out as it is, and `failed` says which one it was; RuntimeError where a kernel has "
          "no code for its operands and there is no `otherwise`.")
      .def("release", &Executor::release,
           "Lets go of the bases of the last run: the relocated arrays lie where they lay at first.")
      .def(
          "profile",
          [](Executor& self, nb::handle bases, nb::handle numbers) {
            std::vector<double> seconds;
            self.run(bases, numbers, &seconds);
            return seconds;
          },
          nb::arg("bases"), nb::arg("numbers"), "Runs, and returns the seconds that each instruction took.")
      .def_prop_ro(
          "failed",
          [](const Executor& self) -> nb::object {
            return self.failed() < 0 ? nb::none() : nb::object(nb::int_(self.failed()));
          },
          "The index of the instruction at which the last run ended with an exception, else None.")
      .def("__len__", &Executor::size);
}

}  // namespace rushlight
