// Blocked after K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, with two turns:
// rows of A are broadcast from where they lie if their k is contiguous, and a product is computed transposed where that
// packs less.
#include "gemm.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "gemm_pack.h"
#include "gemm_small.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace rushlight {

namespace {

constexpr int64_t depth_limit = 384;         // k of one packed block: a tile of A stays in L1, a block of B in L2
constexpr int64_t turned_depth_limit = 800;  // the same where tiles are transposed into C, at a cost each time
constexpr int64_t packed_columns_items = 192 * 1024, packed_rows_limit = 512;  // of a block's sides: they stay in L2
constexpr int64_t rows_limit = 2048;                                           // of a block, in any case
constexpr int64_t thread_blocks = 8;                                           // for each thread, to share out
constexpr int64_t block_work = 256 * 1024;                                     // multiply-adds of a block, at least
constexpr double cut_line = 400;                        // cycles for a line of C that two threads write
constexpr int64_t read_work = 8;                        // multiply-adds in the time that a number takes from memory
constexpr int64_t shared_work = 1024 * 1024;            // multiply-adds of one product that all threads share
constexpr int64_t piece_terms = 256, most_pieces = 16;  // pieces of a small C's terms
constexpr int64_t piece_numbers = 64 * 1024, numbers_for_a_term = 36;  // of such a C, at most
constexpr int64_t wanted_parts = 8;                                    // of C, in which the pieces are added up
constexpr int64_t packed_terms = 16;                                   // the terms of a piece are a multiple of these
// B is read where it lies with at most so many rows of A, or if it is nearby. With rows of B in line with the lines of
// a cache these may be more; with rows that meet in the same few lines they are fewer.
constexpr int64_t direct_rows = 48, direct_rows_in_line = 64, direct_rows_meeting = 18;
constexpr int64_t line = 64, meeting = 4096;       // bytes
constexpr int64_t direct_reads = 3 * 1024 * 1024;  // items that all rows skip over
constexpr int64_t leftover_terms = 128;            // with fewer, joining the lanes of a sum costs more than it saves
// A is read where it lies if its columns are so many items apart, all of them together.
constexpr int64_t narrow_limit = 256, narrow_items = 128 * 1024;

// Cuts `extent` into equal parts of at most `limit`, each a multiple of `unit`.
int64_t even_part(int64_t extent, int64_t limit, int64_t unit) {
  const int64_t parts = std::max<int64_t>(1, divide_up(extent, limit));
  return std::max(unit, round_up(divide_up(extent, parts), unit));
}

template <class T>
bool packs_rows(const Product<T>& p) {
  return p.a.column_stride != 1 &&
         (p.a.row_stride != 1 || p.a.column_stride > narrow_limit || p.a.column_stride * p.k > narrow_items);
}

// Whether B is copied into panels. Its rows are read where they lie if their numbers lie side by side, unless many
// tiles would gather them again from far apart.
template <class T>
bool packs_columns(const Product<T>& p) {
  if (p.b.column_stride != 1 || (!loads_parts<T> && p.n % lanes<T> != 0)) return true;
  const int64_t apart = p.b.row_stride * static_cast<int64_t>(sizeof(T));
  const int64_t rows = apart % meeting == 0 ? direct_rows_meeting
                       : apart % line == 0  ? direct_rows_in_line
                                            : direct_rows;
  return p.m > rows && p.m * p.k * p.b.row_stride > direct_reads;
}

// How many terms are multiplied at once: all of them, unless something is packed.
template <class T>
int64_t depth_of(const Product<T>& p) {
  if (!packs_columns(p) && !packs_rows(p)) return p.k;
  return even_part(p.k, p.c_column_stride == 1 ? depth_limit : turned_depth_limit, 1);
}

// Where the rows of a tile begin, packed ones if they had to be, at the k-th term.
template <class T>
struct Rows {
  const T* first[tile_rows];
  int count;
  Strided step;

