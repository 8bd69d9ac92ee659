"""Operations that order elements. NaN counts as larger than any number, equal elements keep their order."""

import math
from typing import Literal

import numpy as np

from rushlight.errors import DimensionError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.gathering import gather_gradient
from rushlight.ops.movement import normalize_dim


def _order(x, dim, descending):
    """The indices that sort x along `dim`, stably."""
    if x.dtype.kind == "V" or x.dtype.name == "bfloat16":
        x = x.astype(np.float32)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    # Sorted backwards and reversed, equal elements keep their order and NaN comes first.
    order = np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    return x.shape[dim] - 1 - order


def _length(name, x, dim):
    at = normalize_dim(name, dim, len(x.shape))
    return at, x.shape[at] if x.shape else 1


def _chosen(name, x, dim, keepdim):
    """Specs of values and indices of a reduction to one element along `dim`."""
    at, length = _length(name, x, dim)
    if x.shape and length == 0:
        raise DimensionError(f"{name}(): Expected reduction dim {at} to have non-zero size.")
    kept = (1,) if keepdim else ()
    shape = (*x.shape[:at], *kept, *x.shape[at + 1 :]) if x.shape else ()
    return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))


def _take(x, indices, dim, keepdim):
    values = np.take_along_axis(x, indices, dim)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def _place_back(g, indices, x, dim, keepdim):
    """The gradient of values that were taken from x at `indices` along `dim`."""
    if not x.shape:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return gather_gradient(g, indices, shape=tuple(x.shape), dim=dim)


@operation(kernel="sort")
def sort(xp, x, *, dim=-1, descending=False):
    """The elements in order along `dim`, and where each was."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    order = _order(x, dim, descending)
    return np.take_along_axis(x, order, dim), order


@sort.shape
def _(x, *, dim=-1, descending=False):
    _length("sort", x, dim)
    return Spec(tuple(x.shape), x.dtype), Spec(tuple(x.shape), np.dtype(np.int64))


@sort.gradient
def _(g, y, _x, *, dim=-1, descending=False):
    return _place_back(g[0], y[1], _x, dim, True)


@sort.samples
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4),), {"dim": 0, "descending": True})


@operation(kernel="topk")
def topk(xp, x, *, k, dim=-1, largest=True):
    """The k largest (or smallest) elements along `dim`, in order, and where they were."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    front = (slice(None),) * (dim % x.ndim) + (slice(k),)
    length = x.shape[dim]
    if 0 < k < length // 8 and x.dtype.kind == "f" and not np.isnan(x).any():
        # A partition finds the k in linear time; only they are sorted, by value and then by place.
        part = np.sort(np.argpartition(-x if largest else x, k - 1, axis=dim)[front], axis=dim)
        order = np.take_along_axis(part, _order(np.take_along_axis(x, part, dim), dim, largest), dim)
    else:
        order = np.ascontiguousarray(_order(x, dim, largest)[front])
    return np.take_along_axis(x, order, dim), order


@topk.shape
def _(x, *, k, dim=-1, largest=True):
    at, length = _length("topk", x, dim)
    if not 0 <= k <= length:
        raise ShapeError(f"topk(): selected index k out of range: k is {k}, dimension {at} has size {length}")
    shape = (*x.shape[:at], k, *x.shape[at + 1 :]) if x.shape else ()
    return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))


@topk.gradient
def _(g, y, _x, *, k, dim=-1, largest=True):
    return _place_back(g[0], y[1], _x, dim, True)


@topk.samples
def _(make):
    yield Sample((make(3, 5),), {"k": 2})
    yield Sample((make(20, 3),), {"k": 1, "dim": 0, "largest": False})


