"""Reductions over dimensions, and running ones. `dim` is None (all), an int or a tuple of them."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from rushlight import dtypes
from rushlight.errors import DimensionError, DtypeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.elementwise import exp, where
from rushlight.ops.movement import expand, permute, reshape
from rushlight.ops.recurrent import linear_recurrence, shifted


def normalize_dims(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """`dim` (None, an int or several) as a tuple of dimensions counted from the front, all of them for None or ()."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    result = []
    for d in dims:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise DimensionError(
                f"{name}: Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], "
                f"but got {d})"
            )
        d %= max(ndim, 1)
        if d in result:
            raise DimensionError(f"{name}: dim {d} appears multiple times in the list of dims")
        result.append(d)
    return tuple(sorted(result)) if ndim else ()


def reduced_shape(name: str, shape: Any, dim: Any, keepdim: bool) -> tuple[int, ...]:
    """`shape` after a reduction over `dim`."""
    dims = normalize_dims(name, dim, len(shape))
    if keepdim:
        return tuple(1 if i in dims else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in dims)


def _is_floating(dtype: Any) -> bool:
    return dtypes.of_numpy(dtype).is_floating_point


def _sum_dtype(dtype: Any) -> Any:
    return dtype if _is_floating(dtype) else np.dtype(np.int64)


def _wide(xp: Any, x: Any) -> Any:
    """x, in float32 where it has a half precision."""
    return x.astype(np.float32) if _is_floating(x.dtype) and x.dtype.itemsize < 4 else x


def _count(shape: Any, dim: Any) -> int:
    return math.prod(shape[d] for d in normalize_dims("count", dim, len(shape)))


def _kept(value: Any, shape: Any, dim: Any) -> Any:
    """The result of a reduction of a tensor of `shape`, with the reduced dimensions as 1."""
    if value.ndim == 0:
        return value  # broadcasts as it is
    return reshape(value, shape=reduced_shape("reduction", shape, dim, True))


def _check_floating(name: str, dtype: Any) -> None:
    if not _is_floating(dtype):
        raise DtypeError(
            f"{name}(): input dtype must be floating point, got {dtypes.of_numpy(dtype).name}; convert it with .float()"
        )


def _check_not_empty(name: str, shape: Any, dim: Any) -> None:
    if _count(shape, dim) == 0 and 0 not in reduced_shape(name, shape, dim, False):
        raise DimensionError(
            f"{name}(): a tensor of shape {tuple(shape)} has no elements along dim={dim}, and {name} has no value for "
            "none; reduce over a dimension with elements"
        )


def _samples(make: Any) -> Any:
    yield Sample((make(3, 4, 5),))
    yield Sample((make(3, 4, 5),), {"dim": (0, 2), "keepdim": True})
    yield Sample((make(3, 40),), {"dim": 0})
    yield Sample((make(3, 40),), {"dim": -1})


# Sums and products


@operation(kernel="sum")
def sum_(xp, x, *, dim=None, keepdim=False):
    """Sum over `dim` (all by default). Booleans and integers are summed in int64."""
    dims = normalize_dims("sum", dim, x.ndim)
    wide = _wide(xp, x)
    return xp.asarray(xp.sum(wide, axis=dims, keepdims=keepdim, dtype=_sum_dtype(wide.dtype))).astype(
        _sum_dtype(x.dtype)
    )


@sum_.shape
def _(x, *, dim=None, keepdim=False):
    return Spec(reduced_shape("sum", x.shape, dim, keepdim), _sum_dtype(x.dtype))


@sum_.gradient
def _(g, _y, _x, *, dim=None, keepdim=False):
    return expand(_kept(g, _x.shape, dim), shape=_x.shape)


@sum_.samples
def _(make):
    yield from _samples(make)
    yield Sample((make(3, 0),), {"dim": 1})


@functools.lru_cache(1024)
def _stretched(shape, target):
    """The dimensions that broadcasting from `target` to `shape` added or stretched."""
    extra = len(shape) - len(target)
    return (*range(extra), *(extra + i for i, n in enumerate(target) if n == 1 and shape[extra + i] != 1))


