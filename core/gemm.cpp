// Blocked after K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, with two turns:
// only the B side is always packed (rows of A are broadcast from where they lie if their k is contiguous), and a
// product is computed transposed where that packs less.
#include "gemm.h"

#include <algorithm>
#include <cmath>

#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight {

namespace {

constexpr int64_t depth_limit = 384;          // k of one packed block: a tile of A stays in L1, a block of B in L2
constexpr int64_t block_columns_limit = 256;  // columns of one packed block
constexpr int64_t block_rows_limit = 512;     // rows that share one packing of B
constexpr int64_t serial_work = 128 * 1024;   // multiply-adds that aren't worth a second thread
constexpr int64_t tiny_work = 2048;           // multiply-adds that aren't worth packing

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

// Cuts `extent` into equal parts of at most `limit`, each a multiple of `unit`.
int64_t even_part(int64_t extent, int64_t limit, int64_t unit) {
  const int64_t parts = std::max<int64_t>(1, divide_up(extent, limit));
  return std::max(unit, round_up(divide_up(extent, parts), unit));
}

// Columns j0 to j0 + used of b, k by k.
template <class T>
void pack_panel(Matrix<T> b, int64_t j0, int64_t used, int64_t depth, T* panel) {
  constexpr int64_t columns = tile_columns<T>;
  const T* source = b.data + j0 * b.column_stride;
  if (b.row_stride == 1) {
    transpose(source, b.column_stride, used, depth, panel, columns);
    return;
  }
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t c = 0; c < used; ++c) panel[k * columns + c] = source[k * b.row_stride + c * b.column_stride];
  }
}

// b (depth, width) into panels of tile_columns: panel, k, column. The last panel is filled up with zeros.
template <class T>
void pack_columns(Matrix<T> b, int64_t depth, int64_t width, T* packed) {
  constexpr int64_t columns = tile_columns<T>;
  const int64_t panel_size = depth * columns, whole = width / columns * columns, rest = width - whole;
  if (b.column_stride == 1) {  // along whole rows, each page of B once
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = b.data + k * b.row_stride;
      T* to = packed + k * columns;
      for (int64_t j = 0; j < whole; j += columns, to += panel_size) std::memcpy(to, from + j, columns * sizeof(T));
    }
  } else {
    for (int64_t j = 0; j < whole; j += columns) pack_panel(b, j, columns, depth, packed + j * depth);
  }
  if (rest > 0) {
    T* panel = packed + whole * depth;
    std::fill(panel, panel + panel_size, T(0));
    pack_panel(b, whole, rest, depth, panel);
  }
}

// Rows of a (count, depth), k by k: packed[k * tile_rows + row].
template <class T>
void pack_rows(Matrix<T> a, int64_t count, int64_t depth, T* packed) {
  if (a.row_stride == 1 && count == tile_rows) {
    for (int64_t k = 0; k < depth; ++k) {
      std::memcpy(packed + k * tile_rows, a.data + k * a.column_stride, tile_rows * sizeof(T));
    }
    return;
  }
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = 0; i < count; ++i) packed[k * tile_rows + i] = a.data[i * a.row_stride + k * a.column_stride];
  }
}

template <class T>
T start_of(const Product<T>& p, int64_t i, int64_t j) {
  T start = 0;
  if (p.row_bias != nullptr) start += p.row_bias[i];
  if (p.column_bias != nullptr) start += p.column_bias[j];
  return start;
}

// No packing at all, one number of C after the other.
template <class T>
void multiply_tiny(const Product<T>& p) {
  for (int64_t i = 0; i < p.m; ++i) {
    const T* row = p.a.data + i * p.a.row_stride;
    for (int64_t j = 0; j < p.n; ++j) {
      const T* column = p.b.data + j * p.b.column_stride;
      T sum = 0;
      for (int64_t k = 0; k < p.k; ++k) sum += row[k * p.a.column_stride] * column[k * p.b.row_stride];
      sum += start_of(p, i, j);
      T* target = p.c + i * p.c_row_stride + j * p.c_column_stride;
      *target = p.accumulate ? *target + sum : sum;
    }
  }
}

