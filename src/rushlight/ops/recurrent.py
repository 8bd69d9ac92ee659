"""An LSTM cell whose output is projected, one program forward and one backward; parts; linear recurrences."""

import numpy as np

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, elementwise, operation
from rushlight.ops.elementwise import sigmoid, tanh
from rushlight.ops.joining import cat
from rushlight.ops.movement import normalize_dim, slice_
from rushlight.ops.special import special


def _logistic(xp, x):
    return special(xp, "sigmoid")(x)


@elementwise()
def lstm_state(xp, i, f, g, c):
    """The new state of an LSTM cell, sigmoid(f) c + sigmoid(i) tanh(g)."""
    return _logistic(xp, f) * c + _logistic(xp, i) * xp.tanh(g)


@lstm_state.gradient
def _(g, _y, i, f, candidate, c):
    def of_input():
        gate = sigmoid(i)
        return g * tanh(candidate) * gate * (1 - gate)

    def of_forget():
        gate = sigmoid(f)
        return g * c * gate * (1 - gate)

    def of_candidate():
        value = tanh(candidate)
        return g * sigmoid(i) * (1 - value * value)

    return of_input, of_forget, of_candidate, lambda: g * sigmoid(f)


@elementwise()
def lstm_output(xp, o, c):
    """What an LSTM cell gives out, sigmoid(o) tanh(c)."""
    return _logistic(xp, o) * xp.tanh(c)


@lstm_output.gradient
def _(g, _y, o, c):
    def of_gate():
        gate = sigmoid(o)
        return g * tanh(c) * gate * (1 - gate)

    def of_state():
        value = tanh(c)
        return g * sigmoid(o) * (1 - value * value)

    return of_gate, of_state


# The gates of a projection, and the steps of a sequence


@operation()
def parts(xp, x, *, sizes, dim):
    """x cut into parts of `sizes` along dim, without copying. Unlike those of split(), they aren't for in-place use."""
    edges = np.cumsum((0, *sizes)).tolist()
    front = (slice(None),) * (dim % x.ndim)
    return tuple(x[(*front, slice(a, b))] for a, b in zip(edges, edges[1:], strict=False))


@parts.shape
def _(x, *, sizes, dim):
    at = normalize_dim("parts", dim, len(x.shape))
    if sum(sizes) != x.shape[at] or any(n < 0 for n in sizes):
        raise ShapeError(f"parts: the sizes {tuple(sizes)} don't add up to dimension {at} of {tuple(x.shape)}")
    return tuple(Spec((*x.shape[:at], n, *x.shape[at + 1 :]), x.dtype) for n in sizes)


@parts.gradient
def _(g, _y, _x, *, sizes, dim):
    from rushlight.tensor.joining import cat

    g = g if isinstance(g, tuple) else (g,)  # the gradient of the only part
    at = dim % len(_x.shape)
    known = next(part for part in g if part is not None)
    whole = [
        known.new_zeros((*_x.shape[:at], n, *_x.shape[at + 1 :])) if part is None else part
        for part, n in zip(g, sizes, strict=True)
    ]
    return cat(whole, at)


@parts.samples
def _(make):
    yield Sample((make(5, 6),), {"sizes": (2, 1, 3), "dim": 1})
    yield Sample((make(4, 3),), {"sizes": (0, 4), "dim": 0})
    yield Sample((make(4, 1),), {"sizes": (1,), "dim": 1})


# Linear recurrences


@operation(kernel="linear_recurrence")
def linear_recurrence(xp, x, a, *, dim, reverse=False):
    """y[k] = x[k] + a[k] y[k - 1] along dim, the first y being the first x; with reverse from the end, by y[k + 1]."""
    y, factor = (xp.moveaxis(v.astype(np.promote_types(v.dtype, np.float32)), dim, -1) for v in (x, a))
    if reverse:
        y, factor = y[..., ::-1], factor[..., ::-1]
    # Each pass doubles how many elements before it an element has taken in.
    reach = 1
    while reach < y.shape[-1]:
        y = xp.concatenate((y[..., :reach], y[..., reach:] + factor[..., reach:] * y[..., :-reach]), -1)
        factor = xp.concatenate((factor[..., :reach], factor[..., reach:] * factor[..., :-reach]), -1)
        reach *= 2
    return xp.moveaxis(y[..., ::-1] if reverse else y, -1, dim).astype(x.dtype)


@linear_recurrence.shape
def _(x, a, *, dim, reverse=False):
    if not x.shape or tuple(x.shape) != tuple(a.shape):
        raise ShapeError(
            f"linear_recurrence: needs two tensors of one shape, got {tuple(x.shape)} and {tuple(a.shape)}"
        )
    normalize_dim("linear_recurrence", dim, len(x.shape))
    return Spec(tuple(x.shape), x.dtype)


@linear_recurrence.gradient
def _(g, y, _x, a, *, dim, reverse=False):
    of_x = linear_recurrence(g, shifted(a, dim, reverse=not reverse), dim=dim, reverse=not reverse)
    return of_x, lambda: of_x * shifted(y, dim, reverse=reverse)


@linear_recurrence.samples
def _(make):
    yield Sample((make(3, 5), make(3, 5)), {"dim": 1})
    yield Sample((make(4, 2), make(4, 2)), {"dim": -2, "reverse": True})
    yield Sample((make(1), make(1)), {"dim": 0})


def shifted(x, dim, reverse=False, first=0.0):
    """x moved on by one along dim, with `first` before it and without the last; with reverse the other way round."""
    at = dim % x.ndim
    front = (slice(None),) * at
    edge = x.new_full((*x.shape[:at], min(1, x.shape[at]), *x.shape[at + 1 :]), first)
    if reverse:
        return cat(slice_(x, index=(*front, slice(1, None))), edge, dim=at)
    return cat(edge, slice_(x, index=(*front, slice(0, -1))), dim=at)