def sum_to(g, shape):
    """g summed over the dimensions that were broadcast from `shape`."""
    dims = _stretched(tuple(g.shape), shape)
    if not dims:
        return g
    extra = g.ndim - len(shape)
    if len(dims) == extra:
        return sum_(g, dim=dims)
    summed = sum_(g, dim=dims, keepdim=True)
    return reshape(summed, shape=shape) if extra else summed


@operation(kernel="mean")
def mean(xp, x, *, dim=None, keepdim=False):
    """Mean over `dim` (all by default) of a floating tensor."""
    dims = normalize_dims("mean", dim, x.ndim)
    total = xp.sum(_wide(xp, x), axis=dims, keepdims=keepdim)
    return xp.asarray(total / total.dtype.type(_count(x.shape, dim))).astype(x.dtype)  # NaN of nothing, and no warning


@mean.shape
def _(x, *, dim=None, keepdim=False):
    _check_floating("mean", x.dtype)
    return Spec(reduced_shape("mean", x.shape, dim, keepdim), x.dtype)


@mean.gradient
def _(g, _y, _x, *, dim=None, keepdim=False):
    return expand(_kept(g, _x.shape, dim) * (1 / max(_count(_x.shape, dim), 1)), shape=_x.shape)


mean.samples(_samples)


@operation(kernel="prod")
def prod(xp, x, *, dim=None, keepdim=False):
    """Product over `dim` (all by default). Booleans and integers are multiplied in int64."""
    dims = normalize_dims("prod", dim, x.ndim)
    wide = _wide(xp, x)
    product = xp.prod(wide, axis=dims, keepdims=keepdim, dtype=_sum_dtype(wide.dtype))
    return xp.asarray(product).astype(_sum_dtype(x.dtype))


@prod.shape
def _(x, *, dim=None, keepdim=False):
    return Spec(reduced_shape("prod", x.shape, dim, keepdim), _sum_dtype(x.dtype))


@prod.gradient
def _(g, y, x, *, dim=None, keepdim=False):
    # The product of the others: of those before and those behind. Nothing is divided by, so that zeros are no matter.
    dims = normalize_dims("prod", dim, len(x.shape))
    if not dims:
        return _kept(g, x.shape, dim)
    order = (*(d for d in range(len(x.shape)) if d not in dims), *dims)
    turned = permute(x, dims=order)
    flat = reshape(turned, shape=(*turned.shape[: len(order) - len(dims)], _count(x.shape, dim)))
    before = shifted(cumprod(flat, dim=-1), -1, first=1.0)
    behind = shifted(cumprod(flat, dim=-1, reverse=True), -1, reverse=True, first=1.0)
    others = permute(
        reshape(before * behind, shape=turned.shape), dims=tuple(order.index(d) for d in range(len(order)))
    )
    return _kept(g, x.shape, dim) * others


@prod.samples
def _(make):
    yield from _samples(make)
    yield _with_zeros(make, dim=1)


def _with_zeros(make: Any, **options: Any) -> Sample:
    x = make(4, 5)
    x[1, 2] = x[2, 0] = x[2, 3] = x[3, :] = 0
    return Sample((x,), options)


# Extremes


@operation(kernel="amax")
def amax(xp, x, *, dim=None, keepdim=False):
    """Largest element over `dim` (all by default); NaN where there is one. Equal ones share the gradient."""
    return xp.asarray(xp.max(x, axis=normalize_dims("amax", dim, x.ndim), keepdims=keepdim))


@operation(kernel="amin")
def amin(xp, x, *, dim=None, keepdim=False):
    """Smallest element over `dim` (all by default); NaN where there is one. Equal ones share the gradient."""
    return xp.asarray(xp.min(x, axis=normalize_dims("amin", dim, x.ndim), keepdims=keepdim))