  Rows(const Product<T>& p, const T* packed_rows, int64_t i, int64_t k)
      : count(static_cast<int>(std::min<int64_t>(tile_rows, p.m - i))),
        step{packs_rows(p) ? tile_rows : p.a.column_stride} {
    const T* begin = packs_rows(p) ? packed_rows + i * p.k : p.a.data + i * p.a.row_stride;
    const int64_t apart = packs_rows(p) ? 1 : p.a.row_stride;
    for (int r = 0; r < count; ++r) first[r] = begin + k * step.stride + r * apart;
  }
};

// The columns of B that a panel of C takes, packed ones if they had to be, from the k-th term on.
template <class T>
struct Columns {
  const T* first;
  int64_t step;

  Columns(const Product<T>& p, const T* packed_columns, int64_t j, int64_t k)
      : first(packed_columns == nullptr ? p.b.data + j : packed_columns + j * p.k),
        step(packed_columns == nullptr ? p.b.row_stride : tile_columns<T>) {
    first += k * step;
  }
};

// The last few columns of C behind whole vectors: sums along the rows of A, where these lie side by side, for
// they would take as long as a whole vector of columns.
template <class T>
class Leftover {
 public:
  Leftover(const Product<T>& p, const T* packed_columns) : columns_(count(p)), numbers_(columns_ * p.k), dots_(p) {
    const int64_t first = p.n - columns_, panel = first / tile_columns<T> * tile_columns<T>;
    const Columns<T> from(p, packed_columns, panel, 0);
    for (int64_t j = 0; j < columns_; ++j) {
      for (int64_t k = 0; k < p.k; ++k) numbers_[j * p.k + k] = from.first[k * from.step + first - panel + j];
    }
    dots_.n = columns_;
    dots_.b = {numbers_.get(), 1, p.k};
    dots_.c += first;
  }

  int64_t columns() const { return columns_; }

  void multiply(int64_t i, int64_t rows) const {
    for (int64_t r = 0; columns_ > 0 && r < rows; r += dot_rows) {
      multiply_dot_rows<T>(std::min<int64_t>(dot_rows, rows - r), dots_, i + r, 0, columns_);
    }
  }

 private:
  // The same for every block that ends where C does.
  static int64_t count(const Product<T>& p) {
    const int64_t rest = p.n % lanes<T>;
    return p.a.column_stride == 1 && p.k >= leftover_terms && rest <= lanes<T> / 4 ? rest : 0;
  }

