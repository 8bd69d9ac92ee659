"""A layer of a recurrent network over a whole sequence, and its gradient."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rushlight import dtypes
from rushlight.errors import DtypeError, InputError, ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.joining import cat
from rushlight.ops.linear import check_dtypes, matmul
from rushlight.ops.reduction import sum_
from rushlight.ops.special import special

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
KEPT = {"LSTM": 5, "GRU": 4}  # i, f, g, o, c; r, z, n and what the state adds to n


def _check(name: str, mode: str, sizes: Sequence[int], weight_hh: Any, **arrays: Any) -> dict[str, tuple[int, ...]]:
    """Raises unless mode, sizes and the arrays that are given go with one another; returns all shapes."""
    if mode not in GATES:
        raise InputError(f"{name}: expected one of the modes {', '.join(GATES)}, got {mode!r}")
    if not sizes or sizes[-1] < 0 or any(a < b for a, b in itertools.pairwise(sizes)):
        raise ShapeError(f"{name}: expected sizes of at least one step, which don't increase, got {tuple(sizes)}")
    hidden = weight_hh.shape[-1] if len(weight_hh.shape) == 2 else 0
    wide, kept = GATES[mode] * hidden, KEPT.get(mode, 0) * hidden
    if not hidden or weight_hh.shape[0] != wide:
        raise ShapeError(f"{name}: expected weight_hh ({GATES[mode]} hidden, hidden), got {tuple(weight_hh.shape)}")
    x = arrays["x"]
    features = x.shape[1] if len(x.shape) == 2 else 0
    rows, state = sum(sizes), (sizes[0], hidden)
    shapes = {
        "x": (rows, features), "h": state, "c": state, "weight_ih": (wide, features), "weight_hh": (wide, hidden),
        "bias_ih": (wide,), "bias_hh": (wide,), "inputs": (rows, wide),
        "y": (rows, hidden), "kept": (rows, kept), "gy": (rows, hidden), "gh": state, "gc": state,
        "gkept": (rows, kept),
    }  # fmt: skip
    known = {key: array for key, array in arrays.items() if array is not None}
    for key, array in known.items():
        if tuple(array.shape) != shapes[key]:
            raise ShapeError(f"{name}: expected {key} of shape {shapes[key]}, got {tuple(array.shape)}")
    if ("c" in known) != (mode == "LSTM"):
        raise InputError(f"{name}: an LSTM, and nothing else, has c")
    check_dtypes(name, weight_hh, *known.values())
    if not dtypes.of_numpy(weight_hh.dtype).is_floating_point:
        raise DtypeError(f"{name}: expected tensors of a floating dtype, got {dtypes.of_numpy(weight_hh.dtype)}")
    return shapes


def _steps(sizes: Sequence[int], reverse: bool) -> list[tuple[int, slice, slice]]:
    """Of each step, in the order in which they come: its number, its rows, and those of the step before."""
    first = list(itertools.accumulate(sizes, initial=0))
    rows = [slice(a, b) for a, b in itertools.pairwise(first)]
    order = range(len(sizes))[:: -1 if reverse else 1]
    return [(t, rows[t], rows[s] if s in order else slice(0)) for t, s in zip(order, [-1, *order], strict=False)]


def _wide(xp: Any, *arrays: Any) -> list[Any]:
    """Half precision in float32; None as it is."""
    return [a if a is None or a.dtype.itemsize != 2 else a.astype(xp.float32) for a in arrays]


@operation(kernel="recurrent_layer")
def recurrent_layer(
    xp: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool, keep: bool,
) -> Any:  # fmt: skip
    """A layer of a recurrent network in one direction: its results at all steps, the last states, what is kept.

    x (rows, features): the inputs of all steps one after the other, `sizes` rows of each, which don't increase;
    reverse: from the last step to the first. h and, of an LSTM alone, c (sizes[0], hidden): the states to begin with.
    weight_ih (gates * hidden, features), weight_hh (gates * hidden, hidden), the biases (gates * hidden) or None.
    mode: RNN_TANH, RNN_RELU, LSTM, GRU. With keep, what the gradient of an LSTM or a GRU needs is a result too.
    """
    dtype = x.dtype
    x, h, c, weight_ih, weight_hh, bias_ih, bias_hh = _wide(xp, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    sigmoid = special(xp, "sigmoid")
    n = h.shape[1]
    inputs = xp.matmul(x, weight_ih.T)
    if bias_ih is not None:
        inputs = inputs + bias_ih
    results, kept = [inputs[:0, :n]] * len(sizes), [inputs[:0, :n]] * len(sizes)
    for t, rows, _ in _steps(sizes, reverse):
        size = sizes[t]
        state = xp.matmul(h[:size], weight_hh.T)
        if bias_hh is not None:
            state = state + bias_hh
        if mode == "LSTM":
            i, f, g, o = xp.split(inputs[rows] + state, 4, 1)
            i, f, g, o = sigmoid(i), sigmoid(f), xp.tanh(g), sigmoid(o)
            cell = f * c[:size] + i * g
            y = o * xp.tanh(cell)
            kept[t] = xp.concatenate((i, f, g, o, cell), 1)
            c = xp.concatenate((cell, c[size:]))
        elif mode == "GRU":
            xr, xz, xn = xp.split(inputs[rows], 3, 1)
            hr, hz, hn = xp.split(state, 3, 1)
            r, z = sigmoid(xr + hr), sigmoid(xz + hz)
            candidate = xp.tanh(xn + r * hn)
            y = candidate + z * (h[:size] - candidate)
            kept[t] = xp.concatenate((r, z, candidate, hn), 1)
        else:
            y = xp.tanh(inputs[rows] + state) if mode == "RNN_TANH" else xp.maximum(inputs[rows] + state, 0)
        results[t] = y
        h = xp.concatenate((y, h[size:]))
    found = [xp.concatenate(results), h]
    if mode == "LSTM":
        found.append(c)
    if keep and mode in KEPT:
        found.append(xp.concatenate(kept))
    return tuple(a.astype(dtype) for a in found)


@recurrent_layer.shape
def _(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool, keep: bool,
) -> tuple[Spec, ...]:  # fmt: skip
    arrays = {"x": x, "h": h, "c": c, "weight_ih": weight_ih, "bias_ih": bias_ih, "bias_hh": bias_hh}
    shapes = _check("recurrent_layer", mode, sizes, weight_hh, **arrays)
    names = ["y", "h", *(["c"] if mode == "LSTM" else []), *(["kept"] if keep and mode in KEPT else [])]
    return tuple(Spec(shapes[name], x.dtype) for name in names)


@recurrent_layer.gradient
def _(
    g: Any, y: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, _bias_ih: Any, _bias_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool, keep: bool,
) -> Any:  # fmt: skip
    if mode in KEPT and not keep:
        raise RuntimeError("recurrent_layer: without keep=True there is nothing to compute its gradient from")
    kept: Any = y[-1] if mode in KEPT else None
    of_kept = g[-1] if mode in KEPT else None
    of_cell = g[2] if mode == "LSTM" else None
    of_inputs, of_h, *of_c, of_weight_ih, of_weight_hh = recurrent_layer_gradient(
        g[0], g[1], of_cell, of_kept, y[0], kept, x, h, c, weight_hh, mode=mode, sizes=sizes, reverse=reverse
    )

    @functools.cache
    def of_bias() -> Any:
        return sum_(of_inputs, dim=(0,))

    def of_state_bias() -> Any:
        if mode != "GRU":
            return of_bias()
        n = h.shape[1]
        of_n = of_inputs[:, 2 * n :] * kept[:, :n]  # what the state adds to n is multiplied by r
        if of_kept is not None:
            of_n = of_n + of_kept[:, 3 * n :]
        return cat(of_bias()[: 2 * n], sum_(of_n, dim=(0,)), dim=0)

    return (
        lambda: matmul(of_inputs, weight_ih), of_h, of_c[0] if of_c else None, of_weight_ih, of_weight_hh, of_bias,
        of_state_bias,
    )  # fmt: skip


recurrent_layer.result_stands_in = True


@recurrent_layer.samples
def _(make: Any) -> Iterator[Sample]:
    for x, h, c, weight_ih, weight_hh, options in _operands(make):
        wide = len(weight_hh)
        biases = (None, None) if options["reverse"] else (make(wide), make(wide))
        yield Sample((x, h, c, weight_ih, weight_hh, *biases), {**options, "keep": True})


@operation(kernel="recurrent_layer_gradient")
def recurrent_layer_gradient(
    xp: Any, gy: Any, gh: Any, gc: Any, gkept: Any, y: Any, kept: Any, x: Any, h: Any, c: Any, weight_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool,
) -> Any:  # fmt: skip
    """The gradients of recurrent_layer with respect to x weight_ih^T, to h, c (of an LSTM), weight_ih and weight_hh.

    gy, gh, gc, gkept: with respect to its results, None where nothing came from one; y and kept: those results; the
    others and the options: what it was called with.
    """
    dtype = weight_hh.dtype
    arrays = _wide(xp, gy, gh, gc, gkept, y, kept, x, h, c, weight_hh)
    return tuple(a.astype(dtype) for a in _gradients(xp, *arrays, mode=mode, sizes=sizes, reverse=reverse))


def _gradients(
    xp: Any, gy: Any, gh: Any, gc: Any, gkept: Any, y: Any, kept: Any, x: Any, h: Any, c: Any, weight_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """Of arrays; with `rushlight` for the namespace, of tensors."""
    n, count = h.shape[1], KEPT.get(mode, 0)
    gh = xp.zeros_like(h) if gh is None else gh
    gc = xp.zeros_like(c) if gc is None and mode == "LSTM" else gc
    of_inputs, of_weight = [x[:0]] * len(sizes), xp.zeros_like(weight_hh)
    for t, rows, earlier in reversed(_steps(sizes, reverse)):
        size = sizes[t]
        known = min(size, earlier.stop - (earlier.start or 0))  # rows that the step before has had too
        state = xp.concatenate((y[earlier][:known], h[known:size]))
        g, past = gh[:size], 0.0  # past: what of it doesn't go through the product of state and weights
        if gy is not None:
            g = g + gy[rows]
        values = [kept[rows, k * n : (k + 1) * n] for k in range(count)]
        more = [0.0 if gkept is None else gkept[rows, k * n : (k + 1) * n] for k in range(count)]
        if mode == "LSTM":
            i, f, candidate, o, cell = values
            value = xp.tanh(cell)
            before = xp.concatenate((kept[earlier, 4 * n :][:known], c[known:size]))
            of_cell = gc[:size] + g * o * (1 - value * value) + more[4]
            gates = (
                (of_cell * candidate + more[0]) * i * (1 - i),
                (of_cell * before + more[1]) * f * (1 - f),
                (of_cell * i + more[2]) * (1 - candidate * candidate),
                (g * value + more[3]) * o * (1 - o),
            )
            products = of_inputs[t] = xp.concatenate(gates, 1)
            gc = xp.concatenate((of_cell * f, gc[size:]))
        elif mode == "GRU":
            r, z, candidate, hidden = values
            of_candidate = (g * (1 - z) + more[2]) * (1 - candidate * candidate)
            of_hidden = of_candidate * r + more[3]
            of_r = (of_candidate * hidden + more[0]) * r * (1 - r)
            of_z = (g * (state - candidate) + more[1]) * z * (1 - z)
            of_inputs[t] = xp.concatenate((of_r, of_z, of_candidate), 1)
            products, past = xp.concatenate((of_r, of_z, of_hidden), 1), g * z
        elif mode == "RNN_TANH":
            products = of_inputs[t] = g * (1 - y[rows] * y[rows])
        else:
            products = of_inputs[t] = xp.where(y[rows] > 0, g, 0.0)
        gh = xp.concatenate((xp.matmul(products, weight_hh) + past, gh[size:]))
        of_weight = of_weight + xp.matmul(products.T, state)
    whole = xp.concatenate(of_inputs)
    return (whole, gh, *((gc,) if mode == "LSTM" else ()), xp.matmul(whole.T, x), of_weight)


@recurrent_layer_gradient.shape
def _(
    gy: Any, gh: Any, gc: Any, gkept: Any, y: Any, kept: Any, x: Any, h: Any, c: Any, weight_hh: Any,
    *, mode: str, sizes: Sequence[int], reverse: bool,
) -> tuple[Spec, ...]:  # fmt: skip
    arrays = {"gy": gy, "gh": gh, "gc": gc, "gkept": gkept, "y": y, "kept": kept, "x": x, "h": h, "c": c}
    shapes = _check("recurrent_layer_gradient", mode, sizes, weight_hh, **arrays)
    if (kept is not None) != (mode in KEPT):
        raise InputError("recurrent_layer_gradient: an LSTM or a GRU, and nothing else, has kept")
    names = ("inputs", "h", *(["c"] if mode == "LSTM" else []), "weight_ih", "weight_hh")
    return tuple(Spec(shapes[name], weight_hh.dtype) for name in names)


def _composed_gradients(*inputs: Any, **options: Any) -> tuple[Any, ...]:
    import rushlight

    return _gradients(rushlight, *inputs, **options)


recurrent_layer_gradient.gradient(differentiated(_composed_gradients))


@recurrent_layer_gradient.samples
def _(make: Any) -> Iterator[Sample]:
    for x, h, c, _, weight_hh, options in _operands(make):
        rows, (batch, hidden) = len(x), h.shape
        gh = gc = kept = None
        if not options["reverse"]:
            gh, gc = make(batch, hidden), None if c is None else make(batch, hidden)
        if options["mode"] in KEPT:
            kept = make(rows, KEPT[options["mode"]] * hidden, low=0.1, high=0.9)
        rest = make(rows, hidden), kept, x, h, c, weight_hh
        yield Sample((make(rows, hidden), gh, gc, None, *rest), options)
        if kept is not None and options["reverse"]:
            yield Sample((None, gh, gc, make(*kept.shape), *rest), options)


def _operands(make: Any) -> Iterator[Any]:
    """x, h, c, the weights and the options of layers in all modes, with sequences of one length and of several."""
    for mode, gates in GATES.items():
        for sizes, hidden, reverse in (((2, 2, 2), 3, False), ((3, 2, 2, 1), 2, True), ((2,), 3, False)):
            states = make(sizes[0], hidden), make(sizes[0], hidden) if mode == "LSTM" else None
            weights = make(gates * hidden, 4), make(gates * hidden, hidden)
            yield make(sum(sizes), 4), *states, *weights, {"mode": mode, "sizes": sizes, "reverse": reverse}
