// Attention without the matrix of all scores: a block of queries meets the keys block by block, and a running maximum
// and sum make the softmax of what has been seen so far (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018; Dao et al., "FlashAttention", 2022). The backward pass computes the weights anew from the logarithms
// of the sums. Queries, keys and values lie as (samples, tokens, heads, features), in any strides but of one item
// between features.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "bind.h"
#include "gemm_pack.h"
#include "instruction.h"
#include "lanes.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "threads.h"
#include "vector_math.h"

namespace rushlight {

namespace {

constexpr int64_t query_block = 48;  // a multiple of the rows of every instruction set's tiles
constexpr int64_t key_block = 128;
constexpr int64_t chunk_blocks = 16;         // blocks of queries that share the packing of a block of keys
constexpr int64_t enough_tasks = 16;         // from here on there is enough to share out
constexpr int64_t serial_work = 128 * 1024;  // multiply-adds that aren't worth a second thread

template <class T>
constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

// In panels, and in lines of whole vectors.
template <class T>
int64_t padded(int64_t width) {
  return round_up(width, tile_columns<T>);
}
template <class T>
int64_t in_vectors(int64_t width) {
  return round_up(width, lanes<T>);
}

// An array (samples, tokens, heads, features); strides in items.
template <class T>
struct Tokens {
  T* data = nullptr;
  int64_t sample_stride, token_stride, head_stride, features;

  explicit Tokens(const Array& array)
      : data(array.as<T>()),
        sample_stride(array.strides[0] / item_size(array.dtype)),
        token_stride(array.strides[1] / item_size(array.dtype)),
        head_stride(array.strides[2] / item_size(array.dtype)),
        features(array.shape[3]) {}

  // The tokens of one head from `first` on, as rows of a matrix.
  Matrix<std::remove_const_t<T>> rows(int64_t sample, int64_t head, int64_t first) const {
    return {row(sample, head, first), token_stride, 1};
  }
  T* row(int64_t sample, int64_t head, int64_t token) const {
    return data + sample * sample_stride + head * head_stride + token * token_stride;
  }
};

template <class T>
Matrix<T> transposed(Matrix<T> matrix) {
  return {matrix.data, matrix.column_stride, matrix.row_stride};
}

// A mask (samples, heads, queries, keys), broadcast by strides of zero; strides in items. Bools say where attention may
// go, numbers are added to the scores.
struct Mask {
  const char* data = nullptr;
  bool boolean = false;
  int64_t strides[4] = {};
};

struct Problem {
  int64_t samples, heads, queries, keys;
  Mask mask;
  bool causal;
  double scale;