  int64_t columns_;
  Scratch<T> numbers_;
  Product<T> dots_;
};

// C, of rows that lie side by side, tile by tile.
template <class T>
void multiply_straight(const Product<T>& p, const T* packed_rows, const T* packed_columns) {
  const Store mode = p.accumulate ? Store::accumulate : Store::overwrite;
  const Leftover<T> leftover(p, packed_columns);
  const int64_t whole = p.n - leftover.columns();
  for (int64_t i = 0; i < p.m; i += tile_rows) {
    const Rows<T> rows(p, packed_rows, i, 0);
    for (int64_t j = 0; j < whole; j += tile_columns<T>) {
      const Columns<T> columns(p, packed_columns, j, 0);
      multiply_columns(rows.count, std::min<int64_t>(tile_columns<T>, whole - j), p.k, rows.first, rows.step,
                       columns.first, columns.step, p.c + i * p.c_row_stride + j, p.c_row_stride, mode);
    }
    leftover.multiply(i, rows.count);
    if (p.has_epilogue()) finish(p.block(i, rows.count, 0, p.n));
  }
}

// C, of columns that lie side by side: some tiles are computed aside, a few terms of all of them at a time so that the
// panel's stay in L1, then transposed to where they belong.
template <class T>
void multiply_turned(const Product<T>& p, const T* packed_rows, const T* packed_columns) {
  constexpr int64_t columns = tile_columns<T>, group = 8 * tile_rows, terms = 32 * 1024 / sizeof(T) / columns;
  alignas(64) T tiles[group * columns], turned[group * columns];
  const bool aside = p.has_epilogue() && !p.accumulate && p.residual == nullptr;  // finished before they are turned
  for (int64_t i = 0; i < p.m; i += group) {
    const int64_t height = std::min(group, p.m - i);
    for (int64_t j = 0; j < p.n; j += columns) {
      const int64_t used = std::min(columns, p.n - j);
      for (int64_t k = 0; k < p.k; k += terms) {
        const int64_t count = std::min(terms, p.k - k);
        for (int64_t r = 0; r < height; r += tile_rows) {
          const Rows<T> rows(p, packed_rows, i + r, k);
          const Columns<T> panel(p, packed_columns, j, k);
          multiply_columns(rows.count, used, count, rows.first, rows.step, panel.first, panel.step, tiles + r * columns,
                           columns, k == 0 ? Store::overwrite : Store::accumulate);
        }
      }
      for (int64_t r = 0; aside && r < height; ++r) {
        finish_line(tiles + r * columns, used, p.row_bias == nullptr ? T(0) : p.row_bias[i + r],
                    p.column_bias == nullptr ? nullptr : p.column_bias + j, static_cast<const T*>(nullptr),
                    p.activation);
      }
      T* corner = p.c + i + j * p.c_column_stride;
      transpose(tiles, columns, height, used, p.accumulate ? turned : corner, p.accumulate ? group : p.c_column_stride);
      for (int64_t c = 0; p.accumulate && c < used; ++c) {
        for (int64_t r = 0; r < height; ++r) corner[c * p.c_column_stride + r] += turned[c * group + r];
      }
    }
  }
  if (!aside) finish(p);
}

template <class T>
void multiply_packed(const Product<T>& p, const T* packed_rows, const T* packed_columns) {
  if (p.c_column_stride == 1) {
    multiply_straight(p, packed_rows, packed_columns);
  } else {
    multiply_turned(p, packed_rows, packed_columns);
  }
}

// Products of the form of `p`, of at most `rows` rows and `columns` columns, on one thread, which packs for itself what
// has to be packed: what another one has packed would come from further away than it saves.
template <class T>
class Packed {
 public:
  Packed(const Product<T>& p, int64_t rows, int64_t columns)
      : packs_columns_(packs_columns(p)),
        packs_rows_(packs_rows(p)),
        depth_(depth_of(p)),
        columns_(packs_columns_ ? depth_ * round_up(columns, tile_columns<T>) : 0),
        rows_(packs_rows_ ? depth_ * round_up(rows, tile_rows) : 0) {}

  void multiply(const Product<T>& p) const {
    for (int64_t k = 0; k < p.k; k += depth_) {
      const Product<T> part = p.terms(k, std::min(depth_, p.k - k));
      if (packs_columns_) pack_columns(part.b, part.k, part.n, columns_.get(), part.k * tile_columns<T>);
      if (packs_rows_) pack_rows(part.a, part.m, part.k, rows_.get(), part.k * tile_rows);
      multiply_packed(part, rows_.get(), packs_columns_ ? columns_.get() : nullptr);
    }
  }

 private:
  bool packs_columns_, packs_rows_;
  int64_t depth_;
  Scratch<T> columns_, rows_;
};

// Rough counts of cycles, to choose between a product and its transpose, and dot products.
template <class T>
double cost(const Product<T>& p) {
  const double m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
  const double vectors = static_cast<double>(divide_up(p.n, lanes<T>)),
               tiles = static_cast<double>(divide_up(p.m, tile_rows));
  const double multiply = (tiles * tile_rows * vectors / 2 + tiles / 2) * k + tiles * vectors * tile_rows;
  const double wide = vectors * lanes<T>;
  const double pack_b = !packs_columns(p) ? 0 : wide * k * (p.b.column_stride == 1 ? 0.15 : 0.5);
  const double pack_a = packs_rows(p) ? m * k * (p.a.row_stride == 1 ? 0.2 : 1.0) : 0;
  const double put_c = p.c_column_stride == 1 ? 0 : m * n * static_cast<double>(divide_up(p.k, turned_depth_limit));
  return multiply + pack_b + pack_a + put_c;
}
template <class T>
double cost_of_dots(const Product<T>& p) {
  if (p.a.column_stride != 1 || p.b.row_stride != 1) return std::numeric_limits<double>::infinity();
  const double m = static_cast<double>(p.m), n = static_cast<double>(p.n);
  return m * n * (static_cast<double>(divide_up(p.k, lanes<T>)) / 2 + 3.5);
}

// The same for a block that is too large for caches, for each term of its sums. Where lines of C are cut, the threads
// on both sides of a cut take them from each other's caches: the processor fetches what lies behind, as well.
template <class T>
double cost_of_block(const Product<T>& p, int64_t rows, int64_t columns) {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns);
  const double bring_b = !packs_columns(p) ? 0.3 : p.b.column_stride == 1 ? 0.9 : 1.3;
  const double bring_a = !packs_rows(p)        ? (p.m * depth_of(p) <= packed_columns_items ? 0.05 : 0.3)
                         : p.a.row_stride == 1 ? 1.1
                                               : 2.0;
  const double cut_lines = p.c_column_stride == 1 ? (columns < p.n ? m : 0) : (rows < p.m ? n : 0);
  const double share_c = cut_lines * cut_line / static_cast<double>(depth_of(p));
  return m * n / (2 * lanes<T>)+m * bring_a + n * bring_b + share_c;
}

