// A flat list of kernel calls that runs with the GIL released: no Python, and no memory but the kernels' own scratch.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "elementwise.h"
#include "instruction.h"

namespace rushlight {

// Stands for a number that changes from run to run, in the arguments of an instruction.
struct Slot {
  size_t index;
};

// Instructions refer to views of the executor's own of all arrays, which nothing else sees: so they can be moved, and
// what Python does with the arrays that it gave, reshaping them in place, say, can't meet a kernel at work.
class Executor {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  // otherwise: a callable, or None, that is called in the kernel's place from then on where that has no code.
  size_t add(const std::string& kernel, nb::tuple arguments, nb::dict options, nb::tuple results, nb::object otherwise);
  size_t add_elementwise(nb::object program, nb::tuple operands, nb::tuple results, nb::object otherwise);
  size_t add_copy(nb::handle source, nb::handle result);
  size_t add_call(nb::object callable);
  void relocate(nb::handle array, size_t slot, int64_t offset);

  // Where `seconds` is given, it gets the time of each instruction.
  void run(nb::handle bases, nb::handle numbers, std::vector<double>* seconds);
  void release();

  size_t size() const { return steps_.size(); }
  int64_t failed() const { return failed_; }

 private:
  class Turn;
  class Released;

  struct Step {
    std::string kernel;
    std::vector<nb::object> values;                // that the instruction refers to
    std::unique_ptr<rushlight::Instruction> call;  // of a kernel or a Program, or none:
    nb::object callable, otherwise;
    std::vector<nb::object> destinations;
    std::vector<std::pair<nb::object, nb::object>> strided;  // a destination that isn't contiguous, and its stand-in
  };
  // A value that has slots in it.
  struct Variable {
    size_t step, position;
    nb::object pattern;
    std::vector<size_t> slots;
  };
  struct View {
    nb::object original, view;
  };
  struct Relocation {
    nb::object original, view;
    size_t slot;
    int64_t offset;
    int64_t low, high;  // the bytes from `offset` on that the array covers
    int64_t alignment;
    char* home;  // where it lay before
    bool written;
  };

  nb::object own(nb::handle array);
  nb::object own_all(nb::handle value, std::vector<size_t>& slots);
  nb::object substitute(nb::handle pattern, nb::handle numbers) const;
  std::vector<nb::object> without_slots(std::vector<nb::object> values, Step& step);
  void set_numbers(nb::handle numbers);
  void move_arrays(nb::handle bases);
  void send_home();
  void run_step(Step& step, Released& released);
  static bool run_kernel(Step& step);

  std::vector<Step> steps_;
  std::vector<Variable> variables_;
  std::vector<Relocation> relocations_;
  std::unordered_map<PyObject*, size_t> relocated_;  // their indices, by original
  std::unordered_map<PyObject*, View> views_;
  std::vector<nb::object> numbers_, bases_;  // of the last run
  std::mutex mutex_;
  std::atomic<std::thread::id> owner_;  // the thread whose turn it is
  int64_t failed_ = -1;
};

}  // namespace rushlight
