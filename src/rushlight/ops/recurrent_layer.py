"""A layer of a recurrent network over a whole sequence, and its gradient."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rushlight import dtypes
from rushlight.errors import DtypeError, InputError, ShapeError
from rushlight.ops.declare import Sample, Spec, differentiated, operation
from rushlight.ops.linear import check_dtypes
from rushlight.ops.movement import cat
from rushlight.ops.reduction import sum_
from rushlight.ops.special import special

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
_KEPT = {"LSTM": 5, "GRU": 4}  # i, f, g, o, c; r, z, n and the state's part of n


def _check(name, sizes, mode, shapes, arrays):
    """Raises unless the sizes don't increase and the arrays have these shapes and one floating dtype."""
    if mode not in _GATES:
        raise InputError(f"{name}: expected a mode of {', '.join(_GATES)}, got {mode!r}")
    if not sizes or sizes[-1] < 0 or any(a < b for a, b in itertools.pairwise(sizes)):
        raise ShapeError(f"{name}: expected sizes of at least one step, which don't increase, got {sizes}")
    known = {key: array for key, array in arrays.items() if array is not None}
    for key, array in known.items():
        if tuple(array.shape) != shapes[key]:
            raise ShapeError(f"{name}: expected {key} of shape {shapes[key]}, got {tuple(array.shape)}")
    check_dtypes(name, *known.values())
    if not dtypes.of_numpy(next(iter(known.values())).dtype).is_floating_point:
        raise DtypeError(f"{name}: expected tensors of a floating dtype")


def _shapes(w, sizes, mode):
    if len(w.shape) != 2 or w.shape[1] == 0 or w.shape[0] != _GATES[mode] * w.shape[1]:
        raise ShapeError(f"recurrent_layer: expected w (gates * hidden, hidden) for {mode}, got {tuple(w.shape)}")
    rows, batch, (wide, hidden) = sum(sizes), sizes[0], w.shape
    state, y = (batch, hidden), (rows, hidden)
    return {
        "x": (rows, wide), "h": state, "c": state, "w": (wide, hidden), "bias": (wide,),
        "gy": y, "gh": state, "gc": state, "y": y,
        "kept": (rows, _KEPT.get(mode, 0) * hidden), "gkept": (rows, _KEPT.get(mode, 0) * hidden),
    }  # fmt: skip


def _steps(sizes, reverse):
    """Of each step, in the order in which they come: its number, its rows, and those of the step before."""
    first = list(itertools.accumulate(sizes, initial=0))
    rows = [slice(a, b) for a, b in itertools.pairwise(first)]
    order = range(len(sizes))[:: -1 if reverse else 1]
    return [
        (t, rows[t], rows[s] if s in order else slice(0)) for t, s in ((t, t + 1 if reverse else t - 1) for t in order)
    ]


@operation(kernel="recurrent_layer")
def recurrent_layer(xp, x, h, c, w, bias, *, mode, sizes, reverse, keep):
    """A layer of a recurrent network in one direction: its results at all steps, the last states, what is kept.

    x (rows, gates * hidden): the projected inputs of all steps one after the other, `sizes` rows of each, which don't
    increase; reverse: from the last step to the first. h and, of an LSTM alone, c (sizes[0], hidden): the states to
    begin with. w (gates * hidden, hidden) and bias (gates * hidden) or None project the state. mode: RNN_TANH,
    RNN_RELU, LSTM, GRU. With keep, what the gradient needs of an LSTM or a GRU is a result too.
    """
    dtype = x.dtype
    x, h, c, w, bias = _wide(xp, x, h, c, w, bias)
    sigmoid = special(xp, "sigmoid")
    results, kept = [None] * len(sizes), [None] * len(sizes)
    for t, rows, _ in _steps(sizes, reverse):
        size = sizes[t]
        state = xp.matmul(h[:size], w.T)
        if bias is not None:
            state = state + bias
        if mode == "GRU":
            n = h.shape[1]
            r, z = (sigmoid(x[rows, a : a + n] + state[:, a : a + n]) for a in (0, n))
            hidden = state[:, 2 * n :]
            candidate = xp.tanh(x[rows, 2 * n :] + r * hidden)
            y = candidate + z * (h[:size] - candidate)
            kept[t] = xp.concatenate((r, z, candidate, hidden), 1)
        elif mode == "LSTM":
            i, f, g, o = xp.split(x[rows] + state, 4, 1)
            i, f, g, o = sigmoid(i), sigmoid(f), xp.tanh(g), sigmoid(o)
            cell = f * c[:size] + i * g
            y = o * xp.tanh(cell)
            kept[t] = xp.concatenate((i, f, g, o, cell), 1)
            c = xp.concatenate((cell, c[size:]))
        else:
            y = xp.tanh(x[rows] + state) if mode == "RNN_TANH" else xp.maximum(x[rows] + state, 0)
        results[t] = y
        h = xp.concatenate((y, h[size:]))
    found = [xp.concatenate(results), h]
    if mode == "LSTM":
        found.append(c)
    if keep and mode in _KEPT:
        found.append(xp.concatenate(kept))
    return tuple(a.astype(dtype) for a in found)


