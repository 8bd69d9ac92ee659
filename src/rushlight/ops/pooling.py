"""Pooling over windows: maximum and average, regular and adaptive, the way back from a maximum, and the gradients.

Inputs are (*, *S); the last dimensions S are pooled, as many as the options have numbers.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from rushlight import dtypes
from rushlight.errors import DtypeError, ShapeError
from rushlight.ops import indexing
from rushlight.ops.declare import Sample, Spec, operation

# Windows


class _Axis(NamedTuple):
    """The windows along one dimension: row o of `positions` has the inputs of output o, those that are `valid`."""

    positions: Any
    valid: Any
    extent: Any  # what each window counts in an average


def output_length(size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit along a dimension."""
    length = (size + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil_mode else 0)) // stride + 1
    # With ceil_mode the last window must begin inside the input or its left padding.
    return length - 1 if ceil_mode and (length - 1) * stride >= size + padding else length


def _regular(spatial, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad=True):
    axes = []
    for size, k, s, p, d in zip(spatial, kernel_size, stride, padding, dilation, strict=True):
        start = np.arange(output_length(size, k, s, p, d, ceil_mode)) * s - p
        positions = start[:, None] + np.arange(k) * (d if k > 1 else 1)
        valid = (positions >= 0) & (positions < size)
        extent = np.minimum(start + k, size + p) - start if count_include_pad else valid.sum(1)
        axes.append(_Axis(np.clip(positions, 0, max(size - 1, 0)), valid, extent))
    return axes


def _adaptive(spatial, output_size):
    axes = []
    for size, outputs in zip(spatial, output_size, strict=True):
        o = np.arange(outputs)
        begin, end = o * size // max(outputs, 1), -(-(o + 1) * size // max(outputs, 1))
        positions = begin[:, None] + np.arange(np.max(end - begin, initial=0))
        axes.append(_Axis(np.minimum(positions, max(size - 1, 0)), positions < end[:, None], end - begin))
    return axes


def _taps(axes, spatial):
    """For each place in the window: the flat indices of the inputs there, for every output, and which are valid."""
    for taps in itertools.product(*(range(axis.positions.shape[1]) for axis in axes)):
        index: Any = 0
        valid: Any = True
        for dim, (axis, tap, size) in enumerate(zip(axes, taps, spatial, strict=True)):
            line = (-1, *(1,) * (len(axes) - 1 - dim))
            index = index * size + axis.positions[:, tap].reshape(line)
            valid = valid & axis.valid[:, tap].reshape(line)
        yield index, valid


def _flat(x, dims):
    return x.reshape(*x.shape[: x.ndim - dims], math.prod(x.shape[x.ndim - dims :]))


def _maximum(xp, x, dims, axes):
    """Maxima and where they are in the flattened last dimensions: the first of equal ones, the last NaN."""
    spatial = x.shape[x.ndim - dims :]
    flat = _flat(x, dims)
    outputs = tuple(len(axis.extent) for axis in axes)
    floating = dtypes.of_numpy(x.dtype).is_floating_point
    lowest = -np.inf if floating else np.iinfo(x.dtype).min if x.dtype.kind in "iu" else False
    best = xp.full((*flat.shape[:-1], *outputs), lowest, x.dtype)
    where = xp.full(best.shape, -1, np.int64)
    for index, valid in _taps(axes, spatial):
        value = flat[..., index]
        where = xp.where(valid & (where < 0), index, where)
        take = valid & ((value > best) | (value != value))
        best, where = xp.where(take, value, best), xp.where(take, index, where)
    return best, xp.maximum(where, 0)


def _add_at(xp, target, index, values):
    """`target` with `values` added at [..., index]; indices may occur several times."""
    if xp is np:
        place: Any = (..., index)
        np.add.at(target, place, values)
        return target
    return target.at[..., index].add(values)


def _scatter(xp, g, indices, shape, dims):
    """Zeros of `shape` with each item of g added where its index says, in the flattened last dimensions."""
    spatial = math.prod(shape[len(shape) - dims :])
    planes = math.prod(shape[: len(shape) - dims])
    outputs = math.prod(g.shape[g.ndim - dims :])
    first = np.arange(planes).reshape(-1, 1) * spatial
    places = (indices.reshape(planes, outputs) + first).reshape(-1)
    return _add_at(xp, xp.zeros(planes * spatial, g.dtype), places, g.reshape(-1)).reshape(shape)


