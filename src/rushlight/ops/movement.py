"""Views and copies: operations that move elements and compute nothing."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from rushlight import core, dtypes
from rushlight.errors import DimensionError, ShapeError
from rushlight.ops.declare import Sample, Spec, operation, view


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """`dim` counted from the front; raises DimensionError where there is no such dimension."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise DimensionError(
            f"{name}: Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim % limit


def resolve_shape(name: str, size: int, shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` with its -1 replaced by what is left of `size` elements."""
    if math.prod(shape) == size and min(shape, default=0) >= 0:
        return tuple(shape)
    unknown = shape.count(-1)
    if unknown > 1:
        raise ShapeError(f"{name}: only one dimension can be inferred, shape {tuple(shape)} has {unknown} of -1")
    if min(shape, default=0) < -1:
        raise ShapeError(f"{name}: invalid shape {tuple(shape)}: sizes can't be negative")
    known = -math.prod(shape)
    if not unknown or known == 0 or size % known:
        raise ShapeError(f"{name}: shape '{list(shape)}' is invalid for input of size {size}")
    at = shape.index(-1)
    return (*shape[:at], size // known, *shape[at + 1 :])


@view()
def identity(xp, x):
    """x itself, as another tensor."""
    return x[...]


@identity.shape
def _(x):
    return Spec(tuple(x.shape), x.dtype)


@identity.gradient
def _(g, _y, _x):
    return g


@identity.samples
def _(make):
    yield Sample((make(2, 3),))


@view()
def reshape(xp, x, *, shape):
    """The elements in another shape: a view where the strides allow it, else a copy. One size may be -1."""
    return x.reshape(shape)


@reshape.shape
def _(x, *, shape):
    return Spec(resolve_shape("reshape", math.prod(x.shape), shape), x.dtype)


@reshape.gradient
def _(g, _y, _x, *, shape):
    return g.reshape(_x.shape)


@reshape.samples
def _(make):
    yield Sample((make(2, 3, 4),), {"shape": (6, -1)})
    yield Sample((make(0, 3),), {"shape": (3, 0)})


@view()
def permute(xp, x, *, dims):
    """The dimensions in another order."""
    return x.transpose(dims)


@permute.shape
def _(x, *, dims):
    if len(dims) != len(x.shape):
        raise ShapeError(f"permute: {len(dims)} dims {tuple(dims)} for a tensor of {len(x.shape)} dimensions")
    order = [normalize_dim("permute", d, len(x.shape)) for d in dims]
    if len(set(order)) != len(order):
        raise ShapeError(f"permute: repeated dim in {tuple(dims)}")
    return Spec(tuple(x.shape[d] for d in order), x.dtype)


@permute.gradient
def _(g, _y, _x, *, dims):
    order = [d % len(dims) for d in dims]
    return permute(g, dims=tuple(order.index(i) for i in range(len(order))))


@permute.samples
def _(make):
    yield Sample((make(2, 3, 4),), {"dims": (2, 0, -2)})


@view()
def expand(xp, x, *, shape):
    """The tensor repeated along its dimensions of size 1, without copying; -1 keeps a size."""
    shape, strides = _repeated(x.shape, x.strides if xp is np else (0,) * len(x.shape), tuple(shape))
    if strides is None:
        return x[(None,) * (len(shape) - len(x.shape)) + (Ellipsis,)]  # so that it can be written to
    if type(x) is np.ndarray and x.flags.c_contiguous and x.size and x.dtype.kind != "V":
        view = np.ndarray(shape, x.dtype, x, 0, strides)  # what broadcast_to gives, in a sixth of its time
        view.setflags(write=False)
        return view
    return xp.broadcast_to(x, shape)


@functools.lru_cache(1024)
def _repeated(shape, strides, target):
    """The expanded shape, and its strides; None for these where nothing is repeated."""
    result = expanded_shape(shape, target)
    extra = len(result) - len(shape)
    if result[extra:] == tuple(shape) and all(n == 1 for n in result[:extra]):
        return result, None
    kept = [stride if n == have else 0 for n, have, stride in zip(result[extra:], shape, strides, strict=True)]
    return result, (0,) * extra + tuple(kept)


def expanded_shape(shape, target):
    extra = len(target) - len(shape)
    if extra < 0:
        raise ShapeError(f"expand: the number of sizes {tuple(target)} must be at least that of the tensor's {shape}")
    result = []
    for i, n in enumerate(target):
        have = shape[i - extra] if i >= extra else 1
        if n == -1:
            if i < extra:
                raise ShapeError(f"expand: -1 isn't allowed for the new leading dimension {i} of {tuple(target)}")
            n = have
        if n < 0 or (have != n and have != 1):
            raise ShapeError(
                f"expand: the expanded size ({n}) must match the existing size ({have}) at non-singleton dimension "
                f"{i}; target sizes {tuple(target)}, tensor sizes {tuple(shape)}"
            )
        result.append(n)
    return tuple(result)


@expand.shape
def _(x, *, shape):
    return Spec(expanded_shape(tuple(x.shape), shape), x.dtype)


@expand.gradient
def _(g, _y, _x, *, shape):
    extra = g.ndim - len(_x.shape)
    dims = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(_x.shape) if n == 1 and g.shape[extra + i] != 1)
    return (g.sum(dims, keepdim=True) if dims else g).reshape(_x.shape)


@expand.samples
def _(make):
    yield Sample((make(3, 1),), {"shape": (2, 3, 4)})


@view()
def slice_(xp, x, *, index):
    """x[index] with an index of ints, slices of positive step, None and Ellipsis."""
    if Ellipsis not in index:
        index = (*index, Ellipsis)  # so that NumPy gives a view also where only one element is left
    return x[index]


@slice_.shape
def _(x, *, index):
    probe = np.broadcast_to(np.empty((), x.dtype), x.shape)
    try:
        return Spec(probe[index].shape, x.dtype)
    except IndexError as error:
        raise DimensionError(f"indexing a tensor of shape {tuple(x.shape)}: {error}") from None


@slice_.gradient
def _(g, _y, _x, *, index):
    return slice_gradient(g, shape=_x.shape, index=index)


@slice_.samples
def _(make):
    yield Sample((make(4, 5, 6),), {"index": (slice(1, None, 2), None, 3, Ellipsis)})


@operation()
def slice_gradient(xp, g, *, shape, index):
    """Zeros of `shape` with g at [index]."""
    result = np.zeros(shape, g.dtype)
    result[index] = g
    return result


@slice_gradient.shape
def _(g, *, shape, index):
    return Spec(tuple(shape), g.dtype)


@slice_gradient.gradient
def _(g, _y, _x, *, shape, index):
    return slice_(g, index=index)


@slice_gradient.samples
def _(make):
    yield Sample((make(2, 1, 6),), {"shape": (4, 5, 6), "index": (slice(1, None, 2), None, 3, Ellipsis)})


@operation()
def view_scatter(xp, x, value, *, views, strides=None):
    """x with `value` in the place of the view that the chain `views` of (operation, options) takes of it.

    strides: those of the memory that the chain was made for. A reshape gives a view only where dimensions lie in the
    same order.
    """
    order = sorted(range(x.ndim), key=lambda dim: -abs(strides[dim])) if strides else list(range(x.ndim))
    result = np.empty([x.shape[dim] for dim in order], x.dtype).transpose([order.index(d) for d in range(x.ndim)])
    result[...] = x
    replay_arrays(result, views)[...] = value
    return result


def replay_arrays(array, views):
    for operation_, options in views:
        array = operation_.meaning(np, array, **options)
    return array


@view_scatter.shape
def _(x, value, *, views, strides=None):
    return Spec(tuple(x.shape), x.dtype)


@view_scatter.gradient
def _(g, _y, _x, _value, *, views, strides=None):
    def of_value():
        current = g
        for operation_, options in views:
            current = operation_(current, **options)
        return current

    return lambda: view_scatter(g, 0.0, views=views, strides=strides), of_value


@view_scatter.samples
def _(make):
    yield Sample((make(4, 5), make(5)), {"views": ((slice_, {"index": (2,)}),)})
    yield Sample(
        (make(4, 5), make(2, 4)), {"views": ((permute, {"dims": (1, 0)}), (slice_, {"index": (slice(1, 3),)}))}
    )


# Copies


@operation()
def cast(xp, x, *, dtype):
    """x in another dtype."""
    with np.errstate(all="ignore"):
        return x.astype(dtype.numpy)


if core.native is not None:
    _native = core.native  # it takes the names of dtypes
    cast.kernel = lambda x, *, dtype: _native.cast(x, dtype.name)


@cast.shape
def _(x, *, dtype):
    return Spec(tuple(x.shape), dtype.numpy)


@cast.gradient
def _(g, _y, _x, *, dtype):
    return g.to(dtypes.of_numpy(_x.dtype))


@cast.samples
def _(make):
    yield Sample((make(2, 3),), {"dtype": dtypes.float32})


@operation(kernel="clone")
def clone(xp, x, *, row_major=False):
    """A copy, in the order of x's strides or, with row_major, in the order of its dimensions."""
    return xp.array(x, order="C" if row_major else "K")


@clone.shape
def _(x, *, row_major=False):
    return Spec(tuple(x.shape), x.dtype)


@clone.gradient
def _(g, _y, _x, *, row_major=False):
    return g


@clone.samples
def _(make):
    yield Sample((make(2, 3),))
    yield Sample((make(2, 3),), {"row_major": True})


@operation()
def assign(xp, x, value):
    """`value` (a tensor or a number) in the shape and dtype of x; in place, x.copy_(value)."""
    with np.errstate(all="ignore"):
        return np.broadcast_to(value, x.shape).astype(x.dtype)


@assign.inplace
def _(x, value):
    if isinstance(value, np.ndarray) and value.shape == x.shape and core.native is not None:
        if core.native.copy_into(x, value) is not NotImplemented:
            return
    if isinstance(value, np.ndarray) and value.dtype == x.dtype:
        np.copyto(x, value)
        return
    if type(value) in (int, float) and -128 < value < 128 and x.dtype.kind == "f":
        x.fill(value)  # nothing that NumPy could warn of
        return
    with np.errstate(all="ignore"):
        np.copyto(x, value, casting="unsafe")


@assign.shape
def _(x, value):
    shape = tuple(getattr(value, "shape", ()))
    extra = len(shape) - len(x.shape)
    # Leading sizes of 1 are dropped, so that x[0] = y works for a y of shape (1, n).
    if any(n != 1 for n in shape[: max(extra, 0)]) or any(
        n not in (1, have) for n, have in zip(shape[::-1], tuple(x.shape)[::-1], strict=False)
    ):
        raise ShapeError(
            f"assignment: the value's shape {shape} can't be broadcast to the shape assigned to, {tuple(x.shape)}"
        )
    return Spec(tuple(x.shape), x.dtype)


@assign.gradient
def _(g, _y, _x, _value):
    def of_value():
        from rushlight.ops.reduction import sum_to

        shape = tuple(_value.shape)
        lead = len(shape) - g.ndim
        result = sum_to(g, shape[max(lead, 0) :])
        return result.reshape(shape) if lead > 0 else result

    return lambda: g.new_zeros(tuple(_x.shape)), of_value


@assign.samples
def _(make):
    yield Sample((make(2, 3), make(3)))
    yield Sample((make(2, 3), 1.5))