  // The keys of the block from `first` on that the queries before `end` may see.
  int64_t visible(int64_t first, int64_t end) const {
    int64_t count = std::min(key_block, keys - first);
    return causal ? std::clamp<int64_t>(end - first, 0, count) : count;
  }
};

// As `pack_columns` does; but heads are narrow, so that filling up whole panels would take as long as the copies: the
// last one has zeros up to its last vector alone.
template <class T>
void pack(Matrix<T> b, int64_t depth, int64_t width, T* panels) {
  constexpr int64_t columns = tile_columns<T>;
  for (int64_t j = 0; j < width; j += columns, panels += depth * columns) {
    const int64_t used = std::min(columns, width - j), filled = used / lanes<T> * lanes<T>;
    const T* from = b.data + j * b.column_stride;
    if (b.column_stride == 1) {
      for (int64_t k = 0; k < depth; ++k) {
        for_vectors<T>(used, [&](int64_t i, auto count) {
          store(panels + k * columns + i, load_some(from + k * b.row_stride + i, count, T(0)));
        });
      }
      continue;
    }
    for (int64_t k = 0; k < depth && filled < used; ++k) store(panels + k * columns + filled, Vec<T>{});
    transpose(from, b.column_stride, used, depth, panels, columns);
  }
}

// C = A B or C += A B. B lies in packed panels `panel_stride` apart.
template <class T>
void multiply_packed(int64_t rows, int64_t columns, int64_t depth, Matrix<T> a, const T* panels, int64_t panel_stride,
                     T* c, int64_t c_stride, Store mode) {
  const T* row[tile_rows];
  for (int64_t i = 0; i < rows; i += tile_rows) {
    int count = static_cast<int>(std::min<int64_t>(tile_rows, rows - i));
    for (int r = 0; r < count; ++r) row[r] = a.data + (i + r) * a.row_stride;
    const T* panel = panels;
    for (int64_t j = 0; j < columns; j += tile_columns<T>, panel += panel_stride) {
      multiply_columns(count, std::min<int64_t>(tile_columns<T>, columns - j), depth, row, Strided{a.column_stride},
                       panel, tile_columns<T>, c + i * c_stride + j, c_stride, mode);
    }
  }
}

// One row of products becomes scores: scaled and masked, minus infinity from `visible` to `width`.
template <class T>
void finish_scores(T* scores, int64_t visible, int64_t width, const Problem& p, int64_t sample, int64_t head,
                   int64_t query, int64_t first_key) {
  const T scale = static_cast<T>(p.scale);
  for (int64_t j = 0; j < visible; ++j) scores[j] *= scale;
  const int64_t* strides = p.mask.strides;
  const int64_t at = sample * strides[0] + head * strides[1] + query * strides[2] + first_key * strides[3];
  if (p.mask.boolean) {
    const char* allowed = p.mask.data + at;
    for (int64_t j = 0; j < visible; ++j) scores[j] = allowed[j * strides[3]] ? scores[j] : minus_infinity<T>;
  } else if (p.mask.data != nullptr) {
    const T* added = reinterpret_cast<const T*>(p.mask.data) + at;
    for (int64_t j = 0; j < visible; ++j) scores[j] += added[j * strides[3]];
  }
  std::fill(scores + visible, scores + width, minus_infinity<T>);
}

// The scores of a block of queries against a block of keys, in rows of key_block; `width` columns of whole vectors.
template <class T>
void scores_of_block(const Problem& p, const Tokens<const T>& q, const T* keys, int64_t sample, int64_t head,
                     int64_t first, int64_t rows, int64_t first_key, int64_t visible, int64_t width, T* scores) {
  multiply_packed<T>(rows, visible, q.features, q.rows(sample, head, first), keys, q.features * tile_columns<T>, scores,
                     key_block, Store::overwrite);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t own = p.causal ? std::clamp<int64_t>(first + i + 1 - first_key, 0, visible) : visible;
    finish_scores(scores + i * key_block, own, width, p, sample, head, first + i, first_key);
  }
}

// What rows of queries have seen so far, a row in each lane.
template <class T>
struct Seen {
  Vec<T> top = broadcast(minus_infinity<T>), sum = {};
};

// Scores of at most as many rows as a vector has lanes, key_block apart, become weights; returns by how much what the
// rows have gathered shrinks.
template <class T>
Vec<T> weigh(T* scores, int64_t rows, int64_t width, Seen<T>& seen) {
  const Vec<T> before = seen.top;
  const auto larger = [](Vec<T> a, Vec<T> b) { return maximum(a, b); };
  seen.top = maximum(before, of_rows<T>(
                                 rows,
                                 [&](int64_t row) {
                                   Vec<T> best = broadcast(minus_infinity<T>);
                                   for (int64_t j = 0; j < width; j += lanes<T>) {
                                     best = maximum(best, load(scores + row * key_block + j));
                                   }
                                   return best;
                                 },
                                 larger));
  const Vec<T> base = select(seen.top == minus_infinity<T>, T(0), seen.top);
  T bases[lanes<T>];
  store(bases, base);
  const Vec<T> sums = sums_of_rows<T>(rows, [&](int64_t row) {
    T* weights = scores + row * key_block;
    Vec<T> total = {};
    for (int64_t j = 0; j < width; j += lanes<T>) {
      const Vec<T> weight = exp_of_weight(Vec<T>(load(weights + j) - bases[row]));
      total += weight;
      store(weights + j, weight);
    }
    return total;
  });
  const Vec<T> shrink = exp_of_weight(Vec<T>(before - base));
  seen.sum = seen.sum * shrink + sums;
  return shrink;
}

template <class T>
void attend(const Problem& p, Tokens<const T> q, Tokens<const T> k, Tokens<const T> v, Tokens<T> y, T* log_sums) {
  const int64_t blocks = divide_up(p.queries, query_block), all_heads = p.samples * p.heads;
  if (blocks * all_heads == 0) return;
  const int64_t wanted = std::max(divide_up(blocks, chunk_blocks), divide_up(enough_tasks, all_heads));
  const int64_t chunk = divide_up(blocks, std::min(blocks, wanted)) * query_block;  // queries of one task
  const int64_t chunks = divide_up(p.queries, chunk), wide = in_vectors<T>(v.features);
  const int64_t work = chunk * p.keys * (q.features + v.features);
  parallel_for(all_heads * chunks, serial_work / std::max<int64_t>(work, 1), [&](int64_t begin, int64_t end) {
    Scratch<T> keys(q.features * padded<T>(key_block)), values(key_block * padded<T>(v.features)),
        gathered(chunk * wide);
    Scratch<T> scores(query_block * key_block);
    Scratch<Seen<T>> seen_so_far(divide_up(chunk, lanes<T>));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / chunks / p.heads, head = task / chunks % p.heads, start = task % chunks * chunk;
      const int64_t stop = std::min(start + chunk, p.queries);
      std::fill_n(seen_so_far.get(), divide_up(chunk, lanes<T>), Seen<T>());
      if (p.keys == 0) std::fill_n(gathered.get(), chunk * wide, T(0));
      for (int64_t first_key = 0; first_key < p.keys; first_key += key_block) {
        const int64_t seen = p.visible(first_key, stop);
        if (seen == 0) break;
        pack(transposed(k.rows(sample, head, first_key)), q.features, seen, keys.get());
        pack(v.rows(sample, head, first_key), seen, v.features, values.get());
        for (int64_t first = start; first < stop; first += query_block) {
          const int64_t rows = std::min(query_block, stop - first), visible = p.visible(first_key, first + rows);
          if (visible == 0) continue;
          const int64_t width = in_vectors<T>(visible);
          scores_of_block(p, q, keys.get(), sample, head, first, rows, first_key, visible, width, scores.get());
          T* target = gathered.get() + (first - start) * wide;
          for (int64_t i = 0; i < rows; i += lanes<T>) {
            const int64_t group = std::min<int64_t>(lanes<T>, rows - i);
            const Vec<T> shrink =
                weigh(scores.get() + i * key_block, group, width, seen_so_far[(first - start + i) / lanes<T>]);
            for (int64_t r = i; r < i + group; ++r) {
              if (first_key == 0 || shrink[r - i] == T(1)) continue;
              for (int64_t d = 0; d < v.features; ++d) target[r * wide + d] *= shrink[r - i];
            }
          }
          multiply_packed<T>(rows, v.features, visible, {scores.get(), key_block, 1}, values.get(),
                             seen * tile_columns<T>, target, wide,
                             first_key == 0 ? Store::overwrite : Store::accumulate);
        }
      }
      T* logarithms = log_sums + (sample * p.heads + head) * p.queries + start;
      for (int64_t i = 0; i < stop - start; i += lanes<T>) {
        const int64_t group = std::min<int64_t>(lanes<T>, stop - start - i);
        const auto& [top, sum] = seen_so_far[i / lanes<T>];
        store_some(logarithms + i, Vec<T>(top + log(sum)), group);
        const Vec<T> scale = select(sum == T(0), T(0), Vec<T>(1 / sum));
        for (int64_t r = i; r < i + group; ++r) {
          const T* from = gathered.get() + r * wide;
          T* to = y.row(sample, head, start + r);
          for (int64_t d = 0; d < v.features; ++d) to[d] = from[d] * scale[r - i];
        }
      }
    }
  });
}