def _working(dtype):
    """The dtype that sums are made in."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def _average(xp, x, dims, axes, divisor):
    flat = _flat(x, dims).astype(_working(x.dtype))
    total: Any = xp.zeros((*flat.shape[:-1], *(len(axis.extent) for axis in axes)), flat.dtype)
    for index, valid in _taps(axes, x.shape[x.ndim - dims :]):
        total = total + xp.where(valid, flat[..., index], 0)
    return (total / _divisor(axes, divisor)).astype(x.dtype)


def _divisor(axes, override):
    result: Any = override if override is not None else 1
    if override is None:
        for axis in axes:
            result = np.multiply.outer(result, axis.extent)
    return np.asarray(result, np.float32)


def _average_gradient(xp, g, size, axes, divisor):
    dims = len(size)
    share = g.astype(_working(g.dtype)) / _divisor(axes, divisor)
    lead = g.shape[: g.ndim - dims]
    total = xp.zeros((*lead, math.prod(size)), share.dtype)
    for index, valid in _taps(axes, size):
        total = _add_at(xp, total, np.broadcast_to(index, g.shape[g.ndim - dims :]), xp.where(valid, share, 0))
    return total.reshape(*lead, *size).astype(g.dtype)


# Shapes


def _pooled(name, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The shape after pooling; raises ShapeError for options out of range and for windows larger than the input."""
    dims = len(kernel_size)
    if len(x.shape) < dims:
        raise ShapeError(f"{name}: expected an input of at least {dims} dimensions, got {tuple(x.shape)}")
    spatial = tuple(x.shape[len(x.shape) - dims :])
    for option, values, least in (
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
    ):
        if len(values) != dims:
            raise ShapeError(f"{name}: {option} must have {dims} numbers as kernel_size has, got {tuple(values)}")
        if min(values) < least:
            what = "greater than zero" if least else "non-negative"
            raise ShapeError(f"{name}: {option} must be {what}, but got {tuple(values)}")
    for k, p, d in zip(kernel_size, padding, dilation, strict=True):
        if p > ((k - 1) * d + 1) // 2:
            raise ShapeError(
                f"{name}: pad should be at most half of effective kernel size, but got padding={tuple(padding)}, "
                f"kernel_size={tuple(kernel_size)} and dilation={tuple(dilation)}"
            )
    if 0 in spatial:
        raise ShapeError(f"{name}: expected an input without empty spatial dimensions, got {tuple(x.shape)}")
    out = tuple(
        output_length(*numbers, ceil_mode)
        for numbers in zip(spatial, kernel_size, stride, padding, dilation, strict=True)
    )
    if min(out) < 1:
        raise ShapeError(
            f"{name}: given input of spatial size {spatial}, calculated output size {out}: output size is too small. "
            f"The window, kernel_size={tuple(kernel_size)} with dilation={tuple(dilation)}, is larger than the input "
            f"with padding={tuple(padding)}"
        )
    return (*x.shape[: len(x.shape) - dims], *out)


def _adapted(name, x, output_size):
    dims = len(output_size)
    if len(x.shape) < dims:
        raise ShapeError(f"{name}: expected an input of at least {dims} dimensions, got {tuple(x.shape)}")
    if min(output_size) < 0:
        raise ShapeError(f"{name}: elements of output_size must be non-negative, but got {tuple(output_size)}")
    if 0 in x.shape[len(x.shape) - dims :]:
        raise ShapeError(f"{name}: expected an input without empty spatial dimensions, got {tuple(x.shape)}")
    return (*x.shape[: len(x.shape) - dims], *output_size)


def _need_floating(name, x):
    if not dtypes.of_numpy(x.dtype).is_floating_point:
        raise DtypeError(f"{name}: expected a floating tensor, got {x.dtype}; call .float() first")


def _same_as_pooled(name, g, shape):
    if tuple(g.shape) != shape:
        raise ShapeError(f"{name}: expected a gradient of shape {shape}, got {tuple(g.shape)}")


def _gather(x, indices, dims):
    """The items of x at the indices into its flattened last dimensions: the inverse of `_scatter`."""
    from rushlight.tensor.tensor import wrap

    lead = tuple(indices.shape[: len(indices.shape) - dims])
    planes, spatial = math.prod(lead), math.prod(x.shape[len(lead) :])
    first = wrap((np.arange(planes) * spatial).reshape(*lead, *(1,) * dims))
    return indexing.index(x.reshape((planes * spatial,)), indices + first, dims=(0,))


