// Walking an array of any strides in a given order of its dimensions, as one flat sequence of items.
#pragma once

#include <algorithm>
#include <cstdint>

#include "array.h"

namespace rushlight {

// How many bytes lie between neighbouring items, and between rows of them.
struct Steps {
  int64_t item, row = 0;
};

// An operand as seen along the row-major order of a result: broadcast, with neighbouring dimensions merged where one
// stride carries over both. At most one dimension with a stride of one item means a plain sequence.
struct Strided {
  char* data;
  DType dtype;
  int dimensions;
  int64_t shape[max_dimensions];
  int64_t strides[max_dimensions];  // in bytes

  bool plain() const { return dimensions == 0 || (dimensions == 1 && strides[0] == item_size(dtype)); }
  bool single() const { return dimensions == 0 || (dimensions == 1 && strides[0] == 0); }

  // Takes `count` dimensions, outermost first.
  void merge(const int64_t* extents, const int64_t* steps, int count) {
    dimensions = 0;
    for (int i = 0; i < count; ++i) {
      if (extents[i] == 1) continue;
      if (dimensions > 0 && strides[dimensions - 1] == steps[i] * extents[i]) {
        shape[dimensions - 1] *= extents[i];
        strides[dimensions - 1] = steps[i];
      } else {
        shape[dimensions] = extents[i];
        strides[dimensions++] = steps[i];
      }
    }
  }

  // piece(pointer, steps, count, rows) for the pieces that make up the items [begin, begin + count): `rows` rows of
  // `count` items each, all of the innermost dimension where there are several rows.
  template <class Piece>
  void for_pieces(int64_t begin, int64_t count, Piece&& piece) const {
    if (dimensions <= 1) {
      int64_t stride = dimensions == 0 ? 0 : strides[0];
      piece(data + begin * stride, Steps{stride}, count, int64_t{1});
      return;
    }
    int64_t index[max_dimensions];
    char* at = data;
    for (int i = dimensions - 1; i > 0; --i) {
      index[i] = begin % shape[i];
      begin /= shape[i];
      at += index[i] * strides[i];
    }
    index[0] = begin;
    at += begin * strides[0];
    const int inner = dimensions - 1, outer = inner - 1;
    while (true) {
      int64_t rows = 1, items = std::min(count, shape[inner] - index[inner]);
      if (items == shape[inner]) rows = std::min(count / items, shape[outer] - index[outer]);
      piece(at, Steps{strides[inner], strides[outer]}, items, rows);
      count -= rows * items;
      if (count == 0) return;
      at += rows * strides[outer] - index[inner] * strides[inner];
      index[inner] = 0;
      index[outer] += rows;
      for (int i = outer; i > 0 && index[i] == shape[i]; --i) {
        at += strides[i - 1] - shape[i] * strides[i];
        index[i] = 0;
        ++index[i - 1];
      }
    }
  }

  // run(pointer, stride, count): the same, row by row.
  template <class Run>
  void for_runs(int64_t begin, int64_t count, Run&& run) const {
    for_pieces(begin, count, [&](char* at, Steps steps, int64_t items, int64_t rows) {
      for (int64_t row = 0; row < rows; ++row) run(at + row * steps.row, steps.item, items);
    });
  }
};

// Lists the dimensions by their place in memory, outermost first; false where the array has gaps or broadcasts.
bool dense_order(const Array& array, int* order);

// A new array of the same shape, in the same order of dimensions where `array` is dense, else row-major.
NewArray empty_like(const Array& array, DType dtype);

// Whether two arrays may have memory in common: the stretches that they lie in overlap, and they aren't columns beside
// one another.
bool overlap(const Array& a, const Array& b);

}  // namespace rushlight