// What one task of the backward pass works on and in.
template <class T>
struct Gradients {
  Tokens<const T> g, y;
  const T* log_sums;
  Tokens<const T> q, k, v;
  Tokens<T> gq, gk, gv;
};

// What a thread of the backward pass packs and computes, for one head after the other.
template <class T>
struct Workspace {
  Scratch<T> turned_keys, keys, turned_values, queries, gradients, scores, products, deltas;

  Workspace(const Problem& p, int64_t e, int64_t d)
      : turned_keys(e * padded<T>(key_block)),
        keys(key_block * padded<T>(e)),
        turned_values(d * padded<T>(key_block)),
        queries(round_up(p.queries, query_block) * padded<T>(e)),
        gradients(round_up(p.queries, query_block) * padded<T>(d)),
        scores(query_block * key_block),
        products(query_block * key_block),
        deltas(p.queries) {}
};

// weights = exp(scores - log_sum), products = weights * (products - delta) * scale
template <class T>
void gradient_row(T* scores, T* products, int64_t width, T log_sum, T delta, T scale) {
  if (log_sum == minus_infinity<T>) log_sum = 0;  // nothing was seen: all weights are 0
  for (int64_t j = 0; j < width; j += lanes<T>) {
    const Vec<T> weight = exp_of_weight(Vec<T>(load(scores + j) - log_sum));
    store(scores + j, weight);
    store(products + j, Vec<T>(weight * (load(products + j) - delta) * scale));
  }
}

