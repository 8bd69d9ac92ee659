// Running a Program: block by block through its instructions, in the L1 cache.
#include <alloca.h>

#include <algorithm>
#include <cstring>

#include "elementwise_call.h"
#include "memory.h"
#include "reduction_operations.h"
#include "threads.h"

namespace rushlight {

namespace {

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

// Adds up the rows that items [at, at + items) are part of. Tasks begin and end with rows; `running` is of the row that
// a block ends within.
template <class T>
void Program::Task::add_rows(size_t output, const T* from, int64_t at, int64_t items, double& running) const {
  const Fold<T, Add> fold_rows{program.reduced_[output] == Reduction::mean ? 1 / static_cast<double>(row) : 1};
  T* to = reinterpret_cast<T*>(targets[output].data);
  using Total = typename Fold<T, Add>::Total;
  if (at % row == 0 && items % row == 0) {
    constexpr int64_t most = 64;
    Total totals[most];
    for (int64_t first = at / row, last = first + items / row; first < last; first += most, from += most * row) {
      const int64_t count = std::min(most, last - first);
      std::fill_n(totals, count, Total{});
      fold_rows.rows(from, row, count, row, totals);
      for (int64_t i = 0; i < count; ++i) to[first + i] = fold_rows.finish(totals[i]);
    }
    return;
  }
  for (const int64_t end = at + items; at < end;) {
    const int64_t last = std::min(end, (at / row + 1) * row);
    running += static_cast<double>(fold<T, Add>(from, last - at));
    from += last - at;
    if (last % row == 0) {
      to[last / row - 1] = fold_rows.finish(Total{static_cast<typename Fold<T, Add>::Wide>(running)});
      running = 0;
    }
    at = last;
  }
}

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
      operand.load(constant, {item}, operand.strided.data, {0}, 1, 1);
    } else {
      continue;
    }
    fill(scratch + slot_bytes * operand.slot, constant, item, filled);
  }

  double running[most_outputs];
  if (row > 0) std::fill_n(running, p.outputs_.size(), 0.0);
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
        strided.for_pieces(at, items, [&](const char* from, Steps steps, int64_t length, int64_t rows) {
          if (length == items && steps.item == item && operand.array.dtype == compute) {
            values[i] = from;  // the whole block lies in one piece
            return;
          }
          operand.load(to, {item, length * item}, from, steps, length, rows);
          to += rows * length * item;
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
      if (targets[o].dimensions == 1) {
        compute == DType::float64 ? add_rows(o, reinterpret_cast<const double*>(from), at, items, running[o])
                                  : add_rows(o, reinterpret_cast<const float*>(from), at, items, running[o]);
        continue;
      }
      totals[begin / grain * static_cast<int64_t>(p.outputs_.size()) + static_cast<int64_t>(o)] +=
          compute == DType::float64 ? fold<double, Add>(reinterpret_cast<const double*>(from), items)
                                    : fold<float, Add>(reinterpret_cast<const float*>(from), items);
    }
    for (size_t o = 0; o < p.outputs_.size(); ++o) {
      if (stores[o] == nullptr) continue;
      const char* from = values[p.outputs_[o]];
      targets[o].for_pieces(at, items, [&](char* to, Steps steps, int64_t length, int64_t rows) {
        stores[o](to, steps, from, {item, length * item}, length, rows);
        from += rows * length * item;
      });
    }
  }
  if (scratch != on_stack) release(scratch, static_cast<size_t>(needed));
}

void Program::execute(Task& task) const {
  task.grain = std::max<int64_t>(131072 / (3 + cost_) / 1024 * 1024, 1024);
  if (const int64_t tasks = divide_up(task.total, task.grain); tasks > 1 && tasks < 16) {
    const int64_t even = round_up(tasks, 4);  // as many for each of a few threads
    task.grain = (task.total / even / 256 + 1) * 256;
  }
  if (task.row > 0) {  // whole rows to each task; and to each block, where that holds one
    task.grain = std::max<int64_t>(task.grain / task.row, 1) * task.row;
    if (task.row <= task.block) task.block = task.block / task.row * task.row;
  }
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
    if (!is_reduced(o) || task.targets[o].dimensions == 1) continue;
    double total = 0;
    for (size_t i = o; i < totals.size(); i += outputs) total += totals[i];
    if (reduced_[o] == Reduction::mean) total *= 1 / static_cast<double>(task.total);
    converter(task.compute, DType::float64)(task.targets[o].data, {task.item}, reinterpret_cast<char*>(&total), {8}, 1,
                                            1);
  }
}

}  // namespace rushlight