@operation(kernel="kthvalue")
def kthvalue(xp, x, *, k, dim=-1, keepdim=False):
    """The k-th smallest element along `dim`, counted from 1, and where it was."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    front = (slice(None),) * (dim % x.ndim) + (slice(k - 1, k),)
    return _take(x, np.ascontiguousarray(_order(x, dim, False)[front]), dim, keepdim)


@kthvalue.shape
def _(x, *, k, dim=-1, keepdim=False):
    at, length = _length("kthvalue", x, dim)
    if not 1 <= k <= length:
        raise ShapeError(f"kthvalue(): selected number k out of range for dimension {at}: k is {k}, its size {length}")
    return _chosen("kthvalue", x, dim, keepdim)


@kthvalue.gradient
def _(g, y, _x, *, k, dim=-1, keepdim=False):
    return _place_back(g[0], y[1], _x, dim, keepdim)


@kthvalue.samples
def _(make):
    yield Sample((make(3, 5),), {"k": 2})
    yield Sample((make(3, 5),), {"k": 3, "dim": 0, "keepdim": True})


@operation(kernel="median_along")
def median_along(xp, x, *, dim=-1, keepdim=False, ignore_nan=False):
    """The median along `dim` (the lower of two), and where it was; NaN where there is one, unless ignored."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    order = _order(x, dim, False)
    length = x.shape[dim]
    nans = np.isnan(x).sum(dim, keepdims=True) if x.dtype.kind == "f" else np.zeros((1,) * x.ndim, int)
    if ignore_nan:
        place = np.maximum(length - nans - 1, 0) // 2
    else:
        place = np.where(nans > 0, length - nans, (length - 1) // 2)
    shape = tuple(1 if d == dim % x.ndim else n for d, n in enumerate(x.shape))
    return _take(x, np.take_along_axis(order, np.broadcast_to(place, shape), dim), dim, keepdim)


@median_along.shape
def _(x, *, dim=-1, keepdim=False, ignore_nan=False):
    return _chosen("median", x, dim, keepdim)


@median_along.gradient
def _(g, y, _x, *, dim=-1, keepdim=False, ignore_nan=False):
    return _place_back(g[0], y[1], _x, dim, keepdim)


@median_along.samples
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 5),), {"dim": 0, "keepdim": True})


@operation()
def mode_along(xp, x, *, dim=-1, keepdim=False):
    """The most frequent element along `dim` (the smallest of several), and where it last was."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    rows = np.moveaxis(x, dim, -1)
    indices = np.empty(rows.shape[:-1], np.int64)
    for place in np.ndindex(rows.shape[:-1]):
        values, counts = np.unique(rows[place], return_counts=True)
        indices[place] = np.nonzero(rows[place] == values[counts.argmax()])[0][-1]
    return _take(x, np.expand_dims(indices, dim % x.ndim), dim, keepdim)


@mode_along.shape
def _(x, *, dim=-1, keepdim=False):
    return _chosen("mode", x, dim, keepdim)


@mode_along.gradient
def _(g, y, _x, *, dim=-1, keepdim=False):
    return _place_back(g[0], y[1], _x, dim, keepdim)


@mode_along.samples
def _(make):
    yield Sample((make(3, 4),))


@operation(differentiable=False)
def searchsorted(xp, sequence, values, *, right=False):
    """Where in the sorted rows of `sequence` each value would be put in: before its equals, or with `right` behind."""
    side: Literal["left", "right"] = "right" if right else "left"
    if sequence.ndim == 1:
        return np.asarray(np.searchsorted(sequence, values, side), np.int64)
    result = np.empty(values.shape, np.int64)
    for place in np.ndindex(sequence.shape[:-1]):
        result[place] = np.searchsorted(sequence[place], values[place], side)
    return result


@searchsorted.shape
def _(sequence, values, *, right=False):
    if len(sequence.shape) != 1 and tuple(sequence.shape[:-1]) != tuple(values.shape[:-1]):
        raise ShapeError(
            "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but got {tuple(sequence.shape)} and {tuple(values.shape)}"
        )
    return Spec(tuple(values.shape), np.dtype(np.int64))


@searchsorted.samples
def _(make):
    yield Sample((np.sort(make(5)), make(2, 3)))
    yield Sample((np.sort(make(2, 5)), make(2, 3)), {"right": True})


@operation(differentiable=False, traceable=False)
def bincount(xp, x, *, minlength=0):
    """How often each number from 0 on comes in x."""
    return xp.bincount(x, minlength=minlength)


@bincount.shape
def _(x, *, minlength=0):
    if len(x.shape) != 1 or x.dtype.kind not in "iu" or (isinstance(x, np.ndarray) and x.size and x.min() < 0):
        raise ShapeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise ShapeError("minlength should be >= 0")
    if isinstance(x, np.ndarray) and x.size and x.max() > 2**34:
        raise ShapeError(f"bincount: the largest number, {x.max()}, asks for more bins than memory has")
    return Spec((max(minlength, int(x.max()) + 1 if math.prod(x.shape) else 0),), np.dtype(np.int64))


@bincount.samples
def _(make):
    yield Sample((np.array([0, 3, 3, 1]),), {"minlength": 6})