def _window_samples(make, **more):
    for shape, window in (
        ((2, 3, 9), ((3,), (2,), (1,), (1,))),
        ((2, 7, 8), ((2, 3), (2, 1), (1, 0), (1, 2))),
        ((1, 2, 4, 5, 6), ((2, 2, 3), (2, 2, 2), (0, 1, 1), (1, 1, 1))),
        ((0, 4, 4), ((2, 2), (2, 2), (0, 0), (1, 1))),
    ):
        options = dict(zip(("kernel_size", "stride", "padding", "dilation"), window, strict=True))
        for ceil_mode in (False, True):
            yield make(*shape), {**options, "ceil_mode": ceil_mode, **more}


# Maximum


@operation(kernel="max_pool")
def max_pool(xp, x, *, kernel_size, stride, padding, dilation, ceil_mode):
    """Maximum over windows of the last dimensions; padding never is the maximum."""
    dims = len(kernel_size)
    axes = _regular(x.shape[x.ndim - dims :], kernel_size, stride, padding, dilation, ceil_mode)
    return _maximum(xp, x, dims, axes)[0]


@max_pool.shape
def _(x, **options):
    return Spec(_pooled("max_pool", x, **options), x.dtype)


@max_pool.gradient
def _(g, _y, x, **options):
    return max_pool_gradient(g, x, **options)


@max_pool.samples
def _(make):
    for x, options in _window_samples(make):
        yield Sample((x,), options)


@operation(kernel="max_pool_with_indices")
def max_pool_with_indices(xp, x, *, kernel_size, stride, padding, dilation, ceil_mode):
    """Maximum over windows, and where it is in the flattened last dimensions: of equal ones the first."""
    dims = len(kernel_size)
    axes = _regular(x.shape[x.ndim - dims :], kernel_size, stride, padding, dilation, ceil_mode)
    return _maximum(xp, x, dims, axes)


@max_pool_with_indices.shape
def _(x, **options):
    shape = _pooled("max_pool_with_indices", x, **options)
    return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))


@max_pool_with_indices.gradient
def _(g, _y, x, **options):
    return max_pool_gradient(g[0], x, **options)


@max_pool_with_indices.samples
def _(make):
    for x, options in _window_samples(make):
        yield Sample((x,), options)


@operation(kernel="max_pool_gradient")
def max_pool_gradient(xp, g, x, *, kernel_size, stride, padding, dilation, ceil_mode):
    """Each item of g added where its window of x has its maximum."""
    dims = len(kernel_size)
    axes = _regular(x.shape[x.ndim - dims :], kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter(xp, g, _maximum(xp, x, dims, axes)[1], x.shape, dims)


@max_pool_gradient.shape
def _(g, x, **options):
    _same_as_pooled("max_pool_gradient", g, _pooled("max_pool_gradient", x, **options))
    return Spec(tuple(x.shape), g.dtype)


@max_pool_gradient.gradient
def _(g, _y, _g, x, **options):
    return _gather(g, max_pool_with_indices(x, **options)[1], len(options["kernel_size"])), None


@max_pool_gradient.samples
def _(make):
    for x, options in _window_samples(make):
        yield Sample((make(*_pooled("", x, **options)), x), options)


@operation(kernel="adaptive_max_pool")
def adaptive_max_pool(xp, x, *, output_size):
    """Maximum over as many windows as `output_size` says, which cover the last dimensions evenly."""
    dims = len(output_size)
    return _maximum(xp, x, dims, _adaptive(x.shape[x.ndim - dims :], output_size))[0]


@adaptive_max_pool.shape
def _(x, *, output_size):
    return Spec(_adapted("adaptive_max_pool", x, output_size), x.dtype)


@adaptive_max_pool.gradient
def _(g, _y, x, *, output_size):
    return adaptive_max_pool_gradient(g, x, output_size=output_size)


def _adaptive_samples(make):
    for shape, output_size in (((2, 3, 7), (3,)), ((2, 5, 6), (2, 6)), ((1, 2, 4, 5, 3), (1, 2, 5)), ((0, 4), (2,))):
        yield make(*shape), {"output_size": output_size}


@adaptive_max_pool.samples
def _(make):
    for x, options in _adaptive_samples(make):
        yield Sample((x,), options)


@operation(kernel="adaptive_max_pool_with_indices")
def adaptive_max_pool_with_indices(xp, x, *, output_size):
    """Adaptive maximum, and where it is in the flattened last dimensions."""
    dims = len(output_size)
    return _maximum(xp, x, dims, _adaptive(x.shape[x.ndim - dims :], output_size))


@adaptive_max_pool_with_indices.shape
def _(x, *, output_size):
    shape = _adapted("adaptive_max_pool_with_indices", x, output_size)
    return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))