// Adds A B to the first `rows` rows of C; those from `known` on have nothing in them yet.
template <class T>
void gather(int64_t rows, int64_t known, int64_t columns, int64_t depth, Matrix<T> a, const T* panels, T* c,
            int64_t c_stride) {
  known = std::min(known, rows);
  const int64_t panel_stride = depth * tile_columns<T>;
  multiply_packed<T>(known, columns, depth, a, panels, panel_stride, c, c_stride, Store::accumulate);
  a.data += known * a.row_stride;
  multiply_packed<T>(rows - known, columns, depth, a, panels, panel_stride, c + known * c_stride, c_stride,
                     Store::overwrite);
}

// The blocks of keys [first_block, last_block) of one head; the queries' gradients are gathered in `gathered`.
template <class T>
void attend_backward(const Problem& p, const Gradients<T>& t, const Workspace<T>& space, int64_t sample, int64_t head,
                     int64_t first_block, int64_t last_block, T* gathered) {
  const int64_t e = t.q.features, d = t.v.features, wide = in_vectors<T>(e);
  const int64_t panels_e = padded<T>(e), panels_d = padded<T>(d);
  const auto& [turned_keys, keys, turned_values, queries, gradients, scores, products, deltas] = space;
  if (first_block == last_block) std::fill_n(gathered, p.queries * wide, T(0));
  for (int64_t i = 0; i < p.queries; i += lanes<T>) {
    const int64_t group = std::min<int64_t>(lanes<T>, p.queries - i);
    const Vec<T> sums = sums_of_rows<T>(group, [&](int64_t row) {
      const T *g = t.g.row(sample, head, i + row), *y = t.y.row(sample, head, i + row);
      return vector_sum<T>(d, [&](int64_t j, auto width) {
        return Vec<T>(load_some(g + j, width, T(0)) * load_some(y + j, width, T(0)));
      });
    });
    store_some(deltas.get() + i, sums, group);
  }
  for (int64_t first = 0; first < p.queries; first += query_block) {
    const int64_t rows = std::min(query_block, p.queries - first);
    pack(t.q.rows(sample, head, first), rows, e, queries.get() + first * panels_e);
    pack(t.g.rows(sample, head, first), rows, d, gradients.get() + first * panels_d);
  }
  const T* log_sums = t.log_sums + (sample * p.heads + head) * p.queries;
  for (int64_t block = first_block; block < last_block; ++block) {
    const int64_t first_key = block * key_block, count = std::min(key_block, p.keys - first_key);
    pack(transposed(t.k.rows(sample, head, first_key)), e, count, turned_keys.get());
    pack(t.k.rows(sample, head, first_key), count, e, keys.get());
    pack(transposed(t.v.rows(sample, head, first_key)), d, count, turned_values.get());
    T *gk = t.gk.row(sample, head, first_key), *gv = t.gv.row(sample, head, first_key);
    int64_t known = 0;  // keys that queries have seen
    for (int64_t first = 0; first < p.queries; first += query_block) {
      const int64_t rows = std::min(query_block, p.queries - first), visible = p.visible(first_key, first + rows);
      if (visible == 0) {
        if (block == first_block) std::fill_n(gathered + first * wide, rows * wide, T(0));
        continue;
      }
      const int64_t width = in_vectors<T>(visible);
      scores_of_block(p, t.q, turned_keys.get(), sample, head, first, rows, first_key, visible, width, scores.get());
      multiply_packed<T>(rows, visible, d, t.g.rows(sample, head, first), turned_values.get(), d * tile_columns<T>,
                         products.get(), key_block, Store::overwrite);
      for (int64_t i = 0; i < rows; ++i) {
        gradient_row(scores.get() + i * key_block, products.get() + i * key_block, width, log_sums[first + i],
                     deltas[first + i], static_cast<T>(p.scale));
      }
      gather<T>(visible, known, d, rows, {scores.get(), 1, key_block}, gradients.get() + first * panels_d, gv,
                t.gv.token_stride);
      multiply_packed<T>(rows, e, visible, {products.get(), key_block, 1}, keys.get(), count * tile_columns<T>,
                         gathered + first * wide, wide, block == first_block ? Store::overwrite : Store::accumulate);
      gather<T>(visible, known, e, rows, {products.get(), 1, key_block}, queries.get() + first * panels_e, gk,
                t.gk.token_stride);
      known = std::max(known, visible);
    }
    for (int64_t i = known; i < count; ++i) {
      std::fill_n(gk + i * t.gk.token_stride, e, T(0));
      std::fill_n(gv + i * t.gv.token_stride, d, T(0));
    }
  }
}