// R x S numbers of C as dot products along a contiguous k: for products with few rows, where packing B costs more than
// it saves.
template <int R, int S, class T>
void dot_tile(const Product<T>& p, int64_t i0, int64_t j0) {
  const T *left[R], *right[S];
  for (int i = 0; i < R; ++i) left[i] = p.a.data + (i0 + i) * p.a.row_stride;
  for (int j = 0; j < S; ++j) right[j] = p.b.data + (j0 + j) * p.b.column_stride;
  Lanes<T> sum[R][S] = {};
  int64_t k = 0;
  for (; k + lanes<T> <= p.k; k += lanes<T>) {
    Lanes<T> a[R];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) a[i] = load(left[i] + k);
#pragma GCC unroll 8
    for (int j = 0; j < S; ++j) {
      const Lanes<T> b = load(right[j] + k);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) sum[i][j] += a[i] * b;
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < S; ++j) {
      T total = 0;
      for (int l = 0; l < lanes<T>; ++l) total += sum[i][j][l];
      for (int64_t rest = k; rest < p.k; ++rest) total += left[i][rest] * right[j][rest];
      total += start_of(p, i0 + i, j0 + j);
      T* target = p.c + (i0 + i) * p.c_row_stride + (j0 + j) * p.c_column_stride;
      *target = p.accumulate ? *target + total : total;
    }
  }
}

template <int R, class T>
void dot_rows(const Product<T>& p, int64_t i0, int64_t j0, int64_t j1) {
  int64_t j = j0;
  for (; j + 4 <= j1; j += 4) dot_tile<R, 4>(p, i0, j);
  for (; j < j1; ++j) dot_tile<R, 1>(p, i0, j);
}

template <class T>
void dot_block(const Product<T>& p, int64_t j0, int64_t j1) {
  // Columns in chunks whose rows of B stay in cache while the rows of A pass by.
  const int64_t chunk =
      std::max<int64_t>(4, 65536 / static_cast<int64_t>(sizeof(T)) / std::max<int64_t>(p.k, 1) / 4 * 4);
  for (int64_t j = j0; j < j1; j += chunk) {
    const int64_t end = std::min(j + chunk, j1);
    int64_t i = 0;
    for (; i + 3 <= p.m; i += 3) dot_rows<3>(p, i, j, end);
    if (p.m - i == 2) dot_rows<2>(p, i, j, end);
    if (p.m - i == 1) dot_rows<1>(p, i, j, end);
  }
}

// A few rows times a B whose columns are contiguous: B is read once, where it lies.
template <int R, int V, class T>
void few_rows_columns(const Product<T>& p, int64_t j0, int64_t j1) {
  const T* rows[R];
  for (int i = 0; i < R; ++i) rows[i] = p.a.data + i * p.a.row_stride;
  constexpr int64_t width = V * lanes<T>;
  T sums[R * width];
  for (int64_t j = j0; j < j1; j += width) {
    const int64_t used = std::min(width, j1 - j);
    if (used == width) {
      multiply_tile<R, V>(p.k, rows, Strided{p.a.column_stride}, p.b.data + j, p.b.row_stride, sums, width,
                          Store::overwrite, static_cast<const T*>(nullptr));
    } else {
      std::fill(sums, sums + R * width, T(0));
      for (int64_t k = 0; k < p.k; ++k) {
        for (int i = 0; i < R; ++i) {
          for (int64_t c = 0; c < used; ++c) {
            sums[i * width + c] += rows[i][k * p.a.column_stride] * p.b.data[k * p.b.row_stride + j + c];
          }
        }
      }
    }
    for (int i = 0; i < R; ++i) {
      for (int64_t c = 0; c < used; ++c) {
        const T value = sums[i * width + c] + start_of(p, i, j + c);
        T* target = p.c + i * p.c_row_stride + (j + c) * p.c_column_stride;
        *target = p.accumulate ? *target + value : value;
      }
    }
  }
}

