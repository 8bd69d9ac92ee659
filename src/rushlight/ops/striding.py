"""Views that NumPy's strides make possible: diagonals, windows, any strides, another dtype."""

import numpy as np

from rushlight import dtypes
from rushlight.errors import ShapeError
from rushlight.ops.declare import Sample, Spec, operation, view
from rushlight.ops.movement import normalize_dim


def storage_of(array):
    """The array that owns the memory that `array` is a view of, as one flat array."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.flags.c_contiguous:
        return root.reshape(-1)
    return root.T.reshape(-1) if root.flags.f_contiguous else np.lib.stride_tricks.as_strided(root, (root.size,))


def storage_offset(array):
    """How many elements lie before the first one of `array` in its storage."""
    root = storage_of(array)
    return (array.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // max(array.itemsize, 1)


def _strided(storage, size, stride, offset):
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min((*size, *stride, offset, 0)) < 0:
        raise ShapeError(f"as_strided: sizes {size}, strides {stride} and offset {offset} can't be negative")
    if 0 not in size and last >= storage.size:
        raise ShapeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset} reach element {last}, "
            f"out of bounds for storage of size {storage.size}"
        )
    itemsize = storage.itemsize
    if 0 in size:
        return storage[:0].reshape(size)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, [s * itemsize for s in stride])


@view(of_memory=True)
def as_strided(xp, x, *, size, stride, storage_offset=None):
    """A view of x's storage with these sizes, and strides in elements."""
    return _strided(storage_of(x), size, stride, _offset(x, storage_offset))


def _offset(x, given):
    return storage_offset(x) if given is None else given


@as_strided.shape
def _(x, *, size, stride, storage_offset=None):
    if len(size) != len(stride):
        raise ShapeError(f"mismatch in length of strides and shape: {len(stride)} and {len(size)}")
    return Spec(tuple(size), x.dtype)


@as_strided.gradient
def _(g, _y, x, *, size, stride, storage_offset=None):
    storage = storage_of(x.array)
    places = np.arange(storage.size)
    offset = _offset(x.array, storage_offset)
    itemsize = x.array.itemsize
    taken = _strided(places, size, stride, offset)
    given = np.lib.stride_tricks.as_strided(
        places[_offset(x.array, None) :], x.array.shape, [s // itemsize * 8 for s in x.array.strides]
    )
    total = np.zeros(storage.size, g.array.dtype)
    np.add.at(total, taken, g.array)
    from rushlight.tensor.tensor import wrap

    return wrap(total[given])


@as_strided.samples
def _(make):
    yield Sample((make(3, 4),), {"size": (2, 3), "stride": (4, 1), "storage_offset": 1})


@view()
def diagonal(xp, x, *, offset=0, dim1=0, dim2=1):
    """The diagonal of the matrices that dim1 and dim2 span, as a last dimension."""
    result = xp.diagonal(x, offset, dim1, dim2)
    if xp is np:
        # NumPy hands the diagonal out read-only, to warn those who took it for a copy.
        result.flags.writeable = x.flags.writeable
    return result


@diagonal.shape
def _(x, *, offset=0, dim1=0, dim2=1):
    ndim = len(x.shape)
    if ndim < 2:
        normalize_dim("diagonal", dim2, ndim)
        raise ShapeError(f"diagonal needs a tensor of at least 2 dimensions, got {ndim}")
    a, b = normalize_dim("diagonal", dim1, ndim), normalize_dim("diagonal", dim2, ndim)
    if a == b:
        raise ShapeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    rows, columns = x.shape[a], x.shape[b]
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    return Spec((*(n for i, n in enumerate(x.shape) if i not in (a, b)), length), x.dtype)


@diagonal.gradient
def _(g, _y, _x, *, offset=0, dim1=0, dim2=1):
    return diagonal_scatter(g, shape=tuple(_x.shape), offset=offset, dim1=dim1, dim2=dim2)


@diagonal.samples
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(2, 3, 4),), {"offset": -1, "dim1": 2, "dim2": 0})