def _wide(xp, *arrays):
    """Half precision in float32; None as it is."""
    return [a if a is None or a.dtype.itemsize != 2 else a.astype(xp.float32) for a in arrays]


@recurrent_layer.shape
def _(x, h, c, w, bias, *, mode, sizes, reverse, keep):
    shapes = _shapes(w, sizes, mode)
    _check("recurrent_layer", sizes, mode, shapes, {"x": x, "h": h, "c": c, "w": w, "bias": bias})
    names = ["y", "h", *(["c"] if mode == "LSTM" else []), *(["kept"] if keep and mode in _KEPT else [])]
    return tuple(Spec(shapes[name], x.dtype) for name in names)


@recurrent_layer.gradient
def _(g, y, _x, h, c, w, _bias, *, mode, sizes, reverse, keep):
    keeps = mode in _KEPT
    if keeps and not keep:
        raise RuntimeError("recurrent_layer: there is no gradient without what keep=True keeps")
    of_cell = g[2] if mode == "LSTM" else None
    kept, of_kept = (y[-1], g[-1]) if keeps else (None, None)
    of_x, of_h, *of_c, of_w = recurrent_layer_gradient(
        g[0], g[1], of_cell, of_kept, y[0], kept, h, c, w, mode=mode, sizes=sizes, reverse=reverse
    )

    def of_bias():
        if mode != "GRU":
            return sum_(of_x, dim=(0,))
        n = h.shape[1]
        hidden = of_x[:, 2 * n :] * kept[:, :n]  # the state's part of the candidate is multiplied by r
        if of_kept is not None:
            hidden = hidden + of_kept[:, 3 * n :]
        return cat(sum_(of_x[:, : 2 * n], dim=(0,)), sum_(hidden, dim=(0,)), dim=0)

    return of_x, of_h, (of_c[0] if of_c else None), of_w, of_bias


def _gradients(xp, gy, gh, gc, gkept, y, kept, h, c, w, *, mode, sizes, reverse):
    """See `recurrent_layer_gradient`. Of arrays, or with `rushlight` for the namespace of tensors."""
    n = h.shape[1]
    gh = xp.zeros_like(h) if gh is None else gh
    if mode == "LSTM":
        gc = xp.zeros_like(c) if gc is None else gc
    of_x, of_w = [None] * len(sizes), 0.0
    for t, rows, earlier in reversed(_steps(sizes, reverse)):
        size = sizes[t]

        def before(results, initial, earlier=earlier, size=size):
            """The state that the step began with."""
            found = results[earlier][:size]
            return xp.concatenate((found, initial[found.shape[0] : size]))

        g, state = gh[:size], before(y, h)
        if gy is not None:
            g = g + gy[rows]
        passed = None
        if mode in _KEPT:
            known = [kept[rows, k * n : (k + 1) * n] for k in range(_KEPT[mode])]
            more = [0.0 if gkept is None else gkept[rows, k * n : (k + 1) * n] for k in range(_KEPT[mode])]
        if mode == "LSTM":
            i, f, candidate, o, cell = known
            value = xp.tanh(cell)
            of_cell = gc[:size] + g * o * (1 - value * value) + more[4]
            products = of_x[t] = xp.concatenate(
                (
                    (of_cell * candidate + more[0]) * i * (1 - i),
                    (of_cell * before(kept[:, 4 * n :], c) + more[1]) * f * (1 - f),
                    (of_cell * i + more[2]) * (1 - candidate * candidate),
                    (g * value + more[3]) * o * (1 - o),
                ),
                1,
            )
            gc = xp.concatenate((of_cell * f, gc[size:]))
        elif mode == "GRU":
            r, z, candidate, hidden = known
            of_candidate = (g * (1 - z) + more[2]) * (1 - candidate * candidate)
            of_hidden = of_candidate * r + more[3]
            of_reset = (of_candidate * hidden + more[0]) * r * (1 - r)
            of_update = (g * (state - candidate) + more[1]) * z * (1 - z)
            of_x[t] = xp.concatenate((of_reset, of_update, of_candidate), 1)
            products = xp.concatenate((of_reset, of_update, of_hidden), 1)
            passed = g * z
        else:
            products = of_x[t] = g * (1 - y[rows] * y[rows]) if mode == "RNN_TANH" else xp.where(y[rows] > 0, g, 0.0)
        of_state = xp.matmul(products, w)
        gh = xp.concatenate((of_state if passed is None else of_state + passed, gh[size:]))
        of_w = of_w + xp.matmul(products.T, state)
    return (xp.concatenate(of_x), gh, *((gc,) if mode == "LSTM" else ()), of_w)