@adaptive_max_pool_with_indices.gradient
def _(g, _y, x, *, output_size):
    return adaptive_max_pool_gradient(g[0], x, output_size=output_size)


@adaptive_max_pool_with_indices.samples
def _(make):
    for x, options in _adaptive_samples(make):
        yield Sample((x,), options)


@operation(kernel="adaptive_max_pool_gradient")
def adaptive_max_pool_gradient(xp, g, x, *, output_size):
    """Each item of g added where its adaptive window of x has its maximum."""
    dims = len(output_size)
    indices = _maximum(xp, x, dims, _adaptive(x.shape[x.ndim - dims :], output_size))[1]
    return _scatter(xp, g, indices, x.shape, dims)


@adaptive_max_pool_gradient.shape
def _(g, x, *, output_size):
    _same_as_pooled("adaptive_max_pool_gradient", g, _adapted("adaptive_max_pool_gradient", x, output_size))
    return Spec(tuple(x.shape), g.dtype)


@adaptive_max_pool_gradient.gradient
def _(g, _y, _g, x, *, output_size):
    return _gather(g, adaptive_max_pool_with_indices(x, output_size=output_size)[1], len(output_size)), None


@adaptive_max_pool_gradient.samples
def _(make):
    for x, options in _adaptive_samples(make):
        yield Sample((make(*_adapted("", x, **options)), x), options)


# The way back from a maximum


@operation(kernel="max_unpool")
def max_unpool(xp, x, indices, *, output_size):
    """Zeros with each item of x where its index says, in the flattened last dimensions of size `output_size`."""
    dims, bound = len(output_size), math.prod(output_size)
    lead = x.shape[: x.ndim - dims]
    places = indices.reshape(math.prod(lead), math.prod(x.shape[x.ndim - dims :]))
    values = x.reshape(places.shape)
    rows = np.arange(math.prod(lead))[:, None]
    result = xp.zeros((math.prod(lead), bound), x.dtype)
    if xp is not np:
        return result.at[rows, places].set(values).reshape(*lead, *output_size)
    if indices.size and (indices.min() < 0 or indices.max() >= bound):
        wrong = int(indices.max() if indices.max() >= bound else indices.min())
        raise ShapeError(
            f"max_unpool: found an invalid max index: {wrong} (output size of {tuple(output_size)} has {bound} items)"
        )
    result[rows, places] = values
    return result.reshape(*lead, *output_size)


@max_unpool.shape
def _(x, indices, *, output_size):
    if indices.dtype != np.int64:
        raise DtypeError(f"max_unpool: elements in indices should be type int64 but got: {indices.dtype}")
    if tuple(indices.shape) != tuple(x.shape):
        raise ShapeError(
            f"max_unpool: expected shape of indices to be the same as that of the input {tuple(x.shape)}, but got "
            f"{tuple(indices.shape)}"
        )
    if len(x.shape) < len(output_size) or min(output_size) < 1:
        raise ShapeError(f"max_unpool: output_size={tuple(output_size)} doesn't fit an input of {tuple(x.shape)}")
    return Spec((*x.shape[: len(x.shape) - len(output_size)], *output_size), x.dtype)


@max_unpool.gradient
def _(g, _y, _x, indices, *, output_size):
    return _gather(g, indices, len(output_size)), None


@max_unpool.samples
def _(make):
    yield Sample((make(2, 3), np.array([[4, 0, 2], [5, 1, 3]])), {"output_size": (6,)})
    yield Sample((make(2, 1, 2, 2), np.array([[[[0, 3], [9, 10]]], [[[1, 2], [11, 8]]]])), {"output_size": (3, 4)})


# Average