// A task is a head, or where there are few of them a part of its keys; the parts' gradients of the queries are added
// up.
template <class T>
void attend_backward(const Problem& p, const Gradients<T>& t) {
  const int64_t all_heads = p.samples * p.heads, blocks = divide_up(p.keys, key_block);
  const int64_t parts =
      std::max<int64_t>(1, std::min(blocks, divide_up(enough_tasks, std::max<int64_t>(all_heads, 1))));
  const int64_t e = t.q.features, wide = in_vectors<T>(e), size = p.queries * wide;
  const int64_t work = p.queries * p.keys * (3 * e + 2 * t.v.features);
  for (int64_t from = 0; from < all_heads; from += enough_tasks) {  // bounds the memory of the parts
    const int64_t heads = std::min(enough_tasks, all_heads - from);
    Scratch<T> gathered(heads * parts * size);
    parallel_for(heads * parts, serial_work / std::max<int64_t>(work / parts, 1), [&](int64_t begin, int64_t end) {
      const Workspace<T> space(p, e, t.v.features);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t part = task % parts, number = from + task / parts;
        attend_backward(p, t, space, number / p.heads, number % p.heads, blocks * part / parts,
                        blocks * (part + 1) / parts, gathered.get() + task * size);
      }
    });
    parallel_for(heads, serial_work / std::max<int64_t>(size, 1), [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        T* sum = gathered.get() + head * parts * size;
        for (int64_t i = size; i < parts * size; ++i) sum[i % size] += sum[i];
        for (int64_t i = 0; i < p.queries; ++i) {
          std::copy_n(sum + i * wide, e, t.gq.row((from + head) / p.heads, (from + head) % p.heads, i));
        }
      }
    });
  }
}

// ---- bindings ------------------------------------------------------------------------------------------------------

// (samples, tokens, heads, features) where it lies, or a copy where the features don't lie side by side.
WorkArray tokens_of(nb::handle given) {
  Array array = borrow(given);
  if (array.dimensions == 4 && (array.shape[3] <= 1 || array.strides[3] == item_size(array.dtype))) {
    return WorkArray(array);
  }
  return contiguous(given);
}

struct Operands {
  WorkArray q, k, v, mask;
  Problem problem;

