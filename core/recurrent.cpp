// Recurrent layers on NumPy arrays.
#include "recurrent.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "instruction.h"

namespace rushlight {

namespace {

using namespace recurrent;

Mode mode_named(const std::string& name) {
  if (name == "RNN_TANH") return Mode::rnn_tanh;
  if (name == "RNN_RELU") return Mode::rnn_relu;
  if (name == "LSTM") return Mode::lstm;
  if (name == "GRU") return Mode::gru;
  throw nb::value_error("recurrent_layer: no mode of this name");
}

// Operands of one dtype and of shapes that go with one another; the shape rule has seen them already.
class Operands {
 public:
  const Mode mode;
  const DType dtype;

  Operands(const std::string& name, const std::vector<int64_t>& sizes, nb::handle weights)
      : mode(mode_named(name)), dtype(borrow(weights).dtype) {
    if (sizes.empty() || sizes.back() < 0 || !std::ranges::is_sorted(sizes, std::greater())) misfit();
    if (borrow(weights).dimensions != 2 || borrow(weights).shape[1] == 0) misfit();
  }

  // `given` as a contiguous array of this shape, or nothing where it is None.
  WorkArray take(nb::handle given, std::initializer_list<int64_t> shape) {
    if (given.is_none()) return {};
    WorkArray array = contiguous(given);
    if (!std::ranges::equal(shape, shape_of(array.array))) misfit();
    same_ = same_ && array.array.dtype == dtype;
    return array;
  }

  bool known() const { return same_ && (dtype == DType::float32 || dtype == DType::float64); }
  [[noreturn]] static void misfit() { throw nb::value_error("recurrent_layer: the operands don't fit"); }

 private:
  bool same_ = true;
};

nb::object recurrent_layer(nb::handle given_x, nb::handle given_h, nb::handle given_c, nb::handle given_weight_ih,
                           nb::handle given_weight_hh, nb::handle given_bias_ih, nb::handle given_bias_hh,
                           const std::string& mode_name, const std::vector<int64_t>& sizes, bool reverse, bool keep) {
  Operands operands(mode_name, sizes, given_weight_hh);
  const Mode mode = operands.mode;
  const Sequence s(sizes, borrow(given_weight_hh).shape[1], reverse);
  const int64_t wide = gates_of(mode) * s.hidden, kept_width = keep ? kept_of(mode) * s.hidden : 0;
  const Array x_array = borrow(given_x);
  const int64_t features = x_array.dimensions == 2 ? x_array.shape[1] : -1;
  const WorkArray x = operands.take(given_x, {s.rows, features}), h = operands.take(given_h, {s.batch, s.hidden});
  const WorkArray c = operands.take(given_c, {s.batch, s.hidden});
  const WorkArray weight_ih = operands.take(given_weight_ih, {wide, features});
  const WorkArray weight_hh = operands.take(given_weight_hh, {wide, s.hidden});
  const WorkArray bias_ih = operands.take(given_bias_ih, {wide}), bias_hh = operands.take(given_bias_hh, {wide});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm)) Operands::misfit();
  const NewArray y = result(operands.dtype, {s.rows, s.hidden}), last = result(operands.dtype, {s.batch, s.hidden});
  const NewArray cell = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray kept = kept_width > 0 ? result(operands.dtype, {s.rows, kept_width}) : NewArray();
  dispatch_wide(operands.dtype, [&](auto tag) {
    using T = decltype(tag);
    Unlocked unlocked;
    if (c) std::copy_n(c.array.as<T>(), s.batch * s.hidden, cell.array.as<T>());
    const Layer<T> layer{features,
                         x.array.as<T>(),
                         h.array.as<T>(),
                         weight_ih.array.as<T>(),
                         weight_hh.array.as<T>(),
                         bias_ih.array.as<T>(),
                         bias_hh.array.as<T>(),
                         y.array.as<T>(),
                         cell.array.as<T>(),
                         kept.array.as<T>()};
    run(mode, s, layer);
    for (int64_t step = 0; step < s.steps; ++step) {
      for (int64_t row = 0; row < s.sizes[step]; ++row) {
        if (s.has(s.after(step), row)) continue;
        std::copy_n(layer.y + (s.first[step] + row) * s.hidden, s.hidden, last.array.as<T>() + row * s.hidden);
      }
    }
  });
  if (c) return kept_width > 0 ? results(y, last, cell, kept) : results(y, last, cell);
  return kept_width > 0 ? results(y, last, kept) : results(y, last);
}

