"""Padding: constants around a tensor, or its own elements mirrored, repeated or wrapped around."""

from typing import Any

import numpy as np

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation

MODES = ("constant", "reflect", "replicate", "circular")


def _padded(name: str, x: Any, padding: Any, mode: str) -> tuple[int, ...]:
    """The shape after padding; raises ShapeError for paddings that the mode can't fill."""
    if mode not in MODES:
        raise ShapeError(f"{name}: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if len(padding) != len(x.shape):
        raise ShapeError(f"{name}: {len(padding)} pairs of paddings for an input of shape {tuple(x.shape)}")
    for dim, (size, (before, after)) in enumerate(zip(x.shape, padding, strict=True)):
        if size + before + after < 0 or size + min(before, 0) + min(after, 0) < 0:
            raise ShapeError(
                f"{name}: The input size {size} of dimension {dim}, plus negative padding {before} and {after}, "
                "resulted in a negative output size"
            )
        limit = size - 1 if mode == "reflect" else size
        if mode in ("reflect", "circular") and max(before, after) > max(limit, 0):
            rule = "less than" if mode == "reflect" else "at most"
            raise ShapeError(
                f"{name}: Padding size should be {rule} the corresponding input dimension for mode {mode!r}, but got: "
                f"padding ({before}, {after}) at dimension {dim} of input {list(x.shape)}"
            )
        if size == 0 and mode != "constant" and before + after > 0:
            raise ShapeError(f"{name}: mode {mode!r} has nothing to fill dimension {dim} of {tuple(x.shape)} with")
    return tuple(n + before + after for n, (before, after) in zip(x.shape, padding, strict=True))


def _sources(size: int, before: int, after: int, mode: str) -> Any:
    """For each position along a padded dimension, where in the input its element comes from."""
    positions = np.arange(-before, size + after)
    if mode == "reflect":
        positions = np.abs(positions)
        return np.where(positions >= size, 2 * (size - 1) - positions, positions)
    if mode == "circular":
        low, high = max(-before, 0), size - max(-after, 0)  # what cropping leaves
        return low + (positions - low) % max(high - low, 1)
    return np.clip(positions, 0, max(size - 1, 0))


def _overlap(size: int, before: int, after: int) -> tuple[slice, slice]:
    """Where the input lies in the padded result, and which part of the input that is."""
    length = size + min(before, 0) + min(after, 0)
    start = max(before, 0)
    return slice(start, start + length), slice(max(-before, 0), max(-before, 0) + length)


@operation(kernel="pad")
def pad(xp, x, *, padding, mode, value):
    """x with `padding`, a pair (before, after) for each dimension; negative numbers crop.

    mode: "constant" (`value` all around), "reflect" (mirrored about the edge, which isn't repeated), "replicate" (the
    edge repeated) or "circular" (from the other end).
    """
    if mode != "constant":
        for axis, (before, after) in enumerate(padding):
            if before or after:
                x = xp.take(x, _sources(x.shape[axis], before, after, mode), axis=axis)
        return np.array(x) if xp is np and not any(b or a for b, a in padding) else x
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, padding, strict=True))
    places = [_overlap(n, *sides) for n, sides in zip(x.shape, padding, strict=True)]
    inside, outside = tuple(i for i, _ in places), tuple(o for _, o in places)
    result = xp.full(shape, value, x.dtype)
    if xp is not np:
        return result.at[inside].set(x[outside])
    result[inside] = x[outside]
    return result


@pad.shape
def _(x, *, padding, mode, value):
    return Spec(_padded("pad", x, padding, mode), x.dtype)


@pad.gradient
def _(g, _y, _x, *, padding, mode, value):
    if mode == "constant":
        return pad(g, padding=tuple((-before, -after) for before, after in padding), mode=mode, value=0)
    return pad_gradient(g, shape=tuple(_x.shape), padding=padding, mode=mode)


def _pad_samples(make):
    for mode in MODES:
        yield make(3, 5), {"padding": ((0, 0), (2, 1)), "mode": mode}
        yield make(2, 4, 3), {"padding": ((0, 0), (1, -2), (-1, 2)), "mode": mode}
        yield make(1, 2, 3, 2, 4), {"padding": ((0, 0), (0, 0), (2, 2), (1, 1), (3, 0)), "mode": mode}


@pad.samples
def _(make):
    for x, options in _pad_samples(make):
        yield Sample((x,), {**options, "value": 1.5})


@operation(kernel="pad_gradient")
def pad_gradient(xp, g, *, shape, padding, mode):
    """Zeros of `shape` to which each element of g is added where `pad` took it from."""
    for axis, (before, after) in enumerate(padding):
        if not before and not after:
            continue
        sources = _sources(shape[axis], before, after, mode)
        target = xp.moveaxis(xp.zeros((*g.shape[:axis], shape[axis], *g.shape[axis + 1 :]), g.dtype), axis, 0)
        values = xp.moveaxis(g, axis, 0)
        if xp is np:
            for place, source in enumerate(sources):
                target[source] += values[place]
        else:
            target = target.at[sources].add(values)
        g = xp.moveaxis(target, 0, axis)
    return np.array(g) if xp is np else g


@pad_gradient.shape
def _(g, *, shape, padding, mode):
    expected = _padded("pad_gradient", Spec(tuple(shape), g.dtype), padding, mode)
    if tuple(g.shape) != expected:
        raise ShapeError(f"pad_gradient: expected a gradient of shape {expected}, got {tuple(g.shape)}")
    return Spec(tuple(shape), g.dtype)


@pad_gradient.gradient
def _(g, _y, _g, *, shape, padding, mode):
    return pad(g, padding=padding, mode=mode, value=0)


@pad_gradient.samples
def _(make):
    for x, options in _pad_samples(make):
        if options["mode"] != "constant":
            yield Sample((make(*_padded("", x, **options)),), {**options, "shape": x.shape})
