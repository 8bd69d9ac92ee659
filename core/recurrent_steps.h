// What both ways through a sequence are made of: stretches of steps, weights packed for all of them, and who does what.
#pragma once

#include <algorithm>

#include "gemm.h"
#include "micro_kernel.h"
#include "recurrent.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight::recurrent {

constexpr int64_t stretch_rows = 256;           // rows whose projections are computed at once
constexpr int64_t block_work = 32 * 1024;       // multiply-adds of a step that are worth handing to another thread
constexpr int64_t step_work = 4 * 1024 * 1024;  // from here on the units of one step are shared out, not the rows
constexpr int64_t own_weights = 1024 * 1024;    // bytes of weights that every thread may go through for itself
constexpr int64_t serial_numbers = 16 * 1024;   // of simple work on one thread

// Some steps, in the order of a pass through the sequence or back, and their rows.
struct Stretch {
  const Sequence& s;
  bool backward;
  int64_t begin = 0, end = 0, row = 0, rows = 0;

  // The step that comes at this place, and the other way round.
  int64_t at(int64_t place) const { return s.reverse != backward ? s.steps - 1 - place : place; }
  int64_t most_steps() const { return std::max<int64_t>(1, stretch_rows / std::max<int64_t>(s.batch, 1)); }
  int64_t most_rows() const { return std::min(s.rows, most_steps() * s.batch); }

  bool next() {
    begin = end;
    end = std::min(begin + most_steps(), s.steps);
    if (begin == end) return false;
    const auto [low, high] = std::minmax({at(begin), at(end - 1)});
    row = s.first[low];
    rows = s.first[high] + s.sizes[high] - row;
    return true;
  }
};

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_sums = 24;  // vectors of sums that fit the registers beside their factors
#else
constexpr int most_sums = 12;
#endif

// The weights as a matrix (depth, gates * hidden), packed block by block of hidden units: for each of the depth, the
// columns of all gates of these units.
template <class T, int gates>
class Panels {
  static constexpr int vectors = gates == 1 ? 4 : gates;  // across a block
  static constexpr int tile = most_sums >= 6 * vectors ? vectors : vectors % 2 == 0 ? 2 : vectors;

 public:
  static constexpr int64_t width = vectors * lanes<T>, units = width / gates;
  static constexpr int64_t rows = most_sums / tile;

  Panels(Matrix<T> weights, int64_t depth, int64_t hidden, const T* bias)
      : depth_(depth), blocks_(divide_up(hidden, units)), packed_(depth * blocks_ * width), bias_(blocks_ * width) {
    parallel_for(blocks_, std::max<int64_t>(1, serial_numbers / (depth * width)), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t unit = block * units, used = std::min(units, hidden - unit);
        T *panel = packed_.get() + block * depth * width, *panel_bias = bias_.get() + block * width;
        if (used < units) std::fill_n(panel, depth * width, T(0));
        std::fill_n(panel_bias, width, T(0));
        for (int64_t gate = 0; gate < gates; ++gate) {
          pack(weights, gate * hidden + unit, used, panel + gate * units);
          if (bias != nullptr) std::copy_n(bias + gate * hidden + unit, used, panel_bias + gate * units);
        }
      }
    });
  }

  int64_t blocks() const { return blocks_; }

  // sums (count, width) of a block, of no more than `rows` rows wherever they lie.
  void multiply(int count, const T* const* row, int64_t block, T* sums, Store mode = Store::overwrite) const {
    const T *panel = packed_.get() + block * depth_ * width, *bias = bias_.get() + block * width;
    if (count == 1) {
      return multiply_tile<1, vectors>(depth_, row, Strided{1}, panel, width, sums, width, mode, bias);
    }
    for (int64_t j = 0; j < width; j += tile * lanes<T>) {
      multiply_rows<tile, T, Strided, rows>(count, depth_, row, Strided{1}, panel + j, width, sums + j, width, mode,
                                            bias + j);
    }
  }

 private:
  void pack(Matrix<T> weights, int64_t column, int64_t used, T* panel) {
    const T* from = weights.data + column * weights.column_stride;
    if (weights.row_stride == 1) return transpose(from, weights.column_stride, used, depth_, panel, width);
    for (int64_t k = 0; k < depth_; ++k) std::copy_n(from + k * weights.row_stride, used, panel + k * width);
  }

  int64_t depth_, blocks_;
  Scratch<T> packed_, bias_;
};

// How many blocks of `work` multiply-adds to give to a thread at once.
inline int64_t grain_of(int64_t work) { return (block_work + work) / std::max<int64_t>(work, 1); }

// Cuts [begin, end) into parts of about equal size, none above `most`.
template <class Work>
void for_even_parts(int64_t begin, int64_t end, int64_t most, Work&& work) {
  const int64_t count = end - begin, parts = divide_up(count, most);
  for (int64_t i = 0; i < parts; ++i) work(begin + count * i / parts, begin + count * (i + 1) / parts);
}

// work(step, first row, last row, first block, last block) for all steps of a stretch. Where rows are many and the
// weights few, threads take rows through all steps; else they share the units of each step.
template <class T, class Packed, class Work>
void for_each_step(const Stretch& stretch, const Packed& panels, int64_t depth, Work&& work) {
  const Sequence& s = stretch.s;
  const int64_t weights = panels.blocks() * Packed::width * depth, parts = divide_up(s.batch, Packed::rows);
  if (parts > 1 && s.batch * weights < step_work && weights * static_cast<int64_t>(sizeof(T)) <= own_weights) {
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t place = stretch.begin; place < stretch.end; ++place) {
        const int64_t step = stretch.at(place), size = s.sizes[step];
        work(step, std::min(s.batch * begin / parts, size), std::min(s.batch * end / parts, size), int64_t{0},
             panels.blocks());
      }
    });
    return;
  }
  for (int64_t place = stretch.begin; place < stretch.end; ++place) {
    const int64_t step = stretch.at(place);
    parallel_for(panels.blocks(), grain_of(s.sizes[step] * Packed::width * depth),
                 [&](int64_t begin, int64_t end) { work(step, int64_t{0}, s.sizes[step], begin, end); });
  }
}

}  // namespace rushlight::recurrent