@operation()
def diagonal_scatter(xp, g, *, shape, offset=0, dim1=0, dim2=1):
    """Zeros of `shape` with g on the diagonal."""
    result = np.zeros(shape, g.dtype)
    diagonal.meaning(np, result, offset=offset, dim1=dim1, dim2=dim2)[...] = g
    return result


@diagonal_scatter.shape
def _(g, *, shape, offset=0, dim1=0, dim2=1):
    return Spec(tuple(shape), g.dtype)


@diagonal_scatter.gradient
def _(g, _y, _g, *, shape, offset=0, dim1=0, dim2=1):
    return diagonal(g, offset=offset, dim1=dim1, dim2=dim2)


@diagonal_scatter.samples
def _(make):
    yield Sample((make(3),), {"shape": (3, 4), "offset": 1})


@view()
def unfold(xp, x, *, dimension, size, step):
    """Windows of `size`, `step` apart, along `dimension`; the entries of a window are a new last dimension."""
    if not x.ndim:
        return xp.broadcast_to(x, (size,))
    at = dimension % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, size, at, writeable=True) if size else None
    if windows is None:
        shape = (*x.shape[:at], x.shape[at] // step + 1, *x.shape[at + 1 :], 0)
        return xp.zeros(shape, x.dtype)
    return windows[(slice(None),) * at + (slice(None, None, step),)]


@unfold.shape
def _(x, *, dimension, size, step):
    ndim = len(x.shape)
    at = normalize_dim("unfold", dimension, ndim)
    have = x.shape[at] if ndim else 1
    if size < 0 or size > have:
        raise ShapeError(f"maximum size for tensor at dimension {at} is {have} but size is {size}")
    if step <= 0:
        raise ShapeError(f"step is {step} but must be > 0")
    if not ndim:
        return Spec((size,), x.dtype)
    return Spec((*x.shape[:at], (have - size) // step + 1, *x.shape[at + 1 :], size), x.dtype)


@unfold.gradient
def _(g, _y, _x, *, dimension, size, step):
    return unfold_gradient(g, shape=tuple(_x.shape), dimension=dimension, size=size, step=step)


@unfold.samples
def _(make):
    yield Sample((make(2, 7),), {"dimension": 1, "size": 3, "step": 2})


@operation()
def unfold_gradient(xp, g, *, shape, dimension, size, step):
    """The windows of g summed back to where unfold took them from."""
    result = np.zeros(shape, g.dtype)
    if not shape:
        return result + g.sum(dtype=g.dtype)
    at = dimension % len(shape)
    count = g.shape[at]
    for offset in range(size):
        where = (slice(None),) * at + (slice(offset, offset + (count - 1) * step + 1, step),)
        result[where] += g[..., offset]
    return result


@unfold_gradient.shape
def _(g, *, shape, dimension, size, step):
    return Spec(tuple(shape), g.dtype)


@unfold_gradient.gradient
def _(g, _y, _g, *, shape, dimension, size, step):
    return unfold(g, dimension=dimension, size=size, step=step)


@unfold_gradient.samples
def _(make):
    yield Sample((make(2, 3, 3),), {"shape": (2, 7), "dimension": 1, "size": 3, "step": 2})


@view(of_memory=True)
def view_dtype(xp, x, *, dtype):
    """The same memory read as another dtype."""
    return x.view(dtype.numpy)


@view_dtype.shape
def _(x, *, dtype):
    have, wanted = np.dtype(x.dtype).itemsize, dtype.itemsize
    if have == wanted:
        return Spec(tuple(x.shape), dtype.numpy)
    if not x.shape:
        raise ShapeError("self.dim() cannot be 0 to view a tensor as a dtype of another size")
    if x.shape[-1] * have % wanted:
        raise ShapeError(f"view: the last dimension, {x.shape[-1]} of {have} bytes, can't be divided into {dtype}")
    return Spec((*x.shape[:-1], x.shape[-1] * have // wanted), dtype.numpy)


@view_dtype.samples
def _(make):
    yield Sample((make(2, 4, dtype=np.float32),), {"dtype": dtypes.int32})