def _declare_extreme(extreme, name):
    @extreme.shape
    def _(x, *, dim=None, keepdim=False):
        shape = reduced_shape(name, x.shape, dim, keepdim)
        _check_not_empty(name, x.shape, dim)
        return Spec(shape, x.dtype)

    @extreme.gradient
    def _(g, y, x, *, dim=None, keepdim=False):
        chosen = x == _kept(y, x.shape, dim)
        count = sum_(chosen, dim=dim, keepdim=True)
        return where(chosen, _kept(g, x.shape, dim) / count, 0.0)

    extreme.samples(_samples)


_declare_extreme(amax, "amax")
_declare_extreme(amin, "amin")


def _one_axis(name: str, x: Any, dim: Any) -> Any:
    """The axis for NumPy: None for all."""
    return None if dim is None or x.ndim == 0 else normalize_dims(name, dim, x.ndim)[0]


@operation(kernel="max_with_indices")
def max_with_indices(xp, x, *, dim, keepdim=False):
    """Largest elements along `dim`, and the index of the first of each."""
    axis = _one_axis("max", x, dim)
    return (
        xp.asarray(xp.max(x, axis=axis, keepdims=keepdim)),
        xp.asarray(xp.argmax(x, axis=axis, keepdims=keepdim), dtype=np.int64),
    )


@operation(kernel="min_with_indices")
def min_with_indices(xp, x, *, dim, keepdim=False):
    """Smallest elements along `dim`, and the index of the first of each."""
    axis = _one_axis("min", x, dim)
    return (
        xp.asarray(xp.min(x, axis=axis, keepdims=keepdim)),
        xp.asarray(xp.argmin(x, axis=axis, keepdims=keepdim), dtype=np.int64),
    )


def _chosen(g: Any, indices: Any, shape: Any, dim: Any) -> Any:
    """g at `indices` along `dim`, zeros elsewhere."""
    from rushlight.tensor.tensor import wrap

    if not shape:
        return g
    (axis,) = normalize_dims("index", dim, len(shape))
    places = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return where(wrap(places) == _kept(indices, shape, dim), _kept(g, shape, dim), 0.0)


def _declare_extreme_with_indices(extreme, name):
    @extreme.shape
    def _(x, *, dim, keepdim=False):
        shape = reduced_shape(name, x.shape, dim, keepdim)
        _check_not_empty(name, x.shape, dim)
        return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))

    @extreme.gradient
    def _(g, y, _x, *, dim, keepdim=False):
        return _chosen(g[0], y[1], _x.shape, dim)

    @extreme.samples
    def _(make):
        yield Sample((make(3, 4, 5),), {"dim": 1})
        yield Sample((make(3, 40),), {"dim": 0, "keepdim": True})
        yield Sample((make(3, 40),), {"dim": -1})


_declare_extreme_with_indices(max_with_indices, "max")
_declare_extreme_with_indices(min_with_indices, "min")


@operation(kernel="argmax", differentiable=False)
def argmax(xp, x, *, dim=None, keepdim=False):
    """Index of the first largest element along `dim`, or among all in row-major order."""
    return xp.asarray(xp.argmax(x, axis=_one_axis("argmax", x, dim), keepdims=keepdim), dtype=np.int64)


@operation(kernel="argmin", differentiable=False)
def argmin(xp, x, *, dim=None, keepdim=False):
    """Index of the first smallest element along `dim`, or among all in row-major order."""
    return xp.asarray(xp.argmin(x, axis=_one_axis("argmin", x, dim), keepdims=keepdim), dtype=np.int64)


def _declare_place(place, name):
    @place.shape
    def _(x, *, dim=None, keepdim=False):
        shape = reduced_shape(name, x.shape, dim, keepdim)
        _check_not_empty(name, x.shape, dim)
        return Spec(shape, np.dtype(np.int64))

    @place.samples
    def _(make):
        yield Sample((make(3, 4, 5),))
        yield Sample((make(3, 4, 5),), {"dim": 1})
        yield Sample((make(3, 40),), {"dim": 0, "keepdim": True})


_declare_place(argmax, "argmax")
_declare_place(argmin, "argmin")