// Of many terms and a C that is small: pieces of the terms are summed up by themselves, so that no thread reads what
// another one has packed, and added up in their order.
template <class T>
void multiply_pieces(const Product<T>& p) {
  int64_t wanted = 1;  // a power of two: numbers of threads divide it
  while (2 * wanted <= std::min(most_pieces, p.k / piece_terms)) wanted *= 2;
  const int64_t piece = even_part(p.k, divide_up(p.k, wanted), packed_terms);
  const int64_t pieces = divide_up(p.k, piece), size = p.m * p.n;
  const auto aside = [&](const Product<T>& product) {  // the first piece, into rows that lie side by side
    return Product<T>{product.m, product.n, piece, product.a, product.b, nullptr, product.n, 1};
  };
  const Product<T> first = aside(p);
  if (cost(aside(p.transposed())) < cost(first)) return multiply_pieces(p.transposed());
  const Scratch<T> sums(pieces * size);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    const Packed<T> packed(first, p.m, p.n);
    for (int64_t index = begin; index < end; ++index) {
      Product<T> part = first;
      part.k = std::min(piece, p.k - index * piece);
      part.a.data += index * piece * p.a.column_stride;
      part.b.data += index * piece * p.b.row_stride;
      part.c = sums.get() + index * size;
      packed.multiply(part);
    }
  });
  parallel_for(p.m, divide_up(p.m, wanted_parts), [&](int64_t begin, int64_t end) {
    T* total = sums.get();
    for (int64_t index = 1; index < pieces; ++index) {
      const T* more = total + index * size;
      for (int64_t i = begin * p.n; i < end * p.n; ++i) total[i] += more[i];
    }
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < p.n; ++j) put(p, i, j, total[i * p.n + j]);
    }
    finish(p.block(begin, end - begin, 0, p.n));
  });
}

// Multiply-adds, or what could have been done while the numbers came from memory.
template <class T>
int64_t work(const Product<T>& p) {
  return std::max(p.m, read_work) * p.n * std::max<int64_t>(p.k, 1);
}

enum class Method { nothing, dots, pieces, blocks };

// How a product is computed, by its shape alone, and how C is cut into blocks to be shared out among threads. However
// it is cut, each number of C is summed in the same order.
template <class T>
struct Plan {
  Method method;
  bool turned = false;  // the product became that of the transposes
  int64_t block_rows, block_columns;

  Plan(Product<T>& p, int64_t count) {
    choose_method(p, count);
    block_rows = p.m;
    block_columns = p.n;
    if (method == Method::dots) {
      const int64_t blocks = std::min(divide_up(thread_blocks * thread_count(), count), work(p) / block_work);
      block_columns = even_part(p.n, divide_up(p.n, std::max<int64_t>(blocks, 1)), unit);
    } else if (method == Method::blocks) {
      cut(p, count);
    }
  }

 private:
  static constexpr int64_t unit = tile_columns<T>;

  void turn(Product<T>& p) {
    p = p.transposed();
    turned = !turned;
  }