nb::object recurrent_layer_gradient(nb::handle given_gy, nb::handle given_gh, nb::handle given_gc,
                                    nb::handle given_gkept, nb::handle given_y, nb::handle given_kept,
                                    nb::handle given_x, nb::handle given_h, nb::handle given_c,
                                    nb::handle given_weight_hh, const std::string& mode_name,
                                    const std::vector<int64_t>& sizes, bool reverse) {
  Operands operands(mode_name, sizes, given_weight_hh);
  if (!given_gkept.is_none()) return not_implemented();
  const Mode mode = operands.mode;
  const Sequence s(sizes, borrow(given_weight_hh).shape[1], reverse);
  const int64_t wide = gates_of(mode) * s.hidden;
  const Array x_array = borrow(given_x);
  const int64_t features = x_array.dimensions == 2 ? x_array.shape[1] : -1;
  const WorkArray gy = operands.take(given_gy, {s.rows, s.hidden}), y = operands.take(given_y, {s.rows, s.hidden});
  const WorkArray gh = operands.take(given_gh, {s.batch, s.hidden}), gc = operands.take(given_gc, {s.batch, s.hidden});
  const WorkArray kept = operands.take(given_kept, {s.rows, kept_of(mode) * s.hidden});
  const WorkArray x = operands.take(given_x, {s.rows, features}), h = operands.take(given_h, {s.batch, s.hidden});
  const WorkArray c = operands.take(given_c, {s.batch, s.hidden});
  const WorkArray weight_hh = operands.take(given_weight_hh, {wide, s.hidden});
  if (!operands.known()) return not_implemented();
  if (static_cast<bool>(c) != (mode == Mode::lstm) || static_cast<bool>(kept) != (kept_of(mode) > 0)) {
    Operands::misfit();
  }
  const NewArray inputs = result(operands.dtype, {s.rows, wide}), of_h = result(operands.dtype, {s.batch, s.hidden});
  const NewArray of_c = c ? result(operands.dtype, {s.batch, s.hidden}) : NewArray();
  const NewArray of_weight_ih = result(operands.dtype, {wide, features});
  const NewArray of_weight_hh = result(operands.dtype, {wide, s.hidden});
  dispatch_wide(operands.dtype, [&](auto tag) {
    using T = decltype(tag);
    Unlocked unlocked;
    const auto start = [&](const WorkArray& given, const NewArray& made) {
      if (given) {
        std::copy_n(given.array.as<T>(), s.batch * s.hidden, made.array.as<T>());
      } else {
        std::fill_n(made.array.as<T>(), s.batch * s.hidden, T(0));
      }
    };
    start(gh, of_h);
    if (c) start(gc, of_c);
    const Gradients<T> layer{features,
                             gy.array.as<T>(),
                             y.array.as<T>(),
                             kept.array.as<T>(),
                             x.array.as<T>(),
                             h.array.as<T>(),
                             c.array.as<T>(),
                             weight_hh.array.as<T>(),
                             inputs.array.as<T>(),
                             of_h.array.as<T>(),
                             of_c.array.as<T>(),
                             of_weight_ih.array.as<T>(),
                             of_weight_hh.array.as<T>()};
    run_back(mode, s, layer);
  });
  return c ? results(inputs, of_h, of_c, of_weight_ih, of_weight_hh)
           : results(inputs, of_h, of_weight_ih, of_weight_hh);
}

}  // namespace

void bind_recurrent(nb::module_& module) {
  define_kernel(module, "recurrent_layer", &recurrent_layer, nb::arg("x"), nb::arg("h"), nb::arg("c").none(),
                nb::arg("weight_ih"), nb::arg("weight_hh"), nb::arg("bias_ih").none(), nb::arg("bias_hh").none(),
                nb::arg("mode"), nb::arg("sizes"), nb::arg("reverse"), nb::arg("keep"));
  define_kernel(module, "recurrent_layer_gradient", &recurrent_layer_gradient, nb::arg("gy").none(),
                nb::arg("gh").none(), nb::arg("gc").none(), nb::arg("gkept").none(), nb::arg("y"),
                nb::arg("kept").none(), nb::arg("x"), nb::arg("h"), nb::arg("c").none(), nb::arg("weight_hh"),
                nb::arg("mode"), nb::arg("sizes"), nb::arg("reverse"));
}

}  // namespace rushlight
