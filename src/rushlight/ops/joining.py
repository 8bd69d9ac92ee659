"""Tensors joined, repeated and reordered: operations that move elements, each into memory of its own."""

import math

from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation
from rushlight.ops.movement import normalize_dim, slice_


@operation(kernel="cat")
def cat(xp, *xs, dim=0):
    """The tensors joined along `dim`."""
    return xp.concatenate(xs, axis=dim)


@cat.shape
def _(*xs, dim=0):
    xs = tuple([x for x in xs if tuple(x.shape) != (0,)]) or xs[:1]
    if any(not x.shape for x in xs):
        raise ShapeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    first = tuple(xs[0].shape)
    at = normalize_dim("cat", dim, len(first))
    for position, x in enumerate(xs):
        if len(x.shape) != len(first):
            raise ShapeError(f"cat: Tensors must have same number of dimensions: got {len(first)} and {len(x.shape)}")
        for i, (a, b) in enumerate(zip(first, x.shape, strict=True)):
            if a != b and i != at:
                raise ShapeError(
                    f"cat: Sizes of tensors must match except in dimension {at}. Expected size {a} but got size {b} "
                    f"for tensor number {position} in the list."
                )
    total = sum(x.shape[at] for x in xs)
    return Spec((*first[:at], total, *first[at + 1 :]), xs[0].dtype)


@cat.gradient
def _(g, _y, *_xs, dim=0):
    front = (slice(None),) * (dim % g.ndim)
    parts, start = [], 0
    for x in _xs:
        stop = start + x.shape[dim]
        parts.append(slice_(g, index=(*front, slice(start, stop))))
        start = stop
    return tuple(parts)


@cat.samples
def _(make):
    yield Sample((make(2, 3), make(1, 3), make(0, 3)))
    yield Sample((make(2, 3), make(2, 1)), {"dim": -1})


@operation(kernel="stack")
def stack(xp, *xs, dim=0):
    """Tensors of one shape joined along a new dimension `dim`."""
    return xp.stack(xs, axis=dim)


@stack.shape
def _(*xs, dim=0):
    first = tuple(xs[0].shape)
    for position, x in enumerate(xs):
        if tuple(x.shape) != first:
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x.shape)} at "
                f"entry {position}"
            )
    at = normalize_dim("stack", dim, len(first) + 1)
    return Spec((*first[:at], len(xs), *first[at:]), xs[0].dtype)


@stack.gradient
def _(g, _y, *_xs, dim=0):
    front = (slice(None),) * (dim % g.ndim)
    return tuple([slice_(g, index=(*front, position)) for position in range(len(_xs))])


@stack.samples
def _(make):
    yield Sample((make(2, 3), make(2, 3)))
    yield Sample((make(2, 3), make(2, 3), make(2, 3)), {"dim": -1})
    yield Sample((make(), make()))


@operation(kernel="flip")
def flip(xp, x, *, dims):
    """The elements in reverse order along `dims`."""
    return xp.ascontiguousarray(xp.flip(x, dims)).reshape(x.shape)


@flip.shape
def _(x, *, dims):
    found = [normalize_dim("flip", d, len(x.shape)) for d in dims]
    if len(set(found)) != len(found):
        raise ShapeError(f"flip: a dim appears multiple times in the list of dims {tuple(dims)}")
    return Spec(tuple(x.shape), x.dtype)


@flip.gradient
def _(g, _y, _x, *, dims):
    return flip(g, dims=dims)


@flip.samples
def _(make):
    yield Sample((make(2, 3, 4),), {"dims": (0, -1)})


@operation(kernel="roll")
def roll(xp, x, *, shifts, dims):
    """The elements moved along by `shifts`, those that leave at one end entering at the other."""
    return xp.roll(x, shifts, dims)


@roll.shape
def _(x, *, shifts, dims):
    if dims is not None:
        if len(dims) != len(shifts):
            raise ShapeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
        for d in dims:
            normalize_dim("roll", d, len(x.shape))
    return Spec(tuple(x.shape), x.dtype)


@roll.gradient
def _(g, _y, _x, *, shifts, dims):
    return roll(g, shifts=tuple(-s for s in shifts), dims=dims)


@roll.samples
def _(make):
    yield Sample((make(3, 4),), {"shifts": (1, -2), "dims": (0, 1)})


@operation()
def repeat(xp, x, *, repeats):
    """x laid `repeats` times along each dimension; further ones in front."""
    return xp.tile(x, repeats)


@repeat.shape
def _(x, *, repeats):
    if len(repeats) < len(x.shape):
        raise ShapeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: "
            f"{len(repeats)} and {len(x.shape)}"
        )
    if any(n < 0 for n in repeats):
        raise ShapeError(f"repeat: negative number of repeats in {tuple(repeats)}")
    shape = (1,) * (len(repeats) - len(x.shape)) + tuple(x.shape)
    result = tuple(n * r for n, r in zip(shape, repeats, strict=True))
    if math.prod(max(n, 1) for n in result) * x.dtype.itemsize >= 2**63:  # NumPy's tile() doesn't look
        raise ShapeError(f"repeat: a result of shape {result} is more than memory can hold")
    return Spec(result, x.dtype)


@repeat.gradient
def _(g, _y, _x, *, repeats):
    extra = len(repeats) - len(_x.shape)
    shape = (1,) * extra + tuple(_x.shape)
    split = tuple(n for pair in zip(repeats, shape, strict=True) for n in pair)
    return g.reshape(split).sum(tuple(range(0, 2 * len(repeats), 2))).reshape(tuple(_x.shape))


@repeat.samples
def _(make):
    yield Sample((make(2, 3),), {"repeats": (2, 1, 3)})


@operation(kernel="tril")
def tril(xp, x, *, diagonal=0):
    """The matrix with zeros above its `diagonal`-th diagonal."""
    return xp.tril(x, diagonal)


@tril.gradient
def _(g, _y, _x, *, diagonal=0):
    return tril(g, diagonal=diagonal)


@operation(kernel="triu")
def triu(xp, x, *, diagonal=0):
    """The matrix with zeros below its `diagonal`-th diagonal."""
    return xp.triu(x, diagonal)


@triu.gradient
def _(g, _y, _x, *, diagonal=0):
    return triu(g, diagonal=diagonal)


def _triangle_shape(x, *, diagonal=0):
    if len(x.shape) < 2:
        raise ShapeError("tril and triu need an input tensor with at least 2 dimensions")
    return Spec(tuple(x.shape), x.dtype)


def _triangle_samples(make):
    yield Sample((make(3, 4),))
    yield Sample((make(2, 3, 4),), {"diagonal": -1})


for _triangle in (tril, triu):
    _triangle.shape(_triangle_shape)
    _triangle.samples(_triangle_samples)