@operation(kernel="avg_pool")
def avg_pool(xp, x, *, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    """Average over windows of the last dimensions."""
    dims = len(kernel_size)
    dilation = (1,) * dims
    spatial = x.shape[x.ndim - dims :]
    axes = _regular(spatial, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _average(xp, x, dims, axes, divisor_override)


@avg_pool.shape
def _(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    _need_floating("avg_pool", x)
    if divisor_override == 0:
        raise ShapeError("avg_pool: divisor must be not zero")
    return Spec(_pooled("avg_pool", x, kernel_size, stride, padding, (1,) * len(kernel_size), ceil_mode), x.dtype)


@avg_pool.gradient
def _(g, _y, _x, **options):
    return avg_pool_gradient(g, size=tuple(_x.shape[len(_x.shape) - len(options["kernel_size"]) :]), **options)


def _average_samples(make):
    for x, options in _window_samples(make):
        del options["dilation"]
        yield x, {**options, "count_include_pad": True, "divisor_override": None}
        yield x, {**options, "count_include_pad": False, "divisor_override": None}
    yield x, {**options, "count_include_pad": True, "divisor_override": 3}


@avg_pool.samples
def _(make):
    for x, options in _average_samples(make):
        yield Sample((x,), options)


@operation(kernel="avg_pool_gradient")
def avg_pool_gradient(xp, g, *, size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    """Each item of g shared out over its window in zeros of spatial size `size`."""
    axes = _regular(size, kernel_size, stride, padding, (1,) * len(size), ceil_mode, count_include_pad)
    return _average_gradient(xp, g, size, axes, divisor_override)


@avg_pool_gradient.shape
def _(g, *, size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    _need_floating("avg_pool_gradient", g)
    image = Spec((*g.shape[: len(g.shape) - len(size)], *size), g.dtype)
    pooled = _pooled("avg_pool_gradient", image, kernel_size, stride, padding, (1,) * len(size), ceil_mode)
    _same_as_pooled("avg_pool_gradient", g, pooled)
    return image


@avg_pool_gradient.gradient
def _(g, _y, _g, *, size, **options):
    return avg_pool(g, **options)


@avg_pool_gradient.samples
def _(make):
    for x, options in _average_samples(make):
        window = {name: options[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")}
        dims = len(options["kernel_size"])
        g = make(*_pooled("", x, dilation=(1,) * dims, **window))
        yield Sample((g,), {"size": x.shape[x.ndim - dims :], **options})


@operation(kernel="adaptive_avg_pool")
def adaptive_avg_pool(xp, x, *, output_size):
    """Average over as many windows as `output_size` says, which cover the last dimensions evenly."""
    dims = len(output_size)
    return _average(xp, x, dims, _adaptive(x.shape[x.ndim - dims :], output_size), None)


@adaptive_avg_pool.shape
def _(x, *, output_size):
    _need_floating("adaptive_avg_pool", x)
    return Spec(_adapted("adaptive_avg_pool", x, output_size), x.dtype)


@adaptive_avg_pool.gradient
def _(g, _y, _x, *, output_size):
    return adaptive_avg_pool_gradient(g, size=tuple(_x.shape[len(_x.shape) - len(output_size) :]))


@adaptive_avg_pool.samples
def _(make):
    for x, options in _adaptive_samples(make):
        yield Sample((x,), options)


@operation(kernel="adaptive_avg_pool_gradient")
def adaptive_avg_pool_gradient(xp, g, *, size):
    """Each item of g shared out over its adaptive window in zeros of spatial size `size`."""
    return _average_gradient(xp, g, size, _adaptive(size, g.shape[g.ndim - len(size) :]), None)


@adaptive_avg_pool_gradient.shape
def _(g, *, size):
    _need_floating("adaptive_avg_pool_gradient", g)
    if len(g.shape) < len(size) or min(size) < 1:
        raise ShapeError(f"adaptive_avg_pool_gradient: size {tuple(size)} doesn't fit a gradient of {tuple(g.shape)}")
    return Spec((*g.shape[: len(g.shape) - len(size)], *size), g.dtype)


@adaptive_avg_pool_gradient.gradient
def _(g, _y, _g, *, size):
    return adaptive_avg_pool(g, output_size=tuple(_g.shape[len(_g.shape) - len(size) :]))


@adaptive_avg_pool_gradient.samples
def _(make):
    yield Sample((make(2, 3, 3),), {"size": (7,)})
    yield Sample((make(2, 2, 6),), {"size": (5, 6)})
    yield Sample((make(0, 1, 2, 1),), {"size": (2, 5, 3)})