@operation(kernel="recurrent_layer_gradient")
def recurrent_layer_gradient(xp, gy, gh, gc, gkept, y, kept, h, c, w, *, mode, sizes, reverse):
    """The gradients of recurrent_layer with respect to x, h, c (of an LSTM) and w.

    gy, gh, gc, gkept: with respect to its results, None where nothing came from one; y and kept: those results; h, c,
    w and the options: what it was called with.
    """
    dtype = w.dtype
    arrays = _wide(xp, gy, gh, gc, gkept, y, kept, h, c, w)
    return tuple(a.astype(dtype) for a in _gradients(xp, *arrays, mode=mode, sizes=sizes, reverse=reverse))


@recurrent_layer_gradient.shape
def _(gy, gh, gc, gkept, y, kept, h, c, w, *, mode, sizes, reverse):
    shapes = _shapes(w, sizes, mode)
    names = ("gy", "gh", "gc", "gkept", "y", "kept", "h", "c", "w")
    arrays = dict(zip(names, (gy, gh, gc, gkept, y, kept, h, c, w), strict=True))
    _check("recurrent_layer_gradient", sizes, mode, shapes, arrays)
    return tuple(Spec(shapes[name], w.dtype) for name in ("x", "h", *(["c"] if mode == "LSTM" else []), "w"))


def _composed_gradient(*inputs, **options):
    import rushlight

    return _gradients(rushlight, *inputs, **options)


recurrent_layer_gradient.gradient(differentiated(_composed_gradient))


def _operands(make):
    """x, h, c, w, bias and the options of layers in all modes, with sequences of one length and of several."""
    for mode, gates in _GATES.items():
        for sizes, hidden, reverse in (((2, 2, 2), 3, False), ((3, 2, 2, 1), 2, True), ((1,), 4, False)):
            batch, rows = sizes[0], sum(sizes)
            states = make(batch, hidden), (make(batch, hidden) if mode == "LSTM" else None)
            weights = make(gates * hidden, hidden), (None if reverse else make(gates * hidden))
            yield make(rows, gates * hidden), *states, *weights, {"mode": mode, "sizes": sizes, "reverse": reverse}


@recurrent_layer.samples
def _(make):
    for *args, options in _operands(make):
        yield Sample(tuple(args), {**options, "keep": True})


@recurrent_layer_gradient.samples
def _(make):
    for x, h, c, w, _, options in _operands(make):
        rows, (batch, hidden) = x.shape[0], h.shape
        kept = _KEPT.get(options["mode"], 0) * hidden
        gy = make(rows, hidden)
        gh, gc = (
            (None, None) if options["reverse"] else (make(batch, hidden), None if c is None else make(batch, hidden))
        )
        kept = make(rows, kept, low=0.1, high=0.9) if kept else None
        yield Sample((gy, gh, gc, None, make(rows, hidden), kept, h, c, w), options)
        if kept is not None and options["reverse"]:
            yield Sample((gy, gh, gc, make(*kept.shape), make(rows, hidden), kept, h, c, w), options)