# Truth


@operation(kernel="any", differentiable=False)
def any_(xp, x, *, dim=None, keepdim=False):
    """Whether any element over `dim` (all by default) isn't zero."""
    return xp.asarray(xp.any(x, axis=normalize_dims("any", dim, x.ndim), keepdims=keepdim))


@operation(kernel="all", differentiable=False)
def all_(xp, x, *, dim=None, keepdim=False):
    """Whether no element over `dim` (all by default) is zero."""
    return xp.asarray(xp.all(x, axis=normalize_dims("all", dim, x.ndim), keepdims=keepdim))


def _declare_truth(truth, name):
    @truth.shape
    def _(x, *, dim=None, keepdim=False):
        return Spec(reduced_shape(name, x.shape, dim, keepdim), np.dtype(np.bool_))

    @truth.samples
    def _(make):
        for sample in _samples(make):
            yield Sample((sample.args[0] > 0.5,), sample.options)


_declare_truth(any_, "any")
_declare_truth(all_, "all")


# Moments and norms


@operation(kernel="var")
def var(xp, x, *, dim=None, correction=1, keepdim=False):
    """Variance over `dim` (all by default) of a floating tensor: squared deviations / (count - correction)."""
    dims = normalize_dims("var", dim, x.ndim)
    total = xp.sum(_wide(xp, x), axis=dims, keepdims=True)
    deviation = _wide(xp, x) - total / total.dtype.type(_count(x.shape, dim))
    squares = xp.sum(deviation * deviation, axis=dims, keepdims=keepdim)
    return xp.asarray(squares / squares.dtype.type(max(_count(x.shape, dim) - correction, 0))).astype(x.dtype)


@var.shape
def _(x, *, dim=None, correction=1, keepdim=False):
    _check_floating("var", x.dtype)
    return Spec(reduced_shape("var", x.shape, dim, keepdim), x.dtype)


@var.gradient
def _(g, _y, x, *, dim=None, correction=1, keepdim=False):
    return _variance_gradient(g, x, dim, correction)


def _variance_gradient(g: Any, x: Any, dim: Any, correction: float) -> Any:
    freedom = _count(x.shape, dim) - correction
    factor = 2 / freedom if freedom > 0 else math.nan
    return (_kept(g, x.shape, dim) * factor) * (x - mean(x, dim=dim, keepdim=True))


@var.samples
def _(make):
    yield from _samples(make)
    yield Sample((make(3, 40),), {"dim": 1, "correction": 0})


@operation(kernel="var_mean")
def var_mean(xp, x, *, dim=None, correction=1, keepdim=False):
    """Variance and mean over `dim` (all by default) of a floating tensor, from one pass."""
    return (
        var.meaning(xp, x, dim=dim, correction=correction, keepdim=keepdim),
        mean.meaning(xp, x, dim=dim, keepdim=keepdim),
    )


@var_mean.shape
def _(x, *, dim=None, correction=1, keepdim=False):
    _check_floating("var_mean", x.dtype)
    spec = Spec(reduced_shape("var_mean", x.shape, dim, keepdim), x.dtype)
    return spec, spec


@var_mean.gradient
def _(g, _y, x, *, dim=None, correction=1, keepdim=False):
    result = None
    if g[0] is not None:
        result = _variance_gradient(g[0], x, dim, correction)
    if g[1] is not None:
        of_mean = (_kept(g[1], x.shape, dim) * (1 / max(_count(x.shape, dim), 1))).expand(x.shape)
        result = of_mean if result is None else result + of_mean
    return result


var_mean.samples(_samples)


@operation(kernel="euclidean_norm")
def euclidean_norm(xp, x, *, dim=None, keepdim=False):
    """Square root of the sum of squares over `dim` (all by default) of a floating tensor."""
    wide = _wide(xp, x)
    dims = normalize_dims("norm", dim, x.ndim)
    return xp.asarray(xp.sqrt(xp.sum(wide * wide, axis=dims, keepdims=keepdim))).astype(x.dtype)