  // False where there is no code for them. The shape rule has seen them already.
  bool take(nb::handle query, nb::handle key, nb::handle value, nb::handle given_mask, bool causal, double scale) {
    q = tokens_of(query), k = tokens_of(key), v = tokens_of(value);
    const DType dtype = q.array.dtype;
    if (q.array.dimensions != 4 || k.array.dimensions != 4 || v.array.dimensions != 4) return false;
    if (k.array.dtype != dtype || v.array.dtype != dtype) return false;
    problem = {q.array.shape[0], q.array.shape[2], q.array.shape[1], k.array.shape[1], {}, causal, scale};
    if (given_mask.is_none()) return true;
    mask = WorkArray(borrow(given_mask));
    problem.mask.boolean = mask.array.dtype == DType::boolean;
    if (mask.array.dimensions != 4 || (!problem.mask.boolean && mask.array.dtype != dtype)) return false;
    problem.mask.data = mask.array.data;
    for (int i = 0; i < 4; ++i) {
      problem.mask.strides[i] = mask.array.shape[i] == 1 ? 0 : mask.array.strides[i] / item_size(mask.array.dtype);
    }
    return true;
  }
};

nb::object attention(nb::handle query, nb::handle key, nb::handle value, nb::handle mask, bool causal, double scale) {
  Operands given;
  if (!given.take(query, key, value, mask, causal, scale)) return not_implemented();
  const Problem& p = given.problem;
  NewArray y, log_sums;
  bool known = dispatch_wide(given.q.array.dtype, [&](auto tag) {
    using T = decltype(tag);
    y = result(dtype_of<T>(), {p.samples, p.queries, p.heads, given.v.array.shape[3]});
    log_sums = result(dtype_of<T>(), {p.samples, p.heads, p.queries});
    Unlocked unlocked;
    attend<T>(p, Tokens<const T>(given.q.array), Tokens<const T>(given.k.array), Tokens<const T>(given.v.array),
              Tokens<T>(y.array), log_sums.array.as<T>());
  });
  return known ? results(y, log_sums) : not_implemented();
}

nb::object attention_gradient(nb::handle gradient, nb::handle output, nb::handle logarithms, nb::handle query,
                              nb::handle key, nb::handle value, nb::handle mask, bool causal, double scale) {
  Operands given;
  if (!given.take(query, key, value, mask, causal, scale)) return not_implemented();
  const Problem& p = given.problem;
  WorkArray g = tokens_of(gradient), y = tokens_of(output), log_sums = contiguous(logarithms);
  NewArray gq, gk, gv;
  const DType dtype = given.q.array.dtype;
  if (g.array.dtype != dtype || y.array.dtype != dtype || log_sums.array.dtype != dtype) return not_implemented();
  bool known = dispatch_wide(dtype, [&](auto tag) {
    using T = decltype(tag);
    gq = result(dtype, {p.samples, p.queries, p.heads, given.q.array.shape[3]});
    gk = result(dtype, {p.samples, p.keys, p.heads, given.k.array.shape[3]});
    gv = result(dtype, {p.samples, p.keys, p.heads, given.v.array.shape[3]});
    Unlocked unlocked;
    attend_backward<T>(
        p, {Tokens<const T>(g.array), Tokens<const T>(y.array), log_sums.array.as<T>(), Tokens<const T>(given.q.array),
            Tokens<const T>(given.k.array), Tokens<const T>(given.v.array), Tokens<T>(gq.array), Tokens<T>(gk.array),
            Tokens<T>(gv.array)});
  });
  return known ? results(gq, gk, gv) : not_implemented();
}

}  // namespace

void bind_attention(nb::module_& module) {
  define_kernel(module, "attention", &attention, nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("mask").none(),
                nb::arg("causal"), nb::arg("scale"));
  define_kernel(module, "attention_gradient", &attention_gradient, nb::arg("g"), nb::arg("y"), nb::arg("log_sums"),
                nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("mask").none(), nb::arg("causal"), nb::arg("scale"));
}

}  // namespace rushlight