template <class T>
void few_rows_block(const Product<T>& p, int64_t j0, int64_t j1) {
  if (p.m == 1) few_rows_columns<1, 8>(p, j0, j1);
  if (p.m == 2) few_rows_columns<2, 4>(p, j0, j1);
  if (p.m == 3) few_rows_columns<3, 3>(p, j0, j1);
}

// The tile at (i, j) out of the corner or transposed: computed aside, then copied to where it belongs.
template <class T>
void copy_tile(const Product<T>& p, const T* tile, int64_t i0, int64_t rows, int64_t j0, int64_t columns, bool first) {
  const bool add = p.accumulate || !first;
  T* corner = p.c + i0 * p.c_row_stride + j0 * p.c_column_stride;
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      T value = tile[i * tile_columns<T> + j];
      if (first) value += start_of(p, i0 + i, j0 + j);
      T* target = corner + i * p.c_row_stride + j * p.c_column_stride;
      *target = add ? *target + value : value;
    }
  }
}

// C[i0:i1, j0:j1], over all of k, with packing; one thread.
template <class T>
void multiply_block(const Product<T>& p, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  constexpr int64_t columns = tile_columns<T>;
  const int64_t depth = even_part(p.k, depth_limit, 1);
  Scratch<T> packed_b(depth * round_up(j1 - j0, columns));
  const bool pack_a = p.a.column_stride != 1;
  Scratch<T> packed_a(pack_a ? depth * tile_rows : 1);
  alignas(64) T tile[tile_rows * columns];
  const T* rows[tile_rows];
  for (int64_t k0 = 0; k0 < p.k; k0 += depth) {
    const int64_t count = std::min(depth, p.k - k0);
    const bool first = k0 == 0;
    pack_columns<T>({p.b.data + k0 * p.b.row_stride + j0 * p.b.column_stride, p.b.row_stride, p.b.column_stride}, count,
                    j1 - j0, packed_b.get());
    for (int64_t i = i0; i < i1; i += tile_rows) {
      const int64_t used_rows = std::min<int64_t>(tile_rows, i1 - i);
      const T* corner = p.a.data + i * p.a.row_stride + k0 * p.a.column_stride;
      if (pack_a) pack_rows<T>({corner, p.a.row_stride, p.a.column_stride}, used_rows, count, packed_a.get());
      for (int64_t r = 0; r < used_rows; ++r) rows[r] = pack_a ? packed_a.get() + r : corner + r * p.a.row_stride;
      const Strided step{pack_a ? tile_rows : 1};
      const T* panel = packed_b.get();
      for (int64_t j = j0; j < j1; j += columns, panel += count * columns) {
        const bool direct = p.c_column_stride == 1 && j + columns <= j1 && (p.row_bias == nullptr || !first);
        if (direct) {
          multiply_rows<tile_vectors>(static_cast<int>(used_rows), count, rows, step, panel, columns,
                                      p.c + i * p.c_row_stride + j, p.c_row_stride,
                                      p.accumulate || !first ? Store::accumulate : Store::overwrite,
                                      first && p.column_bias != nullptr ? p.column_bias + j : nullptr);
        } else {
          multiply_rows<tile_vectors>(static_cast<int>(used_rows), count, rows, step, panel, columns, tile, columns,
                                      Store::overwrite, static_cast<const T*>(nullptr));
          copy_tile(p, tile, i, used_rows, j, std::min(columns, j1 - j), first);
        }
      }
    }
  }
}

// A rough count of cycles, to choose between a product and its transpose.
template <class T>
double cost(const Product<T>& p) {
  const double m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
  const double wide = static_cast<double>(round_up(p.n, tile_columns<T>));
  const double multiply = static_cast<double>(round_up(p.m, 2)) * wide * k / (2 * lanes<T>);
  const double pack_b = wide * k * (p.b.column_stride == 1 ? 0.15 : 0.5);
  const double pack_a = p.a.column_stride == 1 ? 0 : m * k * std::ceil(wide / block_columns_limit) * 0.4;
  const double store_c = p.c_column_stride == 1 && p.n % tile_columns<T> == 0 ? 0 : m * n * 1.5;
  return multiply + pack_b + pack_a + store_c;
}

