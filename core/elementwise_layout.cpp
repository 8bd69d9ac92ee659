// Planning a call of a Program: dtype, shape, an order of dimensions, and how each operand and result is walked.
#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "elementwise_call.h"

namespace rushlight {

namespace {

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

}  // namespace

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
    converter(DType::float64, compute)(reinterpret_cast<char*>(&exponent.value), {8}, sources[1], {8}, 1, 1);
    if (Kernel found = kernel_for(power_by(exponent), compute)) kernels[k] = found;
  }
}

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
    if (is_reduced(o)) {
      if (array.size() == 1) continue;  // written when all else has been read
      const int64_t count = array.size();
      if (count == 0 || layout.total == 0 || layout.total % count != 0 || !array.contiguous() ||
          (layout.row != 0 && layout.row != layout.total / count)) {
        return false;
      }
      layout.row = layout.total / count;
      for (int i = 0; i < inputs_; ++i) {
        layout.temporary = layout.temporary || (!operands[i].is_number && overlap(array, operands[i].array));
      }
      for (size_t other = 0; other < o; ++other) layout.temporary = layout.temporary || overlap(array, given[other]);
      continue;
    }
    if (!std::ranges::equal(shape_of(array), layout.extents())) return false;
    for (int i = 0; i < inputs_; ++i) {
      if (operands[i].is_number || !overlap(array, operands[i].array)) continue;
      layout.in_place = true;
      layout.temporary = layout.temporary || !same_memory(array, operands[i].array);
    }
    for (size_t other = 0; other < o; ++other) {
      layout.temporary =
          layout.temporary || ((!is_reduced(other) || given[other].size() > 1) && overlap(array, given[other]));
    }
    layout.uniform = layout.uniform && array.contiguous();
  }
  return true;
}

// An order of dimensions that suits the results, where they are given, else the operands of the results' shape.
void Program::choose_order(const Operand* operands, const Array* given, Layout& layout) const {
  if (layout.uniform || layout.row > 0) return;  // rows are those of the row-major order
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
  task.row = layout.row;
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
      task.targets[o].dimensions = results[o].size() == 1 ? 0 : 1;
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

}  // namespace rushlight