@euclidean_norm.shape
def _(x, *, dim=None, keepdim=False):
    _check_floating("norm", x.dtype)
    return Spec(reduced_shape("norm", x.shape, dim, keepdim), x.dtype)


@euclidean_norm.gradient
def _(g, y, x, *, dim=None, keepdim=False):
    norm = _kept(y, x.shape, dim)
    return x * where(norm == 0, 0.0, _kept(g, x.shape, dim) / norm)


euclidean_norm.samples(_samples)


@operation(kernel="logsumexp")
def logsumexp(xp, x, *, dim=None, keepdim=False):
    """log(sum(exp(x))) over `dim`, computed without leaving the range of the dtype."""
    dims = normalize_dims("logsumexp", dim, x.ndim)
    wide = _wide(xp, x)
    largest = xp.max(wide, axis=dims, keepdims=True, initial=-np.inf)
    largest = xp.where(xp.isfinite(largest), largest, 0)
    total = xp.log(xp.sum(xp.exp(wide - largest), axis=dims, keepdims=True)) + largest
    return xp.asarray(total).reshape(reduced_shape("logsumexp", x.shape, dim, keepdim)).astype(x.dtype)


@logsumexp.shape
def _(x, *, dim=None, keepdim=False):
    _check_floating("logsumexp", x.dtype)
    return Spec(reduced_shape("logsumexp", x.shape, dim, keepdim), x.dtype)


@logsumexp.gradient
def _(g, y, x, *, dim=None, keepdim=False):
    kept = _kept(y, x.shape, dim)
    return _kept(g, x.shape, dim) * exp(x - where((kept - kept) == 0, kept, 0.0))


logsumexp.samples(_samples)


# Running sums and products


def _scan_spec(name: str, x: Any, dim: int) -> Spec:
    normalize_dims(name, dim, len(x.shape))
    return Spec(tuple(x.shape), _sum_dtype(x.dtype))


def _scan(accumulate: Any, xp: Any, x: Any, dim: int, reverse: bool) -> Any:
    if x.ndim == 0:
        return xp.asarray(x).astype(_sum_dtype(x.dtype))
    wide = _wide(xp, x)
    turned = xp.flip(wide, axis=dim) if reverse else wide
    result = accumulate(turned, axis=dim, dtype=_sum_dtype(wide.dtype))
    return (xp.flip(result, axis=dim) if reverse else result).astype(_sum_dtype(x.dtype))


def _scan_samples(make: Any) -> Any:
    yield Sample((make(3, 4, 5),), {"dim": 1})
    yield Sample((make(3, 40),), {"dim": 0})
    yield Sample((make(7),), {"dim": -1, "reverse": True})


@operation(kernel="cumsum")
def cumsum(xp, x, *, dim, reverse=False):
    """Sums of the elements so far along `dim`; with `reverse`, from the end. Integers are summed in int64."""
    return _scan(xp.cumsum, xp, x, dim, reverse)


@cumsum.shape
def _(x, *, dim, reverse=False):
    return _scan_spec("cumsum", x, dim)


@cumsum.gradient
def _(g, _y, _x, *, dim, reverse=False):
    return cumsum(g, dim=dim, reverse=not reverse)


cumsum.samples(_scan_samples)


@operation(kernel="cumprod")
def cumprod(xp, x, *, dim, reverse=False):
    """Products of the elements so far along `dim`; with `reverse`, from the end. Integers multiply in int64."""
    return _scan(xp.cumprod, xp, x, dim, reverse)


@cumprod.shape
def _(x, *, dim, reverse=False):
    return _scan_spec("cumprod", x, dim)


@cumprod.gradient
def _(g, y, x, *, dim, reverse=False):
    if not x.shape:
        return g
    before = shifted(y, dim, reverse=reverse, first=1.0)
    return before * linear_recurrence(g, shifted(x, dim, reverse=not reverse), dim=dim, reverse=not reverse)


@cumprod.samples
def _(make):
    yield from _scan_samples(make)
    yield _with_zeros(make, dim=1)