  // Into such blocks that the thread with the most to do, bringing what its blocks take included, ends first.
  void cut(const Product<T>& p, int64_t count) {
    const int64_t threads = thread_count(), wanted = divide_up(thread_blocks * threads, count);
    const int64_t least_rows = divide_up(p.m, packs_rows(p) ? packed_rows_limit : rows_limit);
    const int64_t least_columns = divide_up(p.n, std::max(unit, packed_columns_items / depth_of(p)));
    const int64_t most = std::max(least_rows * least_columns, std::min(wanted, work(p) / block_work));
    double best = std::numeric_limits<double>::infinity();
    for (int64_t row_blocks = least_rows; row_blocks * least_columns <= most; ++row_blocks) {
      const int64_t rows = even_part(p.m, divide_up(p.m, row_blocks), tile_rows);
      for (int64_t column_blocks = least_columns; row_blocks * column_blocks <= most; ++column_blocks) {
        const int64_t columns = even_part(p.n, divide_up(p.n, column_blocks), unit);
        const int64_t blocks = count * divide_up(p.m, rows) * divide_up(p.n, columns);
        const double waiting = 1.0 / 32;  // of a block, for a thread that something else has held up
        const double busiest =
            (static_cast<double>(divide_up(blocks, threads)) + waiting) * cost_of_block(p, rows, columns);
        if (busiest < best) {
          best = busiest;
          block_rows = rows;
          block_columns = columns;
        }
      }
    }
  }

  void choose_method(Product<T>& p, int64_t count) {
    if (p.k == 0) {
      method = Method::nothing;
      return;
    }
    if (cost(p.transposed()) < cost(p)) turn(p);
    if (cost_of_dots(p) < cost(p)) {
      method = Method::dots;
      if (p.n < p.m) turn(p);
    } else if (count == 1 && p.m * p.n * p.k >= shared_work && p.k >= 4 * piece_terms &&
               p.m * p.n <= std::min(piece_numbers, numbers_for_a_term * p.k)) {
      method = Method::pieces;
    } else {
      method = Method::blocks;
    }
  }
};

}  // namespace

template <class T>
void multiply(Product<T> p, int64_t count, const int64_t* a_offsets, const int64_t* b_offsets, int64_t c_step) {
  if (p.m == 0 || p.n == 0 || count == 0) return;
  if (p.k == 1) p.a.column_stride = p.b.row_stride = 1;  // which of one term, row or column is the next doesn't matter
  if (p.m == 1) p.a.row_stride = 1;
  if (p.n == 1) p.b.column_stride = 1;
  const Plan<T> plan(p, count);
  if (plan.turned) std::swap(a_offsets, b_offsets);
  const auto item = [&](int64_t index) {
    Product<T> one = p;
    if (a_offsets != nullptr) one.a.data += a_offsets[index];
    if (b_offsets != nullptr) one.b.data += b_offsets[index];
    one.c += index * c_step;
    if (one.residual != nullptr) one.residual += index * c_step;
    return one;
  };
  if (plan.method == Method::pieces) return multiply_pieces(item(0));
  const int64_t row_blocks = divide_up(p.m, plan.block_rows), column_blocks = divide_up(p.n, plan.block_columns);
  const int64_t blocks = row_blocks * column_blocks;
  const int64_t grain = blocks == 1 ? std::max<int64_t>(1, block_work / 2 / work(p)) : 1;
  parallel_for(count * blocks, grain, [&](int64_t begin, int64_t end) {
    std::optional<Packed<T>> packed;
    if (plan.method == Method::blocks) packed.emplace(p, plan.block_rows, plan.block_columns);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t i = index % row_blocks * plan.block_rows,
                    j = index / row_blocks % column_blocks * plan.block_columns;
      const Product<T> block =
          item(index / blocks).block(i, std::min(plan.block_rows, p.m - i), j, std::min(plan.block_columns, p.n - j));
      switch (plan.method) {
        case Method::nothing: multiply_nothing(block); break;
        case Method::dots: multiply_dots(block); break;
        default: packed->multiply(block); break;
      }
    }
  });
}

template void multiply<float>(Product<float>, int64_t, const int64_t*, const int64_t*, int64_t);
template void multiply<double>(Product<double>, int64_t, const int64_t*, const int64_t*, int64_t);

}  // namespace rushlight