enum class Method { tiny, dot, few_rows, packed };

// How a product is computed and how C is cut into blocks: by its shape alone, never by the number of threads.
template <class T>
struct Plan {
  Method method;
  bool turned = false;  // the product became that of the transposes
  int64_t block_rows, block_columns;

  explicit Plan(Product<T>& p) {
    choose_method(p);
    cut(p);
  }

 private:
  void turn(Product<T>& p) {
    p = p.transposed();
    turned = !turned;
  }

  void choose_method(Product<T>& p) {
    if (p.k == 0 || p.m * p.n * p.k <= tiny_work) {
      method = Method::tiny;
      return;
    }
    if (std::min(p.m, p.n) <= 8 && p.n < p.m) turn(p);
    if (p.m <= 8 && p.a.column_stride == 1 && p.b.row_stride == 1 && p.k >= 2 * lanes<T>) {
      method = Method::dot;
    } else if (p.m <= 3 && p.b.column_stride == 1) {
      method = Method::few_rows;
    } else {
      method = Method::packed;
      if (cost(p.transposed()) < cost(p)) turn(p);
    }
  }

  void cut(const Product<T>& p) {
    block_rows = p.m;
    block_columns = p.n;
    if (method == Method::tiny) return;
    const int64_t unit = tile_columns<T>;
    if (method != Method::packed) {
      block_columns = p.m * p.n * p.k < 2 * serial_work ? p.n : even_part(p.n, std::max(p.n / 16, unit), unit);
      return;
    }
    block_columns = even_part(p.n, block_columns_limit, unit);
    block_rows = even_part(p.m, block_rows_limit, tile_rows);
    // Halve the blocks until there are enough of them to share out.
    while (divide_up(p.m, block_rows) * divide_up(p.n, block_columns) < 16 &&
           block_rows * block_columns * p.k >= 2 * serial_work) {
      if (block_columns > 4 * unit || (block_columns > unit && block_rows <= 16 * tile_rows)) {
        block_columns = round_up(block_columns / 2, unit);
      } else if (block_rows > 4 * tile_rows) {
        block_rows = round_up(block_rows / 2, tile_rows);
      } else {
        break;
      }
    }
  }
};

}  // namespace

template <class T>
void multiply(Product<T> p, int64_t count, const int64_t* a_offsets, const int64_t* b_offsets, int64_t c_step) {
  if (p.m == 0 || p.n == 0 || count == 0) return;
  const Plan<T> plan(p);
  const int64_t row_blocks = divide_up(p.m, plan.block_rows), column_blocks = divide_up(p.n, plan.block_columns);
  const int64_t blocks = row_blocks * column_blocks;
  const int64_t block_work = plan.block_rows * plan.block_columns * std::max<int64_t>(p.k, 1);
  const int64_t grain = blocks == 1 ? std::max<int64_t>(1, serial_work / std::max<int64_t>(block_work, 1)) : 1;
  parallel_for(count * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t item = index / blocks, block = index % blocks;
      Product<T> one = p;
      if (a_offsets != nullptr) (plan.turned ? one.b : one.a).data += a_offsets[item];
      if (b_offsets != nullptr) (plan.turned ? one.a : one.b).data += b_offsets[item];
      one.c += item * c_step;
      const int64_t i0 = block % row_blocks * plan.block_rows, i1 = std::min(i0 + plan.block_rows, p.m);
      const int64_t j0 = block / row_blocks * plan.block_columns, j1 = std::min(j0 + plan.block_columns, p.n);
      switch (plan.method) {
        case Method::tiny: multiply_tiny(one); break;
        case Method::dot: dot_block(one, j0, j1); break;
        case Method::few_rows: few_rows_block(one, j0, j1); break;
        case Method::packed: multiply_block(one, i0, i1, j0, j1); break;
      }
    }
  });
}

template void multiply<float>(Product<float>, int64_t, const int64_t*, const int64_t*, int64_t);
template void multiply<double>(Product<double>, int64_t, const int64_t*, const int64_t*, int64_t);

}  // namespace rushlight
